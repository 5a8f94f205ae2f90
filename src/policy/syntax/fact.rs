//! Facts as they are written: where a value comes from, and as what it is read.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::yaml::Field;
use super::text::{PromqlText, ScalarText, TemplateText};

/// A value that conditions read as `facts.NAME`: exactly one of `promql`, `label`, `annotation`, `http`, `ask`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "fact")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct Fact {
    /// A query to Prometheus. One sample is the fact; none, several, NaN and errors are unknown.
    pub(in super::super) promql: Field<PromqlText>,
    /// When the query is evaluated, if not now.
    pub(in super::super) at: Field<FactAt>,
    /// The least traffic for which the fact means something; below it the fact is unknown.
    pub(in super::super) floor: Field<Floor>,
    /// A label of the alert (of the firing one with the earliest onset).
    pub(in super::super) label: Field<String>,
    /// An annotation of that alert.
    pub(in super::super) annotation: Field<String>,
    /// A value in a JSON document that is asked for by HTTP.
    pub(in super::super) http: Field<HttpFact>,
    /// A question to a person.
    pub(in super::super) ask: Field<String>,
    /// As what it is read (`promql`: number, `label` and `annotation`: string).
    #[serde(rename = "as")]
    pub(in super::super) of: Field<FactAs>,
    /// What a missing label or annotation counts as; without it the fact is unknown then.
    pub(in super::super) default: Field<ScalarText>,
}

/// When a query is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", rename = "at")]
pub(in super::super) enum FactAt {
    /// When the change was first written: what the release before it looked like.
    BeforeChange,
}

/// As what a fact is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", rename = "as")]
pub(in super::super) enum FactAs {
    /// A number.
    Number,
    /// A length of time: `2h`, or seconds where it comes from Prometheus.
    Duration,
    /// `true` or `false`; 1 or 0 where it comes from Prometheus.
    Bool,
    /// Text.
    String,
}

/// The least traffic for which a fact means something.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "floor")]
#[schemars(deny_unknown_fields, extend("required" = ["promql", "at_least"]))]
pub(in super::super) struct Floor {
    /// The query that says how much traffic there is.
    pub(in super::super) promql: Field<PromqlText>,
    /// The least value of it.
    pub(in super::super) at_least: Field<f64>,
}

/// A value in a JSON document.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "HTTP fact")]
#[schemars(deny_unknown_fields, extend("required" = ["url"]))]
pub(in super::super) struct HttpFact {
    /// The address; scheme and host are literal, values in it are percent-encoded.
    pub(in super::super) url: Field<TemplateText>,
    /// Where in the document, as a JSON pointer: `/status/users`. Without it the document itself is the value.
    pub(in super::super) pointer: Field<String>,
}
