//! What the process lives among: shops that get one bad release after another, and senders that never pause.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{Namespace, TOKEN, http, now};

/// By their names: at once, or after a settle and a countdown.
pub(crate) const SHOPS: [&str; 6] = ["quick-0", "quick-1", "quick-2", "quick-3", "slow-0", "slow-1"];
/// What every shop goes back to.
pub(crate) const GOOD: &str = "shop:1";
/// How often a shop's image is looked at.
const TICK: Duration = Duration::from_millis(200);
/// Long enough for `fit_target: {healthy: 2s}` after a rollback.
const REST: Duration = Duration::from_secs(4);
/// Neither rolled back nor paged after this: stuck. On a busy machine the process is killed before it was ready for many times in a row.
const ROUND: Duration = Duration::from_secs(600);
/// The pauses of the two senders.
const UNWANTED_EVERY: Duration = Duration::from_millis(25);
const WANTED_EVERY: Duration = Duration::from_millis(500);

pub(crate) const CONFIG: &str = "
timing:
  close_after: 1s
  peer_up: 1s
  evaluation_age: 30s
  watch_every: 1s
  verify_every: 500ms
  tail: 1s
  forget_after: 2m
tokens: {read: [token], operate: [token]}
channels:
  - name: people
    per_second: 1000
    burst: 1000
    webhook: {url: SINK}
";

/// The two kinds of shops, and alerts that are wanted and change nothing.
pub(crate) fn rules(namespace: &str) -> String {
    let mut text = "policies:\n".to_owned();
    for (name, settle, procedure) in [("quick", "0s", "at-once"), ("slow", "1s", "after-a-second")] {
        let _ = write!(
            text,
            r#"
  - name: {name}
    matchers: ['alertname = "ShopErrors"', 'namespace = "{namespace}"', 'deployment =~ "{name}-.*"']
    mode: enforce
    paging: in_front
    targets: ['{namespace}/*']
    for: {settle}
    facts:
      errors:
        promql: sum(rate(http_requests_total{{namespace="$namespace",deployment="$name",code="500"}}[3s])) / sum(rate(http_requests_total{{namespace="$namespace",deployment="$name"}}[3s]))
    decide:
      - {{name: many-errors, when: 'facts.errors > 0.2', rollback: {procedure}}}
    brakes:
      fit_target: {{healthy: 2s}}
      budget: {{disabled: one bad release follows the other}}
      cooldown: {{disabled: one bad release follows the other}}
      flapping: {{disabled: one bad release follows the other}}
      storm: {{disabled: all shops are bad at once}}
      control_group: {{disabled: all shops are bad at once}}
"#
        );
    }
    text += "
  - name: load
    matchers: ['alertname = \"Wanted\"']
    mode: shadow
    decide: [{name: look, page: {}}]
procedures:
";
    for (name, countdown) in [("at-once", "0s"), ("after-a-second", "1s")] {
        let _ = write!(
            text,
            "  - name: {name}\n    countdown: {countdown}\n    verify: {{within: 2m, rollout: complete, alert: resolved, facts: ['facts.errors < 0.1']}}\n    steps: [undo]\n"
        );
    }
    text
}

/// What the senders and the shops share with the test.
pub(crate) struct Town {
    namespace: Namespace,
    /// The way to the process, wherever it listens now.
    door: String,
    http: reqwest::Client,
    pub(crate) closing: AtomicBool,
    numbers: AtomicU64,
    acknowledged: Mutex<BTreeSet<String>>,
    rounds: Mutex<Vec<Round>>,
}

/// How a bad release ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    RolledBack,
    /// A person was paged, with these words.
    Paged(String),
    Stuck(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) image: String,
    pub(crate) end: End,
}

impl Town {
    pub(crate) fn new(namespace: &Namespace, door: String) -> Arc<Self> {
        Arc::new(Self {
            namespace: namespace.clone(),
            door,
            http: http(),
            closing: AtomicBool::new(false),
            numbers: AtomicU64::new(0),
            acknowledged: Mutex::default(),
            rounds: Mutex::default(),
        })
    }

