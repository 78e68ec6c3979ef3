//! The bounds of the ring.

use std::time::Duration;

// -------------------------------------------------------------------------- The ring's pointers ---

/// Length of the successor list. Half of 10,000 nodes may die at once, and 0.0095 of them lose all
/// of theirs (10^4 · 2^-20); it is the length of the Chord paper's own tables II and III.
pub const SUCCESSORS: usize = 20;

/// Nodes before a key that hold its entries: a lookup comes from before, so it meets the first of
/// them a hop early.
pub const REPLICAS_BEFORE: usize = 4;

/// Nodes from the owner on that hold a key's entries.
pub const REPLICAS_FROM: usize = 4;
/// So many may have come beside a key since somebody was its holder, and its entries still count.
pub const HOLDERS_COME: usize = 2;

/// Contacts of an answer: with a fifth of them dead, one lookup of 100 fails, where answers with one
/// contact fail half of them.
pub const CONTACTS_ANSWERED: usize = 8;

/// Who has another successor asks it after this whether there is a nearer one. Of 60 nodes that join
/// through one in the same second each may have to step past all others, one round a step; a step
/// leads nearer, so there is an end to them.
pub const STABILISE_SOON: Duration = Duration::from_millis(100);
/// The shortest time between two stabilisations else: after any change.
pub const STABILISE_MIN: Duration = Duration::from_secs(1);
/// The longest: with sessions of an hour 0.8 % of first successors are wrong for a moment.
pub const STABILISE_MAX: Duration = Duration::from_secs(15);
/// A round in which nothing changed makes the time to the next so many percent of what it was.
pub const STABILISE_SLOWER: u32 = 120;

/// Entries of the finger table: three levels of 64 and what a larger ring has of the fourth.
pub const FINGERS_MAX: usize = 256;

/// Bits of a finger's digit; with 64 fingers a level, 10,000 nodes are two hops away.
pub const FINGER_BITS: u32 = 6;
/// Bits of a finger's digit in a large ring.
pub const FINGER_BITS_LARGE: u32 = 7;
/// Nodes from which on a ring is large.
pub const NODES_LARGE: u64 = 50_000;

/// Among so many nodes after its place, a finger is the one with the shortest round trip: 16 find
/// what all would (Gummadi et al. 2003, PNS(16)).
pub const PROXIMITY: u32 = 16;

/// Time between two looks for a finger while some are missing.
pub const FINGER_SEARCH_EVERY: Duration = Duration::from_secs(2);
/// Time between two looks at a finger otherwise, and between two polls of where others see us.
pub const FINGER_REFRESH_EVERY: Duration = Duration::from_secs(60);
/// A finger that was not heard of for so long is asked whether it lives.
pub const FINGER_STALE: Duration = Duration::from_secs(60 * 60);

/// Members of this ring or another that were met before, so that separated rings find each other
/// again (Chord, section 7: "long-term memory of a random set of nodes").
pub const WEAK_TIES_MAX: usize = 64;
/// Time between two looks through a weak tie, and the longest while alone.
pub const PROBE_EVERY: Duration = Duration::from_secs(60);
/// Time between two looks for a loop that is too long for the successor list to show.
pub const LOOP_CHECK_EVERY: Duration = Duration::from_secs(600);
/// Members that are told when this one found another ring.
pub const MERGE_HINTS: usize = 3;

// ----------------------------------------------------------------------------------- Datagrams ---

/// Longest datagram that is sent: it passes every link of the Internet in one piece (IPv6 promises
/// 1280, less 48 of headers).
pub const DATAGRAM_LEN_SENT: usize = 1200;

/// Longest datagram that is read: what one Ethernet frame carries.
pub const DATAGRAM_LEN_MAX: usize = 1500;

/// Nesting in a datagram; ours need 3.
pub const DATAGRAM_DEPTH_MAX: usize = 8;

/// Keys of one dictionary of a datagram; ours have at most 8.
pub const DATAGRAM_KEYS_MAX: usize = 64;

/// Room that is made for a datagram before its length is known: most fit.
pub const DATAGRAM_LEN_USUAL: usize = 256;

/// Sharers of one answer: 100 of 6 bytes and 8 contacts are 650 bytes. Of 18 bytes so many do not
/// fit, and fewer are given.
pub const SHARERS_ANSWERED: usize = 100;
/// The same where nothing shows that the asker is where it says it is.
pub const SHARERS_ANSWERED_UNPROVED: usize = 24;

