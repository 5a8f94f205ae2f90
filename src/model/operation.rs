//! What people may tell the service to do. Every one names who, and is journaled.

use serde::{Deserialize, Serialize};

use super::{IncidentId, PlanHash, Time};

/// What a pause covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "scope", content = "name")]
pub enum PauseScope {
    /// Everything.
    Global,
    /// A namespace.
    Namespace(String),
    /// A target, `namespace/name`.
    Target(String),
    /// A policy.
    Policy(String),
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "operation")]
pub enum Operation {
    /// No to whatever the incident wants to do.
    Veto {
        /// Which incident.
        incident: IncidentId,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Yes to exactly this plan.
    Approve {
        /// Which incident.
        incident: IncidentId,
        /// The plan's hash.
        plan: PlanHash,
        /// Who.
        by: String,
        /// Brakes that are overridden, by name.
        overrides: Vec<String>,
    },
    /// "I have it": suspends a countdown and ends reminders.
    Acknowledge {
        /// Which incident.
        incident: IncidentId,
        /// Who.
        by: String,
    },
    /// Stand down, for a while.
    Pause {
        /// What it covers.
        scope: PauseScope,
        /// Why; never empty.
        reason: String,
        /// Who.
        by: String,
        /// Until when.
        until: Time,
    },
    /// End a pause early.
    Resume {
        /// Which.
        pause: u64,
        /// Who.
        by: String,
    },
}
