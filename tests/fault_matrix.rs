//! Every dependency, and its ways to fail: what is decided, who is told, what is written. `docs/faults.md` is the table of it.
//!
//! ```text
//! cargo test --test fault_matrix                                asserts every cell, and that the page says the same
//! BACKOUT_BLESS=1 cargo test --test fault_matrix                writes the page anew: read what changed
//! BACKOUT_FAULT=Prometheus cargo test --test fault_matrix       only rows with that in their first cells; the page is not looked at
//! ```

#[path = "faults/assembled.rs"]
mod assembled;
#[path = "faults/between.rs"]
mod between;
#[path = "faults/shop.rs"]
mod shop;
mod support;
#[path = "faults/table.rs"]
mod table;

use std::os::unix::fs::symlink;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use assembled::Simulated;
use axum::Router;
use backout::model::{Moment, Urgency};
use backout::store::SqliteOptions;
use between::{Api, Fact, answer, serve};
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};
use shop::{City, Shop, Tweak, moments};
use support::{Backout, Setup, Sink, eventually, now, with_namespace_for};
use table::{Cells, Row, metric};
use tokio::io::AsyncWriteExt as _;

const SOON: Duration = Duration::from_secs(60);
/// A page through a channel that is down is tried there for a quarter of a minute first.
const LATER: Duration = Duration::from_secs(150);
/// Rows that run at once.
const AT_ONCE: usize = 8;

const VERIFIED: &str = "backout_attempts_total{policy=\"shop\",result=\"verified\"}";
const STALE: &str = "backout_brake_holding{brake=\"stale_facts\"}";
const UNKNOWN: &str = "backout_decisions_total{outcome=\"page\",policy=\"shop\",reason=\"rule_unknown\"}";

/// What no run shows yet, and why.
const LATER_ROWS: [(&str, &str); 1] = [(
    "a channel that takes a page and loses it (a webhook of one's own that answers 200)",
    "nobody but the receiver can know; a receipt of delivery is not part of the protocol",
)];

type Run<'a> = (&'static str, &'static str, LocalBoxFuture<'a, Option<Cells>>);

#[expect(clippy::disallowed_methods, reason = "a test's own switches")]
fn switch(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[expect(clippy::print_stderr, reason = "a row that checks nothing says so")]
fn say(text: &str) {
    eprintln!("{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_leads_to_what_the_page_says() {
    with_namespace_for(Duration::from_secs(1200), async |ns| {
        let city = City::found(&ns).await;
        let only = switch("BACKOUT_FAULT");
        let wanted = |run: &Run<'_>| only.as_ref().is_none_or(|only| format!("{} {}", run.0, run.1).contains(only.as_str()));
        let runs = api_server(&city).into_iter().chain(prometheus(&city)).chain(alertmanager(&city)).chain(people());
        let runs = runs.chain(store(&city)).chain(policies(&city)).chain(machine(&city)).filter(wanted);
        let told = futures_util::stream::iter(runs)
            .map(|(part, fault, run)| async move { (part, fault, AssertUnwindSafe(run).catch_unwind().await) });
        let (mut rows, mut wrong) = (Vec::new(), Vec::new());
        for (part, fault, cells) in told.buffered(AT_ONCE).collect::<Vec<_>>().await {
            match cells {
                Ok(cells) => {
                    if cells.is_none() {
                        say(&format!("SKIPPED: {part}, {fault}: this machine does not let a test do that"));
                    }
                    rows.push(Row { part, fault, cells });
                }
                Err(panic) => {
                    let why = panic.downcast_ref::<String>().cloned();
                    wrong.push(format!("{part}, {fault}: {}", why.unwrap_or_else(|| "panicked".to_owned())));
                }
            }
        }
        wrong.extend(rows.iter().flat_map(Row::wrong));
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        let page = table::page(&rows, &LATER_ROWS);
        if only.is_some() {
            return say(&page);
        }
        table::check(&page, switch("BACKOUT_BLESS").is_some());
    })
    .await;
}

fn run<'a>(part: &'static str, fault: &'static str, cells: impl Future<Output = Cells> + 'a) -> Run<'a> {
    (part, fault, cells.map(Some).boxed_local())
}

/// A bad release of a shop that is watched; the fault comes when the alert is about to be told.
async fn told(city: &City, name: &str, tweak: Tweak, series: &'static str, fault: impl AsyncFnOnce(&Shop)) -> Cells {
    let shop = Shop::open(city, name, tweak).await;
    let body = shop.bad_release().await;
    fault(&shop).await;
    assert_eq!(shop.backout.post_webhook(&body).await, 200);
    shop.cells(series).await
}

