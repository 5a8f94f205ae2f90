//! `backout resume`: end a pause early.

use clap::Args;

use super::client::Client;
use super::exit::Failure;
use super::operate::Operator;
use super::output::{Output, Style};

/// Arguments of `resume`.
#[derive(Clone, Debug, Args)]
pub struct ResumeArgs {
    /// The pause's number, as `backout pauses` shows it
    pub id: u64,
    /// Who says it, to whom.
    #[command(flatten)]
    pub operator: Operator,
}

/// Ends a pause.
///
/// # Errors
/// The service cannot be told, or knows no such pause.
pub(super) async fn run(args: &ResumeArgs, output: Output) -> Result<(), Failure> {
    let ResumeArgs { id, operator } = args;
    let answer = Client::new(&operator.remote)?.delete(&format!("pauses/{id}"), &[("by", &operator.by)]).await?;
    if output.is_json() {
        return output.print_json(&answer);
    }
    let mut text = output.text();
    text.styled(Style::Green, "resumed");
    text.line(format_args!("; pause {id} is over"));
    output.print(&text)
}
