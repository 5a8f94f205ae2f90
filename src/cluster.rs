//! L4, wiring: the port `Cluster` made of the hand that reads and the hand that writes. No decisions and no requests of its own.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::execute::{ClusterWriter, WriterSettings, judge};
use crate::model::{
    Applied, Digest, Evidence, Guard, IncidentId, Lookup, Plan, PreflightReport, Resolution, RolloutStatus, TargetId, Time,
    WatchEvent,
};
use crate::observe::{ClusterReader, ClusterWatch};
use crate::ports::{Clock, Cluster, Store};

/// Two clients of one cluster: reads are retried by the client, writes never.
#[derive(Clone)]
pub struct Clients {
    /// For GET, lists and watches.
    pub reads: Client,
    /// For everything that changes something.
    pub writes: Client,
}

impl Clients {
    /// Clients for a kubeconfig file; without one, for the cluster that this process runs in.
    ///
    /// # Errors
    /// Says why there is no such cluster to be reached: file, contents, certificates.
    pub async fn connect(kubeconfig: Option<PathBuf>) -> Result<Self, String> {
        let config = match kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(&path)
                    .map_err(|error| format!("cannot read kubeconfig `{}`: {error}", path.display()))?;
                // `HTTPS_PROXY` is for the world outside; a proxy that the file itself names stays, and is refused below.
                let own_proxy = file.clusters.iter().any(|c| c.cluster.as_ref().is_some_and(|c| c.proxy_url.is_some()));
                let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                    .await
                    .map_err(|error| format!("cannot use kubeconfig `{}`: {error}", path.display()))?;
                config.proxy_url = config.proxy_url.filter(|_| own_proxy);
                config
            }
            None => Config::incluster().map_err(|error| format!("not in a cluster: {error}"))?,
        };
        Self::of(config)
    }

    /// Clients for a ready configuration.
    ///
    /// # Errors
    /// Says what in the configuration cannot be used.
    pub fn of(mut config: Config) -> Result<Self, String> {
        config.default_retry = true;
        let client =
            |config: Config| Client::try_from(config).map_err(|error| format!("cannot make a Kubernetes client: {error}"));
        let reads = client(config.clone())?;
        config.default_retry = false;
        Ok(Self { reads, writes: client(config)? })
    }
}

/// A Kubernetes cluster.
pub struct KubernetesCluster {
    reader: ClusterReader,
    writer: ClusterWriter,
    watch: ClusterWatch,
    clock: Arc<dyn Clock>,
}

impl KubernetesCluster {
    /// The cluster behind these clients. `watch` is run by the caller; `store` holds templates that the cluster has pruned.
    pub fn new(
        clients: Clients,
        watch: ClusterWatch,
        clock: Arc<dyn Clock>,
        store: Option<Arc<dyn Store>>,
        settings: WriterSettings,
    ) -> Self {
        let reader = ClusterReader::new(clients.reads.clone());
        let writer = ClusterWriter::new(clients.reads, clients.writes, Arc::clone(&clock), store, settings);
        Self { reader, writer, watch, clock }
    }

    /// The watch, for readiness and figures.
    pub fn watch(&self) -> &ClusterWatch {
        &self.watch
    }

    /// Keeps a copy of the raw template that a watch event is about: to be called for each one whose release is available.
    /// `false`: there is no store, or the ReplicaSet has gone.
    ///
    /// # Errors
    /// Says whether the cluster could not be asked or the store did not take it. Trying again may help.
    pub async fn keep_template(&self, event: &WatchEvent) -> Result<bool, String> {
        match &event.replica_set {
            Some(replica_set) if !event.gone => self.writer.keep_template(&event.target, &event.release, replica_set).await,
            _ => Ok(false),
        }
    }

    /// How many Events could not be put on a workload.
    pub fn events_lost(&self) -> u64 {
        self.writer.events_lost()
    }
}

impl Cluster for KubernetesCluster {
    fn resolve(&self, lookup: Lookup) -> BoxFuture<'_, Resolution> {
        self.reader.resolve(lookup).boxed()
    }

    fn observe(&self, target: TargetId) -> BoxFuture<'_, Resolution> {
        async { self.reader.observe(target).await.0 }.boxed()
    }

    fn preflight(&self, plan: Plan, guard: Guard) -> BoxFuture<'_, PreflightReport> {
        async move { self.writer.preflight(&plan, &guard).await }.boxed()
    }

    fn evidence(&self, plan: Plan) -> BoxFuture<'_, Evidence> {
        async move { self.writer.evidence(&plan, self.reader.selector(&plan.target.at)).await }.boxed()
    }

    fn apply(&self, plan: Plan, step: usize, guard: Guard) -> BoxFuture<'_, Applied> {
        async move { self.writer.apply(&plan, step, &guard).await }.boxed()
    }

    fn rollout(&self, target: TargetId, release: Digest) -> BoxFuture<'_, RolloutStatus> {
        async move {
            let (read, cannot_create) = self.reader.observe(target).await;
            judge(read, cannot_create, &release, self.clock.now())
        }
        .boxed()
    }

    fn event(&self, target: TargetId, incident: IncidentId, reason: &'static str, note: String) -> BoxFuture<'_, ()> {
        async move { self.writer.event(&target, &incident, reason, &note).await }.boxed()
    }

    fn watch_heard_at(&self) -> Option<Time> {
        self.watch.heard_at()
    }
}
