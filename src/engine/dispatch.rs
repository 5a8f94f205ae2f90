//! The hands of the engine: carries effects out through the ports, each in its own task, and brings the result back as an input.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, join3};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use crate::decide::effect::{Effect, Input};
use crate::decide::observation::{Answer, Observation, Request};
use crate::model::{
    Alert, AlertmanagerView, Applied, Evidence, Fact, Guard, HttpFact, Lookup, Number, Onset, Plan, PreflightFinding,
    PreflightReport, Query, Resolution, RolloutStatus, TargetId, Time, Unknown, UnknownKind, Urgency,
};
use crate::ports::{Alertmanagers, Clock, Cluster, HttpProbe, Notifier, Prometheus};

/// Effects that are carried out at the same time; more wait.
const PARALLEL: usize = 64;
/// Messages that are on their way at the same time; more wait. They have slots of their own: a channel that is slow, down or
/// limited keeps a message for a minute, and a storm of alerts must not keep decisions and writes waiting behind it.
const PARALLEL_MESSAGES: usize = 256;
/// Pages that are on their way at the same time; more wait. Apart from other messages: what only informs must not keep one waiting.
const PARALLEL_PAGES: usize = 256;
/// No observation takes longer; its parts have shorter bounds of their own.
const OBSERVE: Duration = Duration::from_secs(30);
/// Preflight and evidence together.
const PREPARE: Duration = Duration::from_secs(60);

/// What the engine acts through.
#[derive(Clone)]
pub struct Hands {
    /// The cluster; `None`: the service only observes alerts, and says so.
    pub cluster: Option<Arc<dyn Cluster>>,
    /// Prometheus; `None`: facts are unknown.
    pub prometheus: Option<Arc<dyn Prometheus>>,
    /// The Alertmanager peers.
    pub alertmanagers: Arc<dyn Alertmanagers>,
    /// Health URLs.
    pub probe: Arc<dyn HttpProbe>,
    /// People.
    pub notifier: Arc<dyn Notifier>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Starts effects.
pub(super) struct Dispatcher {
    hands: Hands,
    inputs: mpsc::Sender<Input>,
    slots: Arc<Semaphore>,
    messages: Arc<Semaphore>,
    pages: Arc<Semaphore>,
    /// Messages that are under way.
    tells: TaskTracker,
    /// Everything else that is.
    asks: TaskTracker,
}

impl Dispatcher {
    pub(super) fn new(hands: Hands, inputs: mpsc::Sender<Input>) -> Self {
        let [slots, messages, pages] = [PARALLEL, PARALLEL_MESSAGES, PARALLEL_PAGES].map(|most| Arc::new(Semaphore::new(most)));
        Self { hands, inputs, slots, messages, pages, tells: TaskTracker::new(), asks: TaskTracker::new() }
    }

    /// How many effects are under way, or wait for a slot. Messages do not count: nobody waits for one.
    pub(super) fn waiting(&self) -> usize {
        self.asks.len()
    }

    /// Starts an effect. Its records are durable.
    pub(super) fn start(&self, effect: Effect) {
        let (slots, tasks) = match &effect {
            Effect::Tell(message) if message.urgency == Urgency::Page => (&self.pages, &self.tells),
            Effect::Tell(_) | Effect::ClosePage(_) => (&self.messages, &self.tells),
            _ => (&self.slots, &self.asks),
        };
        let (hands, inputs, slots) = (self.hands.clone(), self.inputs.clone(), Arc::clone(slots));
        tasks.spawn(async move {
            let Ok(_slot) = slots.acquire_owned().await else { return };
            if let Some(input) = hands.perform(effect).await {
                // The engine is gone: what the effect did is observed after the next start.
                let _ = inputs.send(input).await;
            }
        });
    }

    /// Waits for the effects that are under way.
    pub(super) async fn drain(&self, limit: Duration) {
        self.asks.close();
        self.tells.close();
        let _ = tokio::time::timeout(limit, async { tokio::join!(self.asks.wait(), self.tells.wait()) }).await;
    }
}

impl Hands {
    /// Carries one effect out; its result comes back as an input, where it has one.
    pub async fn perform(&self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Locate { occurrence, lane, alert, lookup } => {
                let (resolution, onset) = tokio::join!(self.locate(lookup), self.onset(*alert));
                Some(Input::Located { occurrence, lane, resolution, onset })
            }
            Effect::Observe { incident, id, request } => {
                let observation = Box::new(self.observe(*request).await);
                Some(Input::Observed { incident, id, observation })
            }
            Effect::Prepare { number, plan, guard, .. } => {
                let incident = plan.incident.clone();
                let (report, evidence) = self.prepare(Arc::unwrap_or_clone(plan), guard).await;
                Some(Input::Prepared { incident, number, report, evidence: Box::new(evidence) })
            }
            Effect::Apply { number, plan, step, guard } => {
                let incident = plan.incident.clone();
                Some(Input::Applied { incident, number, applied: self.apply(Arc::unwrap_or_clone(plan), step, guard).await })
            }
            Effect::Tell(message) => {
                let page = message.urgency == Urgency::Page;
                let (incident, folded, id) = (message.incident.clone(), message.folded.clone(), message.id.clone());
                let delivery = self.notifier.deliver(*message).await;
                Some(Input::Told { incident, folded, message: id, page, delivery })
            }
            Effect::ClosePage(incident) => {
                self.notifier.close_page(Some(incident)).await;
                None
            }
            Effect::Event { target, incident, reason, note } => {
                if let Some(cluster) = &self.cluster {
                    cluster.event(target, incident, reason, note).await;
                }
                None
            }
        }
    }

