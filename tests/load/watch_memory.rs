//! How much memory the watch takes for 1,000 Deployments with 11 ReplicaSets each, 6.5 kB of JSON an object, from a fake API server.
//!
//! ```text
//! cargo test --release --test watch_memory -- --ignored --nocapture
//! ```

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::http::Uri;
use axum::response::Response;
use backout::cluster::Clients;
use backout::model::Time;
use backout::observe::{ClusterWatch, WatchSettings};
use backout::ports::Clock;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const DEPLOYMENTS: usize = 1_000;
const SETS_EACH: usize = 11;
/// What the README promises, with the whole process around it.
const LIMIT_KB: u64 = 64 * 1024;

struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> Time {
        Time::default()
    }

    fn sleep_until(&self, _: Time) -> BoxFuture<'static, ()> {
        std::future::pending().boxed()
    }
}

/// An object as large as real ones are, most of it template and managed fields.
fn object(kind: &str, deployment: usize, set: usize) -> Value {
    let env: Vec<Value> = (0..55)
        .map(|n| json!({"name": format!("SETTING_NUMBER_{n}"), "value": format!("a value of some length {deployment} {set}")}))
        .collect();
    let fields: BTreeMap<String, Value> =
        (0..70).map(|n| (format!("k:{{\"name\":\"SETTING_NUMBER_{n}\"}}"), json!({}))).collect();
    let mut metadata = json!({
        "name": format!("service-{deployment}"), "namespace": format!("team-{}", deployment % 20), "uid": format!("uid-{deployment}"),
        "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "1",
        "annotations": {"deployment.kubernetes.io/revision": (set + 1).to_string()},
        "managedFields": [{"manager": "kubectl", "time": "2026-01-01T00:00:00Z", "operation": "Update",
            "fieldsV1": {"f:spec": {"f:template": {"f:spec": fields}}}}],
    });
    if kind == "ReplicaSet" {
        metadata["name"] = json!(format!("service-{deployment}-{set:08x}"));
        metadata["uid"] = json!(format!("uid-{deployment}-{set}"));
        metadata["ownerReferences"] = json!([{"kind": "Deployment", "name": format!("service-{deployment}"), "uid": format!("uid-{deployment}"), "controller": true}]);
    }
    json!({
        "metadata": metadata,
        "spec": {"replicas": 3, "template": {
            "metadata": {"labels": {"app": format!("service-{deployment}")}},
            "spec": {"containers": [{"name": "app", "image": format!("registry.example/team/service-{deployment}:{set}"), "env": env}]}}},
        "status": {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "observedGeneration": 1},
    })
}

async fn answer(uri: Uri, Query(query): Query<BTreeMap<String, String>>) -> Response {
    if query.contains_key("watch") {
        let silent = futures_util::stream::pending::<Result<Bytes, Infallible>>();
        return Response::new(Body::from_stream(silent));
    }
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
    let (from, limit) = (number("continue").unwrap_or(0), number("limit").unwrap_or(500));
    let sets = uri.path().ends_with("replicasets");
    let total = if sets { DEPLOYMENTS * SETS_EACH } else { DEPLOYMENTS };
    let to = (from + limit).min(total);
    let items: Vec<Value> = (from..to)
        .map(|n| if sets { object("ReplicaSet", n / SETS_EACH, n % SETS_EACH) } else { object("Deployment", n, SETS_EACH - 1) })
        .collect();
    let next = if to < total { to.to_string() } else { String::new() };
    Response::new(Body::from(json!({"metadata": {"resourceVersion": "1", "continue": next}, "items": items}).to_string()))
}

/// A figure of `/proc/self/status`, in kB.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a figure");
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number")
}

#[test]
#[ignore = "a measurement; see the command at the top"]
fn a_thousand_deployments_fit() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let app = axum::Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, app).await });
        let clients = Clients::of(kube::Config::new(format!("http://{address}").parse().expect("a URL"))).expect("clients");
        let bytes = object("ReplicaSet", 7, 7).to_string().len();

        let before = memory("VmRSS");
        let (sender, mut news) = mpsc::channel(64);
        let clock: Arc<dyn Clock> = Arc::new(NoClock);
        let watch = ClusterWatch::new(&clients.reads, &clock, &WatchSettings::default(), sender);
        let running = watch.clone();
        tokio::spawn(async move { running.run(CancellationToken::new()).await });
        let count = async {
            for _ in 0..DEPLOYMENTS {
                assert!(news.recv().await.expect("an event").relearned);
            }
        };
        tokio::time::timeout(Duration::from_secs(120), count).await.expect("every Deployment is told");
        let status = watch.status();
        assert_eq!(status.objects, DEPLOYMENTS * (SETS_EACH + 1));
        let (now, peak) = (memory("VmRSS"), memory("VmHWM"));
        #[expect(clippy::print_stderr, reason = "the figure is the result")]
        {
            eprintln!("{} objects of {bytes} bytes: before {before} kB, now {now} kB, peak {peak} kB", status.objects);
        }
        assert!(peak < LIMIT_KB, "peak {peak} kB");
    });
}
