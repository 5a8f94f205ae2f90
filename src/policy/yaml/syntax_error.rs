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
        K::UnclosedFlowCollection { open } => raised(&format!("`{open}` is not closed")).help("close it, on this line or below"),
        K::MismatchedFlowCollectionEnd { open, close } => raised(&format!("`{open}` is closed by `{close}`")),
        K::MisplacedFlowCollectionEnd => raised("a closing bracket without an opening one"),
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
        K::UnknownQuotedScalarEscape => {
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
        K::ExpectedNodeContent => raised("expected a value").help("put a value that begins with `,`, `]` or `}` in quotes"),
        K::DirectiveDisallowed | K::MissingDocumentEndBeforeDirective => {
            Raised::error("directive", at, "YAML directives are not supported").help("remove the line that begins with `%`")
        }
        _ => raised("this is not YAML").help("look for a quote, bracket or indentation that is not closed, here or just above"),
    }
}

/// The parser points behind a tab, or at the value before it.
fn before_tab(kind: &ErrorKind, at: At, text: &str) -> At {
    if !matches!(
        kind,
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation | ErrorKind::TabInPlainScalar
    ) {
        return at;
    }
    let start = at.start as usize;
    let line = text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let tab = text.get(line..start).and_then(|before| before.rfind('\t')).map(|found| line + found);
    let next = || text.get(start..).and_then(|rest| rest.find('\t')).map(|found| start + found);
    tab.or_else(next).map_or(at, |tab| At { start: small(tab), end: small(tab + 1), ..at })
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
