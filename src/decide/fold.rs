//! How records change the book. Live and at recovery this is the only way it changes, so that both arrive at the same book.

use std::collections::{BTreeMap, BTreeSet};

use super::book::{Book, Gap, History, PastRollback, Seen, Wrong};
use super::incident::{Incident, Member, Phase};
use super::ledger;
use super::transition::{Event, IllegalEvent};
use crate::journal::record::{Record, Stamped};
use crate::model::{AlertStatus, Applied, IncidentId, Mark, PauseScope, Time};
use crate::planted::{self, Bug};
use crate::policy::types::WRONGS;

/// Consumed receipts that are remembered one by one.
const RECEIPTS: usize = 8192;
/// Gaps that are remembered.
const GAPS: usize = 64;
/// Occurrences that are remembered; the oldest are forgotten first.
const SEEN: usize = 100_000;
/// Without a record for this long, we stood still.
pub(super) const STOOD_STILL: std::time::Duration = std::time::Duration::from_secs(3 * 60);

impl Book {
    /// Carries a record out.
    ///
    /// # Errors
    /// When an incident's event is not possible in its state, or names an incident that does not exist.
    pub fn fold(&mut self, stamped: &Stamped) -> Result<(), IllegalEvent> {
        let at = stamped.at;
        match &stamped.record {
            Record::Started { .. } => {
                if let Some(from) = self.alive_at {
                    self.unheard(from);
                    self.targets.values_mut().for_each(|history| ledger::interrupted(history, from));
                }
                self.gap(Gap::away(self.alive_at, at));
                self.watch_heard_at = Some(at);
            }
            Record::ClockSet { by, away } => self.clock_set(*by, *away, at),
            // The loop writes something each minute: where it did not, it stood still (the journal did not commit, the machine
            // slept, the clock leapt), and nobody looked.
            _ if self.alive_at.is_some_and(|from| at.since(from) > STOOD_STILL) => {
                self.gap(Gap::away(self.alive_at, at));
                self.carry(stamped)?;
            }
            _ => self.carry(stamped)?,
        }
        self.alive_at = Some(self.alive_at.map_or(at, |known| known.max(at)));
        Ok(())
    }

    pub(super) fn gap(&mut self, gap: Gap) {
        self.gaps.push(gap);
        if self.gaps.len() > GAPS {
            self.gaps.remove(0);
        }
    }

    fn carry(&mut self, stamped: &Stamped) -> Result<(), IllegalEvent> {
        let at = stamped.at;
        match &stamped.record {
            Record::Started { .. } => {}
            Record::Alive => {}
            Record::Loaded { hash, .. } => self.policies.clone_from(hash),
            Record::Consumed { seq } => self.consume(*seq),
            Record::Seen { seen } => self.see(*seen),
            Record::Pending { pending } => {
                let occurrence = pending.alert.occurrence().to_string();
                let before = self.pending.get(&occurrence).map(|before| before.due);
                self.index.look_up(&occurrence, before, Some(pending.due));
                self.pending.insert(occurrence, (**pending).clone());
            }
            Record::Located { occurrence } => {
                if let Some(pending) = self.pending.remove(occurrence) {
                    self.index.look_up(occurrence, Some(pending.due), None);
                }
            }
            Record::Incident { id, event } => self.incident(id, event, at)?,
            Record::Watched { event } => {
                let history = self.targets.entry(event.target.at.to_string()).or_default();
                ledger::watched(history, event, at);
            }
            Record::Learned { workload } => {
                let history = self.targets.entry(workload.id.at.to_string()).or_default();
                ledger::relearn(history, workload, at);
            }
            Record::Paused { pause } => {
                self.next = self.next.max(pause.id);
                self.pauses.insert(pause.id, pause.clone());
            }
            Record::Resumed { pause, .. } => {
                // What began while everything was paused is for people: nobody knows what they did meanwhile.
                if let Some(pause) = self.pauses.remove(pause)
                    && pause.scope == PauseScope::Global
                {
                    self.gap(Gap::away(Some(pause.from), at));
                }
            }
            Record::ClockSet { .. } => {}
            Record::WatchHeard { at } => self.watch_heard(*at),
            // What it led to has records of its own.
            Record::Ordered { .. } => {}
            Record::Posted { change } => ledger::posted(&mut self.changes, change),
            Record::Rearmed { policy, .. } => {
                // Kept without any, so that it is still shown, as trusted.
                if let Some(wrongs) = self.wrongs.get_mut(policy) {
                    wrongs.clear();
                }
            }
            Record::Latched { latch } => self.latch(latch),
            Record::Cleared { latch, cleared } => self.clear(*latch, cleared),
            Record::Forgotten { before } => {
                self.forget(*before);
                self.forgot_at = Some(at);
            }
        }
        Ok(())
    }

