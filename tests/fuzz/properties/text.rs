//! What people and strangers write in a line: addresses, sizes, names of files and clients.

use std::path::{Component, Path, PathBuf};

use rondalla::formats::client::{cleaned, client_name};
use rondalla::formats::magnet::parse_info_hash;
use rondalla::formats::path::{
    PathError, System, readable, safe_name, safe_path, shown, tell_apart,
};
use rondalla::words::address::{Address, Host, ListenAddress};
use rondalla::words::id::PeerId;
use rondalla::words::limits::{CLIENT_NAME_LEN_MAX, HOST_LEN_MAX, NAME_LEN_MAX, PATH_LEN_MAX};
use rondalla::words::units::{Rate, Size};

const SYSTEMS: [System; 3] = [System::Unix, System::Mac, System::Windows];

/// The first byte says what the others are.
pub(crate) fn check(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    match kind {
        b'a' => check_address(&String::from_utf8_lossy(bytes)),
        b's' => check_size(&String::from_utf8_lossy(bytes)),
        b'c' => check_client(bytes),
        b'p' => SYSTEMS.iter().for_each(|system| check_paths(bytes, *system)),
        _ => SYSTEMS.iter().for_each(|system| check_name(bytes, *system)),
    }
}

fn check_address(text: &str) {
    if let Ok(address) = text.parse::<Address>() {
        let shown = address.to_string();
        assert_eq!(shown.parse().as_ref(), Ok(&address), "{shown}");
        assert!(!shown.contains(|c: char| c.is_control() || c.is_whitespace()));
        assert!(shown.len() <= HOST_LEN_MAX + "[]:65535".len());
        if let Host::Ip(ip) = address.host {
            assert_eq!(ip, ip.to_canonical(), "one host has one name");
        }
    }
    if let Ok(address) = text.parse::<ListenAddress>() {
        assert_eq!(address.to_string().parse().as_ref(), Ok(&address), "{address}");
        assert!(!address.ports.is_empty());
    }
    if let Some(info_hash) = parse_info_hash(text) {
        assert_eq!(parse_info_hash(&info_hash.to_string()), Some(info_hash));
    }
}

fn check_size(text: &str) {
    let (size, rate) = (text.parse::<Size>(), text.parse::<Rate>());
    assert_eq!(size.map(|size| size.0), rate.map(|rate| rate.0));
    let Ok(size) = size else { return };
    assert_eq!(text.to_lowercase().parse(), Ok(size));
    assert_eq!(format!("0{text}").parse(), Ok(size));
    assert_eq!(size.0.to_string().parse(), Ok(size));
    // Three digits are never more than there is, and never less by a hundredth.
    let shown = size.to_string();
    let (digits, unit) = shown.split_once(' ').expect("a number and a unit");
    let steps = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].iter().position(|&u| u == unit);
    let scale = 1024_f64.powi(i32::try_from(steps.expect("a unit")).expect("few units"));
    let (said, meant) = (digits.parse::<f64>().expect("a number") * scale, size.0 as f64);
    // The margin is for what a float of 53 bits rounds.
    assert!(said <= meant * 1.000_000_1 && meant * 0.989 <= said, "{shown} of {}", size.0);
    assert!(shown.len() <= "1023 KiB".len());
}

fn check_client(bytes: &[u8]) {
    let name = cleaned(bytes);
    assert!(name.chars().count() <= CLIENT_NAME_LEN_MAX && !name.contains(char::is_control));
    assert_eq!(cleaned(name.as_bytes()), name, "what is clean stays");
    let mut id = [0; 20];
    id.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    let name = client_name(PeerId(id));
    assert!(name.chars().count() <= CLIENT_NAME_LEN_MAX && !name.contains(char::is_control));
    assert_eq!(cleaned(name.as_bytes()), name);
}

fn check_name(bytes: &[u8], system: System) {
    let name = match safe_name(bytes, system) {
        Ok(Some(name)) => name,
        Ok(None) => return assert!(matches!(bytes, b"" | b".")),
        Err(error) => return assert_eq!((error, bytes), (PathError::Parent, &b".."[..])),
    };
    assert!(!name.is_empty() && name.len() <= NAME_LEN_MAX);
    let parts: Vec<_> = Path::new(&name).components().collect();
    assert!(matches!(parts[..], [Component::Normal(_)]), "{name:?}");
    let again = safe_name(name.as_encoded_bytes(), system);
    assert_eq!(again, Ok(Some(name.clone())), "what is clean stays");
    assert!(system == System::Unix || name.to_str().is_some(), "{name:?} is no text");
    let name = shown(name);
    assert!(!name.contains(|c: char| c.is_control() || c == '/'));
    assert!(
        !readable(bytes).contains('\u{fffd}')
            || bytes.windows(3).any(|w| w == "\u{fffd}".as_bytes())
    );
    if system == System::Windows {
        assert!(!name.contains(['\\', ':', '*', '?', '"', '<', '>', '|']));
        assert!(!name.ends_with(['.', ' ']));
        let stem = name.split('.').next().unwrap_or_default().trim_end().to_lowercase();
        assert!(!["con", "prn", "aux", "nul", "com1", "lpt9"].contains(&stem.as_str()), "{name:?}");
    }
}

/// Lines are files, and slashes separate their components.
fn check_paths(bytes: &[u8], system: System) {
    let mut paths = Vec::new();
    for line in bytes.split(|&byte| byte == b'\n') {
        match safe_path(line.split(|&byte| byte == b'/'), system) {
            Ok(path) => paths.push(path),
            Err(error) => assert!(!error.to_string().contains(char::is_control)),
        }
    }
    let clean = paths.clone();
    match tell_apart(&mut paths, system) {
        Ok(()) => {}
        Err(error) => return assert!(!error.to_string().contains(char::is_control)),
    }
    let mut again = paths.clone();
    tell_apart(&mut again, system).expect("what is apart stays apart");
    assert_eq!(again, paths, "what is apart is left as it is");
    for (before, after) in clean.iter().zip(&paths) {
        assert_eq!(before.parent(), after.parent(), "a file stays in its folder");
        assert!(after.as_os_str().len() <= PATH_LEN_MAX);
        for name in after.iter() {
            let bytes = name.as_encoded_bytes();
            assert_eq!(safe_name(bytes, system), Ok(Some(name.into())), "what is clean stays");
        }
    }
    for fold in folds(system) {
        let mut folded: Vec<PathBuf> = paths.iter().map(|path| fold(path)).collect();
        folded.sort();
        let is_apart = |pair: &[PathBuf]| pair[0] != pair[1];
        assert!(folded.windows(2).all(is_apart), "two files in one place: {paths:?}");
        let is_folder = |pair: &[PathBuf]| pair[1].starts_with(&pair[0]);
        assert!(!folded.windows(2).any(is_folder), "a file is a folder: {paths:?}");
    }
}

/// The ways in which the system may take two names for one.
fn folds(system: System) -> &'static [fn(&Path) -> PathBuf] {
    fn text(path: &Path) -> &str {
        path.to_str().expect("names are text")
    }
    match system {
        System::Unix => &[Path::to_owned],
        System::Mac | System::Windows => {
            &[|path| text(path).to_lowercase().into(), |path| text(path).to_uppercase().into()]
        }
    }
}
