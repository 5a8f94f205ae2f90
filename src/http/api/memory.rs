//! What the service remembers, for who judges or asks outside of it. Reads only.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::said::{self, TargetName};
use super::{Answer, App, ask};
use crate::http::auth::Reader;
use crate::http::error::ApiError;
use crate::model::TargetRef;
use crate::ports::{Question, Recall};

/// Targets in one question: an alert's, with room.
const MOST_TARGETS: usize = 50;
/// No image name or digest is longer.
const MOST_NAME_BYTES: usize = 1000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Targets {
    /// The targets, each `namespace/name`, with commas between; none: only what concerns all of them.
    #[serde(default)]
    #[param(pattern = "^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(,|$)){0,50}$")]
    target: String,
}

/// Gives the part of what is remembered that judging these targets needs. For `backout explain`: its shape follows the program's version.
#[utoipa::path(get, path = "/book", tag = "service", params(Targets), responses((status = 200, body = serde_json::Value)))]
pub(super) async fn book(_: Reader, State(shared): App, query: Result<Query<Targets>, QueryRejection>) -> Answer {
    let Targets { target } = said::query(query)?;
    let targets: Vec<TargetRef> = target.split(',').filter(|name| !name.is_empty()).map(named).collect::<Result<_, _>>()?;
    if targets.len() > MOST_TARGETS {
        return Err(ApiError::invalid(format!("`target` names {}; expected {MOST_TARGETS} at most", targets.len())));
    }
    ask(&shared, Question::Recall(Recall::Book(targets))).await
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct What {
    /// An image as it stands in a template, an image's digest, or a release's digest.
    #[param(pattern = "^[!-~]{1,1000}$")]
    what: String,
}

/// Says where an image or a release was rolled back from.
#[utoipa::path(get, path = "/bad", tag = "service", params(What), responses((status = 200, body = serde_json::Value)))]
pub(super) async fn bad(_: Reader, State(shared): App, query: Result<Query<What>, QueryRejection>) -> Answer {
    let What { what } = said::query(query)?;
    if what.is_empty() || what.len() > MOST_NAME_BYTES || !what.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ApiError::invalid("`what` is no image and no digest; expected `registry/name:tag` or `sha256:…`"));
    }
    ask(&shared, Question::Recall(Recall::Bad(what))).await
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Target {
    /// The target, `namespace/name`.
    #[param(inline)]
    target: TargetName,
}

/// Lists the releases of a target, and whether a rollback would go to them.
#[utoipa::path(
    get, path = "/revisions", tag = "service", params(Target),
    responses((status = 200, body = serde_json::Value), (status = 404, description = "Nothing is remembered of that target."))
)]
pub(super) async fn revisions(_: Reader, State(shared): App, query: Result<Query<Target>, QueryRejection>) -> Answer {
    let Target { target: TargetName(target) } = said::query(query)?;
    ask(&shared, Question::Recall(Recall::Revisions(named(&target)?))).await
}

/// `namespace/name`, or as reports write it, `deployment/namespace/name`.
fn named(text: &str) -> Result<TargetRef, ApiError> {
    let name = text.strip_prefix("deployment/").unwrap_or(text);
    said::target(&TargetName(name.to_owned()))
}
