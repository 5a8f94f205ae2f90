//! Facts: where a value comes from, and as what it is read.

use std::time::Duration;

use super::super::duration;
use super::super::expr::Value;
use super::super::template::Template;
use crate::model::{FactType, ReadFrom, Reading};

/// A value that conditions read.
#[derive(Clone, Debug, PartialEq)]
pub struct FactSpec {
    /// Where it comes from.
    pub source: FactSource,
    /// As what it is read.
    pub of: FactType,
}

/// Where a fact comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum FactSource {
    /// Prometheus answers.
    Promql {
        /// PromQL with `$namespace $name $service $cluster $workload $changed_at`.
        promql: String,
        /// Whether it is asked for the time at which the change was first written.
        before_change: bool,
        /// Below this much traffic the fact is unknown.
        floor: Option<Floor>,
    },
    /// A label of the alert.
    Label {
        /// Its name.
        name: String,
        /// What it counts as where it is missing.
        default: Option<String>,
    },
    /// An annotation of the alert.
    Annotation {
        /// Its name.
        name: String,
        /// What it counts as where it is missing.
        default: Option<String>,
    },
    /// A JSON document holds it.
    Http {
        /// Renders to the address.
        url: Template,
        /// Where in the document, as a JSON pointer; empty: the document itself.
        pointer: String,
    },
    /// A person answers. Nobody is asked yet, so that it stays unknown.
    Person {
        /// What is asked.
        question: String,
    },
}

/// The least traffic for which a fact means something.
#[derive(Clone, Debug, PartialEq)]
pub struct Floor {
    /// PromQL as in the fact.
    pub promql: String,
    /// The least value of it.
    pub at_least: f64,
}

impl FactSpec {
    /// A number that Prometheus answers now.
    pub fn number(promql: impl Into<String>, floor: Option<Floor>) -> Self {
        let source = FactSource::Promql { promql: promql.into(), before_change: false, floor };
        Self { source, of: FactType::Number }
    }

    /// How it is read.
    pub fn reading(&self) -> Reading {
        let from = match &self.source {
            FactSource::Promql { before_change, .. } => ReadFrom::Query { before_change: *before_change },
            FactSource::Label { name, default } => ReadFrom::Label { name: name.clone(), default: default.clone() },
            FactSource::Annotation { name, default } => ReadFrom::Annotation { name: name.clone(), default: default.clone() },
            FactSource::Http { .. } => ReadFrom::Http,
            FactSource::Person { .. } => ReadFrom::Person,
        };
        Reading { from, of: self.of }
    }

    /// Its query, where Prometheus answers it.
    pub fn promql(&self) -> Option<&str> {
        match &self.source {
            FactSource::Promql { promql, .. } => Some(promql),
            _ => None,
        }
    }

    /// Its floor, where it has one.
    pub fn floor(&self) -> Option<&Floor> {
        match &self.source {
            FactSource::Promql { floor, .. } => floor.as_ref(),
            _ => None,
        }
    }
}

/// Reads a text as what the fact is declared to be.
///
/// # Errors
/// It is nothing of that kind: the fact is unknown then.
pub fn from_text(text: &str, of: FactType) -> Result<Value, String> {
    let not = |what: &str| format!("{text:?} is not {what}");
    match of {
        FactType::Text => Ok(Value::Text(text.to_owned())),
        FactType::Number => {
            let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            number.map(Value::Double).ok_or_else(|| not("a number"))
        }
        FactType::Duration => duration::parse(text.trim()).map(Value::Duration).map_err(|_| not("a duration")),
        FactType::Bool => match text.trim() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(not("`true` or `false`")),
        },
    }
}

/// Reads a number as what the fact is declared to be: seconds, 1 and 0.
///
/// # Errors
/// It is nothing of that kind: the fact is unknown then.
pub fn from_number(number: f64, of: FactType) -> Result<Value, String> {
    match of {
        FactType::Number => Ok(Value::Double(number)),
        FactType::Duration => {
            Duration::try_from_secs_f64(number).map(Value::Duration).map_err(|_| format!("{number} seconds are no duration"))
        }
        FactType::Bool if number == 0.0 => Ok(Value::Bool(false)),
        FactType::Bool if (number - 1.0).abs() < f64::EPSILON => Ok(Value::Bool(true)),
        FactType::Bool => Err(format!("{number} is neither 0 nor 1")),
        FactType::Text => Err("a number is no text".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_of_its_kind_is_unknown() {
        for (text, of, wanted) in [
            ("0.5", FactType::Number, "0.5"),
            ("2h", FactType::Duration, "2h"),
            ("true", FactType::Bool, "true"),
            (" false ", FactType::Bool, "false"),
            ("x", FactType::Text, "\"x\""),
            ("", FactType::Number, "\"\" is not a number"),
            ("NaN", FactType::Number, "\"NaN\" is not a number"),
            ("soon", FactType::Duration, "\"soon\" is not a duration"),
            ("yes", FactType::Bool, "\"yes\" is not `true` or `false`"),
        ] {
            let found = from_text(text, of).map_or_else(|why| why, |value| value.to_string());
            assert_eq!(found, wanted, "{text:?} as {of:?}");
        }
        assert_eq!(from_number(90.0, FactType::Duration), Ok(Value::Duration(Duration::from_secs(90))));
        assert_eq!(from_number(1.0, FactType::Bool), Ok(Value::Bool(true)));
        assert_eq!(from_number(0.0, FactType::Bool), Ok(Value::Bool(false)));
        let nearly = 1.0 + f64::EPSILON;
        for (number, of) in [(-1.0, FactType::Duration), (2.0, FactType::Bool), (nearly, FactType::Bool), (1.0, FactType::Text)] {
            assert!(from_number(number, of).is_err(), "{number} as {of:?}");
        }
    }

    #[test]
    fn only_what_prometheus_answers_has_a_query() {
        assert_eq!(FactSpec::number("up", None).promql(), Some("up"));
        let source = FactSource::Person { question: "is it bad?".to_owned() };
        assert_eq!(FactSpec { source, of: FactType::Bool }.promql(), None);
    }
}
