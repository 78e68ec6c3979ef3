//! What is said about trackers.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::formats::announce::{Announce, Answer, Refusal};
use crate::formats::url::Url;

/// A tracker of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracker {
    /// Where it is.
    pub url: Url,
    /// The user named it, not the torrent.
    pub named: bool,
}

impl fmt::Display for Tracker {
    /// Without the query, in which a user's secret may stand.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.url.scheme, self.url.authority(), self.url.path())
    }
}

/// The number of an announce that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AnnounceNumber(pub u64);

/// To whoever speaks to trackers: announce this, and say what came of it.
#[derive(Clone, Debug)]
pub struct ToTracker {
    /// Under which number to tell it.
    pub number: AnnounceNumber,
    /// The tracker.
    pub tracker: Arc<Tracker>,
    /// The id that it gave last time.
    pub tracker_id: Option<Vec<u8>>,
    /// What is said.
    pub announce: Announce,
}

/// What came of an announce.
#[derive(Debug)]
pub enum TrackerNews {
    /// These share the torrent: at most
    /// [`limits::FOUND_WORD`](crate::words::limits::trackers::FOUND_WORD) of them.
    Found(AnnounceNumber, Vec<SocketAddr>),
    /// It answered; the peers of the answer were told before. The last word.
    Answered(AnnounceNumber, Box<Answer>),
    /// It did not answer. The last word.
    Failed(AnnounceNumber, TrackerFailure),
}

/// Why a tracker did not answer. Its text is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackerFailure {
    /// It could not be reached, or its answer is no answer.
    Unreachable(String),
    /// It refuses.
    Refused(Refusal),
}

impl fmt::Display for TrackerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => f.write_str(why),
            Self::Refused(refusal) => write!(f, "{refusal}"),
        }
    }
}
