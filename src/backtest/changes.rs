//! Which release ran when: told from how ReplicaSets grew and shrank. The release that runs is the one that rises.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::history::{Change, Hidden, Workload};
use crate::model::Time;

/// A ReplicaSet of a Deployment.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    /// When it was made.
    pub(super) created: Option<Time>,
    /// Images of its pods, container by container.
    pub(super) images: BTreeMap<String, String>,
    /// Pods that are wanted of it, whenever that changed.
    pub(super) wanted: Vec<(Time, i32)>,
    /// Pods of it that are ready, whenever that changed.
    pub(super) ready: Vec<(Time, i32)>,
}

/// What is recorded of a Deployment.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorded {
    /// Its ReplicaSets by name.
    pub(super) sets: BTreeMap<String, Set>,
    /// Pods that are wanted, whenever that changed.
    pub(super) replicas: Vec<(Time, i32)>,
    /// When something is recorded of it.
    pub(super) spans: Vec<(Time, Time)>,
}

/// Times that a workload is put together by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) begin: Time,
    pub(super) to: Time,
    pub(super) step: Duration,
    /// A change that may have been a restart cannot be judged for so long.
    pub(super) doubt: Duration,
}

impl Set {
    fn images(&self) -> Option<String> {
        let images: Vec<&str> = self.images.values().map(String::as_str).collect();
        (!images.is_empty()).then(|| images.join(","))
    }
}

impl Recorded {
    /// The workload's history; nothing where no release ever ran.
    pub(super) fn workload(&self, frame: Frame) -> Option<Workload> {
        let mut changes = self.changes(frame);
        let first = changes.first()?.clone();
        let mut before = self.before(&first, frame);
        let known: BTreeSet<String> = before.iter().map(|change| change.release.clone()).collect();
        // What was there when the history begins is no change of then.
        if known.contains(&first.release) {
            changes.remove(0);
        }
        before.append(&mut changes);
        let hidden = self.hidden(&before, frame);
        let mut ready: Vec<(Time, String, i32)> =
            self.sets.iter().flat_map(|(name, set)| set.ready.iter().map(|(at, pods)| (*at, name.clone(), *pods))).collect();
        ready.sort_by_key(|(at, ..)| *at);
        let replicas = if self.replicas.is_empty() { self.most_wanted(frame) } else { self.replicas.clone() };
        Some(Workload { changes: before, replicas, ready, hidden })
    }

    /// Every time that another release rises.
    fn changes(&self, frame: Frame) -> Vec<Change> {
        let mut times: BTreeMap<Time, Vec<(&str, i32)>> = BTreeMap::new();
        for (name, set) in &self.sets {
            for (at, pods) in &set.wanted {
                times.entry(*at).or_default().push((name, *pods));
            }
        }
        let mut now: BTreeMap<&str, i32> = BTreeMap::new();
        let mut current: Option<&str> = None;
        let mut seen = BTreeSet::new();
        let mut changes = Vec::new();
        for (at, news) in times {
            let before = now.clone();
            now.extend(news);
            let Some(next) = self.rising(current, &before, &now).filter(|next| current != Some(*next)) else { continue };
            current = Some(next);
            let set = self.sets.get(next);
            let back = !seen.insert(next);
            let created = set.and_then(|set| set.created).filter(|created| !back && at.since(*created) <= 3 * frame.step);
            let images = set.and_then(Set::images);
            changes.push(Change {
                at: created.filter(|c| *c <= at).unwrap_or(at),
                release: next.to_owned(),
                images,
                back,
                ours: false,
            });
        }
        changes
    }

