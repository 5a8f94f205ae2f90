//! Pages through PagerDuty: Events API v2 (trigger, acknowledge, resolve), and its REST API to read back who took a page. The rules
//! that it follows stand in `docs/channels.md`. Which of our pages are open over there is remembered here, in memory: after a
//! restart the engine delivers its open pages again.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::channel::{Acknowledged, Channel, Probe, Refused, answered, read, taken};
use super::dialect::{Dialect, cut, one_line};
use super::kinds::{PagerDutyChannel, PagerDutySeverity};
use super::links::Commands;
use super::pagerduty_pages::PagesOut;
use super::pages::dedup_key;
use super::words::{Words, Written};
use crate::model::{IncidentId, Message};
use crate::outgoing::{Endpoint, Question, secret};

const TIMEOUT: Duration = Duration::from_secs(10);
/// "The maximum permitted length of this property is 1024 characters."
const SUMMARY: usize = 1024;
/// The text among the details. With ten alerts it stays far below the 512 kB that an event may have.
const TEXT: usize = 32_000;
/// Above this the alerts are left out.
const EVENT_BYTES: usize = 500_000;
/// A routing key's length.
const ROUTING_KEY: usize = 32;
/// How many pages are asked about in one turn.
const ASKED: usize = 20;
const ACCEPT: (&str, &str) = ("accept", "application/vnd.pagerduty+json;version=2");

pub(super) struct PagerDuty {
    settings: PagerDutyChannel,
    events: Endpoint,
    rest: Option<Endpoint>,
    words: Words,
    out: Mutex<PagesOut>,
    /// Whether it was said that acknowledgements cannot be read.
    is_deaf: AtomicBool,
}

impl PagerDuty {
    pub(super) fn new(settings: &PagerDutyChannel, (events, rest): (Endpoint, Option<Endpoint>), words: Words) -> Self {
        let rest = rest.map(|rest| rest.with_token_scheme("Token token="));
        Self { settings: settings.clone(), events, rest, words, out: Mutex::default(), is_deaf: AtomicBool::new(false) }
    }

    async fn trigger(&self, message: &Message) -> Result<(), Refused> {
        let own = dedup_key(message, &self.words.origin().instance);
        let lead = self.out().lead_of(message).unwrap_or(own);
        // An event for a page that somebody has would wake nobody: whether somebody has it must be known first.
        let known = self.out().current_key(&lead);
        if let (Some(key), Some(rest)) = (known, &self.rest)
            && let Ok(Some(_)) = who_has(rest, &key).await
        {
            self.out().taken_by_somebody(&lead);
        }
        let key = self.out().key_for(&lead);
        let written = self.words.write(message);
        self.enqueue("trigger", &key, Some(self.details(message, &written))).await?;
        self.out().triggered(&lead, message);
        Ok(())
    }

    async fn resolve(&self, incident: &IncidentId) -> Result<(), Refused> {
        let keys = self.out().keys_to_resolve(incident);
        for key in &keys {
            self.enqueue("resolve", key, None).await?;
        }
        if !keys.is_empty() {
            self.out().resolved(incident);
        }
        Ok(())
    }

    async fn pass_on(&self, incident: &IncidentId) -> Result<(), Refused> {
        let Some(key) = self.out().key_to_acknowledge(incident) else { return Ok(()) };
        self.enqueue("acknowledge", &key, None).await?;
        let mut out = self.out();
        if let Some(lead) = out.lead_with(incident) {
            out.taken_by_somebody(&lead);
        }
        Ok(())
    }

    async fn enqueue(&self, action: &str, key: &str, details: Option<Value>) -> Result<(), Refused> {
        let routing_key = self.routing_key().await?;
        let mut event = details.unwrap_or_else(|| json!({}));
        event["routing_key"] = json!(routing_key);
        event["event_action"] = json!(action);
        event["dedup_key"] = json!(key);
        let body = serde_json::to_vec(&event).map_err(|error| Refused::never(error.to_string()))?;
        let question = Question { timeout: TIMEOUT, ..Question::post_json("v2/enqueue", Bytes::from(body)) };
        taken(self.events.ask(question).await)
    }

