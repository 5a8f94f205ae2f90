//! The journal on real files: what it promises when all is well, when it is killed, and when somebody has damaged it.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use rusqlite::Connection;
use tempfile::TempDir;

use super::{OpenError, SqliteOptions, SqliteStore};
use crate::model::{Digest, Time};
use crate::ports::{Row, RowKind, Store, StoreError};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(dir, SqliteOptions::default()).expect("a journal")
}

fn refusal(dir: &Path) -> String {
    SqliteStore::open(dir, SqliteOptions::default()).expect_err("must be refused").to_string()
}

fn at(millis: i64) -> Time {
    Time::from_millis(millis)
}

async fn append(store: &SqliteStore, body: &str) -> u64 {
    store.append(RowKind::Receipt, at(1), Bytes::copy_from_slice(body.as_bytes())).await.expect("committed")
}

async fn bodies(store: &SqliteStore) -> Vec<String> {
    let rows = store.read_after(0, 100_000).await.expect("rows");
    rows.iter().map(|row| String::from_utf8_lossy(&row.body).into_owned()).collect()
}

/// What a kill at this moment leaves: the files as they are, without closing anything.
fn killed(dir: &Path) -> TempDir {
    let copy = folder();
    for name in ["journal.db", "journal.db-wal", "journal.id", "journal.lock"] {
        if dir.join(name).exists() {
            fs::copy(dir.join(name), copy.path().join(name)).expect("a copy");
        }
    }
    copy
}

fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).expect("the file");
    file.seek(SeekFrom::Start(offset)).expect("seek");
    file.write_all(bytes).expect("write");
}

fn wal(dir: &Path) -> PathBuf {
    dir.join("journal.db-wal")
}

/// A folder with a cleanly closed journal of `rows` rows.
async fn closed(rows: usize) -> TempDir {
    let dir = folder();
    let store = open(dir.path());
    for row in 0..rows {
        append(&store, &format!("row {row} {}", "x".repeat(600))).await;
    }
    drop(store);
    dir
}

