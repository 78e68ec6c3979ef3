//! What the engine wants of trackers.

use super::*;
use crate::bus::trackers::{AnnounceNumber, TrackerFailure, TrackerNews};
use crate::formats::announce::{Answer, Refusal};
use crate::formats::url::Url;
use crate::words::limits::trackers as bounds;

/// Tiers of trackers, with spaces between those of one.
fn tiers(tiers: &[&str]) -> Vec<Vec<Arc<Tracker>>> {
    let tracker = |text| Arc::new(Tracker { url: Url::parse(text).unwrap(), named: false });
    tiers.iter().map(|tier| tier.split(' ').map(tracker).collect()).collect()
}

impl Drive {
    /// A torrent of one piece that is to be downloaded, with these trackers.
    fn tracked(&mut self, trackers: &[&str]) -> String {
        self.trackers = tiers(trackers);
        let at = self.torrents.len();
        self.adds(made_up::torrent(&at.to_string(), 2 * BLOCK_LEN, 1), &[]);
        self.storage(u32::try_from(at).unwrap(), StorageNews::Opened);
        self.waits(Duration::ZERO)
    }

    /// The oldest announce is answered.
    fn answers(&mut self, answer: Answer) -> String {
        let number = self.announces.pop_front().unwrap().number;
        self.tracker(TrackerNews::Answered(number, Box::new(answer)))
    }

    /// The oldest announce fails.
    fn fails(&mut self) -> String {
        let number = self.announces.pop_front().unwrap().number;
        let failure = TrackerFailure::Unreachable("it does not answer".into());
        self.tracker(TrackerNews::Failed(number, failure))
    }

    fn tracker(&mut self, news: TrackerNews) -> String {
        let first = self.handle(Notification::Tracker(news));
        let then = self.waits(Duration::ZERO);
        [first, then].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ")
    }
}

