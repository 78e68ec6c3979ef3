//! A piece that was wrong is asked of one peer alone, as long as it sends.

use super::tests::{BLOCKS, Game};
use super::*;
use crate::machines::made_up;

/// The peers of `senders` send the blocks of piece 0, which is wrong; who is banned.
fn spoil(game: &mut Game, senders: [u32; 4]) -> Option<u32> {
    assert_eq!(game.pick(0, BLOCKS), "0:0+4");
    (0..).zip(senders).for_each(|(block, sender)| game.stores(sender, 0, block));
    let (budget, mut steps) = (&mut game.budget, Steps::new());
    let banned = game.picker.handle_corrupt(PieceIndex(0), budget, &mut steps);
    game.check();
    banned.map(|peer| peer.0.index)
}

/// The peer goes, or stalls: what it was asked for is put back, and its lease ends.
fn abandons(game: &mut Game, peer: usize) -> Option<PieceIndex> {
    let outstanding: Vec<_> = game.picker.outstanding.asked().map(|(block, _)| block).collect();
    for (piece, number) in outstanding {
        let block = game.picker.metainfo.block(piece, number);
        game.picker.put_back(block, made_up::peer(u32::try_from(peer).unwrap()));
    }
    let (budget, mut steps) = (&mut game.budget, Steps::new());
    let forgotten = game.picker.abandon(&mut game.peers[peer].1, budget, &mut steps);
    game.check();
    forgotten
}

fn forgotten(game: &mut Game, piece: u32) {
    let (budget, mut steps) = (&mut game.budget, Steps::new());
    game.picker.handle_forgotten(PieceIndex(piece), budget, &mut steps);
    game.check();
}

#[test]
fn what_was_wrong_is_asked_of_one_who_took_no_part() {
    let mut game = Game::new(1, 9).peers(&["#", "#", "#", "#"]);
    assert_eq!(spoil(&mut game, [0, 1, 0, 0]), None, "two took part");
    assert_eq!([game.pick(0, 4), game.pick(1, 4)], ["later", "later"], "they are passed over");
    assert_eq!(game.pick(2, 2), "0:0+2");
    assert_eq!(game.pick(3, 4), "nothing", "another is not asked for the rest");
    assert_eq!(game.pick(2, 4), "0:2+2");
    assert_eq!(game.pick(3, 4), "nothing", "not even in the endgame");
    (0..BLOCKS).for_each(|block| game.stores(2, 0, block));
    let (budget, mut steps) = (&mut game.budget, Steps::new());
    let banned = game.picker.handle_corrupt(PieceIndex(0), budget, &mut steps);
    assert_eq!(banned, Some(made_up::peer(2)), "who alone sent it wrong is known");
    assert_eq!(game.picker.suspect(PieceIndex(0), 1), Some(made_up::peer(1)), "of the first time");
}

#[test]
fn who_took_part_is_asked_when_nobody_else_has_it_or_wants_to() {
    let mut game = Game::new(1, 9).peers(&["#", "#"]);
    spoil(&mut game, [0, 1, 1, 1]);
    assert_eq!(game.pick(1, 4), "0:0+4", "there is nobody else");
    let mut game = Game::new(1, 9).peers(&["#", "#", "#"]);
    spoil(&mut game, [0, 1, 1, 1]);
    let tries = (0..).take_while(|_| game.pick(1, 4) == "later").count();
    assert_eq!(tries, limits::DENIALS_MAX as usize, "the other never came");
    assert_eq!(game.drawn(), "????");
}

#[test]
fn silent_ones_who_take_turns_keep_nobody_away_for_ever() {
    let mut game = Game::new(1, 9).peers(&["#", "#", "#", "#"]);
    spoil(&mut game, [0, 1, 1, 1]);
    let max = limits::DENIALS_MAX as usize;
    let is_passed_over = |turn: &usize| {
        let silent = 2 + turn % 2;
        assert_eq!(game.pick(silent, 4), "0:0+4");
        assert_eq!(abandons(&mut game, silent), None);
        game.pick(1, 4) == "later"
    };
    assert_eq!((0..=max).take_while(is_passed_over).count(), max);
    assert_eq!(game.drawn(), "????", "who took part is asked");
}

#[test]
fn another_begins_anew_when_the_one_goes() {
    let mut game = Game::new(1, 1).peers(&["#", "#", "#", "#"]);
    spoil(&mut game, [0, 1, 1, 1]);
    assert_eq!(game.pick(2, 4), "0:0+4");
    assert_eq!(abandons(&mut game, 2), None, "nothing has come");
    assert_eq!((game.drawn().as_str(), game.budget.reserved()), ("----", 0));
    assert_eq!(game.pick(3, 3), "0:0+3");
    game.stores(3, 0, 1);
    assert_eq!(abandons(&mut game, 3), Some(PieceIndex(0)), "the storage has a block of it");
    assert_eq!(game.pick(2, 4), "nothing", "as long as it has");
    assert!(game.budget.reserved() > 0);
    forgotten(&mut game, 0);
    assert_eq!(game.pick(2, 4), "0:0+4", "the block of another is not mixed with its own");
}

#[test]
fn a_choke_ends_no_lease_and_some_rounds_without_a_share_do() {
    let mut game = Game::new(2, 9).peers(&["##", "##", "##", "##"]);
    game.picker.sequential = true;
    spoil(&mut game, [0, 1, 1, 1]);
    assert_eq!(game.pick(2, 1), "1:0+1", "what is right comes first");
    assert_eq!(game.pick(3, 3), "1:1+3");
    assert_eq!(game.pick(3, 2), "0:0+2");
    game.put_back(0, 1);
    game.stores(3, 0, 0);
    assert_eq!(game.pick(2, 4), "1:1+1", "it is kept for it, and others help elsewhere");
    let round = |game: &mut Game| {
        let (budget, mut steps) = (&mut game.budget, Steps::new());
        let ended = game.picker.end_leases(budget, &mut steps);
        game.check();
        ended
    };
    for _ in 0..limits::LEASE_ROUNDS {
        assert_eq!(round(&mut game), [], "a block has come in the first of them");
    }
    assert_eq!(game.pick_of(&[0], 3, 1), "0:1+1", "it may still go on");
    assert_eq!(round(&mut game), [PieceIndex(0)]);
    forgotten(&mut game, 0);
    assert_eq!(game.pick(2, 4), "0:0+4");
}

#[test]
fn a_peer_has_one_lease_at_a_time() {
    let mut game = Game::new(2, 9).peers(&["##", "##", "##"]);
    for piece in ["0", "1"] {
        game.picker.sequential = true;
        assert_eq!(game.pick(0, 4), format!("{piece}:0+4"));
    }
    for piece in 0..2 {
        (0..BLOCKS).for_each(|block| game.stores(block % 2, piece, block));
        let (budget, mut steps) = (&mut game.budget, Steps::new());
        assert_eq!(game.picker.handle_corrupt(PieceIndex(piece), budget, &mut steps), None);
    }
    assert_eq!(game.pick(2, 4), "0:0+4");
    assert_eq!(game.pick(2, 4), "nothing", "the other would be lost with it as well");
    (0..BLOCKS).for_each(|block| game.stores(2, 0, block));
    assert_eq!(game.pick(2, 4), "1:0+4", "when it has sent all of the first");
}
