//! A world that follows a history: what queries gave then, how many pods were ready, what was not recorded. Who did it is not in
//! there, and what would have come of a write of ours neither.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::deployment::{Deployment, is_us};
use super::facts;
use super::prometheus::{number, silent};
use super::time::second;
use super::world::World;
use crate::decide::observation::Answer;
use crate::model::{Fact, Query, TargetId, TargetRef, Time, Unknown, UnknownKind};

/// The annotation of a template by which a history tells its releases apart.
pub(super) const RELEASE: &str = "backout.dev/recorded-release";

/// Which number is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The fact's name.
    pub fact: &'a str,
    /// Whether it is the traffic that the fact needs, instead of its value.
    pub floor: bool,
    /// The query, with everything filled in.
    pub promql: &'a str,
    /// What it is about.
    pub target: Option<&'a TargetRef>,
}

/// What is recorded.
pub trait Recorded: fmt::Debug + Send + Sync {
    /// What the query gave then.
    ///
    /// # Errors
    /// It gave no number, or it is not recorded.
    fn value(&self, wanted: &Wanted<'_>, at: Time) -> Result<f64, Unknown>;

    /// The Deployment that a pod of that name belonged to.
    fn owner(&self, namespace: &str, pod: &str) -> Option<TargetRef>;
}

/// How many pods of a release are ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Followed {
    release: String,
    pods: i32,
}

/// What a cluster knows from the records.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    recorded: Option<Arc<dyn Recorded>>,
    /// Targets of which nothing is recorded just now, and why.
    hidden: BTreeMap<TargetRef, String>,
}

impl Past {
    /// Why the target cannot be read, if it cannot. What is not in the records may have been there all the same.
    pub(super) fn hides(&self, at: &TargetRef, exists: bool) -> Option<Unknown> {
        self.recorded.as_ref()?;
        let absent = || format!("the history has no Deployment `{}` in namespace `{}` at that time", at.name, at.namespace);
        let why = self.hidden.get(at).cloned().or_else(|| (!exists).then(absent))?;
        Some(Unknown::new(UnknownKind::Empty, why))
    }

    /// Whose pod it is; nothing in a world without records.
    pub(super) fn owner(&self, namespace: &str, pod: &str) -> Option<Result<TargetRef, Unknown>> {
        let owner = self.recorded.as_ref()?.owner(namespace, pod);
        let unknown = || format!("the history does not say what pods/{pod} in namespace `{namespace}` belonged to");
        Some(owner.ok_or_else(|| Unknown::new(UnknownKind::Empty, unknown())))
    }

    /// How a new Deployment begins.
    pub(super) fn followed(&self) -> Option<Followed> {
        self.recorded.as_ref().map(|_| Followed::default())
    }
}

impl World {
    /// From now on it follows these records.
    pub fn follow_history(&mut self, recorded: Arc<dyn Recorded>) {
        self.cluster.past.recorded = Some(recorded);
    }

    /// The template annotations of a recorded release.
    pub fn recorded_release(name: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(RELEASE.to_owned(), name.to_owned())])
    }

    /// So many pods of a recorded release are ready, until more is said.
    pub(super) fn set_ready(&mut self, at: &TargetRef, release: &str, pods: i32) {
        let now = self.now();
        if let Some(deployment) = self.cluster.deployments.get_mut(at) {
            deployment.followed = Some(Followed { release: release.to_owned(), pods });
            deployment.wake(now);
        }
        self.cluster.forget();
    }

    /// Nothing is recorded of a target for this reason, or something again.
    pub(super) fn hide(&mut self, at: &TargetRef, why: Option<&str>) {
        match why {
            Some(why) => self.cluster.past.hidden.insert(at.clone(), why.to_owned()),
            None => self.cluster.past.hidden.remove(at),
        };
    }

    /// What the records answer to a fact's query; nothing in a world without records.
    pub(super) fn recorded_answer(&self, fact: &str, query: &Query, target: Option<&TargetId>, now: Time) -> Option<Answer> {
        let recorded = self.cluster.past.recorded.as_ref()?;
        let at = query.at.unwrap_or(now);
        let target = target.map(|target| &target.at);
        let on = facts::on(&self.cluster.deployments, target);
        let ours = query.at.is_none() && on.is_some_and(Deployment::is_ours);
        let ask = |promql: &str, floor: bool| {
            let value = if self.prometheus.down_since.is_some() {
                Err(silent())
            } else if ours {
                Err(Unknown::new(UnknownKind::Empty, "what would have come after our write is not in the history"))
            } else {
                recorded.value(&Wanted { fact, floor, promql, target }, at).and_then(number)
            };
            Fact { value, at, source: "as recorded".to_owned() }
        };
        let floor = query.floor.as_ref().map(|(promql, least)| (ask(promql, true), least.as_str()));
        Some(Answer::of(ask(&query.promql, false), floor))
    }
}

impl Deployment {
    /// Whether what runs was put there by us.
    pub(super) fn is_ours(&self) -> bool {
        self.is_touched() && self.template_writer().is_some_and(|(by, _)| is_us(&by))
    }

    /// Lets as many pods of the current release be ready as the history says. Whether that changed anything.
    pub(super) fn follow(&mut self, now: Time) -> bool {
        let Some(followed) = self.followed.clone().filter(|_| !self.is_ours()) else { return false };
        let named = self.template.pointer("/metadata/annotations").and_then(|texts| texts.get(RELEASE));
        let meant = named.and_then(serde_json::Value::as_str) == Some(followed.release.as_str());
        let release = self.release();
        let newest = self.sets.iter_mut().filter(|set| set.digest == release).max_by_key(|set| (set.revision, set.created_at));
        let Some(set) = newest else { return false };
        let ready = if meant { usize::try_from(followed.pods).unwrap_or(0) } else { 0 };
        let mut changed = false;
        for (number, pod) in set.pods.iter_mut().enumerate() {
            if (number < ready) != pod.ready_at.is_some_and(|at| at <= now) {
                pod.ready_at = (number < ready).then(|| second(now));
                changed = true;
            }
        }
        changed
    }
}
