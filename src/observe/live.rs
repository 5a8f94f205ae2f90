//! Live reads of one Deployment, past every cache, and the way from an alert's labels to it. Never writes, never guesses: a name
//! that leads nowhere is unresolved, a question without an answer is unknown.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use serde_json::Value;
use url::form_urlencoded;

use super::ask::get;
use super::migrations::migrations;
use super::workload::{cannot_create, workload};
use crate::model::manifest::{controller, items, selector, text};
use crate::model::{Lookup, MIGRATION, Resolution, TargetId, TargetRef, Time, Unknown, UnknownKind, Workload};

/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// Pods looked at for image digests; more tell nothing new.
const PODS_LOOKED_AT: u32 = 200;

/// Selectors that are remembered; past that, all are learned anew.
const SELECTORS: usize = 10_000;

/// Reads workloads of one cluster.
#[derive(Clone)]
pub struct ClusterReader {
    client: Client,
    /// The selectors of Deployments that were read, which no Deployment changes while it lives. What belongs to one is then asked for
    /// together with it, and thrown away where the Deployment turns out to be another one.
    selectors: Arc<Mutex<BTreeMap<TargetRef, String>>>,
}

/// What belongs to a Deployment: its ReplicaSets, its pods, its Namespace and the migrations in it, as they were answered.
type Around = (Answer, Answer, Answer, Answer);
type Answer = Result<Option<Value>, Unknown>;

/// A Deployment as it was read.
struct Seen {
    /// What a decision sees of it.
    workload: Workload,
    /// Since when, and why, pods of its current ReplicaSet cannot be created.
    cannot_create: Option<(Time, String)>,
}

/// Why there is nothing to see.
enum Miss {
    Unresolved(String),
    Unknown(Unknown),
}

impl From<Unknown> for Miss {
    fn from(why: Unknown) -> Self {
        Self::Unknown(why)
    }
}

impl ClusterReader {
    /// A reader over a client that may retry reads.
    pub fn new(client: Client) -> Self {
        Self { client, selectors: Arc::default() }
    }

    /// Finds the workload that an alert names.
    pub async fn resolve(&self, lookup: Lookup) -> Resolution {
        let found = match lookup {
            Lookup::Workload(at) => self.read(at, None).await,
            Lookup::Pod { namespace, pod } => self.read_of_pod(&namespace, &pod).await,
        };
        resolution(found).0
    }

    /// Reads one particular target; another object of the same name is not it. With it: since when and why pods of the current
    /// ReplicaSet cannot be created.
    pub async fn observe(&self, target: TargetId) -> (Resolution, Option<(Time, String)>) {
        resolution(self.read(target.at, Some(&target.uid)).await)
    }

    async fn read(&self, at: TargetRef, uid: Option<&str>) -> Result<Seen, Miss> {
        let namespace = &at.namespace;
        let deployment_path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{}", at.name);
        let guess = self.selector(&at);
        let around = async {
            match &guess {
                Some(selector) => Some(self.around(namespace, selector).await),
                None => None,
            }
        };
        let (deployment, around) = tokio::join!(get::<Value>(&self.client, &deployment_path, REQUEST_LIMIT), around);
        let Some(deployment) = deployment? else {
            return Err(Miss::Unresolved(format!("there is no Deployment `{}` in namespace `{namespace}`", at.name)));
        };
        if let Some(wanted) = uid.filter(|wanted| text(&deployment, "/metadata/uid") != Some(*wanted)) {
            return Err(Miss::Unresolved(format!(
                "Deployment `{namespace}/{}` was deleted and made again: {wanted} is gone",
                at.name
            )));
        }
        let selector = selector(&deployment);
        let (sets, pods, namespace_object, jobs) = match around.filter(|_| guess.as_ref() == Some(&selector)) {
            Some(around) => around,
            None => {
                let around = self.around(namespace, &selector).await;
                self.remember(at.clone(), selector);
                around
            }
        };
        let sets = sets?.unwrap_or_default();
        // Image digests are a bonus: without pods there are none.
        let pods = pods.ok().flatten().unwrap_or_default();
        // A namespaced Role cannot grant reading its Namespace. Who grants no more than that puts the pause on the workload.
        let namespace_object = match namespace_object {
            Err(why) if why.kind == UnknownKind::Forbidden => None,
            other => other?,
        };
        let sets = items(&sets, "/items");
        let mut workload = workload(at, &deployment, sets, items(&pods, "/items"), namespace_object.as_ref());
        workload.migrations = migrations(jobs);
        let cannot_create = cannot_create(&workload, sets);
        Ok(Seen { workload, cannot_create })
    }

