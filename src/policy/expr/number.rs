//! Numbers, durations and times: comparing by value, counting without overflow, reading CEL's literals.

use std::cmp::Ordering;

use super::node::{Arithmetic, Comparison};
use super::value::Val;

/// Whether a comparison holds; both sides have been checked to be comparable.
pub(super) fn compare(comparison: Comparison, left: &Val, right: &Val) -> bool {
    match comparison {
        Comparison::Equal => is_equal(left, right),
        Comparison::NotEqual => !is_equal(left, right),
        Comparison::Less => order(left, right).is_some_and(Ordering::is_lt),
        Comparison::LessOrEqual => order(left, right).is_some_and(Ordering::is_le),
        Comparison::Greater => order(left, right).is_some_and(Ordering::is_gt),
        Comparison::GreaterOrEqual => order(left, right).is_some_and(Ordering::is_ge),
    }
}

/// Equality by value: `1 == 1.0`.
pub(super) fn is_equal(left: &Val, right: &Val) -> bool {
    match (left, right) {
        (Val::Int(_) | Val::Double(_), Val::Int(_) | Val::Double(_)) => order(left, right) == Some(Ordering::Equal),
        (Val::List(left), Val::List(right)) => {
            left.len() == right.len() && left.iter().zip(right.iter()).all(|(left, right)| is_equal(left, right))
        }
        _ => left == right,
    }
}

/// The sum, difference and so on, or the reason why there is none.
pub(super) fn calculate(operation: Arithmetic, left: &Val, right: &Val) -> Result<Val, &'static str> {
    match (left, right) {
        (Val::Int(left), Val::Int(right)) => whole(operation, *left, *right).map(Val::Int),
        (Val::Text(left), Val::Text(right)) => join(left, right),
        (Val::Span(left), Val::Span(right)) => whole(operation, *left, *right).map(Val::Span),
        (Val::Time(left), Val::Time(right)) => {
            let milliseconds = whole(operation, *left, *right)?;
            milliseconds.checked_mul(NANOSECONDS_PER_MILLISECOND).map(Val::Span).ok_or(OVERFLOW)
        }
        (Val::Time(time), Val::Span(span)) | (Val::Span(span), Val::Time(time)) => {
            whole(operation, *time, span / NANOSECONDS_PER_MILLISECOND).map(Val::Time)
        }
        _ => match (as_double(left), as_double(right)) {
            (Some(left), Some(right)) => fraction(operation, left, right),
            _ => Err("the values do not fit together"),
        },
    }
}

/// `-x`.
pub(super) fn negate(value: &Val) -> Result<Val, &'static str> {
    match value {
        Val::Int(value) => value.checked_neg().map(Val::Int).ok_or(OVERFLOW),
        Val::Double(value) => Ok(Val::Double(-value)),
        _ => Err("not a number"),
    }
}

/// Reads a duration as CEL does: Go's units h m s ms us ns, fractions and a sign allowed. In nanoseconds.
pub(super) fn parse_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut sum: i64 = 0;
    let mut is_empty = true;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail.chars().take_while(|char| char.is_alphabetic()).map(char::len_utf8).sum();
        let (unit, tail) = tail.split_at_checked(letters)?;
        let scale = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        sum = sum.checked_add(scaled(number, scale)?)?;
        rest = tail;
        is_empty = false;
    }
    (!is_empty).then_some(sum * sign)
}

