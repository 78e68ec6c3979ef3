//! Web seeds (BEP 19): where a server has the files of a torrent, and which part of one an answer is.

use std::fmt;
use std::net::IpAddr;
use std::path::Component;

use sha1::{Digest, Sha1};

use crate::formats::metainfo::Metainfo;
use crate::formats::url::{Scheme, Url, percent_encoded};
use crate::words::address::is_local;
use crate::words::id::PeerId;
use crate::words::limits::URL_LEN_MAX;

/// A server that has the files of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSeed(Url);

/// Why a text is no web seed. Its text is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoWebSeed(String);

impl fmt::Display for NoWebSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl WebSeed {
    /// Reads the URL of a web seed.
    ///
    /// # Errors
    /// If it is no URL, or of another scheme than `http` and `https`.
    pub fn parse(text: &str) -> Result<Self, NoWebSeed> {
        let url = Url::parse(text).map_err(|error| NoWebSeed(error.to_string()))?;
        match url.scheme {
            Scheme::Http | Scheme::Https => Ok(Self(url)),
            Scheme::Udp => Err(NoWebSeed("a web seed is asked by HTTP, not by udp".to_owned())),
        }
    }

    /// By what main knows it again: no two have the same, and no peer has it by chance.
    pub fn peer_id(&self) -> PeerId {
        let hash: [u8; 20] = Sha1::digest(self.0.to_string()).into();
        let mut id = *b"-WS0000-............";
        id[8..].copy_from_slice(&hash[..12]);
        PeerId(id)
    }

    /// Where a file of the torrent is. A URL that ends in a slash is a folder, and so is that of a
    /// torrent of many files.
    ///
    /// # Errors
    /// If the URL is that of a folder and has a query, or it would be too long.
    pub fn url_of(&self, metainfo: &Metainfo, file: usize) -> Result<Url, NoWebSeed> {
        let Self(url) = self;
        if metainfo.is_single_file() && !url.path().ends_with('/') {
            return Ok(url.clone());
        }
        if url.target.contains('?') {
            return Err(NoWebSeed("its URL has a query, and none of a folder can".to_owned()));
        }
        let mut target = url.target.clone();
        for component in metainfo.files()[file].path.components() {
            let Component::Normal(name) = component else { continue };
            if !target.ends_with('/') {
                target.push('/');
            }
            target.push_str(&percent_encoded(name.as_encoded_bytes()));
        }
        if target.len() > URL_LEN_MAX {
            return Err(NoWebSeed("the URL of a file is too long".to_owned()));
        }
        Ok(Url { target, ..url.clone() })
    }
}

impl fmt::Display for WebSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether a torrent may make us ask for `url` at `ip`: what a server in our own network does must
/// not depend on what a stranger wrote behind a question mark, nor a server elsewhere lead us there.
///
/// # Errors
/// Why not. `from_public`: a public address has redirected us.
pub fn may_ask(url: &Url, ip: IpAddr, from_public: bool) -> Result<(), String> {
    if is_local(ip) && from_public {
        return Err("it redirects from a public address to a private one".to_owned());
    }
    if is_local(ip) && url.target.contains('?') {
        return Err("a web seed on a private address may have no query".to_owned());
    }
    Ok(())
}

/// The lines of a request for `len` bytes from `offset` on (RFC 9110, section 14.2).
pub fn range_line(offset: u64, len: u64) -> String {
    format!("Range: bytes={offset}-{}\r\n", offset + len.saturating_sub(1))
}

/// Which part of a file an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its first byte.
    pub first: u64,
    /// Its last byte.
    pub last: u64,
    /// The length of the whole file, where it is told.
    pub whole: Option<u64>,
}

