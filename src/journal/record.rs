//! What the engine writes: one row holds the records of one batch of steps. Public format: old journals must open for ever.
//!
//! A row is one version byte and JSON. A minor addition (a new optional field) keeps the version; anything else raises it, and
//! an older program refuses a newer row.

use serde::{Deserialize, Serialize};

use crate::decide::book::{Pause, Pending, Seen};
use crate::decide::latch::{Cleared, Latch};
use crate::decide::transition::Event;
use crate::model::{IncidentId, Order, PostedChange, Time, WatchEvent, Workload};
use crate::planted::{self, Bug};

/// The version that this program writes, and the newest that it reads. 2 brought records of the clock, the watch, orders by name, posted
/// changes, and events of pages that fold; 3 latches, and news that must be told.
pub const VERSION: u8 = 3;

/// One fact of the service's life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "record")]
pub enum Record {
    /// The service started. The time since the last record is a gap.
    Started {
        /// The program's version.
        program: String,
    },
    /// The service was alive: bounds the next gap.
    Alive,
    /// Policies came into force.
    Loaded {
        /// Their hash.
        hash: String,
        /// Their commit, where the folder is a git work tree.
        commit: Option<String>,
    },
    /// A receipt was read; everything that it led to stands in the same row.
    Consumed {
        /// Its row.
        seq: u64,
    },
    /// An occurrence was heard of.
    Seen {
        /// What was said.
        seen: Seen,
    },
    /// An alert's target is to be looked for, or the look-up is put off.
    Pending {
        /// The alert.
        pending: Box<Pending>,
    },
    /// An alert's target is not looked for any more.
    Located {
        /// The occurrence, as text.
        occurrence: String,
    },
    /// Something happened to an incident.
    Incident {
        /// Which.
        id: IncidentId,
        /// What.
        event: Event,
    },
    /// The watch saw a target change.
    Watched {
        /// What it saw.
        event: Box<WatchEvent>,
    },
    /// A live read told more of a target's releases than the ledger knew.
    Learned {
        /// What was read.
        workload: Box<Workload>,
    },
    /// Somebody paused us.
    Paused {
        /// How.
        pause: Pause,
    },
    /// A pause ended early.
    Resumed {
        /// Which.
        pause: u64,
        /// Who ended it.
        by: String,
    },
    /// Somebody who had to show who he is gave an order, or somebody gave one that leads to no other record. What it led to stands
    /// behind it in the same row.
    Ordered {
        /// As it was given.
        order: Box<Order>,
    },
    /// Somebody told of a change.
    Posted {
        /// The change.
        change: Box<PostedChange>,
    },
    /// Somebody trusts a policy again whose rollbacks were marked wrong.
    Rearmed {
        /// Which.
        policy: String,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Nothing is rolled back on these targets until somebody looked at their data.
    Latched {
        /// How.
        latch: Box<Latch>,
    },
    /// Somebody looked: a latch lets go.
    Cleared {
        /// Which.
        latch: u64,
        /// Who, when and why.
        cleared: Cleared,
    },
    /// Closed incidents and old occurrences are forgotten.
    Forgotten {
        /// Everything that was over before this.
        before: Time,
    },
    /// The watch hears from the API server. A longer silence before it is a time that was not watched.
    WatchHeard {
        /// When it last did.
        at: Time,
    },
    /// Our clock was set: this record is the first with times of the new one.
    ClockSet {
        /// By how many milliseconds; back, where they are negative.
        by: i64,
        /// Whether that was while we were away: at least by so much then, and nobody knows for how long we were.
        #[serde(default)]
        away: bool,
    },
}

impl Record {
    /// The incident that it is about, where it is about one.
    pub fn incident(&self) -> Option<&IncidentId> {
        match self {
            Self::Incident { id, .. } => Some(id),
            _ => None,
        }
    }
}

/// A row's records, with the time that they carry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// When.
    pub at: Time,
    /// What.
    pub record: Record,
}

/// Why a row cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Nothing in it.
    #[error("the row is empty")]
    Empty,
    /// Written by a newer program.
    #[error("the row has version {0}, this program reads up to {VERSION}: use the program that wrote it, or a newer one")]
    Newer(u8),
    /// Damaged.
    #[error("the row cannot be read: {0}")]
    Damaged(String),
}

/// The bytes of a row.
pub fn encode(records: &[Stamped]) -> Result<Vec<u8>, DecodeError> {
    if planted::is(Bug::RecordNotWritten) {
        return encode_versioned(records.split_last().map_or(records, |(_, rest)| rest));
    }
    encode_versioned(records)
}

/// The records of a row.
///
/// # Errors
/// When the bytes are damaged or newer than this program.
pub fn decode(bytes: &[u8]) -> Result<Vec<Stamped>, DecodeError> {
    decode_versioned(bytes)
}

/// A version byte and JSON; also the form of snapshots.
pub(super) fn encode_versioned<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, DecodeError> {
    let mut bytes = vec![VERSION];
    serde_json::to_writer(&mut bytes, value).map_err(|error| DecodeError::Damaged(error.to_string()))?;
    Ok(bytes)
}

/// The value behind a version byte.
pub(super) fn decode_versioned<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, DecodeError> {
    match bytes.split_first() {
        None => Err(DecodeError::Empty),
        Some((version, _)) if *version > VERSION => Err(DecodeError::Newer(*version)),
        // One check of the whole text, instead of one for each string in it.
        Some((_, json)) => std::str::from_utf8(json)
            .map_err(|error| DecodeError::Damaged(error.to_string()))
            .and_then(|json| serde_json::from_str(json).map_err(|error| DecodeError::Damaged(error.to_string()))),
    }
}
