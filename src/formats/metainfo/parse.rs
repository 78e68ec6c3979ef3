//! Reading torrents: the scanner approves and finds, `serde_bencode` reads the typed values.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;
use sha1::{Digest, Sha1};

use super::{Advice, File, Metainfo, MetainfoError};
use crate::formats::path::{System, readable, safe_name, safe_path, shown, tell_apart};
use crate::words::bencode::{self, Form, Value};
use crate::words::id::InfoHash;
use crate::words::limits::{
    BLOCK_LEN, FILES_MAX, NODES_MAX, PIECE_LEN_MAX, PIECES_MAX, TORRENT_DEPTH_MAX, TORRENT_LEN_MAX,
    TRACKERS_MAX, URL_LEN_MAX, WEB_SEEDS_MAX,
};

impl Metainfo {
    /// Reads a `.torrent` file.
    ///
    /// # Errors
    /// If the bytes are no bencode, or `info` is not a right description of version 1. White space
    /// after the end is forgiven, since editors add it.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetainfoError> {
        if bytes.len() > TORRENT_LEN_MAX {
            return Err(MetainfoError::TooLong);
        }
        let top = bencode::scan(bytes.trim_ascii_end(), TORRENT_DEPTH_MAX, Form::Unsorted)?;
        if !top.is_dictionary() {
            return Err(MetainfoError::NoDictionary);
        }
        let known = Known::of(&top);
        let mut torrent = Self::from_value(known.need("info")?)?;
        torrent.advice = read_advice(&known);
        Ok(torrent)
    }

    /// Reads a bare `info` dictionary, as `ut_metadata` (BEP 9) hands it out.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn from_info(info: &[u8]) -> Result<Self, MetainfoError> {
        if info.len() > TORRENT_LEN_MAX {
            return Err(MetainfoError::TooLong);
        }
        Self::from_value(&bencode::scan(info, TORRENT_DEPTH_MAX, Form::Unsorted)?)
    }

    /// What stands for a torrent of which the info-hash alone is known, and perhaps what somebody
    /// calls it: it has no pieces, no files and no metadata.
    pub fn unknown(info_hash: InfoHash, name: Option<&str>) -> Self {
        let safe = |name: &str| safe_name(name.as_bytes(), System::HERE).ok().flatten();
        Self {
            info: Vec::new(),
            info_hash,
            name: name.and_then(safe).map_or_else(|| info_hash.to_string(), shown),
            piece_length: BLOCK_LEN,
            hashes: 0..0,
            size: 0,
            files: Vec::new(),
            is_single_file: true,
            len: 0,
            private: false,
            source: None,
            advice: Advice::default(),
        }
    }

    /// The same with these trackers, each in a tier of its own, and web seeds beside those that it
    /// has: what a magnet link says.
    #[must_use]
    pub fn with_link(mut self, trackers: &[String], web_seeds: &[String]) -> Self {
        for tracker in trackers {
            let known = self.advice.trackers.iter().flatten();
            let full = self.advice.trackers.len() >= TRACKERS_MAX;
            if !full && !known.into_iter().any(|known| known == tracker) {
                self.advice.trackers.push(vec![tracker.clone()]);
            }
        }
        for web_seed in web_seeds {
            let full = self.advice.web_seeds.len() >= WEB_SEEDS_MAX;
            if !full && !self.advice.web_seeds.contains(web_seed) {
                self.advice.web_seeds.push(web_seed.clone());
            }
        }
        self
    }

    fn from_value(info: &Value<'_>) -> Result<Self, MetainfoError> {
        if !info.is_dictionary() {
            return Err(MetainfoError::Invalid("info"));
        }
        let known = Known::of(info);
        if known.is_v2_only() {
            return Err(MetainfoError::V2Only);
        }
        let info_hash = InfoHash(Sha1::digest(info.raw()).into());
        let name = read_name(&known, info_hash)?;
        let is_single_file = known.get("files").is_none();
        let mut files = match known.get("files") {
            Some(list) => read_files(list, &name)?,
            None => vec![read_file(&known, PathBuf::from(&name))?],
        };
        let len = lay_out(&mut files)?;
        let mortal = files.iter_mut().filter(|file| !file.pad);
        tell_apart(mortal.map(|file| &mut file.path), System::HERE)?;

        let piece_length = read_piece_length(known.need("piece length")?)?;
        let pieces = known.need("pieces")?;
        let hashes = pieces.string().ok_or(MetainfoError::Invalid("pieces"))?;
        check_pieces(hashes, len, piece_length)?;
        let end = pieces.span().end - info.span().start;
        Ok(Self {
            info: info.raw().to_vec(),
            info_hash,
            name: shown(&name),
            piece_length,
            hashes: end - hashes.len()..end,
            size: files.iter().filter(|file| !file.pad).map(|file| file.len).sum(),
            files,
            is_single_file,
            len,
            private: known.get("private").and_then(Value::integer).is_some_and(|flag| flag != 0),
            source: known.text("source"),
            advice: Advice::default(),
        })
    }
}

