//! Alerts that fire by a timetable, or while a condition on the world's facts holds: what a world says of an alert instead of a
//! rule of Prometheus.

use std::collections::BTreeMap;
use std::time::Duration;

use super::deployment::Deployment;
use super::facts::{self, Facts};
use super::prometheus::Change;
use crate::model::{Labels, TargetRef, Time};
use crate::policy::expr::{Expr, Known, Path, Scope, Tri, Value};

/// When an alert fires.
#[derive(Clone, Debug)]
pub struct Window {
    /// From here …
    pub from: Time,
    /// … until then; not included.
    pub to: Option<Time>,
    /// Again and again: how often, and for how long each time.
    pub every: Option<(Duration, Duration)>,
    /// Only while this holds. Where it cannot be told, the alert stays as it is.
    pub condition: Option<Expr>,
}

/// An alert by its timetable.
#[derive(Clone, Debug)]
pub struct Firing {
    /// Its labels, `alertname` among them.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Labels,
    /// How long its condition held before it fired.
    pub hold: Duration,
    /// How long after a write it may still fire.
    pub tail: Option<Duration>,
    /// When it fires.
    pub windows: Vec<Window>,
    /// The target that its conditions are about.
    pub of: Option<TargetRef>,
}

/// A timetable that is carried out.
#[derive(Clone, Debug)]
pub(super) struct Scheduled {
    pub(super) firing: Firing,
    /// How often conditions are looked at.
    interval: Duration,
    fires: bool,
    next: Option<Time>,
}

impl Scheduled {
    pub(super) fn new(firing: Firing, interval: Duration, now: Time) -> Self {
        let mut scheduled = Self { firing, interval: interval.max(Duration::from_secs(1)), fires: false, next: None };
        scheduled.next = scheduled.after(now.shifted(-1));
        scheduled
    }

    pub(super) fn next_event(&self) -> Option<Time> {
        self.next
    }

    /// What changes now, if it is time.
    pub(super) fn step(&mut self, facts: &Facts, deployments: &BTreeMap<TargetRef, Deployment>, now: Time) -> Option<Change> {
        if self.next.is_none_or(|at| at > now) {
            return None;
        }
        self.next = self.after(now);
        let on = facts::on(deployments, self.firing.of.as_ref());
        let scope = FactScope { facts, labels: &self.firing.labels, annotations: &self.firing.annotations, on, now };
        let fires = self.firing.windows.iter().any(|window| window.holds(&scope, self.fires));
        let changed = fires != self.fires;
        self.fires = fires;
        let labels = || self.firing.labels.clone();
        changed
            .then(|| if fires { Change::Fires { labels: labels(), starts_at: now } } else { Change::Ends { labels: labels() } })
    }

    /// When something may change next.
    fn after(&self, now: Time) -> Option<Time> {
        self.firing.windows.iter().filter_map(|window| window.after(now, self.interval)).min()
    }
}

impl Window {
    fn holds(&self, scope: &FactScope<'_>, fires: bool) -> bool {
        let now = scope.now;
        let inside = self.from <= now && self.to.is_none_or(|to| now < to);
        let turn = self.every.is_none_or(|(every, lasting)| millis(now.since(self.from)) % millis(every) < millis(lasting));
        inside
            && turn
            && self.condition.as_ref().is_none_or(|condition| match condition.eval(scope).tri {
                Tri::True => true,
                Tri::False => false,
                Tri::Unknown(_) => fires,
            })
    }

    fn after(&self, now: Time, interval: Duration) -> Option<Time> {
        if now < self.from {
            return Some(self.from);
        }
        if self.to.is_some_and(|to| to <= now) {
            return None;
        }
        let passed = millis(now.since(self.from));
        // The first multiple of `every`, moved by `by`, that lies ahead.
        let ahead = |every: u64, by: u64| {
            let turns = if passed < by { 0 } else { (passed - by) / every + 1 };
            self.from + Duration::from_millis(turns * every + by)
        };
        let turns = self.every.map(|(every, lasting)| ahead(millis(every), 0).min(ahead(millis(every), millis(lasting))));
        let looks = self.condition.as_ref().map(|_| ahead(millis(interval), 0));
        [self.to, turns, looks].into_iter().flatten().min().filter(|at| self.to.is_none_or(|to| *at <= to))
    }
}

/// Never zero, so that it can divide.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// What a condition of an alert sees: the world's facts and the alert's own texts.
struct FactScope<'a> {
    facts: &'a Facts,
    labels: &'a Labels,
    annotations: &'a Labels,
    on: Option<&'a Deployment>,
    now: Time,
}

impl Scope for FactScope<'_> {
    fn value(&self, path: &Path) -> Known {
        let text = |texts: &Labels, name: &str| Ok(Value::Text(texts.get(name).cloned().unwrap_or_default()));
        match path {
            Path::Fact(name) => {
                let value = self.facts.value(name, self.on, self.now);
                value.map(|number| Value::Double(number.get())).map_err(|why| why.to_string())
            }
            Path::Label(name) => text(self.labels, name),
            Path::Annotation(name) => text(self.annotations, name),
            Path::AlertName => text(self.labels, "alertname"),
            Path::Now => Ok(Value::Time(self.now.millis())),
            other => Err(format!("`{other}` is not known here")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(windows: Vec<Window>, until: i64) -> Vec<(i64, bool)> {
        let firing =
            Firing { labels: Labels::new(), annotations: Labels::new(), hold: Duration::ZERO, tail: None, windows, of: None };
        let (facts, deployments) = (Facts::default(), BTreeMap::new());
        let mut scheduled = Scheduled::new(firing, Duration::from_secs(60), Time::default());
        let mut found = Vec::new();
        while let Some(at) = scheduled.next_event().filter(|at| at.millis() <= until * 1000) {
            let change = scheduled.step(&facts, &deployments, at);
            found.extend(change.map(|change| (at.millis() / 1000, matches!(change, Change::Fires { .. }))));
        }
        found
    }

    fn window(from: i64, to: Option<i64>, every: Option<(u64, u64)>) -> Window {
        let at = |seconds: i64| Time::from_millis(seconds * 1000);
        let spans = every.map(|(every, lasting)| (Duration::from_secs(every), Duration::from_secs(lasting)));
        Window { from: at(from), to: to.map(at), every: spans, condition: None }
    }

    #[test]
    fn an_alert_fires_by_its_timetable() {
        assert_eq!(changes(vec![window(0, Some(10), None)], 100), [(0, true), (10, false)]);
        assert_eq!(changes(vec![window(5, None, None)], 100), [(5, true)]);
        let again = [(5, true), (7, false), (15, true), (17, false), (25, true), (26, false)];
        assert_eq!(changes(vec![window(5, Some(26), Some((10, 2)))], 100), again);
        let two = vec![window(0, Some(10), None), window(10, Some(20), None)];
        assert_eq!(changes(two, 100), [(0, true), (20, false)], "windows that touch are one firing");
    }
}
