//! A test becomes a simulated world with the service's engine in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::rules::AlertRules;
use crate::model::{TargetRef, Time};
use crate::policy::test_file::series::Value;
use crate::policy::test_file::types::{Alert, Answers, Deed, Deployment, Instant, Job, Part, Series, Test};
use crate::policy::types::Policies;
use crate::simulate::{
    Command, Driver, Event, FactSeries, Firing, Keep, NewDeployment, Part as Dependency, Person, Sample, Samples, Window, World,
};

/// What all worlds of a test file have beside what their tests say.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// How often Prometheus evaluates rules.
    pub interval: Duration,
    /// Prometheus' rules.
    pub rules: Arc<AlertRules>,
    /// Channels, where a test names none.
    pub channels: Vec<String>,
}

/// Minute 0 unless the test says otherwise: 2026-03-02T09:00:00Z, a Monday.
const ZERO: Time = Time::from_millis(1_772_442_000_000);
/// One value of a fact is for so long.
const STEP: Duration = Duration::from_secs(60);

/// The calendar time of a test's minute 0.
pub(super) fn zero(test: &Test) -> Time {
    test.start.unwrap_or(ZERO)
}

/// The engine in the world of a test, at its beginning. Nothing is written down, and no more is kept than the test needs.
pub fn driver(test: &Test, policies: &Arc<Policies>, around: &Surroundings) -> Driver {
    let zero = zero(test);
    let first = beginning(test);
    let mut world = World::new(first.from(zero), test.alertmanagers as usize);
    world.set_interval(around.interval);
    for channel in if test.channels.is_empty() { &around.channels } else { &test.channels } {
        world.add_channel(channel);
    }
    world.set_facts(series(&test.facts, zero), series(&test.floors, zero));
    documents(test, zero, &mut world);
    health(test, &mut world);
    let sets = BTreeMap::from([("main".to_owned(), Arc::clone(policies))]);
    let restarts = test.down.iter().any(|down| down.what == Part::Backout);
    let mut driver = Driver::new(world, sets, first.from(zero), zero);
    driver.cluster = Some(test.cluster.clone());
    driver.keep = Keep { journal: restarts, invariants: false, decisions: false };
    for deployment in &test.deployments {
        releases(deployment, zero, &mut driver);
    }
    for job in &test.jobs {
        migration(job, zero, &mut driver);
    }
    for alert in &test.alerts {
        let firing = Box::new(firing(alert, zero, around));
        driver.schedule(first.from(zero), Command::World(Event::Firing(firing)));
    }
    driver.schedule(test.watching_since.from(zero), Command::Process { crash: false, start: true });
    for (at, deed) in &test.deeds {
        driver.schedule(at.from(zero), command(deed));
    }
    for down in &test.down {
        let (begin, end) = both(&down.what);
        driver.schedule(down.from.from(zero), begin);
        if let Some(to) = down.to {
            driver.schedule(to.from(zero), end);
        }
    }
    driver
}

/// The first thing that happens in a world.
pub(super) fn beginning(test: &Test) -> Instant {
    let revisions = test.deployments.iter().flat_map(|deployment| &deployment.revisions).map(|revision| revision.at);
    let fired = test.alerts.iter().flat_map(|alert| &alert.windows).map(|window| window.from);
    let done = test.deeds.iter().map(|(at, _)| *at);
    let down = test.down.iter().map(|down| down.from);
    let ran = test.jobs.iter().flat_map(|job| &job.moments).map(|(at, _)| *at);
    revisions.chain(ran).chain(fired).chain(done).chain(down).chain([test.watching_since, Instant(0)]).min().unwrap_or_default()
}

fn series(facts: &BTreeMap<String, Series>, zero: Time) -> BTreeMap<String, FactSeries> {
    let samples = |values: &Vec<Value>| {
        let sample = |value: &Value| match value {
            Value::Sample(value) => Sample::Value(*value),
            Value::Stale => Sample::Stale,
            Value::Omitted => Sample::Omitted,
        };
        Samples::new(zero, STEP, values.iter().map(sample).collect())
    };
    let series = |series: &Series| match series {
        Series::Everywhere(values) => FactSeries::Everywhere(samples(values)),
        Series::ByImage(by_image) => {
            FactSeries::ByImage(by_image.iter().map(|(image, values)| (image.clone(), samples(values))).collect())
        }
    };
    facts.iter().map(|(name, written)| (name.clone(), series(written))).collect()
}

fn documents(test: &Test, zero: Time, world: &mut World) {
    for (url, from) in &test.documents {
        from.iter().for_each(|(at, text)| world.set_document(url, at.from(zero), text));
    }
}

fn health(test: &Test, world: &mut World) {
    for (url, answers) in &test.http {
        match answers {
            Answers::Always(status) => world.set_status(url, *status),
            Answers::ByImage(by_image) => {
                let has = |deployment: &&Deployment| deployment.revisions.iter().any(|r| by_image.contains_key(&r.image));
                if let Some(deployment) = test.deployments.iter().find(has).or(test.deployments.first()) {
                    world.add_url(url, deployment.at.clone(), by_image.clone());
                }
            }
        }
    }
}

