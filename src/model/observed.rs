//! What the outside looks like to a decision: the shapes that ports return. Filled in by `observe`, `execute` and `simulate`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Digest, Fact, Labels, Migration, Occurrence, Owner, Strategy, TargetId, Time, Unknown};

/// How many pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replicas {
    /// `spec.replicas`.
    pub desired: i32,
    /// `status.replicas`.
    pub total: i32,
    /// `status.updatedReplicas`.
    pub updated: i32,
    /// `status.availableReplicas`.
    pub available: i32,
}

/// A ReplicaSet of a Deployment: one release that the cluster still knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaSetSeen {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The release that its template is.
    pub digest: Digest,
    /// `deployment.kubernetes.io/revision`.
    pub revision: u64,
    /// When the API server made it (second granularity).
    pub created_at: Time,
    /// `spec.replicas`.
    pub desired: i32,
    /// `status.availableReplicas`.
    pub available: i32,
    /// Images in the template's order.
    pub images: Vec<String>,
    /// `image name -> image digest` as seen in pods of it; empty when no pod was seen.
    pub image_digests: BTreeMap<String, String>,
    /// `backout.dev/data-barrier` of its pod template.
    pub data_barrier: Option<String>,
}

/// A write to the target by somebody else, as `managedFields` tell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// The field manager.
    pub manager: String,
    /// When (second granularity).
    pub at: Time,
    /// Whether it touched `spec.template`; else it was `replicas` or `paused`.
    pub template: bool,
}

/// A Deployment as it was read, with the ReplicaSets that it controls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Which one.
    pub id: TargetId,
    /// `metadata.generation`.
    pub generation: i64,
    /// `status.observedGeneration`.
    pub observed_generation: i64,
    /// Pod counts.
    pub replicas: Replicas,
    /// `spec.paused`.
    pub paused: bool,
    /// How it replaces pods.
    pub strategy: Strategy,
    /// The release in `spec.template`.
    pub release: Digest,
    /// The images in `spec.template`.
    pub images: Vec<String>,
    /// When its Progressing condition says that the current rollout completed (`NewReplicaSetAvailable`), if it does and the
    /// ReplicaSet of the current release is fully available.
    pub landed_at: Option<Time>,
    /// Who would undo a write.
    pub owner: Owner,
    /// The reason in `backout.dev/pause` on the workload or its namespace. A namespace that may not be read (403) says nothing: the
    /// shipped Role may read it; any other failure to read it makes the whole workload unknown.
    pub pause: Option<String>,
    /// The latest write of each field manager other than `backout` and the cluster's own controllers to template, replicas or `paused`.
    pub writes: Vec<Write>,
    /// The incident that our annotation `backout.dev/last-rollback` names.
    pub last_rollback: Option<String>,
    /// Every ReplicaSet that it controls, by revision, oldest first.
    pub replica_sets: Vec<ReplicaSetSeen>,
    /// Jobs of its namespace that change data, the one that ended last at the end; or why they could not be read. Bounded.
    #[serde(default = "no_migration", skip_serializing_if = "is_without_migration")]
    pub migrations: Result<Vec<Migration>, Unknown>,
}

fn no_migration() -> Result<Vec<Migration>, Unknown> {
    Ok(Vec::new())
}

fn is_without_migration(read: &Result<Vec<Migration>, Unknown>) -> bool {
    read.as_ref().is_ok_and(Vec::is_empty)
}

impl Workload {
    /// Our own completion predicate (never the Progressing condition alone: it is stale after an undo).
    pub fn complete(&self) -> bool {
        let r = self.replicas;
        self.observed_generation >= self.generation
            && r.desired > 0
            && r.updated == r.desired
            && r.available == r.desired
            && r.total == r.desired
            && self.current().is_some_and(|rs| rs.available == r.desired)
    }

    /// The ReplicaSet of the current release, by template equality. After a restart several are equal (a restart is no other
    /// release): the one with the highest revision is the one that runs.
    pub fn current(&self) -> Option<&ReplicaSetSeen> {
        self.replica_sets.iter().rev().find(|rs| rs.digest == self.release)
    }
}

/// What the watch saw, for the ledger of releases. Sent when any of its fields changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchEvent {
    /// Which target.
    pub target: TargetId,
    /// The release in its template.
    pub release: Digest,
    /// Its images.
    pub images: Vec<String>,
    /// The ReplicaSet of that release, once it exists.
    pub replica_set: Option<String>,
    /// When that ReplicaSet was created: the change's first write. The watch's own time until it exists; where an older release
    /// came back to its old ReplicaSet, the time of the template's write.
    pub first_write: Time,
    /// Who last wrote the template.
    pub by: Option<String>,
    /// Whether that last writer is `backout`.
    pub by_us: bool,
    /// Whether it is fully available by our predicate.
    pub available: bool,
    /// Whether this comes from the first list after (re)connecting, so that the time before it was not watched.
    pub relearned: bool,
    /// For `relearned`: since when it is available according to the cluster's own conditions.
    pub landed_at: Option<Time>,
    /// Whether the target was deleted.
    pub gone: bool,
}

