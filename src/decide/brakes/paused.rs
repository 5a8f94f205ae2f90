//! `paused`: somebody stopped the machine, with a reason. Cannot be switched off.

use super::Scene;
use super::words::left;
use crate::decide::book::Pause;
use crate::decide::decision::Judgement;
use crate::model::{Brake, PauseScope};

pub(super) fn judge(scene: &Scene<'_>) -> Judgement {
    const BRAKE: Brake = Brake::Paused;
    let target = scene.incident.target.as_ref().map(|target| &target.at);
    let active = |pause: &&Pause| pause.from <= scene.now && scene.now < pause.until;
    let covers = |pause: &&Pause| pause.covers(target, &scene.policy.name);
    // The one that lasts longest: before its end nothing lets go.
    if let Some(pause) = scene.book.pauses.values().filter(active).filter(covers).max_by_key(|pause| pause.until) {
        let (what, left) = (scope(&pause.scope), left(pause.until, scene.now));
        return Judgement::held(BRAKE, format!("{what} is paused by {}: {}; {left}", pause.by, pause.reason)).until(pause.until);
    }
    if target.is_none() {
        return Judgement::blind(BRAKE, "the target is not known, and so whether a pause covers it");
    }
    let Some(workload) = scene.workload() else {
        return Judgement::blind(BRAKE, "the target could not be read, and so whether it carries `backout.dev/pause`");
    };
    match &workload.pause {
        Some(reason) => Judgement::held(BRAKE, format!("the annotation `backout.dev/pause` says: {reason}")),
        None => Judgement::free(BRAKE, "nobody paused it"),
    }
}

fn scope(scope: &PauseScope) -> String {
    match scope {
        PauseScope::Global => "everything".to_owned(),
        PauseScope::Namespace(name) => format!("namespace {name}"),
        PauseScope::Target(name) => format!("target {name}"),
        PauseScope::Policy(name) => format!("policy {name}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{World, minutes};
    use super::*;
    use crate::decide::decision::Grip;

    #[test]
    fn holds_while_a_pause_covers_the_target() {
        let name = |text: &str| text.to_owned();
        // Scope, begin in minutes ago, end in minutes from now, whether it holds.
        let cases = [
            (PauseScope::Global, 5, 10, true),
            (PauseScope::Global, 5, 0, false),
            (PauseScope::Global, 0, 10, true),
            (PauseScope::Namespace(name("shop")), 5, 10, true),
            (PauseScope::Namespace(name("other")), 5, 10, false),
            (PauseScope::Target(name("shop/web")), 5, 10, true),
            (PauseScope::Target(name("shop/api")), 5, 10, false),
            (PauseScope::Policy(name("web")), 5, 10, true),
            (PauseScope::Policy(name("api")), 5, 10, false),
        ];
        for (scope, from, until, holds) in cases {
            let mut world = World::new();
            pause(&mut world, scope.clone(), from, until);
            let judgement = judge(&world.scene());
            assert_eq!(judgement.holds(), holds, "{scope:?} {from} {until}: {}", judgement.because);
        }
    }

    #[test]
    fn says_who_why_and_until_when() {
        let mut world = World::new();
        pause(&mut world, PauseScope::Global, 5, 10);
        pause(&mut world, PauseScope::Namespace("shop".to_owned()), 5, 41);
        let judgement = judge(&world.scene());
        assert_eq!(judgement.because, "namespace shop is paused by ann: moving house; held for another 41m");
        assert_eq!(judgement.until, Some(world.now + minutes(41)));
    }

    #[test]
    fn whoever_has_only_kubectl_can_stop_it() {
        let mut world = World::new();
        world.workload().pause = Some("load test".to_owned());
        let judgement = judge(&world.scene());
        assert_eq!(judgement.grip, Grip::Held);
        assert!(judgement.because.contains("load test"));
    }

    #[test]
    fn holds_when_blind() {
        for spoil in [World::lose_workload as fn(&mut World), |w| w.incident.target = None] {
            let mut world = World::new();
            spoil(&mut world);
            assert_eq!(judge(&world.scene()).grip, Grip::Blind);
        }
    }

    fn pause(world: &mut World, scope: PauseScope, from: u64, until: u64) {
        let id = world.book.pauses.len() as u64;
        let (from, until) = (world.ago(minutes(from)), world.now + minutes(until));
        let pause = Pause { id, scope, reason: "moving house".to_owned(), by: "ann".to_owned(), identity: None, from, until };
        world.book.pauses.insert(id, pause);
    }

    proptest! {
        /// Another pause never lets go, and at the time that it names it does.
        #[test]
        fn another_pause_never_lets_go(pauses in proptest::collection::vec((0_u64..60, 0_u64..60), 0..6), more in (0_u64..60, 0_u64..60)) {
            let world = |pauses: &[(u64, u64)]| {
                let mut world = World::new();
                pauses.iter().for_each(|(from, until)| pause(&mut world, PauseScope::Namespace("shop".to_owned()), *from, *until));
                world
            };
            let mut before = world(&pauses);
            let judgement = judge(&before.scene());
            let all: Vec<(u64, u64)> = pauses.iter().copied().chain([more]).collect();
            prop_assert!(!judgement.holds() || judge(&world(&all).scene()).holds());
            if let Some(until) = judgement.until {
                before.now = until;
                prop_assert!(!judge(&before.scene()).holds(), "all of them are over then");
            }
        }
    }
}
