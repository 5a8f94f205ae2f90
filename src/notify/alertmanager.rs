//! Pages through Alertmanager itself, so that existing routes, receivers and silences apply. Accepted is not delivered: a page
//! counts once a peer shows it active with a receiver. Reading other people's alerts is `observe`'s business.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use serde::Deserialize;

use super::channel::{Again, Channel, Probe, Refused, answered, taken};
use super::pages::{OpenPage, Page, Pages, PostedAlert, over};
use super::words::Words;
use crate::model::{IncidentId, Labels, Message, Time};
use crate::outgoing::{Endpoint, Question};
use crate::ports::Clock;

/// How long a page may take to show up as active.
const SHOWN_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the end of a page is posted, at most.
const END_TRIES: u32 = 3;

pub(super) struct Pager {
    name: String,
    words: Words,
    peers: Vec<Endpoint>,
    pages: Pages,
    /// One post at a time: a page that is being kept up must not overtake its own end.
    posting: tokio::sync::Mutex<()>,
    clock: Arc<dyn Clock>,
}

/// What one peer shows of a page.
enum Shown {
    /// Firing, and a receiver has it.
    Active,
    /// It will reach nobody.
    Suppressed(String),
    /// Not there yet, or the peer could not be asked.
    NotYet(String),
}

impl Pager {
    pub(super) fn new(name: &str, words: Words, peers: Vec<Endpoint>, clock: Arc<dyn Clock>) -> Self {
        let name = name.to_owned();
        Self { name, words, peers, pages: Pages::default(), posting: tokio::sync::Mutex::new(()), clock }
    }

    /// Each page is an alert of its own, also when they go out together: whoever receives them groups them.
    async fn page(&self, messages: &[Message]) -> Result<(), Refused> {
        let pages: Vec<Page> = messages.iter().map(|message| Page::new(message, &self.words)).collect();
        let now = self.clock.now();
        let alerts: Vec<PostedAlert> = pages.iter().map(|page| page.firing(now)).collect();
        let taken = self.post_to_all(&alerts).await;
        let accepted: Vec<&Endpoint> =
            self.peers.iter().zip(&taken).filter(|(_, taken)| taken.is_ok()).map(|(peer, _)| peer).collect();
        if accepted.is_empty() {
            return Err(worst(taken));
        }
        join_all(pages.iter().map(|page| self.shown(page, &accepted))).await.into_iter().collect::<Result<Vec<()>, _>>()?;
        let now = self.clock.now();
        let older: Vec<Page> = pages.into_iter().flat_map(|page| self.pages.open(page, Some(now))).collect();
        // What takes their place is there; an end that nobody takes lapses by itself.
        let _ = self.end(&older).await;
        Ok(())
    }

    /// Waits until one of the peers shows the page active; fails at once when all of them suppress it.
    async fn shown(&self, page: &Page, peers: &[&Endpoint]) -> Result<(), Refused> {
        let deadline = self.clock.elapsed() + SHOWN_WITHIN;
        loop {
            let shown = join_all(peers.iter().map(|peer| self.look(peer, page))).await;
            let mut suppressed = Vec::new();
            let mut last = String::new();
            for shown in shown {
                match shown {
                    Shown::Active => return Ok(()),
                    Shown::Suppressed(why) => suppressed.push(why),
                    Shown::NotYet(why) => last = why,
                }
            }
            if suppressed.len() == peers.len() {
                return Err(Refused::never(format!("the page is {}", suppressed.join("; "))));
            }
            if self.clock.elapsed() + LOOK_EVERY > deadline {
                let within = SHOWN_WITHIN.as_secs();
                return Err(Refused::never(format!("no peer shows the page active with a receiver after {within} s: {last}")));
            }
            self.clock.sleep(LOOK_EVERY).await;
        }
    }

    async fn look(&self, peer: &Endpoint, page: &Page) -> Shown {
        match self.held(peer, &page.key).await {
            Err(why) => Shown::NotYet(why),
            Ok(held) => match held.into_iter().find(|alert| alert.labels == page.labels) {
                Some(alert) => alert.shown(),
                None => Shown::NotYet("it is not in the list of alerts".to_owned()),
            },
        }
    }

