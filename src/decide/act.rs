//! From the intent to the proof: the write, its answer, and what is made of a doubtful one.

use std::sync::Arc;

use super::draft::Draft;
use super::effect::Effect;
use super::incident::{Incident, Phase};
use super::limits::backoff;
use super::observation::{Observation, Purpose};
use super::proof;
use super::transition::Event;
use crate::model::{Applied, Brake, Evidence, Moment, PreflightFinding, PreflightReport, Reason, Resolution};
use crate::planted::{self, Bug};

/// Preflight and evidence came back.
pub(super) fn prepared(draft: &mut Draft<'_>, number: u64, report: PreflightReport, evidence: Evidence) {
    if !matches!(draft.incident.phase, Phase::Preparing { .. }) || number != draft.incident.begun {
        return;
    }
    let problem = report.problem().cloned();
    draft.record(Event::Prepared { report, evidence: Arc::new(evidence) });
    match problem {
        Some(problem) if problem.forbidden => {
            draft.page_held(Brake::Permission, Moment::Paged, &words(&problem), true);
        }
        // Whatever was found: what is there now tells why, and whether it is still so.
        _ => {
            let Phase::Preparing { since } = draft.incident.phase else { return };
            draft.enter(Phase::Redeciding { since });
            match problem {
                Some(problem) if problem.transient => draft.ask_in(Purpose::Redecide, backoff(1), 0),
                _ => draft.ask(Purpose::Redecide, 0),
            }
        }
    }
}

/// What preflight found in the way of the plan that nothing was written of yet.
pub(super) fn in_the_way(incident: &Incident) -> Option<PreflightFinding> {
    let begun = incident.attempt().is_some_and(|attempt| attempt.ended.is_none());
    incident.preflight.as_ref().filter(|_| !begun)?.problem().cloned()
}

/// Preflight found something, and the second reading gave the same verdict: tried again for a while where that may help.
pub(super) fn not_fit(draft: &mut Draft<'_>, problem: &PreflightFinding) {
    let Phase::Redeciding { since } = draft.incident.phase else { return };
    if problem.transient && draft.now.since(since) < draft.ctx.limits.patience {
        draft.note(format!("preflight: {}; trying again", words(problem)));
        super::life::prepare(draft);
        return;
    }
    let procedure = draft.incident.plan.as_ref().map(|plan| plan.procedure.clone()).unwrap_or_default();
    draft.record(Event::PassedOver { procedure, why: words(problem) });
    if super::life::has_next_level(draft) {
        draft.note(format!("preflight: {}; nothing was touched: the next level's turn", words(problem)));
        draft.enter(Phase::Deciding { since: draft.now });
        draft.ask(Purpose::Decide, 0);
        return;
    }
    let refused: Vec<String> = match draft.incident.passed_over.as_slice() {
        [(_, why)] => vec![why.clone()],
        all => all.iter().map(|(procedure, why)| format!("`{procedure}`: {why}")).collect(),
    };
    draft.page(Reason::Preflight, Moment::Paged, &format!("preflight: {}; nothing was done", refused.join(", ")), true);
}

fn words(problem: &PreflightFinding) -> String {
    format!("{}: {}", problem.check, problem.problem.as_deref().unwrap_or_default())
}

/// Commits the intent and starts the write. Called with a verdict of this very moment only.
pub(super) fn write(draft: &mut Draft<'_>) {
    let Some((plan, guard)) = draft.incident.plan.clone().zip(super::life::decided_guard(&draft.incident)) else {
        draft.page(Reason::Failed, Moment::Failed, "the target could not be read before the write", true);
        return;
    };
    let first = draft.incident.attempt().is_none_or(|attempt| attempt.plan.hash() != plan.hash());
    draft.record(Event::Intended);
    draft.enter(Phase::Executing { step: 0, since: draft.now, doubtful: false });
    if first {
        let text = format!("{} -> {}", plan.from.label(), plan.to.label());
        draft.announce(Moment::Started, &format!("rolling back: {}", super::tell::subject(&draft.incident)), &text);
        draft.effect(Effect::Event {
            target: plan.target.clone(),
            incident: draft.incident.id.clone(),
            reason: "RollbackStarted",
            note: text,
        });
    }
    draft.effect(Effect::Apply { number: draft.incident.begun, plan, step: 0, guard });
}