    async fn routing_key(&self) -> Result<String, Refused> {
        let file: &PathBuf = &self.settings.routing_key_file;
        let key = secret(file).await.map_err(|why| Refused::never(why.to_string()))?;
        if key.len() == ROUTING_KEY && key.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Ok(key);
        }
        Err(Refused::never(format!("`{}` holds no routing key; expected {ROUTING_KEY} letters and digits", file.display())))
    }

    /// What only a trigger has.
    fn details(&self, message: &Message, written: &Written) -> Value {
        let origin = self.words.origin();
        let place = message.target.as_ref().map(ToString::to_string);
        let links: Vec<Value> = written.links.named().iter().map(|(name, href)| json!({"href": href, "text": name})).collect();
        let mut event = json!({
            "client": "backout",
            "links": links,
            "payload": {
                "summary": cut(&one_line(&written.title), SUMMARY),
                "source": place.clone().unwrap_or_else(|| origin.instance.clone()),
                "severity": self.severity(&message.severity),
                "timestamp": message.at.to_string(),
                "class": message.moment.as_str(),
                "custom_details": {
                    "text": cut(&written.text, TEXT),
                    "instance": origin.instance,
                    "incidents": message.incidents(),
                    "policy": message.policy,
                    "state": message.about.state,
                    "plan": message.about.plan,
                    "labels": message.labels,
                    "commands": Commands::of(message, origin),
                    "alerts": message.about.alerts.iter().map(|alert| &alert.labels).collect::<Vec<_>>(),
                },
            },
        });
        if let Some(target) = &message.target {
            event["payload"]["component"] = json!(target.name);
            event["payload"]["group"] = json!(target.namespace);
        }
        if let Some(url) = &written.links.incident {
            event["client_url"] = json!(url);
        }
        if event.to_string().len() > EVENT_BYTES {
            event["payload"]["custom_details"]["alerts"] = json!("left out: too large");
        }
        event
    }

    /// The settings' word for a severity, else PagerDuty's own; what is unknown is not made quieter.
    fn severity(&self, severity: &str) -> PagerDutySeverity {
        if let Some(severity) = self.settings.severities.get(severity) {
            return *severity;
        }
        match severity.to_ascii_lowercase().as_str() {
            "error" | "high" | "major" => PagerDutySeverity::Error,
            "warning" | "warn" | "medium" | "minor" => PagerDutySeverity::Warning,
            "info" | "low" | "none" => PagerDutySeverity::Info,
            _ => PagerDutySeverity::Critical,
        }
    }

    /// Asks about pages that nobody has yet; only while there are some.
    async fn ask(&self) -> Vec<Acknowledged> {
        let Some(rest) = &self.rest else { return Vec::new() };
        let mut heard = Vec::new();
        let due = self.out().next_to_ask(ASKED);
        for (lead, key) in due {
            match who_has(rest, &key).await {
                Ok(Some(by)) => {
                    let incidents = self.out().taken_by_somebody(&lead);
                    heard.push(Acknowledged { incidents, by });
                    self.is_deaf.store(false, Ordering::Relaxed);
                }
                Ok(None) => self.is_deaf.store(false, Ordering::Relaxed),
                Err(refused) => {
                    if !self.is_deaf.swap(true, Ordering::Relaxed) {
                        tracing::warn!(why = refused.why, "PagerDuty does not say who has acknowledged; it is asked again");
                    }
                    // The next ones would hear the same.
                    break;
                }
            }
        }
        heard
    }

    async fn ready(&self) -> Probe {
        if let Err(refused) = self.routing_key().await {
            return Probe::Unusable(refused.why);
        }
        let Some(rest) = &self.rest else {
            return Probe::Unasked(
                "the routing key can be read; whether PagerDuty knows it shows with the first page".to_owned(),
            );
        };
        let question = Question { headers: &[ACCEPT], timeout: TIMEOUT, ..Question::get("abilities", &[]) };
        let known = answered(rest.ask(question).await);
        Probe::of(known.map(|_| "the token of the REST API is accepted; the routing key can be read".to_owned()))
    }

    /// Held for operations on a map only, which leave nothing half done: a poisoned lock is as good as any.
    fn out(&self) -> MutexGuard<'_, PagesOut> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Channel for PagerDuty {
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(self.trigger(message))
    }

    fn close<'a>(&'a self, incident: &'a IncidentId) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(self.resolve(incident))
    }

    fn has_to_close(&self, incident: &IncidentId) -> bool {
        !self.out().has_others(incident)
    }

    fn acknowledge<'a>(&'a self, incident: &'a IncidentId, _by: &'a str) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(self.pass_on(incident))
    }

    fn acknowledged(&self) -> BoxFuture<'_, Vec<Acknowledged>> {
        Box::pin(self.ask())
    }

    fn probe(&self) -> BoxFuture<'_, Probe> {
        Box::pin(self.ready())
    }
}

/// The person who acknowledged the page of a key, if somebody has. Only people count: an integration may be our own echo.
async fn who_has(rest: &Endpoint, key: &str) -> Result<Option<String>, Refused> {
    let query = [("incident_key", key), ("statuses[]", "acknowledged")];
    let question = Question { headers: &[ACCEPT], timeout: TIMEOUT, most_bytes: 4 << 20, ..Question::get("incidents", &query) };
    let listed: Listed = read(rest.ask(question).await)?;
    let acknowledgements = listed.incidents.into_iter().filter(|incident| incident.status == "acknowledged");
    let mut people = acknowledgements
        .flat_map(|incident| incident.acknowledgements)
        .filter(|acknowledgement| acknowledgement.acknowledger.kind.starts_with("user"));
    let name = |acknowledgement: Acknowledgement| {
        let name = Dialect::Plain.escape()(&acknowledgement.acknowledger.summary);
        format!("{} (PagerDuty)", cut(name.lines().next().unwrap_or("somebody"), 100))
    };
    Ok(people.next_back().map(name))
}

/// `GET /incidents`, as far as it is needed.
#[derive(Deserialize)]
struct Listed {
    incidents: Vec<ListedIncident>,
}

#[derive(Deserialize)]
struct ListedIncident {
    status: String,
    #[serde(default)]
    acknowledgements: Vec<Acknowledgement>,
}

#[derive(Deserialize)]
struct Acknowledgement {
    acknowledger: Acknowledger,
}

#[derive(Deserialize)]
struct Acknowledger {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    summary: String,
}
