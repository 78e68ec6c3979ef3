//! Magnet links (BEP 9, "magnet URI format"; `so` is BEP 53) and bare info-hashes.
//!
//! A link comes from anywhere, so its lists are bounded; what goes beyond a bound, and parameters
//! that nobody knows, are ignored, as a browser would.

use std::fmt;
use std::ops::RangeInclusive;

use crate::formats::metainfo::Metainfo;
use crate::formats::path::readable;
use crate::words::address::{Address, Host};
use crate::words::id::InfoHash;
use crate::words::limits::{
    MAGNET_LEN_MAX, MAGNET_PEERS_MAX, MAGNET_RANGES_MAX, TRACKERS_MAX, URL_LEN_MAX, WEB_SEEDS_MAX,
};

/// What a magnet link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Magnet {
    /// `xt`: which torrent.
    pub info_hash: InfoHash,
    /// `dn`: a name to show until the metadata is there; to be escaped before a terminal sees it.
    pub name: Option<String>,
    /// `tr`: trackers' URLs.
    pub trackers: Vec<String>,
    /// `ws`: URLs that serve the same bytes by HTTP.
    pub web_seeds: Vec<String>,
    /// `x.pe`: peers, each a host and a port with a colon between.
    pub peers: Vec<String>,
    /// `so`: the files that are wanted, counted from 0; none means all.
    pub select: Vec<RangeInclusive<u32>>,
}

/// Why a text is no magnet link that this program reads. Its text is one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MagnetError {
    /// Longer than [`MAGNET_LEN_MAX`].
    TooLong,
    /// It does not begin with `magnet:?`.
    NoMagnet,
    /// It has no `xt=urn:btih:`.
    NoInfoHash,
    /// What stands for the info-hash is none.
    BadInfoHash,
    /// It names a torrent of version 2 only (BEP 52).
    V2Only,
    /// `so` is no list of numbers and ranges.
    BadSelection,
    /// `tr` is no URL.
    BadTracker,
    /// `ws` is no URL.
    BadWebSeed,
    /// `x.pe` is no address.
    BadPeer,
}

impl fmt::Display for MagnetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "it is longer than {MAGNET_LEN_MAX} bytes"),
            Self::NoMagnet => write!(f, "it does not begin with \"magnet:?\""),
            Self::NoInfoHash => write!(f, "it has no \"xt=urn:btih:\" with an info-hash"),
            Self::BadInfoHash => write!(f, "its info-hash is neither 40 hex nor 32 base32 digits"),
            Self::V2Only => {
                write!(f, "it names a v2-only torrent (BEP 52), which this version cannot read")
            }
            Self::BadSelection => write!(f, "its \"so\" is not a list of files such as 0,2,4-6"),
            Self::BadTracker => write!(f, "its \"tr\" is no URL of a tracker"),
            Self::BadWebSeed => write!(f, "its \"ws\" is no URL of a web seed"),
            Self::BadPeer => write!(f, "its \"x.pe\" is no peer's HOST:PORT"),
        }
    }
}

impl std::error::Error for MagnetError {}

impl Magnet {
    /// The link of a torrent.
    pub fn of(torrent: &Metainfo) -> Self {
        Self {
            info_hash: torrent.info_hash(),
            name: Some(torrent.name().to_owned()),
            trackers: torrent
                .trackers()
                .iter()
                .flatten()
                .filter(|url| is_url(url))
                .cloned()
                .collect(),
            web_seeds: torrent.web_seeds().iter().filter(|url| is_url(url)).cloned().collect(),
            peers: Vec::new(),
            select: Vec::new(),
        }
    }