fn api_server(city: &City) -> Vec<Run<'_>> {
    let plain = Tweak::default;
    let part = "API server";
    let meddled = |fault, name: &'static str, how: Api, series| {
        run(part, fault, told(city, name, plain(), series, async move |shop: &Shop| shop.api.meddle(how)))
    };
    let permission = "backout_pages_total{policy=\"shop\",reason=\"brake_held\"}";
    let failed = "backout_attempts_total{policy=\"shop\",result=\"failed\"}";
    vec![
        run("–", "none", told(city, "none", plain(), VERIFIED, async |_: &Shop| {})),
        run(
            part,
            "down",
            told(city, "api-down", plain(), "backout_pages_total{policy=\"shop\",reason=\"unresolved\"}", async |shop: &Shop| {
                shop.api.gate.close()
            }),
        ),
        meddled("401 to everything", "api-401", Api::All(401), "backout_pages_total{policy=\"shop\",reason=\"unresolved\"}"),
        meddled("403 to patches", "api-403", Api::Patches(403), permission),
        meddled("403 to the write only", "api-403-write", Api::Writes(403), permission),
        meddled("409 to each write", "api-409", Api::Writes(409), failed),
        meddled("409 to one write", "api-409-once", Api::NextWrite(409), VERIFIED),
        meddled("422 to each write", "api-422", Api::Writes(422), failed),
        meddled("429 to each write", "api-429", Api::Writes(429), failed),
        meddled("500 to each write", "api-500", Api::Writes(500), failed),
        meddled("504, and it was written", "api-504", Api::WrittenAnd504, VERIFIED),
        run(part, "the watch is silent", silent_watch(city)),
        run(part, "reads and watch are stale while somebody deploys", stale_reads(city)),
        run(part, "the watch's history is gone (410)", history_gone(city)),
    ]
}

async fn silent_watch(city: &City) -> Cells {
    // Something happens each second, so that a watch that hears is told from one that does not.
    city.ns.deploy("heart", "shop:1", 1).await;
    let beating = async {
        loop {
            city.ns.patch("heart", json!({ "metadata": { "annotations": { "beat": now().to_string() } } })).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let tweak = Tweak { brakes: "      stale_facts: {watch: 8s}", ..Tweak::default() };
    let row = told(city, "api-silent", tweak, STALE, async |shop: &Shop| {
        shop.api.meddle(Api::SilentWatch);
        eventually("the watch is old", SOON, async || {
            let age = shop.backout.metric("backout_watch_age_seconds", &[]).await;
            if age > 10.0 { Ok(()) } else { Err(age.to_string()) }
        })
        .await;
    });
    tokio::select! {
        cells = row => cells,
        () = beating => unreachable!("it beats for ever"),
    }
}

/// The decision is of before somebody deployed, and nothing that is read says so: the write's guard does.
async fn stale_reads(city: &City) -> Cells {
    let shop = Shop::open(city, "api-stale", Tweak { countdown: "5s", ..Tweak::default() }).await;
    shop.fail().await;
    shop.incident("countdown", |incident| incident["state"] == "countdown").await;
    shop.api.meddle(Api::Stale);
    shop.ns.set_image(&shop.name, "shop:3-faulty").await;
    let cells = shop.cells("backout_pages_total{policy=\"shop\",reason=\"preflight\"}").await;
    assert_eq!(shop.ns.image(&shop.name).await, "shop:3-faulty", "a human wins");
    cells
}

async fn history_gone(city: &City) -> Cells {
    let shop = Shop::open(city, "api-410", Tweak::default()).await;
    shop.api.forget_history();
    eventually("both watches were told", SOON, async || match shop.api.left_to_forget() {
        0 => Ok(()),
        left => Err(left.to_string()),
    })
    .await;
    shop.watched_healthy().await;
    shop.fail().await;
    shop.cells(VERIFIED).await
}

fn prometheus(city: &City) -> Vec<Run<'_>> {
    let part = "Prometheus";
    let spoiled = |fault, name: &'static str, fact: Fact, series| {
        run(part, fault, told(city, name, Tweak::default(), series, async move |shop: &Shop| shop.prometheus.spoil(fact)))
    };
    let unanswered = "backout_observations_total{result=\"unanswered\",source=\"prometheus\"}";
    vec![
        run(
            part,
            "down",
            told(city, "prom-down", Tweak::default(), unanswered, async |shop: &Shop| shop.prometheus.gate.close()),
        ),
        spoiled("no sample", "prom-empty", Fact::Empty, UNKNOWN),
        spoiled("NaN", "prom-nan", Fact::NotANumber, UNKNOWN),
        spoiled("two series", "prom-many", Fact::Many, UNKNOWN),
        spoiled("a range instead of a number", "prom-type", Fact::WrongType, UNKNOWN),
        spoiled("slower than its time", "prom-slow", Fact::Slow, UNKNOWN),
        spoiled("30-minute-old data", "prom-old", Fact::Old, STALE),
    ]
}

