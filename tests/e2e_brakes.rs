//! Brakes on real parts: the real control plane, Prometheus and Alertmanager, the real binary. Each holds once, and says so.

mod support;

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use support::{Namespace, SCHEDULER, Stage, eventually, holds, rules, with_namespace};

/// The rules of the stage, with more of their brakes said.
fn rules_with(countdown: &str, brakes: &str) -> String {
    rules("enforce", countdown).replace("fit_target:", &format!("{brakes}\n      fit_target:"))
}

/// Nothing is written, now or in a while: so many writes there are, by the API server's own log.
async fn written(stage: &Stage, wanted: usize) {
    holds(&format!("{wanted} writes"), Duration::from_secs(3), async || match stage.writes().await {
        count if count == wanted => Ok(()),
        count => Err(format!("{count} writes")),
    })
    .await;
}

/// The page that this brake holds, and the incident that stands there.
async fn held(stage: &Stage, brake: &str) -> (Value, Value) {
    let page = stage.message("paged").await;
    let title = page["title"].as_str().unwrap_or_default();
    assert!(title.contains(&format!("NOT rolled back, {brake} holds")), "{page}");
    let incident = stage.incident(brake, |incident| incident["state"] == "paged" && incident["brake"] == brake).await;
    (page, incident)
}

/// A Job labelled as a migration that completed just now, as its controller leaves it.
async fn migrated(ns: &Namespace, name: &str, image: &str) {
    let pod = json!({ "spec": {
        "schedulerName": SCHEDULER, "restartPolicy": "Never", "containers": [{ "name": "migrate", "image": image }],
    }});
    let job = json!({
        "metadata": { "name": name, "labels": { "backout.dev/migration": "orders" } },
        // Suspended, so that no controller begins it: how it ended is written below.
        "spec": { "suspend": true, "template": pod },
    });
    let jobs = ns.api::<Job>();
    jobs.create(&PostParams::default(), &serde_json::from_value(job).expect("a Job")).await.expect("created");
    let at = support::now().to_string();
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": at, "lastProbeTime": at });
    let status = json!({ "status": {
        "startTime": at, "completionTime": at, "succeeded": 1,
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
    }});
    jobs.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.expect("its status is taken");
}

#[tokio::test]
async fn a_migration_between_the_releases_latches_until_a_person_looked() {
    with_namespace(async |ns| {
        let brakes = "cooldown: 1s\n      budget: {per_target: 9}\n      recent_change: {within: 30m}";
        let stage = Stage::set(ns, &rules_with("1s", brakes)).await;
        migrated(&stage.ns, "migrate-2", "shop:2-faulty").await;
        stage.ns.set_image("web", "shop:2-faulty").await;
        let (page, _) = held(&stage, "data_latch").await;
        let text = page["text"].as_str().unwrap_or_default();
        assert!(text.contains("migration Job `migrate-2` completed"), "{page}");
        written(&stage, 0).await;

        let latches = stage.backout.get("/api/v1/latches").await.expect("a list");
        let latch = &latches["latches"][0];
        assert_eq!((&latch["cause"], &latch["target"]), (&json!("migration"), &json!(format!("{}/web", stage.ns.name))));
        assert_eq!(stage.backout.metric("backout_latches", &[("cause", "migration")]).await, 1.0);

        // The Job is gone, and the latch is not: not for another release either, until somebody looked.
        stage.ns.api::<Job>().delete("migrate-2", &kube::api::DeleteParams::default()).await.expect("deleted");
        let clear = format!("/api/v1/latches/{}/clear", latch["id"]);
        assert_eq!(stage.backout.operate(&clear, &json!({ "by": "ann", "reason": "" })).await, 400);
        assert_eq!(stage.backout.operate(&clear, &json!({ "by": "ann", "reason": "shop:1 works with it" })).await, 200);
        assert_eq!(stage.backout.operate(&clear, &json!({ "by": "eve", "reason": "again" })).await, 409);
        let latches = stage.backout.get("/api/v1/latches").await.expect("a list");
        assert_eq!(latches["latches"][0]["cleared"]["by"], "ann");
        // A brake that lets go starts nothing by itself.
        written(&stage, 0).await;

        stage.release("shop:3").await;
        stage.ns.set_image("web", "shop:4-faulty").await;
        stage.ns.wait_image("web", "shop:3", Duration::from_secs(90)).await;
        written(&stage, 1).await;
    })
    .await;
}