/// Bytes of an answer with contacts, without these: frame 29, `ip` without the address 7, token 18,
/// and five keys with their lengths and numbers, at most 80.
pub const ANSWER_FRAME_LEN: usize = 134;
/// Bytes of an answer without contacts, without `ip`'s address.
pub const DONE_LEN: usize = 80;

/// An answer without a token is at most so many times as long as its question.
pub const AMPLIFICATION_MAX: usize = 3;

/// Datagrams of entries that wait for other holders, all together: a full store is some 700 of them,
/// and one takes up to 4 KiB of memory.
pub const BATCHES_MAX: usize = 2048;

/// Bytes of a push's entries; the frame around them needs some 100.
pub const PUSH_LEN: usize = 1000;

// ------------------------------------------------------------------------------------ Requests ---

/// Requests that wait for an answer.
pub const REQUESTS_MAX: usize = 256;

/// Peers whose round trips and silences are remembered.
pub const PEERS_REMEMBERED: usize = 1024;

/// The shortest and the longest time to wait for an answer, and the shortest for a stranger's (RFC 6298
/// with bounds for datagrams).
pub const WAIT_MIN: Duration = Duration::from_millis(200);
/// See [`WAIT_MIN`].
pub const WAIT_MAX: Duration = Duration::from_secs(3);
/// See [`WAIT_MIN`].
pub const WAIT_FIRST: Duration = Duration::from_secs(1);
/// A stranger is waited for half as long again as the quickest of so many answers took.
pub const ANSWERS_COMPARED: usize = 8;
/// Questions that were given up, whose answers are recognised if they come after all.
pub const GIVEN_UP_REMEMBERED: usize = 64;
/// After so long an answer tells nothing of the line.
pub const LATE_MAX: Duration = Duration::from_secs(10);

/// Silences after which a neighbour is dead. To take a live one for dead costs more than to wait.
pub const TRIES: u32 = 3;

/// For so long nobody takes a silent node for a better successor.
pub const SUSPECT_FOR: Duration = Duration::from_secs(60);

/// Lookups that run at once, and orders that wait for their turn.
pub const LOOKUPS_MAX: usize = 16;
/// See [`LOOKUPS_MAX`].
pub const LOOKUPS_WAITING_MAX: usize = 4096;

/// Nodes that one lookup knows.
pub const CANDIDATES_MAX: usize = 64;
/// Others that it knows in the place of one of them: each answer names one a place, and of the few
/// that a lookup hears most are honest.
pub const TWINS_MAX: usize = 4;
/// So many of those whom one node named, none of whom has answered, are within such a part of the usual
/// distance between two nodes of the target, on either side: by chance they are in one of 7,600 and of
/// 5,900 places (Poisson, 0.75 and 1.5).
pub const CROWDS: [(usize, (u32, u32)); 2] = [(6, (3, 8)), (8, (3, 4))];
/// So many of a crowd are silent before its namer is not believed.
pub const CROWD_SILENT: usize = 3;
/// Requests of one lookup: far more than any path is long.
pub const LOOKUP_REQUESTS_MAX: u32 = 48;

/// Holders of a key that a search for sharers hears before it ends, and an announce tells: with one in
/// ten that lies, all three do for one key of a thousand.
pub const HOLDERS_ASKED: usize = 3;

/// Slow answers beside which a lookup asks others: with a fifth of all nodes dead, eight in a row
/// are met once in 400,000 lookups, with half of them dead once in 256.
pub const SLOW_MAX: usize = 8;

/// Questions of a lookup that are under way beside the slow ones, once one was slow.
pub const WARNED_WIDTH: u32 = 2;

/// A lookup does not wait longer than this for one node before it asks others beside it: three of
/// four answers take less where the median round trip is 100 ms, and 50 ms more would cost 80 ms at
/// the 99th percentile when a fifth of all nodes are dead.
pub const HEDGE: Duration = Duration::from_millis(150);
/// Nor shorter, however near it is.
pub const HEDGE_MIN: Duration = Duration::from_millis(20);

/// Nodes within the reach of the list of successors that are remembered though its head does not name
/// them: a whole list of them, and as many of whom it is not known yet whether they live. As many are
/// remembered of those whom it names, and of those who did not answer.
pub const WITNESSES_MAX: usize = 2 * SUCCESSORS;
/// Of them in one place.
pub const WITNESSES_A_PLACE: usize = 2;
/// How often a node that the head does not name is asked whether it lives: a list of them costs a
/// question in six seconds, and only those beside a head that lies.
pub const WITNESS_EVERY: Duration = Duration::from_secs(120);
/// How long it is kept beyond that: two rounds of stabilisation, in one of which it is asked.
pub const WITNESS_GRACE: Duration = Duration::from_secs(30);
/// How many are asked in one round, and how many of those whom the head names and of whom nothing is
/// known: a list of them within five rounds.
pub const WITNESSES_ASKED: usize = 4;
/// After so long one of these that did not answer is asked again, then after twice as long, and so on.
pub const SILENT_WAIT: Duration = Duration::from_secs(15);
/// The longest of these times, and how long it is remembered that there was one.
pub const SILENT_WAIT_MAX: Duration = Duration::from_secs(900);
/// So many that did not answer lately make us wary of the next name.
pub const SILENT_FEW: usize = 4;

