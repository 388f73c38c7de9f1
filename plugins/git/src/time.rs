//! Points in time as text: Git's seconds and offsets to ISO 8601, and dates that people write to seconds. What must never
//! live here: a clock. What is asked today gives the same answer tomorrow.
//!
//! A calendar library would do this too, with a time zone database that is a third of the whole component.

/// Seconds of a day.
const DAY: i64 = 86_400;

/// A time in ISO 8601, as `git log --format=%aI` has it. The offset is in seconds. Nothing for a year that has not four
/// digits, or an offset of a day or more.
pub(crate) fn iso(seconds: i64, offset: i32) -> Option<String> {
    if offset.unsigned_abs() >= DAY as u32 {
        return None;
    }
    let local = seconds.checked_add(i64::from(offset))?;
    let (year, month, day) = date(local.div_euclid(DAY))?;
    let of_day = local.rem_euclid(DAY);
    let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs() / 60);
    let zone = if minutes == 0 { "Z".to_owned() } else { format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60) };
    Some(format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{zone}", of_day / 3600, of_day / 60 % 60, of_day % 60))
}

/// Seconds since 1970 of `2026-01-31`, `2026-01-31 10:00`, `2026-01-31T10:00:00+02:00` or a number of seconds. UTC where no
/// offset is given.
pub(crate) fn seconds(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let (date, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, "00:00"));
    let [year, month, day] = numbers::<3>(date, '-')?;
    let days = days(year, month, day)?;
    let (time, offset) = match time.trim().find(['Z', 'z', '+', '-']) {
        Some(at) => time.trim().split_at(at),
        None => (time.trim(), "Z"),
    };
    let time = time.trim_end();
    let (time, seconds) = match time.match_indices(':').nth(1) {
        // Fractions of a second are dropped.
        Some((at, _)) => (&time[..at], time[at + 1..].split('.').next()?.parse().ok()?),
        None => (time, 0),
    };
    let [hour, minute] = numbers::<2>(time, ':')?;
    let fits = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..=60).contains(&seconds);
    fits.then(|| Some(days * DAY + hour * 3600 + minute * 60 + seconds - offset_seconds(offset)?))?
}

fn offset_seconds(text: &str) -> Option<i64> {
    let sign = match text.chars().next()? {
        'Z' | 'z' => return (text.len() == 1).then_some(0),
        '+' => 1,
        _ => -1,
    };
    let digits: String = text[1..].chars().filter(|char| *char != ':').collect();
    let number: i64 =
        (digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())??;
    (number % 100 < 60 && number / 100 < 24).then_some(sign * (number / 100 * 3600 + number % 100 * 60))
}

fn numbers<const N: usize>(text: &str, between: char) -> Option<[i64; N]> {
    let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?;
    let numbers: Vec<i64> = text.split(between).map(number).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

/// Days since 1970 of a date of the Gregorian calendar. Years are taken to begin in March, which puts the leap day last.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(0..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = days + (month * 153 + 2) / 5 + day - 1 - 719_468;
    // A day that its month has not comes back as another.
    (date(days)?.2 == day).then_some(days)
}

/// Year, month and day of a number of days since 1970.
fn date(days: i64) -> Option<(i64, i64, i64)> {
    let days = days.checked_add(719_468)?;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (year_of_era * 365 + year_of_era / 4 - year_of_era / 100);
    let from_march = (of_year * 5 + 2) / 153;
    let day = of_year - (from_march * 153 + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (0..=9999).contains(&year).then_some((year, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_git_writes_them() {
        for (seconds, offset, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (1_700_000_000, 5400, "2023-11-14T23:43:20+01:30"),
            (951_782_400, -36_000, "2000-02-28T14:00:00-10:00"),
            (-1, 0, "1969-12-31T23:59:59Z"),
            (253_402_300_799, 0, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(iso(seconds, offset).as_deref(), Some(text));
        }
        for (seconds, offset) in
            [(253_402_300_800, 0), (i64::MAX, 1), (i64::MIN, -1), (i64::MAX, 0), (0, 86_400), (0, i32::MIN)]
        {
            assert_eq!(iso(seconds, offset), None);
        }
    }

    #[test]
    fn dates_are_read() {
        for (text, expected) in [
            ("1700000000", 1_700_000_000),
            ("2023-11-14", 1_699_920_000),
            ("2023-11-14 22:13", 1_699_999_980),
            ("2023-11-14T22:13:20Z", 1_700_000_000),
            ("2023-11-14T23:43:20.5+01:30", 1_700_000_000),
            ("2023-11-14 15:13:20 -0700", 1_700_000_000),
            ("2000-02-29", 951_782_400),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for bad in [
            "",
            "yesterday",
            "2023-02-29",
            "2023-13-01",
            "2023-1-1-1",
            "2023-01-01T25:00",
            "2023-01-01T10:00+1",
            "2023-01-01T10:00Zx",
            "2023-01-01T1é:00",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_day_comes_back() {
        for day in (-719_528..2_932_896).step_by(7) {
            let (year, month, of_month) = date(day).unwrap();
            assert_eq!(days(year, month, of_month), Some(day));
        }
    }
}
