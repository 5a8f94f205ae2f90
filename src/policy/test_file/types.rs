//! What a test file says, once it was read and found right. No text of YAML in here; times count from minute 0 of the world.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::super::duration;
use super::super::expr::Expr;
use super::super::matcher::Matcher;
use super::super::source::At;
use super::series::Value;
use crate::model::{Brake, Labels, LatchCause, Mark, MigrationState, Moment, PauseScope, TargetRef, Time};

/// A test file.
#[derive(Clone, Debug, Default)]
pub struct TestFile {
    /// How often Prometheus evaluates rules.
    pub evaluation_interval: Duration,
    /// The tests, in order.
    pub tests: Vec<Test>,
}

/// A path that stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// As it is written.
    pub text: String,
    pub(super) at: At,
}

impl Named {
    pub(super) fn at(&self) -> At {
        self.at
    }
}

/// Where something stands, for reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spot {
    /// The file.
    pub file: String,
    /// 1-based.
    pub line: usize,
    /// 1-based.
    pub column: usize,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A time of the world: milliseconds from its minute 0, which may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub i64);

impl Instant {
    /// The calendar time, where minute 0 is `zero`.
    pub fn from(self, zero: Time) -> Time {
        zero.shifted(self.0)
    }

    /// That time of the world, where minute 0 is `zero`.
    pub fn of(at: Time, zero: Time) -> Self {
        Self(at.millis().saturating_sub(zero.millis()))
    }

    /// So much earlier.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// So much later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Instant {
    /// As it is written: `12m`, `-3d`, `0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0");
        }
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}", duration::format(Duration::from_millis(self.0.unsigned_abs())))
    }
}

/// One story, and what is expected of it.
#[derive(Clone, Debug)]
pub struct Test {
    /// What it shows.
    pub name: String,
    /// Where it stands.
    pub spot: Spot,
    /// The calendar time of minute 0, where the test says one.
    pub start: Option<Time>,
    /// When the story ends.
    pub until: Instant,
    /// The cluster's name.
    pub cluster: String,
    /// The Deployments.
    pub deployments: Vec<Deployment>,
    /// Jobs that change data.
    pub jobs: Vec<Job>,
    /// Channels in the settings' order, where the test names them.
    pub channels: Vec<String>,
    /// How many Alertmanager peers there are.
    pub alertmanagers: u32,
    /// What health addresses answer, by address and image.
    pub http: BTreeMap<String, Answers>,
    /// JSON documents by address, each from a time on, in order.
    pub documents: BTreeMap<String, Vec<(Instant, String)>>,
    /// Since when backout has been watching.
    pub watching_since: Instant,
    /// Facts by name.
    pub facts: BTreeMap<String, Series>,
    /// The traffic of floors by the fact's name.
    pub floors: BTreeMap<String, Series>,
    /// The alerts.
    pub alerts: Vec<Alert>,
    /// What people do, in the file's order.
    pub deeds: Vec<(Instant, Deed)>,
    /// What is down.
    pub down: Vec<Down>,
    /// What is expected, in the order of time.
    pub expect: Vec<Expectation>,
}

/// What a health address answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Always this status.
    Always(u16),
    /// A status for each image.
    ByImage(BTreeMap<String, u16>),
}

/// A series, one value a minute from minute 0 on.
#[derive(Clone, Debug, PartialEq)]
pub enum Series {
    /// The same for every target.
    Everywhere(Vec<Value>),
    /// By the image that runs on the target.
    ByImage(BTreeMap<String, Vec<Value>>),
}

/// A Deployment and its history.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Where it is.
    pub at: TargetRef,
    /// How many pods.
    pub replicas: i32,
    /// How long a pod takes to become ready.
    pub ready_after: Duration,
    /// `revisionHistoryLimit`.
    pub history_limit: usize,
    /// All pods at once.
    pub recreate: bool,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its releases, the oldest first.
    pub revisions: Vec<Revision>,
}

/// A release.
#[derive(Clone, Debug)]
pub struct Revision {
    /// Its image.
    pub image: String,
    /// When it was deployed.
    pub at: Instant,
    /// Who deployed it.
    pub by: String,
    /// Whether its pods become ready.
    pub ready: bool,
    /// Annotations of its template.
    pub annotations: BTreeMap<String, String>,
}

