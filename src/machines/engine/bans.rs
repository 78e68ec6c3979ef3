//! Peers that sent corrupt data: by address, and on networks where many share one (loopback, private
//! and link-local ones) by address and peer id.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;

use crate::bus::Fault;
use crate::machines::engine::peer::Identity;
use crate::machines::engine::{Engine, exchange};
use crate::words::address::is_local;
use crate::words::id::{PeerId, PeerKey};
use crate::words::limits;
use crate::words::steps::Steps;

/// Who is banned, and who is gone but may still turn out to be guilty.
#[derive(Debug, Default)]
pub(super) struct Bans {
    banned: BTreeSet<(IpAddr, Option<PeerId>)>,
    departed: VecDeque<(PeerKey, Identity)>,
}

impl Bans {
    pub(super) fn contains(&self, who: Identity) -> bool {
        self.banned.contains(&mark(who))
    }

    /// Bans `who`, unless the table is full of others.
    fn add(&mut self, who: Identity) {
        if self.banned.len() < limits::BANS_MAX {
            self.banned.insert(mark(who));
        }
    }

    /// `key` is gone.
    pub(super) fn handle_gone(&mut self, key: PeerKey, who: Identity) {
        if self.departed.len() >= limits::DEPARTED_MAX {
            self.departed.pop_front();
        }
        self.departed.push_back((key, who));
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

fn mark(who: Identity) -> (IpAddr, Option<PeerId>) {
    (who.ip, is_local(who.ip).then_some(who.peer_id))
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
    fn on_shared_addresses_the_peer_id_counts() {
        let who =
            |ip: &str, id: u8| Identity { ip: ip.parse().unwrap(), peer_id: PeerId([id; 20]) };
        let mut bans = Bans::default();
        for banned in
            [who("192.0.2.1", 1), who("127.0.0.1", 1), who("fe80::1", 1), who("fd00::1", 1)]
        {
            bans.add(banned);
        }
        for (asked, wanted) in [
            (who("192.0.2.1", 1), true),
            (who("192.0.2.1", 2), true),
            (who("192.0.2.2", 1), false),
            (who("127.0.0.1", 1), true),
            (who("127.0.0.1", 2), false),
            (who("fe80::1", 2), false),
            (who("fd00::1", 2), false),
            (who("fd00::1", 1), true),
        ] {
            assert_eq!(bans.contains(asked), wanted, "{asked:?}");
        }
    }
}
