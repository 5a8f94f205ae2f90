//! Channels against real HTTP servers on loopback that misbehave in the ways that servers do. A minute passes in 0.6 s.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::IntoResponse;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{AlertmanagerChannel, ChannelSettings, NotifierSet, WebhookChannel};
use crate::metrics::Metrics;
use crate::model::{IncidentId, Message, Moment, Time, Urgency};
use crate::outgoing::Clients;
use crate::ports::{Clock, Notifier};

const SPEED: u32 = 100;

/// A clock that runs a hundred times as fast as the real one.
struct FastClock {
    started: Instant,
}

impl Clock for FastClock {
    fn now(&self) -> Time {
        Time::from_millis(1_800_000_000_000) + self.started.elapsed() * SPEED
    }

    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(at.since(self.now()) / SPEED))
    }
}

/// The same, and somebody sets it back by an hour.
struct SetBack {
    fast: FastClock,
    back: AtomicBool,
}

impl Clock for SetBack {
    fn now(&self) -> Time {
        let hours = u64::from(self.back.load(Ordering::SeqCst));
        self.fast.now() - Duration::from_secs(3600 * hours)
    }

    fn elapsed(&self) -> Duration {
        self.fast.elapsed()
    }

    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        self.fast.sleep_until(at.shifted(3_600_000 * i64::from(self.back.load(Ordering::SeqCst))))
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.fast.sleep(span)
    }
}

/// A server that answers as told, then 200, and keeps what it was sent.
#[derive(Default)]
struct Heard {
    answers: Mutex<VecDeque<(u16, Option<&'static str>)>>,
    requests: Mutex<Vec<(HeaderMap, Value, Duration)>>,
    /// For Alertmanager's list: what its alerts look like.
    state: Mutex<Value>,
    alerts: Mutex<BTreeMap<String, Value>>,
}

impl Heard {
    fn bodies(&self) -> Vec<Value> {
        self.requests.lock().expect("a lock").iter().map(|(_, body, _)| body.clone()).collect()
    }

    fn header(&self, at: usize, name: &str) -> Option<String> {
        self.requests.lock().expect("a lock")[at].0.get(name).map(|value| value.to_str().expect("text").to_owned())
    }
}

struct Server {
    url: String,
    heard: Arc<Heard>,
}

async fn server(answers: &[(u16, Option<&'static str>)]) -> Server {
    let heard = Arc::new(Heard { answers: Mutex::new(answers.iter().copied().collect()), ..Heard::default() });
    *heard.state.lock().expect("a lock") = json!({"state": "active", "silencedBy": [], "inhibitedBy": []});
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let started = Instant::now();
    let handle =
        async move |State(heard): State<Arc<Heard>>, method: Method, query: RawQuery, headers: HeaderMap, body: String| {
            if method == Method::GET {
                return list(&heard, query.0.unwrap_or_default()).into_response();
            }
            let body: Value = serde_json::from_str(&body).expect("JSON");
            heard.requests.lock().expect("a lock").push((headers, body.clone(), started.elapsed() * SPEED));
            let answer = heard.answers.lock().expect("a lock").pop_front();
            let (status, retry_after) = answer.unwrap_or((200, None));
            if status == 200 {
                keep(&heard, &body);
            }
            let status = StatusCode::from_u16(status).expect("a status");
            match retry_after {
                Some(seconds) => (status, [("retry-after", seconds)], "wait").into_response(),
                None => (status, "no").into_response(),
            }
        };
    let app = Router::new().fallback(handle).with_state(Arc::clone(&heard));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Server { url, heard }
}

fn keep(heard: &Heard, body: &Value) {
    for alert in body.as_array().into_iter().flatten() {
        heard.alerts.lock().expect("a lock").insert(alert["labels"].to_string(), alert.clone());
    }
}

/// `GET /api/v2/alerts` as Alertmanager answers it.
fn list(heard: &Heard, query: String) -> String {
    let state = heard.state.lock().expect("a lock").clone();
    let mut alerts: Vec<Value> = heard.alerts.lock().expect("a lock").values().cloned().collect();
    let (_, wanted) = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "filter").expect("a filter");
    alerts.retain(|alert| format!("backout_incident={}", alert["labels"]["backout_incident"]) == wanted);
    for alert in &mut alerts {
        alert["status"] = state.clone();
        alert["receivers"] = if state["receiver"] == false { json!([]) } else { json!([{"name": "team"}]) };
    }
    Value::from(alerts).to_string()
}

/// Takes connections, reads a little, hangs up.
async fn hangs_up() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.readable().await.ok();
        }
    });
    url
}

