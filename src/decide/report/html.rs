//! The report as one page that needs nothing else: no script, no font, no picture, and its own policy forbids them. Text from
//! outside is escaped by the template engine, by the file's name; nothing is marked as safe.

use std::borrow::Cow;
use std::time::Duration;

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value, escape_formatter};
use serde::Serialize;

use super::Figures;
use crate::decide::decision::{Decision, Grip, Judgement, RuleTrail, Truth};
use crate::decide::incident::{Attempt, Incident, Member, Phase};
use crate::model::{Evidence, Plan, PostedChange, Reason, Time, shown};
use crate::policy::duration;

/// Ends in `.html`: that is what switches escaping on.
const NAME: &str = "report.html";
const TEMPLATE: &str = include_str!("report.html");

/// Writes the page; `changes` are those that were posted about its target.
///
/// # Errors
/// A defect in the template.
pub fn page(incident: &Incident, changes: &[&PostedChange]) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    // What would hide in the page is marked before it is escaped.
    environment.set_formatter(|out, state, value| match value.as_str().map(shown) {
        Some(Cow::Owned(text)) => escape_formatter(out, state, &Value::from(text)),
        _ => escape_formatter(out, state, value),
    });
    environment.add_template(NAME, TEMPLATE)?;
    environment.get_template(NAME)?.render(Value::from(Serde(Page::of(incident, changes))))
}

#[derive(Serialize)]
struct Page<'a> {
    id: &'a str,
    lane: String,
    policy: &'a str,
    target: String,
    state: String,
    state_tone: &'static str,
    opened_at: String,
    closed: Option<String>,
    acknowledged: Option<&'a str>,
    vetoed: Option<String>,
    decision: Option<Verdict<'a>>,
    page: Option<Paged<'a>>,
    figures: Vec<FigureRow>,
    alerts: Vec<AlertRow<'a>>,
    forgotten_alerts: u64,
    marked: Option<String>,
    changes: Vec<ChangeRow<'a>>,
    plan: Option<PlanRows>,
    attempts: Vec<AttemptRow<'a>>,
    notes: Vec<NoteRow<'a>>,
    evidence: Option<&'a Evidence>,
}

#[derive(Serialize)]
struct Verdict<'a> {
    outcome: &'static str,
    reason: &'static str,
    brake: Option<&'static str>,
    summary: &'a str,
    at: String,
    place: &'a str,
    policies: &'a str,
    commit: Option<&'a str>,
    rules: Vec<RuleRow<'a>>,
    brakes: Vec<BrakeRow<'a>>,
}

#[derive(Serialize)]
struct RuleRow<'a> {
    name: &'a str,
    place: &'a str,
    matchers: bool,
    truth: &'static str,
    tone: &'static str,
    why: Option<&'a str>,
    conditions: Vec<ConditionRow<'a>>,
}

#[derive(Serialize)]
struct ConditionRow<'a> {
    source: &'a str,
    truth: &'static str,
    tone: &'static str,
    read: &'a [String],
}

#[derive(Serialize)]
struct BrakeRow<'a> {
    name: &'static str,
    grip: &'static str,
    tone: &'static str,
    because: &'a str,
}

#[derive(Serialize)]
struct Paged<'a> {
    reason: &'static str,
    count: u32,
    text: Option<&'a str>,
}

#[derive(Serialize)]
struct FigureRow {
    name: &'static str,
    value: String,
}

#[derive(Serialize)]
struct AlertRow<'a> {
    name: &'a str,
    labels: String,
    since: String,
    onset: String,
    onset_class: &'static str,
    state: String,
}

#[derive(Serialize)]
struct ChangeRow<'a> {
    at: String,
    what: String,
    by: &'a str,
    barrier: bool,
}

#[derive(Serialize)]
struct PlanRows {
    hash: String,
    from: String,
    from_digest: String,
    to: String,
    to_digest: String,
    procedure: String,
    mode: &'static str,
    countdown: String,
}

#[derive(Serialize)]
struct AttemptRow<'a> {
    at: String,
    ended: &'static str,
    tone: &'static str,
    checks: Vec<(&'a str, &'a str)>,
}

