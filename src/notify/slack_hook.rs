//! An incoming webhook of Slack: announcements without threads. Its address is a secret, and is read from its file each time.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::channel::{Channel, Probe, Refused, taken};
use super::kinds::SlackChannel;
use super::slack_blocks::{self, TITLE};
use super::words::Words;
use crate::model::Message;
use crate::outgoing::{Clients, Endpoint, Question, secret};

const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct SlackHook {
    clients: Clients,
    settings: SlackChannel,
    words: Words,
}

impl SlackHook {
    pub(super) fn new(clients: &Clients, settings: &SlackChannel, words: Words) -> Self {
        Self { clients: clients.clone(), settings: settings.clone(), words }
    }

    async fn post(&self, message: &Message) -> Result<(), Refused> {
        let written = self.words.write(message);
        let body = json!({
            "text": slack_blocks::cut(&written.title, TITLE),
            "blocks": slack_blocks::of(&written.title, &message.about.state, &written.text),
            "unfurl_links": false,
            "unfurl_media": false,
        });
        let body = serde_json::to_vec(&body).map_err(|error| Refused::never(error.to_string()))?;
        let endpoint = self.endpoint().await?;
        let body = Some(("application/json; charset=utf-8", Bytes::from(body)));
        taken(endpoint.ask(Question { body, timeout: TIMEOUT, ..Question::post_json("", Bytes::new()) }).await)
    }

    /// The error names the file, never the address.
    async fn endpoint(&self) -> Result<Endpoint, Refused> {
        let Some(file) = &self.settings.webhook_url_file else { return Err(Refused::never("it has no `webhook_url_file`")) };
        let url = secret(file).await.map_err(|why| Refused::never(why.to_string()))?;
        let wrong = || {
            let file = file.display();
            Refused::never(format!(
                "`{file}` holds no address of an incoming webhook; expected `https://hooks.slack.com/services/…`"
            ))
        };
        self.clients.endpoint(&self.settings.hook(&url)).map_err(|_| wrong())
    }

    async fn ready(&self) -> Probe {
        match self.endpoint().await {
            Ok(_) => Probe::Unasked("the address can be read; whether Slack knows it shows with the first message".to_owned()),
            Err(refused) => Probe::Unusable(refused.why),
        }
    }
}

impl Channel for SlackHook {
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(self.post(message))
    }

    fn probe(&self) -> BoxFuture<'_, Probe> {
        Box::pin(self.ready())
    }
}
