//! Names that identify things for ever: they stand in the journal, in metrics' exemplars, in messages and in URLs.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Alertmanager's fingerprint of a label set. It names the label set, not the occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// Reads 16 hex digits, as every sender since 0.19 writes it.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }

    /// FNV-1a 64 over the sorted labels, each `name 0xFF value 0xFF`: what Alertmanager computes, for senders that do not say.
    pub fn of<'a>(sorted_labels: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut eat = |bytes: &[u8]| {
            for byte in bytes.iter().chain(&[0xFF]) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        for (name, value) in sorted_labels {
            eat(name.as_bytes());
            eat(value.as_bytes());
        }
        Self(hash)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("expected 16 hex digits"))
    }
}

/// What runs on a target: a versioned SHA-256, `v1:` and 64 hex digits, over the canonical pod template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub String);

impl Digest {
    /// The first twelve digits, for people.
    pub fn short(&self) -> &str {
        let hex = self.0.strip_prefix("v1:").unwrap_or(&self.0);
        hex.get(..12).unwrap_or(hex)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names an incident everywhere: `i` and 12 hex digits, derived from what opened it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IncidentId(pub String);

impl IncidentId {
    /// The id of the incident that these parts open. The same parts give the same id, on every machine and in every replay.
    pub fn derive(parts: &[&str]) -> Self {
        Self(format!("i{}", &hex_digest(parts)[..12]))
    }

    /// Reads an id: `i` and 12 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let well_formed = text.len() == 13 && text.starts_with('i') && text.bytes().skip(1).all(hex);
        well_formed.then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names a plan by its content, 16 hex digits. An approval is given to a hash, never to "the plan of incident X".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanHash(pub String);

impl PlanHash {
    /// The hash of a plan's canonical text.
    pub fn derive(canonical: &str) -> Self {
        Self(hex_digest(&[canonical])[..16].to_owned())
    }
}

impl fmt::Display for PlanHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 in hex over parts, each with its length first so that no two lists of parts collide.
pub(super) fn hex_digest(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_is_alertmanagers() {
        let labels = [("alertname", "alert1"), ("lbl1", "val1")];
        assert_eq!(Fingerprint::of(labels.into_iter()).to_string(), "fac0861a85de433a");
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(IncidentId::derive(&["ab", "c"]), IncidentId::derive(&["a", "bc"]));
    }
}
