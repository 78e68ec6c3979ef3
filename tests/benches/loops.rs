//! Loops that do what a client has to, and nothing else: so much of a client's processor time is the
//! kernel's and SHA-1's, however it is built.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::sendfile;
use rustix::net::{SendFlags, send};
use sha1::{Digest, Sha1};

use rondalla::words::limits::BLOCK_LEN;
use rondalla::words::rng::Rng;

use crate::{median, thread};

const BLOCKS: u32 = 65_536;
const PIECE_BLOCKS: u32 = 64;
/// Blocks of one call that writes, as in the client.
const CALL_BLOCKS: u32 = 2;
const RUNS: usize = 5;

/// 1 GiB over loopback, given and taken block by block.
pub(crate) fn loops() {
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("loops-source");
    let mut file = File::create(&source).unwrap();
    let mut piece = vec![0; (PIECE_BLOCKS * BLOCK_LEN) as usize];
    Rng::new(1).fill(&mut piece);
    (0..BLOCKS / PIECE_BLOCKS).for_each(|_| file.write_all(&piece).unwrap());
    println!("| 1 GiB by a bare loop | processor s |\n| --- | --- |");
    let run =
        |loop_of: &dyn Fn(&Path) -> f64| median((0..RUNS).map(|_| loop_of(&source)).collect());
    println!("| give: a header and `sendfile` for each block | {:.2} |", run(&give));
    println!("| take: read a block, hash it, write two at a time | {:.2} |", run(&take));
    std::fs::remove_file(&source).unwrap();
}

/// Both ends of a connection.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().unwrap();
    near.set_nodelay(true).unwrap();
    (near, far)
}

fn give(source: &Path) -> f64 {
    let (near, mut far) = connection();
    let reader = thread(move || {
        let mut buffer = vec![0; 1 << 18];
        while far.read(&mut buffer).unwrap() > 0 {}
    });
    let file = File::open(source).unwrap();
    let before = processor();
    for block in 0..BLOCKS {
        send(&near, &[0; 13], SendFlags::MORE).unwrap();
        send_file(&near, &file, block, BLOCK_LEN);
    }
    let took = processor() - before;
    drop(near);
    reader.join().unwrap();
    took
}

fn take(source: &Path) -> f64 {
    let (near, mut far) = connection();
    let source: PathBuf = source.to_owned();
    let giver = thread(move || {
        let file = File::open(source).unwrap();
        let pieces = (0..BLOCKS).step_by(PIECE_BLOCKS as usize);
        pieces.for_each(|block| {
            send_file(&near, &file, block, PIECE_BLOCKS * BLOCK_LEN);
        });
    });
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("loops-copy");
    let file = File::create(&path).unwrap();
    let mut buffer = vec![0; (CALL_BLOCKS * BLOCK_LEN) as usize];
    let (mut hash, mut at) = (Sha1::new(), 0);
    let before = processor();
    for call in 1..=BLOCKS / CALL_BLOCKS {
        for block in buffer.chunks_mut(BLOCK_LEN as usize) {
            far.read_exact(block).unwrap();
            hash.update(&*block);
        }
        file.write_all_at(&buffer, at).unwrap();
        at += buffer.len() as u64;
        if (call * CALL_BLOCKS).is_multiple_of(PIECE_BLOCKS) {
            std::hint::black_box(hash.finalize_reset());
        }
    }
    let took = processor() - before;
    giver.join().unwrap();
    std::fs::remove_file(path).unwrap();
    took
}

/// So many bytes of the file from a block on.
fn send_file(stream: &TcpStream, file: &File, block: u32, len: u32) {
    let (mut at, mut left) = (u64::from(block) * u64::from(BLOCK_LEN), len as usize);
    while left > 0 {
        left -= sendfile(stream, file, Some(&mut at), left).unwrap();
    }
}

/// Seconds that this thread has had of a processor.
fn processor() -> f64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos: f64 = schedstat.split(' ').next().unwrap().parse().unwrap();
    nanos / 1e9
}
