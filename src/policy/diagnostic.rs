//! What is wrong with the policy files, for people and for programs. Must not know the language: only files, places and words.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::source::{At, Sources};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The folder cannot be applied.
    Error,
    /// Worth a look; the folder is applied.
    Warning,
    /// Good to know; nobody need do anything about it.
    Note,
}

impl Severity {
    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One problem at one place of one file; complete, so that it can be printed when the files are gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// A stable name of this kind of problem, in kebab case.
    pub code: &'static str,
    /// The file, relative to the folder.
    pub file: String,
    /// Bytes of the file.
    pub range: Range<usize>,
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
    /// What is wrong: a lowercase fragment with the user's words in backticks.
    pub message: String,
    /// What would have been right there, where that can be said.
    pub expected: Option<String>,
    /// What to do.
    pub help: Option<String>,
    /// The line, cut to a readable length, without its line break.
    #[serde(skip)]
    pub excerpt: String,
    /// The characters of the excerpt that this is about.
    #[serde(skip)]
    pub mark: Range<usize>,
}

impl Diagnostic {
    /// Whether it stops the folder from being applied.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Whether it is worth a look, though the folder is applied.
    pub fn is_warning(&self) -> bool {
        self.severity == Severity::Warning
    }
}

impl fmt::Display for Diagnostic {
    /// One line, for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}: {}", self.file, self.line, self.column, self.severity.as_str(), self.message)?;
        if let Some(help) = &self.help {
            write!(f, "; {help}")?;
        }
        write!(f, " [{}]", self.code)
    }
}

/// Everything for a terminal: excerpt, caret, expectation, help. Ends with a line break unless empty.
pub fn to_text(diagnostics: &[Diagnostic]) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        let Diagnostic { severity, code, file, line, column, message, excerpt, mark, .. } = diagnostic;
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        let indent: String = excerpt.chars().take(mark.start).map(|char| if char == '\t' { '\t' } else { ' ' }).collect();
        let carets = "^".repeat(mark.len().max(1));
        text.push_str(&format!("{}[{code}]: {message}\n{gutter}--> {file}:{line}:{column}\n", severity.as_str()));
        text.push_str(&format!("{gutter} |\n{number} | {excerpt}\n{gutter} | {indent}{carets}\n"));
        for (what, words) in [("expected", &diagnostic.expected), ("help", &diagnostic.help)] {
            if let Some(words) = words {
                text.push_str(&format!("{gutter} = {what}: {words}\n"));
            }
        }
        text.push('\n');
    }
    text
}

/// A JSON array of all of them, for programs.
pub fn to_json(diagnostics: &[Diagnostic]) -> String {
    serde_json::to_string_pretty(diagnostics).unwrap_or_else(|_| "[]".to_owned())
}

/// Workflow commands that put each problem beside its line in a pull request on GitHub. `folder` leads from the repository's root
/// to the policies; may be empty.
pub fn to_github(diagnostics: &[Diagnostic], folder: &str) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let folder = folder.trim_end_matches('/');
    let mut text = String::new();
    for diagnostic in diagnostics {
        let Diagnostic { severity, code, file, line, column, message, .. } = diagnostic;
        let path = if folder.is_empty() { file.clone() } else { format!("{folder}/{file}") };
        let mut words = message.clone();
        if let Some(expected) = &diagnostic.expected {
            words.push_str(&format!("\nexpected: {expected}"));
        }
        if let Some(help) = &diagnostic.help {
            words.push_str(&format!("\nhelp: {help}"));
        }
        let place = format!("file={},line={line},col={column},title={}", property(&path), property(code));
        let command = if *severity == Severity::Note { "notice" } else { severity.as_str() };
        text.push_str(&format!("::{command} {place}::{}\n", data(&words)));
    }
    text
}

/// A problem before its place is worked out.
#[derive(Clone, Debug)]
pub(super) struct Raised {
    severity: Severity,
    code: &'static str,
    at: At,
    message: String,
    expected: Option<String>,
    help: Option<String>,
    /// That something is missing there; not worth saying where an unknown key stands that was meant to be it.
    missing_in: Option<At>,
}

impl Raised {
    pub(super) fn error(code: &'static str, at: At, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, at, message: message.into(), expected: None, help: None, missing_in: None }
    }

    pub(super) fn warning(code: &'static str, at: At, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, at, message) }
    }

    pub(super) fn note(code: &'static str, at: At, message: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::error(code, at, message) }
    }

    #[must_use]
    pub(super) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub(super) fn missing_in(mut self, holder: At) -> Self {
        self.missing_in = Some(holder);
        self
    }

    #[must_use]
    pub(super) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }
}

/// Collects the problems of all files while they are read. Bounded: what one file raises beyond the limit is only counted.
#[derive(Debug, Default)]
pub(super) struct Sink {
    raised: RefCell<Vec<Raised>>,
    counts: RefCell<BTreeMap<u32, usize>>,
    /// A mistake in a default is found once for each policy that has it.
    seen: RefCell<BTreeSet<(u32, u32, u32, String)>>,
    /// The maps that hold an unknown key.
    blamed: RefCell<BTreeSet<(u32, u32)>>,
}

/// Of one file this many problems are shown: more would hide what matters.
const MAX_PER_FILE: usize = 200;

impl Sink {
    pub(super) fn raise(&self, raised: Raised) {
        let At { file, start, end, .. } = raised.at;
        if raised.missing_in.is_some_and(|holder| self.blamed.borrow().contains(&(holder.file, holder.start))) {
            return;
        }
        let mut counts = self.counts.borrow_mut();
        let is_full = counts.get(&file).is_some_and(|count| *count > MAX_PER_FILE);
        if !is_full && !self.seen.borrow_mut().insert((file, start, end, raised.message.clone())) {
            return;
        }
        let count = counts.entry(raised.at.file).or_default();
        *count += 1;
        if *count <= MAX_PER_FILE {
            self.raised.borrow_mut().push(raised);
        }
    }

