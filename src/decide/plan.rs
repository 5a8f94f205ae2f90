//! How a plan is made: complete, with no choices left, and the same bytes for the same facts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::book::Book;
use super::brakes::{Scene, choose_release};
use super::effect::Context;
use super::incident::Incident;
use super::request;
use crate::model::{Digest, HttpCheck, Level, Plan, PlannedStep, Reading, ReleaseRef, VerifyPlan, Workload};
use crate::policy::types::{Policy, Procedure, Step, Verify};

/// How long a veto is waited for where the procedure does not say: critical alerts, others.
const COUNTDOWN_CRITICAL: Duration = Duration::from_secs(30);
const COUNTDOWN: Duration = Duration::from_secs(120);

/// The plan of a procedure, if a release is fit and everything in it can be filled in. Steps whose `when` does not hold were left
/// out already: `steps` are those that are done, `on_failure` those that are done when one of them fails.
pub(super) fn build(
    ctx: &Context<'_>,
    scene: &Scene<'_>,
    (procedure, level): (&Procedure, Level),
    steps: &[&Step],
    on_failure: &[&Step],
) -> Option<Plan> {
    let workload = scene.workload()?;
    let target = scene.incident.target.clone()?;
    let to = choose_release(scene).ok()?;
    let from = release_ref(workload, scene.incident.expected_release()?);
    let countdown = procedure.countdown.unwrap_or(if scene.incident.critical() { COUNTDOWN_CRITICAL } else { COUNTDOWN });
    let about = Releases { from: &from, to: &to, procedure: &procedure.name, policy: &scene.policy.name };
    let variables = variables(ctx, scene.incident, &about);
    let planned = |steps: &[&Step]| steps.iter().map(|step| planned(step, &to, &variables)).collect::<Option<Vec<_>>>();
    let (steps, on_failure) = (planned(steps)?, planned(on_failure)?);
    let verify = Proving { ctx, book: scene.book, incident: scene.incident, policy: scene.policy, variables: &variables };
    let verify = verify.stages(&procedure.verify)?;
    Some(Plan {
        incident: scene.incident.id.clone(),
        target,
        policy: scene.policy.name.clone(),
        procedure: procedure.name.clone(),
        level,
        mode: scene.mode,
        from,
        steps,
        countdown,
        on_failure,
        verify,
        to,
    })
}

/// What a procedure that makes things safe would do, if everything in it can be filled in. It is about no release.
pub(super) fn contain(
    ctx: &Context<'_>,
    incident: &Incident,
    procedure: &Procedure,
    steps: &[&Step],
) -> Option<Vec<PlannedStep>> {
    let mut variables = request::about_alert(incident, ctx.cluster);
    if let Value::Object(variables) = &mut variables {
        variables.insert("plan".to_owned(), json!({ "procedure": procedure.name, "policy": incident.policy }));
    }
    steps.iter().map(|step| listed(step, &variables)).collect()
}

fn planned(step: &Step, to: &ReleaseRef, variables: &Value) -> Option<PlannedStep> {
    if step.is_undo() {
        return Some(PlannedStep::Undo { to: to.clone() });
    }
    listed(step, variables)
}

fn listed(step: &Step, variables: &Value) -> Option<PlannedStep> {
    let keys = step.keys.iter().map(|(name, template)| {
        let is_address = matches!(name.as_str(), "get" | "post" | "put" | "patch" | "delete");
        let text = if is_address { template.render_url(variables) } else { template.render(variables) };
        Some((name.clone(), text.ok()?))
    });
    Some(PlannedStep::Listed { kind: step.kind, keys: keys.collect::<Option<BTreeMap<_, _>>>()? })
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

/// What a proof is made of.
struct Proving<'a> {
    ctx: &'a Context<'a>,
    book: &'a Book,
    incident: &'a Incident,
    policy: &'a Policy,
    variables: &'a Value,
}

