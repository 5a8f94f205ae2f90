//! Writes the ledger while a history is lived through: takes what the engine decided, and lays beside it what came in fact.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::history::History;
use super::ledger::{Brake, Entry, Ledger, Moment, Verdict};
use crate::decide::decision::{Decision, Grip, Judgement, Truth};
use crate::decide::incident::{Incident, Phase};
use crate::model::{IncidentId, Outcome, TargetRef, Time};
use crate::simulate::{Driver, Written};

/// Alerts that are shown of an incident.
const ALERTS: usize = 20;
/// Releases are shown of so long after an incident.
const AFTER: Duration = Duration::from_secs(6 * 60 * 60);

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
        let (verdict, at) = verdict(incident, draft, write);
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
            went_back: next.is_some_and(|change| change.back && !change.ours),
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
        let until = last.max(incident.opened_at) + AFTER;
        for change in changes.iter().skip(before).filter(|change| change.at <= until).take(ALERTS) {
            let back = if change.back { " again" } else { "" };
            let ours = if change.ours { " by the service itself" } else { "" };
            add(change.at, "release", format!("{} is put there{back}{ours}", change.label()));
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

fn name(target: &TargetRef) -> String {
    format!("{}/{}", target.namespace, target.name)
}

/// What would have come of it, and when, where that is another time than the decision's.
fn verdict(incident: &Incident, draft: &Draft, write: Option<&Written>) -> (Verdict, Option<Time>) {
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
    if went("countdown").or_else(|| went("preparing")).is_some() {
        return (Verdict::CalledOff, None);
    }
    let Some((_, decision)) = draft.decisions.last() else {
        // A page without a decision: nothing could be decided about.
        return (if incident.page.is_some() { Verdict::Unknown } else { Verdict::Nothing }, None);
    };
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
    let noted = || {
        // That a message was delivered is no reason.
        incident.notes.iter().rev().find(|note| !note.text.starts_with("message ")).map(|note| note.text.clone())
    };
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
    let brake = |judgement: &Judgement| Brake {
        brake: judgement.brake.as_str().to_owned(),
        grip: grip(&judgement.grip).to_owned(),
        because: judgement.because.clone(),
    };
    decision.brakes.iter().map(brake).collect()
}

fn unknown(incident: &Incident, decision: Option<&Decision>) -> Vec<String> {
    let mut unknown: Vec<String> = incident.unresolved.iter().cloned().collect();
    if decision.is_none() && unknown.is_empty() {
        unknown.extend(incident.page.as_ref().map(|page| page.text.clone()));
    }
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
    let mut seen = BTreeSet::new();
    unknown.retain(|text| seen.insert(text.clone()));
    unknown
}

/// What makes a decision another one.
fn said(decision: &Decision) -> (Outcome, &str, &str) {
    (decision.outcome, decision.reason.as_str(), &decision.summary)
}
