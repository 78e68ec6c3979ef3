//! What notifications and orders are called where the user is told of them.

use crate::bus::trackers::TrackerNews;
use crate::bus::{
    ChordNews, ClerkNews, Command, MainlineNews, Notification, Order, PeerNews, StorageNews,
    ToChord, ToClerk, ToLan, ToMainline, ToPeer, ToStorage, ToUsher,
};

/// The name of a kind of notification, as `src/bus.rs` has it.
pub(super) fn of_notification(notification: &Notification) -> &'static str {
    match notification {
        Notification::Peer(_, news) => of_peer_news(news),
        Notification::Accepted { .. } => "Accepted",
        Notification::Storage(_, news) => of_storage_news(news),
        Notification::Warning(_) => "Warning",
        Notification::Clerk(_, news) => of_clerk_news(news),
        Notification::Chord(news) => of_chord_news(news),
        Notification::Mainline(news) => of_mainline_news(news),
        Notification::Lan(_) => "Neighbour",
        Notification::Entries(..) => "Entries",
        Notification::Tracker(news) => match news {
            TrackerNews::Found(..) => "Found",
            TrackerNews::Answered(..) => "Answered",
            TrackerNews::Failed(..) => "Failed",
        },
        Notification::Command(command) => of_command(command),
    }
}

fn of_peer_news(news: &PeerNews) -> &'static str {
    match news {
        PeerNews::Hello(_) => "Hello",
        PeerNews::HelloBySkey(_) => "HelloBySkey",
        PeerNews::Connected { .. } => "Connected",
        PeerNews::Gained(_) => "Gained",
        PeerNews::Lost(_) => "Lost",
        PeerNews::Seeder => "Seeder",
        PeerNews::Completed => "Completed",
        PeerNews::Choked => "Choked",
        PeerNews::Unchoked => "Unchoked",
        PeerNews::Interested => "Interested",
        PeerNews::NotInterested => "NotInterested",
        PeerNews::Requested(_) => "Requested",
        PeerNews::Cancelled(_) => "Cancelled",
        PeerNews::Rejected(_) => "Rejected",
        PeerNews::AllowedFast(_) => "AllowedFast",
        PeerNews::Block(..) => "Block",
        PeerNews::Node(_) => "Node",
        PeerNews::Exchanged(_) => "Exchanged",
        PeerNews::Incomplete => "Incomplete",
        PeerNews::Extended(_) => "Extended",
        PeerNews::Metadata(_) => "Metadata",
        PeerNews::Renewed(_) => "Renewed",
        PeerNews::Stalled => "Stalled",
        PeerNews::Sample => "Sample",
        PeerNews::Performed { .. } => "Performed",
        PeerNews::Gone(_) => "Gone",
    }
}

fn of_storage_news(news: &StorageNews) -> &'static str {
    match news {
        StorageNews::Checking(_) => "Checking",
        StorageNews::Found(_) => "Found",
        StorageNews::Unwanted(_) => "Unwanted",
        StorageNews::InOrder => "InOrder",
        StorageNews::Opened => "Opened",
        StorageNews::Written(_) => "Written",
        StorageNews::Verified(_) => "Verified",
        StorageNews::Corrupt(_) => "Corrupt",
        StorageNews::Guilty(..) => "Guilty",
        StorageNews::Forgotten(_) => "Forgotten",
        StorageNews::Failed(_) => "Failed",
        StorageNews::Warned(_) => "Warned",
        StorageNews::Settled => "Settled",
        StorageNews::Closed => "Closed",
    }
}

fn of_clerk_news(news: &ClerkNews) -> &'static str {
    match news {
        ClerkNews::Wrong { .. } => "Wrong",
        ClerkNews::Unusable(_) => "Unusable",
        ClerkNews::Made(_) => "Made",
        ClerkNews::Saved { .. } => "Saved",
    }
}

fn of_chord_news(news: &ChordNews) -> &'static str {
    match news {
        ChordNews::Joined(_) => "Joined",
        ChordNews::Client => "Client",
        ChordNews::Alone => "Alone",
        ChordNews::Found(..) => "Found",
        ChordNews::Known(_) => "Known",
        ChordNews::Discarded(_) => "Discarded",
        ChordNews::Left => "Left",
    }
}

fn of_mainline_news(news: &MainlineNews) -> &'static str {
    match news {
        MainlineNews::Joined => "Joined",
        MainlineNews::Address(_) => "Address",
        MainlineNews::Found(..) => "Found",
        MainlineNews::Known(_) => "Known",
        MainlineNews::Left => "Left",
    }
}

fn of_command(command: &Command) -> &'static str {
    match command {
        Command::Add(_) => "Add",
        Command::Listening(_) => "Listening",
        Command::Quit => "Quit",
    }
}

/// The name of a kind of order, as `src/bus.rs` has it.
pub(super) fn of_order(order: &Order) -> &'static str {
    match order {
        Order::Dial { .. } => "Dial",
        Order::Ask { .. } => "Ask",
        Order::Admit { .. } => "Admit",
        Order::Refuse(_) => "Refuse",
        Order::Introduce { .. } => "Introduce",
        Order::Peer(_, to_peer) => match to_peer {
            ToPeer::Request(_) => "Request",
            ToPeer::Cancel(_) => "Cancel",
            ToPeer::Choke => "Choke",
            ToPeer::Unchoke => "Unchoke",
            ToPeer::Upload(_) => "Upload",
            ToPeer::Withdraw(_) => "Withdraw",
            ToPeer::Reject(_) => "Reject",
            ToPeer::Look => "Look",
            ToPeer::Exchange { .. } => "Exchange",
            ToPeer::Metadata(..) => "Metadata",
            ToPeer::OfferMetadata => "OfferMetadata",
        },
        Order::HangUp(_) => "HangUp",
        Order::Reap(_) => "Reap",
        Order::Storage(_, to_storage) => match to_storage {
            ToStorage::Open { .. } => "Open",
            ToStorage::Store(..) => "Store",
            ToStorage::Forget(_) => "Forget",
            ToStorage::Settle => "Settle",
            ToStorage::Close => "Close",
        },
        Order::Clerk(_, ToClerk::Check { .. }) => "Check",
        Order::Chord(order) => match order {
            ToChord::Join(_) => "Join",
            ToChord::Announce { .. } => "Announce",
            ToChord::Withdraw(_) => "Withdraw",
            ToChord::Lookup(_) => "Lookup",
            ToChord::Walk => "Walk",
            ToChord::Leave => "Leave",
        },
        Order::Mainline(order) => match order {
            ToMainline::Join(_) => "Join",
            ToMainline::Meet(_) => "Meet",
            ToMainline::Announce { .. } => "Announce",
            ToMainline::Withdraw(_) => "Withdraw",
            ToMainline::Lookup(_) => "Lookup",
            ToMainline::Leave => "Leave",
        },
        Order::Lan(order) => match order {
            ToLan::Announce(_) => "Announce",
            ToLan::Withdraw(_) => "Withdraw",
        },
        Order::Usher(_, order) => match order {
            ToUsher::Resolve(_) => "Resolve",
            ToUsher::Remember(_) => "Remember",
        },
        Order::Tracker(_) => "Announce",
        Order::End => "End",
    }
}
