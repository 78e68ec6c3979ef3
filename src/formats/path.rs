//! Paths out of torrents, made safe: whatever a torrent says, its files end up inside the folder
//! that the user chose.
//!
//! A torrent names a file by components (BEP 3), each of which becomes one name in one folder.
//! What is harmless is cleaned: separators and control characters are replaced, long names are
//! shortened, empty components and `.` are dropped. `..` is refused: no maker writes it, and a
//! torrent that tries to climb is not to be trusted with anything else.
//! A name that the system can hold is left as it is, since the data may be there already: what
//! only Windows forbids is replaced on Windows only, bytes that are not UTF-8 only where names are
//! text, and `README` and `Readme` are one file only where the system takes them for one.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::words::limits::{NAME_LEN_MAX, PATH_LEN_MAX};

/// Whose rules names follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// `/` separates; names are bytes, which need not be UTF-8, and case matters.
    Unix,
    /// `/` separates; names are text, and case does not matter.
    Mac,
    /// `\` separates as well, `:` names drives and streams; names are text, and case does not
    /// matter.
    Windows,
}

impl System {
    /// The system that this program was built for.
    pub const HERE: Self = if cfg!(windows) {
        Self::Windows
    } else if cfg!(target_vendor = "apple") {
        Self::Mac
    } else {
        Self::Unix
    };
}

/// Why a path is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathError {
    /// A component is `..`.
    Parent,
    /// No component is left.
    Empty,
    /// The whole path is longer than [`PATH_LEN_MAX`].
    TooLong,
    /// This path is a file and also the folder of another file.
    FileAndFolder(PathBuf),
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parent => write!(f, "a path that climbs out of its folder (\"..\")"),
            Self::Empty => write!(f, "a file without a name"),
            Self::TooLong => write!(f, "a path longer than {PATH_LEN_MAX} bytes"),
            Self::FileAndFolder(path) => {
                write!(f, "\"{}\", which is both a file and a folder", shown(path))
            }
        }
    }
}

impl std::error::Error for PathError {}

/// The path of `components`, relative, never empty.
///
/// # Errors
/// If a component is `..`, none is left, or the path is too long.
pub fn safe_path<'a>(
    components: impl IntoIterator<Item = &'a [u8]>,
    system: System,
) -> Result<PathBuf, PathError> {
    let mut path = PathBuf::new();
    for component in components {
        if let Some(name) = safe_name(component, system)? {
            path.push(name);
        }
        check_len(&path)?;
    }
    if path.as_os_str().is_empty() { Err(PathError::Empty) } else { Ok(path) }
}

fn check_len(path: &Path) -> Result<(), PathError> {
    if path.as_os_str().len() > PATH_LEN_MAX { Err(PathError::TooLong) } else { Ok(()) }
}

/// One component as the name of a file or folder; `None` if it says nothing (`.` or empty).
///
/// # Errors
/// If it is `..`.
pub fn safe_name(component: &[u8], system: System) -> Result<Option<OsString>, PathError> {
    match component {
        b".." => return Err(PathError::Parent),
        b"" | b"." => return Ok(None),
        _ => {}
    }
    let mut name = shortened(&cleaned(component, system));
    // What was cut off may have been all that made it another name.
    if system == System::Windows && is_device(&readable(&name)) {
        name.insert(0, b'_');
        name = shortened(&name);
    }
    if system == System::Windows && name.ends_with(b".") | name.ends_with(b" ") {
        name.pop();
        name.push(b'_');
    }
    Ok(Some(os_name(name)))
}

/// The component with another character for each that no name may hold.
fn cleaned(component: &[u8], system: System) -> Vec<u8> {
    let mut name = Vec::with_capacity(component.len());
    for chunk in component.utf8_chunks() {
        let valid: String = chunk.valid().chars().map(|c| safe_char(c, system)).collect();
        name.extend_from_slice(valid.as_bytes());
        match system {
            System::Unix => name.extend_from_slice(chunk.invalid()),
            System::Mac | System::Windows => {
                name.extend_from_slice(readable(chunk.invalid()).as_bytes());
            }
        }
    }
    name
}

