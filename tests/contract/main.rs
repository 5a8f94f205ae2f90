//! What the simulated cluster claims, checked: one suite of contracts over the port `Cluster`, on the simulated one and on a real
//! control plane with the real hands.
#![allow(dead_code, reason = "the bed is shared with the tests of the hands, which use all of it")]

#[path = "../cluster/bed.rs"]
mod bed;
mod place;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use backout::model::{
    Applied, Guard, IncidentId, Lookup, Owner, PreflightReport, Resolution, RolloutStatus, Strategy, WatchEvent, Workload,
};
use bed::{plan, plan_between, release, runs, set_of, within};
use place::Place;
use support::holds;

/// How long anything may take that a control plane does by itself.
const PATIENCE: Duration = Duration::from_secs(30);

macro_rules! contracts {
    ($($name:ident)*) => {
        mod simulated {
            $(#[tokio::test]
            async fn $name() {
                super::$name(&mut super::Place::simulated()).await;
            })*
        }

        mod real {
            $(#[tokio::test]
            async fn $name() {
                super::$name(&mut super::Place::real(stringify!($name)).await).await;
            })*
        }
    };
}

contracts! {
    a_workload_is_seen_whole
    a_pod_leads_to_its_deployment
    a_bad_release_goes_back_and_its_replica_set_is_used_again
    two_bad_releases_in_a_row_go_back_to_the_named_one
    a_bad_image_never_becomes_available
    a_write_that_came_in_between_meets_the_guard
    a_person_who_was_first_is_told_apart
    a_person_who_fixes_forward_wins
    a_deployment_that_somebody_holds_is_left_alone
    our_pause_on_a_workload_is_seen_and_kept
    a_deployment_made_again_is_another_one
    a_missing_config_map_is_in_the_way
    a_restart_is_the_same_release
    the_history_limit_prunes_the_oldest
    recreate_ends_all_pods_first
    the_watch_tells_a_releases_life
}

async fn good_then_bad(place: &Place) -> Workload {
    place.create("web:1").await;
    place.see_when(Workload::complete).await;
    place.release("web:bad").await;
    place.see_when(|seen| runs(seen, "web:bad")).await
}

fn problems(report: &PreflightReport) -> Vec<String> {
    let found = report.findings.iter().filter_map(|found| found.problem.as_ref().map(|why| format!("{}: {why}", found.check)));
    found.collect()
}

async fn a_workload_is_seen_whole(place: &mut Place) {
    place.create("web:1").await;
    let seen = place.see_when(|seen| seen.landed_at.is_some()).await;
    assert_eq!((seen.owner.clone(), seen.strategy, seen.paused), (Owner::Plain, Strategy::Rolling, false));
    assert_eq!((seen.generation, seen.observed_generation, seen.pause.clone()), (1, 1, None));
    let counts = seen.replicas;
    assert_eq!((counts.desired, counts.total, counts.updated, counts.available), (2, 2, 2, 2));
    let set = set_of(&seen, "web:1");
    assert_eq!((set.revision, set.desired, set.available), (1, 2, 2));
    assert_eq!((&set.digest, set.data_barrier.clone()), (&seen.release, None));
    assert!(set.image_digests["web:1"].contains("@sha256:"), "{set:?}");
    assert!(set.created_at.millis() % 1000 == 0 && set.name.starts_with("web-"), "{set:?}");
    assert_eq!(seen.writes.len(), 1, "{:?}", seen.writes);
    assert!(seen.writes[0].template && seen.writes[0].manager == "kubectl" && seen.writes[0].at.millis() % 1000 == 0);
    assert_eq!(seen.last_rollback, None);
    let status = place.cluster().rollout(seen.id.clone(), seen.release.clone()).await;
    assert_eq!(status, RolloutStatus::Complete);

    let mut other = seen.id.clone();
    other.uid = "another".into();
    assert!(matches!(place.cluster().observe(other).await, Resolution::Unresolved { .. }));
    let mut nowhere = place.at();
    nowhere.name = "nowhere".into();
    let nowhere = place.cluster().resolve(Lookup::Workload(nowhere)).await;
    assert!(
        matches!(nowhere, Resolution::Unresolved { ref why } if why.contains("there is no Deployment `nowhere`")),
        "{nowhere:?}"
    );
}

