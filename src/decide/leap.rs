//! Our clock was set. Deadlines count time that passes, not what a clock reads: whatever our own clock stamped and is compared with
//! the time later moves along. What others stamped stays (onsets, releases, Prometheus' and Alertmanager's times), and so does
//! what people said as a time of day (the end of a pause). Which of the two clocks was right nobody knows: what began around it
//! is for people, as after any time in which we did not look.

use std::sync::Arc;
use std::time::Duration;

use super::book::{Book, Gap, History, Pending};
use super::draft::Draft;
use super::effect::{Context, Input, Step};
use super::events::countdown_again;
use super::fold::STOOD_STILL;
use super::incident::{Attempt, Incident, Member, Phase};
use super::untold::Untold;
use crate::journal::record::{Record, Stamped};
use crate::model::{IncidentId, Time};
use crate::planted::{self, Bug};
use crate::policy::duration;

/// What to step before a start, if what is remembered lies ahead of the clock: it was set back while we were away, by that much at
/// least. One that was set forward looks like a longer absence.
pub fn set_back_while_away(book: &Book, now: Time) -> Option<Input> {
    let alive_at = book.alive_at.filter(|alive_at| *alive_at > now)?;
    Some(Input::ClockSet { by: now.millis().saturating_sub(alive_at.millis()), away: true })
}

/// The clock was set. Who wanted to veto was told a time that is no more: a full countdown again, as after a restart.
pub(super) fn clock_set(ctx: &Context<'_>, book: &Book, now: Time, (by, away): (i64, bool), step: &mut Step) {
    step.records.push(Stamped { at: now, record: Record::ClockSet { by, away } });
    if away {
        // The start takes up everything again.
        return;
    }
    let ids: Vec<IncidentId> = book.open().map(|incident| incident.id.clone()).collect();
    let what = format!("the clock was set {}", words(by));
    for id in ids {
        let Some(mut draft) = Draft::of(ctx, book, now, &id, step) else { continue };
        draft.incident.shift(by);
        draft.incident.untold.iter_mut().for_each(|untold| untold.shift(by));
        draft.note(what.as_str());
        // What is under way may carry times of the old clock: another answer than the one that is awaited is not taken.
        let asked = draft.incident.asked;
        if let Phase::Countdown { until } = draft.incident.phase {
            countdown_again(&mut draft, until, &what);
        }
        if let Some(asked) = asked {
            draft.ask(asked.purpose, asked.tries);
        }
    }
}

fn words(by: i64) -> String {
    let whole = Duration::from_secs(by.unsigned_abs() / 1000);
    format!("{} {}", if by < 0 { "back" } else { "forward" }, duration::format(whole))
}

impl Book {
    /// Folds it; the record is the first of the new clock.
    pub(super) fn clock_set(&mut self, by: i64, away: bool, at: Time) {
        self.shift(by);
        if let Some(from) = self.alive_at.filter(|from| at.since(*from) > STOOD_STILL) {
            self.gap(Gap::away(Some(from), at));
        }
        let doubtful = at - Duration::from_millis(by.unsigned_abs());
        self.gap(Gap::away((!away).then_some(doubtful), at));
        for history in self.targets.values_mut() {
            // Nothing before now is vouched for that one of the clocks says was not watched.
            history.watched_since = history.watched_since.map(|since| since.max(since.shifted(by)).min(at));
            history.shift(by);
        }
    }

    fn shift(&mut self, by: i64) {
        for incident in self.incidents.values_mut() {
            if incident.is_open() {
                incident.shift(by);
            }
            // That goes on when the incident is over.
            if let Some(untold) = &mut incident.untold {
                untold.shift(by);
            }
        }
        self.pending.values_mut().for_each(|pending| pending.shift(by));
        for seen in self.seen.values_mut() {
            move_by(by, [&mut seen.at]);
            move_by(by, seen.resolved_at.as_mut());
        }
        // An end is what somebody said; the begin is when we heard it.
        move_by(by, self.pauses.values_mut().map(|pause| &mut pause.from));
        for latch in self.latches.values_mut() {
            // When what it is about ended is the cluster's time.
            move_by(by, [&mut latch.from]);
            move_by(by, latch.cleared.as_mut().map(|cleared| &mut cleared.at));
        }
        move_by(by, self.wrongs.values_mut().flatten().map(|wrong| &mut wrong.at));
        for gap in &mut self.gaps {
            move_by(by, [&mut gap.to]);
            move_by(by, gap.from.as_mut());
        }
        move_by(by, self.alive_at.as_mut());
        move_by(by, self.watch_heard_at.as_mut());
        move_by(by, self.forgot_at.as_mut());
        // What is filed by its time is filed anew.
        self.reindex();
    }
}

