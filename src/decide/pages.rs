//! Pages: when one is sent, and that pages with the same cause fold. The first page of a cause goes out at once. Others that follow
//! within two minutes join it: they are listed together in its next message, seconds later, and from then on it is one page for all of
//! them, under the key of the first. It stays up until the last of them is closed; folding drops none.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::decision::Grip;
use super::draft::{Draft, as_left};
use super::effect::{Context, Effect};
use super::incident::{Incident, Lane, Page, Phase};
use super::latch;
use super::observation::Purpose;
use super::tell;
use super::transition::Event;
use crate::model::{Brake, Dependency, IncidentId, Message, Moment, Paging, Reason, Urgency};
use crate::planted::{self, Bug};

/// Incidents that one page lists at most; after that another one begins.
const MOST: usize = 100;

/// What several incidents may be paged about at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// This brake holds.
    Brake(Brake),
    /// What was asked of this dependency is unknown.
    Dependency(Dependency),
}

/// What others may be paged about too. What became of a write of ours is a matter of its own.
fn cause(incident: &Incident, reason: Reason, brake: Option<Brake>) -> Option<Cause> {
    if !incident.attempts.is_empty() {
        return None;
    }
    let decision = incident.decision.as_ref();
    let unseen = decision.and_then(|decision| decision.blind_on).map(Cause::Dependency);
    match (reason, brake) {
        (Reason::BrakeHeld, Some(brake)) => {
            let blind = |judgement: &super::decision::Judgement| judgement.brake == brake && judgement.grip == Grip::Blind;
            let is_blind = decision.is_some_and(|decision| decision.brakes.iter().any(blind));
            unseen.filter(|_| is_blind).or(Some(Cause::Brake(brake)))
        }
        (Reason::RuleUnknown | Reason::Redecided, _) => unseen,
        (Reason::Unresolved, _) => incident.blind_on.map(Cause::Dependency),
        _ => None,
    }
}

