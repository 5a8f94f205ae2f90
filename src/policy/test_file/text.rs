//! Texts of a test file with a grammar of their own, and values that are written as a text or as a map.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::super::yaml::{TEXT_OR_OTHER, text};

text! {
    /// A time of the world.
    pub(super) InstantText = "a time of the world such as `12m` or `-3d`", {"type": ["string", "integer"]};
    /// `true` or `false`.
    pub(super) FlagText = "`true` or `false`", {"type": "boolean"};
    /// A time of the world, or two of them.
    pub(super) SpanText = "times of the world such as `5m to 20m`, or `5m`", {"type": "string"};
    /// promtool's notation.
    pub(super) SeriesText = "a series such as `0x10 0.5x20`", {"type": ["string", "number"]};
    /// RFC 3339.
    pub(super) TimestampText = "a time such as `2026-03-02T09:00:00Z`", {"type": "string"};
}

/// What is written as a text or as something else.
#[derive(Clone, Debug)]
pub(super) enum TextOr<S, T> {
    /// A text.
    Text(S),
    /// A map.
    Other(T),
}

impl<'de, S: From<String>, T: Deserialize<'de>> Deserialize<'de> for TextOr<S, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(TEXT_OR_OTHER, TextOrVisitor(PhantomData))
    }
}

struct TextOrVisitor<S, T>(PhantomData<(S, T)>);

impl<'de, S: From<String>, T: Deserialize<'de>> Visitor<'de> for TextOrVisitor<S, T> {
    type Value = TextOr<S, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a map")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(TextOr::Text(S::from(text.to_owned())))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        T::deserialize(deserializer).map(TextOr::Other)
    }
}

impl<S: JsonSchema, T: JsonSchema> JsonSchema for TextOr<S, T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("text or {}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (text, other) = (generator.subschema_for::<S>(), generator.subschema_for::<T>());
        json_schema!({"anyOf": [text, other]})
    }
}

impl From<String> for SpanText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<String> for SeriesText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_are_told_that_text_will_do() {
        let schema = SchemaGenerator::default().subschema_for::<TextOr<String, bool>>().to_value();
        assert_eq!(schema, serde_json::json!({"anyOf": [{"type": "string"}, {"type": "boolean"}]}));
        assert_eq!(TextOr::<String, bool>::schema_name(), "text or boolean");
    }
}
