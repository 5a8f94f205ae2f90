//! `backout incidents`: what is going on, one line each.

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::client::{Client, Remote};
use super::exit::Failure;
use super::output::{Output, Style, Table};
use crate::model::Time;

/// Arguments of `incidents`.
#[derive(Clone, Debug, Args)]
pub struct IncidentsArgs {
    /// Which incidents
    #[arg(long, value_enum, default_value_t = State::Open)]
    pub state: State,
    /// How many at most, the newest first
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Where the service is.
    #[command(flatten)]
    pub remote: Remote,
}

/// Which incidents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// Those that are not over
    Open,
    /// Those that are over
    Closed,
    /// Both
    All,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::All => "all",
        }
    }
}

/// Lists incidents.
///
/// # Errors
/// The service cannot be asked.
pub(super) async fn run(args: &IncidentsArgs, output: Output) -> Result<(), Failure> {
    let IncidentsArgs { state, limit, remote } = args;
    let query = [("state", state.as_str()), ("limit", &limit.to_string())];
    let answer = Client::new(remote)?.get("incidents", &query).await?;
    if output.is_json() {
        return output.print_json(&answer);
    }
    let rows = answer["incidents"].as_array().map_or(&[][..], Vec::as_slice);
    let mut text = output.text();
    if rows.is_empty() {
        let which = match state {
            State::Open => "no incident is open",
            State::Closed => "no incident was closed lately",
            State::All => "there are no incidents",
        };
        text.line(format_args!("{which}"));
        return output.print(&text);
    }
    let mut table = Table::new(&["ID", "STATE", "TARGET", "POLICY", "DECISION", "WHY", "OPENED"]);
    let now = answer["now"].as_str().and_then(Time::parse);
    rows.iter().for_each(|row| table.row(cells(row, now)));
    table.write(&mut text);
    let total = answer["total"].as_u64().unwrap_or(0);
    if total > rows.len() as u64 {
        text.heading(Style::Dim, &format!("{} of {total}; more with `--limit`", rows.len()));
    }
    output.print(&text)
}

fn cells(row: &Value, now: Option<Time>) -> [String; 7] {
    let get = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
    let state = match row["until"].as_str() {
        Some(until) => format!("{} until {until}", get("state")),
        None => get("state"),
    };
    let shadow = row["lane"].as_str().is_some_and(|lane| lane != "live");
    let policy = if shadow { format!("{} (shadow)", get("policy")) } else { get("policy") };
    let why = match row["brake"].as_str() {
        Some(brake) => format!("{}: {brake}", get("reason")),
        None => get("reason"),
    };
    [get("id"), state, get("target"), policy, get("outcome"), why, opened(row, now)]
}

/// `4m 12s ago`, by the service's own clock: ours may be another.
fn opened(row: &Value, now: Option<Time>) -> String {
    let written = row["opened_at"].as_str().unwrap_or("-");
    match (Time::parse(written), now) {
        (Some(at), Some(now)) => {
            let age = std::time::Duration::from_secs(now.since(at).as_secs());
            format!("{} ago", humantime::format_duration(age))
        }
        _ => written.to_owned(),
    }
}
