//! `backout mark`: says of a rollback, made or announced in shadow, that it was right or wrong.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::client;
use super::exit::Failure;
use super::operate::{self, Operator};
use super::output::Output;

/// Arguments of `mark`.
#[derive(Clone, Debug, Args)]
pub struct MarkArgs {
    /// The incident; it may be over
    #[arg(value_parser = client::incident_id)]
    pub id: String,
    /// Whether the rollback was right; the last word counts
    #[arg(value_enum)]
    pub mark: Mark,
    /// Why; it stands in the report
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who says it, to whom.
    #[command(flatten)]
    pub operator: Operator,
}

/// What is said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mark {
    /// It was the right thing to do
    Right,
    /// It should not have been done
    Wrong,
}

/// Marks.
///
/// # Errors
/// The service cannot be told, or refuses.
pub(super) async fn run(args: &MarkArgs, output: Output) -> Result<(), Failure> {
    let MarkArgs { id, mark, reason, operator } = args;
    let (mark, done) = match mark {
        Mark::Right => ("right", "marked right"),
        Mark::Wrong => ("wrong", "marked wrong"),
    };
    let body = json!({ "mark": mark, "by": operator.by, "reason": reason });
    operate::about(id, "mark", (done, &body), operator, output).await
}
