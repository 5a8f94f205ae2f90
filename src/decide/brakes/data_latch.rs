//! `data_latch`: code that goes back does not bring data back. Where data may be corrupt, or a migration ran since the release to go back
//! to, a person looks first and says so. Data barriers that a release or a posted change names are `fit_target`'s business.

use super::words::{self, clock};
use super::{Scene, choose_release};
use crate::decide::book::{History, Release};
use crate::decide::decision::Judgement;
use crate::decide::latch::{Latch, Latching, UNTIL};
use crate::model::{Brake, LatchCause, Migration, MigrationState, TargetRef};
use crate::policy::types::TargetPattern;

pub(super) fn judge(scene: &Scene<'_>) -> Judgement {
    const BRAKE: Brake = Brake::DataLatch;
    let Some(target) = scene.incident.target.as_ref().map(|target| &target.at) else {
        return Judgement::blind(BRAKE, "without a target nobody can tell whether it is latched");
    };
    if let Some(latch) = scene.book.latched(target, group(scene)).next() {
        return Judgement::held(BRAKE, held_by(latch, scene));
    }
    if let Some(why) = scene.unsure_latch {
        return Judgement::blind(BRAKE, why);
    }
    let migrations = match scene.workload().map(|workload| &workload.migrations) {
        None => return Judgement::blind(BRAKE, "the target could not be read"),
        Some(Err(why)) => {
            return Judgement::blind(BRAKE, format!("whether a migration ran between the releases could not be read: {why}"));
        }
        Some(Ok(migrations)) => migrations,
    };
    match between(scene, target, migrations) {
        Some((migration, to)) if migration.state == MigrationState::Running => Judgement::held(BRAKE, said(scene, migration, to)),
        Some((migration, to)) => Judgement::held(BRAKE, format!("{}; held {UNTIL}", said(scene, migration, to))),
        None => Judgement::free(BRAKE, "no latch is on it, and no migration that we know of ran between the releases"),
    }
}

/// The latch that a migration between the releases begins, once it is over: it stays when the Job is gone.
pub fn migrated(scene: &Scene<'_>) -> Option<Latching> {
    let target = scene.incident.target.as_ref().map(|target| &target.at)?;
    let migrations = scene.workload()?.migrations.as_ref().ok()?;
    if scene.book.latched(target, group(scene)).next().is_some() {
        return None;
    }
    let (migration, to) = between(scene, target, migrations).filter(|(found, _)| found.state != MigrationState::Running)?;
    Some(Latching {
        cause: LatchCause::Migration,
        because: said(scene, migration, to),
        policy: scene.policy.name.clone(),
        covers: group(scene).iter().map(|pattern| pattern.0.clone()).collect(),
        through: Some(migration.at),
    })
}

/// What shares its data with the target, as the policy says.
fn group<'a>(scene: &Scene<'a>) -> &'a [TargetPattern] {
    scene.policy.brakes.data_latch.on().map_or(&[], |numbers| &numbers.data_group)
}

fn held_by(latch: &Latch, scene: &Scene<'_>) -> String {
    let (id, cause, since) = (latch.id, latch.wanted.cause, clock(latch.from, scene.now));
    format!(
        "latch {id} ({cause}) holds {} since {since}, by incident {}: {}; a person who looked at the data ends it (`backout clear {id}`)",
        latch.covered(),
        latch.incident,
        latch.wanted.because
    )
}

fn said(scene: &Scene<'_>, migration: &Migration, to: &Release) -> String {
    let (name, state, at) = (&migration.name, migration.state.as_str(), clock(migration.at, scene.now));
    let since = if migration.state == MigrationState::Running { "since" } else { "at" };
    let live = clock(to.live_since, scene.now);
    let release = words::release(&to.images, &to.digest);
    format!("migration Job `{name}` {state} {since} {at}, and {release}, which was written at {live}, comes from before it")
}

/// The migration that ended last and lies between the release to go back to and what runs. Where there is no release to go back to,
/// `fit_target` holds.
fn between<'a>(scene: &'a Scene<'_>, target: &TargetRef, migrations: &'a [Migration]) -> Option<(&'a Migration, &'a Release)> {
    let history = scene.history()?;
    let to = history.release(&choose_release(scene).ok()?.digest)?;
    let cleared = |migration: &Migration| {
        let over = scene.book.latches.values().filter(|latch| !latch.holds() && latch.wanted.cause == LatchCause::Migration);
        let about_it = |latch: &Latch| latch.covers(target, group(scene)) && latch.wanted.through >= Some(migration.at);
        migration.state != MigrationState::Running && over.into_iter().any(about_it)
    };
    let lies_between = |migration: &&Migration| !is_its_own(migration, history, to) && !cleared(migration);
    migrations.iter().rev().find(lies_between).map(|migration| (migration, to))
}

