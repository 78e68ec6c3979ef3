//! What a user means by SOURCE: a torrent's path, stdin, a URL, a magnet link or an info-hash.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::cli::failure::{Exit, Failure};
use crate::formats::magnet::{Magnet, MagnetError, parse_info_hash};
use crate::formats::metainfo::Metainfo;
use crate::formats::path::shown;
use crate::formats::url::Url;
use crate::session::{NO_HTTPS, fetch, is_spoken};
use crate::words::id::InfoHash;
use crate::words::limits::{MAGNET_LEN_MAX, TORRENT_LEN_MAX, TORRENT_TIMEOUT};

/// Where a torrent is to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In this file.
    File(PathBuf),
    /// On stdin.
    Stdin,
    /// Behind this URL.
    Url(String),
    /// From peers, by a magnet link or a bare info-hash.
    Magnet(Box<Magnet>),
}

impl Source {
    /// Tells from the text alone which it is. A file whose name is an info-hash or begins like a
    /// link is meant by `./NAME`.
    ///
    /// # Errors
    /// If it is a magnet link with something wrong in it.
    pub fn recognise(text: &OsStr) -> Result<Self, Failure> {
        let Some(text) = text.to_str() else { return Ok(Self::File(text.into())) };
        let begins = |scheme: &str| {
            text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme))
        };
        if text == "-" {
            return Ok(Self::Stdin);
        }
        if begins("http://") || begins("https://") {
            return Ok(Self::Url(text.to_owned()));
        }
        let link = match parse_info_hash(text) {
            Some(info_hash) => format!("magnet:?xt=urn:btih:{info_hash}"),
            None if begins("magnet:") => text.to_owned(),
            None => return Ok(Self::File(text.into())),
        };
        match Magnet::parse(&link) {
            Ok(magnet) => Ok(Self::Magnet(Box::new(magnet))),
            Err(error) => Err(not_a_torrent(text, &error)),
        }
    }
}

/// What a source holds.
#[derive(Clone, Debug)]
pub enum Found {
    /// A torrent.
    Torrent(Box<Metainfo>),
    /// A link, whose torrent is to be had from peers.
    Magnet(Box<Magnet>),
}

impl Found {
    /// The info-hash of its torrent.
    pub fn info_hash(&self) -> InfoHash {
        match self {
            Self::Torrent(metainfo) => metainfo.info_hash(),
            Self::Magnet(magnet) => magnet.info_hash,
        }
    }
}

/// Reads what a source holds.
///
/// # Errors
/// As [`read_file`].
pub fn find(source: Source) -> Result<Found, Failure> {
    let torrent = match source {
        Source::File(path) => read_file(&path)?,
        Source::Stdin => read_stdin()?,
        Source::Magnet(magnet) => return Ok(Found::Magnet(magnet)),
        Source::Url(url) => read_url(&url)?,
    };
    Ok(Found::Torrent(Box::new(torrent)))
}

/// Reads the magnet link, or the info-hash, in a file: its first line that is not empty.
///
/// # Errors
/// As [`read_file`].
pub fn read_link(path: &Path) -> Result<Magnet, Failure> {
    let what = shown(path);
    let mut text = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAGNET_LEN_MAX as u64 + 1024).read_to_end(&mut text))
        .map_err(|error| Failure::file(&*what, &error))?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    match Source::recognise(OsStr::new(line)) {
        Ok(Source::Magnet(magnet)) => Ok(*magnet),
        Ok(_) => Err(not_a_torrent(&what, &MagnetError::NoMagnet)),
        Err(failure) => Err(Failure { what, ..failure }),
    }
}

/// Reads the torrent in a file.
///
/// # Errors
/// If the file cannot be read ([`Exit::FileSystem`]) or holds none ([`Exit::NotATorrent`]).
pub fn read_file(path: &Path) -> Result<Metainfo, Failure> {
    let what = shown(path);
    fs::File::open(path)
        .map_err(|error| Failure::file(&what, &error))
        .and_then(|file| read(file, &what))
}