/// Takes connections and never answers.
async fn never_answers() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    url
}

/// Nobody listens there.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

fn webhook(name: &str, url: &str) -> ChannelSettings {
    let webhook = WebhookChannel {
        url: url.to_owned(),
        takes: vec![Urgency::Page, Urgency::Announce, Urgency::Ticket],
        token_file: None,
        ca_file: None,
        proxy: None,
    };
    ChannelSettings { name: name.to_owned(), webhook: Some(webhook), ..ChannelSettings::default() }
}

fn pager(name: &str, urls: &[&str]) -> ChannelSettings {
    let urls = urls.iter().map(|url| (*url).to_owned()).collect();
    let alertmanager = AlertmanagerChannel { urls, ..AlertmanagerChannel::default() };
    ChannelSettings { name: name.to_owned(), alertmanager: Some(alertmanager), ..ChannelSettings::default() }
}

fn set(channels: &[ChannelSettings]) -> (NotifierSet, Arc<Metrics>) {
    rustls::crypto::ring::default_provider().install_default().ok();
    let metrics = Metrics::new().expect("metrics");
    let clients = Clients::new().expect("clients");
    let clock = Arc::new(FastClock { started: Instant::now() });
    (NotifierSet::new(&clients, channels, "prod", clock, Arc::clone(&metrics)).expect("channels"), metrics)
}

fn message(urgency: Urgency) -> Message {
    Message { urgency, ..super::fixture::message() }
}

fn counted(metrics: &Metrics, channel: &str, result: &str) -> u64 {
    let start = format!("backout_notifications_total{{channel=\"{channel}\",result=\"{result}\"}} ");
    let text = metrics.render();
    let line = text.lines().find_map(|line| line.strip_prefix(&start)).expect("a series");
    line.parse().expect("a number")
}

/// Waits until something is so.
async fn until(mut so: impl FnMut() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("in time");
}

#[tokio::test]
async fn a_webhook_gets_the_documented_shape() {
    let server = server(&[]).await;
    let mut token = tempfile::NamedTempFile::new().expect("a file");
    writeln!(token, "s3cret").expect("written");
    let mut channel = webhook("hook", &format!("{}/path?team=x", server.url));
    channel.webhook.as_mut().expect("a webhook").token_file = Some(token.path().to_owned());
    let (set, metrics) = set(&[channel]);
    let delivery = set.deliver(message(Urgency::Announce)).await;
    assert_eq!((delivery.delivered, delivery.failed), (vec!["hook".to_owned()], vec![]));
    assert_eq!(
        server.heard.bodies()[0],
        json!({
            "version": "1", "instance": "prod", "dedup_key": "i0123456789ab", "id": "i0123456789ab/paged/1",
            "incident": "i0123456789ab", "moment": "paged", "urgency": "announce", "severity": "critical",
            "title": "shop/web: not rolled back", "text": "why\nand more",
            "target": {"kind": "deployment", "namespace": "shop", "name": "web"}, "policy": "web", "to": [],
            "labels": {"team": "shop", "severity": "none"}, "about": {"state": "", "alerts": [], "plan": null},
            "links": {"incident": null, "runbook": null, "dashboard": null, "silence": null}, "at": 1_800_000_000_000_i64, "time": "2027-01-15T08:00:00.000Z",
        })
    );
    assert_eq!(server.heard.header(0, "idempotency-key").as_deref(), Some("i0123456789ab/paged/1"));
    assert_eq!(server.heard.header(0, "authorization").as_deref(), Some("Bearer s3cret"));
    assert_eq!(server.heard.header(0, "content-type").as_deref(), Some("application/json"));
    std::fs::write(token.path(), "rotated").expect("written");
    set.deliver(message(Urgency::Announce)).await;
    assert_eq!(server.heard.header(1, "authorization").as_deref(), Some("Bearer rotated"), "read again");
    assert_eq!(counted(&metrics, "hook", "delivered"), 2);
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
    let server = server(&[(503, None), (408, None)]).await;
    let (set, metrics) = set(&[webhook("hook", &server.url)]);
    assert_eq!(set.deliver(message(Urgency::Page)).await.delivered, ["hook"]);
    assert_eq!(counted(&metrics, "hook", "retried"), 2);
    for status in [400, 401, 404, 302] {
        server.heard.answers.lock().expect("a lock").push_back((status, None));
        let before = server.heard.bodies().len();
        let delivery = set.deliver(message(Urgency::Page)).await;
        let expected = format!("answered {status}: no (attempt 1)");
        assert_eq!(delivery.failed, [("hook".to_owned(), expected)]);
        assert_eq!(server.heard.bodies().len(), before + 1);
    }
    assert_eq!(counted(&metrics, "hook", "failed"), 4);
}

