//! Half an hour of a busy organisation, ten times over: is anything that grows?
//!
//! A busy organisation is taken to have 2,000 groups that flap so much that each has news at every one of Alertmanager's default
//! `group_interval`s (5 min): 7 notifications a second. Here each turns every 30 s, and Alertmanager looks every 20: 67 a second. One group in twenty is wanted by a policy: its
//! incident is opened, paged in shadow, confirmed to be over and closed, over and over. Beside that a probe posts ten notifications
//! a second, as long as it takes to fill the journal four times over what `retention.size` allows.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::support::{Alertmanager, Backout, Release, Setup, Sink, http, now, sum};
use crate::{megabytes, say, share};

const GROUPS: usize = 2_000;
const INTERVAL: Duration = Duration::from_secs(30);
/// Shorter than that, so that Alertmanager misses no turn.
const GROUP_INTERVAL: Duration = Duration::from_secs(20);
const WANTED_EVERY: usize = 20;
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// The least that the settings take.
const RETENTION: usize = 64 << 20;
/// How many times over the probe fills it.
const FILLS: usize = 4;
/// The last third may lie so far above the first one: a share, and a bit for what is small.
const MARGIN: f64 = 1.25;
/// Bytes that the journal may be larger than `retention.size`, which is about what can be dropped: what came since the newest snapshot
/// (16 MiB) cannot, and under load SQLite's write-ahead log is folded in at 48 MiB.
const BESIDE: usize = (16 + 48) << 20;

const CONFIG: &str = "
timing: {close_after: 5s, peer_up: 1s, watch_every: 10s, forget_after: 1m}
retention: {age: 2d, size: 64MiB}
tokens: {read: [token], operate: [token]}
channels:
  - name: people
    webhook: {url: SINK}
";

/// A line of the curve.
struct Sample {
    at: Duration,
    resident: f64,
    anonymous: f64,
    handles: f64,
    journal: f64,
    p50: f64,
    p99: f64,
}

type Figure = fn(&Sample) -> f64;

