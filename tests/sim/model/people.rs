//! A human wins: nothing is written over a veto, a pause, a silence, a newer deploy, an acknowledgement, or without the yes that is
//! needed.

use std::time::Duration;

use backout::decide::incident::Phase;
use backout::model::{Mark, Operation, PauseScope, Time};

use super::writing::say;
use super::{Asked, Case, Violation};
use crate::rules::Mode;
use crate::truth::Truth;

/// After a longer absence than this nobody can say that a veto would have been heard.
const STOOD_STILL: Duration = Duration::from_secs(15);
const VETO: Duration = Duration::from_secs(4 * 3600);

pub(crate) fn judge(case: &Case<'_>, asked: &Asked<'_>, found: &mut Vec<Violation>) {
    let mut say = |check, why: &str| say(found, case, check, (asked.at, asked.request), why);
    let incident = &asked.request.incident;
    let approved = case.was_approved(incident, asked.at);
    match asked.rules.mode {
        Mode::Shadow => say("mode", "the policy is in shadow"),
        Mode::Approve if !approved => say("mode", "nobody approved it"),
        Mode::Enforce if !approved => {
            if let Some(why) = hurried(case, asked) {
                say("countdown", &why);
            }
            if distrusted(case, asked) {
                say("trust", "a rollback of the policy was marked wrong, and nobody approved this one");
            }
        }
        _ => {}
    }
    let intended = asked.noted.writes().filter(|(at, _)| *at <= asked.at).map(|(at, _)| *at).next_back().unwrap_or(asked.at);
    if let Some(why) = paused(case, asked, intended) {
        say("paused", &why);
    }
    if !case.overrode(incident, "human_active", asked.at) {
        if let Some(why) = vetoed(case, asked, intended) {
            say("veto", &why);
        }
        if acknowledged(case, asked, intended) {
            say("acknowledged", "somebody has it, and neither approved nor let it go");
        }
        if let Some(why) = touched(case, asked, intended) {
            say("human_write", &why);
        }
    }
}

/// The earliest time at which the countdown can have been over.
fn hurried(case: &Case<'_>, asked: &Asked<'_>) -> Option<String> {
    let fires = asked.noted.members.iter().filter_map(|(joined, labels)| {
        let alert = case.truth.alerts.get(labels)?;
        alert.begins.iter().map(|(at, _)| *at).rfind(|at| at <= joined)
    });
    let first = fires.min().unwrap_or(asked.noted.opened);
    let least = first + asked.rules.settle + asked.rules.countdown;
    if asked.at < least {
        return Some(format!("{} s too early", least.since(asked.at).as_secs()));
    }
    let ends = |pair: &&[(Time, Phase)]| matches!(pair, [(_, Phase::Countdown { .. }), (at, Phase::Preparing { .. })] if *at <= asked.at);
    if let Some([_, (over, _)]) = asked.noted.phases.windows(2).rfind(ends)
        && case.has_lapsed(*over, asked.at)
    {
        return Some(format!("it was over at {}, too long ago", case.clock(*over)));
    }
    // A countdown that a restart, a leap, or a longer absence of ours met began again.
    let truth = &case.truth;
    let away = truth.lives.pieces(truth.begin, asked.at).into_iter().filter(|(_, _, lives)| !**lives);
    let long = away.filter(|(from, to, _)| to.since(*from) > STOOD_STILL + asked.rules.countdown).map(|(_, to, _)| to);
    let again = truth.starts.iter().copied().chain(truth.leaps.iter().copied()).chain(long);
    for at in again.filter(|at| *at < asked.at && *truth.lives.at(*at)) {
        let before = Time::from_millis(at.millis() - 1);
        let waited = matches!(asked.noted.phase(before), Some(Phase::Countdown { until: Some(_) }));
        let least = at + asked.rules.countdown;
        if waited && asked.at < least {
            return Some(format!("no full countdown after {}: {} s too early", case.clock(at), least.since(asked.at).as_secs()));
        }
    }
    None
}

