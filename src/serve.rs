//! L4: the service itself: from checked settings to a running process, and to its end.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::app::Assembly;
use crate::cli::channels;
use crate::clock::SystemClock;
use crate::cluster::{Clients as ClusterClients, KubernetesCluster};
use crate::drill;
use crate::engine::{EngineHandle, Hands, PolicySource};
use crate::execute::WriterSettings;
use crate::lifecycle::{self, Ending, Hangups, Stages, Supervisor, TaskDied};
use crate::metrics::Metrics;
use crate::model::WatchEvent;
use crate::notify::NotifierSet;
use crate::observe::{AlertmanagerClient, ClusterWatch, HttpProbeClient, PrometheusClient, PrometheusLimits, WatchSettings};
use crate::outgoing::Clients;
use crate::ports::{Clock, Cluster, Control as _, LogLevel, Notifier, Span, Store};
use crate::rules_dir::{self, RulesError};
use crate::settings::Settings;
use crate::store::{SqliteOptions, SqliteStore};
use crate::traces;

/// Watch events that may wait for the engine.
const WATCH_EVENTS: usize = 1024;
/// The file in the data folder that says where the service listens: for scripts, and for tests with port 0.
const LISTEN_FILE: &str = "listen";

/// Why the service did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Something is in the way of a start.
    #[error("{0}")]
    Start(String),
    /// A part of it died, and the rest ended with it.
    #[error(transparent)]
    Died(#[from] TaskDied),
}

impl ServeError {
    fn new(error: impl std::fmt::Display) -> Self {
        Self::Start(error.to_string())
    }
}

/// Runs until it is told to end.
///
/// # Errors
/// Says what is in the way of a start, or which task died.
pub async fn serve(settings: Settings, log_level: Arc<dyn LogLevel>) -> Result<(), ServeError> {
    match lifecycle::raise_open_files() {
        Ok(limit) => tracing::debug!(limit, "limit on open files raised"),
        Err(error) => tracing::warn!(%error, "the limit on open files could not be raised"),
    }
    let stages = Stages::on_signals(settings.shutdown_grace).map_err(ServeError::new)?;
    let hangups = Hangups::listen().map_err(ServeError::new)?;
    let mut supervisor = Supervisor::new(stages.clone(), settings.shutdown_grace);
    let metrics = Metrics::new().map_err(ServeError::new)?;

    // Watched before it is read: a change in between is not missed.
    let (rules_changed, _rules_watch) = rules_dir::watch(settings.rules.clone());
    let source = policy_source(&settings);
    let policies = source().map_err(ServeError::Start)?;

    let listener = listen(&settings).await?;
    let store = open_store(&settings, &metrics)?;
    let address = listener.local_addr().map_err(ServeError::new)?;
    if settings.tls.is_none() && !address.ip().is_loopback() {
        tracing::warn!(%address, "without TLS every network in between can read the tokens that are sent; see `tls` in the settings");
    }
    say_where(&settings.data, address)?;

    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let spans = traces(&settings, &metrics, &mut supervisor, &stages)?;
    let outside = outside(&settings, &clock, &store, &metrics, &mut supervisor, &stages).await?;
    let assembly = Assembly {
        store,
        hands: outside.hands,
        metrics,
        limits: settings.limits,
        cluster_name: settings.cluster_name.clone(),
        policies,
        policy_source: source,
        watch: outside.watch,
        also_ready: outside.also_ready,
        inbox: settings.inbox,
        tokens: Arc::clone(&settings.tokens),
        tls: settings.tls.clone(),
        http: settings.http.clone(),
        listener,
        log_level: Some(log_level),
        spans,
    };
    let drills = (assembly.hands.clone(), Arc::clone(&assembly.policy_source), Arc::clone(&assembly.metrics));
    let handle = assembly.start(&mut supervisor, &stages).await.map_err(ServeError::new)?;
    if let Some(schedule) = schedule(&settings, &handle, drills, &outside.notifier) {
        let drain = stages.drain.clone();
        supervisor.spawn("drills", drill::keep(schedule, drain));
    }
    let (control, drain) = (Arc::new(handle.clone()), stages.drain.clone());
    supervisor.spawn("acknowledgements", async move {
        outside.notifier.bring_acknowledgements(control, drain).await;
        Ok::<(), ServeError>(())
    });
    supervisor.spawn("reload", reload(handle, rules_changed, hangups, stages.drain.clone()));
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), cluster = settings.cluster_name.as_deref(), "serving");
    match supervisor.run().await? {
        Ending::Drained => tracing::info!("ended"),
        Ending::Cut(tasks) => tracing::warn!(tasks = tasks.join(","), "ended; these were cut off"),
    }
    Ok(())
}

