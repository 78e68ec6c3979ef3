//! The datagrams of UDP trackers (BEP 15), with the path of the URL behind an announce (BEP 41). All
//! numbers are big-endian. Datagrams may be longer than what is known of them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::formats::announce::answers::{keep, v4, v6};
use crate::formats::announce::{Announce, Counts, Event};
use crate::formats::client::cleaned_to;
use crate::words::id::{InfoHash, PeerId};
use crate::words::limits::trackers as limits;

/// What a first question begins with.
const PROTOCOL: u64 = 0x417_2710_1980;

const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;

/// Where the options of an announce begin (BEP 41).
const OPTIONS: usize = 98;
const END_OF_OPTIONS: u8 = 0;
const NO_OPTION: u8 = 1;
const URL_DATA: u8 = 2;

/// A question of a client. Each has a number of the client's choice, which the answer repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// For a connection, without which nothing else is answered: it shows that the client is where
    /// its datagrams say it is.
    Connect,
    /// An announce, and the path and query of the tracker's URL.
    Announce(Box<Announce>, Vec<u8>),
    /// How many share these torrents.
    Scrape(Vec<InfoHash>),
}

/// What a tracker answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The connection.
    Connected(u64),
    /// Who shares the torrent.
    Announced {
        /// Seconds until the tracker wants to hear again.
        interval: i32,
        /// How many share it.
        counts: Counts,
        /// Some of them.
        peers: Vec<SocketAddr>,
    },
    /// How many share each of the torrents asked for, in their order.
    Scraped(Vec<Counts>),
    /// Why not: one line, fit to be shown.
    Refused(String),
}

/// Why a datagram is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable(&'static str);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unreadable {}

const SHORT: Unreadable = Unreadable("its answer is too short");

/// Bytes, from the front.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (first, rest) = self.0.split_first_chunk::<N>().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*first)
    }

    fn u32(&mut self) -> Result<u32, Unreadable> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Unreadable> {
        self.take().map(u64::from_be_bytes)
    }
}

impl Question {
    /// The datagram that asks this under `transaction`, with the `connection` that was answered; for
    /// [`Connect`](Self::Connect) it is passed over.
    pub fn encode(&self, connection: u64, transaction: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(OPTIONS);
        let mut head = |connection: u64, action: u32| {
            bytes.extend(connection.to_be_bytes());
            bytes.extend(action.to_be_bytes());
            bytes.extend(transaction.to_be_bytes());
        };
        match self {
            Self::Connect => head(PROTOCOL, CONNECT),
            Self::Announce(announce, url) => {
                head(connection, ANNOUNCE);
                put_announce(announce, &mut bytes);
                // A string longer than one option has room for is cut into several.
                for part in url.chunks(u8::MAX.into()) {
                    let len = u8::try_from(part.len()).expect("a chunk of at most 255");
                    bytes.extend([URL_DATA, len]);
                    bytes.extend(part);
                }
                if !url.is_empty() {
                    bytes.push(END_OF_OPTIONS);
                }
            }
            Self::Scrape(torrents) => {
                head(connection, SCRAPE);
                torrents.iter().for_each(|torrent| bytes.extend(torrent.0));
            }
        }
        bytes
    }

    /// Reads a question: the connection, the transaction, and what is asked. The address that an
    /// announce may name is passed over, since it is not the one that asks.
    ///
    /// # Errors
    /// If it is too short, or asks for nothing that is known.
    pub fn parse(bytes: &[u8]) -> Result<(u64, u32, Self), Unreadable> {
        let mut cursor = Cursor(bytes);
        let connection = cursor.u64()?;
        let (action, transaction) = (cursor.u32()?, cursor.u32()?);
        let question = match action {
            CONNECT if connection == PROTOCOL => Self::Connect,
            ANNOUNCE => {
                let announce = take_announce(&mut cursor)?;
                Self::Announce(Box::new(announce), url_data(cursor.0))
            }
            SCRAPE => {
                let (torrents, _) = cursor.0.as_chunks::<20>();
                let torrents = torrents.iter().take(limits::SCRAPED_MAX);
                Self::Scrape(torrents.map(|torrent| InfoHash(*torrent)).collect())
            }
            _ => return Err(Unreadable("it asks for nothing that is known")),
        };
        Ok((connection, transaction, question))
    }
}

