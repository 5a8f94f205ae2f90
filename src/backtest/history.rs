//! What is remembered of a time: alerts that fired, releases that came and went, and when nothing was recorded.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Labels, TargetRef, Time};

/// A history.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Incidents count from here …
    pub from: Time,
    /// … up to here.
    pub to: Time,
    /// It begins so much earlier that the engine has watched for a while by then.
    pub begin: Time,
    /// How far samples are apart; nothing, where each change was written down when it happened.
    pub step: Option<Duration>,
    /// Alerts, by the time that they fired.
    pub alerts: Vec<Alert>,
    /// Deployments, with what came and went.
    pub workloads: BTreeMap<TargetRef, Workload>,
    /// When nothing was recorded at all.
    pub gaps: Vec<(Time, Time)>,
    /// The Deployments of ReplicaSets, `namespace/name`.
    pub owners: BTreeMap<String, TargetRef>,
    /// What should be there and is not.
    pub missing: Vec<String>,
}

/// One firing of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Its labels.
    pub labels: Labels,
    /// When its condition began, where that is recorded.
    pub onset: Option<Time>,
    /// When it was first seen firing.
    pub from: Time,
    /// When it was not seen any more; it fires at the end of the history, where there is none.
    pub to: Option<Time>,
}

/// A Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Releases, by the time that each was put there. Those before the history begins are what was left of them then.
    pub changes: Vec<Change>,
    /// How many pods are wanted, whenever that changed.
    pub replicas: Vec<(Time, i32)>,
    /// How many pods of a release are ready, whenever that changed.
    pub ready: Vec<(Time, String, i32)>,
    /// When nothing can be said of it, and why.
    pub hidden: Vec<Hidden>,
}

/// A release was put there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: Time,
    /// Its ReplicaSet.
    pub release: String,
    /// Its images, where they are recorded.
    pub images: Option<String>,
    /// It had been there before.
    pub back: bool,
    /// The service itself put it there.
    pub ours: bool,
}

impl Change {
    /// What it is called.
    pub fn label(&self) -> &str {
        self.images.as_deref().unwrap_or(&self.release)
    }
}

/// A time of which nothing can be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// From here …
    pub from: Time,
    /// … until then; for good, where there is none.
    pub to: Option<Time>,
    /// Why.
    pub why: String,
}

impl History {
    /// The next release that was put on a target after a time.
    pub fn next_change(&self, target: &TargetRef, after: Time) -> Option<&Change> {
        let changes = &self.workloads.get(target)?.changes;
        changes.get(changes.partition_point(|change| change.at <= after))
    }

    /// The firing with these labels that was on at that time, or the last before it.
    pub fn firing(&self, labels: &Labels, at: Time) -> Option<&Alert> {
        let fired = self.alerts.get(..self.alerts.partition_point(|alert| alert.from <= at))?;
        fired.iter().rev().find(|alert| alert.labels == *labels)
    }

    /// The alerts that at least one of these policies is about: no other one can cost or change anything.
    #[must_use]
    pub fn about(mut self, concerns: impl Fn(&Labels) -> bool) -> Self {
        self.alerts.retain(|alert| concerns(&alert.labels));
        self
    }
}
