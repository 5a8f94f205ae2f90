//! `stale_facts`: what the decision rests on must be known, fresh, and from enough traffic.

use super::Scene;
use super::words::span;
use crate::decide::decision::Judgement;
use crate::decide::presence::Presence;
use crate::model::{Brake, Fact, Resolution, Time};
use crate::policy::types::{FactSource, Policy};

pub(super) fn judge(scene: &Scene<'_>) -> Judgement {
    let seen = target(scene).and_then(|()| watch(scene)).and_then(|()| presence(scene));
    let read = seen.and_then(|()| scene.read.iter().try_for_each(|name| fact(scene, name)));
    match read {
        Err(judgement) => judgement,
        Ok(()) => {
            let (ago, facts) = (span(scene.now.since(scene.observation.at)), scene.read.len());
            Judgement::free(Brake::StaleFacts, format!("the target was read {ago} ago; {facts} facts are known and fresh"))
        }
    }
}

fn held(because: String) -> Judgement {
    Judgement::held(Brake::StaleFacts, because)
}

fn blind(because: String) -> Judgement {
    Judgement::blind(Brake::StaleFacts, because)
}

/// The target was read live, just now.
fn target(scene: &Scene<'_>) -> Result<(), Judgement> {
    match &scene.observation.workload {
        Some(Resolution::Found { .. }) => {}
        Some(Resolution::Unresolved { why }) => return Err(blind(format!("the target was not found: {why}"))),
        Some(Resolution::Unknown { why }) => return Err(blind(format!("the target could not be read: {why}"))),
        None => return Err(blind("the target was not read".to_owned())),
    }
    let (age, most) = (scene.now.since(scene.observation.at), scene.limits.target_age);
    if age > most {
        return Err(held(format!("the target was read {} ago; at most {} are allowed", span(age), span(most))));
    }
    Ok(())
}

/// The watch is alive: else the ledger misses what happens.
fn watch(scene: &Scene<'_>) -> Result<(), Judgement> {
    let Some(heard) = scene.observation.watch_heard_at else {
        return Err(blind("the watch has never heard from the API server".to_owned()));
    };
    let age = scene.now.since(heard);
    match scene.policy.brakes.stale_facts.on() {
        Some(numbers) if age > numbers.watch => Err(held(format!(
            "the watch last heard from the API server {} ago; at most {} are allowed",
            span(age),
            span(numbers.watch)
        ))),
        _ => Ok(()),
    }
}

/// The alerts fire. `decide` handles everything else before it asks; this is for the day when it does not.
fn presence(scene: &Scene<'_>) -> Result<(), Judgement> {
    match scene.presence {
        Presence::Firing => Ok(()),
        Presence::Unknown(why) => Err(blind(format!("whether the alerts fire is not known: {why}"))),
        Presence::Resolved => Err(held("the alerts are resolved".to_owned())),
        Presence::Inhibited => Err(held("the alerts are inhibited by another one".to_owned())),
        Presence::Silenced(by) => Err(held(format!("the alerts are silenced: {by}"))),
    }
}

/// A fact that reached rules read: answered, fresh, and above its floor.
fn fact(scene: &Scene<'_>, name: &str) -> Result<(), Judgement> {
    let Some(spec) = scene.policy.facts.get(name) else {
        return Err(blind(format!("the policy has no fact `{name}`")));
    };
    let what = format!("the fact `{name}`");
    let not_asked = || blind(format!("{what} was not asked for"));
    let (before_change, floor) = match &spec.source {
        FactSource::Promql { before_change, floor, .. } => (*before_change, floor.as_ref()),
        FactSource::Http { .. } => {
            return fresh(scene, &what, scene.observation.texts.get(name).ok_or_else(not_asked)?).map(drop);
        }
        // What the alert says is as old as the alert, and a question that nobody asks is unknown to the rule itself.
        FactSource::Label { .. } | FactSource::Annotation { .. } | FactSource::Person { .. } => return Ok(()),
    };
    let answer = scene.observation.values.get(name).ok_or_else(not_asked)?;
    if before_change {
        // It is of the time that was asked for: its age says nothing.
        return match answer.value.value.as_ref().err().or(answer.floor.as_ref().and_then(|floor| floor.value.as_ref().err())) {
            Some(why) => Err(blind(format!("{what} is unknown: {why}"))),
            None => Ok(()),
        };
    }
    fresh(scene, &what, &answer.value)?;
    let Some(floor) = floor else { return Ok(()) };
    let what = format!("the traffic behind `{name}`");
    let Some(traffic) = &answer.floor else { return Err(blind(format!("{what} was not asked for"))) };
    let traffic = fresh(scene, &what, traffic)?;
    // A floor that is no number lets nothing pass.
    if traffic.get() >= floor.at_least {
        return Ok(());
    }
    Err(held(format!("{what} is {}; at least {} is required", traffic.get(), floor.at_least)))
}

fn fresh<'f, T>(scene: &Scene<'_>, what: &str, fact: &'f Fact<T>) -> Result<&'f T, Judgement> {
    let value = match &fact.value {
        Ok(value) => value,
        Err(why) => return Err(blind(format!("{what} is unknown: {why}"))),
    };
    match stale(scene.policy, fact.at, scene.now) {
        Some(why) => Err(held(format!("{what} {why}"))),
        None => Ok(value),
    }
}