#[tokio::test]
async fn a_wish_to_wait_is_granted_within_bounds() {
    let server = server(&[(429, Some("7")), (503, Some("3600")), (429, Some("Fri, 31 Dec 1999 23:59:59 GMT"))]).await;
    let (set, _) = set(&[webhook("hook", &server.url)]);
    assert_eq!(set.deliver(message(Urgency::Page)).await.delivered, ["hook"]);
    let at: Vec<Duration> = server.heard.requests.lock().expect("a lock").iter().map(|(_, _, at)| *at).collect();
    let pauses: Vec<u64> = at.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    // A busy machine makes pauses longer, never shorter; an hour was asked for the second.
    assert!(pauses[0] >= 7 && (15..60).contains(&pauses[1]) && pauses[2] >= 4, "{pauses:?}");
}

#[tokio::test]
async fn a_channel_that_does_not_answer_gives_way_to_the_next() {
    for broken in [never_answers().await, hangs_up().await, nobody().await] {
        let good = server(&[]).await;
        let (set, metrics) = set(&[webhook("broken", &broken), webhook("good", &good.url)]);
        let delivery = set.deliver(message(Urgency::Page)).await;
        assert_eq!(delivery.delivered, ["good"]);
        assert!(delivery.failed[0].0 == "broken" && !delivery.failed[0].1.is_empty(), "{delivery:?}");
        assert_eq!(counted(&metrics, "broken", "failed"), 1);
    }
}

#[tokio::test]
async fn a_missing_token_is_named_and_a_secret_is_not() {
    let mut channel = webhook("hook", &nobody().await);
    channel.webhook.as_mut().expect("a webhook").token_file = Some("/nowhere/token".into());
    let (set, _) = set(&[channel]);
    let delivery = set.deliver(message(Urgency::Page)).await;
    assert!(delivery.failed[0].1.contains("cannot read the secret in `/nowhere/token`"), "{delivery:?}");
}

#[tokio::test]
async fn who_gets_what() {
    let (one, two, three) = (server(&[]).await, server(&[]).await, server(&[(400, None)]).await);
    let mut pages = webhook("pages", &three.url);
    pages.webhook.as_mut().expect("a webhook").takes = vec![Urgency::Page];
    let (set, _) = set(&[webhook("one", &one.url), webhook("two", &two.url), pages]);
    let to = |urgency, to: &[&str]| Message { to: to.iter().map(|name| (*name).to_owned()).collect(), ..message(urgency) };
    let deliver = async |message| set.deliver(message).await.delivered;
    assert_eq!(deliver(to(Urgency::Announce, &[])).await, ["one", "two"], "every channel that takes it");
    assert_eq!(deliver(to(Urgency::Ticket, &[])).await, ["one"], "one ticket");
    assert_eq!(deliver(to(Urgency::Page, &[])).await, ["one"], "in order");
    assert_eq!(deliver(to(Urgency::Page, &["two"])).await, ["two"]);
    assert_eq!(deliver(to(Urgency::Announce, &["two"])).await, ["two"]);
    let fallen_back = set.deliver(to(Urgency::Page, &["pages", "gone"])).await;
    assert_eq!(fallen_back.delivered, ["one"], "a page never stays with a channel that fails");
    let failed: Vec<&str> = fallen_back.failed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(failed, ["gone", "pages"]);
    let wrong = set.deliver(to(Urgency::Announce, &["pages"])).await;
    assert!(wrong.delivered.is_empty() && wrong.failed[0].1.contains("does not take messages of the kind `announce`"));
}

#[tokio::test]
async fn no_channel_is_a_failure_too() {
    let (set, _) = set(&[]);
    let delivery = set.deliver(message(Urgency::Page)).await;
    assert!(delivery.delivered.is_empty() && delivery.failed[0].1.contains("no channel takes"), "{delivery:?}");
}

