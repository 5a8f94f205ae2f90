//! `journal backup`: a copy of one moment, read back before it is called one.

use std::path::Path;

use serde_json::json;

use super::verify::verify;
use crate::cli::exit::{Exit, Failure};
use crate::cli::memory::look;
use crate::cli::output::{Output, Style};
use crate::store::JournalLook;

/// Copies, and reads the copy.
pub(super) async fn run(data: &Path, to: &Path, output: Output) -> Result<Exit, Failure> {
    let usage = |error: crate::store::OpenError| Failure::usage(error.to_string());
    look(data)?.backup(to).map_err(usage)?;
    let found = verify(&JournalLook::open_file(to).map_err(usage)?).await?;
    if let Some(failure) = found.failure() {
        return Err(Failure { message: format!("the copy `{}` was written; {}", to.display(), failure.message), ..failure });
    }
    let figures = found.json();
    if output.is_json() {
        output.print_json(&json!({ "file": to.display().to_string(), "copy": figures }))?;
        return Ok(Exit::Done);
    }
    let mut text = output.text();
    text.styled(Style::Green, "backed up");
    let last = figures["last"]["at"].as_str().unwrap_or("an empty journal").to_owned();
    text.line(format_args!(": `{}`, {} rows up to {last}, read back and sound", to.display(), figures["rows"]));
    text.line(format_args!("to restore: put it as `journal.db` into an empty folder, and start the service with `--data` on it"));
    output.print(&text)?;
    Ok(Exit::Done)
}
