//! Places on the ring: 160-bit numbers that count clockwise and wrap (Chord, SIGCOMM 2001,
//! section 4.2).
//!
//! A node does not choose its place: [`RingId::of`] computes it from the node's address, so that
//! nobody can move next to a key, and an address is all that a datagram has to carry. An info-hash
//! is a place as it stands.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use sha1::{Digest, Sha1};

use crate::words::address::is_local;
use crate::words::id::InfoHash;

/// A place on the ring, or a distance along it: 160 bits, the most significant byte first.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RingId(pub [u8; 20]);

/// Whether `b` stands strictly between `a` and `c`, clockwise; between a place and itself lies the
/// whole ring but for that place (Zave, "Reasoning about Identifier Spaces", 2017: `between`).
pub fn between<T: Ord>(a: &T, b: &T, c: &T) -> bool {
    if a < c { a < b && b < c } else { a < b || b < c }
}

impl RingId {
    /// The place of the node at `address`: SHA-1 of "chord1", the IP address and the port.
    ///
    /// Of a global address the lower three bits of the port count, and of an IPv6 address the
    /// first 64 bits: whoever has one address has eight places, all of them given. Elsewhere (a
    /// class room, a laboratory, a test) every port is a place.
    pub fn of(address: SocketAddr) -> Self {
        let global = !is_local(address.ip());
        let mut hash = Sha1::new();
        hash.update(b"chord1");
        match address.ip() {
            IpAddr::V4(ip) => hash.update(ip.octets()),
            IpAddr::V6(ip) if global => hash.update(&ip.octets()[..8]),
            IpAddr::V6(ip) => hash.update(ip.octets()),
        }
        let port = if global { address.port() & 7 } else { address.port() };
        hash.update(port.to_be_bytes());
        Self(hash.finalize().into())
    }

    /// Bits of a place.
    pub const BITS: u32 = 160;

    /// The first `bits` bits of this place, the others zero: where a ring has fewer places.
    pub fn first_bits(mut self, bits: u32) -> Self {
        for (n, byte) in (0..).zip(&mut self.0) {
            let kept = bits.saturating_sub(8 * n).min(8);
            *byte &= u8::try_from(0xff00_u16 >> kept & 0xff).expect("it is masked to a byte");
        }
        self
    }

    /// The distance from here clockwise to `other`.
    pub fn clockwise_to(self, other: Self) -> Self {
        let ((a_high, a_low), (b_high, b_low)) = (self.parts(), other.parts());
        let (low, borrow) = b_low.overflowing_sub(a_low);
        Self::from_parts(b_high.wrapping_sub(a_high).wrapping_sub(u128::from(borrow)), low)
    }

    /// The place at `distance` clockwise from here.
    pub fn plus(self, distance: Self) -> Self {
        let ((a_high, a_low), (b_high, b_low)) = (self.parts(), distance.parts());
        let (low, carry) = a_low.overflowing_add(b_low);
        Self::from_parts(a_high.wrapping_add(b_high).wrapping_add(u128::from(carry)), low)
    }

    /// The distance that is the `n`-th part of the ring, to 128 bits; the largest distance for 1
    /// and below.
    pub fn part(n: u64) -> Self {
        if n <= 1 { Self([0xff; 20]) } else { Self::from_parts(u128::MAX / u128::from(n), 0) }
    }

    /// `n` times this distance; the largest distance where that is more than the ring.
    pub fn times(self, n: u32) -> Self {
        let (high, low) = self.parts();
        let low = u64::from(low) * u64::from(n);
        let carry = u128::from(low >> 32);
        let low = u32::try_from(low & u64::from(u32::MAX)).expect("it is masked to 32 bits");
        let high = high.checked_mul(u128::from(n)).and_then(|high| high.checked_add(carry));
        high.map_or(Self([0xff; 20]), |high| Self::from_parts(high, low))
    }

    /// The 64 most significant bits: enough to compare distances as shares of the ring.
    pub fn leading(self) -> u64 {
        let bytes = self.0.first_chunk().expect("eight of twenty bytes");
        u64::from_be_bytes(*bytes)
    }

    /// The distance whose 64 most significant bits these are, the others zero.
    pub fn from_leading(leading: u64) -> Self {
        Self::from_parts(u128::from(leading) << 64, 0)
    }

