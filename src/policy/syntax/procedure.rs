//! Procedures as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::yaml::{Field, Short, Word};
use super::people::{Announcements, Approval};
use super::step::Step;
use super::text::DurationText;
use super::verify::Verify;
use crate::model::Mode;

/// What is done, step by step.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "procedure")]
#[schemars(deny_unknown_fields, extend("required" = ["name"]))]
pub(in super::super) struct Procedure {
    /// Unique in the folder; rules name it.
    pub(in super::super) name: Field<String>,
    /// What it does to the world.
    pub(in super::super) kind: Field<Kind>,
    /// A stricter mode than the policy's.
    pub(in super::super) mode: Field<Mode>,
    /// Whether only a person starts it: no rule may name it.
    pub(in super::super) manual: Field<bool>,
    /// How long a veto is waited for before the first write (30s for `severity="critical"`, else 120s).
    pub(in super::super) countdown: Field<DurationText>,
    /// How an approval is waited for.
    pub(in super::super) approval: Field<Short<Approval>>,
    /// Whether it may carry data back without a person.
    pub(in super::super) unattended: Field<bool>,
    /// Whether the plan may take the service down on the way.
    pub(in super::super) availability: Field<Availability>,
    /// Whether it takes the data back itself, so that a data barrier does not hold it.
    pub(in super::super) carries_back: Field<bool>,
    /// Who is told at which moments.
    pub(in super::super) announce: Announcements,
    /// What is done, in order. Required, unless a default says it.
    pub(in super::super) steps: Field<Vec<Field<Word<Step>>>>,
    /// What is done when a step fails.
    pub(in super::super) on_failure: Field<Vec<Field<Word<Step>>>>,
    /// How success is proven.
    pub(in super::super) verify: Field<Verify>,
}

/// What a procedure does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", rename = "kind")]
pub(in super::super) enum Kind {
    /// Puts a release back.
    Rollback,
    /// Makes things safe, and can be taken back.
    Contain,
    /// May do anything; a person starts it or approves it.
    Recover,
}

/// Whether the plan may take the service down on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", rename = "availability")]
pub(in super::super) enum Availability {
    /// A plan that would is refused.
    Keep,
    /// It may: `Recreate` and `maxUnavailable: 100%` are accepted.
    MayDrop,
}
