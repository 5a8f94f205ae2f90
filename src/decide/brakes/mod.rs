//! The brakes: one file each, all of the same shape. A brake never acts; it holds, lets go, or is blind, and blind holds.

mod budget;
mod control_group;
mod cooldown;
mod data_latch;
mod fit_target;
#[cfg(test)]
pub(in crate::decide) mod fixture;
mod flapping;
mod freeze;
mod human_active;
mod owner;
mod past;
mod paused;
mod permission;
mod quiet_start;
mod recent_change;
mod stale_facts;
mod storm;
mod truncated;
mod trust;
mod words;

pub use data_latch::migrated;
pub use fit_target::choose as choose_release;
pub use recent_change::{Change, change};
pub use stale_facts::stale;
pub use trust::distrust;

use std::collections::BTreeMap;

use super::book::{Book, History};
use super::decision::{Grip, Judgement};
use super::incident::Incident;
use super::limits::Limits;
use super::observation::Observation;
use super::presence::Presence;
use crate::model::{Brake, Mode, Resolution, Time, Workload};
use crate::planted::{self, Bug};
use crate::policy::interval::Interval;
use crate::policy::types::{Policy, Rule};

/// All that a brake may look at.
pub struct Scene<'a> {
    /// All that is remembered.
    pub book: &'a Book,
    /// The incident that wants a rollback.
    pub incident: &'a Incident,
    /// The policy that decides.
    pub policy: &'a Policy,
    /// The rule that said rollback.
    pub rule: &'a Rule,
    /// The mode that holds.
    pub mode: Mode,
    /// Whether the procedure may take the service down.
    pub may_drop: bool,
    /// What was observed.
    pub observation: &'a Observation,
    /// Whether the alerts fire.
    pub presence: &'a Presence,
    /// The names of the facts that the reached rules read.
    pub read: &'a [String],
    /// The names of brakes that a person overrode for this incident's plan.
    pub overrides: &'a [String],
    /// Why it is not known whether another policy wants the target latched, if it is not.
    pub unsure_latch: Option<&'a str>,
    /// The time intervals of all policies.
    pub intervals: &'a BTreeMap<String, Interval>,
    /// The product's times.
    pub limits: &'a Limits,
    /// The clock.
    pub now: Time,
}

impl Scene<'_> {
    /// The target as it was read live, if it could be.
    pub fn workload(&self) -> Option<&Workload> {
        match self.observation.workload.as_ref()? {
            Resolution::Found { workload } => Some(workload),
            _ => None,
        }
    }

    /// What is known of the target.
    pub fn history(&self) -> Option<&History> {
        self.book.history(self.incident.target.as_ref()?)
    }
}

/// Asks every brake, in the order of the reference.
pub fn judge_all(scene: &Scene<'_>) -> Vec<Judgement> {
    Brake::ALL.iter().map(|brake| judge(*brake, scene)).collect()
}

/// Asks one brake: unless the policy switched it off by name, or a person overrode it for this plan.
fn judge(brake: Brake, scene: &Scene<'_>) -> Judgement {
    if let Some(reason) = scene.policy.brakes.disabled(brake) {
        let because = format!("switched off in the policy: {reason}");
        return Judgement { brake, grip: Grip::Off(reason.to_owned()), because, until: None };
    }
    let judgement = match brake {
        Brake::RecentChange => recent_change::judge(scene),
        Brake::ControlGroup => control_group::judge(scene),
        Brake::FitTarget => fit_target::judge(scene),
        Brake::Cooldown => cooldown::judge(scene),
        Brake::Budget => budget::judge(scene),
        Brake::Flapping => flapping::judge(scene),
        Brake::Storm => storm::judge(scene),
        Brake::QuietStart => quiet_start::judge(scene),
        Brake::HumanActive => human_active::judge(scene),
        Brake::Owner => owner::judge(scene),
        Brake::DataLatch => data_latch::judge(scene),
        Brake::Freeze => freeze::judge(scene),
        Brake::Paused => paused::judge(scene),
        Brake::StaleFacts => stale_facts::judge(scene),
        Brake::Truncated => truncated::judge(scene),
        Brake::Permission => permission::judge(scene),
        Brake::Trust => trust::judge(scene),
    };
    if !judgement.holds() {
        return judgement;
    }
    if planted::is(Bug::BrakeOff(brake)) {
        return Judgement::free(brake, "planted");
    }
    let named = scene.overrides.iter().any(|name| name == brake.as_str());
    if named || (scene.incident.approval.is_some() && planted::is(Bug::YesOverridesAll)) {
        return Judgement { grip: Grip::Overridden, ..judgement };
    }
    judgement
}

#[cfg(test)]
mod tests {
    use super::fixture::World;
    use super::*;
    use crate::policy::types::Setting;

    #[test]
    fn the_fixture_lets_every_brake_go() {
        let world = World::new();
        let judgements = judge_all(&world.scene());
        assert_eq!(judgements.iter().map(|j| j.brake).collect::<Vec<_>>(), Brake::ALL);
        for judgement in judgements {
            assert_eq!(judgement.grip, Grip::Free, "{}: {}", judgement.brake, judgement.because);
        }
    }

    #[test]
    fn with_nothing_known_every_brake_that_needs_it_holds() {
        let mut world = World::new();
        world.forget();
        world.lose_workload();
        world.lose_onset();
        world.incident.target = None;
        world.observation.watch_heard_at = None;
        for judgement in judge_all(&world.scene()) {
            // A cut notification, what people marked, or a time that the policy names, is known to us or there was none.
            let known = matches!(judgement.brake, Brake::Truncated | Brake::Trust | Brake::Freeze);
            assert!(judgement.holds() || known, "{}", judgement.brake);
        }
    }

    #[test]
    fn switched_off_and_overridden_are_said() {
        let mut world = World::new();
        world.incident.vetoed = Some((world.now, "ann".to_owned(), "no".to_owned()));
        world.policy.brakes.owner = Setting::Disabled("plain everywhere".to_owned());
        let names = ["human_active".to_owned(), "cooldown".to_owned()];
        let scene = Scene { overrides: &names, ..world.scene() };
        assert_eq!(judge(Brake::HumanActive, &scene).grip, Grip::Overridden);
        assert_eq!(judge(Brake::Cooldown, &scene).grip, Grip::Free);
        assert_eq!(judge(Brake::Owner, &scene).grip, Grip::Off("plain everywhere".to_owned()));
    }
}
