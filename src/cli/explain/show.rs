//! How an explanation is printed for scripts and on a terminal. Decides nothing: every word comes from the incident and its decision.

use std::time::Duration;

use serde_json::{Value, json};

use super::brain::Explained;
use super::past::Past;
use crate::cli::output::{Style, Text};
use crate::decide::counterfactual::Counterfactual;
use crate::decide::decision::{Decision, Grip, Judgement, RuleTrail, Truth};
use crate::decide::effect::Heard;
use crate::decide::incident::{Incident, Lane, Member};
use crate::decide::observation::{Answer, Observation};
use crate::decide::presence::Presence;
use crate::decide::report;
use crate::model::{Brake, Fact, Mode, Number, Outcome, PeerAlertState, Plan, Resolution, Time};
use crate::policy::duration;
use crate::policy::types::Policies;

/// For scripts. `incident` is as in the report of the service.
pub(super) fn json(explained: &Explained, policies: &Policies, missing: &[String]) -> Value {
    let alerts = explained
        .heard
        .iter()
        .map(|(alert, heard)| json!({ "fingerprint": alert.fingerprint, "labels": alert.labels, "heard": word(*heard) }));
    let verdicts = explained.incidents.iter().map(|incident| {
        let decision = incident.decision.as_ref();
        json!({
            "lane": incident.lane.key(),
            "policy": incident.policy,
            "target": incident.target.as_ref().map(ToString::to_string),
            "outcome": decision.map_or(Outcome::Page, |decision| decision.outcome),
            "reason": decision.map_or_else(|| incident.page.as_ref().map(|page| page.reason), |decision| Some(decision.reason)),
            "brake": decision.and_then(|decision| decision.brake),
            "mode": decision.map(|decision| decision.mode),
            "summary": decision.map_or_else(|| incident.page.as_ref().map(|page| page.text.as_str()), |d| Some(&d.summary)),
            "plan": incident.plan.as_deref().map(Plan::hash),
            "was": explained.known.get(&incident.id),
            "otherwise": explained.otherwise.get(&incident.id).map(|all| all.iter().map(otherwise).collect::<Vec<_>>()),
            "diff": explained.diffs.get(&incident.id).and_then(|diff| diff.as_ref().ok()),
            "no_diff": explained.diffs.get(&incident.id).and_then(|diff| diff.as_ref().err()),
            "incident": report::json(incident)["incident"],
        })
    });
    json!({
        "now": explained.now.to_string(),
        "policies": { "hash": policies.hash, "commit": policies.commit },
        "memory": explained.memory.as_ref().map(|(from, at)| json!({ "from": from, "at": at.to_string() })),
        "alerts": alerts.collect::<Vec<_>>(),
        "verdicts": verdicts.collect::<Vec<_>>(),
        "missing": missing,
        "derived_again": explained.past,
    })
}

/// A counterfactual, with its sentence.
fn otherwise(one: &Counterfactual) -> Value {
    let mut value = serde_json::to_value(one).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        object.insert("sentence".to_owned(), one.sentence().into());
    }
    value
}

/// For people.
pub(super) fn write(explained: &Explained, missing: &[String], text: &mut Text) {
    for (alert, heard) in &explained.heard {
        let labels: Vec<String> = alert.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        text.styled(Style::Bold, "alert");
        text.line(format_args!(" {{{}}}", labels.join(", ")));
        let since = explained.now.since(alert.starts_at);
        text.line(format_args!("  fingerprint {}, since {} ({} ago)", alert.fingerprint, alert.starts_at, span(since)));
        if let Some(words) = not_news(*heard) {
            text.styled(Style::Yellow, &format!("  {words}"));
            text.gap();
        }
    }
    if let Some((from, at)) = &explained.memory {
        text.styled(Style::Bold, "remembered");
        text.line(format_args!(" by {from}, as of {at} ({} ago)", span(explained.now.since(*at))));
    }
    if let Some(past) = &explained.past {
        write_past(past, text);
    }
    explained.incidents.iter().for_each(|incident| write_incident(incident, explained, text));
    if missing.is_empty() {
        return;
    }
    text.gap();
    text.heading(Style::Bold, "not known here");
    missing.iter().for_each(|words| text.line(format_args!("  - {words}")));
}

