//! What a driver is told beside the story, and what it keeps of it.

use std::time::Duration;

use super::super::command::Command;
use crate::model::{IncidentId, Moment, Operation, ReleaseRef, TargetRef, Time, Urgency};

/// The answer where nothing listens, or does not in time.
pub const NOBODY: &str = "nobody answers";
/// The answer where it was killed in the commit of what was asked for: it may be durable, or not.
pub const DIED: &str = "it died before it answered";

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// From a durable receipt to its decision.
    pub inbox: Duration,
    /// A look-up or an observation.
    pub read: Duration,
    /// Dry run and evidence.
    pub prepare: Duration,
    /// A write: it is made after half of it, and answered at its end.
    pub write: Duration,
    /// A message.
    pub tell: Duration,
    /// From what the watch sees until it tells of it.
    pub watch: Duration,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            inbox: Duration::from_millis(10),
            read: Duration::from_millis(100),
            prepare: Duration::from_secs(1),
            write: Duration::from_secs(1),
            tell: Duration::from_millis(200),
            watch: Duration::ZERO,
        }
    }
}

/// What may happen as soon as an incident is somewhere.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The phase that is entered.
    pub phase: String,
    /// How long after.
    pub delay: Duration,
    /// What happens.
    pub command: Command,
    /// Each time, not only the first.
    pub again: bool,
}

/// What is kept and watched over beside the story itself. Everything, unless a story is so long that it would cost too much.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// The journal's bytes: without them the process cannot be started again.
    pub journal: bool,
    /// What the invariants say after every event.
    pub invariants: bool,
    /// Every decision, until somebody takes them.
    pub decisions: bool,
}

/// What happened in a story, for whoever judges the service by it. All times are the world's.
#[derive(Clone, Debug, Default)]
pub struct Protocol {
    /// What the story's lines did, as it was done.
    pub commands: Vec<(Time, Command)>,
    /// What people asked for, and why it was refused, where it was.
    pub answers: Vec<(Time, Operation, Option<String>)>,
    /// When the process was started.
    pub starts: Vec<Time>,
    /// When the service began to live and remember, and when it ceased to.
    pub lives: Vec<(Time, bool)>,
    /// Rows of the journal that hold steps, as they became durable.
    pub steps: Vec<(Time, Vec<u8>)>,
}

/// A write that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// When.
    pub at: Time,
    /// For which incident.
    pub incident: IncidentId,
    /// By which policy.
    pub policy: String,
    /// On what.
    pub target: TargetRef,
    /// The release that was left.
    pub from: ReleaseRef,
    /// The release that was put back.
    pub to: ReleaseRef,
}

/// A message that channels took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// When.
    pub at: Time,
    /// About which incidents; none where it is about ourselves.
    pub incidents: Vec<IncidentId>,
    /// When in its life.
    pub moment: Moment,
    /// What is asked of the reader.
    pub urgency: Urgency,
    /// Its title.
    pub title: String,
    /// The channels that have it.
    pub channels: Vec<String>,
}
