//! What goes into a step and what comes out of it.

use std::sync::Arc;

use super::incident::Lane;
use super::observation::{Observation, Request};
use crate::journal::record::Stamped;
use crate::model::{
    Alert, AlertStatus, Applied, Delivery, Evidence, Guard, IncidentId, Lookup, Message, Notification, Onset, Order, Plan,
    PreflightReport, Resolution, TargetId, Time, WatchEvent,
};
use crate::planted::{self, Bug};
use crate::policy::types::Policies;

use super::limits::Limits;

/// What stands outside of the book: reviewed files and settings.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The policies in force.
    pub policies: &'a Policies,
    /// The product's times.
    pub limits: &'a Limits,
    /// The cluster's name, where the settings give one. Without it nothing acts.
    pub cluster: Option<&'a str>,
}

/// What happened outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The process started and the journal is folded.
    Started {
        /// The program's version.
        program: String,
    },
    /// Policies were (re)loaded: those in the context.
    Loaded,
    /// A receipt is durable.
    Received {
        /// Its row.
        seq: u64,
        /// When it was committed.
        at: Time,
        /// What it says; `None` when it cannot be read (it is consumed all the same).
        notification: Option<Notification>,
    },
    /// A look-up came back.
    Located {
        /// Whose.
        occurrence: String,
        /// For which lane.
        lane: Lane,
        /// The target.
        resolution: Resolution,
        /// When the condition began.
        onset: Onset,
    },
    /// An observation came back.
    Observed {
        /// Whose.
        incident: IncidentId,
        /// Which.
        id: u64,
        /// What was seen.
        observation: Box<Observation>,
    },
    /// Dry run and evidence came back.
    Prepared {
        /// Whose.
        incident: IncidentId,
        /// The number that the effect carried.
        number: u64,
        /// What was checked.
        report: PreflightReport,
        /// What was collected.
        evidence: Box<Evidence>,
    },
    /// A write was answered.
    Applied {
        /// Whose.
        incident: IncidentId,
        /// The number that the effect carried.
        number: u64,
        /// How.
        applied: Applied,
    },
    /// A message was delivered, or not.
    Told {
        /// Whose; absent for `blind`.
        incident: Option<IncidentId>,
        /// All of them, where it was a page of several.
        folded: Vec<IncidentId>,
        /// Which message.
        message: String,
        /// Whether it was a page.
        page: bool,
        /// How it went.
        delivery: Delivery,
    },
    /// The watch saw a target change.
    Watched(Box<WatchEvent>),
    /// A person does something. Refused operations never get here (see `operate::check`).
    Operation(Order),
    /// Time went by.
    Tick,
    /// The watch hears from the API server: told before anything else that it saw since.
    WatchHeard {
        /// When it last did.
        at: Time,
    },
    /// Somebody set our clock since the last input.
    ClockSet {
        /// By how many milliseconds; back, where they are negative.
        by: i64,
        /// Whether that was while we were away: seen at the start, because what is remembered lies ahead.
        away: bool,
    },
}

/// What is to be done outside, after the records are durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Find the target of an alert and when its condition began.
    Locate {
        /// Whose.
        occurrence: String,
        /// For which lane.
        lane: Lane,
        /// The alert.
        alert: Box<Alert>,
        /// What its labels name.
        lookup: Lookup,
    },
    /// Observe.
    Observe {
        /// For whom.
        incident: IncidentId,
        /// Which observation.
        id: u64,
        /// What to ask.
        request: Box<Request>,
    },
    /// Dry run, references, permissions; and evidence beside it.
    Prepare {
        /// Which preparation of the incident, so that a late answer is known for one.
        number: u64,
        /// What is to be done.
        plan: Arc<Plan>,
        /// On which generation.
        guard: Guard,
        /// Whether a person said yes to it.
        approved: bool,
    },
    /// Write.
    Apply {
        /// Which write of the incident, so that a late answer is known for one.
        number: u64,
        /// What is to be done.
        plan: Arc<Plan>,
        /// Which step.
        step: usize,
        /// On which generation.
        guard: Guard,
    },
    /// Tell people.
    Tell(Box<Message>),
    /// End a page.
    ClosePage(IncidentId),
    /// Put an Event on the workload.
    Event {
        /// Which.
        target: TargetId,
        /// Of which incident.
        incident: IncidentId,
        /// A CamelCase reason.
        reason: &'static str,
        /// One line.
        note: String,
    },
}

/// What waited longer for its commit may be stale.
const FRESH: std::time::Duration = super::operate::ANSWER;

impl Effect {
    /// Whether it is still to be begun after the commit before it took so long. A write is not: everything is read immediately before
    /// it, and the incident looks what became of it, as of any write that is not answered. Nor is what somebody said yes to who was
    /// told that nobody answers: the incident's deadline asks him again.
    pub fn keeps(&self, waited: std::time::Duration) -> bool {
        let stale = match self {
            Self::Apply { .. } => !planted::is(Bug::WriteWaited),
            Self::Prepare { approved, .. } => *approved,
            _ => false,
        };
        !stale || waited <= FRESH
    }
}

/// The outcome of a step.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "records must be committed before the effects start"]
pub struct Step {
    /// What must be durable before anything else happens.
    pub records: Vec<Stamped>,
    /// What is to be done then.
    pub effects: Vec<Effect>,
    /// What became of each alert of a receipt.
    pub heard: Vec<(AlertStatus, Heard)>,
}

/// What became of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It says something new.
    News,
    /// It was known in that status.
    Duplicate,
    /// It fires, after it was said to be resolved: a peer is asked before anything is made of it.
    Stale,
    /// No policy is about it.
    Unmatched,
    /// It is of another cluster.
    Foreign,
    /// It is one of our own pages.
    Own,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::brakes::fixture::World;
    use super::*;

    #[test]
    fn a_write_and_what_somebody_said_yes_to_are_not_begun_late() {
        let mut world = World::new();
        world.plan();
        let plan = || Arc::clone(world.incident.plan.as_ref().expect("planned"));
        let guard = || Guard { generation: 2 };
        let prepare = |approved| Effect::Prepare { number: 1, plan: plan(), guard: guard(), approved };
        let apply = Effect::Apply { number: 1, plan: plan(), step: 0, guard: guard() };
        let close = Effect::ClosePage(world.incident.id.clone());
        for (effect, late) in [(apply, false), (prepare(true), false), (prepare(false), true), (close, true)] {
            let waited = [Duration::ZERO, FRESH, FRESH + Duration::from_millis(1)];
            assert_eq!(waited.map(|waited| effect.keeps(waited)), [true, true, late], "{effect:?}");
        }
    }
}
