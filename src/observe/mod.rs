//! L3: what the outside looks like. The cluster: live reads past every cache (`ClusterReader`), and the watch that feeds the ledger
//! of releases (`ClusterWatch`). Alertmanager's peers, Prometheus, health URLs. Nothing here decides, and nothing here writes.

mod alertmanager;
mod ask;
mod cache;
mod follow;
mod http;
mod live;
mod migrations;
mod outbox;
mod probe;
mod prometheus;
mod rules;
#[cfg(test)]
mod tests;
mod watch;
mod workload;

pub use alertmanager::{AlertmanagerClient, WATCHDOG};
pub use live::ClusterReader;
pub use probe::HttpProbeClient;
pub use prometheus::{PrometheusClient, PrometheusLimits};
pub use rules::look_back;
pub use watch::{ClusterWatch, WatchSettings, WatchStatus};
