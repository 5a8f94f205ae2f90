//! The one function: an input, the book and the time give records and effects. Nothing else decides anything.

use super::act;
use super::book::Book;
use super::draft::Draft;
use super::due::{self, Due};
use super::effect::{Context, Input, Step};
use super::forget;
use super::latch;
use super::leap;
use super::life;
use super::limits::Limits;
use super::transition::Event;
use super::unwatched;
use super::wait;
use super::{events, intake, operate};
use crate::journal::record::{Record, Stamped};
use crate::model::{IncidentId, Time};

/// Turns an input into records and effects. Total: every input in every state gives a step, and what is not understood ends in
/// a page by the incident's own deadlines.
pub fn step(ctx: &Context<'_>, book: &Book, input: Input, now: Time) -> Step {
    let mut step = Step::default();
    match input {
        Input::Started { program } => events::started(ctx, book, now, program, &mut step),
        Input::Loaded => events::loaded(ctx, book, now, &mut step),
        Input::Received { seq, at, notification } => intake::received(ctx, book, now, (seq, at), notification, &mut step),
        Input::Located { occurrence, lane, resolution, onset } => {
            intake::located(ctx, book, now, (&occurrence, &lane), (resolution, onset), &mut step);
        }
        Input::Observed { incident, id, observation } => {
            with(ctx, book, now, &incident, &mut step, |draft| life::observed(draft, id, &observation));
            wait::judge_again_in_a_storm(ctx, book, now, &mut step);
        }
        Input::Prepared { incident, number, report, evidence } => {
            with(ctx, book, now, &incident, &mut step, |draft| act::prepared(draft, number, report, *evidence));
        }
        Input::Applied { incident, number, applied } => {
            with(ctx, book, now, &incident, &mut step, |draft| act::applied(draft, number, applied));
        }
        Input::Told { incident: Some(incident), folded, message, page, delivery } => {
            for other in folded.iter().filter(|id| **id != incident) {
                let event = Event::Told { message: message.clone(), delivery: delivery.clone(), page };
                with(ctx, book, now, other, &mut step, |draft| draft.record(event));
            }
            with(ctx, book, now, &incident, &mut step, |draft| {
                let lost = delivery.delivered.is_empty();
                draft.record(Event::Told { message: message.clone(), delivery, page });
                if lost && draft.incident.is_untold(&message) {
                    draft.note_once("NO channel took what must be told; it is sent again until one does");
                } else if lost && page {
                    draft.note("NO channel took the page; it is sent again in a minute");
                }
            });
        }
        Input::Told { incident: None, .. } => {}
        Input::Watched(event) => events::watched(ctx, book, now, &event, &mut step),
        Input::Operation(operation) => operate::operate(ctx, book, now, operation, &mut step),
        Input::Tick => tick(ctx, book, now, &mut step),
        Input::WatchHeard { at } => unwatched::heard(book, at, now, &mut step),
        Input::ClockSet { by, away } => leap::clock_set(ctx, book, now, (by, away), &mut step),
    }
    latch::hold_others(ctx, book, now, &mut step);
    step
}

/// When `step` must be called with a tick at the latest, if nothing else happens.
pub fn wake_at(book: &Book, limits: &Limits) -> Option<Time> {
    due::first_due(book, limits).map(|(at, _)| at)
}

/// Does the one thing that is due first. The next wake-up is at once where more is due: each sees what the one before it did.
fn tick(ctx: &Context<'_>, book: &Book, now: Time, step: &mut Step) {
    match due::first_due(book, ctx.limits) {
        Some((at, due)) if at <= now => match due {
            Due::Incident(id) => with(ctx, book, now, &id, step, life::tick),
            Due::Pending(key) => intake::look_again(ctx, book, now, &key, step),
        },
        _ => housekeeping(ctx, book, now, step),
    }
}

/// Nothing is due: closed incidents are forgotten in time, and the next gap gets its begin.
fn housekeeping(ctx: &Context<'_>, book: &Book, now: Time, step: &mut Step) {
    if let Some(before) = forget::due(book, ctx.limits, now) {
        step.records.push(Stamped { at: now, record: Record::Forgotten { before } });
    }
    let minute = std::time::Duration::from_secs(60);
    if book.alive_at.is_none_or(|at| now.since(at) >= minute) {
        step.records.push(Stamped { at: now, record: Record::Alive });
    }
}

fn with(ctx: &Context<'_>, book: &Book, now: Time, id: &IncidentId, step: &mut Step, f: impl FnOnce(&mut Draft<'_>)) {
    if let Some(mut draft) = Draft::of(ctx, book, now, id, step) {
        f(&mut draft);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::brakes::fixture::World;
    use super::*;
    use crate::policy::types::Policies;

    #[test]
    fn where_nothing_is_due_each_minute_is_written_down_and_what_is_old_forgotten() {
        let World { now, limits, .. } = World::new();
        let (policies, minute, moment) = (Policies::default(), Duration::from_secs(60), Duration::from_millis(1));
        let ctx = Context { policies: &policies, limits: &limits, cluster: None };
        let alive = Stamped { at: now, record: Record::Alive };
        let forgotten = Stamped { at: now, record: Record::Forgotten { before: now - limits.forget_after } };
        for (alive_at, forgot_at, records) in [
            (None, None, vec![&forgotten, &alive]),
            (Some(now - minute + moment), None, vec![&forgotten]),
            (Some(now - minute), Some(now), vec![&alive]),
            (Some(now - minute + moment), Some(now), vec![]),
        ] {
            let book = Book { alive_at, forgot_at, ..Book::default() };
            let step = step(&ctx, &book, Input::Tick, now);
            assert_eq!(step.records.iter().collect::<Vec<_>>(), records, "{alive_at:?} {forgot_at:?}");
            assert!(step.effects.is_empty());
        }
    }
}
