//! Values out of a seed, written and read again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rondalla::cli::options::Selection;
use rondalla::formats::magnet::Magnet;
use rondalla::formats::metainfo::{Draft, DraftFile, Metainfo, piece_length_for};
use rondalla::formats::path::{System, safe_name};
use rondalla::formats::resume::{FileMark, Resume, Timestamp};
use rondalla::formats::wire::{ExtensionHandshake, Message};
use rondalla::words::address::{Address, Host, ListenAddress};
use rondalla::words::bitfield::Bitfield;
use rondalla::words::id::{Block, InfoHash, PieceIndex};
use rondalla::words::limits::{BLOCK_LEN, PIECE_LEN_MAX, PIECE_LEN_MIN};
use rondalla::words::rng::Rng;
use rondalla::words::units::{Rate, Size};

use super::properties;

const ROUNDS: u64 = 400;

/// One of `items`.
fn any<'a, T: ?Sized>(rng: &mut Rng, items: &[&'a T]) -> &'a T {
    items[rng.below(u32::try_from(items.len()).unwrap()) as usize]
}

/// Bytes of which names are made, more of those that mean something than chance would give.
fn name(rng: &mut Rng) -> Vec<u8> {
    const PARTS: [&[u8]; 24] = [
        b"a",
        b"B",
        b".",
        b"..",
        b"/",
        b"\\",
        b"con",
        b"NUL",
        b"com1",
        b" ",
        b".txt",
        b"\0",
        b"\n",
        b"\x1b[31m",
        b"\xff",
        b"\xe9",
        b"*",
        b":",
        b"_",
        b"%41",
        "é".as_bytes(),
        "e\u{301}".as_bytes(),
        "\u{202e}".as_bytes(),
        "日本".as_bytes(),
    ];
    let mut name = Vec::new();
    for _ in 0..rng.below(5) {
        let times = if rng.chance(1, 30) { 1 + rng.below(300) } else { 1 };
        name.extend(any(rng, &PARTS).repeat(times as usize));
    }
    name
}

fn text(rng: &mut Rng) -> String {
    String::from_utf8_lossy(&name(rng)).into_owned()
}

/// What could be a URL: it has no white space.
fn url(rng: &mut Rng) -> String {
    let parts =
        ["http://", "udp://", "a.example", ":6969", "/announce", "?x=1&y=%20", "é", "%", "#+"];
    (0..1 + rng.below(6)).map(|_| any(rng, &parts)).collect()
}

fn maybe<T>(rng: &mut Rng, make: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    rng.chance(1, 2).then(|| make(rng))
}

fn several<T>(rng: &mut Rng, most: u32, make: impl Fn(&mut Rng) -> T) -> Vec<T> {
    (0..rng.below(most + 1)).map(|_| make(rng)).collect()
}

fn draft(rng: &mut Rng) -> Draft {
    let most = *any(rng, &[&5, &1000, &PIECE_LEN_MAX]);
    let piece_length = 1 + rng.below(most);
    let len = |rng: &mut Rng| u64::from(rng.below(piece_length.saturating_mul(3)));
    let file = |rng: &mut Rng| DraftFile { path: several(rng, 4, name), len: len(rng) };
    let files = match rng.below(3) {
        0 => vec![DraftFile { path: Vec::new(), len: len(rng) }],
        _ => several(rng, 8, file),
    };
    let len: u64 = files.iter().map(|file| file.len).sum();
    let pieces = usize::try_from(len.div_ceil(piece_length.into())).unwrap();
    Draft {
        name: name(rng),
        piece_length,
        files,
        hashes: vec![b'#'; 20 * pieces],
        private: rng.chance(1, 2),
        source: maybe(rng, text),
        trackers: several(rng, 3, |rng| vec![url(rng); 1 + rng.below(2) as usize]),
        web_seeds: several(rng, 3, url),
        chord_nodes: several(rng, 3, |rng| {
            (url(rng), u16::try_from(1 + rng.below(65_535)).unwrap())
        }),
        nodes: several(rng, 3, |rng| (url(rng), u16::try_from(1 + rng.below(65_535)).unwrap())),
        comment: maybe(rng, text),
        created_by: maybe(rng, text),
        creation_date: maybe(rng, |rng| rng.next_u64() >> 1),
    }
}

