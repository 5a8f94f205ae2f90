//! What stands between the process and the real Prometheus and API server, and meddles.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::Response;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::{Gate, http, now};

/// How Prometheus answers a fact's query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    Right,
    Empty,
    NotANumber,
    Many,
    WrongType,
    Slow,
    Old,
}

/// A Prometheus whose answers to facts can be spoiled, and which can be gone.
pub(crate) struct Prometheus {
    pub(crate) gate: Gate,
    fact: Arc<Mutex<Fact>>,
    server: JoinHandle<()>,
}

struct Forward {
    to: String,
    http: reqwest::Client,
    fact: Arc<Mutex<Fact>>,
}

impl Prometheus {
    pub(crate) async fn before(url: &str) -> Self {
        let fact = Arc::new(Mutex::new(Fact::Right));
        let forward = Arc::new(Forward { to: url.to_owned(), http: http(), fact: Arc::clone(&fact) });
        let (address, server) = serve(Router::new().fallback(ask_prometheus).with_state(forward)).await;
        Self { gate: Gate::to(&address).await, fact, server }
    }

    pub(crate) fn spoil(&self, fact: Fact) {
        *lock(&self.fact) = fact;
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn ask_prometheus(State(forward): State<Arc<Forward>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let text = String::from_utf8_lossy(&body);
    let fact = *lock(&forward.fact);
    if text.contains("http_requests_total") && fact != Fact::Right {
        if fact == Fact::Slow {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        return answer(200, &json!({ "status": "success", "data": spoiled(fact) }));
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = forward.http.request(method, format!("{}{path}", forward.to));
    let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body.clone());
    match request.send().await {
        Ok(got) => {
            let status = got.status();
            let body = got.bytes().await.unwrap_or_default();
            Response::builder().status(status).body(Body::from(body)).expect("an answer")
        }
        Err(error) => answer(502, &json!({ "error": error.to_string() })),
    }
}

fn spoiled(fact: Fact) -> Value {
    let seconds = now().as_millisecond() as f64 / 1000.0;
    let one = |at: f64, value: &str, labels: Value| json!({ "metric": labels, "value": [at, value] });
    match fact {
        Fact::NotANumber => json!({ "resultType": "vector", "result": [one(seconds, "NaN", json!({}))] }),
        Fact::Many => json!({ "resultType": "vector", "result": [
            one(seconds, "0.6", json!({ "shard": "one" })), one(seconds, "0.5", json!({ "shard": "two" })),
        ]}),
        Fact::WrongType => json!({ "resultType": "matrix", "result": [{ "metric": {}, "values": [[seconds, "0.6"]] }] }),
        Fact::Old => json!({ "resultType": "vector", "result": [one(seconds - 1800.0, "0.6", json!({}))] }),
        Fact::Right | Fact::Empty | Fact::Slow => json!({ "resultType": "vector", "result": [] }),
    }
}

/// What happens to requests on their way to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Right,
    /// Each is answered with this status, and does not arrive.
    All(u16),
    /// Each patch is, dry runs too.
    Patches(u16),
    /// Each patch that is no dry run is.
    Writes(u16),
    /// The next write is; the ones after it arrive.
    NextWrite(u16),
    /// Writes arrive, and are answered 504.
    WrittenAnd504,
    /// Watches stay open and say nothing.
    SilentWatch,
    /// What was read before is read again, whatever it is now; and watches say nothing.
    Stale,
}

/// The way to the API server, as the service account of the process.
pub(crate) struct ApiServer {
    pub(crate) gate: Gate,
    state: Arc<Meddling>,
    server: JoinHandle<()>,
}

struct Meddling {
    client: kube::Client,
    fault: watch::Sender<Api>,
    /// Open watches end when this moves; so many are then answered 410.
    cut: watch::Sender<u32>,
    gone: Mutex<u32>,
    /// What was read last, by path.
    read: Mutex<BTreeMap<String, Bytes>>,
}

impl ApiServer {
    pub(crate) async fn before(client: kube::Client) -> Self {
        let state = Arc::new(Meddling {
            client,
            fault: watch::Sender::new(Api::Right),
            cut: watch::Sender::new(0),
            gone: Mutex::default(),
            read: Mutex::default(),
        });
        let (address, server) = serve(Router::new().fallback(ask_api).with_state(Arc::clone(&state))).await;
        Self { gate: Gate::to(&address).await, state, server }
    }

    pub(crate) fn meddle(&self, fault: Api) {
        self.state.fault.send_replace(fault);
    }

    /// Ends both watches, and does not remember what they had seen.
    pub(crate) fn forget_history(&self) {
        *lock(&self.state.gone) = 2;
        self.state.cut.send_modify(|cut| *cut += 1);
    }

    /// How many watches are still to hear that their history is gone.
    pub(crate) fn left_to_forget(&self) -> u32 {
        *lock(&self.state.gone)
    }

    /// A kubeconfig that leads here.
    pub(crate) fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: '{}'}}}}]\n\
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{token: none}}}}]\n",
            self.gate.url()
        )
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn ask_api(
    State(state): State<Arc<Meddling>>,
    method: Method,
    uri: Uri,
    headers: axum::http::HeaderMap,
    body: Bytes,
) -> Response {
    let fault = *state.fault.borrow();
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let watching = path.contains("watch=true");
    let patch = method == Method::PATCH;
    let write = patch && !path.contains("dryRun=All");
    let refused = match fault {
        Api::All(code) => Some(code),
        Api::Patches(code) if patch => Some(code),
        Api::Writes(code) if write => Some(code),
        Api::NextWrite(code) if write => {
            state.fault.send_replace(Api::Right);
            Some(code)
        }
        _ => None,
    };
    if let Some(code) = refused {
        return answer(code, &status(code));
    }
    if watching {
        let mut gone = lock(&state.gone);
        if *gone > 0 {
            *gone -= 1;
            return answer(410, &status(410));
        }
    }
    if fault == Api::Stale
        && method == Method::GET
        && !watching
        && let Some(read) = lock(&state.read).get(&path).cloned()
    {
        return Response::new(Body::from(read));
    }
    let mut request = axum::http::Request::builder().method(method.clone()).uri(&path);
    for name in [header::CONTENT_TYPE, header::ACCEPT, header::USER_AGENT] {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value);
        }
    }
    let request = request.body(kube::client::Body::from(body.to_vec())).expect("a request");
    let got = match state.client.send(request).await {
        Ok(got) => got,
        Err(error) => return answer(502, &json!({ "kind": "Status", "code": 502, "message": error.to_string() })),
    };
    let (mut parts, body) = got.into_parts();
    // Of that connection, not of ours.
    parts.headers.remove(header::TRANSFER_ENCODING);
    parts.headers.remove(header::CONTENT_LENGTH);
    if write && fault == Api::WrittenAnd504 {
        return answer(504, &status(504));
    }
    if watching {
        return Response::from_parts(parts, watched(&state, Body::new(body)));
    }
    let bytes = axum::body::to_bytes(Body::new(body), 64 << 20).await.unwrap_or_default();
    if method == Method::GET && parts.status == StatusCode::OK && fault != Api::Stale {
        lock(&state.read).insert(path, bytes.clone());
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// A watch that can fall silent, or end.
fn watched(state: &Arc<Meddling>, body: Body) -> Body {
    let (fault, mut cut) = (state.fault.subscribe(), state.cut.subscribe());
    cut.mark_unchanged();
    let said = body.into_data_stream().then(move |piece| {
        let mut fault = fault.clone();
        async move {
            let _ = fault.wait_for(|fault| !matches!(fault, Api::SilentWatch | Api::Stale)).await;
            piece
        }
    });
    Body::from_stream(said.take_until(Box::pin(async move {
        let _ = cut.changed().await;
    })))
}

fn status(code: u16) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Fault", "message": "a fault of the test", "code": code })
}

pub(crate) fn answer(code: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(code).expect("a status code");
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    response.body(Body::from(body.to_string())).expect("an answer")
}

/// Serves on a free port; where.
pub(crate) async fn serve(app: Router) -> (String, JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    let address = listener.local_addr().expect("its address").to_string();
    let server = tokio::spawn(async move {
        let _ = axum::serve(listener, app).await;
    });
    (address, server)
}

pub(crate) fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
