//! Stories in which `backout` must not write, and a human must hear: real parts, the real binary.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Sink, Stage, eventually, holds, rules, with_namespace};

const SOON: Duration = Duration::from_secs(60);

/// Nothing is written, now or later.
async fn nothing_is_written(stage: &Stage) {
    holds("nothing is written", Duration::from_secs(3), async || match stage.writes().await {
        0 => Ok(()),
        count => Err(format!("{count} writes")),
    })
    .await;
}

/// An hour of the product is a second here: the release of the stage is four of them old.
fn an_hour_is_a_second(rules: &str) -> String {
    rules.replace("fit_target:", "recent_change: {within: 1s}\n      fit_target:")
}

#[tokio::test]
async fn without_a_recent_change_a_human_is_paged_and_nothing_is_written() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &an_hour_is_a_second(&rules("enforce", "1s"))).await;
        stage.shop.set_errors(Some(0.6));
        let page = stage.message("paged").await;
        assert!(page["title"].as_str().is_some_and(|title| title.contains("recent_change holds")), "{page}");
        let incident = stage.state("paged").await;
        assert_eq!(incident["brake"], "recent_change");
        nothing_is_written(&stage).await;
        assert!(stage.backout.metric("backout_brake_holds_total", &[("brake", "recent_change")]).await >= 1.0);
        assert_eq!(stage.backout.metric("backout_brake_holding", &[("brake", "recent_change")]).await, 1.0);
    })
    .await;
}

#[tokio::test]
async fn a_release_that_goes_bad_by_load_hours_later_is_not_rolled_back() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &an_hour_is_a_second(&rules("enforce", "1s"))).await;
        stage.ns.set_image("web", "shop:2").await;
        stage.ns.wait_rolled_out("web").await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        // More load, more pods: neither is a release.
        stage.ns.patch("web", json!({ "spec": { "replicas": 3 } })).await;
        stage.ns.wait_rolled_out("web").await;
        stage.shop.set_errors(Some(0.6));

        stage.message("paged").await;
        assert_eq!(stage.state("paged").await["brake"], "recent_change");
        nothing_is_written(&stage).await;
        assert_eq!(stage.ns.image("web").await, "shop:2");
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
async fn a_veto_during_the_countdown_holds() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &rules("enforce", "60s")).await;
        stage.ns.set_image("web", "shop:2-faulty").await;
        let incident = stage.state("countdown").await;
        let path = format!("/api/v1/incidents/{}/veto", incident["id"].as_str().expect("an id"));
        assert_eq!(stage.backout.operate(&path, &json!({ "by": "ann", "reason": "the fix is out" })).await, 200);

        let page = stage.message("paged").await;
        let text = page.to_string();
        assert!(text.contains("ann") && text.contains("the fix is out"), "{page}");
        assert_eq!(stage.state("paged").await["reason"], "vetoed");
        nothing_is_written(&stage).await;
    })
    .await;
}

#[tokio::test]
async fn an_annotation_on_the_workload_stops_the_machine() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &rules("enforce", "1s")).await;
        let pause = json!({ "metadata": { "annotations": { "backout.dev/pause": "hands off, says ann" } } });
        stage.ns.patch("web", pause).await;
        stage.ns.set_image("web", "shop:2-faulty").await;
        let page = stage.message("paged").await;
        assert!(page.to_string().contains("hands off, says ann"), "{page}");
        assert_eq!(stage.state("paged").await["brake"], "paused");
        nothing_is_written(&stage).await;
    })
    .await;
}

#[tokio::test]
async fn a_silence_means_that_a_human_has_it() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &rules("enforce", "10s")).await;
        stage.ns.set_image("web", "shop:2-faulty").await;
        stage.state("countdown").await;
        // A silence before the alert would keep it from us altogether.
        stage.alertmanagers[0].silence(&[("alertname", "ShopErrors"), ("namespace", &stage.ns.name)]).await;
        stage.message("paged").await;
        let incident = stage.state("paged").await;
        assert_eq!(incident["brake"], "human_active", "{incident}");
        nothing_is_written(&stage).await;
    })
    .await;
}

#[tokio::test]
async fn a_pair_that_says_firing_after_resolved_causes_no_second_rollback() {
    with_namespace(async |ns| {
        let witness = Sink::start().await;
        let stage = Stage::set_pair(ns, &rules("enforce", "1s"), Duration::from_secs(6), &witness).await;
        let [first, second] = &stage.alertmanagers[..] else { panic!("a pair") };
        stage.ns.set_image("web", "shop:2-faulty").await;
        stage.ns.wait_image("web", "shop:1", Duration::from_secs(90)).await;

        // The second hears of it late, and freezes what it will say before it waits for its turn.
        let alerts = first.alerts().await;
        let alert = alerts.iter().find(|alert| alert["labels"]["alertname"] == "ShopErrors").expect("still firing").clone();
        let says = |ends: Value| json!([{ "labels": alert["labels"], "startsAt": alert["startsAt"], "endsAt": ends }]);
        second.post(says((support::now() + jiff::SignedDuration::from_mins(5)).to_string().into())).await;
        let of = |status: &'static str, url: &str| {
            let url = url.to_owned();
            move |body: &Value| body["status"] == status && body["externalURL"].as_str().is_some_and(|from| same_port(from, &url))
        };
        witness.wait_for("the first says resolved", SOON, of("resolved", first.url())).await;
        second.post(says(support::now().to_string().into())).await;
        let stale = witness.wait_for("the second says firing", SOON, of("firing", second.url())).await;
        let said = witness.received();
        let position = |fits: &dyn Fn(&Value) -> bool| said.iter().position(fits).expect("said");
        assert!(
            position(&of("resolved", first.url())) < position(&of("firing", second.url())),
            "the sequence that this is about: {said:?}"
        );
        assert_eq!(millis(&stale["alerts"][0]["startsAt"]), millis(&alert["startsAt"]), "the same occurrence: {stale}");

        stage.incident("closed", |i| i["state"] == "closed" && i["reason"] == "verified").await;
        holds("nothing follows", Duration::from_secs(5), async || match stage.writes().await {
            1 => Ok(()),
            count => Err(format!("{count} writes")),
        })
        .await;
        assert!(stage.people.received().iter().all(|body| body["moment"] != "paged"), "{:?}", stage.people.received());
    })
    .await;
}

/// Alertmanager shows itself by its host's name.
fn same_port(one: &str, other: &str) -> bool {
    let port = |url: &str| url.trim_end_matches('/').rsplit(':').next().map(str::to_owned);
    port(one) == port(other)
}

/// Its API cuts times to milliseconds, its webhook does not.
fn millis(time: &Value) -> Option<i64> {
    time.as_str()?.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
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
