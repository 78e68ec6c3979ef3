//! What this node announces, what it holds for others, and with whom it holds it.
//!
//! The entries of a key are held by its owner, the three nodes after it and the four before: an
//! announce goes to the owner, which tells the others within a second, many at once, and to the two
//! before the key: they have it if the owner dies in that second, and tell what it does not tell. A
//! lookup comes from before, so it meets a holder early, and a wrong owner does no harm.
//!
//! The owner alone asks the sharers whether they still are, at the UDP address that announced with a
//! token, and nobody else's: an entry cannot be made to have a stranger pinged.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::formats::krpc::{Answer, Entries, Query, Sharer, Token};
use crate::machines::chord::lookup::Goal;
use crate::machines::chord::node::{Node, Timer};
use crate::machines::chord::rates::Bucket;
use crate::machines::chord::requests::Purpose;
use crate::machines::chord::store::{Entry, Store};
use crate::machines::chord::{Contact, News, Report};
use crate::words::address::{is_local, network};
use crate::words::id::InfoHash;
use crate::words::limits::ring as limits;
use crate::words::ring_id::{RingId, between};

/// A torrent that this node shares.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    port: u16,
    pub(super) seeder: bool,
    /// Who was told of our entry, each with the token that it gave: at most
    /// [`limits::HOLDERS_ASKED`].
    at: Vec<(Contact, Token)>,
    /// How many of them have not answered yet, whether one has it, and whether the owner is among them.
    asked: u32,
    stored: bool,
    owned: bool,
    /// How the lookup of the announce that is under way went.
    report: Option<Report>,
    /// The timer of the next announce.
    timer: Option<(Instant, u64)>,
}

/// Entries that others are to be told of: at most [`limits::ENTRIES_MAX`].
type Changes = BTreeSet<(InfoHash, SocketAddr)>;

/// Entries on their way to one other holder, one datagram after the other.
#[derive(Debug, Default)]
struct Outgoing {
    batches: VecDeque<Vec<Entries>>,
    under_way: bool,
}

/// What a node holds, and what it shares itself.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    pub(super) store: Store,
    pub(super) announced: BTreeMap<InfoHash, Announced>,
    /// Entries that the other holders have not been told of.
    changes: Changes,
    push_is_due: bool,
    /// Entries of keys of another owner that were announced to us, and of which that has not told us:
    /// those of this wait, and those of the one before.
    untold: [Changes; 2],
    tell_is_due: bool,
    outgoing: BTreeMap<SocketAddr, Outgoing>,
    validations: Option<Bucket>,
    /// Global addresses that were pinged in the last minute.
    pinged: BTreeMap<IpAddr, Instant>,
}

impl Keeping {
    pub(super) fn is_pushing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Another holder knows these.
    fn handle_told_of(&mut self, entries: &Entries) {
        for untold in &mut self.untold {
            for (sharer, _) in &entries.sharers {
                untold.remove(&(entries.info_hash, sharer.address));
            }
        }
    }

    pub(super) fn check(&self) {
        self.store.check();
        assert!(self.announced.len() <= limits::ANNOUNCED_MAX);
        assert!(self.outgoing.len() <= limits::WEAK_TIES_MAX);
        let waiting: usize = self.outgoing.values().map(|it| it.batches.len()).sum();
        assert!(waiting <= limits::BATCHES_MAX);
        assert!(self.pinged.len() <= limits::SOURCES_MAX);
        let noted = self.untold.iter().chain([&self.changes]);
        noted.for_each(|changes| assert!(changes.len() <= limits::ENTRIES_MAX));
    }
}

impl Node {
    // ------------------------------------------------------------------------ What we announce ---

    /// Tells the ring that this host shares a torrent, with TCP connections at `port`; from now on
    /// again and again, until [`withdraw`](Self::withdraw). [`News::Finished`] each time.
    pub fn announce(&mut self, now: Instant, info_hash: InfoHash, port: u16, seeder: bool) {
        self.now = self.now.max(now);
        let is_new = !self.keeping.announced.contains_key(&info_hash);
        if is_new && self.keeping.announced.len() >= limits::ANNOUNCED_MAX {
            return;
        }
        let new = Announced {
            port,
            seeder,
            at: Vec::new(),
            asked: 0,
            stored: false,
            owned: false,
            report: None,
            timer: None,
        };
        let announced = self.keeping.announced.entry(info_hash).or_insert(new);
        (announced.port, announced.seeder) = (port, seeder);
        self.announce_again(info_hash);
    }