fn put_announce(announce: &Announce, bytes: &mut Vec<u8>) {
    bytes.extend(announce.info_hash.0);
    bytes.extend(announce.peer_id.0);
    bytes.extend(announce.downloaded.to_be_bytes());
    bytes.extend(announce.left.to_be_bytes());
    bytes.extend(announce.uploaded.to_be_bytes());
    let event: u32 = match announce.event {
        None => 0,
        Some(Event::Completed) => 1,
        Some(Event::Started) => 2,
        Some(Event::Stopped) => 3,
    };
    bytes.extend(event.to_be_bytes());
    // The address that the tracker sees.
    bytes.extend(0_u32.to_be_bytes());
    bytes.extend(announce.key.to_be_bytes());
    bytes.extend(announce.wanted.to_be_bytes());
    bytes.extend(announce.port.to_be_bytes());
}

fn take_announce(cursor: &mut Cursor<'_>) -> Result<Announce, Unreadable> {
    let (info_hash, peer_id) = (InfoHash(cursor.take()?), PeerId(cursor.take()?));
    let (downloaded, left, uploaded) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
    let event = match cursor.u32()? {
        1 => Some(Event::Completed),
        2 => Some(Event::Started),
        3 => Some(Event::Stopped),
        _ => None,
    };
    let _address = cursor.u32()?;
    let (key, wanted) = (cursor.u32()?, cursor.u32()?);
    let port = u16::from_be_bytes(cursor.take()?);
    Ok(Announce { info_hash, peer_id, key, port, uploaded, downloaded, left, event, wanted })
}

/// What the options of an announce say of the URL (BEP 41).
fn url_data(mut options: &[u8]) -> Vec<u8> {
    let mut url = Vec::new();
    loop {
        match options {
            [NO_OPTION, rest @ ..] => options = rest,
            [] | [END_OF_OPTIONS, ..] | [_] => return url,
            [kind, len, rest @ ..] => {
                let Some((data, rest)) = rest.split_at_checked(usize::from(*len)) else {
                    return url;
                };
                if *kind == URL_DATA {
                    url.extend(data);
                }
                options = rest;
            }
        }
    }
}

impl Reply {
    /// The datagram that answers the question of `transaction`. Peers of another family than the
    /// asker's are left out, since the length of an entry follows from it.
    pub fn encode(&self, transaction: u32, asker: IpAddr) -> Vec<u8> {
        let mut bytes = Vec::new();
        let action = match self {
            Self::Connected(_) => CONNECT,
            Self::Announced { .. } => ANNOUNCE,
            Self::Scraped(_) => SCRAPE,
            Self::Refused(_) => ERROR,
        };
        bytes.extend(action.to_be_bytes());
        bytes.extend(transaction.to_be_bytes());
        let mut number = |number: Option<u64>| {
            let number = u32::try_from(number.unwrap_or(0)).unwrap_or(u32::MAX);
            bytes.extend(number.to_be_bytes());
        };
        match self {
            Self::Connected(connection) => bytes.extend(connection.to_be_bytes()),
            Self::Announced { interval, counts, peers } => {
                number(u64::try_from(*interval).ok());
                number(counts.leechers);
                number(counts.seeders);
                for peer in peers.iter().filter(|peer| peer.is_ipv4() == asker.is_ipv4()) {
                    put_peer(*peer, &mut bytes);
                }
            }
            Self::Scraped(all) => {
                for counts in all {
                    number(counts.seeders);
                    number(counts.completed);
                    number(counts.leechers);
                }
            }
            Self::Refused(why) => bytes.extend(why.as_bytes()),
        }
        bytes
    }

