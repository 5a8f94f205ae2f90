//! Small texts of a test file, read one by one: times, durations, names, flags. Every mistake is reported.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::super::diagnostic::Raised;
use super::super::duration;
use super::super::problem::{Problem, nearest};
use super::super::source::At;
use super::super::syntax::DurationText;
use super::super::yaml::{Entries, Field, Listed};
use super::lower::Lower;
use super::text::{FlagText, InstantText, SpanText, TimestampText};
use super::types::{Deployment, Instant, Spot};
use crate::model::{TargetRef, Time};

impl Lower<'_> {
    pub(super) fn raise(&self, raised: Raised) {
        self.sink.raise(raised);
    }

    pub(super) fn problem(&self, code: &'static str, problem: Problem, at: At, text: &str) {
        let Problem { at: part, message, help } = problem;
        let part: Range<usize> = part.start.min(text.len())..part.end.min(text.len());
        self.raise(Raised::error(code, self.sources.within(at, &part, text), message).maybe_help(help));
    }

    pub(super) fn spot(&self, at: At) -> Spot {
        let spot = self.sources.spot(at);
        Spot { file: spot.file, line: spot.line, column: spot.column }
    }

    pub(super) fn required<T>(&self, key: &str, field: &Field<T>, holder: At) {
        if field.is_missing() {
            self.raise(Raised::error("missing-key", holder, format!("`{key}` is missing")).missing_in(holder));
        }
    }

    /// A name of the policies.
    pub(super) fn known<'n>(&self, what: &str, name: &str, at: At, known: impl IntoIterator<Item = &'n String>) -> bool {
        let known: Vec<&str> = known.into_iter().map(String::as_str).collect();
        let found = known.contains(&name);
        if !found {
            let raised = Raised::error("unknown-name", at, format!("the policies have no {what} `{name}`"));
            let there = if known.is_empty() { format!("there is no {what}") } else { format!("one of {}", list(&known)) };
            self.raise(raised.expected(there).maybe_help(did_you_mean(name, known.iter().copied())));
        }
        found
    }

    pub(super) fn deployment_named(&self, text: &str, at: At, deployments: &[Deployment]) -> Option<TargetRef> {
        let full = |deployment: &Deployment| format!("{}/{}", deployment.at.namespace, deployment.at.name);
        let found = deployments.iter().find(|deployment| full(deployment) == text);
        if found.is_none() {
            let there: Vec<String> = deployments.iter().map(full).collect();
            let names: Vec<&str> = there.iter().map(String::as_str).collect();
            let raised = Raised::error("unknown-name", at, format!("this world has no Deployment `{text}`"));
            let expected =
                if names.is_empty() { "a Deployment of `world`".to_owned() } else { format!("one of {}", list(&names)) };
            self.raise(raised.expected(expected).maybe_help(did_you_mean(text, names.iter().copied())));
        }
        found.map(|deployment| deployment.at.clone())
    }

    pub(super) fn texts(&self, field: &Field<Listed<Field<String>>>) -> Vec<String> {
        field.get().into_iter().flat_map(|Listed(items)| items).filter_map(Field::get).cloned().collect()
    }

    pub(super) fn map(&self, field: &Field<Entries<String>>) -> BTreeMap<String, String> {
        let entries = field.get().into_iter().flat_map(|Entries(entries)| entries);
        entries.filter_map(|(name, value)| Some((name.get()?.clone(), value.get()?.clone()))).collect()
    }

    pub(super) fn duration(&self, field: &Field<DurationText>) -> Option<Duration> {
        let (DurationText(text), at) = field.placed()?;
        duration::parse(text).map_err(|problem| self.problem("bad-duration", problem, at, text)).ok()
    }

    pub(super) fn flag(&self, field: &Field<FlagText>) -> Option<bool> {
        let (FlagText(text), at) = field.placed()?;
        match text.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            other => {
                self.raise(Raised::error("wrong-type", at, format!("found `{other}`")).expected("`true` or `false`"));
                None
            }
        }
    }

    pub(super) fn instant(&self, field: &Field<InstantText>) -> Option<Instant> {
        let (InstantText(text), at) = field.placed()?;
        instant(text).map_err(|problem| self.problem("bad-time", problem, at, text)).ok()
    }

    /// A time that stands as the key of a map.
    pub(super) fn time(&self, key: &Field<String>) -> Option<Instant> {
        let (text, at) = key.placed()?;
        instant(text).map_err(|problem| self.problem("bad-time", problem, at, text)).ok()
    }

    /// The same without a report: it was made before.
    pub(super) fn peek(&self, field: &Field<InstantText>) -> Option<Instant> {
        field.get().and_then(|InstantText(text)| instant(text).ok())
    }

    /// `A to B`, or `A`.
    pub(super) fn span(&self, SpanText(text): &SpanText, at: At) -> Option<(Instant, Option<Instant>)> {
        let read = |part: &str, shift: usize| {
            let trimmed = part.trim();
            let lead = part.len() - part.trim_start().len();
            instant(trimmed).map_err(|problem| self.problem("bad-time", problem.shifted(shift + lead), at, text)).ok()
        };
        match text.split_once(" to ") {
            None => Some((read(text, 0)?, None)),
            Some((from, to)) => {
                let (from, to) = (read(from, 0)?, read(to, from.len() + " to ".len())?);
                self.in_order(from, Some(to), at);
                Some((from, Some(to)))
            }
        }
    }

    pub(super) fn in_order(&self, from: Instant, to: Option<Instant>, at: At) {
        if let Some(to) = to.filter(|to| *to <= from) {
            let raised = Raised::error("out-of-order", at, format!("it ends at {to} and begins at {from}"));
            self.raise(raised.help("write the earlier time first"));
        }
    }

    pub(super) fn timestamp(&self, field: &Field<TimestampText>) -> Option<Time> {
        let (TimestampText(text), at) = field.placed()?;
        let time = Time::parse(text);
        if time.is_none() {
            let raised = Raised::error("bad-time", at, format!("`{text}` is no time"));
            self.raise(raised.expected("RFC 3339, such as `2026-03-02T09:00:00Z`"));
        }
        time
    }
}

