//! The same service, in this process, over a simulated world: for faults that cannot be done to a real machine from a test (its clock
//! is set, its journal is slow). A minute takes three seconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use backout::app::Assembly;
use backout::decide::limits::Limits;
use backout::engine::{EngineHandle, Hands, PolicySource};
use backout::http::HttpSettings;
use backout::http::auth::{TokenFiles, Tokens};
use backout::lifecycle::{Stages, Supervisor};
use backout::metrics::Metrics;
use backout::model::{Digest, Labels, Moment, TargetRef, Time, Urgency};
use backout::policy::types::Policies;
use backout::policy::{SourceFile, diagnostic, load};
use backout::ports::{Clock, Control as _, IncidentFilter, IncidentQuery, Question, Row, RowKind, Store, StoreError};
use backout::simulate::{Hands as SimulatedHands, Mouths, NewDeployment, Rule, Series, World};
use backout::store::{SqliteOptions, SqliteStore};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::eventually;
use crate::table::{Cells, shown};

const SPEED: u32 = 20;
const SOON: Duration = Duration::from_secs(180);
const QUERY: &str = "errors";

const POLICY: &str = "
policies:
  - name: shop
    matchers: ['alertname = \"HighErrorRate\"']
    mode: enforce
    paging: in_front
    targets: ['shop/*']
    for: 2m
    facts: {errors: {promql: errors}}
    decide: [{name: many-errors, when: 'facts.errors > 0.1', rollback: undo}]
    brakes: {fit_target: {healthy: 1m}}
";

/// A clock that somebody sets. The world's own goes on.
#[derive(Default)]
struct Ahead(AtomicI64);

struct SetClock {
    inner: backout::simulate::SpeedClock,
    ahead: Arc<Ahead>,
    start: Time,
}

impl Clock for SetClock {
    fn now(&self) -> Time {
        let by = self.ahead.0.load(Ordering::SeqCst);
        let span = Duration::from_millis(by.unsigned_abs());
        if by < 0 { self.inner.now() - span } else { self.inner.now() + span }
    }

    fn elapsed(&self) -> Duration {
        self.inner.now().since(self.start)
    }

    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        self.sleep(at.since(self.now()))
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.inner.sleep_until(self.inner.now() + span)
    }
}

/// A journal that does not answer while it hangs.
struct Slow {
    inner: SqliteStore,
    hangs: Arc<AtomicBool>,
}

impl Slow {
    async fn turn(&self) {
        while self.hangs.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Store for Slow {
    fn append(&self, kind: RowKind, at: Time, body: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            self.turn().await;
            self.inner.append(kind, at, body).await
        })
    }

    fn snapshot(&self, through: u64, at: Time, body: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.snapshot(through, at, body)
    }

    fn latest_snapshot(&self) -> BoxFuture<'_, Result<Option<(u64, Bytes)>, StoreError>> {
        self.inner.latest_snapshot()
    }

    fn read_after(&self, seq: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        self.inner.read_after(seq, limit)
    }

    fn keep_template(&self, digest: Digest, at: Time, template: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.keep_template(digest, at, template)
    }

    fn template(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        self.inner.template(digest)
    }
}

/// A running service in a simulated world with one shop, which is on a good release that it watched.
pub(crate) struct Simulated {
    world: SimulatedHands,
    metrics: Arc<Metrics>,
    handle: EngineHandle,
    clock: Arc<SetClock>,
    hangs: Arc<AtomicBool>,
    hook: String,
    stages: Stages,
    bodies: mpsc::Receiver<Bytes>,
    _folder: tempfile::TempDir,
    _log: mpsc::Receiver<String>,
}

impl Drop for Simulated {
    fn drop(&mut self) {
        self.stages.drain.cancel();
        self.stages.abort.cancel();
    }
}

fn target() -> TargetRef {
    TargetRef::deployment("shop", "checkout").expect("names")
}