fn alertmanager(city: &City) -> Vec<Run<'_>> {
    let part = "Alertmanager";
    let unanswered = "backout_observations_total{result=\"unanswered\",source=\"alertmanager\"}";
    vec![
        run(part, "down", told(city, "am-down", Tweak::default(), STALE, async |shop: &Shop| shop.peers[0].close())),
        run(part, "restarted and empty", async {
            let nobody = Sink::start().await;
            let config = support::route_to_webhook(nobody.url(), Duration::from_secs(1));
            let empty = support::Alertmanager::start_alone(support::Release::New, &config).await;
            let tweak = Tweak { peer_up: "10m", ..Tweak::default() };
            told(city, "am-empty", tweak, STALE, async |shop: &Shop| {
                shop.peers[0].lead_to(empty.url().trim_start_matches("http://"));
                // Connections that lead to the old one end.
                shop.peers[0].close();
                tokio::time::sleep(Duration::from_millis(200)).await;
                shop.peers[0].open();
            })
            .await
        }),
        run(part, "one of two peers gone", {
            let tweak = Tweak { peers: 2, verify: "12s", ..Tweak::default() };
            told(city, "am-peer", tweak, unanswered, async |shop: &Shop| shop.peers[1].close())
        }),
        run(part, "*resolved* is never sent", told(city, "am-unresolved", Tweak::default(), VERIFIED, async |_: &Shop| {})),
    ]
}

const PAGES: &str = "
policies:
  - name: shop
    mode: enforce
    paging: in_front
    targets: ['*/*']
    decide: [{name: look, page: {}}]
";

/// Without a cluster, with one policy that pages, and these settings.
fn alone(config: String) -> Setup {
    Setup {
        config: format!("tokens: {{read: [token], operate: [token]}}\n{config}"),
        rules: vec![("policy.yaml".to_owned(), PAGES.to_owned())],
        cluster_name: "test".to_owned(),
        ..Setup::default()
    }
}

fn notification(name: &str) -> Value {
    json!({ "version": "4", "receiver": "hook", "status": "firing", "alerts": [{
        "status": "firing", "labels": { "alertname": name, "severity": "critical" }, "annotations": {},
        "startsAt": now().to_string(), "endsAt": "0001-01-01T00:00:00Z",
    }]})
}

/// A channel that fails like this, and one behind it that does not.
fn people<'a>() -> Vec<Run<'a>> {
    let part = "channel";
    let webhook = |url: &str| format!("webhook: {{url: 'http://{url}/'}}");
    vec![
        run(part, "down", async move { second_channel(&webhook("127.0.0.1:1")).await }),
        run(part, "takes for ever", async move {
            let (address, _server) = serve(Router::new().fallback(|| async { std::future::pending::<String>().await })).await;
            second_channel(&webhook(&address)).await
        }),
        run(part, "429", async move {
            let (address, _server) = serve(Router::new().fallback(|| async { answer(429, &json!({})) })).await;
            second_channel(&webhook(&address)).await
        }),
        run(part, "an Alertmanager that says 200 and shows nothing", async {
            let (address, _server) = serve(Router::new().fallback(|| async { answer(200, &json!([])) })).await;
            second_channel(&format!("alertmanager: {{urls: ['http://{address}']}}")).await
        }),
    ]
}