#[tokio::test]
async fn what_goes_out_is_limited_and_what_waits_leaves_together() {
    let slow = server(&[]).await;
    let one = NonZeroU32::new(1);
    let limited = ChannelSettings { per_second: one, burst: one, ..webhook("slow", &slow.url) };
    let (set, metrics) = set(&[limited]);
    let of = |name: &str| Message {
        id: format!("{name}/paged/1"),
        incident: Some(IncidentId(name.to_owned())),
        ..message(Urgency::Page)
    };
    let told = tokio::join!(set.deliver(of("i1")), set.deliver(of("i2")), set.deliver(of("i3")));
    assert!([told.0, told.1, told.2].iter().all(|delivery| delivery.delivered == ["slow"]));
    let bodies = slow.heard.bodies();
    assert_eq!(bodies.len(), 2);
    assert_eq!(bodies[1]["messages"].as_array().map(Vec::len), Some(2), "the one message holds both");
    assert_eq!((&bodies[1]["incident"], &bodies[1]["folded"]), (&json!("i2"), &json!(["i3"])));
    assert_eq!([counted(&metrics, "slow", "merged"), counted(&metrics, "slow", "delivered")], [2, 3]);
    assert!(counted(&metrics, "slow", "limited") >= 1);
}

#[tokio::test]
async fn a_page_goes_to_every_peer_with_our_labels() {
    let (one, two) = (server(&[]).await, server(&[]).await);
    let (set, _) = set(&[pager("pager", &[&one.url, &two.url])]);
    assert_eq!(set.deliver(message(Urgency::Page)).await.delivered, ["pager"]);
    for peer in [&one, &two] {
        assert_eq!(
            peer.heard.bodies()[0][0]["labels"],
            json!({
                "alertname": "BackoutPage", "backout_incident": "i0123456789ab", "backout_page": "i0123456789ab/paged/1",
                "backout_policy": "web", "backout_target": "deployment/shop/web", "severity": "critical", "team": "shop",
            })
        );
        let annotations = &peer.heard.bodies()[0][0]["annotations"];
        assert_eq!(*annotations, json!({"summary": "shop/web: not rolled back", "description": "why\nand more"}));
    }
    assert_eq!(set.open_pages().len(), 1);
}

#[tokio::test]
async fn accepted_is_not_delivered() {
    for (state, why) in [
        (json!({"state": "suppressed", "silencedBy": ["abc"]}), "silenced by abc"),
        (json!({"state": "suppressed", "inhibitedBy": ["abc"]}), "inhibited"),
        (json!({"state": "active", "receiver": false}), "no receiver"),
        (json!({"state": "unprocessed"}), "its state is `unprocessed`"),
    ] {
        let (peer, good) = (server(&[]).await, server(&[]).await);
        *peer.heard.state.lock().expect("a lock") = state;
        let (set, _) = set(&[pager("pager", &[&peer.url]), webhook("good", &good.url)]);
        let delivery = set.deliver(message(Urgency::Page)).await;
        assert_eq!(delivery.delivered, ["good"]);
        assert!(delivery.failed[0].1.contains(why), "{delivery:?}");
        assert!(set.open_pages().is_empty(), "the next channel has it");
    }
}

#[tokio::test]
async fn one_peer_is_enough() {
    let good = server(&[]).await;
    let (set, _) = set(&[pager("pager", &[&nobody().await, &good.url, &hangs_up().await])]);
    assert_eq!(set.deliver(message(Urgency::Page)).await.delivered, ["pager"]);
}

#[tokio::test]
async fn a_page_stays_posted_until_it_is_closed() {
    let peer = server(&[]).await;
    let (set, _) = set(&[pager("pager", &[&peer.url])]);
    set.deliver(message(Urgency::Page)).await;
    // The keeper's first two turns fail.
    peer.heard.answers.lock().expect("a lock").extend([(503, None), (500, None)]);
    until(|| peer.heard.bodies().len() >= 4).await;
    let first = set.open_pages()[0].posted_at;
    until(|| set.open_pages()[0].posted_at > first).await;
    let end = |body: &Value| Time::parse(body[0]["endsAt"].as_str().expect("a time")).expect("a time");
    let bodies = peer.heard.bodies();
    assert!(end(&bodies[3]) > end(&bodies[0]), "its end moves ahead");
    assert_eq!(bodies[3][0]["labels"], bodies[0][0]["labels"]);
    set.close_page(Some(IncidentId("i0123456789ab".to_owned()))).await;
    assert!(set.open_pages().is_empty());
    let bodies = peer.heard.bodies();
    let last = bodies.last().expect("a post");
    assert!(end(last) < end(&bodies[0]), "over");
    assert_eq!(last[0]["labels"], bodies[0][0]["labels"]);
}

