//! `backout explain`: what would happen to this alert now, and why. Reads, decides with the service's own brain, writes nothing,
//! tells nobody.

mod alerts;
mod brain;
mod hands;
mod show;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{ArgGroup, Args};

use super::exit::{Exit, Failure};
use super::output::{self, Output};
use crate::clock::SystemClock;
use crate::cluster;
use crate::engine::Hands;
use crate::model::{Fingerprint, Notification};
use crate::observe::{AlertmanagerClient, ClusterReader, HttpProbeClient, PrometheusClient, PrometheusLimits, WATCHDOG};
use crate::outgoing::{Clients, EndpointSettings};
use crate::policy::diagnostic::to_text;
use crate::policy::matcher::parse_one;
use crate::policy::types::Policies;
use crate::ports::{Alertmanagers, Clock, Cluster, Prometheus};
use crate::rules_dir::{self, RulesError};

/// Arguments of `explain`.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["alert", "fingerprint", "matcher"]))]
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
}

/// Explains.
///
/// # Errors
/// The alert, the policies or an address cannot be used. That nothing can be decided is an answer.
pub(super) async fn run(args: &ExplainArgs, output: Output) -> Result<Exit, Failure> {
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
    let hands = hands(args, &notification, clock).await?;
    let explained = brain::explain(&policies, args.cluster_name.as_deref(), &hands, notification).await;
    let explained = explained.map_err(|why| Failure::internal(format!("defect: {why}")))?;
    let missing = missing(args);
    if output.is_json() {
        output.print_json(&show::json(&explained, &policies, &missing))?;
    } else {
        let mut text = output.text();
        show::write(&explained, &missing, &mut text);
        output.print(&text)?;
    }
    Ok(if explained.incidents.is_empty() { Exit::Negative } else { Exit::Done })
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

async fn hands(args: &ExplainArgs, notification: &Notification, clock: Arc<dyn Clock>) -> Result<Hands, Failure> {
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
    let cluster: Option<Arc<dyn Cluster>> = match &args.kubeconfig {
        None => None,
        Some(path) => {
            let clients = cluster::Clients::connect(Some(path.clone())).await.map_err(Failure::usage)?;
            Some(Arc::new(hands::ReadOnlyCluster::new(ClusterReader::new(clients.reads), Arc::clone(&clock))))
        }
    };
    let probe = Arc::new(HttpProbeClient::new(&clients, Arc::clone(&clock)));
    Ok(Hands { cluster, prometheus, alertmanagers, probe, notifier: Arc::new(hands::Nobody), clock })
}

/// What this explanation could not know, and the service might.
fn missing(args: &ExplainArgs) -> Vec<String> {
    let mut missing = vec![
        "nothing is remembered: history is only what the cluster tells now, so that `quiet_start` and health that was watched \
         may hold here and not in a service that has been running"
            .to_owned(),
    ];
    let mut note = |absent: bool, text: &str| {
        if absent {
            missing.push(text.to_owned());
        }
    };
    note(args.kubeconfig.is_none(), "no cluster (--kubeconfig): no target can be found");
    note(args.prometheus.is_empty(), "no Prometheus (--prometheus): facts and the onset are unknown");
    note(args.alertmanager.is_empty(), "no Alertmanager (--alertmanager): the alert is taken to fire, and not to be silenced");
    note(args.cluster_name.is_none(), "no cluster name (--cluster-name): every verdict is as in shadow");
    missing
}

fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    Fingerprint::parse(text).ok_or_else(|| "expected 16 hex digits, as Alertmanager's API shows them".to_owned())
}