#[tokio::test]
async fn targets_that_did_not_change_and_show_the_same_hold() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &rules_with("1s", "recent_change: {within: 15s}")).await;
        let others = ["prices", "search"];
        for name in others {
            stage.ns.deploy(name, "stock:1", 1).await;
            stage.ns.wait_rolled_out(name).await;
        }
        // So long ago that no trouble of today has to do with it.
        tokio::time::sleep(Duration::from_secs(18)).await;
        for name in others {
            let labels = [("alertname", "ShopErrors"), ("namespace", stage.ns.name.as_str()), ("deployment", name)];
            stage.alertmanagers[0].post_alert(&labels, &[]).await;
        }
        stage.ns.set_image("web", "shop:2-faulty").await;
        let target = format!("deployment/{}/web", stage.ns.name);
        let incident = stage.incident("held", |i| i["target"] == target && i["state"] == "paged").await;
        assert_eq!(incident["brake"], "control_group", "{incident}");
        let summary = incident["summary"].as_str().unwrap_or_default();
        assert!(summary.contains("2 targets that did not change") && summary.contains("the cause is shared"), "{incident}");
        for name in others {
            assert!(summary.contains(&format!("deployment/{}/{name}", stage.ns.name)), "{incident}");
        }
        written(&stage, 0).await;
    })
    .await;
}

#[tokio::test]
async fn within_a_freeze_nothing_is_written() {
    with_namespace(async |ns| {
        let always = "time_intervals: [{name: trading, time_intervals: [{times: [{start_time: '00:00', end_time: '24:00'}]}]}]\n";
        let stage = Stage::set(ns, &format!("{always}{}", rules_with("1s", "freeze: [trading]"))).await;
        stage.ns.set_image("web", "shop:2-faulty").await;
        let (page, _) = held(&stage, "freeze").await;
        assert!(page["text"].as_str().is_some_and(|text| text.contains("it is `trading`")), "{page}");
        written(&stage, 0).await;
    })
    .await;
}

#[tokio::test]
async fn three_at_once_are_a_storm_and_nothing_is_written() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &rules("enforce", "60s")).await;
        for name in ["cart", "search"] {
            stage.ns.deploy(name, &format!("{name}:1"), 1).await;
            stage.ns.wait_rolled_out(name).await;
            stage.healthy(name, &format!("{name}:1")).await;
        }
        for name in ["cart", "search"] {
            stage.ns.set_image(name, &format!("{name}:2")).await;
            stage.ns.wait_rolled_out(name).await;
        }
        stage.ns.set_image("web", "shop:2-faulty").await;
        stage.state("countdown").await;
        let namespace = stage.ns.name.clone();
        for name in ["cart", "search"] {
            let labels = [("alertname", "ShopErrors"), ("namespace", &namespace), ("deployment", name), ("severity", "critical")];
            stage.alertmanagers[0].post_alert(&labels, &[]).await;
        }
        let (page, _) = held(&stage, "storm").await;
        assert!(page["text"].as_str().is_some_and(|text| text.contains("3 targets want a rollback")), "{page}");
        // Whatever waited is called off as well: the first one, too.
        let target = format!("deployment/{namespace}/web");
        stage.incident("the first one", |i| i["target"] == target && i["state"] == "paged" && i["brake"] == "storm").await;
        written(&stage, 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_policy_whose_rollback_was_wrong_asks_until_it_is_armed_again() {
    with_namespace(async |ns| {
        let brakes = "cooldown: 1s\n      budget: {per_target: 9}\n      flapping: {suppress: 5000}";
        let stage = Stage::set(ns, &rules_with("1s", brakes)).await;
        stage.ns.set_image("web", "shop:2-faulty").await;
        stage.ns.wait_image("web", "shop:1", Duration::from_secs(90)).await;
        let first = stage.incident("closed", |i| i["state"] == "closed" && i["reason"] == "verified").await;
        let mark = format!("/api/v1/incidents/{}/mark", first["id"].as_str().expect("an id"));
        let wrong = json!({ "mark": "wrong", "by": "ann", "reason": "it was the database" });
        assert_eq!(stage.backout.operate(&mark, &wrong).await, 200);

        stage.ns.set_image("web", "shop:3-faulty").await;
        let asks = stage.state("approval").await;
        assert!(asks["summary"].as_str().is_some_and(|summary| summary.contains("the policy is not trusted")), "{asks}");
        assert_eq!(stage.backout.metric("backout_policy_trust_spent", &[("policy", "shop")]).await, 1.0);
        written(&stage, 1).await;

        // A person mends it, and says why the policy is trusted again.
        stage.ns.set_image("web", "shop:4").await;
        stage.ns.wait_rolled_out("web").await;
        let rearm = json!({ "policy": "shop", "by": "ann", "reason": "it looks at the release alone now" });
        assert_eq!(stage.backout.operate("/api/v1/policies/rearm", &rearm).await, 200);
        // The alert is over: what fires next began with the next release.
        stage.incident("the second one is closed", |i| i["id"] == asks["id"] && i["state"] == "closed").await;
        // Its alert may fire once more, for what was counted before; and what is gone back to was healthy for a while.
        tokio::time::sleep(Duration::from_secs(4)).await;
        eventually("nothing is open", Duration::from_secs(60), async || {
            let open = stage.backout.get("/api/v1/incidents").await?;
            if open["incidents"].as_array().is_some_and(Vec::is_empty) { Ok(()) } else { Err(open.to_string()) }
        })
        .await;
        stage.ns.set_image("web", "shop:5-faulty").await;
        stage.ns.wait_image("web", "shop:4", Duration::from_secs(90)).await;
        written(&stage, 2).await;
    })
    .await;
}
