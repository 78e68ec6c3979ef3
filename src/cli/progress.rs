//! The progress of one torrent as one line: a bar for a terminal, a sentence for a log.
//!
//! Only the picture is made here; when it is shown is the console's to decide.

use std::io::{self, Write};
use std::time::Duration;

use crate::cli::terminal::{CLEAR, NO_WRAP, Terminal, WRAP, escape};
use crate::words::units::{Rate, Size, Span};

/// All that one line shows.
#[derive(Clone, Copy, Debug)]
pub struct ProgressLine<'a> {
    /// The torrent's name, as its maker gave it.
    pub name: &'a str,
    /// Verified bytes.
    pub done: u64,
    /// Bytes in all.
    pub size: u64,
    /// What goes over the network; `None` while only the disk is at work.
    pub traffic: Option<Traffic>,
}

/// What comes and goes.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Payload that arrives, in bytes a second.
    pub down: u64,
    /// Payload that leaves, in bytes a second.
    pub up: u64,
    /// Connected peers, seeders among them.
    pub peers: u32,
    /// Peers that have everything.
    pub seeders: u32,
    /// What is left of the way at this pace; `None`: nobody knows, or nothing is left.
    pub eta: Option<Duration>,
}

/// Narrowest bar that is drawn.
const BAR_MIN: usize = 10;
/// Widest bar that is drawn.
const BAR_MAX: usize = 40;
/// Narrowest name beside a bar.
const NAME_MIN: usize = 12;
/// Columns between two parts of the line.
const GAP: usize = 2;

const GREEN: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";

impl ProgressLine<'_> {
    /// Draws the bar over the last line of the terminal. The cursor goes back to its head, so that
    /// the `^C` of a user who interrupts does not begin a line of its own.
    ///
    /// # Errors
    /// If the terminal takes nothing.
    pub fn draw(&self, terminal: &Terminal, to: &mut dyn Write) -> io::Result<()> {
        draw_text(&self.bar(terminal.width, terminal.colours), to)
    }

    /// The line for a terminal of `width` columns, without an end of line. It never takes more
    /// columns than that; what has no room is left out, the least important part first.
    pub fn bar(&self, width: usize, colours: bool) -> String {
        let name = escape(self.name);
        let head = format!("{:>3}%", self.percent());
        let (tail, rest) = self.tail(width.saturating_sub(head.len() + 1));
        if rest < NAME_MIN {
            return cut(&format!("{head}{tail}"), width);
        }
        let bar = self.bar_width(rest, columns(&name));
        if bar == 0 {
            return format!("{} {head}{tail}", cut(&name, rest));
        }
        let room = rest - bar - GAP;
        let taken = columns(&name).clamp(NAME_MIN, room);
        let (name, spare) = (cut(&name, taken), " ".repeat(room - taken));
        let drawn = eighths(self.done, self.size, bar);
        if colours {
            format!("{name} {head}  {GREEN}{drawn}{PLAIN}{tail}{spare}")
        } else {
            format!("{name} {head}  {drawn}{tail}{spare}")
        }
    }

    /// The line for a log, without an end of line.
    pub fn sentence(&self) -> String {
        let (done, size) = (Size(self.done), Size(self.size));
        let way = format!("{}: {done} of {size} ({}%)", escape(self.name), self.percent());
        let Some(traffic) = self.traffic else { return way };
        let (down, up) = (Rate(traffic.down), Rate(traffic.up));
        let left = traffic.eta.map(|eta| format!(", {} left", Span(eta))).unwrap_or_default();
        format!("{way}, down {down}, up {up}, {}{left}", traffic.crowd())
    }

    /// Rounded down, so that 100 means all.
    fn percent(&self) -> u128 {
        let (done, size) = (u128::from(self.done.min(self.size)), u128::from(self.size));
        (done * 100).checked_div(size).unwrap_or(100)
    }

    /// The parts after the bar that fit while a short name and bar still do, and the columns that
    /// name and bar may take.
    fn tail(&self, mut room: usize) -> (String, usize) {
        let way = format!("{:>8} of {:>8}", Size(self.done), Size(self.size));
        let parts: Vec<String> = match &self.traffic {
            Some(traffic) => std::iter::once(way).chain(traffic.parts()).collect(),
            None => vec![way],
        };
        let ranking: &[usize] = if self.traffic.is_some() { &Traffic::RANKING } else { &[0] };
        let mut fits = vec![false; parts.len()];
        // The most important part first; it may take the place of the bar.
        for (rank, &place) in ranking.iter().enumerate() {
            let cost = columns(&parts[place]) + GAP;
            let kept = if rank == 0 { 0 } else { NAME_MIN + GAP + BAR_MIN };
            if room < kept + cost {
                break;
            }
            room -= cost;
            fits[place] = true;
        }
        let shown = parts.iter().zip(fits).filter(|(_, fits)| *fits);
        let tail = shown.fold(String::new(), |tail, (part, _)| tail + "  " + part);
        (tail, room)
    }

    /// What is left beside the name, but not less than [`BAR_MIN`] while the name keeps
    /// [`NAME_MIN`]; 0 where there is no room for a bar.
    fn bar_width(&self, room: usize, name: usize) -> usize {
        if room < NAME_MIN + GAP + BAR_MIN {
            return 0;
        }
        let most = BAR_MAX.min(room - GAP - NAME_MIN);
        room.saturating_sub(GAP + name).clamp(BAR_MIN, most)
    }
}

