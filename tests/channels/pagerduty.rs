//! PagerDuty. The rules: "Events API v2 Overview", "Send an Alert Event" and "PD-CEF" (developer.pagerduty.com), and the
//! specification `reference/events-v2/openapiv3.json` (PagerDuty/api-schema); for reading back, "List incidents" of the REST API.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::Method;
use backout::model::{AboutAlert, Message, Moment, Operation};
use backout::notify::Probe;
use backout::ports::{Control, Notifier};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::server::{Fault, Reply, Request, Rules, Server, lock, rule};
use crate::support::eventually;
use crate::world::{Engine, World, id, message, page, secret};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const TOKEN: &str = "u+secrettokensecret";
const SOON: Duration = Duration::from_secs(20);

/// What a PagerDuty account knows.
#[derive(Default)]
pub(crate) struct PagerDuty {
    pub(crate) alerts: Mutex<BTreeMap<String, Alert>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Alert {
    pub(crate) status: &'static str,
    /// How many times somebody was woken: once for each time that it was opened.
    pub(crate) woken: u32,
    pub(crate) events: Vec<Value>,
    /// Who acknowledged: type and name.
    taken: Vec<(&'static str, &'static str)>,
}

impl PagerDuty {
    fn alert(&self, key: &str) -> Alert {
        lock(&self.alerts).get(key).cloned().unwrap_or_default()
    }

    pub(crate) fn take(&self, key: &str, by: (&'static str, &'static str)) {
        let mut alerts = lock(&self.alerts);
        let alert = alerts.get_mut(key).expect("an alert");
        alert.status = "acknowledged";
        alert.taken.push(by);
    }

    fn enqueue(&self, request: &Request) -> Result<Reply, String> {
        rule(request.method == Method::POST, "enqueue is a POST")?;
        rule(request.header("content-type").starts_with("application/json"), "the body is JSON")?;
        rule(request.body.len() <= 512_000, "an event has at most 512 kB")?;
        let event = request.json();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        rule(text(&event["routing_key"]) == KEY, "Length of 'routing_key' is incorrect (should be 32 characters)")?;
        let (action, key) = (text(&event["event_action"]), text(&event["dedup_key"]));
        rule(["trigger", "acknowledge", "resolve"].contains(&action.as_str()), "event_action is one of three")?;
        rule(key.chars().count() <= 255, "dedup_key has at most 255 characters")?;
        rule(!key.is_empty(), "dedup_key is required to acknowledge and to resolve, and wanted to trigger")?;
        let mut alerts = lock(&self.alerts);
        if action == "trigger" {
            payload(&event)?;
            let alert = alerts.entry(key.clone()).or_default();
            if !matches!(alert.status, "triggered" | "acknowledged") {
                (alert.status, alert.woken) = ("triggered", alert.woken + 1);
                alert.taken.clear();
            }
            alert.events.push(event);
        } else if let Some(alert) = alerts.get_mut(&key) {
            alert.status = if action == "resolve" { "resolved" } else { "acknowledged" };
            if action == "acknowledge" {
                alert.taken.push(("service_reference", "the integration"));
            }
        }
        Ok(Reply::new(202, json!({"status": "success", "message": "Event processed", "dedup_key": key})))
    }

