//! `backout drill`: could we roll back right now? Everything but the write, with the settings of `serve`; also while the service runs.

use std::path::Path;
use std::sync::Arc;

use clap::{ArgGroup, Args};
use tokio::sync::mpsc;

use super::exit::{Exit, Failure};
use super::output::{Output, Style, Table, Text};
use super::{channels, memory};
use crate::clock::SystemClock;
use crate::cluster::{Clients as ClusterClients, KubernetesCluster};
use crate::decide::book::Book;
use crate::drill::{self, Check, Drill, Level, Parts};
use crate::engine::Hands;
use crate::execute::WriterSettings;
use crate::metrics::Metrics;
use crate::model::TargetRef;
use crate::notify::NotifierSet;
use crate::observe::{AlertmanagerClient, ClusterWatch, HttpProbeClient, PrometheusClient, PrometheusLimits, WatchSettings};
use crate::outgoing::Clients;
use crate::policy::diagnostic::to_text;
use crate::policy::types::Policies;
use crate::ports::{Clock, Cluster, Notifier, Prometheus, Store};
use crate::rules_dir::RulesError;
use crate::settings::{ServeArgs, Settings};
use crate::store::JournalLook;

/// Arguments of `drill`: those of `serve`, and for which targets.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["all", "namespace", "target"]).multiple(true))]
pub struct DrillArgs {
    /// For every target that a policy can reach, in all namespaces that the settings name
    #[arg(long)]
    pub all: bool,
    /// For this target, `namespace/name`; repeatable
    #[arg(long, value_name = "TARGET", value_parser = memory::target)]
    pub target: Vec<TargetRef>,
    /// What the service is started with.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// Carries a drill out.
///
/// # Errors
/// The settings, the policies, the cluster or the journal cannot be used. That no rollback could be made is an answer.
pub(super) async fn run(args: DrillArgs, output: Output) -> Result<Exit, Failure> {
    let DrillArgs { all: _, target, serve } = args;
    let settings = Settings::load(serve).map_err(|errors| {
        let list: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        Failure::usage(list.join("; ")).help("`backout doctor` looks at all of the settings")
    })?;
    let policies = policies(&settings)?;
    let journal = Arc::new(memory::look(&settings.data)?);
    let book = book(&journal, &settings.data).await?;
    let (hands, channels) = hands(&settings, journal).await?;
    let parts = Parts {
        policies: &policies,
        book: &book,
        limits: &settings.limits,
        cluster_name: settings.cluster_name.as_deref(),
        hands: &hands,
        channels: &channels,
    };
    // `--namespace` goes before the settings' own list, as for the service.
    let inside = |known: &TargetRef| settings.namespaces.is_empty() || settings.namespaces.contains(&known.namespace);
    let wanted = |known: &TargetRef| inside(known) && (target.is_empty() || target.contains(known));
    let drill = drill::run(&parts, wanted).await;
    if output.is_json() {
        let answer = serde_json::json!({ "passed": drill.passed(), "policies": drill.by_policy(), "drill": drill });
        output.print_json(&answer)?;
    } else {
        let mut text = output.text();
        write(&drill, &mut text);
        output.print(&text)?;
    }
    Ok(if drill.passed() { Exit::Done } else { Exit::Negative })
}

fn policies(settings: &Settings) -> Result<Policies, Failure> {
    match channels::load(&settings.rules, settings.cluster_name.is_some(), &settings.channels) {
        Ok(loaded) => Ok(loaded.policies),
        Err(RulesError::Wrong(wrong)) => {
            super::output::remark(&to_text(&wrong));
            let failure = Failure::new(Exit::Negative, format!("the policies in `{}` have errors", settings.rules.display()));
            Err(failure.help("mend them; `backout check` shows the same list"))
        }
        Err(error) => Err(Failure::usage(error.to_string()).help("name the folder of policy files with `rules` or `--rules`")),
    }
}

/// What the service remembers, from its journal.
async fn book(journal: &JournalLook, data: &Path) -> Result<Book, Failure> {
    let (book, _) = crate::engine::remembered(journal).await.map_err(|error| {
        let failure = Failure::usage(format!("the journal in `{}`: {error}", data.display()));
        failure.help("`backout journal verify` says what in it is broken, and where")
    })?;
    Ok(book)
}

/// The hands of the service, but for the watch: nothing is followed here.
async fn hands(settings: &Settings, journal: Arc<JournalLook>) -> Result<(Hands, Arc<NotifierSet>), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let usage = |error: crate::outgoing::EndpointError| Failure::usage(error.to_string());
    let clients = Clients::new().map_err(usage)?;
    let peers = AlertmanagerClient::new(&clients, &settings.alertmanagers, Arc::clone(&clock)).map_err(usage)?;
    let prometheus: Option<Arc<dyn Prometheus>> = if settings.prometheus.is_empty() {
        None
    } else {
        let client = PrometheusClient::new(&clients, &settings.prometheus, Arc::clone(&clock), PrometheusLimits::default());
        Some(Arc::new(client.map_err(usage)?))
    };
    let metrics = Metrics::new().map_err(|error| Failure::internal(error.to_string()))?;
    let channels = NotifierSet::new(&clients, &settings.channels, settings.origin(), Arc::clone(&clock), metrics);
    let channels = Arc::new(channels.map_err(|error| Failure::usage(error.to_string()))?);
    let cluster = ClusterClients::connect(settings.kubeconfig.clone()).await.map_err(|error| {
        Failure::new(Exit::Unreachable, error).help("run it in the cluster, or name a kubeconfig with `cluster.kubeconfig`")
    })?;
    let (events, _) = mpsc::channel(1);
    let watch = ClusterWatch::new(&cluster.reads, &clock, &WatchSettings::default(), events);
    let kept: Arc<dyn Store> = journal;
    let cluster = KubernetesCluster::new(cluster, watch, Arc::clone(&clock), Some(kept), WriterSettings::default());
    let hands = Hands {
        cluster: Some(Arc::new(cluster) as Arc<dyn Cluster>),
        prometheus,
        alertmanagers: Arc::new(peers.with_watchdog(settings.watchdog.clone())),
        probe: Arc::new(HttpProbeClient::new(&clients, Arc::clone(&clock))),
        notifier: Arc::clone(&channels) as Arc<dyn Notifier>,
        clock,
    };
    Ok((hands, channels))
}

