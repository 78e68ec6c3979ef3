//! A network in memory, in virtual time: one seed, one run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::formats::krpc::{Body, Family, Message, Query, Token, parse};
use crate::machines::chord::node::Node;
use crate::machines::chord::store::Entry;
use crate::machines::chord::{Contact, News, Settings, Shape, Sharer, Transmit};
use crate::words::id::InfoHash;
use crate::words::limits::ring as limits;
use crate::words::ring_id::RingId;
use crate::words::rng::Rng;

/// A host of a laboratory.
pub(super) fn place(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 6881))
}

pub(super) fn hash(n: u8) -> InfoHash {
    // Spread over the ring.
    InfoHash(RingId::of(SocketAddr::from(([10, 9, 9, n], 1))).0)
}

/// The questions that a node is asked most.
pub(super) fn questions(at: SocketAddr) -> [(&'static str, Vec<u8>); 3] {
    let ask = |query, len_min| {
        let body = Body::Query(query, None);
        Message { transaction: 9, seen: Some(at), client: false, body }.encode(len_min)
    };
    [
        ("ping", ask(Query::Ping(None), 0)),
        ("get_peers", ask(Query::GetPeers(hash(1)), 120)),
        ("get_state", ask(Query::GetState { digest: None, rectify: None }, 120)),
    ]
}

pub(super) struct Network {
    now: Instant,
    rng: Rng,
    settings: Settings,
    nodes: BTreeMap<SocketAddr, Node>,
    under_way: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    news: BTreeMap<SocketAddr, VecDeque<News>>,
    /// Datagrams that were carried.
    pub(super) carried: u64,
    /// Bytes that were sent, and questions.
    pub(super) bytes_sent: u64,
    pub(super) questions: u64,
    pub(super) lost_percent: u32,
    pub(super) doubled_percent: u32,
    /// Nodes that hear only from those to whom they have just spoken, as behind a router.
    pub(super) deaf: BTreeSet<SocketAddr>,
    /// Nodes so far away that an answer takes longer than a stranger's is waited for.
    pub(super) far: BTreeSet<SocketAddr>,
    mappings: BTreeMap<(SocketAddr, SocketAddr), Instant>,
    /// Nodes that cannot reach the others.
    one_side: BTreeSet<SocketAddr>,
}

impl Network {
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: Instant::now() + Duration::from_secs(100_000),
            rng: Rng::new(seed),
            settings: Settings::default(),
            nodes: BTreeMap::new(),
            under_way: BTreeMap::new(),
            news: BTreeMap::new(),
            carried: 0,
            bytes_sent: 0,
            questions: 0,
            lost_percent: 0,
            doubled_percent: 0,
            deaf: BTreeSet::new(),
            far: BTreeSet::new(),
            mappings: BTreeMap::new(),
            one_side: BTreeSet::new(),
        }
    }

    pub(super) fn with_shape(seed: u64, shape: Shape) -> Self {
        Self::with_settings(seed, Settings { shape, ..Settings::default() })
    }

    pub(super) fn with_settings(seed: u64, settings: Settings) -> Self {
        Self { settings, ..Self::new(seed) }
    }

    // --------------------------------------------------------------------------------- Nodes ---

    pub(super) fn start(
        &mut self,
        at: SocketAddr,
        settings: Settings,
        entry_points: &[SocketAddr],
    ) -> SocketAddr {
        let node = Node::new(settings, at, self.rng.next_u64(), self.now);
        self.add(at, node, entry_points)
    }

    /// A node at `at` that does not know it: its socket is bound to `listen`.
    pub(super) fn start_as(
        &mut self,
        at: SocketAddr,
        listen: SocketAddr,
        entry_points: &[SocketAddr],
    ) {
        let mut node = Node::new(self.settings.clone(), listen, self.rng.next_u64(), self.now);
        node.add_own_address(at);
        self.add(at, node, entry_points);
    }

    /// A node that listens at `inside`, and is seen `outside` by everybody else.
    pub(super) fn start_behind(
        &mut self,
        inside: SocketAddr,
        outside: SocketAddr,
        entry_points: &[SocketAddr],
    ) {
        let node = Node::new(self.settings.clone(), inside, self.rng.next_u64(), self.now);
        self.add(outside, node, entry_points);
    }

    fn add(&mut self, at: SocketAddr, mut node: Node, entry_points: &[SocketAddr]) -> SocketAddr {
        node.join(self.now, entry_points);
        self.nodes.insert(at, node);
        self.news.insert(at, VecDeque::new());
        self.collect(at);
        at
    }

    /// A ring of `n` nodes, each of which joined through one that was there.
    pub(super) fn grow(&mut self, n: u8) -> Vec<SocketAddr> {
        self.grow_apart(n, 0)
    }

    pub(super) fn grow_apart(&mut self, n: u8, from: u8) -> Vec<SocketAddr> {
        let mut members: Vec<SocketAddr> = Vec::new();
        for n in 1..=n {
            let count = u32::try_from(members.len()).unwrap();
            let known = (count > 0).then(|| members[self.rng.below(count) as usize]);
            let settings = self.settings.clone();
            members.push(self.start(place(from + n), settings, known.as_slice()));
            self.pass(Duration::from_secs(3));
        }
        // A list's end comes from node to node.
        self.pass(Duration::from_secs(100));
        members
    }

    /// A ring of `n` nodes that has been quiet for long.
    pub(super) fn settle(&mut self, n: u16) -> Vec<SocketAddr> {
        let at = |n: u16| SocketAddr::from(([10, 1, n.to_be_bytes()[0], n.to_be_bytes()[1]], 6881));
        let places: Vec<_> = (0..n).map(at).collect();
        let mut members: Vec<_> = places.iter().copied().map(Contact::at).collect();
        members.sort_unstable();
        for place in &places {
            let settings = self.settings.clone();
            let mut node = Node::new(settings, *place, self.rng.next_u64(), self.now);
            node.settle(&members, |_| Duration::from_millis(80));
            self.nodes.insert(*place, node);
            self.news.insert(*place, VecDeque::new());
            self.collect(*place);
        }
        places
    }

    pub(super) fn kill(&mut self, at: SocketAddr) {
        self.nodes.remove(&at);
    }

    /// Lets the node at `from` be at `to` from now on; if `is_known`, its host can tell.
    pub(super) fn relocate(&mut self, from: SocketAddr, to: SocketAddr, is_known: bool) {
        let mut node = self.nodes.remove(&from).unwrap();
        if is_known {
            node.move_here(self.now, to);
        }
        self.nodes.insert(to, node);
        self.news.insert(to, VecDeque::new());
        self.collect(to);
    }

    /// The host of the node at `at` can tell that it has moved there.
    pub(super) fn move_here(&mut self, at: SocketAddr) {
        self.order(at, |node, now| node.move_here(now, at));
    }

    /// The token that the node at `at` gives to `to`.
    pub(super) fn token(&self, at: SocketAddr, to: SocketAddr, key: InfoHash) -> Token {
        self.nodes[&at].tokens.give(self.now, to, key.into())
    }

    pub(super) fn node(&self, at: SocketAddr) -> &Node {
        &self.nodes[&at]
    }

    pub(super) fn order(&mut self, at: SocketAddr, order: impl FnOnce(&mut Node, Instant)) {
        order(self.nodes.get_mut(&at).unwrap(), self.now);
        self.collect(at);
    }

    pub(super) fn announce(&mut self, at: SocketAddr, hash: InfoHash, port: u16, seeder: bool) {
        self.order(at, |node, now| node.announce(now, hash, port, seeder));
    }

    pub(super) fn withdraw(&mut self, at: SocketAddr, hash: InfoHash) {
        self.order(at, |node, now| node.withdraw(now, hash));
    }

    pub(super) fn lookup(&mut self, at: SocketAddr, hash: InfoHash) {
        self.news.insert(at, VecDeque::new());
        self.order(at, |node, now| node.lookup(now, hash));
    }

    pub(super) fn leave(&mut self, at: SocketAddr) {
        self.order(at, Node::leave);
    }

    pub(super) fn walk(&mut self, at: SocketAddr) {
        self.order(at, Node::walk);
    }

    pub(super) fn hint(&mut self, at: SocketAddr, about: SocketAddr) {
        self.order(at, |node, _| node.handle_hint(about, Contact::at(about)));
    }

    pub(super) fn plant(&mut self, at: SocketAddr, hash: InfoHash, sharer: SocketAddr) {
        self.order(at, |node, now| {
            let entry = Entry::new(true, now, None);
            node.keep(hash, sharer, entry);
        });
    }

    // ---------------------------------------------------------------------------------- Time ---

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let deadline = |(at, node): (&SocketAddr, &Node)| Some((node.poll_deadline()?, *at));
            let due = self.nodes.iter().filter_map(deadline).min();
            let carried = self.under_way.first_key_value().map(|((at, _), _)| *at);
            let next = due.map(|(at, _)| at).into_iter().chain(carried).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            if carried.is_some_and(|at| due.is_none_or(|(due, _)| at <= due)) {
                let (_, (from, to, bytes)) = self.under_way.pop_first().unwrap();
                self.deliver(from, to, &bytes);
            } else if let Some((_, at)) = due {
                self.order(at, Node::handle_time);
            }
        }
        self.now = end;
    }

    /// Lets time pass, a hundredth of a second after the other, at most ten minutes of it.
    pub(super) fn pass_until(&mut self, is_so: impl Fn(&Self) -> bool) {
        let mut steps = 0..60_000;
        while !is_so(self) {
            assert!(steps.next().is_some(), "it is not so in ten minutes");
            self.pass(Duration::from_millis(10));
        }
    }

    pub(super) fn deliver(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if self.one_side.contains(&from) != self.one_side.contains(&to) {
            return;
        }
        if self.deaf.contains(&to) {
            let mapped = self.mappings.get(&(to, from)).copied();
            let alive = |at: Instant| self.now.duration_since(at) < Duration::from_secs(30);
            if !mapped.is_some_and(alive) {
                return;
            }
        }
        if self.nodes.contains_key(&to) {
            self.carried += 1;
            self.order(to, |node, now| node.handle_datagram(now, from, bytes));
        }
    }

    /// Takes what a node has to send and to tell, and asserts its invariants now and then.
    fn collect(&mut self, at: SocketAddr) {
        let node = self.nodes.get_mut(&at).unwrap();
        // Each time would be most of the time.
        if self.rng.chance(1, 16) {
            node.check();
        }
        while let Some(news) = node.poll_news() {
            self.news.get_mut(&at).unwrap().push_back(news);
        }
        while let Some(Transmit { to, bytes, aside }) = node.poll_transmit() {
            let from = if aside { SocketAddr::new(at.ip(), 1) } else { at };
            self.bytes_sent += bytes.len() as u64;
            let said = bytes.windows(7).any(|window| window == b"1:y1:q1" || window == b"1:y1:qe");
            self.questions += u64::from(said);
            self.mappings.insert((from, to), self.now);
            let copies = 1 + u32::from(self.rng.chance(self.doubled_percent, 100));
            for _ in 0..copies {
                if !self.rng.chance(self.lost_percent, 100) {
                    let delay = Duration::from_millis(u64::from(10 + self.rng.below(60)));
                    let is_far = self.far.contains(&at) || self.far.contains(&to);
                    let delay = if is_far { delay + limits::WAIT_FIRST * 3 / 5 } else { delay };
                    let key = (self.now + delay, self.rng.next_u64());
                    self.under_way.insert(key, (from, to, bytes.clone()));
                }
            }
        }
    }

    pub(super) fn split(&mut self, one_side: &[SocketAddr]) {
        self.one_side = one_side.iter().copied().collect();
    }

    pub(super) fn heal(&mut self) {
        self.one_side.clear();
    }

    // ----------------------------------------------------------------------- What has come of it ---

    pub(super) fn news(&self, at: SocketAddr) -> Vec<News> {
        self.news[&at].iter().cloned().collect()
    }

    pub(super) fn found(&self, at: SocketAddr, hash: InfoHash) -> Vec<Sharer> {
        let news = self.news[&at].iter();
        let mut found = Vec::new();
        for told in news {
            if let News::Found(about, sharers) = told
                && *about == hash
            {
                found.extend(sharers);
            }
        }
        assert!(
            self.news[&at]
                .iter()
                .any(|it| matches!(it, News::Finished(about, _) if *about == hash)),
            "the lookup has ended"
        );
        found.sort_unstable();
        found.dedup();
        found
    }

    /// How many nodes hold entries of a torrent.
    pub(super) fn holders(&self, hash: InfoHash) -> usize {
        let holds = |node: &&Node| node.keeping.store.iter().any(|(key, ..)| key == hash);
        self.nodes.values().filter(holds).count()
    }

    fn members(&self) -> Vec<Contact> {
        let members = self.nodes.values().filter(|node| node.is_member());
        let mut members: Vec<_> = members.map(Node::me).collect();
        members.sort_unstable();
        members
    }

    /// Asserts that all members are one ring in its order, each with its whole list.
    #[track_caller]
    pub(super) fn assert_ideal(&self) {
        let members = self.members();
        for (at, member) in members.iter().enumerate() {
            let node = self.node(member.address);
            let after = |n: usize| members[(at + n) % members.len()];
            let length = (members.len() - 1).min(self.settings.shape.successors);
            let expected: Vec<_> = (1..=length).map(after).collect();
            assert_eq!(node.successors(), expected, "the successors of {member:?}");
            if members.len() > 1 {
                let expected = Some(after(members.len() - 1));
                assert_eq!(node.predecessor(), expected, "the predecessor of {member:?}");
            }
        }
    }

    pub(super) fn is_apart(&self, one: &[SocketAddr], other: &[SocketAddr]) -> bool {
        let knows =
            |at: &SocketAddr| self.node(*at).contacts().iter().any(|known| other.contains(known));
        !one.iter().any(knows)
    }

    /// Whether any node has `at` in a table from which it names nodes to others.
    pub(super) fn is_named_by_anyone(&self, at: SocketAddr) -> bool {
        let names = |node: &Node| {
            let route = node.route(RingId::of(at)).nodes;
            let state = node.state();
            route.contains(&at) || state.successors.contains(&at) || state.predecessor == Some(at)
        };
        self.nodes.iter().any(|(address, node)| *address != at && names(node))
    }

    /// Whether the node answers this question at once.
    pub(super) fn answers(&mut self, at: SocketAddr, question: &[u8]) -> bool {
        let from = SocketAddr::from(([10, 7, 7, 7], 7));
        let node = self.nodes.get_mut(&at).unwrap();
        node.handle_datagram(self.now, from, question);
        node.poll_transmit().is_some_and(|transmit| transmit.to == from)
    }

    /// Sends noise to a node: real datagrams with bytes changed, and questions without a token, the
    /// answers to which are measured.
    pub(super) fn assault(&mut self, at: SocketAddr, times: u32) {
        let from = SocketAddr::from(([10, 7, 7, 7], 7));
        let seen = Some(at);
        let mut samples: Vec<Vec<u8>> = Vec::new();
        let ask = |query, len_min| {
            let body = Body::Query(query, None);
            Message { transaction: 9, seen, client: false, body }.encode(len_min)
        };
        for len_min in [0, 100, 300] {
            samples.push(ask(Query::GetPeers(hash(1)), len_min));
            samples.push(ask(Query::FindNode(RingId([9; 20])), len_min));
            samples.push(ask(Query::GetState { digest: None, rectify: None }, len_min));
            samples.push(ask(Query::GetState { digest: None, rectify: Some(vec![at]) }, len_min));
            samples
                .push(ask(Query::Announce { info_hash: hash(1), port: 9, seeder: true }, len_min));
            samples.push(ask(Query::Push(Vec::new()), len_min));
            samples.push(ask(Query::Hint(from), len_min));
            samples.push(ask(Query::Leave, len_min));
        }
        for n in 0..times {
            let count = u32::try_from(samples.len()).unwrap();
            let mut bytes = samples[self.rng.below(count) as usize].clone();
            for _ in 0..n % 4 {
                let len = u32::try_from(bytes.len()).unwrap();
                let at = self.rng.below(len) as usize;
                bytes[at] = u8::try_from(self.rng.below(256)).unwrap();
            }
            self.now += Duration::from_millis(20);
            let now = self.now;
            let node = self.nodes.get_mut(&at).unwrap();
            node.handle_datagram(now, from, &bytes);
            node.check();
            let (mut answers, len) = (0, bytes.len());
            while let Some(Transmit { to, bytes, .. }) = node.poll_transmit() {
                let message = parse(&bytes, Family::V4).unwrap();
                let is_answer = !matches!(message.body, Body::Query(..));
                assert!(
                    to != from || !is_answer || bytes.len() <= 3 * len,
                    "{} of {len}",
                    bytes.len()
                );
                answers += usize::from(is_answer);
            }
            assert!(answers <= 1);
            if node.poll_deadline().is_some_and(|due| due <= now) {
                node.handle_time(now);
            }
        }
    }
}
