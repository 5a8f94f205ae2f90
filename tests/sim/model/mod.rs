//! The reference model: what the product promises, said once more and of what can be seen from outside. It shares no code with the
//! decision. Every check is one-sided: where the world was in a state that an honest observer may read either way, it says nothing.

mod bounds;
mod closing;
mod past;
mod people;
mod telling;
mod writing;

use std::collections::BTreeMap;
use std::time::Duration;

use backout::decide::book::Book;
use backout::model::{IncidentId, Labels, Operation, Time};
use backout::simulate::{Driver, Request};

use crate::journal::{self, Noted};
use crate::rules::Rules;
use crate::truth::{Done, Truth};
use crate::world::World;

/// How long it counts that somebody said yes, or that nobody vetoed.
const LASTS: Duration = Duration::from_secs(600);

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which.
    pub(crate) check: &'static str,
    pub(crate) text: String,
}

/// All that is judged.
pub(crate) struct Case<'a> {
    pub(crate) world: &'a World,
    pub(crate) driver: &'a Driver,
    /// The story's minute 0.
    pub(crate) zero: Time,
    pub(crate) truth: Truth,
    pub(crate) incidents: BTreeMap<IncidentId, Noted>,
    /// The book that the journal's rows give.
    pub(crate) replayed: Result<Book, String>,
}

/// A request to write, and what is known about it.
pub(crate) struct Asked<'a> {
    pub(crate) at: Time,
    pub(crate) request: &'a Request,
    pub(crate) noted: &'a Noted,
    pub(crate) rules: &'a Rules,
    /// When everything was read for it at the earliest.
    pub(crate) look: Time,
}

/// Judges a story that was told.
pub(crate) fn judge(world: &World, driver: &Driver, zero: Time, begin: Time, end: Time) -> Vec<Violation> {
    let truth = Truth::of(driver, begin, end);
    let rows = driver.protocol.as_ref().map(|protocol| protocol.steps.as_slice()).unwrap_or_default();
    let (incidents, replayed) = journal::read(rows);
    let case = Case { world, driver, zero, truth, incidents, replayed };
    let mut found: Vec<Violation> =
        driver.violations().iter().map(|text| Violation { check: "driver", text: text.clone() }).collect();
    writing::judge(&case, &mut found);
    telling::judge(&case, &mut found);
    closing::judge(&case, &mut found);
    found
}

impl Case<'_> {
    pub(crate) fn rules(&self, policy: &str) -> Option<&Rules> {
        self.world.rules.iter().find(|rules| rules.name == policy)
    }

    /// The rules that were in force at a time.
    pub(crate) fn rules_at(&self, policy: &str, at: Time) -> Option<&Rules> {
        if self.truth.reloads.iter().any(|reload| *reload <= at) {
            return self.world.later.iter().find(|rules| rules.name == policy);
        }
        self.rules(policy)
    }

    /// How long before a request reaches the API server everything was read for it, at most.
    pub(crate) fn slack(&self) -> Duration {
        let waits = if self.truth.meddled > 0 { Duration::from_secs(40) } else { Duration::ZERO };
        self.truth.latency.write / 2 + Duration::from_secs(1) + waits
    }

    /// Everything that people were told is done, up to then.
    pub(crate) fn done(&self, to: Time) -> impl Iterator<Item = &Done> {
        self.truth.done.iter().filter(move |done| done.at <= to)
    }

    /// The same, and what they asked for while nobody answered.
    fn asked(&self, to: Time) -> impl Iterator<Item = &Done> {
        self.done(to).chain(self.truth.asked.iter().filter(move |done| done.at <= to))
    }

    /// Whether a wait was over so long before a write that it counts no more.
    fn has_lapsed(&self, over: Time, at: Time) -> bool {
        // Where our clock was set, it may count longer than what passed.
        self.truth.leaps.is_empty() && at > over + LASTS + self.slack() + Duration::from_secs(60)
    }

    /// What people asked for so shortly before that a yes among it still counts.
    fn asked_lately(&self, to: Time) -> impl Iterator<Item = &Done> {
        self.asked(to).filter(move |done| !self.has_lapsed(done.at, to))
    }

    pub(crate) fn was_approved(&self, incident: &IncidentId, at: Time) -> bool {
        self.asked_lately(at).any(|done| matches!(&done.operation, Operation::Approve { incident: of, .. } if of == incident))
    }

    /// Whether a person said that this brake does not count.
    pub(crate) fn overrode(&self, incident: &IncidentId, brake: &str, at: Time) -> bool {
        self.asked_lately(at).any(|done| match &done.operation {
            Operation::Approve { incident: of, overrides, .. } => of == incident && overrides.iter().any(|name| name == brake),
            _ => false,
        })
    }

    /// When the condition behind an alert of an incident began: that of its last firing before it joined.
    pub(crate) fn onset(&self, joined: Time, labels: &Labels) -> Option<Time> {
        let alert = self.truth.alerts.get(labels)?;
        alert.begins.iter().rev().find(|(at, _)| *at <= joined)?.1
    }

    pub(crate) fn clock(&self, at: Time) -> String {
        self.driver.transcript.clock(at)
    }
}
