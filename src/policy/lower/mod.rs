//! From what is written to what is meant, for all files at once. Every mistake is reported; whoever reads the result must have
//! seen that there was none, because what could not be understood is left out of it.

mod brakes;
mod fact;
mod interval;
mod later;
mod links;
mod matrix;
mod people;
mod policy;
mod procedure;
mod rule;
mod step;
mod table;
mod text;
mod verify;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use self::later::Later;
use self::rule::Uses;
use super::diagnostic::{Raised, Sink};
use super::expr::{Env, FactType};
use super::source::{At, Sources};
use super::syntax::{Fact, File};
use super::types::{Place, Policies, Policy, Procedure};
use super::yaml::{Entries, Field};

/// What lowering needs everywhere.
#[derive(Clone, Copy)]
struct Lower<'s> {
    sink: &'s Sink,
    sources: &'s Sources<'s>,
    /// Whether the server's settings name the cluster: acting needs it.
    cluster_named: bool,
    /// What was found and is not carried out, until whoever it stands in takes it.
    later: &'s RefCell<Vec<Later>>,
    /// The time intervals of all files.
    known_intervals: &'s BTreeSet<String>,
    /// The messages of all files.
    known_messages: &'s [String],
}

/// What lowering is given beside the files.
pub(super) struct Given<'s> {
    pub(super) sink: &'s Sink,
    pub(super) sources: &'s Sources<'s>,
    /// For each file, whether defaults for procedures reach it.
    pub(super) defaults: &'s [bool],
    /// Whether the server's settings name the cluster.
    pub(super) cluster_named: bool,
    /// Else names may stand where we cannot see them.
    pub(super) are_all_read: bool,
}

/// A policy, and what can only be judged once all files are known.
struct Draft {
    policy: Policy,
    at: At,
    /// The procedures that its rules name.
    uses: Uses,
    /// Whether it is about every alert.
    takes_all: bool,
    /// Whether defaults for procedures stand where it stands.
    has_own_defaults: bool,
    /// What its facts are.
    types: BTreeMap<String, FactType>,
}

/// The same for a procedure.
struct DraftProcedure {
    procedure: Procedure,
    at: At,
    later: Vec<Later>,
}

/// Turns all files into policies.
pub(super) fn lower(files: &[File], given: &Given<'_>) -> Policies {
    let Given { sink, sources, defaults, cluster_named, are_all_read } = *given;
    let noted = RefCell::new(Vec::new());
    let nothing = BTreeSet::new();
    let lower = Lower { sink, sources, cluster_named, later: &noted, known_intervals: &nothing, known_messages: &[] };
    let intervals = lower.intervals(files);
    let known_intervals: BTreeSet<String> = intervals.keys().cloned().collect();
    let messages = lower.messages(files);
    let known_messages: Vec<String> = messages.keys().cloned().collect();
    let lower = Lower { known_intervals: &known_intervals, known_messages: &known_messages, ..lower };

    let shared = lower.shared_facts(files);
    let mut drafts: Vec<Draft> = Vec::new();
    for (file, has_defaults) in files.iter().zip(defaults) {
        for policy in file.policies.get().into_iter().flatten() {
            let Some((policy, at)) = policy.placed() else { continue };
            let draft = lower.policy(policy, at, &shared);
            drafts.push(Draft { has_own_defaults: *has_defaults, ..draft });
        }
        lower.defaults_without_names(file);
    }
    // Of two policies that read one name differently the first counts here; that they differ is reported where they are linked.
    let facts = drafts.iter().rev().flat_map(|draft| draft.types.clone()).collect();
    let env = Env { facts, intervals: known_intervals.clone() };
    let verifications = lower.shared_verifications(files, &env);
    let mut procedures: BTreeMap<String, DraftProcedure> = BTreeMap::new();
    for file in files {
        for procedure in file.procedures.get().into_iter().flatten() {
            let Some((procedure, at)) = procedure.placed() else { continue };
            lower.add_procedure(&mut procedures, procedure, at, (&env, &verifications));
        }
    }
    lower.link(&drafts, &procedures, &env, are_all_read);
    let mut all: BTreeMap<String, Procedure> = procedures.into_iter().map(|(name, draft)| (name, draft.procedure)).collect();
    all.extend(procedure::built_in().into_iter().map(|procedure| (procedure.name.clone(), procedure)));
    let policies: Vec<Policy> = drafts.into_iter().map(|draft| draft.policy).collect();
    if are_all_read {
        let policies: Vec<String> = policies.iter().map(|policy| policy.name.clone()).collect();
        let procedures: Vec<String> = all.keys().cloned().collect();
        lower.drills(files, &policies, &procedures);
    }
    let mut policies = Policies::new(policies, all);
    (policies.intervals, policies.messages) = (intervals, messages);
    policies
}

