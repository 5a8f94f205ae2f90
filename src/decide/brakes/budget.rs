//! `budget`: one rollback from a release, few of a target, few in all. It is spent when an intent is durable.

use std::time::Duration;

use super::Scene;
use super::past::spent;
use super::words::{left, span};
use crate::decide::decision::Judgement;
use crate::model::{Brake, Time};

pub(super) fn judge(scene: &Scene<'_>) -> Judgement {
    const BRAKE: Brake = Brake::Budget;
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let Some(history) = scene.history() else {
        return Judgement::blind(BRAKE, "nothing is remembered of this target");
    };
    let Some(release) = &scene.incident.release else {
        return Judgement::blind(BRAKE, "what ran on the target at the onset is not known");
    };
    let Some(budget) = scene.policy.brakes.budget.on() else {
        return Judgement::free(BRAKE, "no allowance is set");
    };
    let from_it = spent(scene, history.rollbacks.iter().filter(|past| past.from == *release));
    if let Some((by, at)) = from_it.iter().next() {
        let ago = span(scene.now.since(*at));
        return Judgement::held(BRAKE, format!("incident {by} rolled back from this release {ago} ago already; 1 per release"));
    }
    let of_it: Vec<Time> = spent(scene, history.rollbacks.iter()).into_values().collect();
    let target = Allowance { what: "this target", most: budget.per_target, per: budget.per };
    let all = scene.book.targets.values().flat_map(|history| history.rollbacks.iter());
    let of_all: Vec<Time> = spent(scene, all).into_values().collect();
    let every = Allowance { what: "all targets", most: budget.per_hour, per: HOUR };
    let used = match (target.judge(of_it, scene.now), every.judge(of_all, scene.now)) {
        (Ok(of_it), Ok(of_all)) => format!("{of_it}, {of_all}"),
        (Err(judgement), _) | (_, Err(judgement)) => return judgement,
    };
    Judgement::free(BRAKE, used)
}

struct Allowance {
    what: &'static str,
    most: u32,
    per: Duration,
}

