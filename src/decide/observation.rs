//! What was asked of the outside, and what came back: the facts of a decision. Recorded with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{
    AlertmanagerView, Digest, Fact, Fingerprint, HttpCheck, HttpFact, HttpResult, Number, Query, Resolution, RolloutStatus,
    TailSource, TargetId, Time, Unknown, UnknownKind,
};

/// What an observation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The first verdict.
    Decide,
    /// The senders say that all is over: is it?
    Confirm,
    /// Something changed while a plan waits: is it still the same verdict?
    Recheck,
    /// Immediately before the write.
    Redecide,
    /// After a doubtful write or a restart: was it made?
    Reconcile,
    /// Is it quiet, for an incident that only waits; is a fix-forward still one?
    Watch,
    /// Proof after the write.
    Verify,
}

/// What to ask.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The target to read live.
    pub target: Option<TargetId>,
    /// The alerts to ask every Alertmanager peer for.
    pub fingerprints: Vec<Fingerprint>,
    /// Queries by fact name.
    pub queries: BTreeMap<String, Query>,
    /// Values in JSON documents, by fact name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fetches: BTreeMap<String, HttpFact>,
    /// For a proof: the release whose rollout must be complete.
    pub rollout: Option<Digest>,
    /// For a proof: addresses to ask.
    pub http: Vec<HttpCheck>,
    /// For a proof: the alertname whose rule gives the tail.
    pub tail_of: Option<String>,
}

/// A fact and its floor, as answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The value.
    pub value: Fact<Number>,
    /// The traffic, where a floor is set.
    pub floor: Option<Fact<Number>>,
}

impl Answer {
    /// A value, and the traffic with the least that it must be: below it the traffic counts as unknown, and so does the value.
    pub fn of(value: Fact<Number>, floor: Option<(Fact<Number>, &str)>) -> Self {
        let floor = floor.map(|(traffic, least)| {
            let read = traffic.value.and_then(|read| match least.parse::<f64>() {
                Ok(least) if read.get() >= least => Ok(read),
                _ => Err(Unknown::new(UnknownKind::BelowFloor, format!("{} is below the floor of {least}", read.get()))),
            });
            Fact { value: read, at: traffic.at, source: traffic.source }
        });
        Self { value, floor }
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// When it was complete.
    pub at: Time,
    /// The target, if one was asked for.
    pub workload: Option<Resolution>,
    /// What the Alertmanager peers hold.
    pub alerts: AlertmanagerView,
    /// Facts by name.
    pub values: BTreeMap<String, Answer>,
    /// What was found in JSON documents, as text, by fact name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub texts: BTreeMap<String, Fact<String>>,
    /// When the watch last heard from the API server.
    pub watch_heard_at: Option<Time>,
    /// For a proof.
    pub rollout: Option<RolloutStatus>,
    /// For a proof.
    pub http: Vec<HttpResult>,
    /// For a proof.
    pub tail: Option<TailSource>,
}
