//! What a journal remembers of a time: notifications as they came, what the watch saw of releases, and what decisions rested on.

use std::collections::BTreeMap;
use std::time::Duration;

use super::history::{Alert, Change, Hidden, History, Workload};
use super::said::Said;
use crate::decide::book::{self, Book};
use crate::decide::incident::Incident;
use crate::decide::transition::Event;
use crate::journal::receipt::{Receipt, ReceiptError};
use crate::journal::record::{self, Record, Stamped};
use crate::model::{self, AlertStatus, Digest, IncidentId, Occurrence, Resolution, TargetRef, Time, WatchEvent};
use crate::ports::{Row, RowKind};

/// The service writes at least once a minute that it is alive: what is longer was not watched.
const SILENCE: Duration = Duration::from_secs(2 * 60);
/// All pods, however many they are.
const ALL_PODS: i32 = i32::MAX;

/// A row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("row {row} of the journal: {why}")]
pub struct Unusable {
    /// Which.
    pub row: u64,
    /// Why.
    pub why: String,
}

/// A journal that is being read, row by row.
#[derive(Debug, Default)]
pub struct Journal {
    first: Option<Time>,
    last: Time,
    alerts: Vec<Heard>,
    /// The last firing of each occurrence, and of each set of labels.
    known: BTreeMap<Occurrence, usize>,
    open: BTreeMap<model::Fingerprint, usize>,
    onsets: BTreeMap<Occurrence, Time>,
    workloads: BTreeMap<TargetRef, Seen>,
    targets: BTreeMap<IncidentId, TargetRef>,
    gaps: Vec<(Time, Time)>,
    said: Said,
    cut: u64,
}

/// A firing, as notifications told it.
#[derive(Debug)]
struct Heard {
    occurrence: Occurrence,
    alert: Alert,
}

/// A Deployment, as the watch told it.
#[derive(Debug, Default)]
struct Seen {
    workload: Workload,
    gone: bool,
}

impl Journal {
    /// One that begins with what was known before its first row, as of a time.
    pub fn new(book: &Book, at: Option<Time>) -> Self {
        let mut journal = Self { first: at, last: at.unwrap_or_default(), ..Self::default() };
        for (key, history) in &book.targets {
            let names = key.strip_prefix("deployment/").and_then(|names| names.split_once('/'));
            let Some(target) = names.and_then(|(namespace, name)| TargetRef::deployment(namespace, name).ok()) else { continue };
            let seen = journal.workloads.entry(target.clone()).or_default();
            for release in &history.releases {
                seen.remember(release);
                journal.said.owns(&target, release.replica_set.as_deref());
            }
        }
        for incident in book.incidents.values() {
            journal.incident(&incident.id, incident);
        }
        journal
    }

    /// Reads one row.
    ///
    /// # Errors
    /// It cannot be read by this program.
    pub fn row(&mut self, row: &Row) -> Result<(), Unusable> {
        let unusable = |why: String| Unusable { row: row.seq, why };
        match row.kind {
            RowKind::Receipt => {
                self.passed(row.at);
                match Receipt::decode(&row.body).and_then(|receipt| receipt.read(row.at)) {
                    Ok(notification) => self.notified(notification, row.at),
                    // It was acknowledged and told nobody anything then, too.
                    Err(ReceiptError::Body(_)) => {}
                    Err(error) => return Err(unusable(error.to_string())),
                }
            }
            RowKind::Step => {
                for Stamped { at, record } in record::decode(&row.body).map_err(|error| unusable(error.to_string()))? {
                    self.passed(at);
                    self.record(at, record);
                }
            }
        }
        Ok(())
    }

    fn passed(&mut self, at: Time) {
        if self.first.is_some() && at.since(self.last) > SILENCE {
            self.gaps.push((self.last, at));
        }
        self.first.get_or_insert(at);
        self.last = self.last.max(at);
    }

