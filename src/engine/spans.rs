//! What the engine's records mean for traces: a span for each phase of an incident when it ends, and one for all of it when it is
//! closed. Names and ids come from the incident alone, so that a restart goes on with the same trace.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use crate::decide::book::Book;
use crate::decide::incident::{Incident, Phase};
use crate::decide::transition::Event;
use crate::journal::record::{Record, Stamped};
use crate::metrics::Metrics;
use crate::model::{Brake, IncidentId, Mode, Plan, Reason, Time};
use crate::ports::Span;

/// Keeps when each open incident entered the phase that it is in.
pub(super) struct Spans {
    sender: Option<mpsc::Sender<Span>>,
    entered: BTreeMap<IncidentId, (&'static str, Time)>,
}

impl Spans {
    /// For what is open already, the phase is taken to have begun when we were last alive: what was before, was told before.
    pub(super) fn new(sender: Option<mpsc::Sender<Span>>, book: &Book) -> Self {
        let since = book.alive_at.unwrap_or_default();
        let open = book.open().filter(|_| sender.is_some());
        let entered = open.map(|incident| (incident.id.clone(), (incident.phase.as_str(), since))).collect();
        Self { sender, entered }
    }

    /// Looks at a record that was folded into the book.
    pub(super) fn recorded(&mut self, metrics: &Metrics, book: &Book, stamped: &Stamped) {
        let Some(sender) = &self.sender else { return };
        let Record::Incident { id, event } = &stamped.record else { return };
        let Some(incident) = book.incidents.get(id) else { return };
        let ended = match event {
            Event::Opened { .. } => {
                self.entered.insert(id.clone(), (incident.phase.as_str(), stamped.at));
                before(incident).into_iter().collect()
            }
            Event::Phase { to } => {
                let known = self.entered.insert(id.clone(), (to.as_str(), stamped.at));
                let mut ended: Vec<Span> = known.map(|known| phase(incident, known, stamped.at)).into_iter().collect();
                if let Phase::Closed { reason, .. } = to {
                    self.entered.remove(id);
                    ended.push(whole(incident, *reason, stamped.at));
                }
                ended
            }
            _ => Vec::new(),
        };
        for span in ended {
            // Nobody waits for a trace: what the exporter cannot take is counted and lost.
            if sender.try_send(span).is_err() {
                metrics.spans_lost.inc();
            }
        }
    }
}

/// From the condition to the incident: rule, grouping, notification.
fn before(incident: &Incident) -> Option<Span> {
    let from = incident.onset().ok().filter(|onset| *onset < incident.opened_at)?;
    Some(Span { from, to: incident.opened_at, ..child(incident, "alerting") })
}

fn phase(incident: &Incident, (name, from): (&'static str, Time), to: Time) -> Span {
    Span { from, to, ..child(incident, name) }
}

fn child(incident: &Incident, name: &'static str) -> Span {
    let at = Time::default();
    Span { incident: incident.id.clone(), name, is_root: false, from: at, to: at, ok: None, attributes: Vec::new() }
}

/// The incident from its condition to its close, with all that one would look for it by.
fn whole(incident: &Incident, reason: Reason, to: Time) -> Span {
    let from = incident.onset().map_or(incident.opened_at, |onset| onset.min(incident.opened_at));
    let mut attributes = vec![
        ("backout.incident", incident.id.to_string()),
        ("backout.policy", incident.policy.clone()),
        ("backout.lane", incident.lane.key()),
        ("backout.closed", reason.as_str().to_owned()),
        ("backout.alerts", incident.members.len().to_string()),
    ];
    if let Some(target) = &incident.target {
        attributes.push(("k8s.namespace.name", target.at.namespace.clone()));
        attributes.push(("k8s.deployment.name", target.at.name.clone()));
    }
    if let Some(decision) = &incident.decision {
        attributes.push(("backout.outcome", decision.outcome.as_str().to_owned()));
        attributes.push(("backout.reason", decision.brake.map_or(decision.reason.as_str(), Brake::as_str).to_owned()));
        attributes.push(("backout.mode", Mode::as_str(decision.mode).to_owned()));
    }
    if let Some(plan) = &incident.plan {
        attributes.push(("backout.plan", Plan::hash(plan).to_string()));
    }
    // A person was needed after we had touched something: that is what one looks for in traces.
    let failed = incident.page.is_some() && !incident.attempts.is_empty();
    let verified = incident.attempts.iter().any(|attempt| matches!(attempt.ended, Some((_, Reason::Verified))));
    let ok = if failed { Some(false) } else { verified.then_some(true) };
    Span { from, to, ok, is_root: true, attributes, ..child(incident, "incident") }
}