    /// Tells the ring that this host no longer shares a torrent.
    pub fn withdraw(&mut self, now: Instant, info_hash: InfoHash) {
        self.now = self.now.max(now);
        let Some(announced) = self.keeping.announced.remove(&info_hash) else { return };
        if let Some(timer) = announced.timer {
            self.timers.cancel(timer);
        }
        let port = announced.port;
        for (holder, token) in announced.at {
            let query = Query::Withdraw { info_hash, port };
            self.ask(holder, query, Some(token), Purpose::Courtesy, 2);
        }
        self.withdrawn(info_hash, SocketAddr::new(self.me().address.ip(), port));
    }

    /// Tells the ring that this host no longer shares anything: first the owners, who tell others, since
    /// there may be no room for all these requests at once. Half of it is for what is handed over.
    pub(super) fn withdraw_all(&mut self) {
        let announced = std::mem::take(&mut self.keeping.announced);
        let ip = self.me().address.ip();
        for (info_hash, own) in &announced {
            self.withdrawn(*info_hash, SocketAddr::new(ip, own.port));
        }
        let told = |nth| {
            announced.iter().filter_map(move |(key, it)| Some((key, it.port, it.at.get(nth)?)))
        };
        let all = (0..limits::HOLDERS_ASKED).flat_map(told).take(limits::REQUESTS_MAX / 2);
        for (info_hash, port, (holder, token)) in all {
            let query = Query::Withdraw { info_hash: *info_hash, port };
            self.ask(*holder, query, Some(*token), Purpose::Courtesy, 1);
        }
    }

    fn announce_again(&mut self, info_hash: InfoHash) {
        let running = self.lookups.values().any(|it| it.goal == Goal::Announce(info_hash));
        if !running {
            self.begin_lookup(Goal::Announce(info_hash), info_hash.into());
        }
    }

    /// We are not at `before` any longer: what was announced is said again from where we are now.
    pub(super) fn handle_moved(&mut self, before: IpAddr) {
        let own: Vec<_> = self.keeping.announced.iter().map(|(it, own)| (*it, own.port)).collect();
        for (info_hash, port) in own {
            if !before.is_unspecified() {
                self.withdrawn(info_hash, SocketAddr::new(before, port));
            }
            self.announce_again(info_hash);
        }
    }

    pub(super) fn handle_announce_due(&mut self, info_hash: InfoHash) {
        if let Some(announced) = self.keeping.announced.get_mut(&info_hash) {
            announced.timer = None;
            self.announce_again(info_hash);
        }
    }

    /// The lookup of an announce has ended: the owner, if it was found, and others that hold what it
    /// holds. One of them may take our entry and forget it at once, so several are told.
    pub(super) fn handle_holders_found(
        &mut self,
        info_hash: InfoHash,
        holders: &[(Contact, Option<Token>)],
        owned: bool,
        report: Report,
    ) {
        let me = self.me();
        let Some(announced) = self.keeping.announced.get_mut(&info_hash) else { return };
        let (port, seeder) = (announced.port, announced.seeder);
        announced.report = Some(report);
        announced.at.clear();
        announced.asked = 1;
        announced.stored = false;
        announced.owned = owned;
        for (holder, token) in holders {
            if *holder == me && me.address.ip().is_unspecified() {
                // Nobody has told us yet where we are: nobody could be told it.
                break;
            } else if *holder == me {
                let entry = Entry::told(seeder, self.now, None);
                let stored = self.keep(info_hash, SocketAddr::new(me.address.ip(), port), entry);
                self.with_announced(info_hash, |it| it.stored |= stored);
            } else if let Some(token) = *token {
                let query = Query::Announce { info_hash, port, seeder };
                let purpose = Purpose::Announce(info_hash);
                if self.ask(*holder, query, Some(token), purpose, limits::TRIES) {
                    self.with_announced(info_hash, |it| {
                        it.at.push((*holder, token));
                        it.asked += 1;
                    });
                }
            }
        }
        self.handle_told(info_hash, false);
    }

