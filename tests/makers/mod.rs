//! Torrents of other makers: `create` makes the same info dictionary as they do, `show` reads
//! theirs as libtorrent does.
//!
//! `apt-get install mktorrent transmission-cli python3-libtorrent`, then
//! `cargo test --release -- --ignored makers`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::rondalla;
use crate::support::{Noise, Scratch, write_noise};

/// Makes a file of `len` bytes below `parent`.
fn file(parent: &Path, name: &str, len: u64) -> PathBuf {
    let path = parent.join(name);
    write_noise(&path, len, &mut Noise::new(len));
    path
}

/// Makes a folder whose names sort differently by whole path, by part, by letter case and by
/// language, with empty files among them. `-` and `.` come before `/` in ASCII, `0` after it.
fn folder(parent: &Path, name: &str) -> PathBuf {
    let sizes = [
        ("a-b", 40_000),
        ("a.c", 1),
        ("a/b", 16_384),
        ("a/Ärger/x", 0),
        ("a0", 16_383),
        ("B/z", 300_001),
        ("B/y/deeper/still", 5),
        ("Zero", 0),
        ("bass", 1_048_576),
        ("it's \"&<quoted>; $HOME", 77),
        ("é", 16_385),
        ("日本/🎸 la rondalla.ogg", 99_999),
    ];
    let root = parent.join(name);
    for (name, len) in sizes {
        file(&root, name, len);
    }
    root
}

/// Makes a folder whose names, and its own, are not UTF-8.
fn folder_of_bytes(parent: &Path) -> PathBuf {
    let root = parent.join(OsStr::from_bytes(b"not UTF-8 \xe9\xff"));
    for (name, len) in [(b"caf\xe9".as_slice(), 40_000), (b"\x83\x5c/\x9b", 1), (b"z\xe6\x97", 0)] {
        write_noise(&root.join(OsStr::from_bytes(name)), len, &mut Noise::new(len));
    }
    root
}

fn mktorrent(source: &Path, torrent: &Path, options: &[&str]) {
    let mut command = Command::new("mktorrent");
    run(command.args(options).arg("-o").arg(torrent).arg(source));
}

fn transmission(source: &Path, torrent: &Path, options: &[&str]) {
    let mut command = Command::new("transmission-create");
    run(command.args(options).arg("-o").arg(torrent).arg(source));
}

fn libtorrent(source: &Path, torrent: &Path, spec: &Value) {
    run(libtorrent_script().arg("make").arg(source).arg(torrent).arg(spec.to_string()));
}

/// What libtorrent reads in `torrent`, in the shape of `show --json`.
fn libtorrent_show(torrent: &Path) -> Value {
    serde_json::from_slice(&run(libtorrent_script().arg("show").arg(torrent))).unwrap()
}

fn libtorrent_script() -> Command {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/makers/libtorrent_torrents.py");
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script);
    command
}

fn run(command: &mut Command) -> Vec<u8> {
    let output =
        command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {errors}", output.status);
    output.stdout
}

/// The info-hash that `rondalla create` gives.
fn created(source: &Path, torrent: &Path, options: &[&str]) -> Value {
    rondalla::create(source, torrent, options)["infohash"].take()
}

#[test]
#[ignore = "needs mktorrent, transmission-create and libtorrent (apt)"]
fn create_gives_the_info_hash_of_mktorrent() {
    let scratch = Scratch::new();
    let parent = scratch.folder("source");
    let sources = [
        file(&parent, "one byte", 1),
        file(&parent, "whole pieces.bin", 4 * 32_768),
        file(&parent, "ümläut & co.bin", 1_234_567),
        folder(&parent, "a folder"),
        folder_of_bytes(&parent),
    ];
    let options: [(&[&str], &[&str]); 4] = [
        (&["-l", "15"], &["--piece-length", "32KiB"]),
        (&["-l", "18", "-p"], &["--piece-length", "256KiB", "--private"]),
        (&["-l", "22", "-s", "here"], &["--piece-length", "4MiB", "--source", "here"]),
        (&["-l", "16", "-n", "renamed"], &["--piece-length", "64KiB", "--name", "renamed"]),
    ];
    for (i, source) in sources.iter().enumerate() {
        for (j, (theirs, ours)) in options.iter().enumerate() {
            let (their_torrent, our_torrent) =
                (scratch.path(&format!("{i}-{j}.theirs")), scratch.path(&format!("{i}-{j}.ours")));
            mktorrent(source, &their_torrent, theirs);
            let infohash = created(source, &our_torrent, ours);
            let expected = &libtorrent_show(&their_torrent)["infohash"];
            assert_eq!(&infohash, expected, "{} with {ours:?}", source.display());
            // What was written has the hash that was told.
            assert_eq!(&libtorrent_show(&our_torrent)["infohash"], expected);
        }
    }
}

