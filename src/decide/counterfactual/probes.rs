//! Where a border is looked for: at growing distances on both sides of how it was, and on both sides of every number that the policy
//! names. Probes only say where to try; what they give, `decide` says.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Basis;
use super::values::{millis, number, place};
use super::variable::{Variable, change};
use crate::policy::duration;
use crate::policy::types::Policy;

/// Times this great are tried when nothing nearer flips.
const DOUBLINGS: u32 = 36;

/// All of them, in order, within the variable's bounds.
pub(super) fn of(variable: &Variable, policy: &Policy, basis: &Basis, origin: i64) -> Vec<i64> {
    let (least, most) = variable.bounds(basis);
    let mut found = BTreeSet::from([least, most]);
    if variable.is_number(basis) {
        numbers(policy, number(origin), &mut found);
    } else {
        spans(variable, policy, basis, origin, &mut found);
    }
    found.into_iter().filter(|probe| (least..=most).contains(probe)).collect()
}

fn numbers(policy: &Policy, was: f64, found: &mut BTreeSet<i64>) {
    let mut around = |value: f64| {
        if value.is_finite() {
            let place = place(value);
            found.extend([place - 1, place, place + 1]);
        }
    };
    around(0.0);
    around(1.0);
    let floors = policy.facts.values().filter_map(|fact| fact.floor()).map(|floor| floor.at_least);
    for named in sources(policy).flat_map(named_numbers).chain(floors) {
        around(named);
        around(-named);
    }
    let (mut step, scale) = (1e-3, if was == 0.0 { 1.0 } else { was.abs() });
    for _ in 0..DOUBLINGS {
        found.extend([was + scale * step, was - scale * step].into_iter().filter(|value| value.is_finite()).map(place));
        step *= 2.0;
    }
}

fn spans(variable: &Variable, policy: &Policy, basis: &Basis, origin: i64, found: &mut BTreeSet<i64>) {
    for doubling in 0..DOUBLINGS {
        found.extend([origin - (1 << doubling), origin + (1 << doubling)]);
    }
    let named: Vec<i64> = sources(policy).flat_map(named_spans).chain(windows(policy)).map(millis).collect();
    found.extend(named.iter().copied());
    if let Variable::Moment { free_at } = variable {
        found.insert(free_at.millis() - basis.now.millis());
    }
    if *variable != Variable::Change && *variable != Variable::Onset {
        return;
    }
    // What conditions and brakes compare is how far the change lies before the onset, or before now: a window may be narrow.
    let Some(change) = change(basis) else { return };
    let onset = basis.incident.onset().ok();
    for later in [onset, Some(basis.now)].into_iter().flatten() {
        for earlier in [Some(change.first_write), change.landed_at].into_iter().flatten() {
            let apart = later.millis() - earlier.millis();
            for offset in named.iter().copied().chain([0, 1000]) {
                for border in [apart - offset, offset - apart] {
                    found.extend([border - 1, border, border + 1]);
                }
            }
        }
    }
}

/// What the brakes compare times with.
fn windows(policy: &Policy) -> impl Iterator<Item = Duration> {
    let brakes = &policy.brakes;
    [
        brakes.recent_change.on().map(|window| window.within),
        brakes.quiet_start.on().copied(),
        brakes.cooldown.on().copied(),
        brakes.budget.on().map(|budget| budget.per),
        brakes.storm.on().map(|storm| storm.quiet),
    ]
    .into_iter()
    .flatten()
}

fn sources(policy: &Policy) -> impl Iterator<Item = &str> {
    let rules = policy.decide.iter().filter_map(|rule| rule.condition.as_ref());
    rules.flat_map(|condition| condition.parts()).map(|part| part.source())
}

/// The numbers in a condition's text. One too many costs a try.
fn named_numbers(source: &str) -> Vec<f64> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    source.split(|c: char| !part(c)).filter_map(|word| word.parse::<f64>().ok()).filter(|number| number.is_finite()).collect()
}

/// The durations in a condition's text, which stand between quotes.
fn named_spans(source: &str) -> Vec<Duration> {
    source.split(['"', '\'']).filter_map(|word| duration::parse(word).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_condition_names_is_found() {
        assert_eq!(named_numbers("facts.x2 > 0.5 && facts.y <= -10"), [0.5, 10.0]);
        assert_eq!(named_spans("change.age < duration(\"1h30m\")"), [Duration::from_secs(5400)]);
        assert!(named_numbers("labels.a == \"infinite\"").is_empty());
    }
}
