//! Whether an incident's alerts fire, as the Alertmanager peers say. "Resolved" needs proof; silence and inhibition are neither.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::incident::Incident;
use super::limits::Limits;
use crate::model::{AlertmanagerView, PeerAlertState, Time};

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
        if active {
            return Self::Firing;
        }
        if let Some(by) = silences.first() {
            return Self::Silenced((*by).to_owned());
        }
        if !held.is_empty() {
            return Self::Inhibited;
        }
        match doubt(view, now, limits) {
            Some(why) => Self::Unknown(why),
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
            Err(why) => return Some(format!("an Alertmanager peer could not be asked: {why}")),
            Ok(seen) if seen.up < limits.peer_up => {
                return Some(format!(
                    "{} has been up for {} s only, so that an empty list proves nothing",
                    seen.peer,
                    seen.up.as_secs()
                ));
            }
            Ok(_) => {}
        }
    }
    match &view.evaluated_at.value {
        Err(why) => Some(format!("whether rules are evaluated is not known: {why}")),
        Ok(at) if now.since(*at) > limits.evaluation_age => Some(format!(
            "rules were last evaluated {} s ago",
            now.since(*at).min(Duration::from_secs(u64::from(u32::MAX))).as_secs()
        )),
        Ok(_) => None,
    }
}
