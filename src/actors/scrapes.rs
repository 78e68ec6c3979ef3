//! One question to a tracker, asked on the calling thread: how many share a torrent.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::actors::clock::now;
use crate::actors::http::{Manner, addresses_of, get};
use crate::formats::announce::udp::{Question, Reply};
use crate::formats::announce::{Counts, Refusal, parse_counts, scrape_url};
use crate::formats::url::{Scheme, Url};
use crate::machines::udp_trackers::{News, UdpTrackers};
use crate::words::address::fold;
use crate::words::id::InfoHash;
use crate::words::limits::trackers as limits;

/// Asks the tracker at `url`, until `deadline` at most. All chance comes from `seed`.
pub(crate) fn scrape(
    url: &Url,
    info_hash: InfoHash,
    deadline: Instant,
    seed: u64,
) -> Result<Counts, String> {
    match url.scheme {
        Scheme::Udp => by_udp(url, info_hash, deadline, seed),
        Scheme::Http | Scheme::Https => by_http(url, info_hash, deadline),
    }
}

fn by_http(url: &Url, info_hash: InfoHash, deadline: Instant) -> Result<Counts, String> {
    let no_path = || "it has no path that ends in /announce, so none to scrape".to_owned();
    let url = scrape_url(url, info_hash).ok_or_else(no_path)?;
    let manner = Manner {
        deadline,
        body_max: limits::ANSWER_LEN_MAX,
        leave_from: None,
        // The user asks for it, and the path is one of a tracker.
        judge: &|_, _| Ok(()),
        is_over: &|| false,
    };
    let fetched = get(&url, &addresses_of(&url)?, &manner)?;
    match parse_counts(&fetched.body, info_hash) {
        Ok(counts) if fetched.status == 200 => Ok(counts),
        Err(refusal @ (Refusal::Failure(_) | Refusal::Unknown)) => Err(refusal.to_string()),
        _ if fetched.status != 200 => {
            Err(format!("it answers with HTTP status {}", fetched.status))
        }
        Ok(counts) => Ok(counts),
        Err(refusal) => Err(refusal.to_string()),
    }
}

fn by_udp(url: &Url, info_hash: InfoHash, deadline: Instant, seed: u64) -> Result<Counts, String> {
    let addresses = addresses_of(url)?;
    // One of either family is enough; the machine asks the first.
    let to = addresses.first().copied().ok_or_else(|| "its name has no address".to_owned())?;
    let any: SocketAddr = if to.is_ipv4() {
        SocketAddr::from(([0; 4], 0))
    } else {
        SocketAddr::from(([0_u16; 8], 0))
    };
    let failed = |error: std::io::Error| error.to_string();
    let socket = std::net::UdpSocket::bind(any).map_err(failed)?;
    let mut trackers = UdpTrackers::new(seed);
    trackers.ask(now(), 0, &[to], &Question::Scrape(vec![info_hash]));
    let mut buffer = [0; limits::DATAGRAM_LEN_MAX];
    while now() < deadline {
        while let Some(transmit) = trackers.poll_transmit() {
            // What the socket does not take is lost, as on the way; it is sent again.
            socket.send_to(&transmit.bytes, transmit.to).ok();
        }
        while let Some(news) = trackers.poll_news() {
            match news {
                News::Replied(_, _, Reply::Scraped(all)) => {
                    return all.first().copied().ok_or_else(|| Refusal::Unknown.to_string());
                }
                News::Replied(_, _, Reply::Refused(why)) => {
                    return Err(Refusal::Failure(why).to_string());
                }
                News::Over(_, Err(why)) => return Err(why),
                News::Replied(..) | News::Over(_, Ok(())) => {}
            }
        }
        let due = trackers.poll_deadline().unwrap_or(deadline).min(deadline);
        let patience = due.saturating_duration_since(now()).max(Duration::from_millis(1));
        socket.set_read_timeout(Some(patience)).map_err(failed)?;
        if let Ok((len, from)) = socket.recv_from(&mut buffer) {
            trackers.handle_datagram(now(), fold(from), &buffer[..len]);
        }
        trackers.handle_time(now());
    }
    Err("it does not answer".to_owned())
}
