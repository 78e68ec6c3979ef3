//! Whole command lines, read.

use super::*;
use crate::formats::mse::Encryption;
use crate::words::units::{Rate, Size};

fn parsed(line: &[&str]) -> Result<Invocation, Failure> {
    let environment = Environment { state_home: None, home: Some("/home/me".into()) };
    parse(line.iter().map(OsString::from), &environment)
}

fn command(line: &[&str]) -> Command {
    match parsed(line) {
        Ok(Invocation::Run(command)) => *command,
        other => panic!("{line:?}: {other:?}"),
    }
}

fn transferred(options: &[&str]) -> TransferOptions {
    let Command::Download(options) = command(&[&["download", "x"], options].concat()) else {
        panic!("{options:?} are no options of a download");
    };
    options
}

#[test]
fn what_is_not_given_has_its_default() {
    let options = transferred(&[]);
    assert_eq!(options.sources, ["x"]);
    assert_eq!(options.dir, Path::new("."));
    assert_eq!(options.state, Path::new("/home/me/.local/state/rondalla"));
    assert_eq!(options.network.listen.to_string(), ":6881-6889");
    assert_eq!(options.network.encryption, Encryption::Prefer);
    let (on, parts) = (true, options.network.parts);
    assert_eq!(parts, Parts { chord: on, trackers: on, pex: on, lan: on, dht: on, upload: on });
    assert_eq!((options.limit_down, options.limit_up), (Rate(0), Rate(0)));
    assert_eq!((options.timeout, options.memory, options.network.max_peers), (None, None, None));
    assert!(!options.seed && !options.check && !options.overwrite);
    assert_eq!(options.output, OutputOptions::default());
}

#[test]
fn what_is_given_arrives() {
    let options = transferred(&[
        "--dir",
        "to",
        "--state=here",
        "--listen",
        "127.0.0.1:0",
        "--peer",
        "a:1",
        "--peer=[::1]:2",
        "--max-peers",
        "7",
        "--memory",
        "1M",
        "--timeout",
        "0.5",
        "--encryption",
        "off",
        "--seed",
        "--check",
        "--overwrite",
        "--no-chord",
        "--no-trackers",
        "--no-pex",
        "--no-lan",
        "--no-dht",
        "--no-upload",
        "--limit-down",
        "0",
        "--limit-up=0K",
        "--json",
        "-qvv",
        "y",
    ]);
    assert_eq!(options.sources, ["x", "y"]);
    assert_eq!((&*options.dir, &*options.state), (Path::new("to"), Path::new("here")));
    assert_eq!(options.network.listen.to_string(), "127.0.0.1:0");
    let peers = options.network.peers.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(peers, ["a:1", "[::1]:2"]);
    assert_eq!(options.network.max_peers, Some(7));
    assert_eq!(options.memory, Some(Size(1 << 20)));
    assert_eq!(options.timeout.map(|timeout| timeout.as_millis()), Some(500));
    assert_eq!(options.network.encryption, Encryption::Off);
    assert!(options.seed && options.check && options.overwrite);
    let (off, parts) = (false, options.network.parts);
    assert_eq!(
        parts,
        Parts { chord: off, trackers: off, pex: off, lan: off, dht: off, upload: off }
    );
    assert_eq!(options.output, OutputOptions { quiet: true, verbose: 2, json: true });
}

/// The contract has one list of these for `download`, `seed` and `node`.
#[test]
fn a_node_takes_the_options_of_the_network() {
    let Command::Node(options) = command(&["node"]) else { panic!("it is a node") };
    let (on, parts) = (true, options.parts);
    assert_eq!(parts, Parts { chord: on, trackers: on, pex: on, lan: on, dht: on, upload: on });
    let given = [
        "--listen=:1",
        "--join=a:1",
        "--peer=b:2",
        "--tracker=http://t/announce",
        "--no-chord",
        "--no-trackers",
        "--no-pex",
        "--no-lan",
        "--no-dht",
        "--no-upload",
        "--max-peers=3",
        "--state=here",
    ];
    let Command::Node(options) = command(&[&["node"], &given[..]].concat()) else {
        panic!("it is a node")
    };
    let network = transferred(&given[..11]).network;
    assert_eq!((options.listen, options.joins), (network.listen, network.joins));
    assert_eq!((options.peers, options.trackers), (network.peers, network.trackers));
    assert_eq!((options.parts, options.max_peers), (network.parts, network.max_peers));
    assert_eq!(options.state, Path::new("here"));
}

