//! The journal seen from outside: since when it does not commit, and that people hear of it. Stands beside the engine, which may
//! itself be waiting for a commit that never comes back; and sees receipts and steps apart, since on a disk that is almost full
//! the small ones still go through while every alert is refused. Must not need the journal for anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::model::{About, Digest, Message, Moment, Time, Urgency};
use crate::ports::{Clock, Notifier, Row, RowKind, Store, StoreError};

/// Nothing of a kind was committed for this long: people are told.
const BLIND_AFTER: Duration = Duration::from_secs(30);
/// As long as it goes on, they are told again.
const REMIND_EVERY: Duration = Duration::from_secs(30 * 60);
/// What failed and was not tried again for this long is over, if everything else is committed.
const FORGET_AFTER: Duration = Duration::from_secs(60 * 60);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A journal whose commits are watched.
pub struct Lookout {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    receipts: Mutex<Commits>,
    steps: Mutex<Commits>,
}

/// The commits of one kind of row. All times are by `Clock::elapsed`: setting the clock must not put the page off.
#[derive(Default)]
struct Commits {
    /// Begun and not answered.
    under_way: BTreeMap<u64, Duration>,
    begun: u64,
    /// Those that failed, with none since that did not.
    failing: Option<Failing>,
    /// When one was made.
    made: Option<Duration>,
}

struct Failing {
    /// When the first of them was begun.
    first: Duration,
    /// When the last of them was begun.
    last: Duration,
    why: String,
}

/// What people were told.
struct Told {
    at: Duration,
    /// Since when it did not commit.
    since: Time,
}

impl Lookout {
    /// Watches a journal.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, receipts: Mutex::default(), steps: Mutex::default() }
    }

    /// Tells people, for as long as the service runs, when nothing can be remembered, and when it can again.
    pub async fn keep(self: Arc<Self>, notifier: Arc<dyn Notifier>, stop: CancellationToken) {
        let mut told: Option<Told> = None;
        // The process before us may have been blind until its end.
        let mut left_open = true;
        while stop.run_until_cancelled(self.clock.sleep(LOOK_EVERY)).await.is_some() {
            let elapsed = self.clock.elapsed();
            self.forget(elapsed);
            match self.stuck().map(|(since, why)| (elapsed.saturating_sub(since), why)) {
                Some((stuck, why)) if stuck >= BLIND_AFTER => {
                    if told.as_ref().is_none_or(|told| elapsed.saturating_sub(told.at) >= REMIND_EVERY) {
                        let now = self.clock.now();
                        let since = told.map_or(now - stuck, |told| told.since);
                        told = Some(Told { at: elapsed, since });
                        tracing::error!(%since, why, "the journal does not commit");
                        stop.run_until_cancelled(notifier.deliver(blind(now, since, &why))).await;
                    }
                }
                Some(_) => {}
                None => {
                    let over = told.take();
                    if over.is_some() || (left_open && self.has_committed()) {
                        left_open = false;
                        stop.run_until_cancelled(notifier.close_page(None)).await;
                    }
                    if let Some(Told { since, .. }) = over {
                        tracing::info!(%since, "the journal commits again");
                        stop.run_until_cancelled(notifier.deliver(sees_again(self.clock.now(), since))).await;
                    }
                }
            }
        }
    }

    /// For how long it has not committed; `None`: it does.
    pub fn stuck_for(&self) -> Option<Duration> {
        self.stuck().map(|(since, _)| self.clock.elapsed().saturating_sub(since))
    }

    /// Since when it does not commit, and why.
    fn stuck(&self) -> Option<(Duration, String)> {
        let of = |commits: &Mutex<Commits>| {
            let commits = lock(commits);
            let oldest = commits.under_way.values().min().map(|at| (*at, "it does not answer".to_owned()));
            let failing = commits.failing.as_ref().map(|failing| (failing.first, failing.why.clone()));
            [failing, oldest].into_iter().flatten().min()
        };
        [of(&self.receipts), of(&self.steps)].into_iter().flatten().min()
    }

    /// What failed long ago and was never tried again says nothing of a journal that takes everything else: its sender gave up, or
    /// has another one to send to.
    fn forget(&self, elapsed: Duration) {
        for (kind, other) in [(&self.receipts, &self.steps), (&self.steps, &self.receipts)] {
            let made = lock(other).made;
            let mut commits = lock(kind);
            let old = |failing: &Failing| elapsed.saturating_sub(failing.last) >= FORGET_AFTER && made > Some(failing.last);
            if commits.failing.as_ref().is_some_and(old) {
                commits.failing = None;
            }
        }
    }

    fn has_committed(&self) -> bool {
        lock(&self.receipts).made.is_some() || lock(&self.steps).made.is_some()
    }

    fn commits(&self, kind: RowKind) -> &Mutex<Commits> {
        match kind {
            RowKind::Receipt => &self.receipts,
            RowKind::Step => &self.steps,
        }
    }
}

