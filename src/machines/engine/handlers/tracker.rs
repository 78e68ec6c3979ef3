//! News of trackers.

use std::net::SocketAddr;

use crate::bus::trackers::{AnnounceNumber, TrackerNews};
use crate::machines::engine::contacts::Way;
use crate::machines::engine::dials;
use crate::machines::engine::{Engine, trackers};

pub(in crate::machines::engine) fn handle_news(engine: &mut Engine, news: TrackerNews) {
    match news {
        TrackerNews::Found(number, peers) => handle_found(engine, number, &peers),
        TrackerNews::Answered(number, answer) => {
            trackers::handle_answered(engine, number, *answer);
        }
        TrackerNews::Failed(number, failure) => trackers::handle_failed(engine, number, &failure),
    }
}

/// These share a torrent: whoever is not known is dialled.
fn handle_found(engine: &mut Engine, number: AnnounceNumber, peers: &[SocketAddr]) {
    let Some(key) = engine.announces.get(number).map(|job| job.torrent) else { return };
    // Bound: limits::FOUND_WORD
    for &address in peers {
        engine.steps.step();
        dials::handle_found(engine, key, address, false, Way::Tracker);
    }
    dials::dial_next(engine);
}
