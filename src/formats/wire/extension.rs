//! The extension handshake (BEP 10): one bencoded dictionary, sent in an extended message of id 0.
//!
//! A peer may say it again at any time; what it leaves out then is as it was. Everything in it is a
//! stranger's word: what is not understood, or not of the kind that its key wants, is passed over.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use serde_bytes::ByteBuf;

use crate::formats::client::cleaned;
use crate::formats::wire::WireError;
use crate::words::bencode::{self, Form, Value};
use crate::words::limits::{BENCODE_DEPTH_MAX, EXTENSION_NAME_LEN_MAX, EXTENSIONS_MAX};

/// The id of the extended message that holds an extension handshake.
pub const EXTENSION_HANDSHAKE: u8 = 0;

/// The extension with which a peer takes a piece back that it said it has (BEP 54): the payload is
/// the piece's index, as in a HAVE.
pub const LT_DONTHAVE: &str = "lt_donthave";

/// The id under which we want its messages.
pub const OUR_LT_DONTHAVE: u8 = 3;

/// The id under which we want messages about metadata (BEP 9).
pub const OUR_UT_METADATA: u8 = 1;

/// What a side says of itself and of the extensions that it understands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtensionHandshake {
    /// `m`: the extensions' names, and the ids under which the sender wants their messages; 0 turns
    /// an extension off. At most [`EXTENSIONS_MAX`].
    pub extensions: BTreeMap<String, u8>,
    /// `chord`: the port on which the sender's node of the Chord ring is reached by UDP, never 0. The
    /// key is ours; others pass it over.
    pub chord: Option<u16>,
    /// `metadata_size`: the bytes of the torrent's `info`, never 0 (BEP 9).
    pub metadata_len: Option<u32>,
    /// `p`: the port on which the sender listens, never 0.
    pub port: Option<u16>,
    /// `reqq`: how many requests the sender keeps waiting without dropping any.
    pub requests_max: Option<u32>,
    /// `upload_only`: whether the sender wants no more pieces (BEP 21).
    pub upload_only: Option<bool>,
    /// `v`: the sender's client and its version, [cleaned].
    pub client: Option<String>,
    /// `yourip`: the address from which the sender sees us.
    pub your_ip: Option<IpAddr>,
}

impl ExtensionHandshake {
    /// Under which id the sender wants the messages of `extension`, if it understands it.
    pub fn id(&self, extension: &str) -> Option<u8> {
        self.extensions.get(extension).copied().filter(|&id| id != 0)
    }

    /// Reads the payload of an extended message of id 0. Keys need not be sorted, nor UTF-8, nor
    /// occur once, integers may be of any size, and bytes after the dictionary are passed over:
    /// there are clients that send such.
    ///
    /// # Errors
    ///
    /// If the payload begins no dictionary, or it nests deeper than [`BENCODE_DEPTH_MAX`].
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let dictionary = bencode::scan_prefix(payload, BENCODE_DEPTH_MAX, Form::Loose)
            .map_err(|error| WireError::Bencode { at: error.at })?;
        if !dictionary.is_dictionary() {
            return Err(WireError::Bencode { at: 0 });
        }
        let mut handshake = Self::default();
        for (key, value) in dictionary.entries() {
            match key {
                b"chord" => handshake.chord = number(&value).filter(|&n| n > 0),
                b"m" => handshake.extensions = extensions(&value),
                b"metadata_size" => handshake.metadata_len = number(&value).filter(|&n| n > 0),
                b"p" => handshake.port = number(&value).filter(|&n| n > 0),
                b"reqq" => handshake.requests_max = number(&value),
                b"upload_only" => handshake.upload_only = number(&value).map(|n: u64| n != 0),
                b"v" => handshake.client = value.string().map(cleaned),
                b"yourip" => handshake.your_ip = value.string().and_then(address),
                _ => (),
            }
        }
        Ok(handshake)
    }

    /// Writes the payload of an extended message of id 0.
    pub fn emit(&self) -> Vec<u8> {
        let your_ip = self.your_ip.map(|ip| match ip {
            IpAddr::V4(ip) => ByteBuf::from(ip.octets()),
            IpAddr::V6(ip) => ByteBuf::from(ip.octets()),
        });
        let dictionary = Dictionary {
            chord: self.chord,
            m: &self.extensions,
            metadata_size: self.metadata_len,
            p: self.port,
            reqq: self.requests_max,
            upload_only: self.upload_only.map(u8::from),
            v: self.client.as_deref(),
            yourip: your_ip,
        };
        serde_bencode::to_bytes(&dictionary).expect("strings and integers can all be bencoded")
    }
}