/// Told from memory.
fn blind(now: Time, since: Time, why: &str) -> Message {
    Message {
        id: format!("blind-{}", now.millis()),
        incident: None,
        folded: Vec::new(),
        moment: Moment::Blind,
        urgency: Urgency::Page,
        severity: "critical".to_owned(),
        title: "backout is BLIND: the journal cannot commit".to_owned(),
        text: format!(
            "since {since} the journal does not commit ({why}): alerts are refused with 503, or nothing is decided; nothing is \
             rolled back"
        ),
        target: None,
        policy: None,
        to: Vec::new(),
        labels: BTreeMap::new(),
        about: About::default(),
        at: now,
    }
}

/// Everybody who was told of the blindness hears that it is over.
fn sees_again(now: Time, since: Time) -> Message {
    Message {
        id: format!("blind-over-{}", now.millis()),
        moment: Moment::Closed,
        urgency: Urgency::Announce,
        severity: "info".to_owned(),
        title: "backout sees again: the journal commits".to_owned(),
        text: format!("since {since} the journal did not commit; it does again, and what waited is decided now"),
        ..blind(now, since, "")
    }
}

/// A commit under way; forgotten with its future.
struct Begun<'a> {
    commits: &'a Mutex<Commits>,
    number: u64,
    at: Duration,
}

impl<'a> Begun<'a> {
    fn at(commits: &'a Mutex<Commits>, at: Duration) -> Self {
        let mut all = lock(commits);
        all.begun += 1;
        let number = all.begun;
        all.under_way.insert(number, at);
        Self { commits, number, at }
    }

    fn ended<T>(&self, outcome: &Result<T, StoreError>) {
        let mut all = lock(self.commits);
        match outcome {
            Ok(_) => {
                all.failing = None;
                all.made = all.made.max(Some(self.at));
            }
            Err(error) => {
                let at = self.at;
                let failing = all.failing.get_or_insert_with(|| Failing { first: at, last: at, why: error.to_string() });
                failing.last = failing.last.max(at);
            }
        }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        lock(self.commits).under_way.remove(&self.number);
    }
}

