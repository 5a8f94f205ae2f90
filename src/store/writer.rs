//! The one thread that writes the journal: group commit, and upkeep (checkpoints, retention) while nobody waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use bytes::Bytes;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior, params};
use tokio::sync::oneshot;

use super::folder::Folder;
use super::open::{self, OpenError};
use super::reader::failed;
use super::sqlite::{Counters, SqliteOptions};
use crate::model::{Digest, Time};
use crate::ports::{RowKind, StoreError};

pub(super) const KIND_RECEIPT: i64 = 1;
pub(super) const KIND_STEP: i64 = 2;

/// How many writes one transaction takes at most.
const BATCH: usize = 1024;
/// And how many bytes: a transaction of large bodies must not make everybody wait.
const BATCH_BYTES: usize = 16 << 20;
/// How long the queue must be empty before upkeep begins.
const IDLE: Duration = Duration::from_millis(200);
/// The pause between two steps of upkeep, for writes to come in between.
const BREATH: Duration = Duration::from_millis(5);
/// Bytes in the write-ahead log after which it is folded in when idle.
const CHECKPOINT_IDLE: usize = 4 << 20;
/// Bytes in the write-ahead log after which it is folded in even under load.
const CHECKPOINT_BUSY: usize = 48 << 20;
/// Rows looked at in one step of retention.
const RETENTION_STEP: i64 = 256;
/// After how many rows retention is looked at again.
const RETENTION_EVERY: u64 = 4096;
/// Under load, a step of retention for so many rows or bytes written: it drops more than came in, so that a queue that is never
/// empty does not make the journal grow.
const STEP_EVERY_ROWS: u64 = 64;
const STEP_EVERY_BYTES: usize = 1 << 20;
/// And how many bytes a step drops, at least; a single row may be more.
const STEP_BYTES: i64 = 4 << 20;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A write, with who waits for it.
pub(super) enum Write {
    /// One row.
    Append { kind: RowKind, at: Time, body: Bytes, reply: Reply<u64> },
    /// The book as of a row.
    Snapshot { through: u64, at: Time, body: Bytes, reply: Reply<()> },
    /// A raw template.
    Template { digest: Digest, at: Time, body: Bytes, reply: Reply<()> },
}

impl Write {
    fn len(&self) -> usize {
        match self {
            Self::Append { body, .. } | Self::Snapshot { body, .. } | Self::Template { body, .. } => body.len(),
        }
    }

    /// Tells the waiter. One that has gone away is no matter.
    fn answer(self, outcome: Result<u64, StoreError>) {
        match self {
            Self::Append { reply, .. } => drop(reply.send(outcome)),
            Self::Snapshot { reply, .. } | Self::Template { reply, .. } => drop(reply.send(outcome.map(drop))),
        }
    }
}

