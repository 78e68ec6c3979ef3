//! Tries, as scripts: who says what length, who is asked for what, and who is to blame.

use super::*;
use crate::machines::made_up;
use crate::words::id::Key;

const FREE: u64 = 64 << 20;
/// Metadata of three pieces, the last of one byte.
const LEN: u32 = 2 * 16_384 + 1;

/// A fetch and its time; invariants are checked after every step.
struct Drive {
    fetch: Fetch,
    now: Instant,
}

fn peer(index: u32) -> PeerKey {
    PeerKey(Key { index, generation: 0 })
}

impl Drive {
    fn new() -> Self {
        Self { fetch: Fetch::default(), now: made_up::start() }
    }

    /// A peer says a length: what it is asked for, or what is wrong.
    fn offers(&mut self, index: u32, len: u32) -> String {
        match self.fetch.handle_offer(peer(index), len, FREE, self.now) {
            Ok(()) => self.asks(index),
            Err(why) => why,
        }
    }

    fn asks(&mut self, index: u32) -> String {
        let mut steps = Steps::new();
        let ask = || self.fetch.poll_ask(peer(index), self.now, &mut steps);
        let asked: Vec<_> = std::iter::from_fn(ask).map(|piece| piece.to_string()).collect();
        self.fetch.check();
        asked.join(" ")
    }

    fn sends(&mut self, index: u32, piece: u32) -> String {
        self.sends_bytes(index, piece, metadata_piece_len(LEN, piece) as usize)
    }

    fn sends_bytes(&mut self, index: u32, piece: u32, len: usize) -> String {
        let data = vec![u8::try_from(index).unwrap(); len];
        let arrived = self.fetch.handle_piece(peer(index), piece, LEN, data);
        self.fetch.check();
        match arrived {
            Ok(Arrival::Kept) => self.asks(index),
            Ok(Arrival::Whole(len, pieces)) => {
                let senders = pieces.iter().map(|piece| piece[0].to_string());
                assert_eq!(pieces.concat().len(), len as usize);
                format!("whole of {}", senders.collect::<Vec<_>>().join(","))
            }
            Err(why) => why,
        }
    }

    fn goes(&mut self, index: u32) {
        self.fetch.handle_gone(peer(index), self.now, &mut Steps::new());
        self.fetch.check();
    }

    /// The pieces were wrong: who is guilty.
    fn wrong(&mut self) -> Option<u32> {
        let guilty = self.fetch.handle_wrong(LEN, self.now, &mut Steps::new());
        self.fetch.check();
        guilty.map(|key| key.0.index)
    }

    fn waits(&mut self, time: Duration) {
        self.now += time;
    }
}

#[test]
fn pieces_are_asked_of_several_peers_and_then_of_those_who_are_free() {
    let mut drive = Drive::new();
    assert_eq!(drive.offers(1, LEN), "0 1");
    assert_eq!(drive.offers(2, LEN), "2 0");
    assert_eq!(drive.sends(2, 2), "1");
    assert_eq!(drive.sends(2, 0), "");
    assert_eq!(drive.sends(1, 0), "", "it is of no use any more, and nobody's fault");
    assert_eq!(drive.sends(1, 1), "whole of 2,1,2");
    assert_eq!(drive.asks(2), "", "the clerk looks at it");
    assert_eq!(drive.fetch.reserved(), u64::from(LEN));
}

#[test]
fn whoever_sends_all_of_what_is_wrong_is_guilty_alone() {
    let mut drive = Drive::new();
    drive.offers(1, LEN);
    drive.sends(1, 0);
    drive.sends(1, 1);
    assert_eq!(drive.sends(1, 2), "whole of 1,1,1");
    assert_eq!(drive.wrong(), Some(1));
    drive.goes(1);
    assert_eq!(drive.fetch.reserved(), 0, "nobody is left who says this length");
}

#[test]
fn of_several_senders_nobody_is_guilty_and_the_next_try_is_one_peers() {
    let mut drive = Drive::new();
    drive.offers(1, LEN);
    drive.offers(2, LEN);
    drive.sends(2, 2);
    drive.sends(1, 0);
    assert_eq!(drive.sends(1, 1), "whole of 1,1,2");
    assert_eq!(drive.wrong(), None);
    // The second still owes two pieces of the first try, which are for nobody now.
    assert_eq!(drive.asks(1), "2 0", "all from the first that is free");
    assert_eq!(drive.sends(2, 1), "");
    assert_eq!(drive.sends(2, 0), "");
    assert_eq!(drive.sends(1, 2), "1");
    assert_eq!(drive.sends(1, 0), "");
    assert_eq!(drive.sends(1, 1), "whole of 1,1,1");
    assert_eq!(drive.wrong(), Some(1), "now it is certain");
    drive.goes(1);
    assert_eq!(drive.asks(2), "0 1");
    drive.sends(2, 0);
    drive.sends(2, 1);
    assert_eq!(drive.sends(2, 2), "whole of 2,2,2");
}

