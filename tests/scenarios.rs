//! Stories: a script in, a transcript out, in one file each (`tests/scenarios/*.txt`). The same brain as the service, in virtual
//! time. `BACKOUT_BLESS=1` writes the transcripts anew; read what changed. `BACKOUT_STORY=veto,joined` tells only those with
//! one of these in their names.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use backout::model::Brake;
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
        if only.as_ref().is_some_and(|only| !only.split(',').any(|part| name.contains(part))) {
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

#[test]
fn every_cell_of_the_table_of_events_against_states_has_a_story() {
    let events =
        ["recovered", "joined", "reloaded", "target-gone", "newer-release", "put-back", "paused", "latched", "veto", "restart"];
    let states = ["settle", "countdown", "approval", "executing", "verifying", "paged", "fix-forward"];
    let names: Vec<String> = stories().iter().filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect();
    let cells = events.iter().flat_map(|event| states.iter().map(move |state| format!("{event}--{state}")));
    let missing: Vec<String> = cells.filter(|cell| !names.contains(cell)).collect();
    assert!(missing.is_empty(), "no story for {}", missing.join(", "));
}

#[test]
fn every_brake_holds_once_and_its_page_names_it() {
    for brake in Brake::ALL {
        let story = fs::read_to_string(folder().join(format!("brake-{brake}.txt"))).unwrap_or_default();
        let (kind, words) = match brake {
            // It makes the policy ask, and holds nothing that a person approved.
            Brake::Trust => (" PAGE ", "the policy is not trusted".to_owned()),
            _ => (" PAGE ", format!("NOT rolled back, {brake} holds")),
        };
        assert!(story.lines().any(|line| line.contains(kind) && line.contains(&words)), "no story in which {brake} holds");
    }
}

#[test]
fn the_same_story_is_told_twice_in_the_same_words() {
    let story = fs::read_to_string(folder().join("killed-for-ten-minutes.txt")).expect("a story");
    let (script, _) = story.split_once(CUT).expect("a transcript");
    assert_eq!(tell(script), tell(script));
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
