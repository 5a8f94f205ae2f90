//! The cluster: Deployments under their controller, and its answers as the reading and the writing hand give them.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::deployment::{Deployment, Images, ReplicaSet};
use super::migration::Migrations;
use super::recorded::Past;
use super::watch::Watch;
use super::witness::{Request, Testimony, Witness};
use crate::model::manifest;
use crate::model::{
    Applied, Digest, Evidence, Guard, Lookup, Plan, PlannedStep, PreflightFinding, PreflightReport, ReplicaSetSeen, Replicas,
    Resolution, RolloutStatus, Strategy, TargetId, TargetRef, Time, Unknown, UnknownKind, WatchEvent, Workload, template,
};
use crate::planted::{self, Bug};

/// How long pods may fail to be created before the rollout counts as failed.
const CREATION_GRACE: Duration = Duration::from_secs(30);
/// After a longer silence the watch lists everything anew.
const LONGEST_GAP: Duration = Duration::from_secs(75);

/// What the API server says of a patch, a dry run too, that the role does not grant.
const MAY_NOT_PATCH: &str = "forbidden: cannot patch resource \"deployments\"";

/// What becomes of a write whose answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It was not made.
    Lost,
    /// It was made.
    Applied,
    /// It is made that much later, if its guards still hold.
    Late(Duration),
}

/// The cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Cluster {
    pub(super) deployments: BTreeMap<TargetRef, Deployment>,
    pub(super) images: Images,
    /// What is recorded of it, in a world that follows a history.
    pub(super) past: Past,
    /// `namespace/name` of the ConfigMaps that are there.
    pub(super) config_maps: BTreeSet<String>,
    /// Reasons in `backout.dev/pause` on namespaces.
    pub(super) paused_namespaces: BTreeMap<String, String>,
    /// Jobs that change data.
    pub(super) migrations: Migrations,
    /// Since when the API server does not answer.
    pub(super) down_since: Option<Time>,
    /// Since when the watch is cut off.
    watch_cut: Option<Time>,
    /// Whether we may not patch.
    pub(super) forbidden: bool,
    /// Why the API server refuses the next dry runs.
    pub(super) refuses: Option<String>,
    /// What becomes of the next write's answer.
    pub(super) doubt: Option<Doubt>,
    late: Vec<(Time, Plan, Guard)>,
    watch: Watch,
    listed: bool,
    heard_at: Option<Time>,
    uids: u64,
    /// What reading a target answers, and when something happens next by itself, since the last change.
    read: BTreeMap<TargetRef, Box<Workload>>,
    next: Cell<Option<Option<Time>>>,
    /// Writes, for the transcript.
    pub(super) log: Vec<String>,
    /// Who stands outside and looks, if anybody does.
    pub(super) witness: Option<Witness>,
}

impl Cluster {
    /// A UID that nothing else has.
    pub(super) fn uid(&mut self, at: &TargetRef) -> String {
        self.uids += 1;
        format!("uid-{}-{}", at.name, self.uids)
    }

    /// When something happens next by itself.
    pub(super) fn next_event(&self) -> Option<Time> {
        if let Some(known) = self.next.get() {
            return known;
        }
        let late = self.late.iter().map(|(at, ..)| *at);
        let next = self.deployments.values().filter_map(Deployment::next_event).chain(late).min();
        self.next.set(Some(next));
        next
    }

    /// Something changed: what was read is not so any more.
    pub(super) fn forget(&mut self) {
        self.read.clear();
        self.next.set(None);
    }

    /// Does what is due at this time, and says what the watch sees.
    pub(super) fn run(&mut self, now: Time) -> Vec<WatchEvent> {
        let (due, later) = std::mem::take(&mut self.late).into_iter().partition(|(at, ..)| *at <= now);
        self.late = later;
        let mut moved = !due.is_empty() || !self.listed;
        for (_, plan, guard) in due {
            let written = self.write(&plan, &guard, now);
            self.log.push(format!("a late write arrives: {written:?}"));
        }
        for deployment in self.deployments.values_mut() {
            if deployment.next_event().is_some_and(|at| at <= now) {
                deployment.run(&self.images, now);
                moved = true;
            }
        }
        // Where nothing moved the watch sees nothing, and need not look.
        if moved { self.watched(now) } else { Vec::new() }
    }

