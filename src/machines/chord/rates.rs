//! How much is answered: each global source (an IPv4 address, a /64 of IPv6) so many datagrams, and all together so many bytes; to
//! local addresses, where no line to the Internet is spent, many times as many.
//!
//! What is too much is dropped. Nobody is banned for it, since whoever forges a source could ban it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::words::address::{is_local, network};
use crate::words::limits::ring as limits;

/// Fills at a rate up to a burst, and is taken from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    level: f64,
    at: Instant,
    rate: u32,
    burst: u32,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(rate: u32, burst: u32, now: Instant) -> Self {
        Self { level: f64::from(burst), at: now, rate, burst }
    }

    /// Takes `amount`, if it is there.
    pub(super) fn take(&mut self, now: Instant, amount: u32) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.level = (self.level + passed * f64::from(self.rate)).min(f64::from(self.burst));
        let there = self.level >= f64::from(amount);
        if there {
            self.level -= f64::from(amount);
        }
        there
    }
}

/// The rates of all sources.
#[derive(Debug)]
pub(super) struct Rates {
    limited: bool,
    sources: BTreeMap<IpAddr, Bucket>,
    /// The same by the time of the last datagram.
    by_time: BTreeSet<(Instant, IpAddr)>,
    answers: Bucket,
    local_answers: Bucket,
}

impl Rates {
    pub(super) fn new(limited: bool, now: Instant) -> Self {
        let bucket =
            |factor| Bucket::new(limits::ANSWER_RATE * factor, limits::ANSWER_BURST * factor, now);
        let (answers, local_answers) = (bucket(1), bucket(limits::ANSWER_LOCAL_FACTOR));
        let (sources, by_time) = (BTreeMap::new(), BTreeSet::new());
        Self { limited, sources, by_time, answers, local_answers }
    }

    /// Whether a datagram from `from` is looked at. On one's own network many honest nodes share an
    /// address, so only global ones are counted.
    pub(super) fn admit(&mut self, now: Instant, from: SocketAddr) -> bool {
        if !self.limited || is_local(from.ip()) {
            return true;
        }
        let ip = network(from.ip());
        if self.sources.len() == limits::SOURCES_MAX && !self.sources.contains_key(&ip) {
            // Whoever was silent for the longest has a full bucket again, as a newcomer has.
            if let Some((_, oldest)) = self.by_time.pop_first() {
                self.sources.remove(&oldest);
            }
        }
        let full = Bucket::new(limits::SOURCE_RATE, limits::SOURCE_BURST, now);
        let bucket = self.sources.entry(ip).or_insert(full);
        self.by_time.remove(&(bucket.at, ip));
        let taken = bucket.take(now, 1);
        self.by_time.insert((bucket.at, ip));
        taken
    }

    /// Whether an answer of `len` bytes may be sent to `to`.
    pub(super) fn may_answer(&mut self, now: Instant, to: SocketAddr, len: usize) -> bool {
        let bucket = if is_local(to.ip()) { &mut self.local_answers } else { &mut self.answers };
        !self.limited || bucket.take(now, u32::try_from(len).unwrap_or(u32::MAX))
    }

    pub(super) fn check(&self) {
        assert!(self.sources.len() <= limits::SOURCES_MAX);
        assert_eq!(self.sources.len(), self.by_time.len());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
    fn a_global_source_has_its_rate_and_a_local_one_none() {
        let now = Instant::now();
        let mut rates = Rates::new(true, now);
        let [global, local] = ["8.8.8.8:1", "10.0.0.1:1"].map(|text| text.parse().unwrap());
        let admitted =
            |rates: &mut Rates, now, from| (0..1000).filter(|_| rates.admit(now, from)).count();
        assert_eq!(admitted(&mut rates, now, global), limits::SOURCE_BURST as usize);
        assert_eq!(admitted(&mut rates, now, local), 1000);
        let later = now + Duration::from_secs(1);
        assert_eq!(admitted(&mut rates, later, global), limits::SOURCE_RATE as usize);
        assert_eq!(admitted(&mut rates, now, global), 0, "a clock that goes back gives nothing");
        let mut answered = |to| (0..9999).filter(|_| rates.may_answer(now, to, 1024)).count();
        let burst = limits::ANSWER_BURST as usize / 1024;
        assert_eq!(answered(global), burst);
        assert_eq!(answered(local), burst * limits::ANSWER_LOCAL_FACTOR as usize);
        assert!((0..1000).all(|_| Rates::new(false, now).admit(now, global)));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
    fn a_flood_of_sources_takes_no_more_room() {
        let now = Instant::now();
        let mut rates = Rates::new(true, now);
        for n in 0..u32::try_from(limits::SOURCES_MAX).unwrap() + 500 {
            let ip = std::net::Ipv4Addr::from(0x0800_0000 + n);
            assert!(rates.admit(now + Duration::from_millis(n.into()), SocketAddr::from((ip, 1))));
            rates.check();
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
    fn one_network_of_ipv6_is_one_source() {
        let now = Instant::now();
        let mut rates = Rates::new(true, now);
        let admitted = (0..1000_u16).filter(|n| {
            let from = format!("[2001:db8:0:1::{n:x}]:1").parse().unwrap();
            rates.admit(now, from)
        });
        assert_eq!(admitted.count(), limits::SOURCE_BURST as usize);
        assert!(rates.admit(now, "[2001:db8:0:2::1]:1".parse().unwrap()), "another is");
        rates.check();
    }
}
