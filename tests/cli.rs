//! The built program as a process: exit codes, what goes to stdout, what goes to stderr.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::support::{Scratch, rondalla as program, wait_until};

fn rondalla() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rondalla"));
    command.stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    rondalla().args(arguments).output().unwrap()
}

/// Stderr, which must be one line that begins with the program's name.
fn complaint(output: &Output) -> &str {
    let text = str::from_utf8(&output.stderr).unwrap();
    let line = text.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "more than one line: {text}");
    line.strip_prefix("rondalla: ").unwrap()
}

#[test]
fn bad_usage_is_one_line_and_code_2() {
    #[rustfmt::skip]
    let table: &[(&[&str], &str)] = &[
        (&["--json", "show", "x"], "--json: options stand after the subcommand"),
        (&["dowload", "x"], "dowload: there is no such subcommand; did you mean download?"),
        (&["frobnicate"], "frobnicate: there is no such subcommand; 'rondalla --help' lists them"),
        (&[""], ": there is no such subcommand; 'rondalla --help' lists them"),
        (&["bad\nline\x1b[2J"], r"bad\nline\u{1b}[2J: there is no such subcommand; 'rondalla --help' lists them"),
        (&["lookup", "x"], "x: it is no info-hash: write 40 hex or 32 base32 digits"),
        (&["completions"], "SHELL: missing: bash, zsh or fish"),
        (&["completions", "csh"], "csh: no completions for this shell; write bash, zsh or fish"),
        (&["show"], "SOURCE: missing: a .torrent file, - for stdin, or a magnet link"),
        (&["show", "a", "b"], "b: one argument too many"),
        (&["show", "a", "--dir", "b"], "--dir: there is no such option; --help lists them"),
        (&["show", "a", "--jsno"], "--jsno: there is no such option; did you mean --json?"),
        (&["show", "a", "-x"], "-x: there is no such option; --help lists them"),
        (&["show", "a", "--json=yes"], "--json: it takes no value"),
        (&["verify", "a", "--dir"], "--dir: a value is missing: --dir DIR"),
        (&["verify", "a", "-d"], "--dir: a value is missing: --dir DIR"),
        (&["verify", "a", "--dir="], "--dir: the value is empty"),
        (&["verify", "a", "-db", "-dc"], "--dir: given twice"),
        (&["download", "a", "--peer", "h:0"], "--peer h:0: port 0 cannot be dialled"),
        (&["download", "a", "--listen=localhost:1"], "--listen localhost:1: listening needs an IP address of this machine without a zone, not a name: 127.0.0.1:6881"),
        (&["download", "a", "--timeout", "soon"], "--timeout soon: write a number of seconds above 0, at most 315360000"),
        (&["download", "a", "--memory", "99999999999G"], "--memory 99999999999G: the number is too large"),
        (&["download", "a", "--max-peers", "0"], "--max-peers 0: it must be at least 1"),
        (&["create", "a", "--piece-length", "17K"], "--piece-length 17K: it must be a power of two from 16.0 KiB to 256 MiB"),
        (&["create", "a", "--node", ":1"], "--node :1: the host is missing: write HOST:PORT, such as example.org:6881"),
    ];
    for (arguments, expected) in table {
        let output = run(arguments);
        assert_eq!(complaint(&output), *expected, "{arguments:?}");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
    }
}

#[test]
fn no_subcommand_is_answered_with_the_usage() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stdout, b"");
    assert!(output.stderr.starts_with(b"Usage: rondalla COMMAND"));
}

