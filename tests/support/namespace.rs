//! A namespace of one's own for each test, and the few things tests do with Deployments.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::{BuildHasher as _, Hasher as _};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use futures_util::FutureExt as _;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Namespace as KubeNamespace, Pod};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::control_plane::{ControlPlane, Write};
use super::process::note;
use super::wait::eventually;

/// A scheduler that does not exist: the pods of tests get no node, also in a cluster that has some,
/// and their status comes from the fake kubelet.
pub(crate) const SCHEDULER: &str = "backout-testbed";

/// No test of the bed takes longer; one that hangs says so instead of stopping the run.
const TEST_LIMIT: Duration = Duration::from_secs(300);
const ROLLOUT_LIMIT: Duration = Duration::from_secs(30);

/// A fresh namespace and a client that may do everything in it.
#[derive(Clone)]
pub(crate) struct Namespace {
    pub(crate) name: String,
    pub(crate) client: Client,
    pub(crate) plane: &'static ControlPlane,
}

/// Runs a test in a namespace of its own; shows what is in it when the test fails, and removes it.
pub(crate) async fn with_namespace(test: impl AsyncFnOnce(Namespace)) {
    with_namespace_for(TEST_LIMIT, test).await;
}

/// The same for a test that may take so long.
pub(crate) async fn with_namespace_for(limit: Duration, test: impl AsyncFnOnce(Namespace)) {
    let plane = ControlPlane::shared();
    let client = plane.admin().await;
    let name = random_name("t");
    let all = Api::<KubeNamespace>::all(client.clone());
    let body = object(json!({ "metadata": { "name": name, "labels": { "backout-testbed": "true" } } }));
    all.create(&PostParams::default(), &body).await.expect("a namespace");

    let namespace = Namespace { name: name.clone(), client, plane };
    let run = AssertUnwindSafe(tokio::time::timeout(limit, test(namespace.clone())));
    let result = run.catch_unwind().await;
    if !matches!(result, Ok(Ok(()))) {
        namespace.show().await;
    }
    if std::env::var_os("BACKOUT_TEST_KEEP").is_none() {
        let _ = all.delete(&name, &DeleteParams::default()).await;
    }
    match result {
        Ok(Ok(())) => {}
        Ok(Err(_)) => panic!("the test took more than {limit:?}"),
        Err(panic) => resume_unwind(panic),
    }
}

impl Namespace {
    pub(crate) fn deployments(&self) -> Api<Deployment> {
        self.api()
    }

    /// Any namespaced kind in this namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// A plain Deployment; returns without waiting for it.
    pub(crate) async fn deploy(&self, name: &str, image: &str, replicas: i32) -> Deployment {
        self.create(deployment(name, image, replicas)).await
    }

    /// A Deployment written by the test, usually a changed `deployment(…)`.
    pub(crate) async fn create(&self, body: Value) -> Deployment {
        self.deployments().create(&PostParams::default(), &object(body)).await.expect("a Deployment")
    }

    /// A new release: what `kubectl set image` sends.
    pub(crate) async fn set_image(&self, name: &str, image: &str) -> Deployment {
        self.patch(name, json!({ "spec": { "template": { "spec": { "containers": [{ "name": "app", "image": image }] } } } }))
            .await
    }

    /// A strategic merge patch of a Deployment.
    pub(crate) async fn patch(&self, name: &str, body: Value) -> Deployment {
        let params = PatchParams { field_manager: Some("somebody-else".to_owned()), ..Default::default() };
        self.deployments().patch(name, &params, &Patch::Strategic(body)).await.expect("a patched Deployment")
    }

    pub(crate) async fn deployment(&self, name: &str) -> Deployment {
        self.deployments().get(name).await.expect("the Deployment")
    }

    /// The image in the Deployment's template.
    pub(crate) async fn image(&self, name: &str) -> String {
        image_of(&self.deployment(name).await)
    }

    /// Waits as `kubectl rollout status` does: all pods are of the newest template, and available.
    pub(crate) async fn wait_rolled_out(&self, name: &str) -> Deployment {
        eventually(&format!("{name} is rolled out"), ROLLOUT_LIMIT, async || {
            let deployment = self.deployment(name).await;
            rolled_out(&deployment).map(|()| deployment)
        })
        .await
    }

    /// Waits until the template has this image, by whomever.
    pub(crate) async fn wait_image(&self, name: &str, image: &str, limit: Duration) -> Deployment {
        eventually(&format!("{name} is on {image}"), limit, async || {
            let deployment = self.deployment(name).await;
            let found = image_of(&deployment);
            if found == image { Ok(deployment) } else { Err(format!("it is on {found}")) }
        })
        .await
    }

    /// The pods of a Deployment made by `deploy`.
    pub(crate) async fn pods(&self, name: &str) -> Vec<Pod> {
        self.api::<Pod>().list(&ListParams::default().labels(&format!("app={name}"))).await.expect("pods").items
    }

    /// Makes the pods of a Deployment unready, or ready again, whatever their image.
    pub(crate) async fn set_ready(&self, name: &str, ready: bool) {
        let mark = if ready { Value::Null } else { json!("false") };
        let body = json!({ "metadata": { "annotations": { "testplane/ready": mark } } });
        for pod in self.pods(name).await {
            let pod = pod.metadata.name.unwrap_or_default();
            // It may have gone since it was listed.
            let _ = self.api::<Pod>().patch(&pod, &PatchParams::default(), &Patch::Merge(&body)).await;
        }
    }

