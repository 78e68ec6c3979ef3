//! Members that mean no good, beside honest ones.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rondalla::formats::krpc::{self, Answer, Body, Family, Message, Query, Route, Token};
use rondalla::machines::chord::Contact;
use rondalla::words::ring_id::RingId;
use rondalla::words::rng::Rng;

use super::machine::{Datagram, Machine};

/// An honest machine, or somebody who has one and misuses it.
pub(crate) struct Member<M> {
    pub(crate) machine: M,
    vice: Option<Vice>,
    rng: Rng,
    /// Whom it has heard of.
    victims: Vec<SocketAddr>,
    /// Those who lie with it, in the order of the ring.
    friends: Vec<Contact>,
    underway: Vec<Datagram>,
    next: Option<Instant>,
}

/// What somebody does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vice {
    /// It takes part in everything and answers nobody.
    Silent,
    /// It changes bytes of whatever it sends.
    Garbling,
    /// It sends back what it hears, to whoever it heard last.
    Echoing,
    /// Asked for the way to a key, it names its friends as all there is around it, and the first of
    /// them after the key as the owner; it knows of nobody who shares anything.
    Lying,
    /// It sends noise, ten times a second, to whom it knows.
    Flooding,
}

impl<M: Machine> Member<M> {
    pub(crate) fn new(machine: M, vice: Option<Vice>, seed: u64, now: Instant) -> Self {
        let next = (vice == Some(Vice::Flooding)).then_some(now);
        let (victims, friends, underway) = (Vec::new(), Vec::new(), Vec::new());
        Self { machine, vice, rng: Rng::new(seed), victims, friends, underway, next }
    }

    /// From now on it lies, with its friends, who stand in the order of the ring.
    pub(crate) fn conspire(&mut self, friends: Vec<Contact>) {
        self.vice = Some(Vice::Lying);
        self.friends = friends;
    }

    /// The lie that is the answer to what was asked, if that was the way to a key.
    fn lie(&self, from: SocketAddr, bytes: &[u8]) -> Option<Datagram> {
        let message = krpc::parse(bytes, Family::of(from)).ok()?;
        let target = match message.body {
            Body::Query(Query::GetPeers(info_hash), _) => RingId::from(info_hash),
            Body::Query(Query::FindNode(target), _) => target,
            _ => return None,
        };
        let count = self.friends.len();
        let first = self.friends.partition_point(|friend| friend.id < target);
        let around = (0..8).map(|n| self.friends[(first + count - 4 + n) % count].address);
        let route = Route {
            nodes: around.collect(),
            owner: Some(self.friends[first % count].address),
            sharers: Vec::new(),
            token: Some(Token([1; 8])),
        };
        Some(Self::answer(from, message.transaction, Answer::Route(route)))
    }

    fn answer(to: SocketAddr, transaction: u32, answer: Answer) -> Datagram {
        let body = Body::Answer(answer);
        let answer = Message { transaction, seen: Some(to), client: false, body };
        Datagram { to, bytes: answer.encode(0) }
    }

    pub(crate) fn is_honest(&self) -> bool {
        self.vice.is_none()
    }
}

impl<M: Machine> Machine for Member<M> {
    type News = M::News;

    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        if self.vice.is_some() && self.victims.len() < 64 {
            self.victims.push(from);
        }
        if self.vice == Some(Vice::Echoing) {
            let victim = self.rng.below(u32::try_from(self.victims.len()).expect("64 at most"));
            let to = self.victims[victim as usize];
            self.underway.push(Datagram { to, bytes: bytes.to_vec() });
        }
        let lies = self.vice == Some(Vice::Lying) && self.friends.len() >= 8;
        if let Some(lie) = lies.then(|| self.lie(from, bytes)).flatten() {
            self.underway.push(lie);
            return;
        }
        if self.vice != Some(Vice::Silent) || self.victims.len() < 4 {
            self.machine.handle_datagram(now, from, bytes);
        }
    }

    fn handle_time(&mut self, now: Instant) {
        if self.machine.poll_deadline().is_some_and(|deadline| deadline <= now) {
            self.machine.handle_time(now);
        }
        if self.next.is_some_and(|next| next <= now) {
            self.next = Some(now + Duration::from_millis(100));
            if !self.victims.is_empty() {
                let victim = self.rng.below(u32::try_from(self.victims.len()).expect("64 at most"));
                let mut bytes = vec![0; self.rng.below(1600) as usize];
                self.rng.fill(&mut bytes);
                self.underway.push(Datagram { to: self.victims[victim as usize], bytes });
            }
        }
    }

    fn poll_deadline(&self) -> Option<Instant> {
        [self.machine.poll_deadline(), self.next].into_iter().flatten().min()
    }

    fn poll_transmit(&mut self) -> Option<Datagram> {
        let mut datagram = self.underway.pop().or_else(|| self.machine.poll_transmit())?;
        if self.vice == Some(Vice::Garbling) && !datagram.bytes.is_empty() {
            let len = u32::try_from(datagram.bytes.len()).expect("a datagram is short");
            for _ in 0..=self.rng.below(3) {
                datagram.bytes[self.rng.below(len) as usize] = self.rng.next_u64().to_le_bytes()[0];
            }
        }
        Some(datagram)
    }

    fn poll_news(&mut self) -> Option<M::News> {
        self.machine.poll_news()
    }

    fn check(&self) {
        self.machine.check();
    }
}
