//! The life of an incident: what time and observations make of it. One function for each phase; each ends in a phase with a
//! deadline, so that nothing is ever silent.

use std::sync::Arc;
use std::time::Duration;

use super::decision::Decision;
use super::draft::Draft;
use super::due::{unheard, unlisted};
use super::effect::Effect;
use super::incident::{Incident, Phase};
use super::limits::{LOST, backoff};
use super::observation::{Observation, Purpose};
use super::presence::Presence;
use super::transition::Event;
use super::{latch, verdict};
use crate::model::{Guard, Moment, Outcome, Reason, Resolution, Urgency};
use crate::planted::{self, Bug};
use crate::policy::types::{Step as ProcedureStep, VerdictRule};

/// Observations in a row that may be lost before a human hears of it.
const LOST_TIMES: u32 = 3;
/// A countdown that ended this long before anybody looked was none: nothing was taken in meanwhile, a veto neither.
const LATE: Duration = Duration::from_secs(10);
/// Looks at a ticket's incident in a row that could not tell whether it is still one, before a human hears of it.
const BLIND_LOOKS: u32 = 10;

/// Time went by for an incident that is due.
pub(super) fn tick(draft: &mut Draft<'_>) {
    let now = draft.now;
    if draft.incident.untold.as_ref().is_some_and(|untold| now >= untold.again_at) {
        draft.tell_again();
        return;
    }
    if let Some(asked) = draft.incident.asked
        && now >= asked.at + LOST
    {
        draft.note("an observation did not come back");
        lost(draft, asked.purpose, asked.tries.saturating_add(1));
        return;
    }
    if let Some(retry) = draft.incident.retry
        && now >= retry.at
    {
        draft.ask(retry.purpose, retry.tries);
        return;
    }
    let page_due = [unheard(&draft.incident, draft.ctx.limits), unlisted(&draft.incident, draft.ctx.limits)];
    if page_due.into_iter().flatten().any(|at| now >= at) {
        draft.page_again();
        return;
    }
    match draft.incident.phase.clone() {
        Phase::Settling { .. } => settle(draft),
        Phase::Deciding { .. } => draft.ask(Purpose::Decide, 0),
        Phase::Countdown { until: Some(until) } if now.since(until) > LATE => {
            // Whoever wanted to veto could not reach us either.
            super::events::countdown_again(draft, Some(until), "backout stood still when the countdown ended");
        }
        Phase::Countdown { until: Some(_) } => prepare(draft),
        Phase::Countdown { until: None } => {
            let text = "the countdown was suspended, and nobody approved or vetoed since; nothing was done";
            draft.page(Reason::NotApproved, Moment::Paged, text, true);
        }
        Phase::Approval { .. } => {
            draft.page(Reason::NotApproved, Moment::Paged, "nobody approved the plan in time; nothing was done", false);
        }
        Phase::Preparing { .. } => {
            let text = match draft.incident.approved(now) {
                Some(approval) => format!(
                    "{} approved it, and preflight did not come back, or the journal took too long; nothing was done: approve again",
                    approval.by
                ),
                None => "preflight did not come back; nothing was done".to_owned(),
            };
            draft.page(Reason::Preflight, Moment::Paged, &text, true);
        }
        Phase::Redeciding { .. } => draft.ask(Purpose::Redecide, 0),
        Phase::Executing { step, since, .. } => {
            draft.enter(Phase::Executing { step, since, doubtful: true });
            draft.ask(Purpose::Reconcile, 0);
        }
        Phase::Verifying { .. } => draft.ask(Purpose::Verify, 0),
        Phase::Verified | Phase::Shadowed | Phase::Paged | Phase::FixForward => wait_longer(draft),
        Phase::Closed { .. } => {}
    }
}

/// An observation did not come back. It is asked for again, but not for ever: who is blind says so.
fn lost(draft: &mut Draft<'_>, purpose: Purpose, tries: u32) {
    if draft.incident.phase.is_waiting() || tries < LOST_TIMES {
        draft.ask(purpose, tries);
        return;
    }
    let acting = draft.incident.phase.is_acting();
    draft.end_attempt(Reason::Unknown);
    if acting {
        let text = "what the rollback became cannot be seen: observations do not come back";
        draft.page(Reason::Unknown, Moment::Failed, text, true);
    } else {
        let text = "nothing can be decided: observations do not come back";
        draft.page(Reason::RuleUnknown, Moment::Paged, text, true);
    }
}