/// The entries of one dictionary by their keys.
struct Known<'a>(BTreeMap<&'a [u8], Value<'a>>);

/// The keys that are read, of all dictionaries of a torrent; a stranger's others are passed over.
const KEYS: [&str; 23] = [
    "announce",
    "announce-list",
    "attr",
    "chord nodes",
    "comment",
    "comment.utf-8",
    "created by",
    "creation date",
    "file tree",
    "files",
    "info",
    "length",
    "meta version",
    "name",
    "name.utf-8",
    "nodes",
    "path",
    "path.utf-8",
    "piece length",
    "pieces",
    "private",
    "source",
    "url-list",
];

impl<'a> Known<'a> {
    fn of(dictionary: &Value<'a>) -> Self {
        let is_known = |key: &[u8]| KEYS.iter().any(|known| known.as_bytes() == key);
        Self(dictionary.entries().filter(|(key, _)| is_known(key)).collect())
    }

    fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.0.get(key.as_bytes())
    }

    fn need(&self, key: &'static str) -> Result<&Value<'a>, MetainfoError> {
        self.get(key).ok_or(MetainfoError::Missing(key))
    }

    /// The value under `key`, if it is there and of this type.
    fn typed<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        serde_bencode::from_bytes(self.get(key)?.raw()).ok()
    }

    fn text(&self, key: &str) -> Option<String> {
        self.get(key)?.string().map(readable)
    }

    fn is_v2_only(&self) -> bool {
        let is_v2 = self.get("meta version").and_then(Value::integer) == Some(2);
        self.get("pieces").is_none() && (is_v2 || self.get("file tree").is_some())
    }
}

/// The name, or the info-hash where nothing is left of it.
fn read_name(known: &Known<'_>, info_hash: InfoHash) -> Result<OsString, MetainfoError> {
    let utf8 = known.get("name.utf-8").and_then(Value::string);
    let raw = match utf8.filter(|name| !name.is_empty() && str::from_utf8(name).is_ok()) {
        Some(name) => name,
        None => known.need("name")?.string().ok_or(MetainfoError::Invalid("name"))?,
    };
    Ok(safe_name(raw, System::HERE)?.unwrap_or_else(|| info_hash.to_string().into()))
}

fn read_files(list: &Value<'_>, name: &OsStr) -> Result<Vec<File>, MetainfoError> {
    if !list.is_list() {
        return Err(MetainfoError::Invalid("files"));
    }
    let mut files = Vec::new();
    for item in list.items() {
        if files.len() == FILES_MAX {
            return Err(MetainfoError::TooManyFiles);
        }
        if !item.is_dictionary() {
            return Err(MetainfoError::Invalid("files"));
        }
        let known = Known::of(&item);
        let components = read_components(&known)?;
        let mut file = read_file(&known, PathBuf::new())?;
        file.pad |= is_padding_name(&components);
        file.path = if file.pad {
            Path::new(name).join(".pad").join(file.len.to_string())
        } else {
            let inside = safe_path(components.iter().map(|part| part.as_slice()), System::HERE)?;
            Path::new(name).join(inside)
        };
        files.push(file);
    }
    if files.is_empty() { Err(MetainfoError::Invalid("files")) } else { Ok(files) }
}

/// What a torrent of one file and an item of `files` have in common.
fn read_file(known: &Known<'_>, path: PathBuf) -> Result<File, MetainfoError> {
    let attributes = known.get("attr").and_then(Value::string).unwrap_or_default();
    let is_link = attributes.contains(&b'l');
    let len = match known.get("length") {
        None if is_link => 0,
        None => return Err(MetainfoError::Missing("length")),
        Some(value) => value.integer().and_then(|len| u64::try_from(len).ok()).ok_or(LENGTH)?,
    };
    // A link is a path, which has no bytes in any piece.
    if is_link && len > 0 {
        return Err(LENGTH);
    }
    Ok(File { path, len, offset: 0, pad: is_link || attributes.contains(&b'p') })
}

