//! The words of messages. What is said of an alert is quoted text: channels decide how to escape it.

use super::draft::Draft;
use super::incident::{Incident, Phase};
use super::pages::Cause;
use crate::model::{Message, Moment, Reason, Urgency};

/// `checkout-release: deployment/shop/checkout`, for titles.
pub(super) fn subject(incident: &Incident) -> String {
    match &incident.target {
        Some(target) => format!("{} on {target}", incident.policy),
        None => format!("{} on an unknown target", incident.policy),
    }
}

/// The title of the incident's open page.
pub(super) fn page_title(incident: &Incident) -> String {
    let (reason, brake) = incident.page.as_ref().map_or((Reason::Rule, None), |page| (page.reason, page.brake));
    if let Phase::Approval { .. } = incident.phase {
        return format!("approve? {}", subject(incident));
    }
    let what = match reason {
        Reason::BrakeHeld => {
            return match brake {
                Some(brake) => format!("NOT rolled back, {brake} holds: {}", subject(incident)),
                None => format!("NOT rolled back: {}", subject(incident)),
            };
        }
        Reason::Ineffective => "rolled back, and it did not help",
        Reason::Failed => "rollback FAILED",
        Reason::Unknown => "rolled back, outcome UNKNOWN",
        Reason::Refired => "fires again after a rollback",
        Reason::Vetoed => "vetoed",
        Reason::NotApproved => "nobody approved in time",
        Reason::Superseded => "stood down, somebody deployed",
        Reason::TargetGone => "stood down, the target is gone",
        Reason::Unresolved => "no target found",
        Reason::RuleUnknown => "cannot decide",
        Reason::Preflight => "rollback not possible",
        Reason::Redecided => "stood down",
        Reason::PolicyChanged => "stood down, the policies changed",
        _ => "a human is needed",
    };
    format!("{what}: {}", subject(incident))
}

/// The title of a page of several incidents.
pub(super) fn folded_title(incidents: &[&Incident]) -> String {
    let count = incidents.len();
    match incidents.first().and_then(|first| first.page.as_ref()?.cause) {
        Some(Cause::Brake(brake)) => format!("NOT rolled back, {brake} holds: {count} incidents"),
        Some(Cause::Dependency(dependency)) => format!("cannot decide, {dependency} does not answer: {count} incidents"),
        None => format!("a human is needed: {count} incidents"),
    }
}

/// The text of a page of several incidents: what is said of the first, then each with its target and its policy.
pub(super) fn folded_text(incidents: &[&Incident]) -> String {
    let first = incidents.first().and_then(|first| first.page.as_ref()).map_or("", |page| page.text.as_str());
    let mut lines =
        vec![first.to_owned(), String::new(), "they have the same cause, and this is the page of all of them:".to_owned()];
    lines.extend(incidents.iter().map(|incident| format!("- {} {}", incident.id, subject(incident))));
    lines.push(String::new());
    lines.push("why:     backout report INCIDENT".to_owned());
    lines.join("\n")
}

/// A message of this incident, with an id of its own.
pub(super) fn message(draft: &Draft<'_>, moment: Moment, urgency: Urgency, title: &str, text: &str, to: Vec<String>) -> Message {
    let incident = &draft.incident;
    let number = incident.notes.len() as u64 + incident.next;
    let policy = draft.ctx.policies.get(&incident.policy);
    Message {
        id: format!("{}-{}-{number}", incident.id, moment.as_str()),
        incident: Some(incident.id.clone()),
        folded: Vec::new(),
        moment,
        urgency,
        severity: if incident.critical() { "critical".to_owned() } else { "warning".to_owned() },
        title: title.to_owned(),
        text: format!("{text}\n\n{}", context(draft)),
        target: incident.target.as_ref().map(|target| target.at.clone()),
        policy: Some(incident.policy.clone()),
        to,
        labels: policy.map(|policy| policy.labels.clone()).unwrap_or_default(),
        about: super::about::about(incident),
        at: draft.now,
    }
}