fn settle(draft: &mut Draft<'_>) {
    if let Some(why) = draft.incident.unresolved.clone() {
        draft.page(Reason::Unresolved, Moment::Paged, &format!("no target: {why}"), false);
        return;
    }
    draft.enter(Phase::Deciding { since: draft.now });
    let facts = verdict::read_first(draft.ctx, &draft.incident);
    if !facts.is_empty() {
        draft.record(Event::Wanted { facts });
    }
    draft.ask(Purpose::Decide, 0);
}

/// A waiting incident that is due for something other than an observation: it expires, or its page is sent again.
fn wait_longer(draft: &mut Draft<'_>) {
    let limits = draft.ctx.limits;
    if draft.now >= draft.incident.heard_at + limits.expire_after {
        let hours = limits.expire_after.as_secs() / 3600;
        draft.close(Reason::Expired, &format!("no evidence either way for {hours} h"));
        return;
    }
    if let Phase::Paged = draft.incident.phase {
        draft.page_again();
    }
}

/// An observation came back.
pub(super) fn observed(draft: &mut Draft<'_>, id: u64, observation: &Observation) {
    let Some(asked) = draft.incident.asked.filter(|asked| asked.id == id) else { return };
    match asked.purpose {
        Purpose::Decide => decided(draft, asked.tries, observation),
        Purpose::Confirm => confirmed(draft, observation),
        Purpose::Recheck => rechecked(draft, asked.tries, observation),
        Purpose::Redecide => redecided(draft, asked.tries, observation),
        Purpose::Reconcile => super::act::reconciled(draft, asked.tries, observation),
        Purpose::Watch => watched(draft, asked.tries, observation),
        Purpose::Verify => super::act::verified(draft, observation),
    }
}

/// Decides, and handles what every decision has in common. `None`: not yet, an observation is on its way.
fn judge(draft: &mut Draft<'_>, purpose: Purpose, tries: u32, observation: &Observation) -> Option<Decision> {
    let decision = verdict::decide(draft.ctx, draft.book, &draft.incident, observation, draft.now);
    if !decision.wanted.is_empty() {
        let mut facts = draft.incident.wanted.clone();
        facts.extend(decision.wanted.iter().cloned());
        facts.sort_unstable();
        facts.dedup();
        if facts != draft.incident.wanted {
            draft.record(Event::Wanted { facts });
            draft.ask(purpose, tries);
            return None;
        }
    }
    // Facts that were asked for and did not come back are unknown like those that came back so.
    let unknown = !decision.unknown.is_empty() || !decision.wanted.is_empty();
    let unsure = decision.outcome != Outcome::Rollback && unknown;
    let spent = if purpose == Purpose::Decide { spent_on_locating(draft) } else { Duration::ZERO };
    if unsure && (tries == 0 || patience(tries) + spent < draft.ctx.limits.patience) {
        draft.ask_in(purpose, backoff(tries), tries + 1);
        return None;
    }
    Some(decision)
}

/// What the look-up of target and onset took of the patience before the first verdict: what is unknown is waited for once.
fn spent_on_locating(draft: &Draft<'_>) -> Duration {
    let settle = draft.ctx.policies.get(&draft.incident.policy).map(|policy| policy.settle).unwrap_or_default();
    let located = draft.incident.located_at.filter(|_| draft.incident.decided_at.is_none());
    located.map_or(Duration::ZERO, |at| at.since(draft.incident.opened_at + settle).min(draft.ctx.limits.patience))
}

/// How long has been waited after so many tries.
fn patience(tries: u32) -> Duration {
    // More than this is beyond any patience; `rise` asks with the greatest number.
    (0..tries.min(1000)).map(backoff).sum()
}

fn decided(draft: &mut Draft<'_>, tries: u32, observation: &Observation) {
    if let Some(decision) = judge(draft, Purpose::Decide, tries, observation) {
        conclude(draft, decision);
    }
}

