//! What can happen to an incident, and the only function that changes one. No decisions here; those are `step`'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::decision::Decision;
use super::incident::{Approval, Asked, Attempt, Incident, Marked, Member, Note, Page, Phase, Retry};
use super::observation::Purpose;
use super::pages::Cause;
use super::untold::News;
use crate::model::{
    Applied, Brake, Delivery, Evidence, IncidentId, Mark, Occurrence, Paging, Plan, PreflightReport, Reason, Time,
};
use crate::planted::{self, Bug};

/// What can happen to an incident. Recorded, and folded again at recovery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// It begins.
    Opened {
        /// As it begins.
        incident: Box<Incident>,
    },
    /// An alert joins, or is heard of again.
    Joined {
        /// The alert.
        member: Box<Member>,
    },
    /// A sender says that an alert is over.
    Resolved {
        /// Which.
        occurrence: Occurrence,
    },
    /// It stands elsewhere.
    Phase {
        /// Where it stands now.
        to: Phase,
    },
    /// An observation is asked for.
    Asked {
        /// What for.
        purpose: Purpose,
        /// How many came back unknown before it.
        tries: u32,
    },
    /// An observation is put off.
    Postponed {
        /// What for.
        purpose: Purpose,
        /// Until when.
        until: Time,
        /// How many came back unknown before it.
        tries: u32,
    },
    /// A reached rule reads these facts.
    Wanted {
        /// Their names.
        facts: Vec<String>,
    },
    /// A verdict.
    Decided {
        /// With everything that it rests on.
        decision: Arc<Decision>,
    },
    /// The policy that decides is another one (reload while settling).
    Policy {
        /// Its name.
        name: String,
        /// Its routing.
        paging: Option<Paging>,
    },
    /// A plan waits.
    Planned {
        /// The plan.
        plan: Arc<Plan>,
    },
    /// A person said yes.
    Approved {
        /// To what.
        approval: Approval,
    },
    /// Dry run and evidence are there.
    Prepared {
        /// What was checked.
        report: PreflightReport,
        /// What was collected.
        evidence: Arc<Evidence>,
    },
    /// The write is about to be made. Committed before the write starts.
    Intended,
    /// The write was answered.
    Applied {
        /// How.
        applied: Applied,
    },
    /// A step of the proof.
    Checked {
        /// What each check says.
        checks: BTreeMap<String, String>,
        /// Whether the rollout is complete.
        rolled_back: bool,
        /// Since when all hold.
        holds_since: Option<Time>,
        /// The end of the tail, once known.
        tail_until: Option<Time>,
    },
    /// A stage of the proof holds, and is not the last: the next one's turn.
    StageProven,
    /// Preflight refused a level, with nothing touched: the next one's turn.
    PassedOver {
        /// Its procedure.
        procedure: String,
        /// What was in the way.
        why: String,
    },
    /// The attempt is over.
    AttemptEnded {
        /// How.
        reason: Reason,
    },
    /// A page is sent.
    Paged {
        /// Why.
        reason: Reason,
        /// The brake that holds, where one does.
        #[serde(default)]
        brake: Option<Brake>,
        /// What others may be paged about too.
        #[serde(default)]
        cause: Option<Cause>,
        /// The incident whose page this one is part of: no message of its own is sent.
        #[serde(default)]
        folded_into: Option<IncidentId>,
        /// Whether it is announced only.
        #[serde(default)]
        announced: bool,
        /// What it says.
        text: String,
    },
    /// The page is in a message that is being sent, of its own or of the page that it is part of.
    Listed,
    /// The page is part of another one now, or of none any more.
    Folded {
        /// The incident whose page it is part of.
        into: Option<IncidentId>,
    },
    /// A person has it.
    Acknowledged {
        /// Who.
        by: String,
    },
    /// A person said no.
    Vetoed {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// A person says whether the rollback was right.
    Marked {
        /// What he says.
        mark: Mark,
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// All alerts are over, confirmed; or not any more.
    Quiet {
        /// Whether.
        quiet: bool,
    },
    /// A message went out, or did not.
    Told {
        /// Its id.
        message: String,
        /// How it went.
        delivery: Delivery,
        /// Whether it was a page.
        #[serde(default)]
        page: bool,
    },
    /// Something that somebody must hear is sent with this, and again until a channel has it.
    MustTell {
        /// What.
        news: Box<News>,
    },
    /// What no channel is known to have is sent again.
    TellingAgain,
    /// It is not sent any more: for too long nobody took it.
    NotTold {
        /// The ids of their messages.
        messages: Vec<String>,
    },
    /// A line for the report.
    Noted {
        /// The line.
        text: String,
    },
}

/// An event that cannot happen in this state: a defect, or a damaged journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event `{event}` is not possible for incident {incident} in phase `{phase}`")]
pub struct IllegalEvent {
    /// Whose.
    pub incident: IncidentId,
    /// Where it stood.
    pub phase: &'static str,
    /// What was to happen.
    pub event: &'static str,
}

/// Lines kept for the report.
const NOTES: usize = 500;

impl Incident {
    /// Carries an event out. The only way an incident changes, live and at recovery.
    ///
    /// # Errors
    /// When the event is not possible in this state.
    pub fn apply(&mut self, event: &Event, at: Time) -> Result<(), IllegalEvent> {
        match event {
            Event::Opened { .. } => return Err(self.illegal("opened")),
            Event::Joined { member } => self.join(member, at),
            Event::Resolved { occurrence } => {
                self.members.change(*occurrence, |member| member.resolved_at = Some(at));
                self.heard_at = at;
            }
            Event::Phase { to } => self.enter(to, at)?,
            Event::Asked { purpose, tries } => {
                self.next += 1;
                self.asked = Some(Asked { id: self.next, purpose: *purpose, at, tries: *tries, outdated: false });
                self.retry = None;
            }
            Event::Postponed { purpose, until, tries } => {
                self.asked = None;
                self.retry = Some(Retry { purpose: *purpose, at: *until, tries: *tries });
            }
            Event::Wanted { facts } => self.wanted.clone_from(facts),
            Event::Decided { decision } => self.decided(decision, at),
            Event::Policy { name, paging } => {
                self.policy.clone_from(name);
                self.paging = *paging;
            }
            Event::Planned { plan } => {
                self.plan = Some(Arc::clone(plan));
                self.approval = None;
                self.no_ticket();
            }
            Event::Approved { approval } => self.approval = Some(approval.clone()),
            Event::Prepared { report, evidence } => {
                self.preflight = Some(report.clone());
                self.evidence = Some(Arc::clone(evidence));
            }
            Event::Intended | Event::Applied { .. } | Event::Checked { .. } | Event::StageProven | Event::AttemptEnded { .. } => {
                self.advance_attempt(event, at)?;
            }
            Event::Paged { .. } => self.paged(event, at),
            Event::Listed => {
                if let Some(page) = &mut self.page {
                    (page.sent_at, page.unlisted_since, page.unheard) = (at, None, None);
                }
            }
            Event::Folded { into } => {
                if let Some(page) = &mut self.page {
                    page.folded_into.clone_from(into);
                }
            }
            Event::PassedOver { procedure, why } => self.passed_over.push((procedure.clone(), why.clone())),
            Event::Acknowledged { .. } | Event::Vetoed { .. } | Event::Marked { .. } => self.hear(event, at),
            Event::Quiet { quiet } => {
                self.quiet_since = if *quiet { self.quiet_since.or(Some(at)) } else { None };
                self.heard_at = at;
            }
            Event::Told { message, delivery, page } => self.told(message, delivery, *page, at),
            Event::MustTell { news } => self.must_tell(news, at),
            Event::TellingAgain => self.telling_again(at),
            Event::NotTold { messages } => self.let_go(messages),
            Event::Noted { text } => self.note(at, text.clone()),
        }
        Ok(())
    }

    /// What people say of it.
    fn hear(&mut self, event: &Event, at: Time) {
        match event {
            Event::Acknowledged { by } => self.acknowledged = Some((at, by.clone())),
            Event::Vetoed { by, why } => self.vetoed = Some((at, by.clone(), why.clone())),
            Event::Marked { mark, by, why } => {
                self.marked = Some(Marked { at, mark: *mark, by: by.clone(), why: why.clone() });
            }
            _ => {}
        }
    }

    fn decided(&mut self, decision: &Arc<Decision>, at: Time) {
        self.decided_at = self.decided_at.or(Some(at));
        // Brakes are judged only where a rule said rollback. What was attempted was wanted, whatever is decided after it.
        let wanted = !decision.brakes.is_empty();
        if wanted || self.attempts.is_empty() {
            self.rollback_wanted_at = wanted.then(|| self.rollback_wanted_at.unwrap_or(at));
        }
        self.change_landed_at = decision.change_landed_at.or(self.change_landed_at);
        self.decision = Some(Arc::clone(decision));
    }

    fn join(&mut self, member: &Member, at: Time) {
        self.heard_at = self.heard_at.max(member.received_at);
        let occurrence = member.alert.occurrence();
        let fired = self.members.get(occurrence).is_some_and(|known| known.resolved_at.is_none());
        if let Some(asked) = self.asked.as_mut().filter(|_| !fired) {
            asked.outdated = true;
        }
        if !self.members.contains(occurrence) {
            // A known one that is said to fire again is asked about first: it may be stale.
            self.quiet_since = None;
            self.note(at, format!("alert {:?} joined", member.alert.label("alertname")));
            if let Some(surplus) = self.members.surplus() {
                self.members.forget(surplus);
                self.forgotten_alerts += 1;
            }
            self.members.put(member.clone());
            return;
        }
        self.members.change(occurrence, |known| {
            known.alert = member.alert.clone();
            known.resolved_at = None;
            known.truncated |= member.truncated;
            if known.onset.at.is_err() {
                known.onset = member.onset.clone();
            }
        });
    }

    fn enter(&mut self, to: &Phase, at: Time) -> Result<(), IllegalEvent> {
        let from_open = self.is_open();
        let possible = match to {
            // The policies were reloaded, and the new one settles for another time.
            Phase::Settling { .. } => matches!(self.phase, Phase::Settling { .. }),
            Phase::Executing { .. } => matches!(self.phase, Phase::Redeciding { .. } | Phase::Executing { .. }),
            Phase::Redeciding { .. } => {
                matches!(self.phase, Phase::Preparing { .. } | Phase::Redeciding { .. } | Phase::Executing { .. })
            }
            Phase::Closed { .. } => from_open && !matches!(self.phase, Phase::Executing { .. }),
            _ => from_open,
        };
        if !possible {
            return Err(self.illegal(to.as_str()));
        }
        if let Phase::Preparing { .. } = to {
            self.begun += 1;
            if !matches!(self.phase, Phase::Preparing { .. } | Phase::Redeciding { .. } | Phase::Executing { .. }) {
                self.allowed_at = Some(at);
            }
        }
        self.phase = to.clone();
        self.asked = None;
        self.retry = None;
        Ok(())
    }

    fn advance_attempt(&mut self, event: &Event, at: Time) -> Result<(), IllegalEvent> {
        if let Event::Intended = event {
            let Some(plan) = self.plan.clone() else { return Err(self.illegal("intended without a plan")) };
            // A second intent for the same plan is the same attempt: a guard failed before anything was written.
            if self.attempts.last().is_none_or(|last| last.ended.is_some() || last.plan.hash() != plan.hash()) {
                self.attempts.push(Attempt {
                    plan,
                    intended_at: at,
                    intents: 0,
                    last_intended_at: None,
                    applied: None,
                    rolled_back_at: None,
                    holds_since: None,
                    tail_until: None,
                    stage: 0,
                    stage_since: None,
                    checks: BTreeMap::new(),
                    ended: None,
                });
            }
            self.begun += 1;
            if let Some(attempt) = self.attempts.last_mut() {
                attempt.intents = attempt.intents.saturating_add(1);
                attempt.last_intended_at = Some(at);
                attempt.applied = None;
            }
            return Ok(());
        }
        let illegal = self.illegal("attempt event without an attempt");
        let Some(attempt) = self.attempts.last_mut() else { return Err(illegal) };
        match event {
            Event::Applied { applied } => attempt.applied = Some(applied.clone()),
            Event::Checked { checks, rolled_back, holds_since, tail_until } => {
                attempt.checks.clone_from(checks);
                attempt.holds_since = *holds_since;
                attempt.tail_until = attempt.tail_until.or(*tail_until);
                if *rolled_back {
                    attempt.rolled_back_at = attempt.rolled_back_at.or(Some(at));
                }
            }
            Event::StageProven => {
                attempt.stage += 1;
                attempt.stage_since = Some(at);
                (attempt.holds_since, attempt.tail_until) = (None, None);
            }
            Event::AttemptEnded { reason } => attempt.ended = Some((at, *reason)),
            _ => {}
        }
        Ok(())
    }

    fn paged(&mut self, event: &Event, at: Time) {
        let Event::Paged { reason, brake, cause, folded_into, announced, text } = event else { return };
        // A page about something else was not acknowledged yet by whoever acknowledged the one before.
        if self.page.as_ref().is_some_and(|page| page.reason != *reason) {
            self.acknowledged = None;
        }
        let same = self.page.as_ref().filter(|page| page.cause == *cause && page.folded_into == *folded_into);
        let (opened_at, unlisted_since) = same.map_or((None, None), |page| (page.opened_at, page.unlisted_since));
        self.page = Some(Page {
            reason: *reason,
            brake: *brake,
            cause: *cause,
            folded_into: folded_into.clone(),
            unlisted_since: folded_into.as_ref().map(|_| unlisted_since.unwrap_or(at)),
            opened_at: opened_at.or(Some(at)),
            text: text.clone(),
            announced: *announced,
            unheard: None,
            // Sending it again is not yet being heard.
            untaken: self.page.as_ref().is_some_and(|page| page.untaken),
            sent_at: at,
            count: self.page.as_ref().map_or(0, |page| page.count) + 1,
        });
        self.next += 1;
        self.page_tells();
    }

    fn told(&mut self, message: &str, delivery: &Delivery, page: bool, at: Time) {
        // Where routing makes a page an announcement, it is the only message about the verdict: it is not lost either.
        let announced = format!("{}-paged-", self.id);
        let is_page = |open: &&mut Page| page || (open.announced && message.starts_with(&announced));
        if let Some(open) = self.page.as_mut().filter(is_page) {
            let unwanted = open.announced && delivery.has_no_reader();
            let lost = delivery.delivered.is_empty() && !unwanted && !planted::is(Bug::PageDropped);
            (open.unheard, open.untaken) = (lost.then_some(at), lost);
        }
        for channel in &delivery.delivered {
            self.note(at, format!("message {message}: delivered by {channel}"));
        }
        for (channel, why) in &delivery.failed {
            let text = format!("message {message}: not delivered by {channel}: {why}");
            // One that is sent again and again fails again and again.
            if self.untold.is_none() || !self.notes.iter().any(|note| note.text == text) {
                self.note(at, text);
            }
        }
        self.news_answered(message, delivery, at);
    }

    fn note(&mut self, at: Time, text: String) {
        if self.notes.len() < NOTES {
            self.notes.push_back_mut(Note { at, text });
        }
    }

    fn illegal(&self, event: &'static str) -> IllegalEvent {
        IllegalEvent { incident: self.id.clone(), phase: self.phase.as_str(), event }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::decide::brakes::fixture::{World, acting, minutes};
    use crate::model::{Fingerprint, Moment, Urgency};

    fn apply(incident: &mut Incident, event: Event, at: Time) {
        incident.apply(&event, at).expect("it is possible");
    }

    fn page(reason: Reason, cause: Option<Cause>, into: Option<&str>) -> Event {
        let folded_into = into.map(|id| IncidentId(id.to_owned()));
        Event::Paged { reason, brake: None, cause, folded_into, announced: false, text: "held".to_owned() }
    }

    fn told(message: &str, page: bool) -> Event {
        let failed = vec![("pager".to_owned(), "no answer".to_owned())];
        Event::Told { message: message.to_owned(), delivery: Delivery { delivered: Vec::new(), failed }, page }
    }

    #[test]
    fn a_phase_is_entered_only_from_where_it_can_follow() {
        let World { mut incident, now, .. } = World::new();
        let settling = Phase::Settling { until: now };
        let deciding = Phase::Deciding { since: now };
        let preparing = Phase::Preparing { since: now };
        let redeciding = Phase::Redeciding { since: now };
        let executing = Phase::Executing { step: 0, since: now, doubtful: false };
        let closed = Phase::Closed { reason: Reason::Recovered, at: now };
        for (from, to, possible) in [
            (&settling, &settling, true),
            (&deciding, &settling, false),
            (&redeciding, &executing, true),
            (&executing, &executing, true),
            (&deciding, &executing, false),
            (&preparing, &redeciding, true),
            (&deciding, &redeciding, false),
            (&deciding, &closed, true),
            (&executing, &closed, false),
            (&closed, &closed, false),
            (&closed, &deciding, false),
        ] {
            incident.phase = from.clone();
            let entered = incident.apply(&Event::Phase { to: to.clone() }, now);
            assert_eq!(entered.is_ok(), possible, "{from:?} to {to:?}");
            assert_eq!(&incident.phase, if possible { to } else { from });
        }
    }

    #[test]
    fn each_preparation_has_its_number() {
        let World { mut incident, now, .. } = World::new();
        for number in [1, 2] {
            apply(&mut incident, Event::Phase { to: Phase::Preparing { since: now } }, now);
            assert_eq!((incident.begun, incident.allowed_at), (number, Some(now)));
        }
    }

    #[test]
    fn an_attempt_is_one_plan_until_it_ends() {
        let mut world = World::new();
        world.decide_by(&acting("{rollback: undo}"));
        let World { mut incident, now, .. } = world;
        let intents = |incident: &Incident| incident.attempts.iter().map(|attempt| attempt.intents).collect::<Vec<_>>();
        apply(&mut incident, Event::Intended, now);
        apply(&mut incident, Event::Intended, now);
        assert_eq!(intents(&incident), [2], "the same plan");
        let mut other = Plan::clone(incident.plan.as_ref().expect("there is one"));
        other.countdown += Duration::from_secs(1);
        incident.plan = Some(Arc::new(other));
        apply(&mut incident, Event::Intended, now);
        assert_eq!(intents(&incident), [2, 1], "another plan");
        apply(&mut incident, Event::AttemptEnded { reason: Reason::Failed }, now);
        apply(&mut incident, Event::Intended, now);
        assert_eq!(intents(&incident), [2, 1, 1], "after the end of the one before");
    }

    #[test]
    fn a_page_about_something_else_is_not_acknowledged_yet() {
        let World { mut incident, now, .. } = World::new();
        apply(&mut incident, page(Reason::Rule, None, None), now);
        apply(&mut incident, Event::Acknowledged { by: "ann".to_owned() }, now);
        apply(&mut incident, page(Reason::Rule, None, None), now);
        assert_eq!(incident.acknowledged, Some((now, "ann".to_owned())));
        apply(&mut incident, page(Reason::Ineffective, None, None), now);
        assert_eq!(incident.acknowledged, None);
    }

    #[test]
    fn a_page_is_as_old_as_its_cause_and_numbers_its_messages() {
        let storm = Some(Cause::Brake(Brake::Storm));
        for (cause, into, same) in [
            (storm, None, true),
            (storm, Some("i2"), false),
            (Some(Cause::Brake(Brake::Freeze)), None, false),
            (None, Some("i2"), false),
        ] {
            let World { mut incident, now, .. } = World::new();
            apply(&mut incident, page(Reason::BrakeHeld, storm, None), now);
            assert_eq!((incident.next, incident.page.as_ref().map(|page| page.count)), (1, Some(1)));
            let later = now + minutes(1);
            apply(&mut incident, page(Reason::BrakeHeld, cause, into), later);
            assert_eq!((incident.next, incident.page.as_ref().map(|page| page.count)), (2, Some(2)));
            let opened_at = incident.page.as_ref().and_then(|page| page.opened_at);
            assert_eq!(opened_at, Some(if same { now } else { later }), "{cause:?} {into:?}");
        }
    }

    #[test]
    fn only_a_lost_page_is_sent_again() {
        for (announced, message, is_page, lost) in [
            (false, "i1-paged-1", true, true),
            (false, "i1-paged-1", false, false),
            (true, "i1-paged-1", false, true),
            (true, "i1-decided-1", false, false),
        ] {
            let World { mut incident, now, .. } = World::new();
            apply(&mut incident, page(Reason::Rule, None, None), now);
            incident.page.as_mut().expect("it was opened").announced = announced;
            apply(&mut incident, told(message, is_page), now);
            let unheard = incident.page.as_ref().and_then(|page| page.unheard);
            assert_eq!(unheard.is_some(), lost, "{message}, announced: {announced}, page: {is_page}");
        }
    }

    #[test]
    fn the_report_says_once_of_what_is_sent_again_and_again_that_it_failed() {
        for (owed, lines) in [(false, 2), (true, 1)] {
            let World { mut incident, now, .. } = World::new();
            if owed {
                let (moment, urgency) = (Moment::Verified, Urgency::Announce);
                let (message, title, text) = ("m1".to_owned(), "verified".to_owned(), String::new());
                let news = News { message, moment, urgency, title, text, to: Vec::new(), at: now };
                apply(&mut incident, Event::MustTell { news: Box::new(news) }, now);
            }
            apply(&mut incident, Event::Noted { text: "something else".to_owned() }, now);
            apply(&mut incident, told("m1", false), now);
            apply(&mut incident, told("m1", false), now);
            let failed = incident.notes.iter().filter(|note| note.text.contains("m1: not delivered by pager")).count();
            assert_eq!(failed, lines, "owed: {owed}");
        }
    }

    #[test]
    fn what_is_kept_of_an_incident_is_bounded() {
        let World { mut incident, now, .. } = World::new();
        for number in 0..NOTES + 50 {
            apply(&mut incident, Event::Noted { text: number.to_string() }, now);
        }
        assert_eq!(incident.notes.len(), NOTES);
        let first = incident.members.values().next().expect("it has one").clone();
        let mut join = |number: u64, resolved_at: Option<Time>| {
            let mut member = Member { resolved_at, ..first.clone() };
            member.alert.fingerprint = Fingerprint(1000 + number);
            apply(&mut incident, Event::Joined { member: Box::new(member) }, now);
            incident.forgotten_alerts
        };
        assert_eq!((0..200).map(|number| join(number, Some(now))).max(), Some(0));
        assert_eq!(join(200, Some(now)), 1, "the one that ended first is forgotten, and counted");
        assert_eq!(join(201, None), 2);
    }

    #[test]
    fn what_people_say_is_kept_and_a_rollback_is_wanted_while_a_rule_says_so() {
        let mut world = World::new();
        world.decide_by(&acting("{rollback: undo}"));
        let World { mut incident, now, .. } = world;
        let wanted = incident.decision.clone().expect("it was decided");
        let not = Arc::new(Decision { brakes: Vec::new(), ..Decision::clone(&wanted) });
        let decided = |decision: &Arc<Decision>| Event::Decided { decision: Arc::clone(decision) };
        apply(&mut incident, decided(&wanted), now);
        assert_eq!(incident.rollback_wanted_at, Some(now));
        apply(&mut incident, decided(&not), now);
        assert_eq!(incident.rollback_wanted_at, None);
        apply(&mut incident, decided(&wanted), now);
        apply(&mut incident, Event::Intended, now);
        apply(&mut incident, decided(&not), now);
        assert_eq!(incident.rollback_wanted_at, Some(now), "what was attempted was wanted");

        let (by, why) = ("ann".to_owned(), "it was the database".to_owned());
        apply(&mut incident, Event::Marked { mark: Mark::Wrong, by: by.clone(), why: why.clone() }, now);
        assert_eq!(incident.marked, Some(Marked { at: now, mark: Mark::Wrong, by, why }));
    }
}
