//! The node: the ring's state with all that keeps it, behind a few calls.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use crate::formats::krpc::{Answer, Body, Family, Message, Query, parse};
use crate::machines::chord::ring::Ring;
use crate::machines::chord::{Contact, News, Role, Settings, Transmit};
use crate::words::limits::ring as limits;
use crate::words::rng::Rng;
use crate::words::timers::Timers;

/// One place on one ring.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
    family: Family,
    now: Instant,
    rng: Rng,
    ring: Ring<Contact>,
    timers: Timers<Timer>,
    transmits: VecDeque<Transmit>,
    news: VecDeque<News>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// Nobody answered: ask for company again.
    Rejoin,
}

impl Node {
    /// A node whose socket is bound to `listen`, which may be a wildcard: then others tell it which
    /// address it has. All its chance comes from `seed`.
    pub fn new(settings: Settings, listen: SocketAddr, seed: u64, now: Instant) -> Self {
        Self {
            settings,
            rng: Rng::new(seed),
            family: Family::of(listen),
            now,
            ring: Ring::alone(Contact::at(listen)),
            timers: Timers::default(),
            transmits: VecDeque::new(),
            news: VecDeque::new(),
        }
    }

    /// Joins the ring of the nodes at `entry_points`; without any it is a ring of one.
    pub fn join(&mut self, now: Instant, entry_points: &[SocketAddr]) {
        self.now = now;
        if self.settings.role == Role::Client {
            self.news.push_back(News::Client);
        } else if entry_points.is_empty() {
            self.news.push_back(News::Joined(self.me().address));
        } else {
            self.stay_alone();
        }
    }

    /// A datagram came.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.now = now;
        let Ok(message) = parse(bytes, self.family) else { return };
        if let Body::Query(Query::Ping(None), _) = message.body {
            let body = Body::Answer(Answer::Done);
            let answer = Message { seen: Some(from), client: false, body, ..message };
            self.send(from, &answer);
        }
    }

    /// The deadline of [`poll_deadline`](Self::poll_deadline) has come.
    pub fn handle_time(&mut self, now: Instant) {
        self.now = now;
        if self.timers.pop_due(now) == Some(Timer::Rejoin) {
            self.stay_alone();
        }
    }

    fn stay_alone(&mut self) {
        self.news.push_back(News::Alone);
        let delay = limits::ALONE_RETRY * (50 + self.rng.below(101)) / 100;
        self.timers.start(self.now + delay, Timer::Rejoin);
    }

    fn send(&mut self, to: SocketAddr, message: &Message) {
        let bytes = message.encode(0);
        debug_assert!(bytes.len() <= limits::DATAGRAM_LEN_SENT, "{} bytes", bytes.len());
        self.transmits.push_back(Transmit { to, bytes });
    }

    /// Asserts every invariant; O(everything), for tests.
    pub fn check(&self) {
        assert!(self.timers.len() <= 1);
    }

    /// The node itself, under the address that it believes to have.
    pub fn me(&self) -> Contact {
        self.ring.me()
    }

    /// The nodes after it, the nearest first.
    pub fn successors(&self) -> &[Contact] {
        self.ring.successors()
    }

    /// The node before it.
    pub fn predecessor(&self) -> Option<Contact> {
        self.ring.predecessor()
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing to tell.
    pub fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// When [`handle_time`](Self::handle_time) is to be called, if nothing happens before.
    pub fn poll_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
    fn a_node_that_knows_nobody_is_a_ring_of_one_and_answers() {
        let now = Instant::now();
        let [me, other] = [1, 2].map(|last| SocketAddr::from(([127, 0, 0, last], 7000)));
        let mut node = Node::new(Settings::default(), me, 1, now);
        node.join(now, &[]);
        assert_eq!(node.poll_news(), Some(News::Joined(me)));
        let body = Body::Query(Query::Ping(None), None);
        let ping = Message { transaction: 7, seen: Some(me), client: false, body };
        node.handle_datagram(now, other, &ping.encode(0));
        let Transmit { to, bytes } = node.poll_transmit().unwrap();
        let answer = parse(&bytes, Family::V4).unwrap();
        assert_eq!((to, answer.transaction, answer.seen), (other, 7, Some(other)));
        assert_eq!(answer.body, Body::Answer(Answer::Done));
        node.check();
    }
}
