//! `explain` beside the running service, on real parts: it comes to the same plan, and only looks. With what the service or its
//! journal remembers it comes to the same judgements, too.

mod support;

use std::fs;
use std::path::Path;
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
        // `explain` knows the product's times, not the stage's: ten minutes for a peer's list to be whole.
        let alone = "control_group: {disabled: the Alertmanager of this stage has been up for seconds}";
        let policies = policies.replace("fit_target:", &format!("{alone}\n      fit_target:"));
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
        let held = judgements(&verdict["incident"]["decision"]).into_iter();
        let held = held.filter(|(_, grip)| grip == "held" || grip == "blind");
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

/// Derives an incident of the past again, from a copy of the journal.
async fn past(stage: &Stage, id: &str, journal: &Path, more: &[&str]) -> Output {
    let (rules, config) = (stage.backout.rules_dir(), stage.backout.data_dir().with_file_name("config.yaml"));
    let asked = [
        ["--incident", id],
        ["--journal", journal.to_str().expect("text")],
        ["--rules", rules.to_str().expect("text")],
        ["--config", config.to_str().expect("text")],
        ["--cluster-name", "test"],
    ];
    Backout::run(&[&["explain"], asked.concat().as_slice(), more].concat()).await
}

/// Changes rows of a journal's copy as somebody with an editor would: each `from` in a step becomes `to`, of the same length or not.
fn tamper(journal: &Path, from: &str, to: &str) {
    let connection = rusqlite::Connection::open(journal).expect("it opens");
    let mut read = connection.prepare("SELECT seq, body FROM journal WHERE kind = 2").expect("prepared");
    let rows = read.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))).expect("rows");
    let rows: Vec<(i64, Vec<u8>)> = rows.map(|row| row.expect("a row")).collect();
    let mut changed = 0;
    for (seq, body) in rows {
        let (version, text) = (body[0], String::from_utf8(body[1..].to_vec()).expect("JSON"));
        if text.contains(from) {
            let body = [&[version], text.replace(from, to).as_bytes()].concat();
            connection.execute("UPDATE journal SET body = ?2 WHERE seq = ?1", rusqlite::params![seq, body]).expect("written");
            changed += 1;
        }
    }
    assert!(changed > 0, "no row has {from:?}");
}

#[tokio::test]
async fn a_past_incident_is_derived_again_byte_for_byte_and_a_changed_journal_is_found_out() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &rules("enforce", "1s")).await;
        stage.ns.set_image("web", "shop:2-faulty").await;
        let incident = stage.state("verified").await;
        let id = incident["id"].as_str().expect("an id");
        let folder = tempfile::tempdir().expect("a folder");
        let copy = |name: &str| {
            let to = folder.path().join(name);
            let data = stage.backout.data_dir();
            let made =
                Backout::command(&["journal", "backup", to.to_str().expect("text"), "--data", data.to_str().expect("text")]);
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            to
        };
        let journal = copy("kept.db");
        let answer = json(&past(&stage, id, &journal, &["--format", "json"]).await);
        let derived = answer["derived_again"]["decisions"].as_array().expect("decisions").clone();
        assert!(!derived.is_empty() && derived.iter().all(|one| one["bytes"] == true), "{answer:#}");
        let verdict = &answer["verdicts"][0];
        assert_eq!(verdict["outcome"], "rollback", "{verdict:#}");
        assert_eq!(verdict["plan"], incident["plan"], "the very plan");
        let diff = verdict["diff"].as_str().unwrap_or_else(|| panic!("no diff: {verdict:#}"));
        assert!(
            diff.contains("shop:2-faulty") && diff.lines().any(|line| line.starts_with('+') && line.contains("shop:1")),
            "{diff}"
        );
        let otherwise = verdict["otherwise"].to_string();
        assert!(otherwise.contains("would have paged if facts.errors had been 0.2 or less"), "{otherwise}");
        let text = past(&stage, id, &journal, &[]).await;
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        assert!(text.contains("byte for byte") && text.contains("otherwise"), "{text}");

        // Another program decided it: that is said, and changes nothing where the same comes out.
        let other = copy("other.db");
        let version = format!("\"program\":\"{}\"", env!("CARGO_PKG_VERSION"));
        tamper(&other, &version, "\"program\":\"0.0.7\"");
        let answer = json(&past(&stage, id, &other, &["--format", "json"]).await);
        assert_eq!(answer["derived_again"]["decisions"][0]["program"], "0.0.7", "{answer:#}");

        // A fact, a verdict's words, a brake's numbers: whatever is changed, it does not come out again.
        for (name, from, to) in [
            ("words.db", "says rollback: shop:2-faulty -> shop:1", "says rollback: shop:2-faulty -> shop:9"),
            (
                "brake.db",
                "\"brake\":\"owner\",\"grip\":{\"state\":\"free\"}",
                "\"brake\":\"owner\",\"grip\":{\"state\":\"held\"}",
            ),
        ] {
            let changed = copy(name);
            tamper(&changed, from, to);
            let found = past(&stage, id, &changed, &[]).await;
            let why = String::from_utf8_lossy(&found.stderr).into_owned();
            assert_eq!(found.status.code(), Some(7), "{name}: {why}");
            assert!(why.contains("is not what backout") && why.contains("-  "), "{name}: {why}");
        }

        let missing = past(&stage, "i000000000000", &journal, &[]).await;
        assert_eq!(missing.status.code(), Some(5), "{}", String::from_utf8_lossy(&missing.stderr));
        // Other policies are no way to derive it.
        fs::write(stage.backout.rules_dir().join("shop.yaml"), "policies: []\n").expect("written");
        let without = past(&stage, id, &journal, &[]).await;
        let why = String::from_utf8_lossy(&without.stderr).into_owned();
        assert_eq!(without.status.code(), Some(2), "{why}");
        assert!(why.contains("it was decided by the policies"), "{why}");
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

        // The same alert by its fingerprint, as Alertmanager names it.
        let fingerprint = json["alerts"][0]["fingerprint"].as_str().expect("a fingerprint").to_owned();
        let kubeconfig = stage.ns.plane.backout_kubeconfig();
        let by_fingerprint = Backout::run(&[
            "explain",
            "--fingerprint",
            &fingerprint,
            "--alertmanager",
            stage.alertmanagers[0].url(),
            "--cluster-name",
            "test",
            "--rules",
            stage.backout.rules_dir().to_str().expect("text"),
            "--kubeconfig",
            kubeconfig.to_str().expect("text"),
            "--prometheus",
            stage.prometheus.url(),
            "--without-memory",
            "--format",
            "markdown",
        ])
        .await;
        let page = String::from_utf8_lossy(&by_fingerprint.stdout).into_owned();
        assert!(page.contains("### Otherwise") && page.contains("```diff") && page.contains(&fingerprint), "{page}");

        let text = explain(&stage, &policies, &["--without-memory"]).await;
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        for wanted in ["facts.errors", "brakes", "shop:1", "[read live", "[alertmanager ", "what it changes", "otherwise"] {
            assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
        }
        assert_eq!(stage.writes().await, 0);
    })
    .await;
}
