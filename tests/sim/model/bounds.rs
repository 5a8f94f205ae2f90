//! What is so right then: the alert fires, the facts are known and say so, the watch hears, the target is one that may be touched,
//! nobody else would undo it, not everything breaks at once.

use std::collections::BTreeSet;
use std::time::Duration;

use backout::decide::incident::Phase;
use backout::model::{Labels, Moment, Operation, Time};

use super::writing::say;
use super::{Asked, Case, Violation};
use crate::journal::Noted;
use crate::truth::{Done, Truth};

/// What a storm is looked for in.
const WITHIN: Duration = Duration::from_secs(15 * 60);
/// How long the watch may be deaf.
const DEAF: Duration = Duration::from_secs(150);
/// How old a fact may be.
const OLD: Duration = Duration::from_secs(30);

pub(crate) fn judge(case: &Case<'_>, asked: &Asked<'_>, found: &mut Vec<Violation>) {
    let mut say = |check, why: &str| say(found, case, check, (asked.at, asked.request), why);
    let overrode = |brake| case.overrode(&asked.request.incident, brake, asked.at);
    let (target, truth) = (&asked.request.target, &case.truth);
    let name = Truth::name(target);
    if !asked.rules.covers(&target.namespace, &target.name) {
        say("permission", "it is outside of the policy's targets");
    }
    if case.world.owned.contains(&name) && !overrode("owner") {
        say("owner", "somebody else owns it and would undo the write");
    }
    if asked.noted.members.iter().any(|(_, labels)| labels.get("cluster").is_some_and(|cluster| cluster != "prod")) {
        say("foreign", "an alert is of another cluster");
    }
    if !overrode("stale_facts") {
        if let Some(why) = not_firing(case, asked) {
            say("firing", &why);
        }
        if let Some(why) = not_known(case, asked) {
            say("facts", &why);
        }
        let deaf = (asked.look - DEAF - Duration::from_secs(10), asked.at);
        // Where the API server comes back, everything is listed anew.
        let listed = truth.cluster.changes().any(|at| deaf.0 <= at && at <= deaf.1);
        if truth.watch.always(deaf, |up| !up) && !listed {
            say("deaf", "the watch heard nothing for minutes");
        }
    }
    // What nobody took is sent again, and known from then on only.
    let taken = |at: Time| at < asked.look && *truth.lives.at(at);
    // It is about the incident that the alert was in already, or joined next.
    let joined = |noted: &Noted, labels: &Labels| -> Vec<Time> {
        noted.members.iter().filter(|(_, member)| member == labels).map(|(joined, _)| *joined).collect()
    };
    let cut = |(at, labels): &(Time, Labels)| {
        let live = case.incidents.values().filter(|noted| !noted.shadow);
        let next = live.flat_map(|noted| joined(noted, labels)).filter(|joined| at <= joined).min();
        let of_it = joined(asked.noted, labels).into_iter().filter(|joined| *joined <= asked.look);
        taken(*at) && of_it.into_iter().any(|joined| joined < *at || Some(joined) == next)
    };
    if asked.rules.absence && truth.cut.iter().any(cut) && !overrode("truncated") {
        say("truncated", "a notification of it was cut, and the rule draws on what was not in it");
    }
    if latched(case, asked) && !overrode("data_latch") {
        say("latched", "people were told that its data may be corrupt, and nobody has said since that it is not");
    }
    if frozen(case, asked) && !overrode("freeze") {
        say("freeze", "it is a time in which nothing is rolled back");
    }
    if !overrode("storm")
        && let Some(why) = stormy(case, asked)
    {
        say("storm", &why);
    }
}

/// None of its alerts fired at any time since everything was read, or each was silenced or inhibited all the while.
fn not_firing(case: &Case<'_>, asked: &Asked<'_>) -> Option<String> {
    let window = (asked.look, asked.at);
    let fires = |labels: &Labels| {
        let alert = case.truth.alerts.get(labels);
        alert.is_some_and(|alert| alert.fires.within(window.0, window.1).into_iter().any(|fires| *fires))
    };
    let members = asked.noted.members.iter().map(|(_, labels)| labels);
    let firing: Vec<_> = members.filter(|labels| fires(labels)).collect();
    // A peer that hears nothing new still holds what is over: what it says is all that anybody can know.
    if firing.is_empty() {
        return (!case.ever_frozen()).then(|| "none of its alerts fires".to_owned());
    }
    let muted = |labels: &Labels| case.truth.silenced(labels, window) || case.truth.inhibited(labels, window);
    firing.iter().all(|labels| muted(labels)).then(|| "every alert of it is silenced or inhibited".to_owned())
}

