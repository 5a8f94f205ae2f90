//! Brings messages to one channel: the limit on what goes out, the retries, the time that all of it may take. Counts. What has to
//! wait for the limit leaves together with what else waits, as one message; each sender hears what became of its own. All times are
//! by `Clock::elapsed`: setting the clock makes no delivery longer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::future::BoxFuture;
use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::channel::{Again, Channel, Refused};
use super::digest;
use super::settings::ChannelSettings;
use crate::metrics::{Metrics, NotificationResult};
use crate::model::{IncidentId, Message, Urgency};
use crate::ports::Clock;

/// Attempts for one message.
const TRIES: usize = 5;
/// From the first attempt to giving up.
const TOTAL: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Messages that may wait for one channel; more are refused at once.
const WAITING: usize = 1024;
/// The longest time that a provider's wish for silence is remembered.
const LONGEST_SILENCE: Duration = Duration::from_secs(600);

type Outcome = Result<(), String>;
type Limiter = RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Nanos>>;

/// A channel with its limits. Its worker ends with it.
pub(super) struct Courier {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Waiting>,
    worker: JoinHandle<()>,
}

struct Shared {
    settings: ChannelSettings,
    channel: Box<dyn Channel>,
    limiters: Vec<Limiter>,
    /// Until then the provider wants to hear nothing.
    silence: Mutex<Option<Duration>>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

/// A message that waits for its turn.
struct Waiting {
    message: Message,
    since: Duration,
    ticket: Arc<AtomicU8>,
    answer: oneshot::Sender<Outcome>,
}

/// Nobody has decided yet; it is being sent; its sender has given up.
const OPEN: u8 = 0;
const SENDING: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Courier {
    /// Must be called inside a runtime.
    pub(super) fn new(
        settings: ChannelSettings,
        channel: Box<dyn Channel>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let ticks = Ticks { clock: Arc::clone(&clock), started: clock.elapsed() };
        let limiter = |quota: Quota| RateLimiter::direct_with_clock(quota, ticks.clone());
        let limiters = settings.quotas().into_iter().map(limiter).collect();
        let shared = Arc::new(Shared { settings, channel, limiters, silence: Mutex::default(), clock, metrics });
        let (queue, waiting) = mpsc::channel(WAITING);
        let worker = tokio::spawn(work(Arc::clone(&shared), waiting));
        Self { shared, queue, worker }
    }

    pub(super) fn name(&self) -> &str {
        &self.shared.settings.name
    }

    pub(super) fn takes(&self, urgency: Urgency) -> bool {
        self.shared.settings.takes(urgency)
    }

    pub(super) fn channel(&self) -> &dyn Channel {
        self.shared.channel.as_ref()
    }

    /// Tries until it is taken, cannot be, or the time is up. The error is for people.
    pub(super) async fn deliver(&self, message: &Message) -> Outcome {
        let delivered = self.queued(message).await;
        let result = if delivered.is_ok() { NotificationResult::Delivered } else { NotificationResult::Failed };
        self.shared.metrics.notified(self.name(), result);
        delivered
    }

    /// Does what the channel has to do each minute.
    pub(super) async fn keep(&self) {
        self.shared.errand().await;
        self.channel().keep().await;
    }

    /// Ends the pages of an incident; says so when that cannot be done.
    pub(super) async fn close(&self, incident: &IncidentId) {
        if self.channel().has_to_close(incident) {
            self.shared.errand().await;
        }
        let ended = self.shared.try_until(self.shared.clock.elapsed() + TOTAL, || self.channel().close(incident)).await;
        if let Err(why) = ended {
            self.shared.metrics.notified(self.name(), NotificationResult::Failed);
            tracing::warn!(channel = self.name(), %incident, why, "a page could not be ended; end it by hand");
        }
    }

    /// Tells the provider that somebody has the incident.
    pub(super) async fn acknowledge(&self, incident: &IncidentId, by: &str) {
        self.shared.errand().await;
        let told = self.shared.try_until(self.shared.clock.elapsed() + TOTAL, || self.channel().acknowledge(incident, by)).await;
        if let Err(why) = told {
            self.shared.metrics.notified(self.name(), NotificationResult::Failed);
            tracing::warn!(channel = self.name(), %incident, why, "an acknowledgement could not be passed on");
        }
    }

    async fn queued(&self, message: &Message) -> Outcome {
        if let Some(until) = self.shared.silent_until().filter(|until| *until > self.shared.clock.elapsed() + TOTAL) {
            let left = until.saturating_sub(self.shared.clock.elapsed());
            return Err(format!("the provider's limit is spent: it takes nothing for {} s", left.as_secs()));
        }
        let (answer, mut answered) = oneshot::channel();
        let (since, ticket) = (self.shared.clock.elapsed(), Arc::new(AtomicU8::new(OPEN)));
        let waiting = Waiting { message: message.clone(), since, ticket: Arc::clone(&ticket), answer };
        if self.queue.try_send(waiting).is_err() {
            return Err(format!("too many messages wait for it ({WAITING})"));
        }
        let ended = || Err("the channel has ended".to_owned());
        tokio::select! {
            outcome = &mut answered => outcome.unwrap_or_else(|_| ended()),
            () = self.shared.sleep_until(since + TOTAL) => {
                if ticket.compare_exchange(OPEN, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                    let limits = "`per_second`, `burst`, or the provider's own limit";
                    return Err(format!("held back: too many messages at once ({limits})"));
                }
                answered.await.unwrap_or_else(|_| ended())
            }
        }
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

/// Takes messages in turn. Pages go first. Attempts run beside each other: one that is slow holds nobody up.
async fn work(shared: Arc<Shared>, mut queue: mpsc::Receiver<Waiting>) {
    let mut held: VecDeque<Waiting> = VecDeque::new();
    loop {
        if held.is_empty() {
            match queue.recv().await {
                Some(waiting) => held.push_back(waiting),
                None => return,
            }
        }
        let was_limited = shared.turn().await;
        while held.len() < WAITING
            && let Ok(waiting) = queue.try_recv()
        {
            held.push_back(waiting);
        }
        held.retain(|waiting| waiting.ticket.load(Ordering::Acquire) == OPEN);
        let batch = next_batch(&mut held, if was_limited { digest::MOST } else { 1 });
        if !batch.is_empty() {
            tokio::spawn(Arc::clone(&shared).carry(batch));
        }
    }
}

/// The next messages: pages before others; several only of one urgency.
fn next_batch(held: &mut VecDeque<Waiting>, most: usize) -> Vec<Waiting> {
    let urgency = held.iter().map(|waiting| waiting.message.urgency).max();
    let (mut batch, mut rest) = (Vec::new(), VecDeque::new());
    for waiting in held.drain(..) {
        let chosen = Some(waiting.message.urgency) == urgency && batch.len() < most;
        if !chosen {
            rest.push_back(waiting);
        } else if waiting.ticket.compare_exchange(OPEN, SENDING, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            batch.push(waiting);
        }
    }
    *held = rest;
    batch
}

impl Shared {
    /// Waits for the limits; whether that took any time.
    async fn turn(&self) -> bool {
        let mut was_limited = false;
        loop {
            let now = self.clock.elapsed();
            let silence = self.silent_until().filter(|until| *until > now);
            let refused = silence.or_else(|| self.limiters.iter().find_map(|limiter| wait(limiter, now)));
            let Some(until) = refused else { return was_limited };
            if !was_limited {
                self.metrics.notified(&self.settings.name, NotificationResult::Limited);
            }
            was_limited = true;
            self.sleep_until(until).await;
        }
    }

    fn sleep_until(&self, at: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep(at.saturating_sub(self.clock.elapsed()))
    }

    fn silent_until(&self) -> Option<Duration> {
        *self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn for what is asked besides messages, where somebody else sets the limits.
    async fn errand(&self) {
        if self.settings.is_limited_by_its_provider() {
            self.turn().await;
        }
    }

    /// Brings what left together, and answers each sender.
    async fn carry(self: Arc<Self>, batch: Vec<Waiting>) {
        let eldest = batch.iter().map(|waiting| waiting.since).min().unwrap_or_else(|| self.clock.elapsed());
        // Whoever waited long still gets an attempt with a retry.
        let deadline = (eldest + TOTAL).max(self.clock.elapsed() + LONGEST_PAUSE);
        let (messages, answers): (Vec<Message>, Vec<_>) = batch.into_iter().map(|one| (one.message, one.answer)).unzip();
        let outcome = match messages.as_slice() {
            [one] => self.try_until(deadline, || self.channel.send(one)).await,
            many => {
                let merged = NotificationResult::Merged;
                many.iter().for_each(|_| self.metrics.notified(&self.settings.name, merged));
                self.try_until(deadline, || self.channel.send_merged(many)).await
            }
        };
        for answer in answers {
            // A sender that is gone does not need it.
            let _ = answer.send(outcome.clone());
        }
    }

    async fn try_until<'a>(
        &self,
        deadline: Duration,
        attempt: impl Fn() -> BoxFuture<'a, Result<(), Refused>> + Send,
    ) -> Outcome {
        let pauses = ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_max_delay(LONGEST_PAUSE).without_max_times();
        let mut last = String::new();
        for (tried, pause) in (1..=TRIES).zip(pauses.build()) {
            let left = deadline.saturating_sub(self.clock.elapsed());
            let ended = tokio::select! {
                ended = attempt() => ended,
                () = self.sleep_until(deadline) => Err(Refused::never(format!("not done within {} s", left.as_secs()))),
            };
            let Refused { why, again } = match ended {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            last = format!("{why} (attempt {tried})");
            let now = self.clock.elapsed();
            let next = match again {
                Again::Never => return Err(last),
                Again::After(asked) => now + asked.unwrap_or(pause).clamp(FIRST_PAUSE, LONGEST_PAUSE),
                Again::Limited(asked) => self.be_silent(now, asked),
            };
            if tried == TRIES || next >= deadline {
                return Err(last);
            }
            self.metrics.notified(&self.settings.name, NotificationResult::Retried);
            self.sleep_until(next).await;
            tokio::select! {
                _ = self.turn() => {}
                () = self.sleep_until(deadline) => return Err(last),
            }
        }
        Err(last)
    }

    /// The provider said that we send too much: nothing goes out before the time that it named.
    fn be_silent(&self, now: Duration, asked: Duration) -> Duration {
        let until = now + asked.clamp(FIRST_PAUSE, LONGEST_SILENCE);
        let mut silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        let until = silence.map_or(until, |known| known.max(until));
        *silence = Some(until);
        until
    }
}

/// When a limiter lets the next one through, if not now.
fn wait(limiter: &Limiter, now: Duration) -> Option<Duration> {
    let not_until = limiter.check().err()?;
    let pause = not_until.wait_time_from(limiter.clock().now());
    Some(now + pause.max(Duration::from_millis(1)))
}

/// The limiters' time is ours: it can be made to run faster.
#[derive(Clone)]
struct Ticks {
    clock: Arc<dyn Clock>,
    started: Duration,
}

impl governor::clock::Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.clock.elapsed().saturating_sub(self.started).into()
    }
}
