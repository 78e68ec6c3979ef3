//! Nodes that talk to one another in memory, a twentieth of a second away from each other.

use super::*;
use crate::formats::mainline::{ErrorCode, Reply, Token, Transaction};

const DELAY: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

struct Net {
    now: Instant,
    nodes: BTreeMap<SocketAddr, Node>,
    underway: VecDeque<(Instant, SocketAddr, Transmit)>,
    news: Vec<(SocketAddr, News)>,
    /// A node behind a router that lets answers in and nothing else, and when it sent something to
    /// whom.
    walled: Option<SocketAddr>,
    sent: BTreeMap<SocketAddr, Instant>,
}

fn epoch() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an Instant cannot be made up")]
    Instant::now()
}

fn settings(seed: u64) -> Settings {
    let mut secret = [0; 20];
    Rng::new(seed).fill(&mut secret);
    let families = Want { v4: true, v6: true };
    Settings { families, ids: [None, None], read_only: false, secret }
}

fn v4(n: u32) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from_bits(0x0a00_0001 + n).into(), 6881)
}

fn global(n: u32) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from_bits(0x5001_0101 + (n << 12)).into(), 6881)
}

fn v6(n: u32) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::from_bits((0xfd00 << 112) + u128::from(n)).into(), 6881)
}

impl Net {
    fn new() -> Self {
        Self {
            now: epoch(),
            nodes: BTreeMap::new(),
            underway: VecDeque::new(),
            news: Vec::new(),
            walled: None,
            sent: BTreeMap::new(),
        }
    }

    /// `count` nodes at the addresses that `at` gives, of which each knows the first.
    fn with(count: u32, at: fn(u32) -> SocketAddr) -> Self {
        let mut net = Self::new();
        (0..count).for_each(|n| net.start(at(n), &[at(0)], settings(n.into())));
        net.run(2 * MINUTE);
        net
    }

    fn start(&mut self, at: SocketAddr, entry_points: &[SocketAddr], mut settings: Settings) {
        settings.families = Want { v4: at.is_ipv4(), v6: at.is_ipv6() };
        let seed = u64::from_le_bytes(*settings.secret.first_chunk().unwrap());
        self.nodes.insert(at, Node::new(settings, seed, self.now));
        let others: Vec<_> = entry_points.iter().copied().filter(|other| *other != at).collect();
        self.order(at, |node, now| node.join(now, &others));
    }

    fn order<T>(&mut self, at: SocketAddr, order: impl FnOnce(&mut Node, Instant) -> T) -> T {
        let node = self.nodes.get_mut(&at).unwrap();
        let result = order(node, self.now);
        node.check();
        while let Some(transmit) = node.poll_transmit() {
            assert!(transmit.bytes.len() <= 1200, "{} bytes", transmit.bytes.len());
            self.underway.push_back((self.now + DELAY, at, transmit));
        }
        while let Some(news) = node.poll_news() {
            self.news.push((at, news));
        }
        result
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.nodes.iter().map(|(at, node)| (node.poll_deadline(), *at)).min();
            let arrival = self.underway.front().map(|(at, ..)| *at);
            if let Some(at) = arrival.filter(|at| next.is_none_or(|next| *at <= next.0))
                && at <= end
            {
                self.now = at;
                let (_, from, Transmit { to, bytes }) = self.underway.pop_front().unwrap();
                if Some(from) == self.walled {
                    self.sent.insert(to, self.now);
                }
                let open = |sent: &Instant| self.now.saturating_duration_since(*sent) < MINUTE;
                let lets_in = Some(to) != self.walled || self.sent.get(&from).is_some_and(open);
                if lets_in && self.nodes.contains_key(&to) {
                    self.order(to, |node, now| node.handle_datagram(now, from, &bytes));
                }
            } else if let Some((at, node)) = next.filter(|next| next.0 <= end) {
                self.now = self.now.max(at);
                self.order(node, Node::handle_time);
            } else {
                self.now = end;
                return;
            }
        }
    }

    fn found(&self, at: SocketAddr, wanted: InfoHash) -> BTreeSet<SocketAddr> {
        let found = self.news.iter().filter_map(|(who, news)| match news {
            News::Found(info_hash, peers) => (*who == at && *info_hash == wanted).then_some(peers),
            News::Ended(..) | News::Joined | News::Address(_) => None,
        });
        found.flatten().copied().collect()
    }

    fn outcome(&self, at: SocketAddr) -> Option<Outcome> {
        let mut outcomes = self.news.iter().filter_map(|(who, news)| match news {
            News::Ended(_, outcome) => (*who == at).then_some(*outcome),
            News::Found(..) | News::Joined | News::Address(_) => None,
        });
        outcomes.next_back()
    }
}

