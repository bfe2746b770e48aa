//! Where clients connect: PROXY headers, Unix sockets, dual stack, systemd.

use crate::certificates::{Authority, over};
use crate::server::{Server, both, directory, free_port, with};
use brolly_core::proxy_protocol::{Endpoints, encode};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Stdio;
use std::time::Duration;

const LAST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
/// 200 for one network, 403 for all others.
const ROUTE: &str = "[[routes]]\nhandler = \"status\"\nstatus = 200\naccess = { allow = [\"203.0.113.0/24\"] }\n";

fn header(source: &str) -> Vec<u8> {
    encode(Some(&Endpoints { source: source.parse().unwrap(), destination: "192.0.2.2:443".parse().unwrap() }))
}

#[test]
fn proxy_headers_say_who_the_client_is() {
    let root = directory("proxy-protocol");
    let authority = Authority::new(&root, "authority");
    authority.sign("org", &["example.org"]);
    both(|binary| {
        let (plain, secure) = (free_port(), free_port());
        let config = |trusted: &str| {
            format!(
                "trusted = [\"{trusted}\"]\n[limits]\nhead_timeout = \"1s\"\n\
                 [[listeners]]\naddress = \"127.0.0.1:{plain}\"\nproxy_protocol = true\n\
                 [[listeners]]\naddress = \"127.0.0.1:{secure}\"\nproxy_protocol = true\ntls = \"main\"\n\
                 [tls.main]\ncertificates = [{{ chain = \"org.pem\", key = \"org.key\" }}]\n{ROUTE}"
            )
        };
        let server = binary.serve_config(&root, &config("127.0.0.0/8"));
        let mut said = with(&server.ask(LAST), &["HTTP/1.1 403 "]);
        let server = Server { port: plain, ..server };
        let (good, bad) = (header("203.0.113.7:5000"), header("198.51.100.1:5000"));
        let (good_line, unknown) = (b"PROXY TCP4 203.0.113.7 192.0.2.2 5 443\r\n".as_slice(), b"PROXY UNKNOWN\r\n");
        for (header, status) in [(good_line, 200), (unknown, 403), (&good, 200), (&bad, 403)] {
            said += &with(&server.ask([header, LAST].concat()), &[&format!("HTTP/1.1 {status} ")]);
            // Byte by byte, before TLS.
            let mut socket = TcpStream::connect(("127.0.0.1", secure)).unwrap();
            for byte in header {
                socket.write_all(&[*byte]).unwrap();
            }
            let mut tls = over(&authority.plain_client(), socket, "example.org");
            tls.write_all(LAST).unwrap();
            let mut all = String::new();
            tls.read_to_string(&mut all).unwrap();
            said += &with(&all, &[&format!("HTTP/1.1 {status} ")]);
        }
        for wrong in [LAST, b"PROXY TCP4 x", b"PROXY TCP4 1.1.1.1"] {
            assert_eq!(server.ask(wrong), "", "{}", String::from_utf8_lossy(wrong));
        }
        drop(server);
        let server = binary.serve_config(&root, &config("10.0.0.0/8"));
        assert_eq!(Server { port: plain, ..server }.ask([good_line, LAST].concat()), "", "nobody trusts this peer");
        said
    });
}

#[test]
fn unix_sockets_come_and_go() {
    let root = directory("unix");
    both(|binary| {
        let path = root.join("here.sock");
        let mut server = binary.serve_config(
            &root,
            "[[listeners]]\naddress = \"unix:here.sock\"\nmode = \"600\"\n[[routes]]\nhandler = \"status\"\nstatus = 200\n",
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut all = String::new();
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(LAST).unwrap();
        stream.read_to_string(&mut all).unwrap();
        server.process.signal("TERM");
        assert_eq!((server.process.exit(), path.exists()), (Some(0), false));
        // What a crash leaves behind is no obstacle.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        drop(binary.serve_config(&root, "[[listeners]]\naddress = \"unix:here.sock\"\n"));
        fs::remove_file(&path).unwrap();
        with(&all, &["HTTP/1.1 200 OK\r\n"])
    });
}

#[test]
fn every_address_means_both_families() {
    let root = directory("dual");
    both(|binary| {
        let port = free_port();
        let route = "[[routes]]\nhandler = \"status\"\nstatus = 200\n";
        let _server = binary.serve_config(&root, &format!("[[listeners]]\naddress = \"[::]:{port}\"\n{route}"));
        let mut said = String::new();
        for host in ["127.0.0.1", "::1"] {
            let mut stream = TcpStream::connect((host, port)).unwrap();
            stream.write_all(LAST).unwrap();
            let mut all = String::new();
            stream.read_to_string(&mut all).unwrap();
            said += &with(&all, &["HTTP/1.1 200 OK\r\n"]);
        }
        said
    });
}

#[test]
fn systemd_hands_sockets_over_and_is_told_what_happens() {
    let root = directory("systemd");
    both(|binary| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (file, told) = (root.join("a.toml"), root.join(format!("{}.notify", binary.name)));
        let config = "[[listeners]]\naddress = \"systemd:web\"\n[[routes]]\nhandler = \"status\"\nstatus = 200\n";
        fs::write(&file, config).unwrap();
        let notify = UnixDatagram::bind(&told).unwrap();
        notify.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let hears = |expected: &str| {
            let mut buffer = [0; 512];
            let length = notify.recv(&mut buffer).unwrap();
            let text = String::from_utf8_lossy(&buffer[..length]);
            assert!(text.starts_with(expected), "{text} instead of {expected}");
        };
        // systemd's protocol: descriptors from 3 on, for the process that LISTEN_PID names.
        let shell = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web exec \"$@\"";
        let mut process = binary.spawn_in_shell(shell, &["serve", "--config", file.to_str().unwrap()], |command| {
            command.stdin(Stdio::from(OwnedFd::from(listener))).env("NOTIFY_SOCKET", &told);
        });
        hears("READY=1");
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(LAST).unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        process.signal("HUP");
        hears("RELOADING=1");
        hears("READY=1");
        process.signal("TERM");
        hears("STOPPING=1");
        assert_eq!(process.exit(), Some(0));
        with(&all, &["HTTP/1.1 200 OK\r\n"])
    });
}
