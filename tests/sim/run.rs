//! Lives through worlds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backout::simulate::{Driver, Script};

use crate::model::{self, Violation};
use crate::smaller;
use crate::world::World;

/// Violations that are made small at most: it takes a while.
const SHOWN: usize = 4;

/// What became of many worlds.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) incidents: u64,
    pub(crate) writes: u64,
    pub(crate) kills: u64,
    /// By seed.
    pub(crate) broken: BTreeMap<u64, Vec<Violation>>,
}

/// What is written down besides what is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// Nothing: it costs time.
    None,
    /// The transcript.
    Transcript,
}

/// Lives through a world.
pub(crate) fn tell(world: &World, ink: Ink) -> Result<(Driver, Script), String> {
    let script = Script::parse(&world.story(), &|file| Err(format!("`{file}` is not included in a world by chance")))?;
    let mut driver = script.driver()?;
    driver.keep_protocol();
    // What it watches over after every event costs more than the rest: the model judges, and the stories have it.
    driver.keep.invariants = ink == Ink::Transcript;
    if ink == Ink::None {
        driver.transcript.mute();
    }
    // What `finish` compares, the model does byte by byte.
    driver.run_until(script.until);
    Ok((driver, script))
}

/// What a world breaks, and its story.
pub(crate) fn violations(world: &World, ink: Ink) -> Result<(Vec<Violation>, Driver), String> {
    let told = catch_unwind(AssertUnwindSafe(|| {
        let (driver, script) = tell(world, ink)?;
        let begin = script.zero - Duration::from_secs(6 * 3600);
        Ok((model::judge(world, &driver, script.zero, begin, script.until), driver))
    }));
    told.unwrap_or_else(|_| Err("it panics".to_owned()))
}

/// Lives through worlds, on every core.
pub(crate) fn seeds(from: u64, many: u64, show: bool) -> Outcome {
    let (next, outcome) = (AtomicU64::new(from), Mutex::new(Outcome::default()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + many {
                return;
            }
            one(seed, show, &outcome);
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            // The parser of conditions recurses deeply.
            std::thread::Builder::new().stack_size(16 << 20).spawn_scoped(scope, work).expect("a thread");
        }
    });
    outcome.into_inner().expect("no worker panicked")
}

#[expect(clippy::print_stdout, reason = "a world is shown where somebody asks for it")]
fn one(seed: u64, show: bool, outcome: &Mutex<Outcome>) {
    let world = World::draw(seed);
    let found = violations(&world, if show { Ink::Transcript } else { Ink::None });
    let mut outcome = outcome.lock().expect("no worker panicked");
    match found {
        Err(why) => {
            outcome.broken.insert(seed, vec![Violation { check: "story", text: why }]);
        }
        Ok((found, driver)) => {
            if show {
                println!("{}\n==== transcript\n{}", world.story(), driver.transcript.text());
            }
            outcome.incidents += driver.book().incidents.len() as u64;
            outcome.writes += driver.written.len() as u64;
            let lives = driver.protocol.as_ref().map(|protocol| protocol.lives.as_slice()).unwrap_or_default();
            outcome.kills += lives.iter().filter(|(_, lives)| !lives).count() as u64;
            if !found.is_empty() {
                outcome.broken.insert(seed, found);
            }
        }
    }
}

/// What was broken, how often, and the smallest story of some.
pub(crate) fn report(outcome: &Outcome) -> String {
    let mut by_check: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (seed, found) in &outcome.broken {
        for violation in found {
            let seeds = by_check.entry(violation.check).or_default();
            if seeds.last() != Some(seed) {
                seeds.push(*seed);
            }
        }
    }
    let mut text = String::from("promises were broken:\n");
    for (check, seeds) in &by_check {
        let _ = writeln!(text, "  {check}: {} seeds, {:?}", seeds.len(), &seeds[..seeds.len().min(12)]);
    }
    for (check, seeds) in by_check.iter().take(SHOWN) {
        let seed = seeds[0];
        let words = outcome.broken[&seed].iter().filter(|violation| violation.check == *check).map(|v| v.text.as_str());
        let _ = writeln!(text, "\n---- seed {seed}, {check}: {}", words.collect::<Vec<_>>().join("; "));
        text.push_str(&smaller::story(&World::draw(seed), check));
    }
    text
}
