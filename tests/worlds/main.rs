//! `backout test` as people run it: test files that hold, that fail, and that are wrong, each with what is printed in a file beside it.
//! `BACKOUT_BLESS=1` writes those anew; read what changed.

mod search;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worlds").join(name)
}

/// Runs the binary in a folder, with nothing of ours in its environment.
fn backout(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backout"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BACKOUT_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).args(args).output().expect("the binary runs")
}

fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    format!("{}{}exit {}\n", text(&output.stdout), text(&output.stderr), output.status.code().expect("an exit code"))
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[expect(clippy::disallowed_methods, reason = "a test's own switches")]
fn blessing() -> bool {
    std::env::var("BACKOUT_BLESS").is_ok()
}

/// What was printed must be what stands in the file.
fn golden(path: &Path, printed: &str, wrong: &mut String) {
    let expected = fs::read_to_string(path).unwrap_or_default();
    if printed == expected {
        return;
    }
    if blessing() {
        fs::write(path, printed).expect("to bless");
        return;
    }
    let _ = writeln!(wrong, "---- {}\n{}", path.display(), difference(&expected, printed));
}

/// The first lines that differ.
fn difference(expected: &str, printed: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), printed.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let mut text = String::new();
    for (sign, lines) in [("-", &old), ("+", &new)] {
        for line in lines.iter().skip(same).take(12) {
            let _ = writeln!(text, "{sign} {line}");
        }
    }
    text
}

fn files(folder: &Path, ending: &str) -> Vec<String> {
    let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> =
        names.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.ends_with(ending)).collect();
    names.sort();
    names
}

#[test]
fn test_files_go_as_it_was_read() {
    let folder = folder("files");
    let mut wrong = String::new();
    for (golden_file, args) in [
        ("good.txt", &["test", "good_test.yaml", "--coverage"][..]),
        ("failing.txt", &["test", "failing_test.yaml"]),
        ("failing-diff.txt", &["test", "failing_test.yaml", "--run", "another", "--diff"]),
        ("rules.txt", &["test", "rules_test.yaml"]),
        ("documents.txt", &["test", "documents_test.yaml"]),
        ("latches.txt", &["test", "latches_test.yaml", "--coverage"]),
        ("defaults.txt", &["test", "team"]),
    ] {
        golden(&folder.join(golden_file), &shown(&backout(&folder, args)), &mut wrong);
    }
    assert!(wrong.is_empty(), "{wrong}\n(BACKOUT_BLESS=1 writes them anew)");
}

