//! Bytes to values. Keys that are not known are ignored, so that later versions may add some.

use std::fmt;
use std::net::SocketAddr;

use crate::formats::krpc::{
    Answer, Body, Digest, Entries, Family, Message, Query, Refusal, Route, Sharer, State, Token,
    contact,
};
use crate::words::bencode::{self, Form, Value, scan};
use crate::words::id::InfoHash;
use crate::words::limits::ring as limits;
use crate::words::ring_id::RingId;

/// Why a datagram is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is longer than [`limits::DATAGRAM_LEN_MAX`].
    TooLong,
    /// It is no bencode.
    Bencode(bencode::Error),
    /// It has no `c` = 1: it is somebody else's, such as Mainline's.
    NotOurs,
    /// This key is missing, or its value is not what it should be.
    Key(&'static str),
    /// It has more keys than [`limits::DATAGRAM_KEYS_MAX`].
    TooManyKeys,
    /// Nobody knows this question. It was asked under this transaction.
    UnknownQuery(u32),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "it is longer than any datagram of ours"),
            Self::Bencode(error) => write!(f, "{error}"),
            Self::NotOurs => write!(f, "it is not of our protocol"),
            Self::Key(key) => write!(f, "its key '{key}' is missing or wrong"),
            Self::TooManyKeys => write!(f, "it has too many keys"),
            Self::UnknownQuery(_) => write!(f, "its question is unknown"),
        }
    }
}

impl std::error::Error for Unreadable {}

/// Whether the datagram claims to be ours; for a socket that carries Mainline's too. It is cheap,
/// and approves nothing.
pub fn is_ours(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'd') && bytes.windows(6).any(|window| window == b"1:ci1e")
}

/// Reads a datagram of the ring of `family`.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse(bytes: &[u8], family: Family) -> Result<Message, Unreadable> {
    if bytes.len() > limits::DATAGRAM_LEN_MAX {
        return Err(Unreadable::TooLong);
    }
    let whole =
        scan(bytes, limits::DATAGRAM_DEPTH_MAX, Form::Canonical).map_err(Unreadable::Bencode)?;
    let top = Fields::of(&whole, family)?;
    if top.get("c").and_then(|c| c.integer()) != Some(1) {
        return Err(Unreadable::NotOurs);
    }
    let transaction = u32::from_be_bytes(top.bytes("t")?);
    let body = match top.string("y")? {
        b"q" => {
            let arguments = Fields::of(&top.get("a").ok_or(Unreadable::Key("a"))?, family)?;
            let token = arguments.maybe("token", |fields, key| fields.bytes(key).map(Token))?;
            let name = top.string("q")?;
            let query = query(name, &arguments)?.ok_or(Unreadable::UnknownQuery(transaction))?;
            Body::Query(query, token)
        }
        b"r" => {
            let answer = top.get("r").ok_or(Unreadable::Key("r"))?;
            Body::Answer(self::answer(&Fields::of(&answer, family)?)?)
        }
        b"e" => Body::Error(refusal(&top)?),
        _ => return Err(Unreadable::Key("y")),
    };
    let client = top.get("ro").is_some_and(|ro| ro.integer() == Some(1));
    let seen = top.maybe("ip", Fields::contact)?;
    Ok(Message { transaction, seen, client, body })
}

fn query(name: &[u8], fields: &Fields<'_>) -> Result<Option<Query>, Unreadable> {
    Ok(Some(match name {
        b"ping" => Query::Ping(fields.maybe("info_hash", Fields::info_hash)?),
        b"get_state" => Query::GetState {
            digest: fields.maybe("d", |fields, key| fields.bytes(key).map(Digest))?,
            rectify: fields.maybe("b", Fields::before)?,
        },
        b"rectify" => Query::Rectify(fields.before("b")?),
        b"find_node" => Query::FindNode(RingId(fields.bytes("target")?)),
        b"get_peers" => Query::GetPeers(fields.info_hash("info_hash")?),
        b"announce" => Query::Announce {
            info_hash: fields.info_hash("info_hash")?,
            port: fields.port("port")?,
            seeder: fields.flag("seed")?,
        },
        b"withdraw" => Query::Withdraw {
            info_hash: fields.info_hash("info_hash")?,
            port: fields.port("port")?,
        },
        b"hint" => Query::Hint(fields.contact("n")?),
        b"leave" => Query::Leave,
        b"push" => Query::Push(fields.entries("e")?),
        b"ping_back" => Query::PingBack,
        _ => return Ok(None),
    }))
}

/// Each answer has a key that no other has.
fn answer(fields: &Fields<'_>) -> Result<Answer, Unreadable> {
    if fields.get("nodes").is_some() {
        return route(fields).map(Answer::Route);
    }
    if fields.get("same").is_some() {
        return Ok(Answer::Same { token: Token(fields.bytes("token")?) });
    }
    if fields.get("h").is_some() {
        let (shared, seeder) = (fields.flag("h")?, fields.flag("seed")?);
        return Ok(Answer::Shares { shared, seeder });
    }
    if fields.get("s").is_some() {
        let state = State {
            predecessor: fields.maybe("p", Fields::contact)?,
            successors: fields.contacts("s", limits::SUCCESSORS)?,
            before: fields.before("b")?,
            nodes: fields.count("n")?,
            keys: fields.count("k")?,
        };
        return Ok(Answer::State(state, Token(fields.bytes("token")?)));
    }
    Ok(Answer::Done)
}

