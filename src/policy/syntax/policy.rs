//! Policies as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::yaml::{Entries, Field, Listed, OneOrMany, Short};
use super::brakes::Brakes;
use super::fact::Fact;
use super::people::{Announcements, Approval, Evidence, FollowUp, Objectives};
use super::rule::Rule;
use super::text::{CelText, DateText, DurationText, MatcherText, TemplateText};
use crate::model::{Mode, Paging};

/// Which alerts, which target, which rules, which brakes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "policy")]
#[schemars(deny_unknown_fields, extend("required" = ["name"]))]
pub(in super::super) struct Policy {
    /// Unique in the folder; it stands in metrics and reports.
    pub(in super::super) name: Field<String>,
    /// The channel that pages without `to` go to.
    pub(in super::super) owner: Field<String>,
    /// Which alerts it is about: all of them must hold. Without any, it is about every alert, and must stand last.
    pub(in super::super) matchers: Field<Listed<Field<MatcherText>>>,
    /// What it may do at most.
    pub(in super::super) mode: Field<Mode>,
    /// Whether `backout` is the pager for these alerts, or the alert's own route pages already.
    pub(in super::super) paging: Field<Paging>,
    /// What it may touch, as `namespace/name` with `*`.
    pub(in super::super) targets: Field<Listed<Field<String>>>,
    /// How long an alert must have been firing, counted from the first notification, before anything is decided.
    #[serde(rename = "for")]
    pub(in super::super) settle: Field<DurationText>,
    /// How the target of an alert is found.
    pub(in super::super) target: Field<Target>,
    /// What conditions may read as `facts.NAME`.
    pub(in super::super) facts: Field<Entries<Fact>>,
    /// The rules in order: the first that is true, or unknown, wins. Required, unless a default says it.
    pub(in super::super) decide: Field<Vec<Field<Rule>>>,
    /// What stops a rollback, where it differs from the defaults.
    pub(in super::super) brakes: Field<Brakes>,
    /// Labels that its pages carry through Alertmanager.
    pub(in super::super) labels: Field<Entries<String>>,
    /// Who is told at which moments.
    pub(in super::super) announce: Announcements,
    /// How an approval is waited for, where the procedure does not say.
    pub(in super::super) approval: Field<Short<Approval>>,
    /// Whether a procedure that carries data back may act without a person.
    pub(in super::super) unattended: Field<bool>,
    /// How long alerts and facts take to follow a write, where the verification does not say.
    pub(in super::super) tail: Field<DurationText>,
    /// Addresses that every message of it shows, by name.
    pub(in super::super) links: Field<Entries<TemplateText>>,
    /// Values that messages and reports show, by name.
    pub(in super::super) figures: Field<Entries<CelText>>,
    /// How soon things should be over.
    pub(in super::super) objectives: Field<OneOrMany<Objectives>>,
    /// What is collected before the first write.
    pub(in super::super) evidence: Field<Evidence>,
    /// What is to be done once an incident is over.
    pub(in super::super) follow_ups: Field<Vec<Field<FollowUp>>>,
    /// By when somebody must have read it again: `2026-12-31`.
    pub(in super::super) review_by: Field<DateText>,
}

/// Where the target stands: one of the keys beside `namespace`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "target")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct NamedTarget {
    /// The Deployment's name.
    pub(in super::super) deployment: Field<TemplateText>,
    /// Its namespace.
    pub(in super::super) namespace: Field<TemplateText>,
    /// A StatefulSet's name.
    pub(in super::super) statefulset: Field<TemplateText>,
    /// A DaemonSet's name.
    pub(in super::super) daemonset: Field<TemplateText>,
    /// The name of an Argo Rollout.
    pub(in super::super) rollout: Field<TemplateText>,
    /// A Service: the workload that its selector finds.
    pub(in super::super) service: Field<TemplateText>,
    /// A Helm release.
    pub(in super::super) helm: Field<TemplateText>,
    /// A container of a Docker Engine.
    pub(in super::super) container: Field<TemplateText>,
    /// Something outside, by a name of your own.
    pub(in super::super) external: Field<TemplateText>,
}

/// `auto`, or a map.
#[derive(Clone, Debug)]
pub(in super::super) enum Target {
    /// From the alert's labels.
    Auto,
    /// By name.
    Named(Box<NamedTarget>),
}
