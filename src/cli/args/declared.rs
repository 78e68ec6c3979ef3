//! The options as argh knows them. The comments of the fields are the help texts.

use argh::{ArgsInfo, FromArgs};

use super::values::{self, Shielded};
use crate::cli::options::Selection;
use crate::formats::mse::Encryption;
use crate::formats::url::Url;
use crate::words::address::{Address, ListenAddress};
use crate::words::limits::ASK_TIMEOUT;
use crate::words::units::{Rate, Size};

/// Makes NAME.torrent from a file or folder and prints its info-hash.
#[derive(Debug, FromArgs, ArgsInfo)]
pub(super) struct Create {
    /// where the torrent goes; - is stdout (default: NAME.torrent)
    #[argh(option, short = 'o', arg_name = "FILE")]
    pub(super) output: Option<Shielded>,
    /// replace FILE if it exists
    #[argh(switch)]
    pub(super) overwrite: bool,
    /// leave out files whose path matches (repeatable)
    #[argh(option, arg_name = "GLOB", from_str_fn(values::filled))]
    pub(super) exclude: Vec<String>,
    /// follow symbolic links, which are otherwise left out with a warning
    #[argh(switch)]
    pub(super) follow: bool,
    /// length of a piece, a power of two (default: chosen by size)
    #[argh(option, arg_name = "SIZE", from_str_fn(values::piece_length))]
    pub(super) piece_length: Option<u32>,
    /// the torrent's name (default: that of the file or folder)
    #[argh(option, arg_name = "NAME")]
    pub(super) name: Option<Shielded>,
    /// a comment
    #[argh(option, arg_name = "TEXT")]
    pub(super) comment: Option<String>,
    /// a mark that changes the info-hash
    #[argh(option, arg_name = "TEXT")]
    pub(super) source: Option<String>,
    /// only the torrent's own trackers may give peers
    #[argh(switch)]
    pub(super) private: bool,
    /// leave out the date, so that the same input gives the same bytes
    #[argh(switch)]
    pub(super) no_date: bool,
    /// announce here; repeated: a new tier; commas: the same tier
    #[argh(option, arg_name = "URL", from_str_fn(values::tier))]
    pub(super) tracker: Vec<Vec<String>>,
    /// the data can be had here by HTTP (repeatable)
    #[argh(option, arg_name = "URL", from_str_fn(values::url))]
    pub(super) web_seed: Vec<String>,
    /// an entry point of the Chord ring, stored in the torrent (repeatable)
    #[argh(option, arg_name = "ADDR", from_str_fn(values::entry_point))]
    pub(super) node: Vec<Address>,
    /// print one JSON object
    #[argh(switch)]
    pub(super) json: bool,
    /// say nothing but errors
    #[argh(switch, short = 'q')]
    pub(super) quiet: bool,
    /// say more; -vv says most
    #[argh(switch, short = 'v')]
    pub(super) verbose: u8,
    /// the file or folder
    #[argh(positional, arg_name = "PATH")]
    pub(super) path: Shielded,
}

/// Prints what a torrent or magnet link holds.
#[derive(Debug, FromArgs, ArgsInfo)]
pub(super) struct Show {
    /// ask its trackers how many share it
    #[argh(switch)]
    pub(super) scrape: bool,
    /// print one JSON object
    #[argh(switch)]
    pub(super) json: bool,
    /// say nothing but errors
    #[argh(switch, short = 'q')]
    pub(super) quiet: bool,
    /// say more; -vv says most
    #[argh(switch, short = 'v')]
    pub(super) verbose: u8,
    /// a .torrent file, - for stdin, or a magnet link
    #[argh(positional, arg_name = "SOURCE")]
    pub(super) source: Shielded,
}

/// Checks data against a torrent: exit 0 if complete, 3 if not.
#[derive(Debug, FromArgs, ArgsInfo)]
pub(super) struct Verify {
    /// where the data is (default: the current folder)
    #[argh(option, short = 'd', arg_name = "DIR")]
    pub(super) dir: Option<Shielded>,
    /// only these files, numbered from 1, such as 1-5,8
    #[argh(option, arg_name = "FILES")]
    pub(super) select: Option<Selection>,
    /// print one JSON object
    #[argh(switch)]
    pub(super) json: bool,
    /// say nothing but errors
    #[argh(switch, short = 'q')]
    pub(super) quiet: bool,
    /// say more; -vv says most
    #[argh(switch, short = 'v')]
    pub(super) verbose: u8,
    /// a .torrent file, or - for stdin
    #[argh(positional, arg_name = "TORRENT")]
    pub(super) torrent: Shielded,
}

