//! Go's regular expressions (RE2) in terms of Rust's. What cannot be said exactly is refused, never approximated.

use regex::{Regex, RegexBuilder};

use super::super::problem::{Problem, nearest};

/// Compiles a pattern as Alertmanager does, anchored at both ends; places are within `pattern`.
pub(super) fn compile(pattern: &str) -> Result<Regex, Problem> {
    // Alertmanager compiles this very text, so that `a)|(b` means here what it means there.
    let anchored = format!("^(?:{pattern})$");
    // What is wrong with the pattern by itself has the better place: `a(` takes the anchor's `)` for its own.
    let own = |problem: Problem| translate(pattern).err().unwrap_or_else(|| Problem::new(0..pattern.len(), problem.message));
    build(pattern, &translate(&anchored).map_err(own)?)
}

/// Compiles a pattern that may match anywhere in a text.
pub(super) fn compile_search(pattern: &str) -> Result<Regex, Problem> {
    build(pattern, &translate(pattern)?)
}

fn build(pattern: &str, translated: &str) -> Result<Regex, Problem> {
    RegexBuilder::new(translated).size_limit(MAX_COMPILED_BYTES).build().map_err(|error| {
        let message = match error {
            regex::Error::CompiledTooBig(_) => format!("the regular expression `{pattern}` is too large"),
            _ => format!("`{pattern}` is not a regular expression"),
        };
        Problem::new(0..pattern.len(), message).help("the dialect is Go's (RE2), as in Alertmanager")
    })
}

/// One compiled pattern; far more than any that a person would write.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// Go's own limit on `{n}`.
const MAX_REPEAT: u32 = 1000;

/// Go's groups nest this deep; Rust's library refuses at a quarter of it, which is still no limit in practice.
const MAX_NESTING: usize = 200;

/// Rewrites a whole pattern; places are within `source`.
fn translate(source: &str) -> Result<String, Problem> {
    let mut reader = Reader { source, at: 0 };
    let mut out = String::with_capacity(source.len() * 2);
    let mut previous = Previous::Nothing;
    let mut open = Vec::new();
    while let Some(char) = reader.peek() {
        let start = reader.at;
        let mut next = Previous::Item;
        match char {
            '(' => {
                group(&mut reader, &mut out, &mut open)?;
                next = Previous::Nothing;
                if open.len() > MAX_NESTING {
                    return Err(reader.problem(start, "groups are nested too deeply"));
                }
            }
            ')' => {
                open.pop().ok_or_else(|| Problem::new(start..start + 1, "unpaired `)`"))?;
                reader.skip(1);
                out.push(')');
            }
            '|' => {
                reader.skip(1);
                out.push('|');
                next = Previous::Nothing;
            }
            '*' | '+' | '?' => next = repeat(&mut reader, &mut out, previous, 1)?,
            '{' => match counted(reader.rest()) {
                Some((length, valid)) => {
                    if !valid {
                        return Err(Problem::new(start..start + length, "a repeat count out of bounds").help("the limit is 1000"));
                    }
                    next = repeat(&mut reader, &mut out, previous, length)?;
                }
                // Not a count: Go takes the brace literally.
                None => reader.literal(&mut out),
            },
            '[' => class(&mut reader, &mut out)?,
            '\\' => outside_escape(&mut reader, &mut out, &mut next)?,
            '.' | '^' | '$' => {
                reader.skip(1);
                out.push(char);
            }
            _ => reader.literal(&mut out),
        }
        previous = next;
    }
    match open.pop() {
        Some(start) => Err(Problem::new(start..source.len(), "a `(` is not closed")),
        None => Ok(out),
    }
}

/// What a repeat would apply to.
#[derive(Clone, Copy, PartialEq)]
enum Previous {
    Nothing,
    Item,
    Repeat,
}

fn repeat(reader: &mut Reader<'_>, out: &mut String, previous: Previous, length: usize) -> Result<Previous, Problem> {
    let start = reader.at;
    let operator = reader.take(length);
    match previous {
        Previous::Item => {}
        Previous::Nothing => {
            return Err(reader
                .problem(start, format!("nothing to repeat before `{operator}`"))
                .help("write `.*` for any text; a matcher holds a regular expression, not a glob"));
        }
        Previous::Repeat => return Err(reader.problem(start, format!("`{operator}` after another repeat"))),
    }
    out.push_str(operator);
    if reader.peek() == Some('?') {
        reader.skip(1);
        out.push('?');
    }
    Ok(Previous::Repeat)
}