const TUNE: InfoHash = InfoHash(*b"a torrent of a tune!");

#[test]
fn two_nodes_find_each_other_and_each_others_peers() {
    let mut net = Net::with(2, v4);
    assert_eq!(net.nodes[&v4(0)].contacts().count(), 1);
    assert_eq!(net.nodes[&v4(1)].contacts().count(), 1);
    assert!(net.order(v4(1), |node, now| node.announce(now, TUNE, Some(7001))));
    net.run(5 * SECOND);
    let stored: Vec<_> = net.nodes[&v4(0)].entries().collect();
    let peer = SocketAddr::new(v4(1).ip(), 7001);
    assert_eq!(stored, [(TUNE, peer)]);
    assert!(net.order(v4(0), |node, now| node.announce(now, TUNE, None)));
    net.run(5 * SECOND);
    let stored: Vec<_> = net.nodes[&v4(1)].entries().collect();
    assert_eq!(stored, [(TUNE, v4(0))], "the port is the one from which the node asks");
    net.order(v4(1), |node, now| node.lookup(now, TUNE));
    net.run(5 * SECOND);
    // It holds the one itself, and the other one holds its own.
    assert_eq!(net.found(v4(1), TUNE), BTreeSet::from([v4(0), peer]));
}

#[test]
fn in_fifty_nodes_every_lookup_finds_what_was_announced() {
    for at in [v4, v6, global] {
        let mut net = Net::with(50, at);
        let joined = net.news.iter().filter(|(_, news)| *news == News::Joined);
        assert_eq!(joined.count(), 50);
        let hashes: Vec<_> = (0..20).map(|n| InfoHash([n * 13; 20])).collect();
        for (n, info_hash) in (0..).zip(&hashes) {
            net.order(at(n), |node, now| node.announce(now, *info_hash, Some(9)));
        }
        net.run(20 * SECOND);
        for (n, info_hash) in (0..).zip(&hashes) {
            let asker = at(49 - n);
            net.order(asker, |node, now| node.lookup(now, *info_hash));
            net.run(10 * SECOND);
            let peer = SocketAddr::new(at(n).ip(), 9);
            assert_eq!(net.found(asker, *info_hash), BTreeSet::from([peer]));
            let outcome = net.outcome(asker).unwrap();
            assert!(outcome.queries >= 8 && outcome.queries < 40, "{outcome:?}");
            // Who holds it itself needs no answer.
            assert!(outcome.hops.is_some_and(|hops| hops < 4), "{outcome:?}");
        }
    }
}

#[test]
fn announcements_are_repeated_until_withdrawn_and_then_forgotten() {
    let mut net = Net::with(12, v4);
    net.order(v4(3), |node, now| node.announce(now, TUNE, Some(9)));
    let holders = |net: &Net| net.nodes.values().filter(|n| n.entries().next().is_some()).count();
    net.run(120 * MINUTE);
    assert!(holders(&net) >= 8);
    net.order(v4(3), |node, _| node.withdraw(TUNE));
    net.run(limits::ENTRY_LIFETIME + 15 * MINUTE);
    assert_eq!(holders(&net), 0);
}

#[test]
fn a_lookup_goes_around_nodes_that_have_died() {
    let mut net = Net::with(60, v4);
    net.order(v4(1), |node, now| node.announce(now, TUNE, Some(9)));
    net.run(20 * SECOND);
    for n in (2..60).step_by(3) {
        net.nodes.remove(&v4(n));
    }
    for asker in [v4(0), v4(3), v4(33), v4(58)] {
        net.order(asker, |node, now| node.lookup(now, TUNE));
        net.run(30 * SECOND);
        assert_eq!(net.found(asker, TUNE).len(), 1, "{asker}");
    }
    // Those who fell silent leave the tables, and nobody is told of them any more.
    net.run(90 * MINUTE);
    let asker = v4(0);
    net.order(asker, |node, now| node.lookup(now, InfoHash([1; 20])));
    net.run(30 * SECOND);
    assert_eq!(net.outcome(asker).unwrap().silences, 0);
}

