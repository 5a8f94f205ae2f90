//! Runs the production brain over an alert until every incident that it opens or joins has a verdict. There is no second
//! evaluator: these are `decide::step`, the book and the engine's hands; only what is done after a verdict is left out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::decide::book::Book;
use crate::decide::counterfactual::{self, Basis, Counterfactual};
use crate::decide::effect::{Context, Effect, Heard, Input, Step};
use crate::decide::incident::{Incident, Phase};
use crate::decide::limits::Limits;
use crate::decide::memory::Memory;
use crate::decide::transition::Event;
use crate::decide::{self};
use crate::engine::Hands;
use crate::journal::record::{Record, Stamped};
use crate::model::{Alert, Fingerprint, IncidentId, Notification, TargetRef, Time};
use crate::policy::types::Policies;

use super::past::Past;

/// Steps before something is wrong with us: an alert takes some ten for each lane.
const MOST_STEPS: usize = 2_000;

/// What came of it.
pub(super) struct Explained {
    /// When it was decided.
    pub(super) now: Time,
    /// Each alert, and what became of it.
    pub(super) heard: Vec<(Alert, Heard)>,
    /// Every incident that is about one of the alerts, the live ones first.
    pub(super) incidents: Vec<Incident>,
    /// Those of them that were open before, with the state that they are in.
    pub(super) known: BTreeMap<IncidentId, &'static str>,
    /// What was remembered: by whom, and as of when.
    pub(super) memory: Option<(String, Time)>,
    /// What would have flipped each verdict.
    pub(super) otherwise: BTreeMap<IncidentId, Vec<Counterfactual>>,
    /// What each plan changes in the pod template, or why that cannot be shown.
    pub(super) diffs: BTreeMap<IncidentId, Result<String, String>>,
    /// For an incident of the past: how its decisions were derived again.
    pub(super) past: Option<Past>,
}

/// The targets of the alerts, as far as they are found.
///
/// # Errors
/// A defect: a record does not fit the book.
pub(super) async fn targets(
    policies: &Policies,
    cluster: Option<&str>,
    hands: &Hands,
    notification: Notification,
) -> Result<BTreeSet<TargetRef>, String> {
    let (policies, limits) = (at_once(policies), impatient(Limits::default()));
    let mut brain = Brain::new(Context { policies: &policies, limits: &limits, cluster }, Book::default());
    brain.begin(notification, hands.clock.now())?;
    for effect in std::mem::take(&mut brain.effects) {
        if let Some(input) = hands.perform(effect).await {
            brain.step(input, hands.clock.now())?;
        }
    }
    Ok(brain.book.incidents.into_values().filter_map(|incident| incident.target).map(|target| target.at).collect())
}

/// Brings an alert in as if it had been firing for as long as its policy waits, and decides. With a memory: by what it holds, and
/// what is open on the alert's target is decided anew; without: as a service that was started this moment.
///
/// # Errors
/// A defect: a record does not fit the book, or there is no end.
pub(super) async fn explain(
    policies: &Policies,
    cluster: Option<&str>,
    hands: &Hands,
    notification: Notification,
    memory: Option<(&Memory, &BTreeSet<TargetRef>)>,
) -> Result<Explained, String> {
    let (policies, limits) = (at_once(policies), impatient(memory.map_or_else(Limits::default, |(memory, _)| memory.limits)));
    let ctx = Context { policies: &policies, limits: &limits, cluster };
    let alerts = notification.alerts.clone();
    let now = hands.clock.now();
    let book = memory.map(|(memory, _)| memory.book.clone()).unwrap_or_default();
    let mut brain = Brain::new(ctx, book);
    let mut known = BTreeMap::new();
    if let Some((_, targets)) = memory {
        known = brain.decide_anew(targets, now);
        // What the service decides by otherwise is said beside the verdict; it changes nothing about this alert.
        brain.book.policies.clone_from(&policies.hash);
    }
    brain.begin(notification, now)?;
    brain.run(hands).await?;
    let about: BTreeSet<Fingerprint> = alerts.iter().map(|alert| alert.fingerprint).collect();
    let heard = alerts.into_iter().zip(std::mem::take(&mut brain.heard)).collect();
    let is_about = |incident: &Incident| incident.members.values().any(|member| about.contains(&member.alert.fingerprint));
    let is_old = |incident: &Incident| brain.beside.contains(&incident.id) && !known.contains_key(&incident.id);
    let mut incidents: Vec<Incident> =
        brain.book.incidents.values().filter(|incident| is_about(incident) && !is_old(incident)).cloned().collect();
    incidents.sort_by(|a, b| (&a.lane, &a.id).cmp(&(&b.lane, &b.id)));
    known.retain(|id, _| incidents.iter().any(|incident| incident.id == *id));
    let mut otherwise = BTreeMap::new();
    for incident in &incidents {
        let Some((decision, basis)) = incident.decision.as_deref().zip(brain.bases.get(&incident.id)) else { continue };
        // What is tried must begin with what was decided.
        if basis.decide(&ctx) != *decision {
            return Err(format!("incident {}: the decision is not the one that its inputs give", incident.id));
        }
        otherwise.insert(incident.id.clone(), counterfactual::nearest(&ctx, basis));
    }
    let now = hands.clock.now();
    Ok(Explained { now, heard, incidents, known, memory: None, otherwise, diffs: BTreeMap::new(), past: None })
}