#[derive(Serialize)]
struct NoteRow<'a> {
    at: String,
    text: &'a str,
}

impl<'a> Page<'a> {
    fn of(incident: &'a Incident, changes: &[&'a PostedChange]) -> Self {
        let closed = match &incident.phase {
            Phase::Closed { at, .. } => Some(when(*at)),
            _ => None,
        };
        Self {
            id: incident.id.as_str(),
            lane: incident.lane.key(),
            policy: &incident.policy,
            target: incident.target.as_ref().map_or_else(|| "no target".to_owned(), ToString::to_string),
            state: match &incident.phase {
                Phase::Closed { reason, .. } => format!("closed: {reason}"),
                phase => phase.as_str().replace('_', " "),
            },
            state_tone: tone_of(incident),
            opened_at: when(incident.opened_at),
            closed,
            acknowledged: incident.acknowledged.as_ref().map(|(_, by)| by.as_str()),
            vetoed: incident.vetoed.as_ref().map(|(_, by, why)| format!("{by}: {why}")),
            decision: incident.decision.as_deref().map(verdict),
            page: incident.page.as_ref().map(|page| {
                // What the verdict said already is not said again.
                let news = incident.decision.as_ref().is_none_or(|decision| decision.summary != page.text);
                Paged { reason: page.reason.as_str(), count: page.count, text: news.then_some(page.text.as_str()) }
            }),
            figures: figures(incident),
            alerts: incident.members.values().map(alert).collect(),
            forgotten_alerts: incident.forgotten_alerts,
            marked: incident.marked.as_ref().map(|marked| format!("{} by {}: {}", marked.mark.as_str(), marked.by, marked.why)),
            changes: changes.iter().map(|change| posted(change)).collect(),
            plan: incident.plan.as_deref().map(plan),
            attempts: incident.attempts.iter().map(attempt).collect(),
            notes: incident.notes.iter().map(|note| NoteRow { at: when(note.at), text: &note.text }).collect(),
            evidence: incident.evidence.as_deref(),
        }
    }
}

fn tone_of(incident: &Incident) -> &'static str {
    match &incident.phase {
        Phase::Paged => "bad",
        Phase::Verified | Phase::Closed { reason: Reason::Verified | Reason::Recovered, .. } => "good",
        Phase::Closed { .. } | Phase::Shadowed => "dim",
        Phase::FixForward => "look",
        _ => "go",
    }
}

fn verdict(decision: &Decision) -> Verdict<'_> {
    Verdict {
        outcome: decision.outcome.as_str(),
        reason: decision.reason.as_str(),
        brake: decision.brake.map(crate::model::Brake::as_str),
        summary: &decision.summary,
        at: when(decision.at),
        place: &decision.place,
        policies: decision.policies.get(..12).unwrap_or(&decision.policies),
        commit: decision.commit.as_deref(),
        rules: decision.rules.iter().map(rule).collect(),
        brakes: decision.brakes.iter().map(brake).collect(),
    }
}

fn rule(trail: &RuleTrail) -> RuleRow<'_> {
    let (truth_word, tone, why) = truth(&trail.truth);
    let conditions = trail.conditions.iter().map(|(source, outcome, read)| {
        let (truth, tone, _) = truth(outcome);
        ConditionRow { source, truth, tone, read }
    });
    RuleRow {
        name: &trail.rule,
        place: &trail.place,
        matchers: trail.matchers,
        truth: truth_word,
        tone,
        why,
        conditions: conditions.collect(),
    }
}

fn truth(truth: &Truth) -> (&'static str, &'static str, Option<&str>) {
    match truth {
        Truth::True => ("true", "good", None),
        Truth::False => ("false", "dim", None),
        Truth::Unknown(why) => ("unknown", "look", Some(why)),
    }
}

