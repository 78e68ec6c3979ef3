//! Answers to what others ask. Each is given at once, from the state as it is (rule R3), and none
//! without a token is more than three times as long as its question.

use std::net::SocketAddr;

use crate::formats::krpc::{Answer, Body, Query, Refusal, Route, State};
use crate::machines::chord::membership::Standing;
use crate::machines::chord::node::{Asked, Node};
use crate::machines::chord::store::Entry;
use crate::machines::chord::{Contact, Role};
use crate::words::id::InfoHash;
use crate::words::limits::ring as limits;
use crate::words::ring_id::{RingId, between};

impl Node {
    /// Whether there is nobody whom a client could ask.
    fn knows_nobody(&self) -> bool {
        self.membership.live.is_empty() && self.fingers.heard().next().is_none()
    }

    /// Whoever is no member is not to be asked, but for a sign of life and to ping back.
    pub(super) fn handle_query(&mut self, asked: &Asked, query: Query) {
        let is_member = match self.membership.standing {
            Standing::Left => return,
            Standing::Member => true,
            Standing::Starting | Standing::Client | Standing::Joining => false,
        };
        let may_join = self.settings.role == Role::Member;
        if !is_member && may_join && asked.from != self.me().address && self.knows_nobody() {
            // It has lost its way, and somebody knows it.
            self.membership.add_weak_tie(self.now, asked.from, false);
        }
        match query {
            Query::Ping(info_hash) => self.handle_ping(asked, info_hash),
            // Where nobody has a place yet all are clients, and would wait for each other for ever.
            Query::PingBack if may_join => self.handle_ping_back_wanted(asked),
            Query::PingBack => {}
            _ if !is_member => {}
            Query::GetState { digest, rectify } => {
                let state = self.state();
                let token = self.give_token(asked.from, self.me().id);
                let same = digest == Some(state.digest());
                let answer =
                    if same { Answer::Same { token } } else { Answer::State(state, token) };
                self.answer(asked, self.me().id, answer);
                if let Some(before) = rectify {
                    self.handle_rectify(asked, &before);
                }
            }
            Query::Rectify(before) => {
                self.answer(asked, self.me().id, Answer::Done);
                self.handle_rectify(asked, &before);
            }
            Query::FindNode(target) => {
                let route = self.route(target);
                self.answer(asked, target, Answer::Route(route));
            }
            Query::GetPeers(info_hash) => self.handle_get_peers(asked, info_hash),
            Query::Announce { info_hash, port, seeder } => {
                self.handle_announced(asked, info_hash, port, seeder);
            }
            Query::Withdraw { info_hash, port } => {
                if self.is_proved(asked, info_hash.into()) {
                    self.withdrawn(info_hash, SocketAddr::new(asked.from.ip(), port));
                    self.answer(asked, info_hash.into(), Answer::Done);
                } else {
                    self.refuse(asked.from, asked.transaction, Refusal::Token, asked.len);
                }
            }
            Query::Hint(about) => self.handle_hint(asked.from, self.contact(about)),
            Query::Leave => self.handle_leaving(self.contact(asked.from)),
            Query::Push(entries) => {
                if self.is_proved(asked, self.me().id) {
                    self.handle_pushed(asked.from, &entries);
                    self.answer(asked, self.me().id, Answer::Done);
                } else {
                    self.refuse(asked.from, asked.transaction, Refusal::Token, asked.len);
                }
            }
        }
    }

    /// Whether the asker showed that it is where it says it is.
    fn is_proved(&self, asked: &Asked, key: RingId) -> bool {
        asked.token.is_some_and(|token| self.tokens.is_valid(self.now, token, asked.from, key))
    }

    fn give_token(&self, to: SocketAddr, key: RingId) -> crate::formats::krpc::Token {
        self.tokens.give(self.now, to, key)
    }

    /// Sends an answer; without a token as much of it as three times the question's length holds.
    pub(super) fn answer(&mut self, asked: &Asked, key: RingId, answer: Answer) {
        let len_max = if self.is_proved(asked, key) {
            limits::DATAGRAM_LEN_SENT
        } else {
            (limits::AMPLIFICATION_MAX * asked.len).min(limits::DATAGRAM_LEN_SENT)
        };
        let Some(answer) = self.shortened(answer, len_max) else { return };
        let len = self.len_of(&answer);
        if self.is_neighbour(asked.from) || self.rates.may_answer(self.now, asked.from, len) {
            self.send(asked.from, asked.transaction, Body::Answer(answer), 0);
        }
    }

    /// Whether `address` is near us on the ring. Its questions are always answered: a flood that used
    /// up all answers must not make us look dead to those who keep the ring with us.
    pub(super) fn is_neighbour(&self, address: SocketAddr) -> bool {
        self.neighbours().any(|neighbour| neighbour.address == address)
    }

    /// Leaves out of an answer what is too much.
    fn shortened(&self, mut answer: Answer, len_max: usize) -> Option<Answer> {
        let contact = self.family.contact_len();
        loop {
            let excess = self.len_of(&answer).saturating_sub(len_max);
            if excess == 0 {
                return Some(answer);
            }
            let drop = excess.div_ceil(contact);
            let lists: [&mut dyn Shorten; 2] = match &mut answer {
                Answer::Route(route) => [&mut route.sharers, &mut route.nodes],
                Answer::State(state, _) => [&mut state.before, &mut state.successors],
                Answer::Done | Answer::Shares { .. } | Answer::Same { .. } => return None,
            };
            let list = lists.into_iter().find(|list| list.is_long())?;
            list.shorten(drop);
        }
    }

