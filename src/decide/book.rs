//! All that is remembered. Changed by `fold` only; written as snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::incident::{Incident, Lane};
use super::index::Index;
use super::latch::Latch;
use crate::model::{
    Alert, AlertStatus, Digest, Identity, IncidentId, Lookup, Occurrence, PauseScope, PostedChange, TargetId, TargetRef, Time,
};
use crate::policy::types::FLAPS;

/// All that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Book {
    /// Incidents by id: all open ones, and closed ones until they are forgotten.
    pub incidents: BTreeMap<IncidentId, Incident>,
    /// Alerts whose target is being looked for, by occurrence.
    pub pending: BTreeMap<String, Pending>,
    /// Occurrences that were heard of lately, by their text.
    pub seen: BTreeMap<String, Seen>,
    /// What is known of each target, by its text.
    pub targets: BTreeMap<String, History>,
    /// Pauses by number.
    pub pauses: BTreeMap<u64, Pause>,
    /// Latches by number: all that hold, and cleared ones until they are forgotten.
    #[serde(default)]
    pub latches: BTreeMap<u64, Latch>,
    /// Changes that were posted, by their target's text; oldest first. Bounded, see `ledger::posted`.
    #[serde(default)]
    pub changes: BTreeMap<String, Vec<PostedChange>>,
    /// Rollbacks that people marked wrong, by policy; oldest first, bounded. None any more once somebody armed the policy again.
    #[serde(default)]
    pub wrongs: BTreeMap<String, Vec<Wrong>>,
    /// Times in which we saw nothing: boots, outages, global pauses. Oldest first, bounded.
    pub gaps: Vec<Gap>,
    /// When a record was last written: the start of the next gap.
    pub alive_at: Option<Time>,
    /// When the watch last heard from the API server, about; the start before it has.
    #[serde(default)]
    pub watch_heard_at: Option<Time>,
    /// Receipts up to this row are consumed.
    pub consumed_through: u64,
    /// Receipts after that row that are consumed (they come in any order). Bounded by `RECEIPTS`.
    pub consumed: BTreeSet<u64>,
    /// Hash of the policies in force.
    pub policies: String,
    /// When closed incidents were last forgotten.
    #[serde(default)]
    pub forgot_at: Option<Time>,
    /// Numbers pauses and latches.
    pub next: u64,
    /// Derived from the above, never written.
    #[serde(skip)]
    pub(super) index: Index,
}

/// An alert whose target is being looked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// The alert.
    pub alert: Alert,
    /// When its first notification was committed.
    pub received_at: Time,
    /// Whether the notification was cut.
    pub truncated: bool,
    /// Where its target is to be looked for, for each lane that a policy opens: lane, policy, look-up or why there is none.
    pub wanted: Vec<(Lane, String, Result<Lookup, String>)>,
    /// When the look-up is due.
    pub due: Time,
    /// Look-ups that came back unknown.
    pub tries: u32,
}

/// What was last heard of an occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Which.
    pub occurrence: Occurrence,
    /// What was said last.
    pub status: AlertStatus,
    /// When a resolved was first said; a firing after it is stale until a peer confirms it.
    pub resolved_at: Option<Time>,
    /// When it was last heard of.
    pub at: Time,
}

/// A rollback that a person marked wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    /// Whose.
    pub incident: IncidentId,
    /// When it was marked.
    pub at: Time,
    /// Who marked it, as he says.
    pub by: String,
}

/// A time in which we saw nothing. `from` is absent for the time before the first start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Its begin.
    pub from: Option<Time>,
    /// Its end.
    pub to: Time,
    /// Whether we were alive, and only the watch heard nothing: incidents were opened in it.
    #[serde(default)]
    pub unwatched: bool,
}

impl Gap {
    /// A time in which we did not look at all.
    pub fn away(from: Option<Time>, to: Time) -> Self {
        Self { from, to, unwatched: false }
    }

    /// Its length; endless before the first start.
    pub fn length(&self) -> Duration {
        self.from.map_or(Duration::MAX, |from| self.to.since(from))
    }
}

/// What is known of a target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The object that the releases belong to.
    pub uid: String,
    /// Since when the watch has seen it without a gap.
    pub watched_since: Option<Time>,
    /// Its releases, the one that runs last.
    pub releases: Vec<Release>,
    /// Rollbacks, ours and people's, shadow ones by lane. Oldest first, bounded.
    pub rollbacks: Vec<PastRollback>,
    /// Damping, by lane.
    pub damping: BTreeMap<String, Damping>,
    /// Nobody rolls back before this.
    pub veto_until: Option<Time>,
}

impl History {
    /// The entry of a release.
    pub fn release(&self, digest: &Digest) -> Option<&Release> {
        self.releases.iter().find(|release| release.digest == *digest)
    }

    /// What ran at that time, as far as the ledger reaches.
    pub fn at(&self, time: Time) -> Option<&Release> {
        self.releases.iter().rev().find(|release| release.live_since <= time)
    }
}

