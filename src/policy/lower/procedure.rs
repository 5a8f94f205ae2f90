//! Procedures: what a rollback does, and how its success is proven.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::diagnostic::Raised;
use super::super::expr::Env;
use super::super::source::At;
use super::super::syntax::{self, Availability};
use super::super::types::{HttpCheckSpec, Procedure, Step, Verify};
use super::super::yaml::{Field, Listed, Short, Word};
use super::Lower;
use super::text::Zero;

/// The name of the built-in procedure.
pub(super) const UNDO: &str = "undo";

const APPROVAL_WITHIN: Duration = Duration::from_secs(10 * 60);
const VERIFY_WITHIN: Duration = Duration::from_secs(10 * 60);

/// The built-in procedure: put the last good release back.
pub(super) fn undo() -> Procedure {
    Procedure {
        name: UNDO.to_owned(),
        mode: None,
        countdown: None,
        approval_within: APPROVAL_WITHIN,
        may_drop: false,
        steps: vec![Step::Undo],
        verify: default_verify(),
    }
}

fn default_verify() -> Verify {
    Verify {
        within: VERIFY_WITHIN,
        tail: None,
        rollout: true,
        alert: true,
        facts: Vec::new(),
        http: Vec::new(),
        hold: Duration::ZERO,
    }
}

