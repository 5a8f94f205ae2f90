//! `/api/v1/`, probes and reload over real connections: who may ask, what is refused before the engine sees it, what reaches it.

#[path = "support/http.rs"]
mod support;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use backout::http::auth::TokenFiles;
use backout::model::Outcome;
use backout::ports::{ChangeQuery, ControlError, IncidentCursor, IncidentFilter, IncidentQuery, Notice, NoticeId, Question};
use serde_json::{Value, json};
use support::{Reply, Service, Setup};
use tokio::io::AsyncReadExt as _;

const ID: &str = "i0123456789ab";

/// A service with a token for each scope.
async fn guarded() -> (Service, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |scope: &str| {
        let path = folder.path().join(scope);
        fs::write(&path, format!("{scope}-token-0123456789\n")).expect("written");
        vec![path]
    };
    let tokens = TokenFiles { ingest: file("ingest"), read: file("read"), operate: file("operate"), changes: file("changes") };
    (Service::start(Setup { tokens, ..Setup::default() }).await, folder)
}

async fn ask(service: &Service, scope: &str, method: &str, path: &str, body: &Value) -> Reply {
    let headers = format!("Authorization: Bearer {scope}-token-0123456789\r\nContent-Type: application/json\r\n");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    service.ask(method, path, &headers, body.as_bytes()).await
}

fn detail(reply: &Reply) -> String {
    assert!(reply.head.contains("content-type: application/problem+json"), "{reply:?}");
    let problem: Value = serde_json::from_str(&reply.body).expect("a problem");
    assert_eq!(problem["status"], reply.status);
    let code = problem["code"].as_str().expect("a code");
    assert_eq!(problem["type"], format!("urn:backout:problem:{code}"));
    problem["detail"].as_str().expect("a detail").to_owned()
}

#[tokio::test]
async fn each_path_asks_for_its_scope() {
    let (service, _folder) = guarded().await;
    let veto = format!("/api/v1/incidents/{ID}/veto");
    let said = json!({ "by": "ada", "reason": "deploying a fix" });
    let told = json!({ "target": "shop/web", "kind": "flag", "by": "ci" });
    for (method, path, body, scopes) in [
        ("GET", "/api/v1/incidents", &Value::Null, ["read", "operate"].as_slice()),
        ("GET", "/api/v1/status", &Value::Null, &["read", "operate"]),
        ("GET", "/api/v1/book?target=shop/web", &Value::Null, &["read", "operate"]),
        ("GET", "/api/v1/bad?what=shop:1", &Value::Null, &["read", "operate"]),
        ("GET", "/api/v1/revisions?target=shop/web", &Value::Null, &["read", "operate"]),
        ("GET", "/api/v1/changes", &Value::Null, &["read", "operate"]),
        ("POST", "/v1/changes", &told, &["changes"]),
        ("POST", veto.as_str(), &said, &["operate"]),
        ("POST", "/-/reload", &Value::Null, &["operate"]),
    ] {
        for scope in ["ingest", "read", "operate", "changes"] {
            let fine = if path == "/v1/changes" { 201 } else { 200 };
            let wanted = if scopes.contains(&scope) { fine } else { 403 };
            assert_eq!(ask(&service, scope, method, path, body).await.status, wanted, "{scope} {path}");
        }
        let unknown = ask(&service, "nobodys", method, path, body).await;
        assert_eq!(unknown.status, 401, "{path}");
        assert!(unknown.head.contains("www-authenticate: bearer"));
        assert!(unknown.head.contains("www-authenticate: basic"));
        assert!(detail(&unknown).starts_with("expected a valid credential: send `Authorization: Bearer TOKEN`, or"));
    }
    for path in ["/metrics", "/-/healthy"] {
        assert_eq!(service.ask("GET", path, "", b"").await.status, 200, "{path} is for machines without tokens");
    }
}

#[tokio::test]
async fn on_loopback_without_tokens_one_may_look_but_not_operate() {
    let service = Service::start(Setup::default()).await;
    assert_eq!(service.ask("GET", "/api/v1/incidents", "", b"").await.status, 200);
    let mut elsewhere = service.connect().await;
    elsewhere.write(b"GET /api/v1/incidents HTTP/1.1\r\nHost: evil.example\r\n\r\n").await;
    assert_eq!(elsewhere.reply().await.status, 403, "a name that was pointed at us");
    assert_eq!(service.ask("POST", "/-/reload", "", b"").await.status, 401);
}

