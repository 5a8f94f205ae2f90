//! The deterministic simulation: worlds by chance, lived through by the service's own brain, and judged by a model that shares no code
//! with it. A violation names its seed and shows the smallest story that has it: one for `tests/scenarios/`.
//!
//! ```text
//! cargo test --test sim                                          the fixed seeds of CI
//! BACKOUT_SIM_FROM=1000 BACKOUT_SIM_SEEDS=50000 cargo test --test sim    others, many
//! BACKOUT_SIM_FROM=77 BACKOUT_SIM_SEEDS=1 BACKOUT_SIM_SHOW=1 cargo test --test sim -- --nocapture    one, with its transcript
//! cargo test --no-default-features --features planted --test sim planted    is the model awake? it finds every planted defect
//! BACKOUT_SIM_BUG=Cooldown … planted                             those only whose name has it; with BACKOUT_SIM_SHOW=1 and
//!                                                                BACKOUT_SIM_FROM=5, what it makes of that world
//! ```
//!
//! Every other world is about one promise (`themes.rs`), the rest are by pure chance.

mod dice;
mod journal;
mod kills;
mod model;
mod rules;
mod run;
mod smaller;
mod themes;
mod track;
mod truth;
mod world;

#[cfg(feature = "planted")]
mod planted;

use std::time::Instant;

/// Seeds that CI lives through.
pub(crate) const SEEDS: u64 = 400;

#[expect(clippy::disallowed_methods, reason = "a test's own switches")]
fn switch(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
#[expect(clippy::print_stdout, reason = "what was lived through is told")]
fn no_world_breaks_a_promise() {
    #[expect(clippy::disallowed_methods, reason = "how long the test takes is told, and decides nothing")]
    let begun = Instant::now();
    let from = switch("BACKOUT_SIM_FROM").unwrap_or(0);
    let seeds = switch("BACKOUT_SIM_SEEDS").unwrap_or(SEEDS);
    let outcome = run::seeds(from, seeds, switch("BACKOUT_SIM_SHOW").is_some());
    let took = begun.elapsed().as_secs_f64();
    let (incidents, writes, kills) = (outcome.incidents, outcome.writes, outcome.kills);
    println!(
        "{seeds} seeds from {from}: {incidents} incidents, {writes} writes, {kills} kills in {took:.1} s: {:.0} incidents/s",
        incidents as f64 / took
    );
    assert!(outcome.broken.is_empty(), "{}", run::report(&outcome));
    assert!(seeds < SEEDS || (outcome.writes > 0 && outcome.kills > 0), "worlds in which nothing happens prove nothing");
}
