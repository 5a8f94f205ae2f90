//! How the API says no: `application/problem+json` (RFC 9457). Webhooks have constant texts of their own.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Denied;
use super::body::BodyError;
use crate::ports::ControlError;

/// What is wrong with a request, or with us (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Problem {
    /// `urn:backout:problem:CODE`.
    #[serde(rename = "type")]
    #[schema(pattern = "^urn:backout:problem:[a-z_]+$")]
    kind: String,
    /// The code in words.
    title: String,
    /// The same as the answer's.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// Stable, for programs.
    code: String,
    /// For people: what is wrong, what was expected, what to do.
    detail: String,
}

/// An answer that says what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    status: StatusCode,
    /// Stable: the last part of `type`, and with blanks the title.
    code: &'static str,
    detail: String,
    /// When it is worth while to try again.
    retry_after: Option<Duration>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after: None }
    }

    /// What was sent makes no sense.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", detail)
    }

    /// There is no such thing.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// Not now.
    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(Duration::ZERO), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = Problem {
            kind: format!("urn:backout:problem:{}", self.code),
            title: self.code.replace('_', " "),
            status: self.status.as_u16(),
            code: self.code.to_owned(),
            detail: self.detail,
        };
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"backout\""));
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"backout\", charset=\"UTF-8\""));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().saturating_add(1)));
        }
        response
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NotFound(why) => Self::not_found(why),
            ControlError::Conflict(why) => Self::new(StatusCode::CONFLICT, "conflict", why),
            ControlError::Unavailable(why) => Self::unavailable(why),
            ControlError::Invalid(why) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", why),
        }
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        let text = denied.to_string();
        match denied {
            Denied::Unknown => Self::new(StatusCode::UNAUTHORIZED, "unauthorized", text),
            Denied::Scope(_) | Denied::Host => Self::new(StatusCode::FORBIDDEN, "forbidden", text),
            Denied::Limited(wait) => {
                Self { retry_after: Some(wait), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_wrong_credentials", text) }
            }
        }
    }
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is greater than 64 KiB"),
            BodyError::Late => Self::new(StatusCode::REQUEST_TIMEOUT, "late", "the body did not come in time"),
            BodyError::BytesFull => Self::unavailable("too much is being read; try again"),
            BodyError::Broken => Self::invalid("the body broke off"),
        }
    }
}
