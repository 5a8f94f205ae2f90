//! The deterministic driver: one virtual time, one queue, and the same brain as the service. It carries the effects of `step` out
//! on a world, keeps a journal in bytes, can crash and start again, and watches over the invariants.

mod faulty;
mod kept;
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::command::Command;
use super::transcript::Transcript;
use super::world::{Emitted, World};
use crate::decide::book::Book;
use crate::decide::decision::Decision;
use crate::decide::effect::{Context, Effect, Input};
use crate::decide::limits::Limits;
use crate::decide::observation::{Observation, Request};
use crate::decide::transition::Event;
use crate::decide::{step, wake_at};
use crate::journal::receipt::Receipt;
use crate::journal::record::{self, Record, Stamped};
use crate::model::{Applied, IncidentId, Message, Source, Time, Urgency};
use crate::policy::types::Policies;
use crate::ports::RowKind;

use faulty::Faults;
pub use kept::{DIED, Hook, Keep, Latency, NOBODY, Protocol, Told, Written};

/// More steps than this at one moment is a loop.
const STEPS_AT_ONCE: u32 = 10_000;
/// How often the engine ticks when nothing is due.
const IDLE: Duration = Duration::from_secs(60);

/// What is due at a time.
#[derive(Clone, Debug)]
enum Due {
    /// An effect is carried out, and answered.
    Effect(Effect),
    /// A write is made; its answer comes later, if the process that asked still lives.
    Write(Effect, u64),
    /// An answer comes.
    Answer(Box<Input>),
    /// Something in the story happens.
    Command(Command),
}

/// A row of the journal.
#[derive(Clone, Debug)]
struct Row {
    kind: RowKind,
    at: Time,
    bytes: Vec<u8>,
}

/// The driver.
#[derive(Clone, Debug)]
pub struct Driver {
    /// The world outside.
    pub world: World,
    /// Sets of policies by name; `main` is in force first.
    pub sets: BTreeMap<String, Arc<Policies>>,
    /// The product's times.
    pub limits: Limits,
    /// The cluster's name.
    pub cluster: Option<String>,
    /// How long things take.
    pub latency: Latency,
    /// What happens when an incident enters a phase, once each.
    pub hooks: Vec<Hook>,
    /// What was seen.
    pub transcript: Transcript,
    /// What is kept beside it.
    pub keep: Keep,
    /// What happened, where somebody judges by it.
    pub protocol: Option<Protocol>,
    /// A write is taken to help: the alerts of its incident end with it. For alerts that follow a timetable, which knows nothing
    /// of our writes.
    pub writes_help: bool,
    /// Where incidents went, if decisions are kept.
    pub moves: Vec<(Time, IncidentId, &'static str)>,
    /// Every write that was made, in order.
    pub written: Vec<Written>,
    /// Every message that a channel took, in order.
    pub told: Vec<Told>,
    /// Decisions that nobody took yet, if they are kept.
    pub decisions: Vec<(Time, IncidentId, Arc<Decision>)>,
    in_force: String,
    book: Book,
    now: Time,
    /// By how many milliseconds the service's own clock is ahead of the world's.
    ahead: i64,
    queue: BTreeMap<(Time, u64), Due>,
    numbers: u64,
    journal: Vec<Row>,
    /// How many rows there are, kept or not.
    rows: u64,
    running: bool,
    /// How many times the process was killed.
    epoch: u64,
    faults: Faults,
    /// Bodies that nobody acknowledged: Alertmanager sends them again.
    undelivered: Vec<Vec<u8>>,
    idle_at: Time,
    /// Broken invariants.
    violations: Vec<String>,
}

impl Driver {
    /// A driver at the beginning of a story; times in the transcript count from `zero`.
    pub fn new(world: World, sets: BTreeMap<String, Arc<Policies>>, now: Time, zero: Time) -> Self {
        Self {
            world,
            sets,
            limits: Limits::default(),
            cluster: Some("prod".to_owned()),
            latency: Latency::default(),
            hooks: Vec::new(),
            transcript: Transcript::new(zero),
            keep: Keep { journal: true, invariants: true, decisions: false },
            protocol: None,
            writes_help: false,
            moves: Vec::new(),
            written: Vec::new(),
            told: Vec::new(),
            decisions: Vec::new(),
            in_force: "main".to_owned(),
            book: Book::default(),
            now,
            ahead: 0,
            queue: BTreeMap::new(),
            numbers: 0,
            journal: Vec::new(),
            rows: 0,
            running: false,
            epoch: 0,
            faults: Faults::default(),
            undelivered: Vec::new(),
            idle_at: now,
            violations: Vec::new(),
        }
    }