/// The write of that number was answered.
pub(super) fn applied(draft: &mut Draft<'_>, number: u64, applied: Applied) {
    let made = matches!(applied, Applied::Done { .. } | Applied::Already { ours: true, .. });
    let (step, since) = match draft.incident.phase {
        Phase::Executing { .. } if number != draft.incident.begun => {
            answered_late(draft, made);
            return;
        }
        Phase::Executing { step, since, .. } => (step, since),
        // A write that was taken for lost was made after all: it is proven, not repeated.
        Phase::Redeciding { .. } if made && draft.incident.is_attempting() => (0, draft.now),
        _ => {
            if made {
                made_late(draft, applied, "the write was answered late: the rollback WAS written, and nobody proves it");
            }
            return;
        }
    };
    draft.record(Event::Applied { applied: applied.clone() });
    match applied {
        Applied::Done { generation } => written(draft, &format!("written, generation {generation}")),
        Applied::Already { ours: true, .. } => written(draft, "was written already, by us"),
        Applied::Already { ours: false, .. } => written(draft, "somebody put the release back first"),
        Applied::Doubtful { .. } if planted::is(Bug::RepeatedBlindly) => {
            if let Some((plan, guard)) = draft.incident.plan.clone().zip(super::life::decided_guard(&draft.incident)) {
                draft.effect(Effect::Apply { number, plan, step, guard });
            }
        }
        Applied::Doubtful { why } => {
            draft.note(format!("no telling whether it was written: {why}"));
            draft.enter(Phase::Executing { step, since, doubtful: true });
            draft.ask(Purpose::Reconcile, 0);
        }
        Applied::Refused { why, transient: true, .. } if may_try_again(draft) => {
            draft.note(format!("not written: {why}; reading everything again"));
            draft.enter(Phase::Redeciding { since: draft.now });
            draft.ask_in(Purpose::Redecide, backoff(0), 0);
        }
        Applied::Refused { why, forbidden: true, .. } => {
            draft.end_attempt(Reason::BrakeHeld);
            draft.page_held(Brake::Permission, Moment::Failed, &why, true);
        }
        Applied::Refused { why, .. } => {
            // Somebody may have been first: what stands there tells.
            draft.note(format!("not written: {why}"));
            draft.enter(Phase::Executing { step, since, doubtful: true });
            draft.ask(Purpose::Reconcile, 0);
        }
    }
}

/// An earlier write of this incident is answered while a later one is under way. The later one's own answer, or its guard, says
/// what became of it: what this one says of a refusal is not about it. Where the earlier one was made, the target is looked at.
fn answered_late(draft: &mut Draft<'_>, made: bool) {
    let Phase::Executing { step, since, .. } = draft.incident.phase else { return };
    if !made {
        draft.note("an earlier write was answered late: it was not made");
        return;
    }
    draft.note("an earlier write was answered late: it was made; looking what stands there");
    draft.enter(Phase::Executing { step, since, doubtful: true });
    draft.ask(Purpose::Reconcile, 0);
}

/// A write that everybody was told had not been made was made: whoever has the incident must know.
pub(super) fn made_late(draft: &mut Draft<'_>, applied: Applied, text: &str) {
    if !draft.incident.is_given_up() {
        return;
    }
    draft.record(Event::Applied { applied });
    if draft.incident.is_open() {
        draft.page(Reason::Unknown, Moment::Failed, text, true);
    } else {
        // Nobody has it any more: this message is all that there is.
        draft.note(text);
        let text = format!("{text}; the incident was closed before");
        draft.tell_page(Moment::Failed, "rolled back AFTER it was given up", &text);
    }
}

/// What failed before touching anything is tried again, for a while; and once where a restart came in between.
fn may_try_again(draft: &Draft<'_>) -> bool {
    let limit = draft.ctx.limits.patience;
    draft.incident.attempt().is_some_and(|attempt| attempt.intents <= 1 || draft.now.since(attempt.intended_at) < limit)
}

