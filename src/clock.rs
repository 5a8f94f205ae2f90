//! L3: the system's clocks. The only place that reads them; everything else is told the time.

use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use rustix::time::{ClockId, clock_gettime};

use crate::model::Time;
use crate::ports::Clock;

/// The longest sleep before it is looked at how much time has passed: timers stand still while the machine sleeps.
const LONGEST_NAP: Duration = Duration::from_secs(1);

/// The clock that goes on while the machine sleeps.
#[cfg(any(target_os = "linux", target_os = "android"))]
const ELAPSED: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const ELAPSED: ClockId = ClockId::Monotonic;

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place where the wall clock is read")]
    fn now(&self) -> Time {
        let millis = match std::time::SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
        };
        Time::from_millis(millis)
    }

    fn elapsed(&self) -> Duration {
        // Counts from the machine's start: never negative.
        Duration::try_from(clock_gettime(ELAPSED)).unwrap_or_default()
    }

    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        self.sleep(at.since(self.now()))
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        let end = self.elapsed().saturating_add(span);
        Box::pin(async move {
            loop {
                let left = end.saturating_sub(Self.elapsed());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(LONGEST_NAP)).await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleeps_as_long_as_the_clock_lacks() {
        let clock = SystemClock;
        let (at, before) = (clock.now() + Duration::from_millis(20), clock.elapsed());
        clock.sleep_until(at).await;
        assert!(clock.elapsed() - before >= Duration::from_millis(19));
        clock.sleep_until(Time::from_millis(0)).await;
    }

    #[test]
    fn elapsed_time_only_grows() {
        let first = SystemClock.elapsed();
        assert!(first > Duration::ZERO && SystemClock.elapsed() >= first);
    }
}
