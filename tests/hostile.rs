//! A peer that breaks the protocol, byte by byte, against a running `rondalla seed`. It loses its
//! connection, the reason is told at `-v`, and whoever comes next is served as if nothing had
//! happened. The wire is written out by hand here: nothing is taken from the code under test.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use sha1::{Digest as _, Sha1};

use crate::support::rondalla::{self, listening};
use crate::support::{Noise, Running, Scratch, wait_until};

const PIECE_LEN: usize = 32 * 1024;

/// Ten pieces: the bit field has two bytes, six of its bits are spare, the last piece is short.
const DATA_LEN: usize = 9 * PIECE_LEN + 5_088;

/// Time between two bytes of a handshake that takes half a minute.
const LULL: Duration = Duration::from_millis(450);

/// The message ids of BEP 3.
const CHOKE: u8 = 0;
pub(crate) const UNCHOKE: u8 = 1;
pub(crate) const INTERESTED: u8 = 2;
pub(crate) const HAVE: u8 = 4;
pub(crate) const BITFIELD: u8 = 5;
pub(crate) const REQUEST: u8 = 6;
pub(crate) const PIECE: u8 = 7;

/// The seed, its data, and what a client has to know to talk to it.
struct Target {
    process: Running,
    address: SocketAddr,
    infohash: [u8; 20],
    data: Vec<u8>,
    /// Dropped after the process that works in it.
    _scratch: Scratch,
}

impl Target {
    fn start() -> Self {
        let scratch = Scratch::new();
        let data = Noise::new(1).bytes(DATA_LEN);
        let (source, torrent) = (scratch.folder("source"), scratch.path("it.torrent"));
        std::fs::write(source.join("data.bin"), &data).unwrap();
        let created =
            rondalla::create(&source.join("data.bin"), &torrent, &["--piece-length", "32KiB"]);
        let (listen, options) = ("127.0.0.1:0", &["-v"]);
        let share =
            rondalla::Share { torrent: &torrent, dir: &source, listen, peers: &[], options };
        let mut process = share.start(&scratch, "rondalla", "seed");
        let address = listening(&mut process);
        process.wait_for_event("checked");
        let infohash = from_hex(created["infohash"].as_str().unwrap());
        Self { process, address, infohash, data, _scratch: scratch }
    }

    /// A download of the same data instead, which has nothing yet; its pieces have `piece_len`
    /// bytes.
    fn download(piece_len: &str, options: &[&str]) -> Self {
        let scratch = Scratch::new();
        let data = Noise::new(1).bytes(DATA_LEN);
        let (source, torrent) = (scratch.folder("source"), scratch.path("it.torrent"));
        std::fs::write(source.join("data.bin"), &data).unwrap();
        let created =
            rondalla::create(&source.join("data.bin"), &torrent, &["--piece-length", piece_len]);
        let dir = scratch.folder("copy");
        let share = rondalla::Share {
            torrent: &torrent,
            dir: &dir,
            listen: "127.0.0.1:0",
            peers: &[],
            options,
        };
        let mut process = share.start(&scratch, "rondalla", "download");
        let address = listening(&mut process);
        process.wait_for_event("checked");
        let infohash = from_hex(created["infohash"].as_str().unwrap());
        Self { process, address, infohash, data, _scratch: scratch }
    }

    /// Waits until something is told of `peer` that has one of `words`.
    fn assert_tells(&mut self, peer: SocketAddr, words: &[&str]) {
        let peer = peer.to_string();
        self.process.wait_for(&format!("one of {words:?} about {peer}"), |process| {
            let events = process.events();
            let stderr = process.stderr();
            let told = events.iter().map(reason).chain(stderr.lines().map(str::to_owned));
            let about_peer = told.filter(|text| text.contains(&peer)).map(|t| t.to_lowercase());
            let mut tells = about_peer.map(|text| words.iter().any(|word| text.contains(word)));
            tells.any(|tells| tells).then_some(())
        });
    }
}

/// All texts of an event but those that stand in every one of its kind.
fn reason(event: &Value) -> String {
    let fields = event.as_object().expect("an event is an object").iter();
    let telling =
        fields.filter(|(key, _)| !["event", "infohash", "client"].contains(&key.as_str()));
    telling.filter_map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" ")
}

