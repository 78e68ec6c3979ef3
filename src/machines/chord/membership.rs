//! Who we are on the ring: joining it, leaving it, and whether we have a place on it.
//!
//! A node with a global address is a client first, and becomes a member when others have shown, by
//! pinging it after its own datagrams' traces in routers have died, that it can be reached; about two
//! of three hosts cannot. On loopback and private addresses it is a member at once, if the address
//! that others see is one of its own. Pings back come from another port than the one that was asked:
//! a router between that still knows that one lets it in, and nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::formats::krpc::{Answer, Query, State, Token};
use crate::machines::chord::lookup::Goal;
use crate::machines::chord::merging::{Merging, Tie};
use crate::machines::chord::node::{Asked, Node, Timer};
use crate::machines::chord::requests::Purpose;
use crate::machines::chord::ring::{Ring, is_between};
use crate::machines::chord::seen::{Seen, voter};
use crate::machines::chord::{Contact, News, Role};
use crate::words::address::is_local;
use crate::words::limits::ring as limits;
use crate::words::timers::Timers;

/// What a node is to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody has answered yet.
    Starting,
    /// It asks and is not asked.
    Client,
    /// It looks for its place.
    Joining,
    /// It has its place, be it in a ring of one.
    Member,
    /// It is gone.
    Left,
}

/// How far a node has come that joins.
#[derive(Clone, Debug)]
enum Joining {
    /// It asks the owner of its place for the node before that.
    Owner,
    /// It asks the node before its place for the list of those after.
    Predecessor,
    /// It asks the nodes after its place, one after the other, until one answers.
    Head { predecessor: Contact, list: Vec<Contact> },
}

/// What a node knows of its own place in the world.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) standing: Standing,
    /// Where we are, as far as others say it.
    pub(super) seen: Seen,
    pub(super) entry_points: Vec<SocketAddr>,
    /// Entry points that have answered.
    pub(super) live: Vec<Contact>,
    joining: Option<Joining>,
    /// How often a place was looked for in vain, and no member answered.
    attempts: u32,
    /// Whether our place was looked for in vain though members answered: one of them may lie, so the
    /// next time we begin at anybody.
    pub(super) is_astray: bool,
    /// Whether a member has answered since the last attempt.
    pub(super) met_member: bool,
    /// The timer of the greetings, or of the place that is looked for.
    greeted_timer: Option<(Instant, u64)>,
    /// Who was asked to ping back, and whether it has.
    ping_backs: BTreeMap<SocketAddr, bool>,
    ping_backs_asked: Option<Instant>,
    /// The timer that ends the wait for them.
    promote_timer: Option<(Instant, u64)>,
    /// Who waits for a ping of ours.
    pub(super) owed: BTreeSet<SocketAddr>,
    /// Whether the timers of a member run.
    timers_run: bool,
    turns: usize,
    /// Tokens that others gave us for their neighbours' questions.
    tokens: BTreeMap<SocketAddr, (Token, Instant)>,
    pub(super) weak_ties: BTreeMap<SocketAddr, Tie>,
    pub(super) merging: Option<Merging>,
    pub(super) alone_retry: Duration,
    pub(super) hinted_at: Option<Instant>,
}

impl Membership {
    pub(super) fn new(listen: SocketAddr) -> Self {
        Self {
            standing: Standing::Starting,
            seen: Seen::new(listen),
            entry_points: Vec::new(),
            live: Vec::new(),
            joining: None,
            attempts: 0,
            is_astray: false,
            met_member: false,
            greeted_timer: None,
            ping_backs: BTreeMap::new(),
            ping_backs_asked: None,
            promote_timer: None,
            owed: BTreeSet::new(),
            timers_run: false,
            turns: 0,
            tokens: BTreeMap::new(),
            weak_ties: BTreeMap::new(),
            merging: None,
            alone_retry: limits::ALONE_RETRY,
            hinted_at: None,
        }
    }