/// The length of a `{n}`, `{n,}` or `{n,m}` at the beginning, and whether Go accepts its numbers.
fn counted(rest: &str) -> Option<(usize, bool)> {
    let inner = rest.strip_prefix('{')?.split_once('}')?.0;
    let number = |text: &str| {
        let is_number =
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        is_number.then(|| text.parse::<u32>().unwrap_or(u32::MAX))
    };
    let (low, high) = match inner.split_once(',') {
        None => (number(inner)?, number(inner)?),
        Some((low, "")) => (number(low)?, number(low)?),
        Some((low, high)) => (number(low)?, number(high)?),
    };
    Some((inner.len() + 2, low <= high && high <= MAX_REPEAT))
}

/// `(`, `(?:`, `(?P<name>`, `(?<name>`, `(?flags)`, `(?flags:`. Nothing captures: only the match counts.
fn group(reader: &mut Reader<'_>, out: &mut String, open: &mut Vec<usize>) -> Result<(), Problem> {
    let start = reader.at;
    reader.skip(1);
    if reader.peek() != Some('?') {
        out.push_str("(?:");
        open.push(start);
        return Ok(());
    }
    reader.skip(1);
    let rest = reader.rest();
    if let Some(named) = rest.strip_prefix("P<").or_else(|| rest.strip_prefix('<')) {
        let name = named.split_once('>').map(|(name, _)| name);
        let is_name = |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let Some(name) = name.filter(is_name) else {
            return Err(reader.problem(start, "a bad group name").help("write `(?:…)`: a matcher has no use for names"));
        };
        reader.skip(rest.len() - named.len() + name.len() + 1);
        out.push_str("(?:");
        open.push(start);
        return Ok(());
    }
    let length = rest.find([':', ')']).unwrap_or(rest.len());
    let flags = reader.take(length);
    let (set, unset) = flags.split_once('-').map_or((flags, None), |(set, unset)| (set, Some(unset)));
    let known = |flags: &str| flags.chars().all(|flag| matches!(flag, 'i' | 'm' | 's' | 'U'));
    if !known(set) || !unset.is_none_or(|unset| known(unset) && !unset.is_empty()) {
        return Err(reader
            .problem(start, format!("unknown group `(?{flags}`"))
            .help("Go knows `(?:…)` and the flags i, m, s, U; there is no look-around"));
    }
    let is_group = reader.peek() == Some(':');
    reader.skip(1);
    if is_group {
        open.push(start);
    }
    // Rust refuses `(?)` and repeated flags, which Go takes.
    let once = |flags: &str| ['i', 'm', 's', 'U'].into_iter().filter(|flag| flags.contains(*flag)).collect::<String>();
    let unset = unset.unwrap_or("");
    let set: String = once(set).chars().filter(|flag| !unset.contains(*flag)).collect();
    let dash = if unset.is_empty() { "" } else { "-" };
    if is_group || !set.is_empty() || !unset.is_empty() {
        let end = if is_group { ':' } else { ')' };
        out.push_str(&format!("(?{set}{dash}{}{end}", once(unset)));
    }
    Ok(())
}

fn outside_escape(reader: &mut Reader<'_>, out: &mut String, next: &mut Previous) -> Result<(), Problem> {
    let start = reader.at;
    let rest = reader.rest();
    if let Some(quoted) = rest.strip_prefix("\\Q") {
        let literal = quoted.split_once("\\E").map_or(quoted, |(literal, _)| literal);
        let closing = if literal.len() == quoted.len() { 0 } else { 2 };
        reader.skip(2 + literal.len() + closing);
        literal.chars().for_each(|char| push_literal(out, char));
        if literal.is_empty() {
            // An empty quotation is nothing that could be repeated; Rust says so about what follows.
            *next = Previous::Nothing;
        }
        return Ok(());
    }
    let simple = match rest.as_bytes().get(1) {
        Some(b'A') => "\\A",
        Some(b'z') => "\\z",
        Some(b'b') => "(?-u:\\b)",
        Some(b'B') => "(?-u:\\B)",
        _ => "",
    };
    if !simple.is_empty() {
        reader.skip(2);
        out.push_str(simple);
        return Ok(());
    }
    if let Some(set) = perl_class(rest) {
        reader.skip(2);
        out.push_str(set);
        return Ok(());
    }
    if let Some(set) = unicode_class(reader)? {
        out.push_str(&set);
        return Ok(());
    }
    let char = char_escape(reader)?.ok_or_else(|| unknown_escape(reader, start))?;
    push_literal(out, char);
    Ok(())
}

