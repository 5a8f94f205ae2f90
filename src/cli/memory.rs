//! What the service remembers, for commands that judge or ask outside of it: asked of the running service, or read from its
//! journal. The journal is only looked at, also while the service writes it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use super::client::{Client, Remote};
use super::exit::{Exit, Failure};
use crate::decide::book::Book;
use crate::decide::limits::Limits;
use crate::decide::memory::{self, Memory};
use crate::engine;
use crate::model::{TargetRef, Time};
use crate::store::JournalLook;

/// Who is asked what is remembered.
#[derive(Clone, Debug, Args)]
pub struct MemoryArgs {
    /// The journal's folder: read what is remembered there (also while the service runs) instead of asking the service
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where the service is.
    #[command(flatten)]
    pub remote: Remote,
}

impl MemoryArgs {
    /// Whether somebody said where what is remembered is to be found.
    pub(super) fn is_named(&self) -> bool {
        self.data.is_some() || self.remote.url != super::client::DEFAULT_URL
    }

    /// What is asked, in words.
    pub(super) fn source(&self) -> String {
        match &self.data {
            Some(dir) => format!("the journal in `{}`", dir.display()),
            None => format!("the service at `{}`", self.remote.url),
        }
    }

    /// What is remembered of these targets, and what judging them needs besides.
    ///
    /// # Errors
    /// The service cannot be asked, or the journal not be read.
    pub(super) async fn recall(&self, targets: &BTreeSet<TargetRef>) -> Result<Memory, Failure> {
        if let Some(dir) = &self.data {
            let (book, cut) = memory::excerpt(&journal(dir).await?, targets);
            let at = book.alive_at.unwrap_or_default();
            return Ok(Memory { book, at, limits: Limits::default(), cluster: None, cut });
        }
        let names: Vec<String> = targets.iter().map(|target| format!("{}/{}", target.namespace, target.name)).collect();
        let answer = Client::new(&self.remote)?.get("book", &[("target", &names.join(","))]).await?;
        let mut memory: Memory = serde_json::from_value(answer).map_err(|error| {
            let message = format!("{} tells what it remembers in a form that this program does not read: {error}", self.source());
            Failure::new(Exit::Unreachable, message).help("use the program of the service's version")
        })?;
        memory.book.reindex();
        Ok(memory)
    }
}

/// The book that the journal in a folder gives.
///
/// # Errors
/// There is none, or it cannot be read or understood.
pub(super) async fn journal(dir: &Path) -> Result<Book, Failure> {
    let look = look(dir)?;
    let (book, _) = engine::remembered(&look).await.map_err(|error| {
        Failure::usage(error.to_string()).help("`backout journal verify` says what in the journal is broken, and where")
    })?;
    Ok(book)
}

/// Opens a journal for reading.
///
/// # Errors
/// There is none, or it cannot be read by this program.
pub(super) fn look(dir: &Path) -> Result<JournalLook, Failure> {
    JournalLook::open(dir).map_err(|error| {
        Failure::usage(error.to_string()).help("name the folder of the service's journal with `--data`, as user who may read it")
    })
}

/// A target as people write it: `namespace/name`, or as reports do, `deployment/namespace/name`.
///
/// # Errors
/// It is none.
pub(super) fn target(text: &str) -> Result<TargetRef, String> {
    let name = text.strip_prefix("deployment/").unwrap_or(text);
    let (namespace, name) = name.split_once('/').ok_or_else(|| "expected `namespace/name`".to_owned())?;
    TargetRef::deployment(namespace, name)
}

/// `4m12s ago`.
pub(super) fn ago(at: Time, now: Time) -> String {
    format!("{} ago", crate::policy::duration::format(std::time::Duration::from_secs(now.since(at).as_secs())))
}
