//! Drills on real parts: could a rollback be made right now? Everything but the write, by command and beside the running service.

mod support;

use std::fs;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use support::{BACKOUT_USER, Backout, Stage, eventually, rules, with_namespace};

const SOON: Duration = Duration::from_secs(90);

/// Runs `drill` as a person beside the service would: with its settings, its journal and its policies.
async fn drill(stage: &Stage, more: &[&str]) -> Output {
    let (data, rules) = (stage.backout.data_dir(), stage.backout.rules_dir());
    let config = data.with_file_name("config.yaml");
    let kubeconfig = stage.ns.plane.backout_kubeconfig();
    let asked = [
        ["--config", config.to_str().expect("text")],
        ["--data", data.to_str().expect("text")],
        ["--rules", rules.to_str().expect("text")],
        ["--kubeconfig", kubeconfig.to_str().expect("text")],
        ["--cluster-name", "test"],
        ["--prometheus", stage.prometheus.url()],
        ["--alertmanager", stage.alertmanagers[0].url()],
    ];
    Backout::run(&[&["drill"], asked.concat().as_slice(), more].concat()).await
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Which checks of the one target failed.
fn failed(answer: &Value) -> Vec<String> {
    let checks = answer["drill"]["rows"][0]["checks"].as_array().unwrap_or_else(|| panic!("no rows in {answer:#}"));
    let failed = checks.iter().filter(|check| check["level"] == "failed");
    failed.map(|check| check["check"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn a_drill_finds_out_whether_a_rollback_could_be_made_and_writes_nothing() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &rules("enforce", "1s")).await;
        let only = stage.ns.name.clone();
        // What ran before the service looked was not watched, which does not count where nobody is asked.
        let output = drill(&stage, &["--namespace", &only, "--output", "json"]).await;
        let answer = json(&output);
        assert_eq!(
            (output.status.code(), failed(&answer)),
            (Some(1), vec!["fit_target".to_owned(), "plan".to_owned()]),
            "{answer:#}"
        );
        assert_eq!((&answer["passed"], &answer["policies"]["shop"]), (&false.into(), &false.into()));

        stage.ns.set_image("web", "shop:2").await;
        stage.ns.wait_rolled_out("web").await;
        let answer = eventually("the drill passes", SOON, async || {
            let output = drill(&stage, &["--all", "--output", "json"]).await;
            let answer = json(&output);
            if output.status.success() { Ok(answer) } else { Err(format!("{answer:#}")) }
        })
        .await;
        let row = &answer["drill"]["rows"][0];
        assert_eq!((&row["from"], &row["to"]), (&"shop:2".into(), &"shop:1".into()), "{answer:#}");
        let checks = row["checks"].as_array().expect("checks");
        for wanted in ["fit_target", "permission", "template", "target", "dry run"] {
            assert!(checks.iter().any(|check| check["check"] == wanted && check["level"] == "passed"), "{wanted}: {row:#}");
        }
        let around = answer["drill"]["around"].to_string();
        assert!(["prometheus", "alertmanager", "channel"].iter().all(|what| around.contains(what)), "{around}");

        let output = drill(&stage, &["--target", &format!("{only}/web")]).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("a rollback could be made now") && text.contains("shop:1"), "{text}");

        // By the API server's own log: it was asked to try the patch, and nothing else.
        let writes = stage.ns.writes_by(BACKOUT_USER).await.unwrap_or_default();
        let tried: Vec<_> = writes.iter().filter(|write| write.resource == "deployments" && write.dry_run).collect();
        assert!(!tried.is_empty() && writes.iter().all(|write| write.dry_run), "{writes:#?}");
        assert_eq!(stage.ns.image("web").await, "shop:2");
        assert!(stage.people.received().iter().all(|body| body["moment"] != "drill"), "the command tells nobody");
    })
    .await;
}

#[tokio::test]
async fn the_service_carries_drills_out_and_tells_of_those_that_fail() {
    with_namespace(async |ns| {
        let mut stage = Stage::set(ns, &rules("enforce", "1s")).await;
        stage.release("shop:2").await;
        let config = stage.backout.data_dir().with_file_name("config.yaml");
        let text = fs::read_to_string(&config).expect("the settings");
        fs::write(&config, format!("{text}\ndrills: {{every: 2s}}\n")).expect("written");
        stage.backout.restart().await;
        stage.open_door();

        let passed = async |after: f64| {
            eventually("a drill passes", SOON, async || {
                let at = stage.backout.metric("backout_drill_passed_timestamp_seconds", &[("policy", "shop")]).await;
                if at > after { Ok(at) } else { Err(format!("{at}\n{}", stage.backout.log())) }
            })
            .await
        };
        let at = passed(0.0).await;
        assert_eq!(stage.backout.metric("backout_drill_interval_seconds", &[]).await, 2.0);

        stage.prometheus_gate.close();
        let told = stage.message("drill").await;
        assert!(told["text"].as_str().is_some_and(|text| text.contains("prometheus")), "{told:#}");
        assert!(told["title"].as_str().is_some_and(|title| title.contains("a drill failed")), "{told:#}");
        assert!(stage.backout.metric("backout_drills_total", &[("result", "failed")]).await >= 1.0);
        stage.prometheus_gate.open();
        passed(at).await;
        let again = |body: &Value| body["title"].as_str().is_some_and(|title| title.contains("passed again"));
        stage.people.wait_for("that it passes again", SOON, again).await;
        assert_eq!(stage.writes().await, 0);
    })
    .await;
}