#[tokio::test]
async fn questions_reach_the_engine_as_they_were_asked() {
    let (service, _folder) = guarded().await;
    let incidents = |query| format!("{:?}", Question::Incidents(query));
    for (path, asked) in [
        ("incidents".to_owned(), incidents(IncidentQuery { limit: 100, ..IncidentQuery::default() })),
        (
            "incidents?state=all&limit=7".to_owned(),
            incidents(IncidentQuery { state: IncidentFilter::All, limit: 7, ..IncidentQuery::default() }),
        ),
        (
            format!(
                "incidents?state=paged&policy=a%20b&namespace=shop&target=shop/web&outcome=page&since=2h&cursor=19ca9e8bc00.{ID}"
            ),
            incidents(IncidentQuery {
                state: IncidentFilter::Open,
                phase: Some("paged".to_owned()),
                policy: Some("a b".to_owned()),
                namespace: Some("shop".to_owned()),
                target: Some("shop/web".to_owned()),
                outcome: Some(Outcome::Page),
                since: Some(support::now() - Duration::from_secs(7200)),
                after: IncidentCursor::parse(&format!("19ca9e8bc00.{ID}")),
                limit: 100,
            }),
        ),
        (
            "changes?target=shop/web&since=2026-03-01T11:00:00Z&limit=5".to_owned(),
            format!(
                "{:?}",
                Question::Changes(ChangeQuery {
                    target: Some("shop/web".to_owned()),
                    since: Some(support::now() - Duration::from_secs(3600)),
                    limit: 5,
                })
            ),
        ),
        (format!("incidents/{ID}"), format!("Incident(IncidentId(\"{ID}\"))")),
        (format!("incidents/{ID}/report"), format!("Report {{ incident: IncidentId(\"{ID}\"), format: Json }}")),
        ("pauses".to_owned(), "Pauses".to_owned()),
        ("latches".to_owned(), "Latches".to_owned()),
        ("policies".to_owned(), "Policies".to_owned()),
        ("status".to_owned(), "Status".to_owned()),
    ] {
        let reply = ask(&service, "read", "GET", &format!("/api/v1/{path}"), &Value::Null).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(serde_json::from_str::<Value>(&reply.body).expect("json"), json!({ "asked": asked }));
    }
    let report = ask(&service, "read", "GET", &format!("/api/v1/incidents/{ID}/report?format=markdown"), &Value::Null).await;
    assert_eq!((report.status, report.body.as_str()), (200, "# Report\n"));
    assert!(report.head.contains("content-type: text/markdown"));
    let page = ask(&service, "read", "GET", &format!("/api/v1/incidents/{ID}/report?format=html"), &Value::Null).await;
    assert!(page.head.contains("content-type: text/html") && page.head.contains("content-security-policy: default-src 'none'"));
    assert_eq!(page.body, "# Report\n", "the page is the engine's, as it is");
}

