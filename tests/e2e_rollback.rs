//! Stories in which `backout` writes: real Prometheus, Alertmanager and control plane, the real binary.

mod support;

use std::time::Duration;

use support::{Release, Stage, holds, image_of, rules, with_namespace};

#[tokio::test]
async fn a_bad_release_goes_back_and_is_verified() {
    for release in [Release::New, Release::Old] {
        with_namespace(async |ns| {
            let stage = Stage::set_with(ns, &rules("enforce", "1s"), release).await;
            stage.ns.set_image("web", "shop:2-faulty").await;
            stage.ns.wait_rolled_out("web").await;

            stage.ns.wait_image("web", "shop:1", Duration::from_secs(90)).await;
            let incident = stage.incident("verified", |i| i["state"] == "verified" || i["reason"] == "verified").await;
            assert_eq!(incident["outcome"], "rollback");
            assert_eq!(incident["target"], format!("deployment/{}/web", stage.ns.name));
            stage.message("started").await;
            stage.message("verified").await;
            stage.incident("closed", |i| i["state"] == "closed" && i["reason"] == "verified").await;
            assert_eq!(stage.writes().await, 1, "one write, by the API server's log");
            assert!(stage.backout.metric("backout_actions_total", &[("step", "undo"), ("result", "done")]).await >= 1.0);
            assert!(stage.backout.metric("backout_time_to_verify_seconds_count", &[]).await >= 1.0);
        })
        .await;
    }
}

#[tokio::test]
async fn a_second_bad_release_in_a_row_does_not_bring_the_first_bad_one_back() {
    with_namespace(async |ns| {
        let stage = Stage::set(
            ns,
            &rules("enforce", "1s").replace(
                "healthy: 2s}",
                "healthy: 2s}\n      cooldown: {disabled: 'the story is short'}\n      budget: {per_target: 5}",
            ),
        )
        .await;
        stage.ns.set_image("web", "shop:2-faulty").await;
        stage.ns.wait_image("web", "shop:1", Duration::from_secs(90)).await;
        stage.incident("closed", |i| i["state"] == "closed" && i["reason"] == "verified").await;

        stage.ns.set_image("web", "shop:3-faulty").await;
        stage.ns.wait_image("web", "shop:1", Duration::from_secs(90)).await;
        holds("it stays on the good one", Duration::from_secs(5), async || {
            let image = stage.ns.image("web").await;
            if image == "shop:1" { Ok(()) } else { Err(image) }
        })
        .await;
        assert_eq!(stage.writes().await, 2);
    })
    .await;
}

#[tokio::test]
async fn killed_in_the_middle_of_a_rollback_it_finishes_once() {
    with_namespace(async |ns| {
        let mut stage = Stage::set(ns, &rules("enforce", "1s")).await;
        stage.ns.set_image("web", "shop:2-faulty").await;
        stage.ns.wait_rolled_out("web").await;
        stage.message("started").await;
        stage.backout.kill9();
        stage.backout.restart().await;
        stage.open_door();

        stage.ns.wait_image("web", "shop:1", Duration::from_secs(90)).await;
        stage.incident("verified", |i| i["state"] == "verified" || i["reason"] == "verified").await;
        assert_eq!(stage.writes().await, 1, "applied once, by the API server's log");
    })
    .await;
}

#[tokio::test]
async fn a_human_who_deploys_a_fix_during_the_countdown_wins() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &rules("enforce", "60s")).await;
        stage.ns.set_image("web", "shop:2-faulty").await;
        stage.state("countdown").await;
        stage.ns.set_image("web", "shop:3").await;

        let page = stage.message("paged").await;
        assert!(page["title"].as_str().is_some_and(|title| title.contains("somebody deployed")), "{page}");
        stage.ns.wait_rolled_out("web").await;
        assert_eq!(image_of(&stage.ns.deployment("web").await), "shop:3");
        assert_eq!(stage.writes().await, 0);
    })
    .await;
}

#[tokio::test]
async fn an_approval_is_given_to_a_plan_and_nothing_else() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &rules("approve", "1s")).await;
        stage.ns.set_image("web", "shop:2-faulty").await;
        let incident = stage.state("approval").await;
        let (id, plan) = (incident["id"].as_str().expect("an id"), incident["plan"].as_str().expect("a plan"));
        assert_eq!(stage.writes().await, 0);

        let path = format!("/api/v1/incidents/{id}/approve");
        let approval = |plan: &str| serde_json::json!({ "by": "ann", "plan_hash": plan, "overrides": [] });
        assert_eq!(stage.backout.operate(&path, &approval("0000000000000000")).await, 409);
        assert_eq!(stage.backout.operate(&path, &approval(plan)).await, 200);
        stage.ns.wait_image("web", "shop:1", Duration::from_secs(90)).await;
        stage.incident("verified", |i| i["state"] == "verified" || i["reason"] == "verified").await;
    })
    .await;
}
