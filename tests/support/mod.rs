//! What the tests with processes share. Nothing here knows the protocol.

mod data;
pub(crate) mod hosts;
pub(crate) mod rondalla;
mod running;
mod scratch;
mod seeds;

pub(crate) use data::{Noise, Tree, write_noise};
pub(crate) use running::Running;
pub(crate) use scratch::Scratch;
pub(crate) use seeds::{attempt, number, seeds};

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Longest wait for what is bound to come. The slowest machine needs a tenth of it; only what
/// hangs meets it.
const PATIENCE: Duration = Duration::from_secs(180);

/// Time between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Polls `ready` until it gives a value; `None` when [`PATIENCE`] is at its end.
#[expect(clippy::disallowed_methods, reason = "other programs cannot be waited for on a channel")]
pub(crate) fn wait_until<T>(mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return Some(value);
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// An address of `ip` on which nobody listens. The ports lie below those that the kernel gives to
/// outgoing connections, and no two tests of this process get the same.
pub(crate) fn free_address(ip: IpAddr) -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..10_000 {
        let process = u16::try_from(std::process::id() % 10_000).expect("a remainder of 10,000");
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::new(ip, 20_000 + (process + step) % 10_000);
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port of {ip} between 20000 and 29999 is free");
}
