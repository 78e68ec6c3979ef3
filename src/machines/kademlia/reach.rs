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

    /// We send something to `to`.
    pub(super) fn handle_sent(&mut self, now: Instant, to: SocketAddr) {
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
        let lately = self
            .sent
            .get(&from)
            .is_some_and(|sent| now.saturating_duration_since(*sent) < limits::REACH_MAPPING);
        // What was forgotten may have been sent lately as well.
        let forgot = self.sent.len() >= limits::REACH_SENT_MAX;
        if !lately && !forgot {
            self.asked = now;
        }
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
