//! A step in the making, about one incident: what is recorded changes the incident at once, by the same function as at recovery.

use std::time::Duration;

use super::book::Book;
use super::effect::{Context, Effect, Step};
use super::incident::{Incident, Phase};
use super::observation::Purpose;
use super::transition::Event;
use super::{request, tell};
use crate::journal::record::{Record, Stamped};
use crate::model::{Brake, IncidentId, Moment, Reason, Time, Urgency};

/// A step about one incident.
pub(super) struct Draft<'a> {
    pub(super) ctx: &'a Context<'a>,
    pub(super) book: &'a Book,
    pub(super) now: Time,
    pub(super) incident: Incident,
    step: &'a mut Step,
}

impl<'a> Draft<'a> {
    /// About an incident of the book, as this step has left it so far; `None` when there is none of that id.
    pub(super) fn of(ctx: &'a Context<'a>, book: &'a Book, now: Time, id: &IncidentId, step: &'a mut Step) -> Option<Self> {
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
        Some(Self { ctx, book, now, incident: found?, step })
    }

    /// About an incident that begins.
    pub(super) fn open(ctx: &'a Context<'a>, book: &'a Book, now: Time, incident: Incident, step: &'a mut Step) -> Self {
        let event = Event::Opened { incident: Box::new(incident.clone()) };
        step.records.push(Stamped { at: now, record: Record::Incident { id: incident.id.clone(), event } });
        Self { ctx, book, now, incident, step }
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

    /// Asks for an observation later.
    pub(super) fn ask_in(&mut self, purpose: Purpose, after: Duration, tries: u32) {
        self.record(Event::Postponed { purpose, until: self.now + after, tries });
    }

    /// Tells people, without asking anything of them.
    pub(super) fn announce(&mut self, moment: Moment, title: &str, text: &str) {
        let message = tell::message(self, moment, Urgency::Announce, title, text, Vec::new());
        self.effect(Effect::Tell(Box::new(message)));
    }

    /// Brings a human in. `touched` says that we wrote something, or that it is our own blindness: then routing *beside*
    /// does not turn the page into an announcement.
    pub(super) fn page(&mut self, reason: Reason, moment: Moment, text: &str, touched: bool) {
        let decided = self.incident.decision.as_ref().and_then(|decision| decision.brake);
        let brake = decided.filter(|_| reason == Reason::BrakeHeld);
        self.page_with((reason, brake), moment, text, touched);
    }

    /// The same, because this brake holds.
    pub(super) fn page_held(&mut self, brake: Brake, moment: Moment, why: &str, touched: bool) {
        self.page_with((Reason::BrakeHeld, Some(brake)), moment, &format!("brake `{brake}` holds: {why}"), touched);
    }

    fn page_with(&mut self, (reason, brake): (Reason, Option<Brake>), moment: Moment, text: &str, touched: bool) {
        let to = self.page_channels();
        let urgency = self.page_urgency(touched);
        self.record(Event::Paged { reason, brake, announced: urgency != Urgency::Page, text: text.to_owned() });
        if !matches!(self.incident.phase, Phase::Paged) {
            self.enter(Phase::Paged);
        }
        let title = tell::page_title(&self.incident);
        let message = tell::message(self, moment, urgency, &title, text, to);
        self.effect(Effect::Tell(Box::new(message)));
        self.ask_in(Purpose::Watch, self.ctx.limits.watch_every, 0);
    }

    /// Sends the open page again, as it was: for who has not heard, or not answered.
    pub(super) fn page_again(&mut self) {
        let Some(page) = self.incident.page.clone() else { return };
        let (reason, brake, announced, text) = (page.reason, page.brake, page.announced, page.text);
        self.record(Event::Paged { reason, brake, announced, text: text.clone() });
        let urgency = if announced { Urgency::Announce } else { Urgency::Page };
        let title = tell::page_title(&self.incident);
        let to = self.page_channels();
        let message = tell::message(self, Moment::Paged, urgency, &title, &text, to);
        self.effect(Effect::Tell(Box::new(message)));
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
        if self.incident.page.is_some() {
            self.effect(Effect::ClosePage(self.incident.id.clone()));
        }
    }

    /// Where a page of this incident goes: what the rule says, else the policy's owner, else the settings' order.
    pub(super) fn page_channels(&self) -> Vec<String> {
        let said = self.incident.decision.as_ref().map(|decision| decision.to.clone()).unwrap_or_default();
        if !said.is_empty() {
            return said;
        }
        let owner = self.ctx.policies.get(&self.incident.policy).and_then(|policy| policy.owner.clone());
        owner.into_iter().collect()
    }

    /// What a page is on the policy's routing: beside the alert's own route, a verdict on an untouched target is only announced.
    /// Our own blindness is not on that route: it always pages.
    pub(super) fn page_urgency(&self, touched: bool) -> Urgency {
        let beside = self.incident.paging == Some(crate::model::Paging::Beside);
        let blind = self.incident.decision.as_ref().is_some_and(|decision| !decision.unknown.is_empty());
        if self.incident.lane.is_shadow() || (beside && !touched && !blind) { Urgency::Announce } else { Urgency::Page }
    }
}
