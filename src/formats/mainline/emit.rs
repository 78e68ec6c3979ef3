//! From [`Datagram`]s to bytes, keys in their order.

use std::net::{IpAddr, SocketAddr};

use super::{Body, Datagram, ErrorCode, ID_LEN, Query, Reply, V4_LEN, V6_LEN, Want};

impl Datagram {
    /// Writes the datagram. [`parse`](Self::parse) reads the same from it, up to the order in which
    /// contacts of two families follow one another.
    pub fn emit(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(512));
        out.open();
        if let Body::Query(id, query) = &self.body {
            out.text(b"a");
            arguments(&mut out, id.0, query);
        }
        if let Body::Error(ErrorCode(code), text) = &self.body {
            out.text(b"e");
            out.0.push(b'l');
            out.integer(*code);
            out.text(text.as_bytes());
            out.close();
        }
        if let Some(address) = self.your_address {
            out.text(b"ip");
            out.address(address);
        }
        if let Body::Query(_, query) = &self.body {
            out.entry(b"q", query.name());
        }
        if let Body::Reply(reply) = &self.body {
            out.text(b"r");
            values(&mut out, reply);
        }
        if self.read_only {
            out.text(b"ro");
            out.integer(1);
        }
        out.entry(b"t", self.transaction.as_bytes());
        out.entry(
            b"y",
            match self.body {
                Body::Query(..) => b"q",
                Body::Reply(_) => b"r",
                Body::Error(..) => b"e",
            },
        );
        out.close();
        out.0
    }
}

impl Query {
    /// What stands under `q`.
    pub fn name(&self) -> &'static [u8] {
        match self {
            Self::Ping => b"ping",
            Self::FindNode { .. } => b"find_node",
            Self::GetPeers { .. } => b"get_peers",
            Self::AnnouncePeer { .. } => b"announce_peer",
            Self::Unknown(_) => b"unknown",
        }
    }
}

fn arguments(out: &mut Writer, id: [u8; ID_LEN], query: &Query) {
    out.open();
    out.entry(b"id", &id);
    match query {
        Query::Ping | Query::Unknown(None) => (),
        Query::FindNode { target, want } => {
            out.entry(b"target", &target.0);
            out.want(*want);
        }
        Query::Unknown(Some(target)) => out.entry(b"target", &target.0),
        Query::GetPeers { info_hash, want } => {
            out.entry(b"info_hash", &info_hash.0);
            out.want(*want);
        }
        Query::AnnouncePeer { info_hash, port, token } => {
            // Nodes that do not know `implied_port` read a port, so there is one always.
            if port.is_none() {
                out.text(b"implied_port");
                out.integer(1);
            }
            out.entry(b"info_hash", &info_hash.0);
            out.text(b"port");
            out.integer(port.unwrap_or(1).into());
            out.entry(b"token", &token.0);
        }
    }
    out.close();
}

fn values(out: &mut Writer, reply: &Reply) {
    out.open();
    out.entry(b"id", &reply.id.0);
    for (key, len, is_v4) in [(&b"nodes"[..], V4_LEN, true), (b"nodes6", V6_LEN, false)] {
        let nodes = || reply.nodes.iter().filter(|node| node.address.is_ipv4() == is_v4);
        if nodes().next().is_some() {
            out.text(key);
            out.len(nodes().count() * (ID_LEN + len));
            for node in nodes() {
                out.0.extend(node.id.0);
                out.raw_address(node.address);
            }
        }
    }
    if let Some(token) = &reply.token {
        out.entry(b"token", &token.0);
    }
    if !reply.peers.is_empty() {
        out.text(b"values");
        out.0.push(b'l');
        reply.peers.iter().for_each(|peer| out.address(*peer));
        out.close();
    }
    out.close();
}

/// Bencode, written from the left to the right.
struct Writer(Vec<u8>);

impl Writer {
    fn open(&mut self) {
        self.0.push(b'd');
    }

    fn close(&mut self) {
        self.0.push(b'e');
    }

    fn len(&mut self, len: usize) {
        self.0.extend(len.to_string().bytes());
        self.0.push(b':');
    }

    fn text(&mut self, text: &[u8]) {
        self.len(text.len());
        self.0.extend(text);
    }

    fn integer(&mut self, n: i64) {
        self.0.push(b'i');
        self.0.extend(n.to_string().bytes());
        self.close();
    }

    fn entry(&mut self, key: &[u8], value: &[u8]) {
        self.text(key);
        self.text(value);
    }

    fn want(&mut self, want: Want) {
        if want == Want::default() {
            return;
        }
        self.text(b"want");
        self.0.push(b'l');
        if want.v4 {
            self.text(b"n4");
        }
        if want.v6 {
            self.text(b"n6");
        }
        self.close();
    }

    fn address(&mut self, address: SocketAddr) {
        self.len(if address.is_ipv4() { V4_LEN } else { V6_LEN });
        self.raw_address(address);
    }

    fn raw_address(&mut self, address: SocketAddr) {
        match address.ip() {
            IpAddr::V4(ip) => self.0.extend(ip.octets()),
            IpAddr::V6(ip) => self.0.extend(ip.octets()),
        }
        self.0.extend(address.port().to_be_bytes());
    }
}
