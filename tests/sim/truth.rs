//! What was really so: by the witness who stands outside, and by what the story's lines did to the world.

use std::collections::BTreeMap;
use std::time::Duration;

use backout::model::{AlertStatus, Digest, IncidentId, Labels, Mark, Operation, PauseScope, TargetRef, Time};
use backout::policy::matcher::{Matcher, all_match_with};
use backout::simulate::{Command, DIED, Driver, Event, Fault, Latency, NOBODY, Part, Protocol, Request, Testimony};

use super::track::Track;

/// An alert.
#[derive(Clone, Debug)]
pub(crate) struct AlertTruth {
    pub(crate) fires: Track<bool>,
    /// When it began to fire, and when its condition began.
    pub(crate) begins: Vec<(Time, Option<Time>)>,
}

/// A release that was put somewhere.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    pub(crate) at: Time,
    pub(crate) uid: String,
    pub(crate) release: Digest,
    pub(crate) by: String,
}

/// A pause that somebody was told is in force.
#[derive(Clone, Debug)]
pub(crate) struct PauseTruth {
    pub(crate) scope: PauseScope,
    pub(crate) from: Time,
    pub(crate) to: Time,
}

/// What a person was told is done.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) at: Time,
    pub(crate) operation: Operation,
}

/// What was so.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) begin: Time,
    pub(crate) end: Time,
    pub(crate) alerts: BTreeMap<Labels, AlertTruth>,
    pub(crate) puts: BTreeMap<TargetRef, Vec<Put>>,
    pub(crate) available: BTreeMap<(TargetRef, String, Digest), Track<bool>>,
    /// When somebody paused its rollout, or let it go on.
    pub(crate) held: BTreeMap<TargetRef, Vec<Time>>,
    /// Requests and reads in their order.
    pub(crate) testimony: Vec<(Time, Testimony)>,
    pub(crate) lives: Track<bool>,
    pub(crate) starts: Vec<Time>,
    pub(crate) cluster: Track<bool>,
    pub(crate) watch: Track<bool>,
    pub(crate) prometheus: Track<bool>,
    pub(crate) evaluation: Track<bool>,
    pub(crate) lag: Track<Duration>,
    pub(crate) values: BTreeMap<String, Track<Option<f64>>>,
    channels: BTreeMap<String, Track<bool>>,
    pub(crate) speaks: Track<bool>,
    silences: Vec<(Vec<Matcher>, Time, Time)>,
    /// What inhibits what, from when on.
    inhibitions: Vec<(Vec<Matcher>, Vec<Matcher>, Time)>,
    /// When the policies `v2` came into force.
    pub(crate) reloads: Vec<Time>,
    pub(crate) pauses: Vec<PauseTruth>,
    /// Targets and namespaces that carry the annotation, from when on.
    pub(crate) annotated: Vec<(String, Time)>,
    pub(crate) done: Vec<Done>,
    /// What people asked for while nobody answered.
    pub(crate) asked: Vec<Done>,
    pub(crate) refused: Vec<(Time, Operation, String)>,
    /// Firing posts of which something was cut.
    pub(crate) cut: Vec<(Time, Labels)>,
    pub(crate) leaps: Vec<Time>,
    /// By how many milliseconds our clock is ahead at the end.
    pub(crate) ahead: i64,
    pub(crate) latency: Latency,
    /// Answers were late or lost, or a commit was awaited.
    pub(crate) meddled: u32,
    pub(crate) marks: Vec<(Time, IncidentId, Mark)>,
}

impl Truth {
    pub(crate) fn of(driver: &Driver, begin: Time, end: Time) -> Self {
        let none = Protocol::default();
        let protocol = driver.protocol.as_ref().unwrap_or(&none);
        let up = || Track::new(true);
        let mut truth = Self {
            begin,
            end,
            alerts: BTreeMap::new(),
            puts: BTreeMap::new(),
            available: BTreeMap::new(),
            held: BTreeMap::new(),
            testimony: driver.world.testimony().to_vec(),
            lives: Track::new(false),
            starts: protocol.starts.clone(),
            cluster: up(),
            watch: up(),
            prometheus: up(),
            evaluation: up(),
            lag: Track::new(Duration::ZERO),
            values: BTreeMap::new(),
            channels: BTreeMap::new(),
            speaks: Track::new(false),
            silences: Vec::new(),
            inhibitions: Vec::new(),
            reloads: Vec::new(),
            pauses: Vec::new(),
            annotated: Vec::new(),
            done: Vec::new(),
            asked: Vec::new(),
            refused: Vec::new(),
            cut: Vec::new(),
            leaps: Vec::new(),
            ahead: 0,
            latency: Latency::default(),
            meddled: 0,
            marks: Vec::new(),
        };
        for (at, lives) in &protocol.lives {
            truth.lives.set(*at, *lives);
        }
        for (at, command) in &protocol.commands {
            truth.command(*at, command);
        }
        for (at, said) in &truth.testimony.clone() {
            truth.hear(*at, said);
        }
        for (at, operation, refused) in &protocol.answers {
            truth.answer(*at, operation, refused.as_deref());
        }
        truth
    }