/// The fact that the rule reads was unknown, old, or said no all the while.
fn not_known(case: &Case<'_>, asked: &Asked<'_>) -> Option<String> {
    if !asked.rules.facts {
        return None;
    }
    let (truth, window) = (&case.truth, (asked.look, asked.at));
    if truth.prometheus.always(window, |up| !up) {
        return Some("prometheus was down".to_owned());
    }
    if truth.lag.always(window, |lag| *lag > OLD) {
        return Some("what prometheus says is old".to_owned());
    }
    let track = truth.values.get(&format!("errors{{app=\"{}\"}}", asked.request.target.name))?;
    let unfit = |value: &Option<f64>| value.is_none_or(|value| value.is_nan() || value <= 0.1);
    track.always(window, unfit).then(|| "the fact is unknown, or says that all is well".to_owned())
}

/// An alert of the target said that its data may be corrupt, and people were paged about it.
fn latched(case: &Case<'_>, asked: &Asked<'_>) -> bool {
    if !asked.rules.latch {
        return false;
    }
    let cleared = |done: &Done| matches!(done.operation, Operation::Clear { .. });
    if case.done(asked.at).any(cleared) {
        return false;
    }
    case.incidents.values().filter(|noted| !noted.shadow && noted.target.as_ref() == Some(&asked.request.target)).any(|noted| {
        let corrupt = |labels: &Labels| labels.get("kind").is_some_and(|kind| kind == "corruption");
        let joined = noted.members.iter().filter(|(_, labels)| corrupt(labels)).map(|(at, _)| *at).min();
        let paged =
            |(at, phase): &(Time, Phase)| matches!(phase, Phase::Paged) && *at < asked.look && joined.is_some_and(|j| j <= *at);
        noted.phases.iter().any(paged)
    })
}

fn frozen(case: &Case<'_>, asked: &Asked<'_>) -> bool {
    let Some((from, to)) = asked.rules.freeze else { return false };
    let minute = |n: u64| case.zero + Duration::from_secs(60 * n);
    case.truth.leaps.is_empty() && minute(from) < asked.look && asked.at < minute(to)
}

/// People heard of so many rollbacks about to be made within a quarter of an hour, and none of them was taken back.
fn stormy(case: &Case<'_>, asked: &Asked<'_>) -> Option<String> {
    if !case.truth.leaps.is_empty() {
        return None;
    }
    let mut targets = BTreeSet::from([&asked.request.target]);
    let announced = ["rolling back at", "approve?", "would roll back"];
    let told = case.driver.told.iter().filter(|told| told.moment == Moment::Decided && told.at < asked.look);
    let recent = told.filter(|told| asked.at.since(told.at) < WITHIN);
    for told in recent.filter(|told| announced.iter().any(|start| told.title.starts_with(start))) {
        for (id, noted) in told.incidents.iter().filter_map(|id| Some((id, case.incidents.get(id)?))) {
            let waits = matches!(noted.phase(asked.at), Some(Phase::Countdown { .. } | Phase::Approval { .. } | Phase::Shadowed));
            let within = |at: Time| at <= asked.at && asked.at.since(at) < WITHIN;
            let written = case.truth.writes().any(|(at, request, ..)| request.incident == *id && within(at));
            targets.extend(noted.target.as_ref().filter(|_| (waits && noted.is_open(asked.at)) || written));
        }
    }
    (targets.len() >= asked.rules.storm).then(|| format!("{} targets wanted a rollback within 15 minutes", targets.len()))
}

impl Case<'_> {
    /// Whether a peer ever heard nothing new.
    fn ever_frozen(&self) -> bool {
        self.world.lines.iter().any(|line| line.contains("peer-freeze"))
    }
}
