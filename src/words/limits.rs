//! Every bound of the program, each with the sum behind it.

use std::ops::RangeInclusive;
use std::time::Duration;

pub mod lan;
pub mod mainline;
pub mod metadata;
pub mod pex;
pub mod ring;
pub mod stacks;
pub mod trackers;

// ---------------------------------------------------- Torrents: what is read, and what is made ---

/// Bytes of a block, the unit that every client requests (BEP 3: "All current implementations use
/// 2^14").
pub const BLOCK_LEN: u32 = 16 * 1024;

/// Largest `.torrent` that is read. A torrent of 1 TiB in 256 KiB pieces has 80 MiB of hashes;
/// nobody makes these.
pub const TORRENT_LEN_MAX: usize = 64 * 1024 * 1024;

/// A server may take so long to send a torrent that the user names by its URL.
pub const TORRENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Nesting of values in a torrent. The file tree of a hybrid (BEP 52) has a level a folder;
/// libtorrent reads as deep.
pub const TORRENT_DEPTH_MAX: usize = 100;

/// Nesting of lists and dictionaries in bencode; torrents need 5, messages 3.
pub const BENCODE_DEPTH_MAX: usize = 32;

/// Most keys of a dictionary whose keys are out of order: these are sorted to find one that occurs
/// twice. The largest dictionary that a maker writes by hand is the outer one, with some twenty.
pub const BENCODE_UNSORTED_KEYS_MAX: usize = 256;

/// Most pieces of a torrent: 2^22 of 20 bytes are 80 MiB of hashes, above [`TORRENT_LEN_MAX`].
pub const PIECES_MAX: usize = 1 << 22;

/// Longest piece: libtorrent and qBittorrent make at most 256 MiB.
pub const PIECE_LEN_MAX: u32 = 256 * 1024 * 1024;

/// Shortest piece that is made: one block, below which no other client goes. Shorter ones are read.
pub const PIECE_LEN_MIN: u32 = BLOCK_LEN;

/// Longest piece that is chosen without being asked for; libtorrent goes no further either.
pub const PIECE_LEN_CHOSEN_MAX: u32 = 16 * 1024 * 1024;

/// Most files of a torrent. Each costs some hundred bytes of memory.
pub const FILES_MAX: usize = 1 << 20;

/// Longest name of a file or folder, in bytes: most file systems hold 255.
pub const NAME_LEN_MAX: usize = 255;

/// Longest path inside a torrent, in bytes: Linux opens none beyond 4096.
pub const PATH_LEN_MAX: usize = 4096;

/// Most trackers that a torrent brings along; public lists have some hundred. The rest is ignored.
pub const TRACKERS_MAX: usize = 512;

/// Most web seeds that a torrent brings along.
pub const WEB_SEEDS_MAX: usize = 64;

/// Most entry points of a distributed tracker that a torrent brings along.
pub const NODES_MAX: usize = 64;

/// Longest URL that is kept: servers and browsers agree on some 2,000 bytes.
pub const URL_LEN_MAX: usize = 2048;

/// Longest magnet link: [`TRACKERS_MAX`] trackers of a usual 100 bytes fit.
pub const MAGNET_LEN_MAX: usize = 64 * 1024;

/// Most peers that a magnet link brings along.
pub const MAGNET_PEERS_MAX: usize = 64;

/// Most ranges of files that a magnet link selects.
pub const MAGNET_RANGES_MAX: usize = 4096;

// ------------------------------------------------------------- The wire: what one peer may say ---

/// Longest extended message (BEP 10), and longest message of an unknown kind that is skipped. The
/// largest in use is a piece of metadata, 16 KiB and a header of some 50 bytes (BEP 9); peer
/// exchange names at most 100 peers of 19 bytes (BEP 11).
pub const EXTENDED_LEN_MAX: u32 = 64 * 1024;

