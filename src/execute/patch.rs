//! The one write of an undo: a JSON Patch that holds only for the object and the generation that were decided on. Pure.

use serde_json::{Value, json};

use crate::model::manifest::{CHANGE_CAUSE, LAST_ROLLBACK, LastRollback, number, text};
use crate::model::{Guard, Plan, Time, template};

/// The patch that puts `target` back on `deployment`. Templates are replaced whole: a merge would leave in what the bad release
/// added. Annotations are added one by one: a map replaced as kubectl does it would lose those of others.
pub(super) fn undo(plan: &Plan, guard: &Guard, deployment: &Value, target: &Value, now: Time) -> Value {
    let mark = LastRollback {
        incident: plan.incident.0.clone(),
        from: plan.from.digest.clone(),
        to: plan.to.digest.clone(),
        at: now.to_string(),
    };
    let mut operations = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": plan.target.uid}),
        json!({"op": "test", "path": "/metadata/generation", "value": guard.generation}),
        json!({"op": "replace", "path": "/spec/template", "value": template::without_hash_label(target)}),
    ];
    if deployment.pointer("/metadata/annotations").is_none() {
        operations.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
    }
    operations.push(annotate(CHANGE_CAUSE, &change_cause(plan)));
    operations.push(annotate(LAST_ROLLBACK, &serde_json::to_string(&mark).unwrap_or_default()));
    Value::Array(operations)
}

/// `backout: rev 7 -> rev 5, incident i0123456789ab`.
fn change_cause(plan: &Plan) -> String {
    let name = |release: &crate::model::ReleaseRef| match release.revision {
        Some(revision) => format!("rev {revision}"),
        None => release.digest.short().to_owned(),
    };
    format!("backout: {} -> {}, incident {}", name(&plan.from), name(&plan.to), plan.incident)
}

fn annotate(key: &str, value: &str) -> Value {
    let escaped = key.replace('~', "~0").replace('/', "~1");
    json!({"op": "add", "path": format!("/metadata/annotations/{escaped}"), "value": value})
}

/// The path of a plan's target.
pub(super) fn path(plan: &Plan) -> String {
    format!("/apis/apps/v1/namespaces/{}/deployments/{}", plan.target.at.namespace, plan.target.at.name)
}

/// Where the ReplicaSets and pods of a Deployment with this selector are listed: `(ReplicaSets, pods)`.
pub(super) fn lists(plan: &Plan, selector: &str) -> (String, String) {
    let namespace = &plan.target.at.namespace;
    let of_it: String = url::form_urlencoded::byte_serialize(selector.as_bytes()).collect();
    (
        format!("/apis/apps/v1/namespaces/{namespace}/replicasets?labelSelector={of_it}"),
        format!("/api/v1/namespaces/{namespace}/pods?limit=500&labelSelector={of_it}"),
    )
}

/// What of a Deployment decides whether a write may go ahead, or how one ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Another object, under the same name.
    Another,
    /// On the plan's target release.
    AtTarget {
        generation: i64,
        /// Whether our annotation names the plan's incident and this release.
        ours: bool,
    },
    /// Still on the release that the plan leaves.
    Leaving { generation: i64 },
    /// On a third release, written by this manager.
    Elsewhere { release: crate::model::Digest, by: Option<String> },
}

/// Where the Deployment stands with regard to the plan.
pub(super) fn standing(plan: &Plan, deployment: &Value) -> Standing {
    if text(deployment, "/metadata/uid") != Some(&plan.target.uid) {
        return Standing::Another;
    }
    let generation = number(deployment, "/metadata/generation");
    let release = template::digest(deployment.pointer("/spec/template").unwrap_or(&Value::Null));
    if release == plan.to.digest {
        let mark = crate::model::manifest::last_rollback(deployment);
        let ours = mark.is_some_and(|mark| mark.incident == plan.incident.0 && mark.to == release);
        return Standing::AtTarget { generation, ours };
    }
    if release == plan.from.digest {
        return Standing::Leaving { generation };
    }
    let by = crate::model::manifest::template_writer(deployment, &release).map(|(manager, _)| manager);
    Standing::Elsewhere { release, by }
}
