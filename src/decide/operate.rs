//! What people do: veto, approve, acknowledge, pause, resume, mark, clear; and what they tell of: changes. First checked against the book, then carried out as an input.

use super::book::{Book, Pause};
use super::draft::Draft;
use super::effect::{Context, Step};
use super::events;
use super::incident::{Approval, Incident, Phase};
use super::latch::Cleared;
use super::life;
use super::transition::Event;
use crate::journal::record::{Record, Stamped};
use crate::model::{Brake, IncidentId, Mode, Moment, Operation, Order, PlanHash, PostedChange, Reason, Time};
use crate::planted::{self, Bug};

/// A poster's clock may be ahead of ours by this much.
const CLOCKS_DIFFER: std::time::Duration = std::time::Duration::from_secs(5 * 60);

/// Whoever gives an operation is answered within this, or told that nobody answers.
pub const ANSWER: std::time::Duration = std::time::Duration::from_secs(10);

/// Why an operation is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// No such incident or pause.
    #[error("{0}")]
    NotFound(String),
    /// It does not fit the state.
    #[error("{0}")]
    Conflict(String),
    /// It is not well formed.
    #[error("{0}")]
    Invalid(String),
}

/// Whether an operation can be carried out on this book.
///
/// # Errors
/// Says what is in the way and what to do.
pub fn check(book: &Book, operation: &Operation, now: Time) -> Result<(), OperationError> {
    match operation {
        Operation::Veto { incident, by, reason } => {
            named(by)?;
            reasoned(reason)?;
            open(book, incident).map(|_| ())
        }
        Operation::Acknowledge { incident, by } => {
            named(by)?;
            open(book, incident).map(|_| ())
        }
        Operation::Approve { incident, plan, by, overrides } => {
            named(by)?;
            let incident = open(book, incident)?;
            approvable(incident, plan, overrides)
        }
        Operation::Pause { reason, by, until, .. } => {
            named(by)?;
            reasoned(reason)?;
            if *until <= now {
                return Err(OperationError::Invalid(format!("`until` {until} is over; a pause needs an end ahead")));
            }
            Ok(())
        }
        Operation::Resume { pause, by } => {
            named(by)?;
            let known = book.pauses.get(pause).filter(|pause| pause.until > now);
            known.map(|_| ()).ok_or_else(|| OperationError::NotFound(format!("there is no pause `{pause}` in force")))
        }
        Operation::Mark { incident, by, reason, .. } => {
            named(by)?;
            reasoned(reason)?;
            markable(book, incident)
        }
        Operation::Rearm { policy, by, reason } => {
            named(by)?;
            reasoned(reason)?;
            match book.wrongs.get(policy) {
                Some(wrongs) if !wrongs.is_empty() => Ok(()),
                _ => Err(OperationError::Conflict(format!("no rollback of policy `{policy}` was marked wrong: it is trusted"))),
            }
        }
        Operation::Clear { latch, by, reason } => {
            named(by)?;
            reasoned(reason)?;
            clearable(book, *latch)
        }
        Operation::LogLevel { by, .. } => named(by),
        Operation::Change { change } => {
            named(&change.by)?;
            tellable(book, change, now)
        }
    }
}

fn named(by: &str) -> Result<(), OperationError> {
    if by.trim().is_empty() { Err(OperationError::Invalid("`by` must name a person".to_owned())) } else { Ok(()) }
}

fn reasoned(reason: &str) -> Result<(), OperationError> {
    if reason.trim().is_empty() { Err(OperationError::Invalid("`reason` must say why".to_owned())) } else { Ok(()) }
}

fn open<'a>(book: &'a Book, id: &IncidentId) -> Result<&'a Incident, OperationError> {
    match book.incidents.get(id) {
        None => Err(OperationError::NotFound(format!("there is no incident `{id}`"))),
        Some(incident) if !incident.is_open() => Err(OperationError::Conflict(format!("incident `{id}` is closed"))),
        Some(incident) => Ok(incident),
    }
}

/// Only a rollback can have been right or wrong: one that was begun, or that shadow announced.
fn markable(book: &Book, id: &IncidentId) -> Result<(), OperationError> {
    match book.incidents.get(id) {
        None => Err(OperationError::NotFound(format!("there is no incident `{id}`"))),
        Some(incident) if !incident.attempts.is_empty() => Ok(()),
        Some(incident) if incident.lane.is_shadow() && incident.plan.is_some() => Ok(()),
        Some(_) => {
            let text = format!("incident `{id}` has no rollback, made or announced in shadow, that could be marked");
            Err(OperationError::Conflict(text))
        }
    }
}

