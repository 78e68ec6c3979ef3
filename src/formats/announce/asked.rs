//! What clients ask a tracker by HTTP, read, and what it answers, written.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::formats::announce::udp::put_peer;
use crate::formats::announce::{Announce, Counts, Event};
use crate::words::id::{InfoHash, PeerId};
use crate::words::limits::trackers as limits;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Who shares a torrent; and whether in the form of BEP 23.
    Announce(Announce, bool),
    /// How many share these torrents.
    Scrape(Vec<InfoHash>),
    /// How the tracker stands.
    Stats,
    /// Something that is not here.
    Nothing,
}

/// Somebody who shares a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it takes connections.
    pub address: SocketAddr,
    /// How it names itself.
    pub peer_id: PeerId,
}

/// Reads the path and query of a request. The address that a client may name for itself is passed
/// over, since a tracker that believed it could be made to send others anywhere.
///
/// # Errors
/// What of an announce is missing or wrong, for the client's user to read.
pub fn parse(target: &str) -> Result<Asked, &'static str> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match path {
        "/announce" => announce(query),
        "/scrape" => {
            let hashes = parameters(query).filter(|(key, _)| *key == "info_hash");
            let hashes = hashes.filter_map(|(_, value)| decoded(value)?.try_into().ok());
            Ok(Asked::Scrape(hashes.take(limits::SCRAPED_MAX).map(InfoHash).collect()))
        }
        "/stats" => Ok(Asked::Stats),
        _ => Ok(Asked::Nothing),
    }
}

fn announce(query: &str) -> Result<Asked, &'static str> {
    let find = |name| parameters(query).find(|(key, _)| *key == name).map(|(_, value)| value);
    let number = |name| find(name).and_then(|value| value.parse().ok());
    let bytes = |name| decoded(find(name)?)?.try_into().ok();
    let info_hash = bytes("info_hash").ok_or("info_hash is missing or has not 20 bytes")?;
    let peer_id = bytes("peer_id").ok_or("peer_id is missing or has not 20 bytes")?;
    let port = find("port").and_then(|value| value.parse().ok());
    let event = match find("event") {
        Some("started") => Some(Event::Started),
        Some("completed") => Some(Event::Completed),
        Some("stopped") => Some(Event::Stopped),
        // Some clients say `empty`, or `paused` (BEP 21).
        Some(_) | None => None,
    };
    let announce = Announce {
        info_hash: InfoHash(info_hash),
        peer_id: PeerId(peer_id),
        key: find("key").and_then(|key| u32::from_str_radix(key, 16).ok()).unwrap_or(0),
        port: port.ok_or("port is missing or no number from 0 to 65535")?,
        uploaded: number("uploaded").unwrap_or(0),
        downloaded: number("downloaded").unwrap_or(0),
        // Whoever does not say is no seeder.
        left: number("left").unwrap_or(u64::MAX),
        event,
        wanted: number("numwant").map_or(u32::MAX, |n| u32::try_from(n).unwrap_or(u32::MAX)),
    };
    Ok(Asked::Announce(announce, find("compact") != Some("0")))
}

fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = query.split('&').take(limits::PARAMETERS_MAX);
    parts.map(|part| part.split_once('=').unwrap_or((part, "")))
}

/// The bytes of a value in which each may be percent-encoded; `None` if one is cut off, or there are
/// more than a hash has.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(20);
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let byte = match first {
            b'%' => {
                let ([high, low], after) = rest.split_first_chunk()?;
                rest = after;
                let digit = |byte: u8| char::from(byte).to_digit(16);
                u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?
            }
            b'+' => b' ',
            other => *other,
        };
        if bytes.len() == 20 {
            return None;
        }
        bytes.push(byte);
    }
    Some(bytes)
}

/// The answer to an announce of a client that is seen at `seen`.
pub fn answer(
    peers: &[Peer],
    counts: Counts,
    interval: u64,
    compact: bool,
    seen: IpAddr,
) -> Vec<u8> {
    let mut bytes = b"d".to_vec();
    let number = |key: &str, value: u64, bytes: &mut Vec<u8>| {
        bytes.extend(format!("{}:{key}i{value}e", key.len()).bytes());
    };
    number("complete", counts.seeders.unwrap_or(0), &mut bytes);
    number("downloaded", counts.completed.unwrap_or(0), &mut bytes);
    put_string("external ip", &mut bytes);
    match seen {
        IpAddr::V4(ip) => put_bytes(&ip.octets(), &mut bytes),
        IpAddr::V6(ip) => put_bytes(&ip.octets(), &mut bytes),
    }
    number("incomplete", counts.leechers.unwrap_or(0), &mut bytes);
    number("interval", interval, &mut bytes);
    number("min interval", interval / 2, &mut bytes);
    put_string("peers", &mut bytes);
    if compact {
        put_compact(peers.iter().filter(|peer| peer.address.is_ipv4()), &mut bytes);
        let v6 = peers.iter().filter(|peer| peer.address.is_ipv6());
        if v6.clone().next().is_some() {
            put_string("peers6", &mut bytes);
            put_compact(v6, &mut bytes);
        }
    } else {
        bytes.push(b'l');
        for peer in peers {
            bytes.push(b'd');
            put_string("ip", &mut bytes);
            put_string(&peer.address.ip().to_string(), &mut bytes);
            put_string("peer id", &mut bytes);
            put_bytes(&peer.peer_id.0, &mut bytes);
            number("port", peer.address.port().into(), &mut bytes);
            bytes.push(b'e');
        }
        bytes.push(b'e');
    }
    bytes.push(b'e');
    bytes
}

