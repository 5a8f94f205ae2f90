//! What the shipped Roles let backout do: what its policies need, and nothing else. Asked with the service account's own token.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::account::Installation;
use crate::support::{Namespace, Stage, client_of, deployment, eventually, rules, with_namespace};
use crate::tools::rendered;

/// All that it may do in a namespace that it looks after, as `verb group/resource`.
const READS: &[&str] = &[
    "get apps/deployments",
    "list apps/deployments",
    "watch apps/deployments",
    "get apps/replicasets",
    "list apps/replicasets",
    "watch apps/replicasets",
    "get /pods",
    "list /pods",
    "get /pods/log",
    "get /events",
    "list /events",
    "get /configmaps",
    "get /persistentvolumeclaims",
    "get /serviceaccounts",
    "get /namespaces",
    "list batch/jobs",
];
/// What acting needs besides.
const WRITES: &[&str] = &["patch apps/deployments", "create events.k8s.io/events"];

/// Verbs of the API and those that only authorisation knows.
const VERBS: &[&str] =
    &["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "bind", "escalate", "impersonate"];

#[tokio::test]
async fn the_role_is_what_a_rollback_needs() {
    with_namespace(async |ns| {
        let folder = tempfile::tempdir().expect("a folder");
        let installation = Installation::of(&ns, rendered("overlays/production")).await;
        installation.apply(&["ServiceAccount", "Role", "RoleBinding"]).await;
        let account = installation.kubeconfig("backout", folder.path()).await;
        installation.apply(ADMISSION).await;
        ns.deploy("bait", "shop:1", 1).await;
        admission_is_awake(&client_of(&account).await, &ns.name).await;
        let user = format!("system:serviceaccount:{}:backout", installation.home);

        let stage = Stage::set_as(ns, &rules("enforce", "1s"), &account).await;
        stage.ns.set_image("web", "shop:2-faulty").await;
        stage.ns.wait_image("web", "shop:1", Duration::from_secs(90)).await;
        let incident = stage.incident("verified", |i| i["state"] == "verified" || i["reason"] == "verified").await;
        assert_eq!(incident["outcome"], "rollback");

        let report = stage.backout.get(&format!("/api/v1/incidents/{}", incident["id"].as_str().expect("an id"))).await;
        let report = report.expect("a report").to_string();
        assert!(!report.contains("forbidden: "), "nothing that it asked for was refused: {report}");
        if let Some(writes) = stage.ns.writes_by(&user).await {
            let written: BTreeSet<_> =
                writes.iter().filter(|w| !w.dry_run).map(|w| (w.verb.clone(), w.resource.clone(), w.code)).collect();
            let patched = ("patch".to_owned(), "deployments".to_owned(), 200);
            let told = ("create".to_owned(), "events".to_owned(), 201);
            assert_eq!(written, BTreeSet::from([patched, told]), "all that it wrote");
        }
        drop(stage);
        installation.remove().await;
    })
    .await;
}

#[tokio::test]
async fn everything_else_is_refused() {
    with_namespace(async |ns| {
        let acting: BTreeSet<&str> = READS.iter().chain(WRITES).copied().collect();
        let reading: BTreeSet<&str> = READS.iter().copied().collect();
        for (overlay, expected) in [("overlays/production", &acting), ("overlays/shadow", &reading)] {
            let folder = tempfile::tempdir().expect("a folder");
            let installation = Installation::of(&ns, rendered(overlay)).await;
            installation.apply(&["ServiceAccount", "Role", "RoleBinding"]).await;
            let asker = Asker::of(&installation, &ns, folder.path()).await;
            let expected: BTreeSet<String> = expected.iter().map(|right| (*right).to_owned()).collect();
            assert_eq!(asker.rights(Some(&ns.name)).await, expected, "{overlay}, where it looks after");
            for elsewhere in [Some(installation.home.as_str()), None] {
                assert_eq!(asker.rights(elsewhere).await, BTreeSet::new(), "{overlay}, in {elsewhere:?}");
            }
            installation.remove().await;
        }
    })
    .await;
}

#[tokio::test]
async fn cluster_wide_grants_the_same_everywhere_and_no_more() {
    with_namespace(async |ns| {
        let folder = tempfile::tempdir().expect("a folder");
        let installation = Installation::of(&ns, rendered("overlays/cluster-wide")).await;
        installation.apply(&["ServiceAccount", "ClusterRole", "ClusterRoleBinding"]).await;
        let asker = Asker::of(&installation, &ns, folder.path()).await;
        let expected: BTreeSet<String> = READS.iter().chain(WRITES).map(|right| (*right).to_owned()).collect();
        for place in [Some("kube-system"), None] {
            assert_eq!(asker.rights(place).await, expected, "in {place:?}");
        }
        installation.remove().await;
    })
    .await;
}

/// The authoriser's word is tried on requests: those that would do the most harm.
#[tokio::test]
async fn requests_are_answered_as_the_rights_say() {
    with_namespace(async |ns| {
        let folder = tempfile::tempdir().expect("a folder");
        let installation = Installation::of(&ns, rendered("overlays/production")).await;
        installation.apply(&["ServiceAccount", "Role", "RoleBinding"]).await;
        ns.deploy("web", "shop:1", 1).await;
        let client = client_of(&installation.kubeconfig("backout", folder.path()).await).await;
        let (here, home) = (&ns.name, &installation.home);
        let patch = json!({ "metadata": { "annotations": { "backout.dev/tried": "yes" } } });
        let nothing = Value::Null;
        let container = json!({ "metadata": { "name": "shell" }, "spec": { "containers": [{ "name": "a", "image": "b" }] } });
        let tried = [
            ("GET", format!("/apis/apps/v1/namespaces/{here}/deployments/web"), &nothing, 200),
            ("PATCH", format!("/apis/apps/v1/namespaces/{here}/deployments/web?dryRun=All"), &patch, 200),
            ("GET", format!("/api/v1/namespaces/{here}"), &nothing, 200),
            ("GET", format!("/api/v1/namespaces/{here}/secrets"), &nothing, 403),
            ("GET", format!("/api/v1/namespaces/{here}/secrets/backout-tokens"), &nothing, 403),
            ("GET", format!("/api/v1/namespaces/{here}/configmaps"), &nothing, 403),
            ("DELETE", format!("/apis/apps/v1/namespaces/{here}/deployments/web"), &nothing, 403),
            ("PATCH", format!("/apis/apps/v1/namespaces/{here}/deployments/web/scale"), &patch, 403),
            ("POST", format!("/api/v1/namespaces/{here}/pods"), &container, 403),
            ("POST", format!("/api/v1/namespaces/{here}/pods/web/exec?command=sh"), &nothing, 403),
            ("POST", format!("/api/v1/namespaces/{here}/serviceaccounts/default/token"), &json!({}), 403),
            ("GET", "/apis/apps/v1/deployments".to_owned(), &nothing, 403),
            ("GET", "/api/v1/namespaces".to_owned(), &nothing, 403),
            ("GET", format!("/api/v1/namespaces/{home}/secrets"), &nothing, 403),
            ("PATCH", format!("/apis/apps/v1/namespaces/{home}/deployments/backout?dryRun=All"), &patch, 403),
            ("GET", "/apis/apps/v1/namespaces/kube-system/deployments".to_owned(), &nothing, 403),
        ];
        for (method, path, body, status) in tried {
            assert_eq!(ask(&client, method, &path, body).await.0, status, "{method} {path}");
        }
        installation.remove().await;
    })
    .await;
}

/// RBAC lets the account patch all of a Deployment; admission holds it to what a rollback changes.
#[tokio::test]
async fn its_token_cannot_be_used_for_anything_but_a_rollback() {
    with_namespace(async |ns| {
        let folder = tempfile::tempdir().expect("a folder");
        let installation = Installation::of(&ns, rendered("overlays/production")).await;
        installation.apply(&["ServiceAccount", "Role", "RoleBinding"]).await;
        installation.apply(ADMISSION).await;
        let mut bait = deployment("bait", "registry.example.com:5000/shop/web:v2", 1);
        bait["metadata"]["annotations"] = json!({ "team": "shop" });
        ns.create(bait).await;
        let client = client_of(&installation.kubeconfig("backout", folder.path()).await).await;
        admission_is_awake(&client, &ns.name).await;

        let container =
            |image: &str| json!([{ "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image }]);
        let add = |path: &str, value: Value| json!([{ "op": "add", "path": path, "value": value }]);
        let host = json!([{ "name": "host", "hostPath": { "path": "/" } }]);
        let tried = [
            (container("registry.example.com:5000/shop/web:v1"), None),
            (container("registry.example.com:5000/shop/web@sha256:0123"), None),
            (add("/spec/template/metadata/labels/version", json!("1")), None),
            (add("/spec/template/spec/containers/0/env", json!([{ "name": "A", "value": "b" }])), None),
            (add("/metadata/annotations/backout.dev~1last-rollback", json!("{}")), None),
            (add("/metadata/annotations/kubernetes.io~1change-cause", json!("backout: rev 2 -> rev 1")), None),
            (container("registry.example.com:5000/miner:v1"), Some("never to another image")),
            (container("elsewhere.example.com/shop/web:v1"), Some("never to another image")),
            (add("/spec/template/spec/initContainers", json!([{ "name": "i", "image": "sh" }])), Some("never to another image")),
            (add("/spec/template/spec/serviceAccountName", json!("admin")), Some("who the pods are")),
            (add("/spec/template/spec/hostNetwork", json!(true)), Some("more of the node")),
            (add("/spec/template/spec/volumes", host), Some("more of the node")),
            (add("/spec/template/spec/containers/0/securityContext", json!({ "privileged": true })), Some("more of the node")),
            (add("/spec/replicas", json!(0)), Some("nothing else of the spec")),
            (add("/spec/paused", json!(true)), Some("nothing else of the spec")),
            (add("/metadata/labels/app", json!("other")), Some("no labels")),
            (add("/metadata/annotations/team", json!("us")), Some("no annotations but its own")),
            (json!([{ "op": "remove", "path": "/metadata/annotations/team" }]), Some("no annotations but its own")),
        ];
        for (patch, refused) in tried {
            let said = json_patch(&client, &ns.name, &patch).await;
            match refused {
                None => assert_eq!(said, Ok(()), "{patch}"),
                Some(why) => assert!(said.as_ref().is_err_and(|said| said.contains(why)), "{patch}: {said:?}"),
            }
        }
        // Nobody else is held to it.
        let scaled = json!([{ "op": "add", "path": "/spec/replicas", "value": 0 }]);
        assert_eq!(json_patch(&ns.client, &ns.name, &scaled).await, Ok(()));
        installation.remove().await;
    })
    .await;
}

const ADMISSION: &[&str] = &["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];

/// The API server hears of a new policy a little later.
async fn admission_is_awake(client: &Client, namespace: &str) {
    let scaled = json!([{ "op": "add", "path": "/spec/replicas", "value": 3 }]);
    eventually("the admission policy holds", Duration::from_secs(30), async || {
        match json_patch(client, namespace, &scaled).await {
            Err(said) if said.contains("ValidatingAdmissionPolicy") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// A dry run on the Deployment `bait`; the refusal, in the API server's words.
async fn json_patch(client: &Client, namespace: &str, operations: &Value) -> Result<(), String> {
    let request = Request::patch(format!("/apis/apps/v1/namespaces/{namespace}/deployments/bait?dryRun=All"))
        .header("content-type", "application/json-patch+json")
        .body(operations.to_string().into_bytes())
        .expect("a request");
    client.request::<Value>(request).await.map(drop).map_err(|error| error.to_string())
}

/// Somebody who asks what it may do, for every verb on every resource that the API server has.
struct Asker {
    client: Client,
    /// A service account of the same namespace that was granted nothing: what it may do, everybody may.
    nobody: Client,
    /// As `group/resource`, with the subresource.
    resources: Vec<String>,
}

impl Asker {
    async fn of(installation: &Installation, ns: &Namespace, folder: &Path) -> Self {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "nobody", "namespace": installation.home },
        });
        installation.write(&account, false).await.expect("an account");
        let client = client_of(&installation.kubeconfig("backout", folder).await).await;
        let nobody = client_of(&installation.kubeconfig("nobody", folder).await).await;
        let mut resources = Vec::new();
        let mut versions = vec![("".to_owned(), "/api/v1".to_owned())];
        for group in ask(&ns.client, "GET", "/apis", &Value::Null).await.1["groups"].as_array().expect("groups") {
            let (name, version) = (&group["name"], &group["preferredVersion"]["groupVersion"]);
            versions
                .push((name.as_str().unwrap_or_default().to_owned(), format!("/apis/{}", version.as_str().unwrap_or_default())));
        }
        for (group, path) in versions {
            for resource in ask(&ns.client, "GET", &path, &Value::Null).await.1["resources"].as_array().expect("resources") {
                resources.push(format!("{group}/{}", resource["name"].as_str().unwrap_or_default()));
            }
        }
        // Virtual ones, which no list has.
        resources.extend(["/users", "/groups", "/nodes/proxy"].map(str::to_owned));
        for one in ["/secrets", "/pods/exec", "apps/deployments", "rbac.authorization.k8s.io/clusterroles"] {
            assert!(resources.iter().any(|resource| resource == one), "{one} is among {resources:?}");
        }
        Self { client, nobody, resources }
    }

    /// All that it may do in a namespace, or everywhere, and not everybody may.
    async fn rights(&self, namespace: Option<&str>) -> BTreeSet<String> {
        let questions = self.resources.iter().flat_map(|resource| VERBS.iter().map(move |verb| (*verb, resource.as_str())));
        stream::iter(questions)
            .map(|(verb, resource)| async move {
                let granted =
                    may(&self.client, verb, resource, namespace).await && !may(&self.nobody, verb, resource, namespace).await;
                granted.then(|| format!("{verb} {resource}"))
            })
            .buffer_unordered(16)
            .filter_map(|granted| async move { granted })
            .collect()
            .await
    }
}

async fn may(client: &Client, verb: &str, resource: &str, namespace: Option<&str>) -> bool {
    let (group, resource) = resource.split_once('/').expect("group/resource");
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let attributes = json!({
        "verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": namespace.unwrap_or_default(),
    });
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": { "resourceAttributes": attributes },
    });
    let (status, answer) = ask(client, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review).await;
    assert_eq!(status, 201, "{answer}");
    answer["status"]["allowed"].as_bool().expect("a word")
}

async fn ask(client: &Client, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = Request::builder().method(method).uri(path).header("content-type", kind).body(bytes).expect("a request");
    match client.request::<Value>(request).await {
        Ok(answer) if method == "POST" => (201, answer),
        Ok(answer) => (200, answer),
        Err(kube::Error::Api(status)) => (status.code, serde_json::to_value(&status).unwrap_or_default()),
        Err(error) => panic!("{method} {path}: {error}"),
    }
}
