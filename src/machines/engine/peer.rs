//! One connection as main sees it.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use crate::bus::{Farewell, Order, PeerShared, SocketNumber, ToPeer};
use crate::formats::client;
use crate::machines::picker;
use crate::words::id::{Block, Key, PeerId, PeerKey, PieceIndex, TorrentKey};
use crate::words::limits;
use crate::words::steps::Steps;

/// A connection, from dialling or accepting to its threads' last words.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) torrent: Option<TorrentKey>,
    /// Which of the torrent's contacts was dialled.
    pub(super) contact: Option<Key>,
    /// Where it listens, if it dialled us and said so.
    pub(super) listens_at: Option<SocketAddr>,
    /// It has said where its node of the ring is.
    pub(super) told_way: bool,
    /// The socket under which it was accepted: the later, the greater.
    pub(super) socket: Option<SocketNumber>,
    pub(super) stage: Stage,
    /// It counts among the connected.
    pub(super) connected: bool,
    /// It counts among those that are allowed: it was dialled, or has shaken hands.
    pub(super) admitted: bool,
    /// The network under which its torrent counts it.
    pub(super) network: Option<IpAddr>,
    /// For messages: its address as far as it is known.
    pub(super) address: String,
    pub(super) client: String,
    /// Its ticket among those for which there was nothing to ask.
    pub(super) retrying: Option<u64>,
}

/// How far a connection is.
#[derive(Debug)]
pub(super) enum Stage {
    /// It is being dialled; the handshakes count.
    Dialling,
    /// It dialled us, and the handshakes are not done.
    Greeting,
    /// It talks.
    Talking(Box<Talk>),
    /// We hung up, for this reason if we had one; its threads have not said their last words yet.
    Leaving(Option<Farewell>, Option<Box<Talk>>),
}

/// What there is to know of a peer that talks.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) who: Identity,
    pub(super) shared: Arc<PeerShared>,
    /// It serves us.
    pub(super) unchoked: bool,
    /// It knows the fast extension (BEP 6), as we do.
    pub(super) fast: bool,
    /// The pieces that we may ask for while it chokes us.
    pub(super) allowed_by_it: Vec<PieceIndex>,
    /// The pieces that it may ask for while we choke it.
    pub(super) allowed_to_it: Vec<PieceIndex>,
    /// How many blocks of them: once each, or it could live on them.
    pub(super) allowed_blocks: u32,
    /// It rejected what we asked for, or did not send it, and is not asked again before.
    pub(super) ask_after: Option<Instant>,
    /// How often it has choked us, while it owed blocks, since it sent one.
    pub(super) chokes: u32,
    /// How often it has stalled since it sent a block.
    pub(super) stalls: u32,
    /// It wants nothing any more (BEP 21).
    pub(super) upload_only: bool,
    /// The number under which it is told who comes and goes.
    pub(super) exchange_id: Option<u8>,
    /// Under which number it wants messages about metadata (BEP 9), if it understands them.
    pub(super) metadata_id: Option<u8>,
    /// Bytes of the metadata that it offers.
    pub(super) metadata_len: Option<u32>,
    /// Pieces of metadata that it was given.
    pub(super) metadata_given: u32,
    /// What we asked it for and have not received.
    pub(super) outstanding: VecDeque<Block>,
    /// The blocks that it has credit for, less those that have arrived here: what is outstanding,
    /// and what was put back.
    pub(super) owed: u32,
    /// How many blocks to have outstanding.
    pub(super) pipeline: u32,
    /// Nothing is known of its rate yet, so the pipeline grows with each block.
    pub(super) slow_start: bool,
    pub(super) place: picker::Place,
    /// The answers to what it asked us for, of which its writer was not told yet.
    pub(super) answers: VecDeque<ToPeer>,
    /// Orders that its writer has not carried out yet.
    pub(super) unperformed: u32,
    /// It has everything.
    pub(super) seeder: bool,
    /// It said so at once, so the picker counts it as one.
    pub(super) told_as_seeder: bool,
    /// Its writer was told to look whether it is interesting.
    pub(super) looked: bool,
    pub(super) downloaded: u64,
    pub(super) uploaded: u64,
    pub(super) sampled: Sampled,
    /// When its handshakes were done.
    pub(super) met_at: Instant,
    /// When the last block came or went, or its handshakes were done.
    pub(super) moved_at: Instant,
}

/// By what a peer is known again: see [`bans`](crate::machines::engine::bans).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) ip: IpAddr,
    pub(super) peer_id: PeerId,
}

/// The last measurement.
#[derive(Debug)]
pub(super) struct Sampled {
    pub(super) at: Instant,
    pub(super) downloaded: u64,
    pub(super) uploaded: u64,
}

impl Peer {
    pub(super) fn is_dialling(&self) -> bool {
        matches!(self.stage, Stage::Dialling)
    }

