//! `/api/v1/`, probes and reload over real connections: who may ask, what is refused before the engine sees it, what reaches it.

#[path = "support/http.rs"]
mod support;

use std::fs;

use backout::http::auth::TokenFiles;
use backout::ports::ControlError;
use serde_json::{Value, json};
use support::{Reply, Service, Setup};

const ID: &str = "i0123456789ab";

/// A service with a token for each scope.
async fn guarded() -> (Service, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |scope: &str| {
        let path = folder.path().join(scope);
        fs::write(&path, format!("{scope}-token-0123456789\n")).expect("written");
        vec![path]
    };
    let tokens = TokenFiles { ingest: file("ingest"), read: file("read"), operate: file("operate") };
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
    problem["detail"].as_str().expect("a detail").to_owned()
}

#[tokio::test]
async fn each_path_asks_for_its_scope() {
    let (service, _folder) = guarded().await;
    let veto = format!("/api/v1/incidents/{ID}/veto");
    let said = json!({ "by": "ada", "reason": "deploying a fix" });
    for (method, path, body, scopes) in [
        ("GET", "/api/v1/incidents", &Value::Null, ["read", "operate"].as_slice()),
        ("GET", "/api/v1/status", &Value::Null, &["read", "operate"]),
        ("GET", "/api/v1/book?target=shop/web", &Value::Null, &["read", "operate"]),
        ("GET", "/api/v1/bad?what=shop:1", &Value::Null, &["read", "operate"]),
        ("GET", "/api/v1/revisions?target=shop/web", &Value::Null, &["read", "operate"]),
        ("POST", veto.as_str(), &said, &["operate"]),
        ("POST", "/-/reload", &Value::Null, &["operate"]),
    ] {
        for scope in ["ingest", "read", "operate"] {
            let wanted = if scopes.contains(&scope) { 200 } else { 403 };
            assert_eq!(ask(&service, scope, method, path, body).await.status, wanted, "{scope} {path}");
        }
        let unknown = ask(&service, "nobodys", method, path, body).await;
        assert_eq!(unknown.status, 401, "{path}");
        assert!(unknown.head.contains("www-authenticate: bearer"));
        assert_eq!(detail(&unknown), "expected a valid token: send `Authorization: Bearer TOKEN`");
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
    for (path, asked) in [
        ("incidents".to_owned(), "Incidents { state: Open, limit: 100 }".to_owned()),
        ("incidents?state=all&limit=7".to_owned(), "Incidents { state: All, limit: 7 }".to_owned()),
        (format!("incidents/{ID}"), format!("Incident(IncidentId(\"{ID}\"))")),
        (format!("incidents/{ID}/report"), format!("Report {{ incident: IncidentId(\"{ID}\"), format: Json }}")),
        ("pauses".to_owned(), "Pauses".to_owned()),
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
        ("DELETE", "pauses/3?by=ada%20l".to_owned(), Value::Null, json!({ "operation": "resume", "pause": 3, "by": "ada l" })),
    ] {
        let reply = ask(&service, "operate", method, &format!("/api/v1/{path}"), &body).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        assert_eq!(serde_json::from_str::<Value>(&reply.body).expect("json"), operation);
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_what_was_expected() {
    let (service, _folder) = guarded().await;
    let veto = format!("incidents/{ID}/veto");
    let approve = format!("incidents/{ID}/approve");
    let long = "x".repeat(3000);
    for (method, path, body, status, text) in [
        ("GET", "incidents?state=broken", Value::Null, 400, "unknown variant `broken`, expected one of `open`, `closed`, `all`"),
        ("GET", "incidents?stat=open", Value::Null, 400, "unknown field `stat`, expected `state` or `limit`"),
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
        ("POST", &veto, json!({ "by": "ada", "reason": long }), 400, "`reason` has 3000 bytes; expected 2000 at most"),
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
