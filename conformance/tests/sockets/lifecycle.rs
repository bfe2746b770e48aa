//! Signals.

use crate::messages::UPGRADE;
use crate::server::{both, directory, with};
use std::net::{TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[test]
fn term_lets_everybody_finish_and_exits_with_0() {
    both(|binary| {
        let mut server = binary.serve("demo", &["--threads", "2"]);
        let mut idle = server.connect();
        idle.send("GET /favicon.svg HTTP/1.1\r\nHost: a\r\n\r\n");
        idle.response();
        let mut socket = server.connect();
        socket.send(format!("GET /-/echo HTTP/1.1\r\n{UPGRADE}"));
        socket.until("\r\n\r\n");
        let mut stream = server.connect();
        stream.send("GET /-/sse?topic=t HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut said = with(&stream.until("id: "), &["200 OK", "text/event-stream"]);
        let mut poll = server.connect();
        poll.send("GET /-/poll?topic=t&wait=50 HTTP/1.1\r\nHost: a\r\n\r\n");
        // Until it waits.
        sleep(Duration::from_millis(200));
        server.process.signal("TERM");
        assert_eq!(idle.rest(), "");
        let close = socket.exactly(4);
        assert_eq!((close[0], &close[2..]), (0x88, 1001_u16.to_be_bytes().as_slice()));
        drop(socket);
        said += &with(
            &stream.rest(),
            &["event: brolly.end\nretry: 1000\ndata: {\"reason\":\"the server is shutting down\"}\n\n"],
        );
        said += &with(&poll.rest(), &["200 OK"]);
        assert_eq!(server.process.exit(), Some(0));
        assert!(TcpStream::connect(("127.0.0.1", server.port)).is_err(), "somebody still listens");
        said
    });
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let root = directory("signals");
    // Takes requests and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mount = format!("/api/=http://{}", silent.local_addr().unwrap());
    both(|binary| {
        let mut server = binary.serve("dev", &["--threads", "2", root.to_str().unwrap(), &mount]);
        let mut wire = server.connect();
        wire.send("GET /api/ HTTP/1.1\r\nHost: a\r\n\r\n");
        let _backend = silent.accept().unwrap();
        server.process.signal("INT");
        sleep(Duration::from_millis(200));
        assert_eq!(server.process.0.try_wait().unwrap(), None, "it did not wait for the request in flight");
        let began = Instant::now();
        server.process.signal("INT");
        let code = server.process.exit();
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        format!("exit code {code:?}")
    });
}
