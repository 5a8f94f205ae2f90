//! Jobs that change data, as their label says.

use serde::{Deserialize, Serialize};

use super::Time;

/// The label of such a Job. Its value is for people.
pub const MIGRATION: &str = "backout.dev/migration";

/// A Job of the target's namespace that changes data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// Its name.
    pub name: String,
    /// The images of its pods, in order.
    pub images: Vec<String>,
    /// How far it is.
    pub state: MigrationState,
    /// When it ended; of one that runs, when it began. By the API server's clock.
    pub at: Time,
}

/// How far such a Job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MigrationState {
    /// It was begun, and is not over.
    Running,
    /// It did what it was to do.
    Completed,
    /// It was given up: what it did until then nobody knows.
    Failed,
}

impl MigrationState {
    /// In words: `a migration …`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "is running",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}
