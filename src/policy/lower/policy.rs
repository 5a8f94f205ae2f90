//! Policies: who they are, what they may do and touch, what they may read.

use std::time::Duration;

use super::super::diagnostic::Raised;
use super::super::expr::Env;
use super::super::source::At;
use super::super::syntax;
use super::super::types::{Policy, TargetPattern, TargetRule};
use super::super::yaml::{Entries, Field, Listed};
use super::text::Zero;
use super::{Draft, Lower, Shared};
use crate::model::{Labels, Mode};

impl Lower<'_> {
    pub(super) fn policy(&self, written: &syntax::Policy, at: At, shared: &Shared<'_>) -> Draft {
        let name = self.name("policy", &written.name, at);
        let at = name.as_ref().map_or(at, |(_, at)| *at);
        let mode = written.mode.get().copied().unwrap_or_default();
        let facts = self.facts(written, shared);
        let env = Env { facts: self.fact_types(written, shared), intervals: self.known_intervals.clone() };
        let (decide, uses) = self.rules(written, at, mode, &env);
        let policy = Policy {
            name: name.map(|(name, _)| name).unwrap_or_default(),
            place: self.place(at),
            owner: written
                .owner
                .placed()
                .filter(|(owner, at)| self.check_name("channel", owner, *at))
                .map(|(owner, _)| owner.clone()),
            matchers: self.matchers(&written.matchers),
            mode,
            paging: written.paging.get().copied(),
            targets: self.targets(&written.targets),
            settle: self.duration(&written.settle, Zero::Allowed).unwrap_or(Duration::ZERO),
            target: self.target(&written.target),
            facts,
            decide,
            brakes: self.brakes(&written.brakes, mode),
            labels: self.labels(&written.labels),
            announce: self.announcements(&written.announce),
            approval_within: self.approval(&written.approval),
            tail: self.duration(&written.tail, Zero::Allowed),
            links: self.links(&written.links),
            figures: self.figures(&written.figures, &env),
            objectives: self.objectives(&written.objectives),
            review_by: self.review_by(&written.review_by),
        };
        self.for_people_later(written);
        self.may_act(written, mode, at);
        let later = self.take_later();
        let who = format!("the policy `{}`", policy.name);
        self.say_later(&later, mode, &who);
        Draft { policy, at, uses, takes_all: is_none(&written.matchers), has_own_defaults: false, types: env.facts }
    }

    /// Acting needs more said than watching.
    fn may_act(&self, written: &syntax::Policy, mode: Mode, policy: At) {
        if mode == Mode::Shadow {
            return;
        }
        let at = written.mode.at().unwrap_or(policy);
        let mode = mode.as_str();
        if written.paging.is_missing() {
            let raised = Raised::error("missing-key", at, format!("a policy in mode `{mode}` must say `paging`"));
            self.raise(raised.help("`beside` where the alert's own route pages already, `in_front` where nobody else pages"));
        }
        if is_none(&written.targets) {
            let raised = Raised::error("missing-key", at, format!("a policy in mode `{mode}` must say `targets`"));
            self.raise(raised.help("name what it may touch, for example `targets: ['shop/checkout*']`; it is never derived"));
        }
        if !self.cluster_named {
            let raised = Raised::error("cluster-not-named", at, format!("mode `{mode}` needs the name of the cluster"));
            self.raise(raised.help("set `--cluster-name`, or stay in mode `shadow`"));
        }
    }

    pub(super) fn targets(&self, field: &Field<Listed<Field<String>>>) -> Vec<TargetPattern> {
        let Some(Listed(items)) = field.get() else { return Vec::new() };
        let mut patterns = Vec::new();
        for (text, at) in items.iter().filter_map(Field::placed) {
            let part = |part: &str| {
                !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.*".contains(&b))
            };
            let is_pattern = text.split_once('/').is_some_and(|(namespace, name)| part(namespace) && part(name));
            if !is_pattern {
                let raised = Raised::error("bad-target-pattern", at, format!("`{text}` is no pattern of targets"));
                self.raise(raised.expected("`namespace/name`, in which `*` stands for any text, for example `shop/checkout*`"));
                continue;
            }
            if text.bytes().all(|byte| matches!(byte, b'*' | b'/')) {
                let raised = Raised::warning("every-target", at, format!("`{text}` is every workload of the cluster"));
                self.raise(raised.help("name the namespaces that it is meant for"));
            }
            patterns.push(TargetPattern(text.clone()));
        }
        patterns
    }

    fn target(&self, field: &Field<syntax::Target>) -> TargetRule {
        let Some((syntax::Target::Named(named), at)) = field.placed() else { return TargetRule::Auto };
        let others = [
            ("statefulset", &named.statefulset),
            ("daemonset", &named.daemonset),
            ("rollout", &named.rollout),
            ("service", &named.service),
            ("helm", &named.helm),
            ("container", &named.container),
            ("external", &named.external),
        ];
        let all: Vec<(&'static str, &Field<syntax::TemplateText>)> =
            std::iter::once(("deployment", &named.deployment)).chain(others).filter(|(_, field)| !field.is_missing()).collect();
        if let [(first, _), (second, field), ..] = all.as_slice() {
            let raised = Raised::error("conflicting-keys", field.at().unwrap_or(at), format!("`{second}` beside `{first}`"));
            self.raise(raised.expected("one kind of target").help("write two policies"));
        }
        let part = |(what, part): (&str, &Field<syntax::TemplateText>)| {
            if part.is_missing() {
                let raised = Raised::error("missing-key", at, format!("`{what}` is missing")).missing_in(at);
                self.raise(
                    raised
                        .expected("a workload, such as `deployment`, and its `namespace`")
                        .help(format!("for example `{what}: '{{{{ labels.{what} }}}}'`")),
                );
            }
            part.placed().and_then(|(text, at)| self.template(text, at, &["labels.", "annotations.", "alert.name"]))
        };
        let (kind, name) = all.first().copied().unwrap_or(("deployment", &named.deployment));
        // What is not in the cluster has no namespace.
        let is_outside = matches!(kind, "container" | "external");
        let namespace = if is_outside { None } else { part(("namespace", &named.namespace)) };
        let lowered = part((kind, name));
        if kind != "deployment" {
            self.later("target", kind, name);
            return TargetRule::Other { kind };
        }
        match (namespace, lowered) {
            (Some(namespace), Some(name)) => TargetRule::Deployment { namespace, name },
            _ => TargetRule::Auto,
        }
    }

    fn labels(&self, field: &Field<Entries<String>>) -> Labels {
        let mut labels = Labels::new();
        for (name, value) in field.get().into_iter().flat_map(|Entries(entries)| entries) {
            let (Some((name, at)), Some(value)) = (name.placed(), value.get()) else { continue };
            let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_');
            if !is_name {
                let raised = Raised::error("bad-name", at, format!("`{name}` cannot be the name of a label"));
                self.raise(raised.expected("letters, digits and `_`, no digit first"));
            } else if name == "alertname" || name.starts_with("backout_") || name.starts_with("__") {
                let raised = Raised::error("bad-name", at, format!("the label `{name}` is set by `backout` itself"));
                self.raise(raised.help("use another name"));
            } else {
                labels.insert(name.clone(), value.clone());
            }
        }
        labels
    }
}

/// Whether nothing is listed, which what is listed wrongly is not.
pub(super) fn is_none<T>(field: &Field<Listed<T>>) -> bool {
    match field {
        Field::Missing => true,
        Field::Bad => false,
        Field::Is(Listed(items), _) => items.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{loaded, said};

    #[test]
    fn the_labels_of_a_page_are_named_as_prometheus_names_them() {
        let with = |label: &str| format!("policies: [{{name: a, decide: [{{page: {{}}}}], labels: {{{label}: x}}}}]\n");
        for label in ["team", "team_a", "_t2"] {
            assert_eq!(loaded(&with(label)).policies.policies[0].labels.get(label).map(String::as_str), Some("x"));
        }
        for label in ["2team", "team-a"] {
            assert_eq!(said(&with(label)), [format!("error: `{label}` cannot be the name of a label")]);
        }
    }
}
