//! `fit_target`: is there a named release that was seen healthy, is near enough, and can be put back as it was?

use std::collections::BTreeSet;

use super::Scene;
use super::words::{self, clock, span};
use crate::decide::book::{History, Release};
use crate::decide::decision::Judgement;
use crate::decide::ledger;
use crate::model::{Brake, Digest, Mode, ReleaseRef, ReplicaSetSeen, Strategy, Workload};
use crate::planted::{self, Bug};

/// The release to go back to, or why none is fit.
///
/// Only releases that are known bad or were never available are passed over. The first one left is the candidate: where it is
/// not fit, none is, because what lies behind it is older still. A policy that switched this brake off switched off its numbers;
/// what would make the result another thing than the release that was seen healthy holds all the same.
pub fn choose(scene: &Scene<'_>) -> Result<ReleaseRef, Judgement> {
    let leaving = scene.incident.release.as_ref().ok_or_else(|| blind("what ran on the target at the onset is not known"))?;
    let workload = scene.workload().ok_or_else(|| blind("the target could not be read"))?;
    let history = scene.history().ok_or_else(|| blind("nothing is remembered of this target"))?;
    let ours = history.release(&workload.release).is_some_and(|current| current.by_us);
    if ours && !planted::is(Bug::FurtherBack) {
        return Err(held("we put the release there that runs now; never further back"));
    }
    let candidate = candidate(history, leaving, workload)?;
    let name = words::release(&candidate.images, &candidate.digest);
    enough(scene, candidate, &name)?;
    near(scene, history, workload, candidate, &name)?;
    let rs = workload.replica_sets.iter().find(|rs| rs.digest == candidate.digest);
    let rs = rs.ok_or_else(|| held(format!("the cluster has pruned the template of {name}")))?;
    same_as_seen(workload, history, candidate, rs, &name)?;
    no_barrier(history, workload, candidate, rs, &name)?;
    no_posted_barrier(scene, history, workload, candidate, &name)?;
    if workload.strategy == Strategy::AllAtOnce && !scene.may_drop {
        return Err(held("the target replaces all pods at once, and the procedure may not take it down (`may_drop`)"));
    }
    Ok(ReleaseRef {
        digest: candidate.digest.clone(),
        revision: Some(rs.revision),
        replica_set: Some(rs.name.clone()),
        images: rs.images.clone(),
    })
}

pub(super) fn judge(scene: &Scene<'_>) -> Judgement {
    let to = match choose(scene) {
        Ok(to) => to,
        Err(judgement) => return judgement,
    };
    let known = scene.history().and_then(|history| history.release(&to.digest));
    let healthy = known.map_or_else(String::new, |release| {
        let last = release.last_available.map_or_else(|| "?".to_owned(), |at| span(scene.now.since(at)));
        format!(" was available for {} until {last} ago", span(release.healthy))
    });
    Judgement::free(Brake::FitTarget, format!("{}{healthy}", words::release(&to.images, &to.digest)))
}

fn held(because: impl Into<String>) -> Judgement {
    Judgement::held(Brake::FitTarget, because)
}

fn blind(because: impl Into<String>) -> Judgement {
    Judgement::blind(Brake::FitTarget, because)
}

/// The most recently available release that is not known bad.
fn candidate<'a>(history: &'a History, leaving: &Digest, workload: &Workload) -> Result<&'a Release, Judgement> {
    let mut others: Vec<&Release> =
        history.releases.iter().filter(|release| release.digest != *leaving && release.digest != workload.release).collect();
    let known = others.len();
    let bad = others.iter().filter(|release| release.bad.is_some()).count();
    others.retain(|release| release.bad.is_none() && release.last_available.is_some());
    let latest = others.into_iter().max_by_key(|release| (release.last_available, release.live_since));
    latest.ok_or_else(|| {
        let never = known - bad;
        held(format!(
            "of {known} other releases that are known {bad} were rolled back from and {never} were never seen available"
        ))
    })
}

/// Seen healthy for long enough, and with our own eyes where nobody will be asked.
fn enough(scene: &Scene<'_>, candidate: &Release, name: &str) -> Result<(), Judgement> {
    // What was available when it was replaced is closed by the ledger: `healthy` is all there is.
    let Some(numbers) = scene.policy.brakes.fit_target.on() else { return Ok(()) };
    if candidate.healthy < numbers.healthy && !planted::is(Bug::HealthNotCompared) {
        let (was, least) = (span(candidate.healthy), span(numbers.healthy));
        return Err(held(format!("{name} was available for {was} in all; at least {least} are required")));
    }
    if !candidate.watched && scene.mode == Mode::Enforce {
        return Err(held(format!(
            "the health of {name} was only re-learned from the cluster, which counts in shadow and approve only"
        )));
    }
    Ok(())
}

