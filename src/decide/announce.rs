//! Announcements as policies and procedures write them: who is told at which moments, in whose words. They come beside what is said
//! anyway, and a message that cannot be filled in is sent in our own words: never is one lost for a template.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::draft::Draft;
use super::incident::Phase;
use super::request::about_alert;
use super::scope::IncidentScope;
use super::tell;
use crate::model::{Moment, Time, Urgency};
use crate::policy::expr::{Path, Scope as _, Value as Known};
use crate::policy::types::{Announcement, FactSpec, MessageWords};

impl Draft<'_> {
    /// Tells whoever the policy and the plan's procedure name for this moment.
    pub(super) fn announce_as_written(&mut self, moment: Moment, title: &str, text: &str) {
        let policy = self.ctx.policies.get(&self.incident.policy);
        let plan = self.incident.plan.as_ref();
        let procedure = plan.and_then(|plan| self.ctx.policies.procedures.get(&plan.procedure));
        let written = policy.map(|policy| &policy.announce).into_iter().chain(procedure.map(|procedure| &procedure.announce));
        let due: Vec<&Announcement> = written.flatten().filter(|announcement| announcement.at.contains(&moment)).collect();
        for (place, announcement) in due.into_iter().enumerate() {
            let words = announcement.message.as_ref().and_then(|name| self.ctx.policies.messages.get(name));
            let (title, text) = match words {
                Some(words) => self.filled(words, title, text),
                None => (title.to_owned(), text.to_owned()),
            };
            let mut message = tell::message(self, moment, Urgency::Announce, &title, &text, announcement.to.clone());
            // The same moment is told in other words to others: each of them is a message of its own.
            message.id = format!("{}-{place}", message.id);
            self.tell(message, &text);
        }
    }

    fn filled(&self, words: &MessageWords, title: &str, text: &str) -> (String, String) {
        let scope = self.words(text);
        let filled = |template: &crate::policy::template::Template| template.render(&scope).ok();
        // A title is one line, whatever stood in a label.
        let line = filled(&words.title).map(|title| title.split(char::is_control).collect::<Vec<_>>().join(" "));
        let body = words.text.as_ref().and_then(filled);
        // What only would have been done must not read as if it were.
        let shadow = if self.incident.lane.is_shadow() { "(shadow) " } else { "" };
        let title = line.map_or_else(|| title.to_owned(), |line| format!("{shadow}{line}"));
        (title, body.unwrap_or_else(|| text.to_owned()))
    }

    /// What the words of a message may name. What is not known is left out.
    fn words(&self, text: &str) -> Value {
        let incident = &self.incident;
        let mut scope = about_alert(incident, self.ctx.cluster);
        let Value::Object(words) = &mut scope else { return scope };
        let lead = incident.lead().map(|lead| lead.alert.label("alertname"));
        words.insert(
            "incident".to_owned(),
            json!({
                "id": incident.id.as_str(),
                "status": incident.phase.as_str(),
                "lead": lead,
                "started_at": incident.onset().ok().unwrap_or(incident.opened_at).to_string(),
            }),
        );
        words.insert("now".to_owned(), self.now.to_string().into());
        words.insert("facts".to_owned(), Value::Object(self.known_facts()));
        words.insert("links".to_owned(), self.links().into_iter().map(|(name, url)| (name, Value::from(url))).collect());
        if let Some(policy) = self.ctx.policies.get(&incident.policy) {
            let place = format!("{}:{}", policy.place.file, policy.place.line);
            words.insert("policy".to_owned(), json!({ "name": policy.name, "owner": policy.owner, "place": place }));
        }
        let figures = incident.decision.iter().flat_map(|decision| &decision.figures);
        words.insert("figures".to_owned(), figures.map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect());
        let mut report = Map::from_iter([("text".to_owned(), Value::from(text))]);
        if let Some(decision) = &incident.decision {
            report.insert("outcome".to_owned(), decision.outcome.as_str().into());
            report.insert("reason".to_owned(), decision.reason.to_string().into());
            report.insert("summary".to_owned(), decision.summary.as_str().into());
        }
        words.insert("report".to_owned(), Value::Object(report));
        if let Some(plan) = &incident.plan {
            let mut about = Map::from_iter([
                ("procedure".to_owned(), Value::from(plan.procedure.as_str())),
                ("hash".to_owned(), plan.hash().to_string().into()),
                ("from".to_owned(), plan.from.label().into()),
                ("to".to_owned(), plan.to.label().into()),
                ("progress".to_owned(), incident.phase.as_str().into()),
            ]);
            if let Some(until) = deadline(&incident.phase) {
                about.insert("deadline".to_owned(), until.to_string().into());
                about.insert("remaining".to_owned(), crate::policy::duration::format(until.since(self.now)).into());
            }
            words.insert("plan".to_owned(), Value::Object(about));
        }
        scope
    }

    /// The policy's facts, as far as the last decision saw them.
    fn known_facts(&self) -> Map<String, Value> {
        let policy = self.ctx.policies.get(&self.incident.policy);
        let Some((policy, decision)) = policy.zip(self.incident.decision.as_ref()) else { return Map::new() };
        let scope = IncidentScope {
            book: self.book,
            incident: &self.incident,
            observation: &decision.observation,
            cluster: self.ctx.cluster,
            readings: &|name| policy.facts.get(name).map(FactSpec::reading),
            intervals: &self.ctx.policies.intervals,
            now: self.now,
        };
        let known = |name: &String| {
            let value = match scope.value(&Path::Fact(name.clone())).ok()? {
                Known::Double(number) => json!(number),
                Known::Bool(truth) => truth.into(),
                Known::Duration(time) => time.as_secs_f64().into(),
                Known::Text(text) => text.into(),
                other => other.to_string().into(),
            };
            Some((name.clone(), value))
        };
        policy.facts.keys().filter_map(known).collect()
    }

    /// The policy's links, filled in; those that cannot be are left out.
    pub(super) fn links(&self) -> BTreeMap<String, String> {
        let Some(policy) = self.ctx.policies.get(&self.incident.policy) else { return BTreeMap::new() };
        if policy.links.is_empty() {
            return BTreeMap::new();
        }
        let scope = about_alert(&self.incident, self.ctx.cluster);
        policy.links.iter().filter_map(|(name, url)| Some((name.clone(), url.render_url(&scope).ok()?))).collect()
    }
}

