//! Between the watch and its reader: the newest event of each target, handed over as fast as the reader takes them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, mpsc};

use super::watch::Counter;
use crate::model::{TargetId, WatchEvent};

/// Keeps at most one event for each target while the reader is busy, so that its size is bounded by the cluster's.
pub(super) struct Outbox {
    waiting: Mutex<BTreeMap<TargetId, WatchEvent>>,
    wake: Notify,
    to: mpsc::Sender<WatchEvent>,
    coalesced: Counter,
}

impl Outbox {
    /// An outbox in front of a channel.
    pub(super) fn new(to: mpsc::Sender<WatchEvent>) -> Self {
        Self { waiting: Mutex::default(), wake: Notify::new(), to, coalesced: Counter::default() }
    }

    /// Never waits: an older event of the same target that nobody took yet is replaced and counted.
    pub(super) fn put(&self, events: Vec<WatchEvent>) {
        if events.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for mut event in events {
            if let Some(older) = waiting.remove(&event.target) {
                self.coalesced.increment();
                // That the time before it was not watched is still news to the reader.
                if older.relearned && !event.gone {
                    event.relearned = true;
                    event.landed_at =
                        event.landed_at.or(older.landed_at.filter(|_| event.available && event.release == older.release));
                }
            }
            waiting.insert(event.target.clone(), event);
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Hands events over until the reader is gone.
    pub(super) async fn deliver(&self) {
        loop {
            let next = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
            match next {
                Some((_, event)) => {
                    if self.to.send(event).await.is_err() {
                        return;
                    }
                }
                None => self.wake.notified().await,
            }
        }
    }

    /// How many events were replaced.
    pub(super) fn coalesced(&self) -> u64 {
        self.coalesced.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, TargetRef, Time};

    fn event(name: &str, release: &str, relearned: bool) -> WatchEvent {
        let at = TargetRef::deployment("shop", name).expect("names");
        WatchEvent {
            target: TargetId { at, uid: format!("uid-{name}") },
            release: Digest(release.to_owned()),
            images: Vec::new(),
            replica_set: None,
            first_write: Time::default(),
            by: None,
            by_us: false,
            available: false,
            relearned,
            landed_at: None,
            gone: false,
        }
    }

    #[tokio::test]
    async fn a_slow_reader_gets_the_newest_of_each_target() {
        let (sender, mut reader) = mpsc::channel(1);
        let outbox = Outbox::new(sender);
        outbox.put(vec![event("a", "v1:1", true), event("b", "v1:1", false)]);
        outbox.put(vec![event("a", "v1:2", false)]);
        assert_eq!(outbox.coalesced(), 1);
        let read = async {
            let first = reader.recv().await.expect("an event");
            let second = reader.recv().await.expect("an event");
            drop(reader);
            outbox.put(vec![event("a", "v1:3", false)]);
            [first, second]
        };
        let (events, ()) = tokio::join!(read, outbox.deliver());
        assert_eq!(events.each_ref().map(|e| (e.release.0.as_str(), e.relearned)), [("v1:2", true), ("v1:1", false)]);
    }
}
