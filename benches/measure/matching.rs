//! What it costs to find the policies of an alert, by how many there are and what their matchers are like.

use std::hint::black_box;
use std::time::Duration;

use backout::model::Labels;
use backout::policy::index::Index;
use backout::policy::matcher::{self, Matcher, all_match};
use tokio::time::Instant;

use crate::Options;
use crate::table::{head, median, row, short};

/// How many policies in a thousand have regular expressions only.
const KINDS: [(&str, usize); 3] =
    [("each with an equality", 0), ("10 % regular expressions only", 100), ("regular expressions only", 1000)];

pub(crate) fn run(options: &Options) {
    let alerts: Vec<Labels> = (0..320).map(alert).collect();
    let counts = [10, 100, 1000, 10_000];
    head(
        "Finding the policies of an alert, ns (320 alerts of 32 services, all that match are found)",
        &["matchers", "10", "100", "1,000", "10,000", "10,000 / 100", "10,000, one by one", "build of 10,000, ms"],
    );
    for (kind, share) in KINDS {
        let mut cells = vec![kind.to_owned()];
        let mut costs = Vec::new();
        for count in counts {
            let entries: Vec<Vec<Matcher>> = (0..count).map(|number| matchers(number, share)).collect();
            let index = Index::new(&entries);
            for labels in &alerts {
                let scanned: Vec<usize> = (0..count).filter(|at| all_match(&entries[*at], labels)).collect();
                assert_eq!(index.candidates(labels), scanned, "the index finds what a scan finds");
            }
            let cost = nanos(options, &alerts, |labels| index.candidates(labels).len());
            costs.push(cost);
            cells.push(short(cost));
            if count == 10_000 {
                cells.push(format!("{:.2}", cost / costs[1]));
                let scan = |labels: &Labels| entries.iter().filter(|entry| all_match(entry, labels)).count();
                cells.push(short(nanos(options, &alerts[..32], scan)));
                let begin = Instant::now();
                black_box(Index::new(&entries));
                cells.push(short(begin.elapsed().as_secs_f64() * 1000.0));
            }
        }
        row(&cells);
    }
}

/// The median of rounds; each turns over all alerts.
fn nanos(options: &Options, alerts: &[Labels], find: impl Fn(&Labels) -> usize) -> f64 {
    let time = Duration::from_millis(if options.quick { 20 } else { 200 });
    let round = || {
        let (begin, mut found) = (Instant::now(), 0);
        while begin.elapsed() < time {
            for labels in alerts {
                black_box(find(black_box(labels)));
            }
            found += alerts.len();
        }
        begin.elapsed().as_nanos() as f64 / found as f64
    };
    round();
    median(&[round(), round(), round(), round(), round()])
}

/// Two equalities and two regular expressions, or four of these.
fn matchers(number: usize, regex_in_thousand: usize) -> Vec<Matcher> {
    let regex = number % 1000 < regex_in_thousand;
    let service = if regex { format!("service=~\"svc-{number}(-.*)?\"") } else { format!("service=\"svc-{number}\"") };
    let severity = if regex { "severity=~\"crit.*|page\"" } else { "severity=\"critical\"" };
    let item = format!("{service},{severity},namespace=~\"team-.*\",alertname!~\"Watchdog|Info.*\"");
    matcher::parse_item(&item).expect("matchers").matchers
}

fn alert(number: usize) -> Labels {
    let pairs = [
        ("alertname", format!("Alert{}", number % 10)),
        ("cluster", "prod-eu-west-1a".to_owned()),
        ("container", "app".to_owned()),
        ("instance", format!("10.1.{}.7:8443", number % 256)),
        ("job", "kube-state-metrics".to_owned()),
        ("namespace", format!("team-{}", number % 40)),
        ("node", format!("ip-10-12-0-{}.internal", number % 256)),
        ("pod", format!("svc-{}-{number:09x}", number % 32)),
        ("prometheus", "monitoring/k8s".to_owned()),
        ("service", format!("svc-{}", number % 32)),
        ("severity", if number.is_multiple_of(4) { "warning" } else { "critical" }.to_owned()),
        ("team", "payments".to_owned()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
