//! The report of an incident: what happened, when, and why. For people as Markdown, for scripts as JSON.

mod html;

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::decision::{Decision, Grip, Truth};
use super::incident::{Incident, Phase};
use crate::model::{PostedChange, hides};
use crate::policy::duration;

pub use html::page as html;

/// The figures kept for every incident, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// From the change to the onset.
    pub detect: Option<Duration>,
    /// From the onset to the first verdict.
    pub decide: Option<Duration>,
    /// From the first verdict to the intent.
    pub start: Option<Duration>,
    /// From the intent to the complete rollout.
    pub roll_back: Option<Duration>,
    /// From the complete rollout to the proof.
    pub verify: Option<Duration>,
    /// From the onset to the proof, or to quiet.
    pub downtime: Option<Duration>,
}

impl Figures {
    /// The figures of an incident.
    pub fn of(incident: &Incident) -> Self {
        let onset = incident.onset().ok();
        let attempt = incident.attempt();
        let rolled_back = attempt.and_then(|attempt| attempt.rolled_back_at);
        Self {
            detect: onset.zip(incident.change_landed_at).map(|(onset, landed)| onset.since(landed)),
            decide: incident.decided_at.zip(onset).map(|(decided, onset)| decided.since(onset)),
            start: attempt.zip(incident.decided_at).map(|(attempt, decided)| attempt.intended_at.since(decided)),
            roll_back: attempt.zip(rolled_back).map(|(attempt, at)| at.since(attempt.intended_at)),
            verify: attempt.and_then(|attempt| attempt.ended).zip(rolled_back).map(|((at, _), rolled)| at.since(rolled)),
            downtime: incident.downtime(),
        }
    }
}

/// The report as JSON: the incident as it is remembered, and its figures.
pub fn json(incident: &Incident) -> serde_json::Value {
    serde_json::json!({ "incident": incident, "figures": Figures::of(incident) })
}

/// The report as Markdown.
pub fn markdown(incident: &Incident) -> String {
    markdown_with(incident, &[])
}

/// The same with the changes that were posted of its target, see [`around`].
pub fn markdown_with(incident: &Incident, changes: &[&PostedChange]) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write_markdown(incident, changes, &mut out);
    out
}

/// The posted changes that belong into an incident's report: from a day before its onset until it was over.
pub fn around<'a>(incident: &Incident, changes: &'a [PostedChange]) -> Vec<&'a PostedChange> {
    const BEFORE: Duration = Duration::from_secs(24 * 60 * 60);
    let begin = incident.onset().unwrap_or(incident.opened_at).min(incident.opened_at) - BEFORE;
    let over = match incident.phase {
        Phase::Closed { at, .. } => Some(at),
        _ => None,
    };
    changes.iter().filter(|change| change.at >= begin && over.is_none_or(|over| change.at <= over)).collect()
}

fn write_markdown(incident: &Incident, changes: &[&PostedChange], out: &mut String) -> std::fmt::Result {
    let target = incident.target.as_ref().map_or_else(|| "unknown target".to_owned(), ToString::to_string);
    writeln!(out, "# Incident {}: {} on {target}\n", incident.id, code(&incident.policy))?;
    writeln!(out, "State: **{}**, opened {}.\n", incident.phase.as_str(), incident.opened_at)?;
    if let Some(page) = &incident.page {
        writeln!(out, "Page ({}, sent {} times): {}\n", page.reason, page.count, code(&page.text))?;
        if let Some(leader) = &page.folded_into {
            writeln!(out, "It is part of the page of incident {leader}, which has the same cause.\n")?;
        }
    }
    if let Some(marked) = &incident.marked {
        let (mark, by, why) = (marked.mark.as_str(), code(&marked.by), code(&marked.why));
        writeln!(out, "Marked **{mark}** by {by} at {}: {why}\n", marked.at)?;
    }
    write_alerts(incident, out)?;
    if let Some(decision) = &incident.decision {
        write_decision(decision, out)?;
    }
    if let Some(plan) = &incident.plan {
        writeln!(out, "\n## Plan `{}`\n", plan.hash())?;
        writeln!(out, "- from {} (`{}`)", code(&plan.from.label()), plan.from.digest.short())?;
        writeln!(out, "- to {} (`{}`)", code(&plan.to.label()), plan.to.digest.short())?;
        writeln!(
            out,
            "- procedure {}, mode {}, countdown {}",
            plan.procedure,
            plan.mode.as_str(),
            duration::format(plan.countdown)
        )?;
    }
    for (procedure, why) in &incident.passed_over {
        writeln!(out, "\nProcedure {} was passed over, with nothing touched: {}", code(procedure), code(why))?;
    }
    for attempt in &incident.attempts {
        let ended = attempt.ended.map_or_else(|| "under way".to_owned(), |(at, reason)| format!("{reason} at {at}"));
        writeln!(out, "\n## Attempt at {}: {ended}\n", attempt.intended_at)?;
        for (name, words) in &attempt.checks {
            writeln!(out, "- {}: {}", code(name), code(words))?;
        }
    }
    write_figures(incident, out)?;
    if !changes.is_empty() {
        writeln!(out, "\n## Changes that were posted\n")?;
    }
    for change in changes {
        let barrier = if change.barrier { ", **a data barrier**" } else { "" };
        let more = change.url.as_ref().map_or_else(String::new, |url| format!(", {}", code(url)));
        writeln!(out, "- {} {}{barrier}{more}", change.at, code(&change.words()))?;
    }
    writeln!(out, "\n## What happened\n")?;
    for note in &incident.notes {
        writeln!(out, "- {} {}", note.at, code(&note.text))?;
    }
    if let Some(evidence) = &incident.evidence {
        writeln!(out, "\n## Evidence\n")?;
        for (name, text) in &evidence.sections {
            let fence = "`".repeat(longest_run(text).max(2) + 1);
            writeln!(out, "### {}\n\n{fence}\n{text}\n{fence}\n", code(name))?;
        }
        for missing in &evidence.missing {
            writeln!(out, "- not collected: {}", code(missing))?;
        }
    }
    Ok(())
}

