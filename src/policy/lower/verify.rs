//! Verifications: what must hold, stage by stage, named or written out.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::Regex;

use super::super::diagnostic::Raised;
use super::super::expr::Env;
use super::super::source::At;
use super::super::syntax::{self, Expect, File, HttpCheck, ScalarText, Stage};
use super::super::types::{HttpCheckSpec, Verify};
use super::super::yaml::{Entries, Field, Listed, Short};
use super::Lower;
use super::policy::is_none;
use super::text::Zero;

const VERIFY_WITHIN: Duration = Duration::from_secs(10 * 60);

/// How success is proven where nothing is said.
pub(super) fn usual() -> Verify {
    Verify {
        name: None,
        within: VERIFY_WITHIN,
        tail: None,
        rollout: true,
        alert: true,
        facts: Vec::new(),
        http: Vec::new(),
        hold: Duration::ZERO,
        then: Vec::new(),
    }
}

/// The verifications that stand at the top of files, by name.
pub(super) type Shared<'f> = BTreeMap<String, (&'f Field<syntax::Verify>, At)>;

impl Lower<'_> {
    /// Each name once. Those that no procedure names are checked here, and only here.
    pub(super) fn shared_verifications<'f>(&self, files: &'f [File], env: &Env) -> Shared<'f> {
        let mut shared: Shared<'f> = BTreeMap::new();
        for Entries(entries) in files.iter().filter_map(|file| file.verifications.get()) {
            for (name, verify) in entries {
                let Some((name, at)) = name.placed() else { continue };
                if let Some((_, first)) = shared.get(name) {
                    let message = format!("the verification `{name}` is already there, in {}", self.place_text(*first));
                    self.raise(Raised::error("duplicate-name", at, message).help("rename one of the two"));
                    continue;
                }
                self.check_name("verification", name, at);
                if let Some((syntax::Verify::Named(other), at)) = verify.placed() {
                    let raised = Raised::error("wrong-type", at, format!("`{other}` names another verification"));
                    self.raise(raised.expected("a map such as `{rollout: complete, alert: resolved}`, or a list of them"));
                    continue;
                }
                let before = self.count_later();
                self.verification(verify, at, env, &BTreeMap::new());
                // What is not carried out of it is said by the procedures that name it.
                self.later.borrow_mut().truncate(before);
                shared.insert(name.clone(), (verify, at));
            }
        }
        shared
    }

    /// What stands under `verify`.
    pub(super) fn verification(&self, field: &Field<syntax::Verify>, holder: At, env: &Env, shared: &Shared<'_>) -> Verify {
        let Some((written, at)) = field.placed() else { return usual() };
        match written {
            syntax::Verify::One(stage) => self.stage(stage, at, env),
            syntax::Verify::Stages(stages) => {
                let mut lowered: Vec<Verify> =
                    stages.iter().filter_map(Field::placed).map(|(stage, at)| self.stage(stage, at, env)).collect();
                if stages.is_empty() {
                    let raised = Raised::error("proves-nothing", at, "this `verify` has no stages").missing_in(holder);
                    self.raise(raised.help("write at least one, for example `{rollout: complete, alert: resolved}`"));
                }
                if lowered.is_empty() {
                    return usual();
                }
                let first = lowered.remove(0);
                Verify { then: lowered, ..first }
            }
            syntax::Verify::Named(name) => {
                let names: Vec<String> = shared.keys().cloned().collect();
                match self.known("verification", name, at, &names).and_then(|name| shared.get(&name)) {
                    Some((field, at)) => self.verification(field, *at, env, &BTreeMap::new()),
                    None => usual(),
                }
            }
        }
    }

    fn stage(&self, written: &Stage, at: At, env: &Env) -> Verify {
        let refused = Zero::Refused("write for example `within: 10m`");
        let Listed(facts) = written.facts.get().cloned().unwrap_or_default();
        let http = written.http.get().map_or(&[][..], Vec::as_slice);
        let proves_something = [
            !written.rollout.is_missing(),
            !written.alert.is_missing(),
            !facts.is_empty() || matches!(written.facts, Field::Bad),
            !http.is_empty() || matches!(written.http, Field::Bad),
            !is_none(&written.quiet),
            !written.logs.is_missing(),
            !is_none(&written.jobs),
            !is_none(&written.endpoints),
            !written.hpa.is_missing(),
            !is_none(&written.announced),
        ];
        if !proves_something.contains(&true) {
            let raised = Raised::error("proves-nothing", at, "this `verify` proves nothing").missing_in(at);
            self.raise(raised.help("add for example `rollout: complete` and `alert: resolved`"));
        }
        self.stage_later(written, at, env);
        let name = written.name.placed().filter(|(name, at)| self.check_name("stage", name, *at));
        Verify {
            name: name.map(|(name, _)| name.clone()),
            within: self.duration(&written.within, refused).unwrap_or(VERIFY_WITHIN),
            tail: self.duration(&written.tail, Zero::Allowed),
            rollout: !written.rollout.is_missing(),
            alert: !written.alert.is_missing(),
            facts: self.conditions(&facts, env),
            http: http.iter().filter_map(Field::placed).filter_map(|(Short(check), at)| self.http(check, at)).collect(),
            hold: self.duration(&written.hold, Zero::Allowed).unwrap_or(Duration::ZERO),
            then: Vec::new(),
        }
    }

    /// Checks that are read and not made yet.
    fn stage_later(&self, written: &Stage, at: At, env: &Env) {
        self.later("verify", "quiet", &written.quiet);
        self.matchers(&written.quiet);
        self.later("verify", "logs", &written.logs);
        if let Some((logs, at)) = written.logs.placed() {
            match logs.forbid.placed() {
                Some((text, at)) if Regex::new(text).is_err() => {
                    let raised = Raised::error("bad-regex", at, format!("`{text}` is no regular expression"));
                    self.raise(raised.expected("a regular expression such as `panic|fatal`"));
                }
                None if logs.forbid.is_missing() => {
                    let raised = Raised::error("missing-key", at, "`forbid` is missing").missing_in(at);
                    self.raise(raised.expected("a regular expression such as `panic|fatal`"));
                }
                _ => {}
            }
        }
        self.later("verify", "jobs", &written.jobs);
        self.jobs(&written.jobs);
        self.later("verify", "endpoints", &written.endpoints);
        self.later("verify", "hpa", &written.hpa);
        self.later("verify", "announced", &written.announced);
        self.channels(&written.announced);
        self.later("verify", "checklist", &written.checklist);
        self.later("verify", "fail_if", &written.fail_if);
        for (fail, fail_at) in written.fail_if.get().into_iter().flatten().filter_map(Field::placed) {
            if is_none(&fail.matchers) == fail.when.is_missing() {
                let raised = Raised::error("conflicting-keys", fail_at, "this `fail_if` does not say one thing").missing_in(at);
                self.raise(raised.expected("`matchers` or `when`"));
            }
            self.matchers(&fail.matchers);
            if let Some((text, at)) = fail.when.placed() {
                self.condition(text, at, env);
            }
            if let Some(Short(page)) = fail.page.get() {
                self.channels(&page.to);
            }
        }
    }

    fn http(&self, written: &HttpCheck, at: At) -> Option<HttpCheckSpec> {
        let attempts = written.attempts.placed();
        if let Some((attempts, at)) = attempts.filter(|(attempts, _)| !(1..=MAX_ATTEMPTS).contains(*attempts)) {
            let raised = Raised::error("impossible-number", at, format!("`{attempts}` answers in a row cannot be asked for"));
            self.raise(raised.expected(format!("a number from 1 to {MAX_ATTEMPTS}")));
        }
        self.later("HTTP check", "every", &written.every);
        self.duration(&written.every, Zero::Refused("write for example `5s`"));
        if let Some(expect) = written.expect.get() {
            self.expect(expect);
        }
        let url = self.http_address(written, at)?;
        let expect = written.expect.get();
        Some(HttpCheckSpec {
            url,
            attempts: attempts.map_or(1, |(attempts, _)| *attempts),
            status: expect.and_then(|expect| expect.status.get()).copied(),
            text: expect.and_then(|expect| expect.text.get()).cloned(),
        })
    }

    /// What is expected of an answer.
    pub(super) fn expect(&self, expect: &Expect) {
        self.later("expect", "json", &expect.json);
        if let Some((status, at)) = expect.status.placed().filter(|(status, _)| !(100..=599).contains(*status)) {
            let raised = Raised::error("impossible-number", at, format!("`{status}` is no HTTP status"));
            self.raise(raised.expected("a number from 100 to 599"));
        }
    }

    fn http_address(&self, written: &HttpCheck, at: At) -> Option<super::super::template::Template> {
        const PATHS: [&str; 7] = [
            "target.kind",
            "target.namespace",
            "target.name",
            "target.cluster",
            "incident.id",
            "plan.to.images",
            "plan.to.revision",
        ];
        for (name, place) in [("service", written.service.at()), ("port", written.port.at()), ("path", written.path.at())] {
            let Some(place) = place else { continue };
            self.later_at("HTTP check", name, place);
            if !written.url.is_missing() {
                let raised = Raised::error("conflicting-keys", place, format!("`{name}` beside `url`"));
                self.raise(raised.help("ask a `url`, or a `service` with `port` and `path`"));
            }
        }
        if let Some((ScalarText(port), at)) = written.port.placed()
            && port.parse::<u16>().map_or_else(|_| port.is_empty() || port.contains(['/', ' ']), |port| port == 0)
        {
            self.raise(Raised::error("impossible-number", at, format!("`{port}` is no port")).expected("a number or a name"));
        }
        if let Some((path, at)) = written.path.placed() {
            self.template(path, at, &PATHS);
        }
        if written.url.is_missing() && written.service.is_missing() {
            let raised = Raised::error("missing-key", at, "`url` is missing").missing_in(at);
            self.raise(raised.expected("an address such as `https://shop.example/health`"));
        }
        let (text, url_at) = written.url.placed()?;
        let url = self.template(text, url_at, &PATHS)?;
        if !has_literal_host(&text.0) {
            let raised = Raised::error("bad-url", url_at, "scheme and host of an address must be written out");
            self.raise(
                raised.expected("an address such as `https://shop.example/health`").help("values can stand behind the host"),
            );
            return None;
        }
        Some(url)
    }
}