    /// The virtual time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// What the service's own clock reads.
    pub fn clock(&self) -> Time {
        self.now.shifted(self.ahead)
    }

    /// When the service must be woken, by the world's clock.
    fn wake_at(&self) -> Option<Time> {
        wake_at(&self.book, &self.limits).map(|at| at.shifted(-self.ahead))
    }

    /// All that is remembered.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Broken invariants, in words. Empty is right.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Something happens at a time.
    pub fn schedule(&mut self, at: Time, command: Command) {
        self.push(at, Due::Command(command));
    }

    /// Lets the story go on until then.
    pub fn run_until(&mut self, until: Time) {
        let mut at_once = 0_u32;
        loop {
            let mut next = [self.world.next_event(), self.queue.keys().next().map(|(at, _)| *at)].into_iter().flatten().min();
            if self.is_awake() {
                let tick = self.wake_at().map_or(self.idle_at, |at| at.min(self.idle_at));
                next = Some(next.map_or(tick, |at| at.min(tick)));
            }
            let Some(at) = next.filter(|at| *at <= until) else { break };
            if at > self.now {
                at_once = 0;
                self.now = at;
            }
            at_once += 1;
            if at_once > STEPS_AT_ONCE {
                self.violations.push(format!("more than {STEPS_AT_ONCE} steps at {}", self.now));
                break;
            }
            self.once();
        }
        self.now = self.now.max(until);
        self.world.advance(self.now);
    }

    /// Does the first thing that is due.
    fn once(&mut self) {
        self.world.advance(self.now);
        if self.take_emitted() {
            return;
        }
        if let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let due = entry.remove();
            self.due(due);
            self.take_emitted();
            return;
        }
        if self.is_awake() {
            let woken = self.wake_at().is_some_and(|at| at <= self.now);
            if woken || self.idle_at <= self.now {
                if !woken {
                    self.idle_at = self.now + IDLE;
                }
                self.input(Input::Tick);
            }
        }
    }

    fn due(&mut self, due: Due) {
        match due {
            Due::Command(command) => {
                if let Some(protocol) = &mut self.protocol {
                    protocol.commands.push((self.now, command.clone()));
                }
                command.run(self);
            }
            Due::Answer(input) => self.input(*input),
            Due::Effect(effect) => self.carry_out(effect),
            Due::Write(effect, epoch) => {
                if let Effect::Apply { number, plan, step, guard } = effect {
                    let applied = self.world.apply(&plan, step, &guard, self.now);
                    if matches!(applied, Applied::Done { .. }) {
                        self.written.push(Written {
                            at: self.now,
                            incident: plan.incident.clone(),
                            policy: plan.policy.clone(),
                            target: plan.target.at.clone(),
                            from: plan.from.clone(),
                            to: plan.to.clone(),
                        });
                        self.help(&plan.incident);
                    }
                    let input = Input::Applied { incident: plan.incident.clone(), number, applied };
                    if epoch == self.epoch {
                        self.come_back(self.latency.write / 2, input);
                    }
                }
            }
        }
    }

    fn help(&mut self, incident: &IncidentId) {
        let incident = self.book.incidents.get(incident).filter(|_| self.writes_help);
        let labels: Vec<_> = incident.into_iter().flat_map(|known| known.firing()).map(|m| m.alert.labels.to_map()).collect();
        labels.iter().for_each(|labels| self.world.end_alert(labels));
    }

    fn push(&mut self, at: Time, due: Due) {
        self.numbers += 1;
        self.queue.insert((at.max(self.now), self.numbers), due);
    }

    fn answer(&mut self, after: Duration, input: Input) {
        self.push(self.now + after, Due::Answer(Box::new(input)));
    }

    /// What came out of the world; whether there was anything.
    fn take_emitted(&mut self) -> bool {
        let emitted = self.world.take_emitted();
        let any = !emitted.is_empty();
        for emitted in emitted {
            match emitted {
                Emitted::Log(text) => self.transcript.world(self.now, &text),
                Emitted::Watch(event) => self.watch_tells(Input::Watched(event)),
                Emitted::Webhook(body) => self.webhook(body),
            }
        }
        any
    }

