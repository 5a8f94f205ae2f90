//! A world in memory: a cluster, Prometheus, Alertmanager and channels, which move as time goes by. Synchronous and deterministic:
//! the caller says what time it is.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};

use super::alertmanager::{self, Alertmanager, Peer};
use super::channels::Channels;
use super::cluster::{Cluster, Doubt};
use super::deployment::Deployment;
use super::facts::{FactSeries, Facts};
use super::firing::{Firing, Scheduled};
use super::prometheus::{Change, Prometheus, Rule, Series};
use super::witness::Testimony;
use crate::model::{Alert, AlertStatus, Labels, TargetRef, Texts, Time, Unknown, WatchEvent};
use crate::policy::matcher::Matcher;

/// What comes out of the world by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Emitted {
    /// The watch saw something.
    Watch(Box<WatchEvent>),
    /// Alertmanager posts this body to our webhook.
    Webhook(Vec<u8>),
    /// Something for the transcript.
    Log(String),
}

/// What may be down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The API server.
    Cluster,
    /// The list of Jobs.
    Jobs,
    /// The watch, while the API server answers questions.
    Watch,
    /// Prometheus.
    Prometheus,
    /// Rule evaluation, while Prometheus answers.
    Evaluation,
    /// What Prometheus says of its rules, while it evaluates them.
    Rules,
    /// One peer, or all.
    Alertmanager(Option<usize>),
    /// A channel; all of them where the name is empty.
    Channel(String),
}

/// How a Deployment begins.
#[derive(Clone, Debug)]
pub struct NewDeployment {
    /// Where.
    pub at: TargetRef,
    /// Its image.
    pub image: String,
    /// How many pods.
    pub replicas: i32,
    /// How long a pod takes to become ready.
    pub ready_after: Duration,
    /// `revisionHistoryLimit`.
    pub history_limit: usize,
    /// `strategy: Recreate`.
    pub recreate: bool,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The annotations of its pods' template.
    pub template_annotations: BTreeMap<String, String>,
    /// A ConfigMap that its environment is from.
    pub config_map: Option<String>,
}

/// The world.
#[derive(Clone, Debug, Default)]
pub struct World {
    now: Time,
    pub(super) cluster: Cluster,
    pub(super) prometheus: Prometheus,
    pub(super) alertmanager: Alertmanager,
    pub(super) channels: Channels,
    /// What health URLs answer, by URL and image.
    pub(super) urls: BTreeMap<String, (TargetRef, BTreeMap<String, u16>)>,
    /// Health URLs that always answer the same.
    pub(super) statuses: BTreeMap<String, u16>,
    /// JSON documents by address, each from a time on.
    pub(super) documents: BTreeMap<String, Vec<(Time, String)>>,
    pub(super) emitted: VecDeque<Emitted>,
}

impl World {
    /// An empty world with as many Alertmanager peers, up for a long time.
    pub fn new(now: Time, peers: usize) -> Self {
        let peer = Peer { up_since: now - Duration::from_secs(86_400), down: false, empty: false, frozen: None };
        let mut world = Self { now, ..Self::default() };
        world.alertmanager.peers = vec![peer; peers];
        world
    }

    /// Lets the time go by: everything that happens by itself until then happens, in order.
    pub fn advance(&mut self, now: Time) {
        while let Some(at) = self.next_event().filter(|at| *at <= now) {
            self.now = self.now.max(at);
            let at = self.now;
            let events = self.cluster.run(at);
            self.emit_watch(events);
            self.prometheus.sample(&self.cluster.deployments, at);
            for change in self.prometheus.evaluate(at) {
                match change {
                    Change::Fires { labels, starts_at } => {
                        self.emitted.push_back(Emitted::Log(format!("alert {} fires", name(&(&labels).into()))));
                        let onset = self.prometheus.active_since(&labels);
                        self.witness(at, || Testimony::Fires { labels: labels.clone(), onset });
                        self.alertmanager.fire(labels, Labels::new(), starts_at, at);
                    }
                    Change::Ends { labels } => {
                        self.witness(at, || Testimony::Ends { labels: labels.clone() });
                        let labels = Texts::from(&labels);
                        self.emitted.push_back(Emitted::Log(format!("alert {} is over", name(&labels))));
                        self.alertmanager.end(&labels, at);
                    }
                }
            }
            for (index, change) in self.prometheus.follow_timetables(&self.cluster.deployments, at) {
                self.follow(index, change, at);
            }
            let bodies = self.alertmanager.notify(at);
            self.emitted.extend(bodies.into_iter().map(Emitted::Webhook));
        }
        self.now = self.now.max(now);
    }

