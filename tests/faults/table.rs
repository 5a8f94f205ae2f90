//! A row's cells, what must hold for every one of them, and the page that is made of them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::support::Backout;

/// What became of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cells {
    pub(crate) verdict: String,
    pub(crate) brake: Option<String>,
    /// What people, or whoever asks, were told.
    pub(crate) told: Vec<String>,
    /// Rollbacks that the API server took.
    pub(crate) written: usize,
    pub(crate) metric: String,
}

/// One row.
pub(crate) struct Row {
    pub(crate) part: &'static str,
    pub(crate) fault: &'static str,
    /// `None`: this machine cannot show it.
    pub(crate) cells: Option<Cells>,
}

impl Row {
    fn key(&self) -> String {
        format!("| {} | {} |", self.part, self.fault)
    }

    fn line(&self) -> Option<String> {
        let cells = self.cells.as_ref()?;
        let written = match cells.written {
            0 => "nothing".to_owned(),
            1 => "the rollback, once".to_owned(),
            count => format!("{count} rollbacks"),
        };
        let brake = cells.brake.as_ref().map_or("–".to_owned(), |brake| format!("`{brake}`"));
        Some(format!("{} {} | {brake} | {} | {written} | {} |", self.key(), cells.verdict, cells.told.join(", "), cells.metric))
    }

    /// What no fault may bring about, whatever stands in the page.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let Some(cells) = &self.cells else { return Vec::new() };
        let mut wrong = Vec::new();
        let mut must = |holds: bool, what: &str| {
            if !holds {
                wrong.push(format!("{} {}: {what}: {cells:?}", self.part, self.fault));
            }
        };
        must(cells.written <= 1, "a rollback is written once at most");
        must(!cells.told.is_empty(), "somebody is told");
        let proven = cells.told.iter().any(|told| told.contains("verified") || told.starts_with("page"));
        must(cells.written == 0 || proven, "what was written is proven, or a person has it");
        must(
            cells.written == 1 || !cells.told.iter().any(|told| told.contains("verified")),
            "nothing is said to be proven that was not written",
        );
        must(!cells.metric.contains(NOTHING), "a metric shows it");
        wrong
    }
}

/// What a series says that should have shown a fault, and does not.
const NOTHING: &str = "shows nothing";

/// A series of `/metrics`, as it is given, with its value; a counter above 0 is only said to be so.
pub(crate) async fn metric(backout: &Backout, series: &str) -> String {
    shown(&backout.metrics().await, series)
}

/// The same of a text.
pub(crate) fn shown(metrics: &str, series: &str) -> String {
    let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse::<f64>().ok());
    let Some(value) = value else { return format!("`{series}` {NOTHING}") };
    if series.contains("_total") {
        return format!("`{series}` {}", if value > 0.0 { "counts" } else { NOTHING });
    }
    format!("`{series}` is {value}")
}

const HEAD: &str = "# What each fault leads to

Every row was run: the real process, a real API server, Prometheus and Alertmanager, and the fault in between; the clock's and the
slow journal's on the same engine in a simulated world. A test (`tests/fault_matrix.rs`) runs them all, asserts every cell, and writes this page
(`BACKOUT_BLESS=1`); it fails where the page differs. Written to the cluster is what the API server's own audit log holds.

In each row a shop's bad release fires a critical alert, and the policy says: roll it back. The first row is what happens without a fault.

| part | fault | verdict, and how it ended | brake | who was told | written to the cluster | what the metric says |
|---|---|---|---|---|---|---|
";

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md")
}

/// The page of these rows. A row that this machine cannot show keeps the line that it has.
pub(crate) fn page(rows: &[Row], later: &[(&str, &str)]) -> String {
    let before = std::fs::read_to_string(path()).unwrap_or_default();
    let mut text = HEAD.to_owned();
    for row in rows {
        let kept = || before.lines().find(|line| line.starts_with(&row.key())).map(str::to_owned);
        if let Some(line) = row.line().or_else(kept) {
            let _ = writeln!(text, "{line}");
        }
    }
    text += "\n## Not shown yet\n\n";
    for (what, why) in later {
        let _ = writeln!(text, "- {what}: {why}");
    }
    text
}

/// Compares with the page, or writes it.
pub(crate) fn check(text: &str, bless: bool) {
    if bless {
        std::fs::write(path(), text).expect("written");
    }
    let page = std::fs::read_to_string(path()).unwrap_or_default();
    let differs: Vec<String> = text
        .lines()
        .zip(page.lines().chain(std::iter::repeat("")))
        .filter(|(new, old)| new != old)
        .map(|(new, old)| format!("- {old}\n+ {new}"))
        .collect();
    assert!(text == page, "docs/faults.md says otherwise (BACKOUT_BLESS=1 writes it anew):\n{}", differs.join("\n"));
}