/// Prints the magnet link of a torrent.
#[derive(Debug, FromArgs, ArgsInfo)]
pub(super) struct Magnet {
    /// print one JSON object
    #[argh(switch)]
    pub(super) json: bool,
    /// say nothing but errors
    #[argh(switch, short = 'q')]
    pub(super) quiet: bool,
    /// say more; -vv says most
    #[argh(switch, short = 'v')]
    pub(super) verbose: u8,
    /// a .torrent file, or - for stdin
    #[argh(positional, arg_name = "TORRENT")]
    pub(super) torrent: Shielded,
}

/// Runs a node of the Chord ring alone, as an entry point for others, until a signal. It takes the
/// options of the network that `download` and `seed` take, so that one set will do for all three.
#[derive(Debug, FromArgs, ArgsInfo)]
pub(super) struct Node {
    /// where to listen, the first free port of a range (default: :6881-6889; port 0: any)
    #[argh(option, arg_name = "ADDR", default = "ListenAddress::default()")]
    pub(super) listen: ListenAddress,
    /// a node of the Chord ring (repeatable)
    #[argh(option, arg_name = "ADDR", from_str_fn(values::dialled))]
    pub(super) join: Vec<Address>,
    /// where state is kept (default: $XDG_STATE_HOME/rondalla, else ~/.local/state/rondalla)
    #[argh(option, arg_name = "DIR")]
    pub(super) state: Option<Shielded>,
    /// left unused, with a warning: a node has no torrent
    #[argh(option, arg_name = "ADDR", from_str_fn(values::dialled))]
    pub(super) peer: Vec<Address>,
    /// left unused, with a warning: a node has no torrent
    #[argh(option, arg_name = "URL", from_str_fn(values::tracker))]
    pub(super) tracker: Vec<Url>,
    /// most connections at once (default: at most 100)
    #[argh(option, arg_name = "N", from_str_fn(values::count))]
    pub(super) max_peers: Option<u32>,
    /// do without the Chord ring: listen, and no more
    #[argh(switch)]
    pub(super) no_chord: bool,
    /// as of download; a node tells no tracker
    #[argh(switch)]
    pub(super) no_trackers: bool,
    /// as of download; a node exchanges no peers
    #[argh(switch)]
    pub(super) no_pex: bool,
    /// as of download; a node is silent in the local network
    #[argh(switch)]
    pub(super) no_lan: bool,
    /// as of download; a node is not on Mainline
    #[argh(switch)]
    pub(super) no_dht: bool,
    /// as of download; a node uploads nothing
    #[argh(switch)]
    pub(super) no_upload: bool,
    /// the ring's time passes so many times as fast; for tests
    #[argh(option, hidden_help, arg_name = "N", from_str_fn(values::count))]
    pub(super) clock_rate: Option<u32>,
    /// print a stream of JSON objects, one a line
    #[argh(switch)]
    pub(super) json: bool,
    /// say nothing but errors
    #[argh(switch, short = 'q')]
    pub(super) quiet: bool,
    /// say more; -vv says most
    #[argh(switch, short = 'v')]
    pub(super) verbose: u8,
}

/// Asks the Chord ring who shares a torrent: exit 3 if nobody does.
#[derive(Debug, FromArgs, ArgsInfo)]
pub(super) struct Lookup {
    /// a node of the Chord ring (repeatable)
    #[argh(option, arg_name = "ADDR", from_str_fn(values::dialled))]
    pub(super) join: Vec<Address>,
    /// where the nodes are written down that were met before
    #[argh(option, arg_name = "DIR")]
    pub(super) state: Option<Shielded>,
    /// give up when no node answers for so long (default: 10)
    #[argh(option, arg_name = "SECS", from_str_fn(values::seconds), default = "ASK_TIMEOUT")]
    pub(super) timeout: std::time::Duration,
    /// print one JSON object
    #[argh(switch)]
    pub(super) json: bool,
    /// say nothing but errors
    #[argh(switch, short = 'q')]
    pub(super) quiet: bool,
    /// say more; -vv says most
    #[argh(switch, short = 'v')]
    pub(super) verbose: u8,
    /// the torrent's info-hash, 40 hex or 32 base32 digits
    #[argh(positional, arg_name = "INFOHASH")]
    pub(super) info_hash: Shielded,
}

