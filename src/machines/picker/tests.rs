//! A game of one torrent whose pieces have four blocks, drawn piece by piece: `----` unopened,
//! `#?..` open with a block here, one asked for and two to ask for, `====` done with. Every move
//! checks all invariants.

use super::*;
use crate::machines::made_up;
use crate::words::limits::SCAN_MAX;

pub(super) const BLOCKS: u32 = 4;
const PIECE_LEN: u32 = BLOCKS * BLOCK_LEN;

pub(super) struct Game {
    pub(super) picker: Picker,
    pub(super) budget: Budget,
    size: u64,
    rng: Rng,
    now: Instant,
    pub(super) peers: Vec<(SharedBitfield, Place)>,
}

impl Game {
    /// A torrent of so many pieces, and memory for so many open ones.
    pub(super) fn new(pieces: u32, memory: u32) -> Self {
        Self::of(pieces, u64::from(memory) * u64::from(PIECE_LEN))
    }

    /// One in which the order of the pieces counts.
    fn sequential(pieces: u32) -> Self {
        let mut game = Self::new(pieces, pieces);
        game.picker.sequential = true;
        game
    }

    fn of(pieces: u32, size: u64) -> Self {
        let len = u64::from(pieces) * u64::from(PIECE_LEN);
        let metainfo = Arc::new(made_up::torrent("t", PIECE_LEN, len));
        let picker = Picker::new(metainfo, false);
        let (budget, rng, now) = (Budget::new(size), Rng::new(1), made_up::start());
        Self { picker, budget, size, rng, now, peers: Vec::new() }
    }

    /// Peers with these pieces come.
    pub(super) fn peers(mut self, pictures: &[&str]) -> Self {
        pictures.iter().for_each(|picture| self.joins(made_up::shared(picture)));
        self
    }

    fn joins(&mut self, theirs: SharedBitfield) {
        made_up::words(&theirs).for_each(|w| self.picker.handle_gained(w, &mut Steps::new()));
        let peer = u32::try_from(self.peers.len()).unwrap();
        self.peers.push((theirs, Place::of(made_up::peer(peer))));
        self.check();
    }

    /// `peer` sends HAVE.
    fn gains(&mut self, peer: usize, piece: u32) {
        let piece = PieceIndex(piece);
        if self.peers[peer].0.set(piece) {
            self.picker.handle_gained(Word::of(piece), &mut Steps::new());
        }
        self.check();
    }

    /// What `peer` has is taken back, word by word.
    fn leaves(&mut self, peer: usize) {
        let (theirs, _) = &mut self.peers[peer];
        made_up::words(theirs).for_each(|w| self.picker.handle_lost(w, &mut Steps::new()));
        *theirs = SharedBitfield::zeros(theirs.len());
        self.check();
    }

    fn try_pick(&mut self, peer: usize, room: u32) -> (Pick, u32) {
        let (theirs, place) = &mut self.peers[peer];
        let (budget, rng, mut steps) = (&mut self.budget, &mut self.rng, Steps::new());
        let mut turn = Turn {
            now: self.now,
            torrent: made_up::torrent_key(0),
            budget,
            rng,
            steps: &mut steps,
        };
        let pick = self.picker.pick(place, theirs, room, &mut turn);
        self.check();
        (pick, steps.taken())
    }

    /// What `peer` is asked for, as `piece:block+count`.
    pub(super) fn pick(&mut self, peer: usize, room: u32) -> String {
        drawn(self.try_pick(peer, room).0)
    }

    /// The same while it allows only these pieces.
    pub(super) fn pick_of(&mut self, pieces: &[u32], peer: usize, room: u32) -> String {
        let pieces: Vec<_> = pieces.iter().copied().map(PieceIndex).collect();
        let (theirs, place) = &mut self.peers[peer];
        let (budget, rng, mut steps) = (&mut self.budget, &mut self.rng, Steps::new());
        let mut turn = Turn {
            now: self.now,
            torrent: made_up::torrent_key(0),
            budget,
            rng,
            steps: &mut steps,
        };
        let pick = self.picker.pick_of(&pieces, place, theirs, room, &mut turn);
        self.check();
        drawn(pick)
    }

