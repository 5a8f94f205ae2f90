//! L2: the traits that the engine needs of the outside. Implemented by `observe`, `execute`, `notify`, `store` and, all of them
//! again, by `simulate`. The consumer owns the trait: nothing here knows Kubernetes, HTTP or SQL.
//!
//! Every method answers within the time that its implementation bounds; a failure is a value (`Unknown`, `Refused`), never a panic.

pub mod answer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

use crate::journal::scan::Scan;
use crate::model::{
    AlertmanagerView, Applied, Delivery, Digest, Evidence, Fact, Fingerprint, Guard, HttpCheck, HttpFact, HttpResult, IncidentId,
    Lookup, Message, Number, Onset, Order, Outcome, Plan, PreflightReport, Resolution, RolloutStatus, Source, TailSource,
    TargetId, TargetRef, Time,
};

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// The wall clock. Somebody may set it at any moment, forward or back.
    fn now(&self) -> Time;

    /// How long ago some moment was that stays the same for as long as the process runs. It goes on while the machine sleeps, and
    /// nobody can set it: deadlines that must not depend on the wall clock count by it. As it is here, right for a clock that is
    /// never set.
    fn elapsed(&self) -> Duration {
        self.now().since(Time::default())
    }

    /// Resolves after as long as the wall clock lacks to `at` now. Setting it meanwhile makes that neither longer nor shorter.
    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()>;

    /// Resolves after that long.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(self.now() + span)
    }
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

    /// The same for a time in the past.
    fn query_at(&self, promql: String, at: Time) -> BoxFuture<'_, Fact<Number>>;

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

    /// Asks once for a JSON document and reads the text, number or truth in it that the pointer names, as text.
    fn fetch(&self, what: HttpFact) -> BoxFuture<'_, Fact<String>>;
}

/// Telling people.
pub trait Notifier: Send + Sync {
    /// Delivers a message: through the named channels, or in order until one that takes it has it. A page stays posted until
    /// `close_page`. Returns the channel that has it, or what each one said.
    fn deliver(&self, message: Message) -> BoxFuture<'_, Delivery>;

    /// Ends the page of an incident; without one, the page of our own blindness.
    fn close_page(&self, incident: Option<IncidentId>) -> BoxFuture<'_, ()>;

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
    /// The same by `Clock::elapsed`: the wall clock may have been set since.
    pub elapsed: Duration,
    /// Which endpoint took it.
    pub source: Source,
    /// The body as it was sent, without the receipt's header.
    pub body: Bytes,
    /// Where everything stands in the body.
    pub scan: Scan,
    /// Its share of the budget of bytes in flight, given back when this is dropped.
    pub held: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// What people may ask the service, over its API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The incidents, the newest first.
    Incidents(IncidentQuery),
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
    /// The latches that hold, and those that were cleared and are remembered.
    Latches,
    /// The changes that were posted, the newest first.
    Changes(ChangeQuery),
    /// The policies in use, and what was wrong with the last reload.
    Policies,
    /// How the service is.
    Status,
    /// What it remembers.
    Recall(Recall),
}

/// What the service remembers, for who judges or asks outside of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recall {
    /// The part of the book that judging these targets needs.
    Book(Vec<TargetRef>),
    /// Where this image or release was rolled back from.
    Bad(String),
    /// The releases of a target.
    Revisions(TargetRef),
}

/// Which incidents, and how many. What is unset lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncidentQuery {
    /// Whether they are over.
    pub state: IncidentFilter,
    /// Where they stand, by the name of the phase.
    pub phase: Option<String>,
    /// Which policy decides.
    pub policy: Option<String>,
    /// In which namespace the target is.
    pub namespace: Option<String>,
    /// The target, `namespace/name`.
    pub target: Option<String>,
    /// The last verdict.
    pub outcome: Option<Outcome>,
    /// Opened then or later.
    pub since: Option<Time>,
    /// Those that come after this one in the list.
    pub after: Option<IncidentCursor>,
    /// How many at most.
    pub limit: usize,
}

/// A place in the list of incidents: new ones come before it and do not shift it. Its text is not meant to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentCursor {
    /// When the incident there was opened.
    pub opened_at: Time,
    /// Which it is.
    pub id: IncidentId,
}