pub(super) struct Writer {
    connection: Connection,
    queue: Receiver<Write>,
    options: SqliteOptions,
    counters: Arc<Counters>,
    /// The number of the next row.
    next: u64,
    /// The time of the last write: what ages are measured from, so that this thread needs no clock.
    last_at: Option<Time>,
    batch: Vec<Write>,
    wal_bytes: usize,
    rows_since_retention: u64,
    retention_due: bool,
    /// Written since the last step of retention.
    since_step: (u64, usize),
    /// Dropped after the connection: the folder is free once the database is closed.
    folder: Arc<Folder>,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        folder: Arc<Folder>,
        queue: Receiver<Write>,
        options: SqliteOptions,
        counters: Arc<Counters>,
    ) -> Result<Self, OpenError> {
        let path = folder.database();
        let because = |error: rusqlite::Error| OpenError::Sqlite { path: path.clone(), why: error.to_string() };
        // Retention never passes the newest snapshot, so that its number and the rows' give the last one ever used.
        let sql = "SELECT max(coalesce((SELECT max(seq) FROM journal), 0), coalesce((SELECT max(through) FROM snapshots), 0))";
        let last: i64 = connection.query_row(sql, [], |row| row.get(0)).map_err(because)?;
        limit_pages(&connection, &options).map_err(because)?;
        Ok(Self {
            connection,
            queue,
            options,
            counters,
            next: last.unsigned_abs() + 1,
            last_at: None,
            batch: Vec::with_capacity(BATCH),
            wal_bytes: CHECKPOINT_IDLE,
            rows_since_retention: 0,
            retention_due: true,
            since_step: (0, 0),
            folder,
        })
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let mut pause = Some(IDLE);
        loop {
            let first = match pause {
                Some(pause) => self.queue.recv_timeout(pause),
                None => self.queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match first {
                Ok(first) => {
                    self.gather(first);
                    self.commit();
                    if self.wal_bytes >= CHECKPOINT_BUSY || self.rows_since_retention >= RETENTION_EVERY {
                        self.upkeep();
                    } else if self.since_step.0 >= STEP_EVERY_ROWS || self.since_step.1 >= STEP_EVERY_BYTES {
                        self.drop_some();
                    }
                    pause = Some(IDLE);
                }
                Err(RecvTimeoutError::Timeout) => pause = self.upkeep().then_some(BREATH),
                Err(RecvTimeoutError::Disconnected) => return self.close(),
            }
        }
    }

    /// Takes what waits already, up to the bounds of a transaction.
    fn gather(&mut self, first: Write) {
        let mut bytes = first.len();
        self.batch.push(first);
        while self.batch.len() < BATCH && bytes < BATCH_BYTES {
            let Ok(write) = self.queue.try_recv() else { break };
            bytes += write.len();
            self.batch.push(write);
        }
        self.wal_bytes += bytes;
        self.since_step.1 += bytes;
    }

    /// One transaction for the whole batch; every waiter is answered after it.
    fn commit(&mut self) {
        match self.transact() {
            Ok((outcomes, rows)) => {
                self.next += rows;
                self.rows_since_retention += rows;
                self.since_step.0 += rows;
                // Page headers, indexes, and the pages that a commit rewrites: an estimate is enough.
                self.wal_bytes += 4 * 4096 + self.batch.len() * 64;
                self.counters.commits.fetch_add(1, Ordering::Relaxed);
                self.counters.rows.fetch_add(rows, Ordering::Relaxed);
                for (write, outcome) in self.batch.drain(..).zip(outcomes) {
                    if matches!(write, Write::Snapshot { .. }) {
                        self.retention_due = true;
                    }
                    write.answer(outcome);
                }
            }
            Err(error) => {
                self.undo();
                self.counters.failed_commits.fetch_add(1, Ordering::Relaxed);
                if let Some(failures) = &self.options.commit_failures {
                    failures.inc();
                }
                // A full disk may have room again once old rows are gone.
                self.retention_due = true;
                let why = failed(error);
                for write in self.batch.drain(..) {
                    write.answer(Err(why.clone()));
                }
            }
        }
    }

    fn transact(&mut self) -> rusqlite::Result<(Vec<Result<u64, StoreError>>, u64)> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut outcomes = Vec::with_capacity(self.batch.len());
        let mut next = self.next;
        for write in &self.batch {
            let outcome = match write {
                Write::Append { kind, at, body, .. } => {
                    append(&transaction, next, *kind, *at, body)?;
                    self.last_at = Some(*at);
                    next += 1;
                    Ok(next - 1)
                }
                Write::Snapshot { through, .. } if *through >= next => {
                    Err(StoreError::Failed(format!("a snapshot of row {through}, which is not in the journal, was refused")))
                }
                Write::Snapshot { through, at, body, .. } => snapshot(&transaction, *through, *at, body).map(|()| Ok(0))?,
                Write::Template { digest, at, body, .. } => {
                    template(&transaction, digest, *at, body, self.options.max_templates).map(|()| Ok(0))?
                }
            };
            outcomes.push(outcome);
        }
        transaction.commit()?;
        Ok((outcomes, next - self.next))
    }

    /// Makes sure that nothing of a failed transaction is left open. SQLite has mostly rolled back by itself.
    fn undo(&mut self) {
        if self.connection.is_autocommit() || self.connection.execute_batch("ROLLBACK").is_ok() {
            return;
        }
        if let Ok(connection) = open::connect(&self.folder.database())
            && limit_pages(&connection, &self.options).is_ok()
        {
            self.connection = connection;
        }
    }

    /// One step of upkeep; true when there is more to do.
    fn upkeep(&mut self) -> bool {
        if self.wal_bytes >= CHECKPOINT_IDLE {
            self.wal_bytes = 0;
            let done = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            self.note(done);
        }
        if self.rows_since_retention >= RETENTION_EVERY {
            self.rows_since_retention = 0;
            self.retention_due = true;
        }
        self.drop_some() || self.wal_bytes >= CHECKPOINT_IDLE
    }

    /// One step of retention, where one is due; true when another one is.
    fn drop_some(&mut self) -> bool {
        self.since_step = (0, 0);
        if !self.retention_due {
            return false;
        }
        let dropped = self.retain();
        self.retention_due = matches!(dropped, Ok(rows) if rows > 0);
        if let Ok(rows) = dropped {
            self.counters.dropped_rows.fetch_add(rows, Ordering::Relaxed);
        }
        self.note(dropped.map(drop));
        self.retention_due
    }

    fn note(&self, done: rusqlite::Result<()>) {
        if done.is_err() {
            self.counters.failed_upkeep.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Drops some of the oldest rows that are too old or too much, never beyond the newest snapshot. Tells how many.
    fn retain(&mut self) -> rusqlite::Result<u64> {
        let number = |sql: &str| self.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let pages = number("PRAGMA page_count")? - number("PRAGMA freelist_count")?;
        let used = u64::try_from(pages).unwrap_or(0) * 4096;
        self.counters.used_bytes.store(used, Ordering::Relaxed);
        let through = number("SELECT coalesce(max(through), 0) FROM snapshots")?;
        let too_much = used > self.options.max_bytes;
        let cutoff = self.last_at.map_or(Time::from_millis(i64::MIN), |now| now - self.options.max_age);
        let mut last = None;
        {
            let mut bytes = 0;
            let sql = "SELECT seq, at, length(body) FROM journal WHERE seq <= ?1 ORDER BY seq LIMIT ?2";
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query(params![through, RETENTION_STEP])?;
            while let Some(row) = rows.next()? {
                if bytes >= STEP_BYTES || (!too_much && row.get::<_, i64>(1)? >= cutoff.millis()) {
                    break;
                }
                bytes += row.get::<_, i64>(2)?;
                last = Some(row.get::<_, i64>(0)?);
            }
        }
        let Some(last) = last else { return Ok(0) };
        let dropped = self.connection.execute("DELETE FROM journal WHERE seq <= ?1", [last]);
        if dropped.is_err() {
            self.undo();
        }
        self.wal_bytes += 64 * 4096;
        dropped.map(|rows| rows as u64)
    }

    /// Folds the write-ahead log in and lets the folder go.
    fn close(self) {
        let Self { connection, folder, .. } = self;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).ok();
        connection.close().ok();
        drop(folder);
    }
}

