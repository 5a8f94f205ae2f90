//! The embedded journal as the engine sees it: one writer thread, one reader thread, a bounded queue before each. No SQL.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::folder::Folder;
use super::open::{self, OpenError};
use super::reader::{Read, Reader};
use super::writer::{Write, Writer};
use crate::metrics::Counter;
use crate::model::{Digest, Time};
use crate::ports::{Row, RowKind, Store, StoreError};

/// How much is kept, and how much may wait.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// How many writes may wait; above it `StoreError::Full`.
    pub queue: usize,
    /// Rows behind the newest snapshot are dropped when they are older than this.
    pub max_age: Duration,
    /// Above this size rows behind the newest snapshot are dropped, oldest first. The file itself does not shrink.
    pub max_bytes: u64,
    /// How many raw templates are kept, newest first.
    pub max_templates: u32,
    /// The database may never have more pages (of 4 KiB) than this; a write that needs more fails as on a full disk.
    pub page_limit: Option<u32>,
    /// Counted up with every transaction that fails.
    pub commit_failures: Option<Counter>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            queue: 4096,
            max_age: Duration::from_secs(90 * 24 * 3600),
            max_bytes: 2 << 30,
            max_templates: 2000,
            page_limit: None,
            commit_failures: None,
        }
    }
}

/// What the journal has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SqliteStats {
    /// Transactions committed.
    pub commits: u64,
    /// Rows committed.
    pub rows: u64,
    /// Transactions that failed; all of their waiters were told.
    pub failed_commits: u64,
    /// Writes refused because the queue was full.
    pub refused: u64,
    /// Rows dropped because of age or size.
    pub dropped_rows: u64,
    /// Checkpoints and retention steps that failed; they are tried again.
    pub failed_upkeep: u64,
    /// Bytes in use in the database file, as of the last upkeep.
    pub used_bytes: u64,
}

/// The same, shared with the threads.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) commits: AtomicU64,
    pub(super) rows: AtomicU64,
    pub(super) failed_commits: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) dropped_rows: AtomicU64,
    pub(super) failed_upkeep: AtomicU64,
    pub(super) used_bytes: AtomicU64,
}

/// The journal in a folder of its own. Dropping it commits what waits, folds the write-ahead log in and frees the folder.
#[derive(Debug)]
pub struct SqliteStore {
    /// `None` only while it is dropped: the threads end when the queues do.
    queues: Option<(SyncSender<Write>, SyncSender<Read>)>,
    threads: Vec<JoinHandle<()>>,
    counters: Arc<Counters>,
}

impl SqliteStore {
    /// Opens the journal in `dir`, making it if the folder is new. Blocks: it checks the whole file.
    ///
    /// # Errors
    /// Another process has the folder, or what lies there cannot be trusted. Nothing is repaired or started anew by itself.
    pub fn open(dir: &Path, options: SqliteOptions) -> Result<Self, OpenError> {
        let folder = Arc::new(Folder::hold(dir)?);
        let connection = open::open(&folder)?;
        let counters = Arc::new(Counters::default());
        let reading = open::connect_reader(&folder.database())?;
        let (writes, queue) = sync_channel(options.queue.max(1));
        let (reads, questions) = sync_channel(256);
        let writer = Writer::new(connection, Arc::clone(&folder), queue, options, Arc::clone(&counters))?;
        let reader = Reader::new(reading, questions);
        let path = folder.database();
        drop(folder);
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(run);
            spawned.map_err(super::folder::io_error("start the thread of", &path))
        };
        let threads = vec![
            spawn("journal-reader", Box::new(move || reader.run()))?,
            spawn("journal-writer", Box::new(move || writer.run()))?,
        ];
        Ok(Self { queues: Some((writes, reads)), threads, counters })
    }

    /// What it has done so far.
    pub fn stats(&self) -> SqliteStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let c = &*self.counters;
        SqliteStats {
            commits: get(&c.commits),
            rows: get(&c.rows),
            failed_commits: get(&c.failed_commits),
            refused: get(&c.refused),
            dropped_rows: get(&c.dropped_rows),
            failed_upkeep: get(&c.failed_upkeep),
            used_bytes: get(&c.used_bytes),
        }
    }

    /// Queues a write at once, so that rows are numbered in the order of the calls; the future is only the answer.
    fn write<T: Send + 'static>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Write,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let (reply, answer) = oneshot::channel();
        let sent = match &self.queues {
            Some((writes, _)) => send(writes, command(reply)),
            None => Err(StoreError::Closed),
        };
        if sent == Err(StoreError::Full) {
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
        }
        Box::pin(async move {
            sent?;
            answer.await.unwrap_or(Err(StoreError::Closed))
        })
    }

    fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Read,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let (reply, answer) = oneshot::channel();
        let sent = match &self.queues {
            Some((_, reads)) => send(reads, question(reply)),
            None => Err(StoreError::Closed),
        };
        Box::pin(async move {
            sent?;
            answer.await.unwrap_or(Err(StoreError::Closed))
        })
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.queues = None;
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

impl Store for SqliteStore {
    fn append(&self, kind: RowKind, at: Time, body: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.write(|reply| Write::Append { kind, at, body, reply })
    }

    fn snapshot(&self, through: u64, at: Time, body: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(|reply| Write::Snapshot { through, at, body, reply })
    }

    fn latest_snapshot(&self) -> BoxFuture<'_, Result<Option<(u64, Bytes)>, StoreError>> {
        self.read(|reply| Read::LatestSnapshot { reply })
    }

    fn read_after(&self, seq: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        self.read(|reply| Read::After { seq, limit, reply })
    }

    fn keep_template(&self, digest: Digest, at: Time, template: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(|reply| Write::Template { digest, at, body: template, reply })
    }

    fn template(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        self.read(|reply| Read::Template { digest, reply })
    }
}

fn send<T>(queue: &SyncSender<T>, command: T) -> Result<(), StoreError> {
    queue.try_send(command).map_err(|error| match error {
        TrySendError::Full(_) => StoreError::Full,
        TrySendError::Disconnected(_) => StoreError::Closed,
    })
}
