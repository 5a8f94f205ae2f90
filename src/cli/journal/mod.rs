//! `backout journal`: look after the journal. Each command looks only, also while the service runs; what is written goes to another
//! place.

mod backup;
mod export;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::exit::{Exit, Failure};
use super::output::Output;

/// Arguments of `journal`.
#[derive(Clone, Debug, Args)]
pub struct JournalArgs {
    /// What is to be done.
    #[command(subcommand)]
    command: JournalCommand,
}

/// What is to be done with a journal.
#[derive(Clone, Debug, Subcommand)]
enum JournalCommand {
    /// Read everything in it, and say where it breaks
    #[command(after_help = "Examples:\n  backout journal verify --data /var/lib/backout\n  backout journal verify --output json")]
    Verify(JournalFolder),
    /// Print its rows as JSON, one a line: what came in, what was decided, what was done
    #[command(
        after_help = "Examples:\n  backout journal export > journal.jsonl\n  backout journal export --after 120000 | jq 'select(.kind == \"step\")'"
    )]
    Export(ExportArgs),
    /// Copy it to a new file, as of this moment, also while the service runs
    #[command(
        after_help = "Examples:\n  backout journal backup /backup/journal-$(date +%F).db\n\nTo restore: put the file as `journal.db` into an empty folder, and start the service with `--data` on it."
    )]
    Backup(BackupArgs),
}

/// Where the journal lies.
#[derive(Clone, Debug, Args)]
struct JournalFolder {
    /// The journal's folder
    #[arg(long, env = "BACKOUT_DATA", value_name = "DIR", default_value = "data")]
    data: PathBuf,
}

/// Arguments of `journal export`.
#[derive(Clone, Debug, Args)]
struct ExportArgs {
    /// Where the journal lies.
    #[command(flatten)]
    folder: JournalFolder,
    /// Only rows after this one
    #[arg(long, value_name = "ROW", default_value_t = 0)]
    after: u64,
}

/// Arguments of `journal backup`.
#[derive(Clone, Debug, Args)]
struct BackupArgs {
    /// The file to write; it must not be there yet
    #[arg(value_name = "FILE")]
    to: PathBuf,
    /// Where the journal lies.
    #[command(flatten)]
    folder: JournalFolder,
}

/// Does it.
///
/// # Errors
/// There is no journal, or it cannot be read or copied. That it is broken is the answer of `verify`.
pub(super) async fn run(args: &JournalArgs, output: Output) -> Result<Exit, Failure> {
    match &args.command {
        JournalCommand::Verify(folder) => verify::run(&folder.data, output).await,
        JournalCommand::Export(args) => export::run(&args.folder.data, args.after, output).await,
        JournalCommand::Backup(args) => backup::run(&args.folder.data, &args.to, output).await,
    }
}
