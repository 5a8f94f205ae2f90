//! Alerts as they came in, owned. The borrowed parse of the acknowledgement path is `journal/wire.rs`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Fingerprint, Texts, Time};

/// Label or annotation names and values. A missing name means the empty value, as in Alertmanager.
pub type Labels = BTreeMap<String, String>;

/// Whether the sender says that an alert fires. Trust this, never `endsAt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertStatus {
    /// The condition holds.
    Firing,
    /// The sender believes that it is over; weak evidence (a timeout looks the same).
    Resolved,
}

/// Who delivered a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Prometheus Alertmanager, webhook version "4".
    Alertmanager,
    /// Grafana's own alerting.
    Grafana,
}

impl Source {
    /// The name in metrics and paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alertmanager => "alertmanager",
            Self::Grafana => "grafana",
        }
    }
}

/// One firing of one label set: what deduplication and counting go by. `startsAt` is cut to milliseconds, because the API
/// cuts it there and the webhook does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Occurrence {
    /// Which label set.
    pub fingerprint: Fingerprint,
    /// Which firing of it.
    pub starts_at: Time,
}

impl fmt::Display for Occurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.fingerprint, self.starts_at)
    }
}

/// One alert of a notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// As sent, or computed when the sender left it out.
    pub fingerprint: Fingerprint,
    /// The alert's own status; the envelope's is never used.
    pub status: AlertStatus,
    /// Untrusted text from the sender.
    pub labels: Texts,
    /// Untrusted text from the sender; changes between re-sends.
    pub annotations: Texts,
    /// When it began to fire (after the rule's `for`).
    pub starts_at: Time,
    /// When it ended, for a resolved one whose sender said so.
    pub ends_at: Option<Time>,
    /// Link to the rule's graph; may be empty.
    #[serde(default)]
    pub generator_url: String,
}

impl Alert {
    /// The key that this alert is deduplicated by.
    pub fn occurrence(&self) -> Occurrence {
        Occurrence { fingerprint: self.fingerprint, starts_at: self.starts_at }
    }

    /// A label's value, `""` when it is missing.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).unwrap_or_default()
    }
}

/// One delivered webhook body, read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Which endpoint took it.
    pub source: Source,
    /// The sender's receiver name, regexp-quoted as Alertmanager sends it.
    pub receiver: String,
    /// How many alerts were cut from the list. Above 0, absence means nothing.
    pub truncated: u64,
    /// The alerts, in the sender's order.
    pub alerts: Vec<Alert>,
}
