//! Proves the test bed itself: what other tests stand on is there and behaves as they assume.

mod support;

use std::time::Duration;

use serde_json::json;
use support::{
    Alertmanager, FakeShop, Gate, Prometheus, Release, Sink, deployment, eventually, holds, http, prometheus_config,
    route_to_webhook, with_namespace,
};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_deployment_rolls_out() {
    with_namespace(async |ns| {
        ns.deploy("web", "shop:1", 3).await;
        ns.wait_rolled_out("web").await;
        ns.set_image("web", "shop:2-slow").await;
        let deployment = ns.wait_rolled_out("web").await;

        assert_eq!(deployment.status.expect("a status").available_replicas, Some(3));
        for pod in ns.pods("web").await {
            let status = pod.status.expect("a status");
            let container = &status.container_statuses.expect("container statuses")[0];
            assert!(status.pod_ip.is_some());
            assert!(container.image_id.starts_with("docker-pullable://shop:2-slow@sha256:"), "{}", container.image_id);
        }
    })
    .await;
}

#[tokio::test]
async fn a_bad_image_stays_unavailable_and_an_undo_is_quick() {
    with_namespace(async |ns| {
        ns.deploy("web", "shop:1", 4).await;
        ns.wait_rolled_out("web").await;
        ns.set_image("web", "shop:bad").await;

        let crashing = eventually("a pod crash-loops", SOON, async || {
            let pods = ns.pods("web").await;
            let statuses = pods.into_iter().filter_map(|pod| pod.status?.container_statuses).flatten();
            statuses.into_iter().find(|status| status.restart_count == 3).ok_or("none yet")
        })
        .await;
        assert_eq!(crashing.state.expect("a state").waiting.expect("waiting").reason.as_deref(), Some("CrashLoopBackOff"));
        let hangs = async || {
            let deployment = ns.deployment("web").await;
            let available = deployment.status.as_ref().and_then(|status| status.available_replicas);
            match support::rolled_out(&deployment) {
                Err(_) if available == Some(3) => Ok(()),
                other => Err(format!("{other:?}, {available:?} available")),
            }
        };
        // The status of the Deployment comes after that of its pods.
        eventually("the rollout hangs", SOON, hangs).await;
        holds("three of four stay, the rollout hangs", Duration::from_secs(1), hangs).await;

        ns.set_image("web", "shop:1").await;
        ns.wait_rolled_out("web").await;
    })
    .await;
}

