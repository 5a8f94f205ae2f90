//! Stories in which `backout` writes: real Prometheus, Alertmanager and control plane, the real binary.

mod support;

use std::time::Duration;

use support::{Backout, Release, Stage, holds, image_of, rules, with_namespace};

/// Every metric that is promised, with its labels.
const METRICS: &[&str] = &[
    "backout_webhook_requests_total{result,source}",
    "backout_alerts_received_total{result,source,status}",
    "backout_incidents_open{state}",
    "backout_decisions_total{outcome,policy,reason}",
    "backout_brake_holds_total{brake}",
    "backout_brake_holding{brake}",
    "backout_actions_total{result,step}",
    "backout_notifications_total{channel,result}",
    "backout_time_to_detect_seconds_bucket{le}",
    "backout_time_to_decide_seconds_bucket{le}",
    "backout_time_to_start_seconds_bucket{le}",
    "backout_time_to_rollback_seconds_bucket{le}",
    "backout_time_to_verify_seconds_bucket{le}",
    "backout_webhook_commit_seconds_bucket{le}",
    "backout_inbox_depth{}",
    "backout_inbox_capacity{}",
    "backout_policy_reload_success{}",
    "backout_policy_reload_timestamp_seconds{}",
    "backout_policy_info{hash}",
    "backout_watch_age_seconds{}",
    "backout_build_info{version}",
    "process_cpu_seconds_total{}",
    "process_open_fds{}",
    "process_resident_memory_bytes{}",
];

/// Whether there is a series of this name with exactly these labels.
fn shows(metrics: &str, wanted: &str) -> bool {
    metrics.lines().filter(|line| !line.starts_with('#')).any(|line| {
        let (name, labels) = match line.split_once('{') {
            Some((name, rest)) => (name, rest.rsplit_once('}').map_or("", |(labels, _)| labels)),
            None => (line.split(' ').next().unwrap_or_default(), ""),
        };
        let names: Vec<_> = labels.split("\",").filter_map(|pair| pair.split_once('=')).map(|(label, _)| label).collect();
        format!("{name}{{{}}}", names.join(",")) == wanted
    })
}

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
            // A story before this one may have left another in the cluster.
            assert!(stage.backout.metric("backout_rollback_unreconciled", &[]).await >= 1.0, "git says another release");
            for figure in ["detect", "decide", "start", "rollback", "verify"] {
                let count = stage.backout.metric(&format!("backout_time_to_{figure}_seconds_count"), &[]).await;
                assert_eq!(count, 1.0, "time to {figure}");
            }
            let metrics = stage.backout.metrics().await;
            let missing: Vec<_> = METRICS.iter().filter(|name| !shows(&metrics, name)).collect();
            assert!(missing.is_empty(), "{missing:?} in\n{metrics}");
            keep_journal(&stage.backout).await;
        })
        .await;
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn wanted_journal() -> Option<String> {
    std::env::var("BACKOUT_KEEP_JOURNAL").ok().filter(|kept| !std::path::Path::new(kept).exists())
}

/// Keeps this story's journal where `BACKOUT_KEEP_JOURNAL` says: how those in `tests/journals/` are made.
async fn keep_journal(backout: &Backout) {
    let Some(kept) = wanted_journal() else { return };
    let data = backout.data_dir().to_string_lossy().into_owned();
    let output = Backout::run(&["journal", "backup", &kept, "--data", &data]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
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

/// Kills it once `moment` has come, and tells the rest of the story, which is always the same.
async fn killed_when(countdown: &str, moment: impl AsyncFnOnce(&Stage)) {
    with_namespace(async |ns| {
        let mut stage = Stage::set(ns, &rules("enforce", countdown)).await;
        stage.ns.set_image("web", "shop:2-faulty").await;
        stage.ns.wait_rolled_out("web").await;
        moment(&stage).await;
        stage.backout.kill9();
        stage.backout.restart().await;
        stage.open_door();

        stage.ns.wait_image("web", "shop:1", Duration::from_secs(90)).await;
        stage.incident("verified", |i| i["state"] == "verified" || i["reason"] == "verified").await;
        stage.incident("closed", |i| i["state"] == "closed" && i["reason"] == "verified").await;
        let all = stage.backout.get("/api/v1/incidents?state=all").await.expect("incidents");
        assert_eq!(all["total"], 1, "one incident: {all}");
        assert_eq!(all["incidents"][0]["attempts"], 1);
        assert_eq!(stage.writes().await, 1, "applied once, by the API server's log");
    })
    .await;
}

#[tokio::test]
async fn killed_during_the_countdown_it_counts_down_again_and_finishes_once() {
    killed_when("6s", async |stage| {
        stage.state("countdown").await;
        assert_eq!(stage.writes().await, 0);
    })
    .await;
}

#[tokio::test]
async fn killed_in_the_middle_of_a_rollback_it_finishes_once() {
    killed_when("1s", async |stage| {
        stage.message("started").await;
    })
    .await;
}

#[tokio::test]
async fn killed_while_it_proves_the_rollback_it_finishes_once() {
    killed_when("1s", async |stage| {
        stage.state("verifying").await;
        assert_eq!(stage.writes().await, 1);
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
