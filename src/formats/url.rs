//! URLs of trackers and of whatever else is fetched (RFC 3986), read as far as a client needs them.
//!
//! They come from strangers: what is kept can stand in the first line of a request as it is.

use std::fmt::{self, Write as _};

use crate::words::address::Host;
use crate::words::limits::URL_LEN_MAX;
use crate::words::units::Unparsable;

/// How to speak to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// HTTP/1.1 in the clear.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// The datagrams of BEP 15.
    Udp,
}

impl Scheme {
    fn default_port(self) -> Option<u16> {
        match self {
            Self::Http => Some(80),
            Self::Https => Some(443),
            Self::Udp => None,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Udp => "udp",
        })
    }
}

/// An absolute URL without user, password and fragment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Url {
    /// How to speak to the host.
    pub scheme: Scheme,
    /// The host, in lower case.
    pub host: Host,
    /// The port, above 0.
    pub port: u16,
    /// Path and query: it begins with `/` and has only what may stand in a request line.
    pub target: String,
}

/// Why a text is no URL that is spoken. Its text is one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// Longer than [`URL_LEN_MAX`].
    TooLong,
    /// No `http://`, `https://` or `udp://` before it.
    Scheme,
    /// A user or password before the host.
    User,
    /// No host, or one that cannot be.
    Host,
    /// No port where one is needed, or none from 1 to 65535.
    Port,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the URL is longer than {URL_LEN_MAX} bytes"),
            Self::Scheme => write!(f, "the URL begins with none of http://, https:// and udp://"),
            Self::User => write!(f, "the URL has a user before its host, which is not supported"),
            Self::Host => write!(f, "the URL has no host"),
            Self::Port => write!(f, "the URL has no port from 1 to 65535"),
        }
    }
}

impl std::error::Error for UrlError {}

impl Url {
    /// Reads an absolute URL. What may not stand in a request line is percent-encoded.
    ///
    /// # Errors
    /// If it is too long, of another scheme, or has a user, no host or no port.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > URL_LEN_MAX {
            return Err(UrlError::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "udp" => Scheme::Udp,
            _ => return Err(UrlError::Scheme),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (host, port) = authority_of(authority, scheme)?;
        Ok(Self { scheme, host, port, target: target_of(target) })
    }

    /// The URL that `location` means in an answer of this one (RFC 3986, section 5), without
    /// resolving dots, which the server does.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn join(&self, location: &str) -> Result<Self, UrlError> {
        if location.len() > URL_LEN_MAX {
            return Err(UrlError::TooLong);
        }
        let before_path = location.find(['/', '?', '#']).unwrap_or(location.len());
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&format!("{}://{rest}", self.scheme));
        }
        if location[..before_path].contains(':') {
            return Self::parse(location);
        }
        let path = self.target.split('?').next().unwrap_or_default();
        let target = if location.starts_with('/') {
            location.to_owned()
        } else if location.starts_with('?') {
            format!("{path}{location}")
        } else {
            let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
            format!("{folder}{location}")
        };
        Ok(Self { target: target_of(&target), ..self.clone() })
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// What stands in the `Host` of a request: the port only where it is not the scheme's own.
    pub fn authority(&self) -> String {
        if self.scheme.default_port() == Some(self.port) {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority(), self.target)
    }
}

fn authority_of(text: &str, scheme: Scheme) -> Result<(Host, u16), UrlError> {
    if text.contains('@') {
        return Err(UrlError::User);
    }
    let after_brackets = text.rfind(']').map_or(0, |end| end + 1);
    let colon = text[after_brackets..].find(':').map(|at| after_brackets + at);
    let (host, port) = match colon {
        Some(at) => (&text[..at], Some(&text[at + 1..]).filter(|port| !port.is_empty())),
        None => (text, None),
    };
    let host: Host = host.to_ascii_lowercase().parse().map_err(|Unparsable(_)| UrlError::Host)?;
    let port = match port {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
        Some(_) => None,
        None => scheme.default_port(),
    };
    if host == Host::Any || !text.is_ascii() {
        return Err(UrlError::Host);
    }
    Ok((host, port.filter(|port| *port > 0).ok_or(UrlError::Port)?))
}

