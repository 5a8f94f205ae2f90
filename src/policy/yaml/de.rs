//! A serde deserializer over the tree. It reports unknown keys and wrong values with their places and goes on.

use serde::de::value::{StrDeserializer, U32Deserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};

use super::super::diagnostic::{Raised, Sink};
use super::super::problem::nearest;
use super::super::source::At;
use super::field::FIELD;
use super::shape::TEXT_OR_OTHER;
use super::tree::{Content, Node};

/// What the deserializer asks of its surroundings.
#[derive(Clone, Copy)]
pub(in super::super) struct Context<'s> {
    /// Takes the problems.
    pub(in super::super) sink: &'s Sink,
    /// Keys and values that are known but refused, by the name of the type that holds them: why, and what to do.
    pub(in super::super) refused: fn(&str, &str) -> Option<Refused>,
}

/// Why a known name is refused.
pub(in super::super) struct Refused {
    pub(in super::super) code: &'static str,
    pub(in super::super) message: String,
    pub(in super::super) help: String,
}

/// Reads a value; nothing where it is so wrong that nothing of it can be read (that is reported).
pub(in super::super) fn from_node<T: DeserializeOwned>(node: &Node<'_>, context: Context<'_>) -> Option<T> {
    T::deserialize(D { node, key: None, is_item: false, shape: Shape::Node, context }).ok()
}

/// Why a value could not be read.
#[derive(Debug)]
pub(super) enum Error {
    /// Not yet reported: the place is known one level up.
    Said(String),
    /// Not yet reported: something else was expected.
    Expected(String),
    /// Nothing is left to say.
    Reported,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Said(message) => f.write_str(message),
            Self::Expected(what) => write!(f, "expected {what}"),
            Self::Reported => f.write_str("reported"),
        }
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Said(message.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Expected(expected.to_string())
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Expected(expected.to_string())
    }
}

/// A node on its way into a type.
#[derive(Clone, Copy)]
pub(super) struct D<'n> {
    node: &'n Node<'n>,
    /// The key that it stands under, for messages.
    key: Option<&'n str>,
    /// Whether it is one of several under that key.
    is_item: bool,
    shape: Shape,
    context: Context<'n>,
}

/// As what the node is to be seen.
#[derive(Clone, Copy)]
enum Shape {
    /// As it is.
    Node,
    /// A map with the node under that key: a shorthand.
    Under(&'static str),
    /// A map with the node's text as its one key, over nothing: a bare word.
    Word,
    /// A map without keys: what a bare word stands over.
    Empty,
}

impl<'n> D<'n> {
    fn raise(&self, raised: Raised) -> Error {
        self.context.sink.raise(raised);
        Error::Reported
    }

    /// Reports that something else was expected here.
    fn expected(&self, expected: &str) -> Error {
        if matches!(self.node.content, Content::Bad) {
            return Error::Reported;
        }
        self.raise(Raised::error("wrong-type", self.node.at, self.what_it_is()).expected(expected))
    }

    fn what_it_is(&self) -> String {
        let found = describe(self.node);
        match (self.key, self.is_item) {
            (Some(key), false) => format!("`{key}` is {found}"),
            (Some(key), true) => format!("an item of `{key}` is {found}"),
            (None, _) => format!("the file is {found}"),
        }
    }

    /// Gives an error its place, unless it has one.
    fn placed(&self, error: Error) -> Error {
        match error {
            Error::Said(message) => self.raise(Raised::error("bad-value", self.node.at, message)),
            Error::Expected(expected) => self.expected(&expected),
            Error::Reported => Error::Reported,
        }
    }

    fn is_plain(&self) -> bool {
        self.node.at.style == super::super::source::Style::Plain
    }

    fn number<N: std::str::FromStr>(&self, expected: &str) -> Result<N, Error> {
        let text = self.node.text().filter(|_| self.is_plain());
        text.and_then(|text| text.parse().ok()).ok_or_else(|| self.expected(expected))
    }

    /// The node under one of its own keys or in its own list.
    fn child(&self, node: &'n Node<'n>, key: Option<&'n str>) -> Self {
        Self { node, key: key.or(self.key), is_item: false, shape: Shape::Node, context: self.context }
    }

