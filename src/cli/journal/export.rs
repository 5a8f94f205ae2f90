//! `journal export`: rows as JSON lines. The shapes of records are those of `journal/record.rs`, which are public.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::exit::{Exit, Failure};
use crate::cli::memory::look;
use crate::cli::output::Output;
use crate::journal::receipt::Receipt;
use crate::journal::record;
use crate::ports::{Row, RowKind, Store as _};

/// Rows read at once.
const PAGE: usize = 500;

/// Prints rows.
pub(super) async fn run(data: &Path, after: u64, output: Output) -> Result<Exit, Failure> {
    let journal = look(data)?;
    let mut seq = after;
    loop {
        let rows = journal.read_after(seq, PAGE).await.map_err(|error| Failure::usage(error.to_string()))?;
        let Some(last) = rows.last() else { return Ok(Exit::Done) };
        seq = last.seq;
        for row in &rows {
            if !output.print_line(&line(row)?)? {
                // The reader has what it wanted.
                return Ok(Exit::Done);
            }
        }
    }
}

fn line(row: &Row) -> Result<Value, Failure> {
    let Row { seq, at, kind, body } = row;
    let broken = |why: String| {
        Failure::new(Exit::Negative, format!("row {seq}: {why}")).help("`backout journal verify` lists everything that is broken")
    };
    let at = at.to_string();
    match kind {
        RowKind::Step => {
            let records = record::decode(body).map_err(|error| broken(error.to_string()))?;
            let records = serde_json::to_value(records).map_err(|error| broken(error.to_string()))?;
            Ok(json!({ "row": seq, "at": at, "kind": "step", "records": records }))
        }
        RowKind::Receipt => {
            let receipt = Receipt::decode(body).map_err(|error| broken(error.to_string()))?;
            // A body that is no JSON was acknowledged by nobody; should one be there, its text is told.
            let sent = serde_json::from_slice(&receipt.body)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&receipt.body).into_owned()));
            Ok(json!({ "row": seq, "at": at, "kind": "receipt", "source": receipt.source.as_str(), "body": sent }))
        }
    }
}
