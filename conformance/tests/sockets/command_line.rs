//! Help, mistakes, `check`, `publish`, `tail`, and what cannot be done.

use crate::server::{Binary, both, directory, free_port};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;

const COMMANDS: [&str; 6] = ["demo", "dev", "serve", "check", "publish", "tail"];

/// What a run printed and how it ended, as if both binaries had the same name.
fn told(binary: &Binary, arguments: &[&str], code: i32) -> String {
    let output = binary.run(arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{err}");
    format!("{arguments:?} {code}\n{out}\n{err}\n").replace(binary.name, "brolly")
}

/// The single line that a failed run leaves on stderr.
fn complaint(binary: &Binary, arguments: &[&str], code: i32, words: &[&str]) -> String {
    let output = binary.run(arguments);
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), output.stdout.len(), line.lines().count()),
        (Some(code), 0, 1),
        "{arguments:?}: {line}"
    );
    for word in words {
        assert!(line.contains(word), "{word:?} is not in {line:?}");
    }
    line.replace(binary.name, "brolly")
}

#[test]
fn help_and_version_are_everywhere() {
    both(|binary| {
        let mut said = told(binary, &["--help"], 0) + &told(binary, &["--version"], 0);
        for command in COMMANDS {
            assert!(said.contains(command), "{command}");
            said += &told(binary, &[command, "--help"], 0);
            said += &told(binary, &[command, "--version"], 0);
        }
        said
    });
}

#[test]
fn mistakes_exit_2_with_a_sentence() {
    both(|binary| {
        let wrong = |arguments: &[&str], words: &[&str]| complaint(binary, arguments, 2, words);
        [
            wrong(&["srve"], &["serve"]),
            wrong(&["demo", "--lisen", "1"], &["--listen"]),
            wrong(&["demo", "--listen", "nowhere"], &["127.0.0.1:8080"]),
            wrong(&["demo", "--listen", "0.0.0.0:1"], &["--allow-remote"]),
            wrong(&["demo", "--threads", "0"], &["1"]),
            wrong(&["dev"], &["DIR"]),
            wrong(&["dev", ".", "api"], &["PREFIX=URL"]),
            wrong(&["serve"], &["--config"]),
            wrong(&["publish", "http://127.0.0.1:1"], &["TOPIC"]),
            wrong(&["tail", "http://127.0.0.1:1"], &["TOPIC"]),
        ]
        .concat()
    });
}

#[test]
fn what_cannot_be_done_exits_1_with_a_sentence() {
    let directory = directory("command-line");
    fs::write(directory.join("bad.toml"), "[limits]\nidle-timeout = \"1s\"\n").unwrap();
    let bad = directory.join("bad.toml");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let port = listen.rsplit(':').next().unwrap();
    let nobody = format!("http://127.0.0.1:{}", free_port());
    both(|binary| {
        let failed = |arguments: &[&str], words: &[&str]| complaint(binary, arguments, 1, words);
        [
            failed(&["demo", "--listen", &listen], &[port]),
            failed(&["dev", "/no/such/directory"], &["/no/such/directory"]),
            failed(&["serve", "--config", "/no/such/file.toml"], &["/no/such/file.toml"]),
            failed(&["check", "--config", bad.to_str().unwrap()], &["bad.toml:2", "idle_timeout"]),
            failed(&["publish", &nobody, "topic", "data"], &["127.0.0.1"]),
        ]
        .concat()
    });
}

#[test]
fn check_prints_all_defaults() {
    both(|binary| {
        let defaults = told(binary, &["check", "--defaults"], 0);
        assert!(defaults.contains("idle_timeout"), "{defaults}");
        defaults
    });
}

#[test]
fn publish_and_tail_meet() {
    both(|binary| {
        let server = binary.serve("demo", &["--threads", "1"]);
        let mut tail = binary.spawn(&["tail", &server.url(), "news"]);
        let mut lines = BufReader::new(tail.0.stdout.take().unwrap()).lines();
        while !server
            .ask(crate::server::post("/-/publish/news", "text/plain", "anybody?"))
            .contains(r#""subscribers":1"#)
        {}
        let receipt = binary.run(&["publish", &server.url(), "news", r#"{"n":1}"#]);
        assert!(String::from_utf8(receipt.stdout).unwrap().contains(r#""topic":"news""#));
        // How often nobody was there yet differs; the end does not.
        lines.find(|line| line.as_ref().unwrap().contains(r#"{"n":1}"#)).unwrap().unwrap()
    });
}