    /// The entries that a type with those fields can take; the others are reported.
    fn entries(&self, name: &str, fields: &'static [&'static str]) -> Result<Vec<Entry<'n>>, Error> {
        let entries = match (self.shape, &self.node.content) {
            (Shape::Empty, _) => Vec::new(),
            (Shape::Under(key), _) => vec![Entry { key, at: self.node.at, value: self.child(self.node, None) }],
            (Shape::Word, Content::Scalar(text)) => {
                vec![Entry { key: text, at: self.node.at, value: Self { shape: Shape::Empty, ..*self } }]
            }
            (_, Content::Map(entries)) => {
                let entry = |(key, value): &'n (Node<'n>, Node<'n>)| {
                    let text = key.text().unwrap_or("");
                    Entry { key: text, at: key.at, value: self.child(value, Some(text)) }
                };
                entries.iter().map(entry).collect()
            }
            _ => return Err(self.expected(&map_of(fields))),
        };
        let known = |entry: &Entry<'n>| {
            let known = fields.contains(&entry.key);
            if !known {
                self.unknown_key(name, fields, entry);
            }
            known
        };
        Ok(entries.into_iter().filter(known).collect())
    }

    fn unknown_key(&self, name: &str, fields: &[&str], entry: &Entry<'_>) {
        let key = entry.key;
        self.context.sink.blame(self.node.at);
        if let Some(Refused { code, message, help }) = (self.context.refused)(name, key) {
            self.context.sink.raise(Raised::error(code, entry.at, message).help(help));
            return;
        }
        let holder = match name {
            "approval" | "brakes" | "defaults" | "evidence" | "expect" | "fail_if" | "fix_forward" | "logs" | "objectives"
            | "range" | "target" | "verify" => format!("`{name}`"),
            _ if name.starts_with("step `") => format!("the {name}"),
            _ if name.starts_with(['a', 'e', 'i', 'o', 'u', 'H']) => format!("an {name}"),
            _ => format!("a {name}"),
        };
        let raised = Raised::error("unknown-key", entry.at, format!("{holder} has no key `{key}`"));
        let help = match nearest(key, fields.iter().copied()) {
            _ if key == "<<" => Some("merge keys are not supported: use `defaults`".to_owned()),
            Some(name) => Some(format!("did you mean `{name}`?")),
            None => None,
        };
        self.context.sink.raise(raised.expected(one_of(fields)).maybe_help(help));
    }

    /// Shows the node under one of the names that stand for a way of writing.
    fn special<V: Visitor<'n>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if matches!(self.node.content, Content::Bad) {
            return Err(Error::Reported);
        }
        let is_text = self.node.text().is_some();
        match name.split_once(':').unwrap_or((name, "")) {
            (FIELD, _) => visitor.visit_seq(Parts { d: self, next: 0 }),
            (TEXT_OR_OTHER, _) => match (&self.node.content, self.node.text()) {
                (_, Some(text)) => visitor.visit_str(text).map_err(|error| self.placed(error)),
                (Content::Map(_), _) => visitor.visit_newtype_struct(self),
                (Content::List(_), _) => self.deserialize_seq(visitor),
                _ => visitor.visit_unit().map_err(|error| self.placed(error)),
            },
            ("$list", _) if is_text => visitor.visit_seq(Items { d: self, items: std::slice::from_ref(self.node).iter() }),
            ("$one_or_many", _) if !matches!(self.node.content, Content::List(_)) => {
                visitor.visit_seq(Items { d: self, items: std::slice::from_ref(self.node).iter() })
            }
            ("$list" | "$one_or_many", _) => self.deserialize_seq(visitor),
            ("$short", key) if is_text || matches!(self.node.content, Content::List(_)) => {
                visitor.visit_newtype_struct(Self { shape: Shape::Under(key), ..self })
            }
            ("$word", _) if is_text => visitor.visit_newtype_struct(Self { shape: Shape::Word, ..self }),
            _ => visitor.visit_newtype_struct(self),
        }
    }
}

struct Entry<'n> {
    key: &'n str,
    at: At,
    value: D<'n>,
}

/// What a node is, for a message.
fn describe(node: &Node<'_>) -> String {
    const SHOWN: usize = 40;
    match &node.content {
        Content::Null | Content::Bad => "empty".to_owned(),
        Content::List(_) => "a list".to_owned(),
        Content::Map(_) => "a map".to_owned(),
        Content::Scalar(text) => {
            let line = text.lines().next().unwrap_or("");
            let shown: String = line.chars().take(SHOWN).collect();
            let dots = if shown.len() < text.trim_end().len() { "…" } else { "" };
            format!("`{shown}{dots}`")
        }
    }
}

fn map_of(fields: &[&str]) -> String {
    format!("a map with the keys {}", list(fields))
}

fn one_of(names: &[&str]) -> String {
    match names {
        [] => "no keys".to_owned(),
        [one] => format!("`{one}`"),
        _ => format!("one of {}", list(names)),
    }
}

