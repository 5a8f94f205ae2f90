//! Amounts of bytes as people write them.

const UNITS: [(&str, u64); 7] =
    [("B", 1), ("kB", 1000), ("KiB", 1 << 10), ("MB", 1_000_000), ("MiB", 1 << 20), ("GB", 1_000_000_000), ("GiB", 1 << 30)];

/// Reads `33554432`, `32MiB`, `1 GB`.
pub(super) fn parse(text: &str) -> Result<usize, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let factor = UNITS.iter().find(|(name, _)| *name == unit || unit.is_empty()).map(|(_, bytes)| *bytes);
    let bytes = factor.and_then(|factor| number.parse::<u64>().ok()?.checked_mul(factor));
    // What is counted in bytes here is less than a `u32` of them at once, or a database; either is more than 0.
    bytes
        .and_then(|bytes| usize::try_from(bytes).ok())
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| format!("`{text}` is no amount of bytes; expected a whole number with a unit, like `32MiB`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_amounts() {
        assert_eq!(parse("1024"), Ok(1024));
        assert_eq!(parse("32MiB"), Ok(32 << 20));
        assert_eq!(parse("2 GB"), Ok(2_000_000_000));
        for bad in ["", "0", "MiB", "1.5MiB", "-1", "1mib", "99999999999999999999", "99999999999GiB"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
