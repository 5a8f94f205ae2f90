//! The ledger: for every incident what would have been done, why, and what came after it in the history.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::history::History;
use crate::decide::decision::{Decision, Grip, Truth};
use crate::decide::incident::{Incident, Phase};
use crate::model::{IncidentId, Labels, Outcome, TargetRef, Time};
use crate::simulate::{Driver, Written};

/// Alerts that are shown of an incident.
const ALERTS: usize = 20;

/// What would have come of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It would have rolled back.
    RolledBack,
    /// It would have asked a person for a yes to its plan.
    Asked,
    /// It would have said that it would roll back: the policy is in shadow.
    Announced,
    /// A rollback was called off before the write: the alert went away, or somebody was at work.
    CalledOff,
    /// A brake would have held the rollback.
    Held,
    /// Something was not known, and so a person would have been called.
    Unknown,
    /// A rule leaves it to a person.
    Paged,
    /// A rule opens a ticket.
    FixForward,
    /// It was over before anything was decided.
    Nothing,
}

impl Verdict {
    /// All of them, as the totals list them.
    pub const ALL: [Self; 9] = [
        Self::RolledBack,
        Self::Asked,
        Self::Announced,
        Self::CalledOff,
        Self::Held,
        Self::Unknown,
        Self::Paged,
        Self::FixForward,
        Self::Nothing,
    ];

    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RolledBack => "rolled_back",
            Self::Asked => "asked",
            Self::Announced => "announced",
            Self::CalledOff => "called_off",
            Self::Held => "held",
            Self::Unknown => "unknown",
            Self::Paged => "paged",
            Self::FixForward => "fix_forward",
            Self::Nothing => "nothing",
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::RolledBack => "would have rolled back",
            Self::Asked => "would have asked for a yes to a rollback",
            Self::Announced => "would have announced a rollback (shadow)",
            Self::CalledOff => "would have called a rollback off",
            Self::Held => "a brake would have held a rollback",
            Self::Unknown => "something was not known: a person",
            Self::Paged => "a rule leaves it to a person",
            Self::FixForward => "a rule opens a ticket",
            Self::Nothing => "over before a decision",
        }
    }

    /// Whether it says to roll back, as far as the policy may.
    pub fn acts(self) -> bool {
        matches!(self, Self::RolledBack | Self::Asked | Self::Announced)
    }
}

/// A brake's judgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Brake {
    /// Which.
    pub brake: String,
    /// `free`, `held`, `blind`, `off` or `overridden`.
    pub grip: String,
    /// The numbers that it judged by.
    pub because: String,
}

/// Something that happened, or would have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// When.
    #[serde(serialize_with = "time")]
    pub at: Time,
    /// `alert`, `over`, `release`, `decision`, `action`, `state`.
    pub kind: String,
    /// What.
    pub text: String,
}

/// One incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its id: made of what it is about, so that it is the same in every run.
    pub id: String,
    /// When it would have been opened.
    #[serde(serialize_with = "time")]
    pub opened_at: Time,
    /// When it would have been closed.
    #[serde(serialize_with = "maybe")]
    pub closed_at: Option<Time>,
    /// The policy.
    pub policy: String,
    /// Whether that policy is in shadow.
    pub shadow: bool,
    /// `namespace/name` of its target, where one was found.
    pub target: Option<String>,
    /// The labels of its alerts; of many, the first ones.
    pub alerts: Vec<Labels>,
    /// When the trouble began, where that is known.
    #[serde(serialize_with = "maybe")]
    pub onset: Option<Time>,
    /// What would have come of it.
    pub verdict: Verdict,
    /// When that would have been done or decided.
    #[serde(serialize_with = "maybe")]
    pub at: Option<Time>,
    /// The rule that decided.
    pub rule: Option<String>,
    /// Why.
    pub why: String,
    /// The release that would have been left.
    pub from: Option<String>,
    /// The release that would have been put back.
    pub to: Option<String>,
    /// Every brake, where a rule said rollback.
    pub brakes: Vec<Brake>,
    /// What was not known.
    pub unknown: Vec<String>,
    /// When the last of its alerts went away in the history; nothing where it still fired at the end.
    #[serde(serialize_with = "maybe")]
    pub over_at: Option<Time>,
    /// When the next release was put there in the history.
    #[serde(serialize_with = "maybe")]
    pub next_change_at: Option<Time>,
    /// Which release that was.
    pub next_change: Option<String>,
    /// Whether that one had been there before: somebody went back.
    pub went_back: bool,
    /// All of it in order.
    pub timeline: Vec<Moment>,
}

