//! The files as they came, and places in them. Must not know YAML beyond how a scalar may be written.

use std::borrow::Cow;
use std::ops::Range;

use crate::model::hides;

/// A place in one of the files, and how the scalar there is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct At {
    pub(super) file: u32,
    /// Bytes.
    pub(super) start: u32,
    /// Bytes; not included.
    pub(super) end: u32,
    pub(super) style: Style,
}

/// How a scalar is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Style {
    #[default]
    Plain,
    Single,
    Double,
    Block,
}

/// The text of all files.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    files: Vec<Source<'a>>,
}

#[derive(Debug)]
struct Source<'a> {
    path: String,
    /// With replacement characters where the bytes are no UTF-8: places before the first of those are right.
    text: Cow<'a, str>,
    /// Where each line begins.
    lines: Vec<usize>,
}

/// A place, worked out for people.
pub(super) struct Spot {
    pub(super) file: String,
    pub(super) range: Range<usize>,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) excerpt: String,
    pub(super) mark: Range<usize>,
}

impl<'a> Sources<'a> {
    pub(super) fn new<'p>(files: impl IntoIterator<Item = (&'p str, &'a [u8])>) -> Self {
        let source = |(path, bytes): (&str, &'a [u8])| {
            let text = String::from_utf8_lossy(bytes);
            let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
            Source { path: path.to_owned(), text, lines }
        };
        Self { files: files.into_iter().map(source).collect() }
    }

    /// The place behind the last byte.
    pub(super) fn end_of(&self, file: u32) -> At {
        let end = self.file(file).map_or(0, |source| source.text.len());
        At { file, start: small(end), end: small(end), style: Style::Plain }
    }

    /// 1-based.
    pub(super) fn line_of(&self, at: At) -> usize {
        self.file(at.file).map_or(1, |source| source.line(at.start as usize))
    }

    pub(super) fn path_of(&self, at: At) -> &str {
        self.file(at.file).map_or("", |source| &source.path)
    }

    /// The part of a scalar that holds those bytes of its value.
    pub(super) fn within(&self, at: At, part: &Range<usize>, value: &str) -> At {
        let Some(source) = self.file(at.file) else { return at };
        let Some(raw) = source.text.get(at.start as usize..at.end as usize) else { return at };
        let Some(range) = raw_range(raw, at.style, part, value) else { return at };
        At { start: at.start + small(range.start), end: at.start + small(range.end), ..at }
    }

    pub(super) fn spot(&self, at: At) -> Spot {
        let Some(source) = self.file(at.file) else {
            return Spot { file: String::new(), range: 0..0, line: 1, column: 1, excerpt: String::new(), mark: 0..0 };
        };
        let start = floor(&source.text, at.start as usize);
        let end = floor(&source.text, at.end as usize).max(start);
        let line = source.line(start);
        let line_start = source.lines.get(line - 1).copied().unwrap_or(0);
        let rest = source.text.get(line_start..).unwrap_or("");
        let text = rest.split('\n').next().unwrap_or("").trim_end_matches('\r');
        let (text, bom) = match text.strip_prefix('\u{feff}') {
            Some(text) if line_start == 0 => (text, '\u{feff}'.len_utf8()),
            _ => (text, 0),
        };
        let chars =
            |to: usize| text.get(..to.saturating_sub(line_start + bom).min(text.len())).map_or(0, |part| part.chars().count());
        let (from, to) = (chars(start), chars(end));
        let (excerpt, mark) = cut(text, from..to);
        Spot { file: source.path.clone(), range: start..end, line, column: from + 1, excerpt, mark }
    }

    fn file(&self, file: u32) -> Option<&Source<'a>> {
        self.files.get(file as usize)
    }
}

impl Source<'_> {
    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at).max(1)
    }
}

/// Files are limited to far below 4 GiB.
pub(super) fn small(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The nearest character boundary at or before.
fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// A window of a long line, with control characters made visible.
fn cut(line: &str, mark: Range<usize>) -> (String, Range<usize>) {
    const WINDOW: usize = 120;
    const BEFORE: usize = 40;
    let skip = if mark.end > WINDOW { mark.start.saturating_sub(BEFORE) } else { 0 };
    let show = |char: char| if hides(char) { '\u{fffd}' } else { char };
    let mut excerpt: String = line.chars().skip(skip).take(WINDOW).map(show).collect();
    let shown = excerpt.chars().count();
    let mut mark = mark.start - skip..(mark.end - skip).min(shown);
    if line.chars().nth(skip + WINDOW).is_some() {
        excerpt.push('…');
    }
    if skip > 0 {
        excerpt.insert(0, '…');
        mark = mark.start + 1..mark.end + 1;
    }
    (excerpt, mark)
}

/// Where bytes of a scalar's value stand in its raw text. Folding changes only white space, so the n-th visible character of the
/// value is the n-th visible one of the raw text.
fn raw_range(raw: &str, style: Style, part: &Range<usize>, value: &str) -> Option<Range<usize>> {
    let quote = usize::from(matches!(style, Style::Single | Style::Double));
    let inner = raw.get(quote..raw.len().checked_sub(quote)?)?;
    if inner == value {
        return Some(part.start + quote..part.end + quote);
    }
    let visible = |text: &str| text.chars().filter(|char| !char.is_whitespace()).count();
    let before = visible(value.get(..part.start)?);
    let wanted = visible(value.get(part.clone())?);
    let units: Vec<Range<usize>> = Units { raw: inner, at: 0, style }.collect();
    let last = units.len().checked_sub(1)?;
    let first = units.get(before.min(last))?.start;
    let end = if wanted == 0 { first } else { units.get((before + wanted - 1).min(last))?.end };
    Some(first + quote..end + quote)
}

/// The visible characters of a scalar as they are written, escapes included.
struct Units<'a> {
    raw: &'a str,
    at: usize,
    style: Style,
}

