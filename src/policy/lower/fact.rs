//! Facts: exactly one source each, read as one kind of value.

use std::collections::BTreeMap;

use super::super::diagnostic::Raised;
use super::super::expr::FactType;
use super::super::source::At;
use super::super::syntax::{self, Fact, FactAs, ScalarText};
use super::super::types::{FactSource, FactSpec, Floor, from_text};
use super::super::yaml::{Entries, Field};
use super::verify::has_literal_host;
use super::{Lower, Shared};

/// Where a fact comes from, by key.
const SOURCES: [&str; 5] = ["promql", "label", "annotation", "http", "ask"];

impl Lower<'_> {
    /// The policy's own facts and the shared ones, the own ones first.
    pub(super) fn facts(&self, written: &syntax::Policy, shared: &Shared<'_>) -> BTreeMap<String, FactSpec> {
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

    pub(super) fn fact(&self, field: &Field<Fact>) -> Option<FactSpec> {
        let (fact, at) = field.placed()?;
        let key = self.fact_source(fact, at)?;
        let of = fact.of.get().map(|of| fact_type(*of));
        self.later("fact", "ask", &fact.ask);
        for (name, given) in [("at", fact.at.at()), ("floor", fact.floor.at())] {
            if let Some(at) = given.filter(|_| key != "promql") {
                let raised = Raised::error("conflicting-keys", at, format!("`{name}` beside `{key}`"));
                self.raise(raised.help(format!("`{name}` is for facts with `promql`: remove it")));
            }
        }
        if let Some(at) = fact.default.at().filter(|_| !matches!(key, "label" | "annotation")) {
            let raised = Raised::error("conflicting-keys", at, format!("`default` beside `{key}`"));
            self.raise(raised.help("what could not be seen stays unknown; only a label or annotation may have a default"));
        }
        let source = match key {
            "promql" => self.promql_fact(fact, at)?,
            "http" => self.http_fact(&fact.http)?,
            "ask" => FactSource::Person { question: fact.ask.get()?.clone() },
            _ => self.alert_fact(fact, key, of.unwrap_or(FactType::Text))?,
        };
        let of = of.unwrap_or(if matches!(key, "label" | "annotation") { FactType::Text } else { FactType::Number });
        if let (Some(of_at), FactType::Text, "promql") = (fact.of.at(), of, key) {
            let raised = Raised::error("wrong-type", of_at, "what Prometheus answers is a number, no text");
            self.raise(raised.expected("one of `number`, `duration`, `bool`"));
        }
        Some(FactSpec { source, of })
    }

    /// The one key that says where it comes from.
    fn fact_source(&self, fact: &Fact, at: At) -> Option<&'static str> {
        let given = [
            (!fact.promql.is_missing(), fact.promql.at()),
            (!fact.label.is_missing(), fact.label.at()),
            (!fact.annotation.is_missing(), fact.annotation.at()),
            (!fact.http.is_missing(), fact.http.at()),
            (!fact.ask.is_missing(), fact.ask.at()),
        ];
        let mut keys = SOURCES.into_iter().zip(given).filter(|(_, (is_given, _))| *is_given);
        let Some((first, _)) = keys.next() else {
            let raised = Raised::error("missing-key", at, "this fact does not say where it comes from").missing_in(at);
            self.raise(raised.expected("one of `promql`, `label`, `annotation`, `http`, `ask`"));
            return None;
        };
        if let Some((second, (_, second_at))) = keys.next() {
            let message = format!("this fact says `{first}` and `{second}`");
            let raised = Raised::error("conflicting-keys", second_at.unwrap_or(at), message);
            self.raise(raised.expected("one of `promql`, `label`, `annotation`, `http`, `ask`"));
        }
        Some(first)
    }

    fn promql_fact(&self, fact: &Fact, at: At) -> Option<FactSource> {
        let promql = self.promql(&fact.promql, at);
        let floor = match fact.floor.placed() {
            None => None,
            Some((floor, at)) => {
                let promql = self.promql(&floor.promql, at);
                if floor.at_least.is_missing() {
                    let raised = Raised::error("missing-key", at, "`at_least` is missing").missing_in(at);
                    self.raise(raised.expected("the least value of the floor's query"));
                }
                Some(Floor { promql: promql?, at_least: *floor.at_least.get()? })
            }
        };
        Some(FactSource::Promql { promql: promql?, before_change: !fact.at.is_missing(), floor })
    }

    fn alert_fact(&self, fact: &Fact, key: &str, of: FactType) -> Option<FactSource> {
        let field = if key == "label" { &fact.label } else { &fact.annotation };
        let (name, at) = field.placed()?;
        if name.is_empty() {
            self.raise(Raised::error("bad-name", at, format!("an empty name of a {key}")).help("write its name"));
        }
        let default = fact.default.placed().map(|(ScalarText(text), at)| {
            if let Err(why) = from_text(text, of) {
                let raised = Raised::error("wrong-type", at, format!("the default does not fit: {why}"));
                self.raise(raised.expected(match of {
                    FactType::Number => "a number",
                    FactType::Duration => "a duration such as `2h`",
                    FactType::Bool => "`true` or `false`",
                    FactType::Text => "text",
                }));
            }
            text.clone()
        });
        let name = name.clone();
        Some(if key == "label" { FactSource::Label { name, default } } else { FactSource::Annotation { name, default } })
    }

    fn http_fact(&self, field: &Field<syntax::HttpFact>) -> Option<FactSource> {
        const PATHS: [&str; 7] =
            ["labels.", "annotations.", "alert.name", "target.kind", "target.namespace", "target.name", "target.cluster"];
        let (http, at) = field.placed()?;
        let pointer = http.pointer.placed();
        if let Some((pointer, at)) = pointer.filter(|(pointer, _)| !pointer.is_empty() && !pointer.starts_with('/')) {
            let raised = Raised::error("bad-pointer", at, format!("`{pointer}` is no JSON pointer"));
            self.raise(raised.expected("a path that begins with `/`, such as `/status/users`"));
        }
        let Some((text, url_at)) = http.url.placed() else {
            if http.url.is_missing() {
                let raised = Raised::error("missing-key", at, "`url` is missing").missing_in(at);
                self.raise(raised.expected("an address such as `https://shop.example/status`"));
            }
            return None;
        };
        let url = self.template(text, url_at, &PATHS)?;
        if !has_literal_host(&text.0) {
            let raised = Raised::error("bad-url", url_at, "scheme and host of an address must be written out");
            self.raise(
                raised.expected("an address such as `https://shop.example/status`").help("values can stand behind the host"),
            );
            return None;
        }
        Some(FactSource::Http { url, pointer: pointer.map_or_else(String::new, |(pointer, _)| pointer.clone()) })
    }

    /// What conditions may name: also facts that are wrong themselves, which is reported once and there.
    pub(super) fn fact_types(&self, written: &syntax::Policy, shared: &Shared<'_>) -> BTreeMap<String, FactType> {
        let of = |field: &Field<Fact>| {
            let Some(fact) = field.get() else { return FactType::Number };
            let usual = if fact.label.is_missing() && fact.annotation.is_missing() { FactType::Number } else { FactType::Text };
            fact.of.get().map_or(usual, |of| fact_type(*of))
        };
        let mut types: BTreeMap<String, FactType> =
            shared.iter().map(|(name, (fact, _))| ((*name).to_owned(), of(fact))).collect();
        for (name, fact) in written.facts.get().into_iter().flat_map(|Entries(entries)| entries) {
            types.extend(name.get().map(|name| (name.clone(), of(fact))));
        }
        types
    }

    pub(super) fn fact_name(&self, name: &str, at: At) {
        let is_word = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        let is_name = is_word && name.starts_with(|char: char| char.is_ascii_lowercase() || char == '_') && name.len() <= 63;
        if !is_name || RESERVED.contains(&name) {
            let raised = Raised::error("bad-name", at, format!("`{name}` cannot be the name of a fact"));
            self.raise(raised.expected("lowercase letters, digits and `_`, no digit first, and no word that CEL reserves"));
        }
    }
}

fn fact_type(of: FactAs) -> FactType {
    match of {
        FactAs::Number => FactType::Number,
        FactAs::Duration => FactType::Duration,
        FactAs::Bool => FactType::Bool,
        FactAs::String => FactType::Text,
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

#[cfg(test)]
mod tests {
    use super::super::tests::loaded;
    use super::*;

    #[test]
    fn a_fact_that_is_asked_for_keeps_its_question() {
        let text = "policies: [{name: a, facts: {users: {ask: how many users are hit}}, decide: [{page: {}}]}]\n";
        let policies = loaded(text).policies;
        let question = "how many users are hit".to_owned();
        assert_eq!(policies.policies[0].facts["users"].source, FactSource::Person { question });
    }
}
