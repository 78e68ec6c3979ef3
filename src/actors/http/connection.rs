//! A connection to a server, in the clear or (with the feature `https`) by TLS.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use crate::actors::file_error::is_time_out;
use crate::actors::read_limit::ReadLimit;
use crate::formats::url::Scheme;

use super::tls::Session;

/// Whether this build speaks `scheme`, in which a server is asked for a file.
pub(crate) fn is_spoken(scheme: Scheme) -> bool {
    match scheme {
        Scheme::Http => true,
        Scheme::Https => cfg!(feature = "https"),
        Scheme::Udp => false,
    }
}

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Arc<TcpStream>,
    limit: ReadLimit,
    session: Option<Box<Session>>,
}

impl Connection {
    /// A connection in the clear.
    pub(super) fn plain(socket: TcpStream) -> Self {
        Self { socket: Arc::new(socket), limit: ReadLimit::default(), session: None }
    }

    /// The same connection, by TLS from now on.
    #[cfg_attr(not(feature = "https"), expect(dead_code, reason = "there is nothing to agree on"))]
    pub(super) fn with(self, session: Session) -> Self {
        Self { session: Some(Box::new(session)), ..self }
    }

    /// Its socket, for whoever ends it.
    pub(crate) fn socket(&self) -> &Arc<TcpStream> {
        &self.socket
    }

    /// Sends all of `bytes`. Each call to the socket waits at most `patience`.
    pub(crate) fn send(&mut self, bytes: &[u8], patience: Duration) -> io::Result<()> {
        self.socket.set_write_timeout(Some(patience))?;
        if let Some(session) = &mut self.session {
            return session.send(&self.socket, bytes);
        }
        (&*self.socket).write_all(bytes)
    }

    /// Reads what comes within `patience`: 0 bytes at the end, `None` if nothing came.
    pub(crate) fn receive(
        &mut self,
        buffer: &mut [u8],
        patience: Duration,
    ) -> io::Result<Option<usize>> {
        self.await_at_most(patience)?;
        match self.read(buffer) {
            Ok(n) => Ok(Some(n)),
            Err(error) if is_time_out(&error) || error.kind() == io::ErrorKind::Interrupted => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Lets the next read wait for `patience`.
    pub(super) fn await_at_most(&mut self, patience: Duration) -> io::Result<()> {
        self.limit.set(&self.socket, patience)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(session) = &mut self.session {
            return session.read(&self.socket, buffer);
        }
        (&*self.socket).read(buffer)
    }
}