async fn second_channel(first: &str) -> Cells {
    let people = Sink::start().await;
    let channels = format!(
        "channels:\n- {{name: pager, {first}}}\n- {{name: people, per_second: 1000, burst: 1000, webhook: {{url: '{}', takes: [page]}}}}\n",
        people.url()
    );
    let backout = Backout::start(alone(channels)).await;
    assert_eq!(backout.post_webhook(&notification("Errors")).await, 200);
    eventually("the page on the second channel", LATER, async || {
        let paged = people.received().iter().any(|body| body["urgency"] == "page");
        let metrics = backout.metrics().await;
        let told = metrics.lines().filter(|line| line.starts_with("backout_notifications_total{") && !line.ends_with(" 0"));
        if paged { Ok(()) } else { Err(told.collect::<Vec<_>>().join("; ")) }
    })
    .await;
    let series = "backout_notifications_total{channel=\"pager\",result=\"failed\"}";
    eventually("the first one is counted as failed", SOON, async || {
        let labels = [("channel", "pager"), ("result", "failed")];
        let count = backout.metric("backout_notifications_total", &labels).await;
        if count >= 1.0 { Ok(()) } else { Err(count.to_string()) }
    })
    .await;
    let told = moments(&people).into_iter().map(|told| format!("{told}, by the next channel")).collect();
    paged(&backout, told, series).await
}

/// The cells of the one incident of a process without a cluster.
async fn paged(backout: &Backout, told: Vec<String>, series: &str) -> Cells {
    let incident = eventually("the incident is paged", SOON, async || {
        let answer = backout.get("/api/v1/incidents?state=paged").await?;
        answer["incidents"][0].as_object().cloned().ok_or_else(|| answer.to_string())
    })
    .await;
    let text = |key: &str| incident[key].as_str().map(str::to_owned);
    let verdict = format!("{}, {}", text("outcome").unwrap_or_else(|| "page".to_owned()), text("reason").unwrap_or_default());
    Cells { verdict, brake: text("brake"), told, written: 0, metric: metric(backout, series).await }
}

fn store(_: &City) -> Vec<Run<'_>> {
    let part = "journal";
    vec![
        run(part, "full", async {
            // What the good release led to fits, and little more.
            let simulated = Simulated::start(SqliteOptions { page_limit: Some(60), ..SqliteOptions::default() }).await;
            eventually("alerts are refused", SOON, async || match simulated.post(20_000).await {
                503 => Ok(()),
                status => Err(status.to_string()),
            })
            .await;
            simulated.told(|moment, urgency| (moment, urgency) == (Moment::Blind, Urgency::Page)).await;
            simulated.cells("backout_store_commit_failures_total").await
        }),
        run(part, "does not answer", async {
            let mut simulated = Simulated::start(SqliteOptions::default()).await;
            simulated.hang(true);
            simulated.bad_release();
            assert_eq!(simulated.posted().await, 503);
            simulated.told(|moment, urgency| (moment, urgency) == (Moment::Blind, Urgency::Page)).await;
            simulated.cells("backout_webhook_requests_total{result=\"store_late\",source=\"alertmanager\"}").await
        }),
        (part, "read-only", read_only().boxed_local()),
        run(part, "damaged", async {
            let (people, folder) = (Sink::start().await, tempfile::tempdir().expect("a folder"));
            let mut whole = Backout::start(alone(channel(&people))).await;
            assert_eq!(whole.post_webhook(&notification("Errors")).await, 200);
            assert!(whole.stop().await.success());
            for name in ["journal.db", "journal.id"] {
                std::fs::copy(whole.data_dir().join(name), folder.path().join(name)).expect("copied");
            }
            let journal = folder.path().join("journal.db");
            let mut bytes = std::fs::read(&journal).expect("a journal");
            let middle = bytes.len() / 2;
            bytes[middle - 2048..middle + 2048].fill(0xa5);
            std::fs::write(&journal, &bytes).expect("written");
            let cells = refused(Setup { data: Some(folder.path().to_owned()), ..alone(channel(&people)) }, "is damaged").await;
            assert_eq!(std::fs::read(&journal).expect("still there"), bytes, "nothing is repaired by itself");
            cells
        }),
    ]
}

fn channel(people: &Sink) -> String {
    format!("channels: [{{name: people, per_second: 1000, burst: 1000, webhook: {{url: '{}'}}}}]\n", people.url())
}

/// It ended by itself, and said why.
async fn refused(setup: Setup, word: &str) -> Cells {
    let mut backout = Backout::spawn(setup);
    let status = backout.wait_end().await;
    let log = backout.log();
    assert!(status.code() == Some(2) && log.contains(word), "{status}: {log}");
    Cells {
        verdict: "none: it does not start".to_owned(),
        brake: None,
        told: vec!["standard error, exit code 2".to_owned()],
        written: 0,
        metric: "`up` is 0".to_owned(),
    }
}

/// A small file system of its own; gone with the test.
struct Mount(PathBuf);