    fn unwanted(&mut self, piece: u32) {
        self.picker.handle_unwanted(PieceIndex(piece), &mut Steps::new());
        self.check();
    }

    /// Picks until the answer is no longer `Later`: the answer and how often it was.
    fn pick_on(&mut self, peer: usize) -> (Pick, u32) {
        let mut later = 0;
        loop {
            match self.try_pick(peer, BLOCKS).0 {
                Pick::Later | Pick::Forgo(_) => later += 1,
                pick @ (Pick::Range(_) | Pick::Nothing) => return (pick, later),
            }
            assert!(later < 10_000, "it comes to an end");
        }
    }

    fn block(&self, piece: u32, block: u32) -> Block {
        self.picker.metainfo.block(PieceIndex(piece), block)
    }

    /// A block arrives from `peer`.
    pub(super) fn stores(&mut self, peer: u32, piece: u32, block: u32) {
        self.picker.handle_stored(self.block(piece, block), made_up::peer(peer), self.now);
        self.check();
    }

    /// A block will not come.
    pub(super) fn put_back(&mut self, piece: u32, block: u32) {
        let asked = (PieceIndex(piece), block);
        let askers = self.picker.outstanding.asked().find(|(outstanding, _)| *outstanding == asked);
        let asker = askers.and_then(|(_, askers)| askers.iter().next()).unwrap_or_default();
        self.picker.put_back(self.block(piece, block), asker);
        self.check();
    }

    pub(super) fn verified(&mut self, piece: u32) {
        self.picker.handle_verified(PieceIndex(piece), &mut self.budget, &mut Steps::new());
        self.check();
    }

    /// The hash was wrong: the number of the peer that sent all of the piece, if it was one.
    fn corrupt(&mut self, piece: u32) -> Option<u32> {
        let piece = PieceIndex(piece);
        self.picker.handle_corrupt(piece, &mut self.budget, &mut Steps::new());
        self.check();
        let suspects = (0..BLOCKS).filter_map(|block| self.picker.suspect(piece, block));
        let mut suspects: Vec<_> = suspects.map(|peer| peer.0.index).collect();
        suspects.dedup();
        (suspects.len() == 1).then(|| suspects[0])
    }

    pub(super) fn drawn(&self) -> String {
        let pieces = (0..self.picker.metainfo.pieces()).map(PieceIndex);
        pieces.map(|piece| self.drawn_piece(piece)).collect::<Vec<_>>().join(" ")
    }

    fn drawn_piece(&self, piece: PieceIndex) -> String {
        let Some(open) = self.picker.open.get(&piece) else {
            let taken = self.picker.taken.get(piece);
            return if taken { "====" } else { "----" }.to_owned();
        };
        let block = |block: PieceIndex| match (open.stored.get(block), open.asked.get(block)) {
            (true, _) => '#',
            (false, true) => '?',
            (false, false) => '.',
        };
        (0..BLOCKS).map(PieceIndex).map(block).collect()
    }

    pub(super) fn check(&self) {
        self.picker.check();
        assert_eq!(self.budget.reserved(), self.picker.reserved(self.size));
    }
}

fn drawn(pick: Pick) -> String {
    match pick {
        Pick::Range(BlockRange { piece, first, count }) => format!("{}:{first}+{count}", piece.0),
        Pick::Nothing => "nothing".to_owned(),
        Pick::Later => "later".to_owned(),
        Pick::Forgo(piece) => format!("forgo {}", piece.0),
    }
}

#[test]
fn open_pieces_come_before_the_rarest() {
    let mut game = Game::new(4, 9).peers(&["##..", "##.#", "###."]);
    assert_eq!(game.pick(2, 3), "2:0+3", "only one peer has it");
    assert_eq!(game.drawn(), "---- ---- ???. ----");
    assert_eq!(game.pick(1, 2), "3:0+2", "and only another one has this");
    assert_eq!(game.drawn(), "---- ---- ???. ??..");
    assert_eq!(game.pick(2, 4), "2:3+1", "what it began comes before what is new to all");
    assert_eq!(game.drawn(), "---- ---- ???? ??..");
    game.gains(0, 3);
    assert_eq!(game.pick(0, 9), "3:2+2", "another peer's open piece, before one unopened");
    assert_eq!(game.drawn(), "---- ---- ???? ????");
}

