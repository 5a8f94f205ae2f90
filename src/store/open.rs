//! Opening the journal's database: made when the folder is new, checked and else refused. Never started anew by itself.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use super::folder::{Folder, io_error};
use super::wal;

/// The format that this version writes. A newer major is refused, a newer minor is read.
pub(super) const FORMAT: (u32, u32) = (1, 0);
/// `bkot`: tells our files from other programs' in `file` and here.
const APPLICATION_ID: i64 = 0x626b_6f74;
pub(super) const PAGE_SIZE: usize = 4096;
const TABLES: [&str; 4] = ["journal", "meta", "snapshots", "templates"];

const SCHEMA: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE journal (seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE TABLE snapshots (through INTEGER PRIMARY KEY, at INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE TABLE templates (digest TEXT PRIMARY KEY, at INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE INDEX templates_at ON templates (at);
";

/// Why the journal could not be opened. Each says what to do; nothing was changed on the disk.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the journal in `{}` is in use by {holder}: stop that one first, or give this one a folder of its own", dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// Who has it.
        holder: String,
    },
    /// There was a journal, and its database is gone.
    #[error(
        "the journal `{}` is gone, but `{}` shows that there was one: restore the folder from a backup, or, to begin anew \
         without what it remembered, move the whole folder away by hand",
        database.display(),
        remains.display()
    )]
    Missing {
        /// The database that should be there.
        database: PathBuf,
        /// What shows that it was.
        remains: PathBuf,
    },
    /// It cannot be trusted.
    #[error(
        "the journal `{}` is damaged: {what}; restore the folder from a backup, or, to begin anew without what it remembered, \
         move the whole folder away by hand",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A later version of the format.
    #[error(
        "the journal `{}` has format {major} and was last opened by backout {by}; this is backout {}, which reads up to format \
         {}: start that version or a later one, or restore a backup from before the upgrade",
        path.display(),
        env!("CARGO_PKG_VERSION"),
        FORMAT.0
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        major: u32,
        /// Who opened it last.
        by: String,
    },
    /// The file system refused.
    #[error("cannot {what} `{}`: {source}; check that the folder exists, is writable by this user and has space", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// SQLite refused, without saying that the file is damaged.
    #[error("cannot open the journal `{}`: {why}; check that the folder is writable by this user, on a local disk, and has space", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        why: String,
    },
}

/// Opens the folder's database for writing, making it if the folder is new.
pub(super) fn open(folder: &Folder) -> Result<Connection, OpenError> {
    if !folder.has_database()? {
        let id = create(&folder.begin()?)?;
        folder.finish(&id)?;
    }
    let path = folder.database();
    check_header(&path)?;
    let damage = wal::damage(&folder.wal(), PAGE_SIZE).map_err(io_error("read", &folder.wal()))?;
    if let Some(frame) = damage {
        let what = format!("frame {frame} of its write-ahead log is broken, with committed transactions after it");
        return Err(OpenError::Damaged { path, what });
    }
    let connection = connect(&path)?;
    check(&connection, &path)?;
    let id = meta(&connection, &path, "journal_id")?;
    match folder.marked()? {
        Some(marked) if marked != id => {
            let what = format!("`{}` belongs to another journal", folder.marker().display());
            return Err(OpenError::Damaged { path, what });
        }
        Some(_) => {}
        // Killed between the two steps of making it.
        None => folder.mark(&id)?,
    }
    note_version(&connection);
    Ok(connection)
}

/// A connection for writing, with every setting read back. Also used to replace one that cannot roll back.
pub(super) fn connect(path: &Path) -> Result<Connection, OpenError> {
    let because = |error: rusqlite::Error| refused(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(because)?;
    connection.busy_timeout(Duration::from_secs(2)).map_err(because)?;
    connection
        .execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;")
        .map_err(because)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(because)?;
    // Checkpoints are the writer's: never inside somebody's commit.
    connection
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864;")
        .map_err(because)?;
    let synchronous: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).map_err(because)?;
    if mode != "wal" || synchronous != 2 {
        let why = format!("it does not take write-ahead logging (journal mode `{mode}`, synchronous {synchronous})");
        return Err(OpenError::Sqlite { path: path.to_owned(), why });
    }
    connection.set_prepared_statement_cache_capacity(32);
    // A refused journal stays as it was found: the write-ahead log is folded in by the writer only.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(because)?;
    Ok(connection)
}

