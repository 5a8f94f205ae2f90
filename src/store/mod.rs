//! L3: the journal on disk. What its rows mean is `journal`'s business; here are bytes, transactions and files. No other sibling
//! is imported, and nothing here decides.

mod folder;
mod look;
mod open;
mod reader;
mod sqlite;
#[cfg(test)]
mod tests;
mod wal;
mod writer;

pub use look::{JournalLook, Soundness};
pub use open::OpenError;
pub use sqlite::{SqliteOptions, SqliteStats, SqliteStore};