/// Why a fact of that time is too old to decide by, if it is.
pub fn stale(policy: &Policy, at: Time, now: Time) -> Option<String> {
    let most = policy.brakes.stale_facts.on()?.query;
    let (age, ahead) = (now.since(at), at.since(now));
    // How old it is cannot be told then; nor how anything that others stamped lies to what we saw.
    if ahead > most {
        let ahead = span(ahead);
        return Some(format!("is of a time that lies {ahead} ahead: our clock or the one that it has is wrong"));
    }
    (age > most).then(|| format!("is {} old; at most {} are allowed", span(age), span(most)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::fixture::{World, unreachable};
    use super::*;
    use crate::decide::decision::Grip;
    use crate::decide::observation::Answer;
    use crate::model::Number;

    type Case = (&'static str, fn(&mut World), Grip, &'static str);

    #[test]
    fn holds_for_what_is_old_or_from_too_little_traffic() {
        let cases: &[Case] = &[
            ("fresh", |_| {}, Grip::Free, "read 0s ago; 1 facts are known and fresh"),
            (
                "no facts read",
                |w| {
                    w.read.clear();
                    w.observation.values.clear();
                },
                Grip::Free,
                "0 facts",
            ),
            ("old enough to be wrong", |w| w.observation.at = w.now - seconds(31), Grip::Held, "read 31s ago; at most 30s"),
            ("just fresh", |w| w.observation.at = w.now - seconds(30), Grip::Free, "read 30s ago"),
            (
                "watch silent",
                |w| w.observation.watch_heard_at = Some(w.now - seconds(151)),
                Grip::Held,
                "2m31s ago; at most 2m30s",
            ),
            ("watch just alive", |w| w.observation.watch_heard_at = Some(w.now - seconds(150)), Grip::Free, "fresh"),
            ("old sample", |w| answer(w).value.at = w.now - seconds(31), Grip::Held, "`errors` is 31s old; at most 30s"),
            (
                "sample of another clock",
                |w| answer(w).value.at = w.now + seconds(31),
                Grip::Held,
                "`errors` is of a time that lies 31s",
            ),
            ("sample of a clock that is near", |w| answer(w).value.at = w.now + seconds(30), Grip::Free, "fresh"),
            ("old traffic", |w| floor(w).at = w.now - seconds(31), Grip::Held, "traffic behind `errors` is 31s old"),
            ("too little traffic", |w| floor(w).value = Ok(number(0.5)), Grip::Held, "is 0.5; at least 1 is required"),
            ("just enough", |w| floor(w).value = Ok(number(1.0)), Grip::Free, "fresh"),
            ("resolved", |w| w.presence = Presence::Resolved, Grip::Held, "resolved"),
            ("inhibited", |w| w.presence = Presence::Inhibited, Grip::Held, "inhibited"),
            ("silenced", |w| w.presence = Presence::Silenced("ann".to_owned()), Grip::Held, "silenced: ann"),
        ];
        check(cases);
    }

    #[test]
    fn holds_when_blind() {
        let cases: &[Case] = &[
            ("target", World::lose_workload, Grip::Blind, "could not be read: connection refused"),
            ("target not asked", |w| w.observation.workload = None, Grip::Blind, "was not read"),
            (
                "target gone",
                |w| w.observation.workload = Some(Resolution::Unresolved { why: "404".to_owned() }),
                Grip::Blind,
                "404",
            ),
            ("watch", |w| w.observation.watch_heard_at = None, Grip::Blind, "never heard"),
            ("presence", |w| w.presence = Presence::Unknown("no peer".to_owned()), Grip::Blind, "no peer"),
            ("not asked", |w| w.observation.values.clear(), Grip::Blind, "`errors` was not asked for"),
            ("unknown", |w| answer(w).value.value = Err(unreachable()), Grip::Blind, "`errors` is unknown"),
            ("traffic unknown", |w| floor(w).value = Err(unreachable()), Grip::Blind, "traffic behind `errors` is unknown"),
            ("traffic not asked", |w| answer(w).floor = None, Grip::Blind, "traffic behind `errors` was not asked for"),
            ("no such fact", |w| w.policy.facts.clear(), Grip::Blind, "no fact `errors`"),
        ];
        check(cases);
    }

    fn check(cases: &[Case]) {
        for (name, spoil, grip, words) in cases {
            let mut world = World::new();
            spoil(&mut world);
            let judgement = judge(&world.scene());
            assert_eq!(judgement.grip, *grip, "{name}: {}", judgement.because);
            assert!(judgement.because.contains(words), "{name}: {}", judgement.because);
        }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn number(value: f64) -> Number {
        Number::new(value).expect("finite")
    }

    fn answer(world: &mut World) -> &mut Answer {
        world.observation.values.get_mut("errors").expect("the fixture has it")
    }

    fn floor(world: &mut World) -> &mut Fact<Number> {
        answer(world).floor.as_mut().expect("the fixture has it")
    }

    proptest! {
        /// What is older never lets go, and nothing older than is allowed is taken.
        #[test]
        fn what_is_older_never_lets_go(ages in [0_u64..60, 0_u64..60, 0_u64..60], watch in 0_u64..300, older in 0_u64..60) {
            let holds = |by: u64| {
                let mut world = World::new();
                let now = world.now;
                let ago = |age: u64| now - seconds(age + by);
                world.observation.at = ago(ages[0]);
                answer(&mut world).value.at = ago(ages[1]);
                floor(&mut world).at = ago(ages[2]);
                world.observation.watch_heard_at = Some(ago(watch));
                judge(&world.scene()).holds()
            };
            prop_assert_eq!(holds(0), ages.iter().any(|age| *age > 30) || watch > 150);
            prop_assert!(!holds(0) || holds(older));
        }
    }
}