fn written(draft: &mut Draft<'_>, words: &str) {
    draft.note(words);
    if let Some((_, by, why)) = draft.incident.vetoed.clone() {
        draft.end_attempt(Reason::Vetoed);
        draft.page(
            Reason::Vetoed,
            Moment::Paged,
            &format!("{by} vetoed while it was being written ({why}); it was written"),
            true,
        );
        return;
    }
    draft.enter(Phase::Verifying { since: draft.now });
    draft.ask(Purpose::Verify, 0);
}

/// A doubtful write, or one that a restart cut off, was looked at.
pub(super) fn reconciled(draft: &mut Draft<'_>, tries: u32, observation: &Observation) {
    let Phase::Executing { since, .. } = draft.incident.phase else { return };
    let Some(attempt) = draft.incident.attempt().cloned() else { return };
    let plan = attempt.plan;
    let refused = match attempt.applied {
        Some(Applied::Refused { why, .. }) => Some(why),
        _ => None,
    };
    match &observation.workload {
        Some(Resolution::Found { workload }) if workload.release == plan.to.digest => {
            let ours = workload.last_rollback.as_deref() == Some(draft.incident.id.as_str());
            let applied = Applied::Already { generation: workload.generation, ours };
            draft.record(Event::Applied { applied });
            written(draft, if ours { "it was written, by us" } else { "the release is back, not by us" });
        }
        Some(Resolution::Found { workload }) if workload.release == plan.from.digest => not_written(draft, refused),
        Some(Resolution::Found { workload }) => {
            draft.end_attempt(Reason::Superseded);
            let text = format!("somebody put release {} there meanwhile", workload.release.short());
            draft.page(Reason::Superseded, Moment::Failed, &text, true);
        }
        Some(Resolution::Unresolved { why }) => {
            draft.end_attempt(Reason::TargetGone);
            draft.page(Reason::TargetGone, Moment::Failed, why, true);
        }
        Some(Resolution::Unknown { .. }) | None if refused.is_some() => not_written(draft, refused),
        Some(Resolution::Unknown { .. }) | None if draft.now.since(since) < draft.ctx.limits.patience => {
            draft.ask_in(Purpose::Reconcile, backoff(tries), tries + 1);
        }
        Some(Resolution::Unknown { .. }) | None => {
            draft.end_attempt(Reason::Unknown);
            let text = "whether the rollback was written cannot be seen: the cluster does not answer";
            draft.page(Reason::Unknown, Moment::Failed, text, true);
        }
    }
}

/// It was not written, so far. A late write of the same patch would meet its guard: the next one is decided on the generation
/// that was read after it, so that at most one of them is taken.
fn not_written(draft: &mut Draft<'_>, refused: Option<String>) {
    if refused.is_none() && may_try_again(draft) {
        draft.note("it was not written; reading everything again");
        draft.enter(Phase::Redeciding { since: draft.now });
        draft.ask(Purpose::Redecide, 0);
        return;
    }
    let why = refused.unwrap_or_else(|| "there was no answer, and trying again did not help".to_owned());
    draft.end_attempt(Reason::Failed);
    draft.page(Reason::Failed, Moment::Failed, &format!("not written: {why}"), true);
}

