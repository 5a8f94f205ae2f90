//! Durations as Prometheus reads and prints them: `1h30m`, `3d`, `500ms`, `0`. Must not know any other spelling.

use std::time::Duration;

use super::problem::Problem;

/// Reads a duration in Prometheus' grammar: whole numbers with the units y w d h m s ms, in that order, each at most once.
pub fn parse(text: &str) -> Result<Duration, Problem> {
    let whole = 0..text.len();
    if text.is_empty() {
        return Err(Problem::new(whole, "empty duration").help("write for example `30s`, `1h30m` or `3d`"));
    }
    // Prometheus allows this one number without a unit.
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut milliseconds: u64 = 0;
    let mut next_unit = 0;
    while !rest.is_empty() {
        let part = Part::read(rest).ok_or_else(|| malformed(text))?;
        let rank = UNITS.iter().position(|(unit, _)| *unit == part.unit).ok_or_else(|| malformed(text))?;
        if rank < next_unit {
            return Err(Problem::new(whole, format!("units out of order in the duration `{text}`"))
                .help("units go from large to small, each at most once: y w d h m s ms"));
        }
        next_unit = rank + 1;
        milliseconds = part
            .number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(UNITS[rank].1))
            .and_then(|more| milliseconds.checked_add(more))
            .filter(|sum| *sum <= MAX_MILLISECONDS)
            .ok_or_else(|| {
                Problem::new(whole.clone(), format!("the duration `{text}` is too long")).help("the longest is about 292y")
            })?;
        rest = part.rest;
    }
    Ok(Duration::from_millis(milliseconds))
}

/// Prints a duration as Prometheus does; what is below a millisecond is dropped.
///
/// Years and weeks appear only where nothing remains: `90d` reads better than `12w6d`.
pub fn format(duration: Duration) -> String {
    let mut left = duration.as_millis();
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, milliseconds) in UNITS {
        let milliseconds = u128::from(milliseconds);
        let only_exact = matches!(unit, "y" | "w");
        if only_exact && !left.is_multiple_of(milliseconds) {
            continue;
        }
        if left >= milliseconds {
            text.push_str(&format!("{}{unit}", left / milliseconds));
            left %= milliseconds;
        }
    }
    text
}

/// Milliseconds in each unit, from large to small. A year is 365 days, as in Prometheus.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Prometheus counts in 64-bit nanoseconds; what it would refuse is refused here too.
const MAX_MILLISECONDS: u64 = i64::MAX as u64 / 1_000_000;

struct Part<'a> {
    number: &'a str,
    unit: &'a str,
    rest: &'a str,
}

impl<'a> Part<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = text.split_at_checked(digits)?;
        let letters = tail.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, rest) = tail.split_at_checked(letters)?;
        (digits > 0 && letters > 0).then_some(Self { number, unit, rest })
    }
}

fn malformed(text: &str) -> Problem {
    let help = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("a unit is missing: write for example `{text}s` or `{text}m`")
    } else if text.contains('.') {
        "only whole numbers: write `1h30m` for 1.5h".to_owned()
    } else if text.contains(char::is_whitespace) {
        "no spaces: write `1h30m`".to_owned()
    } else if text.starts_with('-') {
        "a duration cannot be negative".to_owned()
    } else {
        "write whole numbers with the units y w d h m s ms, for example `30s`, `1h30m` or `3d`".to_owned()
    };
    Problem::new(0..text.len(), format!("`{text}` is not a duration")).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_prometheus_reads() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("45m", 2_700_000),
            ("1h30m", 5_400_000),
            ("1d12h", 129_600_000),
            ("3d", 259_200_000),
            ("1w", 604_800_000),
            ("1y", 31_536_000_000),
            ("1y2w3d4h5m6s7ms", 31_536_000_000 + 1_209_600_000 + 259_200_000 + 14_400_000 + 300_000 + 6_000 + 7),
            ("007s", 7_000),
            ("292y", 9_208_512_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn refuses_what_prometheus_refuses() {
        for text in [
            "",
            " ",
            "1",
            "s",
            "1M",
            "1 month",
            "1.5h",
            "2 min",
            "1h 30m",
            "30m1h",
            "1h1h",
            "1us",
            "-1s",
            "+1s",
            "1S",
            "1hm",
            "1msec",
            "²s",
            "1ms1s",
            "293y",
            "18446744073709551615s",
            "99999999999999999999s",
            "18446744073709551615s500ms",
            "1s\n",
            "１s",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn says_what_to_do() {
        for (text, help) in [
            ("5", "`5s`"),
            ("1.5h", "whole numbers"),
            ("1h 30m", "no spaces"),
            ("-3s", "negative"),
            ("30m1h", "large to small"),
            ("s", "whole numbers with the units"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.to_string().contains(help), "{problem}");
        }
    }

    #[test]
    fn prints_as_prometheus_prints() {
        for (milliseconds, text) in [
            (0, "0s"),
            (5_400_000, "1h30m"),
            (259_200_000, "3d"),
            (604_800_000, "1w"),
            (7_776_000_000, "90d"),
            (31_536_000_000, "1y"),
            (31_536_000_000 + 86_400_000, "366d"),
            (1_209_600_000, "2w"),
            (90_061_001, "1d1h1m1s1ms"),
        ] {
            assert_eq!(format(Duration::from_millis(milliseconds)), text);
        }
        assert_eq!(format(Duration::from_nanos(10)), "0s");
        assert!(!format(Duration::MAX).is_empty());
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(milliseconds in 0..=MAX_MILLISECONDS) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn never_panics(text in "\\PC{0,12}") {
            let _ = parse(&text);
        }
    }
}
