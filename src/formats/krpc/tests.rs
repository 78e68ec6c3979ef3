use super::*;
use crate::words::bencode::{Form, scan};
use crate::words::limits::ring as limits;
use crate::words::rng::Rng;

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 6881))
}

fn address_v6(last: u8) -> SocketAddr {
    format!("[2001:db8::{last}]:6881").parse().unwrap()
}

fn contacts(family: Family, n: usize) -> Vec<SocketAddr> {
    let of = if family == Family::V4 { address } else { address_v6 };
    (1..=n).map(|n| of(u8::try_from(n).unwrap())).collect()
}

fn hash(byte: u8) -> InfoHash {
    InfoHash([byte; 20])
}

/// One message of each kind, as large as it gets.
fn every_kind(family: Family) -> Vec<Body> {
    let contact = contacts(family, 1)[0];
    let (token, digest) = (Token(*b"tokentok"), Digest(*b"digested"));
    let sharer = |seeder| Sharer { address: contact, seeder };
    let entries =
        Entries { info_hash: hash(1), sharers: vec![(sharer(true), 900), (sharer(false), 0)] };
    let queries = [
        Query::Ping(None),
        Query::Ping(Some(hash(1))),
        Query::GetState { digest: None, rectify: None },
        Query::GetState { digest: Some(digest), rectify: Some(contacts(family, 4)) },
        Query::GetState { digest: None, rectify: Some(Vec::new()) },
        Query::Rectify(contacts(family, 4)),
        Query::FindNode(RingId([7; 20])),
        Query::GetPeers(hash(2)),
        Query::Announce { info_hash: hash(3), port: 65535, seeder: true },
        Query::Withdraw { info_hash: hash(3), port: 1 },
        Query::Hint(contact),
        Query::Leave,
        Query::Push(vec![
            entries.clone(),
            Entries { info_hash: hash(9), sharers: Vec::new() },
            entries,
        ]),
        Query::Push(Vec::new()),
        Query::PingBack,
    ];
    let state = State {
        predecessor: Some(contact),
        successors: contacts(family, 20),
        before: contacts(family, 4),
        nodes: 10_000,
        keys: 4096,
    };
    let sharers = [(20, true), (10, false)].into_iter().flat_map(|(n, seeder)| {
        contacts(family, n).into_iter().map(move |address| Sharer { address, seeder })
    });
    let route = Route {
        nodes: contacts(family, 8),
        owner: Some(contact),
        sharers: sharers.collect(),
        token: Some(token),
    };
    let answers = [
        Answer::Done,
        Answer::Shares { shared: true, seeder: false },
        Answer::Same { token },
        Answer::State(state, token),
        Answer::State(State::default(), token),
        Answer::Route(route),
        Answer::Route(Route::default()),
    ];
    let refusals = [Refusal::Full, Refusal::Token, Refusal::Unknown, Refusal::Other(-7)];
    let mut kinds: Vec<_> = queries.iter().map(|query| Body::Query(query.clone(), None)).collect();
    kinds.extend(queries.into_iter().map(|query| Body::Query(query, Some(token))));
    kinds.extend(answers.map(Body::Answer));
    kinds.extend(refusals.map(Body::Error));
    kinds
}

fn messages(family: Family) -> Vec<Message> {
    let seen = [None, Some(contacts(family, 1)[0])];
    let kinds = every_kind(family).into_iter().enumerate();
    let message = |(n, body): (usize, Body)| Message {
        transaction: u32::try_from(n).unwrap() * 0x0101_0101,
        seen: seen[n % 2],
        client: n % 3 == 0,
        body,
    };
    kinds.map(message).collect()
}

#[test]
fn what_is_written_is_read() {
    for family in [Family::V4, Family::V6] {
        for message in messages(family) {
            for len_min in [0, 100, 300] {
                let bytes = message.encode(len_min);
                assert!(bytes.len() >= len_min && bytes.len() <= limits::DATAGRAM_LEN_SENT);
                scan(&bytes, limits::DATAGRAM_DEPTH_MAX, Form::Canonical).unwrap();
                assert_eq!(parse(&bytes, family), Ok(message.clone()), "{}", bytes.escape_ascii());
                assert!(is_ours(&bytes), "{}", bytes.escape_ascii());
            }
        }
    }
}

#[test]
fn a_short_message_is_filled_up_to_the_byte_or_the_next_few() {
    let ping = Message {
        transaction: 1,
        seen: None,
        client: false,
        body: Body::Query(Query::Ping(None), None),
    };
    let plain = ping.encode(0).len();
    for len_min in 0..400 {
        let len = ping.encode(len_min).len();
        assert!(len == plain || (len_min..len_min + 8).contains(&len), "{len_min}: {len}");
    }
}

#[test]
fn the_datagrams_look_as_the_report_says() {
    let query = Message {
        transaction: 0x6161_6161,
        seen: Some(address(2)),
        client: true,
        body: Body::Query(Query::GetPeers(InfoHash(*b"mnopqrstuvwxyz123456")), None),
    };
    let expected: &[u8] =
        b"d1:ad9:info_hash20:mnopqrstuvwxyz123456e1:ci1e2:ip6:\x0a\x00\x00\x02\x1a\xe1\
        1:q9:get_peers2:roi1e1:t4:aaaa1:y1:qe";
    assert_eq!(query.encode(0).escape_ascii().to_string(), expected.escape_ascii().to_string());
    let answer = Message {
        transaction: 0x6161_6161,
        seen: None,
        client: false,
        body: Body::Answer(Answer::Same { token: Token(*b"12345678") }),
    };
    assert_eq!(answer.encode(0), b"d1:ci1e1:rd4:samei1e5:token8:12345678e1:t4:aaaa1:y1:re");
}

