//! What an observation asks for, by its purpose.

use std::collections::BTreeMap;

use super::draft::Draft;
use super::incident::Incident;
use super::observation::{Purpose, Request};
use crate::model::{Query, TargetRef, Time};
use crate::policy::promql;
use crate::policy::types::{FactSpec, Policy};

/// The request for this purpose.
pub(super) fn build(draft: &Draft<'_>, purpose: Purpose) -> Request {
    let incident = &draft.incident;
    let mut request = Request { target: incident.target.clone(), ..Request::default() };
    request.fingerprints = incident.members.values().map(|member| member.alert.fingerprint).collect();
    request.fingerprints.sort_unstable();
    request.fingerprints.dedup();
    match purpose {
        Purpose::Decide | Purpose::Recheck | Purpose::Redecide | Purpose::Watch => {
            if let Some(policy) = draft.ctx.policies.get(&incident.policy) {
                request.queries = queries(policy, &incident.wanted, incident, draft.ctx.cluster);
            }
        }
        Purpose::Confirm | Purpose::Reconcile => {}
        Purpose::Verify => {
            if let Some(attempt) = incident.attempt() {
                let verify = &attempt.plan.verify;
                request.rollout = Some(attempt.plan.to.digest.clone());
                request.queries.clone_from(&verify.queries);
                if attempt.rolled_back_at.is_some() || !verify.rollout {
                    request.http.clone_from(&verify.http);
                }
                let asks_tail = attempt.tail_until.is_none() && verify.tail.is_none();
                request.tail_of = incident.lead().filter(|_| asks_tail).map(|lead| lead.alert.label("alertname").to_owned());
            }
        }
    }
    request
}

/// The policy's facts of these names, with every variable filled in. Without a target there is nothing to fill in: no queries.
pub(super) fn queries(policy: &Policy, names: &[String], incident: &Incident, cluster: Option<&str>) -> BTreeMap<String, Query> {
    let Some(target) = &incident.target else { return BTreeMap::new() };
    let fill = |spec: &FactSpec| fill(spec, &target.at, cluster, incident.change_landed_at);
    names.iter().filter_map(|name| policy.facts.get(name).map(|spec| (name.clone(), fill(spec)))).collect()
}

fn fill(spec: &FactSpec, target: &TargetRef, cluster: Option<&str>, changed_at: Option<Time>) -> Query {
    let variables = promql::Variables {
        namespace: &target.namespace,
        workload: &target.name,
        cluster: cluster.unwrap_or_default(),
        changed_at,
    };
    Query {
        promql: variables.fill(&spec.promql),
        floor: spec.floor.as_ref().map(|floor| (variables.fill(&floor.promql), floor.at_least.to_string())),
    }
}
