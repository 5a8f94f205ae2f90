//! Every decision that a journal holds, each with all that it is a function of.

use std::path::Path;

use super::exit::{Exit, Failure};
use crate::decide::book::Book;
use crate::decide::counterfactual::Basis;
use crate::decide::decision::Decision;
use crate::decide::effect::Context;
use crate::decide::incident::Incident;
use crate::decide::transition::Event;
use crate::decide::verdict;
use crate::journal::record::{self, Record};
use crate::journal::snapshot;
use crate::model::{IncidentId, Mode, Time};
use crate::ports::{Row, RowKind, Store as _, StoreError};
use crate::store::JournalLook;

/// Rows read at once.
const PAGE: usize = 1000;

/// A decision in the journal, and all that it is a function of.
pub(super) struct Recorded<'a> {
    /// The row that it stands in.
    pub(super) row: u64,
    /// The version of the program that made it.
    pub(super) program: &'a str,
    /// As it was made.
    pub(super) decision: &'a Decision,
    /// When.
    pub(super) at: Time,
    /// About what, as it stood before.
    pub(super) incident: &'a Incident,
    /// The row as it stands in the journal.
    pub(super) raw: &'a [u8],
    book: &'a Book,
}

impl Recorded<'_> {
    /// Makes it again from what was recorded.
    ///
    /// # Errors
    /// It was made to act, which needs the cluster's name, and that is not known.
    pub(super) fn decide(&self, ctx: &Context<'_>) -> Result<Decision, Failure> {
        if ctx.cluster.is_none() && self.decision.mode != Mode::Shadow {
            return Err(Failure::usage("the service knew the name of its cluster, and a journal does not hold it"));
        }
        Ok(verdict::decide(ctx, self.book, self.incident, &self.decision.observation, self.at))
    }

    /// What it was made from, with a copy of the whole book.
    pub(super) fn basis(&self) -> Basis {
        let (book, incident) = (self.book.clone(), self.incident.clone());
        Basis { book, incident, observation: self.decision.observation.clone(), now: self.at }
    }
}

/// A folder with a journal, or a copy of one.
///
/// # Errors
/// It cannot be opened.
pub(super) fn open(path: &Path) -> Result<JournalLook, Failure> {
    let look = if path.is_dir() { JournalLook::open(path) } else { JournalLook::open_file(path) };
    look.map_err(|error| Failure::usage(error.to_string()).help("name the service's data folder, or a copy of its journal"))
}

/// Lives the journal through, and calls `visit` with each decision about the incidents that are wanted, the oldest first, with the
/// book as it stood before it.
///
/// # Errors
/// A row cannot be read, or `visit` says so.
pub(super) async fn each(
    look: &JournalLook,
    wanted: impl Fn(&IncidentId) -> bool,
    mut visit: impl FnMut(Recorded<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (seq, mut book) = begin(look)?;
    let mut program = "unknown".to_owned();
    let live = |row: &Row| {
        if row.kind != RowKind::Step {
            return Ok(());
        }
        let records = record::decode(&row.body).map_err(|error| broken(row.seq, &error.to_string()))?;
        for stamped in &records {
            if let Record::Started { program: started } = &stamped.record {
                program.clone_from(started);
            }
            if let Record::Incident { id, event: Event::Decided { decision } } = &stamped.record
                && wanted(id)
                && let Some(incident) = book.incidents.get(id)
            {
                let (row, at, program, raw) = (row.seq, stamped.at, program.as_str(), &row.body[..]);
                visit(Recorded { row, program, decision, at, incident, raw, book: &book })?;
            }
            book.fold(stamped).map_err(|error| broken(row.seq, &error.to_string()))?;
        }
        Ok(())
    };
    rows(look, seq, live).await
}

/// Calls `visit` with every row after that one, in order.
///
/// # Errors
/// The journal cannot be read, or `visit` says so.
pub(super) async fn rows(
    look: &JournalLook,
    after: u64,
    mut visit: impl FnMut(&Row) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut seq = after;
    loop {
        let rows = look.read_after(seq, PAGE).await.map_err(|error| unreadable(&error))?;
        let Some(last) = rows.last() else { return Ok(()) };
        seq = last.seq;
        rows.iter().try_for_each(&mut visit)?;
    }
}

/// Where to begin: at the first row, or at the snapshot that holds what was before the first one that is left.
///
/// # Errors
/// The rows before it are gone, and nothing holds what was in them.
pub(super) fn begin(look: &JournalLook) -> Result<(u64, Book), Failure> {
    let first = look.bounds().map_err(|error| unreadable(&error))?.map_or(1, |(first, _)| first);
    if first <= 1 {
        return Ok((0, Book::default()));
    }
    let snapshots = look.snapshots().map_err(|error| unreadable(&error))?;
    let usable = snapshots.iter().find(|(through, _)| *through + 1 >= first);
    let (through, body) = usable.ok_or_else(|| broken(first, "the rows before it are gone, and no snapshot holds them"))?;
    Ok((*through, snapshot::decode(body).map_err(|error| broken(*through, &error.to_string()))?))
}

fn unreadable(error: &StoreError) -> Failure {
    Failure::usage(error.to_string())
}

/// A row that is there and cannot be used.
pub(super) fn broken(row: u64, why: &str) -> Failure {
    let failure = Failure::new(Exit::Negative, format!("row {row} of the journal: {why}"));
    failure.help("`backout journal verify` lists everything that is broken")
}