fn write_past(past: &Past, text: &mut Text) {
    text.styled(Style::Bold, "derived again");
    text.line(format_args!(" from {}, by backout {}", past.journal, env!("CARGO_PKG_VERSION")));
    for one in &past.decisions {
        text.plain("  ");
        text.styled(Style::Green, "the same");
        text.plain("  ");
        text.hang();
        let how = if one.bytes { "byte for byte" } else { "in the bytes of an older program" };
        let remark = one.remark();
        text.line(format_args!("row {}, decided at {} by backout {}: {how}{remark}", one.row, one.at, one.program));
    }
}

/// A word for scripts.
fn word(heard: Heard) -> &'static str {
    match heard {
        Heard::News => "news",
        Heard::Duplicate => "duplicate",
        Heard::Stale => "stale",
        Heard::Unmatched => "unmatched",
        Heard::Foreign => "foreign",
        Heard::Own => "own",
    }
}

/// Why nothing comes of an alert.
pub(super) fn not_news(heard: Heard) -> Option<&'static str> {
    match heard {
        Heard::News | Heard::Stale => None,
        Heard::Duplicate => {
            Some("an incident has it already (what would be decided of that one now, follows), or it is in the list twice")
        }
        Heard::Unmatched => Some("no policy is about it, or it is resolved: it would be counted, and nothing else"),
        Heard::Foreign => Some("its label `cluster` names another cluster: it would be counted, and nothing else"),
        Heard::Own => Some("it is a page of backout itself: it would be dropped"),
    }
}

fn write_incident(incident: &Incident, explained: &Explained, text: &mut Text) {
    let now = explained.now;
    let target = incident.target.as_ref().map_or_else(|| "no target".to_owned(), ToString::to_string);
    text.gap();
    text.styled(Style::Bold, &format!("policy {} on {target}", incident.policy));
    match &incident.lane {
        Lane::Live => text.gap(),
        Lane::Shadow(_) => text.line(format_args!(" (in shadow: decides beside the others)")),
    }
    if let Some(state) = explained.known.get(&incident.id) {
        text.line(format_args!("  incident {} is open and `{state}`; decided anew, now:", incident.id));
    }
    let Some(decision) = &incident.decision else {
        let page = incident.page.as_ref();
        let (reason, words) = page.map_or(("", "no verdict"), |page| (page.reason.as_str(), page.text.as_str()));
        write_verdict(Outcome::Page, reason, words, text);
        return;
    };
    let reason = match decision.brake {
        Some(brake) => format!("{}: {brake}", decision.reason),
        None => decision.reason.to_string(),
    };
    write_verdict(decision.outcome, &reason, &decision.summary, text);
    if let (Outcome::Rollback, Some(plan)) = (decision.outcome, &decision.plan) {
        text.line(format_args!("  then: {}", what_follows(plan)));
    }
    text.line(format_args!("  by {}, policies {}", decision.place, decision.policies.get(..12).unwrap_or_default()));
    text.heading(Style::Bold, "rules");
    decision.rules.iter().for_each(|rule| write_rule(rule, text));
    if !decision.brakes.is_empty() {
        text.heading(Style::Bold, "brakes");
        decision.brakes.iter().for_each(|judgement| write_brake(judgement, now, text));
        let holding: Vec<Brake> = decision.brakes.iter().filter(|j| j.holds()).map(|j| j.brake).collect();
        if holding == [Brake::QuietStart] && explained.memory.is_none() {
            let words = "  only `quiet_start` holds, because explain remembers nothing: a service that has been watching since \
                         before the onset decides by the rest";
            text.heading(Style::Yellow, words);
        }
    }
    text.heading(Style::Bold, "facts");
    incident.members.values().for_each(|member| write_onset(member, now, text));
    write_facts(decision, now, text);
    if let Some(plan) = &decision.plan {
        write_plan(plan, decision.outcome, text);
        explained.diffs.get(&incident.id).into_iter().for_each(|diff| write_diff(diff, text));
    }
    explained.otherwise.get(&incident.id).into_iter().for_each(|found| write_otherwise(found, text));
}

/// What the plan changes in the pod template.
fn write_diff(diff: &Result<String, String>, text: &mut Text) {
    let lines = match diff {
        Err(why) => return text.line(format_args!("  what it changes cannot be shown: {why}")),
        Ok(lines) if lines.is_empty() => {
            return text.line(format_args!("  both templates are the same, but for what is redacted"));
        }
        Ok(lines) => lines,
    };
    text.heading(Style::Bold, "what it changes");
    for line in lines.lines() {
        let style = match line.as_bytes().first() {
            Some(b'+') => Style::Green,
            Some(b'-') => Style::Red,
            Some(b'@') => Style::Dim,
            _ => {
                text.line(format_args!("  {line}"));
                continue;
            }
        };
        text.plain("  ");
        text.heading(style, line);
    }
}

