//! `backout approve`: yes to exactly one plan, by its hash.

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;

use super::client;
use super::exit::Failure;
use super::operate::{self, Operator};
use super::output::Output;
use crate::model::Brake;

/// Arguments of `approve`.
#[derive(Clone, Debug, Args)]
pub struct ApproveArgs {
    /// The incident
    #[arg(value_parser = client::incident_id)]
    pub id: String,
    /// The hash of the plan that was read, 16 hex digits: a plan that changed meanwhile is not approved
    #[arg(long, value_name = "HASH", value_parser = plan_hash)]
    pub plan: String,
    /// A brake that this approval overrides, by name; repeatable. None is overridden silently
    #[arg(
        long = "override",
        value_name = "BRAKE",
        value_delimiter = ',',
        hide_possible_values = true,
        value_parser = PossibleValuesParser::new(Brake::ALL.iter().map(|brake| brake.as_str()))
    )]
    pub overrides: Vec<String>,
    /// Who says it, to whom.
    #[command(flatten)]
    pub operator: Operator,
}

/// Approves.
///
/// # Errors
/// The service cannot be told, or refuses.
pub(super) async fn run(args: &ApproveArgs, output: Output) -> Result<(), Failure> {
    let ApproveArgs { id, plan, overrides, operator } = args;
    let body = json!({ "by": operator.by, "plan_hash": plan, "overrides": overrides });
    operate::about(id, "approve", ("approved", &body), operator, output).await
}

fn plan_hash(text: &str) -> Result<String, String> {
    if text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("expected 16 hex digits, as the report shows them".to_owned())
    }
}
