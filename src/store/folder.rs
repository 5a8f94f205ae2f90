//! The journal's folder: its names, its lock, the marker that tells a new folder from one that has lost its database. No SQL.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::open::OpenError;

/// The database's file name.
pub(super) const DATABASE: &str = "journal.db";
/// A database that is not finished yet; renamed when it is, so that a kill in the middle leaves nothing that looks like a journal.
const UNFINISHED: &str = "journal.db.creating";
/// Says that this folder has had a journal, and which.
const MARKER: &str = "journal.id";
/// Held by the one process that may use the folder.
const LOCK: &str = "journal.lock";

/// A folder that this process holds.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    /// Dropped last, by the writer: whoever gets the lock finds a closed database.
    lock: File,
}

impl Folder {
    /// Makes the folder if need be and takes its lock.
    pub(super) fn hold(dir: &Path) -> Result<Self, OpenError> {
        if !dir.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io_error("create the folder", dir))?;
            if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync_dir(parent).map_err(io_error("write to disk the folder", parent))?;
            }
        }
        let path = dir.join(LOCK);
        let mut lock = private().create(true).truncate(false).open(&path).map_err(io_error("open the lock file", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let known = (&lock).take(64).read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
                let holder = if known { holder.trim().to_owned() } else { "another process".to_owned() };
                return Err(OpenError::Locked { dir: dir.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(io_error("lock", &path)(source)),
        }
        // Who holds it is for people; a full disk must not keep the service from starting.
        if lock.set_len(0).is_ok() && lock.seek(SeekFrom::Start(0)).is_ok() {
            writeln!(lock, "process {}", std::process::id()).ok();
        }
        Ok(Self { dir: dir.to_owned(), lock })
    }

    /// The database's path.
    pub(super) fn database(&self) -> PathBuf {
        self.dir.join(DATABASE)
    }

    /// The write-ahead log's path.
    pub(super) fn wal(&self) -> PathBuf {
        self.dir.join(format!("{DATABASE}-wal"))
    }

    /// The marker's path.
    pub(super) fn marker(&self) -> PathBuf {
        self.dir.join(MARKER)
    }

    /// The id in the marker, if there is one.
    pub(super) fn marked(&self) -> Result<Option<String>, OpenError> {
        let path = self.marker();
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    /// Whether there is a database; refuses a folder that must have had one.
    pub(super) fn has_database(&self) -> Result<bool, OpenError> {
        let database = self.database();
        if exists(&database)? {
            return Ok(true);
        }
        for remains in [self.marker(), self.wal()] {
            if exists(&remains)? {
                return Err(OpenError::Missing { database, remains });
            }
        }
        Ok(false)
    }

    /// An empty file to build a new database in.
    pub(super) fn begin(&self) -> Result<PathBuf, OpenError> {
        let path = self.dir.join(UNFINISHED);
        for end in ["", "-journal", "-wal", "-shm"] {
            let left = self.dir.join(format!("{UNFINISHED}{end}"));
            match fs::remove_file(&left) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io_error("remove", &left)(error)),
            }
        }
        private().create_new(true).open(&path).map_err(io_error("create", &path))?;
        Ok(path)
    }

    /// Puts the finished database in its place, durably, and marks the folder.
    pub(super) fn finish(&self, id: &str) -> Result<(), OpenError> {
        let (from, to) = (self.dir.join(UNFINISHED), self.database());
        File::open(&from).and_then(|file| file.sync_all()).map_err(io_error("write to disk", &from))?;
        fs::rename(&from, &to).map_err(io_error("create", &to))?;
        sync_dir(&self.dir).map_err(io_error("write to disk the folder", &self.dir))?;
        self.mark(id)
    }

    /// Writes the marker, durably.
    pub(super) fn mark(&self, id: &str) -> Result<(), OpenError> {
        let (path, unfinished) = (self.marker(), self.dir.join("journal.id.creating"));
        let write = || -> io::Result<()> {
            let mut file = private().create(true).truncate(true).open(&unfinished)?;
            writeln!(file, "{id}")?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            sync_dir(&self.dir)
        };
        write().map_err(io_error("write", &path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.lock.unlock().ok();
    }
}

pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn exists(path: &Path) -> Result<bool, OpenError> {
    path.try_exists().map_err(io_error("look for", path))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Wraps an I/O error with what was done to which path.
pub(super) fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { what, path, source }
}