#[tokio::test]
async fn operations_reach_the_engine_checked() {
    let (service, _folder) = guarded().await;
    let two_hours_on = 1_772_366_400_000_u64 + 7_200_000;
    for (method, path, body, operation) in [
        (
            "POST",
            format!("incidents/{ID}/veto"),
            json!({ "by": " ada ", "reason": "fixing" }),
            json!({ "operation": "veto", "incident": ID, "by": "ada", "reason": "fixing" }),
        ),
        (
            "POST",
            format!("incidents/{ID}/approve"),
            json!({ "by": "ada", "plan_hash": "00112233AABBCCDD", "overrides": ["cooldown"] }),
            json!({ "operation": "approve", "incident": ID, "by": "ada", "plan": "00112233aabbccdd", "overrides": ["cooldown"] }),
        ),
        (
            "POST",
            format!("incidents/{ID}/mark"),
            json!({ "mark": "wrong", "by": "ada", "reason": "it was the database" }),
            json!({ "operation": "mark", "incident": ID, "mark": "wrong", "by": "ada", "reason": "it was the database" }),
        ),
        (
            "POST",
            format!("incidents/{ID}/acknowledge"),
            json!({ "by": "ada" }),
            json!({ "operation": "acknowledge", "incident": ID, "by": "ada" }),
        ),
        (
            "POST",
            "pauses".to_owned(),
            json!({ "scope": "global", "reason": "game day", "by": "ada", "for": "2h" }),
            json!({ "operation": "pause", "scope": { "scope": "global" }, "reason": "game day", "by": "ada", "until": two_hours_on }),
        ),
        (
            "POST",
            "pauses".to_owned(),
            json!({ "scope": "target", "name": "shop/checkout", "reason": "r", "by": "ada", "until": "2026-03-01T15:00:00+01:00" }),
            json!({ "operation": "pause", "scope": { "scope": "target", "name": "shop/checkout" }, "reason": "r", "by": "ada", "until": two_hours_on }),
        ),
        (
            "POST",
            "latches/3/clear".to_owned(),
            json!({ "by": "ada", "reason": "nothing is missing" }),
            json!({ "operation": "clear", "latch": 3, "by": "ada", "reason": "nothing is missing" }),
        ),
        ("DELETE", "pauses/3?by=ada%20l".to_owned(), Value::Null, json!({ "operation": "resume", "pause": 3, "by": "ada l" })),
    ] {
        let reply = ask(&service, "operate", method, &format!("/api/v1/{path}"), &body).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        let mut order: Value = serde_json::from_str(&reply.body).expect("json");
        assert_eq!(order["identity"].take(), json!({ "name": "operate", "by": "token" }), "as whom he is known");
        order.as_object_mut().expect("an object").remove("identity");
        assert_eq!(order, operation);
    }
}

#[tokio::test]
async fn changes_are_told_once_by_their_key() {
    let (service, _folder) = guarded().await;
    let tell = async |headers: &str, body: &Value| {
        let headers = format!("Authorization: Bearer changes-token-0123456789\r\nContent-Type: application/json\r\n{headers}");
        let reply = service.ask("POST", "/v1/changes", &headers, body.to_string().as_bytes()).await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        serde_json::from_str::<Value>(&reply.body).expect("json")["change"].clone()
    };
    let body = json!({ "target": "shop/web", "kind": "template", "from": "web:1", "to": "web:2", "by": "ci", "barrier": true,
        "at": "2026-03-01T12:30:00+01:00", "url": "https://ci.example/7" });
    let told = tell("", &body).await;
    assert_eq!(told["at"], support::now().millis() - 1_800_000);
    assert_eq!((&told["barrier"], &told["kind"], &told["to"]), (&json!(true), &json!("template"), &json!("web:2")));
    assert_eq!(tell("", &body).await["id"], told["id"], "with a time the content names it");
    let keyed = tell("Idempotency-Key: build-7\r\n", &body).await;
    assert_ne!(keyed["id"], told["id"]);
    let other = json!({ "target": "shop/web", "kind": "flag", "by": "ci" });
    let misused = tell("Idempotency-Key: build-7\r\n", &other).await;
    assert_eq!(misused["id"], keyed["id"]);
    assert_ne!(misused["content"], keyed["content"], "the engine sees that the key stands for something else");
    assert_eq!((&misused["at"], &misused["to"]), (&json!(support::now().millis()), &Value::Null));
    for (body, headers, text) in [
        (json!({ "target": "web", "kind": "flag", "by": "ci" }), "", "`web` is not a target; expected `namespace/name`"),
        (json!({ "target": "shop/web", "kind": "magic", "by": "ci" }), "", "unknown variant `magic`"),
        (json!({ "target": "shop/web", "kind": "flag" }), "", "missing field `by`"),
        (json!({ "target": "shop/web", "kind": "flag", "by": "ci", "at": "now" }), "", "`at` is `now`; expected a time"),
        (
            json!({ "target": "shop/web", "kind": "flag", "by": "ci", "url": "javascript:x" }),
            "",
            "expected `http://` or `https://`",
        ),
        (other.clone(), "Idempotency-Key: a b\r\n", "`Idempotency-Key` is no key"),
    ] {
        let headers = format!("Authorization: Bearer changes-token-0123456789\r\nContent-Type: application/json\r\n{headers}");
        let reply = service.ask("POST", "/v1/changes", &headers, body.to_string().as_bytes()).await;
        assert_eq!(reply.status, 400, "{}", reply.body);
        assert!(detail(&reply).contains(text), "{}", detail(&reply));
    }
}