    fn parts(self) -> (u128, u32) {
        let (high, low) = self.0.split_first_chunk().expect("sixteen of twenty bytes");
        let low = low.first_chunk().expect("the four that remain");
        (u128::from_be_bytes(*high), u32::from_be_bytes(*low))
    }

    fn from_parts(high: u128, low: u32) -> Self {
        let mut bytes = [0; 20];
        bytes[..16].copy_from_slice(&high.to_be_bytes());
        bytes[16..].copy_from_slice(&low.to_be_bytes());
        Self(bytes)
    }
}

impl From<InfoHash> for RingId {
    fn from(info_hash: InfoHash) -> Self {
        Self(info_hash.0)
    }
}

impl fmt::Display for RingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RingId {
    /// The first four bytes tell ten thousand nodes apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(last: u8) -> RingId {
        let mut bytes = [0; 20];
        bytes[19] = last;
        RingId(bytes)
    }

    #[test]
    fn between_is_strict_and_wraps() {
        let table = [
            ((1, 2, 3), true),
            ((1, 1, 3), false),
            ((1, 3, 3), false),
            ((1, 4, 3), false),
            ((3, 4, 1), true),
            ((3, 0, 1), true),
            ((3, 1, 1), false),
            ((3, 2, 1), false),
            ((3, 3, 1), false),
            ((2, 1, 2), true),
            ((2, 3, 2), true),
            ((2, 2, 2), false),
        ];
        for ((a, b, c), expected) in table {
            assert_eq!(between(&a, &b, &c), expected, "between {a} {b} {c}");
            assert_eq!(between(&id(a), &id(b), &id(c)), expected);
        }
    }

    #[test]
    fn the_first_bits_stay() {
        let all = RingId([0xff; 20]);
        let first = |bits| all.first_bits(bits).0[..3].to_vec();
        assert_eq!(
            [0, 5, 8, 13, 24].map(first),
            [
                vec![0, 0, 0],
                vec![0xf8, 0, 0],
                vec![0xff, 0, 0],
                vec![0xff, 0xf8, 0],
                vec![0xff, 0xff, 0xff],
            ]
        );
        assert_eq!(all.first_bits(RingId::BITS), all);
        assert_eq!(all.first_bits(159).0[19], 0xfe);
    }

    #[test]
    fn distances_wrap_and_add_up() {
        let top = RingId([0xff; 20]);
        assert_eq!(top.clockwise_to(id(4)), id(5));
        assert_eq!(id(4).clockwise_to(top).plus(id(4)), top);
        assert_eq!(top.plus(id(1)), id(0));
        let carry = RingId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(carry.clockwise_to(carry), id(0));
        assert_eq!(id(1).clockwise_to(carry).plus(id(1)), carry);
        assert_eq!(id(3).times(5), id(15));
        assert_eq!(top.times(2), top);
        assert_eq!(
            RingId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0]).times(2),
            carry
        );
    }

    #[test]
    fn parts_of_the_ring_are_shares_of_it() {
        assert_eq!(RingId::part(2).leading(), u64::MAX / 2);
        assert_eq!(RingId::part(1), RingId([0xff; 20]));
        assert_eq!(RingId::from_leading(RingId::part(1000).leading()).leading(), u64::MAX / 1000);
    }

    #[test]
    fn a_global_address_has_eight_places_and_a_private_one_a_place_for_each_port() {
        let of = |text: &str| RingId::of(text.parse().unwrap());
        assert_eq!(of("8.8.4.4:6881"), of("8.8.4.4:6889"));
        assert_ne!(of("8.8.4.4:6881"), of("8.8.4.4:6882"));
        assert_eq!(of("[2001:4860::1]:6881"), of("[2001:4860::2]:6881"));
        assert_ne!(of("[2001:4860::1]:6881"), of("[2001:4860:0:1::1]:6881"));
        for private in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.0.1", "[::1]", "[fe80::1]"]
        {
            assert_ne!(of(&format!("{private}:6881")), of(&format!("{private}:6889")), "{private}");
        }
    }

    #[test]
    fn a_place_is_the_hash_that_the_report_says() {
        // printf 'chord1\x0a\x00\x00\x01\x1a\xe1' | sha1sum
        let place = RingId::of("10.0.0.1:6881".parse().unwrap());
        assert_eq!(place.to_string(), "88f6e1c0c7917e6ccf609520cd69a653f1e4b97d");
    }
}
