//! A storm of 500 incidents: a handful of messages, none lost, and everybody told the truth about their own.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::http::Method;
use backout::model::{Message, Moment};
use backout::ports::Notifier;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::github;
use crate::pagerduty::{self, PagerDuty};
use crate::server::{Fault, Reply, Request, Rules, Server, lock, rule};
use crate::slack_server::{CHANNEL, Slack, TOKEN};
use crate::world::{FastClock, World, id, message, page, secret, ticket};

const INCIDENTS: usize = 500;
/// The work of a storm is real: a clock that runs too fast would make a busy machine of it.
const SPEED: u32 = 4;

fn world(channels: Value) -> World {
    World::at(FastClock::new(SPEED), channels)
}

/// A webhook of one's own.
#[derive(Default)]
struct Hook {
    bodies: Mutex<Vec<Value>>,
}

impl Rules for Hook {
    fn answer(&self, request: &Request) -> Result<Reply, String> {
        rule(request.method == Method::POST && !request.header("idempotency-key").is_empty(), "a POST with its key")?;
        lock(&self.bodies).push(request.json());
        Ok(Reply::new(200, Value::Null))
    }
}

fn names() -> Vec<String> {
    (0..INCIDENTS).map(|number| format!("i{number:012}")).collect()
}

/// As many at once as the engine sends: the rest waits for it.
async fn storm(world: &World, of: impl Fn(&str) -> Message) -> usize {
    let slots = Arc::new(tokio::sync::Semaphore::new(256));
    let each = names().into_iter().map(|name| {
        let (message, slots) = (of(&name), Arc::clone(&slots));
        async move {
            let _slot = slots.acquire().await.expect("a slot");
            usize::from(!world.deliver(message).await.delivered.is_empty())
        }
    });
    join_all(each).await.into_iter().sum()
}

/// The incidents that texts speak of.
fn spoken_of(texts: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    let all = texts.into_iter().collect::<Vec<_>>().join(" ");
    names().into_iter().filter(|name| all.contains(name.as_str())).collect()
}

#[tokio::test]
async fn a_chat_gets_a_handful_of_messages_that_name_every_incident() {
    let (server, folder) = (Server::start(Slack::at_speed(SPEED)).await, tempfile::tempdir().expect("a folder"));
    let token = secret(&folder, "token", TOKEN);
    let api = format!("{}/api", server.url);
    let world = world(json!([{"name": "chat", "slack": {"token_file": token, "channel": CHANNEL, "api_url": api}}]));
    let delivered = storm(&world, |name| message(name, Moment::Opened, 1)).await;
    assert_eq!(delivered, INCIDENTS);
    let roots = server.rules.roots();
    assert!(roots.len() <= 6, "{} messages", roots.len());
    let texts = roots.iter().map(|posted| format!("{} {}", posted.text(), posted.body["metadata"]));
    assert_eq!(spoken_of(texts).len(), INCIDENTS);
    assert_eq!((world.counted("chat", "delivered"), *lock(&server.rules.too_fast)), (500, 0));
    assert!(world.counted("chat", "merged") >= 400);
    server.assert_kept();
}

#[tokio::test]
async fn pages_become_one_page_that_lists_all_and_ends_with_the_last() {
    let (server, folder) = (Server::start(PagerDuty::default()).await, tempfile::tempdir().expect("a folder"));
    let world = world(pagerduty::settings(&server.url, &folder));
    assert_eq!(storm(&world, |name| page(name, 1)).await, INCIDENTS);
    let alerts = lock(&server.rules.alerts).clone();
    let woken: u32 = alerts.values().map(|alert| alert.woken).sum();
    assert!(woken <= 16, "{woken} pages");
    let events = alerts.values().flat_map(|alert| &alert.events);
    assert_eq!(
        spoken_of(events.clone().map(|event| event["payload"]["custom_details"]["incidents"].to_string())).len(),
        INCIDENTS
    );
    let largest = events.max_by_key(|event| event.to_string().len()).expect("an event");
    let summary = largest["payload"]["summary"].as_str().expect("a summary");
    assert!(summary.contains("pages at once about"), "it says so: {summary}");
    // All but one are over: the page that has the last one stays.
    let names = names();
    for name in &names[1..] {
        world.set.close_page(Some(id(name))).await;
    }
    let open = |alerts: &PagerDuty| lock(&alerts.alerts).values().filter(|alert| alert.status == "triggered").count();
    assert_eq!(open(&server.rules), 1);
    world.set.close_page(Some(id(&names[0]))).await;
    assert_eq!(open(&server.rules), 0);
    server.assert_kept();
}