fn clearable(book: &Book, id: u64) -> Result<(), OperationError> {
    match book.latches.get(&id).map(|latch| &latch.cleared) {
        None => Err(OperationError::NotFound(format!("there is no latch `{id}`"))),
        Some(None) => Ok(()),
        Some(Some(by)) => Err(OperationError::Conflict(format!("latch `{id}` was cleared at {} by {}", by.at, by.by))),
    }
}

fn tellable(book: &Book, change: &PostedChange, now: Time) -> Result<(), OperationError> {
    if change.at > now + CLOCKS_DIFFER {
        return Err(OperationError::Invalid(format!(
            "`at` {} is ahead of us ({now}); expected a change that was made",
            change.at
        )));
    }
    match book.changes(&change.target).iter().find(|known| known.id == change.id) {
        Some(known) if known.content != change.content => {
            let text = format!(
                "the key of change `{}` was used before, for other content; expected a key of its own",
                known.id.as_str()
            );
            Err(OperationError::Invalid(text))
        }
        _ => Ok(()),
    }
}

fn approvable(incident: &Incident, hash: &PlanHash, overrides: &[String]) -> Result<(), OperationError> {
    let Some(plan) = &incident.plan else {
        return Err(OperationError::Conflict(format!("incident `{}` has no plan to approve", incident.id)));
    };
    if plan.hash() != *hash && !planted::is(Bug::HashNotCompared) {
        let text = format!("the plan is `{}` now, not `{hash}`: read it again, then approve that", plan.hash());
        return Err(OperationError::Conflict(text));
    }
    if incident.lane.is_shadow() || plan.mode == Mode::Shadow {
        return Err(OperationError::Conflict("the plan is in shadow: it can be shown, not carried out".to_owned()));
    }
    for name in overrides {
        if !Brake::ALL.iter().any(|brake| brake.as_str() == name) {
            return Err(OperationError::Invalid(format!("there is no brake `{name}`")));
        }
    }
    let held = incident.attempts.is_empty() && matches!(incident.phase, Phase::Paged);
    match incident.phase {
        Phase::Approval { .. } | Phase::Countdown { .. } => Ok(()),
        Phase::Paged if held => {
            let holding = incident.decision.iter().flat_map(|decision| &decision.brakes).filter(|judgement| judgement.holds());
            let missing: Vec<&str> =
                holding.map(|judgement| judgement.brake.as_str()).filter(|name| !overrides.iter().any(|o| o == name)).collect();
            if missing.is_empty() {
                return Ok(());
            }
            let text = format!(
                "held by {}: an approval must name what it overrides (--override {})",
                missing.join(", "),
                missing.join(",")
            );
            Err(OperationError::Conflict(text))
        }
        _ => Err(OperationError::Conflict(format!(
            "incident `{}` is {}: nothing waits for approval",
            incident.id,
            incident.phase.as_str()
        ))),
    }
}

/// Carries an operation out.
pub(super) fn operate(ctx: &Context<'_>, book: &Book, now: Time, order: Order, step: &mut Step) {
    if check(book, &order.operation, now).is_err() {
        // It was possible when it was taken in, and is not any more: nothing happens, the answer says so.
        return;
    }
    let identity = order.identity.clone();
    // A log level leads to no record of its own.
    if identity.is_some() || matches!(order.operation, Operation::LogLevel { .. }) {
        written_down(ctx, book, now, &order, step);
    }
    match order.operation {
        Operation::Pause { scope, reason, by, until } => {
            let pause = Pause { id: book.next + 1, scope, reason, by, identity, from: now, until };
            step.records.push(Stamped { at: now, record: Record::Paused { pause: pause.clone() } });
            events::paused(ctx, book, now, &pause, step);
        }
        Operation::Resume { pause, by } => {
            step.records.push(Stamped { at: now, record: Record::Resumed { pause, by } });
        }
        Operation::Veto { incident, by, reason } => {
            if let Some(mut draft) = Draft::of(ctx, book, now, &incident, step) {
                veto(&mut draft, by, reason);
            }
        }
        Operation::Acknowledge { incident, by } => {
            if let Some(mut draft) = Draft::of(ctx, book, now, &incident, step) {
                acknowledge(&mut draft, by);
            }
        }
        Operation::Approve { incident, plan, by, overrides } => {
            if let Some(mut draft) = Draft::of(ctx, book, now, &incident, step) {
                draft.note(format!("{by} approved plan {plan}, overriding: {}", overrides.join(", ")));
                draft.record(Event::Approved { approval: Approval { by, plan, overrides } });
                life::prepare(&mut draft);
            }
        }
        Operation::Mark { incident, mark, by, reason } => {
            if let Some(mut draft) = Draft::of(ctx, book, now, &incident, step) {
                draft.note(format!("{by} marked the rollback {}: {reason}", mark.as_str()));
                draft.record(Event::Marked { mark, by, why: reason });
            }
        }
        Operation::Rearm { policy, by, reason } => {
            step.records.push(Stamped { at: now, record: Record::Rearmed { policy, by, reason } });
        }
        Operation::Clear { latch, by, reason } => {
            let cleared = Cleared { at: now, by, identity, reason };
            step.records.push(Stamped { at: now, record: Record::Cleared { latch, cleared } });
        }
        Operation::LogLevel { .. } => {}
        Operation::Change { change } => {
            // What is posted again is there already.
            if !book.changes(&change.target).iter().any(|known| known.id == change.id) {
                step.records.push(Stamped { at: now, record: Record::Posted { change } });
            }
        }
    }
}