/// Walks the Chord ring and prints its members in order.
#[derive(Debug, FromArgs, ArgsInfo)]
pub(super) struct Ring {
    /// draw the ring there
    #[argh(option, arg_name = "FILE")]
    pub(super) svg: Option<Shielded>,
    /// a node of the Chord ring (repeatable)
    #[argh(option, arg_name = "ADDR", from_str_fn(values::dialled))]
    pub(super) join: Vec<Address>,
    /// where the nodes are written down that were met before
    #[argh(option, arg_name = "DIR")]
    pub(super) state: Option<Shielded>,
    /// give up when no node answers for so long (default: 10)
    #[argh(option, arg_name = "SECS", from_str_fn(values::seconds), default = "ASK_TIMEOUT")]
    pub(super) timeout: std::time::Duration,
    /// print one JSON object
    #[argh(switch)]
    pub(super) json: bool,
    /// say nothing but errors
    #[argh(switch, short = 'q')]
    pub(super) quiet: bool,
    /// say more; -vv says most
    #[argh(switch, short = 'v')]
    pub(super) verbose: u8,
}

/// Runs the optional central tracker, for HTTP and UDP on one port, until a signal.
#[derive(Debug, FromArgs, ArgsInfo)]
pub(super) struct Tracker {
    /// where to listen, the first free port of a range (default: :6969; port 0: any)
    #[argh(option, arg_name = "ADDR", default = "values::tracker_listens()")]
    pub(super) listen: ListenAddress,
    /// how often clients are to announce (default: 1800)
    #[argh(option, arg_name = "SECS", from_str_fn(values::interval))]
    pub(super) interval: Option<std::time::Duration>,
    /// print a stream of JSON objects, one a line
    #[argh(switch)]
    pub(super) json: bool,
    /// say nothing but errors
    #[argh(switch, short = 'q')]
    pub(super) quiet: bool,
    /// say more; -vv says most
    #[argh(switch, short = 'v')]
    pub(super) verbose: u8,
}

/// Prints what lets a shell complete the names of subcommands and options.
#[derive(Debug, FromArgs, ArgsInfo)]
pub(super) struct Completions {
    /// print one JSON object
    #[argh(switch)]
    pub(super) json: bool,
    /// say nothing but errors
    #[argh(switch, short = 'q')]
    pub(super) quiet: bool,
    /// say more; -vv says most
    #[argh(switch, short = 'v')]
    pub(super) verbose: u8,
    /// bash, zsh or fish
    #[argh(positional, arg_name = "SHELL")]
    pub(super) shell: Shielded,
}

/// Moves the data of torrents: what `download` and `seed` have in common, which is all.
#[derive(Debug, FromArgs, ArgsInfo)]
pub(super) struct Transfer {
    /// where the data goes or is (default: the current folder)
    #[argh(option, short = 'd', arg_name = "DIR")]
    pub(super) dir: Option<Shielded>,
    /// where state is kept (default: $XDG_STATE_HOME/rondalla, else ~/.local/state/rondalla)
    #[argh(option, arg_name = "DIR")]
    pub(super) state: Option<Shielded>,
    /// only these files, numbered from 1, such as 1-5,8
    #[argh(option, arg_name = "FILES")]
    pub(super) select: Option<Selection>,
    /// hash everything, trust no resume file
    #[argh(switch)]
    pub(super) check: bool,
    /// write to files that no state of ours knows and of which no piece matches
    #[argh(switch)]
    pub(super) overwrite: bool,
    /// only save NAME.torrent in DIR, and exit: for magnet links
    #[argh(switch)]
    pub(super) metadata_only: bool,
    /// start the torrents that are put there, and go on until a signal; a SOURCE is not needed
    #[argh(option, arg_name = "DIR")]
    pub(super) watch: Option<Shielded>,

