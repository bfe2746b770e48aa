//! The shape of the code: who may import whom, no `std` in the core, and files that can be read in one go.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules of `core/src` from the ground up. Each may use those above it in this list (its own line not included).
const LEVELS: [&[&str]; 8] = [
    &["arena", "outbox", "rng", "text", "time", "tls"],
    &["http1", "proxy_protocol", "sse", "throttle", "ws"],
    &["conn"],
    &["cluster", "lattice", "pubsub", "route", "session", "upstream"],
    &["config", "handler"],
    &["mailbox", "shard"],
    &["driver"],
    // The crate's root names them all and uses none.
    &[""],
];

/// Who may use a neighbour on its own level, and why.
const NEIGHBOURS: [(&str, &str); 2] = [
    ("config", "handler"), // what a handler is told is data of its own
    ("ws", "http1"),       // the opening handshake is an HTTP request
];

/// Lines per file: about 400, and not one more than this.
const FILE_LINES: usize = 420;
/// Lines of a runtime adapter, all its files together: what does not fit belongs to `core/src/driver` or `core/host`.
const ADAPTER_LINES: usize = 450;
const ADAPTERS: [&str; 2] = ["runtime-tokio", "runtime-smol"];

#[test]
fn modules_import_downwards_only_and_never_std() {
    let root = workspace().join("core/src");
    let found: Vec<_> = sources(&root).iter().flat_map(|(path, source)| violations(path, source)).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn files_can_be_read_in_one_go() {
    let folders = ["core", ADAPTERS[0], ADAPTERS[1]].map(|folder| workspace().join(folder).join("src"));
    let found: Vec<_> = folders.iter().flat_map(|folder| long_files(&sources(folder))).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn adapters_stay_thin() {
    for adapter in ADAPTERS {
        let lines: usize =
            sources(&workspace().join(adapter).join("src")).iter().map(|(_, text)| text.lines().count()).sum();
        assert!(lines <= ADAPTER_LINES, "{adapter}/src has {lines} lines, the limit is {ADAPTER_LINES}");
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The Rust files below `root` by their path from there, sorted.
fn sources(root: &Path) -> Vec<(String, String)> {
    let (mut folders, mut files) = (vec![root.to_path_buf()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    assert!(!files.is_empty(), "no sources in {}", root.display());
    files
}

fn long_files(files: &[(String, String)]) -> Vec<String> {
    let lengths = files.iter().map(|(path, text)| (path, text.lines().count()));
    let long = lengths.filter(|(_, lines)| *lines > FILE_LINES);
    long.map(|(path, lines)| format!("{path}: {lines} lines, the limit is {FILE_LINES}")).collect()
}

/// What the file of `core/src` at `path` may not do.
fn violations(path: &str, source: &str) -> Vec<String> {
    let module: Vec<_> =
        path.trim_end_matches(".rs").split('/').filter(|part| !["mod", "lib"].contains(part)).collect();
    if module.last() == Some(&"tests") {
        return Vec::new();
    }
    let user = module.first().copied().unwrap_or_default();
    let Some(level) = level(user) else {
        return vec![format!("{path}: the module {user} has no level in conformance/tests/architecture.rs")];
    };
    let code = without_tests(tokens(source));
    let mut found = Vec::new();
    for (line, used) in imports(&code, module.len()) {
        let allowed = used == user
            || NEIGHBOURS.contains(&(user, used.as_str()))
            || self::level(&used).is_some_and(|below| below < level);
        if !allowed {
            found.push(format!("{path}:{line}: {user} may not use {used}"));
        }
    }
    let pairs = code.iter().zip(code.iter().skip(1));
    let std = pairs.filter(|(first, second)| {
        (first.text == "std" && second.text == "::") || (first.text == "crate" && second.text == "std")
    });
    found.extend(std.map(|(token, _)| format!("{path}:{}: the core has no std", token.line)));
    found
}

fn level(module: &str) -> Option<usize> {
    LEVELS.iter().position(|modules| modules.contains(&module))
}

/// The top-level modules that a file uses through `crate::` or enough `super::`, with the line. `depth` is the number of
/// modules it is in itself.
fn imports(code: &[Token], depth: usize) -> Vec<(usize, String)> {
    let text = |at: usize| code.get(at).map_or("", |token| token.text.as_str());
    let (mut found, mut inline, mut braces, mut at) = (Vec::new(), Vec::new(), 0usize, 0);
    while at < code.len() {
        match text(at) {
            "mod" if text(at + 2) == "{" => inline.push(braces),
            "{" => braces += 1,
            "}" => {
                braces = braces.saturating_sub(1);
                inline.pop_if(|outer| *outer == braces);
            }
            start @ ("crate" | "super") if text(at + 1) == "::" => {
                let mut up = usize::from(start == "super");
                at += 2;
                while text(at) == "super" && text(at + 1) == "::" {
                    up += 1;
                    at += 2;
                }
                if start == "crate" || up >= depth + inline.len() {
                    found.extend(heads(code, at));
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The first names of a path or of a group of paths, `{a, b::{c, d}}`.
fn heads(code: &[Token], at: usize) -> Vec<(usize, String)> {
    let Some(first) = code.get(at) else { return Vec::new() };
    if first.text != "{" {
        return vec![(first.line, first.text.clone())];
    }
    let (mut found, mut depth, mut at_head) = (Vec::new(), 0, false);
    for token in &code[at..] {
        match token.text.as_str() {
            "{" => (depth, at_head) = (depth + 1, depth == 0),
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," => at_head = depth == 1,
            name if at_head => {
                found.push((token.line, name.to_owned()));
                at_head = false;
            }
            _ => {}
        }
    }
    found
}

/// Leaves out the items that are compiled for tests or loom only.
fn without_tests(code: Vec<Token>) -> Vec<Token> {
    let (mut kept, mut rest) = (Vec::new(), code.into_iter().peekable());
    while let Some(token) = rest.next() {
        if !(token.text == "#" && rest.peek().is_some_and(|next| next.text == "[")) {
            kept.push(token);
            continue;
        }
        let mut attribute = String::new();
        for token in balanced(&mut rest) {
            attribute += &token.text;
        }
        let condition = attribute.replace("not(loom)", "").replace("not(test)", "");
        if condition.starts_with("[cfg(") && (condition.contains("loom") || condition.contains("test")) {
            // Up to `;`, or the end of the first braces (and a `;` behind them).
            while let Some(next) = rest.peek() {
                let text = next.text.clone();
                balanced(&mut rest);
                if text == "{" {
                    rest.next_if(|next| next.text == ";");
                }
                if text == "{" || text == ";" {
                    break;
                }
            }
        }
    }
    kept
}

/// The next token and, if it opens a bracket, all up to where it closes.
fn balanced(rest: &mut impl Iterator<Item = Token>) -> Vec<Token> {
    let (mut depth, mut taken) = (0, Vec::new());
    for token in rest {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        taken.push(token);
        if depth <= 0 {
            break;
        }
    }
    taken
}

#[derive(Clone, Debug)]
struct Token {
    line: usize,
    text: String,
}

/// Words, `::` and single characters; without white space, comments, and the contents of literals.
fn tokens(source: &str) -> Vec<Token> {
    let (mut tokens, mut rest, mut line) = (Vec::new(), source, 1);
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => 1 + quoted(&rest[1..], '"'),
            // A character, unless it is a lifetime: `'a` without a quote behind it.
            '\'' if rest[1..].starts_with('\\') => 1 + quoted(&rest[1..], '\''),
            '\'' if rest.chars().nth(2) == Some('\'') => 2 + rest[1..].chars().next().map_or(0, char::len_utf8),
            'r' | 'b' | 'c' if raw_string(rest) > 0 => raw_string(rest),
            ':' if rest.starts_with("::") => 2,
            _ if word > 0 => word,
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        if word > 0 && raw_string(rest) == 0 || token == "::" || first.is_ascii_punctuation() && length == 1 {
            tokens.push(Token { line, text: token.to_owned() });
        }
        line += token.matches('\n').count();
        rest = after;
    }
    tokens
}

/// The length of a literal behind its opening quote, with the closing one.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// The length of `r"…"`, `br#"…"#` and so on; 0 if there is none.
fn raw_string(text: &str) -> usize {
    let Some(start) = text.find('r').filter(|start| *start < 2) else { return 0 };
    let hashes = text[start + 1..].bytes().take_while(|byte| *byte == b'#').count();
    let open = start + 1 + hashes + 1;
    if !text[start + 1 + hashes..].starts_with('"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    text[open..].find(&close).map_or(text.len(), |at| open + at + close.len())
}

/// The length of a block comment, which may have others in it.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// The checker itself: what is planted must be found, and nothing else.
mod planted {
    use super::*;

    #[test]
    fn upward_and_sideways_imports_are_found() {
        for (path, source, expected) in [
            ("http1/head.rs", "use crate::conn::Server;", "http1/head.rs:1: http1 may not use conn"),
            ("time.rs", "\n\nfn f() { crate::shard::f() }", "time.rs:3: time may not use shard"),
            ("sse/mod.rs", "use crate::{time::Now, http1::{ws}};", "sse/mod.rs:1: sse may not use http1"),
            (
                "conn/mod.rs",
                "pub(crate) use crate::{\n  ws,\n  pubsub::Hub };",
                "conn/mod.rs:3: conn may not use pubsub",
            ),
            ("http1/mod.rs", "use super::ws;", "http1/mod.rs:1: http1 may not use ws"),
            ("ws/frame.rs", "use super::super::sse::Event;", "ws/frame.rs:1: ws may not use sse"),
            (
                "ws/frame.rs",
                "mod a { mod b { use super::super::super::super::conn::C; } }",
                "ws/frame.rs:1: ws may not use conn",
            ),
            ("shard/mod.rs", "use crate::*;", "shard/mod.rs:1: shard may not use *"),
            ("mailbox.rs", "use crate::driver::wakeups::Wakeups;", "mailbox.rs:1: mailbox may not use driver"),
            ("rng.rs", "use std::time::Instant;", "rng.rs:1: the core has no std"),
            ("rng.rs", "#[cfg(not(loom))]\nuse ::std::fs;", "rng.rs:2: the core has no std"),
            ("lib.rs", "extern crate std;", "lib.rs:1: the core has no std"),
            ("lib.rs", "#[cfg(test)] mod t { fn f() {} }\nextern crate std;", "lib.rs:2: the core has no std"),
            ("novel/mod.rs", "", "novel/mod.rs: the module novel has no level in conformance/tests/architecture.rs"),
        ] {
            assert_eq!(violations(path, source), [expected], "{path}: {source}");
        }
    }

    #[test]
    fn what_is_allowed_is_not_found() {
        for (path, source) in [
            (
                "http1/head.rs",
                "use crate::outbox::Outbox; use crate::http1::Method; use super::{status, limits::Limits};",
            ),
            ("ws/handshake/mod.rs", "use crate::http1::Head; use super::frame; use super::super::http1;"),
            ("ws/frame.rs", "mod a { use super::super::mask; } use super::mask;"),
            ("driver/mod.rs", "use crate::{shard::{self, Shard}, mailbox, time::{Instant, Now}}; pub(crate) fn f() {}"),
            (
                "time.rs",
                "// use crate::shard;\n/* use /* crate::ws */ std::fs */ /// [`crate::driver::Driver`]\nfn f() {}",
            ),
            (
                "time.rs",
                r####"const A: &[u8] = br#"" crate::ws"#; const B: &str = "\" std::fs"; const C: char = '"';"####,
            ),
            ("time.rs", "fn f<'a>(a: &'a str) -> char { '\\'' } #[cfg(test)]\nmod tests { use crate::driver::D; }"),
            ("lib.rs", "#[cfg(any(test, loom))]\nextern crate std;\npub mod driver;"),
            ("mailbox.rs", "#[cfg(loom)]\nuse std::sync::{Arc};\n#[cfg(all(test, not(loom)))] mod t { use std::fs; }"),
            ("shard/tests.rs", "use crate::driver::Driver; use std::fs;"),
        ] {
            assert_eq!(violations(path, source), [""; 0], "{path}: {source}");
        }
    }

    #[test]
    fn a_long_file_is_found() {
        let files = [FILE_LINES, FILE_LINES + 1].map(|lines| (format!("{lines}.rs"), "\n".repeat(lines)));
        assert_eq!(long_files(&files), ["421.rs: 421 lines, the limit is 420"]);
    }
}
