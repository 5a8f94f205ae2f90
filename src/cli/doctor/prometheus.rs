//! Prometheus: does it answer, is its clock ours, does it have the alerting rules and series that the policies rest on?

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::finding::{Area, Findings};
use super::selector::{Selector, selectors};
use super::{acts, clock, get_json, now};
use crate::model::{Mode, Time};
use crate::outgoing::{Clients, Endpoint};
use crate::policy::duration;
use crate::policy::matcher::Matcher;
use crate::policy::types::{Policies, Policy};
use crate::settings::Settings;

/// Series that are asked for; what is more is said.
const MOST_SERIES: usize = 200;

pub(super) async fn look(settings: &Settings, clients: &Clients, policies: &Policies, findings: &mut Findings) {
    let mut area = findings.area("prometheus");
    if settings.prometheus.is_empty() {
        let todo = "name it with `prometheus`; without it facts and onsets are unknown, and what rests on them pages";
        return area.missing(acts(policies), "access", "no Prometheus is configured", todo);
    }
    let mut first = None;
    for server in &settings.prometheus {
        let endpoint = match clients.endpoint(server) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                area.problem("access", error.to_string(), "mend the setting");
                continue;
            }
        };
        if reach(&endpoint, &mut area).await && first.is_none() {
            first = Some(endpoint);
        }
    }
    // The first that answers counts, as for the service.
    let Some(server) = first else { return };
    rules(&server, settings, policies, &mut area).await;
    series(&server, policies, &mut area).await;
}

/// Whether it answers a query, and what time it has.
async fn reach(server: &Endpoint, area: &mut Area<'_>) -> bool {
    let before = now();
    let answer = query(server, "time()").await;
    let after = now();
    let seconds = match answer {
        Ok(result) => result.first().and_then(|value| value.parse::<f64>().ok()),
        Err(why) => {
            let todo = "is the address right (with its path), is it up, are the credentials valid?";
            area.problem("access", format!("`{}`: {why}", server.name()), todo);
            return false;
        }
    };
    area.ok("access", format!("`{}` answers", server.name()));
    if let Some(seconds) = seconds {
        let theirs = Time::from_millis((seconds * 1000.0) as i64);
        clock(area, &format!("Prometheus `{}`", server.name()), theirs, (before, after), Duration::from_millis(1));
    }
    true
}

/// The alerting rules: they make the alerts, the onset, and the proof that one is over.
async fn rules(server: &Endpoint, settings: &Settings, policies: &Policies, area: &mut Area<'_>) {
    let answer = get_json(server, "api/v1/rules", &[("type", "alert")]).await;
    let groups = match &answer {
        Ok(answer) => answer.pointer("/data/groups").and_then(Value::as_array).cloned().unwrap_or_default(),
        Err(why) => {
            let todo = "let us read `/api/v1/rules`; without it no alert is ever confirmed to be over";
            return area.problem("rules", format!("its rules cannot be read: {why}"), todo);
        }
    };
    let rules: Vec<&Value> = groups.iter().filter_map(|group| group["rules"].as_array()).flatten().collect();
    if rules.is_empty() {
        let todo =
            "name the Prometheus (or ruler) that evaluates the alerting rules; without it no alert is ever confirmed to be over";
        return area.problem("rules", "it has no alerting rules", todo);
    }
    area.ok("rules", format!("{} alerting rules in {} groups", rules.len(), groups.len()));
    evaluated(&groups, settings.limits.evaluation_age, area);
    let active = rules.iter().any(|rule| rule["state"] == "firing" || rule["state"] == "pending");
    for_state(server, active, area).await;
    let names: BTreeSet<&str> = rules.iter().filter_map(|rule| rule["name"].as_str()).collect();
    watchdog(&rules, area);
    for policy in &policies.policies {
        made_by_a_rule(policy, &names, area);
    }
}

fn evaluated(groups: &[Value], limit: Duration, area: &mut Area<'_>) {
    let late = groups.iter().filter_map(|group| {
        let last = Time::parse(group["lastEvaluation"].as_str()?)?;
        let interval = Duration::try_from_secs_f64(group["interval"].as_f64().unwrap_or(0.0).clamp(0.0, 1e9)).unwrap_or_default();
        let age = now().since(last);
        (age > limit.max(2 * interval)).then(|| format!("`{}` {} ago", group["name"].as_str().unwrap_or("?"), short(age)))
    });
    let late: Vec<String> = late.take(5).collect();
    if late.is_empty() {
        area.ok("evaluation", "every rule group was evaluated in time");
    } else {
        let todo = "an alert counts as over only when its rules are evaluated; is Prometheus overloaded?";
        area.warning("evaluation", format!("rule groups that were last evaluated long ago: {}", late.join(", ")), todo);
    }
}

/// `ALERTS_FOR_STATE` tells when a condition began. It is there only while an alert is pending or firing.
async fn for_state(server: &Endpoint, active: bool, area: &mut Area<'_>) {
    let todo = "keep `ALERTS_FOR_STATE` (no relabelling may drop it; ask the server that evaluates the rules); without it the onset is \
                `startsAt` less the rule's `for`, which is later than the truth";
    match query(server, "count(ALERTS_FOR_STATE)").await {
        Ok(result) if !result.is_empty() => area.ok("onset", "`ALERTS_FOR_STATE` is there: it tells when a condition began"),
        Ok(_) if active => area.warning("onset", "alerts are active, and there is no series `ALERTS_FOR_STATE`", todo),
        Ok(_) => area.ok("onset", "no alert is active, so that `ALERTS_FOR_STATE` is not to be expected"),
        Err(why) => area.warning("onset", format!("`ALERTS_FOR_STATE` cannot be asked for: {why}"), todo),
    }
}

