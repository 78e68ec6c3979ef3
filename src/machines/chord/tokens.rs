//! Tokens: whoever shows one gets what is sent to its address (BEP 5, "tokens").
//!
//! A token stands for an IP address, a port, the giver and one key, so that neither a stranger nor
//! the same node can use it for another key.

use std::net::SocketAddr;
use std::time::Instant;

use sha1::{Digest, Sha1};

use crate::formats::krpc::{Token, put_contact};
use crate::words::limits::ring as limits;
use crate::words::ring_id::RingId;

/// Gives tokens and knows them again.
#[derive(Debug)]
pub(super) struct Tokens {
    secret: u64,
    begun: Instant,
}

impl Tokens {
    /// All tokens follow from `secret`, which no datagram shows.
    pub(super) fn new(secret: u64, now: Instant) -> Self {
        Self { secret, begun: now }
    }

    /// The token for the node at `address` and `key`.
    pub(super) fn give(&self, now: Instant, address: SocketAddr, key: RingId) -> Token {
        self.at(self.period(now), address, key)
    }

    /// Whether `token` was given to the node at `address` for `key`, in this period or the last.
    pub(super) fn is_valid(
        &self,
        now: Instant,
        token: Token,
        address: SocketAddr,
        key: RingId,
    ) -> bool {
        let period = self.period(now);
        let mut periods = [Some(period), period.checked_sub(1)].into_iter().flatten();
        periods.any(|period| self.at(period, address, key) == token)
    }

    fn period(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begun).as_secs() / limits::TOKEN_EVERY.as_secs()
    }

    /// The key of the hash comes first and has a fixed length, and so has what follows.
    fn at(&self, period: u64, address: SocketAddr, key: RingId) -> Token {
        let mut bytes = b"token".to_vec();
        bytes.extend(self.secret.to_be_bytes());
        bytes.extend(period.to_be_bytes());
        bytes.extend(key.0);
        put_contact(address, &mut bytes);
        let hash: [u8; 20] = Sha1::digest(&bytes).into();
        Token(*hash.first_chunk().expect("eight of twenty bytes"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
    fn a_token_is_for_one_address_one_key_and_ten_minutes() {
        let now = Instant::now();
        let tokens = Tokens::new(1, now);
        let address: SocketAddr = "192.0.2.1:6881".parse().unwrap();
        let key = RingId([1; 20]);
        let token = tokens.give(now, address, key);
        let valid = |after, address: &str, key| {
            tokens.is_valid(now + after, token, address.parse().unwrap(), key)
        };
        let period = limits::TOKEN_EVERY;
        assert!(valid(Duration::ZERO, "192.0.2.1:6881", key));
        assert!(valid(period * 199 / 100, "192.0.2.1:6881", key));
        assert!(!valid(period * 2, "192.0.2.1:6881", key));
        assert!(!valid(Duration::ZERO, "192.0.2.1:6882", key));
        assert!(!valid(Duration::ZERO, "192.0.2.2:6881", key));
        assert!(!valid(Duration::ZERO, "192.0.2.1:6881", RingId([2; 20])));
        assert!(!Tokens::new(2, now).is_valid(now, token, address, key));
    }
}