/// Carries a verdict out.
fn conclude(draft: &mut Draft<'_>, decision: Decision) {
    if decision.presence == Presence::Resolved {
        draft.record(Event::Decided { decision: Arc::new(decision) });
        draft.close(Reason::Recovered, "all alerts are over, confirmed; nothing was done");
        return;
    }
    let (outcome, summary) = (decision.outcome, decision.summary.clone());
    let (reason, plan, tell) = (decision.reason, decision.plan.clone(), decision.tell.clone());
    let decision = Arc::new(decision);
    draft.record(Event::Decided { decision: Arc::clone(&decision) });
    draft.note(format!("decided {}: {summary}", outcome.as_str()));
    latch::begin(draft, &decision);
    if let Some(plan) = plan {
        draft.record(Event::Planned { plan: Arc::new(plan) });
    }
    if !tell.is_empty() {
        let title = format!("decided {}: {}", outcome.as_str(), super::tell::subject(&draft.incident));
        let message = super::tell::message(draft, Moment::Decided, Urgency::Announce, &title, &summary, tell);
        draft.effect(Effect::Tell(Box::new(message)));
    }
    if outcome == Outcome::Page {
        let title = format!("decided {}: {}", outcome.as_str(), super::tell::subject(&draft.incident));
        draft.announce_as_written(Moment::Decided, &title, &summary);
    }
    match outcome {
        Outcome::Page if draft.incident.tried() > 0 => {
            let text = format!("level {} did not help; then: {summary}", draft.incident.levels_done());
            draft.page(Reason::Ineffective, Moment::Ineffective, &text, true);
        }
        Outcome::Page if !draft.incident.passed_over.is_empty() => {
            let unfit = draft.incident.passed_over.iter().map(|(procedure, why)| format!("`{procedure}` was unfit ({why})"));
            let text = format!("{}; then: {summary}", unfit.collect::<Vec<_>>().join(", "));
            draft.page(reason, Moment::Paged, &text, true);
        }
        Outcome::Page => draft.page(reason, Moment::Paged, &summary, false),
        Outcome::FixForward => fix_forward(draft),
        Outcome::Rollback => super::wait::begin(draft, &summary),
    }
}

fn fix_forward(draft: &mut Draft<'_>) {
    if !matches!(draft.incident.phase, Phase::FixForward) {
        draft.enter(Phase::FixForward);
        open_ticket(draft);
    }
    draft.ask_in(Purpose::Watch, draft.ctx.limits.watch_every, 0);
}

/// Tells those who fix forward.
fn open_ticket(draft: &mut Draft<'_>) {
    let summary = draft.incident.decision.as_ref().map(|decision| decision.summary.clone()).unwrap_or_default();
    let to = draft.incident.decision.as_ref().map(|decision| decision.to.clone()).unwrap_or_default();
    let urgency = if draft.incident.lane.is_shadow() { Urgency::Announce } else { Urgency::Ticket };
    let title = format!("fix forward: {}", super::tell::subject(&draft.incident));
    let message = super::tell::message(draft, Moment::Decided, urgency, &title, &summary, to);
    draft.tell(message, &summary);
    draft.announce_as_written(Moment::Decided, &title, &summary);
}

/// The senders said that all is over while it settled.
fn confirmed(draft: &mut Draft<'_>, observation: &Observation) {
    let presence = Presence::judge(&draft.incident, &observation.alerts, draft.now, draft.ctx.limits);
    if presence == Presence::Resolved {
        draft.close(Reason::Recovered, "all alerts are over, confirmed, before anything was decided");
        return;
    }
    // Not confirmed: the settling goes on, and the decision reads the peers again.
    if let Phase::Settling { until } = draft.incident.phase {
        let wait = until.since(draft.now) + Duration::from_millis(1);
        draft.ask_in(Purpose::Confirm, wait.min(draft.ctx.limits.watch_every), 0);
    }
}

/// Something happened while a plan waits: the same verdict and the same plan, or a human.
fn rechecked(draft: &mut Draft<'_>, tries: u32, observation: &Observation) {
    let Some(decision) = judge(draft, Purpose::Recheck, tries, observation) else { return };
    if same_verdict(draft, &decision) {
        draft.record(Event::Decided { decision: Arc::new(decision) });
        let suspended = matches!(draft.incident.phase, Phase::Countdown { until: None });
        // Entering the phase again clears the answered observation.
        let phase = draft.incident.phase.clone();
        draft.enter(phase);
        draft.note(if suspended { "decided again: the same plan" } else { "decided again: the same plan, the wait goes on" });
        return;
    }
    stand_down(draft, decision);
}

