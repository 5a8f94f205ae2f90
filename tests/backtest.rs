//! `backout backtest` on a real Prometheus: thirty days that were made up, written as blocks by promtool, whose right answers are
//! known in advance.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::{Prometheus, beside, eventually};
use tempfile::TempDir;

/// 2026-03-01T00:00:00Z.
const ZERO: i64 = 1_772_323_200;
const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;
/// The story: a day of lead, then thirty days.
const DAYS: i64 = 31;
/// Steady series have a sample so often. An instant query looks five minutes back.
const STEADY: i64 = 4 * MINUTE;
/// OpenMetrics has no stale marks: a series is seen for so long after its last sample.
const SEEN: i64 = 5 * MINUTE;

const EVIL: &str = "<script>alert('x')</script><img src=x onerror=alert(1)>";

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
      errors: {promql: 'shop_errors_ratio{app=\"$name\"}'}
    decide:
      - {name: many-errors, when: 'facts.errors > THRESHOLD', rollback: slowly}
      - {name: rest, page: [pager]}
  - name: trial
    matchers: ['namespace = \"shop\"', 'severity = \"critical\"']
    decide:
      - {name: noted, when: 'annotations.runbook == \"none\"', rollback: undo}
procedures:
  - name: slowly
    countdown: 6m
    steps: [undo]
    verify: {within: 10m, rollout: complete, alert: resolved}
";

/// Series under construction: by metric, by labels, samples by time.
#[derive(Default)]
struct Story {
    metrics: BTreeMap<&'static str, BTreeMap<String, BTreeMap<i64, f64>>>,
}

/// A time of the story: a day, an hour, a minute.
fn at(day: i64, hour: i64, minute: i64) -> i64 {
    ZERO + day * DAY + hour * 60 * MINUTE + minute * MINUTE
}

impl Story {
    fn set(&mut self, metric: &'static str, labels: &str, when: i64, value: f64) {
        self.metrics.entry(metric).or_default().entry(labels.to_owned()).or_default().insert(when, value);
    }

    /// The same value from one time to another.
    fn steady(&mut self, metric: &'static str, labels: &str, from: i64, to: i64, value: f64) {
        let mut when = from;
        while when < to {
            self.set(metric, labels, when, value);
            when += STEADY;
        }
        self.set(metric, labels, to - 1, value);
    }

