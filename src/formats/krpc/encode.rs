//! Values to bytes: canonical bencode, keys in their order.

use std::net::SocketAddr;

use sha1::{Digest as _, Sha1};

use crate::formats::krpc::{
    Answer, Body, Digest, Entries, Message, Query, Route, Sharer, State, Token, put_contact,
};
use crate::words::limits::ring as limits;

impl Message {
    /// The datagram. One that is shorter than `len_min` is filled up to it with `z`, so that its
    /// answer may be three times as long and still amplify nothing worth a forged address.
    pub fn encode(&self, len_min: usize) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(limits::DATAGRAM_LEN_USUAL.max(len_min)));
        out.open();
        if let Body::Query(query, token) = &self.body {
            out.key("a");
            put_arguments(query, *token, &mut out);
        }
        out.key("c").integer(1);
        if let Body::Error(refusal) = self.body {
            out.key("e").list().integer(refusal.code()).string(b"").close();
        }
        if let Some(seen) = self.seen {
            out.key("ip").contacts(&[seen]);
        }
        if let Body::Query(query, _) = &self.body {
            out.key("q").string(query.name().as_bytes());
        }
        if let Body::Answer(answer) = &self.body {
            out.key("r");
            put_answer(answer, &mut out);
        }
        if self.client {
            out.key("ro").integer(1);
        }
        out.key("t").string(&self.transaction.to_be_bytes());
        let kind = match self.body {
            Body::Query(..) => b"q",
            Body::Answer(_) => b"r",
            Body::Error(_) => b"e",
        };
        out.key("y").string(kind);
        // `1:z` and the length of a short string take 5 bytes, of a longer one up to two more.
        let missing = len_min.saturating_sub(out.0.len() + 1);
        if missing > 0 {
            out.key("z").string(&vec![0; missing.saturating_sub(5)]);
        }
        out.close();
        out.0
    }
}

impl Query {
    /// Its name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ping(_) => "ping",
            Self::GetState { .. } => "get_state",
            Self::Rectify(_) => "rectify",
            Self::FindNode(_) => "find_node",
            Self::GetPeers(_) => "get_peers",
            Self::Announce { .. } => "announce",
            Self::Withdraw { .. } => "withdraw",
            Self::Hint(_) => "hint",
            Self::Leave => "leave",
            Self::Push(_) => "push",
            Self::PingBack => "ping_back",
        }
    }
}

fn put_arguments(query: &Query, token: Option<Token>, out: &mut Writer) {
    out.open();
    match query {
        Query::Ping(Some(info_hash)) | Query::GetPeers(info_hash) => {
            out.key("info_hash").string(&info_hash.0);
        }
        Query::Ping(None) | Query::Leave | Query::PingBack => {}
        Query::GetState { digest, rectify } => {
            if let Some(before) = rectify {
                out.key("b").contacts(before);
            }
            if let Some(digest) = digest {
                out.key("d").string(&digest.0);
            }
        }
        Query::Rectify(before) => {
            out.key("b").contacts(before);
        }
        Query::FindNode(target) => {
            out.key("target").string(&target.0);
        }
        Query::Announce { info_hash, port, seeder } => {
            out.key("info_hash").string(&info_hash.0);
            out.key("port").integer(i64::from(*port));
            out.key("seed").integer(i64::from(*seeder));
        }
        Query::Withdraw { info_hash, port } => {
            out.key("info_hash").string(&info_hash.0);
            out.key("port").integer(i64::from(*port));
        }
        Query::Hint(about) => {
            out.key("n").contacts(&[*about]);
        }
        Query::Push(entries) => {
            out.key("e").list();
            entries.iter().for_each(|entries| put_entries(entries, out));
            out.close();
        }
    }
    if let Some(token) = token {
        out.key("token").string(&token.0);
    }
    out.close();
}

/// A torrent's entries are two strings: the info-hash; and for each sharer its address, the age in
/// seconds (two bytes) and a byte that is 1 for a seeder.
fn put_entries(entries: &Entries, out: &mut Writer) {
    out.string(&entries.info_hash.0);
    let mut packed = Vec::new();
    for (sharer, age) in &entries.sharers {
        put_contact(sharer.address, &mut packed);
        packed.extend(age.to_be_bytes());
        packed.push(u8::from(sharer.seeder));
    }
    out.string(&packed);
}

fn put_answer(answer: &Answer, out: &mut Writer) {
    out.open();
    match answer {
        Answer::Done => {}
        Answer::Shares { shared, seeder } => {
            out.key("h").integer(i64::from(*shared));
            out.key("seed").integer(i64::from(*seeder));
        }
        Answer::Same { token } => {
            out.key("same").integer(1);
            out.key("token").string(&token.0);
        }
        Answer::State(state, token) => {
            out.key("b").contacts(&state.before);
            out.key("k").integer(i64::from(state.keys));
            out.key("n").integer(i64::from(state.nodes));
            if let Some(predecessor) = state.predecessor {
                out.key("p").contacts(&[predecessor]);
            }
            out.key("s").contacts(&state.successors);
            out.key("token").string(&token.0);
        }
        Answer::Route(route) => put_route(route, out),
    }
    out.close();
}

fn put_route(route: &Route, out: &mut Writer) {
    let addresses = |seeder| {
        let wanted = move |sharer: &&Sharer| sharer.seeder == seeder;
        route.sharers.iter().filter(wanted).map(|sharer| sharer.address).collect::<Vec<_>>()
    };
    let (seeders, others) = (addresses(true), addresses(false));
    if !others.is_empty() {
        out.key("l").contacts(&others);
    }
    out.key("nodes").contacts(&route.nodes);
    if let Some(owner) = route.owner {
        out.key("o").contacts(&[owner]);
    }
    if !seeders.is_empty() {
        out.key("s").contacts(&seeders);
    }
    if let Some(token) = route.token {
        out.key("token").string(&token.0);
    }
}

impl State {
    /// The first eight bytes of the SHA-1 of its contacts, as they stand on the wire.
    pub fn digest(&self) -> Digest {
        let mut bytes = Vec::new();
        for part in [&self.successors[..], self.predecessor.as_slice(), &self.before] {
            part.iter().for_each(|address| put_contact(*address, &mut bytes));
            bytes.push(0);
        }
        let hash: [u8; 20] = Sha1::digest(&bytes).into();
        Digest(*hash.first_chunk().expect("eight of twenty bytes"))
    }
}

/// Writes bencode (BEP 3).
struct Writer(Vec<u8>);

impl Writer {
    fn open(&mut self) -> &mut Self {
        self.0.push(b'd');
        self
    }

    fn list(&mut self) -> &mut Self {
        self.0.push(b'l');
        self
    }

    fn close(&mut self) -> &mut Self {
        self.0.push(b'e');
        self
    }

    fn key(&mut self, key: &str) -> &mut Self {
        self.string(key.as_bytes())
    }

    fn string(&mut self, text: &[u8]) -> &mut Self {
        self.0.extend(text.len().to_string().bytes());
        self.0.push(b':');
        self.0.extend(text);
        self
    }

    fn integer(&mut self, number: i64) -> &mut Self {
        self.0.push(b'i');
        self.0.extend(number.to_string().bytes());
        self.0.push(b'e');
        self
    }

    fn contacts(&mut self, addresses: &[SocketAddr]) -> &mut Self {
        let mut packed = Vec::with_capacity(addresses.len() * 18);
        addresses.iter().for_each(|address| put_contact(*address, &mut packed));
        self.string(&packed)
    }
}
