//! How far a rollout is, by our own predicate. Pure: what was read is an argument.

use std::time::Duration;

use crate::model::{Digest, Resolution, RolloutStatus, Time};

/// How long pods may fail to be created before the rollout counts as failed. A full quota refuses the surge of a rollout until the
/// pods of the other release have gone, and then lets it go on.
const CREATION_GRACE: Duration = Duration::from_secs(30);

/// Judges the rollout to `release` from a live read of the target. `cannot_create`: since when, and why, pods of the current
/// ReplicaSet cannot be created. The Progressing condition is not asked: after an undo it is about the other release.
pub fn judge(read: Resolution, cannot_create: Option<(Time, String)>, release: &Digest, now: Time) -> RolloutStatus {
    let workload = match read {
        Resolution::Found { workload } => workload,
        Resolution::Unresolved { .. } => return RolloutStatus::Gone,
        Resolution::Unknown { why } => return RolloutStatus::Unknown { why },
    };
    if workload.release != *release {
        let by = workload.writes.iter().filter(|write| write.template).max_by_key(|write| write.at);
        return RolloutStatus::Superseded { release: workload.release.clone(), by: by.map(|write| write.manager.clone()) };
    }
    if workload.complete() {
        return RolloutStatus::Complete;
    }
    let counts = workload.replicas;
    let failing = cannot_create.filter(|(since, _)| now.since(*since) >= CREATION_GRACE);
    if let Some((since, why)) = failing.filter(|_| workload.observed_generation >= workload.generation) {
        return RolloutStatus::Failed { detail: format!("pods cannot be created since {since}: {why}") };
    }
    let detail = if workload.observed_generation < workload.generation {
        "the Deployment controller has not seen the write yet".to_owned()
    } else if counts.desired == 0 {
        "scaled to zero: nothing runs that could prove it".to_owned()
    } else {
        format!("{} of {} updated, {} available, {} in all", counts.updated, counts.desired, counts.available, counts.total)
    };
    RolloutStatus::Progressing { detail }
}