fn same_verdict(draft: &Draft<'_>, decision: &Decision) -> bool {
    let same_plan = match (&decision.plan, &draft.incident.plan) {
        (Some(new), Some(old)) => new.hash() == old.hash() || planted::is(Bug::ReloadOverlooked),
        _ => false,
    };
    decision.outcome == Outcome::Rollback && decision.presence == Presence::Firing && same_plan
}

/// The second reading is not the first: closed if it recovered, else a human decides.
fn stand_down(draft: &mut Draft<'_>, decision: Decision) {
    if decision.presence == Presence::Resolved {
        draft.record(Event::Decided { decision: Arc::new(decision) });
        draft.close(Reason::Recovered, "cancelled: all alerts are over, confirmed");
        return;
    }
    let reason = if decision.reason == Reason::BrakeHeld { Reason::BrakeHeld } else { Reason::Redecided };
    let text = format!("stood down before the write: {}", decision.summary);
    let decision = Arc::new(decision);
    draft.record(Event::Decided { decision: Arc::clone(&decision) });
    latch::begin(draft, &decision);
    draft.page(reason, Moment::Paged, &text, true);
}

/// The wait is over, or somebody said yes: dry run and evidence.
pub(super) fn prepare(draft: &mut Draft<'_>) {
    let (Some(plan), Some(guard)) = (draft.incident.plan.clone(), decided_guard(&draft.incident)) else {
        draft.page(Reason::Failed, Moment::Failed, "there is no complete plan to carry out", true);
        return;
    };
    let since = match draft.incident.phase {
        Phase::Redeciding { since } => since,
        _ => draft.now,
    };
    draft.enter(Phase::Preparing { since });
    let approved = draft.incident.approved(draft.now).is_some();
    draft.effect(Effect::Prepare { number: draft.incident.begun, plan, guard, approved });
}

/// The generation that the last decision saw.
pub(super) fn decided_guard(incident: &Incident) -> Option<Guard> {
    match incident.decision.as_ref()?.observation.workload.as_ref()? {
        Resolution::Found { workload } => Some(Guard { generation: workload.generation }),
        _ => None,
    }
}

/// Everything was read once more: the same verdict and plan is written, anything else is not.
fn redecided(draft: &mut Draft<'_>, tries: u32, observation: &Observation) {
    if came_late(draft, observation) {
        // An earlier write of this attempt, which seemed to have touched nothing, came through after all.
        draft.enter(Phase::Executing { step: 0, since: draft.now, doubtful: true });
        super::act::reconciled(draft, 0, observation);
        return;
    }
    if planted::is(Bug::SecondLookSkipped) {
        super::act::write(draft);
        return;
    }
    let Some(decision) = judge(draft, Purpose::Redecide, tries, observation) else { return };
    if decision.presence == Presence::Resolved && may_still_land(draft) {
        return;
    }
    if !same_verdict(draft, &decision) {
        draft.end_attempt(Reason::Redecided);
        stand_down(draft, decision);
        return;
    }
    let summary = decision.summary.clone();
    draft.record(Event::Decided { decision: Arc::new(decision) });
    if !draft.incident.is_allowed(draft.now) {
        super::wait::lapsed(draft, &summary);
        return;
    }
    match super::act::in_the_way(&draft.incident) {
        None => super::act::write(draft),
        Some(problem) => super::act::not_fit(draft, &problem),
    }
}

/// It recovered, but a write of ours was never answered: as long as an API server may still carry it out, the incident stays open
/// and the target is looked at, so that a rollback is never made behind everybody's back.
fn may_still_land(draft: &mut Draft<'_>) -> bool {
    let Some(until) = draft.incident.may_land_until().filter(|until| draft.now < *until) else { return false };
    draft.note_once("the alerts are over, but a write was not answered and may still be made: looking before it is closed");
    draft.ask_in(Purpose::Redecide, backoff(u32::MAX).min(until.since(draft.now)), 0);
    true
}

/// Whether the release of an attempt that is not over runs already.
fn came_late(draft: &Draft<'_>, observation: &Observation) -> bool {
    let attempt = draft.incident.attempt().filter(|attempt| attempt.ended.is_none());
    match (attempt, &observation.workload) {
        (Some(attempt), Some(Resolution::Found { workload })) => workload.release == attempt.plan.to.digest,
        _ => false,
    }
}

