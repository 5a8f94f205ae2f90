//! The ledger as one page that needs nothing else: no script, no font, no picture, and its own policy forbids them. Text from
//! outside is escaped by the template engine, by the file's name; nothing is marked as safe.

use std::borrow::Cow;

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value, escape_formatter};
use serde::Serialize;

use super::compare::Difference;
use super::history::History;
use super::ledger::{Brake, Entry, Ledger, Verdict};
use crate::model::{Labels, Time, shown};
use crate::policy::duration;

/// Ends in `.html`: that is what switches escaping on.
const NAME: &str = "backtest.html";
const TEMPLATE: &str = include_str!("page.html");

/// Writes the page. `assumed`: what was taken for granted, because no history tells it.
///
/// # Errors
/// A defect in the template.
pub fn page(
    history: &History,
    ledger: &Ledger,
    source: &str,
    assumed: &[String],
    compared: Option<(&str, &[Difference])>,
) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    // What would hide in the page is marked before it is escaped.
    environment.set_formatter(|out, state, value| match value.as_str().map(shown) {
        Some(Cow::Owned(text)) => escape_formatter(out, state, &Value::from(text)),
        _ => escape_formatter(out, state, value),
    });
    environment.add_template(NAME, TEMPLATE)?;
    let totals = ledger.totals();
    let count =
        |verdict: &Verdict| Count { words: verdict.words(), tone: tone(*verdict), count: totals.verdicts[verdict.as_str()] };
    let page = Page {
        source,
        from: clock(history.from),
        to: clock(history.to),
        step: sampled(history),
        incidents: totals.incidents,
        counts: Verdict::ALL.iter().map(count).filter(|count| count.count > 0).collect(),
        brakes: totals.brakes.iter().map(|(name, count)| (name.as_str(), *count)).collect(),
        ahead: duration::format(std::time::Duration::from_secs(totals.seconds_ahead)),
        people_went_back: totals.people_went_back,
        missing: &history.missing,
        assumed,
        compared: compared
            .map(|(revision, differences)| Compared { revision, differences: differences.iter().map(changed).collect() }),
        entries: ledger.entries.iter().map(row).collect(),
    };
    environment.get_template(NAME)?.render(Value::from(Serde(page)))
}

#[derive(Serialize)]
struct Page<'a> {
    source: &'a str,
    from: String,
    to: String,
    step: String,
    incidents: usize,
    counts: Vec<Count>,
    brakes: Vec<(&'a str, usize)>,
    ahead: String,
    people_went_back: usize,
    missing: &'a [String],
    assumed: &'a [String],
    compared: Option<Compared<'a>>,
    entries: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Count {
    words: &'static str,
    tone: &'static str,
    count: usize,
}

#[derive(Serialize)]
struct Compared<'a> {
    revision: &'a str,
    differences: Vec<Changed<'a>>,
}

#[derive(Serialize)]
struct Changed<'a> {
    at: String,
    target: &'a str,
    alert: &'a str,
    before: &'a [String],
    now: &'a [String],
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    opened: String,
    target: &'a str,
    alert: &'a str,
    policy: &'a str,
    shadow: bool,
    verdict: &'static str,
    tone: &'static str,
    rule: Option<&'a str>,
    why: &'a str,
    from: Option<&'a str>,
    to: Option<&'a str>,
    ahead: Option<String>,
    then: String,
    brakes: &'a [Brake],
    unknown: &'a [String],
    alerts: &'a [Labels],
    bars: Vec<Bar>,
    moments: Vec<Line<'a>>,
}

/// A piece of the timeline: per mille of its width.
#[derive(Serialize)]
struct Bar {
    left: u64,
    width: u64,
    kind: &'static str,
    text: String,
}

#[derive(Serialize)]
struct Line<'a> {
    at: String,
    kind: &'a str,
    text: &'a str,
}

fn changed(difference: &Difference) -> Changed<'_> {
    Changed {
        at: clock(difference.opened_at),
        target: difference.target.as_deref().unwrap_or("no target"),
        alert: &difference.alert,
        before: &difference.before,
        now: &difference.now,
    }
}

