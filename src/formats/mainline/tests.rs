use super::*;

const ASKER: NodeId = NodeId(*b"abcdefghij0123456789");
const ANSWERER: NodeId = NodeId(*b"mnopqrstuvwxyz123456");
const NEITHER: Want = Want { v4: false, v6: false };

fn datagram(transaction: &[u8], body: Body) -> Datagram {
    let transaction = Transaction::new(transaction).unwrap();
    Datagram { transaction, read_only: false, your_address: None, body }
}

fn query(query: Query) -> Datagram {
    datagram(b"aa", Body::Query(ASKER, query))
}

fn reply(reply: Reply) -> Datagram {
    datagram(b"aa", Body::Reply(reply))
}

/// The text is read as the datagram, and the datagram is written as the text.
#[track_caller]
fn assert_same(text: &[u8], datagram: &Datagram) {
    let shown = text.escape_ascii();
    assert_eq!(Datagram::parse(text).as_ref(), Ok(datagram), "{shown}");
    assert_eq!(datagram.emit().escape_ascii().to_string(), shown.to_string());
}

/// The examples of BEP 5.
#[test]
fn the_examples_of_bep_5_are_read_and_written() {
    let text = b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee";
    let error = Body::Error(ErrorCode::GENERIC, "A Generic Error Ocurred".to_owned());
    assert_same(text, &datagram(b"aa", error));
    let text = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    assert_same(text, &query(Query::Ping));
    let text = b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re";
    assert_same(text, &reply(Reply::empty(ANSWERER)));
    let text = b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e\
                 1:q9:find_node1:t2:aa1:y1:qe";
    assert_same(text, &query(Query::FindNode { target: ANSWERER, want: NEITHER }));
    let text = b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e\
                 1:q9:get_peers1:t2:aa1:y1:qe";
    let info_hash = InfoHash(ANSWERER.0);
    assert_same(text, &query(Query::GetPeers { info_hash, want: NEITHER }));
    let text = b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee\
                 1:t2:aa1:y1:re";
    let peers = ["97.120.106.101:11893", "105.100.104.116:28269"].map(|peer| peer.parse().unwrap());
    let token = Some(Token((*b"aoeusnth").into()));
    let found = Reply { peers: peers.into(), token, ..Reply::empty(ASKER) };
    assert_same(text, &reply(found));
    // The nodes of the examples are nine letters, too few for one.
    let text = b"d1:rd2:id20:0123456789abcdefghij5:nodes9:def456...e1:t2:aa1:y1:re";
    let nobody = Reply::empty(NodeId(*b"0123456789abcdefghij"));
    assert_eq!(Datagram::parse(text).unwrap(), reply(nobody));
    let text =
        b"d1:rd2:id20:abcdefghij01234567895:nodes9:def456...5:token8:aoeusnthe1:t2:aa1:y1:re";
    let token = Token((*b"aoeusnth").into());
    let nobody = Reply { token: Some(token.clone()), ..Reply::empty(ASKER) };
    assert_eq!(Datagram::parse(text).unwrap(), reply(nobody));
    let announce = Query::AnnouncePeer { info_hash, port: None, token: token.clone() };
    // The example has port 6881 beside `implied_port`, which says not to look at it.
    let text = b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:\
                 mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe";
    assert_eq!(Datagram::parse(text).unwrap(), query(announce));
    let text = b"d1:ad2:id20:abcdefghij01234567899:info_hash20:\
                 mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe";
    assert_same(text, &query(Query::AnnouncePeer { info_hash, port: Some(6881), token }));
}

#[test]
fn errors_have_the_codes_of_bep_5() {
    let table = [
        (201, ErrorCode::GENERIC),
        (202, ErrorCode(202)),
        (203, ErrorCode::PROTOCOL),
        (204, ErrorCode::METHOD_UNKNOWN),
    ];
    for (number, code) in table {
        let text = format!("d1:eli{number}e2:noe1:t2:aa1:y1:ee");
        assert_same(text.as_bytes(), &datagram(b"aa", Body::Error(code, "no".into())));
    }
}

#[test]
fn nodes_of_both_families_are_read_and_written() {
    let want = Want { v4: true, v6: true };
    let text = b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz1234564:wantl2:n42:n6ee\
                 1:q9:find_node1:t2:aa1:y1:qe";
    assert_same(text, &query(Query::FindNode { target: ANSWERER, want }));
    let nodes = ["192.0.2.1:6881", "[2001:db8::7]:51413"];
    let nodes = nodes.map(|address| Contact { id: ASKER, address: address.parse().unwrap() });
    let both = Reply { nodes: nodes.into(), ..Reply::empty(ANSWERER) };
    let text =
        b"d1:rd2:id20:mnopqrstuvwxyz1234565:nodes26:abcdefghij0123456789\xc0\0\x02\x01\x1a\xe1\
                 6:nodes638:abcdefghij0123456789\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\xc8\xd5e\
                 1:t2:aa1:y1:re";
    assert_same(text, &reply(both));
}

#[test]
fn the_receivers_address_and_read_only_are_read_and_written() {
    let text = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping2:roi1e1:t2:aa1:y1:qe";
    assert_same(text, &Datagram { read_only: true, ..query(Query::Ping) });
    let table: [(_, &[u8]); 2] =
        [("192.0.2.1:256", b"d2:ip6:\xc0\0\x02\x01\x01\0"), ("[::2]:3", b"d2:ip18:\0\0\0")];
    for (address, head) in table {
        let your_address = Some(address.parse().unwrap());
        let seen = Datagram { your_address, ..reply(Reply::empty(ANSWERER)) };
        let bytes = seen.emit();
        assert_eq!(Datagram::parse(&bytes).unwrap(), seen);
        assert!(bytes.starts_with(head), "{}", bytes.escape_ascii());
    }
}

