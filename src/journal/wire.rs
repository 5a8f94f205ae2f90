//! L1: walking through a webhook body without owning it. One UTF-8 check, one pass, nothing allocated for a label.
//!
//! Lenient as senders are various: unknown fields are ignored, of an alert only its labels must be there, and an alert that
//! cannot be read spoils only itself. Must not know about HTTP, and must not decide anything.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::model::AlertStatus;

/// Why a body can never be parsed, now or later. The texts are constant: the sender logs them at each attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unparseable {
    /// Not text.
    #[error("the body is not utf-8 text")]
    NotUtf8,
    /// Not one whole JSON value.
    #[error("the body is not json")]
    NotJson,
    /// JSON of another shape.
    #[error("the body has no list `alerts`: expected an alertmanager webhook of version 4, without a `payload` of its own")]
    NoAlerts,
    /// What Grafana posted before its unified alerting.
    #[error("the body is of grafana's legacy alerting: expected grafana 9 or later with unified alerting")]
    LegacyGrafana,
    /// A list, and no alert in it can be read.
    #[error("no alert in the list has readable labels: expected `labels` with text values")]
    NothingReadable,
}

/// What the sender says about an alert's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stated {
    /// This.
    Status(AlertStatus),
    /// Nothing: the envelope's status counts.
    Unsaid,
}

impl Stated {
    /// The status, with the envelope's for an alert that states none.
    pub fn or(self, envelope: AlertStatus) -> AlertStatus {
        match self {
            Self::Status(status) => status,
            Self::Unsaid => envelope,
        }
    }
}

/// What an alert has beside labels and annotations; texts are empty when absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The alert's own status.
    pub status: Stated,
    /// As sent, like all that follow.
    pub fingerprint: Cow<'a, str>,
    /// As sent.
    pub starts_at: Cow<'a, str>,
    /// As sent.
    pub ends_at: Cow<'a, str>,
    /// As sent.
    pub generator_url: Cow<'a, str>,
}

impl Head<'_> {
    const EMPTY: Self = Head {
        status: Stated::Unsaid,
        fingerprint: Cow::Borrowed(""),
        starts_at: Cow::Borrowed(""),
        ends_at: Cow::Borrowed(""),
        generator_url: Cow::Borrowed(""),
    };
}

/// What stands around the list of alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The sender's receiver, regexp-quoted.
    pub receiver: Cow<'a, str>,
    /// For alerts that state no status of their own, and for nothing else.
    pub status: AlertStatus,
    /// How many alerts were cut from the list; 1 where the number cannot be read.
    pub truncated: u64,
}

/// Takes what a walk finds, alert by alert: its labels and annotations in the sender's order, then its end.
pub trait Sink<'a> {
    /// A label of the alert that is being walked. An empty value means the same as no label.
    fn label(&mut self, name: Cow<'a, str>, value: Cow<'a, str>);

    /// An annotation of it.
    fn annotation(&mut self, name: Cow<'a, str>, value: Cow<'a, str>);

    /// It is complete.
    fn alert(&mut self, head: Head<'a>);

    /// It cannot be read; what came of it is void.
    fn unreadable(&mut self);
}

/// Walks through a body.
///
/// # Errors
/// When the body can never be parsed. What the sink was given by then is void.
pub fn walk<'a, S: Sink<'a>>(body: &'a [u8], sink: &mut S) -> Result<Envelope<'a>, Unparseable> {
    let text = std::str::from_utf8(body).map_err(|_| Unparseable::NotUtf8)?;
    let mut json = serde_json::Deserializer::from_str(text);
    let found = EnvelopeSeed(sink, PhantomData)
        .deserialize(&mut json)
        .and_then(|found| json.end().map(|()| found))
        .map_err(|_| Unparseable::NotJson)?;
    if found.list {
        Ok(found.envelope)
    } else if found.legacy {
        Err(Unparseable::LegacyGrafana)
    } else {
        Err(Unparseable::NoAlerts)
    }
}

/// Any JSON value, where a text or a number is expected.
enum Value<'a> {
    Text(Cow<'a, str>),
    Whole(u64),
    Null,
    Other,
}

impl<'a> Value<'a> {
    /// The text; empty for everything else.
    fn text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text,
            Self::Whole(_) | Self::Null | Self::Other => Cow::Borrowed(""),
        }
    }

    /// A status as every sender spells it; `None`: another word or no text.
    fn status(self) -> Option<Stated> {
        match self {
            Self::Text(text) if text == "firing" => Some(Stated::Status(AlertStatus::Firing)),
            Self::Text(text) if text == "resolved" => Some(Stated::Status(AlertStatus::Resolved)),
            Self::Text(text) if text.is_empty() => Some(Stated::Unsaid),
            Self::Null => Some(Stated::Unsaid),
            Self::Text(_) | Self::Whole(_) | Self::Other => None,
        }
    }
}

/// The visits of what is not expected: taken, and answered with one value.
macro_rules! otherwise {
    ($($visit:ident: $kind:ty),* => $value:expr) => {
        $(fn $visit<E>(self, _: $kind) -> Result<Self::Value, E> { Ok($value) })*

        fn visit_unit<E>(self) -> Result<Self::Value, E> { Ok($value) }
    };
}

