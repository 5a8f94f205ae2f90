//! `backout explain`: what would happen to this alert now, or what was decided about an incident then, and why. Reads, decides with the service's own brain, writes nothing,
//! tells nobody.

mod alerts;
mod brain;
mod hands;
mod markdown;
mod past;
mod show;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{ArgGroup, Args, ValueEnum};

use super::exit::{Exit, Failure};
use super::memory::MemoryArgs;
use super::output::{self, Output};
use crate::clock::SystemClock;
use crate::cluster;
use crate::decide::memory::Memory;
use crate::engine::Hands;
use crate::model::{Fingerprint, IncidentId, Notification, TargetRef};
use crate::observe::{AlertmanagerClient, ClusterReader, HttpProbeClient, PrometheusClient, PrometheusLimits, WATCHDOG};
use crate::outgoing::{Clients, EndpointSettings};
use crate::policy::diagnostic::to_text;
use crate::policy::matcher::parse_one;
use crate::policy::types::Policies;
use crate::ports::{Alertmanagers, Clock, Cluster, Prometheus};
use crate::rules_dir::{self, RulesError};
use brain::Explained;

/// Arguments of `explain`.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["alert", "fingerprint", "matcher", "incident"]))]
pub struct ExplainArgs {
    /// A file with the alert, `-` for stdin: a webhook body, an alert of Alertmanager's API, or only labels, in JSON
    #[arg(long, value_name = "FILE")]
    pub alert: Option<PathBuf>,
    /// The fingerprint of an alert that Alertmanager holds now, 16 hex digits
    #[arg(long, value_name = "HEX", requires = "alertmanager", value_parser = fingerprint)]
    pub fingerprint: Option<Fingerprint>,
    /// A matcher for alerts that Alertmanager holds now, like `alertname="HighErrorRate"`; repeatable
    #[arg(long, value_name = "MATCHER", requires = "alertmanager")]
    pub matcher: Vec<String>,
    /// An incident of the past: what was decided about it is derived again from the journal, byte for byte
    #[arg(long, value_name = "ID", requires = "journal", value_parser = incident)]
    pub incident: Option<IncidentId>,
    /// The service's data folder, or a copy of its journal (`backout journal backup`), for `--incident`
    #[arg(long, value_name = "PATH", requires = "incident")]
    pub journal: Option<PathBuf>,
    /// The service's settings, for the times and the cluster's name that a journal does not hold
    #[arg(long, env = "BACKOUT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How to print it
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<ExplainFormat>,
    /// The folder of policy files
    #[arg(long, env = "BACKOUT_RULES", value_name = "DIR", default_value = "rules")]
    pub rules: PathBuf,
    /// An Alertmanager peer; repeatable. Without one the alert is taken to fire
    #[arg(long, env = "BACKOUT_ALERTMANAGER", value_name = "URL", value_delimiter = ',')]
    pub alertmanager: Vec<String>,
    /// A Prometheus; repeatable. Without one facts are unknown
    #[arg(long, env = "BACKOUT_PROMETHEUS", value_name = "URL", value_delimiter = ',')]
    pub prometheus: Vec<String>,
    /// How to reach the cluster; it is only read. Without it no target is found
    #[arg(long, env = "BACKOUT_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The cluster's name, as in the label `cluster`; without it nothing would act
    #[arg(long, env = "BACKOUT_CLUSTER_NAME", value_name = "NAME")]
    pub cluster_name: Option<String>,
    /// Judge as a service that was started this moment, whatever another one remembers
    #[arg(long, conflicts_with = "data")]
    pub without_memory: bool,
    /// Who is asked what is remembered.
    #[command(flatten)]
    pub memory: MemoryArgs,
}

/// How an explanation is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExplainFormat {
    /// For people, on a terminal
    Text,
    /// For scripts
    Json,
    /// For a ticket or a review
    Markdown,
}

