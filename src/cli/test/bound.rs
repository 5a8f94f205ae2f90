//! `--bound`: does any sequence of alerts, releases and changes of health make a policy act more than its budget says?

use std::path::PathBuf;

use serde_json::json;

use super::super::exit::{Exit, Failure};
use super::super::output::{Output, Style, remark};
use super::unusable;
use crate::worlds::{self, Bound, Counterexample};

/// Searches with the worlds of each file. What is found goes to stdout as a test file; what else is to be said, beside it.
pub(super) fn run(files: &[PathBuf], moves: usize, output: Output) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    let mut all = Vec::new();
    for path in files {
        let loaded = worlds::load(path).map_err(unusable)?;
        let found = worlds::bound(&loaded, moves);
        if matches!(found, Bound::Found(_)) {
            exit = Exit::Negative;
        }
        if output.is_json() {
            all.push(as_json(&loaded.path, &found));
            continue;
        }
        let mut text = output.text();
        match &found {
            Bound::Found(found) => {
                text.plain(&found.test_file);
                remark(&format!("{}: {}\n", loaded.path, words(found)));
            }
            Bound::Holds { depth, tried, stopped } => {
                text.styled(Style::Green, "ok");
                let rest = if *stopped { "; deeper ones are too many to try" } else { "" };
                let counted = format!("{tried} sequences of alerts, releases and changes of health");
                text.line(format_args!(": {}: no budget is broken by up to {depth} moves ({counted}){rest}", loaded.path));
            }
            Bound::Nothing(why) => text.line(format_args!("{}: nothing to look for: {why}", loaded.path)),
        }
        output.print(&text)?;
    }
    if output.is_json() {
        output.print_json(&json!({ "ok": exit == Exit::Done, "files": all }))?;
    }
    Ok(exit)
}

fn words(found: &Counterexample) -> String {
    let Counterexample { policy, budget, done, moves, .. } = found;
    format!(
        "policy `{policy}` acts more than its budget says ({budget}): {done}, after {moves} moves; the test above fails as long as it does"
    )
}

fn as_json(path: &str, found: &Bound) -> serde_json::Value {
    match found {
        Bound::Found(found) => json!({
            "path": path, "ok": false, "policy": found.policy, "budget": found.budget, "done": found.done,
            "moves": found.moves, "test_file": found.test_file,
        }),
        Bound::Holds { depth, tried, stopped } => {
            json!({ "path": path, "ok": true, "depth": depth, "tried": tried, "stopped": stopped })
        }
        Bound::Nothing(why) => json!({ "path": path, "ok": true, "nothing": why }),
    }
}
