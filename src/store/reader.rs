//! The thread that reads the journal, on a connection of its own: a slow reader never holds a commit up. Never writes.

use std::sync::mpsc::Receiver;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use super::writer::{KIND_RECEIPT, KIND_STEP};
use crate::model::{Digest, Time};
use crate::ports::{Row, RowKind, StoreError};

/// An answer ends early once its bodies have this many bytes in all: 1,000 rows of 32 MiB would be the end of us.
const ANSWER_BYTES: usize = 64 << 20;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A question to the journal.
pub(super) enum Read {
    /// The newest snapshot.
    LatestSnapshot { reply: Reply<Option<(u64, Bytes)>> },
    /// Rows after a number.
    After { seq: u64, limit: usize, reply: Reply<Vec<Row>> },
    /// A template by its digest.
    Template { digest: Digest, reply: Reply<Option<Bytes>> },
}

pub(super) struct Reader {
    connection: Connection,
    questions: Receiver<Read>,
}

impl Reader {
    pub(super) fn new(connection: Connection, questions: Receiver<Read>) -> Self {
        Self { connection, questions }
    }

    /// Answers until the queue is closed.
    pub(super) fn run(self) {
        while let Ok(question) = self.questions.recv() {
            match question {
                Read::LatestSnapshot { reply } => drop(reply.send(latest_snapshot(&self.connection))),
                Read::After { seq, limit, reply } => drop(reply.send(after(&self.connection, seq, limit))),
                Read::Template { digest, reply } => drop(reply.send(template(&self.connection, &digest))),
            }
        }
    }
}

/// The newest snapshot.
pub(super) fn latest_snapshot(connection: &Connection) -> Result<Option<(u64, Bytes)>, StoreError> {
    let sql = "SELECT through, body FROM snapshots ORDER BY through DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let found = statement.query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)));
    Ok(found.optional().map_err(failed)?.map(|(through, body)| (through.unsigned_abs(), body.into())))
}

/// Rows after a number.
pub(super) fn after(connection: &Connection, seq: u64, limit: usize) -> Result<Vec<Row>, StoreError> {
    let sql = "SELECT seq, kind, at, body FROM journal WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let (seq, limit) = (i64::try_from(seq).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
    let mut found = statement.query(params![seq, limit]).map_err(failed)?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next().map_err(failed)? {
        let seq = row.get::<_, i64>(0).map_err(failed)?.unsigned_abs();
        let kind = match row.get(1).map_err(failed)? {
            KIND_RECEIPT => RowKind::Receipt,
            KIND_STEP => RowKind::Step,
            other => return Err(StoreError::Failed(format!("row {seq} is of the unknown kind {other}"))),
        };
        let at = Time::from_millis(row.get(2).map_err(failed)?);
        let body = Bytes::from(row.get::<_, Vec<u8>>(3).map_err(failed)?);
        bytes += body.len();
        rows.push(Row { seq, kind, at, body });
        if bytes >= ANSWER_BYTES {
            break;
        }
    }
    Ok(rows)
}

/// A template by its digest.
pub(super) fn template(connection: &Connection, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
    let sql = "SELECT body FROM templates WHERE digest = ?1";
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let found = statement.query_row([&digest.0], |row| row.get::<_, Vec<u8>>(0)).optional();
    Ok(found.map_err(failed)?.map(Bytes::from))
}

/// What a caller is told of an SQLite error.
pub(super) fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::Failed(error.to_string())
}
