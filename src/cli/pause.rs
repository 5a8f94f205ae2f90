//! `backout pause`: stand down, for a while, with a reason.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::client::Client;
use super::exit::Failure;
use super::operate::Operator;
use super::output::{Output, Style};
use crate::policy::duration;

/// Arguments of `pause`.
#[derive(Clone, Debug, Args)]
pub struct PauseArgs {
    /// What is paused
    #[arg(long, value_enum)]
    pub scope: Scope,
    /// Its name: a namespace, a target as `namespace/name`, or a policy
    #[arg(long, value_name = "NAME", required_if_eq_any = [("scope", "namespace"), ("scope", "target"), ("scope", "policy")])]
    pub name: Option<String>,
    /// Why; it stands in every decision that the pause holds
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// For how long, like `2h` or `1d12h`; a pause always ends
    #[arg(long = "for", value_name = "DURATION", value_parser = span)]
    pub span: String,
    /// Who says it, to whom.
    #[command(flatten)]
    pub operator: Operator,
}

/// What a pause covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scope {
    /// Everything
    Global,
    /// A namespace
    Namespace,
    /// A target
    Target,
    /// A policy
    Policy,
}

impl Scope {
    fn as_str(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Namespace => "namespace",
            Self::Target => "target",
            Self::Policy => "policy",
        }
    }
}

/// Pauses.
///
/// # Errors
/// The service cannot be told, or refuses.
pub(super) async fn run(args: &PauseArgs, output: Output) -> Result<(), Failure> {
    let PauseArgs { scope, name, reason, span, operator } = args;
    let mut body = json!({ "scope": scope.as_str(), "reason": reason, "by": operator.by, "for": span });
    match (scope, name) {
        (Scope::Global, Some(name)) => {
            let message = format!("a global pause has no name, and `--name {name}` gives it one");
            return Err(Failure::usage(message).help("leave `--name` out, or narrow `--scope`"));
        }
        (_, Some(name)) => body["name"] = json!(name),
        (_, None) => {}
    }
    let answer = Client::new(&operator.remote)?.post("pauses", &body).await?;
    if output.is_json() {
        return output.print_json(&answer);
    }
    let what = name.as_ref().map_or_else(|| "everything".to_owned(), |name| format!("{} {name}", scope.as_str()));
    let mut text = output.text();
    text.styled(Style::Green, "paused");
    match answer["pause"].as_u64() {
        Some(id) => text.line(format_args!(" {what} for {span}; end it early with `backout resume {id}`")),
        None => text.line(format_args!(" {what} for {span}; `backout pauses` shows it")),
    }
    output.print(&text)
}

fn span(text: &str) -> Result<String, String> {
    match duration::parse(text) {
        Ok(span) if span.is_zero() => Err("expected more than no time at all, for example `2h`".to_owned()),
        Ok(_) => Ok(text.to_owned()),
        Err(problem) => Err(problem.to_string()),
    }
}
