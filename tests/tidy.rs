//! What holds for the source as text. Each rule takes sources and gives complaints; it is tried on
//! a snippet that breaks it, which it must refuse, and on this repository, which it must not.

mod imports;
mod source;

use std::collections::BTreeSet;

use imports::{Floors, climbing, picture, rings_of_actors};
use source::{Source, is_of_word, names, read, words};

/// Longest file, in lines.
const LINES_MAX: usize = 600;

/// Fails with one complaint a line.
#[track_caller]
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Asserts that `complaints` are about these lines of a snippet, counted from 1.
#[track_caller]
fn assert_lines(complaints: &[String], lines: &[usize]) {
    let found = complaints.iter().map(|complaint| complaint.split(':').nth(1).unwrap().parse());
    assert_eq!(found.collect::<Result<Vec<usize>, _>>().unwrap(), lines, "{complaints:#?}");
}

/// The complaints of a rule that looks at one source at a time.
fn each(sources: &[Source], rule: impl Fn(&Source) -> Vec<String>) -> Vec<String> {
    sources.iter().flat_map(rule).collect()
}

// ------------------------------------------------------------------------------------ Floors ---

#[test]
fn no_import_climbs() {
    let lib = read("src/lib.rs");
    let floors = Floors::read(&lib);
    let sources = Source::below("src");
    println!("{}", picture(&floors, &sources));
    assert_none(&climbing(&floors, &sources));
    let modules = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let on_floors = modules.filter(|module| floors.0.iter().any(|floor| floor == module));
    let mut in_order = floors.0.iter();
    for module in on_floors {
        assert!(in_order.any(|floor| floor == module), "src/lib.rs: {module} is out of order");
    }
}

#[test]
fn an_import_that_climbs_is_refused() {
    let floors = Floors::read("//! 1. `words`: low.\n//! 2. `formats`: high.\n//! 3. `cli`: top.");
    let low = "use crate::words::id;\nuse crate::{words::id as i, formats::wire};
fn f() -> super::super::cli::Exit {}
use crate::Root;\nuse crate::*;
// crate::formats is a comment\nconst S: &str = \"crate::formats\";";
    let sources = [Source::new("src/words/low.rs", low)];
    assert_lines(&climbing(&floors, &sources), &[2, 3, 4, 5]);
    let nowhere = [Source::new("src/misc.rs", "")];
    assert_lines(&climbing(&floors, &nowhere), &[1]);
    let top = "use rondalla::cli::run;\nuse crate::words::id;";
    assert_none(&climbing(&floors, &[Source::new("src/main.rs", top)]));
    let drawn = "
   imports of     words   formats       cli
 3        cli         .         .         .
 2    formats         .         .          
 1      words         2         1         1";
    assert_eq!(format!("\n{}", picture(&floors, &sources)), drawn);
}

/// Actors meet only on the bus. One may start another and use what it offers, so imports go one
/// way; and whatever else threads share is named in the report.
fn actors_apart(sources: &[Source], report: &str) -> Vec<String> {
    let mut complaints = rings_of_actors(sources);
    let named = section(report, "share memory");
    complaints.extend(each(sources, |source| shared_in_silence(source, &named)));
    complaints
}

/// The part of a document below the heading that has `words` in it.
fn section(document: &str, words: &str) -> String {
    let is_heading = |line: &&str| line.starts_with('#');
    let lines = document.lines().skip_while(|line| !(is_heading(line) && line.contains(words)));
    lines.skip(1).take_while(|line| !is_heading(line)).collect::<Vec<_>>().join("\n")
}

fn shared_in_silence(source: &Source, named: &str) -> Vec<String> {
    let waits = source.path.starts_with("src/actors/") || source.path == "src/session.rs";
    if !waits || named.contains(&source.path) {
        return Vec::new();
    }
    let shares = |line: &str| {
        let line = line.replace("'static", "");
        words(&line).any(|word| {
            let by_type = ["Mutex", "RwLock", "Condvar", "OnceLock", "LazyLock", "static"];
            by_type.contains(&word) || word.starts_with("Atomic")
        })
    };
    let code = &source.code[..source.tests_begin()];
    let first = code.iter().position(|line| shares(line));
    let why = "threads meet only on the bus; the exceptions are named in REPORT.md, where it says \
               how threads share memory";
    first.map(|line| source.complaint(line, why)).into_iter().collect()
}

