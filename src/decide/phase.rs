//! Where an incident can stand. Which phase follows which is `transition`'s and `step`'s.

use serde::{Deserialize, Serialize};

use crate::model::{Reason, Time};

/// Where an incident stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    /// The alert must stay firing until then.
    Settling {
        /// When a decision is due.
        until: Time,
    },
    /// Facts are observed and judged.
    Deciding {
        /// Since when; unknown facts are asked for again for 30 s.
        since: Time,
    },
    /// A plan waits for a veto.
    Countdown {
        /// When it ends; `None` while an acknowledgement suspends it.
        until: Option<Time>,
    },
    /// A plan waits for a yes to its hash.
    Approval {
        /// When the wait ends in a page.
        until: Time,
    },
    /// Dry run, references, evidence.
    Preparing {
        /// Since when.
        since: Time,
    },
    /// Everything is read and decided once more.
    Redeciding {
        /// Since when.
        since: Time,
    },
    /// The intent is durable; the write is under way, or its outcome is being found out.
    Executing {
        /// Which step of the plan.
        step: usize,
        /// When the intent was committed.
        since: Time,
        /// Whether the outcome must be observed before anything else.
        doubtful: bool,
    },
    /// The write is done; proof is gathered.
    Verifying {
        /// When the last step was done.
        since: Time,
    },
    /// Proven; waits for quiet.
    Verified,
    /// In shadow: what would have been done was announced; waits for quiet.
    Shadowed,
    /// A human has it; waits for quiet.
    Paged,
    /// A ticket is open; decided again each minute; waits for quiet.
    FixForward,
    /// Over.
    Closed {
        /// How it ended.
        reason: Reason,
        /// When.
        at: Time,
    },
}

impl Phase {
    /// The name in metrics (`incidents_open{state}`), reports and the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Settling { .. } => "settling",
            Self::Deciding { .. } => "deciding",
            Self::Countdown { .. } => "countdown",
            Self::Approval { .. } => "approval",
            Self::Preparing { .. } => "preparing",
            Self::Redeciding { .. } => "redeciding",
            Self::Executing { .. } => "executing",
            Self::Verifying { .. } => "verifying",
            Self::Verified => "verified",
            Self::Shadowed => "shadowed",
            Self::Paged => "paged",
            Self::FixForward => "fix_forward",
            Self::Closed { .. } => "closed",
        }
    }

    /// All names but `closed`, for metrics that must have a zero.
    pub const OPEN: [&str; 12] = [
        "settling",
        "deciding",
        "countdown",
        "approval",
        "preparing",
        "redeciding",
        "executing",
        "verifying",
        "verified",
        "shadowed",
        "paged",
        "fix_forward",
    ];

    /// Whether a plan exists and nothing was written yet.
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::Countdown { .. } | Self::Approval { .. } | Self::Preparing { .. } | Self::Redeciding { .. })
    }

    /// Whether a write may have been made and its end is not known.
    pub fn is_acting(&self) -> bool {
        matches!(self, Self::Executing { .. } | Self::Verifying { .. })
    }

    /// Whether it only waits for the alerts to be over.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::Verified | Self::Shadowed | Self::Paged | Self::FixForward)
    }
}
