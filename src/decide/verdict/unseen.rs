//! What a decision could not see.

use super::super::observation::Observation;
use super::super::presence::Presence;
use crate::model::{Dependency, Resolution, Unknown, UnknownKind};

/// What was unknown and might be known when it is asked for again.
pub(super) fn transient(observation: &Observation, presence: &Presence) -> Vec<String> {
    let mut unknown = Vec::new();
    if let Presence::Unknown(why) = presence {
        unknown.push(why.clone());
    }
    if let Some(Resolution::Unknown { why }) = &observation.workload {
        unknown.push(format!("the target: {why}"));
    }
    for (name, answer) in &observation.values {
        for fact in std::iter::once(&answer.value).chain(&answer.floor) {
            if let Err(why) = &fact.value
                && !matches!(why.kind, UnknownKind::BelowFloor | UnknownKind::NotConfigured)
            {
                unknown.push(format!("facts.{name}: {why}"));
            }
        }
    }
    for (name, text) in &observation.texts {
        if let Err(why) = &text.value
            && why.kind != UnknownKind::NotConfigured
        {
            unknown.push(format!("facts.{name}: {why}"));
        }
    }
    unknown
}

/// Which dependency did not answer: the first of those that more rests on.
pub(super) fn silent(observation: &Observation, presence: &Presence) -> Option<Dependency> {
    let mute = |why: &Unknown| why.kind == UnknownKind::Unreachable;
    if let Some(Resolution::Unknown { why }) = &observation.workload
        && mute(why)
    {
        return Some(Dependency::Cluster);
    }
    let facts = observation.values.values().flat_map(|answer| std::iter::once(&answer.value).chain(&answer.floor));
    let mut unseen = facts.filter_map(|fact| fact.value.as_ref().err());
    let unsure = matches!(presence, Presence::Unknown(_));
    let evaluated = observation.alerts.evaluated_at.value.as_ref().err().filter(|_| unsure);
    if unseen.any(mute) || evaluated.is_some_and(mute) {
        return Some(Dependency::Prometheus);
    }
    let mut peers = observation.alerts.peers.iter().filter_map(|peer| peer.value.as_ref().err());
    (unsure && peers.any(mute)).then_some(Dependency::Alertmanager)
}
