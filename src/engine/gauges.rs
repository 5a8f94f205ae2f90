//! What the engine's records mean for the metrics.

use std::collections::BTreeMap;

use crate::decide::book::{Book, History};
use crate::decide::brakes;
use crate::decide::effect::Heard;
use crate::decide::incident::{Incident, Phase};
use crate::decide::observation::Observation;
use crate::decide::report::Figures;
use crate::decide::transition::Event;
use crate::journal::census::Tally;
use crate::journal::record::{Record, Stamped};
use crate::metrics::{ActionResult, AlertResult, Asked, ChangeBy, Figure, Metrics};
use crate::model::{AlertStatus, Brake, LatchCause, Reason, Resolution, Source, Time, Unknown, UnknownKind, WatchEvent};
use crate::policy::types::Policies;

/// Counts what became of a receipt's alerts; what was accepted was counted when it was acknowledged. So many firing ones concerned
/// nobody and were not looked at further.
pub(super) fn heard(metrics: &Metrics, source: Source, heard: &[(AlertStatus, Heard)], unmatched: Tally) {
    for (status, count) in [(AlertStatus::Firing, unmatched.firing), (AlertStatus::Resolved, unmatched.resolved)] {
        if count > 0 {
            metrics.alerts_received(source, status, AlertResult::Unmatched).inc_by(count);
        }
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

/// Counts what is new by what was before. To be called before the record is folded: afterwards it is new no more.
pub(super) fn changed(metrics: &Metrics, book: &Book, record: &Record) {
    match record {
        Record::Watched { event } => watched(metrics, book, event),
        Record::Incident { id, event: Event::Paged { brake: Some(brake), .. } } => held(metrics, book.incidents.get(id), *brake),
        _ => {}
    }
}

/// A brake that no decision judged holds: the cluster refused, somebody paused us. One that was judged was counted with the decision,
/// and a page that is sent again with its first.
fn held(metrics: &Metrics, incident: Option<&Incident>, brake: Brake) {
    let judged = incident.and_then(|incident| incident.decision.as_ref());
    let counted = judged.is_some_and(|decision| decision.brakes.iter().any(|other| other.brake == brake && other.holds()));
    let again = incident.and_then(|incident| incident.page.as_ref()).is_some_and(|page| page.brake == Some(brake));
    if !counted && !again {
        metrics.brake_held(brake);
    }
}

/// What a first list tells (a start, a watch that broke off) is no change that anybody saw.
fn watched(metrics: &Metrics, book: &Book, event: &WatchEvent) {
    let Some(history) = book.targets.get(&event.target.at.to_string()) else { return };
    let current = history.releases.last();
    let another = history.uid == event.target.uid && current.is_some_and(|current| current.digest != event.release);
    if another && !event.gone && !event.relearned {
        metrics.changed(if event.by_us { ChangeBy::Backout } else { ChangeBy::Others });
    }
}

/// Counts what was asked, and whether it was answered. "Nothing there" and "too little traffic" are answers.
pub(super) fn observed(metrics: &Metrics, observation: &Observation) {
    let answered =
        |why: Option<&Unknown>| why.is_none_or(|why| !matches!(why.kind, UnknownKind::Unreachable | UnknownKind::Forbidden));
    if let Some(resolution) = &observation.workload {
        let why = if let Resolution::Unknown { why } = resolution { Some(why) } else { None };
        metrics.observed(Asked::Cluster, answered(why));
    }
    for peer in &observation.alerts.peers {
        metrics.observed(Asked::Alertmanager, answered(peer.value.as_ref().err()));
    }
    for answer in observation.values.values() {
        metrics.observed(Asked::Prometheus, answered(answer.value.value.as_ref().err()));
    }
    // When it evaluated its rules is asked together with the peers.
    if !observation.alerts.peers.is_empty() {
        metrics.observed(Asked::Prometheus, answered(observation.alerts.evaluated_at.value.as_ref().err()));
    }
}

/// Counts a record that was folded into the book. One log line for each event that matters.
pub(super) fn recorded(metrics: &Metrics, book: &Book, stamped: &Stamped) {
    let Record::Incident { id, event } = &stamped.record else { return };
    let Some(incident) = book.incidents.get(id) else { return };
    let policy = &incident.policy;
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
            metrics.attempt_ended(policy, *reason);
            if *reason == Reason::Verified {
                took(metrics, Figure::Verify, Figures::of(incident).verify);
            }
            tracing::info!(incident = %id, reason = reason.as_str(), "attempt ended");
        }
        Event::Paged { reason, announced, .. } => {
            if !announced {
                metrics.paged(policy, *reason);
            }
            tracing::warn!(incident = %id, reason = reason.as_str(), "a human is needed");
        }
        Event::Phase { to } => {
            if let Phase::Closed { reason, .. } = to {
                metrics.incident_closed(policy, *reason);
            }
            tracing::info!(incident = %id, phase = to.as_str(), "entered");
        }
        Event::Marked { mark, .. } => metrics.access.marked(&incident.policy, *mark),
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
pub(super) fn set(metrics: &Metrics, book: &Book, policies: &Policies, now: Time) {
    for name in book.wrongs.keys() {
        if let Some(policy) = policies.get(name) {
            metrics.access.trust_spent(name, brakes::distrust(policy, book, now).is_some());
        }
    }
    for cause in LatchCause::ALL {
        let holding = book.latches.values().filter(|latch| latch.holds() && latch.wanted.cause == *cause).count();
        metrics.access.latches(*cause, holding);
    }
    let mut open: BTreeMap<&'static str, usize> = Phase::OPEN.iter().map(|name| (*name, 0)).collect();
    let mut holding: BTreeMap<Brake, usize> = Brake::ALL.iter().map(|brake| (*brake, 0)).collect();
    let mut untaken = 0;
    for incident in book.open() {
        untaken += i64::from(incident.page.as_ref().is_some_and(|page| page.untaken));
        *open.entry(incident.phase.as_str()).or_default() += 1;
        if let (Phase::Paged, Some(brake)) = (&incident.phase, incident.held_by()) {
            *holding.entry(brake).or_default() += 1;
        }
    }
    metrics.pages_untaken.set(untaken);
    // Also of what is over; what is on its way for the first time is not waiting.
    let waits = |incident: &&Incident| incident.untold.as_ref().is_some_and(|untold| untold.rounds > 0);
    metrics.news_untold.set(i64::try_from(book.incidents.values().filter(waits).count()).unwrap_or(i64::MAX));
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::super::view::row;
    use super::*;
    use crate::decide::observation::Answer;
    use crate::model::{AlertmanagerView, Digest, Fact, Number, TargetId, TargetRef, Time};
    use crate::simulate::{Driver, Script};

    fn count(metrics: &Metrics, series: &str) -> u64 {
        let text = metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series)).unwrap_or_else(|| panic!("{series} in\n{text}"));
        line.trim().parse().expect("a count")
    }

    #[test]
    fn a_change_is_counted_once_and_what_a_first_list_tells_never() {
        let (metrics, mut book) = (Metrics::new().expect("metrics"), Book::default());
        let at = TargetRef::deployment("shop", "web").expect("a target");
        let event = |release: &str| WatchEvent {
            target: TargetId { at: at.clone(), uid: "u".to_owned() },
            release: Digest(release.to_owned()),
            images: Vec::new(),
            replica_set: None,
            first_write: Time::from_millis(0),
            by: None,
            by_us: false,
            available: true,
            relearned: false,
            landed_at: None,
            gone: false,
        };
        let mut seen = |event: WatchEvent| {
            let stamped = Stamped { at: Time::from_millis(1), record: Record::Watched { event: Box::new(event) } };
            changed(&metrics, &book, &stamped.record);
            book.fold(&stamped).expect("it fits");
            ["others", "backout"].map(|by| count(&metrics, &format!("backout_changes_total{{by=\"{by}\"}}")))
        };
        assert_eq!(seen(WatchEvent { relearned: true, ..event("a") }), [0, 0], "it was there before us");
        assert_eq!(seen(event("b")), [1, 0]);
        assert_eq!(seen(WatchEvent { available: false, ..event("b") }), [1, 0], "the same release");
        assert_eq!(seen(WatchEvent { by_us: true, ..event("a") }), [1, 1]);
        assert_eq!(seen(WatchEvent { relearned: true, ..event("c") }), [1, 1], "nobody saw when");
        assert_eq!(seen(WatchEvent { gone: true, ..event("d") }), [1, 1]);
    }

    /// A story of `tests/scenarios`, told.
    fn told(story: &str) -> Driver {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
        let text = std::fs::read_to_string(folder.join(story)).expect("a story");
        let (script, _) = text.split_once("\n==== transcript\n").expect("a transcript");
        let include = |file: &str| std::fs::read_to_string(folder.join("common").join(file)).map_err(|error| error.to_string());
        Script::parse(script, &include).and_then(|script| script.tell()).expect("a story")
    }

    #[test]
    fn a_brake_that_only_the_cluster_pulled_is_shown_like_the_others() {
        let driver = told("forbidden-preflight.txt");
        let (id, incident) = driver.book().incidents.first_key_value().expect("one");
        let decided = incident.decision.as_ref().and_then(|decision| decision.brake);
        assert_eq!((decided, incident.page.as_ref().and_then(|page| page.brake)), (None, Some(Brake::Permission)));
        assert_eq!(row(incident).brake.as_deref(), Some("permission"), "in the list");
        let metrics = Metrics::new().expect("metrics");
        let mut book = driver.book().clone();
        let mut page = |brake: Brake| {
            let event = Event::Paged {
                reason: Reason::BrakeHeld,
                brake: Some(brake),
                cause: None,
                folded_into: None,
                announced: false,
                text: String::new(),
            };
            let record = Record::Incident { id: id.clone(), event };
            changed(&metrics, &book, &record);
            book.fold(&Stamped { at: driver.now(), record }).expect("it fits");
            set(&metrics, &book, &Policies::default(), driver.now());
            let of = |metric: &str| count(&metrics, &format!("backout_{metric}{{brake=\"{brake}\"}}"));
            (of("brake_holds_total"), of("brake_holding"))
        };
        let open = u64::from(incident.is_open());
        assert_eq!(page(Brake::Permission), (0, open), "sent again, it holds no other time");
        assert_eq!(page(Brake::Paused), (1, open));
        assert_eq!(page(Brake::Permission), (1, open), "and now it does");
    }

    #[test]
    fn only_who_does_not_answer_is_counted_as_unanswered() {
        let metrics = Metrics::new().expect("metrics");
        let now = Time::from_millis(0);
        let answer = |kind| Answer { value: Fact::<Number>::unknown(Unknown::new(kind, "so"), now, "prometheus"), floor: None };
        let values = BTreeMap::from([
            ("late".to_owned(), answer(UnknownKind::Unreachable)),
            ("nothing".to_owned(), answer(UnknownKind::Empty)),
            ("quiet".to_owned(), answer(UnknownKind::BelowFloor)),
        ]);
        let peer = Fact::unknown(Unknown::new(UnknownKind::Unreachable, "so"), now, "alertmanager");
        let observation = Observation {
            at: now,
            workload: Some(Resolution::Unknown { why: Unknown::new(UnknownKind::Forbidden, "so") }),
            alerts: AlertmanagerView { peers: vec![peer], evaluated_at: Fact::known(now, now, "prometheus") },
            values,
            texts: BTreeMap::new(),
            watch_heard_at: None,
            rollout: None,
            http: Vec::new(),
            tail: None,
        };
        observed(&metrics, &observation);
        let counted = |source: &str| {
            ["answered", "unanswered"]
                .map(|result| count(&metrics, &format!("backout_observations_total{{result=\"{result}\",source=\"{source}\"}}")))
        };
        assert_eq!(counted("prometheus"), [3, 1]);
        assert_eq!(counted("alertmanager"), [0, 1]);
        assert_eq!(counted("cluster"), [0, 1]);
    }
}