const LENGTH: MetainfoError = MetainfoError::Invalid("length");

fn read_components(known: &Known<'_>) -> Result<Vec<ByteBuf>, MetainfoError> {
    let utf8: Option<Vec<ByteBuf>> = known.typed("path.utf-8");
    let is_right = |path: &Vec<ByteBuf>| {
        !path.is_empty() && path.iter().all(|part| str::from_utf8(part).is_ok())
    };
    if let Some(path) = utf8.filter(is_right) {
        return Ok(path);
    }
    known.need("path")?;
    known.typed("path").ok_or(MetainfoError::Invalid("path"))
}

/// BitComet filled pieces with files of this name before there was an attribute for it.
fn is_padding_name(components: &[ByteBuf]) -> bool {
    components.last().is_some_and(|name| name.starts_with(b"_____padding_file_"))
}

/// Puts the files one after the other; returns the length of all.
fn lay_out(files: &mut [File]) -> Result<u64, MetainfoError> {
    let mut end = 0_u64;
    for file in files {
        file.offset = end;
        end = end.checked_add(file.len).ok_or(MetainfoError::TooLarge)?;
        i64::try_from(end).map_err(|_too_large| MetainfoError::TooLarge)?;
    }
    Ok(end)
}

fn read_piece_length(value: &Value<'_>) -> Result<u32, MetainfoError> {
    let len = value.integer().ok_or(MetainfoError::Invalid("piece length"))?;
    let fitting = u32::try_from(len).ok().filter(|len| (1..=PIECE_LEN_MAX).contains(len));
    fitting.ok_or(MetainfoError::PieceLength(len))
}

fn check_pieces(hashes: &[u8], len: u64, piece_length: u32) -> Result<(), MetainfoError> {
    let (hashes, rest) = hashes.as_chunks::<20>();
    if !rest.is_empty() {
        return Err(MetainfoError::Invalid("pieces"));
    }
    if hashes.len() > PIECES_MAX {
        return Err(MetainfoError::TooManyPieces);
    }
    let (found, needed) = (hashes.len() as u64, len.div_ceil(u64::from(piece_length)));
    if found == needed { Ok(()) } else { Err(MetainfoError::Pieces { found, needed }) }
}

fn read_advice(known: &Known<'_>) -> Advice {
    Advice {
        trackers: read_trackers(known),
        web_seeds: read_web_seeds(known),
        chord_nodes: read_nodes(known, "chord nodes"),
        nodes: read_nodes(known, "nodes"),
        comment: known.text("comment.utf-8").or_else(|| known.text("comment")),
        created_by: known.text("created by"),
        creation_date: known.get("creation date").and_then(Value::integer),
    }
}

/// The tiers of `announce-list`; without any, `announce` (BEP 12).
fn read_trackers(known: &Known<'_>) -> Vec<Vec<String>> {
    let mut room = TRACKERS_MAX;
    let tiers: Vec<Vec<ByteBuf>> = known.typed("announce-list").unwrap_or_default();
    let tiers = tiers.into_iter().map(|tier| {
        let tier: Vec<String> = urls(tier).take(room).collect();
        room -= tier.len();
        tier
    });
    let tiers: Vec<Vec<String>> = tiers.filter(|tier| !tier.is_empty()).collect();
    if !tiers.is_empty() {
        return tiers;
    }
    let announce: Option<ByteBuf> = known.typed("announce");
    urls(announce).map(|url| vec![url]).collect()
}

/// `url-list` is a string or a list of strings (BEP 19).
fn read_web_seeds(known: &Known<'_>) -> Vec<String> {
    let one: Option<ByteBuf> = known.typed("url-list");
    let list = || known.typed("url-list").unwrap_or_default();
    urls(one.map_or_else(list, |url| vec![url])).take(WEB_SEEDS_MAX).collect()
}

