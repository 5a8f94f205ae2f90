//! The alerts about backout: they fire when they must and only then, by Prometheus' own tool, and each has a page that says what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::support::beside;
use crate::tools::{documents, object, rendered, root, run, text};

const RULES: &str = "deploy/prometheus/backout.rules.yaml";
const TESTS: &str = "deploy/prometheus/backout.rules.test.yaml";
const PAGES: &str = "docs/runbooks";

fn rules() -> Vec<Value> {
    let groups = documents(&text(RULES))[0]["groups"].clone();
    groups.as_array().expect("groups").iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect()
}

fn name(rule: &Value) -> &str {
    rule["alert"].as_str().expect("an alert")
}

#[test]
fn prometheus_takes_them_and_they_fire_as_they_must() {
    let promtool = beside("prometheus", "promtool");
    run(Command::new(&promtool).arg("check").arg("rules").arg(root().join(RULES)));
    run(Command::new(&promtool).arg("test").arg("rules").arg(root().join(TESTS)));
}

#[test]
fn each_is_shown_firing_and_not_firing() {
    let mut shown: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    for case in documents(&text(TESTS))[0]["tests"].as_array().expect("tests") {
        for test in case["alert_rule_test"].as_array().expect("cases") {
            let fires = !test["exp_alerts"].as_array().expect("a list").is_empty();
            shown.entry(test["alertname"].as_str().expect("a name").to_owned()).or_default().insert(fires);
        }
    }
    let both = BTreeSet::from([true, false]);
    let expected: BTreeMap<String, BTreeSet<bool>> = rules().iter().map(|rule| (name(rule).to_owned(), both.clone())).collect();
    assert_eq!(shown, expected);
}

#[test]
fn each_has_a_runbook_and_each_runbook_an_alert() {
    let mut linked = BTreeSet::new();
    let index = text("docs/runbooks/README.md");
    for rule in rules() {
        let url = rule["annotations"]["runbook_url"].as_str().unwrap_or_default().to_owned();
        let (_, page) = url.rsplit_once("/blob/main/docs/runbooks/").unwrap_or_else(|| panic!("{}: `{url}`", name(&rule)));
        assert!(text(&format!("{PAGES}/{page}")).starts_with(&format!("# {}\n", name(&rule))), "{page} is about {}", name(&rule));
        let severity = rule["labels"]["severity"].as_str().expect("a severity");
        assert!(index.contains(&format!("| [{}]({page}) | {severity} |", name(&rule))), "the index has {}", name(&rule));
        linked.insert(page.to_owned());
    }
    let pages: BTreeSet<String> = std::fs::read_dir(root().join(PAGES))
        .expect("a folder")
        .map(|entry| entry.expect("a page").file_name().to_string_lossy().into_owned())
        .filter(|name| name != "README.md")
        .collect();
    assert_eq!(linked, pages);
}

/// Links between pages lead somewhere, and so do the anchors in them.
#[test]
fn links_in_the_runbooks_lead_somewhere() {
    let mut followed = 0;
    for entry in std::fs::read_dir(root().join(PAGES)).expect("a folder") {
        let page = entry.expect("a page").file_name().to_string_lossy().into_owned();
        for link in text(&format!("{PAGES}/{page}")).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = text(&format!("{PAGES}/{file}"));
            let mut headings = target.lines().filter_map(|line| line.split_once("# ")).map(|(_, heading)| slug(heading));
            assert!(anchor.is_empty() || headings.any(|it| it == anchor), "{page}: {link}");
            followed += 1;
        }
    }
    assert!(followed > 10, "the links were found");
}

fn slug(heading: &str) -> String {
    let kept = |c: char| c.is_alphanumeric() || c == ' ' || c == '-' || c == '_';
    heading.chars().filter(|c| kept(*c)).collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn they_name_metrics_that_there_are() {
    let page = text("docs/metrics.md");
    for rule in rules() {
        let expr = rule["expr"].as_str().expect("an expression");
        for metric in expr.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| word.starts_with("backout_")) {
            assert!(page.contains(&format!("| `{metric}` |")), "{}: {metric}", name(&rule));
        }
    }
}

#[test]
fn the_operators_rules_are_the_same() {
    let objects = rendered("overlays/production");
    let spec = &object(&objects, "PrometheusRule", "backout")["spec"];
    assert_eq!(spec["groups"], documents(&text(RULES))[0]["groups"]);
}
