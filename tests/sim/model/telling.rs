//! No failure loses the page: whatever became of an incident, somebody heard of it while anybody could be told.

use std::time::Duration;

use backout::model::{Labels, Moment, Reason, Time};

use super::{Case, Violation};
use crate::journal::Noted;
use crate::truth::Truth;

/// How long it may take until somebody hears of an incident, or of a write.
const BOUND: Duration = Duration::from_secs(12 * 60);

pub(crate) fn judge(case: &Case<'_>, found: &mut Vec<Violation>) {
    incidents_are_told(case, found);
    alerts_lead_to_incidents(case, found);
    writes_are_told(case, found);
    proofs_are_true(case, found);
    wrong_plans_are_refused(case, found);
    strangers_are_left_alone(case, found);
}

/// What is on top of the bound where answers are slow or lost.
fn more(case: &Case<'_>) -> Duration {
    let lost = Duration::from_secs(400) * case.truth.meddled.min(4);
    let slow = (case.truth.latency.tell + case.truth.latency.read) * 8;
    lost + slow + Duration::from_secs(if case.truth.lives.changes().count() > 1 { 240 } else { 0 })
}

fn incidents_are_told(case: &Case<'_>, found: &mut Vec<Violation>) {
    for (id, noted) in case.incidents.iter().filter(|(_, noted)| !noted.shadow) {
        let settle = case.rules(&noted.policy).map(|rules| rules.settle).unwrap_or_default();
        let Some(by) = case.truth.good(noted.opened, BOUND + settle + more(case)) else { continue };
        let over = noted.closed.as_ref().is_some_and(|(closed, reason)| *closed <= by && *reason == Reason::Recovered);
        let told = case.driver.told.iter().any(|told| told.incidents.contains(id) && noted.opened <= told.at && told.at <= by);
        // Whoever did something about it knows of it.
        let known = case.done(by).any(|done| done.operation.incident() == Some(id));
        if !told && !over && !known {
            let number = case.driver.transcript.number_of(id).unwrap_or(0);
            let text = format!("#{number}, opened at {}: nobody heard of it until {}", case.clock(noted.opened), case.clock(by));
            found.push(Violation { check: "told", text });
        }
    }
}

/// An alert that fires long enough, and that a policy is about, belongs to an incident.
fn alerts_lead_to_incidents(case: &Case<'_>, found: &mut Vec<Violation>) {
    for (labels, alert) in &case.truth.alerts {
        let label = |name: &str| labels.get(name).map(String::as_str).unwrap_or_default();
        let Some(rules) = case.world.rules.iter().find(|rules| rules.namespace == label("namespace")) else { continue };
        if rules.mode == crate::rules::Mode::Shadow || labels.contains_key("cluster") {
            continue;
        }
        for (from, to, fires) in alert.fires.pieces(case.truth.begin, case.truth.end) {
            let Some(by) = case.truth.good(from, Duration::from_secs(300) + more(case)) else { continue };
            // What is silenced, or of which no peer could tell, is not sent.
            // Nor is what is taken for the firing before it, the end of which was not sent either.
            let since = alert.begins.iter().map(|(at, _)| *at).rfind(|at| *at < from).unwrap_or(from);
            let held = case.truth.ever_silenced(labels, (since, by)) || case.truth.ever_inhibited(labels, (since, by));
            let sent = !held && case.peers_up(since, by);
            let acts = case.rules_at(&rules.name, by).is_some_and(|rules| rules.mode != crate::rules::Mode::Shadow);
            if !*fires || to <= by || !sent || !acts {
                continue;
            }
            let about = |noted: &Noted| {
                let open = noted.opened <= by && noted.closed.as_ref().is_none_or(|(closed, _)| from < *closed);
                !noted.shadow && open && noted.members.iter().any(|(_, member)| member == labels)
            };
            if !case.incidents.values().any(about) {
                let text =
                    format!("{} fires from {}: no incident until {}", label("alertname"), case.clock(from), case.clock(by));
                found.push(Violation { check: "heard", text });
            }
        }
    }
}

