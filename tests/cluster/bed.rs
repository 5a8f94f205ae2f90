//! A namespace of a real control plane with the shipped Role in it, a shop's Deployment to release, and the hands under test in the
//! name of the service account.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use backout::cluster::{Clients, KubernetesCluster};
use backout::execute::WriterSettings;
use backout::model::{
    Guard, IncidentId, Level, Lookup, Mode, Plan, PlannedStep, ReleaseRef, ReplicaSetSeen, Resolution, TargetId, TargetRef, Time,
    VerifyPlan, WatchEvent, Workload,
};
use backout::observe::{ClusterWatch, WatchSettings};
use backout::ports::{Clock, Cluster, Store};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::{ControlPlane, SCHEDULER};

/// How long anything may take that the control plane does by itself.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct WallClock;

impl Clock for WallClock {
    #[expect(clippy::disallowed_methods, reason = "compared with what the API server writes")]
    fn now(&self) -> Time {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        Time::from_millis(i64::try_from(since.as_millis()).expect("before the year 292 million"))
    }

    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        tokio::time::sleep(at.since(self.now())).boxed()
    }
}

/// One test's namespace.
pub(crate) struct Shop {
    admin: Client,
    pub(crate) namespace: String,
    pub(crate) cluster: Arc<KubernetesCluster>,
    events: Option<mpsc::Receiver<WatchEvent>>,
    stop: CancellationToken,
}

/// What a shop may do differently from the shipped installation.
pub(crate) struct Setup {
    pub(crate) without_role: bool,
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) writer: WriterSettings,
    /// What lies between the hands and the API server.
    pub(crate) through: fn(Clients) -> Clients,
}

impl Default for Setup {
    fn default() -> Self {
        Self { without_role: false, store: None, writer: WriterSettings::default(), through: |clients| clients }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shop {
    pub(crate) async fn open(name: &str) -> Self {
        Self::open_with(name, Setup::default()).await
    }

    pub(crate) async fn open_with(name: &str, setup: Setup) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let kubeconfig = Kubeconfig::read_from(ControlPlane::shared().admin_kubeconfig()).expect("a kubeconfig");
        let mut config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("a usable kubeconfig");
        config.proxy_url = None;
        let admin = Clients::of(config.clone()).expect("clients").reads;
        let namespace = format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // A service account of this namespace alone: it may do what the shipped Role grants, and nothing that another test was given.
        config.auth_info.impersonate = Some(format!("system:serviceaccount:{namespace}:backout"));
        config.auth_info.impersonate_groups = Some(vec!["system:serviceaccounts".into(), "system:authenticated".into()]);
        let clients = (setup.through)(Clients::of(config).expect("clients"));
        let (sender, events) = mpsc::channel(64);
        let clock: Arc<dyn Clock> = Arc::new(WallClock);
        let settings = WatchSettings { namespaces: vec![namespace.clone()], ..WatchSettings::default() };
        let watch = ClusterWatch::new(&clients.reads, &clock, &settings, sender);
        let cluster = Arc::new(KubernetesCluster::new(clients, watch, clock, setup.store, setup.writer));
        let shop = Self { admin, namespace, cluster, events: Some(events), stop: CancellationToken::new() };
        shop.post("/api/v1/namespaces", json!({"metadata": {"name": shop.namespace}})).await;
        if !setup.without_role {
            shop.apply_role().await;
        }
        shop
    }

    /// Applies the file that users apply.
    async fn apply_role(&self) {
        let shipped =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/rbac.yaml")).expect("deploy/rbac.yaml");
        let objects: Vec<Value> = serde_saphyr::from_multiple(&shipped).expect("YAML documents");
        assert_eq!(objects.len(), 2);
        for mut object in objects {
            if let Some(subject) = object.pointer_mut("/subjects/0") {
                assert_eq!((&subject["name"], &subject["namespace"]), (&json!("backout"), &json!("backout")));
                subject["namespace"] = json!(self.namespace);
            }
            let resource = if object["kind"] == "Role" { "roles" } else { "rolebindings" };
            self.post(&format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}/{resource}", self.namespace), object).await;
        }
    }

    async fn ask(&self, request: http::request::Builder, body: &Value) -> Result<Value, kube::Error> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.admin.request(request.body(body).expect("a request")).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        self.ask(Request::post(path).header("content-type", "application/json"), &body).await.expect("POST")
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.ask(Request::get(path), &Value::Null).await.expect("GET")
    }

    pub(crate) async fn delete(&self, path: &str) {
        self.ask(Request::delete(path), &Value::Null).await.expect("DELETE");
    }

    pub(crate) fn core(&self, path: &str) -> String {
        format!("/api/v1/namespaces/{}/{path}", self.namespace)
    }

    pub(crate) fn apps(&self, path: &str) -> String {
        format!("/apis/apps/v1/namespaces/{}/{path}", self.namespace)
    }

    /// A merge patch by somebody else, as `kubectl` would send it.
    pub(crate) async fn patch(&self, path: &str, body: Value) -> Value {
        let request =
            Request::patch(format!("{path}?fieldManager=kubectl")).header("content-type", "application/merge-patch+json");
        self.ask(request, &body).await.expect("PATCH")
    }

    /// The Deployment `web` with this pod spec and two replicas; `metadata` goes on top.
    pub(crate) async fn create(&self, image: &str, pod: Value, metadata: Value) {
        self.create_with(image, pod, metadata, json!({})).await;
    }

