//! L3: what the cluster looks like. Live reads past every cache (`ClusterReader`), and the watch that feeds the ledger of releases
//! (`ClusterWatch`). Nothing here writes to a cluster.

mod ask;
mod cache;
mod follow;
mod live;
mod outbox;
mod watch;
mod workload;

pub use live::ClusterReader;
pub use watch::{ClusterWatch, WatchSettings, WatchStatus};
