//! Proves that what the old template names is still there. Objects are read where that is allowed; a Secret that may not be read is
//! proven by a pod of today's release that started with it.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::Value;

use super::ask::{self, Failure};
use super::patch;
use super::references::{Kind, Needs, needs};
use super::writer::ClusterWriter;
use crate::model::manifest::{self, controller, items, text};
use crate::model::{Plan, PreflightFinding, template};

impl ClusterWriter {
    /// One finding for each object that `target` needs.
    pub(super) async fn prove_references(&self, plan: &Plan, target: &Value) -> Vec<PreflightFinding> {
        let needed = needs(target);
        let namespace = &plan.target.at.namespace;
        let asked = needed.iter().map(|((kind, name), keys)| async move {
            let group = format!("/api/v1/namespaces/{namespace}/{}/{name}", kind.resource());
            (*kind, name, keys, ask::get(&self.reads, &group).await)
        });
        let answers = join_all(asked).await;
        let unread =
            answers.iter().any(|(kind, _, _, answer)| *kind == Kind::Secret && answer.as_ref().is_err_and(Failure::forbidden));
        let started = if unread { self.started_needs(plan).await } else { Ok(Needs::new()) };
        answers
            .into_iter()
            .map(|(kind, name, keys, answer)| {
                let check = format!("{} {namespace}/{name}", kind.name());
                match answer {
                    Ok(object) => present(check, &object, keys),
                    Err(failure) if kind == Kind::Secret && failure.forbidden() => by_pod(check, name, keys, &started),
                    Err(failure) => absent(check, &failure),
                }
            })
            .collect()
    }

    /// What started pods of the release that the plan leaves need, and so had.
    async fn started_needs(&self, plan: &Plan) -> Result<Needs, Failure> {
        let deployment = ask::get(&self.reads, &patch::path(plan)).await?;
        let (sets, pods) = patch::lists(plan, &manifest::selector(&deployment));
        let (sets, pods) = tokio::try_join!(ask::get(&self.reads, &sets), ask::get(&self.reads, &pods))?;
        let of_today: BTreeSet<&str> = items(&sets, "/items")
            .iter()
            .filter(|set| controller(set).is_some_and(|(_, _, uid)| uid == plan.target.uid))
            .filter(|set| template::digest(set.pointer("/spec/template").unwrap_or(&Value::Null)) == plan.from.digest)
            .filter_map(|set| text(set, "/metadata/uid"))
            .collect();
        let mut found = Needs::new();
        for pod in items(&pods, "/items") {
            if controller(pod).is_some_and(|(_, _, uid)| of_today.contains(uid)) && started(pod) {
                for (object, keys) in needs(pod) {
                    found.entry(object).or_default().extend(keys);
                }
            }
        }
        Ok(found)
    }
}

/// Whether every container of a pod ran at least once: then all that it needs was there. Later crashes do not matter.
fn started(pod: &Value) -> bool {
    let ran = |status: &Value| {
        status.pointer("/state/running").is_some()
            || status.pointer("/state/terminated").is_some()
            || status.pointer("/lastState/terminated").is_some()
            || status.get("ready") == Some(&Value::Bool(true))
    };
    let statuses = items(pod, "/status/containerStatuses");
    text(pod, "/status/phase") == Some("Running")
        && statuses.len() == items(pod, "/spec/containers").len()
        && statuses.iter().all(ran)
}

fn present(check: String, object: &Value, keys: &BTreeSet<String>) -> PreflightFinding {
    let has =
        |key: &String| ["data", "binaryData"].iter().any(|field| object.get(field).is_some_and(|data| data.get(key).is_some()));
    let missing: Vec<_> = keys.iter().filter(|key| !has(key)).map(|key| format!("`{key}`")).collect();
    let problem =
        (!missing.is_empty()).then(|| format!("the old release needs key {} of it, which is not there", missing.join(", ")));
    PreflightFinding { check, problem, forbidden: false, transient: false }
}

fn absent(check: String, failure: &Failure) -> PreflightFinding {
    let problem = match failure {
        Failure::Missing(_) => "the old release needs it, and it is not there".to_owned(),
        Failure::Forbidden(text) => format!("cannot be proven to be there: {text}"),
        other => format!("could not be read: {}", other.text()),
    };
    PreflightFinding { check, problem: Some(problem), forbidden: failure.forbidden(), transient: failure.transient() }
}

fn by_pod(check: String, name: &str, keys: &BTreeSet<String>, started: &Result<Needs, Failure>) -> PreflightFinding {
    let started = match started {
        Ok(started) => started,
        Err(failure) => return absent(check, failure),
    };
    let used = started.get(&(Kind::Secret, name.to_owned()));
    let problem = match used {
        Some(used) if keys.is_subset(used) => None,
        Some(_) => Some("it may not be read, and no started pod of today's release uses the same keys"),
        None => Some("it may not be read, and no started pod of today's release uses it"),
    };
    PreflightFinding {
        check: format!("{check} (by a started pod)"),
        problem: problem.map(str::to_owned),
        forbidden: problem.is_some(),
        transient: false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_crashing_pod_proves_its_secrets_a_waiting_one_does_not() {
        let pod = |state: Value| {
            json!({"spec": {"containers": [{"name": "web"}]},
            "status": {"phase": "Running", "containerStatuses": [state]}})
        };
        assert!(started(&pod(
            json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1}}})
        )));
        assert!(started(&pod(json!({"state": {"running": {}}}))));
        assert!(!started(&pod(json!({"state": {"waiting": {"reason": "CreateContainerConfigError"}}}))));
        assert!(!started(&json!({"status": {"phase": "Pending"}})));
    }

    #[test]
    fn a_missing_key_is_a_problem() {
        let keys = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let found = present("ConfigMap shop/cfg".into(), &json!({"data": {"a": "1"}}), &keys);
        assert_eq!(found.problem.as_deref(), Some("the old release needs key `b` of it, which is not there"));
        assert_eq!(present("c".into(), &json!({"data": {"a": "1"}, "binaryData": {"b": ""}}), &keys).problem, None);
    }
}