#[test]
fn a_torrent_is_read_as_it_was_written() {
    let (mut read, mut kept) = (0, 0);
    for seed in 0..3 * ROUNDS {
        let draft = draft(&mut Rng::new(seed));
        let bytes = draft.encode();
        properties::metainfo::check(&bytes);
        properties::bencode::check(&bytes);
        let Ok(torrent) = Metainfo::parse(&bytes) else { continue };
        read += 1;
        assert_eq!(torrent.piece_length(), draft.piece_length, "seed {seed}");
        assert_eq!((torrent.private(), torrent.source()), (draft.private, draft.source.as_deref()));
        assert_eq!(torrent.comment(), draft.comment.as_deref(), "seed {seed}");
        assert_eq!(torrent.created_by(), draft.created_by.as_deref(), "seed {seed}");
        assert_eq!(torrent.trackers(), draft.trackers, "seed {seed}");
        assert_eq!(torrent.web_seeds(), draft.web_seeds, "seed {seed}");
        assert_eq!(torrent.nodes(), draft.nodes, "seed {seed}");
        let lens = torrent.files().iter().map(|file| file.len);
        assert!(lens.eq(draft.files.iter().map(|file| file.len)), "seed {seed}");
        kept += u32::from(keeps_its_names(&draft, &torrent));
    }
    assert!(read > 200 && kept > 20, "{read} were read, {kept} had names that stay");
}

/// Whether every name of the draft is clean and no two are one; then they must have stayed.
fn keeps_its_names(draft: &Draft, torrent: &Metainfo) -> bool {
    let is_clean = |name: &Vec<u8>| matches!(safe_name(name, System::HERE), Ok(Some(safe)) if safe.as_encoded_bytes() == name);
    let paths: BTreeSet<_> = draft.files.iter().map(|file| &file.path).collect();
    let clean = is_clean(&draft.name) && paths.iter().all(|path| path.iter().all(is_clean));
    if !clean || paths.len() < draft.files.len() {
        return false;
    }
    for (file, wanted) in torrent.files().iter().zip(&draft.files) {
        let names = file.path.iter().map(|name| name.as_encoded_bytes());
        let path: Vec<&[u8]> = wanted.path.iter().map(Vec::as_slice).collect();
        assert_eq!(names.collect::<Vec<_>>(), [&[draft.name.as_slice()], path.as_slice()].concat());
    }
    true
}

#[test]
fn a_chosen_piece_length_is_a_power_of_two_that_grows_with_the_size() {
    let mut rng = Rng::new(1);
    let mut sizes: Vec<u64> = (0..1000).map(|_| rng.next_u64() >> rng.below(64)).collect();
    sizes.sort_unstable();
    let lens: Vec<u32> = sizes.iter().map(|size| piece_length_for(*size)).collect();
    assert!(lens.is_sorted() && lens.iter().all(|len| len.is_power_of_two()));
    assert!(lens.iter().all(|len| (PIECE_LEN_MIN..=PIECE_LEN_MAX).contains(len)));
}

fn info_hash(rng: &mut Rng) -> InfoHash {
    let mut hash = [0; 20];
    rng.fill(&mut hash);
    InfoHash(hash)
}

#[test]
fn a_magnet_link_is_read_as_it_was_written() {
    for seed in 0..ROUNDS {
        let mut rng = Rng::new(seed);
        let magnet = Magnet {
            info_hash: info_hash(&mut rng),
            name: maybe(&mut rng, text).filter(|name| !name.is_empty()),
            trackers: several(&mut rng, 5, |rng| format!("udp://{}", url(rng))),
            web_seeds: several(&mut rng, 5, |rng| format!("http://{}", url(rng))),
            peers: several(&mut rng, 5, |rng| {
                Address { host: Host::Ip(ip(rng)), port: 7 }.to_string()
            }),
            select: several(&mut rng, 5, |rng| {
                let (one, other) = (rng.below(u32::MAX), rng.below(100));
                one.min(other)..=one.max(other)
            }),
        };
        let link = magnet.to_string();
        assert_eq!(Magnet::parse(&link).as_ref(), Ok(&magnet), "seed {seed}: {link}");
        properties::metainfo::check(link.as_bytes());
        properties::metainfo::check(link.to_uppercase().as_bytes());
    }
}