#[tokio::test]
async fn a_guesser_is_told_to_wait() {
    let (service, _folder) = guarded().await;
    for _ in 0..10 {
        assert_eq!(ask(&service, "nobodys", "GET", "/api/v1/status", &Value::Null).await.status, 401);
    }
    for scope in ["nobodys", "read"] {
        let limited = ask(&service, scope, "GET", "/api/v1/status", &Value::Null).await;
        assert_eq!(limited.status, 429, "{scope}");
        assert!(limited.head.contains("retry-after: 6"), "{}", limited.head);
        assert!(detail(&limited).contains("too many wrong credentials came from your address"));
    }
    let mut hook = service.connect().await;
    let body = support::notification(1, 10);
    hook.send("POST", support::HOOK, "Authorization: Bearer ingest-token-0123456789\r\n", &body).await;
    assert_eq!(hook.reply().await.status, 200, "who sends alerts is not locked out with him");
    service.counts("backout_logins_refused_total{reason=\"unknown\"} 10").await;
    service.counts("backout_logins_refused_total{reason=\"limited\"} 2").await;
}

/// Reads from an event stream until the text has come.
async fn stream_until(client: &mut support::Client, text: &str) -> String {
    let mut seen = String::new();
    let read = async {
        while !seen.contains(text) {
            let mut bytes = [0; 4096];
            let read = client.0.read(&mut bytes).await.expect("read");
            assert!(read > 0, "the stream ended after {seen}");
            seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    };
    tokio::time::timeout(support::PATIENCE, read).await.expect("it comes");
    seen
}

fn notice(row: u64) -> Arc<Notice> {
    Arc::new(Notice { id: NoticeId { row, place: 0 }, kind: "incident", data: format!("{{\"row\":{row}}}") })
}

#[tokio::test]
async fn who_watches_hears_what_was_missed_and_what_happens() {
    let (service, _folder) = guarded().await;
    let live = service.control.live.clone().expect("a channel");
    *service.control.missed.lock().expect("missed") = (false, vec![notice(8)]);
    let watch = async |headers: &str| {
        let mut client = service.connect().await;
        let head = format!("Authorization: Bearer read-token-0123456789\r\n{headers}");
        client.send("GET", "/api/v1/events", &head, b"").await;
        client
    };
    let mut first = watch("Last-Event-ID: 7-0\r\n").await;
    let seen = stream_until(&mut first, "data: {\"row\":8}").await;
    assert!(seen.to_ascii_lowercase().contains("content-type: text/event-stream") && seen.contains("id: 8-0"), "{seen}");
    assert!(!seen.contains("resync"));
    live.send(notice(9)).expect("somebody watches");
    let seen = stream_until(&mut first, "data: {\"row\":9}").await;
    assert!(seen.contains("event: incident") && seen.contains("id: 9-0"), "{seen}");

    *service.control.missed.lock().expect("missed") = (true, Vec::new());
    let mut stranger = watch("Last-Event-ID: nonsense\r\n").await;
    stream_until(&mut stranger, "event: resync").await;
    let known = service.control.watched.lock().expect("watched").clone();
    assert_eq!(known, [Some(NoticeId { row: 7, place: 0 }), Some(NoticeId { row: 0, place: 0 })]);
    service.counts("backout_event_watchers 2").await;
    drop(stranger);
    service.counts("backout_event_watchers 1").await;

    // At the end of the service a stream must not hold it up.
    service.drain.cancel();
    first.closed().await;
}

#[tokio::test]
async fn who_reads_too_slowly_is_let_go() {
    let (service, _folder) = guarded().await;
    let live = service.control.live.clone().expect("a channel");
    let mut client = service.connect().await;
    client.send("GET", "/api/v1/events", "Authorization: Bearer read-token-0123456789\r\n", b"").await;
    service.counts("backout_event_watchers 1").await;
    // All at once: the stream cannot be polled in between on this one thread, and the channel holds four.
    for row in 0..50 {
        let _ = live.send(notice(row));
    }
    let seen = stream_until(&mut client, "\r\n0\r\n\r\n").await;
    assert!(seen.contains("event: resync"), "{seen}");
    service.counts("backout_event_watchers 0").await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_what_was_expected() {
    let (service, _folder) = guarded().await;
    let veto = format!("incidents/{ID}/veto");
    let approve = format!("incidents/{ID}/approve");
    let long = "x".repeat(3000);
    for (method, path, body, status, text) in [
        (
            "GET",
            "incidents?state=broken",
            Value::Null,
            400,
            "unknown variant `broken`, expected one of `open`, `closed`, `all`, `settling`",
        ),
        ("GET", "incidents?stat=open", Value::Null, 400, "unknown field `stat`, expected one of `state`, `policy`"),
        ("GET", "incidents?outcome=luck", Value::Null, 400, "unknown variant `luck`, expected one of `rollback`, `page`"),
        ("GET", "incidents?since=tuesday", Value::Null, 400, "`since` is `tuesday`; expected a time like"),
        ("GET", "incidents?target=web", Value::Null, 400, "`web` is not a target; expected `namespace/name`"),
        ("GET", "incidents?cursor=7", Value::Null, 400, "`cursor` is none of ours"),
        ("GET", "incidents?limit=0", Value::Null, 400, "`limit` is `0`; expected 1 to 1000"),
        ("GET", "incidents/../../etc", Value::Null, 404, "no such path in the api"),
        ("GET", "incidents/i1", Value::Null, 404, "expected `i` and 12 hex digits"),
        ("GET", "nonsense", Value::Null, 404, "no such path in the api"),
        ("PUT", "pauses", Value::Null, 405, "this path is not asked in this way"),
        ("POST", &veto, json!({ "by": "ada" }), 400, "missing field `reason`"),
        (
            "POST",
            &veto,
            json!({ "by": "ada", "reason": "r", "force": true }),
            400,
            "unknown field `force`, expected `by` or `reason`",
        ),
        ("POST", &veto, json!({ "by": " ", "reason": "r" }), 400, "`by` is empty"),
        ("POST", &veto, json!({ "by": "ada", "reason": "a\u{1b}[2J" }), 400, "`reason` has control characters"),
        ("POST", &veto, json!({ "by": "ada", "reason": long }), 400, "`reason` has 3000 characters; expected 2000 at most"),
        ("POST", &approve, json!({ "by": "ada", "plan_hash": "yes" }), 400, "expected 16 hex digits"),
        (
            "POST",
            &approve,
            json!({ "by": "ada", "plan_hash": "0011223344556677", "overrides": ["cool_down"] }),
            400,
            "there is no brake `cool_down` to override; did you mean `cooldown`?",
        ),
        ("POST", "pauses", json!({ "scope": "global", "reason": "r", "by": "ada" }), 400, "a pause ends: expected either `for`"),
        ("POST", "pauses", json!({ "scope": "global", "reason": "r", "by": "ada", "for": "soon" }), 400, "`for`: "),
        (
            "POST",
            "pauses",
            json!({ "scope": "global", "reason": "r", "by": "ada", "until": "2026-03-01T12:00:00Z" }),
            400,
            "would be over already",
        ),
        ("POST", "pauses", json!({ "scope": "namespace", "reason": "r", "by": "ada", "for": "1h" }), 400, "expected `name`"),
        (
            "POST",
            "pauses",
            json!({ "scope": "target", "name": "checkout", "reason": "r", "by": "ada", "for": "1h" }),
            400,
            "`checkout` is not a target; expected `namespace/name`",
        ),
        ("DELETE", "pauses/x?by=ada", Value::Null, 400, "the pause is not named by a number"),
        ("DELETE", "pauses/3", Value::Null, 400, "missing field `by`"),
        ("POST", "latches/x/clear", json!({ "by": "ada", "reason": "r" }), 400, "the latch is not named by a number"),
        ("POST", "latches/3/clear", json!({ "by": "ada" }), 400, "missing field `reason`"),
    ] {
        let reply = ask(&service, "operate", method, &format!("/api/v1/{path}"), &body).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.body);
        let detail = detail(&reply);
        assert!(detail.contains(text), "{method} {path}: {detail}");
    }
    let token = "Authorization: Bearer operate-token-0123456789\r\n";
    let form = service.ask("POST", &format!("/api/v1/{veto}"), token, b"by=ada&reason=r").await;
    assert_eq!(form.status, 415, "a page in a browser can send forms");
    let json = format!("{token}Content-Type: application/json\r\n");
    let large = service.ask("POST", &format!("/api/v1/{veto}"), &json, &vec![b' '; (64 << 10) + 1]).await;
    assert_eq!(large.status, 413);
}

#[tokio::test]
async fn what_the_engine_says_becomes_a_problem() {
    let (service, _folder) = guarded().await;
    for (error, status) in [
        (ControlError::NotFound("no incident `i0123456789ab`".to_owned()), 404),
        (ControlError::Conflict("it is over".to_owned()), 409),
        (ControlError::Invalid("the plan has another hash".to_owned()), 422),
        (ControlError::Unavailable("replaying".to_owned()), 503),
    ] {
        *service.control.failure.lock().expect("failure") = Some(error.clone());
        let reply =
            ask(&service, "operate", "POST", &format!("/api/v1/incidents/{ID}/acknowledge"), &json!({ "by": "ada" })).await;
        assert_eq!((reply.status, detail(&reply)), (status, error.to_string()));
    }
}

#[tokio::test]
async fn probes_and_reload_say_how_it_is() {
    let (service, _folder) = guarded().await;
    let ready = service.ask("GET", "/-/ready", "", b"").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "not ready: the journal is being replayed\n"));
    *service.control.ready.lock().expect("ready") = true;
    assert_eq!(service.ask("GET", "/-/ready", "", b"").await.status, 200);
    let reload = ask(&service, "operate", "POST", "/-/reload", &Value::Null).await;
    assert_eq!((reload.status, reload.body.as_str()), (200, "2 policies in use\n"));
    *service.control.failure.lock().expect("failure") = Some(ControlError::Invalid("rules/a.yaml:3:1: no".to_owned()));
    let refused = ask(&service, "operate", "POST", "/-/reload", &Value::Null).await;
    assert_eq!((refused.status, refused.body.as_str()), (422, "rules/a.yaml:3:1: no\n"));
    let metrics = service.ask("GET", "/metrics", "", b"").await;
    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"));
    assert!(metrics.body.contains("backout_build_info{version="));
}