    /// What the watch sees now.
    pub(super) fn watched(&mut self, now: Time) -> Vec<WatchEvent> {
        self.forget();
        if let Some(witness) = &mut self.witness {
            witness.look(&self.deployments, now);
        }
        if self.down_since.is_some() || self.watch_cut.is_some() {
            return Vec::new();
        }
        let list = !self.listed;
        self.listed = true;
        self.heard_at = Some(now);
        self.watch.look(&self.deployments, list, now)
    }

    /// The witness sees something.
    pub(super) fn says(&mut self, at: Time, what: impl FnOnce() -> Testimony) {
        if let Some(witness) = &mut self.witness {
            witness.says(at, what());
        }
    }

    /// The watch begins anew, as after a restart of ours.
    pub(super) fn reconnect(&mut self) {
        self.watch = Watch::default();
        self.listed = false;
    }

    /// The watch is cut off, or connected again.
    pub(super) fn cut_watch(&mut self, cut: bool, now: Time) {
        match (cut, self.watch_cut) {
            (true, None) => {
                self.heard_at = self.heard_at.map(|_| now);
                self.watch_cut = Some(now);
            }
            (false, Some(since)) => {
                self.watch_cut = None;
                self.listed &= now.since(since) <= LONGEST_GAP;
            }
            _ => {}
        }
    }

    /// The API server ceases to answer, or answers again.
    pub(super) fn set_down(&mut self, down: bool, now: Time) {
        match (down, self.down_since) {
            (true, None) => {
                self.heard_at = self.heard_at.map(|_| now);
                self.down_since = Some(now);
            }
            (false, Some(since)) => {
                self.down_since = None;
                self.listed &= now.since(since) <= LONGEST_GAP;
            }
            _ => {}
        }
    }

    /// When the watch last heard of it.
    pub(super) fn heard_at(&self, now: Time) -> Option<Time> {
        if self.down_since.is_some() || self.watch_cut.is_some() { self.heard_at } else { Some(now) }
    }

    /// All controllers look again, because pods can be created again or not any more.
    pub(super) fn wake(&mut self, now: Time) {
        self.forget();
        for deployment in self.deployments.values_mut() {
            deployment.wake(now);
        }
    }

    pub(super) fn resolve(&mut self, lookup: &Lookup, now: Time) -> Resolution {
        match lookup {
            Lookup::Workload(at) => self.read(at, None, now),
            Lookup::Pod { namespace, pod } => {
                if let Some(owner) = self.past.owner(namespace, pod) {
                    return owner.map_or_else(|why| Resolution::Unknown { why }, |at| self.read(&at, None, now));
                }
                let holds = |deployment: &&Deployment| {
                    deployment.at.namespace == *namespace
                        && deployment.sets.iter().flat_map(|set| &set.pods).any(|held| held.name == *pod)
                };
                match self.deployments.values().find(holds).map(|deployment| deployment.at.clone()) {
                    Some(at) => self.read(&at, None, now),
                    None if self.down_since.is_some() => Resolution::Unknown { why: silent() },
                    None => Resolution::Unresolved {
                        why: format!("pods/{pod} in namespace `{namespace}` is gone: nothing tells what it belonged to"),
                    },
                }
            }
        }
    }

    pub(super) fn observe(&mut self, target: &TargetId, now: Time) -> Resolution {
        self.read(&target.at, Some(&target.uid), now)
    }

