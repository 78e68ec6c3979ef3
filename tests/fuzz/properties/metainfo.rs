//! Torrents and magnet links: whatever they say, what is read of them holds together.

use std::collections::BTreeSet;
use std::path::Component;

use rondalla::formats::magnet::{Magnet, MagnetError, parse_info_hash};
use rondalla::formats::metainfo::{Draft, DraftFile, Metainfo};
use rondalla::formats::path::shown;
use rondalla::words::id::{Block, PieceIndex};
use rondalla::words::limits::{
    BLOCK_LEN, MAGNET_LEN_MAX, MAGNET_PEERS_MAX, MAGNET_RANGES_MAX, NAME_LEN_MAX, NODES_MAX,
    PATH_LEN_MAX, TRACKERS_MAX, URL_LEN_MAX, WEB_SEEDS_MAX,
};

/// Pieces of a torrent that are looked at one by one, from either end.
const PIECES_LOOKED_AT: u32 = 32;

/// What begins like a magnet link is one, all else is a torrent.
pub(crate) fn check(bytes: &[u8]) {
    if bytes.first().is_some_and(|first| first.eq_ignore_ascii_case(&b'm')) {
        return check_magnet(&String::from_utf8_lossy(bytes));
    }
    match Metainfo::parse(bytes) {
        Ok(torrent) => check_torrent(&torrent),
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
    }
}

fn check_torrent(torrent: &Metainfo) {
    check_paths(torrent);
    check_geometry(torrent);
    check_advice(torrent);

    let bare = Metainfo::from_info(torrent.info_bytes()).expect("its info alone is right too");
    assert_eq!((bare.info_hash(), bare.files()), (torrent.info_hash(), torrent.files()));

    // A draft has no attributes, so what is read of one has no pads but those of BitComet's name.
    if torrent.files().iter().all(|file| !file.pad) {
        let draft = draft(torrent);
        let bytes = draft.encode();
        let again = Metainfo::parse(&bytes).expect("what was read can be written and read");
        assert_eq!(again.files(), torrent.files());
        assert_eq!((again.name(), again.source()), (torrent.name(), torrent.source()));
        assert_eq!(again.trackers(), torrent.trackers());
        assert_eq!(again.web_seeds(), torrent.web_seeds());
        assert_eq!(again.nodes(), torrent.nodes());
        assert_eq!(again.comment(), torrent.comment());
        assert_eq!(self::draft(&again), draft);
        assert_eq!(self::draft(&again).encode(), bytes, "from then on nothing changes");
    }

    let link = Magnet::of(torrent);
    match Magnet::parse(&link.to_string()) {
        Ok(again) => assert_eq!(again, link),
        Err(error) => assert_eq!(error, MagnetError::TooLong),
    }
}

/// Everything ends inside the folder, and no two files in one place.
fn check_paths(torrent: &Metainfo) {
    let name = torrent.name();
    assert!(!matches!(name, "" | "." | "..") && !name.contains('/'));
    assert!(!name.contains(char::is_control));
    assert_eq!(shown(torrent.root()), name, "the name is what people are told of");
    let mut paths = BTreeSet::new();
    for file in torrent.files().iter().filter(|file| !file.pad) {
        let components: Vec<Component<'_>> = file.path.components().collect();
        assert!(components.iter().all(|part| matches!(part, Component::Normal(_))));
        assert!(components.iter().all(|part| part.as_os_str().len() <= NAME_LEN_MAX));
        assert!(file.path.as_os_str().len() <= PATH_LEN_MAX);
        assert_eq!(components[0].as_os_str(), torrent.root(), "all is below one name");
        assert_eq!(components.len() == 1, torrent.is_single_file());
        let text = shown(&file.path);
        assert!(!text.contains(char::is_control));
        assert!(paths.insert(&file.path), "{text} twice");
    }
    let folders = paths.iter().flat_map(|path| path.ancestors().skip(1));
    assert!(!folders.into_iter().any(|folder| paths.iter().any(|path| *path == folder)));
}

