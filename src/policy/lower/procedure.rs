//! Procedures: what is done, whether its steps fit its kind, and how its success is proven.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::diagnostic::Raised;
use super::super::expr::Env;
use super::super::source::At;
use super::super::syntax::{self, Availability};
use super::super::template::Template;
use super::super::types::{Kind, Place, Procedure, Step, Verify};
use super::super::yaml::Field;
use super::later::Later;
use super::text::Zero;
use super::verify::{Shared, usual};
use super::{DraftProcedure, Lower};
use crate::model::{Mode, StepKind};

/// The name of the built-in procedure that is carried out.
pub(super) const UNDO: &str = "undo";

/// The procedures that are always there.
pub(super) fn built_in() -> Vec<Procedure> {
    let step = |kind| Step { kind, keys: Vec::new(), when: None };
    let to_zero = Step { keys: vec![("replicas".to_owned(), Template::literal("0"))], ..step(StepKind::Scale) };
    let later = |name: &str| vec![format!("the step `{name}`")];
    let gone = Verify { alert: true, rollout: true, ..usual() };
    vec![
        procedure(UNDO, Kind::Rollback, vec![Step::UNDO]),
        Procedure { later: later("helm"), ..procedure("helm", Kind::Rollback, vec![step(StepKind::Helm)]) },
        Procedure { later: later("switch"), ..procedure("switch", Kind::Rollback, vec![step(StepKind::Switch)]) },
        Procedure { later: later("scale"), verify: gone, may_drop: true, ..procedure("stop", Kind::Contain, vec![to_zero]) },
    ]
}

fn procedure(name: &str, kind: Kind, steps: Vec<Step>) -> Procedure {
    Procedure {
        name: name.to_owned(),
        place: Place::default(),
        kind,
        mode: None,
        manual: false,
        countdown: None,
        approval_within: None,
        may_drop: false,
        announce: Vec::new(),
        steps,
        on_failure: Vec::new(),
        verify: usual(),
        later: Vec::new(),
    }
}

