//! The two threads of one peer, as `src/actors/peer.rs` has them, each as far as it can go without
//! waiting.

use std::collections::VecDeque;
use std::iter;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rondalla::bus::{Farewell, Fault, Notification, PeerNews, PeerShared, ToPeer, TorrentContext};
use rondalla::formats::allowed_fast::allowed_fast;
use rondalla::formats::wire::{
    Decoder, EXTENSION_HANDSHAKE, ExtensionHandshake, Handshake, HandshakeDecoder, Message,
    OUR_UT_METADATA, Reserved, UT_METADATA,
};
use rondalla::machines::conversation::{Inbound, Outbound, Violation};
use rondalla::words::id::{InfoHash, PeerId, PeerKey, PieceIndex, TorrentKey};
use rondalla::words::limits;

use super::clock::{Actor, Alarm, Life};
use super::disk::Disk;
use super::mailbox::Mailbox;
use super::network::{Answer, Plug, Read};
use super::plan::Manner;
use super::scene::Scene;
use super::speaker::Speaker;

/// A torrent as main introduces it.
pub(super) type Introduction = (TorrentKey, Arc<TorrentContext>);

/// What both threads of a peer know.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) life: Life,
    pub(super) peer: PeerKey,
    pub(super) our_id: PeerId,
    pub(super) our_port: u16,
    pub(super) manner: Manner,
    /// Whether it knows the fast extension.
    pub(super) fast: bool,
    /// Whether it serves anybody.
    pub(super) upload: bool,
    /// Where the other end is.
    pub(super) address: SocketAddr,
}

/// One end of a connection, with its threads.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) call: Call,
    pub(super) plug: Option<Plug>,
    introduction: Option<Introduction>,
    hung_up: bool,
    hearing: Hearing,
    speaker: Option<Speaker>,
    /// The writer's channel.
    orders: VecDeque<ToPeer>,
    news: VecDeque<PeerNews>,
    heard: u32,
    alarm: Alarm,
}

/// What the reader does.
#[derive(Debug)]
enum Hearing {
    Dialling,
    Greeted { decoder: HandshakeDecoder, until: Instant },
    Head { decoder: HandshakeDecoder, until: Instant },
    Introduction { decoder: HandshakeDecoder, until: Instant },
    PeerId { decoder: HandshakeDecoder, until: Instant },
    Talking(Box<Talking>),
    Over,
}

#[derive(Debug)]
struct Talking {
    decoder: Decoder,
    inbound: Inbound,
    shared: Arc<PeerShared>,
}

/// What the reader does next.
enum Next {
    GoOn,
    WaitUntil(Instant),
    Wait,
}

impl Line {
    /// We dial it.
    pub(super) fn dialling(call: Call, introduction: Introduction) -> Self {
        Self::new(call, None, Some(introduction), Hearing::Dialling)
    }

    /// It dialled us.
    pub(super) fn accepted(call: Call, plug: Plug, now: Instant) -> Self {
        let until = now + limits::HANDSHAKE_TIMEOUT;
        let hearing = Hearing::Head { decoder: HandshakeDecoder::new(), until };
        Self::new(call, Some(plug), None, hearing)
    }

    fn new(
        call: Call,
        plug: Option<Plug>,
        introduction: Option<Introduction>,
        hearing: Hearing,
    ) -> Self {
        Self {
            call,
            plug,
            introduction,
            hung_up: false,
            hearing,
            speaker: None,
            orders: VecDeque::new(),
            news: VecDeque::new(),
            heard: 0,
            alarm: Alarm::default(),
        }
    }

