//! What is expected, held against what has come.

use super::got::Got;
use crate::model::Urgency;
use crate::policy::test_file::types::{Message, Wanted};
use crate::simulate::Told;

/// Something that is not as it is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// The key that says it.
    pub key: &'static str,
    /// What is expected.
    pub expected: String,
    /// What has come.
    pub got: String,
}

/// What of it is not so.
pub(super) fn judge(wanted: &Wanted, got: &Got<'_>) -> Option<Miss> {
    let (is_so, expected, have) = match wanted {
        Wanted::Nothing(nothing) => {
            let words = |nothing: bool| if nothing { "nothing".to_owned() } else { "something".to_owned() };
            (got.is_nothing() == *nothing, words(*nothing), happened(got))
        }
        Wanted::Outcome(word) => (got.outcomes().contains(&word.as_str()), word.clone(), or_none(got, &got.outcomes())),
        Wanted::State(word) => (got.state() == Some(word), word.clone(), one(got, got.state())),
        Wanted::Rule(name) => (got.rule() == Some(name), name.clone(), one(got, got.rule())),
        Wanted::Brakes(brakes) => {
            let held = got.brakes();
            let is_so = brakes.iter().all(|brake| held.contains(brake)) && brakes.is_empty() == held.is_empty();
            (is_so, names(brakes), or_none(got, &held))
        }
        Wanted::Latches(causes) => {
            let held = got.latches();
            let is_so = causes.iter().all(|cause| held.contains(cause)) && causes.is_empty() == held.is_empty();
            (is_so, names(causes), names(&held))
        }
        Wanted::Unknown(paths) => {
            let unknown = got.unknown();
            let is_so = paths.iter().all(|path| unknown.contains(path)) && paths.is_empty() == unknown.is_empty();
            (is_so, names(paths), or_none(got, &unknown))
        }
        Wanted::Unfit(procedures) => (got.unfit() == *procedures, names(procedures), or_none(got, &got.unfit())),
        Wanted::To(image) => (got.to().contains(image), image.clone(), or_none(got, got.to())),
        Wanted::From(image) => (got.from().contains(image), image.clone(), or_none(got, got.from())),
        Wanted::Steps(steps) => (got.steps() == *steps, names(steps), or_none(got, &got.steps())),
        Wanted::Levels(levels) => (got.levels() == *levels, names(levels), or_none(got, &got.levels())),
        Wanted::Messages(messages) => {
            let sent: Vec<&Told> = got.messages().collect();
            let is_so = if messages.is_empty() { sent.is_empty() } else { in_order(messages, &sent) };
            let expected: Vec<String> = messages.iter().map(wanted_message).collect();
            let have: Vec<String> = sent.iter().map(|told| sent_message(told)).collect();
            (is_so, names(&expected), names(&have))
        }
        Wanted::Pages(number) => {
            let pages = got.messages().filter(|told| told.urgency == Urgency::Page).count();
            (pages == *number as usize, number.to_string(), pages.to_string())
        }
        Wanted::Actions(number) => {
            let written = got.written().count();
            (written == *number as usize, number.to_string(), written.to_string())
        }
        Wanted::ActionsAtMost(number) => {
            let written = got.written().count();
            (written <= *number as usize, format!("{number} at most"), written.to_string())
        }
    };
    (!is_so).then(|| Miss { key: wanted.key(), expected, got: have })
}

/// What of it is so, in words: for a comparison of both sides.
pub(super) fn words(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Nothing(nothing) => nothing.to_string(),
        Wanted::Outcome(text) | Wanted::State(text) | Wanted::Rule(text) | Wanted::To(text) | Wanted::From(text) => text.clone(),
        Wanted::Brakes(brakes) => names(brakes),
        Wanted::Latches(causes) => names(causes),
        Wanted::Unknown(texts) | Wanted::Unfit(texts) | Wanted::Steps(texts) | Wanted::Levels(texts) => names(texts),
        Wanted::Messages(messages) => names(&messages.iter().map(wanted_message).collect::<Vec<_>>()),
        Wanted::Pages(number) | Wanted::Actions(number) | Wanted::ActionsAtMost(number) => number.to_string(),
    }
}

/// Whether each was sent, one after the other; others may lie between.
fn in_order(wanted: &[Message], sent: &[&Told]) -> bool {
    let mut sent = sent.iter();
    wanted.iter().all(|message| {
        sent.any(|told| {
            told.moment == message.moment
                && message.to.as_ref().is_none_or(|channel| told.channels.contains(channel))
                && message.title.as_ref().is_none_or(|title| told.title.contains(title.as_str()))
        })
    })
}

fn wanted_message(message: &Message) -> String {
    let mut words = message.moment.as_str().to_owned();
    if let Some(channel) = &message.to {
        words.push_str(&format!(" to {channel}"));
    }
    if let Some(title) = &message.title {
        words.push_str(&format!(" with {title:?}"));
    }
    words
}

fn sent_message(told: &Told) -> String {
    format!("{} to {}", told.moment.as_str(), told.channels.join(" and "))
}

fn happened(got: &Got<'_>) -> String {
    if got.is_nothing() {
        return "nothing".to_owned();
    }
    let outcomes = got.outcomes();
    let what = match got.incident() {
        None => "something, but no such incident".to_owned(),
        Some(incident) if outcomes.is_empty() => format!("an incident that is {}", incident.phase.as_str()),
        Some(incident) => format!("an incident that is {}: {}", incident.phase.as_str(), outcomes.join(", ")),
    };
    format!("{what}; {} sent, {} written", got.messages().count(), got.written().count())
}

fn one(got: &Got<'_>, word: Option<&str>) -> String {
    match (got.incident(), word) {
        (None, _) => "no such incident".to_owned(),
        (Some(_), None) => "none".to_owned(),
        (Some(_), Some(word)) => word.to_owned(),
    }
}

fn or_none<T: ToString>(got: &Got<'_>, words: &[T]) -> String {
    if got.incident().is_none() { "no such incident".to_owned() } else { names(words) }
}

fn names<T: ToString>(words: &[T]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ") }
}
