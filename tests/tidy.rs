//! The house rules that neither the compiler nor clippy can check: layers within a half, what pure code may name, sizes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file, tests not counted.
const FILE_LINES: usize = 500;
/// Lines of a function.
const FUNCTION_LINES: usize = 70;

/// Layer of a top-level module of `src/`; a module may import from lower layers only, and from its own folder.
fn layer(module: &str) -> u8 {
    match module {
        // Defects for tests: the constant `false` in what ships.
        "model" | "planted" => 0,
        // decide and journal are two sides of one thing: records are what decide's events are written as.
        "policy" | "decide" | "journal" => 1,
        "ports" | "metrics" | "outgoing" => 2,
        "engine" | "http" | "execute" | "observe" | "notify" | "store" | "simulate" | "clock" => 3,
        _ => 4,
    }
}

/// Imports within one layer that are meant.
const SIBLINGS: [(&str, &str); 6] = [
    ("decide", "policy"),
    ("decide", "journal"),
    ("journal", "decide"),
    ("metrics", "ports"),
    ("ports", "metrics"),
    ("planted", "model"),
];

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for file in sources() {
        let from = module_of(&file);
        for (number, line) in production_lines(&file) {
            for to in imported(&line) {
                let sibling = SIBLINGS.contains(&(from.as_str(), to.as_str()));
                if to != from && layer(&to) >= layer(&from) && layer(&from) < 4 && !sibling {
                    wrong.push(format!("{}:{number}: `{from}` imports `{to}`", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "an arrow may only point down (see ARCHITECTURE.md):\n{}", wrong.join("\n"));
}

#[test]
fn pure_modules_name_nothing_of_the_outside() {
    let forbidden =
        ["std::fs", "std::env", "std::net", "std::process", "std::thread", "std::io::", "UNIX_EPOCH", "async fn", "tracing::"];
    let mut wrong = Vec::new();
    for file in sources().into_iter().filter(|file| layer(&module_of(file)) <= 1) {
        for (number, line) in production_lines(&file) {
            for name in forbidden.iter().filter(|name| line.contains(**name)) {
                wrong.push(format!("{}:{number}: `{name}`", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "pure modules do no IO and know no clock:\n{}", wrong.join("\n"));
}

#[test]
fn files_say_what_they_are_and_stay_small() {
    let mut wrong = Vec::new();
    for file in sources() {
        let text = read(&file);
        if !text.starts_with("//!") {
            wrong.push(format!("{}: the first line must be `//!`: what lives here, what must not", file.display()));
        }
        let lines = production_lines(&file).len();
        if lines > FILE_LINES {
            wrong.push(format!("{}: {lines} lines, the limit is {FILE_LINES}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn functions_stay_small() {
    let mut wrong = Vec::new();
    for file in sources() {
        let lines = production_lines(&file);
        let mut open: Option<(usize, usize, String)> = None;
        for (number, line) in &lines {
            let indent = line.len() - line.trim_start().len();
            match &open {
                Some((start, depth, name)) if indent == *depth && line.trim_start().starts_with('}') => {
                    let length = number - start + 1;
                    if length > FUNCTION_LINES {
                        wrong.push(format!("{}:{start}: `{name}` has {length} lines", file.display()));
                    }
                    open = None;
                }
                None if is_function(line) => open = Some((*number, indent, line.trim().to_owned())),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "functions have at most {FUNCTION_LINES} lines:\n{}", wrong.join("\n"));
}

#[test]
fn nothing_panics_outside_of_tests() {
    let mut wrong = Vec::new();
    for file in sources() {
        for (number, line) in production_lines(&file) {
            for name in [".unwrap()", ".expect(\"", "panic!(", "unreachable!(", "todo!(", "unimplemented!("] {
                if line.contains(name) {
                    wrong.push(format!("{}:{number}: `{name}`", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "a value instead, or a total function:\n{}", wrong.join("\n"));
}

#[test]
fn metrics_live_in_one_file() {
    let mut wrong = BTreeMap::new();
    for file in sources().into_iter().filter(|file| module_of(file) != "metrics") {
        for (number, line) in production_lines(&file) {
            if line.contains("prometheus::Registry") || line.contains("IntCounter") || line.contains("register_") {
                wrong.insert(format!("{}:{number}", file.display()), line);
            }
        }
    }
    assert!(wrong.is_empty(), "metrics are made in src/metrics.rs only: {wrong:#?}");
}

fn is_function(line: &str) -> bool {
    let line = line.trim_start();
    let rest =
        ["pub(super) ", "pub(crate) ", "pub(in ", "pub "].iter().find_map(|prefix| line.strip_prefix(prefix)).unwrap_or(line);
    let rest = rest.strip_prefix("const ").unwrap_or(rest);
    let rest = rest.strip_prefix("async ").unwrap_or(rest);
    rest.starts_with("fn ") && !line.ends_with('}') && !line.ends_with(';')
}

/// Modules that a line imports by `crate::`; several where it opens a brace.
fn imported(line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap_or(line);
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let list = rest.strip_prefix('{').map_or(rest, |list| list.split('}').next().unwrap_or(list));
        let names: Vec<&str> = if rest.starts_with('{') { list.split(',').collect() } else { vec![list] };
        for name in names {
            let end = name.trim().find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.trim().len());
            found.push(name.trim()[..end].to_owned());
        }
    }
    found.retain(|name| !name.is_empty() && name.chars().next().is_some_and(char::is_lowercase));
    found
}

/// Lines before the file's tests, numbered from 1.
fn production_lines(file: &Path) -> Vec<(usize, String)> {
    if file.components().any(|part| part.as_os_str() == "tests.rs" || part.as_os_str() == "fixture.rs") {
        return Vec::new();
    }
    let text = read(file);
    let end = text.lines().position(|line| line.starts_with("#[cfg(test)]")).unwrap_or(usize::MAX);
    text.lines().take(end).enumerate().map(|(number, line)| (number + 1, line.to_owned())).collect()
}

fn module_of(file: &Path) -> String {
    let inside = file.strip_prefix(root()).unwrap_or(file);
    let first = inside.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
    first.trim_end_matches(".rs").to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() > 20, "the sources were not found");
    found
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).expect("a source can be read")
}
