//! Time intervals by Alertmanager's rules: fields are joined by "and", what is listed in a field by "or", and what is absent holds
//! always. Time is an argument.

use std::ops::RangeInclusive;

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::problem::{Problem, nearest};
use crate::model::Time;

/// A named interval: now is in it when it is in one of its entries.
pub type Interval = Vec<Entry>;

/// One entry of a named interval. A field that is `None` holds always; an empty one never.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Minutes of the day; the second is not part of it.
    pub times: Option<Vec<(u16, u16)>>,
    /// 0 is Sunday.
    pub weekdays: Option<Vec<RangeInclusive<i64>>>,
    /// Negative ones count from the month's end.
    pub days_of_month: Option<Vec<RangeInclusive<i64>>>,
    /// 1 is January.
    pub months: Option<Vec<RangeInclusive<i64>>>,
    /// Years.
    pub years: Option<Vec<RangeInclusive<i64>>>,
    /// Where days and hours are counted.
    pub location: TimeZone,
}

/// Whether that time is in the interval; `None` where the calendar does not reach it.
pub fn contains(interval: &[Entry], at: Time) -> Option<bool> {
    let at = Timestamp::from_millisecond(at.millis()).ok()?;
    Some(interval.iter().any(|entry| entry.contains(at)))
}

impl Entry {
    fn contains(&self, at: Timestamp) -> bool {
        let at = self.location.to_datetime(at);
        let minute = u16::try_from(i32::from(at.hour()) * 60 + i32::from(at.minute())).unwrap_or(0);
        let times = self.times.as_ref();
        let days = i64::from(at.date().days_in_month());
        let day = i64::from(at.day());
        let in_days = |range: &RangeInclusive<i64>| {
            let day_of = |day: i64| if day < 0 { days + day + 1 } else { day };
            let (begin, end) = (day_of(*range.start()), day_of(*range.end()));
            // Beyond the end of this month it is no day; an end beyond it is the last one.
            begin <= days && (begin..=end.min(days)).contains(&day)
        };
        times.is_none_or(|times| times.iter().any(|(from, to)| (*from..*to).contains(&minute)))
            && self.days_of_month.as_ref().is_none_or(|ranges| ranges.iter().any(in_days))
            && holds(self.months.as_deref(), i64::from(at.month()))
            && holds(self.weekdays.as_deref(), weekday(at.weekday()))
            && holds(self.years.as_deref(), i64::from(at.year()))
    }
}

fn holds(ranges: Option<&[RangeInclusive<i64>]>, value: i64) -> bool {
    ranges.is_none_or(|ranges| ranges.iter().any(|range| range.contains(&value)))
}

fn weekday(day: Weekday) -> i64 {
    i64::from(day.to_sunday_zero_offset())
}

/// What a range is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeOf {
    /// Days of the week, by name.
    Weekdays,
    /// Days of the month, by number.
    Days,
    /// Months, by name or number.
    Months,
    /// Years.
    Years,
}

const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const MONTHS: [&str; 12] =
    ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"];

impl RangeOf {
    fn member(self, text: &str) -> Option<i64> {
        let place = |names: &[&str]| names.iter().position(|name| *name == text).and_then(|at| i64::try_from(at).ok());
        let number = || text.parse::<i64>().ok();
        match self {
            Self::Weekdays => place(&WEEKDAYS),
            Self::Months => place(&MONTHS).map(|at| at + 1).or_else(number),
            Self::Days | Self::Years => number(),
        }
    }

    /// What is wrong with a word that is no member.
    fn no_member(self, text: &str) -> Problem {
        let (what, names, help): (_, &[&str], _) = match self {
            Self::Weekdays => ("day of the week", &WEEKDAYS, "write the whole English name, such as `monday`"),
            Self::Days => ("day of the month", &[], "a number from 1 to 31, or from -31 to -1 counted from the month's end"),
            Self::Months => ("month", &MONTHS, "write the whole English name or a number, such as `may` or `5`"),
            Self::Years => ("year", &[], "a number such as `2026`"),
        };
        let near = names.iter().copied().find(|name| text.len() >= 2 && name.starts_with(text));
        let help = match near.or_else(|| nearest(text, names.iter().copied())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => help.to_owned(),
        };
        Problem::new(0..text.len(), format!("`{text}` is not a {what}")).help(help)
    }

