//! A tracker: what it answers to datagrams (BEP 15) and to HTTP requests (BEP 3, 7, 23, 48).
//!
//! For a datagram it keeps nothing of who asks: the connection that a client must show follows from
//! its address, the time and a secret.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use sha1::{Digest, Sha1};

use crate::formats::announce::asked::{Asked, answer, parse, refusal, scraped};
use crate::formats::announce::udp::{Question, Reply};
use crate::machines::swarms::{Held, Swarms, Told};
use crate::words::id::InfoHash;
use crate::words::limits::trackers as limits;

/// The machine.
#[derive(Debug)]
pub struct Tracker {
    swarms: Swarms,
    interval: Duration,
    secret: [u8; 20],
    begun: Instant,
    counters: Counters,
}

/// What was asked since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Announces, by HTTP and by UDP.
    pub announces: u64,
    /// Scrapes.
    pub scrapes: u64,
    /// Datagrams and requests that were not answered, or with a refusal.
    pub refused: u64,
}

/// What is answered to an HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The status, such as 200.
    pub status: u16,
    /// What the body is.
    pub kind: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

impl Page {
    /// Bencode, or a text.
    fn text(status: u16, body: Vec<u8>) -> Self {
        Self { status, kind: "text/plain", body }
    }
}

impl Tracker {
    /// A tracker that wants to hear each `interval`. Nobody may know the `secret`.
    pub fn new(interval: Duration, secret: [u8; 20], now: Instant) -> Self {
        let seed = secret.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).unwrap_or_default();
        let swarms = Swarms::new(interval, seed);
        Self { swarms, interval, secret, begun: now, counters: Counters::default() }
    }

    /// What is held, and what was asked.
    pub fn stats(&self) -> (Held, Counters) {
        (self.swarms.held(), self.counters)
    }

    /// A datagram came; the one that answers it, if any. To whoever has not shown that it is where it
    /// says, it is no longer than what it sent.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
    ) -> Option<Vec<u8>> {
        let Ok((connection, transaction, question)) = Question::parse(bytes) else {
            self.counters.refused += 1;
            return None;
        };
        if question == Question::Connect {
            let connection = self.connection(self.period(now), from);
            return Some(Reply::Connected(connection).encode(transaction, from.ip()));
        }
        if !self.is_connected(now, from, connection) {
            self.counters.refused += 1;
            return None;
        }
        let reply = match question {
            Question::Announce(announce, _) => {
                self.counters.announces += 1;
                let most =
                    if from.is_ipv4() { limits::PEERS_SENT_V4 } else { limits::PEERS_SENT_V6 };
                let (peers, counts) =
                    self.swarms.handle_announce(now, from.ip(), &announce, Told::SameFamily, most);
                let peers = peers.into_iter().map(|peer| peer.address).collect();
                let interval = i32::try_from(self.interval.as_secs()).unwrap_or(i32::MAX);
                Reply::Announced { interval, counts, peers }
            }
            Question::Scrape(torrents) => {
                self.counters.scrapes += 1;
                Reply::Scraped(
                    torrents.iter().map(|torrent| self.swarms.counts(*torrent)).collect(),
                )
            }
            Question::Connect => return None,
        };
        Some(reply.encode(transaction, from.ip()))
    }

    /// A request for `target` came from `ip`.
    pub fn handle_request(&mut self, now: Instant, ip: IpAddr, target: &str) -> Page {
        let asked = match parse(target) {
            Ok(asked) => asked,
            Err(why) => {
                self.counters.refused += 1;
                return Page::text(200, refusal(why));
            }
        };
        match asked {
            Asked::Announce(announce, compact) => {
                self.counters.announces += 1;
                let most = limits::PEERS_GIVEN_MAX;
                let (peers, counts) =
                    self.swarms.handle_announce(now, ip, &announce, Told::Both, most);
                let interval = self.interval.as_secs();
                Page::text(200, answer(&peers, counts, interval, compact, ip))
            }
            Asked::Scrape(torrents) if torrents.is_empty() => {
                self.counters.refused += 1;
                Page::text(200, refusal("name the torrents: ?info_hash="))
            }
            Asked::Scrape(torrents) => {
                self.counters.scrapes += 1;
                let counts = |torrent: InfoHash| (torrent, self.swarms.counts(torrent));
                let all: BTreeMap<_, _> = torrents.into_iter().map(counts).collect();
                Page::text(200, scraped(&all))
            }
            Asked::Stats => {
                Page { status: 200, kind: "application/json", body: self.stats_object() }
            }
            Asked::Nothing => {
                self.counters.refused += 1;
                let what = b"this is a tracker: /announce, /scrape and /stats\n".to_vec();
                Page::text(404, what)
            }
        }
    }

    fn stats_object(&self) -> Vec<u8> {
        let (held, counters) = self.stats();
        let Held { torrents, peers, seeders } = held;
        let Counters { announces, scrapes, refused } = counters;
        let object = format!(
            "{{\"torrents\":{torrents},\"peers\":{peers},\"seeders\":{seeders},\
             \"announces\":{announces},\"scrapes\":{scrapes},\"refused\":{refused}}}\n"
        );
        object.into_bytes()
    }

    /// Forgets who was not heard of for too long.
    pub fn handle_time(&mut self, now: Instant) {
        self.swarms.handle_time(now);
    }

    /// When [`handle_time`](Self::handle_time) is to be called.
    pub fn poll_deadline(&self) -> Option<Instant> {
        self.swarms.poll_deadline()
    }

    fn period(&self, now: Instant) -> u64 {
        let period = limits::CONNECTION_PERIOD.as_secs();
        now.saturating_duration_since(self.begun).as_secs() / period
    }

    /// Whether a connection was answered to this address in this period or the last: for one to two
    /// minutes (BEP 15).
    fn is_connected(&self, now: Instant, from: SocketAddr, connection: u64) -> bool {
        let period = self.period(now);
        let mut periods = [Some(period), period.checked_sub(1)].into_iter().flatten();
        periods.any(|period| self.connection(period, from) == connection)
    }

    /// The secret comes first, and all that follows has a fixed length but the address, which is last.
    fn connection(&self, period: u64, from: SocketAddr) -> u64 {
        let mut hash = Sha1::new();
        hash.update(self.secret);
        hash.update(period.to_be_bytes());
        hash.update(from.port().to_be_bytes());
        match from.ip() {
            IpAddr::V4(ip) => hash.update(ip.octets()),
            IpAddr::V6(ip) => hash.update(ip.octets()),
        }
        let hash: [u8; 20] = hash.finalize().into();
        let first = hash.first_chunk().expect("eight of twenty bytes");
        u64::from_be_bytes(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::announce::{Announce, Event, parse_answer, parse_counts};
    use crate::formats::url::Url;
    use crate::machines::made_up;
    use crate::words::id::PeerId;

    const INTERVAL: Duration = Duration::from_secs(1800);
    const HASH: InfoHash = InfoHash([1; 20]);

    fn announce(port: u16) -> Announce {
        Announce {
            info_hash: HASH,
            peer_id: PeerId([2; 20]),
            key: 0,
            port,
            uploaded: 0,
            downloaded: 0,
            left: 5,
            event: Some(Event::Started),
            wanted: u32::MAX,
        }
    }

    fn tracker() -> (Tracker, Instant) {
        let now = made_up::start();
        (Tracker::new(INTERVAL, [9; 20], now), now)
    }

    /// What is answered to a question by UDP.
    fn asks(
        tracker: &mut Tracker,
        now: Instant,
        from: &str,
        connection: u64,
        question: &Question,
    ) -> Option<Reply> {
        let from: SocketAddr = from.parse().unwrap();
        let bytes = tracker.handle_datagram(now, from, &question.encode(connection, 7))?;
        let (transaction, reply) = Reply::parse(&bytes, from.ip()).unwrap();
        assert_eq!(transaction, 7);
        Some(reply)
    }

    fn connects(tracker: &mut Tracker, now: Instant, from: &str) -> u64 {
        match asks(tracker, now, from, 0, &Question::Connect) {
            Some(Reply::Connected(connection)) => connection,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_client_connects_announces_and_scrapes_by_udp() {
        let (mut tracker, now) = tracker();
        let [one, two, six] = ["192.0.2.1:1", "192.0.2.2:1", "[2001:db8::1]:1"];
        for (from, expected) in [(one, ""), (two, "192.0.2.1:6881"), (six, "")] {
            let connection = connects(&mut tracker, now, from);
            let question = Question::Announce(Box::new(announce(6881)), b"/announce".to_vec());
            let reply = asks(&mut tracker, now, from, connection, &question);
            let Some(Reply::Announced { interval: 1800, peers, .. }) = reply else {
                panic!("{reply:?}")
            };
            let peers: Vec<_> = peers.iter().map(ToString::to_string).collect();
            assert_eq!(peers.join(" "), expected, "{from}");
        }
        let connection = connects(&mut tracker, now, one);
        let question = Question::Scrape(vec![HASH, InfoHash([3; 20])]);
        let Some(Reply::Scraped(counts)) = asks(&mut tracker, now, one, connection, &question)
        else {
            panic!("no counts")
        };
        assert_eq!(counts.iter().map(|c| c.leechers).collect::<Vec<_>>(), [Some(3), Some(0)]);
        let (held, counters) = tracker.stats();
        assert_eq!((held.torrents, held.peers, held.seeders), (1, 3, 0));
        assert_eq!((counters.announces, counters.scrapes, counters.refused), (3, 1, 0));
    }

    #[test]
    fn a_connection_is_for_one_address_and_two_minutes() {
        let (mut tracker, now) = tracker();
        let connection = connects(&mut tracker, now, "192.0.2.1:1");
        let question = Question::Scrape(vec![HASH]);
        let mut is_heard = |from: &str, seconds, connection| {
            let then = now + Duration::from_secs(seconds);
            asks(&mut tracker, then, from, connection, &question).is_some()
        };
        assert!(is_heard("192.0.2.1:1", 0, connection));
        assert!(is_heard("192.0.2.1:1", 119, connection));
        assert!(!is_heard("192.0.2.1:1", 120, connection));
        assert!(!is_heard("192.0.2.1:2", 0, connection));
        assert!(!is_heard("192.0.2.2:1", 0, connection));
        assert!(!is_heard("192.0.2.1:1", 0, connection ^ 1));
    }

    #[test]
    fn whoever_has_not_connected_gets_no_more_than_it_sends() {
        let (mut tracker, now) = tracker();
        let from = "192.0.2.1:1".parse().unwrap();
        let connect = Question::Connect.encode(0, 7);
        let answer = tracker.handle_datagram(now, from, &connect).unwrap();
        assert!(answer.len() <= connect.len());
        for bytes in [&[][..], &[0; 15], &[0; 16], &[0xff; 1500]] {
            assert_eq!(tracker.handle_datagram(now, from, bytes), None);
        }
        assert_eq!(tracker.stats().1.refused, 4);
    }

    #[test]
    fn a_client_announces_and_scrapes_by_http() {
        let (mut tracker, now) = tracker();
        let url = Url::parse("http://t.example/announce").unwrap();
        let mut asks = |ip: &str, target: &str| {
            let page = tracker.handle_request(now, ip.parse().unwrap(), target);
            assert_eq!(page.status, 200);
            page.body
        };
        let target = announce(6881).url(&url, None).target;
        asks("192.0.2.1", &target);
        asks("2001:db8::1", &target);
        let answer = parse_answer(&asks("192.0.2.2", &target)).unwrap();
        assert_eq!(answer.interval, Some(1800));
        assert_eq!(answer.peers.len(), 2, "of both families");
        let in_full = target.replace("compact=1", "compact=0");
        let answer = asks("192.0.2.2", &in_full);
        assert!(answer.windows(9).any(|window| window == b"192.0.2.1"));
        assert_eq!(parse_answer(&answer).unwrap().peers.len(), 2);
        let hash = "%01".repeat(20);
        let counts = parse_counts(&asks("192.0.2.1", &format!("/scrape?info_hash={hash}")), HASH);
        assert_eq!(counts.unwrap().leechers, Some(3));
        let stats = String::from_utf8(asks("192.0.2.1", "/stats")).unwrap();
        let expected =
            r#"{"torrents":1,"peers":3,"seeders":0,"announces":4,"scrapes":1,"refused":0}"#;
        assert_eq!(stats.trim_end(), expected);
    }

    #[test]
    fn what_makes_no_sense_is_answered_with_a_reason() {
        let (mut tracker, now) = tracker();
        let ip = "192.0.2.1".parse().unwrap();
        let table = [
            ("/announce?port=1", 200, "info_hash is missing"),
            ("/scrape", 200, "name the torrents"),
            ("/", 404, "this is a tracker"),
            ("/etc/passwd", 404, "this is a tracker"),
        ];
        for (target, status, expected) in table {
            let page = tracker.handle_request(now, ip, target);
            let body = String::from_utf8_lossy(&page.body);
            assert!(page.status == status && body.contains(expected), "{target}: {body}");
        }
        assert_eq!(tracker.stats().0, Held::default());
    }
}
