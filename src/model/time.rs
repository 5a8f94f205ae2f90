//! A point in time as the journal keeps it: milliseconds since 1970, UTC. Reading the clock is `clock.rs`' business.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch. Arithmetic saturates: a time from the wire never panics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(i64);

impl Time {
    /// The time that many milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339 with any offset and 0 to 9 fractional digits, cut to milliseconds. `None` when it is no such text.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|at| Self(at.as_millisecond()))
    }

    /// That many milliseconds later; earlier, where they are negative.
    pub const fn shifted(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_senders_write() {
        let at = Time::parse("2024-01-02T03:04:05.123456789+02:00").expect("a time");
        assert_eq!(at.to_string(), "2024-01-02T01:04:05.123Z");
        assert_eq!(Time::parse("0001-01-01T00:00:00Z").map(|t| t < Time::default()), Some(true));
        assert_eq!(Time::parse("yesterday"), None);
    }

    #[test]
    fn arithmetic_saturates() {
        let late = Time::from_millis(i64::MAX);
        assert_eq!(late + Duration::from_secs(1), late);
        assert_eq!(Time::default().since(late), Duration::ZERO);
        assert_eq!((late.shifted(1), late.shifted(-1)), (late, Time::from_millis(i64::MAX - 1)));
    }
}
