//! The tables on which the readers stand, each against the plainest thing that does the same.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rondalla::formats::allowed_fast::allowed_fast;
use rondalla::words::bitfield::{
    Bitfield, SharedBitfield, Word, word_from_wire, word_to_wire, words_for,
};
use rondalla::words::have_log::HaveLog;
use rondalla::words::id::{InfoHash, Key, PieceIndex};
use rondalla::words::permutation::Permutation;
use rondalla::words::rng::Rng;
use rondalla::words::slab::Slab;

const ROUNDS: u64 = 100;

#[test]
fn bit_fields_do_as_a_list_of_truths() {
    for seed in 0..ROUNDS {
        let mut rng = Rng::new(seed);
        let most = [9, 70, 1000][rng.below(3) as usize];
        let len = 1 + rng.below(most);
        let mut model = vec![false; len as usize];
        let (mut owned, shared) = (Bitfield::zeros(len), SharedBitfield::zeros(len));
        let mut changes = 0;
        for _ in 0..200 {
            let piece = PieceIndex(rng.below(len));
            let truth = rng.chance(2, 3);
            let changed = model[piece.slot()] != truth;
            model[piece.slot()] = truth;
            changes += u32::from(changed);
            let said = if truth {
                (owned.set(piece), shared.set(piece))
            } else {
                (owned.clear(piece), shared.clear(piece))
            };
            assert_eq!(said, (changed, changed), "seed {seed}");
        }
        let ones: Vec<PieceIndex> =
            (0..len).map(PieceIndex).filter(|piece| model[piece.slot()]).collect();
        assert_eq!(owned.iter().collect::<Vec<_>>(), ones);
        assert_eq!((owned.ones() as usize, shared.count() as usize), (ones.len(), ones.len()));
        assert_eq!(shared.changes(), changes);
        let full = ones.len() == model.len();
        assert_eq!((owned.is_full(), shared.is_full()), (full, full));
        for piece in (0..len + 200).map(PieceIndex) {
            let truth = model.get(piece.slot()).copied().unwrap_or_default();
            assert_eq!((owned.get(piece), shared.get(piece)), (truth, truth));
        }

        let wire = owned.to_wire();
        assert_eq!(wire.len(), (len as usize).div_ceil(8));
        for index in 0..words_for(len) + 2 {
            let word = owned.word(index);
            assert_eq!((shared.word(index), word_from_wire(&wire, index)), (word, word));
            assert_eq!(word_from_wire(&word_to_wire(word), 0), word);
        }
        let words: Vec<Word> = owned.to_words().collect();
        assert_eq!(words.iter().flat_map(|word| word.pieces()).collect::<Vec<_>>(), ones);
        assert!(ones.iter().all(|piece| words.iter().any(|word| {
            let of = Word::of(*piece);
            word.first == of.first && word.bits & of.bits != 0
        })));
    }
}

#[test]
fn subscribers_of_a_have_log_hear_all_of_it_once_and_in_order() {
    for seed in 0..ROUNDS {
        let mut rng = Rng::new(seed);
        let mut order: Vec<PieceIndex> = (0..1 + rng.below(300)).map(PieceIndex).collect();
        rng.shuffle(&mut order);
        let (mut publisher, log) = HaveLog::new(u32::try_from(order.len()).unwrap());
        let mut heard: Vec<_> = (0..4).map(|_| (log.subscribe(), Vec::new())).collect();
        for (n, piece) in order.iter().enumerate() {
            assert_eq!((log.len() as usize, log.is_full()), (n, false));
            publisher.publish(*piece);
            let (subscription, seen) = &mut heard[rng.below(4) as usize];
            assert!(subscription.has_news() && !seen.contains(piece));
            seen.extend(subscription.by_ref().take(rng.below(10) as usize));
            assert!(order[..=n].starts_with(seen));
            assert_eq!(subscription.has_news(), seen.len() <= n);
        }
        for (mut subscription, mut seen) in heard {
            seen.extend(subscription.by_ref());
            assert!(seen == order && subscription.is_over() && log.is_full(), "seed {seed}");
        }
    }
}

