//! Looks for a sequence of alerts, releases and changes of health that makes a policy act more than its budget says: every sequence of
//! a few moves, the short ones first, each lived through by the service's own engine. The moves are made of what the tests of a
//! file speak of. Deterministic and bounded.

mod story;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::build::{self, Surroundings};
use super::files::Loaded;
use crate::model::{Mode, TargetRef, Time};
use crate::policy::duration;
use crate::policy::test_file::series::Value;
use crate::policy::test_file::types::{Alert, Answers, Deployment, Instant, Series, Test};
use crate::policy::types::{Budget, Policies, Policy, VerdictRule};
use crate::simulate::{Command, Driver, Event, FactSeries, Firing, Hook, Person, Sample, Samples, Window, Written};

/// How long the world goes on after a move: enough for a decision, a rollback and its proof, or for an incident to close.
const DWELL: Duration = Duration::from_secs(15 * 60);
/// How long a wait is: brakes count in hours.
const WAIT: Duration = Duration::from_secs(60 * 60);
/// How long after a plan asks for it somebody says yes.
const THOUGHT: Duration = Duration::from_secs(5);
/// Sequences that are tried at most.
const MOST: usize = 100_000;
/// What is taken from the tests at most, so that the moves stay few.
const DEPLOYMENTS: usize = 2;
const ALERTS: usize = 3;

/// What a search found.
#[derive(Clone, Debug)]
pub enum Bound {
    /// A sequence that breaks a budget.
    Found(Box<Counterexample>),
    /// None, down to this depth.
    Holds {
        /// Moves in the longest sequences.
        depth: usize,
        /// How many sequences were tried.
        tried: usize,
        /// Whether the search was stopped in the depth after that, because it had tried enough.
        stopped: bool,
    },
    /// There is nothing to look for, and why.
    Nothing(String),
}

/// A sequence that breaks a budget.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// Whose.
    pub policy: String,
    /// What it says.
    pub budget: String,
    /// What was done instead.
    pub done: String,
    /// How many moves it takes.
    pub moves: usize,
    /// The sequence as a test file: it fails as long as the budget does not hold.
    pub test_file: String,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    /// An alert begins or ends.
    Alert(usize),
    /// Another release goes out.
    Deploy(usize),
    /// All facts go from their least values to their greatest, or back.
    Health,
    /// Nothing, for an hour.
    Wait,
}

/// What moves are made of.
struct Ground<'l> {
    policies: &'l Arc<Policies>,
    around: &'l Surroundings,
    /// The world before anything happens.
    world: Test,
    alerts: Vec<Alert>,
    /// The least and the greatest value of each fact.
    facts: BTreeMap<String, (f64, f64)>,
    /// What is watched over: policies and their budgets.
    budgets: Vec<(&'l Policy, Budget, bool)>,
}

/// A world in the middle of a sequence.
#[derive(Clone)]
struct Node {
    driver: Driver,
    moves: Vec<(Instant, Move)>,
    firing: Vec<bool>,
    high: bool,
    /// Whether facts were high at the beginning.
    began_high: bool,
    now: Instant,
}

/// What a search does on its way.
struct Search {
    tried: usize,
    stopped: bool,
}

/// Searches, down to that many moves.
pub fn bound(loaded: &Loaded, depth: usize) -> Bound {
    let ground = match Ground::of(loaded) {
        Ok(ground) => ground,
        Err(why) => return Bound::Nothing(why),
    };
    let mut search = Search { tried: 0, stopped: false };
    let varies = ground.facts.values().any(|(least, greatest)| least < greatest);
    let roots: Vec<Node> = [true, false].into_iter().filter(|high| *high || varies).map(|high| ground.root(high)).collect();
    for length in 1..=depth {
        for root in &roots {
            if let Some((node, (policy, budget, done))) = search.deepen(&ground, root, length) {
                return Bound::Found(Box::new(Counterexample {
                    policy: policy.name.clone(),
                    budget: words(&budget),
                    done,
                    moves: node.moves.len(),
                    test_file: story::tell(&ground, &node, policy, &budget, loaded),
                }));
            }
        }
        if search.stopped {
            return Bound::Holds { depth: length - 1, tried: search.tried, stopped: true };
        }
    }
    Bound::Holds { depth, tried: search.tried, stopped: false }
}

impl Search {
    /// All sequences that go on so many moves from here; the first that breaks a budget.
    fn deepen<'g>(&mut self, ground: &'g Ground<'_>, node: &Node, left: usize) -> Option<(Node, Broken<'g>)> {
        for next in ground.moves(node) {
            if self.tried >= MOST {
                self.stopped = true;
                return None;
            }
            let mut after = node.clone();
            ground.make(&mut after, next);
            if left > 1 {
                if let Some(found) = self.deepen(ground, &after, left - 1) {
                    return Some(found);
                }
                continue;
            }
            self.tried += 1;
            if let Some(broken) = ground.broken(&after.driver.written) {
                return Some((after, broken));
            }
        }
        None
    }
}

