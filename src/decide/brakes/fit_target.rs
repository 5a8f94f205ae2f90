//! Stands in until the ledger and its brakes are judged: knows nothing, and what rests on it holds.
use super::Scene;
use crate::decide::decision::Judgement;
use crate::model::{Brake, ReleaseRef};
pub(super) fn judge(_scene: &Scene<'_>) -> Judgement {
    Judgement::blind(Brake::FitTarget, "not judged yet")
}
/// The release to go back to, or why none is fit.
pub fn choose(_scene: &Scene<'_>) -> Result<ReleaseRef, Judgement> {
    Err(Judgement::blind(Brake::FitTarget, "not judged yet"))
}