/// Neither too long ago nor too many releases back.
fn near(scene: &Scene<'_>, history: &History, workload: &Workload, candidate: &Release, name: &str) -> Result<(), Judgement> {
    let Some(numbers) = scene.policy.brakes.fit_target.on() else { return Ok(()) };
    let ago = candidate.last_available.map(|at| scene.now.since(at));
    if ago.is_none_or(|ago| ago > numbers.last_live) {
        let (ago, most) = (ago.map_or_else(|| "never".to_owned(), |ago| format!("{} ago", span(ago))), span(numbers.last_live));
        return Err(held(format!("{name} was last available {ago}; at most {most} are allowed")));
    }
    let back = later(history, workload, candidate).len();
    if back > numbers.back as usize {
        return Err(held(format!("{name} is {back} releases back; at most {} are allowed", numbers.back)));
    }
    Ok(())
}

/// The releases made after the candidate: those of the ledger, and those that only the cluster knows.
fn later<'a>(history: &'a History, workload: &'a Workload, candidate: &Release) -> BTreeSet<&'a Digest> {
    let listed =
        history.releases.iter().filter(|release| release.live_since > candidate.live_since).map(|release| &release.digest);
    let unlisted = workload
        .replica_sets
        .iter()
        .filter(|rs| history.release(&rs.digest).is_none() && rs.created_at > candidate.live_since)
        .map(|rs| &rs.digest);
    let mut later: BTreeSet<&Digest> = listed.chain(unlisted).chain(std::iter::once(&workload.release)).collect();
    later.remove(&candidate.digest);
    later
}

/// An image name that both templates have must be the same image: else the way back does not lead to what was seen healthy.
fn same_as_seen(
    workload: &Workload,
    history: &History,
    candidate: &Release,
    rs: &ReplicaSetSeen,
    name: &str,
) -> Result<(), Judgement> {
    let current = workload.current();
    let ledger = history.release(&workload.release);
    for image in rs.images.iter().filter(|image| workload.images.contains(image)) {
        // A ReplicaSet without pods has no digests any more; the ledger wrote them down while it had.
        let then = candidate.image_digests.get(image).or_else(|| rs.image_digests.get(image));
        let now = current.and_then(|rs| rs.image_digests.get(image));
        let now = now.or_else(|| ledger.and_then(|release| release.image_digests.get(image)));
        if let (Some(then), Some(now)) = (then, now)
            && then != now
        {
            return Err(held(format!(
                "`{image}` stands in {name} too, but the tag has moved from {then} to {now}: going back would be a restart"
            )));
        }
    }
    Ok(())
}

/// No data barrier between the candidate and what runs.
fn no_barrier(
    history: &History,
    workload: &Workload,
    candidate: &Release,
    rs: &ReplicaSetSeen,
    name: &str,
) -> Result<(), Judgement> {
    let words = |barrier: &Option<String>| barrier.as_ref().map_or_else(|| "none".to_owned(), |text| format!("`{text}`"));
    if workload.current().is_none() {
        return Err(blind("the ReplicaSet of the release that runs is not there yet, so that data barriers cannot be compared"));
    }
    for digest in later(history, workload, candidate) {
        // One that was pruned cannot be compared; the one that runs always is.
        let Some(between) = workload.replica_sets.iter().find(|rs| rs.digest == *digest) else { continue };
        if between.data_barrier != rs.data_barrier {
            let (then, now) = (words(&rs.data_barrier), words(&between.data_barrier));
            let after = words::release(&between.images, &between.digest);
            return Err(held(format!("a data barrier lies behind {name}: it had {then}, {after} has {now}")));
        }
    }
    Ok(())
}

