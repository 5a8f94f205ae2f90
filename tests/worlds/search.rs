//! `--bound` and `--compare`: what is found is true, and is found again.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{backout, folder, out, shown};

#[test]
fn a_budget_that_is_off_is_broken_and_the_sequence_is_a_test_that_fails() {
    let output = backout(&folder("bound"), &["test", "loose_test.yaml", "--bound=5"]);
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    let dir = tempfile::tempdir().expect("a folder");
    let found = out(&output);
    fs::write(dir.path().join("found_test.yaml"), &found).expect("written");
    fs::copy(folder("bound").join("loose.yaml"), dir.path().join("loose.yaml")).expect("copied");
    let again = backout(dir.path(), &["test", "found_test.yaml"]);
    assert_eq!(again.status.code(), Some(1), "{found}\n{}", shown(&again));
    assert!(out(&again).contains("actions_at_most: expected 1 at most, got 2"), "{}", shown(&again));
    // With the budget it holds.
    let policies = fs::read_to_string(dir.path().join("loose.yaml")).expect("policies");
    let tight: Vec<&str> = policies.lines().filter(|line| !line.contains("budget: {disabled")).collect();
    fs::write(dir.path().join("loose.yaml"), tight.join("\n")).expect("written");
    let holds = backout(dir.path(), &["test", "found_test.yaml"]);
    assert_eq!(holds.status.code(), Some(0), "{}", shown(&holds));
}