#[test]
fn a_node_alone_goes_on_trying() {
    let mut net = Net::new();
    net.start(v4(1), &[v4(0)], settings(1));
    net.run(MINUTE);
    assert!(net.news.is_empty());
    net.start(v4(0), &[], settings(0));
    net.run(MINUTE);
    assert!(net.news.contains(&(v4(1), News::Joined)));
}

#[test]
fn a_node_that_only_asks_is_in_nobodys_table_and_answers_nobody() {
    let mut net = Net::with(10, v4);
    let read_only = Settings { read_only: true, ..settings(77) };
    net.start(v4(20), &[v4(0)], read_only);
    net.order(v4(5), |node, now| node.announce(now, TUNE, Some(9)));
    net.run(MINUTE);
    net.order(v4(20), |node, now| node.lookup(now, TUNE));
    net.run(10 * SECOND);
    assert_eq!(net.found(v4(20), TUNE).len(), 1);
    let knows = |node: &Node| node.contacts().any(|contact| contact.address == v4(20));
    assert!(!net.nodes.values().any(knows));
    net.order(v4(5), |node, now| node.hear_of(now, v4(20)));
    net.run(10 * SECOND);
    assert!(!net.nodes.values().any(knows));
}

#[test]
fn a_node_of_both_families_finds_each_through_the_other() {
    let mut net = Net::with(8, v6);
    for n in 0..8 {
        net.start(v4(n), &[v4(0)], settings(100 + u64::from(n)));
    }
    net.run(2 * MINUTE);
    // It is in both networks, and tells each of the other.
    let mut both = Node::new(settings(50), 50, net.now);
    both.join(net.now, &[v4(0), v6(0)]);
    let mut deliver = |node: &mut Node| {
        for _ in 0..2000 {
            let Some(Transmit { to, bytes }) = node.poll_transmit() else { break };
            let from = if to.is_ipv4() { v4(200) } else { v6(200) };
            let now = net.now;
            let other = net.nodes.get_mut(&to).unwrap();
            other.handle_datagram(now, from, &bytes);
            while let Some(answer) = other.poll_transmit() {
                if answer.to == from {
                    node.handle_datagram(now, to, &answer.bytes);
                }
            }
        }
    };
    deliver(&mut both);
    let of = |node: &Node, is_v4: bool| {
        node.contacts().filter(|contact| contact.address.is_ipv4() == is_v4).count()
    };
    assert_eq!((of(&both, true), of(&both, false)), (8, 8));
    let want = Want { v4: true, v6: true };
    let target = NodeId::from(TUNE);
    let reply = ask(&mut both, net.now, v4(9), Query::FindNode { target, want });
    assert_eq!(reply.nodes.iter().filter(|node| node.address.is_ipv6()).count(), 8);
    let reply = ask(&mut both, net.now, v6(9), Query::FindNode { target, want: Want::default() });
    assert!(reply.nodes.iter().all(|node| node.address.is_ipv6()));
    assert_ne!(both.id(false), both.id(true));
}

const STRANGER: NodeId = NodeId([0xab; 20]);

fn say(node: &mut Node, now: Instant, from: SocketAddr, query: Query) -> Option<Body> {
    let transaction = Transaction::new(b"xyz").unwrap();
    let body = Body::Query(STRANGER, query);
    let datagram = Datagram { transaction, read_only: true, your_address: None, body };
    node.handle_datagram(now, from, &datagram.emit());
    let mut answers = std::iter::from_fn(|| node.poll_transmit()).filter(|sent| sent.to == from);
    let answer = Datagram::parse(&answers.next()?.bytes).unwrap();
    assert_eq!((answer.transaction, answer.your_address), (transaction, Some(from)));
    Some(answer.body)
}

