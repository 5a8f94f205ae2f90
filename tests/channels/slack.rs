//! Stories of a Slack channel.

use std::time::Duration;

use backout::model::{Message, Moment};
use backout::notify::Probe;
use serde_json::{Value, json};

use crate::server::{Fault, Reply, Server, lock};
use crate::slack_server::{CHANNEL, HOOK, Slack, TOKEN};
use crate::support::eventually;
use crate::world::{World, message, page, secret};

const SOON: Duration = Duration::from_secs(20);

struct Bed {
    server: Server<Slack>,
    world: World,
    folder: tempfile::TempDir,
}

impl Bed {
    async fn set() -> Self {
        Self::with(Slack::default()).await
    }

    async fn with(rules: Slack) -> Self {
        let (server, folder) = (Server::start(rules).await, tempfile::tempdir().expect("a folder"));
        let world = World::new(settings(&server.url, &folder));
        Self { server, world, folder }
    }

    /// After a restart, on the same clock.
    fn restarted(&self) -> World {
        World::at(self.world.clock.clone(), settings(&self.server.url, &self.folder))
    }
}

fn settings(url: &str, folder: &tempfile::TempDir) -> Value {
    let token = secret(folder, "token", TOKEN);
    json!([{"name": "chat", "slack": {"token_file": token, "channel": CHANNEL, "api_url": format!("{url}/api")}}])
}

/// Waits until the first message of the only thread was brought up to date so often.
async fn updated(server: &Server<Slack>, times: usize) {
    eventually("the first message is up to date", SOON, async || match server.rules.roots()[0].edits {
        edits if edits >= times => Ok(()),
        edits => Err(format!("{edits} times")),
    })
    .await;
}

#[tokio::test]
async fn an_incident_is_one_thread_whose_first_message_shows_the_state() {
    let Bed { server, world, folder: _folder } = Bed::set().await;
    world.delivered(message("i1", Moment::Opened, 1)).await;
    world.delivered(message("i2", Moment::Opened, 1)).await;
    let mut closed = message("i1", Moment::Closed, 2);
    closed.about.state = "closed".to_owned();
    world.delivered(closed).await;
    updated(&server, 1).await;
    let (roots, replies) = (server.rules.roots(), server.rules.replies());
    assert_eq!((roots.len(), replies.len()), (2, 1));
    assert_eq!(replies[0].thread.as_ref(), Some(&roots[0].ts));
    assert!(roots[0].text().contains("closed: web") && roots[0].text().contains("`closed`"), "{}", roots[0].text());
    assert!(roots[0].text().contains("<https://runbook.example/%28errors%29|runbook>"), "{}", roots[0].text());
    assert!(!replies[0].broadcast, "nobody is asked for anything");
    assert_eq!(*lock(&server.rules.too_fast), 0, "one message a second");
    server.assert_kept();
}

#[tokio::test]
async fn the_thread_is_found_again_after_a_restart() {
    // The history comes in small pages: the thread is not on the first.
    let bed = Bed::with(Slack::in_pages_of(2)).await;
    for incident in ["i1", "i2", "i3"] {
        bed.world.delivered(message(incident, Moment::Opened, 1)).await;
    }
    let after = bed.restarted();
    after.delivered(message("i1", Moment::Closed, 2)).await;
    let (roots, replies) = (bed.server.rules.roots(), bed.server.rules.replies());
    assert_eq!((roots.len(), replies.len()), (3, 1));
    assert_eq!(replies[0].thread.as_ref(), Some(&roots[0].ts));
    // Said again after the restart: it stands there.
    after.delivered(message("i2", Moment::Opened, 1)).await;
    assert_eq!(bed.server.rules.roots().len(), 3);
    bed.server.assert_kept();
}

#[tokio::test]
async fn a_lost_answer_begins_no_second_thread() {
    let Bed { server, world, folder: _folder } = Bed::set().await;
    world.delivered(message("i0", Moment::Opened, 1)).await;
    server.fail([Fault::Lost]);
    world.delivered(message("i1", Moment::Opened, 1)).await;
    assert_eq!(server.rules.roots().len(), 2, "it was looked for before it was said again");
    assert!(world.counted("chat", "retried") >= 1);
    server.assert_kept();
}