#[test]
fn a_peer_goes_on_with_its_own_piece() {
    let mut game = Game::new(2, 9).peers(&["##", "##"]);
    game.gains(0, 0);
    let first = game.pick(0, 1);
    let own = first.split(':').next().unwrap();
    // The other peer opens the other piece, once the first one is all asked for.
    assert_eq!(game.pick(1, 3), format!("{own}:1+3"));
    let second = game.pick(1, 1);
    game.put_back(own.parse().unwrap(), 2);
    assert_eq!(game.pick(1, 1), second.replace(":0", ":1"), "not the lowest, but its own");
    assert_eq!(game.pick(0, 1), format!("{own}:2+1"));
}

#[test]
fn what_is_put_back_is_asked_for_again() {
    let mut game = Game::new(2, 9).peers(&["#.", "#."]);
    assert_eq!(game.pick(0, 4), "0:0+4");
    assert_eq!(game.pick(1, 4), "nothing");
    game.stores(0, 0, 1);
    (0..BLOCKS).for_each(|block| game.put_back(0, block));
    assert_eq!(game.drawn(), ".#.. ----", "what is here stays");
    assert_eq!(game.pick(1, 4), "0:0+1", "a range has no holes");
    assert_eq!(game.pick(1, 4), "0:2+2");
    assert_eq!(game.drawn(), "?#?? ----");
}

#[test]
fn in_the_endgame_each_block_is_asked_of_three() {
    let mut game = Game::new(1, 9).peers(&["#"; 5]);
    assert_eq!(game.pick(0, 3), "0:0+3");
    assert_eq!(game.pick(1, 4), "0:3+1", "first what nobody was asked for");
    assert!(game.picker.is_all_asked());
    let asked = |game: &mut Game, peer| [0; 5].map(|_| game.pick(peer, 4)).join(" ");
    assert_eq!(asked(&mut game, 1), "0:0+1 0:1+1 0:2+1 nothing nothing");
    assert_eq!(asked(&mut game, 2), "0:0+1 0:1+1 0:2+1 0:3+1 nothing");
    assert_eq!(asked(&mut game, 3), "0:3+1 nothing nothing nothing nothing");
    assert_eq!(asked(&mut game, 4), "nothing nothing nothing nothing nothing");
    let askers = game.picker.handle_stored(game.block(0, 0), made_up::peer(2), game.now);
    assert_eq!(askers.iter().collect::<Vec<_>>(), [0, 1, 2].map(made_up::peer));
    assert_eq!(game.drawn(), "#???");
}

#[test]
fn a_block_with_another_asker_is_not_put_back() {
    let mut game = Game::new(1, 9).peers(&["#", "#"]);
    assert_eq!((game.pick(0, 4), game.pick(1, 4)), ("0:0+4".to_owned(), "0:0+1".to_owned()));
    game.put_back(0, 0);
    assert_eq!(game.drawn(), "????");
    game.put_back(0, 0);
    assert_eq!(game.drawn(), ".???");
}

#[test]
fn a_sequence_is_kept_however_rare_the_pieces_are() {
    let mut game = Game::sequential(4).peers(&["####", "####", "#.#."]);
    let asked: Vec<_> = (0..4).map(|peer| game.pick(peer % 2, 4)).collect();
    assert_eq!(asked, ["0:0+4", "1:0+4", "2:0+4", "3:0+4"]);
    let mut game = Game::sequential(4).peers(&["####", ".#.#"]);
    let asked = [(1, 2), (0, 4), (0, 4), (1, 4)].map(|(peer, room)| game.pick(peer, room));
    assert_eq!(asked, ["1:0+2", "1:2+2", "0:0+4", "3:0+4"], "of what each peer has");
}