/// A budget that was not kept, and what was done.
type Broken<'g> = (&'g Policy, Budget, String);

impl<'l> Ground<'l> {
    fn of(loaded: &'l Loaded) -> Result<Self, String> {
        let policies = &loaded.policies;
        let budgets: Vec<(&Policy, Budget, bool)> = policies
            .policies
            .iter()
            .filter(|policy| may_act(policies, policy))
            .map(|policy| {
                let budget = policy.brakes.budget.on();
                (policy, budget.copied().unwrap_or_default(), budget.is_none())
            })
            .collect();
        if budgets.is_empty() {
            return Err("no policy may act: all are in shadow, or none rolls back".to_owned());
        }
        let tests = &loaded.file.tests;
        let base = tests.iter().find(|test| !test.deployments.is_empty() && !test.alerts.is_empty());
        let base = base.ok_or("no test has both a Deployment and an alert, which the moves would be made of")?;
        let mut alerts: Vec<Alert> = Vec::new();
        for alert in tests.iter().flat_map(|test| &test.alerts) {
            let is_wanted = !policies.about_with(|name| alert.labels.get(name).map(String::as_str)).is_empty();
            if is_wanted && alerts.len() < ALERTS && alerts.iter().all(|known| known.labels != alert.labels) {
                alerts.push(alert.clone());
            }
        }
        if alerts.is_empty() {
            return Err("no policy is about an alert of these tests".to_owned());
        }
        let mut facts = BTreeMap::new();
        for (name, series) in tests.iter().flat_map(|test| &test.facts) {
            extremes(series, facts.entry(name.clone()).or_insert((f64::INFINITY, f64::NEG_INFINITY)));
        }
        facts.retain(|_, (least, greatest)| least <= greatest);
        Ok(Self { policies, around: &loaded.surroundings, world: empty(base, tests), alerts, facts, budgets })
    }

    /// The world before the first move.
    fn root(&self, high: bool) -> Node {
        let mut driver = build::driver(&self.world, self.policies, self.around);
        driver.transcript.mute();
        driver.world.forget_messages();
        let approve = Person::Approve { incident: None, by: "ann".to_owned(), overrides: Vec::new(), plan: None };
        let command = Command::Person(approve);
        driver.hooks.push(Hook { phase: "approval".to_owned(), delay: THOUGHT, command, again: true });
        let now = Instant(0);
        driver.run_until(self.at(now));
        self.set_health(&mut driver, high, now);
        Node { driver, moves: Vec::new(), firing: vec![false; self.alerts.len()], high, began_high: high, now }
    }

    fn at(&self, instant: Instant) -> Time {
        instant.from(build::zero(&self.world))
    }

    /// What may happen next. Two changes of health in a row, and two waits behind each other without anything firing, are left out: a
    /// shorter sequence, or a longer wait, shows the same.
    fn moves(&self, node: &Node) -> Vec<Move> {
        let last = node.moves.last().map(|(_, last)| *last);
        let mut moves: Vec<Move> = (0..self.alerts.len()).map(Move::Alert).collect();
        moves.extend((0..self.world.deployments.len()).map(Move::Deploy));
        if last != Some(Move::Health) && self.facts.values().any(|(least, greatest)| least < greatest) {
            moves.push(Move::Health);
        }
        // Waiting before anything happened changes nothing.
        if last.is_some() {
            moves.push(Move::Wait);
        }
        moves
    }

    fn make(&self, node: &mut Node, next: Move) {
        let (now, at) = (node.now, self.at(node.now));
        match next {
            Move::Alert(index) => {
                let (Some(alert), Some(fires)) = (self.alerts.get(index), node.firing.get_mut(index)) else { return };
                *fires = !*fires;
                let event =
                    if *fires { Event::Firing(Box::new(self.firing(alert, at))) } else { Event::End(alert.labels.clone()) };
                node.driver.schedule(at, Command::World(event));
            }
            Move::Deploy(index) => {
                let Some(deployment) = self.world.deployments.get(index) else { return };
                let image = new_image(deployment, &node.moves, index);
                let (at_target, by) = (deployment.at.clone(), "ci".to_owned());
                let event = Event::Deploy { at: at_target, image, by, annotations: Vec::new(), config_map: None };
                node.driver.schedule(at, Command::World(event));
            }
            Move::Health => {
                node.high = !node.high;
                self.set_health(&mut node.driver, node.high, now);
            }
            Move::Wait => {}
        }
        node.moves.push((now, next));
        node.now = now.after(if next == Move::Wait { WAIT } else { DWELL });
        node.driver.run_until(self.at(node.now));
    }

    fn firing(&self, alert: &Alert, at: Time) -> Firing {
        let alone = Alert { windows: Vec::new(), ..alert.clone() };
        let window = Window { from: at, to: None, every: None, condition: None };
        Firing { windows: vec![window], ..build::firing(&alone, at, self.around) }
    }

