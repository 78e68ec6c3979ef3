//! A tracker's answers, read.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::formats::client::cleaned_to;
use crate::words::address::fold;
use crate::words::bencode::{self, Form, Value, scan};
use crate::words::id::InfoHash;
use crate::words::limits::trackers as limits;

/// What a tracker answers to an announce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Seconds until it wants to hear again; whatever it says.
    pub interval: Option<i64>,
    /// Seconds before which it does not want to hear again.
    pub min_interval: Option<i64>,
    /// To be said in the next announce.
    pub tracker_id: Option<Vec<u8>>,
    /// How many share the torrent.
    pub counts: Counts,
    /// Something that the user should know: one line, fit to be shown.
    pub warning: Option<String>,
    /// Where peers listen: at most [`limits::PEERS_ANSWERED_MAX`], none of which cannot be dialled.
    pub peers: Vec<SocketAddr>,
    /// Where the tracker sees us (BEP 24).
    pub seen_as: Option<IpAddr>,
}

/// How many share a torrent, as far as a tracker says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that have everything.
    pub seeders: Option<u64>,
    /// Those that do not.
    pub leechers: Option<u64>,
    /// Downloads that were completed.
    pub completed: Option<u64>,
}

/// Why there is no answer in what a tracker says. Its text is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It refuses, and says why.
    Failure(String),
    /// It is no bencode.
    Bencode(bencode::Error),
    /// It is no dictionary, or lacks this key.
    Missing(&'static str),
    /// This key's value is not what it should be.
    Wrong(&'static str),
    /// It says nothing of the torrent.
    Unknown,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failure(why) => write!(f, "it refuses: {why}"),
            Self::Bencode(error) => write!(f, "its answer is not bencode: {error}"),
            Self::Missing(key) => write!(f, "its answer has no '{key}'"),
            Self::Wrong(key) => write!(f, "its answer has a wrong '{key}'"),
            Self::Unknown => write!(f, "it does not know the torrent"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Reads the answer to an announce. Keys that are not known are passed over; lists of peers may be
/// compact or not, of either family.
///
/// # Errors
/// If the tracker refuses, or the answer makes no sense.
pub fn parse_answer(bytes: &[u8]) -> Result<Answer, Refusal> {
    let whole = dictionary(bytes)?;
    let mut answer = Answer::default();
    let mut any_peers = false;
    for (key, value) in whole.entries() {
        match key {
            b"interval" => answer.interval = value.integer(),
            b"min interval" => answer.min_interval = value.integer(),
            b"tracker id" => {
                let id = value.string().filter(|id| id.len() <= limits::TRACKER_ID_LEN_MAX);
                answer.tracker_id = id.map(<[u8]>::to_vec);
            }
            b"warning message" => answer.warning = message(&value),
            b"complete" => answer.counts.seeders = count(&value),
            b"incomplete" => answer.counts.leechers = count(&value),
            b"downloaded" => answer.counts.completed = count(&value),
            b"external ip" => answer.seen_as = value.string().and_then(ip),
            b"peers" => {
                any_peers = true;
                match value.string() {
                    Some(list) => take::<6>(list, v4, &mut answer.peers, "peers")?,
                    None if value.is_list() => take_dictionaries(&value, &mut answer.peers),
                    None => return Err(Refusal::Wrong("peers")),
                }
            }
            b"peers6" => {
                any_peers = true;
                let list = value.string().ok_or(Refusal::Wrong("peers6"))?;
                take::<18>(list, v6, &mut answer.peers, "peers6")?;
            }
            _ => {}
        }
    }
    if any_peers || answer.interval.is_some() { Ok(answer) } else { Err(Refusal::Missing("peers")) }
}

/// Reads the answer to a scrape: how many share this torrent.
///
/// # Errors
/// If the tracker refuses, does not know the torrent, or the answer makes no sense.
pub fn parse_counts(bytes: &[u8], info_hash: InfoHash) -> Result<Counts, Refusal> {
    let whole = dictionary(bytes)?;
    let files = whole.find(&["files"]).ok_or(Refusal::Missing("files"))?;
    let mut torrents = files.entries();
    let (_, torrent) = torrents.find(|(key, _)| *key == info_hash.0).ok_or(Refusal::Unknown)?;
    let of = |key| torrent.find(&[key]).as_ref().and_then(count);
    Ok(Counts { seeders: of("complete"), leechers: of("incomplete"), completed: of("downloaded") })
}

/// The dictionary that an answer is, unless it tells of a failure.
fn dictionary(bytes: &[u8]) -> Result<Value<'_>, Refusal> {
    let whole = scan(bytes, limits::ANSWER_DEPTH_MAX, Form::Loose).map_err(Refusal::Bencode)?;
    if !whole.is_dictionary() {
        return Err(Refusal::Missing("interval"));
    }
    match whole.find(&["failure reason"]) {
        Some(why) => Err(Refusal::Failure(message(&why).unwrap_or_default())),
        None => Ok(whole),
    }
}

fn message(value: &Value<'_>) -> Option<String> {
    value.string().map(|text| cleaned_to(text, limits::MESSAGE_LEN_MAX))
}

fn count(value: &Value<'_>) -> Option<u64> {
    value.integer().and_then(|number| u64::try_from(number).ok())
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(bytes.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|bytes| IpAddr::from(bytes).to_canonical())
}

/// Takes a compact list, of which each entry has `N` bytes.
fn take<const N: usize>(
    list: &[u8],
    read: fn(&[u8; N]) -> SocketAddr,
    peers: &mut Vec<SocketAddr>,
    key: &'static str,
) -> Result<(), Refusal> {
    let (entries, rest) = list.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(Refusal::Wrong(key));
    }
    entries.iter().for_each(|entry| keep(peers, read(entry)));
    Ok(())
}

/// The entries of a list that is not compact (BEP 3), those with an IP address.
fn take_dictionaries(list: &Value<'_>, peers: &mut Vec<SocketAddr>) {
    for peer in list.items().take(limits::PEERS_READ_MAX) {
        let host = peer.find(&["ip"]);
        let host = host.and_then(|ip| std::str::from_utf8(ip.string()?).ok()?.parse().ok());
        let port = peer.find(&["port"]).and_then(|port| port.integer()?.try_into().ok());
        if let (Some(ip), Some(port)) = (host, port) {
            keep(peers, SocketAddr::new(ip, port));
        }
    }
}

/// An IPv4 address and a port of six bytes (BEP 23).
pub(super) fn v4(entry: &[u8; 6]) -> SocketAddr {
    let [a, b, c, d, high, low] = *entry;
    SocketAddr::from((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])))
}

