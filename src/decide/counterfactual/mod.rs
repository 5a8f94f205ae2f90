//! What would have had to be different for another verdict: the nearest value of one input with which the decision flips. Found by
//! changing that input and asking `decide` again, and claimed only where that was tried; there is no second evaluator here.

mod moved;
mod probes;
mod values;
mod variable;
mod words;

use std::collections::BTreeSet;

use serde::Serialize;

pub use variable::{Carrier, Variable};

use super::book::Book;
use super::decision::{Decision, Truth};
use super::effect::Context;
use super::incident::Incident;
use super::observation::Observation;
use super::verdict::decide;
use crate::model::{Brake, Outcome, Time};

/// All that a decision is a function of.
#[derive(Clone, Debug)]
pub struct Basis {
    /// What is remembered.
    pub book: Book,
    /// What is decided of.
    pub incident: Incident,
    /// What was observed.
    pub observation: Observation,
    /// The clock.
    pub now: Time,
}

impl Basis {
    /// The decision that this gives.
    pub fn decide(&self, ctx: &Context<'_>) -> Decision {
        decide(ctx, &self.book, &self.incident, &self.observation, self.now)
    }

    /// The decision with one input changed.
    pub fn decide_with(&self, ctx: &Context<'_>, variable: &Variable, to: i64) -> Decision {
        self.with(variable, to).decide(ctx)
    }

    fn with(&self, variable: &Variable, to: i64) -> Self {
        let mut changed = self.clone();
        variable.set(&mut changed, self, to);
        changed
    }
}

/// What a change of one input flips.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Flips {
    /// The verdict.
    Verdict,
    /// A brake, which lets go then; others still hold.
    Brake {
        /// Which.
        brake: Brake,
    },
    /// A condition of a rule, which holds then; others still do not.
    Condition {
        /// The rule's name.
        rule: String,
        /// The condition's text.
        condition: String,
    },
}

/// One change, and what comes of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Counterfactual {
    /// The input that is changed; `None` where it is all those listed before it together.
    pub variable: Option<Variable>,
    /// Its first value with which it flips, in the variable's units.
    pub to: i64,
    /// The value beside it with which it does not; both were tried. The same value, where it was unknown and any would do.
    pub short_of: i64,
    /// What flips.
    pub flips: Flips,
    /// What the verdict is then.
    pub then: Outcome,
    /// For people: `if facts.errors had been more than 0.1 (it was 0.04)`.
    pub condition: String,
}

/// The nearest changes of single inputs that flip the verdict. Where none does, those that free a brake or make a condition hold, and
/// whether all of them together flip it.
pub fn nearest(ctx: &Context<'_>, basis: &Basis) -> Vec<Counterfactual> {
    let actual = basis.decide(ctx);
    let Some(policy) = ctx.policies.get(&basis.incident.policy) else { return Vec::new() };
    let search = Search { ctx, basis, policy, actual: &actual };
    let variables = variable::all(ctx, policy, basis, &actual);
    let acted = actual.outcome == Outcome::Rollback;
    let flipped = |decision: &Decision| (decision.outcome == Outcome::Rollback) != acted && decision.wanted.is_empty();
    let found: Vec<Counterfactual> = variables.iter().filter_map(|v| search.nearest(v, &Flips::Verdict, &flipped)).collect();
    if acted || !found.is_empty() {
        return simplest(found);
    }
    let mut partial = simplest(search.brakes(&variables));
    partial.extend(search.conditions(&variables));
    partial.extend(search.together(&partial));
    partial
}

/// Without what asks for more than another one does: further rollbacks moved, and none of them by less.
fn simplest(found: Vec<Counterfactual>) -> Vec<Counterfactual> {
    let asks_more = |one: &Counterfactual, other: &Counterfactual| match (&one.variable, &other.variable) {
        (Some(Variable::Rollbacks { which: more, .. }), Some(Variable::Rollbacks { which: fewer, .. })) => {
            let besides = fewer.len() < more.len() && fewer.iter().all(|past| more.contains(past));
            besides && one.flips == other.flips && other.to.abs() <= one.to.abs()
        }
        _ => false,
    };
    found.iter().filter(|one| !found.iter().any(|other| asks_more(one, other))).cloned().collect()
}

struct Search<'a> {
    ctx: &'a Context<'a>,
    basis: &'a Basis,
    policy: &'a crate::policy::types::Policy,
    actual: &'a Decision,
}

