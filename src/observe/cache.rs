//! What the watch remembers of one namespace (or of all): digests, counts and owners, never templates. Folds objects as they come
//! into `WatchEvent`s. Pure; the requests are in `watch.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::workload::landed_at;
use crate::model::manifest::{self, FIELD_MANAGER, controller, count, number, text, time};
use crate::model::{Digest, TargetId, TargetRef, Time, WatchEvent, template};

/// A ReplicaSet that is older than this when its release comes up was there before: the release came back.
const FRESH: Duration = Duration::from_secs(60);

/// An object's name: `(namespace, name)`.
type Name = (String, String);

/// What is kept of a Deployment.
#[derive(Clone, Debug)]
pub(super) struct KeptDeployment {
    name: Name,
    uid: String,
    release: Digest,
    images: Vec<String>,
    desired: i32,
    /// Everything of the completion predicate that the Deployment itself tells.
    counts_complete: bool,
    /// When its conditions say that the rollout of a ReplicaSet completed, and which one.
    landed: Option<(Time, String)>,
    writer: Option<(String, Time)>,
}

/// What is kept of a ReplicaSet.
#[derive(Clone, Debug)]
pub(super) struct KeptSet {
    name: Name,
    owner: Name,
    owner_uid: String,
    digest: Digest,
    revision: u64,
    created_at: Time,
    available: i32,
    came_back: bool,
}

/// A release's time on a target, from the moment that the watch saw it come up.
#[derive(Clone, Debug)]
struct Tenure {
    release: Digest,
    by: Option<String>,
    seen_at: Time,
    /// The time of the template's write, where the release came back and its ReplicaSet is older than that.
    written_at: Option<Time>,
    /// Fixed once it is known: a restart makes another ReplicaSet of the same release.
    first_write: Option<Time>,
}

struct Followed {
    kept: KeptDeployment,
    tenure: Tenure,
    sent: Option<WatchEvent>,
}

/// The state of one watch scope.
#[derive(Default)]
pub(super) struct Cache {
    deployments: BTreeMap<Name, Followed>,
    sets: BTreeMap<Name, KeptSet>,
    sets_of: BTreeMap<String, Vec<Name>>,
    deployments_listed: bool,
    sets_listed: bool,
}

impl Cache {
    /// Whether both lists were read once.
    pub(super) fn synced(&self) -> bool {
        self.deployments_listed && self.sets_listed
    }

    /// How many objects are kept.
    pub(super) fn len(&self) -> usize {
        self.deployments.len() + self.sets.len()
    }

    /// A Deployment as it is now.
    pub(super) fn put_deployment(&mut self, kept: KeptDeployment, now: Time) -> Vec<WatchEvent> {
        let name = kept.name.clone();
        let mut events = self.insert(kept, now, false);
        events.extend(self.news(&name, false));
        events
    }

    /// A Deployment that was deleted.
    pub(super) fn drop_deployment(&mut self, name: &Name) -> Vec<WatchEvent> {
        self.deployments.remove(name).map(gone).into_iter().collect()
    }

    /// A ReplicaSet as it is now.
    pub(super) fn put_set(&mut self, set: KeptSet) -> Vec<WatchEvent> {
        let owner = set.owner.clone();
        self.forget_set(&set.name);
        self.sets_of.entry(set.owner_uid.clone()).or_default().push(set.name.clone());
        self.sets.insert(set.name.clone(), set);
        self.news(&owner, false).into_iter().collect()
    }