fn write_alerts(incident: &Incident, out: &mut String) -> std::fmt::Result {
    writeln!(out, "## Alerts\n\n| alert | fires since | condition began | state |\n|---|---|---|---|")?;
    for member in incident.members.values() {
        let onset = member.onset.at.as_ref().map_or_else(|why| format!("unknown: {}", cell(&why.detail)), ToString::to_string);
        let state = member.resolved_at.map_or_else(|| "firing".to_owned(), |at| format!("resolved {at}"));
        writeln!(out, "| {} | {} | {onset} | {state} |", cell(member.alert.label("alertname")), member.alert.starts_at)?;
    }
    if incident.forgotten_alerts > 0 {
        writeln!(out, "\n{} alerts that ended before are not listed.", incident.forgotten_alerts)?;
    }
    Ok(())
}

/// A decision as a part of a report: its verdict, rules and brakes.
pub fn decision(decision: &Decision) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write_decision(decision, &mut out);
    out
}

fn write_decision(decision: &Decision, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n## Decision: {} ({})\n\n{}\n", decision.outcome.as_str(), decision.reason, code(&decision.summary))?;
    let commit = decision.commit.as_deref().map_or_else(String::new, |commit| format!(", commit `{commit}`"));
    writeln!(out, "By `{}` ({}), policies `{}`{commit}.\n", decision.policy, decision.place, short(&decision.policies))?;
    for rule in &decision.rules {
        writeln!(out, "- rule {} ({}): {}", code(&rule.rule), rule.place, truth(&rule.truth))?;
        if !rule.matchers {
            writeln!(out, "  - no firing alert satisfies its matchers")?;
        }
        for (source, outcome, read) in &rule.conditions {
            writeln!(out, "  - {}: {}", code(source), truth(outcome))?;
            for value in read {
                writeln!(out, "    - {}", code(value))?;
            }
        }
    }
    if !decision.brakes.is_empty() {
        writeln!(out, "\n| brake | | because |\n|---|---|---|")?;
        for judgement in &decision.brakes {
            let grip = match &judgement.grip {
                Grip::Free => "lets go",
                Grip::Held => "**holds**",
                Grip::Blind => "**is blind and holds**",
                Grip::Off(_) => "off",
                Grip::Overridden => "overridden",
            };
            writeln!(out, "| {} | {grip} | {} |", judgement.brake, cell(&judgement.because))?;
        }
    }
    Ok(())
}

fn write_figures(incident: &Incident, out: &mut String) -> std::fmt::Result {
    let figures = Figures::of(incident);
    writeln!(out, "\n## Figures\n")?;
    let rows = [
        ("time to detect", figures.detect),
        ("time to decide", figures.decide),
        ("time to start", figures.start),
        ("time to roll back", figures.roll_back),
        ("time to verify", figures.verify),
        ("downtime", figures.downtime),
    ];
    for (name, value) in rows {
        writeln!(out, "- {name}: {}", value.map_or_else(|| "-".to_owned(), duration::format))?;
    }
    Ok(())
}

fn truth(truth: &Truth) -> String {
    match truth {
        Truth::True => "true".to_owned(),
        Truth::False => "false".to_owned(),
        Truth::Unknown(why) => format!("unknown: {}", code(why)),
    }
}

/// Text from outside as inline code: on one line, with a fence longer than any run of backticks in it, and nothing that hides.
pub fn code(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() || hides(c) { ' ' } else { c }).collect();
    let fence = "`".repeat(longest_run(&line) + 1);
    let pad = if line.starts_with('`') || line.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{line}{pad}{fence}")
}

