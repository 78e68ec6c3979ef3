//! The corpora of the fuzz targets, as they are and changed, through the targets' own properties.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rondalla::words::rng::Rng;

use super::properties;

/// Changed inputs of one format. A fuzzer tries as many in a blink, with eyes; these are blind.
const CHANGED: u32 = 3_000;

/// Longest input, as libFuzzer has it by default.
const LEN_MAX: usize = 4_096;

/// What means something to one format or another.
const WORDS: [&[u8]; 24] = [
    b"d",
    b"l",
    b"e",
    b"i",
    b":",
    b"-",
    b"0",
    b"1:a",
    b"i0e",
    b"de",
    b"le",
    b"4:info",
    b"6:length",
    b"4:path",
    b"..",
    b"/",
    b".",
    b"\n",
    b"%",
    b"&",
    b"\xff",
    b"\0\0\0\x01",
    b"\0\0\x40\0",
    b"CON ",
];

#[test]
fn bencode() {
    replay("bencode", properties::bencode::check);
}

#[test]
fn torrents_and_magnet_links() {
    replay("metainfo", properties::metainfo::check);
}

#[test]
fn messages() {
    replay("wire", properties::wire::check);
}

#[test]
fn messages_about_metadata() {
    replay("metadata", properties::metadata::check);
}

#[test]
fn datagrams() {
    replay("datagram", properties::datagram::check);
}

#[test]
fn requests_and_answers_of_http() {
    replay("http", properties::http::check);
}

#[test]
fn what_trackers_are_asked_and_answer() {
    replay("tracker", properties::tracker::check);
}

#[test]
fn handshakes() {
    replay("handshake", properties::handshake::check);
}

#[test]
fn encrypted_handshakes() {
    replay("mse", properties::mse::check);
}

#[test]
fn resume_files() {
    replay("resume", properties::resume::check);
}

#[test]
fn lines_of_text() {
    replay("text", properties::text::check);
}

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut paths: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|item| item.unwrap().path()).collect();
    paths.sort();
    let kept: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    let bytes: usize = kept.iter().map(Vec::len).sum();
    assert!(
        (5..200).contains(&kept.len()) && bytes < 200 * 1024,
        "{bytes} bytes in {}",
        kept.len()
    );
    for (path, bytes) in paths.iter().zip(&kept) {
        try_one(&path.display().to_string(), bytes, check);
    }
    let mut rng = Rng::new(0x5eed);
    for n in 0..CHANGED {
        let one = &kept[below(&mut rng, kept.len())];
        let other = &kept[below(&mut rng, kept.len())];
        let changed = changed(one, other, &mut rng);
        try_one(&format!("change {n}"), &changed, check);
    }
}

/// Shows the input that fails, so that it can be added to the corpus.
fn try_one(name: &str, bytes: &[u8], check: fn(&[u8])) {
    let tried = catch_unwind(AssertUnwindSafe(|| check(bytes)));
    assert!(tried.is_ok(), "{name}: b\"{}\"", bytes.escape_ascii());
}

fn changed(one: &[u8], other: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = one.to_vec();
    for _ in 0..1 + rng.below(4) {
        let at = below(rng, bytes.len() + 1);
        let end = bytes.len().min(at + below(rng, 20));
        let word = WORDS[below(rng, WORDS.len())];
        match rng.below(7) {
            0 => drop(bytes.splice(at..end, [])),
            1 => drop(bytes.splice(at..at, word.iter().copied())),
            2 => drop(bytes.splice(at..bytes.len().min(at + word.len()), word.iter().copied())),
            3 => rng.fill(&mut bytes[at..end]),
            4 => bytes.truncate(at),
            5 => bytes.splice(at.., other[at.min(other.len())..].iter().copied()).for_each(drop),
            _ => bytes = [&bytes[..end], &bytes[at..]].concat(),
        }
    }
    bytes.truncate(LEN_MAX);
    bytes
}

fn below(rng: &mut Rng, n: usize) -> usize {
    rng.below(u32::try_from(n).unwrap()) as usize
}