impl Iterator for Units<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let start = self.at;
            let rest = self.raw.get(start..)?;
            let first = rest.chars().next()?;
            let escaped = rest.get(1..).and_then(|rest| rest.chars().next());
            let (length, visible) = match (self.style, first, escaped) {
                (Style::Single, '\'', Some('\'')) => (2, true),
                (Style::Double, '\\', Some('x')) => (4, true),
                (Style::Double, '\\', Some('u')) => (6, true),
                (Style::Double, '\\', Some('U')) => (10, true),
                (Style::Double, '\\', Some(char)) => {
                    (1 + char.len_utf8(), !matches!(char, 'n' | 't' | 'r' | ' ' | '\n' | '\r' | '\t'))
                }
                _ => (first.len_utf8(), !first.is_whitespace()),
            };
            self.at = (start + length).min(self.raw.len());
            if visible {
                return Some(start..self.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_inside_scalars() {
        for (raw, style, part, value, wanted) in [
            ("a > b", Style::Plain, 2..3, "a > b", ">"),
            ("'a > b'", Style::Single, 2..3, "a > b", ">"),
            ("'it''s > b'", Style::Single, 5..6, "it's > b", ">"),
            (r#""a \"x\" \u003e b""#, Style::Double, 6..7, "a \"x\" > b", r"\u003e"),
            ("a\n      > b", Style::Plain, 2..3, "a > b", ">"),
            ("a &&\n    b > c\n", Style::Block, 7..8, "a &&\nb > c\n", ">"),
            ("bär\n    > c\n", Style::Block, 5..6, "bär > c", ">"),
        ] {
            let range = raw_range(raw, style, &part, value).unwrap();
            assert_eq!(&raw[range], wanted, "{raw}");
        }
    }

    #[test]
    fn a_bom_is_no_column() {
        let sources = Sources::new([("a", "\u{feff}abc: d".as_bytes())]);
        let spot = sources.spot(At { file: 0, start: 3, end: 6, style: Style::Plain });
        assert_eq!((spot.line, spot.column, spot.excerpt.as_str(), spot.mark), (1, 1, "abc: d", 0..3));
    }

    #[test]
    fn long_lines_are_cut() {
        let line = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let sources = Sources::new([("a", line.as_bytes())]);
        let spot = sources.spot(At { file: 0, start: 500, end: 501, style: Style::Plain });
        assert_eq!(spot.column, 501);
        assert_eq!(spot.excerpt.chars().nth(spot.mark.start), Some('X'));
        assert!(spot.excerpt.chars().count() < 130);
    }

    #[test]
    fn an_escape_is_one_character() {
        for (raw, wanted) in
            [(r#""\x41\x42 > b""#, ">"), (r#""\U00000041B > b""#, ">"), (r#""\u0041B > b""#, ">"), (r#""\n A B > b""#, ">")]
        {
            let value = if raw.contains(r"\n") { "\n A B > b" } else { "AB > b" };
            let at = value.find('>').unwrap();
            assert_eq!(&raw[raw_range(raw, Style::Double, &(at..at + 1), value).unwrap()], wanted, "{raw}");
        }
        let letters = raw_range(r#""\x41\U00000042\u0043 d""#, Style::Double, &(1..2), "ABC d").unwrap();
        assert_eq!(letters, 5..15);
    }

    #[test]
    fn only_the_first_line_begins_with_a_bom() {
        let sources = Sources::new([("a", "a: 1\n\u{feff}b: 2".as_bytes())]);
        let spot = sources.spot(At { file: 0, start: 8, end: 9, style: Style::Plain });
        assert_eq!((spot.line, spot.column, spot.excerpt.as_str(), spot.mark), (2, 2, "\u{fffd}b: 2", 1..2));
    }

    #[test]
    fn a_line_is_cut_only_where_its_mark_would_not_be_seen() {
        let line = "x".repeat(300);
        let sources = Sources::new([("a", line.as_bytes())]);
        let excerpt = |start: u32| sources.spot(At { file: 0, start, end: start + 1, style: Style::Plain }).excerpt;
        assert_eq!(excerpt(119), format!("{}…", "x".repeat(120)));
        assert_eq!(excerpt(120), format!("…{}…", "x".repeat(120)));
        assert_eq!(excerpt(299), format!("…{}", "x".repeat(41)));
    }
}
