//! Prometheus' alerting rules, as `/api/v1/rules` tells them: how long a condition must hold, how far a rule looks back. Pure.

use std::time::Duration;

use serde::Deserialize;

use crate::model::{Labels, Texts, Time};
use crate::policy::duration;

/// The answer's `data`.
#[derive(Debug, Deserialize)]
pub(super) struct Rules {
    pub(super) groups: Vec<Group>,
}

/// A rule group.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    /// Seconds.
    interval: f64,
    #[serde(default)]
    last_evaluation: String,
    rules: Vec<Rule>,
}

/// An alerting rule; recording rules do not come, since only alerts are asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    name: String,
    #[serde(default)]
    query: String,
    /// `for`, in seconds.
    #[serde(default)]
    duration: f64,
    /// Seconds; since Prometheus 2.42.
    #[serde(default)]
    keep_firing_for: f64,
    #[serde(default)]
    labels: Labels,
}

impl Rules {
    /// The `for` of the rule that made an alert: rules of its name whose own labels the alert has; all must agree.
    pub(super) fn hold(&self, labels: &Texts) -> Result<Duration, &'static str> {
        let name = labels.get("alertname").unwrap_or_default();
        let mut holds: Vec<Duration> =
            self.named(name).filter(|(_, rule)| rule.could_make(labels)).map(|(_, rule)| seconds(rule.duration)).collect();
        holds.sort_unstable();
        holds.dedup();
        match holds[..] {
            [hold] => Ok(hold),
            [] => Err("prometheus has no rule of that name and these labels"),
            _ => Err("several rules of that name differ in `for`"),
        }
    }

    /// When the slowest group was last evaluated. A group with a long interval is not late while its next turn is not due:
    /// what its interval has over a minute is added.
    pub(super) fn evaluated_at(&self, now: Time) -> Option<Time> {
        let groups = self.groups.iter().filter(|group| !group.rules.is_empty());
        let turns = groups.map(|group| {
            let last = Time::parse(&group.last_evaluation).unwrap_or_default();
            (last + seconds(group.interval).saturating_sub(Duration::from_secs(60))).min(now.max(last))
        });
        turns.min()
    }

    /// Look-back, `keep_firing_for` and two evaluations of the slowest rule of that name. `None`: no such rule, or what it looks
    /// back over cannot be told.
    pub(super) fn tail(&self, name: &str) -> Option<Duration> {
        let tails = self.named(name).map(|(group, rule)| {
            let back = look_back(&rule.query)?;
            Some(back + seconds(rule.keep_firing_for) + 2 * seconds(group.interval))
        });
        tails.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a Group, &'a Rule)> {
        let all = self.groups.iter().flat_map(|group| group.rules.iter().map(move |rule| (group, rule)));
        all.filter(move |(_, rule)| rule.name == name)
    }
}

impl Rule {
    /// Whether an alert with these labels can be its: every label that it sets (templates aside) is there.
    fn could_make(&self, labels: &Texts) -> bool {
        let has = |name: &String, value: &String| labels.get(name).unwrap_or_default() == value;
        self.labels.iter().all(|(name, value)| value.contains("{{") || has(name, value))
    }
}

/// Seconds from the wire: never negative, never absurd.
fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value.clamp(0.0, 1e9)).unwrap_or_default()
}

/// How far back a query looks: its largest range, or all of them together when one lies in another (a subquery), and every
/// offset. `None` when that cannot be told: an odd range, or a recording rule, whose own ranges are not seen.
pub fn look_back(query: &str) -> Option<Duration> {
    let (mut largest, mut sum, mut offsets, mut nested) = (Duration::ZERO, Duration::ZERO, Duration::ZERO, false);
    let mut rest = query;
    while let Some(c) = rest.chars().next() {
        match c {
            '"' | '\'' | '`' => rest = after_string(rest, c)?,
            '#' => rest = rest.split_once('\n').map_or("", |(_, after)| after),
            '[' => {
                let (inside, after) = rest[1..].split_once(']')?;
                let range = inside.split(':').next().unwrap_or_default();
                let range = duration::parse(range.trim()).ok()?;
                nested |= inside.contains(':');
                largest = largest.max(range);
                sum += range;
                rest = after;
            }
            c if c.is_alphabetic() || c == '_' || c == ':' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                if word.contains(':') {
                    return None;
                }
                rest = after;
                if word.eq_ignore_ascii_case("offset") {
                    let value = rest.trim_start().trim_start_matches('-');
                    let end = value.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(value.len());
                    offsets += duration::parse(&value[..end]).ok()?;
                }
            }
            c => rest = &rest[c.len_utf8()..],
        }
    }
    Some(if nested { sum } else { largest } + offsets)
}

