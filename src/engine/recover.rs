//! Recovery: the newest snapshot, then every row after it, through the same transition functions as live.

use super::snapshot_due::SnapshotDue;
use crate::decide::book::Book;
use crate::journal::record::{self, DecodeError};
use crate::journal::snapshot;
use crate::model::Time;
use crate::ports::{RowKind, Store, StoreError};

/// Rows read at once.
const PAGE: usize = 1000;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// It cannot be read.
    #[error("the journal cannot be read: {0}")]
    Store(#[from] StoreError),
    /// A row cannot be understood.
    #[error("row {seq} of the journal: {source}")]
    Row {
        /// Which.
        seq: u64,
        /// Why.
        source: DecodeError,
    },
    /// A row contradicts those before it.
    #[error("row {seq} of the journal does not fit those before it: {why}; restore a backup, or move the data folder away")]
    Contradiction {
        /// Which.
        seq: u64,
        /// How.
        why: String,
    },
}

/// What recovery found.
pub(super) struct Recovered {
    /// The book as of the last row.
    pub(super) book: Book,
    /// The last row.
    pub(super) seq: u64,
    /// The snapshot that it began with, and what stands behind it.
    pub(super) snapshot_due: SnapshotDue,
    /// Receipts that were acknowledged and not consumed: row, time, bytes.
    pub(super) receipts: Vec<(u64, Time, bytes::Bytes)>,
}

/// The book that a journal gives, and its last row: for who only looks.
///
/// # Errors
/// When it cannot be read, or not be understood.
pub async fn remembered(store: &dyn Store) -> Result<(Book, u64), RecoverError> {
    recover(store).await.map(|Recovered { book, seq, .. }| (book, seq))
}

/// Folds the journal.
///
/// # Errors
/// When it cannot be read, or not be understood: nothing is started anew silently.
pub(super) async fn recover(store: &dyn Store) -> Result<Recovered, RecoverError> {
    let (mut book, mut snapshot_due) = match store.latest_snapshot().await? {
        Some((through, bytes)) => {
            let book = snapshot::decode(&bytes).map_err(|source| RecoverError::Row { seq: through, source })?;
            (book, SnapshotDue::taken(through, bytes.len()))
        }
        None => (Book::default(), SnapshotDue::default()),
    };
    let through = snapshot_due.through();
    // Receipts may lie before the snapshot and be unconsumed; steps before it are in it.
    let mut seq = through.min(book.consumed_through);
    let mut receipts = Vec::new();
    let mut rows = store.read_after(seq, PAGE).await?;
    while let Some(last) = rows.last() {
        seq = last.seq;
        // Read while these are folded.
        let next = store.read_after(seq, PAGE);
        for row in rows {
            if row.seq > through {
                snapshot_due.wrote(row.body.len());
            }
            match row.kind {
                RowKind::Receipt => receipts.push((row.seq, row.at, row.body)),
                RowKind::Step if row.seq <= through => {}
                RowKind::Step => {
                    let records = record::decode(&row.body).map_err(|source| RecoverError::Row { seq: row.seq, source })?;
                    for stamped in &records {
                        book.fold(stamped)
                            .map_err(|illegal| RecoverError::Contradiction { seq: row.seq, why: illegal.to_string() })?;
                    }
                }
            }
        }
        receipts.retain(|(seq, _, _)| !book.is_consumed(*seq));
        rows = next.await?;
    }
    Ok(Recovered { book, seq: seq.max(through), snapshot_due, receipts })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::journal::record::{Record, Stamped};
    use crate::simulate::MemoryStore;

    async fn alive(store: &MemoryStore, at: i64) -> usize {
        let at = Time::from_millis(at);
        let row = record::encode(&[Stamped { at, record: Record::Alive }]).expect("a row");
        let size = row.len();
        store.append(RowKind::Step, at, Bytes::from(row)).await.expect("committed");
        size
    }

    async fn receipt(store: &MemoryStore, at: i64) -> usize {
        let body = Bytes::from_static(b"what somebody sent");
        let size = body.len();
        store.append(RowKind::Receipt, Time::from_millis(at), body).await.expect("committed");
        size
    }

    async fn due(store: &MemoryStore) -> SnapshotDue {
        recover(store).await.expect("it can be read").snapshot_due
    }

    fn behind(through: u64, size: usize, bytes: usize) -> SnapshotDue {
        let mut due = SnapshotDue::taken(through, size);
        due.wrote(bytes);
        due
    }

    #[tokio::test]
    async fn what_was_replayed_counts_towards_the_next_snapshot() {
        let store = MemoryStore::default();
        let sizes = alive(&store, 1000).await + alive(&store, 2000).await + receipt(&store, 3000).await;
        assert_eq!(due(&store).await, behind(0, 0, sizes), "none yet, with all of it behind it");
        let book = snapshot::encode(&recover(&store).await.expect("it can be read").book).expect("bytes");
        store.snapshot(3, Time::from_millis(3000), Bytes::from(book.clone())).await.expect("committed");
        let size = alive(&store, 4000).await + receipt(&store, 5000).await;
        assert_eq!(due(&store).await, behind(3, book.len(), size));
    }
}
