//! What `backout check` needs for a thousand files, from the start of the process to its end.

use std::fs;
use std::process::Command;

use tokio::time::Instant;

use crate::Options;
use crate::table::{head, median, row, short};

pub(crate) fn run(options: &Options) {
    let files = if options.quick { 100 } else { 1000 };
    head(&format!("`backout check` of {files} files, each with a query and three rules"), &["files", "seconds"]);
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..files {
        fs::write(folder.path().join(format!("{number:04}.yaml")), policy(number)).expect("written");
    }
    let seconds: Vec<f64> = (0..options.rounds() * 3).map(|_| time(folder.path())).collect();
    row(&[files.to_string(), short(median(&seconds))]);
}

fn time(rules: &std::path::Path) -> f64 {
    let begin = Instant::now();
    let mut check = Command::new(env!("CARGO_BIN_EXE_backout"));
    let output = check.args(["check", "--cluster-name", "measure", "--rules"]).arg(rules).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    begin.elapsed().as_secs_f64()
}

fn policy(number: usize) -> String {
    let ratio = |code: &str| format!("sum(rate(http_requests_total{{namespace=\"$namespace\",deployment=\"$name\"{code}}}[5m]))");
    format!(
        "policies:
  - name: shop-{number}
    owner: pager
    matchers: ['namespace = \"team-{number}\"', 'severity = \"critical\"']
    mode: enforce
    paging: in_front
    targets: ['team-{number}/*']
    facts:
      errors: {{promql: '{} / {}'}}
    decide:
      - {{name: data, matchers: ['kind = \"corruption\"'], page: [pager]}}
      - {{name: many-errors, when: 'facts.errors > 0.1 && change.age < duration(\"1h\")', rollback: undo}}
      - {{name: rest, fix_forward: [tracker]}}
",
        ratio(",code=~\"5..\""),
        ratio("")
    )
}
