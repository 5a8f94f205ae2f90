//! The service itself: its policies, how it is.

use axum::extract::State;

use super::{Answer, App, ask};
use crate::http::auth::Reader;
use crate::ports::Question;
use crate::ports::answer::{PolicyList, StatusAnswer};

/// Lists the policies in use.
#[utoipa::path(get, path = "/policies", tag = "service", responses((status = 200, body = PolicyList)))]
pub(super) async fn policies(_: Reader, State(shared): App) -> Answer {
    ask(&shared, Question::Policies).await
}

/// Says how the service is.
#[utoipa::path(get, path = "/status", tag = "service", responses((status = 200, body = StatusAnswer)))]
pub(super) async fn status(_: Reader, State(shared): App) -> Answer {
    ask(&shared, Question::Status).await
}