    fn incidents(&self, request: &Request) -> Result<Reply, String> {
        let key = request.query("incident_key");
        rule(!key.is_empty(), "we ask for one key at a time")?;
        let alert = self.alert(key);
        let wanted = request.query.iter().any(|(name, value)| name == "statuses[]" && value == alert.status);
        let taken = alert.taken.iter().map(|(kind, name)| {
            json!({"at": "2027-01-15T08:00:05Z", "acknowledger": {"id": "PXPGF42", "type": kind, "summary": name}})
        });
        let incident = json!({"id": "PT4KHLK", "status": alert.status, "acknowledgements": taken.collect::<Vec<_>>()});
        let listed = if wanted { vec![incident] } else { Vec::new() };
        Ok(Reply::new(200, json!({"incidents": listed, "limit": 25, "offset": 0, "more": false})))
    }
}

fn payload(event: &Value) -> Result<(), String> {
    let payload = &event["payload"];
    let summary = payload["summary"].as_str().unwrap_or_default();
    rule((1..=1024).contains(&summary.chars().count()), "summary is required, at most 1024 characters")?;
    rule(!summary.contains('\n'), "summary is a title: one line")?;
    rule(payload["source"].as_str().is_some_and(|source| !source.is_empty()), "source is required")?;
    let severity = payload["severity"].as_str().unwrap_or_default();
    rule(["critical", "error", "warning", "info"].contains(&severity), "severity is one of four")?;
    let time = payload["timestamp"].as_str().unwrap_or_default();
    rule(time.parse::<jiff::Timestamp>().is_ok(), "timestamp is ISO 8601")?;
    rule(payload["custom_details"].is_object(), "custom_details is an object")?;
    for link in event["links"].as_array().ok_or("links is an array")? {
        let href = link["href"].as_str().unwrap_or_default();
        rule(url::Url::parse(href).is_ok(), format!("`{href}` is no address"))?;
    }
    let url = event["client_url"].as_str().unwrap_or("https://x");
    rule(url::Url::parse(url).is_ok(), format!("`{url}` is no address"))?;
    Ok(())
}

impl Rules for PagerDuty {
    fn answer(&self, request: &Request) -> Result<Reply, String> {
        if request.path == "/v2/enqueue" {
            return self.enqueue(request);
        }
        rule(request.method == Method::GET, "we only read the REST API")?;
        rule(request.header("authorization") == format!("Token token={TOKEN}"), "Authorization: Token token=…")?;
        rule(request.header("accept") == "application/vnd.pagerduty+json;version=2", "the version of the REST API")?;
        match request.path.as_str() {
            "/incidents" => self.incidents(request),
            "/abilities" => Ok(Reply::new(200, json!({"abilities": ["teams"]}))),
            other => Err(format!("there is no `{other}`")),
        }
    }

