//! From the JSON of a Deployment, its ReplicaSets and pods to what a decision sees. Pure; the requests are in `live.rs`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::manifest::{self, condition, controller, count, items, number, text, time};
use crate::model::{ReplicaSetSeen, Replicas, TargetId, TargetRef, Time, Workload, template};

/// The Deployment as a decision sees it. `sets` and `pods` may hold more than its own: they are told apart by owner UID.
pub(super) fn workload(at: TargetRef, deployment: &Value, sets: &[Value], pods: &[Value], namespace: Option<&Value>) -> Workload {
    let uid = text(deployment, "/metadata/uid").unwrap_or_default().to_owned();
    let own_template = deployment.pointer("/spec/template").unwrap_or(&Value::Null);
    let mut workload = Workload {
        generation: number(deployment, "/metadata/generation"),
        observed_generation: number(deployment, "/status/observedGeneration"),
        replicas: Replicas {
            desired: count(deployment, "/spec/replicas"),
            total: count(deployment, "/status/replicas"),
            updated: count(deployment, "/status/updatedReplicas"),
            available: count(deployment, "/status/availableReplicas"),
        },
        paused: deployment.pointer("/spec/paused") == Some(&Value::Bool(true)),
        strategy: manifest::strategy(deployment),
        release: template::digest(own_template),
        images: template::images(own_template),
        landed_at: None,
        owner: manifest::owner(deployment, &at),
        pause: manifest::pause(deployment).or_else(|| namespace.and_then(manifest::pause)),
        writes: manifest::writes_of_others(deployment),
        last_rollback: manifest::last_rollback(deployment).map(|last| last.incident),
        replica_sets: replica_sets(&uid, sets, pods),
        migrations: Ok(Vec::new()),
        id: TargetId { at, uid },
    };
    if workload.complete() {
        workload.landed_at = landed_at(deployment, workload.current().map(|set| set.name.as_str()));
    }
    workload
}

/// When the rollout of the ReplicaSet of that name completed, by the Progressing condition. After an undo the condition of the
/// other release may still stand there: its message names another ReplicaSet, and then this is `None`.
pub(super) fn landed_at(deployment: &Value, current: Option<&str>) -> Option<Time> {
    let progressing = condition(deployment, "Progressing")?;
    let about_it = text(progressing, "/message")
        .is_some_and(|message| current.is_some_and(|name| !message.contains('"') || message.contains(&format!("\"{name}\""))));
    (about_it && text(progressing, "/reason") == Some("NewReplicaSetAvailable"))
        .then(|| time(progressing, "/lastUpdateTime"))
        .flatten()
}

/// Since when, and why, pods of the current ReplicaSet cannot be created. From the ReplicaSet's own condition: the Deployment's
/// may be about the release that is being left.
pub(super) fn cannot_create(workload: &Workload, sets: &[Value]) -> Option<(Time, String)> {
    let current = workload.current()?;
    let set = sets.iter().find(|set| text(set, "/metadata/uid") == Some(&current.uid))?;
    let failure = condition(set, "ReplicaFailure").filter(|failure| text(failure, "/status") == Some("True"))?;
    let message = text(failure, "/message").or_else(|| text(failure, "/reason")).unwrap_or("pods cannot be created");
    Some((time(failure, "/lastTransitionTime").unwrap_or_default(), message.to_owned()))
}

fn replica_sets(owner_uid: &str, sets: &[Value], pods: &[Value]) -> Vec<ReplicaSetSeen> {
    let mut seen: Vec<ReplicaSetSeen> = sets
        .iter()
        .filter(|set| controller(set).is_some_and(|(_, _, uid)| uid == owner_uid))
        .map(|set| {
            let pod_template = set.pointer("/spec/template").unwrap_or(&Value::Null);
            let uid = text(set, "/metadata/uid").unwrap_or_default().to_owned();
            ReplicaSetSeen {
                name: text(set, "/metadata/name").unwrap_or_default().to_owned(),
                digest: template::digest(pod_template),
                revision: manifest::annotation(set, manifest::REVISION).and_then(|n| n.parse().ok()).unwrap_or(0),
                created_at: time(set, "/metadata/creationTimestamp").unwrap_or_default(),
                desired: count(set, "/spec/replicas"),
                available: count(set, "/status/availableReplicas"),
                images: template::images(pod_template),
                image_digests: image_digests(&uid, pods),
                data_barrier: template::data_barrier(pod_template),
                uid,
            }
        })
        .collect();
    seen.sort_by(|a, b| (a.revision, a.created_at, &a.name).cmp(&(b.revision, b.created_at, &b.name)));
    seen
}

