//! Rates, latencies and processor time of the acknowledgement path.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::bodies::{self, Pool};
use crate::load::{self, Outcome, percentile};
use crate::rules::policies;
use crate::server::{How, Server, What};
use crate::table::{head, median, row, short};
use crate::{Options, floor};

/// Policies that are loaded.
const POLICIES: usize = 100;
/// Groups that take turns.
const VARIANTS: usize = 32;

/// What one round of one server gave.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    /// Requests that were taken and looked at, a second: what waited at the end of the load counts as time.
    rate: f64,
    p50: f64,
    p99: f64,
    /// Microseconds of processor time for each request.
    cpu: f64,
    /// The share of answers that were 503.
    refused: f64,
    /// Requests for each sync.
    grouped: f64,
}

/// Rates of a size and number of connections, by the name of the server.
type Rounds = BTreeMap<&'static str, Vec<Round>>;

/// The servers of a comparison: a name for the table, what it is, whether what is posted is fresh.
type Servers = Vec<(&'static str, What, bool)>;

/// The service with nobody's policies, with policies about everything that is posted, and the floors.
pub(crate) async fn rates(options: &Options) {
    let servers: Servers = vec![
        ("parse", What::Floor("parse"), true),
        ("group", What::Floor("group"), true),
        ("brief", What::Floor("brief"), true),
        ("backout", What::backout(&policies(POLICIES, false)), true),
        ("backout, wanted", What::backout(&policies(POLICIES, true)), true),
    ];
    let title = "Durable webhooks: 100 policies, every alert a new occurrence; one processor for the server";
    let all = compare(options, title, &servers, &[1, 10, 100], &[1, 16, 64], None).await;
    processor_time(&all);
}

/// Notifications that repeat what is known already.
pub(crate) async fn repeats(options: &Options) {
    let servers: Servers =
        vec![("group", What::Floor("group"), false), ("backout, wanted", What::backout(&policies(POLICIES, true)), false)];
    compare(options, "Notifications that repeat what is known", &servers, &[1, 10, 100], &[16, 64], None).await;
}

/// A disk as clouds have it.
pub(crate) async fn slow_disk(options: &Options) {
    let servers: Servers = vec![
        ("group", What::Floor("group"), true),
        ("each", What::Floor("each"), true),
        ("backout", What::backout(&policies(POLICIES, false)), true),
    ];
    let slow = Some(Duration::from_millis(1));
    compare(options, "Every sync 1 ms longer, 1 alert a body", &servers, &[1], &[16, 64], slow).await;
}

/// What people would use instead. None of them keeps anything.
pub(crate) async fn peers(options: &Options) {
    let mut servers: Servers =
        vec![("group", What::Floor("group"), true), ("backout", What::backout(&policies(POLICIES, false)), true)];
    servers.extend(options.webhook.clone().map(|program| ("webhook", What::Webhook(program), true)));
    servers.extend(options.uvicorn.clone().map(|program| ("fastapi", What::FastApi(program), true)));
    compare(options, "Peers, which keep nothing", &servers, &[1, 10], &[16, 64], None).await;
}

async fn compare(
    options: &Options,
    title: &str,
    servers: &Servers,
    sizes: &[usize],
    connections: &[usize],
    slow_sync: Option<Duration>,
) -> BTreeMap<(usize, usize), Rounds> {
    let how = How { pinned: true, slow_sync, dir: None };
    let mut all: BTreeMap<(usize, usize), Rounds> = BTreeMap::new();
    for _ in 0..options.rounds() {
        for (name, what, fresh) in servers {
            for size in sizes {
                let pool = Pool::new(*size, VARIANTS, what.path());
                let pool = if *fresh { pool } else { pool.repeating() };
                // A server for each size: what the one before left behind must not weigh on this one.
                let server = Server::start(what, &how).await;
                load::closed(server.address, &pool, 4, Duration::from_millis(200)).await;
                for count in connections {
                    let round = measure(&server, &pool, *count, options.secs()).await;
                    all.entry((*size, *count)).or_default().entry(*name).or_default().push(round);
                }
                drop(server.stop());
            }
        }
    }
    head(title, &["alerts", "connections", "server", "req/s", "of `group`", "p50 ms", "p99 ms", "CPU µs/req", "503", "req/sync"]);
    for ((size, count), rounds) in &all {
        let of = |name: &str, figure: fn(&Round) -> f64| median(&rounds[name].iter().map(figure).collect::<Vec<_>>());
        for (name, ..) in servers {
            let ratios: Vec<f64> =
                rounds[name].iter().zip(&rounds["group"]).map(|(ours, floor)| ours.rate / floor.rate).collect();
            row(&[
                size.to_string(),
                count.to_string(),
                (*name).to_owned(),
                short(of(name, |round| round.rate)),
                format!("{:.2}", median(&ratios)),
                short(of(name, |round| round.p50)),
                short(of(name, |round| round.p99)),
                short(of(name, |round| round.cpu)),
                format!("{:.0} %", of(name, |round| round.refused) * 100.0),
                if slow_sync.is_some() { short(of(name, |round| round.grouped)) } else { "–".to_owned() },
            ]);
        }
    }
    all
}

async fn measure(server: &Server, pool: &Pool, connections: usize, time: Duration) -> Round {
    server.drained().await;
    let (before, syncs) = (server.usage(), server.syncs());
    let outcome = load::closed(server.address, pool, connections, time).await;
    // What was answered and not yet looked at is work that is still owed.
    let owed = server.drained().await.as_secs_f64();
    let after = server.usage();
    let taken = outcome.ok.len().max(1) as f64;
    let Outcome { secs, ok, refused, failed } = outcome;
    assert!(failed == 0, "{failed} requests failed:\n{}", server.log());
    Round {
        rate: taken / (secs + owed),
        p50: percentile(&ok, 0.5),
        p99: percentile(&ok, 0.99),
        cpu: (after.cpu - before.cpu) / taken * 1e6,
        refused: refused.len() as f64 / (taken + refused.len() as f64),
        grouped: taken / (server.syncs() - syncs).max(1) as f64,
    }
}

/// Processor time for an alert, the whole way, against parsing alone in this process.
fn processor_time(all: &BTreeMap<(usize, usize), Rounds>) {
    let bodies: Vec<Vec<u8>> = (0..VARIANTS).map(|variant| bodies::body(100, variant)).collect();
    let parse = || {
        let (begin, mut alerts) = (Instant::now(), 0);
        while begin.elapsed() < Duration::from_millis(300) {
            alerts += bodies.iter().map(|body| floor::parse(body)).sum::<usize>();
        }
        begin.elapsed().as_secs_f64() * 1e6 / alerts as f64
    };
    let parse = median(&[parse(), parse(), parse(), parse(), parse()]);
    head("Processor time for an alert, bodies of 100, 64 connections", &["server", "µs an alert", "of parsing alone"]);
    row(&["parsing alone", &short(parse), "1.00"]);
    for (name, rounds) in &all[&(100, 64)] {
        let cpu = median(&rounds.iter().map(|round| round.cpu / 100.0).collect::<Vec<_>>());
        row(&[*name, &short(cpu), &format!("{:.2}", cpu / parse)]);
    }
}

/// Twice as many requests as it can do: what is not taken must be told so at once.
pub(crate) async fn overload(options: &Options) {
    // So many connections have no more than 512 notifications on their way: an inbox of the usual size would never be full.
    let what = match What::backout(&policies(POLICIES, true)) {
        What::Backout { rules, args, .. } => What::Backout { rules, config: "http: {inbox: 128}\n".to_owned(), args },
        other => other,
    };
    let how = How { pinned: true, ..How::default() };
    let columns = ["alerts", "can do req/s", "posted req/s", "taken req/s", "503", "other", "p99 ms of a 200", "p99 ms of a 503"];
    let mut rows = Vec::new();
    for size in [1, 100] {
        let mut rounds: Vec<[f64; 7]> = Vec::new();
        for _ in 0..options.rounds() {
            let server = Server::start(&what, &how).await;
            let pool = Pool::new(size, VARIANTS, what.path());
            let able = measure(&server, &pool, 64, options.secs() * 2).await.rate;
            let outcome = load::open(server.address, &pool, 512, able * 2.0, options.secs() * 2).await;
            let (ok, refused, failed) = (outcome.ok.len() as f64, outcome.refused.len() as f64, outcome.failed as f64);
            rounds.push([
                able,
                (ok + refused + failed) / outcome.secs,
                outcome.rate(),
                refused / (refused + failed).max(1.0) * 100.0,
                failed,
                percentile(&outcome.ok, 0.99),
                percentile(&outcome.refused, 0.99),
            ]);
            drop(server.stop());
        }
        let figures: [f64; 7] = std::array::from_fn(|at| median(&rounds.iter().map(|round| round[at]).collect::<Vec<_>>()));
        rows.push((size, figures));
    }
    head("Overload: twice what it can do, 512 connections at a fixed rate, an inbox of 128", &columns);
    for (size, [can, posted, taken, refused, other, ok, no]) in rows {
        row(&[
            size.to_string(),
            short(can),
            short(posted),
            short(taken),
            format!("{refused:.1} % of refusals"),
            short(other),
            short(ok),
            short(no),
        ]);
    }
}