    fn with_announced(&mut self, info_hash: InfoHash, change: impl FnOnce(&mut Announced)) {
        if let Some(announced) = self.keeping.announced.get_mut(&info_hash) {
            change(announced);
        }
    }

    /// One of those that were told of our entry has it, or refuses it, or is silent.
    pub(super) fn handle_told(&mut self, info_hash: InfoHash, stored: bool) {
        let Some(announced) = self.keeping.announced.get_mut(&info_hash) else { return };
        announced.stored |= stored;
        announced.asked = announced.asked.saturating_sub(1);
        if announced.asked == 0 {
            let (stored, owned) = (announced.stored, announced.owned);
            self.handle_announced_everywhere(info_hash, stored, owned);
        }
    }

    fn handle_announced_everywhere(&mut self, info_hash: InfoHash, stored: bool, owned: bool) {
        let every = match (stored && owned, self.is_member()) {
            (false, _) => limits::ANNOUNCE_RETRY,
            (true, true) => limits::ANNOUNCE_EVERY,
            (true, false) => limits::ANNOUNCE_EVERY_CLIENT,
        };
        // Those that began together do not come back together.
        let after = every * (80 + self.rng.below(41)) / 100;
        let Some(announced) = self.keeping.announced.get_mut(&info_hash) else { return };
        if let Some(report) = announced.report.take() {
            self.news.push_back(News::Finished(info_hash, Report { stored, ..report }));
        }
        if let Some(timer) = announced.timer.take() {
            self.timers.cancel(timer);
        }
        announced.timer = Some(self.timers.start(self.now + after, Timer::Announce(info_hash)));
    }

    // ---------------------------------------------------------------------------- What we hold ---

    /// Some of those who share a torrent, as far as we hold it.
    pub(super) fn sample(&mut self, info_hash: InfoHash, max: usize) -> Vec<Sharer> {
        self.keeping.store.sample(self.now, info_hash, max, &mut self.rng)
    }

    /// Holds an entry, tells the other holders of it, and asks after it from time to time; whether
    /// there was room.
    pub(super) fn keep(&mut self, info_hash: InfoHash, address: SocketAddr, entry: Entry) -> bool {
        let me = self.me().id;
        if self.keeping.store.insert(me, info_hash, address, entry).is_err() {
            return false;
        }
        let held = self.keeping.store.get(info_hash, address);
        if entry.announced_from.is_some() && held.is_some_and(|held| held.ask_at.is_none()) {
            let after = limits::VALIDATE_EVERY * (80 + self.rng.below(41)) / 100;
            self.ask_after(info_hash, address, after);
        }
        self.note_change(info_hash, address);
        true
    }

    pub(super) fn withdrawn(&mut self, info_hash: InfoHash, address: SocketAddr) {
        if self.keeping.store.remove(info_hash, address).is_some() {
            self.note_change(info_hash, address);
        }
    }

    pub(super) fn handle_expire_due(&mut self) {
        self.keeping.store.expire(self.now);
        let now = self.now;
        let recent = |at: &Instant| now.saturating_duration_since(*at) < limits::VALIDATE_IP_EVERY;
        self.keeping.pinged.retain(|_, at| recent(at));
        self.start_timer(limits::EXPIRE_EVERY, Timer::Expire);
    }

    // ------------------------------------------------------------------------------ Validation ---

    /// Lets a sharer be asked after `after` whether it still is one.
    fn ask_after(&mut self, info_hash: InfoHash, address: SocketAddr, after: Duration) {
        if let Some(entry) = self.keeping.store.get_mut(info_hash, address) {
            entry.ask_at = Some(self.now + after);
            self.start_timer(after, Timer::Validate(info_hash, address));
        }
    }

