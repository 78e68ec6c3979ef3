//! How long a read of a socket may wait.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use crate::words::limits;

/// The time limit that a socket has for reads, as it was set last.
#[derive(Debug, Default)]
pub(crate) struct ReadLimit(Option<Duration>);

impl ReadLimit {
    /// Lets the next read wait for `patience`.
    ///
    /// To set it costs a system call, so it is changed only when it is off by half: a read may then
    /// end late by that much.
    pub(crate) fn set(&mut self, stream: &TcpStream, patience: Duration) -> io::Result<()> {
        let fits = self.0.is_some_and(|limit| limit / 2 <= patience && patience <= limit * 2);
        if !fits {
            stream.set_read_timeout(Some(patience.max(limits::READ_TIMEOUT_MIN)))?;
            self.0 = Some(patience);
        }
        Ok(())
    }
}