    /// What a peer holds of an incident's pages.
    async fn held(&self, peer: &Endpoint, key: &str) -> Result<Vec<Held>, String> {
        let filter = format!("backout_incident=\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
        let query = [("filter", filter.as_str())];
        let question = Question { most_bytes: 8 << 20, ..Question::get("api/v2/alerts", &query) };
        let answer = peer.ask(question).await.map_err(|why| why.to_string())?;
        if !answer.is_success() {
            return Err(format!("asked for its alerts it answered {}", answer.status));
        }
        let held: Vec<Held> = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
        // A filter that a proxy lost on the way must not make us end other people's alerts.
        let ours = |alert: &Held| alert.labels.get("alertname").is_some_and(|name| name == "BackoutPage");
        Ok(held
            .into_iter()
            .filter(|alert| ours(alert) && alert.labels.get("backout_incident").is_some_and(|k| k == key))
            .collect())
    }

    /// Posts to every peer at once; one answer for each.
    async fn post_to_all(&self, alerts: &[PostedAlert]) -> Vec<Result<(), Refused>> {
        let body = match serde_json::to_vec(alerts) {
            Ok(body) => Bytes::from(body),
            Err(error) => return vec![Err(Refused::never(error.to_string())); self.peers.len()],
        };
        let _turn = self.posting.lock().await;
        let post = |peer| post(peer, body.clone());
        join_all(self.peers.iter().map(post)).await
    }

    /// Posts the end of pages. What no peer takes lapses by itself within the hour.
    async fn end(&self, pages: &[Page]) -> Result<(), Refused> {
        let now = self.clock.now();
        let alerts: Vec<PostedAlert> = pages.iter().map(|page| page.ended(now)).collect();
        self.post_ends(&alerts).await
    }

    async fn post_ends(&self, alerts: &[PostedAlert]) -> Result<(), Refused> {
        if alerts.is_empty() {
            return Ok(());
        }
        let mut last = Ok(());
        for attempt in 1..=END_TRIES {
            last = self.post_to_all(alerts).await.into_iter().find(Result::is_err).unwrap_or(Ok(()));
            if last.is_ok() || attempt == END_TRIES {
                break;
            }
            self.clock.sleep(attempt * LOOK_EVERY).await;
        }
        last
    }

    /// Ends what is kept up, and what peers hold from before a restart of ours.
    async fn close_incident(&self, incident: &IncidentId) -> Result<(), Refused> {
        let kept = self.pages.close(&incident.0);
        let now = self.clock.now();
        let mut ends: Vec<PostedAlert> = kept.iter().map(|page| page.ended(now)).collect();
        for held in join_all(self.peers.iter().map(|peer| self.held(peer, &incident.0))).await {
            for alert in held.unwrap_or_default() {
                if !ends.iter().any(|end| end.labels == alert.labels) {
                    ends.push(alert.ended(now));
                }
            }
        }
        // Tried above as often as makes sense: it lapses by itself within the hour.
        self.post_ends(&ends).await.map_err(|refused| Refused::never(refused.why))
    }

    /// Whether every peer answers: a page is posted to all of them.
    async fn ready(&self) -> Probe {
        let status = async |peer: &Endpoint| {
            answered(peer.ask(Question::get("api/v2/status", &[])).await)
                .map_err(|refused| format!("{}: {}", peer.name(), refused.why))
        };
        let failed: Vec<String> = join_all(self.peers.iter().map(status)).await.into_iter().filter_map(Result::err).collect();
        match failed.as_slice() {
            [] => Probe::Usable(format!("{} peers answer", self.peers.len())),
            failed => Probe::Unusable(failed.join("; ")),
        }
    }

    async fn keep_up(&self) {
        let now = self.clock.now();
        let due = self.pages.due(now);
        if due.is_empty() {
            return;
        }
        let _turn = self.posting.lock().await;
        // Closed while we waited: posting it would open it again.
        let due = self.pages.due(now);
        let alerts: Vec<PostedAlert> = due.iter().map(|page| page.firing(now)).collect();
        let Ok(body) = serde_json::to_vec(&alerts).map(Bytes::from) else { return };
        let taken = join_all(self.peers.iter().map(|peer| post(peer, body.clone()))).await;
        if taken.iter().any(Result::is_ok) {
            self.pages.posted(&due, now);
        }
    }
}

impl Channel for Pager {
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(self.page(std::slice::from_ref(message)))
    }

    fn send_merged<'a>(&'a self, messages: &'a [Message]) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(self.page(messages))
    }

    fn persist(&self, message: &Message) {
        self.pages.open(Page::new(message, &self.words), None);
    }

    fn probe(&self) -> BoxFuture<'_, Probe> {
        Box::pin(self.ready())
    }

    fn close<'a>(&'a self, incident: &'a IncidentId) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(self.close_incident(incident))
    }

    fn keep(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.keep_up())
    }

    fn open_pages(&self) -> Vec<OpenPage> {
        self.pages.list(&self.name)
    }
}

async fn post(peer: &Endpoint, body: Bytes) -> Result<(), Refused> {
    let posted = taken(peer.ask(Question::post_json("api/v2/alerts", body)).await);
    posted.map_err(|refused| Refused { why: format!("{}: {}", peer.name(), refused.why), ..refused })
}

/// All peers refused: what each said, and again if that may help with any.
fn worst(taken: Vec<Result<(), Refused>>) -> Refused {
    let refused: Vec<Refused> = taken.into_iter().filter_map(Result::err).collect();
    let again = refused.iter().map(|refused| refused.again).find(|again| *again != Again::Never).unwrap_or(Again::Never);
    Refused { why: refused.into_iter().map(|refused| refused.why).collect::<Vec<_>>().join("; "), again }
}

/// An alert as a peer lists it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Held {
    labels: Labels,
    #[serde(default)]
    annotations: Labels,
    starts_at: String,
    status: HeldStatus,
    #[serde(default)]
    receivers: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeldStatus {
    state: String,
    #[serde(default)]
    silenced_by: Vec<String>,
    #[serde(default)]
    inhibited_by: Vec<String>,
}

impl Held {
    fn shown(&self) -> Shown {
        let HeldStatus { state, silenced_by, inhibited_by } = &self.status;
        if !silenced_by.is_empty() {
            return Shown::Suppressed(format!("silenced by {}", silenced_by.join(", ")));
        }
        if !inhibited_by.is_empty() {
            return Shown::Suppressed("inhibited by another alert".to_owned());
        }
        if state == "suppressed" {
            return Shown::Suppressed("suppressed".to_owned());
        }
        match (state.as_str(), self.receivers.is_empty()) {
            ("active", false) => Shown::Active,
            ("active", true) => Shown::NotYet("it has no receiver".to_owned()),
            _ => Shown::NotYet(format!("its state is `{}`", state.chars().take(40).collect::<String>())),
        }
    }

    fn ended(self, now: Time) -> PostedAlert {
        let since = Time::parse(&self.starts_at).unwrap_or(now);
        let (since, end) = over(since, now);
        PostedAlert { labels: self.labels, annotations: self.annotations, starts_at: since.to_string(), ends_at: end.to_string() }
    }
}