    /// It is time to ask a sharer whether it still is one.
    pub(super) fn handle_validate_due(&mut self, info_hash: InfoHash, address: SocketAddr) {
        let Some(entry) = self.keeping.store.get_mut(info_hash, address) else { return };
        let Some(announced_from) = entry.announced_from else {
            entry.ask_at = None;
            return;
        };
        if entry.ask_at.is_none_or(|at| at > self.now) {
            return;
        }
        if !entry.doubted && !self.ring.owns(info_hash.into()) {
            return self.ask_after(info_hash, address, limits::VALIDATE_EVERY);
        }
        let (now, to) = (self.now, self.contact(announced_from));
        let rate = limits::VALIDATE_RATE;
        let bucket = self.keeping.validations.get_or_insert_with(|| Bucket::new(rate, rate, now));
        let (ip, is_local) = (network(announced_from.ip()), is_local(announced_from.ip()));
        let pinged = self.keeping.pinged.get(&ip).copied();
        let crowded = self.keeping.pinged.len() >= limits::SOURCES_MAX;
        let too_soon =
            pinged.is_some_and(|at| now.saturating_duration_since(at) < limits::VALIDATE_IP_EVERY);
        if !is_local && (too_soon || crowded) {
            return self.ask_after(info_hash, address, limits::VALIDATE_IP_EVERY);
        }
        let purpose = Purpose::Validate(info_hash, address);
        let query = Query::Ping(Some(info_hash));
        // Twice: whoever is on a slow line answers after the first wait.
        if self.requests.is_busy() || !bucket.take(now, 1) || !self.ask(to, query, None, purpose, 2)
        {
            return self.ask_after(info_hash, address, limits::PUSH_DELAY);
        }
        if !is_local {
            self.keeping.pinged.insert(ip, now);
        }
    }

    pub(super) fn handle_validated(
        &mut self,
        info_hash: InfoHash,
        address: SocketAddr,
        shared: bool,
        seeder: bool,
    ) {
        if !shared {
            return self.withdrawn(info_hash, address);
        }
        let now = self.now;
        let Some(entry) = self.keeping.store.get_mut(info_hash, address) else { return };
        entry.proved_at = now;
        entry.seeder = seeder;
        entry.silences = 0;
        entry.doubted = false;
        self.note_change(info_hash, address);
        let after = limits::VALIDATE_EVERY * (80 + self.rng.below(41)) / 100;
        self.ask_after(info_hash, address, after);
    }

    pub(super) fn handle_not_validated(&mut self, info_hash: InfoHash, address: SocketAddr) {
        let Some(entry) = self.keeping.store.get_mut(info_hash, address) else { return };
        entry.silences += 1;
        if entry.silences >= limits::TRIES {
            return self.withdrawn(info_hash, address);
        }
        self.ask_after(info_hash, address, limits::VALIDATE_IP_EVERY);
    }

    // ---------------------------------------------------------------------------- Other holders ---

    fn note_change(&mut self, info_hash: InfoHash, address: SocketAddr) {
        if self.holders().is_empty() {
            return;
        }
        let owned = self.ring.owns(info_hash.into());
        let keeping = &mut self.keeping;
        let changes = if owned { &mut keeping.changes } else { &mut keeping.untold[0] };
        if changes.len() >= limits::ENTRIES_MAX {
            // Who shares it says so again.
            return;
        }
        changes.insert((info_hash, address));
        if !owned && !self.keeping.tell_is_due {
            self.keeping.tell_is_due = true;
            self.start_timer(limits::OWNER_TELLS_WITHIN, Timer::Tell);
        } else if owned && !self.keeping.push_is_due {
            self.keeping.push_is_due = true;
            self.start_timer(limits::PUSH_DELAY, Timer::Push);
        }
    }

    /// The nodes that hold what we own, beside us.
    fn holders(&self) -> Vec<Contact> {
        let shape = self.settings.shape;
        let after = self.ring.successors().iter().take(shape.from.saturating_sub(1));
        let before = self.nodes_before().take(shape.before);
        let mut holders: Vec<_> = after.copied().chain(before).collect();
        holders.sort_unstable();
        holders.dedup();
        holders
    }

    /// What the owner has told nobody of, we tell: it may have forgotten it on purpose.
    pub(super) fn handle_tell_due(&mut self) {
        let [new, old] = std::mem::take(&mut self.keeping.untold);
        self.keeping.tell_is_due = !new.is_empty();
        self.keeping.untold[1] = new;
        if self.keeping.tell_is_due {
            self.start_timer(limits::OWNER_TELLS_WITHIN, Timer::Tell);
        }
        self.push(&old);
    }

