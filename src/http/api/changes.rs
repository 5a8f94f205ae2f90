//! Changes that others tell us of: CI, a flag service, a migration, a person.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::said::{TargetName, Words};
use super::{Answer, App, ask, json, said};
use crate::http::auth::{Changer, Reader};
use crate::http::error::ApiError;
use crate::model::{ChangeId, ChangeKind, Operation, Order, PostedChange, Time};
use crate::outgoing;
use crate::ports::answer::{ChangeList, ChangeTold};
use crate::ports::{ChangeQuery, Question};

/// The most changes in one answer.
const MOST: usize = 1000;

/// Names the header by which a poster may try again without telling of two changes.
const KEY: &str = "idempotency-key";

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewChange)]
pub(super) struct Change {
    /// What was changed, `namespace/name`.
    target: TargetName,
    /// How.
    kind: Kind,
    /// What was there before: an image, a tag, a version, a flag's value.
    from: Option<Words>,
    /// What is there now. Of a barrier it should name the release: an image, its tag or its digest.
    to: Option<Words>,
    /// Who changed it.
    by: Words,
    /// When; now unless it is said.
    #[schema(format = DateTime)]
    at: Option<String>,
    /// Whether data was changed so that an older release cannot work on it: then nothing is rolled back over it.
    #[serde(default)]
    barrier: bool,
    /// Where more is to be read, `http` or `https`.
    #[schema(value_type = Option<String>, pattern = "^https?://", max_length = 2000)]
    url: Option<Words>,
}

/// What may have changed.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ChangeKind)]
enum Kind {
    Template,
    Config,
    Helm,
    Flag,
    External,
}

impl From<Kind> for ChangeKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Template => Self::Template,
            Kind::Config => Self::Config,
            Kind::Helm => Self::Helm,
            Kind::Flag => Self::Flag,
            Kind::External => Self::External,
        }
    }
}

/// Tells of a change. Answered when it is durable: 201, or 200 for one that is known already by its `Idempotency-Key`, or, with
/// `at` and without a key, by its content.
#[utoipa::path(
    post, path = "/v1/changes", tag = "changes", request_body = Change,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names this change: posted again, it is told once.",
        pattern = "^[!-~]{1,200}$")),
    responses((status = 200, body = ChangeTold), (status = 201, body = ChangeTold))
)]
pub(super) async fn tell(Changer(identity): Changer, State(shared): App, headers: HeaderMap, body: Body) -> Answer {
    let key = key(&headers)?;
    let change: Change = said::body(&shared, &headers, body).await?;
    let change = Box::new(change.posted(key, shared.clock.now())?);
    let told = shared.control.operate(Order { identity, operation: Operation::Change { change } }).await?;
    let status = if told["known"] == true { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, json(&told)).into_response())
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct List {
    /// Of this target, `namespace/name`.
    #[param(inline)]
    target: Option<TargetName>,
    /// Made since: a time (RFC 3339), or how long ago (`2h`).
    since: Option<String>,
    /// How many at most; 100 unless it is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Lists the changes that were told of, the newest first.
#[utoipa::path(get, path = "/changes", tag = "changes", params(List), responses((status = 200, body = ChangeList)))]
pub(super) async fn list(_: Reader, State(shared): App, query: Result<Query<List>, QueryRejection>) -> Answer {
    let List { target, since, limit } = said::query(query)?;
    let query = ChangeQuery {
        target: target.map(|target| said::target(&target).map(|_| target.0)).transpose()?,
        since: since.map(|since| said::since(&since, shared.clock.now())).transpose()?,
        limit: said::limit(limit, MOST)?,
    };
    ask(&shared, Question::Changes(query)).await
}

impl Change {
    fn posted(self, key: Option<&str>, now: Time) -> Result<PostedChange, ApiError> {
        let target = said::target(&self.target)?;
        let (from, to) = (said::optional("from", self.from)?, said::optional("to", self.to)?);
        let (by, kind) = (said::text("by", &self.by)?, ChangeKind::from(self.kind));
        let at = self.at.map(|at| said::time("at", &at)).transpose()?;
        let url = said::optional("url", self.url)?;
        if let Some(url) = &url {
            outgoing::address(url).map_err(|error| ApiError::invalid(error.to_string()))?;
        }
        let content = {
            let at = at.map_or_else(String::new, |at| at.to_string());
            let maybe = |text: &Option<String>| text.clone().map_or_else(|| "-".to_owned(), |text| format!("+{text}"));
            let (from, to, url, barrier) = (maybe(&from), maybe(&to), maybe(&url), self.barrier.to_string());
            PostedChange::hash(&[&self.target.0, kind.as_str(), &from, &to, &by, &at, &barrier, &url])
        };
        let id = match (key, at) {
            (Some(key), _) => ChangeId::derive(&["key", &self.target.0, key]),
            (None, Some(_)) => ChangeId::derive(&["content", &content]),
            // Nothing says that it is the same one as before.
            (None, None) => ChangeId::derive(&["now", &content, &now.to_string()]),
        };
        Ok(PostedChange { id, content, target, kind, from, to, by, at: at.unwrap_or(now), barrier: self.barrier, url })
    }
}

fn key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(key) = headers.get(KEY) else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=200).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()));
    let why = "`Idempotency-Key` is no key; expected 1 to 200 letters, digits and signs without blanks";
    key.map(Some).ok_or_else(|| ApiError::invalid(why))
}
