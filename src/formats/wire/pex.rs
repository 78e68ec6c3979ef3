//! Peer exchange (BEP 11): a side tells whom it is connected to, and who is gone.
//!
//! Compact addresses of 6 bytes or 18, and for each that is added a byte of flags. What a stranger
//! says of others is taken as far as it is well formed; the rest is passed over.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use serde_bytes::ByteBuf;

use crate::formats::krpc::put_contact;
use crate::formats::mainline::compact_address;
use crate::formats::wire::WireError;
use crate::words::address::{fold, is_local};
use crate::words::bencode::{self, Form};
use crate::words::limits::BENCODE_DEPTH_MAX;
use crate::words::limits::pex::TAKEN_MAX;

/// The name of the extension (BEP 10).
pub const UT_PEX: &str = "ut_pex";

/// The id under which we want its messages.
pub const OUR_UT_PEX: u8 = 2;

/// The flags of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PexFlags(pub u8);

impl PexFlags {
    /// It wants nothing more.
    pub const SEEDER: u8 = 0x02;
    /// The sender has dialled it.
    pub const REACHABLE: u8 = 0x10;

    /// Whether it wants nothing more.
    pub fn is_seeder(self) -> bool {
        self.0 & Self::SEEDER != 0
    }
}

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerExchange {
    /// Who came.
    pub added: Vec<(SocketAddr, PexFlags)>,
    /// Who went.
    pub dropped: Vec<SocketAddr>,
}

#[derive(Serialize)]
struct Dictionary {
    #[serde(skip_serializing_if = "is_empty")]
    added: ByteBuf,
    #[serde(rename = "added.f", skip_serializing_if = "is_empty")]
    flags: ByteBuf,
    #[serde(skip_serializing_if = "is_empty")]
    added6: ByteBuf,
    #[serde(rename = "added6.f", skip_serializing_if = "is_empty")]
    flags6: ByteBuf,
    #[serde(skip_serializing_if = "is_empty")]
    dropped: ByteBuf,
    #[serde(skip_serializing_if = "is_empty")]
    dropped6: ByteBuf,
}

impl PeerExchange {
    /// Reads the payload of a message. At most [`TAKEN_MAX`] are taken of each kind, and of one
    /// global address one port ("Duplicate IP addresses should be ignored"); port 0 is none.
    ///
    /// # Errors
    /// If the payload begins no dictionary.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let dictionary = bencode::scan_prefix(payload, BENCODE_DEPTH_MAX, Form::Loose)
            .map_err(|error| WireError::Bencode { at: error.at })?;
        if !dictionary.is_dictionary() {
            return Err(WireError::Bencode { at: 0 });
        }
        let mut keys: [&[u8]; 6] = [&[]; 6];
        for (key, value) in dictionary.entries() {
            let place = match key {
                b"added" => 0,
                b"added.f" => 1,
                b"added6" => 2,
                b"added6.f" => 3,
                b"dropped" => 4,
                b"dropped6" => 5,
                _ => continue,
            };
            keys[place] = value.string().unwrap_or_default();
        }
        let [added, flags, added6, flags6, dropped, dropped6] = keys;
        let flagged = |list, len, flags: &[u8]| -> Vec<(SocketAddr, PexFlags)> {
            let flag = |at: usize| PexFlags(flags.get(at).copied().unwrap_or_default());
            let all = addresses(list, len).enumerate();
            all.filter_map(|(at, address)| Some((address?, flag(at)))).collect()
        };
        let mut hosts = BTreeSet::new();
        let mut is_first = |ip: IpAddr| is_local(ip) || hosts.insert(ip);
        let added = [flagged(added, LEN_V4, flags), flagged(added6, LEN_V6, flags6)].concat();
        let added = added.into_iter().filter(|(address, _)| is_first(address.ip()));
        let dropped = addresses(dropped, LEN_V4).chain(addresses(dropped6, LEN_V6)).flatten();
        Ok(Self {
            added: added.take(TAKEN_MAX).collect(),
            dropped: dropped.take(TAKEN_MAX).collect(),
        })
    }

    /// Writes the payload of a message.
    pub fn emit(&self) -> Vec<u8> {
        let of = |is_v4: bool| self.added.iter().filter(move |(a, _)| a.is_ipv4() == is_v4);
        let here = |is_v4| compact(of(is_v4).map(|(address, _)| *address));
        let flags = |is_v4| of(is_v4).map(|(_, flags)| flags.0).collect();
        let gone = |is_v4: bool| {
            let gone = self.dropped.iter().filter(move |address| address.is_ipv4() == is_v4);
            compact(gone.copied())
        };
        let bytes = |bytes: Vec<u8>| ByteBuf::from(bytes);
        let dictionary = Dictionary {
            added: bytes(here(true)),
            flags: bytes(flags(true)),
            added6: bytes(here(false)),
            flags6: bytes(flags(false)),
            dropped: bytes(gone(true)),
            dropped6: bytes(gone(false)),
        };
        serde_bencode::to_bytes(&dictionary).expect("strings can all be bencoded")
    }
}

