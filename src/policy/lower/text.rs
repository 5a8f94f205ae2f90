//! Texts with a grammar of their own: their problems, moved to where they stand in the file.

use std::time::Duration;

use super::super::diagnostic::Raised;
use super::super::duration;
use super::super::expr::{self, Env, Expr, Kind};
use super::super::matcher::{self, Matcher};
use super::super::problem::Problem;
use super::super::query;
use super::super::source::At;
use super::super::syntax::{CelText, DurationText, MatcherText, PromqlText, TemplateText};
use super::super::template::Template;
use super::super::yaml::{Field, Listed};
use super::Lower;

/// Whether a duration may be nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Zero {
    Allowed,
    Refused(&'static str),
}

impl Lower<'_> {
    /// A problem inside a scalar.
    pub(super) fn problem(&self, code: &'static str, at: At, text: &str, problem: Problem) {
        let place = self.sources.within(at, &problem.at, text);
        let raised = Raised::error(code, place, problem.message).maybe_help(problem.help.clone());
        let usual = match code {
            "bad-condition" => Some("a CEL condition that can be true and can be false, such as `facts.errors > 0.5`"),
            "bad-query" => Some("PromQL such as `sum(rate(errors_total{namespace=\"$namespace\"}[2m]))`"),
            "bad-matcher" => Some("a matcher such as `severity = \"critical\"`"),
            "bad-template" => Some("text with values as in `{{ labels.app }}`"),
            _ => None,
        };
        self.raise(match usual.filter(|_| problem.help.is_none()) {
            Some(usual) => raised.expected(usual),
            None => raised,
        });
    }

    pub(super) fn duration(&self, field: &Field<DurationText>, zero: Zero) -> Option<Duration> {
        let (DurationText(text), at) = field.placed()?;
        match (duration::parse(text), zero) {
            (Err(problem), _) => {
                self.problem("bad-duration", at, text, problem);
                None
            }
            (Ok(Duration::ZERO), Zero::Refused(help)) => {
                self.raise(Raised::error("impossible-number", at, format!("`{text}` is no time at all")).help(help));
                None
            }
            (Ok(duration), _) => Some(duration),
        }
    }

    pub(super) fn matchers(&self, field: &Field<Listed<Field<MatcherText>>>) -> Vec<Matcher> {
        let mut all = Vec::new();
        let Some(Listed(items)) = field.get() else { return all };
        for (MatcherText(text), at) in items.iter().filter_map(Field::placed) {
            match matcher::parse_item(text) {
                Err(problem) => self.problem("bad-matcher", at, text, problem),
                Ok(parsed) if parsed.matchers.is_empty() => {
                    let raised = Raised::error("bad-matcher", at, "holds no matcher, so it would match every alert");
                    self.raise(raised.help("write for example `severity=\"critical\"`, or leave `matchers` out"));
                }
                Ok(parsed) => {
                    if let Some(warning) = parsed.warning {
                        let place = self.sources.within(at, &warning.at, text);
                        self.raise(Raised::warning("doubtful-matcher", place, warning.message).maybe_help(warning.help));
                    }
                    all.extend(parsed.matchers);
                }
            }
        }
        all
    }

    pub(super) fn condition(&self, text: &CelText, at: At, env: &Env) -> Option<Expr> {
        let CelText(text) = text;
        match Expr::compile(text, env) {
            Ok(expr) => Some(expr),
            Err(problems) => {
                problems.into_iter().for_each(|problem| self.problem("bad-condition", at, text, problem));
                None
            }
        }
    }

    /// An expression that need not be a condition.
    pub(super) fn value(&self, text: &CelText, at: At, env: &Env) -> Option<Kind> {
        let CelText(text) = text;
        match expr::kind_of(text, env) {
            Ok(kind) => Some(kind),
            Err(problems) => {
                problems.into_iter().for_each(|problem| self.problem("bad-condition", at, text, problem));
                None
            }
        }
    }

    pub(super) fn conditions(&self, fields: &[Field<CelText>], env: &Env) -> Vec<Expr> {
        fields.iter().filter_map(Field::placed).filter_map(|(text, at)| self.condition(text, at, env)).collect()
    }

    /// A template over these variables, where a root that ends in `.` stands for everything under it.
    pub(super) fn template(&self, text: &TemplateText, at: At, paths: &[&str]) -> Option<Template> {
        let TemplateText(text) = text;
        let mut roots: Vec<&str> = paths.iter().filter_map(|path| path.split('.').next()).collect();
        roots.dedup();
        let template = match Template::parse(text, &roots) {
            Ok(template) => template,
            Err(problem) => {
                self.problem("bad-template", at, text, problem);
                return None;
            }
        };
        for variable in template.variables() {
            let is_known = paths.iter().any(|path| path == variable || (path.ends_with('.') && variable.starts_with(path)));
            if !is_known {
                let shown: Vec<String> = paths
                    .iter()
                    .map(|path| if path.ends_with('.') { format!("`{path}NAME`") } else { format!("`{path}`") })
                    .collect();
                let from = text.find(variable.as_str()).unwrap_or(0);
                let length = if text.contains(variable.as_str()) { variable.len() } else { text.len() };
                let place = self.sources.within(at, &(from..from + length), text);
                let raised = Raised::error("bad-template", place, format!("nothing is known as `{variable}` here"));
                self.raise(raised.help(format!("known are {}", shown.join(", "))));
                return None;
            }
        }
        Some(template)
    }

    pub(super) fn promql(&self, field: &Field<PromqlText>, holder: At) -> Option<String> {
        let Some((PromqlText(text), at)) = field.placed() else {
            if field.is_missing() {
                self.raise(
                    Raised::error("missing-key", holder, "`promql` is missing").missing_in(holder).expected("a PromQL query"),
                );
            }
            return None;
        };
        let problems = query::check(text);
        let is_good = problems.is_empty();
        problems.into_iter().for_each(|problem| self.problem("bad-query", at, text, problem));
        is_good.then(|| text.clone())
    }

    /// A name that stands in metrics: of a policy, a procedure, a rule.
    pub(super) fn name(&self, what: &str, field: &Field<String>, holder: At) -> Option<(String, At)> {
        let Some((name, at)) = field.placed() else {
            if field.is_missing() {
                self.raise(
                    Raised::error("missing-key", holder, format!("this {what} has no `name`")).missing_in(holder).expected(NAME),
                );
            }
            return None;
        };
        self.check_name(what, name, at).then(|| (name.clone(), at))
    }

    pub(super) fn check_name(&self, what: &str, name: &str, at: At) -> bool {
        if is_name(name) {
            return true;
        }
        let raised = Raised::error("bad-name", at, format!("`{name}` cannot be the name of a {what}"));
        let plain: String = name.to_lowercase().chars().map(|char| if is_name_char(char) { char } else { '-' }).collect();
        let help = is_name(&plain).then(|| format!("write for example `{plain}`"));
        self.raise(raised.expected(NAME).maybe_help(help));
        false
    }

    pub(super) fn channels(&self, field: &Field<Listed<Field<String>>>) -> Vec<String> {
        let Some(Listed(items)) = field.get() else { return Vec::new() };
        let mut names: Vec<String> = Vec::new();
        for (name, at) in items.iter().filter_map(Field::placed) {
            if names.contains(name) {
                self.raise(
                    Raised::error("duplicate-name", at, format!("the channel `{name}` is already named")).help("remove it"),
                );
            } else if SWITCHES.contains(&name.as_str()) {
                let raised = Raised::error("bad-name", at, format!("`{name}` is a switch, not the name of a channel"));
                self.raise(raised.expected("the name of a channel").help("write `{}` where no channel is to be named"));
            } else if self.check_name("channel", name, at) {
                names.push(name.clone());
            }
        }
        names
    }
}

/// What is written where somebody means yes or no.
const SWITCHES: [&str; 6] = ["true", "false", "yes", "no", "on", "off"];

const NAME: &str = "lowercase letters, digits, `-` and `_`, at most 63, a letter or digit first";

fn is_name_char(char: char) -> bool {
    char.is_ascii_lowercase() || char.is_ascii_digit() || matches!(char, '-' | '_')
}

fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len()) && name.chars().all(is_name_char) && !name.starts_with(['-', '_'])
}