fn append(connection: &Connection, seq: u64, kind: RowKind, at: Time, body: &[u8]) -> rusqlite::Result<()> {
    let kind = match kind {
        RowKind::Receipt => KIND_RECEIPT,
        RowKind::Step => KIND_STEP,
    };
    let sql = "INSERT INTO journal (seq, kind, at, body) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(sql)?.execute(params![seq.cast_signed(), kind, at.millis(), body]).map(drop)
}

fn snapshot(connection: &Connection, through: u64, at: Time, body: &[u8]) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO snapshots (through, at, body) VALUES (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute(params![through.cast_signed(), at.millis(), body])?;
    let sql = "DELETE FROM snapshots WHERE through NOT IN (SELECT through FROM snapshots ORDER BY through DESC LIMIT 2)";
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

/// Keeps a template, or notes (to the day) that a known one is still in use: the least recently used go first.
fn template(connection: &Connection, digest: &Digest, at: Time, body: &[u8], most: u32) -> rusqlite::Result<()> {
    let sql = "INSERT INTO templates (digest, at, body) VALUES (?1, ?2, ?3)
               ON CONFLICT (digest) DO UPDATE SET at = excluded.at WHERE excluded.at > at + 86400000";
    let changed = connection.prepare_cached(sql)?.execute(params![digest.0, at.millis(), body])?;
    if changed > 0 {
        let sql = "DELETE FROM templates WHERE digest IN
                   (SELECT digest FROM templates ORDER BY at DESC, digest LIMIT -1 OFFSET ?1)";
        connection.prepare_cached(sql)?.execute([most])?;
    }
    Ok(())
}

fn limit_pages(connection: &Connection, options: &SqliteOptions) -> rusqlite::Result<()> {
    match options.page_limit {
        Some(pages) => connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())),
        None => Ok(()),
    }
}