/// The same for barriers that were posted.
fn no_posted_barrier(
    scene: &Scene<'_>,
    history: &History,
    workload: &Workload,
    candidate: &Release,
    name: &str,
) -> Result<(), Judgement> {
    let later = later(history, workload, candidate);
    let posted = scene.book.changes(&workload.id.at);
    match ledger::behind_barrier(posted, history, candidate, |digest| later.contains(digest)) {
        Some(change) => {
            let (id, at) = (change.id.as_str(), clock(change.at, scene.now));
            Err(held(format!("{name} lies behind a data barrier: change {id} at {at}, {}", change.words())))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::fixture::{World, digest, hours, minutes, release, replica_set};
    use super::*;
    use crate::decide::decision::Grip;
    use crate::model::Strategy;
    use crate::policy::types::{FitTarget, Setting};

    type Spoil = fn(&mut World);
    type Case = (&'static str, Spoil, &'static str);

    #[test]
    fn names_the_release_that_was_last_seen_healthy() {
        let mut world = World::new();
        let to = choose(&world.scene()).expect("fit");
        assert_eq!((to.digest, to.revision, to.replica_set.as_deref()), (digest("a"), Some(1), Some("web-a")));
        let judgement = judge(&world.scene());
        assert_eq!(judgement.grip, Grip::Free);
        assert_eq!(judgement.because, "web:a (aaaaaaaaaaaa) was available for 1d23h until 20m ago");
        // One in between that was rolled back from, and one that never came up: both are passed over.
        let (now, mut bad) = (world.now, release("c", world.now, hours(3), hours(2), hours(1)));
        bad.bad = Some((now - hours(1), "ann".to_owned()));
        let mut never = release("d", now, hours(2), Duration::ZERO, Duration::ZERO);
        never.last_available = None;
        world.history().releases.splice(1..1, [bad, never]);
        assert_eq!(choose(&world.scene()).expect("fit").digest, digest("a"));
    }

    #[test]
    fn holds_where_none_is_fit() {
        let cases: &[Case] = &[
            ("bad", |w| w.release("a").bad = Some((w.now, "i0".to_owned())), "1 were rolled back from"),
            ("never available", |w| w.release("a").last_available = None, "1 were never seen available"),
            (
                "alone",
                |w| {
                    w.history().releases.remove(0);
                },
                "of 0 other releases",
            ),
            (
                "young",
                |w| w.release("a").healthy = minutes(30) - Duration::from_secs(1),
                "available for 29m59s in all; at least 30m",
            ),
            ("long gone", |w| w.release("a").last_available = Some(w.now - hours(25)), "last available 1d1h ago; at most 1d"),
            (
                "pruned",
                |w| {
                    w.workload().replica_sets.remove(0);
                },
                "pruned the template of web:a",
            ),
            ("far back", |w| far(w, 3), "is 4 releases back; at most 3"),
            ("moved tag", |w| moved(w, true), "the tag has moved from sha256:1 to sha256:2"),
            (
                "barrier",
                |w| w.workload().replica_sets[1].data_barrier = Some("7".to_owned()),
                "it had none, web:b (bbbbbbbbbbbb) has `7`",
            ),
            (
                "barrier in between",
                |w| {
                    far(w, 2);
                    w.workload().replica_sets[1].data_barrier = Some("7".to_owned());
                },
                "web:d (dddddddddddd) has `7`",
            ),
            (
                "posted barrier",
                |w| w.post(minutes(20), true, None),
                "web:a (aaaaaaaaaaaa) lies behind a data barrier: change c1 at 09:04:00Z, external by dba",
            ),
            ("posted barrier, for what runs", |w| w.post(hours(2), true, Some("b")), "external to b by dba"),
            ("posted barrier, while the old one ran", |w| w.post(hours(40), true, None), "lies behind a data barrier"),
            ("re-learned", |w| w.release("a").watched = false, "only re-learned from the cluster"),
            ("outage", |w| w.workload().strategy = Strategy::AllAtOnce, "may_drop"),
            ("restored by us", |w| w.release("b").by_us = true, "never further back"),
        ];
        for (name, spoil, words) in cases {
            let mut world = World::new();
            spoil(&mut world);
            let judgement = judge(&world.scene());
            assert_eq!(judgement.grip, Grip::Held, "{name}: {}", judgement.because);
            assert!(judgement.because.contains(words), "{name}: {}", judgement.because);
        }
    }

    #[test]
    fn lets_go_at_the_edge() {
        let cases: &[(&str, Spoil)] = &[
            ("just healthy enough", |w| w.release("a").healthy = minutes(30)),
            ("just near enough", |w| w.release("a").last_available = Some(w.now - hours(24))),
            ("three back", |w| far(w, 2)),
            ("same names, same digests: another template", |w| moved(w, false)),
            ("re-learned, a person will be asked", |w| {
                w.release("a").watched = false;
                w.mode = Mode::Approve;
            }),
            ("posted, no barrier", |w| w.post(minutes(20), false, None)),
            ("posted barrier of the old one", |w| w.post(hours(47), true, Some("web:a"))),
            ("posted barrier before the old one", |w| w.post(hours(49), true, None)),
            ("outage allowed", |w| {
                w.workload().strategy = Strategy::AllAtOnce;
                w.may_drop = true;
            }),
            ("numbers switched off", |w| {
                w.policy.brakes.fit_target = Setting::Disabled("x".to_owned());
                w.release("a").healthy = minutes(1);
            }),
            ("other numbers", |w| {
                w.policy.brakes.fit_target = Setting::On(FitTarget { back: 9, ..FitTarget::default() });
                far(w, 6);
            }),
        ];
        for (name, spoil) in cases {
            let mut world = World::new();
            spoil(&mut world);
            assert_eq!(judge(&world.scene()).grip, Grip::Free, "{name}: {}", judge(&world.scene()).because);
        }
    }

    #[test]
    fn where_none_is_fit_each_reason_is_counted_by_itself() {
        let mut world = World::new();
        let now = world.now;
        for letter in ["c", "d"] {
            let mut bad = release(letter, now, hours(3), hours(2), hours(1));
            bad.bad = Some((now, "ann".to_owned()));
            world.history().releases.insert(0, bad);
        }
        world.release("a").last_available = None;
        let because = judge(&world.scene()).because;
        assert_eq!(because, "of 3 other releases that are known 2 were rolled back from and 1 were never seen available");
    }

    #[test]
    fn what_was_there_before_the_old_release_or_with_it_is_not_behind_it() {
        let mut world = World::new();
        let now = world.now;
        let same = Release { live_since: now - hours(48), ..release("c", now, hours(48), minutes(1), hours(47)) };
        world.history().releases.insert(0, same);
        for (letter, ago) in [("d", hours(48)), ("e", hours(60)), ("b", minutes(20))] {
            world.workload().replica_sets.push(replica_set(letter, 1, now - ago, 0));
        }
        let history = world.history().clone();
        let candidate = world.release("a").clone();
        let behind = |world: &mut World| later(&history, world.workload(), &candidate).into_iter().cloned().collect::<Vec<_>>();
        assert_eq!(behind(&mut world), [digest("b")]);
        world.workload().replica_sets.push(replica_set("f", 2, now - hours(47), 0));
        assert_eq!(behind(&mut world), [digest("b"), digest("f")], "the cluster alone knows of it");
    }

    #[test]
    fn holds_when_blind() {
        let cases: &[Spoil] = &[
            World::lose_workload,
            World::forget,
            |w| w.incident.release = None,
            |w| w.history().uid = "u0".to_owned(),
            |w| {
                w.workload().replica_sets.pop();
            },
        ];
        for spoil in cases {
            let mut world = World::new();
            spoil(&mut world);
            let judgement = judge(&world.scene());
            assert_eq!(judgement.grip, Grip::Blind, "{}", judgement.because);
            assert!(judgement.holds());
        }
    }

    /// Puts `n` bad releases between; half of them only the cluster knows.
    fn far(world: &mut World, n: usize) {
        let now = world.now;
        for (i, letter) in ["c", "d", "e", "f", "0", "1"].iter().take(n).enumerate() {
            let ago = hours(10 - i as u64);
            if i % 2 == 0 {
                let mut bad = release(letter, now, ago, Duration::ZERO, ago);
                bad.bad = Some((now, "ann".to_owned()));
                let at = world.history().releases.len() - 1;
                world.history().releases.insert(at, bad);
            } else {
                world.workload().replica_sets.insert(1, replica_set(letter, 2, now - ago, 0));
            }
        }
    }

    /// Gives both releases the same image name, with image digests.
    fn moved(world: &mut World, moved: bool) {
        let image = || "web:latest".to_owned();
        world.workload().images = vec![image()];
        for (rs, digest) in
            world.workload().replica_sets.iter_mut().zip(["sha256:1", if moved { "sha256:2" } else { "sha256:1" }])
        {
            rs.images = vec![image()];
            rs.image_digests.insert(image(), digest.to_owned());
        }
    }

    proptest! {
        /// Whatever is remembered: what is chosen was not rolled back from, was available for long enough and lately, is not what
        /// runs, and is still there.
        #[test]
        fn what_is_chosen_is_fit(known in proptest::collection::vec((any::<bool>(), 0_u64..120, 0_u64..2000, any::<bool>()), 0..5)) {
            let mut world = World::new();
            let now = world.now;
            for ((bad, healthy, last, pruned), letter) in known.iter().zip(["c", "d", "e", "f", "0"]) {
                let since = minutes(healthy + last + 3);
                let mut one = release(letter, now, since, minutes(*healthy), minutes(*last));
                one.bad = bad.then(|| (now, "i0".to_owned()));
                world.history().releases.insert(0, one);
                if !pruned {
                    world.workload().replica_sets.insert(0, replica_set(letter, 1, now - since, 0));
                }
            }
            if let Ok(to) = choose(&world.scene()) {
                let chosen = world.history().release(&to.digest).expect("one that is remembered").clone();
                prop_assert!(chosen.bad.is_none() && chosen.healthy >= minutes(30) && to.digest != digest("b"));
                prop_assert!(chosen.last_available.is_some_and(|at| now.since(at) <= hours(24)));
                prop_assert!(world.workload().replica_sets.iter().any(|set| Some(&set.name) == to.replica_set.as_ref()));
            }
        }
    }
}