#[test]
#[ignore = "needs mktorrent, transmission-create and libtorrent (apt)"]
fn create_gives_the_info_hash_of_libtorrent() {
    let scratch = Scratch::new();
    let parent = scratch.folder("source");
    let sources = [
        file(&parent, "one byte", 1),
        file(&parent, "whole pieces.bin", 4 * 16_384),
        file(&parent, "ümläut & co.bin", 1_234_567),
        folder(&parent, "a folder"),
    ];
    for (i, source) in sources.iter().enumerate() {
        for piece_kib in [16, 32, 1024, 4096] {
            for private in [false, true] {
                let name = format!("{i}-{piece_kib}-{private}");
                let theirs = scratch.path(&format!("{name}.theirs"));
                let piece_length = piece_kib * 1024;
                let spec = json!({"kind": "v1", "piece_length": piece_length, "private": private});
                libtorrent(source, &theirs, &spec);
                let length = format!("{piece_kib}KiB");
                let mut options = vec!["--piece-length", &length];
                if private {
                    options.push("--private");
                }
                let infohash = created(source, &scratch.path(&format!("{name}.ours")), &options);
                let expected = &libtorrent_show(&theirs)["infohash"];
                assert_eq!(&infohash, expected, "{} with {options:?}", source.display());
            }
        }
    }
}

/// Makes torrents of every maker with all that a torrent can hold; gives their paths.
fn torrents_of_all_makers(scratch: &Scratch) -> Vec<PathBuf> {
    let parent = scratch.folder("source");
    let file = &file(&parent, "a file.bin", 300_000);
    let folder = &folder(&parent, "a folder");
    let mut paths = Vec::new();
    let mut next = |name: &str| {
        let path = scratch.path(&format!("{name}.torrent"));
        paths.push(path.clone());
        path
    };

    let tiers = ["-a", "http://a.example/announce,udp://b.example:80", "-a", "https://c.example/x"];
    let seeds = ["-w", "http://w.example/a,http://w.example/b"];
    mktorrent(file, &next("mktorrent-file"), &["-a", "http://a.example/announce", "-c", "hëllo"]);
    mktorrent(
        folder,
        &next("mktorrent-folder"),
        &[&tiers[..], &seeds, &["-p", "-s", "me"]].concat(),
    );
    mktorrent(folder, &next("mktorrent-bare"), &["-d", "-l", "15"]);

    let trackers = ["-t", "http://a.example/announce", "-t", "http://b.example/announce"];
    transmission(file, &next("transmission-file"), &[&trackers[..], &["-c", "two", "-p"]].concat());
    transmission(folder, &next("transmission-folder"), &["-s", "64"]);

    let bare = |kind: &str| json!({"kind": kind, "piece_length": 32_768});
    let full = |kind: &str| {
        json!({
            "kind": kind, "piece_length": 65_536, "private": true,
            "trackers": [["http://a.example/announce", "udp://b.example:80/announce"], ["http://c.example/"]],
            "web_seeds": ["http://w.example/files/", "https://w.example/others/"],
            "nodes": [["router.example", 6881], ["10.1.2.3", 1]],
            "comment": "a comment, ümlauts in it", "created_by": "somebody",
        })
    };
    libtorrent(file, &next("libtorrent-file"), &bare("v1"));
    libtorrent(folder, &next("libtorrent-folder"), &full("v1"));
    libtorrent(folder, &next("libtorrent-folder-with-pads"), &full("v1 with pads"));
    libtorrent(file, &next("libtorrent-hybrid-file"), &full("hybrid"));
    libtorrent(folder, &next("libtorrent-hybrid-folder"), &bare("hybrid"));

    let options = [
        "--tracker=http://a.example/announce,udp://b.example:80",
        "--tracker=http://c.example/",
        "--web-seed=http://w.example/",
        "--node=10.1.2.3:6881",
        "--node=node.example:7",
        "--private",
        "--comment=ours",
        "--source=here",
    ];
    rondalla::create(folder, &next("rondalla-folder"), &options);
    rondalla::create(file, &next("rondalla-file"), &["--no-date"]);
    paths
}

