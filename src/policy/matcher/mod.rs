//! Label matchers with Alertmanager's exact meaning. Must not know policies, alerts or files: only names and values.

mod classic;
mod dialect;
mod parse;
mod utf8;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::problem::Problem;

pub use parse::{Parsed, parse_item, parse_one};

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, anchored at both ends
    Regex,
    /// `!~`, anchored at both ends
    NotRegex,
}

impl Op {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }

    /// Whether the matcher holds when its comparison does.
    pub fn is_positive(self) -> bool {
        matches!(self, Self::Equal | Self::Regex)
    }
}

/// One matcher: `name op "value"`.
#[derive(Debug, Clone)]
pub struct Matcher {
    name: String,
    op: Op,
    value: String,
    test: Test,
}

impl Matcher {
    /// A matcher from its parts; the value of `=~` and `!~` is a regular expression in Go's dialect (RE2).
    ///
    /// The place of a problem is within `value`.
    pub fn new(name: impl Into<String>, op: Op, value: impl Into<String>) -> Result<Self, Problem> {
        let (name, value) = (name.into(), value.into());
        let test = match op {
            Op::Equal | Op::NotEqual => Test::Equal,
            Op::Regex | Op::NotRegex => Test::regex(&value)?,
        };
        Ok(Self { name, op, value, test })
    }

    /// The label's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The comparison.
    pub fn op(&self) -> Op {
        self.op
    }

    /// The value or regular expression as written, unquoted.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether these labels satisfy the matcher; a missing label is the empty text.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_value(labels.get(&self.name).map_or("", String::as_str))
    }

    /// The same for labels that are kept in another shape.
    pub fn matches_with<'a>(&self, lookup: impl FnOnce(&str) -> Option<&'a str>) -> bool {
        self.matches_value(lookup(&self.name).unwrap_or(""))
    }

    /// Whether this value of the label satisfies the matcher.
    pub fn matches_value(&self, value: &str) -> bool {
        let same = match &self.test {
            Test::Equal => value == self.value,
            Test::OneOf(values) => values.iter().any(|one| one == value),
            Test::Regex { regex, .. } => regex.is_match(value),
        };
        same == self.op.is_positive()
    }

    /// All values that satisfy the matcher, where they can be listed: for `=`, and for `=~` of plain words.
    pub fn listed_values(&self) -> Option<Vec<&str>> {
        match (&self.test, self.op.is_positive()) {
            (Test::Equal, true) => Some(vec![&self.value]),
            (Test::OneOf(values), true) => Some(values.iter().map(String::as_str).collect()),
            _ => None,
        }
    }

    /// The anchored regular expression in Rust's dialect, if the matcher needs one.
    pub(crate) fn translated(&self) -> Option<&str> {
        match &self.test {
            Test::Regex { regex, .. } => Some(regex.as_str()),
            Test::Equal | Test::OneOf(_) => None,
        }
    }

    fn key(&self) -> (&str, &str, Op) {
        (&self.name, &self.value, self.op)
    }
}

/// Whether all matchers hold; true for none.
pub fn all_match(matchers: &[Matcher], labels: &BTreeMap<String, String>) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels))
}

/// The same for labels that are kept in another shape.
pub fn all_match_with<'a>(matchers: &[Matcher], label: impl Fn(&str) -> Option<&'a str>) -> bool {
    matchers.iter().all(|matcher| matcher.matches_with(&label))
}

/// A regular expression in the same dialect that may match anywhere in a text, for conditions.
pub(crate) fn search_regex(pattern: &str) -> Result<Regex, Problem> {
    dialect::compile_search(pattern)
}

/// The matchers as Alertmanager prints a list of them: `{a="b",c=~"d"}`.
pub fn format_all(matchers: &[Matcher]) -> String {
    let each: Vec<String> = matchers.iter().map(Matcher::to_string).collect();
    format!("{{{}}}", each.join(","))
}

impl fmt::Display for Matcher {
    /// The canonical text, which both of Alertmanager's parsers read back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() || self.name.contains(utf8::is_reserved) {
            Cow::Owned(format!("\"{}\"", escape(&self.name)))
        } else {
            Cow::Borrowed(self.name.as_str())
        };
        write!(f, "{name}{}\"{}\"", self.op.as_str(), escape(&self.value))
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Matcher {}

impl PartialOrd for Matcher {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Matcher {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl Serialize for Matcher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Matcher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        parse_one(&text).map_err(D::Error::custom)
    }
}

/// What decides whether two values are the same.
#[derive(Debug, Clone)]
enum Test {
    Equal,
    /// `a|b|c` without anything special: most regular expressions in practice, and much cheaper.
    OneOf(Vec<String>),
    Regex {
        regex: Regex,
    },
}

