//! The watch heard nothing while we were alive. `stale_facts` holds as long as that lasts; afterwards it is a gap like any other:
//! what the lists say then tells nothing of what happened meanwhile.

use std::time::Duration;

use super::book::{Book, Gap};
use super::effect::Step;
use super::ledger;
use crate::journal::record::{Record, Stamped};
use crate::model::Time;

/// The watch heard nothing for longer: what happened was not watched. Not a setting (folding an old journal must give the same
/// book), and as much as `stale_facts` allows by default.
const UNHEARD: Duration = Duration::from_secs(150);
/// How often it is written down that the watch hears. Together with the pauses of a healthy watch (the API server says something
/// each minute) and of the loop (half a minute) it must be less than what counts as silence.
const EVERY: Duration = Duration::from_secs(30);

/// The watch heard something at that time.
pub(super) fn heard(book: &Book, at: Time, now: Time, step: &mut Step) {
    if book.watch_heard_at.is_none_or(|known| at.since(known) >= EVERY) {
        step.records.push(Stamped { at: now, record: Record::WatchHeard { at } });
    }
}

impl Book {
    /// The watch hears.
    pub(super) fn watch_heard(&mut self, at: Time) {
        self.unheard(at);
        self.watch_heard_at = self.watch_heard_at.max(Some(at));
    }

    /// Notes the silence until then, if it was one.
    pub(super) fn unheard(&mut self, to: Time) {
        let Some(from) = self.watch_heard_at.filter(|from| to.since(*from) > UNHEARD) else { return };
        self.targets.values_mut().for_each(|history| ledger::unwatched(history, from, to));
        self.gap(Gap { from: Some(from), to, unwatched: true });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, TargetId, TargetRef, WatchEvent};

    fn at(second: i64) -> Time {
        Time::from_millis(1_772_442_000_000 + 1000 * second)
    }

    /// What happens at a second. In between the loop writes something each minute.
    fn lived(records: &[(i64, Record)]) -> Book {
        let mut book = Book::default();
        let mut fold = |second: i64, record: &Record| {
            book.fold(&Stamped { at: at(second), record: record.clone() }).expect("possible");
        };
        let mut before = 0;
        for (second, record) in records {
            if !matches!(record, Record::Started { .. }) {
                (before + 60..*second).step_by(60).for_each(|minute| fold(minute, &Record::Alive));
            }
            fold(*second, record);
            before = *second;
        }
        book
    }

    fn heard(second: i64) -> (i64, Record) {
        (second, Record::WatchHeard { at: at(second) })
    }

    fn started(second: i64) -> (i64, Record) {
        (second, Record::Started { program: "0".to_owned() })
    }

    fn seen(second: i64, relearned: bool) -> (i64, Record) {
        let target = TargetId { at: TargetRef::deployment("shop", "web").expect("valid names"), uid: "u1".to_owned() };
        let event = WatchEvent {
            target,
            release: Digest("v1:a".to_owned()),
            images: Vec::new(),
            replica_set: None,
            first_write: at(0),
            by: None,
            by_us: false,
            available: true,
            relearned,
            landed_at: None,
            gone: false,
        };
        (second, Record::Watched { event: Box::new(event) })
    }

    fn silences(book: &Book) -> Vec<(Option<Time>, Time)> {
        book.gaps.iter().filter(|gap| gap.unwatched).map(|gap| (gap.from, gap.to)).collect()
    }

    #[test]
    fn a_silence_is_a_gap_and_a_pause_for_breath_is_none() {
        let book = lived(&[started(0), heard(10), heard(160), heard(310)]);
        assert_eq!(silences(&book), []);
        let book = lived(&[started(0), heard(10), heard(161)]);
        assert_eq!(silences(&book), [(Some(at(10)), at(161))]);
        let book = lived(&[started(0), heard(151)]);
        assert_eq!(silences(&book), [(Some(at(0)), at(151))], "from the start on, too");
    }

    #[test]
    fn nobody_is_healthy_in_a_silence_whatever_is_told_first() {
        let healthy = |records: &[(i64, Record)]| {
            let book = lived(records);
            let history = book.targets.values().next().expect("seen");
            history.releases[0].healthy_for(at(1100)).as_secs()
        };
        let before = [started(0), heard(0), seen(0, false), heard(100)];
        let told = |after: [(i64, Record); 2]| healthy(&[&before[..], &after].concat());
        assert_eq!(told([heard(1000), seen(1000, true)]), 200, "100 s before it, 100 s after");
        assert_eq!(told([seen(1000, true), heard(1000)]), 200);
        assert_eq!(healthy(&[&before[..], &[heard(200), heard(300)]].concat()), 1100, "no silence");
    }

    #[test]
    fn a_silence_that_a_restart_ends_is_one_and_the_restart_itself_is_none() {
        // Alive until 600, and the watch had been silent since 100.
        let book = lived(&[started(0), heard(100), (600, Record::Alive), started(900), heard(910)]);
        assert_eq!(silences(&book), [(Some(at(100)), at(600))]);
        assert!(book.gaps.contains(&Gap::away(Some(at(600)), at(900))));
        let book = lived(&[started(500), heard(590), (600, Record::Alive), started(900), heard(910)]);
        assert_eq!(silences(&book), []);
    }

    #[test]
    fn it_is_written_down_now_and_then() {
        let book = lived(&[started(0), heard(10)]);
        let written = |second: i64| {
            let mut step = Step::default();
            super::heard(&book, at(second), at(second), &mut step);
            step.records.len()
        };
        assert_eq!((written(39), written(40), written(5)), (0, 1, 0));
    }
}
