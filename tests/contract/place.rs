//! A place in which contracts are tried: a simulated cluster, or a namespace of a real one. The same things can be done in both by
//! somebody who is not us.

use std::sync::Arc;
use std::time::Duration;

use backout::model::{Applied, Guard, Lookup, Plan, Resolution, RolloutStatus, TargetRef, WatchEvent, Workload};
use backout::ports::{Clock, Cluster};
use backout::simulate::{Hands, Mouths, NewDeployment, SpeedClock, World};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::PATIENCE;
use crate::bed::{Shop, WallClock, within};

/// How fast the simulated world goes.
const SPEED: u32 = 20;

pub(crate) enum Place {
    Simulated(Hands),
    Real(Box<Shop>),
}

impl Place {
    pub(crate) fn simulated() -> Self {
        let start = WallClock.now();
        let mut world = World::new(start, 1);
        world.break_image("web:bad");
        world.break_image("web:worse-bad");
        Self::Simulated(Hands::new(world, Arc::new(SpeedClock::new(start, SPEED))))
    }

    pub(crate) async fn real(name: &str) -> Self {
        let name: String = name.split('_').take(3).collect::<Vec<_>>().join("-");
        Self::Real(Box::new(Shop::open(&name).await))
    }

    pub(crate) fn cluster(&self) -> &dyn Cluster {
        match self {
            Self::Simulated(hands) => hands,
            Self::Real(shop) => shop.cluster.as_ref(),
        }
    }

    pub(crate) fn at(&self) -> TargetRef {
        match self {
            Self::Simulated(_) => TargetRef::deployment("shop", "web").expect("valid names"),
            Self::Real(shop) => shop.at(),
        }
    }

    pub(crate) async fn create(&self, image: &str) {
        self.create_with(image, 10, false).await;
    }

    pub(crate) async fn create_with(&self, image: &str, history_limit: usize, recreate: bool) {
        match self {
            Self::Simulated(hands) => hands.with(|world, _| {
                world.create(&NewDeployment { history_limit, recreate, ..self.deployment(image) }, "kubectl");
            }),
            Self::Real(shop) => {
                let mut spec = json!({"revisionHistoryLimit": history_limit});
                if recreate {
                    spec["strategy"] = json!({"type": "Recreate"});
                }
                shop.create_with(image, json!({}), json!({}), spec).await;
            }
        }
    }

    pub(crate) async fn create_with_config(&self, image: &str, config: &str) {
        match self {
            Self::Simulated(hands) => hands.with(|world, _| {
                world.create(&NewDeployment { config_map: Some(config.to_owned()), ..self.deployment(image) }, "kubectl");
            }),
            Self::Real(shop) => {
                shop.post(&shop.core("configmaps"), json!({"metadata": {"name": config}, "data": {"a": "1"}})).await;
                shop.create(image, json!({"containers": [container(image, config)]}), json!({})).await;
            }
        }
    }

    fn deployment(&self, image: &str) -> NewDeployment {
        NewDeployment {
            at: self.at(),
            image: image.to_owned(),
            replicas: 2,
            ready_after: Duration::from_secs(2),
            history_limit: 10,
            recreate: false,
            annotations: std::collections::BTreeMap::new(),
            labels: std::collections::BTreeMap::new(),
            template_annotations: std::collections::BTreeMap::new(),
            config_map: None,
        }
    }

    pub(crate) async fn release(&self, image: &str) {
        match self {
            Self::Simulated(hands) => hands.with(|world, _| world.deploy(&self.at(), image, "kubectl", &[], None)),
            Self::Real(shop) => shop.release(image).await,
        }
    }

    pub(crate) async fn release_with_config(&self, image: &str, config: &str) {
        match self {
            Self::Simulated(hands) => hands.with(|world, _| world.deploy(&self.at(), image, "kubectl", &[], Some(config))),
            Self::Real(shop) => {
                shop.post(&shop.core("configmaps"), json!({"metadata": {"name": config}, "data": {"a": "1"}})).await;
                shop.edit(json!({"template": {"spec": {"containers": [container(image, config)]}}})).await;
            }
        }
    }