    pub(super) fn keep_token(&mut self, now: Instant, from: SocketAddr, token: Token) {
        self.tokens.insert(from, (token, now));
        if self.tokens.len() > limits::WEAK_TIES_MAX {
            let oldest = self.tokens.iter().min_by_key(|(_, (_, at))| *at).map(|(it, _)| *it);
            self.tokens.retain(|address, _| Some(*address) != oldest);
        }
    }

    pub(super) fn token_of(&self, address: SocketAddr) -> Option<Token> {
        self.tokens.get(&address).map(|(token, _)| *token)
    }

    /// The same, if it is surely still accepted.
    pub(super) fn fresh_token(&self, now: Instant, address: SocketAddr) -> Option<Token> {
        let (token, at) = self.tokens.get(&address)?;
        (now.saturating_duration_since(*at) < limits::TOKEN_EVERY).then_some(*token)
    }

    pub(super) fn next_turn(&mut self) -> usize {
        self.turns = self.turns.wrapping_add(1);
        self.turns
    }

    pub(super) fn check(&self) {
        self.seen.check();
        assert!(self.weak_ties.len() <= limits::WEAK_TIES_MAX);
        assert!(self.owed.len() <= limits::PING_BACKS_OWED_MAX);
        assert!(self.tokens.len() <= limits::WEAK_TIES_MAX);
        assert!(self.entry_points.len() <= limits::ENTRY_POINTS_MAX);
        assert!(self.live.len() <= limits::ENTRY_POINTS_MAX);
    }
}

impl Node {
    // --------------------------------------------------------------------------------- Orders ---

    /// Joins the ring of the nodes at `entry_points`; a node that knows nobody is a ring of one. One
    /// that has joined remembers them: they may be of another ring.
    pub fn join(&mut self, now: Instant, entry_points: &[SocketAddr]) {
        self.now = self.now.max(now);
        let me = self.me().address;
        let is_other =
            |it: &&SocketAddr| **it != me && it.is_ipv4() == me.is_ipv4() && it.port() != 0;
        let others = entry_points.iter().filter(is_other).copied();
        let others: Vec<_> = others.take(limits::ENTRY_POINTS_MAX).collect();
        // Those that come first are the ones that were named just now.
        for address in others.iter().take(limits::WEAK_TIES_MAX / 2) {
            self.membership.add_weak_tie(self.now, *address, true);
        }
        let known = std::mem::take(&mut self.membership.entry_points);
        let known = known.into_iter().filter(|it| !others.contains(it));
        let known: Vec<_> = others.iter().copied().chain(known).collect();
        self.membership.entry_points = known;
        self.membership.entry_points.truncate(limits::ENTRY_POINTS_MAX);
        if self.membership.standing == Standing::Starting {
            if self.settings.role == Role::Client {
                self.membership.standing = Standing::Client;
                self.news.push_back(News::Client);
            } else if self.membership.entry_points.is_empty() {
                return self.become_member();
            }
        }
        if self.is_member() && self.ring.head().is_none() {
            // Company for a ring of one: its place is looked for at once.
            for address in others.iter().take(limits::MERGE_HINTS) {
                self.probe(self.contact(*address));
            }
        }
        self.greet(&others);
    }

    /// Hands over what it holds and goes; [`News::Left`] says when.
    pub fn leave(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.withdraw_all();
        self.handle_push_due();
        if let Some(head) = self.ring.head() {
            self.push_all_to(head);
        }
        let wait =
            if self.keeping.is_pushing() { limits::LEAVE_MAX } else { limits::LEAVE_MAX / 20 };
        self.start_timer(wait, Timer::Leave);
    }

    pub(super) fn handle_left(&mut self) {
        if self.membership.standing == Standing::Left {
            return;
        }
        for neighbour in self.ring.head().into_iter().chain(self.ring.predecessor()) {
            self.tell(neighbour.address, Query::Leave);
        }
        self.membership.standing = Standing::Left;
        self.timers = Timers::default();
        self.news.extend([News::Dropped(self.dropped), News::Left]);
    }