    /// An alert by a timetable begins or ends.
    fn follow(&mut self, index: usize, change: Change, at: Time) {
        let Some(firing) = self.prometheus.scheduled.get(index).map(|scheduled| &scheduled.firing) else { return };
        match change {
            Change::Fires { labels, starts_at } => {
                let (annotations, hold, tail) = (firing.annotations.clone(), firing.hold, firing.tail);
                let alert = self.alertmanager.fire(labels, annotations, starts_at, at);
                let named = tail.map(|tail| (alert.label("alertname").to_owned(), tail));
                self.log(format!("alert {} fires", name(&alert.labels)));
                self.prometheus.know(alert.fingerprint, Ok(starts_at - hold), named);
            }
            Change::Ends { labels } => {
                let labels = Texts::from(&labels);
                self.log(format!("alert {} is over", name(&labels)));
                self.alertmanager.end(&labels, at);
            }
        }
    }

    /// When something happens next by itself.
    pub fn next_event(&self) -> Option<Time> {
        [self.cluster.next_event(), self.prometheus.next_event(), self.alertmanager.next_event()].into_iter().flatten().min()
    }

    /// The time that the world has reached.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The names of a workload's pods.
    pub fn pods(&self, at: &TargetRef) -> Vec<String> {
        let sets = self.cluster.deployments.get(at).into_iter().flat_map(|deployment| &deployment.sets);
        sets.flat_map(|set| &set.pods).map(|pod| pod.name.clone()).collect()
    }

    /// The alert with these labels, if Alertmanager holds it.
    pub fn held(&self, labels: &Labels) -> Option<Alert> {
        self.alertmanager.known(labels)
    }

    /// Takes what came out since.
    pub fn take_emitted(&mut self) -> Vec<Emitted> {
        self.emitted.drain(..).collect()
    }

    fn emit_watch(&mut self, events: Vec<WatchEvent>) {
        self.emitted.extend(std::mem::take(&mut self.cluster.log).into_iter().map(Emitted::Log));
        self.emitted.extend(events.into_iter().map(|event| Emitted::Watch(Box::new(event))));
    }

    /// Something was done to the cluster: the watch sees it, series follow.
    pub(super) fn touched(&mut self) {
        let events = self.cluster.watched(self.now);
        self.emit_watch(events);
        self.prometheus.sample(&self.cluster.deployments, self.now);
    }

    pub(super) fn log(&mut self, text: String) {
        self.emitted.push_back(Emitted::Log(text));
    }
}

/// What people, pipelines and misfortune do.
impl World {
    /// Somebody makes a Deployment.
    pub fn create(&mut self, new: &NewDeployment, by: &str) {
        let uid = self.cluster.uid(&new.at);
        let mut template = pod_template(&new.at.name, &new.image, new.config_map.as_deref());
        if let (Some(metadata), false) = (template.pointer_mut("/metadata"), new.template_annotations.is_empty()) {
            metadata["annotations"] = json!(new.template_annotations);
        }
        let mut made = Deployment::new(new.at.clone(), uid, template, new.replicas, (by, self.now));
        made.ready_after = new.ready_after;
        made.history_limit = new.history_limit;
        made.followed = self.cluster.past.followed();
        made.recreate = new.recreate;
        made.annotations.clone_from(&new.annotations);
        made.labels.clone_from(&new.labels);
        if let Some(name) = &new.config_map {
            self.cluster.config_maps.insert(format!("{}/{name}", new.at.namespace));
        }
        self.cluster.deployments.insert(new.at.clone(), made);
        self.log(format!("{}/{} created with {} by {by}", new.at.namespace, new.at.name, new.image));
        self.touched();
    }

