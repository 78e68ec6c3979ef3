//! A town of containers: networks, the routers between them, and users of the program. All of it is
//! removed with the test.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Noise, Scratch, rondalla, write_noise};

/// The second octet of the addresses of the next town of this process, so that towns do not meet.
static TOWNS: AtomicU8 = AtomicU8::new(100);

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(360);

/// The least rate of a town that is hurried.
pub(crate) const HURRIED: u32 = 10;

/// How many times as fast the ring's time passes: CLOCK_RATE, for whoever cannot wait.
pub(crate) fn clock_rate() -> u32 {
    let rate = std::env::var("CLOCK_RATE").ok();
    rate.map_or(1, |rate| rate.parse().expect("CLOCK_RATE is a number"))
}

/// A network of users, and how it is joined to the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Net {
    pub(crate) name: &'static str,
    /// Its users are seen under the address of its router alone, and not reached from outside.
    pub(crate) nat: bool,
}

pub(crate) struct Town {
    scratch: Scratch,
    /// What the names of its containers and networks begin with.
    prefix: String,
    octet: u8,
    nets: Vec<Net>,
    /// How many times as fast the ring's time passes.
    rate: u32,
    containers: Vec<String>,
}

impl Town {
    /// Networks `nets`, each with a router to a backbone; with one net there is no router.
    pub(crate) fn new(nets: &[Net]) -> Self {
        images();
        let mut town = loop {
            match Self::lay_out(nets) {
                Ok(town) => break town,
                // Somebody else on this host has the addresses; the next octet is another try.
                Err(error) if error.contains("overlaps") => {}
                Err(error) => panic!("{error}"),
            }
        };
        if town.nets.len() > 1 {
            for n in 0..town.nets.len() {
                town.router(n);
            }
        }
        town
    }

    /// The networks alone, with the next addresses that no town of this process has had.
    fn lay_out(nets: &[Net]) -> Result<Self, String> {
        let octet = TOWNS.fetch_add(1, Ordering::Relaxed);
        assert!(octet < u8::MAX, "no addresses are left for a town");
        let prefix = format!("rondalla-test-{}-{octet}", std::process::id());
        let (scratch, nets) = (Scratch::new(), nets.to_vec());
        fs::create_dir(scratch.path("torrents")).unwrap();
        let (rate, containers) = (clock_rate(), Vec::new());
        let town = Self { scratch, prefix, octet, nets, rate, containers };
        for (n, name) in (0..).zip(["backbone"].into_iter().chain(nets_names(&town.nets))) {
            let subnet = format!("10.{octet}.{n}.0/24");
            try_docker(&["network", "create", "--subnet", &subnet, &town.network(name)])?;
        }
        Ok(town)
    }

    /// A new town for what takes a quarter of an hour of the ring's time.
    pub(crate) fn hurried(nets: &[Net]) -> Self {
        let mut town = Self::new(nets);
        town.rate = town.rate.max(HURRIED);
        town
    }

    /// How much of the ring's time passes in so much time.
    pub(crate) fn ring_time(&self, time: Duration) -> Duration {
        time * self.rate
    }