    pub(super) fn handle_push_due(&mut self) {
        self.keeping.push_is_due = false;
        let changes = std::mem::take(&mut self.keeping.changes);
        self.push(&changes);
    }

    fn push(&mut self, changes: &Changes) {
        let changes: Vec<_> = changes.iter().copied().collect();
        let of_one_key = changes.chunk_by(|(one, _), (other, _)| one == other);
        let entries = of_one_key.map(|changes| {
            let (info_hash, _) = changes[0];
            let only: Vec<_> = changes.iter().map(|(_, address)| *address).collect();
            let mut sharers = self.keeping.store.entries_of(self.now, info_hash, Some(&only));
            let held: BTreeSet<_> = sharers.iter().map(|(sharer, _)| sharer.address).collect();
            let gone = only.into_iter().filter(|address| !held.contains(address));
            let gone = gone.map(|address| (Sharer { address, seeder: false }, u16::MAX));
            sharers.extend(gone);
            Entries { info_hash, sharers }
        });
        let entries: Vec<_> = entries.collect();
        for holder in self.holders() {
            self.push_to(holder, &entries);
        }
    }

    /// Our new predecessor gets what it owns now, and what it holds with us. `old` was there before.
    pub(super) fn hand_over(&mut self, old: Option<Contact>, new: Contact) {
        let (me, shape) = (self.me(), self.settings.shape);
        let from = old.filter(|old| *old != new && *old != me).map(|old| old.id);
        let to = if shape.before > 0 { me.id } else { new.id };
        let is_wanted =
            |key: RingId| from.is_none_or(|from| key == to || between(&from, &key, &to));
        self.push_keys(new, is_wanted);
    }

    /// The head died: the one that owns its keys now may hold none of their entries, and we do.
    pub(super) fn hand_on(&mut self) {
        let me = self.me().id;
        if let Some(head) = self.ring.head().filter(|_| self.settings.shape.before > 0) {
            self.push_keys(head, |key| key == head.id || between(&me, &key, &head.id));
        }
    }

    /// `to` gets all that we hold.
    pub(super) fn push_all_to(&mut self, to: Contact) {
        self.push_keys(to, |_| true);
    }

    fn push_keys(&mut self, to: Contact, is_wanted: impl Fn(RingId) -> bool) {
        let keys = self.keeping.store.keys_where(is_wanted).into_iter();
        let entries = keys.map(|info_hash| Entries {
            info_hash,
            sharers: self.keeping.store.entries_of(self.now, info_hash, None),
        });
        let entries: Vec<_> = entries.collect();
        self.push_to(to, &entries);
    }

    /// Puts entries on their way to `to`, cut into datagrams.
    fn push_to(&mut self, to: Contact, entries: &[Entries]) {
        let each = self.family.contact_len() + 3;
        let (mut batch, mut len) = (Vec::new(), 0);
        let mut batches = VecDeque::new();
        for Entries { info_hash, sharers } in entries {
            for part in sharers.chunks((limits::PUSH_LEN - 30) / each) {
                let part_len = 30 + part.len() * each;
                if len + part_len > limits::PUSH_LEN {
                    batches.push_back(std::mem::take(&mut batch));
                    len = 0;
                }
                len += part_len;
                batch.push(Entries { info_hash: *info_hash, sharers: part.to_vec() });
            }
        }
        if !batch.is_empty() {
            batches.push_back(batch);
        }
        let is_known = self.keeping.outgoing.contains_key(&to.address);
        if batches.is_empty() || (!is_known && self.keeping.outgoing.len() >= limits::WEAK_TIES_MAX)
        {
            return;
        }
        let waiting: usize = self.keeping.outgoing.values().map(|it| it.batches.len()).sum();
        let outgoing = self.keeping.outgoing.entry(to.address).or_default();
        let room = limits::BATCHES_MAX.saturating_sub(waiting);
        outgoing.batches.extend(batches.into_iter().take(room));
        self.push_next(to);
    }

