//! What the engine's records mean for the metrics.

use std::collections::BTreeMap;

use crate::decide::book::{Book, History};
use crate::decide::effect::Heard;
use crate::decide::incident::{Incident, Phase};
use crate::decide::report::Figures;
use crate::decide::transition::Event;
use crate::journal::record::{Record, Stamped};
use crate::metrics::{ActionResult, AlertResult, Figure, Metrics};
use crate::model::{AlertStatus, Brake, Reason, Source};

/// Counts what became of a receipt's alerts; what was accepted was counted when it was acknowledged. So many firing ones concerned
/// nobody and were not looked at further.
pub(super) fn heard(metrics: &Metrics, source: Source, heard: &[(AlertStatus, Heard)], unmatched: u64) {
    if unmatched > 0 {
        metrics.alerts_received(source, AlertStatus::Firing, AlertResult::Unmatched).inc_by(unmatched);
    }
    for (status, heard) in heard {
        let result = match heard {
            Heard::Duplicate | Heard::Stale => AlertResult::Duplicate,
            Heard::Unmatched => AlertResult::Unmatched,
            Heard::News | Heard::Foreign | Heard::Own => continue,
        };
        metrics.alerts_received(source, *status, result).inc();
    }
}

/// Counts a record that was folded into the book. One log line for each event that matters.
pub(super) fn recorded(metrics: &Metrics, book: &Book, stamped: &Stamped) {
    let Record::Incident { id, event } = &stamped.record else { return };
    let Some(incident) = book.incidents.get(id) else { return };
    match event {
        Event::Decided { decision } => {
            let reason = decision.brake.map_or(decision.reason.as_str(), Brake::as_str);
            metrics.decided(&decision.policy, decision.outcome, reason);
            for judgement in decision.brakes.iter().filter(|judgement| judgement.holds()) {
                metrics.brake_held(judgement.brake);
            }
            let figures = Figures::of(incident);
            if incident.decided_at == Some(stamped.at) {
                took(metrics, Figure::Detect, figures.detect);
                took(metrics, Figure::Decide, figures.decide);
            }
            tracing::info!(incident = %id, policy = %decision.policy, outcome = decision.outcome.as_str(), reason, "decided");
        }
        Event::Intended => took(metrics, Figure::Start, Figures::of(incident).start),
        Event::Applied { applied } => acted(metrics, incident, applied),
        Event::Checked { rolled_back: true, .. } if rolled_back_now(incident, stamped) => {
            took(metrics, Figure::Rollback, Figures::of(incident).roll_back);
        }
        Event::AttemptEnded { reason } => {
            if *reason == Reason::Verified {
                took(metrics, Figure::Verify, Figures::of(incident).verify);
            }
            tracing::info!(incident = %id, reason = reason.as_str(), "attempt ended");
        }
        Event::Paged { reason, .. } => tracing::warn!(incident = %id, reason = reason.as_str(), "a human is needed"),
        Event::Phase { to } => tracing::info!(incident = %id, phase = to.as_str(), "entered"),
        Event::Noted { text } if text.starts_with("defect") => tracing::error!(incident = %id, text, "defect"),
        _ => {}
    }
}

fn acted(metrics: &Metrics, incident: &Incident, applied: &crate::model::Applied) {
    let step = incident.attempt().and_then(|attempt| attempt.plan.steps.first());
    if let Some(step) = step {
        let result = ActionResult::from(applied);
        metrics.acted(step.name(), result);
        tracing::info!(incident = %incident.id, step = step.name(), result = result.as_str(), "step");
    }
}

fn rolled_back_now(incident: &Incident, stamped: &Stamped) -> bool {
    incident.attempt().is_some_and(|attempt| attempt.rolled_back_at == Some(stamped.at))
}

fn took(metrics: &Metrics, figure: Figure, time: Option<std::time::Duration>) {
    if let Some(time) = time {
        metrics.took(figure, time);
    }
}

/// Sets the gauges from the book.
pub(super) fn set(metrics: &Metrics, book: &Book) {
    let mut open: BTreeMap<&'static str, usize> = Phase::OPEN.iter().map(|name| (*name, 0)).collect();
    let mut holding: BTreeMap<Brake, usize> = Brake::ALL.iter().map(|brake| (*brake, 0)).collect();
    for incident in book.open() {
        *open.entry(incident.phase.as_str()).or_default() += 1;
        let brake = incident.decision.as_ref().and_then(|decision| decision.brake);
        if let (Phase::Paged, Some(brake)) = (&incident.phase, brake) {
            *holding.entry(brake).or_default() += 1;
        }
    }
    for (state, count) in open {
        metrics.incidents_open(state, count);
    }
    for (brake, count) in holding {
        metrics.brake_holding(brake, count);
    }
    // A release that we put back stays an open item until somebody deploys another one: git still says what was left.
    let is_ours = |history: &History| history.releases.last().is_some_and(|release| release.by_us);
    let ours = |history: &&History| history.watched_since.is_some() && is_ours(history);
    let unreconciled = book.targets.values().filter(ours).count();
    metrics.rollback_unreconciled.set(i64::try_from(unreconciled).unwrap_or(i64::MAX));
}
