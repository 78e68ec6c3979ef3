//! What comes from servers that know nothing but files: web seeds, and torrents named by their URL.
//! Whatever they do wrong, the pieces are checked like anybody's.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;

use crate::support::rondalla::{self, listening};
use crate::support::{Noise, Running, Scratch, Tree, free_address, write_noise};

/// A server of the files in a folder, by parts of them. It ends with the process.
struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Server {
    /// Serves `root`; every byte is another if `spoils`.
    fn start(root: &Path, spoils: bool) -> Self {
        Self::start_at(TcpListener::bind("127.0.0.1:0").unwrap(), root, spoils)
    }

    /// The same, where whoever asked before now has been waiting.
    fn start_at(listener: TcpListener, root: &Path, spoils: bool) -> Self {
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let (root, counted) = (root.to_owned(), Arc::clone(&requests));
        let serve = move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::Relaxed);
                let root = root.clone();
                let answer = move || answer(stream.unwrap(), &root, spoils);
                Builder::new().name("answer".into()).spawn(answer).unwrap();
            }
        };
        Builder::new().name("server".into()).spawn(serve).unwrap();
        Self { address, requests }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

/// Answers one request. Whoever has enough hangs up, which is no failure.
fn answer(mut stream: TcpStream, root: &Path, spoils: bool) {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let head: Vec<String> = lines.map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
    let path = head[0].split(' ').nth(1).unwrap().trim_start_matches('/').replace("%20", " ");
    let Ok(mut file) = fs::File::open(root.join(path)) else {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").ok();
        return;
    };
    let whole = file.metadata().unwrap().len();
    let range = head.iter().find_map(|line| line.strip_prefix("Range: bytes="));
    let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
    let all = format!("0-{}", whole - 1);
    let (first, last) = range.unwrap_or(&all).split_once('-').unwrap();
    let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
    let mut bytes = vec![0; usize::try_from(last + 1 - first).unwrap()];
    file.seek(SeekFrom::Start(first)).unwrap();
    file.read_exact(&mut bytes).unwrap();
    if spoils {
        bytes.iter_mut().for_each(|byte| *byte ^= 1);
    }
    let len = bytes.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Range: bytes {first}-{last}/{whole}\r\n\
         Content-Length: {len}\r\n\r\n"
    );
    stream.write_all(&[head.into_bytes(), bytes].concat()).ok();
}

/// A folder of some files, to be served.
struct Source {
    scratch: Scratch,
    root: PathBuf,
    torrent: PathBuf,
}

impl Source {
    fn new() -> Self {
        let scratch = Scratch::new();
        let root = scratch.folder("source");
        let mut noise = Noise::new(1);
        for (name, len) in [("a file", 300_000), ("sub/b", 500_001), ("sub/c", 1), ("d", 70_000)] {
            write_noise(&root.join("tunes").join(name), len, &mut noise);
        }
        fs::write(root.join("tunes/empty"), b"").unwrap();
        let torrent = scratch.path("tunes.torrent");
        Self { scratch, root, torrent }
    }

    /// Makes the torrent, with these web seeds.
    fn create(&self, web_seeds: &[String]) {
        let mut options = vec!["--piece-length", "32K"];
        web_seeds.iter().for_each(|url| options.extend(["--web-seed", url]));
        rondalla::create(&self.root.join("tunes"), &self.torrent, &options);
    }

    /// Downloads it from nobody else.
    fn download(&self, options: &[&str]) -> Running {
        self.download_from(self.torrent.to_str().expect("our own names are UTF-8"), options)
    }

    fn download_from(&self, torrent: &str, options: &[&str]) -> Running {
        let dir = self.scratch.path("copy");
        let (torrent, listen) = (Path::new(torrent), "127.0.0.1:0");
        let share = rondalla::Share { torrent, dir: &dir, listen, peers: &[], options };
        share.start(&self.scratch, "rondalla", "download")
    }

    fn assert_downloads(&self) -> Running {
        let mut download = self.download(&["-v"]);
        assert_eq!(download.wait_for_exit().code(), Some(0), "{}", download.stderr());
        Tree::of(&self.root).assert_is_at(&self.scratch.path("copy"));
        download
    }
}

#[test]
fn a_folder_comes_from_a_web_seed_alone() {
    let source = Source::new();
    let server = Server::start(&source.root, false);
    source.create(&[server.url("")]);
    let download = source.assert_downloads();
    let peer = |event: &&serde_json::Value| event["event"] == "peer";
    let events = download.events();
    let peer = events.iter().find(peer).expect("it is told of the web seed");
    assert_eq!((&peer["addr"], &peer["client"]), (&server.url("").into(), &"web seed".into()));
}

