//! L4: a drill: could we roll back right now? Everything but the write, for every target that a policy can reach: the release to go to,
//! its template and what that names, the dry run, the rights; and whether the channels, Prometheus and Alertmanager answer. Writes
//! nothing and decides nothing: `decide` rehearses, the preflight of the service checks.

mod schedule;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use serde::Serialize;

use crate::decide::book::Book;
use crate::decide::decision::Decision;
use crate::decide::drill::{reaches, rehearse, rollbacks};
use crate::decide::effect::Context;
use crate::decide::limits::Limits;
use crate::engine::Hands;
use crate::model::{Brake, Guard, Lookup, Resolution, TargetRef, Time, Workload};
use crate::notify::{NotifierSet, Probe};
use crate::policy::types::{Policies, Policy, Rule};
use crate::ports::Cluster;

pub use schedule::{Schedule, keep};

/// Targets that are looked at at the same time.
const PARALLEL: usize = 4;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it must be.
    Passed,
    /// It stands in the way now, and goes away by itself or by somebody's word.
    Noted,
    /// No rollback could be made.
    Failed,
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What: stable, for scripts.
    pub check: String,
    /// How it is.
    pub level: Level,
    /// What was seen.
    pub found: String,
}

/// A target under one rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The policy.
    pub policy: String,
    /// The rule that says rollback.
    pub rule: String,
    /// The target; `None` where the policy reaches none.
    pub target: Option<String>,
    /// The release that runs.
    pub from: Option<String>,
    /// The release that would be gone back to.
    pub to: Option<String>,
    /// What was tried.
    pub checks: Vec<Check>,
}

/// A drill that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drill {
    /// When it began.
    pub at: Time,
    /// The content hash of the policies.
    pub policies: String,
    /// The channels, Prometheus, Alertmanager: what every rollback needs.
    pub around: Vec<Check>,
    /// Each target that a policy can reach.
    pub rows: Vec<Row>,
}

/// What a drill is carried out with.
pub struct Parts<'a> {
    /// The policies.
    pub policies: &'a Policies,
    /// What is remembered.
    pub book: &'a Book,
    /// The product's times.
    pub limits: &'a Limits,
    /// The cluster's name.
    pub cluster_name: Option<&'a str>,
    /// The hands. Of the cluster only what reads is used, and the preflight.
    pub hands: &'a Hands,
    /// The channels.
    pub channels: &'a NotifierSet,
}

impl Row {
    /// Whether a rollback could be made.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.level < Level::Failed)
    }
}

impl Drill {
    /// Whether everything is as it must be.
    pub fn passed(&self) -> bool {
        self.around_passed() && self.rows.iter().all(Row::passed)
    }

    fn around_passed(&self) -> bool {
        self.around.iter().all(|check| check.level < Level::Failed)
    }

    /// Whether each policy passed: with all of its targets, and what is around them.
    pub fn by_policy(&self) -> BTreeMap<&str, bool> {
        let mut passed = BTreeMap::new();
        // A policy that reaches nothing was not tried.
        for row in self.rows.iter().filter(|row| row.target.is_some()) {
            *passed.entry(row.policy.as_str()).or_insert(self.around_passed()) &= row.passed();
        }
        passed
    }

    /// What failed, one line each.
    pub fn failures(&self) -> Vec<String> {
        let bad = |checks: &[Check]| -> Vec<String> {
            let failed = checks.iter().filter(|check| check.level == Level::Failed);
            failed.map(|check| format!("{}: {}", check.check, check.found)).collect()
        };
        let mut lines = bad(&self.around);
        for row in &self.rows {
            let target = row.target.as_deref().unwrap_or("no target");
            lines.extend(bad(&row.checks).into_iter().map(|line| format!("policy {} on {target}: {line}", row.policy)));
        }
        lines
    }
}

