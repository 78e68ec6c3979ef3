//! Source files as text: what is written, and what of it is code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// One file. Its lines are counted from 0 here and from 1 in complaints.
pub(crate) struct Source {
    /// From the top of the repository, with `/` between names.
    pub(crate) path: String,
    /// The lines as they are.
    pub(crate) lines: Vec<String>,
    /// The same lines; comments and the insides of literals are blank.
    pub(crate) code: Vec<String>,
    /// The whole file is compiled for tests only.
    for_tests: bool,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let lines = |text: &str| text.lines().map(str::to_owned).collect();
        let (lines, code) = (lines(text), lines(&code_of(text)));
        Self { path: path.to_owned(), lines, code, for_tests: false }
    }

    /// Every Rust file below `folder`, sorted by path.
    pub(crate) fn below(folder: &str) -> Vec<Self> {
        let mut sources = Vec::new();
        collect(folder, &mut sources);
        sources.sort_by(|one, other| one.path.cmp(&other.path));
        let for_tests: Vec<_> = sources.iter().flat_map(Self::modules_for_tests).collect();
        sources.iter_mut().for_each(|source| source.for_tests = for_tests.contains(&source.path));
        sources
    }

    /// The files that this one declares as modules for tests only.
    fn modules_for_tests(&self) -> Vec<String> {
        let folder = self.path.trim_end_matches("mod.rs").trim_end_matches(".rs");
        let folder = folder.trim_end_matches('/');
        let declared = self.code.windows(2).filter(|pair| pair[0].trim() == "#[cfg(test)]");
        let names = declared.filter_map(|pair| {
            pair[1].trim_start_matches("pub(crate) ").strip_prefix("mod ")?.strip_suffix(';')
        });
        names.map(|name| format!("{folder}/{name}.rs")).collect()
    }

    /// Every Rust file of the repository.
    pub(crate) fn all() -> Vec<Self> {
        ["src", "tests", "examples"].into_iter().flat_map(Self::below).collect()
    }

    /// The line where `mod tests` begins, or one past the last.
    pub(crate) fn tests_begin(&self) -> usize {
        if self.for_tests {
            return 0;
        }
        let begins = |line: &String| line.starts_with("mod tests");
        self.code.iter().position(begins).unwrap_or(self.code.len())
    }

    /// `path:line: what`.
    pub(crate) fn complaint(&self, line: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, line + 1)
    }

    /// The words of its code, and those of its path.
    pub(crate) fn words(&self) -> BTreeSet<&str> {
        let path = self.path.split(['/', '.']);
        self.code.iter().flat_map(|line| words(line)).chain(path).collect()
    }
}

/// The file `path` of the repository.
pub(crate) fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether the repository holds a file or folder at `path`.
pub(crate) fn exists(path: &str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
}

/// The names in the folder `path` of the repository, sorted.
pub(crate) fn names(path: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let Ok(entries) = fs::read_dir(&path) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn collect(folder: &str, sources: &mut Vec<Source>) {
    for name in names(folder) {
        let path = format!("{folder}/{name}");
        if name.ends_with(".rs") {
            sources.push(Source::new(&path, &read(&path)));
        } else if name != "target" {
            collect(&path, sources);
        }
    }
}

/// The identifiers, keywords and numbers of `code`.
pub(crate) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !is_of_word(c)).filter(|word| !word.is_empty())
}

pub(crate) fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `text` with blanks for its comments and literals, every line where it was.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let in_word = code.ends_with(is_of_word);
        match no_code(rest, in_word) {
            0 => {
                code.push(first);
                rest = &rest[first.len_utf8()..];
            }
            len => {
                code.extend(rest[..len].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
                rest = &rest[len..];
            }
        }
    }
    code
}

/// The length of the comment or literal with which `text` begins, 0 if with neither.
fn no_code(text: &str, in_word: bool) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    if let Some(inside) = text.strip_prefix('"') {
        return 1 + quoted(inside, '"');
    }
    if let Some(inside) = text.strip_prefix('\'') {
        let is_char = inside.starts_with('\\') || inside.chars().nth(1) == Some('\'');
        return if is_char { 1 + quoted(inside, '\'') } else { 0 };
    }
    let raw = text.strip_prefix('b').unwrap_or(text).strip_prefix('r');
    match raw {
        Some(raw) if !in_word => raw_string(raw).map_or(0, |len| text.len() - raw.len() + len),
        Some(_) | None => 0,
    }
}

/// The length up to and with the closing `quote`.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = text.find(|c| {
        let closes = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    });
    end.map_or(text.len(), |end| end + 1)
}

/// The length of what follows the `r` of a raw string.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.len() - text.trim_start_matches('#').len();
    let inside = text[hashes..].strip_prefix('"')?;
    let closing = format!("\"{}", "#".repeat(hashes));
    let len = inside.find(&closing).map_or(inside.len(), |end| end + closing.len());
    Some(hashes + 1 + len)
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        match rest {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

#[test]
fn modules_for_tests_are_known() {
    let text = "pub mod a;\n#[cfg(test)]\npub(crate) mod b;\n#[cfg(test)]\nmod tests {}";
    assert_eq!(Source::new("src/x/mod.rs", text).modules_for_tests(), ["src/x/b.rs"]);
    assert_eq!(Source::new("src/x.rs", text).modules_for_tests(), ["src/x/b.rs"]);
}

#[test]
fn only_code_is_left() {
    let cases = [
        ("let a = 1; // for b", "let a = 1;         "),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"say("for \" x", y)"#, "say(          , y)"),
        ("r#\"a \" b\"# c", "           c"),
        ("br\"loop\" d", "         d"),
        ("for_r\"x\"", "for_r   "),
        (r"['\'', 'x', '\u{7f}']", "[    ,    ,         ]"),
        ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
        ("a\n// b\nc", "a\n    \nc"),
    ];
    for (text, code) in cases {
        assert_eq!(code_of(text), code, "{text}");
    }
}
