//! Prometheus' rule files, as far as a world needs them: of each alert its `for` and its tail. Expressions are not evaluated; that is
//! promtool's business.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::observe::look_back;
use crate::policy::duration;

/// What rule files say of alerts, by their names.
#[derive(Clone, Debug, Default)]
pub struct AlertRules {
    rules: BTreeMap<String, Vec<AlertRule>>,
}

/// What a rule says of its alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AlertRule {
    hold: Duration,
    tail: Option<Duration>,
}

#[derive(Debug, Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    interval: Option<String>,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
struct Rule {
    alert: Option<String>,
    #[serde(default)]
    expr: Expression,
    #[serde(rename = "for")]
    hold: Option<String>,
    keep_firing_for: Option<String>,
}

/// An expression may be a bare number.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum Expression {
    #[default]
    None,
    Query(String),
    Number(IgnoredAny),
}

/// How often groups are evaluated that do not say it.
const MINUTE: Duration = Duration::from_secs(60);

impl AlertRules {
    /// Takes a file's alerts in.
    ///
    /// # Errors
    /// Why it is no rule file.
    pub(super) fn add(&mut self, text: &str) -> Result<(), String> {
        let file: File = serde_saphyr::from_str(text).map_err(|error| {
            let words = error.to_string();
            format!("it is no rule file: {}", words.lines().next().unwrap_or_default())
        })?;
        let span = |text: &Option<String>, otherwise| match text {
            None => Ok(otherwise),
            Some(text) => duration::parse(text).map_err(|problem| format!("it is no rule file: {problem}")),
        };
        for group in file.groups {
            let interval = span(&group.interval, MINUTE)?;
            for rule in group.rules {
                let Some(name) = rule.alert else { continue };
                let hold = span(&rule.hold, Duration::ZERO)?;
                let keep = span(&rule.keep_firing_for, Duration::ZERO)?;
                let back = match &rule.expr {
                    Expression::Query(query) => look_back(query),
                    Expression::None | Expression::Number(IgnoredAny) => Some(Duration::ZERO),
                };
                let tail = back.map(|back| back + keep + 2 * interval);
                self.rules.entry(name).or_default().push(AlertRule { hold, tail });
            }
        }
        Ok(())
    }

    /// The `for` of the alert's rules, and their longest tail: `None` where it cannot be told, as the service could not. Nothing
    /// where no rule is of that name.
    pub(super) fn of(&self, alertname: &str) -> Option<(Duration, Option<Duration>)> {
        let rules = self.rules.get(alertname)?;
        let hold = rules.iter().map(|rule| rule.hold).max()?;
        let tails: Option<Vec<Duration>> = rules.iter().map(|rule| rule.tail).collect();
        Some((hold, tails.and_then(|tails| tails.into_iter().max())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_take_for_and_tail_from_their_rule() {
        let mut rules = AlertRules::default();
        let text = "groups:\n- name: shop\n  interval: 30s\n  rules:\n  - record: a:b\n    expr: up\n  - alert: HighErrorRate\n    expr: rate(errors[2m]) > 0.1\n    for: 3m\n    keep_firing_for: 1m\n  - alert: Unseen\n    expr: a:b > 1\n  - {alert: Always, expr: 1}\n";
        assert_eq!(rules.add(text), Ok(()));
        let seconds = Duration::from_secs;
        assert_eq!(rules.of("HighErrorRate"), Some((seconds(180), Some(seconds(240)))));
        assert_eq!(rules.of("Unseen"), Some((seconds(0), None)), "a recording rule hides how far it looks back");
        assert_eq!(rules.of("Always"), Some((seconds(0), Some(seconds(60)))));
        assert_eq!(rules.of("Other"), None);
        assert!(rules.add("groups: 3").is_err());
        assert!(rules.add("groups: [{rules: [{alert: A, for: 5}]}]").is_err());
    }
}
