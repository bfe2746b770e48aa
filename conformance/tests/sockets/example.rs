//! The sample configuration: it loads, once the files that it names are there, and serves what it says.

use crate::server::{Binary, both, directory, free_port, neutral};
use std::fs;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/host/examples");
/// The shortest OCSP answer (RFC 6960 §4.2.1): `tryLater`.
const OCSP: [u8; 5] = [0x30, 0x03, 0x0a, 0x01, 0x03];
/// `admin` with the password `admin`, as `openssl passwd -6` writes it.
const USERS: &str =
    "admin:$6$brolly$h5x7isUButiV3oQ8IVloJlfdkqj.V2.AVMGZF.uHaUW.fErl5O2fHUPxkhRNV1BVzeuweiEZXQ0a91wZGwkE00\n";

/// A copy of the sample, with the certificates and the passwords that are nobody's business.
fn sample(binary: &Binary, name: &str) -> PathBuf {
    let root = directory(name);
    copy(Path::new(EXAMPLES), &root);
    let edge = root.join("edge");
    for name in ["example.org", "example.net"] {
        let made = binary.run(&["cert", "self-signed", "--name", name, "--out", edge.to_str().unwrap()]);
        assert!(made.status.success(), "{made:?}");
    }
    fs::copy(edge.join("example.org.pem"), edge.join("clients.pem")).unwrap();
    fs::copy(edge.join("example.net.pem"), edge.join("backends.pem")).unwrap();
    fs::write(edge.join("example.net.ocsp"), OCSP).unwrap();
    fs::write(edge.join("users.htpasswd"), USERS).unwrap();
    root
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn the_sample_configuration_is_right() {
    both(|binary| {
        let root = sample(binary, "example");
        let output = binary.run(&["check", "--config", root.join("edge.toml").to_str().unwrap()]);
        let (report, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && complaints.is_empty(), "{complaints}");
        for line in [
            "[::]:8443 with TLS (main: 2 certificates, client certificates wanted)",
            "other origins: https://app.example.org, with credentials",
            "plain HTTP is sent to https",
            "maintenance: everything is a 503",
            "redirect to https://example.org with 301, the path is appended",
        ] {
            assert!(report.contains(line), "{line} is not in {report}");
        }
        neutral(&report)
    });
}

/// Request line, host and further lines; what the answer says. The backends are not there.
const EXCHANGES: [(&str, &str, &[&str]); 11] = [
    (
        "GET /a?b",
        "www.example.org",
        &[" 308 ", "location: https://example.org:TLS/a?b\r\n", "X-Frame-Options: DENY\r\n"],
    ),
    ("GET /", "example.org\r\nX-Forwarded-Proto: https", &[" 200 ", "<h1>", "Link: </app.css>; rel=preload\r\n"]),
    ("GET /app/route", "example.org\r\nX-Forwarded-Proto: https", &[" 200 ", "It works"]),
    ("GET /favicon.ico", "example.org", &[" 200 ", "image/"]),
    (
        "GET /api/x",
        "example.org\r\nOrigin: https://app.example.org",
        &[" 50", "Something is out of order", "allow-origin"],
    ),
    (
        "OPTIONS /api/x",
        "example.org\r\nOrigin: https://app.example.org\r\nAccess-Control-Request-Method: POST",
        &[" 204 ", "access-control-allow-methods: GET, POST\r\n", "access-control-max-age: 600\r\n"],
    ),
    ("GET /admin/", "example.org", &[" 403 "]),
    ("GET /machines/", "example.org", &[" 403 "]),
    ("POST /old/x", "example.org", &[" 307 ", "location: /\r\n"]),
    ("GET /", "shop.example.org", &[" 503 ", "retry-after: ", "closed for maintenance"]),
    ("GET /a?b", "example.net", &[" 301 ", "location: https://example.org/a?b\r\n"]),
];

#[test]
fn the_sample_configuration_serves() {
    both(|binary| {
        let root = sample(binary, "example-served");
        let config = fs::read_to_string(root.join("edge.toml")).unwrap();
        let [tls, plain, proxied] = [free_port(), free_port(), free_port()];
        let config = config
            .replace("[::]:8443", &format!("[::]:{tls}"))
            .replace("127.0.0.1:8080", &format!("127.0.0.1:{plain}"))
            .replace("127.0.0.1:8081", &format!("127.0.0.1:{proxied}"))
            .replace("/tmp/brolly-edge.sock", root.join("edge.sock").to_str().unwrap());
        fs::write(root.join("edge.toml"), config).unwrap();
        let server = binary.serve_file(plain, &root.join("edge.toml"));
        let mut said = String::new();
        for (request, lines, parts) in EXCHANGES {
            let answer = server.ask(format!("{request} HTTP/1.1\r\nHost: {lines}\r\nConnection: close\r\n\r\n"));
            let answer = answer.replace(&format!(":{tls}/"), ":TLS/");
            for part in parts {
                assert!(answer.contains(part), "{request} {lines}: no {part:?} in {answer}");
            }
            said += answer.lines().next().unwrap();
            said += "\n";
        }
        said
    });
}