impl Traffic {
    /// Places in the line's tail, behind the size, by importance.
    const RANKING: [usize; 5] = [1, 4, 2, 3, 0];

    /// Parts of the line's tail, each as wide whatever the numbers.
    fn parts(&self) -> [String; 4] {
        let eta = self.eta.map_or_else(|| "-".into(), |eta| Span(eta).to_string());
        let peers = if self.peers == 1 { "peer " } else { "peers" };
        [
            format!("↓ {:>10}", Rate(self.down)),
            format!("↑ {:>10}", Rate(self.up)),
            format!("{:>3} {peers}", self.peers),
            format!("{eta:>7}"),
        ]
    }

    fn crowd(&self) -> String {
        let peers = if self.peers == 1 { "peer" } else { "peers" };
        let seeders = if self.seeders == 1 { "seeder" } else { "seeders" };
        format!("{} {peers} ({} {seeders})", self.peers, self.seeders)
    }
}

/// Draws a text over the last line of the terminal, cut at its edge. See
/// [`draw`](ProgressLine::draw).
///
/// # Errors
/// If the terminal takes nothing.
pub fn draw_text(text: &str, to: &mut dyn Write) -> io::Result<()> {
    write!(to, "{CLEAR}{NO_WRAP}{text}{WRAP}\r")?;
    to.flush()
}

/// A bar of `width` columns, exact to an eighth of one.
fn eighths(done: u64, size: u64, width: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

    let all = width as u128 * 8;
    let filled = if size == 0 { all } else { all * u128::from(done.min(size)) / u128::from(size) };
    let filled = usize::try_from(filled).expect("the filled part is within the width");
    let part = PARTS[filled % 8];
    let empty = width - filled / 8 - usize::from(!part.is_empty());
    format!("{}{part}{}", "█".repeat(filled / 8), "░".repeat(empty))
}

/// The text in exactly `width` columns: padded on the right, or without its middle, since both
/// ends of a file's name tell it from others.
fn cut(text: &str, width: usize) -> String {
    let wide = columns(text);
    if wide <= width {
        return format!("{text}{}", " ".repeat(width - wide));
    }
    let room = width.saturating_sub(1);
    let head = prefix(text.chars(), room - room / 2);
    let tail: String = prefix(text.chars().rev(), room / 2).chars().rev().collect();
    let dots = if width == 0 { "" } else { "…" };
    let cut = format!("{head}{dots}{tail}");
    let left = width - columns(&cut);
    cut + &" ".repeat(left)
}

/// As many characters as fit in `room` columns.
fn prefix(chars: impl Iterator<Item = char>, mut room: usize) -> String {
    chars
        .take_while(|&c| {
            let fits = width_of(c) <= room;
            room -= if fits { width_of(c) } else { room };
            fits
        })
        .collect()
}

fn columns(text: &str) -> usize {
    text.chars().map(width_of).sum()
}

