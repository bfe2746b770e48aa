//! TLS to backends: verified, unless somebody shows how to do without.

use super::identity::{Files, read, read_authorities};
use super::{ALPN, provider};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use std::sync::Arc;

/// How a backend is spoken to in TLS.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Client {
    /// Whom its certificate must be for: a DNS name or an IP address.
    pub name: Box<str>,
    /// Whose signature counts (PEM); `None`: the authorities of the system.
    pub authorities: Option<PathBuf>,
    /// What we show if the backend asks who we are.
    pub certificate: Option<Files>,
}

/// Reads the files of all. The error is a sentence.
pub(super) fn load(clients: &[Client]) -> Result<Vec<(ServerName<'static>, Arc<ClientConfig>)>, String> {
    let mut system = None;
    clients
        .iter()
        .map(|client| {
            let name = ServerName::try_from(client.name.to_string());
            let name = name.map_err(|_| format!("`{}` is not a name that a certificate can be for", client.name))?;
            let authorities = match &client.authorities {
                Some(path) => Arc::new(read_authorities(path).map_err(|mistake| mistake.to_string())?),
                None => Arc::clone(system.get_or_insert_with(|| Arc::new(system_authorities()))),
            };
            if authorities.is_empty() {
                return Err(
                    "this system has no authorities for certificates; name a file with `authorities` in `tls`".into()
                );
            }
            let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
            let builder = builder.map_err(|error| error.to_string())?.with_root_certificates(authorities);
            let mut config = match &client.certificate {
                None => builder.with_no_client_auth(),
                Some(files) => {
                    let certified: CertifiedKey = read(files).map_err(|mistake| mistake.to_string())?;
                    let resolver: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(certified));
                    builder.with_client_cert_resolver(resolver)
                }
            };
            config.alpn_protocols = vec![ALPN.to_vec()];
            Ok((name, Arc::new(config)))
        })
        .collect()
}

fn system_authorities() -> RootCertStore {
    let mut store = RootCertStore::empty();
    // Those that cannot be used are of no use to anybody.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    store
}
