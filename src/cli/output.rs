//! What a command prints, and how: text for people, JSON for scripts, colour for terminals only. The one place that writes to
//! stdout and stderr. Text from outside (labels, reasons, logs) never reaches a terminal as control characters.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use clap::ValueEnum;
use serde_json::Value;

use super::exit::Failure;
use crate::model::hides;

/// For whom an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For scripts.
    Json,
}

/// How a piece of text looks on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Headings.
    Bold,
    /// What matters less.
    Dim,
    /// Good.
    Green,
    /// Look at it.
    Yellow,
    /// Bad.
    Red,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Green => "\x1b[32m",
            Self::Yellow => "\x1b[33m",
            Self::Red => "\x1b[31m",
        }
    }
}

/// Narrower than this nothing can be read.
const LEAST_WIDTH: usize = 40;

/// Where a command prints to.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    format: Format,
    colour: bool,
}

impl Output {
    /// Prints to stdout. Colour: where that is a terminal, unless `NO_COLOR` is set or the terminal is dumb.
    pub fn new(format: Format) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { format, colour: io::stdout().is_terminal() && !set("NO_COLOR") && !dumb }
    }

    /// Whether a script reads it.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// An empty text in this output's colours.
    pub fn text(&self) -> Text {
        Text { colour: self.colour, out: String::new(), hangs: BTreeMap::new() }
    }

    /// Prints text, broken into lines that fit where it goes to: the terminal, or what `COLUMNS` says. Else lines stay whole.
    ///
    /// # Errors
    /// As for `print`.
    pub fn print_wrapped(&self, text: &Text) -> Result<(), Failure> {
        let told = std::env::var_os("COLUMNS").and_then(|columns| columns.to_str()?.parse::<usize>().ok());
        let seen = io::stdout().is_terminal().then(terminal_size::terminal_size).flatten();
        match told.or_else(|| seen.map(|(width, _)| usize::from(width.0))) {
            Some(width) => write(text.wrapped(width.max(LEAST_WIDTH)).as_bytes()),
            None => self.print(text),
        }
    }

    /// Prints text.
    ///
    /// # Errors
    /// The text could not be written. A reader that went away is none: it has what it wanted.
    pub fn print(&self, text: &Text) -> Result<(), Failure> {
        write(text.out.as_bytes())
    }

    /// Prints one JSON value on one line. `false`: the reader went away.
    ///
    /// # Errors
    /// As for `print`.
    pub fn print_line(&self, value: &Value) -> Result<bool, Failure> {
        let mut stdout = io::stdout().lock();
        match writeln!(stdout, "{value}") {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::internal(format!("cannot write the answer: {error}"))),
        }
    }

    /// Prints text that another program reads as it is: a script, a schema, a page.
    ///
    /// # Errors
    /// As for `print`.
    pub fn print_raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        write(bytes)
    }

    /// Prints JSON, in lines.
    ///
    /// # Errors
    /// As for `print`.
    pub fn print_json(&self, value: &Value) -> Result<(), Failure> {
        write(format!("{value:#}\n").as_bytes())
    }
}

fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::internal(format!("cannot write the answer: {error}")))
        }
        _ => Ok(()),
    }
}

/// Says on stderr why a command failed.
pub fn complain(failure: &Failure) {
    let mut text = Text { colour: false, out: String::new(), hangs: BTreeMap::new() };
    text.line(format_args!("error: {}", failure.message));
    if let Some(help) = &failure.help {
        text.line(format_args!("  help: {help}"));
    }
    // Nobody is left to be told that this failed.
    let _ = io::stderr().lock().write_all(text.out.as_bytes());
}

/// Puts something beside the answer, on stderr.
pub fn remark(words: &str) {
    let mut text = Text { colour: false, out: String::new(), hangs: BTreeMap::new() };
    text.plain(words);
    let _ = io::stderr().lock().write_all(text.out.as_bytes());
}

/// A text in the making. Whatever is written into it is cleaned: only line breaks are left of control characters.
#[derive(Clone, Debug)]
pub struct Text {
    colour: bool,
    out: String,
    /// By line: the column at which its text goes on where it is broken.
    hangs: BTreeMap<usize, usize>,
}

