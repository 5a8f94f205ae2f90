//! `storm`: many targets want a rollback at once. What they have in common is their cause, and no rollback of one of them mends it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::Scene;
use super::words::span;
use crate::decide::decision::Judgement;
use crate::decide::incident::Incident;
use crate::model::{Brake, TargetRef, Time};
use crate::policy::types::Storm;

/// A storm that goes on for longer is no more followed to its beginning.
const LOOK_BACK: Duration = Duration::from_secs(24 * 60 * 60);
/// Targets and labels that are named; the page lists every incident.
const NAMED: usize = 5;

pub(super) fn judge(scene: &Scene<'_>) -> Judgement {
    const BRAKE: Brake = Brake::Storm;
    let Some(target) = scene.incident.target.as_ref() else {
        return Judgement::blind(BRAKE, "without a target nobody can tell whether others want the same");
    };
    let Some(numbers) = scene.policy.brakes.storm.on() else {
        return Judgement::free(BRAKE, "no storm is looked for");
    };
    // What is decided right now is filed with this very verdict.
    let first = Want { at: scene.now, target: &target.at, incident: scene.incident };
    let first = scene.incident.rollback_wanted_at.is_none().then_some(first);
    let wants = || first.into_iter().chain(scene.book.wants_since(scene.now - LOOK_BACK).filter_map(Want::of));
    let recent = || wants().take_while(|want| want.at + numbers.within > scene.now);
    let targets: BTreeSet<&TargetRef> = recent().map(|want| want.target).collect();
    let Some(until) = over_at(wants(), numbers).filter(|until| *until > scene.now) else {
        let words = format!(
            "targets that want a rollback within {}: {}; {} are a storm",
            span(numbers.within),
            targets.len(),
            numbers.units
        );
        return Judgement::free(BRAKE, words);
    };
    let shared = shared_labels(recent().map(|want| want.incident));
    let because = format!(
        "{} targets want a rollback within {} ({} are a storm): {}; their alerts share {}; it is over {} after the last one",
        targets.len(),
        span(numbers.within),
        numbers.units,
        listed(targets.into_iter().map(ToString::to_string)),
        if shared.is_empty() { "no label".to_owned() } else { listed(shared.into_iter()) },
        span(numbers.quiet)
    );
    Judgement::held(BRAKE, because).until(until)
}

/// A target that a rule wants to roll back, and since when.
#[derive(Clone, Copy)]
struct Want<'a> {
    at: Time,
    target: &'a TargetRef,
    incident: &'a Incident,
}

impl<'a> Want<'a> {
    /// What an incident wants, in shadow too. What brakes said of it does not count.
    fn of(incident: &'a Incident) -> Option<Self> {
        Some(Self { at: incident.rollback_wanted_at?, target: &incident.target.as_ref()?.at, incident })
    }
}

/// When the storm that goes on is over, if one does; `wants` with the newest first. It began where enough targets wanted a rollback
/// within the window, and no gap since then was as long as `quiet`: the way back ends at the first such window.
fn over_at<'a>(wants: impl Iterator<Item = Want<'a>>, numbers: &Storm) -> Option<Time> {
    let (mut newest, mut window) = (None, VecDeque::<Want<'_>>::new());
    for want in wants {
        let newest = *newest.get_or_insert(want.at);
        if window.back().is_some_and(|later| want.at + numbers.quiet <= later.at) {
            return None;
        }
        window.push_back(want);
        while window.front().is_some_and(|later| want.at + numbers.within <= later.at) {
            window.pop_front();
        }
        let targets: BTreeSet<&TargetRef> = window.iter().map(|want| want.target).collect();
        if targets.len() >= numbers.units as usize {
            return Some(newest + numbers.quiet);
        }
    }
    None
}

/// `name=value` of every label that all their first alerts have in common.
fn shared_labels<'a>(incidents: impl Iterator<Item = &'a Incident>) -> BTreeSet<String> {
    let labels = incidents
        .filter_map(Incident::lead)
        .map(|lead| lead.alert.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<BTreeSet<String>>());
    labels.reduce(|shared, labels| shared.intersection(&labels).cloned().collect()).unwrap_or_default()
}

