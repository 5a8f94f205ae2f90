//! Connections: accepting, limiting, cutting off, draining. Must not know what is served beyond the table of routes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::routing::{MethodRouter, get, post};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::auth::Tokens;
use super::webhook::Webhook;
use super::{Parts, Shared, admin, api, log_level};
use crate::model::Source;

/// What one connection may keep in memory for heads and for reading on.
const CONNECTION_BUFFER_BYTES: usize = 128 << 10;

/// How long accepting pauses when the system has no more files or memory for us.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a connection over the limit is told, if it listens.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 32\r\nconnection: close\r\n\r\ntoo many connections: try again\n";

/// The HTTP server. HTTP/1.1 only: no sender speaks HTTP/2 without TLS, and half-sent heads can be cut off in HTTP/1.1.
pub struct Server {
    router: Router,
    connections: Arc<Semaphore>,
    commits: TaskTracker,
    tokens: Arc<Tokens>,
    head_deadline: Duration,
    write_deadline: Duration,
}

impl Server {
    /// Puts the server together; nothing runs yet.
    pub fn new(parts: Parts) -> Self {
        let commits = TaskTracker::new();
        let shared = Arc::new(Shared {
            webhook: Webhook::new(&parts, commits.clone()),
            control: parts.control,
            metrics: parts.metrics,
            clock: parts.clock,
            tokens: Arc::clone(&parts.tokens),
            body_deadline: parts.settings.body_deadline,
            before_scrape: parts.before_scrape,
            log_level: parts.log_level,
        });
        Self {
            router: router(shared),
            connections: Arc::new(Semaphore::new(parts.settings.connections.min(Semaphore::MAX_PERMITS))),
            commits,
            tokens: parts.tokens,
            head_deadline: parts.settings.head_deadline,
            write_deadline: parts.settings.write_deadline,
        }
    }

    /// Serves until `drain`; then accepts nothing new, and ends when everything under way is answered, or at `abort`.
    ///
    /// When this returns, every sender of the inbox that the server held is gone, but for commits that `abort` cut short.
    pub async fn run(self, listener: TcpListener, drain: CancellationToken, abort: CancellationToken) {
        let open = TaskTracker::new();
        open.spawn(Arc::clone(&self.tokens).keep_fresh(drain.clone()));
        while let Some(accepted) = drain.run_until_cancelled(listener.accept()).await {
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    pause_after(&error, &drain).await;
                    continue;
                }
            };
            match Arc::clone(&self.connections).try_acquire_owned() {
                Ok(permit) => drop(open.spawn(self.serve(stream, permit, drain.clone(), abort.clone()))),
                // The sender tries again after a 503 as well as after a connection that breaks.
                Err(_) => drop(stream.try_write(TOO_MANY)),
            }
        }
        drop(listener);
        open.close();
        self.commits.close();
        drop(self.router);
        abort.run_until_cancelled(async { tokio::join!(open.wait(), self.commits.wait()) }).await;
    }

    fn serve(
        &self,
        stream: TcpStream,
        permit: OwnedSemaphorePermit,
        drain: CancellationToken,
        abort: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        // Answers are small and complete: waiting to fill a packet only delays them. Failure changes nothing else.
        let _ = stream.set_nodelay(true);
        let io = Impatient::new(TokioIo::new(stream), self.write_deadline);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_deadline)
            .max_buf_size(CONNECTION_BUFFER_BYTES)
            .serve_connection(io, TowerToHyperService::new(self.router.clone()));
        async move {
            let _permit = permit;
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                biased;
                // How a connection ended is the sender's business; what was refused is counted where it was refused.
                _ = connection.as_mut() => return,
                () = abort.cancelled() => return,
                () = drain.cancelled() => connection.as_mut().graceful_shutdown(),
            }
            abort.run_until_cancelled(connection).await;
        }
    }
}

/// Every path there is. Nothing redirects: Alertmanager takes the answer to a redirected webhook for a delivery.
fn router(shared: Arc<Shared>) -> Router {
    let alertmanager = hook(Source::Alertmanager);
    let grafana = hook(Source::Grafana);
    Router::new()
        .route("/v1/webhook/alertmanager", alertmanager.clone())
        .route("/v1/webhook/alertmanager/", alertmanager)
        .route("/v1/webhook/grafana", grafana.clone())
        .route("/v1/webhook/grafana/", grafana)
        .route("/metrics", get(admin::metrics))
        .route("/-/healthy", get(admin::healthy))
        .route("/-/ready", get(admin::ready))
        .route("/-/reload", post(admin::reload))
        .route("/-/log-level", get(log_level::show).put(log_level::change))
        .nest("/api/v1", api::router())
        .fallback(async || (StatusCode::NOT_FOUND, "no such path\n"))
        .with_state(shared)
}

fn hook(source: Source) -> MethodRouter<Arc<Shared>> {
    let take = async move |State(shared): State<Arc<Shared>>, request: Request| shared.webhook.take(source, request).await;
    let other = async move |State(shared): State<Arc<Shared>>| shared.webhook.wrong_method(source);
    let hook = post(take).fallback(other);
    match source {
        Source::Alertmanager => hook,
        // Grafana's contact point can be set to PUT.
        Source::Grafana => hook.put(take),
    }
}

async fn pause_after(error: &io::Error, drain: &CancellationToken) {
    // A connection that was gone before it was accepted is not our trouble; everything else is shortage.
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted) {
        return;
    }
    tracing::error!(%error, "cannot accept connections for now");
    drain.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await;
}

/// A connection whose other end must read: hyper has no time limit for that.
struct Impatient<S> {
    stream: S,
    deadline: Duration,
    /// Set while a write waits.
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    fn new(stream: S, deadline: Duration) -> Self {
        Self { stream, deadline, stuck: None }
    }

    /// Passes progress on, and turns waiting that takes too long into an error.
    fn limit<T>(&mut self, polled: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stuck = None;
            return polled;
        }
        let deadline = self.deadline;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + deadline)));
        ready!(stuck.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: Read + Unpin> Read for Impatient<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: Write + Unpin> Write for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.limit(polled, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.limit(polled, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.limit(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.limit(polled, context)
    }
}
