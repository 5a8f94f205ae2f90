//! A step in the making, about one incident: what is recorded changes the incident at once, by the same function as at recovery.

use std::time::Duration;

use super::book::Book;
use super::effect::{Context, Effect, Step};
use super::incident::{Incident, Phase};
use super::observation::Purpose;
use super::transition::Event;
use super::{request, tell};
use crate::journal::record::{Record, Stamped};
use crate::model::{IncidentId, Moment, Reason, Time, Urgency};
use crate::planted::{self, Bug};

/// A storm of alerts asks once in this time for each of its incidents.
const SOON: Duration = Duration::from_secs(1);

/// A step about one incident.
pub(super) struct Draft<'a> {
    pub(super) ctx: &'a Context<'a>,
    pub(super) book: &'a Book,
    pub(super) now: Time,
    pub(super) incident: Incident,
    pub(super) step: &'a mut Step,
}

impl<'a> Draft<'a> {
    /// About an incident of the book, as this step has left it so far; `None` when there is none of that id.
    pub(super) fn of(ctx: &'a Context<'a>, book: &'a Book, now: Time, id: &IncidentId, step: &'a mut Step) -> Option<Self> {
        let incident = as_left(book, id, step)?;
        Some(Self { ctx, book, now, incident, step })
    }

    /// About an incident that begins.
    pub(super) fn open(ctx: &'a Context<'a>, book: &'a Book, now: Time, incident: Incident, step: &'a mut Step) -> Self {
        let event = Event::Opened { incident: Box::new(incident.clone()) };
        step.records.push(Stamped { at: now, record: Record::Incident { id: incident.id.clone(), event } });
        let mut draft = Self { ctx, book, now, incident, step };
        let title = format!("opened: {}", tell::subject(&draft.incident));
        draft.announce_as_written(Moment::Opened, &title, "an alert began an incident");
        draft
    }

    /// Records an event. One that is not possible here is a defect: it is left out and noted, and the incident's own deadlines
    /// bring a human in.
    pub(super) fn record(&mut self, event: Event) {
        let event = match self.incident.apply(&event, self.now) {
            Ok(()) => event,
            Err(illegal) => Event::Noted { text: format!("defect: {illegal}") },
        };
        let record = Record::Incident { id: self.incident.id.clone(), event };
        self.step.records.push(Stamped { at: self.now, record });
    }

    /// Records an event of another incident: one that is possible in every state.
    pub(super) fn record_of(&mut self, id: &IncidentId, event: Event) {
        self.step.records.push(Stamped { at: self.now, record: Record::Incident { id: id.clone(), event } });
    }

    /// Adds a line to the report.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.record(Event::Noted { text: text.into() });
    }

    /// Adds a line that the report does not have yet: the watch says many things more than once.
    pub(super) fn note_once(&mut self, text: &str) {
        if !self.incident.notes.iter().any(|note| note.text == text) {
            self.note(text);
        }
    }

    /// Enters a phase.
    pub(super) fn enter(&mut self, to: Phase) {
        self.record(Event::Phase { to });
    }

    /// Starts an effect once the records are durable.
    pub(super) fn effect(&mut self, effect: Effect) {
        self.step.effects.push(effect);
    }

    /// Asks for an observation now.
    pub(super) fn ask(&mut self, purpose: Purpose, tries: u32) {
        self.record(Event::Asked { purpose, tries });
        let id = self.incident.asked.map_or(0, |asked| asked.id);
        let request = Box::new(request::build(self, purpose));
        self.effect(Effect::Observe { incident: self.incident.id.clone(), id, request });
    }

    /// Asks for an observation in a moment, together with whatever else wants one until then. One that is under way does not know of
    /// what it is asked for now: its answer is not waited for.
    pub(super) fn ask_soon(&mut self, purpose: Purpose) {
        let by = self.now + SOON;
        if self.incident.retry.is_none_or(|retry| retry.purpose != purpose || retry.at > by) {
            self.ask_in(purpose, SOON, 0);
        }
    }

    /// Asks for an observation later.
    pub(super) fn ask_in(&mut self, purpose: Purpose, after: Duration, tries: u32) {
        self.record(Event::Postponed { purpose, until: self.now + after, tries });
    }

    /// Tells people, without asking anything of them.
    pub(super) fn announce(&mut self, moment: Moment, title: &str, text: &str) {
        if !self.incident.attempts.is_empty() && planted::is(Bug::RollbackNotAnnounced) {
            return;
        }
        let message = tell::message(self, moment, Urgency::Announce, title, text, Vec::new());
        self.tell(message, text);
        self.announce_as_written(moment, title, text);
    }

    /// Ends the attempt that is under way, if there is one.
    pub(super) fn end_attempt(&mut self, reason: Reason) {
        if self.incident.attempt().is_some_and(|attempt| attempt.ended.is_none()) {
            self.record(Event::AttemptEnded { reason });
        }
    }

    /// Closes the incident and its page.
    pub(super) fn close(&mut self, reason: Reason, text: &str) {
        self.end_attempt(reason);
        self.note(text);
        self.enter(Phase::Closed { reason, at: self.now });
        let title = format!("closed ({reason}): {}", tell::subject(&self.incident));
        self.announce(Moment::Closed, &title, text);
        self.end_page();
    }
}

/// An incident of the book, as a step has left it so far.
pub(super) fn as_left(book: &Book, id: &IncidentId, step: &Step) -> Option<Incident> {
    let mut found = book.incidents.get(id).cloned();
    for stamped in &step.records {
        match (&stamped.record, &mut found) {
            (Record::Incident { id: of, event: Event::Opened { incident } }, None) if of == id => {
                found = Some((**incident).clone());
            }
            // What cannot be carried out here is refused again when the record is folded.
            (Record::Incident { id: of, event }, Some(incident)) if of == id => drop(incident.apply(event, stamped.at)),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::brakes::fixture::{World, policies};
    use super::super::incident::Retry;
    use super::*;

    #[test]
    fn a_storm_of_alerts_asks_once_in_a_second() {
        let moment = Duration::from_millis(1);
        for (purpose, within, asks) in [
            (Purpose::Watch, SOON - moment, false),
            (Purpose::Watch, SOON, false),
            (Purpose::Watch, SOON + moment, true),
            (Purpose::Confirm, SOON - moment, true),
        ] {
            let mut world = World::new();
            let retry = Retry { purpose, at: world.now + within, tries: 2 };
            world.incident.retry = Some(retry);
            let step = world.draft(&policies(""), |draft| draft.ask_soon(Purpose::Watch));
            assert_eq!(step.records.len(), usize::from(asks), "{retry:?}");
            let soon = Retry { purpose: Purpose::Watch, at: world.now + SOON, tries: 0 };
            assert_eq!(world.incident.retry, Some(if asks { soon } else { retry }));
        }
    }

    #[test]
    fn of_several_incidents_that_a_step_opened_each_is_itself() {
        let world = World::new();
        let named = |id: &str| Incident { id: IncidentId(id.to_owned()), ..world.incident.clone() };
        let mut step = Step::default();
        for id in ["j", "k"] {
            let event = Event::Opened { incident: Box::new(named(id)) };
            step.records.push(Stamped { at: world.now, record: Record::Incident { id: IncidentId(id.to_owned()), event } });
        }
        let left = |id: &str| as_left(&world.book, &IncidentId(id.to_owned()), &step);
        assert_eq!((left("j"), left("k"), left("l")), (Some(named("j")), Some(named("k")), None));
    }
}
