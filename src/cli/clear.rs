//! `backout clear`: say that the data was looked at, so that a latch lets go.

use clap::Args;
use serde_json::json;

use super::client::Client;
use super::exit::Failure;
use super::operate::Operator;
use super::output::{Output, Style};

/// Arguments of `clear`.
#[derive(Clone, Debug, Args)]
pub struct ClearArgs {
    /// The latch's number, as `backout latches` shows it
    pub id: u64,
    /// What was found, and why going back is safe again; it stands in the journal
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who says it, to whom.
    #[command(flatten)]
    pub operator: Operator,
}

/// Clears a latch.
///
/// # Errors
/// The service cannot be told, or no latch of that number holds.
pub(super) async fn run(args: &ClearArgs, output: Output) -> Result<(), Failure> {
    let ClearArgs { id, reason, operator } = args;
    let body = json!({ "by": operator.by, "reason": reason });
    let answer = Client::new(&operator.remote)?.post(&format!("latches/{id}/clear"), &body).await?;
    if output.is_json() {
        return output.print_json(&answer);
    }
    let mut text = output.text();
    text.styled(Style::Green, "cleared");
    text.line(format_args!("; latch {id} holds nothing any more"));
    output.print(&text)
}
