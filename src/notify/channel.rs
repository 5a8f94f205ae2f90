//! What a channel is to the rest of this module. One attempt at a time; retries and limits are the courier's.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::digest;
use super::pages::OpenPage;
use crate::model::{IncidentId, Message};
use crate::outgoing::{Answer, Unanswered};

/// A way to reach people.
pub(super) trait Channel: Send + Sync {
    /// Tries once. `Ok` means that it was taken, and for a page that somebody will see it.
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), Refused>>;

    /// Tries once to bring several messages that had to wait, as one. `Ok` means that each of them was taken.
    fn send_merged<'a>(&'a self, messages: &'a [Message]) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(async move { self.send(&digest::merge(messages)).await })
    }

    /// Whether it shows an incident already (a thread, a ticket), so that everything that becomes of it belongs there, too.
    fn follows<'a>(&'a self, _message: &'a Message) -> BoxFuture<'a, bool> {
        Box::pin(async { false })
    }

    /// No channel has this: goes on with it in the background, if that is in this channel's power.
    fn persist(&self, _message: &Message) {}

    /// Ends the pages of an incident, or of what else has that dedup key. Tries once.
    fn close<'a>(&'a self, _incident: &'a IncidentId) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(async { Ok(()) })
    }

    /// Whether ending the pages of an incident needs a request now.
    fn has_to_close(&self, _incident: &IncidentId) -> bool {
        true
    }

    /// Somebody has the incident, as we were told elsewhere. Tries once.
    fn acknowledge<'a>(&'a self, _incident: &'a IncidentId, _by: &'a str) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(async { Ok(()) })
    }

    /// Who has acknowledged pages over there since the last time that this was asked.
    fn acknowledged(&self) -> BoxFuture<'_, Vec<Acknowledged>> {
        Box::pin(async { Vec::new() })
    }

    /// Posts again what must not lapse.
    fn keep(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    /// The pages that it keeps up.
    fn open_pages(&self) -> Vec<OpenPage> {
        Vec::new()
    }

    /// Asks whether it could be used, without telling anybody anything.
    fn probe(&self) -> BoxFuture<'_, Probe> {
        Box::pin(async { Probe::Unasked("it has no question that tells nobody anything".to_owned()) })
    }
}

/// Somebody took a page at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) incidents: Vec<IncidentId>,
    /// The person's name, and where.
    pub(super) by: String,
}

/// What a channel answered when it was asked whether it could be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It could; how far that is known.
    Usable(String),
    /// There is nothing to ask without telling somebody something.
    Unasked(String),
    /// It could not, and why. No secrets.
    Unusable(String),
}

impl Probe {
    /// What an attempt says: as good as its answer.
    pub(super) fn of(asked: Result<String, Refused>) -> Self {
        match asked {
            Ok(known) => Self::Usable(known),
            Err(refused) => Self::Unusable(refused.why),
        }
    }
}

/// Why an attempt failed, and whether another may help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// For people. No secrets.
    pub(super) why: String,
    /// Whether, and how soon.
    pub(super) again: Again,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It will not be taken.
    Never,
    /// It may be taken; the channel asked for this pause, if any.
    After(Option<Duration>),
    /// We sent too much: nothing is to be sent for so long.
    Limited(Duration),
}

impl Refused {
    pub(super) fn never(why: impl Into<String>) -> Self {
        Self { why: why.into(), again: Again::Never }
    }

    pub(super) fn again(why: impl Into<String>) -> Self {
        Self { why: why.into(), again: Again::After(None) }
    }

    /// Whether the answer was lost: what was asked may have been done.
    pub(super) fn is_doubtful(&self) -> bool {
        matches!(self.again, Again::After(_))
    }
}

/// Whether a request was taken: 2xx.
pub(super) fn taken(answer: Result<Answer, Unanswered>) -> Result<(), Refused> {
    answered(answer).map(|_| ())
}

/// The answer, if the request was taken: 2xx.
pub(super) fn answered(answer: Result<Answer, Unanswered>) -> Result<Answer, Refused> {
    let answer = answer.map_err(|why| match why {
        // Somebody must write it down first: no other attempt of ours will help, and another channel may.
        Unanswered::Secret { .. } => Refused::never(why.to_string()),
        why => Refused::again(why.to_string()),
    })?;
    if answer.is_success() {
        return Ok(answer);
    }
    let excerpt = answer.excerpt();
    let why = format!("answered {}{}{excerpt}", answer.status, if excerpt.is_empty() { "" } else { ": " });
    let again = match (answer.status, answer.retry_after) {
        (429, Some(pause)) => Again::Limited(pause),
        (408 | 429 | 500.., pause) => Again::After(pause),
        // GitHub's limits answer 403; without them nobody says when to come again.
        (403, Some(pause)) => Again::Limited(pause),
        (403, None) if excerpt.to_ascii_lowercase().contains("rate limit") => Again::Limited(Duration::from_secs(60)),
        _ => Again::Never,
    };
    Err(Refused { why, again })
}

/// The answer's JSON, if the request was taken.
pub(super) fn read<T: serde::de::DeserializeOwned>(answer: Result<Answer, Unanswered>) -> Result<T, Refused> {
    let answer = answered(answer)?;
    // It was taken, whatever it says: asking again might do it twice.
    serde_json::from_slice(&answer.body).map_err(|error| Refused::again(format!("the answer cannot be read: {error}")))
}
