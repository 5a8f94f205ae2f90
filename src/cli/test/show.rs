//! How tests went, for people and for scripts.

use serde_json::{Value, json};

use super::super::exit::Failure;
use super::super::output::{Output, Style, Text};
use super::compare::Compared;
use super::{Suite, Went};
use crate::policy::diagnostic::{Diagnostic, to_text};
use crate::worlds::{Judged, Line, Report, Share};

/// Prints all of it.
pub(super) fn print(
    suites: &[Suite],
    judged: Option<&Judged>,
    compared: Option<&Compared>,
    diff: bool,
    output: Output,
) -> Result<(), Failure> {
    if output.is_json() {
        let mut all = as_json(suites, judged);
        all["compared"] = compared.map_or(Value::Null, Compared::as_json);
        return output.print_json(&all);
    }
    let mut text = output.text();
    for suite in suites {
        text.heading(Style::Bold, &suite.path);
        match &suite.went {
            Went::Wrong(diagnostics) => text.plain(&to_text(diagnostics)),
            Went::Ran(loaded, reports) => {
                // Notes are for `check`: nobody need do anything about them here.
                let warnings: Vec<Diagnostic> = loaded.warnings.iter().filter(|found| found.is_warning()).cloned().collect();
                text.plain(&to_text(&warnings));
                for report in reports {
                    let (word, style) = if report.passed() { ("  ok    ", Style::Green) } else { ("  FAIL  ", Style::Red) };
                    text.styled(style, word);
                    text.line(format_args!("{}", report.name));
                }
            }
        }
    }
    for report in suites.iter().flat_map(Suite::reports).filter(|report| !report.passed()) {
        failed(report, diff, &mut text);
    }
    if let Some(judged) = judged {
        coverage(judged, &mut text);
    }
    if let Some(compared) = compared {
        compared.write(&mut text);
    }
    summary(suites, &mut text);
    output.print(&text)
}

/// A test that failed: what, and the timeline of its world.
fn failed(report: &Report, diff: bool, text: &mut Text) {
    text.gap();
    text.styled(Style::Red, "FAIL");
    text.line(format_args!(": {}", report.name));
    text.line(format_args!("  --> {}", report.spot));
    for defect in &report.defects {
        text.line(format_args!("  a defect of the engine: {defect}"));
    }
    for failure in &report.failures {
        text.line(format_args!("  at {} (line {}):", failure.at, failure.spot.line));
        if diff {
            for (key, words) in &failure.held {
                text.line(format_args!("      {key}: {words}"));
            }
            for miss in &failure.misses {
                text.styled(Style::Red, &format!("    - {}: {}\n", miss.key, miss.expected));
                text.styled(Style::Green, &format!("    + {}: {}\n", miss.key, miss.got));
            }
        } else {
            for miss in &failure.misses {
                text.line(format_args!("    {}: expected {}, got {}", miss.key, miss.expected, miss.got));
            }
        }
    }
    text.heading(Style::Bold, "  what happened, and where it was expected otherwise:");
    for line in &report.timeline {
        match line {
            Line::Happened(clock, what) => {
                let what = what.replace('\n', &format!("\n{:1$}", "", clock.len() + 6));
                text.line(format_args!("    {clock}  {what}"));
            }
            Line::Expected(clock, words, true) => text.heading(Style::Green, &format!(" ok {clock}  << {words}")),
            Line::Expected(clock, words, false) => text.heading(Style::Red, &format!("NOT {clock}  << {words}")),
        }
    }
}

fn coverage(judged: &Judged, text: &mut Text) {
    text.gap();
    text.heading(Style::Bold, "coverage");
    let share = |share: &Share| format!("{} of {}", share.of, share.all);
    let Judged { rules, branches, brakes, gaps } = judged;
    text.line(format_args!(
        "  rules that decided: {}; branches of conditions: {}; brakes that held: {}",
        share(rules),
        share(branches),
        share(brakes)
    ));
    for gap in gaps {
        text.line(format_args!("  {}: policy `{}`: {}", gap.place, gap.policy, gap.what));
    }
}

fn summary(suites: &[Suite], text: &mut Text) {
    let reports = || suites.iter().flat_map(Suite::reports);
    let failed = reports().filter(|report| !report.passed()).count();
    let wrong = suites.iter().filter(|suite| matches!(suite.went, Went::Wrong(_))).count();
    text.gap();
    let counts = format!("{} in {}", counted(reports().count(), "test"), counted(suites.len(), "file"));
    if failed == 0 && wrong == 0 {
        text.styled(Style::Green, "ok");
        text.line(format_args!(": {counts}"));
        return;
    }
    text.styled(Style::Red, "not ok");
    let mut parts = Vec::new();
    if failed > 0 {
        parts.push(format!("{failed} failed"));
    }
    if wrong > 0 {
        parts.push(format!("{} cannot be run", counted(wrong, "file")));
    }
    text.line(format_args!(": {counts}, {}", parts.join(", ")));
}

fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn as_json(suites: &[Suite], judged: Option<&Judged>) -> Value {
    let suite = |suite: &Suite| match &suite.went {
        Went::Wrong(diagnostics) => json!({ "path": suite.path, "ok": false, "diagnostics": diagnostics, "tests": [] }),
        Went::Ran(loaded, reports) => json!({
            "path": suite.path,
            "ok": suite.passed(),
            "diagnostics": loaded.warnings,
            "policies": loaded.policies.hash,
            "tests": reports.iter().map(report).collect::<Vec<_>>(),
        }),
    };
    let share = |share: &Share| json!({ "exercised": share.of, "all": share.all });
    let coverage = judged.map(|judged| {
        let gap =
            |gap: &crate::worlds::Gap| json!({ "place": gap.place, "policy": gap.policy, "kind": gap.kind, "what": gap.what });
        json!({
            "rules": share(&judged.rules), "branches": share(&judged.branches), "brakes": share(&judged.brakes),
            "gaps": judged.gaps.iter().map(gap).collect::<Vec<_>>(),
        })
    });
    json!({
        "ok": suites.iter().all(Suite::passed),
        "files": suites.iter().map(suite).collect::<Vec<_>>(),
        "coverage": coverage,
    })
}

fn report(report: &Report) -> Value {
    let failure = |failure: &crate::worlds::Failure| {
        let misses = failure.misses.iter().map(|miss| json!({ "key": miss.key, "expected": miss.expected, "got": miss.got }));
        json!({
            "at": failure.at.to_string(), "place": failure.spot.to_string(), "misses": misses.collect::<Vec<_>>(),
        })
    };
    let line = |line: &Line| match line {
        Line::Happened(clock, what) => json!({ "at": clock, "what": what }),
        Line::Expected(clock, words, ok) => json!({ "at": clock, "expected": words, "ok": ok }),
    };
    json!({
        "name": report.name,
        "place": report.spot.to_string(),
        "ok": report.passed(),
        "failures": report.failures.iter().map(failure).collect::<Vec<_>>(),
        "defects": report.defects,
        "timeline": report.timeline.iter().map(line).collect::<Vec<_>>(),
    })
}