#[track_caller]
fn ask(node: &mut Node, now: Instant, from: SocketAddr, query: Query) -> Reply {
    match say(node, now, from, query) {
        Some(Body::Reply(reply)) => reply,
        other => panic!("{other:?}"),
    }
}

fn announce(token: &Token) -> Query {
    Query::AnnouncePeer { info_hash: TUNE, port: Some(9), token: token.clone() }
}

#[test]
fn a_token_is_good_for_one_address_one_torrent_and_ten_minutes() {
    let now = epoch();
    let mut node = Node::new(settings(1), 1, now);
    let get = Query::GetPeers { info_hash: TUNE, want: Want::default() };
    let token = ask(&mut node, now, v4(5), get.clone()).token.unwrap();
    let is_refused = |answer: Option<Body>| match answer {
        Some(Body::Error(code, _)) => code == ErrorCode::PROTOCOL,
        Some(Body::Reply(_)) => false,
        other => panic!("{other:?}"),
    };
    assert!(is_refused(say(&mut node, now, v4(6), announce(&token))));
    let other_port = SocketAddr::new(v4(5).ip(), 1);
    assert!(is_refused(say(&mut node, now, other_port, announce(&token))));
    let info_hash = InfoHash([7; 20]);
    let elsewhere = Query::AnnouncePeer { info_hash, port: None, token: token.clone() };
    assert!(is_refused(say(&mut node, now, v4(5), elsewhere)));
    assert_eq!(node.entries().count(), 0);
    for (after, refused) in [(0, false), (1, false), (5, false), (10, true), (11, true)] {
        let now = now + after * MINUTE;
        assert_eq!(is_refused(say(&mut node, now, v4(5), announce(&token))), refused, "{after}");
    }
    assert_eq!(node.entries().count(), 1);
    let peers = ask(&mut node, now + 11 * MINUTE, v4(7), get).peers;
    assert_eq!(peers, [SocketAddr::new(v4(5).ip(), 9)]);
}

#[test]
fn malformed_queries_are_answered_with_an_error_and_everything_else_with_silence() {
    let now = epoch();
    let mut node = Node::new(settings(1), 1, now);
    let mut answer = |text: &[u8]| {
        node.handle_datagram(now, v4(1), text);
        node.check();
        // Who asks is also asked whether it is there.
        let sent = std::iter::from_fn(|| node.poll_transmit());
        let sent = sent.map(|sent| Datagram::parse(&sent.bytes).unwrap().body);
        let mut answers = sent.filter(|body| !matches!(body, Body::Query(_, Query::Ping)));
        answers.next().map(|answer| match answer {
            Body::Error(ErrorCode(code), _) => code,
            other @ (Body::Query(..) | Body::Reply(_)) => panic!("{other:?}"),
        })
    };
    assert_eq!(answer(b"d1:ad2:id20:abcdefghij0123456789e1:q9:find_node1:t2:aa1:y1:qe"), Some(203));
    assert_eq!(answer(b"d1:ad2:id20:abcdefghij0123456789e1:q4:sing1:t2:aa1:y1:qe"), Some(204));
    for silent in [&b""[..], b"d", b"de", b"i1e", b"\0\0\0", b"d1:t1:a1:y1:re"] {
        assert_eq!(answer(silent), None, "{}", silent.escape_ascii());
    }
    // An answer nobody asked for, and an error nobody made.
    assert_eq!(answer(b"d1:rd2:id20:abcdefghij0123456789e1:t4:aaaa1:y1:re"), None);
    assert_eq!(answer(b"d1:eli201e1:xe1:t4:aaaa1:y1:ee"), None);
    assert_eq!(node.contacts().count(), 0);
}

#[test]
fn one_source_is_not_answered_without_end_and_nobody_else_suffers() {
    let now = epoch();
    let mut node = Node::new(settings(1), 1, now);
    let mut pings = |now, n| {
        let said = (0..100).filter_map(|_| say(&mut node, now, global(n), Query::Ping));
        said.count()
    };
    assert_eq!(pings(now, 1), limits::SOURCE_QUERIES_BURST as usize);
    assert_eq!(pings(now, 2), limits::SOURCE_QUERIES_BURST as usize);
    assert_eq!(pings(now + SECOND, 1), limits::SOURCE_QUERIES_PER_SECOND as usize);
    // All together get so many bytes a second.
    let mut node = Node::new(settings(1), 1, now);
    let sources = (0..3000).filter(|n| say(&mut node, now, global(*n), Query::Ping).is_some());
    let bytes = limits::ANSWERS_BYTES_PER_SECOND * 3;
    let answers = u32::try_from(sources.count()).unwrap();
    assert!((bytes / 70..bytes / 50).contains(&answers), "{answers}");
    node.check();
}