    async fn locate(&self, lookup: Lookup) -> Resolution {
        match &self.cluster {
            Some(cluster) => cluster.resolve(lookup).await,
            None => Resolution::Unresolved { why: "no cluster is configured: backout only observes".to_owned() },
        }
    }

    async fn onset(&self, alert: Alert) -> Onset {
        match &self.prometheus {
            Some(prometheus) => prometheus.onset(alert).await,
            None => Onset { at: Err(not_configured("Prometheus")), source: "none".to_owned() },
        }
    }

    async fn prepare(&self, plan: Plan, guard: Guard) -> (PreflightReport, Evidence) {
        let Some(cluster) = &self.cluster else { return (blocked("no cluster is configured"), Evidence::default()) };
        let both = async { tokio::join!(cluster.preflight(plan.clone(), guard), cluster.evidence(plan)) };
        tokio::time::timeout(PREPARE, both).await.unwrap_or_else(|_| (blocked("no answer in time"), Evidence::default()))
    }

    async fn apply(&self, plan: Plan, step: usize, guard: Guard) -> Applied {
        match &self.cluster {
            Some(cluster) => cluster.apply(plan, step, guard).await,
            None => Applied::Refused { why: "no cluster is configured".to_owned(), transient: false, forbidden: false },
        }
    }

    async fn observe(&self, request: Request) -> Observation {
        let all = async {
            let world = join3(self.target(request.target.clone()), self.alerts(&request), self.values(&request.queries));
            let world = async { tokio::join!(world, self.texts(&request.fetches)) };
            let proof = join3(self.rollout(&request), self.http(&request), self.tail(&request));
            tokio::join!(world, proof)
        };
        let answers = tokio::time::timeout(OBSERVE, all).await;
        let at = self.clock.now();
        let watch_heard_at = self.cluster.as_ref().and_then(|cluster| cluster.watch_heard_at());
        match answers {
            Ok((((workload, alerts, values), texts), (rollout, http, tail))) => {
                Observation { at, workload, alerts, values, texts, watch_heard_at, rollout, http, tail }
            }
            Err(_) => {
                let why = Unknown::new(UnknownKind::Unreachable, "no answer in time");
                Observation {
                    at,
                    workload: request.target.is_some().then(|| Resolution::Unknown { why: why.clone() }),
                    alerts: AlertmanagerView { peers: Vec::new(), evaluated_at: Fact::unknown(why.clone(), at, "prometheus") },
                    values: request.queries.keys().map(|name| (name.clone(), no_answer(&why, at))).collect(),
                    texts: request.fetches.keys().map(|name| (name.clone(), Fact::unknown(why.clone(), at, "http"))).collect(),
                    watch_heard_at,
                    rollout: request.rollout.is_some().then_some(RolloutStatus::Unknown { why }),
                    http: Vec::new(),
                    tail: None,
                }
            }
        }
    }

    async fn target(&self, target: Option<TargetId>) -> Option<Resolution> {
        let target = target?;
        Some(match &self.cluster {
            Some(cluster) => cluster.observe(target).await,
            None => Resolution::Unknown { why: not_configured("cluster") },
        })
    }

    async fn alerts(&self, request: &Request) -> AlertmanagerView {
        let evaluated = async {
            match &self.prometheus {
                Some(prometheus) => prometheus.evaluated_at().await,
                None => Fact::unknown(not_configured("Prometheus"), self.clock.now(), "prometheus"),
            }
        };
        let (view, evaluated_at) = tokio::join!(self.alertmanagers.view(request.fingerprints.clone()), evaluated);
        AlertmanagerView { evaluated_at, ..view }
    }

    async fn values(&self, queries: &BTreeMap<String, Query>) -> BTreeMap<String, Answer> {
        let answers = queries.iter().map(|(name, query)| async move {
            let floor = async {
                let (promql, least) = query.floor.as_ref()?;
                Some(floor(self.number(promql, query.at).await, least))
            };
            let (value, floor) = tokio::join!(self.number(&query.promql, query.at), floor);
            (name.clone(), Answer { value, floor })
        });
        join_all(answers).await.into_iter().collect()
    }

