//! What a story looked like: one line a thing, with virtual times. Golden files are made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::decide::book::Book;
use crate::decide::effect::{Heard, Input};
use crate::decide::incident::{Incident, Phase};
use crate::decide::transition::Event;
use crate::model::{AlertStatus, Delivery, IncidentId, Message, Operation, Outcome, TargetId, Time};

/// The lines of a story.
#[derive(Clone, Debug)]
pub struct Transcript {
    zero: Time,
    /// What lies before it is left out.
    begin: Time,
    muted: bool,
    lines: Vec<(Time, String)>,
    /// The last line.
    end: String,
    numbers: BTreeMap<IncidentId, usize>,
    /// Incidents of which the last thing said was that they are quiet.
    quiet: BTreeSet<IncidentId>,
}

impl Transcript {
    /// Times count from `zero`; what lies before it is left out.
    pub fn new(zero: Time) -> Self {
        Self {
            zero,
            begin: zero,
            muted: false,
            lines: Vec::new(),
            end: String::new(),
            numbers: BTreeMap::new(),
            quiet: BTreeSet::new(),
        }
    }

    /// Nothing is written down any more; incidents are numbered all the same.
    pub fn mute(&mut self) {
        self.muted = true;
    }

    /// What lies before `zero` is written down, too, from then on.
    pub fn begin(&mut self, begin: Time) {
        self.begin = begin.min(self.zero);
    }

    /// All lines so far, each with its time.
    pub fn lines(&self) -> &[(Time, String)] {
        &self.lines
    }