#[test]
fn whoever_serves_wrong_bytes_is_left_and_the_next_is_asked() {
    let source = Source::new();
    let spoils = Server::start(&source.root, true);
    let serves = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", serves.local_addr().unwrap());
    source.create(&[spoils.url(""), spoils.url("no/such/"), url]);
    let mut download = source.download(&["-v"]);
    let left = |reason| move |download: &Running| download.stdout().contains(reason).then_some(());
    for reason in ["it sent corrupt data", "it answers 404"] {
        download.wait_for(reason, left(reason));
    }
    Server::start_at(serves, &source.root, false);
    assert_eq!(download.wait_for_exit().code(), Some(0), "{}", download.stderr());
    Tree::of(&source.root).assert_is_at(&source.scratch.path("copy"));
}

/// The peer that brings the metadata is too slow for the data.
#[test]
fn the_web_seeds_of_a_link_are_asked() {
    let source = Source::new();
    let server = Server::start(&source.root, false);
    let options = ["--piece-length", "32K"];
    let made = rondalla::create(&source.root.join("tunes"), &source.torrent, &options);
    let (torrent, dir, listen) = (&source.torrent, &source.root, "127.0.0.1:0");
    let slow = &["--limit-up", "16K"];
    let share = rondalla::Share { torrent, dir, listen, peers: &[], options: slow };
    let mut seeder = share.start(&source.scratch, "seeder", "seed");
    let peer = listening(&mut seeder);
    let info_hash = made["infohash"].as_str().expect("it is told");
    let link = format!("magnet:?xt=urn:btih:{info_hash}&x.pe={peer}&ws={}", server.url(""));
    let dir = source.scratch.path("copy");
    let torrent = Path::new(&link);
    let share = rondalla::Share { torrent, dir: &dir, listen, peers: &[], options: &[] };
    let mut download = share.start(&source.scratch, "rondalla", "download");
    assert_eq!(download.wait_for_exit().code(), Some(0), "{}", download.stderr());
    Tree::of(&source.root).assert_is_at(&dir);
    assert!(server.requests.load(Ordering::Relaxed) > 0, "the web seed was asked");
}

#[test]
fn a_torrent_makes_us_ask_nothing_of_our_own_network() {
    let source = Source::new();
    let server = Server::start(&source.root, false);
    let url = server.url("admin?reboot=1");
    let file = source.root.join("tunes/d");
    rondalla::create(&file, &source.torrent, &["--piece-length", "32K", "--web-seed", &url]);
    let mut download = source.download(&["-v", "--timeout", "2"]);
    assert_eq!(download.wait_for_exit().code(), Some(5), "{}", download.stderr());
    assert_eq!(server.requests.load(Ordering::Relaxed), 0, "nobody was asked");
    let reason = "a web seed on a private address may have no query";
    assert!(download.stdout().contains(reason), "{}", download.stdout());
}

/// Nothing is known of it but where it is.
#[test]
fn a_torrent_comes_from_its_url_and_its_data_from_the_same_server() {
    let source = Source::new();
    let server = Server::start(&source.root, false);
    source.create(&[server.url("")]);
    fs::copy(&source.torrent, source.root.join("it.torrent")).unwrap();
    let url = server.url("it.torrent");
    let shown = rondalla::show(Path::new(&url));
    assert_eq!(shown, rondalla::show(&source.torrent));
    let mut download = source.download_from(&url, &["-q"]);
    assert_eq!(download.wait_for_exit().code(), Some(0), "{}", download.stderr());
    fs::remove_file(source.root.join("it.torrent")).unwrap();
    Tree::of(&source.root).assert_is_at(&source.scratch.path("copy"));
}

#[test]
fn a_url_that_leads_to_no_torrent_says_why() {
    let source = Source::new();
    let server = Server::start(&source.root, false);
    let nobody = free_address("127.0.0.1".parse().unwrap());
    let table = [
        (server.url("tunes/d"), 4, "it is no torrent"),
        (server.url("no/such"), 5, "the server has no such file (HTTP status 404)"),
        (format!("http://{nobody}/it.torrent"), 5, "Connection refused"),
        ("http://no such host/it.torrent".to_owned(), 4, "the URL"),
        #[cfg(not(feature = "https"))]
        ("https://127.0.0.1/it.torrent".to_owned(), 1, "this build speaks no HTTPS"),
    ];
    for (url, code, why) in table {
        for subcommand in ["show", "download"] {
            let mut command = rondalla::command();
            command.args([subcommand, &url]).current_dir(source.scratch.path("."));
            let output = command.output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{stderr}");
            assert!(stderr.starts_with(&format!("rondalla: {url}: {why}")), "{stderr}");
        }
    }
}

