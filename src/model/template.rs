//! Pod templates as JSON: what names a release, and what is read out of one. Pure; no IO, and no typed Kubernetes structs, because
//! those drop fields that they do not know.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::Digest;

/// The label that the Deployment controller puts on the templates of its ReplicaSets.
const HASH_LABEL: &str = "pod-template-hash";
/// Annotations that mark a restart, not another release: kubectl's and Stakater Reloader's.
const RESTART_ANNOTATIONS: [&str; 2] = ["kubectl.kubernetes.io/restartedAt", "reloader.stakater.com/last-reloaded-from"];
/// The annotation that says which releases can read the data: going back over another value of it is not possible.
const DATA_BARRIER: &str = "backout.dev/data-barrier";

/// The release that a pod template is: `v1:` and SHA-256 over its canonical JSON (keys sorted, nulls left out), without what a
/// restart or a controller writes into it.
pub fn digest(template: &Value) -> Digest {
    let mut canonical = without_hash_label(template);
    drop_restart_marks(&mut canonical);
    let mut text = String::with_capacity(4096);
    write_canonical(&canonical, &mut text);
    let hex: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    Digest(format!("v1:{hex}"))
}

/// The template as it is written to a Deployment: everything kept, except for the label of its ReplicaSet.
pub fn without_hash_label(template: &Value) -> Value {
    let mut copy = template.clone();
    if let Some(metadata) = copy.get_mut("metadata").and_then(Value::as_object_mut) {
        remove_from(metadata, "labels", |key| key == HASH_LABEL);
    }
    copy
}

/// The images of its containers and init containers, in the template's order.
pub fn images(template: &Value) -> Vec<String> {
    containers(template).filter_map(|container| container.get("image").and_then(Value::as_str)).map(str::to_owned).collect()
}

/// Its containers, then its init containers.
pub fn containers(template: &Value) -> impl Iterator<Item = &Value> {
    ["/spec/containers", "/spec/initContainers"]
        .into_iter()
        .filter_map(|path| template.pointer(path).and_then(Value::as_array))
        .flatten()
}

/// The data barrier that its annotation names.
pub fn data_barrier(template: &Value) -> Option<String> {
    template.get("metadata")?.get("annotations")?.get(DATA_BARRIER)?.as_str().map(str::to_owned)
}

fn drop_restart_marks(template: &mut Value) {
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        remove_from(metadata, "annotations", |key| RESTART_ANNOTATIONS.contains(&key));
    }
    for list in ["containers", "initContainers"] {
        let Some(containers) = template.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut) else { continue };
        for container in containers.iter_mut().filter_map(Value::as_object_mut) {
            let Some(env) = container.get_mut("env").and_then(Value::as_array_mut) else { continue };
            env.retain(|variable| !variable.get("name").and_then(Value::as_str).is_some_and(is_reloaders));
            if env.is_empty() {
                container.remove("env");
            }
        }
    }
}

/// Stakater Reloader restarts by setting `STAKATER_<NAME>_CONFIGMAP` or `…_SECRET` in a container.
fn is_reloaders(variable: &str) -> bool {
    variable.starts_with("STAKATER_") && (variable.ends_with("_CONFIGMAP") || variable.ends_with("_SECRET"))
}

/// Removes keys of the map under `field`, and the map itself when nothing is left in it.
fn remove_from(parent: &mut Map<String, Value>, field: &str, unwanted: impl Fn(&str) -> bool) {
    let Some(map) = parent.get_mut(field).and_then(Value::as_object_mut) else { return };
    map.retain(|key, _| !unwanted(key));
    if map.is_empty() {
        parent.remove(field);
    }
}

/// JSON with sorted keys and without null members (API servers differ in writing `creationTimestamp: null`). Does not rely on
/// the order that `serde_json`'s map happens to have.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().filter(|(_, member)| !member.is_null()).collect();
            members.sort_unstable_by(|a, b| a.0.cmp(b.0));
            out.push('{');
            for (index, (key, member)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_canonical(member, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(image: &str) -> Value {
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": image}]}})
    }

    #[test]
    fn what_a_controller_or_a_restart_writes_is_no_other_release() {
        let plain = digest(&template("web:1"));
        let mut marked = template("web:1");
        marked["metadata"]["creationTimestamp"] = Value::Null;
        marked["metadata"]["labels"]["pod-template-hash"] = json!("5d8f");
        marked["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z",
            "reloader.stakater.com/last-reloaded-from": "{}"});
        marked["spec"]["containers"][0]["env"] = json!([{"name": "STAKATER_CFG_CONFIGMAP", "value": "0a"}]);
        assert_eq!(digest(&marked), plain);
        assert_ne!(digest(&template("web:2")), plain);
        marked["spec"]["containers"][0]["env"] = json!([{"name": "LEVEL", "value": "debug"}]);
        assert_ne!(digest(&marked), plain);
    }

    #[test]
    fn the_order_of_keys_does_not_matter_that_of_items_does() {
        let a: Value = serde_json::from_str(r#"{"spec":{"b":1,"a":[1,2]}}"#).expect("json");
        let b: Value = serde_json::from_str(r#"{"spec":{"a":[1,2],"b":1}}"#).expect("json");
        let c: Value = serde_json::from_str(r#"{"spec":{"a":[2,1],"b":1}}"#).expect("json");
        assert_eq!(digest(&a), digest(&b));
        assert_ne!(digest(&a), digest(&c));
    }

    #[test]
    fn the_digest_is_fixed_for_ever() {
        assert_eq!(
            digest(&template("web:1")).0,
            "v1:15dbc23d39618201623a26ce90dfe4df96c4eeff1f0a90a518f08b25864328c1",
            "journals hold digests: a change of this value needs a new version prefix"
        );
    }

    #[test]
    fn only_the_hash_label_is_left_out_of_what_is_written() {
        let mut held = template("web:1");
        held["metadata"]["labels"]["pod-template-hash"] = json!("5d8f");
        held["spec"]["aFieldOfTomorrow"] = json!({"deep": [1, 2.5, "x"]});
        let written = without_hash_label(&held);
        assert_eq!(written["metadata"]["labels"], json!({"app": "web"}));
        assert_eq!(written["spec"], held["spec"]);
    }

    #[test]
    fn reads_images_and_barrier() {
        let mut held = template("web:1");
        held["spec"]["initContainers"] = json!([{"name": "init", "image": "init:3"}]);
        held["metadata"]["annotations"] = json!({"backout.dev/data-barrier": "7"});
        assert_eq!(images(&held), ["web:1", "init:3"]);
        assert_eq!(data_barrier(&held).as_deref(), Some("7"));
    }
}
