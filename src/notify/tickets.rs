//! Tickets for what is fixed forward: one issue an incident, found again after a restart, updated and closed with it. Which incidents
//! an issue is about stands in its body, as a list that is ticked off; so nothing but the tracker has to remember it. In a storm one
//! issue lists many incidents, and is closed with the last.

use std::collections::{BTreeMap, VecDeque};
use std::sync::PoisonError;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use super::channel::{Channel, Probe, Refused};
use super::digest;
use super::words::Words;
use crate::model::{IncidentId, Message, Moment, Time, Urgency};

/// Where the list of incidents begins in a body. Only what stands after the last of these is read: what comes before quotes alerts.
const LIST: &str = "<!-- backout:incidents -->";
/// Our newest issues are looked through for incidents of before a restart: so many pages of a hundred.
const PAGES: u32 = 3;
/// Incidents whose issue is remembered.
const KNOWN: usize = 2000;
/// Messages that wait to be tried again, and how many of them in a minute. A message may be two writes: with this an hour stays
/// below what GitHub documents.
const WAITING: usize = 500;
const AT_ONCE: usize = 4;
/// A message that could not be brought in so many minutes is given up.
const TRIES: u32 = 24 * 60;
/// A tracker that did not answer is not asked again for every message.
const PAUSE: Duration = Duration::from_secs(60);

/// An issue, as far as it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Issue {
    pub(super) number: u64,
    pub(super) body: String,
}

/// Who keeps issues. Every method tries once.
pub(super) trait Tracker: Send + Sync {
    /// A page of our issues, open and closed, the newest first; whether there are more.
    fn list(&self, page: u32) -> BoxFuture<'_, Result<(Vec<Issue>, bool), Refused>>;

    /// One issue as it is now.
    fn read(&self, number: u64) -> BoxFuture<'_, Result<Issue, Refused>>;

    /// A new issue; its number.
    fn create(&self, title: String, body: String) -> BoxFuture<'_, Result<u64, Refused>>;

    /// Adds a comment.
    fn comment(&self, number: u64, text: String) -> BoxFuture<'_, Result<(), Refused>>;

    /// Sets the body, and closes it where that is asked.
    fn change(&self, number: u64, body: String, close: bool) -> BoxFuture<'_, Result<(), Refused>>;

    /// Asks whether it could be used; what is known then.
    fn probe(&self) -> BoxFuture<'_, Result<String, Refused>>;

    /// The greatest title and text, in characters.
    fn limits(&self) -> (usize, usize);
}

pub(super) struct Tickets {
    name: String,
    tracker: Box<dyn Tracker>,
    words: Words,
    state: Mutex<State>,
    /// Messages that are tried again, and how often each was.
    waiting: std::sync::Mutex<VecDeque<(Message, u32)>>,
}

#[derive(Default)]
struct State {
    known: BTreeMap<IncidentId, u64>,
    /// Whether the tracker's list was read, and nothing has become doubtful since.
    is_recalled: bool,
    /// Until then it is not read again.
    rest_until: Option<Time>,
}

impl Tickets {
    pub(super) fn new(name: &str, tracker: Box<dyn Tracker>, words: Words) -> Self {
        Self { name: name.to_owned(), tracker, words, state: Mutex::default(), waiting: std::sync::Mutex::default() }
    }

    async fn tell(&self, message: &Message) -> Result<(), Refused> {
        // One at a time: two messages of one incident must not open two issues.
        let mut state = self.state.lock().await;
        self.tell_in(&mut state, message).await
    }

    async fn tell_in(&self, state: &mut State, message: &Message) -> Result<(), Refused> {
        self.recall(state, message).await?;
        let issue = message.incident.as_ref().and_then(|incident| state.known.get(incident)).copied();
        match (issue, message.urgency) {
            (Some(number), _) => self.update(number, message).await,
            (None, Urgency::Ticket) => self.open(state, message).await,
            // It has no ticket: there is nothing to follow.
            (None, _) => Ok(()),
        }
    }

    async fn open(&self, state: &mut State, message: &Message) -> Result<(), Refused> {
        let incidents: Vec<&IncidentId> =
            message.incidents().into_iter().filter(|incident| !state.known.contains_key(*incident)).collect();
        let (most_title, most_text) = self.tracker.limits();
        let written = self.words.write(message);
        let list: String = incidents.iter().map(|incident| format!("\n{}", self.entry(incident, false))).collect();
        let tail = format!("\n\n---\n{LIST}{list}\n");
        // Cut inside of a block of code it would swallow the list: then only the list is left.
        let text = if written.text.chars().count() + tail.chars().count() <= most_text { written.text.as_str() } else { "" };
        let created = self.tracker.create(super::dialect::cut(&written.title, most_title), format!("{text}{tail}")).await;
        match created {
            Ok(number) => {
                for incident in incidents {
                    state.know(incident, number);
                }
                Ok(())
            }
            Err(refused) => {
                // It may be there: the next attempt looks first.
                state.is_recalled &= !refused.is_doubtful();
                Err(refused)
            }
        }
    }