/// Whether a migration belongs to the release itself, or to one before it. Only where that is certain: by its time, or because it ran
/// with an image of that release, and of no later one, while that release was there.
fn is_its_own(migration: &Migration, history: &History, to: &Release) -> bool {
    if migration.state == MigrationState::Running {
        return false;
    }
    let shares = |release: &Release| migration.images.iter().any(|image| release.images.contains(image));
    let later = |release: &&Release| release.live_since > to.live_since;
    let while_it_ran = to.last_available.is_some_and(|last| migration.at <= last) || to.available_since.is_some();
    migration.at <= to.live_since || (while_it_ran && shares(to) && !history.releases.iter().filter(later).any(shares))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{World, hours, minutes, on, unreachable};
    use super::*;
    use crate::decide::decision::Grip;
    use crate::decide::latch::Cleared;
    use crate::model::{IncidentId, Time};
    use crate::policy::types::{DataLatch, Setting};

    fn latch(world: &mut World, id: u64, on: &str, covers: &[&str]) {
        let wanted = Latching {
            cause: LatchCause::Corruption,
            because: "rule `data` says that data may be corrupt".to_owned(),
            policy: "other".to_owned(),
            covers: covers.iter().map(|pattern| (*pattern).to_owned()).collect(),
            through: None,
        };
        let target = TargetRef::deployment("shop", on).expect("valid names");
        let (incident, from) = (IncidentId("i0".to_owned()), world.ago(hours(1)));
        world.book.latch(&Latch { id, wanted, target: Some(target), incident, from, cleared: None });
    }

    fn clear(world: &mut World, id: u64) {
        let cleared = Cleared { at: world.now, by: "ann".to_owned(), identity: None, reason: "looked".to_owned() };
        world.book.clear(id, &cleared);
    }

    /// A Job of that image which ended so long ago.
    fn migration(world: &mut World, image: &str, state: MigrationState, at: Time) {
        let migration = Migration { name: "migrate".to_owned(), images: vec![image.to_owned()], state, at };
        let migrations = &mut world.workload().migrations;
        migrations.as_mut().expect("the fixture could read them").push(migration);
    }

    fn grip(world: &World) -> (Grip, String) {
        let judgement = judge(&world.scene());
        (judgement.grip, judgement.because)
    }

    #[test]
    fn a_latch_holds_its_target_and_what_shares_the_data_until_it_is_cleared() {
        type Case = (&'static str, fn(&mut World), Grip);
        let cases: &[Case] = &[
            ("its target", |w| latch(w, 1, "web", &[]), Grip::Held),
            ("another one", |w| latch(w, 1, "cart", &[]), Grip::Free),
            ("its group", |w| latch(w, 1, "cart", &["shop/w*"]), Grip::Held),
            ("another group", |w| latch(w, 1, "cart", &["shop/x*"]), Grip::Free),
            (
                "our group",
                |w| {
                    latch(w, 1, "cart", &[]);
                    w.policy.brakes.data_latch = on(DataLatch { data_group: vec![TargetPattern("shop/c*".to_owned())] });
                },
                Grip::Held,
            ),
        ];
        for (name, spoil, expected) in cases {
            let mut world = World::new();
            spoil(&mut world);
            let (found, because) = grip(&world);
            assert_eq!(found, *expected, "{name}: {because}");
            if found == Grip::Held {
                assert!(because.contains("latch 1 (corruption)") && because.contains("`backout clear 1`"), "{because}");
                clear(&mut world, 1);
                assert_eq!(grip(&world).0, Grip::Free, "{name}");
            }
        }
    }

    #[test]
    fn one_of_two_latches_that_was_cleared_leaves_the_other() {
        let mut world = World::new();
        latch(&mut world, 1, "web", &[]);
        latch(&mut world, 2, "web", &[]);
        clear(&mut world, 1);
        assert!(grip(&world).1.contains("latch 2"));
    }

    /// The fixture: `a` was written two days ago and was available until 20 minutes ago, when `b` was written.
    #[test]
    fn a_migration_since_the_release_to_go_back_to_holds() {
        use MigrationState::{Completed, Failed, Running};
        for (name, image, state, ago, held) in [
            ("just before the new one", "tool:1", Completed, minutes(21), true),
            ("while the new one ran", "tool:1", Completed, minutes(5), true),
            ("of the new one's image", "web:b", Completed, minutes(30), true),
            ("it failed", "tool:1", Failed, minutes(5), true),
            ("it runs", "tool:1", Running, minutes(1), true),
            ("it has been running since before the old one", "web:a", Running, hours(90), true),
            ("days ago, by nobody's image", "tool:1", Completed, hours(40), true),
            ("of the old one's image, while that ran", "web:a", Completed, hours(40), false),
            ("of the old one's image, after it", "web:a", Completed, minutes(5), true),
            ("before the old one", "tool:1", Completed, hours(49), false),
        ] {
            let mut world = World::new();
            let at = world.ago(ago);
            migration(&mut world, image, state, at);
            let (found, because) = grip(&world);
            assert_eq!(found == Grip::Held, held, "{name}: {because}");
            let latching = migrated(&world.scene());
            assert_eq!(latching.is_some(), held && state != Running, "{name}: one that runs is looked at again");
            assert!(latching.is_none_or(|latching| latching.through == Some(at)));
        }
    }

    #[test]
    fn an_image_that_both_releases_have_tells_nothing() {
        let mut world = World::new();
        for letter in ["a", "b"] {
            world.release(letter).images = vec!["web:latest".to_owned()];
        }
        let at = world.ago(hours(40));
        migration(&mut world, "web:latest", MigrationState::Completed, at);
        assert_eq!(grip(&world).0, Grip::Held);
    }

    #[test]
    fn what_a_person_cleared_does_not_hold_again_and_the_next_one_does() {
        let mut world = World::new();
        let at = world.ago(minutes(25));
        migration(&mut world, "tool:1", MigrationState::Completed, at);
        let wanted = migrated(&world.scene()).expect("it holds");
        let target = world.incident.target.as_ref().map(|target| target.at.clone());
        let latch = Latch { id: 7, wanted, target, incident: world.incident.id.clone(), from: world.now, cleared: None };
        world.book.latch(&latch);
        assert_eq!((grip(&world).0, migrated(&world.scene())), (Grip::Held, None), "it is latched already");
        clear(&mut world, 7);
        assert_eq!(grip(&world).0, Grip::Free);
        let at = world.ago(minutes(24));
        migration(&mut world, "tool:1", MigrationState::Completed, at);
        assert_eq!(grip(&world).0, Grip::Held, "another one, which nobody looked at");
    }

    #[test]
    fn blind_it_holds() {
        type Case = (&'static str, fn(&mut World), &'static str);
        let cases: &[Case] = &[
            ("no target", |w| w.incident.target = None, "without a target"),
            ("target not read", World::lose_workload, "the target could not be read"),
            ("Jobs not read", |w| w.workload().migrations = Err(unreachable()), "could not be read: connection refused"),
        ];
        for (name, spoil, words) in cases {
            let mut world = World::new();
            spoil(&mut world);
            let (blind, because) = grip(&world);
            assert_eq!(blind, Grip::Blind, "{name}: {because}");
            assert!(because.contains(words), "{name}: {because}");
            assert_eq!(migrated(&world.scene()), None, "{name}");
        }
        let world = World::new();
        let scene = Scene { unsure_latch: Some("whether `other` latches it cannot be told"), ..world.scene() };
        assert_eq!(judge(&scene).grip, Grip::Blind);
    }

    #[test]
    fn the_policys_group_is_latched_with_it() {
        let mut world = World::new();
        world.policy.brakes.data_latch = on(DataLatch { data_group: vec![TargetPattern("shop/*".to_owned())] });
        let at = world.ago(minutes(25));
        migration(&mut world, "tool:1", MigrationState::Completed, at);
        assert_eq!(migrated(&world.scene()).map(|latching| latching.covers), Some(vec!["shop/*".to_owned()]));
        world.policy.brakes.data_latch = Setting::Disabled("no data".to_owned());
        assert_eq!(migrated(&world.scene()).map(|latching| latching.covers), Some(Vec::new()));
    }

    fn ended() -> impl Strategy<Value = (bool, bool, u64)> {
        (any::<bool>(), any::<bool>(), 0_u64..4000)
    }

    fn world(all: &[(bool, bool, u64)]) -> World {
        let mut world = World::new();
        let mut sorted = all.to_vec();
        sorted.sort_by_key(|(_, _, ago)| std::cmp::Reverse(*ago));
        for (own, failed, ago) in sorted {
            let state = if failed { MigrationState::Failed } else { MigrationState::Completed };
            let at = world.ago(minutes(ago));
            migration(&mut world, if own { "web:a" } else { "tool:1" }, state, at);
        }
        world
    }

    proptest! {
        /// More Jobs and more latches never let go.
        #[test]
        fn another_one_never_lets_go(all in proptest::collection::vec(ended(), 0..6), more in ended(), latched in any::<bool>()) {
            let before = judge(&world(&all).scene()).holds();
            let mut after = world(&all.into_iter().chain([more]).collect::<Vec<_>>());
            if latched {
                latch(&mut after, 1, "cart", &["shop/web"]);
            }
            prop_assert!(!before || judge(&after.scene()).holds());
            prop_assert!(!latched || judge(&after.scene()).holds());
        }

        /// What is latched stays so, however long, whatever else happens: only clearing it ends it.
        #[test]
        fn time_never_ends_a_latch(days in 0_u64..4000, cleared in proptest::collection::btree_set(1_u64..5, 0..5)) {
            let mut world = World::new();
            (1..5).for_each(|id| latch(&mut world, id, "web", &[]));
            world.now = world.now + hours(24 * days);
            cleared.iter().for_each(|id| clear(&mut world, *id));
            prop_assert_eq!(judge(&world.scene()).holds(), cleared.len() < 4);
        }

        /// Every migration after the old release ended holds, whatever its image.
        #[test]
        fn what_ran_after_the_old_release_always_holds(own in any::<bool>(), failed in any::<bool>(), ago in 0_u64..20) {
            prop_assert!(judge(&world(&[(own, failed, ago)]).scene()).holds());
        }
    }
}