#[tokio::test]
async fn a_webhook_gets_every_single_message_within_the_merged_one() {
    let server = Server::start(Hook::default()).await;
    let world = world(json!([{"name": "hook", "webhook": {"url": server.url}}]));
    assert_eq!(storm(&world, |name| message(name, Moment::Opened, 1)).await, INCIDENTS);
    let bodies = lock(&server.rules.bodies).clone();
    assert!(bodies.len() <= 16, "{} messages", bodies.len());
    let mut ids = BTreeSet::new();
    for body in &bodies {
        let single = std::slice::from_ref(body);
        let each = body["messages"].as_array().map_or(single, Vec::as_slice);
        for message in each {
            assert!(ids.insert(message["id"].to_string()), "each once");
            assert_eq!(message["title"].as_str().map(|title| title.starts_with("opened")), Some(true));
        }
    }
    assert_eq!(ids.len(), INCIDENTS);
    server.assert_kept();
}

#[tokio::test]
async fn tickets_share_an_issue_that_lists_them() {
    let (server, folder) = github::server().await;
    let world = world(github::settings(&server.url, &folder));
    assert_eq!(storm(&world, |name| ticket(name, 1)).await, INCIDENTS);
    let issues = github::issues(&server);
    assert!(issues.len() <= 10, "{} issues", issues.len());
    assert_eq!(spoken_of(issues.iter().map(|issue| issue.body.clone())).len(), INCIDENTS);
    server.assert_kept();
}

#[tokio::test]
async fn when_what_was_merged_fails_each_is_told_so_and_the_next_channel_has_them() {
    let (broken, good) = (Server::start(Hook::default()).await, Server::start(Hook::default()).await);
    broken.fail((0..40).map(|_| Fault::status(400)));
    let channels = json!([{"name": "broken", "webhook": {"url": broken.url}}, {"name": "good", "webhook": {"url": good.url}}]);
    let world = world(channels);
    assert_eq!(storm(&world, |name| page(name, 1)).await, INCIDENTS);
    assert_eq!((world.counted("broken", "failed"), world.counted("good", "delivered")), (500, 500));
    assert!(lock(&broken.rules.bodies).is_empty());
    let bodies = lock(&good.rules.bodies).clone();
    assert_eq!(spoken_of(bodies.iter().map(Value::to_string)).len(), INCIDENTS);
}

#[tokio::test]
async fn pages_overtake_what_only_informs() {
    let server = Server::start(Hook::default()).await;
    let world = world(json!([{"name": "hook", "webhook": {"url": server.url}, "per_minute": 6, "burst": 1}]));
    let announce = (0..5).map(|number| world.deliver(message(&format!("i{number}"), Moment::Opened, 1)));
    let (announced, paged) = tokio::join!(join_all(announce), world.deliver(page("p1", 1)));
    assert_eq!(paged.delivered, ["hook"]);
    assert!(announced.iter().all(|delivery| delivery.delivered == ["hook"]), "{announced:?}");
    let bodies = lock(&server.rules.bodies).clone();
    let at = bodies.iter().position(|body| body["urgency"] == "page").expect("the page");
    assert!(at <= 1, "only what was under way came before: {at}");
    assert!(bodies.len() <= 3, "the rest is one");
}