    /// Receipts come in any order, but none so late that this many later ones were consumed before it: the inbox is shorter.
    fn consume(&mut self, seq: u64) {
        self.consumed.insert(seq);
        while self.consumed.len() > RECEIPTS {
            if let Some(oldest) = self.consumed.pop_first() {
                self.consumed_through = oldest;
            }
        }
    }

    fn see(&mut self, seen: Seen) {
        let known = self.seen.entry(seen.occurrence.to_string()).or_insert(seen);
        known.status = seen.status;
        known.at = seen.at;
        known.resolved_at = match seen.status {
            AlertStatus::Resolved => known.resolved_at.or(Some(seen.at)),
            AlertStatus::Firing => seen.resolved_at,
        };
        if self.seen.len() > SEEN {
            // A tenth at once, so that each new occurrence does not cost a search.
            let mut oldest: Vec<(Time, String)> = self.seen.iter().map(|(key, seen)| (seen.at, key.clone())).collect();
            oldest.sort_unstable();
            for (_, key) in oldest.iter().take(SEEN / 10) {
                self.seen.remove(key);
            }
        }
    }

    fn incident(&mut self, id: &IncidentId, event: &Event, at: Time) -> Result<(), IllegalEvent> {
        if let Event::Opened { incident } = event {
            self.note_flap(incident, at);
            note_alerts(&mut self.targets, incident, incident.members.values(), at);
            self.incidents.insert(id.clone(), (**incident).clone());
            self.index.file(incident, None);
            return Ok(());
        }
        let illegal = IllegalEvent { incident: id.clone(), phase: "absent", event: "any" };
        let Some(incident) = self.incidents.get_mut(id) else { return Err(illegal) };
        let was_quiet = incident.quiet_since.is_some();
        let joins = matches!(event, Event::Joined { .. });
        let surplus = incident.members.surplus().filter(|_| joins);
        incident.apply(event, at)?;
        let (incident, targets) = (&*incident, &mut self.targets);
        let joined = if let Event::Joined { member } = event { Some(member.alert.occurrence()) } else { None };
        self.index.file(incident, joined);
        if let Some(left) = surplus.filter(|surplus| !incident.members.contains(*surplus)) {
            self.index.leave(left, id);
        }
        // One that was quiet and fires again flaps by itself.
        let refired = was_quiet && incident.quiet_since.is_none();
        match event {
            Event::Joined { member } => {
                if refired {
                    add_flap(targets, incident, at);
                }
                note_alerts(targets, incident, [&**member], at);
            }
            Event::Quiet { quiet: false } if refired => add_flap(targets, incident, at),
            Event::Intended if planted::is(Bug::BudgetAtTheEnd) => {}
            Event::AttemptEnded { .. } if planted::is(Bug::BudgetAtTheEnd) => {
                note_intent(targets, incident, at);
                note_end(targets, incident, at);
            }
            Event::Intended => note_intent(targets, incident, at),
            Event::Applied { applied: Applied::Done { .. } | Applied::Already { .. } } => note_bad(targets, incident, at),
            Event::AttemptEnded { .. } => note_end(targets, incident, at),
            Event::Phase { to: Phase::Shadowed } => note_would_have(targets, incident, at),
            Event::Vetoed { .. } => note_veto(targets, incident, at),
            Event::Marked { mark, by, .. } => note_mark(&mut self.wrongs, incident, (*mark, by), at),
            _ => {}
        }
        Ok(())
    }

    /// A target flaps when it gets an incident after another one of its lane, or when a quiet incident fires again. All alerts
    /// of one incident are one flap.
    fn note_flap(&mut self, incident: &Incident, at: Time) {
        let Some(target) = &incident.target else { return };
        let of_it = |other: &&Incident| other.lane == incident.lane && other.id != incident.id;
        let place = target.at.to_string();
        let others = || self.index.at(&place).filter_map(|id| self.incidents.get(id)).filter(of_it);
        // The same firing, heard of late, is no other one.
        let same = |other: &Incident| incident.members.occurrences().any(|occurrence| other.members.contains(occurrence));
        if others().next().is_some() && !others().any(same) {
            add_flap(&mut self.targets, incident, at);
        }
    }

