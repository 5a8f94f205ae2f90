//! One GET of the API server under a time limit; whatever goes wrong is a value. No retries beyond the client's own, no writes.

use std::time::Duration;

use http::Request;
use kube::Client;
use serde::de::DeserializeOwned;

use crate::model::{Unknown, UnknownKind};

/// GETs `path`; `None` when there is nothing there (404).
pub(super) async fn get<T: DeserializeOwned>(client: &Client, path: &str, limit: Duration) -> Result<Option<T>, Unknown> {
    let request = Request::get(path)
        .body(Vec::new())
        .map_err(|error| Unknown::new(UnknownKind::Unusable, format!("cannot ask for {path}: {error}")))?;
    match tokio::time::timeout(limit, client.request::<T>(request)).await {
        Ok(Ok(object)) => Ok(Some(object)),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
        Ok(Err(error)) => Err(unknown(path, &error)),
        Err(_) => Err(Unknown::new(UnknownKind::Unreachable, format!("no answer to GET {path} within {} s", limit.as_secs()))),
    }
}

/// Why a request told us nothing.
pub(super) fn unknown(path: &str, error: &kube::Error) -> Unknown {
    match error {
        kube::Error::Api(status) => {
            let kind = match status.code {
                401 | 403 => UnknownKind::Forbidden,
                _ => UnknownKind::Unreachable,
            };
            Unknown::new(kind, format!("GET {path} answered {}: {}", status.code, status.message))
        }
        kube::Error::SerdeError(error) => {
            Unknown::new(UnknownKind::Unusable, format!("GET {path} answered no such object: {error}"))
        }
        other => Unknown::new(UnknownKind::Unreachable, format!("GET {path} failed: {}", chain(other))),
    }
}

/// An error with its causes: `ServiceError: client error (Connect): connection refused`.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
