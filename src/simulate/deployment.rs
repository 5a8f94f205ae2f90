//! One Deployment with its ReplicaSets, and the controller that works on it: what the real one does, as far as a rollback can tell.
//! Moves in whole events; the caller says what time it is.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::recorded::Followed;
use super::time::second;
use crate::model::manifest::{self, FIELD_MANAGER};
use crate::model::{Digest, TargetRef, Time, template};

/// How long the controller takes to see a write.
const SYNC: Duration = Duration::from_millis(100);

/// A field manager's entry in `managedFields`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    at: Time,
    template: bool,
    replicas: bool,
    paused: bool,
}

/// Which field of the spec somebody writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Template,
    Replicas,
    Paused,
}

/// A pod: when it becomes ready, if ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) ready_at: Option<Time>,
}

/// One release, as the cluster keeps it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ReplicaSet {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) template: Value,
    pub(super) digest: Digest,
    pub(super) revision: u64,
    pub(super) created_at: Time,
    pub(super) desired: i32,
    pub(super) pods: Vec<Pod>,
    /// It was left and used again.
    pub(super) came_back: bool,
    /// Since when its pods cannot be created.
    pub(super) failing_since: Option<Time>,
}

impl ReplicaSet {
    /// How many of its pods are ready.
    pub(super) fn available(&self, now: Time) -> i32 {
        count(self.pods.iter().filter(|pod| ready(pod, now)).count())
    }
}

/// How the pods of an image come up.
#[derive(Clone, Debug, Default)]
pub(super) struct Images {
    /// Images whose pods never become ready.
    pub(super) broken: Vec<String>,
    /// Why no pod can be created now, if none can.
    pub(super) no_pods: Option<String>,
}

/// A Deployment.
#[derive(Clone, Debug)]
pub(super) struct Deployment {
    pub(super) at: TargetRef,
    pub(super) uid: String,
    pub(super) generation: i64,
    pub(super) observed: i64,
    pub(super) replicas: i32,
    pub(super) paused: bool,
    pub(super) recreate: bool,
    pub(super) history_limit: usize,
    /// How long a pod takes to become ready.
    pub(super) ready_after: Duration,
    /// How many pods are ready, where a history says that instead.
    pub(super) followed: Option<Followed>,
    pub(super) template: Value,
    /// Of the template.
    digest: Digest,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) labels: BTreeMap<String, String>,
    entries: BTreeMap<(String, bool), Entry>,
    pub(super) sets: Vec<ReplicaSet>,
    /// When which ReplicaSet's rollout was last seen complete.
    pub(super) progressed: Option<(Time, String)>,
    sync_at: Option<Time>,
    settled: Time,
    pods_made: u64,
    /// Whether the watch has not looked at it since something changed.
    news: Cell<bool>,
}

impl Deployment {
    /// One that `manager` makes now.
    pub(super) fn new(at: TargetRef, uid: String, template: Value, replicas: i32, (manager, now): (&str, Time)) -> Self {
        let mut made = Self {
            at,
            uid,
            generation: 1,
            observed: 0,
            replicas,
            paused: false,
            recreate: false,
            history_limit: 10,
            ready_after: Duration::from_secs(10),
            followed: None,
            digest: template::digest(&template),
            template,
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
            entries: BTreeMap::new(),
            sets: Vec::new(),
            progressed: None,
            sync_at: None,
            settled: now,
            pods_made: 0,
            news: Cell::new(true),
        };
        made.own(manager, false, Field::Template, now);
        made.own(manager, false, Field::Replicas, now);
        made
    }

    /// The release in its template.
    pub(super) fn release(&self) -> Digest {
        self.digest.clone()
    }

    /// Somebody puts another template there. An equal one changes nothing, as on the real server.
    pub(super) fn write_template(&mut self, template: Value, manager: &str, now: Time) -> bool {
        if template == self.template {
            return false;
        }
        self.digest = template::digest(&template);
        self.template = template;
        self.changed(manager, false, Field::Template, now);
        true
    }