#[test]
fn actors_meet_only_on_the_bus() {
    assert_none(&actors_apart(&Source::below("src"), &read("REPORT.md")));
}

#[test]
fn actors_that_meet_elsewhere_are_refused() {
    let actor = |name: &str, text: &str| Source::new(&format!("src/actors/{name}.rs"), text);
    let ring = [
        actor("peer", "use crate::actors::messenger::Messenger;\nuse super::storage::Files;"),
        actor("storage", "use crate::actors::porter;"),
        actor("porter", "use crate::actors::{self, peer, Named};"),
        actor("messenger", ""),
    ];
    assert_eq!(actors_apart(&ring, "").len(), 3);
    assert_none(&actors_apart(&ring[2..], ""));
    let shared = "fn f(name: &'static str) {}\nstatic COUNT: AtomicU32 = AtomicU32::new(0);";
    assert_lines(&actors_apart(&[actor("peer", shared)], ""), &[2]);
    let report = "# Where threads share memory\n`src/actors/peer.rs`\n# Else\n`src/actors/lan.rs`";
    assert_none(&actors_apart(&[actor("peer", shared)], report));
    assert_lines(&actors_apart(&[actor("lan", shared)], report), &[2]);
}

// ------------------------------------------------------------------------------------- Loops ---

/// What goes through many things, by the words that it cannot do without.
const LOOPS: [&str; 3] = ["for", "while", "loop"];
const PASSES: [&str; 28] = [
    "all",
    "any",
    "append",
    "chunks",
    "collect",
    "drain",
    "extend",
    "extend_from_slice",
    "find_map",
    "fold",
    "for_each",
    "into_iter",
    "iter",
    "iter_mut",
    "keys",
    "position",
    "range",
    "retain",
    "sort",
    "sort_by",
    "sort_by_key",
    "sort_unstable",
    "sort_unstable_by",
    "sum",
    "try_for_each",
    "values",
    "values_mut",
    "windows",
];

const BOUND: &str = "the engine's turns are constant: a loop, or a chain that goes through many \
     things, has `// Bound: <limit>` on the line before it or before its statement. A limit is one \
     of words/limits.rs; `none` is for `check` and the like, which only tests call";

/// The machines that main runs, each a file or with a folder of its own.
const MAINS: [&str; 6] = ["budget", "choker", "engine", "outstanding", "picker", "rarity"];

/// Functions that only tests call.
const FOR_TESTS: [&str; 4] = ["asked", "check", "footprint", "reserved"];

fn is_mains(path: &str) -> bool {
    let inside = path.strip_prefix("src/machines/").unwrap_or_default();
    MAINS.iter().any(|machine| {
        inside.strip_prefix(machine).is_some_and(|rest| rest.starts_with(['/', '.']))
    })
}

/// Loops of the machines that main runs that do not say what bounds them.
fn loops_without_bound(source: &Source, limits: &BTreeSet<String>) -> Vec<String> {
    if !is_mains(&source.path) {
        return Vec::new();
    }
    let loops = (0..source.tests_begin()).filter(|&line| has_loop(&source.code[line]));
    let wrong = loops.filter(|&line| !is_bounded(source, line, limits));
    wrong.map(|line| source.complaint(line, BOUND)).collect()
}

fn has_loop(code: &str) -> bool {
    // `impl Trait for Type` and `for<'a>` repeat nothing.
    let loops = |word: &str| LOOPS.contains(&word) && !(word == "for" && is_no_loop(code));
    words(code).any(loops) || code.split('.').skip(1).any(begins_a_pass)
}

fn is_no_loop(code: &str) -> bool {
    code.trim_start().starts_with("impl") || code.contains("for<")
}

fn begins_a_pass(call: &str) -> bool {
    let name = call.split(|c| !is_of_word(c)).next().unwrap_or_default();
    PASSES.contains(&name) && call[name.len()..].starts_with(['(', ':'])
}

