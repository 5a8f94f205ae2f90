//! What people may tell the service to do. Every one names who, and is journaled.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{IncidentId, PlanHash, PostedChange, Time};

/// By what somebody is known to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// A bearer token.
    Token,
    /// A name and a password.
    Password,
    /// A client certificate.
    Certificate,
}

impl Credential {
    /// The name in text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Password => "password",
            Self::Certificate => "certificate",
        }
    }
}

/// As whom somebody is known to us. That is proven; the name that an operation gives in `by` is only said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The credential's name.
    pub name: String,
    /// What kind of credential.
    pub by: Credential,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.by.as_str(), self.name)
    }
}

/// An operation, and as whom the one who gives it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// `None` where nobody had to show who he is.
    pub identity: Option<Identity>,
    /// What is to be done.
    #[serde(flatten)]
    pub operation: Operation,
}

impl From<Operation> for Order {
    fn from(operation: Operation) -> Self {
        Self { identity: None, operation }
    }
}

/// What a person says of a rollback afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// It was the right thing to do.
    Right,
    /// It should not have been done.
    Wrong,
}

impl Mark {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Right, Self::Wrong];

    /// The name in text and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong => "wrong",
        }
    }
}

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
    /// Say of a rollback, made or announced in shadow, that it was right or wrong.
    Mark {
        /// Which incident; it may be over.
        incident: IncidentId,
        /// Which of the two.
        mark: Mark,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Trust a policy again whose rollbacks were marked wrong.
    Rearm {
        /// Which.
        policy: String,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Say that data was looked at: a latch lets go.
    Clear {
        /// Which latch.
        latch: u64,
        /// Who.
        by: String,
        /// What was found, and why going back is safe again.
        reason: String,
    },
    /// Say what the process logs. Only written down here: it is done by who hears of it first.
    LogLevel {
        /// The directives, as in `RUST_LOG`.
        level: String,
        /// Who.
        by: String,
    },
    /// Tell of a change.
    Change {
        /// The change.
        change: Box<PostedChange>,
    },
}

impl Operation {
    /// The name in text.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Veto { .. } => "veto",
            Self::Approve { .. } => "approve",
            Self::Acknowledge { .. } => "acknowledge",
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::Mark { .. } => "mark",
            Self::Rearm { .. } => "rearm",
            Self::Clear { .. } => "clear",
            Self::LogLevel { .. } => "log_level",
            Self::Change { .. } => "change",
        }
    }

    /// Whether all that it can do is to hold us back: doing it late harms nobody.
    pub fn only_holds_back(&self) -> bool {
        match self {
            Self::Veto { .. } | Self::Acknowledge { .. } | Self::Pause { .. } => true,
            Self::Approve { .. } | Self::Resume { .. } | Self::Rearm { .. } | Self::Clear { .. } => false,
            Self::Mark { .. } | Self::LogLevel { .. } | Self::Change { .. } => false,
        }
    }

    /// The incident that it is about, if it is about one.
    pub fn incident(&self) -> Option<&IncidentId> {
        match self {
            Self::Veto { incident, .. }
            | Self::Approve { incident, .. }
            | Self::Acknowledge { incident, .. }
            | Self::Mark { incident, .. } => Some(incident),
            Self::Pause { .. } | Self::Resume { .. } | Self::Rearm { .. } | Self::Clear { .. } => None,
            Self::LogLevel { .. } | Self::Change { .. } => None,
        }
    }

    /// Who gives it, as he says himself.
    pub fn by(&self) -> &str {
        match self {
            Self::Veto { by, .. }
            | Self::Approve { by, .. }
            | Self::Acknowledge { by, .. }
            | Self::Pause { by, .. }
            | Self::Resume { by, .. }
            | Self::Rearm { by, .. }
            | Self::Clear { by, .. }
            | Self::LogLevel { by, .. }
            | Self::Mark { by, .. } => by,
            Self::Change { change } => &change.by,
        }
    }
}
