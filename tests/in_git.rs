//! Policies in git: the hooks in `.pre-commit-hooks.yaml` under the real pre-commit, and the command lines of the worked CI jobs as they
//! stand, each on a repository of a temporary folder.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const TYPO: (&str, &str) = ("mode: shadow", "mod: shadow");
const LATER: (&str, &str) = ("when: facts.errors > 0.05", "when: facts.errors > 0.9");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn yaml(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Both streams and the exit code.
fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}exit {:?}", text(&output.stdout), text(&output.stderr), output.status.code())
}

/// The search path, with the binary that is tested before everything else.
fn path() -> OsString {
    let ours = Path::new(env!("CARGO_BIN_EXE_backout")).parent().expect("a folder").to_owned();
    let others = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths([ours].into_iter().chain(std::env::split_paths(&others))).expect("a search path")
}

/// A command in a folder, without settings of whoever runs the tests.
fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["BACKOUT_", "GIT_", "PRE_COMMIT"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).env("PATH", path()).stdin(Stdio::null());
    for (role, name) in [("AUTHOR", "ann"), ("COMMITTER", "ann")] {
        command.env(format!("GIT_{role}_NAME"), name).env(format!("GIT_{role}_EMAIL"), "ann@example.com");
    }
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    command
}

fn git(folder: &Path, args: &[&str]) -> Output {
    command(Path::new("git"), folder).args(args).output().expect("git runs")
}