    /// where to listen, the first free port of a range (default: :6881-6889; port 0: any)
    #[argh(option, arg_name = "ADDR", default = "ListenAddress::default()")]
    pub(super) listen: ListenAddress,
    /// a peer to dial at once (repeatable)
    #[argh(option, arg_name = "ADDR", from_str_fn(values::dialled))]
    pub(super) peer: Vec<Address>,
    /// a node of the Chord ring (repeatable)
    #[argh(option, arg_name = "ADDR", from_str_fn(values::dialled))]
    pub(super) join: Vec<Address>,
    /// a tracker beside the torrent's own (repeatable)
    #[argh(option, arg_name = "URL", from_str_fn(values::tracker))]
    pub(super) tracker: Vec<Url>,
    /// most peers of the whole process (default: at most 100, as the host bears)
    #[argh(option, arg_name = "N", from_str_fn(values::count))]
    pub(super) max_peers: Option<u32>,
    /// encrypt: prefer (if asked to), require or off
    #[argh(option, arg_name = "MODE", default = "Encryption::default()")]
    pub(super) encryption: Encryption,
    /// do without the Chord ring
    #[argh(switch)]
    pub(super) no_chord: bool,
    /// do without trackers
    #[argh(switch)]
    pub(super) no_trackers: bool,
    /// do without peer exchange
    #[argh(switch)]
    pub(super) no_pex: bool,
    /// do without discovery in the local network
    #[argh(switch)]
    pub(super) no_lan: bool,
    /// do without the Mainline DHT
    #[argh(switch)]
    pub(super) no_dht: bool,
    /// enter the Mainline DHT by this node, not by the well-known ones (repeatable)
    #[argh(option, arg_name = "ADDR", from_str_fn(values::dialled))]
    pub(super) dht_router: Vec<Address>,
    /// upload nothing
    #[argh(switch)]
    pub(super) no_upload: bool,

    /// go on seeding when done
    #[argh(switch)]
    pub(super) seed: bool,
    /// seed until uploaded / size is R (implies --seed)
    #[argh(option, arg_name = "R", from_str_fn(values::ratio))]
    pub(super) seed_ratio: Option<f64>,
    /// seed for so many minutes (implies --seed)
    #[argh(option, arg_name = "MIN", from_str_fn(values::minutes))]
    pub(super) seed_time: Option<std::time::Duration>,
    /// most bytes a second that arrive; 0: no limit (the default)
    #[argh(option, arg_name = "RATE", default = "Rate(0)")]
    pub(super) limit_down: Rate,
    /// most bytes a second that leave; 0: no limit (the default)
    #[argh(option, arg_name = "RATE", default = "Rate(0)")]
    pub(super) limit_up: Rate,
    /// budget for blocks in flight (default: at most 16 MiB, as the host bears)
    #[argh(option, arg_name = "SIZE", from_str_fn(values::memory))]
    pub(super) memory: Option<Size>,
    /// ask for pieces in their order
    #[argh(switch)]
    pub(super) sequential: bool,
    /// give up when nothing arrives for so long (default: never)
    #[argh(option, arg_name = "SECS", from_str_fn(values::seconds))]
    pub(super) timeout: Option<std::time::Duration>,

    /// run by sh -c once a torrent, with RONDALLA_INFOHASH, RONDALLA_NAME and RONDALLA_PATH
    #[argh(option, arg_name = "COMMAND")]
    pub(super) on_done: Option<Shielded>,
    /// write each notification and order of the main thread to FILE, as one JSON line
    #[argh(option, arg_name = "FILE")]
    pub(super) trace: Option<Shielded>,
    /// the ring's time passes so many times as fast; for tests
    #[argh(option, hidden_help, arg_name = "N", from_str_fn(values::count))]
    pub(super) clock_rate: Option<u32>,
    /// print a stream of JSON objects, one a line
    #[argh(switch)]
    pub(super) json: bool,
    /// say nothing but errors
    #[argh(switch, short = 'q')]
    pub(super) quiet: bool,
    /// say more; -vv says most
    #[argh(switch, short = 'v')]
    pub(super) verbose: u8,
    /// a .torrent file, - for stdin, a magnet link or an info-hash
    #[argh(positional, arg_name = "SOURCE")]
    pub(super) sources: Vec<Shielded>,
}