fn address(rng: &mut Rng) -> Address {
    let host = match rng.below(4) {
        0 => Host::Any,
        1 => Host::Ip(ip(rng)),
        2 => Host::Name(any(rng, &["a", "example.org", "my_host", "x-1.é", "9a"]).into()),
        _ => Host::Name(
            format!("{}%{}", any(rng, &["fe80::1", "::"]), any(rng, &["eth0", "2"])).into(),
        ),
    };
    Address { host, port: u16::try_from(rng.below(65_536)).unwrap() }
}

/// As it is folded: no IPv4 address hides in an IPv6 one.
fn ip(rng: &mut Rng) -> IpAddr {
    let (mut v4, mut v6) = ([0; 4], [0; 16]);
    rng.fill(&mut v4);
    rng.fill(&mut v6);
    v6[..10].fill(0);
    if rng.chance(1, 2) {
        v6[10..12].fill(0xff);
    }
    let ip: IpAddr = if rng.chance(1, 2) { v4.into() } else { v6.into() };
    ip.to_canonical()
}

#[test]
fn an_address_is_read_as_it_was_written() {
    for seed in 0..ROUNDS {
        let rng = &mut Rng::new(seed);
        let address = address(rng);
        let shown = address.to_string();
        assert_eq!(shown.parse().as_ref(), Ok(&address), "seed {seed}: {shown}");
        properties::text::check(format!("a{shown}").as_bytes());
        let (one, other) = (1 + rng.below(65_535), 1 + rng.below(65_535));
        let port = |port| u16::try_from(port).unwrap();
        let ports = port(one.min(other))..=port(one.max(other));
        let listen = ListenAddress { ip: maybe(rng, ip), ports };
        assert_eq!(listen.to_string().parse().as_ref(), Ok(&listen), "seed {seed}: {listen}");
    }
}

#[test]
fn a_size_is_its_number_times_its_unit() {
    let units = [("", 0), ("K", 10), ("KiB", 10), ("m", 20), ("MIB", 20), ("G", 30), ("gib", 30)];
    for seed in 0..ROUNDS {
        let mut rng = Rng::new(seed);
        let number = rng.next_u64() >> rng.below(64);
        for (unit, shift) in units {
            let wanted = number.checked_mul(1 << shift);
            let text = format!("{number}{unit}");
            assert_eq!(text.parse().ok(), wanted.map(Size), "{text}");
            assert_eq!(text.parse().ok(), wanted.map(Rate), "{text}");
            properties::text::check(format!("s{text}").as_bytes());
        }
    }
}

#[test]
fn a_selection_is_its_numbers() {
    let file = |n: u32| DraftFile { path: vec![n.to_string().into_bytes()], len: 0 };
    let files = (1..=30).map(file).collect();
    let draft = Draft { name: b"t".to_vec(), piece_length: 1, files, ..Draft::default() };
    let torrent = Metainfo::parse(&draft.encode()).unwrap();
    for seed in 0..ROUNDS {
        let rng = &mut Rng::new(seed);
        let (mut parts, mut wanted) = (Vec::new(), BTreeSet::new());
        for _ in 0..1 + rng.below(5) {
            let (one, other) = (1 + rng.below(40), 1 + rng.below(40));
            let (first, last) = (one.min(other), one.max(other));
            let alone = rng.chance(1, 3);
            parts.push(if alone { first.to_string() } else { format!("{first}-{last}") });
            let numbers = if alone { first..=first } else { first..=last };
            wanted.extend(numbers.filter(|n| *n <= 30).map(|n| n as usize - 1));
        }
        let text = parts.join(",");
        let selection: Selection = text.parse().unwrap();
        assert_eq!(selection.files_of(&torrent), wanted, "{text}");
        let worse =
            [format!("{text},"), format!(",{text}"), format!("{text}-0"), format!("0,{text}")];
        assert!(worse.iter().all(|text| text.parse::<Selection>().is_err()), "{worse:?}");
    }
}