#[tokio::test]
async fn a_page_sent_again_takes_the_place_of_the_former() {
    let peer = server(&[]).await;
    let (set, _) = set(&[pager("pager", &[&peer.url])]);
    set.deliver(message(Urgency::Page)).await;
    set.deliver(Message { id: "i0123456789ab/paged/2".to_owned(), ..message(Urgency::Page) }).await;
    assert_eq!(set.open_pages().len(), 1);
    let posted: Vec<Value> = peer.heard.bodies().iter().map(|body| body[0]["labels"]["backout_page"].clone()).collect();
    assert_eq!(posted[..3], ["i0123456789ab/paged/1", "i0123456789ab/paged/2", "i0123456789ab/paged/1"], "the former ends last");
}

#[tokio::test]
async fn a_page_from_before_a_restart_is_closed_too() {
    let peer = server(&[]).await;
    let (before, _) = set(&[pager("pager", &[&peer.url])]);
    before.deliver(message(Urgency::Page)).await;
    drop(before);
    let (after, _) = set(&[pager("pager", &[&peer.url])]);
    after.close_page(Some(IncidentId("i0123456789ab".to_owned()))).await;
    let bodies = peer.heard.bodies();
    let (first, last) = (&bodies[0][0], &bodies.last().expect("a post")[0]);
    assert_eq!(last["labels"], first["labels"]);
    assert!(last["endsAt"].as_str() < first["endsAt"].as_str());
}

#[tokio::test]
async fn a_page_that_nobody_took_is_posted_when_somebody_can() {
    let peer = server(&[(503, None); 5]).await;
    let (set, _) = set(&[pager("pager", &[&peer.url])]);
    assert!(set.deliver(message(Urgency::Page)).await.delivered.is_empty());
    assert_eq!(set.open_pages()[0].posted_at, None);
    until(|| set.open_pages()[0].posted_at.is_some()).await;
    assert_eq!(peer.heard.bodies().len(), 6);
}

#[tokio::test]
async fn our_own_blindness_pages_without_an_incident_and_lapses() {
    let peer = server(&[]).await;
    let (set, _) = set(&[pager("pager", &[&peer.url])]);
    let blind = Message { incident: None, id: "blind/1".to_owned(), moment: Moment::Blind, ..message(Urgency::Page) };
    assert_eq!(set.deliver(blind).await.delivered, ["pager"]);
    assert_eq!(peer.heard.bodies()[0][0]["labels"]["backout_incident"], "backout-blind-prod");
    until(|| peer.heard.bodies().len() >= 3).await;
    assert_eq!(set.open_pages()[0].key, "backout-blind-prod");
}

fn set_back(channels: &[ChannelSettings]) -> (NotifierSet, Arc<SetBack>) {
    rustls::crypto::ring::default_provider().install_default().ok();
    let clients = Clients::new().expect("clients");
    let clock = Arc::new(SetBack { fast: FastClock { started: Instant::now() }, back: AtomicBool::new(false) });
    let metrics = Metrics::new().expect("metrics");
    let set = NotifierSet::new(&clients, channels, "prod", Arc::clone(&clock) as Arc<dyn Clock>, metrics);
    (set.expect("channels"), clock)
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_no_page_from_the_next_channel() {
    // Accepted, and no receiver has it: for half a minute it may still come.
    let peer = server(&[]).await;
    peer.heard.state.lock().expect("a lock")["receiver"] = json!(false);
    let next = server(&[]).await;
    let (set, clock) = set_back(&[pager("pager", &[&peer.url]), webhook("next", &next.url)]);
    let delivery = tokio::spawn(async move { set.deliver(message(Urgency::Page)).await });
    until(|| !peer.heard.bodies().is_empty()).await;
    clock.back.store(true, Ordering::SeqCst);
    // An hour of this clock is 36 s.
    let delivery = tokio::time::timeout(Duration::from_secs(20), delivery).await.expect("not an hour later").expect("no panic");
    assert_eq!(delivery.delivered, ["next"]);
}

#[tokio::test]
async fn a_clock_that_is_set_back_neither_lets_a_page_lapse_nor_keeps_it() {
    let peer = server(&[]).await;
    let (set, clock) = set_back(&[pager("pager", &[&peer.url])]);
    set.deliver(message(Urgency::Page)).await;
    clock.back.store(true, Ordering::SeqCst);
    let posted = peer.heard.bodies().len();
    // A minute of this clock is 0.6 s, an hour 36 s.
    until(|| peer.heard.bodies().len() > posted).await;
    set.close_page(Some(IncidentId("i0123456789ab".to_owned()))).await;
    let bodies = peer.heard.bodies();
    let time = |of: &str| Time::parse(bodies.last().expect("a post")[0][of].as_str().expect("a time")).expect("a time");
    assert!(time("startsAt") <= time("endsAt") && time("endsAt") < clock.now(), "{bodies:?}");
}
