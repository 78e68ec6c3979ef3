//! A ring of which one member in ten means no good.

use rondalla::machines::chord::Node;

use super::scenario::{MINUTE, SECOND, Scenario};
use super::simulator::hostile::Vice;
use super::simulator::internet::{Addresses, Weather};

/// Members join one after the other, of which every tenth has a vice; torrents are announced, and
/// looked up by honest members: (right lookups, lookups).
fn look_up_among(vice: Vice, n: usize, seed: u64) -> (usize, usize) {
    let mut scenario = Scenario::<Node>::new(Weather::fair(), Addresses::Laboratory, seed);
    for n in 0..n {
        scenario.arrive(None, (n % 10 == 9).then_some(vice));
        scenario.pass(SECOND);
    }
    scenario.pass(5 * MINUTE);
    for _ in 0..n / 2 {
        let (id, info_hash) = (scenario.anyone(), scenario.some_info_hash());
        scenario.announce(id, info_hash);
        scenario.pass(SECOND / 4);
    }
    scenario.pass(3 * MINUTE);
    scenario.audit(2 * n)
}

fn assert_right(vice: Vice, n: usize, seed: u64) {
    let (right, lookups) = look_up_among(vice, n, seed);
    println!("{vice:?}: {right} of {lookups} lookups find who shares the torrent");
    assert!(right * 100 >= lookups * 99, "{vice:?}: {right} of {lookups}");
}

#[test]
fn one_in_ten_who_answers_nobody_hides_nothing() {
    assert_right(Vice::Silent, 60, 2);
}

#[test]
#[ignore = "needs a minute"]
fn figures_of_hostile_members() {
    for vice in [Vice::Silent, Vice::Garbling, Vice::Echoing, Vice::Flooding] {
        assert_right(vice, 400, 3);
    }
}
