//! A real Alertmanager as the sender, at the rate at which it tops out.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{Alertmanager, Backout, Release, Setup, eventually, now};
use crate::{megabytes, processor_seconds, say};

/// Each is notified every second: more than one Alertmanager can.
const GROUPS: usize = 16_000;
const TIME: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "a measurement"]
async fn sixteen_thousand_groups() {
    say(&format!(
        "\n### A real Alertmanager, {GROUPS} groups, each notified every second, 100 policies\n\n\
         | Alertmanager | policies are about it | delivered a second | failed | 503 | our cores | its cores | our MB | connections |\n|---|---|---|---|---|---|---|---|---|"
    ));
    for (release, wanted) in [(Release::New, false), (Release::Old, false), (Release::New, true)] {
        measure(release, wanted).await;
    }
}

async fn measure(release: Release, wanted: bool) {
    let backout = Backout::start(Setup { rules: rules(wanted), ..Setup::default() }).await;
    let config = format!(
        "route:\n  receiver: r\n  group_by: [g]\n  group_wait: 0s\n  group_interval: 1s\n  repeat_interval: 100ms\n\
         receivers:\n- name: r\n  webhook_configs:\n  - url: {}\n",
        backout.webhook_url()
    );
    let sender = Alertmanager::start_alone(release, &config).await;
    let groups: Vec<usize> = (0..GROUPS).collect();
    for chunk in groups.chunks(500) {
        sender.post(Value::Array(chunk.iter().map(|group| alert(*group)).collect())).await;
    }
    eventually("it sends", Duration::from_secs(30), async || {
        let sent = requests(&backout, "accepted").await;
        if sent > GROUPS as f64 / 2.0 { Ok(()) } else { Err(format!("{sent}")) }
    })
    .await;
    let (sent, failed) = (requests(&backout, "accepted").await, failures(&sender).await);
    let (ours, its, begin) = (processor_seconds(backout.pid()), processor_seconds(sender.pid()), Instant::now());
    tokio::time::sleep(TIME).await;
    let secs = begin.elapsed().as_secs_f64();
    let refused = requests(&backout, "inbox_full").await + requests(&backout, "bytes_full").await;
    say(&format!(
        "| {release:?} | {} | {:.0} | {} | {refused} | {:.2} | {:.2} | {:.0} | {} |",
        if wanted { "yes" } else { "no" },
        (requests(&backout, "accepted").await - sent) / secs,
        failures(&sender).await - failed,
        (processor_seconds(backout.pid()) - ours) / secs,
        (processor_seconds(sender.pid()) - its) / secs,
        megabytes(backout.pid(), "VmRSS:"),
        std::fs::read_dir(format!("/proc/{}/fd", backout.pid())).map_or(0, Iterator::count),
    ));
}

fn rules(wanted: bool) -> Vec<(String, String)> {
    let mut text = "policies:\n".to_owned();
    for number in 0..100 {
        let namespace = if wanted { "team" } else { "nobody" };
        let _ = write!(
            text,
            "  - name: p{number}\n    matchers: ['namespace = \"{namespace}-{number}\"', 'severity = \"critical\"']\n    decide: [{{name: else, fix_forward: {{}}}}]\n"
        );
    }
    vec![("rules.yaml".to_owned(), text)]
}

fn alert(group: usize) -> Value {
    json!({
        "labels": {
            "alertname": "RolloutErrorRateHigh", "g": format!("g{group}"), "cluster": "prod-eu-west-1a", "container": "checkout-api",
            "instance": "10.1.2.3:8443", "job": "kube-state-metrics", "namespace": format!("team-{}", group % 100),
            "node": "ip-10-12-1-2.eu-west-1.compute.internal", "pod": format!("checkout-api-{group}"), "severity": "critical", "team": "payments",
        },
        "annotations": {
            "summary": "error ratio is high", "runbook_url": "https://runbooks.example.com/x",
            "description": "Pod has been restarting 3.94 times / 5 minutes; error ratio is 20.5% (> 1%). Check the latest rollout.",
        },
        "startsAt": now().to_string(),
        "generatorURL": "http://prometheus.example.com/graph?g0.expr=up&g0.tab=1",
    })
}

async fn requests(backout: &Backout, result: &str) -> f64 {
    backout.metric("backout_webhook_requests_total", &[("result", result)]).await
}

async fn failures(sender: &Alertmanager) -> f64 {
    eventually("Alertmanager tells its figures", Duration::from_secs(30), async || {
        let figure = sender.try_metric("alertmanager_notifications_failed_total", &[("integration", "webhook")]);
        figure.await.map_err(|error| error.to_string())
    })
    .await
}
