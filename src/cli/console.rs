//! The console: the thread that tells the user what happens, and finds the exit code.
//!
//! It reads events from a queue that never makes main wait, so a blocked pipe stops nobody else.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::actors::clock::now;
use crate::bus::{Dropped, Event, PeerState, Progress, RingState, TorrentEvent, TrackerState};
use crate::cli::failure::{Exit, Failure};
use crate::cli::hook::Hook;
use crate::cli::json;
use crate::cli::options::OutputOptions;
use crate::cli::progress::{ProgressLine, Traffic, draw_text};
use crate::cli::terminal::{CLEAR, Out, Terminal, escape};
use crate::formats::path::shown;
use crate::session::{Events, Goal};
use crate::words::id::InfoHash;
use crate::words::limits;

/// The torrents that failed, in the order in which they did; of several failures of one the first.
#[derive(Debug, Default)]
pub(super) struct Outcome(Vec<(InfoHash, Exit)>);

impl Outcome {
    /// How this torrent failed, if it did.
    pub(super) fn of(&self, info_hash: InfoHash) -> Option<Exit> {
        self.0.iter().find(|(failed, _)| *failed == info_hash).map(|(_, exit)| *exit)
    }

    /// How the first torrent failed that did.
    pub(super) fn first(&self) -> Option<Exit> {
        self.0.first().map(|(_, exit)| *exit)
    }

    fn add(&mut self, info_hash: InfoHash, exit: Exit) {
        if self.of(info_hash).is_none() {
            self.0.push((info_hash, exit));
        }
    }
}

/// What was found before there was a session.
#[derive(Debug, Default)]
pub(super) struct Preface {
    pub(super) failures: Vec<Failure>,
    pub(super) warnings: Vec<String>,
    pub(super) remarks: Vec<String>,
}

/// Starts the console.
pub(super) fn start(
    events: Events,
    output: OutputOptions,
    goal: Goal,
    hook: Option<Hook>,
    preface: Preface,
) -> io::Result<JoinHandle<Outcome>> {
    let console = Console {
        out: Out::new(io::stdout()),
        err: Out::new(io::stderr()),
        output,
        goal,
        hook,
        terminal: Terminal::of_stderr(),
        is_read_by_people: io::stdout().is_terminal(),
        torrents: BTreeMap::new(),
        outcome: Outcome::default(),
        drawn: false,
        told_at: None,
    };
    let builder = Builder::new().name("console".into()).stack_size(limits::stacks::CONSOLE);
    builder.spawn(move || console.run(events, preface))
}

struct Console<W: Write, E: Write> {
    out: Out<W>,
    err: Out<E>,
    output: OutputOptions,
    goal: Goal,
    terminal: Terminal,
    /// Whether stdout is a terminal.
    is_read_by_people: bool,
    torrents: BTreeMap<InfoHash, Known>,
    outcome: Outcome,
    hook: Option<Hook>,
    /// A progress line stands on the terminal's last line.
    drawn: bool,
    /// When the last line of progress was written to a log.
    told_at: Option<Instant>,
}

/// What the console knows of a torrent.
#[derive(Debug, Default)]
struct Known {
    name: String,
    stage: Stage,
    progress: Progress,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Checking,
    /// Its metadata is looked for.
    Seeking,
    Running,
    Ended,
}

impl<W: Write, E: Write> Console<W, E> {
    fn run(mut self, events: Events, preface: Preface) -> Outcome {
        let Preface { failures, warnings, remarks } = preface;
        failures.iter().for_each(|failure| self.fail(failure));
        warnings.iter().for_each(|warning| self.warn(warning));
        remarks.iter().for_each(|remark| self.remark(remark));
        let warnings = warnings.iter().map(|warning| json::warning(warning));
        let mut objects: Vec<_> = failures.iter().map(json::failed).chain(warnings).collect();
        for event in events {
            if self.output.json {
                self.tell_json(&event);
                // The first object of all says where we listen.
                if matches!(event, Event::Listening(_)) {
                    objects.drain(..).for_each(|object| self.print(object.to_string()));
                }
            }
            self.tell(event);
            let warnings = self.hook.as_mut().map(Hook::look).unwrap_or_default();
            warnings.iter().for_each(|warning| self.warn(warning));
        }
        self.clear();
        let warnings = self.hook.take().map(Hook::finish).unwrap_or_default();
        warnings.iter().for_each(|warning| self.warn(warning));
        self.outcome
    }

