//! Prometheus: series that follow what runs, rules that are evaluated, and what both say about an alert's beginning.

use std::collections::BTreeMap;
use std::time::Duration;

use super::deployment::Deployment;
use super::facts::Facts;
use super::firing::Scheduled;
use crate::decide::observation::Answer;
use crate::model::{
    Alert, Fact, Fingerprint, Labels, Number, Onset, Query, TailSource, TargetRef, Texts, Time, Unknown, UnknownKind, template,
};

/// How often rules are evaluated.
pub const INTERVAL: Duration = Duration::from_secs(15);

/// How long Alertmanager keeps an alert that Prometheus does not send again.
const KEPT: Duration = Duration::from_secs(240);

/// A series whose value follows the images that run.
#[derive(Clone, Debug)]
pub struct Series {
    /// The workload whose pods it is about.
    pub of: TargetRef,
    /// Its value where only this image serves; mixed by available pods.
    pub by_image: BTreeMap<String, f64>,
    /// Its value for other images.
    pub otherwise: f64,
    /// Over how long it is averaged, as `rate` does.
    pub look_back: Duration,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The labels of its alert, `alertname` among them.
    pub labels: Labels,
    /// The series that it looks at.
    pub query: String,
    /// It holds above this.
    pub above: f64,
    /// For so long before it fires.
    pub hold: Duration,
    /// It goes on firing for so long after.
    pub keep: Duration,
}

#[derive(Clone, Debug, Default)]
struct RuleState {
    active_since: Option<Time>,
    fires_since: Option<Time>,
    held_last: Option<Time>,
}

/// What a rule's alert does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    Fires { labels: Labels, starts_at: Time },
    Ends { labels: Labels },
}

/// Prometheus.
#[derive(Clone, Debug, Default)]
pub(super) struct Prometheus {
    pub(super) down_since: Option<Time>,
    /// Since when rules are not evaluated any more.
    pub(super) stalled_since: Option<Time>,
    /// Whether nobody may read what rules there are and when they were evaluated.
    pub(super) rules_hidden: bool,
    /// Whether one of the rules always fires.
    pub(super) watchdog: bool,
    /// How old what it answers is.
    pub(super) lag: Duration,
    series: BTreeMap<String, Series>,
    /// What each series read, whenever that changed.
    history: BTreeMap<String, Vec<(Time, Option<f64>)>>,
    /// Values that were set by hand; `None`: nothing there.
    fixed: BTreeMap<String, Option<f64>>,
    rules: Vec<(Rule, RuleState)>,
    /// What facts are by name; where it is said, queries are answered by it.
    pub(super) facts: Option<Facts>,
    /// Alerts by a timetable.
    pub(super) scheduled: Vec<Scheduled>,
    /// How often rules are evaluated, where it is not `INTERVAL`.
    pub(super) interval: Option<Duration>,
    /// Onsets and tails of alerts that were made by hand.
    onsets: BTreeMap<Fingerprint, Result<Time, Unknown>>,
    tails: BTreeMap<String, Duration>,
    next_evaluation: Option<Time>,
}

impl Prometheus {
    pub(super) fn add_series(&mut self, query: &str, series: Series) {
        self.series.insert(query.to_owned(), series);
    }

    pub(super) fn add_rule(&mut self, rule: Rule, now: Time) {
        self.rules.push((rule, RuleState::default()));
        self.next_evaluation = self.next_evaluation.or(Some(now));
    }

    /// A value that stays as it is set; `None`: no samples.
    pub(super) fn set(&mut self, query: &str, value: Option<f64>) {
        self.fixed.insert(query.to_owned(), value);
    }

    /// An alert that no rule here makes: when its condition began, and its tail.
    pub(super) fn know(&mut self, fingerprint: Fingerprint, onset: Result<Time, Unknown>, tail: Option<(String, Duration)>) {
        self.onsets.insert(fingerprint, onset);
        self.tails.extend(tail);
    }

    pub(super) fn next_event(&self) -> Option<Time> {
        self.scheduled.iter().filter_map(Scheduled::next_event).chain(self.next_evaluation).min()
    }

    /// How often rules are evaluated.
    pub(super) fn interval(&self) -> Duration {
        self.interval.unwrap_or(INTERVAL)
    }

