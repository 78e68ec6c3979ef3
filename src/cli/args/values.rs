//! Values of options that are no words of the program: each reader says what would be right.

use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

use crate::formats::url::Url;
use crate::session::{NO_HTTPS, is_spoken};
use crate::words::address::{Address, Host, ListenAddress};
use crate::words::limits::trackers::{INTERVAL_TRACKED_MAX, TRACKER_PORT};
use crate::words::limits::{BLOCK_LEN, PIECE_LEN_MAX, WAIT_MAX_S};
use crate::words::units::{Size, Unparsable};

/// Where an argument stands in the [`Shield`](super::rewrite::Shield).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shielded(pub(super) usize);

impl FromStr for Shielded {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// An address that can be dialled.
pub(super) fn dialled(text: &str) -> Result<Address, String> {
    let address: Address = text.parse().map_err(|Unparsable(why)| why)?;
    if address.port == 0 {
        return Err("port 0 cannot be dialled".into());
    }
    Ok(address)
}

/// An address that others can dial too.
pub(super) fn entry_point(text: &str) -> Result<Address, String> {
    let address = dialled(text)?;
    if address.host == Host::Any {
        return Err("the host is missing: write HOST:PORT, such as example.org:6881".into());
    }
    Ok(address)
}

/// A whole number above 0.
pub(super) fn count(text: &str) -> Result<u32, String> {
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_digit()) {
        return Err("write a whole number".into());
    }
    match text.parse() {
        Ok(0) => Err("it must be at least 1".into()),
        Ok(number) => Ok(number),
        Err(_overflow) => Err("the number is too large".into()),
    }
}

/// Bytes, at least a block.
pub(super) fn memory(text: &str) -> Result<Size, String> {
    let size: Size = text.parse().map_err(|Unparsable(why)| why)?;
    if size < Size(BLOCK_LEN.into()) {
        return Err(format!("it must be at least a block, {}", Size(BLOCK_LEN.into())));
    }
    Ok(size)
}

/// A power of two between a block and the longest piece.
pub(super) fn piece_length(text: &str) -> Result<u32, String> {
    let Size(size) = text.parse().map_err(|Unparsable(why)| why)?;
    u32::try_from(size)
        .ok()
        .filter(|length| (BLOCK_LEN..=PIECE_LEN_MAX).contains(length) && length.is_power_of_two())
        .ok_or_else(|| {
            let (least, most) = (Size(BLOCK_LEN.into()), Size(PIECE_LEN_MAX.into()));
            format!("it must be a power of two from {least} to {most}")
        })
}

/// Uploaded / size.
pub(super) fn ratio(text: &str) -> Result<f64, String> {
    decimal(text).ok_or_else(|| "write a number such as 1.5".into())
}

/// A stretch of time in seconds, longer than none.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    decimal(text)
        .filter(|&seconds| seconds > 0.0 && seconds <= f64::from(WAIT_MAX_S))
        .map(Duration::from_secs_f64)
        .filter(|wait| !wait.is_zero())
        .ok_or_else(|| format!("write a number of seconds above 0, at most {}", WAIT_MAX_S))
}

/// A stretch of time in minutes.
pub(super) fn minutes(text: &str) -> Result<Duration, String> {
    decimal(text)
        .map(|minutes| minutes * 60.0)
        .filter(|&seconds| seconds <= f64::from(WAIT_MAX_S))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("write a number of minutes, at most {}", WAIT_MAX_S / 60))
}

/// An absolute URL (RFC 3986, section 3). Which schemes are spoken is for others to say.
pub(super) fn url(text: &str) -> Result<String, String> {
    let has_form = text.split_once("://").is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
            && !rest.is_empty()
            && !rest.starts_with('/')
            && !rest.contains(|c: char| c.is_whitespace() || c.is_control())
    });
    if !has_form {
        return Err("write a URL such as http://tracker.example:6969/announce".into());
    }
    Ok(text.into())
}

/// A tracker that this build speaks to.
pub(super) fn tracker(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if is_spoken(url.scheme) { Ok(url) } else { Err(NO_HTTPS.to_owned()) }
}

/// Where a tracker listens unless it is told.
pub(super) fn tracker_listens() -> ListenAddress {
    ListenAddress { ip: None, ports: TRACKER_PORT..=TRACKER_PORT }
}

/// The time between two announces, in seconds.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let seconds = Duration::from_secs(count(text)?.into());
    if seconds > INTERVAL_TRACKED_MAX {
        return Err(format!("it must be at most {}", INTERVAL_TRACKED_MAX.as_secs()));
    }
    Ok(seconds)
}

/// A tier of trackers: URLs with commas between them.
pub(super) fn tier(text: &str) -> Result<Vec<String>, String> {
    text.split(',').map(url).collect()
}

/// A text that says something.
pub(super) fn filled(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("it must not be empty".into()) } else { Ok(text.into()) }
}

