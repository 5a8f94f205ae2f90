//! Which targets a decision latches: because its own rule says so, because a migration lies in the way, or because another policy that is
//! about the alerts says so. A latch by any policy wins.

use std::collections::BTreeSet;

use super::super::brakes::{self, Scene};
use super::super::decision::{Decision, Grip};
use super::super::latch::{Latching, UNTIL};
use super::super::presence::Presence;
use super::Judge;
use crate::model::{Brake, LatchCause, Mode, Outcome, Reason};
use crate::policy::expr::Tri;
use crate::policy::types::{Policy, Rule, VerdictRule};

/// What another policy wants latched, and who is paged by it.
pub(super) struct Wanted {
    latching: Latching,
    to: Vec<String>,
}

impl Wanted {
    /// Makes a decision the page that it is, whatever else was decided.
    pub(super) fn wins(self, decision: &mut Decision) {
        let Self { latching, to } = self;
        if decision.latch.as_ref().is_some_and(|own| own.cause == LatchCause::Corruption) {
            return;
        }
        if decision.outcome == Outcome::Page {
            decision.summary = format!("{}; {} as well", decision.summary, latching.because);
        } else {
            decision.summary = format!("{}, which wins over: {}", latching.because, decision.summary);
            (decision.outcome, decision.reason, decision.brake) = (Outcome::Page, Reason::Rule, None);
            decision.plan = None;
        }
        let more: Vec<String> = to.into_iter().filter(|channel| !decision.to.contains(channel)).collect();
        decision.to.extend(more);
        decision.latch = Some(latching);
    }
}

