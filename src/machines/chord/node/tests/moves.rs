//! Hosts that get another address while they are on the ring.

use std::net::{IpAddr, SocketAddr};

use super::network::{Network, hash, place};
use super::seconds;
use crate::formats::krpc::{Body, Message, Query};
use crate::machines::chord::store::Entry;
use crate::machines::chord::{News, Role, Settings};
use crate::words::limits::ring as limits;

/// A ring of twenty, of which one shares a torrent and then is at another address.
fn relocate(is_known: bool) -> (Network, Vec<SocketAddr>, SocketAddr) {
    let mut network = Network::new(15);
    let members = network.grow(20);
    network.announce(members[3], hash(1), 7000, true);
    network.pass(seconds(600));
    let to = place(99);
    network.relocate(members[3], to, is_known);
    (network, members, to)
}

fn who_shares(network: &mut Network, asker: SocketAddr) -> Vec<IpAddr> {
    network.lookup(asker, hash(1));
    network.pass(seconds(5));
    network.found(asker, hash(1)).iter().map(|sharer| sharer.address.ip()).collect()
}

/// What a node has said of its own place.
fn standings(network: &Network, at: SocketAddr) -> Vec<News> {
    let is_standing = |news: &News| matches!(news, News::Client | News::Joined(_) | News::Alone);
    network.news(at).into_iter().filter(is_standing).collect()
}

#[test]
fn a_host_that_has_moved_is_found_where_it_is_now() {
    let (mut network, members, to) = relocate(true);
    network.pass(seconds(60));
    assert!(who_shares(&mut network, members[8]).contains(&to.ip()));
    assert_eq!(standings(&network, to), [News::Joined(to)]);
    assert_eq!(network.node(to).me().address, to);
    network.assert_ideal();
    network.pass(limits::ENTRY_FRESH);
    for asker in [members[8], members[15], to] {
        assert_eq!(who_shares(&mut network, asker), [to.ip()], "and nowhere else");
    }
}

#[test]
fn who_is_seen_elsewhere_for_long_moves_there_once_others_reach_it() {
    let (mut network, members, to) = relocate(false);
    network.pass(limits::VOTE_CHANGE_AFTER * 2);
    assert_eq!(standings(&network, to), [News::Client, News::Joined(to)]);
    assert!(who_shares(&mut network, members[8]).contains(&to.ip()));
    network.assert_ideal();
    network.pass(limits::ENTRY_FRESH);
    assert_eq!(who_shares(&mut network, members[8]), [to.ip()], "and nowhere else");
}

#[test]
fn who_has_moved_behind_a_router_has_no_place_any_longer() {
    let mut network = Network::new(15);
    let members = network.grow(20);
    network.announce(members[3], hash(1), 7000, true);
    let to = place(99);
    network.deaf.insert(to);
    network.relocate(members[3], to, false);
    network.pass(limits::VOTE_CHANGE_AFTER * 2 + limits::ENTRY_FRESH);
    assert_eq!(standings(&network, to), [News::Client]);
    assert!(!network.node(to).is_member() && !network.is_named_by_anyone(to));
    assert_eq!(who_shares(&mut network, members[8]), [to.ip()]);
    network.assert_ideal();
}

#[test]
fn who_takes_no_pings_for_a_while_is_asked_afterwards() {
    let mut network = Network::new(15);
    let owner = network.grow(1)[0];
    let sharer = SocketAddr::new(place(2).ip(), 7000);
    let mut tell = |from: Option<SocketAddr>| {
        network.order(owner, |node, now| {
            assert!(node.keep(hash(1), sharer, Entry::told(true, now, from)));
        });
        let asked_at = |network: &Network| {
            network.node(owner).keeping.store.get(hash(1), sharer).and_then(|it| it.ask_at)
        };
        let first = asked_at(&network);
        network.pass(limits::VALIDATE_EVERY * 6 / 5 + seconds(5));
        (first, asked_at(&network))
    };
    assert!(matches!(tell(Some(place(2))), (Some(first), Some(next)) if next > first));
    assert!(matches!(tell(None), (Some(_), None)), "a client is not asked");
    assert!(matches!(tell(Some(place(2))), (Some(first), Some(next)) if next > first));
}

#[test]
fn who_hears_nobody_at_first_and_is_behind_a_router_takes_no_place() {
    let mut network = Network::new(15);
    let members = network.grow(3);
    let outside = place(10);
    network.deaf.insert(outside);
    network.split(&[outside]);
    network.start_behind("192.168.0.2:6881".parse().unwrap(), outside, &members);
    network.pass(limits::ALONE_RETRY * 2);
    assert_eq!(standings(&network, outside), [News::Alone]);
    network.heal();
    network.pass(seconds(120));
    assert_eq!(standings(&network, outside), [News::Alone, News::Client]);
    assert!(!network.is_named_by_anyone(outside));
    network.assert_ideal();
}

#[test]
fn who_has_lost_everybody_on_the_way_is_back_at_its_new_address() {
    let mut network = Network::new(15);
    let members = network.grow(6);
    network.split(&[members[3]]);
    network.pass(seconds(60));
    assert_eq!(network.node(members[3]).successors(), []);
    network.heal();
    let to = place(99);
    network.relocate(members[3], to, false);
    network.pass_until(|network| network.node(to).seen_at() == Some(to));
    network.move_here(to);
    network.pass(seconds(120));
    assert_eq!(standings(&network, to), [News::Client, News::Joined(to)]);
    network.assert_ideal();
}

/// A ring of one takes anybody's word for where it is. Then nobody has a place, it and whoever comes
/// through it, until they ping each other back.
#[test]
fn the_first_of_a_ring_survives_a_lie_about_its_address() {
    let mut network = Network::new(15);
    let at = |n: u8| SocketAddr::from(([20 + n, n, 1, 1], 6881));
    let first = network.start(at(0), Settings::default(), &[]);
    network.order(first, |node, _| node.handle_seen(at(8), Some(at(9))));
    assert_eq!(standings(&network, first), [News::Joined(first), News::Client]);
    let others = [1, 2].map(|n| network.start(at(n), Settings::default(), &[first]));
    network.announce(others[0], hash(1), 7000, true);
    network.pass(seconds(3600));
    network.assert_ideal();
    assert_eq!(network.node(first).successors().len(), 2);
    assert_eq!(network.node(first).me().address, first);
    assert_eq!(who_shares(&mut network, others[1]), [others[0].ip()]);
}

#[test]
fn who_asked_at_its_new_address_before_it_knew_it_is_nobodys_neighbour_there() {
    let mut network = Network::new(15);
    let members = network.grow(9);
    let settings = Settings { role: Role::Client, ..Settings::default() };
    let to = network.start(place(99), settings, &members);
    let body = Body::Query(Query::Rectify(Vec::new()), None);
    let said = Message { transaction: 9, seen: None, client: false, body }.encode(0);
    members.iter().for_each(|member| network.deliver(to, *member, &said));
    network.pass(seconds(60));
    assert!(!network.is_named_by_anyone(to));
    network.assert_ideal();
}