/// A look at the target after the write.
pub(super) fn verified(draft: &mut Draft<'_>, observation: &Observation) {
    let Phase::Verifying { since } = draft.incident.phase else { return };
    let Some(attempt) = draft.incident.attempt().cloned() else { return };
    let proof = proof::judge(draft.ctx, draft.book, &draft.incident, (&attempt, since), observation, draft.now);
    let newly_complete = proof.rolled_back && attempt.rolled_back_at.is_none();
    let holds_since = proof.holds.then(|| attempt.holds_since.unwrap_or(draft.now));
    let changed = proof.checks != attempt.checks || holds_since != attempt.holds_since || newly_complete;
    if changed || attempt.tail_until.is_none() {
        draft.record(Event::Checked {
            checks: proof.checks.clone(),
            rolled_back: proof.rolled_back,
            holds_since,
            tail_until: Some(proof.tail_until),
        });
    }
    if newly_complete {
        let title = format!("rolled back: {}", super::tell::subject(&draft.incident));
        draft.announce(Moment::RolledBack, &title, "the rollout is complete; proof is gathered");
    }
    if let Some((reason, words)) = proof.over {
        not_proven(draft, reason, &words);
        return;
    }
    // Before the tail is over, an alert or a fact that is right may be so by chance: the rollout itself disturbs both.
    let verify = attempt.verify();
    let tail_first = verify.alert || !verify.facts.is_empty();
    let seen_enough = !tail_first || draft.now >= proof.tail_until;
    if seen_enough && holds_since.is_some_and(|from| draft.now.since(from) >= verify.hold) {
        if attempt.stage < attempt.plan.verify.then.len() {
            draft.record(Event::StageProven);
            draft.note(format!("{} of the proof holds; the next one's turn", stage_words(&attempt)));
            draft.ask(Purpose::Verify, 0);
            return;
        }
        proven(draft);
        return;
    }
    draft.ask_in(Purpose::Verify, draft.ctx.limits.verify_every, 0);
}

/// `stage 1`, or its name.
fn stage_words(attempt: &super::incident::Attempt) -> String {
    match &attempt.verify().name {
        Some(name) => format!("stage `{name}`"),
        None => format!("stage {}", attempt.stage + 1),
    }
}

fn proven(draft: &mut Draft<'_>) {
    draft.end_attempt(Reason::Verified);
    draft.enter(Phase::Verified);
    let text = "the rollout is complete and every check holds";
    draft.announce(Moment::Verified, &format!("verified: {}", super::tell::subject(&draft.incident)), text);
    if let Some(target) = draft.incident.target.clone() {
        draft.effect(Effect::Event {
            target,
            incident: draft.incident.id.clone(),
            reason: "RollbackVerified",
            note: text.to_owned(),
        });
    }
    draft.ask_in(Purpose::Watch, draft.ctx.limits.watch_every.min(draft.ctx.limits.close_after), 0);
}

