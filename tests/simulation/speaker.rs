//! A peer's writer: it says what its machine finds to say, and waits where the real one would.

use std::collections::VecDeque;
use std::time::Duration;

use rondalla::bus::{Farewell, Fault, Notification, PeerNews, ToPeer};
use rondalla::formats::wire::{Message, PieceHeader};
use rondalla::machines::conversation::{Outbound, Speech};
use rondalla::words::id::{Block, InfoHash, PeerKey, PieceIndex};
use rondalla::words::limits;

use super::clock::{Actor, Alarm, Happening, Life};
use super::disk::Disk;
use super::line::{Call, farewell};
use super::mailbox::Mailbox;
use super::network::Plug;
use super::plan::Manner;
use super::scene::Scene;

/// Longer than any deadline of a writer.
const FAR: Duration = Duration::from_secs(100_000);

#[derive(Debug)]
pub(super) struct Speaker {
    life: Life,
    peer: PeerKey,
    manner: Manner,
    plug: Plug,
    info_hash: InfoHash,
    outbound: Outbound,
    outgoing: Vec<u8>,
    /// Of these, so many have been written.
    written: usize,
    stage: Stage,
    /// It writes until `outgoing` is empty, and has waited for the window since then.
    flushing: Option<Duration>,
    uploads: u32,
    news: Option<PeerNews>,
    farewell: Option<Farewell>,
    /// What it looks at by itself has changed while it was busy.
    changed: bool,
    alarm: Alarm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Saying,
    Reporting,
    Parting,
    Waiting {
        since: Duration,
        /// The time between two looks at the have log.
        period: Duration,
        until: Duration,
    },
    Over,
}

/// What the writer does next.
enum Next {
    GoOn,
    Wait,
}

impl Speaker {
    pub(super) fn new(
        call: &Call,
        plug: Plug,
        info_hash: InfoHash,
        outbound: Outbound,
        scene: &mut Scene,
    ) -> Self {
        let mut speaker = Self {
            life: call.life,
            peer: call.peer,
            manner: call.manner,
            plug,
            info_hash,
            outbound,
            outgoing: Vec::new(),
            written: 0,
            stage: Stage::Saying,
            flushing: None,
            uploads: 0,
            news: None,
            farewell: None,
            changed: false,
            alarm: Alarm::default(),
        };
        speaker.wake(scene);
        speaker
    }

    pub(super) fn wake(&mut self, scene: &mut Scene) {
        let now = scene.clock.now();
        self.wake_at(scene, now);
    }

    fn wake_at(&mut self, scene: &mut Scene, at: Duration) {
        self.alarm.set(&mut scene.clock, at, self.life, Actor::Writer(self.peer));
    }

    /// Why it ended the connection, if it did.
    pub(super) fn take_farewell(&mut self) -> Option<Farewell> {
        self.farewell.take()
    }

    /// What it looks at has changed. The real writer looks every now and then; this one is woken
    /// at the time of the first look that finds something.
    pub(super) fn handle_change(&mut self, scene: &mut Scene) {
        let Stage::Waiting { since, period, until } = self.stage else {
            self.changed = true;
            return;
        };
        let now = scene.clock.now();
        let periods = (now - since).as_nanos() / period.as_nanos().max(1);
        let look = since + period * u32::try_from(periods + 1).expect("a wait is not that long");
        if look < until {
            self.stage = Stage::Waiting { since, period, until: look };
            self.wake_at(scene, look);
        }
    }

    pub(super) fn run(
        &mut self,
        scene: &mut Scene,
        mailbox: &mut Mailbox,
        disk: &Disk,
        orders: &mut VecDeque<ToPeer>,
    ) {
        self.alarm.rings(&scene.clock);
        for _ in 0..100_000 {
            if let Some(news) = self.news.take() {
                let performed = Notification::Peer(self.peer, news);
                let published =
                    mailbox.publish(&mut scene.clock, Actor::Writer(self.peer), performed);
                if let Err(Notification::Peer(_, news)) = published {
                    self.news = Some(news);
                    return;
                }
            }
            match self.step(scene, disk, orders) {
                Ok(Next::GoOn) => {}
                Ok(Next::Wait) => return,
                Err(farewell) => {
                    self.stage = Stage::Over;
                    self.farewell = farewell;
                    scene.network.hang_up(&mut scene.clock, self.plug);
                    // The reader hears of it as of any closed connection.
                    let reader = Happening::Wake(self.life, Actor::Reader(self.peer));
                    scene.clock.set(scene.clock.now(), reader);
                    return;
                }
            }
        }
        panic!("the writer of {:?} goes round and round", self.peer);
    }

