//! `backout acknowledge`: "I have it". Suspends a countdown and ends reminders.

use clap::Args;
use serde_json::json;

use super::client;
use super::exit::Failure;
use super::operate::{self, Operator};
use super::output::Output;

/// Arguments of `acknowledge`.
#[derive(Clone, Debug, Args)]
pub struct AcknowledgeArgs {
    /// The incident
    #[arg(value_parser = client::incident_id)]
    pub id: String,
    /// Who says it, to whom.
    #[command(flatten)]
    pub operator: Operator,
}

/// Acknowledges.
///
/// # Errors
/// The service cannot be told, or refuses.
pub(super) async fn run(args: &AcknowledgeArgs, output: Output) -> Result<(), Failure> {
    let AcknowledgeArgs { id, operator } = args;
    operate::about(id, "acknowledge", ("acknowledged", &json!({ "by": operator.by })), operator, output).await
}
