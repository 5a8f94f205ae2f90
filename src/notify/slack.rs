//! A bot in Slack: one thread an incident. Its first message is kept up to date in place, what happens later is answered below it.
//! The threads of the last days are found again after a restart by the metadata of their first messages. The rules that it follows
//! stand in `docs/channels.md`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::channel::{Again, Channel, Probe, Refused, answered};
use super::digest;
use super::slack_blocks::{self, TITLE};
use super::slack_threads::Threads;
use super::words::{Words, Written};
use crate::model::{IncidentId, Message, Urgency};
use crate::outgoing::{Answer, Endpoint, Question, Unanswered};

const TIMEOUT: Duration = Duration::from_secs(10);
const JSON: &str = "application/json; charset=utf-8";
/// What our messages' metadata are called.
const EVENT: &str = "backout_incident";
/// How far back threads are looked for: so many pages of so many messages.
const PAGES: usize = 5;
const A_PAGE: &str = "200";
const DAYS: i64 = 7;

pub(super) struct Slack {
    name: String,
    channel: String,
    api: Endpoint,
    words: Words,
    threads: Mutex<Threads>,
}

impl Slack {
    pub(super) fn new(name: &str, channel: &str, api: Endpoint, words: Words) -> Self {
        Self { name: name.to_owned(), channel: channel.to_owned(), api, words, threads: Mutex::default() }
    }

    /// One message: the first of its incident begins a thread, any other goes into it.
    async fn tell(&self, message: &Message) -> Result<(), Refused> {
        let written = self.words.write(message);
        let Some(incident) = message.incident.as_ref().filter(|_| message.about.merged == 0) else {
            return self.post(self.body(message, &written, None)).await.map(|_| ());
        };
        // One at a time: two messages of one incident must not begin two threads.
        let mut threads = self.threads.lock().await;
        self.recall(&mut threads, message).await;
        if threads.has_told(&message.id) {
            return Ok(());
        }
        let Some(thread) = threads.of(incident) else {
            let posted = self.post(self.body(message, &written, None)).await;
            return self.began(&mut threads, message, posted);
        };
        match self.post(self.body(message, &written, Some(&thread))).await {
            Ok(_) => {}
            // Somebody deleted it.
            Err(refused) if refused.why.contains("thread_not_found") => {
                threads.forget(incident);
                let posted = self.post(self.body(message, &written, None)).await;
                return self.began(&mut threads, message, posted);
            }
            Err(refused) => return Err(refused),
        }
        threads.told(&message.id);
        drop(threads);
        self.update(message, &written, &thread).await;
        Ok(())
    }

    fn began(&self, threads: &mut Threads, message: &Message, posted: Result<String, Refused>) -> Result<(), Refused> {
        match posted {
            Ok(ts) => {
                message.incidents().into_iter().for_each(|incident| threads.begin(incident, &ts, message.at));
                threads.told(&message.id);
                Ok(())
            }
            Err(refused) => {
                // It may stand there: the next attempt looks first.
                threads.is_recalled &= !refused.is_doubtful();
                Err(refused)
            }
        }
    }

    /// Keeps the first message up to date. The news itself was told: what fails here is set right by the next one.
    async fn update(&self, message: &Message, written: &Written, ts: &str) {
        let mut body = self.body(message, written, None);
        body["ts"] = json!(ts);
        if let Err(refused) = self.call::<Posted>("chat.update", body).await {
            tracing::debug!(channel = self.name, why = refused.why, "the first message of a thread was not updated");
        }
    }

    async fn post(&self, body: Value) -> Result<String, Refused> {
        self.call::<Posted>("chat.postMessage", body).await.map(|posted| posted.ts)
    }

    fn body(&self, message: &Message, written: &Written, thread: Option<&str>) -> Value {
        let mut body = json!({
            "channel": self.channel,
            "text": slack_blocks::cut(&written.title, TITLE),
            "blocks": slack_blocks::of(&written.title, &message.about.state, &written.text),
            "unfurl_links": false,
            "unfurl_media": false,
            "metadata": {
                "event_type": EVENT,
                "event_payload": {
                    "instance": self.words.origin().instance,
                    "message": message.id,
                    "incidents": if message.about.merged == 0 { message.incidents() } else { Vec::new() },
                },
            },
        });
        if let Some(thread) = thread {
            body["thread_ts"] = json!(thread);
            // What asks for somebody must be seen by who does not follow the thread.
            body["reply_broadcast"] = json!(message.urgency != Urgency::Announce);
        }
        body
    }

