//! A plan: a rollback with no choices left. An executor may refuse it (a guard failed), never choose.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Digest, HttpFact, IncidentId, Mode, PlanHash, Reading, TargetId, Time};

/// A release of a target, named so that it can be found again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRef {
    /// What identifies it.
    pub digest: Digest,
    /// The revision number that the cluster gave it, for people; it changes when the release comes back.
    pub revision: Option<u64>,
    /// The ReplicaSet that holds its template.
    pub replica_set: Option<String>,
    /// Its containers' images, in the template's order.
    pub images: Vec<String>,
}

impl ReleaseRef {
    /// For people: the images, or the digest where there are none.
    pub fn label(&self) -> String {
        if self.images.is_empty() { self.digest.short().to_owned() } else { self.images.join(", ") }
    }
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Puts a release back.
    Undo,
    /// Puts another image into a container.
    Image,
    /// Changes how many pods there are.
    Scale,
    /// Turns a Service to the other side.
    Switch,
    /// Moves traffic by weights.
    Traffic,
    /// Cuts the traffic to a Service.
    Isolate,
    /// Restarts the pods.
    Restart,
    /// Puts a ConfigMap or Secret back.
    Config,
    /// Rolls a Helm release back.
    Helm,
    /// Runs a Job.
    Job,
    /// Sends a request.
    Http,
    /// Reverts or pins in git.
    Git,
    /// Puts a container of a Docker Engine back.
    Docker,
    /// Runs a program.
    Exec,
    /// Waits.
    Wait,
}

impl StepKind {
    /// The name in the language, metrics and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undo => "undo",
            Self::Image => "image",
            Self::Scale => "scale",
            Self::Switch => "switch",
            Self::Traffic => "traffic",
            Self::Isolate => "isolate",
            Self::Restart => "restart",
            Self::Config => "config",
            Self::Helm => "helm",
            Self::Job => "job",
            Self::Http => "http",
            Self::Git => "git",
            Self::Docker => "docker",
            Self::Exec => "exec",
            Self::Wait => "wait",
        }
    }
}

/// One step, complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum PlannedStep {
    /// Put the template of `to` back on the target.
    Undo {
        /// The release to put back.
        to: ReleaseRef,
    },
    /// A step that is planned and that nobody carries out yet: no executor takes it.
    Listed {
        /// What it would do.
        kind: StepKind,
        /// With what, every template filled in.
        keys: BTreeMap<String, String>,
    },
}

impl PlannedStep {
    /// The step's name in metrics and the language.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Undo { .. } => StepKind::Undo.as_str(),
            Self::Listed { kind, .. } => kind.as_str(),
        }
    }

    /// Whether an executor exists for it.
    pub fn is_carried_out(&self) -> bool {
        matches!(self, Self::Undo { .. })
    }
}

impl fmt::Display for PlannedStep {
    /// For people: `undo`, `scale (replicas: 0, workload: deployment/worker)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Listed { keys, .. } if !keys.is_empty() => {
                let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}: {value}")).collect();
                write!(f, " ({})", keys.join(", "))
            }
            Self::Listed { .. } | Self::Undo { .. } => Ok(()),
        }
    }
}

/// Which of the rule's procedures this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// 1 for the first.
    pub number: u32,
    /// How many there are.
    pub of: u32,
}

/// An HTTP check of a verification, rendered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpCheck {
    /// Where to ask.
    pub url: String,
    /// How many answers in a row must be as expected.
    pub attempts: u32,
    /// The status that is expected; any 2xx when none is named.
    pub status: Option<u16>,
    /// A text that the body must contain.
    pub text: Option<String>,
}

/// A question to Prometheus with every variable filled in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Query {
    /// The query.
    pub promql: String,
    /// A second query and the least value of it below which the answer means nothing. As text, so that plans compare.
    pub floor: Option<(String, String)>,
    /// The time that it is asked for; now, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

