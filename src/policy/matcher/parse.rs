//! Reads one `matchers:` item as Alertmanager does by default: with both of its parsers, the classic one wins where they differ.

use super::super::problem::Problem;
use super::{Matcher, classic, format_all, utf8};

/// What one item says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// In the order of the text; none match everything.
    pub matchers: Vec<Matcher>,
    /// Set where Alertmanager logs a warning, because its newer parser reads the item differently or not at all.
    pub warning: Option<Problem>,
}

/// Reads an item, which may hold several matchers: `a="b", c=~"d|e"`, with or without braces.
///
/// If neither parser can read it, the problem is the classic one's, as in Alertmanager.
pub fn parse_item(text: &str) -> Result<Parsed, Problem> {
    if text.len() > MAX_ITEM_BYTES {
        return Err(Problem::new(0..text.len(), format!("a matcher of {} bytes is too long", text.len()))
            .help(format!("the limit is {MAX_ITEM_BYTES} bytes")));
    }
    let (matchers, doubt) = match (utf8::parse(text), classic::parse(text)) {
        (Err(newer), Err(classic)) => return Err(explain(text, newer, classic)),
        (Ok(matchers), Err(_)) => (matchers, None),
        (Ok(newer), Ok(classic)) if newer == classic => (classic, None),
        (Ok(_), Ok(classic)) => (classic, Some("is read in two ways by Alertmanager's two parsers")),
        (Err(_), Ok(classic)) => (classic, Some("can be read by Alertmanager's classic parser only")),
    };
    let warning = doubt.map(|doubt| {
        Problem::new(0..text.len(), format!("`{text}` {doubt}"))
            .help(format!("it means `{}`; write the value in double quotes, with `\\\\` for a backslash", format_all(&matchers)))
    });
    Ok(Parsed { matchers, warning })
}

/// Reads exactly one matcher.
pub fn parse_one(text: &str) -> Result<Matcher, Problem> {
    let mut matchers = parse_item(text)?.matchers;
    match (matchers.pop(), matchers.is_empty()) {
        (Some(matcher), true) => Ok(matcher),
        (None, _) => Err(Problem::new(0..text.len(), "expected one matcher, found none").help(EXAMPLE)),
        (Some(_), false) => Err(Problem::new(0..text.len(), format!("expected one matcher, found {}", matchers.len() + 1))),
    }
}

/// What to write, for a message.
pub(super) const EXAMPLE: &str = "write for example `severity=\"critical\"` or `env=~\"prod|staging\"`";

/// Far above any real one; bounds the work on one item.
const MAX_ITEM_BYTES: usize = 64 * 1024;