    /// Somebody scales it, through the subresource as `kubectl scale` does.
    pub(super) fn write_replicas(&mut self, replicas: i32, manager: &str, now: Time) {
        if replicas != self.replicas {
            self.replicas = replicas;
            self.changed(manager, true, Field::Replicas, now);
        }
    }

    /// Somebody pauses or resumes its rollout.
    pub(super) fn write_paused(&mut self, paused: bool, manager: &str, now: Time) {
        if paused != self.paused {
            self.paused = paused;
            self.changed(manager, false, Field::Paused, now);
        }
    }

    /// Somebody annotates it. The API server counts that as a generation, of Deployments.
    pub(super) fn annotate(&mut self, key: &str, value: &str, now: Time) {
        let before = self.annotations.insert(key.to_owned(), value.to_owned());
        if before.as_deref() != Some(value) {
            self.generation += 1;
            self.news.set(true);
            self.wake(now);
        }
    }

    fn changed(&mut self, manager: &str, scale: bool, field: Field, now: Time) {
        self.generation += 1;
        self.news.set(true);
        self.own(manager, scale, field, now);
    }

    fn own(&mut self, manager: &str, scale: bool, field: Field, now: Time) {
        let entry = self.entries.entry((manager.to_owned(), scale)).or_default();
        entry.at = second(now);
        match field {
            Field::Template => entry.template = true,
            Field::Replicas => entry.replicas = true,
            Field::Paused => entry.paused = true,
        }
        self.sync_at = Some(self.sync_at.map_or(now + SYNC, |at| at.min(now + SYNC)));
    }

    /// The object as the API server shows it, as far as its metadata and spec are concerned.
    pub(super) fn manifest(&self) -> Value {
        let fields = self.entries.iter().map(|((manager, scale), entry)| {
            let mut spec = serde_json::Map::new();
            for (held, name) in [(entry.template, "f:template"), (entry.replicas, "f:replicas"), (entry.paused, "f:paused")] {
                if held {
                    spec.insert(name.to_owned(), json!({}));
                }
            }
            let subresource = if *scale { "scale" } else { "" };
            json!({"manager": manager, "subresource": subresource, "time": entry.at.to_string(), "fieldsV1": {"f:spec": spec}})
        });
        json!({
            "metadata": {
                "namespace": self.at.namespace, "name": self.at.name, "uid": self.uid, "generation": self.generation,
                "annotations": self.annotations, "labels": self.labels, "managedFields": fields.collect::<Vec<_>>(),
            },
            "spec": {
                "replicas": self.replicas, "paused": self.paused, "template": self.template,
                "strategy": {"type": if self.recreate { "Recreate" } else { "RollingUpdate" }},
            },
        })
    }

    /// Who last wrote the template.
    pub(super) fn template_writer(&self) -> Option<(String, Time)> {
        manifest::template_writer(&self.manifest(), &self.release())
    }

    /// Whether our own annotation names that incident and this release.
    pub(super) fn ours(&self, incident: &str) -> bool {
        let mark = manifest::last_rollback(&self.manifest());
        mark.is_some_and(|mark| mark.incident == incident && mark.to == self.release())
    }

    /// Puts our annotations on it, as the write of an undo does.
    pub(super) fn mark(&mut self, last_rollback: String, change_cause: String) {
        self.annotations.insert(manifest::LAST_ROLLBACK.to_owned(), last_rollback);
        self.annotations.insert(manifest::CHANGE_CAUSE.to_owned(), change_cause);
        self.news.set(true);
    }

    /// Whether we ever wrote to it.
    pub(super) fn is_touched(&self) -> bool {
        self.entries.keys().any(|(manager, _)| is_us(manager))
    }

    /// Whether the watch has not looked at it since something changed.
    pub(super) fn is_news(&self) -> bool {
        self.news.get()
    }

    /// The watch looks at it. Whether something changed since it last did.
    pub(super) fn look(&self) -> bool {
        self.news.replace(false)
    }

    /// The ReplicaSet that runs: the newest of those with the template's release.
    pub(super) fn current(&self) -> Option<&ReplicaSet> {
        let release = self.release();
        self.sets.iter().filter(|set| set.digest == release).max_by_key(|set| (set.revision, set.created_at))
    }

