//! All channels together: who gets a message, in which order, and that no page ends in silence.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::task::JoinHandle;

use super::alertmanager::Pager;
use super::channel::Channel;
use super::courier::Courier;
use super::pages::{OpenPage, blind_key};
use super::settings::{ChannelError, ChannelSettings};
use super::webhook::Webhook;
use crate::metrics::Metrics;
use crate::model::{Delivery, IncidentId, Message, Urgency};
use crate::outgoing::Clients;
use crate::ports::{Clock, Notifier};

/// How often open pages are posted again.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// The configured channels, in the settings' order.
pub struct NotifierSet {
    couriers: Arc<Vec<Courier>>,
    /// What the page without an incident is called.
    blind: IncidentId,
    keeper: JoinHandle<()>,
}

impl NotifierSet {
    /// Opens the channels and starts the task that keeps pages up, which ends with this. `instance` names this installation in
    /// messages that no incident has (the cluster's name, say). Must be called inside a runtime.
    ///
    /// # Errors
    /// Names the channel whose settings cannot be used.
    pub fn new(
        clients: &Clients,
        channels: &[ChannelSettings],
        instance: &str,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ChannelError> {
        ChannelSettings::check(channels)?;
        metrics.channels(channels.iter().map(|channel| channel.name.as_str()));
        let open = |settings: &ChannelSettings| {
            let channel = open(clients, settings, instance, &clock)?;
            Ok(Courier::new(settings.clone(), channel, Arc::clone(&clock), Arc::clone(&metrics)))
        };
        let couriers = Arc::new(channels.iter().map(open).collect::<Result<Vec<_>, _>>()?);
        let keeper = tokio::spawn(keep(Arc::clone(&couriers), clock));
        Ok(Self { couriers, blind: IncidentId(blind_key(instance)), keeper })
    }

    /// The pages that are kept up, by all channels.
    pub fn open_pages(&self) -> Vec<OpenPage> {
        self.couriers.iter().flat_map(|courier| courier.channel.open_pages()).collect()
    }

    async fn bring(&self, message: Message) -> Delivery {
        let mut told = Told { message: &message, delivery: Delivery { delivered: Vec::new(), failed: Vec::new() } };
        let (named, others) = self.choose(&mut told);
        match message.urgency {
            Urgency::Announce => told.all(&named, &others).await,
            Urgency::Ticket => told.first(&named, &others).await,
            Urgency::Page => {
                told.first(&named, &others).await;
                if told.delivery.delivered.is_empty() {
                    // Nobody has it: what can be retried in the background is, besides the engine's own repetition.
                    named.iter().chain(&others).for_each(|courier| courier.channel.persist(&message));
                }
            }
        }
        if told.delivery.delivered.is_empty() && told.delivery.failed.is_empty() {
            let why = format!("no channel takes messages of the kind `{}`", kind(message.urgency));
            told.delivery.failed.push(("none".to_owned(), why));
        }
        told.delivery
    }

    /// The channels that the message names, and those that may be used besides. What cannot be used is noted as failed.
    fn choose(&self, told: &mut Told<'_>) -> (Vec<&Courier>, Vec<&Courier>) {
        let urgency = told.message.urgency;
        let mut named = Vec::new();
        for name in &told.message.to {
            match self.couriers.iter().find(|courier| courier.name() == name) {
                Some(courier) if courier.takes(urgency) => named.push(courier),
                Some(_) => told.fail(name, format!("it does not take messages of the kind `{}`", kind(urgency))),
                None => told.fail(name, "there is no such channel".to_owned()),
            }
        }
        let free = told.message.to.is_empty() || urgency == Urgency::Page;
        let other = |courier: &&Courier| free && courier.takes(urgency) && !told.message.to.contains(&courier.settings.name);
        (named, self.couriers.iter().filter(other).collect())
    }
}

impl Drop for NotifierSet {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Notifier for NotifierSet {
    fn deliver(&self, message: Message) -> BoxFuture<'_, Delivery> {
        Box::pin(self.bring(message))
    }

    fn close_page(&self, incident: Option<IncidentId>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let key = incident.as_ref().unwrap_or(&self.blind);
            join_all(self.couriers.iter().map(|courier| courier.channel.close(key))).await;
        })
    }
}

/// A message on its way, and who has it.
struct Told<'a> {
    message: &'a Message,
    delivery: Delivery,
}

impl Told<'_> {
    /// To all of them.
    async fn all(&mut self, named: &[&Courier], others: &[&Courier]) {
        let each = named.iter().chain(others);
        let ended = join_all(each.clone().map(|courier| courier.deliver(self.message))).await;
        for (courier, ended) in each.zip(ended) {
            self.note(courier, ended);
        }
    }

    /// To all that are named; when none of them has it, to the others in order until one has.
    async fn first(&mut self, named: &[&Courier], others: &[&Courier]) {
        self.all(named, &[]).await;
        for courier in others {
            if !self.delivery.delivered.is_empty() {
                return;
            }
            let ended = courier.deliver(self.message).await;
            self.note(courier, ended);
        }
    }

    fn note(&mut self, courier: &Courier, ended: Result<(), String>) {
        match ended {
            Ok(()) => self.delivery.delivered.push(courier.name().to_owned()),
            Err(why) => self.fail(courier.name(), why),
        }
    }

    fn fail(&mut self, channel: &str, why: String) {
        self.delivery.failed.push((channel.to_owned(), why));
    }
}

fn kind(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::Announce => "announce",
        Urgency::Ticket => "ticket",
        Urgency::Page => "page",
    }
}

fn open(
    clients: &Clients,
    settings: &ChannelSettings,
    instance: &str,
    clock: &Arc<dyn Clock>,
) -> Result<Box<dyn Channel>, ChannelError> {
    let name = &settings.name;
    let endpoint =
        |settings: &_| clients.endpoint(settings).map_err(|source| ChannelError::Endpoint { name: name.clone(), source });
    match (&settings.alertmanager, &settings.webhook) {
        (Some(alertmanager), None) => {
            let peers = alertmanager.peers().iter().map(endpoint).collect::<Result<_, _>>()?;
            Ok(Box::new(Pager::new(name, instance, peers, Arc::clone(clock))))
        }
        (None, Some(webhook)) => Ok(Box::new(Webhook::new(endpoint(&webhook.endpoint())?, instance))),
        _ => Err(ChannelError::Settings {
            name: name.clone(),
            why: "expected exactly one of `alertmanager` and `webhook`".to_owned(),
        }),
    }
}

/// Posts open pages again each minute, for as long as there are channels. A failure is tried again a minute later.
async fn keep(couriers: Arc<Vec<Courier>>, clock: Arc<dyn Clock>) {
    loop {
        clock.sleep(KEEP_EVERY).await;
        join_all(couriers.iter().map(|courier| courier.channel.keep())).await;
    }
}
