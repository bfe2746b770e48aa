//! What carries the bytes: TCP, a Unix socket, TLS.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// One end of a connection.
#[derive(Debug)]
pub(crate) enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    TlsClient(Box<StreamOwned<ClientConnection, TcpStream>>),
    TlsServer(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Transport {
    /// The client's end of TLS, which believes [`Identity`].
    pub(crate) fn tls_client(stream: TcpStream) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::clone(&Identity::get().client), name).unwrap();
        Self::TlsClient(Box::new(StreamOwned::new(connection, stream)))
    }

    /// The server's end of TLS, which has [`Identity`].
    pub(crate) fn tls_server(stream: TcpStream) -> Self {
        let connection = ServerConnection::new(Arc::clone(&Identity::get().server)).unwrap();
        Self::TlsServer(Box::new(StreamOwned::new(connection, stream)))
    }

    pub(crate) fn set_timeouts(&self, read: Duration, write: Duration) -> io::Result<()> {
        match self {
            Self::Unix(stream) => {
                stream.set_write_timeout(Some(write)).and_then(|()| stream.set_read_timeout(Some(read)))
            }
            Self::Tcp(_) | Self::TlsClient(_) | Self::TlsServer(_) => {
                let Some(stream) = self.tcp() else { return Ok(()) };
                stream.set_write_timeout(Some(write)).and_then(|()| stream.set_read_timeout(Some(read)))
            }
        }
    }

    /// Ends the outgoing direction.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
            Self::TlsClient(stream) => {
                stream.conn.send_close_notify();
                stream.flush()
            }
            Self::TlsServer(stream) => {
                stream.conn.send_close_notify();
                stream.flush()
            }
        }
    }

    /// Closes the connection: in peace, or with a reset.
    pub(crate) fn close(mut self, reset: bool) -> io::Result<()> {
        match (reset, self.tcp()) {
            (true, Some(stream)) => Ok(rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?),
            // A Unix socket has no reset: what was not read says as much.
            (true, None) => Ok(()),
            (false, _) => self.end(),
        }
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Unix(_) => None,
            Self::TlsClient(stream) => Some(&stream.sock),
            Self::TlsServer(stream) => Some(&stream.sock),
        }
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
            Self::TlsClient(stream) => stream.read(buffer),
            Self::TlsServer(stream) => stream.read(buffer),
        }
    }

    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
            Self::TlsClient(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Self::TlsServer(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }
}

/// A certificate for `localhost`, made for this run, and who uses and who believes it.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) chain: String,
    pub(crate) key: String,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Identity {
    pub(crate) fn get() -> &'static Self {
        static IDENTITY: OnceLock<Identity> = OnceLock::new();
        IDENTITY.get_or_init(|| {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
            let certificate = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
            let secret = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            let mut roots = RootCertStore::empty();
            roots.add(certificate.clone()).unwrap();
            let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
            let server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], secret);
            Self { chain, key, client: Arc::new(client), server: Arc::new(server.unwrap()) }
        })
    }
}