/// Bytes that a peer's decoder reads into while no block is under way: all that an idle peer
/// costs, 1 MB for 2,000 of them. 56 HAVEs fit; a request, the longest message that must fit, takes
/// 17 bytes.
pub const DECODER_BUFFER_LEN: usize = 512;

/// Characters of a peer's own name for its client that are kept: a column of a table.
pub const CLIENT_NAME_LEN_MAX: usize = 64;

/// Most extensions that a peer's handshake may name; further ones are ignored. libtorrent names
/// six.
pub const EXTENSIONS_MAX: usize = 32;

/// Longest name of an extension, in bytes; longer ones are ignored. `ut_holepunch` has 12.
pub const EXTENSION_NAME_LEN_MAX: usize = 32;

/// Longest block that a peer may ask for. Everyone asks for [`BLOCK_LEN`]; mainline once closed the
/// connection above 128 KiB (BEP 3).
pub const REQUEST_LEN_MAX: u32 = 128 * 1024;

/// Pieces that a peer is told it may ask for while it is choked (BEP 6: "suggested to be 10").
pub const ALLOWED_FAST_GIVEN: usize = 10;

/// Pieces that a peer may tell us so; further ones are ignored.
pub const ALLOWED_FAST_MAX: usize = 16;

/// Blocks that a peer may have asked us for at once; we tell it so as `reqq` (BEP 10). libtorrent
/// asks for up to 500.
pub const UPLOADS_MAX: usize = 512;

/// Blocks that a peer may have credit for: what was asked twice over, since those that it owed when
/// it choked us stay granted.
pub const CREDIT_MAX: u32 = 2 * PIPELINE_MAX;

/// A peer that says nothing for so long is gone; it should send a keep-alive every two minutes
/// (BEP 3).
pub const SILENCE_MAX: Duration = Duration::from_secs(180);

/// We say something at least this often (BEP 3: "generally once every two minutes").
pub const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(100);