/// Digits with at most one dot: nothing negative, infinite or in exponents.
fn decimal(text: &str) -> Option<f64> {
    if !text.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::rng::Rng;

    /// Each text is taken, or refused with a sentence that holds what is given.
    fn check<T>(read: fn(&str) -> Result<T, String>, table: &[(&str, Option<&str>)]) {
        for &(text, refusal) in table {
            match (read(text), refusal) {
                (Ok(_), None) => {}
                (Err(why), Some(part)) => assert!(why.contains(part), "{text}: {why}"),
                (Ok(_), Some(_)) => panic!("{text} was taken"),
                (Err(why), None) => panic!("{text}: {why}"),
            }
        }
    }

    #[test]
    fn values_are_taken_or_refused_with_a_sentence() {
        check(
            dialled,
            &[(":1", None), ("h:1", None), ("h:0", Some("port 0")), ("h", Some("the port is"))],
        );
        check(entry_point, &[("h:1", None), (":1", Some("host is missing"))]);
        let too_large = Some("too large");
        check(
            count,
            &[
                ("1", None),
                ("4294967295", None),
                ("0", Some("at least 1")),
                ("4294967296", too_large),
                ("99999999999999999999", too_large),
                ("-1", Some("whole number")),
                ("+1", Some("whole number")),
                ("many", Some("whole number")),
            ],
        );
        check(memory, &[("16K", None), ("16383", Some("16.0 KiB")), ("x", Some("whole number"))]);
        let power = Some("power of two from 16.0 KiB to 256 MiB");
        check(
            piece_length,
            &[
                ("16K", None),
                ("256M", None),
                ("8K", power),
                ("512M", power),
                ("48K", power),
                ("8G", power),
                ("", Some("whole number")),
            ],
        );
        let number = Some("such as 1.5");
        check(ratio, &[("0", None), ("1.5", None), (".5", None), ("-1", number), ("inf", number)]);
        check(ratio, &[("NaN", number), ("1e3", number), ("", number), (".", number)]);
        let above = Some("above 0");
        check(
            seconds,
            &[("1", None), ("0.5", None), ("0", above), ("5000000000", above), ("1s", above)],
        );
        check(seconds, &[("0.0000000001", above)]);
        check(minutes, &[("0", None), ("90", None), ("1h", Some("minutes")), ("1e9", Some("m"))]);
        check(filled, &[("a", None), ("", Some("empty"))]);
    }

    /// Whatever `read` takes `holds`; whatever it refuses is refused with a sentence.
    #[track_caller]
    fn bounded<T: std::fmt::Debug>(
        text: &str,
        read: fn(&str) -> Result<T, String>,
        holds: impl Fn(&T) -> bool,
    ) -> bool {
        match read(text) {
            Ok(value) => assert!(holds(&value), "{text}: {value:?}"),
            Err(why) => {
                assert!(!why.is_empty() && !why.contains(char::is_control), "{text}: {why}");
                return false;
            }
        }
        true
    }

    #[test]
    fn whatever_is_taken_is_within_its_bounds() {
        let letters: Vec<char> = "00123456789..-+,:/[]%KMGib eh\u{661}\n".chars().collect();
        let beginnings = ["", "", "", "http://", "h:", "64", "64K", "4294967295"];
        let mut taken = [0; 10];
        for seed in 0..20_000 {
            let mut rng = Rng::new(seed);
            let mut text = beginnings[rng.below(8) as usize].to_owned();
            for _ in 0..rng.below(8) {
                text.push(letters[rng.below(u32::try_from(letters.len()).unwrap()) as usize]);
            }
            let text = text.as_str();
            let wait = |wait: &Duration| *wait <= Duration::from_secs(WAIT_MAX_S.into());
            let results = [
                bounded(text, dialled, |address| address.port > 0),
                bounded(text, entry_point, |address| {
                    address.host != Host::Any && dialled(text).as_ref() == Ok(address)
                }),
                bounded(text, count, |count| *count > 0),
                bounded(text, memory, |size| size.0 >= BLOCK_LEN.into()),
                bounded(text, piece_length, |length| {
                    length.is_power_of_two() && (BLOCK_LEN..=PIECE_LEN_MAX).contains(length)
                }),
                bounded(text, ratio, |ratio| ratio.is_finite() && *ratio >= 0.0),
                bounded(text, seconds, |span| !span.is_zero() && wait(span)),
                bounded(text, minutes, wait),
                bounded(text, url, |url| url == text && !url.contains(char::is_control)),
                bounded(text, tier, |tier| tier.join(",") == text),
            ];
            for (count, result) in taken.iter_mut().zip(results) {
                *count += u32::from(result);
            }
        }
        assert!(taken.iter().all(|count| *count > 20), "{taken:?}");
    }

    #[test]
    fn urls_have_a_scheme_and_a_host() {
        let form = Some("such as http://");
        check(
            url,
            &[
                ("http://tracker.example:6969/announce", None),
                ("udp://[::1]:80", None),
                ("tracker.example", form),
                ("http:///announce", form),
                ("http://", form),
                ("://x", form),
                ("1http://x", form),
                ("http://a b", form),
                ("http://a\n", form),
            ],
        );
        check(tier, &[("http://a,udp://b:1", None), ("http://a,", form), ("", form)]);
    }
}