/// Until when the plan waits.
fn deadline(phase: &Phase) -> Option<Time> {
    match phase {
        Phase::Countdown { until } => *until,
        Phase::Approval { until } => Some(*until),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::brakes::fixture::{World, minutes};
    use crate::decide::draft::Draft;
    use crate::decide::effect::{Context, Step};
    use crate::decide::incident::Phase;
    use crate::policy::types::Policies;

    #[test]
    fn words_may_name_until_when_a_plan_waits() {
        let mut world = World::new();
        world.plan();
        let (now, until) = (world.now, world.now + minutes(5));
        for (phase, waits) in [
            (Phase::Countdown { until: Some(until) }, true),
            (Phase::Countdown { until: None }, false),
            (Phase::Approval { until }, true),
            (Phase::Preparing { since: now }, false),
        ] {
            let (policies, mut step) = (Policies::default(), Step::default());
            let ctx = Context { policies: &policies, limits: &world.limits, cluster: None };
            world.incident.phase = phase.clone();
            let draft = Draft { ctx: &ctx, book: &world.book, now, incident: world.incident.clone(), step: &mut step };
            let words = draft.words("a text");
            let (deadline, remaining) = (words["plan"]["deadline"].as_str(), words["plan"]["remaining"].as_str());
            let said = until.to_string();
            assert_eq!((deadline, remaining), if waits { (Some(said.as_str()), Some("5m")) } else { (None, None) }, "{phase:?}");
        }
    }
}