/// A release of a target: the ledger's entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// What identifies it.
    pub digest: Digest,
    /// Its images.
    pub images: Vec<String>,
    /// `image name -> digest`, as its pods ran them.
    #[serde(default)]
    pub image_digests: BTreeMap<String, String>,
    /// The ReplicaSet that holds its template.
    pub replica_set: Option<String>,
    /// The change's first write: when it last became the target's release.
    pub live_since: Time,
    /// When it was first fully available after that.
    pub landed_at: Option<Time>,
    /// Since when it is fully available without a break.
    pub available_since: Option<Time>,
    /// How long it was fully available before `available_since`.
    pub healthy: Duration,
    /// When it was last fully available.
    pub last_available: Option<Time>,
    /// Whether its health was watched, or only re-learned from the cluster.
    pub watched: bool,
    /// Who put it there.
    pub by: Option<String>,
    /// Whether we put it there.
    pub by_us: bool,
    /// Rolled back from: when, and by which incident or whom.
    pub bad: Option<(Time, String)>,
    /// Alert names that fired on it, with their last time. Bounded.
    pub alerts: BTreeMap<String, Time>,
}

impl Release {
    /// How long it was fully available in all, as of `now`.
    pub fn healthy_for(&self, now: Time) -> Duration {
        self.healthy + self.available_since.map_or(Duration::ZERO, |since| now.since(since))
    }
}

/// A rollback that was made, or that shadow would have made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastRollback {
    /// `live`, or the policy in shadow.
    pub lane: String,
    /// The incident; `None` for a person's.
    pub incident: Option<IncidentId>,
    /// The release that was left.
    pub from: Digest,
    /// The release that was gone to.
    pub to: Digest,
    /// When its intent was committed: the budget is spent from here.
    pub at: Time,
    /// When it ended: the cooldown runs from here; `None` while it is under way.
    pub ended_at: Option<Time>,
}

/// A damped penalty (RFC 2439).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Damping {
    /// Times at which the target flapped. Bounded, oldest first: the penalty is computed from them, so that other numbers in
    /// the policy judge the same history.
    pub flaps: [Option<Time>; FLAPS],
}

impl Damping {
    /// Adds a flap, forgetting the oldest.
    pub fn add(&mut self, at: Time) {
        self.flaps.rotate_left(1);
        if let Some(last) = self.flaps.last_mut() {
            *last = Some(at);
        }
    }
}

impl Pause {
    /// Whether it covers this target and policy.
    pub fn covers(&self, target: Option<&TargetRef>, policy: &str) -> bool {
        match &self.scope {
            PauseScope::Global => true,
            PauseScope::Namespace(name) => target.is_some_and(|target| target.namespace == *name),
            PauseScope::Target(name) => target.is_some_and(|target| format!("{}/{}", target.namespace, target.name) == *name),
            PauseScope::Policy(name) => policy == name,
        }
    }
}

/// A pause, with its reason and its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Its number.
    pub id: u64,
    /// What it covers.
    pub scope: PauseScope,
    /// Why. Never empty.
    pub reason: String,
    /// Who, as he says.
    pub by: String,
    /// As whom he is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Since when.
    pub from: Time,
    /// Until when. Always bounded.
    pub until: Time,
}

impl Book {
    /// What is known of a target: only if it is the same object.
    pub fn history(&self, target: &TargetId) -> Option<&History> {
        self.targets.get(&target.at.to_string()).filter(|history| history.uid == target.uid)
    }

    /// Changes that were posted of a target, oldest first.
    pub fn changes(&self, target: &TargetRef) -> &[PostedChange] {
        self.changes.get(&target.to_string()).map_or(&[], Vec::as_slice)
    }

    /// Incidents that are not over.
    pub fn open(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.values().filter(|incident| incident.is_open())
    }

    /// Open incidents that hold an occurrence.
    pub(super) fn holders(&self, occurrence: Occurrence) -> impl Iterator<Item = &Incident> {
        self.index.holders(occurrence).filter_map(|id| self.incidents.get(id))
    }

    /// Incidents, open or not, that have wanted a rollback since then or later, the newest first.
    pub(super) fn wants_since(&self, from: Time) -> impl Iterator<Item = &Incident> {
        self.index.wants_since(from).filter_map(|id| self.incidents.get(id))
    }

    /// Open incidents of a place, see [`super::index::place`].
    pub(super) fn open_at(&self, place: &str) -> impl Iterator<Item = &Incident> {
        self.index.at(place).filter_map(|id| self.incidents.get(id)).filter(|incident| incident.is_open())
    }

    /// Builds what is derived anew, for a book that was read.
    pub(crate) fn reindex(&mut self) {
        self.index = Index::default();
        for incident in self.incidents.values() {
            self.index.file(incident, None);
        }
        for (occurrence, pending) in &self.pending {
            self.index.look_up(occurrence, None, Some(pending.due));
        }
    }

    /// Whether what is derived is what the rest says: for tests and simulations.
    pub fn is_indexed(&self) -> bool {
        let mut anew = self.clone();
        anew.reindex();
        anew.index == self.index
    }

    /// Whether a receipt's row was consumed already.
    pub fn is_consumed(&self, seq: u64) -> bool {
        seq <= self.consumed_through || self.consumed.contains(&seq)
    }
}