    /// Reads a link. Names of parameters may be numbered (`tr.1`), `xt` may occur more than once
    /// (a hybrid's does).
    ///
    /// # Errors
    /// If the text is no magnet link, is too long, or names no torrent of version 1.
    pub fn parse(link: &str) -> Result<Self, MagnetError> {
        if link.len() > MAGNET_LEN_MAX {
            return Err(MagnetError::TooLong);
        }
        let is_magnet = link.get(..8).is_some_and(|head| head.eq_ignore_ascii_case("magnet:?"));
        let query = if is_magnet { &link[8..] } else { return Err(MagnetError::NoMagnet) };
        let mut magnet = Self {
            info_hash: find_info_hash(query)?,
            name: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            peers: Vec::new(),
            select: Vec::new(),
        };
        for (key, value) in parameters(query) {
            match key {
                "dn" => magnet.name = Some(value).filter(|name| !name.is_empty()),
                // What stands empty says nothing.
                "tr" | "ws" | "x.pe" if value.is_empty() => {}
                "tr" if !is_url(&value) => return Err(MagnetError::BadTracker),
                "tr" => keep(&mut magnet.trackers, value, TRACKERS_MAX),
                "ws" if !is_url(&value) => return Err(MagnetError::BadWebSeed),
                "ws" => keep(&mut magnet.web_seeds, value, WEB_SEEDS_MAX),
                "x.pe" if !is_peer(&value) => return Err(MagnetError::BadPeer),
                "x.pe" => keep(&mut magnet.peers, value, MAGNET_PEERS_MAX),
                "so" => magnet.select = parse_selection(&value)?,
                _ => {}
            }
        }
        Ok(magnet)
    }
}

impl fmt::Display for Magnet {
    /// The link, percent-encoded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "magnet:?xt=urn:btih:{}", self.info_hash)?;
        let name = self.name.iter().map(|name| ("dn", name));
        let trackers = self.trackers.iter().map(|url| ("tr", url));
        let web_seeds = self.web_seeds.iter().map(|url| ("ws", url));
        let peers = self.peers.iter().map(|peer| ("x.pe", peer));
        for (key, value) in name.chain(trackers).chain(web_seeds).chain(peers) {
            write!(f, "&{key}={}", Encoded(value))?;
        }
        for (n, range) in self.select.iter().enumerate() {
            f.write_str(if n == 0 { "&so=" } else { "," })?;
            write!(f, "{}", range.start())?;
            if range.end() > range.start() {
                write!(f, "-{}", range.end())?;
            }
        }
        Ok(())
    }
}

/// Reads 40 hexadecimal or 32 base32 (RFC 4648) digits, in either case.
pub fn parse_info_hash(text: &str) -> Option<InfoHash> {
    let bits = match text.len() {
        40 => 4,
        32 => 5,
        _ => return None,
    };
    let (mut bytes, mut filled) = ([0; 20], 0);
    let (mut gathered, mut count) = (0_u32, 0);
    for digit in text.bytes() {
        let value = if bits == 4 { char::from(digit).to_digit(16)? } else { base32_value(digit)? };
        gathered = gathered << bits | value;
        count += bits;
        if count >= 8 {
            count -= 8;
            bytes[filled] = (gathered >> count).to_le_bytes()[0];
            filled += 1;
        }
    }
    Some(InfoHash(bytes))
}

fn base32_value(digit: u8) -> Option<u32> {
    match digit.to_ascii_uppercase() {
        letter @ b'A'..=b'Z' => Some(u32::from(letter - b'A')),
        digit @ b'2'..=b'7' => Some(u32::from(digit - b'2') + 26),
        _ => None,
    }
}

fn find_info_hash(query: &str) -> Result<InfoHash, MagnetError> {
    let mut error = MagnetError::NoInfoHash;
    for (_, value) in parameters(query).filter(|(key, _)| *key == "xt") {
        let urn = value.to_ascii_lowercase();
        if let Some(digits) = urn.strip_prefix("urn:btih:") {
            match parse_info_hash(digits) {
                Some(info_hash) => return Ok(info_hash),
                None => error = MagnetError::BadInfoHash,
            }
        } else if urn.starts_with("urn:btmh:") && error == MagnetError::NoInfoHash {
            error = MagnetError::V2Only;
        }
    }
    Err(error)
}

/// The parameters, decoded, without the numbers that some makers add to the keys.
fn parameters(query: &str) -> impl Iterator<Item = (&str, String)> {
    query.split('&').filter_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        let key = match key.rsplit_once('.') {
            Some((key, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => key,
            Some(_) | None => key,
        };
        Some((key, decoded(value)))
    })
}

