//! An incident of the past: every decision about it is derived again from what the journal recorded, through the production engine, and
//! compared with what was recorded. Another outcome, or another byte, is an error.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use similar::TextDiff;

use super::ExplainArgs;
use super::brain::Explained;
use super::template;
use crate::cli::decisions::{self, Recorded};
use crate::cli::exit::{Exit, Failure};
use crate::decide::counterfactual;
use crate::decide::decision::{Decision, Judgement};
use crate::decide::effect::Context;
use crate::decide::limits::Limits;
use crate::model::{Brake, IncidentId, Time};
use crate::policy::types::Policies;
use crate::policy::{self, diagnostic};
use crate::rules_dir;
use crate::settings::{ServeArgs, Settings};
use crate::worlds::Revision;

/// Brakes that came after the first journals were written: a decision of then may be without them.
const CAME_LATER: [Brake; 4] = [Brake::ControlGroup, Brake::Storm, Brake::DataLatch, Brake::Freeze];
/// Lines of a difference that are shown.
const MOST_LINES: usize = 60;

/// How the decisions about an incident were derived again.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Past {
    /// The journal.
    pub(super) journal: String,
    /// Each decision, the oldest first.
    pub(super) decisions: Vec<Derived>,
}

/// One decision, which came out as it was recorded.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Derived {
    /// The journal's row.
    pub(super) row: u64,
    /// When it was made.
    pub(super) at: Time,
    /// The version of the program that made it.
    pub(super) program: String,
    /// Whether the very bytes in the row came out; else the same values, which an older program wrote in other bytes.
    pub(super) bytes: bool,
    /// Brakes that the program of then did not have. None of them would have held.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) later: Vec<Brake>,
}

impl Derived {
    /// What is to be said besides; empty, where nothing is.
    pub(super) fn remark(&self) -> String {
        let names: Vec<&str> = self.later.iter().map(|brake| brake.as_str()).collect();
        if names.is_empty() { String::new() } else { format!("; {} came later, and would not have held", names.join(", ")) }
    }
}

/// Derives every decision about an incident again, and explains the last.
///
/// # Errors
/// The journal or the policies of then cannot be had, or something else comes out.
pub(super) async fn explain(args: &ExplainArgs, id: &IncidentId, journal: &Path) -> Result<(Explained, Policies), Failure> {
    let look = decisions::open(journal)?;
    let (limits, cluster) = settings(args)?;
    let mut versions = Versions { args, known: BTreeMap::new() };
    let (mut derived, mut last) = (Vec::new(), None);
    let derive = |recorded: Recorded<'_>| {
        let policies = versions.of(recorded.decision)?;
        let again = recorded.decide(&Context { policies, limits: &limits, cluster: cluster.as_deref() });
        let again =
            again.map_err(|failure| failure.help("name it with `--cluster-name`, or the service's settings with `--config`"))?;
        derived.push(compare(&recorded, &again, args)?);
        last = Some((recorded.decision.clone(), recorded.basis()));
        Ok(())
    };
    decisions::each(&look, |of| of == id, derive).await?;
    let Some((decision, basis)) = last else {
        let failure = Failure::new(Exit::NotFound, format!("the journal holds no decision about incident {id}"));
        return Err(failure.help("`backout journal export` shows what it holds; rows beyond the retention are gone"));
    };
    let policies = versions.of(&decision)?.clone();
    let ctx = Context { policies: &policies, limits: &limits, cluster: cluster.as_deref() };
    let found = counterfactual::nearest(&ctx, &basis);
    let mut incident = basis.incident;
    incident.plan = decision.plan.clone().map(std::sync::Arc::new);
    let mut diffs = BTreeMap::new();
    if let Some(plan) = &decision.plan {
        diffs.insert(id.clone(), template::of_journal(&look, plan).await);
    }
    incident.decision = Some(std::sync::Arc::new(decision));
    let explained = Explained {
        now: basis.now,
        heard: Vec::new(),
        incidents: vec![incident],
        known: BTreeMap::new(),
        memory: None,
        otherwise: BTreeMap::from([(id.clone(), found)]),
        diffs,
        past: Some(Past { journal: journal.display().to_string(), decisions: derived }),
    };
    Ok((explained, policies))
}

