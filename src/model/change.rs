//! Changes that somebody told us of: by CI, a flag service, a person. What the cluster itself shows is the ledger's business.

use serde::{Deserialize, Serialize};

use super::ids::hex_digest;
use super::{TargetRef, Time};

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// The pod template: another image, other variables.
    Template,
    /// A ConfigMap or Secret.
    Config,
    /// A Helm release.
    Helm,
    /// A feature flag.
    Flag,
    /// Something outside of the cluster: a database, a queue, a partner.
    External,
}

impl ChangeKind {
    /// The name in text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Template => "template",
            Self::Config => "config",
            Self::Helm => "helm",
            Self::Flag => "flag",
            Self::External => "external",
        }
    }
}

/// Names a posted change: `c` and 12 hex digits, derived from the poster's key, or from what was posted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChangeId(pub String);

impl ChangeId {
    /// The id of the change that these parts tell of. The same parts give the same id: what is posted again is known.
    pub fn derive(parts: &[&str]) -> Self {
        Self(format!("c{}", &hex_digest(parts)[..12]))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A change as it was posted. All text was checked to be short and on one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostedChange {
    /// Its name.
    pub id: ChangeId,
    /// A hash of what was posted: the same key with other content is a mistake of the poster.
    pub content: String,
    /// What was changed.
    pub target: TargetRef,
    /// How.
    pub kind: ChangeKind,
    /// What was there before: an image, a version, a flag's value.
    pub from: Option<String>,
    /// What is there now.
    pub to: Option<String>,
    /// Who changed it, as the poster says.
    pub by: String,
    /// When, as the poster says; else when it was posted.
    pub at: Time,
    /// Whether data was changed so that an older release cannot work on it.
    pub barrier: bool,
    /// Where more is to be read.
    pub url: Option<String>,
}

impl PostedChange {
    /// A hash of content, for [`PostedChange::content`].
    pub fn hash(parts: &[&str]) -> String {
        hex_digest(parts)[..16].to_owned()
    }

    /// `template web:1 -> web:2 by ci`, for brakes and reports.
    pub fn words(&self) -> String {
        let way = match (&self.from, &self.to) {
            (Some(from), Some(to)) => format!(" {from} -> {to}"),
            (None, Some(to)) => format!(" to {to}"),
            (Some(from), None) => format!(" from {from}"),
            (None, None) => String::new(),
        };
        format!("{}{way} by {}", self.kind.as_str(), self.by)
    }
}