/// Asked one after the other within the verification's time.
const MAX_ATTEMPTS: u32 = 100;

/// Whom we ask is decided in review, not by what runs.
pub(super) fn has_literal_host(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or("");
    !host.is_empty() && !host.contains(['{', '}', '@', '\\']) && !host.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::*;

    fn said_of(verify: &str) -> Vec<String> {
        said(&format!(
            "policies: [{{name: a, decide: [{{rollback: p}}]}}]\nprocedures: [{{name: p, steps: [undo], verify: {{{verify}}}}}]\n"
        ))
    }

    #[test]
    fn the_host_of_an_address_is_written_out() {
        for (url, is_literal) in [
            ("https://shop.example", true),
            ("http://shop.example/{{ target.name }}", true),
            ("https://shop.example?q={{ target.name }}", true),
            ("https://{{ target.name }}/health", false),
            ("https://{{target.name}}", false),
            ("https://shop@evil.example/", false),
            ("https://shop .example/", false),
            ("https:///health", false),
            ("https://", false),
            ("ftp://shop.example/", false),
            ("shop.example", false),
        ] {
            assert_eq!(has_literal_host(url), is_literal, "{url}");
        }
    }

    #[test]
    fn a_port_is_a_number_or_a_name() {
        for (port, is_port) in [("8080", true), ("http", true), ("0", false), ("'a b'", false), ("a/b", false)] {
            let said = said_of(&format!("http: [{{service: web, port: {port}}}]"));
            assert_eq!(!said.iter().any(|said| said.ends_with("is no port")), is_port, "{port}: {said:?}");
        }
    }

    #[test]
    fn what_logs_must_not_say_is_missing_only_where_it_is_not_there() {
        let missing = "error: `forbid` is missing".to_owned();
        for (logs, is_missing) in [("{}", true), ("{forbid: panic}", false), ("{forbid: [panic]}", false)] {
            let said = said_of(&format!("logs: {logs}"));
            assert_eq!(said.contains(&missing), is_missing, "{logs}: {said:?}");
        }
    }
}