impl Entry {
    /// Whole seconds from the action to the end of the alert or to the next release, whichever came first.
    pub fn ahead_by(&self) -> Option<u64> {
        let at = self.at.filter(|_| self.verdict.acts())?;
        let end = [self.over_at, self.next_change_at].into_iter().flatten().filter(|end| *end > at).min()?;
        Some(end.since(at).as_secs())
    }

    /// The brakes that hold.
    pub fn holding(&self) -> impl Iterator<Item = &Brake> {
        self.brakes.iter().filter(|brake| matches!(brake.grip.as_str(), "held" | "blind"))
    }
}

/// Every incident of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// By the time that they were opened.
    pub entries: Vec<Entry>,
    /// Defects of the engine that came to light: none, ever.
    pub defects: Vec<String>,
}

/// Sums of a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// How many incidents.
    pub incidents: usize,
    /// How many came to what.
    pub verdicts: BTreeMap<&'static str, usize>,
    /// How often each brake held a rollback.
    pub brakes: BTreeMap<String, usize>,
    /// Rollbacks where somebody put the release before back, too.
    pub people_went_back: usize,
    /// Seconds that rollbacks were ahead of the alert's end or of the next release, in all.
    pub seconds_ahead: u64,
}

impl Ledger {
    /// Its sums.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals { incidents: self.entries.len(), ..Totals::default() };
        for verdict in Verdict::ALL {
            totals.verdicts.insert(verdict.as_str(), 0);
        }
        for entry in &self.entries {
            *totals.verdicts.entry(entry.verdict.as_str()).or_default() += 1;
            for brake in entry.holding() {
                *totals.brakes.entry(brake.brake.clone()).or_default() += 1;
            }
            if entry.verdict.acts() {
                totals.people_went_back += usize::from(entry.went_back);
                totals.seconds_ahead += entry.ahead_by().unwrap_or(0);
            }
        }
        totals
    }
}

/// What was decided of an incident, until it is written down.
#[derive(Clone, Debug, Default)]
struct Draft {
    decisions: Vec<(Time, Arc<Decision>)>,
    moves: Vec<(Time, &'static str)>,
}

/// Writes a ledger while a history is lived through.
pub(super) struct Writer<'a> {
    history: &'a History,
    drafts: BTreeMap<IncidentId, Draft>,
    done: BTreeMap<IncidentId, Entry>,
    written: usize,
    writes: BTreeMap<IncidentId, Written>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(history: &'a History) -> Self {
        Self { history, drafts: BTreeMap::new(), done: BTreeMap::new(), written: 0, writes: BTreeMap::new() }
    }

    /// Takes what was decided since.
    pub(super) fn take(&mut self, driver: &mut Driver) {
        for (at, id, decision) in driver.decisions.drain(..).filter(|(_, _, decision)| decision.wanted.is_empty()) {
            let draft = self.drafts.entry(id).or_default();
            let same = |(_, last): &(Time, Arc<Decision>)| said(last) == said(&decision);
            if !draft.decisions.last().is_some_and(same) {
                draft.decisions.push((at, decision));
            }
        }
        for (at, id, phase) in driver.moves.drain(..) {
            self.drafts.entry(id).or_default().moves.push((at, phase));
        }
        for write in driver.written.get(self.written..).unwrap_or_default() {
            self.writes.entry(write.incident.clone()).or_insert_with(|| write.clone());
        }
        self.written = driver.written.len();
        driver.told.clear();
        let closed = |id: &&IncidentId| driver.book().incidents.get(*id).is_none_or(|incident| !incident.is_open());
        let over: Vec<IncidentId> = self.drafts.keys().filter(closed).cloned().collect();
        for id in over {
            self.write_down(&id, driver);
        }
    }

    /// Writes down what is still open, and ends.
    pub(super) fn finish(mut self, driver: &Driver) -> Ledger {
        let open: Vec<IncidentId> = self.drafts.keys().cloned().collect();
        for id in open {
            self.write_down(&id, driver);
        }
        let (from, to) = (self.history.from, self.history.to);
        let mut entries: Vec<Entry> = self.done.into_values().filter(|e| from <= e.opened_at && e.opened_at < to).collect();
        entries.sort_by(|a, b| (a.opened_at, &a.target, &a.policy, &a.id).cmp(&(b.opened_at, &b.target, &b.policy, &b.id)));
        Ledger { entries, defects: driver.violations().to_vec() }
    }

