//! `explain` beside the running service, on real parts: it comes to the same plan, and only looks.

mod support;

use std::fs;

use serde_json::Value;
use support::{Backout, Stage, rules, with_namespace};

#[tokio::test]
async fn explain_finds_the_plan_that_the_service_found_and_writes_nothing() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &rules("shadow", "1s")).await;
        stage.ns.set_image("web", "shop:2-faulty").await;
        stage.message("decided").await;
        let found = stage.state("shadowed").await;

        let folder = tempfile::tempdir().expect("a folder");
        let policies = rules("shadow", "1s").replace("NAMESPACE", &stage.ns.name);
        fs::write(folder.path().join("shop.yaml"), policies).expect("written");
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
        let explain = async |format: &'static str| {
            let mut args = vec!["explain".to_owned(), "--output".to_owned(), format.to_owned()];
            args.extend(asked.concat().into_iter().map(str::to_owned));
            // Beside the shop, which must go on answering.
            let run = move || Backout::command(&args.iter().map(String::as_str).collect::<Vec<_>>());
            tokio::task::spawn_blocking(run).await.expect("it runs")
        };
        let output = explain("json").await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let json: Value = serde_json::from_slice(&output.stdout).expect("json");
        let incident = &json["verdicts"][0]["incident"];
        assert_eq!(json["verdicts"][0]["plan"], found["plan"], "the same hash, nothing differs: {json:#}");
        let decision = &incident["decision"];
        assert_eq!(decision["presence"]["presence"], "firing");
        assert!(decision["observation"]["values"]["errors"]["value"]["value"]["Ok"].as_f64().is_some_and(|errors| errors > 0.2));

        let text = explain("text").await;
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        for wanted in ["facts.errors", "brakes", "shop:1", "[read live", "[alertmanager "] {
            assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
        }
        assert_eq!(stage.writes().await, 0);
    })
    .await;
}
