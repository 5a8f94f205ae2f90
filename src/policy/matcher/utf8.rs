//! Alertmanager's newer matcher grammar (`matcher/parse`): any UTF-8 name, Go's escapes, strict about everything else.

use std::ops::Range;

use super::super::problem::Problem;
use super::parse::EXAMPLE;
use super::{Matcher, Op};

/// Reads `[{] name op value {, name op value} [,] [}]`.
pub(super) fn parse(text: &str) -> Result<Vec<Matcher>, Problem> {
    let mut scanner = Scanner { text, at: 0 };
    let mut matchers = Vec::new();
    let is_braced = scanner.eat('{');
    loop {
        match scanner.peek() {
            None | Some('}') => break,
            Some(_) => matchers.push(matcher(&mut scanner)?),
        }
        match scanner.peek() {
            None | Some('}') => break,
            Some(',') => scanner.at += 1,
            Some(other) => return Err(scanner.unexpected(other, "a comma between matchers")),
        }
    }
    let brace = scanner.at..text.len();
    match (is_braced, scanner.eat('}')) {
        (true, false) => return Err(Problem::new(brace, "missing closing brace").help("write both braces, or none")),
        (false, true) => return Err(Problem::new(brace, "missing opening brace").help("write both braces, or none")),
        _ => {}
    }
    match scanner.peek() {
        Some(other) => Err(scanner.unexpected(other, "the end")),
        None => Ok(matchers),
    }
}

/// Whether a character needs quotes around the name or value it is in.
pub(super) fn is_reserved(char: char) -> bool {
    char.is_whitespace() || matches!(char, '{' | '}' | '!' | '=' | '~' | ',' | '\\' | '"' | '\'' | '`')
}

fn matcher(scanner: &mut Scanner<'_>) -> Result<Matcher, Problem> {
    let name = scanner.literal("a label name")?;
    if name.text.is_empty() {
        return Err(Problem::new(name.at, "empty label name").help(EXAMPLE));
    }
    let op = scanner.operator()?;
    let value = scanner.literal("a value (`\"\"` for the empty one)")?;
    let quote = usize::from(value.is_quoted);
    Matcher::new(name.text, op, value.text).map_err(|mut problem| {
        if value.is_verbatim {
            problem.shifted(value.at.start + quote)
        } else {
            problem.at = value.at;
            problem
        }
    })
}

struct Literal {
    text: String,
    at: Range<usize>,
    is_quoted: bool,
    /// Whether a place in `text` is the same place in the source.
    is_verbatim: bool,
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    /// The next character that is not white space, which is skipped.
    fn peek(&mut self) -> Option<char> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
        self.rest().chars().next()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn unexpected(&self, found: char, wanted: &str) -> Problem {
        Problem::new(self.at..self.at + found.len_utf8(), format!("unexpected `{found}`, expected {wanted}")).help(EXAMPLE)
    }

    fn operator(&mut self) -> Result<Op, Problem> {
        let found = self.peek();
        for op in [Op::Regex, Op::Equal, Op::NotEqual, Op::NotRegex] {
            if self.rest().starts_with(op.as_str()) {
                self.at += op.as_str().len();
                return Ok(op);
            }
        }
        let wanted = "an operator: `=`, `!=`, `=~` or `!~`";
        Err(match found {
            Some(found) => self.unexpected(found, wanted),
            None => Problem::new(self.at..self.at, format!("expected {wanted}")),
        })
    }

    fn literal(&mut self, wanted: &str) -> Result<Literal, Problem> {
        match self.peek() {
            None => Err(Problem::new(self.at..self.at, format!("expected {wanted}")).help(EXAMPLE)),
            Some('"') => self.quoted(),
            Some(found) if is_reserved(found) => Err(self.unexpected(found, wanted)),
            Some(_) => {
                let rest = self.rest();
                let text = rest.split(is_reserved).next().unwrap_or(rest).to_owned();
                let at = self.at..self.at + text.len();
                self.at = at.end;
                Ok(Literal { text, at, is_quoted: false, is_verbatim: true })
            }
        }
    }