/// `[…]`: Go knows ranges, escapes and `[:name:]`; a `[` or `&&` within is literal.
fn class(reader: &mut Reader<'_>, out: &mut String) -> Result<(), Problem> {
    let start = reader.at;
    reader.skip(1);
    out.push('[');
    if reader.peek() == Some('^') {
        reader.skip(1);
        out.push('^');
    }
    let mut is_first = true;
    loop {
        let rest = reader.rest();
        match reader.peek() {
            None => return Err(Problem::new(start..reader.source.len(), "a `[` is not closed")),
            Some(']') if !is_first => break,
            Some(_) => {}
        }
        is_first = false;
        if let Some(name) = rest.strip_prefix("[:").and_then(|named| named.split_once(":]")).map(|(name, _)| name) {
            let at = reader.at;
            reader.skip(name.len() + 4);
            let plain = name.strip_prefix('^').unwrap_or(name);
            if !POSIX.contains(&plain) {
                return Err(reader
                    .problem(at, format!("unknown class `[:{name}:]`"))
                    .help(format!("known: {}", POSIX.join(", "))));
            }
            out.push_str(&format!("[:{name}:]"));
        } else if let Some(set) = perl_class(rest) {
            reader.skip(2);
            out.push_str(set);
        } else if let Some(set) = unicode_class(reader)? {
            out.push_str(&set);
        } else {
            class_range(reader, out)?;
        }
    }
    reader.skip(1);
    out.push(']');
    Ok(())
}

fn class_range(reader: &mut Reader<'_>, out: &mut String) -> Result<(), Problem> {
    let start = reader.at;
    let low = class_char(reader)?;
    let mut rest = reader.rest().chars();
    let is_range = rest.next() == Some('-') && rest.next().is_some_and(|after| after != ']');
    let high = if is_range {
        reader.skip(1);
        class_char(reader)?
    } else {
        low
    };
    if high < low {
        return Err(reader.problem(start, "a range that goes backwards"));
    }
    // Numbers, so that nothing can be taken for one of Rust's set operators.
    out.push_str(&format!("\\x{{{:X}}}-\\x{{{:X}}}", u32::from(low), u32::from(high)));
    Ok(())
}

fn class_char(reader: &mut Reader<'_>) -> Result<char, Problem> {
    let start = reader.at;
    match reader.peek() {
        Some('\\') => char_escape(reader)?.ok_or_else(|| unknown_escape(reader, start)),
        Some(char) => {
            reader.skip(char.len_utf8());
            Ok(char)
        }
        None => Err(reader.problem(start, "a `[` is not closed")),
    }
}

/// `\d \w \s` are ASCII in Go and Unicode in Rust.
fn perl_class(rest: &str) -> Option<&'static str> {
    Some(match rest.get(..2)? {
        "\\d" => "[0-9]",
        "\\D" => "[^0-9]",
        "\\w" => "[0-9A-Za-z_]",
        "\\W" => "[^0-9A-Za-z_]",
        "\\s" => "[\\t\\n\\x0C\\r ]",
        "\\S" => "[^\\t\\n\\x0C\\r ]",
        _ => return None,
    })
}

/// `\pL`, `\p{Greek}`, `\p{^Lu}`, `\P…`. Rust takes names that Go does not, so only names that both know pass.
fn unicode_class(reader: &mut Reader<'_>) -> Result<Option<String>, Problem> {
    let start = reader.at;
    let rest = reader.rest();
    let Some(is_negated) = rest.strip_prefix("\\p").map(|_| false).or_else(|| rest.strip_prefix("\\P").map(|_| true)) else {
        return Ok(None);
    };
    reader.skip(2);
    let name = match reader.rest().strip_prefix('{').and_then(|named| named.split_once('}')) {
        Some((name, _)) => {
            reader.skip(name.len() + 2);
            name
        }
        None => reader.take(reader.peek().map_or(0, char::len_utf8)),
    };
    let (name, is_negated) = name.strip_prefix('^').map_or((name, is_negated), |name| (name, !is_negated));
    if !CATEGORIES.contains(&name) && !SCRIPTS.contains(&name) {
        let problem = reader.problem(start, format!("unknown class `\\p{{{name}}}`"));
        let near = nearest(name, CATEGORIES.into_iter().chain(SCRIPTS));
        return Err(problem.help(match near {
            Some(near) => format!("did you mean `\\p{{{near}}}`?"),
            None => "supported: the general categories (`\\p{Lu}`) and the common scripts (`\\p{Greek}`)".to_owned(),
        }));
    }
    Ok(Some(format!("\\{}{{{name}}}", if is_negated { 'P' } else { 'p' })))
}

