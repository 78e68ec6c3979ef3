use std::fs;
use std::path::{Path, PathBuf};

use rondalla::cli::options::{MagnetOptions, OutputOptions, ShowOptions};
use rondalla::cli::{magnet, show};
use rondalla::formats::metainfo::{Metainfo, MetainfoError};
use rondalla::words::id::PieceIndex;
use serde_json::Value;

pub(crate) fn torrents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torrents")
}

pub(crate) fn read(name: &str) -> Result<Metainfo, MetainfoError> {
    Metainfo::parse(&fs::read(torrents().join(name)).unwrap())
}

fn expected() -> serde_json::Map<String, Value> {
    let text = fs::read_to_string(torrents().join("expected.json")).unwrap();
    let Value::Object(expected) = serde_json::from_str(&text).unwrap() else { panic!("{text}") };
    assert!(expected.len() >= 12);
    expected
}

const JSON: OutputOptions = OutputOptions { quiet: false, verbose: 0, json: true };

fn show(source: &str, output: OutputOptions) -> String {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let options = ShowOptions { source: source.into(), scrape: false, output };
    show::run(&options, &mut out, &mut err).unwrap();
    assert!(err.is_empty());
    String::from_utf8(out).unwrap()
}

fn show_json(source: &str) -> Value {
    serde_json::from_str(&show(source, JSON)).unwrap()
}

#[test]
fn show_agrees_with_libtorrent() {
    for (name, wanted) in expected() {
        let path = torrents().join(&name);
        let shown = show_json(path.to_str().unwrap());
        for (key, wanted) in wanted.as_object().unwrap() {
            match key.as_str() {
                "hashes" => {}
                "trackers" => assert_eq!(with_sorted_tiers(&shown[key]), *wanted, "{name}"),
                "files" => assert_eq!(without_index(&shown["files"]), *wanted, "{name}"),
                key => assert_eq!(shown[key], *wanted, "{name}: {key}"),
            }
        }
    }
}

fn with_sorted_tiers(trackers: &Value) -> Value {
    let mut trackers = trackers.clone();
    for tier in trackers.as_array_mut().unwrap() {
        tier.as_array_mut().unwrap().sort_by_key(|url| url.as_str().unwrap().to_owned());
    }
    trackers
}

fn without_index(files: &Value) -> Value {
    let mut files = files.clone();
    for (n, file) in files.as_array_mut().unwrap().iter_mut().enumerate() {
        assert_eq!(file.as_object_mut().unwrap().remove("index"), Some(Value::from(n + 1)));
    }
    files
}

#[test]
fn piece_hashes_agree_with_libtorrent() {
    for (name, wanted) in expected() {
        let torrent = read(&name).unwrap();
        let hex = |piece| -> String {
            torrent.piece_hash(piece).iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let found = [hex(PieceIndex(0)), hex(PieceIndex(torrent.pieces() - 1))];
        assert_eq!(Value::from(found.to_vec()), wanted["hashes"], "{name}");
    }
}

#[test]
fn every_bare_info_gives_the_same_torrent() {
    for (name, wanted) in expected() {
        let torrent = read(&name).unwrap();
        let bare = Metainfo::from_info(torrent.info_bytes()).unwrap();
        assert_eq!(Value::from(bare.info_hash().to_string()), wanted["infohash"]);
        assert_eq!(bare.files(), torrent.files());
    }
}

#[test]
fn torrents_of_version_2_only_are_refused_by_name() {
    for name in ["libtorrent-v2-tree.torrent", "libtorrent-v2-single.torrent"] {
        let error = read(name).unwrap_err();
        assert_eq!(error, MetainfoError::V2Only);
        assert!(error.to_string().contains("v2-only torrent (BEP 52)"));
    }
}

#[test]
fn a_cut_or_changed_torrent_never_panics() {
    let bytes = fs::read(torrents().join("libtorrent-hybrid-tree.torrent")).unwrap();
    for at in 0..bytes.len() {
        assert!(Metainfo::parse(&bytes[..at]).is_err());
        for byte in [b'e', b'0', b'9', b'd', b'-', 0xff] {
            let mut changed = bytes.clone();
            changed[at] = byte;
            if let Err(error) = Metainfo::parse(&changed) {
                assert!(!error.to_string().contains(char::is_control));
            }
        }
    }
}

#[test]
fn a_magnet_link_shows_what_it_says() {
    let path = torrents().join("mktorrent-tree.torrent");
    let torrent = path.to_str().unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let options = MagnetOptions { torrent: torrent.into(), output: OutputOptions::default() };
    magnet::run(&options, &mut out, &mut err).unwrap();
    let link = String::from_utf8(out).unwrap();
    assert!(link.ends_with('\n') && link.lines().count() == 1);

    let (of_link, of_torrent) = (show_json(link.trim_end()), show_json(torrent));
    for key in ["infohash", "name", "web_seeds", "magnet"] {
        assert_eq!(of_link[key], of_torrent[key]);
    }
    assert_eq!(of_link["files"], Value::Null);
    assert_eq!(of_link["trackers"].as_array().unwrap().len(), 3);
}

#[test]
fn show_speaks_to_people() {
    let path = torrents().join("mktorrent-tree.torrent");
    let text = show(path.to_str().unwrap(), OutputOptions::default());
    let wanted = [
        "Name:       tree\n",
        "Size:       149 KiB (152790 bytes)\n",
        "Pieces:     5 of 32.0 KiB\n",
        "Comment:    A comment\n",
        "Trackers:   http://tracker.example/announce, udp://backup.example:6969\n",
        "            http://other.example/a\n",
        "     1         0 B  tree/empty-ones/first\n",
    ];
    for line in wanted {
        assert!(text.contains(line), "{line}{text}");
    }
}