fn extension_handshake(rng: &mut Rng) -> ExtensionHandshake {
    let name =
        |rng: &mut Rng| any(rng, &["ut_pex", "ut_metadata", "lt_donthave", "é", ""]).to_owned();
    let byte = |rng: &mut Rng| u8::try_from(rng.below(256)).unwrap();
    ExtensionHandshake {
        chord: maybe(rng, |rng| u16::try_from(1 + rng.below(65_535)).unwrap()),
        extensions: several(rng, 5, |rng| (name(rng), byte(rng))).into_iter().collect(),
        metadata_len: maybe(rng, |rng| 1 + rng.below(u32::MAX)),
        port: maybe(rng, |rng| u16::try_from(1 + rng.below(65_535)).unwrap()),
        requests_max: maybe(rng, |rng| rng.below(u32::MAX)),
        upload_only: maybe(rng, |rng| rng.chance(1, 2)),
        client: maybe(rng, |rng| any(rng, &["rondalla 0.1.0", "µTorrent", ""]).to_owned()),
        your_ip: maybe(rng, ip),
    }
}

/// What clients do and BEP 3 forbids: no order, keys twice, keys and integers of all kinds.
#[test]
fn an_extension_handshake_is_read_whatever_stands_beside_it() {
    for seed in 0..ROUNDS {
        let mut rng = Rng::new(seed);
        let handshake = extension_handshake(&mut rng);
        let bytes = handshake.emit();
        assert_eq!(ExtensionHandshake::parse(&bytes).as_ref(), Ok(&handshake), "seed {seed}");

        let top =
            rondalla::words::bencode::scan(&bytes, 2, rondalla::words::bencode::Form::Canonical);
        let entry = |(key, value): (&[u8], rondalla::words::bencode::Value<'_>)| {
            [format!("{}:", key.len()).as_bytes(), key, value.raw()].concat()
        };
        let mut entries: Vec<Vec<u8>> = top.unwrap().entries().map(entry).collect();
        let foreign: [&[u8]; 7] = [
            b"1:zi99999999999999999999999e",
            b"2:\xff\xfei-0e",
            b"0:0:",
            b"04:abcdi007e",
            b"1:zle",
            b"1:ed1:bl1:c0:de1:ai1eee",
            b"12:complete_agoi-1e",
        ];
        entries.extend(several(&mut rng, 6, |rng| any(rng, &foreign).to_vec()));
        rng.shuffle(&mut entries);
        let odd = [b"d", entries.concat().as_slice(), b"e and more"].concat();
        let found = ExtensionHandshake::parse(&odd);
        assert_eq!(found, Ok(handshake), "seed {seed}: {}", odd.escape_ascii());
    }
}

fn message(rng: &mut Rng, pieces: u32) -> Message {
    let piece = PieceIndex(rng.below(pieces + pieces / 8 + 1));
    let offset = if rng.chance(1, 2) { 0 } else { BLOCK_LEN };
    let len = [0, 1, BLOCK_LEN / 2, BLOCK_LEN / 2 - 1, BLOCK_LEN][rng.below(5) as usize];
    let block = Block { piece, offset, len };
    let bytes = |rng: &mut Rng, len: u32| {
        let mut bytes = vec![0; len as usize];
        rng.fill(&mut bytes);
        bytes
    };
    match rng.below(18) {
        0 => Message::KeepAlive,
        1 => Message::Choke,
        2 => Message::Unchoke,
        3 => Message::Interested,
        4 => Message::NotInterested,
        5 => Message::Have(piece),
        6 => Message::Bitfield(any_bits(rng, pieces).to_wire()),
        7 => Message::Request(block),
        8 => Message::Cancel(block),
        9 => Message::Port(6881),
        10 => Message::Suggest(piece),
        11 => Message::HaveAll,
        12 => Message::HaveNone,
        13 => Message::Reject(block),
        14 => Message::AllowedFast(piece),
        15 => Message::Extended { id: 0, payload: extension_handshake(rng).emit() },
        16 => Message::Extended { id: 7, payload: bytes(rng, 50) },
        _ => Message::Piece { piece, offset, data: bytes(rng, len.max(1)) },
    }
}

fn any_bits(rng: &mut Rng, len: u32) -> Bitfield {
    let mut bits = Bitfield::zeros(len);
    let part = rng.below(5);
    for piece in (0..len).filter(|_| rng.chance(part, 4)) {
        bits.set(PieceIndex(piece));
    }
    bits
}

