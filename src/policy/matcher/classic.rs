//! Alertmanager's classic matcher grammar (`pkg/labels`), tolerant in the same places.

use std::ops::Range;

use super::super::problem::Problem;
use super::parse::EXAMPLE;
use super::{Matcher, Op};

/// Reads what the classic parser reads: commas outside double quotes separate, one leading and trailing brace is dropped even if unpaired.
pub(super) fn parse(text: &str) -> Result<Vec<Matcher>, Problem> {
    let start = usize::from(text.starts_with('{'));
    // A lone `{` or `}` is one brace, not two.
    let end = if text.len() > start && text.ends_with('}') { text.len() - 1 } else { text.len() };
    tokens(text, start..end).into_iter().map(|token| matcher(text, token)).collect()
}

/// The places between commas; the last one is trimmed and dropped if empty, the others are not.
fn tokens(text: &str, within: Range<usize>) -> Vec<Range<usize>> {
    let mut tokens = Vec::new();
    let (mut start, mut is_quoted, mut is_escaped) = (within.start, false, false);
    for (at, char) in slice(text, &within).char_indices() {
        match char {
            ',' if !is_quoted => {
                // A comma that splits leaves the escape as it was; it cannot matter, since quotes decide.
                tokens.push(start..within.start + at);
                start = within.start + at + 1;
            }
            '"' if is_escaped => is_escaped = false,
            '"' => is_quoted = !is_quoted,
            '\\' => is_escaped = !is_escaped,
            // A comma within quotes does not end an escape there.
            ',' => {}
            _ => is_escaped = false,
        }
    }
    let last = trim(text, start..within.end, char::is_whitespace);
    if !last.is_empty() {
        tokens.push(last);
    }
    tokens
}

fn matcher(text: &str, token: Range<usize>) -> Result<Matcher, Problem> {
    let trimmed = trim(text, token.clone(), is_go_space);
    // A place that can be seen, also for nothing but spaces.
    let token = if trimmed.is_empty() { token } else { trimmed };
    let bad = || {
        let found = slice(text, &token);
        Problem::new(token.clone(), format!("`{found}` is not a matcher")).help(EXAMPLE)
    };
    let source = slice(text, &token);
    let name_len = source.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':')).count();
    let (name, rest) = source.split_at_checked(name_len).ok_or_else(bad)?;
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(bad());
    }
    let (op, rest) = operator(rest.trim_start_matches(is_go_space)).ok_or_else(bad)?;
    let raw = rest.trim_start_matches(is_go_space);
    let raw_start = token.end - raw.len();
    let value = unescape(raw).ok_or_else(|| {
        Problem::new(raw_start..token.end, format!("the value `{raw}` has an unpaired double quote"))
            .help("put the whole value in double quotes; write `\\\"` for a quote within it")
    })?;
    let is_quoted = raw.starts_with('"');
    Matcher::new(name, op, value.as_str()).map_err(|problem| place(problem, raw, &value, raw_start, is_quoted))
}

/// Where the value stands in the text unchanged, its problem's place can be kept; else the whole value is the place.
fn place(mut problem: Problem, raw: &str, value: &str, raw_start: usize, is_quoted: bool) -> Problem {
    let quote = usize::from(is_quoted);
    if raw.get(quote..).is_some_and(|inner| inner.starts_with(value)) {
        problem.shifted(raw_start + quote)
    } else {
        problem.at = raw_start..raw_start + raw.len();
        problem
    }
}

fn operator(text: &str) -> Option<(Op, &str)> {
    // `=~` before `=`, which is its beginning.
    [Op::Regex, Op::Equal, Op::NotEqual, Op::NotRegex].into_iter().find_map(|op| Some((op, text.strip_prefix(op.as_str())?)))
}

/// OpenMetrics escapes; any other backslash stands for itself. Nothing where a double quote is unpaired.
fn unescape(raw: &str) -> Option<String> {
    let (inner, mut expects_quote) = raw.strip_prefix('"').map_or((raw, false), |inner| (inner, true));
    let mut value = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('n') => value.push('\n'),
                Some(escaped @ ('"' | '\\')) => value.push(escaped),
                Some(other) => value.extend(['\\', other]),
                None => value.push('\\'),
            },
            '"' if expects_quote && chars.as_str().is_empty() => expects_quote = false,
            '"' => return None,
            other => value.push(other),
        }
    }
    (!expects_quote).then_some(value)
}

/// What `\s` means in Go.
fn is_go_space(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\x0c' | '\r' | ' ')
}

fn trim(text: &str, range: Range<usize>, is_space: fn(char) -> bool) -> Range<usize> {
    let part = slice(text, &range);
    let start = range.start + (part.len() - part.trim_start_matches(is_space).len());
    start..start + part.trim_matches(is_space).len()
}

/// Never out of range: all ranges here are cut at ASCII characters of the same text.
fn slice<'a>(text: &'a str, range: &Range<usize>) -> &'a str {
    text.get(range.clone()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_within_quotes_separates_nothing() {
        for (text, wanted) in [
            ("a=b,c=d", vec![r#"a="b""#, r#"c="d""#]),
            (r#"a="b,c""#, vec![r#"a="b,c""#]),
            (r#"a="b,c",d="e""#, vec![r#"a="b,c""#, r#"d="e""#]),
            (r#"a="b\",c""#, vec![r#"a="b\",c""#]),
            (r#"a="b\\",c=d"#, vec![r#"a="b\\""#, r#"c="d""#]),
            (r#"a="\n\",b",c=d"#, vec![r#"a="\n\",b""#, r#"c="d""#]),
        ] {
            let read: Vec<String> = parse(text).expect(text).iter().map(Matcher::to_string).collect();
            assert_eq!(read, wanted, "{text}");
        }
    }

    #[test]
    fn a_comma_does_not_end_an_escape_as_in_alertmanager() {
        let problem = parse(r#"a="b\,",c="d""#).unwrap_err();
        assert!(problem.message.contains("unpaired double quote"), "{problem}");
    }

    #[test]
    fn a_problem_of_an_escaped_value_stands_at_the_whole_value() {
        assert_eq!(parse(r#"a=~"\"(""#).unwrap_err().at, 3..8);
        assert_eq!(parse(r#"a=~"b(""#).unwrap_err().at, 5..6);
    }
}
