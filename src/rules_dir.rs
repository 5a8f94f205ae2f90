//! The folder of policy files on disk: reading it as a whole, the commit it stands at, noticing changes. What the files say is
//! `policy`'s business.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::policy::diagnostic::Diagnostic;
use crate::policy::{self, Loaded, SourceFile};

/// Why the folder could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// Indicates that a file or folder could not be read.
    #[error("cannot read `{path}`: {source}")]
    Unreadable {
        /// What was to be read.
        path: PathBuf,
        /// Why it was not.
        source: io::Error,
    },
    /// Indicates that there is more than anybody would review.
    #[error("`{path}`: {why}")]
    TooMuch {
        /// Where the limit was met.
        path: PathBuf,
        /// Which limit.
        why: String,
    },
    /// Indicates that the files were read and are not right.
    #[error("{} in the policies; the first: {}", count(.0), .0.iter().find(|d| d.is_error()).map_or_else(String::new, ToString::to_string))]
    Wrong(Vec<Diagnostic>),
}

fn count(diagnostics: &[Diagnostic]) -> String {
    match diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count() {
        1 => "an error".to_owned(),
        errors => format!("{errors} errors"),
    }
}

/// Reads and judges the whole folder. Touches the disk: call it where blocking is allowed.
///
/// # Errors
/// When anything cannot be read or is not right; nothing of the folder is to be applied then.
pub fn load(root: &Path, cluster_named: bool) -> Result<Loaded, RulesError> {
    let files = read(root)?;
    let mut loaded = policy::load(&files, cluster_named).map_err(RulesError::Wrong)?;
    loaded.policies.commit = commit(root);
    Ok(loaded)
}

/// All policy files of the folder and the folders in it: `*.yaml` and `*.yml`, but nothing whose name begins with a dot, and no
/// tests (`*_test.yaml`). Symbolic links are followed, as mounted ConfigMaps consist of them.
///
/// # Errors
/// When anything cannot be read, or is beyond the limits.
pub fn read(root: &Path) -> Result<Vec<SourceFile>, RulesError> {
    // A ConfigMap is replaced by turning one link: what was read across that moment would be half old, half new.
    const TRIES: usize = 3;
    for _ in 1..TRIES {
        let before = generation(root);
        let files = read_once(root);
        if generation(root) == before {
            return files;
        }
    }
    read_once(root)
}

/// Tells when the content of the folder changed after this call: watch first, then load. Touches the disk once before it returns.
/// The task ends when the receiver is dropped; that it ends otherwise is a fault.
pub fn watch(root: PathBuf) -> (mpsc::Receiver<()>, JoinHandle<()>) {
    // One pending tick says all: whoever receives it reads the whole folder.
    let (sender, receiver) = mpsc::channel(1);
    let (event, events) = mpsc::channel(1);
    // The notice before the first look, so that nothing falls between the two.
    let told = Told::new(&root, event.clone());
    let last = fingerprint(&root);
    let seen = Seen { told, last, event, events };
    (receiver, tokio::spawn(run(root, sender, seen)))
}

/// An editor or kubelet changes several things at once; they are one change.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// Where files change without a pause, they are read all the same.
const DEBOUNCE_MOST: Duration = Duration::from_secs(2);
/// Where the system does not tell (network file systems, a link further up that was turned), we look.
const POLL: Duration = Duration::from_secs(30);

const MAX_DEPTH: usize = 8;
const MAX_FILES: usize = 10_000;
const MAX_FILE_BYTES: u64 = 16 << 20;
const MAX_TOTAL_BYTES: u64 = 64 << 20;

fn generation(root: &Path) -> Option<PathBuf> {
    fs::read_link(root.join("..data")).ok()
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> RulesError + '_ {
    |source| RulesError::Unreadable { path: path.to_owned(), source }
}

fn read_once(root: &Path) -> Result<Vec<SourceFile>, RulesError> {
    let mut files = Vec::new();
    let mut total = 0;
    let mut folders = vec![(root.to_owned(), String::new(), 0)];
    let mut seen = BTreeSet::new();
    while let Some((folder, prefix, depth)) = folders.pop() {
        // A link may lead back up.
        if !seen.insert(fs::canonicalize(&folder).map_err(unreadable(&folder))?) {
            continue;
        }
        if depth > MAX_DEPTH {
            return Err(RulesError::TooMuch { path: folder, why: format!("folders are nested deeper than {MAX_DEPTH}") });
        }
        for entry in fs::read_dir(&folder).map_err(unreadable(&folder))? {
            let path = entry.map_err(unreadable(&folder))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.')) else {
                continue;
            };
            let relative = format!("{prefix}{name}");
            let is_policy = (name.ends_with(".yaml") || name.ends_with(".yml"))
                && !name.ends_with("_test.yaml")
                && !name.ends_with("_test.yml");
            let kind = match fs::metadata(&path) {
                Ok(kind) => kind,
                // Something else that comes and goes is not ours.
                Err(_) if !is_policy => continue,
                Err(error) => return Err(unreadable(&path)(error)),
            };
            if kind.is_dir() {
                folders.push((path, format!("{relative}/"), depth + 1));
            } else if is_policy {
                total += kind.len();
                let why = match () {
                    () if kind.len() > MAX_FILE_BYTES => format!("the file is larger than {MAX_FILE_BYTES} bytes"),
                    () if total > MAX_TOTAL_BYTES => format!("the policy files are larger than {MAX_TOTAL_BYTES} bytes in all"),
                    () if files.len() == MAX_FILES => format!("there are more than {MAX_FILES} policy files"),
                    () => {
                        let bytes = fs::read(&path).map_err(unreadable(&path))?;
                        files.push(SourceFile { path: relative, bytes });
                        continue;
                    }
                };
                return Err(RulesError::TooMuch { path, why });
            }
        }
    }
    files.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    Ok(files)
}

