//! The data folder: can it be written, has it room, can this program read the journal in it?

use std::fs::{self, OpenOptions};
use std::path::Path;

use super::finding::{Area, Findings};
use crate::settings::Settings;
use crate::store::JournalLook;

/// Less free space than this is soon none.
const LEAST_BYTES: u64 = 256 << 20;

pub(super) fn look(settings: &Settings, findings: &mut Findings) {
    let mut area = findings.area("journal");
    let data = &settings.data;
    if !data.is_dir() {
        let parent = data.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match writable(parent) {
            Ok(()) => area.ok("folder", format!("`{}` is not there yet; `serve` makes it", data.display())),
            Err(why) => area.problem("folder", why, "make the data folder, for the user that the service runs as"),
        }
        return space(parent, settings, 0, &mut area);
    }
    match writable(data) {
        Ok(()) => area.ok("folder", format!("`{}` can be written", data.display())),
        Err(why) => area.problem("folder", why, "give the folder to the user that the service runs as"),
    }
    space(data, settings, journal(data, &mut area), &mut area);
}

/// Looks at the journal itself; tells how large it is.
fn journal(data: &Path, area: &mut Area<'_>) -> u64 {
    if !data.join("journal.db").exists() {
        match data.join("journal.id").exists() {
            true => area.problem(
                "journal",
                format!("there was a journal in `{}`, and it is gone", data.display()),
                "restore it from a backup; to begin anew without what it remembered, move the folder away by hand",
            ),
            false => area.ok("journal", "no journal yet; `serve` begins one"),
        }
        return 0;
    }
    let look = match JournalLook::open(data) {
        Ok(look) => look,
        Err(error) => {
            area.problem("journal", error.to_string(), "`serve` refuses it, too; see the message");
            return 0;
        }
    };
    let size = |name: &str| data.join(name).metadata().map_or(0, |metadata| metadata.len());
    let bytes = size("journal.db") + size("journal.db-wal");
    match look.bounds() {
        Ok(bounds) => {
            let rows = bounds.map_or(0, |(first, last)| last - first + 1);
            area.ok("journal", format!("{rows} rows, {} MiB, readable; `backout journal verify` reads all of it", bytes >> 20));
        }
        Err(error) => area.problem("journal", error.to_string(), "`backout journal verify` says where it is broken"),
    }
    bytes
}

/// Makes a file and removes it: permissions, mount options and quotas all have a say.
fn writable(dir: &Path) -> Result<(), String> {
    let path = dir.join(format!(".backout-doctor-{}", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).open(&path).and_then(|file| file.sync_all());
    let removed = fs::remove_file(&path);
    made.map_err(|error| format!("nothing can be written in `{}`: {error}", dir.display()))?;
    removed.map_err(|error| format!("cannot remove `{}`: {error}", path.display()))
}

fn space(dir: &Path, settings: &Settings, used: u64, area: &mut Area<'_>) {
    let free = match rustix::fs::statvfs(dir) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => {
            let found = format!("how much room `{}` has cannot be told: {error}", dir.display());
            return area.warning("space", found, "watch it by other means");
        }
    };
    let wanted = settings.retention.bytes.saturating_sub(used);
    let found = format!("{} MiB are free; `retention.size` lets the journal grow by {} MiB more", free >> 20, wanted >> 20);
    let todo = "make room, or lower `retention.size`; on a full disk nothing is decided, and the page `blind` goes out";
    if free < LEAST_BYTES {
        area.problem("space", found, todo);
    } else if free < wanted {
        area.warning("space", found, todo);
    } else {
        area.ok("space", found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Level;

    #[test]
    fn a_folder_that_lost_its_journal_is_a_problem() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut findings = Findings::default();
        journal(dir.path(), &mut findings.area("journal"));
        assert_eq!(findings.count(Level::Problem), 0, "a new one");
        fs::write(dir.path().join("journal.id"), "x").expect("written");
        journal(dir.path(), &mut findings.area("journal"));
        assert_eq!(findings.count(Level::Problem), 1);
        fs::write(dir.path().join("journal.db"), "no database").expect("written");
        journal(dir.path(), &mut findings.area("journal"));
        assert_eq!(findings.count(Level::Problem), 2);
    }

    #[test]
    fn nothing_is_left_behind() {
        let dir = tempfile::tempdir().expect("a folder");
        writable(dir.path()).expect("writable");
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
        assert!(writable(&dir.path().join("nowhere")).is_err());
    }
}
