//! What the trace says of each notification and order.

use std::time::Instant;

use crate::actors::trace::{About, Entry, Speaker, Way};
use crate::bus::{Notification, Order, PeerNews, StorageNews, ToPeer, ToStorage};
use crate::session::names;
use crate::words::id::PeerKey;

/// A notification that main has received.
pub(super) fn heard(notification: &Notification, at: Instant) -> Entry {
    let (thread, about) = match notification {
        Notification::Peer(peer, news) => of_peer(*peer, news),
        Notification::Accepted { .. } => (Speaker::Named("porter"), About::Nothing),
        Notification::Storage(_, news) => of_storage(news),
        Notification::Chord(_) | Notification::Mainline(_) | Notification::Lan(_) => {
            (Speaker::Named("reactor"), About::Nothing)
        }
        Notification::Entries(..) => (Speaker::Named("usher"), About::Nothing),
        Notification::Clerk(..) => (Speaker::Named("clerk"), About::Nothing),
        Notification::Tracker(_) => (Speaker::Named("tracker"), About::Nothing),
        Notification::Warning(_) | Notification::Command(_) => {
            (Speaker::Named("user"), About::Nothing)
        }
    };
    let what = names::of_notification(notification);
    Entry { at, way: Way::Notification, thread, what, about }
}

fn of_peer(peer: PeerKey, news: &PeerNews) -> (Speaker, About) {
    let reader = Speaker::Reader(peer);
    match news {
        PeerNews::Requested(block)
        | PeerNews::Cancelled(block)
        | PeerNews::Rejected(block)
        | PeerNews::Block(block, _) => (reader, About::Block(*block)),
        PeerNews::AllowedFast(piece) => (reader, About::Piece(*piece)),
        PeerNews::Gained(word) | PeerNews::Lost(word) => {
            (reader, About::Count(word.bits.count_ones().into()))
        }
        PeerNews::Performed { orders, .. } => {
            (Speaker::Writer(peer), About::Count((*orders).into()))
        }
        PeerNews::Hello(_)
        | PeerNews::HelloBySkey(_)
        | PeerNews::Connected { .. }
        | PeerNews::Seeder
        | PeerNews::Completed
        | PeerNews::Choked
        | PeerNews::Unchoked
        | PeerNews::Interested
        | PeerNews::NotInterested
        | PeerNews::Node(_)
        | PeerNews::Exchanged(_)
        | PeerNews::Incomplete
        | PeerNews::Extended(_)
        | PeerNews::Metadata(_)
        | PeerNews::Renewed(_)
        | PeerNews::Stalled
        | PeerNews::Sample
        | PeerNews::Gone(_) => (reader, About::Nothing),
    }
}

fn of_storage(news: &StorageNews) -> (Speaker, About) {
    let storage = Speaker::Named("storage");
    match news {
        StorageNews::Checking(_) => (Speaker::Named("hasher"), About::Nothing),
        StorageNews::Found(word) | StorageNews::Unwanted(word) => {
            (storage, About::Count(word.bits.count_ones().into()))
        }
        StorageNews::Written(piece)
        | StorageNews::Verified(piece)
        | StorageNews::Corrupt(piece)
        | StorageNews::Forgotten(piece)
        | StorageNews::Guilty(piece, _) => (storage, About::Piece(*piece)),
        StorageNews::InOrder
        | StorageNews::Opened
        | StorageNews::Failed(_)
        | StorageNews::Warned(_)
        | StorageNews::Settled
        | StorageNews::Closed => (storage, About::Nothing),
    }
}

/// An order that main gives.
pub(super) fn ordered(order: &Order, at: Instant) -> Entry {
    let (thread, about) = match order {
        Order::Dial { peer, .. }
        | Order::Ask { peer, .. }
        | Order::Admit { peer, .. }
        | Order::Reap(peer) => (Speaker::For("porter", *peer), About::Nothing),
        Order::Refuse(_) => (Speaker::Named("porter"), About::Nothing),
        Order::Introduce { peer, .. } | Order::HangUp(peer) => {
            (Speaker::Reader(*peer), About::Nothing)
        }
        Order::Peer(peer, to_peer) => (Speaker::Writer(*peer), of_order_to_peer(*to_peer)),
        Order::Storage(_, to_storage) => {
            (Speaker::Named("storage"), of_order_to_storage(to_storage))
        }
        Order::Chord(_) | Order::Mainline(_) | Order::Lan(_) => {
            (Speaker::Named("reactor"), About::Nothing)
        }
        Order::Usher(..) => (Speaker::Named("usher"), About::Nothing),
        Order::Clerk(..) => (Speaker::Named("clerk"), About::Nothing),
        Order::Tracker(_) => (Speaker::Named("crier"), About::Nothing),
        Order::End => (Speaker::Named("main"), About::Nothing),
    };
    Entry { at, way: Way::Order, thread, what: names::of_order(order), about }
}

fn of_order_to_peer(order: ToPeer) -> About {
    match order {
        ToPeer::Request(range) => About::Blocks(range),
        ToPeer::Cancel(block)
        | ToPeer::Upload(block)
        | ToPeer::Withdraw(block)
        | ToPeer::Reject(block) => About::Block(block),
        ToPeer::Choke | ToPeer::Unchoke | ToPeer::Look | ToPeer::Exchange { .. } => About::Nothing,
        ToPeer::Metadata(..) | ToPeer::OfferMetadata => About::Nothing,
    }
}

fn of_order_to_storage(order: &ToStorage) -> About {
    match order {
        ToStorage::Store(block, _) => About::Block(*block),
        ToStorage::Forget(piece) => About::Piece(*piece),
        ToStorage::Open { .. } | ToStorage::Settle | ToStorage::Close => About::Nothing,
    }
}