#[test]
fn a_torrent_is_described_in_full() {
    let line = [
        "create",
        "-o",
        "-",
        "data",
        "--overwrite",
        "--piece-length=64K",
        "--private",
        "--comment=",
        "--name",
        "n",
        "--source",
        "s",
        "--exclude=*.tmp",
        "--exclude",
        "b",
        "--follow",
        "--no-date",
        "--tracker",
        "http://a,http://b",
        "--tracker=udp://c:1",
        "--web-seed",
        "http://w/",
        "--node",
        "n.example:6881",
    ];
    let expected = CreateOptions {
        path: "data".into(),
        to: Some("-".into()),
        overwrite: true,
        piece_length: Some(65_536),
        trackers: vec![vec!["http://a".into(), "http://b".into()], vec!["udp://c:1".into()]],
        web_seeds: vec!["http://w/".into()],
        nodes: vec!["n.example:6881".parse().unwrap()],
        private: true,
        comment: Some(String::new()),
        name: Some("n".into()),
        source: Some("s".into()),
        excludes: vec!["*.tmp".into(), "b".into()],
        follow: true,
        no_date: true,
        output: OutputOptions::default(),
    };
    assert_eq!(command(&line), Command::Create(expected));
}

#[test]
fn each_subcommand_is_recognized() {
    let output = OutputOptions { json: true, ..OutputOptions::default() };
    let show = ShowOptions { source: "-".into(), scrape: false, output };
    assert_eq!(command(&["show", "-", "--json"]), Command::Show(show));
    let magnet = MagnetOptions { torrent: "--json".into(), output };
    assert_eq!(command(&["magnet", "--json", "--", "--json"]), Command::Magnet(magnet));
    let verify = VerifyOptions { torrent: "t".into(), dir: "d".into(), select: None, output };
    assert_eq!(command(&["verify", "-dd", "t", "--json"]), Command::Verify(verify));
    assert!(matches!(command(&["seed", "a"]), Command::Seed(_)));
}

#[test]
fn a_value_in_error_is_shown_with_its_option() {
    let table: [(&[&str], &str); 7] = [
        (&["--tracker", "udp://t/x"], "--tracker udp://t/x: the URL has no port"),
        (&["--tracker", "ftp://t/x"], "--tracker ftp://t/x: the URL begins with none of"),
        (&["--peer", "h"], "--peer h: the port is missing"),
        (&["--peer", "': x"], "--peer ': x: a host's name has"),
        (&["--encryption", "on"], "--encryption on: write prefer, require or off"),
        (&["--listen", ":1", "--listen", ":2"], "--listen: given twice"),
        (&["--limit-up", "fast"], "--limit-up fast: write a whole number of bytes"),
    ];
    for (options, expected) in table {
        let failure = parsed(&[&["download", "x"], options].concat()).unwrap_err().to_string();
        assert!(failure.starts_with(expected), "{failure}");
    }
}

#[test]
fn state_has_a_home_wherever_there_is_one() {
    let table = [
        (Some("/state"), Some("/home/me"), "/state/rondalla"),
        (Some("relative"), Some("/home/me"), "/home/me/.local/state/rondalla"),
        (Some(""), Some("/home/me"), "/home/me/.local/state/rondalla"),
        (None, Some(""), "dir/.rondalla"),
        (None, None, "dir/.rondalla"),
    ];
    for (state_home, home, expected) in table {
        let environment =
            Environment { state_home: state_home.map(Into::into), home: home.map(Into::into) };
        assert_eq!(environment.state_folder(Path::new("dir")), Path::new(expected));
    }
}
