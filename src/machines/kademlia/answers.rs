//! What others ask of us.

use std::net::SocketAddr;
use std::time::Instant;

use super::calls::Purpose;
use super::{Node, Transmit, family};
use crate::formats::mainline::{
    Body, Contact, Datagram, ErrorCode, Query, Reply, Transaction, Want,
};
use crate::words::address::is_local;
use crate::words::limits::mainline as limits;
use crate::words::node_id::NodeId;

impl Node {
    /// `asker` asks something.
    pub(super) fn handle_query(
        &mut self,
        now: Instant,
        asker: Contact,
        transaction: Transaction,
        query: Query,
        read_only: bool,
    ) {
        if !is_local(asker.address.ip()) {
            self.reach.handle_query(now, asker.address);
        }
        if self.is_read_only(now, asker.address)
            || !self.limiter.admits_query(now, asker.address.ip())
        {
            return;
        }
        let Some(home) = &self.homes[family(asker.address)] else { return };
        let own = home.table.own();
        if asker.id == own {
            return;
        }
        let body = match query {
            Query::Ping => Ok(Reply::empty(own)),
            Query::FindNode { target, want } => Ok(self.nodes(own, asker, target, want)),
            Query::Unknown(Some(target)) => Ok(self.nodes(own, asker, target, Want::default())),
            Query::Unknown(None) => Err((ErrorCode::METHOD_UNKNOWN, "Method Unknown")),
            Query::GetPeers { info_hash, want } => {
                let token = self.tokens.make(now, asker, info_hash);
                let is_v4 = asker.address.is_ipv4();
                let n = if is_v4 { limits::ANSWER_PEERS_V4 } else { limits::ANSWER_PEERS_V6 };
                let home = self.homes[family(asker.address)].as_ref();
                let peers =
                    home.map(|home| home.store.get(info_hash, is_v4, n, now, &mut self.rng));
                let nodes = self.nodes(own, asker, info_hash.into(), want);
                Ok(Reply { peers: peers.unwrap_or_default(), token: Some(token), ..nodes })
            }
            Query::AnnouncePeer { info_hash, port, token } => {
                if self.tokens.accepts(now, &token, asker, info_hash) {
                    let port = port.unwrap_or_else(|| asker.address.port());
                    let peer = SocketAddr::new(asker.address.ip(), port);
                    if let Some(home) = &mut self.homes[family(asker.address)] {
                        home.store.put(info_hash, peer, now, &mut self.rng);
                    }
                    Ok(Reply::empty(own))
                } else {
                    Err((ErrorCode::PROTOCOL, "Bad Token"))
                }
            }
        };
        let body = match body {
            Ok(reply) => Body::Reply(reply),
            Err((code, text)) => Body::Error(code, text.to_owned()),
        };
        self.answer(now, asker.address, transaction, body);
        if !read_only {
            self.consider(now, asker);
        }
    }

    /// A query of which the argument `key` is wrong.
    pub(super) fn refuse(
        &mut self,
        now: Instant,
        from: SocketAddr,
        transaction: Transaction,
        key: &str,
    ) {
        if !self.is_read_only(now, from) && self.limiter.admits_query(now, from.ip()) {
            let text = format!("Protocol Error: {key}");
            self.answer(now, from, transaction, Body::Error(ErrorCode::PROTOCOL, text));
        }
    }

    fn answer(&mut self, now: Instant, to: SocketAddr, transaction: Transaction, body: Body) {
        let datagram = Datagram { transaction, read_only: false, your_address: Some(to), body };
        let bytes = datagram.emit();
        if self.limiter.admits_answer(now, bytes.len()) {
            self.reach.handle_answered(now, to);
            self.transmits.push_back(Transmit { to, bytes });
        }
    }

    /// The nodes nearest to a target, of the families that `asker` wants.
    fn nodes(&self, own: NodeId, asker: Contact, target: NodeId, want: Want) -> Reply {
        let is_v4 = asker.address.is_ipv4();
        let wanted = if want == Want::default() { [is_v4, !is_v4] } else { [want.v4, want.v6] };
        let homes = self.homes.iter().zip(wanted).filter(|(_, is_wanted)| *is_wanted);
        let tables = homes.filter_map(|(home, _)| home.as_ref()).map(|home| &home.table);
        let nodes = tables.flat_map(|table| table.closest(target, limits::BUCKET_LEN));
        let nodes = nodes.filter(|node| node.address != asker.address).collect();
        Reply { nodes, ..Reply::empty(own) }
    }

    /// Who asks may be worth a place in the table. Whether it can be reached shows only when what
    /// its query opened on the way here has closed again.
    fn consider(&mut self, now: Instant, asker: Contact) {
        let Some(home) = &mut self.homes[family(asker.address)] else { return };
        let is_new = home.table.handle_query(asker, now);
        let is_waiting = self.newcomers.iter().any(|(_, other)| other.address == asker.address);
        if !is_new || is_waiting || self.newcomers.len() == limits::NEWCOMERS_MAX {
            return;
        }
        if home.table.len() >= limits::BUCKET_LEN {
            let is_near = is_local(asker.address.ip());
            let delay = if is_near { limits::NEWCOMER_DELAY_LOCAL } else { limits::NEWCOMER_DELAY };
            self.newcomers.push_back((now + delay, asker));
        } else if !self.calls.is_full() {
            self.call(now, asker.address, Some(asker.id), Purpose::Ping, Query::Ping);
        }
    }
}
