//! Whether others can ask us (BEP 43). Behind a router that lets nothing in but answers, a node that
//! is in the tables of others only costs them time: so it asks as one that is not to be asked.
//!
//! Who can be reached is asked now and then by somebody to whom it has sent nothing lately: no router
//! lets that in by itself. If nobody does for long, we take ourselves for unreachable, and find out
//! anew every hour. On local addresses there is no router to think of.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use crate::words::limits::mainline as limits;

#[derive(Debug)]
pub(super) struct Reach {
    /// To whom we sent something lately.
    sent: BTreeMap<SocketAddr, Instant>,
    by_age: BTreeSet<(Instant, SocketAddr)>,
    /// When somebody asked us whom we had not sent anything, or we began to wait for that.
    asked: Instant,
}

impl Reach {
    pub(super) fn new(now: Instant) -> Self {
        Self { sent: BTreeMap::new(), by_age: BTreeSet::new(), asked: now }
    }

    /// We answer `to`. Its router lets more in only if we had sent something before.
    pub(super) fn handle_answered(&mut self, now: Instant, to: SocketAddr) {
        if self.has_sent_lately(now, to) {
            self.handle_asked(now, to);
        }
    }

    /// We ask `to`.
    pub(super) fn handle_asked(&mut self, now: Instant, to: SocketAddr) {
        if let Some(before) = self.sent.insert(to, now) {
            self.by_age.remove(&(before, to));
        }
        self.by_age.insert((now, to));
        while self.sent.len() > limits::REACH_SENT_MAX {
            let Some((_, oldest)) = self.by_age.pop_first() else { break };
            self.sent.remove(&oldest);
        }
    }

    /// `from` asks us something.
    pub(super) fn handle_query(&mut self, now: Instant, from: SocketAddr) {
        // What was forgotten may have been sent lately as well.
        let is_full = self.sent.len() >= limits::REACH_SENT_MAX;
        let oldest = self.by_age.first().map(|(sent, _)| *sent).filter(|_| is_full);
        let forgot = oldest.is_some_and(|sent| is_lately(now, sent));
        if !forgot && !self.has_sent_lately(now, from) {
            self.asked = now;
        }
    }

    fn has_sent_lately(&self, now: Instant, to: SocketAddr) -> bool {
        self.sent.get(&to).is_some_and(|sent| is_lately(now, *sent))
    }

    /// Whether others may ask us. When nobody did for long, some time has to pass before the next
    /// try.
    pub(super) fn is_open(&mut self, now: Instant) -> bool {
        let quiet = now.saturating_duration_since(self.asked);
        if quiet >= limits::REACH_PATIENCE + limits::REACH_AGAIN {
            self.asked = now;
            return true;
        }
        quiet < limits::REACH_PATIENCE
    }

    pub(super) fn check(&self) {
        assert!(self.sent.len() <= limits::REACH_SENT_MAX);
        assert_eq!(self.sent.len(), self.by_age.len(), "every address has one age");
    }
}

/// Whether a router may still let in what comes from where something was sent.
fn is_lately(now: Instant, sent: Instant) -> bool {
    now.saturating_duration_since(sent) < limits::REACH_MAPPING
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::made_up;

    fn address(n: u32) -> SocketAddr {
        let [_, a, b, c] = n.to_be_bytes();
        SocketAddr::from(([203, a, b, c], 6881))
    }

    /// One who asks many and is asked by others stays open, for hours.
    #[test]
    fn who_is_asked_by_strangers_is_open_however_many_it_asks_and_answers() {
        let mut now = made_up::start();
        let mut reach = Reach::new(now);
        for n in 0..20_000 {
            now += limits::REACH_PATIENCE / 1000;
            reach.handle_asked(now, address(2 * n));
            reach.handle_query(now, address(2 * n + 1));
            reach.handle_answered(now, address(2 * n + 1));
            reach.check();
            assert!(reach.is_open(now), "{n}");
        }
    }

    #[test]
    fn who_is_asked_by_those_alone_whom_it_asked_is_not() {
        let mut now = made_up::start();
        let mut reach = Reach::new(now);
        reach.handle_asked(now, address(1));
        while reach.is_open(now) {
            now += limits::REACH_MAPPING / 2;
            reach.handle_query(now, address(1));
            reach.handle_answered(now, address(1));
            assert!(now < made_up::start() + 2 * limits::REACH_PATIENCE);
        }
    }
}
