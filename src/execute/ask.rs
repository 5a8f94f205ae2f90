//! One request to the API server under a time limit. What a failure means for a write is decided here, once: was nothing written
//! for certain, or is there no telling?

use std::time::Duration;

use http::Request;
use kube::Client;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How long a read may take.
pub(super) const READ_LIMIT: Duration = Duration::from_secs(5);

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no such object.
    Missing(String),
    /// We may not.
    Forbidden(String),
    /// A guard did not hold: 409, or 422 without causes.
    Conflict(String),
    /// The server does not take it, and will not take it later.
    Invalid(String),
    /// Too many requests: nothing was done.
    Busy(String),
    /// The connection was never made: nothing was done.
    Unreached(String),
    /// An answer that tells nothing, or none: it may have been done, or be done yet.
    Doubtful(String),
}

impl Failure {
    /// What happened, for people.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Missing(text)
            | Self::Forbidden(text)
            | Self::Conflict(text)
            | Self::Invalid(text)
            | Self::Busy(text)
            | Self::Unreached(text)
            | Self::Doubtful(text) => text,
        }
    }

    /// Whether the cluster said that we may not.
    pub(super) fn forbidden(&self) -> bool {
        matches!(self, Self::Forbidden(_))
    }

    /// Whether asking again may help.
    pub(super) fn transient(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Busy(_) | Self::Unreached(_) | Self::Doubtful(_))
    }
}

/// GETs an object.
pub(super) async fn get(client: &Client, path: &str) -> Result<Value, Failure> {
    send(client, Request::get(path), Vec::new(), READ_LIMIT).await
}

/// GETs plain text (logs).
pub(super) async fn get_text(client: &Client, path: &str) -> Result<String, Failure> {
    let request = Request::get(path).body(Vec::new()).map_err(|error| Failure::Invalid(error.to_string()))?;
    match tokio::time::timeout(READ_LIMIT, client.request_text(request)).await {
        Ok(answer) => answer.map_err(|error| failure(&error)),
        Err(_) => Err(no_answer(READ_LIMIT)),
    }
}

/// POSTs an object.
pub(super) async fn post(client: &Client, path: &str, body: &Value) -> Result<Value, Failure> {
    let request = Request::post(path).header("content-type", "application/json");
    send(client, request, body.to_string().into_bytes(), READ_LIMIT).await
}

/// Sends a JSON Patch.
pub(super) async fn json_patch(client: &Client, path: &str, patch: &Value, limit: Duration) -> Result<Value, Failure> {
    let request = Request::patch(path).header("content-type", "application/json-patch+json");
    send(client, request, patch.to_string().into_bytes(), limit).await
}

async fn send<T: DeserializeOwned>(
    client: &Client,
    request: http::request::Builder,
    body: Vec<u8>,
    limit: Duration,
) -> Result<T, Failure> {
    let request = request.body(body).map_err(|error| Failure::Invalid(format!("cannot ask: {error}")))?;
    match tokio::time::timeout(limit, client.request::<T>(request)).await {
        Ok(answer) => answer.map_err(|error| failure(&error)),
        Err(_) => Err(no_answer(limit)),
    }
}

fn no_answer(limit: Duration) -> Failure {
    Failure::Doubtful(format!("no answer within {} s", limit.as_secs()))
}

fn failure(error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => {
            let text = format!("the API server answered {}: {}", status.code, status.message);
            let causes = status.details.as_ref().is_some_and(|details| !details.causes.is_empty());
            match status.code {
                404 => Failure::Missing(text),
                401 | 403 => Failure::Forbidden(text),
                409 => Failure::Conflict(text),
                422 if !causes => Failure::Conflict(text),
                429 => Failure::Busy(text),
                400..=499 => Failure::Invalid(text),
                _ => Failure::Doubtful(text),
            }
        }
        other => match chain(other) {
            (text, true) => Failure::Unreached(text),
            (text, false) => Failure::Doubtful(text),
        },
    }
}

/// An error with its causes, and whether it says that the connection was never made.
fn chain(error: &(dyn std::error::Error + 'static)) -> (String, bool) {
    let mut text = error.to_string();
    let mut never_sent = false;
    let mut next = Some(error);
    while let Some(cause) = next {
        let of_connect = cause.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(|error| error.is_connect());
        never_sent = never_sent || of_connect;
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    (text, never_sent)
}
