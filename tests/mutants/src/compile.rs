//! Takes out what does not compile: places all mutants, asks the compiler, finds by the marks of `render.rs` whose each error is,
//! and begins anew, until it compiles. An error that is nobody's ends it: no mutant is lost without a word.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::list::Mutant;
use crate::place::place;
use crate::render::render;
use crate::tree::{OUT, Tree};

/// The switch and one line that makes it a module.
const SWITCH: &str = include_str!("../switch.rs");
/// Nothing but the pure half has mutants.
const CHECK: &str = "check --locked --profile mutants --lib --no-default-features --features simulate --message-format json";
const BUILD: &str = "test --no-run --locked --profile mutants --message-format json-render-diagnostics";

/// What to do about a mutant that the tool cannot handle.
const MEND: &str = "mend tests/mutants/src";
const LEAVE: &str = "or leave it out by `exclude_re` in .cargo/mutants.toml";

/// The mutants that are not in the build, by number.
#[derive(Serialize, Deserialize, Default, Clone)]
pub struct Out {
    /// They do not compile, or cannot be placed.
    pub unviable: BTreeSet<usize>,
    /// They are computed by the compiler, when none is awake.
    pub constants: BTreeSet<usize>,
    /// One arm each of the matches that do not cover everything when several of their arms are asleep.
    doubted: BTreeSet<usize>,
}

impl Out {
    fn len(&self) -> usize {
        self.unviable.len() + self.constants.len() + self.doubted.len()
    }
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    fingerprint: u64,
    out: Out,
}

