//! L1: what the acknowledgement path needs to know of a webhook body: how many alerts of which kind, and whether it can be
//! parsed at all. Must not own or decide anything.

use super::scan::Scan;
use super::wire::Unparseable;
use crate::model::AlertStatus;

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
    /// One more of that status.
    pub fn add(&mut self, status: AlertStatus) {
        match status {
            AlertStatus::Firing => self.firing += 1,
            AlertStatus::Resolved => self.resolved += 1,
        }
    }

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

/// Counts what a body holds. `cluster` is the name of our own; without one nothing is foreign.
///
/// # Errors
/// When the body can never be parsed, or holds alerts of which none can be read.
pub fn census(body: &[u8], cluster: Option<&str>) -> Result<Census, Unparseable> {
    Scan::of(body)?.census(body, cluster)
}
