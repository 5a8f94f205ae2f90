//! How much memory the service takes: idle, with many alerts, and while large bodies come in.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Options;
use crate::bodies::{Pool, body, request};
use crate::load::ask;
use crate::rules::policies;
use crate::server::{How, Server, Usage, What};
use crate::table::{head, median, row, short};

/// How long the allocator gets to give back what is not needed.
const SETTLE: Duration = Duration::from_secs(12);

pub(crate) async fn run(options: &Options) {
    head("Memory, MB", &["what", "resident", "anonymous", "peak", "remarks"]);
    let mut idle = Vec::new();
    for _ in 0..options.rounds() {
        let server = Server::start(&What::backout(&policies(100, false)), &How::default()).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        idle.push(server.usage());
        drop(server.stop());
    }
    print("idle, 100 policies, no cluster", &idle, "2 s after the start");
    let mut firing = Vec::new();
    let mut said = String::new();
    for _ in 0..options.rounds() {
        let (usage, text) = many_alerts(if options.quick { 10_000 } else { 100_000 }).await;
        firing.push(usage);
        said = text;
    }
    print("100,000 firing alerts, all of them in incidents", &firing, &said);
    let mut large = Vec::new();
    for _ in 0..options.rounds() {
        let (usage, text) = large_bodies(options.secs() * 2).await;
        large.push(usage);
        said = text;
    }
    print("256 connections that post 1.27 MB each", &large, &said);
}

fn print(what: &str, figures: &[Usage], remarks: &str) {
    let of = |figure: fn(&Usage) -> f64| short(median(&figures.iter().map(figure).collect::<Vec<_>>()));
    row(&[what, &of(|usage| usage.rss), &of(|usage| usage.anonymous), &of(|usage| usage.peak), remarks]);
}

/// So many alerts, each of which a policy is about.
async fn many_alerts(count: usize) -> (Usage, String) {
    let what = What::backout(&policies(100, true));
    let server = Server::start(&what, &How::default()).await;
    let mut pool = Pool::new(100, 100, what.path());
    let (mut connection, mut posted) = (None, 0);
    let begin = Instant::now();
    while posted < count {
        match ask(&mut connection, server.address, pool.next()).await {
            Some(200) => posted += 100,
            Some(503) => tokio::time::sleep(Duration::from_millis(10)).await,
            other => panic!("answered {other:?}:\n{}", server.log()),
        }
    }
    server.drained().await;
    // Each alert's target is looked for before it is in an incident: that takes a moment more.
    let took = begin.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLE).await;
    let usage = server.usage();
    let open = server.metric("backout_incidents_open").await.unwrap_or(0.0);
    drop(server.stop());
    (usage, format!("{open} incidents; taken in within {took:.1} s"))
}

/// More bytes at once than the service takes: it must say 503 to the rest, not grow.
async fn large_bodies(time: Duration) -> (Usage, String) {
    let what = What::backout(&policies(100, false));
    let server = Server::start(&what, &How::default()).await;
    let (address, begin) = (server.address, Instant::now());
    let bytes: std::rc::Rc<[u8]> = request(what.path(), &body(1000, 0)).into();
    let mut tasks = JoinSet::new();
    let local = tokio::task::LocalSet::new();
    for _ in 0..256 {
        let bytes = bytes.clone();
        tasks.spawn_local_on(
            async move {
                let (mut connection, mut taken, mut refused) = (None, 0_u64, 0_u64);
                while begin.elapsed() < time {
                    match ask(&mut connection, address, &bytes).await {
                        Some(200) => taken += 1,
                        Some(503) => {
                            refused += 1;
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                        _ => {}
                    }
                }
                (taken, refused)
            },
            &local,
        );
    }
    let (mut taken, mut refused) = (0, 0);
    local
        .run_until(async {
            while let Some(done) = tasks.join_next().await {
                let (more, less) = done.expect("a task of ours");
                taken += more;
                refused += less;
            }
        })
        .await;
    let usage = server.usage();
    drop(server.stop());
    (usage, format!("{taken} taken, {refused} answered 503 in {:.1} s", begin.elapsed().as_secs_f64()))
}
