//! The watch on Deployments and ReplicaSets: list, follow, list again after a silence. It owns the requests and their pace; what
//! the objects mean is `cache.rs`. It never blocks for a slow reader, and it never spins on a refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::follow::{Follower, Kind, Scope};
use super::outbox::Outbox;
use crate::model::{Time, WatchEvent};
use crate::ports::Clock;

/// What is watched.
#[derive(Clone, Debug)]
pub struct WatchSettings {
    /// The namespaces; empty: all of them.
    pub namespaces: Vec<String>,
    /// Objects in one page of a list: it bounds the memory that the first list takes.
    pub page_size: u32,
    /// How long the API server keeps one watch open; a dead connection is noticed a little after it.
    pub watch_limit: Duration,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self { namespaces: Vec::new(), page_size: 50, watch_limit: Duration::from_secs(60) }
    }
}

/// How the watch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchStatus {
    /// Whether every list was read once.
    pub synced: bool,
    /// When the quietest of its connections last heard from the API server; `None` before each of them has.
    pub heard_at: Option<Time>,
    /// What keeps it from hearing, one entry for each connection that has a problem.
    pub problems: Vec<String>,
    /// Deployments and ReplicaSets kept.
    pub objects: usize,
    /// Events that were replaced by a newer one of the same target, because the reader was slow.
    pub coalesced: u64,
}

/// A watch on the Deployments of a cluster and their ReplicaSets.
#[derive(Clone)]
pub struct ClusterWatch {
    shared: Arc<Shared>,
}

struct Shared {
    scopes: Vec<Arc<Scope>>,
    followers: Vec<Follower>,
    outbox: Arc<Outbox>,
    synced: watch::Sender<bool>,
}

impl ClusterWatch {
    /// A watch that tells its news on `events`. It does nothing until `run`.
    pub fn new(client: &Client, clock: &Arc<dyn Clock>, settings: &WatchSettings, events: mpsc::Sender<WatchEvent>) -> Self {
        let outbox = Arc::new(Outbox::new(events));
        let names: Vec<Option<String>> = match settings.namespaces.as_slice() {
            [] => vec![None],
            some => some.iter().cloned().map(Some).collect(),
        };
        let scopes: Vec<_> = names.into_iter().map(|namespace| Arc::new(Scope::new(namespace))).collect();
        let followers = scopes
            .iter()
            .flat_map(|scope| [Kind::Deployments, Kind::ReplicaSets].map(|kind| (scope, kind)))
            .map(|(scope, kind)| {
                Follower::new(client.clone(), Arc::clone(clock), settings.clone(), (Arc::clone(scope), kind), Arc::clone(&outbox))
            })
            .collect();
        Self { shared: Arc::new(Shared { scopes, followers, outbox, synced: watch::Sender::new(false) }) }
    }

    /// Watches until `stop`. Ends earlier only when nobody reads the events any more.
    pub async fn run(&self, stop: CancellationToken) {
        let shared = &self.shared;
        let followed = join_all(shared.followers.iter().map(|follower| {
            follower.run(|| {
                if shared.scopes.iter().all(|scope| scope.synced()) {
                    shared.synced.send_replace(true);
                }
            })
        }));
        tokio::select! {
            _ = followed => {}
            () = shared.outbox.deliver() => {}
            () = stop.cancelled() => {}
        }
    }

    /// Resolves once every list was read.
    pub async fn synced(&self) {
        let mut synced = self.shared.synced.subscribe();
        // The sender lives as long as `self`, so that waiting cannot fail.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    /// When the quietest connection last heard from the API server.
    pub fn heard_at(&self) -> Option<Time> {
        let heard: Option<Vec<Time>> = self.shared.followers.iter().map(Follower::heard_at).collect();
        heard?.into_iter().min()
    }

    /// How it is.
    pub fn status(&self) -> WatchStatus {
        WatchStatus {
            synced: *self.shared.synced.borrow(),
            heard_at: self.heard_at(),
            problems: self.shared.followers.iter().filter_map(Follower::problem).collect(),
            objects: self.shared.scopes.iter().map(|scope| scope.len()).sum(),
            coalesced: self.shared.outbox.coalesced(),
        }
    }
}

/// Counts up, for figures that only people look at.
#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub(super) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The count.
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