fn world(now: Time) -> World {
    let mut world = World::new(now - Duration::from_secs(3 * 3600), 1);
    world.add_channel("people");
    world.create(
        &NewDeployment {
            at: target(),
            image: "shop:0".to_owned(),
            replicas: 2,
            ready_after: Duration::from_secs(5),
            history_limit: 10,
            recreate: false,
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
            template_annotations: BTreeMap::new(),
            config_map: None,
        },
        "ci",
    );
    let by_image = BTreeMap::from([("shop:2".to_owned(), 0.6)]);
    world.add_series(QUERY, Series { of: target(), by_image, otherwise: 0.001, look_back: Duration::from_secs(15) });
    let labels = [("alertname", "HighErrorRate"), ("namespace", "shop"), ("deployment", "checkout"), ("severity", "critical")];
    let labels: Labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    world.add_rule(Rule { labels, query: QUERY.to_owned(), above: 0.1, hold: Duration::from_secs(15), keep: Duration::ZERO });
    world.advance(now);
    // The process comes only now, and the watch begins with a list.
    world.take_emitted();
    world.reconnect();
    world
}

fn policies() -> Result<Policies, String> {
    let file = SourceFile { path: "policy.yaml".to_owned(), bytes: POLICY.as_bytes().to_vec() };
    load(&[file], true).map(|loaded| loaded.policies).map_err(|problems| diagnostic::to_text(&problems))
}

impl Simulated {
    pub(crate) async fn start(options: SqliteOptions) -> Self {
        // A Monday.
        let start = Time::from_millis(1_772_442_000_000);
        let inner = backout::simulate::SpeedClock::new(start, SPEED);
        let (world, folder) = (SimulatedHands::new(world(start), Arc::new(inner)), tempfile::tempdir().expect("a folder"));
        let clock = Arc::new(SetClock { inner, ahead: Arc::default(), start });
        let hangs = Arc::new(AtomicBool::new(false));
        let metrics = Metrics::new().expect("metrics");
        metrics.channels(["people"]);
        let options = SqliteOptions { commit_failures: Some(metrics.store_commit_failures.clone()), ..options };
        let store = Slow { inner: SqliteStore::open(folder.path(), options).expect("a journal"), hangs: Arc::clone(&hangs) };
        let (watch_sender, watch) = mpsc::channel(64);
        let (webhooks, bodies) = mpsc::channel(64);
        let (log, happened) = mpsc::channel(4096);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let hook = format!("http://{}/v1/webhook/alertmanager", listener.local_addr().expect("its address"));
        let (stages, hand) = (Stages::default(), Arc::new(world.clone()));
        let mut supervisor = Supervisor::new(stages.clone(), Duration::from_secs(1));
        let assembly = Assembly {
            store: Arc::new(store),
            hands: Hands {
                cluster: Some(hand.clone()),
                prometheus: Some(hand.clone()),
                alertmanagers: hand.clone(),
                probe: hand.clone(),
                notifier: hand,
                clock: Arc::clone(&clock) as Arc<dyn Clock>,
            },
            metrics: Arc::clone(&metrics),
            limits: Limits::default(),
            cluster_name: Some("test".to_owned()),
            policies: policies().expect("policies"),
            policy_source: Arc::new(policies) as PolicySource,
            watch,
            also_ready: Arc::new(|| Ok(())),
            inbox: 64,
            tokens: Arc::new(Tokens::load(TokenFiles::default(), true).unwrap_or_else(|_| panic!("no tokens"))),
            tls: None,
            http: HttpSettings { commit_deadline: Duration::from_millis(200), ..HttpSettings::default() },
            listener,
            log_level: None,
            spans: None,
        };
        let handle = assembly.start(&mut supervisor, &stages).await.expect("it starts");
        let (moving, drain) = (world.clone(), stages.drain.clone());
        tokio::spawn(async move { drain.run_until_cancelled(moving.run(Mouths { watch: watch_sender, webhooks, log })).await });
        tokio::spawn(supervisor.run());
        let this = Self { world, metrics, handle, clock, hangs, hook, stages, bodies, _folder: folder, _log: happened };
        this.world.with(|world, _| world.deploy(&target(), "shop:1", "ci", &[], None));
        this.clock.sleep(Duration::from_secs(150)).await;
        this
    }