    fn refusal(&self, why: &str) -> Reply {
        Reply::new(400, json!({"status": "invalid event", "message": "Event object is invalid", "errors": [why]}))
    }
}

struct Bed {
    server: Server<PagerDuty>,
    world: World,
    folder: tempfile::TempDir,
}

impl Bed {
    async fn set() -> Self {
        let (server, folder) = (Server::start(PagerDuty::default()).await, tempfile::tempdir().expect("a folder"));
        let world = World::new(settings(&server.url, &folder));
        Self { server, world, folder }
    }
}

pub(crate) fn settings(url: &str, folder: &tempfile::TempDir) -> Value {
    json!([{"name": "pd", "pagerduty": {
        "routing_key_file": secret(folder, "key", KEY), "token_file": secret(folder, "token", TOKEN),
        "events_url": url, "rest_url": url, "severities": {"page": "error"},
    }}])
}

#[tokio::test]
async fn a_page_is_triggered_and_resolved_under_its_incident() {
    let Bed { server, world, folder: _folder } = Bed::set().await;
    world.delivered(page("i1", 1)).await;
    world.delivered(page("i1", 2)).await;
    let alert = server.rules.alert("i1");
    assert_eq!((alert.status, alert.woken, alert.events.len()), ("triggered", 1, 2), "one page an incident");
    let event = &alert.events[0];
    assert_eq!((event["client"].as_str(), event["payload"]["severity"].as_str()), (Some("backout"), Some("critical")));
    assert_eq!(event["payload"]["source"], "deployment/shop/web");
    assert_eq!((&event["payload"]["component"], &event["payload"]["group"]), (&json!("web"), &json!("shop")));
    assert_eq!(event["payload"]["custom_details"]["incidents"], json!(["i1"]));
    let links: Vec<&str> = event["links"].as_array().expect("links").iter().filter_map(|link| link["text"].as_str()).collect();
    assert_eq!(links, ["incident", "runbook", "silence"]);
    world.set.close_page(Some(id("i1"))).await;
    assert_eq!(server.rules.alert("i1").status, "resolved");
    server.assert_kept();
}

#[tokio::test]
async fn whatever_a_page_says_it_fits() {
    let Bed { server, world, folder: _folder } = Bed::set().await;
    let alert = AboutAlert { labels: [("big".to_owned(), "ü".repeat(60_000))].into(), ..AboutAlert::default() };
    let mut large =
        Message { title: "ä".repeat(5000), text: "x\n".repeat(100_000), severity: "page".to_owned(), ..page("i1", 1) };
    large.about.alerts = vec![alert; 10];
    world.delivered(large).await;
    let alert = server.rules.alert("i1");
    assert_eq!(alert.events[0]["payload"]["severity"], "error", "as the settings say");
    world
        .delivered(Message { severity: "unheard-of".to_owned(), title: "one\ntwo".to_owned(), ..page(&"i".repeat(400), 1) })
        .await;
    server.assert_kept();
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
    let Bed { server, world, folder: _folder } = Bed::set().await;
    server.fail([Fault::status(500), Fault::Lost, Fault::wait(429, 7)]);
    world.delivered(page("i1", 1)).await;
    assert_eq!((server.requests().len(), world.counted("pd", "retried")), (4, 3));
    assert_eq!(server.rules.alert("i1").woken, 1, "the lost answer woke nobody twice");
    let before = server.requests().len();
    server.fail([Fault::Answer(PagerDuty::default().refusal("no"))]);
    let delivery = world.deliver(page("i2", 1)).await;
    assert!(delivery.failed[0].1.contains("answered 400"), "{delivery:?}");
    assert_eq!(server.requests().len(), before + 1, "400: never again");
    server.assert_kept();
}

#[tokio::test]
async fn a_long_silence_that_it_asks_for_is_kept_and_said() {
    let Bed { server, world, folder: _folder } = Bed::set().await;
    server.fail([Fault::wait(429, 300)]);
    let first = world.deliver(page("i1", 1)).await;
    assert!(first.failed[0].1.contains("answered 429"), "{first:?}");
    let second = world.deliver(page("i2", 1)).await;
    assert!(second.failed[0].1.contains("takes nothing for"), "the next channel has it at once: {second:?}");
    assert_eq!(server.requests().len(), 1, "nothing is sent in between");
}

#[tokio::test]
async fn it_gives_up_on_who_does_not_answer() {
    let Bed { server, world, folder: _folder } = Bed::set().await;
    server.fail([(); 5].map(|()| Fault::Silent));
    // The request's own 10 s are real ones; the courier's minute is not.
    let delivery = world.deliver(page("i1", 1)).await;
    assert!(delivery.failed[0].1.contains("not done within"), "{delivery:?}");
}

#[tokio::test]
async fn who_acknowledges_there_has_it_here() {
    let Bed { server, world, folder: _folder } = Bed::set().await;
    let engine = Arc::new(Engine { busy: Mutex::new(1), ..Engine::default() });
    let (set, control, drain) = (Arc::clone(&world.set), Arc::clone(&engine) as Arc<dyn Control>, CancellationToken::new());
    let asking = tokio::spawn({
        let drain = drain.clone();
        async move { set.bring_acknowledgements(control, drain).await }
    });
    world.delivered(Message { folded: vec![id("i2")], ..page("i1", 1) }).await;
    server.rules.take("i1", ("service_reference", "an integration"));
    eventually("it was asked", SOON, async || {
        let asked = server.requests().iter().filter(|request| request.path == "/incidents").count();
        if asked > 2 { Ok(()) } else { Err(format!("{asked} times")) }
    })
    .await;
    assert_eq!(*engine.told.lock().expect("a lock"), [], "an integration is nobody");
    server.rules.take("i1", ("user_reference", "Ada Lovelace"));
    let told = eventually("the engine is told", SOON, async || {
        let told = engine.told.lock().expect("a lock").clone();
        if told.len() == 2 { Ok(told) } else { Err(format!("{told:?}")) }
    })
    .await;
    let expected =
        ["i1", "i2"].map(|incident| Operation::Acknowledge { incident: id(incident), by: "Ada Lovelace (PagerDuty)".to_owned() });
    for operation in expected {
        assert!(told.contains(&operation), "{told:?}");
    }
    // It got worse: that must wake somebody again.
    world.delivered(page("i1", 2)).await;
    assert_eq!((server.rules.alert("i1").woken, server.rules.alert("i1-1").woken), (1, 1));
    world.set.close_page(Some(id("i1"))).await;
    assert_eq!(server.rules.alert("i1").status, "acknowledged", "i2 is not over");
    world.set.close_page(Some(id("i2"))).await;
    assert_eq!((server.rules.alert("i1").status, server.rules.alert("i1-1").status), ("resolved", "resolved"));
    drain.cancel();
    asking.await.expect("it ends");
    server.assert_kept();
}

#[tokio::test]
async fn who_has_it_just_now_is_asked_before_a_page_that_would_wake_nobody() {
    let Bed { server, world, folder: _folder } = Bed::set().await;
    world.delivered(page("i1", 1)).await;
    server.rules.take("i1", ("user_reference", "Ada"));
    world.delivered(page("i1", 2)).await;
    assert_eq!(server.rules.alert("i1-1").woken, 1);
    server.assert_kept();
}

#[tokio::test]
async fn nothing_is_asked_while_no_page_is_open() {
    let Bed { server, world, folder: _folder } = Bed::set().await;
    let (set, drain) = (Arc::clone(&world.set), CancellationToken::new());
    let asking = tokio::spawn({
        let drain = drain.clone();
        async move { set.bring_acknowledgements(Arc::new(Engine::default()), drain).await }
    });
    crate::support::holds("nobody asks", Duration::from_secs(2), async || match server.requests().len() {
        0 => Ok(()),
        asked => Err(format!("{asked} requests")),
    })
    .await;
    drain.cancel();
    asking.await.expect("it ends");
}

#[tokio::test]
async fn who_acknowledges_here_has_it_there() {
    let Bed { server, world, folder: _folder } = Bed::set().await;
    world.delivered(page("i1", 1)).await;
    world.set.acknowledge_page(id("i1"), "ada".to_owned()).await;
    assert_eq!(server.rules.alert("i1").status, "acknowledged");
    world.set.acknowledge_page(id("unknown"), "ada".to_owned()).await;
    assert_eq!(server.requests().len(), 2);
    server.assert_kept();
}

#[tokio::test]
async fn a_page_of_before_a_restart_is_resolved() {
    let Bed { server, world, folder } = Bed::set().await;
    world.delivered(page("i1", 1)).await;
    server.rules.take("i1", ("user_reference", "Ada"));
    world.delivered(page("i1", 2)).await;
    assert_eq!(server.rules.alert("i1-1").status, "triggered");
    let after = World::new(settings(&server.url, &folder));
    server.fail([Fault::status(503)]);
    after.set.close_page(Some(id("i1"))).await;
    assert_eq!(server.rules.alert("i1").status, "resolved", "and it is tried again");
    assert_eq!(server.rules.alert("i1-1").status, "resolved", "the page that woke somebody again, too");
    server.assert_kept();
}

#[tokio::test]
async fn secrets_are_read_again_and_never_shown() {
    let Bed { server, world, folder } = Bed::set().await;
    secret(&folder, "key", "hunter2");
    let delivery = world.deliver(page("i1", 1)).await;
    let why = &delivery.failed[0].1;
    assert!(why.contains("holds no routing key") && !why.contains("hunter2"), "{why}");
    assert!(server.requests().is_empty());
    secret(&folder, "key", KEY);
    world.delivered(page("i1", 1)).await;
    std::fs::remove_file(folder.path().join("key")).expect("removed");
    let why = world.deliver(page("i1", 2)).await.failed[0].1.clone();
    assert!(why.contains("cannot read the secret in"), "{why}");
}

#[tokio::test]
async fn it_can_be_asked_without_waking_anybody() {
    let Bed { server, world, folder } = Bed::set().await;
    let probe = async || world.set.probe().await.remove(0);
    assert!(matches!(probe().await, (name, Probe::Usable(_)) if name == "pd"));
    server.fail([Fault::status(401)]);
    assert!(matches!(probe().await.1, Probe::Unusable(why) if why.contains("401")));
    secret(&folder, "key", "short");
    assert!(matches!(probe().await.1, Probe::Unusable(why) if why.contains("routing key")));
    assert!(server.requests().iter().all(|request| request.method == Method::GET));
}

#[tokio::test]
async fn announcements_and_tickets_are_not_its_business() {
    let Bed { server, world, folder: _folder } = Bed::set().await;
    let delivery = world.deliver(message("i1", Moment::Decided, 1)).await;
    assert!(delivery.delivered.is_empty() && server.requests().is_empty(), "{delivery:?}");
}
