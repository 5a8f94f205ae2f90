//! Is the model awake? Every planted defect is found within the seeds that CI lives through.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use backout::model::Brake;
use backout::planted::{Bug, plant};

use crate::run::{self, Ink};
use crate::world::World;

/// `FitTarget` and `Trust` hold in more than one place: their parts are planted one by one.
const BRAKES: [Brake; 13] = [
    Brake::RecentChange,
    Brake::Cooldown,
    Brake::Budget,
    Brake::Flapping,
    Brake::Storm,
    Brake::QuietStart,
    Brake::HumanActive,
    Brake::Owner,
    Brake::Freeze,
    Brake::Paused,
    Brake::StaleFacts,
    Brake::Truncated,
    Brake::Permission,
];

const OTHERS: [Bug; 31] = [
    Bug::TrustForgotten,
    Bug::HealthNotCompared,
    Bug::KnownBadForgotten,
    Bug::FurtherBack,
    Bug::UidNotCompared,
    Bug::GuardMissing,
    Bug::SecondLookSkipped,
    Bug::WriteWaited,
    Bug::HashNotCompared,
    Bug::YesOverridesAll,
    Bug::BudgetAtTheEnd,
    Bug::DedupWithoutStart,
    Bug::ResolvedTakenAsFiring,
    Bug::SilenceOverlooked,
    Bug::BlindTakenAsQuiet,
    Bug::OnsetIsStart,
    Bug::ForeignTaken,
    Bug::ShadowActs,
    Bug::LeapNotShifted,
    Bug::PageDropped,
    Bug::FoldDropsOthers,
    Bug::RollbackNotAnnounced,
    Bug::UnknownTakenAsBetter,
    Bug::RepeatedBlindly,
    Bug::EffectBeforeCommit,
    Bug::RecordNotWritten,
    Bug::CountdownNotRenewed,
    Bug::VetoForgotten,
    Bug::AcknowledgementIgnored,
    Bug::LostNotNoticed,
    Bug::NeverQuiet,
];

/// The first seed that shows a defect, and which promise it breaks there.
fn seeds_needed(bug: Bug) -> Option<(u64, &'static str)> {
    plant(Some(bug));
    let seeds = crate::switch("BACKOUT_SIM_SEEDS").unwrap_or(crate::SEEDS);
    let found = (0..seeds).find_map(|seed| match run::violations(&World::draw(seed), Ink::None) {
        Ok((found, _)) => found.first().map(|violation| (seed + 1, violation.check)),
        Err(_) => Some((seed + 1, "story")),
    });
    plant(None);
    found
}

#[test]
#[expect(clippy::print_stdout, reason = "the table is what the test is for")]
fn every_planted_defect_is_found() {
    let bugs: Vec<Bug> = BRAKES.into_iter().map(Bug::BrakeOff).chain(OTHERS).collect();
    println!("seeds promise        planted");
    let (next, table) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = seeds_needed(*bug);
            let mut table = table.lock().expect("no worker panicked");
            match found {
                Some((seeds, check)) => println!("{seeds:>5} {check:<14} {bug:?}"),
                None => println!("    - {:<14} {bug:?}", ""),
            }
            table.push((format!("{bug:?}"), found));
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            std::thread::Builder::new().stack_size(16 << 20).spawn_scoped(scope, work).expect("a thread");
        }
    });
    let mut table = table.into_inner().expect("no worker panicked");
    table.sort();
    let most = table.iter().filter_map(|(_, found)| found.map(|(seeds, _)| seeds)).max().unwrap_or(0);
    println!("{} planted defects, at most {most} seeds for one of them", table.len());
    let missed: Vec<&String> = table.iter().filter(|(_, found)| found.is_none()).map(|(bug, _)| bug).collect();
    assert!(missed.is_empty(), "in {} seeds nobody saw {missed:?}", crate::SEEDS);
}
