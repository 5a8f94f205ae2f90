//! Values that keep their place, and whose absence or mistake does not end the reading of what surrounds them.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::super::source::{At, Style};

/// The name under which the deserializer hands out a value with its place.
pub(super) const FIELD: &str = "$field";

/// A value of a file.
#[derive(Clone, Debug, Default)]
pub(in super::super) enum Field<T> {
    /// Its key is not there.
    #[default]
    Missing,
    /// It is there and is no `T`; that was reported.
    Bad,
    /// It is there.
    Is(T, At),
}

impl<T> Field<T> {
    /// The value, if it is there and right.
    pub(in super::super) fn get(&self) -> Option<&T> {
        self.placed().map(|(value, _)| value)
    }

    /// The value and where it stands.
    pub(in super::super) fn placed(&self) -> Option<(&T, At)> {
        match self {
            Self::Is(value, at) => Some((value, *at)),
            Self::Missing | Self::Bad => None,
        }
    }

    /// Where it stands, if it is there and right.
    pub(in super::super) fn at(&self) -> Option<At> {
        self.placed().map(|(_, at)| at)
    }

    /// Whether its key is not there.
    pub(in super::super) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(FIELD, FieldVisitor(PhantomData))
    }
}

struct FieldVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FieldVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Field<T>, A::Error> {
        let mut number = || parts.next_element::<u32>().map(Option::unwrap_or_default);
        let (file, start, end) = (number()?, number()?, number()?);
        let style = match number()? {
            1 => Style::Single,
            2 => Style::Double,
            3 => Style::Block,
            _ => Style::Plain,
        };
        // The deserializer has reported what is wrong; what surrounds it goes on.
        Ok(match parts.next_element::<T>() {
            Ok(Some(value)) => Field::Is(value, At { file, start, end, style }),
            Ok(None) | Err(_) => Field::Bad,
        })
    }
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A map whose keys are names of the user's own, in the file's order.
#[derive(Clone, Debug)]
pub(in super::super) struct Entries<T>(pub(in super::super) Vec<(Field<String>, Field<T>)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
    type Value = Entries<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}

impl<T: JsonSchema> JsonSchema for Entries<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("map of {}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let values = generator.subschema_for::<T>();
        schemars::json_schema!({"type": "object", "additionalProperties": values})
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::diagnostic::Sink;
    use super::super::{Context, from_node, read};
    use super::*;

    #[test]
    fn a_value_keeps_how_it_was_written() {
        let text = "a: x\nb: 'x'\nc: \"x\"\nd: |\n  x\n";
        let sink = Sink::default();
        let tree = read(7, text.as_bytes(), &sink).unwrap();
        let Entries(entries) = from_node::<Entries<String>>(&tree, Context { sink: &sink, refused: |_, _| None }).unwrap();
        let styles: Vec<Style> = entries.iter().filter_map(|(_, value)| Some(value.at()?.style)).collect();
        assert_eq!(styles, [Style::Plain, Style::Single, Style::Double, Style::Block]);
        let (value, at) = entries[1].1.placed().unwrap();
        assert_eq!((value.as_str(), at), ("x", At { file: 7, start: 8, end: 11, style: Style::Single }));
    }
}