impl Mount {
    /// `None` where mounting is not allowed.
    fn tmpfs(at: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a folder");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
        done.is_ok_and(|done| done.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: whoever still uses it keeps it until then.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

async fn read_only() -> Option<Cells> {
    let (people, folder) = (Sink::start().await, tempfile::tempdir().expect("a folder"));
    let disk = folder.path().join("disk");
    let _mount = Mount::tmpfs(&disk, "ro")?;
    Some(refused(Setup { data: Some(disk), ..alone(channel(&people)) }, "check that the folder exists, is writable").await)
}

fn policies(city: &City) -> Vec<Run<'_>> {
    let part = "policy folder";
    let broken = |fault, name: &'static str, how: fn(&Path)| {
        run(part, fault, async move {
            let shop = Shop::open(city, name, Tweak::default()).await;
            how(&shop.backout.rules_dir());
            eventually("the reload is refused", SOON, async || {
                let success = shop.backout.metric("backout_policy_reload_success", &[]).await;
                if success == 0.0 { Ok(()) } else { Err(success.to_string()) }
            })
            .await;
            assert!(shop.backout.log().contains("policies NOT reloaded"), "{}", shop.backout.log());
            shop.fail().await;
            let mut cells = shop.cells("backout_policy_reload_success").await;
            cells.told.insert(0, "the log".to_owned());
            cells
        })
    };
    vec![
        broken("gone", "rules-gone", |rules| std::fs::remove_dir_all(rules).expect("removed")),
        broken("half-written", "rules-half", |rules| {
            let file = rules.join("shop.yaml");
            let text = std::fs::read_to_string(&file).expect("a policy");
            std::fs::write(&file, &text[..text.len() / 2]).expect("written");
        }),
        run(part, "its link is turned to other policies", turned(city)),
    ]
}

/// As the kubelet mounts a ConfigMap: files are links into `..data`, which is a link that is turned.
async fn turned(city: &City) -> Cells {
    let volume = tempfile::tempdir().expect("a folder");
    let at = |name: &str| volume.path().join(name);
    let first = shop::policy(&city.ns.name, "rules-turned", &Tweak::default());
    let second = first.replace("rollback: quick}", "page: {}}\n      - {name: more, when: 'facts.errors > 1', rollback: quick}");
    for (version, text) in [("..1", &first), ("..2", &second)] {
        std::fs::create_dir(at(version)).expect("a folder");
        std::fs::write(at(version).join("shop.yaml"), text).expect("written");
    }
    symlink("..1", at("..data")).expect("a link");
    symlink("..data/shop.yaml", at("shop.yaml")).expect("a link");
    let shop = Shop::open(city, "rules-turned", Tweak { rules_dir: Some(volume.path().to_owned()), ..Tweak::default() }).await;
    let before = shop.backout.get("/api/v1/policies").await.expect("policies")["hash"].clone();
    symlink("..2", at("..data_tmp")).expect("a link");
    std::fs::rename(at("..data_tmp"), at("..data")).expect("turned");
    std::fs::remove_dir_all(at("..1")).expect("gone");
    eventually("the other policies are in force", SOON, async || {
        let hash = shop.backout.get("/api/v1/policies").await?["hash"].clone();
        if hash == before { Err("not yet".to_owned()) } else { Ok(()) }
    })
    .await;
    shop.fail().await;
    shop.cells("backout_policy_reload_success").await
}

fn machine(city: &City) -> Vec<Run<'_>> {
    let part = "machine";
    let leaps = "backout_clock_leaps_total";
    let set = |fault, by: i64| {
        run(part, fault, async move {
            let mut simulated = Simulated::start(SqliteOptions::default()).await;
            simulated.bad_release();
            assert_eq!(simulated.posted().await, 200);
            simulated.opened().await;
            simulated.set_clock(by);
            simulated.told(|_, urgency| urgency == Urgency::Page).await;
            simulated.cells(leaps).await
        })
    };
    vec![
        set("the clock is set back 1 h", -3_600_000),
        set("the clock is set forward 1 h", 3_600_000),
        (part, "the disk is full, and has room again", full_disk(city).boxed_local()),
        run(part, "no file handles, and then some", no_handles(city)),
        run(part, "the memory for bodies is spent, and then free", no_memory()),
    ]
}