    /// Finds the threads of before a restart, once; and what a lost answer may have begun.
    async fn recall(&self, threads: &mut Threads, message: &Message) {
        if threads.is_recalled {
            return;
        }
        let oldest = (message.at.millis() / 1000 - DAYS * 86_400).to_string();
        let mut cursor = String::new();
        for _ in 0..PAGES {
            let query = [
                ("channel", self.channel.as_str()),
                ("limit", A_PAGE),
                ("include_all_metadata", "true"),
                ("oldest", oldest.as_str()),
                ("cursor", cursor.as_str()),
            ];
            let question = Question { timeout: TIMEOUT, most_bytes: 16 << 20, ..Question::get("conversations.history", &query) };
            let history: History = match said(self.api.ask(question).await) {
                Ok(history) => history,
                Err(refused) => {
                    // A second thread is better than silence.
                    tracing::warn!(channel = self.name, why = refused.why, "earlier threads cannot be read; new ones begin");
                    break;
                }
            };
            for past in history.messages {
                self.remember(threads, past, message);
            }
            match history.response_metadata.next_cursor {
                next if next.is_empty() || !history.has_more => break,
                next => cursor = next,
            }
        }
        threads.is_recalled = true;
    }

    /// The history comes newest first: the first message of a thread is the one that is met last, and is no reply.
    fn remember(&self, threads: &mut Threads, past: Past, message: &Message) {
        let Some(payload) = past.metadata.filter(|metadata| metadata.event_type == EVENT).map(|metadata| metadata.event_payload)
        else {
            return;
        };
        let is_first = past.thread_ts.is_none_or(|thread| thread == past.ts);
        if payload.instance != self.words.origin().instance {
            return;
        }
        threads.told(&payload.message);
        if is_first {
            payload.incidents.iter().for_each(|incident| threads.begin(incident, &past.ts, message.at));
        }
    }

    async fn call<T: serde::de::DeserializeOwned>(&self, method: &str, body: Value) -> Result<T, Refused> {
        let body = serde_json::to_vec(&body).map_err(|error| Refused::never(error.to_string()))?;
        let question =
            Question { body: Some((JSON, Bytes::from(body))), timeout: TIMEOUT, ..Question::post_json(method, Bytes::new()) };
        said(self.api.ask(question).await)
    }

    async fn shows(&self, message: &Message) -> bool {
        let Some(incident) = &message.incident else { return false };
        let mut threads = self.threads.lock().await;
        self.recall(&mut threads, message).await;
        threads.of(incident).is_some()
    }

    async fn ready(&self) -> Probe {
        let question =
            Question { body: Some((JSON, Bytes::from_static(b"{}"))), timeout: TIMEOUT, ..Question::get("auth.test", &[]) };
        let known: Result<Identity, Refused> = said(self.api.ask(question).await);
        Probe::of(
            known.map(|identity| {
                format!("the token is that of `{}`; whether it may post in the channel shows then", identity.user)
            }),
        )
    }
}

impl Channel for Slack {
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(self.tell(message))
    }

    fn send_merged<'a>(&'a self, messages: &'a [Message]) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(async move { self.tell(&digest::merge(messages)).await })
    }

    fn follows<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, bool> {
        Box::pin(self.shows(message))
    }

    fn probe(&self) -> BoxFuture<'_, Probe> {
        Box::pin(self.ready())
    }
}

/// Slack says no with 200 and `ok: false`; its limits with 429.
pub(super) fn said<T: serde::de::DeserializeOwned>(answer: Result<Answer, Unanswered>) -> Result<T, Refused> {
    let answer = answered(answer)?;
    let unreadable = |error: serde_json::Error| Refused::again(format!("the answer cannot be read: {error}"));
    let said: Said = serde_json::from_slice(&answer.body).map_err(unreadable)?;
    if said.ok {
        return serde_json::from_slice(&answer.body).map_err(unreadable);
    }
    let error: String =
        said.error.unwrap_or_default().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(60).collect();
    let again = match error.as_str() {
        "ratelimited" | "rate_limited" => Again::Limited(answer.retry_after.unwrap_or(Duration::from_secs(30))),
        "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" | "team_added_to_org" => {
            Again::After(answer.retry_after)
        }
        _ => Again::Never,
    };
    Err(Refused { why: format!("Slack says `{error}`"), again })
}

#[derive(Deserialize)]
struct Said {
    ok: bool,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Deserialize)]
struct Posted {
    ts: String,
}

#[derive(Deserialize)]
struct Identity {
    user: String,
}

#[derive(Deserialize)]
struct History {
    messages: Vec<Past>,
    #[serde(default)]
    has_more: bool,
    #[serde(default)]
    response_metadata: Cursor,
}

#[derive(Default, Deserialize)]
struct Cursor {
    #[serde(default)]
    next_cursor: String,
}

#[derive(Deserialize)]
struct Past {
    ts: String,
    #[serde(default)]
    thread_ts: Option<String>,
    #[serde(default, deserialize_with = "ours")]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    event_type: String,
    event_payload: Payload,
}

#[derive(Deserialize)]
struct Payload {
    instance: String,
    message: String,
    #[serde(default)]
    incidents: Vec<IncidentId>,
}

/// Other apps' metadata have other shapes, and are none of ours.
fn ours<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Metadata>, D::Error> {
    let value = Value::deserialize(value)?;
    Ok(serde_json::from_value(value).ok())
}
