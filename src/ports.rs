//! L2: the traits that the engine needs of the outside. Implemented by `observe`, `execute`, `notify`, `store` and, all of them
//! again, by `simulate`. The consumer owns the trait: nothing here knows Kubernetes, HTTP or SQL.
//!
//! Every method answers within the time that its implementation bounds; a failure is a value (`Unknown`, `Refused`), never a panic.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::model::{
    AlertmanagerView, Applied, Delivery, Digest, Evidence, Fact, Fingerprint, Guard, HttpCheck, HttpResult, IncidentId, Lookup,
    Message, Number, Onset, Plan, PreflightReport, Resolution, RolloutStatus, Source, TailSource, TargetId, Time,
};

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// The wall clock.
    fn now(&self) -> Time;

    /// Resolves when the wall clock reads `at` or later.
    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()>;
}

/// Reading and writing the cluster.
pub trait Cluster: Send + Sync {
    /// Finds the target that an alert names.
    fn resolve(&self, lookup: Lookup) -> BoxFuture<'_, Resolution>;

    /// Reads the target live, past every cache.
    fn observe(&self, target: TargetId) -> BoxFuture<'_, Resolution>;

    /// The plan's writes as server-side dry run, the references of the old template, our permissions.
    fn preflight(&self, plan: Plan, guard: Guard) -> BoxFuture<'_, PreflightReport>;

    /// Collects evidence within 5 s.
    fn evidence(&self, plan: Plan) -> BoxFuture<'_, Evidence>;

    /// Carries one step out, guarded. Never retried inside.
    fn apply(&self, plan: Plan, step: usize, guard: Guard) -> BoxFuture<'_, Applied>;

    /// How far the rollout to `release` is.
    fn rollout(&self, target: TargetId, release: Digest) -> BoxFuture<'_, RolloutStatus>;

    /// Puts an Event on the workload. Failure is counted inside; it changes nothing.
    fn event(&self, target: TargetId, incident: IncidentId, reason: &'static str, note: String) -> BoxFuture<'_, ()>;

    /// When the watch last heard from the API server; `None`: never, or no cluster.
    fn watch_heard_at(&self) -> Option<Time>;
}

/// Asking Prometheus.
pub trait Prometheus: Send + Sync {
    /// One number for one query now. No samples, several series, NaN and errors are unknown.
    fn query(&self, promql: String) -> BoxFuture<'_, Fact<Number>>;

    /// When the condition behind an alert began.
    fn onset(&self, alert: crate::model::Alert) -> BoxFuture<'_, Onset>;

    /// When Prometheus last evaluated its alerting rules (the oldest group).
    fn evaluated_at(&self) -> BoxFuture<'_, Fact<Time>>;

    /// Rule look-back + `keep_firing_for` + two evaluations of the rule with that alertname; `None` where it cannot be told.
    fn tail(&self, alertname: String) -> BoxFuture<'_, Option<TailSource>>;
}

/// Asking every Alertmanager peer.
pub trait Alertmanagers: Send + Sync {
    /// What each peer holds of these alerts, suppressed ones included. `evaluated_at` is left unknown: Prometheus fills it.
    fn view(&self, fingerprints: Vec<Fingerprint>) -> BoxFuture<'_, AlertmanagerView>;
}

/// Asking health URLs of a verification.
pub trait HttpProbe: Send + Sync {
    /// Asks `check.attempts` times.
    fn check(&self, check: HttpCheck) -> BoxFuture<'_, HttpResult>;
}

/// Telling people.
pub trait Notifier: Send + Sync {
    /// Delivers a message: through the named channels, or in order until one that takes it has it. A page stays posted until
    /// `close_page`. Returns the channel that has it, or what each one said.
    fn deliver(&self, message: Message) -> BoxFuture<'_, Delivery>;

    /// Ends the page of an incident.
    fn close_page(&self, incident: IncidentId) -> BoxFuture<'_, ()>;

    /// Tells the channels that hold its page that somebody has the incident. Failure is told inside; it changes nothing.
    fn acknowledge_page(&self, _incident: IncidentId, _by: String) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// A row of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number: gapless order of commits.
    pub seq: u64,
    /// What it holds.
    pub kind: RowKind,
    /// When it was written.
    pub at: Time,
    /// The bytes, in the encoding of `journal`.
    pub body: Bytes,
}

/// What a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// A webhook body as it was acknowledged.
    Receipt,
    /// Records of one step of the engine.
    Step,
}