    fn forget(&mut self, before: Time) {
        let index = &mut self.index;
        self.incidents.retain(|id, incident| {
            let over = matches!(incident.phase, Phase::Closed { at, .. } if at < before);
            // It is over when people know.
            let kept = !over || incident.untold.is_some();
            if !kept {
                index.forget(id);
            }
            kept
        });
        let index = &self.index;
        self.seen.retain(|_, seen| seen.at >= before || index.holders(seen.occurrence).next().is_some());
        self.pauses.retain(|_, pause| pause.until >= before);
    }
}

/// What is known of each target.
type Targets = BTreeMap<String, History>;

fn add_flap(targets: &mut Targets, incident: &Incident, at: Time) {
    let Some(target) = &incident.target else { return };
    let history = targets.entry(target.at.to_string()).or_default();
    history.damping.entry(incident.lane.key()).or_default().add(at);
}

fn note_alerts<'a>(targets: &mut Targets, incident: &Incident, members: impl IntoIterator<Item = &'a Member>, at: Time) {
    let (Some(target), Some(release)) = (&incident.target, &incident.release) else { return };
    let history = targets.entry(target.at.to_string()).or_default();
    let names: BTreeSet<&str> = members.into_iter().map(|member| member.alert.label("alertname")).collect();
    for name in names {
        ledger::alert_fired(history, release, name, at);
    }
}

/// The intent spends the budget, whatever becomes of it.
fn note_intent(targets: &mut Targets, incident: &Incident, at: Time) {
    // Without a step it is a person's rollback that is only proven: the ledger has it already, and it is not on our account.
    let Some(attempt) = incident.attempts.last().filter(|attempt| !attempt.plan.steps.is_empty()) else { return };
    let history = targets.entry(attempt.plan.target.at.to_string()).or_default();
    let known = |past: &PastRollback| past.incident.as_ref() == Some(&incident.id) && past.from == attempt.plan.from.digest;
    if !history.rollbacks.iter().any(known) {
        let past = PastRollback {
            lane: incident.lane.key(),
            incident: Some(incident.id.clone()),
            from: attempt.plan.from.digest.clone(),
            to: attempt.plan.to.digest.clone(),
            at,
            ended_at: None,
        };
        ledger::rolled_back(history, past);
    }
}

/// Shadow has a budget, a cooldown and penalties of its own: what it would have done counts there.
fn note_would_have(targets: &mut Targets, incident: &Incident, at: Time) {
    let Some(plan) = &incident.plan else { return };
    let history = targets.entry(plan.target.at.to_string()).or_default();
    let past = PastRollback {
        lane: incident.lane.key(),
        incident: Some(incident.id.clone()),
        from: plan.from.digest.clone(),
        to: plan.to.digest.clone(),
        at,
        ended_at: Some(at),
    };
    ledger::rolled_back(history, past);
}

fn note_bad(targets: &mut Targets, incident: &Incident, at: Time) {
    let Some(attempt) = incident.attempts.last() else { return };
    let history = targets.entry(attempt.plan.target.at.to_string()).or_default();
    ledger::mark_bad(history, &attempt.plan.from.digest, incident.id.as_str(), at);
}

fn note_end(targets: &mut Targets, incident: &Incident, at: Time) {
    let Some(attempt) = incident.attempts.last() else { return };
    let history = targets.entry(attempt.plan.target.at.to_string()).or_default();
    for past in &mut history.rollbacks {
        if past.incident.as_ref() == Some(&incident.id) {
            past.ended_at = past.ended_at.or(Some(at));
        }
    }
}

/// The last word counts. What shadow would have done was never done, and costs no trust.
fn note_mark(wrongs: &mut BTreeMap<String, Vec<Wrong>>, incident: &Incident, (mark, by): (Mark, &str), at: Time) {
    if incident.attempts.is_empty() {
        return;
    }
    let marked = wrongs.entry(incident.policy.clone()).or_default();
    marked.retain(|wrong| wrong.incident != incident.id);
    if mark == Mark::Wrong {
        marked.push(Wrong { incident: incident.id.clone(), at, by: by.to_owned() });
    }
    if marked.len() > WRONGS {
        marked.remove(0);
    }
}