/// An incident that waits was looked at.
fn watched(draft: &mut Draft<'_>, tries: u32, observation: &Observation) {
    let limits = *draft.ctx.limits;
    let presence = match Presence::judge(&draft.incident, &observation.alerts, draft.now, &limits) {
        Presence::Unknown(_) if planted::is(Bug::BlindTakenAsQuiet) => Presence::Resolved,
        Presence::Resolved if planted::is(Bug::NeverQuiet) => Presence::Inhibited,
        presence => presence,
    };
    match presence {
        Presence::Resolved => {
            draft.record(Event::Quiet { quiet: true });
            // A page that nobody has yet is not closed away: it is sent each minute until a channel takes it.
            let untaken = draft.incident.page.as_ref().is_some_and(|page| page.untaken);
            if !untaken && draft.incident.quiet_since.is_some_and(|since| draft.now.since(since) >= limits.close_after) {
                let reason = ending(&draft.incident);
                draft.close(reason, "no alert fires any more");
                return;
            }
        }
        Presence::Firing => {
            let was_quiet = draft.incident.quiet_since.is_some();
            draft.record(Event::Quiet { quiet: false });
            let proven_quiet =
                draft.incident.attempt().is_some_and(|attempt| attempt.plan.verify.stages().any(|stage| stage.alert));
            if matches!(draft.incident.phase, Phase::Verified) && (was_quiet || proven_quiet) {
                draft.page(Reason::Refired, Moment::Paged, "an alert fires again after the rollback was proven", true);
                return;
            }
            if still_fires(draft) {
                draft.page(
                    Reason::Ineffective,
                    Moment::Ineffective,
                    "an alert fires on, long after the rollback was proven",
                    true,
                );
                return;
            }
            if matches!(draft.incident.phase, Phase::FixForward) {
                rise(draft, tries, observation);
                return;
            }
        }
        Presence::Silenced(_) | Presence::Inhibited => draft.record(Event::Quiet { quiet: false }),
        Presence::Unknown(_) => {}
    }
    let wait = draft.incident.quiet_since.map_or(limits.watch_every, |_| limits.watch_every.min(limits.close_after));
    draft.ask_in(Purpose::Watch, wait, 0);
}

/// Proven by checks of which the alert was none, and it fires on although it had the time to be over.
fn still_fires(draft: &Draft<'_>) -> bool {
    let ended = draft.incident.attempt().and_then(|attempt| attempt.ended);
    let long = ended.is_some_and(|(at, _)| draft.now.since(at) >= draft.ctx.limits.tail);
    long && matches!(draft.incident.phase, Phase::Verified)
}

/// A fix-forward incident may only rise.
fn rise(draft: &mut Draft<'_>, tries: u32, observation: &Observation) {
    let Some(decision) = judge(draft, Purpose::Watch, u32::MAX, observation) else { return };
    let pinned = draft.incident.decision.as_ref().is_some_and(|first| first.policies == decision.policies);
    match decision.outcome {
        Outcome::Rollback if !pinned => {
            // It goes on under the policies that decided it; by others it may become a page, no more.
            let text = format!("policies were reloaded since the ticket was opened; now {}", decision.summary);
            draft.record(Event::Decided { decision: Arc::new(decision) });
            draft.page(Reason::PolicyChanged, Moment::Paged, &text, false);
        }
        Outcome::FixForward => draft.ask_in(Purpose::Watch, draft.ctx.limits.watch_every, 0),
        // What cannot be told while a ticket is open stays a ticket for a while: it may be known the next time.
        Outcome::Page if decision.reason == Reason::RuleUnknown && tries < BLIND_LOOKS => {
            draft.ask_in(Purpose::Watch, draft.ctx.limits.watch_every, tries + 1);
        }
        Outcome::Page | Outcome::Rollback => conclude(draft, decision),
    }
}

/// What an incident that waited for quiet ended as.
fn ending(incident: &Incident) -> Reason {
    match (&incident.phase, incident.attempt().and_then(|attempt| attempt.ended)) {
        (Phase::Verified, _) => Reason::Verified,
        (Phase::Shadowed, _) => Reason::Shadow,
        (_, Some((_, reason))) => reason,
        (Phase::Paged, None) => incident.page.as_ref().map_or(Reason::Rule, |page| page.reason),
        _ => Reason::Rule,
    }
}