    // -------------------------------------------------------------------------------- Joining ---

    /// Says the first word to some of `entry_points`: half of them the first, which the user named,
    /// and half by chance.
    fn greet(&mut self, entry_points: &[SocketAddr]) {
        let (first, rest) =
            entry_points.split_at(entry_points.len().min(limits::GREETINGS_MAX / 2));
        let mut rest = rest.to_vec();
        self.rng.shuffle(&mut rest);
        let greeted = first.iter().chain(&rest).take(limits::GREETINGS_MAX);
        for address in greeted.copied() {
            self.ask(self.contact(address), Query::Ping(None), None, Purpose::Greeting, 2);
        }
        if !matches!(self.membership.standing, Standing::Member | Standing::Left) {
            self.start_greeted(limits::ALONE_RETRY);
        }
    }

    /// Sets the timer of [`handle_greeted`](Self::handle_greeted), which is one.
    pub(super) fn start_greeted(&mut self, after: Duration) {
        if let Some(key) = self.membership.greeted_timer.take() {
            self.timers.cancel(key);
        }
        let key = self.timers.start(self.now + after, Timer::Greeted);
        self.membership.greeted_timer = Some(key);
    }

    pub(super) fn handle_greeting_answered(&mut self, from: Contact) {
        let live = &mut self.membership.live;
        if !live.contains(&from) {
            live.truncate(limits::ENTRY_POINTS_MAX - 1);
            live.insert(0, from);
        }
        if self.membership.standing == Standing::Starting {
            self.settle_address();
        }
    }

    /// The first word has had its time to be answered, or a place its time to be found.
    pub(super) fn handle_greeted(&mut self) {
        self.membership.greeted_timer = None;
        match self.membership.standing {
            Standing::Starting if self.membership.live.is_empty() => {
                self.become_member();
            }
            Standing::Starting => {
                self.settle_address();
                self.start_greeted(limits::ALONE_RETRY);
            }
            Standing::Joining if self.membership.attempts >= limits::TRIES => {
                // Those who answered are gone: we are as alone as if nobody had.
                self.become_member();
            }
            Standing::Joining => {
                // As long as a member answers there is a ring, however slow it is to take us in.
                let met = std::mem::take(&mut self.membership.met_member);
                self.membership.attempts = if met { 0 } else { self.membership.attempts + 1 };
                self.membership.is_astray = met;
                self.begin_join();
                self.start_greeted(limits::ALONE_RETRY * 2);
            }
            Standing::Client if self.membership.live.is_empty() => {
                self.greet(&self.membership.entry_points.clone());
            }
            Standing::Client => self.start_greeted(limits::PROBE_EVERY),
            Standing::Member | Standing::Left => {}
        }
    }

    /// Somebody has answered: our address may be known now.
    fn settle_address(&mut self) {
        let Some((seen, votes)) = self.membership.seen.majority(self.now) else { return };
        if is_local(seen.ip()) {
            self.believe(seen);
            if self.membership.seen.is_own(seen) {
                self.begin_join();
            } else {
                self.stay_client();
            }
            return;
        }
        let needed = limits::VOTES_NEEDED.min(self.membership.entry_points.len()).max(1);
        if votes >= needed || self.membership.live.len() == self.membership.entry_points.len() {
            self.believe(seen);
            self.stay_client();
        }
    }

    /// Uses the ring without a place on it, until others have pinged back.
    pub(super) fn stay_client(&mut self) {
        self.membership.standing = Standing::Client;
        self.news.push_back(News::Client);
        self.ask_for_ping_backs();
    }

    pub(super) fn begin_join(&mut self) {
        self.membership.standing = Standing::Joining;
        self.membership.joining = None;
        let me = self.me();
        let running = self.lookups.values().any(|lookup| lookup.goal == Goal::Join);
        if !running {
            self.begin_lookup(Goal::Join, me.id);
        }
    }

