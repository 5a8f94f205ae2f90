//! What the past forbids: no write without a recent change before the trouble, none of what began while nobody looked, none beyond the
//! allowance, none further back.

use std::time::Duration;

use backout::model::Time;

use super::writing::say;
use super::{Asked, Case, Violation};
use crate::truth::Truth;

const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn judge(case: &Case<'_>, asked: &Asked<'_>, found: &mut Vec<Violation>) {
    let mut say = |check, why: &str| say(found, case, check, (asked.at, asked.request), why);
    let overrode = |brake| case.overrode(&asked.request.incident, brake, asked.at);
    if !overrode("recent_change")
        && let Some(why) = no_change(case, asked)
    {
        say("recent_change", &why);
    }
    if further_back(case, asked) {
        say("further_back", "we put the release there that it leaves");
    }
    if !overrode("quiet_start")
        && let Some(why) = unseen(case, asked)
    {
        say("quiet_start", &why);
    }
    // Times of rollbacks are by our clock: where it was set nobody can tell.
    if !case.truth.leaps.is_empty() {
        return;
    }
    if !overrode("budget")
        && let Some(why) = spent(case, asked)
    {
        say("budget", &why);
    }
    if !overrode("cooldown")
        && let Some(why) = hot(case, asked)
    {
        say("cooldown", &why);
    }
    if asked.rules.damped && !overrode("flapping") && flapped(case, asked) {
        say("flapping", "it flapped within the hour, and one flap holds for two");
    }
}

/// The onset must follow the first write of the change, and lie near its landing.
fn no_change(case: &Case<'_>, asked: &Asked<'_>) -> Option<String> {
    let request = asked.request;
    let members = asked.noted.members.iter().filter(|(joined, _)| *joined <= asked.look);
    let onset = members.filter_map(|(joined, labels)| case.onset(*joined, labels)).min()?;
    let puts = case.truth.puts.get(&request.target)?;
    let put = puts.iter().rev().find(|put| put.at < asked.at && put.release == request.from && put.uid == request.uid)?;
    if onset.millis() / 1000 < put.at.millis() / 1000 {
        return Some(format!("trouble began at {}, the change came at {}", case.clock(onset), case.clock(put.at)));
    }
    if puts.iter().filter(|put| put.at < asked.at).count() < 2 {
        return Some("nothing was ever changed there".to_owned());
    }
    let key = (request.target.clone(), request.uid.clone(), request.from.clone());
    let landed = case.truth.available.get(&key).and_then(|track| track.changes().find(|at| put.at <= *at && *track.at(*at)));
    let late = landed.filter(|landed| *landed + asked.rules.recent + Duration::from_secs(2) < onset);
    late.map(|landed| format!("the change landed at {}, trouble began at {}", case.clock(landed), case.clock(onset)))
}

fn further_back(case: &Case<'_>, asked: &Asked<'_>) -> bool {
    let mut puts = case.truth.puts.get(&asked.request.target).into_iter().flatten();
    let last = puts.rfind(|put| put.at < asked.at);
    last.is_some_and(|put| put.by == "backout" && put.release == asked.request.from)
}

/// It began before the service came back from an absence, and the service did not know of it before.
fn unseen(case: &Case<'_>, asked: &Asked<'_>) -> Option<String> {
    let truth = &case.truth;
    let members = asked.noted.members.iter().filter(|(joined, _)| *joined <= asked.look);
    let onset = members.filter_map(|(joined, labels)| case.onset(*joined, labels)).min()?;
    let away = truth.lives.pieces(truth.begin, asked.at).into_iter().filter(|(_, _, lives)| !**lives);
    let gap = away.into_iter().find(|(from, to, _)| {
        let long = to.since(*from) > asked.rules.gap;
        long && onset + Duration::from_secs(1) < *to && asked.noted.opened > *to
    });
    gap.map(|(from, to, _)| {
        format!("trouble began at {}, nobody looked from {} to {}", case.clock(onset), case.clock(from), case.clock(to))
    })
}

/// When other incidents meant to write: each counts once, at its last intent.
fn others<'a>(case: &'a Case<'_>, asked: &'a Asked<'_>) -> impl Iterator<Item = (Time, &'a backout::model::Plan)> {
    let other = |id: &&backout::model::IncidentId| **id != asked.request.incident;
    let incidents = case.incidents.iter().filter(move |(id, noted)| other(id) && !noted.shadow);
    incidents.filter_map(|(_, noted)| noted.writes().rfind(|(at, _)| *at < asked.look).map(|(at, plan)| (*at, &**plan)))
}

fn spent(case: &Case<'_>, asked: &Asked<'_>) -> Option<String> {
    let (request, rules) = (asked.request, asked.rules);
    let on_target = |plan: &backout::model::Plan| plan.target.at == request.target;
    if others(case, asked).any(|(_, plan)| on_target(plan) && plan.from.digest == request.from) {
        return Some("this release was rolled back from before".to_owned());
    }
    let within = |at: Time, span: Duration| asked.at.since(at) + Duration::from_secs(5) < span;
    let of_it = others(case, asked).filter(|(at, plan)| on_target(plan) && within(*at, rules.per)).count();
    if of_it >= rules.per_target {
        return Some(format!("{of_it} rollbacks of {} before it", Truth::name(&request.target)));
    }
    let of_all = others(case, asked).filter(|(at, _)| within(*at, HOUR)).count();
    (of_all >= rules.per_hour).then(|| format!("{of_all} rollbacks within the hour before it"))
}

fn hot(case: &Case<'_>, asked: &Asked<'_>) -> Option<String> {
    let earlier = case.truth.writes().filter(|(at, request, ..)| {
        let other = request.target == asked.request.target && request.incident != asked.request.incident;
        other && *at < asked.look && asked.at.since(*at) + Duration::from_secs(5) < asked.rules.cooldown
    });
    earlier.last().map(|(at, ..)| format!("rolled back at {}", case.clock(at)))
}

/// Another incident of the target was over before this one's first alert began to fire.
fn flapped(case: &Case<'_>, asked: &Asked<'_>) -> bool {
    let noted = asked.noted;
    let recent = noted.opened <= asked.at && asked.at.since(noted.opened) < HOUR;
    let fires = noted.members.iter().filter_map(|(joined, labels)| {
        let alert = case.truth.alerts.get(labels)?;
        alert.begins.iter().map(|(at, _)| *at).rfind(|at| at <= joined)
    });
    let Some(first) = fires.min() else { return false };
    let before = case.incidents.values().any(|other| {
        let same = !other.shadow && other.target == noted.target;
        same && other.closed.as_ref().is_some_and(|(closed, _)| *closed + Duration::from_secs(60) < first)
    });
    recent && before
}