fn is_bounded(source: &Source, line: usize, limits: &BTreeSet<String>) -> bool {
    let statement = (0..=line).rev().find(|&at| begins_a_statement(source, at)).unwrap_or(0);
    let mut bounds = [line, statement].into_iter().filter_map(|at| {
        let before = source.lines.get(at.checked_sub(1)?)?;
        before.trim_start().strip_prefix("// Bound: ")
    });
    bounds.any(|bound| match bound.split_once("limits::") {
        Some((_, limit)) => {
            // A page of limits may stand before the name: `limits::ring::FOUND_WORD`.
            let mut names = words(limit).filter(|word| !word.starts_with(char::is_lowercase));
            names.next().is_some_and(|name| limits.contains(name))
        }
        None => !bound.starts_with("none") || is_in_check(source, line),
    })
}

/// Whether the line above ends a statement, a block, an argument, or holds no code.
fn begins_a_statement(source: &Source, line: usize) -> bool {
    let Some(before) = line.checked_sub(1) else { return true };
    let before = source.code[before].trim_end();
    before.is_empty() || before.ends_with([';', '{', '}', ','])
}

fn is_in_check(source: &Source, line: usize) -> bool {
    let heads = source.code[..line].iter().rev();
    heads.clone().find(|code| words(code).any(|word| word == "fn")).is_some_and(|head| {
        let mut after_fn = words(head).skip_while(|word| *word != "fn").skip(1);
        after_fn.next().is_some_and(|name| FOR_TESTS.contains(&name))
    })
}

/// The constants of `words/limits.rs` and its parts.
fn all_limits() -> BTreeSet<String> {
    let parts = Source::below("src/words").into_iter().filter(|source| is_limits(&source.path));
    parts.flat_map(|part| limits_of(&part.lines.join("\n"))).collect()
}

fn is_limits(path: &str) -> bool {
    path == "src/words/limits.rs" || path.starts_with("src/words/limits/")
}

fn limits_of(text: &str) -> BTreeSet<String> {
    let name = |line: &str| line.strip_prefix("pub const ")?.split_once(':').map(|(n, _)| n.into());
    text.lines().filter_map(name).collect()
}

#[test]
fn the_engines_loops_are_bounded() {
    let limits = all_limits();
    assert_none(&each(&Source::below("src"), |source| loops_without_bound(source, &limits)));
}

#[test]
fn a_loop_without_a_bound_is_refused() {
    let limits = BTreeSet::from(["PICKS_MAX".to_owned()]);
    let refused = [
        "for a in b {}",
        "while a {}",
        "let x = loop { break 1 };",
        "queue.retain(|x| x > 1);",
        "let v = a.into_iter().map(f);",
        "let v = a\n    .map(f)\n    .collect::<Vec<_>>();",
        "// Bounds: limits::PICKS_MAX\nfor a in b {}",
        "// Bound: limits::NO_SUCH\nfor a in b {}",
        "// Bound: none; for tests.\nfor a in b {}",
        "// Bound: limits::PICKS_MAX\n\nfor a in b {}",
        "// Bound: limits::PICKS_MAX\nlet a = b;\na.extend(c);",
    ];
    for text in refused {
        for path in ["src/machines/engine/mod.rs", "src/machines/picker.rs"] {
            let source = Source::new(path, text);
            assert_eq!(loops_without_bound(&source, &limits).len(), 1, "{text}");
        }
        assert_none(&loops_without_bound(
            &Source::new("src/machines/chord/ring.rs", text),
            &limits,
        ));
    }
    let accepted = [
        "// Bound: limits::PICKS_MAX\nfor a in b {}",
        "// Bound: limits::page::PICKS_MAX\nfor a in b {}",
        "    // Bound: the 64 pieces of a word.\n    for a in b {}",
        "// Bound: limits::PICKS_MAX\nlet v = a\n    .map(f)\n    .collect();",
        "let v = a\n    // Bound: limits::PICKS_MAX\n    .collect();",
        "fn check(&self) {\n    let a = 1;\n    // Bound: none; for tests.\n    for a in b {}\n}",
        "impl A for B {}\nfn f(a: impl for<'a> Fn(&'a u8)) {}",
        "let any = a.any_other().iteration; // for all",
        "#[cfg(test)]\nmod tests {\n    fn f() { for a in b {} }\n}",
    ];
    for text in accepted {
        assert_none(&loops_without_bound(
            &Source::new("src/machines/engine/mod.rs", text),
            &limits,
        ));
    }
}