/// An alert that always fires shows that the way from a rule to a receiver works.
fn watchdog(rules: &[&Value], area: &mut Area<'_>) {
    let names = ["watchdog", "deadmansswitch", "deadmanssnitch", "alwaysfiring"];
    let is_one = |rule: &&&Value| {
        let name = rule["name"].as_str().unwrap_or_default().to_ascii_lowercase();
        let expression: String = rule["query"].as_str().unwrap_or_default().split_whitespace().collect();
        names.contains(&name.as_str()) || expression == "vector(1)"
    };
    match rules.iter().find(is_one) {
        Some(rule) if rule["state"] == "firing" => {
            area.ok("watchdog", format!("`{}` fires, as it always should", rule["name"].as_str().unwrap_or_default()));
        }
        Some(rule) => {
            let name = rule["name"].as_str().unwrap_or_default();
            area.warning("watchdog", format!("`{name}` should always fire, and does not"), "see Prometheus' page of rules");
        }
        None => area.warning(
            "watchdog",
            "no rule fires always (`Watchdog`)",
            "add one with `expr: vector(1)`, and something outside that notices when it does not arrive",
        ),
    }
}

/// A policy whose alerts no rule makes waits for ever.
fn made_by_a_rule(policy: &Policy, names: &BTreeSet<&str>, area: &mut Area<'_>) {
    let by_name: Vec<&Matcher> = policy.matchers.iter().filter(|matcher| matcher.name() == "alertname").collect();
    let fits = |name: &&&str| by_name.iter().all(|matcher| matcher.matches_value(name));
    if !by_name.is_empty() && names.iter().find(fits).is_none() {
        let found = format!("no alerting rule here has a name that the policy `{}` is about", policy.name);
        area.warning("rules", found, "is the name misspelt, or is the rule evaluated elsewhere?");
    }
}

/// The series that facts read.
async fn series(server: &Endpoint, policies: &Policies, area: &mut Area<'_>) {
    // What a fact reads, and whether a policy that acts reads it.
    let mut wanted: BTreeMap<Selector, (bool, BTreeSet<String>)> = BTreeMap::new();
    for policy in &policies.policies {
        for (name, fact) in &policy.facts {
            let floor = fact.floor().into_iter().flat_map(|floor| selectors(&floor.promql));
            for selector in fact.promql().into_iter().flat_map(selectors).chain(floor) {
                let entry = wanted.entry(selector).or_default();
                entry.0 |= policy.mode > Mode::Shadow;
                entry.1.insert(format!("`{name}` of `{}`", policy.name));
            }
        }
    }
    if wanted.is_empty() {
        return area.ok("series", "no policy has facts");
    }
    if wanted.len() > MOST_SERIES {
        let found = format!("facts read {} kinds of series; the first {MOST_SERIES} are looked at", wanted.len());
        area.warning("series", found, "");
    }
    let mut there = 0;
    for (selector, (acts, facts)) in wanted.iter().take(MOST_SERIES) {
        let facts = facts.iter().cloned().collect::<Vec<_>>().join(", ");
        let has = async |text: &str| query(server, &format!("count({text})")).await.map(|result| !result.is_empty());
        match (has(&selector.text).await, selector.text == selector.metric) {
            (Ok(true), _) => there += 1,
            (Ok(false), false) if has(&selector.metric).await == Ok(true) => {
                let found = format!("no series fits `{}` now, which the fact {facts} reads", selector.text);
                let todo = "right if it only appears with the first error (then add `or vector(0)`), else a label is misspelt";
                area.warning("series", found, todo);
            }
            (Ok(false), _) => {
                let found = format!("there is no series `{}`, which the fact {facts} reads", selector.metric);
                area.missing(
                    *acts,
                    "series",
                    found,
                    "is it scraped, and is its name right? until then the fact is unknown, and pages",
                );
            }
            (Err(why), _) => area.warning("series", format!("`{}` cannot be asked for: {why}", selector.text), "try it by hand"),
        }
    }
    area.ok("series", format!("{there} of {} kinds of series that facts read are there", wanted.len()));
}

/// The values of an instant query's answer.
async fn query(server: &Endpoint, promql: &str) -> Result<Vec<String>, String> {
    let answer = get_json(server, "api/v1/query", &[("query", promql)]).await?;
    let data = &answer["data"];
    match (data["resultType"].as_str(), &data["result"]) {
        (Some("vector"), Value::Array(samples)) => {
            Ok(samples.iter().filter_map(|sample| sample["value"][1].as_str().map(str::to_owned)).collect())
        }
        (Some("scalar"), Value::Array(value)) => {
            Ok(value.get(1).and_then(Value::as_str).map(str::to_owned).into_iter().collect())
        }
        _ => Err("what answers is not Prometheus' API".to_owned()),
    }
}

fn short(span: Duration) -> String {
    duration::format(Duration::from_secs(span.as_secs()))
}
