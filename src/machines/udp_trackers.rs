//! A client of UDP trackers (BEP 15): any number of announces at once, each asking first for a
//! connection and then its question, again and again until an answer comes.
//!
//! Datagrams and the time come in, datagrams and news go out.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::formats::announce::udp::{Question, Reply};
use crate::formats::announce::{Answer, Refusal};
use crate::words::limits::trackers as limits;
use crate::words::rng::Rng;

/// The number by which whoever asks knows an answer.
pub type Number = u64;

/// What is found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A tracker answered at this address.
    Replied(Number, IpAddr, Reply),
    /// Nothing more will come of a question; why, if nothing came of it at all.
    Over(Number, Result<(), String>),
}

/// A datagram to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

/// All questions that are under way.
#[derive(Debug)]
pub struct UdpTrackers {
    rng: Rng,
    /// By the transaction under which each was asked last.
    asks: BTreeMap<u32, Ask>,
    /// Of each question, the addresses from which no answer has come, and whether one has.
    groups: BTreeMap<Number, Group>,
    /// What trackers have answered for a connection, and when.
    connections: BTreeMap<SocketAddr, (u64, Instant)>,
    transmits: VecDeque<Transmit>,
    news: VecDeque<News>,
}

/// A question to one address.
#[derive(Debug)]
struct Ask {
    number: Number,
    to: SocketAddr,
    question: Question,
    connecting: bool,
    tries: u32,
    again: Instant,
    until: Instant,
}

#[derive(Debug)]
struct Group {
    open: u32,
    answered: bool,
}

impl UdpTrackers {
    /// One that has asked nothing. Its transactions follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            asks: BTreeMap::new(),
            groups: BTreeMap::new(),
            connections: BTreeMap::new(),
            transmits: VecDeque::new(),
            news: VecDeque::new(),
        }
    }

    /// Asks a tracker that has these addresses: the first of each family (BEP 7).
    pub fn ask(
        &mut self,
        now: Instant,
        number: Number,
        addresses: &[SocketAddr],
        question: &Question,
    ) {
        let first = |v4: bool| addresses.iter().copied().find(|address| address.is_ipv4() == v4);
        let each = [first(true), first(false)];
        let open = u32::try_from(each.iter().flatten().count()).expect("at most two");
        if open == 0 {
            let why = Err("its name has no address".to_owned());
            self.news.push_back(News::Over(number, why));
            return;
        }
        self.groups.insert(number, Group { open, answered: false });
        for to in each.into_iter().flatten() {
            let ask = Ask {
                number,
                to,
                question: question.clone(),
                connecting: true,
                tries: 0,
                again: now,
                until: now + limits::ANNOUNCE_TIMEOUT,
            };
            self.send(now, ask);
        }
    }

    /// A datagram came.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        // What is no reply is nobody's: the question is asked again.
        let Ok((transaction, reply)) = Reply::parse(bytes, from.ip()) else { return };
        // A host with several addresses may answer from another than it was asked at.
        let fits = |ask: &Ask| {
            let port = ask.to.port() == from.port();
            port && ask.to.is_ipv4() == from.is_ipv4() && is_of(&reply, ask)
        };
        if !self.asks.get(&transaction).is_some_and(fits) {
            return;
        }
        let Some(mut ask) = self.asks.remove(&transaction) else { return };
        if let Reply::Connected(connection) = reply {
            self.connections.retain(|_, (_, got)| now < *got + limits::UDP_CONNECTION_FOR);
            if self.connections.len() < limits::UDP_CONNECTIONS_MAX {
                self.connections.insert(ask.to, (connection, now));
            }
            ask.connecting = false;
            ask.tries = 0;
            return self.send_under(now, ask, connection);
        }
        if matches!(reply, Reply::Refused(_)) {
            // It may be the connection that it refuses.
            self.connections.remove(&ask.to);
        }
        self.news.push_back(News::Replied(ask.number, from.ip(), reply));
        self.settle(now, ask.number, Ok(()));
    }

    /// What is due is asked again, or given up.
    pub fn handle_time(&mut self, now: Instant) {
        let due = |ask: &Ask| ask.again <= now || ask.until <= now;
        let due: Vec<u32> =
            self.asks.iter().filter(|(_, ask)| due(ask)).map(|(number, _)| *number).collect();
        for transaction in due {
            let Some(ask) = self.asks.remove(&transaction) else { continue };
            if ask.until <= now {
                self.settle(now, ask.number, Err("it does not answer".to_owned()));
            } else {
                self.send(now, ask);
            }
        }
    }

    /// When [`handle_time`](Self::handle_time) is to be called.
    pub fn poll_deadline(&self) -> Option<Instant> {
        self.asks.values().map(|ask| ask.again.min(ask.until)).min()
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next of what was found out.
    pub fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// Asks for a connection, or, where there is one, the question.
    fn send(&mut self, now: Instant, mut ask: Ask) {
        let connection = self.connections.get(&ask.to);
        let lasting = connection.filter(|(_, got)| now < *got + limits::UDP_CONNECTION_FOR);
        match lasting.map(|(connection, _)| *connection) {
            Some(connection) => {
                ask.connecting = false;
                self.send_under(now, ask, connection);
            }
            None => {
                ask.connecting = true;
                self.send_under(now, ask, 0);
            }
        }
    }

    fn send_under(&mut self, now: Instant, mut ask: Ask, connection: u64) {
        let mut transaction = self.rng.below(u32::MAX);
        while self.asks.contains_key(&transaction) {
            transaction = self.rng.below(u32::MAX);
        }
        let question = if ask.connecting { &Question::Connect } else { &ask.question };
        let bytes = question.encode(connection, transaction);
        self.transmits.push_back(Transmit { to: ask.to, bytes });
        ask.again = now + limits::UDP_AGAIN * (1 << ask.tries.min(8));
        ask.tries += 1;
        self.asks.insert(transaction, ask);
    }

    /// One address of a question is done with. Once another has answered, the rest has little time.
    fn settle(&mut self, now: Instant, number: Number, outcome: Result<(), String>) {
        let Some(group) = self.groups.get_mut(&number) else { return };
        group.open -= 1;
        group.answered |= outcome.is_ok();
        if group.open > 0 {
            if group.answered {
                let until = now + limits::IMPATIENCE;
                let others = self.asks.values_mut().filter(|ask| ask.number == number);
                others.for_each(|ask| ask.until = ask.until.min(until));
            }
            return;
        }
        let outcome = if group.answered { Ok(()) } else { outcome };
        self.groups.remove(&number);
        self.news.push_back(News::Over(number, outcome));
    }

    /// Questions under way, and connections that are remembered.
    pub fn footprint(&self) -> [usize; 2] {
        [self.asks.len(), self.connections.len()]
    }
}

