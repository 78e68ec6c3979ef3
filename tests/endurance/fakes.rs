//! Peers that are no processes of the program: threads of the test that keep the protocol just as
//! well as they are meant to. What they say is written out by hand, as in `tests/hostile.rs`.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::pause;
use crate::hostile::{
    BITFIELD, INTERESTED, PIECE, REQUEST, UNCHOKE, handshake, message, numbers, request,
};

/// How a fake seed gives what it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// The right bytes.
    Honest,
    /// The same, and nothing before the others have been asked.
    HonestAndLate,
    /// Wrong bytes.
    Garbage,
    /// Half of the first block, and no more.
    HalfABlock,
}

/// What all connections of a fake seed need.
struct Shelf {
    infohash: [u8; 20],
    peer_id: [u8; 20],
    data: Vec<u8>,
    piece_len: usize,
    manner: Manner,
    ended: AtomicBool,
    blocks: AtomicU64,
}

/// A seed that listens. It ends, and its threads with it, when it is dropped.
pub(super) struct FakeSeed {
    pub(super) address: SocketAddr,
    shelf: Arc<Shelf>,
    thread: Option<JoinHandle<()>>,
}

impl FakeSeed {
    pub(super) fn start(
        number: u8,
        manner: Manner,
        infohash: [u8; 20],
        data: &[u8],
        piece_len: usize,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut peer_id = *b"-XX0000-fake-seed-no";
        peer_id[19] = number;
        let shelf = Arc::new(Shelf {
            infohash,
            peer_id,
            data: data.to_vec(),
            piece_len,
            manner,
            ended: AtomicBool::new(false),
            blocks: AtomicU64::new(0),
        });
        let for_thread = Arc::clone(&shelf);
        let thread = Builder::new().spawn(move || accept(&listener, &for_thread)).unwrap();
        Self { address, shelf, thread: Some(thread) }
    }

    /// Blocks that it has given.
    pub(super) fn blocks(&self) -> u64 {
        self.shelf.blocks.load(Ordering::Relaxed)
    }
}

impl Drop for FakeSeed {
    fn drop(&mut self) {
        self.shelf.ended.store(true, Ordering::Relaxed);
        // It wakes the thread that accepts.
        TcpStream::connect(self.address).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn accept(listener: &TcpListener, shelf: &Arc<Shelf>) {
    let mut threads = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        if shelf.ended.load(Ordering::Relaxed) {
            break;
        }
        let shelf = Arc::clone(shelf);
        // An error means that the other side has closed the connection, as it may.
        threads.push(Builder::new().spawn(move || serve(stream, &shelf).ok()).unwrap());
    }
    threads.into_iter().for_each(|thread| {
        thread.join().unwrap();
    });
}

/// Serves a peer until it hangs up or the fake ends.
fn serve(mut stream: TcpStream, shelf: &Shelf) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    receive(&mut stream, 68, shelf)?;
    let pieces = shelf.data.len().div_ceil(shelf.piece_len);
    let mut bitfield = vec![0; pieces.div_ceil(8)];
    (0..pieces).for_each(|piece| bitfield[piece / 8] |= 0x80 >> (piece % 8));
    stream.write_all(&handshake(&shelf.infohash, &shelf.peer_id))?;
    stream.write_all(&message(BITFIELD, &bitfield))?;
    if shelf.manner == Manner::HonestAndLate {
        pause(Duration::from_millis(500));
    }
    stream.write_all(&message(UNCHOKE, &[]))?;
    loop {
        let len = receive(&mut stream, 4, shelf)?;
        let len = u32::from_be_bytes(len.try_into().expect("4 bytes"));
        let message = receive(&mut stream, len as usize, shelf)?;
        if message.first() == Some(&REQUEST) {
            give(&mut stream, &message[1..], shelf)?;
        }
    }
}

fn give(stream: &mut TcpStream, request: &[u8], shelf: &Shelf) -> std::io::Result<()> {
    let number = |at: usize| u32::from_be_bytes(request[at..at + 4].try_into().expect("4 bytes"));
    let [piece, offset, len] = [0, 4, 8].map(number);
    let start = piece as usize * shelf.piece_len + offset as usize;
    let mut block = shelf.data[start..start + len as usize].to_vec();
    let said = match shelf.manner {
        Manner::Honest | Manner::HonestAndLate => {
            // Slow enough for all of them to have their turn.
            pause(Duration::from_millis(4));
            block.len()
        }
        Manner::Garbage => {
            block[0] ^= 1;
            block.len()
        }
        Manner::HalfABlock if shelf.blocks.load(Ordering::Relaxed) == 0 => block.len() / 2,
        Manner::HalfABlock => return Ok(()),
    };
    shelf.blocks.fetch_add(1, Ordering::Relaxed);
    let whole = message(PIECE, &[&numbers(&[piece, offset])[..], &block].concat());
    stream.write_all(&whole[..whole.len() - block.len() + said])
}

/// The next `len` bytes; an error when the other side hangs up or the fake ends.
fn receive(stream: &mut TcpStream, len: usize, shelf: &Shelf) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match stream.read(&mut bytes[filled..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => filled += n,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if shelf.ended.load(Ordering::Relaxed) {
                    return Err(ErrorKind::ConnectionAborted.into());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// A peer that asks for much and never reads.
pub(super) struct NeverReads {
    pub(super) address: SocketAddr,
    _stream: TcpStream,
}

impl NeverReads {
    /// Dials a seed and asks it for 8 MiB, twice what the kernel keeps for a peer that reads later.
    pub(super) fn dial(seed: SocketAddr, infohash: [u8; 20], number: u8) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&seed.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        let mut peer_id = *b"-XX0000-never-reads-";
        peer_id[19] = number;
        stream.write_all(&handshake(&infohash, &peer_id)).unwrap();
        stream.write_all(&message(INTERESTED, &[])).unwrap();
        // Who is choked asks in vain; slots are free, so it is unchoked at once.
        pause(Duration::from_secs(1));
        let blocks = (0..128).flat_map(|piece| (0..4).map(move |block| (piece, block * 16 * 1024)));
        let requests = blocks.map(|(piece, offset)| request(piece, offset, 16 * 1024));
        stream.write_all(&requests.collect::<Vec<_>>().concat()).unwrap();
        Self { address: stream.local_addr().unwrap(), _stream: stream }
    }
}