#[tokio::test]
async fn a_page_that_goes_elsewhere_shows_in_the_thread_too() {
    let Bed { server, world, folder: _folder } = Bed::set().await;
    world.delivered(message("i1", Moment::Opened, 1)).await;
    let delivery = world.deliver(page("i1", 2)).await;
    assert!(delivery.delivered.is_empty(), "a thread has woken nobody: {delivery:?}");
    eventually("it is in the thread", SOON, async || match server.rules.replies().len() {
        1 => Ok(()),
        replies => Err(format!("{replies} replies")),
    })
    .await;
    assert!(server.rules.replies()[0].broadcast, "who is needed must see it");
    let delivery = world.deliver(page("i2", 1)).await;
    assert!(delivery.delivered.is_empty());
    updated(&server, 1).await;
    assert_eq!(server.rules.roots().len(), 1, "an incident that it does not show begins no thread by a page");
}

#[tokio::test]
async fn a_no_that_comes_with_200_is_understood() {
    let Bed { server, world, folder: _folder } = Bed::set().await;
    let no = |error: &str| Fault::Answer(Reply::new(200, json!({"ok": false, "error": error})));
    // The first question is for the history: it cannot be read, and a thread begins nevertheless.
    server.fail([no("missing_scope"), no("internal_error"), no("ratelimited"), Fault::wait(429, 3), Fault::status(503)]);
    world.delivered(message("i1", Moment::Opened, 1)).await;
    assert_eq!(server.rules.roots().len(), 1);
    for error in ["channel_not_found", "invalid_auth", "not_in_channel", "is_archived", "msg_too_long"] {
        let before = server.requests().len();
        server.fail([no(error)]);
        let delivery = world.deliver(message("i2", Moment::Opened, 1)).await;
        assert!(delivery.failed[0].1.contains(&format!("Slack says `{error}`")), "{delivery:?}");
        assert_eq!(server.requests().len(), before + 1, "never again");
    }
}

#[tokio::test]
async fn a_thread_that_somebody_deleted_begins_anew() {
    let Bed { server, world, folder: _folder } = Bed::set().await;
    world.delivered(message("i1", Moment::Opened, 1)).await;
    lock(&server.rules.messages).clear();
    world.delivered(message("i1", Moment::Decided, 2)).await;
    assert_eq!((server.rules.roots().len(), server.rules.replies().len()), (1, 0));
    server.assert_kept();
}

#[tokio::test]
async fn whatever_a_message_says_it_fits_and_mentions_nobody() {
    let Bed { server, world, folder: _folder } = Bed::set().await;
    let title = "<!channel> & ".repeat(200);
    world.delivered(Message { text: "<@U1> & x\n".repeat(20_000), title, ..message("i1", Moment::Opened, 1) }).await;
    let text = "&".repeat(30_000);
    world.delivered(Message { text, ..message("i2", Moment::Opened, 1) }).await;
    server.assert_kept();
}

#[tokio::test]
async fn a_webhook_announces_without_threads_and_keeps_its_address() {
    let (server, folder) = (Server::start(Slack::default()).await, tempfile::tempdir().expect("a folder"));
    let url = secret(&folder, "url", &format!("{}{HOOK}", server.url));
    let world = World::new(json!([{"name": "hook", "slack": {"webhook_url_file": url}}]));
    world.delivered(message("i1", Moment::Opened, 1)).await;
    world.delivered(message("i1", Moment::Closed, 2)).await;
    assert_eq!(server.rules.roots().len(), 2);
    server.fail([Fault::status(404)]);
    let failed = world.deliver(message("i1", Moment::Closed, 3)).await.failed;
    secret(&folder, "url", "no address: secretsecretsecret");
    let unusable = world.deliver(message("i1", Moment::Closed, 4)).await.failed;
    // Nobody listens there any more.
    let closed = format!("http://127.0.0.1:{}{HOOK}", crate::support::free_port());
    secret(&folder, "url", &closed);
    let unreachable = world.deliver(message("i1", Moment::Closed, 5)).await.failed;
    for why in [failed, unusable, unreachable].map(|failed| failed[0].1.clone()) {
        assert!(!why.contains("secretsecret") && !why.contains("T000"), "{why}");
    }
    assert!(matches!(&world.set.probe().await[0].1, Probe::Unasked(_)));
    server.assert_kept();
}

#[tokio::test]
async fn it_can_be_asked_without_telling_anybody() {
    let Bed { server, world, folder } = Bed::set().await;
    assert!(matches!(&world.set.probe().await[0].1, Probe::Usable(why) if why.contains("`backout`")));
    server.fail([Fault::Answer(Reply::new(200, json!({"ok": false, "error": "account_inactive"})))]);
    assert!(matches!(&world.set.probe().await[0].1, Probe::Unusable(why) if why.contains("account_inactive")));
    std::fs::remove_file(folder.path().join("token")).expect("removed");
    assert!(matches!(&world.set.probe().await[0].1, Probe::Unusable(why) if why.contains("cannot read the secret")));
    assert!(server.rules.roots().is_empty());
}
