//! Values as a scope gives them and as the evaluation holds them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::super::duration;

/// A value that a scope answers with.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number. NaN counts as unknown.
    Double(f64),
    /// Text.
    Text(String),
    /// A length of time.
    Duration(Duration),
    /// Milliseconds since 1970, UTC.
    Time(i64),
    /// Values of one type.
    List(Vec<Value>),
    /// Values by name.
    Map(BTreeMap<String, Value>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Double(value) => write!(f, "{value}"),
            Self::Text(value) => write!(f, "{value:?}"),
            Self::Duration(value) => f.write_str(&duration::format(*value)),
            Self::Time(value) => match jiff::Timestamp::from_millisecond(*value) {
                Ok(time) => write!(f, "{time}"),
                Err(_) => write!(f, "{value} ms"),
            },
            Self::List(values) => {
                f.write_str("[")?;
                for (at, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::Map(values) => write!(f, "{{{} keys}}", values.len()),
        }
    }
}

/// A value during an evaluation: cheap to clone, with durations that may be negative.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Val {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Arc<str>),
    /// Nanoseconds.
    Span(i64),
    /// Milliseconds since 1970.
    Time(i64),
    List(Arc<[Val]>),
    Map(Arc<BTreeMap<String, Val>>),
}

impl fmt::Display for Val {
    /// For people: text as it is, everything else as in reports.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Double(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
            Self::Span(nanos) => {
                let sign = if *nanos < 0 { "-" } else { "" };
                write!(f, "{sign}{}", duration::format(Duration::from_nanos(nanos.unsigned_abs())))
            }
            Self::Time(at) => Value::Time(*at).fmt(f),
            Self::List(values) => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", values.join(", "))
            }
            Self::Map(values) => write!(f, "{{{} keys}}", values.len()),
        }
    }
}

impl Val {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// Takes over an answer; the reason if it is none.
    pub(super) fn from_answer(value: &Value) -> Result<Self, String> {
        Ok(match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(*value),
            // NaN compares unequal to everything, so that `x != 1` would hold for it.
            Value::Double(value) if value.is_nan() => return Err("not a number (NaN)".to_owned()),
            Value::Double(value) => Self::Double(*value),
            Value::Text(value) => Self::text(value),
            Value::Duration(value) => {
                Self::Span(i64::try_from(value.as_nanos()).map_err(|_| "a duration beyond 292 years".to_owned())?)
            }
            Value::Time(value) => Self::Time(*value),
            Value::List(values) => Self::List(values.iter().map(Self::from_answer).collect::<Result<_, _>>()?),
            Value::Map(values) => {
                let values = values.iter().map(|(name, value)| Ok((name.clone(), Self::from_answer(value)?)));
                Self::Map(Arc::new(values.collect::<Result<_, String>>()?))
            }
        })
    }
}

/// What the checker knows of a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    Bool,
    Int,
    Double,
    Text,
    Span,
    Time,
    List(Box<Type>),
    /// An element of `alerts`.
    Alert,
    /// Labels or annotations: text by name, where a missing one is the empty text.
    Texts,
    /// Something about which a problem was reported already, or an element of `[]`; fits everything.
    Unsure,
}

impl Type {
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Double | Self::Unsure)
    }

    pub(super) fn is_ordered(&self) -> bool {
        matches!(self, Self::Int | Self::Double | Self::Text | Self::Span | Self::Time | Self::Unsure)
    }

    /// Whether values of the two can be equal at all.
    pub(super) fn is_comparable(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unsure, _) | (_, Self::Unsure) => true,
            (Self::Alert | Self::Texts, _) | (_, Self::Alert | Self::Texts) => false,
            (Self::List(left), Self::List(right)) => left.is_comparable(right),
            _ => self == other || (self.is_number() && other.is_number()),
        }
    }

    /// Whether a value is of this type.
    pub(super) fn holds(&self, value: &Val) -> bool {
        match (self, value) {
            (Self::Bool, Val::Bool(_))
            | (Self::Int, Val::Int(_))
            | (Self::Double, Val::Int(_) | Val::Double(_))
            | (Self::Text, Val::Text(_))
            | (Self::Span, Val::Span(_))
            | (Self::Time, Val::Time(_))
            | (Self::Alert | Self::Texts, Val::Map(_))
            | (Self::Unsure, _) => true,
            (Self::List(element), Val::List(values)) => values.iter().all(|value| element.holds(value)),
            _ => false,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "true or false",
            Self::Int => "a whole number",
            Self::Double => "a number",
            Self::Text => "text",
            Self::Span => "a duration",
            Self::Time => "a time",
            Self::List(_) => "a list",
            Self::Alert => "an alert",
            Self::Texts => "labels",
            Self::Unsure => "unknown",
        })
    }
}
