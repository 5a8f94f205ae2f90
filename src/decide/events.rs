//! What befalls incidents from outside: a changed target, new policies, a restart.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::act;
use super::book::Book;
use super::draft::Draft;
use super::effect::{Context, Step};
use super::incident::{Incident, Lane, Phase};
use super::intake;
use super::limits::LOST;
use super::observation::Purpose;
use super::plan;
use super::transition::Event;
use super::{life, locate};
use crate::journal::record::{Record, Stamped};
use crate::model::{Applied, Brake, IncidentId, Moment, Reason, ReleaseRef, Time, WatchEvent};
use crate::planted::{self, Bug};

/// The watch saw a target change.
pub(super) fn watched(ctx: &Context<'_>, book: &Book, now: Time, event: &WatchEvent, step: &mut Step) {
    step.records.push(Stamped { at: now, record: Record::Watched { event: Box::new(event.clone()) } });
    let on_target = |incident: &&Incident| incident.target.as_ref().is_some_and(|target| target.at == event.target.at);
    let ids: Vec<IncidentId> = book.open().filter(on_target).map(|incident| incident.id.clone()).collect();
    for id in ids {
        let Some(mut draft) = Draft::of(ctx, book, now, &id, step) else { continue };
        let other_uid = draft.incident.target.as_ref().is_some_and(|target| target.uid != event.target.uid);
        if (event.gone || other_uid) && !planted::is(Bug::UidNotCompared) {
            gone(&mut draft);
        } else if draft.incident.expected_release().is_some_and(|expected| *expected != event.release) && !event.by_us {
            newer_release(&mut draft, event);
        }
    }
    if let Some(id) = landed_late(book, event)
        && let Some(mut draft) = Draft::of(ctx, book, now, &id, step)
    {
        let text = "the rollback WAS written after all, after it was given up, and nobody proves it";
        act::made_late(&mut draft, Applied::Already { generation: 0, ours: true }, text);
    }
}

/// The incident, open or closed, whose given-up write the watch saw: the last one that meant to put that release there.
fn landed_late(book: &Book, event: &WatchEvent) -> Option<IncidentId> {
    if event.gone || !event.by_us {
        return None;
    }
    let intended = |incident: &Incident| {
        let attempt = incident.attempt().filter(|attempt| !attempt.plan.steps.is_empty())?;
        let at = attempt.last_intended_at.unwrap_or(attempt.intended_at);
        (attempt.plan.target == event.target && attempt.plan.to.digest == event.release && at <= event.first_write + LOST)
            .then_some(at)
    };
    let last = book.incidents.values().filter_map(|incident| Some((intended(incident)?, incident))).max_by_key(|(at, _)| *at);
    last.filter(|(_, incident)| incident.is_given_up()).map(|(_, incident)| incident.id.clone())
}

/// The target is gone, or is another object of the same name.
fn gone(draft: &mut Draft<'_>) {
    match draft.incident.phase {
        Phase::Settling { .. } | Phase::Deciding { .. } => {
            draft.page(Reason::TargetGone, Moment::Paged, "the target is gone, or is another object now", false);
        }
        Phase::Countdown { .. } | Phase::Approval { .. } | Phase::Preparing { .. } | Phase::Redeciding { .. } => {
            draft.end_attempt(Reason::TargetGone);
            draft.page(Reason::TargetGone, Moment::Paged, "cancelled: the target is gone, or is another object now", true);
        }
        // The write's guard and the proof's live read see it for certain.
        Phase::Executing { .. } => draft.note_once("the watch says that the target is gone"),
        Phase::Verifying { .. } => draft.ask(Purpose::Verify, 0),
        Phase::Verified | Phase::Shadowed | Phase::Paged | Phase::FixForward => draft.note_once("the target is gone"),
        Phase::Closed { .. } => {}
    }
}

