//! Writing torrents. `serde_bencode` sorts the keys and leaves out what is not there.

use serde::Serialize;
use serde_bytes::Bytes;

use super::Metainfo;
use crate::words::limits::{PIECE_LEN_CHOSEN_MAX, PIECE_LEN_MIN};

/// A torrent before it is written. Its `info` has the keys of BEP 3, `private` (BEP 27) and
/// `source`, and nothing else, as that of mktorrent and libtorrent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// The name of the file or of the folder, as the file system has it.
    pub name: Vec<u8>,
    /// The length in bytes of every piece but the last.
    pub piece_length: u32,
    /// The files in the order of their bytes. One without components is the torrent itself.
    pub files: Vec<DraftFile>,
    /// The SHA-1 of each piece, one after the other.
    pub hashes: Vec<u8>,
    /// Whether peers may come from the trackers only.
    pub private: bool,
    /// What makes torrents of the same data differ.
    pub source: Option<String>,
    /// The trackers' URLs in tiers.
    pub trackers: Vec<Vec<String>>,
    /// URLs that serve the same bytes by HTTP.
    pub web_seeds: Vec<String>,
    /// Hosts and ports by which to enter the Chord ring.
    pub chord_nodes: Vec<(String, u16)>,
    /// Hosts and ports by which to enter Mainline (BEP 5, "torrent file extensions").
    pub nodes: Vec<(String, u16)>,
    /// The comment.
    pub comment: Option<String>,
    /// The program that makes the torrent.
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<u64>,
}

/// A file of a [`Draft`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DraftFile {
    /// The components below the torrent's folder.
    pub path: Vec<Vec<u8>>,
    /// The length in bytes.
    pub len: u64,
}

#[derive(Serialize)]
struct Torrent<'a> {
    announce: Option<&'a str>,
    #[serde(rename = "announce-list")]
    announce_list: Option<&'a [Vec<String>]>,
    #[serde(rename = "chord nodes")]
    chord_nodes: Option<&'a [(String, u16)]>,
    comment: Option<&'a str>,
    #[serde(rename = "created by")]
    created_by: Option<&'a str>,
    #[serde(rename = "creation date")]
    creation_date: Option<u64>,
    info: Info<'a>,
    nodes: Option<&'a [(String, u16)]>,
    #[serde(rename = "url-list")]
    url_list: Option<&'a [String]>,
}

#[derive(Serialize)]
struct Info<'a> {
    files: Option<Vec<Item<'a>>>,
    length: Option<u64>,
    name: &'a Bytes,
    #[serde(rename = "piece length")]
    piece_length: u32,
    pieces: &'a Bytes,
    private: Option<u8>,
    source: Option<&'a str>,
}

#[derive(Serialize)]
struct Item<'a> {
    length: u64,
    path: Vec<&'a Bytes>,
}

impl Draft {
    /// The bytes of the `.torrent` file.
    pub fn encode(&self) -> Vec<u8> {
        let several = self.trackers.iter().map(Vec::len).sum::<usize>() > 1;
        let torrent = Torrent {
            announce: self.trackers.iter().flatten().next().map(String::as_str),
            announce_list: several.then_some(&self.trackers),
            chord_nodes: (!self.chord_nodes.is_empty()).then_some(&self.chord_nodes),
            comment: self.comment.as_deref(),
            created_by: self.created_by.as_deref(),
            creation_date: self.creation_date,
            info: self.info(),
            nodes: (!self.nodes.is_empty()).then_some(&self.nodes),
            url_list: (!self.web_seeds.is_empty()).then_some(&self.web_seeds),
        };
        serde_bencode::to_bytes(&torrent).expect("integers, strings, lists and named fields only")
    }

    fn info(&self) -> Info<'_> {
        let single = match self.files.as_slice() {
            [file] if file.path.is_empty() => Some(file.len),
            _ => None,
        };
        Info {
            files: single.is_none().then(|| self.files.iter().map(Item::of).collect()),
            length: single,
            name: Bytes::new(&self.name),
            piece_length: self.piece_length,
            pieces: Bytes::new(&self.hashes),
            private: self.private.then_some(1),
            source: self.source.as_deref(),
        }
    }
}

