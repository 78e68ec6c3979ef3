//! The console: the thread that tells the user what happens, and finds the exit code.
//!
//! It reads events from a queue that never makes main wait, so a blocked pipe stops nobody else.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::actors::clock::now;
use crate::bus::{Event, PeerState, Progress, TorrentEvent};
use crate::cli::failure::{Exit, Failure};
use crate::cli::hook::Hook;
use crate::cli::json;
use crate::cli::options::OutputOptions;
use crate::cli::progress::{ProgressLine, Traffic};
use crate::cli::terminal::{CLEAR_LINE, Out, Terminal, escape};
use crate::session::{Events, Goal};
use crate::words::id::InfoHash;
use crate::words::limits;

/// How the torrents ended: the exit of each that failed.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What ended a torrent; of several failures the first.
    pub(super) torrents: BTreeMap<InfoHash, Exit>,
}

/// Starts the console. `failures` were found before there was a session.
pub(super) fn start(
    events: Events,
    output: OutputOptions,
    goal: Goal,
    hook: Option<Hook>,
    failures: Vec<Failure>,
) -> io::Result<JoinHandle<Outcome>> {
    let console = Console {
        out: Out::new(io::stdout()),
        err: Out::new(io::stderr()),
        output,
        goal,
        hook,
        terminal: Terminal::of_stderr(),
        torrents: BTreeMap::new(),
        outcome: Outcome::default(),
        drawn: false,
        told_at: None,
    };
    let builder = Builder::new().name("console".into()).stack_size(limits::CONSOLE_STACK);
    builder.spawn(move || console.run(events, &failures))
}

struct Console<W: Write, E: Write> {
    out: Out<W>,
    err: Out<E>,
    output: OutputOptions,
    goal: Goal,
    terminal: Terminal,
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
    Running,
    Ended,
}

impl<W: Write, E: Write> Console<W, E> {
    fn run(mut self, events: Events, failures: &[Failure]) -> Outcome {
        for failure in failures {
            self.fail(failure);
        }
        let mut failures = failures;
        for event in events {
            if self.output.json {
                self.tell_json(&event);
                if !failures.is_empty() && matches!(event, Event::Listening(_)) {
                    for failure in std::mem::take(&mut failures) {
                        self.print(&json::failed(failure).to_string());
                    }
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
            self.print(&object.to_string());
        }
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::Listening(address) => self.remark(&format!("listening at {address}")),
            Event::Stranger { address, reason } => {
                self.remark(&format!("peer {address}: {reason}"));
            }
            Event::Ended => {}
            Event::Torrent(info_hash, event) => self.tell_of_torrent(info_hash, event),
        }
    }

    fn tell_of_torrent(&mut self, info_hash: InfoHash, event: TorrentEvent) {
        match event {
            TorrentEvent::Started { name, size, pieces: _ } => {
                let known = self.torrents.entry(info_hash).or_default();
                (known.name, known.progress.size) = (name, size);
            }
            TorrentEvent::Checking { done, size } => {
                let known = self.torrents.entry(info_hash).or_default();
                (known.progress.done, known.progress.size) = (done, size);
                self.show_progress();
            }
            TorrentEvent::Checked { good, pieces } => {
                let known = self.torrents.entry(info_hash).or_default();
                known.stage = Stage::Running;
                let name = known.name.clone();
                self.remark(&format!("{name}: {good} of {pieces} pieces are here"));
                if self.goal == Goal::Seed && good == 0 {
                    let why = "there is nothing to seed; --dir names the folder that holds it";
                    self.warn(&format!("{name}: {why}"));
                }
            }
            TorrentEvent::Progress(progress) => {
                self.torrents.entry(info_hash).or_default().progress = progress;
                self.show_progress();
            }
            TorrentEvent::Peer { address, state, client } => {
                let name = if client.is_empty() { String::new() } else { format!(" ({client})") };
                match state {
                    PeerState::Connected => {
                        self.remark(&format!("peer {address}{name}: connected"));
                    }
                    PeerState::Gone(reason) => {
                        self.remark(&format!("peer {address}{name}: {reason}"));
                    }
                }
            }
            TorrentEvent::Piece(_) => {}
            TorrentEvent::Finished { path, .. } => {
                if !self.output.json {
                    self.print(&escape(&path.to_string_lossy()));
                }
            }
            TorrentEvent::Settled { path } => {
                let name = &self.torrents.entry(info_hash).or_default().name;
                let hook = self.hook.as_mut();
                if let Some(warning) = hook.and_then(|hook| hook.start(info_hash, name, &path)) {
                    self.warn(&warning);
                }
            }
            TorrentEvent::Warning(message) => {
                let name = &self.torrents.entry(info_hash).or_default().name;
                let text = format!("{name}: {message}");
                self.warn(&text);
            }
            TorrentEvent::Error(trouble) => {
                let failure = Failure::from(trouble);
                self.outcome.torrents.entry(info_hash).or_insert(failure.exit);
                self.torrents.entry(info_hash).or_default().stage = Stage::Ended;
                self.fail(&failure);
            }
        }
    }

    /// Data: to stdout, whole lines.
    fn print(&mut self, line: &str) {
        self.clear();
        // A closed stdout ends the output, not the session.
        writeln!(self.out, "{line}").and_then(|()| self.out.flush()).ok();
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
            write!(self.err, "{CLEAR_LINE}").and_then(|()| self.err.flush()).ok();
        }
    }

    fn show_progress(&mut self) {
        if self.output.quiet || self.running().next().is_none() {
            return;
        }
        if self.terminal.redraws {
            let name = self.title();
            self.line(&name).draw(&self.terminal, &mut self.err).ok();
            self.drawn = true;
        } else if self.told_at.is_none_or(|at| now() >= at + LOG_EVERY) {
            let sentence = self.line(&self.title()).sentence();
            self.say(&sentence);
            self.told_at = Some(now());
        }
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
                Stage::Running | Stage::Ended => only.name.clone(),
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
