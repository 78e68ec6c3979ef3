//! Peers that sent corrupt data: by address (of IPv6, by the first 64 bits), and on networks where
//! many share one (loopback, private and link-local ones) by peer id as well.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;

use crate::bus::Fault;
use crate::machines::engine::peer::Identity;
use crate::machines::engine::{Engine, exchange};
use crate::words::address::{is_local, network};
use crate::words::id::{PeerId, PeerKey};
use crate::words::limits;
use crate::words::steps::Steps;

/// By what somebody who is banned is known again.
type Mark = (IpAddr, Option<PeerId>);

/// Who is banned, and who is gone but may still turn out to be guilty.
#[derive(Debug, Default)]
pub(super) struct Bans {
    banned: BTreeSet<Mark>,
    in_order: VecDeque<Mark>,
    departed: VecDeque<(PeerKey, Identity)>,
}

impl Bans {
    pub(super) fn contains(&self, who: Identity) -> bool {
        self.banned.contains(&mark(who))
    }

    /// Bans `who`; when the table is full, in place of the one that was banned first.
    fn add(&mut self, who: Identity) {
        if self.banned.insert(mark(who)) {
            self.in_order.push_back(mark(who));
        }
        if self.in_order.len() > limits::BANS_MAX
            && let Some(first) = self.in_order.pop_front()
        {
            self.banned.remove(&first);
        }
    }

    /// `key` is gone.
    pub(super) fn handle_gone(&mut self, key: PeerKey, who: Identity) {
        if self.departed.len() >= limits::DEPARTED_MAX {
            self.departed.pop_front();
        }
        self.departed.push_back((key, who));
    }

    /// Who is banned, and who is gone and remembered.
    pub(super) fn len(&self) -> [usize; 2] {
        [self.banned.len(), self.departed.len()]
    }

    fn departed(&self, key: PeerKey, steps: &mut Steps) -> Option<Identity> {
        let is_it = |(departed, _): &&(PeerKey, Identity)| {
            steps.step();
            *departed == key
        };
        // Bound: limits::DEPARTED_MAX
        self.departed.iter().find(is_it).map(|(_, who)| *who)
    }
}

fn mark(who: Identity) -> Mark {
    (network(who.ip), is_local(who.ip).then_some(who.peer_id))
}

/// `key` sent corrupt data: it is banned, and hung up on if it is still there.
pub(super) fn ban(engine: &mut Engine, key: PeerKey, reason: &str) {
    let here = engine.peers.get_mut(key.0).and_then(|peer| peer.talk_or_last());
    let who = here.map(|talk| talk.who);
    let who = who.or_else(|| engine.bans.departed(key, &mut engine.steps));
    if let Some(who) = who {
        engine.bans.add(who);
        exchange::hang_up(engine, key, Fault::Theirs, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_forgets_whom_it_banned_first() {
        let who = |n: usize| {
            let [.., a, b] = n.to_be_bytes();
            Identity { ip: [9, 9, a, b].into(), peer_id: PeerId([1; 20]) }
        };
        let mut bans = Bans::default();
        (0..=limits::BANS_MAX).chain([1]).for_each(|n| bans.add(who(n)));
        let banned = |n| bans.contains(who(n));
        assert_eq!([banned(0), banned(1), banned(limits::BANS_MAX)], [false, true, true]);
        assert_eq!((bans.banned.len(), bans.in_order.len()), (limits::BANS_MAX, limits::BANS_MAX));
    }

    #[test]
    fn on_shared_addresses_the_peer_id_counts() {
        let who =
            |ip: &str, id: u8| Identity { ip: ip.parse().unwrap(), peer_id: PeerId([id; 20]) };
        let mut bans = Bans::default();
        for banned in
            ["192.0.2.1", "2001:db8::1", "127.0.0.1", "fe80::1", "fd00::1"].map(|ip| who(ip, 1))
        {
            bans.add(banned);
        }
        for (asked, wanted) in [
            (who("192.0.2.1", 1), true),
            (who("192.0.2.1", 2), true),
            (who("192.0.2.2", 1), false),
            (who("127.0.0.1", 1), true),
            (who("127.0.0.1", 2), false),
            (who("2001:db8::9:1", 2), true),
            (who("2001:db8:0:1::1", 1), false),
            (who("fe80::1", 2), false),
            (who("fd00::1", 2), false),
            (who("fd00::1", 1), true),
        ] {
            assert_eq!(bans.contains(asked), wanted, "{asked:?}");
        }
    }
}
