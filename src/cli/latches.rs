//! `backout latches`: what is not rolled back until somebody looked at the data.

use clap::Args;
use serde_json::Value;

use super::client::{Client, Remote};
use super::exit::Failure;
use super::output::{Output, Table};

/// Arguments of `latches`.
#[derive(Clone, Debug, Args)]
pub struct LatchesArgs {
    /// Those that were cleared as well, as far as they are remembered
    #[arg(long)]
    pub all: bool,
    /// Where the service is.
    #[command(flatten)]
    pub remote: Remote,
}

/// Lists latches.
///
/// # Errors
/// The service cannot be asked.
pub(super) async fn run(args: &LatchesArgs, output: Output) -> Result<(), Failure> {
    let LatchesArgs { all, remote } = args;
    let answer = Client::new(remote)?.get("latches", &[]).await?;
    if output.is_json() {
        return output.print_json(&answer);
    }
    let known = answer["latches"].as_array().map_or(&[][..], Vec::as_slice);
    let shown: Vec<&Value> = known.iter().filter(|latch| *all || latch["cleared"].is_null()).collect();
    let mut text = output.text();
    if shown.is_empty() {
        text.line(format_args!("no latch holds"));
        return output.print(&text);
    }
    let mut table = Table::new(&["ID", "CAUSE", "COVERS", "SINCE", "INCIDENT", "CLEARED", "WHY"]);
    shown.into_iter().for_each(|latch| table.row(cells(latch)));
    table.write(&mut text);
    output.print(&text)
}

fn cells(latch: &Value) -> [String; 7] {
    let get = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let group = latch["covers"].as_array().map_or(&[][..], Vec::as_slice);
    let covers: Vec<String> = latch["target"].as_str().map(str::to_owned).into_iter().chain(group.iter().map(get)).collect();
    let cleared = match latch["cleared"]["by"].as_str() {
        Some(by) => format!("by {by}: {}", get(&latch["cleared"]["reason"])),
        None => "no".to_owned(),
    };
    let [cause, from, incident, because] = ["cause", "from", "incident", "because"].map(|name| get(&latch[name]));
    [latch["id"].to_string(), cause, covers.join(", "), from, incident, cleared, because]
}
