//! Questions that wait for their answers, and what is known of those who were asked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::formats::krpc::{Query, Token};
use crate::machines::chord::Contact;
use crate::machines::chord::fingers::Slot;
use crate::words::id::InfoHash;
use crate::words::limits::ring as limits;

/// Why something was asked: whoever gets the answer, or hears of the silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The ring asks its head or a candidate.
    View,
    /// The ring asks whether a node lives (R1).
    Alive,
    /// The first word to an entry point.
    Greeting,
    /// A step of our joining.
    Join,
    /// A lookup goes on.
    Lookup(u64),
    /// Our announce at the owner.
    Announce(InfoHash),
    /// Whether a sharer still is one.
    Validate(InfoHash, SocketAddr),
    /// Entries for another holder.
    Push,
    /// Whether a finger lives.
    Finger(Slot),
    /// The neighbourhood of our place in what may be another ring.
    Merge,
    /// Whether a member of that neighbourhood lives.
    MergeAlive,
    /// Whether a node lives that the head does not name, or whom it names and nobody has heard of.
    Witness,
    /// To be pinged later.
    PingBack,
    /// The next member of a walk.
    Walk,
    /// What nobody waits for.
    Courtesy,
}

impl Purpose {
    /// Whether a sign of life is not enough: the node is to have a place on the ring.
    pub(super) fn asks_for_a_place(self) -> bool {
        matches!(self, Self::Alive | Self::MergeAlive | Self::Witness)
    }
}

/// A question that waits for its answer.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) to: Contact,
    pub(super) purpose: Purpose,
    pub(super) query: Query,
    pub(super) token: Option<Token>,
    /// When it was sent first, and last.
    pub(super) asked_at: Instant,
    pub(super) sent_at: Instant,
    /// How often it was sent.
    pub(super) tries: u32,
    pub(super) tries_max: u32,
    /// The timer that tells of its silence.
    pub(super) silence: Option<(Instant, u64)>,
}

/// A question that was given up.
#[derive(Clone, Copy, Debug)]
struct GivenUp {
    transaction: u32,
    to: Contact,
    asked_at: Instant,
    tries: u32,
}

/// What is known of a peer (RFC 6298: smoothed round trip and its variation).
#[derive(Clone, Copy, Debug)]
struct Peer {
    round_trip: Option<(Duration, Duration)>,
    silent_at: Option<Instant>,
    touched: Instant,
}

/// All questions, by transaction.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pending: BTreeMap<u32, Pending>,
    peers: BTreeMap<SocketAddr, Peer>,
    by_touch: BTreeSet<(Instant, SocketAddr)>,
    /// How long the last answers took, each from when its question was sent first; those of sharers
    /// without a place do not count. Who is on a slow line itself waits long for every one of them.
    lately: VecDeque<Duration>,
    /// The last that were given up: an answer that is late after all tells how long to wait.
    given_up: VecDeque<GivenUp>,
}