/// Whether the same came out.
fn compare(recorded: &Recorded<'_>, derived: &Decision, args: &ExplainArgs) -> Result<Derived, Failure> {
    let text = |decision: &Decision| serde_json::to_string(decision).map_err(|error| Failure::internal(error.to_string()));
    let (derived, later) = as_of_then(recorded.decision, derived);
    let (was, is) = (text(recorded.decision)?, text(&derived)?);
    if was == is {
        let written = format!("\"decision\":{is}");
        let bytes = recorded.raw.windows(written.len()).any(|window| window == written.as_bytes());
        return Ok(Derived { row: recorded.row, at: recorded.at, program: recorded.program.to_owned(), bytes, later });
    }
    let pretty = |decision: &Decision| serde_json::to_string_pretty(decision).unwrap_or_default();
    let (was, is) = (pretty(recorded.decision), pretty(&derived));
    let diff = TextDiff::from_lines(&was, &is).unified_diff().context_radius(2).header("recorded", "derived again").to_string();
    let shown: Vec<&str> = diff.lines().take(MOST_LINES).collect();
    let message = format!(
        "the decision in row {}, made at {} by backout {}, is not what backout {} derives from the same inputs:\n{}",
        recorded.row,
        recorded.at,
        recorded.program,
        env!("CARGO_PKG_VERSION"),
        shown.join("\n")
    );
    let times = if args.config.is_some() { "" } else { " The service's times may differ: name its settings with `--config`." };
    let help = format!("the journal was changed, or that program decided otherwise: try the version that made it.{times}");
    Err(Failure::new(Exit::Differs, message).help(help))
}

/// Without the brakes that the program of then did not have; one that holds stays, and is a difference.
fn as_of_then(recorded: &Decision, derived: &Decision) -> (Decision, Vec<Brake>) {
    let mut then = derived.clone();
    if recorded.brakes.is_empty() {
        return (then, Vec::new());
    }
    let known = |brake: Brake| recorded.brakes.iter().any(|judgement| judgement.brake == brake);
    let later = |judgement: &Judgement| CAME_LATER.contains(&judgement.brake) && !judgement.holds() && !known(judgement.brake);
    let came_later = derived.brakes.iter().filter(|judgement| later(judgement)).map(|judgement| judgement.brake).collect();
    then.brakes.retain(|judgement| !later(judgement));
    (then, came_later)
}

/// The product's times and the cluster's name, as the service had them.
fn settings(args: &ExplainArgs) -> Result<(Limits, Option<String>), Failure> {
    let Some(config) = &args.config else { return Ok((Limits::default(), args.cluster_name.clone())) };
    let serve = ServeArgs { config: Some(config.clone()), rules: Some(args.rules.clone()), ..ServeArgs::default() };
    let settings = Settings::load(serve).map_err(|errors| {
        let all: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        Failure::usage(format!("the settings cannot be used: {}", all.join("; ")))
    })?;
    Ok((settings.limits, args.cluster_name.clone().or(settings.cluster_name)))
}

/// The policies by their content hash: those of the folder, or those that stood there in git.
struct Versions<'a> {
    args: &'a ExplainArgs,
    known: BTreeMap<String, Policies>,
}

impl Versions<'_> {
    fn of(&mut self, decision: &Decision) -> Result<&Policies, Failure> {
        if !self.known.contains_key(&decision.policies) {
            let policies = self.load(decision)?;
            self.known.insert(decision.policies.clone(), policies);
        }
        self.known.get(&decision.policies).ok_or_else(|| Failure::internal("defect: policies were not kept"))
    }

    fn load(&self, decision: &Decision) -> Result<Policies, Failure> {
        let short = decision.policies.get(..12).unwrap_or(&decision.policies);
        let root = &self.args.rules;
        let now = rules_dir::load(root, true).ok().map(|loaded| loaded.policies);
        if let Some(policies) = now.filter(|policies| policies.hash == decision.policies) {
            return Ok(at_commit(policies, decision));
        }
        let missing = |why: String| {
            let failure =
                Failure::usage(format!("it was decided by the policies {short}, which `{}` does not hold{why}", root.display()));
            failure.help("name a folder with the policies as they were then with `--rules`, for example a worktree of git")
        };
        let Some(commit) = &decision.commit else { return Err(missing(String::new())) };
        let at = |why: String| missing(format!("; at commit {}: {why}", commit.get(..12).unwrap_or(commit)));
        let files = Revision::find(root, commit).and_then(|revision| revision.folder(root)).map_err(at)?;
        let loaded = policy::load(&files, true).map_err(|wrong| at(diagnostic::to_text(&wrong)))?;
        if loaded.policies.hash != decision.policies {
            return Err(at("the files there are others: the folder had changes that were not committed".to_owned()));
        }
        Ok(at_commit(loaded.policies, decision))
    }
}

/// The same content at the commit that the decision names: the hash does not tell it.
fn at_commit(mut policies: Policies, decision: &Decision) -> Policies {
    policies.commit.clone_from(&decision.commit);
    policies
}
