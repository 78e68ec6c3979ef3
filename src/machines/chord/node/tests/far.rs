//! A host that is farther away from everybody than a stranger's answer is waited for.

use super::network::{Network, hash, place};
use super::seconds;
use crate::machines::chord::{News, Settings};
use crate::words::limits::ring as limits;

/// There are more members than any list has, so that the owner of what it shares does not know how far
/// away it is.
#[test]
fn who_is_far_away_has_a_place_and_finds_and_is_found() {
    let mut network = Network::new(0);
    let members = network.grow(60);
    let far = place(99);
    network.far.insert(far);
    network.start(far, Settings::default(), &members[..3]);
    network.pass(seconds(120));
    assert_eq!(network.news(far), [News::Joined(far)]);
    network.assert_ideal();
    network.announce(far, hash(1), 7000, true);
    network.announce(members[5], hash(2), 7000, true);
    for turn in 0..8 {
        network.pass(limits::VALIDATE_EVERY / 2);
        for (asker, wanted, sharer) in [(members[8], hash(1), far), (far, hash(2), members[5])] {
            network.lookup(asker, wanted);
            network.pass(seconds(30));
            let found = network.found(asker, wanted);
            let found: Vec<_> = found.iter().map(|it| it.address.ip()).collect();
            assert_eq!(found, [sharer.ip()], "turn {turn}");
        }
    }
}
