//! The ids of Mainline's nodes (BEP 5), how far apart two are, and which of them an address may have
//! (BEP 42).
//!
//! Nodes and info-hashes share one space of 160 bits. The distance of two ids is their XOR, read as
//! a number: an id is a path from the root of a binary tree, and whoever shares the longer part of
//! the path is the closer.

use std::fmt;
use std::net::IpAddr;

use crate::words::address::is_local;
use crate::words::crc32c::crc32c;
use crate::words::id::InfoHash;
use crate::words::rng::Rng;

/// Bits of an id.
pub const ID_BITS: usize = 160;

/// A node's id, or another place in the same space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 20]);

/// The XOR of two ids, a number in network order: smaller is closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Distance([u8; 20]);

impl NodeId {
    /// Any id.
    pub fn random(rng: &mut Rng) -> Self {
        let mut id = [0; 20];
        rng.fill(&mut id);
        Self(id)
    }

    /// An id that a node at `ip` may have: its first 21 bits and its last byte follow from the
    /// address and three random bits (BEP 42), the rest is random. Local addresses bind nothing.
    pub fn random_for(ip: IpAddr, rng: &mut Rng) -> Self {
        let mut id = Self::random(rng);
        if !is_local(ip) {
            let prefix = prefix(ip, id.0[19]);
            id.0[..2].copy_from_slice(&prefix[..2]);
            id.0[2] = (prefix[2] & 0xf8) | (id.0[2] & 0x07);
        }
        id
    }

    /// An id that shares exactly the first `bits` bits with this one; the rest is random.
    pub fn random_beside(self, bits: usize, rng: &mut Rng) -> Self {
        let mut id = Self::random(rng);
        for bit in 0..=bits.min(ID_BITS - 1) {
            let mask = 0x80 >> (bit % 8);
            let ours = if bit == bits { !self.0[bit / 8] } else { self.0[bit / 8] };
            id.0[bit / 8] = (id.0[bit / 8] & !mask) | (ours & mask);
        }
        id
    }

    /// Whether a node at `ip` may have this id (BEP 42). At local addresses every id is valid.
    pub fn is_valid_for(self, ip: IpAddr) -> bool {
        let prefix = || prefix(ip, self.0[19]);
        is_local(ip) || {
            let prefix = prefix();
            self.0[..2] == prefix[..2] && (self.0[2] ^ prefix[2]) & 0xf8 == 0
        }
    }

    /// How far `other` is from this id.
    pub fn distance(self, other: Self) -> Distance {
        Distance(std::array::from_fn(|at| self.0[at] ^ other.0[at]))
    }

    /// The id at a distance from this one.
    pub fn at(self, distance: Distance) -> Self {
        Self(self.distance(Self(distance.0)).0)
    }

    /// How many leading bits the two share, up to [`ID_BITS`].
    pub fn shared_bits(self, other: Self) -> usize {
        let Distance(bytes) = self.distance(other);
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let rest = bytes.get(zeros).map_or(0, |byte| byte.leading_zeros());
        zeros * 8 + rest as usize
    }
}

impl From<InfoHash> for NodeId {
    fn from(info_hash: InfoHash) -> Self {
        Self(info_hash.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// BEP 42's checksum of an address and the id's last byte: the first three bytes, of which 21 bits
/// count.
fn prefix(ip: IpAddr, last: u8) -> [u8; 3] {
    const MASK_V4: [u8; 4] = [0x03, 0x0f, 0x3f, 0xff];
    const MASK_V6: [u8; 8] = [0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff];
    let masked = |octets: &[u8], mask: &[u8]| -> [u8; 3] {
        let mut bytes: [u8; 8] = [0; 8];
        let bytes = &mut bytes[..mask.len()];
        bytes.iter_mut().zip(octets.iter().zip(mask)).for_each(|(out, (a, b))| *out = a & b);
        bytes[0] |= (last & 0x07) << 5;
        let [a, b, c, _] = crc32c(bytes).to_be_bytes();
        [a, b, c]
    };
    match ip.to_canonical() {
        IpAddr::V4(ip) => masked(&ip.octets(), &MASK_V4),
        IpAddr::V6(ip) => masked(&ip.octets(), &MASK_V6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(hex: &str) -> NodeId {
        NodeId(std::array::from_fn(|at| {
            u8::from_str_radix(hex.get(2 * at..2 * at + 2).unwrap_or("00"), 16).unwrap()
        }))
    }

    /// The table of BEP 42.
    #[test]
    fn ids_are_bound_to_addresses_as_in_bep_42() {
        let table = [
            ("124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
            ("21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
            ("65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
            ("84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
            ("43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
        ];
        for (ip, hex) in table {
            let ip = ip.parse().unwrap();
            assert!(id(hex).is_valid_for(ip), "{ip}");
            let mut other = id(hex);
            other.0[19] ^= 1;
            assert!(!other.is_valid_for(ip), "{ip}");
            let mut other = id(hex);
            other.0[2] ^= 0x08;
            assert!(!other.is_valid_for(ip), "{ip}");
            other.0[2] ^= 0x08 | 0x07;
            assert!(other.is_valid_for(ip), "the last three of the 24 bits are free");
        }
    }

    #[test]
    fn every_made_id_is_valid_where_it_was_made() {
        let mut rng = Rng::new(1);
        for ip in ["124.31.75.21", "2001:db8:1:2:3::4", "::ffff:8.8.8.8", "10.0.0.1"] {
            let ip = ip.parse().unwrap();
            let ids: Vec<_> = (0..50).map(|_| NodeId::random_for(ip, &mut rng)).collect();
            assert!(ids.iter().all(|id| id.is_valid_for(ip)), "{ip}");
            let elsewhere = "8.8.4.4".parse().unwrap();
            assert!(ids.iter().all(|id| !id.is_valid_for(elsewhere)), "{ip}");
            assert!(ids.iter().all(|id| id.is_valid_for("127.0.0.1".parse().unwrap())));
        }
    }

    #[test]
    fn the_half_of_an_address_that_names_a_network_binds_ids_of_ipv6() {
        let id = NodeId::random_for("2001:db8:1:2::1".parse().unwrap(), &mut Rng::new(2));
        assert!(id.is_valid_for("2001:db8:1:2:ffff::9".parse().unwrap()));
        assert!(!id.is_valid_for("2001:db8:1:3::1".parse().unwrap()));
    }

    #[test]
    fn distances_order_by_the_first_bit_that_differs() {
        let (here, near, far) = (id("80"), id("81ff"), id("00"));
        assert!(here.distance(near) < here.distance(far));
        assert_eq!(here.distance(far), far.distance(here));
        assert_eq!(here.at(here.distance(near)), near);
        let table = [("80", 160), ("81", 7), ("00", 0), ("c0", 1), ("8000000001", 39)];
        for (other, bits) in table {
            assert_eq!(here.shared_bits(id(other)), bits, "{other}");
        }
    }

    #[test]
    fn ids_beside_an_id_share_just_so_many_bits() {
        let mut rng = Rng::new(3);
        let here = NodeId::random(&mut rng);
        for bits in [0, 1, 7, 8, 9, 100, 159, 160] {
            assert_eq!(here.random_beside(bits, &mut rng).shared_bits(here), bits);
        }
    }
}