impl IncidentCursor {
    /// Reads what `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let (millis, id) = text.split_once('.')?;
        let opened_at = Time::from_millis(i64::from_str_radix(millis, 16).ok()?);
        let id = IncidentId::parse(id)?;
        Some(Self { opened_at, id })
    }
}

impl fmt::Display for IncidentCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}", self.opened_at.millis(), self.id)
    }
}

/// Which posted changes, and how many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeQuery {
    /// Of this target, `namespace/name`.
    pub target: Option<String>,
    /// Made then or later.
    pub since: Option<Time>,
    /// How many at most.
    pub limit: usize,
}

/// Something that people may want to see at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Ordered and never given twice, also after a restart: the journal's row, and the place in it.
    pub id: NoticeId,
    /// What it is about: `incident`, `pauses`, `latches`, `policies`, `change`.
    pub kind: &'static str,
    /// JSON, of the shape that the API has for it.
    pub data: String,
}

/// Names a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NoticeId {
    /// The row of the journal.
    pub row: u64,
    /// The place in it.
    pub place: u32,
}

impl NoticeId {
    /// Reads what `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let (row, place) = text.split_once('-')?;
        Some(Self { row: row.parse().ok()?, place: place.parse().ok()? })
    }
}

impl fmt::Display for NoticeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.row, self.place)
    }
}

/// What a watcher gets.
#[derive(Debug)]
pub struct Subscription {
    /// Whether something may lie between what the watcher knows and what follows: it must look at everything anew.
    pub gap: bool,
    /// Notices since the one that the watcher knows.
    pub missed: Vec<Arc<Notice>>,
    /// What is to come. Who reads too slowly loses the oldest, and is told so.
    pub live: broadcast::Receiver<Arc<Notice>>,
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
    /// For people with a browser. The engine writes Markdown; the page is made of it.
    Html,
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

/// A stretch of an incident's life, for a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The incident: its trace.
    pub incident: IncidentId,
    /// What it was: a phase, or `incident` for all of it.
    pub name: &'static str,
    /// Whether it is all of it.
    pub is_root: bool,
    /// Its begin.
    pub from: Time,
    /// Its end.
    pub to: Time,
    /// Whether it went well, where that can be said.
    pub ok: Option<bool>,
    /// What one would look for it by. Never a label of an alert.
    pub attributes: Vec<(&'static str, String)>,
}

/// What the process logs, changed while it runs.
pub trait LogLevel: Send + Sync {
    /// The directives in force, as in `RUST_LOG`.
    fn get(&self) -> String;

    /// Changes them.
    ///
    /// # Errors
    /// They are none; what was in force stays.
    fn set(&self, directives: &str) -> Result<(), String>;
}

/// The engine, as the API sees it. Operations are answered only after they are committed.
pub trait Control: Send + Sync {
    /// Answers from the book; changes nothing.
    fn query(&self, question: Question) -> BoxFuture<'_, Result<serde_json::Value, ControlError>>;

    /// Does what a person says.
    fn operate(&self, order: Order) -> BoxFuture<'_, Result<serde_json::Value, ControlError>>;

    /// Tells of what changes from now on, and of what changed since the notice that the asker knows.
    fn watch(&self, known: Option<NoticeId>) -> Subscription;

    /// Reads the policies again; tells what is in use now.
    fn reload(&self) -> BoxFuture<'_, Result<String, ControlError>>;

    /// Whether the journal is replayed and the cluster's cache is filled.
    ///
    /// # Errors
    /// What is missing.
    fn ready(&self) -> Result<(), String>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_and_notices_are_read_as_they_are_written() {
        let cursor =
            IncidentCursor { opened_at: Time::from_millis(1_772_366_400_123), id: IncidentId("i0123456789ab".to_owned()) };
        assert_eq!(IncidentCursor::parse(&cursor.to_string()), Some(cursor));
        for bad in ["", ".", "19c.", "19c.i1", "xyz.i0123456789ab", "19c.i0123456789AB"] {
            assert_eq!(IncidentCursor::parse(bad), None, "{bad}");
        }
        let id = NoticeId { row: 7, place: 2 };
        assert_eq!(NoticeId::parse(&id.to_string()), Some(id));
        assert!(NoticeId { row: 7, place: 9 } < NoticeId { row: 10, place: 0 }, "by number, not by text");
        for bad in ["", "7", "7-", "-1", "7-x", "7-2-3"] {
            assert_eq!(NoticeId::parse(bad), None, "{bad}");
        }
    }
}
