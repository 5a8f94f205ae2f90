//! The floors: bare axum servers that do the physical minimum. They decide nothing, check nobody, count nothing and never refuse:
//! bounds, not products.
//!
//! - `parse`: reads the body and parses it into borrowed structures.
//! - `group`: the same, and commits the whole body, as the service must: SQLite, WAL, `synchronous=FULL`, one writer that takes
//!   whatever waits into one transaction, answer after the commit.
//! - `brief`: the same with 70 bytes an alert in place of the body.
//! - `each`: one commit for each request, under a lock.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use tokio::sync::oneshot;

/// Serves until the process is ended. One worker for each processor that it may use.
pub(crate) fn serve(mode: &str, port: u16, dir: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mode: Mode = match mode {
        "parse" => Mode::Parse,
        "group" => Mode::Queue { brief: false, queue: writer(dir) },
        "brief" => Mode::Queue { brief: true, queue: writer(dir) },
        "each" => Mode::Each(Mutex::new(journal(dir))),
        other => panic!("no floor `{other}`"),
    };
    let app = Router::new()
        .route("/hook", post(hook))
        .route("/stats", get(async || "{}"))
        .layer(DefaultBodyLimit::max(64 << 20))
        .with_state(Arc::new(mode));
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("the port");
        axum::serve(listener, app).await.expect("served");
    });
}

enum Mode {
    Parse,
    Queue { brief: bool, queue: mpsc::SyncSender<Job> },
    Each(Mutex<rusqlite::Connection>),
}

type Job = (Bytes, oneshot::Sender<()>);

async fn hook(State(mode): State<Arc<Mode>>, body: Bytes) -> StatusCode {
    let brief = match std::str::from_utf8(&body).ok().and_then(|text| serde_json::from_str::<Hook<'_>>(text).ok()) {
        Some(hook) if matches!(*mode, Mode::Queue { brief: true, .. }) => Some(Bytes::from(hook.brief())),
        Some(hook) => {
            std::hint::black_box(&hook);
            None
        }
        None => return StatusCode::BAD_REQUEST,
    };
    match &*mode {
        Mode::Parse => {}
        Mode::Queue { queue, .. } => {
            let (done, answer) = oneshot::channel();
            if queue.try_send((brief.unwrap_or(body), done)).is_err() || answer.await.is_err() {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
        }
        Mode::Each(journal) => {
            let journal = journal.lock().expect("nobody panics");
            insert(&journal, &body);
        }
    }
    StatusCode::OK
}

fn journal(dir: &Path) -> rusqlite::Connection {
    let journal = rusqlite::Connection::open(dir.join("floor.db")).expect("a database");
    journal.pragma_update(None, "journal_mode", "wal").expect("write-ahead log");
    journal.pragma_update(None, "synchronous", "full").expect("synchronous");
    journal.execute_batch("CREATE TABLE j (id INTEGER PRIMARY KEY, body BLOB NOT NULL)").expect("a table");
    journal
}

fn insert(journal: &rusqlite::Connection, body: &[u8]) {
    journal.prepare_cached("INSERT INTO j (body) VALUES (?1)").and_then(|mut row| row.execute([body])).expect("a row");
}

fn writer(dir: &Path) -> mpsc::SyncSender<Job> {
    let journal = journal(dir);
    let (queue, jobs) = mpsc::sync_channel::<Job>(8192);
    std::thread::spawn(move || {
        while let Ok(first) = jobs.recv() {
            let batch: Vec<Job> = std::iter::once(first).chain(jobs.try_iter().take(1023)).collect();
            journal.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([])).expect("begun");
            batch.iter().for_each(|(body, _)| insert(&journal, body));
            journal.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([])).expect("committed");
            for (_, done) in batch {
                let _ = done.send(());
            }
        }
    });
    queue
}

/// Parses a body as the floors do; how many alerts it has.
pub(crate) fn parse(body: &[u8]) -> usize {
    let hook: Hook<'_> = serde_json::from_str(std::str::from_utf8(body).expect("text")).expect("a notification");
    std::hint::black_box(&hook).alerts.len()
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "parsing them is what is measured")]
struct Hook<'a> {
    #[serde(borrow)]
    receiver: Text<'a>,
    #[serde(borrow)]
    status: Text<'a>,
    #[serde(borrow)]
    alerts: Vec<Alert<'a>>,
    #[serde(borrow)]
    group_labels: Pairs<'a>,
    #[serde(borrow)]
    common_labels: Pairs<'a>,
    #[serde(borrow)]
    common_annotations: Pairs<'a>,
    #[serde(borrow, rename = "externalURL")]
    external_url: Text<'a>,
    #[serde(borrow)]
    version: Text<'a>,
    #[serde(borrow)]
    group_key: Text<'a>,
    truncated_alerts: u64,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "parsing them is what is measured")]
struct Alert<'a> {
    #[serde(borrow)]
    status: Text<'a>,
    #[serde(borrow)]
    labels: Pairs<'a>,
    #[serde(borrow)]
    annotations: Pairs<'a>,
    #[serde(borrow)]
    starts_at: Text<'a>,
    #[serde(borrow)]
    ends_at: Text<'a>,
    #[serde(borrow, rename = "generatorURL")]
    generator_url: Text<'a>,
    #[serde(borrow)]
    fingerprint: Text<'a>,
}

impl Hook<'_> {
    fn brief(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(128 + self.alerts.len() * 80);
        row.extend_from_slice(self.group_key.0.as_bytes());
        for alert in &self.alerts {
            for part in ["\n", &alert.fingerprint.0, " ", &alert.status.0, " ", &alert.starts_at.0, " rule=00000042 act=hold"] {
                row.extend_from_slice(part.as_bytes());
            }
        }
        row
    }
}

/// A text that borrows where it can: inside of lists, serde's own `Cow` never does.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Reader<'a>(PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for Reader<'a> {
            type Value = Text<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        json.deserialize_str(Reader(PhantomData))
    }
}

#[expect(dead_code, reason = "parsing them is what is measured")]
struct Pairs<'a>(Vec<(Text<'a>, Text<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Reader<'a>(PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for Reader<'a> {
            type Value = Pairs<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("names and texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::with_capacity(16);
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        json.deserialize_map(Reader(PhantomData))
    }
}
