//! What the YAML parser found, in words of our own: its texts are compiled out in some builds and name grammar, not files.

use granit_parser::{ErrorKind, ScanError};

use super::super::diagnostic::Raised;
use super::super::source::{At, small};

/// A syntax error as a problem. Only the first one of a file is known: what follows cannot be read for certain.
pub(super) fn explain(error: &ScanError, at: At, text: &str) -> Raised {
    use ErrorKind as K;
    let at = visible(before_tab(error.kind(), at, text), text);
    let raised = |message: &str| Raised::error("yaml-syntax", at, message);
    match error.kind() {
        K::TabNotAllowed | K::TabInBlockIndentation | K::TabAtBlockScalarStart | K::TabInIndentation | K::TabInPlainScalar => {
            raised("a tab where YAML wants spaces").help("indent with spaces only")
        }
        K::RecursionLimitExceeded => Raised::error("too-deep", at, "lists and maps are nested deeper than 32")
            .help("nothing in the language is: is a bracket left open?"),
        K::UnclosedQuotedScalar | K::DocumentIndicatorInQuotedScalar => {
            raised("a quote that is not closed").help("close it; write `''` for a quote within single quotes")
        }
        K::InvalidQuotedScalarIndent => {
            raised("a quote above is not closed").help("close it, or indent the lines below that its text goes on in")
        }
        K::UnclosedFlowCollection { open } => raised(&format!("`{open}` is not closed")).help("close it, on this line or below"),
        K::MismatchedFlowCollectionEnd { open, close } => {
            raised(&format!("`{open}` is closed by `{close}`")).help("close first what was opened last, each by its own bracket")
        }
        K::MisplacedFlowCollectionEnd => raised("a closing bracket without an opening one"),
        K::UnexpectedEofFlowMapping | K::UnexpectedEofImplicitFlowMapping | K::UnexpectedEofFlowSequence
            if marked(at, text) == "," =>
        {
            raised("a `,` with nothing before it").help("remove it, or put a value that holds `,` in quotes")
        }
        K::ExpectedFlowMappingSeparator | K::UnexpectedEofFlowMapping | K::UnexpectedEofImplicitFlowMapping => {
            raised("expected `,` or `}` in a map").help("put values that hold `,`, `}` or `: ` in quotes")
        }
        K::ExpectedFlowSequenceSeparator | K::UnexpectedEofFlowSequence => {
            raised("expected `,` or `]` in a list").help("put values that hold `,` or `]` in quotes")
        }
        K::MappingValueNotAllowed | K::InvalidColonPlacement | K::InvalidMappingValueWhitespace => {
            raised("a `:` where no key can stand").help("put values that hold `: ` in quotes, and indent keys of one map alike")
        }
        K::InvalidTrailingSingleQuotedScalar | K::InvalidTrailingDoubleQuotedScalar => {
            raised("text after a closing quote").help("put the whole value in quotes: `'severity = \"critical\"'`")
        }
        K::UnknownQuotedScalarEscape | K::InvalidQuotedScalarHexEscape => {
            raised("an unknown escape in double quotes").help("use single quotes, in which a backslash is only a backslash")
        }
        K::SimpleKeyExpected | K::InvalidSimpleKey => raised("expected `:` after a key").help("write `name: value`"),
        K::ExpectedBlockMappingKey | K::ExpectedBlockSequenceEntry | K::InvalidIndentation | K::BlockSequenceEntryNotAllowed => {
            raised("this does not continue what stands above").help("indent the keys of one map, and the `-` of one list, alike")
        }
        K::UnexpectedCharacter { character } => {
            let code = u32::from(*character);
            let help = match character {
                '@' | '`' => "put a value that begins with it in quotes",
                '%' => "put a value that begins with it in quotes; directives are not supported",
                _ => "remove it, or write it as an escape in double quotes",
            };
            raised(&format!("the character `{}` (U+{code:04X}) cannot stand here", character.escape_default())).help(help)
        }
        K::UnexpectedEofBlockMapping | K::UnexpectedEofBlockSequence | K::UnexpectedEof => {
            raised("expected a value").help("put a value that begins with `,` in quotes")
        }
        K::DirectiveDisallowed | K::MissingDocumentEndBeforeDirective => {
            Raised::error("directive", at, "YAML directives are not supported").help("remove the line that begins with `%`")
        }
        _ => raised("this is not YAML").help("look for a quote, bracket or indentation that is not closed, here or just above"),
    }
}

/// What is pointed at.
fn marked(at: At, text: &str) -> &str {
    text.get(at.start as usize..at.end as usize).unwrap_or_default()
}

