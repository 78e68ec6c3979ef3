//! Tokens (BEP 5): who brings one back gets datagrams where it says it is.
//!
//! A token is a hash over a secret, the time, and all that it is for: address, port, id and torrent.
//! One that is good for one torrent is worth nothing for another.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use sha1::{Digest, Sha1};

use crate::formats::mainline::{Contact, Token};
use crate::words::id::InfoHash;
use crate::words::limits::mainline as limits;
use crate::words::node_id::NodeId;

#[derive(Debug)]
pub(super) struct Tokens {
    secret: [u8; 20],
    began: Instant,
}

impl Tokens {
    pub(super) fn new(secret: [u8; 20], now: Instant) -> Self {
        Self { secret, began: now }
    }

    /// The token for who asked for a torrent.
    pub(super) fn make(&self, now: Instant, asker: Contact, info_hash: InfoHash) -> Token {
        self.of_period(self.period(now), asker, info_hash)
    }

    /// Whether the token was made for this in this period or the one before.
    pub(super) fn accepts(
        &self,
        now: Instant,
        token: &Token,
        asker: Contact,
        info_hash: InfoHash,
    ) -> bool {
        let period = self.period(now);
        let is_of = |period| *token == self.of_period(period, asker, info_hash);
        is_of(period) || period > 0 && is_of(period - 1)
    }

    fn period(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / limits::TOKEN_PERIOD.as_secs()
    }

    fn of_period(&self, period: u64, asker: Contact, info_hash: InfoHash) -> Token {
        let Contact { id: NodeId(id), address } = asker;
        let hash = Sha1::new().chain_update(b"token").chain_update(self.secret);
        let hash = hash.chain_update(period.to_be_bytes()).chain_update(octets(address));
        let hash: [u8; 20] = hash.chain_update(id).chain_update(info_hash.0).finalize().into();
        Token(hash[..limits::TOKEN_LEN].into())
    }
}

/// Port and address, the address as IPv6 has it, so that no two are the same.
fn octets(address: SocketAddr) -> [u8; 18] {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut octets = [0; 18];
    octets[..16].copy_from_slice(&ip.octets());
    octets[16..].copy_from_slice(&address.port().to_be_bytes());
    octets
}
