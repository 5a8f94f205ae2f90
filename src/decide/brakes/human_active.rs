//! `human_active`: a person who is at work on the target wins. Never revert what somebody did on purpose.

use super::Scene;
use super::words::{clock, left, release, second};
use crate::decide::decision::Judgement;
use crate::decide::presence::Presence;
use crate::model::{Brake, Time, Workload};

pub(super) fn judge(scene: &Scene<'_>) -> Judgement {
    const BRAKE: Brake = Brake::HumanActive;
    if let Presence::Silenced(by) = scene.presence {
        return Judgement::held(BRAKE, format!("the alert is silenced: {by}"));
    }
    if let Some((at, by, why)) = &scene.incident.vetoed {
        return Judgement::held(BRAKE, format!("vetoed by {by} at {}: {why}", clock(*at, scene.now)));
    }
    if let Some((id, by)) = vetoed_beside(scene) {
        return Judgement::held(BRAKE, format!("{by} vetoed incident {id} on this target, which is still open"));
    }
    let Some(history) = scene.history() else {
        return Judgement::blind(BRAKE, "nothing is remembered of this target, vetoes included");
    };
    if let Some(until) = history.veto_until.filter(|until| *until > scene.now) {
        return Judgement::held(BRAKE, format!("a veto is on the target: {}", left(until, scene.now))).until(until);
    }
    let Some(workload) = scene.workload() else {
        return Judgement::blind(BRAKE, "the target could not be read");
    };
    if workload.paused {
        return Judgement::held(BRAKE, "somebody paused the rollout (`spec.paused`)");
    }
    let Some(suspect) = &scene.incident.release else {
        return Judgement::blind(BRAKE, "what ran on the target at the onset is not known");
    };
    let ours = scene.incident.attempts.iter().any(|attempt| attempt.plan.to.digest == workload.release);
    if workload.release != *suspect && !ours {
        let there = release(&workload.images, &workload.release);
        return Judgement::held(BRAKE, format!("another release is there than at the onset: {there}"));
    }
    match scene.incident.onset() {
        Ok(onset) => written_since(workload, onset, scene.now),
        Err(why) => Judgement::blind(BRAKE, format!("when the trouble began is not known: {why}")),
    }
}

/// A veto holds the target for as long as its incident is open, however long that is.
fn vetoed_beside<'a>(scene: &'a Scene<'_>) -> Option<(&'a str, &'a str)> {
    let at = scene.incident.target.as_ref().map(|target| &target.at)?;
    let same = |other: &&crate::decide::incident::Incident| other.target.as_ref().is_some_and(|target| target.at == *at);
    scene.book.open().filter(same).find_map(|other| other.vetoed.as_ref().map(|(_, by, _)| (other.id.as_str(), by.as_str())))
}

