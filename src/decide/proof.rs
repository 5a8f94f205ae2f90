//! Did the rollback work? Only *better* is success; what is seen to be the same or worse, and what is not seen, are different ends.

use std::collections::BTreeMap;

use super::book::Book;
use super::effect::Context;
use super::incident::{Attempt, Incident};
use super::observation::Observation;
use super::presence::Presence;
use super::scope::IncidentScope;
use crate::model::{Reading, Reason, RolloutStatus, Time, VerifyPlan};
use crate::planted::{self, Bug};
use crate::policy::expr::{Env, Expr, Tri};

/// What one look at the target showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    /// What each check says.
    pub(super) checks: BTreeMap<String, String>,
    /// Whether the rollout is complete.
    pub(super) rolled_back: bool,
    /// Whether everything holds.
    pub(super) holds: bool,
    /// The end of the tail.
    pub(super) tail_until: Time,
    /// Why it is over without success, if it is: the reason and the words.
    pub(super) over: Option<(Reason, String)>,
}

/// One check's answer.
enum Check {
    Good(String),
    Bad(String),
    Blind(String),
}

/// Judges an attempt whose last step was done at `since`, by the stage that has its turn.
pub(super) fn judge(
    ctx: &Context<'_>,
    book: &Book,
    incident: &Incident,
    (attempt, since): (&Attempt, Time),
    observation: &Observation,
    now: Time,
) -> Proof {
    let verify = attempt.verify();
    let begun = attempt.stage_since.unwrap_or(since);
    let tail = verify.tail.or(observation.tail.as_ref().map(|tail| tail.tail)).unwrap_or(ctx.limits.tail);
    // A later stage is about the same write: what the tail waited for is over by then, or soon.
    let tail_until = attempt.tail_until.unwrap_or((since + tail).max(begun));
    let mut proof = Proof { checks: BTreeMap::new(), rolled_back: false, holds: true, tail_until, over: None };
    let steps_end = begun + verify.within;
    let tail_end = tail_until + verify.within;

    if let Some(over) = rollout(&mut proof, observation) {
        proof.checks.clone_from(&attempt.checks);
        proof.checks.insert("rollout".to_owned(), over.1.clone());
        proof.holds = false;
        proof.over = Some(over);
        return proof;
    }
    if verify.rollout {
        let check = match &observation.rollout {
            Some(RolloutStatus::Complete) => Check::Good("complete".to_owned()),
            Some(RolloutStatus::Progressing { detail }) => Check::Bad(detail.clone()),
            Some(RolloutStatus::Unknown { why }) => Check::Blind(why.to_string()),
            _ => Check::Blind("not read".to_owned()),
        };
        proof.add("rollout".to_owned(), check, (now, steps_end), Reason::Failed);
    }
    for check in &verify.http {
        let answer = observation.http.iter().find(|result| result.url == check.url);
        let outcome = match answer.map(|result| &result.result) {
            Some(Ok(())) => Check::Good("as expected".to_owned()),
            Some(Err(why)) => Check::Bad(why.clone()),
            None => Check::Blind("not asked yet".to_owned()),
        };
        proof.add(format!("http {}", check.url), outcome, (now, steps_end), Reason::Ineffective);
    }
    if verify.alert {
        proof.add("alert".to_owned(), alert(ctx, incident, observation, now), (now, tail_end), Reason::Ineffective);
    }
    for source in &verify.facts {
        let outcome = fact((ctx, book, incident, verify), source, observation, now);
        proof.add(format!("fact {source}"), outcome, (now, tail_end), Reason::Ineffective);
    }
    if let Some(worse) = worse(incident, since) {
        proof.holds = false;
        proof.over = Some((Reason::Ineffective, worse));
    }
    proof
}

