//! A running HTTP side on a free loopback port, with a journal and an engine that do as they are told, and a client that
//! writes raw bytes.
#![allow(clippy::allow_attributes, dead_code, reason = "each test file uses its part")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backout::http::auth::{TokenFiles, Tokens};
use backout::http::{HttpSettings, Parts, Server};
use backout::metrics::Metrics;
use backout::model::{Digest, Operation, Time};
use backout::ports::{Clock, Control, ControlError, Question, Received, Row, RowKind, Store, StoreError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What the clock says, always.
pub(crate) fn now() -> Time {
    Time::parse("2026-03-01T12:00:00Z").expect("a time")
}

pub(crate) struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Time {
        now()
    }

    fn sleep_until(&self, _: Time) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

/// A journal in memory that commits when it is let.
pub(crate) struct FakeStore {
    pub(crate) rows: Mutex<Vec<Row>>,
    /// What `append` fails with.
    pub(crate) failure: Mutex<Option<StoreError>>,
    /// Each append takes one permit.
    pub(crate) gate: Semaphore,
    /// Appends that were begun.
    pub(crate) begun: AtomicU64,
}

impl FakeStore {
    pub(crate) fn rows(&self) -> usize {
        self.rows.lock().expect("rows").len()
    }

    pub(crate) fn fail(&self, error: Option<StoreError>) {
        *self.failure.lock().expect("failure") = error;
    }

    /// Lets nothing through until [`Self::release`].
    pub(crate) fn hang(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn release(&self) {
        self.gate.add_permits(1 << 20);
    }
}

impl Store for FakeStore {
    fn append(&self, kind: RowKind, at: Time, body: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            self.begun.fetch_add(1, Ordering::Relaxed);
            self.gate.acquire().await.expect("open").forget();
            if let Some(error) = self.failure.lock().expect("failure").clone() {
                return Err(error);
            }
            let mut rows = self.rows.lock().expect("rows");
            let seq = rows.len() as u64 + 1;
            rows.push(Row { seq, kind, at, body });
            Ok(seq)
        })
    }

    fn snapshot(&self, _: u64, _: Time, _: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }

    fn latest_snapshot(&self) -> BoxFuture<'_, Result<Option<(u64, Bytes)>, StoreError>> {
        Box::pin(async { Ok(None) })
    }

    fn read_after(&self, _: u64, _: usize) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn keep_template(&self, _: Digest, _: Time, _: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }

    fn template(&self, _: Digest) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        Box::pin(async { Ok(None) })
    }
}

/// An engine that says what it was asked.
#[derive(Default)]
pub(crate) struct FakeControl {
    pub(crate) failure: Mutex<Option<ControlError>>,
    pub(crate) ready: Mutex<bool>,
}

impl FakeControl {
    fn answer(&self, value: Value) -> Result<Value, ControlError> {
        match self.failure.lock().expect("failure").clone() {
            Some(error) => Err(error),
            None => Ok(value),
        }
    }
}

impl Control for FakeControl {
    fn query(&self, question: Question) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(async move {
            match &question {
                Question::Report { format: backout::ports::ReportFormat::Markdown, .. } => {
                    self.answer(Value::String("# Report\n".to_owned()))
                }
                _ => self.answer(serde_json::json!({ "asked": format!("{question:?}") })),
            }
        })
    }

    fn operate(&self, operation: Operation) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(async move { self.answer(serde_json::to_value(operation).expect("an operation")) })
    }

    fn reload(&self) -> BoxFuture<'_, Result<String, ControlError>> {
        Box::pin(async move { self.answer(Value::Null).map(|_| "2 policies in use".to_owned()) })
    }

    fn ready(&self) -> Result<(), String> {
        if *self.ready.lock().expect("ready") { Ok(()) } else { Err("the journal is being replayed".to_owned()) }
    }
}

/// The HTTP side, running.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<FakeStore>,
    pub(crate) control: Arc<FakeControl>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) inbox: mpsc::Receiver<Received>,
    pub(crate) drain: CancellationToken,
    pub(crate) abort: CancellationToken,
    pub(crate) ended: JoinHandle<()>,
}

/// What differs from the defaults.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) settings: HttpSettings,
    pub(crate) tokens: TokenFiles,
    pub(crate) inbox: Option<usize>,
}

