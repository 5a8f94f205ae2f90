//! The Grafana dashboard: it fits Grafana's schema, and every query of it has an answer in a Prometheus that scraped a backout which
//! went through an incident.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Prometheus, Stage, eventually, http, now, rules, tool, with_namespace};
use crate::tools::{root, run, text};

const FILE: &str = "deploy/grafana/backout.json";
/// What Grafana would put in: a dashboard of the last ten minutes.
const RANGE: Duration = Duration::from_secs(600);

/// A query of the dashboard, and where it stands.
struct Query {
    place: String,
    expr: String,
    instant: bool,
}

fn dashboard() -> Value {
    serde_json::from_str(&text(FILE)).expect("JSON")
}

fn queries(dashboard: &Value) -> Vec<Query> {
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let place = format!("panel `{}`", panel["title"].as_str().unwrap_or_default());
            let expr = target["expr"].as_str().expect("an expression").to_owned();
            found.push(Query { place, expr, instant: target["instant"] == true });
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().expect("annotations") {
        if let Some(expr) = annotation["expr"].as_str() {
            let place = format!("annotation `{}`", annotation["name"].as_str().unwrap_or_default());
            found.push(Query { place, expr: expr.to_owned(), instant: false });
        }
    }
    found
}

#[test]
fn grafana_can_read_it() {
    let said = run(Command::new(tool("dashboard-check")).arg(root().join(FILE)));
    let counted: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(counted["panels"], dashboard()["panels"].as_array().expect("panels").len());

    // The check itself is awake.
    let mut wrong = dashboard();
    wrong["panels"][1]["options"]["colourMode"] = Value::from("background");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("wrong.json");
    std::fs::write(&file, wrong.to_string()).expect("written");
    let output = Command::new(tool("dashboard-check")).arg(&file).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("colourMode"), "{said}");
}

#[test]
fn it_asks_for_metrics_that_there_are() {
    let page = text("docs/metrics.md");
    for query in queries(&dashboard()) {
        for word in query.expr.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| word.starts_with("backout_")) {
            assert!(page.contains(&format!("| `{}` |", word.trim_end_matches("_bucket"))), "{}: {word}", query.place);
        }
        assert!(query.expr.contains("$cluster"), "{}: it heeds the cluster", query.place);
        let by_policy = ["decisions_total", "attempts_total", "incidents_closed_total", "pages_total"];
        assert_eq!(by_policy.iter().any(|name| query.expr.contains(name)), query.expr.contains("$policy"), "{}", query.place);
    }
}

#[test]
fn it_shows_what_was_promised() {
    let dashboard = dashboard();
    let all: String = queries(&dashboard).into_iter().map(|query| query.expr + "\n").collect();
    let promised = [
        "backout_attempts_total",
        "backout_decisions_total",
        "backout_brake_holding",
        "time_to_detect",
        "time_to_decide",
        "time_to_start",
        "time_to_rollback",
        "time_to_verify",
        "backout_notifications_total{result=~\"failed",
        "backout_watch_age",
        "backout_inbox_depth",
        "backout_webhook_commit_seconds",
        "backout_incidents_closed_total",
    ];
    for what in promised {
        assert!(all.contains(what), "{what}");
    }
    let annotations = dashboard["annotations"]["list"].as_array().expect("annotations");
    let annotations: Vec<_> = annotations.iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(annotations[1..], ["Change", "Rollback", "Verified"]);
}

#[tokio::test]
async fn every_query_has_an_answer_after_an_incident() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &rules("enforce", "1s")).await;
        // The trouble begins once the release has landed, so that the time to detect it is one.
        stage.shop.set_errors(Some(0.0));
        stage.ns.set_image("web", "shop:2-faulty").await;
        stage.ns.wait_rolled_out("web").await;
        stage.shop.set_errors(None);
        stage.incident("closed", |i| i["state"] == "closed" && i["reason"] == "verified").await;

        let dashboard = dashboard();
        variables_have_values(&stage.prometheus, &dashboard).await;
        for query in queries(&dashboard) {
            // What one sees at first, and what one sees of this cluster and policy.
            for (cluster, policy) in [(".*", ".*"), ("test", "shop")] {
                let expr = filled(&query.expr, cluster, policy);
                // The next scrape may be the one that has it.
                eventually(&format!("{}: {expr}", query.place), Duration::from_secs(20), async || {
                    answers(&stage.prometheus, &expr, query.instant).await
                })
                .await;
            }
        }
    })
    .await;
}

async fn variables_have_values(prometheus: &Prometheus, dashboard: &Value) {
    let mut tried = Vec::new();
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        let Some(query) = variable["query"]["query"].as_str() else { continue };
        let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).expect("label_values");
        let (series, label) = inside.rsplit_once(", ").expect("a series and a label");
        let found = prometheus.wait_for(&format!("count by ({label}) ({})", filled(series, ".*", ".*")), RANGE).await;
        assert!(found.iter().any(|(labels, _)| labels[label].as_str().is_some_and(|it| !it.is_empty())), "{query}: {found:?}");
        tried.push(variable["name"].as_str().unwrap_or_default());
    }
    assert_eq!(tried, ["cluster", "policy"]);
}

fn filled(expr: &str, cluster: &str, policy: &str) -> String {
    let filled = expr.replace("$cluster", cluster).replace("$policy", policy);
    let filled = filled.replace("$__rate_interval", "1m").replace("$__range", &format!("{}s", RANGE.as_secs()));
    assert!(!filled.contains('$'), "nothing is left to fill in: {filled}");
    filled
}

/// At least one number that can be drawn.
async fn answers(prometheus: &Prometheus, expr: &str, instant: bool) -> Result<(), String> {
    let end = now();
    let start = end - RANGE;
    let mut url: url::Url =
        format!("{}/api/v1/{}", prometheus.url(), if instant { "query" } else { "query_range" }).parse().expect("a URL");
    url.query_pairs_mut().append_pair("query", expr);
    if !instant {
        let step = "5s".to_owned();
        for (name, value) in [("start", start.to_string()), ("end", end.to_string()), ("step", step)] {
            url.query_pairs_mut().append_pair(name, &value);
        }
    }
    let answer = http().get(url).send().await.map_err(|error| error.to_string())?;
    let body: Value = answer.json().await.map_err(|error| error.to_string())?;
    let series = body["data"]["result"].as_array().ok_or_else(|| body.to_string())?;
    let one = |sample: &Value| sample[1].as_str().and_then(|text| text.parse::<f64>().ok()).is_some_and(f64::is_finite);
    let drawn =
        series.iter().any(|series| one(&series["value"]) || series["values"].as_array().is_some_and(|all| all.iter().any(one)));
    if drawn { Ok(()) } else { Err(format!("nothing to draw: {body}")) }
}
