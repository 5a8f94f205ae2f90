//! Texts of a test file with a grammar of their own, and values that are written as a text or as a map.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use super::super::yaml::TEXT_OR_OTHER;

macro_rules! text {
    ($($(#[$doc:meta])* $name:ident = $expected:literal, $schema:tt;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub(super) struct $name(pub(super) String);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<$name, E> {
                        Ok($name(text.to_owned()))
                    }
                }
                deserializer.deserialize_any(Text)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

text! {
    /// A time of the world.
    InstantText = "a time of the world such as `12m` or `-3d`", {"type": ["string", "integer"]};
    /// `true` or `false`.
    FlagText = "`true` or `false`", {"type": "boolean"};
    /// A time of the world, or two of them.
    SpanText = "times of the world such as `5m to 20m`, or `5m`", {"type": "string"};
    /// promtool's notation.
    SeriesText = "a series such as `0x10 0.5x20`", {"type": ["string", "number"]};
    /// RFC 3339.
    TimestampText = "a time such as `2026-03-02T09:00:00Z`", {"type": "string"};
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

/// A list, or one item in its place, also where an item is a map.
#[derive(Clone, Debug)]
pub(super) struct OneOrMore<T>(pub(super) Vec<T>);

impl<T> Default for OneOrMore<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct("$list:maps", ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = OneOrMore<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one of them, or a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMore<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(OneOrMore(list))
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMore<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("one or more {}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({"anyOf": [one, {"type": "array", "items": one}]})
    }
}