impl Test {
    fn regex(pattern: &str) -> Result<Self, Problem> {
        let is_plain = !pattern.contains(['\\', '.', '+', '*', '?', '(', ')', '[', ']', '{', '}', '^', '$']);
        // Beyond this many words a regular expression is the faster one.
        const MAX_WORDS: usize = 16;
        if is_plain && pattern.split('|').count() <= MAX_WORDS {
            return Ok(Self::OneOf(pattern.split('|').map(str::to_owned).collect()));
        }
        Ok(Self::Regex { regex: dialect::compile(pattern)? })
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_missing_label_is_empty() {
        let none = labels(&[]);
        for (text, wanted) in [
            ("a!=\"x\"", true),
            ("a=\"\"", true),
            ("a=~\".*\"", true),
            ("a!~\"x|y\"", true),
            ("a=~\"|x\"", true),
            ("a=~\".+\"", false),
            ("a=\"x\"", false),
            ("a!=\"\"", false),
            ("a!~\".*\"", false),
            ("a=~\"x\"", false),
        ] {
            let matcher = parse_one(text).unwrap();
            assert_eq!(matcher.matches(&none), wanted, "{text}");
            assert_eq!(matcher.matches(&labels(&[("a", "")])), wanted, "{text} on an empty one");
            assert_eq!(matcher.matches_with(|_| None), wanted, "{text} with");
        }
    }

    #[test]
    fn regular_expressions_are_anchored() {
        let shop = labels(&[("ns", "shop-eu")]);
        for (text, wanted) in [
            ("ns=~\"shop\"", false),
            ("ns=~\"shop.*\"", true),
            ("ns=~\"shop|eu\"", false),
            ("ns=~\"shop-eu|x\"", true),
            ("ns!~\"shop\"", true),
            ("ns=~\"^shop-eu$\"", true),
            ("ns=~\"SHOP-EU\"", false),
            ("ns=~\"(?i)SHOP-EU\"", true),
        ] {
            assert_eq!(parse_one(text).unwrap().matches(&shop), wanted, "{text}");
        }
    }

    #[test]
    fn a_dot_does_not_match_a_newline() {
        let two_lines = labels(&[("a", "x\ny")]);
        assert!(!parse_one("a=~\".*\"").unwrap().matches(&two_lines));
        assert!(parse_one("a=~\"(?s).*\"").unwrap().matches(&two_lines));
    }

    #[test]
    fn plain_words_are_listed() {
        for (text, values) in [
            ("a=\"x\"", Some(vec!["x"])),
            ("a=~\"x|y\"", Some(vec!["x", "y"])),
            ("a=~\"x-1|\"", Some(vec!["x-1", ""])),
            ("a=~\"x.*\"", None),
            ("a!=\"x\"", None),
            ("a!~\"x|y\"", None),
        ] {
            assert_eq!(parse_one(text).unwrap().listed_values(), values, "{text}");
        }
    }

    #[test]
    fn serialises_as_its_canonical_text() {
        for (text, canonical) in [
            ("a = b", r#"a="b""#),
            ("a=~\"x|y\"", r#"a=~"x|y""#),
            (r#"a!="say \"hi\"\n\\""#, r#"a!="say \"hi\"\n\\""#),
            ("\"a b\"=c", r#""a b"="c""#),
            ("a.b!~c", r#"a.b!~"c""#),
        ] {
            let matcher = parse_one(text).unwrap();
            assert_eq!(matcher.to_string(), canonical);
            let json = serde_json::to_string(&matcher).unwrap();
            assert_eq!(json, serde_json::to_string(canonical).unwrap());
            assert_eq!(serde_json::from_str::<Matcher>(&json).unwrap(), matcher);
        }
        assert!(serde_json::from_str::<Matcher>("\"nonsense\"").is_err());
        let two = parse_item("b=1,a=2").unwrap().matchers;
        assert_eq!(format_all(&two), r#"{b="1",a="2"}"#);
    }

    #[test]
    fn sorts_by_name_then_value_then_comparison() {
        let texts = ["a=\"1\"", "a!=\"1\"", "a=~\"1\"", "a=\"2\"", "b=\"0\""];
        let sorted: Vec<Matcher> = texts.iter().map(|text| parse_one(text).unwrap()).collect();
        assert!(sorted.windows(2).all(|two| two[0] < two[1]));
    }

    proptest! {
        #[test]
        fn the_canonical_text_reads_back(name in "[a-zA-Z_.\\-é {}\"\\\\]{1,6}", value in "\\PC{0,8}|[a\"\\\\\n\t,{}= ]{0,8}", negative: bool) {
            let op = if negative { Op::NotEqual } else { Op::Equal };
            let matcher = Matcher::new(name, op, value).unwrap();
            let parsed = parse_item(&matcher.to_string()).unwrap();
            prop_assert_eq!(parsed.matchers, vec![matcher]);
            prop_assert_eq!(parsed.warning, None);
        }
    }
}
