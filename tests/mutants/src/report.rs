//! What a run comes to: a line in a file for each mutant, a table, and the survivors that nobody knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use crate::compile::Out;
use crate::judge::Verdict;
use crate::list::Mutant;

/// More survivors of a hundred than this are too many, known or not.
const MOST_PERCENT: usize = 5;

/// The file of verdicts.
pub struct Verdicts {
    file: Mutex<File>,
}

impl Verdicts {
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// A mutant that is not in the build.
    pub fn out(&self, mutant: &Mutant, why: &str) -> Result<()> {
        self.row(&json!({ "name": mutant.name, "verdict": why, "suite": null, "by": null }))
    }

    pub fn of(&self, mutant: &Mutant, verdict: &Verdict) -> Result<()> {
        let (word, suite, by) = match verdict {
            Verdict::Killed { suite, by } => ("killed", Some(suite), Some(by)),
            Verdict::Timeout { suite, by } => ("timeout", Some(suite), Some(by)),
            Verdict::Lived => ("lived", None, None),
            Verdict::Unreached => ("unreached", None, None),
        };
        self.row(&json!({ "name": mutant.name, "verdict": word, "suite": suite, "by": by }))
    }

    fn row(&self, row: &serde_json::Value) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        writeln!(file, "{row}").context("a verdict cannot be written")
    }
}

/// The survivors that are known: how many of each name.
pub fn known(text: &str, mutants: &[Mutant]) -> Result<BTreeMap<String, usize>> {
    let mut known = BTreeMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')) {
        let at = format!("tests/mutants/lived.txt:{}", number + 1);
        // A name may have ` | ` in it, a reason may not.
        let Some((name, _)) = line.rsplit_once(" | ").filter(|(_, reason)| !reason.trim().is_empty()) else {
            bail!("{at}: expected `NAME | REASON`, found `{line}`");
        };
        let counted = name.rsplit_once(" ×").and_then(|(name, count)| Some((name, count.parse().ok()?)));
        let (name, count) = counted.unwrap_or((name, 1));
        let name = name.trim();
        ensure!(
            mutants.iter().any(|mutant| mutant.key() == name),
            "{at}: no mutant is called `{name}`: take the line out, or mend it"
        );
        ensure!(known.insert(name.to_owned(), count).is_none(), "{at}: `{name}` stands here twice: write `{name} ×2 | REASON`");
    }
    Ok(known)
}

/// The end of a run.
pub struct Report {
    pub text: String,
    /// No survivor is unknown, and there are not too many of them.
    pub is_good: bool,
}

/// The table and the survivors. `tried` are all that were, with what became of them; the rest of `listed` is out.
pub fn report(listed: &[&Mutant], out: &Out, tried: &[(&Mutant, Verdict)], known: &BTreeMap<String, usize>) -> Report {
    let (mut killed, mut timeouts, mut unreached): (BTreeMap<&str, usize>, _, _) = (BTreeMap::new(), 0, 0);
    let mut lived: BTreeMap<String, Vec<&Mutant>> = BTreeMap::new();
    for (mutant, verdict) in tried {
        match verdict {
            Verdict::Killed { suite, .. } => *killed.entry(suite).or_default() += 1,
            Verdict::Timeout { .. } => timeouts += 1,
            Verdict::Lived | Verdict::Unreached => lived.entry(mutant.key()).or_default().push(mutant),
        }
        unreached += usize::from(*verdict == Verdict::Unreached);
    }
    let living: usize = lived.values().map(Vec::len).sum();
    let count = |out: &BTreeSet<usize>| listed.iter().filter(|mutant| out.contains(&mutant.id)).count();
    let mut text = String::new();
    let mut row = |what: &str, count: usize| _ = writeln!(text, "{count:>6}  {what}");
    row("listed", listed.len());
    row("unviable: they do not compile", count(&out.unviable));
    row("in constants: not tried, the compiler computes them", count(&out.constants));
    row("tried", tried.len());
    for (suite, count) in killed {
        row(&format!("  killed by {suite}"), count);
    }
    row("  timeouts", timeouts);
    row("  lived", living);
    row("    that no test comes by", unreached);
    let percent = living as f64 * 100.0 / tried.len().max(1) as f64;
    let _ = writeln!(text, "{percent:.1} % of the tried live, at most {MOST_PERCENT} % may");
    let mut is_good = living * 100 <= tried.len() * MOST_PERCENT;
    for (name, mutants) in &lived {
        let (count, allowed) = (mutants.len(), known.get(name).copied().unwrap_or(0));
        if count > allowed {
            is_good = false;
            let names: Vec<&str> = mutants.iter().map(|mutant| mutant.name.as_str()).collect();
            let times = if allowed == 0 { String::new() } else { format!(" (of these, {allowed} are known)") };
            let _ = writeln!(text, "not known: {}{times}", names.join("\n           "));
        }
    }
    for (name, allowed) in known.iter().filter(|(name, _)| listed.iter().any(|mutant| mutant.key() == **name)) {
        let count = lived.get(name).map_or(0, Vec::len);
        if count < *allowed {
            let _ = writeln!(text, "lived.txt says that {allowed} live, {count} do: {name}");
        }
    }
    Report { text, is_good }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list;

    const LIST: &str = r#"[
        {"file": "src/a.rs", "name": "src/a.rs:1:2: replace || with && in f", "genre": "BinaryOperator", "replacement": "&&",
         "span": {"start": {"line": 1, "column": 2}, "end": {"line": 1, "column": 4}}},
        {"file": "src/a.rs", "name": "src/a.rs:3:2: replace || with && in f", "genre": "BinaryOperator", "replacement": "&&",
         "span": {"start": {"line": 3, "column": 2}, "end": {"line": 3, "column": 4}}}]"#;

    #[test]
    fn a_known_survivor_has_a_reason_and_is_a_mutant() {
        let mutants = list::read(LIST.as_bytes()).expect("a list");
        let name = "src/a.rs: replace || with && in f";
        assert_eq!(
            known(&format!("# why\n\n{name} | it is so\n"), &mutants).expect("known"),
            BTreeMap::from([(name.to_owned(), 1)])
        );
        assert_eq!(known(&format!("{name} ×2 | it is so\n"), &mutants).expect("known"), BTreeMap::from([(name.to_owned(), 2)]));
        for wrong in
            [format!("{name}\n"), format!("{name} | \n"), format!("{name} | a\n{name} | b\n"), "src/b.rs: x | y".to_owned()]
        {
            assert!(known(&wrong, &mutants).is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_more_survivor_than_is_known_fails() {
        let mutants = list::read(LIST.as_bytes()).expect("a list");
        let listed: Vec<&Mutant> = mutants.iter().collect();
        let killed = Verdict::Killed { suite: "stories", by: "one".to_owned() };
        let mut tried: Vec<(&Mutant, Verdict)> = (0..40).map(|_| (&mutants[0], killed.clone())).collect();
        tried.push((&mutants[0], Verdict::Lived));
        let known = BTreeMap::from([(mutants[0].key(), 1)]);
        assert!(report(&listed, &Out::default(), &tried, &known).is_good);
        tried.push((&mutants[1], Verdict::Unreached));
        let worse = report(&listed, &Out::default(), &tried, &known);
        assert!(!worse.is_good && worse.text.contains("not known: src/a.rs:1:2: "), "{}", worse.text);
    }
}
