//! How a plan is made: complete, with no choices left, and the same bytes for the same facts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use super::brakes::{Scene, choose_release};
use super::effect::Context;
use super::incident::Incident;
use super::request;
use crate::model::{Digest, HttpCheck, Level, Plan, PlannedStep, ReleaseRef, VerifyPlan, Workload};
use crate::policy::types::{Procedure, Step, Verify};

/// How long a veto is waited for where the procedure does not say: critical alerts, others.
const COUNTDOWN_CRITICAL: Duration = Duration::from_secs(30);
const COUNTDOWN: Duration = Duration::from_secs(120);

/// The plan of a procedure, if a release is fit and everything in it can be filled in.
pub(super) fn build(ctx: &Context<'_>, scene: &Scene<'_>, procedure: &Procedure, level: Level) -> Option<Plan> {
    let workload = scene.workload()?;
    let target = scene.incident.target.clone()?;
    let to = choose_release(scene).ok()?;
    let from = release_ref(workload, scene.incident.expected_release()?);
    let countdown = procedure.countdown.unwrap_or(if scene.incident.critical() { COUNTDOWN_CRITICAL } else { COUNTDOWN });
    let steps = procedure.steps.iter().map(|step| match step {
        Step::Undo => PlannedStep::Undo { to: to.clone() },
    });
    Some(Plan {
        incident: scene.incident.id.clone(),
        target,
        policy: scene.policy.name.clone(),
        procedure: procedure.name.clone(),
        level,
        mode: scene.mode,
        from,
        steps: steps.collect(),
        countdown,
        verify: verify(ctx, scene, &procedure.verify, &to)?,
        to,
    })
}

/// A release as the cluster has it; by its digest alone where its ReplicaSet is gone.
pub(super) fn release_ref(workload: &Workload, digest: &Digest) -> ReleaseRef {
    let replica_set = workload.replica_sets.iter().find(|rs| rs.digest == *digest);
    ReleaseRef {
        digest: digest.clone(),
        revision: replica_set.map(|rs| rs.revision),
        replica_set: replica_set.map(|rs| rs.name.clone()),
        images: replica_set.map_or_else(
            || if workload.release == *digest { workload.images.clone() } else { Vec::new() },
            |rs| rs.images.clone(),
        ),
    }
}

fn verify(ctx: &Context<'_>, scene: &Scene<'_>, verify: &Verify, to: &ReleaseRef) -> Option<VerifyPlan> {
    let names: BTreeSet<String> = verify.facts.iter().flat_map(|fact| fact.facts().iter().cloned()).collect();
    let names: Vec<String> = names.into_iter().collect();
    let variables = variables(ctx, scene.incident, to);
    let http = verify.http.iter().map(|check| {
        let url = check.url.render_url(&variables).ok()?;
        Some(HttpCheck { url, attempts: check.attempts, status: check.status, text: check.text.clone() })
    });
    Some(VerifyPlan {
        within: verify.within,
        tail: verify.tail,
        rollout: verify.rollout,
        alert: verify.alert,
        facts: verify.facts.iter().map(|fact| fact.source().to_owned()).collect(),
        queries: request::queries(scene.policy, &names, scene.incident, ctx.cluster),
        http: http.collect::<Option<Vec<_>>>()?,
        hold: verify.hold,
    })
}

/// A plan whose rollback a person made already: it is only proven.
pub(super) fn restored_by_human(incident: &Incident, workload: &ReleaseRef, from: ReleaseRef) -> Option<Plan> {
    Some(Plan {
        incident: incident.id.clone(),
        target: incident.target.clone()?,
        policy: incident.policy.clone(),
        procedure: "by hand".to_owned(),
        level: Level { number: 1, of: 1 },
        mode: crate::model::Mode::Enforce,
        from,
        to: workload.clone(),
        steps: Vec::new(),
        countdown: Duration::ZERO,
        verify: incident.plan.as_ref().map(|plan| plan.verify.clone()).unwrap_or(VerifyPlan {
            within: Duration::from_secs(10 * 60),
            tail: None,
            rollout: true,
            alert: true,
            facts: Vec::new(),
            queries: BTreeMap::new(),
            http: Vec::new(),
            hold: Duration::ZERO,
        }),
    })
}

/// What templates of a plan may name.
fn variables(ctx: &Context<'_>, incident: &Incident, to: &ReleaseRef) -> serde_json::Value {
    let target = incident.target.as_ref().map(|target| &target.at);
    json!({
        "target": {
            "kind": target.map(|t| t.kind.as_str()),
            "namespace": target.map(|t| t.namespace.as_str()),
            "name": target.map(|t| t.name.as_str()),
            "cluster": ctx.cluster,
        },
        "incident": { "id": incident.id.as_str() },
        "plan": { "to": { "images": to.images, "revision": to.revision } },
    })
}