fn brake(judgement: &Judgement) -> BrakeRow<'_> {
    let (grip, tone) = match &judgement.grip {
        Grip::Free => ("lets go", "good"),
        Grip::Held => ("holds", "bad"),
        Grip::Blind => ("is blind, holds", "bad"),
        Grip::Off(_) => ("off", "look"),
        Grip::Overridden => ("overridden", "look"),
    };
    BrakeRow { name: judgement.brake.as_str(), grip, tone, because: &judgement.because }
}

fn figures(incident: &Incident) -> Vec<FigureRow> {
    let figures = Figures::of(incident);
    let rows = [
        ("to detect", figures.detect),
        ("to decide", figures.decide),
        ("to start", figures.start),
        ("to roll back", figures.roll_back),
        ("to verify", figures.verify),
        ("downtime", figures.downtime),
    ];
    rows.into_iter().map(|(name, value)| FigureRow { name, value: value.map_or_else(|| "–".to_owned(), span) }).collect()
}

fn alert(member: &Member) -> AlertRow<'_> {
    let labels = member.alert.labels.iter().filter(|(name, _)| *name != "alertname");
    AlertRow {
        name: member.alert.label("alertname"),
        labels: labels.map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(" "),
        since: when(member.alert.starts_at),
        onset: member.onset.at.as_ref().map_or_else(|why| format!("unknown: {}", why.detail), |at| when(*at)),
        onset_class: if member.onset.at.is_ok() { "fast" } else { "" },
        state: member.resolved_at.map_or_else(|| "firing".to_owned(), |at| format!("resolved {}", when(at))),
    }
}

fn posted(change: &PostedChange) -> ChangeRow<'_> {
    let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "?".to_owned());
    ChangeRow {
        at: when(change.at),
        what: format!("{}: {} -> {}", change.kind.as_str(), side(&change.from), side(&change.to)),
        by: &change.by,
        barrier: change.barrier,
    }
}

fn plan(plan: &Plan) -> PlanRows {
    PlanRows {
        hash: plan.hash().to_string(),
        from: plan.from.label(),
        from_digest: plan.from.digest.short().to_owned(),
        to: plan.to.label(),
        to_digest: plan.to.digest.short().to_owned(),
        procedure: plan.procedure.clone(),
        mode: plan.mode.as_str(),
        countdown: duration::format(plan.countdown),
    }
}

fn attempt(attempt: &Attempt) -> AttemptRow<'_> {
    let (ended, tone) = match attempt.ended {
        None => ("under way", "go"),
        Some((_, Reason::Verified)) => (Reason::Verified.as_str(), "good"),
        Some((_, reason)) => (reason.as_str(), "bad"),
    };
    let checks = attempt.checks.iter().map(|(name, words)| (name.as_str(), words.as_str()));
    AttemptRow { at: when(attempt.intended_at), ended, tone, checks: checks.collect() }
}

/// `2026-03-01 09:00:00Z`: nobody reads milliseconds.
fn when(at: Time) -> String {
    let text = at.to_string();
    text.get(..19).map_or(text.clone(), |seconds| format!("{}Z", seconds.replace('T', " ")))
}

