//! The API of the real binary: what it remembers, what it tells watchers, and that it is what its OpenAPI document says.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Backout, Setup, eventually, http};

const TOKEN: &str = "token-of-the-tests-0123456789abcdef";
const SOON: Duration = Duration::from_secs(60);

const RULES: &str = "
policies:
  - name: everything
    matchers: ['severity = \"critical\"']
    decide:
      - {name: any, page: {}}
";

/// Without a cluster: targets are not found, which is as good an incident as any here, one for each alertname.
async fn service() -> Backout {
    let config = "tokens: {read: [token], operate: [token], changes: [token]}\nchannels: []\n".to_owned();
    Backout::start(Setup { config, rules: vec![("all.yaml".to_owned(), RULES.to_owned())], ..Setup::default() }).await
}

async fn fire(service: &Backout, names: &[&str]) {
    let alert = |name: &&str| {
        json!({
            "status": "firing",
            "labels": { "alertname": name, "namespace": "shop", "deployment": name, "severity": "critical" },
            "annotations": {}, "startsAt": "2026-03-01T11:58:30Z", "endsAt": "0001-01-01T00:00:00Z",
        })
    };
    let alerts: Vec<Value> = names.iter().map(alert).collect();
    let body = json!({ "version": "4", "receiver": "backout", "status": "firing", "alerts": alerts });
    assert_eq!(service.post_webhook(&body).await, 200);
}

async fn incidents(service: &Backout, query: &str) -> (Vec<String>, Value) {
    let answer = service.get(&format!("/api/v1/incidents?{query}")).await.expect("a list");
    let ids = answer["incidents"].as_array().expect("a list").iter().map(|row| row["id"].as_str().expect("an id").to_owned());
    (ids.collect(), answer)
}

/// Waits for so many incidents; one of them.
async fn opened(service: &Backout, wanted: usize) -> String {
    eventually("the incidents are open", SOON, async || {
        let (ids, _) = incidents(service, "state=all").await;
        if ids.len() == wanted { Ok(ids[0].clone()) } else { Err(format!("{} incidents", ids.len())) }
    })
    .await
}

#[tokio::test]
async fn pages_show_each_incident_once_while_new_ones_are_opened() {
    let service = service().await;
    fire(&service, &["a", "b", "c", "d", "e"]).await;
    opened(&service, 5).await;
    let (before, _) = incidents(&service, "state=all").await;
    let (mut seen, mut answer) = incidents(&service, "state=all&limit=2").await;
    assert_eq!((seen.len(), &answer["total"]), (2, &json!(5)));
    fire(&service, &["f", "g", "h"]).await;
    opened(&service, 8).await;
    while let Some(next) = answer["next"].as_str().map(str::to_owned) {
        let (ids, page) = incidents(&service, &format!("state=all&limit=2&cursor={next}")).await;
        seen.extend(ids);
        answer = page;
    }
    assert_eq!(seen, before, "in the same order, without those that came later");
    for (query, wanted) in [
        ("state=all&policy=everything", 8),
        ("state=all&policy=nothing", 0),
        ("state=closed", 0),
        ("state=all&since=1h", 8),
        ("state=all&since=2099-01-01T00:00:00Z", 0),
        ("state=all&namespace=shop", 0),
    ] {
        assert_eq!(incidents(&service, query).await.0.len(), wanted, "{query}");
    }
    let page = http().get(format!("{}/api/v1/incidents/{}/report?format=html", service.url(), seen[4])).bearer_auth(TOKEN);
    let page = page.send().await.expect("an answer").text().await.expect("text");
    assert!(
        page.starts_with("<!doctype html>")
            && page.contains("<h2>Alerts</h2>")
            && page.contains(&format!("Incident <code>{}</code>", seen[4])),
        "{page}"
    );
}

#[tokio::test]
async fn a_change_is_durable_once_it_is_answered_and_told_once() {
    let mut service = service().await;
    let tell = async |service: &Backout, change: &Value| {
        let request =
            http().post(format!("{}/v1/changes", service.url())).bearer_auth(TOKEN).header("Idempotency-Key", "build-7");
        let answer = request.json(change).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("json"))
    };
    let change = json!({ "target": "shop/web", "kind": "template", "to": "web:2", "by": "ci", "barrier": true });
    let (status, told) = tell(&service, &change).await;
    assert_eq!((status, &told["known"]), (201, &json!(false)), "{told}");
    // Which kills it first.
    service.restart().await;
    let (status, again) = tell(&service, &change).await;
    assert_eq!((status, &again["known"], &again["change"]), (200, &json!(true), &told["change"]));
    let (status, problem) = tell(&service, &json!({ "target": "shop/web", "kind": "flag", "by": "ci" })).await;
    assert_eq!((status, &problem["code"]), (422, &json!("unprocessable")), "{problem}");
    let kept = service.get("/api/v1/changes?target=shop/web").await.expect("a list");
    assert_eq!((&kept["total"], &kept["changes"][0]), (&json!(1), &told["change"]));
    assert_eq!(service.get("/api/v1/changes?target=shop/other").await.expect("a list")["total"], 0);
    let late = json!({ "target": "shop/web", "kind": "flag", "by": "ci", "at": "2099-01-01T00:00:00Z" });
    let answer =
        http().post(format!("{}/v1/changes", service.url())).bearer_auth(TOKEN).json(&late).send().await.expect("an answer");
    assert_eq!(answer.status(), 422, "nothing was changed yet");
}