/// Somebody else put another release there.
fn newer_release(draft: &mut Draft<'_>, event: &WatchEvent) {
    let by = event.by.as_deref().unwrap_or("somebody");
    let text = format!("{by} put release {} there ({})", event.release.short(), event.images.join(", "));
    match draft.incident.phase {
        // The write may have been made, and be it: reading everything again tells.
        Phase::Redeciding { .. } if draft.incident.is_attempting() && went_back(draft, event) => draft.note_once(&text),
        Phase::Preparing { .. } | Phase::Redeciding { .. } if went_back(draft, event) => restored(draft, event, &text),
        Phase::Settling { .. } | Phase::Deciding { .. } | Phase::Countdown { .. } | Phase::Approval { .. } => {
            if went_back(draft, event) {
                restored(draft, event, &text);
            } else {
                draft.page(Reason::Superseded, Moment::Paged, &format!("stood down: {text}"), false);
            }
        }
        Phase::Preparing { .. } | Phase::Redeciding { .. } => {
            draft.end_attempt(Reason::Superseded);
            draft.page(Reason::Superseded, Moment::Paged, &format!("stood down: {text}"), true);
        }
        // The write's answer tells which of us was first.
        Phase::Executing { .. } => draft.note_once(&text),
        Phase::Verifying { .. } => draft.ask(Purpose::Verify, 0),
        Phase::Verified | Phase::Shadowed | Phase::Paged | Phase::FixForward => draft.note_once(&text),
        Phase::Closed { .. } => {}
    }
}

/// Whether the release is the one that we would have gone to, or, while nothing is planned, an earlier one that is not bad.
fn went_back(draft: &Draft<'_>, event: &WatchEvent) -> bool {
    if let Some(plan) = &draft.incident.plan {
        return plan.to.digest == event.release;
    }
    let history = draft.book.history(&event.target);
    let earlier = history.and_then(|history| history.release(&event.release));
    earlier.is_some_and(|release| release.bad.is_none() && release.live_since < event.first_write)
}

/// A person did what we would have done: it is proven like our own.
fn restored(draft: &mut Draft<'_>, event: &WatchEvent, text: &str) {
    if draft.incident.lane.is_shadow() {
        draft.note(format!("agrees with shadow: {text}"));
        draft.close(Reason::HumanRestored, text);
        return;
    }
    let to = ReleaseRef {
        digest: event.release.clone(),
        revision: None,
        replica_set: event.replica_set.clone(),
        images: event.images.clone(),
    };
    let digest = draft.incident.release.clone().unwrap_or_else(|| event.release.clone());
    let from = ReleaseRef { digest, revision: None, replica_set: None, images: Vec::new() };
    let Some(plan) = plan::restored_by_human(&draft.incident, &to, from) else {
        draft.page(Reason::HumanRestored, Moment::Paged, text, false);
        return;
    };
    let title = format!("NOT rolling back, a person did: {}", super::tell::subject(&draft.incident));
    draft.announce(Moment::Decided, &title, &format!("{text}; it is proven like our own"));
    draft.note(format!("cancelled: {text}; proving it"));
    draft.record(Event::Planned { plan: Arc::new(plan) });
    draft.record(Event::Intended);
    draft.record(Event::Applied { applied: Applied::Already { generation: 0, ours: false } });
    draft.enter(Phase::Verifying { since: draft.now });
    draft.ask(Purpose::Verify, 0);
}

