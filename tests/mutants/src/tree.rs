//! The copy of the checkout that has the mutants in it, in `target/mutants-tree`. A file is written only when it is another one,
//! so that cargo builds no more than it must.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// What the tool and cargo keep in the copy; all else that is not in the checkout is removed.
const KEPT: [&str; 3] = ["target", OUT, VERDICTS];
/// What was found not to compile, for the next run.
pub const OUT: &str = "out.json";
/// What became of each mutant.
pub const VERDICTS: &str = "verdicts.jsonl";

/// The checkout and its copy.
pub struct Tree {
    root: PathBuf,
    /// Where the copy is.
    pub path: PathBuf,
    files: BTreeSet<String>,
}

impl Tree {
    /// All files of the checkout that are tracked, or new and not ignored.
    pub fn of(root: &Path) -> Result<Self> {
        let mut command = Command::new("git");
        command.args(["ls-files", "-co", "--exclude-standard", "-z"]).current_dir(root);
        let output = command.output().context("`git ls-files` cannot be started")?;
        ensure!(output.status.success(), "`git ls-files` failed: {}", String::from_utf8_lossy(&output.stderr));
        let names = String::from_utf8(output.stdout).context("a file's name is not UTF-8")?;
        let files = names.split_terminator('\0').filter(|file| root.join(file).is_file()).map(str::to_owned).collect();
        Ok(Self { root: root.to_owned(), path: root.join("target/mutants-tree"), files })
    }

    /// A file of the checkout, as it is there.
    pub fn read(&self, file: &str) -> Result<String> {
        fs::read_to_string(self.root.join(file)).with_context(|| format!("{file} cannot be read"))
    }

    /// Makes the copy: these files with this content, and all others as they are.
    pub fn lay(&self, changed: &BTreeMap<String, String>) -> Result<()> {
        for file in self.files.iter().filter(|file| !changed.contains_key(*file)) {
            let (from, to) = (self.root.join(file), self.path.join(file));
            let bytes = fs::read(&from).with_context(|| format!("{file} cannot be read"))?;
            if write(&to, &bytes)? {
                fs::set_permissions(&to, fs::metadata(&from)?.permissions())?;
            }
        }
        for (file, text) in changed {
            write(&self.path.join(file), text.as_bytes())?;
        }
        self.sweep(&self.path, changed)
    }

    /// Removes what is in the copy and not in the checkout.
    fn sweep(&self, folder: &Path, changed: &BTreeMap<String, String>) -> Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.strip_prefix(&self.path)?.to_string_lossy().into_owned();
            if KEPT.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                self.sweep(&path, changed)?;
            } else if !self.files.contains(&name) && !changed.contains_key(&name) {
                fs::remove_file(&path).with_context(|| format!("{} cannot be removed", path.display()))?;
            }
        }
        Ok(())
    }

    /// A number for what decides whether a mutant compiles: the sources with these changes, and the dependencies.
    pub fn fingerprint(&self, changed: &BTreeMap<String, String>) -> Result<u64> {
        let mut hasher = DefaultHasher::new();
        changed.hash(&mut hasher);
        let matters = |file: &&String| file.starts_with("src/") || file.starts_with("Cargo.");
        for file in self.files.iter().filter(matters).filter(|file| !changed.contains_key(*file)) {
            (file, fs::read(self.root.join(file))?).hash(&mut hasher);
        }
        Ok(hasher.finish())
    }
}

/// Whether it had to be written.
fn write(path: &Path, bytes: &[u8]) -> Result<bool> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(false);
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, bytes).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(true)
}