/// Whole conversations, most of them not broken off at the first message.
#[test]
fn a_conversation_is_heard_as_it_was_said() {
    for seed in 0..ROUNDS {
        let mut rng = Rng::new(seed);
        let pieces = 1 + rng.below(256);
        let head = [pieces - 1, rng.below(256), rng.below(256), rng.below(2)];
        let mut bytes = head.map(|byte| u8::try_from(byte).unwrap()).to_vec();
        for _ in 0..1 + rng.below(30) {
            message(&mut rng, pieces).emit(&mut bytes);
        }
        properties::wire::check(&bytes);
    }
}

#[test]
fn a_resume_file_is_read_as_it_was_written_and_in_no_other_way() {
    let mark = |rng: &mut Rng| FileMark {
        len: rng.next_u64() >> rng.below(64),
        modified: Timestamp { secs: rng.next_u64() as i64, nanos: rng.below(1_000_000_000) },
        inode: rng.next_u64(),
    };
    for seed in 0..ROUNDS {
        let mut rng = Rng::new(seed);
        let pieces = rng.below(256);
        let resume = Resume {
            info_hash: info_hash(&mut rng),
            clean: rng.chance(1, 2),
            pieces: any_bits(&mut rng, pieces),
            files: several(&mut rng, 7, |rng| maybe(rng, mark)),
        };
        let (files, bytes) = (resume.files.len(), resume.emit());
        assert_eq!(Resume::parse(&bytes, pieces, files).as_ref(), Ok(&resume), "seed {seed}");
        let head = [u8::try_from(pieces).unwrap(), u8::try_from(files).unwrap()];
        properties::resume::check(&[&head, bytes.as_slice()].concat());
        for _ in 0..8 {
            let mut changed = bytes.clone();
            let at = rng.below(u32::try_from(bytes.len()).unwrap()) as usize;
            changed[at] ^= 1 << rng.below(8);
            assert!(Resume::parse(&changed, pieces, files).is_err(), "seed {seed}: byte {at}");
        }
    }
}

/// Names of every kind, on every system.
#[test]
fn no_two_files_are_in_one_place() {
    for seed in 0..10 * ROUNDS {
        let rng = &mut Rng::new(seed);
        properties::text::check(&[b"n", name(rng).as_slice()].concat());
        let paths = several(rng, 12, |rng| several(rng, 3, name).join(&b'/'));
        properties::text::check(&[b"p", paths.join(&b'\n').as_slice()].concat());
        properties::text::check(&[b"c", name(rng).as_slice()].concat());
    }
}

/// A dictionary's entries come out as they went in, whatever the form.
#[test]
fn bencode_is_read_as_it_was_written() {
    for seed in 0..ROUNDS {
        let rng = &mut Rng::new(seed);
        let entries: BTreeMap<Vec<u8>, Vec<u8>> =
            several(rng, 10, |rng| (name(rng), value(rng, 4))).into_iter().collect();
        let mut bytes = vec![b'd'];
        for (key, value) in &entries {
            put_string(key, &mut bytes);
            bytes.extend(value);
        }
        bytes.push(b'e');
        let form = rondalla::words::bencode::Form::Canonical;
        let top = rondalla::words::bencode::scan(&bytes, 6, form).unwrap();
        let found = top.entries().map(|(key, value)| (key.to_vec(), value.raw().to_vec()));
        assert_eq!(found.collect::<BTreeMap<_, _>>(), entries, "seed {seed}");
        properties::bencode::check(&bytes);
    }
}

fn put_string(text: &[u8], out: &mut Vec<u8>) {
    out.extend(format!("{}:", text.len()).bytes());
    out.extend(text);
}

/// A canonical value of at most this depth.
fn value(rng: &mut Rng, depth: u32) -> Vec<u8> {
    let mut out = Vec::new();
    match rng.below(if depth == 0 { 2 } else { 4 }) {
        0 => out.extend(format!("i{}e", rng.next_u64() as i64 >> rng.below(64)).bytes()),
        1 => put_string(&name(rng), &mut out),
        2 => {
            out.push(b'l');
            out.extend(several(rng, 3, |rng| value(rng, depth - 1)).concat());
            out.push(b'e');
        }
        _ => {
            out.push(b'd');
            let keys: BTreeSet<Vec<u8>> = several(rng, 3, name).into_iter().collect();
            for key in keys {
                put_string(&key, &mut out);
                out.extend(value(rng, depth - 1));
            }
            out.push(b'e');
        }
    }
    out
}
