//! The node: the ring's state with all that keeps it, behind a few calls. What the calls do is in
//! the files beside this one: `serve` answers questions, `upkeep` keeps pointers and fingers,
//! `membership` joins, merges and leaves, `searching` runs lookups, `keeping` holds the entries.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sha1::{Digest as _, Sha1};

use crate::bus::Dropped;
use crate::formats::krpc::{
    Body, Family, Message, Query, Refusal, State, Token, Unreadable, parse,
};
use crate::machines::chord::fingers::Fingers;
use crate::machines::chord::keeping::Keeping;
use crate::machines::chord::lookup::{Goal, Lookup};
use crate::machines::chord::membership::{Membership, Standing};
use crate::machines::chord::rates::Rates;
use crate::machines::chord::requests::{Pending, Purpose, Requests};
use crate::machines::chord::ring::{Ring, Rules};
use crate::machines::chord::tokens::Tokens;
use crate::machines::chord::walk::Walk;
use crate::machines::chord::witnesses::Witnesses;
use crate::machines::chord::{Contact, News, Settings, Transmit};
use crate::words::id::InfoHash;
use crate::words::limits::ring as limits;
use crate::words::ring_id::RingId;
use crate::words::rng::Rng;
use crate::words::timers::Timers;

/// One place on one ring.
#[derive(Debug)]
pub struct Node {
    pub(super) settings: Settings,
    pub(super) family: Family,
    pub(super) now: Instant,
    pub(super) rng: Rng,
    pub(super) ring: Ring<Contact>,
    /// The nodes before the predecessor, the nearest first: what the predecessor said, for replicas
    /// and never for the ring.
    pub(super) before: Vec<Contact>,
    /// Nodes after us of which the head's word alone says that they live, or that they do not.
    pub(super) witnesses: Witnesses,
    /// What the head last answered, so that it can answer "the same".
    pub(super) head_state: Option<(Contact, State)>,
    /// The time from one stabilisation to the next, and the timer of the next.
    pub(super) stabilise_every: Duration,
    pub(super) stabilise_timer: Option<(Instant, u64)>,
    pub(super) fingers: Fingers,
    pub(super) requests: Requests,
    pub(super) tokens: Tokens,
    pub(super) rates: Rates,
    pub(super) membership: Membership,
    pub(super) keeping: Keeping,
    pub(super) lookups: BTreeMap<u64, Lookup>,
    pub(super) lookups_begun: u64,
    /// Orders that wait for one of [`limits::LOOKUPS_MAX`] places.
    pub(super) waiting: VecDeque<(Goal, RingId)>,
    pub(super) walk: Option<Walk>,
    pub(super) timers: Timers<Timer>,
    pub(super) transmits: VecDeque<Transmit>,
    pub(super) news: VecDeque<News>,
    pub(super) dropped: Dropped,
}

/// What is to be done at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// Ask the head.
    Stabilise,
    /// Nobody answered under this transaction.
    Silence(u32),
    /// The answer to this lookup's question of this number is slow.
    Slow(u64),
    /// Look for a finger that is missing, or at the next one.
    Fingers,
    /// Look through a weak tie.
    Probe,
    /// Look for a loop.
    LoopCheck,
    /// Forget what has expired.
    Expire,
    /// Tell the other holders what changed.
    Push,
    /// Tell them what the owner should have told.
    Tell,
    /// Ask a sharer.
    Validate(InfoHash, SocketAddr),
    /// Announce again.
    Announce(InfoHash),
    /// Ping whoever asked for it.
    PingBack(SocketAddr),
    /// See which of our own requests to be pinged back were kept.
    Promote,
    /// Those that were to be greeted have had their time.
    Greeted,
    /// Wait no longer for those who take what we hold.
    Leave,
}

