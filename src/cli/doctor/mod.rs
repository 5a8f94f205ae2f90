//! `backout doctor`: is the installation sound? The settings of `serve` are tried on everything that they name. Reads only, but for
//! a file in the data folder that is made and removed to see that it can be; also while the service runs.

mod alertmanager;
mod cluster;
mod finding;
mod journal;
mod prometheus;
mod selector;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::channels;
use super::exit::{Exit, Failure};
use super::output::Output;
use crate::clock::SystemClock;
use crate::metrics::Metrics;
use crate::model::{Mode, Time};
use crate::notify::{ChannelSettings, NotifierSet, Probe};
use crate::outgoing::{Clients, Endpoint, EndpointSettings, Question};
use crate::policy::duration;
use crate::policy::types::{Policies, Policy};
use crate::ports::Clock as _;
use crate::rules_dir::RulesError;
use crate::settings::{ServeArgs, Settings};
use finding::{Area, Findings, Level};

/// Clocks that differ by more than this make times in reports wrong.
const SKEW_WARNING: Duration = Duration::from_secs(2);
/// Clocks that differ by more than this make decisions wrong.
const SKEW_PROBLEM: Duration = Duration::from_secs(30);

/// Arguments of `doctor`: those of `serve`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// What the service is started with.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// Looks at everything.
///
/// # Errors
/// The findings cannot be printed. What is wrong with the installation is an answer.
pub(super) async fn run(args: DoctorArgs, output: Output) -> Result<Exit, Failure> {
    let mut findings = Findings::default();
    match Settings::load(args.serve) {
        Ok(settings) => look(&settings, &mut findings).await?,
        Err(errors) => {
            let mut area = findings.area("settings");
            for problem in errors.0 {
                area.problem("settings", problem.to_string(), "mend it; the rest can be looked at only then");
            }
        }
    }
    if output.is_json() {
        output.print_json(&findings.json())?;
    } else {
        let mut text = output.text();
        findings.write(&mut text);
        output.print(&text)?;
    }
    Ok(if findings.count(Level::Problem) == 0 { Exit::Done } else { Exit::Negative })
}

async fn look(settings: &Settings, findings: &mut Findings) -> Result<(), Failure> {
    let clients = Clients::new().map_err(|error| Failure::internal(error.to_string()))?;
    let policies = policies(settings, findings);
    journal::look(settings, findings);
    service(settings, &clients, findings.area("service")).await;
    cluster::look(settings, &policies, findings).await;
    prometheus::look(settings, &clients, &policies, findings).await;
    alertmanager::look(settings, &clients, &policies, findings).await;
    people(&settings.channels, &policies, findings.area("channels"));
    reach(settings, &clients, findings.area("channels")).await;
    Ok(())
}

/// The policies, as far as they can be read.
fn policies(settings: &Settings, findings: &mut Findings) -> Policies {
    let mut area = findings.area("policies");
    let folder = settings.rules.display();
    let loaded = match channels::load(&settings.rules, settings.cluster_name.is_some(), &settings.channels) {
        Ok(loaded) => loaded,
        Err(RulesError::Wrong(wrong)) => {
            for diagnostic in wrong.iter().filter(|diagnostic| diagnostic.is_error()) {
                area.problem("policies", diagnostic.to_string(), "`backout check` shows every mistake with its place");
            }
            return Policies::default();
        }
        Err(error) => {
            area.problem("policies", error.to_string(), "name the folder of policy files with `rules` or `--rules`");
            return Policies::default();
        }
    };
    let all = &loaded.policies.policies;
    let of = |mode: Mode| all.iter().filter(|policy| policy.mode == mode).count();
    let counts = format!("{} shadow, {} approve, {} enforce", of(Mode::Shadow), of(Mode::Approve), of(Mode::Enforce));
    if all.is_empty() {
        area.warning("policies", format!("no policy in `{folder}`"), "without one no alert opens an incident");
    } else {
        area.ok("policies", format!("{} policies in `{folder}`: {counts}", all.len()));
    }
    for warning in loaded.warnings.iter().filter(|found| found.is_warning()) {
        area.warning("policies", warning.to_string(), "`backout check` shows it with its place");
    }
    loaded.policies
}

/// Policies that may do more than tell.
fn acting(policies: &Policies) -> impl Iterator<Item = &Policy> {
    policies.policies.iter().filter(|policy| policy.mode > Mode::Shadow)
}

fn acts(policies: &Policies) -> bool {
    acting(policies).next().is_some()
}

