//! `explain` beside the running service, on real parts: it comes to the same plan, and only looks. With what the service or its
//! journal remembers it comes to the same judgements, too.

mod support;

use std::fs;
use std::process::Output;

use serde_json::Value;
use support::{Backout, Stage, rules, with_namespace};

/// Runs `explain` on the stage's alert as a person beside the service would, beside the shop, which must go on answering.
async fn explain(stage: &Stage, policies: &str, more: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("shop.yaml"), policies.replace("NAMESPACE", &stage.ns.name)).expect("written");
    let matcher = format!("namespace={:?}", stage.ns.name);
    let kubeconfig = stage.ns.plane.backout_kubeconfig();
    let asked = [
        ["--matcher", &matcher],
        ["--cluster-name", "test"],
        ["--rules", folder.path().to_str().expect("text")],
        ["--kubeconfig", kubeconfig.to_str().expect("text")],
        ["--prometheus", stage.prometheus.url()],
        ["--alertmanager", stage.alertmanagers[0].url()],
    ];
    Backout::run(&[&["explain"], asked.concat().as_slice(), more].concat()).await
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("json")
}

/// Brake by brake: whether it holds.
fn judgements(decision: &Value) -> Vec<(String, String)> {
    let all = decision["brakes"].as_array().unwrap_or_else(|| panic!("no brakes in {decision:#}"));
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all.iter().map(|judgement| (word(&judgement["brake"]), word(&judgement["grip"]["state"]))).collect()
}

#[tokio::test]
async fn with_a_memory_explain_judges_as_the_service_that_watched_does() {
    with_namespace(async |ns| {
        // It waits before it decides: what is explained meanwhile is what it will decide.
        let policies = rules("enforce", "5m").replace("    facts:\n", "    for: 25s\n    facts:\n");
        let stage = Stage::set(ns, &policies).await;
        stage.ns.set_image("web", "shop:2-faulty").await;
        stage.state("settling").await;
        let token = stage.backout.data_dir().with_file_name("token");
        let (token, data) = (token.to_str().expect("text"), stage.backout.data_dir());
        let service = ["--output", "json", "--url", stage.backout.url(), "--token-file", token];
        let by_service = json(&explain(&stage, &policies, &service).await);
        let by_journal = json(&explain(&stage, &policies, &["--output", "json", "--data", data.to_str().expect("text")]).await);
        let without = json(&explain(&stage, &policies, &["--output", "json", "--without-memory"]).await);

        let decided = stage.state("countdown").await;
        let report = stage.backout.get(&format!("/api/v1/incidents/{}", decided["id"].as_str().expect("an id"))).await;
        let decision = report.expect("a report")["incident"]["decision"].clone();
        assert_eq!(decision["outcome"], "rollback", "{decision:#}");
        for (from, explained) in [("service http", &by_service), ("journal", &by_journal)] {
            let verdict = &explained["verdicts"][0];
            assert_eq!(verdict["outcome"], "rollback", "{from}: {verdict:#}");
            assert_eq!(verdict["plan"], decided["plan"], "{from}: the very plan");
            assert_eq!(judgements(&verdict["incident"]["decision"]), judgements(&decision), "{from}");
            assert_eq!(verdict["incident"]["id"], decided["id"], "{from}: the very incident");
            assert!(explained["memory"]["from"].as_str().is_some_and(|of| of.contains(from.split(' ').next().unwrap_or(from))));
        }
        // The same without one: it could not say that.
        let verdict = &without["verdicts"][0];
        let held = judgements(&verdict["incident"]["decision"]).into_iter().filter(|(_, grip)| grip != "free");
        let held: Vec<String> = held.map(|(brake, _)| brake).collect();
        assert_eq!((&verdict["outcome"], held), (&"page".into(), vec!["fit_target".to_owned(), "quiet_start".to_owned()]));
        assert_eq!(without["memory"], Value::Null);

        // What has been decided already can be asked for again, and is said to be.
        let again = explain(&stage, &policies, &service[2..]).await;
        let again = String::from_utf8_lossy(&again.stdout).into_owned();
        for wanted in ["remembered", "is open and `countdown`; decided anew", "verdict: rollback"] {
            assert!(again.contains(wanted), "no {wanted:?} in\n{again}");
        }
        assert_eq!(stage.writes().await, 0);
    })
    .await;
}

#[tokio::test]
async fn explain_finds_the_plan_that_the_service_found_and_writes_nothing() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &rules("shadow", "1s")).await;
        stage.ns.set_image("web", "shop:2-faulty").await;
        stage.message("decided").await;
        let found = stage.state("shadowed").await;

        let policies = rules("shadow", "1s");
        let json = json(&explain(&stage, &policies, &["--output", "json", "--without-memory"]).await);
        let incident = &json["verdicts"][0]["incident"];
        assert_eq!(json["verdicts"][0]["plan"], found["plan"], "the same hash, nothing differs: {json:#}");
        let decision = &incident["decision"];
        assert_eq!(decision["presence"]["presence"], "firing");
        assert!(decision["observation"]["values"]["errors"]["value"]["value"]["Ok"].as_f64().is_some_and(|errors| errors > 0.2));

        let text = explain(&stage, &policies, &["--without-memory"]).await;
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        for wanted in ["facts.errors", "brakes", "shop:1", "[read live", "[alertmanager "] {
            assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
        }
        assert_eq!(stage.writes().await, 0);
    })
    .await;
}