fn is_empty(bytes: &ByteBuf) -> bool {
    bytes.as_slice().is_empty()
}

/// Bytes of a compact address of IPv4, and of IPv6.
const LEN_V4: usize = 6;
const LEN_V6: usize = 18;

fn compact(addresses: impl Iterator<Item = SocketAddr>) -> Vec<u8> {
    addresses.fold(Vec::new(), |mut out, address| {
        put_contact(address, &mut out);
        out
    })
}

/// The addresses of a list, each at its place; `None` is one that nobody can be at.
fn addresses(list: &[u8], len: usize) -> impl Iterator<Item = Option<SocketAddr>> {
    list.chunks_exact(len).map(|bytes| compact_address(bytes).map(fold))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn construct_and_deconstruct() {
        let full = PeerExchange {
            added: vec![
                (address("1.2.3.4:258"), PexFlags(PexFlags::SEEDER | PexFlags::REACHABLE)),
                (address("[2001:db8::1]:1"), PexFlags(0)),
            ],
            dropped: vec![address("5.6.7.8:9"), address("[2001:db8::2]:3")],
        };
        let bytes: &[u8] = b"d5:added6:\x01\x02\x03\x04\x01\x027:added.f1:\x126:added618:\
            \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\x018:added6.f1:\0\
            7:dropped6:\x05\x06\x07\x08\0\x098:dropped618:\
            \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\0\x03e";
        assert_eq!(full.emit(), bytes);
        assert_eq!(PeerExchange::parse(bytes), Ok(full));
        assert_eq!(PeerExchange::default().emit(), b"de");
        assert_eq!(PeerExchange::parse(b"de"), Ok(PeerExchange::default()));
    }

    /// The table of BEP 11, of which two flags mean something to us and the others go by as they are.
    #[test]
    fn the_flags_of_bep_11() {
        let table = [
            (0x01, "prefers encryption", false),
            (0x02, "seed/upload_only", true),
            (0x04, "supports uTP", false),
            (0x08, "ut_holepunch", false),
            (0x10, "outgoing connection, peer is reachable", false),
        ];
        for (flag, meaning, is_seeder) in table {
            let bytes =
                [&b"d5:added6:\x01\x02\x03\x04\0\x057:added.f1:"[..], &[flag], b"e"].concat();
            let read = PeerExchange::parse(&bytes).unwrap();
            assert_eq!(read.added, [(address("1.2.3.4:5"), PexFlags(flag))], "{meaning}");
            assert_eq!(read.added[0].1.is_seeder(), is_seeder, "{meaning}");
            assert_eq!(read.emit(), bytes, "{meaning}");
        }
        assert_eq!((PexFlags::SEEDER, PexFlags::REACHABLE), (0x02, 0x10));
    }

    #[test]
    fn what_is_not_well_formed_is_passed_over() {
        let one = vec![(address("1.2.3.4:5"), PexFlags(0))];
        let table: [(&[u8], &str); 6] = [
            (b"d5:added6:\x01\x02\x03\x04\0\x05e", "no flags"),
            (b"d5:added9:\x01\x02\x03\x04\0\x05abc7:added.f9:\0abcdefghe", "odd lengths"),
            (b"d5:added12:\x01\x02\x03\x04\0\0\x01\x02\x03\x04\0\x057:added.f2:\x02\0e", "port 0"),
            (b"d5:added12:\x01\x02\x03\x04\0\x05\x01\x02\x03\x04\0\x06e", "two ports of a host"),
            (b"d5:added6:\x01\x02\x03\x04\0\x056:added6i7e7:droppedlee", "wrong kinds"),
            (b"d7:dropped0:5:added6:\x01\x02\x03\x04\0\x05e and more", "keys in disorder"),
        ];
        for (bytes, what) in table {
            assert_eq!(PeerExchange::parse(bytes).unwrap().added, one, "{what}");
        }
        for bytes in [&b""[..], b"le", b"i1e", b"d5:added", b"d5:added6:\x01"] {
            assert!(PeerExchange::parse(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn of_a_flood_so_much_is_taken() {
        let many: Vec<u8> =
            (0..10_000_u32).flat_map(|n| [&n.to_be_bytes()[..], &[1, 1]].concat()).collect();
        let mut bytes = format!("d5:added{}:", many.len()).into_bytes();
        bytes.extend(&many);
        bytes.extend(format!("7:dropped{}:", many.len()).into_bytes());
        bytes.extend(&many);
        bytes.push(b'e');
        let read = PeerExchange::parse(&bytes).unwrap();
        assert_eq!((read.added.len(), read.dropped.len()), (TAKEN_MAX, TAKEN_MAX));
    }
}