    fn write_down(&mut self, id: &IncidentId, driver: &Driver) {
        let (Some(draft), Some(incident)) = (self.drafts.remove(id), driver.book().incidents.get(id)) else { return };
        let write = self.writes.remove(id);
        let entry = self.entry(incident, &draft, write.as_ref());
        self.done.entry(id.clone()).or_insert(entry);
    }

    fn entry(&self, incident: &Incident, draft: &Draft, write: Option<&Written>) -> Entry {
        let (verdict, at) = verdict(draft, write);
        let decided = telling(draft, verdict, at);
        let decision = decided.map(|(_, decision)| &**decision);
        let target = incident.target.as_ref().map(|target| &target.at);
        let at = at.or(decided.map(|(at, _)| *at));
        let after = at.unwrap_or(incident.opened_at);
        let next = target.and_then(|target| self.history.next_change(target, after));
        let plan = decision.and_then(|decision| decision.plan.as_ref());
        let closed_at = if let Phase::Closed { at, .. } = &incident.phase { Some(*at) } else { None };
        Entry {
            id: incident.id.to_string(),
            opened_at: incident.opened_at,
            closed_at,
            policy: incident.policy.clone(),
            shadow: incident.lane.is_shadow(),
            target: target.map(name),
            alerts: incident.members.values().take(ALERTS).map(|member| member.alert.labels.to_map()).collect(),
            onset: incident.onset().ok(),
            verdict,
            at,
            rule: decision.and_then(rule),
            why: why(incident, decision, verdict),
            from: plan.map(|plan| plan.from.label()),
            to: plan.map(|plan| plan.to.label()),
            brakes: decision.map(brakes).unwrap_or_default(),
            unknown: unknown(incident, decision),
            over_at: self.over_at(incident, after),
            next_change_at: next.map(|change| change.at),
            next_change: next.map(|change| change.label().to_owned()),
            went_back: next.is_some_and(|change| change.back),
            timeline: self.timeline(incident, draft, write, target),
        }
    }

    /// When the last of its alerts went away.
    fn over_at(&self, incident: &Incident, at: Time) -> Option<Time> {
        let mut last = None;
        for member in incident.members.values() {
            let firing = self.history.firing(&member.alert.labels.to_map(), at.max(member.alert.starts_at))?;
            last = last.max(Some(firing.to?));
        }
        last
    }

    fn timeline(&self, incident: &Incident, draft: &Draft, write: Option<&Written>, target: Option<&TargetRef>) -> Vec<Moment> {
        let mut line = Vec::new();
        let mut add = |at: Time, kind: &str, text: String| line.push(Moment { at, kind: kind.to_owned(), text });
        let last = draft.moves.iter().map(|(at, _)| *at).max().unwrap_or(incident.opened_at);
        for member in incident.members.values().take(ALERTS) {
            let alert = member.alert.label("alertname").to_owned();
            let firing = self.history.firing(&member.alert.labels.to_map(), member.alert.starts_at);
            add(member.alert.starts_at, "alert", format!("{alert} fires"));
            if let Some(over) = firing.and_then(|firing| firing.to) {
                add(over, "over", format!("{alert} is over"));
            }
        }
        let changes = target.and_then(|target| self.history.workloads.get(target)).into_iter().flat_map(|known| &known.changes);
        let changes: Vec<_> = changes.collect();
        let before = changes.iter().rposition(|change| change.at <= incident.opened_at).unwrap_or(0);
        let until = last.max(incident.opened_at) + std::time::Duration::from_secs(6 * 60 * 60);
        for change in changes.iter().skip(before).filter(|change| change.at <= until).take(ALERTS) {
            let back = if change.back { " again" } else { "" };
            add(change.at, "release", format!("{} is put there{back}", change.label()));
        }
        for (at, decision) in &draft.decisions {
            add(*at, "decision", decision.summary.clone());
        }
        if let Some(write) = write {
            let text = format!("would have put {} back in place of {}", write.to.label(), write.from.label());
            add(write.at, "action", text);
        }
        for (at, phase) in &draft.moves {
            // What would have come after a write is not in the history.
            if write.is_none_or(|write| *at <= write.at) {
                add(*at, "state", (*phase).replace('_', " "));
            }
        }
        line.sort_by_key(|moment| moment.at);
        line
    }
}

/// RFC 3339, as everywhere outside of the journal.
pub(super) fn time<S: Serializer>(at: &Time, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

fn maybe<S: Serializer>(at: &Option<Time>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(at),
        None => serializer.serialize_none(),
    }
}

fn name(target: &TargetRef) -> String {
    format!("{}/{}", target.namespace, target.name)
}