/// The last word about each rollback counts, until somebody arms the policy again.
fn distrusted(case: &Case<'_>, asked: &Asked<'_>) -> bool {
    let rearmed =
        case.done(asked.look).filter(|done| matches!(&done.operation, Operation::Rearm { .. })).map(|done| done.at).max();
    let of_policy = |id| case.incidents.get(id).is_some_and(|noted| noted.policy == asked.request.policy);
    let marks = || case.truth.marks.iter().filter(|(at, id, _)| *at < asked.look && of_policy(id));
    marks().any(|(at, id, mark)| {
        let last = marks().filter(|(_, other, _)| other == id).map(|(at, ..)| *at).max();
        *mark == Mark::Wrong && last == Some(*at) && rearmed.is_none_or(|rearmed| rearmed < *at)
    })
}

fn paused(case: &Case<'_>, asked: &Asked<'_>, intended: Time) -> Option<String> {
    let target = &asked.request.target;
    let name = Truth::name(target);
    let covers = |scope: &PauseScope| match scope {
        PauseScope::Global => true,
        PauseScope::Namespace(namespace) => *namespace == target.namespace,
        PauseScope::Target(other) => *other == name,
        PauseScope::Policy(policy) => *policy == asked.request.policy,
    };
    if case.overrode(&asked.request.incident, "paused", asked.at) {
        return None;
    }
    if let Some(pause) = case.truth.pauses.iter().find(|p| covers(&p.scope) && p.from < intended && intended < p.to) {
        return Some(format!("paused since {}", case.clock(pause.from)));
    }
    let annotated =
        case.truth.annotated.iter().find(|(what, at)| (*what == name || *what == target.namespace) && *at < asked.look);
    annotated.map(|(what, at)| format!("{what} carries the annotation since {}", case.clock(*at)))
}

fn vetoed(case: &Case<'_>, asked: &Asked<'_>, intended: Time) -> Option<String> {
    let target = &asked.request.target;
    case.done(intended).find_map(|done| match &done.operation {
        Operation::Veto { incident, .. } => {
            let of_it = case.incidents.get(incident).is_some_and(|noted| noted.target.as_ref() == Some(target));
            let holds = done.at < intended && intended < done.at + VETO && case.truth.leaps.is_empty();
            (of_it && holds).then(|| format!("vetoed at {}", case.clock(done.at)))
        }
        _ => None,
    })
}

/// Who said that he has it while the countdown went on was not asked again.
fn acknowledged(case: &Case<'_>, asked: &Asked<'_>, intended: Time) -> bool {
    let incident = &asked.request.incident;
    let suspended = case.done(intended).any(|done| match &done.operation {
        Operation::Acknowledge { incident: of, .. } => {
            let before = Time::from_millis(done.at.millis() - 1);
            of == incident && done.at < intended && matches!(asked.noted.phase(before), Some(Phase::Countdown { .. }))
        }
        _ => false,
    });
    suspended && !case.was_approved(incident, asked.at)
}

/// Somebody else's write after the onset. The guard of the write sees it to the last.
fn touched(case: &Case<'_>, asked: &Asked<'_>, intended: Time) -> Option<String> {
    let written = case.truth.writes().find(|(at, request, ..)| *at >= asked.at && request.incident == asked.request.incident)?.0;
    let onsets = asked.noted.members.iter().filter(|(joined, _)| *joined <= intended);
    let onset = onsets.filter_map(|(joined, labels)| case.onset(*joined, labels)).min()?;
    let after = |at: &Time| *at >= onset + Duration::from_secs(1) && *at < written;
    let target = &asked.request.target;
    let put = case.truth.puts.get(target).into_iter().flatten().find(|put| put.by != "backout" && after(&put.at));
    if let Some(put) = put {
        return Some(format!("{} put {} there at {}", put.by, put.release.short(), case.clock(put.at)));
    }
    // Scaling is what autoscalers do all day; only a write that meets it must see it.
    let held = case.truth.held.get(target).into_iter().flatten().find(|at| after(at));
    held.map(|at| format!("somebody held it, or let it go, at {}", case.clock(*at)))
}
