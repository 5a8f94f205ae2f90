//! What concerns people, as it is written: announcements, messages, approvals, objectives, what is to be done afterwards, drills.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::yaml::{Field, Listed, Short, Shorthand};
use super::text::{DurationText, MatcherText, PromqlText, TemplateText};

/// Who is told at which moments.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "announcement")]
#[schemars(deny_unknown_fields, extend("required" = ["to"]))]
pub(in super::super) struct Announcement {
    /// The moments (all but `opened`).
    pub(in super::super) at: Field<Listed<Field<At>>>,
    /// Channels by name.
    pub(in super::super) to: Field<Listed<Field<String>>>,
    /// A message by its name; without it, our own words.
    pub(in super::super) message: Field<String>,
    /// How often it is repeated while the incident is open.
    pub(in super::super) every: Field<DurationText>,
    /// How soon it must have been told.
    pub(in super::super) within: Field<DurationText>,
}

impl Shorthand for Announcement {
    const NAME: &'static str = "$short:to";
    type Value = String;
}

/// A moment of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", rename = "at")]
pub(in super::super) enum At {
    /// It began.
    Opened,
    /// A verdict fell.
    Decided,
    /// The first write is about to be made.
    Started,
    /// The rollout is complete.
    RolledBack,
    /// Proven to have worked.
    Verified,
    /// Carried out, and it did not help.
    Ineffective,
    /// Could not be carried out.
    Failed,
    /// A human is needed.
    Paged,
    /// Over.
    Closed,
}

/// Words for announcements.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "message")]
#[schemars(deny_unknown_fields, extend("required" = ["name", "title"]))]
pub(in super::super) struct Message {
    /// What announcements call it.
    pub(in super::super) name: Field<String>,
    /// One line.
    pub(in super::super) title: Field<TemplateText>,
    /// What happened; our own words without it.
    pub(in super::super) text: Field<TemplateText>,
}

/// How an approval is waited for.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "approval")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct Approval {
    /// How long, before it becomes a page (10m).
    pub(in super::super) within: Field<DurationText>,
    /// Channels whose people may approve.
    pub(in super::super) from: Field<Listed<Field<String>>>,
    /// How many people must approve (1).
    pub(in super::super) people: Field<u32>,
}

impl Shorthand for Approval {
    const NAME: &'static str = "$short:within";
    type Value = DurationText;
}

/// How soon things should be over, counted from the onset. A miss is shown and counted, never acted on.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "objectives")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct Objectives {
    /// Which alerts they are for (every one).
    pub(in super::super) matchers: Field<Listed<Field<MatcherText>>>,
    /// Until the first notification.
    pub(in super::super) detect: Field<DurationText>,
    /// Until the first verdict.
    pub(in super::super) decide: Field<DurationText>,
    /// Until the first write.
    pub(in super::super) start: Field<DurationText>,
    /// Until the rollout is complete.
    pub(in super::super) roll_back: Field<DurationText>,
    /// Until it is proven.
    pub(in super::super) verify: Field<DurationText>,
    /// Until the service is back.
    pub(in super::super) rto: Field<DurationText>,
    /// How much data may be lost.
    pub(in super::super) rpo: Field<DurationText>,
}

/// What is to be done once an incident is over.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "follow-up")]
#[schemars(deny_unknown_fields, extend("required" = ["title"]))]
pub(in super::super) struct FollowUp {
    /// By when, counted from the close.
    pub(in super::super) within: Field<DurationText>,
    /// Channels that take it.
    pub(in super::super) to: Field<Listed<Field<String>>>,
    /// What it is.
    pub(in super::super) title: Field<TemplateText>,
    /// Its parts.
    pub(in super::super) checklist: Field<Listed<Field<String>>>,
}

/// What is collected before the first write besides what is collected always.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "evidence")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct Evidence {
    /// How far back logs are read.
    pub(in super::super) logs: Field<DurationText>,
    /// A query over a time.
    pub(in super::super) range: Field<Range>,
}

/// A query over a time.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "range")]
#[schemars(deny_unknown_fields, extend("required" = ["promql", "last"]))]
pub(in super::super) struct Range {
    /// The query.
    pub(in super::super) promql: Field<PromqlText>,
    /// How far back.
    pub(in super::super) last: Field<DurationText>,
}

/// An exercise: everything but the write.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "drill")]
#[schemars(deny_unknown_fields, extend("required" = ["name", "schedule"]))]
pub(in super::super) struct Drill {
    /// Its name in metrics and reports.
    pub(in super::super) name: Field<String>,
    /// When, in cron's five fields.
    pub(in super::super) schedule: Field<String>,
    /// The policies whose targets are tried.
    pub(in super::super) policies: Field<Listed<Field<String>>>,
    /// The procedures that are tried.
    pub(in super::super) procedures: Field<Listed<Field<String>>>,
    /// On which cluster.
    pub(in super::super) cluster: Field<String>,
    /// Whether it writes: only on a cluster that is marked as one for drills (false).
    pub(in super::super) write: Field<bool>,
    /// Jobs that must succeed, as `cronjob/NAME`.
    pub(in super::super) jobs: Field<Listed<Field<String>>>,
    /// Messages that are sent, by name.
    pub(in super::super) messages: Field<Listed<Field<String>>>,
    /// What people do.
    pub(in super::super) checklist: Field<Listed<Field<String>>>,
    /// How old the last passed one may be.
    pub(in super::super) overdue: Field<DurationText>,
    /// Channels that hear of it.
    pub(in super::super) to: Field<Listed<Field<String>>>,
}

/// An announcement, or the channel that it goes to.
pub(in super::super) type Announcements = Field<Listed<Field<Short<Announcement>>>>;