/// Drills beside the service, where the settings want them.
fn schedule(
    settings: &Settings,
    engine: &EngineHandle,
    (hands, policies, metrics): (Hands, PolicySource, Arc<Metrics>),
    channels: &Arc<NotifierSet>,
) -> Option<drill::Schedule> {
    let (engine, channels) = (engine.clone(), Arc::clone(channels));
    let (limits, cluster_name) = (settings.limits, settings.cluster_name.clone());
    let every = settings.drill_every?;
    Some(drill::Schedule { every, engine, policies, hands, channels, limits, cluster_name, metrics })
}

/// The folder of policies, read and judged together with the channels whenever it is asked for: at a reload, too, a policy that
/// may act while nobody can be paged is a mistake that must not wait for the first incident.
fn policy_source(settings: &Settings) -> PolicySource {
    let (root, named, channels) = (settings.rules.clone(), settings.cluster_name.is_some(), settings.channels.clone());
    Arc::new(move || {
        let loaded = channels::load(&root, named, &channels).map_err(|error| match error {
            RulesError::Wrong(found) => found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            other => other.to_string(),
        })?;
        for found in &loaded.warnings {
            if found.is_warning() {
                tracing::warn!(file = %found.file, line = found.line, "{}", found.message);
            } else {
                tracing::info!(file = %found.file, line = found.line, "{}", found.message);
            }
        }
        Ok(loaded.policies)
    })
}

async fn listen(settings: &Settings) -> Result<TcpListener, ServeError> {
    let bound = TcpListener::bind(settings.listen).await;
    bound.map_err(|error| ServeError::Start(format!("cannot listen on `{}`: {error}", settings.listen)))
}

fn open_store(settings: &Settings, metrics: &Metrics) -> Result<Arc<dyn Store>, ServeError> {
    let options = SqliteOptions {
        max_age: settings.retention.age,
        max_bytes: settings.retention.bytes,
        commit_failures: Some(metrics.store_commit_failures.clone()),
        ..SqliteOptions::default()
    };
    Ok(Arc::new(SqliteStore::open(&settings.data, options).map_err(ServeError::new)?))
}

/// Writes the address down, whole or not at all.
fn say_where(data: &Path, address: SocketAddr) -> Result<(), ServeError> {
    let (new, file) = (data.join(".listen.new"), data.join(LISTEN_FILE));
    let written: io::Result<()> = fs::write(&new, format!("{address}\n")).and_then(|()| fs::rename(&new, &file));
    written.map_err(|error| ServeError::Start(format!("cannot write `{}`: {error}", file.display())))
}

/// The exporter of traces, where a collector is named.
fn traces(
    settings: &Settings,
    metrics: &Arc<Metrics>,
    supervisor: &mut Supervisor,
    stages: &Stages,
) -> Result<Option<mpsc::Sender<Span>>, ServeError> {
    let Some(collector) = &settings.otlp else { return Ok(None) };
    let collector = Clients::new().and_then(|clients| clients.endpoint(collector)).map_err(ServeError::new)?;
    let (spans, queue) = mpsc::channel(traces::QUEUE);
    let instance = settings.cluster_name.clone().unwrap_or_else(|| "backout".to_owned());
    let export = traces::export(queue, collector, instance, Arc::clone(metrics), stages.drain.clone());
    supervisor.spawn("traces", async move {
        export.await;
        Ok::<(), ServeError>(())
    });
    Ok(Some(spans))
}