// ------------------------------------------------------------------------------------ Limits ---

/// Limits that limit nothing.
fn unused(limits: &BTreeSet<String>, sources: &[Source]) -> Vec<String> {
    let elsewhere = |source: &&Source| source.path.starts_with("src/") && !is_limits(&source.path);
    let used: BTreeSet<&str> = sources
        .iter()
        .filter(elsewhere)
        .flat_map(|source| source.code[..source.tests_begin()].iter())
        .flat_map(|line| words(line))
        .collect();
    let unused = limits.iter().filter(|limit| !used.contains(limit.as_str()));
    unused.map(|limit| format!("src/words/limits.rs: nothing uses {limit}")).collect()
}

#[test]
fn every_limit_limits_something() {
    let limits = all_limits();
    assert!(!limits.is_empty());
    assert_none(&unused(&limits, &Source::below("src")));
}

#[test]
fn a_limit_that_nothing_uses_is_refused() {
    let text = "pub const A_MAX: u32 = 1;\npub const B_MAX: u32 = A_MAX;\npub const C: u8 = 2;";
    let limits = limits_of(text);
    let sources = [
        Source::new("src/words/limits.rs", text),
        Source::new("src/bus.rs", "let b = B_MAX; // C\nlet c = \"C\";\nmod tests { use C; }"),
    ];
    let expected = ["A_MAX", "C"].map(|limit| format!("src/words/limits.rs: nothing uses {limit}"));
    assert_eq!(unused(&limits, &sources), expected);
}

// ------------------------------------------------------------------------------- Every source ---

fn too_long(source: &Source) -> Vec<String> {
    let lines = source.lines.len();
    let what = format!("it has {lines} lines; split it, a file has at most {LINES_MAX}");
    (lines > LINES_MAX).then(|| source.complaint(LINES_MAX, &what)).into_iter().collect()
}

/// Words that no code holds, and notes to oneself, which belong to the issues.
fn unwelcome(source: &Source) -> Vec<String> {
    let notes = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let complain = |(line, what): (usize, &str)| source.complaint(line, what);
    let lines = source.code.iter().zip(&source.lines).enumerate();
    let wrong = lines.filter_map(|(line, (code, text))| {
        let has = |unwelcome: &[&str]| words(code).any(|word| unwelcome.contains(&word));
        let what = if has(&["HashMap", "HashSet"]) {
            "its order differs from run to run: use a BTreeMap, a slab or a bit field"
        } else if has(&["mpsc", "unbounded"]) {
            "every queue has a limit: crossbeam's `bounded`, with one of words/limits.rs"
        } else if has(&["todo", "unimplemented"]) {
            "what is not there is left out, not stubbed"
        } else if has(&["unsafe"]) {
            "the crate forbids it"
        } else if words(text).any(|word| notes.contains(&word)) {
            "what is left to do is an issue"
        } else {
            return None;
        };
        Some(complain((line, what)))
    });
    wrong.collect()
}

/// Ignored tests that do not say what they need.
fn ignored_in_silence(source: &Source) -> Vec<String> {
    let ignored = source.code.iter().zip(&source.lines).enumerate().filter(|(_, (code, text))| {
        let begins = code.trim_start().starts_with("#[ignore");
        begins && !text.trim_start().starts_with("#[ignore = \"needs ")
    });
    let why = "an ignored test says what it needs: #[ignore = \"needs …\"]";
    ignored.map(|(line, _)| source.complaint(line, why)).collect()
}

#[test]
fn every_source_is_tidy() {
    let sources = Source::all();
    assert!(sources.len() > 40, "the sources are found");
    let rules = [too_long, unwelcome, ignored_in_silence];
    let complaints: Vec<_> = rules.iter().flat_map(|rule| each(&sources, rule)).collect();
    assert_none(&complaints);
}

