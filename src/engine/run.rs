//! The loop itself.

mod asked;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::dispatch::{Dispatcher, Hands};
use super::feed::Feed;
use super::gauges;
use super::handle::{Command, EngineHandle, PolicySource};
use super::leap::Leaps;
use super::recover::{RecoverError, Recovered, recover};
use super::snapshot_due::SnapshotDue;
use super::spans::Spans;
use super::view::View;
use crate::decide;
use crate::decide::book::Book;
use crate::decide::effect::{Context, Effect, Input};
use crate::decide::limits::Limits;
use crate::journal::census::Tally;
use crate::journal::receipt;
use crate::journal::record::{self, Record, Stamped};
use crate::journal::snapshot;
use crate::metrics::Metrics;
use crate::model::{Time, WatchEvent};
use crate::policy::types::Policies;
use crate::ports::{Received, RowKind, Span, Store};

/// Inputs that are stepped before they are committed together.
const BATCH: usize = 1024;
/// Effects that may be under way, or wait to be taken in, when one more receipt is.
const AHEAD: usize = 2048;
/// Steps that time alone may cause in one batch: more wait for the next one, so that a defect cannot spin.
const TICKS: usize = 1024;
/// Results of effects that may wait.
const INPUTS: usize = 4096;
/// Questions and operations that may wait; more are refused.
const COMMANDS: usize = 256;
/// A commit is tried again after this.
const COMMIT_RETRY: Duration = Duration::from_secs(1);
/// Records that may wait to be written with others, and for how long.
const HELD: usize = 1024;
const HOLD: Duration = Duration::from_secs(1);
/// How old gauges may get.
const SHOW_EVERY: Duration = Duration::from_millis(100);
/// The loop turns at least this often, so that the book says that we are alive.
const IDLE: Duration = Duration::from_secs(30);
/// Effects that are under way get this long at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// What the engine is made of.
pub struct EngineSettings {
    /// The journal.
    pub store: Arc<dyn Store>,
    /// The hands.
    pub hands: Hands,
    /// Metric handles.
    pub metrics: Arc<Metrics>,
    /// The product's times.
    pub limits: Limits,
    /// The cluster's name.
    pub cluster_name: Option<String>,
    /// The policies to start with.
    pub policies: Policies,
    /// Where they are read again.
    pub policy_source: PolicySource,
    /// What else must be there before the service is ready.
    pub also_ready: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// Where spans of traces go, if anywhere.
    pub spans: Option<mpsc::Sender<Span>>,
}

/// The engine: recovered, not yet running.
pub struct Engine {
    settings: EngineSettings,
    policies: Policies,
    refused: Option<String>,
    book: Book,
    seq: u64,
    snapshot_due: SnapshotDue,
    shown_at: Time,
    /// Whether the gauges show the book as it is.
    shown: bool,
    /// Records that wait to be written with others.
    held: Vec<Stamped>,
    receipts: Vec<(u64, Time, Bytes)>,
    commands: mpsc::Receiver<Command>,
    inputs: mpsc::Receiver<Input>,
    input_sender: mpsc::Sender<Input>,
    dispatcher: Dispatcher,
    spans: Spans,
    ready: Arc<AtomicBool>,
    leaps: Leaps,
    feed: Arc<Feed>,
}

/// An operation's answer, held back until it is durable.
type Answer = Box<dyn FnOnce(&Book) + Send>;

/// Records that can never be made durable: a defect, after which nothing may be done.
struct NotDurable;

/// What a batch gathers before it is committed.
#[derive(Default)]
struct Batch {
    records: Vec<Stamped>,
    effects: Vec<Effect>,
    answers: Vec<Answer>,
}

