//! The stage of an end-to-end story: a shop on a real cluster, a real Prometheus and Alertmanager, and the real binary.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::wait::eventually;
use super::{
    Alertmanager, Backout, FakeShop, Gate, Namespace, Prometheus, Release, SHOP_ALERTS, Setup, Sink, prometheus_config,
    route_to_webhook,
};

/// A story's longest wait: an alert, a countdown, a rollout and a proof, or twice the patience with what is unknown (30 s), on a
/// busy machine.
const SOON: Duration = Duration::from_secs(150);

/// How often Alertmanager looks at a group again.
const EVERY: Duration = Duration::from_secs(1);

/// Production's times, shrunk: what takes ten minutes there takes seconds here.
const CONFIG: &str = "
timing:
  close_after: 5s
  peer_up: 1s
  evaluation_age: 30s
  watch_every: 1s
  verify_every: 1s
  tail: 1s
tokens: {read: [token], operate: [token]}
channels:
  - name: people
    webhook: {url: SINK}
";

/// Everything that a story needs, up and running, with the shop on a good release.
pub(crate) struct Stage {
    pub(crate) ns: Namespace,
    pub(crate) shop: FakeShop,
    pub(crate) people: Sink,
    /// Prometheus sends to the first only: what a second one knows, a test tells it.
    pub(crate) alertmanagers: Vec<Alertmanager>,
    pub(crate) prometheus: Prometheus,
    /// In front of Prometheus, and of the API server, for `backout` only.
    pub(crate) prometheus_gate: Gate,
    pub(crate) cluster_gate: Gate,
    /// In front of `backout`, which listens elsewhere after a restart.
    door: Gate,
    pub(crate) backout: Backout,
    _kubeconfig: tempfile::TempDir,
}

impl Stage {
    /// Sets everything up: `web` runs `shop:1`, was seen healthy for some seconds, and may be written to.
    pub(crate) async fn set(ns: Namespace, rules: &str) -> Self {
        Self::set_with(ns, rules, Release::New).await
    }

    pub(crate) async fn set_with(ns: Namespace, rules: &str, release: Release) -> Self {
        let door = Gate::to("127.0.0.1:1").await;
        let alertmanager = Alertmanager::start(release, &route_to_webhook(&hook(&door), EVERY), &[]).await;
        Self::raise(ns, rules, door, vec![alertmanager], None).await
    }

    /// As the service account of this kubeconfig, and with no rights but those that it has; looks after this namespace alone.
    pub(crate) async fn set_as(ns: Namespace, rules: &str, kubeconfig: &Path) -> Self {
        let door = Gate::to("127.0.0.1:1").await;
        let alertmanager = Alertmanager::start(Release::New, &route_to_webhook(&hook(&door), EVERY), &[]).await;
        Self::raise(ns, rules, door, vec![alertmanager], Some(kubeconfig)).await
    }

    /// With a pair of Alertmanagers that both notify; `witness` gets the same notifications.
    pub(crate) async fn set_pair(ns: Namespace, rules: &str, peer_timeout: Duration, witness: &Sink) -> Self {
        let door = Gate::to("127.0.0.1:1").await;
        let config = route_to_webhook(&hook(&door), EVERY) + &format!("  - url: {}\n    send_resolved: true\n", witness.url());
        let pair = Alertmanager::start_pair(Release::New, &config, peer_timeout).await;
        Self::raise(ns, rules, door, pair.into(), None).await
    }

    async fn raise(ns: Namespace, rules: &str, door: Gate, alertmanagers: Vec<Alertmanager>, account: Option<&Path>) -> Self {
        if account.is_none() {
            ns.allow_writing().await;
        }
        ns.deploy("web", "shop:0", 2).await;
        ns.wait_rolled_out("web").await;
        let shop = FakeShop::start(&ns, "web").await;
        let people = Sink::start().await;
        let scrapes = prometheus_config(&[shop.url()], &[alertmanagers[0].url()]) + &scrape_of_backout(&door);
        let prometheus = Prometheus::start(&scrapes, SHOP_ALERTS).await;
        let prometheus_gate = Gate::to(prometheus.url().trim_start_matches("http://")).await;
        let cluster_gate = Gate::to(&ns.plane.address()).await;
        let kubeconfig = tempfile::tempdir().expect("a folder");
        let gated = || ns.plane.backout_kubeconfig_through(&cluster_gate, kubeconfig.path());
        let setup = Setup {
            config: CONFIG.replace("SINK", people.url()),
            rules: vec![("shop.yaml".to_owned(), rules.replace("NAMESPACE", &ns.name))],
            kubeconfig: Some(account.map_or_else(gated, Path::to_owned)),
            args: account.iter().flat_map(|_| ["--namespace".to_owned(), ns.name.clone()]).collect(),
            cluster_name: "test".to_owned(),
            prometheus: vec![prometheus_gate.url()],
            alertmanagers: alertmanagers.iter().map(|one| one.url().to_owned()).collect(),
            ..Setup::default()
        };
        let backout = Backout::start(setup).await;
        let stage = Self {
            ns,
            shop,
            people,
            alertmanagers,
            prometheus,
            prometheus_gate,
            cluster_gate,
            door,
            backout,
            _kubeconfig: kubeconfig,
        };
        stage.open_door();
        // Health that was only re-learned from the cluster does not count in enforce: it must see the next one come.
        stage.revision("web", "shop:0", |_| true).await;
        stage.release("shop:1").await;
        stage
    }