    /// Whether its last words are said.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.hearing, Hearing::Over) && self.news.is_empty()
    }

    /// The torrent that both talk about, if they do.
    pub(super) fn info_hash(&self) -> Option<InfoHash> {
        self.introduction.as_ref().map(|(_, context)| context.metainfo.info_hash())
    }

    // ------------------------------------------------------------------------- Main's orders ---

    /// Main lets both threads know of the torrent.
    pub(super) fn introduce(&mut self, scene: &mut Scene, introduction: Introduction) {
        assert!(self.introduction.is_none(), "it is introduced twice");
        self.introduction = Some(introduction);
        self.wake_reader(scene);
    }

    /// Main's order to the writer, for which its channel has room.
    pub(super) fn order(&mut self, scene: &mut Scene, order: ToPeer) {
        let room = self.orders.len() < limits::OUTBOX_MAX as usize;
        assert!(room, "the outbox of {:?} is full", self.call.peer);
        self.orders.push_back(order);
        if let Some(speaker) = &mut self.speaker {
            speaker.wake(scene);
        }
    }

    /// The end of the connection, or of the one that is being made.
    pub(super) fn hang_up(&mut self, scene: &mut Scene) {
        self.hung_up = true;
        if let Some(plug) = self.plug {
            scene.network.hang_up(&mut scene.clock, plug);
        }
        self.wake_reader(scene);
        if let Some(speaker) = &mut self.speaker {
            speaker.wake(scene);
        }
    }

    // ---------------------------------------------------------------------------- The reader ---

    /// What became of our dial.
    pub(super) fn handle_answer(&mut self, scene: &mut Scene, plug: Plug, answer: Answer) {
        if !matches!(self.hearing, Hearing::Dialling) {
            return;
        }
        match answer {
            Answer::Accepted => {
                self.plug = Some(plug);
                if self.hung_up {
                    scene.network.hang_up(&mut scene.clock, plug);
                    return self.end(scene, farewell(Fault::Nobodys, "it closed the connection"));
                }
                self.greet(scene);
                let until = scene.clock.instant() + limits::HANDSHAKE_TIMEOUT;
                self.hearing = Hearing::Greeted { decoder: HandshakeDecoder::new(), until };
            }
            Answer::Refused => self.end(scene, farewell(Fault::Nobodys, "connection refused")),
            Answer::Nothing => self.end(scene, farewell(Fault::Nobodys, "connection timed out")),
        }
        self.wake_reader(scene);
    }

    pub(super) fn run_reader(&mut self, scene: &mut Scene, mailbox: &mut Mailbox) {
        self.alarm.rings(&scene.clock);
        // A thread that goes round without waiting burns a core.
        for _ in 0..100_000 {
            while let Some(news) = self.news.pop_front() {
                let peer = self.call.peer;
                let published =
                    mailbox.publish(&mut scene.clock, Actor::Reader(peer), to_main(peer, news));
                if let Err(Notification::Peer(_, news)) = published {
                    return self.news.push_front(news);
                }
            }
            match self.hear(scene) {
                Ok(Next::GoOn) => {}
                Ok(Next::Wait) => return,
                Ok(Next::WaitUntil(until)) => {
                    let at = scene.clock.time_of(until);
                    let actor = Actor::Reader(self.call.peer);
                    return self.alarm.set(&mut scene.clock, at, self.call.life, actor);
                }
                Err(farewell) => self.end(scene, farewell),
            }
        }
        panic!("the reader of {:?} goes round and round", self.call.peer);
    }

    fn hear(&mut self, scene: &mut Scene) -> Result<Next, Farewell> {
        let now = scene.clock.instant();
        match &mut self.hearing {
            Hearing::Dialling | Hearing::Over => Ok(Next::Wait),
            Hearing::Greeted { decoder, until } | Hearing::PeerId { decoder, until } => {
                let (until, decoder) = (*until, decoder);
                match decoder.handshake().map_err(theirs)? {
                    Some(greeting) => self.meet(scene, greeting),
                    None => read_handshake(scene, self.plug, decoder, until),
                }
            }
            Hearing::Head { decoder, until } => match decoder.head().map_err(theirs)? {
                Some(head) => {
                    self.news.push_back(PeerNews::Hello(head.info_hash));
                    let (decoder, until) = (decoder.clone(), *until);
                    self.hearing = Hearing::Introduction { decoder, until };
                    Ok(Next::GoOn)
                }
                None => read_handshake(scene, self.plug, decoder, *until),
            },
            Hearing::Introduction { decoder, until } => {
                if self.hung_up {
                    return Err(farewell(Fault::Ours, "its torrent is not here"));
                }
                if self.introduction.is_none() {
                    return Ok(Next::Wait);
                }
                let (decoder, until) = (decoder.clone(), *until);
                self.hearing = Hearing::PeerId { decoder, until };
                self.greet(scene);
                Ok(Next::GoOn)
            }
            Hearing::Talking(talking) => {
                if let Some(news) = talking.inbound.poll_news() {
                    self.news.push_back(news);
                    return Ok(Next::GoOn);
                }
                let changes = talking.shared.theirs.changes();
                let plug = self.plug.expect("whoever talks is connected");
                let deaf = matches!(self.call.manner, Manner::Deaf(most) if self.heard >= most);
                let next = talking.listen(scene, plug, now, deaf, &mut self.heard)?;
                if let Some(renewal) = talking.shared.renewal.get().cloned() {
                    talking.shared = renewal.shared;
                }
                if talking.shared.theirs.changes() != changes
                    && let Some(speaker) = &mut self.speaker
                {
                    speaker.handle_change(scene);
                }
                Ok(next)
            }
        }
    }

    fn greet(&self, scene: &mut Scene) {
        let (Some(plug), Some(info_hash)) = (self.plug, self.info_hash()) else { return };
        let plain = Reserved::default().with_extension();
        let reserved = if self.call.fast { plain.with_fast() } else { plain };
        let bytes = Handshake { reserved, info_hash, peer_id: self.call.our_id }.emit();
        // An empty window takes a handshake; a broken connection is noticed by who reads.
        let mut said = 0;
        while said < bytes.len() {
            match scene.write(plug, &bytes[said..]) {
                Ok(n) => said += n,
                Err(_broken) => return,
            }
        }
    }

    /// The handshakes are done.
    fn meet(&mut self, scene: &mut Scene, greeting: Handshake) -> Result<Next, Farewell> {
        let (_, context) = self.introduction.clone().expect("whoever greets is introduced");
        let context = context.successor().cloned().unwrap_or(context);
        if greeting.info_hash != context.metainfo.info_hash() {
            return Err(farewell(Fault::Theirs, "it answered with another torrent"));
        }
        let info_hash = context.metainfo.info_hash();
        let shared = Arc::new(PeerShared::new(context.metainfo.pieces()));
        let fast = self.call.fast && greeting.reserved.fast();
        let allowed_fast = if fast { self.allowed_fast(&context) } else { Vec::new() };
        let (both, now) = ((Arc::clone(&context), Arc::clone(&shared)), scene.clock.instant());
        let inbound = Inbound::new(both.0, both.1, fast, now);
        let allowed = allowed_fast.iter().copied().map(Message::AllowedFast);
        let greetings = iter::once(self.our_extensions(&context)).chain(allowed).collect();
        let outbound = Outbound::new(context, Arc::clone(&shared), fast, greetings, now);
        self.news.push_back(PeerNews::Connected {
            address: self.call.address,
            peer_id: greeting.peer_id,
            reserved: if fast { greeting.reserved } else { Reserved::default() },
            allowed_fast,
            shared: Arc::clone(&shared),
        });
        if scene.chance(scene.chances.no_thread) {
            return Err(farewell(Fault::Ours, "no thread for its writer"));
        }
        let plug = self.plug.expect("whoever greets is connected");
        self.speaker = Some(Speaker::new(&self.call, plug, info_hash, outbound, scene));
        let decoder = Decoder::new(inbound.pieces_max());
        self.hearing = Hearing::Talking(Box::new(Talking { decoder, inbound, shared }));
        Ok(Next::GoOn)
    }

    fn allowed_fast(&self, context: &TorrentContext) -> Vec<PieceIndex> {
        if !self.call.upload || context.is_unknown() {
            return Vec::new();
        }
        let (info_hash, pieces) = (context.metainfo.info_hash(), context.metainfo.pieces());
        allowed_fast(self.call.address.ip(), info_hash, pieces, limits::ALLOWED_FAST_GIVEN)
    }

    fn our_extensions(&self, context: &TorrentContext) -> Message {
        let len = u32::try_from(context.metainfo.info_bytes().len()).ok();
        let handshake = ExtensionHandshake {
            extensions: [(UT_METADATA.to_owned(), OUR_UT_METADATA)].into(),
            metadata_len: len.filter(|len| *len > 0 && self.call.upload),
            upload_only: (!context.is_unknown() && context.wanted.count() == 0).then_some(true),
            port: Some(self.call.our_port),
            requests_max: u32::try_from(limits::UPLOADS_MAX).ok(),
            client: Some("a simulated client".to_owned()),
            ..ExtensionHandshake::default()
        };
        Message::Extended { id: EXTENSION_HANDSHAKE, payload: handshake.emit() }
    }

    /// The reader's last words: what it told is taken back, then why it ends.
    fn end(&mut self, scene: &mut Scene, heard: Farewell) {
        if let Some(plug) = self.plug {
            scene.network.hang_up(&mut scene.clock, plug);
        }
        let said = self.speaker.as_mut().and_then(|speaker| {
            speaker.wake(scene);
            speaker.take_farewell()
        });
        if let Hearing::Talking(mut talking) = std::mem::replace(&mut self.hearing, Hearing::Over) {
            self.news.extend(talking.inbound.take_back().map(PeerNews::Lost));
        }
        self.news.push_back(PeerNews::Gone(said.unwrap_or(heard)));
    }

    fn wake_reader(&mut self, scene: &mut Scene) {
        let (life, peer) = (self.call.life, self.call.peer);
        let now = scene.clock.now();
        self.alarm.set(&mut scene.clock, now, life, Actor::Reader(peer));
    }

    // ---------------------------------------------------------------------------- The writer ---

    pub(super) fn run_writer(&mut self, scene: &mut Scene, mailbox: &mut Mailbox, disk: &Disk) {
        if let Some(speaker) = &mut self.speaker {
            speaker.run(scene, mailbox, disk, &mut self.orders);
        }
    }

    /// We have a piece more: the writer meets it at its next look.
    pub(super) fn handle_have(&mut self, scene: &mut Scene) {
        if let Some(speaker) = &mut self.speaker {
            speaker.handle_change(scene);
        }
    }
}