    fn step(
        &mut self,
        scene: &mut Scene,
        disk: &Disk,
        orders: &mut VecDeque<ToPeer>,
    ) -> Result<Next, Option<Farewell>> {
        if self.flushing.is_some() {
            return self.flush(scene);
        }
        match self.stage {
            Stage::Over => Ok(Next::Wait),
            Stage::Parting => Err(Some(farewell(Fault::Nobodys, "both sides have everything"))),
            Stage::Saying => {
                self.say(scene, disk, orders)?;
                Ok(Next::GoOn)
            }
            Stage::Reporting => {
                self.report();
                let since = scene.clock.now();
                let now = scene.clock.instant();
                let look = self.outbound.poll_deadline(now);
                if look <= now {
                    self.stage = Stage::Saying;
                    return Ok(Next::GoOn);
                }
                let period = scene.clock.time_of(look).saturating_sub(since);
                let until = scene.clock.time_of(self.outbound.poll_deadline(now + FAR));
                self.stage = Stage::Waiting { since, period, until };
                self.wake_at(scene, until);
                if std::mem::take(&mut self.changed) {
                    self.handle_change(scene);
                }
                Ok(Next::GoOn)
            }
            Stage::Waiting { until, .. } => {
                if orders.is_empty() && scene.clock.now() < until {
                    self.wake_at(scene, until);
                    return Ok(Next::Wait);
                }
                self.uploads = 0;
                self.take_orders(orders);
                self.stage = Stage::Saying;
                Ok(Next::GoOn)
            }
        }
    }

    fn say(
        &mut self,
        scene: &mut Scene,
        disk: &Disk,
        orders: &mut VecDeque<ToPeer>,
    ) -> Result<(), Option<Farewell>> {
        let now = scene.clock.instant();
        match self.outbound.poll_speech(now) {
            Some(Speech::Metadata(mut message)) => {
                if let (Message::Extended { payload, .. }, Manner::Liar | Manner::Spoiler) =
                    (&mut message, self.manner)
                {
                    *payload.last_mut().expect("it ends in metadata") ^= 1;
                }
                message.emit(&mut self.outgoing);
            }
            Some(Speech::Message(message)) => {
                message.emit(&mut self.outgoing);
                self.babble(scene);
            }
            Some(Speech::Upload(block)) => {
                self.upload(scene, disk, block)?;
                self.outbound.handle_uploaded(block.len);
                self.uploads += 1;
                if self.uploads.is_multiple_of(limits::UPLOADS_REPORTED) {
                    self.report();
                    self.take_orders(orders);
                }
            }
            Some(Speech::Farewell) => {
                self.flushing = Some(scene.clock.now());
                self.stage = Stage::Parting;
            }
            None => {
                self.flushing = Some(scene.clock.now());
                self.stage = Stage::Reporting;
            }
        }
        if self.outgoing.len() >= limits::OUTGOING_LEN_MAX {
            self.flushing = Some(scene.clock.now());
        }
        Ok(())
    }

    fn upload(
        &mut self,
        scene: &mut Scene,
        disk: &Disk,
        block: Block,
    ) -> Result<(), Option<Farewell>> {
        if self.manner == Manner::Silent {
            return Ok(());
        }
        if scene.chance(scene.chances.unreadable) {
            return Err(Some(farewell(Fault::Ours, "a block for it cannot be read")));
        }
        let data = disk[&self.info_hash].read(block);
        self.outgoing.extend(PieceHeader(block).emit());
        self.outgoing.extend(data);
        if self.manner == Manner::Spoiler && scene.rng.chance(1, 4) {
            let at = self.outgoing.len() - 1 - scene.rng.below(block.len) as usize;
            self.outgoing[at] ^= 1 << scene.rng.below(8);
        }
        Ok(())
    }

    /// What the protocol forbids, or nobody expects.
    fn babble(&mut self, scene: &mut Scene) {
        if self.manner != Manner::Babbler || !scene.rng.chance(1, 8) {
            return;
        }
        let piece = PieceIndex(scene.rng.below(400));
        let block = Block { piece, offset: scene.rng.below(70_000), len: scene.rng.below(200_000) };
        let short = vec![7; 1 + scene.rng.below(20) as usize];
        let nonsense = match scene.rng.below(12) {
            0 => Message::Have(piece),
            1 => Message::Request(block),
            2 => Message::Cancel(block),
            3 => Message::Piece { piece, offset: block.offset, data: short },
            4 => Message::Bitfield(short),
            5 => Message::Extended { id: EXTENSION, payload: short },
            6 => Message::Unknown { id: 99 },
            7 => Message::Choke,
            8 => Message::Unchoke,
            9 => Message::NotInterested,
            10 => Message::Interested,
            _ => Message::HaveAll,
        };
        nonsense.emit(&mut self.outgoing);
    }

    /// Writes what the window takes; whoever takes nothing for too long does not read.
    fn flush(&mut self, scene: &mut Scene) -> Result<Next, Option<Farewell>> {
        while self.written < self.outgoing.len() {
            let n =
                scene.write(self.plug, &self.outgoing[self.written..]).map_err(|_broken| None)?;
            if n == 0 {
                let since = self.flushing.expect("it flushes");
                if scene.clock.now() >= since + limits::WRITE_TIMEOUT {
                    return Err(Some(farewell(Fault::Theirs, "it read nothing for a minute")));
                }
                self.wake_at(scene, since + limits::WRITE_TIMEOUT);
                return Ok(Next::Wait);
            }
            self.written += n;
            self.flushing = Some(scene.clock.now());
        }
        self.outgoing.clear();
        self.written = 0;
        self.flushing = None;
        Ok(Next::GoOn)
    }

    fn take_orders(&mut self, orders: &mut VecDeque<ToPeer>) {
        orders.drain(..).for_each(|order| self.outbound.handle_order(order));
    }

    fn report(&mut self) {
        if let Some((orders, uploaded)) = self.outbound.poll_performed() {
            self.news = Some(PeerNews::Performed { orders, uploaded });
        }
    }
}

/// Of an extension that nobody offers.
const EXTENSION: u8 = 9;