impl Judge<'_> {
    /// The deciding rule says that data may be corrupt.
    pub(super) fn latch(&self, rule: &Rule, decision: &mut Decision) {
        if self.incident.lane.is_shadow() || rule.mode == Some(Mode::Shadow) {
            decision.summary.push_str(", and would latch what shares the data, but is in shadow");
            return;
        }
        let latching = Latching::corruption(self.policy, rule, self.incident.target.is_some());
        let own = self.incident.target.iter().map(|target| format!("{}/{}", target.at.namespace, target.at.name));
        let covered = own.chain(latching.covers.iter().cloned()).collect::<Vec<_>>().join(", ");
        decision.summary.push_str(&format!(", and latches {covered}: nothing is rolled back there {UNTIL}"));
        decision.latch = Some(latching);
    }

    /// A migration lies between the releases, and its brake holds.
    pub(super) fn migrated(&self, scene: &Scene<'_>, decision: &Decision) -> Option<Latching> {
        let holds = decision.brakes.iter().any(|judgement| judgement.brake == Brake::DataLatch && judgement.grip == Grip::Held);
        brakes::migrated(scene).filter(|_| holds && decision.mode > Mode::Shadow)
    }

    /// What the other policies about these alerts latch that are not in shadow. `Err`: whether one of them does cannot be told.
    pub(super) fn latches_of_others(&self) -> Result<Option<Wanted>, String> {
        if !self.ctx.policies.can_latch() || self.incident.lane.is_shadow() {
            return Ok(None);
        }
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for member in self.incident.firing() {
            let about = self.ctx.policies.about_with(|name| member.alert.labels.get(name));
            let others = about.into_iter().filter(|policy| policy.mode > Mode::Shadow && policy.name != self.policy.name);
            names.extend(others.filter(|policy| policy.decide.iter().any(Rule::latches)).map(|policy| policy.name.as_str()));
        }
        let mut unsure = None;
        for policy in names.into_iter().filter_map(|name| self.ctx.policies.get(name)) {
            match self.latch_of(policy) {
                Ok(None) => {}
                Ok(Some(wanted)) => return Ok(Some(wanted)),
                Err(why) => unsure = unsure.or(Some(why)),
            }
        }
        unsure.map_or(Ok(None), Err)
    }

    /// What another policy would say by what was observed for this one. Its own facts were not asked for: a fact that both read alike is
    /// known, every other one is not.
    fn latch_of(&self, policy: &Policy) -> Result<Option<Wanted>, String> {
        let is_same = |name: &String| policy.facts.contains_key(name) && policy.facts.get(name) == self.policy.facts.get(name);
        let mut observation = self.observation.clone();
        observation.values.retain(|name, _| is_same(name));
        observation.texts.retain(|name, _| is_same(name));
        let Judge { ctx, book, incident, now, .. } = *self;
        let judge = Judge { ctx, book, incident, policy, observation: &observation, now, unsure_latch: None };
        let mut scratch = super::blank(ctx, incident, &observation, Presence::Firing, now);
        match judge.walk(&mut scratch, &mut Vec::new()) {
            Some((rule, Tri::True)) => match &rule.verdict {
                VerdictRule::Page { to, latch: true } if rule.mode != Some(Mode::Shadow) => {
                    let owner = policy.owner.iter().cloned().collect();
                    let to = if to.is_empty() { owner } else { to.clone() };
                    Ok(Some(Wanted { latching: Latching::corruption(policy, rule, incident.target.is_some()), to }))
                }
                _ => Ok(None),
            },
            Some((rule, Tri::Unknown(reasons))) => {
                let at = policy.decide.iter().position(|other| other.name == rule.name).unwrap_or_default();
                if !policy.decide.iter().skip(at).any(Rule::latches) {
                    return Ok(None);
                }
                let why: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                Err(format!("whether policy `{}` latches it cannot be told: {}", policy.name, why.join("; ")))
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::brakes::fixture::{World, decided, loaded};
    use crate::decide::incident::Lane;
    use crate::policy::types::Policies;

    /// Policies that may act on the fixture's alert, each with these rules and these keys besides.
    fn policies(all: &[(&str, &str, &str)]) -> Policies {
        let one = |(name, rules, besides): &(&str, &str, &str)| {
            let (matchers, acts) = ("matchers: ['alertname = \"HighErrors\"']", "paging: in_front, targets: ['shop/*']");
            format!("  - {{name: {name}, {matchers}, mode: enforce, {acts}, decide: [{rules}]{besides}}}\n")
        };
        let text = format!("policies:\n{}", all.iter().map(one).collect::<String>());
        loaded(&text)
    }

    #[test]
    fn a_rule_that_latches_covers_the_group_and_in_shadow_nothing() {
        let group = ", brakes: {data_latch: {data_group: ['shop/worker*']}}";
        let all = policies(&[("web", "{name: data, page: {latch: true}}", group)]);
        let mut world = World::new();
        let decision = decided(&all, &world);
        let latching = decision.latch.expect("it latches");
        assert_eq!((latching.cause, latching.covers), (LatchCause::Corruption, vec!["shop/worker*".to_owned()]));
        assert!(decision.summary.contains("rule `data` says page, and latches"), "{}", decision.summary);

        world.incident.lane = Lane::Shadow("web".to_owned());
        let decision = decided(&all, &world);
        assert!(decision.latch.is_none() && decision.summary.contains("is in shadow"), "{}", decision.summary);
        world.incident.lane = Lane::Live;
        let in_shadow = policies(&[("web", "{name: data, mode: shadow, page: {latch: true}}", "")]);
        assert_eq!(decided(&in_shadow, &world).latch, None);
    }

    #[test]
    fn without_a_target_whatever_the_policy_may_touch_is_latched() {
        let mut world = World::new();
        world.incident.target = None;
        let decision = decided(&policies(&[("web", "{page: {latch: true}}", "")]), &world);
        assert_eq!(decision.latch.map(|latching| latching.covers), Some(vec!["shop/*".to_owned()]));
        let group = ", brakes: {data_latch: {data_group: ['shop/db']}}";
        let decision = decided(&policies(&[("web", "{page: {latch: true}}", group)]), &world);
        assert_eq!(decision.latch.map(|latching| latching.covers), Some(vec!["shop/db".to_owned()]));
    }

    #[test]
    fn a_latch_by_any_policy_wins() {
        let world = World::new();
        let back = ("web", "{rollback: undo}", "");
        assert_eq!(decided(&policies(&[back]), &world).outcome, Outcome::Rollback);
        let data = ("data", "{matchers: ['alertname =~ \"High.*\"'], page: {to: [dba], latch: true}}", "");
        let decision = decided(&policies(&[back, data]), &world);
        assert_eq!((decision.outcome, decision.plan.is_none(), decision.to), (Outcome::Page, true, vec!["dba".to_owned()]));
        assert_eq!(decision.latch.map(|latching| latching.policy), Some("data".to_owned()));
        assert!(
            decision.summary.contains("of policy `data` says that data may be corrupt, which wins over"),
            "{}",
            decision.summary
        );
        // What it would not latch itself it does not latch here: an earlier rule of it decides.
        let earlier = ("data", "{matchers: ['alertname = \"HighErrors\"'], page: [dba]}, {page: {latch: true}}", "");
        let decision = decided(&policies(&[back, earlier]), &world);
        assert_eq!((decision.outcome, decision.latch), (Outcome::Rollback, None));
        let ticket = ("web", "{fix_forward: [tracker]}", "");
        assert_eq!(decided(&policies(&[ticket, data]), &world).outcome, Outcome::Page);
    }

    #[test]
    fn what_another_policy_may_latch_holds() {
        let back = ("web", "{rollback: undo}", "");
        let facts = ", facts: {missing: {promql: missing_rows}}";
        let data = ("data", "{when: 'facts.missing > 0.0', page: {latch: true}}, {page: {}}", facts);
        let decision = decided(&policies(&[back, data]), &World::new());
        assert_eq!((decision.outcome, decision.brake, decision.latch), (Outcome::Page, Some(Brake::DataLatch), None));
        assert!(decision.summary.contains("whether policy `data` latches it cannot be told"), "{}", decision.summary);
        // Where no rule behind the one that is unknown latches, nothing hangs on it.
        let other = ("data", "{when: 'facts.missing > 0.0', page: [dba]}, {page: {}}", facts);
        assert_eq!(decided(&policies(&[back, other]), &World::new()).outcome, Outcome::Rollback);
        // A fact that both read alike is known to both.
        let same = ", facts: {errors: {promql: errors, floor: {promql: traffic, at_least: 1}}}";
        let back = ("web", "{when: 'facts.errors > 0.1', rollback: undo}, {page: {}}", same);
        for (least, outcome) in [("0.9", Outcome::Rollback), ("0.1", Outcome::Page)] {
            let rules = format!("{{when: 'facts.errors > {least}', page: {{latch: true}}}}, {{page: {{}}}}");
            let decision = decided(&policies(&[back, ("data", &rules, same)]), &World::new());
            assert_eq!(decision.outcome, outcome, "{least}: {}", decision.summary);
        }
    }
}