    /// Lets the tested service write here what a rollback needs. Without it the service can only read.
    pub(crate) async fn allow_writing(&self) {
        let rules = json!({ "rules": [
            { "apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"] },
            { "apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"] },
        ]});
        apply(&self.api::<Role>(), "backout-test-write", rules).await;
        let binding = json!({
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "backout-test-write" },
            "subjects": [{ "kind": "ServiceAccount", "name": "backout", "namespace": "backout" }],
        });
        apply(&self.api::<RoleBinding>(), "backout-test-write", binding).await;
    }

    /// Every write of `user` here, by the API server's audit log; `None` where there is none.
    pub(crate) async fn writes_by(&self, user: &str) -> Option<Vec<Write>> {
        let writes = self.plane.writes(&self.name).await?;
        Some(writes.into_iter().filter(|write| write.user == user).collect())
    }

    /// What a person would look at first.
    async fn show(&self) {
        note(&format!("--- namespace {}", self.name));
        let all = ListParams::default();
        for deployment in self.deployments().list(&all).await.map(|list| list.items).unwrap_or_default() {
            let name = deployment.metadata.name.clone().unwrap_or_default();
            let state = rolled_out(&deployment).map_or_else(|why| why, |()| "rolled out".to_owned());
            note(&format!(
                "deployment {name}: {}, {state}, annotations {:?}",
                image_of(&deployment),
                deployment.metadata.annotations
            ));
        }
        for set in self.api::<ReplicaSet>().list(&all).await.map(|list| list.items).unwrap_or_default() {
            let revision =
                set.metadata.annotations.as_ref().and_then(|all| all.get("deployment.kubernetes.io/revision").cloned());
            note(&format!(
                "replicaset {}: revision {revision:?}, {:?}",
                set.metadata.name.unwrap_or_default(),
                set.status.map(|s| (s.replicas, s.ready_replicas))
            ));
        }
        for pod in self.api::<Pod>().list(&all).await.map(|list| list.items).unwrap_or_default() {
            let status = pod.status.unwrap_or_default();
            let ready = status.conditions.unwrap_or_default().into_iter().find(|c| c.type_ == "Ready").map(|c| c.status);
            let images: Vec<_> = pod
                .spec
                .map(|spec| spec.containers.into_iter().map(|c| c.image.unwrap_or_default()).collect())
                .unwrap_or_default();
            note(&format!("pod {}: {images:?}, {:?}, Ready {ready:?}", pod.metadata.name.unwrap_or_default(), status.phase));
        }
        for event in self.api::<Event>().list(&all).await.map(|list| list.items).unwrap_or_default() {
            if event.source.and_then(|source| source.component).as_deref() != Some("deployment-controller") {
                note(&format!(
                    "event {:?} {:?}: {}",
                    event.involved_object.name,
                    event.reason,
                    event.message.unwrap_or_default()
                ));
            }
        }
    }
}

/// A Deployment as JSON, with one container `app`; change it as the test needs and `create` it.
pub(crate) fn deployment(name: &str, image: &str, replicas: i32) -> Value {
    json!({
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": {
                    "schedulerName": SCHEDULER,
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{ "name": "app", "image": image }],
                },
            },
        },
    })
}

pub(crate) fn image_of(deployment: &Deployment) -> String {
    let template = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    template.and_then(|spec| spec.containers.first()).and_then(|c| c.image.clone()).unwrap_or_default()
}

/// The predicate of `kubectl rollout status`, or what is missing.
pub(crate) fn rolled_out(deployment: &Deployment) -> Result<(), String> {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let counts = (status.replicas.unwrap_or(0), status.updated_replicas.unwrap_or(0), status.available_replicas.unwrap_or(0));
    if status.observed_generation.unwrap_or(0) < deployment.metadata.generation.unwrap_or(0) {
        return Err("not yet observed".to_owned());
    }
    if counts == (wanted, wanted, wanted) {
        return Ok(());
    }
    Err(format!("{} pods, {} updated, {} available of {wanted} wanted", counts.0, counts.1, counts.2))
}

/// Server-side apply: makes it so, whoever else of the tests makes it so too.
pub(crate) async fn apply<K>(api: &Api<K>, name: &str, mut body: Value)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    body["apiVersion"] = json!(K::api_version(&()));
    body["kind"] = json!(K::kind(&()));
    body["metadata"]["name"] = json!(name);
    let params = PatchParams::apply("backout-testbed").force();
    api.patch(name, &params, &Patch::Apply(&body)).await.unwrap_or_else(|error| panic!("apply {name}: {error}"));
}

fn object<K: DeserializeOwned>(body: Value) -> K {
    serde_json::from_value(body).expect("an object of this kind")
}

/// A name that no other test has, without a clock: std seeds its hashers anew for each.
pub(crate) fn random_name(prefix: &str) -> String {
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    format!("{prefix}-{:010x}", hasher.finish() & 0xff_ffff_ffff)
}
