//! Stands in until the ledger and its brakes are judged: knows nothing, and what rests on it holds.
use super::Scene;
use crate::decide::book::History;
use crate::decide::decision::Judgement;
use crate::model::{Brake, Digest, Time, Workload};
pub(super) fn judge(_scene: &Scene<'_>) -> Judgement {
    Judgement::blind(Brake::RecentChange, "not judged yet")
}
/// The change that put a release on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its first write.
    pub first_write: Time,
    /// When its rollout completed; `None` while it has not.
    pub landed_at: Option<Time>,
    /// Who made it.
    pub by: Option<String>,
    /// Whether we made it: then it is no change.
    pub by_us: bool,
    /// The release before it.
    pub old: Option<Digest>,
}
/// The change that put `release` on the target.
pub fn change(_release: &Digest, _workload: &Workload, _history: Option<&History>) -> Option<Change> {
    None
}
