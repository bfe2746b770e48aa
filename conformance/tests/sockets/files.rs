//! Static files, and the page of the chat room.

use crate::representations::write;
use crate::server::{both, directory, neutral, with};
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn files_are_served_with_type_tag_and_date() {
    let root = directory("files");
    for (name, content) in [
        ("index.html", "<p>front"),
        ("sub/index.html", "<p>sub"),
        ("hello.txt", "hello\n"),
        ("a.css", "p {}"),
        ("b c.js", "1"),
    ] {
        write(&root.join(name), content);
    }
    both(|binary| {
        let server = binary.serve("dev", &["--threads", "1", root.to_str().unwrap()]);
        let mut said = String::new();
        for (target, parts) in [
            ("/", ["200 OK", "text/html", "<p>front"]),
            ("/sub/", ["200 OK", "text/html", "<p>sub"]),
            ("/hello.txt?x", ["200 OK", "text/plain", "hello\n"]),
            ("/a.css", ["200 OK", "text/css", "p {}"]),
            ("/b%20c.js", ["200 OK", "text/javascript", "1"]),
            ("/nowhere", ["404 Not Found", "text/plain", "x-barium: "]),
            ("/sub", ["301 ", "location: /sub/", "x-barium: "]),
        ] {
            said += &with(&server.get(target), &parts);
        }
        let whole = server.get("/hello.txt");
        let tag = whole.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
        let date = whole.lines().find_map(|line| line.strip_prefix("last-modified: ")).unwrap();
        for (field, status) in [
            (format!("If-None-Match: {tag}"), "304"),
            (format!("If-Modified-Since: {date}"), "304"),
            ("If-None-Match: \"other\"".into(), "200"),
        ] {
            let answer =
                server.ask(format!("GET /hello.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{field}\r\n\r\n"));
            said += &with(&answer, &[&format!("HTTP/1.1 {status} "), tag]);
            assert_eq!(answer.ends_with("hello\n"), status == "200", "{answer}");
        }
        let head = server.ask("HEAD /hello.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(neutral(&whole), neutral(&head) + "hello\n");
        let put = server.ask("PUT /hello.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        said + &with(&put, &["405 Method Not Allowed", "allow: GET, HEAD"])
    });
}

#[test]
fn no_path_leaves_the_directory() {
    let above = directory("traversal");
    let root = above.join("public");
    fs::create_dir(&root).unwrap();
    fs::write(above.join("secret.txt"), "secret").unwrap();
    fs::write(root.join("inside.txt"), "inside").unwrap();
    symlink("../secret.txt", root.join("out.txt")).unwrap();
    symlink("inside.txt", root.join("link.txt")).unwrap();
    symlink("..", root.join("up")).unwrap();
    both(|binary| {
        let server = binary.serve("dev", &["--threads", "1", root.to_str().unwrap()]);
        let mut said = with(&server.get("/link.txt"), &["200 OK", "inside"]);
        let absolute = format!("/{}/secret.txt", above.display());
        for target in [
            "/../secret.txt",
            "/%2e%2e/secret.txt",
            "/..%2fsecret.txt",
            "/%2e%2e%2fsecret.txt",
            "/%252e%252e/secret.txt",
            "/..%5csecret.txt",
            "/..\\secret.txt",
            "/out.txt",
            "/up/secret.txt",
            "/inside.txt%00",
            "/%00",
            "/%zz",
            &absolute,
            "//secret.txt",
            "../secret.txt",
        ] {
            let answer = server.get(target);
            assert!(["400", "403", "404"].iter().any(|status| answer[9..].starts_with(status)), "{target}: {answer}");
            assert!(!answer.contains("secret"), "{target}: {answer}");
            let _ = write!(said, "{}", with(&answer, &["x-barium: "]));
        }
        said
    });
}

#[test]
fn a_large_file_comes_whole_to_a_slow_reader() {
    let root = directory("large");
    let content: String = (0..400_000).map(|number| format!("{number:07}\n")).collect();
    fs::write(root.join("large.txt"), &content).unwrap();
    both(|binary| {
        let server = binary.serve("dev", &["--threads", "1", root.to_str().unwrap()]);
        let mut wire = server.connect();
        wire.send("GET /large.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let head = wire.until("\r\n\r\n");
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(wire.rest() == content, "the file is not the same");
        neutral(&head)
    });
}

#[test]
fn the_script_is_there_with_all_that_it_loads() {
    both(|binary| {
        let root = directory("script");
        let server = binary.serve("dev", &["--threads", "1", root.to_str().unwrap()]);
        let (mut said, mut parts) = (String::new(), vec!["brolly.js".to_owned()]);
        let mut next = 0;
        while let Some(part) = parts.get(next).cloned() {
            let answer = server.get(&format!("/-/{part}"));
            said += &with(&answer, &["200 OK", "content-type: text/javascript", "cache-control: no-cache", "etag: "]);
            let names = answer.split('"').filter_map(|piece| piece.strip_prefix("./")).map(str::to_owned);
            let new: Vec<_> = names.filter(|name| !parts.contains(name)).collect();
            parts.extend(new);
            next += 1;
        }
        assert!(parts.len() > 3 && parts.iter().any(|part| part.contains("worker")), "{parts:?}");
        said += &with(&server.get("/-/brolly.d.ts"), &["200 OK", "content-type: text/plain", "etag: "]);
        said + &with(&server.get("/-/nothing.js"), &["404 "])
    });
}

#[test]
fn the_chat_room_is_there_with_all_its_parts() {
    both(|binary| {
        let server = binary.serve("demo", &["--threads", "1"]);
        let page = server.get("/");
        let mut said = with(&page, &["200 OK", "text/html", "<!doctype html>"]);
        let mut parts = 0;
        for piece in page.split(['"', '\'']) {
            if [".js", ".css", ".svg"].iter().any(|end| piece.ends_with(end)) && !piece.contains(' ') {
                said += &with(&server.get(&format!("/{piece}")), &["200 OK", "etag: "]);
                parts += 1;
            }
        }
        assert!(parts >= 3, "only {parts} parts in {page}");
        said
    });
}