impl Search<'_> {
    /// For each brake that holds: the nearest changes with which it lets go.
    fn brakes(&self, variables: &[Variable]) -> Vec<Counterfactual> {
        let mut found = Vec::new();
        for brake in self.actual.brakes.iter().filter(|judgement| judgement.holds()).map(|judgement| judgement.brake) {
            let free = |decision: &Decision| {
                let judged = decision.brakes.iter().find(|judgement| judgement.brake == brake);
                judged.is_some_and(|judgement| !judgement.holds())
            };
            found.extend(variables.iter().filter_map(|v| self.nearest(v, &Flips::Brake { brake }, &free)));
        }
        found
    }

    /// For each condition that does not hold: the nearest changes with which it does.
    fn conditions(&self, variables: &[Variable]) -> Vec<Counterfactual> {
        let mut found = Vec::new();
        for trail in &self.actual.rules {
            for (index, (condition, truth, _)) in trail.conditions.iter().enumerate() {
                if *truth == Truth::True {
                    continue;
                }
                let holds = |decision: &Decision| {
                    let same = decision.rules.iter().find(|other| other.rule == trail.rule);
                    same.and_then(|rule| rule.conditions.get(index)).is_some_and(|(_, truth, _)| *truth == Truth::True)
                };
                let flips = Flips::Condition { rule: trail.rule.clone(), condition: condition.clone() };
                found.extend(variables.iter().filter_map(|v| self.nearest(v, &flips, &holds)));
            }
        }
        found
    }

    /// The first change of each brake and condition, all at once, where that flips the verdict.
    fn together(&self, partial: &[Counterfactual]) -> Option<Counterfactual> {
        let mut changed = self.basis.clone();
        let (mut taken, mut words) = (BTreeSet::new(), Vec::new());
        for one in partial {
            let Some(variable) = one.variable.as_ref().filter(|_| taken.insert(format!("{:?}", one.flips))) else { continue };
            let before = changed.clone();
            variable.set(&mut changed, &before, one.to);
            words.push(one.condition.clone());
        }
        let decision = changed.decide(self.ctx);
        let flips = words.len() > 1 && decision.outcome == Outcome::Rollback;
        flips.then(|| Counterfactual {
            variable: None,
            to: 0,
            short_of: 0,
            flips: Flips::Verdict,
            then: decision.outcome,
            condition: words.join(", and "),
        })
    }

    /// The border that is nearest to how it was, of those in both directions.
    fn nearest(&self, variable: &Variable, flips: &Flips, holds: &dyn Fn(&Decision) -> bool) -> Option<Counterfactual> {
        let origin = variable.origin(self.basis)?;
        let mut changed = self.basis.clone();
        let mut at = |to: i64| {
            variable.set(&mut changed, self.basis, to);
            changed.decide(self.ctx)
        };
        let unknown = variable.is_unknown(self.basis);
        let flipped = holds(&at(origin));
        if flipped && !unknown {
            return None;
        }
        let probes = probes::of(variable, self.policy, self.basis, origin);
        let up = probes.iter().copied().filter(|probe| *probe > origin);
        let down = probes.iter().rev().copied().filter(|probe| *probe < origin);
        // What is unknown is taken to be 0: where that flips, the border is where it does not any more.
        let mut tried = |to: i64| holds(&at(to)) != flipped;
        let found = [border(origin, up, &mut tried), border(origin, down, &mut tried)];
        let near = |(_, to): &(i64, i64)| variable.distance(self.basis, origin, *to);
        let found = found.into_iter().flatten().min_by(|a, b| near(a).total_cmp(&near(b)));
        let (short_of, to) = match found {
            Some((last, first)) if flipped => (first, last),
            None if flipped => (origin, origin),
            found => found?,
        };
        let then = at(to).outcome;
        let condition = words::condition(variable, self.basis, (short_of, to));
        Some(Counterfactual { variable: Some(variable.clone()), to, short_of, flips: flips.clone(), then, condition })
    }
}

/// Two neighbouring values of which the second flips and the first does not: from the first probe that flips back towards the one before.
fn border(origin: i64, probes: impl Iterator<Item = i64>, flips: &mut dyn FnMut(i64) -> bool) -> Option<(i64, i64)> {
    let mut short_of = origin;
    for probe in probes {
        if !flips(probe) {
            short_of = probe;
            continue;
        }
        let mut to = probe;
        while to.abs_diff(short_of) > 1 {
            let middle = i64::midpoint(short_of, to);
            if flips(middle) { to = middle } else { short_of = middle }
        }
        return Some((short_of, to));
    }
    None
}

#[cfg(test)]
mod tests;
