//! Taking webhooks: authenticate, read, parse once, commit, hand on, answer. Must not decide, and must not wait for the engine.
//!
//! Only these answers are given, since senders try again after 5xx only: 200 when the receipt is on the disk (or nothing in it
//! is for us), 503 for whatever may pass, 400 for what can never be parsed, 401 and 403 without a fitting token, 405. The texts
//! are constant: Alertmanager writes them into its log at each attempt and compares them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use super::HttpSettings;
use super::auth::{Denied, Peer, Scope, Tokens};
use super::body::{self, BodyError, BodyRules};
use crate::journal::census::{Census, Tally};
use crate::journal::receipt::Receipt;
use crate::journal::scan::Scan;
use crate::journal::wire::Unparseable;
use crate::metrics::{AlertResult, Metrics, WebhookResult};
use crate::model::{AlertStatus, Source, Time};
use crate::ports::{Clock, Received, RowKind, Store, StoreError};

/// So much is read of what somebody sends who may not: enough for a notification whose sender has the wrong token.
const STRANGERS_BODY: usize = 1 << 20;

/// What the webhook handlers work with.
pub(super) struct Webhook {
    store: Arc<dyn Store>,
    inbox: mpsc::Sender<Received>,
    /// Commits under way: they go on when their sender has gone.
    commits: TaskTracker,
    /// Permits are bytes.
    budget: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    tokens: Arc<Tokens>,
    settings: HttpSettings,
    trouble: Seldom,
}

/// A notification that was not taken.
enum Refusal {
    Denied(Denied),
    Body(BodyError),
    Unparseable(Unparseable),
    InboxFull,
    Closing,
    Store(StoreError),
    StoreLate,
}

/// A notification that was read whole.
struct Taken {
    source: Source,
    at: Time,
    elapsed: Duration,
    body: Bytes,
    scan: Scan,
    held: Option<OwnedSemaphorePermit>,
}

impl Webhook {
    pub(super) fn new(parts: &super::Parts, commits: TaskTracker) -> Self {
        let permits = parts.settings.bytes_in_flight.min(Semaphore::MAX_PERMITS);
        parts.metrics.inbox_capacity.set(i64::try_from(parts.inbox.max_capacity()).unwrap_or(i64::MAX));
        Self {
            store: Arc::clone(&parts.store),
            inbox: parts.inbox.clone(),
            commits,
            budget: Arc::new(Semaphore::new(permits)),
            metrics: Arc::clone(&parts.metrics),
            clock: Arc::clone(&parts.clock),
            tokens: Arc::clone(&parts.tokens),
            settings: parts.settings.clone(),
            trouble: Seldom::default(),
        }
    }

    /// Takes one notification.
    pub(super) async fn take(&self, source: Source, request: Request) -> Response {
        match self.try_take(source, request).await {
            Ok(result) => {
                self.metrics.webhook_requests(source, result).inc();
                (StatusCode::OK, "accepted\n").into_response()
            }
            Err(refusal) => {
                self.metrics.webhook_requests(source, refusal.result()).inc();
                self.complain(&refusal);
                refusal.into_response()
            }
        }
    }