    /// How long after `zero` that is, as it stands before a line.
    pub fn clock(&self, at: Time) -> String {
        let millis = at.millis() - self.zero.millis();
        let sign = if millis < 0 { "-" } else { "" };
        let (seconds, rest) = (millis.abs() / 1000, millis.abs() % 1000);
        format!("{sign}{:02}:{:02}:{:02}.{rest:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }

    /// The number of an incident in the story; 1 is the first.
    pub fn number_of(&self, id: &IncidentId) -> Option<usize> {
        self.numbers.get(id).copied()
    }

    /// All lines so far.
    pub fn text(&self) -> String {
        let line = |(at, text): &(Time, String)| format!("{}  {}\n", self.clock(*at), text.replace('\n', "\n               "));
        self.lines.iter().map(line).chain([self.end.clone()]).collect()
    }

    /// The incident that was opened as the nth; 1 is the first.
    pub fn incident(&self, number: usize) -> Option<IncidentId> {
        self.numbers.iter().find(|(_, known)| **known == number).map(|(id, _)| id.clone())
    }

    fn line(&mut self, at: Time, text: &str) {
        if at < self.begin || self.muted {
            return;
        }
        let mut text = text.to_owned();
        for (id, number) in &self.numbers {
            text = text.replace(id.as_str(), &format!("#{number}"));
        }
        self.lines.push((at, text));
    }

    fn number(&mut self, id: &IncidentId) -> usize {
        let next = self.numbers.len() + 1;
        *self.numbers.entry(id.clone()).or_insert(next)
    }

    pub(super) fn world(&mut self, at: Time, text: &str) {
        self.line(at, &format!("-- {text}"));
    }

    pub(super) fn heard(&mut self, at: Time, status: AlertStatus, heard: Heard) {
        if !matches!(heard, Heard::News) {
            self.line(at, &format!("-- heard {status:?}: {heard:?}"));
        }
    }

    pub(super) fn input(&mut self, at: Time, input: &Input) {
        let Input::Operation(order) = input else { return };
        let text = match &order.operation {
            Operation::Veto { by, reason, .. } => format!("{by} vetoes: {reason}"),
            Operation::Approve { by, overrides, .. } if overrides.is_empty() => format!("{by} approves"),
            Operation::Approve { by, overrides, .. } => format!("{by} approves, overriding {}", overrides.join(", ")),
            Operation::Acknowledge { by, .. } => format!("{by} acknowledges"),
            Operation::Pause { by, reason, .. } => format!("{by} pauses: {reason}"),
            Operation::Resume { by, pause } => format!("{by} ends pause {pause}"),
            Operation::Mark { by, mark, reason, .. } => format!("{by} marks it {}: {reason}", mark.as_str()),
            Operation::Rearm { by, policy, reason } => format!("{by} arms policy `{policy}` again: {reason}"),
            Operation::Clear { by, latch, reason } => format!("{by} clears latch {latch}: {reason}"),
            Operation::LogLevel { by, level } => format!("{by} logs {level}"),
            Operation::Change { change } => format!("posted: {}", change.words()),
        };
        self.line(at, &format!("-- {text}"));
    }

    /// An incident's event, after it was folded; by the world's clock, and by the service's own.
    pub(super) fn event(&mut self, (at, clock): (Time, Time), id: &IncidentId, event: &Event, book: &Book) {
        let number = self.number(id);
        if self.muted {
            return;
        }
        let text = match event {
            Event::Opened { incident } => opened(incident),
            Event::Phase { to } => phase(to, clock),
            Event::Decided { decision } => {
                let why = match (decision.outcome, decision.brake) {
                    (Outcome::Page, Some(brake)) => format!(" ({}, {brake})", decision.reason),
                    (Outcome::Page, None) => format!(" ({})", decision.reason),
                    _ => String::new(),
                };
                format!("decided {}{why}: {}", decision.outcome.as_str(), decision.summary)
            }
            Event::Intended => {
                let attempts = book.incidents.get(id).map_or(0, |incident| incident.attempts.len());
                format!("intended: attempt {attempts}")
            }
            Event::Applied { applied } => format!("applied: {applied:?}"),
            Event::AttemptEnded { reason } => format!("attempt ended: {reason}"),
            Event::Checked { checks, .. } => {
                let checks: Vec<String> = checks.iter().map(|(name, said)| format!("{name}: {said}")).collect();
                format!("checked {}", checks.join("; "))
            }
            Event::Paged { reason, .. } => format!("paged: {reason}"),
            Event::Joined { member } if member.resolved_at.is_none() => {
                let members = book.incidents.get(id).map_or(0, |incident| incident.members.len());
                format!("alert {:?} is one of {members}", member.alert.label("alertname"))
            }
            Event::Prepared { report, .. } => match report.problem() {
                None => "preflight found nothing in the way".to_owned(),
                Some(found) => format!("preflight: {}: {}", found.check, found.problem.clone().unwrap_or_default()),
            },
            Event::Quiet { quiet: true } if self.quiet.insert(id.clone()) => "is quiet, confirmed".to_owned(),
            Event::Quiet { quiet: false } if self.quiet.remove(id) => "is not quiet any more".to_owned(),
            Event::Policy { name, .. } => format!("policy `{name}` decides now"),
            Event::Noted { text } if !repeats(text) => format!("note: {text}"),
            _ => return,
        };
        self.line(at, &format!("#{number} {text}"));
    }

    pub(super) fn message(&mut self, at: Time, message: &Message, delivery: &Delivery) {
        if self.muted {
            return;
        }
        let number = message.incident.as_ref().map_or(0, |id| self.number(id));
        let mut by = delivery.delivered.join(", ");
        for (channel, why) in &delivery.failed {
            let _ = write!(by, " (not {channel}: {why})");
        }
        let first = message.text.lines().next().unwrap_or_default();
        let urgency = format!("{:?}", message.urgency).to_uppercase();
        let text = format!("#{number} {urgency} {} to {by}: {} | {first}", message.moment.as_str(), message.title);
        self.line(at, &text);
    }

    pub(super) fn page_closed(&mut self, at: Time, incident: &IncidentId, open: bool) {
        let number = self.number(incident);
        self.line(at, &format!("#{number} {}", if open { "the page is closed" } else { "no page was open" }));
    }

    pub(super) fn kube_event(&mut self, at: Time, incident: &IncidentId, target: &TargetId, reason: &str, note: &str) {
        let number = self.number(incident);
        self.line(at, &format!("#{number} event {reason} on {target}: {note}"));
    }

    pub(super) fn end(&mut self, writes: usize) {
        self.end = format!("writes by backout: {writes}\n");
    }
}

fn opened(incident: &Incident) -> String {
    let target = match (&incident.target, &incident.unresolved) {
        (Some(target), _) => target.to_string(),
        (None, why) => format!("no target ({})", why.as_deref().unwrap_or("?")),
    };
    let lane = if incident.lane.is_shadow() { ", in shadow" } else { "" };
    format!(
        "opened by {:?}: {target}, policy `{}`{lane}",
        incident.lead().map(|m| m.alert.label("alertname")).unwrap_or(""),
        incident.policy
    )
}

fn phase(phase: &Phase, now: Time) -> String {
    let left = |until: Time| format!("for {} s", until.since(now).as_secs_f64());
    match phase {
        Phase::Settling { until } | Phase::Approval { until } | Phase::Countdown { until: Some(until) } => {
            format!("=> {} {}", phase.as_str(), left(*until))
        }
        Phase::Countdown { until: None } => "=> countdown, suspended".to_owned(),
        Phase::Executing { doubtful: true, .. } => "=> executing, doubtful".to_owned(),
        Phase::Closed { reason, .. } => format!("=> closed: {reason}"),
        _ => format!("=> {}", phase.as_str()),
    }
}

/// Notes that say what another line says already.
fn repeats(text: &str) -> bool {
    ["opened", "decided rollback", "decided page", "decided fix_forward", "message "].iter().any(|start| text.starts_with(start))
}
