//! Whether somebody set the clock: the wall clock against the time that has passed. What follows from it is decided in `decide`.

use std::time::Duration;

use crate::model::Time;
use crate::ports::Clock;

/// Less than this is drift that a time daemon corrects, or the time between two readings.
const LEAST: Duration = Duration::from_secs(2);
/// Both clocks must be read within this, else the reading says nothing of one against the other.
const TOGETHER: Duration = Duration::from_millis(200);
/// How often they are read before it is left for the next look.
const READINGS: usize = 3;

/// Both clocks, as last read.
pub(super) struct Leaps {
    wall: Time,
    elapsed: Duration,
}

impl Leaps {
    /// From here on.
    pub(super) fn new(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), elapsed: clock.elapsed() }
    }

    /// The time of the last look.
    pub(super) fn now(&self) -> Time {
        self.wall
    }

    /// Looks at the time, and says by how many milliseconds the clock was set since the last look, forward or back. Each look
    /// starts anew, so that a clock that is slewed never adds up to a leap.
    pub(super) fn look(&mut self, clock: &dyn Clock) -> Option<i64> {
        let (wall, elapsed) = (0..READINGS).find_map(|_| together(clock))?;
        let expected = self.wall + elapsed.saturating_sub(self.elapsed);
        let by = wall.millis().saturating_sub(expected.millis());
        (self.wall, self.elapsed) = (wall, elapsed);
        (Duration::from_millis(by.unsigned_abs()) >= LEAST).then_some(by)
    }

    /// What the clock as it is now would have read when it read `at`, and `elapsed` time had passed.
    pub(super) fn corrected(&self, at: Time, elapsed: Duration) -> Time {
        // What came in after the last look is of the clock as it is, as far as anybody knows.
        let Some(age) = self.elapsed.checked_sub(elapsed) else { return at };
        let now = self.wall - age;
        let off = Duration::from_millis(now.millis().abs_diff(at.millis()));
        if off >= LEAST { now } else { at }
    }
}

/// Both clocks at the same moment; `None` where something came in between.
fn together(clock: &dyn Clock) -> Option<(Time, Duration)> {
    let before = clock.elapsed();
    let wall = clock.now();
    let elapsed = clock.elapsed();
    (elapsed.saturating_sub(before) <= TOGETHER).then_some((wall, elapsed))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::future::BoxFuture;

    use super::*;

    /// Two clocks that stand where they are put; the wall clock may be read late.
    #[derive(Default)]
    struct Hands(Mutex<(i64, u64, u64)>);

    impl Hands {
        fn put(&self, wall: i64, elapsed: u64, late: u64) -> &Self {
            *self.0.lock().expect("no panic") = (wall, elapsed, late);
            self
        }
    }

    impl Clock for Hands {
        fn now(&self) -> Time {
            let mut hands = self.0.lock().expect("no panic");
            hands.1 += hands.2;
            hands.2 /= 10;
            Time::from_millis(hands.0)
        }

        fn elapsed(&self) -> Duration {
            Duration::from_millis(self.0.lock().expect("no panic").1)
        }

        fn sleep_until(&self, _: Time) -> BoxFuture<'static, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_clock_that_is_set_is_seen_once_and_one_that_goes_on_is_not() {
        let clock = Hands::default();
        let mut leaps = Leaps::new(clock.put(HOUR, 50_000, 0));
        let mut look = |wall, elapsed, late| leaps.look(clock.put(wall, elapsed, late));
        assert_eq!(look(HOUR + 30_000, 80_000, 0), None, "half a minute went by");
        assert_eq!(look(HOUR + 31_900, 80_000, 0), None, "a small correction");
        assert_eq!(look(HOUR + 33_800, 80_000, 0), None, "and another: each look starts anew");
        assert_eq!(look(2 * HOUR + 33_800, 80_000, 0), Some(HOUR));
        assert_eq!(look(2 * HOUR + 34_800, 81_000, 0), None, "told once");
        assert_eq!(look(HOUR + 35_800, 82_000, 0), Some(-HOUR));
        assert_eq!(look(2 * HOUR + 35_800, 82_000 + 3_600_000, 0), None, "the machine slept for an hour");
        assert_eq!(look(2 * HOUR + 37_800, 82_000 + 3_600_000, 0), Some(2000), "two seconds are a leap");
    }

    #[test]
    fn what_comes_between_two_readings_is_no_leap() {
        let clock = Hands::default();
        let mut leaps = Leaps::new(clock.put(HOUR, 0, 0));
        // The thread stood still for 50 s between the two clocks, then for 5 s, for 0.5 s, and then for 50 ms.
        assert_eq!(leaps.look(clock.put(HOUR, 0, 50_000)), None);
        assert_eq!(leaps.now(), Time::from_millis(HOUR), "it was no reading");
        assert_eq!(leaps.look(clock.put(HOUR + 56_000, 55_500, 500)), None);
        assert_eq!(leaps.now(), Time::from_millis(HOUR + 56_000));
    }

    #[test]
    fn a_receipt_from_before_a_leap_gets_its_time_on_the_clock_after_it() {
        let clock = Hands::default();
        let mut leaps = Leaps::new(clock.put(HOUR, 0, 0));
        assert_eq!(leaps.look(clock.put(10_000, 10_000, 0)), Some(-HOUR));
        let at = |millis, elapsed| leaps.corrected(Time::from_millis(millis), Duration::from_millis(elapsed)).millis();
        assert_eq!(at(HOUR + 4000, 4000), 4000);
        assert_eq!(at(7001, 7000), 7001, "came in after it: as it was stamped");
        assert_eq!(at(41_000, 41_000), 41_000, "came in after the look");
    }
}