#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn seconds() -> u64 {
    std::env::var("BACKOUT_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1800)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "a measurement"]
async fn two_thousand_flapping_groups() {
    let time = Duration::from_secs(seconds());
    let nobody = Sink::start().await;
    nobody.answer_with(200);
    let door = crate::support::Gate::to("127.0.0.1:1").await;
    let sender = Alertmanager::start_alone(Release::New, &route(&format!("{}/v1/webhook/alertmanager", door.url()))).await;
    let backout = Backout::start(Setup {
        config: CONFIG.replace("SINK", nobody.url()),
        rules: rules(),
        cluster_name: "test".to_owned(),
        alertmanagers: vec![sender.url().to_owned()],
        ..Setup::default()
    })
    .await;
    door.lead_to(backout.url().trim_start_matches("http://"));
    let (acks, mut acked) = mpsc::unbounded_channel();
    let bytes = RETENTION * FILLS / usize::try_from(time.as_secs() * 10).unwrap_or(1).max(1);
    let probe = tokio::spawn(probe(backout.webhook_url(), bytes, acks));
    say(&format!(
        "\n### {GROUPS} groups that flap every {} s, for {} s; a probe of {bytes} bytes ten times a second\n\n\
         | minute | resident MB | anonymous MB | file handles | journal MB | ack p50 ms | ack p99 ms |\n|---|---|---|---|---|---|---|",
        INTERVAL.as_secs(),
        time.as_secs()
    ));
    let every = Duration::from_secs(60).min(time / 12);
    let (begin, mut samples) = (Instant::now(), Vec::new());
    let flapping = flap(&sender);
    let sampling = async {
        while begin.elapsed() < time {
            tokio::time::sleep(every).await;
            let taken: Vec<f64> = std::iter::from_fn(|| acked.try_recv().ok()).collect();
            samples.push(sample(&backout, begin.elapsed(), &taken));
        }
    };
    tokio::select! {
        () = sampling => {}
        () = flapping => {}
    }
    probe.abort();
    close(backout, &sender, &samples).await;
}

/// All groups turn once in an interval, evenly; and the alert that always fires is sent again, which proves that rules are evaluated.
async fn flap(sender: &Alertmanager) {
    let begin = Instant::now();
    let (mut turned, mut firing) = (0, vec![false; GROUPS]);
    loop {
        let due = (begin.elapsed().as_secs_f64() / INTERVAL.as_secs_f64() * GROUPS as f64) as usize;
        let mut alerts = vec![json!({ "labels": { "alertname": "Watchdog", "g": "watchdog" }, "startsAt": now().to_string() })];
        while turned < due {
            let group = turned % GROUPS;
            firing[group] = !firing[group];
            alerts.push(alert(group, firing[group]));
            turned += 1;
        }
        sender.post(Value::Array(alerts)).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn alert(group: usize, firing: bool) -> Value {
    let key = if firing { "startsAt" } else { "endsAt" };
    let mut alert = json!({
        "labels": {
            "alertname": "RolloutErrorRateHigh", "g": format!("g{group}"), "cluster": "test", "container": "checkout-api",
            "instance": "10.1.2.3:8443", "job": "kube-state-metrics", "namespace": format!("team-{}", group / WANTED_EVERY),
            "pod": format!("checkout-api-{group}"), "severity": "critical",
            "wanted": (group.is_multiple_of(WANTED_EVERY)).to_string(),
        },
        "annotations": {
            "summary": "error ratio is high", "runbook_url": "https://runbooks.example.com/x",
            "description": "Pod has been restarting 3.94 times / 5 minutes; error ratio is 20.5% (> 1%). Check the latest rollout.",
        },
        "generatorURL": "http://prometheus.example.com/graph?g0.expr=up&g0.tab=1",
    });
    alert[key] = json!(now().to_string());
    alert
}

fn route(hook: &str) -> String {
    format!(
        "route:\n  receiver: r\n  group_by: [g]\n  group_wait: 0s\n  group_interval: {}s\n  repeat_interval: 4h\n\
         receivers:\n- name: r\n  webhook_configs:\n  - url: {hook}\n    send_resolved: true\n",
        GROUP_INTERVAL.as_secs()
    )
}

/// A hundred policies, of which each is about its namespace's one wanted group: its incident is over whenever that group is.
fn rules() -> Vec<(String, String)> {
    let mut text = "policies:\n".to_owned();
    for number in 0..GROUPS / WANTED_EVERY {
        let _ = write!(
            text,
            "  - name: p{number}\n    matchers: ['namespace = \"team-{number}\"', 'wanted = \"true\"']\n    decide: [{{name: else, page: {{}}}}]\n"
        );
    }
    vec![("rules.yaml".to_owned(), text)]
}

/// Posts a body of that size ten times a second, and tells how long each took, in ms.
async fn probe(hook: String, bytes: usize, acks: mpsc::UnboundedSender<f64>) {
    let http = http();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut noise = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + (state % 26) as u8)
    };
    let mut turns = tokio::time::interval(PROBE_EVERY);
    loop {
        turns.tick().await;
        let padding: String = std::iter::repeat_with(&mut noise).take(bytes).collect();
        let body = json!({ "version": "4", "receiver": "hook", "status": "firing", "alerts": [{
            "status": "firing", "labels": { "alertname": "Probe" }, "annotations": { "padding": padding },
            "startsAt": now().to_string(), "endsAt": "0001-01-01T00:00:00Z",
        }]});
        let begun = Instant::now();
        let taken = http.post(&hook).json(&body).send().await.is_ok_and(|answer| answer.status() == 200);
        // What is not taken is the slowest of all.
        let took = if taken { begun.elapsed().as_secs_f64() * 1e3 } else { f64::INFINITY };
        if acks.send(took).is_err() {
            return;
        }
    }
}

fn sample(backout: &Backout, at: Duration, acks: &[f64]) -> Sample {
    let of = |name| megabytes(backout.pid(), name);
    let ack = |part| if acks.is_empty() { f64::INFINITY } else { share(acks, part) };
    let sample = Sample {
        at,
        resident: of("VmRSS:"),
        anonymous: of("RssAnon:"),
        handles: std::fs::read_dir(format!("/proc/{}/fd", backout.pid())).map_or(0.0, |all| all.count() as f64),
        journal: size_of(&backout.data_dir()),
        p50: ack(0.5),
        p99: ack(0.99),
    };
    let Sample { resident, anonymous, handles, journal, p50, p99, .. } = sample;
    let minute = at.as_secs_f64() / 60.0;
    say(&format!("| {minute:.1} | {resident:.1} | {anonymous:.1} | {handles:.0} | {journal:.1} | {p50:.2} | {p99:.2} |"));
    sample
}

/// The journal's files, in MB.
fn size_of(data: &Path) -> f64 {
    let files = std::fs::read_dir(data).into_iter().flatten().flatten();
    files.filter_map(|file| Some(file.metadata().ok()?.len() as f64)).sum::<f64>() / 1e6
}

/// Whether all of it is flat, and what was done meanwhile.
async fn close(mut backout: Backout, sender: &Alertmanager, samples: &[Sample]) {
    // Of one moment: Alertmanager goes on sending.
    let metrics = backout.metrics().await;
    let accepted = sum(&metrics, "backout_webhook_requests_total", &[("result", "accepted")]);
    let all = sum(&metrics, "backout_webhook_requests_total", &[]);
    let closed = sum(&metrics, "backout_incidents_closed_total", &[]);
    let shown = |line: &&str| line.starts_with("backout_incidents_open{") || line.starts_with("backout_webhook_requests_total{");
    let figures: Vec<&str> = metrics.lines().filter(shown).filter(|line| !line.ends_with(" 0")).collect();
    say(&format!("\n{}", figures.join("\n")));
    let failed = sender.metric("alertmanager_notifications_failed_total", &[("integration", "webhook")]).await;
    assert!(backout.stop().await.success(), "{}", backout.log());
    let output = Backout::run(&["journal", "verify", "--output", "json", "--data", &backout.data_dir().to_string_lossy()]).await;
    let journal: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(journal["sound"], true, "{journal:#}");
    let first = journal["first"]["row"].as_u64().unwrap_or_default();
    say(&format!(
        "\naccepted {accepted}, refused {}, notifications that failed {failed}, incidents closed {closed}; rows {first} to {} are kept\n\n\
         | | first third | last third | flat |\n|---|---|---|---|",
        all - accepted,
        journal["last"]["row"]
    ));
    let third = samples.len() / 3;
    let (early, late) = (&samples[..third], &samples[samples.len() - third..]);
    let mut wrong = Vec::new();
    // What is small moves by more than a share of itself.
    let figures: [(&str, f64, Figure); 5] = [
        ("resident MB", 8.0, |sample| sample.resident),
        ("anonymous MB", 8.0, |sample| sample.anonymous),
        ("file handles", 32.0, |sample| sample.handles),
        ("ack p50 ms", 2.0, |sample| sample.p50),
        ("ack p99 ms", 20.0, |sample| sample.p99),
    ];
    for (name, bit, figure) in figures {
        let median = |part: &[Sample]| share(&part.iter().map(figure).collect::<Vec<_>>(), 0.5);
        let (before, after) = (median(early), median(late));
        let flat = after <= before * MARGIN + bit;
        say(&format!("| {name}, at most × {MARGIN} + {bit} | {before:.1} | {after:.1} | {flat} |"));
        wrong.extend((!flat).then(|| format!("{name}: {before:.1}, then {after:.1}")));
    }
    let greatest = samples.iter().map(|sample| sample.journal).fold(0.0, f64::max);
    let most = (RETENTION + BESIDE) as f64 / 1e6;
    let flat = greatest <= most;
    say(&format!("| greatest journal MB, at most `retention.size` and {BESIDE} B | | {greatest:.1} of {most:.1} | {flat} |"));
    wrong.extend((!flat).then(|| format!("journal: {greatest:.1}")));
    wrong.extend((first <= 1).then(|| "retention dropped nothing".to_owned()));
    wrong.extend((failed > 0.0 || all > accepted).then(|| "notifications failed".to_owned()));
    wrong.extend((closed < 1.0).then(|| "no incident was closed".to_owned()));
    let last = samples.last().map_or(0.0, |sample| sample.at.as_secs_f64());
    assert!(wrong.is_empty(), "not flat after {last:.0} s: {}", wrong.join("; "));
}