impl Requests {
    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= limits::REQUESTS_MAX
    }

    /// Whether what can wait should.
    pub(super) fn is_busy(&self) -> bool {
        self.pending.len() >= limits::REQUESTS_MAX / 2
    }

    pub(super) fn contains(&self, transaction: u32) -> bool {
        self.pending.contains_key(&transaction)
    }

    pub(super) fn insert(&mut self, transaction: u32, pending: Pending) {
        self.pending.insert(transaction, pending);
    }

    pub(super) fn get_mut(&mut self, transaction: u32) -> Option<&mut Pending> {
        self.pending.get_mut(&transaction)
    }

    /// Takes the question that `from` answers under `transaction`.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        transaction: u32,
        from: SocketAddr,
    ) -> Option<(Pending, Duration)> {
        if self.pending.get(&transaction)?.to.address != from {
            return None;
        }
        let pending = self.pending.remove(&transaction)?;
        let took = now.saturating_duration_since(pending.sent_at);
        if !matches!(pending.purpose, Purpose::Validate(..)) {
            self.lately.truncate(limits::ANSWERS_COMPARED - 1);
            self.lately.push_front(now.saturating_duration_since(pending.asked_at));
        }
        self.note_answer(now, from, took, pending.tries);
        Some((pending, took))
    }

    /// Takes the answer of `from` to a question that was given up: who gave it, and how long it took.
    /// Where lines have become slower than they were, none would ever be in time otherwise.
    pub(super) fn late(
        &mut self,
        now: Instant,
        transaction: u32,
        from: SocketAddr,
    ) -> Option<(Contact, Duration)> {
        let is_it = |it: &GivenUp| it.transaction == transaction && it.to.address == from;
        let at = self.given_up.iter().position(is_it)?;
        let GivenUp { to, asked_at, tries, .. } = self.given_up.remove(at)?;
        let took = now.saturating_duration_since(asked_at);
        if took > limits::LATE_MAX {
            return None;
        }
        self.note_answer(now, from, took, tries);
        Some((to, took))
    }

    /// `from` lives, and its answer took so long.
    fn note_answer(&mut self, now: Instant, from: SocketAddr, took: Duration, tries: u32) {
        let peer = self.touch(now, from);
        peer.silent_at = None;
        // The answer to a question that was sent twice tells no round trip (Karn).
        if tries == 1 {
            let (smooth, varies) = peer.round_trip.map_or((took, took / 2), |(smooth, varies)| {
                let error = smooth.abs_diff(took);
                ((smooth * 7 + took) / 8, (varies * 3 + error) / 4)
            });
            peer.round_trip = Some((smooth, varies));
        }
    }

    /// How long to wait for `peer`, which has been asked `tries` times.
    pub(super) fn wait(&self, peer: SocketAddr, tries: u32) -> Duration {
        let known = self.peers.get(&peer).and_then(|peer| peer.round_trip);
        let quickest = self.lately.iter().min().copied().unwrap_or_default();
        let stranger = limits::WAIT_FIRST.max(quickest * 3 / 2);
        let first = known.map_or(stranger, |(smooth, varies)| smooth + varies * 4);
        let doubled = first.saturating_mul(1 << tries.min(4));
        doubled.clamp(limits::WAIT_MIN, limits::WAIT_MAX)
    }

    /// After how long the answer of `peer` is slow, so that another node is asked beside it: twice
    /// its variation after its usual round trip, or for a stranger what most take.
    pub(super) fn patience(&self, peer: SocketAddr) -> Duration {
        let known = self.peers.get(&peer).and_then(|peer| peer.round_trip);
        let usual = known.map_or(limits::HEDGE, |(smooth, varies)| smooth + varies * 2);
        usual.clamp(limits::HEDGE_MIN, limits::HEDGE)
    }

    pub(super) fn round_trip(&self, peer: SocketAddr) -> Option<Duration> {
        self.peers.get(&peer)?.round_trip.map(|(smooth, _)| smooth)
    }

    /// Nobody waits for the answer to this question any longer.
    pub(super) fn give_up(&mut self, now: Instant, transaction: u32) -> Option<Pending> {
        let pending = self.pending.remove(&transaction)?;
        let Pending { to, asked_at, tries, .. } = pending;
        self.given_up.truncate(limits::GIVEN_UP_REMEMBERED - 1);
        self.given_up.push_front(GivenUp { transaction, to, asked_at, tries });
        self.touch(now, to.address).silent_at = Some(now);
        Some(pending)
    }

    /// Whether `peer` was silent lately, and not heard of since.
    pub(super) fn is_suspect(&self, now: Instant, peer: SocketAddr) -> bool {
        let silent_at = self.peers.get(&peer).and_then(|peer| peer.silent_at);
        silent_at.is_some_and(|at| now.saturating_duration_since(at) < limits::SUSPECT_FOR)
    }

    fn touch(&mut self, now: Instant, address: SocketAddr) -> &mut Peer {
        let new = Peer { round_trip: None, silent_at: None, touched: now };
        let peer = self.peers.entry(address).or_insert(new);
        self.by_touch.remove(&(peer.touched, address));
        self.by_touch.insert((now, address));
        peer.touched = now;
        if self.by_touch.len() > limits::PEERS_REMEMBERED {
            let oldest = self.by_touch.pop_first().map(|(_, address)| address);
            if let Some(oldest) = oldest.filter(|oldest| *oldest != address) {
                self.peers.remove(&oldest);
            }
        }
        self.peers.get_mut(&address).expect("it was touched just now")
    }

    /// Remembers a round trip; for rings that are built at once.
    pub(super) fn settle(&mut self, now: Instant, peer: SocketAddr, took: Duration) {
        self.touch(now, peer).round_trip = Some((took, took / 8));
    }

    pub(super) fn check(&self) {
        assert!(self.pending.len() <= limits::REQUESTS_MAX);
        assert!(self.lately.len() <= limits::ANSWERS_COMPARED);
        assert!(self.given_up.len() <= limits::GIVEN_UP_REMEMBERED);
        assert!(self.peers.len() <= limits::PEERS_REMEMBERED);
        assert_eq!(self.peers.len(), self.by_touch.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A question to `to` that was sent once.
    fn pending(to: Contact, at: Instant) -> Pending {
        Pending {
            to,
            purpose: Purpose::Courtesy,
            query: Query::Leave,
            token: None,
            asked_at: at,
            sent_at: at,
            tries: 1,
            tries_max: 1,
            silence: None,
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
    fn the_wait_follows_the_round_trip_and_doubles() {
        let now = Instant::now();
        let to = Contact::at("10.0.0.1:1".parse().unwrap());
        let mut requests = Requests::default();
        let ms = Duration::from_millis;
        assert_eq!(requests.wait(to.address, 0), limits::WAIT_FIRST);
        assert_eq!(requests.patience(to.address), limits::HEDGE);
        for (n, took) in [100, 100, 100, 100, 100, 100].into_iter().enumerate() {
            let transaction = u32::try_from(n).unwrap();
            requests.insert(transaction, pending(to, now));
            let other = "10.0.0.2:1".parse().unwrap();
            assert!(requests.answered(now, transaction, other).is_none());
            let answered = requests.answered(now + ms(took), transaction, to.address);
            assert_eq!(answered.map(|(_, took)| took), Some(ms(100)));
        }
        assert_eq!(requests.round_trip(to.address), Some(ms(100)));
        assert_eq!(requests.wait(to.address, 0), limits::WAIT_MIN);
        assert!((ms(101)..limits::HEDGE).contains(&requests.patience(to.address)));
        assert!(requests.wait(to.address, 1) > limits::WAIT_MIN);
        let stranger = "10.0.0.3:1".parse().unwrap();
        assert_eq!(requests.wait(stranger, 0), limits::WAIT_FIRST);
        requests.lately = VecDeque::from([ms(1200); limits::ANSWERS_COMPARED]);
        assert_eq!(requests.wait(stranger, 0), ms(1800));
        requests.lately[3] = ms(100);
        assert_eq!(requests.wait(stranger, 0), limits::WAIT_FIRST, "one that is quick says enough");
        requests.insert(9, pending(to, now));
        requests.give_up(now, 9);
        assert!(requests.is_suspect(now + limits::SUSPECT_FOR / 2, to.address));
        assert!(!requests.is_suspect(now + limits::SUSPECT_FOR, to.address));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
    fn only_so_many_peers_are_remembered() {
        let now = Instant::now();
        let mut requests = Requests::default();
        for n in 0..u32::try_from(limits::PEERS_REMEMBERED).unwrap() + 100 {
            let ip = std::net::Ipv4Addr::from(0x0a00_0000 + n);
            requests.insert(n, pending(Contact::at((ip, 1).into()), now));
            requests.give_up(now + Duration::from_millis(n.into()), n);
            requests.check();
        }
    }

    /// A line that was quick and becomes slow: of what takes longer than the wait, nothing would ever
    /// be in time.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
    fn an_answer_that_is_late_tells_how_long_to_wait() {
        let now = Instant::now();
        let to = Contact::at("10.0.0.1:1".parse().unwrap());
        let mut requests = Requests::default();
        let ms = Duration::from_millis;
        requests.settle(now, to.address, ms(20));
        assert_eq!(requests.wait(to.address, 0), limits::WAIT_MIN);
        requests.insert(1, pending(to, now));
        assert!(requests.give_up(now + limits::WAIT_MIN, 1).is_some());
        let late = now + ms(600);
        assert!(requests.is_suspect(late, to.address));
        assert_eq!(requests.answered(late, 1, to.address).map(|(_, took)| took), None);
        let stranger = "10.0.0.2:1".parse().unwrap();
        assert_eq!(requests.late(late, 1, stranger), None, "it was not asked");
        assert_eq!(requests.late(late, 1, to.address), Some((to, ms(600))));
        assert_eq!(requests.late(late, 1, to.address), None, "it answers once");
        assert!(!requests.is_suspect(late, to.address));
        assert!(requests.wait(to.address, 0) > ms(600));
        requests.insert(2, pending(to, now));
        requests.give_up(late, 2);
        assert_eq!(requests.late(now + limits::LATE_MAX + ms(1), 2, to.address), None);
    }
}
