//! A peer that answers for metadata as nobody should: a raw socket, and a few lines of protocol.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::Builder;

/// What is wrong with it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lie {
    /// It says that the metadata has so many bytes, and sends what it is asked for.
    Len(u32),
    /// The pieces have the right length, and other bytes.
    Garbage,
    /// A piece is one byte long.
    Short,
    /// Every piece comes twice.
    Twice,
    /// It answers for a piece that nobody asked for.
    Unasked,
    /// It refuses everything.
    Refusal,
    /// Its answer is not bencoded.
    Noise,
    /// It never answers.
    Silence,
}

/// Listens on a port of loopback, and lies to everybody who dials. `len` is the metadata's true
/// length.
pub(crate) fn start(lie: Lie, number: u8, len: u32) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        for stream in listener.incoming().flatten() {
            // Whoever is lied to hangs up.
            talk(stream, lie, number, len).ok();
        }
    };
    Builder::new().name(format!("{lie:?}")).spawn(serve).unwrap();
    address
}

fn talk(mut stream: TcpStream, lie: Lie, number: u8, len: u32) -> io::Result<()> {
    let mut greeting = [0; 68];
    stream.read_exact(&mut greeting)?;
    greeting[20..28].copy_from_slice(&[0, 0, 0, 0, 0, 0x10, 0, 0]);
    greeting[48..].fill(number);
    stream.write_all(&greeting)?;
    let said = if let Lie::Len(said) = lie { said } else { len };
    let handshake = format!("d1:md11:ut_metadatai2ee13:metadata_sizei{said}ee");
    say(&mut stream, 0, handshake.as_bytes())?;
    loop {
        let mut prefix = [0; 4];
        stream.read_exact(&mut prefix)?;
        let mut message = vec![0; u32::from_be_bytes(prefix) as usize];
        stream.read_exact(&mut message)?;
        let [20, 2, payload @ ..] = &message[..] else { continue };
        let payload = String::from_utf8_lossy(payload).into_owned();
        let Some(piece) = payload.strip_prefix("d8:msg_typei0e5:piecei") else { continue };
        let piece: u32 = piece.trim_end_matches('e').parse().unwrap();
        answer(&mut stream, lie, piece, said)?;
    }
}

fn answer(stream: &mut TcpStream, lie: Lie, piece: u32, len: u32) -> io::Result<()> {
    let right = (len - piece * 16_384).min(16_384) as usize;
    let data = |piece: u32, bytes: usize| {
        let head = format!("d8:msg_typei1e5:piecei{piece}e10:total_sizei{len}ee");
        [head.as_bytes(), &vec![b'x'; bytes]].concat()
    };
    match lie {
        Lie::Len(_) | Lie::Garbage => say(stream, 1, &data(piece, right)),
        Lie::Short => say(stream, 1, &data(piece, 1)),
        Lie::Twice => {
            say(stream, 1, &data(piece, right))?;
            say(stream, 1, &data(piece, right))
        }
        Lie::Unasked => say(stream, 1, &data(piece + 1_000, right)),
        Lie::Refusal => say(stream, 1, format!("d8:msg_typei2e5:piecei{piece}ee").as_bytes()),
        Lie::Noise => say(stream, 1, b"no dictionary"),
        Lie::Silence => Ok(()),
    }
}

/// An extended message (BEP 10), byte by byte: whoever reads it has to wait for each.
fn say(stream: &mut TcpStream, id: u8, payload: &[u8]) -> io::Result<()> {
    let len = u32::try_from(payload.len() + 2).unwrap();
    let message = [&len.to_be_bytes()[..], &[20, id], payload].concat();
    stream.set_nodelay(true)?;
    let (slowly, rest) = message.split_at(message.len().min(200));
    slowly.iter().try_for_each(|byte| stream.write_all(&[*byte]))?;
    stream.write_all(rest)
}
