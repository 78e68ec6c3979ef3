//! Asking trackers how many share a torrent, without taking part: for `show --scrape`, and for
//! programs that want to know.

use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use crossbeam_channel::bounded;

use crate::actors::clock::now;
use crate::actors::scrapes;
use crate::formats::url::Url;
use crate::session::{NO_HTTPS, is_spoken, seed};
use crate::words::id::InfoHash;
use crate::words::limits;

pub use crate::formats::announce::Counts;

/// What each of the trackers answers within `patience`, in their order: how many share the torrent, or
/// why it does not say. At most [`SCRAPES_MAX`](limits::trackers::SCRAPES_MAX) are asked, all at once.
pub fn scrape(
    trackers: &[Url],
    info_hash: InfoHash,
    patience: Duration,
) -> Vec<(Url, Result<Counts, String>)> {
    let deadline = now() + patience;
    let (answered, answers) = bounded(limits::trackers::SCRAPES_MAX);
    let trackers = trackers.iter().take(limits::trackers::SCRAPES_MAX);
    let silence = "it does not answer".to_owned();
    let mut all: Vec<_> = trackers.map(|url| (url.clone(), Err(silence.clone()))).collect();
    let mut open = 0;
    for (place, (url, outcome)) in all.iter_mut().enumerate() {
        if !is_spoken(url.scheme) {
            *outcome = Err(NO_HTTPS.to_owned());
            continue;
        }
        let (url, answered) = (Arc::new(url.clone()), answered.clone());
        let ask = move || {
            let outcome = scrapes::scrape(&url, info_hash, deadline, seed());
            // Whoever asks may have gone on.
            answered.try_send((place, outcome)).ok();
        };
        let name = format!("tracker-{place}");
        let builder = Builder::new().name(name).stack_size(limits::stacks::ANNOUNCE);
        match builder.spawn(ask) {
            Ok(_asking) => open += 1,
            Err(error) => *outcome = Err(format!("its thread cannot be started: {error}")),
        }
    }
    // Who resolves a name cannot be woken, so nobody is waited for beyond the deadline.
    while open > 0
        && let Ok((place, outcome)) = answers.recv_deadline(deadline)
    {
        all[place].1 = outcome;
        open -= 1;
    }
    all
}
