//! What is going on, and what happened.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::said::TargetName;
use super::{Answer, App, ask, json, said};
use crate::http::auth::Reader;
use crate::http::error::ApiError;
use crate::model::Outcome;
use crate::ports::answer::{IncidentDetail, IncidentList};
use crate::ports::{IncidentCursor, IncidentFilter, IncidentQuery, Question, ReportFormat};

/// The most incidents in one answer.
const MOST: usize = 1000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct List {
    /// `open` unless it is said, `closed`, `all`, or where an incident stands.
    #[param(inline)]
    state: Option<Standing>,
    /// Decided by this policy.
    policy: Option<String>,
    /// With a target in this namespace.
    namespace: Option<String>,
    /// About this target, `namespace/name`.
    #[param(inline)]
    target: Option<TargetName>,
    /// With this last verdict.
    #[param(inline)]
    outcome: Option<Verdict>,
    /// Opened since: a time (RFC 3339), or how long ago (`2h`).
    since: Option<String>,
    /// How many at most; 100 unless it is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where the page begins: `next` of the page before.
    cursor: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Standing {
    Open,
    Closed,
    All,
    Settling,
    Deciding,
    Countdown,
    Approval,
    Preparing,
    Redeciding,
    Executing,
    Verifying,
    Verified,
    Shadowed,
    Paged,
    FixForward,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Rollback,
    Page,
    FixForward,
}

/// Lists incidents, the newest first. Following `next` shows each of them once, also while new ones are opened.
#[utoipa::path(get, path = "/incidents", tag = "incidents", params(List), responses((status = 200, body = IncidentList)))]
pub(super) async fn list(_: Reader, State(shared): App, query: Result<Query<List>, QueryRejection>) -> Answer {
    let List { state, policy, namespace, target, outcome, since, limit, cursor } = said::query(query)?;
    let after = cursor.map(|cursor| {
        let why = "`cursor` is none of ours; expected `next` of an earlier answer";
        IncidentCursor::parse(&cursor).ok_or_else(|| ApiError::invalid(why))
    });
    let (state, phase) = state.unwrap_or(Standing::Open).filter();
    let query = IncidentQuery {
        state,
        phase: phase.map(str::to_owned),
        policy,
        namespace,
        target: target.map(|target| said::target(&target).map(|_| target.0)).transpose()?,
        outcome: outcome.map(Into::into),
        since: since.map(|since| said::since(&since, shared.clock.now())).transpose()?,
        after: after.transpose()?,
        limit: said::limit(limit, MOST)?,
    };
    ask(&shared, Question::Incidents(query)).await
}

/// Shows an incident with all that is known of it.
#[utoipa::path(
    get, path = "/incidents/{id}", tag = "incidents",
    params(("id" = String, Path, description = "The incident.", pattern = "^i[0-9a-f]{12}$")),
    responses((status = 200, body = IncidentDetail))
)]
pub(super) async fn show(_: Reader, State(shared): App, id: Result<Path<String>, PathRejection>) -> Answer {
    ask(&shared, Question::Incident(said::incident(id)?)).await
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Written {
    /// How it is written; `json` unless it is said.
    #[param(inline)]
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    Json,
    Markdown,
    Html,
}

/// Reports what happened, when, and why.
#[utoipa::path(
    get, path = "/incidents/{id}/report", tag = "incidents",
    params(Written, ("id" = String, Path, description = "The incident.", pattern = "^i[0-9a-f]{12}$")),
    responses((status = 200, content(
        (IncidentDetail = "application/json"),
        (String = "text/markdown; charset=utf-8"),
        (String = "text/html; charset=utf-8")
    )))
)]
pub(super) async fn report(
    _: Reader,
    State(shared): App,
    id: Result<Path<String>, PathRejection>,
    query: Result<Query<Written>, QueryRejection>,
) -> Answer {
    let Written { format } = said::query(query)?;
    let format = match format {
        None | Some(Format::Json) => ReportFormat::Json,
        Some(Format::Markdown) => ReportFormat::Markdown,
        Some(Format::Html) => ReportFormat::Html,
    };
    let incident = said::incident(id)?;
    match (format, shared.control.query(Question::Report { incident, format }).await?) {
        (ReportFormat::Markdown, Value::String(text)) => {
            Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], text).into_response())
        }
        (ReportFormat::Html, Value::String(text)) => Ok(page(text)),
        (_, value) => Ok(json(&value)),
    }
}

/// The page for a browser, which is told to run and load nothing.
fn page(text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, text).into_response()
}

impl Standing {
    /// Whether they are over, and the name of the phase where it names one.
    fn filter(self) -> (IncidentFilter, Option<&'static str>) {
        let phase = match self {
            Self::Open => return (IncidentFilter::Open, None),
            Self::Closed => return (IncidentFilter::Closed, None),
            Self::All => return (IncidentFilter::All, None),
            Self::Settling => "settling",
            Self::Deciding => "deciding",
            Self::Countdown => "countdown",
            Self::Approval => "approval",
            Self::Preparing => "preparing",
            Self::Redeciding => "redeciding",
            Self::Executing => "executing",
            Self::Verifying => "verifying",
            Self::Verified => "verified",
            Self::Shadowed => "shadowed",
            Self::Paged => "paged",
            Self::FixForward => "fix_forward",
        };
        (IncidentFilter::Open, Some(phase))
    }
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Rollback => Self::Rollback,
            Verdict::Page => Self::Page,
            Verdict::FixForward => Self::FixForward,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::incident::Phase;

    #[test]
    fn every_phase_can_be_asked_for() {
        for name in Phase::OPEN {
            let standing: Standing = serde_json::from_value(Value::String(name.to_owned())).expect("a variant");
            assert_eq!(standing.filter(), (IncidentFilter::Open, Some(name)));
        }
    }
}
