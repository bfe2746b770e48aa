//! Certificates for tests: made anew each time, so that no private key is in the repository.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// An authority, and the directory where it leaves what it signs.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

impl Authority {
    /// A new one; its certificate is `NAME.pem`.
    pub(crate) fn new(directory: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join(format!("{name}.pem")), issuer.pem()).unwrap();
        Self { issuer, directory: directory.into() }
    }

    /// Signs a certificate for these names: `STEM.pem` and `STEM.key`.
    pub(crate) fn sign(&self, stem: &str, names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, stem);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.directory.join(format!("{stem}.pem")), certificate.pem()).unwrap();
        fs::write(self.directory.join(format!("{stem}.key")), key.serialize_pem()).unwrap();
        certificate.der().clone()
    }

    /// A client that believes this authority, and shows the certificate `shown`.
    pub(crate) fn client(&self, versions: &[&'static SupportedProtocolVersion], shown: Option<&str>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap().with_root_certificates(roots);
        let file = |end| self.directory.join(format!("{}.{end}", shown.unwrap_or_default()));
        match shown {
            None => builder.with_no_client_auth(),
            Some(_) => {
                let chain = vec![CertificateDer::from_pem_file(file("pem")).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(file("key")).unwrap()).unwrap()
            }
        }
    }

    /// Both versions, no certificate.
    pub(crate) fn plain_client(&self) -> Arc<ClientConfig> {
        Arc::new(self.client(&[&TLS13, &TLS12], None))
    }
}

/// A connection to a local port, for that name.
pub(crate) fn connect(config: &Arc<ClientConfig>, port: u16, name: &'static str) -> Tls {
    over(config, TcpStream::connect(("127.0.0.1", port)).unwrap(), name)
}

/// TLS over a socket.
pub(crate) fn over(config: &Arc<ClientConfig>, stream: TcpStream, name: &'static str) -> Tls {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from(name).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), stream)
}

/// A server that shows the certificate `stem`.
pub(crate) fn server(directory: &Path, stem: &str) -> rustls::ServerConfig {
    let file = |end: &str| directory.join(format!("{stem}.{end}"));
    let chain = vec![CertificateDer::from_pem_file(file("pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file("key")).unwrap();
    let builder = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    builder.with_single_cert(chain, key).unwrap()
}
