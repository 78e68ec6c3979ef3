//! What each subcommand is asked to do, read and checked: plain values that own what they hold.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::formats::metainfo::Metainfo;
use crate::formats::mse::Encryption;
use crate::formats::url::Url;
use crate::words::address::{Address, ListenAddress};
use crate::words::id::InfoHash;
use crate::words::units::{Rate, Size, Unparsable};

/// What is said, and in which form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputOptions {
    /// `-q`: nothing but errors.
    pub quiet: bool,
    /// How often `-v` was given.
    pub verbose: u8,
    /// `--json`: one JSON object a line on stdout.
    pub json: bool,
}

/// The parts of the program that `--no-…` turns off; `true` is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The Chord ring.
    pub chord: bool,
    /// Trackers, those in the torrent too.
    pub trackers: bool,
    /// Peer exchange (BEP 11).
    pub pex: bool,
    /// Local service discovery (BEP 14).
    pub lan: bool,
    /// The Mainline DHT (BEP 5).
    pub dht: bool,
    /// Uploading.
    pub upload: bool,
}

/// How peers are met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkOptions {
    /// Where to listen.
    pub listen: ListenAddress,
    /// Nodes of the ring; each port is above 0.
    pub joins: Vec<Address>,
    /// Nodes by which to enter Mainline, each port above 0; none: the well-known ones.
    pub dht_routers: Vec<Address>,
    /// How many times as fast the ring's time passes; for tests.
    pub clock_rate: Option<u32>,
    /// Peers to dial at once; each port is above 0.
    pub peers: Vec<Address>,
    /// Announce URLs beside the torrents' own.
    pub trackers: Vec<Url>,
    /// What is turned on.
    pub parts: Parts,
    /// Most peers of the whole process, at least 1; `None`: what the host bears.
    pub max_peers: Option<u32>,
    /// Encryption of connections.
    pub encryption: Encryption,
}

/// Files by their numbers, from 1, as in `1-5,8`. No range is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection(pub Vec<RangeInclusive<u32>>);

impl Selection {
    /// The selected files of a torrent, as indices into [`Metainfo::files`]. Pad files have no
    /// number, as `show` lists them.
    pub fn files_of(&self, metainfo: &Metainfo) -> BTreeSet<usize> {
        metainfo.files_numbered(&self.0)
    }
}

impl FromStr for Selection {
    type Err = Unparsable;

    fn from_str(text: &str) -> Result<Self, Unparsable> {
        const FORM: Unparsable = Unparsable("write numbers of files, from 1, and ranges: 1-5,8");

        let number = |text: &str| match text.parse() {
            Ok(number @ 1..) if !text.starts_with('+') => Ok(number),
            _ => Err(FORM),
        };
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range = number(first)?..=number(last)?;
            if range.is_empty() { Err(FORM) } else { Ok(range) }
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Self)
    }
}

/// `rondalla download` and `rondalla seed`.
#[derive(Clone, Debug, PartialEq)]
pub struct TransferOptions {
    /// What to download or seed: paths, `-`, URLs, magnet links or info-hashes. At least one, unless
    /// a folder is watched.
    pub sources: Vec<OsString>,
    /// How peers are met.
    pub network: NetworkOptions,
    /// Where the data is or goes.
    pub dir: PathBuf,
    /// Where state is kept, the default resolved.
    pub state: PathBuf,
    /// The files wanted; `None`: all.
    pub select: Option<Selection>,
    /// Whether pieces are asked for in their order.
    pub sequential: bool,
    /// Whether to go on seeding when done (`--seed-ratio` and `--seed-time` imply it).
    pub seed: bool,
    /// Uploaded / size at which seeding ends; finite, not negative.
    pub seed_ratio: Option<f64>,
    /// How long to seed.
    pub seed_time: Option<Duration>,
    /// Most bytes a second that arrive; 0: no limit.
    pub limit_down: Rate,
    /// Most bytes a second that leave; 0: no limit.
    pub limit_up: Rate,
    /// The budget for blocks in flight, at least one block; `None`: what the host bears.
    pub memory: Option<Size>,
    /// How long nothing may arrive, above 0; `None`: for ever.
    pub timeout: Option<Duration>,
    /// Whether to hash everything and trust no resume file.
    pub check: bool,
    /// Whether files that are not ours may be written to.
    pub overwrite: bool,
    /// Whether to save a magnet link's torrent and exit.
    pub metadata_only: bool,
    /// A folder whose torrents and magnet files are started.
    pub watch: Option<PathBuf>,
    /// What `sh -c` runs once a torrent.
    pub on_done: Option<OsString>,
    /// Where each notification and order is written.
    pub trace: Option<PathBuf>,
    /// What is said.
    pub output: OutputOptions,
}