    /// Sends the next datagram to another holder; first its token is asked for, if we have none.
    fn push_next(&mut self, to: Contact) {
        let Some(outgoing) = self.keeping.outgoing.get_mut(&to.address) else { return };
        if outgoing.under_way {
            return;
        }
        let Some(batch) = outgoing.batches.front() else {
            self.keeping.outgoing.remove(&to.address);
            return;
        };
        let token = self.membership.fresh_token(self.now, to.address);
        let query = match token {
            Some(_) => Query::Push(batch.clone()),
            None => Query::GetState { digest: None, rectify: None },
        };
        outgoing.under_way = true;
        if !self.ask(to, query, token, Purpose::Push, limits::TRIES) {
            self.keeping.outgoing.remove(&to.address);
        }
    }

    /// Another holder answered: with its token, or that it took what we gave.
    pub(super) fn handle_push_answered(&mut self, to: Contact, answer: &Answer) {
        let taken = match answer {
            Answer::State(_, token) | Answer::Same { token } => {
                self.membership.keep_token(self.now, to.address, *token);
                false
            }
            Answer::Done | Answer::Shares { .. } | Answer::Route(_) => true,
        };
        if let Some(outgoing) = self.keeping.outgoing.get_mut(&to.address) {
            outgoing.under_way = false;
            if taken {
                outgoing.batches.pop_front();
            }
        }
        self.push_next(to);
    }

    /// Another holder is silent or refuses: the next announces will tell whoever is in its place.
    pub(super) fn handle_push_failed(&mut self, to: Contact) {
        self.keeping.outgoing.remove(&to.address);
    }

    /// Another holder gives us entries. They count if it is a neighbour and the keys are of our
    /// neighbourhood, and of its own.
    pub(super) fn handle_pushed(&mut self, from: SocketAddr, entries: &[Entries]) {
        let me = self.me().id;
        if !self.is_neighbour(from) {
            return;
        }
        let first = self.nodes_before().nth(limits::REPLICAS_BEFORE - 1);
        let last = self.ring.successors().get(limits::REPLICAS_FROM).copied();
        for entries in entries {
            let key = RingId::from(entries.info_hash);
            let fits = match (first, last) {
                (Some(first), Some(last)) => between(&first.id, &key, &last.id) || key == last.id,
                (None, _) | (_, None) => true,
            };
            if fits && self.may_hold(from, key) {
                let owned = self.ring.owns(entries.info_hash.into());
                let before = self.doubted(entries);
                self.keeping.store.merge(self.now, me, entries, owned);
                self.keeping.handle_told_of(entries);
                for address in self.doubted(entries).difference(&before) {
                    self.ask_after(entries.info_hash, *address, Duration::ZERO);
                }
            }
        }
    }

    /// Whether `from` may be a holder of `key`, as far as we know who is near it, or was one until a few
    /// came. Between the last of our list and the first before us there are any number of others.
    fn may_hold(&self, from: SocketAddr, key: RingId) -> bool {
        let (from, me) = (self.contact(from).id, self.me());
        let known: BTreeSet<_> = self.neighbours().chain([me]).map(|it| it.id).collect();
        let is_whole = self.ring.successors().len() < self.settings.shape.successors;
        let first = self.nodes_before().last().unwrap_or(me).id;
        let is_before = first.clockwise_to(from) <= first.clockwise_to(key);
        let nearer =
            |is_nearer: &dyn Fn(RingId) -> bool| known.iter().filter(|it| is_nearer(**it)).count();
        let before = nearer(&|it| it.clockwise_to(key) < from.clockwise_to(key));
        let after = nearer(&|it| key.clockwise_to(it) < key.clockwise_to(from));
        (is_whole || is_before) && before < limits::REPLICAS_BEFORE + limits::HOLDERS_COME
            || (is_whole || !is_before) && after < limits::REPLICAS_FROM + limits::HOLDERS_COME
    }

    /// Those of `entries` that we hold and doubt, and whose sharers can be asked.
    fn doubted(&self, entries: &Entries) -> BTreeSet<SocketAddr> {
        let addresses = entries.sharers.iter().map(|(sharer, _)| sharer.address);
        let held = |address| self.keeping.store.get(entries.info_hash, address);
        let doubts = |it: &Entry| it.doubted && it.announced_from.is_some();
        addresses.filter(|address| held(*address).is_some_and(doubts)).collect()
    }
}
