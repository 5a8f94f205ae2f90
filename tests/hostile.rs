//! Labels are written by whoever can make an alert. What is in them reaches no metric label, no log line of its own, no path, no name in
//! Kubernetes and no page as anything but text; and what a policy does not name is not touched, whatever an alert says.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Backout, ControlPlane, Setup, Sink, Stage, eventually, holds, now, rules, with_namespace};

const SOON: Duration = Duration::from_secs(60);

/// Stands in every hostile text: wherever it is found, the text got there.
const MARK: &str = "h0st1le";

/// Texts that mean something to a shell, a template, a path, a log, a page, a query, a metric or a name.
fn texts() -> Vec<(&'static str, String)> {
    let long = format!("{MARK}{}", "A".repeat(1 << 20));
    [
        ("newline", format!("{MARK}\nlevel=ERROR msg=\"rolled back everything\"\r\n{{\"level\":\"ERROR\"}}")),
        ("shell", format!("$(touch {MARK}) `touch {MARK}`; touch {MARK} | tee {MARK} && rm -rf .")),
        ("template", format!("{{{{ {MARK} }}}}{{% for x in range(99999999) %}}{MARK}{{% endfor %}}${{{MARK}}}")),
        ("path", format!("../../../../../../tmp/{MARK}/%2e%2e/%00/..\\..\\{MARK}")),
        ("page", format!("<script>alert('{MARK}')</script><img src=x onerror={MARK}>\"' ]]>")),
        ("query", format!("\"}}) or vector(1) or absent({MARK}{{x=\"")),
        ("markdown", format!("``` \n# {MARK}\n[x](javascript:{MARK})")),
        ("terminal", format!("\u{1b}[2J\u{1b}]0;{MARK}\u{7}\u{202e}{MARK}")),
        ("lookalike", format!("sh\u{43e}p-{MARK}")),
        ("not-unicode-alone", format!("\u{fffd}\u{0}{MARK}")),
        ("long", long),
    ]
    .into()
}

fn alert(name: &str, labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> Value {
    let mut all = json!({ "alertname": name, "severity": "critical" });
    labels.iter().for_each(|(key, value)| all[*key] = json!(value));
    let annotations: Value = annotations.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    json!({ "version": "4", "receiver": "hook", "status": "firing", "alerts": [{
        "status": "firing", "labels": all, "annotations": annotations, "startsAt": now().to_string(), "endsAt": "0001-01-01T00:00:00Z",
    }]})
}

/// Pages about everything, with what the alert says in its text; and looks things up by what it says.
const PAGE: &str = "
policies:
  - name: everything
    mode: enforce
    paging: in_front
    targets: ['*/*']
    facts: {errors: {promql: 'errors{namespace=\"$namespace\", workload=\"$name\"}'}}
    decide: [{name: look, page: {}}]
    announce: [{to: people, at: [decided, paged, closed], message: loud}]
messages:
  - {name: loud, title: '{{ labels.alertname }} {{ labels.evil }}', text: '{{ annotations.summary }} {{ labels.evil }}'}
";

fn names_below(folder: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        names.insert(entry.file_name().to_string_lossy().into_owned());
        if entry.path().is_dir() {
            names.extend(names_below(&entry.path()));
        }
    }
    names
}

/// A service without a cluster, which logs JSON lines, and somebody who is told.
async fn service(people: &Sink) -> Backout {
    let channels = format!(
        "tokens: {{read: [token], operate: [token]}}\nchannels: [{{name: people, per_second: 1000, burst: 1000, webhook: {{url: '{}'}}}}]\n",
        people.url()
    );
    let rules = vec![("policy.yaml".to_owned(), PAGE.to_owned())];
    let args = vec!["--log-format".to_owned(), "json".to_owned()];
    let env = vec![("RUST_LOG".to_owned(), "debug".to_owned())];
    Backout::start(Setup { config: channels, rules, cluster_name: "test".to_owned(), args, env, ..Setup::default() }).await
}