/// The bytes as a name.
#[cfg(unix)]
fn os_name(bytes: Vec<u8>) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}

/// The bytes as a name, which is text.
#[cfg(not(unix))]
fn os_name(bytes: Vec<u8>) -> OsString {
    readable(&bytes).into()
}

/// The text, with `%E9` for each byte that is not UTF-8.
pub fn readable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("%{byte:02X}")));
    }
    text
}

/// A name or path as people are told of it, [`readable`] whatever its bytes are.
pub fn shown(name: impl AsRef<OsStr>) -> String {
    readable(name.as_ref().as_encoded_bytes())
}

fn safe_char(c: char, system: System) -> char {
    match c {
        '/' => '_',
        _ if c.is_control() => '_',
        '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' if system == System::Windows => '_',
        _ => c,
    }
}

/// Whether Windows takes the name for a device, whatever its extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") {
        return true;
    }
    let number = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    number.is_some_and(|number| {
        let mut chars = number.chars();
        matches!(chars.next(), Some('0'..='9' | '¹' | '²' | '³')) && chars.next().is_none()
    })
}

/// The name, cut to [`NAME_LEN_MAX`] bytes before its extension.
fn shortened(name: &[u8]) -> Vec<u8> {
    let (stem, extension) = split_extension(name);
    fitted(stem, extension)
}

/// `stem` and `tail`, of which `stem` is cut so that both fit into [`NAME_LEN_MAX`] bytes.
fn fitted(stem: &[u8], tail: &[u8]) -> Vec<u8> {
    [cut(stem, NAME_LEN_MAX - tail.len()), tail].concat()
}

/// The first `len` bytes of the name, if it has so many, without the beginning of a character
/// whose end is not among them.
fn cut(name: &[u8], len: usize) -> &[u8] {
    if name.len() <= len {
        return name;
    }
    // A character has at most four bytes, and those behind its first begin with the bits 10.
    let is_first = |&at: &usize| name[at] & 0b1100_0000 != 0b1000_0000;
    let first = (len.saturating_sub(3)..len).rev().find(is_first);
    let is_cut = |at: &usize| {
        let whole = name[*at..name.len().min(at + 4)]
            .utf8_chunks()
            .next()
            .and_then(|chunk| chunk.valid().chars().next());
        whole.is_some_and(|character| at + character.len_utf8() > len)
    };
    &name[..first.filter(is_cut).unwrap_or(len)]
}

/// What comes before the extension, and the extension with its dot. What is longer than 16 bytes
/// is no extension.
fn split_extension(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|byte| *byte == b'.') {
        Some(dot) if dot > 0 && name.len() - dot <= 16 => name.split_at(dot),
        Some(_) | None => (name, b""),
    }
}

/// Numbers those of `paths` that the system would take for an earlier one: the second `a.txt`
/// becomes `a.1.txt`.
///
/// # Errors
/// If a path is the folder of another, or is too long.
pub fn tell_apart<'a>(
    paths: impl IntoIterator<Item = &'a mut PathBuf>,
    system: System,
) -> Result<(), PathError> {
    let mut taken: BTreeSet<Vec<u8>> = BTreeSet::new();
    // The last number that was tried, by what paths become with the longest number: long ones that
    // differ only in what a number cuts off share their numbers, so that no number is tried twice.
    let mut tried: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for path in paths {
        if taken.insert(identity(path, system)) {
            check_len(path)?;
            continue;
        }
        let with_number = |n| numbered(path, n, system);
        let last = tried.entry(identity(&with_number(u32::MAX), system)).or_default();
        let free = (*last + 1..).find(|&n| taken.insert(identity(&with_number(n), system)));
        *last = free.expect("there are fewer files than numbers");
        *path = with_number(*last);
        check_len(path)?;
    }
    match file_and_folder(taken.iter()) {
        Some(both) => Err(PathError::FileAndFolder(both)),
        None => Ok(()),
    }
}

