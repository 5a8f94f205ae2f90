//! Facts: values with a source and an age, any of which may be unknown. Unknown is a value here, never an error to guess around.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Time;

/// Why something could not be seen. Stable names: they stand in reports and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownKind {
    /// Nobody has asked yet.
    NotObserved,
    /// The source could not be reached or did not answer in time.
    Unreachable,
    /// The source answered that we may not ask.
    Forbidden,
    /// The source answered, and there is nothing there.
    Empty,
    /// The source answered with something that is no usable value (several series, NaN, wrong type).
    Unusable,
    /// The value is older than the decision allows.
    Stale,
    /// Too little traffic for the value to mean anything.
    BelowFloor,
    /// No such source is configured.
    NotConfigured,
}

/// Why a fact is unknown, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// The kind, for machines.
    pub kind: UnknownKind,
    /// The particulars: what was asked, what came back. No secrets.
    pub detail: String,
}

impl Unknown {
    /// An unknown with its particulars.
    pub fn new(kind: UnknownKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// As what a fact is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactType {
    /// Any number.
    Number,
    /// A length of time.
    Duration,
    /// True or false.
    Bool,
    /// Text.
    Text,
}

/// Where a fact's value is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "from")]
pub enum ReadFrom {
    /// In the answer to its query.
    Query {
        /// Whether it was asked for the time of the change, so that its age says nothing.
        before_change: bool,
    },
    /// In the text that was found in a JSON document.
    Http,
    /// In a label of the alert.
    Label {
        /// Its name.
        name: String,
        /// What it counts as where it is missing.
        default: Option<String>,
    },
    /// In an annotation of the alert.
    Annotation {
        /// Its name.
        name: String,
        /// What it counts as where it is missing.
        default: Option<String>,
    },
    /// With a person, whom nobody asks yet.
    Person,
}

/// How a fact is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Where its value is found.
    #[serde(flatten)]
    pub from: ReadFrom,
    /// As what it is read.
    pub of: FactType,
}

impl Reading {
    /// A number that Prometheus answers now.
    pub const NUMBER: Self = Self { from: ReadFrom::Query { before_change: false }, of: FactType::Number };
}

/// A value in a JSON document: where it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpFact {
    /// The address, rendered.
    pub url: String,
    /// Where in the document, as a JSON pointer; empty: the document itself.
    pub pointer: String,
}

impl HttpFact {
    /// The text, number or truth that its pointer names in a document, as text.
    ///
    /// # Errors
    /// The document is no JSON, or has nothing there that is one value.
    pub fn read(&self, document: &[u8]) -> Result<String, Unknown> {
        let document: Value =
            serde_json::from_slice(document).map_err(|_| Unknown::new(UnknownKind::Unusable, "the answer is no JSON"))?;
        let pointer = &self.pointer;
        let empty = || Unknown::new(UnknownKind::Empty, format!("the document has nothing at `{pointer}`"));
        match document.pointer(pointer).ok_or_else(empty)? {
            Value::String(text) => Ok(text.clone()),
            value @ (Value::Number(_) | Value::Bool(_)) => Ok(value.to_string()),
            Value::Null => Err(Unknown::new(UnknownKind::Empty, format!("`{pointer}` is null"))),
            _ => Err(Unknown::new(UnknownKind::Unusable, format!("`{pointer}` is a list or map; expected one value"))),
        }
    }
}

/// A value as it was observed: from where, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact<T> {
    /// The value, or why there is none.
    pub value: Result<T, Unknown>,
    /// When it was true at its source (a sample's own time), or when we failed to see it.
    pub at: Time,
    /// Where it came from, in words fit for a report.
    pub source: String,
}

impl<T> Fact<T> {
    /// A known value.
    pub fn known(value: T, at: Time, source: impl Into<String>) -> Self {
        Self { value: Ok(value), at, source: source.into() }
    }

    /// A value that could not be seen.
    pub fn unknown(why: Unknown, at: Time, source: impl Into<String>) -> Self {
        Self { value: Err(why), at, source: source.into() }
    }

    /// The value, if it is known.
    pub fn get(&self) -> Option<&T> {
        self.value.as_ref().ok()
    }
}

/// A finite number. NaN and infinities never get in: a comparison with them would be false where it must be unknown.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Number(f64);

impl Number {
    /// The number, unless it is NaN or infinite.
    pub fn new(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self(value))
    }

    /// Its value.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Number {
    type Error = &'static str;

    fn try_from(value: f64) -> Result<Self, Self::Error> {
        Self::new(value).ok_or("expected a finite number")
    }
}

impl From<Number> for f64 {
    fn from(number: Number) -> Self {
        number.0
    }
}
