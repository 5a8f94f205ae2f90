//! When a snapshot is due.

/// Rows between snapshots, at least.
const ROWS: u64 = 5_000;
/// Fewer rows than that make one due, too, where they are large: rows behind the newest snapshot cannot be dropped, and the least
/// that `retention.size` can be is four times as much.
const BYTES: usize = 16 << 20;

/// The newest snapshot, and what stands behind it.
///
/// One costs as much as the book is large: it is written once as much again stands behind the last one. Receipts count like steps,
/// although they are not folded: retention keeps them as long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SnapshotDue {
    through: u64,
    size: usize,
    behind: usize,
}

impl SnapshotDue {
    /// A snapshot of so many bytes, through that row, with nothing behind it.
    pub(super) fn taken(through: u64, size: usize) -> Self {
        Self { through, size, behind: 0 }
    }

    /// A row of so many bytes is behind it.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.behind = self.behind.saturating_add(bytes);
    }

    /// The row that the snapshot goes through.
    pub(super) fn through(&self) -> u64 {
        self.through
    }

    /// Whether another one is due, with that row as the last.
    pub(super) fn is_due(&self, last: u64) -> bool {
        self.behind >= self.size && (last.saturating_sub(self.through) >= ROWS || self.behind >= BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_rows_count_by_their_number() {
        let mut due = SnapshotDue::taken(10, 100);
        due.wrote(100);
        assert!(!due.is_due(10 + ROWS - 1));
        assert!(due.is_due(10 + ROWS));
    }

    #[test]
    fn large_rows_count_by_their_bytes() {
        let mut due = SnapshotDue::taken(10, 100);
        due.wrote(BYTES - 1);
        assert!(!due.is_due(11));
        due.wrote(1);
        assert!(due.is_due(11), "one row of a webhook's largest body after the other would pass `retention.size`");
    }

    #[test]
    fn a_large_book_is_not_written_for_little() {
        let mut due = SnapshotDue::taken(0, 3 * BYTES);
        due.wrote(3 * BYTES - 1);
        assert!(!due.is_due(10 * ROWS));
        due.wrote(1);
        assert!(due.is_due(10 * ROWS));
    }
}
