//! A web seed on loopback, which serves files, or whatever a test wants it to say.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::*;
use crate::formats::metainfo::{Draft, DraftFile};
use crate::machines::made_up;
use crate::words::id::PieceIndex;
use crate::words::limits::BLOCK_LEN;

/// Bytes of the files of the torrent: five blocks and a bit in one, a piece and a bit in the other.
const LENS: [usize; 3] = [5 * 16384 + 100, 7, 3 * 16384];

fn late() -> Instant {
    now() + Duration::from_secs(30)
}

fn soon() -> Instant {
    now() + Duration::from_millis(20)
}

fn data() -> Vec<u8> {
    made_up::data(LENS.iter().sum())
}

/// A torrent of three files, in pieces of two blocks. Whether the pieces are right is nothing to a
/// Messenger.
fn torrent() -> Arc<Metainfo> {
    let file = |(name, len): (&str, usize)| DraftFile {
        path: vec![name.as_bytes().to_vec()],
        len: len as u64,
    };
    let draft = Draft {
        name: b"it".to_vec(),
        piece_length: 2 * BLOCK_LEN,
        files: ["a b", "c", "d"].into_iter().zip(LENS).map(file).collect(),
        hashes: vec![0; 20 * data().len().div_ceil(2 * BLOCK_LEN as usize)],
        ..Draft::default()
    };
    Arc::new(Metainfo::parse(&draft.encode()).unwrap())
}

/// What a request asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    path: String,
    first: usize,
    last: usize,
}

/// Answers so many requests; gives what was asked for.
fn serve(
    answers: usize,
    answer: impl Fn(&Request) -> Vec<u8> + Send + 'static,
) -> (String, JoinHandle<Vec<Request>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = move || {
        let mut requests = Vec::new();
        for _ in 0..answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
            let first = lines.next().unwrap();
            let path = first.split(' ').nth(1).unwrap().to_owned();
            let range = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>();
            let range = range.iter().find_map(|line| line.strip_prefix("Range: bytes="));
            let (first, last) = range.unwrap().split_once('-').unwrap();
            let (first, last) = (first.parse().unwrap(), last.parse().unwrap());
            let request = Request { path, first, last };
            // Whoever has heard enough hangs up.
            stream.write_all(&answer(&request)).ok();
            requests.push(request);
        }
        requests
    };
    let thread = Builder::new().name("server".into()).spawn(serving).unwrap();
    (format!("http://{address}/x/"), thread)
}

/// The bytes of the file that is asked for.
fn file(request: &Request) -> Vec<u8> {
    let index = ["/x/it/a%20b", "/x/it/c", "/x/it/d"].iter().position(|path| *path == request.path);
    let index = index.unwrap();
    let begin: usize = LENS[..index].iter().sum();
    data()[begin..begin + LENS[index]].to_vec()
}

fn head(status: &str, lines: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{lines}\r\n").into_bytes()
}

/// What a server should say.
fn part(request: &Request) -> Vec<u8> {
    let file = file(request);
    let Request { first, last, .. } = *request;
    let lines = format!(
        "Content-Range: bytes {first}-{last}/{}\r\nContent-Length: {}\r\n",
        file.len(),
        last + 1 - first
    );
    [head("206 Partial Content", &lines), file[first..=last].to_vec()].concat()
}

fn messenger(url: &str) -> WebMessenger {
    WebMessenger::new(WebSeed::parse(url).unwrap(), torrent(), None)
}

/// All blocks of the torrent.
fn blocks() -> Vec<Block> {
    let torrent = torrent();
    let pieces = (0..torrent.pieces()).map(PieceIndex);
    let blocks = pieces.flat_map(|piece| (0..torrent.blocks(piece)).map(move |n| (piece, n)));
    blocks.map(|(piece, n)| torrent.block(piece, n)).collect()
}

fn piece(block: Block) -> Message {
    let begin = torrent().piece_offset(block.piece) + u64::from(block.offset);
    let begin = usize::try_from(begin).unwrap();
    let bytes = data()[begin..begin + block.len as usize].to_vec();
    Message::Piece { piece: block.piece, offset: block.offset, data: bytes }
}

