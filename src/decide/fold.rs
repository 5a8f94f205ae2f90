//! How records change the book. Live and at recovery this is the only way it changes, so that both arrive at the same book.

use super::book::{Book, Gap, PastRollback, Seen};
use super::incident::{Incident, Phase};
use super::ledger;
use super::transition::{Event, IllegalEvent};
use crate::journal::record::{Record, Stamped};
use crate::model::{AlertStatus, Applied, IncidentId, Occurrence, PauseScope, Time};

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
                self.pending.insert(pending.alert.occurrence().to_string(), (**pending).clone());
            }
            Record::Located { occurrence } => {
                self.pending.remove(occurrence);
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
            self.note_alerts(incident, at);
            self.incidents.insert(id.clone(), (**incident).clone());
            return Ok(());
        }
        let illegal = IllegalEvent { incident: id.clone(), phase: "absent", event: "any" };
        let Some(incident) = self.incidents.get_mut(id) else { return Err(illegal) };
        let was_quiet = incident.quiet_since.is_some();
        incident.apply(event, at)?;
        let incident = incident.clone();
        match event {
            Event::Joined { .. } => {
                if was_quiet && incident.quiet_since.is_none() {
                    self.note_flap(&incident, at);
                }
                self.note_alerts(&incident, at);
            }
            Event::Quiet { quiet: false } if was_quiet => self.note_flap(&incident, at),
            Event::Intended => self.note_intent(&incident, at),
            Event::Applied { applied: Applied::Done { .. } | Applied::Already { .. } } => self.note_bad(&incident, at),
            Event::AttemptEnded { .. } => self.note_end(&incident, at),
            Event::Phase { to: Phase::Shadowed } => self.note_would_have(&incident, at),
            Event::Vetoed { .. } => self.note_veto(&incident, at),
            _ => {}
        }
        Ok(())
    }

    /// A target flaps when it gets an incident after another one of its lane, or when a quiet incident fires again. All alerts
    /// of one incident are one flap.
    fn note_flap(&mut self, incident: &Incident, at: Time) {
        let Some(target) = &incident.target else { return };
        let of_it = |other: &&Incident| other.target.as_ref().is_some_and(|t| t.at == target.at) && other.lane == incident.lane;
        let others = || self.incidents.values().filter(of_it).filter(|other| other.id != incident.id);
        // The same firing, heard of late, is no other one.
        let same = |other: &Incident| incident.members.keys().any(|occurrence| other.members.contains_key(occurrence));
        let known = self.incidents.contains_key(&incident.id);
        if known || (others().next().is_some() && !others().any(same)) {
            let history = self.targets.entry(target.at.to_string()).or_default();
            history.damping.entry(incident.lane.key()).or_default().add(at);
        }
    }

    fn note_alerts(&mut self, incident: &Incident, at: Time) {
        let (Some(target), Some(release)) = (&incident.target, &incident.release) else { return };
        let history = self.targets.entry(target.at.to_string()).or_default();
        for member in incident.members.values() {
            ledger::alert_fired(history, release, member.alert.label("alertname"), at);
        }
    }

    /// The intent spends the budget, whatever becomes of it.
    fn note_intent(&mut self, incident: &Incident, at: Time) {
        // Without a step it is a person's rollback that is only proven: the ledger has it already, and it is not on our account.
        let Some(attempt) = incident.attempts.last().filter(|attempt| !attempt.plan.steps.is_empty()) else { return };
        let history = self.targets.entry(attempt.plan.target.at.to_string()).or_default();
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
    fn note_would_have(&mut self, incident: &Incident, at: Time) {
        let Some(plan) = &incident.plan else { return };
        let history = self.targets.entry(plan.target.at.to_string()).or_default();
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

    fn note_bad(&mut self, incident: &Incident, at: Time) {
        let Some(attempt) = incident.attempts.last() else { return };
        let history = self.targets.entry(attempt.plan.target.at.to_string()).or_default();
        ledger::mark_bad(history, &attempt.plan.from.digest, incident.id.as_str(), at);
    }

    fn note_end(&mut self, incident: &Incident, at: Time) {
        let Some(attempt) = incident.attempts.last() else { return };
        let history = self.targets.entry(attempt.plan.target.at.to_string()).or_default();
        for past in &mut history.rollbacks {
            if past.incident.as_ref() == Some(&incident.id) {
                past.ended_at = past.ended_at.or(Some(at));
            }
        }
    }

    fn note_veto(&mut self, incident: &Incident, at: Time) {
        let Some(target) = &incident.target else { return };
        let history = self.targets.entry(target.at.to_string()).or_default();
        let until = at + super::limits::VETO;
        history.veto_until = Some(history.veto_until.map_or(until, |known| known.max(until)));
    }

    fn forget(&mut self, before: Time) {
        self.incidents.retain(|_, incident| match incident.phase {
            Phase::Closed { at, .. } => at >= before,
            _ => true,
        });
        let open: Vec<Occurrence> =
            self.open().flat_map(|incident| incident.members.values().map(|member| member.alert.occurrence())).collect();
        self.seen.retain(|_, seen| seen.at >= before || open.contains(&seen.occurrence));
        self.pauses.retain(|_, pause| pause.until >= before);
    }
}
