//! `recent_change`: was the target changed shortly before the trouble began? Without that a rollback is superstition.

use std::time::Duration;

use super::words::{clock, second, span};
use super::{Scene, choose_release};
use crate::decide::book::{History, Release};
use crate::decide::decision::Judgement;
use crate::model::{Brake, ChangeKind, Digest, PostedChange, ReplicaSetSeen, Time, Workload};
use crate::planted::{self, Bug};

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

/// The change that put `release` on the target: as the ledger saw it, else as far as the cluster still tells.
pub fn change(release: &Digest, workload: &Workload, history: Option<&History>) -> Option<Change> {
    let known = history.and_then(|history| history.release(release).map(|entry| (history, entry)));
    match known {
        Some((history, entry)) => Some(from_ledger(entry, workload, history)),
        None => from_cluster(release, workload),
    }
}

pub(super) fn judge(scene: &Scene<'_>) -> Judgement {
    const BRAKE: Brake = Brake::RecentChange;
    let Some(release) = &scene.incident.release else {
        return Judgement::blind(BRAKE, "what ran on the target at the onset is not known");
    };
    let Some(workload) = scene.workload() else {
        return Judgement::blind(BRAKE, "the target could not be read");
    };
    let Some(change) = change(release, workload, scene.history()) else {
        return Judgement::held(BRAKE, "no change is known that put this release there");
    };
    let restored = scene.history().and_then(|history| history.release(&workload.release)).is_some_and(|now| now.by_us);
    if (change.by_us || restored) && !planted::is(Bug::FurtherBack) {
        return Judgement::held(BRAKE, "we put this release there; never further back");
    }
    let onset = match scene.incident.onset() {
        Ok(at) => at,
        Err(why) => return Judgement::blind(BRAKE, format!("when the trouble began is not known: {why}")),
    };
    let judgement = in_window(scene, &change, workload, onset);
    let judgement = if judgement.holds() { judgement } else { fired_before(scene).unwrap_or(judgement) };
    match told(scene, workload, onset) {
        Some(told) => Judgement { because: format!("{}; {told}", judgement.because), ..judgement },
        None => judgement,
    }
}

/// Names the change that was posted last before the trouble began. It neither holds nor lets go: what a rollback undoes is the
/// release, and the release's own change is known from the cluster.
fn told(scene: &Scene<'_>, workload: &Workload, onset: Time) -> Option<String> {
    const USUAL: Duration = Duration::from_secs(60 * 60);
    let within = scene.policy.brakes.recent_change.on().map_or(USUAL, |window| window.within);
    let near = |change: &&PostedChange| change.at <= onset && onset.since(change.at) <= within;
    let change = scene.book.changes(&workload.id.at).iter().rev().find(near)?;
    let undone = match change.kind {
        ChangeKind::Template | ChangeKind::Config | ChangeKind::Helm => "",
        ChangeKind::Flag | ChangeKind::External => ", which no rollback undoes",
    };
    Some(format!("posted {} before the onset: {}{undone}", span(onset.since(change.at)), change.words()))
}

/// Whether the onset follows the change, and soon enough.
fn in_window(scene: &Scene<'_>, change: &Change, workload: &Workload, onset: Time) -> Judgement {
    const BRAKE: Brake = Brake::RecentChange;
    let began = format!("onset {}", clock(onset, scene.now));
    let Some(window) = scene.policy.brakes.recent_change.on() else {
        return Judgement::free(BRAKE, format!("{began}; no window is set"));
    };
    // The cluster keeps whole seconds: within one second nobody can tell which came first.
    if second(onset) <= second(change.first_write) {
        let written = format!("the change's first write {}", clock(change.first_write, scene.now));
        let because = match span(second(change.first_write).since(second(onset))).as_str() {
            "0s" => format!("{began} lies in the second of {written}: which came first cannot be told"),
            lead => format!("{began} is {lead} before {written}: trouble began before the change"),
        };
        return Judgement::held(BRAKE, because);
    }
    let within = span(window.within);
    let (base, what) = match change.landed_at {
        Some(landed) => (landed, "landed"),
        None if rolling_out(scene, workload) => {
            let after = span(onset.since(change.first_write));
            return Judgement::free(BRAKE, format!("{began} is {after} after the change's first write; it has not landed yet"));
        }
        // It may have landed at any time since; counted from the write the window is never too long.
        None => (change.first_write, "was first written (when it landed is not known)"),
    };
    if onset > base + window.within {
        let late = span(onset.since(base));
        return Judgement::held(BRAKE, format!("the change {what} {late} before the onset; the window is {within}"));
    }
    if onset < base {
        let early = span(base.since(onset));
        return Judgement::free(BRAKE, format!("{began} is after the change's first write and {early} before it {what}"));
    }
    let after = span(onset.since(base));
    Judgement::free(BRAKE, format!("{began} is {after} after the change {what}, within {within}"))
}

