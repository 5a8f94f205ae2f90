//! What the operating commands share: who says it, and what the service made of it.

use clap::Args;
use serde_json::Value;

use super::client::{Client, Remote};
use super::exit::Failure;
use super::output::{Output, Style};

/// Who says it, to which service.
#[derive(Clone, Debug, Args)]
pub struct Operator {
    /// Who says so; it stands in the report
    #[arg(long, env = "USER", value_name = "NAME")]
    pub by: String,
    /// Where the service is.
    #[command(flatten)]
    pub remote: Remote,
}

/// Tells the service something about an incident, and prints what became of it.
pub(super) async fn about(
    incident: &str,
    verb: &str,
    (done, body): (&str, &Value),
    operator: &Operator,
    output: Output,
) -> Result<(), Failure> {
    let answer = Client::new(&operator.remote)?.post(&format!("incidents/{incident}/{verb}"), body).await?;
    if output.is_json() {
        return output.print_json(&answer);
    }
    let mut text = output.text();
    text.styled(Style::Green, done);
    let state = answer["state"].as_str().unwrap_or("unknown");
    text.line(format_args!("; incident {incident} is `{state}` now"));
    output.print(&text)
}
