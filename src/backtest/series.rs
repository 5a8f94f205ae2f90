//! Series of a range query, as runs of equal samples: most of what is asked for changes rarely.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Labels, Time};

/// Samples of one value, one a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The first, in milliseconds.
    pub from: i64,
    /// The last.
    pub to: i64,
    /// What each is. JSON has no NaN: such samples are left out.
    pub value: f64,
}

/// One series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Its samples, by time.
    pub runs: Vec<Run>,
    /// Whether it has samples that are no finite number.
    pub unusable: bool,
}

impl Series {
    /// A series of samples that are a step apart.
    pub fn new(labels: Labels, samples: impl IntoIterator<Item = (i64, f64)>, step: Duration) -> Self {
        let mut series = Self { labels, runs: Vec::new(), unusable: false };
        let step = millis(step);
        for (at, value) in samples {
            if !value.is_finite() {
                series.unusable = true;
                continue;
            }
            match series.runs.last_mut() {
                Some(run) if run.value.to_bits() == value.to_bits() && at <= run.to + step => run.to = at,
                _ => series.runs.push(Run { from: at, to: at, value }),
            }
        }
        series
    }

    /// The sample of the last step at that time, if there is one.
    pub fn at(&self, at: i64, step: Duration) -> Option<f64> {
        let run = self.runs.partition_point(|run| run.from <= at).checked_sub(1).and_then(|place| self.runs.get(place))?;
        (at < run.to + millis(step)).then_some(run.value)
    }

    /// When it has samples: from the first to one step after the last, gaps apart.
    pub fn spans(&self, step: Duration) -> Vec<(Time, Time)> {
        let step = millis(step);
        let mut spans: Vec<(i64, i64)> = Vec::new();
        for run in &self.runs {
            match spans.last_mut() {
                Some((_, to)) if run.from <= *to => *to = run.to + step,
                _ => spans.push((run.from, run.to + step)),
            }
        }
        spans.into_iter().map(|(from, to)| (Time::from_millis(from), Time::from_millis(to))).collect()
    }

    /// What it is as time goes by, whenever that changes; nothing where it has no sample.
    pub fn changes(&self, step: Duration) -> Vec<(Time, Option<f64>)> {
        let step = millis(step);
        let mut changes = Vec::new();
        for (place, run) in self.runs.iter().enumerate() {
            changes.push((Time::from_millis(run.from), Some(run.value)));
            let next = self.runs.get(place + 1).map(|next| next.from);
            if next.is_none_or(|next| next > run.to + step) {
                changes.push((Time::from_millis(run.to + step), None));
            }
        }
        changes
    }
}

/// Series of many chunks, each put together again.
pub(super) fn join(chunks: impl IntoIterator<Item = Vec<Series>>, step: Duration) -> Vec<Series> {
    let step = millis(step);
    let mut joined: BTreeMap<Labels, Series> = BTreeMap::new();
    for series in chunks.into_iter().flatten() {
        match joined.get_mut(&series.labels) {
            None => {
                joined.insert(series.labels.clone(), series);
            }
            Some(known) => {
                known.unusable |= series.unusable;
                for run in series.runs {
                    match known.runs.last_mut() {
                        Some(last) if last.value.to_bits() == run.value.to_bits() && run.from <= last.to + step => {
                            last.to = run.to
                        }
                        _ => known.runs.push(run),
                    }
                }
            }
        }
    }
    joined.into_values().collect()
}

pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(30);

    fn at(step: i64) -> i64 {
        step * 30_000
    }

    #[test]
    fn samples_become_runs_and_are_found_again() {
        let samples = [(0, 1.0), (1, 1.0), (2, 2.0), (5, 2.0), (6, f64::NAN), (7, 2.0)];
        let series = Series::new(Labels::new(), samples.map(|(step, value)| (at(step), value)), STEP);
        assert_eq!(series.runs.len(), 4);
        assert!(series.unusable);
        let seen = |millis: i64| series.at(millis, STEP);
        assert_eq!((seen(-1), seen(0), seen(at(2) - 1), seen(at(2))), (None, Some(1.0), Some(1.0), Some(2.0)));
        assert_eq!((seen(at(3) - 1), seen(at(3)), seen(at(5)), seen(at(6))), (Some(2.0), None, Some(2.0), None));
        let spans: Vec<_> = series.spans(STEP).iter().map(|(a, b)| (a.millis() / 30_000, b.millis() / 30_000)).collect();
        assert_eq!(spans, [(0, 3), (5, 6), (7, 8)]);
        let changes: Vec<_> = series.changes(STEP).iter().map(|(at, value)| (at.millis() / 30_000, *value)).collect();
        let expected = [(0, Some(1.0)), (2, Some(2.0)), (3, None), (5, Some(2.0)), (6, None), (7, Some(2.0)), (8, None)];
        assert_eq!(changes, expected);
    }

    #[test]
    fn chunks_are_put_together() {
        let chunk = |from: i64, to: i64| Series::new(Labels::new(), (from..to).map(|step| (at(step), 1.0)), STEP);
        let joined = join([vec![chunk(0, 4)], vec![chunk(4, 8)], vec![chunk(10, 12)]], STEP);
        let runs: Vec<_> = joined[0].runs.iter().map(|run| (run.from / 30_000, run.to / 30_000)).collect();
        assert_eq!(runs, [(0, 7), (10, 11)]);
    }
}
