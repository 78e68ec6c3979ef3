//! Events as the objects of `--json`.

use serde_json::{Value, json};

use crate::bus::{Dropped, Event, PeerState, Progress, RingState, TorrentEvent, TrackerState};
use crate::cli::console::slow_turn;
use crate::cli::failure::Failure;
use crate::formats::path::shown;

/// The object of an event, or `None` for what has none.
pub(super) fn object(event: &Event, verbose: bool) -> Option<Value> {
    let (infohash, mut object) = match event {
        Event::Listening(addr) => (None, json!({ "event": "listening", "addr": addr.to_string() })),
        Event::Stranger { address, reason } => (
            None,
            json!({ "event": "peer", "addr": address, "state": "gone", "client": "", "reason": reason }),
        ),
        Event::Ring(state) => (None, ring_object(*state)),
        Event::Mainline => (None, json!({ "event": "dht", "state": "joined" })),
        Event::Warning(message) => (None, warning(message)),
        Event::SlowTurn { what, took } if verbose => (None, warning(&slow_turn(what, *took))),
        Event::Turns { count, within, slowest, what } if verbose => {
            let [half, most, nearly_all] = within.map(|took| took.as_secs_f64());
            let object = json!({
                "event": "turns", "count": count, "p50": half, "p99": most, "p999": nearly_all,
                "slowest": slowest.as_secs_f64(), "what": what,
            });
            (None, object)
        }
        Event::SlowTurn { .. } | Event::Turns { .. } | Event::Ended => return None,
        Event::Torrent(infohash, event) => (Some(infohash), torrent_object(event, verbose)?),
    };
    if let (Some(infohash), Some(fields)) = (infohash, object.as_object_mut()) {
        fields.insert("infohash".to_owned(), infohash.to_string().into());
    }
    Some(object)
}

/// The object of a warning.
pub(super) fn warning(message: &str) -> Value {
    json!({ "event": "warning", "message": message })
}

/// The object of a failure.
pub(super) fn failed(failure: &Failure) -> Value {
    json!({ "event": "error", "message": failure.to_string(), "code": failure.exit as u8 })
}

fn torrent_object(event: &TorrentEvent, verbose: bool) -> Option<Value> {
    Some(match event {
        TorrentEvent::Started { name, size, pieces } => {
            json!({ "event": "started", "name": name, "size": size, "pieces": pieces })
        }
        // It is told by what is tried.
        TorrentEvent::Sought { .. } => return None,
        TorrentEvent::Metadata { name, size } => {
            json!({ "event": "metadata", "name": name, "size": size })
        }
        TorrentEvent::Checking { done, size } => {
            json!({ "event": "checking", "done": done, "size": size })
        }
        TorrentEvent::Checked { good, pieces } => {
            json!({ "event": "checked", "good": good, "pieces": pieces })
        }
        TorrentEvent::Progress(progress) => progress_object(progress),
        TorrentEvent::Peer { address, state, client } => match state {
            PeerState::Connected => {
                json!({ "event": "peer", "addr": address, "state": "connected", "client": client })
            }
            PeerState::Gone { reason, downloaded, uploaded } => json!({
                "event": "peer", "addr": address, "state": "gone", "client": client,
                "reason": reason, "downloaded": downloaded, "uploaded": uploaded,
            }),
        },
        TorrentEvent::Tracker { tracker, state } => tracker_object(tracker, state),
        TorrentEvent::Piece(piece) if verbose => json!({ "event": "piece", "index": piece.0 }),
        TorrentEvent::Piece(_) => return None,
        TorrentEvent::Finished { seconds, bytes, uploaded, path } => json!({
            "event": "finished", "seconds": seconds, "bytes": bytes, "uploaded": uploaded,
            "path": shown(path),
        }),
        // It only matters to whoever works on the files.
        TorrentEvent::Settled { .. } => return None,
        TorrentEvent::Warning(message) => warning(message),
        TorrentEvent::Error(trouble) => failed(&Failure::from(trouble.clone())),
    })
}

fn tracker_object(tracker: &str, state: &TrackerState) -> Value {
    match state {
        TrackerState::Answered { event, peers, counts, again } => json!({
            "event": "tracker", "url": tracker, "state": "announced",
            "told": event.map(|event| event.to_string()), "peers": peers,
            "seeders": counts.seeders, "leechers": counts.leechers, "again": again.as_secs(),
        }),
        TrackerState::Failed(reason) => {
            json!({ "event": "tracker", "url": tracker, "state": "failed", "reason": reason })
        }
    }
}

fn ring_object(state: RingState) -> Value {
    match state {
        RingState::Joined(address) => {
            json!({ "event": "ring", "state": "member", "addr": address.to_string() })
        }
        RingState::Client => json!({ "event": "ring", "state": "client" }),
        RingState::Alone => json!({ "event": "ring", "state": "alone" }),
        RingState::Dropped(Dropped { unreadable, unasked, too_many }) => json!({
            "event": "ring", "state": "dropped", "unreadable": unreadable, "unasked": unasked,
            "too_many": too_many,
        }),
    }
}

fn progress_object(progress: &Progress) -> Value {
    let Progress { done, size, down, up, uploaded, peers, seeders, eta } = progress;
    json!({
        "event": "progress", "done": done, "size": size, "down": down, "up": up,
        "uploaded": uploaded, "peers": peers, "seeders": seeders, "eta": eta,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::{Trouble, TroubleKind};
    use crate::words::id::{InfoHash, PieceIndex};

    #[test]
    fn events_are_objects_of_one_line() {
        let torrent = |event| Event::Torrent(InfoHash([0xab; 20]), event);
        let trouble = Trouble {
            kind: TroubleKind::NoSpace,
            what: "a\nb".to_owned(),
            why: "no space".to_owned(),
        };
        let table = [
            (
                Event::Listening("[::]:6881".parse().unwrap()),
                r#"{"addr":"[::]:6881","event":"listening"}"#.to_owned(),
            ),
            (
                torrent(TorrentEvent::Checked { good: 1, pieces: 2 }),
                format!(
                    r#"{{"event":"checked","good":1,"infohash":"{}","pieces":2}}"#,
                    "ab".repeat(20)
                ),
            ),
            (
                torrent(TorrentEvent::Error(trouble)),
                format!(
                    r#"{{"code":9,"event":"error","infohash":"{}","message":"a\\nb: no space"}}"#,
                    "ab".repeat(20)
                ),
            ),
        ];
        for (event, wanted) in table {
            assert_eq!(object(&event, false).unwrap().to_string(), wanted);
        }
        let (ms, what) = (std::time::Duration::from_millis, "Block");
        let within = [ms(250), ms(500), ms(1000)];
        let turns = Event::Turns { count: 3, within, slowest: ms(1500), what };
        let told = r#"{"count":3,"event":"turns","p50":0.25,"p99":0.5,"p999":1.0,"slowest":1.5,"what":"Block"}"#;
        let slow = Event::SlowTurn { what, took: ms(15) };
        let turn = r#"{"event":"warning","message":"a turn of the main thread took 15 ms: Block"}"#;
        let verbose = [(turns, told), (slow, turn)];
        for (event, wanted) in verbose {
            assert_eq!(object(&event, true).unwrap().to_string(), wanted);
            assert_eq!(object(&event, false), None);
        }
        let piece = torrent(TorrentEvent::Piece(PieceIndex(7)));
        assert_eq!(object(&piece, false), None);
        assert_eq!(object(&piece, true).unwrap()["index"], 7);
    }
}