/// The handshake as it goes over the wire, under its keys.
#[derive(Serialize)]
struct Dictionary<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    chord: Option<u16>,
    m: &'a BTreeMap<String, u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reqq: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upload_only: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    v: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    yourip: Option<ByteBuf>,
}

/// The dictionary `m`, without what cannot be an extension of ours.
fn extensions(m: &Value<'_>) -> BTreeMap<String, u8> {
    let mut extensions = BTreeMap::new();
    for (name, id) in m.entries() {
        let name = str::from_utf8(name).ok().filter(|name| name.len() <= EXTENSION_NAME_LEN_MAX);
        if let (Some(name), Some(id)) = (name, number(&id))
            && extensions.len() < EXTENSIONS_MAX
        {
            extensions.insert(name.to_owned(), id);
        }
    }
    extensions
}

/// An address of 4 or 16 bytes; an IPv4 one mapped into IPv6 is folded.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok().map(|ip| ip.to_canonical())
}

/// An integer, if the value is one and fits.
fn number<N: TryFrom<i64>>(value: &Value<'_>) -> Option<N> {
    value.integer()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::wire::UT_METADATA;
    use crate::words::rng::Rng;

    static BYTES: &[u8] =
        b"d5:chordi6882e1:md11:ut_metadatai3e6:ut_pexi0ee13:metadata_sizei31235e1:pi6881e\
        4:reqqi500e11:upload_onlyi1e1:v14:rondalla 0.1.06:yourip4\x3a\x7f\0\0\x01e";

    fn handshake() -> ExtensionHandshake {
        ExtensionHandshake {
            extensions: [("ut_metadata".into(), 3), ("ut_pex".into(), 0)].into(),
            chord: Some(6882),
            metadata_len: Some(31235),
            port: Some(6881),
            requests_max: Some(500),
            upload_only: Some(true),
            client: Some("rondalla 0.1.0".into()),
            your_ip: Some([127, 0, 0, 1].into()),
        }
    }

    fn parse(bytes: &[u8]) -> ExtensionHandshake {
        ExtensionHandshake::parse(bytes).unwrap()
    }

    #[test]
    fn construct_and_deconstruct() {
        assert_eq!(handshake().emit(), BYTES);
        assert_eq!(parse(BYTES), handshake());
        assert_eq!(ExtensionHandshake::default().emit(), b"d1:mdee");
        assert_eq!(parse(b"d1:mdee"), ExtensionHandshake::default());
        assert_eq!(parse(b"de"), ExtensionHandshake::default());
    }

    /// Of BEP 10's example the printed length of the second name is right in Latin-1, where it is no
    /// name to us, and wrong in UTF-8.
    #[test]
    fn the_examples_of_bep_9_and_bep_10_are_read() {
        let example = ExtensionHandshake {
            extensions: [("LT_metadata".into(), 1)].into(),
            port: Some(6881),
            client: Some("\u{b5}Torrent 1.2".into()),
            ..Default::default()
        };
        let bytes = b"d1:md11:LT_metadatai1e6:\xb5T_PEXi2ee1:pi6881e1:v13:\xc2\xb5Torrent 1.2e";
        assert_eq!(parse(bytes), example);
        let bytes = b"d1:md11:LT_metadatai1e7:\xc2\xb5T_PEXi2ee1:pi6881e1:v13:\xc2\xb5Torrent 1.2e";
        let mut both = example;
        both.extensions.insert("\u{b5}T_PEX".into(), 2);
        assert_eq!(parse(bytes), both);
        assert_eq!(both.emit(), bytes);
        let off = parse(b"d1:md11:LT_metadatai0eee");
        assert_eq!((off.extensions.get("LT_metadata"), off.id("LT_metadata")), (Some(&0), None));

        let bytes = b"d1:md11:ut_metadatai3ee13:metadata_sizei31235ee";
        let extensions = [(UT_METADATA.to_owned(), 3)].into();
        let metadata = ExtensionHandshake { extensions, metadata_len: Some(31235), ..off };
        assert_eq!(parse(bytes), metadata);
        assert_eq!(metadata.emit(), bytes);
    }

    #[test]
    fn an_id_of_0_turns_an_extension_off() {
        assert_eq!(handshake().id("ut_metadata"), Some(3));
        assert_eq!(handshake().id("ut_pex"), None);
        assert_eq!(handshake().id("ut_holepunch"), None);
    }

    #[test]
    fn what_is_foreign_is_passed_over() {
        let port = ExtensionHandshake { port: Some(1), ..Default::default() };
        for bytes in [
            &b"d1:pi1ee and more"[..],
            b"d1:zi0e1:pi1ee",
            b"d2:\xff\xfei0e1:pi1ee",
            b"d1:ai99999999999999999999999999999e1:pi1ee",
            b"d01:pi2e1:pi0001e1:ai-0ee",
            b"d1:ai1-2e1:bi-e1:cie02:pai007e1:pi1ee",
            b"d1:ad1:bl1:cd1:dleeee1:pi1ee",
            b"d0:0:1:pi1ee",
            b"d1:m1:x1:pi1e4:reqql1:ae1:vi7e6:yourip3:abce",
            b"d1:mi0e1:pi1e4:reqqi-1e13:metadata_sizei0ee",
            b"d1:pi1e13:metadata_sizei4294967296e6:yourip5:abcdee",
        ] {
            assert_eq!(parse(bytes), port, "{}", bytes.escape_ascii());
        }
        for bytes in [&b"d1:pi0ee"[..], b"d1:pi65536ee", b"d1:pi-1ee", b"d1:pie1:vi1ee"] {
            assert_eq!(parse(bytes).port, None, "{}", bytes.escape_ascii());
        }
        let extensions = parse(b"d1:md1:ai256e1:bi2e2:\xff\xffi3e1:cle1:di-1eee").extensions;
        assert_eq!(extensions, [("b".to_owned(), 2)].into());
    }

    #[test]
    fn addresses_of_both_families_are_read() {
        for (bytes, address) in [
            (&b"d6:yourip4:\x01\x02\x03\x04e"[..], "1.2.3.4"),
            (b"d6:yourip16:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01e", "2001:db8::1"),
            (b"d6:yourip16:\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x02\x03\x04e", "1.2.3.4"),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(parse(bytes).your_ip, Some(address));
            let your_ip = Some(address);
            let handshake = ExtensionHandshake { your_ip, ..Default::default() };
            assert_eq!(parse(&handshake.emit()), handshake);
        }
    }

    #[test]
    fn an_error_says_where() {
        let deep = [&b"d1:a"[..], &b"l".repeat(65_000)].concat();
        for (bytes, at) in [
            (&b""[..], 0),
            (b"le", 0),
            (b"d", 1),
            (b"di0ei0ee", 1),
            (b"d1:a", 4),
            (b"d1:ae", 4),
            (b"d1:ai1", 6),
            (b"d1:ai1.5ee", 4),
            (b"d1:a6:abcde", 4),
            (b"d:a0:e", 1),
            (b"d1:a99999999999999999999999:e", 4),
            (&deep, 4 + BENCODE_DEPTH_MAX - 1),
        ] {
            let error = ExtensionHandshake::parse(bytes).unwrap_err();
            assert_eq!(error, WireError::Bencode { at });
        }
    }

    #[test]
    fn much_is_cut_to_its_bound() {
        let many: String = (0..1000).map(|n| format!("4:{n:04}i1e")).collect();
        let long = format!("d1:md{many}40:{0}i1ee1:v70:{0}{1}e", "x".repeat(40), "\n".repeat(30));
        let handshake = parse(long.as_bytes());
        assert_eq!(handshake.extensions.len(), EXTENSIONS_MAX);
        assert_eq!(handshake.client, Some("x".repeat(40)));
    }

    #[test]
    fn spoilt_handshakes_are_survived() {
        let mut errors = 0;
        for seed in 0..5000 {
            let mut rng = Rng::new(seed);
            let mut bytes = BYTES.to_vec();
            for _ in 0..1 + rng.below(4) {
                let at = rng.below(u32::try_from(bytes.len()).unwrap()) as usize;
                bytes[at] = b"0123456789:-deil\xff"[rng.below(17) as usize];
            }
            bytes.truncate(1 + rng.below(400) as usize);
            errors += u32::from(ExtensionHandshake::parse(&bytes).is_err());
        }
        assert!((1000..5000).contains(&errors), "{errors} errors");
    }
}
