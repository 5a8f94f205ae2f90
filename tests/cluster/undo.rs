//! Going back: what is written, what is refused, and how the end of it is told.

use std::num::NonZeroU32;

use backout::execute::WriterSettings;
use backout::model::{Applied, Digest, Guard, IncidentId, ReleaseRef, RolloutStatus, TargetId, Workload};
use backout::ports::Cluster;
use serde_json::json;

use crate::bed::{Setup, Shop, plan, plan_between, release, runs, set_of, within};
use std::time::Duration;

async fn complete(shop: &Shop, target: &TargetId, release: &Digest) {
    within(Duration::from_secs(30), async || {
        let status = shop.cluster.rollout(target.clone(), release.clone()).await;
        assert!(!matches!(status, RolloutStatus::Failed { .. } | RolloutStatus::Superseded { .. }), "{status:?}");
        status == RolloutStatus::Complete
    })
    .await;
}

#[tokio::test]
async fn a_bad_release_goes_back_to_the_good_one() {
    let shop = Shop::open("undo").await;
    let bad = shop.good_then_bad().await;
    let (plan, guard) = plan(&bad, "web:1");
    let Applied::Done { generation } = shop.apply(&plan, &guard).await else { panic!("expected it to be written") };
    assert_eq!(generation, guard.generation + 1);
    complete(&shop, &plan.target, &plan.to.digest).await;

    let seen = shop.see().await;
    assert_eq!(seen.release, plan.to.digest);
    assert_eq!(seen.current().map(|set| &set.name), plan.to.replica_set.as_ref(), "the old ReplicaSet is used again");
    assert_eq!(seen.last_rollback.as_deref(), Some(plan.incident.0.as_str()));
    assert!(
        seen.writes.iter().all(|write| write.manager == "kubectl"),
        "our own write is not somebody else's: {:?}",
        seen.writes
    );
    let raw = shop.get(&shop.apps("deployments/web")).await;
    assert_eq!(
        raw["metadata"]["annotations"]["kubernetes.io/change-cause"],
        json!(format!("backout: rev 2 -> rev 1, incident {}", plan.incident))
    );
    assert_eq!(raw["spec"]["template"]["metadata"]["labels"], json!({"app": "web"}), "without the label of the ReplicaSet");

    let again = shop.apply(&plan, &guard).await;
    assert_eq!(again, Applied::Already { generation: seen.generation, ours: true });
    let mut other = plan.clone();
    other.incident = IncidentId::derive(&["another"]);
    assert!(matches!(shop.apply(&other, &guard).await, Applied::Already { ours: false, .. }));
}

#[tokio::test]
async fn two_bad_releases_in_a_row_go_back_to_the_named_one() {
    let shop = Shop::open("pingpong").await;
    shop.good_then_bad().await;
    shop.release("web:worse-bad").await;
    let worse = shop.see_when(|seen| runs(seen, "web:worse-bad")).await;
    let (plan, guard) = plan(&worse, "web:1");
    assert!(matches!(shop.apply(&plan, &guard).await, Applied::Done { .. }));
    complete(&shop, &plan.target, &plan.to.digest).await;
    assert_eq!(shop.see().await.images, ["web:1"]);
}

#[tokio::test]
async fn what_somebody_scaled_in_between_is_asked_about_again() {
    let shop = Shop::open("scaled").await;
    let bad = shop.good_then_bad().await;
    let (plan, guard) = plan(&bad, "web:1");
    shop.patch(&shop.apps("deployments/web/scale"), json!({"spec": {"replicas": 3}})).await;
    let refused = shop.apply(&plan, &guard).await;
    assert!(matches!(refused, Applied::Refused { transient: true, forbidden: false, .. }), "{refused:?}");

    let seen = shop.see().await;
    assert_eq!(seen.release, plan.from.digest);
    let now = Guard { generation: seen.generation };
    assert!(matches!(shop.apply(&plan, &now).await, Applied::Done { .. }));
    complete(&shop, &plan.target, &plan.to.digest).await;
    assert_eq!(shop.see().await.replicas.desired, 3, "replicas are not ours to put back");
}

#[tokio::test]
async fn a_person_who_fixes_forward_wins() {
    let shop = Shop::open("human").await;
    let bad = shop.good_then_bad().await;
    let (plan, guard) = plan(&bad, "web:1");
    shop.release("web:3").await;
    let Applied::Refused { why, transient: false, forbidden: false } = shop.apply(&plan, &guard).await else {
        panic!("expected a refusal")
    };
    assert!(why.contains("superseded: kubectl put release"), "{why}");
    let status = shop.cluster.rollout(plan.target.clone(), plan.to.digest.clone()).await;
    assert!(matches!(status, RolloutStatus::Superseded { by: Some(ref by), .. } if by == "kubectl"), "{status:?}");
}

#[tokio::test]
async fn a_deployment_that_somebody_holds_is_left_alone() {
    let shop = Shop::open("held").await;
    shop.good_then_bad().await;
    shop.edit(json!({"paused": true})).await;
    let seen = shop.see_when(|seen| seen.paused).await;
    let (plan, guard) = plan(&seen, "web:1");
    assert!(matches!(shop.apply(&plan, &guard).await, Applied::Refused { transient: false, .. }));
    let report = shop.cluster.preflight(plan.clone(), guard).await;
    assert!(
        report.problem().is_some_and(|found| found.problem.as_deref().is_some_and(|why| why.contains("paused"))),
        "{report:?}"
    );

    shop.edit(json!({"paused": null})).await;
    shop.patch(&shop.apps("deployments/web"), json!({"metadata": {"annotations": {"backout.dev/pause": "mine"}}})).await;
    let seen = shop.see().await;
    assert_eq!(seen.pause.as_deref(), Some("mine"));
    let now = Guard { generation: seen.generation };
    assert!(matches!(shop.apply(&plan, &now).await, Applied::Refused { why, .. } if why.contains("mine")));
}

