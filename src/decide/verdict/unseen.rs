//! What a decision could not see.

use super::super::brakes;
use super::super::observation::Observation;
use super::super::presence::Presence;
use crate::model::{Dependency, Fact, Resolution, Time, Unknown, UnknownKind};
use crate::policy::types::{FactSource, Policy};

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

/// The observation without those of these facts that are too old to decide by; `None` where none of them is. What was asked for the
/// time of the change is of that time.
pub(super) fn without_stale(policy: &Policy, observation: &Observation, read: &[String], now: Time) -> Option<Observation> {
    let mut without = observation.clone();
    let mut any = false;
    for name in read {
        let before_change = |source: &FactSource| matches!(source, FactSource::Promql { before_change: true, .. });
        if policy.facts.get(name).is_none_or(|spec| before_change(&spec.source)) {
            continue;
        }
        if let Some(answer) = without.values.get_mut(name) {
            any |= forget_stale(policy, &mut answer.value, now);
            any |= answer.floor.as_mut().is_some_and(|floor| forget_stale(policy, floor, now));
        }
        any |= without.texts.get_mut(name).is_some_and(|text| forget_stale(policy, text, now));
    }
    any.then_some(without)
}

/// Makes a fact that is too old an unknown one; whether it was.
fn forget_stale<T>(policy: &Policy, fact: &mut Fact<T>, now: Time) -> bool {
    let Some(why) = brakes::stale(policy, fact.at, now).filter(|_| fact.value.is_ok()) else { return false };
    fact.value = Err(Unknown::new(UnknownKind::Stale, format!("it {why}")));
    true
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::brakes::fixture::{World, unreachable};

    #[test]
    fn a_text_that_did_not_come_is_asked_for_again_unless_nobody_could_answer() {
        let mut world = World::new();
        for (name, why) in [("gone", unreachable()), ("never", Unknown::new(UnknownKind::NotConfigured, "no address"))] {
            world.observation.texts.insert(name.to_owned(), Fact::unknown(why, world.now, "http"));
        }
        world.observation.texts.insert("here".to_owned(), Fact::known("1".to_owned(), world.now, "http"));
        assert_eq!(transient(&world.observation, &Presence::Firing), ["facts.gone: connection refused"]);
    }

    #[test]
    fn a_silent_alertmanager_is_blamed_only_where_it_is_unsure_whether_the_alerts_fire() {
        let mut world = World::new();
        let unsure = Presence::Unknown("a peer did not answer".to_owned());
        assert_eq!(silent(&world.observation, &unsure), None, "every peer answered");
        world.observation.alerts.peers.push(Fact::unknown(unreachable(), world.now, "other"));
        assert_eq!(silent(&world.observation, &unsure), Some(Dependency::Alertmanager));
        assert_eq!(silent(&world.observation, &Presence::Firing), None, "another peer has them");
    }
}