/// Prints whole seconds in CEL's units, for hints: `72h`.
pub(super) fn format_duration(mut seconds: u64) -> String {
    let mut text = String::new();
    for (unit, scale) in [("h", 3600), ("m", 60), ("s", 1)] {
        if seconds >= scale {
            text.push_str(&format!("{}{unit}", seconds / scale));
            seconds %= scale;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

pub(super) const NANOSECONDS_PER_MILLISECOND: i64 = 1_000_000;

const UNITS: [(&str, i64); 8] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ns", 1),
];

const OVERFLOW: &str = "the result is out of range";

/// Labels and annotations come from outside; joined again and again they must not grow without limit.
const MAX_TEXT_BYTES: usize = 64 * 1024;

fn scaled(number: &str, scale: i64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanoseconds = whole.checked_mul(scale)?;
    let mut unit = scale;
    for digit in fraction.bytes() {
        unit /= 10;
        nanoseconds = nanoseconds.checked_add(unit.checked_mul(i64::from(digit - b'0'))?)?;
    }
    Some(nanoseconds)
}

fn order(left: &Val, right: &Val) -> Option<Ordering> {
    match (left, right) {
        (Val::Int(left), Val::Int(right)) | (Val::Span(left), Val::Span(right)) | (Val::Time(left), Val::Time(right)) => {
            Some(left.cmp(right))
        }
        (Val::Double(left), Val::Double(right)) => left.partial_cmp(right),
        (Val::Int(left), Val::Double(right)) => order_mixed(*left, *right),
        (Val::Double(left), Val::Int(right)) => order_mixed(*right, *left).map(Ordering::reverse),
        (Val::Text(left), Val::Text(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// Exact where a conversion to double would round.
fn order_mixed(int: i64, double: f64) -> Option<Ordering> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if double.is_nan() {
        None
    } else if double >= BEYOND {
        Some(Ordering::Less)
    } else if double < -BEYOND {
        Some(Ordering::Greater)
    } else {
        let whole = double.trunc();
        Some(int.cmp(&(whole as i64)).then_with(|| 0.0.partial_cmp(&(double - whole)).unwrap_or(Ordering::Equal)))
    }
}

fn whole(operation: Arithmetic, left: i64, right: i64) -> Result<i64, &'static str> {
    let result = match operation {
        Arithmetic::Add => left.checked_add(right),
        Arithmetic::Subtract => left.checked_sub(right),
        Arithmetic::Multiply => left.checked_mul(right),
        Arithmetic::Divide | Arithmetic::Remainder if right == 0 => return Err(DIVISION_BY_ZERO),
        Arithmetic::Divide => left.checked_div(right),
        Arithmetic::Remainder => left.checked_rem(right),
    };
    result.ok_or(OVERFLOW)
}

const DIVISION_BY_ZERO: &str = "division by zero";

fn fraction(operation: Arithmetic, left: f64, right: f64) -> Result<Val, &'static str> {
    let result = match operation {
        Arithmetic::Add => left + right,
        Arithmetic::Subtract => left - right,
        Arithmetic::Multiply => left * right,
        // CEL says infinity. A ratio without a denominator is something that was not seen, and infinity would pass
        // for a very high error rate.
        Arithmetic::Divide | Arithmetic::Remainder if right == 0.0 => return Err(DIVISION_BY_ZERO),
        Arithmetic::Divide => left / right,
        Arithmetic::Remainder => left % right,
    };
    if result.is_nan() { Err("the result is not a number") } else { Ok(Val::Double(result)) }
}

fn join(left: &str, right: &str) -> Result<Val, &'static str> {
    if left.len() + right.len() > MAX_TEXT_BYTES {
        return Err("the text is too long");
    }
    Ok(Val::Text(format!("{left}{right}").into()))
}

fn as_double(value: &Val) -> Option<f64> {
    match value {
        Val::Int(value) => Some(*value as f64),
        Val::Double(value) => Some(*value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_by_value() {
        let big = 9_007_199_254_740_993_i64;
        for (left, right, wanted) in [
            (Val::Int(1), Val::Double(1.0), Ordering::Equal),
            (Val::Int(2), Val::Double(2.5), Ordering::Less),
            (Val::Int(-2), Val::Double(-2.5), Ordering::Greater),
            (Val::Double(2.5), Val::Int(2), Ordering::Greater),
            (Val::Int(i64::MIN), Val::Double(-9_223_372_036_854_775_808.0), Ordering::Equal),
            (Val::Int(big), Val::Double(9_007_199_254_740_992.0), Ordering::Greater),
            (Val::Int(i64::MAX), Val::Double(9.3e18), Ordering::Less),
            (Val::Int(i64::MIN), Val::Double(f64::NEG_INFINITY), Ordering::Greater),
            (Val::Span(1), Val::Span(2), Ordering::Less),
            (Val::text("a"), Val::text("b"), Ordering::Less),
        ] {
            assert_eq!(order(&left, &right), Some(wanted), "{left:?} {right:?}");
        }
        assert_eq!(order(&Val::Int(1), &Val::Double(f64::NAN)), None);
        let list = |values: &[Val]| Val::List(values.into());
        assert!(is_equal(&list(&[Val::Int(1)]), &list(&[Val::Double(1.0)])));
        assert!(!is_equal(&list(&[Val::Int(1)]), &list(&[])));
    }

    #[test]
    fn counts_without_overflow() {
        use Arithmetic::{Add, Divide, Multiply, Remainder, Subtract};
        for (operation, left, right, wanted) in [
            (Add, Val::Int(1), Val::Double(0.5), Some(Val::Double(1.5))),
            (Add, Val::Int(i64::MAX), Val::Int(1), None),
            (Subtract, Val::Int(i64::MIN), Val::Int(1), None),
            (Subtract, Val::Double(5.0), Val::Int(2), Some(Val::Double(3.0))),
            (Remainder, Val::Double(7.5), Val::Int(2), Some(Val::Double(1.5))),
            (Add, Val::Span(3), Val::Span(5), Some(Val::Span(8))),
            (Multiply, Val::Int(i64::MAX), Val::Int(2), None),
            (Divide, Val::Int(7), Val::Int(2), Some(Val::Int(3))),
            (Divide, Val::Int(7), Val::Int(0), None),
            (Divide, Val::Int(i64::MIN), Val::Int(-1), None),
            (Remainder, Val::Int(i64::MIN), Val::Int(-1), None),
            (Remainder, Val::Int(7), Val::Int(0), None),
            (Divide, Val::Double(1.0), Val::Double(0.0), None),
            (Divide, Val::Double(0.0), Val::Int(0), None),
            (Subtract, Val::Double(f64::INFINITY), Val::Double(f64::INFINITY), None),
            (Subtract, Val::Time(5), Val::Time(8), Some(Val::Span(-3_000_000))),
            (Subtract, Val::Time(i64::MAX), Val::Time(0), None),
            (Add, Val::Time(5), Val::Span(3_000_000), Some(Val::Time(8))),
            (Add, Val::text("a"), Val::text("b"), Some(Val::text("ab"))),
            (Add, Val::text(&"a".repeat(60_000)), Val::text(&"b".repeat(60_000)), None),
        ] {
            assert_eq!(calculate(operation, &left, &right).ok(), wanted, "{operation:?} {left:?} {right:?}");
        }
        assert!(negate(&Val::Int(i64::MIN)).is_err());
        assert_eq!(negate(&Val::Double(0.5)), Ok(Val::Double(-0.5)));
        for operation in [Divide, Remainder] {
            assert_eq!(calculate(operation, &Val::Int(7), &Val::Int(0)), Err("division by zero"));
        }
    }

    #[test]
    fn reads_durations_as_cel_does() {
        for (text, wanted) in [
            ("0", Some(0)),
            ("72h", Some(259_200_000_000_000)),
            ("1h30m", Some(5_400_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            (".5s", Some(500_000_000)),
            ("-1m", Some(-60_000_000_000)),
            ("1m1h", Some(3_660_000_000_000)),
            ("5us", Some(5_000)),
            ("5µs", Some(5_000)),
            ("3d", None),
            ("1w", None),
            ("", None),
            ("-", None),
            ("5", None),
            (".s", None),
            ("1.2.3s", None),
            ("99999999999999999999h", None),
            ("9999999999h", None),
        ] {
            assert_eq!(parse_duration(text), wanted, "{text}");
        }
        assert_eq!(format_duration(259_200), "72h");
        assert_eq!(format_duration(5_401), "1h30m1s");
    }

    #[test]
    fn joined_texts_may_be_as_long_as_the_limit() {
        let joined =
            |left: usize, right: usize| calculate(Arithmetic::Add, &Val::text(&"a".repeat(left)), &Val::text(&"b".repeat(right)));
        assert!(joined(1, MAX_TEXT_BYTES - 1).is_ok());
        assert_eq!(joined(1, MAX_TEXT_BYTES), Err("the text is too long"));
    }
}
