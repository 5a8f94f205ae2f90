//! From the webhook to the accepted write, on a real control plane, against the same dry run and write sent alone by the same client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{
    Alertmanager, BACKOUT_USER, Backout, Namespace, Prometheus, Release, SHOP_ALERTS, Setup, Sink, eventually, now,
    prometheus_config, route_to_webhook, with_namespace,
};
use crate::{say, share};

/// Rollbacks, and as many dry runs and writes alone, by turns.
const ROUNDS: usize = 21;
const SOON: Duration = Duration::from_secs(90);

const RULES: &str = r#"
policies:
  - name: shop
    matchers: ['alertname = "ShopErrors"', 'namespace = "NAMESPACE"']
    mode: enforce
    paging: in_front
    targets: ['NAMESPACE/*']
    facts:
      errors:
        promql: sum(rate(http_requests_total{namespace="$namespace",deployment="$name",code="500"}[3s])) / sum(rate(http_requests_total{namespace="$namespace",deployment="$name"}[3s]))
    decide:
      - {name: many-errors, when: 'facts.errors > 0.2', rollback: quick}
    brakes:
      fit_target: {healthy: 2s}
      budget: {per_hour: 1000}
      storm: {disabled: every target is rolled back in turn}
procedures:
  - name: quick
    countdown: 0s
    verify: {within: 30m, rollout: complete, alert: resolved}
    steps: [undo]
"#;

const CONFIG: &str = "
timing: {peer_up: 1s, evaluation_age: 30s}
channels:
  - name: people
    webhook: {url: SINK}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "a measurement"]
async fn from_the_webhook_to_the_write() {
    with_namespace(measure).await;
}