impl Service {
    pub(crate) async fn start(setup: Setup) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (sender, inbox) = mpsc::channel(setup.inbox.unwrap_or(1024));
        let store = Arc::new(FakeStore {
            rows: Mutex::default(),
            failure: Mutex::default(),
            gate: Semaphore::new(1 << 20),
            begun: AtomicU64::new(0),
        });
        let control = Arc::new(FakeControl::default());
        let metrics = Metrics::new().expect("metrics");
        let parts = Parts {
            store: store.clone(),
            inbox: sender,
            control: control.clone(),
            metrics: metrics.clone(),
            clock: Arc::new(StoppedClock),
            tokens: Arc::new(Tokens::load(setup.tokens, true).expect("tokens")),
            settings: setup.settings,
            before_scrape: None,
            log_level: None,
        };
        let (drain, abort) = (CancellationToken::new(), CancellationToken::new());
        let ended = tokio::spawn(Server::new(parts).run(listener, drain.clone(), abort.clone()));
        Self { address, store, control, metrics, inbox, drain, abort, ended }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.expect("connected"))
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
        let mut client = self.connect().await;
        client.send(method, path, headers, body).await;
        client.reply().await
    }

    /// Posts to Alertmanager's path.
    pub(crate) async fn post(&self, body: &[u8]) -> Reply {
        self.ask("POST", HOOK, "", body).await
    }

    /// Whether `/metrics` holds this line, now or soon.
    pub(crate) async fn counts(&self, line: &str) {
        let seen = async {
            while !self.metrics.render().lines().any(|l| l == line) {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(5), seen).await.is_err() {
            let metrics = self.metrics.render();
            let near = metrics.lines().filter(|l| l.starts_with(line.split('{').next().unwrap_or(line)));
            panic!("no line {line}; there are\n{}", near.collect::<Vec<_>>().join("\n"));
        }
    }

    pub(crate) async fn received(&mut self) -> Received {
        tokio::time::timeout(PATIENCE, self.inbox.recv()).await.expect("in time").expect("a receipt")
    }
}

pub(crate) const HOOK: &str = "/v1/webhook/alertmanager";

/// A connection.
pub(crate) struct Client(pub(crate) TcpStream);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Client {
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("written");
    }

    pub(crate) async fn send(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
        self.write(head.as_bytes()).await;
        // The service may answer, and hang up, before it has read everything.
        let _ = self.0.write_all(body).await;
    }

    /// Reads one answer.
    pub(crate) async fn reply(&mut self) -> Reply {
        self.try_reply().await.expect("an answer")
    }

    /// Reads one answer, if one comes before the service hangs up.
    pub(crate) async fn try_reply(&mut self) -> Option<Reply> {
        tokio::time::timeout(PATIENCE, self.read_reply()).await.expect("an answer in time")
    }

    async fn read_reply(&mut self) -> Option<Reply> {
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |n| n.parse().expect("a length"));
                while bytes.len() < end + 4 + length {
                    self.0.read_buf(&mut bytes).await.ok().filter(|read| *read > 0)?;
                }
                let body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
                let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
                return Some(Reply { status, head, body });
            }
            self.0.read_buf(&mut bytes).await.ok().filter(|read| *read > 0)?;
        }
    }

    /// Waits until the service hangs up.
    pub(crate) async fn closed(&mut self) {
        let mut sink = vec![0; 1 << 16];
        let closed = async { while matches!(self.0.read(&mut sink).await, Ok(read) if read > 0) {} };
        tokio::time::timeout(PATIENCE, closed).await.expect("closed in time");
    }
}

/// A notification with that many firing alerts, padded to about `bytes`.
pub(crate) fn notification(alerts: usize, bytes: usize) -> Vec<u8> {
    let pad = "x".repeat(bytes / alerts.max(1));
    let alert = |number: usize| {
        serde_json::json!({
            "status": "firing",
            "labels": { "alertname": "HighErrorRate", "namespace": "shop", "deployment": format!("checkout-{number}") },
            "annotations": { "summary": pad },
            "startsAt": "2026-03-01T11:58:30.448Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": format!("{number:016x}"),
        })
    };
    let alerts: Vec<Value> = (0..alerts).map(alert).collect();
    serde_json::json!({ "version": "4", "receiver": "backout", "status": "firing", "alerts": alerts }).to_string().into_bytes()
}