/// Whether a reply can be one to what was asked last.
fn is_of(reply: &Reply, ask: &Ask) -> bool {
    match reply {
        Reply::Connected(_) => ask.connecting,
        Reply::Announced { .. } => {
            !ask.connecting && matches!(ask.question, Question::Announce(..))
        }
        Reply::Scraped(_) => !ask.connecting && matches!(ask.question, Question::Scrape(_)),
        Reply::Refused(_) => true,
    }
}

/// The answer that a reply to an announce is.
///
/// # Errors
/// If the tracker refuses.
pub fn answer_of(reply: Reply) -> Result<Answer, Refusal> {
    match reply {
        Reply::Announced { interval, counts, peers } => {
            Ok(Answer { interval: Some(interval.into()), counts, peers, ..Answer::default() })
        }
        Reply::Refused(why) => Err(Refusal::Failure(why)),
        Reply::Connected(_) | Reply::Scraped(_) => Err(Refusal::Missing("peers")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::formats::announce::{Announce, Counts};
    use crate::machines::made_up;
    use crate::words::id::{InfoHash, PeerId};

    const SECOND: Duration = Duration::from_secs(1);

    fn announce() -> Question {
        let announce = Announce {
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId([2; 20]),
            key: 3,
            port: 6881,
            uploaded: 0,
            downloaded: 0,
            left: 1,
            event: None,
            wanted: 50,
        };
        Question::Announce(Box::new(announce), b"/announce".to_vec())
    }

    /// A client, the time, and what it asked last.
    struct Drive {
        trackers: UdpTrackers,
        now: Instant,
    }

    impl Drive {
        fn new() -> Self {
            Self { trackers: UdpTrackers::new(1), now: made_up::start() }
        }

        fn asks(&mut self, number: Number, addresses: &[&str]) {
            let addresses: Vec<_> = addresses.iter().map(|text| text.parse().unwrap()).collect();
            self.trackers.ask(self.now, number, &addresses, &announce());
        }

        /// The datagrams that are sent now: to whom, under which transaction, and what.
        fn sent(&mut self) -> Vec<(SocketAddr, u32, Question)> {
            let sent = std::iter::from_fn(|| self.trackers.poll_transmit());
            let read = sent.map(|transmit| {
                let (connection, transaction, question) = Question::parse(&transmit.bytes).unwrap();
                assert!(question == Question::Connect || connection == 77);
                (transmit.to, transaction, question)
            });
            read.collect()
        }

        fn replies(&mut self, from: SocketAddr, transaction: u32, reply: &Reply) {
            let bytes = reply.encode(transaction, from.ip());
            self.trackers.handle_datagram(self.now, from, &bytes);
        }

        fn waits(&mut self, time: Duration) {
            let until = self.now + time;
            while let Some(due) = self.trackers.poll_deadline().filter(|due| *due <= until) {
                self.now = due;
                self.trackers.handle_time(due);
            }
            self.now = until;
        }

        fn news(&mut self) -> Vec<News> {
            std::iter::from_fn(|| self.trackers.poll_news()).collect()
        }
    }

    fn announced() -> Reply {
        Reply::Announced { interval: 60, counts: zero(), peers: Vec::new() }
    }

    fn zero() -> Counts {
        Counts { seeders: Some(0), leechers: Some(0), completed: None }
    }

    #[test]
    fn a_connection_comes_first_and_serves_for_a_minute() {
        let mut drive = Drive::new();
        drive.asks(1, &["192.0.2.1:6969"]);
        let [(to, transaction, question)] = drive.sent().try_into().unwrap();
        assert_eq!(question, Question::Connect);
        drive.replies(to, transaction, &Reply::Connected(77));
        let [(to, transaction, question)] = drive.sent().try_into().unwrap();
        assert_eq!(question, announce());
        drive.replies(to, transaction, &announced());
        let replied = News::Replied(1, to.ip(), announced());
        assert_eq!(drive.news(), [replied, News::Over(1, Ok(()))]);
        drive.waits(59 * SECOND);
        drive.asks(2, &["192.0.2.1:6969"]);
        let [(_, _, question)] = drive.sent().try_into().unwrap();
        assert_eq!(question, announce());
        drive.waits(SECOND);
        drive.asks(3, &["192.0.2.1:6969"]);
        let [(_, _, question)] = drive.sent().try_into().unwrap();
        assert_eq!(question, Question::Connect);
    }

    #[test]
    fn what_is_lost_is_asked_again_after_15_and_30_seconds_and_given_up() {
        let mut drive = Drive::new();
        drive.asks(1, &["192.0.2.1:6969"]);
        let mut seconds = Vec::new();
        for second in 0..60 {
            if !drive.sent().is_empty() {
                seconds.push(second);
            }
            drive.waits(SECOND);
        }
        assert_eq!(seconds, [0, 15]);
        assert_eq!(drive.news(), [News::Over(1, Err("it does not answer".into()))]);
        assert_eq!(drive.trackers.footprint(), [0, 0]);
    }

    #[test]
    fn what_nobody_asked_for_is_passed_over() {
        let mut drive = Drive::new();
        drive.asks(1, &["192.0.2.1:6969"]);
        let [(to, transaction, _)] = drive.sent().try_into().unwrap();
        let other_port = "192.0.2.1:6970".parse().unwrap();
        let other_family = "[2001:db8::1]:6969".parse().unwrap();
        drive.replies(to, transaction ^ 1, &Reply::Connected(77));
        drive.replies(other_port, transaction, &Reply::Connected(77));
        drive.replies(other_family, transaction, &Reply::Connected(77));
        drive.replies(to, transaction, &announced());
        drive.replies(to, transaction, &Reply::Scraped(vec![zero()]));
        drive.trackers.handle_datagram(drive.now, to, &[0; 15]);
        drive.trackers.handle_datagram(drive.now, to, b"");
        assert!(drive.sent().is_empty() && drive.news().is_empty());
        let other_address = "192.0.2.2:6969".parse().unwrap();
        drive.replies(other_address, transaction, &Reply::Connected(77));
        assert_eq!(drive.sent().len(), 1);
    }

    #[test]
    fn both_families_are_asked_and_one_answer_is_enough() {
        let mut drive = Drive::new();
        drive.asks(1, &["192.0.2.1:6969", "192.0.2.2:6969", "[2001:db8::1]:6969"]);
        let [(to, transaction, _), (v6, ..)] = drive.sent().try_into().unwrap();
        assert!(v6.is_ipv6());
        drive.replies(to, transaction, &Reply::Connected(77));
        let [(to, transaction, _)] = drive.sent().try_into().unwrap();
        drive.replies(to, transaction, &announced());
        assert_eq!(drive.news().len(), 1);
        drive.waits(limits::IMPATIENCE);
        assert_eq!(drive.news(), [News::Over(1, Ok(()))]);
    }

    #[test]
    fn a_refusal_is_told_and_its_connection_forgotten() {
        let mut drive = Drive::new();
        drive.asks(1, &["192.0.2.1:6969"]);
        let [(to, transaction, _)] = drive.sent().try_into().unwrap();
        drive.replies(to, transaction, &Reply::Connected(77));
        let [(_, transaction, _)] = drive.sent().try_into().unwrap();
        drive.replies(to, transaction, &Reply::Refused("no".into()));
        let replied = News::Replied(1, to.ip(), Reply::Refused("no".into()));
        assert_eq!(drive.news(), [replied, News::Over(1, Ok(()))]);
        assert_eq!(drive.trackers.footprint(), [0, 0]);
        assert_eq!(answer_of(Reply::Refused("no".into())), Err(Refusal::Failure("no".into())));
    }

    #[test]
    fn a_name_without_an_address_is_over_at_once() {
        let mut drive = Drive::new();
        drive.asks(1, &[]);
        assert_eq!(drive.news(), [News::Over(1, Err("its name has no address".into()))]);
    }
}