    fn network(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    fn number_of(&self, net: &str) -> usize {
        1 + self.nets.iter().position(|it| it.name == net).expect("a net of this town")
    }

    /// An address of this town.
    pub(crate) fn address(&self, net: &str, host: u8) -> String {
        format!("10.{}.{}.{host}", self.octet, self.number_of(net))
    }

    /// The address of a network's router as the others see it.
    pub(crate) fn outer_address(&self, net: &str) -> String {
        format!("10.{}.0.{}", self.octet, 10 * self.number_of(net))
    }

    fn router(&mut self, n: usize) {
        let (octet, net) = (self.octet, self.nets[n]);
        let others = (1..=self.nets.len()).filter(|other| *other != n + 1);
        let way = |other| format!("10.{octet}.{other}.0/24=10.{octet}.0.{}", 10 * other);
        let routes: Vec<_> = others.map(way).collect();
        let name = self.network(&format!("router-{}", net.name));
        let inside = format!("INSIDE=10.{octet}.{}.0/24", n + 1);
        let outer = self.outer_address(net.name);
        docker(&[
            "create",
            "--init",
            "--name",
            &name,
            "--cap-add",
            "NET_ADMIN",
            "--network",
            &self.network("backbone"),
            "--ip",
            &outer,
            "--env",
            &inside,
            "--env",
            &format!("ROUTES={}", routes.join(" ")),
            "--env",
            &format!("NAT={}", u8::from(net.nat)),
            "rondalla-router",
        ]);
        self.containers.push(name.clone());
        let address = self.address(net.name, 254);
        docker(&["network", "connect", "--ip", &address, &self.network(net.name), &name]);
        docker(&["start", &name]);
    }

    /// Takes `user` from `net` and puts it there again as another host.
    pub(crate) fn relocate(&self, user: &mut User, net: &str, host: u8) {
        let network = self.network(net);
        user.address = self.address(net, host);
        docker(&["network", "disconnect", &network, &user.container]);
        docker(&["network", "connect", "--ip", &user.address, &network, &user.container]);
    }

    /// Cuts a network off from the others, or joins it to them again.
    pub(crate) fn cut_off(&self, net: &str, cut: bool) {
        let change = if cut { "--insert" } else { "--delete" };
        let router = self.network(&format!("router-{net}"));
        docker(&["exec", &router, "iptables", change, "FORWARD", "--jump", "DROP"]);
    }

    /// Makes a file of `len` bytes in the folder of `owner`, and its torrent, which every user sees in
    /// `/torrents`. Gives the info-hash.
    pub(crate) fn share(&self, owner: &str, name: &str, len: u64) -> String {
        let file = self.dir(owner).join(name);
        write_noise(&file, len, &mut Noise::new(len));
        let torrent = self.torrent(name);
        let created = rondalla::create(&file, &torrent, &[]);
        created["infohash"].as_str().unwrap().to_owned()
    }

    /// The torrent of what was shared as `name`.
    pub(crate) fn torrent(&self, name: &str) -> PathBuf {
        self.scratch.path("torrents").join(format!("{name}.torrent"))
    }

    /// The folder that a user has as `/data`.
    pub(crate) fn dir(&self, user: &str) -> PathBuf {
        let dir = self.scratch.folder(user);
        // Users run as nobody.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        dir
    }

    /// Starts `rondalla` with `arguments` as a user of `net`; `options` are the engine's.
    pub(crate) fn user(
        &mut self,
        net: &str,
        host: u8,
        options: &[&str],
        arguments: &[&str],
    ) -> User {
        let user = format!("{net}-{host}");
        let container = self.network(&user);
        let volume = format!("{}:/data", self.dir(&user).display());
        let torrents = format!("{}:/torrents:ro", self.scratch.path("torrents").display());
        let (network, address) = (self.network(net), self.address(net, host));
        let mut run = vec![
            "run",
            "--detach",
            "--name",
            &container,
            "--network",
            &network,
            "--ip",
            &address,
            "--read-only",
            "--cap-drop",
            "ALL",
            "--security-opt",
            "no-new-privileges",
            "--no-healthcheck",
            "--volume",
            &volume,
            "--volume",
            &torrents,
        ];
        run.extend(options);
        run.push("rondalla");
        run.extend(arguments);
        let rate = self.rate.to_string();
        run.extend(["--clock-rate", &rate]);
        // They are to meet on the ring.
        run.extend(["--no-dht", "--no-lan"]);
        docker(&run);
        self.containers.push(container.clone());
        if self.nets.len() > 1 {
            let (inside, gateway) = (format!("container:{container}"), self.address(net, 254));
            let all = format!("10.{}.0.0/16", self.octet);
            docker(&[
                "run",
                "--rm",
                "--network",
                &inside,
                "--cap-add",
                "NET_ADMIN",
                "--entrypoint",
                "ip",
                "rondalla-router",
                "route",
                "replace",
                &all,
                "via",
                &gateway,
            ]);
        }
        User { name: user, container, address, dir: self.scratch.path(&format!("{net}-{host}")) }
    }
}

fn nets_names(nets: &[Net]) -> impl Iterator<Item = &'static str> {
    nets.iter().map(|net| net.name)
}

impl Drop for Town {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for container in &self.containers {
                let output =
                    Command::new("docker").args(["logs", "--tail", "12", container]).output();
                if let Ok(Output { stdout, stderr, .. }) = output {
                    let said = [stdout, stderr].concat();
                    eprintln!("--- {container} ---\n{}", String::from_utf8_lossy(&said));
                }
            }
        }
        // What is gone already need not be removed.
        let remove = |arguments: &[&str]| Command::new("docker").args(arguments).output().is_ok();
        for container in &self.containers {
            remove(&["rm", "--force", "--volumes", container]);
        }
        for name in ["backbone"].into_iter().chain(nets_names(&self.nets)) {
            remove(&["network", "rm", &self.network(name)]);
        }
    }
}

/// A process of the program in a container of its own.
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) container: String,
    pub(crate) address: String,
    pub(crate) dir: PathBuf,
}