/// Writes by others since the onset. They are kept in whole seconds: one within the onset's second may have come after it. The
/// change itself does not; `recent_change` wants it in an earlier second.
fn written_since(workload: &Workload, onset: Time, now: Time) -> Judgement {
    const BRAKE: Brake = Brake::HumanActive;
    let began = clock(onset, now);
    let last = workload.writes.iter().filter(|write| write.at >= second(onset)).max_by_key(|write| write.at);
    match last {
        Some(write) => {
            let what = if write.template { "template" } else { "replicas or `paused`" };
            let (by, at) = (&write.manager, clock(write.at, now));
            Judgement::held(BRAKE, format!("`{by}` wrote the {what} at {at}, after the onset {began}"))
        }
        None => Judgement::free(BRAKE, format!("nobody wrote to the target since the onset {began}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::fixture::{World, digest, hours, minutes};
    use super::*;
    use crate::decide::decision::Grip;
    use crate::decide::incident::Incident;
    use crate::model::{IncidentId, TargetId, TargetRef, Write};

    type Case = (&'static str, fn(&mut World), Grip, &'static str);

    #[test]
    fn holds_while_a_person_is_at_work() {
        let cases: &[Case] = &[
            ("nobody", |_| {}, Grip::Free, "nobody wrote to the target since the onset 09:14:00Z"),
            ("silenced", |w| w.presence = Presence::Silenced("ann: looking".to_owned()), Grip::Held, "silenced: ann: looking"),
            (
                "vetoed",
                |w| w.incident.vetoed = Some((w.now, "ann".to_owned(), "no".to_owned())),
                Grip::Held,
                "vetoed by ann at 09:24:00Z: no",
            ),
            ("vetoed before", |w| w.history().veto_until = Some(w.now + hours(2)), Grip::Held, "held for another 2h"),
            ("that veto is over", |w| w.history().veto_until = Some(w.now), Grip::Free, "nobody"),
            ("paused", |w| w.workload().paused = true, Grip::Held, "spec.paused"),
            ("scaled", |w| write(w, minutes(9), false), Grip::Held, "`kubectl` wrote the replicas or `paused` at 09:15:00Z"),
            ("fixed forward, same template", |w| write(w, minutes(9), true), Grip::Held, "wrote the template"),
            (
                "in the onset's second",
                |w| {
                    write(w, minutes(10), false);
                    w.onset(w.now - minutes(10) + Duration::from_millis(700));
                },
                Grip::Held,
                "after the onset",
            ),
            ("before it", |w| write(w, minutes(10) + Duration::from_secs(1), false), Grip::Free, "nobody"),
            (
                "a newer release",
                |w| {
                    w.workload().release = digest("c");
                    w.workload().images = vec!["web:c".to_owned()];
                },
                Grip::Held,
                "another release is there than at the onset: web:c",
            ),
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
    fn holds_when_blind() {
        let cases: &[fn(&mut World)] = &[World::lose_workload, World::lose_onset, World::forget, |w| w.incident.release = None];
        for spoil in cases {
            let mut world = World::new();
            spoil(&mut world);
            assert_eq!(judge(&world.scene()).grip, Grip::Blind);
        }
    }

    #[test]
    fn a_veto_of_an_open_incident_beside_holds_the_same_target() {
        let mut world = World::new();
        let vetoed = Some((world.now, "ann".to_owned(), "no".to_owned()));
        let other = Incident { id: IncidentId("i2".to_owned()), vetoed, ..world.incident.clone() };
        world.book.incidents.insert(other.id.clone(), other.clone());
        let judgement = judge(&world.scene());
        assert_eq!(judgement.grip, Grip::Held);
        assert_eq!(judgement.because, "ann vetoed incident i2 on this target, which is still open");
        let at = TargetRef::deployment("shop", "cart").expect("valid names");
        let target = Some(TargetId { at, uid: "u2".to_owned() });
        world.book.incidents.insert(other.id.clone(), Incident { target, ..other });
        assert_eq!(judge(&world.scene()).grip, Grip::Free, "it is about another target");
    }

    fn write(world: &mut World, ago: Duration, template: bool) {
        let at = world.ago(ago);
        world.workload().writes.push(Write { manager: "kubectl".to_owned(), at, template });
    }

    proptest! {
        /// A write since the onset holds, whoever else wrote when; and another one never lets go.
        #[test]
        fn another_write_never_lets_go(writes in proptest::collection::vec((0_u64..2400, any::<bool>()), 0..8), more in (0_u64..2400, any::<bool>())) {
            let holds = |writes: &[(u64, bool)]| {
                let mut world = World::new();
                writes.iter().for_each(|(ago, template)| write(&mut world, Duration::from_secs(*ago), *template));
                judge(&world.scene()).holds()
            };
            prop_assert_eq!(holds(&writes), writes.iter().any(|(ago, _)| *ago <= 600));
            let all: Vec<(u64, bool)> = writes.iter().copied().chain([more]).collect();
            prop_assert!(!holds(&writes) || holds(&all));
        }

        /// A veto holds for as long as it says, and no write makes it end.
        #[test]
        fn a_veto_outlasts_everything(left in 1_u64..600, ago in 0_u64..2400) {
            let mut world = World::new();
            world.history().veto_until = Some(world.now + minutes(left));
            write(&mut world, Duration::from_secs(ago), true);
            prop_assert!(judge(&world.scene()).holds());
        }
    }
}
