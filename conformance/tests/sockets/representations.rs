//! Files as RFC 9110 has them: conditions, ranges, codings; and what routes to them may ask for.

use crate::server::{Binary, Server, both, directory, neutral, with};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

/// Sun, 06 Nov 1994 08:49:37 GMT
const DATE: u64 = 784_111_777;

/// Writes a file that was last modified in 1994.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(DATE);
    File::options().write(true).open(path).unwrap().set_modified(date).unwrap();
}

/// A directory of its own, and a server whose only route leads there.
fn site(name: &str) -> (PathBuf, impl Fn(&Binary, &str) -> Server) {
    let root = directory(name).join("public");
    fs::create_dir(&root).unwrap();
    let serve = {
        let root = root.clone();
        move |binary: &Binary, keys: &str| {
            let config = format!("threads = 1\nlog = false\n[[routes]]\nhandler = 'files'\nroot = 'public'\n{keys}\n");
            binary.serve_config(root.parent().unwrap(), &config)
        }
    };
    (root, serve)
}

fn request(server: &Server, method: &str, target: &str, fields: &[&str]) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    server.ask(format!("{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n"))
}

fn get(server: &Server, target: &str, fields: &[&str]) -> String {
    request(server, "GET", target, fields)
}

fn status(answer: &str) -> &str {
    &answer[9..12]
}

fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next().unwrap();
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn content(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn conditions_count_in_the_order_of_the_rfc() {
    let (root, serve) = site("conditions");
    write(&root.join("a.txt"), "content");
    let (same, before) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:36 GMT");
    both(|binary| {
        let server = serve(binary, "");
        let whole = get(&server, "/a.txt", &[]);
        assert_eq!(field(&whole, "last-modified"), Some(same));
        let tag = field(&whole, "etag").unwrap();
        assert!(tag.starts_with('"'), "{tag} is weak");
        let mut said = neutral(&whole);
        for (fields, expected) in [
            (vec![format!("If-Match: {tag}")], "200"),
            (vec![format!("If-Match: \"x\", {tag}")], "200"),
            (vec![format!("If-Match: W/{tag}")], "412"),
            (vec!["If-Match: *".into()], "200"),
            (vec!["If-Match: \"x\"".into()], "412"),
            (vec![format!("If-Match: {tag}"), format!("If-Unmodified-Since: {before}")], "200"),
            (vec![format!("If-Unmodified-Since: {same}")], "200"),
            (vec![format!("If-Unmodified-Since: {before}")], "412"),
            (vec!["If-Unmodified-Since: yesterday".into()], "200"),
            (vec![format!("If-None-Match: {tag}")], "304"),
            (vec![format!("If-None-Match: W/{tag}")], "304"),
            (vec!["If-None-Match: *".into()], "304"),
            (vec!["If-None-Match: \"x\"".into(), format!("If-None-Match: {tag}")], "304"),
            (vec!["If-None-Match: \"x\"".into(), format!("If-Modified-Since: {same}")], "200"),
            (vec![format!("If-Modified-Since: {same}")], "304"),
            (vec![format!("If-Modified-Since: {before}")], "200"),
            (vec!["If-Modified-Since: yesterday".into()], "200"),
            (vec!["If-Match: \"x\"".into(), format!("If-None-Match: {tag}")], "412"),
            (vec![format!("If-None-Match: {tag}"), "Range: bytes=0-1".into()], "304"),
            (vec!["If-Match: \"x\"".into(), "Range: bytes=0-1".into()], "412"),
        ] {
            let fields: Vec<_> = fields.iter().map(String::as_str).collect();
            for method in ["GET", "HEAD"] {
                let answer = request(&server, method, "/a.txt", &fields);
                assert_eq!(status(&answer), expected, "{method} {fields:?}: {answer}");
                if expected == "304" {
                    // RFC 9110 §15.4.5.
                    assert!(answer.ends_with("\r\n\r\n") && field(&answer, "content-length").is_none(), "{answer}");
                    assert_eq!(
                        (field(&answer, "etag"), field(&answer, "cache-control")),
                        (Some(tag), Some("no-cache"))
                    );
                    assert_eq!((field(&answer, "content-type"), field(&answer, "last-modified")), (None, None));
                }
                said += &neutral(&answer);
            }
        }
        said
    });
}

#[test]
fn a_tag_is_weak_while_the_file_may_change_unnoticed() {
    let (root, serve) = site("weak");
    both(|binary| {
        let server = serve(binary, "");
        fs::write(root.join("new.txt"), "new").unwrap();
        let answer = get(&server, "/new.txt", &["If-Range: x", "Range: bytes=0-0"]);
        assert!(field(&answer, "etag").unwrap().starts_with("W/\"") && status(&answer) == "200", "{answer}");
        let date = format!("If-Range: {}", field(&answer, "last-modified").unwrap());
        // A date is as weak.
        assert_eq!(status(&get(&server, "/new.txt", &[&date, "Range: bytes=0-0"])), "200");
        sleep(Duration::from_millis(2100));
        let later = get(&server, "/new.txt", &[]);
        assert!(field(&later, "etag").unwrap().starts_with('"'), "{later}");
        assert_eq!(status(&get(&server, "/new.txt", &[&date, "Range: bytes=0-0"])), "206");
        "the same".into()
    });
}

/// The parts of a multipart response, with the range that each says.
fn parts(answer: &str) -> Vec<(String, String)> {
    let kind = field(answer, "content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let body = content(answer);
    assert_eq!(field(answer, "content-length").unwrap(), body.len().to_string());
    let body = body.strip_suffix(&format!("\r\n--{boundary}--\r\n")).unwrap();
    let (first, next) = (format!("--{boundary}\r\n"), format!("\r\n--{boundary}\r\n"));
    body.strip_prefix(&first)
        .unwrap()
        .split(&next)
        .map(|part| {
            let (head, content) = part.split_once("\r\n\r\n").unwrap();
            let (kind, range) = head.split_once("\r\n").unwrap();
            assert_eq!(kind, "content-type: text/plain; charset=utf-8");
            (range.strip_prefix("content-range: ").unwrap().to_owned(), content.to_owned())
        })
        .collect()
}

#[test]
fn parts_of_files_are_what_was_asked_for() {
    let (root, serve) = site("ranges");
    let pattern = |len: usize| (0..len).map(|at| char::from(b'!' + (at * 7 % 89) as u8)).collect::<String>();
    // From memory, from the disk, and over the edge between what came with opening and what did not.
    let files = [("small.txt", 1000), ("large.txt", 300_000)];
    for (name, len) in files {
        write(&root.join(name), pattern(len));
    }
    write(&root.join("empty.txt"), "");
    both(|binary| {
        let server = serve(binary, "");
        let mut said = String::new();
        for (name, len) in files {
            let (all, target) = (pattern(len), format!("/{name}"));
            let get = |range: &str| get(&server, &target, &[&format!("Range: {range}")]);
            for (range, from, to) in [
                ("bytes=0-0", 0, 1),
                ("bytes=10-19", 10, 20),
                ("BYTES=10-19", 10, 20),
                ("bytes=900-", 900, len),
                ("bytes=-1", len - 1, len),
                ("bytes=-100000000000000000000000", 0, len),
                ("bytes=0-100000000000000000000000", 0, len),
                ("bytes=5-9,7-20", 5, 21),
                ("bytes=5-9, , 50-60", 5, 61),
                ("bytes=999999-,5-9", 5, 10),
            ] {
                let answer = get(range);
                assert_eq!((status(&answer), content(&answer)), ("206", &all[from..to]), "{range}");
                assert_eq!(field(&answer, "content-range"), Some(&*format!("bytes {from}-{}/{len}", to - 1)));
                said += &neutral(&answer);
            }
            if len > 65_540 {
                for (from, to) in [(65_535, 65_536), (65_536, 65_537), (60_000, 70_000), (100_000, 299_999)] {
                    let answer = get(&format!("bytes={from}-{}", to - 1));
                    assert_eq!((status(&answer), content(&answer)), ("206", &all[from..to]));
                }
            }
            let end = len - 100;
            let answer = get(&format!("bytes={end}-,0-9,300-309"));
            assert_eq!(
                parts(&answer),
                [(end, len), (0, 10), (300, 310)]
                    .map(|(from, to)| (format!("bytes {from}-{}/{len}", to - 1), all[from..to].to_owned()))
            );
            for range in ["bytes=1000000-", "bytes=-0", "bytes=1000000-,-0"] {
                let answer = get(range);
                assert_eq!(status(&answer), "416", "{range}");
                assert_eq!(field(&answer, "content-range"), Some(&*format!("bytes */{len}")));
                said += &neutral(&answer);
            }
            let many: Vec<_> = (0..200).map(|at| format!("{at}-{at}")).collect();
            for range in [
                "bytes=5-4",
                "bytes=x",
                "bytes=",
                "bytes",
                "lines=1-2",
                "bytes=1-2-3",
                "bytes= =1",
                "bytes=0-1\r\nRange: bytes=2-3",
                &format!("bytes={}", many.join(",")),
            ] {
                let answer = get(range);
                assert_eq!((status(&answer), content(&answer).len()), ("200", len), "{range}");
                assert_eq!(field(&answer, "accept-ranges"), Some("bytes"));
            }
            let whole = request(&server, "HEAD", &target, &[]);
            let (tag, date) = (field(&whole, "etag").unwrap(), field(&whole, "last-modified").unwrap());
            for (if_range, expected) in [
                (tag.to_owned(), "206"),
                (format!("W/{tag}"), "200"),
                ("\"x\"".into(), "200"),
                (date.to_owned(), "206"),
                ("Sun, 06 Nov 1994 08:49:38 GMT".into(), "200"),
            ] {
                let fields = [&*format!("If-Range: {if_range}"), "Range: bytes=0-9"];
                let answer = self::get(&server, &target, &fields);
                assert_eq!(status(&answer), expected, "{if_range}");
                // RFC 9110 §14.2: HEAD knows no ranges.
                let head = request(&server, "HEAD", &target, &fields);
                assert_eq!((status(&head), field(&head, "content-length")), ("200", Some(&*len.to_string())));
            }
        }
        let empty = get(&server, "/empty.txt", &["Range: bytes=0-"]);
        assert_eq!((status(&empty), field(&empty, "content-length")), ("200", Some("0")));
        said
    });
}

#[test]
fn every_client_gets_the_coding_it_likes_best() {
    let (root, serve) = site("codings");
    let text = "the same and ".repeat(2000);
    write(&root.join("a.css"), &text);
    for (suffix, content) in [("br", "0123456789 br"), ("zst", "zstd"), ("gz", "gzip")] {
        write(&root.join(format!("a.css.{suffix}")), content);
    }
    write(&root.join("made.css"), &text);
    write(&root.join("small.css"), "p {}");
    write(&root.join("large.css"), text.repeat(100));
    write(&root.join("image.png"), &text);
    let keys = "precompressed = ['br', 'zstd', 'gzip']\n\
                compress = { types = ['text/*'], from = '100B', to = '100KiB', codings = ['zstd', 'gzip'] }";
    both(|binary| {
        let server = serve(binary, keys);
        let mut said = String::new();
        // Twice: from the disk, and from memory.
        for _ in 0..2 {
            for (accept, coding, expected) in [
                ("gzip, deflate, br, zstd", "br", "0123456789 br"),
                ("gzip;q=0.5, zstd;q=0.8", "zstd", "zstd"),
                ("gzip", "gzip", "gzip"),
                ("br;q=0, *;q=0.1", "zstd", "zstd"),
                ("identity;q=0", "", &text),
                ("identity, gzip;q=0.5", "", &text),
                ("deflate", "", &text),
            ] {
                let accept = format!("Accept-Encoding: {accept}");
                let answer = get(&server, "/a.css", &[&accept]);
                assert_eq!((status(&answer), content(&answer)), ("200", expected), "{accept}");
                assert_eq!(field(&answer, "content-encoding").unwrap_or_default(), coding, "{accept}");
                assert_eq!(field(&answer, "content-type"), Some("text/css; charset=utf-8"));
                assert_eq!(field(&answer, "vary"), Some("accept-encoding"));
                let tag = field(&answer, "etag").unwrap();
                let suffix = if coding.is_empty() { "\"".into() } else { format!("-{coding}\"") };
                assert!(tag.starts_with('"') && tag.ends_with(&suffix), "{tag}");
                let fresh = get(&server, "/a.css", &[&accept, &format!("If-None-Match: {tag}")]);
                assert_eq!((status(&fresh), field(&fresh, "vary")), ("304", Some("accept-encoding")));
                said += &neutral(&answer);
            }
            let part = get(&server, "/a.css", &["Accept-Encoding: br", "Range: bytes=-2"]);
            assert_eq!((status(&part), content(&part)), ("206", "br"));
            assert_eq!(field(&part, "content-encoding"), Some("br"));
            assert_eq!(field(&part, "content-range"), Some("bytes 11-12/13"));
            for (target, accept, coding, varies) in [
                ("/made.css", "gzip, zstd, br", "zstd", true),
                ("/made.css", "gzip", "gzip", true),
                ("/made.css", "br", "", true),
                ("/small.css", "gzip", "", false),
                ("/large.css", "gzip", "", false),
                ("/image.png", "gzip", "", false),
            ] {
                let accept = format!("Accept-Encoding: {accept}");
                let answer = get(&server, target, &[&accept]);
                assert_eq!(field(&answer, "content-encoding").unwrap_or_default(), coding, "{target} {accept}");
                assert_eq!(field(&answer, "vary").is_some(), varies, "{target} {accept}");
                // What was compressed here may be compressed differently tomorrow.
                let is_made = !coding.is_empty();
                assert_eq!(field(&answer, "etag").unwrap().starts_with("W/"), is_made, "{target}");
                assert_eq!(field(&answer, "accept-ranges").is_none(), is_made, "{target}");
                if is_made {
                    let ranged = get(&server, target, &[&accept, "Range: bytes=0-1"]);
                    assert_eq!(status(&ranged), "200");
                }
                said += &neutral(answer.split("\r\n\r\n").next().unwrap());
            }
        }
        let made = |coding: &str| {
            let fields = format!("Host: a\r\nConnection: close\r\nAccept-Encoding: {coding}\r\n\r\n");
            let answer = server.ask_for_bytes(format!("GET /made.css HTTP/1.1\r\n{fields}"));
            answer[answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4..].to_vec()
        };
        let mut back = String::new();
        flate2::read::GzDecoder::new(&made("gzip")[..]).read_to_string(&mut back).unwrap();
        assert!(back == text && zstd::decode_all(&made("zstd")[..]).unwrap() == text.as_bytes());
        said
    });
}

#[test]
fn caches_are_told_what_the_route_says() {
    let (root, serve) = site("cache");
    for name in ["index.html", "assets/a.css", "assets/index.html", "static/app.0123.js", "other.txt"] {
        write(&root.join(name), name);
    }
    let keys = "versioned = '/static/'\n\
                cache = [{ match = '*.html', control = 'no-store' }, { match = '/assets/*', control = 'max-age=60' }]";
    both(|binary| {
        let server = serve(binary, keys);
        let mut said = String::new();
        for (target, control) in [
            ("/", "no-store"),
            ("/assets/", "no-store"),
            ("/assets/a.css", "max-age=60"),
            ("/static/app.0123.js", "public, max-age=31536000, immutable"),
            ("/other.txt", "no-cache"),
            // An error is not immutable.
            ("/static/app.4567.js", "no-store"),
        ] {
            let answer = get(&server, target, &[]);
            assert_eq!(field(&answer, "cache-control"), Some(control), "{target}");
            said += &neutral(&answer);
        }
        said
    });
}

#[test]
fn pages_that_are_not_there_are_the_application() {
    let (root, serve) = site("fallback");
    for name in ["app.html", "dir/file.txt"] {
        write(&root.join(name), name);
    }
    both(|binary| {
        let server = serve(binary, "fallback = 'app.html'");
        let mut said = String::new();
        let navigation = "Accept: text/html,application/xhtml+xml,*/*;q=0.8";
        for (method, target, accept, expected) in [
            ("GET", "/", navigation, "200"),
            ("GET", "/users/1", navigation, "200"),
            ("GET", "/users/jo.do", navigation, "200"),
            ("HEAD", "/users/1", navigation, "200"),
            ("GET", "/users/1", "Accept: */*", "200"),
            ("GET", "/app.js", "Accept: */*", "404"),
            ("GET", "/users/1", "Accept: application/json", "404"),
            ("GET", "/dir/", navigation, "200"),
            ("GET", "/dir", navigation, "301"),
            ("GET", "/dir/file.txt", navigation, "200"),
            ("GET", "/.git/config", navigation, "404"),
            ("POST", "/users/1", navigation, "405"),
        ] {
            let answer = request(&server, method, target, &[accept]);
            assert_eq!(status(&answer), expected, "{method} {target} {accept}");
            if expected == "200" && !target.ends_with(".txt") {
                assert_eq!(field(&answer, "content-type"), Some("text/html; charset=utf-8"), "{target}");
                assert_eq!(content(&answer), if method == "GET" { "app.html" } else { "" });
                assert_eq!(field(&answer, "vary"), Some("accept"), "others get something else");
            }
            said += &neutral(&answer);
        }
        said
    });
}

#[test]
fn directories_are_listed_where_that_is_wanted() {
    let (root, serve) = site("listing");
    for name in ["index/index.html", "dir/b.txt", "dir/a <b>&.txt", "dir/.hidden", "dir/sub/x", ".secret/x"] {
        write(&root.join(name), name);
    }
    both(|binary| {
        let server = serve(binary, "listing = true\n[limits]\nfile_listing_entries = 3");
        let mut said = with(&get(&server, "/index/", &[]), &["200 OK", "index/index.html"]);
        let page = get(&server, "/dir/", &[]);
        let items: Vec<_> = page.lines().filter(|line| line.starts_with("<li>")).collect();
        assert_eq!(
            items,
            [
                "<li><a href=\"../\">../</a>",
                "<li><a href=\"./sub/\">sub/</a>",
                "<li><a href=\"./a%20%3Cb%3E%26.txt\">a &lt;b&gt;&amp;.txt</a> 14",
                "<li><a href=\"./b.txt\">b.txt</a> 9",
            ],
            "{page}"
        );
        said += &with(&get(&server, "/dir/a%20%3Cb%3E%26.txt", &[]), &["200 OK"]);
        said += &with(&get(&server, "/dir", &[]), &["301 ", "location: /dir/"]);
        said += &with(&get(&server, "/nowhere/", &[]), &["404 "]);
        said += &with(&get(&server, "/.secret/", &[]), &["404 "]);
        let head = request(&server, "HEAD", "/dir/", &[]);
        assert_eq!(neutral(&head) + content(&page), neutral(&page));
        for number in 0..2 {
            write(&root.join(format!("dir/more{number}")), "");
        }
        let cut = get(&server, "/dir/", &[]);
        assert_eq!(cut.lines().filter(|line| line.starts_with("<li>")).count(), 4);
        for number in 0..2 {
            fs::remove_file(root.join(format!("dir/more{number}"))).unwrap();
        }
        assert!(cut.contains("There is more than this page shows"), "{cut}");
        said + &neutral(&page)
    });
}

#[test]
fn only_what_the_route_means_is_there() {
    let (root, serve) = site("there");
    for name in [".env", ".well-known/acme", "a/.git/config", "plain.txt", "in/file.txt"] {
        write(&root.join(name), name);
    }
    write(&root.join("../outside.txt"), "outside");
    symlink("in/file.txt", root.join("inside.txt")).unwrap();
    symlink("../outside.txt", root.join("outside.txt")).unwrap();
    let made = Command::new("mkfifo").arg(root.join("fifo")).status().unwrap();
    assert!(made.success());
    symlink("/dev/zero", root.join("device")).unwrap();
    let long = format!("/{}", "x".repeat(3000));
    both(|binary| {
        let mut said = String::new();
        for (keys, found) in [
            ("", &["/plain.txt", "/.well-known/acme", "/inside.txt"][..]),
            ("symlinks = 'never'", &["/plain.txt", "/.well-known/acme"]),
            ("symlinks = 'anywhere'", &["/plain.txt", "/.well-known/acme", "/inside.txt", "/outside.txt"]),
            ("hidden = true", &["/plain.txt", "/.well-known/acme", "/inside.txt", "/.env", "/a/.git/config"]),
        ] {
            let server = serve(binary, keys);
            for target in [
                "/plain.txt",
                "/.well-known/acme",
                "/inside.txt",
                "/outside.txt",
                "/.env",
                "/%2Eenv",
                "/a/.git/config",
                "/plain.txt/",
                "/plain.txt.",
                "/plain.txt%20",
                "/PLAIN.TXT",
                "/fifo",
                "/device",
                "/in/",
                &long,
            ] {
                let answer = get(&server, target, &[]);
                let is_there = found.iter().any(|name| target.replace("%2E", ".") == **name);
                assert_eq!(status(&answer), if is_there { "200" } else { "404" }, "{keys} {target}");
                said += &neutral(&answer);
            }
        }
        let server = serve(binary, "charset = 'iso-8859-1'");
        said += &with(&get(&server, "/plain.txt", &[]), &["content-type: text/plain; charset=iso-8859-1\r\n"]);
        let options = request(&server, "OPTIONS", "/plain.txt", &[]);
        said += &with(&options, &["204 No Content", "allow: GET, HEAD"]);
        said + &with(&request(&server, "DELETE", "/plain.txt", &[]), &["405 ", "allow: GET, HEAD"])
    });
}

#[test]
fn a_single_file_is_only_itself() {
    let (root, _) = site("single");
    write(&root.join("icon.svg"), "<svg/>");
    both(|binary| {
        let config = "threads = 1\nlog = false\n[[routes]]\nhandler = 'file'\npath = 'public/icon.svg'\nprefix = '/favicon.svg'\n\
                      [[routes]]\nhandler = 'files'\nroot = 'public'\nprefix = '/files'\n";
        let server = binary.serve_config(root.parent().unwrap(), config);
        let mut said = with(&get(&server, "/favicon.svg", &[]), &["200 OK", "image/svg+xml", "<svg/>"]);
        said += &with(&get(&server, "/favicon.svg?v=1", &[]), &["200 OK", "<svg/>"]);
        said += &with(&get(&server, "/favicon.svg/x", &[]), &["404 "]);
        said += &with(&get(&server, "/files?x", &[]), &["301 ", "location: /files/?x\r\n"]);
        said + &with(&get(&server, "/files/icon.svg", &[]), &["200 OK"])
    });
}

/// `//dir` was redirected to `//dir/`, which is another host.
#[test]
fn no_directory_leads_to_another_host() {
    let (root, serve) = site("redirect");
    write(&root.join("example.org/x"), "");
    both(|binary| {
        let server = serve(binary, "");
        with(&get(&server, "//example.org?q", &[]), &["301 ", "location: /example.org/?q\r\n"])
    });
}

#[test]
fn files_may_change_while_they_are_sent() {
    let (root, serve) = site("changing");
    let len = 40_000_000;
    let (path, other) = (root.join("large.bin"), root.join("other"));
    both(|binary| {
        let server = serve(binary, "");
        let start = || {
            write(&path, vec![b'a'; len]);
            let mut wire = server.connect();
            wire.send("GET /large.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            assert!(wire.until("\r\n\r\n").contains("content-length: 40000000\r\n"));
            wire
        };
        let mut replaced = start();
        write(&other, vec![b'b'; len]);
        fs::rename(&other, &path).unwrap();
        let rest = replaced.rest();
        assert!(rest.len() == len && rest.bytes().all(|byte| byte == b'a'), "not what was announced");
        let mut grown = start();
        File::options().append(true).open(&path).unwrap().set_len(len as u64 + 1000).unwrap();
        assert_eq!(grown.rest().len(), len);
        let mut shrunk = start();
        File::options().write(true).open(&path).unwrap().set_len(1000).unwrap();
        assert!(shrunk.rest().len() < len, "what is missing was made up");
        "all three".into()
    });
}

#[test]
fn what_is_kept_is_compared_with_the_disk() {
    let (root, serve) = site("revalidation");
    both(|binary| {
        let server = serve(binary, "[limits]\nfile_cache_age = '200ms'");
        let path = root.join("a.txt");
        write(&path, "one");
        assert_eq!(content(&get(&server, "/a.txt", &[])), "one");
        write(&path, "two!");
        assert_eq!(content(&get(&server, "/a.txt", &[])), "one", "it was not kept");
        sleep(Duration::from_millis(300));
        assert_eq!(content(&get(&server, "/a.txt", &[])), "two!");
        sleep(Duration::from_millis(300));
        assert_eq!(content(&get(&server, "/a.txt", &[])), "two!", "what has not changed is gone");
        fs::remove_file(&path).unwrap();
        sleep(Duration::from_millis(300));
        assert_eq!(status(&get(&server, "/a.txt", &[])), "404");
        "the same".into()
    });
}

/// A sibling that appears later makes the file that is kept one of several forms; one that goes makes it the only one again.
#[test]
fn a_sibling_that_comes_and_goes_is_told_to_caches() {
    let (root, serve) = site("siblings");
    let text = "the same and ".repeat(100);
    both(|binary| {
        let sibling = root.join("b.css.gz");
        let _ = fs::remove_file(&sibling);
        write(&root.join("b.css"), &text);
        let server = serve(binary, "precompressed = ['gzip']");
        let varies = || field(&get(&server, "/b.css", &[]), "vary").is_some();
        let becomes = |wanted: bool| {
            let deadline = Instant::now() + Duration::from_secs(10);
            while varies() != wanted {
                assert!(Instant::now() < deadline, "Vary is still {}", !wanted);
                sleep(Duration::from_millis(100));
            }
        };
        assert!(!varies());
        write(&sibling, "gzip");
        becomes(true);
        fs::remove_file(&sibling).unwrap();
        becomes(false);
        "it is told".into()
    });
}
