//! `backout report`: what happened in an incident, when, and why.

mod html;

use clap::{Args, ValueEnum};

use super::client::{self, Client, Remote};
use super::exit::{Exit, Failure};
use super::output::Output;
use crate::decide::incident::Incident;

/// Arguments of `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// The incident
    #[arg(value_parser = client::incident_id)]
    pub id: String,
    /// For whom; Markdown unless `--output json` says otherwise
    #[arg(long, value_enum)]
    pub format: Option<ReportAs>,
    /// Where the service is.
    #[command(flatten)]
    pub remote: Remote,
}

/// For whom a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportAs {
    /// For people
    Markdown,
    /// For scripts
    Json,
    /// One page that needs nothing else, for a browser, an e-mail, a ticket
    Html,
}

/// Prints the report of an incident.
///
/// # Errors
/// The service cannot be asked, or knows no such incident.
pub(super) async fn run(args: &ReportArgs, output: Output) -> Result<(), Failure> {
    let ReportArgs { id, format, remote } = args;
    let (client, path) = (Client::new(remote)?, format!("incidents/{id}/report"));
    let usual = if output.is_json() { ReportAs::Json } else { ReportAs::Markdown };
    match format.unwrap_or(usual) {
        ReportAs::Json => output.print_json(&client.get(&path, &[("format", "json")]).await?),
        ReportAs::Markdown => {
            let mut text = output.text();
            text.plain(&client.get_text(&path, &[("format", "markdown")]).await?);
            output.print(&text)
        }
        ReportAs::Html => {
            let answer = client.get(&path, &[("format", "json")]).await?;
            let incident: Incident = serde_json::from_value(answer["incident"].clone()).map_err(|error| {
                let message = format!("the service tells an incident in a form that this program does not read: {error}");
                Failure::new(Exit::Unreachable, message).help("use the program of the service's version")
            })?;
            output.print_raw(html::page(&incident)?.as_bytes())
        }
    }
}

/// An incident of the demo, as its API told it.
#[cfg(test)]
mod example {
    use crate::decide::incident::Incident;

    pub(super) fn incident() -> Incident {
        serde_json::from_str(include_str!("example.json")).expect("an incident")
    }
}
