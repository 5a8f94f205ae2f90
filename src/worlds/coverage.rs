//! What the tests exercised: rules, branches of conditions, brakes. Counted from the decisions that the engine made.

use std::collections::{BTreeMap, BTreeSet};

use crate::decide::decision::{Decision, Grip, Truth};
use crate::model::Brake;
use crate::policy::types::{Policies, Policy, VerdictRule};

/// What was exercised of all policies.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// By policy, with the place of it: two files may test two policies of one name.
    policies: BTreeMap<(String, String), Exercised>,
}

/// What was exercised of one policy.
#[derive(Clone, Debug, Default)]
struct Exercised {
    /// Rules by name: how many times each decided.
    rules: BTreeMap<String, u32>,
    /// By rule and condition: whether it was ever true, false, unknown.
    conditions: BTreeMap<(String, String), [bool; 3]>,
    /// Brakes that held, and that let go.
    held: BTreeSet<Brake>,
    free: BTreeSet<Brake>,
}

/// Something that no test exercised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where it stands: `file:line`.
    pub place: String,
    /// Of which policy.
    pub policy: String,
    /// What: `rule`, `condition` or `brake`.
    pub kind: &'static str,
    /// What of it was never exercised, in words.
    pub what: String,
}

/// How much of it was exercised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// So many …
    pub of: usize,
    /// … of so many.
    pub all: usize,
}

impl Share {
    fn add(&mut self, exercised: bool) {
        self.all += 1;
        self.of += usize::from(exercised);
    }
}

/// All of it, judged.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// Rules that decided.
    pub rules: Share,
    /// Branches of conditions: true and false of each.
    pub branches: Share,
    /// Brakes that held, of those that may hold.
    pub brakes: Share,
    /// What was never exercised.
    pub gaps: Vec<Gap>,
}

impl Coverage {
    /// Counts a decision.
    pub(super) fn count(&mut self, policies: &Policies, decision: &Decision) {
        let Some(policy) = policies.get(&decision.policy).filter(|_| decision.wanted.is_empty()) else { return };
        let exercised = self.policies.entry(key(policy)).or_default();
        for trail in &decision.rules {
            if trail.truth != Truth::False {
                *exercised.rules.entry(trail.rule.clone()).or_default() += 1;
            }
            for (condition, truth, _) in &trail.conditions {
                let seen = exercised.conditions.entry((trail.rule.clone(), condition.clone())).or_default();
                let branch = match truth {
                    Truth::True => 0,
                    Truth::False => 1,
                    Truth::Unknown(_) => 2,
                };
                seen[branch] = true;
            }
        }
        for judgement in &decision.brakes {
            match judgement.grip {
                Grip::Held | Grip::Blind | Grip::Overridden => exercised.held.insert(judgement.brake),
                Grip::Free => exercised.free.insert(judgement.brake),
                Grip::Off(_) => false,
            };
        }
    }

    /// What was exercised of these policies, each counted once, and what was not.
    pub fn judge<'p>(&self, all: impl IntoIterator<Item = &'p Policies>) -> Judged {
        let (mut judged, mut seen) = (Judged::default(), BTreeSet::new());
        for policy in all.into_iter().flat_map(|policies| &policies.policies) {
            if seen.insert(key(policy)) {
                let nothing = Exercised::default();
                of_policy(policy, self.policies.get(&key(policy)).unwrap_or(&nothing), &mut judged);
            }
        }
        judged
    }
}

fn key(policy: &Policy) -> (String, String) {
    (format!("{}:{}", policy.place.file, policy.place.line), policy.name.clone())
}

fn of_policy(policy: &Policy, exercised: &Exercised, judged: &mut Judged) {
    for rule in &policy.decide {
        let place = format!("{}:{}", rule.place.file, rule.place.line);
        let mut gap = |kind, what| {
            judged.gaps.push(Gap { place: place.clone(), policy: policy.name.clone(), kind, what });
        };
        let decided = exercised.rules.contains_key(&rule.name);
        judged.rules.add(decided);
        if !decided {
            gap("rule", format!("rule `{}` never decided", rule.name));
        }
        for part in rule.condition.iter().flat_map(|condition| condition.parts()) {
            let seen = exercised.conditions.get(&(rule.name.clone(), part.source().to_owned())).copied().unwrap_or_default();
            for (was, word) in seen.into_iter().zip(["true", "false"]) {
                judged.branches.add(was);
                if !was {
                    gap("condition", format!("rule `{}`: `{}` was never {word}", rule.name, part.source()));
                }
            }
        }
    }
    let rolls_back = policy.decide.iter().any(|rule| matches!(rule.verdict, VerdictRule::Rollback { .. }));
    let place = format!("{}:{}", policy.place.file, policy.place.line);
    let can_hold = |brake: &&Brake| match brake {
        // It makes the policy ask.
        Brake::Trust => false,
        Brake::Freeze => policy.brakes.freeze.on().is_some_and(|names| !names.is_empty()),
        _ => policy.brakes.disabled(**brake).is_none(),
    };
    for brake in Brake::ALL.iter().filter(|brake| rolls_back && can_hold(brake)) {
        let held = exercised.held.contains(brake);
        judged.brakes.add(held);
        if !held {
            let what = format!("brake `{brake}` never held");
            judged.gaps.push(Gap { place: place.clone(), policy: policy.name.clone(), kind: "brake", what });
        }
    }
}