    /// The same, with a changed spec.
    pub(crate) async fn create_with(&self, image: &str, pod: Value, metadata: Value, spec: Value) {
        let mut deployment = json!({
            "metadata": {"name": "web"},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
                    "schedulerName": SCHEDULER, "terminationGracePeriodSeconds": 0, "containers": [{"name": "web", "image": image}]}},
            },
        });
        merge(&mut deployment["spec"]["template"]["spec"], pod);
        merge(&mut deployment["metadata"], metadata);
        merge(&mut deployment["spec"], spec);
        self.post(&self.apps("deployments?fieldManager=kubectl"), deployment).await;
    }

    /// Another image in the template.
    pub(crate) async fn release(&self, image: &str) {
        let container = json!({"name": "web", "image": image});
        self.edit(json!({"template": {"spec": {"containers": [container]}}})).await;
    }

    /// A change of the Deployment's spec.
    pub(crate) async fn edit(&self, spec: Value) -> Value {
        self.patch(&self.apps("deployments/web"), json!({ "spec": spec })).await
    }

    pub(crate) fn at(&self) -> TargetRef {
        TargetRef::deployment(&self.namespace, "web").expect("valid names")
    }

    /// The Deployment as the hand under test sees it.
    pub(crate) async fn see(&self) -> Workload {
        match self.cluster.resolve(Lookup::Workload(self.at())).await {
            Resolution::Found { workload } => *workload,
            other => panic!("expected the workload, found {other:?}"),
        }
    }

    /// The Deployment once it is as wished.
    pub(crate) async fn see_when(&self, wish: impl Fn(&Workload) -> bool) -> Workload {
        let mut seen = None;
        within(PATIENCE, async || {
            let workload = self.see().await;
            let done = wish(&workload);
            seen = Some(workload);
            done
        })
        .await;
        seen.expect("seen at least once")
    }

    /// A release that rolled out, and one after it that does not.
    pub(crate) async fn good_then_bad(&self) -> Workload {
        self.create("web:1", json!({}), json!({})).await;
        self.see_when(Workload::complete).await;
        self.release("web:bad").await;
        self.see_when(|seen| runs(seen, "web:bad")).await
    }

    /// The watch's news, from now on.
    pub(crate) fn watch(&mut self) -> mpsc::Receiver<WatchEvent> {
        let cluster = Arc::clone(&self.cluster);
        let stop = self.stop.clone();
        tokio::spawn(async move { cluster.watch().run(stop).await });
        self.events.take().expect("watched once")
    }

    /// Applies the plan's only step.
    pub(crate) async fn apply(&self, plan: &Plan, guard: &Guard) -> backout::model::Applied {
        self.cluster.apply(plan.clone(), 0, guard.clone()).await
    }
}

/// Whether the controller made a ReplicaSet for this image, and all of its pods are there.
pub(crate) fn runs(seen: &Workload, image: &str) -> bool {
    seen.observed_generation >= seen.generation
        && seen.images == [image]
        && seen.current().is_some_and(|set| set.desired > 0)
        && seen.replicas.updated > 0
}

/// The ReplicaSet of an image.
pub(crate) fn set_of<'a>(seen: &'a Workload, image: &str) -> &'a ReplicaSetSeen {
    seen.replica_sets.iter().rev().find(|set| set.images == [image]).expect("a ReplicaSet of that image")
}

/// A plan from what runs to the release of an image.
pub(crate) fn plan(seen: &Workload, to: &str) -> (Plan, Guard) {
    let to = release(set_of(seen, to));
    let from = ReleaseRef {
        digest: seen.release.clone(),
        revision: seen.current().map(|set| set.revision),
        replica_set: seen.current().map(|set| set.name.clone()),
        images: seen.images.clone(),
    };
    (plan_between(seen.id.clone(), from, to), Guard { generation: seen.generation })
}

pub(crate) fn plan_between(target: TargetId, from: ReleaseRef, to: ReleaseRef) -> Plan {
    Plan {
        incident: IncidentId::derive(&[&target.uid, &from.digest.0]),
        target,
        policy: "shop".into(),
        procedure: "undo".into(),
        level: Level { number: 1, of: 1 },
        mode: Mode::Enforce,
        from,
        on_failure: Vec::new(),
        steps: vec![PlannedStep::Undo { to: to.clone() }],
        to,
        countdown: Duration::ZERO,
        verify: VerifyPlan {
            fetches: BTreeMap::new(),
            readings: BTreeMap::new(),
            name: None,
            then: Vec::new(),
            within: Duration::from_secs(600),
            tail: None,
            rollout: true,
            alert: true,
            facts: Vec::new(),
            queries: BTreeMap::new(),
            http: Vec::new(),
            hold: Duration::ZERO,
        },
    }
}

pub(crate) fn release(set: &ReplicaSetSeen) -> ReleaseRef {
    ReleaseRef {
        digest: set.digest.clone(),
        revision: Some(set.revision),
        replica_set: Some(set.name.clone()),
        images: set.images.clone(),
    }
}

/// Asks again until it is so.
pub(crate) async fn within(limit: Duration, mut check: impl AsyncFnMut() -> bool) {
    let asked = async {
        let mut pace = tokio::time::interval(Duration::from_millis(40));
        loop {
            pace.tick().await;
            if check().await {
                return;
            }
        }
    };
    tokio::time::timeout(limit, asked).await.expect("it never came to be so");
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
