//! What an observation asks for, by its purpose.

use std::collections::BTreeMap;

use serde_json::json;

use super::book::Book;
use super::draft::Draft;
use super::incident::Incident;
use super::observation::{Purpose, Request};
use crate::model::{HttpFact, Query, Time};
use crate::policy::promql;
use crate::policy::types::{FactSource, Policy};

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
                let asked = facts(policy, &incident.wanted, incident, draft.book, draft.ctx.cluster);
                (request.queries, request.fetches) = (asked.queries, asked.fetches);
            }
        }
        Purpose::Confirm | Purpose::Reconcile => {}
        Purpose::Verify => {
            if let Some(attempt) = incident.attempt() {
                let verify = attempt.verify();
                request.rollout = Some(attempt.plan.to.digest.clone());
                request.queries.clone_from(&verify.queries);
                request.fetches.clone_from(&verify.fetches);
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

/// What is asked outside for some facts.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) queries: BTreeMap<String, Query>,
    pub(super) fetches: BTreeMap<String, HttpFact>,
}

/// The policy's facts of these names, with everything filled in. Without a target there is nothing to fill in, and nothing is asked.
pub(super) fn facts(policy: &Policy, names: &[String], incident: &Incident, book: &Book, cluster: Option<&str>) -> Asked {
    let mut asked = Asked::default();
    let Some(target) = &incident.target else { return asked };
    let variables = promql::Variables {
        namespace: &target.at.namespace,
        workload: &target.at.name,
        cluster: cluster.unwrap_or_default(),
        changed_at: incident.change_landed_at.or_else(|| landed_at(book, incident)),
    };
    for (name, spec) in names.iter().filter_map(|name| Some((name, policy.facts.get(name)?))) {
        match &spec.source {
            FactSource::Promql { promql, before_change, floor } => {
                let at = if *before_change { changed_from(book, incident) } else { None };
                if *before_change && at.is_none() {
                    continue;
                }
                let floor = floor.as_ref().map(|floor| (variables.fill(&floor.promql), floor.at_least.to_string()));
                asked.queries.insert(name.clone(), Query { promql: variables.fill(promql), floor, at });
            }
            FactSource::Http { url, pointer } => {
                // A label that the alert does not have makes no address: what is not asked stays unknown.
                if let Ok(url) = url.render_url(&about_alert(incident, cluster)) {
                    asked.fetches.insert(name.clone(), HttpFact { url, pointer: pointer.clone() });
                }
            }
            FactSource::Label { .. } | FactSource::Annotation { .. } | FactSource::Person { .. } => {}
        }
    }
    asked
}

/// When the change was first written that brought the incident's release, as the ledger has it.
pub(super) fn changed_from(book: &Book, incident: &Incident) -> Option<Time> {
    let history = book.history(incident.target.as_ref()?)?;
    Some(history.release(incident.release.as_ref()?)?.live_since)
}

/// When that change landed, as far as the watch saw it: before a decision has worked it out from more.
fn landed_at(book: &Book, incident: &Incident) -> Option<Time> {
    book.history(incident.target.as_ref()?)?.release(incident.release.as_ref()?)?.landed_at
}

/// What templates may name of an incident, whatever else they may.
pub(super) fn about_alert(incident: &Incident, cluster: Option<&str>) -> serde_json::Value {
    let alert = incident.lead().map(|lead| &lead.alert);
    let target = incident.target.as_ref().map(|target| &target.at);
    json!({
        "labels": alert.map(|alert| &alert.labels),
        "annotations": alert.map(|alert| &alert.annotations),
        "alert": {
            "name": alert.map(|alert| alert.label("alertname")),
            "labels": alert.map(|alert| &alert.labels),
            "annotations": alert.map(|alert| &alert.annotations),
        },
        "target": {
            "kind": target.map(|t| t.kind.as_str()),
            "namespace": target.map(|t| t.namespace.as_str()),
            "name": target.map(|t| t.name.as_str()),
            "cluster": cluster,
        },
        "incident": { "id": incident.id.as_str() },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::decide::brakes::fixture::{World, policies};
    use crate::decide::incident::Attempt;
    use crate::model::{HttpCheck, VerifyPlan};

    /// What a proof asks for, by what is known of the attempt and by how it is proven.
    fn proof(attempt: impl FnOnce(&mut Attempt), verify: impl FnOnce(&mut VerifyPlan)) -> Request {
        let mut world = World::new();
        world.attempt();
        let last = world.incident.attempts.last_mut().expect("it has begun");
        verify(&mut Arc::make_mut(&mut last.plan).verify);
        attempt(last);
        let mut request = Request::default();
        let _ = world.draft(&policies(""), |draft| request = build(draft, Purpose::Verify));
        request
    }

    #[test]
    fn a_proof_asks_addresses_as_soon_as_the_rollout_is_complete_or_no_part_of_it() {
        let check = HttpCheck { url: "https://shop.example/".to_owned(), attempts: 1, status: None, text: None };
        let at = Some(Time::from_millis(1));
        for (rolled_back_at, rollout, asked) in [(None, true, false), (at, true, true), (None, false, true), (at, false, true)] {
            let http = vec![check.clone()];
            let request = proof(
                |attempt| attempt.rolled_back_at = rolled_back_at,
                |verify| (verify.rollout, verify.http) = (rollout, http),
            );
            assert_eq!(!request.http.is_empty(), asked, "{rolled_back_at:?} {rollout}");
        }
    }

    #[test]
    fn a_proof_asks_for_the_alerts_rule_only_where_nothing_else_says_how_long_its_tail_is() {
        let (at, tail) = (Some(Time::from_millis(1)), Some(Duration::from_secs(60)));
        for (tail_until, tail, asked) in
            [(None, None, Some("HighErrors")), (at, None, None), (None, tail, None), (at, tail, None)]
        {
            let request = proof(|attempt| attempt.tail_until = tail_until, |verify| verify.tail = tail);
            assert_eq!(request.tail_of.as_deref(), asked, "{tail_until:?} {tail:?}");
        }
    }

    #[test]
    fn a_query_knows_when_the_change_landed_before_anything_was_decided() {
        let mut world = World::new();
        let promql = "errors @ $changed_at".to_owned();
        let source = FactSource::Promql { promql, before_change: false, floor: None };
        world.policy.facts.get_mut("errors").expect("the fixture has it").source = source;
        let asked = |world: &World| {
            let asked = facts(&world.policy, &["errors".to_owned()], &world.incident, &world.book, None);
            asked.queries["errors"].promql.clone()
        };
        assert_eq!(world.incident.change_landed_at, None);
        let landed = world.release("b").landed_at.expect("the fixture has it");
        assert_eq!(asked(&world), format!("errors @ {}", landed.millis() / 1000));
        world.release("b").landed_at = None;
        assert_eq!(asked(&world), "errors @ 0", "where nobody saw it, nothing is found there");
    }
}