pub(crate) fn from_hex(hex: &str) -> [u8; 20] {
    assert_eq!(hex.len(), 40, "{hex}");
    std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
}

pub(crate) fn handshake(infohash: &[u8; 20], peer_id: &[u8; 20]) -> Vec<u8> {
    [b"\x13BitTorrent protocol", &[0; 8][..], infohash, peer_id].concat()
}

pub(crate) fn message(id: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(1 + payload.len()).unwrap();
    [&len.to_be_bytes()[..], &[id], payload].concat()
}

pub(crate) fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

pub(crate) fn request(piece: u32, offset: u32, len: u32) -> Vec<u8> {
    message(REQUEST, &numbers(&[piece, offset, len]))
}

/// One connection to the seed.
struct Client {
    stream: TcpStream,
    address: SocketAddr,
}

impl Client {
    fn dial(target: &Target) -> Self {
        let stream = TcpStream::connect(target.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = stream.local_addr().unwrap();
        Self { stream, address }
    }

    /// Dials and shakes hands; gives the seed's peer id as well.
    fn meet(target: &Target) -> (Self, [u8; 20]) {
        Self::meet_as(target, b"-XX0000-abcdefghijkl")
    }

    fn meet_as(target: &Target, peer_id: &[u8; 20]) -> (Self, [u8; 20]) {
        let mut client = Self::dial(target);
        client.send(&handshake(&target.infohash, peer_id));
        let answer = client.receive(68);
        assert_eq!(&answer[..20], b"\x13BitTorrent protocol");
        assert_eq!(answer[28..48], target.infohash);
        (client, answer[48..].try_into().unwrap())
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    fn receive(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let mut filled = 0;
        let whole = wait_until(|| {
            match self.stream.read(&mut bytes[filled..]) {
                Ok(0) => panic!("the seed hung up after {filled} of {len} bytes"),
                Ok(n) => filled += n,
                Err(error) if is_timeout(&error) => {}
                Err(error) => panic!("{error} after {filled} of {len} bytes"),
            }
            (filled == len).then_some(())
        });
        assert!(whole.is_some(), "the seed hangs after {filled} of {len} bytes");
        bytes
    }

    /// The next message but keep-alives: its id and payload.
    fn receive_message(&mut self) -> (u8, Vec<u8>) {
        loop {
            let len = u32::from_be_bytes(self.receive(4).try_into().unwrap());
            assert!(len <= 1 << 20, "a message of {len} bytes");
            if len > 0 {
                let mut payload = self.receive(len as usize);
                return (payload.remove(0), payload);
            }
        }
    }

    /// Whether the seed hangs up within this time, saying nothing.
    fn ends_within(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        match self.stream.read(&mut [0]) {
            Ok(0) => true,
            Ok(_) => panic!("the seed answers half a handshake"),
            Err(error) => !is_timeout(&error),
        }
    }

    /// Reads whatever comes until the seed hangs up.
    fn wait_for_end(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let ended = wait_until(|| match self.stream.read(&mut buffer) {
            Ok(0) => Some(()),
            Ok(_) => None,
            Err(error) => (!is_timeout(&error)).then_some(()),
        });
        ended.is_some()
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Downloads `piece` as a client should and compares its SHA-1; gives the seed's peer id.
fn assert_serves(target: &Target, piece: usize) -> [u8; 20] {
    let (mut client, peer_id) = Client::meet(target);
    let (id, bitfield) = client.receive_message();
    assert_eq!((id, bitfield), (BITFIELD, vec![0xFF, 0b1100_0000]), "a seed has all pieces");
    client.send(&message(INTERESTED, &[]));
    while client.receive_message().0 != UNCHOKE {}

    let expected = target.data.chunks(PIECE_LEN).nth(piece).expect("a piece of the torrent");
    let mut received = vec![0; expected.len()];
    let index = u32::try_from(piece).unwrap();
    let mut blocks = 0;
    for (i, block) in expected.chunks(16 * 1024).enumerate() {
        let offset = u32::try_from(i * 16 * 1024).unwrap();
        client.send(&request(index, offset, u32::try_from(block.len()).unwrap()));
        blocks += 1;
    }
    while blocks > 0 {
        let (id, payload) = client.receive_message();
        assert_ne!(id, CHOKE, "choked while it was served, with nobody else around");
        if id == PIECE {
            let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
            assert_eq!(number(0), index);
            let (offset, block) = (number(4) as usize, &payload[8..]);
            received[offset..offset + block.len()].copy_from_slice(block);
            blocks -= 1;
        }
    }
    assert_eq!(Sha1::digest(&received), Sha1::digest(expected), "piece {piece}");
    peer_id
}

/// The piece, offset and length of the next request.
fn receive_request(client: &mut Client) -> [usize; 3] {
    loop {
        let (id, payload) = client.receive_message();
        if id == REQUEST {
            let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
            return [number(0), number(4), number(8)].map(|number| number as usize);
        }
    }
}

/// The block that was asked for.
fn block(target: &Target, piece_len: usize, [piece, offset, len]: [usize; 3]) -> Vec<u8> {
    let start = piece * piece_len + offset;
    let numbers = numbers(&[u32::try_from(piece).unwrap(), u32::try_from(offset).unwrap()]);
    message(PIECE, &[&numbers[..], &target.data[start..start + len]].concat())
}

/// What a peer does wrong.
struct Breach {
    name: &'static str,
    /// Sent instead of a handshake, or right after a good one.
    instead: bool,
    bytes: Vec<u8>,
    /// The reason that is told has one of these words.
    reasons: &'static [&'static str],
}

/// Every way to break the protocol at once; `seed_id` is the seed's own peer id.
#[rustfmt::skip]
fn breaches(infohash: &[u8; 20], seed_id: &[u8; 20]) -> Vec<Breach> {
    let mut other_hash = *infohash;
    other_hash[19] ^= 1;
    let instead = |name, bytes, reasons| Breach { name, instead: true, bytes, reasons };
    let after = |name, bytes, reasons| Breach { name, instead: false, bytes, reasons };
    let block = [numbers(&[0, 0]), vec![7; 16 * 1024]].concat();
    let over_limit = [&numbers(&[0x7FFF_FFFF])[..], &[PIECE], &[0; 64]].concat();
    vec![
        instead("another protocol", b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nConnection: close\r\n\r\n".to_vec(), &["handshake"]),
        instead("zeros", vec![0; 200], &["handshake"]),
        instead("another torrent", handshake(&other_hash, b"-XX0000-abcdefghijkl"), &["torrent", "hash"]),
        instead("our own id", handshake(infohash, seed_id), &["ourselves", "our own"]),
        after("a message of 2 GiB", over_limit, &["length", "long", "limit"]),
        after("a long have", message(HAVE, &[0; 5]), &["have"]),
        after("a short request", message(REQUEST, &[0; 11]), &["request"]),
        after("a choke with a payload", message(CHOKE, &[0]), &["choke"]),
        after("a request across the end of a piece", request(0, 32 * 1024 - 1, 2), &["piece 0"]),
        after("a request behind the end of a piece", request(0, 32 * 1024, 1), &["piece 0"]),
        after("a request beyond the short last piece", request(9, 0, 16 * 1024), &["piece 9"]),
        after("a request whose end overflows", request(0, u32::MAX, 16 * 1024), &["piece 0"]),
        after("a request of no piece", request(10, 0, 16 * 1024), &["piece 10"]),
        after("a request of the last index", request(u32::MAX, 0, 16 * 1024), &["piece 4294967295"]),
        after("a request of 0 bytes", request(0, 0, 0), &["0 bytes"]),
        after("a block that nobody asked for", message(PIECE, &block), &["asked"]),
        after("a bitfield of three bytes", message(BITFIELD, &[0, 0, 0]), &["bitfield"]),
        after("a bitfield of one byte", message(BITFIELD, &[0]), &["bitfield"]),
        after("a bitfield with spare bits", message(BITFIELD, &[0, 0b0010_0000]), &["bitfield"]),
        after("a piece out of range", message(HAVE, &numbers(&[10])), &["piece 10"]),
    ]
}

#[test]
fn whoever_breaks_the_protocol_is_hung_up_on_and_the_next_is_served() {
    let mut target = Target::start();
    // The one that says nothing is given time; meanwhile the others have their turn.
    let mut silent = Client::dial(&target);
    let seed_id = assert_serves(&target, 0);

    for (i, breach) in breaches(&target.infohash, &seed_id).into_iter().enumerate() {
        let Breach { name, instead, bytes, reasons } = breach;
        let mut client = if instead { Client::dial(&target) } else { Client::meet(&target).0 };
        client.send(&bytes);
        assert!(client.wait_for_end(), "{name}: the connection stays");
        target.assert_tells(client.address, reasons);
        assert!(target.process.is_running(), "{name}: the process is gone");
        assert_serves(&target, i % 10);
    }

    let mut slow = Client::dial(&target);
    let said = handshake(&target.infohash, b"-XX0000-says-a-byte-");
    let mut waits = |byte: &u8| slow.stream.write_all(&[*byte]).is_ok() && !slow.ends_within(LULL);
    assert!(said.iter().take_while(|byte| waits(byte)).count() < 48, "it may take any time");
    target.assert_tells(slow.address, &["handshake"]);
    assert!(silent.wait_for_end(), "who says nothing keeps the connection");
    target.assert_tells(silent.address, &["silen", "said nothing", "time", "handshake"]);
    assert_serves(&target, 9);
    assert!(target.process.terminate().success());
}

/// Those that go away at any point owe nobody a reason.
#[test]
fn whoever_goes_away_in_the_middle_does_no_harm() {
    let mut target = Target::start();
    let whole = [
        handshake(&target.infohash, b"-XX0000-abcdefghijkl"),
        message(INTERESTED, &[]),
        request(0, 0, 16 * 1024),
    ]
    .concat();
    for sent in [0, 1, 19, 20, 47, 48, 67, 68, 70, 72, 73, 80, whole.len()] {
        // Once by a polite end of the stream, once by closing the socket under unread bytes.
        let mut polite = Client::dial(&target);
        polite.send(&whole[..sent]);
        polite.stream.shutdown(Shutdown::Write).unwrap();
        assert!(polite.wait_for_end(), "after {sent} bytes the half-closed connection stays");
        let mut rude = Client::dial(&target);
        rude.send(&whole[..sent]);
        drop(rude);
        assert!(target.process.is_running(), "gone after {sent} bytes");
    }
    assert_serves(&target, 1);
    assert!(target.process.terminate().success());
}

/// They take no place from those who shake hands, and the oldest make room for the newest.
#[test]
fn two_hundred_silent_connections_keep_nobody_out() {
    let mut target = Target::start();
    let mut silent: Vec<Client> = (0..200).map(|_| Client::dial(&target)).collect();
    assert_serves(&target, 2);
    for (n, client) in silent.iter_mut().take(150).enumerate() {
        assert!(client.wait_for_end(), "connection {n} has made room");
    }
    assert!(target.process.terminate().success());
}

/// The memory is as large as one piece. Whoever had half of it sent, and goes, must not keep it.
#[test]
fn whoever_goes_away_with_a_piece_leaves_its_memory_to_others() {
    let mut target = Target::download("32KiB", &["--memory", "32KiB"]);
    let (mut rare, _) = Client::meet_as(&target, b"-XX0000-that-goes---");
    rare.send(&[message(BITFIELD, &[0b1000_0000, 0]), message(UNCHOKE, &[])].concat());
    let request = receive_request(&mut rare);
    assert_eq!(request, [0, 0, 16 * 1024]);
    rare.send(&block(&target, PIECE_LEN, request));
    receive_request(&mut rare);
    drop(rare);

    let (mut other, _) = Client::meet_as(&target, b"-XX0000-that-stays--");
    other.send(&[message(BITFIELD, &[0b0111_1111, 0b1100_0000]), message(UNCHOKE, &[])].concat());
    for _ in 0..18 - 1 {
        let request = receive_request(&mut other);
        other.send(&block(&target, PIECE_LEN, request));
    }
    // The piece that was given up is asked for from its beginning.
    other.send(&message(HAVE, &numbers(&[0])));
    for offset in [0, 16 * 1024] {
        let request = receive_request(&mut other);
        assert_eq!(request, [0, offset, 16 * 1024]);
        other.send(&block(&target, PIECE_LEN, request));
    }
    assert!(target.process.wait_for_exit().success());
}