impl User {
    /// Where it takes connections and datagrams.
    pub(crate) fn at(&self) -> String {
        format!("{}:6881", self.address)
    }

    /// What it has said so far: one object a line.
    pub(crate) fn events(&self) -> Vec<Value> {
        let said = docker(&["logs", &self.container]);
        said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// How often it has said `event`.
    pub(crate) fn count(&self, event: &str) -> usize {
        self.events().iter().filter(|it| it["event"] == event).count()
    }

    /// The last object of `event`.
    pub(crate) fn last(&self, event: &str) -> Option<Value> {
        self.events().into_iter().rfind(|it| it["event"] == event)
    }

    pub(crate) fn wait_for(&self, what: &str, mut ready: impl FnMut(&Self) -> bool) {
        wait(&format!("{}: {what}", self.name), || ready(self));
    }

    /// Whether it is on the ring with a place of its own.
    pub(crate) fn is_member(&self) -> bool {
        self.last("ring").is_some_and(|it| it["state"] == "member")
    }

    /// Does to the container what `docker COMMAND CONTAINER` does.
    pub(crate) fn suffer(&self, command: &str) {
        docker(&[command, &self.container]);
    }

    /// Its exit code, once it has ended.
    pub(crate) fn exit_code(&self) -> i32 {
        docker(&["wait", &self.container]).trim().parse().unwrap()
    }

    /// What `rondalla COMMAND --json` says, asked from where this user is.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Output {
        let inside = format!("container:{}", self.container);
        let mut run = vec!["run", "--rm", "--network", &inside, "--no-healthcheck", "rondalla"];
        run.extend(arguments);
        run.extend(["--json", "--state", "/data/.asking"]);
        Command::new("docker").args(&run).output().unwrap()
    }

    /// The members of the ring, as a walk from `way` meets them, and whether they are one ring.
    pub(crate) fn ring(&self, way: &str) -> (Vec<String>, bool) {
        let output = self.ask(&["ring", "--join", way]);
        let Ok(walk) = serde_json::from_slice::<Value>(&output.stdout) else {
            return (Vec::new(), false);
        };
        let members = walk["members"].as_array().unwrap();
        let mut members: Vec<_> =
            members.iter().map(|it| it["addr"].as_str().unwrap().to_owned()).collect();
        members.sort();
        (members, walk["consistent"] == true)
    }

    /// Who shares a torrent, as the ring says when it is asked through `way`.
    pub(crate) fn lookup(&self, infohash: &str, way: &str) -> Vec<String> {
        let output = self.ask(&["lookup", infohash, "--join", way]);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let peers = found["peers"].as_array().cloned().unwrap_or_default();
        peers.iter().map(|it| it["addr"].as_str().unwrap().to_owned()).collect()
    }

    /// Whether its copy of `name` is that of `other`.
    pub(crate) fn has_same(&self, other: &Path, name: &str) -> bool {
        let mut same = Command::new("cmp");
        same.arg("--silent").arg(self.dir.join(name)).arg(other.join(name));
        same.status().unwrap().success()
    }
}

/// Polls `ready` until it holds; the test fails, naming `what`, when time runs out. Gives how long it
/// took.
pub(crate) fn wait(what: &str, ready: impl FnMut() -> bool) -> Duration {
    try_wait(ready).unwrap_or_else(|| panic!("not in time: {what}"))
}

/// Polls `ready` until it holds, and gives how long it took; none when time runs out.
#[expect(clippy::disallowed_methods, reason = "containers cannot be waited for on a channel")]
pub(crate) fn try_wait(mut ready: impl FnMut() -> bool) -> Option<Duration> {
    let began = Instant::now();
    while !ready() {
        if began.elapsed() >= PATIENCE {
            return None;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    Some(began.elapsed())
}

#[expect(clippy::disallowed_methods, reason = "it is asked how long containers take")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "containers are given their time")]
pub(crate) fn pass(time: Duration) {
    std::thread::sleep(time);
}

/// What `docker ARGUMENTS` prints.
pub(crate) fn docker(arguments: &[&str]) -> String {
    try_docker(arguments).unwrap_or_else(|error| panic!("{error}"))
}

/// The same, or what it says against it.
fn try_docker(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("docker").args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("docker: {error}; install Docker Engine"));
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("docker {}: {errors}", arguments.join(" ")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Builds the images, once; with `AS_BUILT` set, those that are there are taken.
fn images() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        if std::env::var_os("AS_BUILT").is_some() {
            return;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docker/users");
        let status = Command::new(script).arg("build").status().unwrap();
        assert!(status.success(), "{script} build: {status}");
    });
}
