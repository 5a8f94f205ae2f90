//! Mistakes in policy files and the reports they give: `tests/policy_errors/NAME.yaml` (or a folder `NAME`) and `NAME.txt`.
//! `BLESS=1 cargo test --test policy_errors` writes the reports anew; read the diff.

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
    assert!(cases.len() >= 40, "found {} cases", cases.len());
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