/// The targets that are remembered.
pub fn known_targets(book: &Book) -> BTreeSet<TargetRef> {
    let parse = |name: &String| {
        let (namespace, name) = name.strip_prefix("deployment/")?.split_once('/')?;
        TargetRef::deployment(namespace, name).ok()
    };
    book.targets.keys().filter_map(parse).collect()
}

/// Carries a drill out: for the targets that are remembered and let through.
pub async fn run(parts: &Parts<'_>, wanted: impl Fn(&TargetRef) -> bool) -> Drill {
    let at = parts.hands.clock.now();
    let targets: Vec<TargetRef> = known_targets(parts.book).into_iter().filter(|target| wanted(target)).collect();
    let mut rows: Vec<BoxFuture<'_, Row>> = Vec::new();
    for policy in &parts.policies.policies {
        // A policy in shadow that names no targets never acts.
        if policy.targets.is_empty() {
            continue;
        }
        let reached: Vec<&TargetRef> = targets.iter().filter(|target| reaches(policy, target)).collect();
        for rule in rollbacks(policy) {
            if reached.is_empty() {
                rows.push(row(parts, policy, rule, None).boxed());
            }
            for target in &reached {
                rows.push(row(parts, policy, rule, Some((*target).clone())).boxed());
            }
        }
    }
    let (around, rows) = tokio::join!(around(parts), stream::iter(rows).buffered(PARALLEL).collect());
    Drill { at, policies: parts.policies.hash.clone(), around, rows }
}

fn check(check: impl Into<String>, level: Level, found: impl Into<String>) -> Check {
    Check { check: check.into(), level, found: found.into() }
}

async fn row(parts: &Parts<'_>, policy: &Policy, rule: &Rule, target: Option<TargetRef>) -> Row {
    let mut row = Row {
        policy: policy.name.clone(),
        rule: rule.name.clone(),
        target: target.as_ref().map(|target| format!("{}/{}", target.namespace, target.name)),
        from: None,
        to: None,
        checks: Vec::new(),
    };
    let Some(target) = target else {
        let patterns: Vec<&str> = policy.targets.iter().map(|pattern| pattern.0.as_str()).collect();
        let found = format!("no Deployment that is known is within its `targets` ({})", patterns.join(", "));
        row.checks.push(check("target", Level::Noted, found));
        return row;
    };
    let Some(cluster) = &parts.hands.cluster else {
        row.checks.push(check("target", Level::Failed, "there is no cluster"));
        return row;
    };
    match cluster.resolve(Lookup::Workload(target)).await {
        Resolution::Found { workload } => rehearsed(parts, (policy, rule), cluster, &workload, &mut row).await,
        Resolution::Unresolved { why } => row.checks.push(check("target", Level::Noted, format!("it is not there: {why}"))),
        Resolution::Unknown { why } => row.checks.push(check("target", Level::Failed, format!("it cannot be read: {why}"))),
    }
    row
}

/// Rehearses the decision, and has the service's preflight check its plan.
async fn rehearsed(parts: &Parts<'_>, by: (&Policy, &Rule), cluster: &Arc<dyn Cluster>, workload: &Workload, row: &mut Row) {
    let ctx = Context { policies: parts.policies, limits: parts.limits, cluster: parts.cluster_name };
    let now = parts.hands.clock.now();
    let decision = rehearse(&ctx, parts.book, by, workload, cluster.watch_heard_at(), now);
    row.from = Some(workload.images.join(", "));
    row.checks.extend(brakes(&decision));
    let Some(plan) = decision.plan else {
        row.checks.push(check("plan", Level::Failed, decision.summary));
        return;
    };
    row.to = Some(plan.to.label());
    if !plan.is_carried_out() {
        let found = format!("nobody carries out every step of the procedure `{}` yet", plan.procedure);
        row.checks.push(check("plan", Level::Noted, found));
    }
    let report = cluster.preflight(plan, Guard { generation: workload.generation }).await;
    row.checks.extend(report.findings.into_iter().map(|finding| match finding.problem {
        None => check(finding.check, Level::Passed, "fine"),
        Some(problem) => check(finding.check, Level::Failed, problem),
    }));
}