    /// What became of an incident: a comment, and at its end a tick in the list; the issue is closed with the last one.
    async fn update(&self, number: u64, message: &Message) -> Result<(), Refused> {
        if let (Moment::Closed, Some(incident)) = (message.moment, &message.incident) {
            let issue = self.tracker.read(number).await?;
            let (open, done) = (self.entry(incident, false), self.entry(incident, true));
            let body = issue.body.replace(&open, &done);
            let all_done = self.listed(&body).iter().all(|(_, done)| *done);
            // Doing it twice is doing it once; a comment is not, so it comes last.
            self.tracker.change(number, body, all_done).await?;
        }
        let written = self.words.write(message);
        let text = if written.text.chars().count() <= self.tracker.limits().1 / 2 { written.text } else { String::new() };
        self.tracker
            .comment(number, format!("**{}**\n\n{text}", super::dialect::Dialect::Markdown.escape()(&written.title)))
            .await
    }

    /// Reads which incidents have issues, once; and what a lost answer may have opened.
    async fn recall(&self, state: &mut State, message: &Message) -> Result<(), Refused> {
        if state.is_recalled {
            return Ok(());
        }
        for page in 1..=PAGES {
            let (issues, more) = self.tracker.list(page).await.inspect_err(|_| state.rest_until = Some(message.at + PAUSE))?;
            for issue in issues {
                for (incident, _) in self.listed(&issue.body) {
                    // The newest come first.
                    if !state.known.contains_key(&incident) {
                        state.know(&incident, issue.number);
                    }
                }
            }
            if !more {
                break;
            }
        }
        state.is_recalled = true;
        Ok(())
    }

    /// The line of an incident in the list.
    fn entry(&self, incident: &IncidentId, done: bool) -> String {
        let instance: String =
            self.words.origin().instance.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
        let mark = if done { 'x' } else { ' ' };
        format!("- [{mark}] incident `{incident}` <!-- backout-incident: {instance}/{incident} -->")
    }

    /// The incidents of a body, and whether each is over.
    fn listed(&self, body: &str) -> Vec<(IncidentId, bool)> {
        let Some((_, list)) = body.rsplit_once(LIST) else { return Vec::new() };
        let line = |line: &str| {
            let incident = IncidentId(line.split('`').nth(1)?.to_owned());
            let done = [false, true].into_iter().find(|done| self.entry(&incident, *done) == line.trim_end())?;
            Some((incident, done))
        };
        list.lines().filter_map(line).collect()
    }

    async fn shows(&self, message: &Message) -> bool {
        let Some(incident) = &message.incident else { return false };
        let mut state = self.state.lock().await;
        let rests = !state.is_recalled && state.rest_until.is_some_and(|until| message.at < until);
        if rests || self.recall(&mut state, message).await.is_err() {
            return false;
        }
        state.known.contains_key(incident)
    }

    /// Several that had to wait: new ones share an issue; what is news of an old one is told a few a minute.
    async fn tell_many(&self, messages: &[Message]) -> Result<(), Refused> {
        let Some(first) = messages.first() else { return Ok(()) };
        let mut state = self.state.lock().await;
        self.recall(&mut state, first).await?;
        let is_new = |message: &&Message| {
            message.urgency == Urgency::Ticket
                && message.incident.as_ref().is_some_and(|incident| !state.known.contains_key(incident))
        };
        let new: Vec<Message> = messages.iter().filter(is_new).cloned().collect();
        let news: Vec<Message> = messages.iter().filter(|message| !is_new(message)).cloned().collect();
        if !new.is_empty() {
            self.tell_in(&mut state, &digest::merge(&new)).await?;
        }
        for message in news {
            self.wait(message, 0);
        }
        Ok(())
    }

    fn wait(&self, message: Message, tries: u32) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING && tries < TRIES {
            waiting.push_back((message, tries));
        } else {
            tracing::warn!(channel = self.name, message = message.id, tries, "given up: a ticket was not written");
        }
    }

    async fn go_on(&self) {
        let mut state = self.state.lock().await;
        for _ in 0..AT_ONCE {
            let next = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some((message, tries)) = next else { return };
            if let Err(refused) = self.tell_in(&mut state, &message).await {
                tracing::debug!(channel = self.name, why = refused.why, "a ticket is tried again in a minute");
                self.wait(message, tries + 1);
                return;
            }
        }
    }
}

impl State {
    fn know(&mut self, incident: &IncidentId, number: u64) {
        if self.known.len() >= KNOWN
            && let Some(oldest) = self.known.iter().min_by_key(|(_, number)| **number).map(|(incident, _)| incident.clone())
        {
            self.known.remove(&oldest);
        }
        self.known.insert(incident.clone(), number);
    }
}

impl Channel for Tickets {
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(self.tell(message))
    }

    fn send_merged<'a>(&'a self, messages: &'a [Message]) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(self.tell_many(messages))
    }

    fn follows<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, bool> {
        Box::pin(self.shows(message))
    }

    fn persist(&self, message: &Message) {
        self.wait(message.clone(), 0);
    }

    fn keep(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.go_on())
    }

    fn probe(&self) -> BoxFuture<'_, Probe> {
        Box::pin(async { Probe::of(self.tracker.probe().await) })
    }
}
