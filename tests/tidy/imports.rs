//! Who imports whom: paths through the crate, resolved to the floors where they lead.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::source::{Source, is_of_word};

/// The floors from the ground up, as `src/lib.rs` lists them.
pub(crate) struct Floors(pub(crate) Vec<String>);

impl Floors {
    /// Reads the numbered list in the head of `src/lib.rs`.
    pub(crate) fn read(lib: &str) -> Self {
        let items = lib.lines().filter_map(|line| {
            let (number, item) = line.strip_prefix("//! ")?.split_once(". `")?;
            Some((number.parse::<usize>().ok()?, item.split_once('`')?.0.to_owned()))
        });
        let (numbers, names): (Vec<usize>, Vec<String>) = items.unzip();
        assert!(numbers.iter().copied().eq(1..=names.len()), "the floors are numbered {numbers:?}");
        Self(names)
    }

    /// The floor of a file or folder of `src/`; the program itself stands on the top floor.
    fn of(&self, name: &str) -> Option<usize> {
        if name == "main" {
            return self.0.len().checked_sub(1);
        }
        self.0.iter().position(|floor| floor == name)
    }
}

/// A path that a file names, from the root of the crate.
struct Import {
    line: usize,
    path: Vec<String>,
}

/// What is wrong with the imports of `sources`.
pub(crate) fn climbing(floors: &Floors, sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|source| is_on_a_floor(source)) {
        let Some(from) = floor_of(floors, source) else {
            complaints.push(source.complaint(0, "it stands on no floor of src/lib.rs"));
            continue;
        };
        for import in imports(source) {
            let path = import.path.join("::");
            let wrong = match import.path.first().map(|name| floors.of(name)) {
                Some(Some(of)) if of <= from => continue,
                Some(Some(of)) => {
                    format!("floor {} imports {path}, of floor {}", from + 1, of + 1)
                }
                Some(None) | None => format!("it imports crate::{path}, which names no floor"),
            };
            complaints.push(source.complaint(import.line, &wrong));
        }
    }
    complaints
}

/// How often each floor imports from each, by their numbers from 0 up. What stands on no floor is
/// left out.
pub(crate) fn counts(floors: &Floors, sources: &[Source]) -> BTreeMap<(usize, usize), u32> {
    let mut counts = BTreeMap::new();
    for source in sources.iter().filter(|source| is_on_a_floor(source)) {
        for import in imports(source) {
            let of = import.path.first().and_then(|name| floors.of(name));
            if let (Some(from), Some(of)) = (floor_of(floors, source), of) {
                *counts.entry((from, of)).or_insert(0) += 1;
            }
        }
    }
    counts
}

/// The same in letters: a row a floor, the top one first.
pub(crate) fn picture(floors: &Floors, sources: &[Source]) -> String {
    let counts = counts(floors, sources);
    let mut picture = format!("{:>13}", "imports of");
    floors.0.iter().for_each(|floor| write!(picture, "{floor:>10}").unwrap());
    for (row, floor) in floors.0.iter().enumerate().rev() {
        write!(picture, "\n{:>2} {floor:>10}", row + 1).unwrap();
        for column in 0..floors.0.len() {
            match counts.get(&(row, column)) {
                Some(count) => write!(picture, "{count:>10}").unwrap(),
                None => write!(picture, "{:>10}", if column > row { "" } else { "." }).unwrap(),
            }
        }
    }
    picture
}

/// The actors that import each other, in a ring of any length, and those that import such a ring.
pub(crate) fn rings_of_actors(sources: &[Source]) -> Vec<String> {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources {
        if let [floor, actor, ..] = &module_of(&source.path)[..]
            && floor == "actors"
        {
            edges.entry(actor.clone()).or_default().extend(actors_imported(source, actor));
        }
    }
    let known: BTreeSet<String> = edges.keys().cloned().collect();
    edges.values_mut().for_each(|others| others.retain(|other| known.contains(other)));
    // Whoever imports nobody that is left is in no ring.
    while let Some(free) = edges.iter().find_map(|(one, of)| of.is_empty().then(|| one.clone())) {
        edges.remove(&free);
        edges.values_mut().for_each(|others| others.retain(|other| *other != free));
    }
    edges.iter().map(|(one, others)| format!("actors::{one} imports {others:?}")).collect()
}

fn actors_imported(source: &Source, actor: &str) -> BTreeSet<String> {
    let others = imports(source).into_iter().filter_map(|import| match &import.path[..] {
        [floor, other, ..] if floor == "actors" && other != actor => Some(other.clone()),
        _ => None,
    });
    others.collect()
}

