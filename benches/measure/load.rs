//! The load generator: kept-alive HTTP/1.1 connections on loopback, closed loop or at a fixed rate, exact percentiles.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bodies::Pool;

/// Who is told 503 waits this long, far less than any real sender does: refusals are not what a closed loop measures.
const AFTER_REFUSAL: Duration = Duration::from_millis(10);
/// No answer takes longer.
const LATE: Duration = Duration::from_secs(30);

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// How long it ran, in seconds.
    pub(crate) secs: f64,
    /// Nanoseconds of each 200, sorted.
    pub(crate) ok: Vec<u64>,
    /// Nanoseconds of each 503, sorted.
    pub(crate) refused: Vec<u64>,
    /// Other answers, and connections that broke.
    pub(crate) failed: u64,
}

impl Outcome {
    /// Requests taken, a second.
    pub(crate) fn rate(&self) -> f64 {
        self.ok.len() as f64 / self.secs
    }

    fn add(&mut self, other: Self) {
        self.ok.extend(other.ok);
        self.refused.extend(other.refused);
        self.failed += other.failed;
    }

    fn done(mut self, since: Instant) -> Self {
        self.secs = since.elapsed().as_secs_f64();
        self.ok.sort_unstable();
        self.refused.sort_unstable();
        self
    }
}

/// A percentile of sorted nanoseconds, in milliseconds.
pub(crate) fn percentile(sorted: &[u64], share: f64) -> f64 {
    let at = ((sorted.len().saturating_sub(1)) as f64 * share).round() as usize;
    sorted.get(at).map_or(f64::NAN, |nanos| *nanos as f64 / 1e6)
}

/// Each connection posts as soon as it is answered, for `time`.
pub(crate) async fn closed(to: SocketAddr, pool: &Pool, connections: usize, time: Duration) -> Outcome {
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for index in 0..connections {
        let mut pool = pool.share(index, connections);
        tasks.spawn(async move {
            let mut outcome = Outcome::default();
            let mut connection = None;
            while begin.elapsed() < time {
                let sent = Instant::now();
                let status = ask(&mut connection, to, pool.next()).await;
                let took = sent.elapsed().as_nanos() as u64;
                match status {
                    Some(200) => outcome.ok.push(took),
                    Some(503) => {
                        outcome.refused.push(took);
                        tokio::time::sleep(AFTER_REFUSAL).await;
                    }
                    _ => outcome.failed += 1,
                }
            }
            outcome
        });
    }
    gather(tasks, begin).await
}

/// Posts at a fixed rate over the connections, whatever comes back. Latency counts from when a request was due, so that waiting
/// for a free connection counts too.
pub(crate) async fn open(to: SocketAddr, pool: &Pool, connections: usize, rate: f64, time: Duration) -> Outcome {
    let begin = Instant::now() + Duration::from_millis(50);
    let mut tasks = JoinSet::new();
    for index in 0..connections {
        let mut pool = pool.share(index, connections);
        tasks.spawn(async move {
            let mut outcome = Outcome::default();
            let mut connection = None;
            for turn in 0.. {
                let due = Duration::from_secs_f64((turn * connections + index) as f64 / rate);
                if due >= time {
                    break;
                }
                tokio::time::sleep_until(begin + due).await;
                let status = ask(&mut connection, to, pool.next()).await;
                let took = (begin + due).elapsed().as_nanos() as u64;
                match status {
                    Some(200) => outcome.ok.push(took),
                    Some(503) => outcome.refused.push(took),
                    _ => outcome.failed += 1,
                }
            }
            outcome
        });
    }
    gather(tasks, begin).await
}

async fn gather(mut tasks: JoinSet<Outcome>, begin: Instant) -> Outcome {
    let mut all = Outcome::default();
    while let Some(outcome) = tasks.join_next().await {
        all.add(outcome.expect("a task of ours"));
    }
    all.done(begin)
}

/// One request, one answer: its status, or nothing when the connection broke.
pub(crate) async fn ask(connection: &mut Option<Connection>, to: SocketAddr, request: &[u8]) -> Option<u16> {
    let answer = async {
        if connection.is_none() {
            *connection = Some(Connection::open(to).await?);
        }
        connection.as_mut()?.ask(request).await
    };
    let answer = tokio::time::timeout(LATE, answer).await.ok().flatten();
    if answer.is_none_or(|(_, closes)| closes) {
        *connection = None;
    }
    answer.map(|(status, _)| status)
}

/// A kept-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(to).await.ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// The status, and whether the server closes.
    async fn ask(&mut self, request: &[u8]) -> Option<(u16, bool)> {
        self.stream.write_all(request).await.ok()?;
        let (status, closes, _) = self.answer().await?;
        Some((status, closes))
    }

    /// Reads one answer, with its body.
    pub(crate) async fn answer(&mut self) -> Option<(u16, bool, Vec<u8>)> {
        self.buffer.clear();
        let head_end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        };
        let head = std::str::from_utf8(&self.buffer[..head_end]).ok()?.to_ascii_lowercase();
        let status = head.get(9..12)?.parse().ok()?;
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let closes = value("connection:") == Some("close");
        let chunked = value("transfer-encoding:") == Some("chunked");
        let length: usize = value("content-length:").and_then(|text| text.parse().ok()).unwrap_or(0);
        let whole = |buffer: &[u8]| if chunked { buffer.ends_with(b"0\r\n\r\n") } else { buffer.len() >= head_end + length };
        while !whole(&self.buffer) {
            if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
        Some((status, closes, self.buffer[head_end..].to_vec()))
    }
}

/// A page, for metrics and probes.
pub(crate) async fn get(to: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut connection = Connection::open(to).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    connection.stream.write_all(request.as_bytes()).await.ok()?;
    let answer = tokio::time::timeout(LATE, connection.answer()).await.ok().flatten()?;
    Some((answer.0, String::from_utf8_lossy(&answer.2).into_owned()))
}
