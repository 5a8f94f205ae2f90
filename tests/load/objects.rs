//! A fake API server with 1,000 Deployments of 11 ReplicaSets each, as large as real ones are.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;

use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::http::Uri;
use axum::response::Response;
use serde_json::{Value, json};

pub(crate) const DEPLOYMENTS: usize = 1_000;
pub(crate) const SETS_EACH: usize = 11;

/// Serves them; where, and how many bytes one has.
pub(crate) async fn serve() -> (SocketAddr, usize) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, object("ReplicaSet", 7, 7).to_string().len())
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
