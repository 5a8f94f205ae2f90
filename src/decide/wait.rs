//! A plan waits before anything is done: for a veto, for a yes, or, in shadow, for nothing.

use std::time::Duration;

use super::book::Book;
use super::draft::Draft;
use super::effect::{Context, Effect, Step};
use super::incident::{Incident, Phase};
use super::observation::Purpose;
use super::pages::page_channels;
use super::transition::Event;
use crate::journal::record::Record;
use crate::model::{Brake, IncidentId, Mode, Moment, Plan, Reason, Time, Urgency};

/// How long an approval is waited for where nothing says so.
const APPROVAL_WITHIN: Duration = Duration::from_secs(10 * 60);

/// A storm was seen in this step: whatever else waits is judged again now, not only when its wait is over.
pub(super) fn judge_again_in_a_storm(ctx: &Context<'_>, book: &Book, now: Time, step: &mut Step) {
    let seen = |record: &Record| match record {
        Record::Incident { event: Event::Decided { decision }, .. } => decision.brake == Some(Brake::Storm),
        _ => false,
    };
    if !step.records.iter().any(|stamped| seen(&stamped.record)) {
        return;
    }
    let waits = |incident: &&Incident| {
        let asked = incident.asked.is_some_and(|asked| asked.purpose == Purpose::Recheck);
        matches!(incident.phase, Phase::Countdown { .. } | Phase::Approval { .. }) && !asked
    };
    let waiting: Vec<IncidentId> = book.open().filter(waits).map(|incident| incident.id.clone()).collect();
    for id in waiting {
        let Some(mut draft) = Draft::of(ctx, book, now, &id, step) else { continue };
        if matches!(draft.incident.phase, Phase::Countdown { .. } | Phase::Approval { .. }) {
            draft.note("many targets want a rollback: judged again");
            draft.ask(Purpose::Recheck, 0);
        }
    }
}

/// A rollback waits: for a veto, for a yes, or, in shadow, for nothing.
pub(super) fn begin(draft: &mut Draft<'_>, summary: &str) {
    let Some(plan) = draft.incident.plan.clone() else { return };
    match plan.mode {
        Mode::Enforce if draft.incident.acknowledged.is_some() => {
            let by = draft.incident.acknowledged.as_ref().map_or("somebody", |(_, by)| by.as_str());
            let title = format!("NOT rolling back, {by} has it: {}", super::tell::subject(&draft.incident));
            draft.enter(Phase::Countdown { until: None });
            draft.announce(Moment::Decided, &title, &format!("the countdown is suspended: approve or veto. {summary}"));
        }
        Mode::Enforce => {
            let until = draft.now + plan.countdown;
            draft.enter(Phase::Countdown { until: Some(until) });
            let title = format!("rolling back at {until}: {}", super::tell::subject(&draft.incident));
            draft.announce(Moment::Decided, &title, summary);
            if plan.countdown.is_zero() {
                super::life::prepare(draft);
            }
        }
        Mode::Approve => {
            draft.enter(Phase::Approval { until: draft.now + approval_within(draft, &plan) });
            let title = format!("approve? {}", super::tell::subject(&draft.incident));
            if draft.incident.critical() {
                // For a critical alert the request is a page: somebody must look now.
                let announced = draft.page_urgency(true) != Urgency::Page;
                draft.record(Event::Paged {
                    reason: Reason::Rule,
                    brake: None,
                    cause: None,
                    folded_into: None,
                    announced,
                    text: summary.to_owned(),
                });
                let message = super::tell::message(
                    draft,
                    Moment::Decided,
                    draft.page_urgency(true),
                    &title,
                    summary,
                    page_channels(draft.ctx, &draft.incident),
                );
                draft.effect(Effect::Tell(Box::new(message)));
            } else {
                draft.announce(Moment::Decided, &title, summary);
            }
        }
        Mode::Shadow if draft.incident.lane.is_shadow() => {
            draft.enter(Phase::Shadowed);
            let title = format!("would roll back (shadow): {}", super::tell::subject(&draft.incident));
            draft.announce(Moment::Decided, &title, summary);
            draft.ask_in(Purpose::Watch, draft.ctx.limits.watch_every, 0);
        }
        // The policy takes the alert from others, and its rule or procedure only tries itself out: somebody must act.
        Mode::Shadow => {
            draft.page(Reason::Shadow, Moment::Paged, &format!("would roll back, but is in shadow: {summary}"), false);
        }
    }
}

/// The journal hung, or the process was away, between the end of the wait and the write: nobody expects it any more, and a veto would
/// not have been heard. The wait begins anew; where the write was begun before, a person has it.
pub(super) fn lapsed(draft: &mut Draft<'_>, summary: &str) {
    let what = match &draft.incident.approval {
        Some(approval) => format!("{} said yes", approval.by),
        None => "the countdown ended".to_owned(),
    };
    let when = draft.incident.allowed_at.map(|at| format!(" at {at}")).unwrap_or_default();
    let why = format!("{what}{when}, too long ago to act upon now");
    if draft.incident.is_attempting() {
        draft.end_attempt(Reason::Redecided);
        draft.page(Reason::Redecided, Moment::Paged, &format!("stood down before the write: {why}"), true);
        return;
    }
    draft.note(format!("{why}: the wait begins again"));
    begin(draft, summary);
}

fn approval_within(draft: &Draft<'_>, plan: &Plan) -> Duration {
    let procedure = draft.ctx.policies.procedures.get(&plan.procedure).and_then(|procedure| procedure.approval_within);
    let policy = || draft.ctx.policies.get(&plan.policy).and_then(|policy| policy.approval_within);
    procedure.or_else(policy).unwrap_or(APPROVAL_WITHIN)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::brakes::fixture::{World, policies};
    use super::*;
    use crate::decide::incident::Lane;

    /// A plan of that mode was decided, and its wait begins.
    fn begun(mut world: World, mode: Mode) -> World {
        world.plan();
        Arc::make_mut(world.incident.plan.as_mut().expect("planned")).mode = mode;
        let _ = world.draft(&policies(""), |draft| begin(draft, "it is so"));
        world
    }

    #[test]
    fn a_countdown_does_not_begin_over_the_head_of_who_has_it() {
        let world = begun(World::new(), Mode::Enforce);
        let countdown = world.incident.plan.as_ref().expect("planned").countdown;
        assert_eq!(world.incident.phase, Phase::Countdown { until: Some(world.now + countdown) });
        let mut world = World::new();
        world.incident.acknowledged = Some((world.now, "ann".to_owned()));
        assert_eq!(begun(world, Mode::Enforce).incident.phase, Phase::Countdown { until: None });
    }

    #[test]
    fn what_only_tries_itself_out_is_for_people_where_nobody_else_has_the_alert() {
        let world = begun(World::new(), Mode::Shadow);
        let page = world.incident.page.as_ref().expect("somebody must act");
        assert_eq!((page.reason, page.text.as_str()), (Reason::Shadow, "would roll back, but is in shadow: it is so"));
        let mut world = World::new();
        world.incident.lane = Lane::Shadow("web".to_owned());
        let world = begun(world, Mode::Shadow);
        assert_eq!((world.incident.phase, world.incident.page), (Phase::Shadowed, None));
    }
}
