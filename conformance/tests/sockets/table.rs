//! The table of requests (`cases/http1/`) over sockets, plain and with TLS.

use crate::server::{both, directory, free_port};
use brolly_conformance::table::{self, Only, SocketWire, Stream, Verdict};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Rows that wait for a deadline wait side by side.
const WORKERS: usize = 24;

#[test]
fn every_row_has_its_reaction() {
    let folder = directory("table");
    table::site::write_files(&folder).unwrap();
    both(|binary| {
        let server = binary.serve_config(&folder, table::site::CONFIG);
        hold_all(binary.name, Only::Tls, &|| Ok(Box::new(SocketWire::tcp(server.port)?)))
    });
}

#[test]
fn every_row_has_its_reaction_over_tls() {
    let folder = directory("table-tls");
    table::site::write_files(&folder).unwrap();
    both(|binary| {
        let place = folder.join(binary.name);
        let made = binary.run(&["cert", "self-signed", "--name", "localhost", "--out", place.to_str().unwrap()]);
        assert!(made.status.success(), "{made:?}");
        let port = free_port();
        let (chain, key) = (place.join("localhost.pem"), place.join("localhost.key"));
        let tls = format!(
            "[tls.main]\ncertificates = [{{ chain = {chain:?}, key = {key:?} }}]\n\
             [[listeners]]\naddress = \"127.0.0.1:{port}\"\ntls = \"main\"\n"
        );
        let _server = binary.serve_config(&folder, &[table::site::CONFIG, &tls].concat());
        let config = believing(&chain);
        hold_all(binary.name, Only::Plain, &|| {
            let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
            let connection = ClientConnection::new(Arc::clone(&config), name).map_err(io::Error::other)?;
            Ok(Box::new(Tls(StreamOwned::new(connection, SocketWire::tcp(port)?))))
        })
    });
}

/// Holds the conversations of all rows that are not for `others`.
fn hold_all(name: &str, others: Only, connect: &(dyn Fn() -> io::Result<Box<dyn Stream>> + Sync)) -> String {
    let groups = table::load().unwrap_or_else(|why| panic!("{why}"));
    let connect = || Ok::<Box<dyn table::Wire>, _>(Box::new(SocketWire::new(connect()?)));
    let outcomes = table::run(&groups, |row| row.only != others, WORKERS, &connect);
    let failures: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| match &outcome.verdict {
            Verdict::Passed => None,
            Verdict::Allowed(why) | Verdict::Failed(why) => {
                Some(format!("{} {}: {why}", outcome.group.name, outcome.row.id))
            }
        })
        .collect();
    assert!(failures.is_empty(), "{name}, {} failures:\n{}", failures.len(), failures.join("\n"));
    format!("{} rows\n", outcomes.len())
}

/// A client that believes nothing but this certificate.
fn believing(chain: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(chain).unwrap()).unwrap();
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

struct Tls(StreamOwned<ClientConnection, TcpStream>);

impl Read for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Stream for Tls {
    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.0.sock.set_patience(patience)
    }

    fn end(&mut self) -> io::Result<()> {
        self.0.conn.send_close_notify();
        self.0.flush()?;
        self.0.sock.shutdown(Shutdown::Write)
    }
}
