//! How the API says no: `application/problem+json` (RFC 9457). Webhooks have constant texts of their own.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::auth::Denied;
use super::body::BodyError;
use crate::ports::ControlError;

/// An answer that says what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    status: StatusCode,
    /// Stable: the last part of `type`, and with blanks the title.
    code: &'static str,
    detail: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into() }
    }

    /// What was sent makes no sense.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", detail)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = serde_json::json!({
            "type": format!("urn:backout:problem:{}", self.code),
            "title": self.code.replace('_', " "),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response =
            (self.status, [(header::CONTENT_TYPE, "application/problem+json")], problem.to_string()).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NotFound(why) => Self::new(StatusCode::NOT_FOUND, "not_found", why),
            ControlError::Conflict(why) => Self::new(StatusCode::CONFLICT, "conflict", why),
            ControlError::Unavailable(why) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why),
            ControlError::Invalid(why) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", why),
        }
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unknown => Self::new(StatusCode::UNAUTHORIZED, "unauthorized", denied.to_string()),
            Denied::Scope(_) | Denied::Host => Self::new(StatusCode::FORBIDDEN, "forbidden", denied.to_string()),
        }
    }
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is greater than 64 KiB"),
            BodyError::Late => Self::new(StatusCode::REQUEST_TIMEOUT, "late", "the body did not come in time"),
            BodyError::BytesFull => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "too much is being read; try again")
            }
            BodyError::Broken => Self::invalid("the body broke off"),
        }
    }
}
