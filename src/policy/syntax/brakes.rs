//! The brakes of a policy as they are written: each with its numbers, or `disabled` with the reason.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::yaml::{Field, Listed, Short, Shorthand};
use super::text::DurationText;

/// What stops a rollback. A brake that is not named is on with its defaults.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "brakes")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct Brakes {
    /// The onset must lie within this after a change landed on the target (60m).
    pub(in super::super) recent_change: Field<Short<WithinKeys>>,
    /// What a release must have shown to be gone back to.
    pub(in super::super) fit_target: Field<FitTargetKeys>,
    /// The least time between two rollbacks of a target (60m).
    pub(in super::super) cooldown: Field<Short<WithinKeys>>,
    /// How many rollbacks are allowed.
    pub(in super::super) budget: Field<BudgetKeys>,
    /// Damping of targets that go up and down.
    pub(in super::super) flapping: Field<FlappingKeys>,
    /// The longest time in which we may have been blind before the onset (5m).
    pub(in super::super) quiet_start: Field<Short<GapKeys>>,
    /// A person's traces on the target: a silence, a veto, a write, a newer deploy.
    pub(in super::super) human_active: Field<DisableOnly>,
    /// A GitOps owner that would undo the write.
    pub(in super::super) owner: Field<DisableOnly>,
    /// How old what we read may be.
    pub(in super::super) stale_facts: Field<StaleFactsKeys>,
    /// The notification was cut and the rule draws on the absence of an alert.
    pub(in super::super) truncated: Field<DisableOnly>,
    /// Targets that did not change show the same alert at the same time: the cause is shared.
    pub(in super::super) control_group: Field<ControlGroupKeys>,
    /// Many targets want a rollback at once.
    pub(in super::super) storm: Field<StormKeys>,
    /// Corruption is suspected, or a migration lies between the releases.
    pub(in super::super) data_latch: Field<DataLatchKeys>,
    /// Times in which nothing is rolled back.
    pub(in super::super) freeze: Field<Short<FreezeKeys>>,
    /// Rollbacks that people marked wrong: the policy asks for approval until somebody arms it again.
    pub(in super::super) trust: Field<TrustKeys>,
}

/// What all brakes have in common.
pub(in super::super) trait BrakeKeys {
    /// The reason for which it is off.
    fn disabled(&self) -> &Field<String>;
    /// Whether any of its numbers is given.
    fn has_numbers(&self) -> bool;
}

impl<T: BrakeKeys> BrakeKeys for Short<T> {
    fn disabled(&self) -> &Field<String> {
        self.0.disabled()
    }

    fn has_numbers(&self) -> bool {
        self.0.has_numbers()
    }
}

macro_rules! brake {
    ($(#[$doc:meta])* $name:ident, $rename:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
        #[serde(default, rename = $rename)]
        #[schemars(deny_unknown_fields)]
        pub(in super::super) struct $name {
            $($(#[$field_doc])* pub(in super::super) $field: Field<$type>,)*
            /// Switches the brake off. The reason is shown in every decision.
            pub(in super::super) disabled: Field<String>,
        }

        impl BrakeKeys for $name {
            fn disabled(&self) -> &Field<String> {
                &self.disabled
            }

            fn has_numbers(&self) -> bool {
                false $(|| !self.$field.is_missing())*
            }
        }
    };
}

brake! {
    /// A brake over a stretch of time.
    WithinKeys, "brake" {
        /// The stretch.
        within: DurationText,
    }
}

impl Shorthand for WithinKeys {
    const NAME: &'static str = "$short:within";
    type Value = DurationText;
}

brake! {
    /// A brake over a gap.
    GapKeys, "quiet_start brake" {
        /// The longest gap that does not count.
        gap: DurationText,
    }
}

impl Shorthand for GapKeys {
    const NAME: &'static str = "$short:gap";
    type Value = DurationText;
}

brake! {
    /// What a release must have shown to be gone back to.
    FitTargetKeys, "fit_target brake" {
        /// The least time that it was fully available (30m).
        healthy: DurationText,
        /// At most so many releases back (3).
        back: u32,
        /// It was live within this (24h).
        last_live: DurationText,
    }
}

brake! {
    /// How many rollbacks are allowed.
    BudgetKeys, "budget brake" {
        /// Of one target within `per` (1).
        per_target: u32,
        /// The window of `per_target` (12h).
        per: DurationText,
        /// Over all targets within an hour (6).
        per_hour: u32,
    }
}

brake! {
    /// Damping as of flapping routes: a penalty grows with each re-fire and decays with time.
    FlappingKeys, "flapping brake" {
        /// Added at each re-fire (500).
        penalty: f64,
        /// The penalty halves in this time (2h).
        half_life: DurationText,
        /// Held from here (1000).
        suppress: f64,
        /// Until below this (500).
        reuse: f64,
        /// But no longer than this (12h).
        hold: DurationText,
    }
}

brake! {
    /// How old what we read may be.
    StaleFactsKeys, "stale_facts brake" {
        /// The watch must have heard from the API server within this (150s).
        watch: DurationText,
        /// A query's sample may be this old (30s).
        query: DurationText,
    }
}

brake! {
    /// When a policy is not trusted any more.
    TrustKeys, "trust brake" {
        /// So many rollbacks were marked wrong (1).
        wrong: u32,
        /// Within this time (30d).
        within: DurationText,
    }
}

brake! {
    /// A brake without numbers.
    DisableOnly, "brake without numbers" {}
}

brake! {
    /// Targets that did not change show the same alert at the same time.
    ControlGroupKeys, "control_group brake" {
        /// From so many of them on (2).
        targets: u32,
        /// How far their onsets may lie apart (10m).
        within: DurationText,
        /// Callers that do not count, as `namespace/name` with `*`.
        downstream: Listed<Field<String>>,
    }
}

brake! {
    /// Many units want a rollback at once.
    StormKeys, "storm brake" {
        /// From so many targets on (3).
        units: u32,
        /// Within this (15m).
        within: DurationText,
        /// Over after so long without another one (30m).
        quiet: DurationText,
    }
}

brake! {
    /// Corruption is suspected, or a migration lies between the releases.
    DataLatchKeys, "data_latch brake" {
        /// Targets that share the data, as `namespace/name` with `*`.
        data_group: Listed<Field<String>>,
    }
}

brake! {
    /// Times in which nothing is rolled back.
    FreezeKeys, "freeze brake" {
        /// Time intervals by name.
        intervals: Listed<Field<String>>,
    }
}

impl Shorthand for FreezeKeys {
    const NAME: &'static str = "$short:intervals";
    type Value = Listed<String>;
}