    fn quoted(&mut self) -> Result<Literal, Problem> {
        let start = self.at;
        let inner = self.rest().get(1..).unwrap_or("");
        let mut is_escaped = false;
        let length = inner.find(|char| {
            let ends = char == '"' && !is_escaped;
            is_escaped = char == '\\' && !is_escaped;
            ends
        });
        let Some(source) = length.and_then(|length| inner.get(..length)) else {
            return Err(Problem::new(start..self.text.len(), "missing closing double quote"));
        };
        let at = start..start + source.len() + 2;
        self.at = at.end;
        let text = unquote(source).map_err(|problem| problem.shifted(start + 1))?;
        let is_verbatim = text == source;
        Ok(Literal { text, at, is_quoted: true, is_verbatim })
    }
}

/// Go's `strconv.Unquote` for what stands between double quotes.
fn unquote(source: &str) -> Result<String, Problem> {
    let mut bytes = Vec::with_capacity(source.len());
    let mut rest = source;
    while let Some(char) = rest.chars().next() {
        let at = source.len() - rest.len();
        if char == '\n' {
            return Err(Problem::new(at..at + 1, "a line break within double quotes").help("write `\\n`"));
        }
        if char != '\\' {
            let (literal, tail) = rest.split_at_checked(char.len_utf8()).unwrap_or((rest, ""));
            bytes.extend_from_slice(literal.as_bytes());
            rest = tail;
            continue;
        }
        let length = escape(rest, &mut bytes).ok_or_else(|| {
            let shown = rest.chars().nth(1).map_or(1, |next| 1 + next.len_utf8());
            Problem::new(at..at + shown, format!("unknown escape `{}`", rest.get(..shown).unwrap_or("\\")))
                .help("write `\\\\` for a backslash")
        })?;
        rest = rest.get(length..).unwrap_or("");
    }
    String::from_utf8(bytes).map_err(|_| Problem::new(0..source.len(), format!("`{source}` is not valid UTF-8")))
}

/// Appends what the escape at the beginning of `source` means; its length, or nothing if it is not one of Go's.
fn escape(source: &str, bytes: &mut Vec<u8>) -> Option<usize> {
    let number = |from: usize, digits: usize, radix: u32| {
        let text = source.get(from..from + digits)?;
        let all_digits = text.chars().all(|char| char.is_digit(radix));
        all_digits.then(|| u32::from_str_radix(text, radix).ok())?
    };
    let mut rune = |digits: usize| {
        let char = char::from_u32(number(2, digits, 16)?)?;
        bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        Some(2 + digits)
    };
    match source.as_bytes().get(1)? {
        b'u' => return rune(4),
        b'U' => return rune(8),
        b'x' => {
            bytes.push(u8::try_from(number(2, 2, 16)?).ok()?);
            return Some(4);
        }
        b'0'..=b'7' => {
            bytes.push(u8::try_from(number(1, 3, 8)?).ok()?);
            return Some(4);
        }
        b'a' => bytes.push(0x07),
        b'b' => bytes.push(0x08),
        b'f' => bytes.push(0x0c),
        b'n' => bytes.push(b'\n'),
        b'r' => bytes.push(b'\r'),
        b't' => bytes.push(b'\t'),
        b'v' => bytes.push(0x0b),
        b'\\' => bytes.push(b'\\'),
        b'"' => bytes.push(b'"'),
        _ => return None,
    }
    Some(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> String {
        let matchers = parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
        matchers.first().expect(text).value().to_owned()
    }

    #[test]
    fn escapes_mean_what_they_mean_in_go() {
        for (text, wanted) in [
            (r#"a="\a\b\f\n\r\t\v""#, "\u{7}\u{8}\u{c}\n\r\t\u{b}"),
            (r#"a="\U0001F600\u00e9\x41\101""#, "😀éAA"),
            (r#"a="b\"c\\""#, "b\"c\\"),
        ] {
            assert_eq!(value(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_problem_stands_where_it_can_be_seen() {
        for (text, at, message) in [
            (r#"a=~"b(""#, 5..6, "not closed"),
            (r#"a=~"\x28""#, 3..9, "not closed"),
            ("a=~b(", 4..5, "not closed"),
            ("a=\"b\nc\"", 4..5, "line break"),
            ("a==b", 2..3, "unexpected `=`, expected a value"),
            ("=b", 0..1, "unexpected `=`, expected a label name"),
        ] {
            let problem = parse(text).expect_err(text);
            assert_eq!(problem.at, at, "{text}: {problem}");
            assert!(problem.message.contains(message), "{text}: {problem}");
        }
    }
}