fn put_compact<'a>(peers: impl Iterator<Item = &'a Peer>, bytes: &mut Vec<u8>) {
    let mut list = Vec::new();
    peers.for_each(|peer| put_peer(peer.address, &mut list));
    put_bytes(&list, bytes);
}

fn put_string(text: &str, bytes: &mut Vec<u8>) {
    put_bytes(text.as_bytes(), bytes);
}

fn put_bytes(string: &[u8], bytes: &mut Vec<u8>) {
    bytes.extend(format!("{}:", string.len()).bytes());
    bytes.extend(string);
}

/// The answer to a scrape. Keys of a dictionary ascend, and none occurs twice.
pub fn scraped(torrents: &std::collections::BTreeMap<InfoHash, Counts>) -> Vec<u8> {
    let mut bytes = b"d5:filesd".to_vec();
    for (info_hash, counts) in torrents {
        put_bytes(&info_hash.0, &mut bytes);
        let [seeders, completed, leechers] =
            [counts.seeders, counts.completed, counts.leechers].map(|number| number.unwrap_or(0));
        let entry =
            format!("d8:completei{seeders}e10:downloadedi{completed}e10:incompletei{leechers}ee");
        bytes.extend(entry.bytes());
    }
    bytes.extend(b"ee");
    bytes
}

/// The answer to what cannot be answered.
pub fn refusal(why: &str) -> Vec<u8> {
    let mut text = String::new();
    write!(text, "d14:failure reason{}:{why}e", why.len()).expect("a String takes all");
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::announce::{parse_answer, parse_counts};
    use crate::formats::url::Url;

    const SEEN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));

    /// The requests of BEP 7 and BEP 23.
    #[test]
    fn requests_of_the_proposals_are_read() {
        let table = [
            "/announce?peer_id=aaaaaaaaaaaaaaaaaaaa&info_hash=aaaaaaaaaaaaaaaaaaaa&port=6881&left=0\
             &downloaded=100&uploaded=0&compact=1",
            "/announce?peer_id=aaaaaaaaaaaaaaaaaaaa&info_hash=aaaaaaaaaaaaaaaaaaaa&port=6881&left=0\
             &downloaded=100&uploaded=0&compact=1&ipv6=2001%3A%3A53Aa%3A64c%3A0%3A7f83%3Abc43%3Adec9",
        ];
        let expected = Announce {
            info_hash: InfoHash([b'a'; 20]),
            peer_id: PeerId([b'a'; 20]),
            key: 0,
            port: 6881,
            uploaded: 0,
            downloaded: 100,
            left: 0,
            event: None,
            wanted: u32::MAX,
        };
        for target in table {
            assert_eq!(parse(target), Ok(Asked::Announce(expected.clone(), true)));
        }
    }

    #[test]
    fn what_our_client_says_is_what_the_tracker_reads() {
        let announce = Announce {
            info_hash: InfoHash(*b"\x00\x01\xff%&=+ abcdefghijkl"),
            peer_id: PeerId([0xfe; 20]),
            key: 0xdead_beef,
            port: 1,
            uploaded: 1,
            downloaded: 2,
            left: 3,
            event: Some(Event::Completed),
            wanted: 50,
        };
        let url = Url::parse("http://t.example/announce?x=y").unwrap();
        let target = announce.url(&url, Some(b"id")).target;
        assert_eq!(parse(&target), Ok(Asked::Announce(announce, true)));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let hash = "info_hash=aaaaaaaaaaaaaaaaaaaa";
        let id = "peer_id=aaaaaaaaaaaaaaaaaaaa";
        let table = [
            ("/announce".to_owned(), "info_hash"),
            (format!("/announce?info_hash=a&{id}&port=1"), "info_hash"),
            (format!("/announce?info_hash={}&{id}&port=1", "a".repeat(21)), "info_hash"),
            (format!("/announce?info_hash=aaaaaaaaaaaaaaaaaaa%f&{id}&port=1"), "info_hash"),
            (format!("/announce?info_hash=aaaaaaaaaaaaaaaaaaa%zz&{id}&port=1"), "info_hash"),
            (format!("/announce?{hash}&port=1"), "peer_id"),
            (format!("/announce?{hash}&{id}"), "port"),
            (format!("/announce?{hash}&{id}&port=65536"), "port"),
            (format!("/announce?{hash}&{id}&port=-1"), "port"),
        ];
        for (target, expected) in table {
            let why = parse(&target).unwrap_err();
            assert!(why.contains(expected), "{target}: {why}");
        }
        assert_eq!(parse("/scrape?info_hash=a"), Ok(Asked::Scrape(Vec::new())));
        assert_eq!(parse("/stats"), Ok(Asked::Stats));
        assert_eq!(parse("/"), Ok(Asked::Nothing));
    }

    #[test]
    fn answers_are_read_by_our_client() {
        let peer =
            |text: &str| Peer { address: text.parse().unwrap(), peer_id: PeerId([b'p'; 20]) };
        let peers = ["192.0.2.1:6881", "[2001:db8::1]:6882"].map(peer);
        let counts = Counts { seeders: Some(1), leechers: Some(2), completed: Some(3) };
        for compact in [true, false] {
            let read = parse_answer(&answer(&peers, counts, 1800, compact, SEEN)).unwrap();
            assert_eq!(read.peers, peers.map(|peer| peer.address));
            assert_eq!((read.counts, read.seen_as), (counts, Some(SEEN)));
            assert_eq!((read.interval, read.min_interval), (Some(1800), Some(900)));
        }
        let hash = InfoHash([7; 20]);
        let read = parse_counts(&scraped(&[(hash, counts)].into()), hash);
        assert_eq!(read, Ok(counts));
        assert_eq!(parse_answer(&refusal("no")).unwrap_err().to_string(), "it refuses: no");
    }
}