/// nginx, with the files of `root` and these lines in its configuration.
fn start_nginx(source: &Source, address: SocketAddr, lines: &str) -> Running {
    let (home, root) = (source.scratch.folder("nginx"), source.root.display());
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths = paths.map(|name| format!("{name}_temp_path {}/{name};", home.display())).concat();
    let user = if fs::metadata("/root/.").is_ok() { "user root;" } else { "" };
    let config = format!(
        "daemon off; {user} pid {0}/pid; error_log stderr; events {{}} http {{ access_log off; \
         {paths} server {{ {lines} root \"{root}\"; }} }}",
        home.display()
    );
    fs::write(home.join("conf"), config).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&home).arg("-c").arg(home.join("conf"));
    let mut nginx = Running::start(&source.scratch, "nginx", &mut command);
    nginx.wait_for("it listens", |_| TcpStream::connect(address).ok());
    nginx
}

#[test]
#[ignore = "needs nginx (apt)"]
fn a_folder_comes_from_nginx() {
    let source = Source::new();
    let address = free_address("127.0.0.1".parse().unwrap());
    source.create(&[format!("http://{address}/")]);
    let mut nginx = start_nginx(&source, address, &format!("listen {address};"));
    source.assert_downloads();
    nginx.terminate();
}

/// The torrent, its data and a tracker that refuses, all by TLS from a server whose certificate only
/// `SSL_CERT_FILE` makes known.
#[cfg(feature = "https")]
#[test]
#[ignore = "needs nginx, openssl (apt)"]
fn a_folder_comes_by_https_from_whom_the_host_trusts() {
    let source = Source::new();
    let address = free_address("127.0.0.1".parse().unwrap());
    let url = format!("https://localhost:{}/", address.port());
    rondalla::create(
        &source.root.join("tunes"),
        &source.torrent,
        &["--piece-length", "32K", "--web-seed", &url, "--tracker", &format!("{url}announce")],
    );
    fs::copy(&source.torrent, source.root.join("it.torrent")).unwrap();
    let certify = |name: &str| {
        let [key, certificate] = ["key", "certificate"].map(|what| format!("{name}-{what}.pem"));
        let (key, certificate) = (source.scratch.path(&key), source.scratch.path(&certificate));
        let mut openssl = Command::new("openssl");
        openssl.args("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split(' '));
        openssl.args(["-addext", "subjectAltName=DNS:localhost"]);
        openssl.args(["-addext", "basicConstraints=CA:FALSE"]);
        openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
        assert!(openssl.output().unwrap().status.success());
        (key, certificate)
    };
    let ((key, certificate), (_, others)) = (certify("its"), certify("others"));
    let lines = format!(
        "listen {address} ssl; ssl_certificate {}; ssl_certificate_key {};",
        certificate.display(),
        key.display()
    );
    let mut nginx = start_nginx(&source, address, &lines);
    let torrent = format!("{url}it.torrent");
    for (trusted, code) in [(&others, 5), (&certificate, 0)] {
        let mut command = rondalla::command();
        command.args(["download", &torrent, "-v", "--json", "--no-chord"]);
        command.args(["--no-dht", "--no-lan", "--listen"]);
        command.args(["127.0.0.1:0", "--dir"]).arg(source.scratch.path("copy"));
        command.arg("--state").arg(source.scratch.path("state"));
        command.env("SSL_CERT_FILE", trusted);
        let mut download = Running::start(&source.scratch, "by-tls", &mut command);
        let exit = download.wait_for_exit();
        assert_eq!(exit.code(), Some(code), "{}", download.stderr());
        if code == 5 {
            let reason = "TLS: invalid peer certificate";
            assert!(download.stderr().contains(reason), "{}", download.stderr());
        } else {
            let refused = "it answers with HTTP status 404";
            assert!(download.stdout().contains(refused), "{}", download.stdout());
        }
    }
    fs::remove_file(source.root.join("it.torrent")).unwrap();
    Tree::of(&source.root).assert_is_at(&source.scratch.path("copy"));
    nginx.terminate();
}
