//! Finds which test comes by which mutant, then wakes one mutant at a time and runs those tests only, the quickest first.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::list::Mutant;
use crate::process::{End, run};
use crate::suites::{Stage, Suite};
use crate::tree::Tree;

/// The longest that a test may take without a mutant.
const HONEST: Duration = Duration::from_secs(300);

/// What became of a mutant that was tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// A test failed.
    Killed {
        suite: &'static str,
        by: String,
    },
    /// A test did not end in its time.
    Timeout {
        suite: &'static str,
        by: String,
    },
    Lived,
    /// No test comes by it.
    Unreached,
}

impl Verdict {
    pub fn is_caught(&self) -> bool {
        matches!(self, Self::Killed { .. } | Self::Timeout { .. })
    }
}

/// A stage whose tests are built, and what each of them comes by.
pub struct Court<'a> {
    stage: &'a Stage,
    tree: &'a Tree,
    programs: &'a BTreeMap<String, String>,
    /// For each mutant and each suite, by its place in the stage: the parts that come by it, and how long they take, the quickest
    /// first.
    reached: BTreeMap<(usize, usize), Vec<(Duration, String)>>,
}

/// How long a part takes, and which mutants it comes by; nothing where it fails without any.
type Seen = Option<(Duration, Vec<usize>)>;

impl<'a> Court<'a> {
    /// Runs every part once with all mutants asleep, but for unit tests that an earlier stage has run: they are in `known`, which
    /// gets those of this one.
    pub fn open(
        stage: &'a Stage,
        tree: &'a Tree,
        programs: &'a BTreeMap<String, String>,
        known: &mut Vec<(&'static str, String)>,
    ) -> Result<Self> {
        let mut court = Self { stage, tree, programs, reached: BTreeMap::new() };
        let mut parts = Vec::new();
        for (index, suite) in stage.suites.iter().enumerate() {
            let names = suite.names(tree, programs)?;
            let fresh = names.into_iter().map(|name| (suite.program, name)).filter(|part| !known.contains(part));
            parts.extend(fresh.map(|(_, name)| (index, name)));
        }
        known.extend(parts.iter().map(|(index, name)| (stage.suites[*index].program, name.clone())));
        let seen = in_parallel(&parts, |worker, (index, name)| court.look(worker, &stage.suites[*index], name))?;
        for ((index, name), seen) in parts.into_iter().zip(seen) {
            let Some((took, ids)) = seen else {
                println!("left out, it fails without any mutant: {} of {}", name, stage.suites[index].label);
                continue;
            };
            for id in ids {
                court.reached.entry((id, index)).or_default().push((took, name.clone()));
            }
        }
        if court.reached.is_empty() {
            bail!("no test comes by any mutant: is `mod mutant` in target/mutants-tree/src/lib.rs?");
        }
        court.reached.values_mut().for_each(|parts| parts.sort());
        Ok(court)
    }

    fn look(&self, worker: usize, suite: &Suite, name: &str) -> Result<Seen> {
        let file = self.tree.path.join(format!("target/seen-{worker}"));
        fs::write(&file, "")?;
        let mut command = suite.command(self.tree, self.programs, &[name])?;
        command.env("MUTANT_SEEN", &file);
        let (end, took) = run(command, HONEST)?;
        let text = fs::read_to_string(&file)?;
        let mut ids = text.lines().map(str::parse).collect::<Result<Vec<usize>, _>>().context("what a test came by")?;
        ids.sort_unstable();
        ids.dedup();
        Ok((end == End::Passed).then_some((took, ids)))
    }

    /// Tries one mutant.
    pub fn judge(&self, mutant: &Mutant) -> Result<Verdict> {
        let mut verdict = Verdict::Unreached;
        for (index, suite) in self.stage.suites.iter().enumerate() {
            let Some(parts) = self.reached.get(&(mutant.id, index)) else { continue };
            verdict = Verdict::Lived;
            let names: Vec<&str> = parts.iter().map(|(_, name)| name.as_str()).collect();
            let mut rest = parts.as_slice();
            for batch in suite.batches(&names) {
                let (mine, more) = rest.split_at(batch.len());
                rest = more;
                let honest: Duration = mine.iter().map(|(took, _)| *took).sum();
                let mut command = suite.command(self.tree, self.programs, &batch)?;
                command.env("MUTANT", mutant.id.to_string());
                let by = match batch.as_slice() {
                    [first] => (*first).to_owned(),
                    _ => format!("{} or {} others", batch[0], batch.len() - 1),
                };
                match run(command, Duration::from_secs(20) + honest * 6)?.0 {
                    End::Passed => {}
                    End::Failed => return Ok(Verdict::Killed { suite: suite.label, by }),
                    End::TooLong => return Ok(Verdict::Timeout { suite: suite.label, by }),
                }
            }
        }
        Ok(verdict)
    }
}

/// Does something with each, as many at a time as there are processors; the first error ends it. Results are in the order of the
/// items.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(usize, &T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let workers = thread::available_parallelism().map_or(2, usize::from);
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let done = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for worker in 0..workers {
            let (next, failed, done, work) = (&next, &failed, &done, &work);
            scope.spawn(move || {
                while let Some((index, item)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    items.get(index).filter(|_| !failed.load(Ordering::Relaxed)).map(|item| (index, item))
                } {
                    let result = work(worker, item);
                    failed.fetch_or(result.is_err(), Ordering::Relaxed);
                    done.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(index, result);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).into_values().collect()
}
