//! `cooldown`: a target that was just rolled back, by us or by a person, is left alone for a while.

use super::Scene;
use super::past::calming;
use super::words::{clock, left, span};
use crate::decide::book::PastRollback;
use crate::decide::decision::Judgement;
use crate::model::{Brake, Time};

pub(super) fn judge(scene: &Scene<'_>) -> Judgement {
    const BRAKE: Brake = Brake::Cooldown;
    let Some(history) = scene.history() else {
        return Judgement::blind(BRAKE, "nothing is remembered of this target");
    };
    let Some(cooldown) = scene.policy.brakes.cooldown.on() else {
        return Judgement::free(BRAKE, "no time is set");
    };
    if let Some(past) = calming(scene, &history.rollbacks).find(|past| under_way(scene, past)) {
        return Judgement::held(BRAKE, format!("a rollback of this target by {} is under way", who(past)));
    }
    let ended = |past: &PastRollback| past.ended_at.unwrap_or(past.at);
    let Some(last) = calming(scene, &history.rollbacks).max_by_key(|past| ended(past)) else {
        return Judgement::free(BRAKE, "no rollback of this target is remembered");
    };
    let (at, until): (Time, Time) = (ended(last), ended(last) + *cooldown);
    let numbers = format!(
        "the last rollback of this target, by {}, ended {}; the cooldown is {}",
        who(last),
        clock(at, scene.now),
        span(*cooldown)
    );
    if scene.now < until {
        return Judgement::held(BRAKE, format!("{numbers}: {}", left(until, scene.now))).until(until);
    }
    Judgement::free(BRAKE, numbers)
}

/// Whether another incident is still at it. One that is closed or forgotten without an end is over.
fn under_way(scene: &Scene<'_>, past: &PastRollback) -> bool {
    let open = || past.incident.as_ref().and_then(|id| scene.book.incidents.get(id)).is_some_and(|by| by.is_open());
    past.ended_at.is_none() && open()
}

fn who(past: &PastRollback) -> String {
    past.incident.as_ref().map_or_else(|| "a person".to_owned(), |id| format!("incident {id}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::fixture::{World, hours, minutes, on, rollback};
    use super::*;
    use crate::decide::decision::Grip;
    use crate::decide::incident::Lane;
    use crate::model::IncidentId;

    #[test]
    fn holds_after_a_rollback_by_anybody() {
        // Lane of the incident; lane, incident, minutes since begin and end of the rollback; whether it holds.
        let cases = [
            ("live", "live", Some("i0"), 70, Some(59), true),
            ("live", "live", Some("i0"), 70, Some(60), false),
            ("live", "live", None, 10, Some(10), true),
            ("live", "live", Some("i1"), 20, Some(10), false),
            ("live", "live", Some("i0"), 59, None, true),
            ("live", "live", Some("i0"), 61, None, false),
            ("live", "shadow/quiet", Some("i0"), 5, Some(5), false),
            ("shadow/quiet", "shadow/quiet", Some("i0"), 5, Some(5), true),
            ("shadow/quiet", "live", Some("i0"), 5, Some(5), true),
            ("shadow/quiet", "other", Some("i0"), 5, Some(5), false),
        ];
        for case in cases {
            let (own, lane, by, began, ended, holds) = case;
            let mut world = World::new();
            if own != "live" {
                world.incident.lane = Lane::Shadow(own.trim_start_matches("shadow/").to_owned());
            }
            let past = rollback(lane, by, world.ago(minutes(began)), ended.map(|m| world.ago(minutes(m))));
            world.history().rollbacks.push(past);
            assert_eq!(judge(&world.scene()).holds(), holds, "{case:?}: {}", judge(&world.scene()).because);
        }
    }

    #[test]
    fn says_until_when() {
        let mut world = World::new();
        let ended = world.ago(minutes(19));
        world.history().rollbacks.push(rollback("live", None, ended, Some(ended)));
        let judgement = judge(&world.scene());
        assert_eq!(judgement.until, Some(world.now + minutes(41)));
        assert_eq!(
            judgement.because,
            "the last rollback of this target, by a person, ended 09:05:00Z; the cooldown is 1h: held for another 41m"
        );
        world.policy.brakes.cooldown = on(Duration::from_secs(60));
        assert_eq!(judge(&world.scene()).grip, Grip::Free);
    }

    #[test]
    fn one_that_is_under_way_holds_however_long_it_takes() {
        let mut world = World::new();
        let other = IncidentId("i0".to_owned());
        let mut incident = world.incident.clone();
        incident.id = other.clone();
        world.book.incidents.insert(other, incident);
        let at = world.ago(hours(3));
        world.history().rollbacks.push(rollback("live", Some("i0"), at, None));
        assert!(judge(&world.scene()).because.contains("under way"));
    }

    #[test]
    fn holds_when_blind() {
        let mut world = World::new();
        assert_eq!(judge(&world.scene()).grip, Grip::Free);
        world.forget();
        assert_eq!(judge(&world.scene()).grip, Grip::Blind);
    }

    proptest! {
        /// It holds exactly as long as the last of them is not an hour over, and another one never lets go.
        #[test]
        fn the_last_one_counts_and_another_never_lets_go(ends in proptest::collection::vec(0_u64..200, 0..8), more in 0_u64..200) {
            let holds = |ends: &[u64]| {
                let mut world = World::new();
                for ago in ends {
                    let at = world.ago(minutes(*ago));
                    world.history().rollbacks.push(rollback("live", Some("i0"), at, Some(at)));
                }
                judge(&world.scene()).holds()
            };
            prop_assert_eq!(holds(&ends), ends.iter().any(|ago| *ago < 60));
            let all: Vec<u64> = ends.iter().copied().chain([more]).collect();
            prop_assert!(!holds(&ends) || holds(&all));
        }
    }
}