/// Whether the service runs, by the address that it wrote down.
async fn service(settings: &Settings, clients: &Clients, mut area: Area<'_>) {
    let Ok(address) = std::fs::read_to_string(settings.data.join("listen")) else {
        return area.ok("service", "the service has not run on this data folder");
    };
    let address = address.trim();
    let endpoint = match clients.endpoint(&EndpointSettings::plain(format!("http://{address}"))) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            return area.warning("service", error.to_string(), "the file `listen` in the data folder is not the service's");
        }
    };
    match endpoint.ask(Question::get("-/ready", &[])).await {
        Ok(answer) if answer.is_success() => area.ok("service", format!("it runs on {address}, and is ready")),
        Ok(answer) => {
            let why = answer.excerpt();
            area.warning("service", format!("it runs on {address}: {why}"), "wait for it; its log says what keeps it");
        }
        Err(_) => area.ok("service", format!("it does not run (it last listened on {address})")),
    }
}

/// Who can be told.
fn people(channels: &[ChannelSettings], policies: &Policies, mut area: Area<'_>) {
    let names: Vec<&str> = channels.iter().map(|channel| channel.name.as_str()).collect();
    let pagers: Vec<&str> =
        channels.iter().filter(|channel| channel.takes_pages()).map(|channel| channel.name.as_str()).collect();
    if channels.is_empty() {
        return area.missing(
            acts(policies),
            "channels",
            "there is no channel: nobody is told anything",
            "add one under `channels`",
        );
    }
    area.ok("channels", format!("{} as they are set: {}", channels.len(), names.join(", ")));
    match pagers.len() {
        0 => area.missing(
            acts(policies),
            "pagers",
            "no channel takes pages",
            "let one take `page`, or add an `alertmanager` channel",
        ),
        1 => area.warning(
            "pagers",
            format!("only `{}` takes pages: when it fails, nobody is paged", pagers[0]),
            "add a second channel that takes pages by another way",
        ),
        _ => area.ok("pagers", format!("pages go through {}, in this order", pagers.join(", "))),
    }
}

/// Whether the channels could be used, as far as they can be asked without telling anybody anything.
async fn reach(settings: &Settings, clients: &Clients, mut area: Area<'_>) {
    let Ok(metrics) = Metrics::new() else { return };
    let set = match NotifierSet::new(clients, &settings.channels, settings.origin(), Arc::new(SystemClock), metrics) {
        Ok(set) => set,
        Err(error) => return area.problem("channel", error.to_string(), "set it right under `channels`"),
    };
    for (name, probe) in set.probe().await {
        match probe {
            Probe::Usable(known) => area.ok("channel", format!("`{name}`: {known}")),
            Probe::Unasked(why) => area.ok("channel", format!("`{name}` was not asked: {why}")),
            Probe::Unusable(why) => area.problem(
                "channel",
                format!("`{name}` cannot be used: {why}"),
                "set its address and its credentials right under `channels`; until then the next channel is used",
            ),
        }
    }
}

/// One answer in JSON, or why not.
async fn get_json(endpoint: &Endpoint, path: &str, query: &[(&str, &str)]) -> Result<serde_json::Value, String> {
    let answer = endpoint.ask(Question::get(path, query)).await.map_err(|why| why.to_string())?;
    if !answer.is_success() {
        return Err(format!("it answered {}: {}", answer.status, answer.excerpt()));
    }
    serde_json::from_slice(&answer.body).map_err(|error| format!("it answered something else than JSON: {error}"))
}

/// Compares another clock with ours. `theirs` was read between `before` and `after`, and is known to `grain`.
fn clock(area: &mut Area<'_>, whose: &str, theirs: Time, (before, after): (Time, Time), grain: Duration) {
    let ahead = theirs.since(after);
    let behind = before.since(theirs + grain);
    let (skew, word) = if ahead > Duration::ZERO { (ahead, "ahead of") } else { (behind, "behind") };
    let found = || format!("the clock of {whose} is {} {word} ours", duration::format(skew));
    if skew > SKEW_PROBLEM {
        area.problem("clock", found(), "onsets and deadlines are wrong by that; use NTP on both machines");
    } else if skew > SKEW_WARNING {
        area.warning("clock", found(), "use NTP on both machines");
    } else {
        area.ok("clock", format!("the clock of {whose} agrees with ours"));
    }
}

fn now() -> Time {
    SystemClock.now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared_with_what_the_question_took() {
        let at = |seconds: i64| Time::from_millis(seconds * 1000);
        let level = |theirs: i64, grain: u64| {
            let mut findings = Findings::default();
            clock(&mut findings.area("x"), "x", at(theirs), (at(100), at(104)), Duration::from_secs(grain));
            [Level::Ok, Level::Warning, Level::Problem].into_iter().find(|level| findings.count(*level) == 1)
        };
        for (theirs, grain, wanted) in [
            (102, 0, Level::Ok),
            (106, 0, Level::Ok),
            (107, 0, Level::Warning),
            (140, 0, Level::Problem),
            (97, 0, Level::Warning),
            (97, 1, Level::Ok),
            (60, 1, Level::Problem),
        ] {
            assert_eq!(level(theirs, grain), Some(wanted), "{theirs}");
        }
    }
}
