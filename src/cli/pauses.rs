//! `backout pauses`: which pauses hold.

use clap::Args;
use serde_json::Value;

use super::client::{Client, Remote};
use super::exit::Failure;
use super::output::{Output, Table};
use crate::model::Time;

/// Arguments of `pauses`.
#[derive(Clone, Debug, Args)]
pub struct PausesArgs {
    /// Where the service is.
    #[command(flatten)]
    pub remote: Remote,
}

/// Lists pauses.
///
/// # Errors
/// The service cannot be asked.
pub(super) async fn run(args: &PausesArgs, output: Output) -> Result<(), Failure> {
    let PausesArgs { remote } = args;
    let answer = Client::new(remote)?.get("pauses", &[]).await?;
    if output.is_json() {
        return output.print_json(&answer);
    }
    let pauses = answer["pauses"].as_array().map_or(&[][..], Vec::as_slice);
    let mut text = output.text();
    if pauses.is_empty() {
        text.line(format_args!("no pause holds"));
        return output.print(&text);
    }
    let mut table = Table::new(&["ID", "SCOPE", "UNTIL", "BY", "REASON"]);
    pauses.iter().for_each(|pause| table.row(cells(pause)));
    table.write(&mut text);
    output.print(&text)
}

fn cells(pause: &Value) -> [String; 5] {
    let get = |name: &str| pause[name].as_str().unwrap_or("-").to_owned();
    let scope = pause["scope"]["scope"].as_str().unwrap_or("-");
    let scope = match pause["scope"]["name"].as_str() {
        Some(name) => format!("{scope} {name}"),
        None => scope.to_owned(),
    };
    let until = pause["until"].as_i64().map_or_else(|| get("until"), |millis| Time::from_millis(millis).to_string());
    [pause["id"].to_string(), scope, until, get("by"), get("reason")]
}
