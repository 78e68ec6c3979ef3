//! Canonical peer priority (BEP 40): a number for each pair of peers that both compute alike and
//! nobody chooses.
//!
//! Where more peers are known than can be connected, those of the highest priority are dialled first:
//! so everybody's connections are spread over the swarm, and a newcomer has as good a chance as those
//! who were there before.

use std::net::{IpAddr, SocketAddr};

use crate::words::crc32c::crc32c;

/// The priority of the connection between us and a peer: the higher, the better. Where addresses are
/// of two families, or ours is not known, it is a number that says as little as any.
pub fn priority(ours: SocketAddr, theirs: SocketAddr) -> u32 {
    match (ours.ip().to_canonical(), theirs.ip().to_canonical()) {
        (one, other) if one == other => {
            let [first, second] = sorted(ours.port().to_be_bytes(), theirs.port().to_be_bytes());
            crc32c(&[first, second].concat())
        }
        (IpAddr::V4(one), IpAddr::V4(other)) => of_bytes(one.octets(), other.octets(), 2),
        (IpAddr::V6(one), IpAddr::V6(other)) => of_bytes(one.octets(), other.octets(), 6),
        (IpAddr::V4(one), IpAddr::V6(other)) | (IpAddr::V6(other), IpAddr::V4(one)) => {
            of_bytes(one.to_ipv6_mapped().octets(), other.octets(), 6)
        }
    }
}

/// Of each address the first `least` bytes count, or one more than the two share; of every bit pair
/// after them the lower one.
fn of_bytes<const N: usize>(one: [u8; N], other: [u8; N], least: usize) -> u32 {
    let shared = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let whole = least.max(shared + 1);
    let mask = |at: usize| if at < whole { 0xff } else { 0x55 };
    let masked = |bytes: [u8; N]| -> [u8; N] { std::array::from_fn(|at| bytes[at] & mask(at)) };
    crc32c(&sorted(masked(one), masked(other)).concat())
}

fn sorted<T: Ord>(one: T, other: T) -> [T; 2] {
    if one <= other { [one, other] } else { [other, one] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ours: &str, theirs: &str) -> u32 {
        priority(ours.parse().unwrap(), theirs.parse().unwrap())
    }

    /// BEP 40, "Examples".
    #[test]
    fn the_examples_of_bep_40() {
        let table = [
            ("123.213.32.10:1", "98.76.54.32:2", 0xec2d_7224),
            ("123.213.32.10:1", "123.213.32.234:2", 0x9956_8189),
        ];
        for (ours, theirs, wanted) in table {
            assert_eq!(of(ours, theirs), wanted, "{ours} {theirs}");
            assert_eq!(of(theirs, ours), wanted, "both sides compute the same");
        }
    }

    /// BEP 40, "Overview": what is hashed, and in which order.
    #[test]
    fn the_masks_of_bep_40() {
        let v4: [(_, _, &[u8]); 4] = [
            ("230.12.123.3:1234", "230.12.123.3:300", b"\x01\x2c\x04\xd2"),
            ("230.12.123.1:1", "230.12.123.3:2", b"\xe6\x0c\x7b\x01\xe6\x0c\x7b\x03"),
            ("230.12.23.1:1", "230.12.123.3:2", b"\xe6\x0c\x17\x01\xe6\x0c\x7b\x01"),
            ("230.120.23.1:1", "230.12.123.3:2", b"\xe6\x0c\x51\x01\xe6\x78\x15\x01"),
        ];
        for (ours, theirs, hashed) in v4 {
            assert_eq!(of(ours, theirs), crc32c(hashed), "{ours} {theirs}");
            assert_eq!(of(theirs, ours), crc32c(hashed), "{theirs} {ours}");
        }
        // The lower address first; F stands for bits that count, 5 for every second one.
        let v6 = [
            ("2001:db8:1::", "2001:db8:2::", "FFFF:FFFF:FFFF:5555:5555:5555:5555:5555"),
            ("2001:db8:1::", "2001:db8:1:f00::", "FFFF:FFFF:FFFF:FF55:5555:5555:5555:5555"),
            ("2001:db8:1:aa00::", "2001:db8:1:aaff::", "FFFF:FFFF:FFFF:FFFF:5555:5555:5555:5555"),
            ("2001:db8::", "2001:db8::f00:0:0:0", "FFFF:FFFF:FFFF:FFFF:FF55:5555:5555:5555"),
            ("2001:db8::", "2001:db8::1", "FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF"),
        ];
        let host = u128::from(u64::MAX) >> 32;
        for (ours, theirs, mask) in v6 {
            let bits = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().to_bits();
            // All bits of the host but the last, in which the last pair differs, are set.
            let of_both = [ours, theirs].map(|text| bits(text) | (host & !0xff));
            let hashed = of_both.map(|address| (address & bits(mask)).to_be_bytes()).concat();
            let [one, other] = of_both
                .map(|address| SocketAddr::new(std::net::Ipv6Addr::from_bits(address).into(), 1));
            assert_eq!(priority(one, other), crc32c(&hashed), "{mask}");
            assert_eq!(priority(other, one), crc32c(&hashed), "{mask}");
        }
    }

    #[test]
    fn what_is_masked_makes_no_difference_and_what_is_not_does() {
        let same = [
            ("1.2.3.4:1", "5.6.7.8:1", "5.6.5.2:9"),
            ("1.2.3.4:1", "1.2.9.8:1", "1.2.9.2:9"),
            ("[2001:db8::1]:1", "[2002:db8:0:aaaa::1]:1", "[2002:db8::aa:1]:1"),
            ("1.2.3.4:1", "[::ffff:5.6.7.8]:1", "5.6.7.8:1"),
        ];
        // The bits of 0xaa do not count.
        for (ours, one, other) in same {
            assert_eq!(of(ours, one), of(ours, other), "{ours}: {one} {other}");
        }
        let different = [
            ("1.2.3.4:1", "5.6.7.8:1", "5.7.7.8:1"),
            ("1.2.3.4:1", "1.2.9.8:1", "1.2.11.8:1"),
            ("1.2.3.4:1", "1.2.3.8:1", "1.2.3.10:1"),
            ("1.2.3.4:1", "1.2.3.4:2", "1.2.3.4:3"),
            ("[2001:db8::1]:1", "[2001:db8:0:100::1]:1", "[2001:db8:0:300::1]:1"),
            ("[2001:db8::1]:1", "[2001:db8:0:2::1]:1", "[2001:db8:0:8::1]:1"),
        ];
        for (ours, one, other) in different {
            assert_ne!(of(ours, one), of(ours, other), "{ours}: {one} {other}");
        }
    }
}
