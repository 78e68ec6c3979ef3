//! Peer exchange with one peer (BEP 11): when it is told who came and went, and how often it may
//! tell us.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::formats::wire::{Message, PeerExchange, PexFlags};
use crate::words::id::PeerKey;
use crate::words::limits;
use crate::words::swarm_log::{Changes, Standing, SwarmLog, SwarmReader};

/// The writer's part: whoever understands it is told, at most once a minute.
#[derive(Debug)]
pub(super) struct Gossip {
    /// Under which number the peer wants it.
    id: u8,
    reader: SwarmReader,
    due: Option<Instant>,
}

impl Gossip {
    /// From now on a peer is told what `log` says, under the number `id`.
    pub(super) fn new(log: Arc<SwarmLog>, (peer, near): (PeerKey, bool), id: u8) -> Self {
        Self { id, reader: SwarmReader::new(log, peer, near), due: None }
    }

    /// The peer wants another number.
    pub(super) fn rename(&mut self, id: u8) {
        self.id = id;
    }

    /// When there may be something to say.
    pub(super) fn poll_deadline(&self, now: Instant) -> Instant {
        self.due.unwrap_or(now + limits::pex::AFTER)
    }

    /// What there is to say now.
    pub(super) fn poll_message(&mut self, now: Instant) -> Option<Message> {
        let due = *self.due.get_or_insert(now + limits::pex::AFTER);
        if now < due {
            return None;
        }
        self.due = Some(now + limits::pex::EVERY);
        let changes = self.reader.changes();
        if changes == Changes::default() {
            return None;
        }
        let payload = message(&changes).emit();
        Some(Message::Extended { id: self.id, payload })
    }
}

fn message(Changes { added, dropped }: &Changes) -> PeerExchange {
    let flags = |Standing { seeder, reachable }: &Standing| {
        let seeder = if *seeder { PexFlags::SEEDER } else { 0 };
        PexFlags(seeder | if *reachable { PexFlags::REACHABLE } else { 0 })
    };
    let added: BTreeMap<_, _> = added.iter().map(|(at, standing)| (*at, flags(standing))).collect();
    PeerExchange { added: added.into_iter().collect(), dropped: dropped.iter().copied().collect() }
}

/// The reader's part: a message a minute, some at once in the beginning, and what comes faster is
/// passed over until it is a flood.
#[derive(Debug)]
pub(super) struct Patience {
    /// Messages that were taken weigh until then.
    until: Instant,
    passed_over: u32,
}

/// What is to be done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Take,
    PassOver,
    Flood,
}

impl Patience {
    pub(super) fn new(now: Instant) -> Self {
        Self { until: now, passed_over: 0 }
    }

    /// A message has come.
    pub(super) fn judge(&mut self, now: Instant) -> Verdict {
        let weight = limits::pex::EVERY / 2;
        let until = self.until.max(now) + weight;
        if until <= now + weight * limits::pex::AT_ONCE {
            self.until = until;
            return Verdict::Take;
        }
        self.passed_over += 1;
        if self.passed_over > limits::pex::PASSED_OVER_MAX {
            return Verdict::Flood;
        }
        Verdict::PassOver
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;
    use crate::machines::made_up;
    use crate::words::id::Key;
    use crate::words::swarm_log::Chronicler;

    #[test]
    fn a_peer_is_told_after_a_moment_and_then_at_most_once_a_minute() {
        let peer = |index| PeerKey(Key { index, generation: 0 });
        let address = |n| SocketAddr::from(([127, 0, 0, n], 1));
        let log = Arc::<SwarmLog>::default();
        let mut chronicler = Chronicler::new(Arc::clone(&log));
        let start = made_up::start();
        let mut gossip = Gossip::new(log, (peer(9), true), 7);
        let mut told = Vec::new();
        chronicler.came(peer(9), address(9), Standing::default());
        for second in 0..200 {
            let now = start + Duration::from_secs(second);
            if second % 10 == 3 {
                let n = u8::try_from(second / 10).unwrap();
                chronicler.came(peer(n.into()), address(n), Standing::default());
            }
            assert!(gossip.poll_deadline(now) > now || second > 0);
            if let Some(Message::Extended { id, payload }) = gossip.poll_message(now) {
                assert_eq!(id, 7);
                let added = PeerExchange::parse(&payload).unwrap().added;
                assert!(added.iter().all(|(at, flags)| *at != address(9) && !flags.is_seeder()));
                told.push((second, added.len()));
            }
        }
        // What came in between is told together, and it is not told of itself.
        assert_eq!(told, [(5, 1), (65, 6), (125, 5), (185, 6)]);
    }
}
