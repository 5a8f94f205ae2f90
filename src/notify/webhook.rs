//! The generic channel: one JSON document by POST. Its shape is public: `docs/webhook-channel.md`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::Serialize;

use super::channel::{Channel, Refused, taken};
use super::digest;
use super::links::Links;
use super::pages::dedup_key;
use super::words::{Own, Words};
use crate::model::Message;
use crate::outgoing::{Endpoint, Question};

/// The shape's version: raised when a field changes its meaning or goes.
const VERSION: &str = "1";
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Webhook {
    endpoint: Endpoint,
    words: Words,
}

/// What is sent.
#[derive(Serialize)]
struct Body<'a> {
    version: &'static str,
    /// Which installation speaks.
    instance: &'a str,
    /// The same for every message about one matter.
    dedup_key: &'a str,
    #[serde(flatten)]
    message: &'a Message,
    /// Where it leads.
    links: Links,
    /// The single messages that this one stands for.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    messages: &'a [Message],
    /// The time, readable.
    time: String,
}

impl Webhook {
    pub(super) fn new(endpoint: Endpoint, words: Words) -> Self {
        Self { endpoint, words }
    }

    async fn post(&self, mut message: Message, messages: &[Message]) -> Result<(), Refused> {
        let Own { title, text, links } = self.words.own(&message);
        message.title = title.unwrap_or(message.title);
        message.text = text.unwrap_or(message.text);
        let instance = self.words.origin().instance.as_str();
        let (dedup_key, time) = (&dedup_key(&message, instance), message.at.to_string());
        let body = Body { version: VERSION, instance, dedup_key, message: &message, links, messages, time };
        let body = serde_json::to_vec(&body).map_err(|error| Refused::never(error.to_string()))?;
        let headers = [("idempotency-key", message.id.as_str())];
        let question = Question { headers: &headers, timeout: TIMEOUT, ..Question::post_json("", Bytes::from(body)) };
        taken(self.endpoint.ask(question).await)
    }
}

impl Channel for Webhook {
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(self.post(message.clone(), &[]))
    }

    fn send_merged<'a>(&'a self, messages: &'a [Message]) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(self.post(digest::merge(messages), messages))
    }
}
