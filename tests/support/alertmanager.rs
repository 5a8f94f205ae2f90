//! Real Alertmanagers, an old and a new one, alone or as peers.

use std::process::Command;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::bed::built;
use super::metrics::sum;
use super::process::Process;
use super::wait::eventually;
use super::{free_port, http, now};

const START_LIMIT: Duration = Duration::from_secs(30);

/// They differ on the wire: both are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// 0.25 in Debian 12.
    Old,
    /// 0.31, built by the bed.
    New,
}

#[derive(Debug)]
pub(crate) struct Alertmanager {
    process: Process,
    url: String,
    gossip: String,
    http: reqwest::Client,
    _dir: TempDir,
}

impl Alertmanager {
    /// Started, joined with its peers and settled.
    pub(crate) async fn start(release: Release, config: &str, peers: &[&Self]) -> Self {
        Self::start_with(release, config, peers, &[]).await
    }

    /// Two that know each other, in the order in which they wait for one another (each later one waits `peer_timeout` longer).
    pub(crate) async fn start_pair(release: Release, config: &str, peer_timeout: Duration) -> [Self; 2] {
        let flag = format!("--cluster.peer-timeout={}ms", peer_timeout.as_millis());
        let one = Self::start_with(release, config, &[], &[&flag]).await;
        let two = Self::start_with(release, config, &[&one], &[&flag]).await;
        let mut pair = [one, two];
        pair[0].wait_peers(2).await;
        // The rank is that of the peers' names, which are drawn at random.
        if pair[0].peer_name().await > pair[1].peer_name().await {
            pair.swap(0, 1);
        }
        pair
    }

    pub(crate) async fn start_with(release: Release, config: &str, peers: &[&Self], flags: &[&str]) -> Self {
        Self::run(release, config, Some(peers), flags).await
    }

    /// Without clustering, which keeps it from sending as fast as it can.
    pub(crate) async fn start_alone(release: Release, config: &str) -> Self {
        Self::run(release, config, None, &[]).await
    }

    async fn run(release: Release, config: &str, peers: Option<&[&Self]>, flags: &[&str]) -> Self {
        let program = match release {
            Release::Old => built("prometheus-alertmanager"),
            Release::New => built("alertmanager"),
        };
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("alertmanager.yml"), config).expect("written");
        // A free port may be taken before the program has it: another try draws others.
        for _ in 0..3 {
            let (web, gossip) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
            let mut command = Command::new(&program);
            command
                .current_dir(dir.path())
                .args(["--config.file=alertmanager.yml", "--storage.path=data"])
                .arg(format!("--web.listen-address={web}"))
                .args(flags);
            match peers {
                Some(peers) => command
                    .arg(format!("--cluster.listen-address={gossip}"))
                    // It settles in 40 of these.
                    .args(["--cluster.gossip-interval=25ms", "--cluster.pushpull-interval=1s"])
                    .args(peers.iter().map(|peer| format!("--cluster.peer={}", peer.gossip))),
                None => command.arg("--cluster.listen-address="),
            };
            let mut process = Process::spawn("alertmanager", &mut command, &dir.path().join("log"));
            let url = format!("http://{web}");
            if came_up(&mut process, &url).await {
                let mut this = Self { process, url, gossip, http: http(), _dir: dir };
                if let Some(peers) = peers {
                    this.wait_peers(peers.len() + 1).await;
                }
                return this;
            }
            let log = process.log();
            assert!(log.contains("address already in use"), "Alertmanager did not start:\n{log}");
        }
        panic!("no free port in three tries");
    }

    async fn wait_peers(&mut self, count: usize) {
        eventually("Alertmanager has settled with its peers", START_LIMIT, async || {
            self.process.must_run();
            let status = self.get("/api/v2/status").await?;
            let peers = status["cluster"]["peers"].as_array().map_or(0, Vec::len);
            if status["cluster"]["status"] == "ready" && peers >= count { Ok(()) } else { Err(status["cluster"].to_string()) }
        })
        .await;
    }

    async fn peer_name(&self) -> String {
        let status = self.get("/api/v2/status").await.expect("a status");
        status["cluster"]["name"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, String> {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await.map_err(|error| error.to_string())?;
        answer.error_for_status().map_err(|e| e.to_string())?.json().await.map_err(|error| error.to_string())
    }

    /// The alerts it holds, as its API shows them.
    pub(crate) async fn alerts(&self) -> Vec<Value> {
        let alerts = self.get("/api/v2/alerts").await.expect("alerts");
        alerts.as_array().cloned().unwrap_or_default()
    }

    /// A firing alert, as Prometheus sends it.
    pub(crate) async fn post_alert(&self, labels: &[(&str, &str)], annotations: &[(&str, &str)]) {
        self.post(json!([{ "labels": map(labels), "annotations": map(annotations), "startsAt": now().to_string() }])).await;
    }

    /// The same alert, over.
    pub(crate) async fn resolve_alert(&self, labels: &[(&str, &str)]) {
        self.post(json!([{ "labels": map(labels), "endsAt": now().to_string() }])).await;
    }

    /// Any body for `POST /api/v2/alerts`.
    pub(crate) async fn post(&self, alerts: Value) {
        let answer = self.http.post(format!("{}/api/v2/alerts", self.url)).json(&alerts).send().await.expect("an answer");
        let status = answer.status();
        assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap_or_default());
    }

    /// A silence for as long as the test runs; its id.
    pub(crate) async fn silence(&self, labels: &[(&str, &str)]) -> String {
        let matchers: Vec<_> = labels
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": value, "isRegex": false, "isEqual": true }))
            .collect();
        let until = now() + jiff::SignedDuration::from_hours(1);
        let body = json!({ "matchers": matchers, "startsAt": now().to_string(), "endsAt": until.to_string(), "createdBy": "a test", "comment": "a test" });
        let answer = self.http.post(format!("{}/api/v2/silences", self.url)).json(&body).send().await.expect("an answer");
        let answer: Value = answer.error_for_status().expect("accepted").json().await.expect("JSON");
        answer["silenceID"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// [`sum()`] of what its `/metrics` says now.
    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.try_metric(name, labels).await.expect("an answer")
    }

    /// The same of one that may be too busy to answer in time.
    pub(crate) async fn try_metric(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64, reqwest::Error> {
        let text = self.http.get(format!("{}/metrics", self.url)).send().await?.text().await?;
        Ok(sum(&text, name, labels))
    }

    pub(crate) fn kill9(&mut self) {
        self.process.kill9();
    }
}

/// False when it ended instead.
async fn came_up(process: &mut Process, url: &str) -> bool {
    let http = http();
    eventually("Alertmanager is ready", START_LIMIT, async || {
        if process.ended().is_some() {
            return Ok(false);
        }
        http.get(format!("{url}/-/ready")).send().await?.error_for_status().map(|_| true)
    })
    .await
}

/// A configuration that sends everything to one webhook at once, and again every `interval`.
pub(crate) fn route_to_webhook(url: &str, interval: Duration) -> String {
    let interval = interval.as_millis();
    format!(
        "route:\n  receiver: hook\n  group_by: ['...']\n  group_wait: 0s\n  group_interval: {interval}ms\n  repeat_interval: 1h\n\
         receivers:\n- name: hook\n  webhook_configs:\n  - url: {url}\n    send_resolved: true\n"
    )
}

fn map(pairs: &[(&str, &str)]) -> Map<String, Value> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect()
}
