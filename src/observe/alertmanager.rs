//! Asking every Alertmanager peer what it holds of some alerts: the evidence that an alert still fires, or that somebody has
//! silenced it. Reads only; pages are `notify`'s business.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::http::{good, json, unusable};
use crate::decide::alike;
use crate::model::{
    AlertAlike, AlertOnPeer, AlertmanagerView, Fact, Fingerprint, Labels, Occurrence, PeerAlertState, PeerView, Time, Unknown,
    UnknownKind,
};
use crate::outgoing::{Clients, Endpoint, EndpointError, EndpointSettings, Question};
use crate::policy::matcher::{self, Matcher};
use crate::ports::{Alertmanagers, Clock};

/// What matches the alert that always fires, unless the settings say otherwise: the name that everybody gives it.
pub const WATCHDOG: &str = r#"alertname="Watchdog""#;
/// For everything that one peer is asked.
const PEER_TIMEOUT: Duration = Duration::from_secs(5);
/// For the question about the alert that always fires: who does not answer that one may still answer the others.
const WATCHDOG_TIMEOUT: Duration = Duration::from_secs(2);
/// How many silences are looked up; more are named by their ids.
const MOST_SILENCES: usize = 8;
/// Alerts in every state: a peer's own defaults may change.
const EVERYTHING: [(&str, &str); 4] = [("active", "true"), ("silenced", "true"), ("inhibited", "true"), ("unprocessed", "true")];

/// The configured Alertmanager peers.
pub struct AlertmanagerClient {
    peers: Vec<Endpoint>,
    clock: Arc<dyn Clock>,
    /// Matches the alert that always fires; empty: nobody is asked for it.
    watchdog: Vec<Matcher>,
}

impl AlertmanagerClient {
    /// A client of these peers, in this order. None is allowed: then nothing is known of any alert.
    ///
    /// # Errors
    /// A peer's settings cannot be used.
    pub fn new(clients: &Clients, peers: &[EndpointSettings], clock: Arc<dyn Clock>) -> Result<Self, EndpointError> {
        let peers = peers.iter().map(|peer| clients.endpoint(peer)).collect::<Result<_, _>>()?;
        Ok(Self { peers, clock, watchdog: Vec::new() })
    }

    /// With the alert that always fires as a witness: as long as Prometheus evaluates its rule, it sends it again.
    #[must_use]
    pub fn with_watchdog(self, watchdog: Vec<Matcher>) -> Self {
        Self { watchdog, ..self }
    }

    async fn ask_all(&self, fingerprints: Vec<Fingerprint>) -> AlertmanagerView {
        let wanted: BTreeSet<Fingerprint> = fingerprints.into_iter().collect();
        let peers = join_all(self.peers.iter().map(|peer| self.ask(peer, &wanted))).await;
        let why = Unknown::new(UnknownKind::NotObserved, "prometheus has not been asked");
        AlertmanagerView { peers, evaluated_at: Fact::unknown(why, self.clock.now(), "prometheus") }
    }

    async fn ask(&self, peer: &Endpoint, wanted: &BTreeSet<Fingerprint>) -> Fact<PeerView> {
        let source = format!("alertmanager {}", peer.name());
        let answered = tokio::time::timeout(PEER_TIMEOUT, self.read(peer, wanted)).await.unwrap_or_else(|_| {
            Err(Unknown::new(UnknownKind::Unreachable, format!("no answer within {} s", PEER_TIMEOUT.as_secs())))
        });
        match answered {
            Ok(view) => Fact::known(view, self.clock.now(), source),
            Err(why) => Fact::unknown(why, self.clock.now(), source),
        }
    }

    async fn read(&self, peer: &Endpoint, wanted: &BTreeSet<Fingerprint>) -> Result<PeerView, Unknown> {
        // Status first: an answer of alerts that was read before a restart must not pass as one of a peer long up.
        let status: Status = json(&good(peer.ask(Question::get("api/v2/status", &[])).await)?)?;
        let started = Time::parse(&status.uptime).ok_or_else(|| unusable("its status has no time of start"))?;
        let (answer, watchdog_at) = tokio::join!(peer.ask(Question::get("api/v2/alerts", &EVERYTHING)), self.watchdog_at(peer));
        let answer = good(answer)?;
        let items: Vec<Item<'_>> =
            serde_json::from_slice(&answer.body).map_err(|error| unusable(format!("answered something unexpected: {error}")))?;
        let found = select(&items, wanted)?;
        let silences = self.silences(peer, &found).await;
        let alerts: Vec<AlertOnPeer> = found.into_iter().map(|seen| seen.with(&silences)).collect();
        let (alike, alike_left_out) = alike::nearest(&alerts, named_like(&items, &alerts, wanted)?);
        let up = self.clock.now().since(started);
        Ok(PeerView { peer: peer.name().to_owned(), up, alerts, watchdog_at, alike, alike_left_out })
    }

    /// When the alert that always fires last came in. Where several match, the one that is heard of least: each of them must be
    /// alive. No answer is no witness, and nothing worse.
    async fn watchdog_at(&self, peer: &Endpoint) -> Option<Time> {
        if self.watchdog.is_empty() {
            return None;
        }
        let filters: Vec<String> = self.watchdog.iter().map(ToString::to_string).collect();
        let query: Vec<(&str, &str)> =
            EVERYTHING.into_iter().chain(filters.iter().map(|filter| ("filter", filter.as_str()))).collect();
        let asked = peer.ask(Question::get("api/v2/alerts", &query));
        let answer = good(tokio::time::timeout(WATCHDOG_TIMEOUT, asked).await.ok()?).ok()?;
        let held: Vec<Watchdog> = json(&answer).ok()?;
        // A filter that a proxy lost on the way must not make any alert the witness.
        let ours = held.iter().filter(|alert| matcher::all_match(&self.watchdog, &alert.labels));
        let times: Option<Vec<Time>> = ours.map(|alert| Time::parse(&alert.updated_at)).collect();
        times?.into_iter().min()
    }