/// Policies were (re)loaded.
pub(super) fn loaded(ctx: &Context<'_>, book: &Book, now: Time, step: &mut Step) {
    if book.policies == ctx.policies.hash {
        return;
    }
    let record = Record::Loaded { hash: ctx.policies.hash.clone(), commit: ctx.policies.commit.clone() };
    step.records.push(Stamped { at: now, record });
    let ids: Vec<IncidentId> = book.open().map(|incident| incident.id.clone()).collect();
    for id in ids {
        let Some(mut draft) = Draft::of(ctx, book, now, &id, step) else { continue };
        match draft.incident.phase {
            Phase::Settling { .. } | Phase::Deciding { .. } => choose_again(&mut draft),
            Phase::Countdown { .. } | Phase::Approval { .. } | Phase::Preparing { .. } | Phase::Redeciding { .. } => {
                still_allowed(&mut draft);
            }
            // Pinned: goes on under what decided it.
            Phase::Executing { .. }
            | Phase::Verifying { .. }
            | Phase::Verified
            | Phase::Shadowed
            | Phase::Paged
            | Phase::FixForward
            | Phase::Closed { .. } => {}
        }
    }
}

fn choose_again(draft: &mut Draft<'_>) {
    let Some(lead) = draft.incident.lead().map(|lead| lead.alert.clone()) else { return };
    let lanes = locate::lanes(draft.ctx.policies, &lead);
    match lanes.into_iter().find(|(lane, _)| *lane == draft.incident.lane) {
        Some((_, policy)) => {
            let (name, paging, settle) = (policy.name.clone(), policy.paging, policy.settle);
            if name != draft.incident.policy {
                draft.note(format!("policies were reloaded: `{name}` decides now"));
            }
            if name != draft.incident.policy || paging != draft.incident.paging {
                draft.record(Event::Policy { name, paging });
            }
            let until = draft.incident.opened_at + settle;
            match draft.incident.phase {
                Phase::Settling { until: before } if before != until => draft.enter(Phase::Settling { until }),
                // What is under way was asked for by the policies before: their queries may be other ones.
                Phase::Deciding { .. } => draft.ask(Purpose::Decide, 0),
                _ => {}
            }
        }
        None if draft.incident.lane.is_shadow() => {
            draft.close(Reason::PolicyChanged, "policies were reloaded: no policy in shadow is about it any more");
        }
        None => {
            let text = "policies were reloaded: no policy is about this alert any more";
            draft.page(Reason::PolicyChanged, Moment::Paged, text, true);
        }
    }
}

fn still_allowed(draft: &mut Draft<'_>) {
    if planted::is(Bug::ReloadOverlooked) {
        return;
    }
    let mode = draft.ctx.policies.get(&draft.incident.policy).map(|policy| policy.mode);
    match mode {
        Some(mode) if mode >= draft.incident.mode() => match draft.incident.phase {
            // What comes after it reads and decides anew anyhow.
            Phase::Preparing { .. } => {}
            // What is under way was asked for by the policies before: their queries may be other ones.
            Phase::Redeciding { .. } => draft.ask(Purpose::Redecide, 0),
            _ => draft.ask(Purpose::Recheck, 0),
        },
        _ => {
            draft.end_attempt(Reason::PolicyChanged);
            let text = "cancelled: policies were reloaded, and the policy is gone or may do less";
            draft.page(Reason::PolicyChanged, Moment::Paged, text, true);
        }
    }
}

/// The process started: every open incident takes up its phase again; what a write became is observed before anything else.
pub(super) fn started(ctx: &Context<'_>, book: &Book, now: Time, program: String, step: &mut Step) {
    step.records.push(Stamped { at: now, record: Record::Started { program } });
    for key in book.pending.keys() {
        intake::look_again(ctx, book, now, key, step);
    }
    let mut paged = BTreeSet::new();
    let concerned = |incident: &&Incident| incident.is_open() || incident.untold.is_some();
    let ids: Vec<IncidentId> = book.incidents.values().filter(concerned).map(|incident| incident.id.clone()).collect();
    for id in ids {
        let Some(mut draft) = Draft::of(ctx, book, now, &id, step) else { continue };
        if draft.incident.is_open() {
            draft.note("backout was restarted");
        }
        // The process may have ended before any of it was sent.
        draft.tell_again();
        resume(&mut draft);
        if draft.incident.is_open() {
            draft.send_page_once(&mut paged);
        }
    }
}