    /// What is answered to a fact's query on a target; `None` in a world that says what queries give.
    pub(super) fn answer(&self, name: &str, query: &Query, on: Option<&Deployment>, now: Time) -> Option<Answer> {
        let facts = self.facts.as_ref()?;
        if self.down_since.is_some() {
            let mute = || Fact::unknown(silent(), now, "prometheus");
            return Some(Answer { value: mute(), floor: query.floor.as_ref().map(|_| mute()) });
        }
        Some(facts.answer(name, query, on, now))
    }

    /// What alerts by a timetable do now. Prometheus answers nobody while it is down: a condition stays as it was.
    pub(super) fn follow_timetables(&mut self, deployments: &BTreeMap<TargetRef, Deployment>, now: Time) -> Vec<(usize, Change)> {
        let mute = Facts::default();
        let facts = self.facts.as_ref().filter(|_| self.down_since.is_none() && self.stalled_since.is_none()).unwrap_or(&mute);
        let step = |(index, scheduled): (usize, &mut Scheduled)| Some((index, scheduled.step(facts, deployments, now)?));
        self.scheduled.iter_mut().enumerate().filter_map(step).collect()
    }

    /// What the series read now.
    pub(super) fn sample(&mut self, deployments: &BTreeMap<TargetRef, Deployment>, now: Time) {
        for (query, series) in &self.series {
            let value = deployments.get(&series.of).and_then(|deployment| mixed(series, deployment, now));
            let history = self.history.entry(query.clone()).or_default();
            if history.last().is_none_or(|(_, last)| *last != value) {
                history.push((now, value));
            }
        }
    }

    /// Evaluates the rules, if it is time.
    pub(super) fn evaluate(&mut self, now: Time) -> Vec<Change> {
        if self.next_evaluation.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.next_evaluation = Some(now + self.interval());
        if self.down_since.is_some() || self.stalled_since.is_some() {
            return Vec::new();
        }
        let mut rules = std::mem::take(&mut self.rules);
        let mut changes = Vec::new();
        for (rule, state) in &mut rules {
            let holds = self.value(&rule.query, now).is_ok_and(|value| value > rule.above);
            changes.extend(state.step(rule, holds, now));
        }
        self.rules = rules;
        changes
    }

    pub(super) fn query(&self, promql: &str, now: Time) -> Fact<Number> {
        if self.down_since.is_some() {
            return Fact::unknown(silent(), now, "prometheus");
        }
        let at = now - self.lag;
        Fact { value: self.value(promql, at).and_then(number), at, source: "prometheus".to_owned() }
    }

    /// What the query gave at an earlier time, as far as it is remembered.
    pub(super) fn query_at(&self, promql: &str, at: Time, now: Time) -> Fact<Number> {
        if self.down_since.is_some() {
            return Fact::unknown(silent(), now, "prometheus");
        }
        Fact { value: self.value(promql, at).and_then(number), at, source: "prometheus".to_owned() }
    }

    fn value(&self, promql: &str, now: Time) -> Result<f64, Unknown> {
        let nothing = || Unknown::new(UnknownKind::Empty, "the query has no samples");
        if let Some(fixed) = self.fixed.get(promql) {
            return fixed.ok_or_else(nothing);
        }
        let (series, history) = self.series.get(promql).zip(self.history.get(promql)).ok_or_else(nothing)?;
        average(history, now - series.look_back, now).ok_or_else(nothing)
    }

    /// Since when the condition of the rule with these labels holds.
    pub(super) fn active_since(&self, labels: &Labels) -> Option<Time> {
        self.rules.iter().find(|(rule, _)| rule.labels == *labels).and_then(|(_, state)| state.active_since)
    }

    pub(super) fn onset(&self, alert: &Alert) -> Onset {
        if self.down_since.is_some() {
            return Onset { at: Err(silent()), source: "prometheus".to_owned() };
        }
        let active = |(rule, state): &(Rule, RuleState)| {
            (Texts::from(&rule.labels) == alert.labels).then_some(state.active_since).flatten()
        };
        let by_rule = self.rules.iter().find_map(active).map(Ok);
        let known = by_rule.or_else(|| self.onsets.get(&alert.fingerprint).cloned());
        let at = known.unwrap_or_else(|| Err(Unknown::new(UnknownKind::Empty, "no ALERTS_FOR_STATE and no rule of that name")));
        Onset { at, source: "ALERTS_FOR_STATE".to_owned() }
    }