    /// The owner of our place was found: it knows who is before it.
    pub(super) fn handle_join_found(&mut self, owner: Option<Contact>) {
        let me = self.me();
        match owner {
            _ if self.membership.standing != Standing::Joining => {}
            None => {}
            Some(owner) if owner.id == me.id => {
                self.membership.standing = Standing::Client;
                self.news.push_back(News::PlaceTaken);
            }
            Some(owner) => {
                self.membership.joining = Some(Joining::Owner);
                self.ask_join(owner);
            }
        }
    }

    fn ask_join(&mut self, to: Contact) {
        let query = Query::GetState { digest: None, rectify: None };
        if !self.ask(to, query, None, Purpose::Join, 2) {
            self.handle_join_failed();
        }
    }

    pub(super) fn handle_join_state(&mut self, from: Contact, state: &State) {
        let me = self.me();
        if self.membership.standing != Standing::Joining {
            return;
        }
        match self.membership.joining.take() {
            None => {}
            Some(Joining::Owner) => {
                let earlier = state.predecessor.iter().chain(&state.before).copied();
                let predecessor = earlier.map(self.placing()).find(|contact| *contact != me);
                self.membership.joining = Some(Joining::Predecessor);
                match predecessor {
                    Some(predecessor) if predecessor != from => self.ask_join(predecessor),
                    Some(_) | None => self.handle_join_state(from, state),
                }
            }
            Some(Joining::Predecessor) => {
                let successors = state.successors.iter().copied().map(self.placing());
                let mut list: Vec<_> = successors.filter(|contact| *contact != me).collect();
                if list.is_empty() {
                    list.push(from);
                }
                if list[0] == from || is_between(from, me, list[0]) {
                    list.reverse();
                    self.membership.joining = Some(Joining::Head { predecessor: from, list });
                    self.ask_next_head();
                }
            }
            Some(Joining::Head { predecessor, .. }) => {
                let view = self.view_of(state);
                self.ring = Ring::joined(self.rules(), me, predecessor, from, &view);
                let before = if predecessor == from { None } else { state.predecessor };
                let before = before.into_iter().chain(state.before.iter().copied());
                let before =
                    before.map(self.placing()).filter(|it| *it != me && *it != predecessor);
                self.before = before.take(self.settings.shape.before).collect();
                self.become_member();
                self.handle_stabilise_due();
                self.tell(predecessor.address, Query::Hint(me.address));
            }
        }
    }

    /// Asks the next of the nodes after our place; the list's end is the nearest.
    fn ask_next_head(&mut self) {
        let Some(Joining::Head { list, .. }) = &mut self.membership.joining else { return };
        match list.pop() {
            Some(head) => self.ask_join(head),
            None => self.membership.joining = None,
        }
    }

    /// A node that was to help us join is silent. If it was none of several, the timer begins anew.
    pub(super) fn handle_join_failed(&mut self) {
        if matches!(self.membership.joining, Some(Joining::Head { .. })) {
            self.ask_next_head();
        }
    }

    /// We have our place: alone if nobody else is known to be on the ring.
    pub(super) fn become_member(&mut self) {
        self.membership.standing = Standing::Member;
        self.membership.joining = None;
        self.membership.attempts = 0;
        self.membership.is_astray = false;
        let is_alone = self.ring.head().is_none() && !self.membership.entry_points.is_empty();
        let address = self.me().address;
        self.news.push_back(if is_alone { News::Alone } else { News::Joined(address) });
        self.handle_change();
        if !self.membership.timers_run {
            self.membership.timers_run = true;
            self.start_fingers();
            self.start_probing();
            self.start_timer(limits::LOOP_CHECK_EVERY, Timer::LoopCheck);
            self.start_timer(limits::EXPIRE_EVERY, Timer::Expire);
        }
    }

    // -------------------------------------------------------------------------------- Clients ---