/// How success is proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyPlan {
    /// How long each check may take: from the last step for rollout and HTTP, from the end of the tail for alerts and facts.
    pub within: Duration,
    /// How long after the write alerts and facts cannot be expected to have changed. `None`: from Prometheus, else 10 min.
    pub tail: Option<Duration>,
    /// The rollout must be complete by our predicate.
    pub rollout: bool,
    /// Every alert of the incident must be resolved, confirmed.
    pub alert: bool,
    /// Conditions (CEL source) that must hold.
    pub facts: Vec<String>,
    /// What those conditions read, by the fact's name: pinned here, so that a reload does not change what success means.
    pub queries: BTreeMap<String, Query>,
    /// The same for values in JSON documents.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fetches: BTreeMap<String, HttpFact>,
    /// How the facts are read that are not simply numbers of Prometheus.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub readings: BTreeMap<String, Reading>,
    /// Addresses that must answer.
    pub http: Vec<HttpCheck>,
    /// How long all of it must hold without a break.
    pub hold: Duration,
    /// Its name in reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What is proven after it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<VerifyPlan>,
}

impl VerifyPlan {
    /// Its stages, itself the first.
    pub fn stages(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.then)
    }

    /// A stage by its number, from 0; the last one where there are not so many.
    pub fn stage(&self, number: usize) -> &Self {
        number.checked_sub(1).and_then(|behind| self.then.get(behind).or(self.then.last())).unwrap_or(self)
    }
}

/// A complete rollback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The incident that it answers.
    pub incident: IncidentId,
    /// The one object that it writes to.
    pub target: TargetId,
    /// The policy that decided.
    pub policy: String,
    /// The procedure that it carries out.
    pub procedure: String,
    /// Its place among the rule's levels.
    pub level: Level,
    /// Under which mode.
    pub mode: Mode,
    /// The release to leave.
    pub from: ReleaseRef,
    /// The release to go to.
    pub to: ReleaseRef,
    /// What is done, in order.
    pub steps: Vec<PlannedStep>,
    /// How long a veto is waited for.
    pub countdown: Duration,
    /// What is done when one of them fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_failure: Vec<PlannedStep>,
    /// How success is proven.
    pub verify: VerifyPlan,
}

impl Plan {
    /// Whether every step of it has an executor.
    pub fn is_carried_out(&self) -> bool {
        self.steps.iter().chain(&self.on_failure).all(PlannedStep::is_carried_out)
    }

    /// The plan's name by content: equal exactly when nothing that will be done differs. Revision numbers are left out:
    /// the cluster renumbers them by itself.
    pub fn hash(&self) -> PlanHash {
        let mut canonical = self.clone();
        canonical.from.revision = None;
        canonical.to.revision = None;
        for step in &mut canonical.steps {
            if let PlannedStep::Undo { to } = step {
                to.revision = None;
            }
        }
        PlanHash::derive(&serde_json::to_string(&canonical).unwrap_or_default())
    }
}

/// What must still be true of the target at the moment of the write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// `metadata.generation` that the second decision saw.
    pub generation: i64,
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "applied")]
pub enum Applied {
    /// The API server took it; `generation` is the one it answered with.
    Done {
        /// The generation that the write produced.
        generation: i64,
    },
    /// The target was already as wanted, by our own earlier write or a person's.
    Already {
        /// Its generation.
        generation: i64,
        /// Whether the annotation on it names this incident, so that the write was ours.
        ours: bool,
    },
    /// Nothing was written: a guard failed or the server refused.
    Refused {
        /// What was in the way.
        why: String,
        /// Whether asking again may help (conflict, overload): only where it is certain that nothing was written.
        transient: bool,
        /// Whether the cluster said that we may not.
        forbidden: bool,
    },
    /// No telling whether it was written; must be observed, never repeated blindly.
    Doubtful {
        /// What happened.
        why: String,
    },
}
