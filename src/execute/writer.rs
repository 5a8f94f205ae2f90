//! The hand that writes: one guarded patch for a step, and a verdict on it that never claims more than is known.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use kube::Client;
use serde_json::Value;

use super::ask::{self, Failure};
use super::patch::{self, Standing};
use crate::model::manifest::{self, FIELD_MANAGER, controller, items, text};
use crate::model::{Applied, Digest, Guard, Plan, PlannedStep, ReleaseRef, TargetId, template};
use crate::ports::{Clock, Store};

/// The bounds of the writing hand.
#[derive(Clone, Copy, Debug)]
pub struct WriterSettings {
    /// Cluster writes in a second, over all targets.
    pub writes_per_second: NonZeroU32,
    /// Cluster writes that may come at once.
    pub burst: NonZeroU32,
    /// How long one write may take.
    pub write_limit: Duration,
}

impl Default for WriterSettings {
    fn default() -> Self {
        let five = NonZeroU32::MIN.saturating_add(4);
        Self { writes_per_second: NonZeroU32::MIN, burst: five, write_limit: Duration::from_secs(10) }
    }
}

/// Writes to Deployments of one cluster.
pub struct ClusterWriter {
    pub(super) reads: Client,
    pub(super) writes: Client,
    pub(super) clock: Arc<dyn Clock>,
    store: Option<Arc<dyn Store>>,
    limiter: DefaultDirectRateLimiter,
    pub(super) write_limit: Duration,
    pub(super) events_lost: AtomicU64,
}

/// Why the raw template of a release could not be had.
pub(super) enum NoTemplate {
    /// It is nowhere: neither in the cluster nor kept.
    Nowhere(String),
    /// The cluster could not be asked.
    Failed(Failure),
}

impl ClusterWriter {
    /// A writer. `reads` may retry; `writes` must not (`default_retry = false`): a write whose answer was lost is looked at, never
    /// sent again. `store` holds templates that the cluster has pruned.
    pub fn new(
        reads: Client,
        writes: Client,
        clock: Arc<dyn Clock>,
        store: Option<Arc<dyn Store>>,
        settings: WriterSettings,
    ) -> Self {
        let quota = Quota::per_second(settings.writes_per_second).allow_burst(settings.burst);
        Self {
            reads,
            writes,
            clock,
            store,
            limiter: RateLimiter::direct(quota),
            write_limit: settings.write_limit,
            events_lost: AtomicU64::new(0),
        }
    }

    /// How many Events could not be put on a workload.
    pub fn events_lost(&self) -> u64 {
        self.events_lost.load(Ordering::Relaxed)
    }

    /// Carries one step of a plan out.
    pub async fn apply(&self, plan: &Plan, step: usize, guard: &Guard) -> Applied {
        let Some(PlannedStep::Undo { to }) = plan.steps.get(step) else {
            return refused(format!("the plan has no step {step}"));
        };
        if *to != plan.to {
            return refused("the step goes to another release than its plan");
        }
        let path = patch::path(plan);
        let (deployment, target) = tokio::join!(ask::get(&self.reads, &path), self.template(plan, to));
        let deployment = match deployment {
            Ok(deployment) => deployment,
            Err(failure) => return untouched(&failure),
        };
        if let Some(verdict) = in_the_way(plan, guard, &deployment) {
            return verdict;
        }
        let target = match target {
            Ok(target) => target,
            Err(NoTemplate::Nowhere(why)) => return refused(why),
            Err(NoTemplate::Failed(failure)) => return untouched(&failure),
        };
        if self.limiter.check().is_err() {
            return Applied::Refused {
                why: "cluster writes are limited, and the limit is spent".into(),
                transient: true,
                forbidden: false,
            };
        }
        let operations = patch::undo(plan, guard, &deployment, &target, self.clock.now());
        let write_path = format!("{path}?fieldManager={FIELD_MANAGER}");
        match ask::json_patch(&self.writes, &write_path, &operations, self.write_limit).await {
            Ok(written) => Applied::Done { generation: manifest::number(&written, "/metadata/generation") },
            Err(Failure::Conflict(why)) => self.after_conflict(plan, &why).await,
            Err(Failure::Doubtful(why)) => self.after_doubt(plan, &why).await,
            Err(failure) => untouched(&failure),
        }
    }

    /// A guard did not hold. The server says no more than that: look what is there.
    async fn after_conflict(&self, plan: &Plan, why: &str) -> Applied {
        let deployment = match ask::get(&self.reads, &patch::path(plan)).await {
            Ok(deployment) => deployment,
            Err(failure) => return untouched(&failure),
        };
        match patch::standing(plan, &deployment) {
            Standing::Leaving { generation } => moved(generation, why),
            other => settled(plan, other),
        }
    }

    /// No telling whether it was written. Only what stands there can tell; where the old release stands it may come yet.
    async fn after_doubt(&self, plan: &Plan, why: &str) -> Applied {
        match ask::get(&self.reads, &patch::path(plan)).await {
            Ok(deployment) => match patch::standing(plan, &deployment) {
                Standing::AtTarget { generation, ours: true } => Applied::Done { generation },
                Standing::AtTarget { generation, ours: false } => Applied::Already { generation, ours: false },
                Standing::Leaving { .. } => Applied::Doubtful { why: format!("{why}; the release to leave still stands there") },
                Standing::Elsewhere { release, .. } => {
                    Applied::Doubtful { why: format!("{why}; release {} stands there now", release.short()) }
                }
                Standing::Another => Applied::Doubtful { why: format!("{why}; the target was deleted") },
            },
            Err(failure) => Applied::Doubtful { why: format!("{why}; and looking again failed: {}", failure.text()) },
        }
    }