#[test]
fn what_a_peer_that_goes_was_asked_for_is_anothers_to_send() {
    let mut drive = Drive::new();
    drive.offers(1, LEN);
    drive.goes(1);
    assert_eq!(drive.fetch.reserved(), 0);
    drive.offers(1, LEN);
    assert_eq!(drive.offers(2, LEN), "2 0");
    drive.goes(1);
    drive.sends(2, 2);
    drive.sends(2, 0);
    assert_eq!(drive.sends(2, 1), "whole of 2,2,2");
    // If it goes while the clerk looks, the verdict still finds the try.
    drive.goes(2);
    assert_eq!(drive.fetch.reserved(), u64::from(LEN));
    assert_eq!(drive.wrong(), Some(2));
    assert_eq!(drive.fetch.reserved(), 0);
}

#[test]
fn whoever_alone_was_asked_and_goes_takes_its_pieces_along() {
    let mut drive = Drive::new();
    drive.offers(1, LEN);
    drive.offers(2, LEN);
    drive.sends(2, 2);
    drive.sends(1, 0);
    drive.sends(1, 1);
    drive.wrong();
    drive.goes(2);
    assert_eq!(drive.asks(1), "0 1", "it was the first that was free");
    assert_eq!(drive.offers(3, LEN), "");
    drive.sends(1, 0);
    drive.goes(1);
    assert_eq!(drive.asks(3), "0 1");
    drive.sends(3, 0);
    drive.sends(3, 1);
    assert_eq!(drive.sends(3, 2), "whole of 3,3,3");
}

#[test]
fn what_is_wrong_with_a_piece_is_said() {
    let table: [(u32, usize, &str); 5] = [
        (9, 16_384, "it answers for piece 9 of metadata, which nobody asked for"),
        (0, 1, "its piece 0 of metadata has 1 bytes, not 16384"),
        (0, 0, "its piece 0 of metadata has 0 bytes, not 16384"),
        (1, 16_383, "its piece 1 of metadata has 16383 bytes, not 16384"),
        (2, 1, "it answers for piece 2 of metadata, which nobody asked for"),
    ];
    for (piece, len, why) in table {
        let mut drive = Drive::new();
        assert_eq!(drive.offers(1, LEN), "0 1");
        assert_eq!(drive.sends_bytes(1, piece, len), why);
    }
    let mut drive = Drive::new();
    drive.offers(1, LEN);
    drive.sends(1, 0);
    assert_eq!(drive.sends(1, 0), "it answers for piece 0 of metadata, which nobody asked for");
    let other = drive.fetch.handle_piece(peer(1), 1, LEN - 1, vec![0; 16_384]);
    assert_eq!(other, Err("it says two lengths of its metadata".to_owned()));
    let stranger = drive.fetch.handle_piece(peer(7), 1, LEN, vec![0; 16_384]);
    assert!(stranger.is_err());
}

#[test]
fn lengths_that_cannot_be_are_refused_and_two_of_one_peer() {
    let mut drive = Drive::new();
    for len in [METADATA_LEN_MAX + 1, 1 << 31, u32::MAX] {
        let why = format!("its metadata of {len} bytes is longer than 16 MiB");
        assert_eq!(drive.offers(1, len), why);
    }
    assert_eq!(drive.offers(1, METADATA_LEN_MAX), "0 1");
    assert_eq!(drive.offers(1, METADATA_LEN_MAX), "");
    assert_eq!(drive.offers(1, 7), "it says two lengths of its metadata");
}

