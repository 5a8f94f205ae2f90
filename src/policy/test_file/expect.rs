//! What a test expects, from what is written to what it means.

use super::super::diagnostic::Raised;
use super::super::source::At;
use super::super::yaml::{Field, Listed, Short};
use super::lower::Lower;
use super::names::Names;
use super::read::{did_you_mean, list};
use super::syntax;
use super::types::{Expectation, Message, Subject, Test, Wanted};
use crate::model::{LatchCause, Moment, Outcome, Reason};

/// The words that `outcome` may be: what was decided, and what came of it.
fn outcomes() -> Vec<&'static str> {
    let verdicts = [Outcome::Rollback, Outcome::Page, Outcome::FixForward].map(Outcome::as_str);
    let reasons = Reason::ALL.iter().filter(|reason| **reason != Reason::Rule).map(|reason| reason.as_str());
    verdicts.into_iter().chain(reasons).collect()
}

/// The words that `state` may be: where an incident may stand.
pub const STATES: [&str; 13] = [
    "settling",
    "deciding",
    "countdown",
    "approval",
    "preparing",
    "redeciding",
    "executing",
    "verifying",
    "verified",
    "shadowed",
    "paged",
    "fix_forward",
    "closed",
];

impl Lower<'_> {
    /// All lines, in the order of time.
    pub(super) fn expectations(
        &self,
        field: &Field<Vec<Field<syntax::Expect>>>,
        test: &Test,
        names: Option<&Names<'_>>,
    ) -> Vec<Expectation> {
        let mut made = Vec::new();
        for (line, at) in field.get().into_iter().flatten().filter_map(Field::placed) {
            self.required("at", &line.at, at);
            let subject = self.subject(line, test, names);
            let wanted = self.wanted(line, test, names);
            if wanted.is_empty() && !self.is_blamed(line) {
                let raised = Raised::error("missing-key", at, "nothing is expected here").missing_in(at);
                self.raise(raised.expected("a key such as `outcome`, `rule`, `brake`, `actions` or `nothing`"));
            }
            let at_time = self.instant(&line.at);
            made.extend(at_time.map(|time| Expectation { at: time, spot: self.spot(at), subject, wanted }));
        }
        if made.is_empty() && field.get().is_some_and(Vec::is_empty) {
            let raised = Raised::error("missing-key", field.at().unwrap_or_default(), "the test expects nothing");
            self.raise(raised.help("where nothing is to happen, say so: `{at: 10m, nothing: true}`"));
        }
        made.sort_by_key(|line| line.at);
        made
    }

    /// Whether something that is expected could not be read, which was reported.
    fn is_blamed(&self, line: &syntax::Expect) -> bool {
        let texts = [&line.outcome, &line.state, &line.rule].into_iter().any(|field| !field.is_missing());
        let lists = [&line.brake, &line.latch, &line.unknown, &line.unfit, &line.steps, &line.levels];
        let lists = lists.into_iter().any(|field| !field.is_missing());
        let numbers = [&line.pages, &line.actions, &line.actions_at_most].into_iter().any(|field| !field.is_missing());
        let rest = !line.nothing.is_missing() || !line.messages.is_missing() || !line.to.is_missing() || !line.from.is_missing();
        texts || lists || numbers || rest
    }

    fn subject(&self, line: &syntax::Expect, test: &Test, names: Option<&Names<'_>>) -> Subject {
        if let (Some((name, at)), Some(names)) = (line.policy.placed(), names) {
            self.known("policy", name, at, names.policies.iter().copied());
        }
        Subject {
            of: line.of.placed().and_then(|(text, at)| self.deployment_named(text, at, &test.deployments)),
            policy: line.policy.get().cloned(),
            incident: line.incident.get().map(|number| *number as usize),
        }
    }

    fn wanted(&self, line: &syntax::Expect, test: &Test, names: Option<&Names<'_>>) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        wanted.extend(self.flag(&line.nothing).map(Wanted::Nothing));
        wanted.extend(self.word("outcome", &line.outcome, &outcomes()).map(Wanted::Outcome));
        wanted.extend(self.word("state", &line.state, &STATES).map(Wanted::State));
        if let Some((name, at)) = line.rule.placed() {
            if let Some(names) = names {
                self.known("rule", name, at, names.rules.iter().copied());
            }
            wanted.push(Wanted::Rule(name.clone()));
        }
        if line.brake.get().is_some() {
            wanted.push(Wanted::Brakes(items(&line.brake).filter_map(|(name, at)| self.brake(name, at)).collect()));
        }
        if line.latch.get().is_some() {
            wanted.push(Wanted::Latches(items(&line.latch).filter_map(|(name, at)| self.latch(name, at)).collect()));
        }
        if line.unknown.get().is_some() {
            let full = |name: &String| if name.contains('.') { name.clone() } else { format!("facts.{name}") };
            for (name, at) in items(&line.unknown) {
                if let (Some(names), Some(fact)) = (names, full(name).strip_prefix("facts.")) {
                    self.known("fact", fact, at, names.facts.iter().copied());
                }
            }
            wanted.push(Wanted::Unknown(items(&line.unknown).map(|(name, _)| full(name)).collect()));
        }
        for (field, make) in [(&line.unfit, Wanted::Unfit as fn(_) -> _), (&line.levels, Wanted::Levels)] {
            if field.get().is_none() {
                continue;
            }
            if let Some(names) = names {
                for (name, at) in items(field) {
                    self.known("procedure", name, at, names.procedures.iter().copied());
                }
            }
            wanted.push(make(self.texts(field)));
        }
        for (field, make) in [(&line.to, Wanted::To as fn(_) -> _), (&line.from, Wanted::From)] {
            wanted.extend(self.release(field, test).map(make));
        }
        wanted.extend(line.steps.get().map(|_| Wanted::Steps(self.texts(&line.steps))));
        wanted.extend(line.messages.get().map(|_| Wanted::Messages(self.messages(line))));
        wanted.extend(line.pages.get().copied().map(Wanted::Pages));
        wanted.extend(line.actions.get().copied().map(Wanted::Actions));
        wanted.extend(line.actions_at_most.get().copied().map(Wanted::ActionsAtMost));
        wanted
    }

    fn latch(&self, name: &str, at: At) -> Option<LatchCause> {
        let found = LatchCause::ALL.iter().copied().find(|cause| cause.as_str() == name);
        if found.is_none() {
            let all: Vec<&str> = LatchCause::ALL.iter().map(|cause| cause.as_str()).collect();
            let raised = Raised::error("unknown-value", at, format!("no latch begins by `{name}`"));
            let expected = format!("one of {}, or `[]` for none", list(&all));
            self.raise(raised.expected(expected).maybe_help(did_you_mean(name, all.iter().copied())));
        }
        found
    }

    fn word(&self, key: &str, field: &Field<String>, known: &[&str]) -> Option<String> {
        let (word, at) = field.placed()?;
        if !known.contains(&word.as_str()) {
            let raised = Raised::error("unknown-value", at, format!("`{key}` is `{word}`"));
            let help = did_you_mean(word, known.iter().copied());
            let all: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            self.raise(raised.expected(format!("one of {}", all.join(", "))).maybe_help(help));
            return None;
        }
        Some(word.clone())
    }

    fn release(&self, field: &Field<Short<syntax::Release>>, test: &Test) -> Option<String> {
        let (Short(release), at) = field.placed()?;
        self.required("image", &release.image, at);
        let (image, at) = release.image.placed()?;
        let revisions = test.deployments.iter().flat_map(|deployment| &deployment.revisions).map(|r| r.image.as_str());
        let deployed = test.deeds.iter().filter_map(|(_, deed)| deed.image());
        let images: Vec<&str> = revisions.chain(deployed).filter(|image| !image.is_empty()).collect();
        if !images.contains(&image.as_str()) {
            let raised = Raised::error("unknown-image", at, format!("no release of this world has the image `{image}`"));
            let expected = if images.is_empty() { "an image of `world`".to_owned() } else { format!("one of {}", list(&images)) };
            self.raise(raised.expected(expected).maybe_help(did_you_mean(image, images.iter().copied())));
        }
        Some(image.clone())
    }

    fn messages(&self, line: &syntax::Expect) -> Vec<Message> {
        let mut made = Vec::new();
        let moments: Vec<&str> = Moment::ALL.iter().map(|moment| moment.as_str()).collect();
        for (Short(message), at) in line.messages.get().into_iter().flat_map(|Listed(items)| items).filter_map(Field::placed) {
            self.required("moment", &message.moment, at);
            let Some(word) = self.word("moment", &message.moment, &moments) else { continue };
            let Some(moment) = Moment::ALL.into_iter().find(|moment| moment.as_str() == word) else { continue };
            made.push(Message { moment, to: message.to.get().cloned(), title: message.title.get().cloned() });
        }
        made
    }
}

/// The items of a list, with their places.
fn items(field: &Field<Listed<Field<String>>>) -> impl Iterator<Item = (&String, At)> {
    field.get().into_iter().flat_map(|Listed(items)| items).filter_map(Field::placed)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{one, wrong};

    #[test]
    fn a_line_whose_only_wish_cannot_be_read_is_not_called_empty() {
        for (wish, pointed) in [
            ("outcome: rolback", "rolback"),
            ("state: asleep", "asleep"),
            ("brake: {a: b}", "a"),
            ("levels: {a: b}", "a"),
            ("pages: many", "many"),
            ("nothing: maybe", "maybe"),
        ] {
            let found = wrong(&one(&format!("expect: [{{at: 9m, {wish}}}]")));
            let pointed_at: Vec<&str> = found.iter().map(|(_, at)| at.as_str()).collect();
            assert_eq!(pointed_at, [pointed], "{found:?}");
        }
        let found = wrong(&one("expect: [{at: 9m, policy: shop}]"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, "nothing is expected here");
    }
}