#[test]
fn a_shorter_sequence_does_not_break_it_and_the_depth_is_said() {
    let output = backout(&folder("bound"), &["test", "loose_test.yaml", "--bound=3"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    assert!(out(&output).contains("no budget is broken by up to 3 moves ("), "{}", shown(&output));
    let again = backout(&folder("bound"), &["test", "loose_test.yaml", "--bound=3"]);
    assert_eq!(out(&output), out(&again));
}

#[test]
fn a_budget_that_is_on_holds_down_to_the_depth_in_which_the_other_is_broken() {
    let output = backout(&folder("bound"), &["test", "tight_test.yaml", "--bound=5"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
}

#[test]
fn policies_in_shadow_have_no_bound_to_look_for() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let output = backout(&rules, &["test", "example_test.yaml", "--bound"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    assert!(out(&output).contains("nothing to look for: no policy may act"), "{}", shown(&output));
}

/// Runs git in a folder, as somebody of no particular name.
fn git(folder: &Path, args: &[&str]) {
    let identity = ["-c", "user.name=ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false"];
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .args(identity)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    let output = command.output().expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_a_revision_decided_otherwise_is_said() {
    let dir = tempfile::tempdir().expect("a folder");
    let rules = dir.path().join("team/rules");
    fs::create_dir_all(&rules).expect("made");
    for name in ["tight.yaml", "tight_test.yaml"] {
        fs::copy(folder("bound").join(name), rules.join(name)).expect("copied");
    }
    git(dir.path(), &["init", "-q", "-b", "main"]);
    git(dir.path(), &["add", "."]);
    git(dir.path(), &["commit", "-q", "-m", "first"]);
    let same = backout(&rules, &["test", "tight_test.yaml", "--compare", "main"]);
    assert_eq!(same.status.code(), Some(0), "{}", shown(&same));
    assert!(out(&same).contains("0 of 1 worlds are decided differently, 1 alike"), "{}", shown(&same));

    let policies = fs::read_to_string(rules.join("tight.yaml")).expect("policies");
    fs::write(rules.join("tight.yaml"), policies.replace("facts.errors > 0.1", "facts.errors > 0.8")).expect("written");
    let differs = backout(&rules, &["test", "tight_test.yaml", "--compare", "HEAD"]);
    // What is expected does not hold any more, which is another matter.
    assert_eq!(differs.status.code(), Some(1), "{}", shown(&differs));
    let text = out(&differs);
    for words in [
        "decided differently: a bad release goes back (tight_test.yaml:3:11)",
        "- 13m210ms  tight on shop/web: rollback by rule `many-errors` in mode enforce: `undo` from web:2 to web:1",
        "+ 13m210ms  tight on shop/web: page (no_rule)",
        "written: shop/web from web:2 to web:1",
        "1 of 1 worlds are decided differently, 0 alike",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    for (revision, words) in [("nowhere", "`nowhere` is no commit"), ("--help", "`--help` is no commit")] {
        let wrong = backout(&rules, &["test", "tight_test.yaml", &format!("--compare={revision}")]);
        assert_eq!(wrong.status.code(), Some(2), "{}", shown(&wrong));
        assert!(shown(&wrong).contains(words), "{}", shown(&wrong));
    }
    fs::write(rules.join("new.yaml"), policies).expect("written");
    fs::write(rules.join("new_test.yaml"), "policy_files: new.yaml\ntests: [{name: x, expect: [{at: 1m, nothing: true}]}]\n")
        .expect("written");
    let new = backout(&rules, &["test", "new_test.yaml", "--compare", "HEAD"]);
    assert_eq!(new.status.code(), Some(0), "{}", shown(&new));
    assert!(out(&new).contains("not compared: new_test.yaml: `team/rules/new.yaml` was not there at "), "{}", shown(&new));
}

const OF_THE_JOURNAL: &str = "policies:
  - name: shop
    matchers: ['alertname = \"ShopErrors\"']
    mode: enforce
    paging: in_front
    targets: ['*/*']
    facts: {errors: {promql: errors}, latency: {promql: latency}}
    decide:
      - {name: many-errors, when: 'facts.errors > 0.2', rollback: quick}
    brakes:
      fit_target: {healthy: 2s}
      control_group: {disabled: its Alertmanager had been up for seconds only}
procedures:
  - {name: quick, countdown: 0s, verify: {within: 30s, rollout: complete}, steps: [undo]}
";

/// The journal is one that a real rollback left: it was decided at 33 % errors, and again before the write at 60 %.
#[test]
fn decisions_of_a_journal_are_made_again_by_both() {
    let rules = tempfile::tempdir().expect("a folder");
    let rules = rules.path();
    fs::write(rules.join("shop.yaml"), OF_THE_JOURNAL).expect("written");
    fs::write(
        rules.join("shop_test.yaml"),
        "policy_files: shop.yaml\ntests: [{name: nothing, expect: [{at: 1m, nothing: true}]}]\n",
    )
    .expect("written");
    git(rules, &["init", "-q", "-b", "main"]);
    git(rules, &["add", "."]);
    git(rules, &["commit", "-q", "-m", "first"]);
    let journal = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journals/v2-verified.db");
    let journal = journal.to_str().expect("text");
    let test = |more: &[&str]| {
        let args = ["test", "shop_test.yaml", "--rules", ".", "--compare", "HEAD", "--journal", journal];
        backout(rules, &[&args, more].concat())
    };
    let nameless = test(&[]);
    assert_eq!(nameless.status.code(), Some(2), "{}", shown(&nameless));
    assert!(shown(&nameless).contains("--cluster-name"), "{}", shown(&nameless));
    let same = test(&["--cluster-name", "test"]);
    assert_eq!(same.status.code(), Some(0), "{}", shown(&same));
    assert!(out(&same).contains("of 2 decisions in"), "{}", shown(&same));
    assert!(out(&same).contains("0 are made differently"), "{}", shown(&same));

    fs::write(rules.join("shop.yaml"), OF_THE_JOURNAL.replace("errors > 0.2", "errors > 0.5")).expect("written");
    let other = test(&["--cluster-name", "test"]);
    for words in ["- rollback by rule `many-errors` in mode enforce: `quick`", "+ page (no_rule)", "1 are made differently"] {
        assert!(out(&other).contains(words), "{words}\n{}", shown(&other));
    }
    fs::write(rules.join("shop.yaml"), OF_THE_JOURNAL.replace("facts.errors", "facts.latency")).expect("written");
    let unseen = test(&["--cluster-name", "test"]);
    assert!(out(&unseen).contains("+ cannot be told: nobody asked then for the facts latency"), "{}", shown(&unseen));
}
