//! Procedures: what is done, and how its success is proven.

use std::time::Duration;

use super::super::expr::Expr;
use super::super::template::Template;
use super::Place;
use super::people::Announcement;
use crate::model::{Mode, StepKind};

/// What is done.
#[derive(Clone, Debug)]
pub struct Procedure {
    /// Its name; fit for a metric label.
    pub name: String,
    /// Where it stands; nowhere for one that is built in.
    pub place: Place,
    /// What it does to the world.
    pub kind: Kind,
    /// A stricter mode than the policy's.
    pub mode: Option<Mode>,
    /// Whether only a person starts it.
    pub manual: bool,
    /// How long a veto is waited for; `None`: 30 s for `severity="critical"`, else 120 s.
    pub countdown: Option<Duration>,
    /// How long an approval is waited for; `None`: as the policy says, else 10 min.
    pub approval_within: Option<Duration>,
    /// Whether the plan may take the service down (`Recreate`, `maxUnavailable: 100%`).
    pub may_drop: bool,
    /// Who is told at which moments.
    pub announce: Vec<Announcement>,
    /// What it does, in order.
    pub steps: Vec<Step>,
    /// What it does when one of them fails.
    pub on_failure: Vec<Step>,
    /// How success is proven.
    pub verify: Verify,
    /// What of it is not carried out, though leaving it out would change what is done. Not empty: it can only decide in shadow.
    pub later: Vec<String>,
}

/// What a procedure does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Puts a release back.
    Rollback,
    /// Makes things safe, and can be taken back.
    Contain,
    /// May do anything; a person starts it or approves it.
    Recover,
}

impl Kind {
    /// The name in the language.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rollback => "rollback",
            Self::Contain => "contain",
            Self::Recover => "recover",
        }
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it does.
    pub kind: StepKind,
    /// With what, by the key of the language; nothing for a plain `undo`.
    pub keys: Vec<(String, Template)>,
    /// Whether it is done at all: evaluated once, when the plan is made.
    pub when: Option<Expr>,
}

impl Step {
    /// Put the last good release back on the target.
    pub const UNDO: Self = Self { kind: StepKind::Undo, keys: Vec::new(), when: None };

    /// Whether it puts the last good release back on the target, which is what is carried out.
    pub fn is_undo(&self) -> bool {
        self.kind == StepKind::Undo && self.keys.is_empty()
    }
}

/// How success is proven.
#[derive(Clone, Debug)]
pub struct Verify {
    /// Its name in reports.
    pub name: Option<String>,
    /// Time limit of each check.
    pub within: Duration,
    /// Overrides the tail.
    pub tail: Option<Duration>,
    /// The rollout must be complete.
    pub rollout: bool,
    /// The alerts must be resolved.
    pub alert: bool,
    /// Conditions that must hold.
    pub facts: Vec<Expr>,
    /// Addresses that must answer.
    pub http: Vec<HttpCheckSpec>,
    /// How long all of it must hold.
    pub hold: Duration,
    /// What is proven after it, in order; none of these has another behind it.
    pub then: Vec<Verify>,
}

impl Verify {
    /// Its stages, itself the first.
    pub fn stages(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.then)
    }
}

/// An HTTP check as written.
#[derive(Clone, Debug)]
pub struct HttpCheckSpec {
    /// Renders to the address; values are percent-encoded.
    pub url: Template,
    /// Answers in a row that must be as expected.
    pub attempts: u32,
    /// The status expected; any 2xx when unset.
    pub status: Option<u16>,
    /// A text that the body must contain.
    pub text: Option<String>,
}
