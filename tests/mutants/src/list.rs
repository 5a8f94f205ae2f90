//! What can be changed: the mutants that `cargo mutants --list --json` names. Nothing is read from the sources here.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

/// More than this many are refused: `switch.rs` counts on it.
const MOST: usize = (1 << 16) - 1;

/// A place in a file: line and column count from 1, columns in characters.
#[derive(Deserialize, Clone, Copy, Debug)]
pub struct At {
    pub line: usize,
    pub column: usize,
}

/// From where to where.
#[derive(Deserialize, Clone, Copy, Debug)]
pub struct Span {
    pub start: At,
    pub end: At,
}

/// One change.
#[derive(Deserialize, Debug)]
pub struct Mutant {
    /// Its place in the list, from 1: what `MUTANT` wakes.
    #[serde(skip)]
    pub id: usize,
    pub file: String,
    /// As cargo-mutants shows it: `src/decide/act.rs:17:65: replace || with && in prepared`.
    pub name: String,
    pub genre: String,
    pub span: Span,
    pub replacement: String,
}

impl Mutant {
    /// Its name without line and column: what it is called in `lived.txt`. Several may share one.
    pub fn key(&self) -> String {
        let place = format!("{}:{}:{}: ", self.file, self.span.start.line, self.span.start.column);
        format!("{}: {}", self.file, self.name.strip_prefix(&place).unwrap_or(&self.name))
    }
}

/// Asks cargo-mutants, which reads `.cargo/mutants.toml`.
pub fn list(root: &Path) -> Result<Vec<Mutant>> {
    let mut command = Command::new("cargo");
    command.args(["mutants", "--list", "--json"]).current_dir(root).stderr(Stdio::inherit());
    let output = command.output().context("`cargo mutants` cannot be started: cargo install cargo-mutants")?;
    ensure!(output.status.success(), "`cargo mutants --list --json` failed: {}", output.status);
    read(&output.stdout)
}

/// Reads the list, and numbers it.
pub fn read(json: &[u8]) -> Result<Vec<Mutant>> {
    let mut mutants: Vec<Mutant> = serde_json::from_slice(json)
        .context("`cargo mutants --list --json` is expected to print a list of mutants (tried: 27.1)")?;
    if mutants.is_empty() || mutants.len() > MOST {
        bail!(
            "`cargo mutants` lists {} mutants, expected 1 to {MOST}: see `examine_globs` in .cargo/mutants.toml",
            mutants.len()
        );
    }
    for (index, mutant) in mutants.iter_mut().enumerate() {
        mutant.id = index + 1;
    }
    Ok(mutants)
}