/// What every message ends with: the alerts, the plan and how to answer.
fn context(draft: &Draft<'_>) -> String {
    let incident = &draft.incident;
    let mut lines = vec![format!("incident {} ({})", incident.id, incident.phase.as_str())];
    for member in incident.members.values().take(10) {
        let state = if member.resolved_at.is_some() { "resolved" } else { "firing" };
        lines.push(format!("alert {:?} {state} since {}", member.alert.label("alertname"), member.alert.starts_at));
    }
    if incident.members.len() > 10 {
        lines.push(format!("and {} more", incident.members.len() - 10));
    }
    if let Some(plan) = &incident.plan {
        lines.push(format!("plan {}: {} -> {}", plan.hash(), plan.from.label(), plan.to.label()));
        if incident.attempts.is_empty() {
            lines.push(format!("approve: backout approve {} --plan {}", incident.id, plan.hash()));
            lines.push(format!("veto:    backout veto {} --reason WHY", incident.id));
        }
    }
    let figures = incident.decision.iter().flat_map(|decision| &decision.figures);
    lines.extend(figures.map(|(name, value)| format!("{name}: {value}")));
    lines.extend(draft.links().into_iter().map(|(name, url)| format!("link {name}: {url}")));
    lines.push(format!("why:     backout report {}", incident.id));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::brakes::fixture::{World, minutes};
    use super::*;
    use crate::decide::effect::{Context, Step};
    use crate::decide::members::Members;
    use crate::model::Fingerprint;
    use crate::policy::types::Policies;

    /// A message of the fixture's incident, and another one after a line for the report.
    fn messages(world: &World) -> [Message; 2] {
        let (policies, mut step) = (Policies::default(), Step::default());
        let ctx = Context { policies: &policies, limits: &world.limits, cluster: None };
        let (book, now, incident) = (&world.book, world.now, world.incident.clone());
        let mut draft = Draft { ctx: &ctx, book, now, incident, step: &mut step };
        [(); 2].map(|()| {
            draft.note("something happened");
            message(&draft, Moment::Paged, Urgency::Page, "a title", "a text", Vec::new())
        })
    }

    #[test]
    fn a_message_ends_with_its_incident_its_alerts_the_plan_and_how_to_answer() {
        let mut world = World::new();
        world.plan();
        let hash = world.incident.plan.as_ref().expect("planned").hash();
        let started = world.now - minutes(9);
        let [message, _] = messages(&world);
        let lines = [
            "a text".to_owned(),
            String::new(),
            "incident i1 (deciding)".to_owned(),
            format!("alert \"HighErrors\" firing since {started}"),
            format!("plan {hash}: web:b -> web:a"),
            format!("approve: backout approve i1 --plan {hash}"),
            "veto:    backout veto i1 --reason WHY".to_owned(),
            "why:     backout report i1".to_owned(),
        ];
        assert_eq!(message.text, lines.join("\n"));
    }

    #[test]
    fn ten_alerts_are_named_and_the_others_counted() {
        let mut world = World::new();
        let first = world.incident.members.values().next().expect("the fixture has one").clone();
        for (count, more) in [(9, None), (10, None), (11, Some("and 1 more")), (12, Some("and 2 more"))] {
            let numbered = |number| {
                let mut member = first.clone();
                member.alert.fingerprint = Fingerprint(number);
                member
            };
            world.incident.members = (0..count).map(numbered).collect::<Members>();
            let [message, _] = messages(&world);
            assert_eq!(message.text.lines().filter(|line| line.starts_with("alert ")).count(), (count as usize).min(10));
            assert_eq!(message.text.lines().find(|line| line.starts_with("and ")), more, "{count}");
        }
    }

    #[test]
    fn each_message_of_an_incident_has_an_id_of_its_own() {
        let [first, second] = messages(&World::new());
        assert_ne!(first.id, second.id, "a channel leaves out what it has");
    }
}
