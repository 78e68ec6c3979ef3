use super::*;

/// Nodes at the hundredths of the ring; the key is at 50.5 hundredths.
fn node(hundredths: u8) -> Contact {
    let id = RingId::part(100).times(u32::from(hundredths));
    Contact { id, address: ([10, 0, 0, hundredths], 1).into() }
}

fn patience(_: SocketAddr) -> Duration {
    limits::HEDGE
}

fn heard(nodes: &[u8], owner: Option<u8>) -> Heard {
    let nodes = nodes.iter().map(|hundredths| node(*hundredths)).collect();
    Heard { nodes, owner: owner.map(node), ..Heard::default() }
}

#[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
fn lookup(quick: bool) -> (Lookup, Instant) {
    let now = Instant::now();
    let target = RingId::part(200).times(101);
    (Lookup::new(Goal::Join, target, quick, now), now)
}

#[test]
fn hop_by_hop_to_the_owner_which_has_the_last_word() {
    let (mut lookup, now) = lookup(true);
    lookup.add(node(10));
    lookup.add(node(5));
    let path: [(u8, &[u8], Option<u8>); 4] = [
        (10, &[30, 20, 40], None),
        (40, &[45, 49, 55], None),
        (49, &[50, 55], Some(55)),
        (55, &[50], Some(51)),
    ];
    for (at, nodes, owner) in path {
        assert_eq!(lookup.poll(now, patience), Some(node(at)));
        assert_eq!(lookup.poll(now, patience), None, "one question at a time");
        lookup.handle_answer(now, node(at), &heard(nodes, owner));
        assert_eq!(lookup.end(), None);
        lookup.check();
    }
    assert_eq!(lookup.poll(now, patience), Some(node(51)));
    lookup.handle_answer(now, node(51), &heard(&[], Some(51)));
    let end = lookup.end().unwrap();
    assert_eq!((end.owner, end.hops), (Some(node(51)), 4), "55 was named by 40 already");
    assert_eq!(lookup.report(true).requests, 5);
}

#[test]
fn a_slow_answer_is_not_waited_for_and_a_silent_owner_has_an_heir() {
    let (mut lookup, now) = lookup(true);
    [40, 30, 20, 10].into_iter().for_each(|at| lookup.add(node(at)));
    assert_eq!(lookup.poll(now, patience), Some(node(40)));
    let now = now + limits::HEDGE;
    assert_eq!(lookup.poll(now, patience), Some(node(30)));
    assert_eq!(lookup.poll(now, patience), Some(node(20)));
    assert_eq!(lookup.poll(now, patience), None, "of three two are not slow");
    lookup.handle_answer(now, node(30), &heard(&[50, 51, 52], Some(51)));
    assert_eq!(lookup.poll(now, patience), Some(node(51)), "beside the slow one");
    assert_eq!(lookup.poll(now, patience), None);
    lookup.handle_silent(now, node(40));
    assert_eq!(lookup.poll(now, patience), None);
    lookup.handle_silent(now, node(20));
    assert_eq!(lookup.poll(now, patience), Some(node(50)), "from then on two are asked");
    lookup.handle_silent(now, node(51));
    assert_eq!(lookup.poll(now, patience), Some(node(52)));
    lookup.handle_answer(now, node(50), &heard(&[], Some(51)));
    lookup.handle_answer(now, node(52), &heard(&[], Some(51)));
    assert_eq!(lookup.end().and_then(|end| end.owner), Some(node(52)));
    lookup.check();
}

#[test]
fn the_last_word_waits_for_whoever_is_nearer() {
    let (mut lookup, now) = lookup(true);
    lookup.add(node(50));
    assert_eq!(lookup.poll(now, patience), Some(node(50)));
    lookup.handle_answer(now, node(50), &heard(&[51, 52, 53, 54], Some(51)));
    assert_eq!(lookup.poll(now, patience), Some(node(51)));
    let now = now + limits::HEDGE;
    assert_eq!(lookup.poll(now, patience), None, "who holds what it holds is no owner");
    lookup.handle_silent(now, node(51));
    assert_eq!(lookup.poll(now, patience), Some(node(52)));
    assert_eq!(lookup.poll(now, patience), Some(node(53)));
    lookup.handle_answer(now, node(53), &heard(&[], Some(51)));
    assert_eq!((lookup.poll(now, patience), lookup.end()), (None, None), "52 may be alive");
    lookup.handle_answer(now, node(52), &heard(&[], Some(51)));
    assert_eq!(lookup.end().and_then(|end| end.owner), Some(node(52)));
    lookup.check();
}

