//! Resume files: what is remembered of a torrent's data, and what of it is believed later.
//!
//! A resume file claims pieces, and marks each file as it stood when they were claimed. It is
//! *open* while a process works on the torrent and *clean* after that process ended well.
//! [`trusted`] holds the marks against the files as they stand now.
//!
//! The bytes are bencode: a dictionary of `version`, `body` and `checksum`, the SHA-1 of `body`.
//! The body is a dictionary in a string: `clean` (0 or 1), `files`, `info hash` and `pieces` (the
//! payload of BEP 3's BITFIELD). `files` has [`MARK_LEN`] bytes a file, big-endian: 1 if the file
//! existed (else all is zero), length, seconds and nanoseconds of the modification time, inode.
//! So ten thousand files take 290 kB.

use std::fmt;

use serde::Serialize;
use serde_bytes::Bytes;
use sha1::{Digest, Sha1};

use crate::formats::metainfo::Metainfo;
use crate::words::bencode::{self, Form, Value};
use crate::words::bitfield::{self, Bitfield, WORD_BITS, Word};
use crate::words::id::{InfoHash, PieceIndex};

const VERSION: i64 = 1;

const ENCODES: &str = "integers and strings can all be bencoded";

/// Bytes of one file's mark.
pub const MARK_LEN: usize = 1 + 8 + 8 + 4 + 8;

/// What a resume file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Whether the process that wrote it closed its files before, and ended.
    pub clean: bool,
    /// The claimed pieces: verified, written and synced.
    pub pieces: Bitfield,
    /// A mark for each file of the torrent; `None` if it did not exist or is a pad.
    pub files: Vec<Option<FileMark>>,
}

/// By what a file is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMark {
    /// Its length in bytes.
    pub len: u64,
    /// When it was last written.
    pub modified: Timestamp,
    /// Its number in the file system; 0 where there is none.
    pub inode: u64,
}

/// A time as file systems keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds since 1970, rounded down.
    pub secs: i64,
    /// Nanoseconds since then, below 10^9.
    pub nanos: u32,
}

/// Why a resume file is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumeError {
    /// The bytes are not bencode.
    Bencode(bencode::Error),
    /// It has this version, which is not ours.
    Version(i64),
    /// The checksum is not that of the body: the file is torn or rotten.
    Checksum,
    /// The value of this key is missing, of a wrong kind or out of its range.
    Invalid(&'static str),
    /// It says more than we write.
    Foreign,
}

impl fmt::Display for ResumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bencode(error) => write!(f, "it is not bencode: {error}"),
            Self::Version(version) => write!(f, "it has version {version}, not {VERSION}"),
            Self::Checksum => write!(f, "its checksum is wrong"),
            Self::Invalid(key) => write!(f, "its \"{key}\" is invalid"),
            Self::Foreign => write!(f, "it has keys that are not ours"),
        }
    }
}

impl std::error::Error for ResumeError {}

impl From<bencode::Error> for ResumeError {
    fn from(error: bencode::Error) -> Self {
        Self::Bencode(error)
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    body: &'a Bytes,
    checksum: &'a Bytes,
    version: i64,
}

#[derive(Serialize)]
struct Body<'a> {
    clean: u8,
    files: &'a Bytes,
    #[serde(rename = "info hash")]
    info_hash: &'a Bytes,
    pieces: &'a Bytes,
}

impl Resume {
    /// Reads the resume file of a torrent of so many pieces and files. It takes no more memory
    /// than the marks and the bit field of that torrent, and only if the bytes hold as many.
    ///
    /// # Errors
    /// If a single byte of it is not as [`emit`](Self::emit) wrote it, or it is another torrent's.
    pub fn parse(bytes: &[u8], pieces: u32, files: usize) -> Result<Self, ResumeError> {
        let envelope = bencode::scan(bytes, 1, Form::Canonical)?;
        let version = integer(&envelope, "version")?;
        if version != VERSION {
            return Err(ResumeError::Version(version));
        }
        let body = string(&envelope, "body")?;
        if string(&envelope, "checksum")? != Sha1::digest(body).as_slice() {
            return Err(ResumeError::Checksum);
        }
        let body = bencode::scan(body, 1, Form::Canonical)?;
        let info_hash = string(&body, "info hash")?;
        let resume = Self {
            info_hash: InfoHash(info_hash.try_into().or(Err(ResumeError::Invalid("info hash")))?),
            clean: match integer(&body, "clean")? {
                0 => false,
                1 => true,
                _ => return Err(ResumeError::Invalid("clean")),
            },
            pieces: pieces_of_wire(string(&body, "pieces")?, pieces)
                .ok_or(ResumeError::Invalid("pieces"))?,
            files: marks_of_bytes(string(&body, "files")?, files)
                .ok_or(ResumeError::Invalid("files"))?,
        };
        // Every key that we write was found, so whatever more there is, is not ours.
        if (envelope.entries().count(), body.entries().count()) != (3, 4) {
            return Err(ResumeError::Foreign);
        }
        Ok(resume)
    }