impl Engine {
    /// Recovers the book from the journal.
    ///
    /// # Errors
    /// When the journal cannot be read or understood.
    pub async fn recover(settings: EngineSettings) -> Result<(Self, EngineHandle), RecoverError> {
        let Recovered { book, seq, snapshot_due, receipts } = recover(&*settings.store).await?;
        let (command_sender, commands) = mpsc::channel(COMMANDS);
        let (input_sender, inputs) = mpsc::channel(INPUTS);
        let ready = Arc::new(AtomicBool::new(false));
        let feed = Arc::new(Feed::new(seq));
        let handle = EngineHandle {
            commands: command_sender,
            ready: Arc::clone(&ready),
            policies: Arc::clone(&settings.policy_source),
            also_ready: Arc::clone(&settings.also_ready),
            feed: Arc::clone(&feed),
        };
        let dispatcher = Dispatcher::new(settings.hands.clone(), input_sender.clone());
        let policies = settings.policies.clone();
        let leaps = Leaps::new(&*settings.hands.clock);
        let spans = Spans::new(settings.spans.clone(), &book);
        tracing::info!(rows = seq, incidents_open = book.open().count(), receipts_pending = receipts.len(), "journal replayed");
        let engine = Self {
            settings,
            policies,
            refused: None,
            book,
            seq,
            // What was replayed counts: a process that never lives for long would write no snapshot, and replay ever more.
            snapshot_due,
            shown_at: Time::default(),
            shown: false,
            held: Vec::new(),
            receipts,
            commands,
            inputs,
            input_sender,
            dispatcher,
            spans,
            ready,
            leaps,
            feed,
        };
        Ok((engine, handle))
    }

