//! Channels that take messages, and keep them.

use std::collections::BTreeMap;

use crate::model::{Delivery, IncidentId, Message, Urgency};

/// A message that a channel has.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivered {
    /// Which channel.
    pub channel: String,
    /// The message.
    pub message: Message,
}

/// All channels.
#[derive(Clone, Debug)]
pub(super) struct Channels {
    /// Whether messages are kept once they are taken.
    pub(super) keeps: bool,
    /// By name, in the settings' order: whether it is down.
    channels: Vec<(String, bool)>,
    taken: Vec<Delivered>,
    /// Pages that are open.
    open: BTreeMap<IncidentId, String>,
}

impl Default for Channels {
    fn default() -> Self {
        Self { keeps: true, channels: Vec::new(), taken: Vec::new(), open: BTreeMap::new() }
    }
}

impl Channels {
    pub(super) fn add(&mut self, name: &str) {
        self.channels.push((name.to_owned(), false));
    }

    pub(super) fn set_down(&mut self, name: &str, down: bool) {
        for (_, is_down) in self.channels.iter_mut().filter(|(known, _)| known == name || name.is_empty()) {
            *is_down = down;
        }
    }

    /// Through the named channels, else in order until one has it; a page that none of the named takes goes on to the others.
    pub(super) fn deliver(&mut self, message: &Message) -> Delivery {
        let mut delivery = Delivery::default();
        let named = |name: &String| message.to.contains(name);
        let (first, rest): (Vec<_>, Vec<_>) = self.channels.iter().cloned().partition(|(name, _)| named(name));
        for name in message.to.iter().filter(|name| !self.channels.iter().any(|(known, _)| known == *name)) {
            delivery.failed.push((name.clone(), "there is no such channel".to_owned()));
        }
        for (name, down) in &first {
            take(&mut delivery, name, *down);
        }
        let goes_on = first.is_empty() || message.urgency == Urgency::Page;
        for (name, down) in rest.iter().filter(|_| goes_on) {
            if !delivery.delivered.is_empty() {
                break;
            }
            take(&mut delivery, name, *down);
        }
        for channel in delivery.delivered.iter().filter(|_| self.keeps) {
            self.taken.push(Delivered { channel: channel.clone(), message: message.clone() });
        }
        if let (Urgency::Page, Some(incident), Some(channel)) = (message.urgency, &message.incident, delivery.delivered.first()) {
            self.open.insert(incident.clone(), channel.clone());
        }
        delivery
    }

    /// Ends a page; whether there was one.
    pub(super) fn close(&mut self, incident: &IncidentId) -> bool {
        self.open.remove(incident).is_some()
    }

    /// Everything that was delivered, in order.
    pub(super) fn taken(&self) -> &[Delivered] {
        &self.taken
    }
}

fn take(delivery: &mut Delivery, name: &str, down: bool) {
    if down {
        delivery.failed.push((name.to_owned(), "connection refused".to_owned()));
    } else {
        delivery.delivered.push(name.to_owned());
    }
}
