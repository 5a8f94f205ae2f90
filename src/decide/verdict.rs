//! The decision itself: presence, rules in order, brakes, plan. A pure function; what it rests on goes into the report.

use std::collections::{BTreeMap, BTreeSet};

use super::book::Book;
use super::brakes::{self, Scene};
use super::decision::{Decision, Grip, Judgement, RuleTrail, Truth};
use super::effect::Context;
use super::incident::Incident;
use super::observation::Observation;
use super::plan;
use super::presence::Presence;
use super::scope::{IncidentScope, NOT_OBSERVED};
use crate::model::{Brake, Level, Mode, Outcome, Reason, StepKind, Time};
use crate::planted::{self, Bug};
use crate::policy::expr::{Expr, Tri, Unknown as ExprUnknown};
use crate::policy::matcher;
use crate::policy::types::{Condition, FactSource, FactSpec, Kind, Policy, Procedure, Rule, Step, VerdictRule};

mod latches;
mod unseen;

/// Decides what is to become of an incident, by what was observed.
pub fn decide(ctx: &Context<'_>, book: &Book, incident: &Incident, observation: &Observation, now: Time) -> Decision {
    let presence = Presence::judge(incident, &observation.alerts, now, ctx.limits);
    let mut decision = blank(ctx, incident, observation, presence, now);
    let Some(policy) = ctx.policies.get(&incident.policy) else {
        decision.reason = Reason::PolicyChanged;
        decision.summary = format!("the policy `{}` is not there any more", incident.policy);
        return decision;
    };
    decision.place = format!("{}:{}", policy.place.file, policy.place.line);
    if decision.presence == Presence::Resolved {
        decision.reason = Reason::Recovered;
        decision.summary = "all its alerts are over, confirmed: there is nothing to decide".to_owned();
        return decision;
    }
    decision.unknown = unseen::transient(observation, &decision.presence);
    decision.blind_on = unseen::silent(observation, &decision.presence);
    let mut judge = Judge { ctx, book, incident, policy, observation, now, unsure_latch: None };
    let others = judge.latches_of_others();
    judge.unsure_latch = others.as_ref().err().cloned();
    let mut read = Vec::new();
    let without_stale;
    let mut deciding = judge.walk(&mut decision, &mut read);
    // A rollback has a brake for it.
    if matches!(&deciding, Some((rule, Tri::True)) if matches!(rule.verdict, VerdictRule::FixForward { .. }))
        && let Some(fresh) = unseen::without_stale(policy, observation, &read, now)
    {
        without_stale = fresh;
        judge.observation = &without_stale;
        deciding = judge.walk_again(&mut decision, &mut read);
    }
    if !decision.wanted.is_empty() {
        decision.reason = Reason::RuleUnknown;
        decision.summary = format!("facts that a rule reads were not observed: {}", decision.wanted.join(", "));
        return decision;
    }
    match deciding {
        None => {
            decision.reason = Reason::NoRule;
            decision.summary = "no rule was true".to_owned();
        }
        Some((rule, Tri::Unknown(reasons))) => {
            decision.reason = Reason::RuleUnknown;
            let why: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            decision.summary = format!("whether rule `{}` holds cannot be told: {}", rule.name, why.join("; "));
        }
        Some((rule, _)) => judge.follow(rule, &read, &mut decision),
    }
    if let Ok(Some(wanted)) = others {
        wanted.wins(&mut decision);
    }
    decision.figures = judge.figures();
    if !decision.wanted.is_empty() {
        decision.reason = Reason::RuleUnknown;
        decision.summary = format!("facts that the rollback rests on were not observed: {}", decision.wanted.join(", "));
    }
    decision
}

/// A verdict that pages: everything starts as that, and only certainty makes it something else.
fn blank(ctx: &Context<'_>, incident: &Incident, observation: &Observation, presence: Presence, now: Time) -> Decision {
    Decision {
        at: now,
        policy: incident.policy.clone(),
        place: String::new(),
        policies: ctx.policies.hash.clone(),
        commit: ctx.policies.commit.clone(),
        outcome: Outcome::Page,
        reason: Reason::NoRule,
        brake: None,
        summary: String::new(),
        mode: Mode::Shadow,
        presence,
        rules: Vec::new(),
        brakes: Vec::new(),
        plan: None,
        wanted: Vec::new(),
        unknown: Vec::new(),
        blind_on: None,
        first: Vec::new(),
        latch: None,
        figures: BTreeMap::new(),
        to: Vec::new(),
        tell: Vec::new(),
        change_landed_at: None,
        observation: observation.clone(),
    }
}

