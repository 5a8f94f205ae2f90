//! Mistakes in policy files and the reports they give: `tests/policy_errors/NAME.yaml` (or a folder `NAME`) and `NAME.txt`.
//! `BLESS=1 cargo test --test policy_errors` writes the reports anew; read the diff. `BACKOUT_CASE=cel,matcher` tries only those
//! with one of these in their names.

use std::fs;
use std::path::{Path, PathBuf};

use backout::policy::diagnostic::to_text;
use backout::policy::{SourceFile, load};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy_errors")
}

/// The files of a case, under the names that the report shows.
fn files(case: &Path) -> Vec<SourceFile> {
    if case.is_file() {
        let path = case.file_name().expect("a name").to_string_lossy().into_owned();
        return vec![SourceFile { path, bytes: fs::read(case).expect("it can be read") }];
    }
    let mut files = Vec::new();
    let mut folders = vec![case.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(case).expect("inside").to_string_lossy().into_owned();
                files.push(SourceFile { path: name, bytes: fs::read(&path).expect("it can be read") });
            }
        }
    }
    files
}

fn report(files: &[SourceFile]) -> String {
    match load(files, true) {
        Ok(loaded) => format!("{}applied\n", to_text(&loaded.warnings)),
        Err(diagnostics) => format!("{}refused\n", to_text(&diagnostics)),
    }
}

#[test]
fn mistakes_are_explained() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut cases: Vec<PathBuf> = fs::read_dir(folder()).unwrap().map(|entry| entry.expect("an entry").path()).collect();
    cases.retain(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "yaml"));
    cases.sort();
    assert!(cases.len() >= 90, "found {} cases", cases.len());
    if let Some(only) = std::env::var_os("BACKOUT_CASE") {
        let only = only.to_string_lossy();
        cases.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            only.split(',').any(|part| name.contains(part))
        });
    }
    let mut wrong = Vec::new();
    for case in &cases {
        let found = report(&files(case));
        let golden = case.with_extension("txt");
        if bless {
            fs::write(&golden, &found).unwrap();
        }
        let wanted = fs::read_to_string(&golden).unwrap_or_default();
        if found != wanted {
            wrong.push(format!("=== {}\n--- wanted\n{wanted}--- found\n{found}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_order_of_files_does_not_matter() {
    for case in fs::read_dir(folder()).unwrap().map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir()) {
        let mut files = files(&case);
        let one = report(&files);
        files.reverse();
        assert_eq!(one, report(&files), "{}", case.display());
    }
}

/// Files that are too large to be kept: one report each, soon, with a place.
#[expect(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
#[test]
fn enormous_files_are_refused_soon() {
    let padding = "x".repeat(80);
    let policy = |number: usize| format!("  - {{name: p{number}, matchers: [a=b], decide: [{{rolback: undo}}]}} # {padding}\n");
    let of_mistakes: String = std::iter::once("policies:\n".to_owned()).chain((0..80_000).map(policy)).collect();
    let of_nothing = format!("policies: []\n#{}\n", "x".repeat(10 << 20));
    let one_line = format!("policies: [{}]\n", "{name: x}, ".repeat(1_000_000));
    let too_large = format!("# {}\n", "x".repeat(17 << 20));
    for (text, wanted) in [
        (&of_mistakes, "problems in this file that are not shown"),
        (&of_nothing, "applied"),
        (&one_line, "the file holds more than 1000000 values"),
        (&too_large, "the limit is 16777216"),
    ] {
        assert!(text.len() >= 10 << 20, "{}", text.len());
        let begun = std::time::Instant::now();
        let found = report(&[SourceFile { path: "large.yaml".to_owned(), bytes: text.clone().into_bytes() }]);
        assert!(found.contains(wanted), "{}", &found[found.len().saturating_sub(500)..]);
        assert!(found.len() < 200_000, "a report that nobody reads: {} bytes", found.len());
        // Unoptimised, and on a busy machine: it must end, not be fast.
        assert!(begun.elapsed().as_secs() < 120, "{:?}", begun.elapsed());
    }
}

/// Every report names file, line and column, shows the line with a caret, and says what was expected or what to do.
#[test]
fn every_report_is_whole() {
    for case in fs::read_dir(folder()).unwrap().map(|entry| entry.expect("an entry").path()) {
        if !(case.is_dir() || case.extension().is_some_and(|extension| extension == "yaml")) {
            continue;
        }
        let found = match load(&files(&case), true) {
            Ok(loaded) => loaded.warnings,
            Err(diagnostics) => diagnostics,
        };
        for found in found {
            let text = to_text(std::slice::from_ref(&found));
            let place = format!("--> {}:{}:{}", found.file, found.line, found.column);
            assert!(text.contains(&place) && text.contains('^'), "{text}");
            let says_more = found.expected.is_some() || found.help.is_some();
            assert!(says_more || !found.is_error(), "{}: {text}", case.display());
        }
    }
}