    /// Which release rises, going by what was wanted of each before and is now.
    fn rising<'a>(
        &'a self,
        current: Option<&'a str>,
        before: &BTreeMap<&'a str, i32>,
        now: &BTreeMap<&'a str, i32>,
    ) -> Option<&'a str> {
        let was = |name: &str| before.get(name).copied().unwrap_or(0);
        let created = |name: &str| self.sets.get(name).and_then(|set| set.created);
        let newest = |names: Vec<&'a str>| names.into_iter().max_by_key(|name| (created(name), *name));
        let there: Vec<&'a str> = now.iter().filter(|(_, pods)| **pods > 0).map(|(name, _)| *name).collect();
        let Some(current) = current else { return newest(there) };
        let is = |name: &str| now.get(name).copied().unwrap_or(0);
        let others: Vec<&'a str> = there.into_iter().filter(|name| *name != current).collect();
        let own_rise = is(current) > 0 && was(current) == 0;
        let from_nothing: Vec<&'a str> = others.iter().filter(|name| was(name) == 0).copied().collect();
        if let Some(next) = newest(from_nothing)
            && (!own_rise || created(next) > created(current))
        {
            return Some(next);
        }
        let shrinks = is(current) < was(current);
        let grown = others.iter().filter(|name| is(name) > was(name)).copied().collect();
        if let (true, Some(next)) = (shrinks, newest(grown)) {
            return Some(next);
        }
        if is(current) == 0 { newest(others) } else { None }
    }

    /// The releases that were there when the history begins, the one that ran last.
    fn before(&self, first: &Change, frame: Frame) -> Vec<Change> {
        let mut before: Vec<Change> = Vec::new();
        for (name, set) in &self.sets {
            let Some(at) = set.created.filter(|at| *at < frame.begin) else { continue };
            before.push(Change { at, release: name.clone(), images: set.images(), back: false, ours: false });
        }
        before.sort_by_key(|change| change.at);
        let runs = first.at <= frame.begin + 2 * frame.step;
        let last = before.last().is_some_and(|last| last.release == first.release);
        if runs && !last && before.iter().any(|change| change.release == first.release) {
            // Somebody had gone back to it before.
            let at = before.last().map_or(frame.begin, |last| last.at).max(frame.begin.shifted(-120_000));
            before.push(Change { at, back: true, ..first.clone() });
        }
        before
    }

    fn hidden(&self, changes: &[Change], frame: Frame) -> Vec<Hidden> {
        let mut hidden = Vec::new();
        let mut end = frame.begin;
        for (from, to) in &self.spans {
            if from.since(end) > 2 * frame.step {
                let why = "kube-state-metrics says nothing of it at that time".to_owned();
                hidden.push(Hidden { from: end, to: Some(*from), why });
            }
            end = end.max(*to);
        }
        if frame.to.since(end) > 2 * frame.step {
            hidden.push(Hidden { from: end, to: None, why: "kube-state-metrics says nothing of it any more".to_owned() });
        }
        for (place, change) in changes.iter().enumerate() {
            let next = changes.get(place + 1).map(|next| next.at);
            let previous = place.checked_sub(1).and_then(|place| changes.get(place));
            let (why, until) = match (&change.images, previous) {
                (None, _) => (format!("the images of ReplicaSet {} are not recorded", change.release), None),
                (Some(images), Some(previous)) if previous.images.as_ref() == Some(images) && !change.back => {
                    let why = format!(
                        "ReplicaSet {} has the images of {}: whether it was another release or a restart is not recorded",
                        change.release, previous.release
                    );
                    (why, Some(change.at + frame.doubt))
                }
                _ => continue,
            };
            let to = [next, until].into_iter().flatten().min();
            hidden.push(Hidden { from: change.at, to, why });
        }
        hidden.retain(|hidden| hidden.to.is_none_or(|to| to > frame.begin));
        hidden
    }

    /// The most that was wanted of any release: where the Deployment's own number is not recorded.
    fn most_wanted(&self, frame: Frame) -> Vec<(Time, i32)> {
        let most = self.sets.values().flat_map(|set| &set.wanted).map(|(_, pods)| *pods).max();
        most.map(|pods| (frame.begin, pods)).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame =
        Frame { begin: Time::from_millis(0), to: at(1000), step: Duration::from_secs(30), doubt: Duration::from_secs(3600) };

    const fn at(minute: i64) -> Time {
        Time::from_millis(minute * 60_000)
    }

    fn set(created: i64, image: &str, wanted: &[(i64, i32)]) -> Set {
        let wanted: Vec<_> = wanted.iter().map(|(minute, pods)| (at(*minute), *pods)).collect();
        let images = BTreeMap::from([("app".to_owned(), image.to_owned())]);
        Set { created: Some(at(created)), images, ready: wanted.clone(), wanted }
    }

    fn recorded(sets: Vec<(&str, Set)>) -> Recorded {
        let sets = sets.into_iter().map(|(name, set)| (name.to_owned(), set)).collect();
        Recorded { sets, replicas: vec![(at(0), 3)], spans: vec![(at(0), at(1000))] }
    }

    fn releases(workload: &Workload) -> Vec<(i64, &str, bool)> {
        workload.changes.iter().map(|c| (c.at.millis() / 60_000, c.release.as_str(), c.back)).collect()
    }

    #[test]
    fn a_release_is_what_rises() {
        let sets = recorded(vec![
            ("a", set(-500, "web:1", &[(0, 3), (60, 2), (61, 0), (90, 3), (200, 0)])),
            ("b", set(60, "web:2", &[(60, 1), (61, 3), (90, 0)])),
            ("c", set(199, "web:3", &[(200, 3), (300, 5), (400, 3)])),
        ]);
        let workload = sets.workload(FRAME).expect("a workload");
        assert_eq!(releases(&workload), [(-500, "a", false), (60, "b", false), (90, "a", true), (199, "c", false)]);
        assert!(workload.hidden.is_empty(), "{:?}", workload.hidden);
    }

    #[test]
    fn a_rollout_that_is_turned_back_half_way() {
        let sets =
            recorded(vec![("a", set(-500, "web:1", &[(0, 3), (60, 2), (62, 3)])), ("b", set(60, "web:2", &[(60, 1), (62, 0)]))]);
        let workload = sets.workload(FRAME).expect("a workload");
        assert_eq!(releases(&workload), [(-500, "a", false), (60, "b", false), (62, "a", true)]);
    }

    #[test]
    fn what_may_be_a_restart_and_what_has_no_images_cannot_be_judged() {
        let mut bare = set(300, "", &[(300, 3)]);
        bare.images.clear();
        let sets = recorded(vec![
            ("a", set(-500, "web:1", &[(0, 3), (60, 0)])),
            ("b", set(60, "web:1", &[(60, 3), (300, 0)])),
            ("c", bare),
        ]);
        let hidden = sets.workload(FRAME).expect("a workload").hidden;
        let spans: Vec<_> = hidden.iter().map(|h| (h.from, h.to)).collect();
        assert_eq!(spans, [(at(60), Some(at(120))), (at(300), None)], "{hidden:?}");
    }

    #[test]
    fn a_time_without_records_is_hidden() {
        let mut gap = recorded(vec![("a", set(-500, "web:1", &[(0, 3), (100, 0), (200, 3)]))]);
        gap.spans = vec![(at(0), at(100)), (at(200), at(900))];
        let workload = gap.workload(FRAME).expect("a workload");
        assert_eq!(releases(&workload), [(-500, "a", false)], "it was there before the gap and after");
        let spans: Vec<_> = workload.hidden.iter().map(|h| (h.from, h.to)).collect();
        assert_eq!(spans, [(at(100), Some(at(200))), (at(900), None)]);
    }
}