async fn a_pod_leads_to_its_deployment(place: &mut Place) {
    place.create("web:1").await;
    place.see_when(Workload::complete).await;
    let pod = place.pods().await.remove(0);
    let of = |pod: String| Lookup::Pod { namespace: place.at().namespace, pod };
    let Resolution::Found { workload } = place.cluster().resolve(of(pod)).await else { panic!("expected the Deployment") };
    assert_eq!(workload.id.at, place.at());
    let gone = place.cluster().resolve(of("web-5d8f-gone".into())).await;
    assert!(matches!(gone, Resolution::Unresolved { ref why } if why.contains("gone")), "{gone:?}");
}

async fn a_bad_release_goes_back_and_its_replica_set_is_used_again(place: &mut Place) {
    let bad = good_then_bad(place).await;
    assert_eq!((bad.generation, set_of(&bad, "web:bad").revision), (2, 2));
    let (plan, guard) = plan(&bad, "web:1");
    let report = place.cluster().preflight(plan.clone(), guard.clone()).await;
    assert_eq!(problems(&report), Vec::<String>::new());
    for check in ["target", "template", "dry run"] {
        assert!(report.findings.iter().any(|found| found.check == check), "{check}: {report:?}");
    }
    assert_eq!(place.see().await.release, bad.release, "nothing was written");
    let evidence = place.cluster().evidence(plan.clone()).await;
    assert!(evidence.sections.keys().any(|section| section.contains("pods")), "{evidence:?}");

    let applied = place.apply(&plan, &guard).await;
    assert_eq!(applied, Applied::Done { generation: guard.generation + 1 });
    place.complete(&plan).await;
    let seen = place.see().await;
    assert_eq!(seen.release, plan.to.digest);
    assert_eq!(seen.current().map(|set| &set.name), plan.to.replica_set.as_ref(), "the old ReplicaSet is used again");
    assert_eq!(set_of(&seen, "web:1").revision, 3, "and renumbered");
    assert_eq!(seen.replica_sets.iter().map(|set| set.revision).collect::<Vec<_>>(), [2, 3], "revision 1 is no more");
    assert_eq!(seen.last_rollback.as_deref(), Some(plan.incident.0.as_str()));
    assert!(seen.writes.iter().all(|write| write.manager == "kubectl"), "ours is not somebody else's: {:?}", seen.writes);

    let again = place.apply(&plan, &guard).await;
    assert_eq!(again, Applied::Already { generation: seen.generation, ours: true });
    let mut other = plan.clone();
    other.incident = IncidentId::derive(&["another"]);
    assert_eq!(place.apply(&other, &guard).await, Applied::Already { generation: seen.generation, ours: false });
}

async fn two_bad_releases_in_a_row_go_back_to_the_named_one(place: &mut Place) {
    good_then_bad(place).await;
    place.release("web:worse-bad").await;
    let worse = place.see_when(|seen| runs(seen, "web:worse-bad")).await;
    let (plan, guard) = plan(&worse, "web:1");
    assert!(matches!(place.apply(&plan, &guard).await, Applied::Done { .. }));
    place.complete(&plan).await;
    let seen = place.see().await;
    assert_eq!((seen.images.clone(), set_of(&seen, "web:1").revision), (vec!["web:1".to_owned()], 4));
}

