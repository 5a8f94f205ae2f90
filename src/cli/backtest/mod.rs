//! `backout backtest`: what would the policies have done in the past? A Prometheus is asked for its history, which the service's own
//! engine lives through in virtual time. Nothing is written but the page and the kept answers, nobody is told.

mod progress;
mod show;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use self::progress::Progress;
use super::exit::{Exit, Failure};
use super::output::{self, Output};
use crate::backtest::{self, Broken, Difference, Facts, History, Kept, Ledger, Settings, Source, Span};
use crate::clock::SystemClock;
use crate::model::{Labels, Time};
use crate::outgoing::{Clients, EndpointSettings};
use crate::policy::diagnostic::to_text;
use crate::policy::duration;
use crate::policy::types::{Policies, Setting};
use crate::ports::Clock as _;
use crate::rules_dir::{self, RulesError};
use crate::simulate::Recorded;
use crate::worlds::Revision;

/// Arguments of `backtest`.
#[derive(Clone, Debug, Args)]
pub struct BacktestArgs {
    /// The Prometheus that has the history
    #[arg(long, env = "BACKOUT_PROMETHEUS", value_name = "URL")]
    pub prometheus: String,
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
/// The policies, the times or Prometheus cannot be used.
pub(super) async fn run(args: &BacktestArgs, output: Output) -> Result<Exit, Failure> {
    let (policies, other) = (policies(&args.rules)?, other(args)?);
    let source = source(args)?;
    let span = times(args, &policies)?;
    let progress = Progress::new();
    let history = download(&source, span, &progress).await?;
    let sets: Vec<&Policies> = other.iter().map(|(_, policies)| policies).chain([&policies]).collect();
    let history = history.about(|labels| sets.iter().any(|set| concerns(set, labels)));
    let settings =
        Settings { cluster: cluster(args, &history)?, group_wait: args.group_wait, group_interval: args.group_interval };
    let name = source.name().to_owned();
    let lived = live(Arc::new(history), Arc::new(source), policies, settings.clone(), &progress).await?;
    let Lived { history, source, ledger } = lived;
    let compared = match other {
        None => None,
        Some((revision, policies)) => {
            let before = live(Arc::clone(&history), source, policies, settings, &progress).await?.ledger;
            Some((revision, backtest::compare(&before, &ledger)))
        }
    };
    progress.finish();
    let compared = compared.as_ref().map(|(revision, differences)| (revision.as_str(), differences.as_slice()));
    let assumed = show::assumed(args);
    let shown = Shown { source: &name, history: &history, ledger: &ledger, assumed: &assumed, compared };
    if let Some(path) = &args.html {
        let page = backtest::page(&history, &ledger, &name, &assumed, compared);
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

fn source(args: &BacktestArgs) -> Result<Source, Failure> {
    let usage = |error: crate::outgoing::EndpointError| Failure::usage(error.to_string());
    let token_file = args.prometheus_token_file.clone();
    let settings = EndpointSettings { token_file, ..EndpointSettings::plain(&args.prometheus) };
    let endpoint = Clients::new().and_then(|clients| clients.endpoint(&settings)).map_err(usage)?;
    let folder = args.cache.clone().or_else(usual_cache);
    let kept = folder.map(|folder| Kept::open(&folder).map_err(Failure::usage)).transpose()?;
    if args.step < Duration::from_secs(1) || args.step > Duration::from_secs(300) {
        return Err(Failure::usage("`--step` must be from 1s to 5m").help("take the interval of your rule groups, or half of it"));
    }
    // A sample may come late, and a rule may still write for now.
    Ok(Source::new(endpoint, kept, args.step, SystemClock.now() - Duration::from_secs(15 * 60)))
}

/// Below the user's cache folder.
fn usual_cache() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("backout").join("backtest"))
}

fn times(args: &BacktestArgs, policies: &Policies) -> Result<Span, Failure> {
    let to = args.to.unwrap_or_else(|| SystemClock.now());
    let from = args.from.unwrap_or_else(|| to - args.since);
    if from >= to {
        return Err(Failure::usage("nothing lies between `--from` and `--to`"));
    }
    let forever = Duration::from_secs(366 * 24 * 60 * 60);
    let within = policies.policies.iter().map(|policy| match &policy.brakes.recent_change {
        Setting::On(brake) => brake.within,
        Setting::Disabled(_) => forever,
    });
    Ok(Span { from, to, lead: args.lead, doubt: within.max().unwrap_or_default() })
}

async fn download(source: &Source, span: Span, progress: &Progress) -> Result<History, Failure> {
    let tick = |done, all| progress.downloaded(done, all);
    backtest::download(source, span, &tick).await.map_err(|broken| match broken {
        Broken::Unanswered(why) => {
            let failure = Failure::new(Exit::Unreachable, why.to_string());
            failure.help("run the same command again: what was downloaded is kept, and it goes on from there")
        }
        Broken::Nothing(why) => Failure::new(Exit::NotFound, why).help("see docs/backtest.md for the series that are asked for"),
    })
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

/// A history that was lived through.
struct Lived {
    history: Arc<History>,
    source: Arc<Source>,
    ledger: Ledger,
}

/// Lives through it on a thread of its own, which waits for facts while this one asks for them.
async fn live(
    history: Arc<History>,
    source: Arc<Source>,
    policies: Policies,
    settings: Settings,
    progress: &Progress,
) -> Result<Lived, Failure> {
    let policies = Arc::new(backtest::as_of_then(&policies));
    let handle = tokio::runtime::Handle::current();
    let asked = Arc::clone(&source);
    let ask = move |promql: &str, from: Time, to: Time| handle.block_on(asked.range(promql, from, to));
    let facts = Arc::new(Facts::new(&history, Box::new(ask)));
    let recorded: Arc<dyn Recorded> = Arc::clone(&facts) as Arc<dyn Recorded>;
    let (lived, clock) = (Arc::clone(&history), progress.clone());
    let ledger = tokio::task::spawn_blocking(move || {
        let tick = |at| clock.lived(lived.begin, lived.to, at);
        backtest::live(&lived, &policies, &recorded, &settings, &tick)
    });
    let ledger = ledger.await.map_err(|error| Failure::internal(format!("defect: {error}")))?;
    if let Some(why) = facts.broken() {
        let failure = Failure::new(Exit::Unreachable, why);
        return Err(failure.help("run the same command again: what was downloaded is kept, and it goes on from there"));
    }
    Ok(Lived { history, source, ledger })
}

fn span(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|problem| problem.message)
}

fn time(text: &str) -> Result<Time, String> {
    Time::parse(text).ok_or_else(|| "expected a time like 2026-03-02T09:00:00Z".to_owned())
}
