//! The language of policy tests (`*_test.yaml`): read by the same reader as policies, every mistake with its place. What a test
//! says stands in `types`, how it is written in `syntax`; worlds are built and judged elsewhere.

mod alerts;
mod expect;
mod jobs;
mod lower;
mod names;
mod people;
mod read;
pub mod series;
mod syntax;
mod text;
pub mod types;

use schemars::generate::SchemaSettings;

use super::diagnostic::{Diagnostic, Sink};
use super::load::SourceFile;
use super::source::Sources;
use super::types::Policies;
use super::yaml::{self, Context};
use syntax::File;
use types::{Named, TestFile};

pub use expect::STATES;

/// What a test file names to be read beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Policy files and folders of them.
    pub policies: Vec<Named>,
    /// Prometheus' rule files.
    pub rules: Vec<Named>,
}

/// What a test file names, without judging the rest of it.
pub fn beside(file: &SourceFile) -> Beside {
    with(file, |written, lower| lower.beside(written)).0
}

/// Reads a test file against the policies that it tests; names in it must be theirs.
///
/// # Errors
/// All its problems. Nothing of it is run then.
pub fn load(file: &SourceFile, policies: &Policies) -> Result<TestFile, Vec<Diagnostic>> {
    let (read, diagnostics) = with(file, |written, lower| lower.file(written, Some(policies)));
    if diagnostics.iter().any(Diagnostic::is_error) { Err(diagnostics) } else { Ok(read) }
}

/// All problems of a test file whose policies cannot be read: names of theirs are not looked up.
pub fn problems(file: &SourceFile) -> Vec<Diagnostic> {
    with(file, |written, lower| lower.file(written, None)).1
}

/// The problem that what is named at a place of the file cannot be used.
pub fn cannot_use(file: &SourceFile, named: &Named, why: &str, help: &str) -> Vec<Diagnostic> {
    let sources = Sources::new([(file.path.as_str(), file.bytes.as_slice())]);
    let sink = Sink::default();
    sink.raise(super::diagnostic::Raised::error("bad-path", named.at(), why).help(help));
    sink.finish(&sources)
}

/// The JSON Schema (draft 2020-12) of a test file, for editors.
pub fn schema() -> serde_json::Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>().to_value()
}

fn with<T>(file: &SourceFile, f: impl FnOnce(&File, &lower::Lower<'_>) -> T) -> (T, Vec<Diagnostic>) {
    let sources = Sources::new([(file.path.as_str(), file.bytes.as_slice())]);
    let sink = Sink::default();
    let tree = yaml::read(0, &file.bytes, &sink).filter(|tree| !matches!(tree.content, yaml::Content::Null));
    let context = Context { sink: &sink, refused: syntax::refused };
    let is_empty = tree.is_none() && sink.count(0) == 0;
    let written: File = tree.as_ref().and_then(|tree| yaml::from_node(tree, context)).unwrap_or_default();
    let lower = lower::Lower { sink: &sink, sources: &sources, is_read: tree.is_some() };
    if is_empty {
        lower.nothing_in_it();
    }
    let made = f(&written, &lower);
    (made, sink.finish(&sources))
}

#[cfg(test)]
mod tests {
    use super::super::diagnostic::to_text;
    use super::*;

    fn file(text: &str) -> SourceFile {
        SourceFile { path: "shop_test.yaml".to_owned(), bytes: text.as_bytes().to_vec() }
    }

    /// What a test file says, which must be right.
    pub(super) fn read(text: &str) -> TestFile {
        let (read, found) = with(&file(text), |written, lower| lower.file(written, None));
        assert!(found.is_empty(), "{text}\n{}", to_text(&found));
        read
    }

    /// What is wrong with a test file, each with the text that it points at.
    pub(super) fn wrong(text: &str) -> Vec<(String, String)> {
        problems(&file(text)).into_iter().map(|found| (found.message, text[found.range].to_owned())).collect()
    }

    /// A file of one test with these keys.
    pub(super) fn one(keys: &str) -> String {
        let keys: String = keys.lines().map(|line| format!("    {line}\n")).collect();
        format!("policy_files: [shop.yaml]\ntests:\n  - name: a\n{keys}")
    }

    /// The same, in a world with these Deployments, and with nothing expected.
    pub(super) fn world(deployments: &[(&str, &str)], keys: &str) -> String {
        let line = |(namespace, name): &(&str, &str)| {
            format!("    - {{namespace: {namespace}, name: {name}, revisions: [{{image: 'v:1', deployed_at: -1d}}]}}\n")
        };
        let deployments: String = deployments.iter().map(line).collect();
        one(&format!("world:\n  deployments:\n{deployments}expect: [{{at: 9m, nothing: true}}]\n{keys}"))
    }
}