#[tokio::test]
async fn who_gave_an_order_is_known_and_said() {
    let service = service().await;
    fire(&service, &["a"]).await;
    let id = opened(&service, 1).await;
    let said = json!({ "by": "ada", "reason": "known, a fix is out" });
    assert_eq!(service.operate(&format!("/api/v1/incidents/{id}/veto"), &said).await, 200);
    let incident = service.get(&format!("/api/v1/incidents/{id}")).await.expect("an incident");
    let notes = incident["incident"]["notes"].to_string();
    assert!(notes.contains("veto by ada, known by the token `token`"), "{notes}");
    assert!(notes.contains("ada vetoed: known, a fix is out"), "{notes}");
    let pause = json!({ "scope": "global", "reason": "game day", "by": "ada", "for": "1h" });
    assert_eq!(service.operate("/api/v1/pauses", &pause).await, 200);
    let pauses = service.get("/api/v1/pauses").await.expect("a list");
    assert_eq!(pauses["pauses"][0]["identity"], "token `token`");
    let mark = json!({ "mark": "wrong", "by": "ada", "reason": "nothing was rolled back" });
    let (status, text) = service.operate_text(&format!("/api/v1/incidents/{id}/mark"), &mark).await;
    assert!(status == 409 && text.contains("has no rollback"), "{status}: {text}");
}

/// Reads events until one of that kind comes; its id and data.
async fn next(answer: &mut reqwest::Response, rest: &mut String, kind: &str) -> (String, Value) {
    let read = async {
        loop {
            while let Some((event, after)) = rest.split_once("\n\n").map(|(event, after)| (event.to_owned(), after.to_owned())) {
                *rest = after;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").trim().to_owned();
                if field("event:") == kind {
                    return (field("id:"), serde_json::from_str(&field("data:")).expect("json"));
                }
            }
            let chunk = answer.chunk().await.expect("read").expect("the stream goes on");
            rest.push_str(&String::from_utf8_lossy(&chunk));
        }
    };
    tokio::time::timeout(SOON, read).await.unwrap_or_else(|_| panic!("no `{kind}`"))
}

#[tokio::test]
async fn watchers_hear_what_happens_and_what_they_missed() {
    let mut service = service().await;
    let watch = async |service: &Backout, last: Option<&str>| {
        // The usual client gives up after ten seconds.
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let request = client.get(format!("{}/api/v1/events", service.url())).bearer_auth(TOKEN);
        let request = last.into_iter().fold(request, |request, id| request.header("Last-Event-ID", id));
        request.send().await.expect("an answer")
    };
    let pause = async |service: &Backout, reason: &str| {
        let pause = json!({ "scope": "global", "reason": reason, "by": "ada", "for": "1h" });
        assert_eq!(service.operate("/api/v1/pauses", &pause).await, 200);
    };
    let (mut first, mut rest) = (watch(&service, None).await, String::new());
    pause(&service, "one").await;
    let (id, pauses) = next(&mut first, &mut rest, "pauses").await;
    assert_eq!(pauses["pauses"][0]["reason"], "one");
    fire(&service, &["a"]).await;
    let (_, incident) = next(&mut first, &mut rest, "incident").await;
    assert_eq!(incident["policy"], "everything");
    drop(first);

    pause(&service, "two").await;
    let (mut back, mut rest) = (watch(&service, Some(&id)).await, String::new());
    let (_, missed) = next(&mut back, &mut rest, "incident").await;
    assert_eq!(missed["id"], incident["id"]);
    let (_, pauses) = next(&mut back, &mut rest, "pauses").await;
    assert_eq!(pauses["pauses"].as_array().map(Vec::len), Some(2));

    service.restart().await;
    let (mut later, mut rest) = (watch(&service, Some(&id)).await, String::new());
    next(&mut later, &mut rest, "resync").await;
}

fn schemathesis(document: &str, service: &Backout, incident: &str, more: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/schemathesis.sh");
    let mut command = Command::new(script);
    command.args([document, service.url(), TOKEN, incident]).args(more).output().expect("the script")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_is_what_its_document_says() {
    let service = service().await;
    fire(&service, &["a", "b"]).await;
    let incident = opened(&service, 2).await;
    let document = format!("{}/api/v1/openapi.json", service.url());
    let output = schemathesis(&document, &service, &incident, &[]);
    assert!(output.status.success(), "{}", said(&output));
    let still: BTreeSet<u16> = [service.operate("/-/reload", &Value::Null).await.as_u16()].into();
    assert_eq!(still, BTreeSet::from([200]), "and it still works");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_wrong_is_found_out() {
    let service = service().await;
    fire(&service, &["a"]).await;
    let incident = opened(&service, 1).await;
    let mut document: Value = http()
        .get(format!("{}/api/v1/openapi.json", service.url()))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("a document");
    assert_eq!(document["openapi"], "3.1.0");
    document["components"]["schemas"]["IncidentList"]["properties"]["total"] = json!({ "type": "string" });
    let folder = tempfile::tempdir().expect("a folder");
    let file: PathBuf = folder.path().join("openapi.json");
    std::fs::write(&file, document.to_string()).expect("written");
    let only = ["--include-path", "/api/v1/incidents", "--max-examples", "3"];
    let output = schemathesis(file.to_str().expect("text"), &service, &incident, &only);
    assert!(!output.status.success() && said(&output).contains("Response violates schema"), "{}", said(&output));
}
