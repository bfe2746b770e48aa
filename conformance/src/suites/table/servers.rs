//! The servers that the table is held against: each started as a child, on a port of its own, and ended with it.

use crate::suites::child::Guard;
use brolly_conformance::table::site;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// Servers of other people: the name, the program as Debian installs it, its configuration, and its arguments; `FILE`
/// stands for the configuration.
const PEERS: [(&str, &str, &str, &[&str]); 4] = [
    ("nginx", "/usr/sbin/nginx", "nginx.conf", &["-c", "FILE"]),
    ("HAProxy", "/usr/sbin/haproxy", "haproxy.cfg", &["-db", "-f", "FILE"]),
    ("Caddy", "/usr/bin/caddy", "Caddyfile", &["run", "--adapter", "caddyfile", "--config", "FILE"]),
    ("Apache", "/usr/sbin/apache2", "apache.conf", &["-D", "FOREGROUND", "-f", "FILE"]),
];

/// A server that listens.
pub(super) struct Server {
    pub(super) name: String,
    pub(super) port: u16,
    _process: Guard,
}

/// Starts brolly with the site of the table.
pub(super) fn brolly(name: &str, path: &Path, folder: &Path) -> Result<Server, String> {
    let port = free_port()?;
    site::write_files(folder).map_err(|error| error.to_string())?;
    let file = write(folder, name, "toml", &format!("listen = [\"127.0.0.1:{port}\"]\n{}", site::CONFIG))?;
    start(name, port, Command::new(path).args(["serve", "--config", &file]))
}

/// Starts all peers that are installed; and says which are not.
pub(super) fn peers(cases: &Path, folder: &Path, backend: u16) -> Result<Vec<Server>, String> {
    let mut servers = Vec::new();
    for (name, program, file, arguments) in PEERS {
        if !Path::new(program).exists() {
            println!("{name} is not installed ({program})");
            continue;
        }
        let port = free_port()?;
        let place = folder.join(name);
        fs::create_dir_all(&place).map_err(|error| error.to_string())?;
        fs::write(place.join("ok.txt"), "OK\n").map_err(|error| error.to_string())?;
        let template =
            fs::read_to_string(cases.join("peers").join(file)).map_err(|error| format!("{file}: {error}"))?;
        let config = template
            .replace("{PORT}", &port.to_string())
            .replace("{BACKEND}", &backend.to_string())
            .replace("{DIR}", &place.display().to_string());
        let file = write(&place, "peer", "conf", &config)?;
        let arguments = arguments.iter().map(|argument| if *argument == "FILE" { &file[..] } else { argument });
        servers.push(start(name, port, Command::new(program).args(arguments).env("HOME", &place))?);
    }
    Ok(servers)
}

fn write(folder: &Path, name: &str, extension: &str, text: &str) -> Result<String, String> {
    let file = folder.join(name).with_extension(extension);
    fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(file.display().to_string())
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| format!("there is no free port: {error}"))
}

fn start(name: &str, port: u16, command: &mut Command) -> Result<Server, String> {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Guard(quiet.spawn().map_err(|error| format!("{name} cannot be started: {error}"))?);
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Ok(Some(status)) = process.0.try_wait() {
            return Err(format!("{name} ended at once: {status}"));
        }
        if Instant::now() > until {
            return Err(format!("{name} does not listen"));
        }
        sleep(Duration::from_millis(20));
    }
    Ok(Server { name: name.into(), port, _process: process })
}