fn git_must(folder: &Path, args: &[&str]) -> String {
    let output = git(folder, args);
    assert!(output.status.success(), "git {args:?}: {}", shown(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A repository with the example's policy and its tests, committed.
fn policies(folder: &Path) {
    fs::create_dir_all(folder.join("rules")).expect("made");
    for name in ["example.yaml", "example_test.yaml"] {
        fs::copy(root().join("rules").join(name), folder.join("rules").join(name)).expect("copied");
    }
    git_must(folder, &["init", "-q", "-b", "main"]);
    git_must(folder, &["add", "."]);
    git_must(folder, &["commit", "-q", "-m", "policies"]);
}

/// Changes the policy, once, so that the change is there for certain.
fn change(folder: &Path, (from, to): (&str, &str)) {
    let path = folder.join("rules/example.yaml");
    let text = fs::read_to_string(&path).expect("the policy");
    assert_eq!(text.matches(from).count(), 1, "{from}");
    fs::write(path, text.replace(from, to)).expect("written");
}

/// A repository of policies that uses our hooks, and pre-commit itself.
struct Hooked {
    dir: TempDir,
    program: PathBuf,
}

impl Hooked {
    fn new() -> Self {
        let script = root().join("tests/git/pre-commit.sh");
        let found = Command::new("bash").arg(script).arg("--where").stderr(Stdio::inherit()).output().expect("bash runs");
        assert!(found.status.success(), "{}", shown(&found));
        let program = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim()).join("pre-commit");
        let dir = tempfile::tempdir().expect("a folder");
        let hooks = dir.path().join("hooks");
        fs::create_dir(&hooks).expect("made");
        fs::copy(root().join(".pre-commit-hooks.yaml"), hooks.join(".pre-commit-hooks.yaml")).expect("copied");
        git_must(&hooks, &["init", "-q", "-b", "main"]);
        git_must(&hooks, &["add", "."]);
        git_must(&hooks, &["commit", "-q", "-m", "hooks"]);
        let revision = git_must(&hooks, &["rev-parse", "HEAD"]);
        let this = Self { dir, program };
        policies(&this.repository());
        let uses = json!({ "repos": [{ "repo": hooks, "rev": revision, "hooks": [{ "id": "backout-check" }, { "id": "backout-test" }] }] });
        fs::write(this.repository().join(".pre-commit-config.yaml"), uses.to_string()).expect("written");
        git_must(&this.repository(), &["add", "."]);
        this
    }

    fn repository(&self) -> PathBuf {
        self.dir.path().join("team")
    }

    fn run(&self, args: &[&str]) -> Output {
        let home = self.dir.path().join("home");
        command(&self.program, &self.repository()).args(args).env("PRE_COMMIT_HOME", home).output().expect("pre-commit runs")
    }

    /// A commit, as somebody makes it who has installed the hooks.
    fn commit(&self, message: &str) -> Output {
        let mut git = command(Path::new("git"), &self.repository());
        git.args(["commit", "-m", message]).env("PRE_COMMIT_HOME", self.dir.path().join("home"));
        git.output().expect("git runs")
    }
}

#[test]
fn the_hooks_pass_what_is_right_and_stop_what_is_wrong() {
    let hooked = Hooked::new();
    let repository = hooked.repository();
    let good = hooked.run(&["run", "--all-files", "--verbose"]);
    assert!(good.status.success(), "{}", shown(&good));
    for part in ["backout check", "ok: 1 policy (1 shadow) in 1 file of `rules`", "backout test", "ok: 7 tests in 1 file"] {
        assert!(shown(&good).contains(part), "`{part}` is missing\n{}", shown(&good));
    }
    assert!(hooked.run(&["install"]).status.success());
    let first = hooked.commit("use the hooks");
    assert!(first.status.success(), "{}", shown(&first));

    change(&repository, TYPO);
    git_must(&repository, &["add", "."]);
    let refused = hooked.commit("a typo");
    assert!(!refused.status.success(), "{}", shown(&refused));
    for part in ["error[unknown-key]: a policy has no key `mod`", "--> example.yaml:", "did you mean `mode`?"] {
        assert!(shown(&refused).contains(part), "`{part}` is missing\n{}", shown(&refused));
    }
    assert_eq!(git_must(&repository, &["log", "-1", "--format=%s"]), "use the hooks", "nothing was committed");

    // Right as a policy, and not what its tests expect.
    git_must(&repository, &["checkout", "-q", "HEAD", "--", "rules"]);
    change(&repository, LATER);
    git_must(&repository, &["add", "."]);
    let failed = hooked.commit("act later");
    assert!(!failed.status.success(), "{}", shown(&failed));
    assert!(shown(&failed).contains("FAIL: a release that makes errors would be rolled back"), "{}", shown(&failed));
    assert!(!shown(&failed).contains("error["), "{}", shown(&failed));

    // Beside the policies nothing is looked at.
    git_must(&repository, &["checkout", "-q", "HEAD", "--", "rules"]);
    fs::write(repository.join("notes.yaml"), "mod: shadow\n").expect("written");
    git_must(&repository, &["add", "."]);
    let other = hooked.commit("notes");
    assert!(other.status.success() && shown(&other).contains("no files to check"), "{}", shown(&other));
}

/// What a worked job runs, with the shell that it runs in.
struct Job {
    file: &'static str,
    lines: Vec<String>,
}

/// The lines that run `backout`, of everything that stands under `run` or `script`.
fn command_lines(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let lines = match (key.as_str(), value) {
                    ("run", Value::String(text)) => text.lines().map(str::to_owned).collect(),
                    ("script", Value::Array(lines)) => lines.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                    _ => Vec::new(),
                };
                found.extend(lines.into_iter().filter(|line| line.trim_start().starts_with("backout ")));
                command_lines(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| command_lines(value, found)),
        _ => {}
    }
}

fn jobs() -> Vec<Job> {
    let read = |file: &'static str| {
        let mut lines = Vec::new();
        command_lines(&yaml(&root().join(file)), &mut lines);
        Job { file, lines }
    };
    ["docs/ci/github.yml", "docs/ci/gitlab.yml"].map(read).into()
}

/// Runs a line as the runner does, in a clone whose `origin` has the branch `main`.
fn run_line(line: &str, clone: &Path) -> Output {
    let mut shell = command(Path::new("bash"), clone);
    shell.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", line]);
    shell.env("GITHUB_BASE_REF", "main").env("GITHUB_STEP_SUMMARY", clone.join("summary.md"));
    shell.env("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main");
    shell.output().expect("bash runs")
}