    /// Deploys a release of `web` under its eyes, and waits until it is one to go back to.
    pub(crate) async fn release(&self, image: &str) {
        self.ns.set_image("web", image).await;
        self.ns.wait_rolled_out("web").await;
        self.healthy("web", image).await;
    }

    /// Waits until a release was watched being healthy: long enough for `fit_target: {healthy: 2s}`, and for the next change to lie
    /// in a later second than what ran before.
    pub(crate) async fn healthy(&self, name: &str, image: &str) {
        let least = 4000;
        self.revision(name, image, |it| it["watched"] == true && it["healthy_ms"].as_u64().is_some_and(|for_ms| for_ms >= least))
            .await;
    }

    /// Waits until it knows that this release runs, and how it fits.
    async fn revision(&self, name: &str, image: &str, fits: impl Fn(&Value) -> bool) {
        let path = format!("/api/v1/revisions?target={}/{name}", self.ns.name);
        eventually(&format!("`{image}` as a release that fits"), SOON, async || {
            let known = self.backout.get(&path).await?;
            let is_it =
                |it: &Value| it["runs"] == true && it["images"].as_array().is_some_and(|all| all.iter().any(|i| i == image));
            match known["revisions"].as_array().and_then(|all| all.iter().find(|it| is_it(it) && fits(it))) {
                Some(_) => Ok(()),
                None => Err(known.to_string()),
            }
        })
        .await;
    }

    /// Lets Alertmanager's webhooks through to where `backout` listens now.
    pub(crate) fn open_door(&self) {
        self.door.lead_to(self.backout.url().trim_start_matches("http://"));
    }

    /// The one incident of this stage in a state that fits, waiting for it.
    pub(crate) async fn incident(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        eventually(what, SOON, async || {
            let answer = self.backout.get("/api/v1/incidents?state=all").await?;
            let all = answer["incidents"].as_array().cloned().unwrap_or_default();
            all.iter().find(|incident| fits(incident)).cloned().ok_or_else(|| {
                let seen: Vec<_> = all.iter().map(|i| format!("{} {} {}", i["state"], i["reason"], i["summary"])).collect();
                format!("incidents: {seen:?}\n{}", tail(&self.backout.log()))
            })
        })
        .await
    }

    /// Waits until an incident is in this state.
    pub(crate) async fn state(&self, state: &str) -> Value {
        self.incident(state, |incident| incident["state"] == state).await
    }

    /// A message of this moment, waiting for it.
    pub(crate) async fn message(&self, moment: &str) -> Value {
        self.people.wait_for(&format!("message `{moment}`"), SOON, |body| body["moment"] == moment).await
    }

    /// Templates that `backout` wrote for real, by the API server's own log; all of them must have been taken.
    pub(crate) async fn writes(&self) -> usize {
        let writes = self.ns.writes_by(super::BACKOUT_USER).await.unwrap_or_default();
        writes.iter().filter(|write| write.resource == "deployments" && !write.dry_run && write.code == 200).count()
    }
}

/// A policy for these stages: `NAMESPACE` stands for the story's namespace, `MODE` for the mode.
pub(crate) fn rules(mode: &str, countdown: &str) -> String {
    format!(
        r#"
policies:
  - name: shop
    matchers: ['alertname = "ShopErrors"', 'namespace = "NAMESPACE"']
    mode: {mode}
    paging: in_front
    targets: ['NAMESPACE/*']
    facts:
      errors:
        promql: sum(rate(http_requests_total{{namespace="$namespace",code="500"}}[3s])) / sum(rate(http_requests_total{{namespace="$namespace"}}[3s]))
    decide:
      - {{name: many-errors, when: 'facts.errors > 0.2', rollback: quick}}
    brakes:
      fit_target: {{healthy: 2s}}
procedures:
  - name: quick
    countdown: {countdown}
    verify: {{within: 30s, rollout: complete, alert: resolved, facts: ['facts.errors < 0.1']}}
    steps: [undo]
"#
    )
}

/// One more job for `prometheus_config`, with the label that sets clusters apart.
fn scrape_of_backout(door: &Gate) -> String {
    format!("- job_name: backout\n  static_configs:\n  - targets: ['{}']\n    labels: {{cluster: test}}\n", door.address())
}

fn hook(door: &Gate) -> String {
    format!("{}/v1/webhook/alertmanager", door.url())
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