    /// The bytes of the file.
    pub fn emit(&self) -> Vec<u8> {
        let files: Vec<u8> = self.files.iter().flat_map(mark_to_bytes).collect();
        let pieces = self.pieces.to_wire();
        let body = Body {
            clean: self.clean.into(),
            files: Bytes::new(&files),
            info_hash: Bytes::new(&self.info_hash.0),
            pieces: Bytes::new(&pieces),
        };
        sealed(&serde_bencode::to_bytes(&body).expect(ENCODES))
    }

    /// The most bytes that the resume file of a torrent of so many pieces and files can have.
    pub fn len_max(pieces: u32, files: usize) -> usize {
        // Keys, numbers and both hashes take less than 200 bytes.
        bitfield::wire_len(pieces) + files * MARK_LEN + 200
    }

    /// Whether a file that is there now can be one that we made or accepted before. After a crash
    /// that is every one: the process may have died between making a file and marking it.
    pub fn knows(&self, file: usize) -> bool {
        !self.clean || self.files.get(file).is_some_and(Option::is_some)
    }
}

/// The pieces that may be believed without hashing, given the marks of the files as they are now.
/// It takes O(pieces + files).
///
/// A piece must be claimed, and each of its files be known again: when *clean*, by length and
/// time, so that whatever was written since is noticed, by whomever; when *open*, by length and
/// inode and a time that is not older, since our own last writes came after the mark, and what is
/// claimed was synced before it. Pads need no file. What lies beyond the end of a short file is
/// not believed, whatever is claimed.
pub fn trusted(resume: &Resume, now: &[Option<FileMark>], metainfo: &Metainfo) -> Bitfield {
    let files = metainfo.files();
    let fits = resume.info_hash == metainfo.info_hash()
        && resume.pieces.len() == metainfo.pieces()
        && (resume.files.len(), now.len()) == (files.len(), files.len());
    if !fits {
        return Bitfield::zeros(metainfo.pieces());
    }
    let mut pieces = resume.pieces.clone();
    for (index, file) in files.iter().enumerate().filter(|(_, file)| !file.pad) {
        let known = known_len(resume.clean, resume.files[index], now[index]);
        if known < file.len {
            let first = (file.offset + known) / u64::from(metainfo.piece_length());
            let first = u32::try_from(first).expect("every byte lies in a piece");
            for piece in first..metainfo.pieces_of(index).end {
                pieces.clear(PieceIndex(piece));
            }
        }
    }
    pieces
}

/// How many bytes of a file, from its beginning, are as they were: all that it has, or none.
fn known_len(clean: bool, then: Option<FileMark>, now: Option<FileMark>) -> u64 {
    let (Some(then), Some(now)) = (then, now) else { return 0 };
    let is_known = if clean {
        now.modified == then.modified
    } else {
        now.modified >= then.modified && now.inode == then.inode
    };
    if is_known && now.len == then.len { now.len } else { 0 }
}

/// The body under its checksum.
fn sealed(body: &[u8]) -> Vec<u8> {
    let checksum = Sha1::digest(body);
    let body = Bytes::new(body);
    let envelope = Envelope { body, checksum: Bytes::new(&checksum), version: VERSION };
    serde_bencode::to_bytes(&envelope).expect(ENCODES)
}

fn integer(dictionary: &Value<'_>, key: &'static str) -> Result<i64, ResumeError> {
    let value = dictionary.find(&[key]).and_then(|value| value.integer());
    value.ok_or(ResumeError::Invalid(key))
}

fn string<'a>(dictionary: &Value<'a>, key: &'static str) -> Result<&'a [u8], ResumeError> {
    let value = dictionary.find(&[key]).and_then(|value| value.string());
    value.ok_or(ResumeError::Invalid(key))
}

/// The bit field, unless it is longer or shorter or has a spare bit set.
fn pieces_of_wire(bytes: &[u8], len: u32) -> Option<Bitfield> {
    if bytes.len() != bitfield::wire_len(len) {
        return None;
    }
    let mut pieces = Bitfield::zeros(len);
    for index in 0..bitfield::words_for(len) {
        let first = PieceIndex(index * WORD_BITS);
        for piece in (Word { first, bits: bitfield::word_from_wire(bytes, index) }).pieces() {
            if piece.0 >= len {
                return None;
            }
            pieces.set(piece);
        }
    }
    Some(pieces)
}