/// The four nodes before a key and its owner are within so many times the distance of two nodes: the
/// chance that they are not is 5 % (Poisson, 9). Then a lookup tries another way, too.
pub const SPAN_USUAL: u32 = 9;
/// And the owner alone is within so many times it of the key: the chance that it is not is 2 %.
pub const GAP_USUAL: u32 = 4;
/// Farther apart than this they are by chance in 0.4 % of all places (Poisson, 13), and a tenth of all
/// nodes in 99 %. Then it tries [`OTHER_WAYS`].
pub const SPAN_MAX: u32 = 13;
/// The same of the owner alone: 0.2 %.
pub const GAP_MAX: u32 = 6;
/// With one node in ten that lies, a way of two steps leads astray once in five, and three that do
/// once in 125.
pub const OTHER_WAYS: u32 = 3;
/// So many next to us tell alone how far apart nodes are, if they are twice as near as the others.
pub const GAPS_JUDGED: usize = 10;
/// Nodes from which on a ring is large enough for that.
pub const NODES_JUDGED: u64 = 64;

/// Sharers of one piece of news.
pub const FOUND_WORD: usize = 16;

// ---------------------------------------------------------------------------------- The entries ---

/// Torrents of which entries are held. The farthest from the node's own range go first.
pub const KEYS_MAX: usize = 4096;
/// Sharers of one torrent that are held.
pub const SHARERS_MAX: usize = 1024;
/// Entries in all: at some 120 bytes each they are 8 MiB.
pub const ENTRIES_MAX: usize = 64 * 1024;
/// Entries of one global address (IPv6: /64) in a store that is half full: sixteen such addresses would fill the
/// other half.
pub const ENTRIES_PER_SOURCE: usize = KEYS_MAX / 32;
/// Sharers of one torrent with one global IP address.
pub const SHARERS_PER_IP: usize = 2;
/// Sharers of one torrent in one global /24 (IPv6: /48).
pub const SHARERS_PER_SUBNET: usize = 16;

/// An entry is forgotten after so long without proof: two announces and a bit.
pub const ENTRY_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// An entry is handed out for so long after its last proof.
pub const ENTRY_FRESH: Duration = Duration::from_secs(15 * 60);
/// The owner asks a sharer so often whether it still is one.
pub const VALIDATE_EVERY: Duration = Duration::from_secs(5 * 60);
/// Sharers that are asked in a second, in all; each at most twice.
pub const VALIDATE_RATE: u32 = 20;
/// One global address is not pinged more often than this, but for the second time.
pub const VALIDATE_IP_EVERY: Duration = Duration::from_secs(60);
/// Members announce again after this ±20 %, before their entries are too old to be handed out.
pub const ANNOUNCE_EVERY: Duration = Duration::from_secs(12 * 60);
/// Clients are not pinged, so they announce more often.
pub const ANNOUNCE_EVERY_CLIENT: Duration = Duration::from_secs(6 * 60);
/// An announce that failed is tried again after this.
pub const ANNOUNCE_RETRY: Duration = Duration::from_secs(30);
/// Torrents that one node announces.
pub const ANNOUNCED_MAX: usize = 4096;
/// What changed is told to the other holders after this, together.
pub const PUSH_DELAY: Duration = Duration::from_secs(1);
/// An owner tells the others within this, or one of those that were told of an entry beside it does.
pub const OWNER_TELLS_WITHIN: Duration = Duration::from_secs(3);
/// Expired entries are looked for so often.
pub const EXPIRE_EVERY: Duration = Duration::from_secs(60);

// ------------------------------------------------------------------------------------- Defences ---

/// Time for which a token's secret is used; the one before it is still accepted (BEP 5: five
/// minutes, ten in all).
pub const TOKEN_EVERY: Duration = Duration::from_secs(300);