#[test]
fn when_all_that_were_named_are_silent_it_goes_on_from_the_successors_of_who_is_not() {
    let (mut lookup, now) = lookup(true);
    [30, 20].into_iter().for_each(|at| lookup.add(node(at)));
    lookup.add_ourselves(node(1));
    assert_eq!(lookup.poll(now, patience), Some(node(30)));
    lookup.handle_silent(now, node(30));
    assert_eq!(lookup.poll(now, patience), Some(node(20)));
    lookup.handle_answer(now, node(20), &heard(&[40, 45], None));
    for silent in [45, 40] {
        assert_eq!(lookup.poll(now, patience), Some(node(silent)));
    }
    [45, 40].into_iter().for_each(|silent| lookup.handle_silent(now, node(silent)));
    assert_eq!(lookup.poll(now, patience), Some(node(20)));
    assert!(lookup.wants_list(node(20)));
    lookup.handle_list(node(20), [25, 35].map(node).into_iter());
    for silent in [35, 25] {
        assert_eq!(lookup.poll(now, patience), Some(node(silent)));
    }
    [35, 25].into_iter().for_each(|silent| lookup.handle_silent(now, node(silent)));
    assert_eq!((lookup.poll(now, patience), lookup.end().and_then(|end| end.owner)), (None, None));
    assert!(lookup.end().is_some(), "20 has named all that it knows");
}

#[test]
fn whoever_is_nearest_names_all_after_it_when_the_first_of_them_are_silent() {
    let (mut lookup, now) = lookup(false);
    lookup.add(node(50));
    assert_eq!(lookup.poll(now, patience), Some(node(50)));
    lookup.handle_answer(now, node(50), &heard(&[51, 52, 53, 54], Some(51)));
    for silent in [51, 52, 53, 54] {
        assert_eq!(lookup.poll(now, patience), Some(node(silent)));
        lookup.handle_silent(now, node(silent));
    }
    assert_eq!(lookup.poll(now, patience), Some(node(50)));
    assert!(lookup.wants_list(node(50)));
    lookup.handle_list(node(50), (51..70).map(node));
    lookup.check();
    assert_eq!(lookup.poll(now, patience), Some(node(55)));
    assert!(!lookup.wants_list(node(50)));
    lookup.handle_answer(now, node(55), &heard(&[], Some(51)));
    assert_eq!(lookup.end().and_then(|end| end.owner), Some(node(55)));
}

#[test]
fn a_search_that_found_sharers_waits_for_other_holders_and_tells_none_twice() {
    let (mut lookup, now) = lookup(true);
    lookup.goal = Goal::Get(InfoHash([0; 20]));
    [40, 30, 20].into_iter().for_each(|at| lookup.add(node(at)));
    let sharer = Sharer { address: ([10, 0, 0, 1], 1).into(), seeder: true };
    let answer = Heard { sharers: vec![sharer, sharer], ..Heard::default() };
    assert_eq!(lookup.poll(now, patience), Some(node(40)));
    let now = now + limits::HEDGE;
    assert_eq!(lookup.poll(now, patience), Some(node(30)));
    assert_eq!(lookup.handle_answer(now, node(40), &answer), [sharer]);
    assert_eq!(lookup.handle_answer(now, node(30), &answer), []);
    assert_eq!(lookup.end(), None);
    assert_eq!(lookup.poll(now, patience), Some(node(20)));
    let other = Sharer { address: ([10, 0, 0, 2], 1).into(), seeder: true };
    let answer = Heard { sharers: vec![other], ..Heard::default() };
    assert_eq!(lookup.handle_answer(now, node(20), &answer), [other]);
    assert!(lookup.end().is_some());
    let report = lookup.report(false);
    assert_eq!((report.found, report.hops, report.responsible), (2, 1, None));
    assert_eq!((report.requests_first, report.requests), (Some(2), 3));
}

