//! `rondalla show`: prints what a torrent or magnet link holds.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crate::cli::answer::{say, say_json};
use crate::cli::failure::Failure;
use crate::cli::options::ShowOptions;
use crate::cli::source::{self, Found, Source};
use crate::cli::terminal::escape;
use crate::formats::magnet::Magnet;
use crate::formats::metainfo::Metainfo;
use crate::formats::path::shown;
use crate::formats::url::Url;
use crate::session::scrape::{Counts, scrape};
use crate::words::id::InfoHash;
use crate::words::limits::trackers::SCRAPE_TIMEOUT;
use crate::words::units::Size;

/// Prints to `out`.
///
/// # Errors
/// If the source cannot be read or is no torrent, or `out` takes nothing.
pub fn run(
    options: &ShowOptions,
    out: &mut dyn Write,
    _err: &mut dyn Write,
) -> Result<(), Failure> {
    let shown = match source::find(Source::recognise(&options.source)?)? {
        Found::Torrent(metainfo) => Shown::of_torrent(&metainfo),
        Found::Magnet(magnet) => Shown::of_magnet(*magnet),
    };
    let shown = if options.scrape { shown.scraped() } else { shown };
    if options.output.json { say_json(out, &shown) } else { say(out, &shown.text()) }
}

/// What is shown, and the object of `--json`. What a magnet link does not tell is null.
#[derive(Serialize)]
struct Shown {
    infohash: String,
    name: Option<String>,
    size: Option<u64>,
    piece_length: Option<u32>,
    pieces: Option<u32>,
    private: Option<bool>,
    files: Option<Vec<ShownFile>>,
    trackers: Vec<Vec<String>>,
    web_seeds: Vec<String>,
    /// Of the Chord ring and of Mainline.
    nodes: Vec<String>,
    /// Those of the Chord ring.
    chord_nodes: Vec<String>,
    comment: Option<String>,
    created_by: Option<String>,
    creation_date: Option<i64>,
    magnet: String,
    /// What the trackers say, if they were asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    scrape: Option<Vec<Scraped>>,
    #[serde(skip)]
    info_hash: InfoHash,
    /// What the contract's object does not have.
    #[serde(skip)]
    source: Option<String>,
    #[serde(skip)]
    peers: Vec<String>,
}

/// What a tracker answers to a scrape.
#[derive(Serialize)]
struct Scraped {
    url: String,
    seeders: Option<u64>,
    leechers: Option<u64>,
    completed: Option<u64>,
    /// Why it does not say.
    reason: Option<String>,
}

impl Scraped {
    fn of((url, outcome): (Url, Result<Counts, String>)) -> Self {
        let reason = outcome.as_ref().err().cloned();
        let Counts { seeders, leechers, completed } = outcome.unwrap_or_default();
        Self { url: url.to_string(), seeders, leechers, completed, reason }
    }

    fn text(&self) -> String {
        if let Some(reason) = &self.reason {
            return format!("{}: {reason}", self.url);
        }
        let shown = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |n| n.to_string());
        format!(
            "{}: {} seeders, {} leechers, completed {} times",
            self.url,
            shown(self.seeders),
            shown(self.leechers),
            shown(self.completed),
        )
    }
}

#[derive(Serialize)]
struct ShownFile {
    /// From 1, as `--select` counts.
    index: usize,
    path: String,
    size: u64,
}

impl Shown {
    fn of_torrent(torrent: &Metainfo) -> Self {
        let files = torrent.files().iter().filter(|file| !file.pad).enumerate();
        let files = files.map(|(index, file)| ShownFile {
            index: index + 1,
            path: slashed(&file.path),
            size: file.len,
        });
        Self {
            infohash: torrent.info_hash().to_string(),
            name: Some(torrent.name().to_owned()),
            size: Some(torrent.size()),
            piece_length: Some(torrent.piece_length()),
            pieces: Some(torrent.pieces()),
            private: Some(torrent.private()),
            files: Some(files.collect()),
            trackers: torrent.trackers().to_vec(),
            web_seeds: torrent.web_seeds().to_vec(),
            nodes: addresses(torrent.chord_nodes()).chain(addresses(torrent.nodes())).collect(),
            chord_nodes: addresses(torrent.chord_nodes()).collect(),
            comment: torrent.comment().map(str::to_owned),
            created_by: torrent.created_by().map(str::to_owned),
            creation_date: torrent.creation_date(),
            magnet: Magnet::of(torrent).to_string(),
            scrape: None,
            info_hash: torrent.info_hash(),
            source: torrent.source().map(str::to_owned),
            peers: Vec::new(),
        }
    }

    fn of_magnet(magnet: Magnet) -> Self {
        Self {
            infohash: magnet.info_hash.to_string(),
            magnet: magnet.to_string(),
            scrape: None,
            info_hash: magnet.info_hash,
            name: magnet.name,
            size: None,
            piece_length: None,
            pieces: None,
            private: None,
            files: None,
            trackers: magnet.trackers.into_iter().map(|url| vec![url]).collect(),
            web_seeds: magnet.web_seeds,
            nodes: Vec::new(),
            chord_nodes: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
            source: None,
            peers: magnet.peers,
        }
    }