/// The facts that the first rule names which is about the alerts. Every decision reaches it, so that they are asked for with the
/// first look instead of after it.
pub(super) fn read_first(ctx: &Context<'_>, incident: &Incident) -> Vec<String> {
    let Some(policy) = ctx.policies.get(&incident.policy) else { return Vec::new() };
    let first = policy.decide.iter().find(|rule| is_about(rule, incident));
    let parts = first.and_then(|rule| rule.condition.as_ref()).map(Condition::parts).unwrap_or_default();
    let named: BTreeSet<&String> = parts.iter().flat_map(Expr::facts).collect();
    named.into_iter().filter(|name| policy.facts.contains_key(*name)).cloned().collect()
}

/// Whether the rule's own matchers match an alert that fires.
fn is_about(rule: &Rule, incident: &Incident) -> bool {
    let matches =
        |member: &super::incident::Member| matcher::all_match_with(&rule.matchers, |name| member.alert.labels.get(name));
    rule.matchers.is_empty() || incident.firing().any(matches)
}

struct Judge<'a> {
    ctx: &'a Context<'a>,
    book: &'a Book,
    incident: &'a Incident,
    policy: &'a Policy,
    observation: &'a Observation,
    now: Time,
    /// Why it is not known whether another policy wants the target latched, if it is not.
    unsure_latch: Option<String>,
}

impl<'a> Judge<'a> {
    /// Goes through the rules up to the first that is true or unknown.
    fn walk(&self, decision: &mut Decision, read: &mut Vec<String>) -> Option<(&'a Rule, Tri)> {
        for rule in &self.policy.decide {
            let (trail, truth, facts) = self.ask(rule);
            decision.rules.push(trail);
            read.extend(facts);
            read.sort_unstable();
            read.dedup();
            match truth {
                Tri::False => {}
                truth => {
                    decision.wanted = self.not_observed(&truth);
                    return Some((rule, truth));
                }
            }
        }
        None
    }

    /// The same, anew, because something that was read is not known any more.
    fn walk_again(&self, decision: &mut Decision, read: &mut Vec<String>) -> Option<(&'a Rule, Tri)> {
        decision.rules.clear();
        read.clear();
        let deciding = self.walk(decision, read);
        if matches!(deciding, Some((_, Tri::Unknown(_)))) {
            decision.unknown = unseen::transient(self.observation, &decision.presence);
        }
        deciding
    }

    /// Decides a condition over what this decision sees.
    fn eval(&self, condition: &Expr) -> crate::policy::expr::Outcome {
        self.with_scope(|scope| condition.eval(scope))
    }