    fn tell_json(&mut self, event: &Event) {
        if let Some(object) = json::object(event, self.output.verbose > 0) {
            self.print(object.to_string());
        }
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::Listening(address) => self.remark(&format!("listening at {address}")),
            Event::Stranger { address, reason } => {
                self.remark(&format!("peer {address}: {reason}"));
            }
            Event::Ring(state) => self.tell_of_ring(state),
            Event::Mainline => self.remark("Mainline: entered"),
            Event::Warning(message) => self.warn(&message),
            Event::SlowTurn { what, took } => self.remark(&slow_turn(what, took)),
            Event::Turns { count, within, slowest, what } => {
                let slowest = millis(slowest);
                let [half, most, nearly_all] = within.map(|took| took.as_nanos() / 1_000);
                self.remark(&format!(
                    "{count} turns of the main thread, half of them within {half} \u{b5}s, 99 % \
                     within {most}, 99.9 % within {nearly_all}, {slowest} at most: {what}"
                ));
            }
            Event::Ended => {}
            Event::Torrent(info_hash, event) => self.tell_of_torrent(info_hash, event),
        }
    }

    fn tell_of_ring(&mut self, state: RingState) {
        match state {
            RingState::Joined(address) => self.remark(&format!("the ring: member at {address}")),
            RingState::Client => self.remark("the ring: used, without a place on it"),
            // A warning says so.
            RingState::Alone => {}
            RingState::Dropped(Dropped { unreadable, unasked, too_many }) => {
                self.remark(&format!(
                    "the ring: {unreadable} datagrams were unreadable, {unasked} answered what was \
                     not asked, {too_many} were too many of one source"
                ));
            }
        }
    }

    fn tell_of_torrent(&mut self, info_hash: InfoHash, event: TorrentEvent) {
        let known = self.torrents.entry(info_hash).or_default();
        match event {
            TorrentEvent::Sought { name } => (known.name, known.stage) = (name, Stage::Seeking),
            TorrentEvent::Metadata { name, size } => {
                let remark = format!("{name}: its metadata is here");
                (known.name, known.progress.size, known.stage) = (name, size, Stage::Checking);
                self.remark(&remark);
            }
            TorrentEvent::Started { name, size, pieces: _ } => {
                (known.name, known.progress.size) = (name, size);
            }
            TorrentEvent::Checking { done, size } => {
                (known.progress.done, known.progress.size) = (done, size);
                self.show_progress();
            }
            TorrentEvent::Checked { good, pieces } => {
                known.stage = Stage::Running;
                let name = known.name.clone();
                self.tell_checked(&name, good, pieces);
            }
            TorrentEvent::Progress(progress) => {
                known.progress = progress;
                self.show_progress();
            }
            TorrentEvent::Peer { address, state, client } => {
                let client = if client.is_empty() { client } else { format!(" ({client})") };
                let news = match state {
                    PeerState::Connected => "connected".to_owned(),
                    PeerState::Gone { reason, .. } => reason,
                };
                self.remark(&format!("peer {address}{client}: {news}"));
            }
            TorrentEvent::Tracker { tracker, state } => {
                let news = match state {
                    TrackerState::Answered { event, peers, counts: _, again } => {
                        let event = event.map(|event| format!(" ({event})")).unwrap_or_default();
                        let again = again.as_secs();
                        format!("announced{event}: {peers} peers, again in {again} s")
                    }
                    TrackerState::Failed(reason) => reason,
                };
                self.remark(&format!("tracker {tracker}: {news}"));
            }
            TorrentEvent::Piece(_) => {}
            TorrentEvent::Finished { path, .. } => {
                if !self.output.json {
                    self.print_path(&path);
                }
            }
            TorrentEvent::Settled { path } => {
                let hook = self.hook.as_mut();
                let started = hook.and_then(|hook| hook.start(info_hash, &known.name, &path));
                if let Some(warning) = started {
                    self.warn(&warning);
                }
            }
            TorrentEvent::Warning(message) => {
                let text = format!("{}: {message}", known.name);
                self.warn(&text);
            }
            TorrentEvent::Error(trouble) => {
                known.stage = Stage::Ended;
                let failure = Failure::from(trouble);
                self.outcome.add(info_hash, failure.exit);
                self.fail(&failure);
            }
        }
    }

    fn tell_checked(&mut self, name: &str, good: u32, pieces: u32) {
        self.remark(&format!("{name}: {good} of {pieces} pieces are here"));
        if self.goal == Goal::Seed && good == 0 {
            let why = "there is nothing to seed; --dir names the folder that holds it";
            self.warn(&format!("{name}: {why}"));
        }
    }

    /// A path for people, or for programs, which need the very bytes to find what is there.
    fn print_path(&mut self, path: &Path) {
        if self.is_read_by_people {
            return self.print(escape(&shown(path)));
        }
        self.print(path.as_os_str().as_encoded_bytes());
    }

    /// Data: to stdout, whole lines.
    fn print(&mut self, line: impl AsRef<[u8]>) {
        self.clear();
        let line = [line.as_ref(), b"\n"].concat();
        // A closed stdout ends the output, not the session.
        self.out.write_all(&line).and_then(|()| self.out.flush()).ok();
    }

    fn say(&mut self, line: &str) {
        self.clear();
        // A closed stderr ends the output, not the session.
        writeln!(self.err, "{line}").ok();
    }

    fn remark(&mut self, text: &str) {
        if self.output.verbose > 0 {
            self.say(&escape(text));
        }
    }

    fn warn(&mut self, text: &str) {
        if !self.output.quiet {
            self.say(&format!("rondalla: warning: {}", escape(text)));
        }
    }

    fn fail(&mut self, failure: &Failure) {
        self.say(&format!("rondalla: {failure}"));
    }

    /// Takes the progress line off the terminal, so that another line can be written.
    fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            write!(self.err, "{CLEAR}").and_then(|()| self.err.flush()).ok();
        }
    }

    fn show_progress(&mut self) {
        if self.output.quiet || self.running().next().is_none() {
            return;
        }
        if self.terminal.redraws {
            let (name, terminal) = (self.title(), self.terminal.measured());
            match self.search() {
                Some(search) => draw_text(&search, &mut self.err).ok(),
                None => self.line(&name).draw(&terminal, &mut self.err).ok(),
            };
            self.drawn = true;
        } else if self.told_at.is_none_or(|at| now() >= at + LOG_EVERY) {
            let search = self.search();
            let sentence = search.unwrap_or_else(|| self.line(&self.title()).sentence());
            self.say(&sentence);
            self.told_at = Some(now());
        }
    }

    /// What is said while nothing has a size yet, since all metadata is still looked for.
    fn search(&self) -> Option<String> {
        if self.running().any(|known| known.stage != Stage::Seeking) {
            return None;
        }
        let peers: u32 = self.running().map(|known| known.progress.peers).sum();
        let peers = if peers == 1 { "1 peer".to_owned() } else { format!("{peers} peers") };
        Some(format!("{}: looking for metadata, {peers}", escape(&self.title())))
    }

    /// The torrents that did not end early.
    fn running(&self) -> impl Iterator<Item = &Known> {
        self.torrents.values().filter(|known| known.stage != Stage::Ended)
    }

    /// The name of the one torrent, or how many there are.
    fn title(&self) -> String {
        match self.running().next() {
            Some(only) if self.torrents.len() == 1 => match only.stage {
                Stage::Checking => format!("checking {}", only.name),
                Stage::Seeking | Stage::Running | Stage::Ended => only.name.clone(),
            },
            _ => format!("{} torrents", self.torrents.len()),
        }
    }

    /// The line of the one torrent, or the sum of several.
    fn line<'a>(&self, name: &'a str) -> ProgressLine<'a> {
        let sum = self.running().fold(Progress::default(), |sum, known| add(sum, &known.progress));
        let traffic = Traffic {
            down: sum.down,
            up: sum.up,
            peers: sum.peers,
            seeders: sum.seeders,
            eta: sum.eta.filter(|_| sum.done < sum.size).map(Duration::from_secs),
        };
        let moves = self.running().any(|known| known.stage == Stage::Running);
        let traffic = moves.then_some(traffic);
        ProgressLine { name, done: sum.done, size: sum.size, traffic }
    }
}

