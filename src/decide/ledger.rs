//! Stands in until the ledger and its brakes are judged: knows nothing, and what rests on it holds.
use super::book::History;
use crate::model::{Digest, Time, WatchEvent, Workload};
pub(super) fn watched(_h: &mut History, _e: &WatchEvent, _at: Time) {}
pub(super) fn relearn(_h: &mut History, _w: &Workload, _at: Time) {}
pub(super) fn alert_fired(_h: &mut History, _d: &Digest, _n: &str, _at: Time) {}
pub(super) fn mark_bad(_h: &mut History, _d: &Digest, _at: Time, _by: &str) {}
