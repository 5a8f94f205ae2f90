//! `backout backtest`: what would the policies have done in the past? A Prometheus is asked for its history, which the service's own
//! engine lives through in virtual time. Nothing is written but the page and the kept answers, nobody is told.

mod past;
mod progress;
mod show;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use self::past::Past;
use self::progress::Progress;
use super::exit::{Exit, Failure};
use super::output::{self, Output};
use crate::backtest::{self, Difference, History, Ledger, Settings};
use crate::model::{Labels, Time};
use crate::policy::diagnostic::to_text;
use crate::policy::duration;
use crate::policy::types::Policies;
use crate::rules_dir::{self, RulesError};
use crate::worlds::Revision;

/// Arguments of `backtest`.
#[derive(Clone, Debug, Args)]
pub struct BacktestArgs {
    /// The Prometheus that has the history
    #[arg(long, env = "BACKOUT_PROMETHEUS", value_name = "URL", required_unless_present = "journal")]
    pub prometheus: Option<String>,
    /// The history is in this journal instead: the service's data folder, or a copy of its journal
    #[arg(long, value_name = "DATA", conflicts_with_all = ["prometheus_token_file", "step", "cache", "group_wait", "group_interval"])]
    pub journal: Option<PathBuf>,
    /// A file with a bearer token for it
    #[arg(long, value_name = "FILE")]
    pub prometheus_token_file: Option<PathBuf>,
    /// The folder of policy files
    #[arg(long, env = "BACKOUT_RULES", value_name = "DIR", default_value = "rules")]
    pub rules: PathBuf,
    /// How far back
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = span, conflicts_with = "from")]
    pub since: Duration,
    /// From this time, RFC 3339
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub from: Option<Time>,
    /// Up to this time, RFC 3339; now, where it is not said
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub to: Option<Time>,
    /// Watch for so long before the first incident counts: releases must have been seen healthy
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = span)]
    pub lead: Duration,
    /// How far samples are apart; alerts that are shorter may be missed
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = span)]
    pub step: Duration,
    /// The cluster's name, where alerts carry the label `cluster`
    #[arg(long, env = "BACKOUT_CLUSTER_NAME", value_name = "NAME")]
    pub cluster_name: Option<String>,
    /// How long your Alertmanager holds the first notification back
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = span)]
    pub group_wait: Duration,
    /// How long it holds news of a known group back
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = span)]
    pub group_interval: Duration,
    /// Live through it under the policies of this git revision, too, and say what is decided otherwise
    #[arg(long, value_name = "REV")]
    pub compare: Option<String>,
    /// How to print the ledger
    #[arg(long, value_enum)]
    pub format: Option<BacktestFormat>,
    /// Write one page with a timeline of every incident, too
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Where answers are kept, so that the next run goes on where this one ended
    #[arg(long, env = "BACKOUT_BACKTEST_CACHE", value_name = "DIR")]
    pub cache: Option<PathBuf>,
}

/// How a ledger is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BacktestFormat {
    /// For people
    Table,
    /// For scripts
    Json,
}

/// All that is shown.
struct Shown<'a> {
    source: &'a str,
    history: &'a History,
    ledger: &'a Ledger,
    assumed: &'a [String],
    compared: Option<(&'a str, &'a [Difference])>,
}

/// Looks back.
///
/// # Errors
/// The policies, the times, Prometheus or the journal cannot be used.
pub(super) async fn run(args: &BacktestArgs, output: Output) -> Result<Exit, Failure> {
    let (policies, other) = (policies(&args.rules)?, other(args)?);
    let progress = Progress::new();
    let past = Past::read(args, &policies, &progress).await?;
    let sets: Vec<&Policies> = other.iter().map(|(_, policies)| policies).chain([&policies]).collect();
    let past = past.about(|labels| sets.iter().any(|set| concerns(set, labels)));
    let cluster = cluster(args, &past.history)?;
    let settings = Settings { cluster, group_wait: args.group_wait, group_interval: args.group_interval };
    let ledger = past.live(policies, settings.clone(), &progress).await?;
    let compared = match other {
        None => None,
        Some((revision, policies)) => {
            let before = past.live(policies, settings, &progress).await?;
            Some((revision, backtest::compare(&before, &ledger)))
        }
    };
    progress.finish();
    let compared = compared.as_ref().map(|(revision, differences)| (revision.as_str(), differences.as_slice()));
    let assumed = show::assumed(args);
    let history = &past.history;
    let shown = Shown { source: &past.name, history, ledger: &ledger, assumed: &assumed, compared };
    if let Some(path) = &args.html {
        let page = backtest::page(history, &ledger, &past.name, &assumed, compared);
        let page = page.map_err(|error| Failure::internal(format!("cannot write the page: {error}")))?;
        std::fs::write(path, page).map_err(|error| Failure::usage(format!("cannot write `{}`: {error}", path.display())))?;
    }
    if output.is_json() || args.format == Some(BacktestFormat::Json) {
        output.print_json(&show::json(&shown))?;
    } else {
        let mut text = output.text();
        show::write(&shown, &mut text);
        output.print(&text)?;
    }
    if let Some(defect) = ledger.defects.first() {
        return Err(Failure::internal(format!("defect: {defect}")));
    }
    Ok(Exit::Done)
}

fn policies(folder: &Path) -> Result<Policies, Failure> {
    // The cluster's name is not needed to look back.
    match rules_dir::load(folder, true) {
        Ok(loaded) => Ok(loaded.policies),
        Err(RulesError::Wrong(diagnostics)) => {
            output::remark(&to_text(&diagnostics));
            let message = format!("the policies in `{}` have errors: the service would not apply them", folder.display());
            Err(Failure::new(Exit::Negative, message).help("mend them; `backout check` shows the same list"))
        }
        Err(error) => Err(Failure::usage(error.to_string()).help("name the folder of policy files with `--rules`")),
    }
}

/// The policies that these are compared with, and what they are called.
fn other(args: &BacktestArgs) -> Result<Option<(String, Policies)>, Failure> {
    let Some(name) = &args.compare else { return Ok(None) };
    let revision = Revision::find(&args.rules, name).map_err(Failure::usage)?;
    let policies = revision.policies_of(&args.rules).map_err(Failure::usage)?;
    let shown = if revision.short() == name { name.clone() } else { format!("{name} ({})", revision.short()) };
    Ok(Some((shown, Arc::unwrap_or_clone(policies))))
}

fn concerns(policies: &Policies, labels: &Labels) -> bool {
    !policies.about_with(|name| labels.get(name).map(String::as_str)).is_empty()
}

/// The cluster's name: as it was said, or the only one that the alerts carry.
fn cluster(args: &BacktestArgs, history: &History) -> Result<String, Failure> {
    if let Some(name) = &args.cluster_name {
        return Ok(name.clone());
    }
    let names: BTreeSet<&String> = history.alerts.iter().filter_map(|alert| alert.labels.get("cluster")).collect();
    let mut names = names.into_iter();
    match (names.next(), names.next()) {
        (None, _) => Ok("history".to_owned()),
        (Some(name), None) => Ok(name.clone()),
        (Some(one), Some(other)) => {
            let message = format!("alerts are of several clusters, like {one:?} and {other:?}");
            Err(Failure::usage(message).help("name one with `--cluster-name`: a service looks after one cluster"))
        }
    }
}

fn span(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|problem| problem.message)
}

fn time(text: &str) -> Result<Time, String> {
    Time::parse(text).ok_or_else(|| "expected a time like 2026-03-02T09:00:00Z".to_owned())
}