/// Both handshakes have to be over after this (a client with much to check answers late).
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest noise at each place of an encrypted handshake that has some (Message Stream Encryption:
/// "0 to 512 bytes"), so the sign behind it is looked for no further.
pub const MSE_PAD_MAX: u16 = 512;

/// Bytes of an encrypted handshake that are read at once. It needs some 3 KB at most, and up to 64
/// KiB that a peer may say along with it, which are kept as they come.
pub const MSE_READ_LEN: usize = 1024;

/// Web seeds of a torrent that are asked at once: each takes the place of a peer.
pub const WEB_SEEDS_AT_ONCE: usize = 4;

/// A web seed that failed is left alone for so long at least.
pub const WEB_SEED_DELAY: Duration = Duration::from_secs(10);

/// A web seed that answers nothing, or sends nothing of its answer, for so long is given up for now.
pub const WEB_ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What the half that speaks to a web seed has asked for, and the half that hears has not taken: all
/// that may be asked for at once, and as many cancels.
pub const WEB_ASKED_MAX: usize = 2 * PIPELINE_MAX as usize + 2;

/// A peer that takes nothing we write for so long is ended.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// A writer that has carried out no order for so long may rest, without a thread. A thread that starts
/// and ends costs some 100 µs (`cargo bench -- threads`).
pub const WRITER_RESTS_AFTER: Duration = Duration::from_secs(10);

/// It rests only if it will have nothing to say for so long. Its reader looks whether that is over at
/// least every [`SAMPLE_EVERY`].
pub const WRITER_RESTS_FOR: Duration = Duration::from_secs(20);

/// Longest greeting after the handshake that the reader says itself: the least that Linux leaves a socket
/// for what it has not sent is more, where memory is short.
pub const GREETING_LEN_MAX: usize = 4 * 1024;

/// The shortest time limit of a read: zero would mean none.
pub const READ_TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// Bytes that a writer says at once: several blocks, so that a block costs less than one call.
pub const OUTGOING_LEN_MAX: usize = 128 * 1024;
/// Bytes of a file from which on they are sent without a copy: for less than a page the copy is
/// cheaper than the call.
pub const ZERO_COPY_MIN: u64 = 4096;
/// Of its buffer, what a writer keeps when it falls silent: a few requests.
pub const OUTGOING_LEN_KEPT: usize = 64;

/// Blocks after which a busy writer reports, so that main can order more while it works.
pub const UPLOADS_REPORTED: u32 = 8;

/// A HAVE waits at most this long for its writer's next look at the log. 64 writers that look so
/// often cost 0.75 % of a core, so the delay grows from there on with their number.
pub const HAVE_DELAY: Duration = Duration::from_millis(250);
/// See [`HAVE_DELAY`].
pub const HAVE_DELAY_WRITERS: u32 = 64;

/// How long a thread that waits for a rate limit does not notice that it should end.
pub const LIMITER_WAIT_MAX: Duration = Duration::from_millis(500);

// ---------------------------------------------------- The exchange: what is asked, and of whom ---

/// Levels of rarity: pieces that 63 or more peers have are equally common.
pub const RARITY_LEVELS: usize = 64;

/// Pieces, or words of 64 pieces, that one scan for a piece looks at before it is continued later.
pub const SCAN_MAX: u32 = 64;

/// Pieces that are open at once: with pieces of one block and [`PIPELINE_MAX`] blocks asked of a
/// peer, one peer can fill them; a scan of them all is 256 look-ups, some 3 µs.
pub const OPEN_MAX: usize = 256;

/// Blocks asked of one peer at once: 4 MiB, the bandwidth-delay product of 320 Mbit/s over 100 ms.
pub const PIPELINE_MAX: u32 = 256;

/// Blocks asked of a peer before anything is known of its rate.
pub const PIPELINE_START: u32 = 16;

/// A pipeline holds what the peer sends in so many seconds.
pub const PIPELINE_SECONDS: u64 = 2;

/// Blocks of one [`BlockRange`](crate::words::id::BlockRange): one order, one write to the socket.
pub const RANGE_MAX: u32 = 32;

/// Ranges that one notification asks of a peer: two, so that a pipeline doubles in a round trip.
pub const PICKS_MAX: usize = 2;

/// A peer that owes us blocks and sends none for so long has stalled: others are asked.
pub const STALL_AFTER: Duration = Duration::from_secs(20);

/// A peer that rejects what it was asked for, or does not send it, is left alone for so long: time
/// for others to be asked.
pub const PAUSE: Duration = Duration::from_secs(1);

/// A peer that stalls again before it has sent a block is left alone four times as long, so often:
/// at last for four minutes, or it would hold memory most of the time for what it never sends.
pub const STALLS_COUNTED: u32 = 4;

/// Peers that a block is asked of in the endgame.
pub const DUPLICATES_MAX: usize = 3;

/// Blocks that a peer has outstanding in the endgame before it is asked for what others owe.
pub const ENDGAME_PIPELINE: u32 = 4;

/// A piece of which nothing is on its way gives up its memory for another after so long: the next
/// request may only wait for the disk.
pub const FORGO_AFTER: Duration = Duration::from_secs(2);

/// Corrupt pieces whose senders are remembered until the piece is right.
pub const SUSPECTS_MAX: usize = 16;

/// Senders of one piece that are told apart: where there are more, some are asked again who might
/// have been passed over.
pub const SENDERS_MAX: usize = 16;

/// How often peers that took part in a corrupt piece are left without anything, so that others send
/// it, before they are asked again: with [`RETRY_DELAY`] between two tries some seconds.
pub const DENIALS_MAX: u32 = 64;

/// A peer that alone is asked for a piece has so many rounds of [`ROTATE_EVERY`] for its share, two
/// minutes, before another is asked: most clients serve us again within that.
pub const LEASE_ROUNDS: u32 = 4;

/// Its share is one part in so many: of a piece of 16 MiB 1 MiB in two minutes.
pub const LEASE_SHARES: u32 = 16;

/// Pieces that are taken from such peers in one round.
pub const LEASES_ENDED_MAX: usize = 16;

/// Peers that are gone and may still turn out to have sent corrupt data.
pub const DEPARTED_MAX: usize = 256;

/// Banned peers.
pub const BANS_MAX: usize = 1024;

/// Peers for which there was nothing to ask are tried again after this delay, so many a turn.
pub const RETRY_DELAY: Duration = Duration::from_millis(100);
/// See [`RETRY_DELAY`].
pub const RETRIES_MAX: usize = 16;

/// Upload slots of a torrent at least (BEP 3 describes four), and at most: the square root of 4096
/// peers.
pub const SLOTS_MIN: usize = 4;
/// See [`SLOTS_MIN`].
pub const SLOTS_MAX: usize = 64;

/// Changes of a choker that one turn tells: a peer that goes is choked and two others follow.
pub const CHANGES_MAX: usize = 4;

/// The time between two measurements of a peer's rates (BEP 3's rechoke interval).
pub const SAMPLE_EVERY: Duration = Duration::from_secs(10);

/// Time for which a peer holds the optimistic slot (BEP 3).
pub const ROTATE_EVERY: Duration = Duration::from_secs(30);

// ------------------------------------------ The main thread: its tables, its orders, its steps ---

/// Torrents of one process. Each has some timers and a place in the tables.
pub const TORRENTS_MAX: u32 = 4096;

/// The default number of connections.
pub const PEERS_DEFAULT: u32 = 100;

/// Those who dialled us and have not shaken hands. They do not count among the connections that are
/// allowed; when there are more, the oldest makes room.
pub const GREETINGS_MAX: u32 = 16;

/// Of these, the ones that come from one global IPv4 address or /64 of IPv6.
pub const GREETINGS_A_NETWORK: usize = 3;

/// Places in the table beyond the connections that are allowed: for those who greet, and as many who
/// were hung up on and are not gone yet.
pub const PLACES_BESIDE_PEERS: u32 = 2 * GREETINGS_MAX;

/// Connections about one torrent with one global IPv4 address or /64 of IPv6: several people may be
/// behind it, and nobody is to take all places.
pub const PEERS_A_NETWORK: u32 = 3;

/// Of the connections that are allowed, those that are kept for peers whom we dial, and as many for
/// those who dial us; an eighth of them at most.
pub const PLACES_KEPT: u32 = 10;

/// A peer with which nothing has moved for so long makes room when somebody finds no place.
pub const IDLE_MAX: Duration = Duration::from_secs(300);

/// Peers that are looked at for that, each time.
pub const IDLE_LOOKS: u32 = 8;

/// Peers that the user may name for a torrent with `--peer`.
pub const CONTACTS_MAX: usize = 64;

/// Contacts that a message names.
pub const CONTACTS_SHOWN: usize = 4;

/// Peers of a torrent that were found by one way, be it its trackers or its peers: more than are
/// dialled before the next answer.
pub const FOUND_A_WAY: usize = 96;

/// Peers of a torrent that were found by all four ways, beside those that the user named.
pub const FOUND_MAX: usize = 4 * FOUND_A_WAY;

/// Of these, the ones in one global IPv4 address or /64 of IPv6: with more nobody talks at once.
pub const FOUND_A_NETWORK: usize = PEERS_A_NETWORK as usize;

/// Addresses of our own at which we met ourselves, and which are not dialled again.
pub const OURS_KEPT: usize = 8;

/// A download with fewer peers looks for more on the ring, first after twice this delay, then after
/// ever longer ones.
pub const LOOKUP_DELAY: Duration = Duration::from_secs(1);
/// The same on Mainline, where a lookup asks some twenty strangers.
pub const LOOKUP_DELAY_MAINLINE: Duration = Duration::from_secs(8);
/// See [`LOOKUP_DELAY`]. Four unchoke us at a time, if all do as BEP 3 describes.
pub const PEERS_ENOUGH: u32 = 8;
/// How often a download with enough peers looks for more.
pub const LOOKUP_EVERY: Duration = Duration::from_secs(300);
/// How often whoever seeds does: others look for seeders themselves, but some cannot be reached.
pub const LOOKUP_EVERY_SEEDING: Duration = Duration::from_secs(900);

/// The same where nobody can dial us: then nobody but us can begin a connection to a download, and a
/// lookup is some three datagrams.
pub const LOOKUP_EVERY_HIDDEN: Duration = Duration::from_secs(60);

/// Torrents that one turn looks up when our node has joined a network.
pub const SWEEP_MAX: usize = 16;

/// Connections in a row that bring nothing before a peer that was found is forgotten.
pub const FOUND_FAILURES_MAX: u32 = 3;

/// Notifications that main may not have received. With a block in each they are 4 MiB.
pub const NOTIFICATIONS_MAX: usize = 256;

/// Orders that a peer's writer may not have carried out yet: the slots of its channel, each of
/// which is touched when the channel is made.
pub const OUTBOX_MAX: u32 = 64;
/// Of these, the ones kept for chokes, unchokes and looks, which cannot wait.
pub const OUTBOX_RESERVE: u32 = 16;
/// Of these, the ones that uploads may take, so that requests find room beside them.
pub const UPLOADS_ORDERED_MAX: u32 = 32;

/// Events of lesser weight that may wait for a slow reader.
pub const EVENTS_MAX: usize = 1024;

/// A turn of the main thread that takes longer is told at `-v`, but not oftener than so.
pub const TURN_SLOW: Duration = Duration::from_millis(10);
/// See [`TURN_SLOW`].
pub const TURN_TOLD_EVERY: Duration = Duration::from_secs(10);

/// Time between two progress events of a torrent.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Peers and torrents to which one turn says goodbye.
pub const FAREWELLS_MAX: usize = 16;

/// So long after the user wants the end, the session ends whoever has not answered: with what the
/// threads then need it is less than the five seconds that the command line promises. A session
/// that ends by itself waits so long for its peers, and for its storage until all is synced.
pub const ENDING_MAX: Duration = Duration::from_secs(4);

/// How long the end waits for the ushers, who may be writing their files; a name that one resolves can
/// take longer, and is left: of the 5 s that an exit may take, it is a twentieth.
pub const USHER_ENDING: Duration = Duration::from_millis(250);

/// After a signal the process ends within this, whatever hangs: a disk, or who reads its output.
pub const EXIT_MAX: Duration = Duration::from_millis(4_750);

/// Steps of one pick: through the open pieces, once for blocks to ask for and once for one to give
/// up, whose piece goes back into its levels; the levels and [`SCAN_MAX`] pieces of them, as many
/// words with a piece each that was wrong once, and those that are left to others; as many blocks in
/// the endgame; the piece out of its levels; through the words of the longest piece; and each block of
/// the range marked by the picker and noted by the engine.
const PICK_STEPS: usize = 2 * OPEN_MAX
    + 3 * RARITY_LEVELS
    + 4 * SCAN_MAX as usize
    + SUSPECTS_MAX
    + (PIECE_LEN_MAX / BLOCK_LEN).div_ceil(u64::BITS) as usize
    + 2 * (RANGE_MAX as usize + 1);

/// Steps of one turn of the main thread at most. The dearest turn retries [`RETRIES_MAX`] peers with
/// [`PICKS_MAX`] picks each, one more for the torrent that has waited longest for memory, and looks
/// through another torrent's open pieces for it; those that follow it are a word of pieces found on
/// the disk, each taken out of its levels, one that hangs up [`FAREWELLS_MAX`] peers and puts their
/// pipelines and a piece each back, one that ends leases, and one that bans who sent a word of blocks:
/// each is here and is hung up, or is looked for among the gone.
pub const STEPS_MAX: usize =
    (RETRIES_MAX + 1) * (1 + PICKS_MAX * PICK_STEPS) + OPEN_MAX + RARITY_LEVELS;
const PUT_BACK_STEPS: usize = PIPELINE_MAX as usize + RARITY_LEVELS;
const _: () = assert!(64 * (1 + RARITY_LEVELS) < STEPS_MAX);
const _: () = assert!(FAREWELLS_MAX * (1 + PUT_BACK_STEPS) < STEPS_MAX);
const _: () = assert!(64 * (1 + PUT_BACK_STEPS) < STEPS_MAX);
const _: () = assert!(OPEN_MAX + LEASES_ENDED_MAX * PUT_BACK_STEPS < STEPS_MAX);
const _: () = assert!(64 * (1 + DEPARTED_MAX) < STEPS_MAX);
const _: () = assert!(UPLOADS_MAX + OUTBOX_MAX as usize + PICKS_MAX * PICK_STEPS < STEPS_MAX);

// --------------------------------------------------------------------------------- Connections ---

/// The ports that are tried when none is given: BEP 3, "commonly 6881 to 6889".
pub const LISTEN_PORTS: RangeInclusive<u16> = 6881..=6889;

/// How often a port that the system chose for TCP is tried for UDP too, where any will do.
pub const ANY_PORT_TRIES: usize = 16;

/// Longest name of a host: 255 octets on the wire (RFC 1035, section 2.3.4) are 253 characters.
pub const HOST_LEN_MAX: usize = 253;

/// Addresses of one name that are tried.
pub const ADDRESSES_MAX: usize = 8;

/// Connections that are being made at once: home routers drop more.
pub const DIALS_MAX: u32 = 20;

/// Connections that we begin in any second: as many as home routers remember without forgetting
/// others, and a port scan looks different.
pub const DIALS_A_SECOND: usize = 10;

/// A connection that is not made by then never will be: two lost SYNs are three seconds.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The first delay before a peer is dialled again.
pub const REDIAL_DELAY: Duration = Duration::from_secs(1);
/// The longest.
pub const REDIAL_DELAY_MAX: Duration = Duration::from_secs(60);

/// Connections that can be allowed: more threads than two for each of these no system gives a
/// process (`/proc/sys/kernel/threads-max` is some 100,000 where there are 12 GiB of memory).
pub const PEERS_MAX: u32 = 32 * 1024;

/// Orders that the porter may not have carried out for each place of the table of peers, so that
/// none finds its channel full: the start of its tenant, one of its writer, which rests again only
/// when the porter has started it, and the end of the one before. (A tenant ends only when the porter
/// has started it.)
pub const PORTER_ORDERS_A_PEER: usize = 3;
/// Those beside: a refusal for every socket of which main has not heard or not decided.
pub const PORTER_ORDERS_SPARE: usize = NOTIFICATIONS_MAX + ACCEPTED_MAX;

/// Sockets that the listener has accepted and the porter has not taken.
pub const ACCEPTED_MAX: usize = 16;

/// Connections that the kernel keeps until they are accepted.
pub const BACKLOG: i32 = 128;

/// So long after a thread could not be started, no more peers are taken than there were then.
pub const THREADS_BACK_OFF: Duration = Duration::from_secs(10);

/// The user is told of it no oftener than so.
pub const THREADS_TOLD_EVERY: Duration = Duration::from_secs(60);

/// How long the listener waits when it has no descriptors left.
pub const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);

