//! HUP: the configuration is read again, and whoever has the same route notices nothing.

use crate::messages::UPGRADE;
use crate::server::{Server, Wire, both, directory, free_port, with};
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until the answer contains `part`.
fn until(server: &Server, target: &str, part: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = server.get(target);
        if answer.contains(part) {
            return with(&answer, &[part]);
        }
        assert!(Instant::now() < deadline, "{target}: no {part} in {answer}");
        sleep(Duration::from_millis(20));
    }
}

/// Waits until the process has said `part`.
fn until_said(log: &Path, part: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !fs::read_to_string(log).unwrap().contains(part) {
        assert!(Instant::now() < deadline, "no {part} in {}", fs::read_to_string(log).unwrap());
        sleep(Duration::from_millis(20));
    }
}

fn echo(server: &Server, path: &str) -> Wire {
    let mut wire = server.connect();
    wire.send(format!("GET {path} HTTP/1.1\r\n{UPGRADE}"));
    wire.until("\r\n\r\n");
    wire
}

fn says_it_again(wire: &mut Wire) {
    wire.send(b"\x81\x82\0\0\0\0hi");
    assert_eq!(wire.exactly(4), b"\x81\x02hi");
}

#[test]
fn a_new_configuration_drops_nobody_whose_route_is_the_same() {
    both(|binary| {
        let root = directory(&format!("reload-{}", binary.name));
        let (port, other, file, log) = (free_port(), free_port(), root.join("a.toml"), root.join("log"));
        let head = format!("listen = [\"127.0.0.1:{port}\"]\nthreads = 2\n");
        let kept = "[[routes]]\nprefix = \"/kept\"\nhandler = \"echo\"\n[[routes]]\nprefix = \"/sse\"\nhandler = \
                    \"event-stream\"\n[[routes]]\nprefix = \"/-/publish\"\nhandler = \"publish\"\n";
        let status = |status| format!("[[routes]]\nhandler = \"status\"\nstatus = {status}\n");
        let gone = "[[routes]]\nprefix = \"/gone\"\nhandler = \"echo\"\n";
        let write = |head: &str, routes: &[&str]| fs::write(&file, [head, &routes.concat()].concat()).unwrap();
        write(&head, &[kept, gone, &status(201)]);
        let shell = "exec \"$@\" 2>\"$LOG\"";
        let process = binary.spawn_in_shell(shell, &["serve", "--config", file.to_str().unwrap()], |command| {
            command.env("LOG", &log);
        });
        let server = Server { process, port };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "{} does not listen", binary.name);
            sleep(Duration::from_millis(10));
        }
        let mut said = until(&server, "/", "201 Created");
        let (mut here, mut there, mut stream) = (echo(&server, "/kept"), echo(&server, "/gone"), server.connect());
        stream.send("GET /sse?topic=t HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.until("id: ");

        // A mistake leaves everything as it was, and is said with its line.
        write(&head, &[kept, "[[routes]]\nhandler = \"fils\"\n"]);
        server.process.signal("HUP");
        until_said(
            &log,
            "a.toml:13: `handler` is not \"fils\"; did you mean `files`?; the configuration stays as it was",
        );
        said += &until(&server, "/", "201 Created");
        says_it_again(&mut there);

        write(&head, &[kept, &status(202)]);
        server.process.signal("HUP");
        said += &until(&server, "/", "202 Accepted");
        until_said(&log, "read the configuration, the certificates and passwords again");
        let close = there.exactly(4);
        assert_eq!((close[0], &close[2..]), (0x88, 1012_u16.to_be_bytes().as_slice()));
        said += &until(&server, "/gone", "202 Accepted");
        says_it_again(&mut here);
        server.publish("t", "\"still here\"");
        said += &with(&stream.until("still here\"\n"), &["data: \"still here\""]);

        // What hangs on sockets waits; the rest does not.
        write(&head.replace(&port.to_string(), &other.to_string()), &[kept, &status(203)]);
        server.process.signal("HUP");
        said += &until(&server, "/", " 203 ");
        until_said(
            &log,
            "the listeners, or the names under [tls], have changed: that takes effect when brolly is started anew",
        );
        assert!(TcpStream::connect(("127.0.0.1", other)).is_err());
        says_it_again(&mut here);
        said
    });
}