fn not_proven(draft: &mut Draft<'_>, reason: Reason, words: &str) {
    draft.end_attempt(reason);
    draft.note(format!("{reason}: {words}"));
    match reason {
        Reason::Superseded => {
            draft.page(reason, Moment::Failed, &format!("superseded while it was being proven: {words}"), true);
        }
        // Seen to be the same or worse: the next procedure's turn, decided again under all brakes.
        Reason::Ineffective if super::life::has_next_level(draft) => {
            draft.enter(Phase::Deciding { since: draft.now });
            draft.ask(Purpose::Decide, 0);
        }
        Reason::Ineffective => draft.page(reason, Moment::Ineffective, &format!("it did not help: {words}"), true),
        _ => draft.page(reason, Moment::Failed, words, true),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::brakes::fixture::{World, acting, policies};
    use super::super::effect::Input;
    use super::*;

    /// A write of `web:a` over `web:b` that was begun that often, so many seconds ago.
    fn writing(times: u32, ago: u64) -> World {
        let mut world = World::new();
        world.decide_by(&acting("{rollback: undo}"));
        world.begin(Duration::from_secs(ago), times);
        world.incident.phase = Phase::Executing { step: 0, since: world.ago(Duration::from_secs(ago)), doubtful: false };
        world
    }

    /// The write is answered; how many records and effects come of it.
    fn answered(world: &mut World, applied: Applied) -> (usize, usize) {
        let (incident, number) = (world.incident.id.clone(), world.incident.begun);
        let step = world.step(&acting("{rollback: undo}"), Input::Applied { incident, number, applied });
        (step.records.len(), step.effects.len())
    }

    fn refused(transient: bool) -> Applied {
        Applied::Refused { why: "the object has been modified".to_owned(), transient, forbidden: false }
    }

    fn page(world: &World) -> Option<(Reason, &str)> {
        world.incident.page.as_ref().map(|page| (page.reason, page.text.as_str()))
    }

    #[test]
    fn preflight_counts_for_the_incident_that_waits_for_it_and_for_that_try_only() {
        for (waits, ours) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut world = World::new();
            world.decide_by(&acting("{rollback: undo}"));
            world.incident.begun = 3;
            world.incident.phase = if waits { Phase::Preparing { since: world.now } } else { Phase::Paged };
            let (incident, number) = (world.incident.id.clone(), if ours { 3 } else { 2 });
            let (report, evidence) = (PreflightReport::default(), Box::default());
            let step = world.step(&acting("{rollback: undo}"), Input::Prepared { incident, number, report, evidence });
            assert_eq!(step.effects.is_empty(), !(waits && ours), "waits: {waits}, its number: {ours}");
        }
    }

    #[test]
    fn what_preflight_found_in_the_way_is_tried_again_for_half_a_minute() {
        for (ago, again) in [(29, true), (30, false)] {
            let mut world = World::new();
            world.decide_by(&acting("{rollback: undo}"));
            world.incident.phase = Phase::Redeciding { since: world.ago(Duration::from_secs(ago)) };
            let problem = PreflightFinding {
                check: "dry run".to_owned(),
                problem: Some("the API server is overloaded".to_owned()),
                transient: true,
                forbidden: false,
            };
            let _ = world.draft(&policies(""), |draft| not_fit(draft, &problem));
            assert_eq!(matches!(world.incident.phase, Phase::Preparing { .. }), again, "{ago} s: {:?}", world.incident.phase);
            assert_eq!(page(&world).is_some(), !again, "{ago} s");
        }
    }

    #[test]
    fn a_write_that_was_taken_for_lost_is_proven_where_it_was_made() {
        let redeciding = |ended: Option<Reason>| {
            let mut world = writing(1, 10);
            world.incident.phase = Phase::Redeciding { since: world.now };
            if let Some(reason) = ended {
                let at = world.now;
                world.incident.apply(&Event::AttemptEnded { reason }, at).expect("it has one");
            }
            world
        };

        let mut world = redeciding(None);
        answered(&mut world, Applied::Done { generation: 3 });
        assert_eq!(world.incident.phase, Phase::Verifying { since: world.now });

        let mut world = redeciding(None);
        assert_eq!(answered(&mut world, refused(true)), (0, 0), "it was not made: what is being read anew decides");

        let mut world = redeciding(Some(Reason::Failed));
        answered(&mut world, Applied::Done { generation: 3 });
        assert_eq!(page(&world).map(|(reason, _)| reason), Some(Reason::Unknown), "everybody was told that it had not been made");
    }

    #[test]
    fn what_was_refused_for_the_moment_is_tried_again_once_and_for_half_a_minute() {
        for (times, ago, again) in [(1, 29, true), (1, 40, true), (2, 29, true), (2, 30, false), (2, 31, false)] {
            let mut world = writing(times, ago);
            answered(&mut world, refused(true));
            let phase = &world.incident.phase;
            assert_eq!(matches!(phase, Phase::Redeciding { .. }), again, "begun {times} times, {ago} s ago: {phase:?}");
            assert_eq!(matches!(phase, Phase::Executing { doubtful: true, .. }), !again, "begun {times} times, {ago} s ago");
        }
    }

    #[test]
    fn a_refused_write_is_paged_about_where_the_bad_release_still_runs_or_nothing_is_seen() {
        for seen in [true, false] {
            let mut world = writing(1, 5);
            answered(&mut world, refused(false));
            if !seen {
                world.lose_workload();
            }
            let observation = world.observation.clone();
            let _ = world.draft(&policies(""), |draft| reconciled(draft, 0, &observation));
            assert_eq!(page(&world), Some((Reason::Failed, "not written: the object has been modified")), "seen: {seen}");
        }
    }

    #[test]
    fn a_write_without_an_answer_is_looked_for_for_half_a_minute() {
        for (ago, over) in [(29, false), (30, true)] {
            let mut world = writing(1, ago);
            world.lose_workload();
            let observation = world.observation.clone();
            let _ = world.draft(&policies(""), |draft| reconciled(draft, 0, &observation));
            assert_eq!(page(&world).map(|(reason, _)| reason), over.then_some(Reason::Unknown), "{ago} s");
            assert_eq!(world.incident.retry.is_some_and(|retry| retry.purpose == Purpose::Reconcile), !over, "{ago} s");
        }
    }
}
