//! One HTTP announce, on a thread of its own.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};

use super::Herald;
use crate::actors::clock::now;
use crate::actors::http::{Fetched, Manner, addresses_of, get, is_own_host};
use crate::bus::trackers::{ToTracker, Tracker, TrackerFailure, TrackerNews};
use crate::formats::announce::{Answer, Event, Refusal, parse_answer};
use crate::formats::url::Url;
use crate::words::limits::{ENDING_MAX, trackers as limits};

/// An announce that is to be made.
pub(super) struct Call {
    pub(super) order: ToTracker,
    pub(super) leave_from: Option<IpAddr>,
    pub(super) herald: Herald,
    /// Its other end is gone when nobody waits any more.
    pub(super) ended: Receiver<()>,
}

impl Call {
    /// Makes it, and tells what came of it.
    pub(super) fn run(&self) {
        let number = self.order.number;
        let last_word = match self.announce() {
            Ok(answer) => TrackerNews::Answered(number, Box::new(answer)),
            Err(failure) => TrackerNews::Failed(number, failure),
        };
        self.herald.tell(last_word);
    }

    /// Announces once to an address of each family that the tracker has (BEP 7), and tells of the
    /// peers. One answer is enough.
    fn announce(&self) -> Result<Answer, TrackerFailure> {
        let ToTracker { tracker, tracker_id, announce, .. } = &self.order;
        let url = announce.url(&tracker.url, tracker_id.as_deref());
        let addresses = addresses_of(&url).map_err(TrackerFailure::Unreachable)?;
        let (v4, v6): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv4);
        let mut answered = None;
        let mut failure = None;
        for family in [v4, v6].into_iter().filter(|family| !family.is_empty()) {
            match self.ask(&url, tracker, &family) {
                Ok((answer, fetched)) => {
                    let (ours, theirs) = (fetched.ours.ip(), fetched.theirs.ip());
                    self.herald.tell_of_peers(&self.order, &answer, Some(ours), theirs);
                    answered = answered.or(Some(answer));
                }
                Err(why) => failure = failure.or(Some(why)),
            }
        }
        let nowhere = || TrackerFailure::Unreachable("its name has no address".to_owned());
        answered.ok_or_else(|| failure.unwrap_or_else(nowhere))
    }

    fn ask(
        &self,
        url: &Url,
        tracker: &Arc<Tracker>,
        addresses: &[SocketAddr],
    ) -> Result<(Answer, Fetched), TrackerFailure> {
        let stopped = self.order.announce.event == Some(Event::Stopped);
        let patience: Duration = if stopped { ENDING_MAX } else { limits::ANNOUNCE_TIMEOUT };
        let manner = Manner {
            deadline: now() + patience,
            body_max: limits::ANSWER_LEN_MAX,
            leave_from: self.leave_from,
            judge: &|asked, ip| judge(asked, ip, tracker.named && asked == url),
            is_over: &|| self.ended.try_recv() == Err(TryRecvError::Disconnected),
        };
        let fetched = get(url, addresses, &manner).map_err(TrackerFailure::Unreachable)?;
        match parse_answer(&fetched.body) {
            Err(Refusal::Failure(why)) => Err(TrackerFailure::Refused(Refusal::Failure(why))),
            _ if fetched.status != 200 => {
                let why = format!("it answers with HTTP status {}", fetched.status);
                Err(TrackerFailure::Unreachable(why))
            }
            Ok(answer) => Ok((answer, fetched)),
            Err(refusal) => Err(TrackerFailure::Unreachable(refusal.to_string())),
        }
    }
}

/// Whether a tracker may be asked at an address. Whoever writes a torrent could have us ask whatever
/// else serves HTTP on this host, so there only what looks like a tracker is asked, unless the user
/// named it.
pub(super) fn judge(url: &Url, ip: IpAddr, named: bool) -> Result<(), String> {
    if is_own_host(ip) && !named && !url.path().starts_with("/announce") {
        return Err("it is on this host, and its path does not begin with /announce".to_owned());
    }
    Ok(())
}
