//! The threads of a Slack channel, and which messages stand there. Pure bookkeeping, bounded.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::{IncidentId, Time};

/// Threads that are remembered; the oldest is forgotten, and a later message of it begins a new one.
const MOST: usize = 1000;
/// Messages that are remembered, so that none is told twice.
const MESSAGES: usize = 2000;

#[derive(Debug, Default)]
pub(super) struct Threads {
    threads: BTreeMap<IncidentId, (Time, String)>,
    messages: BTreeSet<String>,
    order: VecDeque<String>,
    /// Whether the channel's history was read, and nothing has become doubtful since.
    pub(super) is_recalled: bool,
}

impl Threads {
    pub(super) fn of(&self, incident: &IncidentId) -> Option<String> {
        self.threads.get(incident).map(|(_, ts)| ts.clone())
    }

    pub(super) fn begin(&mut self, incident: &IncidentId, ts: &str, at: Time) {
        let full = self.threads.len() >= MOST && !self.threads.contains_key(incident);
        if full && let Some(oldest) = self.threads.iter().min_by_key(|(_, (at, _))| *at).map(|(incident, _)| incident.clone()) {
            self.threads.remove(&oldest);
        }
        self.threads.insert(incident.clone(), (at, ts.to_owned()));
    }

    pub(super) fn forget(&mut self, incident: &IncidentId) {
        self.threads.remove(incident);
    }

    pub(super) fn has_told(&self, message: &str) -> bool {
        self.messages.contains(message)
    }

    pub(super) fn told(&mut self, message: &str) {
        if !self.messages.insert(message.to_owned()) {
            return;
        }
        self.order.push_back(message.to_owned());
        if self.order.len() > MESSAGES
            && let Some(oldest) = self.order.pop_front()
        {
            self.messages.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut threads = Threads::default();
        let id = |number: usize| IncidentId(format!("i{number:05}"));
        for number in 0..MESSAGES + 10 {
            threads.begin(&id(number), "1.0", Time::from_millis(number as i64));
            threads.told(&format!("m{number}"));
        }
        assert_eq!((threads.threads.len(), threads.messages.len(), threads.order.len()), (MOST, MESSAGES, MESSAGES));
        assert!(threads.of(&id(0)).is_none() && threads.of(&id(MESSAGES)).is_some());
        assert!(!threads.has_told("m0") && threads.has_told(&format!("m{}", MESSAGES)));
    }
}
