//! Times of a simulated world: whole seconds as the API server keeps them, and a clock that runs as fast as one likes.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::model::Time;
use crate::ports::Clock;

/// Cut to whole seconds.
pub(super) fn second(at: Time) -> Time {
    Time::from_millis(at.millis().div_euclid(1000) * 1000)
}

/// A clock that starts at a given time and runs `speed` times as fast as the real one: ten minutes of a story in one.
#[derive(Clone, Copy, Debug)]
pub struct SpeedClock {
    start: Time,
    began: Instant,
    speed: u32,
}

impl SpeedClock {
    /// A clock that reads `start` now.
    pub fn new(start: Time, speed: u32) -> Self {
        Self { start, began: Instant::now(), speed: speed.max(1) }
    }
}

impl Clock for SpeedClock {
    fn now(&self) -> Time {
        self.start + self.began.elapsed().saturating_mul(self.speed)
    }

    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        let due = self.began + at.since(self.start) / self.speed + Duration::from_millis(1);
        tokio::time::sleep_until(due).boxed()
    }
}