    /// The raw template of a release: from the ReplicaSet that the plan names, from another one of the same template, or as kept.
    pub(super) async fn template(&self, plan: &Plan, release: &ReleaseRef) -> Result<Value, NoTemplate> {
        if let Some(name) = &release.replica_set {
            let path = format!("/apis/apps/v1/namespaces/{}/replicasets/{name}", plan.target.at.namespace);
            match ask::get(&self.reads, &path).await {
                Ok(set) => {
                    if let Some(found) = template_in(&set, &plan.target.uid, &release.digest) {
                        return Ok(found);
                    }
                }
                Err(Failure::Missing(_)) => {}
                Err(failure) => return Err(NoTemplate::Failed(failure)),
            }
        }
        let deployment = ask::get(&self.reads, &patch::path(plan)).await.map_err(NoTemplate::Failed)?;
        let list =
            ask::get(&self.reads, &patch::lists(plan, &manifest::selector(&deployment)).0).await.map_err(NoTemplate::Failed)?;
        if let Some(found) = items(&list, "/items").iter().find_map(|set| template_in(set, &plan.target.uid, &release.digest)) {
            return Ok(found);
        }
        match self.kept(&release.digest).await? {
            Some(kept) => Ok(kept),
            None => Err(NoTemplate::Nowhere(format!(
                "the template of {} is nowhere: its ReplicaSet was pruned, and no copy was kept",
                release.label()
            ))),
        }
    }

    /// Keeps a copy of the raw template of a release, so that it can be gone back to when the cluster has pruned it. `false`:
    /// there is no store, or no such ReplicaSet any more.
    ///
    /// # Errors
    /// Says whether the cluster could not be asked or the store did not take it. Trying again may help.
    pub async fn keep_template(&self, target: &TargetId, release: &Digest, replica_set: &str) -> Result<bool, String> {
        let Some(store) = &self.store else { return Ok(false) };
        let path = format!("/apis/apps/v1/namespaces/{}/replicasets/{replica_set}", target.at.namespace);
        let set = match ask::get(&self.reads, &path).await {
            Ok(set) => set,
            Err(Failure::Missing(_)) => return Ok(false),
            Err(failure) => return Err(failure.text().to_owned()),
        };
        let Some(held) = template_in(&set, &target.uid, release) else { return Ok(false) };
        let bytes = template::without_hash_label(&held).to_string().into_bytes();
        store.keep_template(release.clone(), self.clock.now(), bytes.into()).await.map_err(|error| error.to_string())?;
        Ok(true)
    }

    async fn kept(&self, digest: &Digest) -> Result<Option<Value>, NoTemplate> {
        let Some(store) = &self.store else { return Ok(None) };
        let bytes =
            store.template(digest.clone()).await.map_err(|error| NoTemplate::Failed(Failure::Unreached(error.to_string())))?;
        let kept = bytes.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        Ok(kept.filter(|kept| template::digest(kept) == *digest))
    }
}

/// The template of a ReplicaSet, if it is the target's and is of that release.
fn template_in(set: &Value, owner_uid: &str, digest: &Digest) -> Option<Value> {
    controller(set).filter(|(_, _, uid)| *uid == owner_uid)?;
    set.pointer("/spec/template").filter(|held| template::digest(held) == *digest).cloned()
}

/// What stands there already, or forbids to begin.
fn in_the_way(plan: &Plan, guard: &Guard, deployment: &Value) -> Option<Applied> {
    match patch::standing(plan, deployment) {
        Standing::Leaving { generation } if generation != guard.generation => {
            Some(moved(generation, "it was written since the decision"))
        }
        Standing::Leaving { .. } => held(deployment).map(refused),
        other => Some(settled(plan, other)),
    }
}

/// Whether a person or another rollback holds the Deployment.
pub(super) fn held(deployment: &Value) -> Option<String> {
    if deployment.pointer("/spec/paused") == Some(&Value::Bool(true)) {
        return Some("the Deployment is paused: somebody holds it".to_owned());
    }
    if manifest::annotation(deployment, manifest::CONTROLLER_ROLLBACK).is_some() {
        return Some(format!("annotation `{}` asks the controller for another rollback", manifest::CONTROLLER_ROLLBACK));
    }
    manifest::pause(deployment).map(|reason| format!("annotation `{}` pauses us: {reason}", manifest::PAUSE))
}

/// A verdict where nothing of ours is under way.
fn settled(plan: &Plan, standing: Standing) -> Applied {
    match standing {
        Standing::AtTarget { generation, ours } => Applied::Already { generation, ours },
        Standing::Another => refused(format!("Deployment `{}` was deleted and made again", text_of(plan))),
        Standing::Elsewhere { release, by } => {
            refused(format!("superseded: {} put release {} there", by.as_deref().unwrap_or("somebody"), release.short()))
        }
        Standing::Leaving { generation } => moved(generation, "it was written since the decision"),
    }
}

fn text_of(plan: &Plan) -> String {
    format!("{}/{}", plan.target.at.namespace, plan.target.at.name)
}

fn refused(why: impl Into<String>) -> Applied {
    Applied::Refused { why: why.into(), transient: false, forbidden: false }
}

fn moved(generation: i64, why: &str) -> Applied {
    let why = format!("the Deployment moved on to generation {generation}, on the same release: {why}");
    Applied::Refused { why, transient: true, forbidden: false }
}

/// A failure before the write, or one that says that nothing was written.
fn untouched(failure: &Failure) -> Applied {
    Applied::Refused { why: failure.text().to_owned(), transient: failure.transient(), forbidden: failure.forbidden() }
}

/// A text at a pointer, owned; empty where there is none.
pub(super) fn owned(object: &Value, pointer: &str) -> String {
    text(object, pointer).unwrap_or_default().to_owned()
}
