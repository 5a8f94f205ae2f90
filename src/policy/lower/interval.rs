//! Time intervals: Alertmanager's schema, and what it refuses.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use jiff::tz::TimeZone;

use super::super::diagnostic::Raised;
use super::super::interval::{self, Entry, Interval, RangeOf};
use super::super::source::At;
use super::super::syntax::{ClockText, File, RangeText, TimeInterval, TimeRange, Times};
use super::super::yaml::Field;
use super::Lower;

impl Lower<'_> {
    /// The intervals of all files, each name once; also those that are wrong themselves, so that what names them is no second mistake.
    pub(super) fn intervals(&self, files: &[File]) -> BTreeMap<String, Interval> {
        let mut all: BTreeMap<String, (Interval, At)> = BTreeMap::new();
        for written in files.iter().flat_map(|file| file.time_intervals.get().into_iter().flatten()) {
            let Some((written, at)) = written.placed() else { continue };
            let interval = self.interval(written, at);
            let Some((name, at)) = written.name.placed() else {
                if written.name.is_missing() {
                    let raised = Raised::error("missing-key", at, "this time interval has no `name`").missing_in(at);
                    self.raise(raised.expected("the name that `in_interval` calls it"));
                }
                continue;
            };
            if name.is_empty() {
                self.raise(Raised::error("bad-name", at, "an empty name").help("write for example `name: working-hours`"));
            } else if let Some((_, first)) = all.get(name) {
                let message = format!("the time interval `{name}` is already there, in {}", self.place_text(*first));
                self.raise(Raised::error("duplicate-name", at, message).help("rename one of the two"));
            } else {
                all.insert(name.clone(), (interval, at));
            }
        }
        all.into_iter().map(|(name, (interval, _))| (name, interval)).collect()
    }

    fn interval(&self, written: &TimeInterval, at: At) -> Interval {
        if written.time_intervals.is_missing() {
            let raised = Raised::error("missing-key", at, "`time_intervals` is missing").missing_in(at);
            self.raise(raised.expected("a list, as in Alertmanager: `[{weekdays: ['monday:friday']}]`"));
        }
        let entries = written.time_intervals.get().into_iter().flatten();
        entries.filter_map(Field::placed).map(|(entry, _)| self.interval_entry(entry)).collect()
    }

    fn interval_entry(&self, written: &Times) -> Entry {
        let location = written.location.placed().and_then(|(text, at)| {
            interval::location(text).map_err(|problem| self.problem("bad-interval", at, text, problem)).ok()
        });
        let times = written
            .times
            .get()
            .map(|list| list.iter().filter_map(Field::placed).filter_map(|(range, at)| self.time_range(range, at)).collect());
        Entry {
            times,
            weekdays: self.ranges(&written.weekdays, RangeOf::Weekdays),
            days_of_month: self.ranges(&written.days_of_month, RangeOf::Days),
            months: self.ranges(&written.months, RangeOf::Months),
            years: self.ranges(&written.years, RangeOf::Years),
            location: location.unwrap_or(TimeZone::UTC),
        }
    }

    fn time_range(&self, range: &TimeRange, at: At) -> Option<(u16, u16)> {
        let minutes = |key: &str, field: &Field<ClockText>| {
            if field.is_missing() {
                let raised = Raised::error("missing-key", at, format!("`{key}` is missing")).missing_in(at);
                self.raise(raised.expected("both `start_time` and `end_time`"));
            }
            let (ClockText(text), at) = field.placed()?;
            interval::minutes(text).map_err(|problem| self.problem("bad-interval", at, text, problem)).ok()
        };
        let (start, end) = (minutes("start_time", &range.start_time), minutes("end_time", &range.end_time));
        let (start, end) = (start?, end?);
        if start >= end {
            let at = range.end_time.at().unwrap_or(at);
            let raised = Raised::error("bad-interval", at, "`end_time` is not after `start_time`");
            self.raise(raised.help("a range does not go past midnight: write two, one to `24:00` and one from `00:00`"));
        }
        Some((start, end))
    }

    fn ranges(&self, field: &Field<Vec<Field<RangeText>>>, of: RangeOf) -> Option<Vec<RangeInclusive<i64>>> {
        let list = field.get()?.iter().filter_map(Field::placed);
        let read = |(RangeText(text), at): (&RangeText, At)| {
            interval::range(text, of).map_err(|problem| self.problem("bad-interval", at, text, problem)).ok()
        };
        Some(list.filter_map(read).collect())
    }
}