#[test]
fn an_owner_that_knows_of_nobody_is_not_believed_before_the_holders_beside_it() {
    let (mut lookup, now) = lookup(true);
    lookup.goal = Goal::Get(InfoHash([0; 20]));
    lookup.claim(node(51));
    [10, 20, 49, 50].into_iter().for_each(|at| lookup.add(node(at)));
    assert_eq!(lookup.poll(now, patience), Some(node(51)));
    lookup.handle_answer(now, node(51), &heard(&[50], Some(51)));
    assert_eq!(lookup.poll(now, patience), Some(node(50)));
    lookup.handle_answer(now, node(50), &heard(&[51], Some(51)));
    assert_eq!((lookup.poll(now, patience), lookup.end()), (Some(node(49)), None));
    lookup.handle_silent(now, node(49));
    assert_eq!((lookup.poll(now, patience), lookup.end()), (Some(node(20)), None));
    lookup.handle_answer(now, node(20), &heard(&[49], None));
    assert_eq!(lookup.poll(now, patience), None);
    assert_eq!(lookup.end().and_then(|end| end.owner), Some(node(51)));
}

#[test]
fn strangers_cannot_answer_and_nobody_leads_astray_for_ever() {
    let (mut lookup, now) = lookup(true);
    lookup.add(node(1));
    assert_eq!(lookup.handle_answer(now, node(1), &heard(&[2], Some(2))), []);
    assert_eq!(lookup.end(), None);
    let mut asked = 0;
    while let Some(contact) = lookup.poll(now, patience) {
        asked += 1;
        let at = u8::try_from(asked).unwrap() + 1;
        let nodes: Vec<_> = (0..8).map(|n| at.saturating_add(n).min(99)).collect();
        lookup.handle_answer(now, contact, &heard(&nodes, Some(at.saturating_add(60))));
        lookup.check();
    }
    assert!(asked <= limits::LOOKUP_REQUESTS_MAX);
    assert!(lookup.end().is_some());
}

#[test]
fn an_announce_in_a_ring_of_two_ends_at_the_owner_wherever_that_is() {
    for is_silent in [false, true] {
        let (mut lookup, now) = lookup(true);
        lookup.goal = Goal::Announce(InfoHash([0; 20]));
        lookup.claim(node(10));
        lookup.add(node(20));
        assert_eq!(lookup.poll(now, patience), Some(node(10)));
        lookup.handle_answer(now, node(10), &heard(&[20], Some(10)));
        assert_eq!(lookup.poll(now, patience), Some(node(20)), "it holds what 10 holds");
        if is_silent {
            lookup.handle_silent(now, node(20));
        } else {
            lookup.handle_answer(now, node(20), &heard(&[10], Some(10)));
        }
        assert_eq!(lookup.poll(now, patience), None);
        assert_eq!(lookup.end().and_then(|end| end.owner), Some(node(10)));
    }
}

/// Somebody else in the place of that node.
fn twin(of: u8, port: u16) -> Contact {
    Contact { address: ([10, 0, 0, of], port).into(), ..node(of) }
}

#[test]
fn a_twin_that_there_is_not_hides_nobody() {
    let (mut lookup, now) = lookup(true);
    [40, 30, 20].into_iter().for_each(|at| lookup.add(node(at)));
    assert_eq!(lookup.poll(now, patience), Some(node(40)));
    // It lies: one answer brings one twin of each node, however many it names.
    let (first, second) = (twin(51, 9), twin(51, 17));
    let nodes = vec![first, second, twin(50, 9), twin(50, 17)];
    lookup.handle_answer(now, node(40), &Heard { nodes, owner: Some(first), ..Heard::default() });
    assert_eq!(lookup.poll(now, patience), Some(first));
    let now = now + limits::HEDGE;
    assert_eq!(lookup.poll(now, patience), Some(twin(50, 9)), "beside the slow one");
    lookup.handle_silent(now, twin(50, 9));
    lookup.handle_silent(now, first);
    assert_eq!(lookup.poll(now, patience), Some(node(30)));
    lookup.handle_answer(now, node(30), &heard(&[50, 51], Some(51)));
    let next: Vec<_> = std::iter::from_fn(|| lookup.poll(now, patience)).collect();
    assert!(next.contains(&node(51)), "{next:?}");
    lookup.handle_answer(now, node(51), &heard(&[], Some(51)));
    lookup.check();
    assert_eq!(lookup.end().and_then(|end| end.owner), Some(node(51)));
}

