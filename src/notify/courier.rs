//! Brings one message to one channel: the limit on what goes out, the retries, the time that all of it may take. Counts.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::channel::{Again, Channel, Refused};
use super::settings::ChannelSettings;
use crate::metrics::{Metrics, NotificationResult};
use crate::model::{Message, Time, Urgency};
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
        let deadline = self.clock.now() + TOTAL;
        let delivered = self.try_until(deadline, message).await;
        let result = if delivered.is_ok() { NotificationResult::Delivered } else { NotificationResult::Failed };
        self.metrics.notified(self.name(), result);
        delivered
    }

    async fn try_until(&self, deadline: Time, message: &Message) -> Result<(), String> {
        let pauses = ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_max_delay(LONGEST_PAUSE).without_max_times();
        let mut last = String::new();
        for (tried, pause) in (1..=TRIES).zip(pauses.build()) {
            if !self.turn(deadline).await {
                let why = "held back: too many messages at once (`per_second`, `burst`)";
                return Err(if last.is_empty() { why.to_owned() } else { format!("{last}; then {why}") });
            }
            let left = deadline.since(self.clock.now());
            let attempt = tokio::select! {
                attempt = self.channel.send(message) => attempt,
                () = self.clock.sleep_until(deadline) => Err(Refused::never(format!("not done within {} s", left.as_secs()))),
            };
            let Refused { why, again } = match attempt {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            last = format!("{why} (attempt {tried})");
            let Again::After(asked) = again else { return Err(last) };
            let next = self.clock.now() + asked.unwrap_or(pause).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            if tried == TRIES || next >= deadline {
                return Err(last);
            }
            self.metrics.notified(self.name(), NotificationResult::Retried);
            self.clock.sleep_until(next).await;
        }
        Err(last)
    }

    /// Waits for the limiter; false when the time is up before.
    async fn turn(&self, deadline: Time) -> bool {
        if self.limiter.check().is_ok() {
            return true;
        }
        self.metrics.notified(self.name(), NotificationResult::Limited);
        tokio::select! {
            () = self.limiter.until_ready() => true,
            () = self.clock.sleep_until(deadline) => false,
        }
    }
}
