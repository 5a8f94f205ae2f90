//! The same worlds under other policies: which cases are decided differently, and how.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::build::{Surroundings, driver, zero};
use super::files::{Loaded, channels};
use crate::decide::decision::{Decision, Truth};
use crate::decide::incident::Phase;
use crate::model::{Outcome, Time};
use crate::policy::test_file::types::{Instant, Spot, Test};
use crate::policy::types::Policies;
use crate::simulate::Driver;

/// A test whose world is decided about differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub spot: Spot,
    /// What other policies did, one line a thing.
    pub before: Vec<String>,
    /// What these do.
    pub now: Vec<String>,
}

/// Lives through each world under both, and says where they differ.
pub fn compare(loaded: &Loaded, before: &Arc<Policies>, filter: impl Fn(&Test) -> bool) -> Vec<Difference> {
    let tests = loaded.file.tests.iter().filter(|test| filter(test));
    let other = Surroundings { channels: channels(before), ..loaded.surroundings.clone() };
    let difference = |test: &Test| {
        let (before, now) = (course(test, before, &other), course(test, &loaded.policies, &loaded.surroundings));
        (before != now).then(|| Difference { name: test.name.clone(), spot: test.spot.clone(), before, now })
    };
    tests.filter_map(difference).collect()
}

/// What is decided and done in a world, one line a thing.
fn course(test: &Test, policies: &Arc<Policies>, around: &Surroundings) -> Vec<String> {
    let zero = zero(test);
    let mut lived = driver(test, policies, around);
    lived.transcript.mute();
    lived.world.forget_messages();
    lived.keep.decisions = true;
    lived.run_until(test.until.from(zero));
    let mut lines: Vec<(Time, String)> = Vec::new();
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    for (at, id, decision) in lived.decisions.iter().filter(|(_, _, decision)| decision.wanted.is_empty()) {
        let said = said(decision);
        if last.insert(id.to_string(), said.clone()).as_ref() != Some(&said) {
            lines.push((*at, format!("{}: {said}", name(&lived, id.as_str(), &decision.policy))));
        }
    }
    for write in &lived.written {
        let target = format!("{}/{}", write.target.namespace, write.target.name);
        lines.push((write.at, format!("written: {target} from {} to {}", write.from.label(), write.to.label())));
    }
    lines.sort_by_key(|(at, _)| *at);
    let mut lines: Vec<String> = lines.into_iter().map(|(at, line)| format!("{}  {line}", Instant::of(at, zero))).collect();
    lines.extend(ends(&lived));
    lines
}

/// An incident by its target and policy: its number may differ where another one came first.
fn name(lived: &Driver, id: &str, policy: &str) -> String {
    let incident = lived.book().incidents.values().find(|incident| incident.id.as_str() == id);
    let target = incident.and_then(|incident| incident.target.as_ref());
    target.map_or_else(|| policy.to_owned(), |target| format!("{policy} on {}/{}", target.at.namespace, target.at.name))
}

/// What a decision says, in one line.
pub fn said(decision: &Decision) -> String {
    let rule =
        decision.rules.last().filter(|trail| trail.truth != Truth::False).map(|trail| format!(" by rule `{}`", trail.rule));
    let rule = rule.unwrap_or_default();
    let mode = decision.mode.as_str();
    match (decision.outcome, decision.brake, &decision.plan) {
        (Outcome::Rollback, _, Some(plan)) => {
            format!("rollback{rule} in mode {mode}: `{}` from {} to {}", plan.procedure, plan.from.label(), plan.to.label())
        }
        (Outcome::Page, Some(brake), _) => format!("page{rule}: brake `{brake}` holds"),
        (outcome, _, _) => format!("{}{rule} ({})", outcome.as_str(), decision.reason),
    }
}

/// Where every incident stands at the end.
fn ends(lived: &Driver) -> Vec<String> {
    let mut ends: Vec<String> = Vec::new();
    for incident in lived.book().incidents.values() {
        let state = match &incident.phase {
            Phase::Closed { reason, .. } => format!("closed ({reason})"),
            phase => phase.as_str().to_owned(),
        };
        ends.push(format!("at the end  {}: {state}", name(lived, incident.id.as_str(), &incident.policy)));
    }
    ends.sort();
    ends
}
