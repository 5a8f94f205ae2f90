//! `backout log-level`: what a running service logs, looked at or changed.

use clap::Args;
use serde_json::json;

use super::client::{Client, Remote};
use super::exit::Failure;
use super::output::Output;

/// Arguments of `log-level`.
#[derive(Clone, Debug, Args)]
pub struct LogLevelArgs {
    /// A level (error, warn, info, debug, trace, off), or directives as in `RUST_LOG`; without it the present one is shown
    #[arg(value_name = "LEVEL")]
    pub level: Option<String>,
    /// Who says so; it stands in the log
    #[arg(long, env = "USER", value_name = "NAME", default_value = "somebody")]
    pub by: String,
    /// Where the service is.
    #[command(flatten)]
    pub remote: Remote,
}

/// Shows or changes it.
///
/// # Errors
/// The service cannot be told, or refuses.
pub(super) async fn run(args: &LogLevelArgs, output: Output) -> Result<(), Failure> {
    let LogLevelArgs { level, by, remote } = args;
    let client = Client::new(remote)?;
    let answer = match level {
        Some(level) => client.put_admin("log-level", &json!({ "level": level, "by": by })).await?,
        None => client.get_admin("log-level").await?,
    };
    if output.is_json() {
        return output.print_json(&answer);
    }
    let mut text = output.text();
    text.line(format_args!("{}", answer["level"].as_str().unwrap_or("unknown")));
    output.print(&text)
}