    /// An upper bound of an answer's length on the wire.
    fn len_of(&self, answer: &Answer) -> usize {
        let contact = self.family.contact_len();
        let contacts = match answer {
            Answer::Done | Answer::Shares { .. } | Answer::Same { .. } => {
                return limits::DONE_LEN + contact;
            }
            Answer::State(state, _) => state.successors.len() + state.before.len() + 1,
            Answer::Route(route) => route.nodes.len() + route.sharers.len() + 1,
        };
        limits::ANSWER_FRAME_LEN + (contacts + 1) * contact
    }

    pub(super) fn refuse(&mut self, to: SocketAddr, transaction: u32, why: Refusal, len: usize) {
        let is_member = self.is_member();
        if is_member && self.rates.may_answer(self.now, to, len) {
            self.send(to, transaction, Body::Error(why), 0);
        }
    }

    fn handle_ping(&mut self, asked: &Asked, info_hash: Option<InfoHash>) {
        self.handle_pinged_back(asked.from);
        let answer = info_hash.map_or(Answer::Done, |info_hash| {
            let announced = self.keeping.announced.get(&info_hash);
            let seeder = announced.is_some_and(|announced| announced.seeder);
            Answer::Shares { shared: announced.is_some(), seeder }
        });
        self.answer(asked, self.me().id, answer);
    }

    /// Who is next to us.
    pub(super) fn state(&self) -> State {
        let addresses = |contacts: &[Contact]| contacts.iter().map(|it| it.address).collect();
        State {
            predecessor: self.ring.predecessor().map(|contact| contact.address),
            successors: addresses(self.ring.successors()),
            before: addresses(&self.before),
            nodes: u32::try_from(self.nodes_estimate()).unwrap_or(u32::MAX),
            keys: u32::try_from(self.keeping.store.keys()).unwrap_or(u32::MAX),
        }
    }

    /// Who is responsible for `target`, if that lies among our neighbours.
    pub(super) fn owner_of(&self, target: RingId) -> Option<Contact> {
        let me = self.me();
        if self.ring.owns(target) {
            return Some(me);
        }
        let is_before = |contact: &Contact| between(&me.id, &target, &contact.id);
        let after = self.ring.successors().iter().find(|it| it.id == target || is_before(it));
        let mut following = self.ring.predecessor();
        let owner_before = || {
            for earlier in &self.before {
                let owner = following?;
                if owner.id == target || between(&earlier.id, &target, &owner.id) {
                    return Some(owner);
                }
                following = Some(*earlier);
            }
            None
        };
        after.copied().or_else(owner_before)
    }

    /// The way to `target`: the nearest nodes before it, and where it lies among our neighbours also
    /// the nearest after it.
    pub(super) fn route(&self, target: RingId) -> Route {
        let me = self.me();
        let max = self.settings.shape.contacts;
        let owner = self.owner_of(target);
        let fingers = self.fingers.before(target, max);
        let heard = fingers.filter(|finger| !self.requests.is_suspect(self.now, finger.address));
        let known = self.neighbours().chain(heard).filter(|contact| contact.address != me.address);
        let mut known: Vec<_> = known.map(|it| (it.id.clockwise_to(target), it.address)).collect();
        known.sort_unstable();
        known.dedup();
        let after = if owner.is_some() { max / 2 } else { 0 };
        let ours = me.id.clockwise_to(target);
        let is_ahead = |(distance, _): &&(RingId, SocketAddr)| *distance < ours || owner.is_some();
        let before: Vec<_> = known.iter().filter(is_ahead).take(max - after).copied().collect();
        let behind = known.iter().rev().filter(|it| !before.contains(it)).take(max - before.len());
        let behind: Vec<_> = behind.filter(|_| after > 0).copied().collect();
        let nodes = before.into_iter().chain(behind).map(|(_, address)| address).collect();
        Route { nodes, owner: owner.map(|owner| owner.address), sharers: Vec::new(), token: None }
    }

    fn handle_get_peers(&mut self, asked: &Asked, info_hash: InfoHash) {
        let mut route = self.route(info_hash.into());
        route.token = Some(self.give_token(asked.from, info_hash.into()));
        let max = if self.is_proved(asked, info_hash.into()) {
            limits::SHARERS_ANSWERED
        } else {
            limits::SHARERS_ANSWERED_UNPROVED
        };
        route.sharers = self.sample(info_hash, max);
        self.answer(asked, info_hash.into(), Answer::Route(route));
    }

    /// Somebody shares a torrent: it says so of its own address alone, which its token proves.
    fn handle_announced(&mut self, asked: &Asked, info_hash: InfoHash, port: u16, seeder: bool) {
        if !self.is_proved(asked, info_hash.into()) {
            return self.refuse(asked.from, asked.transaction, Refusal::Token, asked.len);
        }
        let announced_from = (!asked.client).then_some(asked.from);
        let entry = Entry::told(seeder, self.now, announced_from);
        let address = SocketAddr::new(asked.from.ip(), port);
        if self.keep(info_hash, address, entry) {
            self.answer(asked, info_hash.into(), Answer::Done);
        } else {
            self.refuse(asked.from, asked.transaction, Refusal::Full, asked.len);
        }
    }
}

/// A list that can lose its end.
trait Shorten {
    fn is_long(&self) -> bool;
    fn shorten(&mut self, by: usize);
}

impl<T> Shorten for Vec<T> {
    fn is_long(&self) -> bool {
        !self.is_empty()
    }

    fn shorten(&mut self, by: usize) {
        self.truncate(self.len().saturating_sub(by));
    }
}
