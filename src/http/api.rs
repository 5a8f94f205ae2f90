//! `/api/v1/` and `/v1/changes`: what people and their scripts ask and say. Must not know what an incident is: it checks the form
//! of what comes in and hands it to the engine's port.

mod changes;
mod document;
mod events;
mod incidents;
mod latches;
mod memory;
mod operations;
mod pauses;
mod policies;
pub(super) mod said;
mod service;

pub(super) use events::WATCHERS;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::error::ApiError;
use crate::model::{Identity, Operation, Order};
use crate::ports::Question;

pub(super) type Answer = Result<Response, ApiError>;
pub(super) type App = State<Arc<Shared>>;

/// Every path of the API. Both the routes and the document are made of this one list; only the document itself is not in it.
pub(super) fn router() -> Router<Arc<Shared>> {
    let api = OpenApiRouter::new()
        .routes(routes!(incidents::list))
        .routes(routes!(incidents::show))
        .routes(routes!(incidents::report))
        .routes(routes!(operations::veto))
        .routes(routes!(operations::approve))
        .routes(routes!(operations::acknowledge))
        .routes(routes!(operations::mark))
        .routes(routes!(pauses::list, pauses::begin))
        .routes(routes!(pauses::end))
        .routes(routes!(latches::list))
        .routes(routes!(latches::clear))
        .routes(routes!(changes::list))
        .routes(routes!(events::events))
        .routes(routes!(memory::book))
        .routes(routes!(memory::bad))
        .routes(routes!(memory::revisions))
        .routes(routes!(policies::list))
        .routes(routes!(policies::rearm))
        .routes(routes!(service::status));
    let (api, api_document) = api.split_for_parts();
    let (changes, changes_document) = OpenApiRouter::new().routes(routes!(changes::tell)).split_for_parts();
    let document = Arc::new(document::of(api_document, changes_document));
    let api = api
        .route("/openapi.json", get(async move || document::serve(&document)))
        .method_not_allowed_fallback(wrong_method)
        .fallback(async || ApiError::not_found("no such path in the api"));
    Router::new().nest("/api/v1", api).merge(changes.method_not_allowed_fallback(wrong_method))
}

async fn wrong_method() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path is not asked in this way")
}

pub(super) async fn ask(shared: &Shared, question: Question) -> Answer {
    Ok(json(&shared.control.query(question).await?))
}

async fn operate(shared: &Shared, identity: Option<Identity>, operation: Operation) -> Answer {
    Ok(json(&shared.control.operate(Order { identity, operation }).await?))
}

fn json(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
