//! How tests went, as a JUnit report for pipelines.

use std::fs;
use std::path::Path;

use quick_junit::{NonSuccessKind, Report as Document, TestCase, TestCaseStatus, TestSuite};

use super::super::exit::Failure;
use super::{Suite, Went};
use crate::policy::diagnostic::{Diagnostic, to_text};
use crate::worlds::{Line, Report};

/// Writes the report.
pub(super) fn write(path: &Path, suites: &[Suite]) -> Result<(), Failure> {
    let mut document = Document::new("backout test");
    document.add_test_suites(suites.iter().map(suite));
    let text = document.to_string().map_err(|error| Failure::internal(format!("cannot make the JUnit report: {error}")))?;
    fs::write(path, text).map_err(|error| Failure::usage(format!("cannot write `{}`: {error}", path.display())))
}

fn suite(suite: &Suite) -> TestSuite {
    let mut made = TestSuite::new(suite.path.as_str());
    match &suite.went {
        Went::Ran(_, reports) => made.add_test_cases(reports.iter().map(case)),
        Went::Wrong(diagnostics) => made.add_test_case(wrong(diagnostics)),
    };
    made
}

fn case(report: &Report) -> TestCase {
    let status = if report.passed() {
        TestCaseStatus::success()
    } else {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        let lines: Vec<String> = misses(report).collect();
        status.set_type("expectation").set_message(lines.first().cloned().unwrap_or_default());
        status.set_description(format!("{}\n\n{}", lines.join("\n"), timeline(report)));
        status
    };
    let mut made = TestCase::new(report.name.as_str(), status);
    made.set_classname(report.spot.file.as_str());
    made.set_time(report.took);
    made.extra.insert("line".into(), report.spot.line.to_string().into());
    made
}

/// A file that cannot be run.
fn wrong(diagnostics: &[Diagnostic]) -> TestCase {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    let first = diagnostics.iter().find(|diagnostic| diagnostic.is_error()).map(ToString::to_string);
    status.set_type("diagnostic").set_message(first.unwrap_or_default()).set_description(to_text(diagnostics));
    TestCase::new("the file can be run", status)
}

fn misses(report: &Report) -> impl Iterator<Item = String> {
    let failures = report.failures.iter().flat_map(|failure| {
        let at = &failure.at;
        failure.misses.iter().map(move |miss| format!("at {at}: {}: expected {}, got {}", miss.key, miss.expected, miss.got))
    });
    report.defects.iter().map(|defect| format!("a defect of the engine: {defect}")).chain(failures)
}

fn timeline(report: &Report) -> String {
    let line = |line: &Line| match line {
        Line::Happened(clock, what) => format!("    {clock}  {what}\n"),
        Line::Expected(clock, words, true) => format!(" ok {clock}  << {words}\n"),
        Line::Expected(clock, words, false) => format!("NOT {clock}  << {words}\n"),
    };
    report.timeline.iter().map(line).collect()
}
