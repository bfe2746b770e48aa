//! Authorisations that end while something goes on.

use crate::admission::{doorman, status};
use crate::messages::UPGRADE;
use crate::proxy::backend;
use crate::server::{both, directory, with};

#[test]
fn what_goes_on_ends_with_its_authorisation() {
    let root = directory("expiry");
    let guarded = |prefix: &str, rest: &str| {
        format!("\n[[routes]]\nprefix = '/{prefix}'\n{rest}\nauthorize = {{ upstream = 'auth' }}\n")
    };
    let config = [
        format!("upstreams.auth.url = 'http://127.0.0.1:{}'\n", doorman()),
        format!("upstreams.app.url = 'http://127.0.0.1:{}'\n", backend()),
        guarded("sse", "handler = 'event-stream'"),
        guarded("poll", "handler = 'long-poll'"),
        guarded("ws", "handler = 'websocket'"),
        guarded("echo", "handler = 'echo'"),
        guarded("app", "handler = 'proxy'\nupstream = 'app'"),
    ]
    .concat();
    both(|binary| {
        let server = binary.serve_config(&root, &config);
        // Everything at once: each takes the second that the doorman allows.
        let open = |request: &str, rest: &str| {
            let mut wire = server.connect();
            wire.send(format!("GET {request} HTTP/1.1\r\nCookie: brief\r\n{rest}"));
            wire
        };
        let (mut stream, mut poll) =
            (open("/sse?topic=a", "Host: a\r\n\r\n"), open("/poll?topic=a&wait=50", "Host: a\r\n\r\n"));
        let (mut socket, mut echo) = (open("/ws?topic=a", UPGRADE), open("/echo", UPGRADE));
        let mut tunnel = open("/app/upgrade", "Host: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n");
        let mut said = with(&stream.until("\n\n"), &["200 OK", "text/event-stream"]);
        for wire in [&mut socket, &mut echo] {
            assert_eq!(status(&wire.until("\r\n\r\n")), 101);
        }
        let end = "event: brolly.end\nretry: 1000\ndata: {\"reason\":\"the authorisation has ended\"}\n\n";
        let told = stream.rest();
        assert!(told.ends_with(end), "{told}");
        said += &with(&poll.response(), &["200 OK", "\"messages\":[]"]);
        socket.until("\"recovery\":null}]");
        let close = [&[0x88, 29], 4401_u16.to_be_bytes().as_slice(), b"the authorisation has ended"].concat();
        for wire in [&mut socket, &mut echo] {
            assert_eq!(wire.exactly(close.len()), close);
        }
        assert_eq!(status(&tunnel.until("\r\n\r\n")), 101);
        assert_eq!(tunnel.rest(), "");
        // The same connection asks again; and what has an end of its own is not cut.
        poll.send("GET /app/slow HTTP/1.1\r\nHost: a\r\nCookie: brief\r\n\r\n");
        said += &with(&poll.response(), &["200 OK", "slow"]);
        let unreadable =
            server.ask("GET /sse?topic=a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: soon\r\n\r\n");
        assert_eq!(status(&unreadable), 502);
        said
    });
}
