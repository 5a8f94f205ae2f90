//! `owner`: who would undo our write? A rollback that git takes back within minutes is worse than none.

use super::Scene;
use crate::decide::decision::Judgement;
use crate::model::{Brake, Owner};

pub(super) fn judge(scene: &Scene<'_>) -> Judgement {
    const BRAKE: Brake = Brake::Owner;
    let Some(workload) = scene.workload() else {
        return Judgement::blind(BRAKE, "the target could not be read, and so who owns it is not known");
    };
    match lever(&workload.owner) {
        None => Judgement::free(BRAKE, "nobody would undo the write"),
        Some(lever) => Judgement::held(BRAKE, format!("{} owns the target and would undo the write; {lever}", workload.owner)),
    }
}

/// What a person can pull instead, so that it sticks.
fn lever(owner: &Owner) -> Option<String> {
    match owner {
        Owner::Plain => None,
        Owner::Helm(release) => {
            let (namespace, name) = release.split_once('/').unwrap_or(("", release));
            let namespace = if namespace.is_empty() { String::new() } else { format!(" --namespace {namespace}") };
            Some(format!("`helm rollback {name}{namespace}` goes back and sticks"))
        }
        Owner::ArgoCd(app) => {
            Some(format!("revert in git, or switch its automated sync off and run `argocd app rollback {app}`"))
        }
        Owner::Flux(_) => Some("revert in git, or suspend it (`flux suspend`) and roll back by hand".to_owned()),
        Owner::Controller(_) => Some("go back there: it writes the Deployment from its own template".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::World;
    use super::*;
    use crate::decide::decision::Grip;

    #[test]
    fn holds_for_everybody_who_would_undo_it() {
        for (owner, grip, words) in [
            (Owner::Plain, Grip::Free, "nobody"),
            (
                Owner::Helm("shop/web".to_owned()),
                Grip::Held,
                "Helm release shop/web owns the target and would undo the write; `helm rollback web --namespace shop`",
            ),
            (Owner::ArgoCd("web".to_owned()), Grip::Held, "`argocd app rollback web`"),
            (Owner::Flux("flux-system/web".to_owned()), Grip::Held, "`flux suspend`"),
            (Owner::Controller("Canary/web".to_owned()), Grip::Held, "controller Canary/web owns"),
        ] {
            let mut world = World::new();
            world.workload().owner = owner;
            let judgement = judge(&world.scene());
            assert_eq!(judgement.grip, grip, "{}", judgement.because);
            assert!(judgement.because.contains(words), "{}", judgement.because);
        }
    }

    #[test]
    fn holds_when_blind() {
        let mut world = World::new();
        world.lose_workload();
        assert_eq!(judge(&world.scene()).grip, Grip::Blind);
        world.observation.workload = None;
        assert_eq!(judge(&world.scene()).grip, Grip::Blind);
    }

    proptest! {
        /// Whoever owns the target holds, whatever he is called.
        #[test]
        fn every_owner_holds(name in ".{0,40}", kind in 0_u8..4) {
            let mut world = World::new();
            world.workload().owner = match kind {
                0 => Owner::Helm(name),
                1 => Owner::ArgoCd(name),
                2 => Owner::Flux(name),
                _ => Owner::Controller(name),
            };
            prop_assert_eq!(judge(&world.scene()).grip, Grip::Held);
        }
    }
}
