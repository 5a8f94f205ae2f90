//! `trust`: people marked rollbacks of this policy wrong. From then on it asks before it acts, until a named person arms it again. It
//! lowers the mode instead of holding: whoever approves has looked.

use super::Scene;
use super::words::span;
use crate::decide::book::{Book, Wrong};
use crate::decide::decision::Judgement;
use crate::model::{Brake, Time};
use crate::planted::{self, Bug};
use crate::policy::types::Policy;

pub(super) fn judge(scene: &Scene<'_>) -> Judgement {
    const BRAKE: Brake = Brake::Trust;
    let Some(trust) = scene.policy.brakes.trust.on() else {
        return Judgement::free(BRAKE, "no number is set");
    };
    let because = distrust(scene.policy, scene.book, scene.now).unwrap_or_else(|| {
        let (counted, most) = (counting(scene.policy, scene.book, scene.now).count(), trust.wrong);
        format!("{counted} of {most} rollbacks of this policy were marked wrong within {}", span(trust.within))
    });
    Judgement::free(BRAKE, because)
}

/// Why a policy must ask before it acts, if it must.
pub fn distrust(policy: &Policy, book: &Book, now: Time) -> Option<String> {
    let trust = policy.brakes.trust.on()?;
    let counted = counting(policy, book, now).count();
    let last = counting(policy, book, now).max_by_key(|wrong| wrong.at)?;
    (counted >= trust.wrong as usize && !planted::is(Bug::TrustForgotten)).then(|| {
        format!(
            "{counted} of its rollbacks within {} were marked wrong, incident {} last by {}: it asks for approval until somebody \
             arms it again (`backout rearm {}`)",
            span(trust.within),
            last.incident,
            last.by,
            policy.name
        )
    })
}

/// Those that count now. One whose time lies ahead does: our clock was set, the mark was not taken back.
fn counting<'a>(policy: &'a Policy, book: &'a Book, now: Time) -> impl Iterator<Item = &'a Wrong> {
    let within = policy.brakes.trust.on().map(|trust| trust.within);
    let wrongs = book.wrongs.get(&policy.name).into_iter().flatten();
    wrongs.filter(move |wrong| within.is_some_and(|within| now.since(wrong.at) < within))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{World, hours, on};
    use super::*;
    use crate::decide::decision::Grip;
    use crate::model::IncidentId;
    use crate::policy::types::{Setting, Trust};

    fn wrong(world: &mut World, incident: &str, ago: u64) {
        let at = world.ago(hours(ago));
        let wrong = Wrong { incident: IncidentId(incident.to_owned()), at, by: "ann".to_owned() };
        world.book.wrongs.entry("web".to_owned()).or_default().push(wrong);
    }

    fn asks(world: &World) -> Option<String> {
        distrust(&world.policy, &world.book, world.now)
    }

    #[test]
    fn one_wrong_rollback_is_enough_for_thirty_days() {
        let mut world = World::new();
        assert_eq!((asks(&world), judge(&world.scene()).grip), (None, Grip::Free));
        wrong(&mut world, "i0", 30 * 24);
        assert_eq!(asks(&world), None, "thirty days ago");
        wrong(&mut world, "i1", 30 * 24 - 1);
        let why = asks(&world).expect("it asks");
        assert!(why.contains("incident i1 last by ann") && why.contains("`backout rearm web`"), "{why}");
        assert_eq!(judge(&world.scene()).because, why);
        assert!(!judge(&world.scene()).holds(), "it asks, and does not hold what was approved");
    }

    #[test]
    fn numbers_and_the_switch_are_the_policys() {
        let mut world = World::new();
        wrong(&mut world, "i1", 1);
        world.policy.brakes.trust = on(Trust { wrong: 2, within: hours(2) });
        assert_eq!(asks(&world), None);
        wrong(&mut world, "i2", 1);
        assert!(asks(&world).is_some());
        world.policy.brakes.trust = Setting::Disabled("we are on trial".to_owned());
        assert_eq!(asks(&world), None);
    }

    /// Blind here is a clock that cannot be right: what was marked counts all the same.
    #[test]
    fn a_mark_that_lies_ahead_counts() {
        let mut world = World::new();
        let at = world.now + hours(5);
        let wrong = Wrong { incident: IncidentId("i1".to_owned()), at, by: "ann".to_owned() };
        world.book.wrongs.insert("web".to_owned(), vec![wrong]);
        assert!(asks(&world).is_some());
    }

    #[test]
    fn another_policys_rollbacks_are_its_own_affair() {
        let mut world = World::new();
        wrong(&mut world, "i1", 1);
        let wrongs = world.book.wrongs.remove("web").expect("there");
        world.book.wrongs.insert("cart".to_owned(), wrongs);
        assert_eq!(asks(&world), None);
    }

    proptest! {
        /// So many marks within the time make it ask; one more never makes it act.
        #[test]
        fn another_mark_never_makes_it_act(agos in proptest::collection::vec(0_u64..1000, 0..6), more in 0_u64..1000, least in 1_u32..4) {
            let is_asking = |agos: &[u64]| {
                let mut world = World::new();
                world.policy.brakes.trust = on(Trust { wrong: least, within: hours(720) });
                agos.iter().enumerate().for_each(|(number, ago)| wrong(&mut world, &format!("i{number}"), *ago));
                asks(&world).is_some()
            };
            prop_assert_eq!(is_asking(&agos), agos.iter().filter(|ago| **ago < 720).count() >= least as usize);
            let all: Vec<u64> = agos.iter().copied().chain([more]).collect();
            prop_assert!(!is_asking(&agos) || is_asking(&all));
        }
    }
}