async fn full_disk(city: &City) -> Option<Cells> {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("disk");
    let _mount = Mount::tmpfs(&disk, "size=8m")?;
    let shop = Shop::open(city, "disk-full", Tweak { data: Some(disk.join("data")), ..Tweak::default() }).await;
    let ballast = disk.join("ballast");
    // Until nothing fits any more: the last blocks go one by one.
    let fill = Command::new("dd").arg("if=/dev/zero").arg(format!("of={}", ballast.display())).arg("bs=4096").output();
    assert!(fill.is_ok_and(|fill| !fill.status.success()), "the disk is full");
    // What is allocated already may still take a few.
    let padded = json!({ "version": "4", "receiver": "hook", "status": "firing", "alerts": [{
        "status": "firing", "labels": { "alertname": "Other", "padding": noise(20_000) }, "annotations": {},
        "startsAt": now().to_string(), "endsAt": "0001-01-01T00:00:00Z",
    }]});
    eventually("alerts are refused", SOON, async || match shop.backout.post_webhook(&padded).await.as_u16() {
        503 => Ok(()),
        status => Err(status.to_string()),
    })
    .await;
    let body = shop.bad_release().await;
    shop.people.wait_for("a page from memory", LATER, |body| body["moment"] == "blind").await;
    assert_eq!(shop.written().await, 0);
    std::fs::remove_file(&ballast).expect("room again");
    eventually("the alert is taken", SOON, async || match shop.backout.post_webhook(&body).await.as_u16() {
        200 => Ok(()),
        status => Err(status.to_string()),
    })
    .await;
    Some(shop.cells("backout_store_commit_failures_total").await)
}

/// Text that nothing makes shorter.
fn noise(length: usize) -> String {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state % 90) as u8)
    };
    std::iter::repeat_with(next).filter(|c| !matches!(c, '"' | '\\')).take(length).collect()
}

async fn no_handles(city: &City) -> Cells {
    let shop = Shop::open(city, "no-handles", Tweak::default()).await;
    let body = shop.bad_release().await;
    let pid = shop.backout.pid();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("Linux").count();
    limit_files(pid, open);
    // A connection of its own: it can be made, and nobody takes it.
    let (http, hook) = (support::http(), shop.backout.webhook_url());
    let posted = async { http.post(&hook).json(&body).send().await };
    let raised = async {
        // Nor does anybody get figures.
        let scrape = support::http().get(format!("{}/metrics", shop.backout.url())).send();
        let scraped = tokio::time::timeout(Duration::from_secs(3), scrape).await;
        assert!(!scraped.is_ok_and(|answer| answer.is_ok()), "nobody is served");
        assert_eq!(shop.written().await, 0, "nothing is written meanwhile");
        limit_files(pid, 1024);
    };
    let (posted, ()) = tokio::join!(posted, raised);
    let status = match posted {
        Ok(answer) => answer.status(),
        // As Alertmanager does.
        Err(_) => shop.backout.post_webhook(&body).await,
    };
    assert_eq!(status, 200);
    let cells = shop.cells(VERIFIED).await;
    Cells { metric: "`up` is 0 meanwhile".to_owned(), ..cells }
}

fn limit_files(pid: u32, files: usize) {
    let done = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={files}:")]).output();
    assert!(done.is_ok_and(|done| done.status.success()), "prlimit");
}

/// Bodies that are being read have a budget.
async fn no_memory() -> Cells {
    let people = Sink::start().await;
    let backout =
        Backout::start(alone(format!("{}http: {{body_limit: 64KiB, bytes_in_flight: 64KiB}}\n", channel(&people)))).await;
    let address = backout.url().trim_start_matches("http://").to_owned();
    let head = format!(
        "POST /v1/webhook/alertmanager HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: 65500\r\n\r\n"
    );
    let slow = eventually("the next one is refused", SOON, async || {
        let mut slow = tokio::net::TcpStream::connect(&address).await.map_err(|error| error.to_string())?;
        slow.write_all(head.as_bytes()).await.map_err(|error| error.to_string())?;
        slow.write_all(&[b' '; 60_000]).await.map_err(|error| error.to_string())?;
        // By then it is being read.
        tokio::time::sleep(Duration::from_millis(300)).await;
        match backout.post_webhook(&notification("Errors")).await.as_u16() {
            503 => Ok(slow),
            status => Err(status.to_string()),
        }
    })
    .await;
    drop(slow);
    eventually("it is taken again", SOON, async || match backout.post_webhook(&notification("Errors")).await.as_u16() {
        200 => Ok(()),
        status => Err(status.to_string()),
    })
    .await;
    people.wait_for("a page", SOON, |body| body["urgency"] == "page").await;
    let mut told = vec!["the sender (503)".to_owned()];
    told.extend(moments(&people));
    paged(&backout, told, "backout_webhook_requests_total{result=\"bytes_full\",source=\"alertmanager\"}").await
}