/// The same inside a table, where a bar would end the cell.
pub fn cell(text: &str) -> String {
    code(&text.replace('|', "¦"))
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{ChangeId, ChangeKind, Evidence, Reason, TargetRef, Time};

    #[test]
    fn text_from_outside_stays_inside_its_fence() {
        assert_eq!(code("plain"), "`plain`");
        assert_eq!(code("a\nb"), "`a b`");
        assert_eq!(code("`rm -rf`"), "`` `rm -rf` ``");
        assert_eq!(cell("a|b"), "`a¦b`");
        assert_eq!(code("`begins"), "`` `begins ``");
        assert_eq!(code("ends`"), "`` ends` ``");
    }

    /// An incident of the demo, as its API told it.
    pub(super) fn example() -> Incident {
        serde_json::from_str(include_str!("example.json")).expect("an incident")
    }

    fn posted(id: &str, at: Time) -> PostedChange {
        PostedChange {
            id: ChangeId(id.to_owned()),
            content: String::new(),
            target: TargetRef::deployment("shop", "checkout").expect("valid names"),
            kind: ChangeKind::Flag,
            from: Some("off".to_owned()),
            to: Some("on".to_owned()),
            by: "alice".to_owned(),
            at,
            barrier: id == "barrier",
            url: (id == "barrier").then(|| "https://ci.example/7".to_owned()),
        }
    }

    #[test]
    fn a_report_reads_as_it_was_read() {
        let mut incident = example();
        let at = incident.opened_at;
        incident.forgotten_alerts = 2;
        incident.passed_over = vec![("by-helm".to_owned(), "no release".to_owned())];
        let sections = [("logs".to_owned(), "```\nfenced\n```".to_owned())].into();
        incident.evidence = Some(Arc::new(Evidence { sections, missing: vec!["events".to_owned()] }));
        let changes = [posted("flag", at), posted("barrier", at)];
        let report = markdown_with(&incident, &changes.iter().collect::<Vec<_>>());
        for (part, told) in [
            ("what it is", "# Incident i"),
            ("its state", "State: **closed**, opened 2026-"),
            ("what is not listed", "\n2 alerts that ended before are not listed.\n"),
            ("a way not taken", "\nProcedure `by-helm` was passed over, with nothing touched: `no release`\n"),
            ("the decision", "\n## Decision: rollback ("),
            ("the figures", "\n## Figures\n\n- time to detect: 6s257ms\n"),
            ("a change", &format!("- {at} `flag off -> on by alice`\n")),
            ("a barrier", &format!("- {at} `flag off -> on by alice`, **a data barrier**, `https://ci.example/7`\n")),
            ("a longer fence than the text has", "### `logs`\n\n````\n```\nfenced\n```\n````\n"),
            ("what is missing", "- not collected: `events`\n"),
        ] {
            assert!(report.contains(told), "{part}: no {told:?} in\n{report}");
        }
        assert!(report.contains("\n## Alerts\n") && report.contains("|---|---|---|---|\n| `"), "{report}");
    }

    #[test]
    fn what_there_is_none_of_is_not_spoken_of() {
        let report = markdown(&example());
        assert_eq!(report, markdown_with(&example(), &[]));
        assert!(report.starts_with("# Incident"), "{report}");
        for title in ["are not listed", "## Changes that were posted", "no firing alert satisfies", "was passed over"] {
            assert!(!report.contains(title), "{title}");
        }
        let mut unmatched = example();
        let decision = Arc::make_mut(unmatched.decision.as_mut().expect("a decision"));
        decision.rules[0].matchers = false;
        assert!(markdown(&unmatched).contains("  - no firing alert satisfies its matchers\n"));
    }

    #[test]
    fn changes_from_a_day_before_the_onset_until_the_end_belong_to_an_incident() {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        const MILLI: Duration = Duration::from_millis(1);
        let mut incident = example();
        let onset = incident.onset().expect("an onset");
        assert!(onset < incident.opened_at);
        let Phase::Closed { at: end, .. } = incident.phase else { panic!("it is closed") };
        let changes = [
            posted("too early", onset - DAY - MILLI),
            posted("a day before", onset - DAY),
            posted("between", incident.opened_at),
            posted("at the end", end),
            posted("too late", end + MILLI),
        ];
        let ids = |incident: &Incident| around(incident, &changes).iter().map(|change| change.id.0.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&incident), ["a day before", "between", "at the end"]);
        incident.phase = Phase::Paged;
        assert_eq!(ids(&incident), ["a day before", "between", "at the end", "too late"], "it is not over");
    }

    #[test]
    fn the_figures_are_the_times_between_what_happened() {
        let mut incident = example();
        let onset = incident.onset().expect("an onset");
        let at = |seconds| onset + Duration::from_secs(seconds);
        incident.change_landed_at = Some(onset - Duration::from_secs(6));
        incident.decided_at = Some(at(10));
        incident.attempts[0].intended_at = at(40);
        incident.attempts[0].rolled_back_at = Some(at(100));
        incident.attempts[0].ended = Some((at(300), Reason::Verified));
        let figures = Figures::of(&incident);
        let seconds = |span: Option<Duration>| span.map(|span| span.as_secs());
        let found = [figures.detect, figures.decide, figures.start, figures.roll_back, figures.verify].map(seconds);
        assert_eq!(found, [6, 10, 30, 60, 200].map(Some));
        assert_eq!(figures.downtime, incident.downtime());
    }
}
