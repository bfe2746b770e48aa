//! Dates as HTTP writes them (RFC 9110 §5.6.7), in whole seconds since 1970-01-01T00:00:00Z.

/// The last second of the year 9999, beyond which the format has no room.
const MAX_SECS: u64 = 253_402_300_799;
const DAY: u64 = 86_400;

const DAY_NAMES: [&[u8]; 7] = [b"Thursday", b"Friday", b"Saturday", b"Sunday", b"Monday", b"Tuesday", b"Wednesday"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// Writes an IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`.
///
/// `secs` counts from 1970 (see [`UnixTime::as_secs`](crate::time::UnixTime::as_secs)); dates after the year 9999 are
/// written as its last second.
pub fn format(secs: u64) -> [u8; 29] {
    let secs = secs.min(MAX_SECS);
    let (days, time) = (secs / DAY, secs % DAY);
    let (year, month, day) = civil(days);
    let day_name = DAY_NAMES.get((days % 7) as usize).and_then(|name| name.first_chunk()).unwrap_or(b"Thu");
    let month_name = MONTHS.get(month as usize - 1).copied().unwrap_or(b"Jan");
    let [d1, d2] = two(day);
    let [y1, y2] = two(year / 100);
    let [y3, y4] = two(year % 100);
    let [h1, h2] = two(time / 3600);
    let [m1, m2] = two(time / 60 % 60);
    let [s1, s2] = two(time % 60);
    let [n1, n2, n3] = *day_name;
    let [o1, o2, o3] = *month_name;
    [
        n1, n2, n3, b',', b' ', d1, d2, b' ', o1, o2, o3, b' ', y1, y2, y3, y4, b' ', h1, h2, b':', m1, m2, b':', s1,
        s2, b' ', b'G', b'M', b'T',
    ]
}

/// Reads a date in any of the three forms that recipients must accept; `None` if it is none of them, names a day that
/// does not exist or the wrong day of the week, or lies before 1970.
///
/// A leap second counts as the second after it. The two-digit years of RFC 850 are 1970 to 2069.
pub fn parse(text: &[u8]) -> Option<u64> {
    let (name, rest) = text.split_at_checked(text.iter().position(|&byte| byte == b',' || byte == b' ')?)?;
    match rest {
        // Sun, 06 Nov 1994 08:49:37 GMT
        [b',', b' ', d1, d2, b' ', month @ .., b' ', b'G', b'M', b'T'] if name.len() == 3 && month.len() == 17 => {
            let (month, rest) = month.split_at_checked(3)?;
            let [b' ', y1, y2, y3, y4, b' ', time @ ..] = rest else { return None };
            seconds(name, number(&[*y1, *y2, *y3, *y4])?, month, number(&[*d1, *d2])?, time)
        }
        // Sunday, 06-Nov-94 08:49:37 GMT
        [b',', b' ', d1, d2, b'-', o1, o2, o3, b'-', y1, y2, b' ', time @ .., b' ', b'G', b'M', b'T']
            if name.len() > 3 =>
        {
            let year = number(&[*y1, *y2])?;
            let century = if year < 70 { 2000 } else { 1900 };
            seconds(name, century + year, &[*o1, *o2, *o3], number(&[*d1, *d2])?, time)
        }
        // Sun Nov  6 08:49:37 1994
        [b' ', o1, o2, o3, b' ', d1, d2, b' ', time @ .., b' ', y1, y2, y3, y4] if name.len() == 3 => {
            let day = if *d1 == b' ' { number(&[*d2])? } else { number(&[*d1, *d2])? };
            seconds(name, number(&[*y1, *y2, *y3, *y4])?, &[*o1, *o2, *o3], day, time)
        }
        _ => None,
    }
}

fn seconds(name: &[u8], year: u64, month: &[u8], day: u64, time: &[u8]) -> Option<u64> {
    let &[h1, h2, b':', m1, m2, b':', s1, s2] = time else { return None };
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[m1, m2])?, number(&[s1, s2])?);
    let month = MONTHS.iter().position(|known| known.as_slice() == month)? as u64 + 1;
    if year < 1970 || hour > 23 || minute > 59 || second > 60 || day == 0 {
        return None;
    }
    let days = days(year, month, day);
    let known = DAY_NAMES.get((days % 7) as usize)?;
    let named = *known == name || (name.len() == 3 && known.starts_with(name));
    (named && civil(days) == (year, month, day)).then_some(days * DAY + hour * 3600 + minute * 60 + second)
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + u64::from(digit - b'0')))
}

const fn two(value: u64) -> [u8; 2] {
    [b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8]
}

// The two conversions count in years that begin in March, so that the leap day is the last of its year, and in eras of
// 400 years = 146,097 days, after which the calendar repeats. Day 719,468 of era 0 is 1970-01-01.

/// Year, month (1..=12) and day (1..=31) of a day since 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Days since 1970 of a date; of a date that does not exist, those of some other date.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_forms_of_the_rfc_mean_the_same() {
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(parse(text.as_bytes()), Some(784_111_777), "{text}");
        }
        assert_eq!(&format(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&format(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&format(951_782_400), b"Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(&format(u64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn every_day_until_the_year_9999_survives_a_round_trip() {
        let mut previous = (1969, 12, 31);
        for day in 0..=MAX_SECS / DAY {
            let secs = day * DAY + day % DAY;
            assert_eq!(parse(&format(secs)), Some(secs));
            let date = civil(day);
            assert!(date > previous);
            previous = date;
        }
    }

    #[test]
    fn what_is_not_a_date_is_none() {
        for text in [
            "",
            " ",
            "Sun",
            "Sun,",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov +994 08:49:37 GMT",
            "Thu, 29 Feb 2001 00:00:00 GMT",
            "Wed, 00 Nov 1994 08:49:37 GMT",
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "Su, 06-Nov-94 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"Sat, 31 Dec 2016 23:59:60 GMT"), parse(b"Sun, 01 Jan 2017 00:00:00 GMT"));
    }
}
