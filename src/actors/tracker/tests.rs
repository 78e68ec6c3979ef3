//! Announces to trackers of every kind.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use super::*;
use crate::actors::clock::now;
use crate::actors::http::{self, Manner};
use crate::bus::trackers::Tracker;
use crate::formats::announce::Announce;
use crate::formats::announce::Event;
use crate::formats::url::Scheme;
use crate::formats::url::Url;
use crate::machines::tracker;
use crate::words::id::{InfoHash, PeerId};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server on loopback whose connections `answer` is given, with the first line of the request.
/// It ends with the process.
fn serve(answer: impl Fn(&str, &mut TcpStream) -> io::Result<()> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accept = move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut held, mut buffer) = (Vec::new(), [0; 1024]);
            while !held.ends_with(b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(len) if len > 0 => held.extend_from_slice(&buffer[..len]),
                    Ok(_) | Err(_) => break,
                }
            }
            let request = String::from_utf8_lossy(&held).into_owned();
            // Who is asked for too much hangs up.
            answer(request.lines().next().unwrap_or_default(), &mut stream).ok();
        }
    };
    Builder::new().name("server".into()).spawn(accept).unwrap();
    address
}

/// A server that always says the same.
fn says(answer: &[u8]) -> SocketAddr {
    let answer = answer.to_vec();
    serve(move |_, stream| stream.write_all(&answer))
}

fn announce(event: Option<Event>) -> Announce {
    Announce {
        info_hash: InfoHash([1; 20]),
        peer_id: PeerId([2; 20]),
        key: 3,
        port: 6881,
        uploaded: 0,
        downloaded: 0,
        left: 1,
        event,
        wanted: 50,
    }
}

fn order(url: &str, named: bool) -> ToTracker {
    ToTracker {
        number: AnnounceNumber(1),
        tracker: Arc::new(Tracker { url: Url::parse(url).unwrap(), named }),
        tracker_id: None,
        announce: announce(Some(Event::Started)),
    }
}

/// What came of an announce: the peers, and the answer or why there is none.
fn outcome(order: ToTracker) -> (Vec<SocketAddr>, Result<Answer, String>) {
    let (news, heard) = bounded(64);
    let crier = CrierHandle::start(None, 1, news).unwrap();
    crier.give(Box::new(order)).unwrap();
    let mut found = Vec::new();
    loop {
        let Notification::Tracker(news) = heard.recv_timeout(PATIENCE).unwrap() else {
            panic!("a crier speaks of trackers")
        };
        match news {
            TrackerNews::Found(_, peers) => {
                assert!(peers.len() <= limits::FOUND_WORD);
                found.extend(peers);
            }
            TrackerNews::Answered(_, answer) => return (found, Ok(*answer)),
            TrackerNews::Failed(_, failure) => return (found, Err(failure.to_string())),
        }
    }
}

/// Why nothing came of an announce to a server at `address`.
fn why(address: SocketAddr) -> String {
    outcome(order(&format!("http://{address}/announce"), false)).1.unwrap_err()
}

