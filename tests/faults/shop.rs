//! A shop with a bad release, the real process beside it, and a fault in between. Everything outside is real and shared; what is a
//! row's own is its Deployment, its process, and what stands between that and the rest.

use std::time::Duration;

use serde_json::{Value, json};

use crate::between::{ApiServer, Prometheus};
use crate::support::{
    self, BACKOUT_USER, Backout, Gate, Namespace, SHOP_ALERTS, Setup, Sink, Till, eventually, prometheus_config,
};
use crate::table::{Cells, metric};

const SOON: Duration = Duration::from_secs(90);
const GOOD: &str = "shop:1";

/// What all rows share.
pub(crate) struct City {
    pub(crate) ns: Namespace,
    prometheus: support::Prometheus,
    pub(crate) alertmanager: support::Alertmanager,
    _till: Till,
    _nobody: Sink,
}

impl City {
    pub(crate) async fn found(ns: &Namespace) -> Self {
        ns.allow_writing().await;
        let (till, nobody) = (Till::open(ns).await, Sink::start().await);
        // What it sends goes nowhere: each row posts what it would post.
        let config = support::route_to_webhook(nobody.url(), Duration::from_secs(1));
        let alertmanager = support::Alertmanager::start(support::Release::New, &config, &[]).await;
        let prometheus = support::Prometheus::start(&prometheus_config(&[till.url()], &[alertmanager.url()]), SHOP_ALERTS).await;
        Self { ns: ns.clone(), prometheus, alertmanager, _till: till, _nobody: nobody }
    }
}

/// In what a row differs from the others.
pub(crate) struct Tweak {
    pub(crate) countdown: &'static str,
    /// How long it may take to prove a rollback.
    pub(crate) verify: &'static str,
    /// More brakes, one a line.
    pub(crate) brakes: &'static str,
    pub(crate) peer_up: &'static str,
    /// Another folder of policies than a plain one.
    pub(crate) rules_dir: Option<std::path::PathBuf>,
    /// So many peers.
    pub(crate) peers: usize,
    /// Another place for the journal.
    pub(crate) data: Option<std::path::PathBuf>,
}

impl Default for Tweak {
    fn default() -> Self {
        Self { countdown: "0s", verify: "30s", brakes: "", peer_up: "1s", rules_dir: None, peers: 1, data: None }
    }
}

/// A row's shop: it was on a good release for some seconds, under the eyes of the process.
pub(crate) struct Shop {
    pub(crate) name: String,
    pub(crate) ns: Namespace,
    pub(crate) api: ApiServer,
    pub(crate) prometheus: Prometheus,
    /// In front of each peer.
    pub(crate) peers: Vec<Gate>,
    pub(crate) people: Sink,
    pub(crate) backout: Backout,
    _folder: tempfile::TempDir,
    alertmanager: String,
}

const CONFIG: &str = "
timing:
  close_after: 2s
  peer_up: PEER_UP
  evaluation_age: 30s
  patience: 3s
  watch_every: 1s
  verify_every: 1s
  tail: 1s
tokens: {read: [token], operate: [token]}
channels:
  - name: people
    per_second: 1000
    burst: 1000
    webhook: {url: SINK}
";

/// The policy of one shop.
pub(crate) fn policy(namespace: &str, name: &str, tweak: &Tweak) -> String {
    let Tweak { countdown, verify, brakes, .. } = tweak;
    format!(
        r#"
policies:
  - name: shop
    matchers: ['alertname = "ShopErrors"', 'deployment = "{name}"']
    mode: enforce
    paging: in_front
    targets: ['{namespace}/{name}']
    facts:
      errors:
        promql: sum(rate(http_requests_total{{namespace="$namespace",deployment="$name",code="500"}}[3s])) / sum(rate(http_requests_total{{namespace="$namespace",deployment="$name"}}[3s]))
    decide:
      - {{name: many-errors, when: 'facts.errors > 0.2', rollback: quick}}
    brakes:
      fit_target: {{healthy: 2s}}
{brakes}
procedures:
  - name: quick
    countdown: {countdown}
    verify: {{within: {verify}, rollout: complete, alert: resolved, facts: ['facts.errors < 0.1']}}
    steps: [undo]
"#
    )
}