impl<'de> serde::Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Reader<'a>(PhantomData<&'a ()>);

        impl<'de> Visitor<'de> for Reader<'de> {
            type Value = Value<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Value::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Value::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Value::Whole(number))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Value::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Value::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Value::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                drain_list(list).map(|()| Value::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                drain_map(map).map(|()| Value::Other)
            }
        }

        json.deserialize_any(Reader(PhantomData))
    }
}

fn drain_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<(), A::Error> {
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

fn drain_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

struct Found<'a> {
    envelope: Envelope<'a>,
    list: bool,
    legacy: bool,
}

impl Found<'_> {
    const NOTHING: Self = Found {
        envelope: Envelope { receiver: Cow::Borrowed(""), status: AlertStatus::Firing, truncated: 0 },
        list: false,
        legacy: false,
    };
}

struct EnvelopeSeed<'s, 'a, S>(&'s mut S, PhantomData<&'a ()>);

impl<'de, S: Sink<'de>> DeserializeSeed<'de> for EnvelopeSeed<'_, 'de, S> {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, S: Sink<'de>> Visitor<'de> for EnvelopeSeed<'_, 'de, S> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a notification")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Found::NOTHING;
        while let Some(key) = map.next_key::<Value<'de>>()? {
            match &*key.text() {
                "receiver" => found.envelope.receiver = map.next_value::<Value<'de>>()?.text(),
                "status" => {
                    if let Some(Stated::Status(status)) = map.next_value::<Value<'de>>()?.status() {
                        found.envelope.status = status;
                    }
                }
                "truncatedAlerts" => {
                    found.envelope.truncated = match map.next_value::<Value<'de>>()? {
                        Value::Whole(number) => number,
                        Value::Null => 0,
                        Value::Text(_) | Value::Other => 1,
                    };
                }
                "alerts" => found.list |= map.next_value_seed(ListSeed(&mut *self.0, PhantomData))?,
                other => {
                    found.legacy |= matches!(other, "ruleId" | "ruleName" | "evalMatches");
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        drain_list(list).map(|()| Found::NOTHING)
    }

    otherwise!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str => Found::NOTHING);
}

/// Reads the list; answers whether it is one.
struct ListSeed<'s, 'a, S>(&'s mut S, PhantomData<&'a ()>);

impl<'de, S: Sink<'de>> DeserializeSeed<'de> for ListSeed<'_, 'de, S> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, S: Sink<'de>> Visitor<'de> for ListSeed<'_, 'de, S> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of alerts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        while let Some(head) = list.next_element_seed(AlertSeed(&mut *self.0, PhantomData))? {
            match head {
                Some(head) => self.0.alert(head),
                None => self.0.unreadable(),
            }
        }
        Ok(true)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<bool, A::Error> {
        drain_map(map).map(|()| false)
    }

    otherwise!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str => false);
}

/// Reads one alert; `None` when it cannot be read.
struct AlertSeed<'s, 'a, S>(&'s mut S, PhantomData<&'a ()>);

impl<'de, S: Sink<'de>> DeserializeSeed<'de> for AlertSeed<'_, 'de, S> {
    type Value = Option<Head<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, S: Sink<'de>> Visitor<'de> for AlertSeed<'_, 'de, S> {
    type Value = Option<Head<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an alert")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut head = Head::EMPTY;
        let mut labels = false;
        let mut readable = true;
        while let Some(key) = map.next_key::<Value<'de>>()? {
            match &*key.text() {
                "labels" => {
                    labels = true;
                    readable &= map.next_value_seed(PairsSeed(|name, value| self.0.label(name, value), PhantomData))?;
                }
                "status" => match map.next_value::<Value<'de>>()?.status() {
                    Some(status) => head.status = status,
                    None => readable = false,
                },
                "annotations" => {
                    // Annotations are for people: one that is no text is left out.
                    map.next_value_seed(PairsSeed(|name, value| self.0.annotation(name, value), PhantomData))?;
                }
                "fingerprint" => head.fingerprint = map.next_value::<Value<'de>>()?.text(),
                "startsAt" => head.starts_at = map.next_value::<Value<'de>>()?.text(),
                "endsAt" => head.ends_at = map.next_value::<Value<'de>>()?.text(),
                "generatorURL" => head.generator_url = map.next_value::<Value<'de>>()?.text(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok((labels && readable).then_some(head))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        drain_list(list).map(|()| None)
    }

    otherwise!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str => None);
}

/// Hands on the pairs of an object; answers whether it is one and all its values are texts.
struct PairsSeed<'a, F>(F, PhantomData<&'a ()>);

impl<'de, F: FnMut(Cow<'de, str>, Cow<'de, str>)> DeserializeSeed<'de> for PairsSeed<'de, F> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, F: FnMut(Cow<'de, str>, Cow<'de, str>)> Visitor<'de> for PairsSeed<'de, F> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names and texts")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<bool, A::Error> {
        let mut texts = true;
        while let Some((name, value)) = map.next_entry::<Value<'de>, Value<'de>>()? {
            match value {
                Value::Text(value) => (self.0)(name.text(), value),
                Value::Whole(_) | Value::Null | Value::Other => texts = false,
            }
        }
        Ok(texts)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<bool, A::Error> {
        drain_list(list).map(|()| false)
    }

    otherwise!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str => false);
}
