//! Alertmanager: peers that hold the same alerts, silences, inhibition, and the notifications that go out, as real webhook bodies.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::decide::alike;
use crate::model::{
    Alert, AlertAlike, AlertOnPeer, AlertStatus, AlertmanagerView, Fact, Fingerprint, Labels, Occurrence, PeerAlertState,
    PeerView, Texts, Time, Unknown, UnknownKind,
};
use crate::policy::matcher::{Matcher, all_match_with};

/// A peer that was started anew is told again after this: Prometheus sends what fires each minute, and then waits for an evaluation.
const TOLD_AGAIN: Duration = Duration::from_secs(75);

/// One peer.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) up_since: Time,
    pub(super) down: bool,
    /// It does not hold the alerts that the others hold (it was started lately).
    pub(super) empty: bool,
    /// What it holds for as long as it hears nothing new.
    pub(super) frozen: Option<BTreeMap<Fingerprint, Held>>,
}

#[derive(Clone, Debug)]
struct Silence {
    matchers: Vec<Matcher>,
    by: String,
    until: Option<Time>,
}

/// An alert, and what was said about it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    alert: Alert,
    /// When the next notification about it is due, if there is anything new.
    flush_at: Time,
    said: Option<AlertStatus>,
}

/// All peers.
#[derive(Clone, Debug)]
pub(super) struct Alertmanager {
    pub(super) peers: Vec<Peer>,
    /// How long a new alert waits.
    pub(super) group_wait: Duration,
    /// How long news of a known one wait.
    pub(super) group_interval: Duration,
    held: BTreeMap<Fingerprint, Held>,
    /// Those that are over or lost, the latest last.
    over: Vec<Held>,
    silences: Vec<Silence>,
    /// What inhibits what, in this order.
    inhibitions: Vec<(Vec<Matcher>, Vec<Matcher>)>,
}

impl Default for Alertmanager {
    fn default() -> Self {
        Self {
            peers: Vec::new(),
            group_wait: Duration::ZERO,
            group_interval: Duration::ZERO,
            held: BTreeMap::new(),
            over: Vec::new(),
            silences: Vec::new(),
            inhibitions: Vec::new(),
        }
    }
}

