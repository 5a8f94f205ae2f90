//! Deployments and ReplicaSets as JSON: who owns one, who wrote it, what our own marks on it say. Pure; shared by the hands that
//! read a cluster and those that write to it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Digest, Owner, Strategy, TargetRef, Time, Write};

/// Our field manager: the name under which our own writes are found again.
pub const FIELD_MANAGER: &str = "backout";
/// The annotation by which whoever has only `kubectl` stops us.
pub const PAUSE: &str = "backout.dev/pause";
/// The annotation that our write leaves on a Deployment.
pub const LAST_ROLLBACK: &str = "backout.dev/last-rollback";
/// Why the current release is what it is, for people (`kubectl rollout history`).
pub const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
/// An old in-cluster rollback, still honoured by the controller: nobody else may write while it is there.
pub const CONTROLLER_ROLLBACK: &str = "deprecated.deployment.rollback.to";
/// The revision that the Deployment controller counts.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// The earlier revision numbers of a ReplicaSet that came back.
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";

/// The manager name of the cluster's own controllers.
const CONTROLLER_MANAGER: &str = "kube-controller-manager";

/// What our annotation on a Deployment says about our last write to it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LastRollback {
    /// The incident that it answered.
    pub incident: String,
    /// The release that was left.
    pub from: Digest,
    /// The release that was put back.
    pub to: Digest,
    /// When, RFC 3339.
    pub at: String,
}

/// A text at a JSON pointer.
pub fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

/// A number at a JSON pointer; 0 where there is none, as the API server leaves zeros out.
pub fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// A count at a JSON pointer; 0 where there is none.
pub fn count(object: &Value, pointer: &str) -> i32 {
    i32::try_from(number(object, pointer)).unwrap_or(i32::MAX)
}

/// A time at a JSON pointer.
pub fn time(object: &Value, pointer: &str) -> Option<Time> {
    text(object, pointer).and_then(Time::parse)
}

/// An annotation of an object.
pub fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(name)?.as_str()
}

/// A label of an object.
pub fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/labels")?.get(name)?.as_str()
}

/// The items of a list at a JSON pointer; none where there is no list.
pub fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The owner reference of the controller: `(kind, name, uid)`.
pub fn controller(object: &Value) -> Option<(&str, &str, &str)> {
    let owner =
        items(object, "/metadata/ownerReferences").iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?;
    Some((text(owner, "/kind")?, text(owner, "/name")?, text(owner, "/uid")?))
}

/// A condition of an object's status that is of this type.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(object, "/status/conditions").iter().find(|condition| text(condition, "/type") == Some(kind))
}

/// A label selector as the API takes it in a query.
pub fn selector(deployment: &Value) -> String {
    let mut terms = Vec::new();
    if let Some(labels) = deployment.pointer("/spec/selector/matchLabels").and_then(Value::as_object) {
        terms.extend(labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())));
    }
    for expression in items(deployment, "/spec/selector/matchExpressions") {
        let key = text(expression, "/key").unwrap_or_default();
        let values: Vec<_> = items(expression, "/values").iter().filter_map(Value::as_str).collect();
        match text(expression, "/operator") {
            Some("In") => terms.push(format!("{key} in ({})", values.join(","))),
            Some("NotIn") => terms.push(format!("{key} notin ({})", values.join(","))),
            Some("DoesNotExist") => terms.push(format!("!{key}")),
            _ => terms.push(key.to_owned()),
        }
    }
    terms.join(",")
}

/// The reason for which our own annotation on an object stops us. `"false"` is the one value that does not.
pub fn pause(object: &Value) -> Option<String> {
    match annotation(object, PAUSE)? {
        "false" => None,
        "" | "true" => Some("no reason given".to_owned()),
        reason => Some(reason.to_owned()),
    }
}

/// What our last write left on it.
pub fn last_rollback(object: &Value) -> Option<LastRollback> {
    serde_json::from_str(annotation(object, LAST_ROLLBACK)?).ok()
}

/// Whether all pods may be away at once during a rollout.
pub fn strategy(deployment: &Value) -> Strategy {
    let all = text(deployment, "/spec/strategy/type") == Some("Recreate")
        || text(deployment, "/spec/strategy/rollingUpdate/maxUnavailable") == Some("100%");
    if all { Strategy::AllAtOnce } else { Strategy::Rolling }
}