/// A duration, with a minus for what lies before minute 0.
fn instant(text: &str) -> Result<Instant, Problem> {
    let (digits, negative) = text.strip_prefix('-').map_or((text, false), |digits| (digits, true));
    let span = duration::parse(digits).map_err(|problem| problem.shifted(text.len() - digits.len()))?;
    let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    if span > LONGEST {
        return Err(Problem::new(0..text.len(), format!("`{text}` is too far away")).help("a story has a year at most"));
    }
    Ok(Instant(if negative { -millis } else { millis }))
}

/// Minutes are lived through one by one.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

pub(super) fn did_you_mean<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<String> {
    nearest(name, known).map(|near| format!("did you mean `{near}`?"))
}

/// Names in backticks; the first few of many.
pub(super) fn list(names: &[&str]) -> String {
    const SHOWN: usize = 20;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{one, wrong};
    use super::*;

    #[test]
    fn the_half_of_a_span_that_is_no_time_is_pointed_at() {
        for span in ["5m to soon", "5m to  soon", "soon to 5m", "soon"] {
            let keys = format!("alerts: [{{labels: {{alertname: Down}}, firing: {span}}}]\nexpect: [{{at: 9m, nothing: true}}]");
            assert_eq!(wrong(&one(&keys)), [("`soon` is not a duration".to_owned(), "soon".to_owned())], "{span}");
        }
    }

    #[test]
    fn a_story_has_a_year_at_most() {
        const DAY: i64 = 86_400_000;
        for (text, wanted) in [("0s", 0), ("366d", 366 * DAY), ("-366d", -366 * DAY), ("-3d", -3 * DAY)] {
            assert_eq!(instant(text).map(|Instant(at)| at), Ok(wanted), "{text}");
        }
        for text in ["366d1s", "-366d1s"] {
            let problem = instant(text).expect_err(text);
            assert_eq!((problem.message, problem.at), (format!("`{text}` is too far away"), 0..text.len()));
        }
        let problem = instant("-12").expect_err("no unit");
        assert_eq!(problem.at, 1..3, "the minus is not what is wrong");
    }

    #[test]
    fn twenty_names_are_listed() {
        let names = |many: usize| vec!["a"; many];
        assert_eq!(list(&["a", "b"]), "`a`, `b`");
        assert_eq!(list(&names(20)).matches("`a`").count(), 20);
        assert!(!list(&names(20)).ends_with('…'));
        assert!(list(&names(21)).ends_with("`a`, …"));
        assert_eq!(list(&names(21)).matches("`a`").count(), 20);
    }
}
