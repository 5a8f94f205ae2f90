//! Test files and what they name, from the disk: which tests there are, and the policies, as the service would read them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::build::Surroundings;
use super::rules::AlertRules;
use crate::policy::diagnostic::Diagnostic;
use crate::policy::test_file::types::{Named, TestFile};
use crate::policy::test_file::{self, Beside};
use crate::policy::types::Policies;
use crate::policy::{self, SourceFile, channels_named};
use crate::rules_dir;

/// Folders within each other that are looked through.
const MAX_DEPTH: usize = 8;

/// A test file with everything that it names.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its path, as it was named.
    pub path: String,
    /// What it says.
    pub file: TestFile,
    /// The policies that it tests.
    pub policies: Arc<Policies>,
    /// What its worlds have beside what their tests say.
    pub surroundings: Surroundings,
    /// The policy files and folders, as the file names them.
    pub named: Vec<String>,
    /// Prometheus' rule files, as the file names them.
    pub rules_named: Vec<String>,
    /// What is worth a look all the same.
    pub warnings: Vec<Diagnostic>,
}

/// Why a test file cannot be run.
#[derive(Clone, Debug)]
pub enum Unusable {
    /// A file cannot be read at all.
    Unreadable(String),
    /// The test file or its policies are wrong.
    Wrong(Vec<Diagnostic>),
}

/// All test files at these paths: a file as it is named, of a folder every `*_test.yaml` in it.
///
/// # Errors
/// What cannot be read.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for path in paths {
        let kind = fs::metadata(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
        if kind.is_dir() {
            let before = found.len();
            look_through(path, 0, &mut found)?;
            found[before..].sort();
        } else {
            found.push(path.clone());
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|path| seen.insert(path.clone()));
    Ok(found)
}

fn look_through(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let cannot = |error| format!("cannot read `{}`: {error}", folder.display());
    if depth > MAX_DEPTH {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.')) else { continue };
        if path.is_dir() {
            look_through(&path, depth + 1, found)?;
        } else if name.ends_with("_test.yaml") || name.ends_with("_test.yml") {
            found.push(path);
        }
    }
    Ok(())
}

/// Reads a test file, its policies and its rule files.
///
/// # Errors
/// What cannot be read, or every mistake in it.
pub fn load(path: &Path) -> Result<Loaded, Unusable> {
    let shown = path.to_string_lossy().into_owned();
    let bytes = fs::read(path).map_err(|error| Unusable::Unreadable(format!("cannot read `{shown}`: {error}")))?;
    let source = SourceFile { path: shown.clone(), bytes };
    let folder = path.parent().unwrap_or(Path::new(""));
    let Beside { policies: named, rules } = test_file::beside(&source);
    let mut files = BTreeMap::new();
    let mut wrong = Vec::new();
    for name in &named {
        match policy_files(&folder.join(&name.text)) {
            Ok(found) => files.extend(found),
            Err(why) => wrong.extend(unusable(&source, name, &why)),
        }
    }
    let sources: Vec<SourceFile> = files.into_iter().map(|(path, bytes)| SourceFile { path, bytes }).collect();
    let alert_rules = alert_rules(&source, &rules, folder, &mut wrong);
    let policies = match policy::load(&sources, true) {
        Ok(loaded) => loaded,
        Err(diagnostics) => {
            wrong.extend(test_file::problems(&source));
            wrong.extend(diagnostics.into_iter().filter(Diagnostic::is_error));
            return Err(Unusable::Wrong(wrong));
        }
    };
    let file = test_file::load(&source, &policies.policies).map_err(|mut diagnostics| {
        diagnostics.append(&mut wrong);
        Unusable::Wrong(diagnostics)
    })?;
    if !wrong.is_empty() {
        return Err(Unusable::Wrong(wrong));
    }
    let surroundings =
        Surroundings { interval: file.evaluation_interval, rules: Arc::new(alert_rules), channels: channels(&policies.policies) };
    Ok(Loaded {
        path: shown,
        file,
        policies: Arc::new(policies.policies),
        surroundings,
        named: named.into_iter().map(|name| name.text).collect(),
        rules_named: rules.into_iter().map(|name| name.text).collect(),
        warnings: policies.warnings,
    })
}

/// The channels that the policies name, each once, behind the one that takes what is addressed to nobody.
pub fn channels(policies: &Policies) -> Vec<String> {
    let mut channels = vec!["default".to_owned()];
    for (name, _) in channels_named(policies) {
        if !channels.contains(&name) {
            channels.push(name);
        }
    }
    channels
}

fn unusable(source: &SourceFile, named: &Named, why: &str) -> Vec<Diagnostic> {
    test_file::cannot_use(source, named, why, "paths are seen from the folder of this file")
}

fn alert_rules(source: &SourceFile, named: &[Named], folder: &Path, wrong: &mut Vec<Diagnostic>) -> AlertRules {
    let mut rules = AlertRules::default();
    for name in named {
        let path = folder.join(&name.text);
        let read = fs::read_to_string(&path).map_err(|error| format!("cannot read `{}`: {error}", plain(&path)));
        if let Err(why) = read.and_then(|text| rules.add(&text)) {
            wrong.extend(unusable(source, name, &why));
        }
    }
    rules
}

/// A policy file with the defaults that reach it, or everything of a folder: path and content.
fn policy_files(path: &Path) -> Result<Vec<(String, Vec<u8>)>, String> {
    let read = |path: &Path| fs::read(path).map_err(|error| format!("cannot read `{}`: {error}", plain(path)));
    if path.is_dir() {
        let files = rules_dir::read(path).map_err(|error| error.to_string())?;
        let root = plain(path);
        let named = |file: SourceFile| {
            let whole = if root.is_empty() { file.path } else { format!("{root}/{}", file.path) };
            (whole, file.bytes)
        };
        return Ok(files.into_iter().map(named).collect());
    }
    let mut files = vec![(plain(path), read(path)?)];
    let real = fs::canonicalize(path).map_err(|error| format!("cannot read `{}`: {error}", plain(path)))?;
    // The service reads a whole folder, whose `_defaults.yaml` may stand further up.
    let mut folder = PathBuf::from(plain(path));
    for above in real.ancestors().skip(1).take(MAX_DEPTH) {
        folder.pop();
        let defaults = above.join("_defaults.yaml");
        if defaults.is_file() {
            files.push((plain(&folder.join("_defaults.yaml")), read(&defaults)?));
        }
        if above.join(".git").exists() || folder.as_os_str().is_empty() {
            break;
        }
    }
    Ok(files)
}

/// A path as people read it: without `.` and without going down and up again.
pub(super) fn plain(path: &Path) -> String {
    let mut parts: Vec<Component<'_>> = Vec::new();
    for part in path.components() {
        match (part, parts.last()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => drop(parts.pop()),
            (part, _) => parts.push(part),
        }
    }
    parts.into_iter().collect::<PathBuf>().to_string_lossy().into_owned()
}

/// Whether a file of that name holds policies, as `rules_dir` sees it.
pub(super) fn is_policy(name: &str) -> bool {
    let ends = |endings: [&str; 2]| endings.into_iter().any(|ending| name.ends_with(ending));
    !name.starts_with('.') && ends([".yaml", ".yml"]) && !ends(["_test.yaml", "_test.yml"])
}