    /// The same with what its trackers say.
    fn scraped(self) -> Self {
        let urls = self.trackers.iter().flatten().filter_map(|text| Url::parse(text).ok());
        let urls: Vec<Url> = urls.collect();
        let answers = scrape(&urls, self.info_hash, SCRAPE_TIMEOUT);
        Self { scrape: Some(answers.into_iter().map(Scraped::of).collect()), ..self }
    }

    /// The text for people. Whatever a stranger wrote is escaped.
    fn text(&self) -> String {
        let mut page = Page::default();
        page.entry("Name", self.name.as_deref());
        page.entry("Info-hash", Some(&self.infohash));
        page.entry("Size", self.size.map(|size| format!("{} ({size} bytes)", Size(size))));
        let lengths = self.pieces.zip(self.piece_length);
        page.entry(
            "Pieces",
            lengths.map(|(pieces, len)| format!("{pieces} of {}", Size(len.into()))),
        );
        page.entry("Private", self.private.map(|private| if private { "yes" } else { "no" }));
        page.entry("Source", self.source.as_deref());
        page.entry("Comment", self.comment.as_deref());
        page.entry("Made by", self.created_by.as_deref());
        page.entry("Made on", self.creation_date.map(date));
        for (tier, urls) in self.trackers.iter().enumerate() {
            page.entry(if tier == 0 { "Trackers" } else { "" }, Some(urls.join(", ")));
        }
        let scraped = self.scrape.iter().flatten().map(Scraped::text);
        page.list("Scrape", &scraped.collect::<Vec<_>>());
        page.list("Web seeds", &self.web_seeds);
        page.list("Ring", &self.chord_nodes);
        page.list("Mainline", &self.nodes[self.chord_nodes.len()..]);
        page.list("Peers", &self.peers);
        page.entry("Magnet", Some(&self.magnet));
        page.files(self.files.as_deref().unwrap_or_default());
        page.0
    }
}

/// Lines with a name on the left.
#[derive(Default)]
struct Page(String);

impl Page {
    fn entry(&mut self, name: &str, value: Option<impl AsRef<str>>) {
        let colon = if name.is_empty() { ' ' } else { ':' };
        if let Some(value) = value {
            let label = format!("{name}{colon}");
            self.line(format_args!("{label:<12}{}", escape(value.as_ref())));
        }
    }

    fn list(&mut self, name: &str, values: &[String]) {
        for (n, value) in values.iter().enumerate() {
            self.entry(if n == 0 { name } else { "" }, Some(value));
        }
    }

    fn files(&mut self, files: &[ShownFile]) {
        for file in files {
            let size = Size(file.size).to_string();
            self.line(format_args!("{:>6}  {size:>10}  {}", file.index, escape(&file.path)));
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("a String takes all that is written");
    }
}

fn slashed(path: &Path) -> String {
    let names: Vec<_> = path.iter().map(shown).collect();
    names.join("/")
}

fn addresses(nodes: &[(String, u16)]) -> impl Iterator<Item = String> {
    nodes.iter().map(|(host, port)| address(host, *port))
}

fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Seconds since 1970 as date and time in UTC; the bare number outside the years 1 to 9999.
fn date(seconds: i64) -> String {
    const DAY: i64 = 86_400;
    if !(-62_135_596_800..=253_402_300_799).contains(&seconds) {
        return seconds.to_string();
    }
    // Days since 0000-03-01, in eras of 400 years, so that leap days end years (H. Hinnant,
    // "chrono-compatible low-level date algorithms").
    let days = seconds.div_euclid(DAY) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let time = seconds.rem_euclid(DAY);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        // GNU date: date -u -d @SECONDS "+%F %T"
        let table = [
            (0, "1970-01-01 00:00:00 UTC"),
            (-1, "1969-12-31 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (253_402_300_799, "9999-12-31 23:59:59 UTC"),
            (253_402_300_800, "253402300800"),
            (-62_135_596_800, "0001-01-01 00:00:00 UTC"),
            (i64::MIN, "-9223372036854775808"),
        ];
        for (seconds, wanted) in table {
            assert_eq!(date(seconds), wanted);
        }
    }

    #[test]
    fn strangers_reach_no_terminal() {
        let bytes = b"d7:comment5:\x1b[2Jx10:created by2:\n\r4:infod6:lengthi1e4:name6:a\xe2\x80\xaeb\x0712:\
                      piece lengthi16384e6:pieces20:####################6:source1:\x9bee";
        let torrent = Metainfo::parse(bytes).unwrap();
        let text = Shown::of_torrent(&torrent).text();
        assert!(!text.contains(|c: char| c.is_control() && c != '\n' || c == '\u{202e}'), "{text}");
        assert!(text.contains("Comment:    \\u{1b}[2Jx\n"), "{text}");
        assert!(text.contains("Made by:    \\n\\r\n"), "{text}");
        assert!(text.contains("Source:     %9B\n"), "{text}");
    }
}