/// What comes after a string that begins here; `None` when it does not end.
fn after_string(text: &str, quote: char) -> Option<&str> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            c if c == quote => return Some(&text[at + 1..]),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Option<Duration> {
        Some(Duration::from_secs(secs))
    }

    #[test]
    fn ranges_are_found_where_they_are_ranges() {
        assert_eq!(look_back("up == 0"), secs(0));
        assert_eq!(look_back("rate(a[5m]) / rate(b[1h30m]) > 0.1"), secs(5400));
        assert_eq!(look_back(r#"rate(a{path="/x[9h]", q='\'[9h]', r=`\`}[5m]) > 0 # [9h]"#), secs(300));
        assert_eq!(look_back("max_over_time(rate(a[5m])[30m:1m]) > 1"), secs(2100));
        assert_eq!(look_back("rate(a[5m] offset 1h) > 1"), secs(3900));
        assert_eq!(look_back("a offset -5m > 1"), secs(300));
    }

    #[test]
    fn what_cannot_be_told_is_not_guessed() {
        assert_eq!(look_back("job:errors:rate5m > 0.1"), None, "a recording rule looks back by itself");
        assert_eq!(look_back("rate(a[$__range])"), None);
        assert_eq!(look_back("rate(a[5m"), None);
        assert_eq!(look_back("a{b=\"c"), None);
    }

    fn rules(json: &str) -> Rules {
        serde_json::from_str(json).expect("rules")
    }

    fn labels(pairs: &[(&str, &str)]) -> Texts {
        pairs.iter().copied().collect()
    }

    const TWO_SEVERITIES: &str = r#"{"groups":[{"interval":30,"lastEvaluation":"2026-01-01T00:00:00Z","rules":[
        {"name":"A","query":"rate(x[5m]) > 1","duration":600,"keepFiringFor":120,"labels":{"severity":"warning","team":"{{ $x }}"}},
        {"name":"A","query":"rate(x[1m]) > 9","duration":60,"labels":{"severity":"critical"}}]}]}"#;

    #[test]
    fn the_rule_is_told_by_its_labels() {
        let rules = rules(TWO_SEVERITIES);
        let of = |severity| rules.hold(&labels(&[("alertname", "A"), ("severity", severity), ("team", "t")]));
        assert_eq!(of("warning"), Ok(Duration::from_secs(600)));
        assert_eq!(of("critical"), Ok(Duration::from_secs(60)));
        assert!(of("info").is_err());
        assert_eq!(rules.tail("A"), secs(300 + 120 + 60));
        assert_eq!(rules.tail("B"), None);
    }

    #[test]
    fn rules_that_differ_are_unknown() {
        let rules = rules(
            r#"{"groups":[{"interval":1,"rules":[{"name":"A","duration":60}]},{"interval":1,"rules":[{"name":"A","duration":61}]}]}"#,
        );
        assert!(rules.hold(&labels(&[("alertname", "A")])).is_err());
    }

    #[test]
    fn the_oldest_group_counts_and_a_slow_one_is_not_late() {
        let at = |text| Time::parse(text).expect("a time");
        let now = at("2026-01-01T01:00:00Z");
        let both = |interval: u32, last: &str| {
            rules(&format!(
                r#"{{"groups":[{{"interval":15,"lastEvaluation":"2026-01-01T00:59:50Z","rules":[{{"name":"A"}}]}},
                {{"interval":{interval},"lastEvaluation":"{last}","rules":[{{"name":"B"}}]}}]}}"#
            ))
            .evaluated_at(now)
        };
        assert_eq!(both(15, "2026-01-01T00:50:00Z"), Some(at("2026-01-01T00:50:00Z")));
        assert_eq!(both(900, "2026-01-01T00:50:00Z"), Some(at("2026-01-01T00:59:50Z")));
        assert_eq!(both(300, "2026-01-01T00:50:00Z"), Some(at("2026-01-01T00:54:00Z")));
        assert!(both(15, "0001-01-01T00:00:00Z") < Some(Time::default()), "never evaluated");
        assert_eq!(rules(r#"{"groups":[{"interval":15,"lastEvaluation":"","rules":[]}]}"#).evaluated_at(now), None);
    }
}