    /// Runs until cancelled. `inbox` brings receipts, `watch` what the cluster's watch sees. The inbox is handed back: as long
    /// as it is kept, webhooks are taken.
    pub async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Received>,
        mut watch: mpsc::Receiver<WatchEvent>,
        stop: CancellationToken,
    ) -> mpsc::Receiver<Received> {
        if self.begin().await.is_err() {
            return inbox;
        }
        self.show();
        self.ready.store(true, Ordering::Release);
        while !stop.is_cancelled() {
            let now = self.now();
            let wake = decide::wake_at(&self.book, &self.settings.limits).map_or(now + IDLE, |at| at.min(now + IDLE));
            let wake = self.held.first().map_or(wake, |held| wake.min(held.at + HOLD));
            let wake = if self.shown { wake } else { wake.min(self.shown_at + SHOW_EVERY) };
            let mut batch = Batch { records: std::mem::take(&mut self.held), ..Batch::default() };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(command) = self.commands.recv() => self.command(command, &mut batch),
                Some(input) = self.inputs.recv() => self.step(input, &mut batch),
                Some(event) = watch.recv() => self.watched(event, &mut batch),
                Some(received) = inbox.recv() => self.received(received, &mut batch),
                () = self.settings.hands.clock.sleep(wake.since(now)) => {}
            }
            self.drain_queues(&mut inbox, &mut watch, &mut batch);
            self.listen(&mut batch);
            self.ticks(&mut batch);
            if self.can_wait(&batch) {
                self.held = batch.records;
            } else if self.commit(batch).await.is_err() {
                self.ready.store(false, Ordering::Release);
                return inbox;
            }
            self.settings.metrics.inbox_depth.set(i64::try_from(inbox.len()).unwrap_or(i64::MAX));
            self.show();
        }
        self.ready.store(false, Ordering::Release);
        self.dispatcher.drain(DRAIN).await;
        // What was held back is in the book, and so in the snapshot.
        self.snapshot().await;
        inbox
    }

    /// The first batch: what was acknowledged before the start and not consumed, then the start itself.
    async fn begin(&mut self) -> Result<(), NotDurable> {
        let mut batch = Batch::default();
        if let Some(set) = decide::set_back_while_away(&self.book, self.now()) {
            tracing::warn!(?set, "the clock was set back since the journal was last written");
            self.step(set, &mut batch);
        }
        self.step(Input::Started { program: env!("CARGO_PKG_VERSION").to_owned() }, &mut batch);
        self.step(Input::Loaded, &mut batch);
        for (seq, at, body) in std::mem::take(&mut self.receipts) {
            let read = receipt::Receipt::decode(&body).and_then(|receipt| receipt.read(at));
            if let Err(error) = &read {
                tracing::error!(seq, %error, "a receipt in the journal cannot be read");
            }
            // A time that lies ahead is of a clock that was set back while we were away: it must not put anything off.
            let at = at.min(self.now());
            self.step(Input::Received { seq, at, notification: read.ok() }, &mut batch);
        }
        let names = self.policies.policies.iter().map(|policy| policy.name.as_str());
        self.settings.metrics.policies_loaded(&self.policies.hash, self.now(), names);
        self.commit(batch).await
    }

    fn drain_queues(&mut self, inbox: &mut mpsc::Receiver<Received>, watch: &mut mpsc::Receiver<WatchEvent>, batch: &mut Batch) {
        // In turns: a storm in one queue delays the others by one input, not for as long as it lasts. Receipts alone give way: one
        // of them leads to a hundred look-ups, and what was looked up is taken in before more is. They wait in the inbox, which
        // is bounded; however much is under way, one is taken whenever no answer waits (see `run`).
        let mut left = BATCH;
        while left > 0 {
            let before = left;
            if let Ok(command) = self.commands.try_recv() {
                self.command(command, batch);
                left -= 1;
            }
            if let Ok(input) = self.inputs.try_recv() {
                self.step(input, batch);
                left = left.saturating_sub(1);
            }
            if let Ok(event) = watch.try_recv() {
                self.watched(event, batch);
                left = left.saturating_sub(1);
            }
            let busy = batch.effects.len() + self.dispatcher.waiting() + self.inputs.len() >= AHEAD;
            if !busy && let Ok(received) = inbox.try_recv() {
                self.received(received, batch);
                left = left.saturating_sub(1);
            }
            if left == before {
                return;
            }
        }
    }

    fn received(&mut self, received: Received, batch: &mut Batch) {
        let Received { seq, at, elapsed, source, body, scan, held } = received;
        self.snapshot_due.wrote(body.len());
        self.look_at_the_clock(batch);
        let at = self.leaps.corrected(at, elapsed);
        let (policies, book, cluster) = (&self.policies, &self.book, self.settings.cluster_name.as_deref());
        let mut unmatched = Tally::default();
        // Most of what comes in concerns nobody: it is told apart before anything of it is owned.
        let notification = scan.read(source, &body, at, |alert| {
            let foreign = alert.is_foreign(cluster);
            let concerns = !foreign && decide::concerns(policies, book, alert);
            if !foreign && !concerns {
                unmatched.add(alert.status());
            }
            concerns
        });
        drop((body, scan, held));
        let heard = self.step_heard(Input::Received { seq, at, notification: Some(notification) }, batch);
        gauges::heard(&self.settings.metrics, source, &heard, unmatched);
    }

    fn watched(&mut self, event: WatchEvent, batch: &mut Batch) {
        self.listen(batch);
        self.step(Input::Watched(Box::new(event)), batch);
    }

    /// Whether the watch hears: known before what it saw is made something of.
    fn listen(&mut self, batch: &mut Batch) {
        if let Some(at) = self.settings.hands.cluster.as_ref().and_then(|cluster| cluster.watch_heard_at()) {
            self.step(Input::WatchHeard { at }, batch);
        }
    }

    fn step(&mut self, input: Input, batch: &mut Batch) {
        let _ = self.step_heard(input, batch);
    }

    /// Steps at this very moment.
    fn step_heard(&mut self, input: Input, batch: &mut Batch) -> Vec<(crate::model::AlertStatus, crate::decide::effect::Heard)> {
        self.look_at_the_clock(batch);
        self.take(input, batch)
    }

    /// Before anything is judged by a clock, it is seen whether somebody set it.
    fn look_at_the_clock(&mut self, batch: &mut Batch) {
        if let Some(by) = self.leaps.look(&*self.settings.hands.clock) {
            tracing::warn!(by_ms = by, "the clock was set; deadlines move along, countdowns begin again");
            self.settings.metrics.clock_leaps.inc();
            let _ = self.take(Input::ClockSet { by, away: false }, batch);
        }
    }

    /// Folds the records of a step at once: the next input of the batch sees them. Nothing of it leaves before the commit.
    fn take(&mut self, input: Input, batch: &mut Batch) -> Vec<(crate::model::AlertStatus, crate::decide::effect::Heard)> {
        let now = self.leaps.now();
        let context =
            Context { policies: &self.policies, limits: &self.settings.limits, cluster: self.settings.cluster_name.as_deref() };
        if let Input::Observed { observation, .. } = &input {
            gauges::observed(&self.settings.metrics, observation);
        }
        let mut step = decide::step(&context, &self.book, input, now);
        let mut fits = true;
        for stamped in step.records {
            gauges::changed(&self.settings.metrics, &self.book, &stamped.record);
            match self.book.fold(&stamped) {
                Ok(()) => {
                    gauges::recorded(&self.settings.metrics, &self.book, &stamped);
                    self.spans.recorded(&self.settings.metrics, &self.book, &stamped);
                    batch.records.push(stamped);
                }
                // Not written: what the book cannot hold must not make the journal unreadable.
                Err(error) => {
                    tracing::error!(%error, "defect: a record does not fit the book");
                    fits = false;
                }
            }
        }
        if !fits {
            // Nothing is written to a cluster for which the book and the journal have no intent. People are told all the same;
            // what does not come back is noticed by the incident's deadlines.
            step.effects.retain(|effect| !matches!(effect, Effect::Apply { .. }));
        }
        batch.effects.append(&mut step.effects);
        step.heard
    }

    fn ticks(&mut self, batch: &mut Batch) {
        for _ in 0..TICKS {
            let due = decide::wake_at(&self.book, &self.settings.limits).is_some_and(|at| at <= self.now());
            self.step(Input::Tick, batch);
            if !due {
                return;
            }
        }
        tracing::warn!(limit = TICKS, "much is due at once; the rest follows");
    }

    fn view(&self) -> View<'_> {
        View {
            book: &self.book,
            policies: &self.policies,
            refused: self.refused.as_deref(),
            cluster: self.settings.cluster_name.as_deref(),
            limits: &self.settings.limits,
            now: self.now(),
        }
    }

    /// Whether a batch says only that receipts concerned nobody. Nobody waits for that, and after a crash they are read once more:
    /// it is written with what comes next, and does not keep the next webhook waiting for the disk.
    fn can_wait(&self, batch: &Batch) -> bool {
        let now = self.now();
        let fresh = |stamped: &Stamped| matches!(stamped.record, Record::Consumed { .. }) && now.since(stamped.at) < HOLD;
        let idle = batch.effects.is_empty() && batch.answers.is_empty();
        idle && batch.records.len() < HELD && batch.records.iter().all(fresh)
    }

    /// Makes a batch durable, then answers and starts effects. While the journal does not commit, nothing else happens (people
    /// hear of it: `Lookout`).
    async fn commit(&mut self, batch: Batch) -> Result<(), NotDurable> {
        let begun = self.settings.hands.clock.elapsed();
        if !batch.records.is_empty() {
            match record::encode(&batch.records) {
                Ok(bytes) => {
                    self.snapshot_due.wrote(bytes.len());
                    self.seq = self.append(Bytes::from(bytes)).await;
                    self.feed.tell(self.seq, &batch.records, &self.view());
                }
                Err(error) => {
                    // The book is ahead of the journal for good: nothing may be done, answered or remembered on it.
                    tracing::error!(%error, "defect: records cannot be encoded; the engine ends");
                    return Err(NotDurable);
                }
            }
        }
        for answer in batch.answers {
            answer(&self.book);
        }
        let waited = self.settings.hands.clock.elapsed().saturating_sub(begun);
        for effect in batch.effects.into_iter().filter(|effect| effect.keeps(waited)) {
            self.dispatcher.start(effect);
        }
        if self.snapshot_due.is_due(self.seq) {
            self.snapshot().await;
        }
        Ok(())
    }

    /// Sets the gauges, which costs a look at every open incident: now, or soon.
    fn show(&mut self) {
        let now = self.now();
        self.shown = now.since(self.shown_at) >= SHOW_EVERY;
        if self.shown {
            self.shown_at = now;
            gauges::set(&self.settings.metrics, &self.book, &self.policies, now);
        }
    }

    async fn append(&mut self, bytes: Bytes) -> u64 {
        loop {
            match self.settings.store.append(RowKind::Step, self.now(), bytes.clone()).await {
                Ok(seq) => return seq,
                Err(error) => {
                    tracing::error!(%error, "cannot commit; nothing is done until it can");
                    tokio::time::sleep(COMMIT_RETRY).await;
                }
            }
        }
    }

    async fn snapshot(&mut self) {
        match snapshot::encode(&self.book) {
            Ok(bytes) => {
                let size = bytes.len();
                match self.settings.store.snapshot(self.seq, self.now(), Bytes::from(bytes)).await {
                    Ok(()) => self.snapshot_due = SnapshotDue::taken(self.seq, size),
                    Err(error) => tracing::warn!(%error, "no snapshot was written; the next start takes longer"),
                }
            }
            Err(error) => tracing::error!(%error, "defect: the book cannot be encoded"),
        }
    }

    fn now(&self) -> Time {
        self.settings.hands.clock.now()
    }

    /// Where results of effects come in; tests use it to bring inputs of their own.
    pub fn input_sender(&self) -> mpsc::Sender<Input> {
        self.input_sender.clone()
    }
}
