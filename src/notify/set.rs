//! All channels together: who gets a message, in which order, and that no page ends in silence.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::alertmanager::Pager;
use super::channel::{Acknowledged, Channel, Probe};
use super::courier::Courier;
use super::dialect::Dialect;
use super::github::Github;
use super::gitlab::Gitlab;
use super::links::Origin;
use super::pagerduty::PagerDuty;
use super::pages::{OpenPage, blind_key};
use super::settings::{ChannelError, ChannelSettings, Kind};
use super::slack::Slack;
use super::slack_hook::SlackHook;
use super::tickets::Tickets;
use super::webhook::Webhook;
use super::words::Words;
use crate::metrics::Metrics;
use crate::model::{Delivery, IncidentId, Message, Operation, Urgency};
use crate::outgoing::Clients;
use crate::ports::{Clock, Control, ControlError, Notifier};

/// How often open pages are posted again.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// How often providers are asked who has acknowledged.
const ASK_EVERY: Duration = Duration::from_secs(15);
/// Errands (ends of pages, what follows an incident, acknowledgements passed on) that are under way at once.
const ERRANDS: usize = 2048;
/// How long the end of a page is waited for; it goes on in the background.
const PATIENCE: Duration = Duration::from_secs(60);

/// The configured channels, in the settings' order.
pub struct NotifierSet {
    couriers: Arc<Vec<Courier>>,
    clock: Arc<dyn Clock>,
    errands: Arc<Semaphore>,
    /// What the page without an incident is called.
    blind: IncidentId,
    keeper: JoinHandle<()>,
}

impl NotifierSet {
    /// Opens the channels and starts the task that keeps pages up, which ends with this. The origin names this installation (the
    /// cluster's name, say). Must be called inside a runtime.
    ///
    /// # Errors
    /// Names the channel whose settings cannot be used.
    pub fn new(
        clients: &Clients,
        channels: &[ChannelSettings],
        origin: impl Into<Origin>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ChannelError> {
        ChannelSettings::check(channels)?;
        metrics.channels(channels.iter().map(|channel| channel.name.as_str()));
        let origin = origin.into();
        let open = |settings: &ChannelSettings| {
            let channel = open(clients, settings, &origin, &clock)?;
            Ok(Courier::new(settings.clone(), channel, Arc::clone(&clock), Arc::clone(&metrics)))
        };
        let couriers = Arc::new(channels.iter().map(open).collect::<Result<Vec<_>, _>>()?);
        let blind = IncidentId(blind_key(&origin.instance));
        let keeper = tokio::spawn(keep(Arc::clone(&couriers), Arc::clone(&clock)));
        Ok(Self { couriers, clock, errands: Arc::new(Semaphore::new(ERRANDS)), blind, keeper })
    }

    /// The pages that are kept up, by all channels.
    pub fn open_pages(&self) -> Vec<OpenPage> {
        self.couriers.iter().flat_map(|courier| courier.channel().open_pages()).collect()
    }

    /// Asks every channel whether it could be used, without telling anybody anything. By name, in the settings' order.
    pub async fn probe(&self) -> Vec<(String, Probe)> {
        let each = self.couriers.iter().map(|courier| async { (courier.name().to_owned(), courier.channel().probe().await) });
        join_all(each).await
    }

    /// Brings what people acknowledge at the providers to the engine, until it is told to end.
    pub async fn bring_acknowledgements(&self, control: Arc<dyn Control>, drain: CancellationToken) {
        let bring = async {
            // What the engine could not take in is brought again.
            let mut waiting: Vec<(IncidentId, String)> = Vec::new();
            loop {
                self.clock.sleep(ASK_EVERY).await;
                let heard = join_all(self.couriers.iter().map(|courier| courier.channel().acknowledged())).await;
                for Acknowledged { incidents, by } in heard.into_iter().flatten() {
                    waiting.extend(incidents.into_iter().map(|incident| (incident, by.clone())));
                }
                let mut again = Vec::new();
                for (incident, by) in waiting.drain(..).take(ERRANDS) {
                    if !acknowledge(control.as_ref(), &incident, &by).await {
                        again.push((incident, by));
                    }
                }
                waiting = again;
            }
        };
        drain.run_until_cancelled(bring).await;
    }

    async fn bring(&self, message: Message) -> Delivery {
        let mut told = Told { message: &message, delivery: Delivery { delivered: Vec::new(), failed: Vec::new() } };
        let (named, others) = self.choose(&mut told);
        match message.urgency {
            Urgency::Announce => told.all(&named, &others).await,
            Urgency::Ticket | Urgency::Page => {
                told.first(&named, &others).await;
                if told.delivery.delivered.is_empty() {
                    // Nobody has it: what can be retried in the background is, besides the engine's own repetition.
                    named.iter().chain(&others).for_each(|courier| courier.channel().persist(&message));
                }
            }
        }
        if told.delivery.delivered.is_empty() && told.delivery.failed.is_empty() {
            let why = format!("no channel takes messages of the kind `{}`", kind(message.urgency));
            told.delivery.failed.push((Delivery::NOBODY.to_owned(), why));
        }
        told.delivery
    }

    /// What becomes of an incident goes to every channel that shows it already, also where this message goes elsewhere. It is no
    /// delivery: that a page stands in a thread has woken nobody.
    fn tell_followers(&self, message: Message, delivery: &Delivery) {
        if message.incident.is_none() {
            return;
        }
        let delivery = delivery.clone();
        let couriers = Arc::clone(&self.couriers);
        self.run(async move {
            let tried = |courier: &Courier| {
                let failed = delivery.failed.iter().any(|(name, _)| name == courier.name());
                delivery.delivered.iter().any(|name| name == courier.name()) || (failed && courier.takes(message.urgency))
            };
            join_all(couriers.iter().filter(|courier| !tried(courier)).map(|courier| async {
                if courier.channel().follows(&message).await
                    && let Err(why) = courier.deliver(&message).await
                {
                    tracing::warn!(
                        channel = courier.name(),
                        message = message.id,
                        why,
                        "what became of an incident was not told"
                    );
                }
            }))
            .await;
        });
    }

    /// Starts an errand; a handle to wait for it, unless there are too many already.
    fn run(&self, errand: impl Future<Output = ()> + Send + 'static) -> Option<JoinHandle<()>> {
        let Ok(permit) = Arc::clone(&self.errands).try_acquire_owned() else {
            tracing::warn!(limit = ERRANDS, "too many errands of channels at once; one was dropped");
            return None;
        };
        Some(tokio::spawn(async move {
            errand.await;
            drop(permit);
        }))
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
        let other =
            |courier: &&Courier| free && courier.takes(urgency) && !told.message.to.iter().any(|name| name == courier.name());
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
        Box::pin(async move {
            let delivery = self.bring(message.clone()).await;
            self.tell_followers(message, &delivery);
            delivery
        })
    }

    fn close_page(&self, incident: Option<IncidentId>) -> BoxFuture<'_, ()> {
        let incident = incident.unwrap_or_else(|| self.blind.clone());
        let couriers = Arc::clone(&self.couriers);
        let closing = self.run(async move {
            let pages = couriers.iter().filter(|courier| courier.takes(Urgency::Page));
            join_all(pages.map(|courier| courier.close(&incident))).await;
        });
        Box::pin(self.wait(closing))
    }

