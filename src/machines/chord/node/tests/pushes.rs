//! Whose word about sharers counts.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::formats::krpc::Entries;
use crate::machines::chord::{Contact, Node, Settings, Sharer};
use crate::words::id::InfoHash;
use crate::words::limits::ring as limits;

/// Those of forty, in the order of the ring, from whom the twenty-first takes entries of a key that it
/// owns.
#[test]
#[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
fn entries_count_from_those_who_may_hold_the_key() {
    let address = |n: u8| SocketAddr::from(([10, 0, 0, n], 6881));
    let mut members: Vec<_> = (0..40).map(|n| Contact::at(address(n))).collect();
    members.sort_unstable();
    let (nth, me) = (20, members[20]);
    let mut node = Node::new(Settings::default(), me.address, 1, Instant::now());
    node.settle(&members, |_| Duration::from_millis(80));
    let taken = (0..40_u8).filter(|from| {
        // Right before its place.
        let mut key = InfoHash(me.id.0);
        key.0[17..].copy_from_slice(&[0, 0, *from]);
        let sharers = vec![(Sharer { address: address(99), seeder: true }, 0)];
        let entries = [Entries { info_hash: key, sharers }];
        node.handle_pushed(members[usize::from(*from)].address, &entries);
        node.entries().any(|(held, _)| held == key)
    });
    let taken: Vec<_> = taken.map(usize::from).filter(|it| *it != nth).collect();
    // Of those before it no more are known.
    let first = nth - limits::REPLICAS_BEFORE;
    let last = nth + limits::REPLICAS_FROM + limits::HOLDERS_COME - 1;
    let expected: Vec<_> = (first..=last).filter(|it| *it != nth).collect();
    assert_eq!(taken, expected);
}