/// What is asked for as a neighbour lies in the same stretch as its piece, and is as rare as any.
#[test]
fn a_peer_is_asked_for_neighbours_as_long_as_they_are_as_rare_as_any() {
    let stretch = u32::try_from(limits::WRITE_LEN / u64::from(PIECE_LEN)).unwrap();
    let all = "#".repeat(2 * stretch as usize);
    let mut game = Game::new(2 * stretch, 2 * stretch).peers(&[&all, &all]);
    let ask = |game: &mut Game| -> u32 {
        let asked = game.pick(0, BLOCKS);
        asked.split_once(':').unwrap().0.parse().unwrap()
    };
    let first = ask(&mut game);
    let end = (first / stretch + 1) * stretch;
    let common = end - 1;
    for piece in first + 1..common {
        assert_eq!(ask(&mut game), piece);
    }
    // The last of the stretch is more common than others: one of those is next.
    let one = |piece| if piece == common { '#' } else { '.' };
    game.joins(made_up::shared(&(0..2 * stretch).map(one).collect::<String>()));
    let elsewhere = ask(&mut game);
    assert!(!(first..end).contains(&elsewhere) || elsewhere < first, "{first}: {elsewhere}");
}

#[test]
fn what_is_not_wanted_is_never_asked_for() {
    let mut game = Game::new(3, 9).peers(&["###", ".#."]);
    game.unwanted(1);
    assert_eq!(game.drawn(), "---- ==== ----");
    assert_eq!(game.pick(1, 4), "nothing");
    (0..2).for_each(|_| assert!(game.pick(0, 4).ends_with(":0+4")));
    assert!(game.picker.is_all_asked(), "with what is not wanted left out");
    assert_eq!(game.drawn(), "???? ==== ????");
}

#[test]
fn of_whoever_chokes_us_only_allowed_pieces_are_asked() {
    let mut game = Game::new(4, 9).peers(&["##.#"]);
    assert_eq!(game.pick_of(&[2], 0, 4), "nothing", "it has not got it");
    assert_eq!(game.pick_of(&[2, 3], 0, 3), "3:0+3");
    assert_eq!(game.pick_of(&[2, 3], 0, 3), "3:3+1", "an open one");
    assert_eq!(game.pick_of(&[2, 3], 0, 3), "nothing");
    assert_eq!(game.drawn(), "---- ---- ---- ????");
}

#[test]
fn who_sent_what_when_it_was_wrong_is_kept_until_it_is_right() {
    let mut game = Game::new(1, 1).peers(&["#", "#"]);
    for sender in 0..2 {
        assert_eq!(game.pick(sender, 4), "0:0+4");
        (0..BLOCKS).for_each(|block| game.stores(u32::try_from(sender).unwrap(), 0, block));
        assert_eq!(game.corrupt(0), Some(0), "those of the first time");
    }
    game.verified(0);
    assert_eq!(game.picker.suspect(PieceIndex(0), 0), None);
}

#[test]
fn only_missing_blocks_of_open_pieces_are_expected() {
    let mut game = Game::new(2, 9).peers(&["#."]);
    game.pick(0, 1);
    game.stores(0, 0, 0);
    let expected = [(0, 0, false), (0, 1, true), (1, 0, false)];
    for (piece, block, expects) in expected {
        assert_eq!(
            game.picker.expects(game.block(piece, block), made_up::peer(0)),
            expects,
            "{piece}:{block}"
        );
    }
    game.verified(0);
    assert!(!game.picker.expects(game.block(0, 1), made_up::peer(0)));
    assert_eq!(game.drawn(), "==== ----");
}

#[test]
fn a_corrupt_piece_is_opened_again_and_a_lone_sender_is_named() {
    let table: [(&[u32; 4], Option<u32>); 3] =
        [(&[0, 0, 0, 0], Some(0)), (&[1, 1, 1, 1], Some(1)), (&[0, 1, 0, 0], None)];
    for (senders, blamed) in table {
        let mut game = Game::new(2, 1).peers(&["#.", "#.", "#."]);
        assert_eq!(game.pick(0, 4), "0:0+4");
        (0..).zip(senders).for_each(|(block, sender)| game.stores(*sender, 0, block));
        assert_eq!(game.drawn(), "#### ----");
        assert_eq!(game.corrupt(0), blamed, "{senders:?}");
        assert_eq!((game.drawn().as_str(), game.budget.reserved()), ("---- ----", 0));
        assert_eq!(game.pick(2, 2), "0:0+2");
    }
}

