//! What people run a service with, on the real binary: traces to a collector, the log's level, the journal looked at, exported and
//! backed up while it is written.

mod support;

use std::fs;
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};
use support::{Backout, Setup, eventually};
use tokio::net::TcpListener;

const SOON: Duration = Duration::from_secs(60);

const RULES: &str = "policies:\n  - name: shop\n    matchers: ['namespace = \"shop\"']\n    decide: [{fix_forward: {}}]\n";

/// A service without a cluster, whose incidents expire soon, with a policy in shadow.
fn setup(config: &str) -> Setup {
    let config = format!("timing: {{expire_after: 3s}}\ntokens: {{read: [token], operate: [token]}}\n{config}");
    Setup { config, rules: vec![("shop.yaml".to_owned(), RULES.to_owned())], ..Setup::default() }
}

fn alert() -> Value {
    let labels = json!({ "alertname": "HighErrorRate", "namespace": "shop", "deployment": "web" });
    json!({ "version": "4", "status": "firing", "alerts": [{ "status": "firing", "labels": labels, "startsAt": support::now().to_string() }] })
}

fn out(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// A collector that decodes what it gets by the protocol's own types. It is busy the first time.
#[derive(Clone, Default)]
struct Collector {
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    refused: Arc<Mutex<u32>>,
}

impl Collector {
    async fn start() -> (Self, String) {
        let this = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/otlp", listener.local_addr().expect("an address"));
        let router = axum::Router::new().route("/otlp/v1/traces", post(Self::take)).with_state(this.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        (this, url)
    }

    async fn take(State(this): State<Self>, headers: axum::http::HeaderMap, body: String) -> (StatusCode, &'static str) {
        assert_eq!(headers["content-type"], "application/json");
        let mut refused = this.refused.lock().expect("refused");
        if *refused == 0 {
            *refused += 1;
            return (StatusCode::SERVICE_UNAVAILABLE, "");
        }
        let request = serde_json::from_str(&body).unwrap_or_else(|error| panic!("not OTLP: {error}\n{body}"));
        this.requests.lock().expect("requests").push(request);
        (StatusCode::OK, "{}")
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock().expect("requests");
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }
}

#[tokio::test]
async fn an_incident_is_one_trace_that_a_collector_understands() {
    let (collector, url) = Collector::start().await;
    let backout = Backout::start(setup(&format!("otlp: {url}\n"))).await;
    backout.post_webhook(&alert()).await;
    let spans = eventually("the whole trace is there", SOON, async || {
        let spans = collector.spans();
        let closed = spans.iter().any(|span| span.parent_span_id.is_empty());
        if closed { Ok(spans) } else { Err(format!("{spans:?}\n{}", backout.log())) }
    })
    .await;
    let root = spans.iter().find(|span| span.parent_span_id.is_empty()).expect("a root");
    assert_eq!((root.trace_id.len(), root.span_id.len()), (16, 8));
    assert!(spans.iter().all(|span| span.trace_id == root.trace_id), "one trace");
    let phases: Vec<&Span> = spans.iter().filter(|span| span.parent_span_id == root.span_id).collect();
    let names: Vec<&str> = phases.iter().map(|span| span.name.as_str()).collect();
    assert!(names.contains(&"settling") && names.contains(&"paged"), "{names:?}");
    for span in &phases {
        assert!(root.start_time_unix_nano <= span.start_time_unix_nano && span.end_time_unix_nano <= root.end_time_unix_nano);
    }
    let attribute = |key: &str| {
        let value = root.attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
        match value {
            any_value::Value::StringValue(text) => Some(text),
            _ => None,
        }
    };
    assert_eq!(attribute("backout.policy").as_deref(), Some("shop"));
    assert_eq!(attribute("backout.closed").as_deref(), Some("expired"));
    assert_eq!(backout.metric("backout_trace_spans_lost_total", &[]).await, 0.0, "the first refusal was tried again");
}

#[tokio::test]
async fn a_collector_that_is_gone_disturbs_nothing() {
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("an address");
    let mut backout = Backout::start(setup(&format!("otlp: http://{gone}\n"))).await;
    backout.post_webhook(&alert()).await;
    eventually("spans are lost, and counted", SOON, async || {
        let lost = backout.metric("backout_trace_spans_lost_total", &[]).await;
        if lost > 0.0 { Ok(()) } else { Err("none was lost yet") }
    })
    .await;
    let incidents = backout.get("/api/v1/incidents?state=all").await.expect("an answer");
    assert_eq!(incidents["total"], 1, "{incidents:#}");
    assert!(backout.stop().await.success());
}

#[tokio::test]
async fn an_operator_changes_what_is_logged_while_it_runs() {
    let backout = Backout::start(setup("")).await;
    let token = backout.data_dir().with_file_name("token");
    let token = token.to_str().expect("text").to_owned();
    let level = async |more: &[&str]| {
        let mut args = vec!["log-level"];
        args.extend(more);
        args.extend(["--url", backout.url(), "--token-file", &token, "--by", "ada"]);
        Backout::run(&args).await
    };
    assert_eq!(out(&level(&[]).await), "info\n");
    let wrong = level(&["dbug"]).await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("`dbug` is no level"));

    assert_eq!(out(&level(&["error"]).await), "error\n");
    backout.post_webhook(&alert()).await;
    eventually("the first incident is closed", SOON, async || {
        let all = backout.get("/api/v1/incidents?state=closed").await?;
        if all["total"] == 1 { Ok(()) } else { Err(all.to_string()) }
    })
    .await;
    assert!(!backout.log().contains("\"message\":\"entered\""), "{}", backout.log());

    assert_eq!(out(&level(&["backout::engine=info,warn"]).await), "backout::engine=info,warn\n");
    backout.post_webhook(&alert()).await;
    eventually("a line of the new level", SOON, async || {
        let log = backout.log();
        if log.contains("\"message\":\"entered\"") { Ok(()) } else { Err(log) }
    })
    .await;
    let changed = backout.log().lines().find(|line| line.contains("operator changes the log level")).expect("said").to_owned();
    assert!(changed.contains("\"by\":\"ada\"") && changed.contains("\"before\":\"info\""), "{changed}");
    let denied = Backout::run(&["log-level", "debug", "--url", backout.url()]).await;
    assert_eq!(denied.status.code(), Some(4));
    let journal = backout.data_dir();
    let exported = out(&Backout::run(&["journal", "export", "--data", journal.to_str().expect("text")]).await);
    let ordered: Vec<&str> = exported.lines().filter(|line| line.contains("\"log_level\"")).collect();
    assert_eq!(ordered.len(), 2, "{exported}");
    assert!(ordered[1].contains("backout::engine=info,warn") && ordered[1].contains("\"by\":\"ada\""), "{ordered:#?}");
}

#[tokio::test]
async fn the_journal_is_looked_at_exported_and_backed_up_while_it_is_written() {
    let mut backout = Backout::start(setup("")).await;
    backout.post_webhook(&alert()).await;
    eventually("an incident is closed", SOON, async || {
        let all = backout.get("/api/v1/incidents?state=closed").await?;
        if all["total"] == 1 { Ok(()) } else { Err(all.to_string()) }
    })
    .await;
    let data = backout.data_dir();
    let data = data.to_str().expect("text");
    let verified: Value =
        serde_json::from_str(&out(&Backout::run(&["journal", "verify", "--data", data, "--output", "json"]).await))
            .expect("json");
    assert_eq!(
        (&verified["sound"], &verified["incidents"], &verified["receipts"]),
        (&json!(true), &json!(1), &json!(1)),
        "{verified:#}"
    );

    let lines = out(&Backout::run(&["journal", "export", "--data", data]).await);
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
    let receipt = rows.iter().find(|row| row["kind"] == "receipt").expect("the receipt");
    assert_eq!(receipt["body"]["alerts"][0]["labels"]["alertname"], "HighErrorRate");
    let records = || rows.iter().filter_map(|row| row["records"].as_array()).flatten();
    assert!(records().any(|stamped| stamped["record"]["event"]["event"] == "opened" || stamped.to_string().contains("opened")));

    // A copy that is restored goes on where it was taken.
    let folder = tempfile::tempdir().expect("a folder");
    let restored = folder.path().join("restored");
    fs::create_dir(&restored).expect("a folder");
    let copy = restored.join("journal.db");
    let told = out(&Backout::run(&["journal", "backup", copy.to_str().expect("text"), "--data", data]).await);
    assert!(told.contains("backed up") && told.contains("read back and sound"), "{told}");
    let again = Backout::run(&["journal", "backup", copy.to_str().expect("text"), "--data", data]).await;
    assert_eq!(again.status.code(), Some(2), "nothing is overwritten");
    assert!(backout.stop().await.success(), "it was not disturbed");
    let second = Backout::start(Setup { data: Some(restored), ..setup("") }).await;
    let incidents = second.get("/api/v1/incidents?state=all").await.expect("an answer");
    assert_eq!(incidents["total"], 1);
    drop(second);

    // What is broken is said, with its place.
    let bytes = fs::read(backout.data_dir().join("journal.db")).expect("the journal");
    let (good, bad) = (&b"\"event\":\"opened\""[..], b"\"event\":\"0pened\"");
    let places: Vec<usize> = (0..bytes.len() - good.len()).filter(|at| bytes[*at..].starts_with(good)).collect();
    assert!(!places.is_empty(), "no record of an incident");
    let broken = folder.path().join("broken");
    fs::create_dir(&broken).expect("a folder");
    let mut spoilt = bytes.clone();
    for place in places {
        spoilt[place..place + bad.len()].copy_from_slice(bad);
    }
    fs::write(broken.join("journal.db"), spoilt).expect("written");
    let verified = Backout::run(&["journal", "verify", "--data", broken.to_str().expect("text")]).await;
    let text = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert_eq!(verified.status.code(), Some(1), "{text}");
    assert!(text.contains("broken     row ") && text.contains("not sound"), "{text}");
}