    /// What no range of this kind can be.
    fn impossible(self, text: &str, (begin, end): (i64, i64)) -> Option<Problem> {
        let whole = 0..text.len();
        if self == Self::Days {
            let is_day = |day: i64| day != 0 && (-31..=31).contains(&day);
            if let Some(day) = [begin, end].into_iter().find(|day| !is_day(*day)) {
                let help = "a number from 1 to 31, or from -31 to -1 counted from the month's end";
                return Some(Problem::new(whole, format!("`{day}` is not a day of the month")).help(help));
            }
            if begin < 0 && end > 0 {
                let problem = Problem::new(whole, format!("the range `{text}` begins at the month's end and ends at its start"));
                return Some(problem.help("count both from the start, or both from the end"));
            }
            // The shortest month decides: what is the wrong way round there is so for certain.
            let day = |day: i64| if day < 0 { 28 + day } else { day };
            if day(begin) > day(end) {
                return Some(Problem::new(whole, format!("the range `{text}` ends before it begins")).help("turn it round"));
            }
            return None;
        }
        let help = match self {
            Self::Weekdays => "the week begins with Sunday; write two ranges",
            Self::Months => "write two ranges: none goes past the end of the year",
            _ => "turn it round",
        };
        (begin > end).then(|| Problem::new(whole, format!("the range `{text}` ends before it begins")).help(help))
    }
}

/// Reads one member, or a range with both ends. Upper case counts as lower case.
pub(super) fn range(text: &str, of: RangeOf) -> Result<RangeInclusive<i64>, Problem> {
    let lower = text.to_lowercase();
    let (begin, end) = lower.split_once(':').unwrap_or((&lower, &lower));
    let member = |part: &str, from: usize| {
        of.member(part).ok_or_else(|| {
            let problem = of.no_member(part);
            // Where lower case is longer than what was written, the whole is pointed at.
            let at = if lower.len() == text.len() { from..from + part.len() } else { 0..text.len() };
            Problem { at, ..problem }
        })
    };
    let range = (member(begin, 0)?, member(end, lower.len() - end.len())?);
    match of.impossible(text, range) {
        Some(problem) => Err(problem),
        None => Ok(range.0..=range.1),
    }
}

/// Reads `HH:MM` as minutes of the day; `24:00` is its end.
pub(super) fn minutes(text: &str) -> Result<u16, Problem> {
    let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    let read = text.split_once(':').filter(|(hour, minute)| digits(hour) && digits(minute));
    let read = read.and_then(|(hour, minute)| Some((hour.parse::<u16>().ok()?, minute.parse::<u16>().ok()?)));
    match read {
        Some((24, 0)) => Ok(24 * 60),
        Some((hour @ 0..24, minute @ 0..60)) => Ok(hour * 60 + minute),
        _ => Err(Problem::new(0..text.len(), format!("`{text}` is not a time of the day"))
            .help("two digits each, from `00:00` to `24:00`, such as `09:30`")),
    }
}

