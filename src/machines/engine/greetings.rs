//! Those who dialled us and have not shaken hands: few, counted apart, and gone soon.
//!
//! Whoever connects and says nothing costs a thread until the handshake's time is over. So when there
//! are too many of them, or too many from one network, the oldest makes room for the newcomer: an
//! honest one is through within two round trips.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::bus::SocketNumber;
use crate::words::address::{is_local, network};
use crate::words::id::PeerKey;
use crate::words::limits;

/// The greeting connections: at most [`limits::GREETINGS_MAX`].
#[derive(Debug, Default)]
pub(super) struct Greetings {
    /// Sockets are numbered as they come, so the first is the oldest.
    by_age: BTreeMap<SocketNumber, (PeerKey, IpAddr)>,
    by_network: BTreeSet<(IpAddr, SocketNumber)>,
}

impl Greetings {
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.by_age.len()).unwrap_or(u32::MAX)
    }

    /// Who has to make room before somebody may come from `ip`.
    pub(super) fn in_the_way_of(&self, ip: IpAddr) -> Option<PeerKey> {
        let network = network(ip);
        let (oldest, newest) = (SocketNumber(0), SocketNumber(u64::MAX));
        // Bound: limits::GREETINGS_MAX
        let from_there = self.by_network.range((network, oldest)..=(network, newest));
        let most = limits::GREETINGS_A_NETWORK;
        // Bound: limits::GREETINGS_A_NETWORK
        let many = !is_local(ip) && from_there.clone().take(most).count() >= most;
        let socket = if many {
            from_there.map(|(_, socket)| *socket).next()
        } else if self.len() >= limits::GREETINGS_MAX {
            self.by_age.first_key_value().map(|(socket, _)| *socket)
        } else {
            None
        };
        self.by_age.get(&socket?).map(|(key, _)| *key)
    }

    /// `key` comes from `ip`.
    pub(super) fn add(&mut self, socket: SocketNumber, key: PeerKey, ip: IpAddr) {
        self.by_age.insert(socket, (key, network(ip)));
        self.by_network.insert((network(ip), socket));
    }

    /// It has shaken hands, or leaves.
    pub(super) fn remove(&mut self, socket: SocketNumber) {
        if let Some((_, network)) = self.by_age.remove(&socket) {
            self.by_network.remove(&(network, socket));
        }
    }
}