impl Node {
    /// A node whose socket is bound to `listen`, which may be a wildcard: then others tell it which
    /// address it has. All its chance comes from `seed`.
    pub fn new(settings: Settings, listen: SocketAddr, seed: u64, now: Instant) -> Self {
        // What strangers see of the one says nothing about the other.
        let derive = |purpose: &[u8]| {
            let hash: [u8; 20] = Sha1::new()
                .chain_update(purpose)
                .chain_update(seed.to_be_bytes())
                .finalize()
                .into();
            u64::from_be_bytes(*hash.first_chunk().expect("eight of twenty bytes"))
        };
        let me = Contact::with_bits(listen, settings.shape.place_bits);
        let bits = settings.shape.finger_bits.unwrap_or(limits::FINGER_BITS);
        Self {
            family: Family::of(listen),
            now,
            rng: Rng::new(derive(b"chance")),
            ring: Ring::alone(me),
            before: Vec::new(),
            witnesses: Witnesses::default(),
            head_state: None,
            stabilise_every: limits::STABILISE_MIN,
            stabilise_timer: None,
            fingers: Fingers::new(me.id, bits, settings.shape.quick),
            requests: Requests::default(),
            tokens: Tokens::new(derive(b"tokens"), now),
            rates: Rates::new(settings.limited, now),
            membership: Membership::new(listen),
            keeping: Keeping::default(),
            lookups: BTreeMap::new(),
            lookups_begun: 0,
            waiting: VecDeque::new(),
            walk: None,
            timers: Timers::default(),
            transmits: VecDeque::new(),
            news: VecDeque::new(),
            dropped: Dropped::default(),
            settings,
        }
    }

    // ------------------------------------------------------------------------------- Getters ---

    /// The node itself, under the address that it believes to have.
    pub fn me(&self) -> Contact {
        self.ring.me()
    }

    /// The nodes after it, the nearest first.
    pub fn successors(&self) -> &[Contact] {
        self.ring.successors()
    }

    /// The node before it.
    pub fn predecessor(&self) -> Option<Contact> {
        self.ring.predecessor()
    }

    /// Whether it has a place on the ring, be it a ring of one.
    pub fn is_member(&self) -> bool {
        self.membership.standing == Standing::Member
    }

    /// How many torrents it holds entries of.
    pub fn keys(&self) -> usize {
        self.keeping.store.keys()
    }

    /// What it holds for others: who shares what.
    pub fn entries(&self) -> impl Iterator<Item = (InfoHash, SocketAddr)> {
        self.keeping.store.iter().map(|(info_hash, address, _)| (info_hash, address))
    }

    /// The textbook's finger table, for a ring of `bits` bits: for each distance of 1, 2, 4 … places
    /// the first node from there on, of those that this one knows.
    pub fn finger_table(&self, bits: u32) -> Vec<(RingId, Contact)> {
        let me = self.me();
        let fingers = self.fingers.iter().map(|(_, finger)| finger.contact);
        let known: Vec<_> = fingers.chain(self.ring.successors().iter().copied()).collect();
        let first = |start: RingId| {
            known.iter().copied().min_by_key(|contact| start.clockwise_to(contact.id))
        };
        let starts =
            (1..=bits.min(63)).rev().map(|n| me.id.plus(RingId::from_leading(1 << (64 - n))));
        starts.filter_map(|start| Some((start, first(start)?))).collect()
    }

    /// How many fingers it has.
    pub fn finger_count(&self) -> usize {
        self.fingers.len()
    }

    /// Nodes to begin with next time: members that have answered, at most 64; neighbours, fingers and
    /// those met before in turns.
    pub fn contacts(&self) -> Vec<SocketAddr> {
        let address = |contact: Contact| contact.address;
        let ring = self.ring.successors().iter().copied().chain(self.ring.predecessor());
        let ties = self.membership.weak_ties.iter().filter(|(_, tie)| tie.is_proved);
        let groups: [Vec<_>; 3] = [
            ring.map(address).collect(),
            self.fingers.heard().map(address).collect(),
            ties.map(|(address, _)| *address).collect(),
        ];
        let longest = groups.iter().map(Vec::len).max().unwrap_or(0);
        let in_turns = (0..longest).flat_map(|n| groups.iter().filter_map(move |it| it.get(n)));
        let mut seen = BTreeSet::new();
        let new = in_turns.filter(|address| seen.insert(**address));
        new.take(limits::ENTRY_POINTS_MAX).copied().collect()
    }

    /// The datagrams that were dropped until now.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing to tell.
    pub fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// When [`handle_time`](Self::handle_time) is to be called, if nothing happens before.
    pub fn poll_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    // -------------------------------------------------------------------------------- Inputs ---