/// Pieces, blocks and files are the same bytes, cut in different places.
fn check_geometry(torrent: &Metainfo) {
    let (len, pieces) = (torrent.len(), torrent.pieces());
    let piece_length = u64::from(torrent.piece_length());
    assert_eq!(u64::from(pieces), len.div_ceil(piece_length));
    let mut end = 0;
    let (mut size, mut all) = (0, Vec::new());
    for (n, file) in torrent.files().iter().enumerate() {
        assert_eq!(file.offset, end);
        end += file.len;
        size += if file.pad { 0 } else { file.len };
        if file.len > 0 {
            all.push((n, 0, file.len));
        }
        let held = torrent.pieces_of(n);
        assert_eq!(held.is_empty(), file.len == 0);
        assert!(held.end <= pieces);
    }
    assert_eq!((end, size, end == 0), (len, torrent.size(), torrent.is_empty()));
    let found = torrent.stretches(0, u64::MAX).map(|part| (part.file, part.offset, part.len));
    assert_eq!(found.collect::<Vec<_>>(), all);

    let last = pieces.saturating_sub(PIECES_LOOKED_AT);
    for piece in (0..pieces.min(PIECES_LOOKED_AT)).chain(last..pieces).map(PieceIndex) {
        let (offset, len) = (torrent.piece_offset(piece), torrent.piece_len(piece));
        assert!(len > 0 && u64::from(len) <= piece_length);
        assert!(u64::from(len) == piece_length || piece.0 + 1 == pieces);
        let stretches: Vec<_> = torrent.stretches(offset, u64::from(len)).collect();
        assert_eq!(stretches.iter().map(|part| part.len).sum::<u64>(), u64::from(len));
        assert!(stretches.iter().all(|part| torrent.pieces_of(part.file).contains(&piece.0)));
        let blocks = torrent.blocks(piece);
        let (first, final_one) = (torrent.block(piece, 0), torrent.block(piece, blocks - 1));
        assert!(torrent.holds(first) && torrent.holds(final_one));
        assert_eq!(first.len, len.min(BLOCK_LEN));
        assert_eq!(final_one.offset + final_one.len, len);
        let longer = Block { len: final_one.len + 1, ..final_one };
        assert!(!torrent.holds(longer) && !torrent.holds(torrent.block(piece, blocks)));
        torrent.piece_hash(piece);
    }
    assert_eq!(torrent.piece_len(PieceIndex(pieces)), 0);
}

fn check_advice(torrent: &Metainfo) {
    let trackers: Vec<&String> = torrent.trackers().iter().flatten().collect();
    assert!(trackers.len() <= TRACKERS_MAX && torrent.web_seeds().len() <= WEB_SEEDS_MAX);
    assert!(torrent.nodes().len() <= NODES_MAX);
    assert!(torrent.trackers().iter().all(|tier| !tier.is_empty()));
    let hosts = torrent.nodes().iter().map(|(host, _)| host);
    for text in trackers.into_iter().chain(torrent.web_seeds()).chain(hosts) {
        assert!(!text.is_empty() && text.len() <= URL_LEN_MAX);
        assert!(!text.contains(|c: char| c.is_control() || c.is_whitespace()));
    }
}

/// The torrent as somebody would make it who has its files.
fn draft(torrent: &Metainfo) -> Draft {
    let skipped = usize::from(!torrent.is_single_file());
    let file = |file: &rondalla::formats::metainfo::File| {
        let names = file.path.iter().skip(if torrent.is_single_file() { 1 } else { skipped });
        DraftFile {
            path: names.map(|name| name.as_encoded_bytes().to_vec()).collect(),
            len: file.len,
        }
    };
    let hashes = (0..torrent.pieces()).flat_map(|piece| torrent.piece_hash(PieceIndex(piece)));
    Draft {
        name: torrent.root().as_os_str().as_encoded_bytes().to_vec(),
        piece_length: torrent.piece_length(),
        files: torrent.files().iter().map(file).collect(),
        hashes: hashes.collect(),
        private: torrent.private(),
        source: torrent.source().map(str::to_owned),
        trackers: torrent.trackers().to_vec(),
        web_seeds: torrent.web_seeds().to_vec(),
        chord_nodes: torrent.chord_nodes().to_vec(),
        nodes: torrent.nodes().to_vec(),
        comment: torrent.comment().map(str::to_owned),
        created_by: torrent.created_by().map(str::to_owned),
        creation_date: torrent.creation_date().and_then(|date| u64::try_from(date).ok()),
    }
}

fn check_magnet(link: &str) {
    let magnet = match Magnet::parse(link) {
        Ok(magnet) => magnet,
        Err(error) => return assert!(!error.to_string().contains(char::is_control)),
    };
    assert!(link.len() <= MAGNET_LEN_MAX);
    assert!(magnet.trackers.len() <= TRACKERS_MAX && magnet.web_seeds.len() <= WEB_SEEDS_MAX);
    assert!(magnet.peers.len() <= MAGNET_PEERS_MAX && magnet.select.len() <= MAGNET_RANGES_MAX);
    assert!(magnet.select.iter().all(|range| range.start() <= range.end()));
    let again = magnet.to_string();
    assert!(again.is_ascii() && !again.contains(|c: char| c.is_control() || c.is_whitespace()));
    match Magnet::parse(&again) {
        Ok(same) => assert_eq!(same, magnet),
        // Escapes take three bytes for one.
        Err(error) => assert!(error == MagnetError::TooLong && again.len() > MAGNET_LEN_MAX),
    }
    let hex = magnet.info_hash.to_string();
    assert_eq!(parse_info_hash(&hex), Some(magnet.info_hash));
}