fn read_nodes(known: &Known<'_>, key: &str) -> Vec<(String, u16)> {
    let nodes: Vec<(ByteBuf, u16)> = known.typed(key).unwrap_or_default();
    let usable = nodes.into_iter().filter_map(|(host, port)| {
        let host = printable(host)?;
        (port > 0).then_some((host, port))
    });
    usable.take(NODES_MAX).collect()
}

/// Those that could be URLs.
fn urls(candidates: impl IntoIterator<Item = ByteBuf>) -> impl Iterator<Item = String> {
    candidates.into_iter().filter_map(printable)
}

/// The text without the white space around it, if it is short and of printable characters.
fn printable(text: ByteBuf) -> Option<String> {
    let text = String::from_utf8(text.into_vec()).ok()?;
    let text = text.trim();
    let is_clean = !text.contains(|c: char| c.is_control() || c.is_whitespace());
    (!text.is_empty() && text.len() <= URL_LEN_MAX && is_clean).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::path::PathError;

    /// A torrent of one piece with these entries in `info`, which must ascend around `piece
    /// length` and `pieces`.
    fn info(before: &str, after: &str) -> Vec<u8> {
        format!("d{before}12:piece lengthi16384e6:pieces20:{}{after}e", "#".repeat(20)).into_bytes()
    }

    fn torrent(before: &str, after: &str) -> Vec<u8> {
        [b"d4:info", info(before, after).as_slice(), b"e"].concat()
    }

    fn files(items: &str) -> Vec<u8> {
        torrent(&format!("5:filesl{items}e4:name1:t"), "")
    }

    fn paths(bytes: &[u8]) -> Vec<String> {
        let torrent = Metainfo::parse(bytes).unwrap();
        torrent.files().iter().map(|file| file.path.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn one_file() {
        let bytes = torrent("6:lengthi5e4:name5:a.txt", "7:privatei1e6:source2:XY");
        let torrent = Metainfo::parse(&bytes).unwrap();
        let file = File { path: "a.txt".into(), len: 5, offset: 0, pad: false };
        assert_eq!(torrent.files(), [file]);
        assert_eq!((torrent.name(), torrent.len(), torrent.size()), ("a.txt", 5, 5));
        assert!(torrent.is_single_file() && torrent.private() && !torrent.is_empty());
        assert_eq!((torrent.source(), torrent.piece_length()), (Some("XY"), 16384));
        assert_eq!(torrent.info_bytes(), &bytes[7..bytes.len() - 1]);
        assert_eq!(Metainfo::from_info(torrent.info_bytes()).unwrap(), torrent);
    }

    #[test]
    fn the_info_hash_is_that_of_the_raw_bytes() {
        // Unknown keys, a key that is no UTF-8, integers beyond 64 bits, keys out of order.
        let odd = "d4:name1:x2:\u{1}\u{2}i99999999999999999999e6:lengthi1e";
        let bytes = torrent(&odd[1..], "1:z1:z");
        let torrent = Metainfo::parse(&bytes).unwrap();
        let raw = &bytes[7..bytes.len() - 1];
        assert_eq!(torrent.info_hash().0[..], Sha1::digest(raw)[..]);
        let mut bytes = bytes.clone();
        let at = bytes.iter().position(|&byte| byte == 1).unwrap();
        bytes[at] = 0xff;
        assert_ne!(Metainfo::parse(&bytes).unwrap().info_hash(), torrent.info_hash());
    }

    #[test]
    fn many_files() {
        let bytes = files(
            "d6:lengthi2e4:pathl1:d1:aeed6:lengthi0e4:pathl1:beed4:attr1:p6:lengthi3e4:pathl4:.pad\
             1:3eed6:lengthi1e4:pathl1:c24:_____padding_file_0_____eed4:attr1:l4:pathl1:lee\
             d4:attr2:hx6:lengthi4e4:pathl1:eee",
        );
        let torrent = Metainfo::parse(&bytes).unwrap();
        let seen: Vec<_> = torrent
            .files()
            .iter()
            .map(|file| (file.path.to_str().unwrap(), file.offset, file.len, file.pad))
            .collect();
        let wanted = [
            ("t/d/a", 0, 2, false),
            ("t/b", 2, 0, false),
            ("t/.pad/3", 2, 3, true),
            ("t/.pad/1", 5, 1, true),
            ("t/.pad/0", 6, 0, true),
            ("t/e", 6, 4, false),
        ];
        assert_eq!(seen, wanted);
        assert_eq!((torrent.len(), torrent.size(), torrent.pieces()), (10, 6, 1));
        assert!(!torrent.is_single_file());
    }

    #[test]
    fn names_in_utf8_win_only_if_they_are() {
        let names = |utf8: &[u8]| {
            let head = [b"d4:infod6:lengthi1e4:name1:a10:name.utf-8".as_slice(), utf8].concat();
            [head.as_slice(), &info("", "")[1..], b"e"].concat()
        };
        assert_eq!(paths(&names("2:é".as_bytes())), ["é"]);
        assert_eq!(paths(&names(b"1:\xe9")), ["a"]);
        assert_eq!(paths(&names(b"0:")), ["a"]);
        assert_eq!(paths(&names(b"i1e")), ["a"]);
        let item = "d6:lengthi1e4:pathl1:ae10:path.utf-8l2:éee";
        assert_eq!(paths(&files(item)), ["t/é"]);
        assert_eq!(paths(&files(&item.replace("l2:ée", "le"))), ["t/a"]);
    }

    #[test]
    fn tricks_with_paths_end_inside_or_nowhere() {
        assert_eq!(paths(&torrent("6:lengthi1e4:name5:AC/DC", "")), ["AC_DC"]);
        assert_eq!(paths(&torrent("6:lengthi1e4:name11:/etc/passwd", "")), ["_etc_passwd"]);
        let twice = "d6:lengthi1e4:pathl1:aee".repeat(2);
        assert_eq!(paths(&files(&twice)), ["t/a", "t/a.1"]);
        let unnamed = Metainfo::parse(&torrent("6:lengthi1e4:name1:.", "")).unwrap();
        assert_eq!(unnamed.name(), unnamed.info_hash().to_string());

        let refused = |bytes: &[u8]| Metainfo::parse(bytes).unwrap_err();
        let parent = MetainfoError::Path(PathError::Parent);
        assert_eq!(refused(&torrent("6:lengthi1e4:name2:..", "")), parent);
        assert_eq!(refused(&files("d6:lengthi1e4:pathl2:..1:aee")), parent);
        let empty = MetainfoError::Path(PathError::Empty);
        assert_eq!(refused(&files("d6:lengthi1e4:pathlee")), empty);
        let both = "d6:lengthi1e4:pathl1:aeed6:lengthi1e4:pathl1:a1:bee";
        let wanted = MetainfoError::Path(PathError::FileAndFolder("t/a".into()));
        assert_eq!(refused(&files(both)), wanted);
        // Files that exist in the torrent only may have any name, and any name twice.
        let pad = "d4:attr1:p6:lengthi1e4:pathl2:..ee".repeat(2);
        assert_eq!(paths(&files(&pad)).len(), 2);
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        let hashes = "#".repeat(20);
        let single = |rest: &str| format!("d4:infod6:lengthi1e4:name1:a{rest}ee").into_bytes();
        let pieces = |len: &str, count: usize| {
            let hashes = "#".repeat(count);
            single(&format!("12:piece length{len}6:pieces{count}:{hashes}"))
        };
        let table: [(Vec<u8>, &str); 26] = [
            (Vec::new(), "it is no torrent: it ends in the middle of a value, at byte 0"),
            (b"<html>".to_vec(), "it is no torrent: no value begins with '<', at byte 0"),
            (b"\x1b[2J".to_vec(), "it is no torrent: no value begins with '\\x1b', at byte 0"),
            (b"dex".to_vec(), "it is no torrent: bytes after the end, at byte 2"),
            (b"le".to_vec(), "it is bencode, but not a dictionary"),
            (b"de".to_vec(), "it has no \"info\""),
            (b"d4:infoi1ee".to_vec(), "its \"info\" is invalid"),
            (b"d4:infodee".to_vec(), "it has no \"name\""),
            (torrent("6:lengthi1e4:namei1e", ""), "its \"name\" is invalid"),
            (torrent("4:name1:a", ""), "it has no \"length\""),
            (torrent("6:lengthi-1e4:name1:a", ""), "its \"length\" is invalid"),
            (torrent("6:length1:14:name1:a", ""), "its \"length\" is invalid"),
            (torrent("4:attr1:l6:lengthi1e4:name1:a", ""), "its \"length\" is invalid"),
            (torrent("5:files1:a4:name1:a", ""), "its \"files\" is invalid"),
            (files(""), "its \"files\" is invalid"),
            (files("i1e"), "its \"files\" is invalid"),
            (files("d6:lengthi1ee"), "it has no \"path\""),
            (files("d6:lengthi1e4:path1:ae"), "its \"path\" is invalid"),
            (files("d6:lengthi1e4:pathli1eee"), "its \"path\" is invalid"),
            (
                files(&"d6:lengthi9223372036854775807e4:pathl1:aee".repeat(2)),
                "its files are larger than any disk",
            ),
            (pieces("i0e", 20), "its pieces are 0 bytes long; 1 to 268435456 are possible"),
            (
                pieces("i268435457e", 20),
                "its pieces are 268435457 bytes long; 1 to 268435456 are possible",
            ),
            (pieces("i1e", 21), "its \"pieces\" is invalid"),
            (pieces("i1e", 40), "it has the hashes of 2 pieces, but its files need 1"),
            (
                b"d4:infod9:file treede12:meta versioni2e4:name1:a12:piece lengthi16384eee"
                    .to_vec(),
                "a v2-only torrent (BEP 52), which this version cannot read",
            ),
            (single(&format!("6:pieces20:{hashes}")), "it has no \"piece length\""),
        ];
        for (bytes, wanted) in table {
            let said = Metainfo::parse(&bytes).unwrap_err().to_string();
            assert_eq!(said, wanted, "{}", bytes.escape_ascii());
        }
        let long = vec![b' '; TORRENT_LEN_MAX + 1];
        assert_eq!(Metainfo::parse(&long).unwrap_err(), MetainfoError::TooLong);
    }

    #[test]
    fn an_empty_torrent_is_legal_and_white_space_after_it_too() {
        let bytes = b"d4:infod6:lengthi0e4:name1:a12:piece lengthi16384e6:pieces0:ee\r\n";
        let torrent = Metainfo::parse(bytes).unwrap();
        assert!(torrent.is_empty());
        assert_eq!(torrent.pieces(), 0);
    }

    #[test]
    fn advice_that_cannot_be_read_is_left_out() {
        let with = |before: &str, after: &str| {
            let info = torrent("6:lengthi1e4:name1:a", "");
            let info = str::from_utf8(&info[1..info.len() - 1]).unwrap().to_owned();
            Metainfo::parse(format!("d{before}{info}{after}e").as_bytes()).unwrap()
        };
        assert_eq!(with("8:announce3:u:1", "").trackers(), [["u:1"]]);
        let list = "8:announce3:u:113:announce-listll3:u:23:x yelel3:u:3ee";
        assert_eq!(with(list, "").trackers(), [["u:2"], ["u:3"]]);
        assert_eq!(with("8:announce3:u:113:announce-listle", "").trackers(), [["u:1"]]);
        assert_eq!(with("8:announcei1e13:announce-listi1e", "").trackers().len(), 0);
        assert_eq!(with("8:announce5:\u{1b}[2Jx", "").trackers().len(), 0);
        assert_eq!(with("", "8:url-list3:h:/").web_seeds(), ["h:/"]);
        assert_eq!(with("", "8:url-listl3:h:/0:3:g:/e").web_seeds(), ["h:/", "g:/"]);
        assert_eq!(with("", "8:url-list0:").web_seeds().len(), 0);
        let nodes = "5:nodesll3:::1i7eel1:hi0eee";
        assert_eq!(with("", nodes).nodes(), [("::1".to_owned(), 7)]);
        assert_eq!(with("", "5:nodesll1:hi70000eee").nodes().len(), 0);
        assert_eq!(with("", nodes).chord_nodes(), []);
        let nodes = "11:chord nodesll1:hi7eee";
        assert_eq!(with("", nodes).chord_nodes(), [("h".to_owned(), 7)]);
        assert_eq!(with("", nodes).nodes(), []);
        let said = "7:comment2:hi10:created by2:me13:creation datei-5e";
        let said = with(said, "");
        assert_eq!((said.comment(), said.created_by()), (Some("hi"), Some("me")));
        assert_eq!(said.creation_date(), Some(-5));
        let many = "3:u:1".repeat(TRACKERS_MAX + 9);
        assert_eq!(with(&format!("13:announce-listll{many}ee"), "").trackers()[0].len(), 512);
    }
}