/// Tenths of a second matter up to a minute, and nobody reads more.
fn span(span: Duration) -> String {
    match span.as_secs() {
        0..60 => format!("{:.1}s", span.as_secs_f64()),
        seconds => duration::format(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::example;
    use super::*;

    /// The same, with hostile text wherever text comes from outside.
    fn incident() -> Incident {
        let mut incident = example();
        let evil = "<script>alert('x')</script>\"'&<i>";
        incident.members.change_all(|member| {
            member.alert.labels.insert("alertname", evil);
            member.alert.labels.insert("evil", evil);
        });
        incident.policy = evil.to_owned();
        incident.vetoed = Some((incident.opened_at, evil.to_owned(), evil.to_owned()));
        incident.notes.push_back_mut(crate::decide::incident::Note { at: incident.opened_at, text: evil.to_owned() });
        let evidence = Evidence { sections: [(evil.to_owned(), evil.to_owned())].into(), missing: vec![evil.to_owned()] };
        incident.evidence = Some(Arc::new(evidence));
        if let Some(decision) = incident.decision.as_mut().map(Arc::make_mut) {
            decision.summary = evil.to_owned();
            decision.rules.iter_mut().for_each(|rule| rule.rule = evil.to_owned());
            decision.brakes.iter_mut().for_each(|brake| brake.because = evil.to_owned());
        }
        incident
    }

    #[test]
    fn text_from_outside_stays_text() {
        let page = page(&incident(), &[]).expect("a page");
        assert!(!page.contains("<script") && !page.contains("<i>"), "{page}");
        assert!(page.matches("&lt;script&gt;").count() >= 10, "it is shown, though");
        assert!(page.contains("default-src 'none'"));
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "the page needs `{outside}`");
        }
    }

    #[test]
    fn everything_that_the_report_has_is_on_the_page() {
        let incident = example();
        let page = page(&incident, &[]).expect("a page");
        let hash = incident.plan.as_ref().expect("a plan").hash().to_string();
        for wanted in
            [incident.id.as_str(), "closed: verified", "recent_change", "lets go", &hash, "to roll back", "What happened"]
        {
            assert!(page.contains(wanted), "no {wanted:?}");
        }
    }

    #[test]
    fn each_state_has_its_colour_and_only_what_is_over_has_an_end() {
        let mut incident = example();
        let at = incident.opened_at;
        let closed = |reason| Phase::Closed { at, reason };
        for (phase, tone, state, over) in [
            (Phase::Paged, "bad", "paged", false),
            (Phase::Verified, "good", "verified", false),
            (closed(Reason::Verified), "good", "closed: verified", true),
            (closed(Reason::Recovered), "good", "closed: recovered", true),
            (closed(Reason::Vetoed), "dim", "closed: vetoed", true),
            (Phase::Shadowed, "dim", "shadowed", false),
            (Phase::FixForward, "look", "fix forward", false),
            (Phase::Deciding { since: at }, "go", "deciding", false),
        ] {
            incident.phase = phase;
            let page = Page::of(&incident, &[]);
            assert_eq!((page.state_tone, page.state.as_str(), page.closed.is_some()), (tone, state, over));
        }
    }

    #[test]
    fn what_was_decided_is_told_in_words_and_colours() {
        let unknown = Truth::Unknown("no answer".to_owned());
        assert_eq!(truth(&Truth::True), ("true", "good", None));
        assert_eq!(truth(&Truth::False), ("false", "dim", None));
        assert_eq!(truth(&unknown), ("unknown", "look", Some("no answer")));
    }

    #[test]
    fn a_page_that_was_sent_says_only_what_the_verdict_did_not() {
        let mut incident = example();
        let summary = incident.decision.as_ref().expect("a decision").summary.clone();
        let mut said = |text: &str| {
            let page = serde_json::json!({"reason": "rule_unknown", "text": text, "sent_at": 0, "count": 1});
            incident.page = Some(serde_json::from_value(page).expect("a page"));
            Page::of(&incident, &[]).page.expect("a page").text.map(str::to_owned)
        };
        assert_eq!(said(&summary), None);
        assert_eq!(said("and more").as_deref(), Some("and more"));
    }

    #[test]
    fn times_are_told_to_the_second_and_labels_without_the_name() {
        let incident = example();
        assert_eq!(when(Time::from_millis(1_767_225_600_123)), "2026-01-01 00:00:00Z");
        assert_eq!(span(Duration::from_millis(59_940)), "59.9s");
        assert_eq!(span(Duration::from_millis(60_900)), "1m");
        let member = incident.members.values().next().expect("an alert");
        let row = alert(member);
        assert_eq!(row.name, member.alert.label("alertname"));
        assert!(row.labels.contains("namespace=\"") && !row.labels.contains("alertname="), "{}", row.labels);
    }

    #[test]
    fn what_hides_is_marked_on_the_page() {
        let mut incident = example();
        incident.policy = "roll\u{202e}back".to_owned();
        let page = page(&incident, &[]).expect("a page");
        assert!(!page.contains('\u{202e}') && page.contains("roll\u{fffd}back"), "what is written backwards is seen");
    }
}
