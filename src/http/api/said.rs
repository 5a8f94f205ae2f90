//! What comes in, checked for its form: bodies, queries, texts, names.

use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::http::Shared;
use crate::http::body::{self, BodyRules};
use crate::http::error::ApiError;
use crate::model::{IncidentId, TargetRef, Time};
use crate::policy::duration;

/// The greatest body of a request.
const BODY_LIMIT_BYTES: usize = 64 << 10;

/// What people write is shown to people: long enough for a reason, too short for a flood.
const TEXT_LIMIT: usize = 2000;

/// A text that a person wrote, see [`text`].
#[derive(Deserialize)]
#[serde(transparent)]
pub(in crate::http) struct Words(pub(super) String);

impl PartialSchema for Words {
    fn schema() -> RefOr<Schema> {
        // Not blank, and no control characters.
        const TEXT: &str = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x1f\\x7f-\\x9f\\s][^\\x00-\\x1f\\x7f-\\x9f]*$";
        let text = ObjectBuilder::new().schema_type(Type::String);
        text.pattern(Some(TEXT)).min_length(Some(1)).max_length(Some(TEXT_LIMIT)).build().into()
    }
}

impl ToSchema for Words {}

/// A target's name, see [`target`].
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct TargetName(pub(super) String);

impl PartialSchema for TargetName {
    fn schema() -> RefOr<Schema> {
        const TARGET: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";
        ObjectBuilder::new().schema_type(Type::String).pattern(Some(TARGET)).build().into()
    }
}

impl ToSchema for TargetName {}

pub(super) fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, ApiError> {
    query.map(|Query(query)| query).map_err(|rejection| ApiError::invalid(rejection.body_text()))
}

/// Reads a body. It must say that it is JSON: a page in somebody's browser cannot, without being asked first.
pub(in crate::http) async fn body<T: DeserializeOwned>(shared: &Shared, headers: &HeaderMap, body: Body) -> Result<T, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    if !kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json") {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "expected `Content-Type: application/json`",
        ));
    }
    let rules = BodyRules { limit: BODY_LIMIT_BYTES, deadline: shared.body_deadline, budget: None };
    let (bytes, _) = body::read(body, rules).await?;
    serde_json::from_slice(&bytes).map_err(|error| ApiError::invalid(error.to_string()))
}

pub(super) fn incident(id: Result<Path<String>, PathRejection>) -> Result<IncidentId, ApiError> {
    let id = id.ok().and_then(|Path(id)| IncidentId::parse(&id));
    id.ok_or_else(|| ApiError::not_found("no such incident; expected `i` and 12 hex digits, as `backout incidents` shows them"))
}

/// A text that a person wrote: some, not too much, and nothing that moves a terminal's cursor.
pub(in crate::http) fn text(name: &str, Words(text): &Words) -> Result<String, ApiError> {
    if text.chars().any(char::is_control) {
        return Err(ApiError::invalid(format!("`{name}` has control characters; expected one line of text")));
    }
    if text.trim().is_empty() {
        return Err(ApiError::invalid(format!("`{name}` is empty; expected a few words")));
    }
    let length = text.chars().count();
    if length > TEXT_LIMIT {
        return Err(ApiError::invalid(format!("`{name}` has {length} characters; expected {TEXT_LIMIT} at most")));
    }
    Ok(text.trim().to_owned())
}

/// The same where it may be left out.
pub(super) fn optional(name: &str, said: Option<Words>) -> Result<Option<String>, ApiError> {
    said.map(|said| text(name, &said)).transpose()
}

/// `namespace/name`.
pub(super) fn target(TargetName(name): &TargetName) -> Result<TargetRef, ApiError> {
    let target = name.split_once('/').and_then(|(namespace, name)| TargetRef::deployment(namespace, name).ok());
    target.ok_or_else(|| ApiError::invalid(format!("`{name}` is not a target; expected `namespace/name`")))
}

/// A time, or how long ago it was.
pub(super) fn since(text: &str, now: Time) -> Result<Time, ApiError> {
    Time::parse(text).or_else(|| duration::parse(text).ok().map(|ago| now - ago)).ok_or_else(|| {
        ApiError::invalid(format!("`since` is `{text}`; expected a time like `2026-03-01T12:00:00Z`, or how long ago, like `2h`"))
    })
}

/// How many are wanted.
pub(super) fn limit(limit: Option<usize>, most: usize) -> Result<usize, ApiError> {
    let limit = limit.unwrap_or(100);
    if (1..=most).contains(&limit) {
        Ok(limit)
    } else {
        Err(ApiError::invalid(format!("`limit` is `{limit}`; expected 1 to {most}")))
    }
}

/// A time as people write it.
pub(super) fn time(name: &str, text: &str) -> Result<Time, ApiError> {
    let why = || format!("`{name}` is `{text}`; expected a time like `2026-03-01T12:00:00Z`");
    Time::parse(text).ok_or_else(|| ApiError::invalid(why()))
}

/// A span as people write it.
pub(super) fn span(name: &str, text: &str) -> Result<Duration, ApiError> {
    duration::parse(text).map_err(|problem| ApiError::invalid(format!("`{name}`: {problem}")))
}