fn resume(draft: &mut Draft<'_>) {
    let now = draft.now;
    match draft.incident.phase.clone() {
        Phase::Settling { .. } => {}
        Phase::Deciding { .. } => draft.ask(Purpose::Decide, 0),
        // Whoever wanted to veto could not reach us.
        Phase::Countdown { .. } if planted::is(Bug::CountdownNotRenewed) => {}
        Phase::Countdown { until } => countdown_again(draft, until, "backout was restarted"),
        Phase::Approval { until } => draft.enter(Phase::Approval { until }),
        Phase::Preparing { .. } => life::prepare(draft),
        // An intent may be durable already (a guard had failed): the target is looked at first, as after a cut-off write.
        Phase::Redeciding { .. } if draft.incident.attempt().is_some_and(|attempt| attempt.ended.is_none()) => {
            draft.enter(Phase::Executing { step: 0, since: now, doubtful: true });
            draft.ask(Purpose::Reconcile, 0);
        }
        Phase::Redeciding { .. } => draft.ask(Purpose::Redecide, 0),
        Phase::Executing { step, .. } => {
            draft.enter(Phase::Executing { step, since: now, doubtful: true });
            draft.ask(Purpose::Reconcile, 0);
        }
        Phase::Verifying { .. } => draft.ask(Purpose::Verify, 0),
        Phase::Verified | Phase::Shadowed | Phase::Paged | Phase::FixForward => draft.ask(Purpose::Watch, 0),
        Phase::Closed { .. } => {}
    }
}

/// A full countdown again, unless it is suspended.
pub(super) fn countdown_again(draft: &mut Draft<'_>, until: Option<Time>, why: &str) {
    let countdown = draft.incident.plan.as_ref().map(|plan| plan.countdown).unwrap_or_default();
    let until = until.map(|_| draft.now + countdown);
    draft.enter(Phase::Countdown { until });
    if let Some(until) = until {
        let title = format!("rolling back at {until}: {}", super::tell::subject(&draft.incident));
        draft.announce(Moment::Decided, &title, &format!("{why}: a full countdown again"));
    }
}