/// The hands, what the watch tells, and what must be there before the service is ready.
struct Outside {
    hands: Hands,
    notifier: Arc<NotifierSet>,
    watch: mpsc::Receiver<WatchEvent>,
    also_ready: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

async fn outside(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    store: &Arc<dyn Store>,
    metrics: &Arc<Metrics>,
    supervisor: &mut Supervisor,
    stages: &Stages,
) -> Result<Outside, ServeError> {
    let clients = Clients::new().map_err(ServeError::new)?;
    let alertmanagers = AlertmanagerClient::new(&clients, &settings.alertmanagers, Arc::clone(clock)).map_err(ServeError::new)?;
    let alertmanagers = alertmanagers.with_watchdog(settings.watchdog.clone());
    let prometheus = if settings.prometheus.is_empty() {
        tracing::warn!("no Prometheus is configured: facts and onsets are unknown, and what rests on them pages");
        None
    } else {
        let client = PrometheusClient::new(&clients, &settings.prometheus, Arc::clone(clock), PrometheusLimits::default());
        Some(Arc::new(client.map_err(ServeError::new)?) as Arc<dyn crate::ports::Prometheus>)
    };
    let notifier = NotifierSet::new(&clients, &settings.channels, settings.origin(), Arc::clone(clock), Arc::clone(metrics));
    let notifier = Arc::new(notifier.map_err(ServeError::new)?);
    let (events, watch) = mpsc::channel(WATCH_EVENTS);
    let (cluster, also_ready) = cluster(settings, clock, store, supervisor, (events, stages)).await?;
    let hands = Hands {
        cluster,
        prometheus,
        alertmanagers: Arc::new(alertmanagers),
        probe: Arc::new(HttpProbeClient::new(&clients, Arc::clone(clock))),
        notifier: Arc::clone(&notifier) as Arc<dyn Notifier>,
        clock: Arc::clone(clock),
    };
    Ok(Outside { hands, notifier, watch, also_ready })
}

type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The cluster of the settings, or the one that we run in, or none.
async fn cluster(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    store: &Arc<dyn Store>,
    supervisor: &mut Supervisor,
    (events, stages): (mpsc::Sender<WatchEvent>, &Stages),
) -> Result<(Option<Arc<dyn Cluster>>, Ready), ServeError> {
    let clients = match (ClusterClients::connect(settings.kubeconfig.clone()).await, &settings.kubeconfig) {
        (Ok(clients), _) => clients,
        (Err(error), Some(_)) => return Err(ServeError::Start(error)),
        (Err(error), None) => {
            tracing::warn!(%error, "no cluster: alerts are taken and decided on, targets are not found, nothing is rolled back");
            // The watch's channel stays open for as long as the service runs.
            supervisor.spawn("no-cluster", hold_open(events, stages.drain.clone()));
            return Ok((None, Arc::new(|| Ok(()))));
        }
    };
    let (seen, mut news) = mpsc::channel::<WatchEvent>(WATCH_EVENTS);
    let watch_settings = WatchSettings { namespaces: settings.namespaces.clone(), ..WatchSettings::default() };
    let watch = ClusterWatch::new(&clients.reads, clock, &watch_settings, seen);
    let cluster = Arc::new(KubernetesCluster::new(
        clients,
        watch.clone(),
        Arc::clone(clock),
        Some(Arc::clone(store)),
        WriterSettings::default(),
    ));
    let (running, drain) = (watch.clone(), stages.drain.clone());
    supervisor.spawn("watch", async move {
        running.run(drain).await;
        Ok::<(), ServeError>(())
    });
    let (keeper, drain) = (Arc::clone(&cluster), stages.drain.clone());
    supervisor.spawn("templates", async move {
        while let Some(Some(event)) = drain.run_until_cancelled(news.recv()).await {
            // A good release's template outlives its ReplicaSet. A failure costs the copy, never the event.
            if event.available
                && let Err(error) = keeper.keep_template(&event).await
            {
                tracing::debug!(error, target = %event.target, "a template was not kept");
            }
            if events.send(event).await.is_err() {
                break;
            }
        }
        Ok::<(), ServeError>(())
    });
    let ready = move || {
        let status = watch.status();
        let problems = status.problems.join("; ");
        if status.synced { Ok(()) } else { Err(format!("the cluster's cache is being filled: {problems}")) }
    };
    Ok((Some(cluster), Arc::new(ready)))
}

fn hold_open(events: mpsc::Sender<WatchEvent>, drain: CancellationToken) -> BoxFuture<'static, Result<(), ServeError>> {
    Box::pin(async move {
        drain.cancelled().await;
        drop(events);
        Ok(())
    })
}

/// Reloads when the folder changed, and on SIGHUP. What is wrong is said by the engine; the policies before it stay.
async fn reload(
    handle: EngineHandle,
    mut changed: mpsc::Receiver<()>,
    mut hangups: Hangups,
    drain: CancellationToken,
) -> Result<(), ServeError> {
    loop {
        tokio::select! {
            () = drain.cancelled() => return Ok(()),
            () = hangups.next() => {}
            tick = changed.recv() => if tick.is_none() {
                return Err(ServeError::Start("the watch on the policy folder ended".to_owned()));
            },
        }
        let _ = handle.reload().await;
    }
}
