//! What leaves for people.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{IncidentId, Labels, TargetRef, Time};

/// When in an incident's life a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// An incident was opened.
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
    /// We cannot see, or cannot remember: the store is gone.
    Blind,
    /// A drill failed, or passes again.
    Drill,
}

impl Moment {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Opened,
        Self::Decided,
        Self::Started,
        Self::RolledBack,
        Self::Verified,
        Self::Ineffective,
        Self::Failed,
        Self::Paged,
        Self::Closed,
        Self::Blind,
        Self::Drill,
    ];

    /// The name in messages and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Decided => "decided",
            Self::Started => "started",
            Self::RolledBack => "rolled_back",
            Self::Verified => "verified",
            Self::Ineffective => "ineffective",
            Self::Failed => "failed",
            Self::Paged => "paged",
            Self::Closed => "closed",
            Self::Blind => "blind",
            Self::Drill => "drill",
        }
    }
}

/// What a message asks of its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// For information.
    Announce,
    /// Work for the day: fix forward.
    Ticket,
    /// Wake somebody.
    Page,
}

/// One message. Its id is its dedup key: a channel that has delivered it need not deliver it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Unique: incident, moment, number.
    pub id: String,
    /// The incident; absent where we speak of ourselves: that we are blind, and that we see again.
    pub incident: Option<IncidentId>,
    /// Every incident that it is about, where it is a page of several; else empty. `incident` is then the one whose key the page has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folded: Vec<IncidentId>,
    /// When in its life.
    pub moment: Moment,
    /// What is asked of the reader.
    pub urgency: Urgency,
    /// The policy's severity for pages: `critical` unless it says otherwise.
    pub severity: String,
    /// One line.
    pub title: String,
    /// What happened and why, several lines of plain text.
    pub text: String,
    /// The target, where there is one.
    pub target: Option<TargetRef>,
    /// The policy, where one decided.
    pub policy: Option<String>,
    /// Channels by name; empty: every channel that takes this urgency, in the settings' order.
    pub to: Vec<String>,
    /// Labels of the policy's own (reviewed in git), for channels that route by labels.
    pub labels: BTreeMap<String, String>,
    /// What links and templates are made of.
    #[serde(default)]
    pub about: About,
    /// When it was written.
    pub at: Time,
}

impl Message {
    /// Every incident that it covers, its own first, each once.
    pub fn incidents(&self) -> Vec<&IncidentId> {
        let mut all: Vec<&IncidentId> = Vec::new();
        for incident in self.incident.iter().chain(&self.folded) {
            if !all.contains(&incident) {
                all.push(incident);
            }
        }
        all
    }
}

/// The incident behind a message, as far as channels need it. Labels and addresses are untrusted text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// The incident's state: `paged`, `verifying`, …
    pub state: String,
    /// Its alerts; the first few of many.
    pub alerts: Vec<AboutAlert>,
    /// The plan that waits or is carried out.
    pub plan: Option<AboutPlan>,
    /// How many messages were merged into this one; 0: it is one.
    #[serde(skip_serializing_if = "is_zero")]
    pub merged: usize,
}

/// One alert of an incident.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AboutAlert {
    /// As it was sent.
    pub labels: Labels,
    /// The annotation `runbook_url`, unchecked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runbook_url: Option<String>,
    /// The annotation `dashboard_url`, unchecked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dashboard_url: Option<String>,
    /// Whether it fires.
    pub firing: bool,
}

/// A plan, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AboutPlan {
    /// What an approval names.
    pub hash: String,
    /// The release to leave.
    pub from: String,
    /// The release to go to.
    pub to: String,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// How a delivery ended, after all retries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The channels that have it.
    pub delivered: Vec<String>,
    /// The channels that do not, and why (no secrets).
    pub failed: Vec<(String, String)>,
}

impl Delivery {
    /// What stands among those that failed where there is no channel for such a message.
    pub const NOBODY: &str = "none";

    /// Whether no channel takes such a message at all: sending it again would change nothing.
    pub fn has_no_reader(&self) -> bool {
        self.delivered.is_empty() && self.failed.iter().all(|(channel, _)| channel == Self::NOBODY)
    }
}
