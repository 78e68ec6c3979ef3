//! What stands in the place of TLS in a build without it.

use std::io;
use std::net::TcpStream;

use super::{Connection, Manner, NO_HTTPS};
use crate::formats::url::Url;

/// There is none.
#[derive(Debug)]
pub(super) enum Session {}

pub(super) fn shake_hands(_: &Url, _: Connection, _: &Manner<'_>) -> Result<Connection, String> {
    Err(NO_HTTPS.to_owned())
}

impl Session {
    pub(super) fn send(&self, _: &TcpStream, _: &[u8]) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn read(&self, _: &TcpStream, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }
}