#[test]
fn unknown_queries_may_have_a_target() {
    let text = b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e\
                 1:q3:new1:t2:aa1:y1:qe";
    assert_eq!(Datagram::parse(text).unwrap(), query(Query::Unknown(Some(ANSWERER))));
    let text = b"d1:ad2:id20:abcdefghij0123456789e1:q3:new1:t2:aa1:y1:qe";
    assert_eq!(Datagram::parse(text).unwrap(), query(Query::Unknown(None)));
}

#[test]
fn what_is_useless_is_passed_over() {
    // A contact without a port, half a contact, peers of odd lengths, and keys nobody knows.
    let id = "abcdefghij0123456789";
    let nodes = format!("{id}\x01\x02\x03\x04\0\0{id}\x01\x02\x03\x04\0\x05{id}");
    let text = format!(
        "d1:rd2:id20:{id}5:nodes{}:{nodes}6:valuesl2:ab6:\x01\x02\x03\x04\0\x096:\x01\x02\x03\x04\0\0\
         i5ee1:xi1ee1:t0:1:v4:LT\x01\x021:y1:re",
        nodes.len()
    );
    let read = Datagram::parse(text.as_bytes()).unwrap();
    let Body::Reply(read) = read.body else { panic!("it is a reply") };
    let address = "1.2.3.4:5".parse().unwrap();
    assert_eq!(read.nodes, [Contact { id: ASKER, address }]);
    assert_eq!(read.peers, ["1.2.3.4:9".parse().unwrap()]);
}

#[test]
fn hostile_datagrams_are_refused() {
    let invalid = |text: &[u8]| match Datagram::parse(text) {
        Err(DatagramError::Invalid(key)) => key,
        other => panic!("{}: {other:?}", text.escape_ascii()),
    };
    assert_eq!(invalid(b"de"), "t");
    assert_eq!(invalid(b"le"), "t");
    assert_eq!(invalid(b"i1e"), "t");
    assert_eq!(invalid(b"d1:t17:123456789012345671:y1:re"), "t");
    assert_eq!(invalid(b"d1:t1:ae"), "y");
    assert_eq!(invalid(b"d1:t1:a1:y1:xe"), "y");
    assert_eq!(invalid(b"d1:t1:a1:yi1ee"), "y");
    assert_eq!(invalid(b"d1:t1:a1:y1:qe"), "q");
    assert_eq!(invalid(b"d1:q4:ping1:t1:a1:y1:qe"), "a");
    assert_eq!(invalid(b"d1:t1:a1:y1:re"), "r");
    assert_eq!(invalid(b"d1:r0:1:t1:a1:y1:re"), "id");
    assert_eq!(invalid(b"d1:rd2:id19:abcdefghij012345678e1:t1:a1:y1:re"), "id");
    assert_eq!(invalid(b"d1:t1:a1:y1:ee"), "e");

    let wrong = |name: &str, arguments: &str| {
        let text = format!("d1:ad{arguments}e1:q{}:{name}1:t1:a1:y1:qe", name.len());
        match Datagram::parse(text.as_bytes()) {
            Err(DatagramError::InvalidQuery(_, key)) => key,
            other => panic!("{text}: {other:?}"),
        }
    };
    let id = "2:id20:abcdefghij0123456789";
    let hash = "9:info_hash20:abcdefghij0123456789";
    assert_eq!(wrong("ping", ""), "id");
    assert_eq!(wrong("find_node", id), "target");
    assert_eq!(wrong("get_peers", id), "info_hash");
    assert_eq!(wrong("announce_peer", &format!("{id}{hash}4:porti0e5:token1:t")), "port");
    assert_eq!(wrong("announce_peer", &format!("{id}{hash}4:porti65536e5:token1:t")), "port");
    assert_eq!(wrong("announce_peer", &format!("{id}{hash}4:porti1e")), "token");
    let token = "x".repeat(limits::TOKEN_LEN_MAX + 1);
    let long = format!("{id}{hash}4:porti1e5:token{}:{token}", token.len());
    assert_eq!(wrong("announce_peer", &long), "token");

    let deep = "l".repeat(limits::DATAGRAM_LEN_MAX);
    assert!(matches!(Datagram::parse(deep.as_bytes()), Err(DatagramError::Bencode(_))));
    let long = format!("{}:{}", limits::DATAGRAM_LEN_MAX, "x".repeat(limits::DATAGRAM_LEN_MAX));
    assert_eq!(Datagram::parse(long.as_bytes()), Err(DatagramError::TooLong(long.len())));
}

#[test]
fn no_byte_changed_makes_the_reader_panic_and_what_it_reads_can_be_written() {
    let nodes = ["192.0.2.1:6881", "[2001:db8::7]:51413"];
    let nodes = nodes.map(|address| Contact { id: ASKER, address: address.parse().unwrap() });
    let peers = vec!["192.0.2.9:7".parse().unwrap(), "[2001:db8::8]:9".parse().unwrap()];
    let token = Some(Token((*b"token").into()));
    let full = Reply { nodes: nodes.into(), peers, token, ..Reply::empty(ANSWERER) };
    let your_address = Some("192.0.2.3:4".parse().unwrap());
    let texts = [Datagram { your_address, ..reply(full) }.emit(), query(Query::Ping).emit()];
    for text in texts {
        for at in 0..text.len() {
            for byte in 0..=u8::MAX {
                let mut changed = text.clone();
                changed[at] = byte;
                if let Ok(read) = Datagram::parse(&changed) {
                    assert_eq!(Datagram::parse(&read.emit()).as_ref(), Ok(&read));
                }
            }
            assert!(Datagram::parse(&text[..at]).is_err());
        }
    }
}