/// What the brakes say that look at what is there. Others look at the trouble, which is made up.
fn brakes(decision: &Decision) -> Vec<Check> {
    let level = |brake: Brake| match brake {
        Brake::FitTarget | Brake::Owner | Brake::DataLatch | Brake::Permission => Some(Level::Failed),
        Brake::Cooldown | Brake::Budget | Brake::Flapping | Brake::Storm => Some(Level::Noted),
        Brake::HumanActive | Brake::Freeze | Brake::Paused => Some(Level::Noted),
        Brake::RecentChange | Brake::ControlGroup | Brake::QuietStart | Brake::StaleFacts => None,
        Brake::Truncated | Brake::Trust => None,
    };
    let told = decision.brakes.iter().filter_map(|judgement| Some((judgement, level(judgement.brake)?)));
    let told = told.filter(|(judgement, level)| judgement.holds() || *level == Level::Failed);
    told.map(|(judgement, level)| {
        check(judgement.brake.as_str(), if judgement.holds() { level } else { Level::Passed }, judgement.because.clone())
    })
    .collect()
}

/// Whether those answer whom every rollback needs.
async fn around(parts: &Parts<'_>) -> Vec<Check> {
    let hands = parts.hands;
    let prometheus = async {
        match &hands.prometheus {
            None => check("prometheus", Level::Failed, "none is configured: facts and onsets are unknown"),
            Some(prometheus) => match prometheus.evaluated_at().await.value {
                Ok(at) => check("prometheus", Level::Passed, format!("it answers; its rules were last evaluated at {at}")),
                Err(why) => check("prometheus", Level::Failed, why.to_string()),
            },
        }
    };
    let (prometheus, view, probes) = tokio::join!(prometheus, hands.alertmanagers.view(Vec::new()), parts.channels.probe());
    let mut found = vec![prometheus];
    if view.peers.is_empty() {
        found.push(check("alertmanager", Level::Failed, "none is configured: whether alerts fire is not known"));
    }
    found.extend(view.peers.into_iter().map(|peer| match peer.value {
        Ok(view) => check("alertmanager", Level::Passed, format!("{} answers", view.peer)),
        Err(why) => check("alertmanager", Level::Failed, format!("{}: {why}", peer.source)),
    }));
    if probes.is_empty() {
        found.push(check("channel", Level::Failed, "there is none: nobody is told anything"));
    }
    found.extend(probes.into_iter().map(|(name, probe)| match probe {
        Probe::Usable(known) => check("channel", Level::Passed, format!("`{name}`: {known}")),
        Probe::Unasked(why) => check("channel", Level::Noted, format!("`{name}` was not asked: {why}")),
        Probe::Unusable(why) => check("channel", Level::Failed, format!("`{name}` cannot be used: {why}")),
    }));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row_of(policy: &str, levels: &[Level]) -> Row {
        let checks = levels.iter().map(|level| check("x", *level, "y")).collect();
        Row { policy: policy.to_owned(), rule: "r".to_owned(), target: Some("shop/web".to_owned()), from: None, to: None, checks }
    }

    #[test]
    fn a_policy_passes_with_all_of_its_targets_and_what_is_around_them() {
        let rows =
            vec![row_of("a", &[Level::Passed, Level::Noted]), row_of("b", &[Level::Passed]), row_of("b", &[Level::Failed])];
        let mut drill =
            Drill { at: Time::default(), policies: String::new(), around: vec![check("channel", Level::Passed, "z")], rows };
        assert_eq!(drill.by_policy(), BTreeMap::from([("a", true), ("b", false)]));
        assert_eq!((drill.passed(), drill.failures()), (false, vec!["policy b on shop/web: x: y".to_owned()]));
        drill.around = vec![check("channel", Level::Failed, "z")];
        assert!(!drill.by_policy()["a"]);
    }
}