/// Two paths are one to the system if these bytes are equal. A path begins with the bytes of its
/// folder and a zero, which no name contains and which sorts before all that names contain.
fn identity(path: &Path, system: System) -> Vec<u8> {
    let names: Vec<&[u8]> = path.iter().map(OsStr::as_encoded_bytes).collect();
    let joined = names.join(&0);
    match system {
        System::Unix => joined,
        // Either alone leaves some apart that the other joins, such as the three letters sigma.
        System::Mac | System::Windows => {
            readable(&joined).to_lowercase().to_uppercase().to_lowercase().into_bytes()
        }
    }
}

fn numbered(path: &Path, number: u32, system: System) -> PathBuf {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let (stem, extension) = split_extension(name);
    let tail = [format!(".{number}").as_bytes(), extension].concat();
    let name = fitted(stem, &tail);
    match safe_name(&name, system) {
        Ok(Some(safe)) => path.with_file_name(safe),
        Ok(None) | Err(_) => path.with_file_name(os_name(name)),
    }
}

/// A path that is also the folder of another. In ascending order what is inside a folder follows
/// the folder's own name directly.
fn file_and_folder<'a>(ascending: impl Iterator<Item = &'a Vec<u8>>) -> Option<PathBuf> {
    let mut last: Option<&[u8]> = None;
    for path in ascending {
        if let Some(last) = last
            && path.strip_prefix(last).is_some_and(|rest| rest.starts_with(b"\0"))
        {
            return Some(last.split(|byte| *byte == 0).map(readable).collect());
        }
        last = Some(path);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    type Cleaned<'a> = (&'a [&'a [u8]], Result<&'a str, PathError>);
    type Told<'a> = (System, &'a [&'a str], Result<&'a [&'a str], &'a str>);

    const EACH: [System; 3] = [System::Unix, System::Mac, System::Windows];

    fn clean(components: &[&[u8]], system: System) -> Result<String, PathError> {
        safe_path(components.iter().copied(), system)
            .map(|path| path.to_str().unwrap().replace(std::path::MAIN_SEPARATOR, "/"))
    }

    #[test]
    fn nothing_climbs_on_any_system() {
        let table: [Cleaned<'_>; 13] = [
            (&[b"a", b"b.txt"], Ok("a/b.txt")),
            (&[b".."], Err(PathError::Parent)),
            (&[b"a", b"..", b"..", b"b"], Err(PathError::Parent)),
            (&[], Err(PathError::Empty)),
            (&[b"", b".", b""], Err(PathError::Empty)),
            (&[b"", b"a", b".", b"b"], Ok("a/b")),
            (&[b"/etc/passwd"], Ok("_etc_passwd")),
            (&[b"../../x"], Ok(".._.._x")),
            (&[b"AC/DC", b"1"], Ok("AC_DC/1")),
            (&[b"a\0b"], Ok("a_b")),
            (&[b"a\nb\x1b[2J\x7f"], Ok("a_b_[2J_")),
            (&["\u{9b}31m".as_bytes()], Ok("_31m")),
            (&["日本.txt".as_bytes()], Ok("日本.txt")),
        ];
        for (components, wanted) in table {
            for system in EACH {
                let wanted = wanted.clone().map(String::from);
                assert_eq!(clean(components, system), wanted, "{components:?} {system:?}");
            }
        }
    }

    #[test]
    fn windows_has_rules_of_its_own() {
        let table = [
            ("a:b", "a_b"),
            ("C:\\x", "C__x"),
            ("..\\..\\x", ".._.._x"),
            ("a<b>c\"d|e?f*g", "a_b_c_d_e_f_g"),
            ("dots...", "dots.._"),
            ("space ", "space_"),
            (".. ", ".._"),
            ("...", ".._"),
            ("con", "_con"),
            ("NUL.tar.gz", "_NUL.tar.gz"),
            ("aux .txt", "_aux .txt"),
            ("COM¹", "_COM¹"),
            ("lpt9.x", "_lpt9.x"),
            ("COM10", "COM10"),
            ("console", "console"),
        ];
        for (name, wanted) in table {
            assert_eq!(clean(&[name.as_bytes()], System::Windows).unwrap(), wanted);
            assert_eq!(clean(&[name.as_bytes()], System::Unix).unwrap(), name);
        }
        let becomes_a_device = format!("con{}x.txt", " ".repeat(248));
        let cut = format!("_con{}.txt", " ".repeat(247));
        assert_eq!(clean(&[becomes_a_device.as_bytes()], System::Windows).unwrap(), cut);
    }

    #[test]
    fn long_names_keep_their_extension() {
        let table = [
            ("x".repeat(255), "x".repeat(255)),
            ("x".repeat(300), "x".repeat(255)),
            ("x".repeat(300) + ".mkv", "x".repeat(251) + ".mkv"),
            ("é".repeat(200) + ".mkv", "é".repeat(125) + ".mkv"),
            (".".to_owned() + &"x".repeat(300), ".".to_owned() + &"x".repeat(254)),
            ("a.".to_owned() + &"x".repeat(300), "a.".to_owned() + &"x".repeat(253)),
        ];
        for (name, wanted) in table {
            assert_eq!(clean(&[name.as_bytes()], System::Unix).unwrap(), wanted);
        }
        let bytes = [0xff; 255];
        assert_eq!(clean(&[&bytes], System::Mac).unwrap(), "%FF".repeat(85));
        let deep = [&b"0123456"[..]; 512];
        assert_eq!(clean(&deep, System::Unix).unwrap().len(), 4095);
        assert_eq!(clean(&[&b"01234567"[..]; 512], System::Unix), Err(PathError::TooLong));
    }

    /// Names in Latin-1, Shift JIS or no coding at all, whose files may be there under these bytes.
    #[test]
    #[cfg(unix)]
    fn names_that_are_not_utf8_stay_where_names_are_bytes() {
        let long = |tail: &[u8]| [&[0xa0; 251], tail].concat();
        let table: [(&[u8], &[u8], &str); 9] = [
            (b"caf\xe9.txt", b"caf\xe9.txt", "caf%E9.txt"),
            (b"\xff\xfe", b"\xff\xfe", "%FF%FE"),
            (b"\x83\x5c", b"\x83\x5c", "%83\\"),
            (b"\xe9/../\x1b\0\xe9", b"\xe9_..___\xe9", "%E9_..___%E9"),
            (b"..\xe9", b"..\xe9", "..%E9"),
            // A control character in UTF-8; its second byte alone, which is not; one cut short.
            (b"\xc2\x9b31m", b"_31m", "_31m"),
            (b"\x9b31m", b"\x9b31m", "%9B31m"),
            (b"\xc2\n\xc2/\x85", b"\xc2_\xc2_\x85", "%C2_%C2_%85"),
            (&[0xe9; 300], &[0xe9; 255], "%E9"),
        ];
        for (name, kept, told) in table {
            let path = safe_path([name], System::Unix).unwrap();
            assert_eq!(path.as_os_str().as_encoded_bytes(), kept, "{}", name.escape_ascii());
            assert!(shown(&path).starts_with(told), "{}", shown(&path));
            for text in [System::Mac, System::Windows] {
                assert!(safe_path([name], text).unwrap().to_str().is_some(), "{name:?}");
            }
        }
        for (tail, wanted) in [
            (b"\xe6\x97\xa5\xa0".as_slice(), long(b"\xe6\x97\xa5\xa0")),
            (b"\xa0\xa0\xe6\x97\xa5", long(b"\xa0\xa0")),
            (b"\xa0\xe6\x97\xa5\xa0", long(b"\xa0\xe6\x97\xa5")),
            (b"\xa0\xa0\xa0\xa0\xa0", long(b"\xa0\xa0\xa0\xa0")),
        ] {
            let name = safe_name(&long(tail), System::Unix).unwrap().unwrap();
            assert_eq!(name.as_encoded_bytes(), wanted, "{}", tail.escape_ascii());
        }
    }

    /// As text they would be one, and as case is folded too.
    #[test]
    #[cfg(unix)]
    fn twins_that_are_not_utf8_are_told_apart() {
        let names: [&[u8]; 6] = [b"\xe9.x", b"\xe8.x", b"\xe9.x", b"%E9.x", b"\xc9.x", b"a\xe9/b"];
        let wanted: [&[u8]; 6] =
            [b"\xe9.x", b"\xe8.x", b"\xe9.1.x", b"%E9.x", b"\xc9.x", b"a\xe9/b"];
        let path = |bytes: &&[u8]| PathBuf::from(os_name(bytes.to_vec()));
        let mut paths: Vec<PathBuf> = names.iter().map(path).collect();
        tell_apart(&mut paths, System::Unix).unwrap();
        assert_eq!(paths, wanted.iter().map(path).collect::<Vec<_>>());
        paths.push(path(&b"a\xe9".as_slice()));
        let error = tell_apart(&mut paths, System::Unix).unwrap_err().to_string();
        assert_eq!(error, "\"a%E9\", which is both a file and a folder");
    }

    #[test]
    fn twins_are_told_apart() {
        let table: [Told<'_>; 10] = [
            (System::Unix, &["a", "b"], Ok(&["a", "b"])),
            (System::Unix, &["t/a.x", "t/a.x", "t/a.x"], Ok(&["t/a.x", "t/a.1.x", "t/a.2.x"])),
            (System::Unix, &["a.1", "a", "a", "a.1"], Ok(&["a.1", "a", "a.2", "a.1.1"])),
            (System::Unix, &["README", "readme"], Ok(&["README", "readme"])),
            (System::Mac, &["README", "readme"], Ok(&["README", "readme.1"])),
            (System::Windows, &["T/É.x", "t/é.x"], Ok(&["T/É.x", "t/é.1.x"])),
            (System::Mac, &["ΑΣ", "ας", "ασ", "ß", "SS"], Ok(&["ΑΣ", "ας.1", "ασ.2", "ß", "SS.1"])),
            (System::Unix, &["t/a/b", "t/a-b", "t/a"], Err("t/a")),
            (System::Unix, &["t/A", "t/a/b"], Ok(&["t/A", "t/a/b"])),
            (System::Windows, &["t/A", "t/a/b"], Err("t/a")),
        ];
        for (system, paths, wanted) in table {
            let mut paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            let told = tell_apart(&mut paths, system).map(|()| paths.clone());
            let wanted = match wanted {
                Ok(wanted) => Ok(wanted.iter().map(PathBuf::from).collect()),
                Err(both) => Err(PathError::FileAndFolder(both.into())),
            };
            assert_eq!(told, wanted, "{system:?} {paths:?}");
        }
    }

    #[test]
    fn a_number_makes_no_path_too_long() {
        let path = format!("{}{}", format!("{}/", "y".repeat(250)).repeat(16), "z".repeat(80));
        let mut paths = [PathBuf::from(&path)];
        assert_eq!(tell_apart(&mut paths, System::Unix), Ok(()));
        let mut paths = [PathBuf::from(&path), PathBuf::from(&path)];
        assert_eq!(tell_apart(&mut paths, System::Unix), Err(PathError::TooLong));
    }

    #[test]
    fn many_twins_cost_one_step_each() {
        let mut paths = vec![PathBuf::from("a".repeat(255)); 20_000];
        tell_apart(&mut paths, System::Unix).unwrap();
        assert_eq!(paths[19_999].as_os_str().len(), 255);
        assert!(paths[19_999].to_str().unwrap().ends_with(".19999"));
    }

    /// Names that differ only in what a number cuts off become the same when they are numbered.
    #[test]
    fn twins_of_many_long_names_cost_no_more() {
        let long = |n: usize| PathBuf::from(format!("{}{n:05}", "a".repeat(250)));
        let mut paths: Vec<PathBuf> = (0..40_000).map(|n| long(n / 2)).collect();
        tell_apart(&mut paths, System::Unix).unwrap();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), 40_000);
    }
}
