//! A provider on loopback. What a request must be is said by `Rules`; a request that breaks one is refused as the provider would,
//! and fails the test at its end. Faults are told beforehand and spent in order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use serde_json::Value;
use tokio::task::JoinHandle;

/// A request, whole.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// As it was sent, still encoded.
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn query(&self, name: &str) -> &str {
        self.query.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn new(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body }
    }
}

/// What a provider requires, and what it does then. `Err`: a rule is broken, and how.
pub(crate) trait Rules: Send + Sync + 'static {
    fn answer(&self, request: &Request) -> Result<Reply, String>;

    /// What it says to a request that breaks a rule.
    fn refusal(&self, why: &str) -> Reply {
        Reply::new(400, serde_json::json!({ "message": why }))
    }
}

/// What goes wrong.
pub(crate) enum Fault {
    /// It answers so and does nothing.
    Answer(Reply),
    /// It does what it is asked, and the answer is lost on the way.
    Lost,
    /// It takes the request and never answers.
    Silent,
}

impl Fault {
    pub(crate) fn status(status: u16) -> Self {
        Self::Answer(Reply::new(status, Value::Null))
    }

    pub(crate) fn wait(status: u16, seconds: u32) -> Self {
        let headers = vec![("retry-after", seconds.to_string())];
        Self::Answer(Reply { headers, ..Reply::new(status, Value::Null) })
    }
}

pub(crate) struct Server<R> {
    pub(crate) url: String,
    pub(crate) rules: Arc<R>,
    shared: Arc<Shared<R>>,
    task: JoinHandle<()>,
}

struct Shared<R> {
    rules: Arc<R>,
    faults: Mutex<VecDeque<Fault>>,
    requests: Mutex<Vec<Request>>,
    broken: Mutex<Vec<String>>,
}

impl<R: Rules> Server<R> {
    pub(crate) async fn start(rules: R) -> Self {
        let rules = Arc::new(rules);
        let shared = Arc::new(Shared {
            rules: Arc::clone(&rules),
            faults: Mutex::default(),
            requests: Mutex::default(),
            broken: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let app = Router::new().fallback(handle::<R>).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Self { url, rules, shared, task }
    }

    /// The next requests fail so, in this order.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.shared.faults).extend(faults);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// The test's last word: no rule was broken.
    pub(crate) fn assert_kept(&self) {
        let broken = lock(&self.shared.broken);
        assert!(broken.is_empty(), "rules were broken: {broken:#?}");
    }
}

impl<R> Drop for Server<R> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn handle<R: Rules>(
    State(shared): State<Arc<Shared<R>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let request = Request { method, path: uri.path().to_owned(), query, headers, body };
    lock(&shared.requests).push(request.clone());
    let fault = lock(&shared.faults).pop_front();
    if let Some(Fault::Answer(reply)) = fault {
        return respond(reply);
    }
    if let Some(Fault::Silent) = fault {
        std::future::pending::<()>().await;
    }
    let reply = shared.rules.answer(&request).unwrap_or_else(|why| {
        lock(&shared.broken).push(format!("{} {}: {why}", request.method, request.path));
        shared.rules.refusal(&why)
    });
    match fault {
        Some(Fault::Lost) => lost(),
        _ => respond(reply),
    }
}

fn respond(reply: Reply) -> Response<Body> {
    let mut response = Response::builder().status(StatusCode::from_u16(reply.status).expect("a status"));
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.header("content-type", "application/json").body(Body::from(reply.body.to_string())).expect("a response")
}

/// The head of an answer, then the connection is cut.
fn lost() -> Response<Body> {
    let cut = futures_util::stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("cut"))]);
    Response::new(Body::from_stream(cut))
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("a lock")
}

/// Fails with the rule unless it holds.
pub(crate) fn rule(holds: bool, what: impl Into<String>) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.into()) }
}
