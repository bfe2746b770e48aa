//! Durations and sizes as people write them: `"1m30s"`, `"64KiB"`.

use std::time::Duration;

const MILLISECONDS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const BYTES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads `"500ms"`, `"30s"`, `"1m30s"`. The error is the rest of a sentence that begins with the name of the key.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    sum(text, &MILLISECONDS)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("must be a duration such as \"500ms\", \"30s\" or \"1m30s\", not \"{text}\""))
}

/// Writes what [`parse_duration`] reads.
pub(crate) fn format_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 { "0s".into() } else { in_largest(millis, &MILLISECONDS) }
}

/// Reads `"512B"`, `"64KiB"`. The error is the rest of a sentence that begins with the name of the key.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    sum(text, &BYTES).ok_or_else(|| format!("must be a size such as \"512B\", \"64KiB\" or \"1MiB\", not \"{text}\""))
}

/// Writes what [`parse_size`] reads.
pub(crate) fn format_size(bytes: u64) -> String {
    if bytes == 0 { "0B".into() } else { in_largest(bytes, &BYTES) }
}

/// About as much, for reading: three digits.
pub(crate) fn rough_size(bytes: u64) -> String {
    let (unit, size) = BYTES.into_iter().find(|(_, size)| bytes >= *size).unwrap_or(("B", 1));
    match bytes / size {
        whole @ 0..10 if size > 1 => format!("{whole}.{} {unit}", bytes % size * 10 / size),
        whole => format!("{whole} {unit}"),
    }
}

/// One or more of a number and its unit, each unit smaller than the one before.
fn sum(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (mut rest, mut units, mut total) = (text, units, 0_u64);
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let at = units.iter().position(|(name, _)| *name == unit.trim())?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(units[at].1)?)?;
        if after.is_empty() {
            return Some(total);
        }
        (rest, units) = (after, &units[at + 1..]);
    }
}

/// In the largest unit that leaves no fraction.
fn in_largest(amount: u64, units: &[(&str, u64)]) -> String {
    let (unit, size) = units.iter().find(|(_, size)| amount.is_multiple_of(*size)).unwrap_or(&("", 1));
    format!("{}{unit}", amount / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let read = |text| parse_duration(text).ok().map(|duration| duration.as_millis());
        assert_eq!(read("500ms"), Some(500));
        assert_eq!(read("30s"), Some(30_000));
        assert_eq!(read("30 s"), Some(30_000));
        assert_eq!(read("1m30s"), Some(90_000));
        assert_eq!(read("1h1ms"), Some(3_600_001));
        assert_eq!(read("2d"), Some(172_800_000));
        for wrong in
            ["", "30", "s", "1.5s", "-1s", "30sec", "30s1m", "1s1s", "99999999999999999999s", "9999999999999999d"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(
            parse_duration("30").unwrap_err(),
            r#"must be a duration such as "500ms", "30s" or "1m30s", not "30""#
        );
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse_size("0B"), Ok(0));
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        assert_eq!(parse_size("1 MiB"), Ok(1 << 20));
        assert_eq!(parse_size("2GiB"), Ok(1 << 31));
        for wrong in ["", "64", "64KB", "64k", "1.5MiB", "KiB", "-1B", "99999999999GiB"] {
            assert_eq!(
                parse_size(wrong),
                Err(format!("must be a size such as \"512B\", \"64KiB\" or \"1MiB\", not \"{wrong}\""))
            );
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for millis in [0, 1, 999, 1_000, 1_500, 59_000, 60_000, 3_600_000, 86_400_000, 90_061_001] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
        for bytes in [0, 1, 1023, 1024, 1025, 65_536, 65_535, 1 << 20, 3 << 30] {
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }
        assert_eq!(format_duration(Duration::from_secs(75)), "75s");
        assert_eq!(format_size(65_536), "64KiB");
    }

    #[test]
    fn rough_sizes_have_up_to_four_characters() {
        assert_eq!(rough_size(0), "0 B");
        assert_eq!(rough_size(1023), "1023 B");
        assert_eq!(rough_size(1536), "1.5 KiB");
        assert_eq!(rough_size(20_480), "20 KiB");
        assert_eq!(rough_size(5 << 30), "5.0 GiB");
    }
}
