//! Text to CEL's syntax tree, within bounds. The only place that knows the parser of the `cel` crate.

use std::ops::Range;

use cel::common::ast::{IdedExpr, SourceInfo};

use super::super::problem::Problem;

/// A syntax tree and where its nodes stand.
pub(super) struct Parsed {
    pub(super) root: IdedExpr,
    info: SourceInfo,
}

impl Parsed {
    /// The token of a node: an operator, a `(`, a dot, a name or a literal.
    pub(super) fn token(&self, node: &IdedExpr) -> Range<usize> {
        let length = self.info.source.len();
        self.info.offset_for(node.id).map_or(0..length, |(start, last)| {
            // The parser gives the last byte's place, and one before the start at the end of the text.
            let (start, end) = (start as usize, (last as usize).saturating_add(1));
            start.min(length)..end.clamp(start.min(length), length)
        })
    }
}

/// Parses a condition. Only the first syntax error is reported: those after it are mostly its echo.
pub(super) fn parse(source: &str) -> Result<Parsed, Problem> {
    let whole = 0..source.len();
    // The parser and the tree it makes are recursive without a limit of their own that would see a chain
    // (`1+1+1+…`), and a stack overflow ends the process. The bound on the length is what keeps them in.
    if source.len() > MAX_SOURCE_BYTES {
        return Err(Problem::new(whole, format!("a condition of {} bytes is too long", source.len()))
            .help(format!("the limit is {MAX_SOURCE_BYTES} bytes; use `any` or `all` with several conditions")));
    }
    if source.trim().is_empty() {
        return Err(Problem::new(whole, "empty condition").help("write for example `facts.errors > 0.5`"));
    }
    // Without macros `has`, `all` and the others stay the calls they are written as. Optional values would
    // turn what is unknown into an answer.
    let environment = cel::Env::default().with_optional_support(false);
    let parser = environment.parser().max_recursion_depth(MAX_NESTING).error_recovery_limit(1);
    match parser.parse_with_source_info(source) {
        Ok((root, info)) => Ok(Parsed { root, info }),
        Err(errors) => {
            // Never `Display`: it panics beyond column 65,535.
            let first = errors.errors.iter().find(|error| error.msg.starts_with(SYNTAX)).or(errors.errors.first());
            let (at, message) = first.map_or((0, ""), |error| (offset(source, error.pos), error.msg.as_str()));
            Err(explain(source, at, message))
        }
    }
}

/// Conditions are a line or two.
const MAX_SOURCE_BYTES: usize = 1024;

const MAX_NESTING: u16 = 24;

const SYNTAX: &str = "Syntax error: ";

/// Line and column, both from 1, as a place.
fn offset(source: &str, (line, column): (isize, isize)) -> usize {
    let nth = |number: isize| usize::try_from(number.saturating_sub(1)).unwrap_or(0);
    let start: usize = source.split_inclusive('\n').take(nth(line)).map(str::len).sum();
    let rest = source.get(start..).unwrap_or("");
    start + rest.chars().take(nth(column)).map(char::len_utf8).sum::<usize>()
}

/// Says in our words what the parser says in the grammar's.
fn explain(source: &str, at: usize, message: &str) -> Problem {
    let rest = source.get(at..).unwrap_or("");
    if message.contains("Recursion limit") {
        return Problem::new(at..at, "nested too deeply").help(format!("the limit is {MAX_NESTING} levels"));
    }
    if rest.trim().is_empty() {
        return Problem::new(source.len()..source.len(), "the condition ends too early").help("a value or a `)` is missing");
    }
    let token = first_token(rest);
    let place = at..at + token.len();
    if message.starts_with("unsupported syntax '.?'") || message.starts_with("unsupported syntax '[?'") {
        return Problem::new(place, "optional values are not available")
            .help("what is unknown must stay unknown; a missing label is `\"\"` already");
    }
    if let Some(name) = message.strip_prefix("reserved identifier: ") {
        return Problem::new(place, format!("`{name}` is a reserved word"));
    }
    if message.starts_with("invalid") {
        return Problem::new(place, format!("`{token}` is out of range"));
    }
    let problem = Problem::new(place.clone(), format!("unexpected `{token}`"));
    match hint(source, at, token) {
        Some(help) => problem.help(help),
        None => problem,
    }
}

fn first_token(rest: &str) -> &str {
    let is_word = |char: char| char.is_alphanumeric() || char == '_';
    let length = match rest.chars().next() {
        Some(first) if is_word(first) => rest.find(|char| !is_word(char)).unwrap_or(rest.len()),
        Some(first) => first.len_utf8(),
        None => 0,
    };
    rest.get(..length).unwrap_or(rest)
}

fn hint(source: &str, at: usize, token: &str) -> Option<String> {
    let before = source.get(..at).unwrap_or("");
    let digits = before.len() - before.trim_end_matches(|char: char| char.is_ascii_digit()).len();
    let number = before.get(before.len() - digits..).unwrap_or("");
    Some(match token {
        "and" | "AND" => "write `&&`".to_owned(),
        "or" | "OR" => "write `||`".to_owned(),
        "not" | "NOT" => "write `!`".to_owned(),
        "=" | "~" if source.contains('~') => "write `x.matches('…')`; matchers go into `firing('…')`".to_owned(),
        "=" => "write `==` to compare".to_owned(),
        "'" | "\"" => "a quote is not closed, or an escape in it is unknown; write `\\\\` for a backslash".to_owned(),
        unit if !number.is_empty() && unit.starts_with(|char: char| char.is_ascii_alphabetic()) => {
            if before.ends_with(&format!(".{number}")) {
                return Some("a duration is of whole numbers: write `duration('1h30m')` for 1.5h".to_owned());
            }
            let text = format!("{number}{unit}");
            let seconds = super::super::duration::parse(&text).ok()?.as_secs();
            format!("write `duration('{}')`", super::number::format_duration(seconds))
        }
        _ => return None,
    })
}
