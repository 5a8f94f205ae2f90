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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use bytes::Bytes;
    use futures_util::future::{BoxFuture, FutureExt as _};
    use futures_util::stream::{self, StreamExt as _};
    use http::{Request, Response};
    use http_body_util::combinators::UnsyncBoxBody;
    use http_body_util::{BodyExt as _, Full, StreamBody};
    use hyper::body::Frame;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    type Answer = Response<UnsyncBoxBody<Bytes, Failure>>;
    type Failure = Box<dyn std::error::Error + Send + Sync>;

    struct Ticking(AtomicU64);

    impl Clock for Ticking {
        fn now(&self) -> Time {
            Time::from_millis(i64::try_from(self.0.fetch_add(1, Ordering::Relaxed)).unwrap_or(0))
        }

        fn sleep_until(&self, _: Time) -> BoxFuture<'static, ()> {
            std::future::pending().boxed()
        }
    }

    /// An API server that gives prepared answers to lists and watches of Deployments, has no ReplicaSets, and notes what it is asked.
    #[derive(Default)]
    struct Script {
        lists: Mutex<Vec<Value>>,
        watches: Mutex<Vec<Vec<Value>>>,
        asked: Mutex<Vec<String>>,
    }

    impl Script {
        fn answer(&self, request: &Request<Body>) -> Answer {
            let uri = request.uri().to_string();
            let of_sets = uri.contains("replicasets");
            if uri.contains("watch=true") {
                let lines = if of_sets { None } else { next(&self.watches) };
                if !of_sets {
                    self.note(uri);
                }
                let ends = lines.is_some();
                let lines: Vec<_> = lines.unwrap_or_default().into_iter().map(|line| Bytes::from(format!("{line}\n"))).collect();
                let told = stream::iter(lines.into_iter().map(|line| Ok::<_, Failure>(Frame::data(line))));
                let open = told.chain(if ends { stream::empty().left_stream() } else { stream::pending().right_stream() });
                return Response::new(StreamBody::new(open).boxed_unsync());
            }
            let items = if of_sets { Some(json!([])) } else { next(&self.lists) };
            if !of_sets {
                self.note(uri);
            }
            let list = json!({"metadata": {"resourceVersion": "5"}, "items": items.unwrap_or_default()});
            Response::new(Full::new(Bytes::from(list.to_string())).map_err(|never| match never {}).boxed_unsync())
        }

        fn note(&self, uri: String) {
            self.asked.lock().expect("no panic").push(uri);
        }
    }

    fn next<T>(prepared: &Mutex<Vec<T>>) -> Option<T> {
        let mut prepared = prepared.lock().expect("no panic");
        (!prepared.is_empty()).then(|| prepared.remove(0))
    }

    fn deployment(name: &str, image: &str, version: &str) -> Value {
        json!({"metadata": {"namespace": "shop", "name": name, "uid": format!("uid-{name}"), "generation": 1, "resourceVersion": version},
            "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "web", "image": image}]}}}})
    }

    fn watch(script: &Arc<Script>) -> (ClusterWatch, mpsc::Receiver<WatchEvent>) {
        let answering = Arc::clone(script);
        let service = tower::service_fn(move |request: Request<Body>| {
            let answer = answering.answer(&request);
            async move { Ok::<_, Failure>(answer) }
        });
        let clock: Arc<dyn Clock> = Arc::new(Ticking(AtomicU64::new(1)));
        let (sender, news) = mpsc::channel(8);
        (ClusterWatch::new(&Client::new(service, "default"), &clock, &WatchSettings::default(), sender), news)
    }

    /// Runs the watch until it has told what fits. How many events that takes is not fixed: newer ones replace older ones that
    /// nobody took yet.
    async fn told(
        watch: &ClusterWatch,
        news: &mut mpsc::Receiver<WatchEvent>,
        fits: impl Fn(&[WatchEvent]) -> bool,
    ) -> Vec<WatchEvent> {
        let stop = CancellationToken::new();
        let read = async {
            let mut events = Vec::new();
            while !fits(&events) {
                events.extend(news.recv().await);
            }
            stop.cancel();
            events
        };
        let both = async { tokio::join!(read, watch.run(stop.clone())).0 };
        tokio::time::timeout(Duration::from_secs(20), both).await.expect("it tells")
    }

    #[tokio::test]
    async fn what_expired_is_listed_again() {
        let script = Arc::new(Script {
            lists: Mutex::new(vec![json!([deployment("web", "web:1", "3")]), json!([deployment("api", "api:1", "9")])]),
            watches: Mutex::new(vec![vec![
                json!({"type": "BOOKMARK", "object": {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"resourceVersion": "6"}}}),
                json!({"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "code": 410, "message": "too old", "reason": "Expired"}}),
            ]]),
            ..Script::default()
        });
        let (watch, mut news) = watch(&script);
        assert_eq!(watch.heard_at(), None);
        let both = |events: &[WatchEvent]| events.iter().any(|e| e.gone) && events.iter().any(|e| e.target.at.name == "api");
        let events = told(&watch, &mut news, both).await;
        let seen: BTreeMap<_, _> = events.iter().map(|e| (e.target.at.name.as_str(), (e.relearned, e.gone))).collect();
        assert_eq!(seen, BTreeMap::from([("web", (false, true)), ("api", (true, false))]));
        assert!(watch.status().synced && watch.heard_at() > Some(Time::from_millis(1)));
    }

    #[tokio::test]
    async fn a_watch_that_ends_goes_on_where_it_was() {
        let changed = |image: &str, version: &str| json!({"type": "MODIFIED", "object": deployment("web", image, version)});
        let script = Arc::new(Script {
            lists: Mutex::new(vec![json!([deployment("web", "web:1", "3")])]),
            watches: Mutex::new(vec![vec![changed("web:2", "7")], vec![changed("web:3", "8")]]),
            ..Script::default()
        });
        let (watch, mut news) = watch(&script);
        let events = told(&watch, &mut news, |events| events.last().is_some_and(|event| event.images[0] == "web:3")).await;
        assert!(events[0].relearned && events[1..].iter().all(|event| !event.relearned), "{events:?}");
        let asked = script.asked.lock().expect("no panic");
        let from: Vec<_> =
            asked.iter().filter_map(|uri| uri.split_once("resourceVersion=").map(|(_, version)| version)).collect();
        assert_eq!(from[..2], ["5", "7"], "{asked:?}");
        assert_eq!(asked.iter().filter(|uri| !uri.contains("watch=true")).count(), 1, "one list: {asked:?}");
    }
}