impl Text {
    /// Adds a line.
    pub fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing into a `String` cannot fail.
        let _ = fmt::write(self, line);
        self.out.push('\n');
    }

    /// Adds an empty line.
    pub fn gap(&mut self) {
        self.out.push('\n');
    }

    /// Adds a piece as it is.
    pub fn plain(&mut self, piece: &str) {
        self.out.extend(clean(piece));
    }

    /// Adds a piece in a style, where there is colour.
    pub fn styled(&mut self, style: Style, piece: &str) {
        if self.colour {
            self.out.push_str(style.code());
            self.plain(piece);
            self.out.push_str("\x1b[0m");
        } else {
            self.plain(piece);
        }
    }

    /// Adds a line in a style.
    pub fn heading(&mut self, style: Style, piece: &str) {
        self.styled(style, piece);
        self.gap();
    }

    /// What was written so far.
    pub fn as_str(&self) -> &str {
        &self.out
    }

    /// Where this line is broken, it goes on in the column that is reached now.
    pub fn hang(&mut self) {
        let line = self.out.rsplit('\n').next().unwrap_or_default();
        self.hangs.insert(self.out.matches('\n').count(), textwrap::core::display_width(line));
    }

    /// The text in lines of at most that width, as far as its words allow.
    pub fn wrapped(&self, width: usize) -> String {
        let mut wrapped = String::with_capacity(self.out.len() + 64);
        for (number, line) in self.out.lines().enumerate() {
            let begin = line.len() - line.trim_start_matches(' ').len();
            // A column far to the right leaves no room for what is to stand there.
            let hang = self.hangs.get(&number).copied().filter(|hang| hang * 2 <= width).unwrap_or(begin + 2);
            let indent = " ".repeat(hang.min(width / 2));
            let options = textwrap::Options::new(width).subsequent_indent(&indent).break_words(false);
            let options = options.word_splitter(textwrap::WordSplitter::NoHyphenation);
            for piece in textwrap::wrap(line, options) {
                wrapped.push_str(piece.trim_end());
                wrapped.push('\n');
            }
        }
        wrapped
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.plain(piece);
        Ok(())
    }
}

fn clean(piece: &str) -> impl Iterator<Item = char> {
    piece.chars().map(|c| match c {
        '\n' => c,
        '\t' => ' ',
        c if hides(c) => '\u{fffd}',
        c => c,
    })
}

/// Columns under their headings.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with its headings.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(ToString::to_string).collect()] }
    }

    /// Adds a row. Cells are one line each.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| cell.replace('\n', " ")).collect());
    }

    /// Writes it, each column as wide as its widest cell, the last as it is.
    pub fn write(&self, text: &mut Text) {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let pad = if column + 1 == row.len() { 0 } else { width(column) + 2 - cell.chars().count() };
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', pad));
            }
            match number {
                0 => text.heading(Style::Bold, line.trim_end()),
                _ => text.line(format_args!("{}", line.trim_end())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(colour: bool) -> Text {
        Text { colour, out: String::new(), hangs: BTreeMap::new() }
    }

    #[test]
    fn what_comes_from_outside_cannot_move_the_cursor() {
        let mut text = text(true);
        text.line(format_args!("label {}", "\x1b[2Jgone\r\u{202e}"));
        assert_eq!(text.as_str(), "label \u{fffd}[2Jgone\u{fffd}\u{fffd}\n");
    }

    #[test]
    fn colour_is_for_terminals() {
        let (mut plain, mut coloured) = (text(false), text(true));
        plain.styled(Style::Red, "no");
        coloured.styled(Style::Red, "no");
        assert_eq!(plain.as_str(), "no");
        assert_eq!(coloured.as_str(), "\x1b[31mno\x1b[0m");
    }

    #[test]
    fn long_lines_go_on_where_their_text_begins() {
        let mut text = text(true);
        text.plain("  budget  ");
        text.styled(Style::Red, "HOLDS");
        text.plain("  ");
        text.hang();
        text.line(format_args!("one two three four five six seven"));
        text.line(format_args!("    a line without a column of its own, much longer"));
        assert_eq!(
            text.wrapped(40),
            "  budget  \x1b[31mHOLDS\x1b[0m  one two three four five\n                 six seven\n    a line without a column of its own,\n      much longer\n"
        );
        assert_eq!(text.wrapped(1000), text.as_str());
    }

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["ID", "STATE", "WHY"]);
        table.row(["i1", "paged", "a\nb"].map(str::to_owned));
        table.row(["i234", "ö", "c"].map(str::to_owned));
        let mut text = text(false);
        table.write(&mut text);
        assert_eq!(text.as_str(), "ID    STATE  WHY\ni1    paged  a b\ni234  ö      c\n");
    }
}
