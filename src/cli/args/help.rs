//! The help texts, made from what argh knows of the options.

use std::fmt::Write as _;

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind};

use super::Subcommand;

/// The groups of options, in the order in which the help shows them.
const GROUPS: [(&str, &[&str]); 5] = [
    (
        "Files",
        &[
            "--dir",
            "--state",
            "--output",
            "--overwrite",
            "--exclude",
            "--follow",
            "--select",
            "--check",
            "--metadata-only",
            "--watch",
            "--svg",
        ],
    ),
    ("Torrent", &["--piece-length", "--name", "--comment", "--source", "--private", "--no-date"]),
    (
        "Network",
        &[
            "--listen",
            "--peer",
            "--join",
            "--tracker",
            "--scrape",
            "--interval",
            "--web-seed",
            "--node",
            "--max-peers",
            "--encryption",
            "--no-chord",
            "--no-trackers",
            "--no-pex",
            "--no-lan",
            "--no-dht",
            "--dht-router",
            "--no-upload",
        ],
    ),
    (
        "Pace",
        &[
            "--seed",
            "--seed-ratio",
            "--seed-time",
            "--limit-down",
            "--limit-up",
            "--memory",
            "--sequential",
            "--timeout",
        ],
    ),
    ("Output", &["--on-done", "--trace", "--json", "--quiet", "--verbose", "--help"]),
];

/// Columns of a line.
const WIDTH: usize = 79;
/// Column at which descriptions begin.
const INDENT: usize = 27;

/// What `rondalla` alone prints.
pub(super) fn usage(subcommands: &[Subcommand]) -> String {
    let mut text = "Usage: rondalla COMMAND [OPTION]... [ARGUMENT]...\nCommands:".to_owned();
    let mut column = text.len() - text.rfind('\n').map_or(0, |end| end + 1);
    for (n, subcommand) in (1..).zip(subcommands) {
        let name = subcommand.name.to_owned() + if n < subcommands.len() { "," } else { "" };
        if column + 1 + name.len() > WIDTH {
            text.push_str("\n         ");
            column = "Commands:".len();
        }
        column += 1 + name.len();
        text = text + " " + &name;
    }
    text + "\n'rondalla --help' says more.\n"
}

/// What `rondalla --help` prints.
pub(super) fn overview(subcommands: &[Subcommand]) -> String {
    let mut text = String::from(
        "rondalla: a BitTorrent client on plain OS threads.\n\n\
         Usage: rondalla COMMAND [OPTION]... [ARGUMENT]...\n\nCommands:\n",
    );
    for subcommand in subcommands {
        let operands = (subcommand.info)();
        let title = format!("{} {}", subcommand.name, operands_of(&operands));
        entry(&mut text, &title, subcommand.about);
    }
    text.push_str("\nOptions:\n");
    entry(&mut text, "-h, --help", "print this, or with a COMMAND its own help");
    entry(&mut text, "-V, --version", "print the version");
    text.push_str(
        "\nADDR is HOST:PORT, IP:PORT, [IPv6]:PORT, :PORT or PORT. SIZE and RATE (bytes a\n\
         second) take K, M, G, KiB, MiB or GiB, all 1024-based.\n\n\
         Exit codes: 0 done, 2 bad usage, 3 incomplete, 4 no valid torrent, 5 network,\n\
         6 file system, 7 stopped by a signal, 9 no space left, 1 anything else.\n",
    );
    text
}

/// What `rondalla COMMAND --help` prints.
pub(super) fn of_subcommand(subcommand: &Subcommand) -> String {
    let info = (subcommand.info)();
    let usage = format!("Usage: rondalla {} [OPTION]... {}", subcommand.name, operands_of(&info));
    let mut text = format!("{}\n\n{}\n\n", capitalized(subcommand.about), usage.trim_end());
    for operand in info.positionals {
        entry(&mut text, operand.name, operand.description);
    }
    for (title, longs) in GROUPS {
        let mut flags =
            longs.iter().filter_map(|long| info.flags.iter().find(|f| f.long == *long)).peekable();
        if flags.peek().is_some() {
            writeln!(text, "\n{title}:").expect("a String takes all that is written");
        }
        for flag in flags {
            let later = subcommand.later.contains(&flag.long);
            let note = if later { " [not in this version]" } else { "" };
            entry(&mut text, &title_of(flag), &format!("{}{note}", described(flag)));
        }
    }
    text
}

pub(super) fn operands_of(info: &CommandInfoWithArgs) -> String {
    let shown = info.positionals.iter().map(|operand| match operand.optionality {
        argh::Optionality::Repeating | argh::Optionality::Greedy => format!("{}...", operand.name),
        argh::Optionality::Required | argh::Optionality::Optional => operand.name.into(),
    });
    shown.collect::<Vec<_>>().join(" ")
}

pub(super) fn title_of(flag: &FlagInfo<'_>) -> String {
    let letter = if flag.long == "--help" { Some('h') } else { flag.short };
    let letter = letter.map_or_else(|| "    ".into(), |letter| format!("-{letter}, "));
    match flag.kind {
        FlagInfoKind::Switch => format!("{letter}{}", flag.long),
        FlagInfoKind::Option { arg_name } => format!("{letter}{} {arg_name}", flag.long),
    }
}

pub(super) fn described<'a>(flag: &FlagInfo<'a>) -> &'a str {
    if flag.long == "--help" { "print this" } else { flag.description }
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect::<String>() + "."
}

/// A title and, from column [`INDENT`] on, its description, broken between words.
fn entry(text: &mut String, title: &str, description: &str) {
    let mut line = format!("  {title}");
    if line.len() + 2 > INDENT {
        text.push_str(&line);
        text.push('\n');
        line.clear();
    }
    for word in description.split_whitespace() {
        if line.len() > INDENT && line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line.clear();
        }
        if line.len() < INDENT {
            line = format!("{line:INDENT$}");
        } else {
            line.push(' ');
        }
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::SUBCOMMANDS;
    use super::*;

    #[test]
    fn every_option_stands_in_one_group() {
        for subcommand in &SUBCOMMANDS {
            for flag in (subcommand.info)().flags.iter().filter(|flag| !flag.hidden) {
                let groups = GROUPS.iter().filter(|(_, longs)| longs.contains(&flag.long)).count();
                assert_eq!(groups, 1, "{} of {}", flag.long, subcommand.name);
            }
        }
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let texts = SUBCOMMANDS.iter().map(of_subcommand);
        for text in texts.chain([usage(&SUBCOMMANDS), overview(&SUBCOMMANDS)]) {
            for line in text.lines() {
                assert!(line.chars().count() < 80, "{line}");
                assert_eq!(line, line.trim_end());
            }
        }
    }

    #[test]
    fn descriptions_are_aligned() {
        let mut text = String::new();
        entry(
            &mut text,
            "-d, --dir DIR",
            "where the data goes or is (default: the current folder)",
        );
        entry(&mut text, "    --quite-a-long-option N", "below");
        let picture = [
            "  -d, --dir DIR            where the data goes or is (default: the current",
            "                           folder)",
            "      --quite-a-long-option N",
            "                           below",
        ];
        assert!(text.lines().eq(picture), "{text}");
    }

    #[test]
    fn what_is_not_there_yet_is_marked() {
        for subcommand in &SUBCOMMANDS {
            let marks = of_subcommand(subcommand).replace('\n', " ");
            let marks = marks.split_whitespace().collect::<Vec<_>>().join(" ");
            let count = marks.matches("[not in this version]").count();
            assert_eq!(count, subcommand.later.len(), "{}", subcommand.name);
        }
    }
}
