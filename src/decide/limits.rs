//! The times that the product fixes. Settings may change them (a test world is faster than production); policies may not.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A veto holds the target for this long at least. Not a setting: folding an old journal must give the same book.
pub const VETO: Duration = Duration::from_secs(4 * 60 * 60);

/// How long it counts that a person said yes, or that nobody vetoed. They expect the rollback now, and go on by themselves if nothing
/// happens. What preflight and the second look may take fits in some times over.
pub const ALLOWED_FOR: Duration = Duration::from_secs(10 * 60);

/// What did not come back after this long will not: every effect is bounded by less, and so is a request inside an API server
/// (`--request-timeout`, one minute unless it is changed).
pub const LOST: Duration = Duration::from_secs(120);

/// Times and bounds of the incident's life. See `docs/` for what each means to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// No alert must fire for this long, confirmed, before an incident closes.
    pub close_after: Duration,
    /// Without evidence either way for this long, an incident expires.
    pub expire_after: Duration,
    /// A peer that was started less than this ago proves nothing by an empty list.
    pub peer_up: Duration,
    /// Rules must have been evaluated within this.
    pub evaluation_age: Duration,
    /// What is unknown is asked for again for this long in all.
    pub patience: Duration,
    /// How often a waiting incident is looked at.
    pub watch_every: Duration,
    /// How often a proof is gathered.
    pub verify_every: Duration,
    /// A page that nobody acknowledged is sent again after this.
    pub remind_every: Duration,
    /// A page joins one with the same cause that was opened less than this ago.
    pub fold_within: Duration,
    /// Pages that joined another one are listed in its next message after this.
    pub fold_gather: Duration,
    /// The tail where neither Prometheus nor the policy says.
    pub tail: Duration,
    /// The live read of the target may be this old.
    pub target_age: Duration,
    /// Closed incidents are forgotten after this.
    pub forget_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Self {
            close_after: minutes(10),
            expire_after: minutes(24 * 60),
            peer_up: minutes(10),
            evaluation_age: minutes(2),
            patience: Duration::from_secs(30),
            watch_every: minutes(1),
            verify_every: Duration::from_secs(5),
            remind_every: minutes(30),
            fold_within: minutes(2),
            fold_gather: Duration::from_secs(15),
            tail: minutes(10),
            target_age: Duration::from_secs(30),
            forget_after: minutes(7 * 24 * 60),
        }
    }
}

/// What is asked for again waits 1, 2, 4, 8, then 15 s.
pub fn backoff(tries: u32) -> Duration {
    Duration::from_secs([1, 2, 4, 8].get(tries as usize).copied().unwrap_or(15))
}