    fn record(&mut self, at: Time, record: Record) {
        match record {
            Record::Watched { event } => self.watched(at, &event),
            Record::Learned { workload } => self.learned(at, &workload),
            Record::Incident { id, event: Event::Opened { incident } } => self.incident(&id, &incident),
            Record::Incident { event: Event::Joined { member }, .. } => {
                self.onsets.extend(member.onset.at.as_ref().ok().map(|onset| (member.alert.occurrence(), *onset)));
            }
            Record::Incident { id, event: Event::Decided { decision } } => {
                let observation = &decision.observation;
                if let Some(Resolution::Found { workload }) = &observation.workload {
                    self.learned(at, workload);
                }
                let Some(target) = self.targets.get(&id) else { return };
                observation.values.iter().for_each(|(fact, answer)| self.said.heard(target, fact, answer));
            }
            _ => {}
        }
    }

    fn incident(&mut self, id: &IncidentId, incident: &Incident) {
        self.targets.extend(incident.target.as_ref().map(|target| (id.clone(), target.at.clone())));
        for member in incident.members.values() {
            self.onsets.extend(member.onset.at.as_ref().ok().map(|onset| (member.alert.occurrence(), *onset)));
        }
    }

    fn notified(&mut self, notification: model::Notification, at: Time) {
        self.cut += u64::from(notification.truncated > 0);
        for alert in notification.alerts {
            let occurrence = alert.occurrence();
            let known = self.known.get(&occurrence).copied();
            match alert.status {
                AlertStatus::Firing => {
                    let over = known.is_none_or(|known| self.alerts.get(known).is_none_or(|heard| heard.alert.to.is_some()));
                    if over {
                        self.fires(&alert, at);
                    }
                }
                AlertStatus::Resolved => self.ends(known, at),
            }
        }
    }

    fn fires(&mut self, alert: &model::Alert, at: Time) {
        let occurrence = alert.occurrence();
        // What fires anew has ended, whether anybody said so or not.
        let before = self.open.insert(occurrence.fingerprint, self.alerts.len());
        self.ends(before, at);
        self.known.insert(occurrence, self.alerts.len());
        let labels = alert.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.alerts.push(Heard { occurrence, alert: Alert { labels, onset: None, from: at, to: None } });
    }

    fn ends(&mut self, place: Option<usize>, at: Time) {
        if let Some(heard) = place.and_then(|place| self.alerts.get_mut(place)) {
            heard.alert.to.get_or_insert(at);
        }
    }

    fn watched(&mut self, at: Time, event: &WatchEvent) {
        let target = &event.target.at;
        self.said.owns(target, event.replica_set.as_deref());
        self.workloads.entry(target.clone()).or_default().watched(at, event);
    }

    fn learned(&mut self, at: Time, workload: &model::Workload) {
        let target = &workload.id.at;
        for set in &workload.replica_sets {
            self.said.owns(target, Some(&set.name));
        }
        self.workloads.entry(target.clone()).or_default().learned(at, workload);
    }