fn listed(texts: impl ExactSizeIterator<Item = String>) -> String {
    let more = texts.len().saturating_sub(NAMED);
    let mut named: Vec<String> = texts.take(NAMED).collect();
    if more > 0 {
        named.push(format!("{more} more"));
    }
    named.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{World, minutes};
    use super::*;
    use crate::decide::decision::Grip;
    use crate::decide::incident::Lane;
    use crate::model::{IncidentId, TargetId};
    use crate::policy::types::Setting;

    /// Another incident, of that target, whose rule said rollback so many minutes ago.
    fn want(world: &mut World, id: &str, target: &str, ago: u64, lane: Lane) {
        let at = TargetRef::deployment("shop", target).expect("valid names");
        let incident = Incident {
            id: IncidentId(id.to_owned()),
            target: Some(TargetId { at, uid: format!("u-{target}") }),
            rollback_wanted_at: Some(world.now - minutes(ago)),
            lane,
            ..world.incident.clone()
        };
        world.book.index.file(&incident, None);
        world.book.incidents.insert(incident.id.clone(), incident);
    }

    #[test]
    fn three_targets_within_a_quarter_of_an_hour_are_a_storm() {
        let mut world = World::new();
        want(&mut world, "i2", "cart", 10, Lane::Live);
        assert_eq!(judge(&world.scene()).grip, Grip::Free, "two");
        want(&mut world, "i3", "cart", 5, Lane::Live);
        assert_eq!(judge(&world.scene()).grip, Grip::Free, "the same target twice is one");
        want(&mut world, "i4", "search", 15, Lane::Live);
        assert_eq!(judge(&world.scene()).grip, Grip::Free, "too long ago");
        want(&mut world, "i5", "search", 14, Lane::Live);
        let judgement = judge(&world.scene());
        assert_eq!((judgement.grip, judgement.until), (Grip::Held, Some(world.now + minutes(30))));
        for words in ["3 targets want a rollback within 15m", "shop/cart", "shop/search", "share alertname=HighErrors"] {
            assert!(judgement.because.contains(words), "{words}: {}", judgement.because);
        }
    }

    #[test]
    fn what_shadow_wants_counts_and_what_pages_does_not() {
        let mut world = World::new();
        want(&mut world, "i2", "cart", 3, Lane::Shadow("trial".to_owned()));
        want(&mut world, "i3", "search", 2, Lane::Live);
        assert_eq!(judge(&world.scene()).grip, Grip::Held);
        let other = world.book.incidents.get_mut(&IncidentId("i3".to_owned())).expect("put there");
        other.rollback_wanted_at = None;
        world.book.reindex();
        assert_eq!(judge(&world.scene()).grip, Grip::Free, "its rule said something else");
    }

    #[test]
    fn it_goes_on_until_nobody_wanted_anything_for_half_an_hour() {
        let mut world = World::new();
        for (number, ago) in [("i2", 70), ("i3", 69), ("i4", 68), ("i5", 40)] {
            want(&mut world, number, number, ago, Lane::Live);
        }
        assert_eq!(judge(&world.scene()).grip, Grip::Free, "the last one was 40 minutes ago");
        want(&mut world, "i6", "i6", 20, Lane::Live);
        assert_eq!(judge(&world.scene()).grip, Grip::Held, "a straggler kept it going, though no three were close any more");
    }

    #[test]
    fn it_is_over_as_soon_as_the_last_one_was_half_an_hour_ago() {
        let mut world = World::new();
        world.incident.rollback_wanted_at = Some(world.now - minutes(30));
        for (id, ago) in [("i2", 32), ("i3", 31), ("i4", 30)] {
            want(&mut world, id, id, ago, Lane::Live);
        }
        assert_eq!(judge(&world.scene()).grip, Grip::Free);
        want(&mut world, "i5", "i5", 29, Lane::Live);
        assert_eq!(judge(&world.scene()).until, Some(world.now + minutes(1)));
    }

    #[test]
    fn only_those_within_the_window_are_counted_and_five_are_named() {
        let mut world = World::new();
        want(&mut world, "i2", "cart", 15, Lane::Live);
        let because = judge(&world.scene()).because;
        assert_eq!(because, "targets that want a rollback within 15m: 1; 3 are a storm");
        for name in ["a", "b", "c", "d"] {
            want(&mut world, name, name, 3, Lane::Live);
        }
        let five = "shop/a, deployment/shop/b, deployment/shop/c, deployment/shop/d, deployment/shop/web; their";
        let because = judge(&world.scene()).because;
        assert!(because.starts_with("5 targets") && because.contains(five), "{because}");
        ["e", "f"].into_iter().for_each(|name| want(&mut world, name, name, 3, Lane::Live));
        let because = judge(&world.scene()).because;
        assert!(because.starts_with("7 targets") && because.contains("shop/e, 2 more; their"), "{because}");
    }

    #[test]
    fn without_a_target_it_is_blind() {
        let mut world = World::new();
        world.incident.target = None;
        assert_eq!(judge(&world.scene()).grip, Grip::Blind);
    }

    #[test]
    fn a_policy_may_say_other_numbers() {
        let mut world = World::new();
        want(&mut world, "i2", "cart", 3, Lane::Live);
        world.policy.brakes.storm = Setting::On(Storm { units: 2, ..Storm::default() });
        assert_eq!(judge(&world.scene()).grip, Grip::Held);
        world.policy.brakes.storm = Setting::On(Storm { units: 2, within: Duration::from_secs(60), ..Storm::default() });
        assert_eq!(judge(&world.scene()).grip, Grip::Free);
    }

    proptest! {
        /// More that is wanted never lets go.
        #[test]
        fn another_want_never_ends_a_storm(
            wants in proptest::collection::vec((0_u64..90, 0_u8..5), 0..12), more in (0_u64..90, 0_u8..5),
        ) {
            let mut world = World::new();
            for (number, (ago, target)) in wants.iter().enumerate() {
                want(&mut world, &format!("i{}", number + 2), &format!("t{target}"), *ago, Lane::Live);
            }
            let before = judge(&world.scene()).holds();
            want(&mut world, "i99", &format!("t{}", more.1), more.0, Lane::Live);
            prop_assert!(judge(&world.scene()).holds() || !before);
        }

        /// Thirty alerts of one target are one.
        #[test]
        fn one_target_alone_is_never_a_storm(agos in proptest::collection::vec(0_u64..60, 0..30)) {
            let mut world = World::new();
            for (number, ago) in agos.iter().enumerate() {
                want(&mut world, &format!("i{}", number + 2), "web", *ago, Lane::Live);
            }
            prop_assert!(!judge(&world.scene()).holds());
        }
    }
}
