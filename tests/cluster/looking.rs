//! From what an alert names to the workload, and what is seen of it.

use backout::model::{IncidentId, Lookup, Owner, Resolution, Strategy, UnknownKind, Workload};
use backout::ports::Cluster;
use serde_json::json;

use crate::bed::{Setup, Shop, runs, set_of};

#[tokio::test]
async fn a_pod_leads_to_its_deployment() {
    let shop = Shop::open("pod").await;
    shop.create("web:1", json!({}), json!({})).await;
    shop.see_when(Workload::complete).await;
    let pods = shop.get(&shop.core("pods")).await;
    let pod = pods["items"][0]["metadata"]["name"].as_str().expect("a pod").to_owned();
    let of = |pod: &str| Lookup::Pod { namespace: shop.namespace.clone(), pod: pod.to_owned() };
    let Resolution::Found { workload } = shop.cluster.resolve(of(&pod)).await else { panic!("expected the Deployment") };
    assert_eq!(workload.id.at, shop.at());

    let gone = shop.cluster.resolve(of("web-5d8f-gone")).await;
    assert!(matches!(gone, Resolution::Unresolved { ref why } if why.contains("gone")), "{gone:?}");
    let alone = json!({"metadata": {"name": "alone"}, "spec": {"containers": [{"name": "c", "image": "web:1"}]}});
    shop.post(&shop.core("pods"), alone).await;
    let alone = shop.cluster.resolve(of("alone")).await;
    assert!(matches!(alone, Resolution::Unresolved { ref why } if why.contains("no controller")), "{alone:?}");
}

#[tokio::test]
async fn a_workload_is_seen_whole() {
    let shop = Shop::open("whole").await;
    shop.create("web:1", json!({}), json!({})).await;
    let seen = shop.see_when(|seen| seen.landed_at.is_some()).await;
    assert_eq!((seen.owner.clone(), seen.strategy, seen.paused), (Owner::Plain, Strategy::Rolling, false));
    let set = set_of(&seen, "web:1");
    assert_eq!((set.revision, set.desired, set.available), (1, 2, 2));
    assert!(set.image_digests["web:1"].contains("@sha256:"), "{set:?}");
    assert_eq!(seen.writes.len(), 1);
    assert!(seen.writes[0].template && seen.writes[0].manager == "kubectl");
    let again = shop.cluster.observe(seen.id.clone()).await;
    assert_eq!(again, Resolution::Found { workload: Box::new(seen.clone()) });
    let mut other = seen.id.clone();
    other.uid = "another".into();
    assert!(matches!(shop.cluster.observe(other).await, Resolution::Unresolved { .. }));
}

#[tokio::test]
async fn a_restart_is_the_same_release() {
    let shop = Shop::open("restart").await;
    shop.create("web:1", json!({}), json!({})).await;
    let before = shop.see_when(Workload::complete).await;
    let restarted = json!({"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"});
    shop.edit(json!({"template": {"metadata": {"annotations": restarted}}})).await;
    let after = shop.see_when(|seen| seen.replica_sets.len() == 2 && seen.complete()).await;
    assert_eq!(after.release, before.release);
    assert_eq!(after.current().map(|set| set.revision), Some(2));
}

#[tokio::test]
async fn owners_and_pauses_are_seen() {
    let shop = Shop::open("marks").await;
    let helm = json!({"annotations": {"meta.helm.sh/release-name": "shop"}, "labels": {"app.kubernetes.io/managed-by": "Helm"}});
    shop.create("web:1", json!({}), helm).await;
    assert_eq!(shop.see().await.owner, Owner::Helm(format!("{}/shop", shop.namespace)));
    let web = shop.apps("deployments/web");
    let mark = |metadata: serde_json::Value| shop.patch(&web, json!({ "metadata": metadata }));
    mark(json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux"}})).await;
    assert_eq!(shop.see().await.owner, Owner::Flux("Kustomization flux/apps".into()));
    let id = format!("shop:apps/Deployment:{}/web", shop.namespace);
    mark(json!({"annotations": {"argocd.argoproj.io/tracking-id": id}})).await;
    assert_eq!(shop.see().await.owner, Owner::ArgoCd("shop".into()));

    let namespace = format!("/api/v1/namespaces/{}", shop.namespace);
    shop.patch(&namespace, json!({"metadata": {"annotations": {"backout.dev/pause": "game day"}}})).await;
    assert_eq!(shop.see().await.pause.as_deref(), Some("game day"), "the shipped Role can read it");
    shop.edit(json!({"strategy": {"type": "Recreate", "rollingUpdate": null}})).await;
    shop.edit(json!({"template": {"metadata": {"annotations": {"backout.dev/data-barrier": "7"}}}})).await;
    shop.release("web:2").await;
    let seen = shop.see_when(|seen| runs(seen, "web:2")).await;
    assert_eq!(seen.strategy, Strategy::AllAtOnce);
    assert_eq!(set_of(&seen, "web:2").data_barrier.as_deref(), Some("7"));
}

#[tokio::test]
async fn what_may_not_be_read_is_unknown() {
    let shop = Shop::open_with("blind", Setup { without_role: true, ..Setup::default() }).await;
    let seen = shop.cluster.resolve(Lookup::Workload(shop.at())).await;
    assert!(matches!(seen, Resolution::Unknown { ref why } if why.kind == UnknownKind::Forbidden), "{seen:?}");
}

#[tokio::test]
async fn an_event_stands_on_the_workload() {
    let shop = Shop::open("event").await;
    shop.create("web:1", json!({}), json!({})).await;
    let seen = shop.see().await;
    let incident = IncidentId::derive(&["event"]);
    shop.cluster.event(seen.id.clone(), incident.clone(), "RollbackStarted", "ü".repeat(2000)).await;
    assert_eq!(shop.cluster.events_lost(), 0);
    let events = shop.get(&format!("/apis/events.k8s.io/v1/namespaces/{}/events", shop.namespace)).await;
    let ours: Vec<_> =
        events["items"].as_array().expect("events").iter().filter(|event| event["reason"] == "RollbackStarted").collect();
    assert_eq!(ours.len(), 1);
    assert_eq!(ours[0]["action"], json!(incident.0));
    assert_eq!(ours[0]["regarding"]["uid"], json!(seen.id.uid));
}
