//! Texts with a grammar of their own, told apart for the schema; and what is a word or a map.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use super::super::yaml::{Field, TEXT_OR_OTHER, text};
use super::policy::{NamedTarget, Target};
use super::step::Expected;
use super::verify::Expect;

text! {
    /// Prometheus' way to write durations.
    pub(in super::super) DurationText = "a duration such as `30s`, `1h30m` or `3d`",
        {"type": ["string", "integer"], "pattern": "^(0|([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$"};
    /// Alertmanager's way to write matchers.
    pub(in super::super) MatcherText = "a matcher such as `'severity = \"critical\"'`", {"type": "string"};
    /// A condition.
    pub(in super::super) CelText = "a CEL condition such as `facts.errors > 0.5`", {"type": ["string", "boolean"]};
    /// A query.
    pub(in super::super) PromqlText = "a PromQL query", {"type": ["string", "number"]};
    /// Literal text with `{{ }}` in it.
    pub(in super::super) TemplateText = "text, with values as in `{{ labels.app }}`", {"type": "string"};
    /// A number, a word or text: what it may be is for its key to say.
    pub(in super::super) ScalarText = "a value", {"type": ["string", "number", "boolean"]};
    /// A day.
    pub(in super::super) DateText = "a date such as `2026-12-31`", {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"};
    /// A time of the day.
    pub(in super::super) ClockText = "a time of the day such as `09:00`", {"type": "string", "pattern": "^((([01][0-9])|(2[0-3])):[0-5][0-9]|24:00)$"};
    /// One of something, or a range with both ends.
    pub(in super::super) RangeText = "one such as `monday`, or a range such as `monday:friday`", {"type": ["string", "integer"]};
}

/// A value of any shape, with templates in its texts.
#[derive(Clone, Debug)]
pub(in super::super) enum Free {
    /// Nothing.
    Null,
    /// A scalar; whether it is a number shows in how it is written.
    Scalar(String),
    /// A list.
    List(Vec<Field<Free>>),
    /// A map.
    Map(Vec<(String, Field<Free>)>),
}

impl<'de> Deserialize<'de> for Free {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Free;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value of any shape")
            }

            fn visit_unit<E: Error>(self) -> Result<Free, E> {
                Ok(Free::Null)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Free, E> {
                Ok(Free::Scalar(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Free, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Free::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Free, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Free::Map(entries))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl JsonSchema for Free {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "any value".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["object", "array", "string", "number", "boolean", "null"]})
    }
}

impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StatusOrMap;
        impl<'de> Visitor<'de> for StatusOrMap {
            type Value = Expected;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`2xx`, a status such as `204`, or a map such as `{status: 204}`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Expected, E> {
                Ok(Expected::Status(text.to_owned()))
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Expected, D::Error> {
                Expect::deserialize(deserializer).map(Expected::Answer)
            }
        }
        deserializer.deserialize_newtype_struct(TEXT_OR_OTHER, StatusOrMap)
    }
}

impl JsonSchema for Expected {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "expected".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let map = generator.subschema_for::<Expect>();
        json_schema!({"anyOf": [{"const": "2xx"}, {"type": "integer", "minimum": 100, "maximum": 599}, map]})
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(TEXT_OR_OTHER, TargetVisitor)
    }
}

struct TargetVisitor;

impl<'de> Visitor<'de> for TargetVisitor {
    type Value = Target;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`auto`, or a map such as `{deployment: '{{ labels.app }}', namespace: shop}`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Target, E> {
        if text == "auto" { Ok(Target::Auto) } else { Err(E::invalid_value(Unexpected::Str(text), &self)) }
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Target, D::Error> {
        NamedTarget::deserialize(deserializer).map(|named| Target::Named(Box::new(named)))
    }
}

impl JsonSchema for Target {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "target".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let named = generator.subschema_for::<NamedTarget>();
        json_schema!({"anyOf": [{"const": "auto"}, named]})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn editors_are_told_what_may_be_written() {
        let mut generator = SchemaGenerator::default();
        let any = json!({"type": ["object", "array", "string", "number", "boolean", "null"]});
        assert_eq!(generator.subschema_for::<Free>().to_value(), any);
        let expected = generator.subschema_for::<Expected>().to_value();
        assert_eq!(expected["anyOf"][0], json!({"const": "2xx"}));
        assert_eq!(expected["anyOf"][1], json!({"type": "integer", "minimum": 100, "maximum": 599}));
        assert_eq!(generator.subschema_for::<Target>().to_value()["anyOf"][0], json!({"const": "auto"}));
        let names = [Free::schema_name(), Expected::schema_name(), Target::schema_name()];
        assert_eq!(names, ["any value", "expected", "target"]);
    }
}