#[test]
fn who_was_named_after_its_twin_is_asked_when_that_is_silent() {
    let (mut lookup, now) = lookup(true);
    [40, 30].into_iter().for_each(|at| lookup.add(node(at)));
    assert_eq!(lookup.poll(now, patience), Some(node(40)));
    let now = now + limits::HEDGE;
    assert_eq!(lookup.poll(now, patience), Some(node(30)), "40 is slow");
    let ghost = twin(51, 9);
    let heard_of = |owner| Heard { nodes: Vec::new(), owner: Some(owner), ..Heard::default() };
    lookup.handle_answer(now, node(40), &heard_of(ghost));
    assert_eq!(lookup.poll(now, patience), Some(ghost));
    lookup.handle_answer(now, node(30), &heard_of(node(51)));
    lookup.handle_silent(now, ghost);
    assert_eq!(lookup.poll(now, patience), Some(node(51)));
    // The ghost is named again, and not asked again.
    lookup.handle_silent(now, node(51));
    lookup.add(ghost);
    assert_eq!(lookup.poll(now, patience).filter(|it| it.id == ghost.id), None);
    lookup.check();
}

/// A crowd of eight around the key, an eightieth of the usual distance apart, the owner of the key first.
fn crowd() -> Vec<Contact> {
    let places = (4041..4045).chain((4037..4041).rev()).map(|n| RingId::part(8000).times(n));
    let contact = |(last, id)| Contact { id, address: ([10, 0, 0, last], 1).into() };
    (200..).zip(places).map(contact).collect()
}

/// A lookup on a ring of a hundred that begins at those.
fn among_a_hundred(known: &[u8]) -> (Lookup, Instant) {
    let (mut lookup, now) = lookup(true);
    lookup.expect_nodes(100);
    known.iter().for_each(|at| lookup.add(node(*at)));
    (lookup, now)
}

/// The same, at which `node(40)` has named those.
fn after_40_named(nodes: Vec<Contact>) -> (Lookup, Instant) {
    let (mut lookup, now) = among_a_hundred(&[40, 30]);
    assert_eq!(lookup.poll(now, patience), Some(node(40)));
    let owner = nodes.first().copied();
    lookup.handle_answer(now, node(40), &Heard { nodes, owner, ..Heard::default() });
    (lookup, now)
}

/// Everybody is silent who is asked now, but for `live`, who name one another, and the first of them for
/// the owner. Gives those who were asked.
fn ask_all(lookup: &mut Lookup, now: Instant, live: &[Contact]) -> Vec<Contact> {
    let mut asked = Vec::new();
    while let Some(next) = lookup.poll(now, patience) {
        asked.push(next);
        if live.contains(&next) {
            let (nodes, owner) = (live.to_vec(), live.first().copied());
            lookup.handle_answer(now, next, &Heard { nodes, owner, ..Heard::default() });
        } else {
            lookup.handle_silent(now, next);
        }
        lookup.check();
    }
    asked
}

/// Those around the key as they are, its owner first, and who leads to them.
fn those_who_live() -> Vec<Contact> {
    [51, 52, 53, 54, 50, 49, 48, 47, 30].into_iter().map(node).collect()
}

#[test]
fn who_makes_up_a_crowd_is_not_believed() {
    let (mut lookup, now) = after_40_named(crowd());
    let asked = ask_all(&mut lookup, now, &those_who_live());
    assert_eq!(lookup.end().and_then(|end| end.owner), Some(node(51)), "{asked:?}");
    let of_crowd = asked.iter().filter(|it| crowd().contains(it)).count();
    assert_eq!(of_crowd, limits::CROWD_SILENT, "{asked:?}");
}