/// Path and query as a request line may have them (RFC 3986, sections 2.2 and 2.3).
fn target_of(text: &str) -> String {
    let text = text.split('#').next().unwrap_or_default();
    let mut target = String::with_capacity(text.len() + 1);
    if !text.starts_with('/') {
        target.push('/');
    }
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&byte) {
            target.push(char::from(byte));
        } else {
            push_encoded(&mut target, byte);
        }
    }
    target
}

/// Bytes as they stand in a query: all but the unreserved ones percent-encoded (RFC 3986, section
/// 2.3).
pub fn percent_encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            push_encoded(&mut text, *byte);
        }
    }
    text
}

fn push_encoded(text: &mut String, byte: u8) {
    write!(text, "%{byte:02X}").expect("a String takes all that is written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown() {
        let table = [
            ("http://tracker.example/announce", "http://tracker.example/announce", 80),
            ("HTTP://Tracker.Example:80/A?b=c", "http://tracker.example/A?b=c", 80),
            ("https://t.example", "https://t.example/", 443),
            ("https://t.example:8443?passkey=1#x", "https://t.example:8443/?passkey=1", 8443),
            ("udp://t.example:1337/announce", "udp://t.example:1337/announce", 1337),
            ("udp://[2001:DB8::1]:1", "udp://[2001:db8::1]:1/", 1),
            ("http://[::1]/announce", "http://[::1]/announce", 80),
            ("http://1.2.3.4:/x y\r\nEvil: 1", "http://1.2.3.4/x%20y%0D%0AEvil:%201", 80),
            ("http://t.example/é%20{}", "http://t.example/%C3%A9%20%7B%7D", 80),
        ];
        for (text, shown, port) in table {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.to_string().as_str(), url.port), (shown, port), "{text}");
            assert_eq!(Url::parse(shown), Ok(url));
        }
    }

    #[test]
    fn what_is_not_spoken_is_refused() {
        let long = format!("http://t.example/{}", "a".repeat(URL_LEN_MAX));
        let table = [
            ("", UrlError::Scheme),
            ("tracker.example:80", UrlError::Scheme),
            ("file:///etc/passwd", UrlError::Scheme),
            ("ws://t.example/", UrlError::Scheme),
            ("http://", UrlError::Host),
            ("http://:80/", UrlError::Host),
            ("http:///announce", UrlError::Host),
            ("http://a b/", UrlError::Host),
            ("http://b\u{fc}cher.example/", UrlError::Host),
            ("http://u:p@t.example/", UrlError::User),
            ("http://t.example:0/", UrlError::Port),
            ("http://t.example:65536/", UrlError::Port),
            ("http://t.example:+1/", UrlError::Port),
            ("udp://t.example/announce", UrlError::Port),
            (&long, UrlError::TooLong),
        ];
        for (text, error) in table {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_location_is_read_beside_its_url() {
        let url = Url::parse("http://t.example:8080/a/announce?x=1").unwrap();
        let table = [
            ("http://u.example/b", Ok("http://u.example/b")),
            ("//u.example/b", Ok("http://u.example/b")),
            ("/b?y=http://z", Ok("http://t.example:8080/b?y=http://z")),
            ("b", Ok("http://t.example:8080/a/b")),
            ("?y=2", Ok("http://t.example:8080/a/announce?y=2")),
            ("file:///etc/passwd", Err(UrlError::Scheme)),
            ("data:text/plain,x", Err(UrlError::Scheme)),
        ];
        for (location, expected) in table {
            let joined = url.join(location).map(|url| url.to_string());
            assert_eq!(joined, expected.map(str::to_owned), "{location}");
        }
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(percent_encoded(b"aZ9-._~ \x00\xff&=%"), "aZ9-._~%20%00%FF%26%3D%25");
    }
}