/// Held for operations on plain data only, which leave nothing half done.
fn lock(commits: &Mutex<Commits>) -> MutexGuard<'_, Commits> {
    commits.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store for Lookout {
    fn append(&self, kind: RowKind, at: Time, body: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
        let begun = Begun::at(self.commits(kind), self.clock.elapsed());
        // Called at once: rows are numbered in the order of the calls.
        let appended = self.store.append(kind, at, body);
        Box::pin(async move {
            let outcome = appended.await;
            begun.ended(&outcome);
            outcome
        })
    }

    fn snapshot(&self, through: u64, at: Time, body: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.snapshot(through, at, body)
    }

    fn latest_snapshot(&self) -> BoxFuture<'_, Result<Option<(u64, Bytes)>, StoreError>> {
        self.store.latest_snapshot()
    }

    fn read_after(&self, seq: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        self.store.read_after(seq, limit)
    }

    fn keep_template(&self, digest: Digest, at: Time, template: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.keep_template(digest, at, template)
    }

    fn template(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        self.store.template(digest)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::model::{Delivery, IncidentId};
    use crate::simulate::MemoryStore;

    /// A thousand times faster.
    struct Fast(tokio::time::Instant);

    impl Clock for Fast {
        fn now(&self) -> Time {
            Time::from_millis(0) + 1000 * self.0.elapsed()
        }

        fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
            Box::pin(tokio::time::sleep(at.since(self.now()) / 1000))
        }
    }

    /// What people hear.
    #[derive(Debug)]
    enum Word {
        Message(Box<Message>),
        Ended(Option<IncidentId>),
    }

    struct People(mpsc::UnboundedSender<Word>);

    impl Notifier for People {
        fn deliver(&self, message: Message) -> BoxFuture<'_, Delivery> {
            let _ = self.0.send(Word::Message(Box::new(message)));
            Box::pin(async { Delivery { delivered: Vec::new(), failed: Vec::new() } })
        }

        fn close_page(&self, incident: Option<IncidentId>) -> BoxFuture<'_, ()> {
            let _ = self.0.send(Word::Ended(incident));
            Box::pin(async {})
        }
    }

    /// The next message.
    async fn message(heard: &mut mpsc::UnboundedReceiver<Word>) -> Message {
        match heard.recv().await {
            Some(Word::Message(message)) => *message,
            other => panic!("expected a message, heard {other:?}"),
        }
    }

    async fn ended(heard: &mut mpsc::UnboundedReceiver<Word>) {
        let word = heard.recv().await;
        assert!(matches!(word, Some(Word::Ended(None))), "expected the end of the page, heard {word:?}");
    }

    /// One that never answers.
    struct Hung(MemoryStore);

    impl Store for Hung {
        fn append(&self, _: RowKind, _: Time, _: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
            Box::pin(std::future::pending())
        }
        fn snapshot(&self, through: u64, at: Time, body: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
            self.0.snapshot(through, at, body)
        }
        fn latest_snapshot(&self) -> BoxFuture<'_, Result<Option<(u64, Bytes)>, StoreError>> {
            self.0.latest_snapshot()
        }
        fn read_after(&self, seq: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
            self.0.read_after(seq, limit)
        }
        fn keep_template(&self, digest: Digest, at: Time, template: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
            self.0.keep_template(digest, at, template)
        }
        fn template(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
            self.0.template(digest)
        }
    }

    fn watched(store: Arc<dyn Store>) -> (Arc<Lookout>, Arc<Fast>, mpsc::UnboundedReceiver<Word>) {
        let clock = Arc::new(Fast(tokio::time::Instant::now()));
        let lookout = Arc::new(Lookout::new(store, Arc::clone(&clock) as Arc<dyn Clock>));
        let (told, heard) = mpsc::unbounded_channel();
        tokio::spawn(Arc::clone(&lookout).keep(Arc::new(People(told)), CancellationToken::new()));
        (lookout, clock, heard)
    }

    async fn append(lookout: &Lookout, kind: RowKind) -> bool {
        lookout.append(kind, Time::from_millis(0), Bytes::new()).await.is_ok()
    }

    /// A journal that failed to take one receipt, and takes everything since.
    async fn failed_once() -> (Arc<Lookout>, Arc<Fast>, mpsc::UnboundedReceiver<Word>) {
        let store = Arc::new(MemoryStore::default());
        let (lookout, clock, heard) = watched(Arc::clone(&store) as Arc<dyn Store>);
        store.fail(Some(StoreError::Failed("full".to_owned())));
        assert!(!append(&lookout, RowKind::Receipt).await);
        store.fail(None);
        assert!(append(&lookout, RowKind::Step).await);
        (lookout, clock, heard)
    }

    #[tokio::test]
    async fn receipts_that_fail_are_told_of_though_steps_go_through_and_so_is_the_end() {
        let (lookout, clock, mut heard) = failed_once().await;
        let page = message(&mut heard).await;
        assert_eq!((page.moment, page.urgency), (Moment::Blind, Urgency::Page));
        assert!(page.text.contains("full"), "{}", page.text);
        assert!(clock.now() >= Time::from_millis(30_000), "{}", clock.now());
        assert!(append(&lookout, RowKind::Step).await);
        let again = message(&mut heard).await;
        assert_eq!(again.moment, Moment::Blind, "and again, as long as it goes on");

        assert!(lookout.stuck_for().is_some_and(|time| time >= BLIND_AFTER));
        assert!(append(&lookout, RowKind::Receipt).await);
        assert_eq!(lookout.stuck_for(), None);
        ended(&mut heard).await;
        let over = message(&mut heard).await;
        assert_eq!((over.moment, over.urgency, over.incident), (Moment::Closed, Urgency::Announce, None));
        clock.sleep(2 * REMIND_EVERY).await;
        assert!(heard.try_recv().is_err(), "it sees again");
    }

    #[tokio::test]
    async fn a_receipt_that_nobody_sends_again_does_not_blind_for_ever() {
        let (lookout, clock, mut heard) = failed_once().await;
        assert_eq!(message(&mut heard).await.moment, Moment::Blind);
        assert_eq!(message(&mut heard).await.moment, Moment::Blind, "half an hour later");
        // The engine writes something each minute.
        assert!(append(&lookout, RowKind::Step).await);
        ended(&mut heard).await;
        assert_eq!(message(&mut heard).await.moment, Moment::Closed);
        assert!(clock.now() >= Time::from_millis(0) + FORGET_AFTER);
    }

    #[tokio::test]
    async fn what_the_process_before_left_open_is_ended_once_the_journal_commits() {
        let (lookout, clock, mut heard) = watched(Arc::new(MemoryStore::default()));
        clock.sleep(10 * LOOK_EVERY).await;
        assert!(heard.try_recv().is_err(), "nothing was committed yet");
        assert!(append(&lookout, RowKind::Step).await);
        ended(&mut heard).await;
        clock.sleep(10 * LOOK_EVERY).await;
        assert!(heard.try_recv().is_err(), "once, and nobody is told");
    }

    #[tokio::test]
    async fn a_disk_that_does_not_answer_is_told_of() {
        let (lookout, _, mut heard) = watched(Arc::new(Hung(MemoryStore::default())));
        let waiting = Arc::clone(&lookout);
        let commit = tokio::spawn(async move { append(&waiting, RowKind::Step).await });
        assert!(message(&mut heard).await.text.contains("does not answer"));
        commit.abort();
    }
}