    /// A Deployment of two pods with its releases, each from a time on; the last one lives to the end. What follows an `@` is not
    /// of the image.
    fn deployment(&mut self, name: &str, releases: &[(&str, i64)]) {
        let (begin, end) = (ZERO, ZERO + DAYS * DAY);
        self.steady("kube_deployment_spec_replicas", &format!(r#"namespace="shop",deployment="{name}""#), begin, end, 2.0);
        let mut first: BTreeMap<&str, i64> = BTreeMap::new();
        for (image, from) in releases {
            first.entry(image).or_insert(*from);
        }
        for (number, (image, created)) in first.iter().enumerate() {
            let set = format!("{name}-{number}");
            let shown = image.split('@').next().unwrap_or_default();
            let labels = format!(r#"namespace="shop",replicaset="{set}""#);
            let there = (*created).max(begin);
            let owner = format!(r#"{labels},owner_kind="Deployment",owner_name="{name}",owner_is_controller="true""#);
            self.steady("kube_replicaset_owner", &owner, there, end, 1.0);
            self.steady("kube_replicaset_created", &labels, there, end, *created as f64);
            for (place, (other, from)) in releases.iter().enumerate() {
                let from = (*from).max(there);
                let to = releases.get(place + 1).map_or(end, |(_, next)| *next);
                if from >= to {
                    continue;
                }
                let pods = if other == image { 2.0 } else { 0.0 };
                self.steady("kube_replicaset_spec_replicas", &labels, from, to, pods);
                self.steady("kube_replicaset_status_ready_replicas", &labels, from, to, pods);
                if other == image {
                    let pod =
                        format!(r#"namespace="shop",pod="{set}-abcde",container="app",image="{shown}",image_spec="{shown}""#);
                    self.steady("kube_pod_container_info", &pod, from, to, 1.0);
                }
            }
        }
    }

    /// An alert that fires from one time to another, a minute or two after its condition began.
    fn alert(&mut self, labels: &str, onset: i64, from: i64, to: i64) {
        let mut when = from;
        while when <= to - SEEN {
            self.set("ALERTS", &format!(r#"{labels},alertstate="firing""#), when, 1.0);
            when += MINUTE;
        }
        let mut when = onset;
        while when <= to - SEEN {
            self.set("ALERTS_FOR_STATE", labels, when, onset as f64);
            when += MINUTE;
        }
    }

    /// The share of errors, high for a while.
    fn errors(&mut self, app: &str, high: Option<(i64, i64)>) {
        let labels = format!(r#"app="{app}""#);
        self.steady("shop_errors_ratio", &labels, ZERO, ZERO + DAYS * DAY, 0.01);
        let Some((from, to)) = high else { return };
        let samples = self.metrics.get_mut("shop_errors_ratio").and_then(|all| all.get_mut(&labels)).expect("there");
        samples.retain(|when, _| *when < from || to <= *when);
        for when in (from..to).step_by(60) {
            samples.insert(when, 0.5);
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (metric, series) in &self.metrics {
            let _ = writeln!(text, "# TYPE {metric} gauge");
            for (labels, samples) in series {
                for (when, value) in samples {
                    let _ = writeln!(text, "{metric}{{{labels}}} {value} {when}");
                }
            }
        }
        text.push_str("# EOF\n");
        text
    }
}

fn of(deployment: &str) -> String {
    format!(r#"alertname="HighErrors",namespace="shop",deployment="{deployment}",severity="critical""#)
}

/// Thirty days with one incident of each kind, each on a day of its own.
fn story() -> Story {
    let mut story = Story::default();
    let long_ago = ZERO - 40 * DAY;
    story.steady("up", r#"job="ksm""#, ZERO, at(20, 12, 0), 1.0);
    story.steady("up", r#"job="ksm""#, at(20, 14, 0), ZERO + DAYS * DAY, 1.0);
    // A bad release, which somebody takes back half an hour later.
    story.deployment("web", &[("web:1", long_ago), ("web:2", at(3, 10, 0)), ("web:1", at(3, 10, 45))]);
    story.errors("web", Some((at(3, 10, 5), at(3, 10, 46))));
    story.alert(&of("web"), at(3, 10, 5), at(3, 10, 7), at(3, 10, 48));
    // Errors, and nothing was changed.
    story.deployment("api", &[("api:1", long_ago)]);
    story.errors("api", Some((at(5, 10, 5), at(5, 10, 46))));
    story.alert(&of("api"), at(5, 10, 5), at(5, 10, 7), at(5, 10, 48));
    // An alert after a release that goes away by itself while the countdown runs.
    story.deployment("cart", &[("cart:1", long_ago), ("cart:2", at(7, 10, 0))]);
    story.errors("cart", Some((at(7, 10, 5), at(7, 10, 20))));
    story.alert(&of("cart"), at(7, 10, 4), at(7, 10, 5), at(7, 10, 10));
    // A bad release that is fixed forward while the countdown runs.
    story.deployment("pay", &[("pay:1", long_ago), ("pay:2", at(9, 10, 0)), ("pay:3", at(9, 10, 10))]);
    story.errors("pay", Some((at(9, 10, 5), at(9, 10, 30))));
    story.alert(&of("pay"), at(9, 10, 5), at(9, 10, 7), at(9, 10, 31));
    // A bad release of which nobody measures errors.
    story.deployment("mute", &[("mute:1", long_ago), ("mute:2", at(11, 10, 0))]);
    story.alert(&of("mute"), at(11, 10, 5), at(11, 10, 7), at(11, 10, 48));
    // Nothing is recorded of the target; its alert carries what nobody should believe.
    story.errors("ghost", Some((at(13, 10, 5), at(13, 10, 46))));
    let evil = format!(r#"{},evil="{EVIL}""#, of("ghost"));
    story.alert(&evil, at(13, 10, 5), at(13, 10, 7), at(13, 10, 48));
    // The same image again: a restart, or another release?
    story.deployment("twin", &[("twin:1", long_ago), ("twin:1@again", at(15, 10, 0))]);
    story.errors("twin", Some((at(15, 10, 5), at(15, 10, 46))));
    story.alert(&of("twin"), at(15, 10, 5), at(15, 10, 7), at(15, 10, 48));
    // Nobody's business.
    story.alert(r#"alertname="Watchdog",severity="none""#, ZERO, ZERO, ZERO + DAYS * DAY);
    story
}

/// A Prometheus with the story in its blocks.
async fn prometheus() -> Prometheus {
    let dir = tempfile::tempdir().expect("a folder");
    let text = dir.path().join("story.om");
    fs::write(&text, story().text()).expect("written");
    let mut promtool = Command::new(beside("prometheus", "promtool"));
    promtool.args(["tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=744h", "--quiet"]);
    let made = promtool.arg(&text).arg(dir.path().join("data")).output().expect("promtool runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Prometheus::over(dir).await
}

struct Bench {
    dir: TempDir,
    prometheus: Prometheus,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let rules = dir.path().join("rules");
        fs::create_dir(&rules).expect("a folder");
        let git = |args: &[&str]| {
            let done = Command::new("git").current_dir(dir.path()).args(args).output().expect("git runs");
            assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        };
        git(&["init", "-q"]);
        fs::write(rules.join("shop.yaml"), POLICIES.replace("THRESHOLD", "0.9")).expect("written");
        git(&["add", "."]);
        git(&["-c", "user.name=t", "-c", "user.email=t@example.invalid", "commit", "-q", "-m", "before"]);
        fs::write(rules.join("shop.yaml"), POLICIES.replace("THRESHOLD", "0.1")).expect("written");
        Self { dir, prometheus: prometheus().await }
    }

    fn command(&self, cache: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backout"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BACKOUT_")) {
            command.env_remove(name);
        }
        command.current_dir(self.dir.path()).args(["backtest", "--prometheus", self.prometheus.url(), "--rules", "rules"]);
        command.args(["--from", "2026-03-02T00:00:00Z", "--to", "2026-04-01T00:00:00Z", "--step", "1m", "--cache", cache]);
        command.args(args);
        command
    }

    fn run(&self, cache: &str, args: &[&str]) -> Output {
        self.command(cache, args).output().expect("the binary runs")
    }

    fn json(&self, cache: &str, args: &[&str]) -> Value {
        let output = self.run(cache, &[&["--format", "json"], args].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    fn cached(&self, cache: &str) -> usize {
        fs::read_dir(self.dir.path().join(cache)).map_or(0, Iterator::count)
    }
}

/// The incident of a policy by the alert of a Deployment.
fn incident<'a>(ledger: &'a Value, policy: &str, deployment: &str) -> &'a Value {
    let named = |entry: &&Value| entry["policy"] == policy && entry["alerts"][0]["deployment"] == deployment;
    let found: Vec<&Value> = ledger["incidents"].as_array().expect("a list").iter().filter(named).collect();
    assert_eq!(found.len(), 1, "{policy} on {deployment}: {ledger:#}");
    found[0]
}

fn minutes_after(when: &Value, zero: i64) -> f64 {
    let when: jiff::Timestamp = when.as_str().expect("a time").parse().expect("a time");
    (when.as_second() - zero) as f64 / 60.0
}

fn holds(entry: &Value, brake: &str) -> bool {
    entry["brakes"].as_array().expect("a list").iter().any(|one| one["brake"] == brake && one["grip"] == "held")
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_days_whose_answers_are_known() {
    let mut bench = Bench::new().await;
    let ledger = bench.json("first", &["--compare", "HEAD", "--html", "ledger.html"]);
    let on = |name: &str| incident(&ledger, "shop", name);

    let bad = on("web");
    assert_eq!((bad["verdict"].as_str(), bad["rule"].as_str()), (Some("rolled_back"), Some("many-errors")), "{bad:#}");
    assert_eq!((bad["from"].as_str(), bad["to"].as_str()), (Some("web:2"), Some("web:1")));
    let acted = minutes_after(&bad["at"], at(3, 10, 0));
    assert!((13.0..15.0).contains(&acted), "30 s and the countdown of 6 m after the alert: {acted} {bad:#}");
    assert_eq!((bad["went_back"].as_bool(), bad["next_change"].as_str()), (Some(true), Some("web:1")), "{bad:#}");
    assert!((44.0..=46.0).contains(&minutes_after(&bad["next_change_at"], at(3, 10, 0))), "{bad:#}");
    let ahead = bad["seconds_ahead"].as_u64().expect("a number");
    assert!((30 * 60..=33 * 60).contains(&ahead), "{ahead}");

    let quiet = on("api");
    assert!(quiet["verdict"] == "held" && holds(quiet, "recent_change"), "{quiet:#}");
    let over = on("cart");
    assert!(over["verdict"] == "called_off" && over["next_change"].is_null(), "{over:#}");
    assert!((10.0..12.0).contains(&minutes_after(&over["over_at"], at(7, 10, 0))), "{over:#}");
    assert!(over["why"].as_str().is_some_and(|why| why.contains("alert")), "{over:#}");
    let fixed = on("pay");
    assert!(fixed["verdict"] == "called_off" && fixed["next_change"] == "pay:3", "{fixed:#}");
    let unmeasured = on("mute");
    assert!(unmeasured["verdict"] == "unknown" && unmeasured["unknown"].to_string().contains("errors"), "{unmeasured:#}");
    let again = on("twin");
    assert!(again["verdict"] == "unknown" && again["unknown"].to_string().contains("restart"), "{again:#}");
    let ghost = on("ghost");
    assert!(ghost["verdict"] == "unknown" && ghost["unknown"].to_string().contains("ghost"), "{ghost:#}");
    // Annotations are in no history: a rule that reads them is unknown, never true or false.
    let trial = incident(&ledger, "trial", "web");
    assert!(trial["verdict"] == "unknown" && trial["unknown"].to_string().contains("annotations"), "{trial:#}");

    let totals = &ledger["totals"];
    assert_eq!((totals["incidents"].as_u64(), totals["verdicts"]["rolled_back"].as_u64()), (Some(14), Some(1)), "{totals:#}");
    let gaps = ledger["gaps"].as_array().expect("a list");
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let differences = ledger["compared"]["differences"].as_array().expect("a list");
    let changed: Vec<_> = differences.iter().filter_map(|one| one["target"].as_str()).collect();
    assert_eq!(changed, ["shop/web", "shop/api", "shop/cart", "shop/pay"], "{differences:#?}");
    page(&bench.dir.path().join("ledger.html"));

    let plain = bench.json("first", &[]);
    assert_eq!(plain["incidents"], ledger["incidents"], "what is kept answers alike");
    interrupted(&bench, &plain).await;
    let table = bench.run("first", &[]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("shop/web") && table.contains("14 incidents") && table.contains("taken for granted"), "{table}");
    // All of it lies on the disk: Prometheus is not asked again.
    bench.prometheus.kill9();
    assert_eq!(bench.json("first", &[])["incidents"], plain["incidents"]);
    let nobody = bench.run("empty", &[]);
    assert_eq!(nobody.status.code(), Some(3), "{}", String::from_utf8_lossy(&nobody.stderr));
}

/// A run that was killed while it downloaded goes on where it was, and comes to the same.
async fn interrupted(bench: &Bench, whole: &Value) {
    let mut killed: Child =
        bench.command("second", &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs");
    eventually("some of it is downloaded", Duration::from_secs(120), async || {
        let there = bench.cached("second");
        if there > 100 { Ok(()) } else { Err(there) }
    })
    .await;
    killed.kill().expect("killed");
    killed.wait().expect("gone");
    let (before, all) = (bench.cached("second"), bench.cached("first"));
    assert!(before < all, "it was not interrupted: {before} of {all}");
    assert_eq!(bench.json("second", &[])["incidents"], whole["incidents"]);
}

/// Nothing on the page comes from anywhere else, and labels stay text.
fn page(path: &Path) {
    let page = fs::read_to_string(path).expect("a page");
    for forbidden in ["<script", "<img", "onerror=alert(1)>", "http-equiv=\"refresh\"", "src=\"", "@import", "url("] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.contains("&lt;script&gt;") && page.contains("default-src 'none'"), "escaped, and its own policy");
    assert_eq!(page.matches("class=\"track\"").count(), 14, "a timeline of every incident");
    assert!(page.contains("class=\"action\""), "the rollback has its mark");
}

/// The namespace of the rollback in `tests/journals/`.
const THEN: &str = "t-15abf96f38";

/// Looks back at the journal of a rollback on a real control plane, with rules of this condition and fact.
fn of_journal(when: &str, fact: &str, args: &[&str]) -> Output {
    let dir = tempfile::tempdir().expect("a folder");
    let rules = dir.path().join("rules");
    fs::create_dir(&rules).expect("a folder");
    let text = POLICIES.replace("shop", THEN).replace("facts.errors > THRESHOLD", when).replace("errors: {promql", fact);
    let text = text
        .replace("    for: 30s\n", "    brakes: {fit_target: {healthy: 1s}, quiet_start: {disabled: 'the story is short'}}\n");
    fs::write(rules.join("shop.yaml"), text.replace("countdown: 6m", "countdown: 1s")).expect("written");
    let journal = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journals/v2-verified.db");
    let copy = dir.path().join("journal.db");
    fs::copy(journal, &copy).expect("copied");
    let mut command = Command::new(env!("CARGO_BIN_EXE_backout"));
    command.current_dir(dir.path()).args(["backtest", "--rules", "rules", "--since", "365d", "--journal"]).arg(&copy).args(args);
    command.output().expect("the binary runs")
}

/// The incident that the first policy has in that ledger.
fn only(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let ledger: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let of = |entry: &&Value| entry["policy"] == THEN;
    ledger["incidents"].as_array().expect("a list").iter().find(of).unwrap_or_else(|| panic!("{ledger:#}")).clone()
}

#[test]
fn a_journal_is_lived_through_again() {
    let json = ["--format", "json"];
    let known = "errors: {promql";
    // What the service did then, it would do again, within a second or two of the same time.
    let again = only(&of_journal("facts.errors > 0.1", known, &json));
    assert_eq!((again["verdict"].as_str(), again["rule"].as_str()), (Some("rolled_back"), Some("many-errors")), "{again:#}");
    assert_eq!((again["from"].as_str(), again["to"].as_str()), (Some("shop:2-faulty"), Some("shop:1")), "{again:#}");
    assert!(again["at"].as_str().is_some_and(|at| at.starts_with("2026-11-26T07:15:3")), "{again:#}");
    assert_eq!(again["went_back"], false, "it was the service itself that went back: {again:#}");
    // The fact was 0.33 then.
    let stricter = only(&of_journal("facts.errors > 0.5", known, &json));
    assert_eq!((stricter["verdict"].as_str(), stricter["rule"].as_str()), (Some("paged"), Some("rest")), "{stricter:#}");
    // Nobody asked for it then: it is waited for until the alert is over, and nothing is done.
    let unasked = only(&of_journal("facts.latency > 0.5", "latency: {promql", &json));
    assert!(unasked["verdict"] == "paged" && unasked["rule"].is_null(), "{unasked:#}");
    let never = of_journal("facts.errors > 0.1", known, &["--from", "2020-01-01T00:00:00Z", "--to", "2020-01-02T00:00:00Z"]);
    assert_eq!(never.status.code(), Some(2), "`--since` and `--from` are two ways to say it");
    let table = of_journal("facts.errors > 0.1", known, &["--to", "2026-11-26T07:15:26Z"]);
    let text = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.status.success() && text.contains("no policy was about any alert of that time"), "{text}");
    let early = of_journal("facts.errors > 0.1", known, &["--to", "2026-11-25T00:00:00Z"]);
    assert_eq!(early.status.code(), Some(5), "{}", String::from_utf8_lossy(&early.stderr));
    assert!(String::from_utf8_lossy(&early.stderr).contains("between 2026-11-26T07:15:25"), "it says what it covers");
}