#[tokio::test]
async fn pods_become_unready_when_told_so() {
    with_namespace(async |ns| {
        ns.deploy("web", "shop:1", 2).await;
        ns.wait_rolled_out("web").await;
        for (ready, available) in [(false, None), (true, Some(2))] {
            ns.set_ready("web", ready).await;
            eventually("the Deployment notices", SOON, async || {
                let found = ns.deployment("web").await.status.and_then(|status| status.available_replicas);
                if found.filter(|count| *count > 0) == available { Ok(()) } else { Err(format!("{found:?}")) }
            })
            .await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_service_reads_everywhere_and_writes_where_allowed() {
    with_namespace(async |ns| {
        ns.deploy("web", "shop:1", 1).await;
        let client = ns.plane.as_backout().await;
        let deployments = kube::Api::<k8s_openapi::api::apps::v1::Deployment>::namespaced(client, &ns.name);
        let patch = kube::api::Patch::Merge(json!({ "metadata": { "annotations": { "tried": "yes" } } }));
        let params = kube::api::PatchParams::default();

        deployments.get("web").await.expect("may read");
        let refused = deployments.patch("web", &params, &patch).await.expect_err("may not write yet");
        assert!(matches!(refused, kube::Error::Api(status) if status.code == 403));
        ns.allow_writing().await;
        // The API server's authorizer learns of the new role by its own watch.
        eventually("may write", SOON, async || deployments.patch("web", &params, &patch).await).await;
        deployments.patch("web", &params.clone().dry_run(), &patch).await.expect("may try");

        let Some(writes) = ns.writes_by(support::BACKOUT_USER).await else { return };
        assert_eq!(writes.first().map(|write| write.code), Some(403));
        let (tried, done): (Vec<_>, Vec<_>) = writes.iter().filter(|write| write.code == 200).partition(|write| write.dry_run);
        assert_eq!((tried.len(), done.len()), (1, 1), "{writes:?}");
        assert_eq!((done[0].verb.as_str(), done[0].resource.as_str(), done[0].name.as_str()), ("patch", "deployments", "web"));
        assert_eq!(done[0].body["metadata"]["annotations"]["tried"], "yes");
    })
    .await;
}

#[tokio::test]
async fn a_gate_makes_the_api_server_vanish() {
    with_namespace(async |ns| {
        let gate = Gate::to(&ns.plane.address()).await;
        let dir = tempfile::tempdir().expect("a folder");
        let client = support::client_of(&ns.plane.backout_kubeconfig_through(&gate, dir.path())).await;
        client.apiserver_version().await.expect("reached through the gate");
        gate.close();
        client.apiserver_version().await.expect_err("not reached any more");
        gate.open();
        client.apiserver_version().await.expect("reached again");
    })
    .await;
}

#[tokio::test]
async fn both_alertmanagers_route_to_a_webhook() {
    for (release, version) in [(Release::Old, "0.2"), (Release::New, "0.31")] {
        let sink = Sink::start().await;
        let alertmanager = Alertmanager::start(release, &route_to_webhook(sink.url(), Duration::from_secs(1)), &[]).await;
        let status = alertmanager.get("/api/v2/status").await.expect("a status");
        assert!(status["versionInfo"]["version"].as_str().is_some_and(|found| found.starts_with(version)), "{status}");

        alertmanager.post_alert(&[("alertname", "Errors"), ("severity", "page")], &[("summary", "too many")]).await;
        let body = sink.wait_for("the alert fires", SOON, |body| body["status"] == "firing").await;
        assert_eq!(body["version"], "4");
        assert_eq!(body["alerts"][0]["labels"]["alertname"], "Errors");
        assert_eq!(alertmanager.alerts().await.len(), 1);
        alertmanager.resolve_alert(&[("alertname", "Errors"), ("severity", "page")]).await;
        sink.wait_for("the alert is resolved", SOON, |body| body["status"] == "resolved").await;
    }
}

#[tokio::test]
async fn a_pair_of_alertmanagers_notifies_once() {
    let sink = Sink::start().await;
    let config = route_to_webhook(sink.url(), Duration::from_secs(1));
    let pair = Alertmanager::start_pair(Release::New, &config, Duration::from_secs(2)).await;
    for alertmanager in &pair {
        alertmanager.post_alert(&[("alertname", "Errors")], &[]).await;
    }
    sink.wait_for("the first of them notifies", SOON, |body| body["status"] == "firing").await;
    holds("the second does not repeat it", Duration::from_secs(3), async || match sink.received().len() {
        1 => Ok(()),
        count => Err(format!("{count} notifications")),
    })
    .await;
}

#[tokio::test]
async fn prometheus_sees_the_shop_go_bad_and_says_so() {
    const RULES: &str = r#"
groups:
- name: shop
  rules:
  - alert: ShopErrors
    expr: sum by (namespace, deployment) (rate(http_requests_total{code="500"}[3s])) / sum by (namespace, deployment) (rate(http_requests_total[3s])) > 0.3
    labels: {severity: page}
"#;
    with_namespace(async |ns| {
        let sink = Sink::start().await;
        let alertmanager = Alertmanager::start(Release::New, &route_to_webhook(sink.url(), Duration::from_secs(1)), &[]).await;
        ns.create(deployment("web", "shop:1", 2)).await;
        let shop = FakeShop::start(&ns, "web").await;
        let prometheus = Prometheus::start(&prometheus_config(&[shop.url()], &[alertmanager.url()]), RULES).await;
        prometheus.wait_for("sum(rate(http_requests_total[3s])) > 10", SOON).await;
        assert!(prometheus.query("ALERTS").await.expect("an answer").is_empty());

        ns.set_image("web", "shop:2-faulty").await;
        ns.wait_rolled_out("web").await;
        let body = sink.wait_for("the alert arrives", SOON, |body| body["status"] == "firing").await;
        assert_eq!(body["alerts"][0]["labels"]["namespace"], ns.name.as_str());
        assert_eq!(body["alerts"][0]["labels"]["deployment"], "web");

        ns.set_image("web", "shop:1").await;
        sink.wait_for("it is over", SOON, |body| body["status"] == "resolved").await;
    })
    .await;
}

#[tokio::test]
async fn a_sink_answers_as_told() {
    let sink = Sink::start().await;
    for status in [200, 503] {
        sink.answer_with(status);
        let answer = http().post(sink.url()).json(&json!({ "n": status })).send().await.expect("an answer");
        assert_eq!(answer.status(), status);
    }
    assert_eq!(sink.received(), [json!({ "n": 200 }), json!({ "n": 503 })]);
}