/// An escape that stands for one character; nothing if Go has none such.
fn char_escape(reader: &mut Reader<'_>) -> Result<Option<char>, Problem> {
    let start = reader.at;
    let rest = reader.rest();
    let Some(char) = rest.chars().nth(1) else { return Ok(None) };
    let after = rest.get(2..).unwrap_or("");
    let digits = |radix, most| after.chars().take(most).take_while(|char| char.is_digit(radix)).count();
    let (length, code) = match char {
        // A single non-zero digit would be a back-reference.
        '1'..='7' if digits(8, 1) == 0 => return Ok(None),
        '0'..='7' => {
            let length = 1 + digits(8, 2);
            (1 + length, rest.get(1..=length).and_then(|text| u32::from_str_radix(text, 8).ok()))
        }
        'x' => match after.strip_prefix('{').and_then(|hex| hex.split_once('}')) {
            Some((hex, _)) if hex.len() <= 8 && hex.chars().all(|char| char.is_ascii_hexdigit()) => {
                (hex.len() + 4, u32::from_str_radix(hex, 16).ok())
            }
            _ if digits(16, 2) == 2 => (4, after.get(..2).and_then(|hex| u32::from_str_radix(hex, 16).ok())),
            _ => return Ok(None),
        },
        'a' => (2, Some(0x07)),
        'f' => (2, Some(0x0c)),
        'n' => (2, Some(0x0a)),
        'r' => (2, Some(0x0d)),
        't' => (2, Some(0x09)),
        'v' => (2, Some(0x0b)),
        // `\<` is just `<` in Go; in Rust it would be the beginning of a word.
        punctuation if punctuation.is_ascii() && !punctuation.is_ascii_alphanumeric() => (2, Some(u32::from(punctuation))),
        _ => return Ok(None),
    };
    reader.skip(length);
    match code.and_then(char::from_u32) {
        Some(char) => Ok(Some(char)),
        None => Err(reader.problem(start, "not a Unicode character")),
    }
}

fn unknown_escape(reader: &Reader<'_>, start: usize) -> Problem {
    let source = reader.source;
    let escape: String = source.get(start..).unwrap_or("").chars().take(2).collect();
    Problem::new(start..start + escape.len(), format!("unknown escape `{escape}` in a regular expression"))
        .help("the dialect is Go's (RE2), as in Alertmanager: no back-references and no look-around")
}

fn push_literal(out: &mut String, char: char) {
    if char.is_ascii_alphanumeric() || !char.is_ascii() {
        out.push(char);
    } else {
        out.push_str(&format!("\\x{{{:X}}}", u32::from(char)));
    }
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip(&mut self, bytes: usize) {
        self.at = self.source.len().min(self.at + bytes);
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let taken = self.rest().get(..bytes).unwrap_or("");
        self.skip(taken.len());
        taken
    }

    fn literal(&mut self, out: &mut String) {
        if let Some(char) = self.peek() {
            self.skip(char.len_utf8());
            push_literal(out, char);
        }
    }

    fn problem(&self, start: usize, message: impl Into<String>) -> Problem {
        Problem::new(start..self.at.max(start), message)
    }
}

const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word", "xdigit",
];

const CATEGORIES: [&str; 36] = [
    "L", "M", "N", "P", "S", "Z", "C", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe",
    "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Any",
];

const SCRIPTS: [&str; 24] = [
    "Latin",
    "Greek",
    "Cyrillic",
    "Han",
    "Hiragana",
    "Katakana",
    "Hangul",
    "Arabic",
    "Hebrew",
    "Thai",
    "Devanagari",
    "Armenian",
    "Bengali",
    "Georgian",
    "Tamil",
    "Telugu",
    "Khmer",
    "Lao",
    "Mongolian",
    "Myanmar",
    "Sinhala",
    "Tibetan",
    "Common",
    "Inherited",
];

#[cfg(test)]
mod tests;