fn every(seconds: i64) -> Answer {
    Answer { interval: Some(seconds), ..Answer::default() }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_tracker_hears_of_the_start_the_completion_and_the_end() {
    let settings = Settings { goal: Goal::CompleteAndSeed, ..settings() };
    let mut drive = Drive::new(settings);
    drive.handle(Notification::Command(Command::Listening("0.0.0.0:6881".parse().unwrap())));
    script! {
        drive.tracked(&["http://a/announce"]) => "tell started to http://a/announce",
    }
    let announce = &drive.announces[0].announce;
    assert_eq!((announce.port, announce.left, announce.key, announce.wanted), (6881, 1, 7, 50));
    script! {
        drive.answers(every(1800)) => "",
        drive.waits(1799 * SECOND) => "",
        drive.waits(SECOND) => "tell to http://a/announce",
        drive.answers(every(1800)) => "",
        drive.storage(0, StorageNews::Verified(PieceIndex(0))) => "settle",
        drive.waits(Duration::ZERO) => "tell completed to http://a/announce",
    }
    assert_eq!(drive.announces[0].announce.left, 0);
    script! {
        drive.answers(every(1800)) => "",
        drive.quits() => "",
        drive.waits(Duration::ZERO) => "close, tell stopped to http://a/announce",
        drive.storage(0, StorageNews::Closed) => "",
        drive.answers(every(1800)) => "end",
    }
}

#[test]
fn whoever_had_everything_completes_nothing() {
    let mut drive = Drive::new(Settings { goal: Goal::Seed, ..settings() });
    drive.trackers = tiers(&["http://a/announce"]);
    drive.adds(torrent(1), &[]);
    drive.storage(0, StorageNews::Found(Word::of(PieceIndex(0))));
    drive.storage(0, StorageNews::Opened);
    script! {
        drive.waits(Duration::ZERO) => "tell started to http://a/announce",
        drive.answers(every(60)) => "",
        drive.waits(60 * SECOND) => "tell to http://a/announce",
    }
}

#[test]
fn peers_of_an_answer_are_dialled_once_and_our_own_address_never() {
    let mut drive = Drive::new(settings());
    drive.tracked(&["http://a/announce"]);
    let number = drive.announces[0].number;
    let peers = ["192.0.2.1:1", "192.0.2.2:2", "192.0.2.1:1"].map(|text| text.parse().unwrap());
    script! {
        drive.tracker(TrackerNews::Found(number, peers.to_vec())) =>
            "dial 0 at 192.0.2.1:1, dial 1 at 192.0.2.2:2",
        drive.tracker(TrackerNews::Found(AnnounceNumber(99), peers.to_vec())) => "",
    }
}

#[test]
fn each_tier_is_announced_to_and_in_it_one_after_another() {
    let mut drive = Drive::new(settings());
    script! {
        drive.tracked(&["http://a/x http://b/x http://c/x", "http://d/x"]) =>
            "tell started to http://a/x, tell started to http://d/x",
        drive.fails() => "tell started to http://b/x",
        drive.answers(every(3600)) => "",
        drive.answers(every(1800)) => "",
        // Whoever answered is asked first.
        drive.waits(1800 * SECOND) => "tell to http://b/x",
    }
}

#[test]
fn a_dead_tracker_delays_the_next_by_a_few_seconds() {
    let mut drive = Drive::new(settings());
    script! {
        drive.tracked(&["http://a/x http://b/x"]) => "tell started to http://a/x",
        drive.waits(bounds::IMPATIENCE) => "tell started to http://b/x",
    }
    let dead = drive.announces.pop_front().unwrap();
    let failure = TrackerFailure::Unreachable("it does not answer".into());
    script! {
        drive.answers(every(600)) => "",
        drive.tracker(TrackerNews::Failed(dead.number, failure)) => "",
        drive.waits(600 * SECOND) => "tell to http://b/x",
    }
}

#[test]
fn failures_back_off_by_minutes() {
    let mut drive = Drive::new(settings());
    drive.tracked(&["http://a/x"]);
    let mut minutes = Vec::new();
    for _ in 0..9 {
        assert_eq!(drive.fails(), "");
        let mut waited = 0;
        while drive.announces.is_empty() {
            waited += 1;
            drive.waits(60 * SECOND);
        }
        minutes.push(waited);
    }
    assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn intervals_are_bounded_and_a_hungry_download_asks_as_early_as_it_may() {
    let table = [
        (every(0), 1800),
        (every(-5), 1800),
        (Answer::default(), 1800),
        (every(1), 60),
        (every(i64::MAX), 3 * 3600),
        (Answer { min_interval: Some(300), ..every(1800) }, 300),
        (Answer { min_interval: Some(-1), ..every(1800) }, 1800),
        (Answer { min_interval: Some(i64::MAX), ..every(1800) }, 1800),
    ];
    for (answer, seconds) in table {
        let mut drive = Drive::new(settings());
        drive.tracked(&["http://a/x"]);
        script! {
            drive.answers(answer) => "",
            drive.waits((seconds - 1) * SECOND) => "",
            drive.waits(SECOND) => "tell to http://a/x",
        }
    }
}

#[test]
fn what_a_tracker_says_is_said_back_and_told_once() {
    let mut drive = Drive::new(settings());
    drive.tracked(&["http://a/x?passkey=secret"]);
    drive.events();
    let warning = Some("be nice".to_owned());
    let answer = Answer { tracker_id: Some(b"id".to_vec()), warning, ..every(60) };
    drive.answers(answer.clone());
    assert_eq!(drive.events(), "warning: http://a/x warns: be nice, http://a/x answered");
    drive.waits(60 * SECOND);
    assert_eq!(drive.announces[0].tracker_id.as_deref(), Some(&b"id"[..]));
    drive.answers(answer);
    assert_eq!(drive.events(), "http://a/x answered");
    drive.waits(60 * SECOND);
    let number = drive.announces.pop_front().unwrap().number;
    let failure = TrackerFailure::Refused(Refusal::Failure("gone".into()));
    drive.tracker(TrackerNews::Failed(number, failure));
    assert_eq!(drive.events(), "http://a/x failed: it refuses: gone");
}

#[test]
fn so_many_announces_are_under_way_and_one_to_each_host() {
    let mut drive = Drive::new(settings());
    let same: Vec<String> = (0..40).map(|n| format!("http://h/{n}")).collect();
    let others: Vec<String> = (0..40).map(|n| format!("http://h{n}/x")).collect();
    let all: Vec<&str> = same.iter().chain(&others).map(String::as_str).collect();
    drive.tracked(&all);
    assert_eq!(drive.announces.len(), bounds::ANNOUNCES_MAX as usize);
    let mut told = 0;
    while !drive.announces.is_empty() {
        told += 1;
        let hosts: Vec<_> = drive.announces.iter().map(|order| &order.tracker.url.host).collect();
        assert!((1..hosts.len()).all(|at| !hosts[at..].contains(&hosts[at - 1])));
        drive.answers(every(1800));
    }
    assert_eq!(told, 80);
}

#[test]
fn a_dead_tracker_does_not_delay_the_end() {
    let mut drive = Drive::new(settings());
    drive.tracked(&["http://a/x", "http://b/x"]);
    drive.answers(every(60));
    drive.waits(60 * SECOND);
    script! {
        // b has not answered at all, and a will not answer now: its goodbye waits for its turn.
        drive.quits() => "",
        drive.waits(Duration::ZERO) => "close",
        drive.storage(0, StorageNews::Closed) => "",
        drive.waits(bounds::STOPPED_MAX) => "end",
    }
}

#[test]
fn a_hundred_torrents_announce_although_a_tracker_is_dead() {
    let mut drive = Drive::new(Settings { stay: true, ..settings() });
    let mut heard = 0;
    for _ in 0..100 {
        drive.tracked(&["http://dead/x http://slow/x http://good/x"]);
    }
    for _ in 0..600 {
        let good = |order: &ToTracker| order.tracker.url.to_string() == "http://good/x";
        while let Some(at) = drive.announces.iter().position(good) {
            let number = drive.announces.remove(at).unwrap().number;
            drive.tracker(TrackerNews::Answered(number, Box::new(every(1800))));
            heard += 1;
        }
        assert!(drive.announces.len() <= bounds::ANNOUNCES_MAX as usize);
        drive.waits(SECOND / 10);
    }
    assert_eq!(heard, 100);
}