fn welcomes(messenger: &mut WebMessenger) {
    assert_eq!(messenger.receive(0, soon()).unwrap(), Some(Message::HaveAll));
    assert_eq!(messenger.receive(0, soon()).unwrap(), Some(Message::Unchoke));
}

#[test]
fn what_lies_together_is_asked_for_at_once_file_by_file() {
    let (url, server) = serve(5, part);
    let mut web = messenger(&url);
    welcomes(&mut web);
    let mut half = web.split();
    let blocks = blocks();
    // All but the second block, then that.
    let order = || blocks[..1].iter().chain(&blocks[2..]).chain(&blocks[1..2]).copied();
    order().for_each(|block| half.send(&Message::Request(block)).unwrap());
    half.send(&Message::Have(PieceIndex(0))).unwrap();
    half.flush().unwrap();
    let mut heard = Vec::new();
    while heard.len() < blocks.len() - 1 {
        heard.extend(web.receive(0, late()).unwrap());
    }
    heard.extend(web.receive(0, late()).unwrap());
    assert!(
        heard == order().map(piece).collect::<Vec<_>>(),
        "every byte, in the order of requests"
    );
    drop(web);
    let expected = [
        ("a%20b", 0, 16383),
        ("a%20b", 32768, LENS[0] - 1),
        ("c", 0, 6),
        ("d", 0, LENS[2] - 1),
        ("a%20b", 16384, 32767),
    ];
    let expected =
        expected.map(|(path, first, last)| Request { path: format!("/x/it/{path}"), first, last });
    assert_eq!(server.join().unwrap(), expected);
}