    /// A webhook: durable, then acknowledged, then decided about.
    fn webhook(&mut self, body: Vec<u8>) {
        if !self.takes_receipts() {
            self.undelivered.push(body);
            return;
        }
        let bytes = Receipt::encode(Source::Alertmanager, &body);
        let row = Row { kind: RowKind::Receipt, at: self.clock(), bytes };
        self.rows += 1;
        let input = received(self.rows, &row);
        if self.keep.journal {
            self.journal.push(row);
        }
        self.answer(self.latency.inbox, input);
    }

    /// One step, after the watch was listened to; at the start it has heard nothing yet.
    fn input(&mut self, input: Input) {
        if !self.running {
            return;
        }
        if !self.is_awake() {
            self.put_off(input);
            return;
        }
        if !matches!(input, Input::Started { .. } | Input::ClockSet { .. })
            && let Some(at) = self.watch_heard_at()
        {
            self.step(Input::WatchHeard { at });
        }
        // The step before it may have met a journal that is full, or a kill.
        match (self.running, self.is_awake()) {
            (true, true) => self.step(input),
            (true, false) => self.put_off(input),
            (false, _) => {}
        }
    }

    fn step(&mut self, input: Input) {
        self.transcript.input(self.now, &input);
        let policies = self.sets.get(&self.in_force).cloned().unwrap_or_default();
        let ctx = Context { policies: &policies, limits: &self.limits, cluster: self.cluster.as_deref() };
        let done = step(&ctx, &self.book, input, self.clock());
        for (status, heard) in &done.heard {
            self.transcript.heard(self.now, *status, *heard);
        }
        self.conclude(done);
    }

    fn commit(&mut self, records: &[Stamped]) {
        if records.is_empty() {
            return;
        }
        self.rows += 1;
        if self.keep.journal {
            match record::encode(records) {
                Ok(bytes) => {
                    if let Some(protocol) = &mut self.protocol {
                        protocol.steps.push((self.now, bytes.clone()));
                    }
                    self.journal.push(Row { kind: RowKind::Step, at: self.clock(), bytes });
                }
                Err(why) => self.violations.push(format!("records cannot be written: {why}")),
            }
        }
        for stamped in records {
            if let Err(why) = self.book.fold(stamped) {
                self.violations.push(format!("{}: {why}", self.now));
            }
            if let Record::Incident { id, event } = &stamped.record {
                self.transcript.event((self.now, stamped.at), id, event, &self.book);
                self.watch_over(id, event);
                self.hook(event);
                match event {
                    Event::Decided { decision } if self.keep.decisions => {
                        self.decisions.push((self.now, id.clone(), decision.clone()));
                    }
                    Event::Phase { to } if self.keep.decisions => self.moves.push((self.now, id.clone(), to.as_str())),
                    _ => {}
                }
            }
        }
    }

    fn hook(&mut self, event: &Event) {
        let phase = match event {
            Event::Opened { incident } => incident.phase.as_str(),
            Event::Phase { to } => to.as_str(),
            _ => return,
        };
        let (hit, rest): (Vec<Hook>, Vec<Hook>) = std::mem::take(&mut self.hooks).into_iter().partition(|h| h.phase == phase);
        self.hooks = rest;
        self.hooks.extend(hit.iter().filter(|hook| hook.again).cloned());
        for hook in hit {
            self.push(self.now + hook.delay, Due::Command(hook.command));
        }
    }

    /// What must hold after every event.
    fn watch_over(&mut self, id: &IncidentId, event: &Event) {
        if let Event::Noted { text } = event
            && text.starts_with("defect:")
        {
            self.violations.push(format!("{} {id}: {text}", self.now));
        }
        if !self.keep.invariants {
            return;
        }
        if !self.book.is_indexed() {
            self.violations.push(format!("{} {id}: what is looked up differs from the book", self.now));
        }
        let mut acting = BTreeSet::new();
        for incident in self.book.incidents.values() {
            let under_way = incident.attempts.iter().filter(|attempt| attempt.ended.is_none()).count();
            let target = incident.target.as_ref().map(ToString::to_string);
            if under_way > 1 || (under_way == 1 && !acting.insert(target.clone())) {
                self.violations.push(format!("{}: two attempts at once on {target:?}", self.now));
            }
        }
    }

