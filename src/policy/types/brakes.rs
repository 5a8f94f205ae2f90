//! The brakes of a policy, each with its numbers.

use std::time::Duration;

use super::TargetPattern;
use crate::model::Brake;

/// Flaps of a target that are remembered: no penalty adds up from more.
pub const FLAPS: usize = 32;
/// Rollbacks of a target that are remembered: no allowance of more is ever spent.
pub const ROLLBACKS: usize = 50;
/// Rollbacks of a policy that were marked wrong and are remembered.
pub const WRONGS: usize = 64;

/// A brake: on with its numbers, or switched off by name with a reason that every decision shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting<T> {
    /// On.
    On(T),
    /// Off; the reason is shown in every decision.
    Disabled(String),
}

impl<T> Setting<T> {
    /// The numbers, where it is on.
    pub fn on(&self) -> Option<&T> {
        match self {
            Self::On(numbers) => Some(numbers),
            Self::Disabled(_) => None,
        }
    }
}

/// The brakes of a policy, each with its numbers. The defaults are the product's (see `rules/README.md`).
#[derive(Clone, Debug, PartialEq)]
pub struct BrakeSettings {
    /// Onset must follow a change within this.
    pub recent_change: Setting<RecentChange>,
    /// How many targets that did not change may show the same.
    pub control_group: Setting<ControlGroup>,
    /// What a release must have shown to be gone back to.
    pub fit_target: Setting<FitTarget>,
    /// Least time between rollbacks of a target.
    pub cooldown: Setting<Duration>,
    /// Allowances.
    pub budget: Setting<Budget>,
    /// Damping.
    pub flapping: Setting<Flapping>,
    /// How many targets that want a rollback at once are a storm.
    pub storm: Setting<Storm>,
    /// The longest gap of ours that does not count.
    pub quiet_start: Setting<Duration>,
    /// Whether a person's traces hold.
    pub human_active: Setting<()>,
    /// Whether a GitOps owner holds.
    pub owner: Setting<()>,
    /// Which targets share their data with the policy's.
    pub data_latch: Setting<DataLatch>,
    /// Time intervals, by name, in which nothing is rolled back.
    pub freeze: Setting<Vec<String>>,
    /// How old what we read may be.
    pub stale_facts: Setting<StaleFacts>,
    /// Whether a cut notification holds.
    pub truncated: Setting<()>,
    /// How many rollbacks may be marked wrong.
    pub trust: Setting<Trust>,
}

/// `trust`: so many rollbacks that were marked wrong within that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// From so many on.
    pub wrong: u32,
    /// A mark counts for this long.
    pub within: Duration,
}

impl Default for Trust {
    fn default() -> Self {
        Self { wrong: 1, within: Duration::from_secs(30 * 24 * 60 * 60) }
    }
}

impl Default for BrakeSettings {
    fn default() -> Self {
        Self {
            recent_change: Setting::On(RecentChange { within: Duration::from_secs(60 * 60) }),
            control_group: Setting::On(ControlGroup::default()),
            fit_target: Setting::On(FitTarget::default()),
            cooldown: Setting::On(Duration::from_secs(60 * 60)),
            budget: Setting::On(Budget::default()),
            flapping: Setting::On(Flapping::default()),
            storm: Setting::On(Storm::default()),
            quiet_start: Setting::On(Duration::from_secs(5 * 60)),
            human_active: Setting::On(()),
            owner: Setting::On(()),
            data_latch: Setting::On(DataLatch::default()),
            freeze: Setting::On(Vec::new()),
            stale_facts: Setting::On(StaleFacts::default()),
            truncated: Setting::On(()),
            trust: Setting::On(Trust::default()),
        }
    }
}

