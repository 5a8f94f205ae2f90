//! Procedures as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::yaml::{Field, Listed, Named, Short, Shorthand, Word};
use super::text::{CelText, DurationText, TemplateText};
use crate::model::Mode;

/// What a rollback does, step by step.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "procedure")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct Procedure {
    /// Unique in the folder; rules name it.
    #[schemars(required)]
    pub(in super::super) name: Field<String>,
    /// What it does to the world.
    pub(in super::super) kind: Field<Kind>,
    /// A stricter mode than the policy's.
    pub(in super::super) mode: Field<Mode>,
    /// How long a veto is waited for before the first write (30s for `severity="critical"`, else 120s).
    pub(in super::super) countdown: Field<DurationText>,
    /// How an approval is waited for.
    pub(in super::super) approval: Field<Short<Approval>>,
    /// Whether the plan may take the service down on the way.
    pub(in super::super) availability: Field<Availability>,
    /// What is done, in order. Required, unless a default says it.
    pub(in super::super) steps: Field<Vec<Field<Word<Step>>>>,
    /// How success is proven.
    pub(in super::super) verify: Field<Verify>,
}

/// What a procedure does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", rename = "kind")]
pub(in super::super) enum Kind {
    /// Puts a release back.
    Rollback,
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

/// How an approval is waited for.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "approval")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct Approval {
    /// How long, before it becomes a page (10m).
    pub(in super::super) within: Field<DurationText>,
}

impl Shorthand for Approval {
    const NAME: &'static str = "$short:within";
    type Value = DurationText;
}

/// One step: exactly one of its keys.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "step")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct Step {
    /// Put the last good release back on the target.
    pub(in super::super) undo: Field<Undo>,
}

impl Named for Step {
    const WORDS: &'static [&'static str] = &["undo"];
}

/// The settings of `undo`: none yet.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "step `undo`")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct Undo {}

/// How success is proven: what is named must hold. Without `verify`: `{within: 10m, rollout: complete, alert: resolved}`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "verify")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct Verify {
    /// The time limit of each check (10m).
    pub(in super::super) within: Field<DurationText>,
    /// How long after the last step alerts and facts cannot have changed yet; else it is worked out from Prometheus' rules.
    pub(in super::super) tail: Field<DurationText>,
    /// The rollout must be complete.
    pub(in super::super) rollout: Field<Complete>,
    /// Every alert of the incident must be resolved.
    pub(in super::super) alert: Field<Resolved>,
    /// Conditions that must be true.
    pub(in super::super) facts: Field<Listed<Field<CelText>>>,
    /// Addresses that must answer.
    pub(in super::super) http: Field<Vec<Field<Short<HttpCheck>>>>,
    /// How long all of it must hold without a break (0).
    pub(in super::super) hold: Field<DurationText>,
}

/// The one thing that `rollout` can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", rename = "rollout")]
pub(in super::super) enum Complete {
    /// Complete.
    Complete,
}

/// The one thing that `alert` can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", rename = "alert")]
pub(in super::super) enum Resolved {
    /// Resolved.
    Resolved,
}

/// An address that must answer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "HTTP check")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct HttpCheck {
    /// The address; scheme and host are literal, values in it are percent-encoded.
    #[schemars(required)]
    pub(in super::super) url: Field<TemplateText>,
    /// Answers in a row that must be as expected (1).
    pub(in super::super) attempts: Field<u32>,
    /// What is expected of an answer (any 2xx).
    pub(in super::super) expect: Field<Expect>,
}

impl Shorthand for HttpCheck {
    const NAME: &'static str = "$short:url";
    type Value = TemplateText;
}

/// What is expected of an answer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "expect")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct Expect {
    /// The status; any 2xx when unset.
    pub(in super::super) status: Field<u16>,
    /// A text that the body must contain.
    pub(in super::super) text: Field<String>,
}
