//! Drills of the running service.

use std::time::Duration;

use prometheus::{Error, Gauge, GaugeVec, IntCounterVec};

use super::{Make, opts};
use crate::model::Time;

/// What drills come to.
#[derive(Debug)]
pub struct DrillMetrics {
    passed: GaugeVec,
    ended: IntCounterVec,
    every: Gauge,
}

impl DrillMetrics {
    pub(super) fn new(make: &Make) -> Result<Self, Error> {
        Ok(Self {
            passed: make.keep(GaugeVec::new(
                opts(
                    "drill_passed_timestamp_seconds",
                    "When a drill of this policy last passed, in Unix time; 0: not since the start.",
                ),
                &["policy"],
            )?)?,
            ended: make.counters("drills_total", "Drills, by policy.", &["policy", "result"])?,
            every: make.float("drill_interval_seconds", "How often drills are carried out; 0: never.")?,
        })
    }

    /// `backout_drill_interval_seconds`: how often they are carried out.
    pub fn every(&self, every: Duration) {
        self.every.set(every.as_secs_f64());
    }

    /// `backout_drill_passed_timestamp_seconds{policy}`, `backout_drills_total{policy,result}`: a drill of a policy ended.
    pub fn ended(&self, policy: &str, at: Time, passed: bool) {
        let last = self.passed.with_label_values(&[policy]);
        if passed {
            // Milliseconds since 1970 stay exact in a double for 285,000 years.
            last.set(at.millis() as f64 / 1e3);
        }
        self.ended.with_label_values(&[policy, if passed { "passed" } else { "failed" }]).inc();
    }
}