impl Talking {
    /// One step of the reader's loop.
    fn listen(
        &mut self,
        scene: &mut Scene,
        plug: Plug,
        now: Instant,
        deaf: bool,
        heard: &mut u32,
    ) -> Result<Next, Farewell> {
        if let Some(message) = self.decoder.poll_message().map_err(theirs)? {
            *heard += 1;
            self.inbound.handle_message(message, now).map_err(violation)?;
            self.inbound.handle_time(now).map_err(violation)?;
            return Ok(Next::GoOn);
        }
        if !deaf {
            let read = scene.network.read(&mut scene.clock, plug, self.decoder.spaces());
            match read {
                Read::Bytes(n) => {
                    self.decoder.filled(n);
                    return Ok(Next::GoOn);
                }
                Read::Nothing => {}
                Read::Closed => {
                    return Err(farewell(Fault::Nobodys, "it closed the connection"));
                }
                Read::Broken => return Err(farewell(Fault::Nobodys, "the connection broke")),
            }
        } else if scene.network.read(&mut scene.clock, plug, [&mut [], &mut []]) != Read::Nothing {
            return Err(farewell(Fault::Nobodys, "it closed the connection"));
        }
        let deadline = self.inbound.poll_deadline();
        if now < deadline {
            return Ok(Next::WaitUntil(deadline));
        }
        self.inbound.handle_time(now).map_err(violation)?;
        Ok(Next::GoOn)
    }
}

