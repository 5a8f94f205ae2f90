//! What all observers over HTTP share: an answer becomes a value or an `Unknown`, never an error to guess around.

use serde::de::DeserializeOwned;

use crate::model::{Unknown, UnknownKind};
use crate::outgoing::{Answer, Unanswered};

/// The body of a good answer; else why there is none.
pub(super) fn good(answer: Result<Answer, Unanswered>) -> Result<Answer, Unknown> {
    let answer = answer.map_err(|why| Unknown::new(UnknownKind::Unreachable, why.to_string()))?;
    let kind = match answer.status {
        200..300 => return Ok(answer),
        401 | 403 => UnknownKind::Forbidden,
        400 | 404 | 405 | 410 | 422 => UnknownKind::Unusable,
        _ => UnknownKind::Unreachable,
    };
    let excerpt = answer.excerpt();
    let detail = if excerpt.is_empty() { String::new() } else { format!(": {excerpt}") };
    Err(Unknown::new(kind, format!("answered {}{detail}", answer.status)))
}

/// Reads JSON; anything else is unusable.
pub(super) fn json<T: DeserializeOwned>(answer: &Answer) -> Result<T, Unknown> {
    serde_json::from_slice(&answer.body).map_err(|error| unusable(format!("answered something unexpected: {error}")))
}

/// An answer that is no usable value.
pub(super) fn unusable(detail: impl Into<String>) -> Unknown {
    Unknown::new(UnknownKind::Unusable, detail)
}
