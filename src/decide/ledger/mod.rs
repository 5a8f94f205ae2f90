//! The ledger of a target's releases: what ran when, for how long it was seen healthy, and what was rolled back. Folded from
//! what the watch saw; judged by the brakes, never here.

use std::collections::BTreeMap;
use std::time::Duration;

use super::book::{History, PastRollback, Release};
use super::incident::Lane;
use crate::model::{Digest, Time, WatchEvent};
use crate::planted::{self, Bug};
use crate::policy::types::ROLLBACKS;

mod posted;
mod relearn;

pub use posted::{behind_barrier, posted};
pub use relearn::relearn;

/// Releases kept of a target. The one that runs is never dropped.
const RELEASES: usize = 20;
/// Alert names kept of a release.
const ALERTS: usize = 50;
/// Once a release was watched for so long, what was only re-learned of it is dropped for what was seen.
const WATCHED: Duration = Duration::from_secs(30 * 60);
/// The API server keeps whole seconds.
const GRAIN: Duration = Duration::from_secs(1);

/// Folds what the watch saw into what is known of the target.
pub fn watched(history: &mut History, event: &WatchEvent, at: Time) {
    if history.uid != event.target.uid {
        if event.gone {
            return;
        }
        renew(history, &event.target.uid);
    }
    if event.gone {
        close(history, at);
        history.watched_since = None;
        return;
    }
    if history.releases.last().is_none_or(|current| current.digest != event.release) {
        replace(history, event, at);
    }
    refresh(history, event);
    if event.available {
        open(history, event, at);
    } else {
        close(history, at);
    }
    // Last: what is closed above counts from the old begin.
    if event.relearned {
        history.watched_since = Some(at);
    }
    history.watched_since.get_or_insert(at);
}

/// We stopped watching at that time: what was available until then is counted, and no longer. Called for every target when a gap
/// is noted, before the watch tells what it found after it.
pub fn interrupted(history: &mut History, at: Time) {
    close(history, at);
}

/// The watch heard nothing in that time, and what it told after it may be folded already: health in it is not counted. What was
/// only re-learned is the cluster's word, which does not rest on watching.
pub fn unwatched(history: &mut History, from: Time, to: Time) {
    let Some(current) = history.releases.last_mut().filter(|release| release.watched) else { return };
    if let Some(since) = current.available_since.filter(|since| *since < to) {
        current.healthy += from.since(since);
        current.available_since = Some(to);
    }
}

/// An alert fired while that release ran.
pub fn alert_fired(history: &mut History, digest: &Digest, alertname: &str, at: Time) {
    let Some(release) = entry(history, digest) else { return };
    let last = release.alerts.entry(alertname.to_owned()).or_insert(at);
    *last = at.max(*last);
    while release.alerts.len() > ALERTS {
        let oldest = release.alerts.iter().min_by_key(|(_, at)| **at).map(|(name, _)| name.clone());
        oldest.map(|name| release.alerts.remove(&name));
    }
}

/// That release was rolled back from, by an incident or a person: it is never gone back to. The first mark stays.
pub fn mark_bad(history: &mut History, digest: &Digest, by: &str, at: Time) {
    if let Some(release) = entry(history, digest).filter(|_| !planted::is(Bug::KnownBadForgotten)) {
        release.bad.get_or_insert_with(|| (at, by.to_owned()));
    }
}

/// Writes a rollback down.
pub fn rolled_back(history: &mut History, rollback: PastRollback) {
    history.rollbacks.push(rollback);
    bound(&mut history.rollbacks, ROLLBACKS);
}

/// Another object has the name. Its releases are unknown; what calms the target down (rollbacks, damping, a veto) stays, so that
/// nobody refills an allowance by deleting a Deployment.
fn renew(history: &mut History, uid: &str) {
    history.releases.clear();
    history.watched_since = None;
    uid.clone_into(&mut history.uid);
}