#[test]
fn liars_about_the_length_make_room_after_their_time() {
    let mut drive = Drive::new();
    let liars = u32::try_from(METADATA_TRIES).unwrap();
    for liar in 1..=liars {
        assert_eq!(drive.offers(liar, liar), "0");
    }
    assert_eq!(drive.offers(9, LEN), "", "there are enough lengths");
    assert!(!drive.fetch.knows(peer(9)));
    drive.waits(METADATA_TRY_TIME);
    assert_eq!(drive.offers(9, LEN), "", "a second more for each piece");
    drive.waits(Duration::from_secs(1));
    assert_eq!(drive.offers(9, LEN), "0 1", "the oldest made room");
    assert_eq!(drive.asks(1), "");
    // Who had its time may still send what it owes.
    assert_eq!(drive.fetch.handle_piece(peer(1), 0, 1, vec![0]), Ok(Arrival::Kept));
    assert_eq!(drive.offers(1, 1), "0", "the next that is late makes room");
    drive.goes(1);
    assert_eq!(drive.fetch.reserved(), u64::from(LEN + 3 + 4));
}

#[test]
fn memory_is_bounded_for_all_torrents_together() {
    let mut fetch = Fetch::default();
    let now = made_up::start();
    assert_eq!(fetch.handle_offer(peer(1), LEN, u64::from(LEN) - 1, now), Ok(()));
    assert!(!fetch.knows(peer(1)));
    assert_eq!(fetch.handle_offer(peer(1), LEN, u64::from(LEN), now), Ok(()));
    assert!(fetch.knows(peer(1)));
}

#[test]
fn whoever_is_slow_alone_makes_room_for_the_next() {
    let mut drive = Drive::new();
    drive.offers(1, LEN);
    drive.offers(2, LEN);
    drive.sends(2, 2);
    drive.sends(1, 0);
    drive.sends(1, 1);
    drive.wrong();
    assert_eq!(drive.asks(1), "2 0");
    drive.sends(2, 1);
    drive.sends(2, 0);
    assert_eq!(drive.asks(2), "");
    drive.waits(METADATA_TRY_TIME + Duration::from_secs(3));
    assert_eq!(drive.asks(2), "1 0", "and what the first still owes comes last");
}

#[test]
fn a_refusal_is_a_rest_and_three_are_the_end() {
    let mut drive = Drive::new();
    assert_eq!(drive.offers(1, LEN), "0 1");
    assert_eq!(drive.fetch.handle_refusal(peer(1), 0), Ok(()));
    assert_eq!(drive.asks(1), "");
    drive.fetch.rest_is_over(peer(1));
    assert_eq!(drive.asks(1), "0");
    assert_eq!(drive.fetch.handle_refusal(peer(1), 0), Ok(()));
    let why = "it refuses the metadata that it offered".to_owned();
    assert_eq!(drive.fetch.handle_refusal(peer(1), 1), Err(why));
    assert!(drive.fetch.handle_refusal(peer(1), 1).is_err(), "it was not asked for that");
}

#[test]
fn whoever_owes_a_piece_for_too_long_is_known() {
    let mut drive = Drive::new();
    drive.offers(1, LEN);
    drive.waits(METADATA_ANSWER_MAX - Duration::from_millis(1));
    assert!(!drive.fetch.is_overdue(peer(1), drive.now));
    drive.waits(Duration::from_millis(1));
    assert!(drive.fetch.is_overdue(peer(1), drive.now));
    assert!(!drive.fetch.is_overdue(peer(2), drive.now));
}

#[test]
fn the_idle_take_turns() {
    let mut drive = Drive::new();
    let many = u32::try_from(METADATA_WAKES).unwrap() + 3;
    for index in 0..many {
        drive.fetch.handle_offer(peer(index), LEN, FREE, drive.now).unwrap();
    }
    let mut woken: Vec<_> = drive.fetch.poll_idle();
    woken.extend(drive.fetch.poll_idle());
    woken.extend(drive.fetch.poll_idle());
    woken.sort_unstable();
    woken.dedup();
    assert_eq!(woken, (0..many).map(peer).collect::<Vec<_>>());
}

#[test]
fn what_is_owed_from_a_try_that_made_room_counts_in_the_next() {
    let mut drive = Drive::new();
    assert_eq!(drive.offers(1, LEN), "0 1");
    drive.waits(Duration::from_secs(1));
    let liars = u32::try_from(METADATA_TRIES).unwrap() - 1;
    for liar in 2..2 + liars {
        drive.offers(liar, liar);
    }
    drive.waits(METADATA_TRY_TIME + Duration::from_secs(3));
    assert_eq!(drive.offers(9, 9), "0", "a try that is late made room");
    drive.goes(9);
    assert!(!drive.fetch.tries.contains_key(&LEN));
    assert_eq!(drive.offers(1, LEN), "", "it owes as much as it may");
    assert_eq!(drive.sends(1, 1), "2");
    drive.sends(1, 0);
    assert_eq!(drive.sends(1, 2), "whole of 1,1,1");
}
