//! `backout bad`: was this rolled back from? For pipelines, before they deploy it.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::{Value, json};

use super::client::Client;
use super::exit::{Exit, Failure};
use super::memory::{self, MemoryArgs};
use super::output::{Output, Style};
use crate::decide::memory::{KnownBad, known_bad};

/// What is said about exit codes in the command's help.
pub(super) const HELP: &str = "\
Examples:
  backout bad registry.example.com/shop:1.2.3   a step of a pipeline: it fails where the image was rolled back from
  backout bad sha256:0123...                     by the image's digest: certain, also when tags were moved
  backout bad 4f1c09aa77de                       by a release's digest, as reports show it
  backout bad shop:1.2.3 --data /var/lib/backout read the journal instead of asking the service

Exit codes: 0 it was never rolled back from, 1 it was, 3 the service cannot be asked (do not deploy on this either).
What is remembered is the last 20 releases of each target.";

/// Arguments of `bad`.
#[derive(Clone, Debug, Args)]
pub struct BadArgs {
    /// An image as it stands in a template, an image's digest, or a release's digest
    #[arg(value_name = "IMAGE|DIGEST", value_parser = named)]
    pub what: String,
    /// Who is asked.
    #[command(flatten)]
    pub memory: MemoryArgs,
}

/// Tells whether it was rolled back from.
///
/// # Errors
/// The service cannot be asked, or the journal not be read.
pub(super) async fn run(args: &BadArgs, output: Output) -> Result<Exit, Failure> {
    let BadArgs { what, memory } = args;
    let answer = match &memory.data {
        Some(dir) => {
            let book = memory::journal(dir).await?;
            json!({ "what": what, "bad": known_bad(&book, what) })
        }
        None => Client::new(&memory.remote)?.get("bad", &[("what", what)]).await?,
    };
    let bad: Vec<KnownBad> = read(&answer["bad"])?;
    if output.is_json() {
        output.print_json(&answer)?;
    } else {
        let mut text = output.text();
        if bad.is_empty() {
            text.styled(Style::Green, "not known bad");
            text.line(format_args!(": nobody rolled back from `{what}`, as far as {} remembers", memory.source()));
        }
        for one in &bad {
            text.styled(Style::Red, "rolled back from");
            let runs = if one.runs { "; it runs there NOW" } else { "" };
            text.line(format_args!(" on {} at {} by {} (release {}){runs}", one.target, one.at, one.by, one.release.short()));
        }
        output.print(&text)?;
    }
    Ok(if bad.is_empty() { Exit::Done } else { Exit::Negative })
}

fn read(value: &Value) -> Result<Vec<KnownBad>, Failure> {
    serde_json::from_value(value.clone()).map_err(|error| {
        Failure::new(Exit::Unreachable, format!("the service answers in a form that this program does not read: {error}"))
            .help("use the program of the service's version")
    })
}

fn named(text: &str) -> Result<String, String> {
    let words: BTreeSet<char> = text.chars().filter(|c| c.is_whitespace() || c.is_control()).collect();
    if text.is_empty() || !words.is_empty() {
        return Err("expected an image such as `registry/name:tag`, or a digest".to_owned());
    }
    Ok(text.to_owned())
}