    /// A ReplicaSet that was deleted.
    pub(super) fn drop_set(&mut self, name: &Name) -> Vec<WatchEvent> {
        match self.forget_set(name) {
            Some(owner) => self.news(&owner, false).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// All Deployments, from a list: what is not in it is gone.
    pub(super) fn replace_deployments(&mut self, listed: Vec<KeptDeployment>, now: Time) -> Vec<WatchEvent> {
        let mut before = std::mem::take(&mut self.deployments);
        let mut events = Vec::new();
        for kept in listed {
            if let Some(known) = before.remove(&kept.name) {
                self.deployments.insert(kept.name.clone(), known);
            }
            events.extend(self.insert(kept, now, true));
        }
        events.extend(before.into_values().map(gone));
        self.deployments_listed = true;
        events.extend(self.relearned());
        events
    }

    /// All ReplicaSets, from a list.
    pub(super) fn replace_sets(&mut self, listed: Vec<KeptSet>) -> Vec<WatchEvent> {
        self.sets.clear();
        self.sets_of.clear();
        for set in listed {
            self.sets_of.entry(set.owner_uid.clone()).or_default().push(set.name.clone());
            self.sets.insert(set.name.clone(), set);
        }
        self.sets_listed = true;
        self.relearned()
    }

    fn forget_set(&mut self, name: &Name) -> Option<Name> {
        let set = self.sets.remove(name)?;
        if let Some(names) = self.sets_of.get_mut(&set.owner_uid) {
            names.retain(|other| other != name);
            if names.is_empty() {
                self.sets_of.remove(&set.owner_uid);
            }
        }
        Some(set.owner)
    }

    /// Takes a Deployment in; a new release begins a tenure. Another UID under its name means that the former one is gone.
    fn insert(&mut self, kept: KeptDeployment, now: Time, listed: bool) -> Vec<WatchEvent> {
        let mut events = Vec::new();
        let former = self.deployments.remove(&kept.name);
        let former = match former {
            Some(other) if other.kept.uid != kept.uid => {
                events.push(gone(other));
                None
            }
            same => same,
        };
        let (tenure, sent) = match former {
            Some(known) if known.tenure.release == kept.release => (known.tenure, known.sent),
            other => (self.tenure(&kept, now, listed && other.is_none()), other.and_then(|known| known.sent)),
        };
        self.deployments.insert(kept.name.clone(), Followed { kept, tenure, sent });
        events
    }

    fn tenure(&self, kept: &KeptDeployment, now: Time, first_sight: bool) -> Tenure {
        let mut equal = self.sets_of_release(kept);
        let came_back = equal.any(|set| if first_sight { set.came_back } else { set.created_at + FRESH < now });
        Tenure {
            release: kept.release.clone(),
            by: kept.writer.as_ref().map(|(manager, _)| manager.clone()),
            seen_at: now,
            written_at: came_back.then(|| kept.writer.as_ref().map_or(now, |(_, at)| *at)),
            first_write: None,
        }
    }

    fn sets_of_release<'a>(&'a self, kept: &'a KeptDeployment) -> impl Iterator<Item = &'a KeptSet> {
        let names = self.sets_of.get(&kept.uid).map_or(&[][..], Vec::as_slice);
        names.iter().filter_map(|name| self.sets.get(name)).filter(|set| set.digest == kept.release)
    }

    /// Everything again, after a list: what happened before it was not watched.
    fn relearned(&mut self) -> Vec<WatchEvent> {
        let names: Vec<Name> = self.deployments.keys().cloned().collect();
        names.iter().filter_map(|name| self.news(name, true)).collect()
    }

    /// The event of one Deployment, if there is anything new to tell.
    fn news(&mut self, name: &Name, relearned: bool) -> Option<WatchEvent> {
        if !self.synced() {
            return None;
        }
        let followed = self.deployments.get(name)?;
        let kept = &followed.kept;
        let active = self.sets_of_release(kept).max_by_key(|set| (set.revision, set.created_at));
        let created_at = self.sets_of_release(kept).map(|set| set.created_at).min();
        let first_write = followed.tenure.first_write.or(followed.tenure.written_at).or(created_at);
        let available = kept.counts_complete && active.is_some_and(|set| set.available == kept.desired);
        let about_it = |message: &str| active.is_some_and(|set| message.contains(&format!("\"{}\"", set.name.1)));
        let landed_at = kept.landed.as_ref().filter(|(_, message)| about_it(message)).map(|(at, _)| *at);
        let event = WatchEvent {
            target: target(kept)?,
            release: kept.release.clone(),
            images: kept.images.clone(),
            replica_set: active.map(|set| set.name.1.clone()),
            first_write: first_write.unwrap_or(followed.tenure.seen_at),
            by: followed.tenure.by.clone(),
            by_us: followed.tenure.by.as_deref() == Some(FIELD_MANAGER),
            available,
            relearned,
            landed_at: landed_at.filter(|_| relearned && available),
            gone: false,
        };
        let followed = self.deployments.get_mut(name)?;
        followed.tenure.first_write = first_write;
        if !relearned && followed.sent.as_ref().is_some_and(|sent| same(sent, &event)) {
            return None;
        }
        followed.sent = Some(event.clone());
        Some(event)
    }
}

impl KeptDeployment {
    /// What is kept of a Deployment's JSON; `None` for what is none.
    pub(super) fn of(object: &Value) -> Option<Self> {
        let pod_template = object.pointer("/spec/template")?;
        let release = template::digest(pod_template);
        let desired = count(object, "/spec/replicas");
        let observed = number(object, "/status/observedGeneration") >= number(object, "/metadata/generation");
        let full = |pointer: &str| count(object, pointer) == desired;
        let message = manifest::condition(object, "Progressing").and_then(|progressing| text(progressing, "/message"));
        Some(Self {
            name: name_of(object)?,
            uid: text(object, "/metadata/uid")?.to_owned(),
            images: template::images(pod_template),
            desired,
            counts_complete: observed
                && desired > 0
                && ["/status/replicas", "/status/updatedReplicas", "/status/availableReplicas"].into_iter().all(full),
            landed: landed_at(object, named_set(message)).zip(message.map(str::to_owned)),
            writer: manifest::template_writer(object, &release),
            release,
        })
    }
}

impl KeptSet {
    /// What is kept of a ReplicaSet's JSON; `None` for one that no Deployment controls.
    pub(super) fn of(object: &Value) -> Option<Self> {
        let (_, owner, owner_uid) = controller(object).filter(|(kind, ..)| *kind == "Deployment")?;
        let name = name_of(object)?;
        Some(Self {
            owner: (name.0.clone(), owner.to_owned()),
            name,
            owner_uid: owner_uid.to_owned(),
            digest: template::digest(object.pointer("/spec/template")?),
            revision: manifest::annotation(object, manifest::REVISION).and_then(|n| n.parse().ok()).unwrap_or(0),
            created_at: time(object, "/metadata/creationTimestamp").unwrap_or_default(),
            available: count(object, "/status/availableReplicas"),
            came_back: manifest::annotation(object, manifest::REVISION_HISTORY).is_some(),
        })
    }
}

/// Namespace and name of an object.
pub(super) fn name_of(object: &Value) -> Option<Name> {
    Some((text(object, "/metadata/namespace")?.to_owned(), text(object, "/metadata/name")?.to_owned()))
}

/// The ReplicaSet that a condition's message names between quotes.
fn named_set(message: Option<&str>) -> Option<&str> {
    message?.split('"').nth(1)
}

fn target(kept: &KeptDeployment) -> Option<TargetId> {
    let at = TargetRef::deployment(&kept.name.0, &kept.name.1).ok()?;
    Some(TargetId { at, uid: kept.uid.clone() })
}

/// Equal in everything that is news: being relearned is none.
fn same(sent: &WatchEvent, event: &WatchEvent) -> bool {
    let told = |event: &WatchEvent| WatchEvent { relearned: false, landed_at: None, ..event.clone() };
    told(sent) == told(event)
}

/// The last event of a target.
fn gone(followed: Followed) -> WatchEvent {
    let Followed { kept, tenure, sent } = followed;
    let at = TargetRef { kind: crate::model::WorkloadKind::Deployment, namespace: kept.name.0, name: kept.name.1 };
    WatchEvent {
        target: TargetId { at, uid: kept.uid },
        release: kept.release,
        images: kept.images,
        replica_set: sent.and_then(|sent| sent.replica_set),
        first_write: tenure.first_write.unwrap_or(tenure.seen_at),
        by_us: tenure.by.as_deref() == Some(FIELD_MANAGER),
        by: tenure.by,
        available: false,
        relearned: false,
        landed_at: None,
        gone: true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Time {
        Time::parse("2026-01-01T00:00:00Z").expect("time") + Duration::from_secs(u64::try_from(second).expect("positive"))
    }

    fn deployment(image: &str, generation: i64, available: i32, (manager, written): (&str, i64)) -> KeptDeployment {
        let object = json!({
            "metadata": {"namespace": "shop", "name": "web", "uid": "d1", "generation": generation,
                "managedFields": [{"manager": manager, "time": at(written).to_string(), "fieldsV1": {"f:spec": {"f:template": {}}}}]},
            "spec": {"replicas": 2, "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image}]}}},
            "status": {"observedGeneration": generation, "replicas": 2, "updatedReplicas": 2, "availableReplicas": available,
                "conditions": [{"type": "Progressing", "reason": "NewReplicaSetAvailable", "lastUpdateTime": at(5).to_string(),
                    "message": "ReplicaSet \"web-1\" has successfully progressed."}]},
        });
        KeptDeployment::of(&object).expect("a Deployment")
    }

    fn set(name: &str, image: &str, revision: u64, available: i32, created: i64) -> KeptSet {
        let object = json!({
            "metadata": {"namespace": "shop", "name": name, "creationTimestamp": at(created).to_string(),
                "annotations": {"deployment.kubernetes.io/revision": revision.to_string()},
                "ownerReferences": [{"kind": "Deployment", "name": "web", "uid": "d1", "controller": true}]},
            "spec": {"replicas": 2, "template": {"metadata": {"labels": {"app": "web", "pod-template-hash": name}},
                "spec": {"containers": [{"name": "web", "image": image}]}}},
            "status": {"availableReplicas": available},
        });
        KeptSet::of(&object).expect("a ReplicaSet")
    }

    fn listed() -> Cache {
        let mut cache = Cache::default();
        assert!(
            cache.replace_deployments(vec![deployment("web:1", 1, 2, ("kubectl", 0))], at(100)).is_empty(),
            "half a view tells nothing"
        );
        let events = cache.replace_sets(vec![set("web-1", "web:1", 1, 2, 0)]);
        assert_eq!(events.len(), 1);
        assert!(events[0].relearned && events[0].available && !events[0].by_us);
        assert_eq!((events[0].first_write, events[0].landed_at), (at(0), Some(at(5))));
        cache
    }

    #[test]
    fn a_release_comes_up_fails_and_is_put_back() {
        let mut cache = listed();
        assert!(cache.put_deployment(deployment("web:1", 1, 2, ("kubectl", 0)), at(101)).is_empty(), "nothing new");
        let events = cache.put_deployment(deployment("web:2", 2, 0, ("kubectl", 200)), at(201));
        assert_eq!((events.len(), events[0].first_write, events[0].replica_set.as_deref()), (1, at(201), None));
        let events = cache.put_set(set("web-2", "web:2", 2, 0, 200));
        assert_eq!((events[0].first_write, events[0].replica_set.as_deref()), (at(200), Some("web-2")));
        assert!(!events[0].available && !events[0].relearned);
        assert!(cache.put_set(set("web-2", "web:2", 2, 1, 200)).is_empty(), "one pod of two is no news");
        let events = cache.put_deployment(deployment("web:1", 3, 2, ("backout", 300)), at(301));
        assert_eq!((events[0].by_us, events[0].first_write), (true, at(300)), "an old ReplicaSet, but a new write");
        assert!(events[0].available, "the old ReplicaSet still had its pods");
    }

    #[test]
    fn a_restart_is_no_news_but_its_completion_counts() {
        let mut cache = listed();
        assert!(
            cache.put_set(set("web-1b", "web:1", 2, 0, 400)).iter().all(|event| !event.available && event.first_write == at(0))
        );
        let events = cache.put_set(set("web-1b", "web:1", 2, 2, 400));
        assert_eq!((events[0].available, events[0].first_write), (true, at(0)));
    }

    #[test]
    fn gone_and_made_again() {
        let mut cache = listed();
        let mut again = deployment("web:1", 1, 2, ("kubectl", 0));
        again.uid = "d2".to_owned();
        let events = cache.put_deployment(again, at(500));
        assert_eq!(events.iter().map(|e| (e.target.uid.as_str(), e.gone)).collect::<Vec<_>>(), [("d1", true), ("d2", false)]);
        assert!(cache.replace_deployments(Vec::new(), at(501))[0].gone);
        assert_eq!(cache.len(), 1);
    }
}