#[test]
fn the_budget_bounds_what_is_open() {
    let mut game = Game::new(3, 2).peers(&["###"]);
    let mut opened: Vec<String> = (0..2).map(|_| game.pick(0, 4)).collect();
    assert_eq!(game.pick(0, 4), "later", "a third piece finds no memory");
    assert_eq!(game.budget.reserved(), 2 * u64::from(PIECE_LEN));
    game.verified(opened.pop().unwrap()[..1].parse().unwrap());
    assert_ne!(game.pick(0, 4), "later", "a verified piece gives its memory back");
    game.picker.close_all(&mut game.budget, &mut Steps::new());
    game.check();
    assert_eq!(game.budget.reserved(), 0);
}

#[test]
fn a_piece_larger_than_the_budget_takes_all_of_it() {
    let mut game = Game::of(2, u64::from(PIECE_LEN) / 2).peers(&["##"]);
    assert!(game.pick(0, 4).ends_with(":0+2"), "no more than the budget holds");
    assert_eq!(game.budget.reserved(), u64::from(PIECE_LEN) / 2);
    assert_eq!(game.pick(0, 4), "later", "one at a time");
}

#[test]
fn no_more_than_so_many_pieces_are_open() {
    let open_max = u32::try_from(limits::OPEN_MAX).unwrap();
    let mut game = Game::new(open_max + 1, open_max + 1);
    game.joins(SharedBitfield::ones(open_max + 1));
    (0..open_max).for_each(|_| assert_ne!(game.pick(0, 4), "later"));
    assert_eq!(game.pick(0, 4), "later");
}

#[test]
fn nothing_is_said_only_after_a_whole_scan() {
    let mut game = Game::new(3, 9).peers(&["...", "##.", "#.."]);
    assert_eq!(game.pick(0, 4), "nothing");
    assert!(game.pick(1, 4).ends_with(":0+4") && game.pick(1, 4).ends_with(":0+4"));
    assert_eq!(game.pick(2, 4), "nothing", "all that it has is asked for");
    game.put_back(0, 3);
    assert_eq!(game.pick(2, 4), "0:3+1");
}

/// More pieces than one scan looks at, in a swarm in which a poor peer's few are among the common.
fn wide(poor: &[u32]) -> Game {
    let pieces = 3 * SCAN_MAX * WORD_BITS;
    let mut game = Game::new(pieces, 9);
    game.joins(SharedBitfield::ones(pieces));
    let theirs = SharedBitfield::zeros(pieces);
    poor.iter().for_each(|piece| {
        theirs.set(PieceIndex(*piece));
    });
    game.joins(theirs);
    game
}

#[test]
fn a_scan_that_is_not_through_says_later_and_goes_on() {
    let last = 3 * SCAN_MAX * WORD_BITS - 1;
    let mut game = wide(&[last]);
    let range = BlockRange { piece: PieceIndex(last), first: 0, count: BLOCKS };
    assert_eq!(game.pick_on(1), (Pick::Range(range), 2), "three scans long");
    let (pick, later) = wide(&[]).pick_on(1);
    assert_eq!(pick, Pick::Nothing);
    assert!((2..=3).contains(&later), "{later}");
}

#[test]
fn the_cursor_misses_nothing_that_changes_behind_it() {
    let middle = 2 * SCAN_MAX * WORD_BITS;
    // A HAVE behind a cursor that stands where the last piece was found.
    let mut game = wide(&[middle]);
    assert!(matches!(game.pick_on(1).0, Pick::Range(_)));
    game.gains(1, 3);
    let at_3 = BlockRange { piece: PieceIndex(3), first: 0, count: BLOCKS };
    assert_eq!(game.pick_on(1).0, Pick::Range(at_3));

    // A HAVE behind a cursor on its way.
    let mut game = wide(&[]);
    assert_eq!(game.pick(1, 4), "later");
    game.gains(1, 3);
    assert_eq!(game.pick_on(1).0, Pick::Range(at_3));

    // A corrupt piece behind a cursor on its way.
    let mut game = wide(&[3]);
    assert_eq!(game.pick_on(1).0, Pick::Range(at_3));
    while game.try_pick(1, 4).0 != Pick::Later {}
    assert!(game.peers[1].1.cursor > 0, "it is on its way");
    game.corrupt(3);
    assert_eq!(game.pick_on(1).0, Pick::Range(at_3));
}

