//! Brings one message to one channel: the limit on what goes out, the retries, the time that all of it may take. Counts.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::channel::{Again, Channel, Refused};
use super::settings::ChannelSettings;
use crate::metrics::{Metrics, NotificationResult};
use crate::model::{Message, Urgency};
use crate::ports::Clock;

/// Attempts for one message.
const TRIES: usize = 5;
/// From the first attempt to giving up.
const TOTAL: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A channel with its limits.
pub(super) struct Courier {
    pub(super) settings: ChannelSettings,
    pub(super) channel: Box<dyn Channel>,
    limiter: DefaultDirectRateLimiter,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl Courier {
    pub(super) fn new(
        settings: ChannelSettings,
        channel: Box<dyn Channel>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let number = |n: Option<NonZeroU32>, default: u32| n.or(NonZeroU32::new(default)).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(number(settings.per_second, 1)).allow_burst(number(settings.burst, 10));
        Self { settings, channel, limiter: RateLimiter::direct(quota), clock, metrics }
    }

    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    pub(super) fn takes(&self, urgency: Urgency) -> bool {
        self.settings.takes(urgency)
    }

    /// Tries until it is taken, cannot be, or the time is up. The error is for people.
    pub(super) async fn deliver(&self, message: &Message) -> Result<(), String> {
        let deadline = self.clock.elapsed() + TOTAL;
        let delivered = self.try_until(deadline, message).await;
        let result = if delivered.is_ok() { NotificationResult::Delivered } else { NotificationResult::Failed };
        self.metrics.notified(self.name(), result);
        delivered
    }

    /// The deadline counts by elapsed time: setting the clock makes no delivery longer.
    async fn try_until(&self, deadline: Duration, message: &Message) -> Result<(), String> {
        let pauses = ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_max_delay(LONGEST_PAUSE).without_max_times();
        let mut last = String::new();
        for (tried, pause) in (1..=TRIES).zip(pauses.build()) {
            if !self.turn(deadline).await {
                let why = "held back: too many messages at once (`per_second`, `burst`)";
                return Err(if last.is_empty() { why.to_owned() } else { format!("{last}; then {why}") });
            }
            let left = self.left(deadline);
            let attempt = tokio::select! {
                attempt = self.channel.send(message) => attempt,
                () = self.clock.sleep(left) => Err(Refused::never(format!("not done within {} s", left.as_secs()))),
            };
            let Refused { why, again } = match attempt {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            last = format!("{why} (attempt {tried})");
            let Again::After(asked) = again else { return Err(last) };
            let pause = asked.unwrap_or(pause).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            if tried == TRIES || pause >= self.left(deadline) {
                return Err(last);
            }
            self.metrics.notified(self.name(), NotificationResult::Retried);
            self.clock.sleep(pause).await;
        }
        Err(last)
    }

    /// Waits for the limiter; false when the time is up before.
    async fn turn(&self, deadline: Duration) -> bool {
        if self.limiter.check().is_ok() {
            return true;
        }
        self.metrics.notified(self.name(), NotificationResult::Limited);
        tokio::select! {
            () = self.limiter.until_ready() => true,
            () = self.clock.sleep(self.left(deadline)) => false,
        }
    }

    fn left(&self, deadline: Duration) -> Duration {
        deadline.saturating_sub(self.clock.elapsed())
    }
}