/// What is said of a turn that took long.
pub(super) fn slow_turn(what: &str, took: Duration) -> String {
    format!("a turn of the main thread took {}: {what}", millis(took))
}

/// A short time with three digits.
fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1_000.0;
    let digits = if millis < 1.0 {
        3
    } else if millis < 10.0 {
        2
    } else {
        0
    };
    format!("{millis:.digits$} ms")
}

/// How often a log that is no terminal gets a line of progress.
const LOG_EVERY: Duration = Duration::from_secs(10);

fn add(sum: Progress, one: &Progress) -> Progress {
    Progress {
        done: sum.done + one.done,
        size: sum.size + one.size,
        down: sum.down + one.down,
        up: sum.up + one.up,
        uploaded: sum.uploaded + one.uploaded,
        peers: sum.peers + one.peers,
        seeders: sum.seeders + one.seeders,
        eta: sum.eta.max(one.eta),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::{Trouble, TroubleKind};

    const A: InfoHash = InfoHash([1; 20]);

    fn console(redraws: bool) -> Console<Vec<u8>, Vec<u8>> {
        Console {
            out: Out::new(Vec::new()),
            err: Out::new(Vec::new()),
            output: OutputOptions::default(),
            goal: Goal::Complete,
            terminal: Terminal { redraws, colours: false, width: 80 },
            is_read_by_people: redraws,
            torrents: BTreeMap::new(),
            outcome: Outcome::default(),
            hook: None,
            drawn: false,
            told_at: None,
        }
    }

    fn progress(done: u64) -> TorrentEvent {
        TorrentEvent::Progress(Progress { done, size: 100, ..Progress::default() })
    }

    fn started(name: &str) -> TorrentEvent {
        TorrentEvent::Started { name: name.to_owned(), size: 100, pieces: 1 }
    }

    #[test]
    fn a_log_gets_a_line_of_progress_every_ten_seconds_and_a_terminal_each() {
        for (redraws, expected) in [(false, 1), (true, 3)] {
            let mut console = console(redraws);
            console.tell_of_torrent(A, started("a"));
            for done in 0..3 {
                console.tell_of_torrent(A, progress(done));
            }
            let said = String::from_utf8(console.err.into_inner()).unwrap();
            assert_eq!(
                said.matches("a ").count() + said.matches("a: ").count(),
                expected,
                "{said}"
            );
        }
    }

    #[test]
    fn a_line_that_is_drawn_goes_before_another_is_said() {
        let mut console = console(true);
        console.tell_of_torrent(A, started("a"));
        console.tell_of_torrent(A, progress(1));
        console.tell_of_torrent(A, TorrentEvent::Warning("it is slow".to_owned()));
        let said = String::from_utf8(console.err.into_inner()).unwrap();
        assert!(said.ends_with(&format!("{CLEAR}rondalla: warning: a: it is slow\n")), "{said:?}");
    }

    /// A script finds what was downloaded; nothing that moves the cursor reaches a person.
    #[test]
    #[cfg(unix)]
    fn a_path_is_printed_for_people_or_for_programs() {
        use std::os::unix::ffi::OsStrExt as _;
        let raw = b"a\xe9\xe2\x80\xae/b".as_slice();
        for (people, wanted) in [(true, br"a%E9\u{202e}/b".as_slice()), (false, raw)] {
            let mut console = console(people);
            let path = std::ffi::OsStr::from_bytes(raw).into();
            let event = TorrentEvent::Finished { seconds: 1.0, bytes: 1, uploaded: 0, path };
            console.tell_of_torrent(A, event);
            let printed = console.out.into_inner();
            assert_eq!(
                printed.escape_ascii().to_string(),
                [wanted, b"\n"].concat().escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn of_several_failures_of_a_torrent_the_first_counts() {
        let mut console = console(false);
        let trouble = |kind| Trouble { kind, what: "a".into(), why: "it fails".into() };
        console.tell_of_torrent(A, TorrentEvent::Error(trouble(TroubleKind::NoSpace)));
        console.tell_of_torrent(A, TorrentEvent::Error(trouble(TroubleKind::Interrupted)));
        let b = InfoHash([2; 20]);
        console.tell_of_torrent(b, TorrentEvent::Error(trouble(TroubleKind::Network)));
        let outcome = console.outcome;
        assert_eq!(outcome.first(), Some(Exit::NoSpace));
        assert_eq!([outcome.of(A), outcome.of(b)], [Some(Exit::NoSpace), Some(Exit::Network)]);
        assert_eq!(outcome.of(InfoHash([3; 20])), None);
    }
}
