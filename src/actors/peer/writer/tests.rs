//! A writer rests and goes on, in each order in which that can meet with orders and the end.

use std::time::Duration;

use crossbeam_channel::bounded;

use super::super::tests::{Main, join_writer, late, says, thread};
use super::*;
use crate::actors::messenger::in_memory::MemoryMessenger;
use crate::formats::wire::Message;
use crate::words::have_log::Publisher;

/// A peer of a torrent to which nothing is added any more, and the writer, which has greeted.
struct Resting {
    main: Main,
    far: MemoryMessenger,
}

impl Resting {
    fn new() -> (Self, Box<Writer>) {
        let main = Main::new();
        main.context.growing.store(false, Ordering::Release);
        let (mut writer, mut far, _shared) = main.writer();
        writer.greet().unwrap();
        assert!(matches!(hears(&mut far), Message::Bitfield(_)), "it was said without a thread");
        (Self { main, far }, writer)
    }

    fn desk(&self) -> &Desk {
        &self.main.line.desk
    }

    fn orders(&self, order: ToPeer) {
        self.main.orders.try_send(order).unwrap();
    }

    fn has_had_thread(&self) -> bool {
        self.desk().sheet.lock().thread.is_some()
    }

    /// Main lets go of the peer, whose reader has ended.
    fn end(self) {
        self.main.line.hang_up();
        self.desk().clear();
        let Self { main, .. } = self;
        let line = Arc::clone(&main.line);
        drop(main);
        join_writer(&line);
        assert_eq!(Arc::strong_count(&line), 1, "nothing of the writer is left");
    }
}

fn hears(far: &mut MemoryMessenger) -> Message {
    far.receive(4, late()).unwrap().unwrap()
}

#[test]
fn whoever_has_nothing_to_say_rests_until_an_order_comes() {
    let (mut peer, writer) = Resting::new();
    peer.desk().begin(writer).unwrap();
    assert!(!peer.has_had_thread());
    peer.orders(ToPeer::Unchoke);
    assert!(peer.desk().claim(), "it rests");
    assert!(!peer.desk().claim(), "and one alone lets it go on");
    peer.main.line.go_on();
    assert_eq!(hears(&mut peer.far), Message::Unchoke);
    assert!(peer.has_had_thread());
    peer.orders(ToPeer::Choke);
    assert!(!peer.desk().claim(), "it does not rest right after an order");
    assert_eq!(hears(&mut peer.far), Message::Choke);
    peer.end();
}

#[test]
fn an_order_that_comes_while_a_writer_lies_down_is_not_lost() {
    // Before it lies down: it does not.
    let (peer, writer) = Resting::new();
    peer.orders(ToPeer::Unchoke);
    let writer = peer.desk().lay_down(writer, late()).expect("there is an order");
    assert!(!peer.desk().claim());
    drop(writer);
    peer.end();
    // At the same time: each order is met by the writer, or by main's claim, and never by both.
    let (mut peer, mut writer) = Resting::new();
    let (to_lie_down, writers) = bounded::<Box<Writer>>(1);
    let (to_main, given_back) = bounded(1);
    let line = Arc::clone(&peer.main.line);
    let lies_down = thread(move || {
        for writer in writers {
            to_main.try_send(line.desk.lay_down(writer, late())).unwrap();
        }
    });
    for _ in 0..20_000 {
        to_lie_down.try_send(writer).unwrap();
        peer.orders(ToPeer::Unchoke);
        let claimed = peer.desk().claim();
        let back = given_back.recv().unwrap();
        assert_eq!(claimed, back.is_none(), "one of the two lets it go on");
        let resting = || peer.desk().sheet.lock().resting.take().unwrap().0;
        writer = back.unwrap_or_else(resting);
        writer.say_all().unwrap();
        assert_eq!(hears(&mut peer.far), Message::Unchoke);
        assert!(matches!(peer.main.news(), PeerNews::Performed { orders: 1, .. }));
    }
    drop((writer, to_lie_down));
    lies_down.join().unwrap();
    peer.end();
}

#[test]
fn a_writer_goes_on_when_it_is_time_for_what_it_says_by_itself() {
    let (peer, writer) = Resting::new();
    let until = writer.rest_until(now()).expect("it has said everything");
    peer.desk().begin(writer).unwrap();
    assert!(!peer.desk().claim_due(until - Duration::from_secs(1)));
    assert!(peer.desk().claim_due(until));
    assert!(!peer.desk().claim_due(until), "once");
    assert!(until <= now() + limits::KEEP_ALIVE_EVERY);
    peer.end();
}

#[test]
fn the_reader_lets_a_writer_go_on_that_is_due() {
    let (peer, writer) = Resting::new();
    let (reader, mut far, _shared) = peer.main.reader();
    assert!(peer.desk().lay_down(writer, now()).is_none());
    says(&mut far, &Message::Interested);
    assert!(matches!(peer.main.news(), PeerNews::Interested));
    says(&mut far, &Message::NotInterested);
    assert!(matches!(peer.main.news(), PeerNews::NotInterested));
    assert!(peer.has_had_thread());
    far.line().hang_up();
    reader.join().unwrap();
    peer.end();
}

#[test]
fn a_greeting_that_may_not_fit_is_said_by_the_writer() {
    let main = Main::new();
    main.context.growing.store(false, Ordering::Release);
    let (mut writer, mut far, _shared) = main.writer();
    let payload = vec![0; limits::GREETING_LEN_MAX];
    let long = Message::Extended { id: 1, payload };
    let context = Arc::clone(&main.context);
    let shared = Arc::new(crate::bus::PeerShared::new(4));
    writer.outbound = Box::new(Outbound::new(context, shared, false, vec![long], now()));
    writer.greet().unwrap();
    assert!(writer.rest_until(now()).is_none(), "it has everything to say");
    main.line.desk.begin(writer).unwrap();
    assert!(matches!(hears(&mut far), Message::Bitfield(_)));
    assert!(matches!(hears(&mut far), Message::Extended { id: 1, .. }));
    Resting { main, far }.end();
}

#[test]
fn whoever_looks_at_the_have_log_has_a_thread() {
    let main = Main::new();
    let (mut writer, mut far, _shared) = main.writer();
    writer.greet().unwrap();
    main.line.desk.begin(writer).unwrap();
    assert!(matches!(hears(&mut far), Message::Bitfield(_)));
    let publish = |publisher: &mut Publisher| publisher.publish(crate::words::id::PieceIndex(1));
    let mut peer = Resting { main, far };
    publish(&mut peer.main.publisher);
    assert!(matches!(hears(&mut peer.far), Message::Have(_)));
    assert!(peer.has_had_thread());
    peer.end();
}

#[test]
fn the_end_of_a_connection_ends_a_writer_that_rests() {
    let (peer, writer) = Resting::new();
    peer.desk().begin(writer).unwrap();
    peer.end();
    // The end may come first, and a claim find nobody.
    let (peer, writer) = Resting::new();
    peer.main.line.hang_up();
    peer.desk().clear();
    assert!(peer.desk().lay_down(writer, late()).is_none());
    assert!(!peer.desk().claim());
    peer.main.line.go_on();
    assert!(!peer.has_had_thread());
    peer.end();
}
