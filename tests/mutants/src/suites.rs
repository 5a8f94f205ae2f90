//! What mutants are tried with: test programs, and how one test of each is run alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::process::limited;
use crate::tree::Tree;

/// A build, and what of it is run, in this order. The next stage tries what the ones before it let live.
pub struct Stage {
    features: &'static [&'static str],
    pub suites: &'static [Suite],
}

/// Tests of one program.
pub struct Suite {
    /// What the table calls it.
    pub label: &'static str,
    /// The test that cargo builds, `lib` for the library's own.
    pub program: &'static str,
    parts: Parts,
}

/// What a suite is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    /// The program's tests, without those that another suite runs in parts.
    Tests,
    Stories,
    Mistakes,
    Worlds,
}

/// The simulated worlds, so many at a time, and at most so many times for one mutant.
const WORLDS: usize = 400;
const WORLDS_AT_A_TIME: usize = 10;
const WORLDS_TRIED: usize = 10;

/// The test that `Mistakes` runs in parts.
const MISTAKES: &str = "mistakes_are_explained";

/// All of it. The pure half is built soonest and kills most.
pub const STAGES: [Stage; 2] = [
    Stage {
        features: &["--no-default-features", "--features", "simulate"],
        suites: &[
            Suite::new("unit tests", "lib", Parts::Tests),
            Suite::new("stories", "scenarios", Parts::Stories),
            Suite::new("policy errors", "policy_errors", Parts::Mistakes),
            Suite::new("policy errors, other tests", "policy_errors", Parts::Tests),
            Suite::new("simulation", "sim", Parts::Worlds),
        ],
    },
    Stage {
        features: &[],
        suites: &[
            Suite::new("unit tests of the service", "lib", Parts::Tests),
            Suite::new("worlds", "worlds", Parts::Tests),
            Suite::new("plans", "plans", Parts::Tests),
            Suite::new("rules", "rules", Parts::Tests),
            Suite::new("cli", "cli", Parts::Tests),
            Suite::new("journals", "journals", Parts::Tests),
            Suite::new("fuzzed", "fuzzed", Parts::Tests),
            Suite::new("policy_load", "policy_load", Parts::Tests),
            Suite::new("payloads", "payloads", Parts::Tests),
        ],
    },
];

impl Stage {
    /// What cargo is to build.
    pub fn cargo(&self) -> Vec<&'static str> {
        let programs: BTreeSet<&str> = self.suites.iter().map(|suite| suite.program).collect();
        let mut args = self.features.to_vec();
        for program in programs {
            if program == "lib" { args.push("--lib") } else { args.extend(["--test", program]) }
        }
        args
    }
}

impl Suite {
    const fn new(label: &'static str, program: &'static str, parts: Parts) -> Self {
        Self { label, program, parts }
    }

    /// The names of its parts.
    pub fn names(&self, tree: &Tree, programs: &BTreeMap<String, String>) -> Result<Vec<String>> {
        match self.parts {
            Parts::Stories => files(tree, "tests/scenarios", |path| path.extension().is_some_and(|end| end == "txt")),
            Parts::Mistakes => files(tree, "tests/policy_errors", |path| path.extension().is_none_or(|end| end == "yaml")),
            Parts::Worlds => Ok((0..WORLDS).step_by(WORLDS_AT_A_TIME).map(|from| from.to_string()).collect()),
            Parts::Tests => {
                let mut command = Command::new(self.program(programs)?);
                command.args(["--list", "--format", "terse"]).current_dir(&tree.path);
                let output = command.output().with_context(|| format!("the tests of {} cannot be listed", self.label))?;
                ensure!(output.status.success(), "the tests of {} cannot be listed: {}", self.label, output.status);
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let names = text.lines().filter_map(|line| line.strip_suffix(": test")).filter(|name| *name != MISTAKES);
                Ok(names.map(str::to_owned).collect())
            }
        }
    }

    /// A process that runs these parts and nothing else.
    pub fn command(&self, tree: &Tree, programs: &BTreeMap<String, String>, names: &[&str]) -> Result<Command> {
        let mut command = limited(self.program(programs)?);
        command.current_dir(&tree.path).env("CARGO_MANIFEST_DIR", &tree.path).env("RUST_BACKTRACE", "0");
        // What a test is to show is never written anew.
        command.env_remove("BACKOUT_BLESS").env_remove("BLESS").env("INSTA_UPDATE", "no");
        command.env_remove("MUTANT").env_remove("MUTANT_SEEN");
        let (test, switch) = match self.parts {
            Parts::Tests => {
                command.args(["--exact", "--test-threads=1"]).args(names);
                return Ok(command);
            }
            Parts::Stories => ("every_story_goes_as_it_was_read", "BACKOUT_STORY"),
            Parts::Mistakes => (MISTAKES, "BACKOUT_CASE"),
            Parts::Worlds => {
                command.env("BACKOUT_SIM_SEEDS", WORLDS_AT_A_TIME.to_string());
                ("no_world_breaks_a_promise", "BACKOUT_SIM_FROM")
            }
        };
        command.args(["--exact", test]).env(switch, names.join(","));
        Ok(command)
    }

    /// How many parts are run at once: a few of the quickest, some more, the rest.
    pub fn batches<'a>(&self, names: &[&'a str]) -> Vec<Vec<&'a str>> {
        let mut sizes = match self.parts {
            Parts::Tests => [12, usize::MAX].iter(),
            Parts::Stories | Parts::Mistakes => [4, 12, usize::MAX].iter(),
            Parts::Worlds => [1; WORLDS_TRIED].iter(),
        };
        let (mut batches, mut rest) = (Vec::new(), names);
        while let (Some(size), false) = (sizes.next(), rest.is_empty()) {
            let (batch, more) = rest.split_at(rest.len().min(*size));
            batches.push(batch.to_vec());
            rest = more;
        }
        batches
    }

    fn program<'a>(&self, programs: &'a BTreeMap<String, String>) -> Result<&'a str> {
        programs.get(self.program).map(String::as_str).with_context(|| format!("cargo built no test `{}`", self.program))
    }
}

/// The cases of a folder: what its files are called, without an ending.
fn files(tree: &Tree, folder: &str, is_case: fn(&Path) -> bool) -> Result<Vec<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(tree.path.join(folder)).with_context(|| format!("{folder} cannot be read"))? {
        let path = entry?.path();
        names.extend(path.file_stem().filter(|_| is_case(&path)).map(|name| name.to_string_lossy().into_owned()));
    }
    Ok(names.into_iter().collect())
}