/// How long the connection that wakes the listener at the end may take.
pub const WAKE_TIMEOUT: Duration = Duration::from_millis(500);

// ------------------------------------------------------------------------------------ The disk ---

/// The default memory budget.
pub const MEMORY_DEFAULT: u64 = 16 * 1024 * 1024;
/// The least to which a small host brings it down: [`PIPELINE_START`] blocks.
pub const MEMORY_DEFAULT_MIN: u64 = PIPELINE_START as u64 * BLOCK_LEN as u64;

/// Files that are open at once, of the 256 descriptors that a small host allows.
pub const FILES_OPEN_MAX: usize = 128;

/// Orders that the storage may not have carried out, beside the blocks of the memory budget.
pub const STORAGE_TASKS_SPARE: usize = 64;

/// Blocks of the largest memory budget for which the storage's channel has slots: 1 GiB.
pub const STORAGE_TASKS_MAX: usize = 64 * 1024;

/// Pieces that are whole are written at once, neighbours together, when they are so many bytes, or a
/// quarter of the memory budget: more in one call is not faster.
pub const WRITE_LEN: u64 = 4 * 1024 * 1024;

/// Blocks of one call that writes. The page cache takes room for one call in one stretch if it can,
/// and of long stretches the host of a virtual machine may have none at hand: 256 MiB in calls of
/// 1 MiB took 0.06 to 0.54 s there (median 0.38), in calls of 32 KiB 0.08 to 0.34 s (median 0.09).
pub const WRITE_CALL_BLOCKS: usize = 2;