/// An IPv6 address and a port of eighteen bytes (BEP 7).
pub(super) fn v6(entry: &[u8; 18]) -> SocketAddr {
    let (ip, port) = entry.split_first_chunk::<16>().expect("sixteen of eighteen bytes");
    let port = port.first_chunk().expect("the two that are left");
    fold(SocketAddr::from((Ipv6Addr::from(*ip), u16::from_be_bytes(*port))))
}

/// Keeps a peer that can be dialled, if there is room.
pub(super) fn keep(peers: &mut Vec<SocketAddr>, peer: SocketAddr) {
    let peer = fold(peer);
    let ip = peer.ip();
    let none = ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    if peer.port() > 0 && !none && peers.len() < limits::PEERS_ANSWERED_MAX {
        peers.push(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(answer: &Answer) -> String {
        answer.peers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    /// The answer of BEP 7's example, with real bytes for its letters, and one of each other form.
    #[test]
    fn lists_of_either_form_and_family_are_read() {
        let table: [(&[u8], &str); 7] = [
            (
                b"d8:intervali1800e5:peers6:\xc0\x00\x02\x01\x1a\xe16:peers618:\
                  \x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x1a\xe2e",
                "192.0.2.1:6881 [2001:db8::1]:6882",
            ),
            (
                b"d8:intervali1800e5:peersld2:ip9:192.0.2.17:peer id20:aaaaaaaaaaaaaaaaaaaa\
                  4:porti6881eed2:ip11:2001:db8::14:porti6882eeee",
                "192.0.2.1:6881 [2001:db8::1]:6882",
            ),
            (b"d5:peers0:e", ""),
            (b"d8:intervali1800ee", ""),
            // Ports of 0, addresses of nobody and of many, and names are passed over.
            (
                b"d5:peers24:\xc0\x00\x02\x01\x00\x00\x00\x00\x00\x00\x1a\xe1\
                  \xe0\x00\x00\x01\x1a\xe1\xff\xff\xff\xff\x1a\xe1e",
                "",
            ),
            (b"d5:peersld2:ip9:localhost4:porti1eed2:ip7:1.2.3.44:porti65536eei5e0:leleee", ""),
            // An IPv4 address in IPv6's clothes is one of IPv4.
            (
                b"d6:peers618:\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01\x00\x01e",
                "192.0.2.1:1",
            ),
        ];
        for (bytes, peers) in table {
            assert_eq!(shown(&parse_answer(bytes).unwrap()), peers, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_is_said_beside_the_peers_is_kept() {
        let answer = parse_answer(
            b"d8:completei3e10:downloadedi7e11:external ip4:\xc6\x33\x64\x02\
              10:incompletei-5e8:intervali-9e12:min intervali60e5:peers0:10:tracker id2:\x00x\
              15:warning message14:be\x1b[2J\xe2\x80\xaeware\x00e",
        )
        .unwrap();
        assert_eq!((answer.interval, answer.min_interval), (Some(-9), Some(60)));
        assert_eq!(answer.tracker_id.as_deref(), Some(&b"\x00x"[..]));
        assert_eq!(answer.warning.as_deref(), Some("be[2Jware"));
        assert_eq!(answer.seen_as, Some(IpAddr::from([198, 51, 100, 2])));
        let counts = Counts { seeders: Some(3), leechers: None, completed: Some(7) };
        assert_eq!(answer.counts, counts);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let deep = [b"d1:a".as_slice(), &[b'l'; 100], &[b'e'; 100], b"e"].concat();
        let table: [(&[u8], &str); 12] = [
            (b"", "not bencode"),
            (b"<html>not found</html>", "not bencode"),
            (b"d5:peers6:abce", "not bencode"),
            (b"d5:peers6:abcdefe and more", "not bencode"),
            (&deep, "not bencode"),
            (b"5:peers", "no 'interval'"),
            (b"de", "no 'peers'"),
            (b"d5:peersi1ee", "wrong 'peers'"),
            (b"d5:peers5:abcdee", "wrong 'peers'"),
            (b"d6:peers66:abcdefe", "wrong 'peers6'"),
            (b"d6:peers6lee", "wrong 'peers6'"),
            (b"d14:failure reason12:unregistered5:peers0:e", "it refuses: unregistered"),
        ];
        for (bytes, expected) in table {
            let refusal = parse_answer(bytes).unwrap_err().to_string();
            assert!(refusal.contains(expected), "{}: {refusal}", bytes.escape_ascii());
        }
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let entries = 10 * limits::PEERS_ANSWERED_MAX;
        let list = [192, 0, 2, 1, 0x1a, 0xe1].repeat(entries);
        let compact = [format!("d5:peers{}:", list.len()).as_bytes(), &list, b"e"].concat();
        let listed = format!("d5:peersl{}ee", "d2:ip7:1.2.3.44:porti1ee".repeat(entries));
        for bytes in [compact, listed.into_bytes()] {
            assert_eq!(parse_answer(&bytes).unwrap().peers.len(), limits::PEERS_ANSWERED_MAX);
        }
    }

    #[test]
    fn a_scrape_tells_of_its_torrent() {
        let hash = InfoHash([b'h'; 20]);
        let bytes = b"d5:filesd20:gggggggggggggggggggg\
                      d8:completei9ee20:hhhhhhhhhhhhhhhhhhhhd8:completei1e10:downloadedi3e10:incompletei2eeee";
        let counts = Counts { seeders: Some(1), leechers: Some(2), completed: Some(3) };
        assert_eq!(parse_counts(bytes, hash), Ok(counts));
        assert_eq!(parse_counts(b"d5:filesdee", hash), Err(Refusal::Unknown));
        assert_eq!(parse_counts(b"de", hash), Err(Refusal::Missing("files")));
        let failure = parse_counts(b"d14:failure reason2:noe", hash);
        assert_eq!(failure, Err(Refusal::Failure("no".into())));
    }
}