    async fn texts(&self, fetches: &BTreeMap<String, HttpFact>) -> BTreeMap<String, Fact<String>> {
        let answers = fetches.iter().map(|(name, what)| async move { (name.clone(), self.probe.fetch(what.clone()).await) });
        join_all(answers).await.into_iter().collect()
    }

    async fn number(&self, promql: &str, at: Option<Time>) -> Fact<Number> {
        match (&self.prometheus, at) {
            (Some(prometheus), None) => prometheus.query(promql.to_owned()).await,
            (Some(prometheus), Some(at)) => prometheus.query_at(promql.to_owned(), at).await,
            (None, _) => Fact::unknown(not_configured("Prometheus"), self.clock.now(), "prometheus"),
        }
    }

    async fn rollout(&self, request: &Request) -> Option<RolloutStatus> {
        let (target, release) = (request.target.clone()?, request.rollout.clone()?);
        Some(match &self.cluster {
            Some(cluster) => cluster.rollout(target, release).await,
            None => RolloutStatus::Unknown { why: not_configured("cluster") },
        })
    }

    async fn http(&self, request: &Request) -> Vec<crate::model::HttpResult> {
        join_all(request.http.iter().map(|check| self.probe.check(check.clone()))).await
    }

    async fn tail(&self, request: &Request) -> Option<crate::model::TailSource> {
        match (&self.prometheus, &request.tail_of) {
            (Some(prometheus), Some(alertname)) => prometheus.tail(alertname.clone()).await,
            _ => None,
        }
    }
}

/// Traffic below the floor makes the floor itself unknown, and with it the fact.
fn floor(traffic: Fact<Number>, least: &str) -> Fact<Number> {
    let least: f64 = least.parse().unwrap_or(f64::INFINITY);
    match &traffic.value {
        Ok(number) if number.get() < least => {
            let why = format!("{} is below the floor of {least}", number.get());
            Fact::unknown(Unknown::new(UnknownKind::BelowFloor, why), traffic.at, traffic.source)
        }
        _ => traffic,
    }
}

fn no_answer(why: &Unknown, at: Time) -> Answer {
    Answer { value: Fact::unknown(why.clone(), at, "prometheus"), floor: None }
}

fn not_configured(what: &str) -> Unknown {
    Unknown::new(UnknownKind::NotConfigured, format!("no {what} is configured"))
}

fn blocked(why: &str) -> PreflightReport {
    let finding =
        PreflightFinding { check: "preflight".to_owned(), problem: Some(why.to_owned()), forbidden: false, transient: false };
    PreflightReport { findings: vec![finding] }
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::model::{Delivery, IncidentId, Message, Moment};
    use crate::simulate::{Hands as Simulated, SpeedClock, World};

    /// Takes pages; everything else is on its way for ever.
    struct PagesOnly;

    impl Notifier for PagesOnly {
        fn deliver(&self, message: Message) -> BoxFuture<'_, Delivery> {
            Box::pin(async move {
                if message.urgency != Urgency::Page {
                    std::future::pending::<()>().await;
                }
                Delivery { delivered: vec!["pager".to_owned()], failed: Vec::new() }
            })
        }

        fn close_page(&self, _: Option<IncidentId>) -> BoxFuture<'_, ()> {
            Box::pin(std::future::pending())
        }
    }

    fn message(urgency: Urgency) -> Effect {
        let at = Time::from_millis(0);
        Effect::Tell(Box::new(Message {
            folded: Vec::new(),
            about: crate::model::About::default(),
            id: "m".to_owned(),
            incident: None,
            moment: Moment::Decided,
            urgency,
            severity: "critical".to_owned(),
            title: String::new(),
            text: String::new(),
            target: None,
            policy: None,
            to: Vec::new(),
            labels: BTreeMap::new(),
            at,
        }))
    }

    #[tokio::test]
    async fn a_page_waits_behind_nothing_that_only_informs() {
        let clock: Arc<dyn Clock> = Arc::new(SpeedClock::new(Time::from_millis(0), 1));
        let world = Arc::new(Simulated::new(World::new(Time::from_millis(0), 1), Arc::clone(&clock)));
        let hands = Hands {
            cluster: None,
            prometheus: None,
            alertmanagers: Arc::clone(&world) as Arc<dyn Alertmanagers>,
            probe: world,
            notifier: Arc::new(PagesOnly),
            clock,
        };
        let (inputs, mut told) = mpsc::channel(8);
        let dispatcher = Dispatcher::new(hands, inputs);
        for _ in 0..2 * PARALLEL_MESSAGES {
            dispatcher.start(message(Urgency::Announce));
        }
        dispatcher.start(Effect::ClosePage(IncidentId("i1".to_owned())));
        // All that waits has its place in the queue.
        tokio::task::yield_now().await;
        dispatcher.start(message(Urgency::Page));
        let told = tokio::time::timeout(Duration::from_secs(20), told.recv()).await.expect("not behind them");
        assert!(matches!(told, Some(Input::Told { page: true, .. })), "{told:?}");
    }
}
