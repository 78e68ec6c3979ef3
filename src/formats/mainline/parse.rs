//! From bytes to [`Datagram`]s.

use std::net::SocketAddr;

use super::{
    Body, Contact, Datagram, DatagramError, ErrorCode, ID_LEN, Query, Reply, Token, Transaction,
    V4_LEN, V6_LEN, Want, compact_address,
};
use crate::words::bencode::{self, Form, Value};
use crate::words::id::InfoHash;
use crate::words::limits::mainline as limits;
use crate::words::node_id::NodeId;

use DatagramError::Invalid;

impl Datagram {
    /// Reads one datagram. Keys may stand in any order, and what is unknown is passed over.
    ///
    /// # Errors
    /// If it is no datagram of BEP 5; see [`DatagramError`]. Those that are queries in all but
    /// their arguments are told apart, since BEP 5 has an error to answer them with.
    pub fn parse(bytes: &[u8]) -> Result<Self, DatagramError> {
        if bytes.len() > limits::DATAGRAM_LEN_MAX {
            return Err(DatagramError::TooLong(bytes.len()));
        }
        let top = bencode::scan(bytes, limits::DATAGRAM_DEPTH_MAX, Form::Unsorted)
            .map_err(DatagramError::Bencode)?;
        let mut keys = Keys::default();
        for (key, value) in top.entries() {
            match key {
                b"a" => keys.arguments = Some(value),
                b"e" => keys.error = Some(value),
                b"ip" => keys.ip = value.string().and_then(compact_address),
                b"q" => keys.query = value.string(),
                b"r" => keys.reply = Some(value),
                b"ro" => keys.read_only = value.integer() == Some(1),
                b"t" => keys.transaction = value.string().and_then(Transaction::new),
                b"y" => keys.kind = value.string(),
                _ => (),
            }
        }
        let transaction = keys.transaction.ok_or(Invalid("t"))?;
        let body = match keys.kind {
            Some(b"q") => {
                let name = keys.query.ok_or(Invalid("q"))?;
                let arguments = keys.arguments.ok_or(Invalid("a"))?;
                query(name, &arguments)
                    .map_err(|key| DatagramError::InvalidQuery(transaction, key))?
            }
            Some(b"r") => Body::Reply(reply(&keys.reply.ok_or(Invalid("r"))?).map_err(Invalid)?),
            Some(b"e") => error(&keys.error.ok_or(Invalid("e"))?),
            _ => return Err(Invalid("y")),
        };
        Ok(Self { transaction, read_only: keys.read_only, your_address: keys.ip, body })
    }
}

/// What stands at the top of a datagram.
#[derive(Default)]
struct Keys<'a> {
    arguments: Option<Value<'a>>,
    error: Option<Value<'a>>,
    ip: Option<SocketAddr>,
    query: Option<&'a [u8]>,
    reply: Option<Value<'a>>,
    read_only: bool,
    transaction: Option<Transaction>,
    kind: Option<&'a [u8]>,
}

/// Reads a query; an error names the argument that is wrong.
fn query(name: &[u8], arguments: &Value<'_>) -> Result<Body, &'static str> {
    let (mut id, mut target, mut info_hash) = (None, None, None);
    let (mut port, mut implied, mut token) = (None, false, None);
    let mut want = Want::default();
    for (key, value) in arguments.entries() {
        match key {
            b"id" => id = node_id(&value),
            b"implied_port" => implied = value.integer().is_some_and(|n| n != 0),
            b"info_hash" => info_hash = node_id(&value),
            b"port" => port = value.integer().and_then(|n| u16::try_from(n).ok()),
            b"target" => target = node_id(&value),
            b"token" => token = value.string().and_then(self::token),
            b"want" => want = self::want(&value),
            _ => (),
        }
    }
    let id = id.ok_or("id")?;
    let info_hash_of = |id: Option<NodeId>| id.map(|id| InfoHash(id.0)).ok_or("info_hash");
    let query = match name {
        b"ping" => Query::Ping,
        b"find_node" => Query::FindNode { target: target.ok_or("target")?, want },
        b"get_peers" => Query::GetPeers { info_hash: info_hash_of(info_hash)?, want },
        b"announce_peer" => Query::AnnouncePeer {
            info_hash: info_hash_of(info_hash)?,
            port: if implied { None } else { Some(port.filter(|&n| n != 0).ok_or("port")?) },
            token: token.ok_or("token")?,
        },
        _ => Query::Unknown(target.or(info_hash)),
    };
    Ok(Body::Query(id, query))
}

/// Reads a reply; an error names the key that is wrong.
fn reply(values: &Value<'_>) -> Result<Reply, &'static str> {
    let (mut id, mut token) = (None, None);
    let (mut nodes, mut peers) = (Vec::new(), Vec::new());
    for (key, value) in values.entries() {
        match key {
            b"id" => id = node_id(&value),
            b"nodes" => nodes.extend(contacts(&value, V4_LEN)),
            b"nodes6" => nodes.extend(contacts(&value, V6_LEN)),
            b"token" => token = value.string().and_then(self::token),
            b"values" => {
                peers.extend(value.items().filter_map(|peer| compact_address(peer.string()?)));
            }
            _ => (),
        }
    }
    Ok(Reply { id: id.ok_or("id")?, nodes, peers, token })
}

/// Reads an error. Its text is a stranger's: what is no printable ASCII becomes a dot.
fn error(values: &Value<'_>) -> Body {
    let mut items = values.items();
    let code = items.next().and_then(|code| code.integer()).map_or(ErrorCode::GENERIC, ErrorCode);
    let text = items.next().and_then(|text| text.string()).unwrap_or_default();
    let shown = |byte: &u8| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    };
    Body::Error(code, text.iter().take(limits::ERROR_TEXT_LEN_MAX).map(shown).collect())
}

fn node_id(value: &Value<'_>) -> Option<NodeId> {
    value.string()?.try_into().ok().map(NodeId)
}

fn token(text: &[u8]) -> Option<Token> {
    (text.len() <= limits::TOKEN_LEN_MAX).then(|| Token(text.into()))
}

fn want(value: &Value<'_>) -> Want {
    let mut want = Want::default();
    for family in value.items() {
        match family.string() {
            Some(b"n4") => want.v4 = true,
            Some(b"n6") => want.v6 = true,
            _ => (),
        }
    }
    want
}

/// Ids with addresses of so many bytes, one after the other. A piece at the end is passed over, and
/// so are contacts without a port.
fn contacts<'a>(value: &Value<'a>, address_len: usize) -> impl Iterator<Item = Contact> + use<'a> {
    let bytes = value.string().unwrap_or_default();
    bytes.chunks_exact(ID_LEN + address_len).filter_map(|contact| {
        let (id, address) = contact.split_first_chunk::<ID_LEN>()?;
        Some(Contact { id: NodeId(*id), address: compact_address(address)? })
    })
}