/// Who would undo a write to this Deployment: Argo CD before Flux before Helm before a controller. A mark counts only when it is
/// about this very object, because controllers copy annotations.
pub fn owner(deployment: &Value, at: &TargetRef) -> Owner {
    let marks = [argo_owner(deployment, at), flux_owner(deployment), helm_owner(deployment, at)];
    if let Some(owner) = marks.into_iter().flatten().next() {
        return owner;
    }
    match controller(deployment) {
        Some((kind, name, _)) => Owner::Controller(format!("{kind}/{name}")),
        None => Owner::Plain,
    }
}

/// `argocd.argoproj.io/tracking-id: <app>:<group>/<Kind>:<ns>/<name>`; where tracking is by label, the field manager tells.
fn argo_owner(deployment: &Value, at: &TargetRef) -> Option<Owner> {
    let own = format!(":apps/Deployment:{}/{}", at.namespace, at.name);
    let tracked = annotation(deployment, "argocd.argoproj.io/tracking-id").and_then(|id| id.strip_suffix(own.as_str()));
    if let Some(application) = tracked {
        return Some(Owner::ArgoCd(application.to_owned()));
    }
    let applies = items(deployment, "/metadata/managedFields").iter().any(|e| text(e, "/manager") == Some("argocd-controller"));
    applies.then(|| Owner::ArgoCd(label(deployment, "app.kubernetes.io/instance").unwrap_or("of unknown name").to_owned()))
}

fn flux_owner(deployment: &Value) -> Option<Owner> {
    [("kustomize", "Kustomization"), ("helm", "HelmRelease")].into_iter().find_map(|(prefix, kind)| {
        let name = label(deployment, &format!("{prefix}.toolkit.fluxcd.io/name"))?;
        let namespace = label(deployment, &format!("{prefix}.toolkit.fluxcd.io/namespace")).unwrap_or_default();
        Some(Owner::Flux(format!("{kind} {namespace}/{name}")))
    })
}

fn helm_owner(deployment: &Value, at: &TargetRef) -> Option<Owner> {
    let name = annotation(deployment, "meta.helm.sh/release-name")?;
    let namespace = annotation(deployment, "meta.helm.sh/release-namespace").unwrap_or(&at.namespace);
    Some(Owner::Helm(format!("{namespace}/{name}")))
}

/// The latest write of every manager other than us and the cluster's own controllers to template, replicas or `paused`. Writes
/// through `/scale` are left out: the API server gives them no time, and autoscalers make them all day.
pub fn writes_of_others(deployment: &Value) -> Vec<Write> {
    let mut latest: BTreeMap<(String, bool), Time> = BTreeMap::new();
    for (manager, at, template) in spec_writes(deployment) {
        if manager == FIELD_MANAGER || manager == CONTROLLER_MANAGER {
            continue;
        }
        let seen = latest.entry((manager.to_owned(), template)).or_insert(at);
        *seen = at.max(*seen);
    }
    latest.into_iter().map(|((manager, template), at)| Write { manager, at, template }).collect()
}

/// Who last wrote the template, and when. `backout` and another in the same second: our own annotation decides.
pub fn template_writer(deployment: &Value, release: &Digest) -> Option<(String, Time)> {
    let writes: Vec<_> = spec_writes(deployment).filter(|(_, _, template)| *template).collect();
    let at = writes.iter().map(|(_, at, _)| *at).max()?;
    let ours = last_rollback(deployment).is_some_and(|last| last.to == *release);
    let last: Vec<&str> = writes.iter().filter(|(_, when, _)| *when == at).map(|(manager, ..)| *manager).collect();
    let manager = last.iter().find(|manager| (**manager == FIELD_MANAGER) == ours).or(last.first())?;
    Some(((*manager).to_owned(), at))
}

