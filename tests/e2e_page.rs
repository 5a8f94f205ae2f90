//! Stories in which `backout` must not write, and a human must hear: real parts, the real binary.

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Stage, eventually, holds, rules, with_namespace};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn without_a_recent_change_a_human_is_paged_and_nothing_is_written() {
    with_namespace(async |ns| {
        let rules = rules("enforce", "1s").replace("fit_target:", "recent_change: {within: 1s}\n      fit_target:");
        let stage = Stage::set(ns, &rules).await;
        // A release that goes bad by load, long after its deploy.
        stage.ns.set_image("web", "shop:2").await;
        stage.ns.wait_rolled_out("web").await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        stage.shop.set_errors(Some(0.6));

        let page = stage.message("paged").await;
        assert!(page["title"].as_str().is_some_and(|title| title.contains("recent_change holds")), "{page}");
        let incident = stage.state("paged").await;
        assert_eq!(incident["brake"], "recent_change");
        assert_eq!(stage.writes().await, 0);
        assert!(stage.backout.metric("backout_brake_holds_total", &[("brake", "recent_change")]).await >= 1.0);
    })
    .await;
}

#[tokio::test]
async fn without_prometheus_a_human_is_paged() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &rules("enforce", "1s")).await;
        stage.prometheus_gate.close();
        stage.ns.set_image("web", "shop:2-faulty").await;
        stage.message("paged").await;
        assert_eq!(stage.writes().await, 0);
        assert_eq!(stage.ns.image("web").await, "shop:2-faulty");
    })
    .await;
}

#[tokio::test]
async fn without_the_api_server_a_human_is_paged() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &rules("enforce", "1s")).await;
        stage.ns.set_image("web", "shop:2-faulty").await;
        stage.cluster_gate.close();
        stage.message("paged").await;
        assert_eq!(stage.writes().await, 0);
        stage.cluster_gate.open();
        holds("nothing is written later either", Duration::from_secs(5), async || match stage.writes().await {
            0 => Ok(()),
            count => Err(format!("{count} writes")),
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn without_permission_a_human_is_paged() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &rules("enforce", "1s")).await;
        let roles = stage.ns.api::<k8s_openapi::api::rbac::v1::RoleBinding>();
        roles.delete("backout-test-write", &kube::api::DeleteParams::default()).await.expect("deleted");
        stage.ns.set_image("web", "shop:2-faulty").await;
        let page = stage.message("paged").await;
        assert!(page["text"].as_str().is_some_and(|text| text.contains("permission")), "{page}");
        assert_eq!(stage.writes().await, 0);
    })
    .await;
}

#[tokio::test]
async fn in_shadow_everything_is_announced_and_nothing_is_written() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &rules("shadow", "1s")).await;
        stage.ns.set_image("web", "shop:2-faulty").await;
        let message = stage.message("decided").await;
        assert!(message["title"].as_str().is_some_and(|title| title.contains("would roll back (shadow)")), "{message}");
        stage.state("shadowed").await;
        holds("nothing is written", Duration::from_secs(3), async || match stage.writes().await {
            0 => Ok(()),
            count => Err(format!("{count} writes")),
        })
        .await;
        assert!(stage.people.received().iter().all(|body| body["urgency"] != "page"), "shadow never pages");
    })
    .await;
}

#[tokio::test]
async fn a_stale_firing_after_the_end_causes_no_second_rollback() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &rules("enforce", "1s")).await;
        stage.ns.set_image("web", "shop:2-faulty").await;
        let incident = stage.incident("closed", |i| i["state"] == "closed" && i["reason"] == "verified").await;
        let report = stage.backout.get(&format!("/api/v1/incidents/{}", incident["id"].as_str().expect("an id"))).await;
        let report = report.expect("a report");
        let members = report["incident"]["members"].as_object().expect("members").clone();
        let alert = members.values().next().expect("an alert")["alert"].clone();

        // What a slower peer of a pair sends: the same firing, after it was resolved.
        let starts_at = alert["starts_at"].as_i64().expect("milliseconds");
        let starts_at = jiff::Timestamp::from_millisecond(starts_at).expect("a time").to_string();
        let body = json!({ "version": "4", "status": "firing", "receiver": "hook", "alerts": [{
            "status": "firing", "labels": alert["labels"], "annotations": {}, "startsAt": starts_at,
            "endsAt": "0001-01-01T00:00:00Z", "fingerprint": alert["fingerprint"],
        }]});
        assert_eq!(stage.backout.post_webhook(&body).await, 200);
        eventually("it is over again by itself", SOON, async || {
            let open = stage.backout.get("/api/v1/incidents").await?;
            match open["incidents"].as_array().map(Vec::len) {
                Some(0) => Ok(()),
                _ => Err(open.to_string()),
            }
        })
        .await;
        assert_eq!(stage.writes().await, 1);
    })
    .await;
}
