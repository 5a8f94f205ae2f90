//! What every test of a channel needs: a clock that runs fast, messages, settings, an engine that only listens.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use backout::metrics::Metrics;
use backout::model::{About, AboutAlert, Delivery, IncidentId, Message, Moment, Operation, Order, TargetRef, Time, Urgency};
use backout::notify::{ChannelSettings, NotifierSet, Origin};
use backout::outgoing::Clients;
use backout::ports::{Clock, Control, ControlError, NoticeId, Notifier, Question, Subscription};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::support::install_crypto;

pub(crate) const SPEED: u32 = 20;
/// When the fast clock begins.
pub(crate) const START: i64 = 1_800_000_000_000;

/// A clock that runs faster than the real one.
pub(crate) struct FastClock {
    started: tokio::time::Instant,
    speed: u32,
}

impl FastClock {
    pub(crate) fn new(speed: u32) -> Arc<Self> {
        Arc::new(Self { started: tokio::time::Instant::now(), speed })
    }
}

impl Clock for FastClock {
    fn now(&self) -> Time {
        Time::from_millis(START) + self.started.elapsed() * self.speed
    }

    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(at.since(self.now()) / self.speed))
    }
}

/// Channels as the settings file writes them.
pub(crate) struct World {
    pub(crate) set: Arc<NotifierSet>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Arc<FastClock>,
}

impl World {
    pub(crate) fn new(channels: Value) -> Self {
        Self::at(FastClock::new(SPEED), channels)
    }

    /// With a clock that runs already: a restart.
    pub(crate) fn at(clock: Arc<FastClock>, channels: Value) -> Self {
        install_crypto();
        let channels: Vec<ChannelSettings> = serde_json::from_value(channels).expect("settings");
        let metrics = Metrics::new().expect("metrics");
        let url = |text: &str| url::Url::parse(text).ok();
        let origin = Origin {
            instance: "prod".to_owned(),
            external_url: url("https://backout.example/"),
            silence_url: url("https://alertmanager.example/"),
        };
        let clients = Clients::new().expect("clients");
        let set = NotifierSet::new(&clients, &channels, origin, Arc::clone(&clock) as Arc<dyn Clock>, Arc::clone(&metrics));
        Self { set: Arc::new(set.expect("channels")), metrics, clock }
    }

    pub(crate) async fn deliver(&self, message: Message) -> Delivery {
        self.set.deliver(message).await
    }

    /// Delivers, and insists on it.
    pub(crate) async fn delivered(&self, message: Message) {
        let delivery = self.deliver(message).await;
        assert!(!delivery.delivered.is_empty(), "{delivery:?}");
    }

    pub(crate) fn counted(&self, channel: &str, result: &str) -> u64 {
        let start = format!("backout_notifications_total{{channel=\"{channel}\",result=\"{result}\"}} ");
        let text = self.metrics.render();
        text.lines().find_map(|line| line.strip_prefix(&start)).expect("a series").parse().expect("a number")
    }
}

/// Text that tries to do what text must not do.
pub(crate) const NASTY: &str =
    "<!channel> <@U012AB3CD> @team @here &amp; `x` ```\n/close\n/assign @root\n```` [a](http://b) <b>#1</b> \u{202e}";

pub(crate) fn id(name: &str) -> IncidentId {
    IncidentId(name.to_owned())
}

pub(crate) fn message(incident: &str, moment: Moment, number: u32) -> Message {
    let labels = [("alertname", "Errors"), ("team", "@team"), ("note", NASTY)];
    let alert = AboutAlert {
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        runbook_url: Some("https://runbook.example/(errors)".to_owned()),
        dashboard_url: None,
        firing: true,
    };
    Message {
        id: format!("{incident}-{}-{number}", moment.as_str()),
        incident: Some(id(incident)),
        moment,
        urgency: Urgency::Announce,
        severity: "critical".to_owned(),
        title: format!("{}: web on deployment/shop/web {NASTY}", moment.as_str()),
        text: format!("alert {NASTY}\nand more"),
        target: TargetRef::deployment("shop", "web").ok(),
        policy: Some("web".to_owned()),
        to: Vec::new(),
        labels: [("team".to_owned(), "shop".to_owned())].into(),
        folded: Vec::new(),
        about: About { state: "paged".to_owned(), alerts: vec![alert], ..About::default() },
        at: Time::from_millis(START + i64::from(number) * 1000),
    }
}

pub(crate) fn page(incident: &str, number: u32) -> Message {
    Message { urgency: Urgency::Page, ..message(incident, Moment::Paged, number) }
}

pub(crate) fn ticket(incident: &str, number: u32) -> Message {
    Message { urgency: Urgency::Ticket, ..message(incident, Moment::Decided, number) }
}

/// A file with a secret, kept for as long as the folder is.
pub(crate) fn secret(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, format!("{text}\n")).expect("written");
    path
}

/// An engine that keeps what it is told.
#[derive(Default)]
pub(crate) struct Engine {
    pub(crate) told: Mutex<Vec<Operation>>,
    /// How many operations it cannot take in first.
    pub(crate) busy: Mutex<u32>,
}

impl Control for Engine {
    fn query(&self, _: Question) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(async { Ok(json!({})) })
    }

    fn operate(&self, order: Order) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(async move {
            let mut busy = self.busy.lock().expect("a lock");
            if *busy > 0 {
                *busy -= 1;
                return Err(ControlError::Unavailable("busy".to_owned()));
            }
            self.told.lock().expect("a lock").push(order.operation);
            Ok(json!({}))
        })
    }

    fn watch(&self, _: Option<NoticeId>) -> Subscription {
        Subscription { gap: false, missed: Vec::new(), live: tokio::sync::broadcast::channel(1).1 }
    }

    fn reload(&self) -> BoxFuture<'_, Result<String, ControlError>> {
        Box::pin(async { Ok(String::new()) })
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}