/// What was written is synced after so long, or so many bytes: that much is lost in a power cut.
pub const SYNC_EVERY: Duration = Duration::from_secs(30);
/// See [`SYNC_EVERY`].
pub const SYNC_LEN: u64 = 64 * 1024 * 1024;

/// Most threads that hash one torrent: disks give no more than so many cores take.
pub const HASHERS_MAX: usize = 16;

/// How long the storage waits when the system gives it no thread to hash what is there.
pub const CHECK_BACK_OFF: Duration = Duration::from_secs(1);

/// What is read from a file at once to be hashed: little enough that it is still in the core's own
/// cache when it is hashed. Each hasher has one.
pub const HASH_READ_LEN: usize = 64 * 1024;

/// Bytes that a hasher looks at before it tells what it found.
pub const PORTION_LEN: u32 = 4 * 1024 * 1024;

// ----------------------------------------------- The host: what a process and its peers take ---

/// Threads of a peer: one that reads, one that writes.
pub const PEER_THREADS: u64 = 2;

/// Memory that a peer takes: some 28 KiB of stacks, channel and buffers, and for each of its threads
/// 16 KiB of stack and 8 KiB of tables in the kernel, which count in a control group.
pub const PEER_MEMORY: u64 = 28 * 1024 + PEER_THREADS * 24 * 1024;