#[test]
fn every_mistake_in_a_test_file_is_told_with_its_place() {
    let folder = folder("errors");
    let mut wrong = String::new();
    let names = files(&folder, "_test.yaml");
    assert!(names.len() >= 10, "the files were not found");
    for name in names {
        let output = backout(&folder, &["test", &name]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        golden(&folder.join(name.replace(".yaml", ".txt")), &shown(&output), &mut wrong);
    }
    assert!(wrong.is_empty(), "{wrong}\n(BACKOUT_BLESS=1 writes them anew)");
}

#[test]
fn what_ships_with_the_policies_holds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = backout(root, &["test", "rules"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
}

#[test]
fn exit_codes_are_those_of_the_rest() {
    let folder = folder("files");
    for (args, code) in [
        (&["test", "good_test.yaml", "--run", "veto"][..], 0),
        (&["test", "failing_test.yaml"], 1),
        (&["test", "failing_test.yaml", "--run", "it passes"], 0),
        (&["test", "failing_test.yaml", "--run", "no such test"], 2),
        (&["test", "good_test.yaml", "--run", "("], 2),
        (&["test", "nowhere_test.yaml"], 2),
        (&["test", "empty"], 2),
        (&["test", "good_test.yaml", "--no-such-flag"], 2),
    ] {
        let output = backout(&folder, args);
        assert_eq!(output.status.code(), Some(code), "{args:?}\n{}", shown(&output));
    }
}

#[test]
fn scripts_get_json() {
    let output = backout(&folder("files"), &["test", "failing_test.yaml", "--output", "json", "--coverage"]);
    let value: Value = serde_json::from_str(&out(&output)).expect("JSON");
    assert_eq!(value["ok"], false);
    let tests = value["files"][0]["tests"].as_array().expect("tests");
    assert_eq!(tests.len(), 3);
    assert_eq!(tests[0]["failures"][0]["misses"][0]["got"], "fix_forward");
    assert_eq!(tests[0]["failures"][0]["place"], "failing_test.yaml:12:10");
    assert_eq!(tests[1]["ok"], true);
    assert!(tests[0]["timeline"].as_array().is_some_and(|lines| lines.len() > 5));
    assert_eq!(value["coverage"]["rules"]["all"], 3);
}

#[test]
fn pipelines_get_junit() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("report.xml");
    let args = ["test", "failing_test.yaml", "../errors/keys_test.yaml", "--junit", path.to_str().expect("text")];
    assert_eq!(backout(&folder("files"), &args).status.code(), Some(1));
    let report = fs::read_to_string(&path).expect("a report");
    let mut counts = Vec::new();
    for line in report.lines().filter(|line| line.contains("<testsuites") || line.contains("<testsuite ")) {
        let number =
            |key: &str| line.split(&format!("{key}=\"")).nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned);
        counts.push((number("tests"), number("failures"), number("errors")));
    }
    let row = |tests: &str, failures: &str, errors: &str| (Some(tests.into()), Some(failures.into()), Some(errors.into()));
    assert_eq!(counts, [row("4", "2", "1"), row("3", "2", "0"), row("1", "0", "1")], "{report}");
    assert!(report.contains("got fix_forward"), "{report}");
    let ran = report.lines().filter(|line| line.contains("<testcase ") && line.contains("failing_test.yaml"));
    assert!(ran.clone().count() == 3 && ran.into_iter().all(|line| line.contains(" time=\"")), "how long each took: {report}");
}

#[test]
fn the_same_tests_say_the_same_twice() {
    let run =
        || shown(&backout(&folder("files"), &["test", "failing_test.yaml", "good_test.yaml", "--coverage", "--output", "json"]));
    assert_eq!(run(), run());
}

/// The text of a file that the README writes with `cat`.
fn here_document(page: &str, path: &str) -> String {
    let start = format!("cat > {path} <<'YAML'\n");
    let rest = page.split_once(&start).unwrap_or_else(|| panic!("no {path}")).1;
    format!("{}\n", rest.split("\nYAML\n").next().expect("an end"))
}

#[test]
fn the_first_test_of_the_readme_holds() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the README");
    let dir = tempfile::tempdir().expect("a folder");
    for name in ["shop.yaml", "shop_test.yaml"] {
        fs::write(dir.path().join(name), here_document(&page, &format!("shop/policies/{name}"))).expect("written");
    }
    let output = backout(dir.path(), &["test", "."]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
}

/// Every key of an object in the schema, by the object's name.
fn keys(schema: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let root = [("test_file".to_owned(), schema)];
    let defs = schema["$defs"].as_object().into_iter().flatten().map(|(name, def)| (name.clone(), def));
    for (name, def) in root.into_iter().chain(defs) {
        let properties = def["properties"].as_object().into_iter().flatten();
        found.extend(properties.map(|(key, _)| (name.clone(), key.clone())));
    }
    found
}

#[test]
fn every_key_stands_in_the_reference() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&out(&backout(root, &["schema", "tests"]))).expect("a schema");
    let page = fs::read_to_string(root.join("docs/policy-tests.md")).expect("the reference");
    let keys = keys(&schema);
    assert!(keys.len() > 60, "the schema was not understood: {keys:?}");
    let stands = |key: &str| {
        let (first, inner) = (format!("`{key}`"), [format!("{{{key}"), format!(", {key}")]);
        page.contains(&first) || inner.iter().any(|text| page.contains(text.as_str()))
    };
    let missing: Vec<&(String, String)> = keys.iter().filter(|(_, key)| !stands(key)).collect();
    assert!(missing.is_empty(), "not in docs/policy-tests.md: {missing:?}");
}
