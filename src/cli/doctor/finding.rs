//! What the doctor found: how it is, what was seen, what to do. How it is printed.

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::output::{Style, Text};

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// It works, and could let somebody down.
    Warning,
    /// Something that is needed does not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// Which part.
    area: &'static str,
    /// What was checked: stable, for scripts.
    check: &'static str,
    /// How it is.
    level: Level,
    /// What was seen.
    found: String,
    /// What to do about it; empty when it is as it should be.
    todo: String,
}

/// All findings, in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    list: Vec<Finding>,
}

/// Findings of one part.
pub(super) struct Area<'a> {
    all: &'a mut Findings,
    name: &'static str,
}

impl Findings {
    /// Findings of a part of the installation.
    pub(super) fn area(&mut self, name: &'static str) -> Area<'_> {
        Area { all: self, name }
    }

    pub(super) fn count(&self, level: Level) -> usize {
        self.list.iter().filter(|finding| finding.level == level).count()
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "ok": self.count(Level::Problem) == 0,
            "problems": self.count(Level::Problem),
            "warnings": self.count(Level::Warning),
            "findings": self.list,
        })
    }

    pub(super) fn write(&self, text: &mut Text) {
        let mut area = "";
        for finding in &self.list {
            if finding.area != area {
                area = finding.area;
                text.heading(Style::Bold, area);
            }
            let (style, word) = match finding.level {
                Level::Ok => (Style::Green, "ok      "),
                Level::Warning => (Style::Yellow, "warning "),
                Level::Problem => (Style::Red, "PROBLEM "),
            };
            text.plain("  ");
            text.styled(style, word);
            text.line(format_args!("{}", finding.found));
            if !finding.todo.is_empty() {
                text.heading(Style::Dim, &format!("          {}", finding.todo));
            }
        }
        text.gap();
        match (self.count(Level::Problem), self.count(Level::Warning)) {
            (0, 0) => text.heading(Style::Green, "sound"),
            (0, warnings) => text.heading(Style::Yellow, &format!("no problems, {warnings} warnings")),
            (problems, warnings) => text.heading(Style::Red, &format!("{problems} problems, {warnings} warnings")),
        }
    }
}

impl Area<'_> {
    pub(super) fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.add(check, Level::Ok, found.into(), String::new());
    }

    pub(super) fn warning(&mut self, check: &'static str, found: impl Into<String>, todo: impl Into<String>) {
        self.add(check, Level::Warning, found.into(), todo.into());
    }

    pub(super) fn problem(&mut self, check: &'static str, found: impl Into<String>, todo: impl Into<String>) {
        self.add(check, Level::Problem, found.into(), todo.into());
    }

    /// A problem where policies may act, else a warning: in shadow nothing is lost by it.
    pub(super) fn missing(&mut self, acts: bool, check: &'static str, found: impl Into<String>, todo: impl Into<String>) {
        let level = if acts { Level::Problem } else { Level::Warning };
        self.add(check, level, found.into(), todo.into());
    }

    fn add(&mut self, check: &'static str, level: Level, found: String, todo: String) {
        self.all.list.push(Finding { area: self.name, check, level, found, todo });
    }
}
