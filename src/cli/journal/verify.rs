//! `journal verify`: every page, every row, every snapshot; folded as at recovery, and the outcome compared with the snapshots.

use std::path::Path;

use serde_json::json;

use crate::cli::exit::{Exit, Failure};
use crate::cli::memory::look;
use crate::cli::output::{Output, Style};
use crate::decide::book::Book;
use crate::journal::receipt::Receipt;
use crate::journal::{record, snapshot};
use crate::model::Time;
use crate::ports::{Row, RowKind, Store as _, StoreError};
use crate::store::{JournalLook, Soundness};

/// Rows read at once.
const PAGE: usize = 1000;
/// Faults that are listed; more are counted.
const MOST_FAULTS: usize = 50;

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    soundness: Soundness,
    rows: u64,
    receipts: u64,
    records: u64,
    first: Option<(u64, Time)>,
    last: Option<(u64, Time)>,
    snapshots: Vec<u64>,
    book: Book,
    /// Up to which row the book stands for; `None`: nothing to fold from.
    folded: Option<u64>,
    faults: Vec<String>,
    /// What is odd and no fault.
    remarks: Vec<String>,
}

/// Verifies, and prints what was found.
pub(super) async fn run(data: &Path, output: Output) -> Result<Exit, Failure> {
    let found = verify(&look(data)?).await?;
    let sound = found.faults.is_empty();
    if output.is_json() {
        output.print_json(&found.json())?;
    } else {
        found.print(data, output)?;
    }
    Ok(if sound { Exit::Done } else { Exit::Negative })
}

/// Reads everything.
///
/// # Errors
/// It cannot be read at all.
pub(super) async fn verify(journal: &JournalLook) -> Result<Found, Failure> {
    let usage = |error: StoreError| Failure::usage(error.to_string());
    let soundness = journal.soundness().map_err(|error| Failure::usage(error.to_string()))?;
    let mut found = Found { faults: soundness.faults.clone(), soundness, ..Found::default() };
    let mut snapshots = Vec::new();
    for (through, body) in journal.snapshots().map_err(usage)? {
        match snapshot::decode(&body) {
            Ok(book) => snapshots.push((through, book)),
            Err(error) => found.fault(format!("the snapshot of row {through}: {error}")),
        }
    }
    found.snapshots = snapshots.iter().map(|(through, _)| *through).collect();
    let first = journal.bounds().map_err(usage)?.map_or(1, |(first, _)| first);
    // From the very beginning where it is still there, else from the first snapshot that the rows go on from.
    if first == 1 {
        found.folded = Some(0);
    } else if let Some((through, book)) = snapshots.iter().find(|(through, _)| *through + 1 >= first) {
        (found.folded, found.book) = (Some(*through), book.clone());
    } else {
        found.fault(format!("rows before row {first} are gone, and no snapshot holds what they did"));
    }
    let mut seq = 0;
    loop {
        let rows = match journal.read_after(seq, PAGE).await {
            Ok(rows) => rows,
            Err(error) => {
                found.fault(format!("rows after row {seq} cannot be read: {error}"));
                break;
            }
        };
        let Some(last) = rows.last() else { break };
        seq = last.seq;
        for row in rows {
            found.take(&row);
            found.compare(&snapshots);
        }
    }
    Ok(found)
}

impl Found {
    fn fault(&mut self, what: String) {
        self.faults.push(what);
    }

    fn take(&mut self, row: &Row) {
        let Row { seq, at, .. } = row;
        if let Some((last, _)) = self.last.filter(|(last, _)| last + 1 != *seq) {
            self.fault(format!("after row {last} comes row {seq}: rows between them are gone"));
        }
        self.first.get_or_insert((*seq, *at));
        self.last = Some((*seq, *at));
        self.rows += 1;
        match row.kind {
            RowKind::Receipt => {
                self.receipts += 1;
                let read = Receipt::decode(&row.body).and_then(|receipt| receipt.read(*at));
                if let Err(error) = read {
                    self.fault(format!("row {seq}, a receipt: {error}"));
                }
            }
            RowKind::Step => self.step(row),
        }
    }