    pub(crate) async fn restart(&self) {
        let (key, value) = ("kubectl.kubernetes.io/restartedAt", "2026-01-01T00:00:00Z");
        match self {
            Self::Simulated(hands) => hands.with(|world, _| {
                world.deploy(&self.at(), "web:1", "kubectl", &[(key.to_owned(), value.to_owned())], None);
            }),
            Self::Real(shop) => {
                shop.edit(json!({"template": {"metadata": {"annotations": {key: value}}}})).await;
            }
        }
    }

    pub(crate) async fn scale(&self, replicas: i32) {
        match self {
            Self::Simulated(hands) => hands.with(|world, _| world.scale(&self.at(), replicas, "kubectl")),
            Self::Real(shop) => {
                shop.patch(&shop.apps("deployments/web/scale"), json!({"spec": {"replicas": replicas}})).await;
            }
        }
    }

    pub(crate) async fn hold(&self, held: bool) {
        match self {
            Self::Simulated(hands) => hands.with(|world, _| world.pause_rollout(&self.at(), held, "kubectl")),
            Self::Real(shop) => {
                shop.edit(json!({ "paused": held })).await;
            }
        }
    }

    pub(crate) async fn annotate(&self, key: &str, value: &str) {
        match self {
            Self::Simulated(hands) => hands.with(|world, _| world.annotate(&self.at(), key, value)),
            Self::Real(shop) => {
                shop.patch(&shop.apps("deployments/web"), json!({"metadata": {"annotations": {key: value}}})).await;
            }
        }
    }

    pub(crate) async fn delete(&self) {
        match self {
            Self::Simulated(hands) => hands.with(|world, _| world.delete(&self.at())),
            Self::Real(shop) => shop.delete(&shop.apps("deployments/web")).await,
        }
    }

    pub(crate) async fn delete_config(&self, name: &str) {
        match self {
            Self::Simulated(hands) => hands.with(|world, _| world.delete_config_map(&format!("shop/{name}"))),
            Self::Real(shop) => shop.delete(&shop.core(&format!("configmaps/{name}"))).await,
        }
    }

    pub(crate) async fn pods(&self) -> Vec<String> {
        match self {
            Self::Simulated(hands) => hands.with(|world, _| world.pods(&self.at())),
            Self::Real(shop) => {
                let pods = shop.get(&shop.core("pods")).await;
                let name = |pod: &Value| pod["metadata"]["name"].as_str().expect("a name").to_owned();
                pods["items"].as_array().expect("pods").iter().map(name).collect()
            }
        }
    }

    /// The watch's news, from now on.
    pub(crate) fn watch(&mut self) -> mpsc::Receiver<WatchEvent> {
        match self {
            Self::Real(shop) => shop.watch(),
            Self::Simulated(hands) => {
                let (watch, events) = mpsc::channel(64);
                let (webhooks, _) = mpsc::channel(64);
                let (log, logs) = mpsc::channel(64);
                let hands = hands.clone();
                // What happened before is not of interest to a watch that begins now.
                hands.with(|world, _| {
                    world.take_emitted();
                    world.reconnect();
                });
                tokio::spawn(async move {
                    let _listening = logs;
                    hands.run(Mouths { watch, webhooks, log }).await;
                });
                events
            }
        }
    }

    /// The Deployment as the hand under test sees it.
    pub(crate) async fn see(&self) -> Workload {
        match self.cluster().resolve(Lookup::Workload(self.at())).await {
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

    /// Applies the plan's only step.
    pub(crate) async fn apply(&self, plan: &Plan, guard: &Guard) -> Applied {
        self.cluster().apply(plan.clone(), 0, guard.clone()).await
    }

    /// Waits until the plan's rollout is complete; it must not end in any other way.
    pub(crate) async fn complete(&self, plan: &Plan) {
        within(PATIENCE, async || {
            let status = self.cluster().rollout(plan.target.clone(), plan.to.digest.clone()).await;
            assert!(!matches!(status, RolloutStatus::Failed { .. } | RolloutStatus::Superseded { .. }), "{status:?}");
            status == RolloutStatus::Complete
        })
        .await;
    }
}

fn container(image: &str, config: &str) -> Value {
    json!({"name": "web", "image": image, "envFrom": [{"configMapRef": {"name": config}}]})
}