fn read_handshake(
    scene: &mut Scene,
    plug: Option<Plug>,
    decoder: &mut HandshakeDecoder,
    until: Instant,
) -> Result<Next, Farewell> {
    let plug = plug.expect("whoever greets is connected");
    match scene.network.read(&mut scene.clock, plug, [decoder.space(), &mut []]) {
        Read::Bytes(n) => {
            decoder.filled(n);
            Ok(Next::GoOn)
        }
        Read::Nothing if scene.clock.instant() < until => Ok(Next::WaitUntil(until)),
        Read::Nothing => Err(farewell(Fault::Nobodys, "it did not finish its handshake")),
        Read::Closed => Err(farewell(Fault::Nobodys, "it closed the connection")),
        Read::Broken => Err(farewell(Fault::Nobodys, "the connection broke")),
    }
}

fn to_main(peer: PeerKey, news: PeerNews) -> Notification {
    Notification::Peer(peer, news)
}

pub(super) fn farewell(fault: Fault, reason: &str) -> Farewell {
    Farewell { reason: reason.to_owned(), fault }
}

fn theirs(error: impl std::fmt::Display) -> Farewell {
    farewell(Fault::Theirs, &error.to_string())
}

fn violation(Violation(what): Violation) -> Farewell {
    farewell(Fault::Theirs, &what)
}