impl Proof {
    /// Adds a check. Past its deadline, what is bad ends the attempt; and so does, for want of sight, what is blind.
    fn add(&mut self, name: String, check: Check, (now, deadline): (Time, Time), bad: Reason) {
        let (holds, words, end) = match check {
            Check::Good(words) => (true, words, None),
            Check::Bad(words) => (false, words, Some(bad)),
            Check::Blind(words) if planted::is(Bug::UnknownTakenAsBetter) => (true, words, None),
            Check::Blind(words) => (false, format!("unknown: {words}"), Some(Reason::Unknown)),
        };
        self.holds &= holds;
        if now >= deadline
            && let Some(reason) = end
            // What was seen to be bad outweighs what was not seen.
            && self.over.as_ref().is_none_or(|(known, _)| *known == Reason::Unknown)
        {
            self.over = Some((reason, format!("{name}: {words}")));
        }
        self.checks.insert(name, words);
    }
}

/// What the rollout says about the whole attempt, whether or not the plan asks for it.
fn rollout(proof: &mut Proof, observation: &Observation) -> Option<(Reason, String)> {
    match observation.rollout.as_ref()? {
        RolloutStatus::Complete => {
            proof.rolled_back = true;
            None
        }
        RolloutStatus::Failed { detail } => Some((Reason::Failed, format!("the rollout cannot complete: {detail}"))),
        RolloutStatus::Superseded { release, by } => {
            let by = by.as_deref().unwrap_or("somebody");
            Some((Reason::Superseded, format!("{by} put release {} there", release.short())))
        }
        RolloutStatus::Gone => Some((Reason::TargetGone, "the target is gone, or is another object".to_owned())),
        RolloutStatus::Progressing { .. } | RolloutStatus::Unknown { .. } => None,
    }
}

fn alert(ctx: &Context<'_>, incident: &Incident, observation: &Observation, now: Time) -> Check {
    match Presence::judge(incident, &observation.alerts, now, ctx.limits) {
        Presence::Resolved => Check::Good("resolved, confirmed".to_owned()),
        Presence::Firing => Check::Bad("still firing".to_owned()),
        Presence::Silenced(by) => Check::Blind(format!("silenced by {by}")),
        Presence::Inhibited => Check::Blind("inhibited".to_owned()),
        Presence::Unknown(why) => Check::Blind(why),
    }
}

