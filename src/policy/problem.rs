//! One problem in a text a person wrote: where, what, and what to do. Must not know about files or about printing.

use std::fmt;
use std::ops::Range;

/// What is wrong with a piece of text, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The bytes of the text this is about, within its length and on character boundaries.
    pub at: Range<usize>,
    /// A lowercase fragment with the user's input in backticks.
    pub message: String,
    /// What to do about it, if that can be said.
    pub help: Option<String>,
}

impl Problem {
    /// A problem at a place.
    pub fn new(at: Range<usize>, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), help: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Moves the place, for a text that is a part of a longer one.
    #[must_use]
    pub fn shifted(mut self, bytes: usize) -> Self {
        self.at = self.at.start.saturating_add(bytes)..self.at.end.saturating_add(bytes);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, "; {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// The candidate a person most likely meant, if one is near enough to be worth saying.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Names come from policy files and may be long; the distance is quadratic.
    const MAX_NAME_BYTES: usize = 128;
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return None;
    }
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= MAX_NAME_BYTES)
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (name.len().max(candidate.len()) / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

fn distance(name: &str, candidate: &str) -> usize {
    // `backoutName` for `backout_name` and `Prod` for `prod` are one mistake, not many.
    let plain = |text: &str| text.replace(['-', '_'], "").to_lowercase();
    if plain(name) == plain(candidate) {
        return usize::from(name != candidate);
    }
    strsim::damerau_levenshtein(name, candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nearest_name() {
        let names = ["rollback", "page", "fix_forward", "errors", "p95"];
        for (name, wanted) in [
            ("rolback", Some("rollback")),
            ("fixForward", Some("fix_forward")),
            ("error", Some("errors")),
            ("p59", Some("p95")),
            ("latency", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, names), wanted, "{name}");
        }
    }

    #[test]
    fn nothing_and_what_is_longer_than_any_name_is_not_compared() {
        assert_eq!(nearest("", ["a"]), None);
        let (longest, longer) = ("a".repeat(128), "a".repeat(129));
        assert_eq!(nearest(&longest, [longest.as_str()]), Some(longest.as_str()));
        assert_eq!(nearest(&longer, [longest.as_str()]), None);
        assert_eq!(nearest(&longest, [longer.as_str()]), None);
    }

    #[test]
    fn a_name_is_nearer_than_another_spelling_of_it() {
        assert_eq!(nearest("fix_forward", ["FixForward", "fix_forward"]), Some("fix_forward"));
    }
}