#[tokio::test]
async fn what_is_remembered_is_asked_for_by_names_that_can_be() {
    let (service, _folder) = guarded().await;
    let get = async |path: &str| ask(&service, "read", "GET", path, &Value::Null).await;
    let asked = get("/api/v1/book?target=shop/web,deployment/shop/cart").await;
    assert!(asked.status == 200 && asked.body.contains("name: \\\"cart\\\""), "{asked:?}");
    let many = vec!["shop/web"; 51].join(",");
    for (path, wanted) in [
        ("book?target=web".to_owned(), "`web` is not a target; expected `namespace/name`"),
        ("book?target=shop/../x".to_owned(), "is not a target"),
        (format!("book?target={many}"), "`target` names 51; expected 50 at most"),
        ("revisions?target=Shop/web".to_owned(), "is not a target"),
        ("revisions".to_owned(), "missing field `target`"),
        ("bad?what=".to_owned(), "`what` is no image and no digest"),
        ("bad?what=a%20b".to_owned(), "`what` is no image and no digest"),
        ("bad?image=a".to_owned(), "unknown field `image`"),
    ] {
        let refused = get(&format!("/api/v1/{path}")).await;
        assert_eq!(refused.status, 400, "{path}: {refused:?}");
        assert!(detail(&refused).contains(wanted), "{path}: {}", detail(&refused));
    }
}

#[tokio::test]
async fn what_is_logged_is_changed_by_operators_only_where_it_can_be() {
    let (service, _folder) = guarded().await;
    let change = json!({ "level": "debug", "by": "ada" });
    assert_eq!(ask(&service, "read", "PUT", "/-/log-level", &change).await.status, 403);
    let fixed = ask(&service, "operate", "PUT", "/-/log-level", &change).await;
    assert_eq!((fixed.status, detail(&fixed).as_str()), (404, "what this process logs cannot be changed while it runs"));
    assert_eq!(ask(&service, "read", "GET", "/-/log-level", &Value::Null).await.status, 404);
}