    /// Who made the silences, and why. One that cannot be read is still a silence.
    async fn silences(&self, peer: &Endpoint, found: &[Seen]) -> BTreeMap<String, String> {
        let ids: BTreeSet<&String> = found.iter().flat_map(|seen| &seen.silenced_by).collect();
        let read = ids.into_iter().take(MOST_SILENCES).map(|id| async move {
            // An id from the wire goes into a path: only what a UUID is made of.
            if !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
                return None;
            }
            let answer = good(peer.ask(Question::get(&format!("api/v2/silence/{id}"), &[])).await).ok()?;
            let silence: Silence = json(&answer).ok()?;
            Some((id.clone(), silence.in_words()))
        });
        join_all(read).await.into_iter().flatten().collect()
    }
}

impl Alertmanagers for AlertmanagerClient {
    fn view(&self, fingerprints: Vec<Fingerprint>) -> BoxFuture<'_, AlertmanagerView> {
        Box::pin(self.ask_all(fingerprints))
    }
}

/// One alert of interest, before its silences were looked up.
struct Seen {
    occurrence: Occurrence,
    labels: Labels,
    silenced_by: Vec<String>,
    inhibited: bool,
}

impl Seen {
    fn with(self, silences: &BTreeMap<String, String>) -> AlertOnPeer {
        // A silence before an inhibition: it means that a human has it.
        let state = if !self.silenced_by.is_empty() {
            let words = |id: &String| silences.get(id).cloned().unwrap_or_else(|| format!("silence {id}"));
            PeerAlertState::Silenced { by: self.silenced_by.iter().map(words).collect() }
        } else if self.inhibited {
            PeerAlertState::Inhibited
        } else {
            // `unprocessed` is an alert that just came in; muted by time of day is a matter of one route, and it fires.
            PeerAlertState::Active
        };
        AlertOnPeer { occurrence: self.occurrence, labels: self.labels, state }
    }
}

/// Picks the alerts of interest out of an answer that may hold tens of thousands of others.
fn select(items: &[Item<'_>], wanted: &BTreeSet<Fingerprint>) -> Result<Vec<Seen>, Unknown> {
    let mut found = Vec::new();
    for item in items {
        let fingerprint = item.fingerprint()?;
        if !wanted.contains(&fingerprint) {
            continue;
        }
        let (starts_at, labels) = (item.starts_at()?, item.labels()?);
        let mut silenced_by = item.status.silenced_by.clone();
        silenced_by.sort();
        let inhibited = !item.status.inhibited_by.is_empty();
        found.push(Seen { occurrence: Occurrence { fingerprint, starts_at }, labels, silenced_by, inhibited });
    }
    Ok(found)
}

/// Of the same answer, whatever is called like one of those that were found.
fn named_like(items: &[Item<'_>], found: &[AlertOnPeer], wanted: &BTreeSet<Fingerprint>) -> Result<Vec<AlertAlike>, Unknown> {
    let names: BTreeSet<&str> = found.iter().map(|alert| alert.labels.get("alertname").map_or("", String::as_str)).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut alike = Vec::new();
    for item in items {
        let named: Named<'_> = serde_json::from_str(item.labels.get()).map_err(|error| unusable(error.to_string()))?;
        let fingerprint = item.fingerprint()?;
        if names.contains(named.alertname.as_ref()) && !wanted.contains(&fingerprint) {
            let occurrence = Occurrence { fingerprint, starts_at: item.starts_at()? };
            alike.push(AlertAlike { occurrence, labels: item.labels()? });
        }
    }
    Ok(alike)
}

/// Of an alert's labels the one that names it: most alerts need not be read further.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, default)]
    alertname: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Status {
    /// The time of start, in spite of its name.
    uptime: String,
}

/// The alert that always fires.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Watchdog {
    labels: Labels,
    /// When it was last posted, by the peer's clock.
    updated_at: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    fingerprint: Option<&'a str>,
    starts_at: &'a str,
    #[serde(borrow)]
    labels: &'a RawValue,
    status: ItemStatus,
}

impl Item<'_> {
    /// As it is said; whoever leaves it out must not look as if the alert were gone.
    fn fingerprint(&self) -> Result<Fingerprint, Unknown> {
        match self.fingerprint.and_then(Fingerprint::parse) {
            Some(fingerprint) => Ok(fingerprint),
            None => Ok(Fingerprint::of(self.labels()?.iter().map(|(name, value)| (name.as_str(), value.as_str())))),
        }
    }

    fn labels(&self) -> Result<Labels, Unknown> {
        serde_json::from_str(self.labels.get()).map_err(|error| unusable(error.to_string()))
    }

    fn starts_at(&self) -> Result<Time, Unknown> {
        Time::parse(self.starts_at).ok_or_else(|| unusable("an alert's `startsAt` is no time"))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ItemStatus {
    #[serde(default)]
    silenced_by: Vec<String>,
    #[serde(default)]
    inhibited_by: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Silence {
    #[serde(default)]
    created_by: String,
    #[serde(default)]
    comment: String,
}

impl Silence {
    fn in_words(&self) -> String {
        let cut = |text: &str| text.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
        format!("{}: {}", cut(&self.created_by), cut(&self.comment))
    }
}
