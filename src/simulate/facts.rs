//! Facts by name: what Prometheus answers in a world that says what each fact is instead of what each query gives. Samples at
//! whole steps, seen as an instant query sees them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::deployment::Deployment;
use super::prometheus::number;
use crate::decide::observation::Answer;
use crate::model::{Fact, Number, Query, TargetRef, Time, Unknown, UnknownKind, template};

/// How far back an instant query looks for a sample; not included, as in Prometheus 3.
const LOOK_BACK: Duration = Duration::from_secs(300);

/// One step of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sample {
    /// A value.
    Value(f64),
    /// The series ends here: it is not seen any more.
    Stale,
    /// No sample at this step; the one before is seen for a while.
    Omitted,
}

/// Samples from a time on, one a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    start: Time,
    step: Duration,
    values: Arc<[Sample]>,
}

impl Samples {
    /// Samples that begin at `start`. A step is a millisecond at least.
    pub fn new(start: Time, step: Duration, values: Arc<[Sample]>) -> Self {
        Self { start, step: step.max(Duration::from_millis(1)), values }
    }

    /// What an instant query at that time sees.
    pub fn at(&self, now: Time) -> Option<f64> {
        let last = self.values.len().checked_sub(1)?;
        if now < self.start {
            return None;
        }
        let (passed, step) = (now.since(self.start).as_millis(), self.step.as_millis());
        let index = usize::try_from(passed / step).unwrap_or(usize::MAX).min(last);
        for index in (0..=index).rev() {
            let age = passed.saturating_sub(step.saturating_mul(index as u128));
            if age >= LOOK_BACK.as_millis() {
                return None;
            }
            match self.values.get(index)? {
                Sample::Value(value) => return Some(*value),
                Sample::Stale => return None,
                Sample::Omitted => {}
            }
        }
        None
    }
}

/// What a fact is as time goes by.
#[derive(Clone, Debug, PartialEq)]
pub enum FactSeries {
    /// The same for every target.
    Everywhere(Samples),
    /// By the image that runs on the target: the mean over its available pods.
    ByImage(BTreeMap<String, Samples>),
}

/// All facts of a world, and the traffic of their floors.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) values: BTreeMap<String, FactSeries>,
    pub(super) floors: BTreeMap<String, FactSeries>,
}

impl Facts {
    /// The fact's value on a target now.
    pub(super) fn value(&self, name: &str, on: Option<&Deployment>, now: Time) -> Result<Number, Unknown> {
        match self.values.get(name) {
            Some(series) => read(series, on, now),
            None => Err(Unknown::new(UnknownKind::Empty, format!("the world says nothing of the fact `{name}`"))),
        }
    }

    /// What is answered to a fact's query. A floor that the world does not speak of is met.
    pub(super) fn answer(&self, name: &str, query: &Query, on: Option<&Deployment>, now: Time) -> Answer {
        let fact = |value| Fact { value, at: now, source: "prometheus".to_owned() };
        let floor = query.floor.as_ref().map(|(_, least)| {
            let traffic = match self.floors.get(name) {
                Some(series) => read(series, on, now),
                None => number(least.parse().unwrap_or(f64::MAX)),
            };
            (fact(traffic), least.as_str())
        });
        Answer::of(fact(self.value(name, on, now)), floor)
    }
}

fn read(series: &FactSeries, on: Option<&Deployment>, now: Time) -> Result<Number, Unknown> {
    let nothing = || Unknown::new(UnknownKind::Empty, "the query has no samples");
    let value = match series {
        FactSeries::Everywhere(samples) => samples.at(now),
        FactSeries::ByImage(by_image) => on.and_then(|deployment| mixed(by_image, deployment, now)),
    };
    number(value.ok_or_else(nothing)?)
}

/// The mean over the available pods whose image has a sample.
fn mixed(by_image: &BTreeMap<String, Samples>, deployment: &Deployment, now: Time) -> Option<f64> {
    let (mut sum, mut pods) = (0.0, 0.0);
    for set in &deployment.sets {
        let serving = f64::from(set.available(now));
        let images = template::images(&set.template);
        let samples = images.iter().find_map(|image| by_image.get(image));
        if let (Some(value), true) = (samples.and_then(|samples| samples.at(now)), serving > 0.0) {
            sum += serving * value;
            pods += serving;
        }
    }
    (pods > 0.0).then(|| sum / pods)
}

/// The Deployment of a target, if it is there.
pub(super) fn on<'a>(deployments: &'a BTreeMap<TargetRef, Deployment>, target: Option<&TargetRef>) -> Option<&'a Deployment> {
    target.and_then(|at| deployments.get(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_seen_as_an_instant_query_sees_them() {
        use Sample::{Omitted, Stale, Value};
        let start = Time::from_millis(1_000_000);
        let minute = Duration::from_secs(60);
        let values: Arc<[Sample]> = [Omitted, Value(1.0), Omitted, Value(2.0), Stale, Value(3.0)].into();
        let samples = Samples::new(start, minute, values);
        let at = |seconds: i64| samples.at(start.shifted(seconds * 1000));
        assert_eq!(at(-1), None, "before the first");
        assert_eq!(at(59), None, "the first is left out");
        assert_eq!((at(60), at(119), at(150)), (Some(1.0), Some(1.0), Some(1.0)));
        assert_eq!((at(180), at(239), at(240), at(299)), (Some(2.0), Some(2.0), None, None));
        assert_eq!((at(300), at(599), at(600)), (Some(3.0), Some(3.0), None), "five minutes after the last it is gone");
    }
}
