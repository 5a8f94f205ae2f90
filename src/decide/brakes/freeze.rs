//! `freeze`: the times in which the policy wants nothing rolled back. Time is all that it looks at.

use std::time::Duration;

use super::Scene;
use super::words::left;
use crate::decide::decision::Judgement;
use crate::model::{Brake, Time};
use crate::policy::interval;

/// How far ahead the end of a freeze is looked for.
const AHEAD_MINUTES: u64 = 24 * 60;

pub(super) fn judge(scene: &Scene<'_>) -> Judgement {
    const BRAKE: Brake = Brake::Freeze;
    let names = scene.policy.brakes.freeze.on().map_or(&[][..], Vec::as_slice);
    let mut unsure = None;
    for name in names {
        match within(scene, name, scene.now) {
            Ok(true) => {
                let because = format!("it is `{name}`, in which nothing is rolled back");
                return match end(scene, names) {
                    Some(at) => Judgement::held(BRAKE, format!("{because}; {}", left(at, scene.now))).until(at),
                    None => Judgement::held(BRAKE, because),
                };
            }
            Ok(false) => {}
            Err(why) => unsure = unsure.or(Some(why)),
        }
    }
    match (unsure, names) {
        (Some(why), _) => Judgement::blind(BRAKE, why),
        (None, []) => Judgement::free(BRAKE, "the policy names no time interval"),
        (None, names) => Judgement::free(BRAKE, format!("it is outside of `{}`", names.join("`, `"))),
    }
}

/// Whether that time lies in the interval, or why nobody can tell.
fn within(scene: &Scene<'_>, name: &str, at: Time) -> Result<bool, String> {
    let entries = scene.intervals.get(name).ok_or_else(|| format!("there is no time interval `{name}` any more"))?;
    interval::contains(entries, at).ok_or_else(|| format!("the calendar does not reach this time, and so not `{name}`"))
}

/// The first full minute in which none of them holds, where one is near; intervals begin and end with minutes.
fn end(scene: &Scene<'_>, names: &[String]) -> Option<Time> {
    let minute = Duration::from_secs(60);
    let first = scene.now - Duration::from_millis(u64::try_from(scene.now.millis().rem_euclid(60_000)).ok()?) + minute;
    let mut ahead = std::iter::successors(Some(first), |at| Some(*at + minute)).take(usize::try_from(AHEAD_MINUTES).ok()?);
    ahead.find(|at| names.iter().all(|name| within(scene, name, *at) == Ok(false)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{World, minutes, on};
    use super::*;
    use crate::decide::decision::Grip;
    use crate::policy::interval::{Entry, Interval};

    /// Every day from one minute to another one, as a place counts them.
    fn daily(from: u16, to: u16, place: &str) -> Interval {
        let location = jiff::tz::TimeZone::get(place).expect("a time zone");
        vec![Entry { times: Some(vec![(from, to)]), weekdays: None, days_of_month: None, months: None, years: None, location }]
    }

    /// The fixture's policy with these intervals, all of which freeze it.
    fn world(intervals: Vec<Interval>) -> World {
        let mut world = World::new();
        world.intervals = intervals.into_iter().enumerate().map(|(n, interval)| (format!("i{n}"), interval)).collect();
        world.policy.brakes.freeze = on(world.intervals.keys().cloned().collect());
        world
    }

    #[test]
    fn holds_within_its_intervals_as_their_place_counts_them() {
        // The fixture's now is 09:24 UTC, which is 10:24 in Berlin.
        let hours = |from: u16, to: u16| (from * 60, to * 60);
        for (place, (from, to), grip) in [
            ("UTC", hours(9, 10), Grip::Held),
            ("UTC", hours(10, 11), Grip::Free),
            ("Europe/Berlin", hours(10, 11), Grip::Held),
            ("Europe/Berlin", hours(9, 10), Grip::Free),
            ("UTC", (0, 9 * 60 + 24), Grip::Free),
            ("UTC", (9 * 60 + 24, 9 * 60 + 25), Grip::Held),
        ] {
            let judgement = judge(&world(vec![daily(from, to, place)]).scene());
            assert_eq!(judgement.grip, grip, "{place} {from} {to}: {}", judgement.because);
        }
    }

    #[test]
    fn says_which_and_until_when() {
        let world = world(vec![daily(600, 660, "UTC"), daily(540, 600, "UTC"), daily(570, 630, "UTC")]);
        let judgement = judge(&world.scene());
        assert_eq!(judgement.because, "it is `i1`, in which nothing is rolled back; held for another 1h36m");
        assert_eq!(judgement.until, Time::parse("2026-03-02T11:00:00Z"), "when the last of those that meet is over");
        let always = judge(&self::world(vec![daily(0, 1440, "UTC")]).scene());
        assert_eq!((always.grip, always.until), (Grip::Held, None));
    }

    #[test]
    fn is_free_where_no_interval_is_named() {
        let mut world = world(vec![daily(0, 1440, "UTC")]);
        world.policy.brakes.freeze = on(Vec::new());
        assert_eq!(judge(&world.scene()).grip, Grip::Free);
    }

    #[test]
    fn blind_it_holds() {
        let mut gone = world(vec![daily(600, 660, "UTC")]);
        gone.intervals.clear();
        let judgement = judge(&gone.scene());
        assert_eq!(judgement.grip, Grip::Blind);
        assert_eq!(judgement.because, "there is no time interval `i0` any more");

        let mut beyond = world(vec![daily(600, 660, "UTC")]);
        beyond.now = Time::from_millis(i64::MAX);
        assert_eq!(judge(&beyond.scene()).grip, Grip::Blind);

        // One that holds is enough, whatever is unknown of the others.
        let mut both = world(vec![daily(540, 600, "UTC")]);
        both.policy.brakes.freeze = on(vec!["gone".to_owned(), "i0".to_owned()]);
        assert_eq!(judge(&both.scene()).grip, Grip::Held);
    }

    fn intervals() -> impl Strategy<Value = Vec<Interval>> {
        let place = prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]);
        let one = (0_u16..1440, 1_u16..1440, place, prop::option::of(0_i64..7));
        let one = one.prop_map(|(from, length, place, day)| {
            let mut interval = daily(from, (from + length).min(1440), place);
            interval[0].weekdays = day.map(|day| vec![day..=day]);
            interval
        });
        prop::collection::vec(one, 0..4)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_holds_exactly_within_and_lets_go_at_the_time_that_it_names(all in intervals(), ahead in 0_u64..20_000) {
            let mut world = world(all);
            world.now = world.now + minutes(ahead) + Duration::from_millis(ahead);
            let is_frozen = |world: &World| world.intervals.values().any(|one| interval::contains(one, world.now) == Some(true));
            let judgement = judge(&world.scene());
            prop_assert_eq!(judgement.holds(), is_frozen(&world));
            if let Some(until) = judgement.until {
                let (begin, last) = (world.now, until - Duration::from_millis(1));
                for at in [begin, last] {
                    world.now = at;
                    prop_assert!(judge(&world.scene()).holds(), "{} within {} to {}", at, begin, until);
                }
                world.now = until;
                prop_assert!(!judge(&world.scene()).holds());
            }
        }

        #[test]
        fn another_interval_never_makes_it_let_go(all in intervals(), more in intervals()) {
            let fewer = judge(&world(all.clone()).scene()).holds();
            prop_assert!(!fewer || judge(&world([all, more].concat()).scene()).holds());
        }
    }
}
