//! L4, wiring: what `serve` and `demo` have in common. Recovers the engine, binds the server, supervises both.

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::decide::limits::Limits;
use crate::engine::{Engine, EngineHandle, EngineSettings, Hands, Lookout, PolicySource, RecoverError};
use crate::http::auth::Tokens;
use crate::http::tls::Tls;
use crate::http::{BeforeScrape, HttpSettings, Parts, Server};
use crate::lifecycle::{Stages, Supervisor};
use crate::metrics::Metrics;
use crate::model::{Operation, Order, WatchEvent};
use crate::policy::types::Policies;
use crate::ports::{Control, ControlError, LogLevel, NoticeId, Notifier, Question, Span, Store, Subscription};

/// Everything that a running service is made of.
pub struct Assembly {
    /// The journal.
    pub store: Arc<dyn Store>,
    /// The hands.
    pub hands: Hands,
    /// Metric handles.
    pub metrics: Arc<Metrics>,
    /// The product's times.
    pub limits: Limits,
    /// The cluster's name.
    pub cluster_name: Option<String>,
    /// The policies to start with.
    pub policies: Policies,
    /// Where they are read again.
    pub policy_source: PolicySource,
    /// What the cluster's watch sees.
    pub watch: mpsc::Receiver<WatchEvent>,
    /// What else must be there before the service is ready.
    pub also_ready: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// Receipts that may wait for the engine.
    pub inbox: usize,
    /// Who may do what.
    pub tokens: Arc<Tokens>,
    /// Our certificates; without them it speaks plain HTTP.
    pub tls: Option<Arc<Tls>>,
    /// Limits of the HTTP side.
    pub http: HttpSettings,
    /// Where it listens.
    pub listener: TcpListener,
    /// What is logged, where that can be changed.
    pub log_level: Option<Arc<dyn LogLevel>>,
    /// Where spans of traces go, if anywhere.
    pub spans: Option<mpsc::Sender<Span>>,
}

impl Assembly {
    /// Recovers the journal and starts the engine and the server under the supervisor.
    ///
    /// # Errors
    /// When the journal cannot be read or understood.
    pub async fn start(self, supervisor: &mut Supervisor, stages: &Stages) -> Result<EngineHandle, RecoverError> {
        let lookout = Arc::new(Lookout::new(self.store, Arc::clone(&self.hands.clock)));
        let store: Arc<dyn Store> = Arc::clone(&lookout) as Arc<dyn Store>;
        let notifier = Arc::clone(&self.hands.notifier);
        let (engine, handle) = Engine::recover(EngineSettings {
            store: Arc::clone(&store),
            hands: self.hands.clone(),
            metrics: Arc::clone(&self.metrics),
            limits: self.limits,
            cluster_name: self.cluster_name,
            policies: self.policies,
            policy_source: self.policy_source,
            also_ready: self.also_ready,
            spans: self.spans,
        })
        .await?;
        let (inbox, receipts) = mpsc::channel(self.inbox);
        self.metrics.inbox_capacity.set(i64::try_from(self.inbox).unwrap_or(i64::MAX));
        let (cluster, clock) = (self.hands.cluster.clone(), Arc::clone(&self.hands.clock));
        // Read when asked for: a watch that has fallen silent, or a journal, must be seen to age also while nothing else happens.
        let looked_at = Arc::clone(&lookout);
        let ages: BeforeScrape = Arc::new(move |metrics| {
            metrics.store_stuck(looked_at.stuck_for());
            let heard = cluster.as_ref().and_then(|cluster| cluster.watch_heard_at());
            metrics.watch_age(heard.map(|at| clock.now().since(at)));
        });
        let server = Server::new(Parts {
            store,
            inbox,
            control: Arc::new(Relay { engine: handle.clone(), notifier: Arc::clone(&self.hands.notifier) }),
            metrics: self.metrics,
            clock: self.hands.clock,
            tokens: self.tokens,
            settings: self.http,
            before_scrape: Some(ages),
            log_level: self.log_level,
        })
        .with_tls(self.tls);
        let drain = stages.drain.clone();
        supervisor.spawn("lookout", async move {
            lookout.keep(notifier, drain).await;
            Ok::<(), Infallible>(())
        });
        let (drain, watch) = (stages.drain.clone(), self.watch);
        let served = CancellationToken::new();
        let server_ended = served.clone();
        supervisor.spawn("engine", async move {
            let _receipts = engine.run(receipts, watch, drain).await;
            // What is still being sent is taken: it is in the journal, and the next start makes something of it.
            server_ended.cancelled().await;
            Ok::<(), Infallible>(())
        });
        let (drain, abort, listener) = (stages.drain.clone(), stages.abort.clone(), self.listener);
        supervisor.spawn("http", async move {
            let _served = served.drop_guard();
            server.run(listener, drain, abort).await;
            Ok::<(), Infallible>(())
        });
        Ok(handle)
    }
}

/// The engine as people reach it: whoever acknowledges here acknowledges at the channels, too.
struct Relay {
    engine: EngineHandle,
    notifier: Arc<dyn Notifier>,
}

impl Control for Relay {
    fn query(&self, question: Question) -> BoxFuture<'_, Result<serde_json::Value, ControlError>> {
        self.engine.query(question)
    }

    fn operate(&self, order: Order) -> BoxFuture<'_, Result<serde_json::Value, ControlError>> {
        Box::pin(async move {
            let acknowledged = match &order.operation {
                Operation::Acknowledge { incident, by } => Some((incident.clone(), by.clone())),
                _ => None,
            };
            let answer = self.engine.operate(order).await?;
            if let Some((incident, by)) = acknowledged {
                let notifier = Arc::clone(&self.notifier);
                // The person has their answer; a provider that is slow does not keep them. It bounds itself.
                tokio::spawn(async move { notifier.acknowledge_page(incident, by).await });
            }
            Ok(answer)
        })
    }

    fn watch(&self, known: Option<NoticeId>) -> Subscription {
        self.engine.watch(known)
    }

    fn reload(&self) -> BoxFuture<'_, Result<String, ControlError>> {
        self.engine.reload()
    }

    fn ready(&self) -> Result<(), String> {
        self.engine.ready()
    }
}
