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
