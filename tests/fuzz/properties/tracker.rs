//! What trackers are asked and what they answer, by HTTP and by UDP: what is read is within its bounds,
//! and what can be written is read the same again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rondalla::formats::announce::asked::{self, Asked};
use rondalla::formats::announce::udp::{Question, Reply};
use rondalla::formats::announce::{parse_answer, parse_counts};
use rondalla::words::id::InfoHash;
use rondalla::words::limits::trackers as limits;

pub(crate) fn check(bytes: &[u8]) {
    check_answers(bytes);
    check_questions(bytes);
    for tracker in [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)] {
        check_reply(bytes, tracker);
    }
}

fn is_shown(text: &str) -> bool {
    !text.contains(char::is_control)
}

/// Bodies of answers by HTTP.
fn check_answers(bytes: &[u8]) {
    match parse_answer(bytes) {
        Ok(answer) => {
            assert!(answer.peers.len() <= limits::PEERS_ANSWERED_MAX);
            assert!(answer.peers.iter().all(|peer| peer.port() > 0 && !peer.ip().is_unspecified()));
            assert!(answer.warning.as_deref().is_none_or(is_shown));
            assert!(answer.tracker_id.is_none_or(|id| id.len() <= limits::TRACKER_ID_LEN_MAX));
        }
        Err(refusal) => assert!(is_shown(&refusal.to_string()), "{refusal:?}"),
    }
    // The first torrent that an answer to a scrape tells of, and one of which it does not.
    let told = bytes.strip_prefix(b"d5:filesd20:").and_then(|rest| rest.first_chunk());
    for hash in [told.copied().unwrap_or_default(), [0xff; 20]] {
        if let Err(refusal) = parse_counts(bytes, InfoHash(hash)) {
            assert!(is_shown(&refusal.to_string()), "{refusal:?}");
        }
    }
}

/// Targets of requests by HTTP, and questions by UDP.
fn check_questions(bytes: &[u8]) {
    if let Ok(Ok(Asked::Scrape(hashes))) = std::str::from_utf8(bytes).map(asked::parse) {
        assert!(hashes.len() <= limits::SCRAPED_MAX);
    }
    if let Ok((connection, transaction, question)) = Question::parse(bytes) {
        let written = question.encode(connection, transaction);
        assert_eq!(Question::parse(&written), Ok((connection, transaction, question)));
    }
}

/// Answers by UDP.
fn check_reply(bytes: &[u8], tracker: IpAddr) {
    let (transaction, mut reply) = match Reply::parse(bytes, tracker) {
        Ok(read) => read,
        Err(error) => return assert!(is_shown(&error.to_string()), "{error:?}"),
    };
    match &mut reply {
        // A time of less than nothing is written as nothing.
        Reply::Announced { interval, peers, .. } => {
            assert!(peers.len() <= limits::PEERS_ANSWERED_MAX);
            // Whose address of IPv6 is one of IPv4 is not written again.
            peers.retain(|peer| peer.is_ipv4() == tracker.is_ipv4());
            *interval = (*interval).max(0);
        }
        Reply::Scraped(all) => assert!(all.len() <= limits::SCRAPED_MAX),
        Reply::Refused(why) => assert!(is_shown(why), "{why:?}"),
        Reply::Connected(_) => {}
    }
    let written = reply.encode(transaction, tracker);
    assert_eq!(Reply::parse(&written, tracker), Ok((transaction, reply)));
}