fn write_otherwise(found: &[Counterfactual], text: &mut Text) {
    text.heading(Style::Bold, "otherwise");
    if found.is_empty() {
        text.line(format_args!("  no number and no time that it was decided by would have flipped the verdict alone"));
    }
    for one in found {
        text.plain("  - ");
        text.hang();
        text.line(format_args!("{}", one.sentence()));
    }
}

fn write_verdict(outcome: Outcome, reason: &str, summary: &str, text: &mut Text) {
    let style = match outcome {
        Outcome::Rollback => Style::Green,
        Outcome::Page => Style::Red,
        Outcome::FixForward => Style::Yellow,
    };
    text.plain("  verdict: ");
    text.styled(style, outcome.as_str());
    text.line(format_args!(" ({reason})"));
    text.line(format_args!("  {summary}"));
}

fn what_follows(plan: &Plan) -> String {
    match plan.mode {
        Mode::Shadow => "announced as what would have been done; nothing is written".to_owned(),
        Mode::Approve => "a person is asked for a yes to the plan's hash".to_owned(),
        Mode::Enforce => format!(
            "a countdown of {}, in which anybody may veto; then dry run, evidence, everything read and \
                                  decided again, and the write",
            duration::format(plan.countdown)
        ),
    }
}

fn write_rule(rule: &RuleTrail, text: &mut Text) {
    text.plain("  ");
    write_truth(&rule.truth, text);
    text.line(format_args!("  {} ({})", rule.rule, rule.place));
    if !rule.matchers {
        text.line(format_args!("           no firing alert satisfies its matchers"));
    }
    for (source, truth, values) in &rule.conditions {
        text.plain("           ");
        write_truth(truth, text);
        text.line(format_args!("  {source}"));
        values.iter().for_each(|value| text.line(format_args!("                    {value}")));
        if let Truth::Unknown(why) = truth {
            text.line(format_args!("                    {why}"));
        }
    }
}

fn write_truth(truth: &Truth, text: &mut Text) {
    match truth {
        Truth::True => text.styled(Style::Green, "true   "),
        Truth::False => text.styled(Style::Dim, "false  "),
        Truth::Unknown(_) => text.styled(Style::Yellow, "unknown"),
    }
}

fn write_brake(judgement: &Judgement, now: Time, text: &mut Text) {
    let (style, grip) = match &judgement.grip {
        Grip::Free => (Style::Green, "lets go"),
        Grip::Held => (Style::Red, "HOLDS"),
        Grip::Blind => (Style::Red, "BLIND, HOLDS"),
        Grip::Off(_) => (Style::Yellow, "off"),
        Grip::Overridden => (Style::Yellow, "overridden"),
    };
    text.plain(&format!("  {:<14}", judgement.brake.as_str()));
    text.styled(style, &format!("{grip:<13}"));
    text.plain(" ");
    text.hang();
    let until = judgement.until.filter(|until| *until > now);
    let until = until.map_or_else(String::new, |until| format!(" (lets go in {})", span(until.since(now))));
    text.line(format_args!("{}{until}", judgement.because));
}

fn write_onset(member: &Member, now: Time, text: &mut Text) {
    let began = match &member.onset.at {
        Ok(at) => format!("{at}, {} ago", span(now.since(*at))),
        Err(why) => format!("unknown: {why}"),
    };
    text.line(format_args!(
        "  {:<22} {began} [{}]",
        format!("onset of {}", member.alert.label("alertname")),
        member.onset.source
    ));
}