    /// Pods in all, of the current release, and available.
    pub(super) fn counts(&self, now: Time) -> (i32, i32, i32) {
        let total = self.sets.iter().map(|set| count(set.pods.len())).sum();
        let updated = self.current().map_or(0, |set| count(set.pods.len()));
        (total, updated, self.sets.iter().map(|set| set.available(now)).sum())
    }

    /// Whether every pod is of the current release and available.
    pub(super) fn complete(&self, now: Time) -> bool {
        let (total, updated, available) = self.counts(now);
        let current = self.current().map_or(0, |set| set.available(now));
        let all = [total, updated, available, current].iter().all(|count| *count == self.replicas);
        self.observed >= self.generation && self.replicas > 0 && all
    }

    /// When something happens next by itself.
    pub(super) fn next_event(&self) -> Option<Time> {
        let pods = self.sets.iter().flat_map(|set| &set.pods).filter_map(|pod| pod.ready_at).filter(|at| *at > self.settled);
        pods.chain(self.sync_at).min()
    }

    /// The controller looks at it, at exactly the time of an event.
    pub(super) fn run(&mut self, images: &Images, now: Time) {
        self.settled = now;
        self.news.set(true);
        self.sync_at = self.sync_at.filter(|at| *at > now);
        self.observed = self.generation;
        if !self.paused {
            let current = self.ensure_set(now);
            self.follow(now);
            if self.recreate {
                self.replace_all(current, images, now);
            } else {
                self.replace_some(current, images, now);
            }
            if self.follow(now) {
                self.wake(now);
            }
            if self.complete(now) {
                let name = self.sets.get(current).map(|set| set.name.clone()).unwrap_or_default();
                if self.progressed.as_ref().is_none_or(|(_, known)| *known != name) {
                    self.progressed = Some((second(now), name));
                }
            }
        }
        if self.paused || self.complete(now) {
            self.prune();
        }
    }

    /// The ReplicaSet of the template, an old one with the next number where there is one.
    fn ensure_set(&mut self, now: Time) -> usize {
        let wanted = template::without_hash_label(&self.template);
        let equal = |set: &&(usize, &ReplicaSet)| template::without_hash_label(&set.1.template) == wanted;
        let known = self.sets.iter().enumerate().collect::<Vec<_>>();
        let found = known.iter().filter(equal).min_by_key(|(_, set)| set.created_at).map(|(index, _)| *index);
        let others = known.iter().filter(|(index, _)| Some(*index) != found).map(|(_, set)| set.revision);
        let next = others.max().unwrap_or(0) + 1;
        if let Some(index) = found {
            if let Some(set) = self.sets.get_mut(index).filter(|set| set.revision < next) {
                set.revision = next;
                set.came_back = true;
            }
            return index;
        }
        let name = format!("{}-{}", self.at.name, short_hash(&wanted.to_string()));
        self.sets.push(ReplicaSet {
            uid: format!("{}-{name}-{next}", self.uid),
            name,
            digest: self.digest.clone(),
            template: self.template.clone(),
            revision: next,
            created_at: second(now),
            desired: 0,
            pods: Vec::new(),
            came_back: false,
            failing_since: None,
        });
        self.sets.len() - 1
    }

    /// `Recreate`: the old pods go first.
    fn replace_all(&mut self, current: usize, images: &Images, now: Time) {
        for index in 0..self.sets.len() {
            if index != current {
                self.resize(index, 0, images, now);
            }
        }
        self.resize(current, self.replicas, images, now);
    }

    /// `RollingUpdate` with a surge of 25 % and 25 % unavailable.
    fn replace_some(&mut self, current: usize, images: &Images, now: Time) {
        let surge = self.replicas.saturating_mul(25).saturating_add(99) / 100;
        let least = self.replicas - self.replicas.saturating_mul(25) / 100;
        loop {
            let before: Vec<i32> = self.sets.iter().map(|set| set.desired).collect();
            let total: i32 = before.iter().sum();
            let own = before.get(current).copied().unwrap_or(0);
            let wanted =
                if own > self.replicas { self.replicas } else { self.replicas.min(own + (self.replicas + surge - total).max(0)) };
            self.resize(current, wanted, images, now);
            self.shrink_old(current, least, images, now);
            if self.sets.iter().map(|set| set.desired).eq(before) {
                return;
            }
        }
    }

