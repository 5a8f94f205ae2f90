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
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A journal whose commits are watched.
pub struct Lookout {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    receipts: Mutex<Commits>,
    steps: Mutex<Commits>,
}

/// The commits of one kind of row.
#[derive(Default)]
struct Commits {
    /// Begun and not answered.
    under_way: BTreeMap<u64, Time>,
    begun: u64,
    /// When the first one was begun that failed, with none since that did not.
    failing: Option<(Time, String)>,
}

impl Lookout {
    /// Watches a journal.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, receipts: Mutex::default(), steps: Mutex::default() }
    }

    /// Tells people, for as long as the service runs, when nothing can be remembered.
    pub async fn keep(self: Arc<Self>, notifier: Arc<dyn Notifier>, stop: CancellationToken) {
        let mut told: Option<Time> = None;
        while stop.run_until_cancelled(self.clock.sleep_until(self.clock.now() + LOOK_EVERY)).await.is_some() {
            let now = self.clock.now();
            match self.stuck() {
                Some((since, why)) if now.since(since) >= BLIND_AFTER => {
                    if told.is_none_or(|at| now.since(at) >= REMIND_EVERY) {
                        told = Some(now);
                        tracing::error!(%since, why, "the journal does not commit");
                        stop.run_until_cancelled(notifier.deliver(blind(now, since, &why))).await;
                    }
                }
                Some(_) => {}
                None => told = None,
            }
        }
    }

    /// Since when it does not commit, and why.
    fn stuck(&self) -> Option<(Time, String)> {
        let of = |commits: &Mutex<Commits>| {
            let commits = lock(commits);
            let oldest = commits.under_way.values().min().map(|at| (*at, "it does not answer".to_owned()));
            [commits.failing.clone(), oldest].into_iter().flatten().min()
        };
        [of(&self.receipts), of(&self.steps)].into_iter().flatten().min()
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
        folded: Vec::new(),
        about: About::default(),
        at: now,
    }
}

/// A commit under way; forgotten with its future.
struct Begun<'a> {
    commits: &'a Mutex<Commits>,
    number: u64,
    at: Time,
}

impl<'a> Begun<'a> {
    fn at(commits: &'a Mutex<Commits>, at: Time) -> Self {
        let mut all = lock(commits);
        all.begun += 1;
        let number = all.begun;
        all.under_way.insert(number, at);
        Self { commits, number, at }
    }

    fn ended<T>(&self, outcome: &Result<T, StoreError>) {
        let mut all = lock(self.commits);
        match outcome {
            Ok(_) => all.failing = None,
            Err(error) => {
                all.failing.get_or_insert_with(|| (self.at, error.to_string()));
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
        let begun = Begun::at(self.commits(kind), self.clock.now());
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

    struct Told(mpsc::UnboundedSender<Message>);

    impl Notifier for Told {
        fn deliver(&self, message: Message) -> BoxFuture<'_, Delivery> {
            let _ = self.0.send(message);
            Box::pin(async { Delivery { delivered: Vec::new(), failed: Vec::new() } })
        }

        fn close_page(&self, _: IncidentId) -> BoxFuture<'_, ()> {
            Box::pin(async {})
        }
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

    fn watched(store: Arc<dyn Store>) -> (Arc<Lookout>, Arc<Fast>, mpsc::UnboundedReceiver<Message>) {
        let clock = Arc::new(Fast(tokio::time::Instant::now()));
        let lookout = Arc::new(Lookout::new(store, Arc::clone(&clock) as Arc<dyn Clock>));
        let (told, heard) = mpsc::unbounded_channel();
        tokio::spawn(Arc::clone(&lookout).keep(Arc::new(Told(told)), CancellationToken::new()));
        (lookout, clock, heard)
    }

    async fn append(lookout: &Lookout, kind: RowKind) -> bool {
        lookout.append(kind, Time::from_millis(0), Bytes::new()).await.is_ok()
    }

    #[tokio::test]
    async fn receipts_that_fail_are_told_of_though_steps_go_through() {
        let store = Arc::new(MemoryStore::default());
        let (lookout, clock, mut heard) = watched(Arc::clone(&store) as Arc<dyn Store>);
        store.fail(Some(StoreError::Failed("full".to_owned())));
        assert!(!append(&lookout, RowKind::Receipt).await);
        store.fail(None);
        assert!(append(&lookout, RowKind::Step).await);
        let message = heard.recv().await.expect("a message");
        assert_eq!((message.moment, message.urgency), (Moment::Blind, Urgency::Page));
        assert!(message.text.contains("full"), "{}", message.text);
        assert!(clock.now() >= Time::from_millis(30_000), "{}", clock.now());
        assert!(append(&lookout, RowKind::Step).await);
        heard.recv().await.expect("and again, as long as it goes on");

        assert!(append(&lookout, RowKind::Receipt).await);
        clock.sleep_until(clock.now() + 2 * REMIND_EVERY).await;
        assert!(heard.try_recv().is_err(), "it sees again");
    }

    #[tokio::test]
    async fn a_disk_that_does_not_answer_is_told_of() {
        let (lookout, _, mut heard) = watched(Arc::new(Hung(MemoryStore::default())));
        let waiting = Arc::clone(&lookout);
        let commit = tokio::spawn(async move { append(&waiting, RowKind::Step).await });
        assert!(heard.recv().await.expect("a message").text.contains("does not answer"));
        commit.abort();
    }
}
