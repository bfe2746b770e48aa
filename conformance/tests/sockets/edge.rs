//! The sample configuration that uses everything: it must mean something, and be served.

use crate::certificates::Authority;
use crate::server::{both, directory};
use std::fs;
use std::path::{Path, PathBuf};

/// A copy of `core/host/examples/edge.toml` and its files, with certificates of its own.
pub(crate) fn edge(name: &str) -> PathBuf {
    let root = directory(name);
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/host/examples");
    copy(&examples.join("edge"), &root.join("edge"));
    fs::copy(examples.join("edge.toml"), root.join("edge.toml")).unwrap();
    let authority = Authority::new(&root.join("edge"), "clients");
    Authority::new(&root.join("edge"), "backends");
    for name in ["example.org", "example.net"] {
        authority.sign(name, &[name]);
    }
    // An OCSPResponse that says no more than `unauthorized` (RFC 6960 §4.2.1).
    fs::write(root.join("edge/example.net.ocsp"), [0x30, 3, 0x0a, 1, 6]).unwrap();
    // alice, with the password `secret`.
    let users = root.join("edge/users.htpasswd");
    if !users.exists() {
        fs::write(users, "alice:$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.\n").unwrap();
    }
    root
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (source, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).unwrap();
        if source.is_dir() {
            copy(&source, &target);
        } else {
            fs::copy(&source, &target).unwrap();
        }
    }
}

#[test]
fn the_sample_is_explained() {
    let root = edge("edge");
    both(|binary| {
        let output = binary.run(&["check", "--config", root.join("edge.toml").to_str().unwrap()]);
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "{err}");
        assert!(out.contains("[::]:8443 with TLS (main: 2 certificates, client certificates wanted)"), "{out}");
        out
    });
}
