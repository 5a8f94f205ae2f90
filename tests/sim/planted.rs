//! Is the model awake? Every planted defect is found within the seeds that CI lives through.
//!
//! Each seed is lived through by the honest service first, which notes which defects it met the place of: any other one would change
//! nothing in that world, and is not tried there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use backout::model::Brake;
use backout::planted::{self, Bug, plant};

use crate::run::{self, Ink};
use crate::themes;
use crate::world::World;

/// `FitTarget` and `Trust` hold in more than one place: their parts are planted one by one.
const BRAKES: [Brake; 14] = [
    Brake::RecentChange,
    Brake::Cooldown,
    Brake::Budget,
    Brake::Flapping,
    Brake::Storm,
    Brake::QuietStart,
    Brake::HumanActive,
    Brake::Owner,
    Brake::DataLatch,
    Brake::Freeze,
    Brake::Paused,
    Brake::StaleFacts,
    Brake::Truncated,
    Brake::Permission,
];

const OTHERS: [Bug; 38] = [
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
    Bug::NeverLapses,
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
    Bug::NewsDropped,
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
    Bug::InhibitionOverlooked,
    Bug::DownPeerOverlooked,
    Bug::FreshPeerBelieved,
    Bug::SenderBelieved,
    Bug::ReloadOverlooked,
];

/// What was found out about a defect.
#[derive(Clone, Debug, Default)]
struct Sought {
    /// The first seed that shows it, and which promise it breaks there.
    found: Option<(u64, &'static str)>,
    /// In how many worlds it was tried.
    tried: u64,
}

/// The search, in the order of seeds, on every core.
struct Search {
    seeds: u64,
    next: AtomicU64,
    sought: Mutex<BTreeMap<Bug, Sought>>,
    /// Seeds in which the honest service breaks a promise: they say nothing.
    dishonest: Mutex<BTreeMap<u64, String>>,
}

impl Search {
    fn work(&self) {
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            let left = self.left(seed);
            if seed >= self.seeds || left.is_empty() {
                return;
            }
            self.live(seed, &left);
        }
    }

    /// Defects that no earlier seed shows, as far as is known.
    fn left(&self, seed: u64) -> BTreeSet<Bug> {
        let sought = self.sought.lock().expect("no worker panicked");
        let open = |sought: &Sought| sought.found.is_none_or(|(found, _)| seed < found);
        sought.iter().filter(|(_, sought)| open(sought)).map(|(bug, _)| *bug).collect()
    }

    fn live(&self, seed: u64, left: &BTreeSet<Bug>) {
        let world = World::draw(seed);
        drop(planted::asked());
        let honest = broken(&world);
        let met = planted::asked();
        if let Some(why) = honest {
            self.dishonest.lock().expect("no worker panicked").insert(seed, why.to_owned());
            return;
        }
        for bug in left.intersection(&met) {
            plant(Some(*bug));
            let check = broken(&world);
            plant(None);
            let mut sought = self.sought.lock().expect("no worker panicked");
            let known = sought.entry(*bug).or_default();
            known.tried += 1;
            if let Some(check) = check.filter(|_| known.found.is_none_or(|(found, _)| seed < found)) {
                known.found = Some((seed, check));
            }
        }
    }
}

/// The first promise that a world breaks.
fn broken(world: &World) -> Option<&'static str> {
    match run::violations(world, Ink::None) {
        Ok((found, _)) => found.first().map(|violation| violation.check),
        Err(_) => Some("story"),
    }
}

/// `BACKOUT_SIM_BUG=Cooldown` seeks those only whose name has it.
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn chosen() -> Vec<Bug> {
    let part = std::env::var("BACKOUT_SIM_BUG").unwrap_or_default();
    let all = BRAKES.into_iter().map(Bug::BrakeOff).chain(OTHERS);
    all.filter(|bug| format!("{bug:?}").contains(&part)).collect()
}

/// Shows what becomes of the first world under each of them.
#[expect(clippy::print_stdout, reason = "a world is shown where somebody asks for it")]
fn show(bugs: &[Bug], seed: u64) {
    let world = World::draw(seed);
    for bug in bugs {
        plant(Some(*bug));
        let told = run::violations(&world, Ink::Transcript);
        plant(None);
        match told {
            Ok((found, driver)) => println!("{bug:?}\n{}{}\n{found:#?}", world.story(), driver.transcript.text()),
            Err(why) => println!("{bug:?}: {why}"),
        }
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the table is what the test is for")]
fn every_planted_defect_is_found() {
    #[expect(clippy::disallowed_methods, reason = "how long the test takes is told, and decides nothing")]
    let begun = Instant::now();
    let seeds = crate::switch("BACKOUT_SIM_SEEDS").unwrap_or(crate::SEEDS);
    if crate::switch("BACKOUT_SIM_SHOW").is_some() {
        return show(&chosen(), crate::switch("BACKOUT_SIM_FROM").unwrap_or(0));
    }
    let sought = chosen().into_iter().map(|bug| (bug, Sought::default())).collect();
    let search = Search { seeds, next: AtomicU64::new(0), sought: Mutex::new(sought), dishonest: Mutex::default() };
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            std::thread::Builder::new().stack_size(16 << 20).spawn_scoped(scope, || search.work()).expect("a thread");
        }
    });
    let sought = search.sought.into_inner().expect("no worker panicked");
    println!("seeds tried promise        planted, and what the world was about");
    for (bug, Sought { found, tried }) in &sought {
        match found {
            Some((seed, check)) => {
                let about = themes::of(*seed).map_or("by chance", |(name, _)| name);
                println!("{:>5} {tried:>5} {check:<14} {bug:?} ({about})", seed + 1);
            }
            None => println!("    - {tried:>5} {:<14} {bug:?}", ""),
        }
    }
    let most = sought.values().filter_map(|sought| sought.found.map(|(seed, _)| seed + 1)).max().unwrap_or(0);
    println!("{} planted defects, at most {most} seeds for one of them, {:.0} s", sought.len(), begun.elapsed().as_secs_f64());
    let dishonest = search.dishonest.into_inner().expect("no worker panicked");
    assert!(dishonest.is_empty(), "without any defect promises were broken: {dishonest:?}");
    let missed: Vec<&Bug> = sought.iter().filter(|(_, sought)| sought.found.is_none()).map(|(bug, _)| bug).collect();
    assert!(missed.is_empty(), "in {seeds} seeds nobody saw {missed:?}");
}