#[test]
fn an_untidy_source_is_refused() {
    let source = |text: &str| Source::new("src/bus.rs", text);
    assert_lines(&too_long(&source(&"\n".repeat(LINES_MAX + 1))), &[LINES_MAX + 1]);
    assert_none(&too_long(&source(&"\n".repeat(LINES_MAX))));
    let note = format!("// {}: later\n", concat!("TO", "DO"));
    let text = "let a: HashMap<u8, u8>;\ntodo!();\nunsafe {}\nlet fine = \"unsafe\"; // HashMap\n";
    assert_lines(&unwelcome(&source(&(text.to_owned() + &note))), &[1, 2, 3, 5]);
    assert_lines(&unwelcome(&source("let (a, b) = unbounded();\nuse std::sync::mpsc;")), &[1, 2]);
    let text = "#[ignore]\n#[ignore = \"slow\"]\n    #[ignore = \"needs aria2\"]\n// #[ignore]";
    assert_lines(&ignored_in_silence(&source(text)), &[1, 2]);
}

// -------------------------------------------------------------------------------- The top level ---

/// What the top level holds, besides dot files and what `.gitignore` names.
const TOP: [&str; 10] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "REPORT.md",
    "docker",
    "examples",
    "src",
    "tests",
];

fn strangers(found: &[String], ignored: &str) -> Vec<String> {
    let ignored: Vec<_> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    let known = |name: &&String| {
        let name = name.as_str();
        name.starts_with('.') || TOP.contains(&name) || ignored.contains(&name)
    };
    let strangers = found.iter().filter(|name| !known(name));
    strangers.map(|name| format!("{name}: the top level does not hold it")).collect()
}

#[test]
fn the_top_level_is_tidy() {
    assert_none(&strangers(&names(""), &read(".gitignore")));
    let manifest = read("Cargo.toml");
    let rust_lints = manifest.split("[lints.rust]").nth(1).expect("the manifest has lints");
    assert!(rust_lints.trim_start().starts_with("unsafe_code = \"forbid\""), "unsafe is forbidden");
}

#[test]
fn a_stranger_at_the_top_is_refused() {
    let found = [".git", "NOTES.md", "src", "target"].map(str::to_owned);
    assert_eq!(strangers(&found, "/target"), ["NOTES.md: the top level does not hold it"]);
    assert_eq!(strangers(&found, "").len(), 2);
}
// -------------------------------------------------------------------------------- The documents ---

/// What a document names in backticks and is not there: a path of this repository, or a name of its
/// code. A name with others before it, as that of a test, is that of a file whose path or code has
/// them, too.
fn invented(document: &Source, sources: &[Source], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let spans =
        document.lines.iter().enumerate().flat_map(|(line, text)| {
            text.split('`').skip(1).step_by(2).map(move |span| (line, span))
        });
    let said: Vec<BTreeSet<&str>> = sources.iter().map(Source::words).collect();
    let wrong = spans.filter(|(_, span)| {
        if ["src/", "tests/", "examples/", ".ci/"].iter().any(|top| span.starts_with(top)) {
            return !exists(span);
        }
        let is_name = span.chars().all(|c| is_of_word(c) || c == ':');
        let has = |said: &BTreeSet<&str>| span.split("::").all(|part| said.contains(part));
        is_name && span.contains(['_', ':']) && !said.iter().any(has)
    });
    wrong.map(|(line, span)| document.complaint(line, &format!("there is no {span}"))).collect()
}

#[test]
fn documents_name_only_what_exists() {
    let sources = Source::all();
    for path in ["README.md", "REPORT.md"] {
        let document = Source::new(path, &read(path));
        assert_none(&invented(&document, &sources, source::exists));
    }
}

#[test]
fn a_document_that_invents_is_refused() {
    let text = "`src/bus.rs`, `a.b_c` and `HaveLog::publish`\n`src/magic.rs`\n`HaveLog::shout`\n\
                `let_there_be`\n`have_log::publish`\n`swarm_log::publish`";
    let sources = [
        Source::new("src/words/have_log.rs", "impl HaveLog { fn publish() {} }"),
        Source::new("src/words/swarm_log.rs", ""),
    ];
    let document = Source::new("README.md", text);
    assert_lines(&invented(&document, &sources, |path| path == "src/bus.rs"), &[2, 3, 4, 6]);
}