#[test]
#[ignore = "needs mktorrent, transmission-create and libtorrent (apt)"]
fn show_agrees_with_libtorrent() {
    let scratch = Scratch::new();
    let torrents = torrents_of_all_makers(&scratch);
    assert_eq!(torrents.len(), 12);
    for torrent in &torrents {
        let (ours, theirs) = (rondalla::show(torrent), libtorrent_show(torrent));
        for key in ["infohash", "name", "size", "piece_length", "pieces", "private"] {
            assert_eq!(ours[key], theirs[key], "{key} of {}", torrent.display());
        }
        // Ways into the ring come first, and are not libtorrent's.
        let ring = if torrent.ends_with("rondalla-folder.torrent") { 2 } else { 0 };
        let (ways, others) = ours["nodes"].as_array().unwrap().split_at(ring);
        assert_eq!(others, theirs["nodes"].as_array().unwrap(), "nodes of {}", torrent.display());
        assert_eq!(ways.len(), ring);
        // libtorrent says nothing of the kind by an empty string or zero.
        for (key, nothing) in
            [("comment", json!("")), ("created_by", json!("")), ("creation_date", json!(0))]
        {
            let ours = if ours[key].is_null() { &nothing } else { &ours[key] };
            assert_eq!(*ours, theirs[key], "{key} of {}", torrent.display());
        }
        assert_eq!(files(&ours), files(&theirs), "files of {}", torrent.display());
        assert_eq!(tiers(&ours), tiers(&theirs), "trackers of {}", torrent.display());
        fn seeds(shown: &Value) -> BTreeSet<&str> {
            folders(set(&shown["web_seeds"]))
        }
        assert_eq!(seeds(&ours), seeds(&theirs), "web seeds of {}", torrent.display());
        let link = format!("xt=urn:btih:{}", theirs["infohash"].as_str().unwrap());
        assert!(ours["magnet"].as_str().unwrap().contains(&link), "{}", torrent.display());
    }
}

/// The path and size of each file, in order. A number that users select a file by goes with it.
fn files(shown: &Value) -> Vec<(&str, u64)> {
    let files = shown["files"].as_array().unwrap();
    files.iter().map(|f| (f["path"].as_str().unwrap(), f["size"].as_u64().unwrap())).collect()
}

/// The tiers in order; within a tier libtorrent keeps none.
fn tiers(shown: &Value) -> Vec<BTreeSet<&str>> {
    shown["trackers"].as_array().unwrap().iter().map(set).collect()
}

/// URLs without the last slash, which libtorrent adds to those of folders (BEP 19) and the torrents
/// of others may lack.
fn folders(urls: BTreeSet<&str>) -> BTreeSet<&str> {
    urls.into_iter().map(|url| url.trim_end_matches('/')).collect()
}

fn set(texts: &Value) -> BTreeSet<&str> {
    texts.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
#[ignore = "needs mktorrent, transmission-create and libtorrent (apt)"]
fn a_torrent_of_version_2_alone_is_refused_by_name() {
    let scratch = Scratch::new();
    let source = folder(&scratch.folder("source"), "a folder");
    let torrent = scratch.path("v2.torrent");
    libtorrent(&source, &torrent, &json!({"kind": "v2", "piece_length": 32_768}));
    let output = rondalla::command().arg("show").arg(&torrent).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("rondalla: ") && stderr.contains("v2.torrent"), "{stderr}");
}