/// When the condition behind an alert began, and how we know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Onset {
    /// The time, or why there is none.
    pub at: Result<Time, Unknown>,
    /// `ALERTS_FOR_STATE`, or `startsAt` less the rule's `for`.
    pub source: String,
}

/// Which target an alert is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "resolution")]
pub enum Resolution {
    /// Found.
    Found {
        /// The workload as it is.
        workload: Box<Workload>,
    },
    /// Nothing of that name, or nothing that the labels name.
    Unresolved {
        /// What was looked for, and why it was not found.
        why: String,
    },
    /// The cluster could not be asked.
    Unknown {
        /// Why not.
        why: Unknown,
    },
}

/// The state of an alert on one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerAlertState {
    /// Firing, notifying.
    Active,
    /// A silence covers it.
    Silenced {
        /// Who, and why, where the silence could be read.
        by: Vec<String>,
    },
    /// Another alert inhibits it.
    Inhibited,
}

/// An alert as one Alertmanager peer holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertOnPeer {
    /// Which firing (milliseconds).
    pub occurrence: Occurrence,
    /// Its labels.
    pub labels: Labels,
    /// Whether it is active, silenced or inhibited.
    pub state: PeerAlertState,
}

/// An alert of the same name as one that was asked for: who else shows the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertAlike {
    /// Which firing (milliseconds).
    pub occurrence: Occurrence,
    /// Its labels.
    pub labels: Labels,
}

/// One Alertmanager peer's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its address as configured (no credentials).
    pub peer: String,
    /// How long it has been up: an empty list right after a start says nothing.
    pub up: Duration,
    /// Of the fingerprints asked for, those that it holds.
    pub alerts: Vec<AlertOnPeer>,
    /// When Prometheus last sent it the alert that always fires, if it holds that one; by the peer's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog_at: Option<Time>,
    /// Others that it holds, of the same names as those: the nearest in time first, bounded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alike: Vec<AlertAlike>,
    /// How many more of those there are, each at least as far in time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub alike_left_out: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What all Alertmanager peers say about some alerts, and whether anybody still evaluates rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertmanagerView {
    /// One for each configured peer, in the settings' order.
    pub peers: Vec<Fact<PeerView>>,
    /// When Prometheus last evaluated a rule group (the oldest over all groups).
    pub evaluated_at: Fact<Time>,
}

/// How far a rollout is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "rollout")]
pub enum RolloutStatus {
    /// Complete on the wanted release.
    Complete,
    /// Under way.
    Progressing {
        /// Where it stands, in words.
        detail: String,
    },
    /// It cannot complete (pods cannot be created).
    Failed {
        /// Why.
        detail: String,
    },
    /// Somebody else wrote another release.
    Superseded {
        /// What runs instead.
        release: Digest,
        /// Who wrote it, if that can be told.
        by: Option<String>,
    },
    /// The target is gone or is another object.
    Gone,
    /// It could not be read.
    Unknown {
        /// Why.
        why: Unknown,
    },
}

/// One HTTP check's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpResult {
    /// The address asked.
    pub url: String,
    /// Whether the answer was as expected; else what came instead.
    pub result: Result<(), String>,
}

/// Where the tail's length came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailSource {
    /// Its length.
    pub tail: Duration,
    /// `prometheus rules`, `policy`, `default`.
    pub source: String,
}

/// One thing that preflight found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreflightFinding {
    /// What was checked: `target`, `template`, `dry run`, `ConfigMap shop/cfg`.
    pub check: String,
    /// Fine, or what is in the way.
    pub problem: Option<String>,
    /// Whether the problem is that the cluster does not permit it.
    pub forbidden: bool,
    /// Whether trying again within seconds may help.
    pub transient: bool,
}

/// What preflight found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreflightReport {
    /// Everything that was checked, good and bad.
    pub findings: Vec<PreflightFinding>,
}

impl PreflightReport {
    /// The first thing in the way.
    pub fn problem(&self) -> Option<&PreflightFinding> {
        self.findings.iter().find(|finding| finding.problem.is_some())
    }
}

/// What was collected before the first write. Bounded; redacted; never complete for certain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Sections of text by name: `pods`, `events`, `replica sets`, `logs pod/container`, `template diff`.
    pub sections: BTreeMap<String, String>,
    /// What could not be collected, and why.
    pub missing: Vec<String>,
}