/// Whether the suspect release is visibly on its way. Pods that are merely missing prove nothing: they also go missing long
/// after a change landed.
fn rolling_out(scene: &Scene<'_>, workload: &Workload) -> bool {
    let current = scene.incident.release.as_ref() == Some(&workload.release);
    let others = workload.replica_sets.iter().any(|rs| rs.digest != workload.release && rs.desired > 0);
    current && (others || workload.replicas.updated < workload.replicas.desired)
}

/// The same alert on the release to return to: then the change is not the cause.
fn fired_before(scene: &Scene<'_>) -> Option<Judgement> {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let to = choose_release(scene).ok()?;
    let alerts = &scene.history()?.release(&to.digest)?.alerts;
    scene.incident.members.values().find_map(|member| {
        let name = member.alert.label("alertname");
        let at = alerts.get(name).filter(|at| scene.now.since(**at) <= DAY)?;
        let ago = span(scene.now.since(*at));
        let because = format!("`{name}` fired {ago} ago on {} too, the release to return to", to.label());
        Some(Judgement::held(Brake::RecentChange, because).until(*at + DAY))
    })
}

fn from_ledger(entry: &Release, workload: &Workload, history: &History) -> Change {
    let before = |other: &&Release| other.digest != entry.digest && other.live_since <= entry.live_since;
    let old = history.releases.iter().filter(before).max_by_key(|other| other.live_since);
    let landed_now = landed(&entry.digest, workload).filter(|at| *at >= second(entry.live_since));
    Change {
        first_write: entry.live_since,
        landed_at: entry.landed_at.or(landed_now),
        by: entry.by.clone(),
        by_us: entry.by_us,
        old: old.map(|other| other.digest.clone()).or_else(|| older(&entry.digest, workload)),
    }
}

fn from_cluster(release: &Digest, workload: &Workload) -> Option<Change> {
    let rs = workload.replica_sets.iter().find(|rs| rs.digest == *release)?;
    let is_current = workload.release == *release;
    let write = workload.writes.iter().filter(|write| is_current && write.template).max_by_key(|write| write.at);
    // A ReplicaSet that is older than another one came back. If our annotation is on the target, it may be by our hand.
    let came_back = is_current && workload.replica_sets.iter().any(|other| other.created_at > rs.created_at);
    Some(Change {
        first_write: write.map_or(rs.created_at, |write| write.at.max(rs.created_at)),
        landed_at: landed(release, workload),
        by: write.map(|write| write.manager.clone()),
        by_us: came_back && workload.last_rollback.is_some(),
        old: older(release, workload),
    })
}

fn landed(release: &Digest, workload: &Workload) -> Option<Time> {
    workload.landed_at.filter(|_| workload.release == *release && workload.complete())
}

