//! A rehearsal: what would be decided of a target right now if something went wrong with what runs there. The trouble is made up, and it
//! begins now; everything else is as it is, and `decide` decides.

use super::book::Book;
use super::decision::Decision;
use super::effect::Context;
use super::incident::{Incident, Lane, Member, Phase};
use super::observation::Observation;
use super::verdict::decide;
use crate::model::{
    Alert, AlertOnPeer, AlertStatus, AlertmanagerView, Fact, Fingerprint, IncidentId, Mode, Onset, PeerAlertState, PeerView,
    Resolution, TargetRef, Texts, Time, Workload,
};
use crate::policy::types::{Policies, Policy, Rule, TargetRule, VerdictRule};

/// The alertname and the source of what is made up.
const DRILL: &str = "BackoutDrill";

/// The rules of a policy that say rollback: each names procedures of its own.
pub fn rollbacks(policy: &Policy) -> impl Iterator<Item = &Rule> {
    policy.decide.iter().filter(|rule| matches!(rule.verdict, VerdictRule::Rollback { .. }))
}

/// Whether a policy could ever act on a target: it names it under `targets`, and its own rule for targets leads there.
pub fn reaches(policy: &Policy, target: &TargetRef) -> bool {
    let leads = match &policy.target {
        TargetRule::Auto => true,
        TargetRule::Other { .. } => false,
        TargetRule::Deployment { namespace, name } => {
            let nothing = serde_json::json!({});
            // A name that is made of labels may lead anywhere.
            let fits = |template: &crate::policy::template::Template, is: &str| {
                template.render(&nothing).map_or(true, |text| text == is)
            };
            fits(namespace, &target.namespace) && fits(name, &target.name)
        }
    };
    leads && policy.targets.iter().any(|pattern| pattern.covers(target))
}

/// The decision, were this rule true. `watch_heard_at` is when the watch last heard from the API server.
pub fn rehearse(
    ctx: &Context<'_>,
    book: &Book,
    (policy, rule): (&Policy, &Rule),
    workload: &Workload,
    watch_heard_at: Option<Time>,
    now: Time,
) -> Decision {
    let only = Rule { condition: None, matchers: Vec::new(), ..rule.clone() };
    let mut policies = Policies::new(vec![Policy { decide: vec![only], ..policy.clone() }], ctx.policies.procedures.clone());
    policies.intervals.clone_from(&ctx.policies.intervals);
    policies.hash.clone_from(&ctx.policies.hash);
    policies.commit.clone_from(&ctx.policies.commit);
    let incident = incident(policy, workload, now);
    let observation = Observation {
        at: now,
        workload: Some(Resolution::Found { workload: Box::new(workload.clone()) }),
        alerts: AlertmanagerView { peers: vec![firing(&incident, now)], evaluated_at: Fact::known(now, now, DRILL) },
        values: Default::default(),
        texts: Default::default(),
        watch_heard_at,
        rollout: None,
        http: Vec::new(),
        tail: None,
    };
    let ctx = Context { policies: &policies, limits: ctx.limits, cluster: ctx.cluster };
    decide(&ctx, book, &incident, &observation, now)
}

fn incident(policy: &Policy, workload: &Workload, now: Time) -> Incident {
    let at = &workload.id.at;
    let labels = [("alertname", DRILL), ("namespace", at.namespace.as_str()), ("deployment", at.name.as_str())];
    let alert = Alert {
        fingerprint: Fingerprint(0),
        status: AlertStatus::Firing,
        labels: Texts::from(labels),
        annotations: Texts::new(),
        starts_at: now,
        ends_at: None,
        generator_url: String::new(),
    };
    let onset = Onset { at: Ok(now), source: DRILL.to_owned() };
    let member = Member { alert, received_at: now, onset, resolved_at: None, truncated: false };
    let lane = if policy.mode == Mode::Shadow { Lane::Shadow(policy.name.clone()) } else { Lane::Live };
    let id = IncidentId("i000000000000".to_owned());
    Incident {
        target: Some(workload.id.clone()),
        release: Some(workload.release.clone()),
        ..Incident::new(id, lane, policy.name.clone(), member, Phase::Deciding { since: now })
    }
}

