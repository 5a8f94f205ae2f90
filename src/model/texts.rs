//! Names and texts of an alert, packed: a service holds a hundred thousand alerts at once, copies them often, and changes none.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::Labels;

/// Label or annotation names and values, each name once, in order. A missing name means the empty value, as in Alertmanager.
///
/// All texts stand in one; a copy shares them.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Texts(Option<Arc<Packed>>);

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Packed {
    /// Name, value, name, value …
    text: Box<str>,
    /// Where each of them ends.
    ends: Box<[u32]>,
}

impl Texts {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// From pairs in any order; of two with the same name the later one counts.
    fn pack<N: AsRef<str>, V: AsRef<str>>(pairs: &mut [(N, V)]) -> Self {
        if pairs.is_empty() {
            return Self::default();
        }
        // Stable, so that the later one of two stays behind.
        pairs.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        let mut text = String::with_capacity(pairs.iter().map(|(name, value)| name.as_ref().len() + value.as_ref().len()).sum());
        let mut ends = Vec::with_capacity(pairs.len() * 2);
        for (at, (name, value)) in pairs.iter().enumerate() {
            if pairs.get(at + 1).is_some_and(|(next, _)| next.as_ref() == name.as_ref()) {
                continue;
            }
            for part in [name.as_ref(), value.as_ref()] {
                text.push_str(part);
                // A body of 4 GiB is never taken.
                ends.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
            }
        }
        Self(Some(Arc::new(Packed { text: text.into(), ends: ends.into() })))
    }

    /// From pairs that are owned elsewhere.
    pub fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::pack(&mut pairs.into_iter().collect::<Vec<_>>())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |packed| packed.ends.len() / 2)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        // A dozen of them: looking at each is as fast as anything.
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Whether there is a value of that name.
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        (0..self.len()).map(|at| (self.part(at * 2), self.part(at * 2 + 1)))
    }

    /// Adds one, or replaces its value. Packs everything anew: for tests and tools.
    pub fn insert(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) {
        let mut pairs: Vec<(&str, &str)> = self.iter().collect();
        pairs.push((name.as_ref(), value.as_ref()));
        let packed = Self::pack(&mut pairs);
        *self = packed;
    }

    /// As a map of its own.
    pub fn to_map(&self) -> Labels {
        self.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn part(&self, at: usize) -> &str {
        let Some(packed) = &self.0 else { return "" };
        let end = |at: usize| packed.ends.get(at).map_or(0, |end| *end as usize);
        let begin = if at == 0 { 0 } else { end(at - 1) };
        packed.text.get(begin..end(at)).unwrap_or_default()
    }
}

impl From<&Labels> for Texts {
    fn from(map: &Labels) -> Self {
        map.iter().collect()
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Texts {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self::pack(&mut pairs.into_iter().collect::<Vec<_>>())
    }
}

impl<N: AsRef<str>, V: AsRef<str>, const LEN: usize> From<[(N, V); LEN]> for Texts {
    fn from(mut pairs: [(N, V); LEN]) -> Self {
        Self::pack(&mut pairs)
    }
}

impl Serialize for Texts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<'a>(PhantomData<&'a ()>);

        impl<'de> Visitor<'de> for Reader<'de> {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("names and texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
                let mut pairs = Vec::with_capacity(16);
                while let Some(pair) = map.next_entry::<Word<'de>, Word<'de>>()? {
                    pairs.push(pair);
                }
                Ok(Texts::pack(&mut pairs))
            }
        }

        deserializer.deserialize_map(Reader(PhantomData))
    }
}

/// A text that is borrowed where it can be.
struct Word<'a>(std::borrow::Cow<'a, str>);

impl AsRef<str> for Word<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Word<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<'a>(PhantomData<&'a ()>);

        impl<'de> Visitor<'de> for Reader<'de> {
            type Value = Word<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Word(text.into()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Word(text.to_owned().into()))
            }

            fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
                Ok(Word(text.into()))
            }
        }

        deserializer.deserialize_str(Reader(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    #[test]
    fn a_copy_shares_and_a_change_does_not() {
        let one = Texts::from([("b", "2"), ("a", "1")]);
        let mut other = one.clone();
        other.insert("a", "3");
        assert_eq!((one.get("a"), other.get("a"), one.len(), other.len()), (Some("1"), Some("3"), 2, 2));
        assert_eq!(format!("{one:?}"), r#"{"a": "1", "b": "2"}"#);
        assert_eq!(serde_json::to_string(&Texts::new()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<Texts>("{}").unwrap(), Texts::new());
    }

    proptest! {
        #[test]
        fn they_are_what_a_map_is(pairs in proptest::collection::vec(("[a-c]{0,2}|é", "\\PC{0,4}"), 0..6)) {
            let map: BTreeMap<String, String> = pairs.iter().cloned().collect();
            let labels: Texts = pairs.iter().map(|(name, value)| (name, value)).collect();
            prop_assert_eq!(labels.iter().collect::<Vec<_>>(), map.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>());
            for name in ["", "a", "ab", "é", "zz"] {
                prop_assert_eq!(labels.get(name), map.get(name).map(String::as_str));
            }
            let text = serde_json::to_string(&labels).unwrap();
            prop_assert_eq!(&text, &serde_json::to_string(&map).unwrap());
            prop_assert_eq!(serde_json::from_str::<Texts>(&text).unwrap(), labels);
        }
    }
}
