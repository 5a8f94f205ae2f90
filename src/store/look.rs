//! A look at a journal from outside of the service that may be writing it: read only, one consistent state, no lock that anybody
//! waits for. Nothing in the folder is changed; a backup goes to another place.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use rusqlite::{Connection, OpenFlags, params};
use url::Url;

use super::folder::{DATABASE, io_error};
use super::open::{self, OpenError, refused};
use super::reader::{self, failed};
use super::wal;
use crate::model::{Digest, Time};
use crate::ports::{Row, RowKind, Store, StoreError};

/// Faults that one check lists at most.
const MOST_FAULTS: u32 = 20;

/// A journal as it was at one moment.
#[derive(Debug)]
pub struct JournalLook {
    connection: Mutex<Connection>,
    path: PathBuf,
}

/// What a check of the file found, below the level of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Soundness {
    /// Version of the format.
    pub format: String,
    /// Which version of the program opened it last.
    pub opened_by: String,
    /// Bytes of the database and its write-ahead log.
    pub bytes: u64,
    /// What is broken.
    pub faults: Vec<String>,
}

impl JournalLook {
    /// Opens the journal in `dir` for reading.
    ///
    /// # Errors
    /// There is none, or it cannot be read by this program.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        Self::open_file(&dir.join(DATABASE))
    }

    /// Opens a copy of a journal.
    ///
    /// # Errors
    /// As for `open`.
    pub fn open_file(path: &Path) -> Result<Self, OpenError> {
        let path = path.to_owned();
        open::check_header(&path)?;
        let because = |error: rusqlite::Error| refused(&path, &error);
        let connection = if wal_of(&path).exists() { open::connect_reader(&path)? } else { closed(&path)? };
        // Everything that follows is of one moment.
        connection.execute_batch("BEGIN").map_err(because)?;
        open::check_format(&connection, &path)?;
        Ok(Self { connection: Mutex::new(connection), path })
    }

    /// The first and the last row, where there are any.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn bounds(&self) -> Result<Option<(u64, u64)>, StoreError> {
        let sql = "SELECT min(seq), max(seq) FROM journal";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?));
        let (first, last) = self.hold().query_row(sql, [], read).map_err(failed)?;
        Ok(first.zip(last).map(|(first, last)| (first.unsigned_abs(), last.unsigned_abs())))
    }

    /// Every snapshot, the oldest first.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn snapshots(&self) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let connection = self.hold();
        let mut statement = connection.prepare("SELECT through, body FROM snapshots ORDER BY through").map_err(failed)?;
        let found = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, Vec<u8>>(1)?)));
        let all: Result<Vec<_>, _> = found.map_err(failed)?.map(|row| row.map(|(seq, body)| (seq, body.into()))).collect();
        all.map_err(failed)
    }

    /// Checks every page of the file, and its write-ahead log. Reads all of it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn soundness(&self) -> Result<Soundness, OpenError> {
        let connection = self.hold();
        let because = |error: rusqlite::Error| refused(&self.path, &error);
        let meta = |key: &str| open::meta(&connection, &self.path, key);
        let mut found = Soundness {
            format: format!("{}.{}", meta("format_major")?, meta("format_minor")?),
            opened_by: meta("opened_by")?,
            bytes: [self.path.clone(), wal_of(&self.path)].iter().filter_map(|path| path.metadata().ok()).map(|m| m.len()).sum(),
            faults: Vec::new(),
        };
        let mut statement = connection.prepare(&format!("PRAGMA integrity_check({MOST_FAULTS})")).map_err(because)?;
        let faults = statement.query_map([], |row| row.get::<_, String>(0)).map_err(because)?;
        for fault in faults {
            match fault {
                Ok(fault) if fault == "ok" => {}
                Ok(fault) => found.faults.push(fault.replace('\n', " ")),
                Err(error) => found.faults.push(error.to_string()),
            }
        }
        let log = wal_of(&self.path);
        if let Some(frame) = wal::damage(&log, open::PAGE_SIZE).map_err(io_error("read", &log))? {
            found.faults.push(format!("frame {frame} of its write-ahead log is broken, with committed transactions after it"));
        }
        Ok(found)
    }

    /// Writes a copy of this moment to a new file, whole and on the disk, or not at all.
    ///
    /// # Errors
    /// The file is there already, or cannot be written.
    pub fn backup(&self, to: &Path) -> Result<(), OpenError> {
        // Made by us, so that nobody else's file is overwritten and nobody else can read it.
        super::folder::private().create_new(true).open(to).map_err(io_error("create", to))?;
        let copied = self.copy(to);
        if copied.is_err() {
            // Half a copy must not be taken for one; what is in the way of removing it was said by what failed.
            let _ = std::fs::remove_file(to);
        }
        copied
    }

    fn copy(&self, to: &Path) -> Result<(), OpenError> {
        let connection = self.hold();
        let name =
            to.to_str().ok_or_else(|| OpenError::Sqlite { path: to.to_owned(), why: "its name is no UTF-8".to_owned() })?;
        // Not inside a transaction; it opens one of its own, for one consistent state.
        connection.execute_batch("COMMIT").map_err(|error| refused(&self.path, &error))?;
        let copied = connection.execute("VACUUM INTO ?1", params![name]).map_err(|error| refused(to, &error));
        connection.execute_batch("BEGIN").map_err(|error| refused(&self.path, &error))?;
        copied?;
        File::open(to).and_then(|file| file.sync_all()).map_err(io_error("write to disk", to))?;
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|dir| dir.sync_all()).map_err(io_error("write to disk the folder", parent))
    }

    fn hold(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A journal that nobody writes: it has no log beside it. Without being told so SQLite would make one.
fn closed(path: &Path) -> Result<Connection, OpenError> {
    let absolute = std::path::absolute(path).map_err(io_error("find", path))?;
    let no_address = || OpenError::Sqlite { path: path.to_owned(), why: "its path is none that SQLite can be told".to_owned() };
    let mut address = Url::from_file_path(absolute).map_err(|()| no_address())?;
    address.set_query(Some("immutable=1"));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let because = |error: rusqlite::Error| refused(path, &error);
    let connection = Connection::open_with_flags(address.as_str(), flags).map_err(because)?;
    connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;").map_err(because)?;
    Ok(connection)
}

fn wal_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// Reads as a store does; writes are refused.
impl Store for JournalLook {
    fn append(&self, _: RowKind, _: Time, _: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(ready(Err(StoreError::Closed)))
    }

    fn snapshot(&self, _: u64, _: Time, _: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(ready(Err(StoreError::Closed)))
    }

    fn latest_snapshot(&self) -> BoxFuture<'_, Result<Option<(u64, Bytes)>, StoreError>> {
        Box::pin(ready(reader::latest_snapshot(&self.hold())))
    }

    fn read_after(&self, seq: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        Box::pin(ready(reader::after(&self.hold(), seq, limit)))
    }

    fn keep_template(&self, _: Digest, _: Time, _: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(ready(Err(StoreError::Closed)))
    }

    fn template(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        Box::pin(ready(reader::template(&self.hold(), &digest)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;
    use crate::store::{SqliteOptions, SqliteStore};

    async fn append(store: &SqliteStore, body: &'static str) {
        store.append(RowKind::Receipt, Time::from_millis(1), Bytes::from_static(body.as_bytes())).await.expect("committed");
    }

    fn files(dir: &Path) -> BTreeSet<(String, Vec<u8>)> {
        let entries = fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path());
        let shared = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "db-shm");
        entries.filter(|path| !shared(path)).map(|path| (path.display().to_string(), fs::read(&path).expect("bytes"))).collect()
    }

    #[tokio::test]
    async fn a_look_sees_one_moment_of_a_journal_that_goes_on() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(dir.path(), SqliteOptions::default()).expect("a journal");
        append(&store, "one").await;
        let look = JournalLook::open(dir.path()).expect("a look");
        assert_eq!(look.bounds(), Ok(Some((1, 1))));
        append(&store, "two").await;
        assert_eq!(look.read_after(0, 10).await.expect("rows").len(), 1, "what came later is not seen");
        let again = JournalLook::open(dir.path()).expect("a look");
        assert_eq!(again.read_after(0, 10).await.expect("rows").len(), 2);
        assert_eq!(look.append(RowKind::Step, Time::default(), Bytes::new()).await, Err(StoreError::Closed));
    }

    #[tokio::test]
    async fn a_look_at_a_journal_that_is_closed_leaves_it_as_it_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let inside = dir.path().join("with ? and # %41");
        let store = SqliteStore::open(&inside, SqliteOptions::default()).expect("a journal");
        append(&store, "one").await;
        drop(store);
        let before = files(&inside);
        let look = JournalLook::open(&inside).expect("a look");
        assert_eq!(look.bounds(), Ok(Some((1, 1))));
        let sound = look.soundness().expect("checked");
        assert_eq!((sound.faults.len(), sound.format.as_str()), (0, "1.0"));
        drop(look);
        assert_eq!(files(&inside), before);
    }

    #[tokio::test]
    async fn a_backup_is_a_journal_and_overwrites_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(&dir.path().join("data"), SqliteOptions::default()).expect("a journal");
        append(&store, "one").await;
        let look = JournalLook::open(&dir.path().join("data")).expect("a look");
        append(&store, "two").await;
        let copy = dir.path().join("restored").join(DATABASE);
        fs::create_dir(dir.path().join("restored")).expect("a folder");
        look.backup(&copy).expect("a backup");
        append(&store, "three").await;
        let why = look.backup(&copy).expect_err("it is there").to_string();
        assert!(why.contains("cannot create"), "{why}");
        let restored = SqliteStore::open(&dir.path().join("restored"), SqliteOptions::default()).expect("opens");
        let rows = restored.read_after(0, 10).await.expect("rows");
        assert_eq!(rows.iter().map(|row| &row.body[..]).collect::<Vec<_>>(), [&b"one"[..], b"two"]);
        append(&restored, "another").await;
    }

    #[test]
    fn where_no_journal_is_none_is_made() {
        let dir = tempfile::tempdir().expect("a folder");
        let why = JournalLook::open(dir.path()).expect_err("none").to_string();
        assert!(why.contains("cannot read") && why.contains("journal.db"), "{why}");
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
    }
}