impl Lower<'_> {
    pub(super) fn add_procedure(
        &self,
        all: &mut BTreeMap<String, DraftProcedure>,
        written: &syntax::Procedure,
        at: At,
        (env, shared): (&Env, &Shared<'_>),
    ) {
        let name = self.name("procedure", &written.name, at);
        let procedure = self.procedure(written, at, name.as_ref().map_or("", |(name, _)| name), env, shared);
        let later = self.take_later();
        let Some((name, at)) = name else {
            self.say_later(&later, Mode::Shadow, "a procedure");
            return;
        };
        let procedure = Procedure { later: later.iter().filter_map(Later::changes).collect(), ..procedure };
        if built_in().iter().any(|built_in| built_in.name == name) {
            let raised = Raised::error("duplicate-name", at, format!("the procedure `{name}` is built in"));
            self.raise(raised.help("give this one another name, and name that in `rollback`"));
        } else if let Some(first) = all.get(&name) {
            let message = format!("the procedure `{name}` is already there, in {}", self.place_text(first.at));
            self.raise(Raised::error("duplicate-name", at, message).help("rename one of the two"));
        } else {
            all.insert(name, DraftProcedure { procedure, at, later });
        }
    }

    fn procedure(&self, written: &syntax::Procedure, at: At, name: &str, env: &Env, shared: &Shared<'_>) -> Procedure {
        let countdown = self.duration(&written.countdown, Zero::Allowed);
        if let (Some(Duration::ZERO), Some(at)) = (countdown, written.countdown.at()) {
            let raised = Raised::warning("no-countdown", at, "without a countdown nobody has the time to veto");
            self.raise(raised.help("write for example `countdown: 30s`"));
        }
        let kind = written.kind.get().map_or(Kind::Rollback, |kind| match kind {
            syntax::Kind::Rollback => Kind::Rollback,
            syntax::Kind::Contain => Kind::Contain,
            syntax::Kind::Recover => Kind::Recover,
        });
        if let Some(at) = written.kind.at().filter(|_| kind != Kind::Rollback) {
            self.later_at("kind", kind.as_str(), at);
        }
        for (name, field) in [("carries_back", &written.carries_back), ("unattended", &written.unattended)] {
            if let (Some(true), Some(at)) = (field.get(), field.at()) {
                self.later_at("procedure", name, at);
            }
        }
        self.later("procedure", "on_failure", &written.on_failure);
        let steps = self.steps(&written.steps, at, env);
        let on_failure = self.step_list(&written.on_failure, env);
        self.fits_kind(kind, steps.iter().chain(&on_failure));
        self.has_way_back(kind, &steps, &on_failure);
        self.carries_back(written, &steps);
        let only = |steps: Vec<(Step, At)>| steps.into_iter().map(|(step, _)| step).collect();
        Procedure {
            place: self.place(at),
            mode: written.mode.get().copied(),
            manual: written.manual.get() == Some(&true),
            countdown,
            approval_within: self.approval(&written.approval),
            may_drop: written.availability.get() == Some(&Availability::MayDrop),
            announce: self.announcements(&written.announce),
            on_failure: only(on_failure),
            verify: self.verification(&written.verify, at, env, shared),
            ..procedure(name, kind, only(steps))
        }
    }

    fn steps(&self, field: &Field<Vec<Field<super::super::yaml::Word<syntax::Step>>>>, holder: At, env: &Env) -> Vec<(Step, At)> {
        let is_absent = field.is_missing() || field.placed().is_some_and(|(steps, _)| steps.is_empty());
        if is_absent {
            let raised =
                Raised::error("no-steps", field.at().unwrap_or(holder), "this procedure has no steps").missing_in(holder);
            self.raise(raised.help("write `steps: [undo]`"));
        }
        let steps = self.step_list(field, env);
        for (_, at) in steps.iter().filter(|(step, _)| step.is_undo()).skip(1) {
            let raised = Raised::error("duplicate-name", *at, "the step `undo` is already there");
            self.raise(raised.help("remove it"));
        }
        steps
    }

    /// What makes things safe must be such that it can be taken back.
    fn fits_kind<'s>(&self, kind: Kind, steps: impl Iterator<Item = &'s (Step, At)>) {
        use StepKind::{Http, Isolate, Scale, Switch, Traffic, Wait};
        if kind != Kind::Contain {
            return;
        }
        for (step, at) in steps.filter(|(step, _)| !matches!(step.kind, Scale | Isolate | Switch | Traffic | Http | Wait)) {
            let message = format!("the step `{}` in a procedure of the kind `contain`", step.kind.as_str());
            let raised = Raised::error("wrong-step", *at, message);
            self.raise(
                raised
                    .expected("one of `scale`, `isolate`, `switch`, `traffic`, `http`, `wait`")
                    .help("what contains must be such that it can be taken back; else it is of the kind `recover`"),
            );
        }
    }

    /// Whoever takes pods or traffic away says how they come back when a later step fails.
    fn has_way_back(&self, kind: Kind, steps: &[(Step, At)], on_failure: &[(Step, At)]) {
        if kind == Kind::Contain || !on_failure.is_empty() {
            return;
        }
        let says =
            |step: &Step, key: &str, value: &str| step.keys.iter().any(|(name, text)| name == key && text.source() == value);
        for (step, at) in steps {
            let takes_away = match step.kind {
                StepKind::Scale => says(step, "replicas", "0"),
                StepKind::Isolate => !says(step, "traffic", "restore"),
                _ => false,
            };
            if takes_away {
                let message =
                    format!("the step `{}` takes something away, and no `on_failure` brings it back", step.kind.as_str());
                let raised = Raised::error("no-way-back", *at, message);
                self.raise(raised.help("write for example `on_failure: [{scale: {workload: deployment/x, replicas: restore}}]`"));
            }
        }
    }

    /// Data that is carried back needs a step that does it, before the release changes, and a person or a word that none is needed.
    fn carries_back(&self, written: &syntax::Procedure, steps: &[(Step, At)]) {
        use StepKind::{Config, Docker, Exec, Git, Helm, Http, Image, Job, Switch, Traffic, Undo};
        let (Some(true), Some(at)) = (written.carries_back.get(), written.carries_back.at()) else { return };
        let is_attended = written.mode.get() == Some(&Mode::Approve) || written.mode.get() == Some(&Mode::Shadow);
        if !is_attended && written.unattended.get() != Some(&true) {
            let raised = Raised::error("missing-key", at, "data is carried back, and nobody approves it");
            self.raise(raised.expected("`mode: approve`, or `unattended: true`"));
        }
        let changes =
            |(step, _): &&(Step, At)| matches!(step.kind, Undo | Image | Switch | Traffic | Config | Helm | Git | Docker);
        let carries = |(step, _): &(Step, At)| matches!(step.kind, Job | Exec | Http);
        let before = steps.iter().position(|step| changes(&step)).unwrap_or(steps.len());
        if !steps.iter().take(before).any(carries) {
            let raised = Raised::error("missing-step", at, "no step carries the data back before the release changes");
            self.raise(raised.expected("a `job`, `exec` or `http` step before it"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::loaded;
    use super::*;

    fn read(procedure: &str) -> Procedure {
        let rule = if procedure.contains("kind: contain") { "first: p, page: {}" } else { "rollback: p" };
        let text = format!("policies: [{{name: a, decide: [{{{rule}}}]}}]\nprocedures: [{{name: p, {procedure}}}]\n");
        loaded(&text).policies.procedures.remove("p").expect("it is there")
    }

    #[test]
    fn a_procedure_is_what_it_says() {
        let plain = read("availability: keep, steps: [undo]");
        assert_eq!((plain.kind, plain.may_drop), (Kind::Rollback, false));
        assert_eq!(plain.later, Vec::<String>::new());
        let calm = read("kind: contain, availability: may_drop, steps: [{scale: {replicas: 1}}]");
        assert_eq!((calm.kind, calm.may_drop), (Kind::Contain, true));
    }

    #[test]
    fn what_would_change_what_is_done_is_remembered_and_what_only_tells_is_not() {
        for (procedure, later) in [
            ("kind: contain, steps: [{scale: {replicas: 1}}]", &["procedures of the kind `contain`", "the step `scale`"][..]),
            ("steps: [{undo: {revision: 7}}]", &["`revision` of the step `undo`"]),
            ("steps: [undo], on_failure: [restart]", &["`on_failure`", "the step `restart`"]),
            ("steps: [undo], announce: [{to: [x], every: 5m}]", &[]),
        ] {
            assert_eq!(read(procedure).later, later, "{procedure}");
        }
    }
}