/// Why the journal did not take something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Too much is waiting; answer 503.
    #[error("the journal's queue is full")]
    Full,
    /// The medium refused (disk full, I/O error). May pass.
    #[error("the journal cannot commit: {0}")]
    Failed(String),
    /// The writer has ended.
    #[error("the journal is closed")]
    Closed,
}

/// The journal. Appends are grouped into transactions by its one writer; an `Ok` means that the bytes are on the disk.
pub trait Store: Send + Sync {
    /// Commits one row and tells its number.
    fn append(&self, kind: RowKind, at: Time, body: Bytes) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Commits a snapshot of the book as of row `through`; rows before it may be dropped once they are old enough.
    fn snapshot(&self, through: u64, at: Time, body: Bytes) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The newest snapshot, with the row that it includes.
    fn latest_snapshot(&self) -> BoxFuture<'_, Result<Option<(u64, Bytes)>, StoreError>>;

    /// At most `limit` rows after `seq`, in order. Fewer may come when they are large: only an empty answer means the end.
    fn read_after(&self, seq: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Row>, StoreError>>;

    /// Keeps a raw template (JSON) under its digest. Known ones are left as they are.
    fn keep_template(&self, digest: Digest, at: Time, template: Bytes) -> BoxFuture<'_, Result<(), StoreError>>;

    /// A kept template.
    fn template(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>>;
}

/// A receipt that is committed, on its way from the webhook to the engine. Receipts come in any order of their numbers, each
/// committed one exactly once as long as the process lives; after a start the journal has them.
#[derive(Debug)]
pub struct Received {
    /// Its row in the journal.
    pub seq: u64,
    /// When it came in: the row's time.
    pub at: Time,
    /// Which endpoint took it.
    pub source: Source,
    /// The body as it was sent, without the receipt's header.
    pub body: Bytes,
    /// Its share of the budget of bytes in flight, given back when this is dropped.
    pub held: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// What people may ask the service, over its API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The incidents, the newest first.
    Incidents {
        /// Which of them.
        state: IncidentFilter,
        /// How many at most.
        limit: usize,
    },
    /// One incident with all that is known of it.
    Incident(IncidentId),
    /// The report of an incident: an object, or for Markdown a string.
    Report {
        /// Which incident.
        incident: IncidentId,
        /// For whom.
        format: ReportFormat,
    },
    /// The pauses that hold.
    Pauses,
    /// The policies in use, and what was wrong with the last reload.
    Policies,
    /// How the service is.
    Status,
}

/// Which incidents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentFilter {
    /// Those that are not over.
    #[default]
    Open,
    /// Those that are over.
    Closed,
    /// Both.
    All,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportFormat {
    /// For scripts.
    #[default]
    Json,
    /// For people.
    Markdown,
}

/// Why a question or an operation was not answered. The texts are for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// No such incident, pause or policy.
    #[error("{0}")]
    NotFound(String),
    /// It is there, and not in a state in which this can be done.
    #[error("{0}")]
    Conflict(String),
    /// Not now: replaying, ending, or the journal does not commit.
    #[error("{0}")]
    Unavailable(String),
    /// What was asked makes no sense.
    #[error("{0}")]
    Invalid(String),
}

/// The engine, as the API sees it. Operations are answered only after they are committed.
pub trait Control: Send + Sync {
    /// Answers from the book; changes nothing.
    fn query(&self, question: Question) -> BoxFuture<'_, Result<serde_json::Value, ControlError>>;

    /// Does what a person says.
    fn operate(&self, operation: crate::model::Operation) -> BoxFuture<'_, Result<serde_json::Value, ControlError>>;

    /// Reads the policies again; tells what is in use now.
    fn reload(&self) -> BoxFuture<'_, Result<String, ControlError>>;

    /// Whether the journal is replayed and the cluster's cache is filled.
    ///
    /// # Errors
    /// What is missing.
    fn ready(&self) -> Result<(), String>;
}
