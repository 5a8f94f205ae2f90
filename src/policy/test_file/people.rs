//! What people do in a test, from what is written to what it means.

use std::time::Duration;

use super::super::diagnostic::Raised;
use super::super::matcher::parse_item;
use super::super::source::At;
use super::super::yaml::{Field, Listed, Short};
use super::lower::Lower;
use super::names::Names;
use super::read::{did_you_mean, list};
use super::syntax::{self, MarkWord};
use super::types::{Deed, Deployment, Instant};
use crate::model::{Brake, Mark, PauseScope, TargetRef};

impl Deed {
    /// The image that it deploys.
    pub(super) fn image(&self) -> Option<&str> {
        match self {
            Self::Deploy { image, .. } => Some(image),
            _ => None,
        }
    }
}

impl Lower<'_> {
    pub(super) fn deeds(
        &self,
        field: &Field<Vec<Field<syntax::Deed>>>,
        deployments: &[Deployment],
        names: Option<&Names<'_>>,
    ) -> Vec<(Instant, Deed)> {
        let mut made = Vec::new();
        for (line, place) in field.get().into_iter().flatten().filter_map(Field::placed) {
            self.required("at", &line.at, place);
            let when = self.instant(&line.at);
            let deed = self.deed(line, place, deployments, names);
            made.extend(when.zip(deed));
        }
        made
    }

    fn deed(&self, line: &syntax::Deed, place: At, deployments: &[Deployment], names: Option<&Names<'_>>) -> Option<Deed> {
        let (by, incident) = (self.by(line, "ann"), line.incident.get().map(|number| *number as usize));
        let mut deeds: Vec<(&'static str, Option<Deed>)> = Vec::new();
        let mut add = |key, is_missing: bool, deed: &dyn Fn() -> Option<Deed>| {
            if !is_missing {
                deeds.push((key, deed()));
            }
        };
        add("approve", line.approve.is_missing(), &|| {
            let Short(approve) = line.approve.get()?;
            Some(Deed::Approve { by: by.clone(), incident, overrides: self.brakes(&approve.overrides) })
        });
        add("veto", line.veto.is_missing(), &|| Some(Deed::Veto { by: by.clone(), incident, reason: line.veto.get()?.clone() }));
        add("acknowledge", line.acknowledge.is_missing(), &|| {
            self.flag(&line.acknowledge)?.then(|| Deed::Acknowledge { by: by.clone(), incident })
        });
        add("mark", line.mark.is_missing(), &|| {
            let mark = match line.mark.get()? {
                MarkWord::Right => Mark::Right,
                MarkWord::Wrong => Mark::Wrong,
            };
            Some(Deed::Mark { by: by.clone(), incident, mark })
        });
        add("silence", line.silence.is_missing(), &|| self.silence(line, &by));
        add("pause", line.pause.is_missing(), &|| self.pause(line, &by, names));
        add("resume", line.resume.is_missing(), &|| Some(Deed::Resume { by: by.clone(), pause: u64::from(*line.resume.get()?) }));
        add("clear_latch", line.clear_latch.is_missing(), &|| {
            Some(Deed::ClearLatch { by: by.clone(), latch: u64::from(*line.clear_latch.get()?) })
        });
        add("deploy", line.deploy.is_missing(), &|| self.deploy(line, deployments));
        add("scale", line.scale.is_missing(), &|| {
            let (scale, at) = line.scale.placed()?;
            self.required("replicas", &scale.replicas, at);
            let replicas = i32::try_from(*scale.replicas.get()?).unwrap_or(i32::MAX);
            Some(Deed::Scale { by: by.clone(), at: self.meant(&scale.deployment, at, deployments)?, replicas })
        });
        add("annotate", line.annotate.is_missing(), &|| {
            let (annotate, at) = line.annotate.placed()?;
            self.required("key", &annotate.key, at);
            self.required("value", &annotate.value, at);
            let (key, value) = (annotate.key.get()?.clone(), annotate.value.get()?.clone());
            Some(Deed::Annotate { at: self.meant(&annotate.deployment, at, deployments)?, key, value })
        });
        add("delete", line.delete.is_missing(), &|| {
            let (text, at) = line.delete.placed()?;
            Some(Deed::Delete { at: self.deployment_named(text, at, deployments)? })
        });
        self.exactly_one(deeds, place)
    }

    fn exactly_one(&self, mut deeds: Vec<(&'static str, Option<Deed>)>, place: At) -> Option<Deed> {
        const KEYS: [&str; 12] = [
            "approve",
            "veto",
            "acknowledge",
            "mark",
            "silence",
            "pause",
            "resume",
            "clear_latch",
            "deploy",
            "scale",
            "annotate",
            "delete",
        ];
        match (deeds.len(), deeds.pop()) {
            (1, Some((_, deed))) => deed,
            (0, _) | (_, None) => {
                let raised = Raised::error("missing-key", place, "nothing is done here").missing_in(place);
                self.raise(raised.expected(format!("exactly one of {}", list(&KEYS))));
                None
            }
            (_, Some((last, _))) => {
                let first = deeds.first().map_or("", |(key, _)| key);
                let raised = Raised::error("contradiction", place, format!("both `{first}` and `{last}` are done here"));
                self.raise(raised.help("write a line of `people` for each"));
                None
            }
        }
    }

    fn by(&self, line: &syntax::Deed, otherwise: &str) -> String {
        line.by.get().cloned().unwrap_or_else(|| otherwise.to_owned())
    }

    fn silence(&self, line: &syntax::Deed, by: &str) -> Option<Deed> {
        let (Short(silence), at) = line.silence.placed()?;
        self.required("matchers", &silence.matchers, at);
        let mut matchers = Vec::new();
        for (text, at) in silence.matchers.get().into_iter().flat_map(|Listed(items)| items).filter_map(Field::placed) {
            match parse_item(&text.0) {
                Ok(parsed) => matchers.extend(parsed.matchers),
                Err(problem) => self.problem("bad-matcher", problem, at, &text.0),
            }
        }
        Some(Deed::Silence { by: by.to_owned(), matchers, span: self.duration(&silence.span) })
    }

    fn pause(&self, line: &syntax::Deed, by: &str, names: Option<&Names<'_>>) -> Option<Deed> {
        let (pause, at) = line.pause.placed()?;
        self.required("reason", &pause.reason, at);
        let scope = match pause.scope.placed() {
            None => PauseScope::Global,
            Some((text, at)) => self.scope(text, at, names)?,
        };
        let span = self.duration(&pause.span).unwrap_or(Duration::from_secs(3600));
        Some(Deed::Pause { by: by.to_owned(), scope, reason: pause.reason.get()?.clone(), span })
    }

    fn scope(&self, text: &str, at: At, names: Option<&Names<'_>>) -> Option<PauseScope> {
        match text.split_once('/') {
            None if text == "global" => Some(PauseScope::Global),
            Some(("namespace", name)) => Some(PauseScope::Namespace(name.to_owned())),
            Some(("target", name)) => Some(PauseScope::Target(name.to_owned())),
            Some(("policy", name)) => {
                if let Some(names) = names {
                    self.known("policy", name, at, names.policies.iter().copied());
                }
                Some(PauseScope::Policy(name.to_owned()))
            }
            _ => {
                let raised = Raised::error("unknown-value", at, format!("`{text}` is no scope of a pause"));
                self.raise(raised.expected("`global`, `namespace/NAME`, `target/NAMESPACE/NAME` or `policy/NAME`"));
                None
            }
        }
    }

    fn deploy(&self, line: &syntax::Deed, deployments: &[Deployment]) -> Option<Deed> {
        let (deploy, at) = line.deploy.placed()?;
        self.required("image", &deploy.image, at);
        Some(Deed::Deploy {
            by: self.by(line, "ci"),
            at: self.meant(&deploy.deployment, at, deployments)?,
            image: deploy.image.get()?.clone(),
            annotations: self.map(&deploy.annotations),
        })
    }

    /// The Deployment that is named, or the only one.
    fn meant(&self, field: &Field<String>, at: At, deployments: &[Deployment]) -> Option<TargetRef> {
        match (field.placed(), deployments) {
            (Some((text, at)), _) => self.deployment_named(text, at, deployments),
            (None, [only]) => Some(only.at.clone()),
            (None, _) => {
                let raised = Raised::error("missing-key", at, "`deployment` is missing").missing_in(at);
                self.raise(raised.help("say which: `deployment: namespace/name`"));
                None
            }
        }
    }

    fn brakes(&self, field: &Field<Listed<Field<String>>>) -> Vec<String> {
        let items = field.get().into_iter().flat_map(|Listed(items)| items).filter_map(Field::placed);
        items.filter_map(|(name, at)| self.brake(name, at)).map(|brake| brake.to_string()).collect()
    }

    pub(super) fn brake(&self, name: &str, at: At) -> Option<Brake> {
        let found = Brake::ALL.iter().copied().find(|brake| brake.as_str() == name);
        if found.is_none() {
            let all: Vec<&str> = Brake::ALL.iter().map(|brake| brake.as_str()).collect();
            let raised = Raised::error("unknown-value", at, format!("there is no brake `{name}`"));
            self.raise(raised.expected(format!("one of {}", list(&all))).maybe_help(did_you_mean(name, all.iter().copied())));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, world, wrong};
    use super::*;

    fn deed(line: &str) -> Deed {
        read(&world(&[("shop", "api")], &format!("people: [{{at: 1m, {line}}}]"))).tests.remove(0).deeds.remove(0).1
    }

    #[test]
    fn ann_does_what_nobody_else_is_named_for_and_ci_deploys() {
        for (line, wanted) in [
            ("veto: no", "ann"),
            ("by: bob, veto: no", "bob"),
            ("deploy: {image: 'v:2'}", "ci"),
            ("by: bob, deploy: {image: 'v:2'}", "bob"),
        ] {
            match deed(line) {
                Deed::Veto { by, .. } | Deed::Deploy { by, .. } => assert_eq!(by, wanted, "{line}"),
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_pause_holds_for_all_or_for_what_it_names() {
        let name = |text: &str| text.to_owned();
        for (scope, wanted) in [
            ("", PauseScope::Global),
            (", scope: global", PauseScope::Global),
            (", scope: namespace/shop", PauseScope::Namespace(name("shop"))),
            (", scope: target/shop/api", PauseScope::Target(name("shop/api"))),
            (", scope: policy/latency", PauseScope::Policy(name("latency"))),
        ] {
            match deed(&format!("pause: {{reason: sale{scope}}}")) {
                Deed::Pause { scope: made, .. } => assert_eq!(made, wanted),
                other => panic!("{scope}: {other:?}"),
            }
        }
        for scope in ["everything", "cluster/prod"] {
            let found =
                wrong(&world(&[("shop", "api")], &format!("people: [{{at: 1m, pause: {{reason: sale, scope: {scope}}}}}]")));
            assert_eq!(found, [(format!("`{scope}` is no scope of a pause"), scope.to_owned())]);
        }
    }
}
