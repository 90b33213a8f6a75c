//! The Gregorian calendar in UTC: days and moments to dates and back, and both to text.

use super::Unfit;

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Days from 1970-01-01 to a date. Years are counted from March, so that the leap day is a year's last.
#[inline]
pub fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
        - 719_469
}

/// Year, month and day of the date that is `days` days after 1970-01-01; the inverse of [`days`].
#[inline]
pub fn civil(days: i64) -> (i64, i64, i64) {
    let day = days + 719_468;
    let era = day.div_euclid(146_097);
    let day = day.rem_euclid(146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

/// The last day of a month; `None` where there is no such month.
#[inline]
pub fn last_day(year: i64, month: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    Some(match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    })
}

/// How a moment is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `2024-02-29T01:02:03.500000Z`, as files hold it. A year has four digits.
    Iso,
    /// `2024-02-29 01:02:03.5`, as SQL casts it to text. A year has any number of digits and may be negative.
    Sql,
}

/// Appends `YYYY-MM-DD`.
///
/// # Errors
/// The year has not four digits, and [`Form::Iso`] has no way to write it.
pub fn date(days: i64, form: Form, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let (year, month, day) = civil(days);
    match form {
        Form::Iso if !(0..=9999).contains(&year) => return Err("the year is not between 0 and 9999"),
        // A minus sign counts among the four characters, as in Rust's own formatting.
        _ if year < 0 => {
            out.push(b'-');
            padded(year.unsigned_abs(), 3, out);
        }
        _ => padded(year as u64, 4, out),
    }
    out.push(b'-');
    padded(month as u64, 2, out);
    out.push(b'-');
    padded(day as u64, 2, out);
    Ok(())
}

/// Appends a moment: `value` in units of which a second has 10 to the power of `digits`. A fraction that is zero is
/// left out.
///
/// # Errors
/// As for [`date`].
pub fn timestamp(value: i64, digits: u32, form: Form, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let unit = 10_i64.pow(digits);
    let (seconds, fraction) = (value.div_euclid(unit), value.rem_euclid(unit));
    date(seconds.div_euclid(DAY), form, out)?;
    out.push(if form == Form::Iso { b'T' } else { b' ' });
    clock(seconds.rem_euclid(DAY) as u64, out);
    if fraction != 0 {
        out.push(b'.');
        padded(fraction as u64, digits as usize, out);
    }
    match form {
        Form::Iso => out.push(b'Z'),
        Form::Sql if fraction != 0 => {
            let kept = out.iter().rposition(|byte| *byte != b'0').map_or(0, |last| last + 1);
            out.truncate(kept);
        }
        Form::Sql => {}
    }
    Ok(())
}

/// Appends a time of day: `value` in units of which a second has 10 to the power of `digits`. A fraction has
/// 3, 6 or 9 digits, and is left out where it is zero. Midnight at the end of a day is `24:00:00`.
///
/// # Errors
/// A day has no such time.
pub fn time_of_day(value: i64, digits: u32, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let unit = 10_i64.pow(digits);
    if !(0..=DAY * unit).contains(&value) {
        return Err("a day has no such time");
    }
    clock((value / unit) as u64, out);
    let (mut fraction, mut digits) = ((value % unit) as u64, digits as usize);
    if fraction != 0 {
        while digits > 3 && fraction % 1_000 == 0 {
            (fraction, digits) = (fraction / 1_000, digits - 3);
        }
        out.push(b'.');
        padded(fraction, digits, out);
    }
    Ok(())
}

/// Appends `HH:MM:SS`.
fn clock(second: u64, out: &mut Vec<u8>) {
    padded(second / 3600, 2, out);
    for number in [second / 60 % 60, second % 60] {
        out.push(b':');
        padded(number, 2, out);
    }
}

/// Appends a number with leading zeros, `width` digits in all.
fn padded(number: u64, width: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(number);
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(text.len())));
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse_over_many_centuries() {
        for day in (-800_000..3_000_000).step_by(17) {
            let (year, month, date) = civil(day);
            assert_eq!(days(year, month, date), day);
            assert!((1..=last_day(year, month).expect("a month")).contains(&date), "{year} {month} {date}");
        }
        assert_eq!((days(1970, 1, 1), days(2000, 2, 29), days(1, 1, 1)), (0, 11_016, -719_162));
        assert_eq!((last_day(1900, 2), last_day(2000, 2), last_day(2024, 13)), (Some(28), Some(29), None));
    }

    fn text(write: impl FnOnce(&mut Vec<u8>) -> Result<(), Unfit>) -> Result<String, Unfit> {
        let mut out = Vec::new();
        write(&mut out).map(|()| String::from_utf8(out).expect("ASCII"))
    }

    #[test]
    fn moments_have_two_forms() {
        let cases = [
            (1_500_000, 6, "1970-01-01T00:00:01.500000Z", "1970-01-01 00:00:01.5"),
            (-1, 9, "1969-12-31T23:59:59.999999999Z", "1969-12-31 23:59:59.999999999"),
            (60, 0, "1970-01-01T00:01:00Z", "1970-01-01 00:01:00"),
            (100, 3, "1970-01-01T00:00:00.100Z", "1970-01-01 00:00:00.1"),
        ];
        for (value, digits, iso, sql) in cases {
            assert_eq!(text(|out| timestamp(value, digits, Form::Iso, out)).as_deref(), Ok(iso));
            assert_eq!(text(|out| timestamp(value, digits, Form::Sql, out)).as_deref(), Ok(sql));
        }
        for (year, sql) in [(-1, "-001-01-01"), (-12_345, "-12345-01-01"), (12_345, "12345-01-01"), (7, "0007-01-01")] {
            assert_eq!(text(|out| date(days(year, 1, 1), Form::Sql, out)).as_deref(), Ok(sql));
        }
        assert!(text(|out| date(days(10_000, 1, 1), Form::Iso, out)).is_err());
        assert!(text(|out| date(days(-1, 1, 1), Form::Iso, out)).is_err());
    }

    #[test]
    fn a_day_has_24_hours_and_their_end() {
        let cases = [
            (0, 3, "00:00:00"),
            (86_399_999_999, 6, "23:59:59.999999"),
            (86_400_000, 3, "24:00:00"),
            (1, 9, "00:00:00.000000001"),
            (1_500_000, 6, "00:00:01.500"),
        ];
        for (value, digits, expected) in cases {
            assert_eq!(text(|out| time_of_day(value, digits, out)).as_deref(), Ok(expected));
        }
        for value in [-1, 86_400_001, i64::MIN, i64::MAX] {
            assert!(text(|out| time_of_day(value, 3, out)).is_err(), "{value}");
        }
    }
}
