//! Tries every mutant that cargo-mutants names, with all of them in one build: `tests/mutants/run` says how it is used.
//!
//! `list` asks for them, `place` and `render` write them into a copy of the sources (`tree`), `compile` takes out what does not
//! compile, `suites` knows the tests, `judge` runs them (`process`), `report` tells what it came to.

mod compile;
mod judge;
mod list;
mod place;
mod process;
mod render;
mod report;
mod suites;
#[cfg(test)]
mod tests;
mod tree;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, ensure};

use crate::judge::{Court, Verdict, in_parallel};
use crate::list::Mutant;
use crate::report::Verdicts;
use crate::tree::{Tree, VERDICTS};

fn main() -> ExitCode {
    let begin = std::env::args().nth(1).unwrap_or_default();
    match mutants(Path::new("."), &begin) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tests/mutants/run: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Tries the mutants of files whose name begins so; whether the survivors are known and few.
fn mutants(root: &Path, begin: &str) -> Result<bool> {
    let root = root.canonicalize()?;
    let tree = Tree::of(&root)?;
    let mutants = list::list(&root)?;
    let listed: Vec<&Mutant> = mutants.iter().filter(|mutant| mutant.file.starts_with(begin)).collect();
    ensure!(!listed.is_empty(), "no file with mutants begins with `{begin}`: see `examine_globs` in .cargo/mutants.toml");
    let known = report::known(&fs::read_to_string(root.join("tests/mutants/lived.txt"))?, &mutants)?;
    eprintln!("{} mutants", mutants.len());
    let out = compile::settle(&tree, &mutants)?;
    let verdicts = Verdicts::create(&tree.path.join(VERDICTS))?;
    let mut left = Vec::new();
    for mutant in &listed {
        match (out.unviable.contains(&mutant.id), out.constants.contains(&mutant.id)) {
            (true, _) => verdicts.out(mutant, "unviable")?,
            (_, true) => verdicts.out(mutant, "in constants")?,
            _ => left.push((*mutant, Verdict::Unreached)),
        }
    }
    let mut tried = Vec::new();
    let mut run = Vec::new();
    for stage in &suites::STAGES {
        if left.is_empty() {
            break;
        }
        let programs = compile::build(&tree, &stage.cargo())?;
        let court = Court::open(stage, &tree, &programs, &mut run)?;
        let mut caught;
        (caught, left) = try_all(&court, &verdicts, left)?;
        tried.append(&mut caught);
    }
    for (mutant, verdict) in &left {
        verdicts.of(mutant, verdict)?;
    }
    tried.append(&mut left);
    let report = report::report(&listed, &out, &tried, &known);
    print!("{}", report.text);
    Ok(report.is_good)
}

type Tried<'a> = Vec<(&'a Mutant, Verdict)>;

/// Those that are caught, which are written down, and those that are left.
fn try_all<'a>(court: &Court, verdicts: &Verdicts, left: Tried<'a>) -> Result<(Tried<'a>, Tried<'a>)> {
    let (done, lived) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let tried = in_parallel(&left, |_, (mutant, before)| {
        let verdict = court.judge(mutant)?;
        if verdict.is_caught() {
            verdicts.of(mutant, &verdict)?;
        } else {
            lived.fetch_add(1, Ordering::Relaxed);
        }
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(100) {
            eprintln!("{done} of {} tried, {} live", left.len(), lived.load(Ordering::Relaxed));
        }
        // What an earlier stage came by is not unreached because this one does not.
        let verdict = if verdict == Verdict::Unreached { before.clone() } else { verdict };
        Ok((*mutant, verdict))
    })?;
    Ok(tried.into_iter().partition(|(_, verdict)| verdict.is_caught()))
}
