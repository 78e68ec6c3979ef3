//! Datagrams of the ring and of Mainline: what is read is written so that it is read the same.

use rondalla::formats::krpc::{self, Family, Unreadable};
use rondalla::formats::mainline::{Body, Datagram, Reply};
use rondalla::words::limits::ring::{DATAGRAM_LEN_MAX, DATAGRAM_LEN_SENT};

/// The same bytes are heard in each family's ring and by Mainline's node.
pub(crate) fn check(bytes: &[u8]) {
    check_mainline(bytes);
    for family in [Family::V4, Family::V6] {
        let message = match krpc::parse(bytes, family) {
            Ok(message) => message,
            Err(error) => {
                assert!(!error.to_string().contains(char::is_control), "{error:?}");
                let long = bytes.len() > DATAGRAM_LEN_MAX;
                assert_eq!(error == Unreadable::TooLong, long);
                continue;
            }
        };
        assert!(krpc::is_ours(bytes), "what is read is ours");
        // A refusal without a text is written with an empty one.
        let (bare, filled) = (message.encode(0), message.encode(DATAGRAM_LEN_SENT));
        assert!(bare.len() <= bytes.len() + "0:".len(), "nothing is made up");
        assert!(filled.len() >= DATAGRAM_LEN_SENT);
        for written in [bare, filled] {
            let again = krpc::parse(&written, family);
            assert!(again.as_ref() == Ok(&message) || written.len() > DATAGRAM_LEN_MAX);
            assert!(krpc::is_ours(&written));
            check_mainline(&written);
        }
    }
}

fn check_mainline(bytes: &[u8]) {
    let datagram = match Datagram::parse(bytes) {
        Ok(datagram) => datagram,
        Err(error) => return assert!(!error.to_string().contains(char::is_control), "{error:?}"),
    };
    let again = Datagram::parse(&datagram.emit()).expect("what was read can be written");
    assert_eq!(in_order(again.clone()), in_order(datagram));
    assert_eq!(again.emit(), Datagram::parse(&again.emit()).expect("and again").emit());
}

/// Contacts of two families are written under two keys, each in its own order.
fn in_order(mut datagram: Datagram) -> Datagram {
    if let Body::Reply(Reply { nodes, .. }) = &mut datagram.body {
        nodes.sort_by_key(|contact| contact.address.is_ipv6());
    }
    datagram
}