#[test]
fn ids_follow_the_address_that_others_see() {
    let mut net = Net::with(12, global);
    net.run(20 * MINUTE);
    let proved =
        net.nodes.iter().filter(|(at, node)| node.id(false).unwrap().is_valid_for(at.ip()));
    assert_eq!(proved.count(), 12);
    let known = net.nodes.iter().all(|(at, node)| node.address(false) == Some(at.ip()));
    assert!(known, "everybody knows its own address");
    // They have found one another again under their new ids.
    assert!(net.nodes.values().all(|node| node.contacts().count() >= 8));
}

/// BEP 42: an id of an earlier run is good for the address it was made for, and for no other.
#[test]
fn an_id_that_was_kept_is_kept_on_as_long_as_the_address_is_the_same() {
    for (of, is_kept) in [(global(9), true), (global(4), false)] {
        let mut net = Net::with(8, global);
        let at = global(9);
        let id = NodeId::random_for(of.ip(), &mut Rng::new(4));
        let kept = Settings { ids: [Some(id), None], ..settings(9) };
        net.start(at, &[global(0)], kept);
        net.run(2 * MINUTE);
        let node = &net.nodes[&at];
        assert_eq!(node.address(false), Some(at.ip()));
        let own = node.id(false).unwrap();
        assert_eq!(own == id, is_kept);
        assert!(own.is_valid_for(at.ip()));
    }
}

#[test]
fn an_answer_by_somebody_else_than_expected_is_of_no_use() {
    let mut net = Net::with(3, v4);
    let now = net.now;
    let node = net.nodes.get_mut(&v4(0)).unwrap();
    node.lookup(now, TUNE);
    let asked: Vec<_> = std::iter::from_fn(|| node.poll_transmit()).collect();
    assert_eq!(asked.len(), 2);
    let Transmit { to, bytes } = &asked[0];
    let query = Datagram::parse(bytes).unwrap();
    let peers = vec![v4(66)];
    let body = Body::Reply(Reply { peers, ..Reply::empty(STRANGER) });
    let forged = Datagram { body, ..query };
    // From another address it is nothing at all, from the right one it costs the old id its place.
    node.handle_datagram(now, v4(67), &forged.emit());
    assert_eq!(node.contacts().count(), 2);
    node.handle_datagram(now, *to, &forged.emit());
    assert_eq!(node.contacts().count(), 1);
    assert!(!matches!(node.poll_news(), Some(News::Found(..))));
    node.check();
}

#[test]
fn what_is_kept_of_one_run_starts_the_next() {
    let mut net = Net::with(30, v4);
    let kept: Vec<_> = net.nodes[&v4(9)].contacts().collect();
    net.nodes.remove(&v4(9));
    net.start(v4(9), &[], settings(9));
    net.order(v4(9), |node, now| {
        node.restore(now, kept);
        node.join(now, &[]);
    });
    net.news.clear();
    net.run(10 * SECOND);
    assert!(net.news.contains(&(v4(9), News::Joined)));
}

#[test]
fn more_lookups_than_run_at_once_run_one_after_the_other() {
    let mut net = Net::with(20, v4);
    let hashes: Vec<_> = (0..100).map(|n| InfoHash([n; 20])).collect();
    for info_hash in &hashes {
        assert!(net.order(v4(1), |node, now| node.lookup(now, *info_hash)));
        assert!(net.order(v4(2), |node, now| node.announce(now, *info_hash, None)));
    }
    net.run(2 * MINUTE);
    let ended = |at| {
        let of = net.news.iter().filter(|(who, _)| *who == at);
        of.filter(|(_, news)| matches!(news, News::Ended(..))).count()
    };
    assert_eq!((ended(v4(1)), ended(v4(2))), (100, 100));
}

