//! The peers that others announced to us, for as long as they are likely to be there (BEP 5).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Bound;
use std::time::Instant;

use super::subnet;
use crate::words::address::is_local;
use crate::words::id::InfoHash;
use crate::words::limits::mainline as limits;
use crate::words::node_id::{Distance, NodeId};
use crate::words::rng::Rng;

/// The torrents under their distance from our id, so that the farthest, which others hold as well as
/// we do, is the last.
#[derive(Debug)]
pub(super) struct Store {
    own: NodeId,
    torrents: BTreeMap<Distance, Vec<Stored>>,
    /// The peers of all of them.
    len: usize,
    /// Up to where the last round of expiry came.
    cursor: Option<Distance>,
}

#[derive(Clone, Copy, Debug)]
struct Stored {
    peer: SocketAddr,
    announced: Instant,
}

impl Stored {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.announced) < limits::ENTRY_LIFETIME
    }
}

impl Store {
    pub(super) fn new(own: NodeId) -> Self {
        Self { own, torrents: BTreeMap::new(), len: 0, cursor: None }
    }

    /// The id from which the torrents' distances are measured.
    pub(super) fn own(&self) -> NodeId {
        self.own
    }

    /// Keeps that `peer` shares the torrent. Silently does not where that would be too much: of one
    /// host, of one subnet, of one torrent, of all.
    pub(super) fn put(
        &mut self,
        info_hash: InfoHash,
        peer: SocketAddr,
        now: Instant,
        rng: &mut Rng,
    ) {
        let key = self.own.distance(info_hash.into());
        let peers = self.torrents.entry(key).or_default();
        self.len -= peers.len();
        peers.retain(|stored| stored.is_fresh(now) && stored.peer != peer);
        if admits(peers, peer, rng) {
            peers.push(Stored { peer, announced: now });
        }
        self.len += peers.len();
        if peers.is_empty() {
            self.torrents.remove(&key);
        }
        while self.torrents.len() > limits::ENTRIES_TORRENTS_MAX || self.len > limits::ENTRIES_MAX {
            let Some((_, peers)) = self.torrents.pop_last() else { break };
            self.len -= peers.len();
        }
    }

    /// At most `n` peers of the torrent, of the family that is asked for, beginning anywhere.
    pub(super) fn get(
        &self,
        info_hash: InfoHash,
        is_v4: bool,
        n: usize,
        now: Instant,
        rng: &mut Rng,
    ) -> Vec<SocketAddr> {
        let Some(peers) = self.torrents.get(&self.own.distance(info_hash.into())) else {
            return Vec::new();
        };
        let len = u32::try_from(peers.len()).expect("there are at most ENTRY_PEERS_MAX");
        let start = rng.below(len.max(1)) as usize;
        let round = peers[start..].iter().chain(&peers[..start]);
        let fits = |stored: &&Stored| stored.is_fresh(now) && stored.peer.is_ipv4() == is_v4;
        round.filter(fits).take(n).map(|stored| stored.peer).collect()
    }

    /// All peers of the torrent.
    pub(super) fn all(
        &self,
        info_hash: InfoHash,
        now: Instant,
    ) -> impl Iterator<Item = SocketAddr> {
        let peers = self.torrents.get(&self.own.distance(info_hash.into())).into_iter().flatten();
        peers.filter(move |stored| stored.is_fresh(now)).map(|stored| stored.peer)
    }

    /// Every entry: for tests and statistics.
    pub(super) fn entries(&self) -> impl Iterator<Item = (InfoHash, SocketAddr)> {
        self.torrents.iter().flat_map(|(key, peers)| {
            let info_hash = InfoHash(self.own.at(*key).0);
            peers.iter().map(move |stored| (info_hash, stored.peer))
        })
    }

    /// Drops what is too old among the next few torrents.
    pub(super) fn expire(&mut self, now: Instant) {
        let from = self.cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.torrents.range_mut((from, Bound::Unbounded));
        let mut empty = Vec::new();
        self.cursor = None;
        for (key, peers) in next.take(limits::ENTRIES_EXPIRED_AT_ONCE) {
            self.len -= peers.len();
            peers.retain(|stored| stored.is_fresh(now));
            self.len += peers.len();
            if peers.is_empty() {
                empty.push(*key);
            }
            self.cursor = Some(*key);
        }
        for key in empty {
            self.torrents.remove(&key);
        }
    }

    /// We have another id from now on.
    pub(super) fn rename(&mut self, own: NodeId) {
        let before = std::mem::replace(self, Self::new(own));
        let moved = before.torrents.into_iter();
        self.torrents =
            moved.map(|(key, peers)| (own.distance(before.own.at(key)), peers)).collect();
        self.len = before.len;
    }

    pub(super) fn check(&self) {
        assert!(self.torrents.len() <= limits::ENTRIES_TORRENTS_MAX);
        assert!(self.len <= limits::ENTRIES_MAX);
        let len: usize = self.torrents.values().map(Vec::len).sum();
        assert_eq!(self.len, len, "every peer is counted");
        for peers in self.torrents.values() {
            assert!(!peers.is_empty() && peers.len() <= limits::ENTRY_PEERS_MAX);
        }
    }
}

/// Whether there is room for one more. A torrent that fills up refuses at random, the more often the
/// fuller it is, so that a flood does not drive out everybody else.
fn admits(peers: &[Stored], peer: SocketAddr, rng: &mut Rng) -> bool {
    let ip = peer.ip();
    if !is_local(ip) {
        let of_host = peers.iter().filter(|stored| stored.peer.ip() == ip).count();
        let beside = |stored: &&Stored| subnet(stored.peer.ip()) == subnet(ip);
        let of_subnet = peers.iter().filter(beside).count();
        if of_host >= limits::ENTRY_HOST_PEERS_MAX || of_subnet >= limits::ENTRY_SUBNET_PEERS_MAX {
            return false;
        }
    }
    let (len, max) = (peers.len(), limits::ENTRY_PEERS_MAX);
    let crowd = u32::try_from(len.saturating_sub(max / 2)).expect("it is below ENTRY_PEERS_MAX");
    let room = u32::try_from(max - max / 2).expect("it is below ENTRY_PEERS_MAX");
    len < max && !rng.chance(crowd, room)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::made_up;

    /// Whoever has many subnets and guesses many torrents does not have our memory.
    #[test]
    fn of_all_torrents_so_many_peers_are_held() {
        let now = made_up::start();
        let (mut store, mut rng) = (Store::new(NodeId([0; 20])), Rng::new(1));
        let mut most = 0;
        for torrent in 0..160 {
            let mut info_hash = InfoHash([0; 20]);
            info_hash.0[0] = torrent;
            for n in 0..600_u32 {
                let [.., high, low] = n.to_be_bytes();
                let peer = SocketAddr::from(([60 + high, low, 1, 1], 6881));
                store.put(info_hash, peer, now, &mut rng);
                most = most.max(store.len);
            }
            store.check();
        }
        assert_eq!(most, limits::ENTRIES_MAX);
        let nearest = store.all(InfoHash([0; 20]), now).count();
        assert!(nearest > 500, "the farthest are forgotten, not the nearest: {nearest}");
        store.rename(NodeId([1; 20]));
        store.check();
        for _ in 0..limits::ENTRIES_TORRENTS_MAX / limits::ENTRIES_EXPIRED_AT_ONCE {
            store.expire(now + limits::ENTRY_LIFETIME);
        }
        store.check();
        assert_eq!(store.len, 0);
    }
}