/// Reads the torrent behind a URL.
fn read_url(text: &str) -> Result<Metainfo, Failure> {
    let fail = |exit, why: String| Failure { exit, what: text.to_owned(), why };
    let url = Url::parse(text).map_err(|error| not_a_torrent(text, &error))?;
    if !is_spoken(url.scheme) {
        return Err(fail(Exit::Failure, NO_HTTPS.to_owned()));
    }
    let bytes = fetch(&url, TORRENT_LEN_MAX, TORRENT_TIMEOUT);
    let bytes = bytes.map_err(|why| fail(Exit::Network, why))?;
    Metainfo::parse(&bytes).map_err(|error| not_a_torrent(text, &error))
}

/// Reads the torrent on stdin.
///
/// # Errors
/// As [`read_file`].
pub fn read_stdin() -> Result<Metainfo, Failure> {
    read(io::stdin().lock(), "stdin")
}

/// Reads the torrent that an argument names: a path, or `-` for stdin.
///
/// # Errors
/// As [`read_file`].
pub fn read_argument(argument: &OsStr) -> Result<Metainfo, Failure> {
    if argument == "-" { read_stdin() } else { read_file(Path::new(argument)) }
}

fn read(from: impl Read, what: &str) -> Result<Metainfo, Failure> {
    let mut bytes = Vec::new();
    // One byte more than is allowed, so that the parser sees that it is too much.
    from.take(TORRENT_LEN_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(what, &error))?;
    Metainfo::parse(&bytes).map_err(|error| not_a_torrent(what, &error))
}

fn unreadable(what: &str, error: &io::Error) -> Failure {
    let failure = Failure::file(what, error);
    if error.kind() == io::ErrorKind::IsADirectory {
        return Failure { why: "it is a folder; name a .torrent file".to_owned(), ..failure };
    }
    failure
}

fn not_a_torrent(what: &str, why: &dyn std::error::Error) -> Failure {
    Failure { exit: Exit::NotATorrent, what: what.to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart_by_their_text() {
        let hash = "0123456789abcdef0123456789ABCDEF01234567";
        let recognise = |text: &str| Source::recognise(OsStr::new(text));
        let magnet = Magnet::parse(&format!("magnet:?xt=urn:btih:{hash}")).unwrap();
        let magnet = Source::Magnet(Box::new(magnet));
        let table = [
            ("a.torrent", Source::File("a.torrent".into())),
            ("./-", Source::File("./-".into())),
            ("httpd.torrent", Source::File("httpd.torrent".into())),
            ("-", Source::Stdin),
            ("HTTP://h/a.torrent", Source::Url("HTTP://h/a.torrent".to_owned())),
            (hash, magnet.clone()),
            (&format!("Magnet:?xt=urn:btih:{hash}"), magnet),
        ];
        for (text, wanted) in table {
            assert_eq!(recognise(text).unwrap(), wanted, "{text}");
        }
        let bad = recognise("magnet:?dn=x").unwrap_err();
        assert_eq!(bad.exit, Exit::NotATorrent);
    }

    #[test]
    fn what_cannot_be_read_has_its_exit_code() {
        let missing = read_file(Path::new("/nowhere/at all.torrent")).unwrap_err();
        assert_eq!(missing.exit, Exit::FileSystem);
        assert!(missing.to_string().starts_with("/nowhere/at all.torrent: "));
        assert_eq!(read_file(&std::env::temp_dir()).unwrap_err().exit, Exit::FileSystem);
        let bad = read(&b"<html>"[..], "x").unwrap_err();
        assert_eq!((bad.exit, bad.what.as_str()), (Exit::NotATorrent, "x"));
        let endless = read(io::repeat(b'x'), "x").unwrap_err();
        assert_eq!(endless.why, "it is longer than 64 MiB");
    }
}
