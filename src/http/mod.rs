//! L3: what comes in over HTTP: webhooks, the API, metrics and probes. Must not decide: it takes, commits and hands on.

mod admin;
mod api;
pub mod auth;
mod body;
mod book;
mod error;
mod log_level;
mod server;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::metrics::Metrics;
use crate::ports::{Clock, Control, LogLevel, Received, Store};

use auth::Tokens;
pub use server::Server;

/// What the HTTP side is told by the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// The cluster that we are responsible for, by the label `cluster`.
    pub cluster: Option<String>,
    /// The greatest webhook body, in bytes.
    pub body_limit: usize,
    /// Bytes of webhook bodies that may be held at once, from the first one read to the engine's taking the receipt.
    pub bytes_in_flight: usize,
    /// How many connections are served at once.
    pub connections: usize,
    /// How long a request's head may take; a kept-alive connection is closed after it, too.
    pub head_deadline: Duration,
    /// How long a whole body may take.
    pub body_deadline: Duration,
    /// How long the journal may take before the sender is told to try again.
    pub commit_deadline: Duration,
    /// How long a reader of ours may take nothing before it is cut off.
    pub write_deadline: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            cluster: None,
            body_limit: 32 << 20,
            bytes_in_flight: 128 << 20,
            connections: 8192,
            head_deadline: Duration::from_secs(120),
            body_deadline: Duration::from_secs(10),
            commit_deadline: Duration::from_secs(5),
            write_deadline: Duration::from_secs(30),
        }
    }
}

/// Called before metrics are shown, to set what is only known when asked for.
pub type BeforeScrape = Arc<dyn Fn(&Metrics) + Send + Sync>;

/// What the HTTP side works with.
pub struct Parts {
    /// Where receipts are committed.
    pub store: Arc<dyn Store>,
    /// Where committed receipts go. When the server has ended, no sender of its own is left.
    pub inbox: mpsc::Sender<Received>,
    /// Who answers the API.
    pub control: Arc<dyn Control>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who may do what.
    pub tokens: Arc<Tokens>,
    /// Limits.
    pub settings: HttpSettings,
    /// Called before metrics are shown.
    pub before_scrape: Option<BeforeScrape>,
    /// What is logged, where that can be changed.
    pub log_level: Option<Arc<dyn LogLevel>>,
}

/// What handlers share.
struct Shared {
    webhook: webhook::Webhook,
    control: Arc<dyn Control>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    tokens: Arc<Tokens>,
    body_deadline: Duration,
    before_scrape: Option<BeforeScrape>,
    log_level: Option<Arc<dyn LogLevel>>,
}