async fn measure(ns: Namespace) {
    ns.allow_writing().await;
    let ours: Vec<String> = (0..ROUNDS).map(|n| format!("ours-{n}")).collect();
    let alone: Vec<String> = (0..ROUNDS).map(|n| format!("alone-{n}")).collect();
    let all: Vec<&String> = ours.iter().chain(&alone).collect();
    for name in &all {
        ns.deploy(name, "shop:0", 1).await;
    }
    rolled_out(&ns, &all).await;
    let faulty = Arc::new(AtomicBool::new(false));
    let shop = shop(&ns, &ours, &faulty).await;
    let (people, elsewhere) = (Sink::start().await, Sink::start().await);
    // What it sends goes elsewhere: the test posts in its place, at a time that it knows.
    let alertmanager = Alertmanager::start(Release::New, &route_to_webhook(elsewhere.url(), Duration::from_secs(1)), &[]).await;
    let prometheus = Prometheus::start(&prometheus_config(&[&shop], &[alertmanager.url()]), SHOP_ALERTS).await;
    let backout = Backout::start(Setup {
        config: CONFIG.replace("SINK", people.url()),
        rules: vec![("shop.yaml".to_owned(), RULES.replace("NAMESPACE", &ns.name))],
        kubeconfig: Some(ns.plane.backout_kubeconfig().to_owned()),
        cluster_name: "test".to_owned(),
        prometheus: vec![prometheus.url().to_owned()],
        alertmanagers: vec![alertmanager.url().to_owned()],
        ..Setup::default()
    })
    .await;
    for image in ["shop:1", "shop:2-faulty"] {
        for name in &all {
            ns.set_image(name, image).await;
        }
        rolled_out(&ns, &all).await;
        // Long enough for `healthy: 2s`, and for the next change to lie in a later second.
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    faulty.store(true, Ordering::Relaxed);
    let alerts = eventually("every alert fires", SOON, async || {
        let alerts = alertmanager.alerts().await;
        if alerts.len() == ROUNDS { Ok(alerts) } else { Err(format!("{} of {ROUNDS}", alerts.len())) }
    })
    .await;

    let client = Api::<Deployment>::namespaced(ns.plane.as_backout().await, &ns.name);
    let mut begun = Vec::new();
    for (ours, alone) in ours.iter().zip(&alone) {
        let before = now();
        assert!(backout.post_webhook(&notification(&alerts, ours)).await.is_success());
        ns.wait_image(ours, "shop:1", SOON).await;
        begun.push((ours.clone(), before));
        tokio::time::sleep(Duration::from_millis(300)).await;
        begun.push((alone.clone(), dry_run_and_write(&client, alone).await));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    report(&ns, &begun).await;
}

async fn rolled_out(ns: &Namespace, names: &[&String]) {
    for name in names {
        ns.wait_rolled_out(name).await;
    }
}

/// One exporter for all shops: none of them must load the API server while it is measured.
async fn shop(ns: &Namespace, names: &[String], faulty: &Arc<AtomicBool>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (namespace, names, faulty) = (ns.name.clone(), names.to_vec(), Arc::clone(faulty));
    let begin = Instant::now();
    let failed = Arc::new(std::sync::Mutex::new((0.0, 0.0)));
    let metrics = move || {
        let mut text = "# TYPE http_requests_total counter\n".to_owned();
        let elapsed = begin.elapsed().as_secs_f64();
        let mut counted = failed.lock().expect("nobody panics");
        if faulty.load(Ordering::Relaxed) {
            counted.1 += (elapsed - counted.0) * 60.0;
        }
        counted.0 = elapsed;
        for name in &names {
            for (code, count) in [("200", elapsed * 40.0), ("500", counted.1)] {
                text +=
                    &format!("http_requests_total{{namespace=\"{namespace}\",deployment=\"{name}\",code=\"{code}\"}} {count}\n");
            }
        }
        std::future::ready(text)
    };
    let app = Router::new().route("/metrics", get(metrics));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

/// What Alertmanager would post of this Deployment's alert.
fn notification(alerts: &[Value], deployment: &str) -> Value {
    let of_it = |alert: &&Value| alert["labels"]["deployment"] == deployment;
    let alert = alerts.iter().find(of_it).expect("an alert for each");
    json!({"version": "4", "status": "firing", "receiver": "hook", "groupKey": deployment, "truncatedAlerts": 0, "alerts": [{
        "status": "firing", "labels": alert["labels"], "annotations": alert["annotations"], "startsAt": alert["startsAt"],
        "endsAt": "0001-01-01T00:00:00Z", "generatorURL": alert["generatorURL"], "fingerprint": alert["fingerprint"],
    }]})
}

/// What a rollback writes, first as a dry run, with its guards; when it began.
async fn dry_run_and_write(client: &Api<Deployment>, name: &str) -> jiff::Timestamp {
    let deployment = client.get(name).await.expect("the Deployment");
    let mut template = serde_json::to_value(deployment.spec.expect("a spec").template).expect("JSON");
    template["spec"]["containers"][0]["image"] = json!("shop:1");
    let operations = json!([
        {"op": "test", "path": "/metadata/uid", "value": deployment.metadata.uid},
        {"op": "test", "path": "/metadata/generation", "value": deployment.metadata.generation},
        {"op": "replace", "path": "/spec/template", "value": template},
    ]);
    let patch = Patch::Json::<()>(serde_json::from_value(operations).expect("operations"));
    let before = now();
    let params = |dry_run| PatchParams { dry_run, field_manager: Some("backout".to_owned()), ..PatchParams::default() };
    client.patch(name, &params(true), &patch).await.expect("a dry run");
    client.patch(name, &params(false), &patch).await.expect("a write");
    before
}

async fn report(ns: &Namespace, begun: &[(String, jiff::Timestamp)]) {
    let writes = ns.writes_by(BACKOUT_USER).await.expect("the audit log");
    let took = |kind: &str| -> Vec<f64> {
        let of_kind = begun.iter().filter(|(name, _)| name.starts_with(kind));
        of_kind
            .map(|(name, before)| {
                let written =
                    |w: &&crate::support::Write| w.resource == "deployments" && w.name == *name && !w.dry_run && w.code == 200;
                let write = writes.iter().find(written).expect("it was written");
                let at: jiff::Timestamp = write.at.parse().expect("a time");
                at.duration_since(*before).as_secs_f64() * 1000.0
            })
            .collect()
    };
    let (ours, alone) = (took("ours"), took("alone"));
    let line = |what: &str, figures: &[f64]| {
        let of = |at| share(figures, at);
        say(&format!("| {what} | {:.1} | {:.1} | {:.1} |", of(0.0), of(0.5), of(1.0)));
    };
    say(&format!(
        "\n### From the webhook to the accepted write, ms ({ROUNDS} of each, by turns)\n\n| | least | p50 | greatest |\n|---|---|---|---|"
    ));
    line("POST of the webhook → accepted PATCH, `countdown: 0s`", &ours);
    line("the same dry run and PATCH alone", &alone);
    say(&format!("\nratio of the medians: {:.2}", share(&ours, 0.5) / share(&alone, 0.5)));
}