impl Pending {
    fn shift(&mut self, by: i64) {
        move_by(by, [&mut self.received_at, &mut self.due]);
    }
}

impl History {
    /// All but `watched_since`. When a release was written and landed is the API server's time, mostly.
    fn shift(&mut self, by: i64) {
        for release in &mut self.releases {
            move_by(by, release.available_since.as_mut());
            move_by(by, release.last_available.as_mut());
            move_by(by, release.alerts.values_mut());
        }
        for past in &mut self.rollbacks {
            move_by(by, [&mut past.at]);
            move_by(by, past.ended_at.as_mut());
        }
        move_by(by, self.damping.values_mut().flat_map(|damping| damping.flaps.iter_mut().flatten()));
        move_by(by, self.veto_until.as_mut());
    }
}

impl Incident {
    /// Moves every time that our own clock stamped, but for the lines of the report.
    fn shift(&mut self, by: i64) {
        move_by(by, [&mut self.opened_at, &mut self.heard_at]);
        move_by(by, self.located_at.as_mut());
        move_by(by, self.quiet_since.as_mut());
        move_by(by, self.decided_at.as_mut());
        move_by(by, self.rollback_wanted_at.as_mut());
        move_by(by, self.allowed_at.as_mut());
        move_by(by, self.acknowledged.as_mut().map(|(at, _)| at));
        move_by(by, self.vetoed.as_mut().map(|(at, _, _)| at));
        move_by(by, self.asked.as_mut().map(|asked| &mut asked.at));
        move_by(by, self.retry.as_mut().map(|retry| &mut retry.at));
        move_by(by, self.decision.as_mut().map(|decision| &mut Arc::make_mut(decision).at));
        if let Some(page) = &mut self.page {
            move_by(by, [&mut page.sent_at]);
            move_by(by, page.unheard.as_mut());
            move_by(by, page.unlisted_since.as_mut());
            move_by(by, page.opened_at.as_mut());
        }
        self.members.change_all(|member| member.shift(by));
        self.attempts.iter_mut().for_each(|attempt| attempt.shift(by));
        self.phase.shift(by);
    }
}

impl Untold {
    fn shift(&mut self, by: i64) {
        move_by(by, [&mut self.again_at]);
        move_by(by, self.news.iter_mut().map(|news| &mut news.at));
    }
}

impl Member {
    fn shift(&mut self, by: i64) {
        move_by(by, [&mut self.received_at]);
        move_by(by, self.resolved_at.as_mut());
    }
}

impl Attempt {
    fn shift(&mut self, by: i64) {
        move_by(by, [&mut self.intended_at]);
        move_by(by, self.last_intended_at.as_mut());
        move_by(by, self.rolled_back_at.as_mut());
        move_by(by, self.holds_since.as_mut());
        move_by(by, self.tail_until.as_mut());
        move_by(by, self.stage_since.as_mut());
        move_by(by, self.ended.as_mut().map(|(at, _)| at));
    }
}

impl Phase {
    fn shift(&mut self, by: i64) {
        match self {
            Self::Settling { until: at } | Self::Approval { until: at } => move_by(by, [at]),
            Self::Countdown { until } => move_by(by, until.as_mut()),
            Self::Deciding { since }
            | Self::Preparing { since }
            | Self::Redeciding { since }
            | Self::Executing { since, .. }
            | Self::Verifying { since } => move_by(by, [since]),
            Self::Verified | Self::Shadowed | Self::Paged | Self::FixForward | Self::Closed { .. } => {}
        }
    }
}