/// The history of a Deployment.
fn releases(deployment: &Deployment, zero: Time, driver: &mut Driver) {
    for (number, revision) in deployment.revisions.iter().enumerate() {
        if !revision.ready {
            driver.world.break_image(&revision.image);
        }
        let (at, by) = (deployment.at.clone(), revision.by.clone());
        let annotations: Vec<(String, String)> =
            revision.annotations.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let event = if number == 0 {
            let new = NewDeployment {
                at,
                image: revision.image.clone(),
                replicas: deployment.replicas,
                ready_after: deployment.ready_after,
                history_limit: deployment.history_limit,
                recreate: deployment.recreate,
                annotations: deployment.annotations.clone(),
                labels: deployment.labels.clone(),
                template_annotations: revision.annotations.clone(),
                config_map: None,
            };
            Event::Create(new, by)
        } else {
            Event::Deploy { at, image: revision.image.clone(), by, annotations, config_map: None }
        };
        driver.schedule(revision.at.from(zero), Command::World(event));
    }
}

/// What becomes of a Job that changes data.
fn migration(job: &Job, zero: Time, driver: &mut Driver) {
    for (at, state) in &job.moments {
        let (namespace, name, image) = (job.namespace.clone(), job.name.clone(), job.image.clone());
        let event = match state {
            Some(state) => Event::Migrate { namespace, name, image, state: *state },
            None => Event::DeleteMigration { namespace, name },
        };
        driver.schedule(at.from(zero), Command::World(event));
    }
}

pub(super) fn firing(alert: &Alert, zero: Time, around: &Surroundings) -> Firing {
    let alertname = alert.labels.get("alertname").map(String::as_str).unwrap_or_default();
    let rule = around.rules.of(alertname);
    let by_rule = rule.map_or((Duration::ZERO, Some(2 * around.interval)), |rule| rule);
    let windows = alert.windows.iter().map(|window| Window {
        from: window.from.from(zero),
        to: window.to.map(|to| to.from(zero)),
        every: window.every,
        condition: window.condition.clone(),
    });
    Firing {
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        hold: alert.hold.unwrap_or(by_rule.0),
        tail: alert.tail.or(by_rule.1),
        windows: windows.collect(),
        of: alert.of.clone(),
    }
}

/// Something ceases to answer, and answers again.
fn both(part: &Part) -> (Command, Command) {
    let both = |part: Dependency| (Command::World(Event::Down(part.clone(), true)), Command::World(Event::Down(part, false)));
    match part {
        Part::Cluster => both(Dependency::Cluster),
        Part::Watch => both(Dependency::Watch),
        Part::Prometheus => both(Dependency::Prometheus),
        Part::Evaluation => both(Dependency::Evaluation),
        Part::Alertmanager => both(Dependency::Alertmanager(None)),
        Part::Channel(name) => both(Dependency::Channel(name.clone().unwrap_or_default())),
        Part::Backout => (Command::Process { crash: true, start: false }, Command::Process { crash: false, start: true }),
    }
}

fn command(deed: &Deed) -> Command {
    let target = |at: &TargetRef| at.clone();
    match deed {
        Deed::Approve { by, incident, overrides } => {
            Command::Person(Person::Approve { incident: *incident, by: by.clone(), overrides: overrides.clone(), plan: None })
        }
        Deed::Veto { by, incident, reason } => {
            Command::Person(Person::Veto { incident: *incident, by: by.clone(), reason: reason.clone() })
        }
        Deed::Acknowledge { by, incident } => Command::Person(Person::Acknowledge { incident: *incident, by: by.clone() }),
        Deed::Mark { by, incident, mark } => {
            Command::Person(Person::Mark { incident: *incident, mark: *mark, by: by.clone(), reason: "looked at it".to_owned() })
        }
        Deed::Silence { by, matchers, span } => Command::World(Event::Silence(matchers.clone(), by.clone(), *span)),
        Deed::Pause { by, scope, reason, span } => {
            Command::Person(Person::Pause { scope: scope.clone(), by: by.clone(), reason: reason.clone(), span: *span })
        }
        Deed::ClearLatch { by, latch } => {
            Command::Person(Person::Clear { latch: *latch, by: by.clone(), reason: "looked at the data".to_owned() })
        }
        Deed::Resume { by, pause } => Command::Person(Person::Resume { pause: *pause, by: by.clone() }),
        Deed::Deploy { by, at, image, annotations } => {
            let annotations = annotations.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            let (at, image, by) = (target(at), image.clone(), by.clone());
            Command::World(Event::Deploy { at, image, by, annotations, config_map: None })
        }
        Deed::Scale { by, at, replicas } => Command::World(Event::Scale { at: target(at), replicas: *replicas, by: by.clone() }),
        Deed::Annotate { at, key, value } => {
            Command::World(Event::Annotate { at: target(at), key: key.clone(), value: value.clone() })
        }
        Deed::Delete { at } => Command::World(Event::Delete(target(at))),
    }
}