    fn acknowledge_page(&self, incident: IncidentId, by: String) -> BoxFuture<'_, ()> {
        let couriers = Arc::clone(&self.couriers);
        let telling = self.run(async move {
            join_all(couriers.iter().map(|courier| courier.acknowledge(&incident, &by))).await;
        });
        Box::pin(self.wait(telling))
    }
}

impl NotifierSet {
    async fn wait(&self, errand: Option<JoinHandle<()>>) {
        let Some(errand) = errand else { return };
        tokio::select! {
            _ = errand => {}
            () = self.clock.sleep(PATIENCE) => {}
        }
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
    origin: &Origin,
    clock: &Arc<dyn Clock>,
) -> Result<Box<dyn Channel>, ChannelError> {
    let name = &settings.name;
    let wrong = |why: String| ChannelError::Settings { name: name.clone(), why };
    let endpoint =
        |settings: &_| clients.endpoint(settings).map_err(|source| ChannelError::Endpoint { name: name.clone(), source });
    let words = |title, text| Words::new(name, (title, text), &settings.templates, origin).map_err(wrong);
    let plain = || words(Dialect::Plain, Dialect::Plain);
    Ok(match settings.kind() {
        Some(Kind::Alertmanager(alertmanager)) => {
            let peers = alertmanager.peers().iter().map(endpoint).collect::<Result<_, _>>()?;
            Box::new(Pager::new(name, plain()?, peers, Arc::clone(clock)))
        }
        Some(Kind::Webhook(webhook)) => Box::new(Webhook::new(endpoint(&webhook.endpoint())?, plain()?)),
        Some(Kind::PagerDuty(pagerduty)) => {
            let rest = pagerduty.rest().map(|rest| endpoint(&rest)).transpose()?;
            Box::new(PagerDuty::new(pagerduty, (endpoint(&pagerduty.events())?, rest), plain()?))
        }
        Some(Kind::Slack(slack)) => {
            let words = words(Dialect::Slack, Dialect::Slack)?;
            match &slack.channel {
                Some(channel) => Box::new(Slack::new(name, channel, endpoint(&slack.api())?, words)),
                None => Box::new(SlackHook::new(clients, slack, words)),
            }
        }
        Some(Kind::Github(github)) => {
            let tracker = Github::new(github, endpoint(&github.api())?);
            Box::new(Tickets::new(name, Box::new(tracker), words(Dialect::Title, Dialect::Markdown)?))
        }
        Some(Kind::Gitlab(gitlab)) => {
            let tracker = Gitlab::new(gitlab, endpoint(&gitlab.api())?);
            Box::new(Tickets::new(name, Box::new(tracker), words(Dialect::Title, Dialect::Markdown)?))
        }
        None => return Err(wrong("expected exactly one kind".to_owned())),
    })
}

/// A person said so at a provider: as good as if they had told us. Whether that is done with.
async fn acknowledge(control: &dyn Control, incident: &IncidentId, by: &str) -> bool {
    let operation = Operation::Acknowledge { incident: incident.clone(), by: by.to_owned() };
    match control.operate(operation.into()).await {
        Ok(_) => tracing::info!(%incident, by, "acknowledged"),
        Err(ControlError::Unavailable(why)) => {
            tracing::warn!(%incident, by, why, "an acknowledgement is not taken in yet");
            return false;
        }
        // Closed in between: nothing is left to have.
        Err(error) => tracing::debug!(%incident, by, %error, "not acknowledged"),
    }
    true
}

/// Posts open pages again each minute, for as long as there are channels. A failure is tried again a minute later; a provider that
/// wants silence keeps only its own channel waiting.
async fn keep(couriers: Arc<Vec<Courier>>, clock: Arc<dyn Clock>) {
    join_all(couriers.iter().map(|courier| async {
        loop {
            clock.sleep(KEEP_EVERY).await;
            courier.keep().await;
        }
    }))
    .await;
}
