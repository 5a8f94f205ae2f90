//! What a simulated world answers when the ports ask. What happens in it by itself is `world.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::channels::Delivered;
use super::facts;
use super::world::World;
use crate::decide::observation::Answer;
use crate::model::{
    Alert, AlertmanagerView, Applied, Delivery, Digest, Evidence, Fact, Fingerprint, Guard, HttpCheck, HttpFact, HttpResult,
    IncidentId, Lookup, Message, Number, Onset, Plan, PreflightReport, Query, Resolution, RolloutStatus, TailSource, TargetId,
    TargetRef, Time, Unknown, UnknownKind, template,
};

/// What the ports answer.
impl World {
    /// Finds a target.
    pub fn resolve(&mut self, lookup: &Lookup, now: Time) -> Resolution {
        self.advance(now);
        self.cluster.resolve(lookup, now)
    }

    /// Reads a target.
    pub fn observe(&mut self, target: &TargetId, now: Time) -> Resolution {
        self.advance(now);
        self.cluster.observe(target, now)
    }

    /// Checks what a plan needs.
    pub fn preflight(&mut self, plan: &Plan, guard: &Guard, now: Time) -> PreflightReport {
        self.advance(now);
        self.cluster.preflight(plan, guard, now)
    }

    /// Collects evidence.
    pub fn evidence(&mut self, plan: &Plan, now: Time) -> Evidence {
        self.advance(now);
        self.cluster.evidence(plan, now)
    }

    /// Writes.
    pub fn apply(&mut self, plan: &Plan, step: usize, guard: &Guard, now: Time) -> Applied {
        self.advance(now);
        let applied = self.cluster.apply(plan, step, guard, now);
        self.touched();
        applied
    }

    /// How far a rollout is.
    pub fn rollout(&mut self, target: &TargetId, release: &Digest, now: Time) -> RolloutStatus {
        self.advance(now);
        self.cluster.rollout(target, release, now)
    }

    /// When the watch last heard of the cluster.
    pub fn watch_heard_at(&self, now: Time) -> Option<Time> {
        self.cluster.heard_at(now)
    }

    /// Asks Prometheus.
    pub fn query(&mut self, promql: &str, now: Time) -> Fact<Number> {
        self.advance(now);
        self.prometheus.query(promql, now)
    }

    /// Asks Prometheus for a fact of a target: by its name in a world that says what facts are, else by its query.
    pub fn answer(&mut self, name: &str, query: &Query, target: Option<&TargetId>, now: Time) -> Answer {
        self.advance(now);
        if let Some(answer) = self.recorded_answer(name, query, target, now) {
            return answer;
        }
        let on = facts::on(&self.cluster.deployments, target.map(|target| &target.at));
        if let Some(answer) = self.prometheus.answer(name, query, on, now) {
            return answer;
        }
        let ask = |promql: &str| match query.at {
            Some(at) => self.prometheus.query_at(promql, at, now),
            None => self.prometheus.query(promql, now),
        };
        let value = ask(&query.promql);
        let floor = query.floor.as_ref().map(|(promql, least)| (ask(promql), least.as_str()));
        Answer::of(value, floor)
    }

    /// Asks Prometheus for an earlier time.
    pub fn query_at(&mut self, promql: &str, at: Time, now: Time) -> Fact<Number> {
        self.advance(now);
        self.prometheus.query_at(promql, at, now)
    }

    /// A health URL that always answers the same.
    pub fn set_status(&mut self, url: &str, status: u16) {
        self.statuses.insert(url.to_owned(), status);
    }

    /// A health URL whose status follows the image that runs.
    pub fn add_url(&mut self, url: &str, of: TargetRef, by_image: BTreeMap<String, u16>) {
        self.urls.insert(url.to_owned(), (of, by_image));
    }

    /// That address has this JSON document from that time on; times come in order.
    pub fn set_document(&mut self, url: &str, from: Time, text: &str) {
        self.documents.entry(url.to_owned()).or_default().push((from, text.to_owned()));
    }

    /// Asks for a value in a JSON document.
    pub fn fetch(&mut self, what: &HttpFact, now: Time) -> Fact<String> {
        self.advance(now);
        let there = self.documents.get(&what.url).and_then(|all| all.iter().rev().find(|(from, _)| *from <= now));
        let nobody = || Unknown::new(UnknownKind::Unreachable, format!("no connection to {}", what.url));
        let value = there.ok_or_else(nobody).and_then(|(_, document)| what.read(document.as_bytes()));
        Fact { value, at: now, source: "http".to_owned() }
    }

    /// When the condition of an alert began.
    pub fn onset(&mut self, alert: &Alert, now: Time) -> Onset {
        self.advance(now);
        self.prometheus.onset(alert)
    }

    /// When rules were last evaluated.
    pub fn evaluated_at(&mut self, now: Time) -> Fact<Time> {
        self.advance(now);
        self.prometheus.evaluated_at(now)
    }

    /// How long after a write an alert may still fire.
    pub fn tail(&mut self, alertname: &str, now: Time) -> Option<TailSource> {
        self.advance(now);
        self.prometheus.tail(alertname)
    }

    /// What the Alertmanager peers hold.
    pub fn view(&mut self, fingerprints: &[Fingerprint], evaluated_at: Fact<Time>, now: Time) -> AlertmanagerView {
        self.advance(now);
        let mut view = self.alertmanager.view(fingerprints, evaluated_at, now);
        for peer in view.peers.iter_mut().filter_map(|peer| peer.value.as_mut().ok()) {
            peer.watchdog_at = self.prometheus.watchdog_at(now);
        }
        view
    }

    /// Asks a health URL.
    pub fn check(&mut self, check: &HttpCheck, now: Time) -> HttpResult {
        self.advance(now);
        let status = self.urls.get(&check.url).and_then(|(of, by_image)| {
            let current = self.cluster.deployments.get(of)?.current().filter(|set| set.available(now) > 0)?;
            template::images(&current.template).iter().find_map(|image| by_image.get(image)).copied()
        });
        let result = match self.statuses.get(&check.url).copied().or(status) {
            None => Err("no connection".to_owned()),
            Some(status) if check.status.map_or((200..300).contains(&status), |wanted| wanted == status) => Ok(()),
            Some(status) => Err(format!("status {status}")),
        };
        HttpResult { url: check.url.clone(), result }
    }

    /// From now on Prometheus answers what was so that long ago.
    pub fn lag(&mut self, by: Duration) {
        self.prometheus.lag = by;
        self.log(format!("prometheus answers what was so {} s ago", by.as_secs()));
    }

    /// An Alertmanager peer hears nothing new any more, though it answers; or hears again.
    pub fn freeze_peer(&mut self, number: usize, frozen: bool) {
        self.alertmanager.freeze(number, frozen);
        self.log(format!("alertmanager-{number} {}", if frozen { "hears nothing new" } else { "hears again" }));
    }

    /// Delivers a message.
    pub fn deliver(&mut self, message: &Message, now: Time) -> Delivery {
        self.advance(now);
        self.channels.deliver(message)
    }

    /// An Event is put on a workload.
    pub fn note_event(&mut self, target: &TargetId, incident: &IncidentId, reason: &str, note: &str) {
        self.log(format!("event {reason} on {target} ({incident}): {note}"));
    }

    /// Ends a page; whether one was open.
    pub fn close_page(&mut self, incident: &IncidentId) -> bool {
        self.channels.close(incident)
    }

    /// Every message that a channel took, in order.
    pub fn delivered(&self) -> &[Delivered] {
        self.channels.taken()
    }
}