impl<'a> Draft<'a> {
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
        self.hand_over();
        let urgency = self.page_urgency(touched);
        let cause = cause(&self.incident, reason, brake).filter(|_| urgency == Urgency::Page);
        let folded_into = cause.and_then(|cause| self.leader(cause));
        self.record(Event::Paged {
            reason,
            brake,
            cause,
            folded_into: folded_into.clone(),
            announced: urgency != Urgency::Page,
            text: text.to_owned(),
        });
        if !matches!(self.incident.phase, Phase::Paged) {
            self.enter(Phase::Paged);
        }
        self.ask_in(Purpose::Watch, self.ctx.limits.watch_every, 0);
        self.announce_as_written(moment, &tell::page_title(&self.incident), text);
        if self.incident.decision.is_none() {
            latch::undecided(self);
        }
        match folded_into {
            Some(leader) => self.note(format!("paged together with incident {leader}, which has the same cause")),
            None => {
                let title = tell::page_title(&self.incident);
                let to = page_channels(self.ctx, &self.incident);
                let message = tell::message(self, moment, urgency, &title, text, to);
                self.effect(Effect::Tell(Box::new(message)));
            }
        }
    }

    /// Pages about an incident that is closed: a message, and nothing that is kept up.
    pub(super) fn tell_page(&mut self, moment: Moment, what: &str, text: &str) {
        let title = format!("{what}: {}", tell::subject(&self.incident));
        let to = page_channels(self.ctx, &self.incident);
        let message = tell::message(self, moment, self.page_urgency(true), &title, text, to);
        self.tell(message, text);
    }

    /// Sends the open page again, with all that folded into it: for who has not heard, or not answered, or has not heard of all.
    pub(super) fn page_again(&mut self) {
        let Some(page) = self.incident.page.clone() else { return };
        let Page { reason, brake, cause, folded_into, announced, text, .. } = page;
        self.record(Event::Paged { reason, brake, cause, folded_into, announced, text });
        self.record(Event::Listed);
        self.send_page();
    }

    /// Sends the open page as it stands. After a restart, a page of several is sent once: `sent` holds the keys that were.
    pub(super) fn send_page_once(&mut self, sent: &mut BTreeSet<IncidentId>) {
        let Some(page) = &self.incident.page else { return };
        if sent.insert(page.key(&self.incident.id).clone()) {
            self.send_page();
        }
    }

    fn send_page(&mut self) {
        let Some(page) = self.incident.page.clone() else { return };
        let urgency = if page.announced { Urgency::Announce } else { Urgency::Page };
        let to = page_channels(self.ctx, &self.incident);
        let title = tell::page_title(&self.incident);
        let key = page.key(&self.incident.id).clone();
        let others = self.others(&key);
        let mut message = tell::message(self, Moment::Paged, urgency, &title, &page.text, to);
        if !others.is_empty() {
            self.list(&others, &mut message);
        }
        message.incident = Some(key);
        self.effect(Effect::Tell(Box::new(message)));
    }

    /// Makes the message one about all of them.
    fn list(&mut self, others: &[Cow<'_, Incident>], message: &mut Message) {
        let all: Vec<&Incident> = std::iter::once(&self.incident).chain(others.iter().map(|other| &**other)).collect();
        message.title = tell::folded_title(&all);
        message.text = tell::folded_text(&all);
        message.target = None;
        message.folded = all.iter().map(|incident| incident.id.clone()).collect();
        if planted::is(Bug::FoldDropsOthers) {
            message.folded.retain(|id| *id == self.incident.id);
        }
        if all.iter().any(|incident| incident.critical()) {
            "critical".clone_into(&mut message.severity);
        }
        for other in others {
            self.record_of(&other.id, Event::Listed);
        }
    }

    /// The page that a new one with this cause folds into: the first of those that were opened a short while ago, and that reach the
    /// same people just as loudly.
    fn leader(&self, cause: Cause) -> Option<IncidentId> {
        let paged = |incident: &Incident| {
            let page = incident.page.as_ref()?;
            let opened_at = page.opened_at?;
            let leads = page.cause == Some(cause) && page.folded_into.is_none() && !page.announced;
            let soon = self.now.since(opened_at) < self.ctx.limits.fold_within;
            (leads && soon && matches!(incident.phase, Phase::Paged) && self.same_people(incident)).then_some(opened_at)
        };
        let open = self.all_open();
        let room = |id: &&IncidentId| open.iter().filter(|other| is_part_of(other, id)).count() < MOST;
        let mut leaders: Vec<_> = open.iter().filter_map(|other| Some((paged(other)?, &other.id))).collect();
        leaders.sort_unstable();
        leaders.into_iter().map(|(_, id)| id).find(room).cloned()
    }

    fn same_people(&self, other: &Incident) -> bool {
        let labels = |incident: &Incident| self.ctx.policies.get(&incident.policy).map(|policy| &policy.labels);
        other.lane == Lane::Live
            && page_channels(self.ctx, other) == page_channels(self.ctx, &self.incident)
            && labels(other) == labels(&self.incident)
            && (other.critical() || !self.incident.critical())
    }

    /// The other open incidents whose page has this key.
    fn others(&self, key: &IncidentId) -> Vec<Cow<'a, Incident>> {
        let mut others = self.all_open();
        others.retain(|other| is_part_of(other, key));
        others
    }

    /// Every other open incident that has a page, as this step has left it so far. Only those that it touched are copies: a storm asks
    /// for all of them with each page.
    fn all_open(&self) -> Vec<Cow<'a, Incident>> {
        let touched: BTreeSet<&IncidentId> = self.step.records.iter().filter_map(|stamped| stamped.record.incident()).collect();
        let in_book =
            self.book.open().filter(|incident| !touched.contains(&incident.id)).filter(|incident| incident.page.is_some());
        let in_step = touched.iter().filter_map(|id| as_left(self.book, id, self.step));
        let mut all: Vec<Cow<'a, Incident>> = in_book.map(Cow::Borrowed).chain(in_step.map(Cow::Owned)).collect();
        all.retain(|incident| incident.id != self.incident.id && incident.is_open() && incident.page.is_some());
        all.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// The page of this incident is about to say something else: those that folded into it get a page of their own.
    fn hand_over(&mut self) {
        if self.incident.page.as_ref().is_none_or(|page| page.folded_into.is_some()) {
            return;
        }
        let orphans = self.others(&self.incident.id);
        let Some((first, rest)) = orphans.split_first() else { return };
        self.record_of(&first.id, Event::Folded { into: None });
        for other in rest {
            self.record_of(&other.id, Event::Folded { into: Some(first.id.clone()) });
        }
        if let Some(mut draft) = Draft::of(self.ctx, self.book, self.now, &first.id, self.step) {
            draft.page_again();
        }
    }

    /// Ends the page of an incident that is being closed, unless it is also another one's.
    pub(super) fn end_page(&mut self) {
        let Some(key) = self.incident.page.as_ref().map(|page| page.key(&self.incident.id).clone()) else { return };
        if self.others(&key).is_empty() {
            self.effect(Effect::ClosePage(key));
        }
    }

    /// Whoever acknowledges a page has all that it lists.
    pub(super) fn acknowledge_folded(&mut self, by: &str) {
        for other in self.others(&self.incident.id) {
            let text = format!("{by} has it, by the page of incident {}", self.incident.id);
            self.record_of(&other.id, Event::Noted { text });
            self.record_of(&other.id, Event::Acknowledged { by: by.to_owned() });
        }
    }

    /// What a page is on the policy's routing: beside the alert's own route, a verdict on an untouched target is only announced.
    /// Our own blindness is not on that route: it always pages.
    pub(super) fn page_urgency(&self, touched: bool) -> Urgency {
        let beside = self.incident.paging == Some(Paging::Beside);
        let blind = self.incident.decision.as_ref().is_some_and(|decision| !decision.unknown.is_empty());
        if self.incident.lane.is_shadow() || (beside && !touched && !blind) { Urgency::Announce } else { Urgency::Page }
    }
}

/// Whether the page of an incident has this key, and wakes somebody.
fn is_part_of(incident: &Incident, key: &IncidentId) -> bool {
    incident.page.as_ref().is_some_and(|page| !page.announced && page.key(&incident.id) == key)
}