    fn read(&mut self, at: &TargetRef, uid: Option<&str>, now: Time) -> Resolution {
        if self.down_since.is_some() {
            return Resolution::Unknown { why: silent() };
        }
        if let Some(why) = self.past.hides(at, self.deployments.contains_key(at)) {
            return Resolution::Unknown { why };
        }
        match self.deployments.get(at) {
            None => {
                Resolution::Unresolved { why: format!("there is no Deployment `{}` in namespace `{}`", at.name, at.namespace) }
            }
            Some(found) if uid.is_some_and(|uid| found.uid != uid) && !planted::is(Bug::UidNotCompared) => {
                Resolution::Unresolved {
                    why: format!(
                        "Deployment `{}/{}` was deleted and made again: {} is gone",
                        at.namespace,
                        at.name,
                        uid.unwrap_or_default()
                    ),
                }
            }
            Some(found) => {
                if let Some(witness) = &mut self.witness {
                    witness.says(now, Testimony::Read { target: at.clone() });
                }
                if let Some(workload) = self.read.get(at) {
                    return Resolution::Found { workload: workload.clone() };
                }
                let workload = Box::new(self.workload(found, now));
                self.read.insert(at.clone(), workload.clone());
                Resolution::Found { workload }
            }
        }
    }

    fn workload(&self, deployment: &Deployment, now: Time) -> Workload {
        let manifest = deployment.manifest();
        let (total, updated, available) = deployment.counts(now);
        let current = deployment.current().map(|set| set.name.as_str());
        let landed = deployment.progressed.as_ref().filter(|(_, name)| Some(name.as_str()) == current).map(|(at, _)| *at);
        let mut sets: Vec<ReplicaSetSeen> = deployment.sets.iter().map(|set| seen(set, now)).collect();
        sets.sort_by(|a, b| (a.revision, a.created_at, &a.name).cmp(&(b.revision, b.created_at, &b.name)));
        Workload {
            id: TargetId { at: deployment.at.clone(), uid: deployment.uid.clone() },
            generation: deployment.generation,
            observed_generation: deployment.observed,
            replicas: Replicas { desired: deployment.replicas, total, updated, available },
            paused: deployment.paused,
            strategy: if deployment.recreate { Strategy::AllAtOnce } else { Strategy::Rolling },
            release: deployment.release(),
            images: template::images(&deployment.template),
            landed_at: landed.filter(|_| deployment.complete(now)),
            owner: manifest::owner(&manifest, &deployment.at),
            pause: manifest::pause(&manifest).or_else(|| self.paused_namespaces.get(&deployment.at.namespace).cloned()),
            writes: manifest::writes_of_others(&manifest),
            last_rollback: manifest::last_rollback(&manifest).map(|last| last.incident),
            replica_sets: sets,
            migrations: self.migrations.of(&deployment.at.namespace),
        }
    }

    pub(super) fn rollout(&mut self, target: &TargetId, release: &Digest, now: Time) -> RolloutStatus {
        let workload = match self.observe(target, now) {
            Resolution::Found { workload } => workload,
            Resolution::Unresolved { .. } => return RolloutStatus::Gone,
            Resolution::Unknown { why } => return RolloutStatus::Unknown { why },
        };
        if workload.release != *release {
            let by = workload.writes.iter().filter(|write| write.template).max_by_key(|write| write.at);
            return RolloutStatus::Superseded { by: by.map(|write| write.manager.clone()), release: workload.release.clone() };
        }
        if workload.complete() {
            return RolloutStatus::Complete;
        }
        let failing = self.deployments.get(&target.at).and_then(Deployment::current).and_then(|set| set.failing_since);
        if let (Some(since), Some(why)) = (failing, &self.images.no_pods)
            && now.since(since) >= CREATION_GRACE
            && workload.observed_generation >= workload.generation
        {
            return RolloutStatus::Failed { detail: format!("pods cannot be created since {since}: {why}") };
        }
        let counts = workload.replicas;
        let detail = if workload.observed_generation < workload.generation {
            "the Deployment controller has not seen the write yet".to_owned()
        } else if counts.desired == 0 {
            "scaled to zero: nothing runs that could prove it".to_owned()
        } else {
            format!("{} of {} updated, {} available, {} in all", counts.updated, counts.desired, counts.available, counts.total)
        };
        RolloutStatus::Progressing { detail }
    }

