//! What must be so of every request to write, and of every write.

use std::collections::BTreeMap;

use backout::model::{Digest, TargetRef, Time};
use backout::simulate::{Request, Testimony};

use super::{Asked, Case, Violation, bounds, past, people};
use crate::truth::Truth;

/// Says that a promise was broken.
pub(crate) fn say(found: &mut Vec<Violation>, case: &Case<'_>, check: &'static str, asked: (Time, &Request), why: &str) {
    let (at, request) = asked;
    let number = case.driver.transcript.number_of(&request.incident).unwrap_or(0);
    let text = format!("{} write to {} for #{number}: {why}", case.clock(at), Truth::name(&request.target));
    found.push(Violation { check, text });
}

pub(crate) fn judge(case: &Case<'_>, found: &mut Vec<Violation>) {
    let mut before: Vec<(Time, &Request)> = Vec::new();
    for (at, request) in case.truth.requests() {
        let mut say = |check, why: &str| say(found, case, check, (at, request), why);
        let Some(noted) = case.incidents.get(&request.incident) else {
            say("intent", "no durable intent: the journal knows no such incident");
            continue;
        };
        let intents = noted.writes().filter(|(intended, _)| *intended <= at).count();
        let asked = 1 + before.iter().filter(|(_, other)| other.incident == request.incident).count();
        if asked > intents {
            say("intent", &format!("{asked} requests, {intents} durable intents"));
        }
        if noted.shadow {
            say("mode", "the incident is one in shadow");
        }
        before.push((at, request));
        let look = at - case.slack();
        if case.truth.reloads.iter().any(|reload| look < *reload && *reload <= at) {
            continue;
        }
        let Some(rules) = case.rules_at(&request.policy, look) else {
            say("mode", "no such policy acts");
            continue;
        };
        let asked = Asked { at, request, noted, rules, look };
        people::judge(case, &asked, found);
        past::judge(case, &asked, found);
        bounds::judge(case, &asked, found);
    }
    never_blindly(case, found);
    never_past_the_guard(case, found);
    never_two_at_once(case, found);
    never_another_object(case, found);
    only_healthy_releases(case, found);
}

/// Everything is read immediately before a write: how old that may be where an answer was late or a commit slow.
const FRESH: std::time::Duration = std::time::Duration::from_secs(45);

/// Between two requests on a target it was read, and shortly before each.
fn never_blindly(case: &Case<'_>, found: &mut Vec<Violation>) {
    let mut since: BTreeMap<&TargetRef, bool> = BTreeMap::new();
    let mut read: BTreeMap<&TargetRef, Time> = BTreeMap::new();
    let flight = case.truth.latency.write / 2;
    for (at, said) in &case.truth.testimony {
        match said {
            Testimony::Read { target } => {
                since.insert(target, true);
                read.insert(target, *at);
            }
            Testimony::Asked(request) => {
                if since.insert(&request.target, false) == Some(false) {
                    say(found, case, "blindly", (*at, request), "asked for again, and nobody looked in between");
                }
                if read.get(&request.target).is_none_or(|read| *read + FRESH + flight < *at) {
                    say(found, case, "fresh", (*at, request), "nobody looked immediately before");
                }
            }
            _ => {}
        }
    }
}

/// A write is made only on the object as it was read: nobody changed anything in between.
fn never_past_the_guard(case: &Case<'_>, found: &mut Vec<Violation>) {
    let mut changed: BTreeMap<&TargetRef, bool> = BTreeMap::new();
    for (at, said) in &case.truth.testimony {
        match said {
            Testimony::Read { target } => drop(changed.insert(target, false)),
            Testimony::Scaled { target } | Testimony::Held { target } => drop(changed.insert(target, true)),
            Testimony::Written { request, .. } if changed.get(&request.target) == Some(&true) => {
                say(found, case, "guard", (*at, request), "it was changed since anybody looked");
            }
            _ => {}
        }
    }
}

/// No attempt begins while another one on the target is open.
fn never_two_at_once(case: &Case<'_>, found: &mut Vec<Violation>) {
    for (id, noted) in &case.incidents {
        for (at, plan) in noted.writes() {
            let beside = |(other, known): &(&backout::model::IncidentId, &crate::journal::Noted)| {
                *other != id && known.target == noted.target && known.is_attempting(*at)
            };
            if case.incidents.iter().any(|other| beside(&other)) {
                let text = format!("{} two attempts at once on {}", case.clock(*at), Truth::name(&plan.target.at));
                found.push(Violation { check: "at_once", text });
            }
        }
    }
}

fn never_another_object(case: &Case<'_>, found: &mut Vec<Violation>) {
    for (at, request, uid, left) in case.truth.writes() {
        if uid != request.uid {
            say(found, case, "uid", (at, request), &format!("meant {}, wrote {uid}", request.uid));
        }
        if *left != request.from {
            say(found, case, "left", (at, request), &format!("another release ran there: {}", left.short()));
        }
    }
}

/// A release was seen available for long enough, and was never rolled back from.
fn only_healthy_releases(case: &Case<'_>, found: &mut Vec<Violation>) {
    let mut left: Vec<(&TargetRef, &str, &Digest)> = Vec::new();
    for (at, request, uid, from) in case.truth.writes() {
        if left.contains(&(&request.target, uid, &request.to)) {
            say(found, case, "known_bad", (at, request), "that release was itself rolled back from");
        }
        if request.to == *from {
            say(found, case, "known_bad", (at, request), "it is the release that runs");
        }
        left.push((&request.target, uid, from));
        let Some(rules) = case.rules(&request.policy) else { continue };
        let key = (request.target.clone(), uid.to_owned(), request.to.clone());
        let Some(available) = case.truth.available.get(&key) else {
            say(found, case, "healthy", (at, request), "that release never ran there");
            continue;
        };
        let needed = if case.was_approved(&request.incident, at) { std::time::Duration::from_secs(1) } else { rules.healthy };
        // Where our clock was set nobody can tell how long that was.
        let lasted = available.lasting(case.truth.begin, at);
        if lasted + std::time::Duration::from_secs(5) < needed && case.truth.leaps.is_empty() {
            let text = format!("that release was available for {} s, {} are needed", lasted.as_secs(), needed.as_secs());
            say(found, case, "healthy", (at, request), &text);
        }
    }
}
