//! The man page, made from what argh knows of the options.

use std::fmt::Write as _;

use super::help::{described, operands_of, title_of};
use super::{SUBCOMMANDS, Subcommand};

/// What stands before the subcommands.
const HEAD: &str = "\
.SH NAME
rondalla \\- a BitTorrent client whose tracker is a ring of its users
.SH SYNOPSIS
.B rondalla
COMMAND [OPTION]... [ARGUMENT]...
.SH DESCRIPTION
Downloads and seeds torrents. Peers find each other through a Chord ring of which every process is a
node: who knows one node of it can find everybody. ADDR is HOST:PORT, IP:PORT, [IPv6]:PORT, :PORT or
PORT. SIZE and RATE (bytes a second) take K, M, G, KiB, MiB or GiB, all 1024-based. Data goes to
stdout, everything else to stderr.
";

/// What stands behind them.
const TAIL: &str = "\
.SH EXIT STATUS
0 done, 1 anything not below, 2 bad usage, 3 incomplete (verify) or nobody found (lookup), 4 no valid
torrent or magnet link, 5 network, 6 file system, 7 stopped by a signal before it was done, 9 no space
left on the disk.
.SH SIGNALS
SIGINT, SIGTERM and SIGHUP save the state and end the process within 5 seconds; the same command
resumes. A second one ends it at once.
.SH FILES
State is kept in $XDG_STATE_HOME/rondalla, else ~/.local/state/rondalla, else .rondalla in \\-\\-dir.
";

/// The man page `rondalla(1)`, in the language of man(7).
pub fn page() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut page = format!(".TH RONDALLA 1 \"\" \"rondalla {version}\"\n{HEAD}.SH COMMANDS\n");
    for subcommand in &SUBCOMMANDS {
        section(&mut page, subcommand);
    }
    page + TAIL
}

fn section(page: &mut String, subcommand: &Subcommand) {
    let info = (subcommand.info)();
    let title = format!("{} {}", subcommand.name, operands_of(&info));
    let about = escaped(subcommand.about);
    writeln!(page, ".SS {}\n{about}.", escaped(title.trim_end())).expect("a string takes it");
    for flag in info.flags {
        let (title, text) = (escaped(title_of(flag).trim()), escaped(described(flag)));
        writeln!(page, ".TP\n.B {title}\n{text}").expect("a string takes it");
    }
}

/// The text as man(7) shows it unchanged: no hyphen where a minus is meant, no request.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_and_option_is_in_it() {
        let page = page();
        for subcommand in &SUBCOMMANDS {
            assert!(page.contains(&format!(".SS {}", subcommand.name)), "{}", subcommand.name);
            for flag in (subcommand.info)().flags {
                let title = escaped(title_of(flag).trim());
                assert!(page.contains(&format!(".B {title}\n")), "{title}");
            }
        }
    }

    #[test]
    fn nothing_is_taken_for_a_request() {
        assert_eq!(escaped(".torrent"), "\\&.torrent");
        assert_eq!(escaped("--dir a\\b"), "\\-\\-dir a\\eb");
    }
}