/// Whether the deciding rule has another procedure to try.
pub(super) fn has_next_level(draft: &Draft<'_>) -> bool {
    let Some(policy) = draft.ctx.policies.get(&draft.incident.policy) else { return false };
    let decided_by = draft.incident.decision.as_ref().and_then(|decision| decision.rules.last());
    let Some(rule) = decided_by.and_then(|trail| policy.decide.iter().find(|rule| rule.name == trail.rule)) else { return false };
    match &rule.verdict {
        VerdictRule::Rollback { levels } => {
            let next = levels.get(draft.incident.levels_done()).and_then(|name| draft.ctx.policies.procedures.get(name));
            next.is_some_and(|procedure| procedure.steps.iter().any(ProcedureStep::is_undo))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::brakes::fixture::{World, acting, decided as decided_by, minutes, policies};
    use super::super::effect::Input;
    use super::super::incident::Retry;
    use super::*;
    use crate::model::Time;

    const MOMENT: Duration = Duration::from_millis(1);

    fn reason(world: &World) -> Option<Reason> {
        world.incident.page.as_ref().map(|page| page.reason)
    }

    fn page(world: &World) -> &str {
        world.incident.page.as_ref().map_or("", |page| &page.text)
    }

    #[test]
    fn a_countdown_whose_end_nobody_looked_at_for_ten_seconds_begins_again() {
        for (late, again) in [(LATE - MOMENT, false), (LATE, false), (LATE + MOMENT, true)] {
            let mut world = World::new();
            world.plan();
            let (now, until) = (world.now, Some(world.now - late));
            let countdown = world.incident.plan.as_ref().expect("planned").countdown;
            world.incident.phase = Phase::Countdown { until };
            let _ = world.step(&policies(""), Input::Tick);
            let next = Phase::Countdown { until: Some(now + countdown) };
            assert_eq!(world.incident.phase, if again { next } else { Phase::Preparing { since: now } }, "{late:?}");
        }
    }

    #[test]
    fn a_page_that_no_channel_took_is_sent_again_after_a_minute_before_anything_else_becomes_of_it() {
        let minute = World::new().limits.watch_every;
        for (unheard, messages, phase) in
            [(minute - MOMENT, 1, "paged"), (minute, 1, "approval"), (minute + MOMENT, 1, "approval")]
        {
            let mut world = World::new();
            world.plan();
            let (text, until) = ("approve it".to_owned(), world.now);
            let (brake, cause, folded_into) = (None, None, None);
            let paged = Event::Paged { reason: Reason::Rule, brake, cause, folded_into, announced: false, text };
            world.incident.apply(&paged, world.ago(minutes(5))).expect("it is possible in every phase");
            let unheard = world.ago(unheard);
            world.incident.page.as_mut().expect("it was paged").unheard = Some(unheard);
            world.incident.phase = Phase::Approval { until };
            let step = world.step(&policies(""), Input::Tick);
            let told = step.effects.iter().filter(|effect| matches!(effect, Effect::Tell(_))).count();
            assert_eq!((told, world.incident.phase.as_str()), (messages, phase), "unheard since {unheard}");
            let reasons = if phase == "paged" { Reason::NotApproved } else { Reason::Rule };
            assert_eq!(reason(&world), Some(reasons));
        }
    }

    #[test]
    fn who_is_blind_three_times_says_what_cannot_be_seen() {
        let since = World::new().now;
        for (phase, why, text) in [
            (Phase::Deciding { since }, Reason::RuleUnknown, "nothing can be decided: observations do not come back"),
            (Phase::Redeciding { since }, Reason::RuleUnknown, "nothing can be decided: observations do not come back"),
            (
                Phase::Executing { step: 0, since, doubtful: true },
                Reason::Unknown,
                "what the rollback became cannot be seen: observations do not come back",
            ),
            (
                Phase::Verifying { since },
                Reason::Unknown,
                "what the rollback became cannot be seen: observations do not come back",
            ),
        ] {
            for (tries, says) in [(1, None), (2, None), (3, Some(why)), (4, Some(why))] {
                let mut world = World::new();
                world.attempt();
                world.incident.phase = phase.clone();
                let _ = world.draft(&policies(""), |draft| lost(draft, Purpose::Verify, tries));
                assert_eq!((reason(&world), page(&world)), (says, says.map_or("", |_| text)), "{phase:?} {tries}");
                let again = world.incident.asked.map(|asked| asked.tries);
                assert_eq!(again, says.is_none().then_some(tries), "it is asked for again");
            }
        }
    }

    #[test]
    fn a_page_names_the_levels_that_were_unfit() {
        let policies = acting("{page: {}}");
        for (unfit, text) in [
            (&[][..], "rule `rule 1` says page"),
            (&["undo"], "`undo` was unfit (no such Secret); then: rule `rule 1` says page"),
            (
                &["undo", "two"],
                "`undo` was unfit (no such Secret), `two` was unfit (no such Secret); then: rule `rule 1` says page",
            ),
        ] {
            let mut world = World::new();
            let passed_over = |name: &&str| ((*name).to_owned(), "no such Secret".to_owned());
            world.incident.passed_over = unfit.iter().map(passed_over).collect();
            let decision = decided_by(&policies, &world);
            let _ = world.draft(&policies, |draft| conclude(draft, decision));
            assert_eq!((page(&world), reason(&world)), (text, Some(Reason::Rule)));
        }
    }

    #[test]
    fn peers_that_do_not_confirm_are_asked_again_when_it_has_settled_and_each_minute_until_then() {
        let limits = World::new().limits;
        for (left, wait) in [
            (Duration::ZERO, MOMENT),
            (Duration::from_secs(20), Duration::from_secs(20) + MOMENT),
            (limits.watch_every, limits.watch_every),
            (minutes(10), limits.watch_every),
        ] {
            let mut world = World::new();
            let (now, observation) = (world.now, world.observation.clone());
            world.incident.phase = Phase::Settling { until: now + left };
            let _ = world.draft(&policies(""), |draft| confirmed(draft, &observation));
            assert_eq!(world.incident.retry, Some(Retry { purpose: Purpose::Confirm, at: now + wait, tries: 0 }));
        }
    }

    #[test]
    fn what_is_prepared_again_has_been_tried_since_the_first_time() {
        let World { now, .. } = World::new();
        let before = now - Duration::from_secs(20);
        let after = |phase: Phase| {
            let mut world = World::new();
            world.plan();
            world.incident.phase = phase;
            let _ = world.draft(&policies(""), prepare);
            world.incident.phase
        };
        assert_eq!(after(Phase::Redeciding { since: before }), Phase::Preparing { since: before });
        assert_eq!(after(Phase::Countdown { until: Some(before) }), Phase::Preparing { since: now });
    }

    #[test]
    fn what_was_not_answered_may_be_written_for_two_minutes() {
        for (begun, looks) in [(LOST - MOMENT, true), (LOST, false), (LOST + MOMENT, false)] {
            let mut world = World::new();
            world.plan();
            world.begin(begun, 1);
            world.incident.phase = Phase::Redeciding { since: world.now };
            let mut may = None;
            let _ = world.draft(&policies(""), |draft| may = Some(may_still_land(draft)));
            assert_eq!((may, world.incident.retry.is_some()), (Some(looks), looks), "{begun:?}");
        }
    }

    /// It was proven that long ago, by the alert or by other checks only.
    fn verified(ago: Duration, by_alert: bool) -> World {
        let mut world = World::new();
        world.plan();
        Arc::make_mut(world.incident.plan.as_mut().expect("planned")).verify.alert = by_alert;
        world.begin(ago, 1);
        let proven = Event::AttemptEnded { reason: Reason::Verified };
        world.incident.apply(&proven, world.ago(ago)).expect("it is under way");
        world.incident.phase = Phase::Verified;
        world
    }

    #[test]
    fn an_alert_that_was_no_part_of_the_proof_has_ten_minutes_to_be_over() {
        let tail = World::new().limits.tail;
        for (ago, by_alert, says) in [
            (Duration::ZERO, false, None),
            (tail - MOMENT, false, None),
            (tail, false, Some(Reason::Ineffective)),
            (tail + MOMENT, false, Some(Reason::Ineffective)),
            (Duration::ZERO, true, Some(Reason::Refired)),
        ] {
            let mut world = verified(ago, by_alert);
            let (observation, next): (_, Time) = (world.observation.clone(), world.now + world.limits.watch_every);
            let _ = world.draft(&policies(""), |draft| watched(draft, 0, &observation));
            assert_eq!(reason(&world), says, "{ago:?} {by_alert}");
            assert_eq!(world.incident.retry, Some(Retry { purpose: Purpose::Watch, at: next, tries: 0 }));
        }
    }
}
