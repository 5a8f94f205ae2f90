//! The same history under other policies: which incidents come to something else.

use std::collections::BTreeMap;

use serde::Serialize;

use super::ledger::{Entry, Ledger, Verdict};
use crate::model::{Labels, Time};

/// An incident that is decided otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// When it would have been opened: the earlier of both.
    #[serde(serialize_with = "super::ledger::time")]
    pub opened_at: Time,
    /// Its target.
    pub target: Option<String>,
    /// The name of its first alert.
    pub alert: String,
    /// What the other policies come to, one line for each that was about it.
    pub before: Vec<String>,
    /// What these come to.
    pub now: Vec<String>,
}

/// The incidents that one alert opened at one time: under other policies, and under these.
#[derive(Default)]
struct Pair<'a> {
    before: Vec<&'a Entry>,
    now: Vec<&'a Entry>,
}

/// What two ledgers of one history do not have in common.
pub fn compare(before: &Ledger, now: &Ledger) -> Vec<Difference> {
    let mut pairs: BTreeMap<(Time, Labels), Pair<'_>> = BTreeMap::new();
    for entry in &before.entries {
        pairs.entry(key(entry)).or_default().before.push(entry);
    }
    for entry in &now.entries {
        pairs.entry(key(entry)).or_default().now.push(entry);
    }
    pairs.into_iter().filter_map(|((opened_at, _), pair)| pair.difference(opened_at)).collect()
}

impl Pair<'_> {
    fn difference(&self, opened_at: Time) -> Option<Difference> {
        let lines = |entries: &[&Entry]| {
            let mut lines: Vec<String> = entries.iter().map(|entry| said(entry)).collect();
            lines.sort();
            lines
        };
        let (before, now) = (lines(&self.before), lines(&self.now));
        let both = || self.now.iter().chain(&self.before);
        let alert = both().next().map(|entry| entry.alertname().to_owned()).unwrap_or_default();
        let target = both().find_map(|entry| entry.target.clone());
        (before != now).then_some(Difference { opened_at, target, alert, before, now })
    }
}

/// What both runs have in common of an incident: the alert that opened it, and when.
fn key(entry: &Entry) -> (Time, Labels) {
    (entry.opened_at, entry.alerts.first().cloned().unwrap_or_default())
}

fn said(entry: &Entry) -> String {
    let rule = entry.rule.as_ref().map(|rule| format!(", rule `{rule}`")).unwrap_or_default();
    let what = match (entry.verdict, &entry.from, &entry.to) {
        (verdict, Some(from), Some(to)) if verdict.acts() => format!(": {from} -> {to}"),
        (Verdict::Held, ..) => {
            let held: Vec<&str> = entry.holding().map(|brake| brake.brake.as_str()).collect();
            format!(": {}", held.join(", "))
        }
        _ => String::new(),
    };
    format!("{}{rule}: {}{what}", entry.policy, entry.verdict.as_str())
}
