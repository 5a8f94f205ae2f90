//! Killed before and after every commit of a rollback's life, and with its effects on their way: the same end each time.

use std::fs;
use std::path::Path;

use backout::decide::incident::Phase;
use backout::model::Moment;
use backout::simulate::{Driver, Script, Testimony};

/// What a life came to.
#[derive(Debug, PartialEq, Eq)]
struct End {
    /// Where writes were made, and what they put back.
    writes: Vec<(String, String)>,
    /// How its incidents were closed.
    closed: Vec<String>,
    /// Whether people heard that it was rolled back.
    told: bool,
}

fn tell(story: &str) -> Driver {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/common");
    let include = |file: &str| fs::read_to_string(folder.join(file)).map_err(|error| error.to_string());
    let script = Script::parse(story, &include).expect("a story");
    let mut driver = script.driver().expect("policies");
    driver.keep_protocol();
    driver.keep.invariants = false;
    driver.run_until(script.until);
    driver.finish();
    driver
}

fn end(driver: &Driver) -> End {
    let writes = driver.world.testimony().iter().filter_map(|(_, said)| match said {
        Testimony::Written { request, .. } => Some((request.target.to_string(), request.to.to_string())),
        _ => None,
    });
    let closed = driver.book().incidents.values().map(|incident| match &incident.phase {
        Phase::Closed { reason, .. } => reason.to_string(),
        phase => phase.as_str().to_owned(),
    });
    let told = driver.told.iter().any(|told| matches!(told.moment, Moment::RolledBack | Moment::Verified | Moment::Closed));
    End { writes: writes.collect(), closed: closed.collect(), told }
}

/// Kills at every commit from the alert on; how many times.
fn at_every_commit(story: &str) -> usize {
    let whole = tell(story);
    let wanted = end(&whole);
    assert_eq!(wanted.closed, ["verified"], "{}", whole.transcript.text());
    let zero = Script::parse("", &|_| Err(String::new())).expect("an empty story").zero;
    let alert = zero + std::time::Duration::from_secs(299);
    let rows = whole.protocol.as_ref().expect("a protocol").steps.iter().filter(|(at, _)| *at >= alert).count();
    for side in ["before", "after", "flying"] {
        // One killed in debug takes a tenth of a second: every commit until the write is proven, then every fourth.
        for nth in (1..=rows).filter(|nth| *nth <= 24 || nth % 4 == 0) {
            let killed = tell(&format!("{story}\nat 299s kill {side} nth={nth} start=5s\n"));
            assert_eq!(killed.violations(), [""; 0], "killed {side} commit {nth}");
            assert_eq!(end(&killed), wanted, "killed {side} commit {nth}:\n{}", killed.transcript.text());
        }
    }
    3 * rows.min(24) + 3 * (rows.saturating_sub(24) / 4)
}

#[test]
#[expect(clippy::print_stdout, reason = "how many kills it were is told")]
fn a_kill_at_any_commit_changes_nothing() {
    let kills = at_every_commit("include enforce.txt\nat 10m resolve HighErrorRate\nuntil 30m");
    let asked = at_every_commit("include approve.txt\neach approval +30s approve\nat 12m resolve HighErrorRate\nuntil 30m");
    println!("{} kills, the same end each time", kills + asked);
}