fn writes_are_told(case: &Case<'_>, found: &mut Vec<Violation>) {
    for (at, request, ..) in case.truth.writes() {
        let Some(noted) = case.incidents.get(&request.incident) else { continue };
        let intended = noted.writes().filter(|(intended, _)| *intended <= at).map(|(intended, _)| *intended).next_back();
        let since = intended.unwrap_or(at);
        let Some(by) = case.truth.good(at, BOUND + more(case)) else { continue };
        let told = case.driver.told.iter().any(|told| {
            let about = told.incidents.contains(&request.incident) && told.moment != Moment::Decided;
            about && since <= told.at && told.at <= by
        });
        if !told {
            let text = format!("{} {} was rolled back, and nobody heard", case.clock(at), Truth::name(&request.target));
            found.push(Violation { check: "announced", text });
        }
    }
}

/// Only what is seen to be better is a success.
fn proofs_are_true(case: &Case<'_>, found: &mut Vec<Violation>) {
    for told in case.driver.told.iter().filter(|told| told.moment == Moment::Verified) {
        for (id, noted) in told.incidents.iter().filter_map(|id| case.incidents.get(id).map(|noted| (id, noted))) {
            let Some(rules) = case.rules(&noted.policy) else { continue };
            // It may be told much later than it was found.
            let verdict = noted.ended.iter().copied().filter(|at| *at <= told.at).max().unwrap_or(told.at);
            let window = (verdict - case.slack() - case.truth.latency.read - Duration::from_secs(60), verdict);
            let number = case.driver.transcript.number_of(id).unwrap_or(0);
            let mut say = |why: &str| {
                let text = format!("{} #{number} was told to be proven: {why}", case.clock(told.at));
                found.push(Violation { check: "proof", text });
            };
            let fires =
                |labels: &Labels| case.truth.alerts.get(labels).is_some_and(|alert| alert.fires.always(window, |fires| *fires));
            let mut known = noted.members.iter().filter(|(joined, _)| *joined < verdict);
            if rules.proves_alert && known.any(|(_, labels)| fires(labels)) {
                say("an alert of it fires");
            }
            if rules.proves_alert && case.truth.evaluation.always((window.0 - Duration::from_secs(150), window.1), |up| !up) {
                say("no rule was evaluated");
            }
            if rules.proves_facts && !proven_by_facts(case, noted, window) {
                say("its facts were not known, or bad");
            }
        }
    }
}

fn proven_by_facts(case: &Case<'_>, noted: &Noted, window: (Time, Time)) -> bool {
    let Some(target) = &noted.target else { return false };
    let known = case.truth.values.get(&format!("errors{{app=\"{}\"}}", target.name));
    // What nobody set by hand follows what runs.
    let bad = |value: &Option<f64>| value.is_none_or(|value| value.is_nan() || (value.is_finite() && value >= 0.1));
    !case.truth.prometheus.always(window, |up| !up) && !known.is_some_and(|track| track.always(window, bad))
}

fn wrong_plans_are_refused(case: &Case<'_>, found: &mut Vec<Violation>) {
    for done in case.done(case.truth.end) {
        if let backout::model::Operation::Approve { plan, .. } = &done.operation
            && plan.0 == "0123456789abcdef"
        {
            let text = format!("{} a yes to a plan that nobody made was taken", case.clock(done.at));
            found.push(Violation { check: "hash", text });
        }
    }
}

/// What another cluster's alerts say is none of our business.
fn strangers_are_left_alone(case: &Case<'_>, found: &mut Vec<Violation>) {
    for noted in case.incidents.values() {
        if noted.members.iter().any(|(_, labels)| labels.get("cluster").is_some_and(|cluster| cluster != "prod")) {
            let text = format!("{} an incident about an alert of another cluster", case.clock(noted.opened));
            found.push(Violation { check: "foreign", text });
        }
    }
}

impl Case<'_> {
    /// Whether no peer was ever gone in that time.
    fn peers_up(&self, from: Time, to: Time) -> bool {
        let protocol = self.driver.protocol.as_ref();
        let commands = protocol.map(|protocol| protocol.commands.as_slice()).unwrap_or_default();
        let mut up = true;
        for (at, command) in commands.iter().filter(|(at, _)| *at <= to) {
            if *at >= from && !up {
                return false;
            }
            if let backout::simulate::Command::World(backout::simulate::Event::Down(part, down)) = command
                && matches!(part, backout::simulate::Part::Alertmanager(_))
            {
                if *down && *at >= from {
                    return false;
                }
                up = !*down;
            }
        }
        up
    }
}
