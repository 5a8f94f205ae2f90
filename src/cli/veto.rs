//! `backout veto`: no to whatever an incident wants to do.

use clap::Args;
use serde_json::json;

use super::client;
use super::exit::Failure;
use super::operate::{self, Operator};
use super::output::Output;

/// Arguments of `veto`.
#[derive(Clone, Debug, Args)]
pub struct VetoArgs {
    /// The incident
    #[arg(value_parser = client::incident_id)]
    pub id: String,
    /// Why; it stands in the report
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who says it, to whom.
    #[command(flatten)]
    pub operator: Operator,
}

/// Vetoes.
///
/// # Errors
/// The service cannot be told, or refuses.
pub(super) async fn run(args: &VetoArgs, output: Output) -> Result<(), Failure> {
    let VetoArgs { id, reason, operator } = args;
    let body = json!({ "by": operator.by, "reason": reason });
    operate::about(id, "veto", ("vetoed", &body), operator, output).await
}