/// Who gave an order, proven and said, stands in the journal before what it leads to, and in the report.
fn written_down(ctx: &Context<'_>, book: &Book, now: Time, order: &Order, step: &mut Step) {
    step.records.push(Stamped { at: now, record: Record::Ordered { order: Box::new(order.clone()) } });
    if let Some(identity) = &order.identity
        && let Some(mut draft) = order.operation.incident().and_then(|id| Draft::of(ctx, book, now, id, step))
    {
        let (what, by) = (order.operation.as_str(), order.operation.by());
        draft.note(format!("{what} by {by}, known by the {identity}"));
    }
}

fn veto(draft: &mut Draft<'_>, by: String, why: String) {
    let text = format!("{by} vetoed: {why}");
    if planted::is(Bug::VetoForgotten) {
        return;
    }
    draft.record(Event::Vetoed { by, why });
    draft.note(text.clone());
    match draft.incident.phase {
        Phase::Settling { .. } | Phase::Deciding { .. } | Phase::Shadowed => {
            draft.page(Reason::Vetoed, Moment::Paged, &text, true);
        }
        Phase::Countdown { .. } | Phase::Approval { .. } | Phase::Preparing { .. } | Phase::Redeciding { .. } => {
            draft.end_attempt(Reason::Vetoed);
            draft.page(Reason::Vetoed, Moment::Paged, &format!("cancelled: {text}"), true);
        }
        // The step that is being written is finished; its answer sees the veto.
        Phase::Executing { .. } => {}
        // Too late to stop anything; what would come next is held.
        Phase::Verifying { .. } | Phase::Verified | Phase::Paged | Phase::FixForward | Phase::Closed { .. } => {}
    }
}