    fn command(&mut self, at: Time, command: &Command) {
        match command {
            Command::World(event) => self.event(at, event),
            Command::Reload(_) => self.reloads.push(at),
            Command::Clock(by) => {
                self.leaps.push(at);
                self.ahead += by;
            }
            Command::Fault(Fault::Latency(changes)) => {
                for (name, span) in changes {
                    let field = match name.as_str() {
                        "inbox" => &mut self.latency.inbox,
                        "read" => &mut self.latency.read,
                        "prepare" => &mut self.latency.prepare,
                        "write" => &mut self.latency.write,
                        "tell" => &mut self.latency.tell,
                        _ => &mut self.latency.watch,
                    };
                    *field = (*field).max(*span);
                }
            }
            Command::Fault(Fault::Answer(_) | Fault::Store { full: true }) => self.meddled += 1,
            _ => {}
        }
    }

    fn event(&mut self, at: Time, event: &Event) {
        match event {
            Event::Down(part, down) => self.part(at, part, !down),
            Event::Lag(by) => self.lag.set(at, *by),
            Event::Value(query, value) => {
                self.values.entry(query.clone()).or_insert_with(|| Track::new(Some(f64::INFINITY))).set(at, *value);
            }
            Event::Channel(name) => {
                self.channels.entry(name.clone()).or_insert_with(|| Track::new(true));
                self.speak(at);
            }
            Event::Silence(matchers, _, span) => {
                let to = span.map_or(self.end, |span| at + span);
                self.silences.push((matchers.clone(), at, to));
            }
            Event::Inhibit(source, target) => self.inhibitions.push((source.clone(), target.clone(), at)),
            Event::EndSilences => self.silences.iter_mut().for_each(|silence| silence.2 = silence.2.min(at)),
            Event::Annotate { at: target, key, .. } if key == "backout.dev/pause" => {
                self.annotated.push((format!("{}/{}", target.namespace, target.name), at));
            }
            Event::PauseNamespace { namespace, .. } => self.annotated.push((namespace.clone(), at)),
            Event::Post { labels, truncated, status, .. } if *truncated > 0 && *status == AlertStatus::Firing => {
                self.cut.push((at, labels.clone()));
            }
            _ => {}
        }
    }

    fn part(&mut self, at: Time, part: &Part, up: bool) {
        match part {
            Part::Cluster => self.cluster.set(at, up),
            Part::Watch => self.watch.set(at, up),
            Part::Prometheus => self.prometheus.set(at, up),
            Part::Evaluation => self.evaluation.set(at, up),
            Part::Channel(name) => {
                for (_, track) in self.channels.iter_mut().filter(|(known, _)| *known == name || name.is_empty()) {
                    track.set(at, up);
                }
                self.speak(at);
            }
            Part::Rules | Part::Jobs | Part::Alertmanager(_) => {}
        }
    }

    fn speak(&mut self, at: Time) {
        let any = self.channels.values().any(|channel| *channel.at(at));
        self.speaks.set(at, any);
    }

    fn hear(&mut self, at: Time, said: &Testimony) {
        match said {
            Testimony::Template { target, uid, release, by } => {
                let put = Put { at, uid: uid.clone(), release: release.clone(), by: by.clone() };
                self.puts.entry(target.clone()).or_default().push(put);
            }
            Testimony::Held { target } => self.held.entry(target.clone()).or_default().push(at),
            Testimony::Available { target, uid, release, available } => {
                // Whatever ran there before is not what runs any more.
                for ((other, _, digest), track) in &mut self.available {
                    if other == target && digest != release {
                        track.set(at, false);
                    }
                }
                let key = (target.clone(), uid.clone(), release.clone());
                self.available.entry(key).or_insert_with(|| Track::new(false)).set(at, *available);
            }
            Testimony::Gone { target } => {
                for ((other, ..), track) in &mut self.available {
                    if other == target {
                        track.set(at, false);
                    }
                }
            }
            Testimony::Fires { labels, onset } => {
                let alert = self.alerts.entry(labels.clone());
                let alert = alert.or_insert_with(|| AlertTruth { fires: Track::new(false), begins: Vec::new() });
                alert.fires.set(at, true);
                alert.begins.push((at, *onset));
            }
            Testimony::Ends { labels } => {
                if let Some(alert) = self.alerts.get_mut(labels) {
                    alert.fires.set(at, false);
                }
            }
            Testimony::Asked(_) | Testimony::Written { .. } | Testimony::Read { .. } | Testimony::Scaled { .. } => {}
        }
    }