/// The commit that is checked out there, read from the files of `.git`; nothing where that cannot be told.
pub fn commit(root: &Path) -> Option<String> {
    let root = fs::canonicalize(root).ok()?;
    let git = root.ancestors().map(|folder| folder.join(".git")).find(|git| git.exists())?;
    let git = if git.is_dir() {
        git
    } else {
        // A work tree beside its repository.
        let pointer = read_small(&git)?;
        git.parent()?.join(pointer.strip_prefix("gitdir:")?.trim())
    };
    let head = read_small(&git.join("HEAD"))?;
    let Some(name) = head.trim().strip_prefix("ref:").map(str::trim) else { return hash(&head) };
    if name.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
        return None;
    }
    let common = read_small(&git.join("commondir")).map_or_else(|| git.clone(), |common| git.join(common.trim()));
    let loose = [&git, &common].into_iter().find_map(|folder| read_small(&folder.join(name)));
    loose.as_deref().and_then(hash).or_else(|| {
        let packed = read_small(&common.join("packed-refs"))?;
        packed
            .lines()
            .find_map(|line| line.split_once(' ').filter(|(_, found)| found.trim() == name).and_then(|(found, _)| hash(found)))
    })
}

fn read_small(path: &Path) -> Option<String> {
    let is_small = fs::metadata(path).is_ok_and(|kind| kind.is_file() && kind.len() <= MAX_FILE_BYTES);
    is_small.then(|| fs::read_to_string(path).ok()).flatten()
}

