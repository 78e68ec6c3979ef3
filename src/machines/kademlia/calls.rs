//! Queries that wait for an answer.
//!
//! A call is *late* when it takes longer than most do (RTO = SRTT + 4·VAR, as TCP's in RFC 6298):
//! whoever waits for it may turn to somebody else. It is *lost* when nothing comes for
//! [`CALL_LOST_AFTER`](limits::CALL_LOST_AFTER).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sha1::{Digest, Sha1};

use crate::formats::mainline::Transaction;
use crate::words::id::InfoHash;
use crate::words::limits::mainline as limits;
use crate::words::node_id::NodeId;

/// A query that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) to: SocketAddr,
    /// Who should be there, if we know.
    pub(super) expected: Option<NodeId>,
    pub(super) purpose: Purpose,
    sent: Instant,
    deadline: Instant,
    is_late: bool,
}

/// What a query is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To see whether the node is there.
    Ping,
    /// The lookup of this number.
    Lookup(u32),
    /// To announce.
    Announce(InfoHash),
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// It may still be answered.
    Late,
    /// It is forgotten.
    Lost,
}

#[derive(Debug)]
pub(super) struct Calls {
    secret: [u8; 20],
    counter: u64,
    waiting: BTreeMap<u32, Call>,
    deadlines: BTreeSet<(Instant, u32)>,
    srtt: Duration,
    variation: Duration,
}

impl Calls {
    pub(super) fn new(secret: [u8; 20]) -> Self {
        let variation = limits::CALL_RTO_START / 8;
        Self {
            secret,
            counter: 0,
            waiting: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            srtt: limits::CALL_RTO_START / 2,
            variation,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= limits::CALLS_MAX
    }

    /// Notes a call; nobody else can guess its transaction.
    pub(super) fn place(
        &mut self,
        now: Instant,
        to: SocketAddr,
        expected: Option<NodeId>,
        purpose: Purpose,
    ) -> Transaction {
        let number = loop {
            self.counter += 1;
            let hash =
                Sha1::new().chain_update(self.secret).chain_update(self.counter.to_be_bytes());
            let hash: [u8; 20] = hash.finalize().into();
            let number = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
            if !self.waiting.contains_key(&number) {
                break number;
            }
        };
        let deadline = now + self.rto();
        self.deadlines.insert((deadline, number));
        let call = Call { to, expected, purpose, sent: now, deadline, is_late: false };
        self.waiting.insert(number, call);
        Transaction::from(number)
    }

    /// The call that this is the answer to: it has the transaction and comes from where it went.
    pub(super) fn take(
        &mut self,
        now: Instant,
        from: SocketAddr,
        transaction: Transaction,
    ) -> Option<Call> {
        let number = u32::from_be_bytes(transaction.as_bytes().try_into().ok()?);
        if self.waiting.get(&number)?.to != from {
            return None;
        }
        let call = self.waiting.remove(&number)?;
        self.deadlines.remove(&(call.deadline, number));
        self.measure(now.saturating_duration_since(call.sent));
        Some(call)
    }

    /// The next call whose time has come. Lost ones are forgotten.
    pub(super) fn poll_expired(&mut self, now: Instant) -> Option<(Call, Expired)> {
        let (at, number) = *self.deadlines.first()?;
        if at > now {
            return None;
        }
        self.deadlines.pop_first();
        let call = self.waiting.get_mut(&number)?;
        let lost_at = call.sent + limits::CALL_LOST_AFTER;
        if !call.is_late && lost_at > now {
            call.is_late = true;
            call.deadline = lost_at;
            self.deadlines.insert((lost_at, number));
            return Some((*call, Expired::Late));
        }
        self.waiting.remove(&number).map(|call| (call, Expired::Lost))
    }

    pub(super) fn poll_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// How long an answer may take before it is late.
    fn rto(&self) -> Duration {
        (self.srtt + 4 * self.variation).clamp(limits::CALL_RTO_MIN, limits::CALL_LOST_AFTER)
    }

    fn measure(&mut self, rtt: Duration) {
        self.variation = (3 * self.variation + self.srtt.abs_diff(rtt)) / 4;
        self.srtt = (7 * self.srtt + rtt) / 8;
    }

    pub(super) fn check(&self) {
        assert!(self.waiting.len() <= limits::CALLS_MAX, "too many calls wait");
        assert_eq!(self.waiting.len(), self.deadlines.len(), "every call has one deadline");
        let has_deadline =
            |(number, call): (&u32, &Call)| self.deadlines.contains(&(call.deadline, *number));
        assert!(self.waiting.iter().all(has_deadline), "a call without its deadline");
    }
}