/// Another release is there: the one that ran is closed, the new one stands last.
fn replace(history: &mut History, event: &WatchEvent, at: Time) {
    // The old release ended when the new one was written, not when we came back after a gap, or were told of it.
    let is_new = history.releases.last().is_none_or(|previous| previous.live_since + GRAIN < event.first_write);
    let told_late = is_new && event.first_write + GRAIN < at;
    let end = if event.relearned || told_late { event.first_write.min(at) } else { at };
    close(history, end);
    let previous = history.releases.last().cloned();
    let known = history.releases.iter().position(|release| release.digest == event.release);
    // A ReplicaSet that is older than the release before came back: its creation says nothing about when.
    let older = previous.as_ref().is_some_and(|previous| event.first_write + GRAIN <= previous.live_since);
    let returned = known.is_some() || older;
    let live_since = if returned && previous.as_ref().is_some_and(|p| event.first_write <= p.live_since + GRAIN) {
        at
    } else {
        event.first_write
    };
    let mut release = known.map_or_else(|| blank(event), |place| history.releases.remove(place));
    // A release that was rolled back from and is put there again was not gone back to.
    let back = returned && !event.by_us && release.bad.is_none();
    if known.is_some() && !release.watched && !event.relearned {
        release.watched = true;
        release.healthy = Duration::ZERO;
    }
    release.live_since = live_since;
    release.landed_at = None;
    release.available_since = None;
    release.by.clone_from(&event.by);
    release.by_us = event.by_us;
    history.releases.push(release);
    bound(&mut history.releases, RELEASES);
    if let Some(previous) = previous.filter(|_| back) {
        let who = event.by.as_deref().unwrap_or("a person");
        mark_bad(history, &previous.digest, who, at);
        let (from, to) = (previous.digest, event.release.clone());
        let lane = Lane::Live.key().to_owned();
        rolled_back(history, PastRollback { lane, incident: None, from, to, at, ended_at: Some(at) });
    }
}

/// What may be told of the current release at any time.
fn refresh(history: &mut History, event: &WatchEvent) {
    let before = history.releases.iter().rev().nth(1).map(|release| release.live_since);
    let Some(current) = history.releases.last_mut() else { return };
    current.images.clone_from(&event.images);
    if event.replica_set.is_some() {
        current.replica_set.clone_from(&event.replica_set);
    }
    if current.by.is_none() {
        current.by.clone_from(&event.by);
    }
    // The ReplicaSet was there before the watch told of it; one of an earlier life says nothing.
    if event.first_write < current.live_since && before.is_none_or(|before| event.first_write > before + GRAIN) {
        current.live_since = event.first_write;
    }
}

/// The current release is fully available.
fn open(history: &mut History, event: &WatchEvent, at: Time) {
    let Some(current) = history.releases.last_mut() else { return };
    if current.available_since.is_some() {
        current.last_available = current.last_available.max(Some(at));
        return;
    }
    let told = event.landed_at.filter(|_| event.relearned).map_or(at, |told| told.min(at)).max(current.live_since);
    current.landed_at.get_or_insert(told);
    // Of a release that is watched only what was seen counts; of another, what the cluster says.
    // Never the same time twice.
    let uncounted = current.last_available.map_or(told, |counted| told.max(counted));
    current.available_since = Some(if current.watched { at } else { uncounted });
    current.last_available = Some(at);
}

/// The current release is not fully available any more, or is not the current one.
fn close(history: &mut History, at: Time) {
    let seen_from = history.watched_since;
    let Some(current) = history.releases.last_mut() else { return };
    let Some(since) = current.available_since.take() else { return };
    let at = at.max(since);
    current.last_available = Some(at);
    let seen = seen_from.map_or(Duration::ZERO, |from| at.since(from.max(since)));
    if !current.watched && seen >= WATCHED {
        current.watched = true;
        current.healthy = seen;
    } else {
        current.healthy += at.since(since);
    }
}

fn blank(event: &WatchEvent) -> Release {
    Release {
        digest: event.release.clone(),
        images: event.images.clone(),
        image_digests: BTreeMap::new(),
        replica_set: event.replica_set.clone(),
        live_since: event.first_write,
        landed_at: None,
        available_since: None,
        healthy: Duration::ZERO,
        last_available: None,
        watched: !event.relearned,
        by: event.by.clone(),
        by_us: event.by_us,
        bad: None,
        alerts: BTreeMap::new(),
    }
}

fn entry<'a>(history: &'a mut History, digest: &Digest) -> Option<&'a mut Release> {
    history.releases.iter_mut().find(|release| release.digest == *digest)
}