impl Shop {
    pub(crate) async fn open(city: &City, name: &str, tweak: Tweak) -> Self {
        let (ns, folder) = (city.ns.clone(), tempfile::tempdir().expect("a folder"));
        ns.deploy(name, "shop:0", 1).await;
        ns.wait_rolled_out(name).await;
        let api = ApiServer::before(ns.plane.as_backout().await).await;
        let prometheus = Prometheus::before(city.prometheus.url()).await;
        let mut peers = Vec::new();
        for _ in 0..tweak.peers {
            peers.push(Gate::to(city.alertmanager.url().trim_start_matches("http://")).await);
        }
        let people = Sink::start().await;
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, api.kubeconfig()).expect("written");
        let backout = Backout::start(Setup {
            config: CONFIG.replace("SINK", people.url()).replace("PEER_UP", tweak.peer_up),
            rules: vec![("shop.yaml".to_owned(), policy(&ns.name, name, &tweak))],
            rules_dir: tweak.rules_dir,
            data: tweak.data,
            kubeconfig: Some(kubeconfig),
            args: vec!["--namespace".to_owned(), ns.name.clone()],
            cluster_name: "test".to_owned(),
            prometheus: vec![prometheus.gate.url()],
            alertmanagers: peers.iter().map(Gate::url).collect(),
            ..Setup::default()
        })
        .await;
        ns.set_image(name, GOOD).await;
        ns.wait_rolled_out(name).await;
        let alertmanager = city.alertmanager.url().to_owned();
        let shop = Self { name: name.to_owned(), ns, api, prometheus, peers, people, backout, _folder: folder, alertmanager };
        shop.watched_healthy().await;
        shop
    }

    /// Waits until the process has watched the good release for long enough, which lies in an earlier second than the next change.
    pub(crate) async fn watched_healthy(&self) {
        let (target, data) = (format!("{}/{}", self.ns.name, self.name), self.backout.data_dir());
        eventually(&format!("{}: its release counts as healthy", self.name), SOON, async || {
            let output = Backout::run(&["revisions", &target, "--data", &data.to_string_lossy(), "--output", "json"]).await;
            let answer: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
            let now = answer["revisions"].as_array().and_then(|all| all.iter().find(|one| one["runs"] == true)).cloned();
            let now = now.ok_or_else(|| answer.to_string())?;
            let long = now["healthy_ms"].as_u64().is_some_and(|millis| millis >= 4000);
            if now["images"][0] == GOOD && now["watched"] == true && long { Ok(()) } else { Err(now.to_string()) }
        })
        .await;
    }

    /// A bad release; what Alertmanager would post of its alert, once it fires.
    pub(crate) async fn bad_release(&self) -> Value {
        self.ns.set_image(&self.name, "shop:2-faulty").await;
        let http = support::http();
        let alert = eventually("the alert fires", SOON, async || {
            let answer = http.get(format!("{}/api/v2/alerts", self.alertmanager)).send().await.map_err(|e| e.to_string())?;
            let alerts: Value = answer.json().await.map_err(|e| e.to_string())?;
            let ours = alerts.as_array().and_then(|all| all.iter().find(|alert| alert["labels"]["deployment"] == *self.name));
            ours.cloned().ok_or_else(|| "not yet".to_owned())
        })
        .await;
        json!({"version": "4", "status": "firing", "receiver": "hook", "groupKey": self.name, "truncatedAlerts": 0, "alerts": [{
            "status": "firing", "labels": alert["labels"], "annotations": alert["annotations"], "startsAt": alert["startsAt"],
            "endsAt": "0001-01-01T00:00:00Z", "generatorURL": alert["generatorURL"], "fingerprint": alert["fingerprint"],
        }]})
    }

    /// A bad release, and the process hears of it.
    pub(crate) async fn fail(&self) {
        let body = self.bad_release().await;
        assert_eq!(self.backout.post_webhook(&body).await, 200);
    }

    /// The incident, once it fits.
    pub(crate) async fn incident(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("{}: {what}", self.name), SOON, async || {
            let answer = self.backout.get("/api/v1/incidents?state=all").await?;
            let all = answer["incidents"].as_array().cloned().unwrap_or_default();
            all.iter().find(|incident| fits(incident)).cloned().ok_or_else(|| format!("{all:?}"))
        })
        .await
    }

    /// Where it came to, for whoever asks later: a person has it, or it was proven.
    pub(crate) async fn cells(&self, series: &'static str) -> Cells {
        let over = |incident: &Value| {
            ["paged", "verified"].iter().any(|state| incident["state"] == *state || incident["reason"] == *state)
        };
        let incident = self.incident("paged or verified", over).await;
        let told = |body: &Value| body["urgency"] == "page" || body["moment"] == "verified";
        self.people.wait_for(&format!("{}: people hear", self.name), SOON, told).await;
        // Whatever would be written later is written by then.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let text = |key: &str| incident[key].as_str().map(str::to_owned);
        let outcome = text("outcome").unwrap_or_else(|| "page".to_owned());
        let end = if incident["state"] == "verified" { Some("verified".to_owned()) } else { text("reason") };
        let whole = self.backout.get(&format!("/api/v1/incidents/{}", text("id").expect("an id"))).await.expect("an incident");
        // The decision's, or what the cluster refused later.
        let held = whole["incident"]["page"]["brake"].as_str().map(str::to_owned);
        Cells {
            verdict: format!("{outcome}, {}", end.unwrap_or_default()),
            brake: text("brake").or(held),
            told: moments(&self.people),
            written: self.written().await,
            metric: metric(&self.backout, series).await,
        }
    }

    /// Rollbacks that the API server took, by its own log; what was put back must be the good release.
    pub(crate) async fn written(&self) -> usize {
        let writes = self.ns.writes_by(BACKOUT_USER).await.expect("an audit log");
        let ours = |write: &&support::Write| {
            write.resource == "deployments" && write.name == self.name && !write.dry_run && write.code == 200
        };
        let written: Vec<_> = writes.iter().filter(ours).collect();
        for write in &written {
            let image = &write.body[2]["value"]["spec"]["containers"][0]["image"];
            assert_eq!(image, GOOD, "{}: never another release than the one seen healthy", self.name);
        }
        written.len()
    }
}

/// Pages, and that a rollback was proven: what people were told at the end, in order.
pub(crate) fn moments(people: &Sink) -> Vec<String> {
    let mut told = Vec::new();
    for body in people.received() {
        let (moment, page) = (body["moment"].as_str().unwrap_or_default(), body["urgency"] == "page");
        let text = if page { format!("page `{moment}`") } else { format!("`{moment}`") };
        if (page || moment == "verified") && !told.contains(&text) {
            told.push(text);
        }
    }
    told
}
