//! Time intervals as they are written: Alertmanager's schema.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::yaml::Field;
use super::text::{ClockText, RangeText};

/// Named times, as in Alertmanager.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "time interval")]
#[schemars(deny_unknown_fields, extend("required" = ["name", "time_intervals"]))]
pub(in super::super) struct TimeInterval {
    /// What `in_interval` and `freeze` call it.
    pub(in super::super) name: Field<String>,
    /// Now is in the interval when it is in one of these.
    pub(in super::super) time_intervals: Field<Vec<Field<Times>>>,
}

/// Times that satisfy every key; within a key, one of its items. A key that is absent is satisfied by every time.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "entry of a time interval")]
#[schemars(deny_unknown_fields)]
pub(in super::super) struct Times {
    /// Times of the day.
    pub(in super::super) times: Field<Vec<Field<TimeRange>>>,
    /// `monday:friday`, `sunday`. The week begins with Sunday.
    pub(in super::super) weekdays: Field<Vec<Field<RangeText>>>,
    /// `1:5`, `-3:-1`: negative days count from the month's end.
    pub(in super::super) days_of_month: Field<Vec<Field<RangeText>>>,
    /// `may:august`, `1:3`.
    pub(in super::super) months: Field<Vec<Field<RangeText>>>,
    /// `2026:2028`.
    pub(in super::super) years: Field<Vec<Field<RangeText>>>,
    /// The time zone, by its IANA name (UTC).
    pub(in super::super) location: Field<String>,
}

/// A part of the day; the end is not part of it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename = "time range")]
#[schemars(deny_unknown_fields, extend("required" = ["start_time", "end_time"]))]
pub(in super::super) struct TimeRange {
    /// `09:00`.
    pub(in super::super) start_time: Field<ClockText>,
    /// `17:00`; at most `24:00`.
    pub(in super::super) end_time: Field<ClockText>,
}