/// The parser points behind a tab, or at the value before it.
fn before_tab(kind: &ErrorKind, at: At, text: &str) -> At {
    use ErrorKind as K;
    let start = at.start as usize;
    let next = || text.get(start..).and_then(|rest| rest.find('\t')).map(|found| start + found);
    let before = || {
        let line = text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        text.get(line..start).and_then(|before| before.rfind('\t')).map(|found| line + found)
    };
    let tab = match kind {
        K::TabNotAllowed | K::TabInBlockIndentation | K::TabInIndentation | K::TabInPlainScalar => before().or_else(next),
        K::TabAtBlockScalarStart => next(),
        _ => None,
    };
    tab.map_or(at, |tab| At { start: small(tab), end: small(tab + 1), ..at })
}

/// At the very end of a file there is nothing to point at: the last visible character stands for it.
fn visible(at: At, text: &str) -> At {
    let start = at.start as usize;
    if text.get(start..).is_none_or(|rest| rest.trim().is_empty()) {
        let end = text.trim_end().len();
        let last = text.get(..end).and_then(|text| text.chars().next_back()).map_or(0, char::len_utf8);
        return At { start: small(end - last), end: small(end), ..at };
    }
    let length = text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    At { end: small(start + length), ..at }
}

#[cfg(test)]
mod tests {
    use super::super::super::diagnostic::{Diagnostic, Sink};
    use super::super::super::source::Sources;
    use super::super::read;
    use super::*;

    fn problem(text: &str) -> Diagnostic {
        let sink = Sink::default();
        assert!(read(0, text.as_bytes(), &sink).is_none(), "{text:?}");
        sink.finish(&Sources::new([("f", text.as_bytes())])).remove(0)
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (text, message, marked) in [
            ("a: [1, 2}\n", "`[` is closed by `}`", "["),
            ("a: b]\n}\n", "a closing bracket without an opening one", "}"),
            ("a: {b: 1 c: 2}\n", "expected `,` or `}` in a map", ":"),
            ("a: [1, {2} 3]\n", "expected `,` or `]` in a list", "3"),
            ("a: [1,, 2]\n", "a `,` with nothing before it", ","),
            ("a: {b: 1,, c: 2}\n", "a `,` with nothing before it", ","),
            ("a: {b: :}\n", "expected `,` or `}` in a map", ":"),
            ("a: ,\n", "expected a value", ","),
            ("- ,x\n", "expected a value", ","),
            ("a: \"b\nc: 1\n", "a quote above is not closed", "c"),
            ("a: \"\\x1\"\n", "an unknown escape in double quotes", "\""),
            ("a:\t|\n\tb\n", "a tab where YAML wants spaces", "\t"),
            ("a: \"\\q\"\n", "an unknown escape in double quotes", "\""),
            ("a: 1\nb\nc: 2\n", "expected `:` after a key", "b"),
            ("a: 'b'é\n", "text after a closing quote", "é"),
        ] {
            let found = problem(text);
            assert_eq!((found.message.as_str(), &text[found.range]), (message, marked), "{text}");
        }
    }

    #[test]
    fn says_how_to_write_what_cannot_begin_a_value() {
        for (text, wanted) in [
            ("a: @x\n", "put a value that begins with it in quotes"),
            ("a: `x`\n", "put a value that begins with it in quotes"),
            ("a: %x\n", "put a value that begins with it in quotes; directives are not supported"),
            ("a: \u{1}\n", "remove it, or write it as an escape in double quotes"),
        ] {
            assert_eq!(problem(text).help.as_deref(), Some(wanted), "{text:?}");
        }
    }

    fn at(start: usize) -> At {
        At { file: 3, start: small(start), end: small(start), ..At::default() }
    }

    #[test]
    fn a_tab_is_pointed_at_wherever_the_parser_points() {
        for (text, start, tab) in
            [("a:\n\tb: 1", 4, 3), ("a:\n \t b: 1", 6, 4), ("\n\tb", 2, 1), ("a: b\n\tc: d", 3, 5), ("a\t\nb:\n\tc", 3, 6)]
        {
            let wanted = At { end: small(tab + 1), ..at(tab) };
            assert_eq!(before_tab(&ErrorKind::TabInIndentation, at(start), text), wanted, "{text:?}");
            assert_eq!(before_tab(&ErrorKind::InvalidIndentation, at(start), text), at(start), "{text:?}");
        }
        assert_eq!(before_tab(&ErrorKind::TabInIndentation, at(1), "abc"), at(1), "there is none");
        let wanted = At { end: 6, ..at(5) };
        assert_eq!(before_tab(&ErrorKind::TabAtBlockScalarStart, at(3), "a:\t|\n\tb"), wanted, "not the one before `|`");
    }

    #[test]
    fn something_visible_is_pointed_at() {
        for (text, start, wanted) in
            [("a: éb", 3, 3..5), ("a: é\n \n", 5, 3..5), ("a: é\n \n", 8, 3..5), ("a: b", 4, 3..4), (" \n", 1, 0..0)]
        {
            let found = visible(at(start), text);
            assert_eq!((found.file, found.start..found.end), (3, wanted), "{text:?} from {start}");
        }
    }
}
