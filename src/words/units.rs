//! Bytes, bytes a second and seconds: read from the command line, and written for people.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Why a text could not be read: a sentence that says what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unparsable(pub &'static str);

impl fmt::Display for Unparsable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Unparsable {}

/// A number of bytes. Read as a whole number with or without `K`, `M`, `G`, `KiB`, `MiB` or `GiB`
/// in either case, all 1024-based; shown with three digits, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = Unparsable;

    fn from_str(text: &str) -> Result<Self, Unparsable> {
        bytes(text).map(Self)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&shown(self.0))
    }
}

/// Bytes a second, read and shown as [`Size`] is. As a limit, 0 means none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(pub u64);

impl FromStr for Rate {
    type Err = Unparsable;

    fn from_str(text: &str) -> Result<Self, Unparsable> {
        bytes(text).map(Self)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/s", shown(self.0)))
    }
}

/// A stretch of time, shown in its two largest units and in at most seven characters up to 27
/// years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
        f.pad(&match () {
            () if minutes == 0 => format!("{seconds}s"),
            () if hours == 0 => format!("{minutes}m {:02}s", seconds % 60),
            () if days == 0 => format!("{hours}h {:02}m", minutes % 60),
            () if days < 100 => format!("{days}d {:02}h", hours % 24),
            () => format!("{days}d"),
        })
    }
}

fn bytes(text: &str) -> Result<u64, Unparsable> {
    const FORM: Unparsable =
        Unparsable("write a whole number of bytes, or one followed by K, M, G, KiB, MiB or GiB");
    const OVERFLOW: Unparsable = Unparsable("the number is too large");

    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return Err(FORM),
    };
    if number.is_empty() {
        return Err(FORM);
    }
    let number: u64 = number.parse().ok().ok_or(OVERFLOW)?;
    number.checked_mul(1 << shift).ok_or(OVERFLOW)
}

/// Three digits, rounded down, so that nothing is ever said to be more than it is.
fn shown(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

    // 64 bits are at most 16 EiB, so the last unit is never exceeded.
    let mut step = 0;
    while bytes >> (10 * step) >= 1024 {
        step += 1;
    }
    let whole = bytes >> (10 * step);
    let rest = u128::from(bytes) - (u128::from(whole) << (10 * step));
    let part = |scale: u128| (rest * scale) >> (10 * step);
    match (step, whole) {
        (0, _) | (_, 100..) => format!("{whole} {}", UNITS[step]),
        (_, 10..) => format!("{whole}.{} {}", part(10), UNITS[step]),
        _ => format!("{whole}.{:02} {}", part(100), UNITS[step]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_every_unit() {
        let table = [
            ("0", Some(0)),
            ("16384", Some(16_384)),
            ("16K", Some(16_384)),
            ("16k", Some(16_384)),
            ("1kib", Some(1_024)),
            ("3M", Some(3 << 20)),
            ("3MiB", Some(3 << 20)),
            ("2G", Some(2 << 30)),
            ("2gIb", Some(2 << 30)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("17179869183G", Some(17_179_869_183 << 30)),
            ("17179869184G", None),
            ("", None),
            ("K", None),
            ("-1", None),
            ("+1", None),
            ("1.5M", None),
            ("1 M", None),
            ("1KB", None),
            ("1T", None),
            ("１", None),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse().ok(), expected.map(Size), "{text}");
            assert_eq!(text.parse().ok(), expected.map(Rate), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_with_three_digits() {
        let table = [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.00 KiB"),
            (1_536, "1.50 KiB"),
            (10_239, "9.99 KiB"),
            (10_240, "10.0 KiB"),
            (102_400, "100 KiB"),
            ((1 << 20) - 1, "1023 KiB"),
            (5 << 30, "5.00 GiB"),
            (u64::MAX, "15.9 EiB"),
        ];
        for (bytes, expected) in table {
            assert_eq!(Size(bytes).to_string(), expected);
            assert_eq!(Rate(bytes).to_string(), format!("{expected}/s"));
        }
        assert_eq!(format!("{:>9}", Size(5)), "      5 B");
    }

    #[test]
    fn spans_are_shown_in_two_units() {
        let table = [
            (0, "0s"),
            (59, "59s"),
            (60, "1m 00s"),
            (3_599, "59m 59s"),
            (3_600, "1h 00m"),
            (86_399, "23h 59m"),
            (86_400, "1d 00h"),
            (8_640_000, "100d"),
        ];
        for (seconds, expected) in table {
            assert_eq!(Span(Duration::from_secs(seconds)).to_string(), expected);
        }
    }
}
