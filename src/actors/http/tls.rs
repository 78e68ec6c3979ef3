//! TLS on a socket whose every read and write has a time limit.
//!
//! rustls does no input or output by itself: each step here is one read or write, so that a server
//! that sends a byte at a time holds nobody longer than the deadline says.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::{Connection, Manner, left};
use crate::actors::file_error::is_time_out;
use crate::formats::url::Url;
use crate::words::address::Host;
use crate::words::limits::trackers;

/// What both sides have agreed on.
#[derive(Debug)]
pub(super) struct Session(ClientConnection);

/// Whom this host trusts, read once: the system's certificates, or those that `SSL_CERT_FILE` and
/// `SSL_CERT_DIR` name.
fn config() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            let way = "install ca-certificates, or name a file of them by SSL_CERT_FILE";
            return Err(format!("this host has no certificates to know a server by: {way}"));
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Arc::new(config))
    };
    CONFIG.get_or_init(read).clone()
}

/// Shakes hands with the server of `url`, whose certificate has to be right.
pub(super) fn shake_hands(
    url: &Url,
    mut connection: Connection,
    manner: &Manner<'_>,
) -> Result<Connection, String> {
    let name = match &url.host {
        Host::Ip(ip) => ServerName::from(*ip),
        Host::Name(name) => ServerName::try_from(name.to_string())
            .map_err(|_error| "its name is none that a certificate can have".to_owned())?,
        Host::Any => return Err("it has no name".to_owned()),
    };
    let failed = |error: &dyn std::fmt::Display| format!("TLS: {error}");
    let client = ClientConnection::new(config()?, name).map_err(|error| failed(&error))?;
    let mut session = Session(client);
    while session.0.is_handshaking() {
        // `left` says when the time is over, and whether anybody waits.
        let left = left(manner).map_err(|_error| "it does not answer".to_owned())?;
        let patience = left.min(trackers::HTTP_WAIT_MAX);
        let step =
            connection.await_at_most(patience).and_then(|()| session.step(connection.socket()));
        match step {
            Ok(true) => {}
            Ok(false) => return Err("TLS: it hangs up".to_owned()),
            Err(error) if is_time_out(&error) => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    session.flush(connection.socket()).map_err(|error| failed(&error))?;
    Ok(connection.with(session))
}

impl Session {
    /// One read or write of the handshake; `false` at the end of what comes.
    fn step(&mut self, mut socket: &TcpStream) -> io::Result<bool> {
        if self.0.wants_write() {
            self.0.write_tls(&mut socket)?;
            return Ok(true);
        }
        self.hear(socket)
    }

    /// One read of what the other side sends; `false` at its end.
    fn hear(&mut self, mut socket: &TcpStream) -> io::Result<bool> {
        let n = self.0.read_tls(&mut socket)?;
        self.0.process_new_packets().map_err(io::Error::other)?;
        Ok(n > 0)
    }

    fn flush(&mut self, mut socket: &TcpStream) -> io::Result<()> {
        while self.0.wants_write() {
            self.0.write_tls(&mut socket)?;
        }
        Ok(())
    }

    pub(super) fn send(&mut self, socket: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.0.writer().write(bytes)?;
            bytes = &bytes[taken..];
            self.flush(socket)?;
        }
        Ok(())
    }

    /// Reads at most once from the socket. What comes may hold nothing for the reader: then nothing
    /// has come in time.
    pub(super) fn read(&mut self, socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.reader().read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
        self.hear(socket)?;
        // Whoever renews the keys wants an answer.
        self.flush(socket)?;
        self.0.reader().read(buffer)
    }
}