    /// Refuses what is no POST.
    pub(super) fn wrong_method(&self, source: Source) -> Response {
        self.metrics.webhook_requests(source, WebhookResult::Method).inc();
        (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")], "expected a POST\n").into_response()
    }

    /// How many receipts are on their way to the engine.
    pub(super) fn depth(&self) -> usize {
        self.inbox.max_capacity() - self.inbox.capacity()
    }

    async fn try_take(&self, source: Source, request: Request) -> Result<WebhookResult, Refusal> {
        if let Err((refusal, most)) = self.may_come_in(&request) {
            body::skip(request.into_body(), most).await;
            return Err(refusal);
        }
        let rules =
            BodyRules { limit: self.settings.body_limit, deadline: self.settings.body_deadline, budget: Some(&self.budget) };
        let (body, held) = body::read(request.into_body(), rules).await.map_err(Refusal::Body)?;
        let at = self.clock.now();
        let (scan, found) = self.scan(&body).map_err(Refusal::Unparseable)?;
        let result = if found.ours.total() + found.foreign.total() > 0 {
            let committed = self.commit(Taken { source, at, elapsed: self.clock.elapsed(), body, scan, held }).await;
            self.count(source, &found, committed.is_ok());
            committed.map(|()| WebhookResult::Accepted)?
        } else {
            self.count(source, &found, true);
            if found.own_pages.total() > 0 { WebhookResult::OwnPages } else { WebhookResult::Empty }
        };
        Ok(result)
    }

    /// Whether the body is worth reading; else why not, and how much of it is read to let the refusal arrive.
    fn may_come_in(&self, request: &Request) -> Result<(), (Refusal, usize)> {
        let peer = request.extensions().get::<Arc<Peer>>().map(|peer| &**peer);
        let known = self.tokens.admit(Scope::Ingest, request.headers(), peer);
        known.map_err(|denied| (Refusal::Denied(denied), STRANGERS_BODY))?;
        // A look only: a slot is not kept while a slow sender takes its time.
        if self.inbox.capacity() > 0 {
            return Ok(());
        }
        let refusal = if self.inbox.is_closed() { Refusal::Closing } else { Refusal::InboxFull };
        Err((refusal, self.settings.body_limit))
    }

    /// The one walk through a body, and what it counts.
    fn scan(&self, body: &[u8]) -> Result<(Scan, Census), Unparseable> {
        let scan = Scan::of(body)?;
        let found = scan.census(body, self.settings.cluster.as_deref())?;
        Ok((scan, found))
    }

    /// Commits a receipt and hands it on. That happens in a task of its own: a receipt that was committed must reach the engine
    /// also when its sender has hung up, or was told to try again because the journal was slow.
    async fn commit(&self, taken: Taken) -> Result<(), Refusal> {
        let Taken { source, at, elapsed, body, scan, held } = taken;
        let slot = self.inbox.clone().try_reserve_owned().map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refusal::InboxFull,
            mpsc::error::TrySendError::Closed(_) => Refusal::Closing,
        })?;
        let row = Bytes::from(Receipt::encode(source, &body));
        let store = Arc::clone(&self.store);
        let metrics = Arc::clone(&self.metrics);
        let commit = self.commits.spawn(async move {
            let started = tokio::time::Instant::now();
            // A failure is counted by the journal itself.
            let seq = store.append(RowKind::Receipt, at, row).await?;
            metrics.webhook_commit.observe(started.elapsed().as_secs_f64());
            slot.send(Received { seq, at, elapsed, source, body, scan, held });
            Ok::<_, StoreError>(())
        });
        match tokio::time::timeout(self.settings.commit_deadline, commit).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(Refusal::Store(error)),
            Ok(Err(_)) => Err(Refusal::Store(StoreError::Closed)),
            Err(_) => Err(Refusal::StoreLate),
        }
    }

    fn count(&self, source: Source, found: &Census, taken: bool) {
        let add = |tally: Tally, result: AlertResult| {
            let result = if taken { result } else { AlertResult::Refused };
            for (status, alerts) in [(AlertStatus::Firing, tally.firing), (AlertStatus::Resolved, tally.resolved)] {
                if alerts > 0 {
                    self.metrics.alerts_received(source, status, result).inc_by(alerts);
                }
            }
        };
        add(found.ours, AlertResult::Accepted);
        add(found.foreign, AlertResult::Foreign);
        add(found.own_pages, AlertResult::OwnPage);
        if found.unreadable > 0 {
            self.metrics.alerts_unreadable(source).inc_by(found.unreadable);
        }
    }

    /// Says now and then what goes wrong; how often it does is in the metrics.
    fn complain(&self, refusal: &Refusal) {
        if self.trouble.now(self.clock.now()) {
            let text = refusal.text();
            let text = text.trim_end();
            match refusal {
                Refusal::Store(error) => tracing::error!(%error, "webhooks are refused: {text}"),
                Refusal::StoreLate | Refusal::Body(BodyError::TooLarge) => tracing::error!("webhooks are refused: {text}"),
                _ => tracing::warn!("webhooks are refused: {text}"),
            }
        }
    }
}

impl Refusal {
    fn result(&self) -> WebhookResult {
        match self {
            Self::Denied(_) => WebhookResult::Unauthorized,
            Self::Body(BodyError::TooLarge) => WebhookResult::TooLarge,
            Self::Body(BodyError::BytesFull) => WebhookResult::BytesFull,
            Self::Body(BodyError::Late) => WebhookResult::Late,
            Self::Body(BodyError::Broken) => WebhookResult::Broken,
            Self::Unparseable(_) => WebhookResult::Unparseable,
            Self::InboxFull => WebhookResult::InboxFull,
            Self::Closing => WebhookResult::Closing,
            Self::Store(_) => WebhookResult::StoreFailed,
            Self::StoreLate => WebhookResult::StoreLate,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Denied(Denied::Unknown | Denied::Limited(_)) => StatusCode::UNAUTHORIZED,
            Self::Denied(Denied::Scope(_) | Denied::Host) => StatusCode::FORBIDDEN,
            Self::Unparseable(_) => StatusCode::BAD_REQUEST,
            // A body over the limit, too: after a 4xx nothing is tried again, and the alert may be gone before the next flush.
            Self::Body(_) | Self::InboxFull | Self::Closing | Self::Store(_) | Self::StoreLate => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn text(&self) -> String {
        let text = match self {
            Self::Denied(Denied::Unknown | Denied::Limited(_)) => "expected a valid token of the scope `ingest`\n",
            Self::Denied(Denied::Scope(_) | Denied::Host) => "expected a token of the scope `ingest`\n",
            Self::Body(BodyError::TooLarge) => {
                "the body is over the limit: raise backout's `http.body_limit`, or set `max_alerts` at the sender\n"
            }
            Self::Body(BodyError::BytesFull) => "too many bytes in flight: try again\n",
            Self::Body(BodyError::Late) => "the body did not come in time: try again\n",
            Self::Body(BodyError::Broken) => "the body broke off: try again\n",
            Self::Unparseable(why) => return format!("{why}\n"),
            Self::InboxFull => "the inbox is full: try again\n",
            Self::Closing => "going down: try again\n",
            Self::Store(_) => "the journal does not commit: try again\n",
            Self::StoreLate => "the journal did not commit in time: try again\n",
        };
        text.to_owned()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status(), self.text()).into_response();
        if self.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Says yes at most once in ten seconds.
struct Seldom(AtomicI64);

impl Default for Seldom {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl Seldom {
    const EVERY: Duration = Duration::from_secs(10);

    fn now(&self, now: Time) -> bool {
        let last = self.0.load(Ordering::Relaxed);
        let due = now.since(Time::from_millis(last)) >= Self::EVERY;
        due && self.0.compare_exchange(last, now.millis(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