#[test]
fn what_was_announced_before_anybody_was_known_is_announced_when_the_node_has_joined() {
    let mut net = Net::with(8, v4);
    net.start(v4(9), &[], settings(9));
    net.order(v4(9), |node, now| node.announce(now, TUNE, Some(9)));
    net.run(5 * SECOND);
    let holders = |net: &Net| {
        let others = net.nodes.iter().filter(|(at, _)| **at != v4(9));
        others.filter(|(_, node)| node.entries().next().is_some()).count()
    };
    assert_eq!(holders(&net), 0);
    net.order(v4(9), |node, now| node.join(now, &[v4(0)]));
    net.run(5 * SECOND);
    assert_eq!(holders(&net), 8);
}

#[test]
fn one_node_that_says_it_is_there_is_a_way_in() {
    let mut net = Net::with(8, v4);
    net.start(v4(9), &[], settings(9));
    net.order(v4(9), |node, now| node.hear_of(now, v4(3)));
    net.run(5 * SECOND);
    assert!(net.news.contains(&(v4(9), News::Joined)));
    assert_eq!(net.nodes[&v4(9)].contacts().count(), 8);
}

#[test]
fn entry_points_that_were_named_before_are_kept_behind_new_ones() {
    let mut net = Net::with(2, v4);
    net.start(v4(9), &[v4(0)], settings(9));
    // The new way leads nowhere.
    net.order(v4(9), |node, now| node.join(now, &[v4(77)]));
    net.run(10 * SECOND);
    assert!(net.nodes[&v4(9)].contacts().count() > 0);
}

#[test]
fn a_stranger_names_nobody_who_is_nearer_to_us_than_itself() {
    let mut net = Net::new();
    net.start(global(1), &[global(0)], settings(1));
    net.order(global(1), |node, now| node.lookup(now, TUNE));
    let (_, _, asked) = net
        .underway
        .iter()
        .find(|(_, _, transmit)| transmit.bytes.windows(9).any(|w| w == b"get_peers"))
        .unwrap();
    let transaction = Datagram::parse(&asked.bytes).unwrap().transaction;
    let peers = ["127.0.0.1:22", "192.168.0.1:80", "0.0.0.0:9", "239.1.1.1:9", "9.9.9.9:9"];
    let peers: Vec<SocketAddr> = peers.iter().map(|peer| peer.parse().unwrap()).collect();
    let near = Contact { id: NodeId([7; 20]), address: "10.1.1.1:5".parse().unwrap() };
    let reply = Reply { nodes: vec![near], peers, ..Reply::empty(NodeId([9; 20])) };
    let body = Body::Reply(reply);
    let answer = Datagram { transaction, read_only: false, your_address: None, body }.emit();
    net.underway.clear();
    net.order(global(1), |node, now| node.handle_datagram(now, global(0), &answer));
    let told: Vec<_> = net.found(global(1), TUNE).into_iter().collect();
    assert_eq!(told, ["9.9.9.9:9".parse().unwrap()]);
    assert!(net.underway.iter().all(|(_, _, transmit)| transmit.to != near.address));
}

#[test]
fn whoever_is_asked_by_nobody_asks_as_one_who_is_not_to_be_asked_and_tries_again() {
    let mut net = Net::with(40, global);
    let walled = global(77);
    net.walled = Some(walled);
    net.start(walled, &[global(0)], settings(77));
    let is_read_only = |net: &mut Net, at: SocketAddr| {
        let now = net.now;
        net.nodes.get_mut(&at).unwrap().is_read_only(now, global(1))
    };
    let mut closed = 0;
    for _ in 0..180 {
        net.run(MINUTE);
        closed += u32::from(is_read_only(&mut net, walled));
    }
    assert!((100..150).contains(&closed), "{closed} of 180 minutes");
    for n in 0..40 {
        assert!(!is_read_only(&mut net, global(n)), "{n} can be reached");
    }
    net.order(global(3), |node, now| node.announce(now, TUNE, Some(9)));
    net.run(20 * SECOND);
    // It still finds what there is to be found.
    net.order(walled, |node, now| node.lookup(now, TUNE));
    net.run(20 * SECOND);
    assert_eq!(net.found(walled, TUNE).len(), 1);
}