fn row(entry: &Entry) -> Row<'_> {
    Row {
        id: &entry.id,
        opened: clock(entry.opened_at),
        target: entry.target.as_deref().unwrap_or("no target"),
        alert: entry.alertname(),
        policy: &entry.policy,
        shadow: entry.shadow,
        verdict: entry.verdict.words(),
        tone: tone(entry.verdict),
        rule: entry.rule.as_deref(),
        why: &entry.why,
        from: entry.from.as_deref(),
        to: entry.to.as_deref(),
        ahead: entry.ahead_by().map(|seconds| duration::format(std::time::Duration::from_secs(seconds))),
        then: then(entry),
        brakes: &entry.brakes,
        unknown: &entry.unknown,
        alerts: &entry.alerts,
        bars: bars(entry),
        moments: entry.timeline.iter().map(|m| Line { at: clock(m.at), kind: &m.kind, text: &m.text }).collect(),
    }
}

/// What came in the history.
pub fn then(entry: &Entry) -> String {
    let from = entry.at.unwrap_or(entry.opened_at);
    let later = |at: Time| duration::format(std::time::Duration::from_secs(at.since(from).as_secs()));
    let over = match entry.over_at {
        Some(at) if at >= from => format!("alert over {} later", later(at)),
        Some(_) => "alert was over before".to_owned(),
        None => "alert still fired at the end".to_owned(),
    };
    let next = entry.next_change_at.zip(entry.next_change.as_ref()).map(|(at, label)| {
        let what = if entry.went_back { "somebody went back to" } else { "newer release" };
        format!("; {what} {label} {} later", later(at))
    });
    format!("{over}{}", next.unwrap_or_default())
}

/// From a little before the first moment to a little after the last that matters.
fn bars(entry: &Entry) -> Vec<Bar> {
    let begin = entry.onset.unwrap_or(entry.opened_at).min(entry.opened_at).millis() - 600_000;
    let last = [entry.over_at, entry.at, Some(entry.opened_at)].into_iter().flatten().max().unwrap_or(entry.opened_at);
    let end = last.millis() + 900_000;
    let place = |at: Time| {
        let at = (at.millis().clamp(begin, end) - begin) * 1000 / (end - begin).max(1);
        u64::try_from(at).unwrap_or(0)
    };
    let mut bars = Vec::new();
    let onset = entry.onset.unwrap_or(entry.opened_at);
    let over = entry.over_at.unwrap_or(Time::from_millis(end));
    bars.push(bar(place(onset), place(over), "alert", format!("trouble since {}", clock(onset))));
    for moment in &entry.timeline {
        let kind = match moment.kind.as_str() {
            "release" => "release",
            "action" => "action",
            "decision" => "decision",
            _ => continue,
        };
        if moment.at.millis() >= begin && moment.at.millis() <= end {
            let left = place(moment.at).min(997);
            bars.push(bar(left, left + 3, kind, format!("{}: {}", clock(moment.at), moment.text)));
        }
    }
    bars
}

fn bar(left: u64, right: u64, kind: &'static str, text: String) -> Bar {
    Bar { left, width: right.saturating_sub(left).max(3), kind, text }
}

fn tone(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::RolledBack => "go",
        Verdict::Asked | Verdict::Announced | Verdict::CalledOff => "good",
        Verdict::Unknown => "bad",
        Verdict::Held => "look",
        Verdict::Paged | Verdict::FixForward | Verdict::Nothing => "dim",
    }
}

/// How close the history looks.
pub fn sampled(history: &History) -> String {
    match history.step {
        Some(step) => format!("one sample each {}", duration::format(step)),
        None => "as each change was written down".to_owned(),
    }
}

/// To the second.
pub fn clock(at: Time) -> String {
    Time::from_millis(at.millis().div_euclid(1000) * 1000).to_string().replace(".000Z", "Z")
}