/// A Job that changes data.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// What becomes of it and when; `None`: it is deleted.
    pub moments: Vec<(Instant, Option<MigrationState>)>,
}

/// An alert.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Its labels.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Labels,
    /// How long its condition holds before it fires, where the test says so.
    pub hold: Option<Duration>,
    /// Its tail, where the test says so.
    pub tail: Option<Duration>,
    /// When it fires.
    pub windows: Vec<Window>,
    /// The target that its conditions are about.
    pub of: Option<TargetRef>,
}

/// When an alert fires.
#[derive(Clone, Debug)]
pub struct Window {
    /// From here …
    pub from: Instant,
    /// … until then.
    pub to: Option<Instant>,
    /// Again and again: how often, and for how long each time.
    pub every: Option<(Duration, Duration)>,
    /// Only while this holds.
    pub condition: Option<Expr>,
}

/// What somebody does.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each variant is a key of the language")]
pub enum Deed {
    Approve { by: String, incident: Option<usize>, overrides: Vec<String> },
    Veto { by: String, incident: Option<usize>, reason: String },
    Acknowledge { by: String, incident: Option<usize> },
    Mark { by: String, incident: Option<usize>, mark: Mark },
    Silence { by: String, matchers: Vec<Matcher>, span: Option<Duration> },
    Pause { by: String, scope: PauseScope, reason: String, span: Duration },
    Resume { by: String, pause: u64 },
    ClearLatch { by: String, latch: u64 },
    Deploy { by: String, at: TargetRef, image: String, annotations: BTreeMap<String, String> },
    Scale { by: String, at: TargetRef, replicas: i32 },
    Annotate { at: TargetRef, key: String, value: String },
    Delete { at: TargetRef },
}

/// Something that does not answer for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// What.
    pub what: Part,
    /// From here …
    pub from: Instant,
    /// … until then.
    pub to: Option<Instant>,
}

/// What may be down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The API server.
    Cluster,
    /// The watch of the cluster.
    Watch,
    /// Prometheus.
    Prometheus,
    /// Its evaluation of rules.
    Evaluation,
    /// Every Alertmanager.
    Alertmanager,
    /// One channel; all of them where there is no name.
    Channel(Option<String>),
    /// The service itself.
    Backout,
}

/// What is expected at a time.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// When.
    pub at: Instant,
    /// Where it stands.
    pub spot: Spot,
    /// Which incident is meant.
    pub subject: Subject,
    /// What must hold, each with its key, in the file's order of keys.
    pub wanted: Vec<Wanted>,
}

/// Which incident is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// That of this target.
    pub of: Option<TargetRef>,
    /// That of this policy.
    pub policy: Option<String>,
    /// The one of this number in the story.
    pub incident: Option<usize>,
}

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is a key of the language, see `syntax::Expect`")]
pub enum Wanted {
    Nothing(bool),
    Outcome(String),
    State(String),
    Rule(String),
    Brakes(Vec<Brake>),
    Latches(Vec<LatchCause>),
    Unknown(Vec<String>),
    Unfit(Vec<String>),
    To(String),
    From(String),
    Steps(Vec<String>),
    Levels(Vec<String>),
    Messages(Vec<Message>),
    Pages(u32),
    Actions(u32),
    ActionsAtMost(u32),
}

impl Wanted {
    /// The key that says it.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Nothing(_) => "nothing",
            Self::Outcome(_) => "outcome",
            Self::State(_) => "state",
            Self::Rule(_) => "rule",
            Self::Brakes(_) => "brake",
            Self::Latches(_) => "latch",
            Self::Unknown(_) => "unknown",
            Self::Unfit(_) => "unfit",
            Self::To(_) => "to",
            Self::From(_) => "from",
            Self::Steps(_) => "steps",
            Self::Levels(_) => "levels",
            Self::Messages(_) => "messages",
            Self::Pages(_) => "pages",
            Self::Actions(_) => "actions",
            Self::ActionsAtMost(_) => "actions_at_most",
        }
    }
}

/// A message that is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// When in the incident's life.
    pub moment: Moment,
    /// A channel that has it.
    pub to: Option<String>,
    /// A text that its title holds.
    pub title: Option<String>,
}