    /// The history of a time, and its facts. It begins so much earlier as the journal reaches, at most `lead`.
    ///
    /// # Errors
    /// The journal has nothing of that time.
    pub fn finish(mut self, from: Time, to: Time, lead: Duration) -> Result<(History, Said), String> {
        let first = self.first.ok_or("the journal is empty")?;
        if to <= first || from >= self.last {
            return Err(format!("the journal has what was between {first} and {}", self.last));
        }
        let (from, to) = (from.max(first), to.min(self.last.shifted(1)));
        let mut missing = Vec::new();
        let alerts = std::mem::take(&mut self.alerts).into_iter();
        let mut alerts: Vec<Alert> =
            alerts.map(|heard| Alert { onset: self.onsets.get(&heard.occurrence).copied(), ..heard.alert }).collect();
        alerts.retain(|alert| alert.from < to && alert.to.is_none_or(|end| end > from - lead));
        for alert in alerts.iter_mut().filter(|alert| alert.to.is_some_and(|end| end >= to)) {
            alert.to = None;
        }
        alerts.sort_by(|a, b| (a.from, &a.labels).cmp(&(b.from, &b.labels)));
        if alerts.iter().any(|alert| alert.onset.is_none()) {
            missing.push("onsets of alerts that no policy was about then: every rollback for them is held".to_owned());
        }
        if self.cut > 0 {
            missing.push(format!("alerts that were cut from {} notifications", self.cut));
        }
        let in_order = |(at, mut seen): (TargetRef, Seen)| {
            // What a first list tells may lie before what was seen already.
            seen.workload.ready.sort_by_key(|(at, ..)| *at);
            (at, seen.workload)
        };
        let workloads = self.workloads.into_iter().map(in_order).collect();
        let (begin, owners) = ((from - lead).max(first), self.said.owners.clone());
        let history = History { from, to, begin, step: None, alerts, workloads, gaps: self.gaps, owners, missing };
        Ok((history, self.said))
    }
}

impl Said {
    fn owns(&mut self, target: &TargetRef, set: Option<&str>) {
        if let Some(set) = set {
            self.owners.entry(format!("{}/{set}", target.namespace)).or_insert_with(|| target.clone());
        }
    }
}

impl Seen {
    /// A release that was known before the journal begins.
    fn remember(&mut self, release: &book::Release) {
        let (at, ours) = (release.live_since, release.by_us);
        let back = self.ran(&release.digest);
        let images = Some(release.images.join(","));
        self.workload.changes.push(Change { at, release: release.digest.to_string(), images, back, ours });
        if let Some(since) = release.available_since {
            self.workload.ready.push((since, release.digest.to_string(), ALL_PODS));
        }
    }

    fn ran(&self, digest: &Digest) -> bool {
        self.workload.changes.iter().any(|change| change.release == digest.0)
    }

    fn watched(&mut self, at: Time, event: &WatchEvent) {
        if event.gone {
            self.gone = true;
            self.workload.hidden.push(Hidden { from: at, to: None, why: "it was deleted then".to_owned() });
            return;
        }
        if std::mem::take(&mut self.gone)
            && let Some(hidden) = self.workload.hidden.last_mut()
        {
            hidden.to = Some(at);
        }
        let current = self.workload.changes.last();
        if current.is_none_or(|current| current.release != event.release.0) {
            let since = current.map(|current| current.at);
            // An old ReplicaSet that came back was not made then.
            let made = event.first_write.min(at);
            let when = if since.is_some_and(|since| made <= since) { at } else { made };
            let back = self.ran(&event.release);
            let images = Some(event.images.join(","));
            let release = event.release.to_string();
            self.workload.changes.push(Change { at: when, release, images, back, ours: event.by_us });
        }
        let since = event.landed_at.filter(|_| event.relearned).unwrap_or(at);
        let pods = if event.available { ALL_PODS } else { 0 };
        self.workload.ready.push((since, event.release.to_string(), pods));
    }

    fn learned(&mut self, at: Time, workload: &model::Workload) {
        let known = self.workload.replicas.last().map(|(_, replicas)| *replicas);
        if known != Some(workload.replicas.desired) {
            self.workload.replicas.push((at, workload.replicas.desired));
        }
        // Releases of before the watch began, by the ReplicaSets that were left of them.
        let Some(first) = self.workload.changes.first().map(|change| change.at) else { return };
        let mut before = Vec::new();
        for set in workload.replica_sets.iter().filter(|set| set.created_at < first && !self.ran(&set.digest)) {
            let (release, images) = (set.digest.to_string(), Some(set.images.join(",")));
            before.push(Change { at: set.created_at, release, images, back: false, ours: false });
        }
        before.sort_by_key(|change| change.at);
        self.workload.changes.splice(0..0, before);
    }
}
