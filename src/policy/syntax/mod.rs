//! The policy language as it is written: one set of types makes the reader, the schema and the list of keys in the reference. What
//! the values mean is for `lower` to say.

mod brakes;
mod later;
mod procedure;
mod text;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use super::yaml::{Entries, Field, Listed, Short, Shorthand};
use crate::model::{Mode, Paging};

pub(super) use brakes::{
    BrakeKeys, Brakes, BudgetKeys, DisableOnly, FitTargetKeys, FlappingKeys, GapKeys, TrustKeys, WithinKeys,
};
pub(super) use later::{not_yet, refused};
pub(super) use procedure::{Availability, HttpCheck, Procedure, Step, Verify};
pub(super) use text::{CelText, DurationText, MatcherText, PromqlText, TemplateText};

/// One file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "file")]
#[schemars(deny_unknown_fields)]
pub(super) struct File {
    /// The policies of this file, in the order in which they decide.
    pub(super) policies: Field<Vec<Field<Policy>>>,
    /// Procedures, for the policies of all files.
    pub(super) procedures: Field<Vec<Field<Procedure>>>,
    /// Facts, for the policies of all files. A policy's own fact of the same name wins.
    pub(super) facts: Field<Entries<Fact>>,
    /// What the policies and procedures of this file have unless they say otherwise; in `_defaults.yaml`: of this folder and the folders in it.
    pub(super) defaults: Field<Defaults>,
}

/// What policies and procedures have unless they say otherwise. Maps merge by key, lists are replaced, the nearest wins.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "defaults")]
#[schemars(deny_unknown_fields)]
pub(super) struct Defaults {
    /// Any keys of a policy but `name`.
    #[schemars(schema_with = "without_required::<Policy>")]
    pub(super) policy: Field<Policy>,
    /// Any keys of a procedure but `name`. The built-in procedure `undo` is not touched.
    #[schemars(schema_with = "without_required::<Procedure>")]
    pub(super) procedure: Field<Procedure>,
}

/// What is required may come from elsewhere.
fn without_required<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = T::json_schema(generator);
    schema.remove("required");
    schema
}

/// Which alerts, which target, which rules, which brakes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "policy")]
#[schemars(deny_unknown_fields)]
pub(super) struct Policy {
    /// Unique in the folder; it stands in metrics and reports.
    #[schemars(required)]
    pub(super) name: Field<String>,
    /// The channel that pages without `to` go to.
    pub(super) owner: Field<String>,
    /// Which alerts it is about: all of them must hold. Without any, it is about every alert, and must stand last.
    pub(super) matchers: Field<Listed<Field<MatcherText>>>,
    /// What it may do at most.
    pub(super) mode: Field<Mode>,
    /// Whether `backout` is the pager for these alerts, or the alert's own route pages already.
    pub(super) paging: Field<Paging>,
    /// What it may touch, as `namespace/name` with `*`.
    pub(super) targets: Field<Listed<Field<String>>>,
    /// How long an alert must have been firing, counted from the first notification, before anything is decided.
    #[serde(rename = "for")]
    pub(super) settle: Field<DurationText>,
    /// How the target of an alert is found.
    pub(super) target: Field<Target>,
    /// What conditions may read as `facts.NAME`.
    pub(super) facts: Field<Entries<Fact>>,
    /// The rules in order: the first that is true, or unknown, wins. Required, unless a default says it.
    pub(super) decide: Field<Vec<Field<Rule>>>,
    /// What stops a rollback, where it differs from the defaults.
    pub(super) brakes: Field<Brakes>,
    /// Labels that its pages carry through Alertmanager.
    pub(super) labels: Field<Entries<String>>,
}

/// Where the target stands.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "target")]
#[schemars(deny_unknown_fields)]
pub(super) struct NamedTarget {
    /// The Deployment's name.
    #[schemars(required)]
    pub(super) deployment: Field<TemplateText>,
    /// Its namespace.
    pub(super) namespace: Field<TemplateText>,
}

/// `auto`, or a map.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// From the alert's labels.
    Auto,
    /// By name.
    Named(NamedTarget),
}

/// A number that Prometheus answers.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "fact")]
#[schemars(deny_unknown_fields)]
pub(super) struct Fact {
    /// The query. One sample is the fact; none, several, NaN and errors are unknown.
    #[schemars(required)]
    pub(super) promql: Field<PromqlText>,
    /// The least traffic for which the fact means something; below it the fact is unknown.
    pub(super) floor: Field<Floor>,
}

/// The least traffic for which a fact means something.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "floor")]
#[schemars(deny_unknown_fields)]
pub(super) struct Floor {
    /// The query that says how much traffic there is.
    #[schemars(required)]
    pub(super) promql: Field<PromqlText>,
    /// The least value of it.
    #[schemars(required)]
    pub(super) at_least: Field<f64>,
}

/// When, and then what: exactly one of `rollback`, `page`, `fix_forward`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "rule")]
#[schemars(deny_unknown_fields)]
pub(super) struct Rule {
    /// Its name in reports; else `rule N`.
    pub(super) name: Field<String>,
    /// Hold when one firing alert of the incident satisfies all of them.
    pub(super) matchers: Field<Listed<Field<MatcherText>>>,
    /// A condition that must be true.
    pub(super) when: Field<CelText>,
    /// Conditions of which one must be true.
    pub(super) any: Field<Vec<Field<CelText>>>,
    /// Conditions that must all be true, each reported on its own.
    pub(super) all: Field<Vec<Field<CelText>>>,
    /// A stricter mode than the policy's.
    pub(super) mode: Field<Mode>,
    /// Channels that are told of the decision besides.
    pub(super) tell: Field<Listed<Field<String>>>,
    /// Roll back by these procedures: the next one's turn comes when one does not fit or did not help.
    pub(super) rollback: Field<Listed<Field<String>>>,
    /// Page a human.
    pub(super) page: Field<Short<Page>>,
    /// Leave it to be fixed forward: open a ticket.
    pub(super) fix_forward: Field<Short<FixForward>>,
}

/// A page.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "page")]
#[schemars(deny_unknown_fields)]
pub(super) struct Page {
    /// Channels by name; without any, the policy's `owner`.
    pub(super) to: Field<Listed<Field<String>>>,
}

impl Shorthand for Page {
    const NAME: &'static str = "$short:to";
    type Value = Listed<String>;
}

/// A ticket.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "fix_forward")]
#[schemars(deny_unknown_fields)]
pub(super) struct FixForward {
    /// Channels by name that take the ticket.
    pub(super) to: Field<Listed<Field<String>>>,
}

impl Shorthand for FixForward {
    const NAME: &'static str = "$short:to";
    type Value = Listed<String>;
}