/// What would have come of it, and when, where that is another time than the decision's.
fn verdict(draft: &Draft, write: Option<&Written>) -> (Verdict, Option<Time>) {
    if let Some(write) = write {
        return (Verdict::RolledBack, Some(write.at));
    }
    let went = |phase: &str| draft.moves.iter().find(|(_, to)| *to == phase).map(|(at, _)| *at);
    if let Some(at) = went("approval") {
        return (Verdict::Asked, Some(at));
    }
    if let Some(at) = went("shadowed") {
        return (Verdict::Announced, Some(at));
    }
    if let Some(began) = went("countdown").or_else(|| went("preparing")) {
        let ended = draft.moves.iter().find(|(at, to)| *at >= began && matches!(*to, "paged" | "closed"));
        return (Verdict::CalledOff, ended.map(|(at, _)| *at));
    }
    let Some((_, decision)) = draft.decisions.last() else { return (Verdict::Nothing, None) };
    let doubtful = decision.rules.last().is_some_and(|trail| matches!(trail.truth, Truth::Unknown(_)));
    let mut holding = decision.brakes.iter().filter(|judgement| judgement.holds()).peekable();
    let verdict = if doubtful || !decision.unknown.is_empty() {
        Verdict::Unknown
    } else if holding.peek().is_some() {
        if holding.all(|judgement| judgement.grip == Grip::Blind) { Verdict::Unknown } else { Verdict::Held }
    } else if decision.brake.is_some() {
        Verdict::Held
    } else {
        match decision.outcome {
            Outcome::FixForward => Verdict::FixForward,
            Outcome::Page | Outcome::Rollback => Verdict::Paged,
        }
    };
    (verdict, None)
}

/// The decision that the verdict rests on.
fn telling(draft: &Draft, verdict: Verdict, at: Option<Time>) -> Option<&(Time, Arc<Decision>)> {
    let wanted = |(when, decision): &&(Time, Arc<Decision>)| {
        let rolls = decision.outcome == Outcome::Rollback;
        rolls && at.is_none_or(|at| *when <= at)
    };
    let rolls = verdict.acts() || verdict == Verdict::CalledOff;
    let found = if rolls { draft.decisions.iter().rev().find(wanted) } else { None };
    found.or(draft.decisions.last())
}

fn rule(decision: &Decision) -> Option<String> {
    decision.rules.last().filter(|trail| trail.truth != Truth::False).map(|trail| trail.rule.clone())
}

fn why(incident: &Incident, decision: Option<&Decision>, verdict: Verdict) -> String {
    let page = incident.page.as_ref().map(|page| page.text.clone()).filter(|text| !text.is_empty());
    let noted = || incident.notes.iter().last().map(|note| note.text.clone());
    match (verdict, decision) {
        (Verdict::CalledOff, _) => page.or_else(noted).unwrap_or_default(),
        (_, Some(decision)) => decision.summary.clone(),
        (_, None) => incident.unresolved.clone().or(page).or_else(noted).unwrap_or_default(),
    }
}

fn brakes(decision: &Decision) -> Vec<Brake> {
    let grip = |grip: &Grip| match grip {
        Grip::Free => "free",
        Grip::Held => "held",
        Grip::Blind => "blind",
        Grip::Off(_) => "off",
        Grip::Overridden => "overridden",
    };
    let brake = |judgement: &crate::decide::decision::Judgement| Brake {
        brake: judgement.brake.as_str().to_owned(),
        grip: grip(&judgement.grip).to_owned(),
        because: judgement.because.clone(),
    };
    decision.brakes.iter().map(brake).collect()
}

fn unknown(incident: &Incident, decision: Option<&Decision>) -> Vec<String> {
    let mut unknown: Vec<String> = incident.unresolved.iter().cloned().collect();
    if let Err(why) = incident.onset() {
        unknown.push(format!("when the trouble began: {why}"));
    }
    if let Some(decision) = decision {
        unknown.extend(decision.unknown.iter().cloned());
        for (_, truth, _) in decision.rules.iter().flat_map(|trail| &trail.conditions) {
            if let Truth::Unknown(why) = truth {
                unknown.push(why.clone());
            }
        }
        let blind = decision.brakes.iter().filter(|judgement| judgement.grip == Grip::Blind);
        unknown.extend(blind.map(|judgement| format!("brake {}: {}", judgement.brake.as_str(), judgement.because)));
    }
    let mut seen = std::collections::BTreeSet::new();
    unknown.retain(|text| seen.insert(text.clone()));
    unknown
}

/// What makes a decision another one.
fn said(decision: &Decision) -> (Outcome, &str, &str) {
    (decision.outcome, decision.reason.as_str(), &decision.summary)
}
