//! `permission`: not judged yet; until it is, it is blind and holds.

use super::Scene;
use crate::decide::decision::Judgement;
use crate::model::Brake;

pub(super) fn judge(_scene: &Scene<'_>) -> Judgement {
    Judgement::blind(Brake::Permission, "not judged yet")
}