#[test]
fn who_names_the_dead_is_believed_and_so_is_whoever_names_a_crowd_that_lives() {
    let dead = || (200..).zip(&[51, 52, 53, 54, 50, 49, 48, 47]);
    let dead: Vec<_> = dead().map(|(port, of)| twin(*of, port)).collect();
    let (mut lookup, now) = after_40_named(dead.clone());
    let asked = ask_all(&mut lookup, now, &[]);
    assert!(dead.iter().all(|it| asked.contains(it)), "no crowd: {asked:?}");

    let (mut lookup, now) = after_40_named(crowd());
    let live = &crowd()[1..4];
    let asked = ask_all(&mut lookup, now, live);
    assert_eq!(lookup.end().and_then(|end| end.owner), Some(live[0]), "{asked:?}");

    let (mut lookup, now) = after_40_named(crowd());
    lookup.gap = None;
    let asked = ask_all(&mut lookup, now, &those_who_live());
    assert!(crowd()[..4].iter().all(|it| asked.contains(it)), "no density: {asked:?}");
}

#[test]
fn when_nobody_else_leads_on_all_are_believed_again() {
    let (mut lookup, now) = after_40_named(crowd());
    let live = crowd()[3];
    let asked = ask_all(&mut lookup, now, &[live]);
    let turn = |contact| asked.iter().position(|it| *it == contact).unwrap();
    assert!(turn(node(30)) < turn(live), "{asked:?}");
    assert_eq!(lookup.end().and_then(|end| end.owner), Some(live), "{asked:?}");
}

#[test]
fn who_is_not_believed_vouches_for_nobody() {
    let (mut lookup, now) = among_a_hundred(&[40, 30]);
    lookup.claim(node(54));
    assert_eq!(lookup.poll(now, patience), Some(node(54)));
    let lie = Heard { nodes: crowd(), owner: Some(node(54)), ..Heard::default() };
    lookup.handle_answer(now, node(54), &lie);
    assert_eq!(lookup.vouchers.len(), 1);
    let asked = ask_all(&mut lookup, now, &those_who_live());
    assert_eq!(lookup.end().and_then(|end| end.owner), Some(node(51)), "{asked:?}");
    assert!(!lookup.vouchers.contains(&node(54)));
    assert!(lookup.claims.iter().all(|(by, _)| *by != Some(node(54))));
    let of_crowd = asked.iter().filter(|it| crowd().contains(it)).count();
    assert_eq!(of_crowd, limits::CROWD_SILENT, "{asked:?}");
    // Others name it, and it is not asked again.
    assert!(!asked.contains(&node(54)), "{asked:?}");
}

#[test]
fn the_list_of_who_is_not_believed_covers_nothing() {
    let (mut lookup, now) = among_a_hundred(&[50, 30]);
    assert_eq!(lookup.poll(now, patience), Some(node(50)));
    lookup.handle_answer(now, node(50), &heard(&[51, 52, 53, 54], Some(51)));
    while !lookup.wants_list(node(50)) {
        let next = lookup.poll(now, patience).unwrap();
        if next != node(50) {
            lookup.handle_silent(now, next);
        }
    }
    lookup.handle_list(node(50), crowd().into_iter());
    assert!(lookup.covered.is_some());
    ask_all(&mut lookup, now, &[]);
    assert!(lookup.covered.is_none(), "{:?}", lookup.covered);
}

#[test]
fn who_waits_in_the_place_of_one_that_was_made_up_is_asked_when_its_namer_is_not_believed() {
    let (mut lookup, now) = among_a_hundred(&[40, 30]);
    assert_eq!(lookup.poll(now, patience), Some(node(40)));
    let now = now + limits::HEDGE;
    assert_eq!(lookup.poll(now, patience), Some(node(30)), "40 is slow");
    let nodes: Vec<_> = crowd().into_iter().chain([twin(50, 9)]).collect();
    let owner = Some(crowd()[0]);
    lookup.handle_answer(now, node(40), &Heard { nodes, owner, ..Heard::default() });
    lookup.handle_answer(now, node(30), &heard(&[50], None));
    let asked = ask_all(&mut lookup, now, &those_who_live());
    assert_eq!(lookup.end().and_then(|end| end.owner), Some(node(51)), "{asked:?}");
    assert!(!asked.contains(&twin(50, 9)), "{asked:?}");
}