/// Conditions are compiled anew from the plan: it is pinned, the policy may have changed since.
fn fact(
    (ctx, book, incident, verify): (&Context<'_>, &Book, &Incident, &VerifyPlan),
    source: &str,
    observation: &Observation,
    now: Time,
) -> Check {
    let reading = |name: &str| {
        let number = || verify.queries.contains_key(name).then_some(Reading::NUMBER);
        verify.readings.get(name).cloned().or_else(number)
    };
    let names = verify.queries.keys().chain(verify.readings.keys());
    let facts = names.filter_map(|name| Some((name.clone(), reading(name)?.of))).collect();
    let intervals = &ctx.policies.intervals;
    let expr = match Expr::compile(source, &Env { facts, intervals: intervals.keys().cloned().collect() }) {
        Ok(expr) => expr,
        Err(_) => return Check::Blind("the condition cannot be read any more".to_owned()),
    };
    let scope = IncidentScope { book, incident, observation, cluster: ctx.cluster, readings: &reading, intervals, now };
    let outcome = expr.eval(&scope);
    let read: Vec<String> =
        outcome.read.iter().filter_map(|(path, known)| known.as_ref().ok().map(|v| format!("{path} = {v}"))).collect();
    match outcome.tri {
        Tri::True => Check::Good(read.join(", ")),
        Tri::False => Check::Bad(read.join(", ")),
        Tri::Unknown(reasons) => Check::Blind(reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    }
}

/// An alert whose condition began after the write. The onset is of another clock than ours: what we had heard of before cannot.
fn worse(incident: &Incident, since: Time) -> Option<String> {
    let began_after = |member: &&super::incident::Member| {
        let heard_after = member.resolved_at.is_none() && member.received_at > since;
        heard_after && member.onset.at.as_ref().is_ok_and(|onset| *onset > since)
    };
    let member = incident.members.values().find(began_after)?;
    Some(format!("alert {:?} began after the rollback", member.alert.label("alertname")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::brakes::fixture::{World, acting, unreachable};
    use super::*;
    use crate::model::{HttpCheck, HttpResult};

    fn empty(now: Time) -> Proof {
        Proof { checks: BTreeMap::new(), rolled_back: false, holds: true, tail_until: now, over: None }
    }

    /// What a look at the fixture's target proves, where the proof asks for the rollout and for this address.
    fn looked(world: &mut World, url: &str) -> Proof {
        let policies = acting("{rollback: undo}");
        world.decide_by(&policies);
        world.begin(Duration::ZERO, 1);
        let mut attempt = world.incident.attempts[0].clone();
        let verify = &mut std::sync::Arc::make_mut(&mut attempt.plan).verify;
        verify.rollout = true;
        verify.http = vec![HttpCheck { url: url.to_owned(), attempts: 1, status: None, text: None }];
        let ctx = Context { policies: &policies, limits: &world.limits, cluster: Some("prod") };
        judge(&ctx, &world.book, &world.incident, (&attempt, world.now), &world.observation, world.now)
    }

    #[test]
    fn a_rollout_that_cannot_be_read_says_why() {
        let mut world = World::new();
        world.observation.rollout = Some(RolloutStatus::Unknown { why: unreachable() });
        let proof = looked(&mut world, "https://shop.example/");
        assert_eq!(proof.checks["rollout"], format!("unknown: {}", unreachable()));
        assert!(!proof.holds);
    }

    #[test]
    fn an_address_is_judged_by_its_own_answer() {
        let answers = [("https://shop.example/", Ok(())), ("https://shop.example/cart", Err("500".to_owned()))];
        for (url, said) in [
            ("https://shop.example/", "as expected"),
            ("https://shop.example/cart", "500"),
            ("https://shop.example/users", "unknown: not asked yet"),
        ] {
            let mut world = World::new();
            let answer =
                |(url, result): &(&str, Result<(), String>)| HttpResult { url: (*url).to_owned(), result: result.clone() };
            world.observation.http = answers.iter().map(answer).collect();
            assert_eq!(looked(&mut world, url).checks[&format!("http {url}")], said);
        }
    }

    #[test]
    fn what_was_seen_to_be_bad_outweighs_what_was_not_seen_and_the_first_that_is_bad_counts() {
        let now = World::new().now;
        let blind = || Check::Blind("no answer".to_owned());
        let bad = || Check::Bad("500".to_owned());
        let over = |reason, words: &str| Some((reason, words.to_owned()));
        for (first, second, expected) in [
            (blind(), bad(), over(Reason::Ineffective, "b: 500")),
            (bad(), blind(), over(Reason::Ineffective, "a: 500")),
            (bad(), bad(), over(Reason::Ineffective, "a: 500")),
            (blind(), Check::Good(String::new()), over(Reason::Unknown, "a: unknown: no answer")),
        ] {
            let mut proof = empty(now);
            proof.add("a".to_owned(), first, (now, now), Reason::Ineffective);
            proof.add("b".to_owned(), second, (now, now), Reason::Ineffective);
            assert_eq!(proof.over, expected);
        }
    }

    #[test]
    fn only_an_alert_that_was_heard_of_and_began_after_the_write_says_that_it_is_worse() {
        let (before, since, after) = (-1, 0, 1);
        for (received, onset, resolved, expected) in [
            (after, after, false, true),
            (since, after, false, false),
            (before, after, false, false),
            (after, since, false, false),
            (after, before, false, false),
            (after, after, true, false),
        ] {
            let mut world = World::new();
            let now = world.now;
            let at = |second: i64| {
                if second < 0 { now - Duration::from_secs(1) } else { now + Duration::from_secs(second.unsigned_abs()) }
            };
            world.change_member(|member| {
                (member.received_at, member.onset.at) = (at(received), Ok(at(onset)));
                member.resolved_at = resolved.then_some(at(after));
            });
            assert_eq!(worse(&world.incident, now).is_some(), expected, "{received}, {onset}, {resolved}");
        }
    }
}