    /// Somebody puts another image there; with it, other annotations of the template and another ConfigMap.
    pub fn deploy(&mut self, at: &TargetRef, image: &str, by: &str, annotations: &[(String, String)], config_map: Option<&str>) {
        let now = self.now;
        let Some(deployment) = self.cluster.deployments.get_mut(at) else { return };
        let mut template = deployment.template.clone();
        if let Some(name) = config_map {
            template = pod_template(&at.name, image, Some(name));
            self.cluster.config_maps.insert(format!("{}/{name}", at.namespace));
        }
        if let Some(container) = template.pointer_mut("/spec/containers/0").and_then(Value::as_object_mut) {
            container.insert("image".to_owned(), json!(image));
        }
        if let (Some(metadata), false) = (template.get_mut("metadata").and_then(Value::as_object_mut), annotations.is_empty()) {
            let map: BTreeMap<_, _> = annotations.iter().cloned().collect();
            metadata.insert("annotations".to_owned(), json!(map));
        }
        deployment.write_template(template, by, now);
        let generation = deployment.generation;
        self.log(format!("{}/{} template {image} by {by} (generation {generation})", at.namespace, at.name));
        self.touched();
    }

    /// Somebody scales.
    pub fn scale(&mut self, at: &TargetRef, replicas: i32, by: &str) {
        let now = self.now;
        if let Some(deployment) = self.cluster.deployments.get_mut(at) {
            deployment.write_replicas(replicas, by, now);
        }
        self.log(format!("{}/{} scaled to {replicas} by {by}", at.namespace, at.name));
        self.touched();
    }

    /// Somebody pauses a rollout, or lets it go on.
    pub fn pause_rollout(&mut self, at: &TargetRef, paused: bool, by: &str) {
        let now = self.now;
        if let Some(deployment) = self.cluster.deployments.get_mut(at) {
            deployment.write_paused(paused, by, now);
        }
        self.log(format!("{}/{} paused: {paused}, by {by}", at.namespace, at.name));
        self.touched();
    }

    /// Somebody annotates the Deployment itself.
    pub fn annotate(&mut self, at: &TargetRef, key: &str, value: &str) {
        let now = self.now;
        if let Some(deployment) = self.cluster.deployments.get_mut(at) {
            deployment.annotate(key, value, now);
        }
        self.log(format!("{}/{} annotated {key}={value}", at.namespace, at.name));
        self.touched();
    }

    /// Somebody pauses us in a namespace, by its annotation.
    pub fn pause_namespace(&mut self, namespace: &str, reason: &str) {
        self.cluster.paused_namespaces.insert(namespace.to_owned(), reason.to_owned());
        self.cluster.forget();
        self.log(format!("namespace {namespace} annotated: {reason}"));
    }

    /// Somebody deletes a Deployment.
    pub fn delete(&mut self, at: &TargetRef) {
        self.cluster.deployments.remove(at);
        self.log(format!("{}/{} deleted", at.namespace, at.name));
        self.touched();
    }

    /// Somebody deletes a ConfigMap, `namespace/name`.
    pub fn delete_config_map(&mut self, name: &str) {
        self.cluster.config_maps.remove(name);
        self.log(format!("configmap {name} deleted"));
    }

    /// Pods of this image never become ready.
    pub fn break_image(&mut self, image: &str) {
        self.cluster.images.broken.push(image.to_owned());
    }