    /// Reads what came from a tracker of such an address: the transaction, and the answer to it. Of
    /// the peers, those are kept that can be dialled, at most [`limits::PEERS_ANSWERED_MAX`].
    ///
    /// # Errors
    /// If it is too short for what it says it is, or says nothing that is known.
    pub fn parse(bytes: &[u8], tracker: IpAddr) -> Result<(u32, Self), Unreadable> {
        let mut cursor = Cursor(bytes);
        let (action, transaction) = (cursor.u32()?, cursor.u32()?);
        let reply = match action {
            CONNECT => Self::Connected(cursor.u64()?),
            ANNOUNCE => {
                let interval = i32::from_be_bytes(cursor.take()?);
                let (leechers, seeders) = (cursor.u32()?.into(), cursor.u32()?.into());
                let counts =
                    Counts { seeders: Some(seeders), leechers: Some(leechers), completed: None };
                Self::Announced { interval, counts, peers: take_peers(cursor.0, tracker)? }
            }
            SCRAPE => {
                let (all, _) = cursor.0.as_chunks::<12>();
                let counts = |entry: &[u8; 12]| {
                    let (numbers, _) = entry.as_chunks::<4>();
                    let number = |at: usize| numbers.get(at).copied().map(u32::from_be_bytes);
                    let [seeders, completed, leechers] =
                        [0, 1, 2].map(|at| number(at).map(u64::from));
                    Counts { seeders, leechers, completed }
                };
                Self::Scraped(all.iter().take(limits::SCRAPED_MAX).map(counts).collect())
            }
            ERROR => Self::Refused(cleaned_to(cursor.0, limits::MESSAGE_LEN_MAX)),
            _ => return Err(Unreadable("its answer is of no known kind")),
        };
        Ok((transaction, reply))
    }
}

/// A peer's address and port as compact lists have them.
pub fn put_peer(peer: SocketAddr, bytes: &mut Vec<u8>) {
    match peer.ip() {
        IpAddr::V4(ip) => bytes.extend(ip.octets()),
        IpAddr::V6(ip) => bytes.extend(ip.octets()),
    }
    bytes.extend(peer.port().to_be_bytes());
}

