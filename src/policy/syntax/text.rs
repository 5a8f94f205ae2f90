//! Texts with a grammar of their own, told apart for the schema; and `target`, which is a word or a map.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use super::super::yaml::TEXT_OR_OTHER;
use super::{NamedTarget, Target};

macro_rules! text {
    ($($(#[$doc:meta])* $name:ident = $expected:literal, $schema:tt;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub(in super::super) struct $name(pub(in super::super) String);

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
    /// Prometheus' way to write durations.
    DurationText = "a duration such as `30s`, `1h30m` or `3d`",
        {"type": ["string", "integer"], "pattern": "^(0|([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$"};
    /// Alertmanager's way to write matchers.
    MatcherText = "a matcher such as `'severity = \"critical\"'`", {"type": "string"};
    /// A condition.
    CelText = "a CEL condition such as `facts.errors > 0.5`", {"type": ["string", "boolean"]};
    /// A query.
    PromqlText = "a PromQL query", {"type": ["string", "number"]};
    /// Literal text with `{{ }}` in it.
    TemplateText = "text, with values as in `{{ labels.app }}`", {"type": "string"};
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
        NamedTarget::deserialize(deserializer).map(Target::Named)
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
