//! `flapping`: route-flap damping (RFC 2439). Each flap adds a penalty that halves with time; held from `suppress` until below
//! `reuse`. What counts as one flap is the caller's business: the ten alerts of an incident are one.

use super::Scene;
use super::words::{left, span};
use crate::decide::decision::Judgement;
use crate::model::{Brake, Time};
use crate::policy::types::Flapping;

pub(super) fn judge(scene: &Scene<'_>) -> Judgement {
    const BRAKE: Brake = Brake::Flapping;
    let Some(history) = scene.history() else {
        return Judgement::blind(BRAKE, "nothing is remembered of this target");
    };
    let Some(numbers) = scene.policy.brakes.flapping.on() else {
        return Judgement::free(BRAKE, "no damping is set");
    };
    // Numbers with which the penalty could never reach `suppress` would let go for ever without saying so.
    if !possible(numbers) {
        return Judgement::blind(BRAKE, "the policy's numbers cannot work: reuse <= suppress <= reuse x 2^(hold / half_life)");
    }
    let mut flaps: Vec<Time> = history
        .damping
        .get(&scene.incident.lane.key())
        .map(|damping| damping.flaps.iter().flatten().copied().collect())
        .unwrap_or_default();
    flaps.sort_unstable();
    let state = State::walk(&flaps, numbers).at(scene.now, numbers);
    let words = format!(
        "the target's penalty is {:.0} after {} flaps (suppress {}, reuse {}, half-life {})",
        state.penalty,
        flaps.len(),
        numbers.suppress,
        numbers.reuse,
        span(numbers.half_life)
    );
    match state.until(numbers) {
        Some(until) => Judgement::held(BRAKE, format!("{words}: {}", left(until, scene.now))).until(until),
        None => Judgement::free(BRAKE, words),
    }
}

/// The penalty as of a time.
#[derive(Clone, Copy, Debug)]
struct State {
    penalty: f64,
    as_of: Time,
    /// The last flap that brought the penalty to `suppress`, until it is forgiven.
    suppressed: Option<Time>,
}

impl State {
    /// After all flaps, oldest first.
    fn walk(flaps: &[Time], numbers: &Flapping) -> Self {
        let mut state = Self { penalty: 0.0, as_of: Time::from_millis(i64::MIN), suppressed: None };
        for flap in flaps {
            state = state.at(*flap, numbers);
            state.penalty = (state.penalty + numbers.penalty).min(ceiling(numbers));
            if state.penalty >= numbers.suppress {
                state.suppressed = Some(*flap);
            }
        }
        state
    }

    /// Decayed until then; forgiven where it fell below `reuse`, or was held for as long as is allowed.
    fn at(self, now: Time, numbers: &Flapping) -> Self {
        let halves = now.since(self.as_of).as_secs_f64() / numbers.half_life.as_secs_f64();
        let penalty = self.penalty * (-halves).exp2();
        let suppressed = self.suppressed.filter(|since| penalty >= numbers.reuse && now < *since + numbers.hold);
        Self { penalty, as_of: now.max(self.as_of), suppressed }
    }

    /// When it lets go, where it holds. Whole seconds, rounded up: nobody waits for milliseconds.
    fn until(&self, numbers: &Flapping) -> Option<Time> {
        let since = self.suppressed?;
        let halves = (self.penalty / numbers.reuse).log2().max(0.0);
        let seconds = (halves * numbers.half_life.as_secs_f64()).floor() + 1.0;
        let forgiven = std::time::Duration::try_from_secs_f64(seconds).map_or(since + numbers.hold, |rest| self.as_of + rest);
        Some(forgiven.min(since + numbers.hold))
    }
}

/// The most that the penalty can be: what decays to `reuse` within `hold`.
fn ceiling(numbers: &Flapping) -> f64 {
    numbers.reuse * (numbers.hold.as_secs_f64() / numbers.half_life.as_secs_f64()).exp2()
}

