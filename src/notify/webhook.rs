//! The generic channel: one JSON document by POST. Its shape is public: `docs/webhook-channel.md`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::Serialize;

use super::channel::{Channel, Refused, taken};
use crate::model::Message;
use crate::outgoing::{Endpoint, Question};

/// The shape's version: raised when a field changes its meaning or goes.
const VERSION: &str = "1";
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Webhook {
    endpoint: Endpoint,
    instance: String,
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
    /// The time, readable.
    time: String,
}

impl Webhook {
    pub(super) fn new(endpoint: Endpoint, instance: &str) -> Self {
        Self { endpoint, instance: instance.to_owned() }
    }
}

impl Channel for Webhook {
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(async move {
            let dedup_key = super::pages::dedup_key(message, &self.instance);
            let body =
                Body { version: VERSION, instance: &self.instance, dedup_key: &dedup_key, message, time: message.at.to_string() };
            let body = serde_json::to_vec(&body).map_err(|error| Refused::never(error.to_string()))?;
            let headers = [("idempotency-key", message.id.as_str())];
            let question = Question { headers: &headers, timeout: TIMEOUT, ..Question::post_json("", Bytes::from(body)) };
            taken(self.endpoint.ask(question).await)
        })
    }
}
