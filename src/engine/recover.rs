//! Recovery: the newest snapshot, then every row after it, through the same transition functions as live.

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
    let (mut book, through) = match store.latest_snapshot().await? {
        Some((through, bytes)) => {
            let book = snapshot::decode(&bytes).map_err(|source| RecoverError::Row { seq: through, source })?;
            (book, through)
        }
        None => (Book::default(), 0),
    };
    // Receipts may lie before the snapshot and be unconsumed; steps before it are in it.
    let mut seq = through.min(book.consumed_through);
    let mut receipts = Vec::new();
    let mut rows = store.read_after(seq, PAGE).await?;
    while let Some(last) = rows.last() {
        seq = last.seq;
        // Read while these are folded.
        let next = store.read_after(seq, PAGE);
        for row in rows {
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
    Ok(Recovered { book, seq: seq.max(through), receipts })
}
