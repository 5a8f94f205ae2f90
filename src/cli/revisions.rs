//! `backout revisions`: the releases of a target that are remembered, and whether a rollback would go to them.

use clap::Args;
use serde_json::json;

use super::client::Client;
use super::exit::{Exit, Failure};
use super::memory::{self, MemoryArgs, ago};
use super::output::{Output, Style, Table};
use crate::clock::SystemClock;
use crate::decide::memory::{Revision, revisions};
use crate::model::{TargetRef, Time};
use crate::policy::duration;
use crate::policy::types::FitTarget;
use crate::ports::Clock as _;

/// Arguments of `revisions`.
#[derive(Clone, Debug, Args)]
pub struct RevisionsArgs {
    /// The target, as `namespace/name`
    #[arg(value_name = "TARGET", value_parser = memory::target)]
    pub target: TargetRef,
    /// Who is asked.
    #[command(flatten)]
    pub memory: MemoryArgs,
}

/// Lists releases.
///
/// # Errors
/// The service cannot be asked, the journal not be read, or nothing is known of the target.
pub(super) async fn run(args: &RevisionsArgs, output: Output) -> Result<(), Failure> {
    let RevisionsArgs { target, memory } = args;
    let answer = match &memory.data {
        Some(dir) => {
            let book = memory::journal(dir).await?;
            let now = SystemClock.now();
            let rows = revisions(&book, target, &FitTarget::default(), now).ok_or_else(|| {
                let message = format!("nothing is remembered of `{target}`");
                Failure::new(Exit::NotFound, message).help("it is known once the service has watched it")
            })?;
            json!({ "target": target.to_string(), "policy": null, "revisions": rows, "now": now.to_string() })
        }
        None => {
            let name = format!("{}/{}", target.namespace, target.name);
            Client::new(&memory.remote)?.get("revisions", &[("target", &name)]).await?
        }
    };
    if output.is_json() {
        return output.print_json(&answer);
    }
    let rows: Vec<Revision> = serde_json::from_value(answer["revisions"].clone()).map_err(|error| {
        Failure::new(Exit::Unreachable, format!("the service answers in a form that this program does not read: {error}"))
    })?;
    let now = answer["now"].as_str().and_then(Time::parse).unwrap_or_default();
    let mut table = Table::new(&["RELEASE", "IMAGES", "LIVE SINCE", "HEALTHY", "BY", "FIT", "WHY"]);
    rows.iter().for_each(|row| table.row(cells(row, now)));
    let mut text = output.text();
    table.write(&mut text);
    let numbers = match answer["policy"].as_str() {
        Some(policy) => format!("judged by the numbers of `fit_target` in the policy `{policy}`"),
        None => "judged by the default numbers of `fit_target`".to_owned(),
    };
    text.heading(Style::Dim, &numbers);
    output.print(&text)
}

fn cells(row: &Revision, now: Time) -> [String; 7] {
    let health = duration::format(std::time::Duration::from_secs(row.healthy_ms / 1000));
    let health = if row.watched { health } else { format!("{health} (re-learned)") };
    let fit = match (row.runs, row.fit) {
        (true, _) => "runs",
        (false, true) => "yes",
        (false, false) => "no",
    };
    let by = row.by.clone().unwrap_or_else(|| "-".to_owned());
    [row.release.short().to_owned(), row.images.join(", "), ago(row.live_since, now), health, by, fit.to_owned(), row.why.clone()]
}