    pub(super) fn preflight(&self, plan: &Plan, guard: &Guard, now: Time) -> PreflightReport {
        if self.down_since.is_some() {
            return PreflightReport {
                findings: vec![finding("target", Some("the API server does not answer".to_owned()), true)],
            };
        }
        let mut findings = Vec::new();
        findings.push(match self.in_the_way(plan, guard) {
            Some(Applied::Refused { why, transient, .. }) => finding("target", Some(why), transient),
            Some(_) => finding("target", Some("the release to go to is there already".to_owned()), false),
            None => finding("target", None, false),
        });
        let held = self.template(plan);
        let nowhere = || format!("the template of {} is nowhere: its ReplicaSet was pruned", plan.to.label());
        findings.push(finding("template", held.is_none().then(nowhere), false));
        if let Some(held) = held {
            let refused = self.forbidden.then(|| MAY_NOT_PATCH.to_owned()).or_else(|| self.refuses.clone());
            findings.push(PreflightFinding { forbidden: self.forbidden, ..finding("dry run", refused, false) });
            for name in config_maps(&held) {
                let there = self.config_maps.contains(&format!("{}/{name}", plan.target.at.namespace));
                let problem = (!there).then(|| "the old release needs it, and it is not there".to_owned());
                findings.push(finding(&format!("ConfigMap {}/{name}", plan.target.at.namespace), problem, false));
            }
        }
        let _ = now;
        PreflightReport { findings }
    }

    pub(super) fn evidence(&self, plan: &Plan, now: Time) -> Evidence {
        let mut evidence = Evidence::default();
        let Some(deployment) = self.deployments.get(&plan.target.at).filter(|_| self.down_since.is_none()) else {
            evidence.missing.push("everything: the API server does not answer, or the target is gone".to_owned());
            return evidence;
        };
        let pods: Vec<String> = deployment
            .sets
            .iter()
            .flat_map(|set| set.pods.iter().map(move |pod| (set, pod)))
            .map(|(set, pod)| {
                let ready = pod.ready_at.is_some_and(|at| at <= now);
                format!("{} {} ready={ready}", pod.name, template::images(&set.template).join(","))
            })
            .collect();
        evidence.sections.insert("pods".to_owned(), pods.join("\n"));
        evidence
    }

    /// The guarded write of a plan's step.
    pub(super) fn apply(&mut self, plan: &Plan, step: usize, guard: &Guard, now: Time) -> Applied {
        let Some(PlannedStep::Undo { .. }) = plan.steps.get(step) else {
            return refused(format!("the plan has no step {step}"), false);
        };
        if self.down_since.is_some() {
            return refused("the API server does not answer".to_owned(), true);
        }
        self.says(now, || Testimony::Asked(Request::of(plan)));
        if self.forbidden {
            return Applied::Refused { why: MAY_NOT_PATCH.to_owned(), transient: false, forbidden: true };
        }
        match self.doubt.take() {
            None => self.write(plan, guard, now),
            Some(doubt) => {
                match doubt {
                    Doubt::Lost => {}
                    Doubt::Applied => {
                        self.write(plan, guard, now);
                    }
                    Doubt::Late(by) => self.late.push((now + by, plan.clone(), guard.clone())),
                }
                Applied::Doubtful { why: "no answer within 10 s".to_owned() }
            }
        }
    }