/// "I have it": a countdown does not go on over a person's head.
fn acknowledge(draft: &mut Draft<'_>, by: String) {
    draft.note(format!("{by} has it"));
    draft.record(Event::Acknowledged { by: by.clone() });
    draft.acknowledge_folded(&by);
    if let Phase::Countdown { until: Some(_) } = draft.incident.phase
        && !planted::is(Bug::AcknowledgementIgnored)
    {
        draft.enter(Phase::Countdown { until: None });
        let title = format!("NOT rolling back, {by} has it: {}", super::tell::subject(&draft.incident));
        draft.announce(Moment::Decided, &title, "the countdown is suspended: approve or veto");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::decide::brakes::fixture::{World, acting, minutes};
    use crate::decide::effect::Input;
    use crate::model::{ChangeId, Credential, Identity, Mark, PauseScope};

    /// What is said to it: nothing, where it can be carried out.
    fn said(world: &World, operation: Operation) -> String {
        let mut book = world.book.clone();
        book.incidents.insert(world.incident.id.clone(), world.incident.clone());
        check(&book, &operation, world.now).err().map(|why| why.to_string()).unwrap_or_default()
    }

    fn veto(by: &str, reason: &str) -> Operation {
        Operation::Veto { incident: IncidentId("i1".to_owned()), by: by.to_owned(), reason: reason.to_owned() }
    }

    fn approve(world: &World, overrides: &[&str]) -> Operation {
        let plan = world.incident.plan.as_ref().expect("there is one").hash();
        let overrides = overrides.iter().map(|name| (*name).to_owned()).collect();
        Operation::Approve { incident: world.incident.id.clone(), plan, by: "ann".to_owned(), overrides }
    }

    fn planned(phase: Phase) -> World {
        let mut world = World::new();
        world.decide_by(&acting("{rollback: undo}"));
        world.incident.phase = phase;
        world
    }

    #[test]
    fn who_and_why_are_named_and_what_is_over_cannot_be_vetoed() {
        let mut world = World::new();
        for (by, reason, answer) in [
            ("ann", "it is the database", ""),
            (" ", "it is the database", "`by` must name a person"),
            ("ann", " ", "`reason` must say why"),
        ] {
            assert_eq!(said(&world, veto(by, reason)), answer);
        }
        world.incident.phase = Phase::Closed { reason: Reason::Recovered, at: world.now };
        assert_eq!(said(&world, veto("ann", "why")), "incident `i1` is closed");
    }

    #[test]
    fn a_pause_that_ends_now_is_over() {
        let mut world = World::new();
        for (left, answer) in [(0, "there is no pause `7` in force"), (1, "")] {
            let until = world.now + Duration::from_millis(left);
            let (scope, reason, by) = (PauseScope::Global, "work".to_owned(), "ann".to_owned());
            world.book.pauses.insert(7, Pause { id: 7, scope, reason, by, identity: None, from: world.ago(minutes(5)), until });
            assert_eq!(said(&world, Operation::Resume { pause: 7, by: "ann".to_owned() }), answer);
        }
    }

    #[test]
    fn only_a_rollback_that_was_begun_or_announced_in_shadow_can_be_marked() {
        let mark = || {
            let (by, reason) = ("ann".to_owned(), "why".to_owned());
            Operation::Mark { incident: IncidentId("i1".to_owned()), mark: Mark::Wrong, by, reason }
        };
        for (shadow, plans, attempts, possible) in [
            (true, true, false, true),
            (true, false, false, false),
            (false, true, false, false),
            (false, false, false, false),
            (false, true, true, true),
        ] {
            let mut world = if plans { planned(Phase::Paged) } else { World::new() };
            if attempts {
                world.begin(minutes(1), 1);
            }
            if shadow {
                world.incident.lane = crate::decide::incident::Lane::Shadow("web".to_owned());
            }
            assert_eq!(said(&world, mark()).is_empty(), possible, "shadow: {shadow}, plan: {plans}, attempt: {attempts}");
        }
    }

    #[test]
    fn a_change_was_made_and_has_a_key_of_its_own() {
        let mut world = World::new();
        world.post(minutes(3), false, None);
        let known = world.book.changes.values().flatten().next().expect("it was posted").clone();
        let change = |id: &str, content: &str, ahead: Duration| {
            let (id, content, at) = (ChangeId(id.to_owned()), content.to_owned(), world.now + ahead);
            Operation::Change { change: Box::new(PostedChange { id, content, at, ..known.clone() }) }
        };
        assert_eq!(said(&world, change("c2", "other", CLOCKS_DIFFER)), "", "clocks differ");
        let ahead = said(&world, change("c2", "other", CLOCKS_DIFFER + Duration::from_millis(1)));
        assert!(ahead.contains("is ahead of us"), "{ahead}");
        assert_eq!(said(&world, change("c1", "", Duration::ZERO)), "", "what is posted again is known");
        let used = said(&world, change("c1", "other", Duration::ZERO));
        assert!(used.contains("the key of change `c1` was used before"), "{used}");

        let (again, new) = (change("c1", "", Duration::ZERO), change("c2", "other", Duration::ZERO));
        for (operation, posted) in [(again, 0), (new, 1)] {
            let step = world.step(&acting("{page: {}}"), Input::Operation(operation.into()));
            let records = step.records.iter().filter(|stamped| matches!(stamped.record, Record::Posted { .. }));
            assert_eq!(records.count(), posted);
        }
    }

    #[test]
    fn what_is_in_shadow_cannot_be_approved_and_what_is_no_brake_not_overridden() {
        let waiting = || Phase::Approval { until: World::new().now + minutes(1) };
        let mut world = planned(waiting());
        assert_eq!(said(&world, approve(&world, &["storm"])), "");
        assert_eq!(said(&world, approve(&world, &["stone"])), "there is no brake `stone`");
        world.incident.lane = crate::decide::incident::Lane::Shadow("web".to_owned());
        assert!(said(&world, approve(&world, &[])).contains("the plan is in shadow"));
        let mut world = planned(waiting());
        let plan = world.incident.plan.as_mut().expect("there is one");
        Arc::make_mut(plan).mode = Mode::Shadow;
        assert!(said(&world, approve(&world, &[])).contains("the plan is in shadow"));
    }

    #[test]
    fn a_page_about_an_attempt_waits_for_no_approval() {
        let mut world = planned(Phase::Paged);
        assert_eq!(said(&world, approve(&world, &[])), "", "nothing holds it");
        world.begin(minutes(1), 1);
        assert_eq!(said(&world, approve(&world, &[])), "incident `i1` is paged: nothing waits for approval");
    }

    #[test]
    fn who_is_known_stands_in_the_journal_and_in_the_report() {
        let identity = Identity { name: "ann@shop".to_owned(), by: Credential::Token };
        for (identity, written) in [(Some(identity), 1), (None, 0)] {
            let mut world = World::new();
            let order = Order { identity, operation: veto("ann", "it is the database") };
            let step = world.step(&acting("{page: {}}"), Input::Operation(order));
            let ordered = step.records.iter().filter(|stamped| matches!(stamped.record, Record::Ordered { .. }));
            assert_eq!(ordered.count(), written);
            let known = world.incident.notes.iter().filter(|note| note.text == "veto by ann, known by the token `ann@shop`");
            assert_eq!(known.count(), written);
        }
    }
}