impl Alertmanager {
    /// An alert fires.
    pub(super) fn fire(&mut self, labels: Labels, annotations: Labels, starts_at: Time, now: Time) -> Alert {
        let fingerprint = Fingerprint::of(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let alert = Alert {
            fingerprint,
            status: AlertStatus::Firing,
            labels: (&labels).into(),
            annotations: (&annotations).into(),
            starts_at,
            ends_at: None,
            generator_url: String::new(),
        };
        let flush_at = self.held.get(&fingerprint).map_or(now + self.group_wait, |held| held.flush_at.max(now));
        let said = self.held.get(&fingerprint).and_then(|held| held.said);
        self.held.insert(fingerprint, Held { alert: alert.clone(), flush_at, said });
        alert
    }

    /// An alert is over.
    pub(super) fn end(&mut self, labels: &Texts, now: Time) {
        for held in self.held.values_mut().filter(|held| held.alert.labels == *labels) {
            held.alert.status = AlertStatus::Resolved;
            held.alert.ends_at = Some(now);
            held.flush_at = held.flush_at.max(now);
        }
    }

    /// The alerts of that name that fire.
    pub(super) fn firing(&self, alertname: &str) -> Vec<Alert> {
        let named = |held: &&Held| held.alert.label("alertname") == alertname && held.alert.status == AlertStatus::Firing;
        self.held.values().filter(named).map(|held| held.alert.clone()).collect()
    }

    /// The alert with these labels, fired or over, if it was ever heard of.
    pub(super) fn known(&self, labels: &Labels) -> Option<Alert> {
        let labels = &Texts::from(labels);
        self.held.values().chain(self.over.iter().rev()).find(|held| held.alert.labels == *labels).map(|held| held.alert.clone())
    }

    /// The peers lose an alert without anybody saying that it is over.
    pub(super) fn lose(&mut self, alertname: &str) {
        let lost = |held: &&Held| held.alert.label("alertname") == alertname;
        self.over.extend(self.held.values().filter(lost).cloned());
        self.held.retain(|_, held| held.alert.label("alertname") != alertname);
    }

    pub(super) fn silence(&mut self, matchers: Vec<Matcher>, by: String, until: Option<Time>) {
        self.silences.push(Silence { matchers, by, until });
    }

    pub(super) fn end_silences(&mut self) {
        self.silences.clear();
    }

    /// A peer hears nothing new any more, though it answers; or hears again.
    pub(super) fn freeze(&mut self, number: usize, frozen: bool) {
        let held = frozen.then(|| self.held.clone());
        if let Some(peer) = self.peers.get_mut(number) {
            peer.frozen = held;
        }
    }

    pub(super) fn inhibit(&mut self, source: Vec<Matcher>, target: Vec<Matcher>) {
        self.inhibitions.push((source, target));
    }

    pub(super) fn next_event(&self) -> Option<Time> {
        let news = |held: &&Held| held.said != Some(held.alert.status);
        // What is suppressed waits until it is not any more: nobody looks before.
        let is_open = self.silences.is_empty() && self.inhibitions.is_empty();
        let active = |held: &&Held| is_open || self.state(&held.alert) == PeerAlertState::Active;
        let alive = self.peers.iter().any(|peer| !peer.down);
        let flushed = self.held.values().filter(news).filter(|held| alive && active(held)).map(|held| held.flush_at);
        flushed.chain(self.silences.iter().filter_map(|silence| silence.until)).min()
    }

    /// The notifications that are due. None while a peer is down that would send them, and none for what is suppressed.
    pub(super) fn notify(&mut self, now: Time) -> Vec<Vec<u8>> {
        self.silences.retain(|silence| silence.until.is_none_or(|until| now < until));
        let alive = self.peers.iter().any(|peer| !peer.down);
        let interval = self.group_interval;
        let mut told = Vec::new();
        let states: BTreeMap<Fingerprint, PeerAlertState> =
            self.held.iter().map(|(print, held)| (*print, self.state(&held.alert))).collect();
        for (print, held) in &mut self.held {
            if held.said == Some(held.alert.status) || held.flush_at > now {
                continue;
            }
            if states.get(print) != Some(&PeerAlertState::Active) {
                continue;
            }
            held.flush_at = now + interval.max(Duration::from_secs(1));
            if !alive {
                continue;
            }
            let never_said = held.said.is_none() && held.alert.status == AlertStatus::Resolved;
            held.said = Some(held.alert.status);
            if !never_said {
                told.push(held.alert.clone());
            }
        }
        let over = |held: &Held| held.alert.status == AlertStatus::Resolved && held.said == Some(AlertStatus::Resolved);
        self.over.extend(self.held.values().filter(|held| over(held)).cloned());
        self.held.retain(|_, held| !over(held));
        // What is due together is one group.
        if told.is_empty() { Vec::new() } else { vec![body(&told, 0)] }
    }

    fn state(&self, alert: &Alert) -> PeerAlertState {
        let silences = self.silences.iter().filter(|silence| all_match_with(&silence.matchers, |name| alert.labels.get(name)));
        let by: Vec<String> = silences.map(|silence| silence.by.clone()).collect();
        if !by.is_empty() {
            return PeerAlertState::Silenced { by };
        }
        let fires = |matchers: &[Matcher]| {
            self.held.values().any(|held| {
                held.alert.status == AlertStatus::Firing
                    && held.alert.fingerprint != alert.fingerprint
                    && all_match_with(matchers, |name| held.alert.labels.get(name))
            })
        };
        let inhibits = |(source, target): &(Vec<Matcher>, Vec<Matcher>)| {
            all_match_with(target, |name| alert.labels.get(name)) && fires(source)
        };
        if self.inhibitions.iter().any(inhibits) { PeerAlertState::Inhibited } else { PeerAlertState::Active }
    }

    /// What each peer says of these alerts.
    pub(super) fn view(&self, fingerprints: &[Fingerprint], evaluated_at: Fact<Time>, now: Time) -> AlertmanagerView {
        let peers = self.peers.iter().enumerate().map(|(number, peer)| {
            let name = format!("alertmanager-{number}");
            if peer.down {
                let why = Unknown::new(UnknownKind::Unreachable, format!("{name} does not answer"));
                return Fact::unknown(why, now, name);
            }
            let empty = peer.empty && now.since(peer.up_since) < TOLD_AGAIN;
            let ours = |held: &&Held| {
                !empty && held.alert.status == AlertStatus::Firing && fingerprints.contains(&held.alert.fingerprint)
            };
            let held = peer.frozen.as_ref().unwrap_or(&self.held);
            let alerts: Vec<AlertOnPeer> = held
                .values()
                .filter(ours)
                .map(|held| AlertOnPeer {
                    occurrence: Occurrence { fingerprint: held.alert.fingerprint, starts_at: held.alert.starts_at },
                    labels: held.alert.labels.to_map(),
                    state: self.state(&held.alert),
                })
                .collect();
            let names: BTreeSet<&str> =
                alerts.iter().filter_map(|alert| alert.labels.get("alertname").map(String::as_str)).collect();
            let others = held.values().filter(|held| {
                names.contains(held.alert.label("alertname"))
                    && held.alert.status == AlertStatus::Firing
                    && !fingerprints.contains(&held.alert.fingerprint)
            });
            let others =
                others.map(|held| AlertAlike { occurrence: held.alert.occurrence(), labels: held.alert.labels.to_map() });
            let (alike, alike_left_out) = alike::nearest(&alerts, others);
            let up = now.since(peer.up_since);
            let view = PeerView { peer: name.clone(), up, alerts, watchdog_at: None, alike, alike_left_out };
            Fact::known(view, now, name)
        });
        AlertmanagerView { peers: peers.collect(), evaluated_at }
    }
}

/// A webhook body as Alertmanager sends it.
pub(super) fn body(alerts: &[Alert], truncated: u64) -> Vec<u8> {
    let status = |firing: bool| if firing { "firing" } else { "resolved" };
    let fires = |alert: &Alert| alert.status == AlertStatus::Firing;
    let list = alerts.iter().map(|alert| AlertInBody {
        status: status(fires(alert)),
        labels: &alert.labels,
        annotations: &alert.annotations,
        starts_at: alert.starts_at.to_string(),
        ends_at: alert.ends_at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |at| at.to_string()),
        generator_url: &alert.generator_url,
        fingerprint: alert.fingerprint.to_string(),
    });
    let nothing = Labels::new();
    let body = Body {
        version: "4",
        group_key: "{}:{}",
        truncated_alerts: truncated,
        status: status(alerts.iter().any(fires)),
        receiver: "backout",
        group_labels: &nothing,
        common_labels: &nothing,
        common_annotations: &nothing,
        external_url: "http://alertmanager.example:9093",
        alerts: list.collect(),
    };
    // Texts and numbers only: that is always JSON.
    serde_json::to_vec(&body).unwrap_or_default()
}

/// Not built as a tree first: a month has many of them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    version: &'a str,
    group_key: &'a str,
    truncated_alerts: u64,
    status: &'a str,
    receiver: &'a str,
    group_labels: &'a Labels,
    common_labels: &'a Labels,
    common_annotations: &'a Labels,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    alerts: Vec<AlertInBody<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AlertInBody<'a> {
    status: &'a str,
    labels: &'a Texts,
    annotations: &'a Texts,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: String,
}