    /// Every id whose notification was answered 200.
    pub(crate) fn acknowledged(&self) -> BTreeSet<String> {
        lock(&self.acknowledged).clone()
    }

    pub(crate) fn rounds(&self) -> Vec<Round> {
        lock(&self.rounds).clone()
    }

    fn closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Everybody begins; the tasks end soon after `closing`.
    pub(crate) fn open(self: &Arc<Self>) -> (Vec<JoinHandle<()>>, Vec<JoinHandle<()>>) {
        let senders = [("Unwanted", UNWANTED_EVERY), ("Wanted", WANTED_EVERY)];
        let senders = senders.map(|(name, every)| tokio::spawn(Arc::clone(self).send(name, every)));
        let shops = SHOPS.map(|shop| tokio::spawn(Arc::clone(self).trade(shop)));
        (senders.into(), shops.into())
    }

    async fn send(self: Arc<Self>, name: &'static str, every: Duration) {
        let (http, url) = (http(), format!("{}/v1/webhook/alertmanager", self.door));
        while !self.closing() {
            let id = format!("{name}-{}", self.numbers.fetch_add(1, Ordering::SeqCst));
            let body = json!({ "version": "4", "receiver": "hook", "status": "firing", "alerts": [{
                "status": "firing", "labels": { "alertname": name, "crash_id": id }, "annotations": {},
                "startsAt": now().to_string(), "endsAt": "0001-01-01T00:00:00Z",
            }]});
            let sent = http.post(&url).json(&body).send().await;
            if sent.is_ok_and(|answer| answer.status() == 200) {
                lock(&self.acknowledged).insert(id);
            }
            tokio::time::sleep(every).await;
        }
    }

    /// One bad release after another.
    async fn trade(self: Arc<Self>, shop: &'static str) {
        let mut number = 1;
        while !self.closing() {
            number += 1;
            let image = format!("shop:{number}-faulty");
            self.namespace.set_image(shop, &image).await;
            let end = tokio::time::timeout(ROUND, self.round(shop)).await;
            let end = match end {
                Ok(end) => end,
                Err(_) => End::Stuck(format!("{:?}", self.incidents(shop, "all").await)),
            };
            let stuck = matches!(end, End::Stuck(_));
            lock(&self.rounds).push(Round { image: format!("{shop} {image}"), end });
            if stuck {
                return;
            }
            tokio::time::sleep(REST).await;
        }
    }

    /// Until the release was put back and its incident is over.
    async fn round(&self, shop: &str) -> End {
        let mut end = End::RolledBack;
        while self.namespace.image(shop).await != GOOD {
            tokio::time::sleep(TICK).await;
            let open = self.incidents(shop, "paged").await.unwrap_or_default();
            if let Some(incident) = open.first() {
                end = End::Paged(format!("{} {}: {}", incident["reason"], incident["brake"], incident["summary"]));
                // What a person would do.
                self.namespace.set_image(shop, GOOD).await;
            }
        }
        loop {
            match self.incidents(shop, "open").await.as_deref() {
                Some([]) => return end,
                Some([incident, ..]) if incident["state"] == "paged" && matches!(end, End::RolledBack) => {
                    end = End::Paged(format!("after the write, {}: {}", incident["reason"], incident["summary"]));
                }
                _ => {}
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// The incidents of a shop in this state, if the process answers.
    async fn incidents(&self, shop: &str, state: &str) -> Option<Vec<Value>> {
        let target = format!("{}/{shop}", self.namespace.name);
        let answer = self.get(&format!("/api/v1/incidents?state={state}&target={target}")).await?;
        answer["incidents"].as_array().cloned()
    }

    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        let answer = self.http.get(format!("{}{path}", self.door)).bearer_auth(TOKEN).send().await.ok()?;
        answer.error_for_status().ok()?.json().await.ok()
    }
}

pub(crate) fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
