//! Server-sent events: who watches sees at once what changes. Nobody waits for a watcher; one that reads too slowly is told to look
//! at everything anew, and is let go.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse as _;
use axum::response::sse::{Event, KeepAlive, Sse};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Answer, App};
use crate::http::auth::Reader;
use crate::http::error::ApiError;
use crate::metrics::Metrics;
use crate::ports::{Notice, NoticeId};

/// How many may watch at once.
pub(in crate::http) const WATCHERS: usize = 64;

/// Proxies take a connection for dead that says nothing for a minute.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Then the watcher comes back with the number of the last event, and is asked again who it is.
const LIFE: Duration = Duration::from_secs(60 * 60);

/// Tells of changes as they happen, as server-sent events. `incident` carries a line of the list of incidents, `change` a posted
/// change, `pauses`, `latches` and `policies` the whole list. With `Last-Event-ID` what was missed comes first; where that is not kept any
/// more, or the reader was too slow, an event `resync` says that everything is to be read again. The stream ends after an hour.
#[utoipa::path(
    get, path = "/events", tag = "events",
    params(("Last-Event-ID" = Option<String>, Header, description = "The last event that is known.")),
    responses((status = 200, body = String, content_type = "text/event-stream"))
)]
pub(super) async fn events(_: Reader, State(shared): App, headers: HeaderMap) -> Answer {
    let Ok(permit) = Arc::clone(&shared.watchers).try_acquire_owned() else {
        return Err(ApiError::unavailable(format!("{WATCHERS} are watching, which is the most; try again later")));
    };
    // A number that is none of ours is before everything: then there is a gap.
    let unknown = NoticeId { row: 0, place: 0 };
    let known = headers.get("last-event-id").map(|id| id.to_str().ok().and_then(NoticeId::parse).unwrap_or(unknown));
    let subscription = shared.control.watch(known);
    let mut first: VecDeque<Event> = subscription.missed.iter().map(|notice| event(notice)).collect();
    if subscription.gap {
        first.push_front(resync());
    }
    let watch = Watch {
        first,
        live: subscription.live,
        over: false,
        until: Instant::now() + LIFE,
        closing: shared.closing.clone(),
        _counted: Counted::new(Arc::clone(&shared.metrics), permit),
    };
    let stream = futures_util::stream::unfold(watch, Watch::next);
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response())
}

/// One who watches.
struct Watch {
    first: VecDeque<Event>,
    live: broadcast::Receiver<Arc<Notice>>,
    over: bool,
    until: Instant,
    closing: CancellationToken,
    _counted: Counted,
}

impl Watch {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if let Some(event) = self.first.pop_front() {
            return Some((Ok(event), self));
        }
        if self.over {
            return None;
        }
        let received = tokio::select! {
            biased;
            () = self.closing.cancelled() => return None,
            () = tokio::time::sleep_until(self.until) => return None,
            received = self.live.recv() => received,
        };
        match received {
            Ok(notice) => Some((Ok(event(&notice)), self)),
            Err(RecvError::Lagged(_)) => {
                self.over = true;
                Some((Ok(resync()), self))
            }
            Err(RecvError::Closed) => None,
        }
    }
}

fn event(notice: &Notice) -> Event {
    Event::default().id(notice.id.to_string()).event(notice.kind).data(&notice.data)
}

fn resync() -> Event {
    Event::default().event("resync").data("{}")
}

/// Counts a watcher as long as it is there.
struct Counted {
    metrics: Arc<Metrics>,
    _permit: OwnedSemaphorePermit,
}

impl Counted {
    fn new(metrics: Arc<Metrics>, permit: OwnedSemaphorePermit) -> Self {
        metrics.access.event_watchers.inc();
        Self { metrics, _permit: permit }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.access.event_watchers.dec();
    }
}