#[tokio::test]
async fn what_labels_say_stays_text_everywhere() {
    let people = Sink::start().await;
    let backout = service(&people).await;
    let texts = texts();
    for (number, (name, text)) in texts.iter().enumerate() {
        // Once in the names that a target is looked for by, once in what is only shown.
        let target = alert(&format!("Target{number}"), &[("namespace", text), ("deployment", text), ("evil", text)], &[]);
        let shown =
            alert(&format!("Shown{number}"), &[("evil", text), (MARK, text)], &[("summary", text), ("runbook_url", text)]);
        for body in [target, shown, alert(&format!("{name} {text}"), &[], &[])] {
            assert_eq!(backout.post_webhook(&body).await, 200, "{name}: a hostile alert is an alert");
        }
    }
    let wanted = texts.len() * 2;
    eventually("somebody hears of all of them", SOON, async || {
        let incidents = backout.get("/api/v1/incidents?state=all&limit=1000").await?;
        let pages = people.received().iter().filter(|body| body["moment"] == "paged").count();
        let open = incidents["total"].as_u64().unwrap_or(0);
        if open as usize >= wanted && pages > 0 { Ok(()) } else { Err(format!("{open} incidents, {pages} pages")) }
    })
    .await;

    let metrics = backout.metrics().await;
    assert!(!metrics.contains(MARK), "no metric has a label from an alert");
    for line in backout.log().lines() {
        let value: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: a line that we did not write: {line:?}"));
        assert!(value["level"].is_string() && value["timestamp"].is_string(), "{line:?}");
        assert!(line.len() < 64 << 10, "a line has an end: {} bytes", line.len());
        assert!(!line.contains("rolled back everything") || line.contains("\\n"), "{line:?}");
    }
    let folder = backout.data_dir();
    let names = names_below(folder.parent().expect("a folder"));
    assert!(names.iter().all(|name| !name.contains(MARK)), "{names:?}");

    let incidents = backout.get("/api/v1/incidents?state=all&limit=1000").await.expect("incidents");
    for incident in incidents["incidents"].as_array().expect("a list") {
        let id = incident["id"].as_str().expect("an id");
        assert!(id.len() == 13 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
        reports(&backout, id).await;
    }
}

/// Both reports of an incident: text from outside stays text.
async fn reports(backout: &Backout, id: &str) {
    let client = reqwest::Client::new();
    for (wanted, forbidden) in [("html", &["<script>alert", "<img src=x", "onerror=h0st1le>"][..]), ("markdown", &[][..])] {
        let request = client.get(format!("{}/api/v1/incidents/{id}/report?format={wanted}", backout.url()));
        let token = fs::read_to_string(backout.data_dir().with_file_name("token")).expect("a token");
        let report = request.bearer_auth(token).send().await.expect("an answer").text().await.expect("a report");
        assert!(report.contains(if wanted == "html" { "<html" } else { "# " }), "{wanted}: {report}");
        for text in forbidden {
            assert!(!report.contains(text), "{wanted} of {id}: {text}");
        }
        assert!(!report.contains("\u{1b}[2J"), "{wanted}: nothing moves the cursor of who reads it");
    }
}

#[tokio::test]
async fn names_from_labels_lead_nowhere_that_the_policy_does_not_name() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &rules("enforce", "1s").replace(", 'namespace = \"NAMESPACE\"'", "")).await;
        // Another shop, in a namespace that the policy does not name, on a release that is as bad.
        with_namespace(async |other| {
            other.allow_writing().await;
            other.deploy("web", "shop:0", 1).await;
            other.wait_rolled_out("web").await;
            other.set_image("web", "shop:1").await;
            other.wait_rolled_out("web").await;
            tokio::time::sleep(Duration::from_secs(4)).await;
            other.set_image("web", "shop:2-faulty").await;
            other.wait_rolled_out("web").await;
            let ours = stage.ns.name.clone();
            let names = [
                other.name.clone(),
                format!("{ours}/../{}", other.name),
                format!("{ours}\n"),
                format!("{ours}%2F..%2F{}", other.name),
                ours.to_uppercase(),
                format!("{ours}?force=true"),
                "kube-system".to_owned(),
                String::new(),
            ];
            // Through a real Alertmanager, which holds them and says so when it is asked.
            let fire = async |namespace: &str, deployment: &str| {
                let labels =
                    [("alertname", "ShopErrors"), ("severity", "critical"), ("namespace", namespace), ("deployment", deployment)];
                stage.alertmanagers[0].post_alert(&labels, &[]).await;
            };
            for name in &names {
                fire(name, "web").await;
            }
            for deployment in ["../web", "web\n", "WEB", "web/scale", "*", "web?dryRun=All"] {
                fire(&ours, deployment).await;
            }
            let of_other = stage.incident("the other shop is paged about", |incident| {
                incident["target"].as_str().is_some_and(|target| target.contains(&other.name)) && incident["state"] == "paged"
            });
            let held = of_other.await;
            assert_eq!(held["outcome"], "page", "{held:#}");
            holds("nothing is written anywhere", Duration::from_secs(4), async || {
                let elsewhere = other.writes_by(support::BACKOUT_USER).await.unwrap_or_default();
                let system = ControlPlane::shared().writes("kube-system").await.unwrap_or_default();
                let ours = |write: &&support::Write| write.user == support::BACKOUT_USER && !write.dry_run;
                let (system, own) = (system.iter().filter(ours).count(), stage.writes().await);
                if elsewhere.is_empty() && system == 0 && own == 0 {
                    Ok(())
                } else {
                    Err(format!("{elsewhere:?} {system} {own}"))
                }
            })
            .await;
            assert_eq!(other.image("web").await, "shop:2-faulty");
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn an_alert_that_alertmanager_does_not_hold_moves_nothing() {
    with_namespace(async |ns| {
        let stage = Stage::set(ns, &rules("enforce", "1s")).await;
        // A fresh release, good and seen so; whoever has the token of the webhook says that it is bad.
        stage.ns.set_image("web", "shop:2").await;
        stage.ns.wait_rolled_out("web").await;
        let ours = stage.ns.name.clone();
        let labels = [("namespace", ours.as_str()), ("deployment", "web")];
        for _ in 0..3 {
            assert_eq!(stage.backout.post_webhook(&alert("ShopErrors", &labels, &[])).await, 200);
        }
        let closed = stage.state("closed").await;
        assert_eq!(closed["reason"], "recovered", "nobody but the sender knows of it: {closed:#}");
        holds("nothing is written", Duration::from_secs(3), async || match stage.writes().await {
            0 => Ok(()),
            count => Err(format!("{count} writes")),
        })
        .await;
        assert_eq!(stage.ns.image("web").await, "shop:2");
    })
    .await;
}
