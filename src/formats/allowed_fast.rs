//! The pieces that a peer may ask for although we choke it (BEP 6, "Allowed Fast Set Generation").

use std::net::IpAddr;

use sha1::{Digest, Sha1};

use crate::words::id::{InfoHash, PieceIndex};

/// `count` pieces of a torrent of `pieces`, or all if there are no more. They follow from the
/// peer's network, so that one who comes back under a neighbouring address gets the same.
pub fn allowed_fast(
    peer: IpAddr,
    info_hash: InfoHash,
    pieces: u32,
    count: usize,
) -> Vec<PieceIndex> {
    if pieces as usize <= count {
        return (0..pieces).map(PieceIndex).collect();
    }
    let mut allowed = Vec::with_capacity(count);
    let mut hash: [u8; 20] =
        Sha1::new().chain_update(network(peer)).chain_update(info_hash.0).finalize().into();
    while allowed.len() < count {
        for four in hash.as_chunks().0 {
            let piece = PieceIndex(u32::from_be_bytes(*four) % pieces);
            if allowed.len() < count && !allowed.contains(&piece) {
                allowed.push(piece);
            }
        }
        hash = Sha1::digest(hash).into();
    }
    allowed
}

/// The /24 of an IPv4 address (BEP 6), the /64 of an IPv6 address, of which the BEP says nothing.
fn network(peer: IpAddr) -> Vec<u8> {
    match peer {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            vec![a, b, c, 0]
        }
        IpAddr::V6(ip) => ip.octets()[..8].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_bep_6() {
        let allowed = |count| -> Vec<u32> {
            let peer = "80.4.4.200".parse().unwrap();
            let pieces = allowed_fast(peer, InfoHash([0xaa; 20]), 1313, count);
            pieces.into_iter().map(|piece| piece.0).collect()
        };
        assert_eq!(allowed(7), [1059, 431, 808, 1217, 287, 376, 1188]);
        assert_eq!(allowed(9), [1059, 431, 808, 1217, 287, 376, 1188, 353, 508]);
    }

    #[test]
    fn of_a_small_torrent_all_pieces_are_allowed() {
        let peer = "2001:db8::1".parse().unwrap();
        let allowed = |pieces| allowed_fast(peer, InfoHash([7; 20]), pieces, 4);
        assert_eq!(allowed(0), []);
        assert_eq!(allowed(4), [0, 1, 2, 3].map(PieceIndex));
        assert_eq!(allowed(5).len(), 4);
    }
}
