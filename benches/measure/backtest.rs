//! What `backout backtest` needs for thirty days with two hundred incidents a day, once they are downloaded.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use backout::backtest::{self, Alert, Change, Facts, History, Run, Series, Settings, Workload};
use backout::model::{Labels, TargetRef, Time};
use backout::rules_dir;
use backout::simulate::Recorded;
use tokio::time::Instant;

use crate::Options;
use crate::table::{head, median, row, short};

/// Deployments; each has a release and two alerts a day.
const TARGETS: i64 = 100;
const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
/// How far samples are apart.
const STEP: Duration = Duration::from_secs(30);
/// 2026-03-01T00:00:00Z.
const ZERO: i64 = 1_772_323_200_000;

const POLICIES: &str = "\
policies:
  - name: shop
    owner: pager
    matchers: ['namespace = \"shop\"', 'severity = \"critical\"']
    mode: enforce
    paging: in_front
    targets: ['shop/*']
    for: 30s
    facts:
      errors: {promql: 'app:errors:ratio{app=\"$name\"}'}
    decide:
      - {name: many-errors, when: 'facts.errors > 0.1', rollback: undo}
      - {page: [pager]}
";

pub(crate) fn run(options: &Options) {
    let days = if options.quick { 2 } else { 30 };
    head(
        &format!("`backout backtest`: {days} days with 200 incidents a day, after the download"),
        &["incidents", "seconds", "would have rolled back", "peak MB"],
    );
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("policies.yaml"), POLICIES).expect("written");
    let loaded = rules_dir::load(folder.path(), true).unwrap_or_else(|error| panic!("{error}"));
    let policies = Arc::new(backtest::as_of_then(&loaded.policies));
    let mut seconds = Vec::new();
    let (mut incidents, mut acted) = (0, 0);
    fresh_peak();
    for _ in 0..options.rounds() {
        let history = history(days);
        let begin = Instant::now();
        let facts: Arc<dyn Recorded> = Arc::new(Facts::new(&history, STEP, Box::new(|_, from, to| Ok(errors(from, to)))));
        let settings = Settings { cluster: "prod".to_owned(), ..Settings::default() };
        let ledger = backtest::live(&history, &policies, &facts, &settings, &|_| {});
        let totals = ledger.totals();
        let page = backtest::page(&history, &ledger, "a bench", &[], None).expect("a page");
        seconds.push(begin.elapsed().as_secs_f64());
        assert!(ledger.defects.is_empty() && page.len() > 1000, "{:?}", ledger.defects);
        (incidents, acted) = (totals.incidents, totals.verdicts["rolled_back"]);
    }
    row(&[incidents.to_string(), short(median(&seconds)), acted.to_string(), short(peak())]);
}

/// Every target gets a release each morning; an alert fires soon after it, and another one in the evening.
fn history(days: i64) -> History {
    let begin = Time::from_millis(ZERO);
    let from = Time::from_millis(ZERO + DAY);
    let to = Time::from_millis(ZERO + (days + 1) * DAY);
    let mut history = History { from, to, begin, step: Some(STEP), ..History::default() };
    for number in 0..TARGETS {
        let name = format!("s{number}");
        let target = TargetRef::deployment("shop", &name).expect("names");
        let mut workload = Workload { replicas: vec![(begin, 3)], ..Workload::default() };
        release(&mut workload, ZERO - 20 * DAY, &name, 0);
        for day in 1..=days {
            let morning = ZERO + day * DAY + number * 7 * MINUTE;
            release(&mut workload, morning, &name, day);
            history.alerts.push(alert(&name, "HighErrors", morning + 5 * MINUTE));
            history.alerts.push(alert(&name, "Slow", morning + 11 * 60 * MINUTE));
        }
        history.workloads.insert(target, workload);
    }
    history.alerts.sort_by(|a, b| (a.from, &a.labels).cmp(&(b.from, &b.labels)));
    history
}

fn release(workload: &mut Workload, at: i64, name: &str, number: i64) {
    let set = format!("{name}-{number}");
    let images = Some(format!("registry.example/shop/{name}:1.{number}"));
    workload.changes.push(Change { at: Time::from_millis(at), release: set.clone(), images, back: false, ours: false });
    for pods in 1..=3 {
        workload.ready.push((Time::from_millis(at + i64::from(pods) * 20_000), set.clone(), pods));
    }
}

fn alert(name: &str, alertname: &str, at: i64) -> Alert {
    let texts = [("alertname", alertname), ("namespace", "shop"), ("deployment", name), ("severity", "critical")];
    let labels: Labels = texts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let moment = |by: i64| Time::from_millis(at + by * MINUTE);
    Alert { labels, onset: Some(moment(-2)), from: moment(0), to: Some(moment(25)) }
}

/// Half of all requests fail, all the time, a little more each minute.
fn errors(from: Time, to: Time) -> Vec<Series> {
    let minutes = (to.millis() - from.millis()) / MINUTE;
    let run = |minute: i64| {
        let at = from.millis() + minute * MINUTE;
        Run { from: at, to: at + MINUTE / 2, value: 0.5 + minute as f64 / 1e4 }
    };
    vec![Series { labels: BTreeMap::new(), runs: (0..minutes).map(run).collect(), unusable: false }]
}

/// From now on the peak counts anew.
fn fresh_peak() {
    // Where the kernel does not let us, earlier measurements count in.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn peak() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}