/// `rondalla create`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateOptions {
    /// The file or folder.
    pub path: PathBuf,
    /// Where the torrent goes; `-`: stdout; `None`: `NAME.torrent`.
    pub to: Option<PathBuf>,
    /// Whether an existing torrent may be replaced.
    pub overwrite: bool,
    /// A power of two from 16 KiB to 256 MiB; `None`: chosen by size.
    pub piece_length: Option<u32>,
    /// Announce URLs in tiers (BEP 12), none empty.
    pub trackers: Vec<Vec<String>>,
    /// Web seeds (BEP 19).
    pub web_seeds: Vec<String>,
    /// Chord entry points; each has a host, and a port above 0.
    pub nodes: Vec<Address>,
    /// Whether only the torrent's trackers may give peers (BEP 27).
    pub private: bool,
    /// A comment.
    pub comment: Option<String>,
    /// The torrent's name; `None`: that of the file or folder.
    pub name: Option<OsString>,
    /// What sets the info-hash apart from others of the same data.
    pub source: Option<String>,
    /// Patterns of files to leave out.
    pub excludes: Vec<String>,
    /// Whether symbolic links are followed.
    pub follow: bool,
    /// Whether the creation date is left out.
    pub no_date: bool,
    /// What is said.
    pub output: OutputOptions,
}

/// `rondalla show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShowOptions {
    /// A torrent's path, `-`, a URL or a magnet link.
    pub source: OsString,
    /// Whether its trackers are asked how many share it.
    pub scrape: bool,
    /// What is said.
    pub output: OutputOptions,
}

/// `rondalla verify`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyOptions {
    /// The torrent's path, or `-`.
    pub torrent: OsString,
    /// Where the data is.
    pub dir: PathBuf,
    /// The files to check; `None`: all.
    pub select: Option<Selection>,
    /// What is said.
    pub output: OutputOptions,
}

/// `rondalla magnet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MagnetOptions {
    /// The torrent's path, or `-`.
    pub torrent: OsString,
    /// What is said.
    pub output: OutputOptions,
}

/// A shell that completes what is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// GNU's.
    Bash,
    /// The Z shell.
    Zsh,
    /// The friendly interactive shell.
    Fish,
}

impl FromStr for Shell {
    type Err = Unparsable;

    fn from_str(text: &str) -> Result<Self, Unparsable> {
        match text {
            "bash" => Ok(Self::Bash),
            "zsh" => Ok(Self::Zsh),
            "fish" => Ok(Self::Fish),
            _ => Err(Unparsable("write bash, zsh or fish")),
        }
    }
}

/// `rondalla completions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletionsOptions {
    /// For which shell.
    pub shell: Shell,
    /// What is said.
    pub output: OutputOptions,
}

/// `rondalla node`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOptions {
    /// Where to listen.
    pub listen: ListenAddress,
    /// Nodes by which to enter the ring.
    pub joins: Vec<Address>,
    /// How many times as fast the ring's time passes; for tests.
    pub clock_rate: Option<u32>,
    /// Peers and announce URLs, of which a node without torrents makes no use.
    pub peers: Vec<Address>,
    /// See `peers`.
    pub trackers: Vec<Url>,
    /// What is turned on, of which a node has the ring alone.
    pub parts: Parts,
    /// Most connections at once, at least 1.
    pub max_peers: Option<u32>,
    /// Where state is kept.
    pub state: PathBuf,
    /// What is said.
    pub output: OutputOptions,
}

/// How the ring is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskOptions {
    /// Nodes by which to enter the ring.
    pub joins: Vec<Address>,
    /// Where state is kept.
    pub state: PathBuf,
    /// How long to try.
    pub timeout: Duration,
}

/// `rondalla lookup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupOptions {
    /// The torrent.
    pub info_hash: InfoHash,
    /// How the ring is asked.
    pub ask: AskOptions,
    /// What is said.
    pub output: OutputOptions,
}

/// `rondalla ring`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingOptions {
    /// Where the drawing goes.
    pub svg: Option<PathBuf>,
    /// How the ring is asked.
    pub ask: AskOptions,
    /// What is said.
    pub output: OutputOptions,
}

/// `rondalla tracker`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackerOptions {
    /// Where to listen.
    pub listen: ListenAddress,
    /// How often clients are to announce.
    pub interval: Duration,
    /// What is said.
    pub output: OutputOptions,
}

/// A subcommand with its options.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Makes a torrent.
    Create(CreateOptions),
    /// Prints what a torrent or magnet link holds.
    Show(ShowOptions),
    /// Checks data against a torrent.
    Verify(VerifyOptions),
    /// Prints a torrent's magnet link.
    Magnet(MagnetOptions),
    /// Prints completions for a shell.
    Completions(CompletionsOptions),
    /// Downloads.
    Download(TransferOptions),
    /// Uploads what is there.
    Seed(TransferOptions),
    /// Runs a node of the ring alone.
    Node(NodeOptions),
    /// Asks the ring who shares a torrent.
    Lookup(LookupOptions),
    /// Walks the ring.
    Ring(RingOptions),
    /// Runs a tracker.
    Tracker(TrackerOptions),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_selected_by_number() {
        let table = [
            ("1", Some(vec![1..=1])),
            ("1-5,8", Some(vec![1..=5, 8..=8])),
            ("4294967295", Some(vec![u32::MAX..=u32::MAX])),
            ("", None),
            ("0", None),
            ("5-1", None),
            ("1-", None),
            ("-1", None),
            ("+1", None),
            ("1,,2", None),
            ("1-2-3", None),
            ("4294967296", None),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse().ok(), expected.map(Selection), "{text}");
        }
    }
}
