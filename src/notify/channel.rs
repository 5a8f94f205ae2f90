//! What a channel is to the rest of this module. One attempt at a time; retries are the courier's.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::pages::OpenPage;
use crate::model::{IncidentId, Message};
use crate::outgoing::{Answer, Unanswered};

/// A way to reach people.
pub(super) trait Channel: Send + Sync {
    /// Tries once. `Ok` means that it was taken, and for a page that somebody will see it.
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), Refused>>;

    /// No channel has this page: goes on with it in the background, if that is in this channel's power.
    fn persist(&self, _message: &Message) {}

    /// Ends the pages of an incident, or of what else has that dedup key.
    fn close<'a>(&'a self, _incident: &'a IncidentId) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    /// Posts again what must not lapse.
    fn keep(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    /// The pages that it keeps up.
    fn open_pages(&self) -> Vec<OpenPage> {
        Vec::new()
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
}

impl Refused {
    pub(super) fn never(why: impl Into<String>) -> Self {
        Self { why: why.into(), again: Again::Never }
    }
}

/// Whether a request was taken: 2xx.
pub(super) fn taken(answer: Result<Answer, Unanswered>) -> Result<(), Refused> {
    let answer = answer.map_err(|why| Refused { why: why.to_string(), again: Again::After(None) })?;
    if answer.is_success() {
        return Ok(());
    }
    let excerpt = answer.excerpt();
    let why = format!("answered {}{}{excerpt}", answer.status, if excerpt.is_empty() { "" } else { ": " });
    let again = match answer.status {
        408 | 429 | 500.. => Again::After(answer.retry_after),
        _ => Again::Never,
    };
    Err(Refused { why, again })
}
