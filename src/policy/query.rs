//! What can be said of PromQL without parsing it: its variables are known and stand where they are safe, its brackets pair up.

use std::ops::Range;

use super::problem::{Problem, nearest};
use super::promql::NAMES;

/// All problems of one query. Its variables are text that stands in double quotes, but for `$changed_at`, a time in Unix seconds.
pub(super) fn check(promql: &str) -> Vec<Problem> {
    if promql.trim().is_empty() {
        return vec![Problem::new(0..promql.len(), "an empty query")];
    }
    if promql.len() > MAX_BYTES {
        return vec![Problem::new(
            0..promql.len(),
            format!("a query of {} bytes is too long; the limit is {MAX_BYTES}", promql.len()),
        )];
    }
    let mut problems = Vec::new();
    let mut open: Vec<(char, usize)> = Vec::new();
    let mut quote: Option<(char, usize)> = None;
    let mut chars = promql.char_indices();
    while let Some((at, char)) = chars.next() {
        match (char, quote) {
            ('$', _) => problems.extend(variable(promql, at, quote.map(|(quote, _)| quote))),
            ('\\', Some(('"' | '\'', _))) => drop(chars.next()),
            (_, Some((close, _))) if char == close => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'' | '`', None) => quote = Some((char, at)),
            ('#', None) => drop(chars.by_ref().find(|(_, char)| *char == '\n')),
            ('(' | '[' | '{', None) => open.push((char, at)),
            (')' | ']' | '}', None) => match open.pop() {
                Some((opened, _)) if closing(opened) == char => {}
                Some((opened, _)) => problems.push(Problem::new(at..at + 1, format!("`{opened}` is closed by `{char}`"))),
                None => problems.push(Problem::new(at..at + 1, format!("`{char}` without an opening bracket"))),
            },
            _ => {}
        }
    }
    problems.extend(quote.map(|(quote, at)| Problem::new(at..at + 1, format!("the quote `{quote}` is not closed"))));
    problems.extend(open.into_iter().map(|(open, at)| Problem::new(at..at + 1, format!("`{open}` is not closed"))));
    problems
}

/// Prometheus itself has no limit; a query in a policy is read by people.
const MAX_BYTES: usize = 16 * 1024;

fn closing(open: char) -> char {
    match open {
        '(' => ')',
        '[' => ']',
        _ => '}',
    }
}

fn variable(promql: &str, at: usize, quote: Option<char>) -> Option<Problem> {
    let rest = promql.get(at + 1..)?;
    if rest.starts_with('{') {
        let end = rest.find('}').map_or(rest.len(), |end| end + 1);
        return Some(Problem::new(at..at + 1 + end, "`${…}` is not a variable").help(known()));
    }
    let length = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(rest.len());
    let name = rest.get(..length).filter(|name| name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_'));
    let place: Range<usize> = at..at + 1 + length;
    let Some(name) = name else {
        // In a string it is a regular expression's end of text.
        return quote.is_none().then(|| Problem::new(at..at + 1, "`$` cannot stand here").help(known()));
    };
    if !NAMES.contains(&name) {
        let problem = Problem::new(place, format!("unknown variable `${name}`"));
        return Some(match nearest(name, NAMES) {
            Some(near) => problem.help(format!("did you mean `${near}`?")),
            None => problem.help(known()),
        });
    }
    match (name, quote) {
        ("changed_at", None) => None,
        ("changed_at", Some(_)) => Some(Problem::new(place, "`$changed_at` is a number: it cannot stand in quotes")),
        (_, Some('"')) => None,
        _ => Some(
            Problem::new(place, format!("`${name}` must stand in double quotes"))
                .help(format!("write for example `namespace=\"${name}\"`; only there it cannot break out of its text")),
        ),
    }
}

fn known() -> String {
    let names: Vec<String> = NAMES.iter().map(|name| format!("${name}")).collect();
    format!("known are {}", names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_variables() {
        for good in [
            "up",
            r#"sum(rate(x{namespace="$namespace",app="$name",code=~"5..|a$"}[2m])) or vector(0)"#,
            "x @ $changed_at # it's ( a comment",
            r#"x{a='it"s',b="(",c=`\`}"#,
        ] {
            assert_eq!(check(good), [], "{good}");
        }
        for (bad, wanted) in [
            ("", "an empty query"),
            (r#"x{a="$nam"}"#, "unknown variable `$nam`"),
            ("rate(x[$__range])", "unknown variable `$__range`"),
            (r#"x{a="${name}"}"#, "`${…}` is not a variable"),
            ("x{a=$name}", "`$name` must stand in double quotes"),
            ("x{a=`$name`}", "`$name` must stand in double quotes"),
            (r#"x{a="$changed_at"}"#, "`$changed_at` is a number: it cannot stand in quotes"),
            ("sum(x", "`(` is not closed"),
            ("sum(x]", "`(` is closed by `]`"),
            ("x)", "`)` without an opening bracket"),
            (r#"x{a="b}"#, "the quote `\"` is not closed"),
            ("x $ y", "`$` cannot stand here"),
        ] {
            assert_eq!(check(bad).first().map(|problem| problem.message.as_str()), Some(wanted), "{bad}");
        }
    }

    #[test]
    fn points_at_what_is_wrong() {
        for (query, wanted) in [
            ("sum(x] + 1", "]"),
            ("x) + 1", ")"),
            ("a + sum(x", "("),
            (r#"x{a="b} + 1"#, "\""),
            ("x $ y", "$"),
            ("x{a=$name} + 1", "$name"),
            (r#"x{a="$nam", b="c"}"#, "$nam"),
            (r#"x{a="${name}", b="c"}"#, "${name}"),
            (r#"x{a="${name"}"#, "${name\"}"),
        ] {
            let found: Vec<&str> = check(query).into_iter().map(|problem| &query[problem.at]).collect();
            assert_eq!(found.first(), Some(&wanted), "{query}: {found:?}");
        }
    }

    #[test]
    fn an_escaped_quote_closes_nothing() {
        for query in [r#"x{a="b\"c("}"#, r"x{a='b\'c('}", r#"x{a="b\\"} or y{a="("}"#] {
            assert_eq!(check(query), [], "{query}");
        }
        assert_eq!(check(r"x{a=`b\`} + `"), check("x{a=`bc`} + `"), "in backticks a backslash is only a backslash");
    }

    #[test]
    fn a_query_may_be_as_long_as_the_limit() {
        assert_eq!(check(&"x".repeat(MAX_BYTES)), []);
        let problems = check(&"x".repeat(MAX_BYTES + 1));
        assert_eq!(problems[0].message, "a query of 16385 bytes is too long; the limit is 16384");
    }
}