    /// Pods cannot be created any more, or again.
    pub fn refuse_pods(&mut self, why: Option<String>) {
        self.cluster.images.no_pods = why;
        self.cluster.wake(self.now);
    }

    /// An alert fires that no rule makes. Its condition began at `onset`.
    pub fn fire(&mut self, labels: Labels, onset: Result<Time, Unknown>, tail: Option<Duration>) -> Alert {
        let now = self.now;
        self.witness(now, || Testimony::Fires { labels: labels.clone(), onset: onset.as_ref().ok().copied() });
        let alert = self.alertmanager.fire(labels, Labels::new(), now, now);
        let named = (alert.label("alertname").to_owned(), tail);
        self.prometheus.know(alert.fingerprint, onset, named.1.map(|tail| (named.0, tail)));
        self.log(format!("alert {} fires", name(&alert.labels)));
        alert
    }

    /// The alerts of that name are over.
    pub fn resolve_alert(&mut self, alertname: &str) {
        for alert in self.alertmanager.firing(alertname) {
            self.alertmanager.end(&alert.labels, self.now);
            self.witness(self.now, || Testimony::Ends { labels: alert.labels.to_map() });
            self.log(format!("alert {} is over", name(&alert.labels)));
        }
    }

    /// The alert with these labels is over.
    pub fn end_alert(&mut self, labels: &Labels) {
        let labels = Texts::from(labels);
        self.alertmanager.end(&labels, self.now);
        self.log(format!("alert {} is over", name(&labels)));
    }

    /// The peers forget an alert; nobody says that it is over.
    pub fn lose_alert(&mut self, alertname: &str) {
        for alert in self.alertmanager.firing(alertname) {
            self.witness(self.now, || Testimony::Ends { labels: alert.labels.to_map() });
        }
        self.alertmanager.lose(alertname);
        self.log(format!("alert {alertname} is lost by every peer"));
    }

    /// A webhook comes that nothing in the world stands for: late, repeated, cut, or of another cluster.
    pub fn post(&mut self, alerts: &[Alert], truncated: u64) {
        let words = |alert: &Alert| {
            let status = if alert.status == AlertStatus::Firing { "firing" } else { "resolved" };
            format!("{} {status}", name(&alert.labels))
        };
        let what: Vec<String> = alerts.iter().map(words).collect();
        let cut = if truncated > 0 { format!(", {truncated} cut") } else { String::new() };
        self.log(format!("webhook: {}{cut}", what.join(", ")));
        self.emitted.push_back(Emitted::Webhook(alertmanager::body(alerts, truncated)));
    }

    /// A rule that is evaluated from now on.
    pub fn add_rule(&mut self, rule: Rule) {
        self.prometheus.add_rule(rule, self.now);
    }

    /// A rule whose alert always fires.
    pub fn add_watchdog(&mut self) {
        self.prometheus.watchdog = true;
    }

    /// An alert by a timetable; its conditions are looked at as often as rules are evaluated.
    pub fn add_firing(&mut self, firing: Firing) {
        let scheduled = Scheduled::new(firing, self.prometheus.interval(), self.now);
        self.prometheus.scheduled.push(scheduled);
    }

    /// From now on facts are what is said here by name, whatever their queries are. The second: the traffic of their floors.
    pub fn set_facts(&mut self, values: BTreeMap<String, FactSeries>, floors: BTreeMap<String, FactSeries>) {
        self.prometheus.facts = Some(Facts { values, floors });
    }

    /// How often rules are evaluated.
    pub fn set_interval(&mut self, interval: Duration) {
        self.prometheus.interval = Some(interval);
    }

    /// A series that follows what runs.
    pub fn add_series(&mut self, query: &str, series: Series) {
        self.prometheus.add_series(query, series);
        self.prometheus.sample(&self.cluster.deployments, self.now);
    }

    /// A value by hand; `None`: no samples.
    pub fn set_value(&mut self, query: &str, value: Option<f64>) {
        self.prometheus.set(query, value);
    }