/// `image as the pod's spec names it -> what the node ran`, over the pods of one ReplicaSet.
fn image_digests(set_uid: &str, pods: &[Value]) -> BTreeMap<String, String> {
    let mut digests = BTreeMap::new();
    for pod in pods.iter().filter(|pod| controller(pod).is_some_and(|(_, _, uid)| uid == set_uid)) {
        for status in ["/status/containerStatuses", "/status/initContainerStatuses"].iter().flat_map(|path| items(pod, path)) {
            let named = template::containers(pod).find(|container| container.get("name") == status.get("name"));
            let image = named.and_then(|container| text(container, "/image"));
            if let (Some(image), Some(id)) = (image, text(status, "/imageID").filter(|id| !id.is_empty())) {
                digests.insert(image.to_owned(), id.to_owned());
            }
        }
    }
    digests
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment() -> Value {
        json!({
            "metadata": {"uid": "d1", "generation": 4, "annotations": {"backout.dev/pause": ""}},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:2"}]}}},
            "status": {"observedGeneration": 4, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "conditions": [
                {"type": "Progressing", "reason": "NewReplicaSetAvailable", "lastUpdateTime": "2026-01-01T00:00:09Z",
                 "message": "ReplicaSet \"web-2\" has successfully progressed."}]},
        })
    }

    fn set(name: &str, image: &str, revision: u64, available: i32) -> Value {
        json!({
            "metadata": {"name": name, "uid": format!("uid-{name}"), "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"deployment.kubernetes.io/revision": revision.to_string()},
                "ownerReferences": [{"kind": "Deployment", "name": "web", "uid": "d1", "controller": true}]},
            "spec": {"replicas": available, "template": {
                "metadata": {"labels": {"app": "web", "pod-template-hash": name}},
                "spec": {"containers": [{"name": "web", "image": image}]}}},
            "status": {"availableReplicas": available},
        })
    }

    fn target() -> TargetRef {
        TargetRef::deployment("shop", "web").expect("names")
    }

    #[test]
    fn reads_a_complete_rollout() {
        let pod = json!({"metadata": {"ownerReferences": [{"kind": "ReplicaSet", "name": "web-2", "uid": "uid-web-2", "controller": true}]},
            "spec": {"containers": [{"name": "web", "image": "web:2"}]},
            "status": {"containerStatuses": [{"name": "web", "image": "docker.io/web:2", "imageID": "web@sha256:22"}]}});
        let mut stranger = set("other", "web:9", 9, 1);
        stranger["metadata"]["ownerReferences"][0]["uid"] = json!("d2");
        let sets = [set("web-2", "web:2", 10, 2), stranger, set("web-1", "web:1", 9, 0)];
        let seen = workload(target(), &deployment(), &sets, &[pod], None);
        assert!(seen.complete());
        assert_eq!(seen.replica_sets.iter().map(|set| set.name.as_str()).collect::<Vec<_>>(), ["web-1", "web-2"]);
        assert_eq!(seen.current().map(|set| set.image_digests["web:2"].as_str()), Some("web@sha256:22"));
        assert_eq!(seen.landed_at, Time::parse("2026-01-01T00:00:09Z"));
        assert_eq!(seen.pause.as_deref(), Some("no reason given"));
    }

    #[test]
    fn a_condition_about_the_other_release_says_nothing_of_this_one() {
        let mut stale = deployment();
        stale["status"]["conditions"][0]["message"] = json!("ReplicaSet \"web-1\" has successfully progressed.");
        let seen = workload(target(), &stale, &[set("web-2", "web:2", 3, 2)], &[], None);
        assert!(seen.complete());
        assert_eq!(seen.landed_at, None);
    }

    #[test]
    fn only_the_current_sets_failure_counts() {
        let failure = json!([{"type": "ReplicaFailure", "status": "True", "lastTransitionTime": "2026-01-01T00:00:03Z", "message": "quota"}]);
        let mut bad = set("web-1", "web:1", 1, 0);
        bad["status"]["conditions"] = failure.clone();
        let mut good = set("web-2", "web:2", 2, 0);
        let seen = workload(target(), &deployment(), &[bad.clone(), good.clone()], &[], None);
        assert_eq!(cannot_create(&seen, &[bad.clone(), good.clone()]), None);
        good["status"]["conditions"] = failure;
        assert_eq!(cannot_create(&seen, &[bad, good]).map(|(_, why)| why).as_deref(), Some("quota"));
    }
}