    fn shrink_old(&mut self, current: usize, least: i32, images: &Images, now: Time) {
        let total: i32 = self.sets.iter().map(|set| set.desired).sum();
        let waiting = self.sets.get(current).map_or(0, |set| set.desired - set.available(now));
        let mut allowed = (total - least - waiting).max(0);
        let mut old: Vec<usize> = (0..self.sets.len()).filter(|index| *index != current).collect();
        old.sort_by_key(|index| self.sets.get(*index).map(|set| set.revision));
        for unready in [true, false] {
            if !unready {
                let available: i32 = self.sets.iter().map(|set| set.available(now)).sum();
                allowed = allowed.min((available - least).max(0));
            }
            for index in &old {
                let Some(set) = self.sets.get(*index) else { continue };
                let most = if unready { set.desired - set.available(now) } else { set.desired };
                let by = most.min(allowed);
                allowed -= by;
                let size = set.desired - by;
                self.resize(*index, size, images, now);
            }
        }
    }

    /// Makes or ends pods; those that are not ready go first.
    fn resize(&mut self, index: usize, desired: i32, images: &Images, now: Time) {
        let follows = self.followed.is_some() && !self.is_ours();
        let Some(set) = self.sets.get_mut(index) else { return };
        set.desired = desired.max(0);
        let wanted = usize::try_from(set.desired).unwrap_or(0);
        while set.pods.len() > wanted {
            let unready = set.pods.iter().position(|pod| !ready(pod, now));
            set.pods.remove(unready.unwrap_or(set.pods.len() - 1));
        }
        if set.pods.len() < wanted && images.no_pods.is_some() {
            set.failing_since = set.failing_since.or(Some(second(now)));
            return;
        }
        set.failing_since = None;
        let broken = follows || template::images(&set.template).iter().any(|image| images.broken.contains(image));
        while set.pods.len() < wanted {
            self.pods_made += 1;
            let name = format!("{}-{:05}", set.name, self.pods_made);
            set.pods.push(Pod { name, ready_at: (!broken).then(|| now + self.ready_after) });
        }
    }

    /// Old ReplicaSets beyond the limit go, the oldest revisions first.
    fn prune(&mut self) {
        let release = self.current().map(|set| set.uid.clone());
        let mut old: Vec<(u64, String)> = self
            .sets
            .iter()
            .filter(|set| Some(&set.uid) != release.as_ref() && set.desired == 0 && set.pods.is_empty())
            .map(|set| (set.revision, set.uid.clone()))
            .collect();
        old.sort();
        let excess = old.len().saturating_sub(self.history_limit);
        let gone: Vec<String> = old.into_iter().take(excess).map(|(_, uid)| uid).collect();
        self.sets.retain(|set| !gone.contains(&set.uid));
    }

    /// Pods can be created again, or cannot: the controller looks.
    pub(super) fn wake(&mut self, now: Time) {
        self.sync_at = Some(self.sync_at.map_or(now + SYNC, |at| at.min(now + SYNC)));
    }
}

/// The writer that is us.
pub(super) fn is_us(manager: &str) -> bool {
    manager == FIELD_MANAGER
}

fn ready(pod: &Pod, now: Time) -> bool {
    pod.ready_at.is_some_and(|at| at <= now)
}

fn count(pods: usize) -> i32 {
    i32::try_from(pods).unwrap_or(i32::MAX)
}

/// Ten characters, as in the names of real ReplicaSets.
fn short_hash(text: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let mut name = String::new();
    for _ in 0..10 {
        let index = usize::try_from(hash % LETTERS.len() as u64).unwrap_or(0);
        name.push(LETTERS.get(index).map_or('b', |letter| char::from(*letter)));
        hash /= LETTERS.len() as u64;
    }
    name
}