async fn a_bad_image_never_becomes_available(place: &mut Place) {
    let bad = good_then_bad(place).await;
    let counts = |seen: &Workload| {
        let counts = seen.replicas;
        (counts.desired, counts.total, counts.updated, counts.available)
    };
    place.see_when(|seen| counts(seen) == (2, 3, 1, 2)).await;
    holds("the good pods stay, the bad one never comes up", Duration::from_secs(1), async || {
        let now = counts(&place.see().await);
        if now == (2, 3, 1, 2) { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
    let seen = place.see().await;
    assert_eq!((set_of(&seen, "web:bad").desired, set_of(&seen, "web:bad").available), (1, 0));
    assert!(!seen.complete() && seen.landed_at.is_none());
    let status = place.cluster().rollout(bad.id.clone(), bad.release.clone()).await;
    assert!(
        matches!(status, RolloutStatus::Progressing { ref detail } if detail == "1 of 2 updated, 2 available, 3 in all"),
        "{status:?}"
    );
}

async fn a_write_that_came_in_between_meets_the_guard(place: &mut Place) {
    let bad = good_then_bad(place).await;
    let (plan, guard) = plan(&bad, "web:1");
    place.scale(3).await;
    let refused = place.apply(&plan, &guard).await;
    assert!(matches!(refused, Applied::Refused { transient: true, forbidden: false, .. }), "{refused:?}");
    let report = place.cluster().preflight(plan.clone(), guard).await;
    assert!(report.problem().is_some_and(|found| found.transient), "{report:?}");
    let seen = place.see().await;
    assert_eq!((&seen.release, seen.generation), (&plan.from.digest, 3));
    let now = Guard { generation: seen.generation };
    assert_eq!(place.apply(&plan, &now).await, Applied::Done { generation: 4 });
    place.complete(&plan).await;
    assert_eq!(place.see().await.replicas.desired, 3, "replicas are not ours to put back");
}

async fn a_person_who_was_first_is_told_apart(place: &mut Place) {
    let bad = good_then_bad(place).await;
    let (plan, guard) = plan(&bad, "web:1");
    place.release("web:1").await;
    assert!(matches!(place.apply(&plan, &guard).await, Applied::Already { ours: false, .. }));
    place.complete(&plan).await;
    assert_eq!(place.see().await.last_rollback, None);
}

async fn a_person_who_fixes_forward_wins(place: &mut Place) {
    let bad = good_then_bad(place).await;
    let (plan, guard) = plan(&bad, "web:1");
    place.release("web:3").await;
    let Applied::Refused { why, transient: false, forbidden: false } = place.apply(&plan, &guard).await else {
        panic!("expected a refusal")
    };
    assert!(why.contains("superseded: kubectl put release"), "{why}");
    let status = place.cluster().rollout(plan.target.clone(), plan.to.digest.clone()).await;
    assert!(matches!(status, RolloutStatus::Superseded { by: Some(ref by), .. } if by == "kubectl"), "{status:?}");
    let report = place.cluster().preflight(plan, guard).await;
    assert!(problems(&report).iter().any(|why| why.contains("superseded: kubectl")), "{report:?}");
}

async fn a_deployment_that_somebody_holds_is_left_alone(place: &mut Place) {
    good_then_bad(place).await;
    place.hold(true).await;
    let seen = place.see_when(|seen| seen.paused).await;
    let (plan, guard) = plan(&seen, "web:1");
    assert!(matches!(place.apply(&plan, &guard).await, Applied::Refused { transient: false, .. }));
    let report = place.cluster().preflight(plan.clone(), guard).await;
    assert!(problems(&report).iter().any(|why| why.contains("paused")), "{report:?}");
    place.release("web:2").await;
    // The controller looks, and makes no ReplicaSet.
    let looked = |seen: &Workload| seen.images == ["web:2"] && seen.observed_generation == seen.generation;
    place.see_when(looked).await;
    holds("no ReplicaSet is made while it is held", Duration::from_secs(1), async || match place.see().await.current() {
        None => Ok(()),
        Some(set) => Err(set.name.clone()),
    })
    .await;
}

async fn our_pause_on_a_workload_is_seen_and_kept(place: &mut Place) {
    let bad = good_then_bad(place).await;
    let (plan, guard) = plan(&bad, "web:1");
    place.annotate("backout.dev/pause", "mine").await;
    let seen = place.see().await;
    // Of a Deployment the API server counts annotations as well.
    assert_eq!((seen.pause.as_deref(), seen.generation), (Some("mine"), bad.generation + 1));
    assert!(matches!(place.apply(&plan, &guard).await, Applied::Refused { transient: true, .. }));
    let now = Guard { generation: seen.generation };
    assert!(matches!(place.apply(&plan, &now).await, Applied::Refused { transient: false, why, .. } if why.contains("mine")));
}

async fn a_deployment_made_again_is_another_one(place: &mut Place) {
    let bad = good_then_bad(place).await;
    let (plan, guard) = plan(&bad, "web:1");
    place.delete().await;
    within(PATIENCE, async || place.cluster().rollout(plan.target.clone(), plan.to.digest.clone()).await == RolloutStatus::Gone)
        .await;
    assert!(matches!(place.apply(&plan, &guard).await, Applied::Refused { transient: false, .. }));
    place.create("web:bad").await;
    assert!(matches!(place.apply(&plan, &guard).await, Applied::Refused { transient: false, .. }));
    assert!(matches!(place.cluster().observe(plan.target.clone()).await, Resolution::Unresolved { .. }));
    assert_ne!(place.see().await.id, plan.target);
}

async fn a_missing_config_map_is_in_the_way(place: &mut Place) {
    place.create_with_config("web:1", "cfg-1").await;
    place.see_when(Workload::complete).await;
    place.release_with_config("web:bad", "cfg-2").await;
    let bad = place.see_when(|seen| runs(seen, "web:bad")).await;
    let (plan, guard) = plan(&bad, "web:1");
    let report = place.cluster().preflight(plan.clone(), guard.clone()).await;
    assert_eq!(problems(&report), Vec::<String>::new());
    place.delete_config("cfg-1").await;
    let report = place.cluster().preflight(plan, guard).await;
    let expected = format!("ConfigMap {}/cfg-1: the old release needs it, and it is not there", place.at().namespace);
    assert_eq!(problems(&report), [expected]);
}

async fn a_restart_is_the_same_release(place: &mut Place) {
    place.create("web:1").await;
    let before = place.see_when(Workload::complete).await;
    place.restart().await;
    let after = place.see_when(|seen| seen.replica_sets.len() == 2 && seen.complete()).await;
    assert_eq!(after.release, before.release);
    assert_eq!(after.current().map(|set| set.revision), Some(2));
}

async fn the_history_limit_prunes_the_oldest(place: &mut Place) {
    place.create_with("web:1", 1, false).await;
    let first = place.see_when(Workload::complete).await;
    for image in ["web:2", "web:3"] {
        place.release(image).await;
        place.see_when(|seen| seen.images == [image] && seen.complete()).await;
    }
    let seen = place.see_when(|seen| seen.replica_sets.len() == 2).await;
    assert_eq!(seen.replica_sets.iter().map(|set| set.images[0].as_str()).collect::<Vec<_>>(), ["web:2", "web:3"]);
    let mut to = release(set_of(&first, "web:1"));
    to.replica_set = None;
    let from = release(set_of(&seen, "web:3"));
    let plan = plan_between(seen.id.clone(), from, to);
    let refused = place.apply(&plan, &Guard { generation: seen.generation }).await;
    assert!(matches!(refused, Applied::Refused { transient: false, ref why, .. } if why.contains("pruned")), "{refused:?}");
}

async fn recreate_ends_all_pods_first(place: &mut Place) {
    place.create_with("web:1", 10, true).await;
    let seen = place.see_when(Workload::complete).await;
    assert_eq!(seen.strategy, Strategy::AllAtOnce);
    place.release("web:bad").await;
    let all_at_once = |seen: &Workload| set_of_or_none(seen, "web:bad") == Some(2) && seen.replicas.available == 0;
    let seen = place.see_when(all_at_once).await;
    assert_eq!(set_of(&seen, "web:1").desired, 0);
}

fn set_of_or_none(seen: &Workload, image: &str) -> Option<i32> {
    seen.replica_sets.iter().find(|set| set.images == [image]).map(|set| set.desired)
}

async fn the_watch_tells_a_releases_life(place: &mut Place) {
    place.create("web:1").await;
    let good = place.see_when(Workload::complete).await;
    let mut events = place.watch();
    let first = next(&mut events, |event| event.available).await;
    assert!(first.relearned && !first.by_us && !first.gone);
    assert_eq!(
        (first.by.as_deref(), &first.release, first.images.as_slice()),
        (Some("kubectl"), &good.release, &["web:1".to_owned()][..])
    );
    let set = set_of(&good, "web:1");
    assert_eq!((first.first_write, first.replica_set.as_ref()), (set.created_at, Some(&set.name)));
    assert_eq!(first.landed_at, good.landed_at);

    place.release("web:bad").await;
    let bad = next(&mut events, |event| event.images == ["web:bad"] && event.replica_set.is_some()).await;
    let seen = place.see_when(|seen| runs(seen, "web:bad")).await;
    assert!(!bad.available && !bad.relearned && !bad.by_us, "{bad:?}");
    assert_eq!((bad.first_write, bad.landed_at), (set_of(&seen, "web:bad").created_at, None));

    let (plan, guard) = plan(&seen, "web:1");
    assert!(matches!(place.apply(&plan, &guard).await, Applied::Done { .. }));
    let back = next(&mut events, |event| event.images == ["web:1"] && event.available).await;
    assert!(back.by_us && !back.relearned, "{back:?}");
    assert_eq!(back.by.as_deref(), Some("backout"));
    assert!(!back.gone && back.release == good.release);

    place.delete().await;
    let gone = next(&mut events, |event| event.gone).await;
    assert_eq!((gone.target, gone.available), (good.id, false));
}

async fn next(events: &mut tokio::sync::mpsc::Receiver<WatchEvent>, wanted: impl Fn(&WatchEvent) -> bool) -> WatchEvent {
    let heard = async {
        loop {
            let event = events.recv().await.expect("the watch goes on");
            if wanted(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("the watch tells it")
}
