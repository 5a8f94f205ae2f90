//! L3: writing to a cluster: preflight, the guarded write of a step, evidence before it, the rollout's end, Events. An executor may
//! refuse a plan, never choose in it. Nothing here decides, and nothing is retried.

mod ask;
mod event;
mod evidence;
mod logs;
mod patch;
mod preflight;
mod proof;
mod redact;
mod references;
mod rollout;
mod template_diff;
mod writer;

pub use redact::redact;
pub use rollout::judge;
pub use writer::{ClusterWriter, WriterSettings};