    pub(super) fn evaluated_at(&self, now: Time) -> Fact<Time> {
        if self.down_since.is_some() {
            return Fact::unknown(silent(), now, "prometheus rules");
        }
        if self.rules_hidden {
            let why = Unknown::new(UnknownKind::Forbidden, "GET api/v1/rules answered 403");
            return Fact::unknown(why, now, "prometheus rules");
        }
        let at = self.stalled_since.unwrap_or_else(|| {
            let interval = i64::try_from(self.interval().as_millis()).unwrap_or(1).max(1);
            Time::from_millis(now.millis().div_euclid(interval) * interval)
        });
        Fact::known(at, at, "prometheus rules")
    }

    /// When the alert that always fires was last sent: each minute while rules are evaluated; gone some minutes after the last.
    pub(super) fn watchdog_at(&self, now: Time) -> Option<Time> {
        let until = [self.down_since, self.stalled_since].into_iter().flatten().min().unwrap_or(now);
        let sent = Time::from_millis(until.millis().div_euclid(60_000) * 60_000);
        (self.watchdog && now.since(sent) < KEPT).then_some(sent)
    }

    pub(super) fn tail(&self, alertname: &str) -> Option<TailSource> {
        let of = |(rule, _): &(Rule, RuleState)| {
            let named = rule.labels.get("alertname").is_some_and(|name| name == alertname);
            let look_back = self.series.get(&rule.query).map_or(Duration::ZERO, |series| series.look_back);
            named.then(|| look_back + rule.keep + 2 * self.interval())
        };
        let tail = self.rules.iter().find_map(of).or_else(|| self.tails.get(alertname).copied());
        let tail = tail.filter(|_| self.down_since.is_none())?;
        Some(TailSource { tail, source: "prometheus rules".to_owned() })
    }
}

impl RuleState {
    fn step(&mut self, rule: &Rule, holds: bool, now: Time) -> Option<Change> {
        if holds {
            self.held_last = Some(now);
            let since = *self.active_since.get_or_insert(now);
            if self.fires_since.is_none() && now.since(since) >= rule.hold {
                self.fires_since = Some(now);
                return Some(Change::Fires { labels: rule.labels.clone(), starts_at: now });
            }
            return None;
        }
        let kept = self.fires_since.is_some() && self.held_last.is_some_and(|at| now.since(at) < rule.keep);
        if kept {
            return None;
        }
        let fired = self.fires_since.is_some();
        *self = Self::default();
        fired.then(|| Change::Ends { labels: rule.labels.clone() })
    }
}

/// The value by what serves: the mean over the available pods. Nothing serves: nothing to read.
fn mixed(series: &Series, deployment: &Deployment, now: Time) -> Option<f64> {
    let (mut sum, mut pods) = (0.0, 0.0);
    for set in &deployment.sets {
        let serving = f64::from(set.available(now));
        let images = template::images(&set.template);
        let value = images.iter().find_map(|image| series.by_image.get(image)).copied().unwrap_or(series.otherwise);
        sum += serving * value;
        pods += serving;
    }
    (pods > 0.0).then(|| sum / pods)
}

/// The mean of a step function over a window; what was not there does not count.
fn average(history: &[(Time, Option<f64>)], from: Time, to: Time) -> Option<f64> {
    let latest = history.iter().rev().find(|(at, _)| *at <= to)?.1;
    let (mut sum, mut weight) = (0.0, 0.0);
    for (index, (at, value)) in history.iter().enumerate() {
        let end = history.get(index + 1).map_or(to, |(next, _)| *next).min(to);
        let span = end.since((*at).max(from)).as_secs_f64();
        if let (Some(value), true) = (value, span > 0.0) {
            sum += value * span;
            weight += span;
        }
    }
    if weight > 0.0 { Some(sum / weight) } else { latest }
}

pub(super) fn number(value: f64) -> Result<Number, Unknown> {
    Number::new(value).ok_or_else(|| Unknown::new(UnknownKind::Unusable, "the value is not a number"))
}

/// What a Prometheus that does not answer says.
pub(super) fn silent() -> Unknown {
    Unknown::new(UnknownKind::Unreachable, "prometheus does not answer")
}
