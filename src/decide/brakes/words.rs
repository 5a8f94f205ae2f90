//! How brakes put numbers into words. Nothing is judged here.

use std::time::Duration;

use crate::model::{Digest, Time};
use crate::policy::duration;

/// A span without its fraction of a second: `3m10s`.
pub(super) fn span(span: Duration) -> String {
    duration::format(Duration::from_secs(span.as_secs()))
}

/// A time as people read it beside `now`: `09:14:02Z`, with its date when it is more than half a day away.
pub(super) fn clock(at: Time, now: Time) -> String {
    let text = at.to_string();
    let whole = text.get(..19).unwrap_or(&text);
    let near = at.since(now).max(now.since(at)) < Duration::from_secs(12 * 60 * 60);
    match whole.split_once('T') {
        Some((_, time)) if near => format!("{time}Z"),
        _ => format!("{whole}Z"),
    }
}

/// How much longer, or nothing where the time is over.
pub(super) fn left(until: Time, now: Time) -> String {
    format!("held for another {}", span(until.since(now)))
}

/// A release for people: its images, else its digest.
pub(super) fn release(images: &[String], digest: &Digest) -> String {
    if images.is_empty() { digest.short().to_owned() } else { format!("{} ({})", images.join(", "), digest.short()) }
}

/// The begin of the second in which a time lies: what Kubernetes keeps of it.
pub(super) fn second(at: Time) -> Time {
    Time::from_millis(at.millis().div_euclid(1000).saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_carry_their_date_only_when_it_is_needed() {
        let now = Time::parse("2026-03-02T09:20:00Z").expect("a time");
        for (at, text) in [
            ("2026-03-02T09:14:02.734Z", "09:14:02Z"),
            ("2026-03-01T22:00:00Z", "22:00:00Z"),
            ("2026-03-01T21:20:01Z", "21:20:01Z"),
            ("2026-03-01T21:20:00Z", "2026-03-01T21:20:00Z"),
            ("2026-03-01T09:14:02Z", "2026-03-01T09:14:02Z"),
        ] {
            assert_eq!(clock(Time::parse(at).expect("a time"), now), text);
        }
        assert_eq!(span(Duration::from_millis(190_734)), "3m10s");
        assert_eq!(second(Time::from_millis(1999)), Time::from_millis(1000));
        assert_eq!(second(Time::from_millis(-1)), Time::from_millis(-1000));
    }
}
