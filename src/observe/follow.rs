//! One connection of the watch: one kind of object in one scope. Lists in pages, maps each object to what is kept of it before the
//! next one is parsed, then follows the changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, pin_mut};
use http::Request;
use kube::Client;
use kube::core::WatchEvent as Change;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep, timeout};

use super::ask::{get, unknown};
use super::cache::{Cache, KeptDeployment, KeptSet, name_of};
use super::outbox::Outbox;
use super::watch::WatchSettings;
use crate::model::{Time, Unknown, UnknownKind, WatchEvent};
use crate::ports::Clock;

/// How long a page of a list, or the beginning of a watch, may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// After a longer silence everything is listed again, because what happened in it has no times.
const LONGEST_GAP: Duration = Duration::from_secs(75);
/// How long a watch that must have ended may go on saying nothing.
const GRACE: Duration = Duration::from_secs(10);
/// Waits between failures: doubled from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What is watched together: one namespace, or all.
pub(super) struct Scope {
    namespace: Option<String>,
    cache: Mutex<Cache>,
}

impl Scope {
    /// An empty one.
    pub(super) fn new(namespace: Option<String>) -> Self {
        Self { namespace, cache: Mutex::default() }
    }

    /// Whether both kinds were listed.
    pub(super) fn synced(&self) -> bool {
        self.cache().synced()
    }

    /// How many objects are kept.
    pub(super) fn len(&self) -> usize {
        self.cache().len()
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Deployments,
    ReplicaSets,
}

/// One connection.
pub(super) struct Follower {
    client: Client,
    clock: Arc<dyn Clock>,
    settings: WatchSettings,
    scope: Arc<Scope>,
    kind: Kind,
    outbox: Arc<Outbox>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By `Clock::elapsed`: a clock that is set back must not make an old word look fresh.
    heard: Option<Duration>,
    problem: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    metadata: PageMetadata,
    items: Vec<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMetadata {
    resource_version: String,
    #[serde(rename = "continue")]
    next: String,
}

/// How a watch ended.
enum End {
    /// Go on from there.
    At(String),
    /// The server does not know that far back any more.
    Expired,
    /// It broke.
    Broken(String, Unknown),
}

impl Follower {
    /// A connection for `what`, which tells its news to `outbox`.
    pub(super) fn new(
        client: Client,
        clock: Arc<dyn Clock>,
        settings: WatchSettings,
        what: (Arc<Scope>, Kind),
        outbox: Arc<Outbox>,
    ) -> Self {
        let (scope, kind) = what;
        Self { client, clock, settings, scope, kind, outbox, state: Mutex::default() }
    }

    /// When it last heard from the API server.
    pub(super) fn heard_at(&self) -> Option<Time> {
        let heard = self.state().heard?;
        Some(self.clock.now() - self.clock.elapsed().saturating_sub(heard))
    }

    /// What keeps it from hearing.
    pub(super) fn problem(&self) -> Option<String> {
        self.state().problem.clone()
    }