fn move_by<'a>(by: i64, times: impl IntoIterator<Item = &'a mut Time>) {
    let by = if planted::is(Bug::LeapNotShifted) { 0 } else { by };
    times.into_iter().for_each(|time| *time = time.shifted(by));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::decide::book::{Damping, PastRollback, Pause, Release, Seen};
    use crate::decide::due::first_due;
    use crate::decide::incident::{Asked, Lane, Page, Retry};
    use crate::decide::limits::Limits;
    use crate::decide::observation::Purpose;
    use crate::model::{Alert, AlertStatus, Digest, Fingerprint, Onset, PauseScope, Reason, Texts};

    const HOUR: i64 = 3_600_000;

    fn at(minute: i64) -> Time {
        Time::from_millis(1_772_442_000_000 + 60_000 * minute)
    }

    fn member() -> Member {
        let alert = Alert {
            fingerprint: Fingerprint(1),
            status: AlertStatus::Firing,
            labels: Texts::default(),
            annotations: Texts::default(),
            starts_at: at(3),
            ends_at: None,
            generator_url: String::new(),
        };
        let onset = Onset { at: Ok(at(2)), source: "ALERTS_FOR_STATE".to_owned() };
        Member { alert, received_at: at(4), onset, resolved_at: Some(at(9)), truncated: false }
    }

    fn incident(phase: Phase) -> Incident {
        let id = IncidentId("i1".to_owned());
        Incident {
            opened_at: at(4),
            located_at: Some(at(4)),
            heard_at: at(9),
            change_landed_at: Some(at(1)),
            ..Incident::new(id, Lane::Live, "shop".to_owned(), member(), phase)
        }
    }

    /// Every way to wait.
    fn waiting() -> Vec<Incident> {
        let (until, since) = (at(20), at(10));
        let phases = [
            Phase::Settling { until },
            Phase::Deciding { since },
            Phase::Countdown { until: Some(until) },
            Phase::Approval { until },
            Phase::Preparing { since },
            Phase::Redeciding { since },
            Phase::Executing { step: 0, since, doubtful: false },
            Phase::Executing { step: 0, since, doubtful: true },
            Phase::Verifying { since },
            Phase::Verified,
            Phase::Shadowed,
            Phase::Paged,
            Phase::FixForward,
        ];
        let page = Page {
            reason: Reason::Rule,
            brake: None,
            cause: None,
            folded_into: None,
            unlisted_since: None,
            opened_at: Some(at(11)),
            text: String::new(),
            announced: false,
            unheard: Some(at(11)),
            untaken: true,
            sent_at: at(11),
            count: 1,
        };
        let asked = Asked { id: 1, purpose: Purpose::Watch, at: at(12), tries: 0, outdated: false };
        let retry = Retry { purpose: Purpose::Watch, at: at(12), tries: 0 };
        let mut all: Vec<Incident> = phases.into_iter().map(incident).collect();
        all.push(Incident { page: Some(page.clone()), ..incident(Phase::Paged) });
        let folded = Page { unheard: None, unlisted_since: Some(at(11)), ..page.clone() };
        all.push(Incident { page: Some(folded), ..incident(Phase::Paged) });
        all.push(Incident { page: Some(Page { unheard: None, ..page }), ..incident(Phase::Paged) });
        all.push(Incident { acknowledged: Some((at(12), "ann".to_owned())), ..incident(Phase::Countdown { until: None }) });
        all.push(Incident { asked: Some(asked), ..incident(Phase::Deciding { since }) });
        all.push(Incident { retry: Some(retry), ..incident(Phase::Verifying { since }) });
        let untold = Untold { news: Vec::new(), again_at: at(12), rounds: 1, fell_back: false };
        for phase in [Phase::Verified, Phase::Closed { reason: Reason::Verified, at: at(11) }] {
            all.push(Incident { untold: Some(untold.clone()), ..incident(phase) });
        }
        all
    }

    fn book(incident: Incident) -> Book {
        let mut book = Book { alive_at: Some(at(14)), ..Book::default() };
        book.incidents.insert(incident.id.clone(), incident);
        book.reindex();
        book
    }

    #[test]
    fn every_deadline_comes_when_it_would_have_come() {
        for by in [HOUR, -HOUR, 2500] {
            for incident in waiting() {
                let before = book(incident);
                let (due, _) = first_due(&before, &Limits::default()).expect("it waits for something");
                let mut after = before.clone();
                after.clock_set(by, false, at(14).shifted(by));
                let (moved, _) = first_due(&after, &Limits::default()).expect("it still does");
                assert_eq!(moved, due.shifted(by), "{by} {:?}", before.incidents);
            }
        }
    }

    #[test]
    fn what_others_stamped_and_what_is_over_stays() {
        let closed = Incident { id: IncidentId("i2".to_owned()), ..incident(Phase::Closed { reason: Reason::Rule, at: at(12) }) };
        let mut book = book(incident(Phase::Verified));
        book.incidents.insert(closed.id.clone(), closed.clone());
        book.clock_set(HOUR, false, at(74));
        let open = &book.incidents[&IncidentId("i1".to_owned())];
        let member = open.members.values().next().expect("it has one");
        assert_eq!((member.alert.starts_at, member.onset.at.clone(), open.change_landed_at), (at(3), Ok(at(2)), Some(at(1))));
        assert_eq!((member.received_at, member.resolved_at, open.opened_at), (at(64), Some(at(69)), at(64)));
        assert_eq!(book.incidents[&closed.id], closed);
    }

    #[test]
    fn how_long_ago_a_wait_was_over_stays() {
        for by in [HOUR, -HOUR] {
            let waiting = Incident { allowed_at: Some(at(10)), ..incident(Phase::Redeciding { since: at(14) }) };
            let mut book = book(waiting);
            book.clock_set(by, false, at(14).shifted(by));
            let moved = &book.incidents[&IncidentId("i1".to_owned())];
            assert_eq!([20, 21].map(|minute| moved.is_allowed(at(minute).shifted(by))), [true, false], "{by}");
        }
    }

    fn history() -> History {
        let release = Release {
            digest: Digest("v1:a".to_owned()),
            images: Vec::new(),
            image_digests: BTreeMap::new(),
            replica_set: None,
            live_since: at(-300),
            landed_at: Some(at(-299)),
            available_since: Some(at(-10)),
            healthy: Duration::ZERO,
            last_available: Some(at(-10)),
            watched: true,
            by: None,
            by_us: false,
            bad: None,
            alerts: BTreeMap::from([("A".to_owned(), at(0))]),
        };
        let past = PastRollback {
            lane: "live".to_owned(),
            incident: None,
            from: Digest("v1:b".to_owned()),
            to: Digest("v1:a".to_owned()),
            at: at(-30),
            ended_at: Some(at(-20)),
        };
        let mut damping = Damping::default();
        damping.add(at(-30));
        History {
            uid: "u1".to_owned(),
            watched_since: Some(at(-200)),
            releases: vec![release],
            rollbacks: vec![past],
            damping: BTreeMap::from([("live".to_owned(), damping)]),
            veto_until: Some(at(200)),
        }
    }

    #[test]
    fn nothing_of_a_target_grows_older_or_younger_by_it() {
        for by in [HOUR, -HOUR] {
            let (now, then) = (at(14), at(14).shifted(by));
            let mut book = Book { alive_at: Some(now), ..Book::default() };
            book.targets.insert("t".to_owned(), history());
            book.clock_set(by, false, then);
            let (before, after) = (history(), &book.targets["t"]);
            let (old, new) = (&before.releases[0], &after.releases[0]);
            assert_eq!(new.healthy_for(then), old.healthy_for(now));
            assert_eq!((new.live_since, new.landed_at), (old.live_since, old.landed_at), "the API server's");
            let ages = |history: &History, now: Time| {
                let past = &history.rollbacks[0];
                let flap = history.damping["live"].flaps.iter().flatten().next().copied();
                let alert = history.releases[0].alerts["A"];
                [Some(past.at), past.ended_at, flap, Some(alert)].map(|at| at.map(|at| now.since(at)))
            };
            assert_eq!(ages(after, then), ages(&before, now));
            assert_eq!(after.veto_until.map(|at| at.since(then)), before.veto_until.map(|at| at.since(now)));
            let since = after.watched_since.expect("watched");
            assert!(since >= at(-200) && since <= then, "nothing is vouched for that was not watched by both clocks: {since}");
        }
    }

    #[test]
    fn it_is_a_gap_as_long_as_the_leap_and_no_standstill() {
        for by in [HOUR, -HOUR] {
            let mut book = Book { alive_at: Some(at(14)), ..Book::default() };
            let then = at(14).shifted(by + 1000);
            book.fold(&Stamped { at: then, record: Record::ClockSet { by, away: false } }).expect("possible");
            assert_eq!(book.gaps, [Gap::away(Some(then - Duration::from_millis(by.unsigned_abs())), then)]);
            assert_eq!(book.alive_at, Some(then));
            book.fold(&Stamped { at: then + Duration::from_secs(60), record: Record::Alive }).expect("possible");
            assert_eq!(book.gaps.len(), 1, "the minute after it is none");
        }
        // The clock was set while the loop stood still for ten minutes: both are told.
        let mut book = Book { alive_at: Some(at(14)), ..Book::default() };
        book.fold(&Stamped { at: at(84), record: Record::ClockSet { by: HOUR, away: false } }).expect("possible");
        assert_eq!(book.gaps, [Gap::away(Some(at(74)), at(84)), Gap::away(Some(at(24)), at(84))]);
    }

    #[test]
    fn what_else_is_remembered_moves_along() {
        let seen =
            Seen { occurrence: member().alert.occurrence(), status: AlertStatus::Firing, resolved_at: Some(at(1)), at: at(2) };
        let pending =
            Pending { alert: member().alert, received_at: at(4), truncated: false, wanted: Vec::new(), due: at(15), tries: 1 };
        let pause = Pause {
            identity: None,
            id: 1,
            scope: PauseScope::Global,
            reason: "migration".to_owned(),
            by: "ann".to_owned(),
            from: at(5),
            until: at(100),
        };
        let mut book = Book { alive_at: Some(at(14)), watch_heard_at: Some(at(14)), ..Book::default() };
        book.seen.insert("1".to_owned(), seen);
        book.pending.insert("1".to_owned(), pending);
        book.pauses.insert(1, pause);
        book.gaps.push(Gap::away(Some(at(-60)), at(-50)));
        book.clock_set(-HOUR, false, at(-46));
        assert_eq!((book.seen["1"].at, book.seen["1"].resolved_at), (at(-58), Some(at(-59))));
        assert_eq!((book.pending["1"].due, book.pending["1"].received_at), (at(-45), at(-56)));
        assert_eq!((book.pauses[&1].from, book.pauses[&1].until), (at(-55), at(100)), "an end is a time of day");
        assert_eq!((book.gaps[0], book.watch_heard_at), (Gap::away(Some(at(-120)), at(-110)), Some(at(-46))));
    }

    #[test]
    fn a_clock_that_was_set_back_while_we_were_away_delays_nothing_and_nothing_before_it_was_watched() {
        let before = book(incident(Phase::Approval { until: at(20) }));
        assert_eq!(set_back_while_away(&before, at(14)), None);
        let set = set_back_while_away(&before, at(-46)).expect("what is remembered lies an hour ahead");
        assert_eq!(set, Input::ClockSet { by: -HOUR, away: true });
        let mut after = before;
        after.fold(&Stamped { at: at(-46), record: Record::ClockSet { by: -HOUR, away: true } }).expect("possible");
        assert_eq!(first_due(&after, &Limits::default()).map(|(due, _)| due), Some(at(-40)));
        assert_eq!(after.gaps, [Gap::away(None, at(-46))]);
        assert_eq!(set_back_while_away(&after, at(-46)), None);
    }

    #[test]
    fn it_is_told_in_words() {
        assert_eq!((words(HOUR), words(-61_500)), ("forward 1h".to_owned(), "back 1m1s".to_owned()));
    }

    #[test]
    fn a_clock_that_was_set_hides_no_standstill_of_more_than_three_minutes() {
        let moment = Duration::from_millis(1);
        for (stood, gaps) in [(STOOD_STILL - moment, 1), (STOOD_STILL, 1), (STOOD_STILL + moment, 2)] {
            for by in [HOUR, -HOUR] {
                let mut book = Book { alive_at: Some(at(14)), ..Book::default() };
                book.clock_set(by, false, at(14).shifted(by) + stood);
                assert_eq!(book.gaps.len(), gaps, "{stood:?} {by}");
            }
        }
    }
}
