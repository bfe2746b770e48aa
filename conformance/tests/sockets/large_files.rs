//! Large files, which the system writes to plain connections by itself: whole, in parts, to slow readers, behind one another, cut short.

use crate::server::{Wire, both, directory, with};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

const LEN: usize = 20_000_000;

/// Bytes that no shift of themselves equals.
fn content() -> Vec<u8> {
    (0..LEN as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

#[test]
fn large_files_arrive_as_they_are() {
    let root = directory("large-files");
    let content = content();
    fs::create_dir_all(root.join("public")).unwrap();
    fs::write(root.join("public/large.bin"), &content).unwrap();
    fs::write(root.join("public/small.txt"), "small").unwrap();
    let config = "threads = 1\n[[routes]]\nhandler = 'files'\nroot = 'public'";
    both(|binary| {
        let server = binary.serve_config(&root, config);
        let ask = |fields: &str| {
            let request = format!("GET /large.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
            let answer = server.ask_for_bytes(request);
            let head = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
            (String::from_utf8(answer[..head].to_vec()).unwrap(), answer[head..].to_vec())
        };
        let (head, whole) = ask("");
        with(&head, &["HTTP/1.1 200 OK\r\n", "content-length: 20000000\r\n"]);
        assert!(whole == content, "{} bytes", whole.len());
        let (head, part) = ask("Range: bytes=100-18999999\r\n");
        with(&head, &["HTTP/1.1 206 ", "content-range: bytes 100-18999999/20000000\r\n"]);
        assert!(part == content[100..19_000_000], "{} bytes", part.len());
        let (head, parts) = ask("Range: bytes=5000000-8999999,-4000000\r\n");
        let kind = head.lines().find(|line| line.starts_with("content-type: ")).unwrap();
        let boundary = kind.split("boundary=").nth(1).unwrap();
        let mut expected = Vec::new();
        for (start, end) in [(5_000_000, 9_000_000), (16_000_000, 20_000_000)] {
            let lines = format!(
                "--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {start}-{}/20000000\r\n\r\n",
                end - 1
            );
            expected.extend(lines.to_lowercase().as_bytes());
            expected.extend(&content[start..end]);
            expected.extend(b"\r\n");
        }
        expected.extend(format!("--{boundary}--\r\n").as_bytes());
        let is_same = |(a, b): (&u8, &u8)| a.eq_ignore_ascii_case(b);
        assert!(parts.len() == expected.len() && parts.iter().zip(&expected).all(is_same), "{} bytes", parts.len());

        // Behind one another on one connection, to a reader who is slow at first.
        let mut wire = Wire::connect(server.port);
        wire.send(
            "GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\nGET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n\
             HEAD /large.bin HTTP/1.1\r\nHost: a\r\n\r\nGET /small.txt HTTP/1.1\r\nHost: a\r\n\r\n",
        );
        assert!(wire.response().ends_with("small"));
        wire.until("\r\n\r\n");
        sleep(Duration::from_millis(300));
        let mut arrived = wire.exactly(1_000_000);
        sleep(Duration::from_millis(300));
        arrived.extend(wire.exactly(LEN - 1_000_000));
        assert!(arrived == content);
        with(&wire.until("\r\n\r\n"), &["content-length: 20000000\r\n"]);
        assert!(wire.response().ends_with("small"));
        head.lines().next().unwrap().into()
    });
}

#[test]
fn a_file_that_shrinks_while_it_is_written_is_cut() {
    let root = directory("large-files-cut");
    fs::create_dir_all(root.join("public")).unwrap();
    let path = root.join("public/large.bin");
    both(|binary| {
        fs::write(&path, content()).unwrap();
        let server = binary.serve_config(&root, "[[routes]]\nhandler = 'files'\nroot = 'public'");
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut arrived = vec![0; 100_000];
        stream.read_exact(&mut arrived).unwrap();
        // As much as the sockets hold is on its way; the rest is gone.
        sleep(Duration::from_millis(300));
        File::options().write(true).open(&path).unwrap().set_len(100_000).unwrap();
        let mut total = arrived.len();
        loop {
            match stream.read(&mut arrived) {
                Ok(0) | Err(_) => break,
                Ok(read) => total += read,
            }
        }
        assert!(total < LEN, "all of it came, although it was not there any more");
        // Others are served all the same.
        with(&server.get("/large.bin"), &["HTTP/1.1 200 OK\r\n", "content-length: 100000\r\n"]);
        "it is cut".into()
    });
}

/// Whoever goes in the middle leaves no file open.
#[test]
fn readers_who_go_leave_nothing_open() {
    let root = directory("large-files-gone");
    fs::create_dir_all(root.join("public")).unwrap();
    fs::write(root.join("public/large.bin"), content()).unwrap();
    both(|binary| {
        let server = binary.serve_config(&root, "threads = 1\n[[routes]]\nhandler = 'files'\nroot = 'public'");
        let open = || {
            let files = fs::read_dir(format!("/proc/{}/fd", server.process.0.id())).unwrap();
            let is_large = |link: &std::path::PathBuf| link.ends_with("public/large.bin");
            files.filter_map(|file| fs::read_link(file.ok()?.path()).ok()).filter(is_large).count()
        };
        let readers: Vec<_> = (0..20)
            .map(|_| {
                let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
                stream.write_all(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                stream.read_exact(&mut [0; 1000]).unwrap();
                stream
            })
            .collect();
        assert_eq!(open(), 20);
        drop(readers);
        for _ in 0..100 {
            if open() == 0 {
                return "none".into();
            }
            sleep(Duration::from_millis(50));
        }
        panic!("{} files are open", open());
    });
}
