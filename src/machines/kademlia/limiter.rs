//! How often anyone is answered: each source, and all together.
//!
//! Whoever asks too often is not answered, and nothing else: a source can be forged, and to remember
//! a grudge would let anyone turn us against a third party.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::host;
use crate::words::address::is_local;
use crate::words::limits::mainline as limits;

#[derive(Debug)]
pub(super) struct Limiter {
    sources: BTreeMap<IpAddr, Bucket>,
    by_age: BTreeSet<(Instant, IpAddr)>,
    /// Bytes of answers.
    all: Bucket,
}

/// A bucket that leaks at a steady rate: it is empty at `empty_at` if nothing more comes.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    empty_at: Instant,
    used: Instant,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self { empty_at: now, used: now }
    }

    /// Puts in what takes `cost` to leak, unless the bucket holds what takes longer than `burst`.
    fn admit(&mut self, now: Instant, cost: Duration, burst: Duration) -> bool {
        let level = self.empty_at.max(now);
        let fits = level.saturating_duration_since(now) + cost <= burst;
        if fits {
            self.empty_at = level + cost;
        }
        fits
    }
}

impl Limiter {
    pub(super) fn new(now: Instant) -> Self {
        Self { sources: BTreeMap::new(), by_age: BTreeSet::new(), all: Bucket::new(now) }
    }

    /// Whether a query from `ip` is looked at. Many nodes share a local address.
    pub(super) fn admits_query(&mut self, now: Instant, ip: IpAddr) -> bool {
        if is_local(ip) {
            return true;
        }
        let ip = host(ip);
        if !self.sources.contains_key(&ip) && self.sources.len() == limits::SOURCES_MAX {
            let oldest = self.by_age.pop_first().expect("every source has an age");
            self.sources.remove(&oldest.1);
        }
        let source = self.sources.entry(ip).or_insert_with(|| Bucket::new(now));
        self.by_age.remove(&(source.used, ip));
        source.used = now;
        self.by_age.insert((now, ip));
        let cost = Duration::from_secs(1) / limits::SOURCE_QUERIES_PER_SECOND;
        source.admit(now, cost, cost * limits::SOURCE_QUERIES_BURST)
    }

    /// Whether an answer of so many bytes may be sent.
    pub(super) fn admits_answer(&mut self, now: Instant, len: usize) -> bool {
        let len = u32::try_from(len).expect("a datagram is short");
        let cost = Duration::from_secs(1) * len / limits::ANSWERS_BYTES_PER_SECOND;
        self.all.admit(now, cost, limits::ANSWERS_BURST)
    }

    pub(super) fn check(&self) {
        assert!(self.sources.len() <= limits::SOURCES_MAX);
        assert_eq!(self.sources.len(), self.by_age.len(), "every source has one age");
    }
}