    fn answer(&mut self, at: Time, operation: &Operation, refused: Option<&str>) {
        // It waits, and may be taken in later, or is durable already.
        if refused == Some(DIED) || (refused == Some(NOBODY) && operation.only_holds_back()) {
            self.asked.push(Done { at, operation: operation.clone() });
        }
        if let Some(why) = refused {
            self.refused.push((at, operation.clone(), why.to_owned()));
            return;
        }
        match operation {
            Operation::Pause { scope, until, .. } => {
                // Its end is a time of day by our clock: where that was set, it is not counted on.
                let to = if self.leaps.is_empty() { *until } else { at };
                self.pauses.push(PauseTruth { scope: scope.clone(), from: at, to });
            }
            Operation::Resume { pause, .. } => {
                let index = usize::try_from(*pause).unwrap_or(0).saturating_sub(1);
                if let Some(pause) = self.pauses.get_mut(index) {
                    pause.to = pause.to.min(at);
                }
            }
            Operation::Mark { incident, mark, .. } => self.marks.push((at, incident.clone(), *mark)),
            _ => {}
        }
        self.done.push(Done { at, operation: operation.clone() });
    }

    /// Whether a silence covers it all that time.
    pub(crate) fn silenced(&self, labels: &Labels, (from, to): (Time, Time)) -> bool {
        self.silences.iter().any(|(matchers, since, until)| *since <= from && to < *until && is_about(matchers, labels))
    }

    /// Whether another alert inhibited it all that time.
    pub(crate) fn inhibited(&self, labels: &Labels, (from, to): (Time, Time)) -> bool {
        self.inhibitions.iter().filter(|(_, target, since)| *since <= from && is_about(target, labels)).any(|(source, ..)| {
            let fires = |(other, alert): (&Labels, &AlertTruth)| {
                other != labels && is_about(source, other) && alert.fires.always((from, to), |fires| *fires)
            };
            self.alerts.iter().any(fires)
        })
    }

    /// Whether another alert ever inhibited it in that time.
    pub(crate) fn ever_inhibited(&self, labels: &Labels, (from, to): (Time, Time)) -> bool {
        self.inhibitions.iter().filter(|(_, target, since)| *since <= to && is_about(target, labels)).any(|(source, ..)| {
            let fired = |(other, alert): (&Labels, &AlertTruth)| {
                other != labels && is_about(source, other) && !alert.fires.always((from, to), |fires| !fires)
            };
            self.alerts.iter().any(fired)
        })
    }

    /// Whether it was ever silenced in that time.
    pub(crate) fn ever_silenced(&self, labels: &Labels, (from, to): (Time, Time)) -> bool {
        self.silences.iter().any(|(matchers, since, until)| *since <= to && from < *until && is_about(matchers, labels))
    }

    /// Requests to write that reached the API server.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (Time, &Request)> {
        self.testimony.iter().filter_map(|(at, said)| match said {
            Testimony::Asked(request) => Some((*at, request)),
            _ => None,
        })
    }

    /// Writes that were made: when, what was asked for, on which object, and what ran there.
    pub(crate) fn writes(&self) -> impl Iterator<Item = (Time, &Request, &str, &Digest)> {
        self.testimony.iter().filter_map(|(at, said)| match said {
            Testimony::Written { request, uid, left } => Some((*at, request, uid.as_str(), left)),
            _ => None,
        })
    }

    /// When the service lived, remembered and could speak for so long since then.
    pub(crate) fn good(&self, from: Time, span: Duration) -> Option<Time> {
        let mut left = span;
        let mut times: Vec<Time> = self.lives.changes().chain(self.speaks.changes()).filter(|at| from < *at).collect();
        times.push(self.end);
        times.sort_unstable();
        let mut since = from;
        for at in times {
            let good = *self.lives.at(since) && *self.speaks.at(since);
            if good {
                let piece = at.since(since);
                if piece >= left {
                    return Some(since + left);
                }
                left -= piece;
            }
            since = at;
        }
        None
    }

    /// A name, as policies write it.
    pub(crate) fn name(target: &TargetRef) -> String {
        format!("{}/{}", target.namespace, target.name)
    }
}

fn is_about(matchers: &[Matcher], labels: &Labels) -> bool {
    all_match_with(matchers, |name| labels.get(name).map(String::as_str))
}