fn write(drill: &Drill, text: &mut Text) {
    text.heading(Style::Bold, "around");
    drill.around.iter().for_each(|check| write_check(check, text));
    text.gap();
    let mut table = Table::new(&["POLICY", "RULE", "TARGET", "FROM", "TO", "COULD GO BACK"]);
    for row in &drill.rows {
        let or_none = |known: &Option<String>| known.clone().unwrap_or_else(|| "-".to_owned());
        let answer = match (row.passed(), &row.to) {
            (false, _) => "NO",
            (true, Some(_)) => "yes",
            (true, None) => "-",
        };
        let cells = [row.policy.clone(), row.rule.clone(), or_none(&row.target), or_none(&row.from), or_none(&row.to)];
        table.row(cells.into_iter().chain([answer.to_owned()]));
    }
    table.write(text);
    for row in drill.rows.iter().filter(|row| row.checks.iter().any(|check| check.level > Level::Passed)) {
        text.gap();
        let target = row.target.as_deref().unwrap_or("no target");
        text.heading(Style::Bold, &format!("policy {} on {target}", row.policy));
        let told = row.checks.iter().filter(|check| check.level > Level::Passed);
        told.for_each(|check| write_check(check, text));
    }
    text.gap();
    match (drill.passed(), drill.rows.iter().any(|row| row.to.is_some())) {
        (true, true) => text.heading(Style::Green, "a rollback could be made now, of every target above"),
        (true, false) => text.heading(Style::Yellow, "no target was tried"),
        (false, _) => {
            text.heading(Style::Red, &format!("{} checks failed: no rollback could be made there", drill.failures().len()))
        }
    }
}

fn write_check(check: &Check, text: &mut Text) {
    let (style, word) = match check.level {
        Level::Passed => (Style::Green, "ok     "),
        Level::Noted => (Style::Yellow, "note   "),
        Level::Failed => (Style::Red, "FAILED "),
    };
    text.plain("  ");
    text.styled(style, word);
    text.line(format_args!("{:<24} {}", check.check, check.found));
}
