//! Policies: who they are, what they may do and touch, what they may read.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::diagnostic::Raised;
use super::super::expr::{Env, FactType};
use super::super::source::At;
use super::super::syntax::{self, Fact};
use super::super::types::{FactSpec, Floor, Policy, TargetPattern, TargetRule};
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
        let env = Env { facts: self.fact_types(written, shared), ..Env::default() };
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
        };
        self.may_act(written, mode, at);
        Draft { policy, at, uses, takes_all: is_none(&written.matchers), has_own_defaults: false }
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

    fn targets(&self, field: &Field<Listed<Field<String>>>) -> Vec<TargetPattern> {
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
        let paths = ["labels.", "annotations.", "alert.name"];
        let part = |what: &str, part: &Field<syntax::TemplateText>| {
            if part.is_missing() {
                let raised = Raised::error("missing-key", at, format!("`{what}` is missing")).missing_in(at);
                self.raise(
                    raised
                        .expected("both `deployment` and `namespace`")
                        .help(format!("for example `{what}: '{{{{ labels.{what} }}}}'`")),
                );
            }
            part.placed().and_then(|(text, at)| self.template(text, at, &paths))
        };
        match (part("namespace", &named.namespace), part("deployment", &named.deployment)) {
            (Some(namespace), Some(name)) => TargetRule::Deployment { namespace, name },
            _ => TargetRule::Auto,
        }
    }

    /// The policy's own facts and the shared ones, the own ones first.
    fn facts(&self, written: &syntax::Policy, shared: &Shared<'_>) -> BTreeMap<String, FactSpec> {
        let mut facts = BTreeMap::new();
        for (name, (fact, _)) in shared {
            facts.extend(self.fact(fact).map(|fact| ((*name).to_owned(), fact)));
        }
        for (name, fact) in written.facts.get().into_iter().flat_map(|Entries(entries)| entries) {
            let Some((name, at)) = name.placed() else { continue };
            self.fact_name(name, at);
            facts.extend(self.fact(fact).map(|fact| (name.clone(), fact)));
        }
        facts
    }

    /// What conditions may name: also facts that are wrong themselves, which is reported once and there.
    fn fact_types(&self, written: &syntax::Policy, shared: &Shared<'_>) -> BTreeMap<String, FactType> {
        let own =
            written.facts.get().into_iter().flat_map(|Entries(entries)| entries).filter_map(|(name, _)| name.get().cloned());
        own.chain(shared.keys().map(|name| (*name).to_owned())).map(|name| (name, FactType::Number)).collect()
    }

    pub(super) fn fact(&self, field: &Field<Fact>) -> Option<FactSpec> {
        let (fact, at) = field.placed()?;
        let promql = self.promql(&fact.promql, at);
        let floor = match fact.floor.placed() {
            None => None,
            Some((floor, at)) => {
                let promql = self.promql(&floor.promql, at);
                if floor.at_least.is_missing() {
                    self.raise(
                        Raised::error("missing-key", at, "`at_least` is missing")
                            .missing_in(at)
                            .expected("the least value of the floor's query"),
                    );
                }
                Some(Floor { promql: promql?, at_least: *floor.at_least.get()? })
            }
        };
        Some(FactSpec { promql: promql?, floor })
    }

    pub(super) fn fact_name(&self, name: &str, at: At) {
        let is_word = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        let is_name = is_word && name.starts_with(|char: char| char.is_ascii_lowercase() || char == '_') && name.len() <= 63;
        if !is_name || RESERVED.contains(&name) {
            let raised = Raised::error("bad-name", at, format!("`{name}` cannot be the name of a fact"));
            self.raise(raised.expected("lowercase letters, digits and `_`, no digit first, and no word that CEL reserves"));
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

/// Words that cannot follow `facts.` in CEL.
const RESERVED: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];
