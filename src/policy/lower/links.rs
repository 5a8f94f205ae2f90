//! What can only be judged over all files: names that must be there, once, and be used.

use std::collections::{BTreeMap, BTreeSet};

use super::super::diagnostic::Raised;
use super::super::expr::Env;
use super::super::problem::nearest;
use super::super::source::At;
use super::super::types::{Kind, Procedure};
use super::later::not_carried_out;
use super::rule::Use;
use super::{Draft, DraftProcedure, Lower, procedure};
use crate::model::Mode;

type Procedures = BTreeMap<String, DraftProcedure>;

impl Lower<'_> {
    pub(super) fn link(&self, drafts: &[Draft], procedures: &Procedures, env: &Env, are_all_read: bool) {
        self.policies_once(drafts);
        self.catch_all_last(drafts);
        for draft in drafts {
            self.uses(draft, procedures, env, are_all_read);
        }
        self.say_later_of(drafts, procedures);
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

    fn uses(&self, draft: &Draft, procedures: &Procedures, env: &Env, are_all_read: bool) {
        let built_in = procedure::built_in();
        for used in &draft.uses {
            let Use { name, at, .. } = used;
            let mode = used.cap.map_or(draft.policy.mode, |cap| cap.min(draft.policy.mode));
            if let Some(procedure) = built_in.iter().find(|procedure| procedure.name == *name) {
                self.built_in(draft, procedure, used, mode);
                continue;
            }
            let Some(DraftProcedure { procedure, .. }) = procedures.get(name) else {
                if are_all_read {
                    self.unknown_procedure(name, *at, procedures, &built_in);
                }
                continue;
            };
            self.fits_use(procedure, used);
            let facts = procedure.verify.stages().flat_map(|stage| &stage.facts);
            let whens = procedure.steps.iter().chain(&procedure.on_failure).filter_map(|step| step.when.as_ref());
            let read: BTreeSet<&String> = facts.chain(whens).flat_map(|expr| expr.facts()).collect();
            for fact in read {
                let (message, help) = match draft.types.get(fact) {
                    None => (
                        format!(
                            "the procedure `{name}` reads `facts.{fact}`, which the policy `{}` does not have",
                            draft.policy.name
                        ),
                        "add it to the `facts` of the policy or of the file",
                    ),
                    Some(of) if env.facts.get(fact) != Some(of) => (
                        format!(
                            "the procedure `{name}` reads `facts.{fact}`, which is of another type in the policy `{}`",
                            draft.policy.name
                        ),
                        "let all policies that name the procedure read it `as` the same",
                    ),
                    Some(_) => continue,
                };
                self.raise(Raised::error("unknown-fact", *at, message).help(help));
            }
        }
    }

    fn built_in(&self, draft: &Draft, procedure: &Procedure, used: &Use, mode: Mode) {
        self.fits_use(procedure, used);
        if draft.has_own_defaults && !used.is_first {
            let message = format!("the built-in `{}` does not take the defaults of procedures", procedure.name);
            let raised = Raised::warning("defaults-not-applied", used.at, message);
            self.raise(raised.help("write a procedure with `steps: [undo]` and name it here"));
        }
        for later in &procedure.later {
            if mode > Mode::Shadow {
                let message = format!(
                    "{later} of the built-in `{}` is not carried out yet, and the mode is `{}`",
                    procedure.name,
                    mode.as_str()
                );
                self.raise(Raised::error("not-carried-out", used.at, message).help("stay in `mode: shadow`, or name `undo`"));
            } else {
                let message = format!("{later} of the built-in `{}` is not carried out yet", procedure.name);
                self.raise(not_carried_out(used.at, message, mode).help("it is planned, and nothing more"));
            }
        }
    }

    /// Whether a procedure may be named there.
    fn fits_use(&self, procedure: &Procedure, used: &Use) {
        let name = &procedure.name;
        if procedure.manual {
            let raised =
                Raised::error("manual-procedure", used.at, format!("the procedure `{name}` is only started by a person"));
            self.raise(raised.help("remove `manual: true` from it, or name another one"));
        }
        if used.is_first != (procedure.kind == Kind::Contain) {
            let (place, other) = if used.is_first { ("`first`", "`contain`") } else { ("`rollback`", "`rollback` or `recover`") };
            let message = format!("{place} names `{name}`, a procedure of the kind `{}`", procedure.kind.as_str());
            self.raise(Raised::error("wrong-kind", used.at, message).expected(format!("a procedure of the kind {other}")));
        }
    }

    fn unknown_procedure(&self, name: &str, at: At, procedures: &Procedures, built_in: &[Procedure]) {
        let names = procedures.keys().map(String::as_str).chain(built_in.iter().map(|procedure| procedure.name.as_str()));
        let help = nearest(name, names.clone()).map(|near| format!("did you mean `{near}`?"));
        let known: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        let raised = Raised::error("unknown-procedure", at, format!("there is no procedure `{name}`"));
        self.raise(raised.expected(format!("one of {}", known.join(", "))).maybe_help(help));
    }

    /// What of the procedures is not carried out, and in which mode that could matter.
    fn say_later_of(&self, drafts: &[Draft], procedures: &Procedures) {
        for (name, DraftProcedure { procedure, later, .. }) in procedures {
            let modes = drafts.iter().flat_map(|draft| {
                let uses = draft.uses.iter().filter(|used| used.name == *name);
                uses.map(|used| used.cap.map_or(draft.policy.mode, |cap| cap.min(draft.policy.mode)))
            });
            let mode = modes.max().unwrap_or(Mode::Shadow);
            let mode = procedure.mode.map_or(mode, |own| own.min(mode));
            self.say_later(later, mode, &format!("the procedure `{name}`"));
        }
    }

    fn unused(&self, drafts: &[Draft], procedures: &Procedures) {
        let used: BTreeSet<&str> = drafts.iter().flat_map(|draft| &draft.uses).map(|used| used.name.as_str()).collect();
        let is_unused = |(name, draft): &(&String, &DraftProcedure)| !used.contains(name.as_str()) && !draft.procedure.manual;
        for (name, DraftProcedure { at, .. }) in procedures.iter().filter(is_unused) {
            let raised = Raised::error("unused-procedure", *at, format!("no rule names the procedure `{name}`"));
            self.raise(raised.help("name it in a `rollback`, or remove it; `manual: true` where only people start it"));
        }
    }
}
