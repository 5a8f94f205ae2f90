//! The OpenAPI document of the API, made of the handlers themselves. What is the same everywhere (who may ask, how it says no) is
//! added here once.

use std::sync::Arc;

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use crate::http::error::Problem;

const ABOUT: &str = "Decides from alerts whether to roll a release back, page a human, or fix forward. Every operation names who \
(`by`), and is written down with the credential that it was given with. Whatever goes wrong is told as `application/problem+json`.";

/// How the API says no: status, when, and whether only where there is a body or a name in the path.
const PROBLEMS: [(&str, &str, Only); 10] = [
    ("400", "What was sent makes no sense.", Only::Everywhere),
    ("401", "No credential, or one that nobody has.", Only::Everywhere),
    ("403", "A credential of another scope.", Only::Everywhere),
    ("404", "There is no such thing.", Only::Named),
    ("408", "The body did not come in time.", Only::Body),
    ("409", "It is there, and not in a state in which this can be done.", Only::Named),
    ("413", "The body is greater than 64 KiB.", Only::Body),
    ("415", "The body is not `application/json`.", Only::Body),
    ("422", "It is well formed, and cannot be.", Only::Body),
    ("429", "Too many wrong credentials came from this address.", Only::Everywhere),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Only {
    Everywhere,
    Named,
    Body,
}

/// The document of the API under `/api/v1`, and of what stands beside it.
pub(super) fn of(api: OpenApi, beside: OpenApi) -> OpenApi {
    let about = InfoBuilder::new()
        .title("backout")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build();
    let mut document = OpenApiBuilder::new().info(about).build().nest("/api/v1", api);
    document.merge(beside);
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            name(operation);
            say_no(path, operation);
        }
    }
    let components = document.components.get_or_insert_with(Components::new);
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
    let http = |scheme: HttpAuthScheme, text: &str| {
        SecurityScheme::Http(HttpBuilder::new().scheme(scheme).description(Some(text)).build())
    };
    components.add_security_scheme("bearer", http(HttpAuthScheme::Bearer, "A token from a file of the scope."));
    components.add_security_scheme("basic", http(HttpAuthScheme::Basic, "A name and its token from a file of the scope."));
    components.add_security_scheme(
        "certificate",
        SecurityScheme::MutualTls {
            description: Some("A client certificate with a name of the scope.".to_owned()),
            deprecated: None,
            extensions: None,
        },
    );
    let ways = ["bearer", "basic", "certificate"];
    document.security = Some(ways.map(|way| SecurityRequirement::new(way, Vec::<String>::new())).into());
    document
}

/// It says nothing about this service but its version: whoever can reach it may read it, like its source.
pub(super) fn serve(document: &Arc<OpenApi>) -> Response {
    match document.to_json() {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => crate::http::error::ApiError::unavailable(format!("defect: {error}")).into_response(),
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [item.get.as_mut(), item.post.as_mut(), item.delete.as_mut()].into_iter().flatten()
}

/// Handlers are named within their module, operations in the whole document: `incidents_list`.
fn name(operation: &mut Operation) {
    let tag = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
    operation.operation_id = operation.operation_id.take().map(|handler| format!("{tag}_{handler}"));
}

fn say_no(path: &str, operation: &mut Operation) {
    for (status, when, only) in PROBLEMS {
        let applies = match only {
            Only::Everywhere => true,
            Only::Named => path.contains('{'),
            Only::Body => operation.request_body.is_some(),
        };
        if applies {
            operation.responses.responses.insert(status.to_owned(), problem(when));
        }
    }
    operation.responses.responses.insert("503".to_owned(), problem("Not now: starting, ending, or the journal does not commit."));
}

fn problem(when: &str) -> RefOr<utoipa::openapi::Response> {
    let schema = Ref::from_schema_name(Problem::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    RefOr::T(ResponseBuilder::new().description(when).content("application/problem+json", content).build())
}