impl Part {
    /// Reads the value of `Content-Range` (RFC 9110, section 14.4).
    pub fn parse(value: &str) -> Option<Self> {
        let number = |digits: &str| {
            let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            all_digits.then(|| digits.parse().ok()).flatten()
        };
        let (unit, rest) = value.trim().split_once(' ')?;
        let (range, whole) = rest.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let whole = if whole == "*" { None } else { Some(number(whole)?) };
        let part = Self { first: number(first)?, last: number(last)?, whole };
        (unit.eq_ignore_ascii_case("bytes") && part.first <= part.last).then_some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::metainfo::{Draft, DraftFile};

    /// A torrent of these files; of one that is itself, if it has no path.
    fn torrent(name: &str, paths: &[&[&str]]) -> Metainfo {
        let file = |path: &&[&str]| DraftFile {
            path: path.iter().map(|name| name.as_bytes().to_vec()).collect(),
            len: 16384,
        };
        let files: Vec<_> = paths.iter().map(file).collect();
        let hashes = vec![0; 20 * files.len()];
        let draft = Draft {
            name: name.as_bytes().to_vec(),
            piece_length: 16384,
            files,
            hashes,
            ..Draft::default()
        };
        Metainfo::parse(&draft.encode()).unwrap()
    }

    fn url(seed: &str, metainfo: &Metainfo, file: usize) -> Result<String, NoWebSeed> {
        WebSeed::parse(seed)?.url_of(metainfo, file).map(|url| url.to_string())
    }

    #[test]
    fn a_file_has_the_url_itself_or_is_in_its_folder() {
        let file = torrent("a b.iso", &[&[]]);
        let table = [
            ("http://h/x.iso", "http://h/x.iso"),
            ("http://h/x.iso?y=1", "http://h/x.iso?y=1"),
            ("http://h/d/", "http://h/d/a%20b.iso"),
            ("http://h", "http://h/a%20b.iso"),
        ];
        for (seed, expected) in table {
            assert_eq!(url(seed, &file, 0).as_deref(), Ok(expected), "{seed}");
        }
        let folder = torrent("d&e", &[&["é?", "#1"], &["100%"]]);
        let table = [
            ("http://h/", 0, "http://h/d%26e/%C3%A9%3F/%231"),
            ("http://h/x", 1, "http://h/x/d%26e/100%25"),
        ];
        for (seed, file, expected) in table {
            assert_eq!(url(seed, &folder, file).as_deref(), Ok(expected), "{seed}");
        }
        assert!(url("http://h/?x=1", &folder, 0).is_err());
    }

    #[test]
    fn what_is_no_web_seed_is_refused() {
        let long = format!("http://h/{}", "a".repeat(URL_LEN_MAX));
        for text in ["", "file:///etc/passwd", "ftp://h/", "udp://h:1/", "http://", long.as_str()] {
            assert!(WebSeed::parse(text).is_err(), "{text}");
        }
        let [one, other] = ["http://h/a", "http://h/b"].map(|url| WebSeed::parse(url).unwrap());
        assert_ne!(one.peer_id(), other.peer_id());
    }

    #[test]
    fn a_private_address_is_asked_without_a_query_and_not_by_way_of_a_public_one() {
        let [plain, query] = ["http://h/a", "http://h/a?b"].map(|url| Url::parse(url).unwrap());
        let may =
            |url, ip: &str, from_public| may_ask(url, ip.parse().unwrap(), from_public).is_ok();
        for ip in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.1.1", "::1", "fe80::1"] {
            assert!(may(&plain, ip, false), "{ip}");
            assert!(!may(&query, ip, false) && !may(&plain, ip, true), "{ip}");
        }
        let public = "93.184.216.34";
        assert!(may(&query, public, false) && may(&query, public, true));
    }

    #[test]
    fn a_part_is_what_its_line_says() {
        let part = |first, last, whole| Some(Part { first, last, whole });
        let table = [
            ("bytes 0-99/1000", part(0, 99, Some(1000))),
            ("Bytes 5-5/*", part(5, 5, None)),
            ("bytes */1000", None),
            ("bytes 9-5/10", None),
            ("bytes -5/10", None),
            ("bytes 0-/10", None),
            ("bytes +1-2/3", None),
            ("bytes 0-99999999999999999999/*", None),
            ("lines 0-1/2", None),
            ("", None),
        ];
        for (value, expected) in table {
            assert_eq!(Part::parse(value), expected, "{value}");
        }
        assert_eq!(range_line(5, 10), "Range: bytes=5-14\r\n");
    }
}