    fn step(&mut self, row: &Row) {
        let seq = row.seq;
        let records = match record::decode(&row.body) {
            Ok(records) => records,
            Err(error) => {
                self.folded = None;
                return self.fault(format!("row {seq}: {error}"));
            }
        };
        self.records += records.len() as u64;
        // What a snapshot that we began with holds, is not done twice; after a fault nothing follows from what was before.
        if self.folded.is_none_or(|through| seq <= through) {
            return;
        }
        for stamped in &records {
            if let Err(error) = self.book.fold(stamped) {
                self.folded = None;
                return self.fault(format!("row {seq} does not fit those before it: {error}"));
            }
        }
        self.folded = Some(seq);
    }

    /// Whether the rows led to what a snapshot of this row says.
    fn compare(&mut self, snapshots: &[(u64, Book)]) {
        let Some((last, _)) = self.last else { return };
        let Some((through, book)) = snapshots.iter().find(|(through, _)| *through == last) else { return };
        if self.folded.is_none() {
            // The snapshot is sound: what comes after it can be folded again.
            (self.folded, self.book) = (Some(*through), book.clone());
        } else if self.book != *book {
            // Versions may fold differently, and recovery begins with the snapshot.
            self.remarks.push(format!(
                "folding the rows up to {through} gives another book than the snapshot of that row; the service goes on from the \
                 snapshot (right after an upgrade this is to be expected)"
            ));
            self.book = book.clone();
        }
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let row = |row: Option<(u64, Time)>| row.map(|(seq, at)| json!({ "row": seq, "at": at.to_string() }));
        json!({
            "sound": self.faults.is_empty(),
            "faults": self.faults,
            "remarks": self.remarks,
            "format": self.soundness.format,
            "opened_by": self.soundness.opened_by,
            "bytes": self.soundness.bytes,
            "rows": self.rows,
            "receipts": self.receipts,
            "records": self.records,
            "first": row(self.first),
            "last": row(self.last),
            "snapshots": self.snapshots,
            "targets": self.book.targets.len(),
            "incidents": self.book.incidents.len(),
            "incidents_open": self.book.open().count(),
        })
    }

    /// The first faults, as a failure of what needs a sound journal.
    pub(super) fn failure(&self) -> Option<Failure> {
        let first = self.faults.first()?;
        Some(Failure::new(Exit::Negative, format!("the journal is broken: {first}")).help("restore a backup that verifies"))
    }

    fn print(&self, data: &Path, output: Output) -> Result<(), Failure> {
        let mut text = output.text();
        let Soundness { format, opened_by, bytes, .. } = &self.soundness;
        text.line(format_args!("journal    {}, format {format}, last opened by {opened_by}, {bytes} bytes", data.display()));
        if let (Some((first, from)), Some((last, to))) = (self.first, self.last) {
            text.line(format_args!("rows       {} ({first} to {last}), {from} to {to}", self.rows));
        }
        text.line(format_args!("in them    {} receipts, {} records of steps", self.receipts, self.records));
        let snapshots: Vec<String> = self.snapshots.iter().map(|through| format!("of row {through}")).collect();
        text.line(format_args!("snapshots  {}", if snapshots.is_empty() { "none".to_owned() } else { snapshots.join(", ") }));
        let open = self.book.open().count();
        let (targets, incidents) = (self.book.targets.len(), self.book.incidents.len());
        text.line(format_args!("remembers  {targets} targets, {incidents} incidents, {open} of them open"));
        for remark in &self.remarks {
            text.styled(Style::Yellow, "remark");
            text.line(format_args!("     {remark}"));
        }
        for fault in self.faults.iter().take(MOST_FAULTS) {
            text.styled(Style::Red, "broken");
            text.line(format_args!("     {fault}"));
        }
        match self.faults.len() {
            0 => text.heading(Style::Green, "sound: everything was read and folded"),
            number => text.heading(Style::Red, &format!("not sound: {number} faults; restore a backup that verifies")),
        }
        output.print(&text)
    }
}
