//! What `backout test` needs for thirty days of virtual time with an alert a minute, by what comes of those alerts.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use backout::worlds::{self, Coverage};
use tokio::time::Instant;

use crate::Options;
use crate::table::{head, median, row, short};

/// A target whose alert fires for half a minute, every so many minutes.
const TARGETS: u32 = 60;

const POLICIES: &str = "\
policies:
  - name: shop
    owner: pager
    matchers: ['namespace = \"shop\"', 'severity = \"critical\"']
    mode: enforce
    paging: in_front
    targets: ['shop/*']
    facts:
      errors: {promql: 'app:errors:ratio{app=\"$name\"}'}
    decide:
      - {name: many-errors, when: 'facts.errors > 0.1', rollback: undo}
";

pub(crate) fn run(options: &Options) {
    let days = if options.quick { 1 } else { 30 };
    head(
        &format!("`backout test`: {days} days of virtual time with an alert a minute"),
        &["the alerts", "seconds", "µs an alert"],
    );
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("policies.yaml"), POLICIES).expect("written");
    for (name, text) in [
        ("no policy is about them", one(days, "info", "every: 1m, lasting: 30s")),
        ("one that fires all the time, looked at each minute", one(days, "critical", "while: 'facts.errors > 0.1'")),
        ("one in each hour and target: 60 incidents an hour", many(days)),
    ] {
        let path = folder.path().join("month_test.yaml");
        fs::write(&path, text).expect("written");
        let seconds: Vec<f64> = (0..options.rounds()).map(|_| time(&path)).collect();
        let seconds = median(&seconds);
        row(&[name.to_owned(), short(seconds), short(seconds * 1e6 / f64::from(days * 1440))]);
    }
}

/// Reads and runs a file; all of its tests must pass.
fn time(path: &Path) -> f64 {
    let begin = Instant::now();
    let loaded = worlds::load(path).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    let reports = worlds::run_all(&loaded, |_| true, &mut Coverage::default());
    let failed: BTreeSet<&str> = reports.iter().filter(|report| !report.passed()).map(|report| report.name.as_str()).collect();
    assert!(failed.is_empty() && reports.len() == 1, "{failed:?}");
    begin.elapsed().as_secs_f64()
}

/// One target and one alert.
fn one(days: u32, severity: &str, firing: &str) -> String {
    format!(
        "policy_files: policies.yaml
tests:
  - name: a month
    world: {{deployments: [{{name: web, namespace: shop, revisions: [{{image: 'web:1', live_for: 2d}}]}}]}}
    facts: {{errors: '0.3x{}'}}
    alerts:
      - labels: {{alertname: A, namespace: shop, deployment: web, severity: {severity}}}
        firing: {{from: 1m, to: {days}d, {firing}}}
    expect: [{{at: {days}d, actions: 0}}]
",
        days * 1440
    )
}

/// Many targets, one after the other.
fn many(days: u32) -> String {
    let (mut deployments, mut alerts) = (String::new(), String::new());
    for number in 1..=TARGETS {
        let _ = writeln!(
            deployments,
            "        - {{name: s{number}, namespace: shop, revisions: [{{image: 'web:1', live_for: 2d}}]}}"
        );
        let labels = format!("alertname: A, namespace: shop, deployment: s{number}, severity: critical");
        let firing = format!("from: {number}m, to: {days}d, every: {TARGETS}m, lasting: 30s");
        let _ = writeln!(alerts, "      - {{labels: {{{labels}}}, firing: {{{firing}}}}}");
    }
    format!(
        "policy_files: policies.yaml
tests:
  - name: a month
    world:
      deployments:
{deployments}    facts: {{errors: '0.3x{}'}}
    alerts:
{alerts}    expect: [{{at: {days}d, actions: 0}}]
",
        days * 1440
    )
}