    pub(crate) fn set_clock(&self, by: i64) {
        self.clock.ahead.0.fetch_add(by, Ordering::SeqCst);
    }

    pub(crate) fn hang(&self, hangs: bool) {
        self.hangs.store(hangs, Ordering::SeqCst);
    }

    pub(crate) fn bad_release(&self) {
        self.world.with(|world, _| world.deploy(&target(), "shop:2", "ci", &[], None));
    }

    /// The status of the first answer to what Alertmanager posts.
    pub(crate) async fn posted(&mut self) -> u16 {
        let body = tokio::time::timeout(SOON, self.bodies.recv()).await.expect("in time").expect("a notification");
        let http = crate::support::http();
        let sent = http.post(&self.hook).header("content-type", "application/json").body(body).send().await;
        sent.expect("an answer").status().as_u16()
    }

    /// Posts anything, as often as it is asked; the status.
    pub(crate) async fn post(&self, padding: usize) -> u16 {
        let body = serde_json::json!({ "version": "4", "status": "firing", "receiver": "r", "alerts": [{ "status": "firing",
            "labels": { "alertname": "Other", "padding": crate::noise(padding) }, "annotations": {},
            "startsAt": "2026-03-02T09:00:00Z", "endsAt": "0001-01-01T00:00:00Z" }]});
        crate::support::http().post(&self.hook).json(&body).send().await.expect("an answer").status().as_u16()
    }

    async fn incident(&self) -> Option<Value> {
        let all = IncidentQuery { state: IncidentFilter::All, limit: 10, ..IncidentQuery::default() };
        let answer = self.handle.query(Question::Incidents(all)).await.unwrap_or_default();
        answer["incidents"].as_array()?.first().cloned()
    }

    /// Until there is an incident. It is opened some time after its alerts are taken, and decided by another brake where the fault came
    /// in between.
    pub(crate) async fn opened(&self) {
        eventually("an incident is opened", SOON, async || {
            self.incident().await.map(drop).ok_or_else(|| "there is none".to_owned())
        })
        .await;
    }

    /// Until people were told this.
    pub(crate) async fn told(&self, fits: impl Fn(Moment, Urgency) -> bool) {
        eventually("people are told", SOON, async || {
            let heard = self.moments();
            if heard.iter().any(|(moment, urgency)| fits(*moment, *urgency)) { Ok(()) } else { Err(format!("{heard:?}")) }
        })
        .await;
    }

    fn moments(&self) -> Vec<(Moment, Urgency)> {
        self.world.with(|world, _| world.delivered().iter().map(|d| (d.message.moment, d.message.urgency)).collect())
    }

    pub(crate) async fn cells(&self, series: &'static str) -> Cells {
        let incident = self.incident().await.unwrap_or_default();
        let text = |key: &str| incident[key].as_str().map(str::to_owned);
        let mut told = Vec::new();
        for (moment, urgency) in self.moments() {
            let page = urgency == Urgency::Page;
            let words = if page { format!("page `{}`", moment.as_str()) } else { format!("`{}`", moment.as_str()) };
            if (page || moment == Moment::Verified) && !told.contains(&words) {
                told.push(words);
            }
        }
        let metrics = self.metrics.render();
        let done = |line: &str| line.strip_prefix("backout_actions_total{result=\"done\",step=\"undo\"} ")?.parse::<usize>().ok();
        let verdict = text("outcome").map(|outcome| format!("{outcome}, {}", text("reason").unwrap_or_default()));
        Cells {
            verdict: verdict.unwrap_or_else(|| "none: alerts are refused (503)".to_owned()),
            brake: text("brake"),
            told,
            written: metrics.lines().find_map(done).unwrap_or(0),
            metric: shown(&metrics, series),
        }
    }
}
