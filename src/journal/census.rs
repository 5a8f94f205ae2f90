//! L1: what the acknowledgement path needs to know of a webhook body: how many alerts of which kind, and whether it can be
//! parsed at all. Must not own or decide anything.

use std::borrow::Cow;

use crate::model::AlertStatus;

use super::wire::{Head, Sink, Stated, Unparseable, walk};

/// The label that our own pages carry. What comes back with it must never open an incident.
pub const OWN_PAGE_LABEL: &str = "backout_incident";

/// The label that names the cluster an alert is about.
pub const CLUSTER_LABEL: &str = "cluster";

/// Whether an alert with this value of the label [`CLUSTER_LABEL`] (empty: without it) is about another cluster than `own`.
/// As long as our own has no name, nothing is foreign; and nothing is acted on.
pub fn is_foreign(cluster: &str, own: Option<&str>) -> bool {
    !cluster.is_empty() && own.is_some_and(|own| own != cluster)
}

/// How many alerts fire and how many are over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Stated as firing.
    pub firing: u64,
    /// Stated as resolved.
    pub resolved: u64,
}

impl Tally {
    /// Both.
    pub fn total(self) -> u64 {
        self.firing + self.resolved
    }
}

/// What the acknowledgement path needs to know of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// For us to decide about.
    pub ours: Tally,
    /// Our own pages, coming back.
    pub own_pages: Tally,
    /// Of another cluster.
    pub foreign: Tally,
    /// Could not be read.
    pub unreadable: u64,
    /// Cut from the list by the sender.
    pub truncated: u64,
}

/// Counts what a body holds, without owning any of it. `cluster` is the name of our own; without one nothing is foreign.
///
/// # Errors
/// When the body can never be parsed, or holds alerts of which none can be read.
pub fn census(body: &[u8], cluster: Option<&str>) -> Result<Census, Unparseable> {
    let mut counter = Counter { cluster, counts: [[0; 3]; 3], kind: OURS, unreadable: 0 };
    let envelope = walk(body, &mut counter)?;
    let tally = |kind: usize| {
        let [firing, resolved, unsaid] = counter.counts[kind];
        match envelope.status {
            AlertStatus::Firing => Tally { firing: firing + unsaid, resolved },
            AlertStatus::Resolved => Tally { firing, resolved: resolved + unsaid },
        }
    };
    let census = Census {
        ours: tally(OURS),
        own_pages: tally(OWN_PAGE),
        foreign: tally(FOREIGN),
        unreadable: counter.unreadable,
        truncated: envelope.truncated,
    };
    if census.unreadable > 0 && census.ours.total() + census.foreign.total() == 0 {
        return Err(Unparseable::NothingReadable);
    }
    Ok(census)
}

const OURS: usize = 0;
const FOREIGN: usize = 1;
const OWN_PAGE: usize = 2;

struct Counter<'c> {
    cluster: Option<&'c str>,
    /// By kind, then firing, resolved, unsaid.
    counts: [[u64; 3]; 3],
    /// The kind of the alert that is being walked, by the labels so far; a greater one wins.
    kind: usize,
    unreadable: u64,
}

impl<'a> Sink<'a> for Counter<'_> {
    const DETAILS: bool = false;

    fn label(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        if value.is_empty() {
            return;
        }
        if name == OWN_PAGE_LABEL {
            self.kind = OWN_PAGE;
        } else if name == CLUSTER_LABEL && is_foreign(&value, self.cluster) {
            self.kind = self.kind.max(FOREIGN);
        }
    }

    fn annotation(&mut self, _: Cow<'a, str>, _: Cow<'a, str>) {}

    fn alert(&mut self, head: Head<'a>) {
        let stated = match head.status {
            Stated::Status(AlertStatus::Firing) => 0,
            Stated::Status(AlertStatus::Resolved) => 1,
            Stated::Unsaid => 2,
        };
        self.counts[self.kind][stated] += 1;
        self.kind = OURS;
    }

    fn unreadable(&mut self) {
        self.unreadable += 1;
        self.kind = OURS;
    }
}
