//! Whether an incident's alerts fire, as the Alertmanager peers say. "Resolved" needs proof; silence and inhibition are neither.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::incident::Incident;
use super::limits::Limits;
use crate::model::{AlertmanagerView, PeerAlertState, Time};
use crate::planted::{self, Bug};

/// Whether the alerts fire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "presence", content = "detail")]
pub enum Presence {
    /// A peer holds at least one of them, active.
    Firing,
    /// A silence covers them all: a human has it.
    Silenced(String),
    /// Another alert inhibits what is left.
    Inhibited,
    /// No peer holds any, each has been up long enough, and rules are being evaluated.
    Resolved,
    /// It cannot be told.
    Unknown(String),
}

impl Presence {
    /// Judges what the peers said about the incident's alerts.
    pub fn judge(incident: &Incident, view: &AlertmanagerView, now: Time, limits: &Limits) -> Self {
        let mut held = Vec::new();
        for peer in view.peers.iter().filter_map(|peer| peer.get()) {
            let ours = |alert: &&crate::model::AlertOnPeer| {
                incident.members.values().any(|member| member.alert.fingerprint == alert.occurrence.fingerprint)
            };
            held.extend(peer.alerts.iter().filter(ours));
        }
        // A silence anywhere wins: peers gossip silences, so one that shows none may only be late.
        let silences: Vec<&str> = held
            .iter()
            .filter_map(|alert| match &alert.state {
                PeerAlertState::Silenced { by } => Some(by.first().map_or("somebody", String::as_str)),
                _ => None,
            })
            .collect();
        let silenced_prints: Vec<_> = held
            .iter()
            .filter(|a| matches!(a.state, PeerAlertState::Silenced { .. }))
            .map(|a| a.occurrence.fingerprint)
            .collect();
        let active = held
            .iter()
            .any(|alert| alert.state == PeerAlertState::Active && !silenced_prints.contains(&alert.occurrence.fingerprint));
        if active || (!held.is_empty() && planted::is(Bug::SilenceOverlooked)) {
            return Self::Firing;
        }
        if incident.asked.is_some_and(|asked| asked.outdated) {
            return Self::Unknown("an alert of it began to fire after the peers were asked".to_owned());
        }
        if let Some(by) = silences.first() {
            return Self::Silenced((*by).to_owned());
        }
        if !held.is_empty() {
            return if planted::is(Bug::InhibitionOverlooked) { Self::Firing } else { Self::Inhibited };
        }
        match doubt(view, now, limits) {
            Some(why) => Self::Unknown(why),
            None if planted::is(Bug::ResolvedTakenAsFiring) => Self::Firing,
            None => Self::Resolved,
        }
    }
}

/// Why an empty answer proves nothing, if it does not.
fn doubt(view: &AlertmanagerView, now: Time, limits: &Limits) -> Option<String> {
    if view.peers.is_empty() {
        return Some("no Alertmanager is configured to confirm it".to_owned());
    }
    for peer in &view.peers {
        match &peer.value {
            Err(_) if planted::is(Bug::DownPeerOverlooked) => {}
            Err(why) => return Some(format!("an Alertmanager peer could not be asked: {why}")),
            Ok(seen) if seen.up < limits.peer_up && !planted::is(Bug::FreshPeerBelieved) => {
                return Some(format!(
                    "{} has been up for {} s only, so that an empty list proves nothing",
                    seen.peer,
                    seen.up.as_secs()
                ));
            }
            Ok(_) => {}
        }
    }
    not_evaluated(view, now, limits)
}