/// Where a page of an incident goes: what the rule says, else the policy's owner, else the settings' order.
pub(super) fn page_channels(ctx: &Context<'_>, incident: &Incident) -> Vec<String> {
    let said = incident.decision.as_ref().map(|decision| decision.to.clone()).unwrap_or_default();
    if !said.is_empty() {
        return said;
    }
    let owner = ctx.policies.get(&incident.policy).and_then(|policy| policy.owner.clone());
    owner.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::brakes::fixture::World;
    use super::*;
    use crate::decide::decision::{Decision, Judgement};
    use crate::decide::effect::Step;
    use crate::model::Time;
    use crate::policy::types::Policies;

    const MOMENT: Duration = Duration::from_millis(1);
    const STORM: Cause = Cause::Brake(Brake::Storm);

    fn decide(incident: &mut Incident, change: impl FnOnce(&mut Decision)) {
        let mut decision = Decision::clone(incident.decision.as_ref().expect("it decided"));
        change(&mut decision);
        incident.decision = Some(Arc::new(decision));
    }

    #[test]
    fn a_brake_that_is_blind_is_paged_for_what_does_not_answer() {
        let because = "it is so";
        let storm = Cause::Brake(Brake::Storm);
        let cluster = Cause::Dependency(Dependency::Cluster);
        for (brakes, cause_of_it) in [
            ([Judgement::held(Brake::Storm, because), Judgement::free(Brake::Freeze, because)], storm),
            ([Judgement::held(Brake::Storm, because), Judgement::blind(Brake::Freeze, because)], storm),
            ([Judgement::blind(Brake::Storm, because), Judgement::free(Brake::Freeze, because)], cluster),
        ] {
            let mut world = World::new();
            world.plan();
            decide(&mut world.incident, |decision| {
                decision.blind_on = Some(Dependency::Cluster);
                decision.brakes = brakes.to_vec();
            });
            let found = cause(&world.incident, Reason::BrakeHeld, Some(Brake::Storm));
            assert_eq!(found, Some(cause_of_it), "{brakes:?}");
        }
    }

    /// One that was paged then because of the storm brake, with its own page or as part of another one's.
    fn paged(world: &World, id: &str, at: Time, folded_into: Option<&str>) -> Incident {
        let mut incident = Incident { id: IncidentId(id.to_owned()), phase: Phase::Paged, ..world.incident.clone() };
        let folded_into = folded_into.map(|id| IncidentId(id.to_owned()));
        let (reason, brake, cause) = (Reason::BrakeHeld, Some(Brake::Storm), Some(STORM));
        let event = Event::Paged { reason, brake, cause, folded_into, announced: false, text: "a storm".to_owned() };
        incident.apply(&event, at).expect("it is possible in every phase");
        incident
    }

    /// The incident whose page the fixture's folds into, where these stand beside it.
    fn leads(world: &World, others: Vec<Incident>) -> Option<String> {
        let mut book = world.book.clone();
        book.incidents.extend(others.into_iter().map(|other| (other.id.clone(), other)));
        book.reindex();
        let (policies, mut step) = (Policies::default(), Step::default());
        let ctx = Context { policies: &policies, limits: &world.limits, cluster: None };
        let draft = Draft { ctx: &ctx, book: &book, now: world.now, incident: world.incident.clone(), step: &mut step };
        draft.leader(STORM).map(|id| id.0)
    }

    #[test]
    fn a_page_joins_one_of_the_same_cause_for_less_than_two_minutes() {
        let world = World::new();
        let within = world.limits.fold_within;
        for (ago, joins) in [(within - MOMENT, true), (within, false), (within + MOMENT, false)] {
            let leader = leads(&world, vec![paged(&world, "j", world.now - ago, None)]);
            assert_eq!(leader.is_some(), joins, "{ago:?}");
        }
    }

    #[test]
    fn a_page_lists_a_hundred_incidents_and_then_another_one_begins() {
        let world = World::new();
        for (count, leader) in [(MOST - 1, Some("j")), (MOST, None)] {
            let part = |number| paged(&world, &format!("k{number}"), world.now, Some("j"));
            let others = (1..count).map(part).chain([paged(&world, "j", world.now, None)]);
            assert_eq!(leads(&world, others.collect()).as_deref(), leader, "{count}");
        }
    }

    #[test]
    fn a_page_joins_only_one_that_reaches_the_same_people_as_loudly() {
        let mut world = World::new();
        world.plan();
        let same = paged(&world, "j", world.now, None);
        let mut shadow = same.clone();
        shadow.lane = Lane::Shadow("web".to_owned());
        let mut elsewhere = same.clone();
        decide(&mut elsewhere, |decision| decision.to = vec!["others".to_owned()]);
        assert_eq!(leads(&world, vec![same.clone()]).as_deref(), Some("j"));
        assert_eq!(leads(&world, vec![shadow]), None);
        assert_eq!(leads(&world, vec![elsewhere]), None);
        world.change_member(|member| member.alert.labels.insert("severity", "critical"));
        assert_eq!(leads(&world, vec![same]), None, "what is critical is not read below a warning");
    }
}
