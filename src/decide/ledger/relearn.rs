//! What a live read of the target tells the ledger: guesses, for a ledger that was not there to see.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{GRAIN, RELEASES, bound};
use crate::decide::book::{History, Release};
use crate::model::{ReplicaSetSeen, Time, Workload};

/// Adds what a live read of the target tells and the ledger does not know. Its health is a guess from creation times and is
/// marked as such.
pub fn relearn(history: &mut History, workload: &Workload, at: Time) {
    if !history.uid.is_empty() && history.uid != workload.id.uid {
        // Another object of the same name: the watch says so, and begins anew.
        return;
    }
    history.uid.clone_from(&workload.id.uid);
    for rs in &workload.replica_sets {
        if let Some(known) = history.releases.iter_mut().find(|known| known.digest == rs.digest) {
            // Pods come and go; what was seen of them once stays known.
            known.image_digests.extend(rs.image_digests.iter().map(|(name, digest)| (name.clone(), digest.clone())));
        }
    }
    if history.releases.is_empty() {
        history.releases.extend(current(workload, at));
    }
    if history.releases.is_empty() {
        // The release that runs has no ReplicaSet yet; the next read tells.
        return;
    }
    came_back_unseen(history, workload);
    for (i, rs) in workload.replica_sets.iter().enumerate() {
        if rs.digest == workload.release || history.release(&rs.digest).is_some() {
            continue;
        }
        let next = workload.replica_sets[i + 1..].iter().find(|next| next.digest != rs.digest);
        let entry = relearned(rs, next);
        let last = history.releases.len().saturating_sub(1);
        let place = history.releases[..last].iter().position(|known| known.live_since > entry.live_since).unwrap_or(last);
        history.releases.insert(place, entry);
    }
    bound(&mut history.releases, RELEASES);
}

/// What a ReplicaSet of the past tells: it ran from its creation to that of the next one. One that was renumbered because it came
/// back tells nothing, and neither does the one before it.
fn relearned(rs: &ReplicaSetSeen, next: Option<&ReplicaSetSeen>) -> Release {
    let until = next.map(|next| next.created_at).filter(|until| *until > rs.created_at);
    Release {
        digest: rs.digest.clone(),
        images: rs.images.clone(),
        image_digests: rs.image_digests.clone(),
        replica_set: Some(rs.name.clone()),
        live_since: rs.created_at,
        landed_at: None,
        available_since: None,
        healthy: until.map_or(Duration::ZERO, |until| until.since(rs.created_at)),
        last_available: until,
        watched: false,
        by: None,
        by_us: false,
        bad: None,
        alerts: BTreeMap::new(),
    }
}

/// The release that runs, of a target that the ledger knows nothing of.
fn current(workload: &Workload, at: Time) -> Option<Release> {
    let rs = workload.current()?;
    let landed_at = workload.landed_at.filter(|_| workload.complete()).map(|landed| landed.max(rs.created_at));
    let write = workload.writes.iter().filter(|write| write.template).max_by_key(|write| write.at);
    Some(Release {
        landed_at,
        available_since: landed_at,
        last_available: landed_at.map(|_| at),
        by: write.map(|write| write.manager.clone()),
        by_us: returned(rs, workload) && workload.last_rollback.is_some(),
        ..relearned(rs, None)
    })
}

/// Another release was made since the current one went live, as far as we knew: then that one came back unseen, after the other
/// was made and after the last write that anybody made.
fn came_back_unseen(history: &mut History, workload: &Workload) {
    let Some(current) = history.releases.last_mut().filter(|current| current.digest == workload.release) else { return };
    let others = workload.replica_sets.iter().filter(|other| other.digest != workload.release).map(|other| other.created_at);
    let Some(made) = others.max().filter(|made| *made > current.live_since + GRAIN) else { return };
    let written = workload.writes.iter().filter(|write| write.template).map(|write| write.at).max();
    let since = written.map_or(made, |written| made.max(written));
    current.live_since = since;
    current.landed_at = current.landed_at.map(|landed| landed.max(since));
    current.available_since = current.available_since.map(|available| available.max(since));
}

