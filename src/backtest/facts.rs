//! What facts were then: asked of Prometheus when the engine asks, an hour of samples at once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::history::History;
use super::series::{Series, millis};
use super::story::Refusal;
use crate::model::{TargetRef, Time, Unknown, UnknownKind};
use crate::simulate::{Recorded, Wanted};

/// So much time is asked for at once.
const WINDOW: Duration = Duration::from_secs(60 * 60);
/// What is older than this, by virtual time, is let go of.
const KEPT: Duration = Duration::from_secs(6 * 60 * 60);

/// Who answers: the query's series from one time up to another.
pub type Ask = Box<dyn Fn(&str, Time, Time) -> Result<Vec<Series>, Refusal> + Send + Sync>;

/// An hour of a query, or why there is none.
type Hour = Result<Arc<[Series]>, String>;

/// Facts of a history.
pub struct Facts {
    ask: Ask,
    step: Duration,
    owners: BTreeMap<String, TargetRef>,
    hours: Mutex<BTreeMap<(Time, String), Hour>>,
    /// Why the answers cannot be relied on.
    broken: Mutex<Option<String>>,
}

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts").field("step", &self.step).finish_non_exhaustive()
    }
}

impl Facts {
    /// Facts of this history, whose samples are `step` apart, as `ask` answers.
    pub fn new(history: &History, step: Duration, ask: Ask) -> Self {
        let (hours, broken) = (Mutex::default(), Mutex::default());
        Self { ask, step, owners: history.owners.clone(), hours, broken }
    }

    /// Why something was not answered, if anything: what came of it says nothing then.
    pub fn broken(&self) -> Option<String> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hour(&self, promql: &str, at: Time) -> Hour {
        let from = Time::from_millis(at.millis().div_euclid(millis(WINDOW)) * millis(WINDOW));
        let mut hours = self.hours.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = hours.get(&(from, promql.to_owned())) {
            return known.clone();
        }
        let hour = match (self.ask)(promql, from, from + WINDOW) {
            Ok(series) => Ok(series.into()),
            Err(Refusal::Refused(why)) => Err(why),
            Err(Refusal::Silent(why)) => {
                self.broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| why.clone());
                Err(why)
            }
        };
        *hours = hours.split_off(&(from - KEPT, String::new()));
        hours.insert((from, promql.to_owned()), hour.clone());
        hour
    }
}

impl Recorded for Facts {
    fn value(&self, wanted: &Wanted<'_>, at: Time) -> Result<f64, Unknown> {
        let hour = self.hour(wanted.promql, at).map_err(|why| Unknown::new(UnknownKind::Unusable, why))?;
        let mut values = hour.iter().filter_map(|series| series.at(at.millis(), self.step));
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            (Some(_), Some(_)) => {
                Err(Unknown::new(UnknownKind::Unusable, "several series; expected one (aggregate them in the query)"))
            }
            (None, _) if hour.iter().any(|series| series.unusable) => {
                Err(Unknown::new(UnknownKind::Unusable, "no finite number"))
            }
            (None, _) => Err(Unknown::new(UnknownKind::Empty, "no sample")),
        }
    }

    fn owner(&self, namespace: &str, pod: &str) -> Option<TargetRef> {
        let (set, _) = pod.rsplit_once('-')?;
        self.owners.get(&format!("{namespace}/{set}")).cloned()
    }
}