fn ok(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[test]
fn a_tracker_is_told_and_its_peers_come_in_words() {
    let (asked, requests) = bounded(4);
    let address = serve(move |request, stream| {
        asked.try_send(request.to_owned()).unwrap();
        // Forty peers, ourselves, and one without a port.
        let peers: Vec<u8> = (1..=40).flat_map(|n| [192, 0, 2, n, 0x1a, 0xe1]).collect();
        let peers = [&peers[..], &[127, 0, 0, 1, 0x1a, 0xe1, 10, 0, 0, 1, 0, 0]].concat();
        let head = format!("d8:intervali1800e5:peers{}:", peers.len());
        stream.write_all(&ok(&[head.as_bytes(), &peers, b"e"].concat()))
    });
    let (found, answer) = outcome(order(&format!("http://{address}/announce"), false));
    assert_eq!(answer.unwrap().interval, Some(1800));
    let expected = (1..=40).map(|n| SocketAddr::from(([192, 0, 2, n], 6881)));
    assert_eq!(found, expected.collect::<Vec<_>>());
    let request = requests.try_recv().unwrap();
    assert!(request.starts_with("GET /announce?info_hash=%01%01"), "{request}");
    assert!(request.contains("&port=6881&") && request.contains("&event=started"), "{request}");
    assert!(!request.contains("&ip="), "{request}");
}

/// A UDP tracker on loopback that sends such datagrams before each answer. It ends with the process.
fn serve_udp(before: &'static [&'static [u8]]) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let answer = move || {
        let mut tracker = tracker::Tracker::new(Duration::from_secs(1800), [7; 20], now());
        let mut buffer = [0; 2048];
        loop {
            let (len, from) = socket.recv_from(&mut buffer).unwrap();
            for garbage in before {
                socket.send_to(garbage, from).unwrap();
            }
            if let Some(answer) = tracker.handle_datagram(now(), from, &buffer[..len]) {
                socket.send_to(&answer, from).unwrap();
            }
        }
    };
    Builder::new().name("server".into()).spawn(answer).unwrap();
    address
}

#[test]
fn a_udp_tracker_is_told_and_its_peers_come() {
    let garbage: &[&[u8]] = &[b"", b"garbage", &[0; 16], &[0xff; 1500]];
    for before in [&[][..], garbage] {
        let address = serve_udp(before);
        let url = format!("udp://{address}/announce");
        let first = ToTracker {
            announce: Announce { port: 6882, ..announce(Some(Event::Started)) },
            ..order(&url, false)
        };
        assert_eq!(outcome(first).0, []);
        let (found, answer) = outcome(order(&url, false));
        let answer = answer.unwrap();
        assert_eq!((answer.interval, answer.counts.leechers), (Some(1800), Some(2)));
        // Its own address is the other's too, with another port.
        assert_eq!(found, [SocketAddr::from(([127, 0, 0, 1], 6882))]);
    }
}

#[test]
fn the_name_of_a_udp_tracker_is_resolved() {
    let address = serve_udp(&[]);
    let url = format!("udp://localhost:{}/announce", address.port());
    assert_eq!(outcome(order(&url, false)).1.unwrap().interval, Some(1800));
    let nameless = outcome(order("udp://tracker.invalid:1/announce", false)).1;
    assert_eq!(nameless.unwrap_err(), "its name cannot be resolved");
}