    /// A datagram came.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.now = self.now.max(now);
        if Family::of(from) != self.family || from.port() == 0 {
            self.dropped.unreadable += 1;
            return;
        }
        let message = match parse(bytes, self.family) {
            Ok(message) => message,
            Err(Unreadable::UnknownQuery(transaction)) => {
                if self.is_admitted(from) {
                    self.refuse(from, transaction, Refusal::Unknown, bytes.len());
                }
                return;
            }
            Err(_) => {
                self.dropped.unreadable += 1;
                return;
            }
        };
        match message.body {
            Body::Query(query, token) => {
                let asked = Asked {
                    from,
                    transaction: message.transaction,
                    client: message.client,
                    token,
                    len: bytes.len(),
                };
                if self.is_admitted(from) {
                    self.handle_seen_by_asker(message.seen);
                    self.handle_query(&asked, query);
                }
            }
            Body::Answer(answer) => {
                let answered = self.requests.answered(self.now, message.transaction, from);
                if let Some((pending, took)) = answered {
                    self.forget_silence(&pending);
                    if !message.client {
                        self.membership.met_member = true;
                        self.heard(pending.to, took);
                    }
                    self.handle_seen(from, message.seen);
                    if message.client && pending.purpose.asks_for_a_place() {
                        // It lives and has no place: it has moved, has begun anew or is joining yet.
                        self.handle_failure(pending.purpose, pending.to);
                    } else {
                        self.handle_answer(&pending, answer, took);
                    }
                } else if let Some((late, took)) =
                    self.requests.late(self.now, message.transaction, from)
                {
                    if !message.client {
                        self.heard(late, took);
                    }
                } else {
                    self.dropped.unasked += 1;
                }
            }
            Body::Error(_) => {
                let answered = self.requests.answered(self.now, message.transaction, from);
                if let Some((pending, _)) = answered {
                    self.forget_silence(&pending);
                    self.handle_refusal(&pending);
                } else {
                    self.dropped.unasked += 1;
                }
            }
        }
    }

    /// Whether a question of `from` is looked at, or is one too many.
    fn is_admitted(&mut self, from: SocketAddr) -> bool {
        let is_admitted = self.rates.admit(self.now, from);
        self.dropped.too_many += u64::from(!is_admitted);
        is_admitted
    }

    /// The deadline of [`poll_deadline`](Self::poll_deadline) has come: handles one timer that is
    /// due.
    pub fn handle_time(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let Some(timer) = self.timers.pop_due(self.now) else { return };
        match timer {
            Timer::Stabilise => self.handle_stabilise_due(),
            Timer::Silence(transaction) => self.handle_wait_over(transaction),
            Timer::Slow(lookup) => self.drive(lookup),
            Timer::Fingers => self.handle_fingers_due(),
            Timer::Probe => self.handle_probe_due(),
            Timer::LoopCheck => self.handle_loop_check_due(),
            Timer::Expire => self.handle_expire_due(),
            Timer::Push => self.handle_push_due(),
            Timer::Tell => self.handle_tell_due(),
            Timer::Validate(info_hash, address) => self.handle_validate_due(info_hash, address),
            Timer::Announce(info_hash) => self.handle_announce_due(info_hash),
            Timer::PingBack(address) => self.handle_ping_back_due(address),
            Timer::Promote => self.handle_promote_due(),
            Timer::Greeted => self.handle_greeted(),
            Timer::Leave => self.handle_left(),
        }
    }

    // ------------------------------------------------------------------------- Asking others ---

    pub(super) fn rules(&self) -> Rules {
        Rules { successors: self.settings.shape.successors, heal: self.settings.shape.heal }
    }

    pub(super) fn start_timer(&mut self, after: Duration, timer: Timer) {
        self.timers.start(self.now + after, timer);
    }

    /// `time` ±50 %, so that nodes that began together do not go on together.
    pub(super) fn jitter(&mut self, time: Duration) -> Duration {
        time * (500 + self.rng.below(1001)) / 1000
    }

    /// Asks `to`, at most `tries_max` times. Only the ring's own questions find room when too many
    /// wait for answers; whether it was asked.
    pub(super) fn ask(
        &mut self,
        to: Contact,
        query: Query,
        token: Option<Token>,
        purpose: Purpose,
        tries_max: u32,
    ) -> bool {
        let is_rings = matches!(purpose, Purpose::View | Purpose::Alive);
        if to.address == self.me().address || (self.requests.is_full() && !is_rings) {
            return false;
        }
        let mut transaction = self.rng.below(u32::MAX);
        while self.requests.contains(transaction) {
            transaction = transaction.wrapping_add(1);
        }
        let (now, silence) = (self.now, None);
        let pending = Pending {
            to,
            purpose,
            query,
            token,
            asked_at: now,
            sent_at: now,
            tries: 0,
            tries_max,
            silence,
        };
        self.requests.insert(transaction, pending);
        self.send_request(transaction);
        true
    }

    /// Sends a request, for the first time or again.
    pub(super) fn send_request(&mut self, transaction: u32) {
        let now = self.now;
        let Some(pending) = self.requests.get_mut(transaction) else { return };
        let tries = pending.tries;
        pending.tries += 1;
        pending.sent_at = now;
        let contacts = match (&pending.query, pending.token) {
            (Query::GetState { .. }, _) => limits::SUCCESSORS + limits::REPLICAS_BEFORE + 1,
            (Query::FindNode(_), None) => limits::CONTACTS_ANSWERED + 1,
            (Query::GetPeers(_), None) => {
                limits::CONTACTS_ANSWERED + 1 + limits::SHARERS_ANSWERED_UNPROVED
            }
            _ => 0,
        };
        // The answer may be three times as long: the question is filled up to a third of it.
        let answer = limits::ANSWER_FRAME_LEN + (contacts + 1) * self.family.contact_len();
        let len_min = if contacts > 0 { answer.div_ceil(limits::AMPLIFICATION_MAX) } else { 0 };
        let body = Body::Query(pending.query.clone(), pending.token);
        let to = pending.to.address;
        self.send(to, transaction, body, len_min);
        let wait = self.requests.wait(to, tries);
        let silence = self.timers.start(now + wait, Timer::Silence(transaction));
        if let Some(pending) = self.requests.get_mut(transaction) {
            pending.silence = Some(silence);
        }
    }

    /// An answer came: its silence is not waited for.
    fn forget_silence(&mut self, pending: &Pending) {
        if let Some(silence) = pending.silence {
            self.timers.cancel(silence);
        }
    }

    /// Sends what nobody answers.
    pub(super) fn tell(&mut self, to: SocketAddr, query: Query) {
        let transaction = self.rng.below(u32::MAX);
        self.send(to, transaction, Body::Query(query, None), 0);
    }

    pub(super) fn send(&mut self, to: SocketAddr, transaction: u32, body: Body, len_min: usize) {
        let client = !self.is_member();
        let message = Message { transaction, seen: Some(to), client, body };
        let bytes = message.encode(len_min);
        debug_assert!(bytes.len() <= limits::DATAGRAM_LEN_SENT, "{} bytes", bytes.len());
        self.transmits.push_back(Transmit { to, bytes, aside: false });
    }

    /// Pings `to` as a stranger would.
    pub(super) fn ping_aside(&mut self, to: SocketAddr) {
        let (transaction, body) = (self.rng.below(u32::MAX), Body::Query(Query::Ping(None), None));
        // The port has no place on the ring: nobody is to ask it.
        let message = Message { transaction, seen: Some(to), client: true, body };
        self.transmits.push_back(Transmit { to, bytes: message.encode(0), aside: true });
    }

    // -------------------------------------------------------------------------------- Checks ---

    /// Asserts every invariant; O(everything), for tests.
    pub fn check(&self) {
        let shape = self.settings.shape;
        let me = self.me();
        let list = self.ring.successors();
        assert!(list.len() <= shape.successors);
        let distances: Vec<_> = list.iter().map(|next| me.id.clockwise_to(next.id)).collect();
        if shape.heal {
            assert!(distances.is_sorted_by(|a, b| a < b), "successors in their order: {list:?}");
        }
        assert!(!list.contains(&me) && self.ring.predecessor() != Some(me));
        assert!(self.before.len() <= limits::REPLICAS_BEFORE);
        assert!(self.lookups.len() <= limits::LOOKUPS_MAX);
        assert!(self.waiting.len() <= limits::LOOKUPS_WAITING_MAX);
        self.lookups.values().for_each(Lookup::check);
        self.fingers.check();
        self.requests.check();
        self.rates.check();
        self.membership.check();
        self.witnesses.check();
        self.keeping.check();
    }
}

/// A question, without what it says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) from: SocketAddr,
    pub(super) transaction: u32,
    pub(super) client: bool,
    pub(super) token: Option<Token>,
    /// Its length in bytes.
    pub(super) len: usize,
}

#[cfg(test)]
mod tests;
