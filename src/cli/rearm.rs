//! `backout rearm`: trust a policy again whose rollbacks were marked wrong.

use clap::Args;
use serde_json::json;

use super::client::Client;
use super::exit::Failure;
use super::operate::Operator;
use super::output::{Output, Style};

/// Arguments of `rearm`.
#[derive(Clone, Debug, Args)]
pub struct RearmArgs {
    /// The policy
    pub policy: String,
    /// Why it is trusted again; it stands in the journal
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who says it, to whom.
    #[command(flatten)]
    pub operator: Operator,
}

/// Arms it again.
///
/// # Errors
/// The service cannot be told, or the policy is trusted as it is.
pub(super) async fn run(args: &RearmArgs, output: Output) -> Result<(), Failure> {
    let RearmArgs { policy, reason, operator } = args;
    let body = json!({ "policy": policy, "by": operator.by, "reason": reason });
    let answer = Client::new(&operator.remote)?.post("policies/rearm", &body).await?;
    if output.is_json() {
        return output.print_json(&answer);
    }
    let mut text = output.text();
    text.styled(Style::Green, "armed again");
    text.line(format_args!("; policy {policy} acts in its own mode"));
    output.print(&text)
}