/// So many marks, unless there are more or fewer or one is malformed.
fn marks_of_bytes(bytes: &[u8], files: usize) -> Option<Vec<Option<FileMark>>> {
    let (marks, []) = bytes.as_chunks() else { return None };
    if marks.len() != files {
        return None;
    }
    marks.iter().map(mark_of_bytes).collect()
}

/// The outer `None` is a malformed mark, the inner one a file that did not exist.
fn mark_of_bytes(bytes: &[u8; MARK_LEN]) -> Option<Option<FileMark>> {
    let (&exists, rest) = bytes.split_first()?;
    let (len, rest) = rest.split_first_chunk()?;
    let (secs, rest) = rest.split_first_chunk()?;
    let (nanos, rest) = rest.split_first_chunk()?;
    let (inode, []) = rest.split_first_chunk()? else { return None };
    let secs = i64::from_be_bytes(*secs);
    let nanos = u32::from_be_bytes(*nanos);
    let mark = FileMark {
        len: u64::from_be_bytes(*len),
        modified: Timestamp { secs, nanos },
        inode: u64::from_be_bytes(*inode),
    };
    match exists {
        0 if *bytes == [0; MARK_LEN] => Some(None),
        1 if nanos < 1_000_000_000 => Some(Some(mark)),
        _ => None,
    }
}

