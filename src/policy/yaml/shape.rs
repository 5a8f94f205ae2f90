//! Ways of writing: one name instead of a list, a value instead of a map, a bare word instead of a map over nothing.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

use super::field::Field;

/// The name under which the deserializer shows text as text, and a map as something to read a type from.
pub(in super::super) const TEXT_OR_OTHER: &str = "$text_or_other";

/// A list, or one item in its place.
#[derive(Clone, Debug)]
pub(in super::super) struct Listed<T>(pub(in super::super) Vec<T>);

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Listed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct("$list", ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = Listed<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Listed<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Listed(list))
    }
}

impl<T: JsonSchema> JsonSchema for Listed<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("list of {}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({"anyOf": [one, {"type": "array", "items": one}]})
    }
}

/// A list of maps, or one map in its place.
#[derive(Clone, Debug)]
pub(in super::super) struct OneOrMany<T>(pub(in super::super) Vec<Field<T>>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct("$one_or_many", ListVisitor(PhantomData)).map(|Listed(items)| Self(items))
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("one or more of {}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Listed::<T>::json_schema(generator)
    }
}

/// A map that can be written as the value of one of its keys.
pub(in super::super) trait Shorthand {
    /// `$short:` and the key.
    const NAME: &'static str;
    /// The value of that key.
    type Value: JsonSchema;
}

/// A type with its shorthand.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Short<T>(pub(in super::super) T);

impl<'de, T: Shorthand + Deserialize<'de>> Deserialize<'de> for Short<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(T::NAME, Inner(PhantomData)).map(Short)
    }
}

impl<T: Shorthand + JsonSchema> JsonSchema for Short<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let whole = generator.subschema_for::<T>();
        let value = generator.subschema_for::<T::Value>();
        json_schema!({"anyOf": [whole, value]})
    }
}

/// The words that may stand for a map over nothing.
pub(in super::super) trait Named {
    /// All of them.
    const WORDS: &'static [&'static str];
}

/// A type that can be written as a bare word.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Word<T>(pub(in super::super) T);

impl<'de, T: Named + Deserialize<'de>> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct("$word", Inner(PhantomData)).map(Word)
    }
}

impl<T: Named + JsonSchema> JsonSchema for Word<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let whole = generator.subschema_for::<T>();
        json_schema!({"anyOf": [whole, {"enum": T::WORDS}]})
    }
}

/// Hands on what the deserializer shows.
struct Inner<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Inner<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Colour {
        name: String,
    }

    impl Shorthand for Colour {
        const NAME: &'static str = "$short:name";
        type Value = String;
    }

    impl Named for Colour {
        const WORDS: &'static [&'static str] = &["red"];
    }

    /// As it stands where it is used: whole, or as a reference.
    fn schema<T: JsonSchema>() -> Value {
        SchemaGenerator::default().subschema_for::<T>().to_value()
    }

    #[test]
    fn editors_are_told_of_every_way_to_write_a_shape() {
        let colour = json!({"$ref": "#/$defs/Colour"});
        let list = json!({"anyOf": [colour.clone(), {"type": "array", "items": colour.clone()}]});
        assert_eq!(schema::<Listed<Colour>>(), list);
        assert_eq!(schema::<OneOrMany<Colour>>(), list);
        assert_eq!(schema::<Short<Colour>>(), json!({"anyOf": [colour.clone(), {"type": "string"}]}));
        assert_eq!(schema::<Word<Colour>>(), json!({"anyOf": [colour, {"enum": ["red"]}]}));
    }

    #[test]
    fn shapes_of_different_types_have_different_names() {
        assert_eq!(Listed::<Colour>::schema_name(), "list of Colour");
        assert_eq!(OneOrMany::<Colour>::schema_name(), "one or more of Colour");
        assert_eq!(Short::<Colour>::schema_name(), "Colour");
        assert_eq!(Word::<Colour>::schema_name(), "Colour");
    }
}
