//! What a node of the ring or of Mainline remembers for its next start, as lines of text: `ipv4 ID`
//! and `ipv6 ID`, the ids that it had, in hex, and an `IP:PORT` for each node that it knew.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;

use crate::formats::magnet::parse_info_hash;
use crate::words::address::fold;
use crate::words::limits::ring;
use crate::words::node_id::NodeId;

/// What the lines of ids begin with.
const FAMILIES: [&str; 2] = ["ipv4", "ipv6"];

/// Digits of an id.
const ID_DIGITS: usize = 40;

/// What a node knew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Its ids on Mainline, of IPv4 and of IPv6. A node of the ring has its own from its address.
    pub ids: [Option<NodeId>; 2],
    /// Nodes by which to enter, at most [`ENTRY_POINTS_MAX`](ring::ENTRY_POINTS_MAX), each port
    /// above 0.
    pub nodes: Vec<SocketAddr>,
}

/// Nodes of the ring.
impl From<Vec<SocketAddr>> for Remembered {
    fn from(nodes: Vec<SocketAddr>) -> Self {
        Self { ids: [None, None], nodes }
    }
}

/// The number of the first line, from 1, that is nothing of the kind. Whatever wrote it, the others are
/// not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged(pub usize);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is no node and no id", self.0)
    }
}

impl Remembered {
    /// Reads the lines.
    ///
    /// # Errors
    /// If one of them is none of them, or there are too many.
    pub fn parse(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut remembered = Self::default();
        let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|&byte| byte == b'\n');
        for (number, line) in (1..).zip(lines).filter(|_| !bytes.is_empty()) {
            let line = std::str::from_utf8(line).ok();
            line.and_then(|line| remembered.add(line)).ok_or(Damaged(number))?;
        }
        Ok(remembered)
    }

    fn add(&mut self, line: &str) -> Option<()> {
        if let Some((family, id)) = line.split_once(' ') {
            let at = FAMILIES.iter().position(|name| *name == family)?;
            let id = parse_info_hash(id).filter(|_| id.len() == ID_DIGITS)?;
            return self.ids[at].replace(id.into()).is_none().then_some(());
        }
        let node = line.parse().ok().map(fold).filter(|node: &SocketAddr| node.port() > 0)?;
        let has_room = self.nodes.len() < ring::ENTRY_POINTS_MAX;
        has_room.then(|| self.nodes.push(node))
    }

    /// The lines, the first nodes alone if there are too many.
    pub fn emit(&self) -> String {
        let mut text = String::new();
        let ids = FAMILIES.iter().zip(self.ids).filter_map(|(family, id)| Some((family, id?)));
        for (family, id) in ids {
            writeln!(text, "{family} {id}").expect("a string takes everything");
        }
        for node in self.nodes.iter().take(ring::ENTRY_POINTS_MAX) {
            writeln!(text, "{node}").expect("a string takes everything");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401";

    #[test]
    fn what_is_written_is_read_again() {
        let id = |at: u8| Some(NodeId([at; 20]));
        let nodes = ["192.0.2.1:6881", "[2001:db8::1]:1"].map(|node| node.parse().unwrap());
        for ids in [[None, None], [id(1), None], [None, id(2)], [id(3), id(4)]] {
            for nodes in [&nodes[..], &nodes[..1], &[]] {
                let remembered = Remembered { ids, nodes: nodes.to_vec() };
                let text = remembered.emit();
                assert!(text.len() <= ring::REMEMBERED_LEN_MAX);
                assert_eq!(Remembered::parse(text.as_bytes()), Ok(remembered), "{text}");
            }
        }
        let longest = "[1111:1111:1111:1111:1111:1111:1111:1111]:11111".parse().unwrap();
        let nodes = vec![longest; ring::ENTRY_POINTS_MAX + 1];
        let text = Remembered { ids: [id(1), id(2)], nodes }.emit();
        assert!(text.len() <= ring::REMEMBERED_LEN_MAX);
        let read = Remembered::parse(text.as_bytes()).unwrap();
        assert_eq!(read.nodes.len(), ring::ENTRY_POINTS_MAX);
    }

    #[test]
    fn the_first_line_that_is_none_is_named() {
        let table = [
            (String::new(), Ok(0)),
            ("192.0.2.1:6881".into(), Ok(1)),
            (format!("ipv4 {ID}\n192.0.2.1:6881\n[::ffff:192.0.2.2]:1\n"), Ok(2)),
            ("\n".into(), Err(1)),
            ("192.0.2.1:6881\n\n".into(), Err(2)),
            ("192.0.2.1:6881\r\n".into(), Err(1)),
            ("192.0.2.1:0\n".into(), Err(1)),
            ("192.0.2.1\n".into(), Err(1)),
            ("example.org:6881\n".into(), Err(1)),
            (format!("ipv4 {ID}\nipv4 {ID}\n"), Err(2)),
            (format!("ipv5 {ID}\n"), Err(1)),
            (format!("ipv4 {ID}0\n"), Err(1)),
            (format!("ipv4  {ID}\n"), Err(1)),
            ("ipv4 MPX37YIMLVVE5SFIRZGGVNGCROK65ZAB\n".into(), Err(1)),
            ("192.0.2.1:6881\n\0\n".into(), Err(2)),
            ("192.0.2.1:1\n".repeat(ring::ENTRY_POINTS_MAX + 1), Err(ring::ENTRY_POINTS_MAX + 1)),
        ];
        for (text, expected) in table {
            let read = Remembered::parse(text.as_bytes()).map(|read| read.nodes.len());
            assert_eq!(read, expected.map_err(Damaged), "{text:?}");
        }
        assert_eq!(Remembered::parse(b"192.0.2.1:1\n\xff:1\n"), Err(Damaged(2)));
    }
}
