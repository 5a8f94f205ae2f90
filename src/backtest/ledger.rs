//! The ledger: for every incident what would have been done, why, and what came after it in the history.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::model::{Labels, Time};

/// What would have come of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It would have rolled back.
    RolledBack,
    /// It would have asked a person for a yes to its plan.
    Asked,
    /// It would have said that it would roll back: the policy is in shadow.
    Announced,
    /// A rollback was called off before the write: the alert went away, or somebody was at work.
    CalledOff,
    /// A brake would have held the rollback.
    Held,
    /// Something was not known, and so a person would have been called.
    Unknown,
    /// A rule leaves it to a person.
    Paged,
    /// A rule opens a ticket.
    FixForward,
    /// It was over before anything was decided.
    Nothing,
}

impl Verdict {
    /// All of them, as the totals list them.
    pub const ALL: [Self; 9] = [
        Self::RolledBack,
        Self::Asked,
        Self::Announced,
        Self::CalledOff,
        Self::Held,
        Self::Unknown,
        Self::Paged,
        Self::FixForward,
        Self::Nothing,
    ];

    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RolledBack => "rolled_back",
            Self::Asked => "asked",
            Self::Announced => "announced",
            Self::CalledOff => "called_off",
            Self::Held => "held",
            Self::Unknown => "unknown",
            Self::Paged => "paged",
            Self::FixForward => "fix_forward",
            Self::Nothing => "nothing",
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::RolledBack => "would have rolled back",
            Self::Asked => "would have asked for a yes to a rollback",
            Self::Announced => "would have announced a rollback (shadow)",
            Self::CalledOff => "would have called a rollback off",
            Self::Held => "a brake would have held a rollback",
            Self::Unknown => "something was not known: a person",
            Self::Paged => "a rule leaves it to a person",
            Self::FixForward => "a rule opens a ticket",
            Self::Nothing => "over before a decision",
        }
    }

    /// Whether it says to roll back, as far as the policy may.
    pub fn acts(self) -> bool {
        matches!(self, Self::RolledBack | Self::Asked | Self::Announced)
    }
}

/// A brake's judgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Brake {
    /// Which.
    pub brake: String,
    /// `free`, `held`, `blind`, `off` or `overridden`.
    pub grip: String,
    /// The numbers that it judged by.
    pub because: String,
}

/// Something that happened, or would have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// When.
    #[serde(serialize_with = "time")]
    pub at: Time,
    /// `alert`, `over`, `release`, `decision`, `action`, `state`.
    pub kind: String,
    /// What.
    pub text: String,
}

/// One incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its id: made of what it is about, so that it is the same in every run.
    pub id: String,
    /// When it would have been opened.
    #[serde(serialize_with = "time")]
    pub opened_at: Time,
    /// When it would have been closed.
    #[serde(serialize_with = "maybe")]
    pub closed_at: Option<Time>,
    /// The policy.
    pub policy: String,
    /// Whether that policy is in shadow.
    pub shadow: bool,
    /// `namespace/name` of its target, where one was found.
    pub target: Option<String>,
    /// The labels of its alerts; of many, the first ones.
    pub alerts: Vec<Labels>,
    /// When the trouble began, where that is known.
    #[serde(serialize_with = "maybe")]
    pub onset: Option<Time>,
    /// What would have come of it.
    pub verdict: Verdict,
    /// When that would have been done or decided.
    #[serde(serialize_with = "maybe")]
    pub at: Option<Time>,
    /// The rule that decided.
    pub rule: Option<String>,
    /// Why.
    pub why: String,
    /// The release that would have been left.
    pub from: Option<String>,
    /// The release that would have been put back.
    pub to: Option<String>,
    /// Every brake, where a rule said rollback.
    pub brakes: Vec<Brake>,
    /// What was not known.
    pub unknown: Vec<String>,
    /// When the last of its alerts went away in the history; nothing where it still fired at the end.
    #[serde(serialize_with = "maybe")]
    pub over_at: Option<Time>,
    /// When the next release was put there in the history.
    #[serde(serialize_with = "maybe")]
    pub next_change_at: Option<Time>,
    /// Which release that was.
    pub next_change: Option<String>,
    /// Whether that one had been there before: somebody went back.
    pub went_back: bool,
    /// All of it in order.
    pub timeline: Vec<Moment>,
}

impl Entry {
    /// Whole seconds from the action to the end of the alert or to the next release, whichever came first.
    pub fn ahead_by(&self) -> Option<u64> {
        let at = self.at.filter(|_| self.verdict.acts())?;
        let end = [self.over_at, self.next_change_at].into_iter().flatten().filter(|end| *end > at).min()?;
        Some(end.since(at).as_secs())
    }

    /// The name of its first alert.
    pub fn alertname(&self) -> &str {
        self.alerts.first().and_then(|labels| labels.get("alertname")).map(String::as_str).unwrap_or_default()
    }

    /// The brakes that hold.
    pub fn holding(&self) -> impl Iterator<Item = &Brake> {
        self.brakes.iter().filter(|brake| matches!(brake.grip.as_str(), "held" | "blind"))
    }
}

/// Every incident of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// By the time that they were opened.
    pub entries: Vec<Entry>,
    /// Defects of the engine that came to light: none, ever.
    pub defects: Vec<String>,
}

/// Sums of a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// How many incidents.
    pub incidents: usize,
    /// How many came to what.
    pub verdicts: BTreeMap<&'static str, usize>,
    /// How often each brake held a rollback.
    pub brakes: BTreeMap<String, usize>,
    /// Rollbacks where somebody put the release before back, too.
    pub people_went_back: usize,
    /// Seconds that rollbacks were ahead of the alert's end or of the next release, in all.
    pub seconds_ahead: u64,
}

impl Ledger {
    /// Its sums.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals { incidents: self.entries.len(), ..Totals::default() };
        for verdict in Verdict::ALL {
            totals.verdicts.insert(verdict.as_str(), 0);
        }
        for entry in &self.entries {
            *totals.verdicts.entry(entry.verdict.as_str()).or_default() += 1;
            for brake in entry.holding() {
                *totals.brakes.entry(brake.brake.clone()).or_default() += 1;
            }
            if entry.verdict.acts() {
                totals.people_went_back += usize::from(entry.went_back);
                totals.seconds_ahead += entry.ahead_by().unwrap_or(0);
            }
        }
        totals
    }
}

/// RFC 3339, as everywhere outside of the journal.
pub(super) fn time<S: Serializer>(at: &Time, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

fn maybe<S: Serializer>(at: &Option<Time>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(at),
        None => serializer.serialize_none(),
    }
}
