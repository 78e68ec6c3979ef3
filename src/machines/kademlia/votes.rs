//! Which address is ours: what others say from where they see us (BEP 42).
//!
//! One liar must not move us, and each move costs us our place in everybody's table. So a first
//! address is believed when [`VOTES_MIN`](limits::VOTES_MIN) voters of different networks agree and
//! are the majority, and another one only after they have been so for a while.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::subnet;
use crate::words::address::is_local;
use crate::words::limits::mainline as limits;

#[derive(Debug, Default)]
pub(super) struct Votes {
    /// The latest vote of each network, the oldest first.
    votes: VecDeque<(Voter, IpAddr)>,
    believed: Option<IpAddr>,
    /// Another address has had the majority since then.
    challenger: Option<(IpAddr, Instant)>,
}

/// Votes of one network are one vote; on local addresses every endpoint has its own.
type Voter = (IpAddr, u16);

impl Votes {
    /// The address that is believed.
    pub(super) fn believed(&self) -> Option<IpAddr> {
        self.believed
    }

    /// `from` says that it sees us at `ip`. Gives the address when it is newly believed.
    pub(super) fn handle_vote(
        &mut self,
        now: Instant,
        from: SocketAddr,
        ip: IpAddr,
    ) -> Option<IpAddr> {
        let voter = match is_local(from.ip()) {
            true => (from.ip(), from.port()),
            false => (subnet(from.ip()), 0),
        };
        self.votes.retain(|(other, _)| *other != voter);
        if self.votes.len() == limits::VOTES_MAX {
            self.votes.pop_front();
        }
        self.votes.push_back((voter, ip));

        let agreeing = self.votes.iter().filter(|(_, other)| *other == ip).count();
        let wins = agreeing >= limits::VOTES_MIN && 2 * agreeing > self.votes.len();
        if Some(ip) == self.believed {
            if wins {
                self.challenger = None;
            }
            return None;
        }
        if !wins {
            return None;
        }
        let since = match self.challenger {
            Some((challenger, since)) if challenger == ip => since,
            _ => now,
        };
        self.challenger = Some((ip, since));
        let is_due = now.saturating_duration_since(since) >= limits::VOTES_SETTLE;
        if self.believed.is_some() && !is_due {
            return None;
        }
        self.believed = Some(ip);
        self.challenger = None;
        Some(ip)
    }
}
