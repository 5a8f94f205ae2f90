//! The real process, killed again and again while it works on a real control plane: no acknowledged receipt is lost, no rollback is
//! made twice, nothing is stuck, the journal always opens.
//!
//! ```text
//! cargo test --test crash                                     50 kills
//! BACKOUT_CRASHES=1000 cargo test --test crash -- --nocapture  the long run
//! BACKOUT_CRASH_SEED=7                                         the same moments again, as far as a real machine lets it
//! BACKOUT_CRASH_MINUTES=30                                     stops killing after that time, whatever is left
//! ```

mod support;
#[path = "crash/town.rs"]
mod town;
#[path = "crash/witness.rs"]
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use support::{
    Alertmanager, Backout, Gate, Namespace, Prometheus, Release, SHOP_ALERTS, Setup, Sink, TOKEN, Till, http, now,
    prometheus_config, route_to_webhook, with_namespace_for,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use town::{End, SHOPS, Town};
use witness::{Audit, Journal};

/// Kills in CI.
const KILLS: usize = 50;
/// The journal is read through so often in a run, whatever its length.
const VERIFICATIONS: usize = 50;
/// An aim that is not met by then: killed all the same.
const PATIENCE: Duration = Duration::from_secs(5);
/// After the last kill everything is closed, or a person has it and the alert is over.
const SETTLED: Duration = Duration::from_secs(120);

/// Phases whose beginning is waited for. The nearer to the write, the more often.
const AIMS: [&str; 12] = [
    "deciding",
    "countdown",
    "preparing",
    "preparing",
    "redeciding",
    "redeciding",
    "executing",
    "executing",
    "executing",
    "verifying",
    "verifying",
    "verified",
];

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
enum Aim {
    /// So long after its start, ready or not.
    Starting(Duration),
    /// So long after it was ready.
    Anytime(Duration),
    /// So long after the incident of some shop came there.
    After(&'static str, Duration),
}

/// A seeded source of moments (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    fn millis(&mut self, below: u64) -> Duration {
        Duration::from_millis(self.roll(below))
    }

    fn aim(&mut self) -> Aim {
        match self.roll(100) {
            0..10 => Aim::Starting(self.millis(700)),
            10..40 => Aim::Anytime(self.millis(2500)),
            _ => {
                let phase = AIMS[self.roll(AIMS.len() as u64) as usize];
                // Preparing takes long, the write itself some tens of milliseconds.
                let within = if phase == "preparing" { 1000 } else { 80 };
                Aim::After(phase, self.millis(within))
            }
        }
    }
}

/// A kill, and what the journal said after it.
struct Kill {
    at: jiff::Timestamp,
    phase: String,
    incident: String,
}

