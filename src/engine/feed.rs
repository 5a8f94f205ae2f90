//! What changed, for who watches. Told after the commit, out of the book; never waits for anybody: who reads too slowly loses what
//! it did not read, and is told so. Decides nothing.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

use super::view::{self, View};
use crate::decide::transition::Event;
use crate::journal::record::{Record, Stamped};
use crate::model::IncidentId;
use crate::ports::{Notice, NoticeId, Question, Subscription};

/// Notices that are kept for who comes back, and that a watcher may be behind.
const KEPT: usize = 1024;
/// After so many batches without a watcher nothing is made any more, until one comes.
const UNWATCHED: usize = 1024;

/// The notices of a running engine.
#[derive(Debug)]
pub(super) struct Feed {
    live: broadcast::Sender<Arc<Notice>>,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    notices: VecDeque<Arc<Notice>>,
    /// Who knows this one, or a later one, can be told all that came after it.
    from: NoticeId,
    last: NoticeId,
    /// Batches since the last watcher left.
    unwatched: usize,
}

impl Feed {
    /// A feed of what comes after that row of the journal.
    pub(super) fn new(row: u64) -> Self {
        let first = NoticeId { row: row.saturating_add(1), place: 0 };
        let last = NoticeId { row, place: 0 };
        let kept = Kept { notices: VecDeque::new(), from: first, last, unwatched: UNWATCHED };
        Self { live: broadcast::Sender::new(KEPT), kept: Mutex::new(kept) }
    }

    /// A watcher comes, who knows everything up to a notice, or comes for the first time.
    pub(super) fn watch(&self, known: Option<NoticeId>) -> Subscription {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.unwatched = 0;
        let live = self.live.subscribe();
        let gap = known.is_some_and(|known| known < kept.from || known > kept.last);
        let missed = known
            .filter(|_| !gap)
            .map_or_else(Vec::new, |known| kept.notices.iter().filter(|notice| notice.id > known).cloned().collect());
        Subscription { gap, missed, live }
    }

    /// Tells what the records of a row changed. The view is of the book with these records in it.
    pub(super) fn tell(&self, row: u64, records: &[Stamped], view: &View<'_>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if self.live.receiver_count() > 0 {
            kept.unwatched = 0;
        } else if kept.unwatched >= UNWATCHED {
            kept.notices.clear();
            kept.last = kept.last.max(NoticeId { row, place: 0 });
            kept.from = NoticeId { row: kept.last.row.saturating_add(1), place: 0 };
            return;
        } else {
            kept.unwatched += 1;
        }
        for (kind, data) in changed(records, view) {
            let place = if row > kept.last.row { 0 } else { kept.last.place.saturating_add(1) };
            kept.last = NoticeId { row: row.max(kept.last.row), place };
            let notice = Arc::new(Notice { id: kept.last, kind, data });
            kept.notices.push_back(Arc::clone(&notice));
            if kept.notices.len() > KEPT
                && let Some(dropped) = kept.notices.pop_front()
            {
                kept.from = dropped.id;
            }
            // Nobody watches: it is kept for who comes back.
            let _ = self.live.send(notice);
        }
    }
}

/// What people see differently after these records.
fn changed(records: &[Stamped], view: &View<'_>) -> Vec<(&'static str, String)> {
    let mut told = Vec::new();
    let mut seen: BTreeSet<&IncidentId> = BTreeSet::new();
    let (mut pauses, mut latches, mut policies) = (false, false, false);
    for stamped in records {
        match &stamped.record {
            Record::Incident { id, event } if is_seen(event) && seen.insert(id) => {
                let row = view.book.incidents.get(id).map(view::row);
                told.extend(row.and_then(|row| serde_json::to_string(&row).ok()).map(|row| ("incident", row)));
            }
            Record::Posted { change } => {
                told.extend(serde_json::to_string(&view::change_row(change)).ok().map(|change| ("change", change)));
            }
            Record::Paused { .. } | Record::Resumed { .. } => pauses = true,
            Record::Latched { .. } | Record::Cleared { .. } => latches = true,
            Record::Loaded { .. } => policies = true,
            _ => {}
        }
    }
    let lists = [
        ("pauses", Question::Pauses, pauses),
        ("latches", Question::Latches, latches),
        ("policies", Question::Policies, policies),
    ];
    for (kind, question, changed) in lists {
        if changed && let Ok(answer) = view.answer(&question) {
            told.push((kind, answer.to_string()));
        }
    }
    told
}

/// Whether the list of incidents may look different after it.
fn is_seen(event: &Event) -> bool {
    !matches!(
        event,
        Event::Asked { .. }
            | Event::Postponed { .. }
            | Event::Wanted { .. }
            | Event::Told { .. }
            | Event::Noted { .. }
            | Event::Prepared { .. }
            | Event::Checked { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::book::Book;
    use crate::decide::limits::Limits;
    use crate::model::Time;
    use crate::policy::types::Policies;

    fn tell(feed: &Feed, row: u64) {
        let (book, policies) = (Book::default(), Policies::default());
        let limits = Limits::default();
        let view = View { book: &book, policies: &policies, refused: None, cluster: None, limits: &limits, now: Time::default() };
        let record = Record::Loaded { hash: row.to_string(), commit: None };
        feed.tell(row, &[Stamped { at: Time::default(), record }], &view);
    }

    fn rows(subscription: &Subscription) -> Vec<u64> {
        subscription.missed.iter().map(|notice| notice.id.row).collect()
    }

    #[test]
    fn who_comes_back_gets_what_it_missed_or_hears_that_it_missed_something() {
        let feed = Feed::new(10);
        let id = |row| NoticeId { row, place: 0 };
        let before = feed.watch(Some(id(9)));
        assert!(before.gap, "before the start");
        for row in 11..=15 {
            tell(&feed, row);
        }
        drop(before);
        let back = feed.watch(Some(id(13)));
        assert_eq!((back.gap, rows(&back)), (false, vec![14, 15]));
        assert!(feed.watch(Some(id(99))).gap, "from another journal");
        let new = feed.watch(None);
        assert_eq!((new.gap, rows(&new)), (false, vec![]));
        for row in 16..16 + KEPT as u64 {
            tell(&feed, row);
        }
        assert!(feed.watch(Some(id(14))).gap);
        assert!(!feed.watch(Some(id(15))).gap, "all that came after the last one dropped is there");
        drop((back, new));
    }

    #[test]
    fn who_reads_too_slowly_delays_nobody_and_is_told() {
        let feed = Feed::new(0);
        let mut slow = feed.watch(None);
        for row in 1..=KEPT as u64 + 5 {
            tell(&feed, row);
        }
        assert!(matches!(slow.live.try_recv(), Err(broadcast::error::TryRecvError::Lagged(5))));
    }

    #[test]
    fn without_watchers_nothing_is_made() {
        let feed = Feed::new(0);
        tell(&feed, 1);
        assert!(feed.watch(Some(NoticeId { row: 0, place: 0 })).gap, "nobody was there");
        tell(&feed, 2);
        assert_eq!(rows(&feed.watch(Some(NoticeId { row: 2, place: 0 }))), Vec::<u64>::new());
        for row in 3..10 + UNWATCHED as u64 {
            tell(&feed, row);
        }
        assert!(feed.watch(Some(NoticeId { row: 5, place: 0 })).gap, "and the last one left long ago");
        assert!(feed.kept.lock().expect("a lock").notices.is_empty());
    }
}
