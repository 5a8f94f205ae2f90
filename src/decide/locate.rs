//! Which policies an alert falls under, and what its labels say about its target.

use serde_json::json;

use super::incident::Lane;
use crate::model::{Alert, Lookup, Mode, TargetRef};
use crate::policy::types::{Policies, Policy, TargetRule};

/// Every lane that an alert opens: the first matching policy that is not in shadow, and each matching one in shadow.
pub(super) fn lanes<'a>(policies: &'a Policies, alert: &Alert) -> Vec<(Lane, &'a Policy)> {
    let mut lanes = Vec::new();
    let mut live = false;
    for policy in policies.about_with(|name| alert.labels.get(name)) {
        let shadow = policy.mode == Mode::Shadow;
        if live && !shadow {
            continue;
        }
        live |= !shadow;
        lanes.push((if shadow { Lane::Shadow(policy.name.clone()) } else { Lane::Live }, policy));
    }
    lanes
}

/// What the labels name, or why they name nothing.
pub(super) fn lookup(policy: &Policy, alert: &Alert) -> Result<Lookup, String> {
    match &policy.target {
        TargetRule::Auto => auto(alert),
        TargetRule::Other { kind } => Err(format!("the policy's target is a {kind}; only Deployments are carried out yet")),
        TargetRule::Deployment { namespace, name } => {
            let variables = json!({
                "labels": alert.labels,
                "annotations": alert.annotations,
                "alert": { "name": alert.label("alertname") },
            });
            let namespace = namespace.render(&variables).map_err(|problem| format!("target.namespace: {}", problem.message))?;
            let name = name.render(&variables).map_err(|problem| format!("target.deployment: {}", problem.message))?;
            TargetRef::deployment(&namespace, &name).map(Lookup::Workload)
        }
    }
}

/// From labels that kube-state-metrics, cAdvisor and common exporters really set. `exported_x` beats `x`, because the plain
/// label then names the exporter. A plain `service` is not used: in kube-prometheus' alerts it names kube-state-metrics itself.
fn auto(alert: &Alert) -> Result<Lookup, String> {
    let label = |name: &str| {
        let exported = alert.label(&format!("exported_{name}")).to_owned();
        if exported.is_empty() { alert.label(name).to_owned() } else { exported }
    };
    let namespace = label("namespace");
    if namespace.is_empty() {
        return Err("the alert has no label `namespace`".to_owned());
    }
    let deployment = label("deployment");
    if !deployment.is_empty() {
        return TargetRef::deployment(&namespace, &deployment).map(Lookup::Workload);
    }
    for kind in ["rollout", "statefulset", "daemonset"] {
        if !label(kind).is_empty() {
            return Err(format!("the alert names a {kind}; only Deployments are carried out yet"));
        }
    }
    let pod = label("pod");
    if pod.is_empty() {
        return Err("the alert has neither a label `deployment` nor a label `pod`".to_owned());
    }
    // Pods are named like Deployments: the same check keeps hostile text out.
    TargetRef::deployment(&namespace, &pod).map(|valid| Lookup::Pod { namespace: valid.namespace, pod: valid.name })
}