/// Columns of a character on a terminal: two for what UAX #11 calls wide, never less than one, so
/// that a line is at most shorter than counted.
fn width_of(c: char) -> usize {
    match u32::from(c) {
        0x1100..=0x115f | 0x2329..=0x232a | 0x2e80..=0x303e | 0x3041..=0xa4cf => 2,
        0xa960..=0xa97f | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe10..=0xfe6f => 2,
        0xff01..=0xff60 | 0xffe0..=0xffe6 | 0x16fe0..=0x18dff | 0x1aff0..=0x1b2ff => 2,
        0x1f000..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str) -> ProgressLine<'_> {
        ProgressLine {
            name,
            done: 1_288_490_188,
            size: 3_006_477_107,
            traffic: Some(Traffic {
                down: 12_897_484,
                up: 1_153_433,
                peers: 24,
                seeders: 8,
                eta: Some(Duration::from_secs(133)),
            }),
        }
    }

    #[test]
    fn what_has_no_room_is_left_out() {
        #[rustfmt::skip]
        let table = [
            (140, "debian-12.iso  42%  █████████████████▏░░░░░░░░░░░░░░░░░░░░░░  1.19 GiB of 2.79 GiB  ↓ 12.2 MiB/s  ↑ 1.09 MiB/s   24 peers   2m 13s          "),
            (100, "debian-12.iso  42%  ████▎░░░░░  1.19 GiB of 2.79 GiB  ↓ 12.2 MiB/s  ↑ 1.09 MiB/s   24 peers   2m 13s"),
            (80, "debian-12.iso  42%  █████▏░░░░░░  ↓ 12.2 MiB/s  ↑ 1.09 MiB/s   24 peers   2m 13s"),
            (60, "debian-12.iso  42%  ███████▎░░░░░░░░░  ↓ 12.2 MiB/s   2m 13s"),
            (50, "debian-12.iso  42%  ██████▊░░░░░░░░░  ↓ 12.2 MiB/s"),
            (40, "debian-12.iso          42%  ↓ 12.2 MiB/s"),
            (30, " 42%  ↓ 12.2 MiB/s            "),
            (20, " 42%  ↓ 12.2 MiB/s  "),
            (18, "debian-12.iso  42%"),
            (8, " 42%    "),
            (2, " …"),
            (0, ""),
        ];
        for (width, picture) in table {
            assert_eq!(line("debian-12.iso").bar(width, false), picture);
        }
    }

    #[test]
    fn without_traffic_there_is_more_room() {
        let line = ProgressLine { traffic: None, ..line("checking debian-12.iso") };
        #[rustfmt::skip]
        let table = [
            (80, "checking debian-12.iso  42%  ████████████▍░░░░░░░░░░░░░░░░  1.19 GiB of 2.79 GiB"),
            (40, "checki…12.iso  42%  1.19 GiB of 2.79 GiB"),
            (20, "checkin…-12.iso  42%"),
        ];
        for (width, picture) in table {
            assert_eq!(line.bar(width, false), picture);
        }
    }

    #[test]
    fn no_name_breaks_the_line() {
        #[rustfmt::skip]
        let table = [
            ("", "              42%  ████▎░░░░░  ↓ 12.2 MiB/s"),
            ("ubuntu-24.04.2-live-server-amd64.iso", "ubuntu…4.iso  42%  ████▎░░░░░  ↓ 12.2 MiB/s"),
            ("名前名前名前名前名前", "名前名…名前   42%  ████▎░░░░░  ↓ 12.2 MiB/s"),
            ("\u{1b}[31mred\n", r"\u{1b}…red\n  42%  ████▎░░░░░  ↓ 12.2 MiB/s"),
        ];
        for (name, picture) in table {
            assert_eq!(line(name).bar(43, false).trim_end(), picture);
        }
        let names = ["", "a", "名前", "e\u{301}", "a\rb", "🎻🎻🎻🎻🎻🎻🎻🎻🎻🎻🎻🎻🎻🎻🎻"];
        for (name, width) in names.into_iter().flat_map(|name| (0..200).map(move |w| (name, w))) {
            assert_eq!(columns(&line(name).bar(width, false)), width, "{name:?} at {width}");
        }
    }

    #[test]
    fn the_bar_is_exact_to_an_eighth() {
        let table = [
            (0, 80, "░░░░░░░░░░"),
            (1, 80, "▏░░░░░░░░░"),
            (7, 80, "▉░░░░░░░░░"),
            (8, 80, "█░░░░░░░░░"),
            (79, 80, "█████████▉"),
            (80, 80, "██████████"),
            (81, 80, "██████████"),
            (0, 0, "██████████"),
            (u64::MAX - 1, u64::MAX, "█████████▉"),
        ];
        for (done, size, picture) in table {
            assert_eq!(eighths(done, size, 10), picture, "{done} of {size}");
        }
    }

    #[test]
    fn colour_takes_no_columns() {
        let (plain, coloured) = (line("a").bar(80, false), line("a").bar(80, true));
        assert_eq!(coloured.replace(GREEN, "").replace(PLAIN, ""), plain);
        assert!(coloured.contains(GREEN));
    }

    #[test]
    fn a_log_gets_a_sentence() {
        let line = line("debian\n12.iso");
        assert_eq!(
            line.sentence(),
            r"debian\n12.iso: 1.19 GiB of 2.79 GiB (42%), down 12.2 MiB/s, up 1.09 MiB/s, 24 peers (8 seeders), 2m 13s left"
        );
        let traffic = line.traffic.map(|all| Traffic { peers: 1, seeders: 1, eta: None, ..all });
        let lonely = ProgressLine { done: 0, size: 0, traffic, ..line };
        assert_eq!(
            lonely.sentence(),
            r"debian\n12.iso: 0 B of 0 B (100%), down 12.2 MiB/s, up 1.09 MiB/s, 1 peer (1 seeder)"
        );
        let checked = ProgressLine { traffic: None, ..line };
        assert_eq!(checked.sentence(), r"debian\n12.iso: 1.19 GiB of 2.79 GiB (42%)");
        let nearly = ProgressLine { done: 999, size: 1_000, ..line };
        assert_eq!(nearly.percent(), 99);
    }
}
