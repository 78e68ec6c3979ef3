//! Sends bytes of a file to a socket without a copy of them in the process, where the system can.

use std::fs::File;
use std::io;
use std::net::TcpStream;

/// Why a block was not sent.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// Its bytes cannot be read.
    Data(io::Error),
    /// The connection does not take them.
    Line(io::Error),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All was sent.
    Sent,
    /// Nothing of the file was sent: this system, file or socket does not do it. What stood before
    /// the file is sent.
    CannotBe,
}

/// Sends `before`, and behind it `len` bytes of `file` from `offset` on (`sendfile` of Linux, with
/// an offset of its own, since others read the file too). What stands before it waits in the kernel
/// for what follows (`MSG_MORE`), so that a header is no packet.
///
/// # Errors
/// `Unsent::Data` if the file is too short or cannot be read, `Unsent::Line` if the connection takes
/// no more.
#[cfg(target_os = "linux")]
pub(super) fn send(
    stream: &TcpStream,
    before: &[u8],
    file: &File,
    offset: u64,
    len: u64,
) -> Result<Outcome, Unsent> {
    use rustix::fs::sendfile;
    use rustix::io::Errno;
    use rustix::net::{SendFlags, send};

    let mut rest = before;
    while !rest.is_empty() {
        match send(stream, rest, SendFlags::MORE | SendFlags::NOSIGNAL) {
            Ok(0) => return Err(Unsent::Line(io::ErrorKind::WriteZero.into())),
            Ok(sent) => rest = &rest[sent..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(Unsent::Line(error.into())),
        }
    }
    let (mut at, end) = (offset, offset.saturating_add(len));
    while at < end {
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        match sendfile(stream, file, Some(&mut at), left) {
            Ok(0) => return Err(Unsent::Data(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::INVAL | Errno::NOSYS) if at == offset => return Ok(Outcome::CannotBe),
            Err(error @ Errno::IO) => return Err(Unsent::Data(error.into())),
            Err(error) => return Err(Unsent::Line(error.into())),
        }
    }
    Ok(Outcome::Sent)
}

/// Other systems have calls of other shapes.
#[cfg(not(target_os = "linux"))]
pub(super) fn send(
    stream: &TcpStream,
    before: &[u8],
    _file: &File,
    _offset: u64,
    _len: u64,
) -> Result<Outcome, Unsent> {
    use std::io::Write;

    let mut stream = stream;
    stream.write_all(before).map_err(Unsent::Line)?;
    Ok(Outcome::CannotBe)
}
