//! `--compare REV`: what the same worlds come to under the policies of a git revision.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::super::exit::Failure;
use super::super::output::{Style, Text};
use super::journal::Decisions;
use super::{Suite, Went};
use crate::policy::test_file::types::Test;
use crate::worlds::{self, Difference, Revision};

/// Where two versions of the policies differ.
pub(super) struct Compared {
    revision: String,
    worlds: usize,
    differences: Vec<Difference>,
    /// Files that cannot be compared, and why.
    not: Vec<(String, String)>,
    /// The decisions of a journal, where one was given.
    journal: Option<Decisions>,
}

/// Compares every file whose tests were run.
///
/// # Errors
/// There is no repository, or no such revision.
pub(super) fn all(suites: &[Suite], name: &str, filter: impl Fn(&Test) -> bool) -> Result<Compared, Failure> {
    let mut compared = Compared { revision: name.to_owned(), worlds: 0, differences: Vec::new(), not: Vec::new(), journal: None };
    for suite in suites {
        let Went::Ran(loaded, reports) = &suite.went else { continue };
        let folder = Path::new(&suite.path).parent().unwrap_or(Path::new("."));
        let revision = Revision::find(folder, name).map_err(Failure::usage)?;
        if compared.revision == name && revision.short() != name {
            compared.revision = format!("{name} ({})", revision.short());
        }
        match revision.policies(loaded) {
            Ok(before) => {
                compared.worlds += reports.len();
                compared.differences.extend(worlds::compare(loaded, &before, &filter));
            }
            Err(why) => compared.not.push((suite.path.clone(), why)),
        }
    }
    Ok(compared)
}

impl Compared {
    /// Adds what became of the decisions of a journal.
    pub(super) fn of_journal(&mut self, decisions: Decisions) {
        self.journal = Some(decisions);
    }

    /// For scripts.
    pub(super) fn as_json(&self) -> Value {
        let difference = |difference: &Difference| {
            json!({
                "name": difference.name, "place": difference.spot.to_string(),
                "before": difference.before, "now": difference.now,
            })
        };
        let not = |(path, why): &(String, String)| json!({ "path": path, "why": why });
        json!({
            "revision": self.revision, "worlds": self.worlds,
            "differences": self.differences.iter().map(difference).collect::<Vec<_>>(),
            "journal": self.journal.as_ref().map(Decisions::as_json),
            "not_compared": self.not.iter().map(not).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub(super) fn write(&self, text: &mut Text) {
        text.gap();
        text.heading(Style::Bold, &format!("compared with {}", self.revision));
        for difference in &self.differences {
            text.line(format_args!("  decided differently: {} ({})", difference.name, difference.spot));
            for (sign, line) in lines(&difference.before, &difference.now) {
                let (style, line) = (style(sign), format!("    {sign} {line}"));
                match style {
                    Some(style) => text.heading(style, &line),
                    None => text.line(format_args!("{line}")),
                }
            }
        }
        for (path, why) in &self.not {
            let mut line = String::new();
            // Writing into a `String` cannot fail.
            let _ = write!(line, "  not compared: {path}: {why}");
            text.heading(Style::Yellow, &line);
        }
        if let Some(journal) = &self.journal {
            journal.write(text);
        }
        let same = self.worlds - self.differences.len();
        text.line(format_args!("  {} of {} worlds are decided differently, {same} alike", self.differences.len(), self.worlds));
    }
}

fn style(sign: char) -> Option<Style> {
    match sign {
        '-' => Some(Style::Red),
        '+' => Some(Style::Green),
        _ => None,
    }
}

/// Both sides, with what they have in common once.
fn lines<'l>(before: &'l [String], now: &'l [String]) -> Vec<(char, &'l str)> {
    let mut made = Vec::new();
    let (mut old, mut new) = (before, now);
    while let ([first, rest @ ..], true) = (old, true) {
        match new.iter().position(|line| line == first) {
            Some(at) => {
                made.extend(new[..at].iter().map(|line| ('+', line.as_str())));
                made.push((' ', first.as_str()));
                new = &new[at + 1..];
            }
            None => made.push(('-', first.as_str())),
        }
        old = rest;
    }
    made.extend(new.iter().map(|line| ('+', line.as_str())));
    made
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn what_both_have_is_shown_once() {
        let text = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (before, now) = (text(&["a", "b", "d"]), text(&["a", "c", "d", "e"]));
        assert_eq!(lines(&before, &now), [(' ', "a"), ('-', "b"), ('+', "c"), (' ', "d"), ('+', "e")]);
    }
}