#[test]
fn an_answer_may_come_in_chunks_or_be_the_whole_file_or_somewhere_else() {
    let chunked = |request: &Request| {
        let file = file(request);
        let lines = format!(
            "Content-Range: bytes 0-16383/{}\r\nTransfer-Encoding: chunked\r\n",
            file.len()
        );
        let chunks = file[..16384].chunks(1000).flat_map(|chunk| {
            [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat()
        });
        [head("206 Partial Content", &lines), chunks.collect(), b"0\r\n\r\n".to_vec()].concat()
    };
    let whole = |request: &Request| [head("200 OK", ""), file(request)].concat();
    let elsewhere = |request: &Request| {
        if request.path.starts_with("/x/") {
            head("302 Found", "Location: /y/it/a%20b\r\nContent-Length: 0\r\n")
        } else {
            part(&Request { path: request.path.replace("/y/", "/x/"), ..request.clone() })
        }
    };
    let servers = [serve(1, chunked), serve(1, whole), serve(2, elsewhere)];
    for (url, server) in servers {
        let mut web = messenger(&url);
        welcomes(&mut web);
        web.send(&Message::Request(blocks()[0])).unwrap();
        assert_eq!(web.receive(0, late()).unwrap(), Some(piece(blocks()[0])));
        drop(web);
        server.join().unwrap();
    }
}

#[test]
fn a_server_of_no_use_is_left_with_a_reason_and_for_good_if_it_stays_so() {
    let ok = "206 Partial Content";
    let range = |range: &str| head(ok, &format!("Content-Range: {range}\r\n"));
    let to = |location: &str| head("301 Moved", &format!("Location: {location}\r\n"));
    let endless = [range("bytes 16384-32767/82020"), vec![b'x'; 16384]].concat();
    let table = [
        (b"garbage\r\n\r\n".to_vec(), "its answer is no HTTP/1", true),
        (head("404 Not Found", ""), "it answers 404", true),
        (head("503 Busy", ""), "it answers 503", false),
        (head("200 OK", ""), "it serves whole files, and no parts of them", true),
        (head(ok, ""), "it does not say which part its answer is", true),
        (range("bytes 0-16383/82020"), "its answer is another part of the file", true),
        (range("bytes 16384-16385/82020"), "its answer is another part of the file", true),
        (range("bytes 16384-32767/99"), "its file has another length", true),
        (to("file:///etc/passwd"), "it redirects, but the URL begins with none", true),
        #[cfg(not(feature = "https"))]
        (to("https://h/"), NO_HTTPS, true),
        (to("udp://h:1/"), "it redirects to udp, which is not followed", true),
        (to("/x/it/a%20b?x=1"), "a web seed on a private address may have no query", true),
        (endless[..endless.len() - 1].to_vec(), "it closed the connection", false),
        (
            [
                head(ok, "Content-Range: bytes 16384-32767/82020\r\nContent-Length: 3\r\n"),
                b"abc".to_vec(),
            ]
            .concat(),
            "its answer is shorter than what was asked for",
            true,
        ),
        (vec![b'x'; 100_000], "its answer is no HTTP/1", true),
    ];
    for (answer, reason, for_good) in table {
        let (url, server) = serve(1, move |_: &Request| answer.clone());
        let mut web = messenger(&url);
        welcomes(&mut web);
        web.send(&Message::Request(blocks()[1])).unwrap();
        let error = loop {
            match web.receive(0, late()) {
                Ok(message) => assert_eq!(message, None, "{reason}"),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().starts_with(reason), "{error}, not {reason}");
        let stays = matches!(error, Breakdown::Web { for_good: true, .. });
        assert_eq!(stays, for_good, "{reason}");
        drop(web);
        server.join().unwrap();
    }
}

#[test]
fn redirects_in_circles_end() {
    let (url, server) = serve(limits::trackers::HTTP_REDIRECTS_MAX + 1, |request: &Request| {
        head("302 Found", &format!("Location: {}\r\n", request.path))
    });
    let mut web = messenger(&url);
    welcomes(&mut web);
    web.send(&Message::Request(blocks()[0])).unwrap();
    let error = web.receive(0, late()).unwrap_err();
    assert_eq!(error.to_string(), "it redirects in circles");
    server.join().unwrap();
}

#[test]
fn a_private_address_is_not_asked_with_a_query_and_nobody_by_https() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let table = [
        (format!("http://{address}/x?run=this"), "its URL has a query, and none of a folder can"),
        #[cfg(not(feature = "https"))]
        (format!("https://{address}/x/"), NO_HTTPS),
    ];
    for (url, reason) in table {
        let mut web = messenger(&url);
        welcomes(&mut web);
        web.send(&Message::Request(blocks()[0])).unwrap();
        assert_eq!(web.receive(0, late()).unwrap_err().to_string(), reason);
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody was asked");
}

#[test]
fn who_is_asked_for_nothing_is_not_silent_and_a_cancel_is_answered() {
    let mut web = messenger("http://127.0.0.1:1/");
    welcomes(&mut web);
    assert_eq!(web.receive(0, soon()).unwrap(), Some(Message::KeepAlive));
    let block = blocks()[0];
    web.send(&Message::Request(block)).unwrap();
    web.send(&Message::Cancel(block)).unwrap();
    assert_eq!(web.receive(0, soon()).unwrap(), Some(Message::Reject(block)));
    assert_eq!(web.receive(0, soon()).unwrap(), Some(Message::KeepAlive));
}

#[test]
fn hanging_up_wakes_who_waits_for_requests_or_for_a_server_that_says_nothing() {
    let mut web = messenger("http://127.0.0.1:1/");
    welcomes(&mut web);
    let line = web.line();
    let waits = Builder::new().spawn(move || web.receive(0, late()).unwrap_err()).unwrap();
    line.hang_up();
    assert!(matches!(waits.join().unwrap(), Breakdown::Closed));

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut web = messenger(&format!("http://{}/", listener.local_addr().unwrap()));
    welcomes(&mut web);
    web.send(&Message::Request(blocks()[0])).unwrap();
    let (line, mut half) = (web.line(), web.split());
    let waits = Builder::new().spawn(move || web.receive(0, late()).unwrap_err()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let mut lines = BufReader::new(stream).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("GET /it/a%20b HTTP/1.1"));
    line.hang_up();
    waits.join().unwrap();
    assert!(half.flush().is_err(), "and the half that speaks");
}