/// Forgets the oldest.
fn bound<T>(list: &mut Vec<T>, most: usize) {
    list.drain(..list.len().saturating_sub(most));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{TargetId, TargetRef};

    #[test]
    fn health_is_the_time_at_full_availability() {
        let mut history = History::default();
        watched(&mut history, &event("a", 0, false), at(0));
        assert_eq!((last(&history).landed_at, last(&history).watched), (None, true));
        watched(&mut history, &event("a", 0, true), at(2));
        watched(&mut history, &event("a", 0, false), at(12));
        watched(&mut history, &event("a", 0, true), at(15));
        assert_eq!(last(&history).landed_at, Some(at(2)), "the first time counts");
        assert_eq!(last(&history).healthy_for(at(20)), minutes(15));
        watched(&mut history, &event("b", 20, false), at(20));
        let old = history.release(&digest("a")).expect("kept");
        assert_eq!((old.healthy, old.available_since, old.last_available), (minutes(15), None, Some(at(20))));
        assert_eq!((last(&history).digest.clone(), last(&history).live_since), (digest("b"), at(20)));
        assert_eq!(history.watched_since, Some(at(0)));
        assert!(history.rollbacks.is_empty());
    }

    #[test]
    fn a_release_ended_when_the_next_one_was_written_however_late_that_is_told() {
        let mut history = History::default();
        watched(&mut history, &event("a", 0, true), at(0));
        watched(&mut history, &event("b", 20, false), at(23));
        let old = history.release(&digest("a")).expect("kept");
        assert_eq!((old.healthy, old.last_available), (minutes(20), Some(at(20))));
        // One that comes back is as old as ever: when it was put there is not known but from us.
        watched(&mut history, &event("b", 20, true), at(25));
        watched(&mut history, &event("a", 0, true), at(30));
        assert_eq!(history.release(&digest("b")).expect("kept").healthy, minutes(5));
    }

    #[test]
    fn a_person_who_goes_back_is_seen_and_one_who_goes_forth_again_is_not_taken_for_it() {
        let mut history = History::default();
        for (release, created, now) in [("a", 0, 0), ("b", 60, 60)] {
            watched(&mut history, &event(release, created, true), at(now));
        }
        // The ReplicaSet of `a` is as old as ever.
        watched(&mut history, &event("a", 0, true), at(70));
        let past = history.rollbacks.first().expect("seen");
        assert_eq!((past.incident.clone(), past.lane.as_str()), (None, "live"));
        assert_eq!((past.from.clone(), past.to.clone(), past.ended_at), (digest("b"), digest("a"), Some(at(70))));
        assert_eq!(last(&history).live_since, at(70), "not when its ReplicaSet was made");
        assert_eq!(history.release(&digest("b")).expect("kept").bad, Some((at(70), "ci".to_owned())));
        watched(&mut history, &event("b", 60, true), at(80));
        assert_eq!(history.rollbacks.len(), 1);
        assert!(history.release(&digest("a")).expect("kept").bad.is_none());
        assert!(last(&history).bad.is_some(), "a bad release stays bad");
    }

    #[test]
    fn a_release_from_before_the_ledger_came_back_too() {
        let mut history = History::default();
        watched(&mut history, &event("b", 60, true), at(60));
        watched(&mut history, &event("a", 0, true), at(70));
        assert_eq!(history.rollbacks.len(), 1);
        assert_eq!(last(&history).live_since, at(70));
    }

    #[test]
    fn what_we_put_back_is_no_rollback_by_a_person() {
        let mut history = History::default();
        watched(&mut history, &event("a", 0, true), at(0));
        watched(&mut history, &event("b", 60, true), at(60));
        watched(&mut history, &WatchEvent { by_us: true, by: None, ..event("a", 0, true) }, at(70));
        assert!(history.rollbacks.is_empty() && last(&history).by_us);
        // A restart by a person changes no release, and does not make it theirs.
        watched(&mut history, &WatchEvent { replica_set: Some("a2".to_owned()), ..event("a", 90, false) }, at(90));
        assert_eq!((last(&history).by_us, last(&history).live_since), (true, at(70)));
        assert_eq!(last(&history).replica_set.as_deref(), Some("a2"));
    }

    #[test]
    fn a_gap_is_not_counted_as_health() {
        let mut history = History::default();
        watched(&mut history, &event("a", 0, true), at(0));
        interrupted(&mut history, at(10));
        watched(&mut history, &WatchEvent { relearned: true, landed_at: Some(at(0)), ..event("a", 0, true) }, at(100));
        assert_eq!((last(&history).healthy_for(at(105)), last(&history).watched), (minutes(15), true));
        assert_eq!(history.watched_since, Some(at(100)));
    }

    #[test]
    fn what_was_only_relearned_is_dropped_for_what_was_seen() {
        let relearned = WatchEvent { relearned: true, landed_at: Some(at(0)), ..event("a", 0, true) };
        for (seen, watched_then, healthy) in [(29, false, 129), (30, true, 30)] {
            let mut history = History::default();
            watched(&mut history, &relearned, at(100));
            assert_eq!((last(&history).watched, last(&history).landed_at), (false, Some(at(0))));
            watched(&mut history, &event("b", 100 + seen, false), at(100 + seen));
            let old = history.release(&digest("a")).expect("kept");
            assert_eq!((old.watched, old.healthy), (watched_then, minutes(healthy)), "{seen}");
        }
    }

    #[test]
    fn another_object_of_the_same_name_begins_anew() {
        let mut history = History::default();
        watched(&mut history, &event("a", 0, true), at(0));
        watched(&mut history, &WatchEvent { gone: true, ..event("a", 0, true) }, at(9));
        assert_eq!((last(&history).available_since, last(&history).healthy), (None, minutes(9)));
        history.veto_until = Some(at(99));
        let mut other = event("b", 10, false);
        other.target.uid = "u2".to_owned();
        watched(&mut history, &other, at(10));
        assert_eq!((history.uid.as_str(), history.releases.len(), history.watched_since), ("u2", 1, Some(at(10))));
        assert_eq!(history.veto_until, Some(at(99)));
        watched(&mut history, &WatchEvent { gone: true, ..event("a", 0, true) }, at(11));
        assert_eq!(history.releases.len(), 1, "late news of the old object");
    }

    #[test]
    fn lists_are_bounded() {
        let mut history = History::default();
        watched(&mut history, &event("a", 0, true), at(0));
        (0..200).for_each(|i| alert_fired(&mut history, &digest("a"), &format!("Alert{i:03}"), at(i)));
        let alerts = &last(&history).alerts;
        assert_eq!((alerts.len(), alerts.keys().next().map(String::as_str)), (ALERTS, Some("Alert150")));
        for i in 1..200 {
            watched(&mut history, &event(if i % 2 == 0 { "a" } else { "b" }, 0, true), at(i));
            watched(&mut history, &event(&format!("{i:04x}"), i, true), at(i));
        }
        assert!(history.releases.len() <= RELEASES && history.rollbacks.len() <= ROLLBACKS);
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn healthy(history: &History, release: &str) -> Duration {
        history.release(&digest(release)).expect("kept").healthy
    }

    #[test]
    fn times_that_differ_by_less_than_the_cluster_keeps_are_the_same() {
        // Written in the second of the release before: when it was written is not what ended that one.
        for (written, counted) in [(0, minutes(10)), (1, minutes(10)), (2, seconds(2))] {
            let mut history = History::default();
            watched(&mut history, &event("a", 0, true), at(0));
            let next = WatchEvent { first_write: at(0) + seconds(written), ..event("b", 0, false) };
            watched(&mut history, &next, at(10));
            assert_eq!(healthy(&history, "a"), counted, "written {written} s later");
        }
        for (told, counted) in [(1, minutes(20) + seconds(1)), (2, minutes(20))] {
            let mut history = History::default();
            watched(&mut history, &event("a", 0, true), at(0));
            watched(&mut history, &event("b", 20, false), at(20) + seconds(told));
            assert_eq!(healthy(&history, "a"), counted, "told {told} s late");
        }
    }

    #[test]
    fn one_that_is_not_known_came_back_only_if_it_is_older() {
        for (before, back) in [(0, false), (1, true)] {
            let mut history = History::default();
            watched(&mut history, &event("b", 60, true), at(60));
            let other = WatchEvent { first_write: at(60) - seconds(before), ..event("a", 60, false) };
            watched(&mut history, &other, at(70));
            assert_eq!(history.rollbacks.len(), usize::from(back), "{before} s older");
            assert_eq!(last(&history).live_since, if back { at(70) } else { at(60) }, "{before} s older");
        }
        // A known one whose ReplicaSet was made in the second of the release before came back now.
        let mut history = History::default();
        watched(&mut history, &event("a", 60, true), at(60));
        watched(&mut history, &event("b", 60, true), at(61));
        watched(&mut history, &event("a", 60, true), at(70));
        assert_eq!(last(&history).live_since, at(70));
    }

    #[test]
    fn what_was_only_relearned_of_one_that_comes_back_is_kept_until_the_watch_sees_it() {
        for (relearned, seen, kept) in [(false, true, Duration::ZERO), (true, false, minutes(20))] {
            let mut history = History::default();
            watched(&mut history, &WatchEvent { relearned: true, landed_at: Some(at(0)), ..event("a", 0, true) }, at(1));
            watched(&mut history, &event("b", 20, true), at(20));
            watched(&mut history, &WatchEvent { relearned, ..event("a", 0, false) }, at(30));
            assert_eq!((last(&history).watched, last(&history).healthy), (seen, kept), "relearned: {relearned}");
        }
    }

    #[test]
    fn a_replica_set_that_was_there_before_says_since_when_unless_it_is_of_an_earlier_life() {
        let told = |before: &[&WatchEvent], written: Time| {
            let mut history = History::default();
            before.iter().for_each(|event| watched(&mut history, event, event.first_write));
            watched(&mut history, &WatchEvent { first_write: written, ..event("b", 0, false) }, at(40));
            last(&history).live_since
        };
        let (a, b) = (event("a", 0, true), event("b", 30, false));
        assert_eq!(told(&[&b], at(20)), at(20));
        assert_eq!(told(&[&a, &b], at(20)), at(20));
        for (written, since) in [(0, at(30)), (1, at(30)), (2, at(0) + seconds(2))] {
            assert_eq!(told(&[&a, &b], at(0) + seconds(written)), since, "{written} s after the release before");
        }
    }

    proptest! {
        /// Whatever the watch says, in whatever order: the one that runs stands last, nothing is listed twice, only the last one
        /// is available, and no release is healthier than time passed.
        #[test]
        fn the_ledger_stays_sound(steps in prop::collection::vec((0_u8..30, 0_i64..500, any::<[bool; 4]>(), 0_i64..50), 1..80)) {
            let mut history = History::default();
            let mut now = 0;
            for (release, written, [available, relearned, by_us, gap], wait) in steps {
                now += wait;
                let release = format!("{release:x}");
                let landed_at = Some(at(written));
                let told = WatchEvent { relearned, by_us, landed_at, ..event(&release, written.min(now), available) };
                if gap {
                    interrupted(&mut history, at(now));
                }
                watched(&mut history, &told, at(now));
                prop_assert_eq!(&last(&history).digest, &digest(&release));
                prop_assert_eq!(last(&history).available_since.is_some(), available);
                let open = history.releases.iter().filter(|release| release.available_since.is_some()).count();
                prop_assert!(open <= 1 && history.releases.len() <= RELEASES);
                let mut names: Vec<_> = history.releases.iter().map(|release| &release.digest).collect();
                names.sort();
                names.dedup();
                prop_assert_eq!(names.len(), history.releases.len());
                prop_assert!(history.releases.iter().all(|release| release.healthy_for(at(now)) <= at(now).since(at(0))));
            }
        }
    }

    pub(super) fn minutes(n: u64) -> Duration {
        Duration::from_secs(60 * n)
    }

    pub(super) fn at(minute: i64) -> Time {
        Time::from_millis(1_700_000_000_000 + minute * 60_000)
    }

    pub(super) fn digest(name: &str) -> Digest {
        Digest(format!("v1:{name}"))
    }

    pub(super) fn last(history: &History) -> &Release {
        history.releases.last().expect("there is one")
    }

    pub(super) fn target() -> TargetId {
        TargetId { at: TargetRef::deployment("shop", "web").expect("valid names"), uid: "u1".to_owned() }
    }

    pub(super) fn event(release: &str, created: i64, available: bool) -> WatchEvent {
        WatchEvent {
            target: target(),
            release: digest(release),
            images: vec![format!("web:{release}")],
            replica_set: Some(format!("web-{release}")),
            first_write: at(created),
            by: Some("ci".to_owned()),
            by_us: false,
            available,
            relearned: false,
            landed_at: None,
            gone: false,
        }
    }
}