fn take_peers(list: &[u8], tracker: IpAddr) -> Result<Vec<SocketAddr>, Unreadable> {
    let mut peers = Vec::new();
    let rest = if tracker.is_ipv4() {
        let (entries, rest) = list.as_chunks::<6>();
        entries.iter().for_each(|entry| keep(&mut peers, v4(entry)));
        rest
    } else {
        let (entries, rest) = list.as_chunks::<18>();
        entries.iter().for_each(|entry| keep(&mut peers, v6(entry)));
        rest
    };
    if rest.is_empty() {
        Ok(peers)
    } else {
        Err(Unreadable("its list of peers has a wrong length"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    fn announce() -> Announce {
        Announce {
            info_hash: InfoHash([b'h'; 20]),
            peer_id: PeerId([b'p'; 20]),
            key: 0x0102_0304,
            port: 6881,
            uploaded: 3,
            downloaded: 1,
            left: 2,
            event: Some(Event::Started),
            wanted: u32::MAX,
        }
    }

    /// The tables of BEP 15, "UDP tracker protocol", byte by byte.
    #[test]
    fn questions_stand_as_the_tables_have_them() {
        let connect = Question::Connect.encode(9, 0xaabb_ccdd);
        assert_eq!(connect, *b"\x00\x00\x04\x17\x27\x10\x19\x80\x00\x00\x00\x00\xaa\xbb\xcc\xdd");
        let table = [
            b"\x00\x00\x00\x00\x00\x00\x00\x09".as_slice(), // connection_id
            b"\x00\x00\x00\x01",                            // action
            b"\xaa\xbb\xcc\xdd",                            // transaction_id
            &[b'h'; 20],                                    // info_hash
            &[b'p'; 20],                                    // peer_id
            b"\x00\x00\x00\x00\x00\x00\x00\x01",            // downloaded
            b"\x00\x00\x00\x00\x00\x00\x00\x02",            // left
            b"\x00\x00\x00\x00\x00\x00\x00\x03",            // uploaded
            b"\x00\x00\x00\x02",                            // event
            b"\x00\x00\x00\x00",                            // IP address
            b"\x01\x02\x03\x04",                            // key
            b"\xff\xff\xff\xff",                            // num_want
            b"\x1a\xe1",                                    // port
        ];
        let question = Question::Announce(Box::new(announce()), Vec::new());
        assert_eq!(question.encode(9, 0xaabb_ccdd), table.concat());
        let scrape = Question::Scrape(vec![InfoHash([b'h'; 20]), InfoHash([b'i'; 20])]);
        let head = b"\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x02\xaa\xbb\xcc\xdd";
        let table = [head.as_slice(), &[b'h'; 20], &[b'i'; 20]];
        assert_eq!(scrape.encode(9, 0xaabb_ccdd), table.concat());
        for question in [Question::Connect, question, scrape] {
            let bytes = question.encode(9, 7);
            let (connection, transaction, read) = Question::parse(&bytes).unwrap();
            let connected = question != Question::Connect;
            assert_eq!((connection, transaction), (if connected { 9 } else { PROTOCOL }, 7));
            assert_eq!(read, question);
            // Longer ones may come of later versions, shorter ones may not.
            let longer = [bytes.as_slice(), &[0; 3]].concat();
            assert_eq!(Question::parse(&longer).unwrap().2, question);
            let least = if matches!(question, Question::Scrape(_)) { 16 } else { bytes.len() };
            for len in 0..least {
                assert_eq!(Question::parse(&bytes[..len]), Err(SHORT));
            }
        }
    }

    #[test]
    fn replies_stand_as_the_tables_have_them() {
        let counts = Counts { seeders: Some(3), leechers: Some(2), completed: None };
        let peers = vec!["192.0.2.1:6881".parse().unwrap(), "[2001:db8::1]:6882".parse().unwrap()];
        let announced = Reply::Announced { interval: 1800, counts, peers };
        let head =
            b"\x00\x00\x00\x01\x00\x00\x00\x07\x00\x00\x07\x08\x00\x00\x00\x02\x00\x00\x00\x03";
        let v4 = [head.as_slice(), b"\xc0\x00\x02\x01\x1a\xe1"].concat();
        let v6 = [head.as_slice(), b"\x20\x01\x0d\xb8", &[0; 11], b"\x01\x1a\xe2"].concat();
        assert_eq!(announced.encode(7, V4), v4);
        assert_eq!(announced.encode(7, V6), v6);
        for (bytes, family, peer) in [(v4, V4, "192.0.2.1:6881"), (v6, V6, "[2001:db8::1]:6882")] {
            let peers = vec![peer.parse().unwrap()];
            let read = Reply::Announced { interval: 1800, counts, peers };
            assert_eq!(Reply::parse(&bytes, family), Ok((7, read)));
            assert!(Reply::parse(&bytes[..bytes.len() - 1], family).is_err());
        }
        let all = Counts { completed: Some(4), ..counts };
        let table = [
            (
                Reply::Connected(0x0102_0304_0506_0708),
                b"\x00\x00\x00\x00\x00\x00\x00\x07\x01\x02\x03\x04\x05\x06\x07\x08".as_slice(),
            ),
            (
                Reply::Scraped(vec![all]),
                b"\x00\x00\x00\x02\x00\x00\x00\x07\x00\x00\x00\x03\x00\x00\x00\x04\x00\x00\x00\x02",
            ),
            (Reply::Refused("no".into()), b"\x00\x00\x00\x03\x00\x00\x00\x07no"),
        ];
        for (reply, bytes) in table {
            assert_eq!(reply.encode(7, V4), bytes);
            assert_eq!(Reply::parse(bytes, V4), Ok((7, reply)));
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let table: [&[u8]; 5] = [
            b"",
            b"\x00\x00\x00\x00\x00\x00\x00",
            b"\x00\x00\x00\x00\x00\x00\x00\x07\x01\x02\x03",
            b"\x00\x00\x00\x01\x00\x00\x00\x07\x00\x00\x07\x08\x00\x00\x00\x02\x00\x00",
            b"\x00\x00\x00\x09\x00\x00\x00\x07",
        ];
        for bytes in table {
            assert!(Reply::parse(bytes, V4).is_err(), "{}", bytes.escape_ascii());
        }
        let shown = Reply::parse(b"\x00\x00\x00\x03\x00\x00\x00\x07a\x1b[2Jb", V4).unwrap().1;
        assert_eq!(shown, Reply::Refused("a[2Jb".into()));
    }

    /// BEP 41: options of one byte, of others, of several parts, and cut off.
    #[test]
    fn the_url_stands_behind_an_announce() {
        let long = vec![b'u'; 600];
        for url in [b"/announce?x=y".to_vec(), long] {
            let question = Question::Announce(Box::new(announce()), url);
            assert_eq!(Question::parse(&question.encode(9, 7)).unwrap().2, question);
        }
        let table: [(&[u8], &[u8]); 6] = [
            (b"", b""),
            (b"\x02\x03/an\x02\x02no\x00\x02\x01x", b"/anno"),
            (b"\x01\x01\x02\x01/", b"/"),
            (b"\x09\x02ab\x02\x01/", b"/"),
            (b"\x02\x05/an", b""),
            (b"\x02", b""),
        ];
        for (options, url) in table {
            assert_eq!(url_data(options), url, "{}", options.escape_ascii());
        }
    }
}