    pub(super) fn is_greeting(&self) -> bool {
        matches!(self.stage, Stage::Greeting)
    }

    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.stage, Stage::Leaving(..))
    }

    /// Whether it dialled us and has shaken hands.
    pub(super) fn is_caller(&self) -> bool {
        self.admitted && self.socket.is_some()
    }

    /// Whether it talks, and nothing has moved for long.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        matches!(&self.stage, Stage::Talking(talk) if now >= talk.moved_at + limits::IDLE_MAX)
    }

    /// Whether it owed us blocks and sent none, and has sent none since.
    pub(super) fn has_stalled(&self) -> bool {
        matches!(&self.stage, Stage::Talking(talk) if talk.stalls > 0)
    }

    /// The address from which it talks, if it does.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        match &self.stage {
            Stage::Talking(talk) | Stage::Leaving(_, Some(talk)) => Some(talk.who.ip),
            Stage::Dialling | Stage::Greeting | Stage::Leaving(_, None) => None,
        }
    }

    /// The peer, if it talks.
    pub(super) fn talk(&mut self) -> Option<&mut Talk> {
        match &mut self.stage {
            Stage::Talking(talk) => Some(talk),
            Stage::Dialling | Stage::Greeting | Stage::Leaving(..) => None,
        }
    }

    /// The peer, if it talks or did until we hung up.
    pub(super) fn talk_or_last(&mut self) -> Option<&mut Talk> {
        match &mut self.stage {
            Stage::Talking(talk) => Some(talk),
            Stage::Leaving(_, talk) => talk.as_deref_mut(),
            Stage::Dialling | Stage::Greeting => None,
        }
    }

    /// Asserts every invariant; for tests.
    pub(super) fn check(&self) {
        let Stage::Talking(talk) = &self.stage else { return };
        assert!(talk.unperformed <= limits::OUTBOX_MAX, "its writer's channel is not overfull");
        assert!(talk.outstanding.len() <= limits::PIPELINE_MAX as usize);
        assert!(talk.outstanding.len() <= talk.owed as usize, "it can send what it was asked for");
        assert!(talk.answers.len() <= limits::UPLOADS_MAX);
        let forgets = !talk.unchoked && !talk.fast;
        assert!(!forgets || talk.outstanding.is_empty(), "a choke forgets what was asked");
    }
}

impl Talk {
    pub(super) fn new(
        key: PeerKey,
        peer_id: PeerId,
        ip: IpAddr,
        shared: Arc<PeerShared>,
        now: Instant,
    ) -> Self {
        Self {
            who: Identity { ip, peer_id },
            shared,
            unchoked: false,
            fast: false,
            allowed_by_it: Vec::new(),
            allowed_to_it: Vec::new(),
            allowed_blocks: 0,
            ask_after: None,
            chokes: 0,
            stalls: 0,
            upload_only: false,
            exchange_id: None,
            metadata_id: None,
            metadata_len: None,
            metadata_given: 0,
            outstanding: VecDeque::new(),
            owed: 0,
            pipeline: limits::PIPELINE_START,
            slow_start: true,
            place: picker::Place::of(key),
            answers: VecDeque::new(),
            unperformed: 0,
            seeder: false,
            told_as_seeder: false,
            looked: false,
            downloaded: 0,
            uploaded: 0,
            sampled: Sampled { at: now, downloaded: 0, uploaded: 0 },
            met_at: now,
            moved_at: now,
        }
    }

    /// The client's name, from its peer id.
    pub(super) fn client(&self) -> String {
        client::client_name(self.who.peer_id)
    }

    /// Gives an order to its writer. The caller has made sure that there is room for it, or it is
    /// one of the few for which [`limits::OUTBOX_RESERVE`] is kept free.
    pub(super) fn tell(&mut self, orders: &mut VecDeque<Order>, key: PeerKey, order: ToPeer) {
        self.unperformed += 1;
        orders.push_back(Order::Peer(key, order));
    }

    /// It is choked: with the fast extension what it asked for is rejected, without it forgotten.
    pub(super) fn decline_all(&mut self, steps: &mut Steps) {
        steps.turns(self.answers.len());
        if !self.fast {
            // Bound: limits::UPLOADS_MAX
            self.answers.retain(|answer| matches!(answer, ToPeer::Metadata(..)));
        }
        // Bound: limits::UPLOADS_MAX
        for answer in &mut self.answers {
            if let ToPeer::Upload(block) = *answer {
                *answer = ToPeer::Reject(block);
            }
        }
    }

    /// It no longer wants `block`: with the fast extension it is told so. `false` if its writer
    /// has been told to send it already.
    pub(super) fn decline(&mut self, block: Block, steps: &mut Steps) -> bool {
        // Bound: limits::UPLOADS_MAX
        let place = self.answers.iter().position(|answer| *answer == ToPeer::Upload(block));
        steps.turns(place.map_or(self.answers.len(), |place| place + 1));
        let Some(place) = place else { return false };
        if self.fast {
            self.answers[place] = ToPeer::Reject(block);
        } else {
            self.answers.remove(place);
        }
        true
    }

    /// Whether its writer can take another request or upload.
    pub(super) fn has_room(&self) -> bool {
        self.unperformed + limits::OUTBOX_RESERVE < limits::OUTBOX_MAX
    }

    /// Ticks `block` off, if it was asked for. What was asked first mostly comes first.
    pub(super) fn tick_off(&mut self, block: Block, steps: &mut Steps) -> bool {
        // Bound: limits::PIPELINE_MAX
        let place = self.outstanding.iter().position(|asked| *asked == block);
        steps.turns(place.map_or(self.outstanding.len(), |place| place + 1));
        place.and_then(|place| self.outstanding.remove(place)).is_some()
    }

    /// Bytes a second (down, up) since the last measurement.
    pub(super) fn sample(&mut self, now: Instant) -> (u64, u64) {
        let millis = now.duration_since(self.sampled.at).as_millis().max(1);
        let rate =
            |bytes: u64| u64::try_from(u128::from(bytes) * 1000 / millis).unwrap_or(u64::MAX);
        let down = rate(self.downloaded - self.sampled.downloaded);
        let up = rate(self.uploaded - self.sampled.uploaded);
        self.sampled = Sampled { at: now, downloaded: self.downloaded, uploaded: self.uploaded };
        (down, up)
    }
}