/// Threads beside those of the peers: main, listener, porter, clerk, storage and one that syncs for
/// it, reactor, two ushers, console, watcher, trace, two for signals, one hasher, and some that greet
/// us (each has one).
pub const THREADS_BESIDE_PEERS: u64 = 18;

/// Descriptors beside those of the peers and of the torrents' locks: three streams, the listener,
/// the signals' pipe (2), the trace, the watched folder, and [`PLACES_BESIDE_PEERS`] connections
/// that greet or leave; [`HASHERS_MAX`] files are open while there are few peers. The rest is spare.
pub const DESCRIPTORS_BESIDE_PEERS: u64 = 48;

/// Memory of a process without peers and blocks: code, stacks and tables are some 4 MiB, and
/// [`NOTIFICATIONS_MAX`] blocks that main has not taken are as much.
pub const PROCESS_MEMORY: u64 = 8 * 1024 * 1024;

/// One of so many parts of a machine's memory is ours: it has other work to do.
pub const HOST_MEMORY_PARTS: u64 = 4;

// ---------------------------------------------------------------------------- The command line ---

/// Time between two looks into the folder of `--watch`.
pub const WATCH_EVERY: Duration = Duration::from_secs(2);

/// A file that is no torrent and has not changed for so long is not being written.
pub const WATCH_STILL: Duration = Duration::from_secs(5);

/// Entries of the trace that may not be written: with some 80 bytes each they are 320 KiB, and a
/// burst of as many notifications and orders as main handles in some milliseconds.
pub const TRACE_MAX: usize = 4096;

/// How long `lookup` and `ring` try when nobody answers.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait in seconds that can be asked for: ten years, which `Instant` adds without overflow.
pub const WAIT_MAX_S: u32 = 10 * 365 * 86_400;