fn possible(numbers: &Flapping) -> bool {
    let positive = |number: f64| number.is_finite() && number > 0.0;
    positive(numbers.penalty)
        && positive(numbers.reuse)
        && positive(numbers.suppress)
        && !numbers.half_life.is_zero()
        && numbers.reuse <= numbers.suppress
        && numbers.suppress <= ceiling(numbers)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::fixture::{World, hours, minutes, on};
    use super::*;
    use crate::decide::book::Damping;
    use crate::decide::decision::Grip;
    use crate::decide::incident::Lane;

    #[test]
    fn holds_from_suppress_until_below_reuse() {
        // Minutes ago of each flap, whether it holds, words.
        let cases: &[(&[u64], bool, &str)] = &[
            (&[], false, "penalty is 0 after 0 flaps"),
            (&[0], false, "penalty is 500 after 1 flaps"),
            // The trap of RFC 2439: two reach twice the penalty only when simultaneous.
            (&[1, 0], false, "penalty is 997"),
            (
                &[60, 30, 0],
                true,
                "penalty is 1274 after 3 flaps (suppress 1000, reuse 500, half-life 2h): held for another 2h41m56s",
            ),
            // Hysteresis: below `suppress` by now, but not below `reuse`.
            (&[160, 130, 100], true, "penalty is 715"),
            (&[230, 200, 170], false, "penalty is 477"),
        ];
        for (ago, holds, words) in cases {
            let world = flapped("live", ago);
            let judgement = judge(&world.scene());
            assert_eq!(judgement.holds(), *holds, "{ago:?}: {}", judgement.because);
            assert!(judgement.because.contains(words), "{ago:?}: {}", judgement.because);
        }
    }

    #[test]
    fn the_highest_penalty_is_forgiven_when_hold_is_over() {
        let numbers = Flapping { penalty: 1e9, ..Flapping::default() };
        let flap = Time::from_millis(1_700_000_000_000);
        let state = State::walk(&[flap], &numbers);
        assert_eq!(state.until(&numbers), Some(flap + numbers.hold));
        assert!(state.at(flap + numbers.hold - Duration::from_millis(1), &numbers).suppressed.is_some());
        assert!(state.at(flap + numbers.hold, &numbers).suppressed.is_none());
    }

    #[test]
    fn each_lane_has_its_own_penalty() {
        let mut world = flapped("shadow/quiet", &[2, 1, 0]);
        assert_eq!(judge(&world.scene()).grip, Grip::Free);
        world.incident.lane = Lane::Shadow("quiet".to_owned());
        assert_eq!(judge(&world.scene()).grip, Grip::Held);
    }

    #[test]
    fn holds_when_blind() {
        let mut world = World::new();
        world.forget();
        assert_eq!(judge(&world.scene()).grip, Grip::Blind);
        for spoil in [
            |n: &mut Flapping| n.suppress = 1e9,
            |n: &mut Flapping| n.penalty = 0.0,
            |n: &mut Flapping| n.penalty = -500.0,
            |n: &mut Flapping| n.penalty = f64::INFINITY,
            |n: &mut Flapping| n.reuse = f64::NAN,
            |n: &mut Flapping| n.half_life = Duration::ZERO,
            |n: &mut Flapping| n.reuse = 2000.0,
        ] {
            let mut world = World::new();
            let mut numbers = Flapping::default();
            spoil(&mut numbers);
            world.policy.brakes.flapping = on(numbers);
            assert_eq!(judge(&world.scene()).grip, Grip::Blind, "{numbers:?}");
        }
    }

    proptest! {
        /// The penalty only falls between flaps, a flap only raises it, and it never passes the ceiling.
        #[test]
        fn the_penalty_falls_between_flaps(gaps in prop::collection::vec(0_u64..600, 0..32), later in 0_u64..2000) {
            let numbers = Flapping::default();
            let flaps = times(&gaps);
            let mut before = 0.0;
            for n in 0..=flaps.len() {
                let state = State::walk(&flaps[..n], &numbers);
                let decayed = state.at(state.as_of + minutes(later), &numbers);
                prop_assert!(decayed.penalty <= state.penalty);
                prop_assert!(state.penalty <= ceiling(&numbers));
                if n > 0 {
                    let unflapped = State::walk(&flaps[..n - 1], &numbers).at(flaps[n - 1], &numbers);
                    prop_assert!(state.penalty >= unflapped.penalty);
                }
                before = state.penalty.max(before);
            }
        }

        /// After `hold` without a flap it always lets go, and at `until` too; a moment before `until` it does not.
        #[test]
        fn it_always_lets_go(gaps in prop::collection::vec(0_u64..400, 1..32)) {
            let numbers = Flapping::default();
            let flaps = times(&gaps);
            let state = State::walk(&flaps, &numbers);
            prop_assert!(state.at(state.as_of + numbers.hold, &numbers).until(&numbers).is_none());
            if let Some(until) = state.until(&numbers) {
                prop_assert!(until <= state.as_of + numbers.hold);
                prop_assert!(state.at(until, &numbers).until(&numbers).is_none());
                prop_assert!(state.at(until - Duration::from_secs(2), &numbers).until(&numbers).is_some());
            }
        }
    }

    fn times(gaps: &[u64]) -> Vec<Time> {
        let mut at = Time::from_millis(1_700_000_000_000);
        gaps.iter()
            .map(|gap| {
                at = at + minutes(*gap);
                at
            })
            .collect()
    }

    fn flapped(lane: &str, ago: &[u64]) -> World {
        let mut world = World::new();
        let mut damping = Damping::default();
        ago.iter().for_each(|m| damping.add(world.ago(minutes(*m))));
        world.history().damping.insert(lane.to_owned(), damping);
        assert!(hours(1) < Flapping::default().hold);
        world
    }
}