#[expect(clippy::disallowed_methods, reason = "a test's own switches")]
fn switch(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[expect(clippy::print_stderr, reason = "the figures are the result")]
fn say(line: &str) {
    eprintln!("{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_loses_nothing_and_does_nothing_twice() {
    let kills = switch("BACKOUT_CRASHES").map_or(KILLS, |kills| kills as usize);
    let limit = Duration::from_secs(600 + 20 * kills as u64);
    with_namespace_for(limit, async |ns| run(ns, kills).await).await;
}

async fn run(ns: Namespace, kills: usize) {
    let seed = switch("BACKOUT_CRASH_SEED").unwrap_or_else(|| now().as_millisecond().unsigned_abs());
    let minutes = switch("BACKOUT_CRASH_MINUTES").map_or(Duration::MAX, |minutes| Duration::from_secs(60 * minutes));
    say(&format!("{kills} kills, BACKOUT_CRASH_SEED={seed}"));
    let mut stage = Stage::set(&ns).await;
    let town = Town::new(&ns, stage.door.url());
    let (senders, shops) = town.open();
    let (begin, mut dice) = (Instant::now(), Dice(seed));
    let mut told = Told::default();
    for number in 1..=kills {
        if begin.elapsed() >= minutes {
            break;
        }
        stage.live(dice.aim(), &mut told).await;
        stage.backout.kill9();
        let at = now();
        // Answers that were on their way have arrived by then.
        let acknowledged = town.acknowledged();
        told.journal.read(&stage.backout.data_dir()).await;
        let lost: Vec<_> = acknowledged.difference(&told.journal.receipts).collect();
        assert!(lost.is_empty(), "kill {number} of seed {seed}: acknowledged and not in the journal: {lost:?}");
        let (phase, incident) = told.journal.nearest().unwrap_or(("none", ""));
        told.kills.push(Kill { at, phase: phase.to_owned(), incident: incident.to_owned() });
        if number.is_multiple_of((kills / VERIFICATIONS).max(1)) {
            witness::verify(&stage.backout.data_dir()).await;
            told.verified += 1;
        }
        if number.is_multiple_of(50) {
            let (rounds, minutes) = (town.rounds().len(), begin.elapsed().as_secs() / 60);
            say(&format!("{number} kills in {minutes} min: {} acknowledged, {rounds} bad releases", acknowledged.len()));
        }
    }
    stage.live(Aim::Anytime(Duration::ZERO), &mut told).await;
    town.closing.store(true, Ordering::SeqCst);
    for task in senders.into_iter().chain(shops) {
        task.await.expect("nobody of the town panics");
    }
    let stuck = settle(&town).await;
    assert!(stage.backout.stop().await.success(), "{}", stage.backout.log());
    told.journal.read(&stage.backout.data_dir()).await;
    witness::verify(&stage.backout.data_dir()).await;
    told.verified += 1;
    let audit = ns.plane.writes(&ns.name).await.map(|writes| Audit::of(&writes));
    told.close(&town, audit.as_ref(), &stuck, begin.elapsed());
    judge(&told, &town, audit.as_ref(), &stuck);
}

/// Nothing fires any more: incidents that are still open after a bounded time.
async fn settle(town: &Town) -> Vec<String> {
    let end = Instant::now() + SETTLED;
    loop {
        let open = town.get("/api/v1/incidents?limit=1000").await;
        let open = open.map(|answer| answer["incidents"].as_array().cloned().unwrap_or_default());
        match open {
            Some(open) if open.is_empty() => return Vec::new(),
            Some(open) if Instant::now() > end => return open.iter().map(ToString::to_string).collect(),
            _ => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}

fn judge(told: &Told, town: &Town, audit: Option<&Audit>, stuck: &[String]) {
    let acknowledged = town.acknowledged();
    let lost: Vec<_> = acknowledged.difference(&told.journal.receipts).collect();
    assert!(lost.is_empty(), "acknowledged and not in the journal: {lost:?}");
    let wanted = acknowledged.iter().filter(|id| id.starts_with("Wanted"));
    let left: Vec<_> = wanted.filter(|id| !told.journal.taken_up.contains(*id)).collect();
    assert!(left.is_empty(), "acknowledged, wanted, and no incident has them: {left:?}");
    assert!(stuck.is_empty(), "open long after the last alert: {stuck:?}");
    let rounds = town.rounds();
    let hung: Vec<_> = rounds.iter().filter(|round| matches!(round.end, End::Stuck(_))).collect();
    assert!(hung.is_empty(), "neither rolled back nor paged: {hung:?}");
    assert!(rounds.iter().any(|round| matches!(round.end, End::RolledBack)), "something was rolled back");
    let Some(audit) = audit else { return say("SKIPPED: this cluster has no audit log to count writes by") };
    assert_eq!(audit.doubled(), Vec::<String>::new());
    for round in &rounds {
        let written = audit.releases.get(&round.image).map_or(0, BTreeSet::len);
        assert!(written == 1 || !matches!(round.end, End::RolledBack), "{round:?} was written {written} times");
    }
}

/// What was seen.
#[derive(Default)]
struct Told {
    kills: Vec<Kill>,
    journal: Journal,
    /// From the start to ready.
    ready: Vec<Duration>,
    verified: usize,
}

impl Told {
    /// The closing table.
    fn close(&self, town: &Town, audit: Option<&Audit>, stuck: &[String], took: Duration) {
        let acknowledged = town.acknowledged();
        let found = acknowledged.intersection(&self.journal.receipts).count();
        let row = |what: &str, count: &dyn std::fmt::Display| say(&format!("| {what} | {count} |"));
        say("\n| killed while the incident nearest to a write was | kills |\n|---|---|");
        let mut phases: BTreeMap<&str, usize> = BTreeMap::new();
        for kill in &self.kills {
            *phases.entry(&kill.phase).or_default() += 1;
        }
        phases.iter().for_each(|(phase, count)| row(phase, count));
        if let Some(audit) = audit {
            let executing = self.kills.iter().filter(|kill| kill.phase == "executing");
            let made = |kill: &&Kill| audit.written_at.get(&kill.incident).is_some_and(|at| *at <= kill.at);
            row("of these, the write was made, and the journal did not know", &executing.filter(made).count());
        }
        say("\n| | |\n|---|---|");
        row("kills", &self.kills.len());
        row("minutes", &format!("{:.1}", took.as_secs_f64() / 60.0));
        row("receipts acknowledged", &acknowledged.len());
        row("of these found in the journal", &found);
        let rounds = town.rounds();
        row("bad releases", &rounds.len());
        let of = |fits: fn(&End) -> bool| rounds.iter().filter(|round| fits(&round.end)).count();
        row("rolled back", &of(|end| matches!(end, End::RolledBack)));
        row("a person was paged instead", &of(|end| matches!(end, End::Paged(_))));
        row("stuck", &(of(|end| matches!(end, End::Stuck(_))) + stuck.len()));
        if let Some(audit) = audit {
            for (code, count) in &audit.answers {
                row(&format!("writes that the API server answered {code}, by its audit log"), count);
            }
            row("rolled back, by the audit log", &audit.releases.values().filter(|on| !on.is_empty()).count());
            row("rolled back twice", &audit.doubled().len());
        }
        row("times that the whole journal was verified", &self.verified);
        let mut ready = self.ready.clone();
        ready.sort();
        let figure = |at: usize| ready.get(at).map_or(0, Duration::as_millis);
        row("starts that came to ready", &ready.len());
        row("from start to ready, median, ms", &figure(ready.len() / 2));
        row("the longest, ms", &figure(ready.len().saturating_sub(1)));
        for round in &rounds {
            match &round.end {
                End::RolledBack => {}
                End::Paged(why) => say(&format!("paged: {}: {why}", round.image)),
                End::Stuck(why) => say(&format!("stuck: {}: {why}", round.image)),
            }
        }
    }
}

/// Everything that lives longer than the process.
struct Stage {
    backout: Backout,
    door: Gate,
    /// Whether the process is the one that was started with the stage.
    first: bool,
    _outside: (Alertmanager, Prometheus, Sink, Till),
}

impl Stage {
    async fn set(ns: &Namespace) -> Self {
        ns.allow_writing().await;
        for shop in SHOPS {
            ns.deploy(shop, "shop:0", 1).await;
        }
        let rolled_out = async || {
            for shop in SHOPS {
                ns.wait_rolled_out(shop).await;
            }
        };
        rolled_out().await;
        let (till, people, door) = (Till::open(ns).await, Sink::start().await, Gate::to("127.0.0.1:1").await);
        let hook = format!("{}/v1/webhook/alertmanager", door.url());
        let alertmanager = Alertmanager::start(Release::New, &route_to_webhook(&hook, Duration::from_secs(1)), &[]).await;
        let prometheus = Prometheus::start(&prometheus_config(&[till.url()], &[alertmanager.url()]), SHOP_ALERTS).await;
        let backout = Backout::start(Setup {
            config: town::CONFIG.replace("SINK", people.url()),
            rules: vec![("shop.yaml".to_owned(), town::rules(&ns.name))],
            kubeconfig: Some(ns.plane.backout_kubeconfig().to_owned()),
            cluster_name: "test".to_owned(),
            prometheus: vec![prometheus.url().to_owned()],
            alertmanagers: vec![alertmanager.url().to_owned()],
            ..Setup::default()
        })
        .await;
        door.lead_to(backout.url().trim_start_matches("http://"));
        // Deployed under its eyes: health that was only re-learned does not count.
        for shop in SHOPS {
            ns.set_image(shop, town::GOOD).await;
        }
        rolled_out().await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        Self { backout, door, first: true, _outside: (alertmanager, prometheus, people, till) }
    }

    /// A life of the process, from its start to the moment at which it is to be killed.
    async fn live(&mut self, aim: Aim, told: &mut Told) {
        let started = Instant::now();
        let first = std::mem::take(&mut self.first);
        if !first {
            self.backout.respawn();
        }
        if let Aim::Starting(after) = aim {
            tokio::time::sleep(after).await;
            return;
        }
        self.backout.wait_ready().await;
        told.ready.extend((!first).then(|| started.elapsed()));
        self.door.lead_to(self.backout.url().trim_start_matches("http://"));
        self.reach(aim).await;
    }

    /// Waits for the moment.
    async fn reach(&self, aim: Aim) {
        match aim {
            Aim::Starting(after) | Aim::Anytime(after) => tokio::time::sleep(after).await,
            Aim::After(phase, delay) => {
                let (sender, mut states) = mpsc::unbounded_channel();
                let watcher = tokio::spawn(states_of_shops(self.backout.url().to_owned(), sender));
                let reached = async { while states.recv().await.is_some_and(|state| state != phase) {} };
                let _ = tokio::time::timeout(PATIENCE, reached).await;
                tokio::time::sleep(delay).await;
                watcher.abort();
            }
        }
    }
}

/// Where incidents of shops go, as the process tells it.
async fn states_of_shops(url: String, sender: mpsc::UnboundedSender<String>) {
    let Ok(mut answer) = http().get(format!("{url}/api/v1/events")).bearer_auth(TOKEN).send().await else { return };
    let mut text = String::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        text.push_str(&String::from_utf8_lossy(&chunk));
        while let Some((line, rest)) = text.split_once('\n') {
            let incident = line.strip_prefix("data:").and_then(|data| serde_json::from_str::<serde_json::Value>(data).ok());
            let state =
                incident.filter(|incident| incident["policy"] != "load").and_then(|i| Some(i["state"].as_str()?.to_owned()));
            if state.is_some_and(|state| sender.send(state).is_err()) {
                return;
            }
            text = rest.to_owned();
        }
    }
}
