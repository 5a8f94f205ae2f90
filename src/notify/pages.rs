//! The pages that are kept up: an Alertmanager alert lapses unless it is posted again. Memory only; after a restart the engine
//! delivers its open pages again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::words::{Own, Words};
use crate::model::{Labels, Message, Time};

/// How far ahead `endsAt` lies: so long a page outlives us.
const AHEAD: Duration = Duration::from_secs(3600);
/// How many are kept up at once. More pages than this are no pages any more; the oldest lapses within the hour.
const MOST: usize = 1000;
/// The longest text that goes into an annotation.
const MOST_TEXT: usize = 16 << 10;

/// A page that is kept up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenPage {
    /// The incident's id, or the dedup key of a page without one.
    pub key: String,
    /// The channel that keeps it up.
    pub channel: String,
    /// When the message was written.
    pub since: Time,
    /// When a peer last took it.
    pub posted_at: Option<Time>,
}

/// What a page is called in every channel: the incident, or our own blindness.
pub(super) fn dedup_key(message: &Message, instance: &str) -> String {
    match &message.incident {
        Some(incident) => incident.0.clone(),
        None => blind_key(instance),
    }
}

/// The page of our own blindness.
pub(super) fn blind_key(instance: &str) -> String {
    format!("backout-blind-{instance}")
}

/// An alert as Alertmanager's API takes it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PostedAlert {
    pub(super) labels: Labels,
    pub(super) annotations: Labels,
    pub(super) starts_at: String,
    pub(super) ends_at: String,
}

/// One page.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) key: String,
    pub(super) message_id: String,
    pub(super) labels: Labels,
    annotations: Labels,
    pub(super) since: Time,
    /// A page without an incident is not kept up for ever: whoever was blind may not have come back to end it.
    until: Option<Time>,
}

impl Page {
    /// The alert that a message becomes. The policy's labels first: none of them replaces one of ours, and never the alert's
    /// own, so that a silence on the alert cannot swallow the page.
    pub(super) fn new(message: &Message, words: &Words) -> Self {
        let key = dedup_key(message, &words.origin().instance);
        let mut labels = message.labels.clone();
        let mut set = |name: &str, value: String| labels.insert(name.to_owned(), value);
        set("alertname", "BackoutPage".to_owned());
        set("backout_incident", key.clone());
        // Alertmanager compares label sets: without this a page that is sent again, because nobody acknowledged or because it got
        // worse, would be the same alert as before and notify nobody.
        set("backout_page", message.id.clone());
        set("severity", message.severity.clone());
        if let Some(target) = &message.target {
            set("backout_target", target.to_string());
        }
        if let Some(policy) = &message.policy {
            set("backout_policy", policy.clone());
        }
        // Alertmanager drops these; with them the page would not be found again.
        labels.retain(|_, value| !value.is_empty());
        let Own { title, text, links } = words.own(message);
        let text: String = text.as_deref().unwrap_or(&message.text).chars().take(MOST_TEXT).collect();
        let mut annotations = vec![("summary", title.unwrap_or_else(|| message.title.clone())), ("description", text)];
        // The names that receivers' templates look for.
        let named = [("runbook_url", links.runbook), ("dashboard_url", links.dashboard), ("incident_url", links.incident)];
        annotations.extend(named.into_iter().filter_map(|(name, url)| Some((name, url?))));
        Self {
            key,
            message_id: message.id.clone(),
            labels,
            annotations: annotations.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            since: message.at,
            until: message.incident.is_none().then(|| message.at + AHEAD),
        }
    }

    /// Firing for another hour.
    pub(super) fn firing(&self, now: Time) -> PostedAlert {
        self.posted(now + AHEAD)
    }

    /// Over.
    pub(super) fn ended(&self, now: Time) -> PostedAlert {
        let (since, end) = over(self.since, now);
        PostedAlert { starts_at: since.to_string(), ..self.posted(end) }
    }

    fn posted(&self, ends_at: Time) -> PostedAlert {
        PostedAlert {
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            starts_at: self.since.to_string(),
            ends_at: ends_at.to_string(),
        }
    }
}

/// Begin and end of a page that is over. The end lies a few seconds back, since a peer whose clock is behind ours would take it for a
/// later one, and go on. A begin that lies ahead is of a clock that was set back since: with it the page would fire on until then.
pub(super) fn over(since: Time, now: Time) -> (Time, Time) {
    let end = now - Duration::from_secs(10);
    if since > now { (end, end) } else { (since, end.max(since)) }
}

/// By key and message: the page, and when a peer last took it.
type Open = BTreeMap<(String, String), (Page, Option<Time>)>;

/// The pages of one channel.
#[derive(Debug, Default)]
pub(super) struct Pages {
    open: Mutex<Open>,
}

impl Pages {
    /// Keeps a page up; the older ones of its key are handed back to be ended.
    pub(super) fn open(&self, page: Page, posted_at: Option<Time>) -> Vec<Page> {
        let mut open = self.lock();
        let older: Vec<_> = of(&open, &page.key).filter(|(_, id)| *id != page.message_id).collect();
        let older = older.iter().filter_map(|key| open.remove(key)).map(|(page, _)| page).collect();
        if open.len() >= MOST
            && let Some(oldest) = open.iter().min_by_key(|(_, (page, _))| page.since).map(|(key, _)| key.clone())
        {
            tracing::warn!(page = oldest.0, most = MOST, "too many pages are open; the oldest is kept up no longer");
            open.remove(&oldest);
        }
        open.insert((page.key.clone(), page.message_id.clone()), (page, posted_at));
        older
    }

    /// Forgets the pages of a key and hands them back to be ended.
    pub(super) fn close(&self, key: &str) -> Vec<Page> {
        let mut open = self.lock();
        let keys: Vec<_> = of(&open, key).collect();
        keys.iter().filter_map(|key| open.remove(key)).map(|(page, _)| page).collect()
    }

    /// What has to be posted now.
    pub(super) fn due(&self, now: Time) -> Vec<Page> {
        let mut open = self.lock();
        open.retain(|_, (page, _)| page.until.is_none_or(|until| now < until));
        open.values().map(|(page, _)| page.clone()).collect()
    }

    /// All that are open were taken.
    pub(super) fn posted(&self, pages: &[Page], now: Time) {
        let mut open = self.lock();
        for page in pages {
            if let Some((_, at)) = open.get_mut(&(page.key.clone(), page.message_id.clone())) {
                *at = Some(now);
            }
        }
    }

    pub(super) fn list(&self, channel: &str) -> Vec<OpenPage> {
        let page = |(page, posted_at): &(Page, Option<Time>)| OpenPage {
            key: page.key.clone(),
            channel: channel.to_owned(),
            since: page.since,
            posted_at: *posted_at,
        };
        self.lock().values().map(page).collect()
    }

    /// Held for map operations only, which leave nothing half done: a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of<'a, T>(open: &'a BTreeMap<(String, String), T>, key: &'a str) -> impl Iterator<Item = (String, String)> + 'a {
    let from = (key.to_owned(), String::new());
    open.range(from..).map(|(found, _)| found.clone()).take_while(move |found| found.0 == key)
}