fn is_on_a_floor(source: &Source) -> bool {
    source.path.starts_with("src/") && source.path != "src/lib.rs"
}

fn floor_of(floors: &Floors, source: &Source) -> Option<usize> {
    module_of(&source.path).first().and_then(|name| floors.of(name))
}

/// `src/machines/engine/mod.rs` is `machines::engine`.
fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    path.trim_end_matches("/mod").split('/').map(str::to_owned).collect()
}

struct Token<'a> {
    text: &'a str,
    line: usize,
}

/// Words, `::`, and other characters one by one.
fn tokens(code: &[String]) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (line, code) in code.iter().enumerate() {
        let mut rest = code.trim_start();
        while let Some(first) = rest.chars().next() {
            let len = if is_of_word(first) {
                rest.find(|c| !is_of_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            tokens.push(Token { text: &rest[..len], line });
            rest = rest[len..].trim_start();
        }
    }
    tokens
}

/// Every path of `source` that begins at the crate or climbs, in `use` or anywhere in the code.
fn imports(source: &Source) -> Vec<Import> {
    let tokens = tokens(&source.code);
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut module = module_of(&source.path);
    // The depths of braces at which modules inside this file end.
    let (mut depth, mut ends) = (0, Vec::new());
    let (mut found, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let before = at.checked_sub(1).map_or("", text);
        match text(at) {
            "mod" if text(at + 2) == "{" => {
                module.push(text(at + 1).to_owned());
                ends.push(depth);
            }
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if ends.last() == Some(&depth) {
                    ends.pop();
                    module.pop();
                }
            }
            // `pub(in crate::machines)` says who may see an item, and imports nothing.
            "crate" | "rondalla" | "super" | "self"
                if text(at + 1) == "::" && !matches!(before, "::" | "in") =>
            {
                let line = tokens[at].line;
                let mut paths = Vec::new();
                use_tree(&tokens, &mut at, &[], &mut paths);
                let resolved = paths.iter().map(|path| resolve(&module, path));
                found.extend(resolved.map(|path| Import { line, path }));
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads the paths from `at` on: one, or as many as its braces hold.
fn use_tree<'a>(
    tokens: &[Token<'a>],
    at: &mut usize,
    prefix: &[&'a str],
    paths: &mut Vec<Vec<&'a str>>,
) {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut path = prefix.to_vec();
    while text(*at).chars().all(is_of_word) && !text(*at).is_empty() {
        path.push(text(*at));
        *at += 1;
        if text(*at) != "::" {
            return paths.push(path);
        }
        *at += 1;
    }
    if text(*at) != "{" {
        return paths.push(path);
    }
    *at += 1;
    while !matches!(text(*at), "}" | "") {
        match text(*at) {
            "," | "*" => *at += 1,
            "as" => *at += 2,
            _ => {
                let start = *at;
                use_tree(tokens, at, &path, paths);
                *at = (*at).max(start + 1);
            }
        }
    }
    *at += 1;
}

/// `path` as seen from `module`, from the root of the crate.
fn resolve(module: &[String], path: &[&str]) -> Vec<String> {
    let mut resolved = module.to_vec();
    for segment in path {
        match *segment {
            "crate" | "rondalla" => resolved.clear(),
            "self" => {}
            "super" => drop(resolved.pop()),
            name => resolved.push(name.to_owned()),
        }
    }
    resolved
}

#[test]
fn paths_are_resolved_from_where_they_stand() {
    let text = "\
use crate::words::{id::{Key, PeerKey}, limits::{self, BLOCK_LEN}};
use super::torrent as other;
pub(in crate::machines) fn f() -> crate::bus::Order { self::g::<u8>() }
mod tests {
    use super::*;
    mod inner { use super::super::super::peer; }
}
fn after() { super::last() }
";
    let source = Source::new("src/machines/engine/exchange.rs", text);
    let found: Vec<_> = imports(&source)
        .into_iter()
        .map(|import| format!("{} {}", import.line + 1, import.path.join("::")))
        .collect();
    let expected = [
        "1 words::id::Key",
        "1 words::id::PeerKey",
        "1 words::limits",
        "1 words::limits::BLOCK_LEN",
        "2 machines::engine::torrent",
        "3 bus::Order",
        "3 machines::engine::exchange::g",
        "5 machines::engine::exchange",
        "6 machines::engine::peer",
        "8 machines::engine::last",
    ];
    assert_eq!(found, expected);
}