#[test]
fn help_and_version_go_to_stdout() {
    let version = concat!("rondalla ", env!("CARGO_PKG_VERSION"), "\n");
    let table: &[(&[&str], &str)] = &[
        (&["--version"], version),
        (&["-V"], version),
        (&["--help"], "Usage: rondalla COMMAND"),
        (&["-h"], "Usage: rondalla COMMAND"),
        (&["create", "--help"], "Usage: rondalla create [OPTION]... PATH\n"),
        (&["show", "-h"], "Usage: rondalla show [OPTION]... SOURCE\n"),
        (&["verify", "-qh"], "Usage: rondalla verify [OPTION]... TORRENT\n"),
        (&["magnet", "x", "--help"], "Usage: rondalla magnet [OPTION]... TORRENT\n"),
        (&["download", "-h"], "Usage: rondalla download [OPTION]... SOURCE...\n"),
        (&["seed", "-h", "--nonsense"], "Usage: rondalla seed [OPTION]... SOURCE...\n"),
    ];
    for (arguments, part) in table {
        let output = run(arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(part), "{arguments:?}: {text}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(output.stderr, b"", "{arguments:?}");
    }
}

/// Bytes that are no UTF-8, behind an option's text.
#[cfg(unix)]
fn raw(text: &str) -> OsString {
    use std::os::unix::ffi::OsStringExt;
    OsString::from_vec([text.as_bytes(), b"\xff\xfe"].concat())
}

#[test]
#[cfg(unix)]
fn arguments_need_not_be_utf_8() {
    let table: &[(&[OsString], &str)] = &[
        (&[raw("")], "%FF%FE: there is no such subcommand; 'rondalla --help' lists them"),
        (&["show".into(), raw("--")], "--%FF%FE: there is no such option; --help lists them"),
        (&["show".into(), "a".into(), raw("")], "%FF%FE: one argument too many"),
        (&["seed".into(), "a".into(), raw("--peer=")], "--peer: the value is not UTF-8"),
        // A folder may have any name, so what is wrong here is the last argument.
        (&["verify".into(), raw("--dir="), raw(""), "b".into()], "b: one argument too many"),
        (&["verify".into(), raw("-d"), raw(""), "b".into()], "b: one argument too many"),
        (&["verify".into(), "--dir".into(), raw(""), raw("-d"), "a".into()], "--dir: given twice"),
    ];
    for (arguments, expected) in table {
        let output = rondalla().args(*arguments).output().unwrap();
        assert_eq!(complaint(&output), *expected, "{arguments:?}");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_reader_who_leaves_ends_the_output_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = rondalla().args(["download", "--help"]).stdout(writer).output().unwrap();
    assert_eq!(output.stderr, b"");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn nobody_to_complain_to_leaves_the_code() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = rondalla().args(["show"]).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_stdout_is_told() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = rondalla().arg("--version").stdout(full).output().unwrap();
    assert_eq!(complaint(&output), "stdout: No space left on device");
    assert_eq!(output.status.code(), Some(9));
}

#[test]
fn a_signal_ends_a_process_whose_output_nobody_reads() {
    let scratch = Scratch::new();
    let (data, torrent) = (scratch.path("data"), scratch.path("data.torrent"));
    std::fs::write(&data, [7; 100]).unwrap();
    program::create(&data, &torrent, &[]);
    let state = scratch.folder("state");
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut seed = rondalla();
    seed.args(["seed", "--json", "--listen", "127.0.0.1:0", "--no-dht", "--no-lan"]).arg(&torrent);
    seed.arg("-d").arg(data.parent().unwrap()).arg("--state").arg(&state);
    seed.stdout(writer.try_clone().unwrap());
    // The pipe is full from the beginning, and stays so.
    let filler = std::thread::Builder::new().name("filler".into());
    let filler = filler.spawn(move || writer.write_all(&[b'\n'; 1 << 20]).is_err()).unwrap();
    let mut child = seed.spawn().unwrap();
    let is_open = || std::fs::read_dir(&state).unwrap().next().map(|_lock| ());
    assert!(wait_until(is_open).is_some(), "the torrent is not opened");

    let kill = format!("kill -TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let status = wait_until(|| child.try_wait().unwrap());
    child.kill().ok();
    drop((reader, seed));
    assert!(filler.join().unwrap());
    assert_eq!(status.expect("it ends").code(), Some(7));
}

/// What a shell prints that is told `script`, with the completions at `$1`.
fn in_shell(shell: &str, script: &str) -> String {
    let scratch = Scratch::new();
    let completions = scratch.path("completions");
    std::fs::write(&completions, run(&["completions", shell]).stdout).unwrap();
    let output = Command::new(shell).args(["-c", script, "0"]).arg(&completions).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{shell}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs bash"]
fn bash_completes_subcommands_and_options() {
    let complete = |line: &str| {
        let last = line.split(' ').count() - 1;
        let words = line.split(' ').map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let script = format!(
            ". \"$1\"; COMP_WORDS=({words}); COMP_CWORD={last}; _rondalla; echo ${{COMPREPLY[@]}}"
        );
        in_shell("bash", &script)
    };
    let table = [
        ("rondalla dow", "download\n"),
        ("rondalla download --seed-", "--seed-ratio --seed-time\n"),
        ("rondalla create x --piece", "--piece-length\n"),
        ("rondalla seed --metadata", "--metadata-only\n"),
        // Names of files are bash's own to complete.
        ("rondalla seed --dir ", "\n"),
    ];
    for (line, completed) in table {
        assert_eq!(complete(line), completed, "{line}");
    }
}

#[test]
#[ignore = "needs zsh"]
fn zsh_takes_the_completions() {
    let script = "autoload -Uz compinit; compinit -u -D; . \"$1\"; print -r -- $_comps[rondalla]";
    assert_eq!(in_shell("zsh", script), "_rondalla\n");
}

#[test]
#[ignore = "needs fish"]
fn fish_completes_subcommands_and_options() {
    let table = [
        ("rondalla dow", "download\tdownload every SOURCE"),
        ("rondalla seed --seed-r", "--seed-ratio\tseed until"),
    ];
    for (line, completed) in table {
        let shown = in_shell("fish", &format!("source $argv[2]; complete -C '{line}'"));
        assert!(shown.starts_with(completed), "{line}: {shown}");
    }
}
