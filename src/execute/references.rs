//! What a pod spec needs to be there before its containers can start: ConfigMaps, Secrets, volume claims, a service account. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::model::manifest::{items, text};
use crate::model::template::containers;

/// Kinds of objects that a pod names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    ConfigMap,
    Secret,
    Claim,
    ServiceAccount,
}

impl Kind {
    /// The resource in a URL, which is also its name in a finding.
    pub(super) fn resource(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
            Self::Claim => "persistentvolumeclaims",
            Self::ServiceAccount => "serviceaccounts",
        }
    }

    /// The kind as Kubernetes writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::Claim => "PersistentVolumeClaim",
            Self::ServiceAccount => "ServiceAccount",
        }
    }
}

/// What is needed: the object, and the keys in it (none: the object alone).
pub(super) type Needs = BTreeMap<(Kind, String), BTreeSet<String>>;

/// Everything that is not optional in this pod template (or pod).
pub(super) fn needs(template: &Value) -> Needs {
    let mut needs = Needs::new();
    for container in containers(template) {
        for variable in items(container, "/env") {
            for (field, kind) in [("configMapKeyRef", Kind::ConfigMap), ("secretKeyRef", Kind::Secret)] {
                let reference = variable.pointer(&format!("/valueFrom/{field}"));
                add(&mut needs, kind, reference, "name", |reference| text(reference, "/key").into_iter().collect());
            }
        }
        for source in items(container, "/envFrom") {
            add(&mut needs, Kind::ConfigMap, source.get("configMapRef"), "name", |_| Vec::new());
            add(&mut needs, Kind::Secret, source.get("secretRef"), "name", |_| Vec::new());
        }
    }
    for volume in items(template, "/spec/volumes") {
        of_volume(&mut needs, volume);
    }
    for secret in items(template, "/spec/imagePullSecrets") {
        add(&mut needs, Kind::Secret, Some(secret), "name", |_| Vec::new());
    }
    // `default` is made by the cluster itself.
    if let Some(account) = text(template, "/spec/serviceAccountName").filter(|name| *name != "default") {
        needs.entry((Kind::ServiceAccount, account.to_owned())).or_default();
    }
    needs
}

fn of_volume(needs: &mut Needs, volume: &Value) {
    add(needs, Kind::ConfigMap, volume.get("configMap"), "name", keys);
    add(needs, Kind::Secret, volume.get("secret"), "secretName", keys);
    add(needs, Kind::Claim, volume.get("persistentVolumeClaim"), "claimName", |_| Vec::new());
    for source in items(volume, "/projected/sources") {
        add(needs, Kind::ConfigMap, source.get("configMap"), "name", keys);
        add(needs, Kind::Secret, source.get("secret"), "name", keys);
    }
    // Drivers that take a Secret by reference.
    for field in [
        "cephfs/secretRef",
        "flexVolume/secretRef",
        "iscsi/secretRef",
        "rbd/secretRef",
        "scaleIO/secretRef",
        "storageos/secretRef",
        "csi/nodePublishSecretRef",
    ] {
        add(needs, Kind::Secret, volume.pointer(&format!("/{field}")), "name", |_| Vec::new());
    }
    add(needs, Kind::Secret, volume.get("azureFile"), "secretName", |_| Vec::new());
}

fn keys(reference: &Value) -> Vec<&str> {
    items(reference, "/items").iter().filter_map(|item| text(item, "/key")).collect()
}

fn add<'a>(needs: &mut Needs, kind: Kind, reference: Option<&'a Value>, name: &str, keys: impl Fn(&'a Value) -> Vec<&'a str>) {
    let Some(reference) = reference.filter(|reference| reference.get("optional") != Some(&Value::Bool(true))) else { return };
    let Some(name) = reference.get(name).and_then(Value::as_str).filter(|name| !name.is_empty()) else { return };
    needs.entry((kind, name.to_owned())).or_default().extend(keys(reference).into_iter().map(str::to_owned));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_what_must_be_there_and_leaves_out_what_may_be_missing() {
        let template = json!({"spec": {
            "serviceAccountName": "shop",
            "imagePullSecrets": [{"name": "registry"}],
            "containers": [{"name": "web", "image": "web:1",
                "env": [
                    {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "a"}}},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
                    {"name": "C", "valueFrom": {"secretKeyRef": {"name": "maybe", "key": "x", "optional": true}}},
                    {"name": "D", "value": "plain"}],
                "envFrom": [{"configMapRef": {"name": "all"}}, {"secretRef": {"name": "maybe2", "optional": true}}]}],
            "initContainers": [{"name": "init", "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "b"}}}]}],
            "volumes": [
                {"name": "v1", "configMap": {"name": "files", "items": [{"key": "app.ini", "path": "app.ini"}]}},
                {"name": "v2", "secret": {"secretName": "tls"}},
                {"name": "v3", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "v4", "projected": {"sources": [{"secret": {"name": "ca", "items": [{"key": "ca.crt", "path": "c"}]}},
                    {"configMap": {"name": "kube-root-ca.crt", "optional": true}}]}}],
        }});
        let found: Vec<_> = needs(&template)
            .into_iter()
            .map(|((kind, name), keys)| format!("{} {name} {}", kind.name(), keys.into_iter().collect::<Vec<_>>().join(",")))
            .collect();
        assert_eq!(
            found,
            [
                "ConfigMap all ",
                "ConfigMap cfg a,b",
                "ConfigMap files app.ini",
                "Secret ca ca.crt",
                "Secret db password",
                "Secret registry ",
                "Secret tls ",
                "PersistentVolumeClaim data ",
                "ServiceAccount shop "
            ]
        );
    }
}
