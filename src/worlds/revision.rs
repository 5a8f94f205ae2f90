//! The policies of a test file as they stand at a revision of git. The program `git` is asked, by argument vector.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::files::{Loaded, is_policy};
use crate::policy::types::Policies;
use crate::policy::{self, SourceFile, diagnostic};

/// A commit of the repository that a test file stands in.
#[derive(Clone, Debug)]
pub struct Revision {
    /// Where its work tree is.
    top: PathBuf,
    /// The commit, in full.
    commit: String,
    /// Every file of it.
    files: Vec<String>,
}

impl Revision {
    /// The commit of that name, in the repository around a folder.
    ///
    /// # Errors
    /// There is no repository, no `git`, or no such commit.
    pub fn find(folder: &Path, name: &str) -> Result<Self, String> {
        // The parent of a bare file name is empty, and means here.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let top = ask(folder, &["rev-parse", "--show-toplevel"])?;
        let top = PathBuf::from(top.trim_end_matches('\n'));
        let wanted = format!("{name}^{{commit}}");
        let commit = ask(&top, &["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted])
            .map_err(|_| format!("`{name}` is no commit of the repository at `{}`", top.display()))?;
        let commit = commit.trim().to_owned();
        let listed = ask(&top, &["ls-tree", "-r", "-z", "--name-only", "--full-tree", &commit])?;
        let files = listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
        Ok(Self { top, commit, files })
    }

    /// The policies that a test file names, as they stood there.
    ///
    /// # Errors
    /// They were not there, or were wrong.
    pub fn policies(&self, loaded: &Loaded) -> Result<Arc<Policies>, String> {
        let path = std::fs::canonicalize(&loaded.path).map_err(|error| format!("cannot read `{}`: {error}", loaded.path))?;
        self.policies_in(path.parent().unwrap_or(Path::new("/")), &loaded.named)
    }

    /// The policies of a folder, as they stood there.
    ///
    /// # Errors
    /// They were not there, or were wrong.
    pub fn policies_of(&self, folder: &Path) -> Result<Arc<Policies>, String> {
        let path = std::fs::canonicalize(folder).map_err(|error| format!("cannot read `{}`: {error}", folder.display()))?;
        self.policies_in(&path, &[".".to_owned()])
    }

    /// The policies at these paths, seen from a folder.
    fn policies_in(&self, folder: &Path, names: &[String]) -> Result<Arc<Policies>, String> {
        let top = std::fs::canonicalize(&self.top).map_err(|error| format!("cannot read `{}`: {error}", self.top.display()))?;
        let mut wanted = std::collections::BTreeSet::new();
        for name in names {
            let whole = super::files::plain(&folder.join(name));
            let inside = Path::new(&whole).strip_prefix(&top).map(|inside| inside.to_string_lossy().into_owned());
            let inside = inside.map_err(|_| format!("`{name}` is not in the repository at `{}`", top.display()))?;
            let found = self.named(&inside);
            if found.is_empty() {
                return Err(format!("`{inside}` was not there at {}", self.short()));
            }
            wanted.extend(found);
        }
        let files: Vec<SourceFile> = wanted.into_iter().map(|path| self.read(path)).collect::<Result<_, String>>()?;
        match policy::load(&files, true) {
            Ok(read) => Ok(Arc::new(read.policies)),
            Err(wrong) => {
                Err(format!("the policies at {} are not right:\n{}", self.short(), diagnostic::to_text(&wrong).trim_end()))
            }
        }
    }

    /// Everything in a folder of policies as it stood there, named from that folder on.
    ///
    /// # Errors
    /// It is not in the repository, or cannot be read.
    pub fn folder(&self, root: &Path) -> Result<Vec<SourceFile>, String> {
        let whole =
            |path: &Path| std::fs::canonicalize(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()));
        let (root, top) = (whole(root)?, whole(&self.top)?);
        let inside = root.strip_prefix(&top).map_err(|_| format!("it is not in the repository at `{}`", top.display()))?;
        let inside = inside.to_string_lossy().into_owned();
        let prefix = if inside.is_empty() { String::new() } else { format!("{inside}/") };
        let named_from_here = |path: String| {
            let file = self.read(path)?;
            Ok(SourceFile { path: file.path.strip_prefix(&prefix).unwrap_or(&file.path).to_owned(), ..file })
        };
        let mut files: Vec<SourceFile> = self.named(&inside).into_iter().map(named_from_here).collect::<Result<_, String>>()?;
        files.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        Ok(files)
    }

    /// A file as it stood there, by its path in the repository.
    fn read(&self, path: String) -> Result<SourceFile, String> {
        let bytes = ask(&self.top, &["cat-file", "blob", &format!("{}:{path}", self.commit)])?.into_bytes();
        Ok(SourceFile { path, bytes })
    }

    /// The commit's name, short.
    pub fn short(&self) -> &str {
        self.commit.get(..12).unwrap_or(&self.commit)
    }

    /// A policy file with the defaults that reach it, or everything of a folder.
    fn named(&self, path: &str) -> Vec<String> {
        if self.files.iter().any(|file| file == path) {
            let reaches = |file: &&String| {
                let folder = file.strip_suffix("_defaults.yaml");
                folder.is_some_and(|folder| (folder.is_empty() || folder.ends_with('/')) && path.starts_with(folder))
            };
            let defaults = self.files.iter().filter(reaches).cloned();
            return defaults.chain([path.to_owned()]).collect();
        }
        let folder = if path.is_empty() { String::new() } else { format!("{path}/") };
        let inside = |file: &&String| {
            file.strip_prefix(&folder).is_some_and(|rest| {
                let mut parts = rest.split('/');
                let name = parts.next_back().unwrap_or_default();
                is_policy(name) && !parts.any(|part| part.starts_with('.'))
            })
        };
        self.files.iter().filter(inside).cloned().collect()
    }
}

/// What `git` answers.
fn ask(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(arguments).env("LC_ALL", "C").env("GIT_OPTIONAL_LOCKS", "0");
    let output = command.output().map_err(|error| format!("the program `git` cannot be started: {error}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(format!("git: {}", words.lines().next().unwrap_or("it failed")));
    }
    String::from_utf8(output.stdout).map_err(|_| "git answered with something that is not UTF-8".to_owned())
}
