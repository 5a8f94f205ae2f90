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
    use crate::decide::brakes::fixture::{World, decided, loaded, minutes};
    use crate::decide::incident::Lane;
    use crate::model::{Migration, MigrationState};
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

    const BACK: (&str, &str, &str) = ("web", "{rollback: undo}", "");
    const DATA: (&str, &str, &str) = ("data", "{page: {to: [dba], latch: true}}", "");

    /// The fixture, where a migration ran after the release to go back to.
    fn migrating() -> World {
        let mut world = World::new();
        let (at, state) = (world.ago(minutes(5)), MigrationState::Completed);
        let migration = Migration { name: "migrate".to_owned(), images: vec!["tool:1".to_owned()], state, at };
        world.workload().migrations = Ok(vec![migration]);
        world
    }

    #[test]
    fn a_migration_latches_where_its_brake_holds_and_the_policy_may_act() {
        let decision = decided(&policies(&[BACK]), &migrating());
        assert_eq!(decision.latch.map(|latching| latching.cause), Some(LatchCause::Migration));
        let off = ("web", "{rollback: undo}", ", brakes: {data_latch: {disabled: 'nothing is kept'}}");
        assert_eq!(decided(&policies(&[off]), &migrating()).latch, None);
        let mut stale = migrating();
        stale.observation.watch_heard_at = None;
        let decision = decided(&policies(&[off]), &stale);
        assert_eq!((decision.brakes.iter().any(|brake| brake.holds()), decision.latch), (true, None), "another brake holds");
        let shadow = ("web", "{mode: shadow, rollback: undo}", "");
        let decision = decided(&policies(&[shadow]), &migrating());
        assert_eq!((decision.brake, decision.latch), (Some(Brake::DataLatch), None));
    }

    #[test]
    fn the_own_word_on_corruption_stands_and_a_migration_gives_way_to_that_of_another() {
        let own = ("web", "{page: {to: [oncall], latch: true}}", "");
        let decision = decided(&policies(&[own, DATA]), &World::new());
        assert_eq!(
            (decision.latch.map(|latching| latching.policy).as_deref(), decision.to),
            (Some("web"), vec!["oncall".to_owned()])
        );
        let decision = decided(&policies(&[BACK, DATA]), &migrating());
        let latching = decision.latch.expect("it latches");
        assert_eq!(
            (latching.policy.as_str(), latching.cause, decision.to),
            ("data", LatchCause::Corruption, vec!["dba".to_owned()])
        );
        assert!(decision.summary.starts_with("rule `rule 1` says rollback; brake `data_latch` holds"), "{}", decision.summary);
        assert!(decision.summary.ends_with("of policy `data` says that data may be corrupt as well"), "{}", decision.summary);
    }

    #[test]
    fn in_shadow_nobody_latches_for_another() {
        let mut world = World::new();
        world.incident.lane = Lane::Shadow("web".to_owned());
        let decision = decided(&policies(&[BACK, DATA]), &world);
        assert_eq!((decision.outcome, decision.latch), (Outcome::Rollback, None), "the incident's lane: {}", decision.summary);

        let elsewhere = ("other", "{matchers: ['alertname = \"Other\"'], page: {latch: true}}, {page: {}}", "");
        let mut all = policies(&[BACK, DATA, elsewhere]);
        all.policies[1].mode = Mode::Shadow;
        let decision = decided(&all, &World::new());
        assert_eq!((decision.outcome, decision.latch), (Outcome::Rollback, None), "the policy: {}", decision.summary);

        let rules = "{mode: shadow, matchers: ['alertname = \"HighErrors\"'], page: {latch: true}}, {page: {latch: true}}";
        let decision = decided(&policies(&[BACK, ("data", rules, "")]), &World::new());
        assert_eq!((decision.outcome, decision.latch), (Outcome::Rollback, None), "the rule: {}", decision.summary);
    }

    #[test]
    fn a_fact_that_two_policies_read_otherwise_is_known_to_its_own_alone() {
        let facts = |query: &str| format!(", facts: {{errors: {{promql: {query}, floor: {{promql: traffic, at_least: 1}}}}}}");
        let (ours, theirs) = (facts("errors"), facts("rows"));
        let back = ("web", "{when: 'facts.errors > 0.1', rollback: undo}, {page: {}}", ours.as_str());
        let data = ("data", "{when: 'facts.errors > 0.1', page: {latch: true}}, {page: {}}", theirs.as_str());
        let decision = decided(&policies(&[back, data]), &World::new());
        assert_eq!((decision.brake, decision.latch), (Some(Brake::DataLatch), None), "{}", decision.summary);
        assert!(decision.summary.contains("whether policy `data` latches it cannot be told"), "{}", decision.summary);
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
