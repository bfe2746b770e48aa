//! Durations as people write them in JSON and YAML: `10s`, `1 hour`, `1h 12m`.

use core::time::Duration;

const UNITS: [(&[&str], u64); 10] = [
    (&["ns"], 1),
    (&["us"], 1_000),
    (&["ms"], 1_000_000),
    (&["s", "sec", "second", "seconds"], 1_000_000_000),
    (&["m", "min", "minute", "minutes"], 60_000_000_000),
    (&["h", "hr", "hour", "hours"], 3_600_000_000_000),
    (&["d", "day", "days"], 86_400_000_000_000),
    (&["w", "week", "weeks"], 604_800_000_000_000),
    // A twelfth of a year: 30.44 days.
    (&["M", "month", "months"], 2_629_800_000_000_000),
    (&["y", "year", "years"], 31_557_600_000_000_000),
];

/// One or more whole numbers, each with its unit, white space allowed between all; `None` for anything else, or beyond 584 years.
pub fn parse(text: &str) -> Option<Duration> {
    let (mut rest, mut total) = (text.trim(), 0_u64);
    loop {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let after = after.trim_start();
        let (unit, after) = after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
        let (_, nanos) = UNITS.iter().find(|(names, _)| names.contains(&unit))?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*nanos)?)?;
        rest = after.trim_start();
        if rest.is_empty() {
            return Some(Duration::from_nanos(total));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("10s", 10),
            ("1 hour", 3600),
            ("1h 12m", 4320),
            ("90 minutes", 5400),
            (" 2d1s ", 172_801),
            ("12M", 31_557_600),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "10", "s", "1 fortnight", "-1s", "1.5s", "1s,", "99999999999999999999s", "600y"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