/// `(manager, when, whether the template)` of entries that hold template, replicas or `paused`.
fn spec_writes(deployment: &Value) -> impl Iterator<Item = (&str, Time, bool)> {
    items(deployment, "/metadata/managedFields").iter().filter_map(|entry| {
        let spec = entry.pointer("/fieldsV1/f:spec")?;
        if text(entry, "/subresource").is_some_and(|subresource| !subresource.is_empty()) {
            return None;
        }
        let template = spec.get("f:template").is_some();
        if !template && spec.get("f:replicas").is_none() && spec.get("f:paused").is_none() {
            return None;
        }
        Some((text(entry, "/manager").unwrap_or("unknown"), time(entry, "/time")?, template))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target() -> TargetRef {
        TargetRef::deployment("shop", "web").expect("names")
    }

    #[test]
    fn owners_by_their_marks() {
        let owned = |metadata: Value| owner(&json!({ "metadata": metadata }), &target());
        assert_eq!(owned(json!({})), Owner::Plain);
        let argo = "argocd.argoproj.io/tracking-id";
        assert_eq!(
            owned(json!({"annotations": {argo: "team_shop:apps/Deployment:shop/web"}})),
            Owner::ArgoCd("team_shop".into())
        );
        assert_eq!(owned(json!({"annotations": {argo: "shop:apps/Deployment:shop/other"}})), Owner::Plain, "a copied mark");
        assert_eq!(
            owned(json!({"labels": {"app.kubernetes.io/instance": "shop"}, "managedFields": [{"manager": "argocd-controller"}]})),
            Owner::ArgoCd("shop".into())
        );
        let flux = json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux"},
            "annotations": {"meta.helm.sh/release-name": "web"}});
        assert_eq!(owned(flux), Owner::Flux("Kustomization flux/apps".into()));
        assert_eq!(owned(json!({"annotations": {"meta.helm.sh/release-name": "web"}})), Owner::Helm("shop/web".into()));
        assert_eq!(owned(json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}})), Owner::Plain, "proves nothing");
        assert_eq!(
            owned(json!({"ownerReferences": [{"kind": "Shop", "name": "s", "uid": "u", "controller": true}]})),
            Owner::Controller("Shop/s".into())
        );
    }

    fn entry(manager: &str, subresource: &str, second: u8, fields: Value) -> Value {
        json!({"manager": manager, "subresource": subresource, "time": format!("2026-01-01T00:00:{second:02}Z"),
            "fieldsV1": {"f:spec": fields}})
    }

    #[test]
    fn writes_of_people_and_pipelines_only() {
        let template = json!({"f:template": {}});
        let deployment = json!({"metadata": {"managedFields": [
            entry("kubectl", "", 1, template.clone()),
            entry("kubectl", "", 5, template.clone()),
            entry("backout", "", 6, template.clone()),
            entry("kube-controller-manager", "scale", 7, json!({"f:replicas": {}})),
            entry("kubectl", "scale", 8, json!({"f:replicas": {}})),
            json!({"manager": "kubectl", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}),
            entry("labeller", "", 9, json!({"f:minReadySeconds": {}})),
            entry("other", "status", 9, template),
        ]}});
        let writes = writes_of_others(&deployment);
        let seen: Vec<_> = writes.iter().map(|w| (w.manager.as_str(), w.template, w.at.millis() % 60_000 / 1000)).collect();
        assert_eq!(seen, [("kubectl", true, 5)]);
        let release = Digest("v1:a".into());
        assert_eq!(template_writer(&deployment, &release).map(|(by, _)| by).as_deref(), Some("backout"));
    }

    #[test]
    fn two_writers_in_one_second_are_told_apart_by_our_annotation() {
        let template = json!({"f:template": {}});
        let fields = [entry("backout", "", 6, template.clone()), entry("kubectl", "", 6, template)];
        let mark = json!({"incident": "i1", "from": "v1:b", "to": "v1:a", "at": "2026-01-01T00:00:06Z"}).to_string();
        let deployment = json!({"metadata": {"managedFields": fields, "annotations": {LAST_ROLLBACK: mark}}});
        let by = |digest: &str| template_writer(&deployment, &Digest(digest.into())).map(|(by, _)| by);
        assert_eq!(by("v1:a").as_deref(), Some("backout"));
        assert_eq!(by("v1:c").as_deref(), Some("kubectl"));
    }

    #[test]
    fn a_pause_without_a_reason_is_a_pause() {
        let with = |value: &str| pause(&json!({"metadata": {"annotations": {PAUSE: value}}}));
        assert_eq!(with("migration until noon").as_deref(), Some("migration until noon"));
        assert_eq!(with("").as_deref(), Some("no reason given"));
        assert_eq!(with("false"), None);
    }

    #[test]
    fn selectors_are_written_as_the_api_reads_them() {
        let deployment = json!({"spec": {"selector": {"matchLabels": {"app": "web"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "old", "operator": "DoesNotExist"}]}}});
        assert_eq!(selector(&deployment), "app=web,tier in (a,b),!old");
    }
}