#[test]
fn what_is_wrong_is_refused_by_name() {
    let table: [(&[u8], Unreadable); 14] = [
        (b"d1:t4:aaaae", Unreadable::NotOurs),
        (b"d1:ci2e1:t4:aaaae", Unreadable::NotOurs),
        (b"li1ee", Unreadable::NotOurs),
        (b"d1:ci1ee", Unreadable::Key("t")),
        (b"d1:ci1e1:t5:aaaaae", Unreadable::Key("t")),
        (b"d1:ci1e1:t4:aaaae", Unreadable::Key("y")),
        (b"d1:ci1e1:t4:aaaa1:y1:xe", Unreadable::Key("y")),
        (b"d1:ci1e1:q4:ping1:t4:aaaa1:y1:qe", Unreadable::Key("a")),
        (b"d1:ade1:ci1e1:t4:aaaa1:y1:qe", Unreadable::Key("q")),
        (b"d1:ade1:ci1e1:q4:pong1:t4:aaaa1:y1:qe", Unreadable::UnknownQuery(0x6161_6161)),
        (b"d1:ade1:ci1e1:q9:get_peers1:t4:aaaa1:y1:qe", Unreadable::Key("info_hash")),
        (
            b"d1:ad1:n6:\x01\x01\x01\x01\x00\x00e1:ci1e1:q4:hint1:t4:aaaa1:y1:qe",
            Unreadable::Key("n"),
        ),
        (b"d1:ad1:b7:aaaaaaae1:ci1e1:q7:rectify1:t4:aaaa1:y1:qe", Unreadable::Key("b")),
        (b"d1:ci1e1:ele1:t4:aaaa1:y1:ee", Unreadable::Key("e")),
    ];
    for (bytes, expected) in table {
        assert_eq!(parse(bytes, Family::V4), Err(expected), "{}", bytes.escape_ascii());
    }
    assert_eq!(parse(&[b'1'; 1501], Family::V4), Err(Unreadable::TooLong));
    let deep = [vec![b'l'; 750], vec![b'e'; 750]].concat();
    assert!(matches!(parse(&deep, Family::V4), Err(Unreadable::Bencode(_))));
    let keys: String = (0..65).map(|n| format!("2:{n:02}0:")).collect();
    let rich = format!("d{keys}e");
    assert_eq!(parse(rich.as_bytes(), Family::V4), Err(Unreadable::TooManyKeys));
}

#[test]
fn lists_have_bounds_and_addresses_one_family() {
    let route = |nodes: usize, sharers: usize| {
        let sharers = (0..sharers).map(|n| {
            let ip = u32::try_from(n).unwrap() + 0x0a00_0001;
            Sharer { address: SocketAddr::from((Ipv4Addr::from(ip), 1)), seeder: true }
        });
        let nodes = contacts(Family::V4, nodes);
        let route = Route { nodes, owner: None, sharers: sharers.collect(), token: None };
        Message {
            transaction: 0,
            seen: None,
            client: false,
            body: Body::Answer(Answer::Route(route)),
        }
    };
    assert!(parse(&route(8, 100).encode(0), Family::V4).is_ok());
    assert_eq!(parse(&route(9, 0).encode(0), Family::V4), Err(Unreadable::Key("nodes")));
    assert_eq!(parse(&route(0, 101).encode(0), Family::V4), Err(Unreadable::Key("s")));
    assert_eq!(parse(&route(8, 0).encode(0), Family::V6), Err(Unreadable::Key("nodes")));
}

/// Every datagram, cut anywhere and with any byte changed, is read or refused; what is read can be
/// written and read again.
#[test]
fn spoilt_datagrams_are_read_or_refused() {
    let mut rng = Rng::new(5);
    for family in [Family::V4, Family::V6] {
        for message in messages(family) {
            let bytes = message.encode(0);
            for cut in 0..bytes.len() {
                assert!(parse(&bytes[..cut], family).is_err());
            }
            for at in 0..bytes.len() {
                let mut spoilt = bytes.clone();
                spoilt[at] = u8::try_from(rng.below(256)).unwrap();
                if let Ok(read) = parse(&spoilt, family) {
                    assert_eq!(parse(&read.encode(0), family), Ok(read));
                }
            }
        }
    }
}

#[test]
fn a_small_stack_suffices_for_any_datagram() {
    let thread = std::thread::Builder::new().stack_size(64 * 1024).spawn(|| {
        for text in ["l", "d1:a", "d0:", "ld1:a"] {
            let bytes = text.repeat(1500 / text.len());
            assert!(parse(bytes.as_bytes(), Family::V4).is_err());
        }
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn a_digest_stands_for_one_state() {
    let state = |predecessor, successors, before| State {
        predecessor,
        successors: contacts(Family::V4, successors),
        before: contacts(Family::V4, before),
        ..State::default()
    };
    let states = [
        state(None, 0, 0),
        state(None, 1, 0),
        state(None, 0, 1),
        state(Some(address(1)), 0, 0),
        state(Some(address(2)), 0, 0),
        state(Some(address(1)), 20, 4),
    ];
    for (n, one) in states.iter().enumerate() {
        for (m, other) in states.iter().enumerate() {
            assert_eq!(one.digest() == other.digest(), n == m);
        }
    }
    assert_eq!(State { nodes: 9, keys: 9, ..State::default() }.digest(), State::default().digest());
}
