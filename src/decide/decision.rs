//! A verdict with everything that it rests on: the report that explains it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::latch::Latching;
use super::observation::Observation;
use super::presence::Presence;
use crate::model::{Brake, Dependency, Mode, Outcome, Plan, PlannedStep, Reason, Time};

/// How a brake judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "why")]
pub enum Grip {
    /// It lets go.
    Free,
    /// It holds.
    Held,
    /// It could not see, therefore it holds.
    Blind,
    /// Switched off by name in the policy, with this reason.
    Off(String),
    /// A named person overrode it for this plan.
    Overridden,
}

/// One brake's judgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// Which brake.
    pub brake: Brake,
    /// What it does.
    pub grip: Grip,
    /// The numbers that it judged by, in one sentence.
    pub because: String,
    /// When it would let go by itself, where that can be told.
    pub until: Option<Time>,
}

impl Judgement {
    /// A brake that lets go.
    pub fn free(brake: Brake, because: impl Into<String>) -> Self {
        Self { brake, grip: Grip::Free, because: because.into(), until: None }
    }

    /// A brake that holds.
    pub fn held(brake: Brake, because: impl Into<String>) -> Self {
        Self { brake, grip: Grip::Held, because: because.into(), until: None }
    }

    /// A brake that cannot see, and holds.
    pub fn blind(brake: Brake, because: impl Into<String>) -> Self {
        Self { brake, grip: Grip::Blind, because: because.into(), until: None }
    }

    /// The same, letting go at a known time.
    #[must_use]
    pub fn until(mut self, at: Time) -> Self {
        self.until = Some(at);
        self
    }

    /// Whether it stops the rollback.
    pub fn holds(&self) -> bool {
        matches!(self.grip, Grip::Held | Grip::Blind)
    }
}

/// How one condition came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "truth", content = "why")]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It cannot be told; what was unknown.
    Unknown(String),
}

/// One line of the rule trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleTrail {
    /// The rule's name.
    pub rule: String,
    /// `file:line`.
    pub place: String,
    /// Whether its matchers hold.
    pub matchers: bool,
    /// Each condition's text, how it came out, and the values that it read.
    pub conditions: Vec<(String, Truth, Vec<String>)>,
    /// How the rule came out.
    pub truth: Truth,
}

/// A verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[must_use = "a decision that is not recorded cannot be explained"]
pub struct Decision {
    /// When.
    pub at: Time,
    /// The policy that decided.
    pub policy: String,
    /// `file:line` of the policy.
    pub place: String,
    /// The content hash of the policy folder.
    pub policies: String,
    /// The commit of the policy folder, where it is a git work tree.
    pub commit: Option<String>,
    /// What is to be done.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// The brake that held, first in the order of the reference.
    pub brake: Option<Brake>,
    /// One paragraph for people.
    pub summary: String,
    /// The mode that holds: the strictest of policy, rule and procedure.
    pub mode: Mode,
    /// Whether the alerts fire, as the peers say.
    pub presence: Presence,
    /// Every rule up to the one that decided.
    pub rules: Vec<RuleTrail>,
    /// Every brake, when a rule said rollback.
    pub brakes: Vec<Judgement>,
    /// The complete plan, when a rule said rollback and a release is fit: also when a brake holds it.
    pub plan: Option<Plan>,
    /// Facts that reached rules read and nobody has asked for yet. Not empty: this is no verdict yet.
    pub wanted: Vec<String>,
    /// What was unknown and might be known in a moment.
    pub unknown: Vec<String>,
    /// What did not answer, where something unknown rests on it.
    #[serde(default)]
    pub blind_on: Option<Dependency>,
    /// What would be done at once, whatever the verdict: steps that nobody carries out yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<PlannedStep>,
    /// What is to be latched: data may be corrupt, or a migration lies between the releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latch: Option<Latching>,
    /// The policy's figures, by name: what each came to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, String>,
    /// Where the page or ticket goes.
    pub to: Vec<String>,
    /// Channels that are told besides.
    pub tell: Vec<String>,
    /// When the change landed that put the incident's release there.
    pub change_landed_at: Option<Time>,
    /// What it rests on.
    pub observation: Observation,
}