    fn with_scope<T>(&self, read: impl FnOnce(&IncidentScope<'_>) -> T) -> T {
        read(&IncidentScope {
            book: self.book,
            incident: self.incident,
            observation: self.observation,
            cluster: self.ctx.cluster,
            readings: &|name| self.policy.facts.get(name).map(FactSpec::reading),
            intervals: &self.ctx.policies.intervals,
            now: self.now,
        })
    }

    /// What the policy's figures come to. Nothing is asked for them.
    fn figures(&self) -> BTreeMap<String, String> {
        let shown = |figure: &Expr| match self.with_scope(|scope| figure.show(scope)) {
            Ok(value) => value,
            Err(reasons) => reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        };
        self.policy.figures.iter().map(|(name, figure)| (name.clone(), shown(figure))).collect()
    }

    fn ask(&self, rule: &Rule) -> (RuleTrail, Tri, Vec<String>) {
        let place = format!("{}:{}", rule.place.file, rule.place.line);
        let mut trail = RuleTrail { rule: rule.name.clone(), place, matchers: true, conditions: Vec::new(), truth: Truth::False };
        if !is_about(rule, self.incident) {
            trail.matchers = false;
            return (trail, Tri::False, Vec::new());
        }
        let Some(condition) = &rule.condition else {
            trail.truth = Truth::True;
            return (trail, Tri::True, Vec::new());
        };
        let mut facts = Vec::new();
        let mut parts = Vec::new();
        for part in condition.parts() {
            let outcome = self.eval(part);
            facts.extend(outcome.facts());
            let values = outcome.read.iter().map(|(path, known)| match known {
                Ok(value) => format!("{path} = {value}"),
                Err(why) => format!("{path} is unknown: {why}"),
            });
            trail.conditions.push((part.source().to_owned(), truth(&outcome.tri), values.collect()));
            parts.push(outcome.tri);
        }
        let tri = match condition {
            Condition::When(_) | Condition::All(_) => Tri::all(parts),
            Condition::Any(_) => Tri::any(parts),
        };
        trail.truth = truth(&tri);
        (trail, tri, facts)
    }

    /// Facts that an unknown rests on and that nobody has asked for yet.
    fn not_observed(&self, truth: &Tri) -> Vec<String> {
        let fact = |reason: &crate::policy::expr::Unknown| {
            let name = reason.what.strip_prefix("facts.")?;
            (reason.reason == NOT_OBSERVED && self.policy.facts.contains_key(name)).then(|| name.to_owned())
        };
        truth.reasons().iter().filter_map(fact).collect()
    }

    /// Facts that were read and that nobody has asked for yet.
    fn unasked(&self, read: &[String]) -> Vec<String> {
        let is_unasked = |name: &&String| match self.policy.facts.get(*name).map(|spec| &spec.source) {
            Some(FactSource::Promql { .. }) => !self.observation.values.contains_key(*name),
            Some(FactSource::Http { .. }) => !self.observation.texts.contains_key(*name),
            _ => false,
        };
        read.iter().filter(is_unasked).cloned().collect()
    }

    /// Does what a true rule says.
    fn follow(&self, rule: &Rule, read: &[String], decision: &mut Decision) {
        decision.reason = Reason::Rule;
        decision.tell.clone_from(&rule.tell);
        match &rule.verdict {
            VerdictRule::Page { to, latch } => {
                decision.to.clone_from(to);
                decision.summary = format!("rule `{}` says page", rule.name);
                if *latch {
                    self.latch(rule, decision);
                }
            }
            VerdictRule::FixForward { to } => {
                decision.outcome = Outcome::FixForward;
                decision.to.clone_from(to);
                decision.summary = format!("rule `{}` says fix forward", rule.name);
            }
            VerdictRule::Rollback { levels } => self.roll_back(rule, levels, read, decision),
        }
        if let Some(procedure) = rule.first.as_ref().and_then(|name| self.ctx.policies.procedures.get(name)) {
            self.contain(procedure, decision);
        }
    }

    /// Lists what would be done at once. Nobody carries it out yet, and the decision says so.
    fn contain(&self, procedure: &Procedure, decision: &mut Decision) {
        let name = &procedure.name;
        match self.chosen(procedure, &mut Vec::new()) {
            Ok((steps, _)) => match plan::contain(self.ctx, self.incident, procedure, &steps) {
                Some(steps) => {
                    let words: Vec<String> = steps.iter().map(ToString::to_string).collect();
                    decision.summary.push_str(&format!("; first `{name}`, which is not carried out yet: {}", words.join(", ")));
                    decision.first = steps;
                }
                None => decision.summary.push_str(&format!("; first `{name}`: not everything in it can be filled in")),
            },
            Err((kind, _)) => {
                decision.summary.push_str(&format!("; whether the step `{}` of `{name}` is done cannot be told", kind.as_str()));
            }
        }
    }

    /// Takes the first level that had no turn yet; one for which no release is fit gives way to the next.
    fn roll_back(&self, rule: &Rule, levels: &[String], read: &[String], decision: &mut Decision) {
        let done = self.incident.levels_done();
        let mut unfit = Vec::new();
        for (index, name) in levels.iter().enumerate().skip(done) {
            let Some(procedure) = self.ctx.policies.procedures.get(name) else { continue };
            let level = Level { number: number(index + 1), of: number(levels.len()) };
            self.judge_level(rule, (procedure, level), read, decision);
            if !decision.wanted.is_empty() {
                return;
            }
            match only_unfit(decision) {
                Some(why) if index + 1 < levels.len() => unfit.push(format!("`{name}` is unfit ({why})")),
                _ => {
                    unfit.push(std::mem::take(&mut decision.summary));
                    decision.summary = unfit.join("; ");
                    return;
                }
            }
        }
        decision.reason = Reason::Ineffective;
        decision.summary = format!("rule `{}` says rollback, and all {done} levels had their turn", rule.name);
    }

    fn judge_level(&self, rule: &Rule, (procedure, level): (&Procedure, Level), read: &[String], decision: &mut Decision) {
        let (mode, distrust) = self.mode(rule, procedure);
        decision.mode = mode;
        let mut read = read.to_vec();
        let (steps, on_failure) = match self.chosen(procedure, &mut read) {
            Ok(chosen) => chosen,
            Err((kind, reasons)) => return self.unsure_of_step(procedure, kind, reasons, decision),
        };
        // One that no condition needed in the end is still one that was read: `stale_facts` wants to see it.
        decision.wanted = self.unasked(&read);
        if !decision.wanted.is_empty() {
            return;
        }
        let mut scene = Scene {
            book: self.book,
            incident: self.incident,
            policy: self.policy,
            rule,
            mode: decision.mode,
            may_drop: procedure.may_drop,
            observation: self.observation,
            presence: &decision.presence,
            read: &read,
            overrides: &[],
            unsure_latch: self.unsure_latch.as_deref(),
            intervals: &self.ctx.policies.intervals,
            limits: self.ctx.limits,
            now: self.now,
        };
        decision.plan =
            plan::build(self.ctx, &scene, (procedure, level), &steps, &on_failure).filter(|plan| !plan.steps.is_empty());
        // A person's overrides belong to the plan that was approved, and to no other.
        let hash = decision.plan.as_ref().map(crate::model::Plan::hash);
        if let Some(approval) = self.incident.approved(self.now).filter(|approval| Some(&approval.plan) == hash.as_ref()) {
            scene.overrides = &approval.overrides;
        }
        decision.brakes = brakes::judge_all(&scene);
        (decision.latch, decision.change_landed_at) = (self.migrated(&scene, decision), self.change_landed(&scene));
        (decision.outcome, decision.reason, decision.brake) = (Outcome::Page, Reason::Rule, None);
        let holding = decision.brakes.iter().find(|judgement| judgement.holds());
        match (holding, &decision.plan) {
            (Some(judgement), _) => {
                decision.reason = Reason::BrakeHeld;
                decision.brake = Some(judgement.brake);
                let verb = if judgement.grip == Grip::Blind { "is blind and holds" } else { "holds" };
                let others: Vec<String> = decision.brakes.iter().filter(|other| other.holds()).skip(1).map(named).collect();
                let also = if others.is_empty() { String::new() } else { format!("; {} too", others.join(", ")) };
                decision.summary = format!(
                    "rule `{}` says rollback; brake `{}` {verb}: {}{also}",
                    rule.name, judgement.brake, judgement.because
                );
            }
            (None, None) if steps.is_empty() => {
                decision.summary =
                    format!("rule `{}` says rollback; no step of `{}` is to be done now", rule.name, procedure.name);
            }
            (None, None) => {
                decision.reason = Reason::BrakeHeld;
                decision.brake = Some(Brake::FitTarget);
                decision.summary = format!("rule `{}` says rollback; no complete plan could be made", rule.name);
            }
            (None, Some(plan)) => {
                decision.outcome = Outcome::Rollback;
                decision.summary = format!("rule `{}` says rollback: {} -> {}", rule.name, plan.from.label(), plan.to.label());
                if let Some(why) = distrust {
                    decision.summary.push_str(&format!("; the policy is not trusted: {why}"));
                }
            }
        }
    }

    /// The strictest of the modes that are said, and stricter still where there is a reason; with it, why the policy is not trusted,
    /// where that made the difference.
    fn mode(&self, rule: &Rule, procedure: &Procedure) -> (Mode, Option<String>) {
        let said = [rule.mode, procedure.mode].into_iter().flatten().fold(self.policy.mode, Mode::min);
        // `check` refuses what is not carried out in any other mode; whatever was loaded, nothing acts by half a plan.
        let half = !is_carried_out(rule, procedure);
        // Without the cluster's name an alert of another cluster could not be told from ours.
        let nameless = self.ctx.cluster.is_none();
        // A lane in shadow stays in it whatever its policy has become since: the live lane decides about the same alert.
        if self.policy.mode == Mode::Shadow && !half && !nameless && planted::is(Bug::ShadowActs) {
            return (Mode::Enforce, None);
        }
        if half || nameless || self.incident.lane.is_shadow() {
            return (Mode::Shadow, None);
        }
        match brakes::distrust(self.policy, self.book, self.now).filter(|_| said == Mode::Enforce) {
            Some(why) => (Mode::Approve, Some(why)),
            None => (said, None),
        }
    }

    /// The steps that are done: those without `when`, and those whose `when` is true now.
    fn chosen<'p>(&self, procedure: &'p Procedure, read: &mut Vec<String>) -> Result<Chosen<'p>, (StepKind, Vec<ExprUnknown>)> {
        let mut choose = |steps: &'p [Step]| {
            let mut chosen = Vec::new();
            for step in steps {
                let Some(when) = &step.when else {
                    chosen.push(step);
                    continue;
                };
                let outcome = self.eval(when);
                read.extend(outcome.facts());
                match outcome.tri {
                    Tri::True => chosen.push(step),
                    Tri::False => {}
                    Tri::Unknown(reasons) => return Err((step.kind, reasons)),
                }
            }
            Ok(chosen)
        };
        let chosen = (choose(&procedure.steps)?, choose(&procedure.on_failure)?);
        read.sort_unstable();
        read.dedup();
        Ok(chosen)
    }

    /// Whether a step is to be done cannot be told: no plan, and a human decides.
    fn unsure_of_step(&self, procedure: &Procedure, kind: StepKind, reasons: Vec<ExprUnknown>, decision: &mut Decision) {
        let why: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        decision.wanted = self.not_observed(&Tri::Unknown(reasons));
        (decision.outcome, decision.reason, decision.brake) = (Outcome::Page, Reason::RuleUnknown, None);
        (decision.plan, decision.brakes) = (None, Vec::new());
        decision.summary =
            format!("whether the step `{}` of `{}` is done cannot be told: {}", kind.as_str(), procedure.name, why.join("; "));
    }

    fn change_landed(&self, scene: &Scene<'_>) -> Option<Time> {
        let change = brakes::change(self.incident.release.as_ref()?, scene.workload()?, scene.history())?;
        change.landed_at
    }
}

/// The steps that are done, and those that are done when one of them fails.
type Chosen<'p> = (Vec<&'p Step>, Vec<&'p Step>);

/// Whether everything that the rule and the procedure say has hands.
fn is_carried_out(rule: &Rule, procedure: &Procedure) -> bool {
    rule.first.is_none()
        && procedure.kind == Kind::Rollback
        && procedure.later.is_empty()
        && procedure.on_failure.is_empty()
        && procedure.steps.iter().all(Step::is_undo)
}

/// Why no release is fit, where that alone is in the way and is known.
fn only_unfit(decision: &Decision) -> Option<&str> {
    let mut holding = decision.brakes.iter().filter(|judgement| judgement.holds());
    match (holding.next(), holding.next()) {
        (Some(Judgement { brake: Brake::FitTarget, grip: Grip::Held, because, .. }), None) => Some(because),
        _ => None,
    }
}

fn truth(tri: &Tri) -> Truth {
    match tri {
        Tri::True => Truth::True,
        Tri::False => Truth::False,
        Tri::Unknown(reasons) => Truth::Unknown(reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    }
}

fn named(judgement: &Judgement) -> String {
    format!("`{}`", judgement.brake)
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "verdict/tests.rs"]
mod tests;