/// The release with the next lower revision.
fn older(release: &Digest, workload: &Workload) -> Option<Digest> {
    let revision = workload.replica_sets.iter().find(|rs| rs.digest == *release)?.revision;
    let lower = |rs: &&ReplicaSetSeen| rs.revision < revision && rs.digest != *release;
    workload.replica_sets.iter().filter(lower).max_by_key(|rs| rs.revision).map(|rs| rs.digest.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{World, digest, hours, minutes, on, release, replica_set};
    use super::*;
    use crate::decide::decision::Grip;

    type Case = (&'static str, fn(&mut World), Grip, &'static str);

    #[test]
    fn holds_unless_the_onset_follows_a_change() {
        let cases: &[Case] = &[
            ("as it should be", |_| {}, Grip::Free, "onset 09:14:00Z is 8m after the change landed, within 1h"),
            ("before the change", |w| w.onset(w.now - minutes(21)), Grip::Held, "trouble began before the change"),
            (
                "in the same second",
                |w| w.onset(w.now - minutes(20) + Duration::from_millis(900)),
                Grip::Held,
                "which came first cannot be told",
            ),
            ("a second later", |w| w.onset(w.now - minutes(20) + Duration::from_secs(1)), Grip::Free, "before it landed"),
            ("as it landed", |w| w.onset(w.now - minutes(18)), Grip::Free, "is 0s after the change landed"),
            ("while rolling out", |w| w.onset(w.now - minutes(19)), Grip::Free, "1m before it landed"),
            ("by us", |w| w.release("b").by_us = true, Grip::Held, "never further back"),
            (
                "our own put it there since",
                |w| {
                    w.release("a").by_us = true;
                    w.workload().release = digest("a");
                },
                Grip::Held,
                "never further back",
            ),
            ("long after", |w| age(w, hours(4)), Grip::Held, "landed 4h8m before the onset; the window is 1h"),
            ("the window's last instant", |w| w.onset(w.now + minutes(42)), Grip::Free, "within 1h"),
            (
                "just after the window",
                |w| w.onset(w.now + minutes(42) + Duration::from_millis(1)),
                Grip::Held,
                "the window is 1h",
            ),
            ("nobody knows the release", |w| w.incident.release = Some(digest("f")), Grip::Held, "no change is known"),
            ("fired on the old one", |w| fired(w, hours(23)), Grip::Held, "`HighErrors` fired 23h ago on web:a too"),
            ("fired there long ago", |w| fired(w, hours(25)), Grip::Free, "within 1h"),
        ];
        for (name, spoil, grip, words) in cases {
            let mut world = World::new();
            spoil(&mut world);
            let judgement = judge(&world.scene());
            assert_eq!(judgement.grip, *grip, "{name}: {}", judgement.because);
            assert!(judgement.because.contains(words), "{name}: {}", judgement.because);
        }
    }

    #[test]
    fn a_posted_change_is_named_and_changes_nothing_else() {
        let mut world = World::new();
        let before = judge(&world.scene());
        world.post(minutes(15), false, Some("on"));
        let judgement = judge(&world.scene());
        assert_eq!(judgement.grip, before.grip);
        let words = "; posted 5m before the onset: external to on by dba, which no rollback undoes";
        assert_eq!(judgement.because, format!("{}{words}", before.because));
        let mut world = World::new();
        world.post(minutes(5), false, None);
        assert_eq!(judge(&world.scene()).because, before.because, "after the onset it explains nothing");
        let mut world = World::new();
        age(&mut world, hours(4));
        world.post(minutes(15), false, None);
        assert!(judge(&world.scene()).holds(), "a flag is no reason to put a release back");
    }

    #[test]
    fn holds_when_blind() {
        let cases: &[fn(&mut World)] = &[World::lose_workload, World::lose_onset, |w| w.incident.release = None];
        for spoil in cases {
            let mut world = World::new();
            spoil(&mut world);
            let judgement = judge(&world.scene());
            assert_eq!(judgement.grip, Grip::Blind, "{}", judgement.because);
            assert!(judgement.holds());
        }
    }

    #[test]
    fn a_change_that_has_not_landed_counts_only_while_it_is_seen_on_its_way() {
        let mut world = World::new();
        age(&mut world, hours(4));
        world.release("b").landed_at = None;
        world.workload().landed_at = None;
        // Three days old, pods missing: that is no rollout.
        world.workload().replicas.available = 1;
        assert!(judge(&world.scene()).holds());
        let on_its_way: &[fn(&mut World)] =
            &[|w| w.workload().replica_sets[0].desired = 1, |w| w.workload().replicas.updated = 2];
        for spoil in on_its_way {
            let mut world = World::new();
            age(&mut world, hours(4));
            world.release("b").landed_at = None;
            spoil(&mut world);
            let judgement = judge(&world.scene());
            assert_eq!(judgement.grip, Grip::Free, "{}", judgement.because);
            assert!(judgement.because.contains("has not landed yet"), "{}", judgement.because);
        }
    }

    #[test]
    fn what_fired_on_the_old_release_holds_for_a_day() {
        let mut world = World::new();
        fired(&mut world, hours(23));
        assert_eq!(judge(&world.scene()).until, Some(world.now + hours(1)));
        fired(&mut world, hours(24));
        assert!(judge(&world.scene()).holds(), "to its last instant");
    }

    #[test]
    fn the_ledger_tells_what_was_there_before_and_when_the_change_landed() {
        let mut world = World::new();
        let now = world.now;
        let known = [("c", minutes(30)), ("d", minutes(5))];
        for (letter, ago) in known {
            world.history().releases.push(release(letter, now, ago, minutes(1), minutes(1)));
        }
        world.release("b").landed_at = None;
        let seen = |world: &mut World| {
            let history = world.history().clone();
            change(&digest("b"), world.workload(), Some(&history)).expect("a change")
        };
        assert_eq!(seen(&mut world).old, Some(digest("c")), "neither itself nor what came later");
        for (landed, counts) in [(minutes(18), true), (minutes(20), true), (minutes(21), false)] {
            let at = Some(now - landed);
            world.workload().landed_at = at;
            assert_eq!(seen(&mut world).landed_at, at.filter(|_| counts), "{landed:?} ago: another time that it was there");
        }
    }

    #[test]
    fn without_a_ledger_the_cluster_tells() {
        let mut world = World::new();
        let seen = change(&digest("b"), world.workload(), None).expect("a change");
        assert_eq!(seen.first_write, world.now - minutes(20));
        assert_eq!(seen.landed_at, Some(world.now - minutes(18)));
        assert_eq!((seen.by.as_deref(), seen.by_us, seen.old), (Some("ci"), false, Some(digest("a"))));
        let older = change(&digest("a"), world.workload(), None).expect("a change");
        assert_eq!((older.by, older.landed_at, older.first_write), (None, None, world.now - hours(48)), "what runs is another");
        world.workload().replicas.available = 1;
        assert_eq!(change(&digest("b"), world.workload(), None).expect("a change").landed_at, None, "pods are missing");
        world.workload().replicas.available = 3;
        let set = replica_set("c", 3, world.now - minutes(30), 0);
        let at = world.now - minutes(15);
        world.workload().writes.push(crate::model::Write { manager: "kubectl".to_owned(), at, template: false });
        world.workload().replica_sets.push(set);
        let seen = change(&digest("b"), world.workload(), None).expect("a change");
        assert_eq!(
            (seen.by.as_deref(), seen.first_write),
            (Some("ci"), world.now - minutes(20)),
            "who scaled it changed nothing"
        );
        assert_eq!(seen.old, Some(digest("a")), "of the lower revisions");
        world.workload().replica_sets[2].revision = 2;
        assert_eq!(change(&digest("b"), world.workload(), None).expect("a change").old, Some(digest("a")), "none is as low");
        world.workload().replica_sets.pop();
        // `a` came back, and our annotation is on the target.
        world.workload().release = digest("a");
        world.workload().last_rollback = Some("i0".to_owned());
        let by_us = |world: &mut World, letter: &str| change(&digest(letter), world.workload(), None).expect("a change").by_us;
        assert!(by_us(&mut world, "a"));
        world.workload().release = digest("b");
        assert!(!by_us(&mut world, "b"), "it is the newest, and did not come back");
        assert!(!by_us(&mut world, "a"), "it is not there");
        world.workload().release = digest("a");
        let seen = change(&digest("a"), world.workload(), None).expect("a change");
        assert_eq!(seen.first_write, world.now - minutes(20), "never before somebody's last write");
    }

    fn age(world: &mut World, by: Duration) {
        let release = world.release("b");
        release.live_since = release.live_since - by;
        release.landed_at = release.landed_at.map(|at| at - by);
        world.workload().landed_at = None;
    }

    fn fired(world: &mut World, ago: Duration) {
        let at = world.ago(ago);
        world.release("a").alerts.insert("HighErrors".to_owned(), at);
    }

    proptest! {
        /// It lets go only where the onset follows the change and lies within the window; a shorter window never lets go.
        #[test]
        fn only_an_onset_within_the_window_lets_go(onset in -90_i64..90, within in 1_u64..120) {
            let holds = |within: u64| {
                let mut world = World::new();
                world.policy.brakes.recent_change = on(crate::policy::types::RecentChange { within: minutes(within) });
                // Minutes after the change landed, two after its first write.
                let landed = world.release("b").landed_at.expect("the fixture has it");
                world.onset(landed.shifted(onset * 60_000));
                judge(&world.scene()).holds()
            };
            prop_assert_eq!(holds(within), onset <= -2 || onset > within as i64);
            prop_assert!(!holds(within) || within == 1 || holds(within - 1));
        }
    }
}