fn note_veto(targets: &mut Targets, incident: &Incident, at: Time) {
    let Some(target) = &incident.target else { return };
    let history = targets.entry(target.at.to_string()).or_default();
    let until = at + super::limits::VETO;
    history.veto_until = Some(history.veto_until.map_or(until, |known| known.max(until)));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::brakes::fixture::{World, digest, hours, minutes, rollback};
    use super::*;
    use crate::decide::book::Pause;
    use crate::decide::incident::Lane;
    use crate::model::{Fingerprint, Occurrence, Reason};

    const MOMENT: Duration = Duration::from_millis(1);

    fn fold(book: &mut Book, at: Time, record: Record) {
        book.fold(&Stamped { at, record }).expect("it fits");
    }

    /// Folds an event of the fixture's incident.
    fn happen(book: &mut Book, at: Time, event: Event) {
        fold(book, at, Record::Incident { id: IncidentId("i1".to_owned()), event });
    }

    fn seen(fingerprint: u64, at: Time) -> Seen {
        let occurrence = Occurrence { fingerprint: Fingerprint(fingerprint), starts_at: Time::from_millis(0) };
        Seen { occurrence, status: AlertStatus::Firing, resolved_at: None, at }
    }

    fn pause(id: u64, scope: PauseScope, from: Time, until: Time) -> Pause {
        Pause { id, scope, reason: "move".to_owned(), by: "ann".to_owned(), identity: None, from, until }
    }

    #[test]
    fn silence_for_longer_than_three_minutes_is_a_gap() {
        let World { now, .. } = World::new();
        for (silence, gaps) in [
            (STOOD_STILL - MOMENT, vec![]),
            (STOOD_STILL, vec![]),
            (STOOD_STILL + MOMENT, vec![Gap::away(Some(now), now + STOOD_STILL + MOMENT)]),
        ] {
            let mut book = Book { alive_at: Some(now), ..Book::default() };
            fold(&mut book, now + silence, Record::Alive);
            assert_eq!(book.gaps, gaps, "{silence:?}");
        }
    }

    #[test]
    fn the_last_gaps_are_kept() {
        let (World { now, .. }, mut book) = (World::new(), Book::default());
        let gap = |number: usize| Gap::away(None, now + minutes(number as u64));
        (0..GAPS).for_each(|number| book.gap(gap(number)));
        assert_eq!((book.gaps.len(), book.gaps[0]), (GAPS, gap(0)));
        book.gap(gap(GAPS));
        assert_eq!((book.gaps.len(), book.gaps[0], book.gaps[GAPS - 1]), (GAPS, gap(1), gap(GAPS)));
    }

    #[test]
    fn what_began_while_everything_was_paused_is_not_ours() {
        let World { now, .. } = World::new();
        let scopes =
            [(PauseScope::Global, vec![Gap::away(Some(now), now + minutes(2))]), (PauseScope::Policy("web".to_owned()), vec![])];
        for (scope, gaps) in scopes {
            let mut book = Book::default();
            fold(&mut book, now, Record::Paused { pause: pause(1, scope.clone(), now, now + hours(1)) });
            fold(&mut book, now + minutes(2), Record::Resumed { pause: 1, by: "ann".to_owned() });
            assert_eq!((book.gaps, book.pauses.len()), (gaps, 0), "{scope:?}");
        }
    }

    #[test]
    fn the_last_receipts_are_known_one_by_one_and_those_before_them_by_the_last() {
        let mut book = Book::default();
        (1..=RECEIPTS as u64).for_each(|seq| book.consume(seq));
        assert_eq!((book.consumed.len(), book.consumed_through), (RECEIPTS, 0));
        book.consume(RECEIPTS as u64 + 1);
        assert_eq!((book.consumed.len(), book.consumed_through), (RECEIPTS, 1));
        assert!(book.is_consumed(1) && !book.is_consumed(RECEIPTS as u64 + 2));
    }

    #[test]
    fn of_too_many_occurrences_the_tenth_that_was_heard_of_first_is_forgotten() {
        let (World { now, .. }, mut book) = (World::new(), Book::default());
        let of = |number: usize| seen(number as u64, now + MOMENT * number as u32);
        book.seen = (0..SEEN - 1).map(of).map(|seen| (seen.occurrence.to_string(), seen)).collect();
        book.see(of(SEEN - 1));
        assert_eq!(book.seen.len(), SEEN);
        book.see(of(SEEN));
        assert_eq!(book.seen.len(), SEEN + 1 - SEEN / 10);
        let is_kept = |number: usize| book.seen.contains_key(&of(number).occurrence.to_string());
        assert!(!is_kept(SEEN / 10 - 1) && is_kept(SEEN / 10) && is_kept(SEEN));
    }

    #[test]
    fn an_alert_that_left_its_incident_is_held_by_nobody() {
        let mut world = World::new();
        let first = world.incident.members.values().next().expect("the fixture has one").clone();
        let numbered = |number: u64, resolved_at: Option<Time>| {
            let mut member = Member { resolved_at, ..first.clone() };
            member.alert.fingerprint = Fingerprint(number);
            member
        };
        let now = world.now;
        (100..300)
            .for_each(|number| world.incident.members.put(numbered(number, Some(now - minutes(5) + MOMENT * number as u32))));
        world.keep();
        let mut book = world.book;
        let held = |book: &Book, number: u64| book.holders(numbered(number, None).alert.occurrence()).count();
        assert_eq!((held(&book, 100), held(&book, 101)), (1, 1));
        happen(&mut book, now, Event::Joined { member: Box::new(numbered(900, None)) });
        assert_eq!((held(&book, 100), held(&book, 101), held(&book, 900)), (0, 1, 1));
        assert!(book.is_indexed());
        // One that is there already takes nobody's place.
        happen(&mut book, now, Event::Resolved { occurrence: numbered(900, None).alert.occurrence() });
        happen(&mut book, now, Event::Joined { member: Box::new(numbered(101, None)) });
        assert_eq!((held(&book, 101), held(&book, 102)), (1, 1));
        assert!(book.is_indexed());
    }

    #[test]
    fn the_ledger_learns_which_alerts_joined() {
        let mut world = World::new();
        world.keep();
        let mut member = world.incident.members.values().next().expect("the fixture has one").clone();
        member.alert.fingerprint = Fingerprint(8);
        member.alert.labels.insert("alertname", "HighLatency");
        happen(&mut world.book, world.now, Event::Joined { member: Box::new(member) });
        let now = world.now;
        assert_eq!(world.release("b").alerts.get("HighLatency"), Some(&now));
        assert!(world.release("a").alerts.is_empty());
    }

    #[test]
    fn a_target_flaps_with_each_incident_after_its_first_that_is_about_another_firing() {
        let World { incident: first, now, .. } = World::new();
        let open = |book: &mut Book, id: &str, fingerprint: u64| {
            let mut incident = Incident { id: IncidentId(id.to_owned()), ..first.clone() };
            incident.members.change_all(|member| member.alert.fingerprint = Fingerprint(fingerprint));
            let event = Event::Opened { incident: Box::new(incident.clone()) };
            fold(book, now, Record::Incident { id: incident.id, event });
            let history = book.targets.get("deployment/shop/web");
            history.and_then(|history| history.damping.get("live")).map_or(0, |damping| damping.flaps.iter().flatten().count())
        };
        let mut book = Book::default();
        assert_eq!(open(&mut book, "i1", 7), 0, "it is the first");
        assert_eq!(open(&mut book, "i2", 7), 0, "the same firing, heard of late");
        assert_eq!(open(&mut book, "i3", 8), 1);
    }

    #[test]
    fn an_incident_that_was_quiet_and_fires_again_flaps() {
        let mut world = World::new();
        world.keep();
        let (mut book, now) = (world.book, world.now);
        let flaps = |book: &Book| {
            let history = &book.targets["deployment/shop/web"];
            history.damping.get("live").map_or(0, |damping| damping.flaps.iter().flatten().count())
        };
        happen(&mut book, now, Event::Quiet { quiet: false });
        assert_eq!(flaps(&book), 0, "it was not quiet");
        happen(&mut book, now, Event::Quiet { quiet: true });
        assert_eq!(flaps(&book), 0);
        happen(&mut book, now + minutes(1), Event::Quiet { quiet: false });
        assert_eq!(flaps(&book), 1);
    }

    #[test]
    fn the_intent_spends_the_budget_once_for_each_release_that_it_leaves() {
        let mut world = World::new();
        world.plan();
        world.keep();
        let (mut book, now) = (world.book, world.now);
        let left = |book: &Book| {
            let past = &book.targets["deployment/shop/web"].rollbacks;
            past.iter().map(|past| (past.from.clone(), past.ended_at)).collect::<Vec<_>>()
        };
        happen(&mut book, now, Event::Intended);
        happen(&mut book, now, Event::Intended);
        assert_eq!(left(&book), [(digest("b"), None)]);
        happen(&mut book, now, Event::AttemptEnded { reason: Reason::Failed });
        let mut next = (**world.incident.plan.as_ref().expect("planned")).clone();
        next.from.digest = digest("c");
        happen(&mut book, now, Event::Planned { plan: next.into() });
        happen(&mut book, now, Event::Intended);
        assert_eq!(left(&book), [(digest("b"), Some(now)), (digest("c"), None)]);
    }

    #[test]
    fn the_end_of_an_attempt_spends_nothing() {
        let mut world = World::new();
        world.attempt();
        world.history().rollbacks = vec![rollback("live", Some("i2"), world.now - minutes(3), None)];
        world.keep();
        let before = world.history().rollbacks.clone();
        happen(&mut world.book, world.now, Event::AttemptEnded { reason: Reason::Failed });
        assert_eq!(world.history().rollbacks, before, "another one's goes on, too");
    }

    #[test]
    fn what_shadow_would_have_done_counts_in_its_lane() {
        let mut world = World::new();
        world.plan();
        world.incident.lane = Lane::Shadow("web".to_owned());
        world.keep();
        happen(&mut world.book, world.now, Event::Phase { to: Phase::Shadowed });
        let now = world.now;
        let [past] = world.history().rollbacks.as_slice() else { panic!("one is remembered") };
        assert_eq!(
            (past.lane.as_str(), &past.from, &past.to, past.ended_at),
            ("shadow/web", &digest("b"), &digest("a"), Some(now))
        );
    }

    #[test]
    fn what_was_heard_of_before_is_forgotten_unless_an_open_incident_holds_it() {
        let mut world = World::new();
        world.keep();
        let (mut book, now) = (world.book, world.now);
        let held = world.incident.members.occurrences().next().expect("the fixture has one");
        for seen in
            [Seen { occurrence: held, ..seen(0, now - hours(9)) }, seen(1, now - MOMENT), seen(2, now), seen(3, now + MOMENT)]
        {
            book.seen.insert(seen.occurrence.to_string(), seen);
        }
        for (id, until) in [(1, now - MOMENT), (2, now), (3, now + MOMENT)] {
            book.pauses.insert(id, pause(id, PauseScope::Global, now - hours(1), until));
        }
        fold(&mut book, now, Record::Forgotten { before: now });
        let mut left: Vec<u64> = book.seen.values().map(|seen| seen.occurrence.fingerprint.0).collect();
        left.sort_unstable();
        assert_eq!(left, [2, 3, held.fingerprint.0]);
        assert_eq!(book.pauses.keys().copied().collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn a_policys_last_wrongs_are_kept_and_each_incidents_last_word_counts() {
        let mut world = World::new();
        world.attempt();
        let (incident, now) = (world.incident, world.now);
        let mut wrongs = BTreeMap::new();
        let mut mark = |number: usize, mark: Mark| {
            let marked = Incident { id: IncidentId(format!("i{number}")), ..incident.clone() };
            note_mark(&mut wrongs, &marked, (mark, "ann"), now);
            wrongs["web"].iter().map(|wrong| wrong.incident.0.clone()).collect::<Vec<String>>()
        };
        assert_eq!(mark(1, Mark::Wrong), ["i1"]);
        assert_eq!(mark(2, Mark::Wrong), ["i1", "i2"]);
        assert_eq!(mark(2, Mark::Wrong), ["i1", "i2"]);
        assert_eq!(mark(1, Mark::Right), ["i2"]);
        (3..=WRONGS).for_each(|number| drop(mark(number, Mark::Wrong)));
        let all = mark(WRONGS + 1, Mark::Wrong);
        assert_eq!((all.len(), all[0].as_str()), (WRONGS, "i2"));
        let all = mark(WRONGS + 2, Mark::Wrong);
        assert_eq!((all.len(), all[0].as_str()), (WRONGS, "i3"));
    }
}