    fn write(&mut self, plan: &Plan, guard: &Guard, now: Time) -> Applied {
        if let Some(verdict) = self.in_the_way(plan, guard) {
            return verdict;
        }
        let Some(held) = self.template(plan) else {
            return refused(format!("the template of {} is nowhere: its ReplicaSet was pruned", plan.to.label()), false);
        };
        let Some(deployment) = self.deployments.get_mut(&plan.target.at) else { return gone(plan) };
        let mark = json!({
            "incident": plan.incident.0, "from": plan.from.digest, "to": plan.to.digest, "at": now.to_string(),
        });
        let (uid, left) = (deployment.uid.clone(), deployment.release());
        deployment.write_template(template::without_hash_label(&held), manifest::FIELD_MANAGER, now);
        deployment.mark(mark.to_string(), format!("backout: incident {}", plan.incident));
        let generation = deployment.generation;
        let (at, label) = (&plan.target.at, plan.to.label());
        self.log.push(format!(
            "{}/{} template {label} by {} (generation {generation})",
            at.namespace,
            at.name,
            manifest::FIELD_MANAGER
        ));
        self.says(now, || Testimony::Written { request: Request::of(plan), uid, left });
        Applied::Done { generation }
    }

    /// What stands there already, or forbids to begin.
    fn in_the_way(&self, plan: &Plan, guard: &Guard) -> Option<Applied> {
        let same = |found: &&Deployment| found.uid == plan.target.uid || planted::is(Bug::UidNotCompared);
        let Some(deployment) = self.deployments.get(&plan.target.at).filter(same) else {
            return Some(gone(plan));
        };
        let (release, generation) = (deployment.release(), deployment.generation);
        if release == plan.to.digest {
            return Some(Applied::Already { generation, ours: deployment.ours(&plan.incident.0) });
        }
        if release != plan.from.digest {
            let by = deployment.template_writer().map_or_else(|| "somebody".to_owned(), |(by, _)| by);
            return Some(refused(format!("superseded: {by} put release {} there", release.short()), false));
        }
        if generation != guard.generation && !planted::is(Bug::GuardMissing) {
            let why = format!("the Deployment moved on to generation {generation}, on the same release");
            return Some(refused(why, true));
        }
        if deployment.paused {
            return Some(refused("the Deployment is paused: somebody holds it".to_owned(), false));
        }
        let pause = manifest::pause(&deployment.manifest())?;
        Some(refused(format!("annotation `{}` pauses us: {pause}", manifest::PAUSE), false))
    }

    fn template(&self, plan: &Plan) -> Option<Value> {
        let deployment = self.deployments.get(&plan.target.at)?;
        deployment.sets.iter().find(|set| set.digest == plan.to.digest).map(|set| set.template.clone())
    }
}

fn seen(set: &ReplicaSet, now: Time) -> ReplicaSetSeen {
    let images = template::images(&set.template);
    let ran = set.pods.iter().any(|pod| pod.ready_at.is_some_and(|at| at <= now));
    ReplicaSetSeen {
        name: set.name.clone(),
        uid: set.uid.clone(),
        digest: set.digest.clone(),
        revision: set.revision,
        created_at: set.created_at,
        desired: set.desired,
        available: set.available(now),
        image_digests: images.iter().filter(|_| ran).map(|image| (image.clone(), format!("{image}@sha256:simulated"))).collect(),
        images,
        data_barrier: template::data_barrier(&set.template),
    }
}

/// The ConfigMaps that a template's environment is from.
fn config_maps(template: &Value) -> Vec<String> {
    template::containers(template)
        .flat_map(|container| manifest::items(container, "/envFrom"))
        .filter_map(|from| manifest::text(from, "/configMapRef/name").map(str::to_owned))
        .collect()
}

fn finding(check: &str, problem: Option<String>, transient: bool) -> PreflightFinding {
    PreflightFinding { check: check.to_owned(), problem, forbidden: false, transient }
}

fn refused(why: String, transient: bool) -> Applied {
    Applied::Refused { why, transient, forbidden: false }
}

fn gone(plan: &Plan) -> Applied {
    refused(format!("Deployment `{}/{}` was deleted and made again", plan.target.at.namespace, plan.target.at.name), false)
}

/// What an API server that does not answer says.
fn silent() -> Unknown {
    Unknown::new(UnknownKind::Unreachable, "the API server does not answer")
}
