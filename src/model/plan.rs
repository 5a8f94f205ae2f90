//! A plan: a rollback with no choices left. An executor may refuse it (a guard failed), never choose.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Digest, IncidentId, Mode, PlanHash, TargetId};

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

/// One step, complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum PlannedStep {
    /// Put the template of `to` back on the target.
    Undo {
        /// The release to put back.
        to: ReleaseRef,
    },
}

impl PlannedStep {
    /// The step's name in metrics and the language.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Undo { .. } => "undo",
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
    /// Addresses that must answer.
    pub http: Vec<HttpCheck>,
    /// How long all of it must hold without a break.
    pub hold: Duration,
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
    /// How success is proven.
    pub verify: VerifyPlan,
}

impl Plan {
    /// The plan's name by content: equal exactly when nothing that will be done differs. Revision numbers are left out:
    /// the cluster renumbers them by itself.
    pub fn hash(&self) -> PlanHash {
        let mut canonical = self.clone();
        canonical.from.revision = None;
        canonical.to.revision = None;
        for step in &mut canonical.steps {
            match step {
                PlannedStep::Undo { to } => to.revision = None,
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
