//! Lives through a history: its releases and alerts happen in a simulated world, and the service's own engine decides there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::history::{Alert, History, Workload};
use super::ledger::Ledger;
use super::writer::Writer;
use crate::model::{TargetRef, Time};
use crate::policy::types::{Policies, Policy, TargetRule};
use crate::simulate::{Command, Driver, Event, Keep, NewDeployment, Part, Recorded, World};
use crate::worlds;

/// Who wrote what the history holds: it does not say.
const SOMEBODY: &str = "unknown";
/// What the service itself put there is put there so much later: a policy that decides as the one of then comes first.
const OURS_LATER: Duration = Duration::from_secs(30);
/// Virtual time that goes by before decisions are written down and let go.
const CHUNK: Duration = Duration::from_secs(60 * 60);
/// How long the engine goes on after the history ends: what is under way comes to its decision.
const AFTER: Duration = Duration::from_secs(30 * 60);

/// What is not in a history, and not in the policies.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The cluster's name.
    pub cluster: String,
    /// How long Alertmanager holds the first notification of an alert back.
    pub group_wait: Duration,
    /// How long it holds news of a known one back.
    pub group_interval: Duration,
}

/// Lives through a history under these policies, and writes down what was decided. `tick` hears how far it is, in virtual time.
pub fn live(
    history: &History,
    policies: &Arc<Policies>,
    facts: &Arc<dyn Recorded>,
    settings: &Settings,
    tick: &dyn Fn(Time),
) -> Ledger {
    let mut driver = driver(history, policies, facts, settings);
    let mut writer = Writer::new(history);
    let end = history.to + AFTER;
    let mut next = history.begin;
    while next < end {
        next = (next + CHUNK).min(end);
        driver.run_until(next);
        writer.take(&mut driver);
        tick(next.min(history.to));
    }
    writer.finish(&driver)
}

/// The engine in the world of the history, at its beginning.
fn driver(history: &History, policies: &Arc<Policies>, facts: &Arc<dyn Recorded>, settings: &Settings) -> Driver {
    let concerned = concerned(history, policies);
    let workloads =
        || history.workloads.iter().filter(|(at, _)| concerned.as_ref().is_none_or(|names| names.contains(&at.namespace)));
    let first = workloads().flat_map(|(_, known)| &known.changes).map(|change| change.at).min();
    let first = first.unwrap_or(history.begin).min(history.begin);
    let mut world = World::new(first, 1);
    world.forget_messages();
    world.follow_history(Arc::clone(facts));
    world.set_grouping(settings.group_wait, settings.group_interval);
    for channel in worlds::channels(policies) {
        world.add_channel(&channel);
    }
    let sets = BTreeMap::from([("main".to_owned(), Arc::clone(policies))]);
    let mut driver = Driver::new(world, sets, first, history.begin);
    driver.cluster = Some(settings.cluster.clone());
    driver.keep = Keep { journal: false, invariants: false, decisions: true };
    driver.writes_help = true;
    driver.transcript.mute();
    for (at, known) in workloads() {
        releases(at, known, history.begin, &mut driver);
    }
    driver.schedule(history.begin, Command::Process { crash: false, start: true });
    for (from, to) in &history.gaps {
        for (at, down) in [(*from, true), (*to, false)] {
            driver.schedule(at, Command::World(Event::Down(Part::Prometheus, down)));
        }
    }
    for alert in &history.alerts {
        let onset = alert.onset.map(|onset| alert.from.since(onset));
        let fire = Event::Fire { labels: alert.labels.clone(), onset, tail: None };
        driver.schedule(alert.from, Command::World(fire));
        if let Some(to) = alert.to {
            driver.schedule(to, Command::World(Event::End(alert.labels.clone())));
        }
    }
    driver
}

/// The namespaces that alerts name, if all of them name one: nothing else can be a target of theirs.
fn concerned(history: &History, policies: &Policies) -> Option<BTreeSet<String>> {
    let auto = |policy: &Policy| matches!(policy.target, TargetRule::Auto);
    if !policies.policies.iter().all(auto) {
        return None;
    }
    let names = |alert: &Alert| {
        ["namespace", "exported_namespace"].into_iter().filter_map(|name| alert.labels.get(name).cloned()).collect::<Vec<_>>()
    };
    Some(history.alerts.iter().flat_map(names).collect())
}

/// Schedules what came and went of a Deployment.
fn releases(at: &TargetRef, known: &Workload, begin: Time, driver: &mut Driver) {
    let mut schedule = |when: Time, event: Event| driver.schedule(when, Command::World(event));
    let replicas = known.replicas.first().map_or(1, |(_, replicas)| *replicas);
    for (number, change) in known.changes.iter().enumerate() {
        let images = change.images.clone().unwrap_or_else(|| format!("not recorded ({})", change.release));
        let marks = World::recorded_release(&change.release);
        let event = if number == 0 {
            Event::Create(new_deployment(at, images, replicas, marks), SOMEBODY.to_owned())
        } else {
            let annotations = marks.into_iter().collect();
            Event::Deploy { at: at.clone(), image: images, by: SOMEBODY.to_owned(), annotations, config_map: None }
        };
        schedule(if change.ours { change.at + OURS_LATER } else { change.at }, event);
        if change.at < begin {
            // Nobody says how it came up; that it ran is what is known.
            schedule(change.at + Duration::from_secs(10), ready(at, &change.release, i32::MAX));
        }
    }
    let pods = Pods { at, known };
    for when in pods.times(begin) {
        if let Some(event) = pods.ready(when) {
            schedule(when, event);
        }
    }
    for (when, replicas) in known.replicas.iter().skip(1) {
        schedule(*when, Event::Scale { at: at.clone(), replicas: *replicas, by: SOMEBODY.to_owned() });
    }
    for hidden in &known.hidden {
        schedule(hidden.from.max(begin), Event::Hide(at.clone(), Some(hidden.why.clone())));
        if let Some(to) = hidden.to {
            schedule(to, Event::Hide(at.clone(), None));
        }
    }
}

fn new_deployment(at: &TargetRef, image: String, replicas: i32, template_annotations: BTreeMap<String, String>) -> NewDeployment {
    NewDeployment {
        at: at.clone(),
        image,
        replicas,
        ready_after: Duration::from_secs(10),
        history_limit: 10,
        recreate: false,
        annotations: BTreeMap::new(),
        labels: BTreeMap::new(),
        template_annotations,
        config_map: None,
    }
}

fn ready(at: &TargetRef, release: &str, pods: i32) -> Event {
    Event::Ready { at: at.clone(), release: release.to_owned(), pods }
}

/// How many pods were ready of what ran.
struct Pods<'a> {
    at: &'a TargetRef,
    known: &'a Workload,
}

impl Pods<'_> {
    /// Whenever that may have changed.
    fn times(&self, begin: Time) -> BTreeSet<Time> {
        let changed = self.known.changes.iter().map(|change| change.at).filter(|at| *at >= begin);
        // A moment later: the release is there then.
        let settled = changed.map(|at| at + Duration::from_secs(1));
        let counted = self.known.ready.iter().map(|(at, ..)| *at + Duration::from_secs(1));
        settled.chain(counted).chain([begin]).collect()
    }

    fn ready(&self, when: Time) -> Option<Event> {
        let current = &self.known.changes.iter().rev().find(|change| change.at <= when)?.release;
        let counted = self.known.ready.iter().rev().find(|(at, release, _)| *at <= when && release == current);
        Some(ready(self.at, current, counted.map_or(0, |(_, _, pods)| *pods)))
    }
}