    /// What belongs to a Deployment with this selector.
    async fn around(&self, namespace: &str, selector: &str) -> Around {
        let of_it: String = form_urlencoded::byte_serialize(selector.as_bytes()).collect();
        let sets_path = format!("/apis/apps/v1/namespaces/{namespace}/replicasets?labelSelector={of_it}");
        let pods_path = format!("/api/v1/namespaces/{namespace}/pods?limit={PODS_LOOKED_AT}&labelSelector={of_it}");
        let namespace_path = format!("/api/v1/namespaces/{namespace}");
        let labelled: String = form_urlencoded::byte_serialize(MIGRATION.as_bytes()).collect();
        let jobs_path = format!("/apis/batch/v1/namespaces/{namespace}/jobs?labelSelector={labelled}");
        tokio::join!(
            get::<Value>(&self.client, &sets_path, REQUEST_LIMIT),
            get::<Value>(&self.client, &pods_path, REQUEST_LIMIT),
            get::<Value>(&self.client, &namespace_path, REQUEST_LIMIT),
            get::<Value>(&self.client, &jobs_path, REQUEST_LIMIT),
        )
    }

    /// The selector of a Deployment that was read before. It may have been deleted and made again since.
    pub fn selector(&self, at: &TargetRef) -> Option<String> {
        self.selectors.lock().unwrap_or_else(PoisonError::into_inner).get(at).cloned()
    }

    fn remember(&self, at: TargetRef, selector: String) {
        let mut selectors = self.selectors.lock().unwrap_or_else(PoisonError::into_inner);
        if selectors.len() >= SELECTORS {
            selectors.clear();
        }
        selectors.insert(at, selector);
    }

    /// Pod to ReplicaSet to Deployment, by owner references and their UIDs.
    async fn read_of_pod(&self, namespace: &str, pod: &str) -> Result<Seen, Miss> {
        // Pods are named by the same rule: what is no name must not get into a path.
        TargetRef::deployment(namespace, pod).map_err(|why| Miss::Unresolved(format!("no pod can be named so: {why}")))?;
        let set = self.controller_of(namespace, ("pods", pod, None), "ReplicaSet").await?;
        let found = self.controller_of(namespace, ("replicasets", &set.0, Some(&set.1)), "Deployment").await?;
        let at = TargetRef::deployment(namespace, &found.0).map_err(Miss::Unresolved)?;
        self.read(at, Some(&found.1)).await
    }

    /// Name and UID of the controller of `(resource, name, uid)`, which must be of a kind.
    async fn controller_of(&self, namespace: &str, of: (&str, &str, Option<&str>), kind: &str) -> Result<(String, String), Miss> {
        let (resource, name, uid) = of;
        let group = if resource == "pods" { "/api/v1" } else { "/apis/apps/v1" };
        let path = format!("{group}/namespaces/{namespace}/{resource}/{name}");
        let object = get::<Value>(&self.client, &path, REQUEST_LIMIT).await?;
        let object = object.filter(|object| uid.is_none() || text(object, "/metadata/uid") == uid);
        let Some(object) = object else {
            return Err(Miss::Unresolved(format!(
                "{resource}/{name} in namespace `{namespace}` is gone: nothing tells what it belonged to"
            )));
        };
        match controller(&object) {
            Some((found, name, uid)) if found == kind => Ok((name.to_owned(), uid.to_owned())),
            Some((found, owner, _)) => Err(Miss::Unresolved(format!(
                "{resource}/{name} in namespace `{namespace}` belongs to {found}/{owner}, expected a {kind}"
            ))),
            None => Err(Miss::Unresolved(format!("{resource}/{name} in namespace `{namespace}` belongs to no controller"))),
        }
    }
}

fn resolution(found: Result<Seen, Miss>) -> (Resolution, Option<(Time, String)>) {
    match found {
        Ok(seen) => (Resolution::Found { workload: Box::new(seen.workload) }, seen.cannot_create),
        Err(Miss::Unresolved(why)) => (Resolution::Unresolved { why }, None),
        Err(Miss::Unknown(why)) => (Resolution::Unknown { why }, None),
    }
}
