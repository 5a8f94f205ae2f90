//! How long it takes until the service answers: with an empty journal, and with a long one.

use std::time::Duration;

use backout::decide::book::Book;
use backout::decide::effect::{Context, Effect, Input};
use backout::decide::limits::Limits;
use backout::decide::step;
use backout::journal::receipt;
use backout::journal::record::{self, Stamped};
use backout::model::{Onset, Resolution, Source, Time, Unknown, UnknownKind};
use backout::policy::{self, SourceFile};
use backout::ports::{RowKind, Store as _};
use backout::store::{SqliteOptions, SqliteStore};
use tokio::time::Instant;

use crate::Options;
use crate::bodies::Pool;
use crate::rules::policies;
use crate::server::{How, Server, What};
use crate::table::{head, median, row, short};

/// Records that a row holds: what the engine steps before it commits.
const ROW: usize = 256;

pub(crate) async fn run(options: &Options) {
    let records = if options.quick { 20_000 } else { 1_000_000 };
    head(
        "From the start of the process to the first 200 of `/-/ready`, ms",
        &["journal", "median", "least", "greatest", "remarks"],
    );
    let fresh = What::backout(&policies(100, true));
    let mut empty = Vec::new();
    for _ in 0..options.rounds() * 5 {
        let server = Server::start(&fresh, &How::default()).await;
        empty.push(server.started_in.as_secs_f64() * 1000.0);
        drop(server.stop());
    }
    print("none yet", &empty, "");
    let folder = tempfile::tempdir().expect("a folder");
    let remarks = long_journal(&folder.path().join("data"), records).await;
    let mut long = Vec::new();
    for _ in 0..options.rounds() {
        // The end of a run writes a snapshot, which the next one would start from.
        let copy = tempfile::tempdir().expect("a folder");
        copy_files(&folder.path().join("data"), &copy.path().join("data"));
        let how = How { dir: Some(copy.path().to_owned()), ..How::default() };
        let server = Server::start(&fresh, &how).await;
        long.push(server.started_in.as_secs_f64() * 1000.0);
        drop(server.stop());
    }
    print(&format!("{records} records, no snapshot"), &long, &remarks);
}

fn print(what: &str, figures: &[f64], remarks: &str) {
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = figures.iter().copied().fold(0.0, f64::max);
    row(&[what, &short(median(figures)), &short(least), &short(greatest), remarks]);
}

/// Lives through so many records with the service's own brain, and writes them as the engine does.
async fn long_journal(dir: &std::path::Path, records: usize) -> String {
    let files: Vec<SourceFile> =
        policies(100, true).into_iter().map(|(path, text)| SourceFile { path, bytes: text.into_bytes() }).collect();
    let policies = policy::load(&files, false).expect("policies").policies;
    let limits = Limits::default();
    let context = Context { policies: &policies, limits: &limits, cluster: None };
    let store = SqliteStore::open(dir, SqliteOptions::default()).expect("a journal");
    let (mut book, mut row, mut written, mut bytes, mut alerts) = (Book::default(), Vec::new(), 0, 0, 0);
    let mut pool = Pool::new(1, 32, "/");
    let mut now = Time::from_millis(1_780_000_000_000);
    let mut inputs = vec![Input::Started { program: "measure".to_owned() }, Input::Loaded];
    while written < records {
        if inputs.is_empty() {
            let request = pool.next();
            let at = request.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
            let notification = receipt::read(Source::Alertmanager, &request[at..], now).ok();
            alerts += 1;
            inputs.push(Input::Received { seq: alerts, at: now, notification });
        }
        for input in std::mem::take(&mut inputs) {
            let step = step(&context, &book, input, now);
            for stamped in step.records {
                book.fold(&stamped).expect("it fits");
                row.push(stamped);
            }
            inputs.extend(step.effects.into_iter().filter_map(answered));
        }
        now = now + Duration::from_millis(2);
        if row.len() >= ROW {
            written += row.len();
            bytes += append(&store, now, &mut row).await;
        }
    }
    drop(store);
    format!("{alerts} alerts in {} open incidents, {} MB", book.open().count(), bytes / 1_000_000)
}

async fn append(store: &SqliteStore, now: Time, row: &mut Vec<Stamped>) -> usize {
    let encoded = record::encode(&std::mem::take(row)).expect("encoded");
    let bytes = encoded.len();
    store.append(RowKind::Step, now, encoded.into()).await.expect("committed");
    bytes
}

/// Nothing is found: there is no cluster. Everything else is left to time.
fn answered(effect: Effect) -> Option<Input> {
    let Effect::Locate { occurrence, lane, .. } = effect else { return None };
    let onset =
        Onset { at: Err(Unknown::new(UnknownKind::NotConfigured, "no Prometheus is configured")), source: "none".to_owned() };
    Some(Input::Located {
        occurrence,
        lane,
        resolution: Resolution::Unresolved { why: "no cluster is configured".to_owned() },
        onset,
    })
}

fn copy_files(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
    // What was copied a moment ago must not have to be written to the disk by what is measured.
    let begin = Instant::now();
    let _ = std::process::Command::new("sync").arg("-f").arg(to).status();
    assert!(begin.elapsed() < Duration::from_secs(60), "the disk is too slow to measure anything");
}