fn clone() -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let origin = dir.path().join("origin");
    policies(&origin);
    git_must(dir.path(), &["clone", "-q", origin.to_str().expect("text"), "clone"]);
    dir
}

#[test]
fn the_worked_jobs_run_as_they_stand() {
    for Job { file, lines } in jobs() {
        for part in ["backout check --strict", "--junit", "--compare"] {
            assert!(lines.iter().any(|line| line.contains(part)), "{file}: nothing runs `{part}`: {lines:?}");
        }
        let dir = clone();
        let clone = dir.path().join("clone");
        for line in &lines {
            let output = run_line(line, &clone);
            assert!(output.status.success(), "{file}: `{line}`\n{}", shown(&output));
            if line.contains("--junit") {
                let report = fs::read_to_string(clone.join("report.xml")).expect("a report where the job looks for it");
                assert!(report.contains("tests=\"7\"") && report.contains("failures=\"0\""), "{report}");
            }
            if line.contains("--compare") {
                assert!(shown(&output).contains("0 of 7 worlds are decided differently"), "{file}\n{}", shown(&output));
            }
        }
    }
}

#[test]
fn the_worked_jobs_stop_what_is_wrong_and_show_what_is_decided_differently() {
    for Job { file, lines } in jobs() {
        let dir = clone();
        let clone = dir.path().join("clone");
        change(&clone, TYPO);
        for line in &lines {
            let output = run_line(line, &clone);
            assert!(!output.status.success(), "{file}: `{line}` lets a typo pass\n{}", shown(&output));
            if line.contains("--format github") {
                assert!(shown(&output).contains("::error file=rules/example.yaml,line="), "{file}\n{}", shown(&output));
            }
        }
        git_must(&clone, &["checkout", "-q", "--", "rules"]);
        change(&clone, LATER);
        for line in lines.iter().filter(|line| line.contains("--compare")) {
            let output = run_line(line, &clone);
            assert!(!output.status.success(), "a test fails, too: {}", shown(&output));
            assert!(shown(&output).contains("of 7 worlds are decided differently"), "{file}\n{}", shown(&output));
            assert!(!shown(&output).contains("0 of 7 worlds"), "{file}\n{}", shown(&output));
        }
        if file.contains("github") {
            let summary = fs::read_to_string(clone.join("summary.md")).expect("the job's summary");
            assert!(summary.contains("of 7 worlds are decided differently"), "{summary}");
        }
    }
}

/// What a runner would refuse: a step without work, a job without a machine, an action without a version.
#[test]
fn the_worked_jobs_have_the_shape_that_runners_take() {
    let github = yaml(&root().join("docs/ci/github.yml"));
    assert!(github["on"].is_object() && github["permissions"] == json!({ "contents": "read" }));
    for (name, job) in github["jobs"].as_object().expect("jobs") {
        assert!(job["runs-on"].is_string(), "{name}");
        for step in job["steps"].as_array().expect("steps") {
            assert!(step["run"].is_string() != step["uses"].is_string(), "{step}");
            let action = step["uses"].as_str();
            assert!(
                action.is_none_or(|action| action.split_once("@v").is_some_and(|(_, version)| version.parse::<u32>().is_ok())),
                "{step}"
            );
        }
    }
    let gitlab = yaml(&root().join("docs/ci/gitlab.yml"));
    let jobs = gitlab.as_object().expect("jobs");
    for (name, job) in jobs.iter().filter(|(name, _)| !name.starts_with('.')) {
        let base = job["extends"].as_str().expect("a template");
        assert!(jobs.contains_key(base) && job["script"].is_array() && job["rules"].is_array(), "{name}");
    }
    let hooks = yaml(&root().join(".pre-commit-hooks.yaml"));
    let ids: Vec<&str> = hooks.as_array().expect("hooks").iter().filter_map(|hook| hook["id"].as_str()).collect();
    assert_eq!(ids, ["backout-check", "backout-test"]);
    let page = fs::read_to_string(root().join("docs/policies-in-git.md")).expect("the page");
    assert!(ids.iter().all(|id| page.contains(&format!("- id: {id}\n"))), "the page shows each hook");
}
