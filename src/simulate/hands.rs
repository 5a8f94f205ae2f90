//! The ports over a simulated world: for the demo, where the real engine runs, and for contract tests. Each call lets the world
//! reach the clock's time first; `run` moves it when nobody asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::world::{Emitted, World};
use crate::model::{
    Alert, AlertmanagerView, Applied, Delivery, Digest, Evidence, Fact, Fingerprint, Guard, HttpCheck, HttpFact, HttpResult,
    IncidentId, Lookup, Message, Number, Onset, Plan, PreflightReport, Resolution, RolloutStatus, TailSource, TargetId, Time,
    Unknown, UnknownKind, WatchEvent,
};
use crate::ports::{Alertmanagers, Clock, Cluster, HttpProbe, Notifier, Prometheus};

/// How often the world is moved when nobody asks.
const STEP: Duration = Duration::from_millis(100);

/// Hands on a world.
#[derive(Clone)]
pub struct Hands {
    world: Arc<Mutex<World>>,
    clock: Arc<dyn Clock>,
}

/// What the world says by itself.
#[derive(Clone, Debug)]
pub struct Mouths {
    /// What the watch sees.
    pub watch: mpsc::Sender<WatchEvent>,
    /// Bodies for our webhook.
    pub webhooks: mpsc::Sender<Bytes>,
    /// What happened, for the terminal.
    pub log: mpsc::Sender<String>,
}

impl Hands {
    /// Hands on a world that moves by this clock.
    pub fn new(world: World, clock: Arc<dyn Clock>) -> Self {
        Self { world: Arc::new(Mutex::new(world)), clock }
    }

    /// Does something in the world, as of now.
    pub fn with<T>(&self, f: impl FnOnce(&mut World, Time) -> T) -> T {
        let now = self.clock.now();
        let mut world = self.lock();
        world.advance(now);
        f(&mut world, now)
    }

    /// Moves the world by the clock, and says what comes out of it, until nobody listens.
    pub async fn run(&self, mouths: Mouths) {
        loop {
            let emitted = self.with(|world, _| world.take_emitted());
            for emitted in emitted {
                let heard = match emitted {
                    Emitted::Watch(event) => mouths.watch.send(*event).await.is_ok(),
                    Emitted::Webhook(body) => mouths.webhooks.send(Bytes::from(body)).await.is_ok(),
                    Emitted::Log(text) => mouths.log.send(text).await.is_ok(),
                };
                if !heard {
                    return;
                }
            }
            self.clock.sleep(STEP).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers as of now.
    fn answer<'a, T: Send + 'a>(&'a self, f: impl FnOnce(&mut World, Time) -> T + Send + 'a) -> BoxFuture<'a, T> {
        async move { self.with(f) }.boxed()
    }
}

impl Cluster for Hands {
    fn resolve(&self, lookup: Lookup) -> BoxFuture<'_, Resolution> {
        self.answer(move |world, now| world.resolve(&lookup, now))
    }

    fn observe(&self, target: TargetId) -> BoxFuture<'_, Resolution> {
        self.answer(move |world, now| world.observe(&target, now))
    }

    fn preflight(&self, plan: Plan, guard: Guard) -> BoxFuture<'_, PreflightReport> {
        self.answer(move |world, now| world.preflight(&plan, &guard, now))
    }

    fn evidence(&self, plan: Plan) -> BoxFuture<'_, Evidence> {
        self.answer(move |world, now| world.evidence(&plan, now))
    }

    fn apply(&self, plan: Plan, step: usize, guard: Guard) -> BoxFuture<'_, Applied> {
        self.answer(move |world, now| world.apply(&plan, step, &guard, now))
    }

    fn rollout(&self, target: TargetId, release: Digest) -> BoxFuture<'_, RolloutStatus> {
        self.answer(move |world, now| world.rollout(&target, &release, now))
    }

    fn event(&self, target: TargetId, incident: IncidentId, reason: &'static str, note: String) -> BoxFuture<'_, ()> {
        self.answer(move |world, _| world.note_event(&target, &incident, reason, &note))
    }

    fn watch_heard_at(&self) -> Option<Time> {
        self.with(|world, now| world.watch_heard_at(now))
    }
}

impl Prometheus for Hands {
    fn query(&self, promql: String) -> BoxFuture<'_, Fact<Number>> {
        self.answer(move |world, now| world.query(&promql, now))
    }

    fn query_at(&self, promql: String, at: Time) -> BoxFuture<'_, Fact<Number>> {
        self.answer(move |world, now| world.query_at(&promql, at, now))
    }

    fn onset(&self, alert: Alert) -> BoxFuture<'_, Onset> {
        self.answer(move |world, now| world.onset(&alert, now))
    }

    fn evaluated_at(&self) -> BoxFuture<'_, Fact<Time>> {
        self.answer(|world, now| world.evaluated_at(now))
    }

    fn tail(&self, alertname: String) -> BoxFuture<'_, Option<TailSource>> {
        self.answer(move |world, now| world.tail(&alertname, now))
    }
}

impl Alertmanagers for Hands {
    fn view(&self, fingerprints: Vec<Fingerprint>) -> BoxFuture<'_, AlertmanagerView> {
        self.answer(move |world, now| {
            let asked_elsewhere = Unknown::new(UnknownKind::NotObserved, "Prometheus is asked apart");
            world.view(&fingerprints, Fact::unknown(asked_elsewhere, now, "alertmanager"), now)
        })
    }
}

impl HttpProbe for Hands {
    fn check(&self, check: HttpCheck) -> BoxFuture<'_, HttpResult> {
        self.answer(move |world, now| world.check(&check, now))
    }

    fn fetch(&self, what: HttpFact) -> BoxFuture<'_, Fact<String>> {
        self.answer(move |world, now| world.fetch(&what, now))
    }
}

impl Notifier for Hands {
    fn deliver(&self, message: Message) -> BoxFuture<'_, Delivery> {
        self.answer(move |world, now| world.deliver(&message, now))
    }

    fn close_page(&self, incident: Option<IncidentId>) -> BoxFuture<'_, ()> {
        self.answer(move |world, _| {
            if let Some(incident) = incident {
                world.close_page(&incident);
            }
        })
    }
}
