//! Stable names: brakes, outcomes, modes and reasons. They are public: metrics, reports, policy keys and tests use them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a policy may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Decides, records and announces; never acts.
    #[default]
    Shadow,
    /// Acts when a person approved the plan's hash.
    Approve,
    /// Acts after the countdown.
    Enforce,
}

impl Mode {
    /// The name in text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Approve => "approve",
            Self::Enforce => "enforce",
        }
    }
}

/// Which routing a policy stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Paging {
    /// We are the pager: a verdict *page* pages.
    InFront,
    /// The alert's own route already pages: a verdict *page* on an untouched target is announced only.
    Beside,
}

/// The three verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Put the last good release back.
    Rollback,
    /// Wake a human.
    Page,
    /// Leave it to be fixed forward; open a ticket.
    FixForward,
}

impl Outcome {
    /// The name in metrics and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rollback => "rollback",
            Self::Page => "page",
            Self::FixForward => "fix_forward",
        }
    }
}

macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All of them, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

named! {
    /// Brakes: what stops a rollback.
    Brake {
        /// No change on this very target shortly before the onset.
        RecentChange = "recent_change",
        /// No release that is fit to go back to.
        FitTarget = "fit_target",
        /// A rollback of this target ended not long ago.
        Cooldown = "cooldown",
        /// The allowance is spent.
        Budget = "budget",
        /// The target's damped penalty is too high.
        Flapping = "flapping",
        /// Many targets want a rollback at once.
        Storm = "storm",
        /// The onset lies before a gap in what we saw.
        QuietStart = "quiet_start",
        /// A person is at work on the target.
        HumanActive = "human_active",
        /// A GitOps owner would undo the write.
        Owner = "owner",
        /// Corruption is suspected, or a migration lies between the releases.
        DataLatch = "data_latch",
        /// Now is a time in which the policy wants nothing rolled back.
        Freeze = "freeze",
        /// Somebody paused us, with a reason.
        Paused = "paused",
        /// A fact that the decision rests on is unknown or too old.
        StaleFacts = "stale_facts",
        /// Targets that did not change show the same.
        ControlGroup = "control_group",
        /// The notification was cut and the rule draws on absence.
        Truncated = "truncated",
        /// The cluster, or the policy's `targets`, refuse what the plan needs.
        Permission = "permission",
        /// People marked its rollbacks wrong: the policy asks before it acts.
        Trust = "trust",
    }
}

named! {
    /// Why a target is latched.
    LatchCause {
        /// A rule said that data may be corrupt.
        Corruption = "corruption",
        /// A Job changed data since the release to go back to.
        Migration = "migration",
    }
}

named! {
    /// What decisions need to see, and may not reach.
    Dependency {
        /// The Kubernetes API server.
        Cluster = "cluster",
        /// Prometheus.
        Prometheus = "prometheus",
        /// An Alertmanager peer.
        Alertmanager = "alertmanager",
    }
}

named! {
    /// Why an incident stands where it does, apart from brakes.
    Reason {
        /// A rule said so.
        Rule = "rule",
        /// A rule's condition was unknown.
        RuleUnknown = "rule_unknown",
        /// No rule was true.
        NoRule = "no_rule",
        /// A brake held the rollback.
        BrakeHeld = "brake_held",
        /// The alert names no target that we can find.
        Unresolved = "unresolved",
        /// The policy's mode is shadow.
        Shadow = "shadow",
        /// All alerts resolved, confirmed, before anything was written.
        Recovered = "recovered",
        /// Verified: the rollback worked.
        Verified = "verified",
        /// The rollback was carried out and did not help.
        Ineffective = "ineffective",
        /// The rollback could not be carried out.
        Failed = "failed",
        /// Whether the rollback worked could not be seen.
        Unknown = "unknown",
        /// A person vetoed it.
        Vetoed = "vetoed",
        /// Nobody approved in time.
        NotApproved = "not_approved",
        /// A newer release by somebody else is there.
        Superseded = "superseded",
        /// The target is gone, or is another one of the same name.
        TargetGone = "target_gone",
        /// Policies were reloaded and decide differently now.
        PolicyChanged = "policy_changed",
        /// The second reading differed from the first, or came too long after it.
        Redecided = "redecided",
        /// The dry run, or a reference of the old template, was refused.
        Preflight = "preflight",
        /// The alert fired again after our rollback.
        Refired = "refired",
        /// A human put the good release back first.
        HumanRestored = "human_restored",
        /// A person has it: silenced, acknowledged, or writing to the target.
        HumanActive = "human_active",
        /// No evidence either way for 24 h.
        Expired = "expired",
        /// The alert is inhibited by another one.
        Inhibited = "inhibited",
    }
}