fn returned(rs: &ReplicaSetSeen, workload: &Workload) -> bool {
    workload.replica_sets.iter().any(|other| other.digest != rs.digest && other.created_at > rs.created_at)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, digest, event, last, minutes, target};
    use super::super::watched;
    use super::*;
    use crate::model::{Owner, Replicas, Strategy, WatchEvent, Write};

    #[test]
    fn one_that_came_back_in_a_gap_is_not_taken_for_an_old_one() {
        let mut history = History::default();
        watched(&mut history, &event("a", 0, true), at(0));
        watched(&mut history, &WatchEvent { relearned: true, ..event("a", 0, true) }, at(400));
        relearn(&mut history, &workload(&[("b", 300), ("a", 0)], "a"), at(400));
        assert_eq!((last(&history).digest.clone(), last(&history).live_since), (digest("a"), at(300)));
        assert_eq!(history.releases.len(), 2);
    }

    #[test]
    fn another_object_is_left_to_the_watch() {
        let mut history = History { uid: "u0".to_owned(), ..History::default() };
        relearn(&mut history, &workload(&[("a", 0)], "a"), at(9));
        assert_eq!(history, History { uid: "u0".to_owned(), ..History::default() });
        // No ReplicaSet of what runs: nothing stands last yet.
        let mut history = History::default();
        relearn(&mut history, &workload(&[("a", 0)], "b"), at(9));
        assert!(history.releases.is_empty());
    }

    #[test]
    fn a_live_read_tells_what_the_ledger_does_not_know() {
        let mut history = History::default();
        relearn(&mut history, &workload(&[("a", 0), ("b", 300), ("c", 360)], "c"), at(400));
        let order: Vec<_> = history.releases.iter().map(|release| release.digest.clone()).collect();
        assert_eq!(order, [digest("a"), digest("b"), digest("c")]);
        let first = &history.releases[0];
        assert_eq!((first.healthy, first.last_available, first.watched), (minutes(300), Some(at(300)), false));
        assert_eq!((last(&history).live_since, last(&history).available_since), (at(360), Some(at(362))));
        // `a` came back: its ReplicaSet stands last, and nobody knows how long `b` ran.
        let mut history = History::default();
        relearn(&mut history, &workload(&[("b", 300), ("a", 0)], "a"), at(400));
        assert_eq!(last(&history).live_since, at(300));
        assert_eq!(history.releases[0].last_available, None);
        // What the watch saw is left as it is.
        let mut history = History::default();
        watched(&mut history, &event("b", 300, true), at(300));
        let before = last(&history).clone();
        relearn(&mut history, &workload(&[("a", 0), ("b", 300)], "b"), at(400));
        assert_eq!((history.releases.len(), last(&history)), (2, &before));
    }

    fn letters(history: &History) -> String {
        history.releases.iter().map(|release| release.digest.0.trim_start_matches("v1:")).collect()
    }

    #[test]
    fn image_digests_are_remembered_of_the_release_whose_pods_had_them() {
        let mut history = History::default();
        let mut seen = workload(&[("a", 0), ("b", 300)], "b");
        relearn(&mut history, &seen, at(400));
        seen.replica_sets[0].image_digests.insert("web".to_owned(), "sha256:1".to_owned());
        relearn(&mut history, &seen, at(401));
        let known: Vec<_> = history.releases.iter().map(|release| release.image_digests.len()).collect();
        assert_eq!(known, [1, 0]);
    }

    #[test]
    fn releases_stand_in_the_order_in_which_they_were_made() {
        for (sets, order) in [
            (&[("b", 300), ("a", 0), ("c", 360)], "abc"),
            // Made in the same second: as the cluster numbers them.
            (&[("a", 0), ("b", 0), ("c", 360)], "abc"),
        ] {
            let mut history = History::default();
            relearn(&mut history, &workload(sets, "c"), at(400));
            assert_eq!(letters(&history), order, "{sets:?}");
        }
        let mut history = History::default();
        relearn(&mut history, &workload(&[("a", 0), ("b", 0), ("c", 360)], "c"), at(400));
        assert_eq!(history.releases[0].last_available, None, "nobody saw it run for any time");
        assert_eq!(history.releases[1].last_available, Some(at(360)));
    }

    #[test]
    fn of_what_runs_the_cluster_tells_when_it_landed_and_whose_it_is() {
        let mut history = History::default();
        relearn(&mut history, &workload(&[("a", 0), ("b", 300)], "b"), at(400));
        let known = last(&history);
        assert_eq!((known.landed_at, known.last_available), (Some(at(302)), Some(at(400))));
        assert_eq!(known.by.as_deref(), Some("ci"));
        // Ours where it came back, and where the last rollback is ours.
        for (sets, rolled_back, ours) in [
            ([("a", 0), ("b", 300)], true, false),
            ([("b", 300), ("a", 300)], true, false),
            ([("b", 300), ("a", 0)], true, true),
            ([("b", 300), ("a", 0)], false, false),
        ] {
            let runs = sets[1].0;
            let last_rollback = rolled_back.then(|| "i1".to_owned());
            let mut history = History::default();
            relearn(&mut history, &Workload { last_rollback, ..workload(&sets, runs) }, at(400));
            assert_eq!(last(&history).by_us, ours, "{sets:?}, rolled back: {rolled_back}");
        }
    }

    #[test]
    fn another_release_made_in_the_same_second_is_no_sign_of_a_return() {
        for after in [0, 1, 2] {
            let mut history = History::default();
            watched(&mut history, &event("a", 0, true), at(0));
            let made = at(0) + Duration::from_secs(after);
            let mut seen = workload(&[("b", 0), ("a", 0)], "a");
            (seen.replica_sets[0].created_at, seen.writes[0].at) = (made, made);
            relearn(&mut history, &seen, at(400));
            assert_eq!(last(&history).live_since, if after > 1 { made } else { at(0) }, "made {after} s later");
        }
    }

    fn workload(sets: &[(&str, i64)], release: &str) -> Workload {
        let set = |(i, (name, created)): (usize, &(&str, i64))| ReplicaSetSeen {
            name: format!("web-{name}"),
            uid: format!("rs-{name}"),
            digest: digest(name),
            revision: i as u64 + 1,
            created_at: at(*created),
            desired: if *name == release { 3 } else { 0 },
            available: if *name == release { 3 } else { 0 },
            images: vec![format!("web:{name}")],
            image_digests: BTreeMap::new(),
            data_barrier: None,
        };
        let newest = sets.iter().map(|(_, created)| *created).max().unwrap_or(0);
        Workload {
            id: target(),
            generation: 1,
            observed_generation: 1,
            replicas: Replicas { desired: 3, total: 3, updated: 3, available: 3 },
            paused: false,
            strategy: Strategy::Rolling,
            release: digest(release),
            images: vec![format!("web:{release}")],
            landed_at: Some(at(newest + 2)),
            owner: Owner::Plain,
            pause: None,
            writes: vec![Write { manager: "ci".to_owned(), at: at(newest), template: true }],
            last_rollback: None,
            replica_sets: sets.iter().enumerate().map(set).collect(),
            migrations: Ok(Vec::new()),
        }
    }
}
