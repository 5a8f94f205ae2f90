//! What is known before the write, and what is collected before it.

use std::sync::Arc;
use std::time::Duration;

use backout::model::{Applied, PreflightReport, Workload};
use backout::ports::{Cluster, Store};
use backout::store::{SqliteOptions, SqliteStore};
use serde_json::{Value, json};

use crate::bed::{Setup, Shop, plan, release, runs, set_of, within};

fn problems(report: &PreflightReport) -> Vec<String> {
    let found = report.findings.iter().filter_map(|found| found.problem.as_ref().map(|why| format!("{}: {why}", found.check)));
    found.collect()
}

/// A good release that names a ConfigMap, a Secret and a service account, and a bad one that names the Secret too.
async fn with_references(shop: &Shop) -> Workload {
    shop.post(&shop.core("configmaps"), json!({"metadata": {"name": "cfg-1"}, "data": {"level": "3"}})).await;
    shop.post(&shop.core("secrets"), json!({"metadata": {"name": "db"}, "stringData": {"password": "x"}})).await;
    shop.post(&shop.core("serviceaccounts"), json!({"metadata": {"name": "shop"}})).await;
    let container = |image: &str, config: Value| {
        let password = json!({"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}});
        json!({"name": "web", "image": image, "env": [config, password]})
    };
    let level = json!({"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "cfg-1", "key": "level"}}});
    let pod = json!({"serviceAccountName": "shop", "containers": [container("web:1", level)]});
    shop.create("web:1", pod, json!({})).await;
    shop.see_when(Workload::complete).await;
    let bad = container("web:bad", json!({"name": "LEVEL", "value": "3"}));
    shop.edit(json!({"template": {"spec": {"containers": [bad]}}})).await;
    shop.see_when(|seen| runs(seen, "web:bad")).await
}

#[tokio::test]
async fn everything_is_there_and_each_check_is_told() {
    let shop = Shop::open("flight").await;
    let bad = with_references(&shop).await;
    let (plan, guard) = plan(&bad, "web:1");
    // A crashing pod of the bad release has started with the Secret, which we may not read.
    let mut report = PreflightReport::default();
    within(Duration::from_secs(10), async || {
        report = shop.cluster.preflight(plan.clone(), guard.clone()).await;
        problems(&report).is_empty()
    })
    .await;
    let checks: Vec<_> = report.findings.iter().map(|found| found.check.replace(&shop.namespace, "NS")).collect();
    for expected in
        ["target", "template", "dry run", "ConfigMap NS/cfg-1", "Secret NS/db (by a started pod)", "ServiceAccount NS/shop"]
    {
        assert!(checks.iter().any(|check| check == expected), "{expected}: {checks:?}");
    }
    assert_eq!(shop.see().await.release, bad.release, "nothing was written");
}

#[tokio::test]
async fn what_the_old_release_needs_and_is_not_there_is_named() {
    let shop = Shop::open("missing").await;
    let bad = with_references(&shop).await;
    let (plan, guard) = plan(&bad, "web:1");
    shop.patch(&shop.core("configmaps/cfg-1"), json!({"data": {"level": null, "other": "1"}})).await;
    let report = shop.cluster.preflight(plan.clone(), guard.clone()).await;
    assert!(problems(&report).iter().any(|why| why.contains("cfg-1: the old release needs key `level`")), "{report:?}");
    shop.delete(&shop.core("configmaps/cfg-1")).await;
    shop.delete(&shop.core("serviceaccounts/shop")).await;
    let report = shop.cluster.preflight(plan, guard).await;
    assert_eq!(
        problems(&report).iter().filter(|why| why.ends_with("the old release needs it, and it is not there")).count(),
        2,
        "{report:?}"
    );
}

#[tokio::test]
async fn a_secret_that_nothing_proves_is_in_the_way() {
    let shop = Shop::open("secret").await;
    shop.post(&shop.core("secrets"), json!({"metadata": {"name": "db"}, "stringData": {"password": "x"}})).await;
    let pod = json!({"volumes": [{"name": "db", "secret": {"secretName": "db"}}]});
    shop.create("web:1", pod, json!({})).await;
    shop.see_when(Workload::complete).await;
    let container = json!({"name": "web", "image": "web:bad"});
    shop.edit(json!({"template": {"spec": {"containers": [container], "volumes": null}}})).await;
    let bad = shop.see_when(|seen| runs(seen, "web:bad")).await;
    let (plan, guard) = plan(&bad, "web:1");
    let report = shop.cluster.preflight(plan, guard).await;
    let found = report.problem().expect("a problem");
    assert!(found.forbidden && found.check.contains("/db"), "{report:?}");
}

#[tokio::test]
async fn a_dry_run_that_the_server_refuses_is_told() {
    let shop = Shop::open("dryrun").await;
    let bad = shop.good_then_bad().await;
    let (mut plan, guard) = plan(&bad, "web:1");
    shop.patch(&shop.apps("deployments/web/scale"), json!({"spec": {"replicas": 3}})).await;
    let report = shop.cluster.preflight(plan.clone(), guard).await;
    let target = report.problem().expect("the generation moved");
    assert!(target.transient && target.check == "target", "{report:?}");
    plan.to.replica_set = Some("no-such-set".into());
    let guard = backout::model::Guard { generation: shop.see().await.generation };
    let report = shop.cluster.preflight(plan, guard).await;
    assert_eq!(problems(&report), Vec::<String>::new(), "another ReplicaSet of the same template will do");
}

#[tokio::test]
async fn a_pruned_release_comes_back_from_the_copy_that_was_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path(), SqliteOptions::default()).expect("a journal"));
    let mut shop = Shop::open_with("pruned", Setup { store: Some(store), ..Setup::default() }).await;
    let mut news = shop.watch();
    shop.create("web:1", json!({}), json!({})).await;
    let event = loop {
        let event = news.recv().await.expect("the watch runs");
        if event.available {
            break event;
        }
    };
    let good = shop.see().await;
    shop.release("web:bad").await;
    shop.see_when(|seen| runs(seen, "web:bad")).await;
    let kept_in_time = shop.cluster.keep_template(&event).await;

    let set = set_of(&good, "web:1").name.clone();
    shop.delete(&shop.apps(&format!("replicasets/{set}"))).await;
    // The controller makes none again for a template that is not current.
    let bad = shop.see_when(|seen| seen.replica_sets.iter().all(|set| set.images != ["web:1"])).await;
    let to = release(set_of(&good, "web:1"));
    let from = release(set_of(&bad, "web:bad"));
    let plan = crate::bed::plan_between(bad.id.clone(), from, to);
    let guard = backout::model::Guard { generation: bad.generation };

    assert_eq!(kept_in_time, Ok(true));
    let report = shop.cluster.preflight(plan.clone(), guard.clone()).await;
    assert_eq!(problems(&report), Vec::<String>::new());
    assert!(matches!(shop.apply(&plan, &guard).await, Applied::Done { .. }));
    let back = shop.see_when(Workload::complete).await;
    assert_eq!((back.release, back.images), (plan.to.digest, vec!["web:1".to_owned()]));
}

#[tokio::test]
async fn a_pruned_release_that_nobody_kept_is_said_to_be_nowhere() {
    let shop = Shop::open("nowhere").await;
    let bad = shop.good_then_bad().await;
    let (plan, guard) = plan(&bad, "web:1");
    shop.delete(&shop.apps(&format!("replicasets/{}", set_of(&bad, "web:1").name))).await;
    shop.see_when(|seen| seen.replica_sets.iter().all(|set| set.images != ["web:1"])).await;
    let report = shop.cluster.preflight(plan.clone(), guard.clone()).await;
    assert!(problems(&report).iter().any(|why| why.starts_with("template: ") && why.contains("is nowhere")), "{report:?}");
    assert!(matches!(shop.apply(&plan, &guard).await, Applied::Refused { transient: false, .. }));
}

#[tokio::test]
async fn evidence_says_what_was_left_and_what_could_not_be_had() {
    let shop = Shop::open("evidence").await;
    let bad = with_references(&shop).await;
    let (plan, _) = plan(&bad, "web:1");
    let mut evidence = backout::model::Evidence::default();
    within(Duration::from_secs(20), async || {
        evidence = shop.cluster.evidence(plan.clone()).await;
        evidence.sections.get("pods").is_some_and(|pods| pods.contains("CrashLoopBackOff"))
            && evidence.sections.contains_key("events")
    })
    .await;
    let section = |name: &str| evidence.sections.get(name).map_or("", String::as_str);
    assert!(section("pods").contains("exit code 1"), "{evidence:?}");
    assert!(section("replica sets").contains("<- leaving") && section("replica sets").contains("<- going to"), "{evidence:?}");
    assert!(section("template diff").contains("~ container web image: web:bad -> web:1"), "{evidence:?}");
    assert!(section("target").contains("written by kubectl"), "{evidence:?}");
    assert!(section("events").contains("Deployment/web"), "{evidence:?}");
    assert!(
        evidence.missing.iter().any(|missing| missing.starts_with("logs ")),
        "the test bed's pods have no logs: {evidence:?}"
    );
}

#[tokio::test]
async fn an_admission_policy_that_now_refuses_the_old_release_is_found_before_the_write() {
    let shop = Shop::open("policy").await;
    let bad = shop.good_then_bad().await;
    let (plan, guard) = plan(&bad, "web:1");
    let own = json!({"matchLabels": {"kubernetes.io/metadata.name": shop.namespace}});
    let admission = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    let rule = json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"]});
    let policy = json!({"metadata": {"name": shop.namespace}, "spec": {
        "matchConstraints": {"resourceRules": [rule], "namespaceSelector": own},
        "validations": [{"expression": "object.spec.template.spec.containers.all(c, c.image != 'web:1')", "message": "web:1 is banned"}]}});
    shop.post(admission, policy).await;
    let binding =
        json!({"metadata": {"name": shop.namespace}, "spec": {"policyName": shop.namespace, "validationActions": ["Deny"]}});
    shop.post("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings", binding).await;
    let mut report = PreflightReport::default();
    within(Duration::from_secs(20), async || {
        report = shop.cluster.preflight(plan.clone(), guard.clone()).await;
        report.problem().is_some()
    })
    .await;
    let found = report.problem().expect("a problem");
    assert!(found.check == "dry run" && !found.transient && !found.forbidden, "{found:?}");
    assert!(found.problem.as_deref().is_some_and(|why| why.contains("web:1 is banned")), "{found:?}");
    let refused = shop.apply(&plan, &guard).await;
    assert!(matches!(refused, Applied::Refused { transient: false, forbidden: false, .. }), "{refused:?}");
    shop.delete(&format!("{admission}/{}", shop.namespace)).await;
}