#[tokio::test]
async fn rows_come_back_in_order_and_in_pages() {
    let dir = folder();
    let store = open(dir.path());
    for (number, kind) in [(1, RowKind::Receipt), (2, RowKind::Step), (3, RowKind::Receipt)] {
        let seq = store.append(kind, at(number), Bytes::from(vec![7; 3])).await;
        assert_eq!(seq, Ok(number.unsigned_abs()));
    }
    let page = store.read_after(1, 1).await.expect("rows");
    assert_eq!(page, [Row { seq: 2, kind: RowKind::Step, at: at(2), body: Bytes::from_static(&[7; 3]) }]);
    assert_eq!(store.read_after(2, 10).await.expect("rows").len(), 1);
    assert_eq!(store.read_after(3, 10).await, Ok(Vec::new()));
    assert_eq!(store.read_after(u64::MAX, usize::MAX).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_page_of_large_rows_ends_early_and_is_never_empty() {
    let dir = folder();
    let store = open(dir.path());
    let large = Bytes::from(vec![1; 40 << 20]);
    for _ in 0..3 {
        store.append(RowKind::Receipt, at(1), large.clone()).await.expect("committed");
    }
    assert_eq!(store.read_after(0, 100).await.expect("rows").len(), 2);
    assert_eq!(store.read_after(2, 100).await.expect("rows").len(), 1);
}

#[tokio::test]
async fn many_writes_share_one_commit() {
    let dir = folder();
    let store = open(dir.path());
    let blocker = Connection::open(dir.path().join("journal.db")).expect("a second connection");
    blocker.execute_batch("BEGIN IMMEDIATE").expect("the write lock");
    let waiting: Vec<_> = (0..500).map(|_| store.append(RowKind::Receipt, at(1), Bytes::from_static(b"x"))).collect();
    blocker.execute_batch("ROLLBACK").expect("the lock is free");
    let seqs: Vec<u64> = join_all(waiting).await.into_iter().map(|seq| seq.expect("committed")).collect();
    assert_eq!(seqs, (1..=500).collect::<Vec<_>>(), "numbered in the order of the calls");
    assert!(store.stats().commits <= 2, "{:?}", store.stats());
    assert_eq!(store.stats().rows, 500);
}

#[tokio::test]
async fn a_full_queue_is_an_answer() {
    let dir = folder();
    let store = SqliteStore::open(dir.path(), SqliteOptions { queue: 4, ..Default::default() }).expect("a journal");
    let blocker = Connection::open(dir.path().join("journal.db")).expect("a second connection");
    blocker.execute_batch("BEGIN IMMEDIATE").expect("the write lock");
    // The batch that waits for the lock took what came while it was gathered; then the queue holds 4 more.
    let mut waiting = Vec::new();
    while store.stats().refused < 3 && waiting.len() < 100_000 {
        waiting.push(store.append(RowKind::Receipt, at(1), Bytes::from_static(b"x")));
    }
    blocker.execute_batch("ROLLBACK").expect("the lock is free");
    let answers = join_all(waiting).await;
    let full = answers.iter().filter(|answer| **answer == Err(StoreError::Full)).count();
    let taken = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(full >= 3 && full + taken == answers.len(), "{full} and {taken} of {}", answers.len());
    assert_eq!(store.stats().refused, full as u64);
    assert_eq!(bodies(&store).await.len(), taken);
}

#[tokio::test]
async fn closing_commits_what_waits_and_reopening_goes_on() {
    let dir = folder();
    let store = open(dir.path());
    let waiting: Vec<_> = (0..50).map(|_| store.append(RowKind::Receipt, at(1), Bytes::from_static(b"x"))).collect();
    drop(waiting);
    drop(store);
    assert!(!wal(dir.path()).exists(), "the log is folded in");
    let store = open(dir.path());
    assert_eq!(bodies(&store).await.len(), 50);
    assert_eq!(append(&store, "next").await, 51);
}

#[tokio::test]
async fn a_kill_loses_nothing_that_was_acknowledged() {
    let dir = folder();
    let store = open(dir.path());
    let mut expected = Vec::new();
    for round in 0..20 {
        let body = format!("row {round} {}", "y".repeat(round * 500));
        append(&store, &body).await;
        expected.push(body);
        let copy = killed(dir.path());
        assert_eq!(bodies(&open(copy.path())).await, expected);
    }
}

/// A killed journal whose log holds all of "first", "second" and a large row, and where the third begins and ends in it. The first
/// idle moment folds the log into the database; where the machine was so slow that it came, it is tried again.
async fn unfolded() -> (TempDir, u64, u64) {
    for _ in 0..50 {
        let dir = folder();
        let store = open(dir.path());
        let database = fs::read(dir.path().join("journal.db")).expect("the database");
        append(&store, "first").await;
        append(&store, "second").await;
        let whole = fs::metadata(wal(dir.path())).expect("a log").len();
        append(&store, &"third".repeat(5000)).await;
        let copy = killed(dir.path());
        let end = fs::metadata(wal(copy.path())).expect("a log").len();
        if fs::read(copy.path().join("journal.db")).expect("the database") == database {
            return (copy, whole, end);
        }
    }
    panic!("the log was folded in each time");
}

#[tokio::test]
async fn a_torn_tail_of_the_log_is_dropped_and_nothing_else() {
    let (dir, whole, end) = unfolded().await;
    assert!(end > whole + 5 * 4120);
    for length in [whole, whole + 10, whole + 4120 + 10, end - 1] {
        let copy = killed(dir.path());
        OpenOptions::new().write(true).open(wal(copy.path())).and_then(|file| file.set_len(length)).expect("cut");
        assert_eq!(bodies(&open(copy.path())).await, ["first", "second"]);
    }
    // Written out of order: the last transaction's first frame never arrived, its later ones did.
    let copy = killed(dir.path());
    overwrite(&wal(copy.path()), whole + 24, &[0; 4096]);
    assert_eq!(bodies(&open(copy.path())).await, ["first", "second"]);
}

#[tokio::test]
async fn a_broken_log_with_commits_behind_it_is_refused() {
    let (dir, _, _) = unfolded().await;
    // The header, a salt of the first frame, a byte of its page, its checksum; each was on the disk before the later commits.
    for offset in [17, 32 + 9, 32 + 24 + 100, 32 + 20] {
        let copy = killed(dir.path());
        overwrite(&wal(copy.path()), offset, &[0xA5]);
        let before = fs::read(copy.path().join("journal.db")).expect("the database");
        let text = refusal(copy.path());
        assert!(text.contains("write-ahead log is broken") && text.contains("restore the folder from a backup"), "{text}");
        assert_eq!(fs::read(copy.path().join("journal.db")).expect("the database"), before, "left as it was");
        assert!(wal(copy.path()).exists());
    }
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let dir = folder();
    let store = open(dir.path());
    let text = refusal(dir.path());
    let holder = format!("in use by process {}", std::process::id());
    assert!(text.contains(&holder) && text.contains(&dir.path().display().to_string()), "{text}");
    drop(store);
    open(dir.path());
}

#[tokio::test]
async fn garbage_is_refused() {
    for (content, what) in
        [(&b""[..], "empty or cut off"), (&[b'x'; 8192][..], "not a database"), (&b"SQLite format 3\0"[..], "empty or cut off")]
    {
        let dir = closed(3).await;
        fs::write(dir.path().join("journal.db"), content).expect("written");
        let text = refusal(dir.path());
        assert!(text.contains(what) && text.contains("move the whole folder away by hand"), "{text}");
        assert_eq!(fs::read(dir.path().join("journal.db")).expect("still there"), content);
    }
    let dir = folder();
    let other = Connection::open(dir.path().join("journal.db")).expect("a database");
    other.execute_batch("CREATE TABLE t (x); PRAGMA user_version = 7").expect("another program's");
    drop(other);
    let text = refusal(dir.path());
    assert!(text.contains("not a journal of backout"), "{text}");
}

#[tokio::test]
async fn a_flipped_page_is_refused() {
    let dir = closed(200).await;
    let length = fs::metadata(dir.path().join("journal.db")).expect("a file").len();
    overwrite(&dir.path().join("journal.db"), length - 4096, &[0xFF; 64]);
    let text = refusal(dir.path());
    assert!(text.contains("is damaged"), "{text}");
    let dir = closed(200).await;
    OpenOptions::new().write(true).open(dir.path().join("journal.db")).and_then(|file| file.set_len(length / 2)).expect("cut");
    let text = refusal(dir.path());
    assert!(text.contains("is damaged"), "{text}");
}

#[tokio::test]
async fn a_lost_database_is_never_started_anew() {
    let dir = closed(3).await;
    fs::remove_file(dir.path().join("journal.db")).expect("removed");
    let text = refusal(dir.path());
    assert!(text.contains("journal.id` shows that there was one"), "{text}");
    assert!(!dir.path().join("journal.db").exists());

    let dir = folder();
    fs::write(wal(dir.path()), "x").expect("written");
    assert!(matches!(SqliteStore::open(dir.path(), SqliteOptions::default()), Err(OpenError::Missing { .. })));

    let dir = closed(3).await;
    let other = closed(3).await;
    fs::copy(other.path().join("journal.db"), dir.path().join("journal.db")).expect("swapped");
    let text = refusal(dir.path());
    assert!(text.contains("belongs to another journal"), "{text}");
}

#[tokio::test]
async fn an_interrupted_start_is_finished() {
    let dir = folder();
    fs::write(dir.path().join("journal.db.creating"), "half").expect("written");
    fs::create_dir(dir.path().join("lost+found")).expect("as on a fresh volume");
    let store = open(dir.path());
    append(&store, "x").await;
    drop(store);
    fs::remove_file(dir.path().join("journal.id")).expect("as if killed before it was written");
    assert_eq!(bodies(&open(dir.path())).await, ["x"]);
    assert!(dir.path().join("journal.id").exists());
}

#[tokio::test]
async fn missing_tables_and_newer_formats_are_refused() {
    for (sql, what) in [
        ("DROP TABLE snapshots", "table `snapshots` is missing"),
        ("DROP TABLE meta", "table `meta` is missing"),
        ("DELETE FROM meta WHERE key = 'journal_id'", "`journal_id` is missing"),
        ("UPDATE meta SET value = 'x' WHERE key = 'format_major'", "format is `x`"),
        (
            "UPDATE meta SET value = '2' WHERE key = 'format_major'; UPDATE meta SET value = '9.1' WHERE key = 'opened_by'; \
             DROP TABLE templates",
            "has format 2 and was last opened by backout 9.1",
        ),
    ] {
        let dir = closed(3).await;
        Connection::open(dir.path().join("journal.db")).and_then(|db| db.execute_batch(sql)).expect("changed");
        let text = refusal(dir.path());
        assert!(text.contains(what), "{text}");
    }
    let dir = closed(3).await;
    let sql = "UPDATE meta SET value = '99' WHERE key = 'format_minor'";
    Connection::open(dir.path().join("journal.db")).and_then(|db| db.execute_batch(sql)).expect("changed");
    open(dir.path());
}

#[tokio::test]
async fn files_are_private() {
    let dir = folder();
    let inner = dir.path().join("a/b");
    let _store = open(&inner);
    let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode(&inner), 0o700);
    for entry in fs::read_dir(&inner).expect("a folder") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn a_full_disk_fails_every_waiter_and_passes() {
    let dir = folder();
    let options = SqliteOptions { page_limit: Some(40), ..Default::default() };
    let store = SqliteStore::open(dir.path(), options).expect("a journal");
    append(&store, "before").await;
    let blocker = Connection::open(dir.path().join("journal.db")).expect("a second connection");
    blocker.execute_batch("BEGIN IMMEDIATE").expect("the write lock");
    let large = Bytes::from(vec![1; 1 << 20]);
    let waiting: Vec<_> = (0..6).map(|_| store.append(RowKind::Receipt, at(2), large.clone())).collect();
    blocker.execute_batch("ROLLBACK").expect("the lock is free");
    for answer in join_all(waiting).await {
        assert!(matches!(&answer, Err(StoreError::Failed(why)) if why.contains("full")), "{answer:?}");
    }
    // One or two transactions for six waiters: those that shared one were all told.
    assert!((1..=2).contains(&store.stats().failed_commits), "{:?}", store.stats());
    let seq = append(&store, "after").await;
    assert_eq!((seq, bodies(&store).await), (2, vec!["before".to_owned(), "after".to_owned()]), "no number was lost");
}

#[tokio::test]
async fn snapshots_are_kept_two_deep() {
    let dir = folder();
    let store = open(dir.path());
    assert_eq!(store.latest_snapshot().await, Ok(None));
    assert!(store.snapshot(1, at(1), Bytes::new()).await.is_err(), "there is no row 1 yet");
    for number in 1..=4 {
        append(&store, "x").await;
        store.snapshot(number, at(1), Bytes::from(vec![number as u8])).await.expect("committed");
    }
    assert_eq!(store.latest_snapshot().await, Ok(Some((4, Bytes::from_static(&[4])))));
    let db = Connection::open(dir.path().join("journal.db")).expect("a second connection");
    let kept: i64 = db.query_row("SELECT count(*) FROM snapshots", [], |row| row.get(0)).expect("a number");
    assert_eq!(kept, 2);
}

#[tokio::test]
async fn templates_are_kept_once_and_bounded() {
    let dir = folder();
    let store = SqliteStore::open(dir.path(), SqliteOptions { max_templates: 3, ..Default::default() }).expect("a journal");
    let day = 24 * 3600 * 1000;
    let keep = async |name: &str, days: i64, body: &'static str| {
        store.keep_template(Digest(name.to_owned()), at(days * day), Bytes::from_static(body.as_bytes())).await.expect("kept");
    };
    let get = async |name: &str| store.template(Digest(name.to_owned())).await.expect("an answer");
    keep("a", 1, "first").await;
    keep("b", 2, "b").await;
    keep("c", 3, "c").await;
    keep("a", 30, "second").await;
    keep("d", 31, "d").await;
    assert_eq!(get("a").await, Some(Bytes::from_static(b"first")), "still in use, and left as it was");
    assert_eq!(get("b").await, None, "the least recently used");
    assert_eq!(get("c").await, Some(Bytes::from_static(b"c")));
}

/// Waits until upkeep has dropped that many rows.
async fn dropped(store: &SqliteStore, rows: u64) {
    let wait = async {
        while store.stats().dropped_rows < rows {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("upkeep in time");
}

#[tokio::test]
async fn old_rows_go_but_never_beyond_the_snapshot() {
    let dir = folder();
    let hour = 3_600_000;
    let options = SqliteOptions { max_age: Duration::from_secs(3600), ..Default::default() };
    let store = SqliteStore::open(dir.path(), options.clone()).expect("a journal");
    for row in 0..1000 {
        store.append(RowKind::Receipt, at(row), Bytes::from_static(b"old")).await.expect("committed");
    }
    store.snapshot(700, at(10 * hour), Bytes::new()).await.expect("committed");
    let last = store.append(RowKind::Receipt, at(10 * hour), Bytes::from_static(b"new")).await.expect("committed");
    dropped(&store, 700).await;
    assert_eq!(store.read_after(0, 1).await.expect("rows")[0].seq, 701);
    store.snapshot(last, at(10 * hour), Bytes::new()).await.expect("committed");
    dropped(&store, 1000).await;
    assert_eq!(bodies(&store).await, ["new"]);
    drop(store);
    let store = SqliteStore::open(dir.path(), options).expect("a journal");
    assert_eq!(append(&store, "x").await, last + 1, "numbers are never used twice");
}

#[tokio::test]
async fn size_is_bounded_behind_the_snapshot() {
    let dir = folder();
    let options = SqliteOptions { max_bytes: 1 << 20, ..Default::default() };
    let store = SqliteStore::open(dir.path(), options).expect("a journal");
    for _ in 0..600 {
        store.append(RowKind::Receipt, at(1), Bytes::from(vec![1; 8000])).await.expect("committed");
    }
    store.snapshot(600, at(1), Bytes::new()).await.expect("committed");
    dropped(&store, 400).await;
    let wait = async {
        while store.stats().used_bytes > 1 << 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("upkeep in time");
}

#[tokio::test]
async fn size_is_bounded_also_while_somebody_always_writes() {
    let dir = folder();
    let options = SqliteOptions { max_bytes: 1 << 20, ..Default::default() };
    let store = SqliteStore::open(dir.path(), options).expect("a journal");
    for row in 1..=3000 {
        let seq = store.append(RowKind::Receipt, at(row), Bytes::from(vec![1; 8000])).await.expect("committed");
        if row % 200 == 0 {
            store.snapshot(seq, at(row), Bytes::new()).await.expect("committed");
        }
    }
    // The queue was never empty for long enough to be called idle.
    let stats = store.stats();
    assert!(stats.dropped_rows > 2000 && stats.used_bytes < 6 << 20, "{stats:?}");
}