#[test]
fn a_permutation_stays_one_under_swaps() {
    for seed in 0..ROUNDS {
        let mut rng = Rng::new(seed);
        let len = 1 + rng.below(300);
        let mut permutation = Permutation::identity(len);
        let mut model: Vec<u32> = (0..len).collect();
        for _ in 0..500 {
            let (one, other) = (rng.below(len), rng.below(len));
            model.swap(one as usize, other as usize);
            let (at_one, at_other) = (permutation.get(one), permutation.get(other));
            permutation.set(one, at_other);
            permutation.set(other, at_one);
        }
        let found: Vec<u32> = (0..len).map(|index| permutation.get(index)).collect();
        assert_eq!(found, model, "seed {seed}");
        model.sort_unstable();
        assert!(model.into_iter().eq(0..len));
    }
}

#[test]
fn a_slab_keeps_what_is_in_it_and_nothing_else() {
    for seed in 0..ROUNDS {
        let mut rng = Rng::new(seed);
        let capacity = rng.below(40);
        let mut slab = Slab::new(capacity);
        let mut model: BTreeMap<Key, u32> = BTreeMap::new();
        let mut gone: Vec<Key> = Vec::new();
        for value in 0..400 {
            let full = model.len() == capacity as usize;
            assert_eq!((slab.len() as usize, slab.is_full()), (model.len(), full));
            if rng.chance(1, 2) {
                match slab.insert(value) {
                    Ok(key) => {
                        assert!(!full && !gone.contains(&key), "a key is given once");
                        assert_eq!(model.insert(key, value), None);
                    }
                    Err(back) => assert!(full && back == value),
                }
            } else if let Some(key) = pick(&mut rng, model.keys()) {
                assert_eq!(slab.remove(key), model.remove(&key));
                gone.push(key);
            }
            if let Some(key) = pick(&mut rng, model.keys()) {
                *slab.get_mut(key).unwrap() += 1000;
                *model.get_mut(&key).unwrap() += 1000;
            }
            if let Some(key) = pick(&mut rng, gone.iter()) {
                assert_eq!(slab.get(key), None);
                assert_eq!(slab.get_mut(key), None);
                assert_eq!(slab.remove(key), None);
            }
            assert!(slab.places() <= capacity);
            assert!(slab.iter().eq(model.iter().map(|(key, value)| (*key, value))), "seed {seed}");
        }
    }
}

fn pick<'a>(rng: &mut Rng, keys: impl ExactSizeIterator<Item = &'a Key>) -> Option<Key> {
    let count = u32::try_from(keys.len()).unwrap();
    if count == 0 {
        return None;
    }
    let mut keys = keys;
    keys.nth(rng.below(count) as usize).copied()
}

#[test]
fn allowed_pieces_are_distinct_and_more_of_them_begin_alike() {
    for seed in 0..ROUNDS {
        let mut rng = Rng::new(seed);
        let most = [12, 100, u32::MAX][rng.below(3) as usize];
        let pieces = rng.below(most);
        let info_hash = InfoHash(std::array::from_fn(|_| u8::try_from(rng.below(256)).unwrap()));
        let network = rng.next_u64();
        let peer: IpAddr = if rng.chance(1, 2) {
            rng.below(u32::MAX).to_be_bytes().into()
        } else {
            (u128::from(network) << 64).to_be_bytes().into()
        };
        let neighbour: IpAddr = match peer {
            IpAddr::V4(ip) => (u32::from(ip) ^ 0xff).to_be_bytes().into(),
            IpAddr::V6(ip) => (u128::from(ip) ^ 0xff).to_be_bytes().into(),
        };
        let count = rng.below(12) as usize;
        let allowed = allowed_fast(peer, info_hash, pieces, count);
        assert_eq!(allowed.len(), count.min(pieces as usize), "seed {seed}");
        assert!(allowed.iter().all(|piece| piece.0 < pieces));
        let mut distinct = allowed.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), allowed.len());
        assert_eq!(allowed_fast(neighbour, info_hash, pieces, count), allowed);
        // Where all are allowed they come in their own order.
        if pieces as usize > count + 1 {
            assert!(allowed_fast(peer, info_hash, pieces, count + 1).starts_with(&allowed));
        }
    }
}