fn mark_to_bytes(mark: &Option<FileMark>) -> [u8; MARK_LEN] {
    let mut bytes = [0; MARK_LEN];
    if let Some(mark) = mark {
        bytes[0] = 1;
        bytes[1..9].copy_from_slice(&mark.len.to_be_bytes());
        bytes[9..17].copy_from_slice(&mark.modified.secs.to_be_bytes());
        bytes[17..21].copy_from_slice(&mark.modified.nanos.to_be_bytes());
        bytes[21..].copy_from_slice(&mark.inode.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::metainfo::{Draft, DraftFile};

    /// What happened to each file, and the pieces that are believed then.
    type Row<'a> = (&'a str, &'a str);

    // Files:   aaaaaa__bddddd   and c, which is empty; __ is a pad
    // Pieces:  0   1   2   3
    fn torrent() -> Metainfo {
        let files = [("a", 6), ("_____padding_file_0_____", 2), ("b", 1), ("c", 0), ("d", 5)]
            .map(|(name, len)| DraftFile { path: vec![name.as_bytes().to_vec()], len });
        let draft = Draft {
            name: b"t".to_vec(),
            piece_length: 4,
            files: files.to_vec(),
            hashes: vec![7; 4 * 20],
            ..Draft::default()
        };
        Metainfo::parse(&draft.encode()).unwrap()
    }

    fn bits(picture: &str) -> Bitfield {
        let mut field = Bitfield::zeros(u32::try_from(picture.len()).unwrap());
        for (piece, _) in picture.bytes().enumerate().filter(|(_, bit)| *bit == b'1') {
            field.set(PieceIndex(u32::try_from(piece).unwrap()));
        }
        field
    }

    fn picture(field: &Bitfield) -> String {
        (0..field.len()).map(|n| if field.get(PieceIndex(n)) { '1' } else { '0' }).collect()
    }

    fn mark(len: u64) -> FileMark {
        FileMark { len, modified: Timestamp { secs: -7, nanos: 999_999_999 }, inode: 5 }
    }

    /// The mark then and the mark now.
    fn story(letter: char, len: u64) -> [Option<FileMark>; 2] {
        let same = mark(len);
        let Timestamp { secs, nanos } = same.modified;
        let at = |secs, nanos| FileMark { modified: Timestamp { secs, nanos }, ..same };
        match letter {
            '=' => [Some(same), Some(same)],
            '>' => [Some(same), Some(at(secs + 1, 0))],
            '<' => [Some(same), Some(at(secs, nanos - 1))],
            '+' => [Some(same), Some(mark(len + 1))],
            '-' => [Some(same), Some(mark(len.saturating_sub(1)))],
            's' => [Some(mark(len.saturating_sub(1))); 2],
            'l' => [Some(mark(len + 9)); 2],
            'i' => [Some(same), Some(FileMark { inode: 6, ..same })],
            'x' => [Some(same), None],
            'n' => [None, Some(same)],
            '.' => [None, None],
            _ => panic!("{letter}"),
        }
    }

    fn check(clean: bool, claimed: &str, rows: &[Row<'_>]) {
        let metainfo = torrent();
        for (stories, wanted) in rows {
            let told = stories.chars().zip(metainfo.files());
            let told: Vec<_> = told.map(|(letter, file)| story(letter, file.len)).collect();
            let resume = Resume {
                info_hash: metainfo.info_hash(),
                clean,
                pieces: bits(claimed),
                files: told.iter().map(|[then, _]| *then).collect(),
            };
            let now: Vec<_> = told.iter().map(|[_, now]| *now).collect();
            assert_eq!(picture(&trusted(&resume, &now, &metainfo)), *wanted, "{stories}");
        }
    }

    #[test]
    fn a_clean_end_distrusts_whatever_was_touched() {
        let rows = [
            // a_bcd    0123
            ("=.===", "1111"),
            (">.===", "0011"),
            ("<.===", "0011"),
            ("+.===", "0011"),
            ("-.===", "0011"),
            ("x.===", "0011"),
            ("n.===", "0011"),
            ("..===", "0011"),
            ("i.===", "1111"),
            ("=.>==", "1101"),
            ("=.==>", "1100"),
            ("=.=x=", "1111"),
            ("=.=>=", "1111"),
            ("=x===", "1111"),
            ("x.xxx", "0000"),
            // Beyond the end of a file nothing is believed; behind its due end all may stand.
            ("s.===", "1011"),
            ("=.==s", "1110"),
            ("=.s==", "1101"),
            ("l.l=l", "1111"),
        ];
        check(true, "1111", &rows);
        check(true, "0110", &[("=.===", "0110"), ("=.==x", "0100"), (">.===", "0010")]);
    }

    #[test]
    fn after_a_crash_our_own_last_writes_are_forgiven() {
        let rows = [
            // a_bcd    0123
            ("=.===", "1111"),
            (">.>=>", "1111"),
            ("<.===", "0011"),
            ("+.===", "0011"),
            ("-.===", "0011"),
            ("x.===", "0011"),
            ("n.===", "0011"),
            ("i.===", "0011"),
            ("=.==i", "1100"),
            ("=.i=>", "1101"),
            ("=.=x=", "1111"),
            ("s.===", "1011"),
            ("l.===", "1111"),
        ];
        check(false, "1111", &rows);
        check(false, "1001", &[(">.>=>", "1001"), ("=.x==", "1001"), ("=.==<", "1000")]);
    }

    #[test]
    fn what_belongs_to_another_torrent_is_not_believed() {
        let metainfo = torrent();
        let marks: Vec<_> = metainfo.files().iter().map(|file| Some(mark(file.len))).collect();
        let right = Resume {
            info_hash: metainfo.info_hash(),
            clean: true,
            pieces: bits("1111"),
            files: marks.clone(),
        };
        assert_eq!(picture(&trusted(&right, &marks, &metainfo)), "1111");
        let wrong = [
            Resume { info_hash: InfoHash([0; 20]), ..right.clone() },
            Resume { pieces: bits("11111"), ..right.clone() },
            Resume { files: marks[1..].to_vec(), ..right.clone() },
        ];
        for resume in wrong {
            assert_eq!(picture(&trusted(&resume, &marks, &metainfo)), "0000");
        }
        assert_eq!(picture(&trusted(&right, &marks[1..], &metainfo)), "0000");
    }

    #[test]
    fn files_are_known_by_their_mark_or_after_a_crash() {
        let resume = sample();
        assert_eq!([0, 1, 2, 3].map(|file| resume.knows(file)), [true, false, true, false]);
        let open = Resume { clean: false, ..resume };
        assert_eq!([0, 1, 2, 3].map(|file| open.knows(file)), [true; 4]);
    }

    fn sample() -> Resume {
        let modified = Timestamp { secs: i64::MIN, nanos: 0 };
        Resume {
            info_hash: InfoHash(*b"--an info hash------"),
            clean: true,
            pieces: bits("1010000001"),
            files: vec![
                Some(FileMark { len: u64::MAX, modified, inode: u64::MAX }),
                None,
                Some(mark(258)),
            ],
        }
    }

    #[test]
    fn the_bytes_are_these() {
        let body = [
            b"d5:cleani1e5:files87:".as_slice(),
            b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\x80\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
            &[0; 29],
            b"\x01\0\0\0\0\0\0\x01\x02\xff\xff\xff\xff\xff\xff\xff\xf9\x3b\x9a\xc9\xff\0\0\0\0\0\0\0\x05",
            b"9:info hash20:--an info hash------6:pieces2:\xa0\x40e",
        ]
        .concat();
        let bytes = [
            format!("d4:body{}:", body.len()).as_bytes(),
            &body,
            b"8:checksum20:",
            &Sha1::digest(&body),
            b"7:versioni1ee",
        ]
        .concat();
        assert_eq!(sample().emit().escape_ascii().to_string(), bytes.escape_ascii().to_string());
        assert_eq!(Resume::parse(&bytes, 10, 3), Ok(sample()));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (pieces, files) in [(0, 0), (1, 1), (7, 0), (8, 2), (64, 3), (65, 10_000), (2_000, 1)] {
            for clean in [false, true] {
                let mut resume = sample();
                resume.clean = clean;
                resume.pieces = Bitfield::zeros(pieces);
                (0..pieces).step_by(3).for_each(|piece| {
                    resume.pieces.set(PieceIndex(piece));
                });
                resume.files = (0..files).map(|n| (n % 7 > 0).then(|| mark(n as u64))).collect();
                let bytes = resume.emit();
                assert!(bytes.len() <= Resume::len_max(pieces, files));
                assert_eq!(Resume::parse(&bytes, pieces, files), Ok(resume));
            }
        }
    }

    #[test]
    fn no_torn_and_no_rotten_file_is_believed() {
        let bytes = sample().emit();
        for cut in 0..bytes.len() {
            assert!(Resume::parse(&bytes[..cut], 10, 3).is_err(), "{cut}");
            let zeroed = [&bytes[..cut], &vec![0; bytes.len() - cut]].concat();
            assert!(Resume::parse(&zeroed, 10, 3).is_err(), "{cut}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut rotten = bytes.clone();
                rotten[at] ^= 1 << bit;
                assert!(Resume::parse(&rotten, 10, 3).is_err(), "{at} {bit}");
            }
        }
        assert!(Resume::parse(&[bytes.as_slice(), b"\n"].concat(), 10, 3).is_err());
    }

    #[test]
    fn a_right_checksum_is_not_enough() {
        let hash = "9:info hash20:--------------------";
        let none = "\0".repeat(29);
        let half = format!("\0{}\x01", "\0".repeat(27));
        let two = format!("\x02{}", "\0".repeat(28));
        let late = format!("\x01{}\x7f{}", "\0".repeat(16), "\0".repeat(11));
        let files = |mark: &str| format!("d5:cleani0e5:files29:{mark}{hash}6:pieces1:\0e");
        // 9 pieces and a file, but for the rows that lack something.
        let table = [
            (files(&none), Err(ResumeError::Invalid("pieces"))),
            (files(&none).replace("1:\0", "2:\0\0"), Ok(0)),
            (files(&none).replace("1:\0", "2:\0\x40"), Err(ResumeError::Invalid("pieces"))),
            (files(&none).replace("1:\0", "3:\0\0\0"), Err(ResumeError::Invalid("pieces"))),
            (files(&half).replace("1:\0", "2:\0\0"), Err(ResumeError::Invalid("files"))),
            (files(&two).replace("1:\0", "2:\0\0"), Err(ResumeError::Invalid("files"))),
            (files(&late).replace("1:\0", "2:\0\0"), Err(ResumeError::Invalid("files"))),
            (
                format!("d5:cleani0e5:files0:{hash}6:pieces2:\0\0e"),
                Err(ResumeError::Invalid("files")),
            ),
            (
                format!("d5:cleani2e5:files29:{none}{hash}6:pieces2:\0\0e"),
                Err(ResumeError::Invalid("clean")),
            ),
            (
                format!("d5:clean1:15:files29:{none}{hash}6:pieces2:\0\0e"),
                Err(ResumeError::Invalid("clean")),
            ),
            (
                format!("d5:cleani1e5:files29:{none}9:info hash1:-6:pieces2:\0\0e"),
                Err(ResumeError::Invalid("info hash")),
            ),
            (
                format!("d5:cleani1e5:files29:{none}{hash}6:pieces2:\0\01:zi1ee"),
                Err(ResumeError::Foreign),
            ),
            ("de".to_owned(), Err(ResumeError::Invalid("info hash"))),
            ("i1e".to_owned(), Err(ResumeError::Invalid("info hash"))),
        ];
        for (body, wanted) in table {
            let found = Resume::parse(&sealed(body.as_bytes()), 9, 1);
            assert_eq!(found.map(|resume| resume.pieces.ones()), wanted, "{body:?}");
        }
        let deep = Resume::parse(&sealed(&[b'l'; 1 << 20]), 9, 1);
        assert!(matches!(deep, Err(ResumeError::Bencode(_))), "{deep:?}");
        let newer = Resume::parse(b"d7:versioni2ee", 9, 1);
        assert_eq!(newer, Err(ResumeError::Version(2)));
    }
}