impl Lower<'_> {
    pub(super) fn add_procedure(
        &self,
        all: &mut BTreeMap<String, (Procedure, At)>,
        written: &syntax::Procedure,
        at: At,
        env: &Env,
    ) {
        let name = self.name("procedure", &written.name, at);
        let procedure = self.procedure(written, at, name.as_ref().map_or("", |(name, _)| name), env);
        let Some((name, at)) = name else { return };
        if name == UNDO {
            let raised = Raised::error("duplicate-name", at, "the procedure `undo` is built in");
            self.raise(raised.help("give this one another name, and name that in `rollback`"));
        } else if let Some((_, first)) = all.get(&name) {
            let message = format!("the procedure `{name}` is already there, in {}", self.place_text(*first));
            self.raise(Raised::error("duplicate-name", at, message).help("rename one of the two"));
        } else {
            all.insert(name, (procedure, at));
        }
    }

    fn procedure(&self, written: &syntax::Procedure, at: At, name: &str, env: &Env) -> Procedure {
        let countdown = self.duration(&written.countdown, Zero::Allowed);
        if let (Some(Duration::ZERO), Some(at)) = (countdown, written.countdown.at()) {
            let raised = Raised::warning("no-countdown", at, "without a countdown nobody has the time to veto");
            self.raise(raised.help("write for example `countdown: 30s`"));
        }
        let approval = written.approval.get().map(|Short(approval)| approval);
        let within =
            approval.and_then(|approval| self.duration(&approval.within, Zero::Refused("write for example `approval: 10m`")));
        Procedure {
            name: name.to_owned(),
            mode: written.mode.get().copied(),
            countdown,
            approval_within: within.unwrap_or(APPROVAL_WITHIN),
            may_drop: written.availability.get() == Some(&Availability::MayDrop),
            steps: self.steps(&written.steps, at),
            verify: written.verify.placed().map_or_else(default_verify, |(verify, at)| self.verify(verify, at, env)),
        }
    }

    fn steps(&self, field: &Field<Vec<Field<Word<syntax::Step>>>>, procedure: At) -> Vec<Step> {
        let written = field.get().map_or(&[][..], Vec::as_slice);
        let is_absent = field.is_missing() || field.placed().is_some_and(|(steps, _)| steps.is_empty());
        if is_absent {
            let raised =
                Raised::error("no-steps", field.at().unwrap_or(procedure), "this procedure has no steps").missing_in(procedure);
            self.raise(raised.help("write `steps: [undo]`"));
        }
        let mut steps = Vec::new();
        for (Word(step), at) in written.iter().filter_map(Field::placed) {
            if step.undo.get().is_none() {
                continue;
            }
            if steps.contains(&Step::Undo) {
                let raised = Raised::error("duplicate-name", at, "the step `undo` is already there");
                self.raise(raised.help("remove it"));
            } else {
                steps.push(Step::Undo);
            }
        }
        steps
    }

    fn verify(&self, written: &syntax::Verify, at: At, env: &Env) -> Verify {
        let refused = Zero::Refused("write for example `within: 10m`");
        let Listed(facts) = written.facts.get().cloned().unwrap_or_default();
        let http = written.http.get().map_or(&[][..], Vec::as_slice);
        let proves_something = [
            !written.rollout.is_missing(),
            !written.alert.is_missing(),
            !facts.is_empty() || matches!(written.facts, Field::Bad),
            !http.is_empty() || matches!(written.http, Field::Bad),
        ];
        if !proves_something.contains(&true) {
            let raised = Raised::error("proves-nothing", at, "this `verify` proves nothing").missing_in(at);
            self.raise(raised.help("add for example `rollout: complete` and `alert: resolved`"));
        }
        Verify {
            within: self.duration(&written.within, refused).unwrap_or(VERIFY_WITHIN),
            tail: self.duration(&written.tail, Zero::Allowed),
            rollout: !written.rollout.is_missing(),
            alert: !written.alert.is_missing(),
            facts: self.conditions(&facts, env),
            http: http.iter().filter_map(Field::placed).filter_map(|(Short(check), at)| self.http(check, at)).collect(),
            hold: self.duration(&written.hold, Zero::Allowed).unwrap_or(Duration::ZERO),
        }
    }

    fn http(&self, written: &syntax::HttpCheck, at: At) -> Option<HttpCheckSpec> {
        let expect = written.expect.get();
        let status = expect.and_then(|expect| expect.status.placed());
        if let Some((status, at)) = status.filter(|(status, _)| !(100..=599).contains(*status)) {
            let raised = Raised::error("impossible-number", at, format!("`{status}` is no HTTP status"));
            self.raise(raised.expected("a number from 100 to 599"));
        }
        let attempts = written.attempts.placed();
        if let Some((attempts, at)) = attempts.filter(|(attempts, _)| !(1..=MAX_ATTEMPTS).contains(*attempts)) {
            let raised = Raised::error("impossible-number", at, format!("`{attempts}` answers in a row cannot be asked for"));
            self.raise(raised.expected(format!("a number from 1 to {MAX_ATTEMPTS}")));
        }
        let Some((text, url_at)) = written.url.placed() else {
            if written.url.is_missing() {
                self.raise(
                    Raised::error("missing-key", at, "`url` is missing")
                        .missing_in(at)
                        .expected("an address such as `https://shop.example/health`"),
                );
            }
            return None;
        };
        let paths = [
            "target.kind",
            "target.namespace",
            "target.name",
            "target.cluster",
            "incident.id",
            "plan.to.images",
            "plan.to.revision",
        ];
        let url = self.template(text, url_at, &paths)?;
        if !has_literal_host(&text.0) {
            let raised = Raised::error("bad-url", url_at, "scheme and host of an address must be written out");
            self.raise(
                raised.expected("an address such as `https://shop.example/health`").help("values can stand behind the host"),
            );
            return None;
        }
        let text = expect.and_then(|expect| expect.text.get()).cloned();
        Some(HttpCheckSpec {
            url,
            attempts: attempts.map_or(1, |(attempts, _)| *attempts),
            status: status.map(|(status, _)| *status),
            text,
        })
    }
}

/// Asked one after the other within the verification's time.
const MAX_ATTEMPTS: u32 = 100;

/// Whom we ask is decided in review, not by what runs.
fn has_literal_host(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or("");
    !host.is_empty() && !host.contains(['{', '}', '@', '\\']) && !host.contains(char::is_whitespace)
}