    fn ask_for_ping_backs(&mut self) {
        if self.settings.role == Role::Client {
            return;
        }
        let known = self.membership.live.iter().copied().chain(self.fingers.heard());
        let known: BTreeMap<_, _> = known.map(|it| (voter(it.address), it)).collect();
        let mut known: Vec<_> = known.into_values().collect();
        self.rng.shuffle(&mut known);
        known.truncate(limits::PING_BACKS);
        if known.is_empty() {
            // Whoever answers is known the next time.
            let ties = self.membership.weak_ties.keys();
            let ways: Vec<_> = self.membership.entry_points.iter().chain(ties).copied().collect();
            self.greet(&ways);
        }
        self.membership.ping_backs.clear();
        self.membership.ping_backs_asked = Some(self.now);
        for contact in known {
            self.ask(contact, Query::PingBack, None, Purpose::PingBack, 2);
        }
        let delay = self.ping_back_delay();
        self.start_promote(delay + delay / 2);
    }

    /// Sets the timer of [`handle_promote_due`](Self::handle_promote_due), which is one.
    fn start_promote(&mut self, after: Duration) {
        if let Some(key) = self.membership.promote_timer.take() {
            self.timers.cancel(key);
        }
        self.membership.promote_timer = Some(self.timers.start(self.now + after, Timer::Promote));
    }

    fn ping_back_delay(&self) -> Duration {
        if is_local(self.me().address.ip()) {
            limits::PING_BACK_DELAY_LOCAL
        } else {
            limits::PING_BACK_DELAY
        }
    }

    pub(super) fn handle_ping_back_promised(&mut self, from: Contact) {
        if self.membership.ping_backs.len() < limits::PING_BACKS {
            self.membership.ping_backs.insert(from.address, false);
        }
    }

    /// `from` pings us: it may be another port of one that we asked to.
    pub(super) fn handle_pinged_back(&mut self, from: SocketAddr) {
        let delay = self.ping_back_delay();
        let asked = self.membership.ping_backs_asked;
        let waited = asked.is_some_and(|at| self.now.saturating_duration_since(at) >= delay / 2);
        let mut promises = self.membership.ping_backs.iter_mut();
        let promise = promises.find(|(by, kept)| by.ip() == from.ip() && **by != from && !**kept);
        if let Some((_, kept)) = promise.filter(|_| waited) {
            *kept = true;
        }
    }

    pub(super) fn handle_promote_due(&mut self) {
        self.membership.promote_timer = None;
        if self.membership.standing != Standing::Client {
            return;
        }
        let asked = self.membership.ping_backs.len();
        let kept = self.membership.ping_backs.values().filter(|kept| **kept).count();
        if asked > 0 && kept >= 2.min(asked) {
            self.begin_join();
            self.start_greeted(limits::ALONE_RETRY * 2);
        } else if asked == 0 {
            // Nobody has even promised it: the question was lost, or comes too early.
            self.ask_for_ping_backs();
        } else {
            self.membership.ping_backs.clear();
            self.start_promote(limits::PROMOTE_EVERY);
        }
    }

    /// Somebody wants to be pinged later.
    pub(super) fn handle_ping_back_wanted(&mut self, asked: &Asked) {
        let from = asked.from;
        let local = is_local(from.ip());
        let owed = &mut self.membership.owed;
        let same = owed.iter().any(|other| *other == from || (!local && other.ip() == from.ip()));
        if owed.len() < limits::PING_BACKS_OWED_MAX && !same {
            owed.insert(from);
            let delay = if local { limits::PING_BACK_DELAY_LOCAL } else { limits::PING_BACK_DELAY };
            self.start_timer(delay, Timer::PingBack(from));
        }
        self.answer(asked, self.me().id, Answer::Done);
    }

    pub(super) fn handle_ping_back_due(&mut self, address: SocketAddr) {
        self.membership.owed.remove(&address);
        self.ping_aside(address);
    }
}