impl<'s> Lower<'s> {
    fn raise(&self, raised: Raised) {
        self.sink.raise(raised);
    }

    fn place(&self, at: At) -> Place {
        let line = u32::try_from(self.sources.line_of(at)).unwrap_or(u32::MAX);
        Place { file: self.sources.path_of(at).to_owned(), line }
    }

    /// `file:line`, for messages that name a second place.
    fn place_text(&self, at: At) -> String {
        format!("{}:{}", self.sources.path_of(at), self.sources.line_of(at))
    }

    /// The facts that stand at the top of files, each name once.
    fn shared_facts<'f>(&self, files: &'f [File]) -> Shared<'f> {
        let mut shared = Shared::default();
        for Entries(entries) in files.iter().filter_map(|file| file.facts.get()) {
            for (name, fact) in entries {
                let Some((name, at)) = name.placed() else { continue };
                if let Some((_, first)) = shared.get(name.as_str()) {
                    let message = format!("the shared fact `{name}` is already there, in {}", self.place_text(*first));
                    self.raise(Raised::error("duplicate-name", at, message).help("rename one of the two"));
                    continue;
                }
                self.fact_name(name, at);
                // Judged here once, also where no policy takes it over.
                self.fact(fact);
                shared.insert(name.as_str(), (fact, at));
            }
        }
        let later = self.take_later();
        // Who reads them is not known yet: any policy may.
        let modes = files.iter().filter_map(|file| file.policies.get()).flatten().filter_map(|policy| policy.get()?.mode.get());
        let mode = modes.copied().max().unwrap_or(crate::model::Mode::Shadow);
        self.say_later(&later, mode, "a fact");
        shared
    }

    fn defaults_without_names(&self, file: &File) {
        let Some(defaults) = file.defaults.get() else { return };
        let names = [defaults.policy.get().map(|policy| &policy.name), defaults.procedure.get().map(|procedure| &procedure.name)];
        for at in names.into_iter().flatten().filter_map(Field::at) {
            self.raise(Raised::error("misplaced-key", at, "a name cannot be a default").help("remove the key"));
        }
    }
}

type Shared<'f> = BTreeMap<&'f str, (&'f Field<Fact>, At)>;

#[cfg(test)]
mod tests {
    use super::super::diagnostic::{Diagnostic, to_text};
    use super::super::{Loaded, SourceFile, load};
    use super::*;

    /// What a file says once it is read; it must be one that can be applied.
    pub(super) fn loaded(text: &str) -> Loaded {
        read(text).unwrap_or_else(|found| panic!("{text}\n{}", to_text(&found)))
    }

    /// What is said of a file, whether it can be applied or not.
    pub(super) fn said(text: &str) -> Vec<String> {
        let found = read(text).map_or_else(|found| found, |loaded| loaded.warnings);
        found.into_iter().map(|found| format!("{}: {}", found.severity.as_str(), found.message)).collect()
    }

    fn read(text: &str) -> Result<Loaded, Vec<Diagnostic>> {
        load(&[SourceFile { path: "shop.yaml".to_owned(), bytes: text.as_bytes().to_vec() }], true)
    }

    #[test]
    fn everything_knows_where_it_stands() {
        let all =
            loaded("policies:\n  - name: a\n    decide:\n      - {rollback: p}\nprocedures:\n  - {name: p, steps: [undo]}\n")
                .policies;
        let place = |line| Place { file: "shop.yaml".to_owned(), line };
        assert_eq!(all.policies[0].decide[0].place, place(4));
        assert_eq!(all.procedures["p"].place, place(6));
        assert_eq!(all.procedures["undo"].place, Place::default());
    }
}