    /// Starts an effect; its records are durable.
    fn start(&mut self, effect: Effect) {
        let after = match &effect {
            Effect::Locate { .. } | Effect::Observe { .. } => self.latency.read,
            Effect::Prepare { .. } => self.latency.prepare,
            Effect::Apply { plan, .. } => {
                let incident = self.book.incidents.get(&plan.incident);
                let intended = incident.and_then(|incident| incident.attempt()).filter(|attempt| attempt.ended.is_none());
                if intended.is_none_or(|attempt| attempt.plan.hash() != plan.hash()) {
                    self.violations.push(format!("{}: a write without a durable intent", self.now));
                }
                self.push(self.now + self.latency.write / 2, Due::Write(effect, self.epoch));
                return;
            }
            Effect::Tell(_) | Effect::ClosePage(_) | Effect::Event { .. } => self.latency.tell,
        };
        self.push(self.now + after, Due::Effect(effect));
    }

    fn carry_out(&mut self, effect: Effect) {
        let now = self.now;
        match effect {
            Effect::Locate { occurrence, lane, alert, lookup } => {
                let resolution = self.world.resolve(&lookup, now);
                let onset = self.world.onset(&alert, now);
                self.come_back(Duration::ZERO, Input::Located { occurrence, lane, resolution, onset });
            }
            Effect::Observe { incident, id, request } => {
                let observation = Box::new(self.observe(&request));
                self.come_back(Duration::ZERO, Input::Observed { incident, id, observation });
            }
            Effect::Prepare { number, plan, guard, .. } => {
                let report = self.world.preflight(&plan, &guard, now);
                let evidence = Box::new(self.world.evidence(&plan, now));
                self.come_back(Duration::ZERO, Input::Prepared { incident: plan.incident.clone(), number, report, evidence });
            }
            Effect::Tell(message) => {
                let delivery = self.world.deliver(&message, now);
                self.transcript.message(now, &message, &delivery);
                self.told.extend((!delivery.delivered.is_empty()).then(|| Told {
                    at: now,
                    incidents: message.incidents().into_iter().cloned().collect(),
                    moment: message.moment,
                    urgency: message.urgency,
                    title: message.title.clone(),
                    channels: delivery.delivered.clone(),
                }));
                let page = message.urgency == Urgency::Page;
                let Message { incident, folded, id, .. } = *message;
                self.come_back(Duration::ZERO, Input::Told { incident, folded, message: id, page, delivery });
            }
            Effect::ClosePage(incident) => {
                let open = self.world.close_page(&incident);
                self.transcript.page_closed(now, &incident, open);
            }
            Effect::Event { target, incident, reason, note } => {
                self.transcript.kube_event(now, &incident, &target, reason, &note)
            }
            Effect::Apply { .. } => {}
        }
    }

    fn watch_heard_at(&self) -> Option<Time> {
        self.world.watch_heard_at(self.now).map(|at| at.shifted(self.ahead))
    }

    fn observe(&mut self, request: &Request) -> Observation {
        let now = self.now;
        let workload = request.target.as_ref().map(|target| self.world.observe(target, now));
        let evaluated_at = self.world.evaluated_at(now);
        let alerts = self.world.view(&request.fingerprints, evaluated_at, now);
        let mut values = BTreeMap::new();
        for (name, query) in &request.queries {
            values.insert(name.clone(), self.world.answer(name, query, request.target.as_ref(), now));
        }
        let rollout = request.rollout.as_ref().zip(request.target.as_ref());
        Observation {
            at: self.clock(),
            workload,
            alerts,
            values,
            texts: request.fetches.iter().map(|(name, what)| (name.clone(), self.world.fetch(what, now))).collect(),
            watch_heard_at: self.watch_heard_at(),
            rollout: rollout.map(|(release, target)| self.world.rollout(target, release, now)),
            http: request.http.iter().map(|check| self.world.check(check, now)).collect(),
            tail: request.tail_of.as_ref().and_then(|alertname| self.world.tail(alertname, now)),
        }
    }
}

/// What a receipt's row says, as the service reads it.
fn received(seq: u64, row: &Row) -> Input {
    let read = Receipt::decode(&row.bytes).ok().and_then(|receipt| receipt.read(row.at).ok());
    Input::Received { seq, at: row.at, notification: read }
}