    /// Somebody silences what matches.
    pub fn silence(&mut self, matchers: Vec<Matcher>, by: &str, until: Option<Time>) {
        self.alertmanager.silence(matchers, by.to_owned(), until);
        self.log(format!("silenced by {by}"));
    }

    /// All silences end.
    pub fn end_silences(&mut self) {
        self.alertmanager.end_silences();
        self.log("silences end".to_owned());
    }

    /// From now on alerts that match `source` inhibit those that match `target`.
    pub fn inhibit(&mut self, source: Vec<Matcher>, target: Vec<Matcher>) {
        self.alertmanager.inhibit(source, target);
    }

    /// How long notifications wait: new alerts, and news of known ones.
    pub fn set_grouping(&mut self, wait: Duration, interval: Duration) {
        self.alertmanager.group_wait = wait;
        self.alertmanager.group_interval = interval;
    }

    /// A peer is started anew; it holds nothing until it is told again.
    pub fn restart_peer(&mut self, number: usize) {
        let now = self.now;
        if let Some(peer) = self.alertmanager.peers.get_mut(number) {
            *peer = Peer { up_since: now, down: false, empty: true, frozen: None };
        }
        self.log(format!("alertmanager-{number} was started anew"));
    }

    /// Channels keep no messages any more.
    pub fn forget_messages(&mut self) {
        self.channels.keeps = false;
    }

    /// A channel for messages.
    pub fn add_channel(&mut self, name: &str) {
        self.channels.add(name);
    }

    /// Something is down, or up again.
    pub fn set_down(&mut self, part: &Part, down: bool) {
        let now = self.now;
        let since = |known: Option<Time>| down.then(|| known.unwrap_or(now));
        match part {
            Part::Cluster => self.cluster.set_down(down, now),
            Part::Jobs => {
                self.cluster.migrations.hidden = down;
                self.cluster.forget();
            }
            Part::Watch => self.cluster.cut_watch(down, now),
            Part::Prometheus => self.prometheus.down_since = since(self.prometheus.down_since),
            Part::Evaluation => self.prometheus.stalled_since = since(self.prometheus.stalled_since),
            Part::Rules => self.prometheus.rules_hidden = down,
            Part::Alertmanager(which) => {
                for (_, peer) in self
                    .alertmanager
                    .peers
                    .iter_mut()
                    .enumerate()
                    .filter(|(number, _)| which.is_none_or(|which| which == *number))
                {
                    peer.down = down;
                }
            }
            Part::Channel(name) => self.channels.set_down(name, down),
        }
        self.log(format!("{part:?} is {}", if down { "down" } else { "up" }));
        self.touched();
    }

    /// We may not patch any more, or may again.
    pub fn forbid_writes(&mut self, forbidden: bool) {
        self.cluster.forbidden = forbidden;
    }

    /// Dry runs are refused for this reason, or not any more.
    pub fn refuse_dry_runs(&mut self, why: Option<String>) {
        self.cluster.refuses = why;
    }

    /// The next write's answer is lost.
    pub fn doubt_next_write(&mut self, doubt: Doubt) {
        self.cluster.doubt = Some(doubt);
    }

    /// The watch begins anew, as after a restart of ours.
    pub fn reconnect(&mut self) {
        self.cluster.reconnect();
        self.touched();
    }
}

/// `HighErrorRate{…}` without the rest: for the transcript.
fn name(labels: &Texts) -> String {
    labels.get("alertname").unwrap_or("without a name").to_owned()
}

fn pod_template(app: &str, image: &str, config_map: Option<&str>) -> Value {
    let mut container = json!({"name": app, "image": image});
    if let (Some(name), Some(map)) = (config_map, container.as_object_mut()) {
        map.insert("envFrom".to_owned(), json!([{"configMapRef": {"name": name}}]));
    }
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [container]}})
}