fn hash(text: &str) -> Option<String> {
    let text = text.trim();
    (matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

/// What the folder holds, or why it cannot be read: both are news when they change.
fn fingerprint(root: &Path) -> [u8; 32] {
    let mut hasher = Sha256::new();
    match read(root) {
        Ok(files) => {
            for part in files.iter().flat_map(|file| [file.path.as_bytes(), &file.bytes]) {
                hasher.update((part.len() as u64).to_be_bytes());
                hasher.update(part);
            }
        }
        Err(error) => hasher.update(error.to_string()),
    }
    hasher.finalize().into()
}

/// What the watch knows when it begins.
struct Seen {
    told: Option<Told>,
    last: [u8; 32],
    event: mpsc::Sender<()>,
    events: mpsc::Receiver<()>,
}

async fn run(root: PathBuf, changed: mpsc::Sender<()>, seen: Seen) {
    let Seen { mut told, mut last, event, mut events } = seen;
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    poll.reset();
    loop {
        tokio::select! {
            () = changed.closed() => return,
            _ = events.recv() => debounce(&mut events).await,
            _ = poll.tick() => {}
        }
        if told.as_ref().is_none_or(|told| told.is_stale(&root)) {
            told = Told::new(&root, event.clone());
        }
        let folder = root.clone();
        let Ok(now) = tokio::task::spawn_blocking(move || fingerprint(&folder)).await else { return };
        if now != last {
            last = now;
            // A full channel already holds a tick that nobody has taken.
            let _ = changed.try_send(());
        }
    }
}

/// Waits until nothing has happened for a moment.
async fn debounce(events: &mut mpsc::Receiver<()>) {
    let quiet = async { while tokio::time::timeout(DEBOUNCE, events.recv()).await.is_ok() {} };
    // Too much going on: look all the same.
    let _ = tokio::time::timeout(DEBOUNCE_MOST, quiet).await;
}

/// Our own reading is told too: taken for a change it would never end.
fn is_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(access) => *access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

/// The system's own notice of changes.
struct Told {
    /// What the path led to when this was set up.
    real: Option<PathBuf>,
    _watcher: RecommendedWatcher,
}

impl Told {
    fn new(root: &Path, event: mpsc::Sender<()>) -> Option<Self> {
        let watcher = notify::recommended_watcher(move |told: notify::Result<notify::Event>| {
            if told.is_ok_and(|told| !is_change(&told.kind)) {
                return;
            }
            // Full: somebody is about to look anyway.
            let _ = event.try_send(());
        });
        let set_up = watcher.and_then(|mut watcher| {
            watcher.watch(root, RecursiveMode::Recursive)?;
            // A folder that is a link is replaced in the folder around it.
            if let Some(parent) = root.parent().filter(|parent| root.is_symlink() && !parent.as_os_str().is_empty()) {
                watcher.watch(parent, RecursiveMode::NonRecursive)?;
            }
            Ok(Self { real: fs::canonicalize(root).ok(), _watcher: watcher })
        });
        set_up
            .inspect_err(
                |error| tracing::warn!(%error, folder = %root.display(), "no notice of changed policies; looking every 30 s"),
            )
            .ok()
    }

    fn is_stale(&self, root: &Path) -> bool {
        fs::canonicalize(root).ok() != self.real
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(root: &Path) -> Vec<String> {
        read(root).unwrap().into_iter().map(|file| file.path).collect()
    }

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A folder as kubelet mounts a ConfigMap.
    fn config_map(root: &Path, generation: &str, text: &str) {
        write(&root.join(format!("..{generation}/shop.yaml")), text);
        write(&root.join(format!("..{generation}/sub/more.yaml")), "policies: []");
        symlink(format!("..{generation}"), root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        for name in ["shop.yaml", "sub"] {
            if !root.join(name).is_symlink() {
                symlink(format!("..data/{name}"), root.join(name)).unwrap();
            }
        }
    }

    #[test]
    fn reads_policies_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in [
            "b.yaml",
            "a.yml",
            "_defaults.yaml",
            "shop/c.yaml",
            "README.md",
            ".hidden.yaml",
            ".git/x.yaml",
            "tests/a_test.yaml",
            "x.yaml.bak",
        ] {
            write(&root.join(name), "policies: []");
        }
        symlink(root, root.join("shop/loop")).unwrap();
        symlink("/nowhere", root.join("dangling.txt")).unwrap();
        assert_eq!(names(root), ["_defaults.yaml", "a.yml", "b.yaml", "shop/c.yaml"]);
        symlink("/nowhere", root.join("dangling.yaml")).unwrap();
        assert!(read(root).unwrap_err().to_string().contains("dangling.yaml"));
        assert!(matches!(read(&root.join("none")), Err(RulesError::Unreadable { .. })));
    }

    #[test]
    fn reads_a_config_map_once() {
        let folder = tempfile::tempdir().unwrap();
        config_map(folder.path(), "one", "policies: []");
        assert_eq!(names(folder.path()), ["shop.yaml", "sub/more.yaml"]);
    }

    #[test]
    fn knows_the_commit() {
        let folder = tempfile::tempdir().unwrap();
        let (root, rules) = (folder.path(), folder.path().join("a/rules"));
        fs::create_dir_all(&rules).unwrap();
        assert_eq!(commit(&rules), None);
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        write(&root.join(".git/HEAD"), "ref: refs/heads/main\n");
        write(&root.join(".git/packed-refs"), &format!("# pack-refs\n{one} refs/heads/main\n"));
        assert_eq!(commit(&rules), Some(one.clone()));
        write(&root.join(".git/refs/heads/main"), &format!("{two}\n"));
        assert_eq!(commit(&rules), Some(two.clone()));
        write(&root.join(".git/HEAD"), &one);
        assert_eq!(commit(&rules), Some(one.clone()));
        write(&root.join(".git/worktrees/w/HEAD"), "ref: refs/heads/main");
        write(&root.join(".git/worktrees/w/commondir"), "../..\n");
        write(&root.join("w/.git"), &format!("gitdir: {}/.git/worktrees/w\n", root.display()));
        assert_eq!(commit(&root.join("w")), Some(two));
        write(&root.join(".git/HEAD"), "ref: ../../etc/passwd");
        assert_eq!(commit(&rules), None);
    }

    #[test]
    fn a_wrong_folder_says_so() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("a.yaml"), "polices: []\n");
        let error = load(folder.path(), true).unwrap_err();
        assert!(error.to_string().starts_with("an error in the policies; the first: a.yaml:1:1"), "{error}");
        write(&folder.path().join("a.yaml"), "policies: [{name: a, decide: [{page: {}}]}]\n");
        assert_eq!(load(folder.path(), true).unwrap().policies.policies.len(), 1);
    }

    #[tokio::test]
    async fn looking_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("a.yaml"), "policies: []");
        let (event, mut events) = mpsc::channel(1);
        let told = Told::new(folder.path(), event).unwrap();
        let before = fingerprint(folder.path());
        assert_eq!(fingerprint(folder.path()), before);
        // Nothing to wait for but that nothing comes.
        assert!(tokio::time::timeout(DEBOUNCE, events.recv()).await.is_err());
        write(&folder.path().join("a.yaml"), "policies: [] # changed");
        assert_eq!(tokio::time::timeout(Duration::from_secs(20), events.recv()).await, Ok(Some(())));
        assert!(!told.is_stale(folder.path()));
    }

    #[tokio::test]
    async fn notices_changes_and_swaps() {
        let folder = tempfile::tempdir().unwrap();
        config_map(folder.path(), "one", "policies: []");
        let (mut changed, task) = watch(folder.path().to_owned());
        let mut tick = async || tokio::time::timeout(Duration::from_secs(20), changed.recv()).await.expect("in time");
        config_map(folder.path(), "two", "policies: [] # two");
        assert!(tick().await.is_some());
        config_map(folder.path(), "last", "policies: [] # last");
        assert!(tick().await.is_some());
        drop(changed);
        task.await.unwrap();
    }
}
