//! Everything that can be known before the write: who else is at work, the old template and what it names, and the very write as a
//! server-side dry run. Every check is reported, good and bad. Permissions are not asked for: each is used here as the write uses it.

use serde_json::Value;

use super::ask::{self, Failure};
use super::patch::{self, Standing};
use super::writer::{ClusterWriter, NoTemplate, held};
use crate::model::manifest::FIELD_MANAGER;
use crate::model::{Guard, Plan, PreflightFinding, PreflightReport};

impl ClusterWriter {
    /// Checks everything that the plan needs. Nothing is written.
    pub async fn preflight(&self, plan: &Plan, guard: &Guard) -> PreflightReport {
        let path = patch::path(plan);
        let (deployment, target) = tokio::join!(ask::get(&self.reads, &path), self.template(plan, &plan.to));
        let mut findings = Vec::new();
        let deployment = match deployment {
            Ok(deployment) => {
                findings.push(nobody_deploying(plan, guard, &deployment));
                Some(deployment)
            }
            Err(failure) => {
                findings.push(failed("target", &failure));
                None
            }
        };
        let target = match target {
            Ok(target) => {
                findings.push(fine("template"));
                Some(target)
            }
            Err(NoTemplate::Nowhere(why)) => {
                findings.push(problem("template", why, false));
                None
            }
            Err(NoTemplate::Failed(failure)) => {
                findings.push(failed("template", &failure));
                None
            }
        };
        if let Some(target) = target {
            let dry_run = async {
                match &deployment {
                    Some(deployment) => Some(self.dry_run(plan, guard, deployment, &target).await),
                    None => None,
                }
            };
            let (dry_run, references) = tokio::join!(dry_run, self.prove_references(plan, &target));
            findings.extend(dry_run);
            findings.extend(references);
        }
        PreflightReport { findings }
    }

    async fn dry_run(&self, plan: &Plan, guard: &Guard, deployment: &Value, target: &Value) -> PreflightFinding {
        let operations = patch::undo(plan, guard, deployment, target, self.clock.now());
        let path = format!("{}?fieldManager={FIELD_MANAGER}&dryRun=All", patch::path(plan));
        match ask::json_patch(&self.writes, &path, &operations, self.write_limit).await {
            Ok(_) => fine("dry run"),
            // What does not hold was said by the check of the target; here it only means that asking again may help.
            Err(failure) => failed("dry run", &failure),
        }
    }
}

/// Whether the target stands as the plan found it, and nobody else is at it.
fn nobody_deploying(plan: &Plan, guard: &Guard, deployment: &Value) -> PreflightFinding {
    match patch::standing(plan, deployment) {
        Standing::Another => problem("target", "the Deployment was deleted and made again", false),
        Standing::AtTarget { .. } => problem("target", "the release to go to is there already", false),
        Standing::Elsewhere { release, by } => {
            let by = by.unwrap_or_else(|| "somebody".to_owned());
            problem("target", format!("superseded: {by} put release {} there", release.short()), false)
        }
        Standing::Leaving { generation } if generation != guard.generation => {
            let why = format!("the Deployment moved on to generation {generation}; decided on {}", guard.generation);
            problem("target", why, true)
        }
        Standing::Leaving { .. } => match held(deployment) {
            Some(why) => problem("target", why, false),
            // The release to leave is rolling out: the best moment to stop it, and no reason to wait.
            None => fine("target"),
        },
    }
}

fn fine(check: impl Into<String>) -> PreflightFinding {
    PreflightFinding { check: check.into(), problem: None, forbidden: false, transient: false }
}

fn problem(check: impl Into<String>, why: impl Into<String>, transient: bool) -> PreflightFinding {
    PreflightFinding { check: check.into(), problem: Some(why.into()), forbidden: false, transient }
}

fn failed(check: impl Into<String>, failure: &Failure) -> PreflightFinding {
    PreflightFinding {
        check: check.into(),
        problem: Some(failure.text().to_owned()),
        forbidden: failure.forbidden(),
        transient: failure.transient(),
    }
}
