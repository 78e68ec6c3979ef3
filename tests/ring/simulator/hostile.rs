//! Members that mean no good, beside honest ones.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rondalla::words::rng::Rng;

use super::machine::{Datagram, Machine};

/// An honest machine, or somebody who has one and misuses it.
pub(crate) struct Member<M> {
    pub(crate) machine: M,
    vice: Option<Vice>,
    rng: Rng,
    /// Whom it has heard of.
    victims: Vec<SocketAddr>,
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
    /// It sends noise, ten times a second, to whom it knows.
    Flooding,
}

impl<M: Machine> Member<M> {
    pub(crate) fn new(machine: M, vice: Option<Vice>, seed: u64, now: Instant) -> Self {
        let next = (vice == Some(Vice::Flooding)).then_some(now);
        let (victims, underway) = (Vec::new(), Vec::new());
        Self { machine, vice, rng: Rng::new(seed), victims, underway, next }
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
