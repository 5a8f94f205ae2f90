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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Owner, ReplicaSetSeen, Replicas, Strategy, TargetId, TargetRef, Unknown, UnknownKind, Workload};

    fn workload(available: i32) -> Workload {
        let at = TargetRef::deployment("shop", "web").expect("names");
        let set = ReplicaSetSeen {
            name: "web-1".into(),
            uid: "s1".into(),
            digest: Digest("v1:a".into()),
            revision: 3,
            created_at: Time::default(),
            desired: 2,
            available,
            images: Vec::new(),
            image_digests: std::collections::BTreeMap::new(),
            data_barrier: None,
        };
        Workload {
            id: TargetId { at, uid: "d1".into() },
            generation: 5,
            observed_generation: 5,
            replicas: Replicas { desired: 2, total: 2, updated: 2, available },
            paused: false,
            strategy: Strategy::Rolling,
            release: Digest("v1:a".into()),
            images: Vec::new(),
            landed_at: None,
            owner: Owner::Plain,
            pause: None,
            writes: Vec::new(),
            last_rollback: None,
            replica_sets: vec![set],
            migrations: Ok(Vec::new()),
        }
    }

    fn judged(workload: Workload, cannot_create: Option<(Time, String)>, release: &str) -> RolloutStatus {
        let now = Time::from_millis(100_000);
        judge(Resolution::Found { workload: Box::new(workload) }, cannot_create, &Digest(release.into()), now)
    }

    #[test]
    fn complete_only_when_the_controller_has_seen_it() {
        assert_eq!(judged(workload(2), None, "v1:a"), RolloutStatus::Complete);
        let mut unseen = workload(2);
        unseen.generation = 6;
        assert!(matches!(judged(unseen, None, "v1:a"), RolloutStatus::Progressing { .. }));
        assert!(matches!(judged(workload(2), None, "v1:b"), RolloutStatus::Superseded { .. }));
        let mut none = workload(0);
        none.replicas = Replicas::default();
        assert!(matches!(judged(none, None, "v1:a"), RolloutStatus::Progressing { .. }), "zero pods prove nothing");
    }

    #[test]
    fn pods_that_cannot_be_created_fail_it_after_a_while() {
        let since = |millis: i64| Some((Time::from_millis(millis), "quota".to_owned()));
        assert!(matches!(judged(workload(0), since(90_000), "v1:a"), RolloutStatus::Progressing { .. }));
        assert!(matches!(judged(workload(0), since(60_000), "v1:a"), RolloutStatus::Failed { .. }));
        assert_eq!(judged(workload(2), since(60_000), "v1:a"), RolloutStatus::Complete);
    }

    #[test]
    fn what_is_not_seen_is_said_to_be_unseen() {
        let release = Digest("v1:a".into());
        let why = Unknown::new(UnknownKind::Unreachable, "down");
        let unknown = judge(Resolution::Unknown { why: why.clone() }, None, &release, Time::default());
        assert_eq!(unknown, RolloutStatus::Unknown { why });
        let gone = judge(Resolution::Unresolved { why: "gone".into() }, None, &release, Time::default());
        assert_eq!(gone, RolloutStatus::Gone);
    }
}