#[test]
fn what_is_no_answer_ends_the_announce_with_a_reason() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let table: [(Vec<u8>, &str); 12] = [
        (b"garbage".to_vec(), "no HTTP/1"),
        (Vec::new(), "ends early"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nd5:peers0:e".to_vec(), "ends early"),
        ([chunked.as_slice(), b"4\r\nd5:p"].concat(), "ends early"),
        ([chunked.as_slice(), b"zz\r\n"].concat(), "no length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n".to_vec(), "length of its answer"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n<html>".to_vec(), "status 404"),
        (ok(b"<html>"), "not bencode"),
        (ok(b"d5:peers5:abcdee"), "wrong 'peers'"),
        (ok(b"d14:failure reason3:buye"), "it refuses: buy"),
        (b"HTTP/1.1 400 Bad\r\n\r\nd14:failure reason3:buye".to_vec(), "it refuses: buy"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nx".to_vec(), "compressed"),
    ];
    for (answer, expected) in table {
        let why = why(says(&answer));
        assert!(why.contains(expected), "{}: {why}", answer.escape_ascii());
    }
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let heads = [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6400000\r\n",
        "HTTP/1.1 200 OK\r\nX: ",
    ];
    for head in heads {
        let address = serve(move |_, stream| {
            stream.write_all(head.as_bytes())?;
            // Until we hang up, which is an error here.
            loop {
                stream.write_all(&[b'1'; 4096])?;
            }
        });
        let why = why(address);
        assert!(why.contains("longer than") || why.contains("too long"), "{head}: {why}");
    }
}

#[test]
fn redirects_are_followed_but_not_everywhere() {
    let redirect = |to: &str| {
        let to = to.to_owned();
        serve(move |_, stream| {
            stream.write_all(format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\n\r\n").as_bytes())
        })
    };
    let good = says(&ok(b"d8:intervali60e5:peers0:e"));
    let near = redirect(&format!("http://{good}/announce2"));
    assert!(outcome(order(&format!("http://{near}/announce"), false)).1.is_ok());
    let table = [
        (redirect("/announce"), "in circles"),
        (redirect("file:///etc/passwd"), "begins with none of"),
        (redirect("udp://127.0.0.1:1/announce"), "not followed"),
        (redirect(&format!("http://{good}/shutdown")), "does not begin with /announce"),
    ];
    for (address, expected) in table {
        let why = why(address);
        assert!(why.contains(expected), "{expected}: {why}");
    }
}

/// The server goes on listening, so that whoever waits for more gets nothing.
#[test]
fn an_answer_that_comes_with_what_may_come_before_it_is_heard_at_once() {
    let (hold, held) = bounded::<()>(0);
    let address = serve(move |_, stream| {
        let answer = ok(b"d8:intervali60e5:peers0:e");
        stream.write_all(&[b"HTTP/1.1 100 Continue\r\n\r\n", &answer[..]].concat())?;
        held.recv().ok();
        Ok(())
    });
    let answered = outcome(order(&format!("http://{address}/announce"), false)).1;
    assert!(answered.is_ok(), "{answered:?}");
    drop(hold);
}

#[test]
fn a_redirect_never_leads_from_a_public_address_to_a_local_one() {
    let manner = Manner {
        deadline: now() + PATIENCE,
        body_max: 1,
        leave_from: None,
        judge: &|_, _| Ok(()),
        is_over: &|| false,
    };
    let url = Url::parse("http://a.example/announce").unwrap();
    for local in ["127.0.0.1:1", "10.0.0.1:1", "[fe80::1]:1", "[::ffff:192.168.0.1]:1"] {
        let refused = http::connect_first(&url, &[local.parse().unwrap()], true, &manner);
        assert!(refused.unwrap_err().contains("to a local one"), "{local}");
    }
}

#[test]
fn on_this_host_only_what_looks_like_a_tracker_is_asked_unless_the_user_named_it() {
    let good = says(&ok(b"d8:intervali60e5:peers0:e"));
    let asked = |path: &str, named| outcome(order(&format!("http://{good}{path}"), named)).1;
    assert!(asked("/announce.php?x=y", false).is_ok());
    assert!(asked("/x", false).unwrap_err().contains("does not begin with /announce"));
    assert!(asked("/x", true).is_ok());
}

#[test]
fn whoever_does_not_answer_delays_no_end() {
    let (asked, requests) = bounded(1);
    let address = serve(move |_, stream| {
        asked.try_send(()).unwrap();
        // It says nothing until we hang up.
        stream.read_exact(&mut [0])
    });
    let (news, heard) = bounded(64);
    let crier = CrierHandle::start(None, 1, news).unwrap();
    crier.give(Box::new(order(&format!("http://{address}/announce"), false))).unwrap();
    requests.recv_timeout(PATIENCE).unwrap();
    drop(crier);
    // The announce lets go of its end as soon as it looks.
    let last = heard.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(last, Notification::Tracker(TrackerNews::Failed(..))), "{last:?}");
    assert!(heard.recv_timeout(PATIENCE).is_err());
}

#[test]
fn a_host_without_a_listener_is_told_apart_from_one_without_a_name() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(why(free), "Connection refused");
    let (_, nameless) = outcome(order("http://tracker.invalid/announce", false));
    assert_eq!(nameless.unwrap_err(), "its name cannot be resolved");
    assert_eq!(Url::parse("http://tracker.invalid/").unwrap().scheme, Scheme::Http);
}
