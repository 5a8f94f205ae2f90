//! What can only be judged over all files: names that must be there, once, and be used.

use std::collections::{BTreeMap, BTreeSet};

use super::super::diagnostic::Raised;
use super::super::problem::nearest;
use super::super::source::At;
use super::super::types::Procedure;
use super::procedure::UNDO;
use super::{Draft, Lower};
use crate::model::Mode;

impl Lower<'_> {
    pub(super) fn link(&self, drafts: &[Draft], procedures: &BTreeMap<String, (Procedure, At)>, are_all_read: bool) {
        self.policies_once(drafts);
        self.catch_all_last(drafts);
        for draft in drafts {
            self.uses(draft, procedures, are_all_read);
        }
        if are_all_read {
            self.unused(drafts, procedures);
        }
    }

    fn policies_once(&self, drafts: &[Draft]) {
        let mut names: BTreeMap<&str, At> = BTreeMap::new();
        for Draft { policy, at, .. } in drafts.iter().filter(|draft| !draft.policy.name.is_empty()) {
            if let Some(first) = names.get(policy.name.as_str()) {
                let message = format!("the policy `{}` is already there, in {}", policy.name, self.place_text(*first));
                self.raise(Raised::error("duplicate-name", *at, message).help("rename one of the two"));
            } else {
                names.insert(&policy.name, *at);
            }
        }
    }

    /// A policy that takes every alert leaves nothing to those behind it, unless it is in shadow.
    fn catch_all_last(&self, drafts: &[Draft]) {
        let Some((_, before)) = drafts.split_last() else { return };
        for Draft { policy, at, .. } in before.iter().filter(|draft| draft.takes_all && !draft.policy.name.is_empty()) {
            let message = format!("the policy `{}` has no matchers and is not the last one", policy.name);
            let help = "policies decide in the order of their files' paths: give it `matchers`, or put it last";
            if policy.mode > Mode::Shadow {
                let message = format!("{message}: no policy behind it would ever decide");
                self.raise(Raised::error("catch-all-not-last", *at, message).help(help));
            } else {
                let message = format!("{message}: in another mode it would leave nothing to those behind it");
                self.raise(Raised::warning("catch-all-not-last", *at, message).help(help));
            }
        }
    }

    fn uses(&self, draft: &Draft, procedures: &BTreeMap<String, (Procedure, At)>, are_all_read: bool) {
        for (name, at) in &draft.uses {
            if name == UNDO {
                if draft.has_own_defaults {
                    let raised = Raised::warning(
                        "defaults-not-applied",
                        *at,
                        "the built-in `undo` does not take the defaults of procedures",
                    );
                    self.raise(raised.help("write a procedure with `steps: [undo]` and name it here"));
                }
                continue;
            }
            let Some((procedure, _)) = procedures.get(name) else {
                if !are_all_read {
                    continue;
                }
                let names = procedures.keys().map(String::as_str).chain([UNDO]);
                let help = nearest(name, names.clone()).map(|near| format!("did you mean `{near}`?"));
                let known: Vec<String> = names.map(|name| format!("`{name}`")).collect();
                let raised = Raised::error("unknown-procedure", *at, format!("there is no procedure `{name}`"));
                self.raise(raised.expected(format!("one of {}", known.join(", "))).maybe_help(help));
                continue;
            };
            let read: BTreeSet<&String> = procedure.verify.facts.iter().flat_map(|fact| fact.facts()).collect();
            for fact in read.into_iter().filter(|fact| !draft.policy.facts.contains_key(*fact)) {
                let message = format!(
                    "the procedure `{name}` verifies `facts.{fact}`, which the policy `{}` does not have",
                    draft.policy.name
                );
                self.raise(
                    Raised::error("unknown-fact", *at, message).help("add it to the `facts` of the policy or of the file"),
                );
            }
        }
    }

    fn unused(&self, drafts: &[Draft], procedures: &BTreeMap<String, (Procedure, At)>) {
        let used: BTreeSet<&str> = drafts.iter().flat_map(|draft| &draft.uses).map(|(name, _)| name.as_str()).collect();
        for (name, (_, at)) in procedures.iter().filter(|(name, _)| !used.contains(name.as_str())) {
            let raised = Raised::error("unused-procedure", *at, format!("no rule names the procedure `{name}`"));
            self.raise(raised.help("name it in a `rollback`, or remove it"));
        }
    }
}
