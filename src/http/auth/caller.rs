//! Who asks, as handlers want to know it: an argument of one of these types lets nobody else in.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::{Denied, Peer, Scope};
use crate::http::Shared;
use crate::http::error::ApiError;
use crate::metrics::LoginRefusal;
use crate::model::Identity;

/// Whoever may read.
pub(in crate::http) struct Reader;

/// Whoever may operate.
pub(in crate::http) struct Operator(pub(in crate::http) Option<Identity>);

/// Whoever may tell of changes.
pub(in crate::http) struct Changer(pub(in crate::http) Option<Identity>);

impl FromRequestParts<Arc<Shared>> for Reader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, ApiError> {
        admit(shared, Scope::Read, parts).map(|_| Self)
    }
}

impl FromRequestParts<Arc<Shared>> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, ApiError> {
        admit(shared, Scope::Operate, parts).map(Self)
    }
}

impl FromRequestParts<Arc<Shared>> for Changer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, ApiError> {
        admit(shared, Scope::Changes, parts).map(Self)
    }
}

/// Lets a request in, and counts those that are not let in.
fn admit(shared: &Shared, scope: Scope, parts: &Parts) -> Result<Option<Identity>, ApiError> {
    let admitted = shared.tokens.admit(scope, &parts.headers, parts.extensions.get::<Arc<Peer>>().map(|peer| &**peer));
    admitted.map_err(|denied| {
        shared.metrics.access.login_refused(match denied {
            Denied::Unknown => LoginRefusal::Unknown,
            Denied::Scope(_) => LoginRefusal::Scope,
            Denied::Host => LoginRefusal::Host,
            Denied::Limited(_) => LoginRefusal::Limited,
        });
        denied.into()
    })
}
