//! Stories: a script in, a transcript out, in one file each (`tests/scenarios/*.txt`). The same brain as the service, in virtual
//! time. `BACKOUT_BLESS=1` writes the transcripts anew; read what changed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use backout::simulate::Script;

/// What separates the script from its transcript.
const CUT: &str = "\n==== transcript\n";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

fn stories() -> Vec<PathBuf> {
    let files = fs::read_dir(folder()).expect("tests/scenarios").map(|entry| entry.expect("an entry").path());
    let mut stories: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|ext| ext == "txt")).collect();
    stories.sort();
    stories
}

#[expect(clippy::disallowed_methods, reason = "a test's own switches")]
fn switch(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn include(file: &str) -> Result<String, String> {
    fs::read_to_string(folder().join("common").join(file)).map_err(|error| error.to_string())
}

/// Tells one story; its transcript, and what is wrong with it.
fn tell(script: &str) -> Result<String, String> {
    let driver = Script::parse(script, &include)?.tell()?;
    match driver.violations() {
        [] => Ok(driver.transcript.text()),
        violations => Err(format!("{}\nBROKEN:\n{}", driver.transcript.text(), violations.join("\n"))),
    }
}

#[test]
fn every_story_goes_as_it_was_read() {
    let bless = switch("BACKOUT_BLESS").is_some();
    let only = switch("BACKOUT_STORY");
    let mut wrong = String::new();
    for path in stories() {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a story");
        let (script, expected) = text.split_once(CUT).unwrap_or((text.trim_end(), ""));
        match tell(script) {
            Err(why) => {
                let _ = writeln!(wrong, "---- {name}\n{why}");
            }
            Ok(told) if told == expected => {}
            Ok(told) if bless => fs::write(&path, format!("{script}{CUT}{told}")).expect("to bless"),
            Ok(told) => {
                let _ = writeln!(wrong, "---- {name}\n{}", difference(expected, &told));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}\n(BACKOUT_BLESS=1 writes them anew)");
}

/// The first lines that differ, with what came before them.
fn difference(expected: &str, told: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), told.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let mut text = String::new();
    for line in new.iter().take(same).skip(same.saturating_sub(3)) {
        let _ = writeln!(text, "  {line}");
    }
    for line in old.iter().skip(same).take(8) {
        let _ = writeln!(text, "- {line}");
    }
    for line in new.iter().skip(same).take(8) {
        let _ = writeln!(text, "+ {line}");
    }
    text
}