/// What a verdict is made from, where this record is one and the book stands as before it.
fn basis_of(book: &Book, stamped: &Stamped) -> Option<(IncidentId, Basis)> {
    let Record::Incident { id, event: Event::Decided { decision } } = &stamped.record else { return None };
    let incident = book.incidents.get(id)?.clone();
    let basis = Basis { book: book.clone(), incident, observation: decision.observation.clone(), now: stamped.at };
    Some((id.clone(), basis))
}

/// The policies as they are once an alert has been firing for as long as they wait.
fn at_once(policies: &Policies) -> Policies {
    let mut policies = policies.clone();
    policies.policies.iter_mut().for_each(|policy| policy.settle = Duration::ZERO);
    policies
}

/// What is unknown now is unknown: nobody waits for it to be known.
fn impatient(limits: Limits) -> Limits {
    Limits { patience: Duration::ZERO, ..limits }
}

struct Brain<'a> {
    ctx: Context<'a>,
    book: Book,
    effects: VecDeque<Effect>,
    heard: Vec<Heard>,
    /// Incidents that were there before and are not decided anew.
    beside: BTreeSet<IncidentId>,
    /// What the last verdict on each incident rests on.
    bases: BTreeMap<IncidentId, Basis>,
    steps: usize,
}

impl<'a> Brain<'a> {
    fn new(ctx: Context<'a>, book: Book) -> Self {
        let (effects, heard, beside) = (VecDeque::new(), Vec::new(), BTreeSet::new());
        Self { ctx, book, effects, heard, beside, bases: BTreeMap::new(), steps: 0 }
    }

    /// Brings the alerts in. A book in which nothing ever happened is that of a service that starts now.
    fn begin(&mut self, notification: Notification, now: Time) -> Result<(), String> {
        if self.book.alive_at.is_none() {
            self.step(Input::Started { program: env!("CARGO_PKG_VERSION").to_owned() }, now)?;
            self.step(Input::Loaded, now)?;
        }
        self.step(Input::Received { seq: 1, at: now, notification: Some(notification) }, now)
    }

    /// Takes what is open on these targets back to where it was before its verdict, but for what is being written or proven.
    /// Tells what was open there.
    fn decide_anew(&mut self, targets: &BTreeSet<TargetRef>, now: Time) -> BTreeMap<IncidentId, &'static str> {
        let mut known = BTreeMap::new();
        for incident in self.book.incidents.values_mut() {
            let asked = incident.is_open() && incident.target.as_ref().is_some_and(|target| targets.contains(&target.at));
            if asked {
                known.insert(incident.id.clone(), incident.phase.as_str());
            }
            if !asked || incident.phase.is_acting() {
                self.beside.insert(incident.id.clone());
                continue;
            }
            incident.phase = Phase::Deciding { since: now };
            incident.asked = None;
            incident.retry = None;
            incident.wanted.clear();
            incident.decision = None;
            incident.plan = None;
            incident.approval = None;
            incident.page = None;
            incident.passed_over.clear();
        }
        self.book.reindex();
        known
    }

    /// Whether an incident waits for a verdict that is wanted.
    fn waits(&self, incident: &Incident) -> bool {
        is_undecided(incident) && !self.beside.contains(&incident.id)
    }

    async fn run(&mut self, hands: &Hands) -> Result<(), String> {
        loop {
            while let Some(effect) = self.effects.pop_front() {
                if let Some(input) = hands.perform(effect).await {
                    self.step(input, hands.clock.now())?;
                }
            }
            // Time goes by for what is to be decided only: what others are due for is none of an explanation's business.
            let waiting = self.book.incidents.iter().filter(|(_, incident)| self.waits(incident));
            let incidents = waiting.map(|(id, incident)| (id.clone(), incident.clone())).collect();
            let mut waiting = Book::default();
            waiting.incidents = incidents;
            waiting.reindex();
            let now = hands.clock.now();
            if decide::wake_at(&waiting, self.ctx.limits).is_none_or(|at| at > now) {
                return Ok(());
            }
            let step = decide::step(&self.ctx, &waiting, Input::Tick, now);
            self.take(step)?;
        }
    }

    fn step(&mut self, input: Input, now: Time) -> Result<(), String> {
        let step = decide::step(&self.ctx, &self.book, input, now);
        self.take(step)
    }

    fn take(&mut self, step: Step) -> Result<(), String> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return Err(format!("no verdict after {MOST_STEPS} steps"));
        }
        for stamped in &step.records {
            self.bases.extend(basis_of(&self.book, stamped));
            self.book.fold(stamped).map_err(|error| error.to_string())?;
        }
        self.heard.extend(step.heard.into_iter().map(|(_, heard)| heard));
        // Looking is all that is done: what a verdict leads to is shown, never carried out.
        let looks = step.effects.into_iter().filter(|effect| match effect {
            Effect::Locate { .. } => true,
            Effect::Observe { incident, .. } => self.book.incidents.get(incident).is_some_and(|incident| self.waits(incident)),
            Effect::Prepare { .. } | Effect::Apply { .. } | Effect::Tell(_) | Effect::ClosePage(_) | Effect::Event { .. } => {
                false
            }
        });
        let looks: Vec<Effect> = looks.collect();
        self.effects.extend(looks);
        Ok(())
    }
}

fn is_undecided(incident: &Incident) -> bool {
    matches!(incident.phase, Phase::Settling { .. } | Phase::Deciding { .. })
}