#[tokio::test]
async fn a_deployment_made_again_is_another_one() {
    let shop = Shop::open("again").await;
    let bad = shop.good_then_bad().await;
    let (plan, guard) = plan(&bad, "web:1");
    shop.delete(&shop.apps("deployments/web")).await;
    within(Duration::from_secs(30), async || {
        shop.cluster.rollout(plan.target.clone(), plan.to.digest.clone()).await == RolloutStatus::Gone
    })
    .await;
    assert!(matches!(shop.apply(&plan, &guard).await, Applied::Refused { transient: false, .. }));
    shop.create("web:bad", json!({}), json!({})).await;
    assert!(matches!(shop.apply(&plan, &guard).await, Applied::Refused { transient: false, .. }));
}

#[tokio::test]
async fn without_the_role_it_is_refused_as_forbidden() {
    let allowed = Shop::open("allowed").await;
    let bad = allowed.good_then_bad().await;
    let (mut plan, guard) = plan(&bad, "web:1");
    let shop = Shop::open_with("forbidden", Setup { without_role: true, ..Setup::default() }).await;
    plan.target.at.namespace = shop.namespace.clone();
    let refused = shop.apply(&plan, &guard).await;
    assert!(matches!(refused, Applied::Refused { forbidden: true, transient: false, .. }), "{refused:?}");
    let report = shop.cluster.preflight(plan, guard).await;
    assert!(report.problem().is_some_and(|found| found.forbidden), "{report:?}");
}

#[tokio::test]
async fn writes_come_no_faster_than_allowed() {
    let writer = WriterSettings { burst: NonZeroU32::MIN, ..WriterSettings::default() };
    let shop = Shop::open_with("limited", Setup { writer, ..Setup::default() }).await;
    let bad = shop.good_then_bad().await;
    let (there, guard) = plan(&bad, "web:1");
    assert!(matches!(shop.apply(&there, &guard).await, Applied::Done { .. }));
    let seen = shop.see().await;
    let (back, guard) = plan(&seen, "web:bad");
    let limited = shop.apply(&back, &guard).await;
    assert!(matches!(limited, Applied::Refused { transient: true, ref why, .. } if why.contains("limit")), "{limited:?}");
}

#[tokio::test]
async fn what_the_old_template_held_comes_back_whole() {
    let shop = Shop::open("whole").await;
    // The last two are newer than the client library's schema.
    let pod = json!({
        "terminationGracePeriodSeconds": 7,
        "hostUsers": true,
        "containers": [{"name": "web", "image": "web:1", "env": [{"name": "A", "value": "1"}],
            "restartPolicyRules": null, "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]}],
        "hostnameOverride": "fixed-name",
    });
    shop.create("web:1", pod, json!({})).await;
    shop.see_when(Workload::complete).await;
    let before = shop.get(&shop.apps("deployments/web")).await["spec"]["template"].clone();
    assert_eq!(before["spec"]["hostnameOverride"], "fixed-name", "the API server knows the field");
    let changed = json!({"name": "web", "image": "web:bad", "env": [{"name": "B", "value": "2"}]});
    shop.edit(json!({"template": {"spec": {"containers": [changed], "hostnameOverride": null, "hostUsers": null}}})).await;
    let bad = shop.see_when(|seen| runs(seen, "web:bad")).await;
    let (plan, guard) = plan(&bad, "web:1");
    assert!(matches!(shop.apply(&plan, &guard).await, Applied::Done { .. }));
    assert_eq!(shop.get(&shop.apps("deployments/web")).await["spec"]["template"], before);
}

#[tokio::test]
async fn a_deadline_that_passed_before_the_undo_is_no_failure_of_it() {
    let shop = Shop::open("deadline").await;
    shop.create("web:1", json!({}), json!({})).await;
    shop.see_when(Workload::complete).await;
    shop.edit(json!({"progressDeadlineSeconds": 1})).await;
    shop.release("web:bad").await;
    let stuck = async || {
        let raw = shop.get(&shop.apps("deployments/web")).await;
        let conditions = raw["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["reason"] == "ProgressDeadlineExceeded")
    };
    within(Duration::from_secs(30), stuck).await;
    let bad = shop.see().await;
    let (plan, guard) = plan(&bad, "web:1");
    assert!(matches!(shop.apply(&plan, &guard).await, Applied::Done { .. }));
    complete(&shop, &plan.target, &plan.to.digest).await;
}

#[tokio::test]
async fn a_release_without_a_replica_set_yet_can_be_left() {
    let shop = Shop::open("early").await;
    shop.create("web:1", json!({}), json!({})).await;
    let good = shop.see_when(Workload::complete).await;
    // Paused, the controller makes no ReplicaSet for the new template.
    shop.edit(json!({"paused": true})).await;
    shop.release("web:bad").await;
    let bad = shop.see_when(|seen| seen.images == ["web:bad"]).await;
    assert!(bad.current().is_none(), "the highest ReplicaSet is the good one, and it is not the release that is current");
    let raw = shop.edit(json!({"paused": null})).await;
    let from = ReleaseRef { digest: bad.release.clone(), revision: None, replica_set: None, images: bad.images.clone() };
    let plan = plan_between(bad.id.clone(), from, release(set_of(&good, "web:1")));
    let guard = Guard { generation: raw["metadata"]["generation"].as_i64().expect("a generation") };
    assert!(matches!(shop.apply(&plan, &guard).await, Applied::Done { .. }));
    complete(&shop, &plan.target, &plan.to.digest).await;
}
