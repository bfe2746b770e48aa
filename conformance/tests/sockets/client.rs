//! Clients of our own over WebSockets, of each runtime: `tail` with `ws://` and `wss://`.

use crate::certificates::Authority;
use crate::server::{Binary, Process, Server, both, directory, free_port, post};
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::ChildStdout;
use std::sync::{Arc, Mutex};
use std::thread::spawn;

/// A `tail` of the topic `news`, which has seen its first message.
fn following(binary: &Binary, server: &Server, arguments: &[&str]) -> (Process, Lines<BufReader<ChildStdout>>) {
    let mut tail = binary.spawn(&[&["tail"], arguments, &["news"]].concat());
    let mut lines = BufReader::new(tail.0.stdout.take().unwrap()).lines();
    while !server.ask(post("/-/publish/news", "text/plain", "anybody?")).contains(r#""subscribers":1"#) {}
    assert_eq!(lines.next().unwrap().unwrap(), r#""anybody?""#);
    (tail, lines)
}

/// Passes connections on to `port`, and cuts those that are open when it is told to.
struct Relay {
    port: u16,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Self { port: listener.local_addr().unwrap().port(), open: Arc::default() };
        let open = Arc::clone(&relay.open);
        spawn(move || {
            for near in listener.incoming() {
                let (near, far) = (near.unwrap(), TcpStream::connect(("127.0.0.1", port)).unwrap());
                open.lock().unwrap().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                for (mut from, mut to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                    spawn(move || {
                        let mut buffer = [0; 4096];
                        while let Ok(bytes @ 1..) = from.read(&mut buffer) {
                            if to.write_all(&buffer[..bytes]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(Shutdown::Write);
                    });
                }
            }
        });
        relay
    }

    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

#[test]
fn a_websocket_is_followed_over_a_cut() {
    both(|binary| {
        let server = binary.serve("demo", &["--threads", "2"]);
        let relay = Relay::to(server.port);
        let (_tail, lines) = following(binary, &server, &[&format!("ws://127.0.0.1:{}", relay.port)]);
        server.publish("news", r#"{"n": 1}"#);
        let mut lines = lines.map(Result::unwrap);
        let mut said = lines.find(|line| line.contains('1')).unwrap();
        relay.cut();
        // Nobody is there to hear it.
        server.publish("news", r#"{"n": 2}"#);
        server.publish("news", r#"{"n": 3}"#);
        for _ in 0..2 {
            said += &lines.next().unwrap();
        }
        assert_eq!(said, r#"{"n": 1}{"n": 2}{"n": 3}"#);
        said
    });
}

#[test]
fn a_websocket_over_tls_is_followed_if_the_server_can_be_trusted() {
    let root = directory("client-tls");
    Authority::new(&root, "authority").sign("here", &["127.0.0.1"]);
    Authority::new(&root, "stranger");
    both(|binary| {
        let port = free_port();
        let config = format!(
            "[[listeners]]\naddress = \"127.0.0.1:{port}\"\ntls = \"main\"\n\
             [tls.main]\ncertificates = [{{ chain = \"here.pem\", key = \"here.key\" }}]\n\
             [[routes]]\nprefix = \"/-/ws\"\nhandler = \"websocket\"\n\
             [[routes]]\nprefix = \"/-/publish/\"\nhandler = \"publish\"\n"
        );
        let server = binary.serve_config(&root, &config);
        let url = format!("wss://127.0.0.1:{port}");
        let file = |name: &str| root.join(name).to_str().unwrap().to_owned();
        let (_tail, lines) = following(binary, &server, &["--authorities", &file("authority.pem"), &url]);
        server.publish("news", r#"{"n": 1}"#);
        let mut said = lines.map(Result::unwrap).find(|line| line.contains('1')).unwrap();
        let refused = binary.run(&["tail", "--authorities", &file("stranger.pem"), &url, "news"]);
        assert_eq!(refused.status.code(), Some(1));
        let refused = String::from_utf8(refused.stderr).unwrap();
        said += &refused.replace(&port.to_string(), "PORT").replace(binary.name, "brolly");
        assert!(said.contains("certificate"), "{said}");
        said
    });
}

#[test]
fn a_refused_websocket_is_reported_with_the_answer() {
    both(|binary| {
        let config = "[[routes]]\nprefix = \"/-/ws\"\nhandler = \"status\"\nstatus = 404\n";
        let server = binary.serve_config(&directory("client-refused"), config);
        let refused = binary.run(&["tail", &format!("ws://127.0.0.1:{}", server.port), "news"]);
        assert_eq!(refused.status.code(), Some(1));
        let refused = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.contains("refused: 404 Not Found"), "{refused}");
        refused.replace(&server.port.to_string(), "PORT").replace(binary.name, "brolly")
    });
}