impl Allowance {
    /// Whether one more fits, in words.
    fn judge(&self, mut times: Vec<Time>, now: Time) -> Result<String, Judgement> {
        times.retain(|at| now.since(*at) < self.per);
        times.sort_unstable();
        let (used, most, per) = (times.len(), self.most, span(self.per));
        let numbers = format!("{used} of {most} rollbacks of {} in {per} are spent", self.what);
        if used < most as usize {
            return Ok(numbers);
        }
        // One more fits when all but `most - 1` of them are too old to count.
        let leaves = used.checked_sub(most as usize).filter(|_| most > 0).and_then(|oldest| times.get(oldest));
        Err(match leaves {
            Some(at) => {
                let until = *at + self.per;
                Judgement::held(Brake::Budget, format!("{numbers}: {}", left(until, now))).until(until)
            }
            None => Judgement::held(Brake::Budget, numbers),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{World, digest, hours, minutes, on, rollback};
    use super::*;
    use crate::decide::book::History;
    use crate::decide::decision::Grip;
    use crate::decide::incident::Lane;
    use crate::policy::types::Budget;

    type Case = (&'static str, fn(&mut World), Grip, &'static str);

    #[test]
    fn holds_when_it_is_spent() {
        let cases: &[Case] = &[
            (
                "nothing spent",
                |_| {},
                Grip::Free,
                "0 of 1 rollbacks of this target in 12h are spent, 0 of 6 rollbacks of all targets in 1h",
            ),
            (
                "one of this target",
                |w| spend(w, "live", Some("i0"), hours(11)),
                Grip::Held,
                "1 of 1 rollbacks of this target in 12h are spent: held for another 1h",
            ),
            ("too old to count", |w| spend(w, "live", Some("i0"), hours(12)), Grip::Free, "0 of 1"),
            ("by a person", |w| spend(w, "live", None, hours(1)), Grip::Free, "0 of 1"),
            ("an own level", |w| spend(w, "live", Some("i1"), minutes(1)), Grip::Free, "0 of 1"),
            ("another lane", |w| spend(w, "shadow/quiet", Some("i0"), minutes(1)), Grip::Free, "0 of 1"),
            (
                "shadow has its own",
                |w| {
                    w.incident.lane = Lane::Shadow("quiet".to_owned());
                    spend(w, "live", Some("i0"), minutes(1));
                },
                Grip::Free,
                "0 of 1",
            ),
            (
                "shadow spends its own",
                |w| {
                    w.incident.lane = Lane::Shadow("quiet".to_owned());
                    spend(w, "shadow/quiet", Some("i0"), minutes(1));
                },
                Grip::Held,
                "1 of 1",
            ),
            (
                "from this release, long ago",
                |w| {
                    spend(w, "live", Some("i0"), hours(500));
                    w.history().rollbacks[0].from = digest("b");
                },
                Grip::Held,
                "1 per release",
            ),
            ("elsewhere", |w| elsewhere(w, 5), Grip::Free, "5 of 6"),
            (
                "elsewhere too often",
                |w| elsewhere(w, 6),
                Grip::Held,
                "6 of 6 rollbacks of all targets in 1h are spent: held for another 54m",
            ),
            (
                "none allowed",
                |w| w.policy.brakes.budget = on(Budget { per_target: 0, ..Budget::default() }),
                Grip::Held,
                "0 of 0",
            ),
        ];
        for (name, spoil, grip, words) in cases {
            let mut world = World::new();
            spoil(&mut world);
            let judgement = judge(&world.scene());
            assert_eq!(judgement.grip, *grip, "{name}: {}", judgement.because);
            assert!(judgement.because.contains(words), "{name}: {}", judgement.because);
        }
    }

    #[test]
    fn holds_when_blind() {
        for spoil in [World::forget as fn(&mut World), |w| w.incident.release = None] {
            let mut world = World::new();
            spoil(&mut world);
            assert_eq!(judge(&world.scene()).grip, Grip::Blind);
        }
    }

    proptest! {
        /// However incidents come, no window ever holds more than its allowance; and `until` is when one more fits.
        #[test]
        fn never_more_than_allowed(gaps in prop::collection::vec(0_u64..200, 1..60), most in 1_u32..4, per in 1_u64..300) {
            let per = minutes(per);
            let mut world = World::new();
            world.policy.brakes.budget = on(Budget { per_target: most, per, per_hour: 3 });
            let mut made: Vec<Time> = Vec::new();
            for (i, gap) in gaps.iter().enumerate() {
                world.now = world.now + minutes(*gap);
                world.incident.id = crate::model::IncidentId(format!("n{i}"));
                let judgement = judge(&world.scene());
                if let Some(until) = judgement.until {
                    prop_assert!(until > world.now);
                }
                if !judgement.holds() {
                    let past = rollback("live", Some(&format!("n{i}")), world.now, Some(world.now));
                    world.history().rollbacks.push(past);
                    made.push(world.now);
                }
            }
            for at in &made {
                let within = |span: Duration| made.iter().filter(|other| **other <= *at && at.since(**other) < span).count();
                prop_assert!(within(per) <= most as usize);
                prop_assert!(within(hours(1)) <= 3);
            }
        }
    }

    fn spend(world: &mut World, lane: &str, by: Option<&str>, ago: Duration) {
        let at = world.ago(ago);
        world.history().rollbacks.push(rollback(lane, by, at, Some(at)));
    }

    fn elsewhere(world: &mut World, n: u64) {
        let rollbacks = (1..=n).map(|i| rollback("live", Some(&format!("e{i}")), world.ago(minutes(i)), None)).collect();
        let other = History { uid: "u9".to_owned(), rollbacks, ..History::default() };
        world.book.targets.insert("deployment/shop/other".to_owned(), other);
    }
}