/// A second connection, for reading beside the writer.
pub(super) fn connect_reader(path: &Path) -> Result<Connection, OpenError> {
    let because = |error: rusqlite::Error| refused(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(because)?;
    connection.busy_timeout(Duration::from_secs(2)).map_err(because)?;
    connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;").map_err(because)?;
    Ok(connection)
}

/// Builds an empty journal in an empty file and tells its id. Nothing of it waits for the disk: whoever puts the file in its place makes
/// it durable once, and what is left of one that was not finished is thrown away.
fn create(path: &Path) -> Result<String, OpenError> {
    let because = |error: rusqlite::Error| refused(path, &error);
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(because)?;
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;").map_err(because)?;
    connection.pragma_update(None, "page_size", PAGE_SIZE as i64).map_err(because)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(because)?;
    connection.pragma_update(None, "user_version", FORMAT.0).map_err(because)?;
    let transaction = connection.transaction().map_err(because)?;
    transaction.execute_batch(SCHEMA).map_err(because)?;
    let id: String = transaction.query_row("SELECT lower(hex(randomblob(16)))", [], |row| row.get(0)).map_err(because)?;
    let values = [
        ("journal_id", id.clone()),
        ("format_major", FORMAT.0.to_string()),
        ("format_minor", FORMAT.1.to_string()),
        ("created_by", env!("CARGO_PKG_VERSION").to_owned()),
        ("opened_by", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    for (key, value) in values {
        transaction.execute("INSERT INTO meta (key, value) VALUES (?1, ?2)", [key, value.as_str()]).map_err(because)?;
    }
    transaction.commit().map_err(because)?;
    // As `connect` wants it: changing it there would cost a commit.
    connection.execute_batch("PRAGMA journal_mode = WAL;").map_err(because)?;
    connection.close().map_err(|(_, error)| because(error))?;
    Ok(id)
}

/// Before SQLite: an empty file would be a new database to it, and page size and magic are ours.
pub(super) fn check_header(path: &Path) -> Result<(), OpenError> {
    let mut header = Vec::with_capacity(100);
    File::open(path).and_then(|file| file.take(100).read_to_end(&mut header)).map_err(io_error("read", path))?;
    let damaged = |what: &str| Err(OpenError::Damaged { path: path.to_owned(), what: what.to_owned() });
    if header.len() < 100 {
        return damaged("the file is empty or cut off");
    }
    if !header.starts_with(b"SQLite format 3\0") {
        return damaged("it is not a database");
    }
    if header[16..18] != (PAGE_SIZE as u16).to_be_bytes() || header[68..72] != (APPLICATION_ID as u32).to_be_bytes() {
        return damaged("it is a database, but not a journal of backout");
    }
    Ok(())
}

/// Version first, since a newer format may look damaged; then everything else.
fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    check_format(connection, path)?;
    let verdict: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|error| refused(path, &error))?;
    if verdict == "ok" { Ok(()) } else { Err(OpenError::Damaged { path: path.to_owned(), what: verdict.replace('\n', " ") }) }
}

/// That this program can read it.
pub(super) fn check_format(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let because = |error: rusqlite::Error| refused(path, &error);
    let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").map_err(because)?;
    let tables: Vec<String> =
        statement.query_map([], |row| row.get(0)).and_then(Iterator::collect::<Result<_, _>>).map_err(because)?;
    let damaged = |what: String| OpenError::Damaged { path: path.to_owned(), what };
    let has = |name: &str| tables.iter().any(|table| table == name);
    if !has("meta") {
        return Err(damaged("its table `meta` is missing".to_owned()));
    }
    let major = meta(connection, path, "format_major")?;
    match major.parse::<u32>() {
        Ok(major) if major > FORMAT.0 => {
            let by = meta(connection, path, "opened_by")?;
            return Err(OpenError::Newer { path: path.to_owned(), major, by });
        }
        Ok(_) => {}
        Err(_) => return Err(damaged(format!("its format is `{major}`, which is no number"))),
    }
    if let Some(name) = TABLES.iter().find(|name| !has(name)) {
        return Err(damaged(format!("its table `{name}` is missing")));
    }
    Ok(())
}

pub(super) fn meta(connection: &Connection, path: &Path, key: &str) -> Result<String, OpenError> {
    connection
        .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
        .optional()
        .map_err(|error| refused(path, &error))?
        .ok_or_else(|| OpenError::Damaged { path: path.to_owned(), what: format!("`{key}` is missing in its table `meta`") })
}

/// Notes who opened it. Best effort: on a full disk the service must still start, to page.
fn note_version(connection: &Connection) {
    let version = env!("CARGO_PKG_VERSION");
    connection.execute("UPDATE meta SET value = ?1 WHERE key = 'opened_by' AND value <> ?1", [version]).ok();
}

pub(super) fn refused(path: &Path, error: &rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => OpenError::Damaged { path, what: error.to_string() },
        _ => OpenError::Sqlite { path, why: error.to_string() },
    }
}
