//! What has come of a world by now, in the words that expectations use.

use std::collections::BTreeSet;

use crate::decide::decision::{Decision, Truth};
use crate::decide::incident::{Incident, Phase};
use crate::model::{Brake, LatchCause, Outcome, Plan, Reason, TargetRef};
use crate::policy::test_file::types::Subject;
use crate::policy::types::{Policies, VerdictRule};
use crate::simulate::{Driver, Told, Written};

/// What has come of a world by now.
#[derive(Clone, Copy, Debug)]
pub struct Got<'d> {
    driver: &'d Driver,
    policies: &'d Policies,
    subject: &'d Subject,
    incident: Option<&'d Incident>,
}

impl<'d> Got<'d> {
    /// What has come of it, about the incident that is meant.
    pub fn of(driver: &'d Driver, policies: &'d Policies, subject: &'d Subject) -> Self {
        Self { driver, policies, subject, incident: meant(driver, subject) }
    }

    /// The incident that is meant, if there is one.
    pub fn incident(&self) -> Option<&'d Incident> {
        self.incident
    }

    /// Whether nothing has happened at all.
    pub fn is_nothing(&self) -> bool {
        self.driver.transcript.incident(1).is_none() && self.driver.told.is_empty() && self.driver.written.is_empty()
    }

    fn decision(&self) -> Option<&'d Decision> {
        self.incident?.decision.as_deref()
    }

    fn plan(&self) -> Option<&'d Plan> {
        self.incident?.plan.as_deref().or_else(|| self.decision()?.plan.as_ref())
    }

    /// What was decided and what came of it: every word of `outcome` that is true now.
    pub fn outcomes(&self) -> Vec<&'static str> {
        let Some(incident) = self.incident else { return Vec::new() };
        let mut words = Vec::new();
        if let Some(decision) = &incident.decision {
            words.push(decision.outcome.as_str());
            words.push(decision.reason.as_str());
        }
        words.extend(incident.attempts.iter().filter_map(|attempt| attempt.ended.as_ref()).map(|(_, reason)| reason.as_str()));
        if let Some(page) = &incident.page {
            words.push(Outcome::Page.as_str());
            words.push(page.reason.as_str());
        }
        if let Phase::Closed { reason, .. } = &incident.phase {
            words.push(reason.as_str());
        }
        let mut seen = std::collections::BTreeSet::new();
        words.retain(|word| *word != Reason::Rule.as_str() && seen.insert(*word));
        words
    }

    /// Where the incident stands.
    pub fn state(&self) -> Option<&'static str> {
        self.incident.map(|incident| incident.phase.as_str())
    }

    /// The rule that decided.
    pub fn rule(&self) -> Option<&'d str> {
        let decision = self.decision().filter(|decision| decision.reason != Reason::NoRule)?;
        let last = decision.rules.last().filter(|trail| trail.truth != Truth::False)?;
        Some(&last.rule)
    }

    /// The brakes that hold.
    pub fn brakes(&self) -> Vec<Brake> {
        let judged = self.decision().map(|decision| decision.brakes.as_slice()).unwrap_or_default();
        let mut held: Vec<Brake> = judged.iter().filter(|judgement| judgement.holds()).map(|judgement| judgement.brake).collect();
        held.extend(self.decision().and_then(|decision| decision.brake));
        held.extend(self.incident.and_then(|incident| incident.page.as_ref()?.brake));
        held.sort_unstable();
        held.dedup();
        held
    }

    /// Why its target is latched: the target that is named, else the incident's; of any target where there is neither.
    pub fn latches(&self) -> Vec<LatchCause> {
        let target = self.subject.of.as_ref().or_else(|| Some(&self.incident?.target.as_ref()?.at));
        let policy = self.incident.and_then(|incident| self.policies.get(&incident.policy));
        let group = policy.and_then(|policy| policy.brakes.data_latch.on()).map_or(&[][..], |numbers| &numbers.data_group);
        let holding = self.driver.book().latches.values().filter(|latch| latch.holds());
        let about_it = holding.filter(|latch| target.is_none_or(|target| latch.covers(target, group)));
        about_it.map(|latch| latch.wanted.cause).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// What could not be told when the last decision was made.
    pub fn unknown(&self) -> Vec<String> {
        let Some(decision) = self.decision() else { return Vec::new() };
        let conditions = decision.rules.last().map(|trail| trail.conditions.as_slice()).unwrap_or_default();
        let values = conditions.iter().flat_map(|(_, _, values)| values);
        let mut unknown: Vec<String> =
            values.filter_map(|value| value.split_once(" is unknown: ").map(|(path, _)| path.to_owned())).collect();
        unknown.extend(decision.unknown.iter().filter_map(|text| text.split_once(": ").map(|(what, _)| what.to_owned())));
        unknown.sort();
        unknown.dedup();
        unknown
    }

    /// Procedures that did not fit: preflight refused them, or no release is fit for them.
    pub fn unfit(&self) -> Vec<String> {
        let Some(incident) = self.incident else { return Vec::new() };
        let mut unfit: Vec<String> = incident.passed_over.iter().map(|(procedure, _)| procedure.clone()).collect();
        let Some(decision) = &incident.decision else { return unfit };
        let levels = self.levels_of_the_rule();
        let skipped = levels.iter().filter(|level| decision.summary.contains(&format!("`{level}` is unfit (")));
        unfit.extend(skipped.map(|level| (*level).clone()));
        let mut holding = decision.brakes.iter().filter(|judgement| judgement.holds());
        let only_unfit =
            matches!((holding.next(), holding.next()), (Some(judgement), None) if judgement.brake == Brake::FitTarget);
        unfit.extend(levels.last().filter(|_| only_unfit).map(|level| (*level).clone()));
        unfit
    }

    fn levels_of_the_rule(&self) -> Vec<&'d String> {
        let (Some(decision), Some(rule)) = (self.decision(), self.rule()) else { return Vec::new() };
        let policy = self.policies.get(&decision.policy);
        let rule = policy.and_then(|policy| policy.decide.iter().find(|known| known.name == rule));
        match rule.map(|rule| &rule.verdict) {
            Some(VerdictRule::Rollback { levels }) => levels.iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The images of the release that is gone back to.
    pub fn to(&self) -> &'d [String] {
        self.plan().map(|plan| plan.to.images.as_slice()).unwrap_or_default()
    }

    /// The images of the release that is left.
    pub fn from(&self) -> &'d [String] {
        self.plan().map(|plan| plan.from.images.as_slice()).unwrap_or_default()
    }

    /// The steps of the plan, in order.
    pub fn steps(&self) -> Vec<&'static str> {
        self.plan().map(|plan| plan.steps.iter().map(|step| step.name()).collect()).unwrap_or_default()
    }

    /// The procedures that were tried, in order.
    pub fn levels(&self) -> Vec<&'d str> {
        let attempts = self.incident.map(|incident| incident.attempts.as_slice()).unwrap_or_default();
        attempts.iter().map(|attempt| attempt.plan.procedure.as_str()).collect()
    }

    /// The messages that were sent: about the incident that is meant, or all where none is named.
    pub fn messages(&self) -> impl Iterator<Item = &'d Told> {
        let (incident, all) = (self.incident, *self.subject == Subject::default());
        self.driver.told.iter().filter(move |told| all || incident.is_some_and(|meant| told.incidents.contains(&meant.id)))
    }

    /// The writes that were made: of the target, policy or incident that is named, or all.
    pub fn written(&self) -> impl Iterator<Item = &'d Written> {
        let (subject, incident) = (self.subject, self.incident);
        self.driver.written.iter().filter(move |written| {
            subject.of.as_ref().is_none_or(|of| *of == written.target)
                && subject.policy.as_ref().is_none_or(|policy| *policy == written.policy)
                && (subject.incident.is_none() || incident.is_some_and(|meant| meant.id == written.incident))
        })
    }
}

/// The latest incident that the subject names; live before shadow.
fn meant<'d>(driver: &'d Driver, subject: &Subject) -> Option<&'d Incident> {
    let number = |incident: &Incident| driver.transcript.number_of(&incident.id).unwrap_or_default();
    let on = |incident: &Incident, of: &TargetRef| incident.target.as_ref().is_some_and(|target| target.at == *of);
    let named = |incident: &&Incident| {
        subject.of.as_ref().is_none_or(|of| on(incident, of))
            && subject.policy.as_ref().is_none_or(|policy| *policy == incident.policy)
            && subject.incident.is_none_or(|wanted| wanted == number(incident))
    };
    driver.book().incidents.values().filter(named).max_by_key(|incident| (!incident.lane.is_shadow(), number(incident)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::test_file::STATES;

    #[test]
    fn the_states_of_the_language_are_those_of_the_engine() {
        let all: Vec<&str> = Phase::OPEN.into_iter().chain(["closed"]).collect();
        assert_eq!(STATES.to_vec(), all);
    }
}