    /// Lists and follows for ever. `listed` is called after each list.
    pub(super) async fn run(&self, listed: impl Fn()) {
        let mut wait = BACKOFF.0;
        let mut version: Option<String> = None;
        // By a clock that goes on while the machine sleeps: what happened meanwhile has no times either.
        let mut last_good = self.clock.elapsed();
        loop {
            if self.clock.elapsed().saturating_sub(last_good) > LONGEST_GAP {
                version = None;
            }
            let from = match version.take() {
                Some(from) => from,
                None => match self.list().await {
                    Ok(from) => {
                        listed();
                        from
                    }
                    Err(why) => {
                        self.failed(&why);
                        wait = self.pause(wait, &why).await;
                        continue;
                    }
                },
            };
            let began = Instant::now();
            match self.follow(from, &mut last_good).await {
                End::At(next) => version = Some(next),
                End::Expired => {}
                End::Broken(next, why) => {
                    version = Some(next);
                    self.failed(&why);
                    wait = self.pause(if began.elapsed() > BACKOFF.1 { BACKOFF.0 } else { wait }, &why).await;
                    continue;
                }
            }
            wait = BACKOFF.0;
            if began.elapsed() < BACKOFF.0 {
                // A server that ends watches at once must not make us spin.
                sleep(BACKOFF.0).await;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self) {
        let elapsed = self.clock.elapsed();
        let mut state = self.state();
        state.heard = Some(elapsed);
        if state.problem.take().is_some() {
            tracing::info!(kind = ?self.kind, namespace = self.scope.namespace, "the watch hears the API server again");
        }
    }

    fn failed(&self, why: &Unknown) {
        let mut state = self.state();
        if state.problem.is_none() {
            tracing::warn!(kind = ?self.kind, namespace = self.scope.namespace, "the watch does not hear the API server: {why}");
        }
        state.problem = Some(why.detail.clone());
    }

    /// Waits, and says how long to wait after the next failure. A refusal is not asked about more often than need be.
    async fn pause(&self, wait: Duration, why: &Unknown) -> Duration {
        let wait = if why.kind == UnknownKind::Forbidden { BACKOFF.1 } else { wait };
        sleep(wait).await;
        (wait * 2).min(BACKOFF.1)
    }

    fn path(&self, query: &str) -> String {
        let resource = match self.kind {
            Kind::Deployments => "deployments",
            Kind::ReplicaSets => "replicasets",
        };
        match &self.scope.namespace {
            Some(namespace) => format!("/apis/apps/v1/namespaces/{namespace}/{resource}?{query}"),
            None => format!("/apis/apps/v1/{resource}?{query}"),
        }
    }

    /// Reads everything and returns the version from which to follow.
    async fn list(&self) -> Result<String, Unknown> {
        let mut deployments = Vec::new();
        let mut sets = Vec::new();
        let mut next = String::new();
        let version = loop {
            let token: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
            let path = self.path(&format!("limit={}&continue={token}", self.settings.page_size));
            let page = get::<Page>(&self.client, &path, ANSWER_LIMIT).await?;
            let page = page.ok_or_else(|| Unknown::new(UnknownKind::Empty, format!("GET {path} answered 404")))?;
            self.heard();
            for item in &page.items {
                let Ok(object) = serde_json::from_str::<Value>(item.get()) else { continue };
                match self.kind {
                    Kind::Deployments => deployments.extend(KeptDeployment::of(&object)),
                    Kind::ReplicaSets => sets.extend(KeptSet::of(&object)),
                }
            }
            if page.metadata.next.is_empty() {
                break page.metadata.resource_version;
            }
            next = page.metadata.next;
        };
        let now = self.clock.now();
        self.tell(|cache| match self.kind {
            Kind::Deployments => cache.replace_deployments(deployments, now),
            Kind::ReplicaSets => cache.replace_sets(sets),
        });
        Ok(version)
    }

    /// Follows one watch until it ends.
    async fn follow(&self, mut version: String, last_good: &mut Duration) -> End {
        let limit = self.settings.watch_limit;
        let path = self.path(&format!(
            "watch=true&allowWatchBookmarks=true&timeoutSeconds={}&resourceVersion={version}",
            limit.as_secs().max(1)
        ));
        let request = match Request::get(&path).body(Vec::new()) {
            Ok(request) => request,
            Err(error) => return End::Broken(version, Unknown::new(UnknownKind::Unusable, error.to_string())),
        };
        let changes = match timeout(ANSWER_LIMIT, self.client.request_events::<Value>(request)).await {
            Ok(Ok(changes)) => changes,
            Ok(Err(kube::Error::Api(status))) if status.code == 410 => return End::Expired,
            Ok(Err(error)) => return End::Broken(version, unknown(&path, &error)),
            Err(_) => return End::Broken(version, silent(&path)),
        };
        self.heard();
        *last_good = self.clock.elapsed();
        pin_mut!(changes);
        loop {
            let change = match timeout(limit + GRACE, changes.next()).await {
                Ok(Some(Ok(change))) => change,
                Ok(Some(Err(error))) => return End::Broken(version, unknown(&path, &error)),
                Ok(None) => return End::At(version),
                Err(_) => return End::Broken(version, silent(&path)),
            };
            match self.take(change) {
                Ok(seen) => version = seen,
                Err(None) => return End::Expired,
                Err(Some(why)) => return End::Broken(version, why),
            }
            self.heard();
            *last_good = self.clock.elapsed();
        }
    }

    /// Takes one change in and returns its version; an error without a reason means that the version has expired.
    fn take(&self, change: Change<Value>) -> Result<String, Option<Unknown>> {
        let (object, deleted) = match change {
            Change::Added(object) | Change::Modified(object) => (object, false),
            Change::Deleted(object) => (object, true),
            Change::Bookmark(bookmark) => return Ok(bookmark.metadata.resource_version),
            Change::Error(status) if status.code == 410 => return Err(None),
            Change::Error(status) => {
                return Err(Some(Unknown::new(UnknownKind::Unreachable, format!("the watch ended: {}", status.message))));
            }
        };
        let now = self.clock.now();
        self.tell(|cache| {
            match (self.kind, deleted) {
                (Kind::Deployments, false) => KeptDeployment::of(&object).map(|kept| cache.put_deployment(kept, now)),
                (Kind::Deployments, true) => name_of(&object).map(|name| cache.drop_deployment(&name)),
                (Kind::ReplicaSets, false) => KeptSet::of(&object).map(|set| cache.put_set(set)),
                (Kind::ReplicaSets, true) => name_of(&object).map(|name| cache.drop_set(&name)),
            }
            .unwrap_or_default()
        });
        match object.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
            Some(version) => Ok(version.to_owned()),
            None => Err(Some(Unknown::new(UnknownKind::Unusable, "the watch sent an object without a version"))),
        }
    }

    fn tell(&self, update: impl FnOnce(&mut Cache) -> Vec<WatchEvent>) {
        // The lock is held until the events are in the outbox, so that two connections cannot swap them.
        let mut cache = self.scope.cache();
        self.outbox.put(update(&mut cache));
    }
}

fn silent(path: &str) -> Unknown {
    Unknown::new(UnknownKind::Unreachable, format!("GET {path} went silent"))
}