fn route(fields: &Fields<'_>) -> Result<Route, Unreadable> {
    let mut sharers = Vec::new();
    for (key, seeder) in [("s", true), ("l", false)] {
        let addresses =
            fields.maybe(key, |fields, key| fields.contacts(key, limits::SHARERS_ANSWERED))?;
        let addresses = addresses.unwrap_or_default().into_iter();
        sharers.extend(addresses.map(|address| Sharer { address, seeder }));
    }
    Ok(Route {
        nodes: fields.contacts("nodes", limits::CONTACTS_ANSWERED)?,
        owner: fields.maybe("o", Fields::contact)?,
        sharers,
        token: fields.maybe("token", |fields, key| fields.bytes(key).map(Token))?,
    })
}

fn refusal(top: &Fields<'_>) -> Result<Refusal, Unreadable> {
    let error = top.get("e").ok_or(Unreadable::Key("e"))?;
    let code = error.items().next().and_then(|code| code.integer()).ok_or(Unreadable::Key("e"))?;
    let known = [Refusal::Full, Refusal::Token, Refusal::Unknown];
    Ok(known.into_iter().find(|known| known.code() == code).unwrap_or(Refusal::Other(code)))
}

/// The keys of one dictionary.
struct Fields<'a> {
    family: Family,
    entries: Vec<(&'a [u8], Value<'a>)>,
}

impl<'a> Fields<'a> {
    fn of(value: &Value<'a>, family: Family) -> Result<Self, Unreadable> {
        let entries: Vec<_> = value.entries().take(limits::DATAGRAM_KEYS_MAX + 1).collect();
        if entries.len() > limits::DATAGRAM_KEYS_MAX {
            return Err(Unreadable::TooManyKeys);
        }
        Ok(Self { family, entries })
    }

    fn get(&self, key: &'static str) -> Option<Value<'a>> {
        self.entries
            .iter()
            .find(|(name, _)| *name == key.as_bytes())
            .map(|(_, value)| value.clone())
    }

    /// A key that may be missing, but not wrong.
    fn maybe<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Self, &'static str) -> Result<T, Unreadable>,
    ) -> Result<Option<T>, Unreadable> {
        self.get(key).map(|_| read(self, key)).transpose()
    }

    fn string(&self, key: &'static str) -> Result<&'a [u8], Unreadable> {
        self.get(key).and_then(|value| value.string()).ok_or(Unreadable::Key(key))
    }

    fn bytes<const N: usize>(&self, key: &'static str) -> Result<[u8; N], Unreadable> {
        self.string(key)?.try_into().ok().ok_or(Unreadable::Key(key))
    }

    fn info_hash(&self, key: &'static str) -> Result<InfoHash, Unreadable> {
        self.bytes(key).map(InfoHash)
    }

    fn number<T: TryFrom<i64>>(&self, key: &'static str) -> Result<T, Unreadable> {
        let number = self.get(key).and_then(|value| value.integer());
        number.and_then(|number| T::try_from(number).ok()).ok_or(Unreadable::Key(key))
    }

    fn count(&self, key: &'static str) -> Result<u32, Unreadable> {
        self.number(key)
    }

    fn port(&self, key: &'static str) -> Result<u16, Unreadable> {
        self.number(key)
            .and_then(|port| if port == 0 { Err(Unreadable::Key(key)) } else { Ok(port) })
    }

    fn flag(&self, key: &'static str) -> Result<bool, Unreadable> {
        match self.number::<u8>(key)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Unreadable::Key(key)),
        }
    }

    fn contact(&self, key: &'static str) -> Result<SocketAddr, Unreadable> {
        let bytes = self.string(key)?;
        let fits = bytes.len() == self.family.contact_len();
        contact(bytes).filter(|_| fits).ok_or(Unreadable::Key(key))
    }

    fn contacts(&self, key: &'static str, max: usize) -> Result<Vec<SocketAddr>, Unreadable> {
        let (bytes, len) = (self.string(key)?, self.family.contact_len());
        if bytes.len() % len != 0 || bytes.len() > max * len {
            return Err(Unreadable::Key(key));
        }
        bytes.chunks(len).map(|bytes| contact(bytes).ok_or(Unreadable::Key(key))).collect()
    }

    fn before(&self, key: &'static str) -> Result<Vec<SocketAddr>, Unreadable> {
        self.contacts(key, limits::REPLICAS_BEFORE)
    }

    fn entries(&self, key: &'static str) -> Result<Vec<Entries>, Unreadable> {
        let list = self.get(key).filter(|value| value.is_list()).ok_or(Unreadable::Key(key))?;
        let mut strings = list.items().map(|item| item.string());
        let mut entries = Vec::new();
        while let Some(info_hash) = strings.next() {
            let info_hash = info_hash.and_then(|text| text.try_into().ok());
            let packed = strings.next().flatten().ok_or(Unreadable::Key(key))?;
            let info_hash = InfoHash(info_hash.ok_or(Unreadable::Key(key))?);
            entries.push(Entries { info_hash, sharers: self.sharers(key, packed)? });
        }
        Ok(entries)
    }

    fn sharers(&self, key: &'static str, packed: &[u8]) -> Result<Vec<(Sharer, u16)>, Unreadable> {
        let len = self.family.contact_len();
        let sharer = |bytes: &[u8]| {
            let (address, rest) = bytes.split_at_checked(len)?;
            let (age, seeder) = rest.split_first_chunk()?;
            let seeder = match seeder {
                [0] => false,
                [1] => true,
                _ => return None,
            };
            Some((Sharer { address: contact(address)?, seeder }, u16::from_be_bytes(*age)))
        };
        packed.chunks(len + 3).map(|bytes| sharer(bytes).ok_or(Unreadable::Key(key))).collect()
    }
}