/// Why it is not known that rules are being evaluated, if it is not. There are two witnesses: Prometheus itself, and the alert that
/// always fires, which a peer holds for as long as Prometheus sends it. The one that saw it last counts.
fn not_evaluated(view: &AlertmanagerView, now: Time, limits: &Limits) -> Option<String> {
    let watchdogs = view.peers.iter().filter_map(|peer| peer.get()?.watchdog_at);
    let witnesses = view.evaluated_at.value.iter().copied().chain(watchdogs);
    // A time that lies far ahead is of a clock that is not ours: how long ago that was cannot be told.
    let (ahead, seen): (Vec<Time>, Vec<Time>) = witnesses.partition(|at| at.since(now) > limits.evaluation_age);
    match (seen.into_iter().max(), ahead.first(), &view.evaluated_at.value) {
        (Some(at), _, _) if now.since(at) <= limits.evaluation_age => None,
        (Some(at), _, _) => Some(format!(
            "rules were last evaluated {} s ago",
            now.since(at).min(Duration::from_secs(u64::from(u32::MAX))).as_secs()
        )),
        (None, Some(at), _) => Some(format!(
            "rules were evaluated {} s from now by another clock: ours or that one is wrong",
            at.since(now).as_secs()
        )),
        (None, None, read) => {
            let why = read.as_ref().err().map(ToString::to_string).unwrap_or_default();
            Some(format!("whether rules are evaluated is not known: {why}; no peer holds the watchdog alert"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Fact, PeerView, Unknown, UnknownKind};

    fn at(seconds: i64) -> Time {
        Time::from_millis(1_772_442_000_000 + 1000 * seconds)
    }

    /// Seconds from now of Prometheus' last evaluation and of each peer's watchdog; `None`: unknown.
    fn doubt_of(evaluated: Option<i64>, watchdogs: &[Option<i64>]) -> Option<String> {
        let unknown = Unknown::new(UnknownKind::Empty, "it has no alerting rules");
        let peer = |watchdog: &Option<i64>| {
            let up = Duration::from_secs(3600);
            let view = PeerView { peer: "am".to_owned(), up, watchdog_at: watchdog.map(at), ..PeerView::default() };
            Fact::known(view, at(0), "am")
        };
        let evaluated_at = match evaluated {
            Some(seconds) => Fact::known(at(seconds), at(0), "prometheus"),
            None => Fact::unknown(unknown, at(0), "prometheus"),
        };
        let view = AlertmanagerView { peers: watchdogs.iter().map(peer).collect(), evaluated_at };
        doubt(&view, at(0), &Limits::default())
    }

    #[test]
    fn either_witness_is_enough_and_the_newer_one_counts() {
        for (evaluated, watchdogs) in [
            (Some(-120), &[None][..]),
            (None, &[Some(-120)]),
            (Some(-3000), &[Some(-30)]),
            (Some(-30), &[Some(-3000)]),
            (None, &[Some(-3000), Some(-30)]),
            (None, &[None, Some(-30)]),
            (Some(60), &[None]),
            (Some(120), &[None]),
        ] {
            assert_eq!(doubt_of(evaluated, watchdogs), None, "{evaluated:?} {watchdogs:?}");
        }
    }

    #[test]
    fn what_no_witness_saw_lately_is_not_known() {
        for (evaluated, watchdogs, words) in [
            (None, &[None][..], "is not known: it has no alerting rules; no peer holds the watchdog alert"),
            (Some(-121), &[None], "last evaluated 121 s ago"),
            (None, &[Some(-121)], "last evaluated 121 s ago"),
            (Some(-500), &[Some(-300), Some(-400)], "last evaluated 300 s ago"),
            // A clock that is ahead must not make what was seen an hour ago look new.
            (Some(121), &[None], "121 s from now by another clock"),
            (Some(3600), &[None], "3600 s from now by another clock"),
            (None, &[Some(3600)], "3600 s from now by another clock"),
            (Some(-500), &[Some(3600)], "last evaluated 500 s ago"),
        ] {
            let why = doubt_of(evaluated, watchdogs).unwrap_or_default();
            assert!(why.contains(words), "{evaluated:?} {watchdogs:?}: {why:?}");
        }
    }
    #[test]
    fn a_peer_proves_something_once_it_has_been_up_long_enough() {
        let limits = Limits::default();
        let moment = Duration::from_millis(1);
        let just = "am has been up for 599 s only, so that an empty list proves nothing".to_owned();
        for (up, why) in [(limits.peer_up - moment, Some(just)), (limits.peer_up, None), (limits.peer_up + moment, None)] {
            let peer = PeerView { peer: "am".to_owned(), up, ..PeerView::default() };
            let evaluated_at = Fact::known(at(0), at(0), "prometheus");
            let view = AlertmanagerView { peers: vec![Fact::known(peer, at(0), "am")], evaluated_at };
            assert_eq!(doubt(&view, at(0), &limits), why, "{up:?}");
        }
    }
}