/// A pause began: what waits is cancelled, what is being written finishes.
pub(super) fn paused(ctx: &Context<'_>, book: &Book, now: Time, pause: &super::book::Pause, step: &mut Step) {
    let covered = |incident: &&Incident| {
        incident.lane == Lane::Live && pause.covers(incident.target.as_ref().map(|target| &target.at), &incident.policy)
    };
    let ids: Vec<IncidentId> = book.open().filter(covered).map(|incident| incident.id.clone()).collect();
    for id in ids {
        let Some(mut draft) = Draft::of(ctx, book, now, &id, step) else { continue };
        let waits = matches!(draft.incident.phase, Phase::Settling { .. } | Phase::Deciding { .. });
        if waits || draft.incident.phase.is_pending() {
            draft.end_attempt(Reason::BrakeHeld);
            draft.page_held(Brake::Paused, Moment::Paged, &format!("{} ({})", pause.reason, pause.by), true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::brakes::fixture::{World, acting, digest, hours, loaded, minutes, policies};
    use super::super::effect::Input;
    use super::*;
    use crate::model::{Operation, Paging, PauseScope};

    const MOMENT: Duration = Duration::from_millis(1);

    /// Ann put the release of this letter there two minutes ago.
    fn put(world: &World, letter: &str) -> WatchEvent {
        WatchEvent {
            target: world.incident.target.clone().expect("the fixture has one"),
            release: digest(letter),
            images: vec![format!("web:{letter}")],
            replica_set: None,
            first_write: world.ago(minutes(2)),
            by: Some("ann".to_owned()),
            by_us: false,
            available: true,
            relearned: false,
            landed_at: None,
            gone: false,
        }
    }

    fn asked(world: &World) -> Option<Purpose> {
        world.incident.asked.map(|asked| asked.purpose)
    }

    #[test]
    fn a_write_that_was_given_up_is_known_by_its_target_its_release_its_writer_and_its_time() {
        let mut world = World::new();
        world.attempt();
        world.incident.apply(&Event::AttemptEnded { reason: Reason::Failed }, world.now).expect("it is under way");
        world.keep();
        let begun = world.now;
        let ours = WatchEvent { by_us: true, first_write: begun, ..put(&world, "a") };
        let mut other = ours.target.clone();
        other.uid = "u2".to_owned();
        for (event, late) in [
            (ours.clone(), true),
            (WatchEvent { by_us: false, ..ours.clone() }, false),
            (WatchEvent { gone: true, ..ours.clone() }, false),
            (WatchEvent { target: other, ..ours.clone() }, false),
            (WatchEvent { release: digest("c"), ..ours.clone() }, false),
            (WatchEvent { first_write: begun - LOST, ..ours.clone() }, true),
            (WatchEvent { first_write: begun - LOST - MOMENT, ..ours.clone() }, false),
        ] {
            assert_eq!(landed_late(&world.book, &event).is_some(), late, "{event:?}");
        }
    }

    #[test]
    fn what_somebody_puts_there_before_the_write_is_proven_where_it_is_the_plans_and_else_left_to_him() {
        for (redeciding, attempting, letter, phase) in [
            (true, true, "a", "redeciding"),
            (true, true, "c", "paged"),
            (true, false, "a", "verifying"),
            (true, false, "c", "paged"),
            (false, false, "a", "verifying"),
            (false, false, "c", "paged"),
        ] {
            let mut world = World::new();
            world.plan();
            if attempting {
                world.begin(Duration::ZERO, 1);
            }
            let since = world.now;
            world.incident.phase = if redeciding { Phase::Redeciding { since } } else { Phase::Preparing { since } };
            let event = put(&world, letter);
            let _ = world.step(&policies(""), Input::Watched(Box::new(event)));
            let case = format!("{letter}, redeciding: {redeciding}, attempting: {attempting}");
            assert_eq!(world.incident.phase.as_str(), phase, "{case}");
            let reason = world.incident.page.as_ref().map(|page| page.reason);
            assert_eq!(reason, Some(Reason::Superseded).filter(|_| phase == "paged"), "{case}");
            let said = world.incident.notes.iter().any(|note| note.text.contains("ann put release"));
            assert_eq!(said, phase != "paged", "the page says it itself: {case}");
        }
    }

    #[test]
    fn while_nothing_is_planned_an_earlier_release_that_is_not_bad_is_a_persons_rollback() {
        let before = minutes(2);
        for (bad, live_since, phase) in [
            (false, hours(48), "verifying"),
            (true, hours(48), "paged"),
            (false, before + MOMENT, "verifying"),
            (false, before, "paged"),
            (false, before - MOMENT, "paged"),
        ] {
            let mut world = World::new();
            let (now, live_since) = (world.now, world.ago(live_since));
            let release = world.release("a");
            release.live_since = live_since;
            release.bad = bad.then(|| (now - hours(1), "i0".to_owned()));
            let event = put(&world, "a");
            let _ = world.step(&policies(""), Input::Watched(Box::new(event)));
            assert_eq!(world.incident.phase.as_str(), phase, "bad: {bad}, live since {live_since}");
        }
    }

    #[test]
    fn after_a_reload_what_is_undecided_is_decided_anew_by_the_policy_that_is_about_it() {
        for (name, paging) in [("web", None), ("old", Some(Paging::InFront)), ("old", None), ("web", Some(Paging::InFront))] {
            let mut world = World::new();
            world.incident.policy = name.to_owned();
            world.incident.paging = paging;
            let _ = world.step(&policies(""), Input::Loaded);
            let now = (world.incident.policy.as_str(), world.incident.paging);
            assert_eq!(now, ("web", Some(Paging::InFront)), "{name} {paging:?}");
            assert_eq!(asked(&world), Some(Purpose::Decide));
        }
    }

    #[test]
    fn after_a_reload_what_settles_does_so_for_as_long_as_the_policy_says_now() {
        let mut world = World::new();
        let opened_at = world.incident.opened_at;
        world.incident.phase = Phase::Settling { until: opened_at + minutes(9) };
        let settling =
            "policies: [{name: web, mode: enforce, paging: in_front, targets: ['shop/*'], for: 20m, decide: [{page: {}}]}]\n";
        let _ = world.step(&loaded(settling), Input::Loaded);
        assert_eq!((&world.incident.phase, asked(&world)), (&Phase::Settling { until: opened_at + minutes(20) }, None));
    }

    #[test]
    fn after_a_reload_that_left_no_policy_shadow_is_over_and_people_have_what_is_live() {
        let other = "policies: [{name: web, matchers: ['alertname = \"Other\"'], decide: [{page: {}}]}]\n";
        for (lane, phase) in [(Lane::Shadow("web".to_owned()), "closed"), (Lane::Live, "paged")] {
            let mut world = World::new();
            world.incident.lane = lane.clone();
            let _ = world.step(&loaded(other), Input::Loaded);
            assert_eq!(world.incident.phase.as_str(), phase, "{lane:?}");
            let reason = match world.incident.phase {
                Phase::Closed { reason, .. } => Some(reason),
                _ => world.incident.page.as_ref().map(|page| page.reason),
            };
            assert_eq!(reason, Some(Reason::PolicyChanged));
        }
    }

    #[test]
    fn after_a_reload_a_plan_is_judged_again_unless_it_will_be_anyhow() {
        let (since, until) = (World::new().now, World::new().now + minutes(1));
        for (phase, purpose) in [
            (Phase::Countdown { until: Some(until) }, Some(Purpose::Recheck)),
            (Phase::Approval { until }, Some(Purpose::Recheck)),
            (Phase::Preparing { since }, None),
            (Phase::Redeciding { since }, Some(Purpose::Redecide)),
        ] {
            let mut world = World::new();
            world.plan();
            world.incident.phase = phase.clone();
            let _ = world.step(&policies(""), Input::Loaded);
            assert_eq!((&world.incident.phase, asked(&world)), (&phase, purpose));
        }
    }

    #[test]
    fn after_a_restart_a_write_that_may_have_been_made_is_looked_for_first() {
        for (begun, phase, purpose) in [(1, "executing", Purpose::Reconcile), (0, "redeciding", Purpose::Redecide)] {
            let mut world = World::new();
            world.plan();
            world.begin(Duration::from_secs(5), begun);
            world.incident.phase = Phase::Redeciding { since: world.now };
            let _ = world.step(&policies(""), Input::Started { program: "test".to_owned() });
            assert_eq!((world.incident.phase.as_str(), asked(&world)), (phase, Some(purpose)));
        }
    }

    #[test]
    fn a_pause_holds_what_it_covers_and_never_shadow() {
        let namespace = |name: &str| PauseScope::Namespace(name.to_owned());
        let shadow = || Lane::Shadow("web".to_owned());
        for (lane, scope, phase) in [
            (Lane::Live, PauseScope::Global, "paged"),
            (Lane::Live, namespace("shop"), "paged"),
            (Lane::Live, namespace("cart"), "deciding"),
            (shadow(), PauseScope::Global, "deciding"),
            (shadow(), namespace("cart"), "deciding"),
        ] {
            let mut world = World::new();
            world.incident.lane = lane.clone();
            let (reason, by, until) = ("we move".to_owned(), "ann".to_owned(), world.now + hours(1));
            let pause = Operation::Pause { scope: scope.clone(), reason, by, until };
            let _ = world.step(&acting("{page: {}}"), Input::Operation(pause.into()));
            assert_eq!(world.incident.phase.as_str(), phase, "{lane:?} {scope:?}");
        }
    }
}