/// Explains.
///
/// # Errors
/// The alert, the policies or an address cannot be used. That nothing can be decided is an answer.
pub(super) async fn run(args: &ExplainArgs, output: Output) -> Result<Exit, Failure> {
    let (explained, policies, missing) = match (&args.incident, &args.journal) {
        (Some(id), Some(journal)) => {
            let (explained, policies) = past::explain(args, id, journal).await?;
            (explained, policies, Vec::new())
        }
        _ => now(args).await?,
    };
    let usual = if output.is_json() { ExplainFormat::Json } else { ExplainFormat::Text };
    match args.format.unwrap_or(usual) {
        ExplainFormat::Json => output.print_json(&show::json(&explained, &policies, &missing))?,
        ExplainFormat::Markdown => output.print_raw(markdown::page(&explained, &missing).as_bytes())?,
        ExplainFormat::Text => {
            let mut text = output.text();
            show::write(&explained, &missing, &mut text);
            output.print_wrapped(&text)?;
        }
    }
    Ok(if explained.incidents.is_empty() { Exit::Negative } else { Exit::Done })
}

/// What would be decided now.
async fn now(args: &ExplainArgs) -> Result<(Explained, Policies, Vec<String>), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let policies = policies(args)?;
    let notification = match &args.alert {
        Some(path) => alerts::of_file(path, clock.now())?,
        None => alerts::of_peers(&args.alertmanager, args.fingerprint, &args.matcher, clock.now()).await?,
    };
    if notification.alerts.is_empty() {
        let message = "all alerts in it carry `backout_incident`: they are pages of backout itself, which it never reads";
        return Err(Failure::new(Exit::Negative, message));
    }
    let clients = match &args.kubeconfig {
        Some(path) => Some(cluster::Clients::connect(Some(path.clone())).await.map_err(Failure::usage)?),
        None => None,
    };
    let hands = hands(args, &notification, clients.as_ref(), clock)?;
    let defect = |why: String| Failure::internal(format!("defect: {why}"));
    let targets = brain::targets(&policies, args.cluster_name.as_deref(), &hands, notification.clone()).await.map_err(defect)?;
    let recalled = recall(args, &targets).await?;
    let mut missing = missing(args, recalled.is_ok());
    let memory = recalled.map_err(|why| missing.insert(0, why)).ok();
    if let Some(memory) = &memory {
        missing.extend(differences(args, memory, &policies));
    }
    let cluster = args.cluster_name.clone().or_else(|| memory.as_ref().and_then(|memory| memory.cluster.clone()));
    let known = memory.as_ref().map(|memory| (memory, &targets));
    let mut explained = brain::explain(&policies, cluster.as_deref(), &hands, notification, known).await.map_err(defect)?;
    explained.memory = memory.map(|memory| (args.memory.source(), memory.at));
    if let Some(clients) = &clients {
        for incident in &explained.incidents {
            let Some(plan) = incident.decision.as_ref().and_then(|decision| decision.plan.as_ref()) else { continue };
            explained.diffs.insert(incident.id.clone(), template::of_cluster(&clients.reads, plan).await);
        }
    }
    Ok((explained, policies, missing))
}

fn policies(args: &ExplainArgs) -> Result<Policies, Failure> {
    // A missing name of the cluster is no mistake of the policies: the verdict says what it means.
    match rules_dir::load(&args.rules, true) {
        Ok(loaded) => Ok(loaded.policies),
        Err(RulesError::Wrong(diagnostics)) => {
            output::remark(&to_text(&diagnostics));
            let message = format!("the policies in `{}` have errors: the service would not apply them", args.rules.display());
            Err(Failure::new(Exit::Negative, message).help("mend them; `backout check` shows the same list"))
        }
        Err(error) => Err(Failure::usage(error.to_string()).help("name the folder of policy files with `--rules`")),
    }
}