impl Proving<'_> {
    fn stages(&self, verify: &Verify) -> Option<VerifyPlan> {
        let then = verify.then.iter().map(|stage| self.stage(stage)).collect::<Option<Vec<_>>>()?;
        Some(VerifyPlan { then, ..self.stage(verify)? })
    }

    fn stage(&self, verify: &Verify) -> Option<VerifyPlan> {
        let names: BTreeSet<String> = verify.facts.iter().flat_map(|fact| fact.facts().iter().cloned()).collect();
        let names: Vec<String> = names.into_iter().collect();
        let asked = request::facts(self.policy, &names, self.incident, self.book, self.ctx.cluster);
        let readings = names.iter().filter_map(|name| Some((name.clone(), self.policy.facts.get(name)?.reading())));
        let http = verify.http.iter().map(|check| {
            let url = check.url.render_url(self.variables).ok()?;
            Some(HttpCheck { url, attempts: check.attempts, status: check.status, text: check.text.clone() })
        });
        Some(VerifyPlan {
            within: verify.within,
            tail: verify.tail.or(self.policy.tail),
            rollout: verify.rollout,
            alert: verify.alert,
            facts: verify.facts.iter().map(|fact| fact.source().to_owned()).collect(),
            queries: asked.queries,
            fetches: asked.fetches,
            readings: readings.filter(|(_, reading)| *reading != Reading::NUMBER).collect(),
            http: http.collect::<Option<Vec<_>>>()?,
            hold: verify.hold,
            name: verify.name.clone(),
            then: Vec::new(),
        })
    }
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
        on_failure: Vec::new(),
        verify: incident.plan.as_ref().map(|plan| plan.verify.clone()).unwrap_or(VerifyPlan {
            within: Duration::from_secs(10 * 60),
            tail: None,
            rollout: true,
            alert: true,
            facts: Vec::new(),
            queries: BTreeMap::new(),
            fetches: BTreeMap::new(),
            readings: BTreeMap::new(),
            http: Vec::new(),
            hold: Duration::ZERO,
            name: None,
            then: Vec::new(),
        }),
    })
}

/// What a plan is about, for its templates.
struct Releases<'a> {
    from: &'a ReleaseRef,
    to: &'a ReleaseRef,
    procedure: &'a str,
    policy: &'a str,
}

/// What templates of a plan may name.
fn variables(ctx: &Context<'_>, incident: &Incident, about: &Releases<'_>) -> Value {
    let release = |release: &ReleaseRef| {
        let image = release.images.first();
        // The tag of the first image; a digest is no version.
        let version = image.and_then(|image| image.split('@').next()?.rsplit_once(':')).map(|(_, tag)| tag);
        let version = version.filter(|tag| !tag.contains('/'));
        let mut known = json!({ "images": release.images, "revision": release.revision });
        // What is not known is left out, so that a template that needs it makes no plan.
        if let (Value::Object(known), Some(image)) = (&mut known, image) {
            known.insert("image".to_owned(), image.as_str().into());
            known.extend(version.map(|version| ("version".to_owned(), Value::from(version))));
        }
        known
    };
    let mut variables = request::about_alert(incident, ctx.cluster);
    if let Value::Object(variables) = &mut variables {
        let plan = json!({
            "to": release(about.to),
            "from": release(about.from),
            "procedure": about.procedure,
            "policy": about.policy,
        });
        variables.insert("plan".to_owned(), plan);
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::super::brakes::fixture::{World, digest};
    use super::*;

    #[test]
    fn a_release_without_its_replica_set_has_the_images_that_run_or_none() {
        let mut world = World::new();
        world.workload().images = vec!["web:now".to_owned()];
        let of = |world: &mut World, letter: &str| release_ref(world.workload(), &digest(letter));
        let kept = of(&mut world, "b");
        assert_eq!((kept.revision, kept.replica_set.as_deref()), (Some(2), Some("web-b")));
        assert_eq!(kept.images, ["web:b"]);
        world.workload().replica_sets.clear();
        let gone = of(&mut world, "b");
        assert_eq!((gone.revision, gone.replica_set, gone.images), (None, None, vec!["web:now".to_owned()]));
        assert_eq!(of(&mut world, "a").images, Vec::<String>::new(), "what runs is another release");
    }
}