fn explain(text: &str, newer: Problem, classic: Problem) -> Problem {
    // Quoted names exist in the newer grammar only: there the classic parser's view says nothing.
    let is_newer_grammar = text.trim_start_matches(|char: char| char.is_whitespace() || char == '{').starts_with('"');
    let mut problem = if is_newer_grammar { newer } else { classic };
    if text.contains("\" or ") || text.contains("\" and ") {
        problem.help = Some("there is no `or`: write `a=~\"b|c\"`, or one policy for each; `and` is a comma".to_owned());
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::super::Op;
    use super::*;

    type Flat = Vec<(String, Op, String)>;

    fn flat(text: &str) -> Result<(Flat, bool), Problem> {
        let parsed = parse_item(text)?;
        let matchers = parsed.matchers.iter();
        let flat = matchers.map(|m| (m.name().to_owned(), m.op(), m.value().to_owned())).collect();
        Ok((flat, parsed.warning.is_some()))
    }

    fn one(name: &str, op: Op, value: &str) -> Flat {
        vec![(name.to_owned(), op, value.to_owned())]
    }

    #[test]
    fn reads_one_matcher() {
        use Op::{Equal, NotEqual, NotRegex, Regex};
        for (text, wanted, warns) in [
            ("a=b", one("a", Equal, "b"), false),
            ("a=\"b\"", one("a", Equal, "b"), false),
            ("  a  =  \"b\"  ", one("a", Equal, "b"), false),
            ("{a=\"b\"}", one("a", Equal, "b"), false),
            ("{a=\"b\",}", one("a", Equal, "b"), false),
            ("a!=b", one("a", NotEqual, "b"), false),
            ("a=~b", one("a", Regex, "b"), false),
            ("a!~b", one("a", NotRegex, "b"), false),
            ("a:b=c", one("a:b", Equal, "c"), false),
            ("a=5..", one("a", Equal, "5.."), false),
            ("a=\"b,c\"", one("a", Equal, "b,c"), false),
            ("a=\"\"", one("a", Equal, ""), false),
            // Names that only the newer parser reads.
            ("a.b=c", one("a.b", Equal, "c"), false),
            ("\"a b\"=c", one("a b", Equal, "c"), false),
            ("Σ=c", one("Σ", Equal, "c"), false),
            ("a=\"\\u00e9\\x41\\101\"", one("a", Equal, "\\u00e9\\x41\\101"), true),
            ("\"a\"=\"\\u00e9\\x41\\101\\t\"", one("a", Equal, "éAA\t"), false),
            // Values that only the classic parser reads.
            ("a=", one("a", Equal, ""), true),
            ("a==b", one("a", Equal, "=b"), true),
            ("a=~[0-9]{3}", one("a", Regex, "[0-9]{3"), true),
            ("a=~\"[0-9]{3}\"", one("a", Regex, "[0-9]{3}"), false),
            ("{a=b", one("a", Equal, "b"), true),
            ("a=b}", one("a", Equal, "b"), true),
            ("a=b c", one("a", Equal, "b c"), true),
            ("a=b\\", one("a", Equal, "b\\"), true),
            ("a='b'", one("a", Equal, "'b'"), true),
            ("a=b\nc", one("a", Equal, "b\nc"), true),
            ("a=\"b\\.c\"", one("a", Equal, "b\\.c"), true),
            // Read by both, differently: the classic one wins.
            ("a=\"b\\tc\"", one("a", Equal, "b\\tc"), true),
            ("a=~\"\\\\d+\"", one("a", Regex, "\\d+"), false),
        ] {
            assert_eq!(flat(text).unwrap(), (wanted, warns), "{text:?}");
        }
    }

    #[test]
    fn reads_several_and_none() {
        let names = |text: &str| parse_item(text).unwrap().matchers.iter().map(|m| m.name().to_owned()).collect::<String>();
        for (text, wanted) in [
            ("", ""),
            ("{}", ""),
            (" ", ""),
            ("{ }", ""),
            ("a=b,c=d", "ac"),
            ("{b=\"x\", a!=\"y\", }", "ba"),
            ("a=b,a=c", "aa"),
            ("a=\"x,y\",b=z", "ab"),
        ] {
            assert_eq!(names(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn refuses_with_a_place() {
        for (text, place, message) in [
            ("a", 0..1, "is not a matcher"),
            ("=b", 0..2, "is not a matcher"),
            ("a=\"b\" or c=\"d\"", 2..14, "double quote"),
            ("a=\"b", 2..4, "double quote"),
            ("a=b\"", 2..4, "double quote"),
            ("a=b, ,c=d", 4..5, "is not a matcher"),
            ("a=b,,c=d", 4..4, "is not a matcher"),
            (",", 0..0, "is not a matcher"),
            ("x=y,a=~\"b(\"", 9..10, "("),
            ("a=~\"*\"", 4..5, "*"),
            ("1a=b,2", 0..4, "is not a matcher"),
            ("\"a\"~b", 3..4, "operator"),
            ("\"a\"=", 4..4, "value"),
            ("\"a=b", 0..4, "closing"),
            ("{\"a\"=b", 6..6, "closing brace"),
            ("\"a\"=b}", 5..6, "opening brace"),
            ("\"a\"=b c", 6..7, "comma"),
            ("\"\\q\"=b", 1..3, "escape"),
            ("\"\"=b", 0..2, "empty"),
        ] {
            let problem = parse_item(text).expect_err(text);
            assert_eq!(problem.at, place, "{text:?}: {problem}");
            assert!(problem.message.contains(message), "{text:?}: {problem}");
        }
    }

    #[test]
    fn says_that_there_is_no_or() {
        let problem = parse_item("a=\"b\" or c=\"d\"").unwrap_err();
        assert!(problem.help.unwrap().contains("there is no `or`"));
    }

    #[test]
    fn one_means_one() {
        assert!(parse_one("a=b,c=d").is_err());
        assert!(parse_one("{}").is_err());
    }

    #[test]
    fn an_item_may_be_as_long_as_the_limit() {
        let item = |length: usize| format!("a={}", "b".repeat(length - 2));
        assert!(parse_item(&item(MAX_ITEM_BYTES)).is_ok());
        for length in [MAX_ITEM_BYTES + 1, 70_000] {
            assert!(parse_item(&item(length)).unwrap_err().message.contains("too long"), "{length}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_places_are_in_the_text(text in "\\PC{0,16}|[ab\"\\\\{}=~!,(\\[ ]{0,16}") {
            if let Err(problem) = parse_item(&text) {
                proptest::prop_assert!(text.get(problem.at.clone()).is_some(), "{:?} {:?}", text, problem);
            }
        }
    }
}
