//! What is forgotten, and when: closed incidents, after a time, and the oldest of very many before that. The journal keeps what happened.

use std::time::Duration;

use super::book::Book;
use super::incident::Phase;
use super::limits::Limits;
use crate::model::Time;

/// How often it is looked for: looking costs as much as forgetting.
const EVERY: Duration = Duration::from_secs(60 * 60);
/// Closed incidents that are kept, at some kilobytes each: whoever may send alerts must not be able to fill our memory with what is over.
const KEPT: usize = 10_000;
/// However many there are, what was closed so lately is kept: brakes look back at it.
const LATELY: Duration = Duration::from_secs(60 * 60);

/// What was closed before this is to be forgotten now, if it is time to look.
pub(super) fn due(book: &Book, limits: &Limits, now: Time) -> Option<Time> {
    let every = EVERY.min(limits.forget_after);
    if book.forgot_at.is_some_and(|at| now.since(at) < every) {
        return None;
    }
    let mut closed: Vec<Time> = book
        .incidents
        .values()
        .filter_map(|incident| match incident.phase {
            Phase::Closed { at, .. } => Some(at),
            _ => None,
        })
        .collect();
    let old = now - limits.forget_after;
    let surplus = closed.len().checked_sub(KEPT).filter(|surplus| *surplus > 0);
    Some(surplus.map_or(old, |surplus| {
        // The oldest that is kept.
        let (_, at, _) = closed.select_nth_unstable(surplus);
        old.max((*at).min(now - LATELY))
    }))
}

#[cfg(test)]
mod tests {
    use super::super::brakes::fixture::{World, hours, minutes};
    use super::super::incident::Incident;
    use super::*;
    use crate::model::{IncidentId, Reason};

    /// A book with that many closed incidents, ten each second until `last` before now, and one that is open.
    fn book(many: usize, last: Duration) -> (Book, Time) {
        let World { mut book, incident, now, .. } = World::new();
        for number in 0..many {
            let id = IncidentId(format!("i{number:012}"));
            let at = now - last - Duration::from_millis(100) * (many - number) as u32;
            let closed = Phase::Closed { at, reason: Reason::Recovered };
            book.incidents.insert(id.clone(), Incident { id, phase: closed, ..incident.clone() });
        }
        book.incidents.insert(incident.id.clone(), incident);
        (book, now)
    }

    #[test]
    fn it_looks_once_an_hour_and_more_often_where_little_is_kept() {
        let (mut book, now) = book(0, Duration::ZERO);
        let limits = Limits::default();
        assert_eq!(due(&book, &limits, now), Some(now - limits.forget_after), "it never looked");
        book.forgot_at = Some(now - minutes(59));
        assert_eq!(due(&book, &limits, now), None);
        assert_eq!(due(&book, &limits, now + minutes(1)), Some(now + minutes(1) - limits.forget_after));
        let short = Limits { forget_after: minutes(1), ..limits };
        assert_eq!(due(&book, &short, now), Some(now - minutes(1)), "what is kept for a minute does not wait for an hour");
    }

    #[test]
    fn the_oldest_of_very_many_go_first() {
        let limits = Limits::default();
        let (book, now) = book(KEPT + 5, hours(2));
        let before = due(&book, &limits, now).expect("it looks");
        let gone = |incident: &&Incident| matches!(incident.phase, Phase::Closed { at, .. } if at < before);
        assert_eq!(book.incidents.values().filter(gone).count(), 5);
    }

    #[test]
    fn as_many_as_are_kept_all_stay() {
        let limits = Limits::default();
        let (book, now) = book(KEPT, hours(2));
        assert_eq!(due(&book, &limits, now), Some(now - limits.forget_after));
    }

    #[test]
    fn what_was_closed_lately_stays_however_many_there_are() {
        let limits = Limits::default();
        let (book, now) = book(KEPT + 5, Duration::ZERO);
        assert_eq!(due(&book, &limits, now), Some(now - LATELY));
    }
}