#[derive(Deserialize)]
struct Line {
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    level: String,
    message: String,
    code: Option<Code>,
    spans: Vec<Span>,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

#[derive(Deserialize)]
struct Span {
    file_name: String,
    byte_start: usize,
    line_start: usize,
    is_primary: bool,
}

/// Lays the copy with all the mutants that compile, and says which do not.
pub fn settle(tree: &Tree, mutants: &[Mutant]) -> Result<Out> {
    let (mut out, mut texts) = (Out::default(), BTreeMap::new());
    out.unviable = with_mutants(tree, mutants, &out, &mut texts)?;
    let fingerprint = tree.fingerprint(&texts)?;
    let memory = tree.path.join(OUT);
    let remembered = fs::read(&memory).ok().and_then(|bytes| serde_json::from_slice::<Remembered>(&bytes).ok());
    if let Some(remembered) = remembered.filter(|remembered| remembered.fingerprint == fingerprint) {
        out = remembered.out;
        with_mutants(tree, mutants, &out, &mut texts)?;
    }
    loop {
        tree.lay(&texts)?;
        let Some(errors) = check(tree)? else { break };
        let before = out.len();
        let nobodys: Vec<String> = errors.iter().filter_map(|error| attribute(error, &texts, &mut out)).collect();
        eprintln!("does not compile yet: {} errors, {} mutants are out", errors.len(), out.unviable.len() + out.constants.len());
        if out.len() == before {
            let nobodys = nobodys.join("\n");
            bail!("the mutated sources do not compile, and these errors are no mutant's: {MEND}/render.rs, {LEAVE}\n{nobodys}");
        }
        with_mutants(tree, mutants, &out, &mut texts)?;
    }
    fs::write(&memory, serde_json::to_vec(&Remembered { fingerprint, out: out.clone() })?)?;
    Ok(out)
}

/// The changed files; returned is which mutants cannot be written there.
fn with_mutants(tree: &Tree, mutants: &[Mutant], out: &Out, texts: &mut BTreeMap<String, String>) -> Result<BTreeSet<usize>> {
    let mut files: BTreeMap<&str, Vec<&Mutant>> = BTreeMap::new();
    for mutant in mutants {
        let mine = files.entry(&mutant.file).or_default();
        if !out.unviable.contains(&mutant.id) && !out.constants.contains(&mutant.id) {
            mine.push(mutant);
        }
    }
    let mut unwritten = BTreeSet::new();
    for (file, mine) in files {
        let text = tree.read(file)?;
        let placed = place(&text, &mine, &out.doubted).with_context(|| file.to_owned())?;
        if let Some(lost) = mine.iter().find(|mutant| placed.lost.contains(&mutant.id)) {
            bail!("no place was found for {} mutants, one is `{}`: {MEND}/place.rs, {LEAVE}", placed.lost.len(), lost.name);
        }
        unwritten.extend(placed.chained);
        texts.insert(file.to_owned(), render(&text, &placed.wraps));
    }
    texts.insert("src/lib.rs".to_owned(), tree.read("src/lib.rs")? + "\npub mod mutant;\n");
    texts.insert("src/mutant.rs".to_owned(), SWITCH.to_owned());
    Ok(unwritten)
}

/// The compiler's errors; none when it compiles.
fn check(tree: &Tree) -> Result<Option<Vec<Message>>> {
    let output = cargo(tree, CHECK).output().context("`cargo check` cannot be started")?;
    if output.status.success() {
        return Ok(None);
    }
    let lines = output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
    let errors: Vec<Message> = lines.filter_map(|line| line.message).filter(|message| message.level == "error").collect();
    ensure!(!errors.is_empty(), "`cargo check` failed and says of no place in the sources why: {}", output.status);
    Ok(Some(errors))
}

/// Cargo in the copy. The house's lints are not for mutants.
fn cargo(tree: &Tree, args: &str) -> Command {
    let mut command = Command::new("cargo");
    command.args(args.split(' ')).current_dir(&tree.path).env("RUSTFLAGS", "--cap-lints allow").env_remove("CARGO_TARGET_DIR");
    command.stderr(Stdio::inherit());
    command
}

/// Notes whose an error is; else says where it is.
fn attribute(error: &Message, texts: &BTreeMap<String, String>, out: &mut Out) -> Option<String> {
    let code = error.code.as_ref().map_or("", |code| code.code.as_str());
    for span in error.spans.iter().filter(|span| span.is_primary) {
        let Some((before, from)) = texts.get(&span.file_name).and_then(|text| text.split_at_checked(span.byte_start)) else {
            continue;
        };
        let marks = open_marks(before);
        let asked = from.strip_prefix("crate::mutant::m(").and_then(|rest| rest.split(')').next()?.parse().ok());
        let mutant = marks.iter().rev().find(|mark| !mark.is_head).map(|mark| mark.id);
        match (code, asked, marks.last(), mutant) {
            ("E0015", Some(id), ..) => _ = out.constants.insert(id),
            ("E0004", _, Some(Mark { is_head: true, id }), _) => _ = out.doubted.insert(*id),
            (.., Some(id)) => _ = out.unviable.insert(id),
            _ => continue,
        }
        out.constants = &out.constants - &out.unviable;
        return None;
    }
    // "aborting due to" and the like have no place.
    let place = error.spans.iter().find(|span| span.is_primary)?;
    Some(format!("target/mutants-tree/{}:{}: {}", place.file_name, place.line_start, error.message))
}

struct Mark {
    is_head: bool,
    id: usize,
}

/// The marks that are open at the end of this text.
fn open_marks(text: &str) -> Vec<Mark> {
    let mut open = Vec::new();
    for mark in text.split("/*").skip(1).filter_map(|rest| Some(rest.split_once("*/")?.0)) {
        let id = |digits: &str| digits.parse().ok();
        if let Some(id) = mark.strip_prefix('<').and_then(id) {
            open.push(Mark { is_head: false, id });
        } else if let Some(id) = mark.strip_prefix('[').and_then(id) {
            open.push(Mark { is_head: true, id });
        } else if mark.strip_suffix(['>', ']']).and_then(id).is_some() {
            open.pop();
        }
    }
    open
}

/// Builds tests; the programs by the name of their test, `lib` for the library's own.
pub fn build(tree: &Tree, args: &[&str]) -> Result<BTreeMap<String, String>> {
    let output = cargo(tree, BUILD).args(args).output().context("`cargo test` cannot be started")?;
    ensure!(output.status.success(), "`cargo {BUILD} {}` failed in {}", args.join(" "), tree.path.display());
    let mut programs = BTreeMap::new();
    for line in output.stdout.split(|byte| *byte == b'\n') {
        let Ok(Artifact { target, profile, executable: Some(path) }) = serde_json::from_slice(line) else { continue };
        if profile.test {
            let is_test = target.kind.iter().any(|kind| kind == "test");
            programs.insert(if is_test { target.name } else { "lib".to_owned() }, path);
        }
    }
    Ok(programs)
}

#[derive(Deserialize)]
struct Artifact {
    target: Target,
    profile: Profile,
    executable: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str, text: &str, place: &str) -> (Message, BTreeMap<String, String>) {
        let byte_start = text.find(place).expect("a place");
        let span = Span { file_name: "src/a.rs".to_owned(), byte_start, line_start: 1, is_primary: true };
        let code = Some(Code { code: code.to_owned() });
        let message = Message { level: "error".to_owned(), message: "no".to_owned(), code, spans: vec![span] };
        (message, BTreeMap::from([("src/a.rs".to_owned(), text.to_owned())]))
    }

    fn whose(code: &str, text: &str, place: &str) -> (Out, Option<String>) {
        let (error, texts) = error(code, text, place);
        let mut out = Out::default();
        let nobodys = attribute(&error, &texts, &mut out);
        (out, nobodys)
    }

    #[test]
    fn an_error_is_the_innermost_mutants() {
        let text = "/*<1*/ a /* why */ + /*<2*/ b /*2>*/ + c /*1>*/ + d";
        assert_eq!(whose("E0308", text, "b").0.unviable, BTreeSet::from([2]));
        assert_eq!(whose("E0308", text, "c").0.unviable, BTreeSet::from([1]));
        let (out, nobodys) = whose("E0308", text, "d");
        assert_eq!((out.len(), nobodys.as_deref()), (0, Some("target/mutants-tree/src/a.rs:1: no")));
    }

    #[test]
    fn a_match_that_does_not_cover_everything_is_written_out() {
        let text = "match /*[3*/x/*3]*/ { y }";
        assert_eq!(whose("E0004", text, "x").0.doubted, BTreeSet::from([3]));
        assert!(whose("E0308", text, "x").1.is_some(), "another error is not the match's");
        assert!(whose("E0004", text, "y").1.is_some());
    }

    #[test]
    fn what_the_compiler_computes_is_out() {
        let text = "const A: bool = (B != crate::mutant::m(14))";
        assert_eq!(whose("E0015", text, "crate::mutant").0.constants, BTreeSet::from([14]));
    }
}