impl<'a> Item<'a> {
    fn of(file: &'a DraftFile) -> Self {
        Self { length: file.len, path: file.path.iter().map(|part| Bytes::new(part)).collect() }
    }
}

impl Metainfo {
    /// The bytes of a `.torrent` file with `info` as it came, the trackers and the web seeds.
    pub fn to_torrent(&self) -> Vec<u8> {
        let mut torrent = b"d".to_vec();
        let mut put = |key: &str, value: &[u8]| {
            torrent.extend(format!("{}:{key}", key.len()).as_bytes());
            torrent.extend(value);
        };
        let trackers = self.trackers();
        if let Some(first) = trackers.iter().flatten().next() {
            put("announce", &bencoded(first));
        }
        if trackers.iter().map(Vec::len).sum::<usize>() > 1 {
            put("announce-list", &bencoded(&trackers));
        }
        put("info", self.info_bytes());
        if !self.web_seeds().is_empty() {
            put("url-list", &bencoded(&self.web_seeds()));
        }
        torrent.push(b'e');
        torrent
    }
}

fn bencoded(value: &impl Serialize) -> Vec<u8> {
    serde_bencode::to_bytes(value).expect("strings and lists of them")
}

/// The piece length for so many bytes, as libtorrent chooses it: whenever a torrent is four times
/// as large its pieces are twice as long and twice as many, from 164 pieces of 16 KiB on. Small
/// torrents get small pieces, which spread early; large ones not too many hashes.
pub fn piece_length_for(size: u64) -> u32 {
    let mut piece_length = PIECE_LEN_MIN;
    let mut reach_hundredfold = 1_u64 << 28;
    while size > (reach_hundredfold + 50) / 100 && piece_length < PIECE_LEN_CHOSEN_MAX {
        piece_length *= 2;
        reach_hundredfold *= 4;
    }
    piece_length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_only_those_needed() {
        let mut draft = Draft {
            name: b"caf\xe9".to_vec(),
            piece_length: 16384,
            files: vec![DraftFile { path: Vec::new(), len: 3 }],
            hashes: vec![b'#'; 20],
            ..Draft::default()
        };
        let hashes = "#".repeat(20);
        let info = [
            b"d6:lengthi3e4:name4:caf\xe912:piece lengthi16384e6:pieces20:".as_slice(),
            hashes.as_bytes(),
        ]
        .concat();
        let bare = [b"d4:info", info.as_slice(), b"ee"].concat();
        assert_eq!(draft.encode().escape_ascii().to_string(), bare.escape_ascii().to_string());

        draft.private = true;
        draft.source = Some("s".to_owned());
        draft.trackers = vec![vec!["u:1".to_owned(), "u:2".to_owned()], vec!["u:3".to_owned()]];
        draft.web_seeds = vec!["h".to_owned()];
        draft.nodes = vec![("::1".to_owned(), 7)];
        draft.comment = Some(String::new());
        draft.created_by = Some("me".to_owned());
        draft.creation_date = Some(9);
        let full = [
            b"d8:announce3:u:113:announce-listll3:u:13:u:2el3:u:3ee7:comment0:10:created by2:me"
                .as_slice(),
            b"13:creation datei9e4:info",
            &info,
            b"7:privatei1e6:source1:se5:nodesll3:::1i7eee8:url-listl1:hee",
        ]
        .concat();
        assert_eq!(draft.encode().escape_ascii().to_string(), full.escape_ascii().to_string());
    }

    #[test]
    fn piece_lengths_are_those_of_libtorrent() {
        // The largest size that libtorrent 2.0.8 gives pieces of so many KiB.
        let table = [
            (16, 2_684_355),
            (32, 10_737_418),
            (64, 42_949_673),
            (128, 171_798_692),
            (256, 687_194_767),
            (512, 2_748_779_069),
            (1024, 10_995_116_278),
            (2048, 43_980_465_111),
            (4096, 175_921_860_444),
            (8192, 703_687_441_777),
        ];
        for (kib, size) in table {
            assert_eq!(piece_length_for(size), kib * 1024);
            assert_eq!(piece_length_for(size + 1), kib * 2048);
        }
        assert_eq!(piece_length_for(0), PIECE_LEN_MIN);
        assert_eq!(piece_length_for(u64::MAX), PIECE_LEN_CHOSEN_MAX);
    }
}