/// A peer that holds the alert that is made up.
fn firing(incident: &Incident, now: Time) -> Fact<PeerView> {
    let held = incident.members.values().map(|member| AlertOnPeer {
        occurrence: member.alert.occurrence(),
        labels: member.alert.labels.to_map(),
        state: PeerAlertState::Active,
    });
    let up = std::time::Duration::MAX;
    let peer = PeerView { peer: DRILL.to_owned(), up, alerts: held.collect(), ..PeerView::default() };
    Fact::known(peer, now, DRILL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::brakes::fixture::{World, acting, hours, loaded};
    use crate::model::{Brake, Outcome};

    fn policies(besides: &str) -> Policies {
        let text = format!(
            "policies: [{{name: web, mode: enforce, paging: in_front, targets: ['shop/w*'], facts: {{e: {{promql: e}}}}, decide: [{{when: 'facts.e > 1', rollback: undo}}, {{page: {{}}}}]{besides}}}]\n"
        );
        loaded(&text)
    }

    #[test]
    fn a_target_with_a_fit_release_could_go_back_whatever_the_facts_say() {
        let decision = World::new().rehearsed(&policies(""));
        assert_eq!(decision.outcome, Outcome::Rollback, "{}", decision.summary);
        assert_eq!(decision.plan.map(|plan| plan.to.images), Some(vec!["web:a".to_owned()]));
    }

    #[test]
    fn what_would_be_in_the_way_is_said_by_the_brakes() {
        let mut world = World::new();
        world.release("a").last_available = Some(world.ago(hours(200)));
        let decision = world.rehearsed(&policies(""));
        let held: Vec<Brake> = decision.brakes.iter().filter(|judgement| judgement.holds()).map(|j| j.brake).collect();
        assert!(held.contains(&Brake::FitTarget), "{}", decision.summary);
        assert!(decision.plan.is_none());
    }

    #[test]
    fn a_policy_reaches_what_it_names() {
        let target = |name: &str| TargetRef::deployment("shop", name).expect("a name");
        let reach = |besides: &str, name: &str| reaches(&policies(besides).policies[0], &target(name));
        assert!(reach("", "web") && !reach("", "cart"));
        assert!(reach(", target: {namespace: shop, deployment: web}", "web"));
        assert!(!reach(", target: {namespace: shop, deployment: web}", "worker"));
        assert!(reach(", target: {namespace: shop, deployment: '{{ labels.app }}'}", "worker"));
    }

    #[test]
    fn a_rule_is_rehearsed_whatever_alerts_it_is_about() {
        let rule = "{matchers: ['severity = \"critical\"'], rollback: undo}, {page: {}}";
        let decision = World::new().rehearsed(&acting(rule));
        assert_eq!(decision.outcome, Outcome::Rollback, "{}", decision.summary);
    }

    #[test]
    fn it_is_rehearsed_in_the_mode_of_its_policy() {
        let shadow = "policies: [{name: web, mode: shadow, targets: ['shop/*'], decide: [{rollback: undo}]}]\n";
        for (policies, mode) in [(acting("{rollback: undo}"), Mode::Enforce), (loaded(shadow), Mode::Shadow)] {
            let decision = World::new().rehearsed(&policies);
            assert_eq!((decision.mode, decision.plan.map(|plan| plan.mode)), (mode, Some(mode)));
        }
    }

    #[test]
    fn what_is_made_up_bears_the_name_of_the_drill() {
        let decision = World::new().rehearsed(&policies(""));
        let [peer] = decision.observation.alerts.peers.as_slice() else { panic!("one is made up") };
        let peer = peer.get().expect("it answers");
        assert_eq!((peer.peer.as_str(), peer.alerts[0].labels["alertname"].as_str()), (DRILL, DRILL));
    }
}