impl BrakeSettings {
    /// The reason with which a brake is switched off, if it is. `paused` and `permission` cannot be.
    pub fn disabled(&self, brake: Brake) -> Option<&str> {
        fn reason<T>(setting: &Setting<T>) -> Option<&str> {
            match setting {
                Setting::On(_) => None,
                Setting::Disabled(reason) => Some(reason),
            }
        }
        match brake {
            Brake::RecentChange => reason(&self.recent_change),
            Brake::ControlGroup => reason(&self.control_group),
            Brake::FitTarget => reason(&self.fit_target),
            Brake::Cooldown => reason(&self.cooldown),
            Brake::Budget => reason(&self.budget),
            Brake::Flapping => reason(&self.flapping),
            Brake::Storm => reason(&self.storm),
            Brake::QuietStart => reason(&self.quiet_start),
            Brake::HumanActive => reason(&self.human_active),
            Brake::Owner => reason(&self.owner),
            Brake::DataLatch => reason(&self.data_latch),
            Brake::Freeze => reason(&self.freeze),
            Brake::StaleFacts => reason(&self.stale_facts),
            Brake::Truncated => reason(&self.truncated),
            Brake::Trust => reason(&self.trust),
            Brake::Paused | Brake::Permission => None,
        }
    }
}

/// `recent_change`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentChange {
    /// The window after the change landed in which the onset must lie.
    pub within: Duration,
}

/// `control_group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlGroup {
    /// From so many targets on that did not change.
    pub targets: u32,
    /// How far their onsets may lie from ours.
    pub within: Duration,
    /// Callers, which show what we cause: they do not count.
    pub downstream: Vec<TargetPattern>,
}

impl Default for ControlGroup {
    fn default() -> Self {
        Self { targets: 2, within: Duration::from_secs(10 * 60), downstream: Vec::new() }
    }
}

/// `data_latch`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataLatch {
    /// Targets that share the data: a latch on one of them holds all.
    pub data_group: Vec<TargetPattern>,
}

/// `fit_target`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FitTarget {
    /// Least time that the release was fully available.
    pub healthy: Duration,
    /// At most so many releases back.
    pub back: u32,
    /// It was live within this.
    pub last_live: Duration,
}

impl Default for FitTarget {
    fn default() -> Self {
        Self { healthy: Duration::from_secs(30 * 60), back: 3, last_live: Duration::from_secs(24 * 60 * 60) }
    }
}

/// `budget`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Rollbacks of one target within `per`.
    pub per_target: u32,
    /// The window of `per_target`.
    pub per: Duration,
    /// Rollbacks over all targets within an hour.
    pub per_hour: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { per_target: 1, per: Duration::from_secs(12 * 60 * 60), per_hour: 6 }
    }
}

/// `flapping`: route-flap damping as in RFC 2439.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flapping {
    /// Added at each re-fire.
    pub penalty: f64,
    /// The penalty halves in this time.
    pub half_life: Duration,
    /// Held from here …
    pub suppress: f64,
    /// … until below this.
    pub reuse: f64,
    /// But never longer than this.
    pub hold: Duration,
}

impl Default for Flapping {
    fn default() -> Self {
        Self {
            penalty: 500.0,
            half_life: Duration::from_secs(2 * 60 * 60),
            suppress: 1000.0,
            reuse: 500.0,
            hold: Duration::from_secs(12 * 60 * 60),
        }
    }
}

/// `storm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storm {
    /// From so many targets on …
    pub units: u32,
    /// … that want a rollback within this.
    pub within: Duration,
    /// Over after so long without another one.
    pub quiet: Duration,
}

impl Default for Storm {
    fn default() -> Self {
        Self { units: 3, within: Duration::from_secs(15 * 60), quiet: Duration::from_secs(30 * 60) }
    }
}

/// `stale_facts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleFacts {
    /// The watch must have heard from the API server within this.
    pub watch: Duration,
    /// A query's sample may be this old.
    pub query: Duration,
}

impl Default for StaleFacts {
    fn default() -> Self {
        Self { watch: Duration::from_secs(150), query: Duration::from_secs(30) }
    }
}
