//! `backout test`: do the policies decide as is expected? Test files are worlds in which the service's own engine lives.

mod bound;
mod compare;
mod journal;
mod junit;
mod show;

use std::path::PathBuf;

use clap::Args;
use regex::Regex;

use super::exit::{Exit, Failure};
use super::output::Output;
use crate::policy::diagnostic::Diagnostic;
use crate::worlds::{self, Coverage, Loaded, Report, Unusable};

/// Arguments of `test`.
#[derive(Clone, Debug, Args)]
pub struct TestArgs {
    /// Test files, or folders: every `*_test.yaml` in them
    #[arg(value_name = "PATH", default_value = "rules")]
    pub paths: Vec<PathBuf>,
    /// Run only tests whose name matches
    #[arg(long, value_name = "REGEX")]
    pub run: Option<String>,
    /// Say which rules, branches of conditions and brakes no test exercises
    #[arg(long)]
    pub coverage: bool,
    /// Show what was expected against what came, line by line
    #[arg(long)]
    pub diff: bool,
    /// Write a JUnit report, too
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Instead, look for a sequence of at most so many alerts, releases and changes of health that breaks a budget
    #[arg(long, value_name = "MOVES", num_args = 0..=1, require_equals = true, default_missing_value = "5",
          value_parser = clap::value_parser!(u8).range(1..=12), conflicts_with_all = ["coverage", "diff", "junit", "compare", "run"])]
    pub bound: Option<u8>,
    /// Say, too, which worlds were decided about differently by the policies of this git revision
    #[arg(long, value_name = "REV", conflicts_with = "junit")]
    pub compare: Option<String>,
    /// With `--compare`: the service's data folder, or a copy of its journal, whose decisions are made again by both
    #[arg(long, value_name = "DATA", requires = "compare")]
    pub journal: Option<PathBuf>,
    /// The folder of policies for the decisions of the journal
    #[arg(long, env = "BACKOUT_RULES", value_name = "DIR", default_value = "rules", hide_env_values = true)]
    pub rules: PathBuf,
    /// The cluster's name, as the service that wrote the journal knew it
    #[arg(long, env = "BACKOUT_CLUSTER_NAME", value_name = "NAME")]
    pub cluster_name: Option<String>,
}

/// A test file and how its tests went, or why it cannot be run.
pub(super) struct Suite {
    /// Its path.
    path: String,
    /// How it went.
    went: Went,
}

/// How a test file went.
pub(super) enum Went {
    /// Its tests were run.
    Ran(Box<Loaded>, Vec<Report>),
    /// It is wrong, or its policies are.
    Wrong(Vec<Diagnostic>),
}

impl Suite {
    fn reports(&self) -> &[Report] {
        match &self.went {
            Went::Ran(_, reports) => reports,
            Went::Wrong(_) => &[],
        }
    }

    fn passed(&self) -> bool {
        match &self.went {
            Went::Ran(_, reports) => reports.iter().all(Report::passed),
            Went::Wrong(_) => false,
        }
    }
}

/// Runs the tests.
///
/// # Errors
/// A path or a pattern cannot be used. Mistakes in test files and failures are the answer, not an error.
pub(super) async fn run(args: &TestArgs, output: Output) -> Result<Exit, Failure> {
    let files = files(args)?;
    let name = pattern(args)?;
    if let Some(moves) = args.bound {
        return bound::run(&files, usize::from(moves), output);
    }
    let mut coverage = Coverage::default();
    let mut suites = Vec::new();
    for path in files {
        let shown = path.to_string_lossy().into_owned();
        let went = match worlds::load(&path) {
            Ok(loaded) => {
                let wanted = |test: &_| matches(name.as_ref(), test);
                let reports = worlds::run_all(&loaded, wanted, &mut coverage);
                Went::Ran(Box::new(loaded), reports)
            }
            Err(Unusable::Wrong(diagnostics)) => Went::Wrong(diagnostics),
            Err(why @ Unusable::Unreadable(_)) => return Err(unusable(why)),
        };
        suites.push(Suite { path: shown, went });
    }
    let all_wrong = suites.iter().any(|suite| matches!(suite.went, Went::Wrong(_)));
    if let (Some(pattern), true, false) = (&args.run, suites.iter().all(|suite| suite.reports().is_empty()), all_wrong) {
        return Err(Failure::usage(format!("no test has a name that matches `{pattern}`")));
    }
    let judged = args.coverage.then(|| {
        let policies = suites.iter().filter_map(|suite| match &suite.went {
            Went::Ran(loaded, _) => Some(&*loaded.policies),
            Went::Wrong(_) => None,
        });
        coverage.judge(policies)
    });
    if let Some(path) = &args.junit {
        junit::write(path, &suites)?;
    }
    let mut compared = match &args.compare {
        Some(revision) => Some(compare::all(&suites, revision, |test| matches(name.as_ref(), test))?),
        None => None,
    };
    if let (Some(compared), Some(data)) = (&mut compared, &args.journal) {
        compared.of_journal(journal::compare(args, data).await?);
    }
    show::print(&suites, judged.as_ref(), compared.as_ref(), args.diff, output)?;
    Ok(if suites.iter().all(Suite::passed) { Exit::Done } else { Exit::Negative })
}

/// Why a file cannot be run, as a failure of the whole command.
fn unusable(why: Unusable) -> Failure {
    match why {
        Unusable::Unreadable(why) => Failure::usage(why),
        Unusable::Wrong(diagnostics) => {
            let text = crate::policy::diagnostic::to_text(&diagnostics);
            Failure::new(Exit::Negative, format!("a file has mistakes\n{}", text.trim_end()))
        }
    }
}

fn files(args: &TestArgs) -> Result<Vec<PathBuf>, Failure> {
    let files = worlds::find(&args.paths)
        .map_err(|why| Failure::usage(why).help("name test files, or folders that hold files `*_test.yaml`"))?;
    if files.is_empty() {
        let names: Vec<String> = args.paths.iter().map(|path| format!("`{}`", path.display())).collect();
        let failure = Failure::usage(format!("there is no test file in {}", names.join(", ")));
        return Err(failure.help("the names of test files end in `_test.yaml`"));
    }
    Ok(files)
}

fn pattern(args: &TestArgs) -> Result<Option<Regex>, Failure> {
    let read = |pattern: &String| {
        Regex::new(pattern).map_err(|error| {
            let words = error.to_string();
            Failure::usage(format!("`--run {pattern}` is no regular expression: {}", words.lines().last().unwrap_or_default()))
        })
    };
    args.run.as_ref().map(read).transpose()
}

fn matches(name: Option<&Regex>, test: &crate::policy::test_file::types::Test) -> bool {
    name.is_none_or(|name| name.is_match(&test.name))
}
