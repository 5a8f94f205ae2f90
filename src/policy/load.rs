//! The way in: files of a folder become policies, or all their problems. Must not read the files itself.

use std::fmt::Write as _;

use schemars::generate::SchemaSettings;
use sha2::{Digest as _, Sha256};

use super::defaults;
use super::diagnostic::{Diagnostic, Raised, Sink};
use super::lower::{self, Given};
use super::source::{At, Sources};
use super::syntax::{self, File};
use super::types::{Announcement, Place, Policies, VerdictRule};
use super::yaml::{self, Context, Node};
use crate::model::Mode;

/// A file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Relative to the folder, with `/` on every system.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Policies that were found right.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The policies.
    pub policies: Policies,
    /// What is worth a look all the same.
    pub warnings: Vec<Diagnostic>,
}

/// Reads all files of a folder, in any order. `cluster_named`: whether the settings name the cluster, which acting needs.
///
/// # Errors
/// All problems of all files (warnings among them), by file and place. Nothing is applied then.
pub fn load(files: &[SourceFile], cluster_named: bool) -> Result<Loaded, Vec<Diagnostic>> {
    let mut files: Vec<&SourceFile> = files.iter().collect();
    files.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    let sources = Sources::new(files.iter().map(|file| (file.path.as_str(), file.bytes.as_slice())));
    let sink = Sink::default();
    let mut are_all_read = true;
    let mut trees: Vec<(&str, Option<Node<'_>>)> = Vec::with_capacity(files.len());
    for (number, file) in (0_u32..).zip(&files) {
        let before = sink.count(number);
        let tree = yaml::read(number, &file.bytes, &sink).filter(|tree| !matches!(tree.content, yaml::Content::Null));
        if tree.is_none() {
            let is_empty = sink.count(number) == before;
            are_all_read &= is_empty;
            empty_file(number, is_empty, &sink);
        }
        trees.push((&file.path, tree));
    }
    let procedure_defaults = defaults::apply(&mut trees);
    let context = Context { sink: &sink, refused: syntax::refused };
    let written: Vec<File> =
        trees.iter().map(|(_, tree)| tree.as_ref().and_then(|tree| yaml::from_node(tree, context)).unwrap_or_default()).collect();
    let given = Given { sink: &sink, sources: &sources, defaults: &procedure_defaults, cluster_named, are_all_read };
    let mut policies = lower::lower(&written, &given);
    let diagnostics = sink.finish(&sources);
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Err(diagnostics);
    }
    policies.hash = hash(&files);
    Ok(Loaded { policies, warnings: diagnostics })
}

/// That is worth a look, but no error.
fn empty_file(number: u32, is_empty: bool, sink: &Sink) {
    if is_empty {
        let at = At { file: number, ..At::default() };
        sink.raise(Raised::warning("empty-file", at, "the file holds nothing").help("write `policies:`, or remove the file"));
    }
}

/// SHA-256 over paths and contents, each with its length first.
fn hash(files: &[&SourceFile]) -> String {
    let mut hasher = Sha256::new();
    for file in files {
        for part in [file.path.as_bytes(), &file.bytes] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
    }
    let mut text = String::with_capacity(64);
    for byte in hasher.finalize() {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The JSON Schema (draft 2020-12) of a policy file, for editors.
pub fn schema() -> serde_json::Value {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>();
    schema.to_value()
}

/// Every key or value of the language that is read and checked and not carried out yet, behind the name of what holds it; and whether
/// it is an error in any mode but shadow.
pub fn not_yet() -> Vec<(&'static str, &'static str, bool)> {
    syntax::not_yet().collect()
}

/// Every channel that the policies name, with the place of its policy or rule. Whether they exist only the settings know.
pub fn channels_named(policies: &Policies) -> Vec<(String, Place)> {
    let mut named = Vec::new();
    for policy in &policies.policies {
        named.extend(policy.owner.iter().map(|owner| (owner.clone(), policy.place.clone())));
        for rule in &policy.decide {
            let to = match &rule.verdict {
                VerdictRule::Rollback { .. } => &[][..],
                VerdictRule::Page { to, .. } | VerdictRule::FixForward { to } => to,
            };
            named.extend(to.iter().chain(&rule.tell).map(|name| (name.clone(), rule.place.clone())));
        }
        named.extend(announced(&policy.announce).map(|name| (name.clone(), policy.place.clone())));
    }
    for procedure in policies.procedures.values() {
        named.extend(announced(&procedure.announce).map(|name| (name.clone(), procedure.place.clone())));
    }
    named
}

fn announced(all: &[Announcement]) -> impl Iterator<Item = &String> {
    all.iter().flat_map(|announcement| &announcement.to)
}

/// Whether any of these policies could ever write to a cluster.
pub fn may_act(policies: &Policies) -> bool {
    let above = |mode: Option<Mode>| mode.is_none_or(|mode| mode > Mode::Shadow);
    let acts = |level: &String| policies.procedures.get(level).is_none_or(|procedure| above(procedure.mode));
    policies.policies.iter().filter(|policy| policy.mode > Mode::Shadow).flat_map(|policy| &policy.decide).any(|rule| {
        let VerdictRule::Rollback { levels } = &rule.verdict else { return false };
        above(rule.mode) && levels.iter().any(acts)
    })
}
