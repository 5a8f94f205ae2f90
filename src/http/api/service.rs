//! How the service itself is.

use axum::extract::State;

use super::{Answer, App, ask};
use crate::http::auth::Reader;
use crate::ports::Question;
use crate::ports::answer::StatusAnswer;

/// Says how the service is.
#[utoipa::path(get, path = "/status", tag = "service", responses((status = 200, body = StatusAnswer)))]
pub(super) async fn status(_: Reader, State(shared): App) -> Answer {
    ask(&shared, Question::Status).await
}