fn list(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

impl<'n> Deserializer<'n> for D<'n> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.content {
            Content::Scalar(text) => visitor.visit_str(text).map_err(|error| self.placed(error)),
            Content::Null => visitor.visit_unit().map_err(|error| self.placed(error)),
            Content::List(_) => self.deserialize_seq(visitor),
            Content::Map(_) => self.deserialize_map(visitor),
            Content::Bad => Err(Error::Reported),
        }
    }

    fn deserialize_str<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.node.text() {
            Some(text) => visitor.visit_str(text).map_err(|error| self.placed(error)),
            None => Err(self.expected("text")),
        }
    }

    fn deserialize_string<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bool<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.number("`true` or `false`")?)
    }

    fn deserialize_u16<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u16(self.number("a whole number from 0 to 65535")?)
    }

    fn deserialize_u32<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u32(self.number("a whole number, 0 or more")?)
    }

    fn deserialize_f64<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Error> {
        let number: f64 = self.number("a number")?;
        if number.is_finite() { visitor.visit_f64(number) } else { Err(self.expected("a finite number")) }
    }

    fn deserialize_seq<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.content {
            Content::List(items) => visitor.visit_seq(Items { d: self, items: items.iter() }).map_err(|error| self.placed(error)),
            _ => Err(self.expected("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.content {
            Content::Map(entries) => {
                let pairs = Pairs { d: self, entries: entries.iter(), value: None };
                visitor.visit_map(pairs).map_err(|error| self.placed(error))
            }
            _ => Err(self.expected("a map")),
        }
    }

    fn deserialize_struct<V: Visitor<'n>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let entries = self.entries(name, fields)?;
        visitor.visit_map(Fields { entries: entries.into_iter(), value: None }).map_err(|error| self.placed(error))
    }

    fn deserialize_enum<V: Visitor<'n>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Some(text) = self.node.text() else { return Err(self.expected(&one_of(variants))) };
        if variants.contains(&text) {
            let text: StrDeserializer<'_, Error> = text.into_deserializer();
            return visitor.visit_enum(text).map_err(|error| self.placed(error));
        }
        if let Some(Refused { code, message, help }) = (self.context.refused)(name, text) {
            return Err(self.raise(Raised::error(code, self.node.at, message).help(help)));
        }
        let message = self.what_it_is();
        let help = nearest(text, variants.iter().copied()).map(|name| format!("did you mean `{name}`?"));
        Err(self.raise(Raised::error("unknown-value", self.node.at, message).expected(one_of(variants)).maybe_help(help)))
    }

    fn deserialize_newtype_struct<V: Visitor<'n>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if name.starts_with('$') { self.special(name, visitor) } else { visitor.visit_newtype_struct(self) }
    }

    fn deserialize_identifier<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        <W: Visitor<'n>>
        i8 i16 i32 i64 i128 u8 u64 u128 f32 char bytes byte_buf option unit unit_struct tuple tuple_struct
    }
}

/// The items of a list.
struct Items<'n> {
    d: D<'n>,
    items: std::slice::Iter<'n, Node<'n>>,
}

impl<'n> SeqAccess<'n> for Items<'n> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'n>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let is_item = matches!(self.d.node.content, Content::List(_));
        self.items.next().map(|item| seed.deserialize(D { is_item, ..self.d.child(item, None) })).transpose()
    }
}

/// A map with keys of the user's own.
struct Pairs<'n> {
    d: D<'n>,
    entries: std::slice::Iter<'n, (Node<'n>, Node<'n>)>,
    value: Option<D<'n>>,
}

impl<'n> MapAccess<'n> for Pairs<'n> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'n>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some(self.d.child(value, key.text()));
        seed.deserialize(self.d.child(key, None)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'n>>(&mut self, seed: T) -> Result<T::Value, Error> {
        self.value.take().map_or(Err(Error::Reported), |value| seed.deserialize(value))
    }
}

/// The known entries of a struct.
struct Fields<'n> {
    entries: std::vec::IntoIter<Entry<'n>>,
    value: Option<D<'n>>,
}

impl<'n> MapAccess<'n> for Fields<'n> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'n>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(entry) = self.entries.next() else { return Ok(None) };
        self.value = Some(entry.value);
        let key: StrDeserializer<'_, Error> = entry.key.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'n>>(&mut self, seed: T) -> Result<T::Value, Error> {
        self.value.take().map_or(Err(Error::Reported), |value| seed.deserialize(value))
    }
}

/// A node taken apart into its place (four numbers) and itself.
struct Parts<'n> {
    d: D<'n>,
    next: u8,
}

impl<'n> SeqAccess<'n> for Parts<'n> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'n>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let At { file, start, end, style } = self.d.node.at;
        let number = |number: u32| -> U32Deserializer<Error> { number.into_deserializer() };
        self.next += 1;
        match self.next {
            1 => seed.deserialize(number(file)),
            2 => seed.deserialize(number(start)),
            3 => seed.deserialize(number(end)),
            4 => seed.deserialize(number(style as u32)),
            _ => seed.deserialize(self.d),
        }
        .map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    #[test]
    fn a_long_value_is_named_by_its_beginning() {
        let long = "x".repeat(41);
        let cut = format!("`{}…`", "x".repeat(40));
        for (text, wanted) in [
            ("[]", "a list"),
            ("{}", "a map"),
            ("~", "empty"),
            ("abc", "`abc`"),
            (&long[..40], cut.replace('…', "").as_str()),
            (long.as_str(), cut.as_str()),
            ("|\n  one\n", "`one`"),
            ("|\n  one\n  two\n", "`one…`"),
        ] {
            let tree = read(0, text.as_bytes(), &Sink::default()).unwrap();
            assert_eq!(describe(&tree), wanted, "{text}");
        }
    }
}
