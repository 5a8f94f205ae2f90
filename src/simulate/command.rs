//! What can happen in a story, one line of a script each.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::Doubt;
use super::driver::Driver;
use super::fault::{self, Fault};
use super::firing::Firing;
use super::line::{Line, parse_duration};
use super::prometheus::{Rule, Series};
use super::world::{NewDeployment, Part, World};
use crate::model::{
    Alert, AlertStatus, ChangeId, ChangeKind, IncidentId, Labels, Mark, MigrationState, Operation, PauseScope, PlanHash,
    PostedChange, TargetRef, Texts, Time, Unknown, UnknownKind,
};
use crate::policy::matcher::Matcher;

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Command {
    /// In the world outside.
    World(Event),
    /// A person tells the service something.
    Person(Person),
    /// The process is killed, started, or both at once.
    Process {
        /// It is killed.
        crash: bool,
        /// It is started.
        start: bool,
    },
    /// Another set of policies comes into force.
    Reload(String),
    /// The service's own clock is set, by so many milliseconds.
    Clock(i64),
    /// Something befalls the service.
    Fault(Fault),
}

/// What a person tells the service.
#[derive(Clone, Debug)]
pub enum Person {
    /// No.
    Veto {
        /// Which incident, by its number in the story; the latest open one else.
        incident: Option<usize>,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Yes.
    Approve {
        /// Which incident.
        incident: Option<usize>,
        /// Who.
        by: String,
        /// Brakes that are overridden.
        overrides: Vec<String>,
        /// Another plan than the one that is there.
        plan: Option<String>,
    },
    /// "I have it."
    Acknowledge {
        /// Which incident.
        incident: Option<usize>,
        /// Who.
        by: String,
    },
    /// Stand down.
    Pause {
        /// What it covers.
        scope: PauseScope,
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// How long.
        span: Duration,
    },
    /// Trusts a policy again.
    Rearm {
        /// Which policy.
        policy: String,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Says of a rollback that it was right or wrong.
    Mark {
        /// Which incident, by its number in the story.
        incident: Option<usize>,
        /// Which of the two.
        mark: Mark,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Says that the data was looked at.
    Clear {
        /// Which latch.
        latch: u64,
        /// Who.
        by: String,
        /// What was found.
        reason: String,
    },
    /// Something was changed.
    Change {
        /// The change; its times are told when it is.
        change: Box<PostedChange>,
    },
    /// Go on.
    Resume {
        /// Which pause.
        pause: u64,
        /// Who.
        by: String,
    },
}

/// What happens in the world.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each variant is the method of `World` of that name")]
pub enum Event {
    Create(NewDeployment, String),
    Deploy { at: TargetRef, image: String, by: String, annotations: Vec<(String, String)>, config_map: Option<String> },
    Scale { at: TargetRef, replicas: i32, by: String },
    PauseRollout { at: TargetRef, paused: bool, by: String },
    Annotate { at: TargetRef, key: String, value: String },
    PauseNamespace { namespace: String, reason: String },
    Delete(TargetRef),
    DeleteConfigMap(String),
    Migrate { namespace: String, name: String, image: String, state: MigrationState },
    DeleteMigration { namespace: String, name: String },
    Break(String),
    RefusePods(Option<String>),
    Fire { labels: Labels, onset: Option<Duration>, tail: Option<Duration> },
    Firing(Box<Firing>),
    End(Labels),
    Resolve(String),
    Lose(String),
    Post { labels: Labels, status: AlertStatus, ago: Duration, truncated: u64 },
    Rule(Rule),
    Watchdog,
    Series(String, Series),
    Value(String, Option<f64>),
    Url(String, TargetRef, BTreeMap<String, u16>),
    Silence(Vec<Matcher>, String, Option<Duration>),
    EndSilences,
    Inhibit(Vec<Matcher>, Vec<Matcher>),
    Grouping(Duration, Duration),
    RestartPeer(usize),
    Freeze(usize, bool),
    Lag(Duration),
    Channel(String),
    Down(Part, bool),
    Forbid(bool),
    RefuseDryRuns(Option<String>),
    Doubt(Doubt),
    Ready { at: TargetRef, release: String, pods: i32 },
    Hide(TargetRef, Option<String>),
}

impl Command {
    /// Lets it happen.
    pub fn run(&self, driver: &mut Driver) {
        match self {
            Self::World(event) => event.happen(&mut driver.world),
            Self::Person(person) => person.speak(driver),
            Self::Process { crash, start } => {
                if *crash {
                    driver.crash();
                }
                if *start && !driver.is_running() {
                    driver.start_process();
                }
            }
            Self::Reload(set) => driver.reload(set),
            Self::Clock(by) => driver.set_clock(*by),
            Self::Fault(fault) => fault.happen(driver),
        }
    }
}

impl Person {
    fn speak(&self, driver: &mut Driver) {
        let missing = || IncidentId("none".to_owned());
        let of = |driver: &Driver, number: Option<usize>| match number {
            Some(number) => driver.transcript.incident(number).unwrap_or_else(missing),
            None => {
                let live = driver.book().open().filter(|incident| !incident.lane.is_shadow());
                live.max_by_key(|incident| incident.opened_at).map_or_else(missing, |incident| incident.id.clone())
            }
        };
        let operation = match self {
            Self::Veto { incident, by, reason } => {
                Operation::Veto { incident: of(driver, *incident), by: by.clone(), reason: reason.clone() }
            }
            Self::Approve { incident, by, overrides, plan } => {
                let incident = of(driver, *incident);
                let known = driver.book().incidents.get(&incident).and_then(|known| known.plan.as_ref());
                let hash = plan.clone().map(PlanHash).or_else(|| known.map(|plan| plan.hash()));
                let plan = hash.unwrap_or_else(|| PlanHash("none".to_owned()));
                Operation::Approve { incident, plan, by: by.clone(), overrides: overrides.clone() }
            }
            Self::Acknowledge { incident, by } => Operation::Acknowledge { incident: of(driver, *incident), by: by.clone() },
            Self::Pause { scope, by, reason, span } => {
                Operation::Pause { scope: scope.clone(), by: by.clone(), reason: reason.clone(), until: driver.clock() + *span }
            }
            Self::Mark { incident, mark, by, reason } => {
                Operation::Mark { incident: of(driver, *incident), mark: *mark, by: by.clone(), reason: reason.clone() }
            }
            Self::Rearm { policy, by, reason } => {
                Operation::Rearm { policy: policy.clone(), by: by.clone(), reason: reason.clone() }
            }
            Self::Clear { latch, by, reason } => Operation::Clear { latch: *latch, by: by.clone(), reason: reason.clone() },
            Self::Change { change } => {
                Operation::Change { change: Box::new(PostedChange { at: driver.now(), ..(**change).clone() }) }
            }
            Self::Resume { pause, by } => Operation::Resume { pause: *pause, by: by.clone() },
        };
        driver.operate(operation);
    }
}

impl Event {
    /// Lets it happen in a world whose time was brought up to now.
    pub fn happen(&self, world: &mut World) {
        match self {
            Self::Create(new, by) => world.create(new, by),
            Self::Deploy { at, image, by, annotations, config_map } => {
                world.deploy(at, image, by, annotations, config_map.as_deref());
            }
            Self::Scale { at, replicas, by } => world.scale(at, *replicas, by),
            Self::PauseRollout { at, paused, by } => world.pause_rollout(at, *paused, by),
            Self::Annotate { at, key, value } => world.annotate(at, key, value),
            Self::PauseNamespace { namespace, reason } => world.pause_namespace(namespace, reason),
            Self::Delete(at) => world.delete(at),
            Self::DeleteConfigMap(name) => world.delete_config_map(name),
            Self::DeleteMigration { namespace, name } => world.delete_migration(namespace, name),
            Self::Migrate { namespace, name, image, state } => world.migrate(namespace, name, image, *state),
            Self::Break(image) => world.break_image(image),
            Self::RefusePods(why) => world.refuse_pods(why.clone()),
            Self::Fire { labels, onset, tail } => {
                let unknown = || Unknown::new(UnknownKind::Empty, "no ALERTS_FOR_STATE and no rule of that name");
                let onset = onset.map(|ago| world.now() - ago).ok_or_else(unknown);
                world.fire(labels.clone(), onset, *tail);
            }
            Self::Resolve(name) => world.resolve_alert(name),
            Self::Lose(name) => world.lose_alert(name),
            Self::Post { labels, status, ago, truncated } => world.post(&[posted(labels, *status, *ago, world)], *truncated),
            Self::Rule(rule) => world.add_rule(rule.clone()),
            Self::Watchdog => world.add_watchdog(),
            Self::Series(query, series) => world.add_series(query, series.clone()),
            Self::Value(query, value) => world.set_value(query, *value),
            Self::Url(url, of, by_image) => world.add_url(url, of.clone(), by_image.clone()),
            Self::Silence(matchers, by, span) => {
                let until = span.map(|span| world.now() + span);
                world.silence(matchers.clone(), by, until);
            }
            Self::End(labels) => world.end_alert(labels),
            Self::Firing(firing) => world.add_firing((**firing).clone()),
            Self::EndSilences => world.end_silences(),
            Self::Inhibit(source, target) => world.inhibit(source.clone(), target.clone()),
            Self::Grouping(wait, interval) => world.set_grouping(*wait, *interval),
            Self::RestartPeer(number) => world.restart_peer(*number),
            Self::Freeze(number, frozen) => world.freeze_peer(*number, *frozen),
            Self::Lag(by) => world.lag(*by),
            Self::Channel(name) => world.add_channel(name),
            Self::Down(part, down) => world.set_down(part, *down),
            Self::Forbid(forbidden) => world.forbid_writes(*forbidden),
            Self::RefuseDryRuns(why) => world.refuse_dry_runs(why.clone()),
            Self::Doubt(doubt) => world.doubt_next_write(*doubt),
            Self::Ready { at, release, pods } => world.set_ready(at, release, *pods),
            Self::Hide(at, why) => world.hide(at, why.as_deref()),
        }
    }
}

/// An alert that nobody holds. Where one of these labels is held, it is the same firing.
fn posted(labels: &Labels, status: AlertStatus, ago: Duration, world: &World) -> Alert {
    let held = world.held(labels);
    let starts_at = held.as_ref().map_or(world.now() - ago, |alert| alert.starts_at);
    let fingerprint = crate::model::Fingerprint::of(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let ends_at = (status == AlertStatus::Resolved).then(|| world.now());
    Alert {
        fingerprint,
        status,
        labels: labels.into(),
        annotations: Texts::new(),
        starts_at,
        ends_at,
        generator_url: String::new(),
    }
}

/// Reads a command.
///
/// # Errors
/// What was expected.
pub(super) fn parse(line: &mut Line) -> Result<Command, String> {
    let verb = line.word("what happens")?;
    if let Some(fault) = fault::parse(&verb, line) {
        let fault = fault?;
        line.finish()?;
        return Ok(Command::Fault(fault));
    }
    let command = match verb.as_str() {
        "veto" => {
            Command::Person(Person::Veto { incident: line.number()?, by: line.or("by", "ann"), reason: line.or("reason", "no") })
        }
        "approve" => Command::Person(Person::Approve {
            incident: line.number()?,
            by: line.or("by", "ann"),
            overrides: line.list("overrides"),
            plan: line.value("plan"),
        }),
        "ack" => Command::Person(Person::Acknowledge { incident: line.number()?, by: line.or("by", "ann") }),
        "pause" => Command::Person(Person::Pause {
            scope: scope(&line.word("a scope")?)?,
            by: line.or("by", "ann"),
            reason: line.or("reason", "migration"),
            span: line.duration("for")?.unwrap_or(Duration::from_secs(3600)),
        }),
        "mark" => Command::Person(Person::Mark {
            incident: line.number()?,
            mark: if line.flag("wrong") { Mark::Wrong } else { Mark::Right },
            by: line.or("by", "ann"),
            reason: line.or("reason", "looked at it"),
        }),
        "rearm" => Command::Person(Person::Rearm {
            policy: line.word("a policy")?,
            by: line.or("by", "ann"),
            reason: line.or("reason", "looked at it"),
        }),
        "clear" => Command::Person(Person::Clear {
            latch: line.integer("latch")?.unwrap_or(1),
            by: line.or("by", "ann"),
            reason: line.or("reason", "looked at the data"),
        }),
        "changed" => Command::Person(Person::Change { change: Box::new(changed(line)?) }),
        "resume" => Command::Person(Person::Resume { pause: line.integer("pause")?.unwrap_or(1), by: line.or("by", "ann") }),
        "restart" => Command::Process { crash: true, start: true },
        "crash" => Command::Process { crash: true, start: false },
        "start" => Command::Process { crash: false, start: true },
        "reload" => Command::Reload(line.word("a set of policies")?),
        "clock" => Command::Clock(leap(line)?),
        other => Command::World(super::happening::parse(other, line)?),
    };
    line.finish()?;
    Ok(command)
}

/// `leaps 1h`, or `leaps -1h` for back.
fn leap(line: &mut Line) -> Result<i64, String> {
    let (verb, text) = (line.word("`leaps`")?, line.word("a duration")?);
    if verb != "leaps" {
        return Err(format!("expected `leaps`, found `{verb}`"));
    }
    let (text, sign) = text.strip_prefix('-').map_or((text.as_str(), 1), |text| (text, -1));
    let millis = i64::try_from(parse_duration(text)?.as_millis()).map_err(|_| format!("`{text}` is too long"))?;
    Ok(sign * millis)
}

fn changed(line: &mut Line) -> Result<PostedChange, String> {
    let target = line.target()?;
    let (to, by) = (line.value("to"), line.or("by", "ci"));
    Ok(PostedChange {
        id: ChangeId::derive(&[&target.to_string(), &by, to.as_deref().unwrap_or("")]),
        content: String::new(),
        target,
        kind: ChangeKind::External,
        from: line.value("from"),
        to,
        by,
        at: Time::default(),
        barrier: line.flag("barrier"),
        url: None,
    })
}

fn scope(text: &str) -> Result<PauseScope, String> {
    match text.split_once('/') {
        None if text == "global" => Ok(PauseScope::Global),
        Some(("namespace", name)) => Ok(PauseScope::Namespace(name.to_owned())),
        Some(("target", name)) => Ok(PauseScope::Target(name.to_owned())),
        Some(("policy", name)) => Ok(PauseScope::Policy(name.to_owned())),
        _ => Err(format!("`{text}` is no scope: global, namespace/NAME, target/NAMESPACE/NAME or policy/NAME")),
    }
}