fn hands(
    args: &ExplainArgs,
    notification: &Notification,
    cluster: Option<&cluster::Clients>,
    clock: Arc<dyn Clock>,
) -> Result<Hands, Failure> {
    let usage = |error: crate::outgoing::EndpointError| Failure::usage(error.to_string());
    let plain = |urls: &[String]| urls.iter().map(EndpointSettings::plain).collect::<Vec<_>>();
    let clients = Clients::new().map_err(usage)?;
    let alertmanagers: Arc<dyn Alertmanagers> = if args.alertmanager.is_empty() {
        Arc::new(hands::Supposed::new(notification.alerts.clone(), Arc::clone(&clock)))
    } else {
        let peers = AlertmanagerClient::new(&clients, &plain(&args.alertmanager), Arc::clone(&clock)).map_err(usage)?;
        // The service's own settings may name another one: then an end is less certain here than there.
        Arc::new(peers.with_watchdog(parse_one(WATCHDOG).into_iter().collect()))
    };
    let prometheus: Option<Arc<dyn Prometheus>> = if args.prometheus.is_empty() {
        None
    } else {
        let limits = PrometheusLimits::default();
        let client = PrometheusClient::new(&clients, &plain(&args.prometheus), Arc::clone(&clock), limits);
        Some(Arc::new(client.map_err(usage)?))
    };
    let cluster: Option<Arc<dyn Cluster>> = cluster.map(|clients| {
        let reader = ClusterReader::new(clients.reads.clone());
        Arc::new(hands::ReadOnlyCluster::new(reader, Arc::clone(&clock))) as Arc<dyn Cluster>
    });
    let probe = Arc::new(HttpProbeClient::new(&clients, Arc::clone(&clock)));
    Ok(Hands { cluster, prometheus, alertmanagers, probe, notifier: Arc::new(hands::Nobody), clock })
}

/// What is remembered of the alert's targets; else why nothing is.
async fn recall(args: &ExplainArgs, targets: &BTreeSet<TargetRef>) -> Result<Result<Memory, String>, Failure> {
    let nothing = "nothing is remembered: history is only what the cluster tells now, so that `quiet_start` and health that was \
                   watched may hold here and not in a service that has been running";
    if args.without_memory {
        return Ok(Err(format!("{nothing} (--without-memory)")));
    }
    if targets.is_empty() {
        return Ok(Err(format!("{nothing} (no target was found to ask about)")));
    }
    let source = args.memory.source();
    match args.memory.recall(targets).await {
        Ok(memory) => Ok(match (&memory.cluster, &args.cluster_name) {
            (Some(theirs), Some(ours)) if theirs != ours => {
                Err(format!("{nothing} ({source} looks after the cluster `{theirs}`, not `{ours}`)"))
            }
            _ => Ok(memory),
        }),
        Err(failure) if args.memory.is_named() => Err(failure),
        // Nobody said that a service runs there.
        Err(failure) => Ok(Err(format!("{nothing} ({}; name a service with --url, or a journal with --data)", failure.message))),
    }
}

/// In what the service that remembers may judge otherwise than this explanation.
fn differences(args: &ExplainArgs, memory: &Memory, policies: &Policies) -> Vec<String> {
    let mut found = Vec::new();
    if memory.book.policies != policies.hash {
        let of = |hash: &str| hash.get(..12).unwrap_or("none").to_owned();
        let (theirs, ours) = (of(&memory.book.policies), of(&policies.hash));
        found.push(format!("the service decides by other policies ({theirs}) than those given here ({ours})"));
    }
    if memory.cut {
        found.push(
            "there are too many targets or incidents: what is remembered of the ones that changed long ago was left out"
                .to_owned(),
        );
    }
    if args.memory.data.is_some() {
        found.push("the service's `timing` settings, which a journal does not hold: their defaults are used".to_owned());
    }
    found
}

/// What this explanation could not know, and the service might.
fn missing(args: &ExplainArgs, remembers: bool) -> Vec<String> {
    let mut missing = Vec::new();
    let mut note = |absent: bool, text: &str| {
        if absent {
            missing.push(text.to_owned());
        }
    };
    note(args.kubeconfig.is_none(), "no cluster (--kubeconfig): no target can be found");
    note(args.prometheus.is_empty(), "no Prometheus (--prometheus): facts and the onset are unknown");
    note(args.alertmanager.is_empty(), "no Alertmanager (--alertmanager): the alert is taken to fire, and not to be silenced");
    let named = args.cluster_name.is_some() || (remembers && args.memory.data.is_none());
    note(!named, "no cluster name (--cluster-name): every verdict is as in shadow");
    missing
}

fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    Fingerprint::parse(text).ok_or_else(|| "expected 16 hex digits, as Alertmanager's API shows them".to_owned())
}

fn incident(text: &str) -> Result<IncidentId, String> {
    IncidentId::parse(text).ok_or_else(|| "expected `i` and 12 hex digits, as `backout incidents` lists them".to_owned())
}