/// Finds a time zone. None is UTC.
pub(super) fn location(text: &str) -> Result<TimeZone, Problem> {
    let whole = 0..text.len();
    match text {
        "" | "UTC" => return Ok(TimeZone::UTC),
        "Local" => {
            return Err(Problem::new(whole, "`Local` depends on the machine")
                .help("name the zone, for example `Europe/Berlin`: the same policies must decide the same everywhere"));
        }
        _ => {}
    }
    let known = TimeZone::get(text).ok().filter(|zone| zone.iana_name() == Some(text));
    known.ok_or_else(|| {
        let database = jiff::tz::db();
        let names: Vec<String> = database.available().map(|name| name.to_string()).collect();
        let problem = Problem::new(whole, format!("there is no time zone `{text}`"));
        match nearest(text, names.iter().map(String::as_str)) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem.help("an IANA name such as `Europe/Berlin`"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn always() -> Entry {
        Entry { times: None, weekdays: None, days_of_month: None, months: None, years: None, location: TimeZone::UTC }
    }

    fn at(text: &str) -> Time {
        Time::from_millis(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    fn ranges(texts: &[&str], of: RangeOf) -> Option<Vec<RangeInclusive<i64>>> {
        Some(texts.iter().map(|text| range(text, of).unwrap()).collect())
    }

    #[test]
    fn fields_are_anded_and_items_are_ored() {
        let work = Entry {
            times: Some(vec![(minutes("09:00").unwrap(), minutes("17:00").unwrap())]),
            weekdays: ranges(&["monday:Friday"], RangeOf::Weekdays),
            location: location("Europe/Berlin").unwrap(),
            ..always()
        };
        for (time, wanted) in [
            // 2026-03-27 is a Friday in winter time, 2026-03-30 a Monday in summer time.
            ("2026-03-27T08:00:00Z", true),
            ("2026-03-27T07:59:59Z", false),
            ("2026-03-27T15:59:59Z", true),
            ("2026-03-27T16:00:00Z", false),
            ("2026-03-30T07:00:00Z", true),
            ("2026-03-30T06:59:59Z", false),
            ("2026-03-28T10:00:00Z", false),
        ] {
            assert_eq!(contains(std::slice::from_ref(&work), at(time)), Some(wanted), "{time}");
        }
        assert_eq!(contains(&[], at("2026-03-27T08:00:00Z")), Some(false));
        assert_eq!(contains(&[always()], at("2026-03-27T08:00:00Z")), Some(true));
        assert_eq!(contains(&[Entry { times: Some(Vec::new()), ..always() }], at("2026-03-27T08:00:00Z")), Some(false));
    }

    #[test]
    fn days_count_from_both_ends_of_the_month() {
        for (days, time, wanted) in [
            ("-1", "2026-02-28T00:00:00Z", true),
            ("-1", "2028-02-28T23:59:59Z", false),
            ("-1", "2028-02-29T00:00:00Z", true),
            ("-3:-1", "2026-04-27T12:00:00Z", false),
            ("-3:-1", "2026-04-28T12:00:00Z", true),
            ("30:31", "2026-02-28T12:00:00Z", false),
            ("28:31", "2026-02-28T12:00:00Z", true),
            ("-31:-30", "2026-02-01T12:00:00Z", false),
            ("5:-3", "2026-02-26T12:00:00Z", true),
        ] {
            let entry = Entry { days_of_month: ranges(&[days], RangeOf::Days), ..always() };
            assert_eq!(contains(&[entry], at(time)), Some(wanted), "{days} at {time}");
        }
        let entry = Entry { months: ranges(&["may:august", "1"], RangeOf::Months), ..always() };
        assert_eq!(contains(std::slice::from_ref(&entry), at("2026-01-09T00:00:00Z")), Some(true));
        assert_eq!(contains(&[entry], at("2026-02-09T00:00:00Z")), Some(false));
        let entry = Entry { years: ranges(&["2026:2028"], RangeOf::Years), ..always() };
        assert_eq!(contains(&[entry], at("2029-01-01T00:00:00Z")), Some(false));
    }

    #[test]
    fn refuses_what_alertmanager_refuses() {
        for (text, of, wanted) in [
            ("saturday:sunday", RangeOf::Weekdays, "the range `saturday:sunday` ends before it begins"),
            ("Mon", RangeOf::Weekdays, "`mon` is not a day of the week"),
            ("1", RangeOf::Weekdays, "`1` is not a day of the week"),
            ("-5:3", RangeOf::Days, "the range `-5:3` begins at the month's end and ends at its start"),
            ("20:-20", RangeOf::Days, "the range `20:-20` ends before it begins"),
            ("0", RangeOf::Days, "`0` is not a day of the month"),
            ("32", RangeOf::Days, "`32` is not a day of the month"),
            ("1:2:3", RangeOf::Days, "`2:3` is not a day of the month"),
            ("december:january", RangeOf::Months, "the range `december:january` ends before it begins"),
            ("smarch", RangeOf::Months, "`smarch` is not a month"),
            ("2028:2026", RangeOf::Years, "the range `2028:2026` ends before it begins"),
        ] {
            assert_eq!(range(text, of).unwrap_err().message, wanted);
        }
        for text in ["9:00", "24:01", "25:00", "12:60", "12", "", "12:0", "1 :00"] {
            assert!(minutes(text).is_err(), "{text}");
        }
        assert_eq!((minutes("00:00"), minutes("24:00")), (Ok(0), Ok(1440)));
        for text in ["Local", "Europe/Berlim", "europe/berlin", "CEST2"] {
            assert!(location(text).is_err(), "{text}");
        }
        assert!(range("13", RangeOf::Months).is_ok(), "Alertmanager takes it, and it never holds");
    }

    #[test]
    fn members_are_read_as_they_are_counted() {
        for (text, of, wanted) in [
            ("sunday", RangeOf::Weekdays, 0..=0),
            ("Monday:SATURDAY", RangeOf::Weekdays, 1..=6),
            ("january:december", RangeOf::Months, 1..=12),
            ("may:8", RangeOf::Months, 5..=8),
            ("-3:-1", RangeOf::Days, -3..=-1),
            ("1:31", RangeOf::Days, 1..=31),
            ("2026", RangeOf::Years, 2026..=2026),
        ] {
            assert_eq!(range(text, of), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn the_end_that_is_wrong_is_pointed_at() {
        assert_eq!(range("monday:frday", RangeOf::Weekdays).unwrap_err().at, 7..12);
        assert_eq!(range("mnday:friday", RangeOf::Weekdays).unwrap_err().at, 0..5);
        assert_eq!(range("5:1", RangeOf::Days).unwrap_err().at, 0..3);
    }

    #[test]
    fn no_zone_is_utc() {
        for text in ["", "UTC"] {
            assert_eq!(location(text), Ok(TimeZone::UTC), "{text:?}");
        }
    }
}