fn write_facts(decision: &Decision, now: Time, text: &mut Text) {
    let Observation { at, workload, alerts, values, texts, .. } = &decision.observation;
    match workload {
        Some(Resolution::Found { workload }) => {
            let current = format!("runs {} ({})", workload.images.join(", "), workload.release.short());
            text.line(format_args!("  {:<22} {current} [read live {} ago]", "target", span(now.since(*at))));
            let replicas = workload.replicas;
            text.line(format_args!(
                "  {:<22} {} of {} pods available; {} ReplicaSets; owner: {}",
                "",
                replicas.available,
                replicas.desired,
                workload.replica_sets.len(),
                workload.owner
            ));
        }
        Some(Resolution::Unresolved { why }) => text.line(format_args!("  {:<22} not found: {why}", "target")),
        Some(Resolution::Unknown { why }) => text.line(format_args!("  {:<22} unknown: {why}", "target")),
        None => {}
    }
    let presence = match &decision.presence {
        Presence::Firing => "fires".to_owned(),
        Presence::Silenced(by) => format!("silenced by {by}"),
        Presence::Inhibited => "inhibited by another alert".to_owned(),
        Presence::Resolved => "resolved, confirmed".to_owned(),
        Presence::Unknown(why) => format!("unknown: {why}"),
    };
    text.line(format_args!("  {:<22} {presence}", "alerts"));
    for peer in &alerts.peers {
        let said = match &peer.value {
            Ok(view) => {
                let states: Vec<&str> = view.alerts.iter().map(|alert| state(&alert.state)).collect();
                if states.is_empty() { "holds none of them".to_owned() } else { format!("holds {}", states.join(", ")) }
            }
            Err(why) => format!("unknown: {why}"),
        };
        text.line(format_args!("  {:<22} {said} [{}, {} ago]", "", peer.source, span(now.since(peer.at))));
    }
    values.iter().for_each(|(name, answer)| write_value(name, answer, now, text));
    for (name, fact) in texts {
        let value = match &fact.value {
            Ok(value) => format!("{value:?}"),
            Err(why) => format!("unknown: {why}"),
        };
        text.line(format_args!("  {:<22} {value} [{}, {} ago]", format!("facts.{name}"), fact.source, span(now.since(fact.at))));
    }
}

fn state(state: &PeerAlertState) -> &'static str {
    match state {
        PeerAlertState::Active => "an active one",
        PeerAlertState::Silenced { .. } => "a silenced one",
        PeerAlertState::Inhibited => "an inhibited one",
    }
}

fn write_value(name: &str, answer: &Answer, now: Time, text: &mut Text) {
    let mut line = |name: &str, fact: &Fact<Number>| {
        let value = match &fact.value {
            Ok(number) => number.get().to_string(),
            Err(why) => format!("unknown: {why}"),
        };
        text.line(format_args!("  {name:<22} {value} [{}, {} ago]", fact.source, span(now.since(fact.at))));
    };
    line(&format!("facts.{name}"), &answer.value);
    if let Some(floor) = &answer.floor {
        line("  traffic behind it", floor);
    }
}

fn write_plan(plan: &Plan, outcome: Outcome, text: &mut Text) {
    text.styled(Style::Bold, &format!("plan {}", plan.hash()));
    text.line(format_args!("{}", if outcome == Outcome::Rollback { "" } else { " (held: it would not be carried out)" }));
    for (name, release) in [("from", &plan.from), ("to", &plan.to)] {
        let revision = release.revision.map_or_else(String::new, |number| format!(", revision {number}"));
        text.line(format_args!("  {name:<10}{} ({}{revision})", release.label(), release.digest));
    }
    let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
    let level = &plan.level;
    text.line(format_args!("  procedure {} (level {} of {}): {}", plan.procedure, level.number, level.of, steps.join(", ")));
    text.line(format_args!("  mode      {}, countdown {}", plan.mode.as_str(), duration::format(plan.countdown)));
    if !plan.on_failure.is_empty() {
        let steps: Vec<String> = plan.on_failure.iter().map(ToString::to_string).collect();
        text.line(format_args!("  if it fails {}", steps.join(", ")));
    }
    for (number, verify) in plan.verify.stages().enumerate() {
        let mut proof = Vec::new();
        proof.extend(verify.rollout.then(|| "the rollout is complete".to_owned()));
        proof.extend(verify.alert.then(|| "the alerts are resolved".to_owned()));
        proof.extend(verify.facts.iter().cloned());
        proof.extend(verify.http.iter().map(|check| format!("{} answers", check.url)));
        let word = if number == 0 { "proof" } else { "then" };
        text.line(format_args!("  {word:<9} within {}: {}", duration::format(verify.within), proof.join("; ")));
    }
}

/// Rounded to seconds once there are some.
fn span(span: Duration) -> String {
    if span < Duration::from_secs(1) { "0s".to_owned() } else { duration::format(Duration::from_secs(span.as_secs())) }
}
