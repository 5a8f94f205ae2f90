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

/// What two ledgers of one history do not have in common.
pub fn compare(before: &Ledger, now: &Ledger) -> Vec<Difference> {
    let mut groups: BTreeMap<(Time, Labels), (Vec<&Entry>, Vec<&Entry>)> = BTreeMap::new();
    for entry in &before.entries {
        groups.entry(key(entry)).or_default().0.push(entry);
    }
    for entry in &now.entries {
        groups.entry(key(entry)).or_default().1.push(entry);
    }
    let difference = |((opened_at, labels), (before, now)): ((Time, Labels), (Vec<&Entry>, Vec<&Entry>))| {
        let said = |entries: &[&Entry]| {
            let mut said: Vec<String> = entries.iter().map(|entry| said(entry)).collect();
            said.sort();
            said
        };
        let target = now.iter().chain(&before).find_map(|entry| entry.target.clone());
        let (before, now) = (said(&before), said(&now));
        let alert = labels.get("alertname").cloned().unwrap_or_default();
        (before != now).then_some(Difference { opened_at, target, alert, before, now })
    };
    groups.into_iter().filter_map(difference).collect()
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
