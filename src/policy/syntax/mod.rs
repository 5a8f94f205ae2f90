//! The policy language as it is written: one set of types makes the reader, the schema and the list of keys in the reference. What
//! the values mean is for `lower` to say.

mod brakes;
mod fact;
mod interval;
mod later;
mod people;
mod policy;
mod procedure;
mod rule;
pub(super) mod step;
mod text;
mod verify;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use super::yaml::{Entries, Field};

pub(super) use brakes::{
    BrakeKeys, Brakes, BudgetKeys, ControlGroupKeys, DisableOnly, FitTargetKeys, FlappingKeys, FreezeKeys, GapKeys, StormKeys,
    TrustKeys, WithinKeys,
};
pub(super) use fact::{Fact, FactAs, HttpFact};
pub(super) use interval::{TimeInterval, TimeRange, Times};
pub(super) use later::{Weight, not_yet, refused, weight};
pub(super) use people::{Announcement, Announcements, Approval, At as Moment, Drill, FollowUp, Message, Objectives};
pub(super) use policy::{Policy, Target};
pub(super) use procedure::{Availability, Kind, Procedure};
pub(super) use rule::{Cell, FixForward, Page, Rule, Table, Then};
pub(super) use step::{Expected, Step};
pub(super) use text::{
    CelText, ClockText, DateText, DurationText, Free, MatcherText, PromqlText, RangeText, ScalarText, TemplateText,
};
pub(super) use verify::{Expect, HttpCheck, Stage, Verify};

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
    /// Verifications by name, for the procedures of all files.
    pub(super) verifications: Field<Entries<Verify>>,
    /// Words for announcements, for all files.
    pub(super) messages: Field<Vec<Field<Message>>>,
    /// Times by name, for all files; Alertmanager's schema.
    pub(super) time_intervals: Field<Vec<Field<TimeInterval>>>,
    /// Exercises.
    pub(super) drills: Field<Vec<Field<Drill>>>,
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