    /// Notes that the map there holds an unknown key: what is missing in it is not reported.
    pub(super) fn blame(&self, holder: At) {
        self.blamed.borrow_mut().insert((holder.file, holder.start));
    }

    /// How many were raised of one file.
    pub(super) fn count(&self, file: u32) -> usize {
        self.counts.borrow().get(&file).copied().unwrap_or_default()
    }

    /// All problems, each once, by file and place.
    pub(super) fn finish(&self, sources: &Sources<'_>) -> Vec<Diagnostic> {
        let mut raised = self.raised.take();
        for (file, count) in self.counts.take() {
            if count > MAX_PER_FILE {
                let more = count - MAX_PER_FILE;
                let message = format!("problems in this file that are not shown: {more}");
                raised.push(Raised::error("too-many-problems", sources.end_of(file), message));
            }
        }
        let mut diagnostics: Vec<Diagnostic> = raised.into_iter().map(|raised| place(raised, sources)).collect();
        diagnostics.sort_by(|a, b| {
            let key = |d: &Diagnostic| (d.file.clone(), d.range.start, d.range.end, d.severity);
            key(a).cmp(&key(b)).then_with(|| a.message.cmp(&b.message))
        });
        diagnostics
    }
}

fn place(raised: Raised, sources: &Sources<'_>) -> Diagnostic {
    let Raised { severity, code, at, message, expected, help, .. } = raised;
    let spot = sources.spot(at);
    Diagnostic {
        severity,
        code,
        file: spot.file,
        range: spot.range,
        line: spot.line,
        column: spot.column,
        message,
        expected,
        help,
        excerpt: spot.excerpt,
        mark: spot.mark,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Diagnostic {
        let sources = Sources::new([("a, b.yaml", "x: 1\r\n\tfoo: bär\r\n".as_bytes())]);
        let sink = Sink::default();
        let at = At { file: 0, start: 7, end: 10, ..At::default() };
        sink.raise(Raised::error("unknown-key", at, "no key `foo`").help("write 100% `x`"));
        sink.raise(Raised::error("unknown-key", at, "no key `foo`"));
        let mut all = sink.finish(&sources);
        assert_eq!(all.len(), 1, "each problem once");
        all.remove(0)
    }

    #[test]
    fn prints_an_excerpt_with_a_caret() {
        let text =
            "error[unknown-key]: no key `foo`\n --> a, b.yaml:2:2\n  |\n2 | \tfoo: bär\n  | \t^^^\n  = help: write 100% `x`\n\n";
        assert_eq!(to_text(&[one()]), text);
    }

    #[test]
    fn prints_for_programs() {
        let value: serde_json::Value = serde_json::from_str(&to_json(&[one()])).unwrap();
        assert_eq!(value[0]["line"], 2);
        assert_eq!(value[0]["range"], serde_json::json!({"start": 7, "end": 10}));
        assert_eq!(
            to_github(&[one()], "rules/"),
            "::error file=rules/a%2C b.yaml,line=2,col=2,title=unknown-key::no key `foo`%0Ahelp: write 100%25 `x`\n"
        );
    }

    #[test]
    fn a_flood_is_counted() {
        let sources = Sources::new([("a.yaml", &b"x"[..])]);
        let sink = Sink::default();
        (0..300).for_each(|number| sink.raise(Raised::error("x", At::default(), number.to_string())));
        let all = sink.finish(&sources);
        assert_eq!(all.len(), MAX_PER_FILE + 1);
        assert!(all.iter().any(|d| d.message == "problems in this file that are not shown: 100"));
    }

    #[test]
    fn a_problem_is_one_line_in_logs() {
        assert_eq!(one().to_string(), "a, b.yaml:2:2: error: no key `foo`; write 100% `x` [unknown-key]");
        let bare = Diagnostic { help: None, severity: Severity::Warning, ..one() };
        assert_eq!(bare.to_string(), "a, b.yaml:2:2: warning: no key `foo` [unknown-key]");
    }

    #[test]
    fn only_errors_stop_and_only_warnings_warn() {
        for (severity, wanted) in
            [(Severity::Error, (true, false)), (Severity::Warning, (false, true)), (Severity::Note, (false, false))]
        {
            let found = Diagnostic { severity, ..one() };
            assert_eq!((found.is_error(), found.is_warning()), wanted, "{severity:?}");
        }
    }

    #[test]
    fn what_is_shown_already_floods_nothing() {
        let sources = Sources::new([("a.yaml", &b"x"[..])]);
        let sink = Sink::default();
        let raise = |number: usize| sink.raise(Raised::error("x", At::default(), number.to_string()));
        (0..MAX_PER_FILE).for_each(raise);
        (0..MAX_PER_FILE).for_each(raise);
        assert_eq!(sink.count(0), MAX_PER_FILE);
        assert_eq!(sink.finish(&sources).len(), MAX_PER_FILE);
    }

    #[test]
    fn a_flood_is_counted_at_the_end_of_its_own_file() {
        let sources = Sources::new([("a.yaml", &b"x"[..]), ("b.yaml", &b"x\ny\nz"[..])]);
        let sink = Sink::default();
        (0..=MAX_PER_FILE).for_each(|number| sink.raise(Raised::error("x", At { file: 1, ..At::default() }, number.to_string())));
        let all = sink.finish(&sources);
        let last = all.last().unwrap();
        assert_eq!(last.to_string(), "b.yaml:3:2: error: problems in this file that are not shown: 1 [too-many-problems]");
    }
}