/// Datagrams a second that one global source has answered, and the burst.
pub const SOURCE_RATE: u32 = 10;
/// See [`SOURCE_RATE`].
pub const SOURCE_BURST: u32 = 50;
/// Sources whose rates are remembered.
pub const SOURCES_MAX: usize = 4096;
/// Bytes a second of answers in all, and the burst.
pub const ANSWER_RATE: u32 = 16 * 1024;
/// See [`ANSWER_RATE`].
pub const ANSWER_BURST: u32 = 3 * 16 * 1024;
/// On the local network so many times as many: 200 nodes that join through one in the same second ask
/// it for 60 KiB a second, and an owner who says nothing looks dead.
pub const ANSWER_LOCAL_FACTOR: u32 = 64;

// ---------------------------------------------------------------------------------- Membership ---

/// Nodes that are named when a ring is joined.
pub const ENTRY_POINTS_MAX: usize = 64;
/// Entry points that are asked at once, and nodes that are polled at once.
pub const GREETINGS_MAX: usize = 8;
/// First delay before a node that is alone asks for company again; it doubles up to
/// [`PROBE_EVERY`].
pub const ALONE_RETRY: Duration = Duration::from_secs(5);
/// Votes on our address that are remembered, one a voter.
pub const VOTES_MAX: usize = 64;
/// Equal votes that make an address ours.
pub const VOTES_NEEDED: usize = 3;
/// A new address is believed after so long of a majority: each costs a new place on the ring. Votes
/// that are older do not count.
pub const VOTE_CHANGE_AFTER: Duration = Duration::from_secs(600);
/// Members that are asked to ping back before a node with a global address joins.
pub const PING_BACKS: usize = 3;
/// They ping after so long, when mappings that our own datagrams made have died.
pub const PING_BACK_DELAY: Duration = Duration::from_secs(100);
/// The same where there is no Internet between us.
pub const PING_BACK_DELAY_LOCAL: Duration = Duration::from_secs(2);
/// Nodes that wait for a ping of ours.
pub const PING_BACKS_OWED_MAX: usize = 64;
/// A client asks to be pinged back again after this.
pub const PROMOTE_EVERY: Duration = Duration::from_secs(900);
/// Own addresses of this host.
pub const OWN_ADDRESSES_MAX: usize = 16;
/// A node that leaves does not wait longer than this for those who take what it holds.
pub const LEAVE_MAX: Duration = Duration::from_secs(1);

/// Members that one walk round the ring meets: their addresses take some 5 MiB.
pub const WALK_MAX: usize = 100_000;

// --------------------------------------------------------------------------------- The reactor ---

/// Orders that the reactor may not have carried out: each torrent gives two at a time, and what finds
/// no room is given again.
pub const ORDERS_MAX: usize = 256;

/// Events of one poll: two sockets of ours, two of the local network, and the waker.
pub const EVENTS: usize = 8;

/// How long the reactor lets main catch up before it tells its news again, and how long it waits
/// when the poll fails.
pub const BACK_OFF: Duration = Duration::from_millis(50);

/// Bytes that a datagram is read into: one more than the longest that is taken, so that a longer one
/// is seen to be too long.
pub const DATAGRAM_LEN_READ: usize = 1501;

/// Datagrams of one socket that are read before timers and orders get their turn.
pub const DATAGRAMS_A_TURN: usize = 64;

/// News that wait for a main that does not keep up, before peers that were found are left out. Twice
/// as many wait before the oldest of the others is.
pub const NEWS_KEPT: usize = 256;

/// Bytes of the file that remembers nodes for the next start, and two ids: the longest address, with a
/// scope, and a line's end have 59.
pub const REMEMBERED_LEN_MAX: usize = (ENTRY_POINTS_MAX + 2) * 59;

/// Time between two reports of the nodes to be remembered; there is one more at the end.
pub const REMEMBER_EVERY: Duration = Duration::from_secs(60 * 60);

/// How soon there is one after a node has found its neighbours, so that a process which is killed
/// is not a stranger at its next start.
pub const REMEMBER_SOON: Duration = Duration::from_secs(20);

/// Orders that the usher may not have carried out.
pub const USHER_ORDERS_MAX: usize = 64;

/// Entry points whose names are not resolved yet.
pub const UNRESOLVED_MAX: usize = 256;

/// The first delay before a name that could not be resolved is tried again.
pub const RESOLVE_AGAIN: Duration = Duration::from_secs(5);
/// The longest.
pub const RESOLVE_AGAIN_MAX: Duration = Duration::from_secs(60);

/// How long whoever asks the ring once waits before it asks again, when nobody answered.
pub const ASK_AGAIN: Duration = Duration::from_millis(200);