fn keep(list: &mut Vec<String>, value: String, max: usize) {
    if list.len() < max {
        list.push(value);
    }
}

/// Whether a text can be a URL: a scheme, `://`, and something behind it. Whether somebody speaks
/// that scheme is for others to see.
fn is_url(text: &str) -> bool {
    let is_clean = !text.contains(|c: char| c.is_control() || c.is_whitespace());
    let parts = text.split_once("://");
    let is_scheme = |scheme: &str| {
        let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(letter)
    };
    let has_both = parts.is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.is_empty());
    is_clean && text.len() <= URL_LEN_MAX && has_both
}

/// Whether a text is an address that can be dialled.
fn is_peer(text: &str) -> bool {
    let address = text.parse::<Address>();
    address.is_ok_and(|address| address.port > 0 && !matches!(address.host, Host::Any))
}

fn parse_selection(text: &str) -> Result<Vec<RangeInclusive<u32>>, MagnetError> {
    let number = |digits: &str| digits.parse().map_err(|_no_number| MagnetError::BadSelection);
    let mut ranges = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = number(first)?..=number(last)?;
        if range.is_empty() || ranges.len() == MAGNET_RANGES_MAX {
            return Err(MagnetError::BadSelection);
        }
        ranges.push(range);
    }
    Ok(ranges)
}

/// Text with `%20` for each byte that is not unreserved in a URI (RFC 3986, section 2.3).
struct Encoded<'a>(&'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.bytes().try_for_each(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                write!(f, "{}", char::from(byte))
            }
            _ => write!(f, "%{byte:02X}"),
        })
    }
}

/// Undoes [`Encoded`] and the `+` that forms write for a space. A `%` without two digits stands for
/// itself.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, next) = match (first, after) {
            (b'%', [high, low, after @ ..]) => match hex_byte(*high, *low) {
                Some(byte) => (byte, after),
                None => (b'%', &rest[1..]),
            },
            (b'+', after) => (b' ', after),
            (&byte, after) => (byte, after),
        };
        bytes.push(byte);
        rest = next;
    }
    readable(&bytes)
}

fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let value = char::from(high).to_digit(16)? << 4 | char::from(low).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "2a9a0e5b3e2e9f0a7b6c5d4e3f20112233445566";

    fn read(rest: &str) -> Magnet {
        Magnet::parse(&format!("magnet:?xt=urn:btih:{HEX}{rest}")).unwrap()
    }

    #[test]
    fn info_hashes_have_two_spellings() {
        // Python: base64.b32encode(bytes.fromhex(HEX))
        let base32 = "FKNA4WZ6F2PQU63MLVHD6IAREIZUIVLG";
        let info_hash = parse_info_hash(HEX).unwrap();
        assert_eq!(info_hash.to_string(), HEX);
        assert_eq!(parse_info_hash(&HEX.to_uppercase()), Some(info_hash));
        assert_eq!(parse_info_hash(base32), Some(info_hash));
        assert_eq!(parse_info_hash(&base32.to_lowercase()), Some(info_hash));
        for bad in
            ["", &HEX[1..], &HEX.replace('2', "g"), &base32.replace('F', "1"), &"é".repeat(16)]
        {
            assert_eq!(parse_info_hash(bad), None, "{bad}");
        }
    }

    #[test]
    fn reads_what_others_write() {
        let rest = "&dn=Big+Buck%20%C3%A9&tr=udp%3A%2F%2Fa%3A1&tr.1=http://b/&tr=&ws=http%3a//c/d\
                    &x.pe=[::1]:7&x.pe=h:8&so=0,2,4-6&xl=9&unknown";
        let magnet = read(rest);
        assert_eq!(magnet.name.as_deref(), Some("Big Buck é"));
        assert_eq!(magnet.trackers, ["udp://a:1", "http://b/"]);
        assert_eq!(magnet.web_seeds, ["http://c/d"]);
        assert_eq!(magnet.peers, ["[::1]:7", "h:8"]);
        assert_eq!(magnet.select, [0..=0, 2..=2, 4..=6]);
        assert_eq!(Magnet::parse(&magnet.to_string()).unwrap(), magnet);
    }

    #[test]
    fn writes_what_others_read() {
        let mut magnet = read("&dn=a&tr=udp://t:1/x?y=1&ws=h://s");
        magnet.name = Some("a&b c/é%".to_owned());
        let wanted = format!(
            "magnet:?xt=urn:btih:{HEX}&dn=a%26b%20c%2F%C3%A9%25&tr=udp%3A%2F%2Ft%3A1%2Fx%3Fy%3D1&ws=h%3A%2F%2Fs"
        );
        assert_eq!(magnet.to_string(), wanted);
        assert_eq!(Magnet::parse(&wanted).unwrap(), magnet);
    }

    #[test]
    fn half_escapes_stand_for_themselves() {
        let table = [
            ("%", "%"),
            ("%4", "%4"),
            ("%zz", "%zz"),
            ("%41%", "A%"),
            ("%ff", "%FF"),
            ("%%41", "%A"),
        ];
        for (text, wanted) in table {
            assert_eq!(decoded(text), wanted);
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let table = [
            ("http://x/".to_owned(), MagnetError::NoMagnet),
            ("magnet".to_owned(), MagnetError::NoMagnet),
            ("magnetéé".to_owned(), MagnetError::NoMagnet),
            ("magnet:?".to_owned(), MagnetError::NoInfoHash),
            ("magnet:?dn=x".to_owned(), MagnetError::NoInfoHash),
            ("magnet:?xt=urn:btih:12".to_owned(), MagnetError::BadInfoHash),
            ("magnet:?xt=urn:btmh:1220ab".to_owned(), MagnetError::V2Only),
            (format!("magnet:?xt=urn:btih:{HEX}&so=x"), MagnetError::BadSelection),
            (format!("magnet:?xt=urn:btih:{HEX}&so=3-1"), MagnetError::BadSelection),
            (format!("magnet:?xt=urn:btih:{HEX}&so=0,1-4294967296"), MagnetError::BadSelection),
            (format!("magnet:?xt=urn:btih:{HEX}&tr=tracker"), MagnetError::BadTracker),
            (format!("magnet:?xt=urn:btih:{HEX}&tr=http%3A%2F%2Fa%0Ab"), MagnetError::BadTracker),
            (format!("magnet:?xt=urn:btih:{HEX}&tr=://x"), MagnetError::BadTracker),
            (format!("magnet:?xt=urn:btih:{HEX}&ws=http:/one"), MagnetError::BadWebSeed),
            (format!("magnet:?xt=urn:btih:{HEX}&x.pe=a"), MagnetError::BadPeer),
            (format!("magnet:?xt=urn:btih:{HEX}&x.pe=a:0"), MagnetError::BadPeer),
            (format!("magnet:?xt=urn:btih:{HEX}&x.pe=:7"), MagnetError::BadPeer),
            (format!("magnet:?xt=urn:btih:{HEX}&x.pe=1.2.3.4:65536"), MagnetError::BadPeer),
            (format!("magnet:?xt=urn:btih:{}", "1".repeat(32)), MagnetError::BadInfoHash),
            ("magnet:?".to_owned() + &"x".repeat(MAGNET_LEN_MAX), MagnetError::TooLong),
        ];
        for (link, wanted) in table {
            assert_eq!(Magnet::parse(&link), Err(wanted));
        }
        let hybrid = format!("MAGNET:?xt=urn:btmh:1220ab&xt=urn:btih:{HEX}");
        assert_eq!(Magnet::parse(&hybrid).unwrap().info_hash.to_string(), HEX);
    }

    #[test]
    fn lists_are_bounded() {
        let many: String = (0..=TRACKERS_MAX).map(|n| format!("&tr=u://{n}")).collect();
        assert_eq!(read(&many).trackers.len(), TRACKERS_MAX);
        let long = format!("magnet:?xt=urn:btih:{HEX}&tr=u://{}", "u".repeat(URL_LEN_MAX));
        assert_eq!(Magnet::parse(&long), Err(MagnetError::BadTracker));
    }
}