    fn set_health(&self, driver: &mut Driver, high: bool, now: Instant) {
        let series = |(least, greatest): &(f64, f64)| {
            let value = Sample::Value(if high { *greatest } else { *least });
            // For as long as any sequence lasts.
            let day = Samples::new(self.at(now), Duration::from_secs(60), vec![value; 24 * 60].into());
            FactSeries::Everywhere(day)
        };
        let values = self.facts.iter().map(|(name, values)| (name.clone(), series(values))).collect();
        driver.world.set_facts(values, BTreeMap::new());
    }

    /// The first budget that these writes break.
    fn broken(&self, written: &[Written]) -> Option<Broken<'_>> {
        self.budgets.iter().find_map(|(policy, budget, _)| {
            let ours: Vec<&Written> = written.iter().filter(|write| write.policy == policy.name).collect();
            let done = too_many(&ours, budget)?;
            Some((*policy, *budget, done))
        })
    }
}

/// What was done beyond a budget. The levels of one incident spend one unit.
fn too_many(written: &[&Written], budget: &Budget) -> Option<String> {
    let mut units: Vec<&Written> = Vec::new();
    for write in written {
        if units.iter().all(|unit| unit.incident != write.incident) {
            units.push(write);
        }
    }
    let within = |end: &Written, span: Duration, on: Option<&TargetRef>| {
        let counts = |unit: &&&Written| {
            unit.at <= end.at && end.at.since(unit.at) < span && on.is_none_or(|target| unit.target == *target)
        };
        units.iter().filter(counts).count()
    };
    let hour = Duration::from_secs(60 * 60);
    units.iter().find_map(|unit| {
        let (on_target, in_hour) = (within(unit, budget.per, Some(&unit.target)), within(unit, hour, None));
        let target = format!("{}/{}", unit.target.namespace, unit.target.name);
        if on_target > budget.per_target as usize {
            return Some(format!("{on_target} rollbacks of {target} in {}", duration::format(budget.per)));
        }
        (in_hour > budget.per_hour as usize).then(|| format!("{in_hour} rollbacks in an hour"))
    })
}

fn words(budget: &Budget) -> String {
    let Budget { per_target, per, per_hour } = budget;
    format!("{per_target} for each target in {}, {per_hour} in an hour over all", duration::format(*per))
}

fn may_act(policies: &Policies, policy: &Policy) -> bool {
    let above = |mode: Option<Mode>| mode.is_none_or(|mode| mode > Mode::Shadow);
    policy.mode > Mode::Shadow
        && policy.decide.iter().any(|rule| match &rule.verdict {
            VerdictRule::Rollback { levels } => {
                let acts = |level: &String| policies.procedures.get(level).is_none_or(|procedure| above(procedure.mode));
                above(rule.mode) && levels.iter().any(acts)
            }
            VerdictRule::Page { .. } | VerdictRule::FixForward { .. } => false,
        })
}

fn extremes(series: &Series, (least, greatest): &mut (f64, f64)) {
    let mut take = |values: &Vec<Value>| {
        for value in values {
            if let Value::Sample(value) = value
                && value.is_finite()
            {
                (*least, *greatest) = (least.min(*value), greatest.max(*value));
            }
        }
    };
    match series {
        Series::Everywhere(values) => take(values),
        Series::ByImage(by_image) => by_image.values().for_each(take),
    }
}

/// The world of a test before anything happens in it: releases that came before minute 0, addresses that answer.
fn empty(base: &Test, tests: &[Test]) -> Test {
    let mut world = base.clone();
    world.deployments.truncate(DEPLOYMENTS);
    for deployment in &mut world.deployments {
        let first = deployment.revisions.first().cloned();
        deployment.revisions.retain(|revision| revision.at < Instant(0) && revision.ready);
        if let (true, Some(first)) = (deployment.revisions.is_empty(), first) {
            let day = Duration::from_secs(24 * 60 * 60);
            deployment.revisions.push(crate::policy::test_file::types::Revision {
                at: Instant(0).before(day),
                ready: true,
                ..first
            });
        }
    }
    let urls = tests.iter().flat_map(|test| test.http.keys());
    world.http = urls.map(|url| (url.clone(), Answers::Always(200))).collect();
    (world.facts, world.floors) = (BTreeMap::new(), BTreeMap::new());
    (world.alerts, world.deeds, world.down, world.expect) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    world
}

/// The image that a move deploys: one that nobody saw before.
fn new_image(deployment: &Deployment, before: &[(Instant, Move)], index: usize) -> String {
    let number = before.iter().filter(|(_, made)| *made == Move::Deploy(index)).count() + 1;
    let image = deployment.revisions.last().map_or("image:0", |revision| revision.image.as_str());
    format!("{image}-next-{number}")
}
