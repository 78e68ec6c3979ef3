//! Pieces that give up their memory, and blocks that the storage could not take.

use super::*;
use crate::formats::metainfo::{Draft, DraftFile};
use crate::machines::made_up;
use crate::words::id::Key;

const PEER: PeerKey = PeerKey(Key { index: 0, generation: 0 });

/// `pieces` pieces of two blocks.
fn picker(pieces: u32) -> Picker {
    let len = u64::from(pieces) * 2 * u64::from(BLOCK_LEN);
    let draft = Draft {
        name: b"t".to_vec(),
        piece_length: 2 * BLOCK_LEN,
        files: vec![DraftFile { path: vec![b"a".to_vec()], len }],
        hashes: vec![7; pieces as usize * 20],
        ..Draft::default()
    };
    Picker::new(Arc::new(Metainfo::parse(&draft.encode()).unwrap()), true)
}

fn pick(picker: &mut Picker, theirs: &[u32], room: u32, budget: &mut Budget, now: Instant) -> Pick {
    let field = SharedBitfield::zeros(picker.metainfo.pieces());
    theirs.iter().for_each(|piece| {
        field.set(PieceIndex(*piece));
    });
    let (mut place, mut rng, mut steps) = (Place::of(PEER), Rng::new(1), Steps::new());
    let mut turn =
        Turn { now, torrent: made_up::torrent_key(0), budget, rng: &mut rng, steps: &mut steps };
    let pick = picker.pick(&mut place, &field, room, &mut turn);
    picker.check();
    pick
}

fn range(piece: u32, first: u32, count: u32) -> Pick {
    Pick::Range(BlockRange { piece: PieceIndex(piece), first, count })
}

#[test]
fn what_the_storage_dropped_is_asked_for_again() {
    let (mut picker, mut budget, now) = (picker(1), Budget::new(1 << 20), made_up::start());
    assert_eq!(pick(&mut picker, &[0], 2, &mut budget, now), range(0, 0, 2));
    let block = picker.metainfo.block(PieceIndex(0), 1);
    picker.handle_stored(block, PEER, now);
    assert!(!picker.expects(block, PEER));
    picker.handle_dropped(block);
    picker.handle_dropped(block);
    assert!(picker.expects(block, PEER));
    assert_eq!(pick(&mut picker, &[0], 2, &mut budget, now), range(0, 1, 1));
}

#[test]
fn a_piece_that_nobody_sends_gives_up_its_memory() {
    let (mut picker, mut budget) = (picker(2), Budget::new(2 * u64::from(BLOCK_LEN)));
    let mut now = made_up::start();
    assert_eq!(pick(&mut picker, &[0], 2, &mut budget, now), range(0, 0, 2));
    let [first, second] = [0, 1].map(|n| picker.metainfo.block(PieceIndex(0), n));
    picker.handle_stored(first, PEER, now);
    assert_eq!(pick(&mut picker, &[1], 2, &mut budget, now), Pick::Later, "one is on its way");
    picker.put_back(second, PEER);
    assert_eq!(pick(&mut picker, &[1], 2, &mut budget, now), Pick::Later, "it may go on at once");
    now += limits::FORGO_AFTER;
    assert_eq!(pick(&mut picker, &[1], 2, &mut budget, now), Pick::Forgo(PieceIndex(0)));
    assert_eq!(pick(&mut picker, &[1], 2, &mut budget, now), Pick::Later, "as long as it is there");
    picker.handle_forgotten(PieceIndex(0), &mut budget, &mut Steps::new());
    assert_eq!(pick(&mut picker, &[1], 2, &mut budget, now), range(1, 0, 2));
    assert!(!picker.expects(second, PEER));
}