#[test]
fn any_sequence_keeps_the_invariants() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let pieces = 1 + rng.below(100);
        let mut game = Game::new(pieces, 1 + rng.below(5));
        (0..4).for_each(|_| game.joins(SharedBitfield::zeros(pieces)));
        for _ in 0..300 {
            let (peer, piece) = (rng.below(4), rng.below(pieces));
            let open: Vec<u32> = game.picker.open.keys().map(|piece| piece.0).collect();
            let some_open = open.get(rng.below(6) as usize).copied();
            match (rng.below(10), some_open) {
                (0..3, _) => game.gains(peer as usize, piece),
                (3..6, _) => drop(game.pick(peer as usize, 1 + rng.below(5))),
                (6, Some(open)) => game.put_back(open, rng.below(BLOCKS)),
                (7, Some(open)) => {
                    let block = game.block(open, rng.below(BLOCKS));
                    let asked = game.picker.open[&PieceIndex(open)].asked.clone();
                    if asked.get(PieceIndex(number_of(block))) {
                        game.stores(peer, open, number_of(block));
                    }
                }
                (8, Some(open)) => game.verified(open),
                (9, Some(open)) => drop(game.corrupt(open)),
                (6..9, None) => game.verified(piece),
                _ => game.leaves(peer as usize),
            }
        }
    }
}

#[test]
fn everything_is_asked_for_in_the_end() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let mut game = Game::new(50, 2);
        for _ in 0..3 {
            let theirs = SharedBitfield::zeros(50);
            (0..50).map(PieceIndex).filter(|_| rng.chance(1, 2)).for_each(|piece| {
                theirs.set(piece);
            });
            game.joins(theirs);
        }
        let held = |game: &Game, n| game.peers.iter().any(|(theirs, _)| theirs.get(PieceIndex(n)));
        while (0..3).any(|peer| matches!(game.try_pick(peer, 4).0, Pick::Range(_))) {
            let open: Vec<u32> = game.picker.open.keys().map(|piece| piece.0).collect();
            for piece in open {
                if game.drawn_piece(PieceIndex(piece)) == "????" {
                    game.verified(piece);
                }
            }
        }
        let expected = (0..50).map(|n| if held(&game, n) { "====" } else { "----" });
        assert_eq!(game.drawn(), expected.collect::<Vec<_>>().join(" "), "seed {seed}");
    }
}

#[test]
fn a_pick_takes_the_same_steps_at_any_size() {
    let dearest = [1, 10].map(|times| {
        let pieces = times * 2 * SCAN_MAX * WORD_BITS;
        let mut game = Game::new(pieces, u32::MAX);
        game.joins(SharedBitfield::zeros(pieces));
        // Many pieces are open, and none of them is of use to the first peer.
        for piece in (0..100).map(PieceIndex) {
            let theirs = SharedBitfield::zeros(pieces);
            theirs.set(piece);
            game.picker.handle_gained(Word::of(piece), &mut Steps::new());
            game.peers.push((theirs, Place::default()));
            let (theirs, place) = game.peers.last_mut().unwrap();
            let (budget, rng, mut steps) = (&mut game.budget, &mut game.rng, Steps::new());
            let mut turn = Turn {
                now: game.now,
                torrent: made_up::torrent_key(0),
                budget,
                rng,
                steps: &mut steps,
            };
            let pick = game.picker.pick(place, theirs, 1, &mut turn);
            assert!(matches!(pick, Pick::Range(_)));
        }
        let dearest = (0..5).map(|_| game.try_pick(0, 1).1).max().unwrap();
        assert!(dearest > 100 + SCAN_MAX, "through the open ones, and a scan");
        dearest
    });
    assert_eq!(dearest[0], dearest[1]);
}
